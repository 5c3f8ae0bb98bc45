/* kernels/backend.c: the backends of this program, opening one by name, and the one way to run ops. See backend.h. */
#include "kernels/backend.h"

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cuda/cuda_absent.h"

#include <string.h>

static const rs_backend *const backends[] = {&rs_backend_cpu, &rs_backend_cuda};
enum { BACKENDS = sizeof backends / sizeof *backends };

const rs_backend *const *rs_backends(size_t *count) {
    *count = BACKENDS;
    return backends;
}

static rs_status open_named(const char *device, int threads, const rs_backend **backend, rs_device **out,
                            rs_error *err) {
    const char *colon = strchr(device, ':');
    size_t length = colon ? (size_t)(colon - device) : strlen(device);
    for (size_t i = 0; i < BACKENDS; i++) {
        const char *name = backends[i]->name;
        if (strlen(name) != length || strncmp(name, device, length) != 0) continue;
        *backend = backends[i];
        return backends[i]->open(colon ? colon + 1 : "", threads, out, err);
    }
    return rs_fail(err, RS_E_USAGE, "device '%s': unknown; expected auto, cpu or cuda[:N[,M...]]", device);
}

/* The last in the list is the fastest; the CPU always opens, so its error is the one to report. */
static rs_status open_best(int threads, const rs_backend **backend, rs_device **out, rs_error *err) {
    for (size_t i = BACKENDS - 1; i > 0; i--) {
        if (backends[i]->probe(NULL) != RS_OK) continue;
        *backend = backends[i];
        if (backends[i]->open("", threads, out, NULL) == RS_OK) return RS_OK;
    }
    *backend = backends[0];
    return backends[0]->open("", threads, out, err);
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
