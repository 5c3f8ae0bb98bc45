/* tests/support/cuda_host/cuda_bf16.h: stands for the toolkit's header of this name: bfloat16, the upper half of a
 * float32, rounded to nearest with ties to even; a NaN stays one. */
#ifndef RS_TESTS_CUDA_BF16_H
#define RS_TESTS_CUDA_BF16_H

#include "emulated_language.h"

struct __nv_bfloat16 {
    unsigned short bits;
};
struct alignas(4) __nv_bfloat162 {
    __nv_bfloat16 x, y;
};

inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short bits) { return {bits}; }
inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 h) { return h.bits; }

inline float __bfloat162float(__nv_bfloat16 h) { return __uint_as_float(static_cast<unsigned>(h.bits) << 16); }
inline __nv_bfloat16 __float2bfloat16_rn(float x) {
    unsigned u = __float_as_uint(x);
    if (x != x) return {0x7FFF}; /* the card's one NaN */
    /* Half of the last kept bit, less one where that bit is even: a carry runs up into the exponent, at last to
     * infinity. */
    return {static_cast<unsigned short>((u + 0x7FFFU + (u >> 16 & 1U)) >> 16)};
}
inline __nv_bfloat16 __float2bfloat16(float x) { return __float2bfloat16_rn(x); }
inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y) {
    return {__float2bfloat16_rn(x), __float2bfloat16_rn(y)};
}
inline float2 __bfloat1622float2(__nv_bfloat162 v) { return {__bfloat162float(v.x), __bfloat162float(v.y)}; }

#endif
