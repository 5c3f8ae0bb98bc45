/* kernels/cpu/cpu_matmul.c: y = x w^T + bias through OpenBLAS. */
#include "kernels/cpu/cpu_device.h"

#include <cblas.h>
#include <limits.h>
#include <string.h>

/* OpenBLAS is built with 32-bit sizes. */
static rs_status check_sizes(const rs_op_matmul *o, rs_error *err) {
    const int64_t sizes[] = {o->x.dim[0], o->x.dim[1], o->w.dim[0], o->x.stride[0], o->w.stride[0], o->y.stride[0]};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        if (sizes[i] > INT_MAX)
            return rs_fail(err, RS_E_INTERNAL, "op matmul: a size of %lld does not fit the BLAS library", (long long)sizes[i]);
    }
    return RS_OK;
}

/* BLAS wants a row stride of at least the width, even for a single row. */
static int row_stride(const rs_view *v) { return (int)(v->dim[0] == 1 ? v->dim[1] : v->stride[0]); }

rs_status rs_cpu_matmul(rs_device *d, const rs_op *op, rs_error *err) {
    const rs_op_matmul *o = &op->u.matmul;
    const float *x = rs_cpu_data(&o->x), *w = rs_cpu_data(&o->w), *bias = rs_cpu_data(&o->bias);
    float *y = rs_cpu_data(&o->y);
    int64_t M = o->y.dim[0], N = o->y.dim[1], K = o->x.dim[1];
    rs_status st = check_sizes(o, err);
    if (st != RS_OK) return st;
    if (bias) {
#pragma omp parallel for schedule(static) num_threads(rs_cpu_threads(d, M *N))
        for (int64_t m = 0; m < M; m++) memcpy(y + m * o->y.stride[0], bias, (size_t)N * sizeof *y);
    }
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)M, (int)N, (int)K, 1.0F, x, row_stride(&o->x), w, row_stride(&o->w),
                bias ? 1.0F : 0.0F, y, row_stride(&o->y));
    return RS_OK;
}
