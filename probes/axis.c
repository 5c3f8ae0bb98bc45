#include "probes/axis.h"

#include "kernels/op.h"

#include <math.h>
#include <stddef.h>

/* 0..dense-1, then at most `points` - dense points with equal steps of the logarithm, the last of them T - 1. */
static int64_t log_axis(int64_t positions, int64_t dense, int64_t points, double *out) {
    int64_t n = 0, last = -1;
    for (int64_t d = 0; d < positions && d < dense; d++, n++) {
        last = d;
        if (out) {
            out[n] = (double)d;
        }
    }
    int64_t rest = points - dense;
    for (int64_t i = 1; i <= rest && last < positions - 1; i++) {
        double x = (double)(dense - 1) * pow((double)(positions - 1) / (double)(dense - 1), (double)i / (double)rest);
        int64_t d = i == rest ? positions - 1 : (int64_t)llround(x);
        /* Where the steps are narrower than a token every distance gets its point once. */
        if (d <= last || d > positions - 1) {
            continue;
        }
        last = d;
        if (out) {
            out[n] = (double)d;
        }
        n++;
    }
    return n;
}

int64_t rs_distance_axis(int64_t positions, double *out) {
    return log_axis(positions, RS_DISTANCE_DENSE, RS_DISTANCE_POINTS, out);
}

int64_t rs_profile_axis(int64_t positions, double *out) {
    return log_axis(positions, RS_PROFILE_DENSE, RS_PROFILE_POINTS, out);
}

int64_t rs_bucket_axis(int64_t positions, double *out) {
    int64_t n = 0;
    for (int64_t first = 1; first < positions && n < RS_BUCKETS_MOST; first *= 4, n++) {
        if (out) {
            out[n] = (double)first;
        }
    }
    return n;
}

int64_t rs_spectrum_axis(int64_t positions, double *out) {
    int64_t frame = 2;
    while (frame < RS_SPECTRUM_FRAME && 2 * frame <= positions / 2) {
        frame *= 2;
    }
    if (positions > RS_SPECTRUM_FRAME) {
        frame = RS_SPECTRUM_FRAME;
    }
    for (int64_t k = 0; k <= frame / 2 && out; k++) {
        out[k] = (double)k / (double)frame;
    }
    return frame / 2 + 1;
}

int64_t rs_phase_axis(int64_t positions, double *out) {
    (void)positions;
    for (int b = 0; b < RS_PHASE_BINS && out; b++) {
        out[b] = 2.0 * 3.14159265358979323846 * b / RS_PHASE_BINS;
    }
    return RS_PHASE_BINS;
}

int64_t rs_axis_find(const double *axis, int64_t n, double value) {
    int64_t low = 0, high = n;
    while (low < high) { /* first point > value */
        int64_t mid = low + (high - low) / 2;
        if (axis[mid] <= value) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low - 1;
}
