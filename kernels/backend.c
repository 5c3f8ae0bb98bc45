/* kernels/backend.c: the backends of this program, opening one by name, and the one way to run ops. See backend.h. */
#include "kernels/backend.h"

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cuda_plugin.h"

#include <string.h>

enum { BACKENDS = 2 };

const rs_backend *const *rs_backends(size_t *count) {
    static const rs_backend *backends[BACKENDS] = {&rs_backend_cpu, NULL};
    backends[1] = rs_cuda_backend(); /* the same at every call */
    *count = BACKENDS;
    return backends;
}

static rs_status open_named(const char *device, int threads, const rs_backend **backend, rs_device **out,
                            rs_error *err) {
    const char *colon = strchr(device, ':');
    size_t length = colon ? (size_t)(colon - device) : strlen(device);
    const char *spec = colon ? colon + 1 : "";
    if (length == 3 && strncmp(device, "cpu", length) == 0) *backend = &rs_backend_cpu;
    if (length == 4 && strncmp(device, "cuda", length) == 0) *backend = rs_cuda_backend();
    if (*backend) return (*backend)->open(spec, threads, out, err);
    return rs_fail(err, RS_E_USAGE, "device '%s': unknown; expected auto, cpu or cuda[:N[,M...]]", device);
}

/* A card before the CPU; the CPU always opens, so its error is the one to report. */
static rs_status open_best(int threads, const rs_backend **backend, rs_device **out, rs_error *err) {
    *backend = rs_cuda_backend();
    if ((*backend)->probe(NULL) == RS_OK && (*backend)->open("", threads, out, NULL) == RS_OK) return RS_OK;
    *backend = &rs_backend_cpu;
    return rs_backend_cpu.open("", threads, out, err);
}

rs_status rs_device_open(const char *device, int threads, const rs_backend **backend, rs_device **out, rs_error *err) {
    *backend = NULL;
    *out = NULL;
    if (strcmp(device, "auto") == 0) return open_best(threads, backend, out, err);
    return open_named(device, threads, backend, out, err);
}

rs_status rs_run_ops(const rs_backend *b, rs_device *d, const rs_op *ops, size_t n, rs_error *err) {
    for (size_t i = 0; i < n; i++) {
        rs_status st = rs_op_check(&ops[i], err);
        if (st != RS_OK) return st;
    }
    return b->run(d, ops, n, err);
}
