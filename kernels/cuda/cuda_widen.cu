/* kernels/cuda/cuda_widen.cu: WIDEN: stored weights to float32 (or on to bfloat16), a few elements a thread. Layouts:
 * docs/formats.md (GGUF blocks, little-endian). A nibble byte holds element j in its low and element j + 16 (or + 32)
 * in its high half. */
#include "kernels/cuda/cuda_device.h"

namespace {

__device__ __forceinline__ uint32_t u16_at(const uint8_t *p) { return (uint32_t)p[0] | (uint32_t)p[1] << 8; }

/* Byte by byte: blocks of odd sizes leave halves at odd addresses. */
__device__ __forceinline__ float half_at(const uint8_t *p) {
    return __half2float(__ushort_as_half((unsigned short)u16_at(p)));
}

__device__ __forceinline__ int nibble(const uint8_t *q, int j, int half) {
    return j < half ? q[j] & 15 : q[j - half] >> 4;
}

/* ---- blocks of 32: value = q d + offset; the fifth bit of element j of q5_* is bit j of a 32-bit word ---- */

__device__ __forceinline__ int fifth_bit(const uint8_t *b, int j) { return (b[j / 8] >> j % 8 & 1) << 4; }

__device__ __forceinline__ float q4_0(const uint8_t *b, int j) {
    return (float)(nibble(b + 2, j, 16) - 8) * half_at(b);
}

/* A product and a sum of their own, as on the CPU and in the published vectors: not one rounding less. */
__device__ __forceinline__ float q4_1(const uint8_t *b, int j) {
    return __fadd_rn(__fmul_rn((float)nibble(b + 4, j, 16), half_at(b)), half_at(b + 2));
}

__device__ __forceinline__ float q5_0(const uint8_t *b, int j) {
    return (float)((nibble(b + 6, j, 16) | fifth_bit(b + 2, j)) - 16) * half_at(b);
}

__device__ __forceinline__ float q5_1(const uint8_t *b, int j) {
    return __fadd_rn(__fmul_rn((float)(nibble(b + 8, j, 16) | fifth_bit(b + 4, j)), half_at(b)), half_at(b + 2));
}

__device__ __forceinline__ float q8_0(const uint8_t *b, int j) { return (float)(int8_t)b[2 + j] * half_at(b); }

/* ---- blocks of 256 ---- */

/* Sub-block s (32 elements) of Q4_K, Q5_K: 6-bit scale and minimum out of 12 bytes. */
__device__ __forceinline__ float k_value(const uint8_t *b, int j, int q) {
    const uint8_t *s = b + 4;
    int i = j / 32;
    int scale = i < 4 ? s[i] & 63 : (s[i + 4] & 15) | s[i - 4] >> 6 << 4;
    int least = i < 4 ? s[i + 4] & 63 : s[i + 4] >> 4 | s[i] >> 6 << 4;
    return __fadd_rn(__fmul_rn(half_at(b) * (float)scale, (float)q), -(half_at(b + 2) * (float)least));
}

__device__ __forceinline__ float q4_k(const uint8_t *b, int j) {
    return k_value(b, j, nibble(b + 16 + j / 64 * 32, j % 64, 32));
}

/* Byte l of the 32 in front holds the fifth bits of elements l, l + 32, l + 64 ... */
__device__ __forceinline__ float q5_k(const uint8_t *b, int j) {
    int fifth = (b[16 + j % 32] >> j / 32 & 1) << 4;
    return k_value(b, j, nibble(b + 48 + j / 64 * 32, j % 64, 32) | fifth);
}

/* Half h of 128 elements: quarter p of 32 has its nibbles in low[32 (p % 2) ..], shifted by 4 (p / 2), its bit pairs in
 * high[..] shifted by 2 p, and a scale per 16. */
__device__ __forceinline__ float q6_k(const uint8_t *b, int j) {
    int h = j / 128, p = j % 128 / 32, l = j % 32;
    const uint8_t *low = b + 64 * h, *high = b + 128 + 32 * h, *scale = b + 192 + 8 * h;
    int q = (low[32 * (p % 2) + l] >> 4 * (p / 2) & 15) | (high[l] >> 2 * p & 3) << 4;
    return half_at(b + 208) * (float)(int8_t)scale[2 * p + l / 16] * (float)(q - 32);
}

/* ---- any type ---- */

template <rs_dtype T> __device__ __forceinline__ float value_at(const uint8_t *src, int64_t i, int64_t block_bytes) {
    const uint8_t *b = src + i / 32 * block_bytes, *k = src + i / 256 * block_bytes;
    switch (T) {
    case RS_F32: return reinterpret_cast<const float *>(src)[i];
    case RS_F64: return (float)reinterpret_cast<const double *>(src)[i];
    case RS_F16: return __half2float(reinterpret_cast<const __half *>(src)[i]);
    case RS_BF16: return __bfloat162float(reinterpret_cast<const __nv_bfloat16 *>(src)[i]);
    case RS_Q4_0: return q4_0(b, (int)(i % 32));
    case RS_Q4_1: return q4_1(b, (int)(i % 32));
    case RS_Q5_0: return q5_0(b, (int)(i % 32));
    case RS_Q5_1: return q5_1(b, (int)(i % 32));
    case RS_Q8_0: return q8_0(b, (int)(i % 32));
    case RS_Q4_K: return q4_k(k, (int)(i % 256));
    case RS_Q5_K: return q5_k(k, (int)(i % 256));
    case RS_Q6_K: return q6_k(k, (int)(i % 256));
    default: return 0;
    }
}

struct widen_args {
    const uint8_t *src;
    float *dst; /* one of the two */
    __nv_bfloat16 *rounded;
    long long *bad; /* [1] | NULL: smallest index that is not finite */
    int64_t n, block_bytes;
};

enum { WIDEN_THREADS = 256, WIDEN_EACH = 4 }; /* elements a thread, so that its loads wait side by side */

template <rs_dtype T> __global__ void __launch_bounds__(WIDEN_THREADS) widen_values(widen_args a) {
    int64_t step = (int64_t)gridDim.x * WIDEN_THREADS * WIDEN_EACH;
    for (int64_t at = (int64_t)blockIdx.x * WIDEN_THREADS * WIDEN_EACH + threadIdx.x; at < a.n; at += step) {
        float v[WIDEN_EACH];
#pragma unroll
        for (int u = 0; u < WIDEN_EACH; u++) {
            int64_t i = at + u * WIDEN_THREADS;
            v[u] = i < a.n ? value_at<T>(a.src, i, a.block_bytes) : 0.0F;
        }
#pragma unroll
        for (int u = 0; u < WIDEN_EACH; u++) {
            int64_t i = at + u * WIDEN_THREADS;
            if (i >= a.n) break;
            if (a.rounded) a.rounded[i] = __float2bfloat16_rn(v[u]);
            else a.dst[i] = v[u];
            if (a.bad && (__float_as_uint(v[u]) & 0x7F800000U) == 0x7F800000U) atomicMin(a.bad, (long long)i);
        }
    }
}

typedef void widen_kernel(widen_args a);

widen_kernel *kernel_of(rs_dtype t) {
    switch (t) {
    case RS_F32: return widen_values<RS_F32>;
    case RS_F64: return widen_values<RS_F64>;
    case RS_F16: return widen_values<RS_F16>;
    case RS_BF16: return widen_values<RS_BF16>;
    case RS_Q4_0: return widen_values<RS_Q4_0>;
    case RS_Q4_1: return widen_values<RS_Q4_1>;
    case RS_Q5_0: return widen_values<RS_Q5_0>;
    case RS_Q5_1: return widen_values<RS_Q5_1>;
    case RS_Q8_0: return widen_values<RS_Q8_0>;
    case RS_Q4_K: return widen_values<RS_Q4_K>;
    case RS_Q5_K: return widen_values<RS_Q5_K>;
    case RS_Q6_K: return widen_values<RS_Q6_K>;
    default: return nullptr;
    }
}

} // namespace

rs_status rs_cuda_widen(rs_device *d, const rs_op *op, rs_error *err) {
    const rs_op_widen *o = &op->u.widen;
    widen_kernel *kernel = kernel_of(o->src.dtype);
    widen_args a = {};
    a.src = rs_cuda_data<uint8_t>(&o->src);
    if (o->dst.dtype == RS_BF16) a.rounded = rs_cuda_data<__nv_bfloat16>(&o->dst);
    else a.dst = rs_cuda_data<float>(&o->dst);
    a.bad = rs_cuda_data<long long>(&o->bad);
    a.n = o->dst.dim[0];
    a.block_bytes = rs_dtype_block_bytes(o->src.dtype);
    if (!kernel) return rs_fail(err, RS_E_INTERNAL, "op widen: no kernel for type %s", rs_dtype_name(o->src.dtype));
    return rs_cuda_launch(d, "widen", kernel, dim3(rs_cuda_blocks(a.n, WIDEN_THREADS * WIDEN_EACH)),
                          dim3(WIDEN_THREADS), 0, err, a);
}
