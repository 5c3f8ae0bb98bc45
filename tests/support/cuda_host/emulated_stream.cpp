/* tests/support/cuda_host/emulated_stream.cpp: streams, events and copies. A stream is a list of work that nobody does
 * until somebody waits. Waiting runs pieces of work, one at a time, until what is waited for is done; which stream goes
 * next is up to the seed, so that work lacking an event between two streams does run in the wrong order sometimes. */
#include "emulated_device.h"

#include <deque>
#include <map>
#include <string>
#include <time.h>
#include <vector>

namespace emulated {
struct stream;
}
/* Handles are keys of the tables below and never looked into. */
struct CUstream_st {};
struct CUevent_st {};

namespace emulated {

struct stream {
    struct piece {
        std::string what;
        std::function<void()> work;
        std::shared_ptr<stream> after; /* waits until that stream has done so many pieces; no work of its own */
        uint64_t after_number;
    };
    int device;
    bool blocking; /* waits for stream 0, and stream 0 for it */
    std::deque<piece> pieces;
    uint64_t issued, done;
};

namespace {

struct event {
    int device;
    bool timed, recorded;
    std::shared_ptr<stream> where; /* recorded behind so many pieces */
    uint64_t number;
    double milliseconds; /* when it was reached */
};

typedef std::shared_ptr<stream> stream_ref;
typedef std::shared_ptr<event> event_ref;

std::vector<stream_ref> streams; /* all that have work or a handle, in the order they were made */
std::map<cudaStream_t, stream_ref> stream_handles;
std::map<cudaEvent_t, event_ref> event_handles;
stream_ref null_streams[DEVICES_MOST];

stream_ref make_stream(int device, bool blocking) {
    auto s = std::make_shared<stream>();
    s->device = device;
    s->blocking = blocking;
    streams.push_back(s);
    return s;
}

/* The stream of a handle; NULL when there is none. */
stream_ref stream_of(cudaStream_t handle) {
    if (handle) {
        auto found = stream_handles.find(handle);
        return found == stream_handles.end() ? nullptr : found->second;
    }
    if (devices() == 0) return nullptr;
    stream_ref &s = null_streams[current_device()];
    if (!s) s = make_stream(current_device(), true);
    return s;
}

bool is_null_stream(const stream_ref &s) { return s == null_streams[s->device]; }

cudaError_t no_stream(const char *call) { return refuse(cudaErrorInvalidResourceHandle, "%s: no such stream", call); }

void append(const stream_ref &s, const char *what, std::function<void()> work, stream_ref after = nullptr,
            uint64_t number = 0) {
    s->pieces.push_back({what, std::move(work), std::move(after), number});
    s->issued++;
}

/* Stream 0 starts a piece when all blocking streams have done theirs so far, and they start theirs after it. */
void append_joins(const stream_ref &s) {
    if (!s->blocking) return;
    bool null = is_null_stream(s);
    for (size_t i = 0; i < streams.size(); i++) {
        stream_ref other = streams[i];
        if (other == s || !other->blocking || other->device != s->device || other->done == other->issued) continue;
        if (null || is_null_stream(other)) append(s, "joining stream 0", nullptr, other, other->issued);
    }
}

/* ---- running ---- */

bool ready(const stream &s) {
    if (s.pieces.empty()) return false;
    const stream::piece &next = s.pieces.front();
    return !next.after || next.after->done >= next.after_number;
}

/* The stream that has to go on for s to go on, as far as that can be followed. */
stream_ref what_holds_up(stream_ref s) {
    for (size_t i = 0; i < streams.size() && !ready(*s) && !s->pieces.empty(); i++) s = s->pieces.front().after;
    return s;
}

/* Which stream goes next when `wanted` is waited for. */
stream_ref choose(const stream_ref &wanted) {
    std::vector<stream_ref> able;
    for (const stream_ref &s : streams)
        if (ready(*s)) able.push_back(s);
    if (able.empty()) return nullptr;
    stream_ref needed = what_holds_up(wanted);
    if (seed() == 0 && ready(*needed)) return needed;
    if (seed() > 1) return able[draw(static_cast<uint32_t>(able.size()))];
    return able.back() == needed ? able.front() : able.back();
}

/* One piece; memory is open. */
void run_piece(const stream_ref &s) {
    stream::piece next = std::move(s->pieces.front());
    s->pieces.pop_front();
    if (next.work && stopped() == cudaSuccess) next.work();
    s->done++;
}

void forget_finished() {
    for (size_t i = 0; i < streams.size();) {
        bool idle = streams[i]->pieces.empty() && streams[i].use_count() == 1; /* no handle, no event */
        if (idle) streams.erase(streams.begin() + static_cast<std::ptrdiff_t>(i));
        else i++;
    }
}

cudaError_t run_until(const stream_ref &s, uint64_t number) {
    if (stopped() != cudaSuccess) return stopped();
    if (s->done >= number) return result();
    std::string last;
    open_memory();
    while (s->done < number && stopped() == cudaSuccess) {
        stream_ref next = choose(s);
        if (!next) {
            stop(cudaErrorLaunchFailure, "streams wait for each other: nothing can go on");
            break;
        }
        if (next->pieces.front().work) last = next->pieces.front().what;
        run_piece(next);
    }
    close_memory(last.c_str());
    if (stopped() != cudaSuccess) drop_everything();
    forget_finished();
    return result();
}

double now() {
    timespec t = {};
    clock_gettime(CLOCK_MONOTONIC, &t);
    return static_cast<double>(t.tv_sec) * 1e3 + static_cast<double>(t.tv_nsec) * 1e-6;
}

} // namespace

cudaError_t enqueue(cudaStream_t handle, int device, const char *what, std::function<void()> work) {
    if (stopped() != cudaSuccess) return stopped();
    stream_ref s = stream_of(handle);
    if (!s) return no_stream(what);
    if (device >= 0 && s->device != device)
        return refuse(cudaErrorInvalidResourceHandle, "%s: device %d is current, the stream is of device %d", what,
                      device, s->device);
    append_joins(s);
    append(s, what, std::move(work));
    return result();
}

cudaError_t run_everything() {
    for (size_t i = 0; i < streams.size(); i++) {
        stream_ref s = streams[i];
        size_t before = streams.size();
        run_until(s, s->issued);
        if (streams.size() != before) i = static_cast<size_t>(-1); /* finished ones were forgotten */
    }
    return result();
}

void drop_everything() {
    for (const stream_ref &s : streams) {
        s->pieces.clear();
        s->done = s->issued;
    }
}

} // namespace emulated

using namespace emulated;

/* ---- streams ---- */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned flags) {
    guard g;
    if (stopped() != cudaSuccess) return stopped();
    if (devices() == 0) return result(cudaErrorNoDevice);
    *out = new CUstream_st;
    stream_handles[*out] = make_stream(current_device(), (flags & cudaStreamNonBlocking) == 0);
    return result();
}

cudaError_t cudaStreamCreate(cudaStream_t *out) { return cudaStreamCreateWithFlags(out, cudaStreamDefault); }

/* Its work is still done, whenever somebody waits for something. */
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    guard g;
    if (stream_handles.erase(stream) == 0) return no_stream("cudaStreamDestroy");
    delete stream;
    forget_finished();
    return result();
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    guard g;
    stream_ref s = stream_of(stream);
    return s ? run_until(s, s->issued) : no_stream("cudaStreamSynchronize");
}

static cudaError_t query(const stream_ref &s, uint64_t number) {
    if (s->done >= number || stopped() != cudaSuccess) return result();
    stream_ref next = choose(s);
    if (next) run_until(next, next->done + 1);
    return result(s->done >= number ? cudaSuccess : cudaErrorNotReady);
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
    guard g;
    stream_ref s = stream_of(stream);
    return s ? query(s, s->issued) : no_stream("cudaStreamQuery");
}

cudaError_t cudaDeviceSynchronize() {
    guard g;
    std::vector<stream_ref> mine;
    for (const stream_ref &s : streams)
        if (s->device == current_device()) mine.push_back(s);
    for (const stream_ref &s : mine) run_until(s, s->issued);
    return result();
}

/* ---- events ---- */

static event_ref event_of(cudaEvent_t handle) {
    auto found = event_handles.find(handle);
    return found == event_handles.end() ? nullptr : found->second;
}

static cudaError_t no_event(const char *call) {
    return refuse(cudaErrorInvalidResourceHandle, "%s: no such event", call);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned flags) {
    guard g;
    if (stopped() != cudaSuccess) return stopped();
    if (devices() == 0) return result(cudaErrorNoDevice);
    *out = new CUevent_st;
    auto e = std::make_shared<event>();
    e->device = current_device();
    e->timed = (flags & cudaEventDisableTiming) == 0;
    event_handles[*out] = e;
    return result();
}

cudaError_t cudaEventCreate(cudaEvent_t *out) { return cudaEventCreateWithFlags(out, cudaEventDefault); }

cudaError_t cudaEventDestroy(cudaEvent_t event) {
    guard g;
    if (event_handles.erase(event) == 0) return no_event("cudaEventDestroy");
    delete event;
    return result();
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    guard g;
    event_ref e = event_of(event);
    if (!e) return no_event("cudaEventRecord");
    cudaError_t status = enqueue(stream, e->device, "cudaEventRecord", [e] { e->milliseconds = now(); });
    if (status != cudaSuccess) return status;
    e->recorded = true;
    e->where = stream_of(stream);
    e->number = e->where->issued;
    return result();
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags) {
    guard g;
    (void)flags;
    if (stopped() != cudaSuccess) return stopped();
    stream_ref s = stream_of(stream);
    event_ref e = event_of(event);
    if (!s) return no_stream("cudaStreamWaitEvent");
    if (!e) return no_event("cudaStreamWaitEvent");
    if (!e->recorded) {
        stop(cudaErrorInvalidValue,
             "cudaStreamWaitEvent: the event has not been recorded, so nothing would be waited for");
        return result();
    }
    append(s, "cudaStreamWaitEvent", nullptr, e->where, e->number);
    return result();
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    guard g;
    event_ref e = event_of(event);
    if (!e) return no_event("cudaEventSynchronize");
    return e->recorded ? run_until(e->where, e->number) : result();
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
    guard g;
    event_ref e = event_of(event);
    if (!e) return no_event("cudaEventQuery");
    return e->recorded ? query(e->where, e->number) : result();
}

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t start, cudaEvent_t end) {
    guard g;
    event_ref a = event_of(start), b = event_of(end);
    if (!a || !b || !a->timed || !b->timed || !a->recorded || !b->recorded)
        return refuse(cudaErrorInvalidResourceHandle,
                      "cudaEventElapsedTime: an event that keeps no time or was not recorded");
    if (a->where->done < a->number || b->where->done < b->number) return result(cudaErrorNotReady);
    *milliseconds = static_cast<float>(b->milliseconds - a->milliseconds);
    return result();
}

/* ---- copies ---- */

/* Does p lie where the copy's direction says it does, n bytes of it? */
static bool fits(const void *p, size_t n, bool on_device) {
    place at = find(p);
    if (on_device) return inside(p, n);
    return at.kind == PLACE_HOST || (at.kind == PLACE_PINNED && n <= at.bytes - at.offset);
}

static cudaMemcpyKind direction(const void *dst, const void *src) {
    bool to = find(dst).kind == PLACE_DEVICE, from = find(src).kind == PLACE_DEVICE;
    return to ? (from ? cudaMemcpyDeviceToDevice : cudaMemcpyHostToDevice)
              : (from ? cudaMemcpyDeviceToHost : cudaMemcpyHostToHost);
}

static cudaError_t check_copy(const char *call, const void *dst, const void *src, size_t n, cudaMemcpyKind kind) {
    bool to = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
    bool from = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    const void *wrong = !fits(dst, n, to) ? dst : !fits(src, n, from) ? src : nullptr;
    if (wrong)
        return refuse(cudaErrorInvalidValue, "%s: %s should lie within one allocation on the %s, but: %s", call,
                      wrong == dst ? "the target" : "the source", (wrong == dst ? to : from) ? "device" : "host",
                      describe(wrong, n));
    const char *a = static_cast<const char *>(dst), *b = static_cast<const char *>(src);
    if (a < b + n && b < a + n) return refuse(cudaErrorInvalidValue, "%s: source and target overlap", call);
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
    guard g;
    if (stopped() != cudaSuccess || bytes == 0) return result();
    if (kind == cudaMemcpyDefault) kind = direction(dst, src);
    cudaError_t e = check_copy("cudaMemcpyAsync", dst, src, bytes, kind);
    if (e != cudaSuccess) return e;
    bool staged = kind != cudaMemcpyDeviceToHost && find(src).kind == PLACE_HOST;
    if (staged) {
        auto copy =
            std::make_shared<std::vector<char>>(static_cast<const char *>(src), static_cast<const char *>(src) + bytes);
        e = enqueue(stream, -1, "cudaMemcpyAsync", [dst, copy] { memcpy(dst, copy->data(), copy->size()); });
    } else {
        e = enqueue(stream, -1, "cudaMemcpyAsync", [dst, src, bytes] { memcpy(dst, src, bytes); });
    }
    if (e != cudaSuccess || find(dst).kind != PLACE_HOST) return e;
    return cudaStreamSynchronize(stream); /* into pageable memory CUDA copies while the caller waits */
}

cudaError_t cudaMemcpy(void *dst, const void *src, size_t bytes, cudaMemcpyKind kind) {
    guard g;
    cudaError_t e = cudaMemcpyAsync(dst, src, bytes, kind, nullptr);
    return e == cudaSuccess ? cudaStreamSynchronize(nullptr) : e;
}

cudaError_t cudaMemcpyPeerAsync(void *dst, int dst_device, const void *src, int src_device, size_t bytes,
                                cudaStream_t stream) {
    guard g;
    if (stopped() != cudaSuccess || bytes == 0) return result();
    place to = find(dst), from = find(src);
    if (to.kind != PLACE_DEVICE || to.device != dst_device || from.kind != PLACE_DEVICE || from.device != src_device)
        return refuse(cudaErrorInvalidValue, "cudaMemcpyPeerAsync: target %p or source %p is not on its device %d, %d",
                      dst, src, dst_device, src_device);
    return cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDeviceToDevice, stream);
}

cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t stream) {
    guard g;
    if (stopped() != cudaSuccess || bytes == 0) return result();
    if (!inside(p, bytes))
        return refuse(cudaErrorInvalidValue, "cudaMemsetAsync: no part of one allocation: %s", describe(p, bytes));
    return enqueue(stream, -1, "cudaMemsetAsync", [p, value, bytes] { memset(p, value, bytes); });
}
