/* kernels/backend.h: what a device can do: hold memory, move bytes, run ops. One static table per backend.
 * Knows arrays, no model. analyzer/forward and probes call it; kernels/cpu and kernels/cuda implement it. */
#ifndef RS_KERNELS_BACKEND_H
#define RS_KERNELS_BACKEND_H

#include "analyzer/base/status.h"
#include "kernels/op.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct rs_device rs_device; /* an opened device, defined by its backend */

typedef struct rs_device_info {
    char name[128];                     /* "CPU, 2 threads, x86-64-v4, OpenBLAS 0.3.21 (openmp)" */
    uint64_t memory_bytes;              /* free for us now; 0 = unknown */
    uint64_t allocated, allocated_peak; /* bytes through alloc */
    int threads;
    bool card; /* many processors, built for products in bfloat16 */
} rs_device_info;

typedef struct rs_backend {
    const char *name; /* "cpu", "cuda" */
    /* RS_OK when `open` would work; otherwise RS_E_UNAVAILABLE with the reason. */
    rs_status (*probe)(rs_error *err);
    /* spec: what stood behind the name on the command line ("" or "0,1"). threads <= 0: the backend's default. */
    rs_status (*open)(const char *spec, int threads, rs_device **out, rs_error *err);
    void (*close)(rs_device *d);                                                 /* NULL is fine */
    rs_status (*alloc)(rs_device *d, size_t bytes, rs_mem **out, rs_error *err); /* contents undefined */
    void (*release)(rs_device *d, rs_mem *m);                                    /* NULL is fine */
    /* Host <-> device, in order with run. Ranges are checked. read returns when the bytes are there. */
    rs_status (*write)(rs_device *d, rs_mem *m, size_t offset, const void *src, size_t bytes, rs_error *err);
    rs_status (*read)(rs_device *d, rs_mem *m, size_t offset, void *dst, size_t bytes, rs_error *err);
    /* Host memory that uploads may read, contents undefined; hand back with host_release (NULL is fine). */
    rs_status (*host_new)(rs_device *d, size_t bytes, void **out, rs_error *err);
    void (*host_release)(rs_device *d, void *memory);
    /* Starts copying from host_new memory, beside the queued work and not waiting for it: the caller knows that no
     * queued work touches the range. Both sides stay as they are until await_uploads and a sync or read behind it. */
    rs_status (*upload)(rs_device *d, rs_mem *m, size_t offset, const void *src, size_t bytes, rs_error *err);
    /* Work queued from here on finds what was uploaded so far. */
    rs_status (*await_uploads)(rs_device *d, rs_error *err);
    rs_status (*zero)(rs_device *d, rs_mem *m, size_t offset, size_t bytes, rs_error *err);
    /* Runs n ops in order; rs_run_ops has checked them. May return before they are done. */
    rs_status (*run)(rs_device *d, const rs_op *ops, size_t n, rs_error *err);
    rs_status (*sync)(rs_device *d, rs_error *err);
    /* RS_OK when run takes ops of that kind; otherwise RS_E_UNAVAILABLE with the reason: some need a library that a
     * build may be without. Asks for no device. */
    rs_status (*supports)(rs_op_kind kind, rs_error *err);
    void (*info)(rs_device *d, rs_device_info *out);
    /* Host address of memory when the device shares the host's (CPU), else NULL. */
    void *(*host)(rs_device *d, rs_mem *m);
} rs_backend;

/* All backends of this program, CPU first. cuda is always in the list; where it was not built its probe says so. */
const rs_backend *const *rs_backends(size_t *count);

/* Opens by the form of --device: "auto" | "cpu" | "cuda[:N[,M...]]". A device named is that device or an error
 * (RS_E_UNAVAILABLE with the reason; RS_E_USAGE for an unknown name); auto takes the best that opens. */
rs_status rs_device_open(const char *device, int threads, const rs_backend **backend, rs_device **out, rs_error *err);

/* The same for a form that may name several cards ("cuda:0,2"): out[0..*n-1], in the order in which they are named. A
 * card named twice is RS_E_USAGE. On failure nothing stays open. */
enum { RS_DEVICES = 16 };
rs_status rs_devices_open(const char *device, int threads, const rs_backend **backend, rs_device *out[RS_DEVICES],
                          int *n, rs_error *err);

/* Checks every op (kernels/op.c) and its bounds (kernels/memory.h) and runs them. All callers go through here. */
rs_status rs_run_ops(const rs_backend *b, rs_device *d, const rs_op *ops, size_t n, rs_error *err);

#endif
