/* tests/support/test_device.c: see test_device.h. */
#include "tests/support/test_device.h"

#include "kernels/backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *rs_test_device(void) {
    const char *asked = getenv("ROPESCOPE_TEST_DEVICE");
    return asked && *asked ? asked : "cpu";
}

void rs_test_device_or_skip(void) {
    const rs_backend *backend = NULL;
    rs_device *device = NULL;
    rs_error err = {0};
    rs_status st = rs_device_open(rs_test_device(), 1, &backend, &device, &err);
    if (st == RS_OK) {
        backend->close(device);
        return;
    }
    fprintf(stderr, "%s\n", err.message);
    exit(st == RS_E_UNAVAILABLE && !getenv("ROPESCOPE_TEST_DEVICE_REQUIRED") ? 77 : 1);
}

int rs_test_stride(void) { return getenv("RS_SANITIZED") && strcmp(rs_test_device(), "cpu") != 0 ? 4 : 1; }
