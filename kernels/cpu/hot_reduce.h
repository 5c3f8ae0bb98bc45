/* kernels/cpu/hot_reduce.h: what the probes sum: features of pairs, and blocks and diagonals of a pattern. Part of
 * hot.c. */
#ifndef RS_KERNELS_CPU_HOT_REDUCE_H
#define RS_KERNELS_CPU_HOT_REDUCE_H

#include "kernels/cpu/hot_math.h"

enum { BLOCK = RS_HOT_PAIR_BLOCK };

/* ---- pairs ---- */

/* Do the indices follow each other? Then a block of them is a plain load. */
static bool consecutive(const int32_t *index, int64_t n) {
    for (int64_t i = 1; i < n; i++) {
        if (index[i] != index[i - 1] + 1) return false;
    }
    return true;
}

/* n components as a whole block, zero behind them. */
static inline void fetch(const float *x, const int32_t *index, bool plain, int64_t n, float out[BLOCK]) {
    if (plain && n == BLOCK) {
        memcpy(out, x + index[0], BLOCK * sizeof *out);
        return;
    }
    for (int64_t i = 0; i < BLOCK; i++) out[i] = i < n ? x[index[i]] : 0.0F;
}

/* The pair of largest |z|, the first one on ties. */
static int64_t top_pair(const rs_hot_pairs *p, const float *x, bool plain) {
    int64_t top = 0;
    double most = -1.0;
    for (int64_t first = 0; first < p->pairs; first += BLOCK) {
        int64_t n = p->pairs - first < BLOCK ? p->pairs - first : BLOCK;
        float re[BLOCK], im[BLOCK];
        double square[BLOCK], here = -1.0;
        fetch(x, p->lo + first, plain, n, re);
        fetch(x, p->hi + first, plain, n, im);
#pragma omp simd reduction(max : here)
        for (int i = 0; i < BLOCK; i++) {
            square[i] = (double)re[i] * (double)re[i] + (double)im[i] * (double)im[i];
            here = square[i] > here ? square[i] : here;
        }
        for (int64_t i = 0; i < n && here > most; i++) {
            if (square[i] < here) continue;
            most = here;
            top = first + i;
        }
    }
    return top;
}

/* Features of a block of pairs in float64: |z|^2 of a subnormal float neither underflows nor loses bits. */
static void pair_features(const float *x, const float *y, double value[RS_PAIR_FEATURES][BLOCK]) {
#pragma omp simd
    for (int i = 0; i < BLOCK; i++) {
        double re = (double)x[i], im = (double)y[i], square = re * re + im * im, length = sqrt(square);
        double inverse = square > 0 ? 1.0 / length : 0.0, u = re * inverse, v = im * inverse;
        value[RS_PAIR_ABS][i] = length;
        value[RS_PAIR_ABS2][i] = square;
        value[RS_PAIR_RE][i] = re;
        value[RS_PAIR_IM][i] = im;
        value[RS_PAIR_SQ_RE][i] = re * re - im * im;
        value[RS_PAIR_SQ_IM][i] = 2.0 * re * im;
        value[RS_PAIR_U_RE][i] = u;
        value[RS_PAIR_U_IM][i] = v;
        value[RS_PAIR_U2_RE][i] = u * u - v * v;
        value[RS_PAIR_U2_IM][i] = 2.0 * u * v;
        value[RS_PAIR_TOP][i] = 0.0;
    }
}

static void add_features(const rs_hot_pairs *p, double value[RS_PAIR_FEATURES][BLOCK], double *out) {
    for (int feature = 0; feature < RS_PAIR_FEATURES; feature++) {
        if (!(p->features & 1U << feature)) continue;
#pragma omp simd
        for (int64_t i = 0; i < p->n; i++) out[i] += value[feature][i];
        out += p->pairs;
    }
}

static void pair_rows(const rs_hot_pairs *p) {
    bool plain = consecutive(p->lo, p->pairs) && consecutive(p->hi, p->pairs);
    for (int64_t t = 0; t < p->rows; t++) {
        const float *x = p->x + t * p->stride;
        float re[BLOCK], im[BLOCK];
        double value[RS_PAIR_FEATURES][BLOCK];
        if (p->bucket[t] < 0) continue;
        fetch(x, p->lo + p->first, plain, p->n, re);
        fetch(x, p->hi + p->first, plain, p->n, im);
        pair_features(re, im, value);
        if (p->features & 1U << RS_PAIR_TOP) {
            int64_t top = top_pair(p, x, plain) - p->first;
            if (top >= 0 && top < p->n) value[RS_PAIR_TOP][top] = 1.0;
        }
        add_features(p, value, p->out + p->bucket[t] * p->bucket_stride + p->first);
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

/* A mask of bits instead of a branch: most entries do not count. */
static void repeat_sums(const float *p, const int32_t *ids, int32_t id, int64_t n, double sums[2]) {
    for (int64_t first = 0; first < n; first += STRETCH) {
        int64_t end = n - first < STRETCH ? n : first + STRETCH;
        float same = 0, behind = 0;
#pragma omp simd reduction(+ : same, behind)
        for (int64_t c = first; c < end; c++) {
            same += ids[c] == id ? p[c] : 0.0F;
            behind += ids[c - 1] == id ? p[c] : 0.0F;
        }
        sums[0] += (double)same;
        sums[1] += (double)behind;
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
