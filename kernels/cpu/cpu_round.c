/* kernels/cpu/cpu_round.c: inputs of products rounded as tensor cores round them, so that the CPU says what a card
 * computes with TF32 or bfloat16. The products themselves stay float32. */
#include "kernels/cpu/cpu_device.h"

#include <string.h>

static uint32_t bits_of(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static float float_of(uint32_t u) {
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* x with its last `dropped` bits rounded away, to nearest, ties to even; NaN and infinity as they are. */
static float rounded(float x, int dropped) {
    uint32_t u = bits_of(x), half = (1U << (dropped - 1)) - 1, odd = u >> dropped & 1U;
    if ((u & 0x7F800000U) == 0x7F800000U) return x;
    return float_of((u + half + odd) >> dropped << dropped);
}

enum { BF16_DROPPED = 16, TF32_DROPPED = 13 };

void rs_cpu_to_bf16(const float *src, uint16_t *dst, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        uint32_t u = bits_of(rounded(src[i], BF16_DROPPED));
        /* A NaN whose bits stand behind the sixteenth must not become an infinity. */
        dst[i] = (uint16_t)(src[i] != src[i] ? u >> 16 | 0x40U : u >> 16);
    }
}

/* Element i in packed order stands at *at. */
static int64_t element_at(const rs_view *v, int64_t i) {
    int64_t at = 0;
    for (int axis = v->n_dims - 1; axis >= 0; axis--) {
        at += i % v->dim[axis] * v->stride[axis];
        i /= v->dim[axis];
    }
    return at;
}

static void round_row(const rs_view *v, int64_t at, int64_t n, rs_compute compute, float *to) {
    int dropped = compute == RS_COMPUTE_TF32 ? TF32_DROPPED : BF16_DROPPED;
    if (v->dtype == RS_BF16) {
        const uint16_t *from = (const uint16_t *)rs_cpu_data(v) + at;
        for (int64_t i = 0; i < n; i++) to[i] = float_of((uint32_t)from[i] << 16);
        return;
    }
    const float *from = (const float *)rs_cpu_data(v) + at;
    for (int64_t i = 0; i < n; i++) to[i] = rounded(from[i], dropped);
}

rs_status rs_cpu_rounded(rs_device *d, rs_cpu_scratch slot, rs_compute compute, rs_view *v, rs_mem *mem,
                         rs_error *err) {
    void *memory = NULL;
    int64_t n = rs_view_size(v), width = v->dim[v->n_dims - 1], stride = 1;
    if (compute == RS_COMPUTE_F32 && v->dtype == RS_F32) return RS_OK;
    rs_status st = rs_cpu_scratch_get(d, slot, (size_t)n * sizeof(float), &memory, err);
    if (st != RS_OK) return st;
    float *to = memory;
#pragma omp parallel for schedule(static) num_threads(rs_cpu_threads(d, n))
    for (int64_t i = 0; i < n; i += width) round_row(v, element_at(v, i), width, compute, to + i);
    *mem = (rs_mem){.bytes = (size_t)n * sizeof(float), .data = memory};
    v->mem = mem;
    v->offset = 0;
    v->dtype = RS_F32;
    for (int axis = v->n_dims - 1; axis >= 0; axis--) {
        v->stride[axis] = stride;
        stride *= v->dim[axis];
    }
    return RS_OK;
}
