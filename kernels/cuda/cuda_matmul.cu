/* kernels/cuda/cuda_matmul.cu: y = x w^T + bias, or that added to y, by cuBLAS. cuBLAS counts columns first, so our
 * row-major y[M,N] is its y[N,M] = w x^T with w transposed. */
#include "kernels/cuda/cuda_blas.h"

namespace {

struct bias_args {
    const float *bias; /* [cols] */
    float *y;
    int64_t row, rows, cols;
    bool add;
};

__global__ void __launch_bounds__(256) fill_bias(bias_args a) {
    int64_t c = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (c >= a.cols) return;
    float bias = a.bias[c];
    for (int64_t r = blockIdx.y; r < a.rows; r += gridDim.y) {
        float *y = a.y + r * a.row + c;
        *y = a.add ? *y + bias : bias;
    }
}

struct round_args {
    const float *x;
    __nv_bfloat16 *y; /* packed */
    int64_t dim[3], stride[3];
};

/* One thread, one element of the last axis of blockIdx.y-th row after row. */
__global__ void __launch_bounds__(256) round_rows(round_args a) {
    int64_t c = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (c >= a.dim[2]) return;
    for (int64_t r = blockIdx.y; r < a.dim[0] * a.dim[1]; r += gridDim.y)
        a.y[r * a.dim[2] + c] = __float2bfloat16_rn(a.x[r / a.dim[1] * a.stride[0] + r % a.dim[1] * a.stride[1] + c]);
}

/* The same, four elements a thread, rows one behind the other: a narrow row would leave most of a block idle. */
__global__ void __launch_bounds__(256) round_fours(round_args a) {
    int64_t width = a.dim[2] / 4, n = a.dim[0] * a.dim[1] * width, step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) {
        int64_t r = i / width, c = 4 * (i % width);
        const float *x = a.x + r / a.dim[1] * a.stride[0] + r % a.dim[1] * a.stride[1] + c;
        rs_vector_store(a.y + r * a.dim[2] + c, rs_cuda_round_four(rs_vector_load<float4>(x)));
    }
}

} // namespace

rs_status rs_cuda_take_input(rs_device *d, rs_cuda_scratch slot, rs_compute compute, const rs_view *v,
                             rs_cuda_input *out, rs_error *err) {
    rs_status st = RS_OK;
    void *memory = nullptr;
    bool half = v->dtype == RS_BF16;
    int64_t packed = 1;
    bool fours = rs_cuda_in_fours(v);
    *out = {rs_cuda_data<char>(v),
            {v->stride[0], v->stride[1], v->stride[2]},
            half ? CUDA_R_16BF : CUDA_R_32F,
            half ? 2 : 4};
    if (half || compute != RS_COMPUTE_BF16) return RS_OK;
    round_args a = {};
    int outer = 3 - v->n_dims; /* axes of size 1 in front */
    for (int i = 0; i < 3; i++) {
        a.dim[i] = i < outer ? 1 : v->dim[i - outer];
        a.stride[i] = i < outer ? 0 : v->stride[i - outer];
    }
    RS_TRY(rs_cuda_scratch_get(d, slot, (size_t)rs_view_size(v) * sizeof *a.y, &memory, err));
    a.x = rs_cuda_data<float>(v);
    a.y = static_cast<__nv_bfloat16 *>(memory);
    if (fours)
        RS_TRY(rs_cuda_launch(d, "rounding", round_fours, dim3(rs_cuda_blocks(rs_view_size(v) / 4, 256)), dim3(256), 0,
                              err, a));
    else
        RS_TRY(rs_cuda_launch(d, "rounding", round_rows,
                              dim3(rs_cuda_blocks(a.dim[2], 256, INT32_MAX), rs_cuda_rows(a.dim[0] * a.dim[1])),
                              dim3(256), 0, err, a));
    *out = {static_cast<const char *>(memory), {0, 0, 0}, CUDA_R_16BF, 2};
    for (int i = v->n_dims - 1; i >= 0; packed *= v->dim[i--]) out->stride[i] = packed;
out:
    return st;
}

rs_status rs_cuda_matmul(rs_device *d, const rs_op *op, rs_error *err) {
    rs_status st = RS_OK;
    const rs_op_matmul *o = &op->u.matmul;
    bool biased = rs_view_present(&o->bias);
    const float one = 1.0F, beta = biased || o->add ? 1.0F : 0.0F;
    int64_t M = o->y.dim[0], N = o->y.dim[1], K = o->x.dim[1];
    rs_cuda_input x = {}, w = {};
    int m = 0, n = 0, k = 0, ldw = 0, ldx = 0, ldy = 0;
    RS_TRY(rs_cuda_take_input(d, RS_CUDA_ROUNDED, o->compute, &o->x, &x, err));
    RS_TRY(rs_cuda_take_input(d, RS_CUDA_ROUNDED_MORE, o->compute, &o->w, &w, err));
    RS_TRY(rs_cuda_size("matmul", M, &m, err));
    RS_TRY(rs_cuda_size("matmul", N, &n, err));
    RS_TRY(rs_cuda_size("matmul", K, &k, err));
    RS_TRY(rs_cuda_size("matmul", rs_cuda_stride(N, w.stride[0], K), &ldw, err));
    RS_TRY(rs_cuda_size("matmul", rs_cuda_stride(M, x.stride[0], K), &ldx, err));
    RS_TRY(rs_cuda_size("matmul", rs_cuda_stride(M, o->y.stride[0], N), &ldy, err));
    if (biased) {
        bias_args a = {rs_cuda_data<float>(&o->bias), rs_cuda_data<float>(&o->y), o->y.stride[0], m, n, o->add};
        RS_TRY(rs_cuda_launch(d, "matmul", fill_bias, dim3(rs_cuda_blocks(n, 256, INT32_MAX), rs_cuda_rows(m)),
                              dim3(256), 0, err, a));
    }
    RS_TRY(rs_cuda_blas_status(cublasGemmEx(d->blas, CUBLAS_OP_T, CUBLAS_OP_N, n, m, k, &one, w.data, w.type, ldw,
                                            x.data, x.type, ldx, &beta, rs_cuda_data<float>(&o->y), CUDA_R_32F, ldy,
                                            rs_cuda_compute_type(o->compute), CUBLAS_GEMM_DEFAULT),
                               "matmul", err));
out:
    return st;
}
