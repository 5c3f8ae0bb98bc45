/* tests/support/cuda_emulated/emulated_queue.cpp: streams, events, copies, launches, errors. Work is queued and runs
 * only when the host waits for it, so that a host which does not wait sees old bytes, as it would on a bad day with a
 * card. */
#include "emulated_device.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <string>
#include <sys/mman.h>
#include <vector>

struct rs_emulated_event {
    long recorded, done; /* how often */
};

struct rs_emulated_work {
    const char *what;
    std::function<void()> run; /* empty: wait */
    cudaEvent_t wait;
    long until; /* recordings of `wait` that must be done */
};

struct rs_emulated_stream {
    std::deque<rs_emulated_work> queue;
};

unsigned rs_emulated_order =
    getenv("ROPESCOPE_EMULATED_SEED") ? (unsigned)strtoul(getenv("ROPESCOPE_EMULATED_SEED"), nullptr, 10) : 0;

namespace {

cudaError_t stopped = cudaSuccess, last = cudaSuccess;
std::string reason;
unsigned random_state = 1;

std::vector<cudaStream_t> &streams() {
    static std::vector<cudaStream_t> all;
    return all;
}
rs_emulated_stream default_stream;

cudaStream_t stream_of(cudaStream_t s) { return s ? s : &default_stream; }

bool known(cudaStream_t s) {
    if (s == &default_stream) return true;
    for (cudaStream_t other : streams()) {
        if (other == s) return true;
    }
    return false;
}

/* Runs the first piece of work of a stream; false when there is none or it must wait. Device memory is open. */
bool step(cudaStream_t s) {
    if (s->queue.empty() || stopped != cudaSuccess) return false;
    rs_emulated_work &w = s->queue.front();
    if (w.wait && w.wait->done < w.until) return false;
    rs_emulated_work now = w;
    s->queue.pop_front();
    if (!now.run) return true;
    now.run();
    return true;
}

/* Runs what `satisfied` needs: the stream itself first; others when it waits for them (or, with a shuffled order,
 * whenever they like). */
cudaError_t run_until(cudaStream_t first, const std::function<bool()> &satisfied) {
    if (stopped != cudaSuccess || satisfied()) return rs_emulated_return(stopped);
    rs_emulated_open();
    while (stopped == cudaSuccess && !satisfied()) {
        bool moved = false;
        if (rs_emulated_order > 1 && !streams().empty())
            moved = step(streams()[rs_emulated_random((unsigned)streams().size())]);
        moved = (first && step(first)) || moved;
        for (size_t i = 0; i < streams().size() && !moved; i++) moved = step(streams()[i]);
        if (!moved) moved = step(&default_stream);
        if (!moved && stopped == cudaSuccess && !satisfied())
            rs_emulated_stop(cudaErrorLaunchFailure,
                             "the host waits for work that can never run: an event nobody records");
    }
    if (stopped == cudaSuccess) rs_emulated_check_zones();
    rs_emulated_close();
    return rs_emulated_return(stopped);
}

bool all_empty() {
    for (cudaStream_t s : streams()) {
        if (!s->queue.empty()) return false;
    }
    return default_stream.queue.empty();
}

/* ---- launches ---- */

std::map<const void *, size_t> &dynamic_limits() {
    static std::map<const void *, size_t> all;
    return all;
}

const size_t SHARED_DEFAULT = 48 << 10, SHARED_MOST = 227 << 10;

bool mapped(uint64_t address) {
    unsigned char vector[1];
    return mincore(reinterpret_cast<void *>(address / 4096 * 4096), 1, vector) == 0;
}

/* May a kernel be given these bytes? Looks at every word for addresses of host memory and of memory that was freed. */
bool fit_for_device(const void *bytes, size_t n) {
    for (size_t i = 0; i + 8 <= n; i += 8) {
        uint64_t word;
        memcpy(&word, static_cast<const char *>(bytes) + i, sizeof word);
        const void *p = reinterpret_cast<const void *>(word);
        if (rs_emulated_is_device(p)) {
            if (rs_emulated_inside(p, 0)) continue;
            rs_emulated_stop(cudaErrorIllegalAddress, "a kernel was given an address of freed device memory");
            return false;
        }
        if (word < (uint64_t)1 << 32 || word >> 47 != 0 || !mapped(word)) continue;
        rs_emulated_stop(cudaErrorIllegalAddress, "a kernel was given an address of host memory");
        return false;
    }
    return true;
}

bool within_limits(dim3 grid, dim3 block) {
    return grid.x > 0 && grid.y > 0 && grid.z > 0 && grid.x <= 2147483647U && grid.y <= 65535 && grid.z <= 65535 &&
           block.x > 0 && block.y > 0 && block.z > 0 && block.x <= 1024 && block.y <= 1024 && block.z <= 64 &&
           (uint64_t)block.x * block.y * block.z <= 1024;
}

} // namespace

/* ---- errors ---- */

void rs_emulated_stop(cudaError_t e, const char *format, ...) {
    if (stopped != cudaSuccess) return;
    char text[512];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    stopped = last = e;
    reason = text;
    fprintf(stderr, "emulated device: %s\n", text);
}

cudaError_t rs_emulated_stopped() { return stopped; }

cudaError_t rs_emulated_return(cudaError_t e) {
    if (e != cudaSuccess) last = e;
    return e;
}

unsigned rs_emulated_random(unsigned n) {
    random_state = random_state * 1664525U + 1013904223U;
    return (unsigned)(((uint64_t)random_state * n) >> 32);
}

cudaError_t cudaGetLastError() {
    cudaError_t e = last;
    last = stopped;
    return e;
}
cudaError_t cudaPeekAtLastError() { return last; }

const char *rs_emulated_reason() { return reason.c_str(); }

void rs_emulated_reset() {
    for (cudaStream_t s : streams()) s->queue.clear();
    default_stream.queue.clear();
    rs_emulated_forget_memory();
    stopped = last = cudaSuccess;
    reason.clear();
}

void rs_emulated_seed(unsigned seed) {
    rs_emulated_order = seed;
    random_state = seed * 2654435761U + 1U;
}

struct error_text {
    cudaError_t e;
    const char *name, *text;
};
static const error_text error_texts[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress", "an illegal memory access was encountered"},
    {cudaErrorMisalignedAddress, "cudaErrorMisalignedAddress", "misaligned address"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
};
static const error_text &text_of(cudaError_t e) {
    for (const error_text &t : error_texts) {
        if (t.e == e) return t;
    }
    static const error_text unknown = {cudaSuccess, "cudaErrorUnknown", "unknown error"};
    return unknown;
}
const char *cudaGetErrorName(cudaError_t e) { return text_of(e).name; }
const char *cudaGetErrorString(cudaError_t e) { return text_of(e).text; }

/* ---- devices ---- */

cudaError_t cudaDriverGetVersion(int *version) { return *version = 13000, cudaSuccess; }
cudaError_t cudaRuntimeGetVersion(int *version) { return *version = 13000, cudaSuccess; }
cudaError_t cudaGetDeviceCount(int *count) { return *count = 1, cudaSuccess; }
cudaError_t cudaSetDevice(int device) { return device == 0 ? stopped : rs_emulated_return(cudaErrorInvalidDevice); }
cudaError_t cudaGetDevice(int *device) { return *device = 0, cudaSuccess; }

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int device) {
    size_t available = 0;
    if (device != 0) return rs_emulated_return(cudaErrorInvalidDevice);
    *p = {};
    snprintf(p->name, sizeof p->name, "emulated device");
    cudaMemGetInfo(&available, &p->totalGlobalMem);
    p->sharedMemPerBlock = SHARED_DEFAULT;
    p->sharedMemPerBlockOptin = SHARED_MOST;
    p->regsPerBlock = 65536;
    p->warpSize = 32;
    p->maxThreadsPerBlock = 1024;
    p->major = 9;
    p->multiProcessorCount = 1;
    p->l2CacheSize = 1 << 20;
    return cudaSuccess;
}

/* ---- streams and events ---- */

cudaError_t rs_emulated_enqueue(cudaStream_t stream, const char *what, std::function<void()> work) {
    if (stopped != cudaSuccess) return rs_emulated_return(stopped);
    if (!known(stream_of(stream))) return rs_emulated_return(cudaErrorInvalidResourceHandle);
    stream_of(stream)->queue.push_back({what, std::move(work), nullptr, 0});
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags) {
    (void)flags;
    *stream = nullptr;
    if (stopped != cudaSuccess) return stopped;
    *stream = new rs_emulated_stream();
    streams().push_back(*stream);
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    cudaError_t e = cudaStreamSynchronize(stream);
    for (size_t i = 0; i < streams().size(); i++) {
        if (streams()[i] != stream) continue;
        streams().erase(streams().begin() + (long)i);
        delete stream;
        break;
    }
    return e;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    cudaStream_t s = stream_of(stream);
    if (!known(s)) return rs_emulated_return(cudaErrorInvalidResourceHandle);
    return run_until(s, [s]() { return s->queue.empty(); });
}

cudaError_t cudaDeviceSynchronize() { return run_until(nullptr, all_empty); }

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags) {
    (void)flags;
    *event = nullptr;
    if (stopped != cudaSuccess) return stopped;
    *event = new rs_emulated_event{0, 0};
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
    cudaError_t e = cudaDeviceSynchronize(); /* nobody waits for it any more */
    delete event;
    return e;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    long number = ++event->recorded;
    return rs_emulated_enqueue(stream, "an event", [event, number]() { event->done = number; });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags) {
    (void)flags;
    if (stopped != cudaSuccess) return rs_emulated_return(stopped);
    stream_of(stream)->queue.push_back({"waiting", nullptr, event, event->recorded});
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    return run_until(nullptr, [event]() { return event->done >= event->recorded; });
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
    return event->done >= event->recorded ? cudaSuccess : rs_emulated_return(cudaErrorNotReady);
}

/* ---- copies ---- */

static bool direction_fits(const void *to, const void *from, size_t bytes, cudaMemcpyKind kind) {
    bool to_device = rs_emulated_is_device(to), from_device = rs_emulated_is_device(from);
    if (to_device && !rs_emulated_inside(to, bytes)) return false;
    if (from_device && !rs_emulated_inside(from, bytes)) return false;
    switch (kind) {
    case cudaMemcpyHostToHost: return !to_device && !from_device;
    case cudaMemcpyHostToDevice: return to_device && !from_device;
    case cudaMemcpyDeviceToHost: return !to_device && from_device;
    case cudaMemcpyDeviceToDevice: return to_device && from_device;
    case cudaMemcpyDefault: return true;
    }
    return false;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
    if (stopped != cudaSuccess) return rs_emulated_return(stopped);
    if (!direction_fits(to, from, bytes, kind)) return rs_emulated_return(cudaErrorInvalidValue);
    if (!rs_emulated_is_device(from) && !rs_emulated_is_pinned(from, bytes)) {
        /* Pageable source: the driver takes the bytes before it returns. */
        std::vector<char> taken(static_cast<const char *>(from), static_cast<const char *>(from) + bytes);
        return rs_emulated_enqueue(stream, "a copy", [to, taken]() { memcpy(to, taken.data(), taken.size()); });
    }
    cudaError_t e = rs_emulated_enqueue(stream, "a copy", [to, from, bytes]() { memmove(to, from, bytes); });
    bool pageable = !rs_emulated_is_device(to) && !rs_emulated_is_pinned(to, bytes);
    return e == cudaSuccess && pageable ? cudaStreamSynchronize(stream) : e;
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind) {
    cudaError_t e = cudaDeviceSynchronize();
    if (e == cudaSuccess) e = cudaMemcpyAsync(to, from, bytes, kind, nullptr);
    return e == cudaSuccess ? cudaStreamSynchronize(nullptr) : e;
}

cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t stream) {
    if (!rs_emulated_inside(p, bytes)) return rs_emulated_return(cudaErrorInvalidValue);
    return rs_emulated_enqueue(stream, "a memset", [p, value, bytes]() { memset(p, value, bytes); });
}

/* ---- launches ---- */

cudaError_t cudaFuncSetAttribute(const void *kernel, cudaFuncAttribute attribute, int value) {
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 || (size_t)value > SHARED_MOST)
        return rs_emulated_return(cudaErrorInvalidValue);
    dynamic_limits()[kernel] = (size_t)value;
    return cudaSuccess;
}

cudaError_t
rs_emulated_launch(const cudaLaunchConfig_t *config, const void *kernel, std::function<void()> body,
                   const std::function<bool(const std::function<bool(const void *, size_t)> &)> &arguments) {
    if (stopped != cudaSuccess) return rs_emulated_return(stopped);
    auto known_limit = dynamic_limits().find(kernel);
    size_t most = known_limit == dynamic_limits().end() ? SHARED_DEFAULT : known_limit->second;
    most = most < SHARED_DEFAULT ? SHARED_DEFAULT : most;
    if (!within_limits(config->gridDim, config->blockDim)) return rs_emulated_return(cudaErrorInvalidConfiguration);
    if (config->dynamicSmemBytes > most) return rs_emulated_return(cudaErrorInvalidValue);
    if (!arguments(fit_for_device)) return rs_emulated_return(stopped);
    cudaLaunchConfig_t c = *config;
    return rs_emulated_enqueue(config->stream, "a kernel", [c, most, body]() {
        rs_emulated_run_grid(c.gridDim, c.blockDim, c.dynamicSmemBytes, most, body);
    });
}
