/* tests/support/cuda_host/cuda_fp16.h: stands for the toolkit's header of this name: IEEE binary16, rounded to nearest
 * with ties to even, subnormals kept, infinity beyond 65504, a NaN stays one. */
#ifndef RS_TESTS_CUDA_FP16_H
#define RS_TESTS_CUDA_FP16_H

#include "emulated_language.h"

struct __half {
    unsigned short bits;
};
struct alignas(4) __half2 {
    __half x, y;
};
typedef __half half;
typedef __half2 half2;

inline __half __ushort_as_half(unsigned short bits) { return {bits}; }
inline unsigned short __half_as_ushort(__half h) { return h.bits; }

inline float __half2float(__half h) {
    unsigned sign = (h.bits & 0x8000U) << 16, exponent = h.bits >> 10 & 31U, fraction = h.bits & 0x3FFU;
    if (exponent == 31) return __uint_as_float(sign | 0x7F800000U | fraction << 13);
    if (exponent != 0) return __uint_as_float(sign | (exponent + 112) << 23 | fraction << 13);
    float value = static_cast<float>(fraction) * 0x1p-24F; /* exact */
    return sign ? -value : value;
}

inline __half __float2half_rn(float x) {
    unsigned u = __float_as_uint(x), sign = u >> 16 & 0x8000U, magnitude = u & 0x7FFFFFFFU;
    if (magnitude > 0x7F800000U) return {0x7FFF};                                       /* NaN */
    if (magnitude >= 0x47800000U) return {static_cast<unsigned short>(sign | 0x7C00U)}; /* 65536 and more */
    if (magnitude >= 0x38800000U) {                                                     /* 2^-14 and more */
        unsigned rounded = magnitude - (112U << 23) + 0xFFFU + (magnitude >> 13 & 1U);
        return {static_cast<unsigned short>(sign | rounded >> 13)};
    }
    /* Adding 2^-1 leaves multiples of 2^-24, a subnormal's unit, in the last bits, rounded by the hardware. */
    unsigned units = __float_as_uint(__uint_as_float(magnitude) + 0.5F) - 0x3F000000U;
    return {static_cast<unsigned short>(sign | units)};
}
inline __half __float2half(float x) { return __float2half_rn(x); }
inline __half2 __floats2half2_rn(float x, float y) { return {__float2half_rn(x), __float2half_rn(y)}; }
inline float2 __half22float2(__half2 v) { return {__half2float(v.x), __half2float(v.y)}; }

#endif
