/* The rotary table by itself. Numbers: computed in float64 from the published formulas (arXiv 2104.09864, 2309.00071,
 * 2402.13753, 2410.06205; the llama3 rule of Meta's reference code), not by this program. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "analyzer/model/rope.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Golden values are given with nine or ten digits. */
static const double TOLERANCE = 1e-8;

typedef struct fixture {
    rs_arena *arena;
    rs_error err;
} fixture;

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    if (!f || rs_arena_create(&f->arena, &f->err) != RS_OK) return -1;
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    rs_arena_destroy(f->arena);
    free(f);
    return 0;
}

static rs_rope_spec spec(const char *kind, int head_dim, double base) {
    return (rs_rope_spec){.kind = kind,
                          .head_dim = head_dim,
                          .rotary_dim = head_dim,
                          .base = base,
                          .factor = 1,
                          .proportion = 1,
                          .attention_factor = NAN,
                          .source = "a test"};
}

static rs_rope build(void **state, const rs_rope_spec *s) {
    fixture *f = *state;
    rs_rope r = {0};
    if (rs_rope_build(s, f->arena, &r, &f->err) != RS_OK) fail_msg("%s", f->err.message);
    return r;
}

static void refused(void **state, const rs_rope_spec *s, rs_status expected, const char *word) {
    fixture *f = *state;
    rs_rope r = {0};
    assert_int_equal(rs_rope_build(s, f->arena, &r, &f->err), expected);
    if (!strstr(f->err.message, word)) fail_msg("'%s' is not in: %s", word, f->err.message);
}

static void near(double got, double expected) {
    if (!(fabs(got - expected) <= TOLERANCE * fabs(expected))) fail_msg("found %.12g, expected %.12g", got, expected);
}

static void test_default(void **state) {
    rs_rope_spec s = spec("default", 128, 1e4);
    rs_rope r = build(state, &s);
    assert_int_equal(r.n_pairs, 64);
    assert_int_equal(r.n_rotated, 64);
    near(r.theta[0], 1);
    near(r.theta[1], 0.865964323360);
    near(r.theta[32], 0.01);
    near(r.theta[63], 1.15478198469e-4);
    assert_string_equal(r.words, "full RoPE, 64 pairs, base 10,000");
    assert_string_equal(r.source, "a test");
    for (int f = 0; f < 64; f++) {
        assert_int_equal(r.lo[f], f);
        assert_int_equal(r.hi[f], f + 64);
        assert_int_equal(r.region[f], RS_PAIR_KEPT);
        assert_true(r.factor[f] == 1);
    }
}

static void llama3(rs_rope_spec *s, double factor) {
    s->factor = factor;
    s->low_freq_factor = 1;
    s->high_freq_factor = 4;
    s->original_context = 8192;
}

static void test_llama3(void **state) {
    rs_rope_spec s = spec("llama3", 128, 5e5); /* Llama-3.1-8B */
    llama3(&s, 8);
    rs_rope r = build(state, &s);
    near(r.theta[1], 0.814617234);
    near(r.theta[28], 3.21144599e-3);
    near(r.theta[29], 2.16657076e-3);
    near(r.theta[30], 1.37189357e-3);
    near(r.theta[32], 5.24846161e-4);
    near(r.theta[35], 9.55621235e-5);
    near(r.theta[63], 3.06892599e-7);
    for (int f = 0; f < 64; f++)
        assert_int_equal(r.region[f], f <= 28 ? RS_PAIR_KEPT : f <= 34 ? RS_PAIR_BLENDED : RS_PAIR_SCALED);
    rs_rope_spec small = spec("llama3", 64, 5e5); /* Llama-3.2-1B */
    llama3(&small, 32);
    r = build(state, &small);
    near(r.theta[14], 3.21144599e-3);
    near(r.theta[15], 1.29054793e-3);
    near(r.theta[16], 4.29556797e-4);
    near(r.theta[17], 9.7082878e-5);
    near(r.theta[31], 9.41830673e-8);
    for (int f = 0; f < 32; f++)
        assert_int_equal(r.region[f], f <= 14 ? RS_PAIR_KEPT : f <= 17 ? RS_PAIR_BLENDED : RS_PAIR_SCALED);
}

static void test_yarn(void **state) {
    rs_rope_spec s = spec("yarn", 128, 1e6);
    s.factor = 4, s.original_context = 32768, s.beta_fast = 32, s.beta_slow = 1, s.truncate = true;
    rs_rope r = build(state, &s);
    near(r.theta[23], 6.97830585e-3);
    near(r.theta[24], 5.37532149e-3);
    near(r.theta[40], 4.44569853e-5);
    near(r.theta[63], 3.1023444e-7);
    near(r.factor[0], 1.138629436);
    assert_int_equal(r.region[23], RS_PAIR_KEPT);
    assert_int_equal(r.region[24], RS_PAIR_BLENDED);
    assert_int_equal(r.region[40], RS_PAIR_SCALED);
    rs_rope_spec t = spec("yarn", 64, 1.5e5);
    t.factor = 32, t.original_context = 4096, t.beta_fast = 32, t.beta_slow = 1;
    r = build(state, &t);
    near(r.theta[8], 0.0508132748);
    near(r.theta[9], 0.0317056962);
    near(r.theta[17], 1.29318701e-4);
    near(r.theta[31], 3.02351143e-7);
    near(r.factor[31], 1.34657359);
}

static void test_dynamic(void **state) {
    rs_rope_spec s = spec("dynamic", 128, 1e4);
    s.factor = 2, s.original_context = 2048, s.context = 4096;
    rs_rope r = build(state, &s);
    near(r.theta[1], 0.850994291);
    near(r.theta[63], 3.84927328e-5);
    s.context = 100; /* a short sequence is not stretched */
    r = build(state, &s);
    near(r.theta[63], 1.15478198469e-4);
}

static void test_proportional(void **state) {
    rs_rope_spec s = spec("proportional", 512, 1e6);
    s.proportion = 0.25;
    rs_rope r = build(state, &s);
    assert_int_equal(r.n_pairs, 256);
    assert_int_equal(r.n_rotated, 64);
    near(r.theta[1], 0.947463526);
    near(r.theta[63], 0.0333762469);
    for (int f = 0; f < 256; f++) { /* pairs over the whole head, also those that rest */
        assert_int_equal(r.lo_hf[f], f);
        assert_int_equal(r.hi_hf[f], f + 256);
        assert_true((r.theta[f] > 0) == (f < 64));
        assert_int_equal(r.region[f], f < 64 ? RS_PAIR_KEPT : RS_PAIR_UNROTATED);
    }
    assert_string_equal(r.words, "25 % p-RoPE: the fastest 64 of 256 pairs, base 1,000,000");
}

/* p-RoPE keeps the original frequencies, partial RoPE makes new ones: slowest rotated frequency at base 1e4, width 128
 * (arXiv 2410.06205, table of shares 1/4, 1/2, 3/4). */
static void test_partial_against_proportional(void **state) {
    static const struct {
        double share, proportional, partial;
    } rows[] = {{0.25, 0.1154781985, 1.778279410e-4},
                {0.5, 0.01154781985, 1.333521432e-4},
                {0.75, 1.154781985e-3, 1.211527659e-4}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        rs_rope_spec p = spec("proportional", 128, 1e4), q = spec("default", 128, 1e4);
        p.proportion = rows[i].share;
        q.rotary_dim = (int)(128 * rows[i].share);
        rs_rope a = build(state, &p), b = build(state, &q);
        assert_int_equal(a.n_rotated, b.n_rotated);
        near(a.theta[a.n_rotated - 1], rows[i].proportional);
        near(b.theta[b.n_rotated - 1], rows[i].partial);
    }
}

/* Components passed by, u_0..u_{2m-1} in ascending order, pair as (u_j, u_{j+m}), behind all that turn. */
static void test_pass_through(void **state) {
    rs_rope_spec s = spec("default", 16, 1e4);
    s.rotary_dim = 6;
    rs_rope r = build(state, &s);
    assert_int_equal(r.n_rotated, 3);
    assert_string_equal(r.words, "37.5 % partial RoPE: 3 of 8 pairs, base 10,000");
    for (int f = 0; f < 3; f++) {
        assert_int_equal(r.lo[f], f);
        assert_int_equal(r.hi[f], f + 3);
        near(r.theta[f], pow(1e4, -2.0 * f / 6.0));
    }
    for (int j = 0; j < 5; j++) {
        assert_int_equal(r.lo[3 + j], 6 + j);
        assert_int_equal(r.hi[3 + j], 6 + j + 5);
        assert_true(r.theta[3 + j] == 0);
    }
}

static void test_odd_width_is_rounded_up(void **state) {
    rs_rope_spec s = spec("default", 12, 1e4);
    s.rotary_dim = 3;
    rs_rope r = build(state, &s);
    assert_int_equal(r.n_rotated, 2);
    assert_int_equal(r.lo[1], 1);
    assert_int_equal(r.hi[1], 3);
    near(r.theta[1], pow(1e4, -2.0 / 3.0));
}

static void test_none(void **state) {
    rs_rope_spec s = spec("none", 8, 0);
    rs_rope r = build(state, &s);
    assert_int_equal(r.n_rotated, 0);
    assert_string_equal(r.words, "NoPE");
    assert_true(r.base == 0);
    for (int f = 0; f < 4; f++) {
        assert_int_equal(r.lo[f], f);
        assert_int_equal(r.hi[f], f + 4);
    }
    assert_int_equal(rs_rope_cache_bytes(&r, 4096), 0);
}

/* The same model in both row orders: Hugging Face row h * D/2 + j is row 2j + h of the interleaved file, per head. */
static void test_layouts_agree(void **state) {
    static const char *const kinds[] = {"default", "proportional", "none"};
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        rs_rope_spec s = spec(kinds[k], 64, 1e5);
        s.proportion = 0.3;
        rs_rope hf = build(state, &s);
        s.layout = RS_INTERLEAVED;
        rs_rope file = build(state, &s);
        for (int c = 0; c < 64; c++) assert_int_equal(file.hf_from_file[c], c % 2 * 32 + c / 2);
        for (int f = 0; f < 32; f++) {
            assert_true(hf.theta[f] == file.theta[f]);
            assert_int_equal(hf.lo_hf[f], file.lo_hf[f]);
            assert_int_equal(hf.hi_hf[f], file.hi_hf[f]);
            assert_int_equal(hf.lo_hf[f], f);
            assert_int_equal(file.lo[f], 2 * f);
            assert_int_equal(file.hi[f], 2 * f + 1);
            assert_int_equal(hf.lo[f], f);
            assert_int_equal(hf.hi[f], f + 32);
        }
    }
}

/* A family whose own weights are interleaved (glm): nothing is turned over, shown components are the file's. */
static void test_interleaved_family(void **state) {
    rs_rope_spec s = spec("default", 8, 1e4);
    s.layout = s.hf_layout = RS_INTERLEAVED;
    s.rotary_dim = 4;
    rs_rope r = build(state, &s);
    static const int lo[] = {0, 2, 4, 5}, hi[] = {1, 3, 6, 7};
    for (int f = 0; f < 4; f++) {
        assert_int_equal(r.lo[f], lo[f]);
        assert_int_equal(r.hi[f], hi[f]);
        assert_int_equal(r.lo_hf[f], lo[f]);
        assert_int_equal(r.hi_hf[f], hi[f]);
    }
}

/* Divisors of 1e30 make pairs rest: reversed p-RoPE. What turns comes first, and resting pairs keep the attention
 * factor. */
static void test_resting_fast_pairs(void **state) {
    static const double divisors[] = {1e30, INFINITY, 1, 1, 2, 1, 1, 1};
    rs_rope_spec s = spec("longrope", 20, 1e4);
    s.rotary_dim = 16;
    s.divisors = divisors, s.n_divisors = 8;
    s.attention_factor = 1.5;
    s.context = 131072;
    rs_rope r = build(state, &s);
    assert_int_equal(r.n_rotated, 6);
    assert_string_equal(r.words,
                        "60 % reversed p-RoPE: the slowest 6 of 10 pairs, base 10,000, longrope divisors (5 kept, 0 "
                        "blended, 1 scaled), attention factor 1.5");
    static const int lo[] = {2, 3, 4, 5, 6, 7, 0, 1, 16, 17}, hi[] = {10, 11, 12, 13, 14, 15, 8, 9, 18, 19};
    for (int f = 0; f < 10; f++) {
        assert_int_equal(r.lo[f], lo[f]);
        assert_int_equal(r.hi[f], hi[f]);
        near(r.factor[f], f < 8 ? 1.5 : 1);
        assert_int_equal(r.region[f], f == 2 ? RS_PAIR_SCALED : f < 6 ? RS_PAIR_KEPT : RS_PAIR_UNROTATED);
    }
    near(r.theta[2], 0.01 / 2);
}

/* Scaling that changes the order of speed: pairs follow their frequency, not their index. */
static void test_order_is_by_frequency(void **state) {
    static const double divisors[] = {1000, 1, 1, 1};
    rs_rope_spec s = spec("longrope", 8, 1e4);
    s.divisors = divisors, s.n_divisors = 4;
    rs_rope r = build(state, &s);
    static const int lo[] = {1, 2, 0, 3};
    for (int f = 0; f < 4; f++) assert_int_equal(r.lo[f], lo[f]);
    near(r.theta[2], 1e-3);
}

static void test_longrope_attention_factor(void **state) {
    static const double ones[] = {1, 1, 1, 1};
    rs_rope_spec s = spec("longrope", 8, 1e4);
    s.divisors = ones, s.n_divisors = 4;
    s.factor = 32, s.original_context = 4096; /* 4096 -> 131072 */
    rs_rope r = build(state, &s);
    near(r.factor[0], 1.190238071);
    s.factor = 1;
    r = build(state, &s);
    assert_true(r.factor[0] == 1);
}

/* Divisors of a GGUF are llama3 in other words: the same table, the same regions. */
static void test_table_of_divisors(void **state) {
    double divisors[64];
    rs_rope_spec plain = spec("default", 128, 5e5), s = spec("llama3", 128, 5e5), t = spec("table", 128, 5e5);
    llama3(&s, 8);
    rs_rope unscaled = build(state, &plain), expected = build(state, &s);
    for (int f = 0; f < 64; f++) divisors[f] = f <= 28 ? 1.0 : f >= 35 ? 8.0 : unscaled.theta[f] / expected.theta[f];
    t.divisors = divisors, t.n_divisors = 64;
    t.layout = RS_INTERLEAVED;
    rs_rope r = build(state, &t);
    for (int f = 0; f < 64; f++) {
        near(r.theta[f], expected.theta[f]);
        assert_int_equal(r.region[f], expected.region[f]);
        assert_int_equal(r.lo_hf[f], expected.lo_hf[f]);
    }
}

/* 2^-24 rad over the whole context is where float32 no longer sees the turn. */
static void test_resolution(void **state) {
    static const double divisors[] = {1, 1.0e7, 1.7e7};
    rs_rope_spec s = spec("longrope", 6, 1.0);
    s.divisors = divisors, s.n_divisors = 3;
    s.context = 1;
    rs_rope r = build(state, &s);
    assert_int_equal(r.n_rotated, 2); /* 1e-7 > 5.96e-8 > 5.88e-8 */
    s.context = 1024;
    r = build(state, &s);
    assert_int_equal(r.n_rotated, 3);
}

/* 2 tables of R columns, 4 bytes, 8k positions: 16 MiB for R = 256, 1.6 MiB for R = 26 (arXiv 2603.11611, appendix C).
 */
static void test_cache_bytes(void **state) {
    rs_rope_spec s = spec("default", 256, 1e4);
    rs_rope r = build(state, &s);
    assert_int_equal(rs_rope_cache_bytes(&r, 8192), 16 << 20);
    s.rotary_dim = 26;
    r = build(state, &s);
    assert_int_equal(rs_rope_cache_bytes(&r, 8192), 2 * 8192 * 26 * 4);
}

static void test_refusals(void **state) {
    static const double wrong[] = {1, 0, 1, 1};
    rs_rope_spec s = spec("spiral", 8, 1e4);
    refused(state, &s, RS_E_UNSUPPORTED, "spiral");
    s = spec("default", 7, 1e4);
    refused(state, &s, RS_E_MISMATCH, "head width 7");
    s = spec("default", 0, 1e4);
    refused(state, &s, RS_E_MISMATCH, "head width 0");
    s = spec("default", 8, 1e4);
    s.rotary_dim = 10;
    refused(state, &s, RS_E_MISMATCH, "rotary width 10");
    s = spec("default", 8, -1);
    refused(state, &s, RS_E_MISMATCH, "base -1");
    s = spec("default", 8, INFINITY);
    refused(state, &s, RS_E_MISMATCH, "base inf");
    s = spec("linear", 8, 1e4);
    s.factor = 0;
    refused(state, &s, RS_E_MISMATCH, "factor 0");
    s = spec("llama3", 8, 1e4);
    s.factor = 8, s.low_freq_factor = 4, s.high_freq_factor = 4, s.original_context = 8192;
    refused(state, &s, RS_E_MISMATCH, "low_freq_factor 4");
    s = spec("longrope", 8, 1e4);
    refused(state, &s, RS_E_MISMATCH, "0 divisors found, expected 4");
    s.divisors = wrong, s.n_divisors = 4;
    refused(state, &s, RS_E_MISMATCH, "divisor 1 is 0");
    s = spec("proportional", 8, 1e4);
    s.proportion = 1.5;
    refused(state, &s, RS_E_MISMATCH, "1.5");
}

/* arXiv 2310.05209, README of the code with it: 92 of 128 dimensions for Llama 2. */
static void test_critical_dimension(void **state) {
    fixture *f = *state;
    rs_rope r;
    rs_rope_spec s = spec("default", 128, 1e4);
    assert_int_equal(rs_rope_build(&s, f->arena, &r, &f->err), RS_OK);
    assert_int_equal(2 * rs_rope_turning_pairs(&r, 4096), 92);
    assert_int_equal(rs_rope_turning_pairs(&r, 6.28), 0);
    assert_int_equal(rs_rope_turning_pairs(&r, 1e9), 64);
    s.kind = "none";
    assert_int_equal(rs_rope_build(&s, f->arena, &r, &f->err), RS_OK);
    assert_int_equal(rs_rope_turning_pairs(&r, 1e9), 0);
}

/* arXiv 2405.14591, table 2: smallest bases for a context. They are given with two digits, and the bound is sharp and
 * not monotone, so 1 % of the context is left to the rounding; with 0.7 of the base it is missed by far. */
static void test_base_bound(void **state) {
    static const struct {
        double base;
        int64_t context;
    } published[] = {{4.3e3, 1024}, {1.6e4, 2048}, {2.7e4, 4096}, {8.4e4, 8192}};
    fixture *f = *state;
    for (size_t i = 0; i < sizeof published / sizeof *published; i++) {
        rs_rope r;
        rs_rope_spec s = spec("default", 128, published[i].base);
        assert_int_equal(rs_rope_build(&s, f->arena, &r, &f->err), RS_OK);
        rs_rope_pull p = rs_rope_base_bound(&r, 2 * published[i].context);
        assert_true(p.first_negative > published[i].context * 99 / 100);
        assert_true(p.least < 0 && p.least_at == p.first_negative);
        p = rs_rope_base_bound(&r, p.first_negative);
        assert_int_equal(p.first_negative, 0);
        assert_true(p.least >= 0);
        s = spec("default", 128, 0.7 * published[i].base);
        assert_int_equal(rs_rope_build(&s, f->arena, &r, &f->err), RS_OK);
        p = rs_rope_base_bound(&r, 2 * published[i].context);
        assert_true(p.first_negative > 0 && p.first_negative < published[i].context * 8 / 10);
    }
}

/* x* to the digits of OpenReview PR1PPxvG9Q's formula, and the pairs that it gives for Llama 2 and Llama 3. */
static void test_band(void **state) {
    static const struct { double base, context, pair; } known[] = {{1e4, 4096, 48.8}, {5e5, 8192, 37.6}};
    fixture *f = *state;
    assert_true(fabs(rs_rope_band_peak() - 3.657210) < 1e-6);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        rs_rope r;
        rs_rope_spec s = spec("default", 128, known[i].base);
        assert_int_equal(rs_rope_build(&s, f->arena, &r, &f->err), RS_OK);
        assert_true(fabs(rs_rope_band_pair(&r, known[i].context) - known[i].pair) < 0.05);
        assert_true(isnan(rs_rope_band_pair(&r, 3)));
    }
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(test_critical_dimension),
        CASE(test_base_bound),
        CASE(test_band),
        CASE(test_default),
        CASE(test_llama3),
        CASE(test_yarn),
        CASE(test_dynamic),
        CASE(test_proportional),
        CASE(test_partial_against_proportional),
        CASE(test_pass_through),
        CASE(test_odd_width_is_rounded_up),
        CASE(test_none),
        CASE(test_layouts_agree),
        CASE(test_interleaved_family),
        CASE(test_resting_fast_pairs),
        CASE(test_order_is_by_frequency),
        CASE(test_longrope_attention_factor),
        CASE(test_table_of_divisors),
        CASE(test_resolution),
        CASE(test_cache_bytes),
        CASE(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
