/* probes/moments.c: first and second moments of the complex pairs before rotation, and what follows from them in closed
 * form: direction (concentration), the mean logit by distance, what zeroing or un-rotating a pair does to the logits
 * softmax sees, and how much of a head's logit is position and how much content (closed_form.h). Beside each closed
 * form stands a sampled estimate from some query rows of every sequence. This file gathers; moments_finish.c derives.
 * Position 0 (the sink) is left out. */
#include "probes/moments.h"

#include "analyzer/base/alloc.h"
#include "analyzer/base/rng.h"
#include "probes/tally.h"

#include <string.h>

enum { S_Q, S_K, S_SAMPLE, S_HEADS, S_SEQUENCES }; /* order of declaration = index into rs_probe_state */

static const uint32_t FEATURES = 1u << RS_PAIR_ABS | 1u << RS_PAIR_ABS2 | 1u << RS_PAIR_RE | 1u << RS_PAIR_IM |
                                 1u << RS_PAIR_SQ_RE | 1u << RS_PAIR_SQ_IM | 1u << RS_PAIR_U_RE | 1u << RS_PAIR_U_IM;
static const uint32_t MEAN_FEATURES = 1u << RS_PAIR_RE | 1u << RS_PAIR_IM;

/* Device memory for one sequence; offsets in bytes. */
typedef struct scratch {
    rs_mem *index;  /* i32: bucket map [T], then sampled rows [RS_SAMPLE_ROWS] */
    rs_mem *means;  /* f64: sums, then means of q [H, 2, F] and k [K, 2, F] of this sequence */
    rs_mem *tables; /* f64: theta [F], factor [F] of `layer` */
    int32_t rows[RS_SAMPLE_ROWS];
    int64_t positions, n_rows;
    uint64_t seed;
    int layer; /* whose tables are on the device; -1 = none */
} scratch;

static bool wants(rs_site site) { return site == RS_SITE_K_ROPE; /* q is readable then, too */ }

static rs_status declare_pairs(const char *name, const char *text, const char *heads, int64_t H, const char *terms,
                               int64_t n, int64_t F, rs_arrays *state, rs_error *err) {
    rs_status st = RS_OK;
    rs_array *a = NULL;
    RS_TRY(rs_arrays_add(state, &a, err, name, RS_F64, "1", text, 4, "fold", (int64_t)RS_FOLDS, heads, H, terms, n,
                         "pair", F));
    rs_tally_zero(a);
out:
    return st;
}

static rs_status declare(const rs_probe_facts *facts, int layer, rs_arrays *state, rs_error *err) {
    rs_status st = RS_OK;
    rs_array *a = NULL;
    const rs_layer *l = &facts->graph->layers[layer];
    int64_t F = l->rope.n_pairs;
    RS_TRY(declare_pairs("state/moments/q",
                         "sums over positions 1..T-1 of |z|, |z|^2, Re z, Im z, Re z^2, Im z^2, Re z/|z|, Im z/|z|",
                         "head", l->heads, "moment_feature", RS_MOMENT_FEATURES, F, state, err));
    RS_TRY(declare_pairs("state/moments/k",
                         "sums over positions 1..T-1 of |z|, |z|^2, Re z, Im z, Re z^2, Im z^2, Re z/|z|, Im z/|z|",
                         "kv_head", l->kv_heads, "moment_feature", RS_MOMENT_FEATURES, F, state, err));
    RS_TRY(declare_pairs("state/moments/sample",
                         "sums over sampled query rows: change of the centred logit when the pair is zeroed, "
                         "un-rotated; the same uncentred; mean |q||k|",
                         "head", l->heads, "sample_term", RS_SAMPLES, F, state, err));
    RS_TRY(rs_arrays_add(state, &a, err, "state/moments/sample_head", RS_F64, "1",
                         "sums over sampled query rows: variance of the logit, of its four terms (position, key "
                         "content, query content, both), and number of rows",
                         3, "fold", (int64_t)RS_FOLDS, "head", (int64_t)l->heads, "head_term", (int64_t)RS_HEAD_TERMS));
    rs_tally_zero(a);
    RS_TRY(rs_tally_declare_sequences(state, "moments", "fold", RS_FOLDS, err));
out:
    return st;
}

static void end(void *ctx, const rs_backend *b, rs_device *d) {
    scratch *s = ctx;
    b->release(d, s->index);
    b->release(d, s->means);
    b->release(d, s->tables);
    rs_free(s);
}

static rs_status write_map(const scratch *s, const rs_backend *b, rs_device *d, rs_error *err) {
    rs_status st = RS_OK;
    int32_t *map = NULL; /* everything but the sink into one bucket */
    RS_TRY(RS_NEW(&map, (size_t)s->positions, err));
    map[0] = -1;
    RS_TRY(b->write(d, s->index, 0, map, (size_t)s->positions * sizeof *map, err));
out:
    rs_free(map);
    return st;
}

/* Doubles the per-sequence means of the largest layer take. */
static size_t most_means(const rs_graph *g) {
    size_t most = 1;
    for (int l = 0; l < g->n_layers; l++) {
        const rs_layer *a = &g->layers[l];
        size_t n = 2 * (size_t)a->rope.n_pairs * (size_t)(a->heads + a->kv_heads);
        most = n > most ? n : most;
    }
    return most;
}

static rs_status begin(const rs_probe_facts *facts, const rs_backend *b, rs_device *d, void **out, rs_error *err) {
    rs_status st = RS_OK;
    scratch *s = NULL;
    size_t means = most_means(facts->graph),
           pairs = (size_t)(facts->graph->max_pairs > 0 ? facts->graph->max_pairs : 1);
    *out = NULL;
    RS_TRY(RS_NEW(&s, 1, err));
    s->positions = facts->positions;
    s->seed = facts->seed;
    s->layer = -1;
    RS_TRY(b->alloc(d, ((size_t)facts->positions + RS_SAMPLE_ROWS) * sizeof(int32_t), &s->index, err));
    RS_TRY(b->alloc(d, means * sizeof(double), &s->means, err));
    RS_TRY(b->alloc(d, 2 * pairs * sizeof(double), &s->tables, err));
    RS_TRY(write_map(s, b, d, err));
    *out = s;
    s = NULL;
out:
    if (s) {
        end(s, b, d);
    }
    return st;
}

/* FNV-1a over the tokens. */
static uint64_t hash_ids(const int32_t *ids, int64_t n) {
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (int64_t t = 0; t < n; t++) {
        for (int byte = 0; byte < 4; byte++) {
            h = (h ^ (((uint32_t)ids[t] >> (8 * byte)) & 0xffu)) * UINT64_C(0x100000001b3);
        }
    }
    return h;
}

uint64_t rs_moments_seed(uint64_t seed, const int32_t *ids, int64_t positions) {
    return seed ^ hash_ids(ids, positions);
}

int64_t rs_moments_rows(uint64_t seed, const int32_t *ids, int64_t positions, int32_t *rows) {
    rs_rng rng;
    rs_rng_init(&rng, rs_moments_seed(seed, ids, positions));
    int64_t able = positions - 2, n = able < RS_SAMPLE_ROWS ? able : RS_SAMPLE_ROWS;
    for (int64_t i = 0; i < n; i++) {
        int64_t from = able * i / n, to = able * (i + 1) / n;
        rows[i] = (int32_t)(2 + from + rs_rng_below(&rng, to - from));
    }
    return n > 0 ? n : 0;
}

static rs_status prepare_layer(scratch *s, const rs_frame *f, rs_error *err) {
    rs_status st = RS_OK;
    const rs_rope *r = &f->layer_info->rope;
    size_t bytes = (size_t)r->n_pairs * sizeof(double);
    if (s->layer == f->layer) {
        return RS_OK;
    }
    RS_TRY(f->backend->write(f->device, s->tables, 0, r->theta, bytes, err));
    RS_TRY(f->backend->write(f->device, s->tables, bytes, r->factor, bytes, err));
    s->layer = f->layer;
out:
    return st;
}

static rs_op reduce(const scratch *s, const rs_frame *f, rs_view x, uint32_t features, rs_view out) {
    return (rs_op){.kind = RS_OP_PAIR_REDUCE,
                   .u.pair_reduce = {.x = x,
                                     .component_lo = f->component_lo,
                                     .component_hi = f->component_hi,
                                     .bucket = rs_view_1d(s->index, 0, RS_I32, s->positions),
                                     .out = out,
                                     .features = features}};
}

/* [heads, features, pairs] with the op's bucket axis, of which there is one, in front. */
static rs_view one_bucket(rs_view v) { return rs_view_4d(v.mem, v.offset, v.dtype, 1, v.dim[0], v.dim[1], v.dim[2]); }

static rs_status sample(scratch *s, const rs_frame *f, rs_view q_mean, rs_view k_mean, const rs_probe_state *state,
                        rs_error *err) {
    rs_status st = RS_OK;
    const rs_layer *l = f->layer_info;
    int64_t F = l->rope.n_pairs;
    size_t rows_at = (size_t)s->positions * sizeof(int32_t);
    s->n_rows = rs_moments_rows(s->seed, f->ids, s->positions, s->rows);
    if (s->n_rows == 0) {
        return RS_OK;
    }
    RS_TRY(f->backend->write(f->device, s->index, rows_at, s->rows, (size_t)s->n_rows * sizeof *s->rows, err));
    rs_op op = {.kind = RS_OP_LOGIT_SAMPLE,
                .u.logit_sample = {.q = f->q_rope,
                                   .k = f->k_rope,
                                   .component_lo = f->component_lo,
                                   .component_hi = f->component_hi,
                                   .theta = rs_view_1d(s->tables, 0, RS_F64, F),
                                   .factor = rs_view_1d(s->tables, (size_t)F * sizeof(double), RS_F64, F),
                                   .q_mean = q_mean,
                                   .k_mean = k_mean,
                                   .rows = rs_view_1d(s->index, rows_at, RS_I32, s->n_rows),
                                   .out = state->view[S_SAMPLE],
                                   .head_out = state->view[S_HEADS],
                                   .window = l->window,
                                   .scale = l->scale}};
    RS_TRY(rs_run_ops(f->backend, f->device, &op, 1, err));
out:
    return st;
}

static rs_status observe(void *ctx, const rs_probe_facts *facts, const rs_frame *f, const rs_probe_state *state,
                         rs_error *err) {
    rs_status st = RS_OK;
    scratch *s = ctx;
    const rs_layer *l = f->layer_info;
    int64_t F = l->rope.n_pairs, nq = 2 * l->heads * F, n = nq + 2 * l->kv_heads * F;
    if (facts->positions < 2 || F == 0) {
        return RS_OK;
    }
    rs_view q_mean = rs_view_3d(s->means, 0, RS_F64, l->heads, 2, F);
    rs_view k_mean = rs_view_3d(s->means, (size_t)nq * sizeof(double), RS_F64, l->kv_heads, 2, F);
    rs_view means = rs_view_2d(s->means, 0, RS_F64, 1, n);
    /* Means of this sequence alone: the split of a logit into position and content is made inside a sequence. */
    rs_op share = {.kind = RS_OP_ADD, .u.add = {.x = means, .y = means, .a = 1.0 / (double)(facts->positions - 1)}};
    rs_op ops[5] = {reduce(s, f, f->q_rope, FEATURES, one_bucket(state->view[S_Q])),
                    reduce(s, f, f->k_rope, FEATURES, one_bucket(state->view[S_K])),
                    reduce(s, f, f->q_rope, MEAN_FEATURES, one_bucket(q_mean)),
                    reduce(s, f, f->k_rope, MEAN_FEATURES, one_bucket(k_mean)), share};
    RS_TRY(prepare_layer(s, f, err));
    RS_TRY(f->backend->zero(f->device, s->means, 0, (size_t)n * sizeof(double), err));
    RS_TRY(rs_run_ops(f->backend, f->device, ops, 5, err));
    RS_TRY(sample(s, f, q_mean, k_mean, state, err));
out:
    return st;
}

const rs_probe_kind rs_moments = {
    .name = "moments",
    .title = "moments of queries and keys, and the cost of zeroing or un-rotating a pair",
    .source = "closed forms of E z, E|z|^2, E z^2 under causal attention (closed_form.h); concentration and distance "
              "curve: TriAttention (arXiv 2604.04921)",
    .folds = RS_FOLDS,
    .wants = wants,
    .declare = declare,
    .begin = begin,
    .observe = observe,
    .end = end,
    .finish = rs_moments_finish,
};
