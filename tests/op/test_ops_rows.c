/* tests/op/test_ops_rows.c: norm, matmul, add, gate and rope on every backend against plain float64 loops written here.
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

/* ---- norm ---- */

typedef struct norm_case {
    rs_norm_kind kind;
    int64_t rows, groups, width;
    int weight; /* 0 none, 1 shared, 2 per group */
    bool bias, in_place;
    float add;
} norm_case;

static void norm_reference(const norm_case *c, const float *x, const float *w, const float *b, double eps, double *y) {
    for (int64_t row = 0; row < c->rows * c->groups; row++) {
        const float *in = x + row * c->width;
        int64_t shift = c->weight == 2 ? row % c->groups * c->width : 0;
        double mean = 0, square = 0;
        for (int64_t i = 0; i < c->width; i++) mean += (double)in[i] / (double)c->width;
        if (c->kind == RS_NORM_RMS) mean = 0;
        for (int64_t i = 0; i < c->width; i++) square += pow((double)in[i] - mean, 2) / (double)c->width;
        for (int64_t i = 0; i < c->width; i++) {
            double gain = c->weight ? (double)w[shift + i] + (double)c->add : 1.0;
            y[row * c->width + i] = ((double)in[i] - mean) / sqrt(square + eps) * gain + (c->bias ? (double)b[i] : 0.0);
        }
    }
}

/* Of an op that can write bfloat16 (into view h) what it writes as float32 (y[n]): the same, rounded. */
static void check_halves(rs_rig *r, const rs_op *op, const rs_view *h, const float *y, int64_t n) {
    float *rounded = rs_rig_zeros(n, sizeof *rounded);
    memcpy(rounded, y, (size_t)n * sizeof *rounded);
    rs_rig_round(rounded, n, RS_COMPUTE_BF16);
    rs_rig_run(r, op);
    uint16_t *got = rs_rig_get(r, h);
    for (int64_t i = 0; i < n; i++) {
        uint16_t want;
        memcpy(&want, (const char *)&rounded[i] + 2, sizeof want); /* little-endian */
        if (got[i] != want)
            fail_msg("%s: op %s in bfloat16: entry %lld is %04X, expected %04X", r->name, rs_op_name(op->kind),
                     (long long)i, got[i], want);
    }
    free(rounded), free(got);
}

static void run_norm(rs_rig *r, const norm_case *c) {
    rs_rng rng;
    rs_rng_init(&rng, (uint64_t)c->width);
    int64_t n = c->rows * c->groups * c->width, nw = c->weight == 2 ? c->groups * c->width : c->width;
    float eps = 1e-5F, *x = rs_rig_normal(&rng, n, 3), *w = rs_rig_normal(&rng, nw, 1),
          *b = rs_rig_normal(&rng, c->width, 1);
    for (int64_t i = 0; i < n; i++) x[i] += 2.0F; /* a mean, so that forgetting to subtract it shows */
    rs_view vx = RS_RIG_PUT(r, RS_F32, 5, x, c->rows, c->groups, c->width);
    rs_view vy = c->in_place ? vx : RS_RIG_NEW(r, RS_F32, 3, c->rows, c->groups, c->width);
    rs_view vw =
        c->weight == 2 ? RS_RIG_PUT(r, RS_F32, 2, w, c->groups, c->width) : RS_RIG_PUT(r, RS_F32, 0, w, c->width);
    rs_view vb = RS_RIG_PUT(r, RS_F32, 0, b, c->width);
    rs_op op = {.kind = RS_OP_NORM,
                .u.norm = {.kind = c->kind,
                           .x = vx,
                           .y = vy,
                           .weight = c->weight ? vw : RS_ABSENT,
                           .bias = c->bias ? vb : RS_ABSENT,
                           .add = c->add,
                           .eps = eps}};
    rs_rig_run(r, &op);
    float *y = rs_rig_get(r, &vy);
    double *want = rs_rig_doubles(n);
    norm_reference(c, x, w, b, (double)eps, want);
    /* A few float32 roundings per entry and a sum of squares whose relative error is that of some 64 additions. */
    rs_rig_close_f32(r, "norm", y, want, n, 1e-6);
    rs_view vh = RS_RIG_NEW(r, RS_BF16, 4, c->rows, c->groups, c->width);
    op.u.norm.y = vh;
    if (!c->in_place) check_halves(r, &op, &vh, y, n);
    free(x), free(w), free(b), free(y), free(want);
}

static void body_norm(rs_rig *r) {
    static const norm_case cases[] = {
        {RS_NORM_RMS, 1, 1, 1, 1, false, false, 0},    {RS_NORM_RMS, 7, 1, 576, 1, false, true, 0},
        {RS_NORM_RMS, 5, 9, 64, 1, false, true, 0},    {RS_NORM_RMS, 3, 3, 65, 2, false, false, 1},
        {RS_NORM_RMS, 2, 1, 5000, 0, false, false, 0}, {RS_NORM_LAYER, 4, 1, 33, 1, true, false, 0},
        {RS_NORM_LAYER, 70, 1, 768, 1, true, true, 0}, {RS_NORM_LAYER, 3, 2, 15, 2, false, false, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) run_norm(r, &cases[i]);
}

/* ---- matmul ---- */

/* packed: w is kept in bfloat16. */
static void run_matmul(rs_rig *r, int64_t M, int64_t N, int64_t K, bool biased, int gap, rs_compute compute,
                       bool packed) {
    rs_rng rng;
    rs_rng_init(&rng, (uint64_t)(M * 31 + N));
    float *x = rs_rig_normal(&rng, M * K, 1), *w = rs_rig_normal(&rng, N * K, 1), *b = rs_rig_normal(&rng, N, 1);
    rs_view vx = RS_RIG_PUT(r, RS_F32, gap, x, M, K), vw = RS_RIG_PUT(r, RS_F32, gap, w, N, K),
            vb = RS_RIG_PUT(r, RS_F32, 0, b, N);
    rs_view vy = RS_RIG_NEW(r, RS_F32, gap, M, N);
    rs_rig_round(x, M * K, compute);
    rs_rig_round(w, N * K, compute);
    if (packed) { /* and x with it, as a norm would leave it */
        uint16_t *half_x = rs_rig_zeros(M * K, sizeof *half_x);
        for (int64_t i = 0; i < M * K; i++) memcpy(&half_x[i], (const char *)&x[i] + 2, sizeof *half_x);
        if (M % 2 == 1) vx = RS_RIG_PUT(r, RS_BF16, gap, half_x, M, K);
        free(half_x);
        uint16_t *half = rs_rig_zeros(N * K, sizeof *half);
        for (int64_t i = 0; i < N * K; i++) memcpy(&half[i], (const char *)&w[i] + 2, sizeof *half); /* little-endian */
        vw = RS_RIG_PUT(r, RS_BF16, gap, half, N, K);
        free(half);
    }
    rs_op op = {.kind = RS_OP_MATMUL,
                .u.matmul = {.x = vx, .w = vw, .bias = biased ? vb : RS_ABSENT, .y = vy, .compute = compute}};
    rs_rig_run(r, &op);
    float *y = rs_rig_get(r, &vy);
    double *want = rs_rig_doubles(M * N);
    for (int64_t m = 0; m < M; m++) {
        for (int64_t n = 0; n < N; n++) {
            double sum = biased ? (double)b[n] : 0;
            for (int64_t k = 0; k < K; k++) sum += (double)x[m * K + k] * (double)w[n * K + k];
            want[m * N + n] = sum;
        }
    }
    /* Worst case K roundings of 6e-8 each; they are random, so sqrt(K) of them, against the largest of M N sums. */
    rs_rig_close_f32(r, "matmul", y, want, M * N, rs_rig_product_bar(compute, 2e-6));
    float *first = y;
    rs_rig_run(r, &op);
    y = rs_rig_get(r, &vy);
    assert_memory_equal(first, y, (size_t)(M * N) * sizeof *y); /* with the same threads the same bytes */
    op.u.matmul.add = true;
    rs_rig_run(r, &op);
    float *twice = rs_rig_get(r, &vy);
    for (int64_t i = 0; i < M * N; i++) want[i] *= 2;
    rs_rig_close_f32(r, "matmul, added", twice, want, M * N, rs_rig_product_bar(compute, 2e-6));
    free(x), free(w), free(b), free(y), free(first), free(twice), free(want);
}

static void body_matmul(rs_rig *r) {
    run_matmul(r, 1, 1, 1, true, 0, RS_COMPUTE_F32, false);
    run_matmul(r, 1, 77, 64, false, 3, RS_COMPUTE_F32, false);
    run_matmul(r, 13, 1, 5, true, 2, RS_COMPUTE_F32, false);
    run_matmul(r, 65, 97, 33, true, 0, RS_COMPUTE_F32, false);
    run_matmul(r, 96, 128, 576, false, 4, RS_COMPUTE_F32, false);
    /* more columns, then more depth, than are packed at a time */
    run_matmul(r, 67, 1030, 9, true, 1, RS_COMPUTE_F32, false);
    run_matmul(r, 64, 33, 2050, false, 0, RS_COMPUTE_F32, false);
}

static void body_matmul_rounded(rs_rig *r) {
    for (int packed = 0; packed < 2; packed++) {
        run_matmul(r, 1, 77, 64, false, 3, RS_COMPUTE_BF16, packed);
        run_matmul(r, 13, 1, 5, true, 2, RS_COMPUTE_BF16, packed);
        run_matmul(r, 70, 97, 33, true, 1, RS_COMPUTE_BF16, packed);
        run_matmul(r, 96, 128, 576, false, 8, RS_COMPUTE_BF16, packed);
    }
    run_matmul(r, 70, 97, 33, true, 1, RS_COMPUTE_TF32, false);
}

/* ---- add ---- */

/* gap: spare elements behind a row of x; rows of a multiple of four with such a gap may go four at a time. */
static void run_add(rs_rig *r, float a, float b, bool in_place, int C, int gap) {
    enum { R = 37 };
    int N = R * C;
    rs_rng rng;
    rs_rng_init(&rng, 4);
    float *x = rs_rig_normal(&rng, N, 1), *y = rs_rig_normal(&rng, N, 1);
    double *want = rs_rig_doubles(N);
    if (b == 0) y[5] = NAN; /* must not be read */
    for (int i = 0; i < N; i++)
        want[i] = (double)a * (double)x[i] + (b != 0 ? (double)b * (double)(in_place ? x[i] : y[i]) : 0);
    rs_view vx = RS_RIG_PUT(r, RS_F32, gap, x, R, C), vy = in_place ? vx : RS_RIG_PUT(r, RS_F32, 7 * gap, y, R, C);
    rs_op op = {.kind = RS_OP_ADD, .u.add = {.x = vx, .y = vy, .a = a, .b = b}};
    rs_rig_run(r, &op);
    float *got = rs_rig_get(r, &vy);
    rs_rig_close_f32(r, "add", got, want, N, 2e-7); /* three roundings */
    free(x), free(y), free(want), free(got);
}

static void run_add_doubles(rs_rig *r, double a, double b) {
    enum { R = 3, C = 401, N = R * C };
    rs_rng rng;
    rs_rng_init(&rng, 5);
    double *x = rs_rig_doubles(N), *y = rs_rig_doubles(N), *want = rs_rig_doubles(N);
    for (int i = 0; i < N; i++) {
        x[i] = rs_rng_normal(&rng);
        y[i] = b == 0 ? (double)NAN : rs_rng_normal(&rng);
        want[i] = a * x[i] + (b == 0 ? 0 : b * y[i]);
    }
    rs_view vx = RS_RIG_PUT(r, RS_F64, 2, x, R, C), vy = RS_RIG_PUT(r, RS_F64, 1, y, R, C);
    rs_op op = {.kind = RS_OP_ADD, .u.add = {.x = vx, .y = vy, .a = a, .b = b}};
    rs_rig_run(r, &op);
    double *got = rs_rig_get(r, &vy);
    rs_rig_close_f64(r, "add of doubles", got, want, N, 4e-16); /* a sum of two products, each rounded, or not */
    free(x), free(y), free(want), free(got);
}

static void body_add(rs_rig *r) {
    for (int fours = 0; fours < 2; fours++) {
        int C = fours ? 1284 : 129, gap = fours ? 4 : 1;
        run_add(r, 1, 1, false, C, gap);
        run_add(r, 0.5F, 0, false, C, gap);
        run_add(r, 24, 0, true, C, gap);
        run_add(r, 2, -3, true, C, gap);
    }
    run_add(r, 2, -3, false, 1, 0);
    run_add_doubles(r, 1.0 / 3.0, 0);
    run_add_doubles(r, 2, -3);
}

/* ---- gate ---- */

static double act_reference(rs_activation act, double x) {
    switch (act) {
    case RS_ACT_SILU: return x / (1 + exp(-x));
    case RS_ACT_GELU_ERF: return x * 0.5 * erfc(-x / sqrt(2.0));
    case RS_ACT_GELU_TANH: return 0.5 * x * (1 + tanh(sqrt(2 / acos(-1.0)) * (x + 0.044715 * x * x * x)));
    case RS_ACT_RELU: return x > 0 ? x : 0;
    case RS_ACT_RELU2: return x > 0 ? x * x : 0;
    }
    return 0;
}

/* Every value from -20 to 20 in steps of 1/1024, and the ends. Error in units of max(1, |x|): gelu of a negative x is a
 * small difference of numbers near 1 in float32 whoever computes it. */
static void run_gate(rs_rig *r, rs_activation act, bool with_up, bool in_place, int C, int gap) {
    enum { R = 41 };
    int N = R * C;
    float *g = rs_rig_zeros(N, sizeof *g), *up = rs_rig_zeros(N, sizeof *up);
    for (int i = 0; i < N; i++) {
        g[i] = (float)(i - N / 2) / 1024.0F;
        up[i] = (float)(i % 7) - 3.0F;
    }
    g[0] = -1e30F, g[1] = -200, g[2] = -89, g[3] = -88, g[4] = 88, g[5] = 89, g[6] = 200, g[7] = 1e15F, g[8] = -0.0F;
    rs_view vg = RS_RIG_PUT(r, RS_F32, gap, g, R, C), vu = RS_RIG_PUT(r, RS_F32, 0, up, R, C);
    rs_view vy = in_place ? vg : RS_RIG_NEW(r, RS_F32, 2 * gap, R, C);
    rs_op op = {.kind = RS_OP_GATE, .u.gate = {.act = act, .gate = vg, .up = with_up ? vu : RS_ABSENT, .y = vy}};
    rs_rig_run(r, &op);
    float *y = rs_rig_get(r, &vy);
    for (int i = 0; i < N; i++) {
        double x = (double)g[i], want = act_reference(act, x) * (with_up ? (double)up[i] : 1.0);
        double size = fabs(x) > 1 ? fabs(x) : 1,
               bar = 2.5e-7 * (act == RS_ACT_RELU2 ? size * size : size) * (with_up ? 3 : 1);
        if (!isfinite(y[i]) || fabs((double)y[i] - want) > bar)
            fail_msg("%s: activation %d of %g is %.9g, expected %.9g", r->name, (int)act, x, (double)y[i], want);
    }
    rs_view vh = RS_RIG_NEW(r, RS_BF16, gap, R, C);
    op.u.gate.y = vh;
    if (!in_place) check_halves(r, &op, &vh, y, N);
    free(g), free(up), free(y);
}

static void body_gate(rs_rig *r) {
    for (int act = RS_ACT_SILU; act <= RS_ACT_RELU2; act++) {
        run_gate(r, (rs_activation)act, true, act % 2 == 0, 1025, 3);
        run_gate(r, (rs_activation)act, false, act % 2 == 1, 1025, 3);
        run_gate(r, (rs_activation)act, true, act % 2 == 1, 1028, 4); /* four at a time where a backend does so */
        run_gate(r, (rs_activation)act, false, act % 2 == 0, 1028, 0);
    }
}

/* SiLU keeps its relative accuracy as long as e^x is a normal float: that holds exp to 2 ulp and the division to half
 * of one. */
static void body_gate_relative(rs_rig *r) {
    enum { N = 200000 };
    float *g = rs_rig_zeros(N, sizeof *g);
    for (int i = 0; i < N; i++) g[i] = -86.0F + 172.0F * (float)i / (float)N;
    rs_view vg = RS_RIG_PUT(r, RS_F32, 0, g, 1, N), vy = RS_RIG_NEW(r, RS_F32, 0, 1, N);
    rs_op op = {.kind = RS_OP_GATE, .u.gate = {.act = RS_ACT_SILU, .gate = vg, .y = vy}};
    rs_rig_run(r, &op);
    float *y = rs_rig_get(r, &vy);
    for (int i = 0; i < N; i++) {
        double want = act_reference(RS_ACT_SILU, (double)g[i]);
        if (!(fabs((double)y[i] - want) <= 4 * 6e-8 * fabs(want)))
            fail_msg("%s: silu(%.9g) is %.9g, expected %.9g", r->name, (double)g[i], (double)y[i], want);
    }
    free(g), free(y);
}

/* ---- rope ---- */

typedef struct rope_case {
    int64_t T, Hx, Hy, F;
    int layout; /* 0 halves, 1 interleaved, 2 shuffled */
    bool in_place;
} rope_case;

static void components(rs_rng *rng, int64_t F, int layout, int32_t *lo, int32_t *hi) {
    for (int32_t f = 0; f < F; f++) {
        lo[f] = layout == 1 ? 2 * f : f;
        hi[f] = layout == 1 ? 2 * f + 1 : f + (int32_t)F;
    }
    for (int64_t i = F - 1; i > 0 && layout == 2; i--) {
        int64_t j = rs_rng_below(rng, i + 1);
        int32_t t = hi[i];
        hi[i] = hi[j];
        hi[j] = t;
    }
}

static void run_rope(rs_rig *r, const rope_case *c) {
    enum { VARIANTS = 2 };
    rs_rng rng;
    rs_rng_init(&rng, (uint64_t)(c->F + c->layout));
    int64_t Dh = 2 * c->F, nx = c->T * c->Hx * Dh, ny = c->T * c->Hy * Dh, nt = VARIANTS * c->T * c->F;
    float *x = rs_rig_normal(&rng, nx, 1), *cosine = rs_rig_normal(&rng, nt, 1), *sine = rs_rig_normal(&rng, nt, 1);
    int32_t lo[128], hi[128], variant[16], source[16];
    components(&rng, c->F, c->layout, lo, hi);
    for (int32_t h = 0; h < c->Hy; h++) {
        variant[h] = h % VARIANTS;
        source[h] = c->in_place ? h : (int32_t)((h * 2) % c->Hx);
    }
    rs_view vx = RS_RIG_PUT(r, RS_F32, 3, x, c->T, c->Hx, Dh),
            vy = c->in_place ? vx : RS_RIG_NEW(r, RS_F32, 5, c->T, c->Hy, Dh);
    rs_op op = {.kind = RS_OP_ROPE,
                .u.rope = {.x = vx,
                           .y = vy,
                           .component_lo = RS_RIG_PUT(r, RS_I32, 0, lo, c->F),
                           .component_hi = RS_RIG_PUT(r, RS_I32, 0, hi, c->F),
                           .cos = RS_RIG_PUT(r, RS_F32, 0, cosine, VARIANTS, c->T, c->F),
                           .sin = RS_RIG_PUT(r, RS_F32, 0, sine, VARIANTS, c->T, c->F),
                           .variant = RS_RIG_PUT(r, RS_I32, 0, variant, c->Hy),
                           .source = RS_RIG_PUT(r, RS_I32, 0, source, c->Hy)}};
    rs_rig_run(r, &op);
    float *y = rs_rig_get(r, &vy);
    double *want = rs_rig_doubles(ny);
    for (int64_t t = 0; t < c->T; t++) {
        for (int64_t h = 0; h < c->Hy; h++) {
            for (int64_t f = 0; f < c->F; f++) {
                const float *in = x + (t * c->Hx + source[h]) * Dh;
                double re = (double)in[lo[f]], im = (double)in[hi[f]];
                double cs = (double)cosine[(variant[h] * c->T + t) * c->F + f],
                       sn = (double)sine[(variant[h] * c->T + t) * c->F + f];
                want[(t * c->Hy + h) * Dh + lo[f]] = re * cs - im * sn;
                want[(t * c->Hy + h) * Dh + hi[f]] = im * cs + re * sn;
            }
        }
    }
    rs_rig_close_f32(r, "rope", y, want, ny, 3e-7); /* two products and a sum */
    rs_rig_same_bytes(r, y, (size_t)ny * sizeof *y);
    free(x), free(cosine), free(sine), free(y), free(want);
}

static void body_rope(rs_rig *r) {
    run_rope(r, &(rope_case){1, 1, 1, 1, 0, true});
    run_rope(r, &(rope_case){33, 9, 9, 32, 0, true});
    run_rope(r, &(rope_case){17, 3, 5, 32, 0, false}); /* five slots out of three key heads */
    run_rope(r, &(rope_case){19, 2, 2, 17, 1, true});
    run_rope(r, &(rope_case){19, 2, 4, 40, 1, false});
    run_rope(r, &(rope_case){11, 2, 2, 33, 2, true});
}

static void test_norm(void **state) { (void)state, rs_rig_each(body_norm); }
static void test_matmul(void **state) { (void)state, rs_rig_each(body_matmul); }
static void test_matmul_rounded(void **state) { (void)state, rs_rig_each(body_matmul_rounded); }
static void test_add(void **state) { (void)state, rs_rig_each(body_add); }
static void test_gate(void **state) { (void)state, rs_rig_each(body_gate); }
static void test_gate_relative(void **state) { (void)state, rs_rig_each(body_gate_relative); }
static void test_rope(void **state) { (void)state, rs_rig_each(body_rope); }

int main(void) {
    rs_test_device_or_skip();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_norm), cmocka_unit_test(test_matmul), cmocka_unit_test(test_matmul_rounded),
        cmocka_unit_test(test_add),  cmocka_unit_test(test_gate),   cmocka_unit_test(test_gate_relative),
        cmocka_unit_test(test_rope),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
