/* tests/support/cuda_emulated/cuda_fp16.h: IEEE half as kernels/cuda uses it. */
#ifndef RS_TESTS_CUDA_FP16_H
#define RS_TESTS_CUDA_FP16_H

#include "cuda_runtime.h"

struct __half {
    unsigned short bits;
};

inline __half __ushort_as_half(unsigned short bits) { return {bits}; }

inline float __half2float(__half x) {
    int exponent = x.bits >> 10 & 31;
    unsigned fraction = x.bits & 1023U;
    float sign = x.bits & 0x8000U ? -1.0F : 1.0F;
    if (exponent == 31) return fraction ? __uint_as_float(0x7FC00000U) : sign * INFINITY;
    if (exponent == 0) return sign * std::ldexp((float)fraction, -24);
    return sign * std::ldexp((float)(fraction + 1024U), exponent - 25);
}

#endif
