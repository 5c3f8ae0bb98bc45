/* kernels/cpu/cpu_matmul.c: y = x w^T + bias, or that added to y. With AVX-512 through our own packed panels, which the
 * attention has anyway: measured on Zen 4 they reach 105-111 GFLOP/s a core where OpenBLAS reaches 91-103; below
 * AVX-512 OpenBLAS is ahead by 3-15 %. */
#include "kernels/cpu/cpu_device.h"

#include <cblas.h>
#include <limits.h>
#include <string.h>

enum {
    GROUP = 1024,   /* columns of y packed at a time: bounds the scratch, and x is read once per group */
    ROW_BLOCK = 64, /* rows of a unit: a panel that comes from the second cache serves them all */
    DEPTH = 2048,   /* of a product without going back to y */
    LEAST_ROWS = 64 /* below, packing w costs more than it brings */
};

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static void fill_bias(const rs_device *d, const rs_op_matmul *o) {
    const float *bias = rs_cpu_data(&o->bias);
    float *y = rs_cpu_data(&o->y);
    int64_t M = o->y.dim[0], N = o->y.dim[1];
#pragma omp parallel for schedule(static) num_threads(rs_cpu_threads(d, M *N))
    for (int64_t m = 0; m < M; m++) {
        float *row = y + m * o->y.stride[0];
        if (!o->add) memcpy(row, bias, (size_t)N * sizeof *y);
        for (int64_t n = 0; n < N && o->add; n++) row[n] += bias[n];
    }
}

/* Does the product add to what stands in y? */
static bool adds(const rs_op_matmul *o) { return o->add || rs_view_present(&o->bias); }

/* ---- panels ---- */

typedef struct matmul_job {
    const rs_cpu_hot *hot;
    const rs_op_matmul *o;
    int64_t first, cols; /* columns of the group */
    float *panels;       /* [panels of the group, K, panel_cols] */
} matmul_job;

static void pack_weights(const matmul_job *j, int64_t at) {
    const rs_view *w = &j->o->w;
    const float *src = (const float *)rs_cpu_data(w) + (j->first + at) * w->stride[0];
    j->hot->pack_rows(src, w->stride[0], w->dim[1], least(j->hot->panel_cols, j->cols - at),
                      j->panels + at * w->dim[1]);
}

static void multiply_rows(const matmul_job *j, int64_t m) {
    const rs_op_matmul *o = j->o;
    int64_t rows = least(ROW_BLOCK, o->x.dim[0] - m), K = o->x.dim[1], width = j->hot->panel_cols;
    const float *x = (const float *)rs_cpu_data(&o->x) + m * o->x.stride[0];
    float *y = (float *)rs_cpu_data(&o->y) + m * o->y.stride[0] + j->first;
    for (int64_t k = 0; k < K; k += DEPTH) {
        for (int64_t n = 0; n < j->cols; n += width)
            j->hot->panel_tile(rows, least(width, j->cols - n), least(DEPTH, K - k), x + k, o->x.stride[0],
                               j->panels + n * K + k * width, 1.0F, k > 0 || adds(o), y + n, o->y.stride[0]);
    }
}

static rs_status matmul_panels(rs_device *d, const rs_op_matmul *o, rs_error *err) {
    int64_t M = o->y.dim[0], N = o->y.dim[1], K = o->x.dim[1], width = d->hot->panel_cols;
    void *panels = NULL;
    int64_t room = (least(GROUP, N) + width - 1) / width * width;
    rs_status st = rs_cpu_scratch_get(d, RS_CPU_PANELS, (size_t)(room * K) * sizeof(float), &panels, err);
    if (st != RS_OK) return st;
#pragma omp parallel num_threads(rs_cpu_threads(d, M *N))
    for (int64_t first = 0; first < N; first += GROUP) {
        matmul_job j = {.hot = d->hot, .o = o, .first = first, .cols = least(GROUP, N - first), .panels = panels};
#pragma omp for schedule(static)
        for (int64_t at = 0; at < j.cols; at += width) pack_weights(&j, at);
#pragma omp for schedule(dynamic, 1)
        for (int64_t m = 0; m < M; m += ROW_BLOCK) multiply_rows(&j, m);
    }
    return RS_OK;
}

/* ---- BLAS ---- */

/* OpenBLAS is built with 32-bit sizes. */
static rs_status check_sizes(const rs_op_matmul *o, rs_error *err) {
    const int64_t sizes[] = {o->x.dim[0], o->x.dim[1], o->w.dim[0], o->x.stride[0], o->w.stride[0], o->y.stride[0]};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        if (sizes[i] > INT_MAX)
            return rs_fail(err, RS_E_INTERNAL, "op matmul: a size of %lld does not fit the BLAS library",
                           (long long)sizes[i]);
    }
    return RS_OK;
}

/* BLAS wants a row stride of at least the width, even for a single row. */
static int row_stride(const rs_view *v) { return (int)(v->dim[0] == 1 ? v->dim[1] : v->stride[0]); }

static rs_status matmul_blas(const rs_op_matmul *o, rs_error *err) {
    rs_status st = check_sizes(o, err);
    if (st != RS_OK) return st;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)o->y.dim[0], (int)o->y.dim[1], (int)o->x.dim[1], 1.0F,
                rs_cpu_data(&o->x), row_stride(&o->x), rs_cpu_data(&o->w), row_stride(&o->w), adds(o) ? 1.0F : 0.0F,
                rs_cpu_data(&o->y), row_stride(&o->y));
    return RS_OK;
}

rs_status rs_cpu_matmul(rs_device *d, const rs_op *op, rs_error *err) {
    rs_status st = RS_OK;
    rs_op_matmul o = op->u.matmul;
    rs_mem x, w;
    RS_TRY(rs_cpu_rounded(d, RS_CPU_ROUNDED, o.compute, &o.x, &x, err));
    RS_TRY(rs_cpu_rounded(d, RS_CPU_ROUNDED_MORE, o.compute, &o.w, &w, err));
    if (rs_view_present(&o.bias)) fill_bias(d, &o);
    st = d->hot->beats_blas && o.y.dim[0] >= LEAST_ROWS ? matmul_panels(d, &o, err) : matmul_blas(&o, err);
out:
    return st;
}
