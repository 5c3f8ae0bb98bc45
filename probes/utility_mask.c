/* probes/utility_mask.c: the mask on a head's query that keeps the head's output and costs least. */
#include "probes/utility.h"

#include <math.h>
#include <string.h>

/* Attention of row i under the mask (NULL: none) into p [keys], its output into o [Dv]. slope [keys] or NULL: ds/dz of
 * the soft-cap. */
static void attend(const rs_utility_head *h, int64_t i, const double *u, double *p, double *slope, double *o) {
    int64_t n = h->keys[i], from = h->first[i];
    memset(p, 0, (size_t)n * sizeof *p);
    for (int64_t c = 0; c < h->D; c++) {
        double a = h->q[i * h->D + c] * (u ? u[c] : 1.0);
        const double *k = h->k + c * h->T + from;
        for (int64_t j = 0; j < n && a != 0.0; j++) {
            p[j] += a * k[j];
        }
    }
    double top = -(double)INFINITY, sum = 0;
    for (int64_t j = 0; j < n; j++) {
        if (h->cap > 0.0) {
            double t = tanh(p[j] / h->cap);
            p[j] = h->cap * t;
            if (slope) slope[j] = 1.0 - t * t;
        }
        top = fmax(top, p[j]);
    }
    for (int64_t j = 0; j < n; j++) {
        p[j] = exp(p[j] - top);
        sum += p[j];
    }
    for (int64_t j = 0; j < n; j++) {
        p[j] /= sum;
    }
    for (int64_t d = 0; d < h->Dv; d++) {
        const double *v = h->v + d * h->T + from;
        double x = 0;
#pragma omp simd reduction(+ : x)
        for (int64_t j = 0; j < n; j++) {
            x += p[j] * v[j];
        }
        o[d] = x;
    }
}

double rs_utility_outputs(const rs_utility_head *h) {
    double power = 0;
    for (int64_t i = 0; i < h->n_rows; i++) {
        double *o = h->wanted + i * h->Dv;
        attend(h, i, NULL, h->lines, NULL, o);
        for (int64_t d = 0; d < h->Dv; d++) {
            power += o[d] * o[d];
        }
    }
    return power / (double)h->n_rows;
}

/* Adds the gradient of |error|^2 of row i: with w_j = 2 error . v_j, dL/ds_j = P_j (w_j - E_P w), ds/dz the slope,
 * dz_j/du_c = q_c k_jc. change [Dv]; p, slope as attend left them; w [keys] work. */
static void add_gradient(const rs_utility_head *h, int64_t i, const double *p, const double *slope,
                         const double *change, double *w, double *gradient) {
    int64_t n = h->keys[i], from = h->first[i];
    double mean = 0;
    memset(w, 0, (size_t)n * sizeof *w);
    for (int64_t d = 0; d < h->Dv; d++) {
        const double *v = h->v + d * h->T + from;
        for (int64_t j = 0; j < n; j++) {
            w[j] += 2 * change[d] * v[j];
        }
    }
    for (int64_t j = 0; j < n; j++) {
        mean += p[j] * w[j];
    }
    for (int64_t j = 0; j < n; j++) {
        w[j] = p[j] * (w[j] - mean) * (h->cap > 0.0 ? slope[j] : 1.0);
    }
    for (int64_t c = 0; c < h->D; c++) {
        const double *k = h->k + c * h->T + from;
        double x = 0;
#pragma omp simd reduction(+ : x)
        for (int64_t j = 0; j < n; j++) {
            x += w[j] * k[j];
        }
        gradient[c] += h->q[i * h->D + c] * x / (double)h->n_rows;
    }
}

double rs_utility_objective(const rs_utility_head *h, const double *u, double *gradient, double *error) {
    double *p = h->lines, *slope = p + h->T, *w = slope + h->T, *o = w + h->T, *change = o + h->Dv;
    double alpha = 1.0 / (double)h->D, sum = 0, size = 0;
    for (int64_t c = 0; c < h->D; c++) {
        size += u[c];
        if (gradient) gradient[c] = alpha;
    }
    for (int64_t i = 0; i < h->n_rows; i++) {
        attend(h, i, u, p, slope, o);
        for (int64_t d = 0; d < h->Dv; d++) {
            change[d] = o[d] - h->wanted[i * h->Dv + d];
            sum += change[d] * change[d];
        }
        if (gradient) add_gradient(h, i, p, slope, change, w, gradient);
    }
    *error = sum / (double)h->n_rows;
    return *error + alpha * size;
}

static double clip(double x) { return fmin(1.0, fmax(0.0, x)); }

/* Curvature of J along each component at u = 1, Gauss and Newton's: 2 mean |d Attn / d u_c|^2 over every fourth row,
 * with d Attn / d u_c = q_c (E_P k_c v - E_P k_c E_P v); plus 1 / D, the gradient of the penalty, so that a component
 * that does nothing goes from 1 to 0 in a step of length 1. */
static void curvature(const rs_utility_head *h, double *H) {
    enum { EVERY = 4 };
    double *p = h->lines, *weighed = p + h->T, *o = p + 3 * h->T;
    int64_t rows = 0;
    for (int64_t c = 0; c < h->D; c++) {
        H[c] = 0;
    }
    for (int64_t i = 0; i < h->n_rows; i += EVERY, rows++) {
        int64_t n = h->keys[i], from = h->first[i];
        attend(h, i, NULL, p, NULL, o);
        for (int64_t c = 0; c < h->D; c++) {
            const double *k = h->k + c * h->T + from;
            double mean = 0, square = 0;
            for (int64_t j = 0; j < n; j++) {
                weighed[j] = p[j] * k[j];
                mean += weighed[j];
            }
            for (int64_t d = 0; d < h->Dv; d++) {
                const double *v = h->v + d * h->T + from;
                double x = 0;
#pragma omp simd reduction(+ : x)
                for (int64_t j = 0; j < n; j++) {
                    x += weighed[j] * v[j];
                }
                square += (x - mean * o[d]) * (x - mean * o[d]);
            }
            H[c] += 2 * h->q[i * h->D + c] * h->q[i * h->D + c] * square;
        }
    }
    for (int64_t c = 0; c < h->D; c++) {
        H[c] = H[c] / (double)rows + 1.0 / (double)h->D;
    }
}

/* Direction of the projected step of length t from u, each component by its curvature: clip(u - t g / H) - u; its
 * product with g. */
static double direction(const double *u, const double *g, const double *H, int64_t D, double t, double *d) {
    double slope = 0;
    for (int64_t c = 0; c < D; c++) {
        d[c] = clip(u[c] - t * g[c] / H[c]) - u[c];
        slope += g[c] * d[c];
    }
    return slope;
}

static double residual(const double *u, const double *g, int64_t D) {
    double most = 0;
    for (int64_t c = 0; c < D; c++) {
        most = fmax(most, fabs(clip(u[c] - (double)D * g[c]) - u[c]));
    }
    return most;
}

/* Barzilai and Borwein's length: s.H s / s.y of the last move s and the change y of the gradient. */
static double spectral_length(double ss, double sy) {
    const double least = 1e-6, most = 1e6;
    return sy <= ss / most ? most : fmax(least, ss / sy);
}

rs_utility_report rs_utility_solve(const rs_utility_head *h, double *u, double *work) {
    enum { HALVINGS = 30, REMEMBERED = 5 };
    double *g = work, *d = g + h->D, *next = d + h->D, *next_g = next + h->D, *H = next_g + h->D;
    double t = 1, recent[REMEMBERED];
    rs_utility_report r = {.power = rs_utility_outputs(h)};
    for (int64_t c = 0; c < h->D; c++) {
        u[c] = 1.0;
    }
    curvature(h, H);
    r.objective = rs_utility_objective(h, u, g, &r.error);
    for (int i = 0; i < REMEMBERED; i++) {
        recent[i] = r.objective;
    }
    for (r.residual = residual(u, g, h->D); r.residual > RS_UT_ENOUGH && r.steps < RS_UT_MOST_STEPS; r.steps++) {
        double slope = direction(u, g, H, h->D, t, d), allowed = recent[0], J = 0, error = 0, ss = 0, sy = 0, part = 1;
        for (int i = 1; i < REMEMBERED; i++) {
            allowed = fmax(allowed, recent[i]);
        }
        for (int halving = 0; halving < HALVINGS; halving++, part /= 2) {
            for (int64_t c = 0; c < h->D; c++) {
                next[c] = clip(u[c] + part * d[c]);
            }
            J = rs_utility_objective(h, next, next_g, &error);
            if (J <= allowed + 1e-4 * part * slope) {
                break;
            }
        }
        for (int64_t c = 0; c < h->D; c++) {
            ss += H[c] * (next[c] - u[c]) * (next[c] - u[c]);
            sy += (next[c] - u[c]) * (next_g[c] - g[c]);
        }
        t = spectral_length(ss, sy);
        memcpy(u, next, (size_t)h->D * sizeof *u);
        memcpy(g, next_g, (size_t)h->D * sizeof *g);
        r.objective = recent[r.steps % REMEMBERED] = J;
        r.error = error;
        r.residual = residual(u, g, h->D);
    }
    return r;
}
