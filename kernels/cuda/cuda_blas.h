/* kernels/cuda/cuda_blas.h: what the ops of this folder that are products have in common: sizes as cuBLAS takes them,
 * and inputs in the type in which they are multiplied. */
#ifndef RS_KERNELS_CUDA_BLAS_H
#define RS_KERNELS_CUDA_BLAS_H

#include "kernels/cuda/cuda_device.h"

#include <limits.h>

/* cuBLAS takes 32-bit sizes. RS_E_INTERNAL naming the op where one does not fit. */
inline rs_status rs_cuda_size(const char *op, int64_t size, int *out, rs_error *err) {
    *out = (int)size;
    if (size <= INT_MAX) return RS_OK;
    return rs_fail(err, RS_E_INTERNAL, "op %s: a size of %lld does not fit the BLAS library", op, (long long)size);
}

/* Stride of an axis with so many entries; of a single one it does not matter, and `least` pleases cuBLAS. */
inline int64_t rs_cuda_stride(int64_t entries, int64_t stride, int64_t least) { return entries == 1 ? least : stride; }

/* An input of a product: where its first element is, its strides in elements, its type. */
struct rs_cuda_input {
    const char *data;
    int64_t stride[3]; /* as in the view */
    cudaDataType_t type;
    int64_t bytes; /* of an element */
};

/* The view as the product takes it: for RS_COMPUTE_BF16 float32 values are rounded into scratch of that slot, packed;
 * otherwise the view itself. cuda_matmul.cu */
rs_status rs_cuda_take_input(rs_device *d, rs_cuda_scratch slot, rs_compute compute, const rs_view *v,
                             rs_cuda_input *out, rs_error *err);

/* How cuBLAS is to multiply. float32 inputs are multiplied as such unless TF32 was asked for. */
inline cublasComputeType_t rs_cuda_compute_type(rs_compute compute) {
    return compute == RS_COMPUTE_TF32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
}

#endif
