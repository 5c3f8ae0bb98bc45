/* tests/support/op_rig.h: runs the body of an op test on the device under test (test_device.h): the CPU once per
 * instruction set and with one and three threads, another one twice. Arrays get gaps between rows and guards around,
 * which must come back untouched. A failure ends the test. */
#ifndef RS_TESTS_OP_RIG_H
#define RS_TESTS_OP_RIG_H

#include "analyzer/base/rng.h"
#include "kernels/backend.h"

enum { RS_RIG_ARRAYS = 256 };

typedef struct rs_rig {
    const rs_backend *backend;
    rs_device *device;
    char name[64]; /* "cpu v3, 1 thread" */
    int run;       /* number of this run of the body, from 0 */
    rs_view arrays[RS_RIG_ARRAYS];
    int n_arrays;
    int compared; /* calls of rs_rig_same_bytes so far */
} rs_rig;

void rs_rig_each(void (*body)(rs_rig *rig));

/* A view of the dims with `gap` spare elements behind every row (last axis) and guards around all of it; lives until
 * the body returns. rs_rig_new: not initialised. rs_rig_put: from packed host values of the dtype. */
rs_view rs_rig_new(rs_rig *r, rs_dtype t, int gap, int n_dims, const int64_t *dim);
rs_view rs_rig_put(rs_rig *r, rs_dtype t, int gap, int n_dims, const int64_t *dim, const void *values);
/* Packed host copy of a view; free with free. */
void *rs_rig_get(rs_rig *r, const rs_view *v);
/* Runs the op (through rs_run_ops) and checks that guards and gaps of all arrays are untouched. */
void rs_rig_run(rs_rig *r, const rs_op *op);

/* n zeroed objects; free with free. */
void *rs_rig_zeros(int64_t n, size_t size);
double *rs_rig_doubles(int64_t n);
/* n numbers of N(0, 1) * scale; free with free. */
float *rs_rig_normal(rs_rng *rng, int64_t n, double scale);
/* x[n] in place as a product in that arithmetic takes it: 8 significant bits for bfloat16, ties to even. TF32 is left
 * alone: cards differ in how they round to it, so a test allows for the difference. Normal numbers only. */
void rs_rig_round(float *x, int64_t n, rs_compute compute);
/* A [a, b, c] view in bfloat16 of values that rs_rig_round has rounded to it: they stand exactly. */
rs_view rs_rig_put_halves(rs_rig *r, int gap, const float *x, int64_t a, int64_t b, int64_t c);
/* What sums are added to: small, and no two neighbours alike; free with free. */
double *rs_rig_numbered(int64_t n);
/* What products in that arithmetic may be off by, when rounding at random to float32 is off by `exact`. */
double rs_rig_product_bar(rs_compute compute, double exact);
/* Fails unless all n are finite and |got - want| <= tolerance * max|want|. */
void rs_rig_close_f32(const rs_rig *r, const char *what, const float *got, const double *want, int64_t n,
                      double tolerance);
void rs_rig_close_f64(const rs_rig *r, const char *what, const double *got, const double *want, int64_t n,
                      double tolerance);
/* Fails unless the bytes equal those that the same call of the body passed in the first run (on the CPU: with one
 * thread and the same instruction set): ops depend neither on threads nor on luck. */
void rs_rig_same_bytes(rs_rig *r, const void *bytes, size_t n);

#define RS_DIMS(...)                                                                                                   \
    (sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[]) { __VA_ARGS__ }
#define RS_RIG_PUT(r, t, gap, values, ...) rs_rig_put(r, t, gap, (int)RS_DIMS(__VA_ARGS__), values)
#define RS_RIG_NEW(r, t, gap, ...) rs_rig_new(r, t, gap, (int)RS_DIMS(__VA_ARGS__))

#endif
