#include "analyzer/cli/calibrate.h"

#include "analyzer/base/clock.h"

enum { SIDE = 512, TRIES = 6 };

rs_status rs_calibrate(const rs_backend *b, rs_device *d, double *flops_per_second, rs_error *err) {
    rs_status st = RS_OK;
    rs_mem *m = NULL;
    const size_t bytes = sizeof(float) * SIDE * SIDE;
    double best = 1e9;
    RS_TRY(b->alloc(d, 3 * bytes, &m, err));
    RS_TRY(b->zero(d, m, 0, 3 * bytes, err));
    rs_op op = {.kind = RS_OP_MATMUL,
                .u.matmul = {.x = rs_view_2d(m, 0, RS_F32, SIDE, SIDE),
                             .w = rs_view_2d(m, bytes, RS_F32, SIDE, SIDE),
                             .y = rs_view_2d(m, 2 * bytes, RS_F32, SIDE, SIDE)}};
    for (int i = 0; i < TRIES; i++) {
        double begun = rs_clock_seconds();
        RS_TRY(rs_run_ops(b, d, &op, 1, err));
        RS_TRY(b->sync(d, err));
        double spent = rs_clock_seconds() - begun;
        best = spent < best ? spent : best;
    }
    *flops_per_second = 2.0 * SIDE * SIDE * SIDE / best;
out:
    b->release(d, m);
    return st;
}
