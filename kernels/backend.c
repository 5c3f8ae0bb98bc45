/* kernels/backend.c: the backends of this program, opening one by name, and the one way to run ops. See backend.h. */
#include "kernels/backend.h"

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cuda_plugin.h"
#include "kernels/memory.h"

#include <stdio.h>
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

/* The number at *list, up to a comma or the end, as "cuda:N"; *list moves behind it. False when there is none. */
static bool next_card(const char **list, char out[32]) {
    size_t length = strcspn(*list, ",");
    if (length == 0 || length > 16) return false;
    snprintf(out, 32, "cuda:%.*s", (int)length, *list);
    *list += length + ((*list)[length] == ',');
    return true;
}

rs_status rs_devices_open(const char *device, int threads, const rs_backend **backend, rs_device *out[RS_DEVICES],
                          int *n, rs_error *err) {
    rs_status st = RS_OK;
    char name[RS_DEVICES][32];
    *n = 0;
    if (strncmp(device, "cuda:", 5) != 0 || !strchr(device, ',')) {
        RS_TRY(rs_device_open(device, threads, backend, &out[0], err));
        *n = 1;
        return RS_OK;
    }
    for (const char *list = device + 5; *list; (*n)++) {
        if (*n == RS_DEVICES || !next_card(&list, name[*n])) {
            st = rs_fail(err, RS_E_USAGE, "device '%s': expected cuda:N,M,... with the numbers of at most %d cards",
                         device, (int)RS_DEVICES);
            goto out;
        }
        for (int i = 0; i < *n; i++) {
            if (strcmp(name[i], name[*n]) != 0) continue;
            st = rs_fail(err, RS_E_USAGE, "device '%s': a card is named twice", device);
            goto out;
        }
        RS_TRY(rs_device_open(name[*n], threads, backend, &out[*n], err));
    }
out:
    for (; st != RS_OK && *n > 0; out[*n] = NULL) (*backend)->close(out[--*n]);
    return st;
}

rs_status rs_run_ops(const rs_backend *b, rs_device *d, const rs_op *ops, size_t n, rs_error *err) {
    for (size_t i = 0; i < n; i++) {
        rs_status st = rs_op_check(&ops[i], err);
        if (st == RS_OK) st = rs_op_check_bounds(&ops[i], err);
        if (st != RS_OK) return st;
    }
    return b->run(d, ops, n, err);
}
