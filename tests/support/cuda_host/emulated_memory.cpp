/* tests/support/cuda_host/emulated_memory.cpp: memory of the emulated devices. Each has a range of addresses that
 * nobody may touch but while work runs, and then only pages with live allocations. Between allocations lie red zones:
 * poisoned under AddressSanitizer, else painted and looked at when the work is done. Addresses are used anew as late as
 * possible, so that a pointer to freed memory stays one. */
#include "emulated_device.h"

#include <map>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#if RS_EMULATED_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace emulated {
namespace {

enum : size_t { RED = 1024, GRAIN = 256, PAGE = 4096 };

/* [begin, end) with its red zones; data in between. Freed ones are kept for messages until their place is needed. */
struct block {
    size_t end, data, bytes; /* addresses, size */
    bool live;
};

struct arena {
    size_t base, reserve, fresh; /* addresses from `fresh` on were never used */
    size_t capacity, used;
    std::map<size_t, block> blocks; /* by begin */
};

arena arenas[DEVICES_MOST];
std::map<size_t, size_t> pinned; /* address, size */
int device_count = -1;
int open_depth;
thread_local int device_now;
long allocations_to_failure = -1;
struct sigaction segv_before, bus_before;

size_t address(const void *p) { return reinterpret_cast<size_t>(p); }
void *pointer(size_t a) { return reinterpret_cast<void *>(a); }
size_t down(size_t a, size_t grain) { return a / grain * grain; }
size_t up(size_t a, size_t grain) { return down(a + grain - 1, grain); }

void allow(size_t from, size_t to, int rights) {
    if (from < to && mprotect(pointer(from), to - from, rights) != 0) {
        perror("emulated device: mprotect");
        abort();
    }
}

arena *arena_at(size_t a) {
    for (int d = 0; d < device_count; d++)
        if (a >= arenas[d].base && a < arenas[d].base + arenas[d].reserve) return &arenas[d];
    return nullptr;
}

/* The block whose span holds the address, or NULL. */
const block *block_at(const arena *m, size_t a) {
    auto next = m->blocks.upper_bound(a);
    if (next == m->blocks.begin()) return nullptr;
    const block &b = std::prev(next)->second;
    return a < b.end ? &b : nullptr;
}

/* ---- faults ---- */

/* What a kernel did wrong at this address. */
void stop_for_fault(const void *p) {
    if (in_guard_page(p)) return stop(cudaErrorLaunchFailure, "%s: the stack of a thread is used up", where());
    arena *m = arena_at(address(p));
    const block *b = m ? block_at(m, address(p)) : nullptr;
    const char *what = b && !b->live ? "memory that was freed" : m ? "memory that nobody allocated" : "no memory";
    stop(cudaErrorIllegalAddress, "%s: touches %s, at %p", where(), what, p);
}

/* A kernel gives up its block and leaves an error; host code dies as it would of any bad address, with a word more. */
void on_fault(int signal, siginfo_t *info, void *context) {
    bool kernel = in_kernel();
    if (kernel) stop_for_fault(info->si_addr);
#if defined(__x86_64__)
    if (kernel) {
        auto *registers = static_cast<ucontext_t *>(context)->uc_mcontext.gregs;
        registers[REG_RIP] = static_cast<greg_t>(reinterpret_cast<intptr_t>(&leave));
        registers[REG_RSP] = static_cast<greg_t>(reinterpret_cast<intptr_t>(fiber_stack_top()) - 8);
        return;
    }
#else
    (void)context; /* elsewhere the process dies of it, the reason said */
#endif
    if (!kernel && arena_at(address(info->si_addr))) {
        char line[256];
        int n = snprintf(line, sizeof line, "emulated device: host code touched device memory at %s\n",
                         describe(info->si_addr, 1));
        if (write(STDERR_FILENO, line, static_cast<size_t>(n)) < 0) _exit(1);
    }
    sigaction(signal, signal == SIGSEGV ? &segv_before : &bus_before, nullptr); /* and the instruction once more */
}

/* Test frameworks set handlers of their own before each test, so this is asked again and again. */
void catch_faults() {
    struct sigaction action = {};
    if (sigaction(SIGSEGV, nullptr, &action) != 0 || action.sa_sigaction == on_fault) return;
    action = {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &action, &segv_before);
    sigaction(SIGBUS, &action, &bus_before);
}

/* ---- arenas ---- */

void make_arenas() {
    size_t capacity = static_cast<size_t>(setting("ROPESCOPE_EMULATED_MEMORY", 4LL << 30));
    device_count = static_cast<int>(setting("ROPESCOPE_EMULATED_DEVICES", 1));
    if (device_count > DEVICES_MOST) device_count = DEVICES_MOST;
    for (int d = 0; d < device_count; d++) {
        arena *m = &arenas[d];
        m->capacity = capacity;
        m->reserve = up(8 * capacity + (size_t{64} << 20), PAGE);
        void *range = mmap(nullptr, m->reserve, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (range == MAP_FAILED) {
            perror("emulated device: mmap");
            abort();
        }
        madvise(range, m->reserve, MADV_HUGEPAGE); /* rights change often: fewer pages to go through */
        m->base = m->fresh = address(range);
    }
    catch_faults();
}

/* Calls f(from, to) for every run of pages that hold live blocks. */
template <typename F> void each_live_run(const arena *m, F f) {
    size_t from = 0, to = 0;
    for (const auto &entry : m->blocks) {
        if (!entry.second.live) continue;
        size_t first = down(entry.first, PAGE), last = up(entry.second.end, PAGE);
        if (first > to) {
            f(from, to);
            from = first;
        }
        to = last;
    }
    f(from, to);
}

/* Red zones of a block, painted or looked at. */
void paint_block(size_t begin, const block &b) {
    unpoison(pointer(begin), b.end - begin);
    memset(pointer(b.data), FRESH_BYTE, b.bytes);
    paint_red(pointer(begin), b.data - begin);
    paint_red(pointer(b.data + b.bytes), b.end - b.data - b.bytes);
}

void check_block(size_t begin, const block &b, const char *after) {
    size_t front = b.data - begin, back = b.end - b.data - b.bytes;
    size_t before = first_stain(pointer(begin), front), behind = first_stain(pointer(b.data + b.bytes), back);
    if (before == front && behind == back) return;
    if (behind < back)
        stop(cudaErrorIllegalAddress,
             "found after %s: byte %zu behind the end of an allocation of %zu bytes (%p) was written", after, behind,
             b.bytes, pointer(b.data));
    else
        stop(cudaErrorIllegalAddress, "found after %s: byte %zu before an allocation of %zu bytes (%p) was written",
             after, front - before, b.bytes, pointer(b.data));
    paint_red(pointer(begin), front);
    paint_red(pointer(b.data + b.bytes), back);
}

/* Where a span of n bytes fits: fresh addresses first, then between live blocks, whose freed neighbours are forgotten.
 */
size_t find_room(arena *m, size_t n) {
    if (n <= m->base + m->reserve - m->fresh) {
        m->fresh += n;
        return m->fresh - n;
    }
    size_t from = m->base;
    for (auto i = m->blocks.begin(); i != m->blocks.end(); ++i) {
        if (!i->second.live) continue;
        if (i->first - from >= n) break;
        from = i->second.end;
    }
    if (m->fresh - from < n) return 0;
    m->blocks.erase(m->blocks.lower_bound(from), m->blocks.lower_bound(from + n));
    return from;
}

bool fails_on_demand() {
    if (allocations_to_failure < 0)
        allocations_to_failure = static_cast<long>(setting("ROPESCOPE_EMULATED_FAIL_ALLOC", 0));
    return allocations_to_failure > 0 && --allocations_to_failure == 0;
}

cudaError_t allocate(arena *m, void **out, size_t bytes) {
    size_t need = up(bytes, GRAIN);
    if (bytes > m->capacity || need > m->capacity - m->used) return cudaErrorMemoryAllocation;
    /* cudaMalloc promises 256 bytes; data never stands better than that, so nobody can lean on more. */
    size_t span = RED + 2 * GRAIN + need + RED, begin = find_room(m, span);
    if (begin == 0) return cudaErrorMemoryAllocation;
    block b = {begin + span, up(begin + RED, 2 * GRAIN) + GRAIN, bytes, true};
    m->blocks[begin] = b;
    m->used += need;
    allow(down(begin, PAGE), up(b.end, PAGE), PROT_READ | PROT_WRITE);
    paint_block(begin, b);
    if (open_depth == 0) allow(down(begin, PAGE), up(b.end, PAGE), PROT_NONE);
    *out = pointer(b.data);
    return cudaSuccess;
}

/* Whole pages of the block go back to the system and stay shut; what is left of it is full of NaN and poisoned. */
void release(arena *m, size_t begin) {
    block &b = m->blocks[begin];
    size_t first = up(begin, PAGE), last = down(b.end, PAGE);
    open_memory();
    b.live = false;
    m->used -= up(b.bytes, GRAIN);
    unpoison(pointer(begin), b.end - begin);
    if (first < last) {
        memset(pointer(begin), FRESH_BYTE, first - begin);
        memset(pointer(last), FRESH_BYTE, b.end - last);
        poison(pointer(begin), first - begin);
        poison(pointer(last), b.end - last);
        madvise(pointer(first), last - first, MADV_DONTNEED);
        allow(first, last, PROT_NONE);
    } else {
        memset(pointer(begin), FRESH_BYTE, b.end - begin);
        poison(pointer(begin), b.end - begin);
    }
    close_memory("freeing memory");
}

} // namespace

/* ---- for the other parts ---- */

int devices() {
    if (device_count < 0) make_arenas();
    return device_count;
}

int current_device() { return device_now; }

place find(const void *p) {
    size_t a = address(p);
    devices();
    if (arena *m = arena_at(a)) {
        const block *b = block_at(m, a);
        int device = static_cast<int>(m - arenas);
        if (b && b->live && a >= b->data && a <= b->data + b->bytes)
            return {PLACE_DEVICE, device, a - b->data, b->bytes};
        return {PLACE_NOWHERE, device, 0, 0};
    }
    auto next = pinned.upper_bound(a);
    if (next != pinned.begin() && a <= std::prev(next)->first + std::prev(next)->second)
        return {PLACE_PINNED, 0, a - std::prev(next)->first, std::prev(next)->second};
    return {PLACE_HOST, 0, 0, 0};
}

bool inside(const void *p, size_t n) {
    place at = find(p);
    return at.kind == PLACE_DEVICE && n <= at.bytes - at.offset;
}

const char *describe(const void *p, size_t n) {
    static thread_local char text[192];
    place at = find(p);
    arena *m = arena_at(address(p));
    const block *b = m ? block_at(m, address(p)) : nullptr;
    int used = snprintf(text, sizeof text, "%p, %zu byte%s", p, n, n == 1 ? "" : "s");
    size_t left = sizeof text - static_cast<size_t>(used);
    char *to = text + used;
    if (at.kind == PLACE_DEVICE || at.kind == PLACE_PINNED)
        snprintf(to, left, " (offset %zu of %s allocation of %zu)", at.offset,
                 at.kind == PLACE_PINNED ? "a pinned" : "an", at.bytes);
    else if (at.kind == PLACE_HOST) snprintf(to, left, " (memory of the host)");
    else if (b && !b->live) snprintf(to, left, " (memory of the device that was freed)");
    else if (b && address(p) > b->data)
        snprintf(to, left, " (%zu behind the end of an allocation of %zu)", address(p) - b->data - b->bytes, b->bytes);
    else snprintf(to, left, " (an address of the device, but of no allocation)");
    return text;
}

bool is_mapped(uintptr_t a) {
    unsigned char there = 0;
#if RS_EMULATED_ASAN && defined(__x86_64__)
    if (a < 0x100080000000U) return false; /* the sanitizer's own tables, nobody's memory */
#endif
    return a < (uintptr_t{1} << 47) && mincore(pointer(down(a, PAGE)), PAGE, &there) == 0;
}

void open_memory() {
    if (open_depth++ > 0) return;
    catch_faults();
    for (int d = 0; d < devices(); d++)
        each_live_run(&arenas[d], [](size_t from, size_t to) { allow(from, to, PROT_READ | PROT_WRITE); });
}

void close_memory(const char *after) {
    if (open_depth == 1) {
        for (int d = 0; d < device_count && !RS_EMULATED_ASAN; d++)
            for (const auto &entry : arenas[d].blocks)
                if (entry.second.live) check_block(entry.first, entry.second, after);
        for (int d = 0; d < device_count; d++) allow(arenas[d].base, up(arenas[d].fresh, PAGE), PROT_NONE);
    }
    open_depth--;
}

#if RS_EMULATED_ASAN
void poison(void *p, size_t n) { __asan_poison_memory_region(p, n); }
void unpoison(void *p, size_t n) { __asan_unpoison_memory_region(p, n); }
void paint_red(void *p, size_t n) { poison(p, n); }
size_t first_stain(const void *, size_t n) { return n; }
#else
void poison(void *, size_t) {}
void unpoison(void *, size_t) {}
void paint_red(void *p, size_t n) { memset(p, RED_BYTE, n); }
size_t first_stain(const void *p, size_t n) {
    const unsigned char *bytes = static_cast<const unsigned char *>(p);
    size_t i = 0;
    while (i < n && bytes[i] == RED_BYTE) i++;
    return i;
}
#endif

} // namespace emulated

/* ---- the functions of CUDA ---- */

using namespace emulated;

void rs_emulated_fail_allocation(long n) {
    guard g;
    allocations_to_failure = n;
}

cudaError_t cudaSetDevice(int device) {
    guard g;
    if (device < 0 || device >= devices()) return refuse(cudaErrorInvalidDevice, "cudaSetDevice: no device %d", device);
    device_now = device;
    return result();
}

cudaError_t cudaGetDevice(int *device) {
    guard g;
    *device = device_now;
    return result();
}

cudaError_t cudaMemGetInfo(size_t *available, size_t *total) {
    guard g;
    if (devices() == 0) return result(cudaErrorNoDevice);
    const arena &m = arenas[device_now];
    *available = m.capacity - m.used;
    *total = m.capacity;
    return result();
}

cudaError_t cudaMalloc(void **out, size_t bytes) {
    guard g;
    if (stopped() != cudaSuccess) return stopped();
    if (devices() == 0) return result(cudaErrorNoDevice);
    *out = nullptr;
    if (bytes == 0) return result(); /* as CUDA: success and no memory */
    return result(fails_on_demand() ? cudaErrorMemoryAllocation : allocate(&arenas[device_now], out, bytes));
}

cudaError_t cudaFree(void *p) {
    guard g;
    cudaError_t e = run_everything();
    if (!p) return e;
    place at = find(p);
    if (at.kind != PLACE_DEVICE || at.offset != 0)
        return refuse(cudaErrorInvalidValue, "cudaFree: %s: no allocation begins there", describe(p, 1));
    auto next = arenas[at.device].blocks.upper_bound(address(p));
    release(&arenas[at.device], std::prev(next)->first);
    return result(e);
}

cudaError_t cudaHostAlloc(void **out, size_t bytes, unsigned flags) {
    guard g;
    (void)flags;
    if (stopped() != cudaSuccess) return stopped();
    *out = nullptr;
    if (bytes == 0) return result();
    void *p = fails_on_demand() ? nullptr : aligned_alloc(PAGE, up(bytes, PAGE));
    if (!p) return result(cudaErrorMemoryAllocation);
    memset(p, FRESH_BYTE, bytes);
    poison(static_cast<char *>(p) + bytes, up(bytes, PAGE) - bytes);
    pinned[address(p)] = bytes;
    *out = p;
    return result();
}

cudaError_t cudaMallocHost(void **out, size_t bytes) { return cudaHostAlloc(out, bytes, cudaHostAllocDefault); }

cudaError_t cudaFreeHost(void *p) {
    guard g;
    cudaError_t e = run_everything();
    if (!p) return e;
    auto found = pinned.find(address(p));
    if (found == pinned.end())
        return refuse(cudaErrorInvalidValue, "cudaFreeHost: %s: no pinned memory begins there", describe(p, 1));
    unpoison(p, up(found->second, PAGE));
    pinned.erase(found);
    free(p);
    return result(e);
}
