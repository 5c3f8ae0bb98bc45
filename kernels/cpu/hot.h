/* kernels/cpu/hot.h: the inner loops of the CPU backend as a table of functions, one table per x86-64 level.
 * hot.c and the hot_*.h it is made of are compiled once per level (RS_ISA); cpu_backend.c picks a table at run time.
 * The functions know rows and blocks, neither views nor threads. They allocate nothing and cannot fail.
 * Sums run in float32 lanes over short stretches that are added up in float64; the order is fixed for a level. */
#ifndef RS_KERNELS_CPU_HOT_H
#define RS_KERNELS_CPU_HOT_H

#include "kernels/op.h"

enum {
    RS_HOT_PANEL_MAX = 32,  /* most columns of a packed panel, any level */
    RS_HOT_PAIR_BLOCK = 16, /* pairs that a pair or sample function takes at once */
    RS_HOT_PROFILE_ROWS = 8 /* query rows that go into the distance profile together */
};

/* Running sums over keys n of one block of pairs: U = k e^{i theta n}, V = U - k, as real vectors (re, im). */
enum {
    RS_SUM_UR,
    RS_SUM_UI,
    RS_SUM_VR,
    RS_SUM_VI,
    RS_SUM_URUR,
    RS_SUM_URUI,
    RS_SUM_UIUI,
    RS_SUM_VRVR,
    RS_SUM_VRVI,
    RS_SUM_VIVI,
    RS_SUM_URVR,
    RS_SUM_URVI,
    RS_SUM_UIVR,
    RS_SUM_UIVI,
    RS_SUM_ABS,
    RS_SAMPLE_SUMS
};
typedef struct rs_hot_sample {
    double step_re[RS_HOT_PAIR_BLOCK], step_im[RS_HOT_PAIR_BLOCK]; /* e^{i theta} */
    double turn_re[RS_HOT_PAIR_BLOCK], turn_im[RS_HOT_PAIR_BLOCK]; /* e^{i theta n} of the key to come */
    double sum[RS_SAMPLE_SUMS][RS_HOT_PAIR_BLOCK];
} rs_hot_sample;

/* A query row against the sums: see sample_row. */
typedef struct rs_hot_query {
    double re[RS_HOT_PAIR_BLOCK], im[RS_HOT_PAIR_BLOCK];           /* q before rotation */
    double turn_re[RS_HOT_PAIR_BLOCK], turn_im[RS_HOT_PAIR_BLOCK]; /* e^{i theta m} */
    double gain[RS_HOT_PAIR_BLOCK];                                /* scale * factor^2 */
} rs_hot_query;

/* Sums over keys of the logit and of its four terms, and of their squares (RS_HEAD_TOTAL .. RS_HEAD_CC). */
typedef struct rs_hot_terms {
    double sum[RS_HEAD_ROWS], square[RS_HEAD_ROWS];
} rs_hot_terms;

/* A block of pairs of one head over the positions: what goes where. Added to
 * out[bucket[t] * bucket_stride + (number of the feature within the mask) * pairs + pair]; bucket -1: left out. */
typedef struct rs_hot_pairs {
    const float *x; /* first row of the head, rows `stride` apart, [2 pairs] each */
    int64_t stride, rows;
    const int32_t *bucket;   /* [rows] */
    const int32_t *lo, *hi;  /* [pairs] */
    int64_t pairs, first, n; /* of all the pairs n <= RS_HOT_PAIR_BLOCK from first on */
    uint32_t features;
    double *out;
    int64_t bucket_stride;
} rs_hot_pairs;

typedef struct rs_cpu_hot {
    const char *name; /* "x86-64-v4" */
    int panel_cols;   /* columns of a packed panel, <= RS_HOT_PANEL_MAX */
    int tile_rows;    /* rows that panel_tile likes to get a multiple of */
    bool beats_blas;  /* is panel_tile the faster way to multiply large matrices too? (cpu_matmul.c) */

    /* dst[i] = src[i], n elements of a weight dtype (a multiple of its block). */
    void (*widen)(rs_dtype t, const void *src, float *dst, int64_t n);
    /* Index of the first NaN or infinity of x[n]; n when there is none. */
    int64_t (*first_bad)(const float *x, int64_t n);

    /* y = norm(x) * (w + add) + b; w, b NULL = 1, 0. x, y, w, b: [n]; y may be x. */
    void (*norm)(rs_norm_kind kind, const float *x, float *y, const float *w, const float *b, float add, float eps,
                 int64_t n);
    /* y = a x + b y; b == 0 does not read y. [n] */
    void (*add)(const float *x, float *y, float a, float b, int64_t n);
    /* y = act(gate) * up; up NULL = 1. [n]; y may be gate. */
    void (*gate)(rs_activation act, const float *gate, const float *up, float *y, int64_t n);
    /* One head of one position: x, y [2 pairs]; y may be x. cos, sin, lo, hi: [pairs]. */
    void (*rope)(const float *x, float *y, const float *cos, const float *sin, const int32_t *lo, const int32_t *hi,
                 int64_t pairs);

    /* s = cap tanh(s / cap), [n] in place. */
    void (*soft_cap)(float *s, int64_t n, float cap);
    /* Softmax of the n >= 1 visible entries in place; cap > 0: soft-cap first; sink NULL: none.
     * stats (may be NULL): log-sum-exp and entropy (op.h). */
    void (*softmax)(float *s, int64_t n, float cap, const float *sink, float *stats);
    /* x[n] into state = {maximum, sum of exp(scale x - maximum)}, cap as above. */
    void (*log_sum)(const float *x, int64_t n, float scale, float cap, double state[2]);

    /* Panels hold panel_cols columns of B: panel[k][j], zero behind the last column. B[k][j] = src[j stride + k] (rows:
     * the columns of B are rows of src) or src[k stride + j] (cols). cols <= panel_cols. */
    void (*pack_rows)(const float *src, int64_t stride, int64_t depth, int64_t cols, float *panel);
    void (*pack_cols)(const float *src, int64_t stride, int64_t depth, int64_t cols, float *panel);
    /* out[r][j] = scale * sum_k a[r a_stride + k] panel[k][j] (+ out[r][j] when add), r < rows, j < cols <= panel_cols.
     */
    void (*panel_tile)(int64_t rows, int64_t cols, int64_t depth, const float *a, int64_t a_stride, const float *panel,
                       float scale, bool add, float *out, int64_t out_stride);

    /* Features (op.h) of a block of pairs of one head, over all its rows. */
    void (*pair_rows)(const rs_hot_pairs *p);

    /* sums = { sum, sum of squares } of p[r stride + c], r < rows, c < cols. */
    void (*block_sums)(const float *p, int64_t stride, int64_t rows, int64_t cols, double sums[2]);
    /* sums[0] += p[c] where ids[c] == id, sums[1] += p[c] where ids[c - 1] == id; c < n. */
    void (*repeat_sums)(const float *p, const int32_t *ids, int32_t id, int64_t n, double sums[2]);
    /* profile[base - j] += sum over i < rows of p[i stride + j + i], j = first .. base; rows <= RS_HOT_PROFILE_ROWS:
     * the diagonals of a block of rows. */
    void (*profile_rows)(const float *p, int64_t stride, int64_t rows, int64_t first, int64_t base, double *profile);

    /* Adds key row k (one head of one position) to the sums of pairs lo[0..n-1], hi[0..n-1], and turns on by one
     * position. */
    void (*sample_key)(rs_hot_sample *s, const float *k, const int32_t *lo, const int32_t *hi, int64_t n);
    /* One query row over the count keys in lead minus those in trail (NULL: none): terms of op.h added to
     * out[term * pairs + i], i < n. */
    void (*sample_row)(const rs_hot_query *q, const rs_hot_sample *lead, const rs_hot_sample *trail, int64_t count,
                       int64_t n, double *out, int64_t pairs);
    /* Four products over n keys: q.k, q.mu_k, mu_q.k, mu_q.mu_k -> sums of the logit and its four terms. */
    void (*sample_terms)(const double *qk, const double *qm, const double *mk, const double *mm, int64_t n,
                         rs_hot_terms *t);
} rs_cpu_hot;

#if defined(__x86_64__)
extern const rs_cpu_hot rs_cpu_hot_v2, rs_cpu_hot_v3, rs_cpu_hot_v4;
#else
extern const rs_cpu_hot rs_cpu_hot_generic;
#endif

#endif
