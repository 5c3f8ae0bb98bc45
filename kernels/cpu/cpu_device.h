/* kernels/cpu/cpu_device.h: inside of the CPU backend: the device, its memory, its scratch, and the functions that run
 * one op. An op function cuts its work into units that do not depend on the number of threads and lets OpenMP hand them
 * out; every unit writes places of its own, so no sum depends on who ran what. For kernels/cpu alone. */
#ifndef RS_KERNELS_CPU_DEVICE_H
#define RS_KERNELS_CPU_DEVICE_H

#include "analyzer/base/alloc.h"
#include "kernels/backend.h"
#include "kernels/cpu/hot.h"
#include "kernels/memory.h"

/* Memory that ops need for the time of one op; grows once, freed with the device. */
typedef enum rs_cpu_scratch {
    RS_CPU_PANELS,   /* packed keys or values; rotated keys of LOGIT_SAMPLE */
    RS_CPU_PRODUCTS, /* products of LOGIT_SAMPLE */
    RS_CPU_QUERIES,  /* rotated queries and sums of LOGIT_SAMPLE */
    RS_CPU_INDEX,    /* index tables made up by an op */
    RS_CPU_ROUNDED,  /* inputs of a product, rounded */
    RS_CPU_ROUNDED_MORE,
    RS_CPU_TILE,    /* pattern of ATTEND */
    RS_CPU_SIGNALS, /* signals and spectra of each thread */
    RS_CPU_SCRATCHES
} rs_cpu_scratch;

typedef struct rs_cpu_plans rs_cpu_plans; /* of Fourier transforms */

struct rs_device {
    const rs_cpu_hot *hot;
    rs_cpu_plans *plans; /* NULL until one is needed */
    int threads;
    uint64_t allocated, peak;
    struct {
        void *data;
        size_t bytes;
    } scratch[RS_CPU_SCRATCHES];
};

/* *out: at least bytes, contents undefined, 64-byte aligned, the device's until the next call for the same slot. */
rs_status rs_cpu_scratch_get(rs_device *d, rs_cpu_scratch slot, size_t bytes, void **out, rs_error *err);

/* First element of a view; NULL when it is absent. Bounds were checked before the op was called. */
static inline void *rs_cpu_data(const rs_view *v) { return v->mem ? v->mem->data + v->offset : NULL; }

/* Threads for an op of so many units of work (about one per float operation): small ones do not pay for waking the
 * others. */
static inline int rs_cpu_threads(const rs_device *d, int64_t units) { return units < 32768 ? 1 : d->threads; }

/* Every index of list[n] in [least, limit)? RS_E_INTERNAL naming op and argument otherwise. */
rs_status rs_cpu_check_index(const char *op, const char *argument, const int32_t *list, int64_t n, int64_t least,
                             int64_t limit, rs_error *err);

/* Inputs of a product as it takes them (cpu_round.c): with RS_COMPUTE_F32 and a float32 view nothing happens; otherwise
 * *v becomes a packed float32 view of *mem, scratch of that slot, with the values rounded. */
rs_status rs_cpu_rounded(rs_device *d, rs_cpu_scratch slot, rs_compute compute, rs_view *v, rs_mem *mem, rs_error *err);
/* dst[i] = src[i] rounded to bfloat16, ties to even; NaN stays NaN. [n] */
void rs_cpu_to_bf16(const float *src, uint16_t *dst, int64_t n);

typedef rs_status rs_cpu_op_fn(rs_device *d, const rs_op *op, rs_error *err);
rs_cpu_op_fn rs_cpu_widen, rs_cpu_norm, rs_cpu_add, rs_cpu_gate, rs_cpu_rope, rs_cpu_mask, rs_cpu_softmax,
    rs_cpu_cross_entropy;
rs_cpu_op_fn rs_cpu_matmul, rs_cpu_scores, rs_cpu_mix, rs_cpu_pair_reduce, rs_cpu_logit_sample, rs_cpu_pattern_reduce,
    rs_cpu_profile_reduce, rs_cpu_phase, rs_cpu_spectrum, rs_cpu_correlate, rs_cpu_span_reduce, rs_cpu_attend,
    rs_cpu_attend_reduce;

/* cpu_fourier.c with FFTW, cpu_fourier_absent.c without it. */
rs_status rs_cpu_fourier_supported(rs_error *err); /* RS_E_UNAVAILABLE with the reason where it is not */
void rs_cpu_plans_free(rs_cpu_plans *p);           /* NULL is fine */

#endif
