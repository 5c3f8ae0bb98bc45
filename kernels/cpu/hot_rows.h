/* kernels/cpu/hot_rows.h: loops over one row: norms, activations, rotation, softmax, running log-sum. Part of hot.c. */
#ifndef RS_KERNELS_CPU_HOT_ROWS_H
#define RS_KERNELS_CPU_HOT_ROWS_H

#include "kernels/cpu/hot_math.h"

static inline int64_t stretch_end(int64_t at, int64_t n) { return at + STRETCH < n ? at + STRETCH : n; }

/* ---- norm ---- */

static double row_sum(const float *x, int64_t n) {
    double total = 0;
    for (int64_t at = 0; at < n; at += STRETCH) {
        int64_t end = stretch_end(at, n);
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = at; i < end; i++) sum += x[i];
        total += (double)sum;
    }
    return total;
}

/* Sum of (x - centre)^2. */
static double row_squares(const float *x, float centre, int64_t n) {
    double total = 0;
    for (int64_t at = 0; at < n; at += STRETCH) {
        int64_t end = stretch_end(at, n);
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = at; i < end; i++) sum += (x[i] - centre) * (x[i] - centre);
        total += (double)sum;
    }
    return total;
}

static void norm(rs_norm_kind kind, const float *x, float *y, const float *w, const float *b, float add, float eps,
                 int64_t n) {
    float centre = kind == RS_NORM_LAYER ? (float)(row_sum(x, n) / (double)n) : 0.0F;
    float gain = (float)(1.0 / sqrt(row_squares(x, centre, n) / (double)n + (double)eps));
    if (w) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) y[i] = (x[i] - centre) * gain * (w[i] + add);
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) y[i] = (x[i] - centre) * gain;
    }
    if (!b) return;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] += b[i];
}

/* ---- elementwise ---- */

static void add(const float *x, float *y, float a, float b, int64_t n) {
    if (b == 0.0F) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) y[i] = a * x[i];
        return;
    }
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] = a * x[i] + b * y[i];
}

static inline float act_silu(float x) { return x / (1.0F + exp_any(-x)); }
static inline float act_gelu_erf(float x) { return 0.5F * x * (1.0F + erf_any(x * 0.70710678F)); }
/* sqrt(2 / pi) (x + 0.044715 x^3) */
static inline float act_gelu_tanh(float x) {
    return 0.5F * x * (1.0F + tanh_any(0.79788456F * (x + 0.044715F * x * x * x)));
}
/* Written so that NaN goes through. */
static inline float act_relu(float x) { return x < 0.0F ? 0.0F : x; }
static inline float act_relu2(float x) { return act_relu(x) * act_relu(x); }

/* One loop per activation and presence of `up`, so that each of them vectorises. */
#define GATE_LOOPS(name)                                                                                               \
    static void gate_##name(const float *gate_row, const float *up, float *y, int64_t n) {                             \
        if (up) {                                                                                                      \
            _Pragma("omp simd") for (int64_t i = 0; i < n; i++) y[i] = act_##name(gate_row[i]) * up[i];                \
        } else {                                                                                                       \
            _Pragma("omp simd") for (int64_t i = 0; i < n; i++) y[i] = act_##name(gate_row[i]);                        \
        }                                                                                                              \
    }
GATE_LOOPS(silu)
GATE_LOOPS(gelu_erf)
GATE_LOOPS(gelu_tanh)
GATE_LOOPS(relu)
GATE_LOOPS(relu2)
#undef GATE_LOOPS

static void gate(rs_activation act, const float *gate_row, const float *up, float *y, int64_t n) {
    switch (act) {
    case RS_ACT_SILU: gate_silu(gate_row, up, y, n); break;
    case RS_ACT_GELU_ERF: gate_gelu_erf(gate_row, up, y, n); break;
    case RS_ACT_GELU_TANH: gate_gelu_tanh(gate_row, up, y, n); break;
    case RS_ACT_RELU: gate_relu(gate_row, up, y, n); break;
    case RS_ACT_RELU2: gate_relu2(gate_row, up, y, n); break;
    }
}

/* ---- rotation ---- */

/* Half-split tables: both components of the pairs stand in a row. */
static bool in_a_row(const int32_t *index, int64_t n) {
    int gaps = 0;
#pragma omp simd reduction(| : gaps)
    for (int64_t f = 1; f < n; f++) gaps |= index[f] - index[f - 1] - 1;
    return gaps == 0;
}

static void rope(const float *x, float *y, const float *cosine, const float *sine, const int32_t *lo, const int32_t *hi,
                 int64_t pairs) {
    bool halves = in_a_row(lo, pairs) && in_a_row(hi, pairs);
    /* A component belongs to one pair alone, so iterations do not meet even when y is x. */
    if (halves) {
        const float *xl = x + lo[0], *xh = x + hi[0];
        float *yl = y + lo[0], *yh = y + hi[0];
#pragma omp simd
        for (int64_t f = 0; f < pairs; f++) {
            float re = xl[f], im = xh[f];
            yl[f] = re * cosine[f] - im * sine[f];
            yh[f] = im * cosine[f] + re * sine[f];
        }
        return;
    }
#pragma omp simd
    for (int64_t f = 0; f < pairs; f++) {
        float re = x[lo[f]], im = x[hi[f]];
        y[lo[f]] = re * cosine[f] - im * sine[f];
        y[hi[f]] = im * cosine[f] + re * sine[f];
    }
}

/* ---- softmax ---- */

static void soft_cap(float *s, int64_t n, float cap) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) s[i] = cap * tanh_any(s[i] / cap);
}

static float row_max(const float *s, int64_t n) {
    float most = s[0];
#pragma omp simd reduction(max : most)
    for (int64_t i = 0; i < n; i++) most = s[i] > most ? s[i] : most;
    return most;
}

/* s = exp(s - most); sums[0] += s, sums[1] += s (old s - most). The clamp keeps 0 * infinity out of the second sum. */
static void exp_row(float *s, int64_t n, float most, double sums[2]) {
    for (int64_t at = 0; at < n; at += STRETCH) {
        int64_t end = stretch_end(at, n);
        float sum = 0, dot = 0;
#pragma omp simd reduction(+ : sum, dot)
        for (int64_t i = at; i < end; i++) {
            float x = s[i] - most;
            x = x < -100.0F ? -100.0F : x;
            float e = exp_below_zero(x);
            s[i] = e;
            sum += e;
            dot += e * x;
        }
        sums[0] += (double)sum;
        sums[1] += (double)dot;
    }
}

static void softmax(float *s, int64_t n, float cap, const float *sink, float *stats) {
    double sums[2] = {0, 0};
    if (cap > 0) soft_cap(s, n, cap);
    float most = row_max(s, n);
    if (sink && *sink > most) most = *sink;
    exp_row(s, n, most, sums);
    double total = sums[0] + (sink ? exp((double)*sink - (double)most) : 0.0);
    float share = (float)(1.0 / total);
#pragma omp simd
    for (int64_t i = 0; i < n; i++) s[i] *= share;
    if (!stats) return;
    /* With e = exp(s - most): -sum p ln p = (ln(total) sum e - sum e (s - most)) / total. */
    double log_total = log(total);
    stats[0] = (float)((double)most + log_total);
    stats[1] = (float)((log_total * sums[0] - sums[1]) / total);
}

/* ---- cross entropy ---- */

static float scaled_max(const float *x, int64_t n, float scale, float cap) {
    float most = -INFINITY, least = INFINITY;
#pragma omp simd reduction(max : most) reduction(min : least)
    for (int64_t i = 0; i < n; i++) {
        most = x[i] > most ? x[i] : most;
        least = x[i] < least ? x[i] : least;
    }
    float top = scale < 0 ? least * scale : most * scale;
    return cap > 0 ? cap * tanh_any(top / cap) : top; /* soft-capping keeps the order */
}

static double scaled_exp_sum(const float *x, int64_t n, float scale, float cap, float most) {
    double total = 0;
    for (int64_t at = 0; at < n; at += STRETCH) {
        int64_t end = stretch_end(at, n);
        float sum = 0;
        if (cap > 0) {
#pragma omp simd reduction(+ : sum)
            for (int64_t i = at; i < end; i++) sum += exp_below_zero(cap * tanh_any(x[i] * scale / cap) - most);
        } else {
#pragma omp simd reduction(+ : sum)
            for (int64_t i = at; i < end; i++) sum += exp_below_zero(x[i] * scale - most);
        }
        total += (double)sum;
    }
    return total;
}

static void log_sum(const float *x, int64_t n, float scale, float cap, double state[2]) {
    float most = scaled_max(x, n, scale, cap);
    if (!((double)most <= state[0])) {
        state[1] = state[1] > 0 ? state[1] * exp(state[0] - (double)most) : 0;
        state[0] = (double)most;
    }
    if (state[0] == (double)-INFINITY) return; /* nothing but -inf so far: no mass */
    /* The state's maximum came from a float32 too, so the cast is exact. */
    state[1] += scaled_exp_sum(x, n, scale, cap, (float)state[0]);
}

#endif
