/* tests/support/cuda_host/cuda_runtime.h: stands where the toolkit's header of this name would and declares as much of
 * CUDA's runtime as kernels/cuda may use, on the *emulated device*: the sources of the CUDA backend are compiled by the
 * host's C++ compiler against it as they are, so that they can be tested where no card is. Values of enumerations are
 * CUDA's. How the device behaves:
 *   - Work is queued and runs no earlier than a synchronisation asks for it; among streams that could go on the seed
 *     chooses. Blocks and threads run in an order by the seed. Any host thread may call.
 *   - Device memory is out of the host's reach except while work runs. Fresh memory is full of NaN.
 *   - What hardware would refuse or leave undefined stops the device: from then on every call returns the error, and
 *     rs_emulated_reason says why (it also goes to stderr, a line "emulated device: ...").
 * Environment, read at the first call: ROPESCOPE_EMULATED_SEED, _DEVICES (1 to 4; 0: none), _MEMORY (bytes of each),
 * _FAIL_ALLOC (see rs_emulated_fail_allocation). */
#ifndef RS_TESTS_CUDA_RUNTIME_H
#define RS_TESTS_CUDA_RUNTIME_H

#include <memory>
#include <tuple>
#include <utility>

#include "emulated_language.h"

#define CUDART_VERSION 12080

/* ---- errors ---- */

enum cudaError_t {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInvalidConfiguration = 9,
    cudaErrorInsufficientDriver = 35,
    cudaErrorInvalidDeviceFunction = 98,
    cudaErrorNoDevice = 100,
    cudaErrorInvalidDevice = 101,
    cudaErrorInvalidResourceHandle = 400,
    cudaErrorNotReady = 600,
    cudaErrorIllegalAddress = 700,
    cudaErrorMisalignedAddress = 716,
    cudaErrorLaunchFailure = 719,
    cudaErrorNotSupported = 801
};
const char *cudaGetErrorName(cudaError_t e);
const char *cudaGetErrorString(cudaError_t e);
/* The error of the last call that had one; forgotten by Get, unless the device has stopped. */
cudaError_t cudaGetLastError();
cudaError_t cudaPeekAtLastError();

/* ---- what only the emulation has ---- */

#define RS_EMULATED_EXPORT __attribute__((visibility("default")))
extern "C" {
extern RS_EMULATED_EXPORT int rs_cuda_emulated; /* 1 */
/* Why the device stopped or refused the last call; "" when nothing was refused since the start or the last reset. */
RS_EMULATED_EXPORT const char *rs_emulated_reason(void);
/* The device runs again; work that was queued is dropped, memory stays. */
RS_EMULATED_EXPORT void rs_emulated_reset(void);
/* The n-th allocation from here on (device or pinned memory), counted from 1, fails; 0: none does. */
RS_EMULATED_EXPORT void rs_emulated_fail_allocation(long n);
/* Orders from here on: 0 ascending, only what a wait needs; 1 descending, everything else first; others shuffled. */
RS_EMULATED_EXPORT void rs_emulated_seed(unsigned long seed);
}

/* ---- devices ---- */

struct cudaDeviceProp {
    char name[256];
    size_t totalGlobalMem, sharedMemPerBlock, sharedMemPerBlockOptin, sharedMemPerMultiprocessor;
    int regsPerBlock, warpSize, maxThreadsPerBlock, maxThreadsDim[3], maxGridSize[3];
    int major, minor, multiProcessorCount, maxThreadsPerMultiProcessor, l2CacheSize, memoryBusWidth;
    int pciBusID, pciDeviceID, pciDomainID, integrated, concurrentKernels, asyncEngineCount, unifiedAddressing;
};
enum cudaDeviceAttr {
    cudaDevAttrMaxThreadsPerBlock = 1,
    cudaDevAttrMaxSharedMemoryPerBlock = 8,
    cudaDevAttrWarpSize = 10,
    cudaDevAttrMultiProcessorCount = 16,
    cudaDevAttrIntegrated = 18,
    cudaDevAttrGlobalMemoryBusWidth = 37,
    cudaDevAttrL2CacheSize = 38,
    cudaDevAttrComputeCapabilityMajor = 75,
    cudaDevAttrComputeCapabilityMinor = 76,
    cudaDevAttrMaxSharedMemoryPerBlockOptin = 97
};
cudaError_t cudaDriverGetVersion(int *version);
cudaError_t cudaRuntimeGetVersion(int *version);
cudaError_t cudaGetDeviceCount(int *count);
cudaError_t cudaSetDevice(int device); /* of the calling host thread */
cudaError_t cudaGetDevice(int *device);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int device);
cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int device);
cudaError_t cudaDeviceSynchronize();

/* ---- memory ---- */

enum cudaMemcpyKind {
    cudaMemcpyHostToHost = 0,
    cudaMemcpyHostToDevice = 1,
    cudaMemcpyDeviceToHost = 2,
    cudaMemcpyDeviceToDevice = 3,
    cudaMemcpyDefault = 4
};
enum { cudaHostAllocDefault = 0, cudaHostAllocPortable = 1, cudaHostAllocMapped = 2, cudaHostAllocWriteCombined = 4 };
typedef struct CUstream_st *cudaStream_t;
typedef struct CUevent_st *cudaEvent_t;

cudaError_t cudaMemGetInfo(size_t *available, size_t *total);
cudaError_t cudaMalloc(void **out, size_t bytes); /* 256-byte aligned and no more */
cudaError_t cudaFree(void *p);                    /* waits for all work */
cudaError_t cudaMallocHost(void **out, size_t bytes);
cudaError_t cudaHostAlloc(void **out, size_t bytes, unsigned flags);
cudaError_t cudaFreeHost(void *p); /* waits for all work */
template <typename T> cudaError_t cudaMalloc(T **out, size_t bytes) {
    return cudaMalloc(reinterpret_cast<void **>(out), bytes);
}
template <typename T> cudaError_t cudaMallocHost(T **out, size_t bytes) {
    return cudaMallocHost(reinterpret_cast<void **>(out), bytes);
}
cudaError_t cudaMemcpy(void *dst, const void *src, size_t bytes, cudaMemcpyKind kind);
/* From pageable memory: copied aside at the call. Into pageable memory: done when it returns. */
cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream = nullptr);
cudaError_t cudaMemcpyPeerAsync(void *dst, int dst_device, const void *src, int src_device, size_t bytes,
                                cudaStream_t stream = nullptr);
cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t stream = nullptr);

/* ---- streams, events. Stream 0 and the streams made without cudaStreamNonBlocking wait for each other ---- */

enum { cudaStreamDefault = 0, cudaStreamNonBlocking = 1 };
enum { cudaEventDefault = 0, cudaEventBlockingSync = 1, cudaEventDisableTiming = 2 };

cudaError_t cudaStreamCreate(cudaStream_t *out);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
/* Not done yet: one piece of work is run, somewhere, so that asking again and again comes to an end. */
cudaError_t cudaStreamQuery(cudaStream_t stream);
/* Refuses an event that has not been recorded: on a card that is no wait at all. */
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags = 0);
cudaError_t cudaEventCreate(cudaEvent_t *out);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned flags);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream = nullptr);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventQuery(cudaEvent_t event);
cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t start, cudaEvent_t end);
cudaError_t cudaEventDestroy(cudaEvent_t event);

/* ---- launching ---- */

enum cudaFuncAttribute {
    cudaFuncAttributeMaxDynamicSharedMemorySize = 8,
    cudaFuncAttributePreferredSharedMemoryCarveout = 9
};
cudaError_t cudaFuncSetAttribute(const void *function, cudaFuncAttribute attribute, int value);

struct cudaLaunchAttribute; /* none is supported */
struct cudaLaunchConfig_t {
    dim3 gridDim, blockDim;
    size_t dynamicSmemBytes;
    cudaStream_t stream;
    cudaLaunchAttribute *attrs;
    unsigned numAttrs;
};

/* A kernel with its arguments: run is one thread of it. */
struct rs_emulated_kernel {
    rs_emulated_kernel() = default;
    rs_emulated_kernel(const rs_emulated_kernel &) = delete;
    virtual ~rs_emulated_kernel() = default;
    virtual void run() = 0;
};
struct rs_emulated_argument {
    const void *bytes;
    size_t size;
};
/* signature: of the launching function, for messages. */
cudaError_t rs_emulated_launch(const cudaLaunchConfig_t *config, std::unique_ptr<rs_emulated_kernel> kernel,
                               const void *function, const char *signature, const rs_emulated_argument *arguments,
                               size_t n);

template <typename T> inline void rs_emulated_clear_padding(T *x) {
#if defined(__has_builtin)
#if __has_builtin(__builtin_clear_padding)
    __builtin_clear_padding(x); /* leftovers between members may look like addresses */
#endif
#endif
    (void)x;
}

template <typename... P> struct rs_emulated_call final : rs_emulated_kernel {
    void (*function)(P...);
    std::tuple<P...> arguments;
    template <typename... A>
    explicit rs_emulated_call(void (*f)(P...), A &&...a) : function(f), arguments(static_cast<P>(a)...) {}
    void run() override { std::apply(function, arguments); }
};

template <typename... P, typename... A>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t *config, void (*kernel)(P...), A &&...arguments) {
    static_assert(sizeof...(P) == sizeof...(A), "a kernel gets as many arguments as it has parameters");
    static_assert((std::is_trivially_copyable<P>::value && ...), "arguments of kernels are copied as bytes");
    static_assert((!std::is_reference<P>::value && ...), "a reference would lead into host memory");
    auto call = std::make_unique<rs_emulated_call<P...>>(kernel, std::forward<A>(arguments)...);
    rs_emulated_argument list[sizeof...(P) + 1] = {};
    size_t n = 0;
    std::apply(
        [&](auto &...a) { ((rs_emulated_clear_padding(&a), list[n].bytes = &a, list[n++].size = sizeof a), ...); },
        call->arguments);
    return rs_emulated_launch(config, std::move(call), reinterpret_cast<const void *>(kernel), __PRETTY_FUNCTION__,
                              list, n);
}

#endif
