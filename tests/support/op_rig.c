/* tests/support/op_rig.c: see op_rig.h. */
#include "tests/support/op_rig.h"
#include "tests/support/test_device.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GUARD_BYTES = 256, GUARD = 0xFF }; /* NaN in every float type: an op that reads past a row shows it */

static void *host_bytes(size_t n) {
    void *p = calloc(n ? n : 1, 1);
    assert_non_null(p);
    return p;
}

void *rs_rig_zeros(int64_t n, size_t size) {
    assert_true(n >= 0 && n < INT32_MAX);
    return host_bytes((size_t)n * size);
}

double *rs_rig_doubles(int64_t n) { return rs_rig_zeros(n, sizeof(double)); }

/* ---- devices ---- */

static void release_arrays(rs_rig *r) {
    for (int i = 0; i < r->n_arrays; i++) r->backend->release(r->device, r->arrays[i].mem);
    r->n_arrays = 0;
}

static void run_on(const char *device, const char *level, int threads, int number, void (*body)(rs_rig *rig)) {
    rs_rig r = {.run = number};
    rs_error err = {0};
    if (level) setenv("ROPESCOPE_CPU", level, 1);
    rs_status st = rs_device_open(device, threads, &r.backend, &r.device, &err);
    if (level) unsetenv("ROPESCOPE_CPU");
    if (st == RS_E_UNAVAILABLE && level) return; /* not this machine */
    if (st != RS_OK) fail_msg("%s: %s", device, err.message);
    snprintf(r.name, sizeof r.name, "%s %s, %d thread%s", device, level ? level : "", threads, threads == 1 ? "" : "s");
    body(&r);
    release_arrays(&r);
    r.backend->close(r.device);
}

static void forget_firsts(void);

void rs_rig_each(void (*body)(rs_rig *rig)) {
#if defined(__x86_64__)
    static const char *const levels[] = {"v2", "v3", "v4"};
#else
    static const char *const levels[] = {NULL};
#endif
    bool cpu = strcmp(rs_test_device(), "cpu") == 0;
    for (size_t i = 0; cpu && i < sizeof levels / sizeof *levels; i++) {
        run_on("cpu", levels[i], 1, 0, body);
        run_on("cpu", levels[i], 3, 1, body);
    }
    /* The second run must give the bytes of the first: a card adds up in a fixed order too. */
    for (int i = 0; !cpu && i < 2; i++) run_on(rs_test_device(), NULL, 0, i, body);
    forget_firsts();
}

/* ---- arrays ---- */

static int64_t packed_elements(const rs_view *v) {
    int64_t n = 1;
    for (int i = 0; i < v->n_dims; i++) n *= v->dim[i];
    return n;
}

static size_t element_bytes(const rs_view *v) { return (size_t)rs_dtype_block_bytes(v->dtype); }

/* Bytes of the block that holds the view: up to the farthest element, and a guard on each side. */
static size_t block_bytes(const rs_view *v) {
    int64_t extent = 0;
    assert_true(rs_view_extent(v, &extent));
    return (size_t)extent + 2 * GUARD_BYTES;
}

/* Byte offset in the block of the element with that index in packed order (plain types). */
static size_t element_at(const rs_view *v, int64_t index) {
    int64_t at = 0;
    for (int i = v->n_dims - 1; i >= 0; i--) {
        at += index % v->dim[i] * v->stride[i];
        index /= v->dim[i];
    }
    return v->offset + (size_t)at * element_bytes(v);
}

static void copy_elements(const rs_view *v, unsigned char *block, unsigned char *packed, bool to_block) {
    int64_t n = packed_elements(v) / rs_dtype_block(v->dtype);
    size_t bytes = element_bytes(v);
    for (int64_t i = 0; i < n; i++) {
        size_t at = rs_dtype_block(v->dtype) == 1 ? element_at(v, i) : v->offset + (size_t)i * bytes;
        if (to_block) memcpy(block + at, packed + (size_t)i * bytes, bytes);
        else memcpy(packed + (size_t)i * bytes, block + at, bytes);
    }
}

rs_view rs_rig_new(rs_rig *r, rs_dtype t, int gap, int n_dims, const int64_t *dim) {
    rs_view v = {.offset = GUARD_BYTES, .dtype = t, .n_dims = n_dims, .dim = {1, 1, 1, 1}, .stride = {1, 1, 1, 1}};
    rs_error err = {0};
    int64_t stride = 1;
    for (int i = n_dims - 1; i >= 0; i--) {
        v.dim[i] = dim[i];
        v.stride[i] = stride;
        stride = stride * dim[i] + (i == n_dims - 1 ? gap : 0);
    }
    size_t bytes = block_bytes(&v);
    assert_true(r->n_arrays < RS_RIG_ARRAYS);
    if (r->backend->alloc(r->device, bytes, &v.mem, &err) != RS_OK) fail_msg("%s", err.message);
    r->arrays[r->n_arrays++] = v;
    unsigned char *block = host_bytes(bytes);
    memset(block, GUARD, bytes);
    assert_int_equal(r->backend->write(r->device, v.mem, 0, block, bytes, &err), RS_OK);
    free(block);
    return v;
}

rs_view rs_rig_put(rs_rig *r, rs_dtype t, int gap, int n_dims, const int64_t *dim, const void *values) {
    rs_view v = rs_rig_new(r, t, gap, n_dims, dim);
    size_t bytes = block_bytes(&v),
           packed = (size_t)packed_elements(&v) / (size_t)rs_dtype_block(t) * element_bytes(&v);
    unsigned char *block = host_bytes(bytes), *copy = host_bytes(packed);
    memcpy(copy, values, packed);
    memset(block, GUARD, bytes);
    copy_elements(&v, block, copy, true);
    assert_int_equal(r->backend->write(r->device, v.mem, 0, block, bytes, NULL), RS_OK);
    free(block);
    free(copy);
    return v;
}

static unsigned char *read_block(rs_rig *r, const rs_view *v) {
    size_t bytes = block_bytes(v);
    unsigned char *block = host_bytes(bytes);
    assert_int_equal(r->backend->read(r->device, v->mem, 0, block, bytes, NULL), RS_OK);
    return block;
}

void *rs_rig_get(rs_rig *r, const rs_view *v) {
    unsigned char *block = read_block(r, v), *packed = host_bytes((size_t)packed_elements(v) * element_bytes(v));
    copy_elements(v, block, packed, false);
    free(block);
    return packed;
}

static void check_untouched(rs_rig *r, const rs_view *v, const char *op) {
    size_t bytes = block_bytes(v), packed = (size_t)packed_elements(v) * element_bytes(v);
    unsigned char *block = read_block(r, v), *guards = host_bytes(packed);
    memset(guards, GUARD, packed);
    copy_elements(v, block, guards, true); /* the elements themselves may hold anything */
    for (size_t i = 0; i < bytes; i++) {
        if (block[i] != GUARD) fail_msg("%s: op %s wrote outside of its array, byte %zu of %zu", r->name, op, i, bytes);
    }
    free(block);
    free(guards);
}

void rs_rig_run(rs_rig *r, const rs_op *op) {
    rs_error err = {0};
    if (rs_run_ops(r->backend, r->device, op, 1, &err) != RS_OK) fail_msg("%s: %s", r->name, err.message);
    assert_int_equal(r->backend->sync(r->device, &err), RS_OK);
    for (int i = 0; i < r->n_arrays; i++) check_untouched(r, &r->arrays[i], rs_op_name(op->kind));
}

/* ---- values ---- */

float *rs_rig_normal(rs_rng *rng, int64_t n, double scale) {
    float *x = rs_rig_zeros(n, sizeof *x);
    for (int64_t i = 0; i < n; i++) x[i] = (float)(rs_rng_normal(rng) * scale);
    return x;
}

void rs_rig_round(float *x, int64_t n, rs_compute compute) {
    for (int64_t i = 0; i < n && compute == RS_COMPUTE_BF16; i++) {
        int exponent = 0;
        double m = frexp((double)x[i], &exponent);
        x[i] = (float)ldexp(nearbyint(ldexp(m, 8)), exponent - 8);
    }
}

rs_view rs_rig_put_halves(rs_rig *r, int gap, const float *x, int64_t a, int64_t b, int64_t c) {
    uint16_t *upper = rs_rig_zeros(a * b * c, sizeof *upper);
    for (int64_t i = 0; i < a * b * c; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        upper[i] = (uint16_t)(bits >> 16);
    }
    rs_view v = RS_RIG_PUT(r, RS_BF16, gap, upper, a, b, c);
    free(upper);
    return v;
}

double *rs_rig_numbered(int64_t n) {
    double *x = rs_rig_doubles(n);
    for (int64_t i = 0; i < n; i++) x[i] = (double)(i % 7) / 1024; /* exact: counts stay whole steps */
    return x;
}

double rs_rig_product_bar(rs_compute compute, double exact) {
    return compute == RS_COMPUTE_TF32 ? 2e-3 : exact; /* 10 bits behind the point, cut off or rounded: 2^-10 an input */
}

static double largest(const double *x, int64_t n) {
    double most = 0;
    for (int64_t i = 0; i < n; i++) most = fabs(x[i]) > most ? fabs(x[i]) : most;
    return most;
}

void rs_rig_close_f64(const rs_rig *r, const char *what, const double *got, const double *want, int64_t n,
                      double tolerance) {
    double bar = tolerance * largest(want, n);
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(got[i]))
            fail_msg("%s: %s[%lld] is %g, expected %.9g", r->name, what, (long long)i, got[i], want[i]);
        if (fabs(got[i] - want[i]) > bar)
            fail_msg("%s: %s[%lld] is %.9g, expected %.9g: error %.3g, allowed %.3g", r->name, what, (long long)i,
                     got[i], want[i], fabs(got[i] - want[i]), bar);
    }
}

void rs_rig_close_f32(const rs_rig *r, const char *what, const float *got, const double *want, int64_t n,
                      double tolerance) {
    double *wide = host_bytes((size_t)n * sizeof *wide);
    for (int64_t i = 0; i < n; i++) wide[i] = (double)got[i];
    rs_rig_close_f64(r, what, wide, want, n, tolerance);
    free(wide);
}

/* What the first run passed here, call by call. */
static struct {
    void *bytes;
    size_t n;
} firsts[RS_RIG_ARRAYS];

void rs_rig_same_bytes(rs_rig *r, const void *bytes, size_t n) {
    int call = r->compared++;
    assert_true(call < RS_RIG_ARRAYS);
    if (r->run == 0) {
        free(firsts[call].bytes);
        firsts[call].bytes = host_bytes(n);
        firsts[call].n = n;
        memcpy(firsts[call].bytes, bytes, n);
    } else if (firsts[call].n != n || memcmp(firsts[call].bytes, bytes, n) != 0) {
        fail_msg("%s: other bytes than with one thread", r->name);
    }
}

static void forget_firsts(void) {
    for (int i = 0; i < RS_RIG_ARRAYS; i++) {
        free(firsts[i].bytes);
        firsts[i].bytes = NULL;
    }
}
