/* tests/support/cuda_host/emulated_launch.cpp: what the emulated devices say of themselves, and launches: limits and
 * arguments are checked at the call, blocks run later, in an order by the seed. */
#include "emulated_device.h"

#include <map>
#include <numeric>
#include <stdio.h>
#include <stdlib.h>
#include <string>

using namespace emulated;

/* ---- devices ---- */

cudaError_t cudaDriverGetVersion(int *version) {
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version) {
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int *count) {
    guard g;
    *count = devices();
    return result(*count > 0 ? cudaSuccess : cudaErrorNoDevice);
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int device) {
    guard g;
    if (device < 0 || device >= devices())
        return refuse(cudaErrorInvalidDevice, "cudaGetDeviceProperties: no device %d", device);
    size_t available = 0;
    *p = cudaDeviceProp();
    snprintf(p->name, sizeof p->name, "emulated device"); /* by this name the backend knows it */
    cudaMemGetInfo(&available, &p->totalGlobalMem);
    p->sharedMemPerBlock = STATIC_SHARED_MOST;
    p->sharedMemPerBlockOptin = SHARED_MOST;
    p->sharedMemPerMultiprocessor = SHARED_MOST + 1024;
    p->regsPerBlock = 65536;
    p->warpSize = 32;
    p->maxThreadsPerBlock = THREADS_MOST;
    p->maxThreadsDim[0] = p->maxThreadsDim[1] = THREADS_MOST;
    p->maxThreadsDim[2] = 64;
    p->maxGridSize[0] = 0x7FFFFFFF;
    p->maxGridSize[1] = p->maxGridSize[2] = 65535;
    p->major = 9; /* the rest as of a Hopper card, so that nothing looks absurd */
    p->multiProcessorCount = 132;
    p->maxThreadsPerMultiProcessor = 2048;
    p->l2CacheSize = 50 << 20;
    p->memoryBusWidth = 5120;
    p->pciBusID = device + 1;
    p->concurrentKernels = p->asyncEngineCount = p->unifiedAddressing = 1;
    return result();
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int device) {
    guard g;
    cudaDeviceProp p;
    cudaError_t e = cudaGetDeviceProperties(&p, device);
    if (e != cudaSuccess) return e;
    switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock: *value = p.maxThreadsPerBlock; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = static_cast<int>(p.sharedMemPerBlock); break;
    case cudaDevAttrWarpSize: *value = p.warpSize; break;
    case cudaDevAttrMultiProcessorCount: *value = p.multiProcessorCount; break;
    case cudaDevAttrIntegrated: *value = p.integrated; break;
    case cudaDevAttrGlobalMemoryBusWidth: *value = p.memoryBusWidth; break;
    case cudaDevAttrL2CacheSize: *value = p.l2CacheSize; break;
    case cudaDevAttrComputeCapabilityMajor: *value = p.major; break;
    case cudaDevAttrComputeCapabilityMinor: *value = p.minor; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = static_cast<int>(p.sharedMemPerBlockOptin); break;
    default: return refuse(cudaErrorInvalidValue, "cudaDeviceGetAttribute: attribute %d", static_cast<int>(attribute));
    }
    return result();
}

/* ---- launches ---- */

namespace {

std::map<const void *, size_t> dynamic_most; /* by kernel, as cudaFuncSetAttribute said */

/* The kernels' own names are not known here, but their parameters' types are: "kernel(softmax_args)". */
std::string kernel_name(const char *signature) {
    std::string s = signature;
    for (const char *mark : {"P = {", "P = <"}) {
        size_t from = s.find(mark), to = from == std::string::npos ? from : s.find_first_of("}>", from + 5);
        if (to == std::string::npos) continue;
        std::string types = s.substr(from + 5, to - from - 5);
        for (size_t at; (at = types.find("{anonymous}::")) != std::string::npos;) types.erase(at, 13);
        return "kernel(" + types + ")";
    }
    return "kernel";
}

/* Why the sizes are refused, or NULL. */
const char *wrong_sizes(const cudaLaunchConfig_t *c, size_t most) {
    dim3 b = c->blockDim, g = c->gridDim;
    if (c->attrs || c->numAttrs) return "launch attributes, which the emulation has not";
    if (b.x == 0 || b.y == 0 || b.z == 0) return "an empty block";
    if (g.x == 0 || g.y == 0 || g.z == 0) return "an empty grid";
    if (b.x > 1024 || b.y > 1024 || b.z > 64) return "a block has at most 1024 x 1024 x 64 threads along its axes";
    if (uint64_t{b.x} * b.y * b.z > THREADS_MOST) return "a block has at most 1024 threads";
    if (g.x > 0x7FFFFFFFU || g.y > 65535 || g.z > 65535) return "a grid has at most 2147483647 x 65535 x 65535 blocks";
    if (c->dynamicSmemBytes > (most > 0 ? most : size_t{STATIC_SHARED_MOST}))
        return "more dynamic shared memory than 48 KiB or what cudaFuncSetAttribute allowed";
    return nullptr;
}

/* Why a word of the arguments is refused, or NULL. Words that are no address of anything pass. */
const char *wrong_word(uint64_t word, int device) {
    const void *p = reinterpret_cast<const void *>(word);
    if (word < uint64_t{1} << 32) return nullptr;
    place at = find(p);
    switch (at.kind) {
    case PLACE_NOWHERE: return "an address on the device that is in no live allocation";
    case PLACE_DEVICE: return at.device == device ? nullptr : "an address on another device";
    case PLACE_PINNED: return "an address of pinned host memory";
    default: return is_mapped(word) ? "an address of the host" : nullptr;
    }
}

cudaError_t check_arguments(const char *name, const rs_emulated_argument *arguments, size_t n, int device) {
    for (size_t i = 0; i < n; i++) {
        const char *bytes = static_cast<const char *>(arguments[i].bytes);
        size_t skip = -reinterpret_cast<uintptr_t>(bytes) % 8;
        for (size_t at = skip; at + 8 <= arguments[i].size; at += 8) {
            uint64_t word = 0;
            memcpy(&word, bytes + at, sizeof word);
            const char *why = wrong_word(word, device);
            if (!why) continue;
            stop(cudaErrorIllegalAddress, "%s: argument %zu, byte %zu: %s: %s", name, i, at, why,
                 describe(reinterpret_cast<const void *>(word), 1));
            return stopped();
        }
    }
    return cudaSuccess;
}

/* Blocks by the seed: ascending, descending, or i -> (a i + b) mod n, which meets each once as a and n share no factor.
 */
struct block_order {
    uint64_t n, a, b;
    explicit block_order(uint64_t count) : n(count), a(1), b(0) {
        if (seed() > 1 && n > 2 && n < uint64_t{1} << 31) {
            b = draw(static_cast<uint32_t>(n));
            do a = 1 + draw(static_cast<uint32_t>(n - 1));
            while (std::gcd(a, n) != 1);
        }
    }
    uint64_t at(uint64_t i) const { return seed() == 1 ? n - 1 - i : (a * i + b) % n; }
};

void run_grid(const cudaLaunchConfig_t &c, const std::string &name, size_t most, rs_emulated_kernel *kernel) {
    launch l = {c.gridDim, c.blockDim, c.dynamicSmemBytes, most, name.c_str(), kernel};
    dim3 g = c.gridDim;
    block_order order(uint64_t{g.x} * g.y * g.z);
    begin_launch(&l);
    for (uint64_t i = 0; i < order.n; i++) {
        uint64_t at = order.at(i);
        uint3 block = {static_cast<unsigned>(at % g.x), static_cast<unsigned>(at / g.x % g.y),
                       static_cast<unsigned>(at / g.x / g.y)};
        if (!run_block(block)) break;
    }
    end_launch();
}

} // namespace

cudaError_t cudaFuncSetAttribute(const void *function, cudaFuncAttribute attribute, int value) {
    guard g;
    if (stopped() != cudaSuccess) return stopped();
    if (!function) return refuse(cudaErrorInvalidDeviceFunction, "cudaFuncSetAttribute: no kernel");
    if (attribute == cudaFuncAttributePreferredSharedMemoryCarveout) return result();
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 || value > SHARED_MOST)
        return refuse(cudaErrorInvalidValue,
                      "cudaFuncSetAttribute: attribute %d, value %d: a block has at most %d bytes",
                      static_cast<int>(attribute), value, static_cast<int>(SHARED_MOST));
    dynamic_most[function] = static_cast<size_t>(value);
    return result();
}

cudaError_t rs_emulated_launch(const cudaLaunchConfig_t *config, std::unique_ptr<rs_emulated_kernel> kernel,
                               const void *function, const char *signature, const rs_emulated_argument *arguments,
                               size_t n) {
    guard g;
    if (stopped() != cudaSuccess) return stopped();
    if (!function) return refuse(cudaErrorInvalidDeviceFunction, "a launch without a kernel");
    cudaLaunchConfig_t c = *config;
    auto found = dynamic_most.find(function);
    size_t most = found == dynamic_most.end() ? 0 : found->second;
    std::string name = kernel_name(signature);
    if (const char *why = wrong_sizes(&c, most)) {
        stop(cudaErrorInvalidConfiguration, "%s: grid %u,%u,%u, block %u,%u,%u, %zu bytes of shared memory: %s",
             name.c_str(), c.gridDim.x, c.gridDim.y, c.gridDim.z, c.blockDim.x, c.blockDim.y, c.blockDim.z,
             c.dynamicSmemBytes, why);
        return stopped();
    }
    if (check_arguments(name.c_str(), arguments, n, current_device()) != cudaSuccess) return stopped();
    std::shared_ptr<rs_emulated_kernel> shared = std::move(kernel);
    std::string what = name;
    return enqueue(c.stream, current_device(), what.c_str(),
                   [c, name, most, shared] { run_grid(c, name, most, shared.get()); });
}
