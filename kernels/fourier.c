/* kernels/fourier.c: see fourier.h. */
#include "kernels/fourier.h"

#include <math.h>

int64_t rs_correlate_lags(const rs_op_correlate *o) {
    int64_t rows = o->q.dim[0] - o->first;
    return o->window > 0 && o->window < rows ? o->window : rows;
}

int64_t rs_correlate_length(const rs_op_correlate *o) {
    int64_t least = o->q.dim[0] - o->first + rs_correlate_lags(o) - 1, best = 1;
    while (best < least) best *= 2;
    for (int64_t odd = 3; odd <= 5; odd += 2) {
        int64_t n = odd;
        while (n < least) n *= 2;
        best = n < best ? n : best;
    }
    return best;
}

void rs_phase_edges_init(rs_phase_edges *e) {
    for (int j = 0; j < RS_PHASE_QUARTER; j++) {
        double angle = 2.0 * 3.14159265358979323846 * (double)j / (double)RS_PHASE_BINS;
        e->cosine[j] = cos(angle);
        e->sine[j] = sin(angle);
    }
    /* The diagonal is an edge that inputs hit: equal components stand on it exactly. */
    e->cosine[RS_PHASE_QUARTER / 2] = e->sine[RS_PHASE_QUARTER / 2];
}
