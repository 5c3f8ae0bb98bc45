/* The statements of arXiv 2410.06205 on rotary tables: the arithmetic against rotation matrices and whole softmaxes,
 * and the outcomes that the paper proves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "analyzer/base/rng.h"
#include "analyzer/model/rope_theorems.h"

#include <math.h>
#include <string.h>

enum { F = 5, N = 48 };
static const double theta[F] = {1.0, 0.31, 0.07, 0.004, 0.0};

/* Components (2f, 2f + 1) turned by the angle of a position, as RoPE does to queries and keys. */
static void turn(const double *x, double position, double *out) {
    for (int f = 0; f < F; f++) {
        double c = cos(theta[f] * position), s = sin(theta[f] * position);
        out[2 * f] = c * x[2 * f] - s * x[2 * f + 1];
        out[2 * f + 1] = s * x[2 * f] + c * x[2 * f + 1];
    }
}

static void a_logit_is_the_product_of_turned_vectors(void **state) {
    (void)state;
    rs_rng rng;
    rs_rng_init(&rng, 3);
    for (int n = 0; n < 50; n++) {
        double q[2 * F], k[2 * F], a[2 * F], b[2 * F], sum = 0, m = (double)rs_rng_below(&rng, 900),
                                                       d = (double)(n * 7);
        for (int i = 0; i < 2 * F; i++) {
            q[i] = rs_rng_normal(&rng);
            k[i] = rs_rng_normal(&rng);
        }
        turn(q, m + d, a);
        turn(k, m, b);
        for (int i = 0; i < 2 * F; i++) {
            sum += a[i] * b[i];
        }
        assert_true(fabs(sum - rs_rope_logit(theta, F, q, k, d)) < 1e-9); /* float64 sums of 10 terms of size 1 */
    }
}

/* Least attention that a row of the construction q_i = psi, k_i = R^shift psi gives to the key `shift` back. */
static double least(double strength, int shift) {
    double worst = 1;
    for (int i = shift; i < N; i++) {
        double sum = 0, at = 0;
        for (int j = 0; j <= i; j++) {
            double z = 0;
            for (int f = 0; f < F; f++) {
                z += strength / F * cos(theta[f] * (double)(i - j - shift));
            }
            sum += exp(z);
            at = j == i - shift ? exp(z) : at;
        }
        worst = fmin(worst, at / sum);
    }
    return worst;
}

static void strengths_are_those_of_whole_softmaxes(void **state) {
    rs_error err = {0};
    (void)state;
    for (int shift = 0; shift < 2; shift++) {
        double s;
        assert_int_equal(rs_rope_strength(theta, F, N, shift, 0.99, &s, &err), RS_OK);
        assert_true(isfinite(s) && least(s * (1 + 1e-6), shift) > 0.99 && least(s * (1 - 1e-6), shift) < 0.99);
    }
    double s, still[2] = {0, 0};
    assert_int_equal(rs_rope_strength(still, 2, N, 0, 0.99, &s, &err), RS_OK);
    assert_true(isinf(s)); /* without rotation all keys are level */
}

static void content_turns_over_at_a_quarter_of_the_wavelength(void **state) {
    (void)state;
    for (double t = 2e-5; t < 1; t *= 3.7) {
        double d = 0;
        while (cos(t * d) > 0) {
            d++;
        }
        assert_true(fabs(rs_rope_reversal(t) - d) < 0.5);
    }
    assert_true(isinf(rs_rope_reversal(0)));
}

static void statements_hold_where_they_apply(void **state) {
    rs_error err = {0};
    rs_theorem x[RS_THEOREMS], again[RS_THEOREMS];
    const double still[3] = {0};
    (void)state;
    for (uint64_t seed = 1; seed < 4; seed++) {
        assert_int_equal(rs_rope_theorems(theta, F, 200, seed, x, &err), RS_OK);
        for (int i = 0; i < RS_THEOREMS; i++) {
            if (!x[i].applies || !x[i].holds) {
                fail_msg("%s, seed %d: %s", x[i].name, (int)seed, x[i].found);
            }
        }
    }
    assert_int_equal(rs_rope_theorems(theta, F, 200, 3, again, &err), RS_OK);
    for (int i = 0; i < RS_THEOREMS; i++) {
        assert_string_equal(x[i].found, again[i].found);
    }
    assert_int_equal(rs_rope_theorems(still, 3, 200, 1, x, &err), RS_OK);
    int applying = 0;
    for (int i = 0; i < RS_THEOREMS; i++) {
        applying += x[i].applies;
        assert_true(!x[i].applies || x[i].holds);
    }
    assert_int_equal(applying, 2); /* what is said of heads without rotation */
    /* Lemma A.1 asks that no multiple of a frequency is a whole turn: with a wavelength of 4 tokens the key 4 further
     * back is level, and no key is largest at one distance alone. */
    const double whole[1] = {1.5707963267948966};
    assert_int_equal(rs_rope_theorems(whole, 1, 64, 1, x, &err), RS_OK);
    assert_false(x[0].holds && x[3].holds);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_logit_is_the_product_of_turned_vectors),
        cmocka_unit_test(strengths_are_those_of_whole_softmaxes),
        cmocka_unit_test(content_turns_over_at_a_quarter_of_the_wavelength),
        cmocka_unit_test(statements_hold_where_they_apply),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
