/* kernels/cpu/hot_math.h: vectors of one level, and branch-free exp, tanh, erf that vectorise. Part of hot.c.
 * The polynomials are our own minimax fits (reweighted least squares in float64, then rounded); their errors stand
 * beside them. */
#ifndef RS_KERNELS_CPU_HOT_MATH_H
#define RS_KERNELS_CPU_HOT_MATH_H

#include "kernels/cpu/hot.h"

#include <math.h>
#include <string.h>

#if defined(__AVX512F__)
enum { LANES = 16 };
#elif defined(__AVX2__)
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif

/* Standard C has no way to say that a tile of sums stays in vector registers; GCC's and Clang's vector type does. */
typedef float lanes __attribute__((vector_size(LANES * sizeof(float))));

enum { STRETCH = 1024 }; /* entries summed in float32 lanes before they go to float64 */

static inline lanes load(const float *p) {
    lanes v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void store(float *p, lanes v) { memcpy(p, &v, sizeof v); }

static inline uint32_t bits_of(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static inline float float_of(uint32_t u) {
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* x = n ln 2 + r, |r| <= ln 2 / 2: returns e^r (relative error 3e-9 before rounding), *n as two's complement.
 * Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits. ln 2 in two parts: the first one times n is
 * exact. */
static inline float exp_reduced(float x, uint32_t *n) {
    const float magic = 12582912.0F;
    float t = x * 1.44269504F + magic;
    *n = bits_of(t) - bits_of(magic);
    t -= magic;
    float r = x - t * 0.693359375F;
    r += t * 2.12194440e-4F;
    float p = 0.0013950599823F;
    p = p * r + 0.0083689540625F;
    p = p * r + 0.0416662059724F;
    p = p * r + 0.1666651815176F;
    p = p * r + 0.5F;
    return 1.0F + (r + r * r * p);
}

/* e^x for x <= 0; 0 where the result would be subnormal (below 1.2e-38). NaN stays NaN. */
static inline float exp_below_zero(float x) {
    uint32_t n;
    float e = exp_reduced(x, &n) * float_of((n + 127U) << 23);
    return x < -87.3365F ? 0.0F : e;
}

/* e^x for all x: the power of two goes on in two steps, so that the ends overflow and underflow as they should. */
static inline float exp_any(float x) {
    uint32_t n;
    x = x > 88.8F ? 88.8F : x;
    x = x < -104.0F ? -104.0F : x;
    float e = exp_reduced(x, &n);
    int32_t half = (int32_t)n / 2, rest = (int32_t)n - half;
    return e * float_of(((uint32_t)half + 127U) << 23) * float_of(((uint32_t)rest + 127U) << 23);
}

/* Below 0.625 x + x^3 P(x^2) (relative error 5e-9), above 1 - 2 / (e^{2|x|} + 1), whose subtraction loses nothing
 * there. */
static inline float tanh_any(float x) {
    float a = fabsf(x), s = x * x;
    float p = -0.0056607802399F;
    p = p * s + 0.0206019990146F;
    p = p * s - 0.0537292286754F;
    p = p * s + 0.1333132833242F;
    p = p * s - 0.3333327770233F;
    float large = 1.0F - 2.0F / (exp_any(2.0F * (a > 10.0F ? 10.0F : a)) + 1.0F);
    return a < 0.625F ? x + x * s * p : copysignf(large, x);
}

/* Below 0.925 x P(x^2) (relative error 2e-8), above 1 - exp(-Q(|x|)) with Q = -ln erfc (absolute error 2e-9); erf(4)
 * rounds to 1. */
static inline float erf_any(float x) {
    float a = fabsf(x), s = x * x, t = a > 4.0F ? 4.0F : a;
    float p = -0.00058867735786F;
    p = p * s + 0.00497311679646F;
    p = p * s - 0.02675333432853F;
    p = p * s + 0.11281466484070F;
    p = p * s - 0.37612462043762F;
    p = p * s + 1.12837910652161F;
    float q = -0.000197182627744F;
    q = q * t + 0.003055615816265F;
    q = q * t - 0.022277116775513F;
    q = q * t + 0.104037418961525F;
    q = q * t + 0.637059688568115F;
    q = q * t + 1.127749562263489F;
    q = q * t + 0.000177487221663F;
    float large = 1.0F - exp_any(-q);
    return a < 0.925F ? x * p : copysignf(large, x);
}

#endif
