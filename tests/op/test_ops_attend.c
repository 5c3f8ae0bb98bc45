/* tests/op/test_ops_attend.c: ATTEND and ATTEND_REDUCE on every backend against plain float64 loops over the whole
 * pattern. Lengths stand at and around the edges of blocks of rows (128), of warps' rows (16) and of tiles of keys
 * (64).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/op_rig.h"
#include "tests/support/test_device.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct attend_case {
    int64_t T, H, K, S, Dh, Dv, window;
    float softcap;
    int gap; /* spare elements behind rows of queries, keys and values: a multiple of eight */
    int64_t B;
    bool ids, profile, skip_first;
} attend_case;

static const attend_case cases[] = {
    {1, 1, 1, 1, 8, 8, 0, 0, 0, 1, true, true, true},
    {2, 3, 1, 2, 32, 16, 0, 0, 0, 32, true, true, true}, /* more map blocks than positions */
    {17, 2, 2, 2, 16, 40, 0, 0, 8, 5, true, true, false},
    {63, 2, 1, 3, 40, 32, 0, 0, 0, 0, true, true, true},
    {64, 4, 2, 2, 64, 64, 0, 0, 0, 3, false, true, true},
    {65, 2, 1, 1, 32, 32, 0, 2.5F, 8, 7, true, false, true},
    {127, 1, 1, 1, 72, 72, 1, 0, 0, 4, true, true, true}, /* each row sees itself alone */
    {129, 2, 2, 1, 64, 128, 64, 0, 0, 32, true, true, true},
    {200, 2, 1, 2, 128, 64, 65, 1.5F, 8, 3, true, true, false},
    {270, 3, 1, 3, 128, 128, 0, 0, 0, 32, true, true, true},
    {300, 1, 1, 1, 24, 8, 130, 0, 0, 2, true, true, true},
    {300, 1, 1, 1, 32, 32, 1000, 0, 0, 1, true, true, true},
};
enum { CASES = sizeof cases / sizeof *cases };

/* Inputs of a case, on the device, and what follows from them in float64. */
typedef struct world {
    const attend_case *c;
    rs_view q, k, v, slot, ids;
    double *pattern; /* [H, T, T] */
    double *z;       /* [T, H, Dv] */
    double *stats;   /* [H, T, 2] */
    int32_t *token;  /* [T] */
} world;

static float *rounded_normal(rs_rng *rng, int64_t n, double scale) {
    float *x = rs_rig_normal(rng, n, scale);
    rs_rig_round(x, n, RS_COMPUTE_BF16);
    return x;
}

static const float SCALE = 0.35F;

static void row_reference(const world *w, int64_t h, int64_t t, const float *q, const float *k, int64_t slot) {
    const attend_case *c = w->c;
    double *p = w->pattern + (h * c->T + t) * c->T, most = -INFINITY, sum = 0;
    int64_t first = c->window > 0 && t - c->window + 1 > 0 ? t - c->window + 1 : 0;
    for (int64_t n = first; n <= t; n++) {
        double x = 0;
        for (int64_t e = 0; e < c->Dh; e++)
            x += (double)q[(t * c->H + h) * c->Dh + e] * (double)k[(n * c->S + slot) * c->Dh + e];
        x *= (double)SCALE;
        p[n] = c->softcap > 0 ? (double)c->softcap * tanh(x / (double)c->softcap) : x;
        most = fmax(most, p[n]);
    }
    for (int64_t n = first; n <= t; n++) sum += exp(p[n] - most);
    double *stats = w->stats + 2 * (h * c->T + t);
    stats[0] = most + log(sum);
    for (int64_t n = first; n <= t; n++) {
        p[n] = exp(p[n] - stats[0]);
        stats[1] -= p[n] > 0 ? p[n] * log(p[n]) : 0;
    }
}

static void make_world(rs_rig *r, const attend_case *c, world *w) {
    rs_rng rng;
    int32_t slot[8];
    rs_rng_init(&rng, (uint64_t)(c->T * 100 + c->Dh));
    *w = (world){.c = c,
                 .pattern = rs_rig_doubles(c->H * c->T * c->T),
                 .z = rs_rig_doubles(c->T * c->H * c->Dv),
                 .stats = rs_rig_doubles(c->H * c->T * 2),
                 .token = rs_rig_zeros(c->T, sizeof *w->token)};
    /* Logits of a size at which some rows look at one key and others at many. */
    float *q = rounded_normal(&rng, c->T * c->H * c->Dh, sqrt(8.0 / (double)c->Dh));
    float *k = rounded_normal(&rng, c->T * c->S * c->Dh, 1), *v = rounded_normal(&rng, c->T * c->K * c->Dv, 1);
    for (int64_t h = 0; h < c->H; h++) slot[h] = (int32_t)((h * 2 + 1) % c->S);
    for (int64_t t = 0; t < c->T; t++) w->token[t] = (int32_t)rs_rng_below(&rng, 5);
    for (int64_t h = 0; h < c->H; h++) {
        for (int64_t t = 0; t < c->T; t++) {
            const double *p = w->pattern + (h * c->T + t) * c->T;
            row_reference(w, h, t, q, k, slot[h]);
            for (int64_t n = 0; n <= t; n++) {
                for (int64_t e = 0; e < c->Dv; e++)
                    w->z[(t * c->H + h) * c->Dv + e] += p[n] * (double)v[(n * c->K + h / (c->H / c->K)) * c->Dv + e];
            }
        }
    }
    w->q = rs_rig_put_halves(r, c->gap, q, c->T, c->H, c->Dh);
    w->k = rs_rig_put_halves(r, c->gap, k, c->T, c->S, c->Dh);
    w->v = rs_rig_put_halves(r, c->gap, v, c->T, c->K, c->Dv);
    w->slot = RS_RIG_PUT(r, RS_I32, 0, slot, c->H);
    w->ids = RS_RIG_PUT(r, RS_I32, 0, w->token, c->T);
    free(q), free(k), free(v);
}

static void free_world(world *w) { free(w->pattern), free(w->z), free(w->stats), free(w->token); }

static void check_attend(rs_rig *r, const world *w) {
    const attend_case *c = w->c;
    rs_view z = RS_RIG_NEW(r, RS_F32, 1, c->T, c->H, c->Dv), stats = RS_RIG_NEW(r, RS_F32, 0, c->H, c->T, 2);
    rs_op op = {.kind = RS_OP_ATTEND,
                .u.attend = {.q = w->q,
                             .k = w->k,
                             .v = w->v,
                             .slot = w->slot,
                             .z = z,
                             .stats = stats,
                             .window = c->window,
                             .scale = SCALE,
                             .softcap = c->softcap}};
    rs_rig_run(r, &op);
    float *got = rs_rig_get(r, &z), *got_stats = rs_rig_get(r, &stats);
    /* What is multiplied with v has 8 significant bits, so z is off by 2^-9 of the largest |v| at most, which is less
     * than 2.5 times the largest |z|. */
    rs_rig_close_f32(r, "attend", got, w->z, c->T * c->H * c->Dv, 5e-3);
    /* Scores in float32, one rounding for each of up to 128 products. */
    rs_rig_close_f32(r, "attend: statistics", got_stats, w->stats, c->H * c->T * 2, 1e-6);
    rs_rig_same_bytes(r, got, (size_t)(c->T * c->H * c->Dv) * sizeof *got);
    free(got), free(got_stats);
}

typedef struct sums {
    double *heads, *profile, *map; /* [H, RS_PATTERN_SUMS], [H, T], [H, B, B] */
} sums;

static void add_entry(const world *w, int64_t h, int64_t t, int64_t n, const sums *want) {
    const attend_case *c = w->c;
    double p = w->pattern[(h * c->T + t) * c->T + n], *s = want->heads + h * RS_PATTERN_SUMS;
    bool kept = n > 0 || !c->skip_first, before = c->ids && n >= 1 && n < t;
    if (c->B > 0) want->map[(h * c->B + t * c->B / c->T) * c->B + n * c->B / c->T] += p;
    if (t == 0) return;
    s[RS_PATTERN_MASS] += p;
    s[RS_PATTERN_SQUARE] += kept ? p * p : 0;
    s[RS_PATTERN_DIAGONAL] += n == t ? p : 0;
    s[RS_PATTERN_PREVIOUS] += n == t - 1 ? p : 0;
    s[RS_PATTERN_FIRST] += n == 0 ? p : 0;
    s[RS_PATTERN_DUPLICATE] += before && w->token[n] == w->token[t] ? p : 0;
    s[RS_PATTERN_INDUCTION] += before && w->token[n - 1] == w->token[t] ? p : 0;
    want->profile[h * c->T + t - n] += kept ? p : 0;
}

static void sums_reference(const world *w, const sums *want) {
    const attend_case *c = w->c;
    for (int64_t h = 0; h < c->H; h++) {
        for (int64_t t = 0; t < c->T; t++) {
            for (int64_t n = 0; n <= t; n++) add_entry(w, h, t, n, want);
            if (t == 0) continue;
            want->heads[h * RS_PATTERN_SUMS + RS_PATTERN_ENTROPY] += w->stats[2 * (h * c->T + t) + 1];
            want->heads[h * RS_PATTERN_SUMS + RS_PATTERN_ROWS] += 1;
        }
    }
}

static void check_reduce(rs_rig *r, const world *w) {
    const attend_case *c = w->c;
    int64_t n_stats = c->H * c->T * 2, n_heads = c->H * RS_PATTERN_SUMS, n_map = c->H * c->B * c->B;
    float *stats = rs_rig_zeros(n_stats, sizeof *stats);
    sums want = {rs_rig_numbered(n_heads), rs_rig_numbered(c->H * c->T), rs_rig_numbered(n_map > 0 ? n_map : 1)};
    for (int64_t i = 0; i < n_stats; i++) stats[i] = (float)w->stats[i];
    rs_view heads = RS_RIG_PUT(r, RS_F64, 0, want.heads, c->H, RS_PATTERN_SUMS), profile = RS_ABSENT, map = RS_ABSENT;
    if (c->profile) profile = RS_RIG_PUT(r, RS_F64, 0, want.profile, c->H, c->T);
    if (c->B > 0) map = RS_RIG_PUT(r, RS_F64, 0, want.map, c->H, c->B, c->B);
    rs_op op = {.kind = RS_OP_ATTEND_REDUCE,
                .u.attend_reduce = {.q = w->q,
                                    .k = w->k,
                                    .slot = w->slot,
                                    .stats = RS_RIG_PUT(r, RS_F32, 0, stats, c->H, c->T, 2),
                                    .ids = c->ids ? w->ids : RS_ABSENT,
                                    .sums = heads,
                                    .profile = profile,
                                    .map = map,
                                    .window = c->window,
                                    .scale = SCALE,
                                    .softcap = c->softcap,
                                    .skip_first = c->skip_first}};
    rs_rig_run(r, &op);
    sums_reference(w, &want);
    double *got = rs_rig_get(r, &heads);
    /* A score of size ten is off by one rounding of float32, and p by as much of itself: 1e-6. */
    for (int64_t i = 0; i < n_heads; i++) rs_rig_close_f64(r, "attend_reduce: sums", &got[i], &want.heads[i], 1, 3e-6);
    rs_rig_same_bytes(r, got, (size_t)n_heads * sizeof *got);
    free(got);
    if (c->profile) {
        got = rs_rig_get(r, &profile);
        rs_rig_close_f64(r, "attend_reduce: profile", got, want.profile, c->H * c->T, 3e-6);
        rs_rig_same_bytes(r, got, (size_t)(c->H * c->T) * sizeof *got);
        free(got);
    }
    if (c->B > 0) {
        got = rs_rig_get(r, &map);
        rs_rig_close_f64(r, "attend_reduce: map", got, want.map, n_map, 3e-6);
        free(got);
    }
    free(stats), free(want.heads), free(want.profile), free(want.map);
}

static void body(rs_rig *r) {
    for (int i = 0; i < CASES; i++) {
        world w;
        make_world(r, &cases[i], &w);
        check_attend(r, &w);
        check_reduce(r, &w);
        free_world(&w);
    }
}

static void test_attend(void **state) {
    (void)state;
    rs_rig_each(body);
}

int main(void) {
    rs_test_device_or_skip();
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_attend)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
