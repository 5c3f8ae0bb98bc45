/* GGUF key-value pairs -> draft. Keys and defaults: llama.cpp (llama-arch.cpp, llama-model.cpp). What its converters
 * have already changed (row order, norm weights, fused blocks) is a property of the family (family.c). */
#include "analyzer/model/config_read.h"

#include "analyzer/base/file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { KEY_BYTES = 128 };

typedef struct gguf {
    rs_checkpoint *c;
    rs_reader *r;
    rs_draft *d;
    const char *arch;
} gguf;

/* "llama.rope.freq_base" from "rope.freq_base"; lives in the arena, since the reader remembers what was asked for. */
static rs_status key_of(const gguf *g, const char *name, const char **key, rs_error *err) {
    return rs_arena_printf(g->r->arena, key, err, "%s.%s", g->arch, name);
}

static rs_status read_int(const gguf *g, const char *name, int64_t most, int64_t otherwise, int64_t *out,
                          rs_error *err) {
    rs_status st = RS_OK;
    const char *key = NULL;
    RS_TRY(key_of(g, name, &key, err));
    RS_TRY(rs_read_int(g->r, key, 1, most, otherwise == 0, otherwise, out, err));
out:
    return st;
}

static rs_status read_real(const gguf *g, const char *name, double least, double otherwise, double *out,
                           rs_error *err) {
    rs_status st = RS_OK;
    const char *key = NULL;
    RS_TRY(key_of(g, name, &key, err));
    RS_TRY(rs_read_real(g->r, key, least, 1e30, otherwise, out, err));
out:
    return st;
}

/* A number for all layers, or a list with one per layer. otherwise[l] == 0: required. */
static rs_status read_per_layer(const gguf *g, const char *name, int64_t most, const int64_t *otherwise, int64_t *out,
                                rs_error *err) {
    rs_status st = RS_OK;
    const char *key = NULL;
    RS_TRY(key_of(g, name, &key, err));
    const rs_json *node = rs_read_node(g->r, key);
    bool list = rs_json_is(node, RS_JSON_ARRAY);
    if (list && (int64_t)rs_json_size(node) != g->d->layers)
        return rs_fail(err, RS_E_MISMATCH, "%s: field '%s': found %zu entries, expected %lld, one per layer",
                       g->r->file, key, rs_json_size(node), (long long)g->d->layers);
    for (int64_t l = 0; l < g->d->layers; l++) {
        if (rs_json_is_null(node) && otherwise[l] > 0) out[l] = otherwise[l];
        else RS_TRY(rs_node_int(g->r, list ? rs_json_at(node, (size_t)l) : node, key, 1, most, &out[l], err));
    }
out:
    return st;
}

/* Rows of the embedding: what the vocabulary really is; older files have no vocab_size. */
static rs_status read_vocab(const gguf *g, rs_error *err) {
    const rs_tensor *t = rs_checkpoint_find(g->c, "token_embd.weight");
    int64_t tokens = (int64_t)rs_json_size(rs_json_get(g->r->root, "tokenizer.ggml.tokens"));
    int64_t rows = t && t->n_dims == 2 && t->dims[0] > 0 && t->dims[0] <= RS_MOST_VOCAB ? t->dims[0] : tokens;
    return read_int(g, "vocab_size", RS_MOST_VOCAB, rows, &g->d->vocab, err);
}

static rs_status read_head_dims(const gguf *g, rs_error *err) {
    rs_status st = RS_OK;
    rs_draft *d = g->d;
    int64_t heads = d->layer[0].heads, stated = -1;
    RS_TRY(read_int(g, "attention.key_length", RS_MOST_HEAD_DIM, -1, &stated, err));
    if (stated < 0 && d->width % heads != 0)
        return rs_fail(
            err, RS_E_MISMATCH,
            "%s: field '%s.embedding_length': found %lld, expected a multiple of attention.head_count, %lld, since "
            "attention.key_length is not given",
            g->r->file, g->arch, (long long)d->width, (long long)heads);
    d->head_dim = stated > 0 ? stated : d->width / heads;
    RS_TRY(read_int(g, "attention.value_length", RS_MOST_HEAD_DIM, d->head_dim, &d->v_dim, err));
out:
    return st;
}

static rs_status read_dims(const gguf *g, rs_error *err) {
    rs_status st = RS_OK;
    rs_draft *d = g->d;
    int64_t *list = NULL, *none = NULL, *heads = NULL;
    RS_TRY(read_int(g, "embedding_length", RS_MOST_WIDTH, 0, &d->width, err));
    RS_TRY(read_int(g, "block_count", RS_MOST_LAYERS, 0, &d->layers, err));
    RS_TRY(read_int(g, "context_length", RS_MOST_CONTEXT, 0, &d->context, err));
    RS_TRY(read_vocab(g, err));
    RS_TRY(RS_ARENA_NEW(g->r->arena, &d->layer, (size_t)d->layers, err));
    RS_TRY(RS_ARENA_NEW(g->r->arena, &none, (size_t)d->layers, err));
    RS_TRY(RS_ARENA_NEW(g->r->arena, &list, (size_t)d->layers, err));
    RS_TRY(RS_ARENA_NEW(g->r->arena, &heads, (size_t)d->layers, err));
    RS_TRY(read_per_layer(g, "attention.head_count", RS_MOST_HEADS, none, heads, err));
    for (int64_t l = 0; l < d->layers; l++) d->layer[l] = (rs_layer_draft){.heads = heads[l], .rope = true};
    RS_TRY(read_per_layer(g, "attention.head_count_kv", RS_MOST_HEADS, heads, list, err));
    for (int64_t l = 0; l < d->layers; l++) d->layer[l].kv_heads = list[l];
    RS_TRY(read_per_layer(g, "feed_forward_length", RS_MOST_HIDDEN, none, list, err));
    for (int64_t l = 0; l < d->layers; l++) d->layer[l].hidden = list[l];
    RS_TRY(read_head_dims(g, err));
out:
    return st;
}

/* sliding_window_pattern is a number (layer l slides iff l mod n < n - 1) or one flag per layer. */
static rs_status read_pattern(const gguf *g, rs_error *err) {
    rs_status st = RS_OK;
    const char *key = NULL;
    int64_t n = g->d->family->window_pattern;
    RS_TRY(key_of(g, "attention.sliding_window_pattern", &key, err));
    const rs_json *node = rs_read_node(g->r, key);
    bool list = rs_json_is(node, RS_JSON_ARRAY);
    if (list && (int64_t)rs_json_size(node) != g->d->layers)
        return rs_fail(err, RS_E_MISMATCH, "%s: field '%s': found %zu entries, expected %lld, one per layer",
                       g->r->file, key, rs_json_size(node), (long long)g->d->layers);
    if (!list && !rs_json_is_null(node)) RS_TRY(rs_node_int(g->r, node, key, 1, RS_MOST_LAYERS, &n, err));
    for (int64_t l = 0; l < g->d->layers; l++) {
        const rs_json *flag = rs_json_at(node, (size_t)l);
        if (list && !rs_json_is(flag, RS_JSON_BOOL))
            return rs_field_fail(g->r, key, flag, "true or false per layer", err);
        g->d->layer[l].kind = (list ? rs_json_bool(flag, false) : l % n < n - 1) ? RS_LAYER_SLIDING : RS_LAYER_FULL;
    }
out:
    return st;
}

static rs_status read_windows(const gguf *g, rs_error *err) {
    rs_status st = RS_OK;
    const rs_family *f = g->d->family;
    const char *key = NULL;
    for (int64_t l = 0; l < g->d->layers && f->nope_interval > 0; l++) /* not in the file; llama.cpp has it in code */
        g->d->layer[l].rope = (l + 1) % f->nope_interval != 0;
    if (f->window == RS_WINDOW_NONE || f->window == RS_WINDOW_TYPES) return RS_OK;
    RS_TRY(key_of(g, "attention.sliding_window", &key, err)); /* 0 = none */
    RS_TRY(rs_read_int(g->r, key, 0, RS_MOST_CONTEXT, false, f->window_width, &g->d->window, err));
    if (g->d->window == 0) return RS_OK;
    if (f->window == RS_WINDOW_PATTERN) return read_pattern(g, err);
    for (int64_t l = 0; l < g->d->layers; l++) g->d->layer[l].kind = RS_LAYER_SLIDING;
out:
    return st;
}

static bool has(const gguf *g, const char *tensor) { return rs_checkpoint_find(g->c, tensor) != NULL; }

static rs_status read_body(const gguf *g, rs_error *err) {
    rs_status st = RS_OK;
    rs_draft *d = g->d;
    const rs_family *f = d->family;
    const char *key = NULL;
    bool rms = f->norm == RS_GRAPH_NORM_RMS;
    RS_TRY(read_real(g, rms ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon", 0, f->eps, &d->eps,
                     err));
    d->act = f->act;
    d->parallel = f->parallel;
    RS_TRY(key_of(g, "use_parallel_residual", &key, err));
    if (f->parallel_key) RS_TRY(rs_read_bool(g->r, key, f->parallel, &d->parallel, err));
    d->attention_bias = f->attention_bias || has(g, "blk.0.attn_q.bias");
    d->mlp_bias = f->mlp_bias || has(g, "blk.0.ffn_up.bias");
    if (f->score_width > 0) { /* the file has no query_pre_attn_scalar: llama.cpp derives it */
        double wide = (double)d->width / (double)d->layer[0].heads, narrow = (double)d->head_dim;
        d->score_scale = 1.0 / sqrt(d->layers == f->gguf_wide_layers ? wide : narrow);
    }
    RS_TRY(read_real(g, "attention.scale", 0, d->score_scale, &d->score_scale, err));
    if (f->final_cap) RS_TRY(read_real(g, "final_logit_softcapping", 0, 0, &d->final_cap, err));
    if (f->score_cap) RS_TRY(read_real(g, "attn_logit_softcapping", 0, 0, &d->score_cap, err));
out:
    return st;
}

/* ---- rotation
 * ------------------------------------------------------------------------------------------------------------ */

/* Keys under ARCH.rope. that are understood; any other that holds a value is refused by name. */
static rs_status check_rope_keys(const gguf *g, rs_error *err) {
    static const char *const known[] = {"dimension_count",     "freq_base",         "freq_base_swa",
                                        "scale_linear",        "scaling.type",      "scaling.factor",
                                        "scaling.attn_factor", "scaling.finetuned", "scaling.original_context_length",
                                        "dimension_count_swa"};
    void *cursor = NULL;
    const char *key = NULL;
    char prefix[KEY_BYTES];
    snprintf(prefix, sizeof prefix, "%.64s.rope.", g->arch);
    for (const rs_json *v = rs_json_next(g->r->root, &cursor, &key); v; v = rs_json_next(g->r->root, &cursor, &key)) {
        bool found = strncmp(key, prefix, strlen(prefix)) != 0 || rs_json_real(v, 1) == 0;
        for (size_t i = 0; i < sizeof known / sizeof *known && !found; i++)
            found = strcmp(key + strlen(prefix), known[i]) == 0;
        if (!found)
            return rs_fail(err, RS_E_UNSUPPORTED, "%s: field '%.80s' is not known in a RoPE configuration", g->r->file,
                           key);
    }
    return RS_OK;
}

/* Values of a table of divisors, one float32 per rotated pair. */
static rs_status read_divisors(const gguf *g, const char *name, rs_rope_spec *s, rs_error *err) {
    rs_status st = RS_OK;
    const rs_tensor *t = rs_checkpoint_find(g->c, name);
    int n = (s->rotary_dim + 1) / 2;
    double *list = NULL;
    float *stored = NULL;
    if (t->dtype != RS_F32 || !t->usable || t->n_dims != 1 || t->dims[0] != n || t->bytes != (int64_t)sizeof(float) * n)
        return rs_fail(err, RS_E_MISMATCH,
                       "%s: tensor '%s': found %s with %lld elements, expected F32 with %d, one per pair", g->r->file,
                       name, t->type_name, (long long)(t->n_dims > 0 ? t->dims[0] : 0), n);
    RS_TRY(RS_ARENA_NEW(g->r->arena, &list, (size_t)n, err));
    RS_TRY(RS_ARENA_NEW(g->r->arena, &stored, (size_t)n, err));
    RS_TRY(rs_checkpoint_read(g->c, t, 0, stored, t->bytes, err));
    for (int i = 0; i < n; i++) list[i] = (double)stored[i];
    s->divisors = list;
    s->n_divisors = n;
    RS_TRY(rs_arena_printf(g->r->arena, &s->source, err, "%s; divisors in tensor %s", s->source, name));
out:
    return st;
}

static rs_status read_scaling(const gguf *g, rs_rope_spec *s, rs_error *err) {
    rs_status st = RS_OK;
    const char *key = NULL, *type = NULL;
    double old = 1;
    RS_TRY(key_of(g, "rope.scaling.type", &key, err));
    RS_TRY(rs_read_string(g->r, key, &type, err));
    RS_TRY(read_real(g, "rope.scale_linear", 0, 1, &old, err));
    RS_TRY(read_real(g, "rope.scaling.factor", 0, old, &s->factor, err));
    RS_TRY(read_real(g, "rope.scaling.attn_factor", 0, 1, &s->attention_factor, err));
    RS_TRY(read_real(g, "rope.scaling.original_context_length", 1, (double)g->d->context, &s->original_context, err));
    if (type && strcmp(type, "none") != 0 && strcmp(type, "linear") != 0 && strcmp(type, "longrope") != 0)
        return rs_fail(err, RS_E_UNSUPPORTED,
                       "%s: field '%s': found '%.40s', known in GGUF files: none, linear, longrope", g->r->file, key,
                       type);
    if (s->factor == 0 || (type && strcmp(type, "none") == 0)) s->factor = 1;
    s->kind = s->factor != 1 ? "linear" : "default"; /* a file that is silent about the type means linear */
    if (has(g, "rope_freqs.weight")) {
        s->kind = "table";
        RS_TRY(read_divisors(g, "rope_freqs.weight", s, err));
    } else if (has(g, "rope_factors_long.weight") && has(g, "rope_factors_short.weight")) {
        s->kind = "longrope";
        bool is_long = s->context > s->original_context;
        RS_TRY(read_divisors(g, is_long ? "rope_factors_long.weight" : "rope_factors_short.weight", s, err));
    } else if (type && strcmp(type, "longrope") == 0) {
        return rs_fail(err, RS_E_MISMATCH,
                       "%s: field '%s': found 'longrope', but the tensors rope_factors_long.weight and "
                       "rope_factors_short.weight are missing",
                       g->r->file, key);
    }
out:
    return st;
}

static rs_status read_rotary_dim(const gguf *g, rs_rope_spec *s, rs_error *err) {
    rs_status st = RS_OK;
    int64_t n = 0;
    const char *key = NULL;
    const rs_family *f = g->d->family;
    RS_TRY(key_of(g, "rope.dimension_count", &key, err));
    RS_TRY(rs_read_int(g->r, key, 0, RS_MOST_HEAD_DIM, false, s->head_dim, &n, err));
    bool whole = !f->partial_prefix && n != s->head_dim;
    if (whole || n > s->head_dim || n % 2 != 0)
        return rs_fail(err, RS_E_MISMATCH, "%s: field '%s': found %lld, expected %s%d", g->r->file, key, (long long)n,
                       whole ? "the head width, " : "an even number up to the head width, ", s->head_dim);
    s->rotary_dim = (int)n;
out:
    return st;
}

static rs_status read_base(const gguf *g, const rs_graph_options *o, const char *name, double otherwise,
                           rs_rope_spec *s, rs_error *err) {
    rs_status st = RS_OK;
    const char *key = NULL;
    double value = 0;
    RS_TRY(key_of(g, name, &key, err));
    RS_TRY(rs_read_real(g->r, key, 1e-6, 1e30, 0, &value, err));
    RS_TRY(rs_pick_base(g->r, o, value > 0, value, key, otherwise, s, err));
out:
    return st;
}

/* llama.cpp's default base is 10000 in every architecture. */
static rs_status read_rope(const gguf *g, const rs_graph_options *o, rs_error *err) {
    static const rs_graph_options no_option = {0};
    rs_status st = RS_OK;
    rs_rope_spec *s = &g->d->rope[RS_LAYER_FULL], *local = &g->d->rope[RS_LAYER_SLIDING];
    const rs_family *f = g->d->family;
    *s = (rs_rope_spec){
        .layout = f->gguf_layout, .hf_layout = f->hf_layout, .head_dim = (int)g->d->head_dim, .factor = 1};
    s->context = (double)(o->context > 0 ? o->context : g->d->context);
    RS_TRY(check_rope_keys(g, err));
    RS_TRY(read_rotary_dim(g, s, err));
    RS_TRY(read_base(g, o, "rope.freq_base", 1e4, s, err));
    *local = *s;
    RS_TRY(read_scaling(g, s, err));
    if (f->local_theta_key) { /* sliding layers have a base of their own and no scaling */
        local->kind = "default";
        local->attention_factor = 1;
        RS_TRY(read_base(g, &no_option, "rope.freq_base_swa", f->local_theta, local, err));
    } else {
        *local = *s;
    }
out:
    return st;
}

/* Keys of other architectures that change what a model computes. */
static const char *const relevant[] = {
    "attention.clamp_kqv",
    "attention.max_alibi_bias",
    "attention.sliding_window",
    "attention.sliding_window_pattern",
    "attention.temperature_scale",
    "attn_logit_softcapping",
    "embedding_scale",
    "expert_count",
    "final_logit_softcapping",
    "logit_scale",
    "residual_scale",
    "use_parallel_residual",
    NULL,
};

rs_status rs_config_gguf(rs_checkpoint *c, const rs_graph_options *o, rs_reader *r, rs_draft *d, rs_error *err) {
    rs_status st = RS_OK;
    gguf g = {.c = c, .r = r, .d = d};
    const char *prefix = NULL;
    r->file = rs_checkpoint_path(c);
    r->root = rs_checkpoint_metadata(c);
    RS_TRY(rs_read_string(r, "general.architecture", &g.arch, err));
    if (!g.arch) return rs_field_fail(r, "general.architecture", NULL, "a string", err);
    d->family = rs_family_by_arch(g.arch);
    if (!d->family)
        return rs_fail(err, RS_E_UNSUPPORTED,
                       "%s: general.architecture '%.80s' is not a family this program can run; known: %s", r->file,
                       g.arch, rs_families());
    d->family_name = d->family->name;
    RS_TRY(rs_read_string(r, "general.name", &d->name, err));
    RS_TRY(rs_arena_strdup(r->arena, &d->name, d->name && *d->name ? d->name : rs_path_base(r->file), err));
    RS_TRY(read_dims(&g, err));
    RS_TRY(read_windows(&g, err));
    RS_TRY(read_body(&g, err));
    RS_TRY(read_rope(&g, o, err));
    RS_TRY(key_of(&g, "", &prefix, err));
    RS_TRY(rs_warn_unused(r, d->family->name, prefix, relevant, err));
    d->tied = true; /* a file with an output tensor has the last word (config.c) */
out:
    return st;
}
