/* tests/op/test_ops_widen.c: stored weights to float32 on every backend: blocks counted out by hand, an
 * element-by-element decoder written here from the published layouts, all 65536 halves, and the reference vectors of
 * the original C code where they are at hand (ROPESCOPE_QUANT_VECTORS names the table; default:
 * ../spec/quant_vectors.tsv beside ROPESCOPE_TEST_DATA). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/op_rig.h"
#include "tests/support/test_device.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Widens n elements; *bad as the op left it. Free the result. */
static float *widened(rs_rig *r, rs_dtype t, const void *src, int64_t n, int64_t *bad) {
    rs_view dst = RS_RIG_NEW(r, RS_F32, 0, n), flag = RS_RIG_PUT(r, RS_I64, 0, bad, 1);
    rs_op op = {.kind = RS_OP_WIDEN, .u.widen = {.src = RS_RIG_PUT(r, t, 0, src, n), .dst = dst, .bad = flag}};
    rs_rig_run(r, &op);
    int64_t *got = rs_rig_get(r, &flag);
    *bad = *got;
    free(got);
    return rs_rig_get(r, &dst);
}

/* ---- plain types ---- */

static double half_value(unsigned h) {
    int exponent = (int)(h >> 10 & 31), sign = h & 0x8000 ? -1 : 1;
    double fraction = (double)(h & 1023);
    if (exponent == 31) return h & 1023 ? (double)NAN : sign * (double)INFINITY;
    return sign * (exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24));
}

static bool same_value(float got, double want) {
    return isnan(want) ? isnan(got) : (double)got == want && !signbit(got) == !signbit(want);
}

static void body_halves(rs_rig *r) {
    enum { N = 65536 };
    uint16_t *h = rs_rig_zeros(N, sizeof *h);
    for (int i = 0; i < N; i++) h[i] = (uint16_t)i;
    int64_t bad = INT64_MAX;
    float *y = widened(r, RS_F16, h, N, &bad);
    for (int i = 0; i < N; i++) {
        if (!same_value(y[i], half_value((unsigned)i)))
            fail_msg("%s: half %04x is %g", r->name, (unsigned)i, (double)y[i]);
    }
    assert_int_equal(bad, 0x7C00);
    free(h), free(y);
}

static void body_plain(rs_rig *r) {
    static const uint16_t bf16[] = {0x3F80, 0xBF80, 0x4049, 0x0001, 0x8000, 0x7F7F};
    static const double bf16_values[] = {1, -1, 3.140625, 0x1p-133, -0.0, 255 * 0x1p120};
    static const double f64[] = {1.0 / 3, -2, 1e-300, 0};
    static const float f32[] = {0.1F, -0.0F, 1e-45F, 3e38F, 7};
    int64_t bad = INT64_MAX;
    float *y = widened(r, RS_BF16, bf16, 6, &bad);
    for (int i = 0; i < 6; i++) assert_true(same_value(y[i], bf16_values[i]));
    free(y);
    y = widened(r, RS_F64, f64, 4, &bad);
    for (int i = 0; i < 4; i++) assert_true(same_value(y[i], (double)(float)f64[i]));
    free(y);
    y = widened(r, RS_F32, f32, 5, &bad);
    for (int i = 0; i < 5; i++) assert_true(same_value(y[i], (double)f32[i]));
    free(y);
    assert_true(bad == INT64_MAX);
}

/* The smallest index wins, one that is smaller already stays, and the place may be in any part of a large array. */
static void body_bad(rs_rig *r) {
    enum { N = 50000 };
    static const int64_t places[] = {0, 1023, 1024, 16383, 16384, 40000, N - 1};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        float *x = rs_rig_zeros(N, sizeof *x);
        x[places[i]] = i % 2 ? NAN : -INFINITY;
        x[N - 1] = INFINITY;
        int64_t bad = INT64_MAX, earlier = 5;
        float *y = widened(r, RS_F32, x, N, &bad), *z = widened(r, RS_F32, x, N, &earlier);
        assert_int_equal(bad, places[i]);
        assert_int_equal(earlier, places[i] < 5 ? places[i] : 5);
        free(x), free(y), free(z);
    }
}

/* ---- blocks by hand ---- */

/* Halves as little-endian bytes: 1, 2, 0.5, -1. */
#define H_1 0x00, 0x3C
#define H_2 0x00, 0x40
#define H_HALF 0x00, 0x38
#define H_MINUS_1 0x00, 0xBC

typedef struct hand_case {
    rs_dtype t;
    unsigned char block[210];
    struct {
        int at;
        float value;
    } expected[6];
} hand_case;

/* Bytes that are not written are 0. Values follow from the layouts with pencil and paper. */
static const hand_case by_hand[] = {
    /* d = 2: byte 0 = 0xF0: element 0 is (0 - 8) 2, element 16 (15 - 8) 2; byte 1 = 0x19: (9 - 8) 2, (1 - 8) 2 */
    {RS_Q4_0, {H_2, 0xF0, 0x19}, {{0, -16}, {16, 14}, {1, 2}, {17, -14}, {31, -16}, {15, -16}}},
    /* d = 0.5, m = -1: 15 * 0.5 - 1, 3 * 0.5 - 1 */
    {RS_Q4_1, {H_HALF, H_MINUS_1, 0x3F}, {{0, 6.5F}, {16, 0.5F}, {1, -1}, {31, -1}, {2, -1}, {17, -1}}},
    /* high bits: bit 0 and bit 31: element 0 = (16 + 1 - 16), element 31 = (16 + 0 - 16), element 16 = (2 - 16) */
    {RS_Q5_0, {H_1, 0x01, 0, 0, 0x80, 0x21}, {{0, 1}, {31, 0}, {16, -14}, {1, -16}, {15, -16}, {30, -16}}},
    {RS_Q5_1,
     {H_1, H_HALF, 0x02, 0, 0x01, 0, 0x34},
     {{0, 4.5F}, {16, 19.5F}, {1, 16.5F}, {17, 0.5F}, {2, 0.5F}, {31, 0.5F}}},
    {RS_Q8_0, {H_HALF, 0x80, 0x7F, 0x01}, {{0, -64}, {1, 63.5F}, {2, 0.5F}, {3, 0}, {31, 0}, {30, 0}}},
    /* d = 1, dmin = 2; sub-block 0: scale 3, min 1 (byte 4 of the scales); sub-block 4: scale = low nibble of byte 8
     * (5) with the top bits of byte 0 (0b01) -> 5 + 16, min = its high nibble (2) with the top bits of byte 4 (0b10) ->
     * 2 + 32 */
    {RS_Q4_K,
     {H_1, H_2, 0x43, 0, 0, 0, 0x81, 0, 0, 0, 0x25, 0, 0, 0, 0x7A, [16 + 64] = 0x03},
     {{0, 3 * 10 - 2 * 1}, {1, -2}, {32, 0}, {128, 21 * 3 - 2 * 34}, {129, -2 * 34}, {160, 0}}},
    /* As above; bit 0 of qh[0] lifts element 0 by 16, bit 4 of qh[0] lifts element 128. */
    {RS_Q5_K,
     {H_1, H_2, 0x43, 0, 0, 0, 0x81, 0, 0, 0, 0x25, 0, 0, 0, 0x11, [48] = 0x7A, [48 + 64] = 0x03},
     {{0, 3 * 26 - 2 * 1}, {1, -2}, {32, 0}, {128, 21 * 19 - 2 * 34}, {129, -2 * 34}, {160, 0}}},
    /* d = 0.5; scales 0, 2, 4 = 2, -3, 4: element 0 = low nibble 5, high bits 0b01 -> 21 - 32; element 32 = low nibble
     * of byte 32 (1), bits 2-3 (0b10) -> 33 - 32; element 64 = high nibble of byte 0 (7), bits 4-5 (0b11) -> 55 - 32 */
    {RS_Q6_K,
     {0x75, [32] = 0x01, [128] = 0x39, [192] = 2, [194] = 0xFD, [196] = 4, [208] = 0x00, [209] = 0x38},
     {{0, 0.5F * 2 * -11}, {1, -32}, {32, 0.5F * -3 * 1}, {64, 0.5F * 4 * 23}, {16, 0}, {128, 0}}},
};

static void body_by_hand(rs_rig *r) {
    for (size_t i = 0; i < sizeof by_hand / sizeof *by_hand; i++) {
        const hand_case *c = &by_hand[i];
        int64_t bad = INT64_MAX;
        float *y = widened(r, c->t, c->block, rs_dtype_block(c->t), &bad);
        for (int e = 0; e < 6; e++) {
            if (y[c->expected[e].at] != c->expected[e].value)
                fail_msg("%s: %s element %d is %g, expected %g", r->name, rs_dtype_name(c->t), c->expected[e].at,
                         (double)y[c->expected[e].at], (double)c->expected[e].value);
        }
        free(y);
    }
}

/* ---- element by element ---- */

static double half_of(const unsigned char *b) { return half_value((unsigned)b[0] | (unsigned)b[1] << 8); }

static unsigned nibble(const unsigned char *q, int e, int half) {
    return e < half ? q[e] & 15U : (unsigned)q[e - half] >> 4;
}

static void k_scale(const unsigned char *s, int j, unsigned *scale, unsigned *least) {
    if (j < 4) {
        *scale = s[j] & 63U;
        *least = s[j + 4] & 63U;
    } else {
        *scale = (s[j + 4] & 15U) + 16U * ((unsigned)s[j - 4] >> 6);
        *least = ((unsigned)s[j + 4] >> 4) + 16U * ((unsigned)s[j] >> 6);
    }
}

/* Element e of a block. */
static double element(rs_dtype t, const unsigned char *b, int e) {
    unsigned scale, least, q;
    switch (t) {
    case RS_Q4_0: return ((int)nibble(b + 2, e, 16) - 8) * half_of(b);
    case RS_Q4_1: return nibble(b + 4, e, 16) * half_of(b) + half_of(b + 2);
    case RS_Q5_0: return ((int)(nibble(b + 6, e, 16) + 16U * ((unsigned)b[2 + e / 8] >> e % 8 & 1U)) - 16) * half_of(b);
    case RS_Q5_1:
        return (nibble(b + 8, e, 16) + 16U * ((unsigned)b[4 + e / 8] >> e % 8 & 1U)) * half_of(b) + half_of(b + 2);
    case RS_Q8_0: return (b[2 + e] < 128 ? b[2 + e] : b[2 + e] - 256) * half_of(b);
    case RS_Q4_K:
    case RS_Q5_K:
        k_scale(b + 4, e / 32, &scale, &least);
        q = nibble(b + (t == RS_Q4_K ? 16 : 48) + e / 64 * 32, e % 64, 32);
        if (t == RS_Q5_K) q += 16U * ((unsigned)b[16 + e % 32] >> e / 32 & 1U);
        return half_of(b) * scale * q - half_of(b + 2) * least;
    case RS_Q6_K: {
        int h = e / 128, part = e % 128 / 32, l = e % 32, s = b[192 + e / 16];
        unsigned low = (unsigned)b[64 * h + 32 * (part & 1) + l] >> (part < 2 ? 0 : 4) & 15U,
                 high = (unsigned)b[128 + 32 * h + l] >> 2 * part & 3U;
        return half_of(b + 208) * (s < 128 ? s : s - 256) * ((int)(low + 16 * high) - 32);
    }
    default: return (double)NAN;
    }
}

/* Where halves stand in a block; their exponents are tamed so that random bytes make no infinities. */
static void tame(rs_dtype t, unsigned char *b) {
    int at = t == RS_Q6_K ? 209 : 1;
    bool two = t == RS_Q4_1 || t == RS_Q5_1 || t == RS_Q4_K || t == RS_Q5_K;
    b[at] &= 0xBF;
    if (two) b[at + 2] &= 0xBF;
}

static void run_random(rs_rig *r, rs_dtype t, int64_t blocks) {
    rs_rng rng;
    rs_rng_init(&rng, (uint64_t)t);
    int64_t size = rs_dtype_block_bytes(t), n = blocks * rs_dtype_block(t), bad = INT64_MAX;
    unsigned char *b = rs_rig_zeros(blocks * size, 1);
    for (int64_t i = 0; i < blocks * size; i++) b[i] = (unsigned char)rs_rng_below(&rng, 256);
    for (int64_t i = 0; i < blocks; i++) tame(t, b + i * size);
    float *y = widened(r, t, b, n, &bad);
    for (int64_t i = 0; i < n; i++) {
        int64_t per = rs_dtype_block(t);
        double want = element(t, b + i / per * size, (int)(i % per));
        /* Two products and a difference in float32; the difference may cancel, so the bar follows its terms: below 2 *
         * 63 * 31. */
        double bar = 1e-7 * fmax(fabs(want), t == RS_Q4_K || t == RS_Q5_K || t == RS_Q4_1 || t == RS_Q5_1 ? 4000 : 0);
        if (!isfinite(y[i]) || fabs((double)y[i] - want) > bar)
            fail_msg("%s: %s element %lld is %.9g, expected %.9g", r->name, rs_dtype_name(t), (long long)i,
                     (double)y[i], want);
    }
    assert_true(bad == INT64_MAX);
    free(b), free(y);
}

static void body_random(rs_rig *r) {
    static const rs_dtype types[] = {RS_Q4_0, RS_Q4_1, RS_Q5_0, RS_Q5_1, RS_Q8_0, RS_Q4_K, RS_Q5_K, RS_Q6_K};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        run_random(r, types[i], 1);
        run_random(r, types[i], rs_dtype_block(types[i]) == 32 ? 1100 : 140); /* more than two parts of work */
    }
}

/* ---- published vectors ---- */

static bool type_named(const char *name, rs_dtype *t) {
    for (int i = 0; i < RS_DTYPE_COUNT; i++) {
        if (strcmp(rs_dtype_name((rs_dtype)i), name) != 0) continue;
        *t = (rs_dtype)i;
        return true;
    }
    return false;
}

static void check_vector(rs_rig *r, rs_dtype t, const char *hex, char *values) {
    unsigned char block[256];
    size_t bytes = strlen(hex) / 2;
    int64_t bad = INT64_MAX;
    assert_int_equal(bytes, rs_dtype_block_bytes(t));
    for (size_t i = 0; i < bytes; i++) {
        char digits[3] = {hex[2 * i], hex[2 * i + 1], 0};
        block[i] = (unsigned char)strtoul(digits, NULL, 16);
    }
    float *y = widened(r, t, block, rs_dtype_block(t), &bad);
    double want[256], most = 0;
    for (int64_t i = 0; i < rs_dtype_block(t); i++) {
        want[i] = strtod(values, &values);
        most = fmax(most, fabs(want[i]));
    }
    for (int64_t i = 0; i < rs_dtype_block(t); i++) {
        /* The table has nine digits; d * sc * q - dmin * mn rounds three times, against the size of its terms. */
        if (!isfinite(y[i]) || fabs((double)y[i] - want[i]) > 3e-7 * most)
            fail_msg("%s: %s element %d is %.9g, expected %.9g", r->name, rs_dtype_name(t), (int)i, (double)y[i],
                     want[i]);
    }
    free(y);
}

static char vector_path[1024];

static void body_vectors(rs_rig *r) {
    static char line[32768];
    int checked = 0;
    FILE *f = fopen(vector_path, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        char *hex = strchr(line, '\t'), *values = hex ? strchr(hex + 1, '\t') : NULL;
        rs_dtype t;
        if (!values) continue;
        *hex++ = 0;
        *values++ = 0;
        if (!type_named(line, &t)) continue; /* a type that this version does not know */
        check_vector(r, t, hex, values);
        checked++;
    }
    fclose(f);
    assert_true(checked >= 8 * 3); /* eight block types, three vectors each */
}

static void test_vectors(void **state) {
    (void)state;
    const char *named = getenv("ROPESCOPE_QUANT_VECTORS"), *data = getenv("ROPESCOPE_TEST_DATA");
    if (named) snprintf(vector_path, sizeof vector_path, "%s", named);
    else if (data) snprintf(vector_path, sizeof vector_path, "%s/../spec/quant_vectors.tsv", data);
    FILE *f = *vector_path ? fopen(vector_path, "r") : NULL;
    if (!f) skip();
    fclose(f);
    rs_rig_each(body_vectors);
}

/* On to bfloat16: halfway cases go to the even neighbour; the largest float32 becomes infinite; NaN stays one. */
static void body_to_bf16(rs_rig *r) {
    static const uint32_t from[] = {0x3F808000, 0x3F818000, 0x3F808001, 0x3F80FFFF, 0xBF807FFF, 0x7F7FFFFF,
                                    0x7F800001, 0x00000001, 0x00018000, 0x80000000, 0xFF800000, 0x3F800000};
    static const uint16_t to[] = {0x3F80, 0x3F82, 0x3F81, 0x3F81, 0xBF80, 0x7F80,
                                  0x7FC0, 0x0000, 0x0002, 0x8000, 0xFF80, 0x3F80};
    enum { N = sizeof to / sizeof *to };
    int64_t none = INT64_MAX;
    rs_view bad = RS_RIG_PUT(r, RS_I64, 0, &none, 1), dst = RS_RIG_NEW(r, RS_BF16, 0, N);
    rs_op op = {.kind = RS_OP_WIDEN, .u.widen = {.src = RS_RIG_PUT(r, RS_F32, 0, from, N), .dst = dst, .bad = bad}};
    rs_rig_run(r, &op);
    uint16_t *got = rs_rig_get(r, &dst);
    int64_t *first = rs_rig_get(r, &bad);
    for (int i = 0; i < N; i++) {
        bool is_nan = (to[i] & 0x7FFF) > 0x7F80;
        if (is_nan ? (got[i] & 0x7FFF) <= 0x7F80 : got[i] != to[i])
            fail_msg("%s: %08X became %04X, expected %04X", r->name, from[i], got[i], to[i]);
    }
    assert_int_equal(*first, 6); /* the first that is not finite as it is stored */
    free(got), free(first);
}

static void test_to_bf16(void **state) { (void)state, rs_rig_each(body_to_bf16); }
static void test_halves(void **state) { (void)state, rs_rig_each(body_halves); }
static void test_plain(void **state) { (void)state, rs_rig_each(body_plain); }
static void test_bad(void **state) { (void)state, rs_rig_each(body_bad); }
static void test_by_hand(void **state) { (void)state, rs_rig_each(body_by_hand); }
static void test_random(void **state) { (void)state, rs_rig_each(body_random); }

int main(void) {
    rs_test_device_or_skip();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_halves),  cmocka_unit_test(test_to_bf16), cmocka_unit_test(test_plain),
        cmocka_unit_test(test_bad),     cmocka_unit_test(test_by_hand), cmocka_unit_test(test_random),
        cmocka_unit_test(test_vectors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
