/* probes/stability_cells.c: stability of a preference between two keys, and sensitivity to a step, over a window of
 * virtual distances D uniform on 0..W-1 (arXiv 2609.39929; metrics 4.1, M31-M33). */
#include "probes/stability.h"

#include "probes/closed_form.h"

#include <float.h>
#include <math.h>
#include <string.h>

int64_t rs_stability_window(const rs_probe_facts *facts, const rs_layer *l) {
    int64_t W = l->window > 0 ? l->window : facts->graph->trained_context;
    return W > 0 && W < facts->positions ? W : facts->positions;
}

static double sinc(double x) { return x == 0.0 ? 1.0 : sin(x) / x; }

/* m(w) = mean over D = 0..W-1 of e^{i w D} = e^{i(W-1)w/2} sin(Ww/2) / (W sin(w/2)). Distances are whole numbers, so w
 * may be taken to -pi..pi, where the quotient has its only pole, which is none. */
static rs_complex mean_phase(double w, int64_t W) {
    const double turn = 6.283185307179586476925;
    double x = w - turn * nearbyint(w / turn), n = (double)W;
    double length = sinc(0.5 * n * x) / sinc(0.5 * x), angle = 0.5 * (n - 1.0) * x;
    rs_complex m = {.re = length * cos(angle), .im = length * sin(angle)};
    return m;
}

void rs_stability_prepare(rs_stability_tables *t) {
    int64_t F = t->F;
    for (int64_t f = 0; f < F; f++) {
        rs_complex m = mean_phase(t->theta[f], t->window);
        t->mean[f] = m.re;
        t->mean[F + f] = m.im;
    }
    for (int64_t f = 0; f < F; f++) {
        double a = t->mean[f], b = t->mean[F + f];
        for (int64_t g = 0; g < F; g++) {
            double c = t->mean[g], d = t->mean[F + g];
            rs_complex minus = mean_phase(t->theta[f] - t->theta[g], t->window),
                       plus = mean_phase(t->theta[f] + t->theta[g], t->window);
            t->minus[f * F + g] = minus.re - (a * c + b * d); /* m_f conj m_g */
            t->minus[(F + f) * F + g] = minus.im - (b * c - a * d);
            t->plus[f * F + g] = plus.re - (a * c - b * d);
            t->plus[(F + f) * F + g] = plus.im - (a * d + b * c);
        }
    }
}

/* Re sum_{f,g} x_f A[f,g] y_g with y = conj x or x. */
static double form(const double *x, const double *A, int64_t F, double sign) {
    double sum = 0;
    for (int64_t f = 0; f < F; f++) {
        const double *re = A + f * F, *im = A + (F + f) * F;
        double u = 0, v = 0; /* row f of A times y */
        for (int64_t g = 0; g < F; g++) {
            u += re[g] * x[g] - sign * im[g] * x[F + g];
            v += im[g] * x[g] + sign * re[g] * x[F + g];
        }
        sum += x[f] * u - x[F + f] * v;
    }
    return sum;
}

/* line[D] = Re sum_f c_f e^{i theta_f D}, D = 0..n-1. */
static void curve(const rs_stability_tables *t, const double *c, const double *cosine, const double *sine,
                  int64_t stride, int64_t n, double *line) {
    memset(line, 0, (size_t)n * sizeof *line);
    for (int64_t f = 0; f < t->F; f++) {
        const double *u = cosine + f * stride, *v = sine + f * stride;
        double a = c[f], b = c[t->F + f];
        if (a == 0.0 && b == 0.0) {
            continue;
        }
        for (int64_t D = 0; D < n; D++) {
            line[D] += a * u[D] - b * v[D];
        }
    }
}

static double normal_tail(double oriented, double variance) {
    if (variance > 0.0) {
        return 0.5 * erfc(oriented / sqrt(2.0 * variance));
    }
    return oriented < 0.0 ? 1.0 : 0.0;
}

void rs_stability_triplet(const rs_stability_tables *t, const rs_coefficients *x, const double *cosine,
                          const double *sine, int64_t stride, double *line, double *out) {
    double now = x->tail, mass = fabs(x->tail), mean = x->tail, reversed = 0;
    for (int64_t f = 0; f < t->F; f++) {
        double a = x->c[f], b = x->c[t->F + f];
        now += a;
        mass += hypot(a, b);
        mean += a * t->mean[f] - b * t->mean[t->F + f];
    }
    if (!(fabs(now) > 64.0 * DBL_EPSILON * mass)) { /* S(0) = 0 but for rounding: no preference to lose */
        out[RS_ST_TIES] += 1.0;
        return;
    }
    double variance = 0.5 * (form(x->c, t->minus, t->F, -1.0) + form(x->c, t->plus, t->F, 1.0));
    double sign = now > 0 ? 1.0 : -1.0;
    curve(t, x->c, cosine, sine, stride, t->window, line);
    for (int64_t D = 0; D < t->window; D++) {
        reversed += !(sign * (line[D] + x->tail) > 0.0);
    }
    out[RS_ST_REVERSAL] += normal_tail(sign * mean, variance);
    out[RS_ST_REVERSAL_EXACT] += reversed / (double)t->window;
    out[RS_ST_TRIPLETS] += 1.0;
}

void rs_stability_pair(const rs_stability_tables *t, const rs_coefficients *x, const double *cosine, const double *sine,
                       int64_t stride, double *line, double *out) {
    double all = 0, fast = 0, change = 0;
    int64_t steps = t->window - 1;
    for (int64_t f = 0; f < t->F; f++) {
        double *a = &x->c[f], *b = &x->c[t->F + f], square = *a * *a + *b * *b;
        all += square;
        fast += t->theta[f] * (double)t->window >= 2.0 ? square : 0.0;
        /* times e^{i theta} - 1, whose real part is a difference of neighbours for slow pairs */
        double half = sin(0.5 * t->theta[f]), u = -2.0 * half * half, v = sin(t->theta[f]), re = *a * u - *b * v;
        *b = *b * u + *a * v;
        *a = re;
    }
    if (!(all > 0.0) || steps < 1) {
        return;
    }
    curve(t, x->c, cosine, sine, stride, steps, line);
    for (int64_t D = 0; D < steps; D++) {
        change += fabs(line[D]);
    }
    out[RS_ST_CHANGE] += change / (double)steps / sqrt(all);
    out[RS_ST_FAST] += sqrt(fast / all);
    out[RS_ST_PAIRS] += 1.0;
}
