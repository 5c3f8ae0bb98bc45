/* tests/support/cuda_host/emulated_device.h: what the parts of the emulated device know of each other; nothing outside
 * includes it. One lock is held by whoever is inside of an API function, so a part needs none of its own.
 *   emulated_error.cpp   errors, the reason, the seed, the lock
 *   emulated_memory.cpp  device memory, pinned memory, who may touch them when; faults
 *   emulated_stream.cpp  streams and events: what runs when; copies
 *   emulated_fibers.cpp  a block: its threads as fibers, barriers, warps, shared memory
 *   emulated_tensor.cpp  a warp's matrices, copies into shared memory
 *   emulated_launch.cpp  devices, launches: what is refused, blocks of a grid
 *   emulated_blas.cpp    products
 *   emulated_fft.cpp     Fourier transforms */
#ifndef RS_TESTS_EMULATED_DEVICE_H
#define RS_TESTS_EMULATED_DEVICE_H

#include "cuda_runtime.h"

#include <functional>

#if defined(__SANITIZE_ADDRESS__)
#define RS_EMULATED_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define RS_EMULATED_ASAN 1
#endif
#endif
#ifndef RS_EMULATED_ASAN
#define RS_EMULATED_ASAN 0
#endif

namespace emulated {

/* ---- errors (emulated_error.cpp) ---- */

/* Held as long as it lives; one thread may hold it several times. */
struct guard {
    guard();
    ~guard();
    guard(const guard &) = delete;
};

/* Stops the device: every call returns e from now on. The first stop counts. */
void stop(cudaError_t e, const char *format, ...) __attribute__((format(printf, 2, 3)));
cudaError_t stopped(); /* cudaSuccess while it runs */
/* A call is refused, the device runs on: the reason is kept and printed, the error is what cudaGetLastError gives. */
cudaError_t refuse(cudaError_t e, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* What a call returns that ended with e: the stop comes first. */
cudaError_t result(cudaError_t e = cudaSuccess);

/* A whole number from the environment, or `otherwise`. */
long long setting(const char *name, long long otherwise);
unsigned long seed();
uint32_t draw(uint32_t n); /* 0..n-1, n > 0; a series that the seed fixes */

/* ---- memory (emulated_memory.cpp) ---- */

enum { DEVICES_MOST = 4 };
int devices();
int current_device(); /* of the calling host thread */

enum place_kind { PLACE_HOST, PLACE_PINNED, PLACE_DEVICE, PLACE_NOWHERE };
/* Where an address lies. NOWHERE: an address of a device's, but in no live allocation. */
struct place {
    place_kind kind;
    int device;
    size_t offset, bytes; /* within its block, of its block; device and pinned */
};
place find(const void *p); /* one past the end of a block still belongs to it, unless the next one begins there */
/* n bytes from p inside one live block of a device? */
bool inside(const void *p, size_t n);
/* "1000 bytes at 0x.. (offset 24 of an allocation of 512 bytes)"; in a buffer of its own per thread. */
const char *describe(const void *p, size_t n);
bool is_mapped(uintptr_t address); /* is there memory of the process? */

/* Device memory may be touched between open and close; they nest. The last close looks at the red zones. */
void open_memory();
void close_memory(const char *after);
/* Fills bytes the device owns, as fresh or freed memory is filled; poisons and frees from poison under the sanitizer.
 */
void poison(void *p, size_t n);
void unpoison(void *p, size_t n);
/* The red zones of arrays in plain builds. */
enum { RED_BYTE = 0xC5, FRESH_BYTE = 0xFF };
void paint_red(void *p, size_t n);
/* Offset of the first byte that is no longer red, or n. */
size_t first_stain(const void *p, size_t n);

/* ---- streams (emulated_stream.cpp) ---- */

/* Adds work to a stream. check: device on which it must be, -1: any. */
cudaError_t enqueue(cudaStream_t stream, int device, const char *what, std::function<void()> work);
cudaError_t run_everything();
void drop_everything();

/* ---- blocks (emulated_fibers.cpp) ---- */

struct launch {
    dim3 grid, block;
    size_t dynamic_bytes, dynamic_most; /* asked for; what cudaFuncSetAttribute allowed, 0: nothing was said */
    const char *name;                   /* for messages */
    rs_emulated_kernel *kernel;
};
enum { THREADS_MOST = 1024, STATIC_SHARED_MOST = 48 << 10, SHARED_MOST = 227 << 10 };

/* Runs one block after the other; false when the device has stopped. */
void begin_launch(const launch *l);
bool run_block(uint3 index);
void end_launch();

/* For the fault handler: a kernel is running on this host thread. */
bool in_kernel();
/* The running kernel's name and thread, for messages: "kernel (args), block 1,0,0, thread 5,0,0". */
const char *where();
/* Is the address in the guard page of the running fiber? */
bool in_guard_page(const void *p);
/* Do n bytes from p lie in a shared array of the running block? */
bool in_shared(const void *p, size_t n);
/* Where the fault handler sends the running fiber: leave() on an empty stack, which gives up the block. */
void *fiber_stack_top();
[[noreturn]] void leave();

} // namespace emulated

#endif
