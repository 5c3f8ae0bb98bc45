/* kernels/cuda/cuda_device.h: inside of the CUDA backend: the device, its memory, its scratch, launching a kernel, and
 * the few things that kernels share. The files of this folder are compiled twice: by nvcc for the card, and by the host
 * compiler against an emulated device for the tests (tests/support/cuda_host), whose headers have CUDA's names.
 * What differs between the two is said in the emulation's headers and in the #ifndef blocks here, nowhere else. An op
 * has the name and the folder position of its CPU twin: cpu/cpu_attention.c, cuda/cuda_attention.cu. */
#ifndef RS_KERNELS_CUDA_DEVICE_H
#define RS_KERNELS_CUDA_DEVICE_H

#include <cublas_v2.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <cufft.h>

#include <math.h>
#include <stdint.h>
#include <string.h>

extern "C" {
#include "analyzer/base/alloc.h"
#include "kernels/backend.h"
#include "kernels/memory.h"
}

/* ---- what the emulation says in its own way ---- */

/* A block-wide array, and the launch's dynamic shared memory. */
#ifndef RS_SHARED
#define RS_SHARED(type, name, count) __shared__ type name[count]
#define RS_SHARED_DYNAMIC(type, name)                                                                                  \
    extern __shared__ __align__(16) unsigned char rs_dynamic_shared[];                                                 \
    type *name = reinterpret_cast<type *>(rs_dynamic_shared)
#endif

/* Loads and stores of a whole vector: the address must be a multiple of its size. */
#ifndef RS_VECTOR_ACCESS
template <typename V> __device__ __forceinline__ V rs_vector_load(const void *p) { return *static_cast<const V *>(p); }
template <typename V> __device__ __forceinline__ void rs_vector_store(void *p, V v) { *static_cast<V *>(p) = v; }
#endif

/* Four bfloat16 numbers, written at once. */
struct alignas(8) rs_cuda_four_halves {
    __nv_bfloat16 x, y, z, w;
};

__device__ __forceinline__ rs_cuda_four_halves rs_cuda_round_four(float4 v) {
    return {__float2bfloat16_rn(v.x), __float2bfloat16_rn(v.y), __float2bfloat16_rn(v.z), __float2bfloat16_rn(v.w)};
}

/* May rows of a view be read four floats at a time? */
inline bool rs_cuda_in_fours(const rs_view *v) {
    if (!v->mem) return true;
    int last = v->n_dims - 1;
    bool fits = v->offset % 16 == 0 && v->dim[last] % 4 == 0;
    for (int i = 0; i < last; i++) fits = fits && (v->dim[i] == 1 || v->stride[i] % 4 == 0);
    return fits;
}

/* ---- the device ---- */

/* Device memory that ops need for the time of one op; grows at its first use, freed with the device. */
enum rs_cuda_scratch {
    RS_CUDA_POINTERS, /* addresses of the matrices of a batch of products */
    RS_CUDA_ROUNDED,  /* activations in bfloat16 on their way into a product */
    RS_CUDA_ROUNDED_MORE,
    RS_CUDA_PARTS,   /* partial sums of probes */
    RS_CUDA_TURNS,   /* cos and sin of LOGIT_SAMPLE */
    RS_CUDA_SIGNALS, /* signals and spectra of a head */
    RS_CUDA_SCRATCHES
};

/* Pinned host memory through which pageable bytes travel: writes fill one buffer after the other, and a buffer is used
 * again when the copies out of it are done. */
enum { RS_CUDA_STAGES = 4, RS_CUDA_STAGE_BYTES = 4 << 20 };
struct rs_cuda_stage {
    char *host; /* [RS_CUDA_STAGE_BYTES] pinned */
    size_t filled;
    cudaEvent_t done; /* recorded behind the last copy out of it */
    bool copying;
};

/* Batched Fourier transforms that have been planned (cuda_fourier.cu). */
enum { RS_CUDA_PLANS = 16 };
struct rs_cuda_plan {
    cufftType type;
    int64_t n, batch;
    cufftHandle handle;
};

struct rs_device {
    int ordinal;
    bool emulated;
    char name[128];
    cudaStream_t work, ahead; /* ops and their copies; uploads of what comes next */
    cudaEvent_t uploaded;
    cublasHandle_t blas;
    void *blas_workspace;
    rs_cuda_stage stage[RS_CUDA_STAGES];
    rs_cuda_plan plan[RS_CUDA_PLANS];
    int plans, oldest_plan;
    int filling;                            /* the stage that takes the next write */
    char *landing;                          /* [RS_CUDA_STAGE_BYTES] pinned: where reads arrive */
    unsigned long long *fault, *fault_host; /* [1] device, pinned: first bad index that a kernel met; all ones = none */
    uint64_t allocated, peak;
    struct {
        void *data;
        size_t bytes;
    } scratch[RS_CUDA_SCRATCHES];
};

/* RS_OK, or the error with what was being done; out of memory is RS_E_NOMEM, the rest RS_E_DEVICE. */
rs_status rs_cuda_status(cudaError_t e, const char *what, rs_error *err);
rs_status rs_cuda_blas_status(cublasStatus_t s, const char *what, rs_error *err);

/* *out: at least bytes of device memory, contents undefined, the device's until the next call for the same slot. */
rs_status rs_cuda_scratch_get(rs_device *d, rs_cuda_scratch slot, size_t bytes, void **out, rs_error *err);

/* First element of a view, on the device; NULL when it is absent. */
template <typename T> T *rs_cuda_data(const rs_view *v) {
    return v->mem ? reinterpret_cast<T *>(v->mem->data + v->offset) : nullptr;
}

typedef rs_status rs_cuda_op_fn(rs_device *d, const rs_op *op, rs_error *err);
rs_cuda_op_fn rs_cuda_widen, rs_cuda_norm, rs_cuda_add, rs_cuda_gate, rs_cuda_rope, rs_cuda_mask, rs_cuda_softmax,
    rs_cuda_cross_entropy;
rs_cuda_op_fn rs_cuda_matmul, rs_cuda_scores, rs_cuda_mix, rs_cuda_pair_reduce, rs_cuda_logit_sample,
    rs_cuda_pattern_reduce, rs_cuda_profile_reduce, rs_cuda_phase, rs_cuda_spectrum, rs_cuda_correlate,
    rs_cuda_span_reduce, rs_cuda_attend, rs_cuda_attend_reduce;

/* cuda_fourier.cu */
rs_status rs_cuda_fourier_supported(rs_error *err); /* RS_E_UNAVAILABLE where it is not */
void rs_cuda_plans_free(rs_device *d);

/* ---- launching ---- */

/* Blocks for n units of work with `per_block` each; kernels loop with the grid's stride where there are more. */
inline unsigned rs_cuda_blocks(int64_t n, int64_t per_block, int64_t most = 1 << 20) {
    int64_t blocks = (n + per_block - 1) / per_block;
    return (unsigned)(blocks < 1 ? 1 : blocks < most ? blocks : most);
}

/* Rows that go along the second axis of a grid, whose limit is 65535: kernels loop with the grid's stride. */
inline unsigned rs_cuda_rows(int64_t rows) { return (unsigned)(rows < 65535 ? rows : 65535); }

/* Dynamic shared memory that a launch certainly gets unasked, in bytes: 48 KiB less room for the kernel's own arrays.
 */
enum { RS_CUDA_SHARED_UNASKED = 32 * 1024 };

/* The one way to start a kernel. shared: bytes of dynamic shared memory; asked for where a launch gets less unasked. */
template <typename... P, typename... A>
rs_status rs_cuda_launch(rs_device *d, const char *what, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared,
                         rs_error *err, A... arguments) {
    if (shared > RS_CUDA_SHARED_UNASKED) {
        rs_status st = rs_cuda_status(cudaFuncSetAttribute(reinterpret_cast<const void *>(kernel),
                                                           cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared),
                                      what, err);
        if (st != RS_OK) return st;
    }
    cudaLaunchConfig_t config = {};
    config.gridDim = grid;
    config.blockDim = block;
    config.dynamicSmemBytes = shared;
    config.stream = d->work;
    return rs_cuda_status(cudaLaunchKernelEx(&config, kernel, arguments...), what, err);
}

/* ---- indices out of range ----
 * Index tables live on the device, so a kernel finds a bad entry and the host hears of it at the next read or sync. The
 * smallest code wins: the same mistake gives the same message whoever came first. */

enum { RS_CUDA_FAULT_ENTRY_BITS = 40 };

struct rs_cuda_fault {
    unsigned long long *word; /* [1] */
    unsigned long long code;  /* op, number of the argument in its table (kernels/op.c), entry */
};

/* What a kernel reports of an argument, which is named as in op.h. */
inline rs_cuda_fault rs_cuda_fault_of(const rs_device *d, rs_op_kind op, const char *argument) {
    unsigned long long i = 0;
    while (i < RS_OP_ARGUMENTS && strcmp(rs_op_argument_name(op, (int)i), argument) != 0) i++;
    return {d->fault, ((unsigned long long)op << 8 | i) << RS_CUDA_FAULT_ENTRY_BITS};
}

/* list[entry] when it is in [least, limit); otherwise it is reported and `least` stands in. */
__device__ __forceinline__ int rs_cuda_index(const int32_t *list, int64_t entry, int64_t least, int64_t limit,
                                             rs_cuda_fault f) {
    int i = list[entry];
    if (i >= least && i < limit) return i;
    atomicMin(f.word, f.code | (unsigned long long)entry);
    return (int)least;
}

/* First position of block b when positions are shared out as position * blocks / T. */
__host__ __device__ __forceinline__ int64_t rs_cuda_block_start(int64_t b, int64_t blocks, int64_t T) {
    return (b * T + blocks - 1) / blocks;
}

/* cos, sin of theta n. Whole turns are dropped before the function sees the angle: sincospi needs no table then. */
__device__ __forceinline__ void rs_cuda_turn(double theta, double n, double *c, double *s) {
    double turns = theta * 0.15915494309189535 * n;
    sincospi(2.0 * (turns - rint(turns)), s, c);
}

/* ---- sums and maxima over a block, in a fixed order; every thread of the block must call, and gets the result ----
 * blockDim.x: a multiple of 32; the other axes 1. */

struct rs_cuda_plus {
    __device__ double operator()(double a, double b) const { return a + b; }
};
struct rs_cuda_larger {
    __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
};

template <typename T, typename F> __device__ __forceinline__ T rs_cuda_block_reduce(T v, F combine) {
    RS_SHARED(T, of_warp, 32);
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    for (int step = 16; step > 0; step /= 2) v = combine(v, __shfl_xor_sync(0xFFFFFFFFU, v, step));
    if (warps == 1) return v;
    __syncthreads(); /* the array may still be read by the reduction before this one */
    if (lane == 0) of_warp[warp] = v;
    __syncthreads();
    T all = of_warp[0];
    for (int w = 1; w < warps; w++) all = combine(all, of_warp[w]);
    return all;
}

__device__ __forceinline__ double rs_cuda_block_sum(double v) { return rs_cuda_block_reduce(v, rs_cuda_plus()); }
__device__ __forceinline__ float rs_cuda_block_max(float v) { return rs_cuda_block_reduce(v, rs_cuda_larger()); }

/* Of a block of COLUMNS x ROWS threads: the sum over the rows of a column, in their order. All threads must call; those
 * of row 0 get it. */
template <int COLUMNS, int ROWS> __device__ __forceinline__ double rs_cuda_column_sum(double v) {
    RS_SHARED(double, part, COLUMNS *ROWS);
    double total = 0;
    __syncthreads(); /* the sum before this one has been made */
    part[threadIdx.y * COLUMNS + threadIdx.x] = v;
    __syncthreads();
    for (int row = 0; row < ROWS && threadIdx.y == 0; row++) total += part[row * COLUMNS + threadIdx.x];
    return total;
}

#endif
