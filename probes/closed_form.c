#include "probes/closed_form.h"

#include <math.h>

static rs_complex times(rs_complex a, rs_complex b) {
    return (rs_complex){a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}

static rs_complex conjugate(rs_complex a) { return (rs_complex){a.re, -a.im}; }

static double abs2(rs_complex a) { return a.re * a.re + a.im * a.im; }

/* Cuts rounding below 0; NaN stays NaN (fmax would lose it). */
static double not_negative(double x) { return x < 0.0 ? 0.0 : x; }

static rs_complex turn(double angle) {
    double s = sin(0.5 * angle);
    return (rs_complex){-2.0 * s * s, sin(angle)};
}

rs_complex rs_turn_to(rs_turn *t, int64_t distance) {
    /* The step is taken at the first distance of a stretch: nothing is known of it at 0, where a walk begins. */
    if (distance == t->distance + 1 && distance % RS_TURN_STEPS > 1) { /* (now + 1)(step + 1) - 1 */
        rs_complex both = times(t->now, t->step);
        t->now = (rs_complex){both.re + t->now.re + t->step.re, both.im + t->now.im + t->step.im};
    } else if (distance != t->distance) {
        t->step = turn(t->theta);
        t->now = turn(t->theta * (double)distance);
    }
    t->distance = distance;
    return t->now;
}

/* Keys a query at position m sees without the sink. */
static int64_t visible(int64_t m, int64_t window) { return window > 0 && m > window ? window : m; }

/* theta = 0: g is the same number at every distance, and its averages are that number, exactly. */
static void constant_means(rs_pair_change change, rs_causal *out) {
    double g = change == RS_CHANGE_ZERO ? 1.0 : 0.0;
    *out = (rs_causal){.a = g, .wa = g, .b = {g, 0.0}, .wb = {g, 0.0}};
}

void rs_causal_means(rs_pair_change change, double theta, int64_t positions, int64_t window, rs_causal *out) {
    *out = (rs_causal){0};
    if (positions < 3) {
        return;
    }
    if (theta == 0.0) {
        constant_means(change, out);
        return;
    }
    rs_complex g1 = {0, 0}, g2 = {0, 0}; /* running sums over D = 0..n-1 of g and g^2 */
    double ga = 0.0;
    int64_t n = 0;
    rs_turn angle = {.theta = theta};
    for (int64_t m = 2; m < positions; m++) {
        for (; n < visible(m, window); n++) {
            rs_complex g = rs_turn_to(&angle, n);
            g.re += change == RS_CHANGE_ZERO ? 1.0 : 0.0;
            rs_complex s = times(g, g);
            g1 = (rs_complex){g1.re + g.re, g1.im + g.im};
            g2 = (rs_complex){g2.re + s.re, g2.im + s.im};
            ga += abs2(g);
        }
        double by = 1.0 / (double)n;
        rs_complex w = {g1.re * by, g1.im * by}, ww = times(w, w);
        out->a += ga * by;
        out->b = (rs_complex){out->b.re + g2.re * by, out->b.im + g2.im * by};
        out->wa += abs2(w);
        out->wb = (rs_complex){out->wb.re + ww.re, out->wb.im + ww.im};
    }
    double by = 1.0 / (double)(positions - 2);
    *out = (rs_causal){.a = out->a * by,
                       .wa = out->wa * by,
                       .b = {out->b.re * by, out->b.im * by},
                       .wb = {out->wb.re * by, out->wb.im * by}};
}

/* 1/2 x2 y2 a + 1/2 Re(xx conj(yy) b): x2 = E|x|^2, xx = E x^2. */
static double half_square(double x2, rs_complex xx, double y2, rs_complex yy, double a, rs_complex b) {
    return 0.5 * x2 * y2 * a + 0.5 * times(times(xx, conjugate(yy)), b).re;
}

double rs_cost_raw(const rs_causal *c, const rs_pair_moments *q, const rs_pair_moments *k) {
    return half_square(q->abs2, q->square, k->abs2, k->square, c->a, c->b);
}

double rs_cost_centred(const rs_causal *c, const rs_pair_moments *q, const rs_pair_moments *k) {
    double off = half_square(q->abs2, q->square, abs2(k->mean), times(k->mean, k->mean), c->wa, c->wb);
    return not_negative(rs_cost_raw(c, q, k) - off);
}

void rs_pair_four_terms(const rs_causal *zero, const rs_pair_moments *q, const rs_pair_moments *k, rs_four_terms *out) {
    rs_complex qm = times(q->mean, q->mean), km = times(k->mean, k->mean);
    rs_complex qc = {q->square.re - qm.re, q->square.im - qm.im}, kc = {k->square.re - km.re, k->square.im - km.im};
    double qm2 = abs2(q->mean), km2 = abs2(k->mean);
    double qc2 = not_negative(q->abs2 - qm2), kc2 = not_negative(k->abs2 - km2);
    /* A constant key makes the term a function of the distance, whose mean over the keys softmax does not see; key
     * content has mean 0. */
    double centred_a = zero->a - zero->wa;
    rs_complex centred_b = {zero->b.re - zero->wb.re, zero->b.im - zero->wb.im};
    out->pp = not_negative(half_square(qm2, qm, km2, km, centred_a, centred_b));
    out->pc = not_negative(half_square(qm2, qm, kc2, kc, zero->a, zero->b));
    out->cp = not_negative(half_square(qc2, qc, km2, km, centred_a, centred_b));
    out->cc = not_negative(half_square(qc2, qc, kc2, kc, zero->a, zero->b));
}

void rs_causal_curve_variance(void (*curve)(void *ctx, int64_t distance, double *values), void *ctx, int64_t curves,
                              int64_t positions, int64_t window, double *work, double *out) {
    double *mean = work, *square = work + curves,
           *value = work + 2 * curves; /* Welford: mean and sum of squared deviations */
    for (int64_t h = 0; h < curves; h++) {
        mean[h] = square[h] = 0.0;
        out[h] = positions < 3 ? (double)NAN : 0.0;
    }
    int64_t n = 0;
    for (int64_t m = 2; m < positions; m++) {
        for (; n < visible(m, window); n++) {
            curve(ctx, n, value);
            for (int64_t h = 0; h < curves; h++) {
                double delta = value[h] - mean[h];
                mean[h] += delta / (double)(n + 1);
                square[h] += delta * (value[h] - mean[h]);
            }
        }
        for (int64_t h = 0; h < curves; h++) {
            out[h] += square[h] / (double)n / (double)(positions - 2);
        }
    }
}

double rs_mean_logit(rs_complex q_mean, rs_complex k_mean, double theta, double distance) {
    return times(times(q_mean, conjugate(k_mean)), (rs_complex){cos(theta * distance), sin(theta * distance)}).re;
}

double rs_resultant_unbiased(rs_complex sum, double n) {
    if (n < 2.0) {
        return (double)NAN;
    }
    double r2 = abs2(sum) / (n * n);
    return sqrt(not_negative((n * r2 - 1.0) / (n - 1.0)));
}
