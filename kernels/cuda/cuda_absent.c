/* kernels/cuda/cuda_absent.c: stands in the list of backends where no CUDA backend was built, and says so. */
#include "kernels/cuda/cuda_absent.h"

static rs_status absent(rs_error *err) {
    return rs_fail(err, RS_E_UNAVAILABLE, "device 'cuda': this build has no CUDA backend; use --device cpu");
}

static rs_status open_absent(const char *spec, int threads, rs_device **out, rs_error *err) {
    (void)spec;
    (void)threads;
    *out = NULL;
    return absent(err);
}

/* Callers that clean up behind a failed open close what they did not get. */
static void close_nothing(rs_device *d) { (void)d; }

const rs_backend rs_backend_cuda = {.name = "cuda", .probe = absent, .open = open_absent, .close = close_nothing};
