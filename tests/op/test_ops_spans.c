/* tests/op/test_ops_spans.c: SPAN_REDUCE on every backend against plain float64 loops over the whole pattern. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/op_rig.h"
#include "tests/support/test_device.h"

#include <stdlib.h>
#include <string.h>

typedef struct span_case {
    int64_t T, H, tile, window;
    rs_task_spans spans;
    int tokens; /* that ids are drawn from: few, so that wrong columns hold the right token too */
} span_case;

/* Rows [H, T, T] that sum to 1 over what they see; every third one has its largest entry twice, every seventh nothing
 * but column 0, and column 0 gets much in all. */
static float *make_pattern(const span_case *c, rs_rng *rng) {
    float *p = rs_rig_zeros(c->H * c->T * c->T, sizeof *p);
    for (int64_t i = 0; i < c->H * c->T; i++) {
        int64_t t = i % c->T, first = c->window > 0 && t + 1 > c->window ? t + 1 - c->window : 0;
        float *row = p + i * c->T;
        for (int64_t n = first; n <= t; n++) row[n] = (float)rs_rng_uniform(rng) / (float)(t + 1);
        if (i % 3 == 0 && t > first + 2) row[first + 1 + rs_rng_below(rng, t - first)] = row[t] = 2.0F / (float)(t + 1);
        if (i % 7 == 0) memset(row + 1, 0, (size_t)t * sizeof *row);
        if (first == 0) row[0] = 4.0F;
    }
    return p;
}

static void reference(const span_case *c, const float *p, const int32_t *ids, double *out) {
    const rs_task_spans *s = &c->spans;
    double asked = s->answer.end - s->question.first, tokens = s->answer.end - s->answer.first;
    for (int64_t i = 0; i < c->H * c->T; i++) {
        int64_t h = i / c->T, t = i % c->T, best = -1;
        const float *row = p + i * c->T;
        bool asks = (t >= s->question.first && t < s->question.end) || (t >= s->answer.first && t < s->answer.end);
        for (int64_t n = 1; n <= t; n++) {
            if (asks && n >= s->context.first && n < s->context.end) out[3 * h] += (double)row[n] / asked;
            if (asks && n >= s->gold.first && n < s->gold.end) out[3 * h + 1] += (double)row[n] / asked;
            if (row[n] > (best < 0 ? 0.0F : row[best])) best = n;
        }
        for (int64_t a = s->answer.first; a < s->answer.end; a++) {
            if (a - 1 == t && best >= s->gold.first && best < s->gold.end && ids[best] == ids[a])
                out[3 * h + 2] += 1 / tokens;
        }
    }
}

static void run_spans(rs_rig *r, const span_case *c) {
    rs_rng rng;
    rs_rng_init(&rng, (uint64_t)(c->T * 31 + c->tile));
    double *want = rs_rig_doubles(c->H * RS_SPAN_SUMS);
    int32_t *ids = rs_rig_zeros(c->T, sizeof *ids);
    for (int64_t i = 0; i < c->H * RS_SPAN_SUMS; i++) want[i] = 0.5 * (double)i; /* the op adds */
    for (int64_t t = 0; t < c->T; t++) ids[t] = (int32_t)rs_rng_below(&rng, c->tokens);
    float *p = make_pattern(c, &rng);
    rs_view out = RS_RIG_PUT(r, RS_F64, 0, want, c->H, RS_SPAN_SUMS), of_ids = RS_RIG_PUT(r, RS_I32, 0, ids, c->T);
    reference(c, p, ids, want);
    for (int64_t row0 = 0; row0 < c->T; row0 += c->tile) {
        int64_t R = c->T - row0 < c->tile ? c->T - row0 : c->tile, C;
        int64_t col0 = c->window > 0 && row0 + 1 > c->window ? row0 + 1 - c->window : 0;
        C = row0 + R - col0;
        float *tile = rs_rig_zeros(c->H * R * C, sizeof *tile);
        for (int64_t i = 0; i < c->H * R; i++)
            memcpy(tile + i * C, p + (i / R * c->T + row0 + i % R) * c->T + col0, (size_t)C * sizeof *tile);
        rs_op op = {.kind = RS_OP_SPAN_REDUCE,
                    .u.span_reduce = {.p = RS_RIG_PUT(r, RS_F32, 3, tile, c->H, R, C),
                                      .ids = of_ids,
                                      .out = out,
                                      .row0 = row0,
                                      .col0 = col0,
                                      .spans = c->spans}};
        rs_rig_run(r, &op);
        free(tile);
    }
    double *got = rs_rig_get(r, &out);
    /* Sums of at most some 10,000 numbers in float64, in another order. */
    rs_rig_close_f64(r, "spans", got, want, c->H * RS_SPAN_SUMS, 1e-13);
    rs_rig_same_bytes(r, got, (size_t)(c->H * RS_SPAN_SUMS) * sizeof *got);
    free(want), free(ids), free(p), free(got);
}

static void body(rs_rig *r) {
    run_spans(r, &(span_case){4, 1, 4, 0, {{0, 2}, {1, 2}, {2, 3}, {3, 4}}, 2});
    run_spans(r, &(span_case){60, 3, 16, 0, {{1, 50}, {20, 24}, {50, 56}, {56, 60}}, 3});
    run_spans(r, &(span_case){60, 2, 60, 0, {{0, 40}, {0, 10}, {40, 41}, {41, 60}}, 2});   /* gold holds position 0 */
    run_spans(r, &(span_case){90, 2, 16, 20, {{1, 70}, {60, 66}, {72, 80}, {80, 88}}, 2}); /* a window; rows behind */
    run_spans(r, &(span_case){300, 2, 64, 0, {{1, 150}, {1, 150}, {150, 151}, {151, 300}}, 5});
    run_spans(r, &(span_case){300, 1, 128, 1, {{1, 150}, {1, 150}, {150, 151}, {151, 300}}, 5});
}

static void test_spans(void **state) {
    (void)state;
    rs_rig_each(body);
}

/* What the op cannot mean is refused before a backend sees it. */
static void test_refusals(void **state) {
    (void)state;
    const rs_task_spans good = {{1, 6}, {2, 4}, {6, 7}, {7, 9}};
    rs_task_spans bad[5] = {good, good, good, good, good};
    bad[0].gold.end = 7;
    bad[1].answer.end = 10;
    bad[2].answer.first = 8;
    bad[3].context = (rs_span){3, 3};
    bad[4].question.first = 5;
    float pattern[81] = {0};
    int32_t ids[9] = {0};
    double out[RS_SPAN_SUMS] = {0};
    for (int i = 0; i < 5; i++) {
        rs_error err = {0};
        rs_op op = {.kind = RS_OP_SPAN_REDUCE,
                    .u.span_reduce = {.p = rs_view_3d((rs_mem *)(void *)pattern, 0, RS_F32, 1, 9, 9),
                                      .ids = rs_view_1d((rs_mem *)(void *)ids, 0, RS_I32, 9),
                                      .out = rs_view_2d((rs_mem *)(void *)out, 0, RS_F64, 1, RS_SPAN_SUMS),
                                      .spans = good}};
        assert_int_equal(rs_op_check(&op, &err), RS_OK);
        op.u.span_reduce.spans = bad[i];
        assert_int_equal(rs_op_check(&op, &err), RS_E_INTERNAL);
    }
}

int main(void) {
    rs_test_device_or_skip();
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_spans), cmocka_unit_test(test_refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
