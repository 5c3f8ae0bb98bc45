/* config.json -> draft. Field names are those of transformers' configuration classes; what differs between families
 * stands in their table (family.c). */
#include "analyzer/model/config_read.h"

#include "analyzer/base/file.h"

#include <math.h>
#include <string.h>

static rs_status unknown(rs_reader *r, const char *field, const char *value, rs_error *err) {
    return rs_fail(err, RS_E_UNSUPPORTED, "%s: %s '%.80s' is not a family this program can run; known: %s", r->file,
                   field, value, rs_families());
}

/* model_type decides; a file without one is known by its class. A wrapper's text model is in text_config. */
static rs_status find_family(rs_reader *r, rs_draft *d, rs_error *err) {
    rs_status st = RS_OK;
    const char *type = NULL, *inner = NULL;
    RS_TRY(rs_read_string(r, "model_type", &type, err));
    if (!type) {
        const char *class_name = rs_json_string(rs_json_at(rs_read_node(r, "architectures"), 0), NULL);
        if (!class_name) return rs_field_fail(r, "model_type", NULL, "a string", err);
        d->family = rs_family_by_class(class_name);
        return d->family ? RS_OK : unknown(r, "architecture", class_name, err);
    }
    d->family = rs_family_by_model_type(type);
    if (!d->family) return unknown(r, "model_type", type, err);
    if (!d->family->wrapper || strcmp(d->family->wrapper, type) != 0) return RS_OK;
    const rs_json *text = rs_read_node(r, "text_config");
    if (!rs_json_is(text, RS_JSON_OBJECT)) return rs_field_fail(r, "text_config", text, "an object", err);
    RS_TRY(rs_read_bool(r, "tie_word_embeddings", d->family->tied, &d->tied, err));
    r->root = text;
    RS_TRY(rs_read_string(r, "model_type", &inner, err));
    if (inner && rs_family_by_model_type(inner) != d->family) return unknown(r, "text_config.model_type", inner, err);
out:
    return st;
}

static rs_status read_name(rs_reader *r, const rs_checkpoint *c, rs_draft *d, rs_error *err) {
    const char *stated = rs_json_string(rs_json_get(rs_checkpoint_metadata(c), "_name_or_path"), NULL);
    return rs_arena_strdup(r->arena, &d->name, stated && *stated ? stated : rs_path_base(rs_checkpoint_path(c)), err);
}

static rs_status read_dim(rs_reader *r, const char *key, int64_t most, int64_t otherwise, int64_t *out, rs_error *err) {
    return rs_read_int(r, key, 1, most, otherwise == 0, otherwise, out, err);
}

/* head_dim as stated; only a file that leaves it out gets width / heads. */
static rs_status read_head_dim(rs_reader *r, int64_t heads, rs_draft *d, rs_error *err) {
    rs_status st = RS_OK;
    RS_TRY(rs_read_int(r, "head_dim", 1, RS_MOST_HEAD_DIM, false, d->family->dims.head_dim, &d->head_dim, err));
    if (d->head_dim == 0 && d->width % heads != 0)
        return rs_fail(
            err, RS_E_MISMATCH,
            "%s: field 'hidden_size': found %lld, expected a multiple of num_attention_heads, %lld, since head_dim "
            "is not given",
            r->file, (long long)d->width, (long long)heads);
    if (d->head_dim == 0) d->head_dim = d->width / heads;
    d->v_dim = d->head_dim;
out:
    return st;
}

static rs_status read_dims(rs_reader *r, rs_draft *d, rs_error *err) {
    rs_status st = RS_OK;
    const rs_family_dims *f = &d->family->dims;
    int64_t heads, kv_heads, hidden;
    RS_TRY(read_dim(r, "hidden_size", RS_MOST_WIDTH, f->width, &d->width, err));
    RS_TRY(read_dim(r, "num_hidden_layers", RS_MOST_LAYERS, f->layers, &d->layers, err));
    RS_TRY(read_dim(r, "vocab_size", RS_MOST_VOCAB, f->vocab, &d->vocab, err));
    RS_TRY(read_dim(r, "max_position_embeddings", RS_MOST_CONTEXT, f->context, &d->context, err));
    RS_TRY(read_dim(r, "num_attention_heads", RS_MOST_HEADS, f->heads, &heads, err));
    RS_TRY(read_dim(r, "intermediate_size", RS_MOST_HIDDEN, f->hidden, &hidden, err));
    const rs_json *kv = rs_json_get(r->root, "num_key_value_heads"); /* null says: as many as query heads */
    RS_TRY(read_dim(r, "num_key_value_heads", RS_MOST_HEADS, !kv && f->kv_heads ? f->kv_heads : heads, &kv_heads, err));
    RS_TRY(read_head_dim(r, heads, d, err));
    RS_TRY(RS_ARENA_NEW(r->arena, &d->layer, (size_t)d->layers, err));
    for (int64_t l = 0; l < d->layers; l++)
        d->layer[l] = (rs_layer_draft){.heads = heads, .kv_heads = kv_heads, .hidden = hidden, .rope = true};
out:
    return st;
}

static rs_status check_length(rs_reader *r, const char *key, const rs_json *list, int64_t layers, bool exact,
                              rs_error *err) {
    int64_t n = (int64_t)rs_json_size(list);
    if (!rs_json_is(list, RS_JSON_ARRAY)) return rs_field_fail(r, key, list, "a list with one entry per layer", err);
    if (exact ? n != layers : n < layers)
        return rs_fail(err, RS_E_MISMATCH, "%s: field '%s': found %lld entries, expected %lld, one per layer", r->file,
                       key, (long long)n, (long long)layers);
    return RS_OK;
}

/* no_rope_layers has its name inverted: 1 says that the layer rotates. */
static rs_status read_nope(rs_reader *r, rs_draft *d, rs_error *err) {
    rs_status st = RS_OK;
    int64_t interval = 0, flag = 0;
    if (d->family->nope_interval == 0) return RS_OK;
    RS_TRY(
        rs_read_int(r, "no_rope_layer_interval", 1, RS_MOST_LAYERS, false, d->family->nope_interval, &interval, err));
    const rs_json *list = rs_read_node(r, "no_rope_layers");
    bool listed = !rs_json_is_null(list) && rs_json_size(list) > 0;
    if (listed) RS_TRY(check_length(r, "no_rope_layers", list, d->layers, false, err));
    for (int64_t l = 0; l < d->layers; l++) {
        const rs_json *entry = rs_json_at(list, (size_t)l);
        flag = (l + 1) % interval != 0;
        if (listed && rs_json_is(entry, RS_JSON_BOOL)) flag = rs_json_bool(entry, true);
        else if (listed) RS_TRY(rs_node_int(r, entry, "no_rope_layers", 0, 1, &flag, err));
        d->layer[l].rope = flag != 0;
    }
out:
    return st;
}

static rs_status read_layer_types(rs_reader *r, const rs_json *list, rs_draft *d, rs_error *err) {
    rs_status st = RS_OK;
    RS_TRY(check_length(r, "layer_types", list, d->layers, true, err));
    for (int64_t l = 0; l < d->layers; l++) {
        const rs_json *entry = rs_json_at(list, (size_t)l);
        const char *type = rs_json_string(entry, NULL);
        if (!type) return rs_field_fail(r, "layer_types", entry, "strings", err);
        bool sliding = strcmp(type, "sliding_attention") == 0;
        if (!sliding && strcmp(type, "full_attention") != 0)
            return rs_fail(err, RS_E_UNSUPPORTED,
                           "%s: field 'layer_types': layer %lld is '%.40s', known: full_attention, sliding_attention",
                           r->file, (long long)l, type);
        d->layer[l].kind = sliding ? RS_LAYER_SLIDING : RS_LAYER_FULL;
    }
out:
    return st;
}

/* Layers whose kind no list states. */
static rs_status derive_layer_types(rs_reader *r, rs_draft *d, rs_error *err) {
    rs_status st = RS_OK;
    const rs_family *f = d->family;
    bool use = false;
    int64_t pattern = 1;
    if (f->window == RS_WINDOW_PATTERN) {
        RS_TRY(rs_read_int(r, "_sliding_window_pattern", 1, RS_MOST_LAYERS, false, f->window_pattern, &pattern, err));
        RS_TRY(rs_read_int(r, "sliding_window_pattern", 1, RS_MOST_LAYERS, false, pattern, &pattern, err));
    }
    if (f->window == RS_WINDOW_TYPES) RS_TRY(rs_read_bool(r, "use_sliding_window", false, &use, err));
    for (int64_t l = 0; l < d->layers; l++) {
        bool sliding =
            f->window == RS_WINDOW_ALL || (l + 1) % pattern != 0 || (use && d->window > 0 && !d->layer[l].rope);
        d->layer[l].kind = sliding && d->window > 0 ? RS_LAYER_SLIDING : RS_LAYER_FULL;
    }
out:
    return st;
}

static bool any_sliding(const rs_draft *d) {
    for (int64_t l = 0; l < d->layers; l++)
        if (d->layer[l].kind == RS_LAYER_SLIDING) return true;
    return false;
}

static rs_status read_windows(rs_reader *r, rs_draft *d, rs_error *err) {
    rs_status st = RS_OK;
    const rs_family *f = d->family;
    const rs_json *types = rs_read_node(r, "layer_types");
    bool listed = !rs_json_is_null(types);
    if (f->window != RS_WINDOW_NONE) {
        /* null is an answer: no window. Only an absent field gets the family's */
        int64_t otherwise = rs_json_get(r->root, "sliding_window") ? 0 : f->window_width;
        RS_TRY(rs_read_int(r, "sliding_window", 1, RS_MOST_CONTEXT, false, otherwise, &d->window, err));
    }
    if (listed) RS_TRY(read_layer_types(r, types, d, err));
    if (listed && f->window != RS_WINDOW_TYPES && f->window != RS_WINDOW_PATTERN && any_sliding(d))
        return rs_fail(err, RS_E_UNSUPPORTED,
                       "%s: field 'layer_types': sliding_attention is not known in the %s family", r->file, f->name);
    if (!listed || f->window == RS_WINDOW_ALL) RS_TRY(derive_layer_types(r, d, err));
    if (any_sliding(d) && d->window == 0)
        return rs_fail(err, RS_E_MISMATCH,
                       "%s: field 'sliding_window': found no width, expected one: there are sliding layers", r->file);
    if (!any_sliding(d)) d->window = 0;
    if (listed) { /* layer_types has the last word, so what else says which layers slide is no news */
        (void)rs_read_node(r, "use_sliding_window");
        (void)rs_read_node(r, "sliding_window_pattern");
    }
out:
    return st;
}

static rs_status read_body(rs_reader *r, rs_draft *d, rs_error *err) {
    rs_status st = RS_OK;
    const rs_family *f = d->family;
    double score_width = 0;
    bool both_ways = false;
    RS_TRY(rs_read_real(r, f->eps_key, 0, 1, f->eps, &d->eps, err));
    RS_TRY(rs_read_act(r, f->act_key, f->act, &d->act, err));
    d->parallel = f->parallel, d->attention_bias = f->attention_bias, d->mlp_bias = f->mlp_bias;
    if (f->parallel_key) RS_TRY(rs_read_bool(r, "use_parallel_residual", f->parallel, &d->parallel, err));
    if (f->attention_bias_key) RS_TRY(rs_read_bool(r, "attention_bias", f->attention_bias, &d->attention_bias, err));
    if (f->mlp_bias_key) RS_TRY(rs_read_bool(r, "mlp_bias", f->mlp_bias, &d->mlp_bias, err));
    RS_TRY(rs_read_bool(r, "tie_word_embeddings", d->tied, &d->tied, err));
    RS_TRY(rs_read_bool(r, "use_bidirectional_attention", false, &both_ways, err));
    if (both_ways)
        return rs_fail(err, RS_E_UNSUPPORTED,
                       "%s: field 'use_bidirectional_attention': found true; only causal attention can be run",
                       r->file);
    if (f->score_width > 0) {
        RS_TRY(rs_read_real(r, "query_pre_attn_scalar", 1e-6, 1e9, f->score_width, &score_width, err));
        d->score_scale = 1.0 / sqrt(score_width);
    }
    if (f->final_cap) RS_TRY(rs_read_real(r, "final_logit_softcapping", 1e-6, 1e9, 0, &d->final_cap, err));
    if (f->score_cap) RS_TRY(rs_read_real(r, "attn_logit_softcapping", 1e-6, 1e9, 0, &d->score_cap, err));
    d->norm_add = f->hf_norm_add;
out:
    return st;
}

/* Fields of other families that change what a model computes. */
static const char *const relevant[] = {
    "alibi",
    "attention_chunk_size",
    "attention_multiplier",
    "attention_out_bias",
    "attn_logit_softcapping",
    "attn_temperature_tuning",
    "clip_qkv",
    "embedding_multiplier",
    "embedding_scale",
    "final_logit_softcapping",
    "global_head_dim",
    "kv_lora_rank",
    "logit_scale",
    "logits_scaling",
    "max_window_layers",
    "no_rope_layers",
    "num_experts",
    "num_local_experts",
    "partial_rotary_factor",
    "q_lora_rank",
    "qk_norm",
    "query_pre_attn_scalar",
    "residual_multiplier",
    "rope_local_base_freq",
    "rope_pct",
    "rope_ratio",
    "rope_theta",
    "rotary_dim",
    "rotary_emb_base",
    "rotary_pct",
    "sliding_window",
    "sliding_window_pattern",
    "use_bias",
    "use_parallel_residual",
    "use_qk_norm",
    "use_sliding_window",
    NULL,
};

rs_status rs_config_hf(rs_checkpoint *c, const rs_graph_options *o, rs_reader *r, rs_draft *d, rs_error *err) {
    rs_status st = RS_OK;
    r->root = rs_checkpoint_metadata(c);
    RS_TRY(rs_arena_printf(r->arena, &r->file, err, "%s/config.json", rs_checkpoint_path(c)));
    if (!r->root) return rs_fail(err, RS_E_FORMAT, "%s: not found; a Hugging Face directory must have one", r->file);
    if (!rs_json_is(r->root, RS_JSON_OBJECT))
        return rs_fail(err, RS_E_FORMAT, "%s: found %s, expected an object", r->file, rs_json_kind_name(r->root));
    RS_TRY(find_family(r, d, err));
    if (r->root == rs_checkpoint_metadata(c)) d->tied = d->family->tied;
    d->family_name = d->family->name;
    RS_TRY(read_name(r, c, d, err));
    RS_TRY(read_dims(r, d, err));
    RS_TRY(read_nope(r, d, err));
    RS_TRY(read_windows(r, d, err));
    RS_TRY(read_body(r, d, err));
    RS_TRY(rs_config_hf_rope(r, o, d, err));
    RS_TRY(rs_warn_unused(r, d->family->name, "", relevant, err));
out:
    return st;
}
