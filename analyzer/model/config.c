/* Metadata -> graph: one of three readers fills a draft, which is checked against itself and the tensors' shapes here.
 */
#include "analyzer/base/text.h"
#include "analyzer/model/config_read.h"

#include <math.h>
#include <string.h>

static rs_status check_layer(const rs_reader *r, const rs_draft *d, int64_t l, rs_error *err) {
    const rs_layer_draft *x = &d->layer[l];
    if (x->heads % x->kv_heads != 0)
        return rs_fail(
            err, RS_E_MISMATCH,
            "%s: layer %lld: num_key_value_heads (head_count_kv) is %lld, expected a divisor of the %lld query heads",
            r->file, (long long)l, (long long)x->kv_heads, (long long)x->heads);
    if (x->heads * d->head_dim > RS_MOST_PROJECTION || x->heads * d->v_dim > RS_MOST_PROJECTION)
        return rs_fail(err, RS_E_FORMAT,
                       "%s: layer %lld: %lld heads of %lld components, expected at most %d components in all", r->file,
                       (long long)l, (long long)x->heads, (long long)d->head_dim, RS_MOST_PROJECTION);
    return RS_OK;
}

static rs_status check_draft(const rs_reader *r, const rs_draft *d, rs_error *err) {
    rs_status st = RS_OK;
    if (d->head_dim < 2 || d->head_dim % 2 != 0 || d->head_dim > RS_MOST_HEAD_DIM)
        return rs_fail(err, RS_E_MISMATCH,
                       "%s: head width: found %lld, expected an even number from 2 to %d: components rotate in pairs",
                       r->file, (long long)d->head_dim, RS_MOST_HEAD_DIM);
    for (int64_t l = 0; l < d->layers && st == RS_OK; l++) st = check_layer(r, d, l, err);
    return st;
}

/* Tables are shared by the layers of one kind: with them a graph of thousands of layers stays small. */
static rs_status build_tables(rs_reader *r, rs_draft *d, rs_rope tables[RS_LAYER_KINDS + 1], rs_error *err) {
    rs_status st = RS_OK;
    rs_rope_spec none = d->rope[RS_LAYER_FULL];
    none.kind = "none";
    none.source = "the layer has no RoPE";
    for (int k = 0; k < RS_LAYER_KINDS; k++) {
        st = rs_rope_build(&d->rope[k], r->arena, &tables[k], err);
        if (st != RS_OK) rs_error_prefix(err, "%s", r->file);
        if (st != RS_OK) return st;
    }
    return rs_rope_build(&none, r->arena, &tables[RS_LAYER_KINDS], err);
}

static rs_layer layer_of(const rs_draft *d, int64_t l, const rs_rope *tables) {
    const rs_layer_draft *x = &d->layer[l];
    return (rs_layer){
        .heads = (int)x->heads,
        .kv_heads = (int)x->kv_heads,
        .head_dim = (int)d->head_dim,
        .v_dim = (int)d->v_dim,
        .hidden = x->hidden,
        .window = x->kind == RS_LAYER_SLIDING ? d->window : 0,
        .scale = d->score_scale > 0 ? d->score_scale : 1.0 / sqrt((double)d->head_dim),
        .softcap = d->score_cap,
        .rope = tables[x->rope ? (int)x->kind : RS_LAYER_KINDS],
    };
}

static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

static void measure(rs_graph *g) {
    for (int l = 0; l < g->n_layers; l++) {
        const rs_layer *x = &g->layers[l];
        g->max_heads = larger(g->max_heads, x->heads);
        g->max_kv_heads = larger(g->max_kv_heads, x->kv_heads);
        g->max_head_dim = larger(g->max_head_dim, x->head_dim);
        g->max_v_dim = larger(g->max_v_dim, x->v_dim);
        g->max_pairs = larger(g->max_pairs, x->rope.n_pairs);
    }
}

/* ---- rope_words
 * ---------------------------------------------------------------------------------------------------------- */

static bool same_words(const rs_layer *a, const rs_layer *b) {
    return strcmp(a->rope.words, b->rope.words) == 0 && a->window == b->window;
}

static bool first_of_its_words(const rs_graph *g, int layer) {
    for (int i = 0; i < layer; i++)
        if (same_words(&g->layers[i], &g->layers[layer])) return false;
    return true;
}

enum { LISTED_RUNS = 12 };

/* " on layers 0-4, 6-10" of the layers with the words of layer `like`. */
static void put_layers(rs_text *t, const rs_graph *g, int like) {
    int runs = 0, layers = 0;
    for (int i = 0; i < g->n_layers; i++) layers += same_words(&g->layers[like], &g->layers[i]);
    rs_text_append(t, layers == 1 ? " on layer" : " on layers");
    for (int i = 0; i < g->n_layers; i++) {
        int last = i;
        if (!same_words(&g->layers[like], &g->layers[i])) continue;
        while (last + 1 < g->n_layers && same_words(&g->layers[like], &g->layers[last + 1])) last++;
        if (runs < LISTED_RUNS) rs_text_printf(t, last > i ? "%s%d-%d" : "%s%d", runs > 0 ? ", " : " ", i, last);
        runs++;
        i = last;
    }
    if (runs > LISTED_RUNS) rs_text_printf(t, ", ... (%d of %d layers)", layers, g->n_layers);
}

static void put_one_table(rs_text *t, const rs_layer *l) {
    char count[32];
    rs_text_append(t, l->rope.words);
    if (l->window > 0) rs_text_printf(t, " in a window of %s", rs_format_count(count, l->window));
}

static bool two_bases(const rs_graph *g) {
    double first = 0;
    for (int i = 0; i < g->n_layers; i++) {
        double base = g->layers[i].rope.base;
        if (base > 0 && first > 0 && base != first) return true;
        if (base > 0) first = base;
    }
    return false;
}

static rs_status describe(rs_reader *r, rs_graph *g, rs_error *err) {
    rs_status st = RS_OK;
    rs_text t = {0};
    char count[32];
    int shown = 0, kinds = 0;
    for (int i = 0; i < g->n_layers; i++) kinds += first_of_its_words(g, i);
    if (two_bases(g)) rs_text_append(&t, "two bases: ");
    for (int i = 0; i < g->n_layers; i++) {
        if (!first_of_its_words(g, i)) continue;
        if (shown++ > 0) rs_text_append(&t, two_bases(g) ? "; " : ", ");
        put_one_table(&t, &g->layers[i]);
        if (kinds > 1 && (shown > 1 || two_bases(g) || g->layers[i].rope.n_rotated == 0)) put_layers(&t, g, i);
    }
    rs_text_printf(&t, ", trained context %s", rs_format_count(count, g->trained_context));
    RS_TRY(rs_text_status(&t, err));
    RS_TRY(rs_arena_strdup(r->arena, &g->rope_words, t.data, err));
out:
    rs_text_deinit(&t);
    return st;
}

/* ---- what the tensors say
 * ------------------------------------------------------------------------------------------------- */

/* A file with an unembedding of its own uses it whatever the flag says: transformers ties only what is missing or
 * equal. */
static rs_status settle_tie(rs_checkpoint *c, rs_reader *r, rs_draft *d, rs_error *err) {
    const rs_naming *names = rs_checkpoint_container(c) == RS_CONTAINER_GGUF ? d->family->gguf : d->family->hf;
    for (int i = 0; d->tied && i < RS_SOURCES && names->role[RS_W_UNEMBED][i].pattern; i++) {
        const char *name = names->role[RS_W_UNEMBED][i].pattern;
        if (!rs_checkpoint_find(c, name)) continue;
        d->tied = false;
        if (rs_checkpoint_container(c) == RS_CONTAINER_HF)
            return rs_warn(r, err, "%s: tie_word_embeddings is true, but there is a tensor '%s': it is used", r->file,
                           name);
    }
    return RS_OK;
}

static rs_status warn_other_tensors(rs_checkpoint *c, rs_reader *r, const rs_family *f, rs_error *err) {
    int64_t n = 0;
    const char *example = NULL;
    for (size_t i = 0; i < rs_checkpoint_tensor_count(c); i++) {
        const char *name = rs_checkpoint_tensor(c, i)->name;
        for (int k = 0; k < RS_FAMILY_NAMES && f->other_tensors[k]; k++) {
            if (!rs_starts_with(name, f->other_tensors[k])) continue;
            n++;
            example = name;
        }
    }
    if (n == 0) return RS_OK;
    return rs_warn(r, err, "%lld tensors outside the text model are left alone ('%.80s', ...)", (long long)n, example);
}

static rs_status fill_graph(rs_reader *r, rs_draft *d, rs_graph *g, rs_error *err) {
    rs_status st = RS_OK;
    rs_rope tables[RS_LAYER_KINDS + 1];
    rs_layer *layers = NULL;
    const char **warnings = NULL;
    const rs_family *f = d->family;
    *g = (rs_graph){.family = d->family_name,
                    .n_layers = (int)d->layers,
                    .width = d->width,
                    .vocab = d->vocab,
                    .trained_context = d->context,
                    .norm = f->norm,
                    .norm_eps = (float)d->eps,
                    .norm_add = d->norm_add,
                    .act = d->act,
                    .gated = f->gated,
                    .parallel = d->parallel,
                    .post_norms = f->post_norms,
                    .qk_norm = f->qk_norm,
                    .norm_bias = f->norm_bias,
                    .qkv_bias = d->attention_bias,
                    .o_bias = d->attention_bias,
                    .mlp_bias = d->mlp_bias,
                    .tied = d->tied,
                    .logit_scale = 1,
                    .final_softcap = (float)d->final_cap};
    g->embed_scale = f->embed_sqrt ? (float)sqrt((double)d->width) : 1;
    RS_TRY(rs_arena_strdup(r->arena, &g->name, d->name, err));
    RS_TRY(build_tables(r, d, tables, err));
    RS_TRY(RS_ARENA_NEW(r->arena, &layers, (size_t)d->layers, err));
    for (int64_t l = 0; l < d->layers; l++) layers[l] = layer_of(d, l, tables);
    g->layers = layers;
    measure(g);
    RS_TRY(describe(r, g, err));
    RS_TRY(RS_ARENA_NEW(r->arena, &warnings, (size_t)r->n_warnings + 1, err));
    memcpy(warnings, r->warnings, sizeof *warnings * (size_t)r->n_warnings);
    g->warnings = warnings;
    g->n_warnings = r->n_warnings;
out:
    return st;
}

rs_status rs_graph_create(rs_checkpoint *c, const rs_graph_options *o, rs_arena *arena, const rs_graph **out,
                          rs_error *err) {
    static const rs_graph_options defaults = {0};
    static rs_status (*const readers[])(rs_checkpoint *, const rs_graph_options *, rs_reader *, rs_draft *,
                                        rs_error *) = {
        [RS_CONTAINER_HF] = rs_config_hf,
        [RS_CONTAINER_GGUF] = rs_config_gguf,
        [RS_CONTAINER_LLAMA2C] = rs_config_llama2c,
    };
    rs_status st = RS_OK;
    rs_graph *g = NULL;
    rs_reader *r = NULL;
    rs_draft *d = NULL;
    if (!o) o = &defaults;
    RS_TRY(RS_ARENA_NEW(arena, &g, 1, err));
    RS_TRY(RS_ARENA_NEW(arena, &r, 1, err));
    RS_TRY(RS_ARENA_NEW(arena, &d, 1, err));
    r->arena = arena;
    RS_TRY(readers[rs_checkpoint_container(c)](c, o, r, d, err));
    RS_TRY(check_draft(r, d, err));
    RS_TRY(settle_tie(c, r, d, err));
    RS_TRY(warn_other_tensors(c, r, d->family, err));
    RS_TRY(fill_graph(r, d, g, err));
    *out = g;
out:
    return st;
}
