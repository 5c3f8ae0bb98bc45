/* tests/support/cuda_host/emulated_fibers.cpp: one block of a kernel. Its threads run one at a time: a fiber takes one
 * thread after the other and runs it to its end; only a thread that has to wait (at a barrier, for lanes of its warp)
 * keeps its fiber, and another one takes over. Who goes first, at the start and behind a barrier, is up to the seed.
 * When nobody can go on and threads are left over, the kernel is wrong and the block is given up: its fibers' stacks
 * are simply used anew. */
#include "emulated_device.h"

#include <algorithm>
#include <numeric>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <vector>

#if RS_EMULATED_ASAN
#include <sanitizer/common_interface_defs.h>
#endif
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;
uint64_t rs_emulated_block;
int rs_emulated_thread;

namespace emulated {
namespace {

/* ---- switching stacks ---- */

enum : size_t { PAGE = 4096, STACK = RS_EMULATED_ASAN ? 512 << 10 : 128 << 10 };

struct fiber {
#if defined(__x86_64__)
    void *sp;
#else
    ucontext_t context;
#endif
    char *bottom; /* of the stack; the page below it is shut */
    size_t size;
    void *fake_stack; /* the sanitizer's */
};

fiber host;             /* the stack that called run_block */
fiber *running = &host; /* whose stack this is */
/* One for each thread that can wait, and one more that runs. */
fiber fibers[THREADS_MOST + 1], *idle[THREADS_MOST + 1]; /* all; those that hold no thread */
size_t fiber_count, idle_count;
void fiber_main();

#if defined(__x86_64__)
extern "C" void rs_emulated_switch(void **save_sp, void *sp);
/* Keeps what a function must keep, changes stacks, returns where the other one had called. */
asm(".text\n"
    ".hidden rs_emulated_switch\n"
    ".globl rs_emulated_switch\n"
    ".type rs_emulated_switch,@function\n"
    "rs_emulated_switch:\n"
    "  pushq %rbp\n  pushq %rbx\n  pushq %r12\n  pushq %r13\n  pushq %r14\n  pushq %r15\n"
    "  movq %rsp, (%rdi)\n"
    "  movq %rsi, %rsp\n"
    "  popq %r15\n  popq %r14\n  popq %r13\n  popq %r12\n  popq %rbx\n  popq %rbp\n"
    "  ret\n"
    ".size rs_emulated_switch, .-rs_emulated_switch\n");

/* number: stacks start at different places of a page, or they would crowd the same lines of the cache. */
void prepare(fiber *f, size_t number) {
    char *top = f->bottom + f->size - 64 - number % 32 * 128;
    void **frame = reinterpret_cast<void **>(top - reinterpret_cast<uintptr_t>(top) % 16);
    frame[0] = reinterpret_cast<void *>(fiber_main);
    frame[1] = nullptr; /* nobody to return to */
    f->sp = frame - 6;  /* registers that nobody reads */
    std::fill(frame - 6, frame, nullptr);
}

void jump(fiber *from, fiber *to) { rs_emulated_switch(&from->sp, to->sp); }
#else
void prepare(fiber *f, size_t number) {
    (void)number;
    getcontext(&f->context);
    f->context.uc_stack.ss_sp = f->bottom;
    f->context.uc_stack.ss_size = f->size;
    f->context.uc_link = nullptr;
    makecontext(&f->context, fiber_main, 0);
}

void jump(fiber *from, fiber *to) { swapcontext(&from->context, &to->context); }
#endif

/* Just landed on a stack. The sanitizer says where the stack is that one came from: so the host's becomes known. */
void landed(fiber *came_from) {
#if RS_EMULATED_ASAN
    const void *bottom = nullptr;
    size_t size = 0;
    __sanitizer_finish_switch_fiber(running->fake_stack, &bottom, &size);
    if (came_from == &host) {
        host.bottom = static_cast<char *>(const_cast<void *>(bottom));
        host.size = size;
    }
#else
    (void)came_from;
#endif
}

fiber *left_stack; /* the fiber that switched last */

void switch_to(fiber *to) {
    fiber *from = running;
    left_stack = from;
    running = to;
#if RS_EMULATED_ASAN
    __sanitizer_start_switch_fiber(&from->fake_stack, to->bottom, to->size);
#endif
    jump(from, to);
    landed(left_stack);
}

fiber *new_fiber() {
    if (fiber_count > THREADS_MOST) abort(); /* more than can wait */
    fiber *f = &fibers[fiber_count];
    void *memory =
        mmap(nullptr, STACK + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory, PAGE, PROT_NONE) != 0) {
        perror("emulated device: a stack");
        abort();
    }
    f->bottom = static_cast<char *>(memory) + PAGE;
    f->size = STACK;
    prepare(f, fiber_count++);
    return f;
}

fiber *idle_fiber() { return idle_count > 0 ? idle[--idle_count] : new_fiber(); }

/* ---- the block ---- */

enum wait_kind : unsigned char { WAITS_NOT, WAITS_BARRIER, WAITS_WARP, HAS_LEFT };

struct thread_state {
    fiber *on; /* while it waits */
    uint64_t result, deposit;
    int source;
    wait_kind wait;
    const char *what, *file;
    int line;
};

/* Lanes of a warp that wait for each other. */
struct meeting {
    rs_emulated_meeting kind;
    unsigned mask, here;
    const char *what, *file;
    int line;
};

struct warp_state {
    unsigned left, absent; /* lanes that have ended, lanes that the block does not have */
    int open;
    meeting meetings[32]; /* the first `open` */
};

const launch *job;
int size, started, left_over; /* threads of the block; those begun; those not ended */
int &current = rs_emulated_thread;
bool given_up;
bool ready_first; /* threads that may go on go before those not begun */
bool warp_first;  /* a warp whose lanes have met goes before whoever else may go on: it runs ahead as far as it can */
uint3 place_of[THREADS_MOST];
thread_state threads[THREADS_MOST];
warp_state warps[THREADS_MOST / 32];
uint16_t ready[THREADS_MOST]; /* ring: threads that may go on */
unsigned ready_head, ready_count;
pthread_t kernel_thread;
bool kernel_runs;

struct {
    int here, count;
    const char *what, *file;
    int line;
} barrier;

/* Orders of the threads, made at launch: one for seeds 0 and 1, several to choose from for the others. */
enum { ORDERS_MOST = 8 };
uint16_t orders[ORDERS_MOST][THREADS_MOST];
int order_count;
bool downwards; /* seed 1 */
const uint16_t *order;

void shuffle(uint16_t *x, int n) {
    for (int i = n - 1; i > 0; i--) std::swap(x[i], x[draw(static_cast<uint32_t>(i) + 1)]);
}

/* Half of the shuffled orders keep the threads of a warp together: a warp that runs ahead of the others does other harm
 * than a thread that does. */
void make_orders() {
    order_count = seed() > 1 ? ORDERS_MOST : 1;
    downwards = seed() == 1;
    for (int o = 0; o < order_count; o++) {
        std::iota(orders[o], orders[o] + size, uint16_t{0});
        if (downwards) std::reverse(orders[o], orders[o] + size);
        if (order_count == 1) continue;
        uint16_t *first = orders[o];
        if (o % 2 != 0) {
            shuffle(first, size);
            continue;
        }
        /* Warp by warp, the last one perhaps not whole. */
        uint16_t warp[THREADS_MOST / 32];
        int n = (size + 31) / 32;
        std::iota(warp, warp + n, uint16_t{0});
        shuffle(warp, n);
        for (int w = 0; w < n; w++) {
            int lanes = std::min(32, size - warp[w] * 32);
            std::iota(first, first + lanes, static_cast<uint16_t>(warp[w] * 32));
            shuffle(first, lanes);
            first += lanes;
        }
    }
}

const uint16_t *some_order() { return orders[order_count > 1 ? draw(ORDERS_MOST) : 0]; }

void make_ready(int t) {
    threads[t].wait = WAITS_NOT;
    ready[(ready_head + ready_count++) % THREADS_MOST] = static_cast<uint16_t>(t);
}

void make_ready_at_once(int t) {
    threads[t].wait = WAITS_NOT;
    ready_head = (ready_head + THREADS_MOST - 1) % THREADS_MOST;
    ready[ready_head] = static_cast<uint16_t>(t);
    ready_count++;
}

/* ---- giving up ---- */

/* The stack of this fiber is left as it is and used anew by the next block. */
[[noreturn]] void give_up() {
    given_up = true;
    switch_to(&host);
    abort(); /* nobody comes back here */
}

#define GIVE_UP(...)                                                                                                   \
    do {                                                                                                               \
        stop(__VA_ARGS__);                                                                                             \
        give_up();                                                                                                     \
    } while (0)

void renew_fibers() {
    idle_count = 0;
    for (size_t i = 0; i < fiber_count; i++) {
        unpoison(fibers[i].bottom, fibers[i].size);
        fibers[i].fake_stack = nullptr;
        prepare(&fibers[i], i);
        idle[idle_count++] = &fibers[i];
    }
}

/* Nobody can go on. Says who waits for whom. */
void report_deadlock() {
    int gone = 0, at_barrier = 0, waiting = -1;
    for (int t = 0; t < size; t++) {
        gone += threads[t].wait == HAS_LEFT;
        at_barrier += threads[t].wait == WAITS_BARRIER;
        if (threads[t].wait == WAITS_WARP && waiting < 0) waiting = t;
    }
    current = waiting;
    if (waiting < 0) {
        stop(cudaErrorLaunchFailure,
             "%s: %s at %s:%d is reached by %d of the %d threads of the block; %d have left the kernel", job->name,
             barrier.what, barrier.file, barrier.line, at_barrier, size, gone);
        return;
    }
    const thread_state &t = threads[waiting];
    const warp_state &w = warps[waiting / 32];
    unsigned missing = 0, mask = 0;
    for (int i = 0; i < w.open; i++) {
        if (!(w.meetings[i].here >> waiting % 32 & 1U)) continue;
        mask = w.meetings[i].mask;
        missing = mask & ~w.meetings[i].here;
    }
    stop(cudaErrorLaunchFailure,
         "%s: %s at %s:%d waits for lanes 0x%x of its mask 0x%x, which do not come there with it", where(), t.what,
         t.file, t.line, missing, mask);
}

/* ---- who runs ---- */

/* The fiber to go on with; the host's when there is nothing to do. */
fiber *next_fiber() {
    bool begin = started<size, resume = ready_count> 0;
    if (resume && (ready_first || !begin)) {
        int t = ready[ready_head];
        ready_head = (ready_head + 1) % THREADS_MOST;
        ready_count--;
        return threads[t].on;
    }
    return begin ? idle_fiber() : &host;
}

void run_thread(int t) {
    current = t;
    threadIdx = place_of[t];
    job->kernel->run();
    t = current;
    threads[t].wait = HAS_LEFT;
    left_over--;
    warp_state &w = warps[t / 32];
    w.left |= 1U << t % 32;
    for (int i = 0; i < w.open; i++) {
        const meeting &m = w.meetings[i];
        if (m.mask & w.left)
            GIVE_UP(cudaErrorLaunchFailure, "%s: %s at %s:%d has the mask 0x%x, but lanes 0x%x have left the kernel",
                    where(), m.what, m.file, m.line, m.mask, m.mask & w.left);
    }
}

/* What a fiber does all its life. */
void fiber_main() {
    landed(left_stack);
    for (;;) {
        while (started < size && !(ready_first && ready_count > 0)) run_thread(order[started++]);
        fiber *self = running, *to = next_fiber(); /* before it is idle itself */
        idle[idle_count++] = self;
        switch_to(to);
    }
}

/* The running thread waits until somebody has put it among the ready ones. */
void wait_here(wait_kind wait, const char *what, const char *file, int line) {
    int self = current;
    thread_state &t = threads[self];
    t.on = running;
    t.wait = wait;
    t.what = what;
    t.file = file;
    t.line = line;
    fiber *to = next_fiber();
    if (to != running) switch_to(to);
    current = self;
    threadIdx = place_of[self];
}

/* ---- shared memory ---- */

enum : size_t { SHARED_RED = 256, SHARED_ROOM = 1 << 20 };
struct shared_array {
    const char *name;
    size_t begin, data, bytes, end; /* offsets; red zones around the data */
};
char *shared; /* [SHARED_ROOM] */
std::vector<shared_array> shared_arrays;
size_t shared_used, static_bytes;

/* Exactly so well aligned as was asked for: nobody can lean on more. (Eight bytes at least: what the sanitizer tells
 * apart.) */
void *add_shared(const char *name, size_t bytes, size_t align) {
    if (!shared) {
        void *room =
            mmap(nullptr, SHARED_ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (room == MAP_FAILED) abort();
        shared = static_cast<char *>(room);
    }
    size_t grain = 2 * (align < 8 ? size_t{8} : align), begin = shared_used;
    size_t data = (begin + SHARED_RED + grain - 1) / grain * grain + grain / 2;
    size_t end = (data + bytes + SHARED_RED + 7) / 8 * 8;
    if (end > SHARED_ROOM) GIVE_UP(cudaErrorLaunchFailure, "%s: too many shared arrays", where());
    unpoison(shared + begin, end - begin);
    memset(shared + data, FRESH_BYTE, bytes);
    paint_red(shared + begin, data - begin);
    paint_red(shared + data + bytes, end - data - bytes);
    shared_arrays.push_back({name, begin, data, bytes, end});
    shared_used = end;
    return shared + data;
}

void check_shared() {
    for (const shared_array &a : shared_arrays) {
        size_t back = a.end - a.data - a.bytes, front = a.data - a.begin;
        size_t behind = first_stain(shared + a.data + a.bytes, back), before = first_stain(shared + a.begin, front);
        if (behind == back && before == front) continue;
        stop(cudaErrorIllegalAddress, "%s: byte %zu %s the shared array '%s' of %zu bytes was written", job->name,
             behind < back ? behind : front - before, behind < back ? "behind the end of" : "before", a.name, a.bytes);
    }
}

void clear_shared() {
    if (shared_used > 0) unpoison(shared, shared_used);
    shared_arrays.clear();
    shared_used = static_bytes = 0;
}

/* ---- a stack for the fault handler: a used-up stack cannot run it ---- */

struct signal_stack {
    void *memory = nullptr;
    enum : size_t { BYTES = 64 << 10 };
    void provide() {
        stack_t have = {};
        if (memory || sigaltstack(nullptr, &have) != 0 || !(have.ss_flags & SS_DISABLE)) return;
        memory = malloc(BYTES);
        stack_t mine = {};
        mine.ss_sp = memory;
        mine.ss_size = BYTES;
        if (memory) sigaltstack(&mine, nullptr);
    }
    ~signal_stack() {
        stack_t none = {};
        none.ss_flags = SS_DISABLE;
        if (memory) sigaltstack(&none, nullptr);
        free(memory);
    }
};
thread_local signal_stack fault_stack;

} // namespace

/* ---- for the launch ---- */

void begin_launch(const launch *l) {
    fault_stack.provide();
    job = l;
    gridDim = l->grid;
    blockDim = l->block;
    size = static_cast<int>(l->block.x * l->block.y * l->block.z);
    for (int t = 0; t < size; t++) {
        unsigned i = static_cast<unsigned>(t), x = l->block.x, y = l->block.y;
        place_of[t] = {i % x, i / x % y, i / x / y};
    }
    make_orders();
    kernel_thread = pthread_self();
}

bool run_block(uint3 index) {
    blockIdx = index;
    rs_emulated_block++;
    started = 0;
    left_over = size;
    given_up = false;
    ready_first = order_count == 1 || draw(2) == 0;
    warp_first = order_count == 1 || draw(2) == 0;
    ready_head = ready_count = 0;
    barrier.here = barrier.count = 0;
    for (int w = 0; w * 32 < size; w++) {
        warps[w].left = 0;
        warps[w].open = 0;
        warps[w].absent = size - w * 32 >= 32 ? 0 : ~0U << (size - w * 32);
    }
    order = some_order();
    kernel_runs = true;
    switch_to(idle_fiber());
    if (!given_up && left_over > 0) {
        report_deadlock();
        given_up = true;
    }
    kernel_runs = false;
    if (given_up) renew_fibers();
    else check_shared();
    clear_shared();
    return stopped() == cudaSuccess;
}

void end_launch() { job = nullptr; }

bool in_kernel() { return kernel_runs && running != &host && pthread_equal(kernel_thread, pthread_self()); }

const char *where() {
    static char text[512];
    uint3 t = current >= 0 ? place_of[current] : uint3{0, 0, 0};
    snprintf(text, sizeof text, "%s, block %u,%u,%u, thread %u,%u,%u", job ? job->name : "?", blockIdx.x, blockIdx.y,
             blockIdx.z, t.x, t.y, t.z);
    return text;
}

bool in_shared(const void *p, size_t n) {
    for (const shared_array &a : shared_arrays) {
        const char *first = shared + a.data, *at = static_cast<const char *>(p);
        if (at >= first && at + n <= first + a.bytes) return true;
    }
    return false;
}

bool in_guard_page(const void *p) {
    const char *a = static_cast<const char *>(p);
    return in_kernel() && a >= running->bottom - PAGE && a < running->bottom;
}

void *fiber_stack_top() {
    char *top = running->bottom + running->size;
    return top - reinterpret_cast<uintptr_t>(top) % 16;
}

void leave() {
    unpoison(running->bottom, running->size);
    give_up();
}

} // namespace emulated

using namespace emulated;

/* ---- what kernels call ---- */

static bool same_text(const char *a, const char *b) { return a == b || strcmp(a, b) == 0; }

void rs_emulated_misuse(const char *what, const char *why, const char *file, int line) {
    GIVE_UP(cudaErrorLaunchFailure, "%s: %s at %s:%d: %s", where(), what, file, line, why);
}

void rs_emulated_check_aligned(const void *p, size_t bytes, const char *file, int line) {
    GIVE_UP(cudaErrorMisalignedAddress, "%s: a vector of %zu bytes at %p, %s:%d", where(), bytes, p, file, line);
}

void rs_emulated_make_shared(rs_emulated_array *a, const char *name, size_t bytes, size_t align) {
    static_bytes += (bytes + align - 1) / align * align;
    size_t dynamic = job->dynamic_bytes, most = job->dynamic_most;
    bool fits = static_bytes <= STATIC_SHARED_MOST && static_bytes + dynamic <= SHARED_MOST;
    if (most == 0) fits = fits && static_bytes + dynamic <= STATIC_SHARED_MOST;
    if (!fits)
        GIVE_UP(cudaErrorInvalidConfiguration, "%s: %zu bytes of shared arrays and %zu dynamic ones are too many",
                where(), static_bytes, dynamic);
    a->address = add_shared(name, bytes, align);
    a->block = rs_emulated_block;
}

void *rs_emulated_dynamic_shared() {
    static rs_emulated_array whole;
    if (whole.block != rs_emulated_block) {
        whole.address = add_shared("dynamic", job->dynamic_bytes, 16);
        whole.block = rs_emulated_block;
    }
    return whole.address;
}

int rs_emulated_barrier(const char *what, int predicate, const char *file, int line) {
    if (barrier.here == 0) {
        barrier.count = 0;
        barrier.what = what;
        barrier.file = file;
        barrier.line = line;
    } else if (barrier.line != line || barrier.what != what || !same_text(barrier.file, file)) {
        GIVE_UP(cudaErrorLaunchFailure, "%s: %s at %s:%d, while others of the block wait in %s at %s:%d", where(), what,
                file, line, barrier.what, barrier.file, barrier.line);
    }
    barrier.count += predicate != 0;
    if (++barrier.here == size) {
        const uint16_t *first = some_order();
        barrier.here = 0;
        for (int i = 0; i < size; i++) threads[i].result = static_cast<uint64_t>(barrier.count);
        for (int i = 0; i < size; i++) make_ready(first[i]);
    }
    int self = current;
    wait_here(barrier.here == 0 ? WAITS_NOT : WAITS_BARRIER, what, file, line);
    return static_cast<int>(threads[self].result);
}

/* What the lanes take home: all have come. */
static void settle(const meeting &m, thread_state *lanes) {
    if (m.kind == RS_EMULATED_SHUFFLE) {
        for (int i = 0; i < 32; i++)
            if (m.mask >> i & 1U) lanes[i].result = lanes[lanes[i].source].deposit;
        return;
    }
    uint64_t all = 0;
    bool first = true;
    for (int i = 0; i < 32; i++) {
        if (!(m.mask >> i & 1U)) continue;
        uint64_t v = lanes[i].deposit;
        auto s = static_cast<int32_t>(v), best = static_cast<int32_t>(all);
        switch (m.kind) {
        case RS_EMULATED_BALLOT: all |= v != 0 ? uint64_t{1} << i : 0; break;
        case RS_EMULATED_ADD: all = static_cast<uint32_t>(all + v); break;
        case RS_EMULATED_MIN: all = first || s < best ? v : all; break;
        case RS_EMULATED_MAX: all = first || s > best ? v : all; break;
        case RS_EMULATED_MIN_UNSIGNED: all = first || v < all ? v : all; break;
        case RS_EMULATED_MAX_UNSIGNED: all = first || v > all ? v : all; break;
        default: break;
        }
        first = false;
    }
    for (int i = 0; i < 32; i++)
        if (m.mask >> i & 1U) lanes[i].result = all;
}

/* The other lanes of a finished meeting may go on, in an order by the seed. */
static void wake(unsigned mask, int first_thread) {
    unsigned turn = order_count > 1 ? draw(64) : 0, from = turn / 2, back = downwards ? 1 : turn % 2;
    for (unsigned i = 0; i < 32; i++) {
        unsigned at = warp_first ? 31 - i : i; /* what is put in front last goes first */
        unsigned lane = (back ? from - at - 1 : from + at) % 32;
        if (!(mask >> lane & 1U)) continue;
        if (warp_first) make_ready_at_once(first_thread + static_cast<int>(lane));
        else make_ready(first_thread + static_cast<int>(lane));
    }
}

uint64_t rs_emulated_meet(rs_emulated_meeting kind, const char *what, unsigned mask, uint64_t deposit, int source,
                          const char *file, int line) {
    int self = current, lane = self % 32;
    unsigned own = 1U << lane;
    warp_state &w = warps[self / 32];
    thread_state &me = threads[self];
    const char *why = !(mask & own)     ? "the lane is not in its own mask"
                      : mask & w.absent ? "the mask names lanes that the block does not have"
                      : mask & w.left   ? "the mask names lanes that have left the kernel"
                      : kind == RS_EMULATED_SHUFFLE && !(mask >> source & 1U)
                          ? "reads from a lane that is not in the mask"
                          : nullptr;
    if (why) rs_emulated_misuse(what, why, file, line);
    me.deposit = deposit;
    me.source = source;
    int at = 0;
    while (at < w.open && !(w.meetings[at].mask == mask && w.meetings[at].what == what && w.meetings[at].line == line &&
                            same_text(w.meetings[at].file, file)))
        at++;
    if (at == 32) rs_emulated_misuse(what, "the lanes of a warp wait in 32 different places", file, line);
    meeting &m = w.meetings[at];
    if (at == w.open) {
        m = {kind, mask, 0, what, file, line};
        w.open++;
    }
    m.here |= own;
    if (m.here == mask) {
        settle(m, &threads[self / 32 * 32]);
        m = w.meetings[--w.open];
        wake(mask & ~own, self / 32 * 32);
    } else {
        wait_here(WAITS_WARP, what, file, line);
    }
    return me.result;
}

/* Exact where sin(pi x) and cos(pi x) are: the angle is brought into an eighth of a turn first. */
void rs_emulated_sincospi(double x, double *s, double *c) {
    double quarter = rint(2 * x), r = (x - quarter / 2) * M_PI, a = sin(r), b = cos(r);
    int turn = static_cast<int>(fmod(quarter, 4));
    switch (turn & 3) {
    case 0: *s = a, *c = b; break;
    case 1: *s = b, *c = -a; break;
    case 2: *s = -a, *c = -b; break;
    default: *s = -b, *c = a; break;
    }
}
