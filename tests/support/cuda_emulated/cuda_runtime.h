/* tests/support/cuda_emulated/cuda_runtime.h: CUDA's runtime and device language, as much of them as kernels/cuda uses,
 * for the host's C++ compiler. It stands where the toolkit's header of this name would: the sources of the CUDA backend
 * are compiled against it as they are, and the functions declared here (emulated_*.cpp) run them on an emulated device,
 * which refuses what hardware would refuse. Values of enumerations are CUDA's. One host thread only. */
#ifndef RS_TESTS_CUDA_RUNTIME_H
#define RS_TESTS_CUDA_RUNTIME_H

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <math.h>
#include <tuple>
#include <utility>

/* ---- the language ---- */

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n) alignas(n)

struct uint3 {
    unsigned x, y, z;
};
struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {}
};
struct alignas(16) float4 {
    float x, y, z, w;
};
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

/* Of the device thread that is running. */
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

/* A block-wide array of a kernel, found by its declaration: whoever comes first makes it, full of NaN and between red
 * zones. */
void *rs_emulated_shared(const char *key, size_t bytes);
void *rs_emulated_dynamic_shared();
#define RS_SHARED(type, name, count)                                                                                   \
    static char name##_key;                                                                                            \
    type *name = static_cast<type *>(rs_emulated_shared(&name##_key, sizeof(type) * (count)))
#define RS_SHARED_DYNAMIC(type, name) type *name = static_cast<type *>(rs_emulated_dynamic_shared())

/* Vectors: an address that is no multiple of the size is refused, as by hardware. */
void rs_emulated_check_aligned(const void *p, size_t bytes);
#define RS_VECTOR_ACCESS
template <typename V> V rs_vector_load(const void *p) {
    V v;
    rs_emulated_check_aligned(p, sizeof v);
    memcpy(&v, p, sizeof v);
    return v;
}
template <typename V> void rs_vector_store(void *p, V v) {
    rs_emulated_check_aligned(p, sizeof v);
    memcpy(p, &v, sizeof v);
}

/* ---- barriers and warps ---- */

void rs_emulated_barrier(const char *file, int line);
#define __syncthreads() rs_emulated_barrier(__FILE__, __LINE__)

/* Deposits a value of this lane and waits for the lanes of the mask; returns the values of all lanes [32]. */
const uint64_t *rs_emulated_exchange(unsigned mask, uint64_t value, const char *what);

template <typename T> T rs_emulated_shuffle(unsigned mask, T v, int from, bool inside, const char *what) {
    static_assert(sizeof(T) <= sizeof(uint64_t), "a shuffle moves at most 8 bytes");
    uint64_t mine = 0, theirs = 0;
    memcpy(&mine, &v, sizeof v);
    const uint64_t *all = rs_emulated_exchange(mask, mine, what);
    theirs = inside ? all[from & 31] : mine; /* outside of the warp a lane keeps its own */
    memcpy(&v, &theirs, sizeof v);
    return v;
}

inline int rs_emulated_lane() {
    return (int)((threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % 32);
}
template <typename T> T __shfl_sync(unsigned mask, T v, int lane) {
    return rs_emulated_shuffle(mask, v, lane, true, "__shfl_sync");
}
template <typename T> T __shfl_xor_sync(unsigned mask, T v, int bits) {
    return rs_emulated_shuffle(mask, v, rs_emulated_lane() ^ bits, (rs_emulated_lane() ^ bits) < 32, "__shfl_xor_sync");
}
template <typename T> T __shfl_down_sync(unsigned mask, T v, int n) {
    return rs_emulated_shuffle(mask, v, rs_emulated_lane() + n, rs_emulated_lane() + n < 32, "__shfl_down_sync");
}
template <typename T> T __shfl_up_sync(unsigned mask, T v, int n) {
    return rs_emulated_shuffle(mask, v, rs_emulated_lane() - n, rs_emulated_lane() >= n, "__shfl_up_sync");
}
inline void __syncwarp(unsigned mask = 0xFFFFFFFFU) { rs_emulated_exchange(mask, 0, "__syncwarp"); }
inline unsigned __ballot_sync(unsigned mask, int predicate) {
    const uint64_t *all = rs_emulated_exchange(mask, predicate != 0, "__ballot_sync");
    unsigned votes = 0;
    for (int lane = 0; lane < 32; lane++) votes |= (mask >> lane & 1U) && all[lane] ? 1U << lane : 0;
    return votes;
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) == mask; }

/* ---- atomics: device threads take turns, so a plain update is one ---- */

template <typename T> T rs_emulated_update(T *p, T v) {
    T old = *p;
    *p = v;
    return old;
}
template <typename T> T atomicAdd(T *p, T v) { return rs_emulated_update(p, (T)(*p + v)); }
template <typename T> T atomicMin(T *p, T v) { return rs_emulated_update(p, v < *p ? v : *p); }
template <typename T> T atomicMax(T *p, T v) { return rs_emulated_update(p, v > *p ? v : *p); }
template <typename T> T atomicExch(T *p, T v) { return rs_emulated_update(p, v); }
template <typename T> T atomicCAS(T *p, T expected, T v) { return rs_emulated_update(p, *p == expected ? v : *p); }

/* ---- arithmetic ---- */

inline unsigned __float_as_uint(float x) {
    unsigned u;
    memcpy(&u, &x, sizeof u);
    return u;
}
inline float __uint_as_float(unsigned u) {
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}
/* One rounding each, whatever the compiler would like to contract. */
inline float __fmul_rn(float a, float b) {
    volatile float c = a * b;
    return c;
}
inline float __fadd_rn(float a, float b) {
    volatile float c = a + b;
    return c;
}
/* sin and cos of pi x, exact at the quarters. */
inline void sincospi(double x, double *s, double *c) {
    double r = x - 2.0 * std::rint(x / 2.0); /* [-1, 1] */
    *s = std::sin(r * 3.14159265358979323846);
    *c = std::cos(r * 3.14159265358979323846);
    if (r == 0.5 || r == -0.5) *c = 0;
    if (r == 1.0 || r == -1.0) *s = 0;
}

/* ---- errors ---- */

enum cudaError_t {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInvalidConfiguration = 9,
    cudaErrorInsufficientDriver = 35,
    cudaErrorNoDevice = 100,
    cudaErrorInvalidDevice = 101,
    cudaErrorInvalidResourceHandle = 400,
    cudaErrorNotReady = 600,
    cudaErrorIllegalAddress = 700,
    cudaErrorMisalignedAddress = 716,
    cudaErrorLaunchFailure = 719
};
const char *cudaGetErrorName(cudaError_t e);
const char *cudaGetErrorString(cudaError_t e);
cudaError_t cudaGetLastError();
cudaError_t cudaPeekAtLastError();

/* Why the device stopped; "" as long as it did not. And: as if the process had begun anew. For tests. */
extern "C" const char *rs_emulated_reason();
extern "C" void rs_emulated_reset();
/* The nth allocation from now fails (device or pinned memory); 0: none. ROPESCOPE_EMULATED_FAIL_ALLOC sets it at start.
 */
extern "C" void rs_emulated_fail_allocation(long nth);
/* Order in which threads, blocks and streams run: 0 ascending, 1 descending, others shuffled.
 * ROPESCOPE_EMULATED_SEED sets it at start. */
extern "C" void rs_emulated_seed(unsigned seed);

/* ---- devices ---- */

struct cudaDeviceProp {
    char name[256];
    size_t totalGlobalMem, sharedMemPerBlock, sharedMemPerBlockOptin;
    int regsPerBlock, warpSize, maxThreadsPerBlock, maxThreadsDim[3], maxGridSize[3];
    int major, minor, multiProcessorCount, l2CacheSize, memoryBusWidth, integrated;
};
cudaError_t cudaDriverGetVersion(int *version);
cudaError_t cudaRuntimeGetVersion(int *version);
cudaError_t cudaGetDeviceCount(int *count);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDevice(int *device);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int device);
cudaError_t cudaMemGetInfo(size_t *available, size_t *total);
cudaError_t cudaDeviceSynchronize();

/* ---- memory ---- */

enum cudaMemcpyKind {
    cudaMemcpyHostToHost = 0,
    cudaMemcpyHostToDevice = 1,
    cudaMemcpyDeviceToHost = 2,
    cudaMemcpyDeviceToDevice = 3,
    cudaMemcpyDefault = 4
};
typedef struct rs_emulated_stream *cudaStream_t;
typedef struct rs_emulated_event *cudaEvent_t;

cudaError_t cudaMalloc(void **p, size_t bytes);
cudaError_t cudaFree(void *p);
cudaError_t cudaMallocHost(void **p, size_t bytes);
cudaError_t cudaFreeHost(void *p);
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind);
cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t stream);

/* ---- streams and events ---- */

enum { cudaStreamDefault = 0, cudaStreamNonBlocking = 1 };
enum { cudaEventDefault = 0, cudaEventDisableTiming = 2 };
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventQuery(cudaEvent_t event);

/* ---- launching ---- */

enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
cudaError_t cudaFuncSetAttribute(const void *kernel, cudaFuncAttribute attribute, int value);

struct cudaLaunchConfig_t {
    dim3 gridDim, blockDim;
    size_t dynamicSmemBytes;
    cudaStream_t stream;
    void *attrs;
    unsigned numAttrs;
};

/* body: calls the kernel with its arguments, once per thread. words: the bytes of the arguments, looked through for
 * pointers that a kernel must not have. */
cudaError_t rs_emulated_launch(const cudaLaunchConfig_t *config, const void *kernel, std::function<void()> body,
                               const std::function<bool(const std::function<bool(const void *, size_t)> &)> &arguments);

template <typename... P, typename... A>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t *config, void (*kernel)(P...), A &&...a) {
    std::tuple<P...> kept(static_cast<P>(a)...);
    auto look = [&kept](const std::function<bool(const void *, size_t)> &at) {
        return std::apply([&at](const auto &...x) { return (at(&x, sizeof x) && ...); }, kept);
    };
    return rs_emulated_launch(
        config, reinterpret_cast<const void *>(kernel), [kernel, kept]() { std::apply(kernel, kept); }, look);
}

#endif
