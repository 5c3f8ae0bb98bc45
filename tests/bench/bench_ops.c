/* tests/bench/bench_ops.c: how fast each op runs at the shapes of SmolLM2-135M (T 2048, 9 heads, 3 key heads of 64,
 * width 576, hidden 1536, vocabulary 49152). Not a test. Usage: bench_ops [device [threads [repeats]]] Prints the best
 * of the repeats as GFLOP/s (products) or GB/s (bytes that the op must at least read and write), then one layer's
 * attention over a sequence for several tile heights. */
#include "analyzer/base/rng.h"
#include "kernels/backend.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    T = 2048,
    H = 9,
    K = 3,
    DH = 64,
    D = 576,
    HIDDEN = 1536,
    VOCAB = 49152,
    F = DH / 2,
    CHUNK = 4096,
    TILE = 256,
    MAP = 32
};

typedef struct bench {
    const rs_backend *backend;
    rs_device *device;
    int repeats;
} bench;

static void stop(const rs_error *err) {
    fprintf(stderr, "bench_ops: %s\n", err->message);
    exit(1);
}

/* With one thread processor time: other programs on the machine then disturb less. */
static clockid_t watch = CLOCK_MONOTONIC;

static double seconds(void) {
    struct timespec t;
    clock_gettime(watch, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- memory ---- */

static rs_mem *memory(bench *b, size_t bytes, const void *values) {
    rs_mem *m = NULL;
    rs_error err;
    if (b->backend->alloc(b->device, bytes, &m, &err) != RS_OK) stop(&err);
    rs_status st = values ? b->backend->write(b->device, m, 0, values, bytes, &err)
                          : b->backend->zero(b->device, m, 0, bytes, &err);
    if (st != RS_OK) stop(&err);
    return m;
}

static rs_mem *floats(bench *b, int64_t n) {
    rs_rng rng;
    float *x = calloc((size_t)n, sizeof *x);
    if (!x) exit(1);
    rs_rng_init(&rng, 1);
    for (int64_t i = 0; i < n; i++) x[i] = (float)rs_rng_uniform(&rng) - 0.5F;
    rs_mem *m = memory(b, (size_t)n * sizeof *x, x);
    free(x);
    return m;
}

/* i % modulo */
static rs_mem *integers(bench *b, int64_t n, int32_t modulo) {
    int32_t *x = calloc((size_t)n, sizeof *x);
    if (!x) exit(1);
    for (int64_t i = 0; i < n; i++) x[i] = (int32_t)(i % modulo);
    rs_mem *m = memory(b, (size_t)n * sizeof *x, x);
    free(x);
    return m;
}

/* ---- timing ---- */

static double time_of(bench *b, const rs_op *ops, size_t n) {
    double best = INFINITY;
    rs_error err;
    for (int i = 0; i <= b->repeats; i++) { /* the first one warms up */
        double start = seconds();
        if (rs_run_ops(b->backend, b->device, ops, n, &err) != RS_OK || b->backend->sync(b->device, &err) != RS_OK)
            stop(&err);
        double took = seconds() - start;
        if (i > 0 && took < best) best = took;
    }
    return best;
}

static void report(bench *b, const char *name, const rs_op *op, double flop, double bytes) {
    double s = time_of(b, op, 1);
    if (flop > 0) printf("%-34s %9.3f ms %8.1f GFLOP/s\n", name, s * 1e3, flop / s * 1e-9);
    else printf("%-34s %9.3f ms %8.1f GB/s\n", name, s * 1e3, bytes / s * 1e-9);
}

/* ---- ops ---- */

static void bench_matmul(bench *b, const char *name, int64_t m, int64_t n, int64_t k) {
    rs_mem *x = floats(b, m * k), *w = floats(b, n * k), *y = floats(b, m * n);
    rs_op op = {.kind = RS_OP_MATMUL,
                .u.matmul = {.x = rs_view_2d(x, 0, RS_F32, m, k),
                             .w = rs_view_2d(w, 0, RS_F32, n, k),
                             .y = rs_view_2d(y, 0, RS_F32, m, n)}};
    report(b, name, &op, 2.0 * (double)m * (double)n * (double)k, 0);
    b->backend->release(b->device, x);
    b->backend->release(b->device, w);
    b->backend->release(b->device, y);
}

/* A large product as a card likes it: what its library reaches, to hold an audit's rate against. */
static void bench_bf16(bench *b, const char *name, int64_t m, int64_t n, int64_t k) {
    rs_mem *wide = floats(b, m * k), *x = memory(b, (size_t)(m * k) * 2, NULL),
           *w = memory(b, (size_t)(n * k) * 2, NULL), *y = memory(b, (size_t)(m * n) * 4, NULL);
    rs_error err;
    /* Both from the same numbers: n <= m. */
    rs_op round[2] = {
        {.kind = RS_OP_WIDEN,
         .u.widen = {.src = rs_view_1d(wide, 0, RS_F32, m * k), .dst = rs_view_1d(x, 0, RS_BF16, m * k)}},
        {.kind = RS_OP_WIDEN,
         .u.widen = {.src = rs_view_1d(wide, 0, RS_F32, n * k), .dst = rs_view_1d(w, 0, RS_BF16, n * k)}}};
    if (rs_run_ops(b->backend, b->device, round, 2, &err) != RS_OK) stop(&err);
    rs_op op = {.kind = RS_OP_MATMUL,
                .u.matmul = {.x = rs_view_2d(x, 0, RS_BF16, m, k),
                             .w = rs_view_2d(w, 0, RS_BF16, n, k),
                             .y = rs_view_2d(y, 0, RS_F32, m, n),
                             .compute = RS_COMPUTE_BF16}};
    report(b, name, &op, 2.0 * (double)m * (double)n * (double)k, 0);
    rs_mem *all[] = {wide, x, w, y};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) b->backend->release(b->device, all[i]);
}

static void bench_rows(bench *b) {
    rs_mem *x = floats(b, T * HIDDEN), *y = floats(b, T * HIDDEN), *z = floats(b, T * HIDDEN), *w = floats(b, HIDDEN);
    rs_view vx = rs_view_2d(x, 0, RS_F32, T, HIDDEN), vy = rs_view_2d(y, 0, RS_F32, T, HIDDEN),
            vz = rs_view_2d(z, 0, RS_F32, T, HIDDEN);
    double all = 4.0 * T * HIDDEN;
    rs_op norm = {.kind = RS_OP_NORM,
                  .u.norm = {.kind = RS_NORM_RMS,
                             .x = rs_view_3d(x, 0, RS_F32, T, 1, D),
                             .y = rs_view_3d(y, 0, RS_F32, T, 1, D),
                             .weight = rs_view_1d(w, 0, RS_F32, D),
                             .eps = 1e-5F}};
    report(b, "norm [2048,576]", &norm, 0, 8.0 * T * D);
    rs_op add = {.kind = RS_OP_ADD,
                 .u.add = {.x = rs_view_2d(x, 0, RS_F32, T, D), .y = rs_view_2d(y, 0, RS_F32, T, D), .a = 1, .b = 1}};
    report(b, "add [2048,576]", &add, 0, 12.0 * T * D);
    static const char *const names[] = {"gate silu [2048,1536]", "gate gelu erf", "gate gelu tanh", "gate relu",
                                        "gate relu^2"};
    for (int act = RS_ACT_SILU; act <= RS_ACT_RELU2; act++) {
        rs_op gate = {.kind = RS_OP_GATE, .u.gate = {.act = (rs_activation)act, .gate = vx, .up = vy, .y = vz}};
        report(b, names[act], &gate, 0, 3 * all);
    }
    rs_mem *index = integers(b, DH, DH), *turns = floats(b, T * F), *none = memory(b, H * sizeof(int32_t), NULL),
           *heads = integers(b, H, H);
    rs_view q = rs_view_3d(x, 0, RS_F32, T, H, DH), table = rs_view_3d(turns, 0, RS_F32, 1, T, F);
    rs_op rope = {.kind = RS_OP_ROPE,
                  .u.rope = {.x = q,
                             .y = q,
                             .component_lo = rs_view_1d(index, 0, RS_I32, F),
                             .component_hi = rs_view_1d(index, F * sizeof(int32_t), RS_I32, F),
                             .cos = table,
                             .sin = table,
                             .variant = rs_view_1d(none, 0, RS_I32, H),
                             .source = rs_view_1d(heads, 0, RS_I32, H)}};
    report(b, "rope [2048,9,64]", &rope, 0, 8.0 * T * H * DH);
}

static void bench_widen(bench *b) {
    static const rs_dtype types[] = {RS_F32,  RS_F16,  RS_BF16, RS_Q4_0, RS_Q4_1, RS_Q5_0,
                                     RS_Q5_1, RS_Q8_0, RS_Q4_K, RS_Q5_K, RS_Q6_K};
    int64_t n = (int64_t)D * HIDDEN * 4;
    rs_mem *src = memory(b, (size_t)n * 4, NULL), *dst = floats(b, n), *bad = memory(b, 8, NULL);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        char name[64];
        int64_t bytes = 0;
        snprintf(name, sizeof name, "widen %s (3.5 M weights)", rs_dtype_name(types[i]));
        rs_dtype_bytes(types[i], n, &bytes);
        rs_op op = {.kind = RS_OP_WIDEN,
                    .u.widen = {.src = rs_view_1d(src, 0, types[i], n),
                                .dst = rs_view_1d(dst, 0, RS_F32, n),
                                .bad = rs_view_1d(bad, 0, RS_I64, 1)}};
        report(b, name, &op, 0, (double)bytes + 4.0 * (double)n);
    }
}

static void bench_loss(bench *b) {
    int64_t rows = 1024;
    rs_mem *x = floats(b, rows * CHUNK), *targets = integers(b, rows, VOCAB),
           *state = memory(b, (size_t)rows * 24, NULL);
    rs_op op = {.kind = RS_OP_CROSS_ENTROPY,
                .u.cross_entropy = {.logits = rs_view_2d(x, 0, RS_F32, rows, CHUNK),
                                    .targets = rs_view_1d(targets, 0, RS_I32, rows),
                                    .state = rs_view_2d(state, 0, RS_F64, rows, 3),
                                    .scale = 1}};
    report(b, "cross entropy [1024,4096]", &op, 0, 4.0 * (double)rows * CHUNK);
}

/* ---- attention ---- */

typedef struct attention {
    rs_mem *q, *k, *v, *z, *s, *stats, *slot, *sums, *profile, *map;
} attention;

static attention attention_make(bench *b) {
    static const int32_t slots[H] = {0, 0, 0, 1, 1, 1, 2, 2, 2};
    return (attention){.q = floats(b, T * H * DH),
                       .k = floats(b, T * K * DH),
                       .v = floats(b, T * K * DH),
                       .z = floats(b, T * H * DH),
                       .s = floats(b, (int64_t)TILE * H * T),
                       .stats = floats(b, TILE * H * 2),
                       .slot = memory(b, sizeof slots, slots),
                       .sums = memory(b, H * RS_PATTERN_SUMS * 8, NULL),
                       .profile = memory(b, H * T * 8, NULL),
                       .map = memory(b, (size_t)H * MAP * MAP * 8, NULL)};
}

static void tile_ops(const attention *a, int64_t row0, int64_t n, rs_op ops[4]) {
    int64_t C = row0 + n;
    size_t at = (size_t)row0 * H * DH * sizeof(float);
    rs_view s = rs_view_3d(a->s, 0, RS_F32, H, n, C), stats = rs_view_3d(a->stats, 0, RS_F32, H, n, 2);
    ops[0] = (rs_op){.kind = RS_OP_SCORES,
                     .u.scores = {.q = rs_view_3d(a->q, at, RS_F32, n, H, DH),
                                  .k = rs_view_3d(a->k, 0, RS_F32, C, K, DH),
                                  .slot = rs_view_1d(a->slot, 0, RS_I32, H),
                                  .s = s,
                                  .scale = 0.125F,
                                  .row0 = row0}};
    ops[1] = (rs_op){.kind = RS_OP_SOFTMAX, .u.softmax = {.s = s, .stats = stats, .row0 = row0}};
    ops[2] = (rs_op){.kind = RS_OP_PATTERN_REDUCE,
                     .u.pattern_reduce = {.p = s,
                                          .stats = stats,
                                          .sums = rs_view_2d(a->sums, 0, RS_F64, H, RS_PATTERN_SUMS),
                                          .profile = rs_view_2d(a->profile, 0, RS_F64, H, T),
                                          .map = rs_view_3d(a->map, 0, RS_F64, H, MAP, MAP),
                                          .row0 = row0,
                                          .positions = T,
                                          .skip_first = true}};
    ops[3] = (rs_op){.kind = RS_OP_MIX,
                     .u.mix = {.p = s,
                               .v = rs_view_3d(a->v, 0, RS_F32, C, K, DH),
                               .z = rs_view_3d(a->z, at, RS_F32, n, H, DH),
                               .row0 = row0}};
}

/* All tiles of a sequence, op by op in the order of a forward pass; seconds per op. */
static void sequence_once(bench *b, const attention *a, int64_t rows, double took[4]) {
    rs_error err;
    rs_op ops[4];
    for (int64_t row0 = 0; row0 < T; row0 += rows) {
        tile_ops(a, row0, rows < T - row0 ? rows : T - row0, ops);
        for (int i = 0; i < 4; i++) {
            double start = seconds();
            if (rs_run_ops(b->backend, b->device, &ops[i], 1, &err) != RS_OK ||
                b->backend->sync(b->device, &err) != RS_OK)
                stop(&err);
            took[i] += seconds() - start;
        }
    }
}

static void bench_attention(bench *b) {
    static const int64_t heights[] = {16, 32, 64, 96, 128, 192, 256};
    attention a = attention_make(b);
    double flop = 2.0 * H * DH * T * (T + 1) / 2;
    printf("\nattention of one layer, T 2048, causal: ms of the best sequence (scores, mix: GFLOP/s of the visible "
           "half)\n");
    printf("%6s %17s %9s %9s %17s %9s\n", "rows", "scores", "softmax", "pattern", "mix", "all");
    for (size_t i = 0; i < sizeof heights / sizeof *heights; i++) {
        double best[4] = {0}, all = INFINITY;
        for (int rep = 0; rep <= b->repeats; rep++) {
            double took[4] = {0};
            sequence_once(b, &a, heights[i], took);
            double sum = took[0] + took[1] + took[2] + took[3];
            if (rep == 0 || sum >= all) continue;
            all = sum;
            memcpy(best, took, sizeof best);
        }
        printf("%6d %9.2f (%5.1f) %9.2f %9.2f %9.2f (%5.1f) %9.2f\n", (int)heights[i], best[0] * 1e3,
               flop / best[0] * 1e-9, best[1] * 1e3, best[2] * 1e3, best[3] * 1e3, flop / best[3] * 1e-9, all * 1e3);
    }
}

/* ---- probes ---- */

static void bench_probes(bench *b) {
    enum { ROWS = 32, FEATURES = RS_PAIR_FEATURES };
    rs_mem *q = floats(b, T * H * DH), *k = floats(b, T * K * DH), *index = integers(b, DH, DH),
           *bucket = integers(b, T, 8), *out = memory(b, (size_t)8 * H * FEATURES * F * 8, NULL);
    rs_view lo = rs_view_1d(index, 0, RS_I32, F), hi = rs_view_1d(index, F * sizeof(int32_t), RS_I32, F),
            vq = rs_view_3d(q, 0, RS_F32, T, H, DH), vk = rs_view_3d(k, 0, RS_F32, T, K, DH);
    rs_op pairs = {.kind = RS_OP_PAIR_REDUCE,
                   .u.pair_reduce = {.x = vq,
                                     .component_lo = lo,
                                     .component_hi = hi,
                                     .bucket = rs_view_1d(bucket, 0, RS_I32, T),
                                     .out = rs_view_4d(out, 0, RS_F64, 8, H, FEATURES, F),
                                     .features = (1U << FEATURES) - 1}};
    report(b, "pair reduce q, 11 features", &pairs, 0, 4.0 * T * H * DH);
    pairs.u.pair_reduce.x = vk;
    pairs.u.pair_reduce.out = rs_view_4d(out, 0, RS_F64, 8, K, FEATURES, F);
    report(b, "pair reduce k, 11 features", &pairs, 0, 4.0 * T * K * DH);
    double theta[F], ones[F];
    int32_t rows[ROWS];
    for (int f = 0; f < F; f++) theta[f] = pow(1e5, -(double)f / F), ones[f] = 1;
    for (int i = 0; i < ROWS; i++) rows[i] = (i + 1) * (T / ROWS) - 1;
    rs_mem *means = memory(b, H * 2 * F * 8, NULL), *sums = memory(b, H * RS_SAMPLES * F * 8, NULL),
           *terms = memory(b, H * RS_HEAD_TERMS * 8, NULL);
    rs_op sample = {.kind = RS_OP_LOGIT_SAMPLE,
                    .u.logit_sample = {.q = vq,
                                       .k = vk,
                                       .component_lo = lo,
                                       .component_hi = hi,
                                       .theta = rs_view_1d(memory(b, sizeof theta, theta), 0, RS_F64, F),
                                       .factor = rs_view_1d(memory(b, sizeof ones, ones), 0, RS_F64, F),
                                       .q_mean = rs_view_3d(means, 0, RS_F64, H, 2, F),
                                       .k_mean = rs_view_3d(means, 0, RS_F64, K, 2, F),
                                       .rows = rs_view_1d(memory(b, sizeof rows, rows), 0, RS_I32, ROWS),
                                       .out = rs_view_3d(sums, 0, RS_F64, H, RS_SAMPLES, F),
                                       .head_out = rs_view_2d(terms, 0, RS_F64, H, RS_HEAD_TERMS),
                                       .scale = 0.125}};
    report(b, "logit sample, 32 rows", &sample, 2.0 * ROWS * T * H * 2 * DH * 2, 0);
}

int main(int argc, char **argv) {
    bench b = {.repeats = argc > 3 ? atoi(argv[3]) : 7};
    rs_error err;
    rs_device_info info;
    if (rs_device_open(argc > 1 ? argv[1] : "cpu", argc > 2 ? atoi(argv[2]) : 0, &b.backend, &b.device, &err) != RS_OK)
        stop(&err);
    b.backend->info(b.device, &info);
    if (info.threads == 1) watch = CLOCK_PROCESS_CPUTIME_ID;
    printf("%s; %s time\n", info.name, info.threads == 1 ? "processor" : "wall");
    bench_matmul(&b, "matmul q  [2048,576,576]", T, D, D);
    bench_matmul(&b, "matmul kv [2048,192,576]", T, 192, D);
    bench_matmul(&b, "matmul up [2048,1536,576]", T, HIDDEN, D);
    bench_matmul(&b, "matmul down [2048,576,1536]", T, D, HIDDEN);
    bench_matmul(&b, "matmul vocab [1024,4096,576]", 1024, CHUNK, D);
    if (info.card) bench_bf16(&b, "matmul bf16 [8192,8192,4096]", 8192, 8192, 4096);
    else bench_bf16(&b, "matmul bf16 [512,512,576]", 512, 512, D);
    bench_rows(&b);
    bench_widen(&b);
    bench_loss(&b);
    bench_probes(&b);
    bench_attention(&b);
    b.backend->close(b.device);
    return 0;
}
