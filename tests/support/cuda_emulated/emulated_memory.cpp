/* tests/support/cuda_emulated/emulated_memory.cpp: device memory in a mapping of its own that host code cannot touch,
 * and pinned host memory. Addresses are never used twice, so a pointer that outlives its allocation is found. */
#include "emulated_device.h"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define POISON(p, n) __asan_poison_memory_region((p), (n))
#define UNPOISON(p, n) __asan_unpoison_memory_region((p), (n))
#else
#define POISON(p, n) ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

namespace {

/* Zones lie on both sides of an allocation: filled with a pattern that is looked at afterwards, or poisoned for the
 * address sanitizer, which sees reads too. */
const size_t ZONE = 256, ARENA = (size_t)1 << 38;
const unsigned char ZONE_BYTE = 0xA5, FRESH_BYTE = 0xFF, FREED_BYTE = 0xDD;

char *arena;    /* [ARENA] reserved; NULL before the first allocation */
size_t used;    /* bytes handed out since the beginning, zones and freed ones included */
size_t in_use;  /* bytes of live allocations */
int open_depth; /* of rs_emulated_open */
struct sigaction before_segv;

std::map<char *, size_t> &live() {
    static std::map<char *, size_t> all;
    return all;
}
std::map<char *, size_t> &pinned() {
    static std::map<char *, size_t> all;
    return all;
}

size_t memory_bytes() {
    const char *asked = getenv("ROPESCOPE_EMULATED_MEMORY");
    return asked ? (size_t)strtoull(asked, nullptr, 10) : (size_t)4 << 30;
}

/* Countdown to an allocation that fails; 0: none. */
long fail_in =
    getenv("ROPESCOPE_EMULATED_FAIL_ALLOC") ? strtol(getenv("ROPESCOPE_EMULATED_FAIL_ALLOC"), nullptr, 10) : 0;

bool fails_now() { return fail_in > 0 && --fail_in == 0; }

void on_fault(int number, siginfo_t *info, void *context) {
    (void)context;
    const char *at = static_cast<const char *>(info->si_addr);
    if (arena && at >= arena && at < arena + ARENA) {
        static const char text[] = "emulated device: host code touched device memory\n";
        if (write(2, text, sizeof text - 1) < 0) _exit(1);
    }
    sigaction(number, &before_segv, nullptr); /* and fault once more, for whoever was there before */
}

bool reserve() {
    if (arena) return true;
    void *p = mmap(nullptr, ARENA, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) return false;
    arena = static_cast<char *>(p);
    struct sigaction action = {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &action, &before_segv);
    return true;
}

size_t page_up(size_t n) { return (n + 4095) / 4096 * 4096; }

void set_access(int access) {
    if (arena && used > 0) mprotect(arena, page_up(used), access);
}

bool zone_whole(const char *p) {
#if defined(__SANITIZE_ADDRESS__)
    (void)p;
#else
    for (size_t i = 0; i < ZONE; i++) {
        if ((unsigned char)p[i] != ZONE_BYTE) return false;
    }
#endif
    return true;
}

} // namespace

void rs_emulated_open() {
    if (open_depth++ == 0) set_access(PROT_READ | PROT_WRITE);
}

void rs_emulated_close() {
    if (--open_depth == 0) set_access(PROT_NONE);
}

bool rs_emulated_is_device(const void *p) {
    const char *at = static_cast<const char *>(p);
    return arena && at >= arena && at < arena + ARENA;
}

bool rs_emulated_inside(const void *p, size_t bytes) {
    char *at = static_cast<char *>(const_cast<void *>(p));
    auto next = live().upper_bound(at);
    if (next == live().begin()) return false;
    --next;
    size_t offset = (size_t)(at - next->first);
    return offset <= next->second && bytes <= next->second - offset;
}

bool rs_emulated_is_pinned(const void *p, size_t bytes) {
    char *at = static_cast<char *>(const_cast<void *>(p));
    auto next = pinned().upper_bound(at);
    if (next == pinned().begin()) return false;
    --next;
    size_t offset = (size_t)(at - next->first);
    return offset <= next->second && bytes <= next->second - offset;
}

void rs_emulated_check_zones() {
    for (const auto &block : live()) {
        if (zone_whole(block.first - ZONE) && zone_whole(block.first + (block.second + 255) / 256 * 256)) continue;
        rs_emulated_stop(cudaErrorIllegalAddress, "something was written outside of an allocation of %zu bytes",
                         block.second);
        return;
    }
}

cudaError_t cudaMalloc(void **p, size_t bytes) {
    *p = nullptr;
    if (rs_emulated_stopped() != cudaSuccess) return rs_emulated_stopped();
    if (fails_now() || bytes > memory_bytes() - in_use || !reserve())
        return rs_emulated_return(cudaErrorMemoryAllocation);
    size_t rounded = (bytes + 255) / 256 * 256, start = used + ZONE;
    if (start + rounded + ZONE > ARENA) return rs_emulated_return(cudaErrorMemoryAllocation);
    rs_emulated_open();
    used = start + rounded + ZONE;
    set_access(PROT_READ | PROT_WRITE);
    char *block = arena + start;
    memset(block - ZONE, ZONE_BYTE, ZONE);
    memset(block, FRESH_BYTE, bytes);
    /* The bytes up to the next multiple of 256 belong to nobody either. */
    memset(block + bytes, ZONE_BYTE, rounded - bytes + ZONE);
    POISON(block - ZONE, ZONE);
    POISON(block + bytes, rounded - bytes + ZONE);
    rs_emulated_close();
    live()[block] = bytes;
    in_use += bytes;
    *p = block;
    return cudaSuccess;
}

cudaError_t cudaFree(void *p) {
    if (!p) return cudaSuccess;
    cudaError_t e = cudaDeviceSynchronize();
    auto found = live().find(static_cast<char *>(p));
    if (found == live().end()) return rs_emulated_return(cudaErrorInvalidValue);
    size_t bytes = found->second, pages = page_up((size_t)(found->first - arena));
    rs_emulated_open();
    memset(found->first, FREED_BYTE, bytes);
    POISON(found->first, bytes);
    if (bytes > 8192 && found->first - arena + (long)bytes > (long)pages)
        madvise(arena + pages, ((size_t)(found->first - arena) + bytes - pages) / 4096 * 4096, MADV_DONTNEED);
    rs_emulated_close();
    in_use -= bytes;
    live().erase(found);
    return e;
}

cudaError_t cudaMallocHost(void **p, size_t bytes) {
    *p = nullptr;
    if (rs_emulated_stopped() != cudaSuccess) return rs_emulated_stopped();
    void *block = fails_now() ? nullptr : malloc(bytes > 0 ? bytes : 1);
    if (!block) return rs_emulated_return(cudaErrorMemoryAllocation);
    memset(block, FRESH_BYTE, bytes);
    pinned()[static_cast<char *>(block)] = bytes;
    *p = block;
    return cudaSuccess;
}

cudaError_t cudaFreeHost(void *p) {
    if (!p) return cudaSuccess;
    cudaError_t e = cudaDeviceSynchronize();
    if (pinned().erase(static_cast<char *>(p)) == 0) return rs_emulated_return(cudaErrorInvalidValue);
    free(p);
    return e;
}

cudaError_t cudaMemGetInfo(size_t *available, size_t *total) {
    *total = memory_bytes();
    *available = *total - in_use;
    return cudaSuccess;
}

void rs_emulated_fail_allocation(long nth) { fail_in = nth; }

void rs_emulated_forget_memory() {
    rs_emulated_open();
    for (const auto &block : live()) POISON(block.first, block.second);
    rs_emulated_close();
    live().clear();
    in_use = 0;
}
