/* tests/support/cuda_emulated/emulated_block.cpp: blocks one after another, the threads of a block as fibers. A thread
 * costs a fiber of its own only from its first wait on: those that never wait run one behind the other on one stack. */
#include "emulated_device.h"

#include <cstdio>
#include <cstdlib>
#include <sys/mman.h>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define POISON(p, n) __asan_poison_memory_region((p), (n))
#define UNPOISON(p, n) __asan_unpoison_memory_region((p), (n))
#else
#define POISON(p, n) ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

/* ---- switching stacks ---- */

#if defined(__x86_64__)
/* Saves the registers that a call preserves on the stack of the old side, *from, and takes those of the other. */
extern "C" void rs_emulated_switch(void **from, void *to);
asm(".text\n"
    ".type rs_emulated_switch, @function\n"
    "rs_emulated_switch:\n"
    "  pushq %rbp\n  pushq %rbx\n  pushq %r12\n  pushq %r13\n  pushq %r14\n  pushq %r15\n"
    "  movq %rsp, (%rdi)\n"
    "  movq %rsi, %rsp\n"
    "  popq %r15\n  popq %r14\n  popq %r13\n  popq %r12\n  popq %rbx\n  popq %rbp\n"
    "  ret\n"
    ".size rs_emulated_switch, .-rs_emulated_switch\n");
typedef void *context;
static void switch_context(context *from, context *to) { rs_emulated_switch(from, *to); }
static void make_context(context *c, char *stack, size_t bytes, void (*entry)()) {
    void **top = reinterpret_cast<void **>(stack + bytes);
    *--top = nullptr; /* a function is entered 8 bytes off a multiple of 16 */
    *--top = reinterpret_cast<void *>(entry);
    for (int i = 0; i < 6; i++) *--top = nullptr;
    *c = top;
}
#else
#include <ucontext.h>
typedef ucontext_t context;
static void switch_context(context *from, context *to) { swapcontext(from, to); }
static void make_context(context *c, char *stack, size_t bytes, void (*entry)()) {
    getcontext(c);
    c->uc_stack.ss_sp = stack;
    c->uc_stack.ss_size = bytes;
    c->uc_link = nullptr;
    makecontext(c, entry, 0);
}
#endif

namespace {

const size_t STACK = 256 << 10, GUARD = 4096;

struct fiber {
    context where;
    char *stack;
    bool busy; /* a waiting thread lives on it */
};

enum state { NEW, READY, AT_BARRIER, IN_WARP, LEFT };

struct thread {
    uint3 index;
    enum state state;
    fiber *on;
    const char *file; /* of the barrier it waits at */
    int line;
};

struct warp {
    unsigned mask, arrived; /* of the exchange under way */
    unsigned generation;    /* exchanges completed: its last bit chooses the buffer */
    uint64_t value[2][32];
    const char *what;
};

struct shared_array {
    const char *key;
    char *data;
};

/* The block that runs now. */
struct block {
    const std::function<void()> *body;
    std::vector<thread> threads;
    std::vector<unsigned> order; /* in which threads begin and go on */
    std::vector<warp> warps;
    size_t next; /* in order: the first that has not begun */
    unsigned left, at_barrier;
    thread *now;
    fiber *running;
    std::vector<shared_array> arrays;
    size_t shared_used, dynamic, dynamic_most;
    char *dynamic_data;
} here;

std::vector<fiber *> fibers;
context scheduler;
#if defined(__SANITIZE_ADDRESS__)
void *scheduler_stack; /* the sanitizer wants to be told on which stack we are */
size_t scheduler_stack_bytes;
#endif

const size_t SHARED_ZONE = 64, SHARED_ROOM = 512 << 10, SHARED_DEFAULT = 48 << 10, SHARED_MOST = 227 << 10;
char *shared_room; /* [SHARED_ROOM] */

/* ---- fibers ---- */

void to_fiber(fiber *f) {
    here.running = f;
#if defined(__SANITIZE_ADDRESS__)
    void *fake = nullptr;
    __sanitizer_start_switch_fiber(&fake, f->stack + GUARD, STACK);
#endif
    switch_context(&scheduler, &f->where);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
}

void to_scheduler() {
    fiber *mine = here.running;
#if defined(__SANITIZE_ADDRESS__)
    void *fake = nullptr;
    __sanitizer_start_switch_fiber(&fake, scheduler_stack, scheduler_stack_bytes);
#endif
    switch_context(&mine->where, &scheduler);
#if defined(__SANITIZE_ADDRESS__)
    const void *bottom = nullptr;
    size_t bytes = 0;
    __sanitizer_finish_switch_fiber(fake, &bottom, &bytes);
#endif
}

/* What a fiber does for ever: takes threads that have not begun, one behind the other. */
void fiber_main() {
#if defined(__SANITIZE_ADDRESS__)
    const void *bottom = nullptr;
    __sanitizer_finish_switch_fiber(nullptr, &bottom, &scheduler_stack_bytes);
    scheduler_stack = const_cast<void *>(bottom);
#endif
    for (;;) {
        while (here.next < here.order.size() && rs_emulated_stopped() == cudaSuccess) {
            thread *t = &here.threads[here.order[here.next++]];
            t->on = here.running;
            here.now = t;
            threadIdx = t->index;
            (*here.body)();
            here.now->state = LEFT;
            here.now->on->busy = false;
            here.left++;
        }
        here.running->busy = false;
        to_scheduler();
    }
}

fiber *idle_fiber() {
    for (fiber *f : fibers) {
        if (!f->busy) return f;
    }
    fiber *f = new fiber();
    void *memory =
        mmap(nullptr, GUARD + STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) abort();
    f->stack = static_cast<char *>(memory);
    mprotect(f->stack, GUARD, PROT_NONE); /* a kernel whose stack runs over stops here */
    f->busy = false;
    make_context(&f->where, f->stack + GUARD, STACK, fiber_main);
    fibers.push_back(f);
    return f;
}

/* After an error the stacks of the threads that wait are of no use any more. */
void drop_fibers() {
    for (fiber *f : fibers) {
        UNPOISON(f->stack + GUARD, STACK);
        munmap(f->stack, GUARD + STACK);
        delete f;
    }
    fibers.clear();
}

/* The running thread gives way until it is READY. */
void wait_as(enum state s) {
    thread *me = here.now;
    me->state = s;
    me->on->busy = true;
    to_scheduler();
    here.now = me;
    threadIdx = me->index;
}

/* ---- the scheduler ---- */

void release_barrier() {
    const thread *first = nullptr;
    for (const thread &t : here.threads) {
        if (t.state != AT_BARRIER) continue;
        if (!first) first = &t;
        if (t.line != first->line || strcmp(t.file, first->file) != 0) {
            rs_emulated_stop(cudaErrorLaunchFailure, "threads of a block wait at different barriers: %s:%d and %s:%d",
                             first->file, first->line, t.file, t.line);
            return;
        }
    }
    if (here.left > 0) {
        rs_emulated_stop(cudaErrorLaunchFailure, "%s:%d: %u threads of the block wait at a barrier, %u have left",
                         first->file, first->line, here.at_barrier, here.left);
        return;
    }
    for (thread &t : here.threads) t.state = READY;
    here.at_barrier = 0;
}

void explain_deadlock() {
    for (size_t i = 0; i < here.threads.size(); i++) {
        if (here.threads[i].state != IN_WARP) continue;
        const warp &w = here.warps[i / 32];
        rs_emulated_stop(cudaErrorLaunchFailure, "%s with mask %08X: lanes %08X of it never arrive", w.what, w.mask,
                         w.mask & ~w.arrived);
        return;
    }
    rs_emulated_stop(cudaErrorLaunchFailure, "a barrier is not reached by all threads of the block");
}

/* One thread that may go on, looked for from a place that the seed chooses; NULL when there is none. */
thread *ready_thread(size_t *from) {
    size_t n = here.order.size();
    if (rs_emulated_order > 1) *from = rs_emulated_random((unsigned)n);
    for (size_t i = 0; i < n; i++) {
        size_t at = (*from + i) % n;
        thread *t = &here.threads[here.order[at]];
        if (t->state != READY) continue;
        *from = (at + 1) % n;
        return t;
    }
    return nullptr;
}

void run_threads() {
    size_t from = 0;
    while (here.left < here.threads.size() && rs_emulated_stopped() == cudaSuccess) {
        bool fresh = here.next < here.order.size();
        thread *t = fresh && (rs_emulated_order < 2 || rs_emulated_random(4) > 0) ? nullptr : ready_thread(&from);
        if (t) {
            t->state = READY;
            to_fiber(t->on);
        } else if (fresh) {
            to_fiber(idle_fiber());
        } else if (here.at_barrier + here.left == here.threads.size()) {
            release_barrier();
        } else {
            explain_deadlock();
        }
    }
    if (rs_emulated_stopped() != cudaSuccess) drop_fibers();
}

/* ---- one block ---- */

char *take_shared(size_t bytes) {
    size_t rounded = (bytes + 15) / 16 * 16;
    char *data = shared_room + here.shared_used + SHARED_ZONE;
    if (here.shared_used + rounded + 2 * SHARED_ZONE > SHARED_ROOM) abort();
    UNPOISON(data, bytes);
    memset(data, 0xFF, bytes);
    here.shared_used += SHARED_ZONE + rounded;
    return data;
}

void shuffle(std::vector<unsigned> *order) {
    for (size_t i = 0; i < order->size(); i++) (*order)[i] = (unsigned)i;
    for (size_t i = order->size(); i > 1 && rs_emulated_order > 1; i--)
        std::swap((*order)[i - 1], (*order)[rs_emulated_random((unsigned)i)]);
    for (size_t i = 0; i < order->size() && rs_emulated_order == 1; i++)
        (*order)[i] = (unsigned)(order->size() - 1 - i);
}

void begin_block(dim3 size) {
    unsigned n = size.x * size.y * size.z;
    here.threads.resize(n);
    for (unsigned i = 0; i < n; i++)
        here.threads[i] = {{i % size.x, i / size.x % size.y, i / size.x / size.y}, NEW, nullptr, nullptr, 0};
    here.warps.assign((n + 31) / 32, warp());
    here.order.resize(n);
    shuffle(&here.order);
    here.next = here.left = here.at_barrier = 0;
    here.arrays.clear();
    POISON(shared_room, here.shared_used + SHARED_ZONE);
    here.shared_used = 0;
    here.dynamic_data = take_shared(here.dynamic);
}

} // namespace

void rs_emulated_run_grid(dim3 grid, dim3 size, size_t dynamic, size_t dynamic_most,
                          const std::function<void()> &body) {
    uint64_t blocks = (uint64_t)grid.x * grid.y * grid.z;
    if (!shared_room) {
        shared_room = static_cast<char *>(aligned_alloc(64, SHARED_ROOM));
        if (!shared_room) abort();
        POISON(shared_room, SHARED_ROOM);
    }
    here.body = &body;
    here.dynamic = dynamic;
    here.dynamic_most = dynamic_most;
    gridDim = grid;
    blockDim = size;
    for (uint64_t i = 0; i < blocks && rs_emulated_stopped() == cudaSuccess; i++) {
        uint64_t b = rs_emulated_order == 0   ? i
                     : rs_emulated_order == 1 ? blocks - 1 - i
                                              : (i + rs_emulated_order) % blocks;
        blockIdx = {(unsigned)(b % grid.x), (unsigned)(b / grid.x % grid.y), (unsigned)(b / grid.x / grid.y)};
        begin_block(size);
        run_threads();
    }
}

/* ---- what a thread asks for ---- */

void rs_emulated_barrier(const char *file, int line) {
    here.now->file = file;
    here.now->line = line;
    here.at_barrier++;
    wait_as(AT_BARRIER);
}

const uint64_t *rs_emulated_exchange(unsigned mask, uint64_t value, const char *what) {
    static const uint64_t nothing[32] = {0};
    size_t number = (size_t)(here.now - here.threads.data()), first = number / 32 * 32;
    unsigned lane = (unsigned)(number % 32);
    warp &w = here.warps[number / 32];
    if (!(mask >> lane & 1U)) {
        rs_emulated_stop(cudaErrorLaunchFailure, "%s: lane %u is not in its own mask %08X", what, lane, mask);
        return nothing;
    }
    for (unsigned other = 0; other < 32; other++) {
        bool there = first + other < here.threads.size() && here.threads[first + other].state != LEFT;
        if (!(mask >> other & 1U) || there) continue;
        rs_emulated_stop(cudaErrorLaunchFailure, "%s: the mask %08X names lane %u, which has left or was never there",
                         what, mask, other);
        return nothing;
    }
    if (w.arrived == 0) {
        w.mask = mask;
        w.what = what;
    }
    if (w.mask != mask) {
        rs_emulated_stop(cudaErrorLaunchFailure, "%s: lanes of a warp come with masks %08X and %08X", what, w.mask,
                         mask);
        return nothing;
    }
    uint64_t *buffer = w.value[w.generation & 1U];
    buffer[lane] = value;
    w.arrived |= 1U << lane;
    if (w.arrived != mask) {
        wait_as(IN_WARP);
        return buffer; /* the next exchange fills the other one, and the one after it waits for this lane */
    }
    w.generation++;
    w.arrived = 0;
    for (unsigned other = 0; other < 32; other++) {
        if ((mask >> other & 1U) && other != lane) here.threads[first + other].state = READY;
    }
    return buffer;
}

void *rs_emulated_shared(const char *key, size_t bytes) {
    for (const shared_array &a : here.arrays) {
        if (a.key == key) return a.data;
    }
    here.arrays.push_back({key, take_shared(bytes)});
    size_t fixed = here.shared_used - SHARED_ZONE * (here.arrays.size() + 1) - (here.dynamic + 15) / 16 * 16;
    if (fixed > SHARED_DEFAULT ||
        fixed + here.dynamic > (here.dynamic_most > SHARED_DEFAULT ? SHARED_MOST : SHARED_DEFAULT))
        rs_emulated_stop(cudaErrorInvalidConfiguration,
                         "a block with %zu bytes of static and %zu of dynamic shared memory", fixed, here.dynamic);
    return here.arrays.back().data;
}

void *rs_emulated_dynamic_shared() { return here.dynamic_data; }

void rs_emulated_check_aligned(const void *p, size_t bytes) {
    if (reinterpret_cast<uintptr_t>(p) % bytes == 0) return;
    rs_emulated_stop(cudaErrorMisalignedAddress, "a vector of %zu bytes at an address that is no multiple of them",
                     bytes);
}
