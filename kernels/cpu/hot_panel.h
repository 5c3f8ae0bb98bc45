/* kernels/cpu/hot_panel.h: products of a few rows with packed panels, for attention. Part of hot.c.
 * A tile of TILE_ROWS x 2 vectors of sums stays in registers; per step it takes TILE_ROWS broadcasts and two loads. */
#ifndef RS_KERNELS_CPU_HOT_PANEL_H
#define RS_KERNELS_CPU_HOT_PANEL_H

#include "kernels/cpu/hot_math.h"

enum { PANEL = 2 * LANES, TILE_ROWS = LANES == 16 ? 8 : 4 }; /* 32 registers against 16 */
_Static_assert((int)PANEL <= (int)RS_HOT_PANEL_MAX, "callers size buffers by RS_HOT_PANEL_MAX");

/* lo, hi = a0 b0 a1 b1 ... : the two halves of the elements of a and b in turn. */
#if defined(__AVX512F__)
#define ZIP_LO 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define ZIP_HI 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif defined(__AVX2__)
#define ZIP_LO 0, 8, 1, 9, 2, 10, 3, 11
#define ZIP_HI 4, 12, 5, 13, 6, 14, 7, 15
#else
#define ZIP_LO 0, 4, 1, 5
#define ZIP_HI 2, 6, 3, 7
#endif

/* Transposes LANES vectors: zipping vector i with vector i + LANES / 2, log2(LANES) times. */
static inline void transpose(lanes v[LANES]) {
    for (int round = 1; round < LANES; round *= 2) {
        lanes next[LANES];
#pragma GCC unroll 8
        for (int i = 0; i < LANES / 2; i++) {
            next[2 * i] = __builtin_shufflevector(v[i], v[i + LANES / 2], ZIP_LO);
            next[2 * i + 1] = __builtin_shufflevector(v[i], v[i + LANES / 2], ZIP_HI);
        }
        memcpy(v, next, sizeof next);
    }
}

static void pack_rows(const float *src, int64_t stride, int64_t depth, int64_t cols, float *panel) {
    int64_t whole = cols / LANES * LANES, deep = depth / LANES * LANES;
    if (cols < PANEL) memset(panel, 0, (size_t)(depth * PANEL) * sizeof *panel);
    for (int64_t j = 0; j < whole; j += LANES) {
        for (int64_t k = 0; k < deep; k += LANES) {
            lanes v[LANES];
            for (int i = 0; i < LANES; i++) v[i] = load(src + (j + i) * stride + k);
            transpose(v);
            for (int i = 0; i < LANES; i++) store(panel + (k + i) * PANEL + j, v[i]);
        }
    }
    for (int64_t j = 0; j < cols; j++) {
        for (int64_t k = j < whole ? deep : 0; k < depth; k++) panel[k * PANEL + j] = src[j * stride + k];
    }
}

static void pack_cols(const float *src, int64_t stride, int64_t depth, int64_t cols, float *panel) {
    for (int64_t k = 0; k < depth; k++) {
        memcpy(panel + k * PANEL, src + k * stride, (size_t)cols * sizeof *panel);
        memset(panel + k * PANEL + cols, 0, (size_t)(PANEL - cols) * sizeof *panel);
    }
}

typedef struct tile_sums {
    lanes v[TILE_ROWS][2];
} tile_sums;

static inline void multiply(tile_sums *out, int64_t depth, const float *const a[TILE_ROWS], const float *panel) {
    lanes sum[TILE_ROWS][2] = {{{0}}};
    for (int64_t k = 0; k < depth; k++) {
        lanes b0 = load(panel + k * PANEL), b1 = load(panel + k * PANEL + LANES);
#pragma GCC unroll 8
        for (int r = 0; r < TILE_ROWS; r++) {
            sum[r][0] += a[r][k] * b0;
            sum[r][1] += a[r][k] * b1;
        }
    }
    memcpy(out->v, sum, sizeof sum);
}

static inline void store_row(lanes s0, lanes s1, bool add_out, float *out) {
    if (add_out) {
        s0 += load(out);
        s1 += load(out + LANES);
    }
    store(out, s0);
    store(out + LANES, s1);
}

static void panel_tile(int64_t rows, int64_t cols, int64_t depth, const float *a, int64_t a_stride, const float *panel,
                       float scale, bool add_out, float *out, int64_t out_stride) {
    for (int64_t r0 = 0; r0 < rows; r0 += TILE_ROWS) {
        const float *row[TILE_ROWS];
        int64_t n = rows - r0 < TILE_ROWS ? rows - r0 : TILE_ROWS;
        tile_sums sums;
        /* Rows that are not there are computed as the last one and dropped. */
        for (int64_t r = 0; r < TILE_ROWS; r++) row[r] = a + (r0 + (r < n ? r : n - 1)) * a_stride;
        multiply(&sums, depth, row, panel);
        for (int64_t r = 0; r < n; r++) {
            float *to = out + (r0 + r) * out_stride, edge[PANEL] = {0};
            bool whole = cols == PANEL;
            if (!whole) memcpy(edge, to, (size_t)cols * sizeof *to);
            store_row(sums.v[r][0] * scale, sums.v[r][1] * scale, add_out, whole ? to : edge);
            if (!whole) memcpy(to, edge, (size_t)cols * sizeof *to);
        }
    }
}

#endif
