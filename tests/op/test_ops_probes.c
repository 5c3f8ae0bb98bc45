/* tests/op/test_ops_probes.c: the reductions of the probes on every backend against plain float64 loops written here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/op_rig.h"
#include "tests/support/test_device.h"

#include <complex.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- pair_reduce ---- */

typedef struct pair_case {
    int64_t T, H, F, buckets;
    int layout; /* -1: no table; 0 halves; 1 interleaved */
    uint32_t features;
} pair_case;

static double feature_of(rs_pair_feature k, double re, double im, bool top) {
    double size = hypot(re, im), angle = atan2(im, re);
    bool zero = re == 0 && im == 0;
    switch (k) {
    case RS_PAIR_ABS: return size;
    case RS_PAIR_ABS2: return size * size;
    case RS_PAIR_RE: return re;
    case RS_PAIR_IM: return im;
    case RS_PAIR_SQ_RE: return size * size * cos(2 * angle);
    case RS_PAIR_SQ_IM: return size * size * sin(2 * angle);
    case RS_PAIR_U_RE: return zero ? 0 : cos(angle);
    case RS_PAIR_U_IM: return zero ? 0 : sin(angle);
    case RS_PAIR_U2_RE: return zero ? 0 : cos(2 * angle);
    case RS_PAIR_U2_IM: return zero ? 0 : sin(2 * angle);
    case RS_PAIR_TOP: return top ? 1 : 0;
    case RS_PAIR_FEATURES: break;
    }
    return 0;
}

static void pair_reference(const pair_case *c, const float *x, const int32_t *lo, const int32_t *hi,
                           const int32_t *bucket, int64_t P, double *out) {
    for (int64_t i = 0; i < c->T * c->H; i++) {
        const float *row = x + i * 2 * c->F;
        int64_t h = i % c->H, b = bucket[i / c->H], top = 0, at = 0;
        if (b < 0) continue;
        for (int64_t f = 1; f < c->F; f++) {
            if (hypot((double)row[lo[f]], (double)row[hi[f]]) > hypot((double)row[lo[top]], (double)row[hi[top]]))
                top = f;
        }
        for (int k = 0; k < RS_PAIR_FEATURES; k++) {
            if (!(c->features & 1U << k)) continue;
            for (int64_t f = 0; f < c->F; f++)
                out[((b * c->H + h) * P + at) * c->F + f] +=
                    feature_of((rs_pair_feature)k, (double)row[lo[f]], (double)row[hi[f]], f == top);
            at++;
        }
    }
}

static void run_pair(rs_rig *r, const pair_case *c) {
    rs_rng rng;
    rs_rng_init(&rng, (uint64_t)c->F);
    int64_t n = c->T * c->H * 2 * c->F, P = 0;
    int32_t lo[256], hi[256], *bucket = rs_rig_zeros(c->T, sizeof *bucket);
    for (uint32_t m = c->features; m; m &= m - 1) P++;
    for (int32_t f = 0; f < c->F; f++) {
        lo[f] = c->layout == 1 ? 2 * f : f;
        hi[f] = c->layout == 1 ? 2 * f + 1 : f + (int32_t)c->F;
    }
    float *x = rs_rig_normal(&rng, n, 1);
    for (int64_t i = 0; i < n; i += 97) x[i] = 0;
    if (c->F > 1) x[lo[0]] = x[hi[0]] = x[lo[1]] = x[hi[1]] = 0; /* z = 0 */
    for (int64_t f = 0; f < c->F; f++)
        x[2 * c->F * (c->T / 2) * c->H + lo[f]] = 1e-25F; /* squares that float32 loses; ties */
    for (int64_t t = 0; t < c->T; t++) bucket[t] = (int32_t)(t * (c->buckets + 1) / c->T) - 1;
    bucket[c->T - 1] = 0;
    double *want = rs_rig_numbered(c->buckets * c->H * P * c->F);
    rs_view out = RS_RIG_PUT(r, RS_F64, 0, want, c->buckets, c->H, P, c->F);
    pair_reference(c, x, lo, hi, bucket, P, want);
    bool table = c->layout >= 0;
    rs_op op = {.kind = RS_OP_PAIR_REDUCE,
                .u.pair_reduce = {.x = RS_RIG_PUT(r, RS_F32, 3, x, c->T, c->H, 2 * c->F),
                                  .component_lo = table ? RS_RIG_PUT(r, RS_I32, 0, lo, c->F) : RS_ABSENT,
                                  .component_hi = table ? RS_RIG_PUT(r, RS_I32, 0, hi, c->F) : RS_ABSENT,
                                  .bucket = RS_RIG_PUT(r, RS_I32, 0, bucket, c->T),
                                  .out = out,
                                  .features = c->features}};
    rs_rig_run(r, &op);
    double *got = rs_rig_get(r, &out);
    /* Everything in float64; 1e-12 covers the trigonometry of the reference. On a device that sums in float32: 1e-6. */
    rs_rig_close_f64(r, "pair_reduce", got, want, c->buckets * c->H * P * c->F,
                     strcmp(r->backend->name, "cpu") == 0 ? 1e-12 : 1e-6);
    rs_rig_same_bytes(r, got, (size_t)(c->buckets * c->H * P * c->F) * sizeof *got);
    free(bucket), free(x), free(want), free(got);
}

static void body_pair(rs_rig *r) {
    const uint32_t all = (1U << RS_PAIR_FEATURES) - 1;
    run_pair(r, &(pair_case){1, 1, 1, 1, 0, all});
    run_pair(r, &(pair_case){50, 3, 32, 4, 0, all});
    run_pair(r, &(pair_case){33, 2, 17, 2, 1, all});
    run_pair(r, &(pair_case){40, 9, 15, 3, -1, 1U << RS_PAIR_ABS | 1U << RS_PAIR_TOP});
    run_pair(r, &(pair_case){40, 1, 128, 1, 1, 1U << RS_PAIR_ABS2 | 1U << RS_PAIR_U2_IM});
    run_pair(r, &(pair_case){2100, 2, 3, 2, 0, all}); /* rows are cut into segments on a card */
}

/* ---- logit_sample ---- */

typedef struct sample_case {
    int64_t T, H, K, F, window, rows;
    double base; /* theta_f = base^(-f/F) */
    bool interleaved;
} sample_case;

typedef struct sample_data {
    float *q, *k;
    double theta[128], factor[128], *q_mean, *k_mean, scale;
    int32_t lo[128], hi[128], *rows;
} sample_data;

static double complex pair_of(const float *row, const sample_data *d, int64_t f) {
    return (double)row[d->lo[f]] + I * (double)row[d->hi[f]];
}

static double complex mean_of(const double *m, int64_t head, int64_t F, int64_t f) {
    return m[head * 2 * F + f] + I * m[(head * 2 + 1) * F + f];
}

/* Population variance and mean square of v[n], by two passes. */
static void spread_of(const double *v, int64_t n, double *variance, double *square) {
    double mean = 0;
    *variance = *square = 0;
    for (int64_t i = 0; i < n; i++) mean += v[i] / (double)n;
    for (int64_t i = 0; i < n; i++)
        *variance += (v[i] - mean) * (v[i] - mean) / (double)n, *square += v[i] * v[i] / (double)n;
}

static void sample_row_reference(const sample_case *c, const sample_data *d, int64_t h, int64_t m, double *out,
                                 double *head) {
    int64_t kv = h / (c->H / c->K), first = c->window > 0 && m - c->window + 1 > 1 ? m - c->window + 1 : 1,
            n = m - first + 1;
    double *rot = rs_rig_doubles(n), *off = rs_rig_doubles(n), *term[5], unused;
    for (int i = 0; i < 5; i++) term[i] = rs_rig_doubles(n);
    for (int64_t f = 0; f < c->F; f++) {
        double gain = d->scale * d->factor[f] * d->factor[f], variance, square, sizes = 0;
        double complex q = pair_of(d->q + (m * c->H + h) * 2 * c->F, d, f), mq = mean_of(d->q_mean, h, c->F, f),
                       mk = mean_of(d->k_mean, kv, c->F, f);
        for (int64_t i = 0; i < n; i++) {
            double complex k = pair_of(d->k + ((first + i) * c->K + kv) * 2 * c->F, d, f),
                           turn = cexp(I * d->theta[f] * (double)(m - first - i));
            rot[i] = gain * creal(q * conj(k) * turn);
            off[i] = gain * creal(q * conj(k) * (turn - 1));
            sizes += cabs(q) * cabs(k) / (double)n;
            term[RS_HEAD_TOTAL][i] += rot[i];
            term[RS_HEAD_PP][i] += gain * creal(mq * conj(mk) * turn);
            term[RS_HEAD_PC][i] += gain * creal(mq * conj(k - mk) * turn);
            term[RS_HEAD_CP][i] += gain * creal((q - mq) * conj(mk) * turn);
            term[RS_HEAD_CC][i] += gain * creal((q - mq) * conj(k - mk) * turn);
        }
        spread_of(rot, n, &variance, &square);
        out[(h * RS_SAMPLES + RS_SAMPLE_DROP) * c->F + f] += variance;
        out[(h * RS_SAMPLES + RS_SAMPLE_DROP_RAW) * c->F + f] += square;
        spread_of(off, n, &variance, &square);
        out[(h * RS_SAMPLES + RS_SAMPLE_UNROT) * c->F + f] += variance;
        out[(h * RS_SAMPLES + RS_SAMPLE_UNROT_RAW) * c->F + f] += square;
        out[(h * RS_SAMPLES + RS_SAMPLE_ABS) * c->F + f] += sizes;
    }
    for (int i = 0; i < 5; i++) {
        double variance;
        spread_of(term[i], n, &variance, &unused);
        head[h * RS_HEAD_TERMS + i] += variance;
        free(term[i]);
    }
    head[h * RS_HEAD_TERMS + RS_HEAD_ROWS] += 1;
    free(rot), free(off);
}

static void sample_data_make(const sample_case *c, sample_data *d) {
    rs_rng rng;
    rs_rng_init(&rng, (uint64_t)c->T);
    d->q = rs_rig_normal(&rng, c->T * c->H * 2 * c->F, 1);
    d->k = rs_rig_normal(&rng, c->T * c->K * 2 * c->F, 1);
    d->q_mean = rs_rig_doubles(c->H * 2 * c->F);
    d->k_mean = rs_rig_doubles(c->K * 2 * c->F);
    d->rows = rs_rig_zeros(c->rows, sizeof *d->rows);
    d->scale = 0.3;
    /* Keys with a static direction ten times their spread, as sinks have: the variance is what is left of a difference.
     */
    for (int64_t i = 0; i < c->T * c->K * 2 * c->F; i++) d->k[i] += i % 3 == 0 ? 10.0F : 0.5F;
    for (int64_t i = 0; i < c->H * 2 * c->F; i++) d->q_mean[i] = rs_rng_normal(&rng);
    for (int64_t i = 0; i < c->K * 2 * c->F; i++) d->k_mean[i] = rs_rng_normal(&rng) + 3;
    for (int64_t i = 0; i < c->rows; i++) d->rows[i] = (int32_t)(2 + i * (c->T - 2) / c->rows);
    d->rows[c->rows - 1] = (int32_t)c->T - 1;
    for (int32_t f = 0; f < c->F; f++) {
        d->theta[f] = f == c->F - 1 ? 0 : pow(c->base, -(double)f / (double)c->F);
        d->factor[f] = f % 2 ? 1.0 : 1.1;
        d->lo[f] = c->interleaved ? 2 * f : f;
        d->hi[f] = c->interleaved ? 2 * f + 1 : f + (int32_t)c->F;
    }
}

/* Every pair against its own reference, since slow pairs have variances a million times smaller than fast ones. */
static void check_each(const rs_rig *r, const char *what, const double *got, const double *want, int64_t n,
                       double floor_of) {
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(got[i]) || fabs(got[i] - want[i]) > 1e-6 * fabs(want[i]) + floor_of)
            fail_msg("%s: %s[%lld] is %.12g, expected %.12g", r->name, what, (long long)i, got[i], want[i]);
    }
}

static void run_sample(rs_rig *r, const sample_case *c) {
    sample_data d;
    sample_data_make(c, &d);
    int64_t n_out = c->H * RS_SAMPLES * c->F, n_head = c->H * RS_HEAD_TERMS, Dh = 2 * c->F;
    double *want = rs_rig_numbered(n_out), *want_head = rs_rig_numbered(n_head);
    rs_view out = RS_RIG_PUT(r, RS_F64, 0, want, c->H, RS_SAMPLES, c->F),
            head = RS_RIG_PUT(r, RS_F64, 0, want_head, c->H, RS_HEAD_TERMS);
    rs_op op = {.kind = RS_OP_LOGIT_SAMPLE,
                .u.logit_sample = {.q = RS_RIG_PUT(r, RS_F32, 1, d.q, c->T, c->H, Dh),
                                   .k = RS_RIG_PUT(r, RS_F32, 2, d.k, c->T, c->K, Dh),
                                   .component_lo = RS_RIG_PUT(r, RS_I32, 0, d.lo, c->F),
                                   .component_hi = RS_RIG_PUT(r, RS_I32, 0, d.hi, c->F),
                                   .theta = RS_RIG_PUT(r, RS_F64, 0, d.theta, c->F),
                                   .factor = RS_RIG_PUT(r, RS_F64, 0, d.factor, c->F),
                                   .q_mean = RS_RIG_PUT(r, RS_F64, 0, d.q_mean, c->H, 2, c->F),
                                   .k_mean = RS_RIG_PUT(r, RS_F64, 0, d.k_mean, c->K, 2, c->F),
                                   .rows = RS_RIG_PUT(r, RS_I32, 0, d.rows, c->rows),
                                   .out = out,
                                   .head_out = head,
                                   .window = c->window,
                                   .scale = d.scale}};
    rs_rig_run(r, &op);
    for (int64_t i = 0; i < c->rows * c->H; i++)
        sample_row_reference(c, &d, i % c->H, d.rows[i / c->H], want, want_head);
    double *got = rs_rig_get(r, &out), *got_head = rs_rig_get(r, &head);
    check_each(r, "logit_sample", got, want, n_out, 1e-10);
    check_each(r, "logit_sample head", got_head, want_head, n_head, 1e-10);
    rs_rig_same_bytes(r, got, (size_t)n_out * sizeof *got);
    free(d.q), free(d.k), free(d.q_mean), free(d.k_mean), free(d.rows);
    free(want), free(want_head), free(got), free(got_head);
}

static void body_sample(rs_rig *r) {
    run_sample(r, &(sample_case){3, 1, 1, 1, 0, 1, 10, false});
    run_sample(r, &(sample_case){200, 6, 2, 17, 0, 40, 1e4, true}); /* more rows than fit one product */
    run_sample(r, &(sample_case){700, 3, 1, 32, 0, 5, 1e6, false}); /* more keys than fit one product */
    run_sample(r, &(sample_case){700, 2, 2, 8, 64, 9, 1e6, false});
    run_sample(r, &(sample_case){100, 2, 1, 3, 1, 4, 1e2, true}); /* each row sees itself alone: no variance */
    run_sample(r, &(sample_case){100, 2, 1, 3, 99, 9, 1e2, true});
}

/* ---- pattern_reduce ---- */

typedef struct pattern_case {
    int64_t T, H, tile, window, B;
    bool profile, map, ids, skip_first;
} pattern_case;

/* Few tokens, so that most rows have several earlier copies of theirs, next to them and at the beginning too. */
static int32_t *make_ids(int64_t T) {
    rs_rng rng;
    rs_rng_init(&rng, (uint64_t)(7 * T + 1));
    int32_t *ids = rs_rig_zeros(T, sizeof *ids);
    for (int64_t t = 0; t < T; t++) ids[t] = (int32_t)(5 * rs_rng_uniform(&rng));
    return ids;
}

/* full: [H, T, T] of the whole sequence. */
static void pattern_reference(const pattern_case *c, const float *full, const float *entropy, const int32_t *ids,
                              double *sums, double *profile, double *map) {
    for (int64_t i = 0; i < c->H * c->T; i++) {
        int64_t h = i / c->T, t = i % c->T;
        const float *p = full + i * c->T;
        double *s = sums + h * RS_PATTERN_SUMS;
        for (int64_t k = 0; k < c->T; k++) map[(h * c->B + t * c->B / c->T) * c->B + k * c->B / c->T] += (double)p[k];
        if (t == 0) continue;
        s[RS_PATTERN_DIAGONAL] += (double)p[t];
        s[RS_PATTERN_PREVIOUS] += (double)p[t - 1];
        s[RS_PATTERN_FIRST] += (double)p[0];
        s[RS_PATTERN_ENTROPY] += (double)entropy[i];
        s[RS_PATTERN_ROWS] += 1;
        for (int64_t k = 0; k <= t; k++) {
            double left_out = c->skip_first && k == 0 ? 0 : 1;
            s[RS_PATTERN_SQUARE] += left_out * (double)p[k] * (double)p[k];
            s[RS_PATTERN_MASS] += (double)p[k];
            profile[h * c->T + t - k] += left_out * (double)p[k];
        }
        for (int64_t k = 1; k < t && c->ids; k++) {
            s[RS_PATTERN_DUPLICATE] += ids[k] == ids[t] ? (double)p[k] : 0;
            s[RS_PATTERN_INDUCTION] += ids[k - 1] == ids[t] ? (double)p[k] : 0;
        }
    }
}

/* Tile of rows row0.. with the columns some row of it may see. */
static void run_tile(rs_rig *r, const pattern_case *c, const float *full, const float *entropy, int64_t row0, int64_t n,
                     rs_op *op) {
    int64_t col0 = c->window > 0 && row0 - c->window + 1 > 0 ? row0 - c->window + 1 : 0, C = row0 + n - col0;
    float *p = rs_rig_zeros(c->H * n * C, sizeof *p), *stats = rs_rig_zeros(c->H * n * 2, sizeof *stats);
    for (int64_t i = 0; i < c->H * n; i++) {
        int64_t from = i / n * c->T + row0 + i % n;
        memcpy(p + i * C, full + from * c->T + col0, (size_t)C * sizeof *p);
        stats[i * 2] = NAN; /* the log-sum-exp is nobody's business here */
        stats[i * 2 + 1] = entropy[from];
    }
    op->u.pattern_reduce.p = RS_RIG_PUT(r, RS_F32, 1, p, c->H, n, C);
    op->u.pattern_reduce.stats = RS_RIG_PUT(r, RS_F32, 0, stats, c->H, n, 2);
    op->u.pattern_reduce.row0 = row0;
    op->u.pattern_reduce.col0 = col0;
    rs_rig_run(r, op);
    free(p), free(stats);
}

static float *random_pattern(const pattern_case *c) {
    rs_rng rng;
    rs_rng_init(&rng, (uint64_t)c->T);
    float *full = rs_rig_zeros(c->H * c->T * c->T, sizeof *full);
    for (int64_t i = 0; i < c->H * c->T; i++) {
        int64_t t = i % c->T, first = c->window > 0 && t - c->window + 1 > 0 ? t - c->window + 1 : 0;
        for (int64_t k = first; k <= t; k++) full[i * c->T + k] = (float)rs_rng_uniform(&rng);
    }
    return full;
}

static void run_pattern(rs_rig *r, const pattern_case *c) {
    float *full = random_pattern(c), *entropy = rs_rig_zeros(c->H * c->T, sizeof *entropy);
    for (int64_t i = 0; i < c->H * c->T; i++) entropy[i] = 0.01F * (float)i;
    int32_t *ids = make_ids(c->T);
    int64_t n_sums = c->H * RS_PATTERN_SUMS, n_profile = c->H * c->T, n_map = c->H * c->B * c->B;
    double *sums = rs_rig_numbered(n_sums), *profile = rs_rig_numbered(n_profile), *map = rs_rig_numbered(n_map);
    rs_view vs = RS_RIG_PUT(r, RS_F64, 0, sums, c->H, RS_PATTERN_SUMS),
            vp = RS_RIG_PUT(r, RS_F64, 0, profile, c->H, c->T);
    rs_view vm = RS_RIG_PUT(r, RS_F64, 0, map, c->H, c->B, c->B);
    rs_op op = {.kind = RS_OP_PATTERN_REDUCE,
                .u.pattern_reduce = {.sums = vs, .window = c->window, .positions = c->T, .skip_first = c->skip_first}};
    if (c->profile) op.u.pattern_reduce.profile = vp;
    if (c->map) op.u.pattern_reduce.map = vm;
    if (c->ids) op.u.pattern_reduce.ids = RS_RIG_PUT(r, RS_I32, 0, ids, c->T);
    for (int64_t row0 = 0; row0 < c->T; row0 += c->tile)
        run_tile(r, c, full, entropy, row0, c->T - row0 < c->tile ? c->T - row0 : c->tile, &op);
    pattern_reference(c, full, entropy, ids, sums, profile, map);
    double *got = rs_rig_get(r, &vs), *got_profile = rs_rig_get(r, &vp), *got_map = rs_rig_get(r, &vm);
    for (int k = 0; k < RS_PATTERN_SUMS; k++) {
        /* Each kind of sum on its own. Up to 16 x 16 lanes of float32 before float64: 1e-6 of the sum. */
        for (int64_t h = 0; h < c->H; h++)
            rs_rig_close_f64(r, "pattern sums", got + h * RS_PATTERN_SUMS + k, sums + h * RS_PATTERN_SUMS + k, 1, 1e-6);
    }
    if (c->profile) rs_rig_close_f64(r, "profile", got_profile, profile, n_profile, 1e-6);
    if (c->map) rs_rig_close_f64(r, "map", got_map, map, n_map, 1e-6);
    rs_rig_same_bytes(r, got, (size_t)n_sums * sizeof *got);
    rs_rig_same_bytes(r, got_profile, (size_t)n_profile * sizeof *got);
    free(full), free(entropy), free(ids);
    free(sums), free(profile), free(map), free(got), free(got_profile), free(got_map);
}

static void body_pattern(rs_rig *r) {
    run_pattern(r, &(pattern_case){1, 1, 1, 0, 1, true, true, false, true});
    run_pattern(r, &(pattern_case){100, 3, 32, 0, 8, true, true, true, true});
    run_pattern(r, &(pattern_case){100, 2, 17, 0, 7, true, true, true, false});
    run_pattern(r, &(pattern_case){131, 2, 64, 0, 32, true, false, true, true});
}

static void body_pattern_more(rs_rig *r) {
    run_pattern(r, &(pattern_case){70, 2, 33, 0, 1, false, false, false, true});
    run_pattern(r, &(pattern_case){90, 2, 16, 20, 16, true, true, true, true});
    run_pattern(r, &(pattern_case){90, 1, 40, 1, 5, true, true, true, true});
    run_pattern(r, &(pattern_case){20, 3, 20, 19, 32, true, true, true, false}); /* more map blocks than positions */
    run_pattern(r, &(pattern_case){600, 1, 256, 0, 3, true, true, false, true});
    run_pattern(r, &(pattern_case){700, 1, 300, 0, 2, true, true, true, true}); /* blocks of more than 256 each way */
    run_pattern(r, &(pattern_case){700, 1, 290, 310, 1, true, true, false, false});
}

/* ---- profile_reduce ---- */

static void run_profile(rs_rig *r, int64_t H, int64_t T, int64_t n, int64_t window) {
    rs_rng rng;
    rs_rng_init(&rng, (uint64_t)(T + n));
    double *profile = rs_rig_doubles(H * T), *bins = rs_rig_numbered(H * n), *distance = rs_rig_numbered(H),
           *toeplitz = rs_rig_numbered(H);
    int32_t *start = rs_rig_zeros(n, sizeof *start);
    for (int64_t i = 0; i < H * T; i++) profile[i] = rs_rng_uniform(&rng);
    for (int64_t i = 0; i < n; i++) start[i] = (int32_t)(i * (T - 1) / n + (i > 0)); /* from 0, of several lengths */
    rs_view vb = RS_RIG_PUT(r, RS_F64, 0, bins, H, n), vd = RS_RIG_PUT(r, RS_F64, 0, distance, H),
            vt = RS_RIG_PUT(r, RS_F64, 0, toeplitz, H);
    rs_op op = {.kind = RS_OP_PROFILE_REDUCE,
                .u.profile_reduce = {.profile = RS_RIG_PUT(r, RS_F64, 0, profile, H, T),
                                     .start = RS_RIG_PUT(r, RS_I32, 0, start, n),
                                     .bins = vb,
                                     .distance = vd,
                                     .toeplitz = vt,
                                     .window = window}};
    rs_rig_run(r, &op);
    for (int64_t i = 0; i < H * T; i++) {
        int64_t h = i / T, d = i % T, bin = 0;
        while (bin + 1 < n && start[bin + 1] <= d) bin++;
        bins[h * n + bin] += profile[i];
        distance[h] += (double)d * profile[i];
        if (d < T - 1 && (window == 0 || d < window)) toeplitz[h] += profile[i] * profile[i] / (double)(T - 1 - d);
    }
    double *got_bins = rs_rig_get(r, &vb), *got_distance = rs_rig_get(r, &vd), *got_toeplitz = rs_rig_get(r, &vt);
    /* Sums of at most 700 numbers in float64, in another order. */
    rs_rig_close_f64(r, "profile bins", got_bins, bins, H * n, 1e-13);
    rs_rig_close_f64(r, "profile distance", got_distance, distance, H, 1e-13);
    rs_rig_close_f64(r, "profile toeplitz", got_toeplitz, toeplitz, H, 1e-13);
    free(profile), free(bins), free(distance), free(toeplitz), free(start);
    free(got_bins), free(got_distance), free(got_toeplitz);
}

static void body_profile(rs_rig *r) {
    run_profile(r, 1, 1, 1, 0);
    run_profile(r, 3, 2, 2, 0);
    run_profile(r, 2, 700, 40, 0);
    run_profile(r, 2, 257, 257, 33);
    run_profile(r, 5, 64, 3, 1000);
}

/* ---- indices out of range ---- */

/* The op is refused, at once or when its device is waited for, with a message that names argument and entry; the device
 * goes on working. */
static void refused(rs_rig *r, const rs_op *op, const char *words) {
    rs_error err = {0};
    rs_status st = rs_run_ops(r->backend, r->device, op, 1, &err);
    if (st == RS_OK) st = r->backend->sync(r->device, &err);
    if (st != RS_E_INTERNAL || !strstr(err.message, words))
        fail_msg("%s: status %d, '%s', expected '%s'", r->name, (int)st, err.message, words);
    assert_int_equal(r->backend->sync(r->device, &err), RS_OK);
}

static void body_refused(rs_rig *r) {
    enum { T = 5, H = 2, F = 3 };
    const int32_t good[] = {0, 1, 2}, high[] = {3, 4, 5}, buckets[] = {0, -1, 0, 7, 9}, descending[] = {2, 4, 3};
    rs_rng rng;
    rs_rng_init(&rng, 3);
    float *x = rs_rig_normal(&rng, T * H * 2 * F, 1);
    double *zeros = rs_rig_doubles(H * RS_SAMPLES * 2 * F);
    rs_view vx = RS_RIG_PUT(r, RS_F32, 0, x, T, H, 2 * F), lo = RS_RIG_PUT(r, RS_I32, 0, good, F),
            hi = RS_RIG_PUT(r, RS_I32, 0, high, F), f = RS_RIG_PUT(r, RS_F64, 0, zeros, F),
            means = RS_RIG_PUT(r, RS_F64, 0, zeros, H, 2, F);
    rs_op pairs = {.kind = RS_OP_PAIR_REDUCE,
                   .u.pair_reduce = {.x = vx,
                                     .component_lo = lo,
                                     .component_hi = hi,
                                     .bucket = RS_RIG_PUT(r, RS_I32, 0, buckets, T),
                                     .out = RS_RIG_PUT(r, RS_F64, 0, zeros, 1, H, 1, F),
                                     .features = 1U << RS_PAIR_ABS}};
    refused(r, &pairs, "op pair_reduce: argument 'bucket': entry 3 ");
    rs_op sample = {.kind = RS_OP_LOGIT_SAMPLE,
                    .u.logit_sample = {.q = vx,
                                       .k = vx,
                                       .component_lo = lo,
                                       .component_hi = hi,
                                       .theta = f,
                                       .factor = f,
                                       .q_mean = means,
                                       .k_mean = means,
                                       .rows = RS_RIG_PUT(r, RS_I32, 0, descending, 3),
                                       .out = RS_RIG_PUT(r, RS_F64, 0, zeros, H, RS_SAMPLES, F),
                                       .head_out = RS_RIG_PUT(r, RS_F64, 0, zeros, H, RS_HEAD_TERMS),
                                       .scale = 1}};
    refused(r, &sample, "op logit_sample: argument 'rows': entry 2 ");
    sample.u.logit_sample.component_hi = RS_RIG_PUT(r, RS_I32, 0, ((const int32_t[]){3, 6, -1}), F);
    refused(r, &sample, "op logit_sample: argument 'component_hi': entry 1 ");
    free(x), free(zeros);
}

static void test_refused(void **state) { (void)state, rs_rig_each(body_refused); }
static void test_pair(void **state) { (void)state, rs_rig_each(body_pair); }
static void test_sample(void **state) { (void)state, rs_rig_each(body_sample); }
static void test_pattern(void **state) { (void)state, rs_rig_each(body_pattern); }
static void test_pattern_more(void **state) { (void)state, rs_rig_each(body_pattern_more); }
static void test_profile(void **state) { (void)state, rs_rig_each(body_profile); }

int main(void) {
    rs_test_device_or_skip();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pair),         cmocka_unit_test(test_sample),  cmocka_unit_test(test_pattern),
        cmocka_unit_test(test_pattern_more), cmocka_unit_test(test_profile), cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
