/* probes/frequency_norm.c: how long the pairs of queries and keys are, by frequency: which frequencies a head uses.
 * By Cauchy-Schwarz a pair cannot add more than |q_i||k_i| to a logit (Barbero et al., ICLR 2025, section 4). Values
 * carry no rotation and are the control. Position 0 (the sink) has sums of its own. */
#include "analyzer/base/alloc.h"
#include "probes/axis.h"
#include "probes/kinds.h"
#include "probes/tally.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Features summed for every place, in the order of rs_pair_feature. */
enum { F_ABS, F_ABS2, F_TOP, F_COUNT };
static const uint32_t FEATURES = 1u << RS_PAIR_ABS | 1u << RS_PAIR_ABS2 | 1u << RS_PAIR_TOP;
enum { PLACE_SINK, PLACE_REST, PLACES };
/* Order of declaration = index into rs_probe_state. */
enum { S_Q, S_K, S_V, S_Q_BUCKET, S_K_BUCKET, S_SEQUENCES };

/* Maps from positions to rows of the sums, on the device. */
typedef struct scratch {
    rs_mem *maps; /* [2, T] i32: place, then bucket */
    int64_t positions;
} scratch;

static bool wants(rs_site site) { return site == RS_SITE_Q_ROPE || site == RS_SITE_K_ROPE || site == RS_SITE_V; }

static rs_status declare_norms(const char *name, const char *text, const char *heads, int64_t H, const char *pairs,
                               int64_t F, rs_arrays *state, rs_error *err) {
    rs_status st = RS_OK;
    rs_array *a = NULL;
    RS_TRY(rs_arrays_add(state, &a, err, name, RS_F64, "1", text, 5, "fold", (int64_t)RS_FOLDS, "place",
                         (int64_t)PLACES, heads, H, "norm_feature", (int64_t)F_COUNT, pairs, F));
    rs_tally_zero(a);
out:
    return st;
}

static rs_status declare_buckets(const char *name, const char *text, const char *heads, int64_t H, int64_t F, int64_t B,
                                 rs_arrays *state, rs_error *err) {
    rs_status st = RS_OK;
    rs_array *a = NULL;
    RS_TRY(rs_arrays_add(state, &a, err, name, RS_F64, "1", text, 4, "fold", (int64_t)RS_FOLDS, "bucket", B, heads, H,
                         "pair", F));
    rs_tally_zero(a);
out:
    return st;
}

static rs_status declare(const rs_probe_facts *facts, int layer, rs_arrays *state, rs_error *err) {
    rs_status st = RS_OK;
    const rs_layer *l = &facts->graph->layers[layer];
    int64_t F = l->rope.n_pairs, B = rs_bucket_axis(facts->positions, NULL);
    RS_TRY(declare_norms("state/frequency_norm/q",
                         "sums of |q_i|, |q_i|^2 and of being the longest pair, by place (position 0; all others)",
                         "head", l->heads, "pair", F, state, err));
    RS_TRY(declare_norms("state/frequency_norm/k",
                         "sums of |k_i|, |k_i|^2 and of being the longest pair, by place (position 0; all others)",
                         "kv_head", l->kv_heads, "pair", F, state, err));
    RS_TRY(declare_norms("state/frequency_norm/v",
                         "sums of |v_j|, |v_j|^2 and of being the longest pair, by place (position 0; all others)",
                         "kv_head", l->kv_heads, "v_pair", l->v_dim / 2, state, err));
    RS_TRY(declare_buckets("state/frequency_norm/q_bucket", "sums of |q_i| by bucket of positions", "head", l->heads, F,
                           B, state, err));
    RS_TRY(declare_buckets("state/frequency_norm/k_bucket", "sums of |k_i| by bucket of positions", "kv_head",
                           l->kv_heads, F, B, state, err));
    RS_TRY(rs_tally_declare_sequences(state, "frequency_norm", "fold", RS_FOLDS, err));
out:
    return st;
}

static void end(void *ctx, const rs_backend *b, rs_device *d) {
    scratch *s = ctx;
    b->release(d, s->maps);
    rs_free(s);
}

static void fill_maps(int64_t positions, int32_t *place, int32_t *bucket) {
    double axis[RS_BUCKETS_MOST];
    int64_t n = rs_bucket_axis(positions, axis);
    for (int64_t t = 0; t < positions; t++) {
        place[t] = t == 0 ? PLACE_SINK : PLACE_REST;
        bucket[t] = (int32_t)rs_axis_find(axis, n, (double)t); /* -1 for position 0 */
    }
}

static rs_status begin(const rs_probe_facts *facts, const rs_backend *b, rs_device *d, void **out, rs_error *err) {
    rs_status st = RS_OK;
    scratch *s = NULL;
    int32_t *maps = NULL;
    size_t T = (size_t)facts->positions;
    *out = NULL;
    RS_TRY(RS_NEW(&s, 1, err));
    s->positions = facts->positions;
    RS_TRY(RS_NEW(&maps, 2 * T, err));
    fill_maps(facts->positions, maps, maps + T);
    RS_TRY(b->alloc(d, 2 * T * sizeof *maps, &s->maps, err));
    RS_TRY(b->write(d, s->maps, 0, maps, 2 * T * sizeof *maps, err));
    *out = s;
    s = NULL;
out:
    rs_free(maps);
    if (s) {
        end(s, b, d);
    }
    return st;
}

static rs_op reduce(const scratch *s, const rs_frame *f, bool buckets, bool paired, uint32_t features, rs_view out) {
    size_t at = buckets ? (size_t)s->positions * sizeof(int32_t) : 0;
    return (rs_op){.kind = RS_OP_PAIR_REDUCE,
                   .u.pair_reduce = {.x = f->view,
                                     .component_lo = paired ? f->component_lo : RS_ABSENT,
                                     .component_hi = paired ? f->component_hi : RS_ABSENT,
                                     .bucket = rs_view_1d(s->maps, at, RS_I32, s->positions),
                                     .out = out,
                                     .features = features}};
}

/* [buckets, H, F] as the op wants it: [buckets, H, 1, F]. */
static rs_view one_feature(rs_view v) { return rs_view_4d(v.mem, v.offset, v.dtype, v.dim[0], v.dim[1], 1, v.dim[2]); }

static rs_status observe(void *ctx, const rs_probe_facts *facts, const rs_frame *f, const rs_probe_state *state,
                         rs_error *err) {
    const scratch *s = ctx;
    rs_op ops[2];
    size_t n = 1;
    if (f->site == RS_SITE_V) {
        ops[0] = reduce(s, f, false, false, FEATURES, state->view[S_V]);
        ops[0].u.pair_reduce.x.dim[2] &= ~INT64_C(1); /* an odd width leaves its last component without a partner */
    } else {
        bool q = f->site == RS_SITE_Q_ROPE;
        ops[0] = reduce(s, f, false, true, FEATURES, state->view[q ? S_Q : S_K]);
        if (facts->positions > 1) {
            ops[n++] =
                reduce(s, f, true, true, 1u << RS_PAIR_ABS, one_feature(state->view[q ? S_Q_BUCKET : S_K_BUCKET]));
        }
    }
    return rs_run_ops(f->backend, f->device, ops, n, err);
}

/* --- raw sums -> results
 * ----------------------------------------------------------------------------------------------------- */

/* What q, k and v have in common. */
typedef struct side {
    const char *letter, *heads, *pairs; /* "q", "head", "pair" */
    int64_t H, F;
    double *sum;      /* [PLACES, H, F_COUNT, F] over all folds */
    double sequences; /* of all folds */
    double rows;      /* tokens at positions >= 1 */
} side;

static double feature(const side *s, int place, int64_t h, int what, int64_t f) {
    return s->sum[((place * s->H + h) * F_COUNT + what) * s->F + f];
}

static rs_status add_pairs(const side *s, const char *suffix, const char *text, double rows, rs_arrays *out,
                           double **cells, rs_error *err) {
    rs_status st = RS_OK;
    rs_array *a = NULL;
    char name[RS_NAME_BYTES];
    snprintf(name, sizeof name, "frequency_norm/%s_%s", s->letter, suffix);
    RS_TRY(rs_arrays_add(out, &a, err, name, RS_F32, "1", text, 2, s->heads, s->H, s->pairs, s->F));
    a->count = (int64_t)rows;
    *cells = a->data;
out:
    return st;
}

static rs_status finish_mean(const side *s, rs_arrays *out, rs_error *err) {
    rs_status st = RS_OK;
    double *mean = NULL, *rms = NULL, *share = NULL;
    RS_TRY(add_pairs(s, "mean", "mean 2-norm of the pair over positions 1..T-1", s->rows, out, &mean, err));
    RS_TRY(add_pairs(s, "rms", "root mean square of the pair's 2-norm over positions 1..T-1", s->rows, out, &rms, err));
    RS_TRY(add_pairs(s, "share", "mean 2-norm of the pair divided by its sum over the pairs of the head", s->rows, out,
                     &share, err));
    for (int64_t h = 0; h < s->H; h++) {
        double whole = 0.0;
        for (int64_t f = 0; f < s->F; f++) {
            whole += feature(s, PLACE_REST, h, F_ABS, f);
        }
        for (int64_t f = 0; f < s->F; f++) {
            double sum = feature(s, PLACE_REST, h, F_ABS, f);
            mean[h * s->F + f] = rs_tally_ratio(sum, s->rows);
            rms[h * s->F + f] = sqrt(rs_tally_ratio(feature(s, PLACE_REST, h, F_ABS2, f), s->rows));
            share[h * s->F + f] = rs_tally_ratio(sum, whole);
        }
    }
out:
    return st;
}

static rs_status finish_sink(const side *s, rs_arrays *out, rs_error *err) {
    rs_status st = RS_OK;
    double *mean = NULL;
    RS_TRY(add_pairs(s, "mean_sink", "mean 2-norm of the pair at position 0", s->sequences, out, &mean, err));
    for (int64_t h = 0; h < s->H; h++) {
        for (int64_t f = 0; f < s->F; f++) {
            mean[h * s->F + f] = rs_tally_ratio(feature(s, PLACE_SINK, h, F_ABS, f), s->sequences);
        }
    }
out:
    return st;
}

static rs_status finish_top(const side *s, rs_arrays *out, rs_error *err) {
    rs_status st = RS_OK;
    double *top = NULL;
    rs_array *pair = NULL;
    char name[RS_NAME_BYTES];
    snprintf(name, sizeof name, "frequency_norm/%s_top_pair", s->letter);
    RS_TRY(add_pairs(s, "top", "share of tokens (positions 1..T-1) whose longest pair it is", s->rows, out, &top, err));
    for (int64_t h = 0; h < s->H; h++) {
        for (int64_t f = 0; f < s->F; f++) {
            top[h * s->F + f] = rs_tally_ratio(feature(s, PLACE_REST, h, F_TOP, f), s->rows);
        }
    }
    RS_TRY(rs_arrays_add(out, &pair, err, name, RS_F32, "1",
                         "the pair that is most often the longest (the first one on ties)", 1, s->heads, s->H));
    pair->count = (int64_t)s->rows;
    for (int64_t h = 0; h < s->H && s->rows > 0; h++) {
        int64_t best = 0;
        for (int64_t f = 1; f < s->F; f++) {
            if (feature(s, PLACE_REST, h, F_TOP, f) > feature(s, PLACE_REST, h, F_TOP, best)) {
                best = f;
            }
        }
        pair->data[h] = (double)best;
    }
out:
    return st;
}

static rs_status finish_buckets(const side *s, const rs_probe_facts *facts, const rs_arrays *state, rs_arrays *out,
                                rs_error *err) {
    rs_status st = RS_OK;
    double first[RS_BUCKETS_MOST + 1], *sum = NULL;
    rs_array *a = NULL;
    char name[RS_NAME_BYTES], raw[RS_NAME_BYTES];
    int64_t B = rs_bucket_axis(facts->positions, first);
    first[B] = (double)facts->positions;
    snprintf(name, sizeof name, "frequency_norm/%s_bucket_mean", s->letter);
    snprintf(raw, sizeof raw, "state/frequency_norm/%s_bucket", s->letter);
    RS_TRY(rs_tally_sum(state, raw, 0, 1, &sum, NULL, err));
    RS_TRY(rs_arrays_add(out, &a, err, name, RS_F32, "1",
                         "mean 2-norm of the pair over the positions of a bucket (from its first to the next one's)", 3,
                         "bucket", B, s->heads, s->H, "pair", s->F));
    a->count = (int64_t)s->sequences;
    for (int64_t b = 0; b < B; b++) {
        double rows = s->sequences * (first[b + 1] - first[b]);
        for (int64_t i = b * s->H * s->F; i < (b + 1) * s->H * s->F; i++) {
            a->data[i] = rs_tally_ratio(sum[i], rows);
        }
    }
out:
    rs_free(sum);
    return st;
}

static rs_status finish_halves(const side *s, const rs_arrays *state, rs_arrays *out, rs_error *err) {
    rs_status st = RS_OK;
    double *even = NULL, *odd = NULL;
    rs_array *a = NULL;
    char name[RS_NAME_BYTES], raw[RS_NAME_BYTES];
    snprintf(name, sizeof name, "frequency_norm/%s_split_half", s->letter);
    snprintf(raw, sizeof raw, "state/frequency_norm/%s", s->letter);
    RS_TRY(rs_tally_sum(state, raw, 0, 2, &even, NULL, err));
    RS_TRY(rs_tally_sum(state, raw, 1, 2, &odd, NULL, err));
    RS_TRY(rs_arrays_add(
        out, &a, err, name, RS_F32, "1",
        "correlation over pairs of the mean 2-norms of even and of odd sequences; no value when one half is empty", 1,
        s->heads, s->H));
    a->count = (int64_t)s->rows;
    for (int64_t h = 0; h < s->H; h++) {
        /* Sums in place of means: a correlation does not see the number of rows. An empty half does not vary: NaN. */
        int64_t at = ((PLACE_REST * s->H + h) * F_COUNT + F_ABS) * s->F;
        a->data[h] = rs_tally_correlation(even + at, odd + at, s->F);
    }
out:
    rs_free(even);
    rs_free(odd);
    return st;
}

/* The share of each pair, mean over heads, in draws of the folds. Every fold has as many positions per sequence, so
 * sums take the place of means. */
static rs_status finish_bootstrap(const side *s, const rs_arrays *state, rs_arrays *out, rs_error *err) {
    rs_status st = RS_OK;
    int weight[RS_RESAMPLES][RS_FOLDS];
    bool drawn = false;
    rs_array *a = NULL;
    double *sum = NULL; /* [F] of a head in a draw */
    char name[RS_NAME_BYTES], raw[RS_NAME_BYTES];
    snprintf(name, sizeof name, "frequency_norm/%s_share_bootstrap", s->letter);
    snprintf(raw, sizeof raw, "state/frequency_norm/%s", s->letter);
    const rs_array *folds = rs_arrays_find(state, raw); /* [fold, PLACES, H, F_COUNT, F] */
    RS_TRY(rs_tally_draws(state, "state/frequency_norm/sequences", weight, &drawn, err));
    RS_TRY(rs_arrays_add(out, &a, err, name, RS_F32, "1",
                         "share of the pair, mean over heads, in draws of the folds of sequences with replacement", 2,
                         "resample", (int64_t)RS_RESAMPLES, s->pairs, s->F));
    a->count = (int64_t)s->rows;
    RS_TRY(RS_NEW(&sum, (size_t)s->F, err));
    for (int64_t b = 0; b < RS_RESAMPLES && drawn; b++) {
        double *mean = a->data + b * s->F;
        memset(mean, 0, (size_t)s->F * sizeof *mean);
        for (int64_t h = 0; h < s->H; h++) {
            double whole = 0.0;
            for (int64_t f = 0; f < s->F; f++) {
                sum[f] = 0.0;
                for (int64_t i = 0; i < folds->dims[0] && i < RS_FOLDS; i++) {
                    int64_t at = (((i * PLACES + PLACE_REST) * s->H + h) * F_COUNT + F_ABS) * s->F + f;
                    sum[f] += weight[b][i] * folds->data[at];
                }
                whole += sum[f];
            }
            for (int64_t f = 0; f < s->F; f++) {
                mean[f] += rs_tally_ratio(sum[f], whole) / (double)s->H;
            }
        }
    }
out:
    rs_free(sum);
    return st;
}

static rs_status finish_two_norm(const side *q, const side *k, rs_arrays *out, rs_error *err) {
    rs_status st = RS_OK;
    rs_array *a = NULL;
    RS_TRY(rs_arrays_add(out, &a, err, "frequency_norm/two_norm", RS_F32, "1",
                         "mean |q_i| times mean |k_i| of the head's key head, positions 1..T-1", 2, "head", q->H,
                         "pair", q->F));
    a->count = (int64_t)q->rows;
    for (int64_t h = 0; h < q->H; h++) {
        int64_t kv = h / (q->H / k->H);
        for (int64_t f = 0; f < q->F; f++) {
            a->data[h * q->F + f] = rs_tally_ratio(feature(q, PLACE_REST, h, F_ABS, f), q->rows) *
                                    rs_tally_ratio(feature(k, PLACE_REST, kv, F_ABS, f), k->rows);
        }
    }
out:
    return st;
}

static rs_status open_side(side *s, const rs_probe_facts *facts, const rs_arrays *state, rs_error *err) {
    rs_status st = RS_OK;
    char raw[RS_NAME_BYTES];
    snprintf(raw, sizeof raw, "state/frequency_norm/%s", s->letter);
    RS_TRY(rs_tally_number(state, "state/frequency_norm/sequences", &s->sequences, err));
    s->rows = s->sequences * (double)(facts->positions - 1);
    RS_TRY(rs_tally_cells(state, raw, PLACES * s->H * F_COUNT * s->F, &s->sum, err));
out:
    return st;
}

static rs_status finish(const rs_probe_facts *facts, int layer, const rs_arrays *state, rs_arrays *out, rs_error *err) {
    rs_status st = RS_OK;
    const rs_layer *l = &facts->graph->layers[layer];
    side sides[3] = {{.letter = "q", .heads = "head", .pairs = "pair", .H = l->heads, .F = l->rope.n_pairs},
                     {.letter = "k", .heads = "kv_head", .pairs = "pair", .H = l->kv_heads, .F = l->rope.n_pairs},
                     {.letter = "v", .heads = "kv_head", .pairs = "v_pair", .H = l->kv_heads, .F = l->v_dim / 2}};
    for (int i = 0; i < 3; i++) {
        RS_TRY(open_side(&sides[i], facts, state, err));
        RS_TRY(finish_mean(&sides[i], out, err));
        RS_TRY(finish_bootstrap(&sides[i], state, out, err));
    }
    for (int i = 0; i < 2; i++) {
        RS_TRY(finish_sink(&sides[i], out, err));
        RS_TRY(finish_top(&sides[i], out, err));
        RS_TRY(finish_buckets(&sides[i], facts, state, out, err));
        RS_TRY(finish_halves(&sides[i], state, out, err));
    }
    RS_TRY(finish_two_norm(&sides[0], &sides[1], out, err));
out:
    for (int i = 0; i < 3; i++) {
        rs_free(sides[i].sum);
    }
    return st;
}

const rs_probe_kind rs_frequency_norm = {
    .name = "frequency_norm",
    .title = "how long the pairs of queries and keys are, by frequency",
    .source = "Barbero et al., \"Round and Round We Go\", ICLR 2025, section 4: mean 2-norm of each pair of q and k, "
              "values as control; "
              "product of means: MHA2MLA (arXiv 2502.14837)",
    .folds = RS_FOLDS,
    .wants = wants,
    .declare = declare,
    .begin = begin,
    .observe = observe,
    .end = end,
    .finish = finish,
};
