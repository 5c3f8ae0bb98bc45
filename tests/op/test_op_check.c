/* tests/op/test_op_check.c: views, and what rs_op_check refuses: absent arguments, types, axes, sizes, strides,
 * aliases; names in the messages; device names; bounds of device memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "analyzer/base/alloc.h"
#include "kernels/backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static rs_error err;
/* Checks look at addresses of memory, never into it. */
static char blocks[32];
static rs_mem *mem(int i) { return (rs_mem *)(void *)&blocks[i]; }

static rs_view f32(int m, int n_dims, int64_t a, int64_t b, int64_t c) {
    if (n_dims == 1) return rs_view_1d(mem(m), 0, RS_F32, a);
    return n_dims == 2 ? rs_view_2d(mem(m), 0, RS_F32, a, b) : rs_view_3d(mem(m), 0, RS_F32, a, b, c);
}

static rs_view of_type(rs_view v, rs_dtype t) {
    v.dtype = t;
    return v;
}

static void accepted(rs_op op) {
    if (rs_op_check(&op, &err) != RS_OK) fail_msg("%s", err.message);
}

/* Refused with a message that holds both texts. */
static void refused(rs_op op, const char *text, const char *more) {
    err.message[0] = 0;
    assert_int_equal(rs_op_check(&op, &err), RS_E_INTERNAL);
    if (!strstr(err.message, text) || !strstr(err.message, more))
        fail_msg("message '%s' lacks '%s' or '%s'", err.message, text, more);
}

static void test_views(void **state) {
    (void)state;
    rs_view v = rs_view_3d(mem(0), 64, RS_F32, 5, 3, 7);
    int64_t bytes = 0;
    assert_int_equal(rs_view_size(&v), 105);
    assert_int_equal(v.stride[0], 21);
    assert_int_equal(v.stride[1], 7);
    assert_int_equal(v.dim[3], 1);
    assert_true(rs_view_extent(&v, &bytes) && bytes == 420);
    rs_view w = rs_view_rows(v, 2, 2);
    assert_true(w.offset == 64 + 2 * 21 * 4 && w.dim[0] == 2 && w.stride[0] == 21);
    rs_view q = rs_view_rows(rs_view_1d(mem(0), 10, RS_Q4_K, 1024), 512, 256);
    assert_true(q.offset == 10 + 2 * 144 && rs_view_extent(&q, &bytes) && bytes == 144);
    assert_false(rs_view_present(&RS_ABSENT));
    assert_true(rs_view_present(&v));
    q = rs_view_1d(mem(0), 0, RS_Q4_K, 100); /* no whole block */
    assert_false(rs_view_extent(&q, &bytes));
    v = rs_view_2d(mem(0), 0, RS_F32, INT64_MAX / 2, 8);
    assert_false(rs_view_extent(&v, &bytes));
    v = rs_view_2d(mem(0), 0, RS_F32, -1, 8);
    assert_false(rs_view_extent(&v, &bytes));
}

static void test_overlap(void **state) {
    (void)state;
    rs_view a = rs_view_2d(mem(0), 0, RS_F32, 4, 8), b = a;
    assert_true(rs_view_overlap(&a, &b));
    b.mem = mem(1);
    assert_false(rs_view_overlap(&a, &b));
    b = rs_view_2d(mem(0), 128, RS_F32, 4, 8);
    assert_false(rs_view_overlap(&a, &b)); /* behind it */
    b.offset = 124;
    assert_true(rs_view_overlap(&a, &b));
    /* Halves of rows of 16: [0, 8) against [8, 16), then against [7, 15) */
    a.stride[0] = b.stride[0] = 16;
    b.offset = 32;
    assert_false(rs_view_overlap(&a, &b));
    assert_false(rs_view_overlap(&b, &a));
    b.offset = 28;
    assert_true(rs_view_overlap(&a, &b));
    b.offset = 32;
    b.dim[1] = 9; /* runs into the next row's first half */
    assert_true(rs_view_overlap(&a, &b));
}

static rs_op matmul(void) {
    return (rs_op){
        .kind = RS_OP_MATMUL,
        .u.matmul = {
            .x = f32(0, 2, 5, 8, 0), .w = f32(1, 2, 6, 8, 0), .bias = f32(2, 1, 6, 0, 0), .y = f32(3, 2, 5, 6, 0)}};
}

static void test_shapes(void **state) {
    (void)state;
    rs_op op = matmul();
    accepted(op);
    op.u.matmul.bias = RS_ABSENT;
    accepted(op);
    op = matmul(), op.u.matmul.w.dim[1] = 7;
    refused(op, "op matmul: argument 'w': size of axis 1 (K) is 7", "expected 8");
    op = matmul(), op.u.matmul.y = f32(3, 2, 5, 7, 0);
    refused(op, "'y'", "(N) is 7, expected 6");
    op = matmul(), op.u.matmul.bias = f32(2, 1, 5, 0, 0);
    refused(op, "'bias'", "is 5, expected 6");
    op = matmul(), op.u.matmul.x = f32(0, 3, 5, 8, 1);
    refused(op, "'x'", "number of axes is 3, expected 2");
    op = matmul(), op.u.matmul.x = RS_ABSENT;
    refused(op, "'x'", "absent");
    op = matmul(), op.u.matmul.x.dim[0] = 0;
    refused(op, "'x'", "is 0, expected 1");
    char number[16];
    snprintf(number, sizeof number, "op %d", (int)RS_OP_COUNT);
    op = matmul(), op.kind = RS_OP_COUNT;
    refused(op, number, "does not exist");
}

static void test_types(void **state) {
    (void)state;
    rs_op op = matmul();
    op.u.matmul.w = of_type(op.u.matmul.w, RS_BF16);
    refused(op, "'w'", "bfloat16");
    op.u.matmul.compute = RS_COMPUTE_BF16;
    accepted(op);
    op.u.matmul.w = of_type(op.u.matmul.w, RS_F64);
    refused(op, "'w'", "F64");
    op = matmul(), op.u.matmul.compute = (rs_compute)7;
    refused(op, "op matmul", "arithmetic");
    op = matmul(), op.u.matmul.x.offset = 2;
    refused(op, "'x'", "offset");
    rs_op widen = {.kind = RS_OP_WIDEN,
                   .u.widen = {.src = rs_view_1d(mem(0), 3, RS_Q6_K, 512), .dst = f32(1, 1, 512, 0, 0)}};
    accepted(widen); /* blocks may begin anywhere */
    widen.u.widen.src.dtype = RS_I32;
    refused(widen, "'src'", "I32");
    widen.u.widen.src = rs_view_1d(mem(0), 0, RS_Q6_K, 500);
    widen.u.widen.dst = f32(1, 1, 500, 0, 0);
    refused(widen, "'src'", "senseless");
    widen.u.widen.src.dtype = (rs_dtype)99;
    refused(widen, "'src'", "type");
    rs_op loss = {.kind = RS_OP_CROSS_ENTROPY,
                  .u.cross_entropy = {.logits = f32(0, 2, 4, 9, 0),
                                      .targets = rs_view_1d(mem(1), 0, RS_I32, 4),
                                      .state = rs_view_2d(mem(2), 0, RS_F64, 4, 3)}};
    accepted(loss);
    loss.u.cross_entropy.state = f32(2, 2, 4, 3, 0);
    refused(loss, "'state'", "F32");
    loss.u.cross_entropy.state = rs_view_2d(mem(2), 0, RS_F64, 4, 4);
    refused(loss, "'state'", "is 4, expected 3");
}

static void test_strides(void **state) {
    (void)state;
    rs_op op = matmul();
    op.u.matmul.x.stride[0] = 100; /* row strides are free */
    accepted(op);
    op.u.matmul.x.stride[1] = 2;
    refused(op, "'x'", "last axis");
    op = matmul(), op.u.matmul.y.stride[0] = 5;
    refused(op, "'y'", "written twice");
    op = matmul(), op.u.matmul.y.stride[0] = -6;
    refused(op, "'y'", "senseless");
    op = matmul(), op.u.matmul.x.stride[0] = INT64_MAX / 2;
    refused(op, "'x'", "senseless");
    rs_op loss = {.kind = RS_OP_CROSS_ENTROPY,
                  .u.cross_entropy = {.logits = f32(0, 2, 4, 9, 0),
                                      .targets = rs_view_1d(mem(1), 0, RS_I32, 4),
                                      .state = rs_view_2d(mem(2), 0, RS_F64, 4, 3)}};
    loss.u.cross_entropy.state.stride[0] = 4;
    refused(loss, "'state'", "stride is 4, expected 3");
}

static void test_aliases(void **state) {
    (void)state;
    rs_op op = matmul();
    op.u.matmul.y = f32(0, 2, 5, 6, 0);
    refused(op, "'y' is written", "'x'");
    rs_view x = f32(0, 2, 5, 8, 0);
    rs_op gate = {.kind = RS_OP_GATE, .u.gate = {.gate = x, .up = f32(1, 2, 5, 8, 0), .y = x}};
    accepted(gate); /* in place */
    gate.u.gate.y.offset = 4;
    refused(gate, "'y' is written", "'gate'");
    gate.u.gate.y = gate.u.gate.up;
    refused(gate, "'y' is written", "'up'");
    /* gate and up as halves of rows of one buffer, y over gate */
    gate.u.gate.gate.stride[0] = 16;
    gate.u.gate.up = gate.u.gate.gate;
    gate.u.gate.up.offset = 32;
    gate.u.gate.y = gate.u.gate.gate;
    accepted(gate);
    rs_op add = {.kind = RS_OP_ADD, .u.add = {.x = x, .y = x, .a = 1, .b = 1}};
    accepted(add);
    rs_op softmax = {.kind = RS_OP_SOFTMAX, .u.softmax = {.s = f32(0, 3, 2, 3, 3), .stats = f32(0, 3, 2, 3, 2)}};
    refused(softmax, "is written", "'s'");
    softmax.u.softmax.stats = RS_ABSENT;
    softmax.u.softmax.half_only = true;
    refused(softmax, "'half' alone", "absent");
    softmax.u.softmax.half = rs_view_3d(mem(1), 0, RS_BF16, 2, 3, 3);
    accepted(softmax);
    softmax.u.softmax.half.mem = softmax.u.softmax.s.mem;
    refused(softmax, "is written", "'s'");
    /* Halves are for products that take halves. */
    rs_op mix = {
        .kind = RS_OP_MIX,
        .u.mix = {.p = rs_view_3d(mem(0), 0, RS_BF16, 2, 3, 3), .v = f32(1, 3, 3, 2, 4), .z = f32(2, 3, 3, 2, 4)}};
    refused(mix, "op mix", "bfloat16");
    mix.u.mix.compute = RS_COMPUTE_BF16;
    accepted(mix);
}

static rs_op rope(void) {
    rs_view i = rs_view_1d(mem(2), 0, RS_I32, 4), h = rs_view_1d(mem(3), 0, RS_I32, 3),
            t = rs_view_3d(mem(4), 0, RS_F32, 2, 5, 4);
    return (rs_op){.kind = RS_OP_ROPE,
                   .u.rope = {.x = f32(0, 3, 5, 2, 8),
                              .y = f32(1, 3, 5, 3, 8),
                              .component_lo = i,
                              .component_hi = i,
                              .cos = t,
                              .sin = t,
                              .variant = h,
                              .source = h}};
}

static rs_op scores(void) {
    return (rs_op){.kind = RS_OP_SCORES,
                   .u.scores = {.q = f32(0, 3, 4, 6, 8),
                                .k = f32(1, 3, 9, 2, 8),
                                .slot = rs_view_1d(mem(2), 0, RS_I32, 6),
                                .s = f32(3, 3, 6, 4, 9),
                                .row0 = 5}};
}

static rs_op pair_reduce(void) {
    rs_view table = rs_view_1d(mem(2), 0, RS_I32, 4);
    return (rs_op){.kind = RS_OP_PAIR_REDUCE,
                   .u.pair_reduce = {.x = f32(0, 3, 5, 2, 8),
                                     .component_lo = table,
                                     .component_hi = table,
                                     .bucket = rs_view_1d(mem(1), 0, RS_I32, 5),
                                     .out = rs_view_4d(mem(3), 0, RS_F64, 6, 2, 2, 4),
                                     .features = 1U << RS_PAIR_ABS | 1U << RS_PAIR_TOP}};
}

static rs_op pattern_reduce(void) {
    return (rs_op){.kind = RS_OP_PATTERN_REDUCE,
                   .u.pattern_reduce = {.p = f32(0, 3, 2, 4, 9),
                                        .stats = f32(1, 3, 2, 4, 2),
                                        .ids = rs_view_1d(mem(2), 0, RS_I32, 10),
                                        .sums = rs_view_2d(mem(4), 0, RS_F64, 2, 9),
                                        .profile = rs_view_2d(mem(5), 0, RS_F64, 2, 10),
                                        .map = rs_view_3d(mem(6), 0, RS_F64, 2, 3, 3),
                                        .row0 = 5,
                                        .positions = 10}};
}

static void test_attention_rules(void **state) {
    (void)state;
    rs_op op = rope();
    accepted(op);
    op.u.rope.y = op.u.rope.x;
    refused(op, "'variant'", "expected 2");
    op = rope(), op.u.rope.x.dim[2] = op.u.rope.y.dim[2] = 6;
    refused(op, "op rope", "twice the number of pairs");
    op = scores();
    accepted(op);
    op.u.scores.col0 = 6;
    refused(op, "op scores", "col0 <= row0");
    op = scores(), op.u.scores.s.dim[0] = 5;
    refused(op, "'s'", "(H) is 5, expected 6");
    rs_op mix = {.kind = RS_OP_MIX,
                 .u.mix = {.p = f32(0, 3, 6, 4, 9), .v = f32(1, 3, 9, 4, 8), .z = f32(2, 3, 4, 6, 8), .row0 = 5}};
    refused(mix, "op mix", "multiple of the value heads");
    mix.u.mix.v = f32(1, 3, 9, 2, 8);
    accepted(mix);
    rs_op norm = {
        .kind = RS_OP_NORM,
        .u.norm = {
            .kind = RS_NORM_RMS, .x = f32(0, 3, 4, 2, 8), .y = f32(0, 3, 4, 2, 8), .weight = f32(1, 2, 2, 8, 0)}};
    accepted(norm);
    norm.u.norm.weight = f32(1, 2, 3, 8, 0);
    refused(norm, "'weight'", "(G) is 3, expected 2");
    norm.u.norm.weight = f32(1, 1, 8, 0, 0);
    accepted(norm);
    norm.u.norm.kind = RS_NORM_NONE;
    refused(norm, "op norm", "no norm");
}

static void test_probe_rules(void **state) {
    (void)state;
    rs_op op = pair_reduce();
    accepted(op);
    op.u.pair_reduce.features |= 1U << RS_PAIR_RE;
    refused(op, "op pair_reduce", "one entry per feature");
    op = pair_reduce(), op.u.pair_reduce.features = 0;
    refused(op, "op pair_reduce", "no feature");
    op = pair_reduce(), op.u.pair_reduce.component_hi = RS_ABSENT;
    refused(op, "op pair_reduce", "both");
    op = pattern_reduce();
    accepted(op);
    op.u.pattern_reduce.positions = 8;
    refused(op, "op pattern_reduce", "an entry per position");
    op = pattern_reduce(), op.u.pattern_reduce.row0 = 7;
    refused(op, "op pattern_reduce", "last position");
    op = pattern_reduce(), op.u.pattern_reduce.row0 = 6;
    refused(op, "op pattern_reduce", "must reach");
    op = pattern_reduce(), op.u.pattern_reduce.map = rs_view_3d(mem(6), 0, RS_F64, 2, 3, 4);
    refused(op, "'map'", "is 4, expected 3");
    op = pattern_reduce(), op.u.pattern_reduce.ids.dim[0] = 9;
    refused(op, "'profile'", "(T) is 10, expected 9");
}

static rs_op correlate(void) {
    return (rs_op){.kind = RS_OP_CORRELATE,
                   .u.correlate = {.q = f32(0, 3, 9, 4, 6),
                                   .k = f32(1, 3, 9, 2, 6),
                                   .component_lo = of_type(f32(2, 1, 3, 0, 0), RS_I32),
                                   .component_hi = of_type(f32(3, 1, 3, 0, 0), RS_I32),
                                   .theta = of_type(f32(4, 1, 3, 0, 0), RS_F64),
                                   .factor = of_type(f32(5, 1, 3, 0, 0), RS_F64),
                                   .start = of_type(f32(6, 1, 5, 0, 0), RS_I32),
                                   .out = of_type(f32(7, 3, 4, 3, 5), RS_F64),
                                   .first = 1}};
}

static rs_op spectrum(void) {
    return (rs_op){.kind = RS_OP_SPECTRUM,
                   .u.spectrum = {.x = f32(0, 3, 9, 4, 6),
                                  .component_lo = of_type(f32(2, 1, 3, 0, 0), RS_I32),
                                  .component_hi = of_type(f32(3, 1, 3, 0, 0), RS_I32),
                                  .power = of_type(f32(4, 3, 4, 3, 5), RS_F64),
                                  .entropy = of_type(f32(5, 3, 4, 3, 2), RS_F64),
                                  .first = 1}};
}

static void test_fourier_rules(void **state) {
    (void)state;
    rs_op op = correlate();
    accepted(op);
    op.u.correlate.first = 9;
    refused(op, "op correlate", "too few rows");
    op = correlate(), op.u.correlate.first = -1;
    refused(op, "op correlate", "too few rows");
    op = correlate(), op.u.correlate.window = -1;
    refused(op, "op correlate", "window");
    op = correlate(), op.u.correlate.k.dim[1] = 3;
    refused(op, "op correlate", "multiple of the key heads");
    op = correlate(), op.u.correlate.q.dim[2] = op.u.correlate.k.dim[2] = 5;
    refused(op, "op correlate", "twice the number of pairs");
    op = correlate(), op.u.correlate.out.dim[2] = 4;
    refused(op, "'out'", "is 4, expected 5");
    op = spectrum(); /* eight rows, frames of eight */
    accepted(op);
    op.u.spectrum.first = 2;
    refused(op, "op spectrum", "longer than the signal");
    op = spectrum(), op.u.spectrum.first = 6;
    refused(op, "op spectrum", "too few rows");
    rs_op phase = {.kind = RS_OP_PHASE,
                   .u.phase = {.x = f32(0, 3, 9, 4, 6),
                               .component_lo = of_type(f32(2, 1, 3, 0, 0), RS_I32),
                               .component_hi = of_type(f32(3, 1, 3, 0, 0), RS_I32),
                               .out = of_type(f32(7, 3, 4, 3, RS_PHASE_BINS), RS_F64)}};
    accepted(phase);
    phase.u.phase.out = of_type(f32(7, 3, 4, 3, 32), RS_F64);
    refused(phase, "op phase", "RS_PHASE_BINS");
}

static void test_arguments(void **state) {
    (void)state;
    rs_op op = matmul();
    rs_op_argument args[RS_OP_ARGUMENTS];
    op.u.matmul.bias = RS_ABSENT;
    assert_int_equal(rs_op_arguments(&op, args), 3);
    assert_string_equal(args[0].name, "x");
    assert_string_equal(args[2].name, "y");
    assert_true(args[2].written && !args[0].written && args[2].view == &op.u.matmul.y);
    for (int i = 0; i < RS_OP_COUNT; i++) assert_true(strlen(rs_op_name((rs_op_kind)i)) >= 3);
}

static void test_devices(void **state) {
    (void)state;
    const rs_backend *b = NULL;
    rs_device *d = NULL;
    rs_device_info info;
    assert_int_equal(rs_device_open("gpu", 1, &b, &d, &err), RS_E_USAGE);
    assert_int_equal(rs_device_open("cpus", 1, &b, &d, &err), RS_E_USAGE);
    assert_int_equal(rs_device_open("cpu:1", 1, &b, &d, &err), RS_E_USAGE);
    assert_int_equal(rs_device_open("cpu", 2, &b, &d, &err), RS_OK);
    assert_string_equal(b->name, "cpu");
    b->info(d, &info);
    assert_int_equal(info.threads, 2);
    assert_non_null(strstr(info.name, "2 threads"));
    assert_non_null(strstr(info.name, "OpenBLAS"));
    assert_true(info.allocated == 0);
    b->close(d);
    assert_int_equal(rs_device_open("auto", 1, &b, &d, &err), RS_OK);
    b->close(d);
    setenv("ROPESCOPE_CPU", "v9", 1);
    assert_int_equal(rs_device_open("cpu", 1, &b, &d, &err), RS_E_USAGE);
    unsetenv("ROPESCOPE_CPU");
    b->close(NULL);
}

static void test_memory(void **state) {
    (void)state;
    const rs_backend *b = NULL;
    rs_device *d = NULL;
    rs_mem *m = NULL, *n = NULL;
    rs_device_info info;
    float values[4] = {1, 2, 3, 4}, got[4];
    assert_int_equal(rs_device_open("cpu", 1, &b, &d, &err), RS_OK);
    assert_int_equal(b->alloc(d, 64, &m, &err), RS_OK);
    assert_int_equal(b->alloc(d, 100, &n, &err), RS_OK);
    b->release(d, n);
    b->info(d, &info);
    assert_true(info.allocated == 64 && info.allocated_peak == 164);
    assert_true((uintptr_t)b->host(d, m) % 64 == 0);
    assert_int_equal(b->write(d, m, 48, values, 16, &err), RS_OK);
    assert_int_equal(b->read(d, m, 48, got, 16, &err), RS_OK);
    assert_memory_equal(values, got, 16);
    assert_int_equal(b->zero(d, m, 48, 4, &err), RS_OK);
    assert_true(((float *)b->host(d, m))[12] == 0.0F && ((float *)b->host(d, m))[13] == 2.0F);
    assert_int_equal(b->write(d, m, 49, values, 16, &err), RS_E_INTERNAL);
    assert_int_equal(b->read(d, m, SIZE_MAX, got, 2, &err), RS_E_INTERNAL);
    assert_int_equal(b->zero(d, m, 65, 0, &err), RS_E_INTERNAL);
    /* Views are checked against the memory they point into. */
    rs_view v = rs_view_2d(m, 0, RS_F32, 4, 4), past = rs_view_2d(m, 4, RS_F32, 4, 4);
    rs_op op = {.kind = RS_OP_ADD, .u.add = {.x = v, .y = v, .a = 0, .b = 0}};
    assert_int_equal(rs_run_ops(b, d, &op, 1, &err), RS_OK);
    op.u.add.x = op.u.add.y = past;
    assert_int_equal(rs_run_ops(b, d, &op, 1, &err), RS_E_INTERNAL);
    assert_non_null(strstr(err.message, "reach past"));
    for (uint64_t nth = 1; nth <= 2; nth++) {
        rs_alloc_fail_at(nth);
        assert_int_equal(b->alloc(d, 64, &n, &err), RS_E_NOMEM);
        assert_null(n);
        b->info(d, &info);
        assert_true(info.allocated == 64);
    }
    b->release(d, m);
    b->release(d, NULL);
    b->close(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_views),       cmocka_unit_test(test_overlap),
        cmocka_unit_test(test_shapes),      cmocka_unit_test(test_types),
        cmocka_unit_test(test_strides),     cmocka_unit_test(test_aliases),
        cmocka_unit_test(test_arguments),   cmocka_unit_test(test_attention_rules),
        cmocka_unit_test(test_probe_rules), cmocka_unit_test(test_fourier_rules),
        cmocka_unit_test(test_devices),     cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
