/* kernels/cpu/hot_widen.h: stored weights to float32. Part of hot.c. Layouts: docs/formats.md (GGUF blocks,
 * little-endian). A nibble byte holds element j in its low and element j + 16 (or + 32) in its high half. */
#ifndef RS_KERNELS_CPU_HOT_WIDEN_H
#define RS_KERNELS_CPU_HOT_WIDEN_H

#include "kernels/cpu/hot_math.h"

/* IEEE half: the exponent is moved by a multiplication, which is exact for subnormal halves too; infinity and NaN
 * apart. */
static inline float half_to_float(uint32_t h) {
    uint32_t magnitude = (h & 0x7FFFU) << 13, sign = (h & 0x8000U) << 16;
    float f = float_of(magnitude) * 0x1p112F;
    uint32_t out = (h & 0x7C00U) == 0x7C00U ? magnitude | 0x7F800000U : bits_of(f);
    return float_of(out | sign);
}

static inline uint32_t u16_at(const uint8_t *p) { return (uint32_t)p[0] | (uint32_t)p[1] << 8; }

static inline uint32_t u32_at(const uint8_t *p) { return u16_at(p) | u16_at(p + 2) << 16; }

static inline float half_at(const uint8_t *p) { return half_to_float(u16_at(p)); }

static void widen_f32(const uint8_t *src, float *dst, int64_t n) { memcpy(dst, src, (size_t)n * sizeof *dst); }

static void widen_f64(const uint8_t *src, float *dst, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        double v;
        memcpy(&v, src + 8 * i, sizeof v);
        dst[i] = (float)v;
    }
}

static void widen_f16(const uint8_t *src, float *dst, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        uint16_t h;
        memcpy(&h, src + 2 * i, sizeof h);
        dst[i] = half_to_float(h);
    }
}

static void widen_bf16(const uint8_t *src, float *dst, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        uint16_t h;
        memcpy(&h, src + 2 * i, sizeof h);
        dst[i] = float_of((uint32_t)h << 16);
    }
}

/* ---- blocks of 32: value = q d + offset ---- */

static void q4_0(const uint8_t *b, float *y) {
    float d = half_at(b);
    for (int j = 0; j < 16; j++) {
        y[j] = (float)((b[2 + j] & 15) - 8) * d;
        y[j + 16] = (float)((b[2 + j] >> 4) - 8) * d;
    }
}

static void q4_1(const uint8_t *b, float *y) {
    float d = half_at(b), m = half_at(b + 2);
    for (int j = 0; j < 16; j++) {
        y[j] = (float)(b[4 + j] & 15) * d + m;
        y[j + 16] = (float)(b[4 + j] >> 4) * d + m;
    }
}

/* q5_0, q5_1: the fifth bit of element j is bit j of a 32-bit word in front of the nibbles. */
static void fifth_bit(const uint8_t *b, int *q) {
    uint32_t high = u32_at(b);
    for (int j = 0; j < 16; j++) {
        q[j] = (b[4 + j] & 15) | (int)((high >> j & 1U) << 4);
        q[j + 16] = (b[4 + j] >> 4) | (int)((high >> (j + 16) & 1U) << 4);
    }
}

static void q5_0(const uint8_t *b, float *y) {
    int q[32];
    float d = half_at(b);
    fifth_bit(b + 2, q);
    for (int j = 0; j < 32; j++) y[j] = (float)(q[j] - 16) * d;
}

static void q5_1(const uint8_t *b, float *y) {
    int q[32];
    float d = half_at(b), m = half_at(b + 2);
    fifth_bit(b + 4, q);
    for (int j = 0; j < 32; j++) y[j] = (float)q[j] * d + m;
}

static void q8_0(const uint8_t *b, float *y) {
    float d = half_at(b);
    for (int j = 0; j < 32; j++) y[j] = (float)(int8_t)b[2 + j] * d;
}

/* ---- blocks of 256 ---- */

/* Sub-block j of Q4_K, Q5_K: 6-bit scale and minimum out of 12 bytes. */
static void scale_and_min(const uint8_t *s, int j, float d, float dmin, float *scale, float *least) {
    int sc = j < 4 ? s[j] & 63 : (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
    int mn = j < 4 ? s[j + 4] & 63 : s[j + 4] >> 4 | (s[j] >> 6) << 4;
    *scale = d * (float)sc;
    *least = dmin * (float)mn;
}

/* 32 bytes -> 64 elements, twice 32 with a sub-block each; high: byte l holds the fifth bits at `bit` and `bit` + 1. */
static void nibbles_64(const uint8_t *q, const uint8_t *high, int bit, const float scale[2], const float least[2],
                       float *y) {
    for (int l = 0; l < 32; l++) {
        int h = high ? high[l] >> bit : 0;
        y[l] = scale[0] * (float)((q[l] & 15) + ((h & 1) << 4)) - least[0];
        y[l + 32] = scale[1] * (float)((q[l] >> 4) + ((h & 2) << 3)) - least[1];
    }
}

static void k_block(const uint8_t *b, const uint8_t *high, const uint8_t *q, float *y) {
    float d = half_at(b), dmin = half_at(b + 2), scale[2], least[2];
    for (int g = 0; g < 4; g++) {
        scale_and_min(b + 4, 2 * g, d, dmin, &scale[0], &least[0]);
        scale_and_min(b + 4, 2 * g + 1, d, dmin, &scale[1], &least[1]);
        nibbles_64(q + 32 * (ptrdiff_t)g, high, 2 * g, scale, least, y + 64 * (ptrdiff_t)g);
    }
}

static void q4_k(const uint8_t *b, float *y) { k_block(b, NULL, b + 16, y); }

static void q5_k(const uint8_t *b, float *y) { k_block(b, b + 16, b + 48, y); }

/* 16 elements of Q6_K: nibbles of low shifted by `nibble` (0 or 4), bit pairs of high shifted by `pair`, one scale. */
static inline void q6_part(const uint8_t *low, int nibble, const uint8_t *high, int pair, uint8_t scale, float d,
                           float *y) {
    float step = d * (float)(int8_t)scale;
    for (int l = 0; l < 16; l++) y[l] = step * (float)(((low[l] >> nibble & 15) | (high[l] >> pair & 3) << 4) - 32);
}

/* Half h: 64 low bytes, 32 bytes of high bit pairs, 8 scales of 16 elements each. */
static void q6_k(const uint8_t *b, float *y) {
    float d = half_at(b + 208);
    for (ptrdiff_t h = 0; h < 2; h++) {
        const uint8_t *low = b + 64 * h, *high = b + 128 + 32 * h, *scale = b + 192 + 8 * h;
        for (int i = 0; i < 2; i++, low += 16, high += 16, y += 16) {
            q6_part(low, 0, high, 0, scale[i], d, y);
            q6_part(low + 32, 0, high, 2, scale[2 + i], d, y + 32);
            q6_part(low, 4, high, 4, scale[4 + i], d, y + 64);
            q6_part(low + 32, 4, high, 6, scale[6 + i], d, y + 96);
        }
        y += 96;
    }
}

typedef void block_fn(const uint8_t *block, float *y);

static block_fn *block_of(rs_dtype t) {
    switch (t) {
    case RS_Q4_0: return q4_0;
    case RS_Q4_1: return q4_1;
    case RS_Q5_0: return q5_0;
    case RS_Q5_1: return q5_1;
    case RS_Q8_0: return q8_0;
    case RS_Q4_K: return q4_k;
    case RS_Q5_K: return q5_k;
    case RS_Q6_K: return q6_k;
    default: return NULL;
    }
}

static void widen(rs_dtype t, const void *src, float *dst, int64_t n) {
    const uint8_t *bytes = src;
    block_fn *block = block_of(t);
    if (t == RS_F32) widen_f32(bytes, dst, n);
    if (t == RS_F64) widen_f64(bytes, dst, n);
    if (t == RS_F16) widen_f16(bytes, dst, n);
    if (t == RS_BF16) widen_bf16(bytes, dst, n);
    if (!block) return;
    int64_t elements = rs_dtype_block(t), step = rs_dtype_block_bytes(t);
    for (int64_t i = 0; i * elements < n; i++) block(bytes + i * step, dst + i * elements);
}

static bool all_finite(const float *x, int64_t n) {
    int bad = 0;
#pragma omp simd reduction(| : bad)
    for (int64_t i = 0; i < n; i++) bad |= (bits_of(x[i]) & 0x7F800000U) == 0x7F800000U;
    return bad == 0;
}

static int64_t first_bad(const float *x, int64_t n) {
    for (int64_t at = 0; at < n; at += STRETCH) {
        int64_t end = at + STRETCH < n ? at + STRETCH : n;
        if (all_finite(x + at, end - at)) continue;
        for (int64_t i = at; i < end; i++) {
            if (!all_finite(x + i, 1)) return i;
        }
    }
    return n;
}

#endif
