/* The mask of a head's query: objective and gradient by their definitions, the minimum against coordinate search, and
 * heads whose used components are known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "analyzer/base/rng.h"
#include "probes/utility.h"

#include <math.h>
#include <string.h>

enum { ROWS = 6, D = 8, DV = 5, T = 24 };

typedef struct rig {
    rs_utility_head h;
    int64_t first[ROWS], keys[ROWS];
    double q[ROWS * D], k[D * T], v[DV * T], wanted[ROWS * DV], lines[3 * T + 2 * DV];
} rig;

/* Sharpness: size of the logits; value: size of the values. Window 9 for odd rows. */
static void rig_open(rig *r, uint64_t seed, double sharpness, double value, double cap) {
    rs_rng rng;
    rs_rng_init(&rng, seed);
    for (int i = 0; i < ROWS; i++) {
        r->keys[i] = i % 2 ? 9 : 4 * i + 3;
        r->first[i] = 4 * i + 3 - r->keys[i];
        if (r->first[i] < 0) {
            r->keys[i] += r->first[i];
            r->first[i] = 0;
        }
    }
    for (int i = 0; i < ROWS * D; i++) r->q[i] = sharpness * rs_rng_normal(&rng);
    for (int i = 0; i < D * T; i++) r->k[i] = rs_rng_normal(&rng);
    for (int i = 0; i < DV * T; i++) r->v[i] = value * rs_rng_normal(&rng);
    r->h = (rs_utility_head){.n_rows = ROWS,
                             .D = D,
                             .Dv = DV,
                             .T = T,
                             .cap = cap,
                             .first = r->first,
                             .keys = r->keys,
                             .q = r->q,
                             .k = r->k,
                             .v = r->v,
                             .wanted = r->wanted,
                             .lines = r->lines};
    rs_utility_outputs(&r->h);
}

/* Output of row i under a mask, by the definition. */
static void output(const rig *r, int i, const double *u, double *o) {
    double sum = 0, z[T];
    memset(o, 0, DV * sizeof *o);
    for (int64_t j = 0; j < r->keys[i]; j++) {
        z[j] = 0;
        for (int c = 0; c < D; c++) z[j] += r->q[i * D + c] * u[c] * r->k[c * T + r->first[i] + j];
        z[j] = r->h.cap > 0 ? r->h.cap * tanh(z[j] / r->h.cap) : z[j];
        sum += exp(z[j]);
    }
    for (int64_t j = 0; j < r->keys[i]; j++)
        for (int d = 0; d < DV; d++) o[d] += exp(z[j]) / sum * r->v[d * T + r->first[i] + j];
}

static double objective(const rig *r, const double *u) {
    const double one[D] = {1, 1, 1, 1, 1, 1, 1, 1};
    double J = 0;
    for (int i = 0; i < ROWS; i++) {
        double a[DV], b[DV];
        output(r, i, one, a);
        output(r, i, u, b);
        for (int d = 0; d < DV; d++) J += (a[d] - b[d]) * (a[d] - b[d]) / ROWS;
    }
    for (int c = 0; c < D; c++) J += u[c] / D;
    return J;
}

static void objective_and_gradient_are_their_definitions(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed < 9; seed++) {
        rig r;
        rs_rng rng;
        double u[D], g[D], error;
        rig_open(&r, seed, 0.7, 1.5, seed % 2 ? 0 : 2.5);
        rs_rng_init(&rng, seed + 100);
        for (int c = 0; c < D; c++) u[c] = 0.1 + 0.8 * rs_rng_uniform(&rng);
        double J = rs_utility_objective(&r.h, u, g, &error);
        assert_true(fabs(J - objective(&r, u)) < 1e-12 * (1 + J)); /* float64 sums of some hundred terms */
        for (int c = 0; c < D; c++) {
            const double step = 1e-5; /* error of the central difference: step^2 J''', below 1e-8 here */
            double kept = u[c];
            u[c] = kept + step;
            double above = objective(&r, u);
            u[c] = kept - step;
            double below = objective(&r, u);
            u[c] = kept;
            assert_true(fabs(g[c] - (above - below) / (2 * step)) < 1e-6);
        }
    }
}

/* Coordinate search on a grid that is refined: slow, and knows no gradient. */
static double search(const rig *r, double *u) {
    double best = objective(r, u);
    for (double step = 0.5; step > 1e-4; step /= 2) {
        for (bool better = true; better;) {
            better = false;
            for (int c = 0; c < D; c++) {
                for (int way = -1; way <= 1; way += 2) {
                    double kept = u[c];
                    u[c] = fmin(1, fmax(0, kept + way * step));
                    double J = objective(r, u);
                    if (J < best - 1e-9) {
                        best = J;
                        better = true;
                    } else {
                        u[c] = kept;
                    }
                }
            }
        }
    }
    return best;
}

static void the_minimum_is_not_beaten_by_a_search(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed < 9; seed++) {
        rig r;
        double u[D], from[D], work[5 * D];
        rig_open(&r, seed, 0.8, 1.0, 0);
        rs_utility_report found = rs_utility_solve(&r.h, u, work);
        assert_true(fabs(found.objective - objective(&r, u)) < 1e-12);
        for (int c = 0; c < D; c++) {
            assert_true(u[c] >= 0 && u[c] <= 1);
            from[c] = u[c];
        }
        /* From where it ended no search gets far (it stops when no component would move by 1e-3), and from 1 it ends no
         * better: the problem is not convex, so the two may part by a little. */
        assert_true(objective(&r, u) - search(&r, from) < 1e-3);
        for (int c = 0; c < D; c++) from[c] = 1;
        assert_true(objective(&r, u) - search(&r, from) < 2e-2);
        assert_true(found.objective <= 1);
    }
}

static void components_that_do_nothing_have_no_utility(void **state) {
    (void)state;
    rig r;
    double u[D], work[5 * D];
    rig_open(&r, 5, 3.0, 20.0, 0);
    for (int i = 0; i < ROWS; i++) memset(r.q + i * D + D / 2, 0, D / 2 * sizeof *r.q);
    rs_utility_outputs(&r.h);
    rs_utility_report found = rs_utility_solve(&r.h, u, work);
    for (int c = 0; c < D; c++) {
        if (c < D / 2 ? u[c] < 0.5 : u[c] > 1e-6) {
            fail_msg("component %d: utility %g after %d steps", c, u[c], found.steps);
        }
    }
    /* Values that are nothing: the penalty alone, and its minimum is 0. */
    memset(r.v, 0, sizeof r.v);
    rs_utility_outputs(&r.h);
    found = rs_utility_solve(&r.h, u, work);
    assert_true(found.objective < 1e-9 && found.residual < 1e-9);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objective_and_gradient_are_their_definitions),
        cmocka_unit_test(the_minimum_is_not_beaten_by_a_search),
        cmocka_unit_test(components_that_do_nothing_have_no_utility),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
