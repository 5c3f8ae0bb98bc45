/* tests/support/cuda_emulated/emulated_device.h: what the parts of the emulated device know of each other.
 * emulated_memory.cpp: device and pinned memory, what lies where. emulated_queue.cpp: streams, events, copies, errors.
 * emulated_block.cpp: threads of a block as fibers, barriers, warps, shared memory. emulated_blas.cpp: products. */
#ifndef RS_TESTS_EMULATED_DEVICE_H
#define RS_TESTS_EMULATED_DEVICE_H

#include "cuda_runtime.h"

/* ---- errors (emulated_queue.cpp) ---- */

/* Stops the device for good: every call from now on returns the error, as on a card. The reason goes to stderr. */
void rs_emulated_stop(cudaError_t e, const char *format, ...) __attribute__((format(printf, 2, 3)));
cudaError_t rs_emulated_stopped(); /* cudaSuccess as long as it runs */
/* Remembers an error of a call for cudaGetLastError, and returns it. */
cudaError_t rs_emulated_return(cudaError_t e);
/* A number below n, from the seed; ascending order for seed 0 is the caller's business. */
unsigned rs_emulated_random(unsigned n);
extern unsigned rs_emulated_order;

/* ---- memory (emulated_memory.cpp) ---- */

/* While open, host code (that is: kernels, copies, products) may touch device memory; calls nest. */
void rs_emulated_open();
void rs_emulated_close();
/* Is the range inside one live allocation? */
bool rs_emulated_inside(const void *p, size_t bytes);
/* Is it an address of the device's, live or not? */
bool rs_emulated_is_device(const void *p);
bool rs_emulated_is_pinned(const void *p, size_t bytes);
/* Writes behind or in front of an allocation are found here, after a stretch of work: stops the device. */
void rs_emulated_check_zones();
void rs_emulated_forget_memory(); /* of rs_emulated_reset */

/* ---- the queue (emulated_queue.cpp) ---- */

/* Work at the end of a stream. It may stop the device. */
cudaError_t rs_emulated_enqueue(cudaStream_t stream, const char *what, std::function<void()> work);

/* ---- blocks (emulated_block.cpp) ---- */

void rs_emulated_run_grid(dim3 grid, dim3 block, size_t dynamic, size_t dynamic_most,
                          const std::function<void()> &body);

#endif
