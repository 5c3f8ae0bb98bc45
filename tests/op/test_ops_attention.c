/* tests/op/test_ops_attention.c: scores, mask, softmax, mix and cross entropy on every backend against plain float64
 * loops written here. The shapes stand at and around the edges of register tiles (4, 8, 16, 32) and depth blocks (256).
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

typedef struct tile {
    int64_t H, R, C, row0, col0, window;
} tile;

static bool sees(const tile *c, int64_t r, int64_t col) {
    int64_t row = c->row0 + r, k = c->col0 + col;
    return k <= row && (c->window == 0 || row - k < c->window);
}

/* Positions with windows one less, equal and one more than the row's; tiles with one row, one column, whole and torn
 * panels. */
static const tile tiles[] = {
    {1, 1, 1, 0, 0, 0},      {3, 1, 130, 129, 0, 0},      {2, 5, 5, 0, 0, 0},      {9, 33, 33, 0, 0, 0},
    {6, 64, 128, 64, 0, 0},  {3, 31, 300, 269, 0, 0},     {2, 40, 257, 217, 0, 0}, {3, 16, 47, 32, 1, 31},
    {3, 16, 47, 32, 0, 32},  {3, 16, 47, 32, 0, 33},      {2, 9, 9, 0, 0, 1},      {4, 37, 600, 600, 37, 64},
    {2, 70, 90, 100, 80, 0}, {2, 1, 1050, 1049, 0, 1025},
};
enum { TILES = sizeof tiles / sizeof *tiles };

/* Rows longer than a block of a card keeps (12032 columns), and as long. */
static const tile long_rows[] = {{1, 2, 12033, 12031, 0, 0}, {1, 2, 12032, 12030, 0, 0}};

static float *filled(int64_t n, float value) {
    float *x = rs_rig_zeros(n, sizeof *x);
    for (int64_t i = 0; i < n; i++) x[i] = value;
    return x;
}

/* ---- scores ---- */

/* A view of float32 values; halves: in bfloat16, in which they must stand exactly. */
static rs_view put_input(rs_rig *r, int gap, const float *x, bool halves, int64_t a, int64_t b, int64_t c) {
    return halves ? rs_rig_put_halves(r, gap, x, a, b, c) : RS_RIG_PUT(r, RS_F32, gap, x, a, b, c);
}

static void run_scores(rs_rig *r, const tile *c, int64_t S, int64_t Dh, int gap, rs_compute compute, bool halves) {
    rs_rng rng;
    rs_rng_init(&rng, (uint64_t)(c->C + Dh));
    float *q = rs_rig_normal(&rng, c->R * c->H * Dh, 1), *k = rs_rig_normal(&rng, c->C * S * Dh, 1), scale = 0.125F;
    int32_t slot[16];
    for (int64_t h = 0; h < c->H; h++) slot[h] = (int32_t)((h * 2 + 1) % S);
    rs_view s = RS_RIG_NEW(r, RS_F32, gap, c->H, c->R, c->C);
    rs_rig_round(q, c->R * c->H * Dh, halves ? compute : RS_COMPUTE_F32);
    rs_rig_round(k, c->C * S * Dh, halves ? compute : RS_COMPUTE_F32);
    rs_op op = {.kind = RS_OP_SCORES,
                .u.scores = {.q = put_input(r, gap, q, halves, c->R, c->H, Dh),
                             .k = put_input(r, gap, k, halves, c->C, S, Dh),
                             .slot = RS_RIG_PUT(r, RS_I32, 0, slot, c->H),
                             .s = s,
                             .scale = scale,
                             .row0 = c->row0,
                             .col0 = c->col0,
                             .compute = compute}};
    rs_rig_run(r, &op);
    rs_rig_round(q, c->R * c->H * Dh, compute);
    rs_rig_round(k, c->C * S * Dh, compute);
    float *got = rs_rig_get(r, &s);
    double *want = rs_rig_doubles(c->H * c->R * c->C);
    for (int64_t h = 0; h < c->H; h++) {
        for (int64_t i = 0; i < c->R * c->C; i++) {
            int64_t row = i / c->C, col = i % c->C, at = h * c->R * c->C + i;
            double sum = 0;
            for (int64_t e = 0; e < Dh; e++)
                sum += (double)q[(row * c->H + h) * Dh + e] * (double)k[(col * S + slot[h]) * Dh + e];
            want[at] = sum * (double)scale;
            if (c->col0 + col > c->row0 + row) want[at] = 0, got[at] = 0; /* may hold anything */
        }
    }
    /* Dh products of numbers of size one: 64 roundings at random are 5e-7 of a typical sum. */
    rs_rig_close_f32(r, "scores", got, want, c->H * c->R * c->C, rs_rig_product_bar(compute, 1e-6));
    rs_rig_same_bytes(r, got, (size_t)(c->H * c->R * c->C) * sizeof *got);
    free(q), free(k), free(got), free(want);
}

static void body_scores(rs_rig *r) {
    for (int i = 0; i < TILES; i++) run_scores(r, &tiles[i], i % 3 + 1, i % 2 ? 64 : 17, i % 4, RS_COMPUTE_F32, false);
    run_scores(r, &tiles[3], 9, 256, 0, RS_COMPUTE_F32, false); /* as many slots as heads */
    run_scores(r, &tiles[3], 12, 1, 1, RS_COMPUTE_F32, false);
    for (int i = 0; i < TILES; i += 2)
        run_scores(r, &tiles[i], i % 3 + 1, i % 4 ? 64 : 17, i % 3, RS_COMPUTE_BF16, i % 4 == 0);
    run_scores(r, &tiles[4], 2, 64, 0, RS_COMPUTE_TF32, false);
}

/* ---- mask and softmax ---- */

typedef struct softmax_case {
    const tile *tile;
    float softcap;
    bool masked, sinks, stats; /* masked: MASK runs first, and SOFTMAX gets no soft-cap any more */
} softmax_case;

static double capped(double x, double cap) { return cap > 0 ? cap * tanh(x / cap) : x; }

/* One row; sink NULL: none. */
static void softmax_reference(const tile *c, int64_t row, const float *s, double cap, const float *sink, double *p,
                              double stats[2]) {
    double most = sink ? (double)*sink : -INFINITY, sum = 0;
    for (int64_t i = 0; i < c->C; i++) {
        if (sees(c, row, i)) most = fmax(most, capped((double)s[i], cap));
    }
    for (int64_t i = 0; i < c->C; i++) sum += sees(c, row, i) ? exp(capped((double)s[i], cap) - most) : 0;
    if (sink) sum += exp((double)*sink - most);
    stats[0] = most + log(sum);
    stats[1] = 0;
    for (int64_t i = 0; i < c->C; i++) {
        p[i] = sees(c, row, i) ? exp(capped((double)s[i], cap) - most) / sum : 0;
        if (p[i] > 0) stats[1] -= p[i] * log(p[i]);
    }
}

static rs_op mask_op(rs_view s, const tile *c, float cap) {
    return (rs_op){.kind = RS_OP_MASK,
                   .u.mask = {.s = s, .row0 = c->row0, .col0 = c->col0, .window = c->window, .softcap = cap}};
}

static void check_masked(rs_rig *r, const rs_view *v, const tile *c, const float *s, double cap) {
    float *got = rs_rig_get(r, v);
    for (int64_t i = 0; i < c->H * c->R * c->C; i++) {
        double want = capped((double)s[i], cap);
        bool seen = sees(c, i / c->C % c->R, i % c->C);
        if (!seen && got[i] == -INFINITY) continue;
        /* tanh to 2 ulp and two roundings more */
        if (seen && fabs((double)got[i] - want) <= 3e-7 * fabs(want)) continue;
        fail_msg("%s: mask: entry %lld is %.9g, expected %.9g", r->name, (long long)i, (double)got[i],
                 seen ? want : -INFINITY);
    }
    free(got);
}

static void run_softmax(rs_rig *r, const softmax_case *sc, double spread, int gap) {
    const tile *c = sc->tile;
    rs_rng rng;
    rs_rng_init(&rng, (uint64_t)(c->C * 3 + c->R));
    int64_t rows = c->H * c->R, n = rows * c->C;
    float *s = rs_rig_normal(&rng, n, spread), *sinks = rs_rig_normal(&rng, c->H, 2);
    for (int64_t i = 0; i < n; i++) {
        if (!sees(c, i / c->C % c->R, i % c->C)) s[i] = NAN; /* must be overwritten unread */
    }
    rs_view vs = RS_RIG_PUT(r, RS_F32, gap, s, c->H, c->R, c->C), vt = RS_RIG_NEW(r, RS_F32, gap, c->H, c->R, 2);
    if (sc->masked) {
        rs_op op = mask_op(vs, c, sc->softcap);
        rs_rig_run(r, &op);
        check_masked(r, &vs, c, s, (double)sc->softcap);
    }
    rs_op op = {.kind = RS_OP_SOFTMAX,
                .u.softmax = {.s = vs,
                              .sinks = sc->sinks ? RS_RIG_PUT(r, RS_F32, 0, sinks, c->H) : RS_ABSENT,
                              .stats = sc->stats ? vt : RS_ABSENT,
                              .row0 = c->row0,
                              .col0 = c->col0,
                              .window = c->window,
                              .softcap = sc->masked ? 0 : sc->softcap}};
    rs_rig_run(r, &op);
    float *p = rs_rig_get(r, &vs), *stats = rs_rig_get(r, &vt);
    double *want = rs_rig_doubles(c->C), *entropy = rs_rig_doubles(rows), *got_entropy = rs_rig_doubles(rows), most = 1;
    for (int64_t row = 0; row < rows; row++) {
        double pair[2];
        softmax_reference(c, row % c->R, s + row * c->C, (double)sc->softcap, sc->sinks ? sinks + row / c->R : NULL,
                          want, pair);
        for (int64_t i = 0; i < c->C; i++) {
            if (!sees(c, row % c->R, i)) assert_true(p[row * c->C + i] == 0.0F && !signbit(p[row * c->C + i]));
        }
        /* 1024 numbers may go into one float32 sum where a compiler does not vectorise it (sanitizers): some 32
         * roundings of 6e-8 at random. With a soft-cap logits of size 40 are off by 2e-6 after tanh, which is relative
         * in exp. */
        rs_rig_close_f32(r, "pattern", p + row * c->C, want, c->C, sc->softcap > 0 ? 2e-5 : 3e-6);
        if (!sc->stats) continue;
        double lse = (double)stats[row * 2], bar = 3e-6 * fmax(1, fabs(pair[0])) * (sc->softcap > 0 ? 7 : 1);
        if (!(fabs(lse - pair[0]) <= bar)) fail_msg("%s: log-sum-exp is %.9g, expected %.9g", r->name, lse, pair[0]);
        got_entropy[row] = (double)stats[row * 2 + 1];
        entropy[row] = pair[1];
        most = fmax(most, pair[1]);
    }
    for (int64_t row = 0; row < rows && sc->stats; row++) {
        /* One logarithm and sums of positive numbers: absolute, against the largest entropy or one nat. */
        if (!(fabs(got_entropy[row] - entropy[row]) <= (sc->softcap > 0 ? 2e-5 : 3e-6) * most))
            fail_msg("%s: entropy is %.9g, expected %.9g", r->name, got_entropy[row], entropy[row]);
    }
    rs_rig_same_bytes(r, p, (size_t)n * sizeof *p);
    free(s), free(sinks), free(p), free(stats), free(want), free(entropy), free(got_entropy);
}

/* The pattern in bfloat16: beside the float32 one its rounding, bit for bit; alone the same once more. */
static void run_softmax_half(rs_rig *r, const tile *c, int gap) {
    rs_rng rng;
    rs_rng_init(&rng, (uint64_t)(c->C * 5 + c->R));
    int64_t n = c->H * c->R * c->C;
    float *s = rs_rig_normal(&rng, n, 3);
    uint16_t *half[2];
    for (int only = 0; only < 2; only++) {
        rs_view vs = RS_RIG_PUT(r, RS_F32, gap, s, c->H, c->R, c->C);
        rs_view vh = RS_RIG_NEW(r, RS_BF16, 2 - gap, c->H, c->R, c->C);
        rs_op op = {
            .kind = RS_OP_SOFTMAX,
            .u.softmax = {
                .s = vs, .half = vh, .row0 = c->row0, .col0 = c->col0, .window = c->window, .half_only = only == 1}};
        rs_rig_run(r, &op);
        half[only] = rs_rig_get(r, &vh);
        float *p = rs_rig_get(r, &vs);
        rs_rig_round(p, only ? 0 : n, RS_COMPUTE_BF16);
        for (int64_t i = 0; i < n && !only; i++) {
            uint32_t bits = (uint32_t)half[0][i] << 16;
            float got;
            memcpy(&got, &bits, sizeof got);
            if (got != p[i])
                fail_msg("%s: half of entry %lld is %.9g, expected %.9g", r->name, (long long)i, (double)got,
                         (double)p[i]);
        }
        free(p);
    }
    assert_memory_equal(half[0], half[1], (size_t)n * sizeof **half);
    rs_rig_same_bytes(r, half[0], (size_t)n * sizeof **half);
    free(s), free(half[0]), free(half[1]);
}

static void body_softmax_half(rs_rig *r) {
    for (int i = 0; i < TILES; i += 2) run_softmax_half(r, &tiles[i], i % 3);
    run_softmax_half(r, &long_rows[0], 1);
}

static void body_softmax(rs_rig *r) {
    for (int i = 0; i < TILES; i++) run_softmax(r, &(softmax_case){.tile = &tiles[i], .stats = true}, 2, i % 3);
    for (int i = 0; i < 2; i++)
        run_softmax(r, &(softmax_case){.tile = &long_rows[i], .sinks = i == 0, .stats = true}, 2, i);
}

/* Logits hundreds apart: most of the row underflows to zero, nothing overflows. */
static void body_softmax_wide(rs_rig *r) {
    run_softmax(r, &(softmax_case){.tile = &tiles[5], .stats = true}, 200, 1);
    run_softmax(r, &(softmax_case){.tile = &tiles[6], .stats = true, .sinks = true}, 1000, 0);
    run_softmax(r, &(softmax_case){.tile = &tiles[6], .stats = true}, 1e-6, 0);
}

static void body_softmax_extras(rs_rig *r) {
    for (int i = 0; i < TILES; i += 2)
        run_softmax(r, &(softmax_case){.tile = &tiles[i], .softcap = 50, .stats = true}, 40, 0);
    for (int i = 1; i < TILES; i += 2)
        run_softmax(r, &(softmax_case){.tile = &tiles[i], .softcap = 20, .masked = true, .stats = true}, 30, 2);
    for (int i = 0; i < TILES; i += 3)
        run_softmax(r, &(softmax_case){.tile = &tiles[i], .sinks = true, .stats = true}, 2, 1);
    run_softmax(r, &(softmax_case){.tile = &tiles[3], .masked = true, .sinks = true}, 2, 1);
}

/* ---- mix ---- */

static void run_mix(rs_rig *r, const tile *c, int64_t K, int64_t Dv, int gap, rs_compute compute, bool halves) {
    rs_rng rng;
    rs_rng_init(&rng, (uint64_t)(c->C + Dv));
    float *p = filled(c->H * c->R * c->C, 0), *v = rs_rig_normal(&rng, c->C * K * Dv, 1);
    for (int64_t i = 0; i < c->H * c->R * c->C; i++) {
        if (sees(c, i / c->C % c->R, i % c->C)) p[i] = (float)rs_rng_uniform(&rng);
    }
    rs_view z = RS_RIG_NEW(r, RS_F32, gap, c->R, c->H, Dv);
    rs_rig_round(p, c->H * c->R * c->C, halves ? compute : RS_COMPUTE_F32);
    rs_rig_round(v, c->C * K * Dv, halves ? compute : RS_COMPUTE_F32);
    rs_op op = {.kind = RS_OP_MIX,
                .u.mix = {.p = put_input(r, gap, p, halves, c->H, c->R, c->C),
                          .v = put_input(r, gap, v, halves, c->C, K, Dv),
                          .z = z,
                          .row0 = c->row0,
                          .col0 = c->col0,
                          .compute = compute}};
    rs_rig_run(r, &op);
    rs_rig_round(p, c->H * c->R * c->C, compute);
    rs_rig_round(v, c->C * K * Dv, compute);
    float *got = rs_rig_get(r, &z);
    double *want = rs_rig_doubles(c->R * c->H * Dv);
    for (int64_t h = 0; h < c->H; h++) {
        for (int64_t row = 0; row < c->R; row++) {
            for (int64_t i = 0; i < c->C * Dv; i++) {
                int64_t col = i / Dv, e = i % Dv;
                want[(row * c->H + h) * Dv + e] +=
                    (double)p[(h * c->R + row) * c->C + col] * (double)v[(col * K + h / (c->H / K)) * Dv + e];
            }
        }
    }
    /* Up to 1050 random roundings against the largest sum. */
    rs_rig_close_f32(r, "mix", got, want, c->R * c->H * Dv, rs_rig_product_bar(compute, 2e-6));
    rs_rig_same_bytes(r, got, (size_t)(c->R * c->H * Dv) * sizeof *got);
    free(p), free(v), free(got), free(want);
}

static void body_mix(rs_rig *r) {
    for (int i = 0; i < TILES; i++)
        run_mix(r, &tiles[i], tiles[i].H % 3 == 0 ? 3 : 1, i % 2 ? 64 : 33, i % 3, RS_COMPUTE_F32, false);
    run_mix(r, &tiles[3], 9, 1, 0, RS_COMPUTE_F32, false);
    run_mix(r, &tiles[4], 2, 256, 0, RS_COMPUTE_F32, false);
    for (int i = 0; i < TILES; i += 2)
        run_mix(r, &tiles[i], tiles[i].H % 3 == 0 ? 3 : 1, 33, i % 3, RS_COMPUTE_BF16, i % 4 == 0);
    run_mix(r, &tiles[4], 2, 64, 0, RS_COMPUTE_TF32, false);
}

/* ---- cross entropy ---- */

static void run_cross_entropy(rs_rig *r, int64_t rows, int64_t V, int64_t chunk, float scale, float cap,
                              double spread) {
    rs_rng rng;
    rs_rng_init(&rng, (uint64_t)V);
    float *x = rs_rig_normal(&rng, rows * V, spread);
    int32_t *targets = rs_rig_zeros(rows, sizeof *targets);
    double *state = rs_rig_doubles(rows * 3);
    for (int64_t i = 0; i < rows; i++) {
        targets[i] = i == 1 ? -1 : i == 0 ? (int32_t)(V - 1) : (int32_t)rs_rng_below(&rng, V);
        state[i * 3] = -INFINITY;
        state[i * 3 + 2] = NAN;
    }
    rs_view vs = RS_RIG_PUT(r, RS_F64, 0, state, rows, 3), vt = RS_RIG_PUT(r, RS_I32, 0, targets, rows);
    for (int64_t v0 = 0; v0 < V; v0 += chunk) {
        int64_t n = V - v0 < chunk ? V - v0 : chunk;
        float *part = filled(rows * n, 0);
        for (int64_t i = 0; i < rows; i++) memcpy(part + i * n, x + i * V + v0, (size_t)n * sizeof *part);
        rs_op op = {.kind = RS_OP_CROSS_ENTROPY,
                    .u.cross_entropy = {.logits = RS_RIG_PUT(r, RS_F32, 3, part, rows, n),
                                        .targets = vt,
                                        .state = vs,
                                        .v0 = v0,
                                        .softcap = cap,
                                        .scale = scale}};
        rs_rig_run(r, &op);
        free(part);
    }
    double *got = rs_rig_get(r, &vs);
    for (int64_t i = 0; i < rows; i++) {
        double most = -INFINITY, sum = 0;
        for (int64_t v = 0; v < V; v++) most = fmax(most, capped((double)x[i * V + v] * (double)scale, (double)cap));
        for (int64_t v = 0; v < V; v++) sum += exp(capped((double)x[i * V + v] * (double)scale, (double)cap) - most);
        double lse = most + log(sum), got_lse = got[i * 3] + log(got[i * 3 + 1]);
        /* The logits are rounded to float32 after scale and cap: 6e-8 of their size. */
        double bar = 1e-6 + 4e-7 * fabs(most);
        if (!(fabs(got_lse - lse) <= bar))
            fail_msg("%s: row %lld: log-sum-exp is %.12g, expected %.12g", r->name, (long long)i, got_lse, lse);
        if (targets[i] < 0) {
            assert_true(isnan(got[i * 3 + 2]));
            continue;
        }
        double target = capped((double)x[i * V + targets[i]] * (double)scale, (double)cap);
        if (!(fabs(got[i * 3 + 2] - target) <= 4e-7 * fabs(target)))
            fail_msg("%s: row %lld: target logit is %.9g, expected %.9g", r->name, (long long)i, got[i * 3 + 2],
                     target);
    }
    rs_rig_same_bytes(r, got, (size_t)rows * 3 * sizeof *got);
    free(x), free(targets), free(state), free(got);
}

static void body_cross_entropy(rs_rig *r) {
    run_cross_entropy(r, 2, 1, 1, 1, 0, 1);
    run_cross_entropy(r, 33, 1000, 1000, 1, 0, 5);
    run_cross_entropy(r, 7, 5003, 1100, 0.5F, 0, 20);
    run_cross_entropy(r, 7, 2051, 700, 1, 30, 40);
    run_cross_entropy(r, 3, 300, 7, -1, 0, 3);
}

static void test_scores(void **state) { (void)state, rs_rig_each(body_scores); }
static void test_softmax(void **state) { (void)state, rs_rig_each(body_softmax); }
static void test_softmax_half(void **state) { (void)state, rs_rig_each(body_softmax_half); }
static void test_softmax_wide(void **state) { (void)state, rs_rig_each(body_softmax_wide); }
static void test_softmax_extras(void **state) { (void)state, rs_rig_each(body_softmax_extras); }
static void test_mix(void **state) { (void)state, rs_rig_each(body_mix); }
static void test_cross_entropy(void **state) { (void)state, rs_rig_each(body_cross_entropy); }

int main(void) {
    rs_test_device_or_skip();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scores),         cmocka_unit_test(test_softmax),
        cmocka_unit_test(test_softmax_wide),   cmocka_unit_test(test_softmax_half),
        cmocka_unit_test(test_softmax_extras), cmocka_unit_test(test_mix),
        cmocka_unit_test(test_cross_entropy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
