/* tests/support/cuda_emulated/cuda_bf16.h: bfloat16 as kernels/cuda uses it: round to nearest, ties to even; NaN stays
 * one. */
#ifndef RS_TESTS_CUDA_BF16_H
#define RS_TESTS_CUDA_BF16_H

#include "cuda_runtime.h"

struct __nv_bfloat16 {
    unsigned short bits;
};

inline __nv_bfloat16 __float2bfloat16_rn(float x) {
    unsigned u = __float_as_uint(x);
    if (x != x) return {0x7FFF}; /* the one NaN that the hardware gives */
    return {(unsigned short)((u + 0x7FFFU + (u >> 16 & 1U)) >> 16)};
}
inline float __bfloat162float(__nv_bfloat16 x) { return __uint_as_float((unsigned)x.bits << 16); }

#endif
