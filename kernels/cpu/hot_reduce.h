/* kernels/cpu/hot_reduce.h: what the probes sum: features of pairs, and blocks and diagonals of a pattern. Part of hot.c. */
#ifndef RS_KERNELS_CPU_HOT_REDUCE_H
#define RS_KERNELS_CPU_HOT_REDUCE_H

#include "kernels/cpu/hot_math.h"

enum { BLOCK = RS_HOT_PAIR_BLOCK };

/* ---- pairs ---- */

/* The pair of largest |z|, the first one on ties. */
static int64_t top_pair(const float *x, const int32_t *lo, const int32_t *hi, int64_t pairs) {
    int64_t top = 0;
    double most = -1.0;
    for (int64_t f = 0; f < pairs; f++) {
        double re = (double)x[lo[f]], im = (double)x[hi[f]], square = re * re + im * im;
        if (square <= most) continue;
        most = square;
        top = f;
    }
    return top;
}

/* Features of a block of pairs in float64: |z|^2 of a subnormal float neither underflows nor loses bits. */
static void pair_features(const double *re, const double *im, double value[RS_PAIR_FEATURES][BLOCK]) {
#pragma omp simd
    for (int i = 0; i < BLOCK; i++) {
        double square = re[i] * re[i] + im[i] * im[i], length = sqrt(square);
        double inverse = square > 0 ? 1.0 / length : 0.0, u = re[i] * inverse, v = im[i] * inverse;
        value[RS_PAIR_ABS][i] = length;
        value[RS_PAIR_ABS2][i] = square;
        value[RS_PAIR_RE][i] = re[i];
        value[RS_PAIR_IM][i] = im[i];
        value[RS_PAIR_SQ_RE][i] = re[i] * re[i] - im[i] * im[i];
        value[RS_PAIR_SQ_IM][i] = 2.0 * re[i] * im[i];
        value[RS_PAIR_U_RE][i] = u;
        value[RS_PAIR_U_IM][i] = v;
        value[RS_PAIR_U2_RE][i] = u * u - v * v;
        value[RS_PAIR_U2_IM][i] = 2.0 * u * v;
        value[RS_PAIR_TOP][i] = 0.0;
    }
}

static void pair_row(const float *x, const int32_t *lo, const int32_t *hi, int64_t pairs, int64_t first, int64_t n, uint32_t features,
                     double *out) {
    double re[BLOCK] = {0}, im[BLOCK] = {0}, value[RS_PAIR_FEATURES][BLOCK];
    for (int64_t i = 0; i < n; i++) {
        re[i] = (double)x[lo[first + i]];
        im[i] = (double)x[hi[first + i]];
    }
    pair_features(re, im, value);
    if (features & 1U << RS_PAIR_TOP) {
        int64_t top = top_pair(x, lo, hi, pairs) - first;
        if (top >= 0 && top < n) value[RS_PAIR_TOP][top] = 1.0;
    }
    out += first;
    for (int feature = 0; feature < RS_PAIR_FEATURES; feature++) {
        if (!(features & 1U << feature)) continue;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) out[i] += value[feature][i];
        out += pairs;
    }
}

/* ---- patterns ---- */

enum { PIECE_ROWS = 16, PIECE_COLS = 16 * LANES };

static double lane_sum(lanes v) {
    float x[LANES];
    double sum = 0;
    store(x, v);
    for (int i = 0; i < LANES; i++) sum += (double)x[i];
    return sum;
}

static void piece_sums(const float *p, int64_t stride, int64_t rows, int64_t cols, double sums[2]) {
    lanes sum[2] = {{0}}, square[2] = {{0}};
    float rest = 0, rest_square = 0;
    int64_t pairs = cols / (2 * LANES) * (2 * LANES), whole = cols / LANES * LANES;
    for (int64_t r = 0; r < rows; r++, p += stride) {
        for (int64_t c = 0; c < pairs; c += 2 * LANES) {
            lanes a = load(p + c), b = load(p + c + LANES);
            sum[0] += a;
            sum[1] += b;
            square[0] += a * a;
            square[1] += b * b;
        }
        for (int64_t c = pairs; c < whole; c += LANES) {
            lanes a = load(p + c);
            sum[0] += a;
            square[0] += a * a;
        }
        for (int64_t c = whole; c < cols; c++) {
            rest += p[c];
            rest_square += p[c] * p[c];
        }
    }
    sums[0] += lane_sum(sum[0] + sum[1]) + (double)rest;
    sums[1] += lane_sum(square[0] + square[1]) + (double)rest_square;
}

static void block_sums(const float *p, int64_t stride, int64_t rows, int64_t cols, double sums[2]) {
    sums[0] = sums[1] = 0;
    for (int64_t r = 0; r < rows; r += PIECE_ROWS) {
        int64_t nr = rows - r < PIECE_ROWS ? rows - r : PIECE_ROWS;
        for (int64_t c = 0; c < cols; c += PIECE_COLS) {
            int64_t nc = cols - c < PIECE_COLS ? cols - c : PIECE_COLS;
            piece_sums(p + r * stride + c, stride, nr, nc, sums);
        }
    }
}

/* Entries of one distance of several rows are added in float32 (at most 8 of them), then once in float64. */
static void profile_rows(const float *p, int64_t stride, int64_t rows, int64_t first, int64_t base, double *profile) {
    if (rows == RS_HOT_PROFILE_ROWS) {
        const float *a = p, *b = p + stride + 1, *c = b + stride + 1, *d = c + stride + 1;
        const float *e = d + stride + 1, *f = e + stride + 1, *g = f + stride + 1, *h = g + stride + 1;
#pragma omp simd
        for (int64_t j = first; j <= base; j++)
            profile[base - j] += (double)(((a[j] + b[j]) + (c[j] + d[j])) + ((e[j] + f[j]) + (g[j] + h[j])));
        return;
    }
    for (int64_t i = 0; i < rows; i++, p += stride + 1) {
#pragma omp simd
        for (int64_t j = first; j <= base; j++) profile[base - j] += (double)p[j];
    }
}

#endif
