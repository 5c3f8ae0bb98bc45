/* What a rotary table can tell without a model: which pairs have seen a whole turn, and how far a token's pull on its
 * like stays positive. */
#include "analyzer/model/rope.h"

#include <math.h>

int rs_rope_turning_pairs(const rs_rope *r, double context) {
    int n = 0;
    for (int f = 0; f < r->n_pairs; f++) {
        n += context * r->theta[f] >= 6.283185307179586;
    }
    return n;
}

static double spread_slope(double x) {
    double s = sin(x), c = cos(x);
    return (2 * x * cos(2 * x) - sin(2 * x)) / (4 * x * x) - 2 * s * (x * c - s) / (x * x * x);
}

double rs_rope_band_peak(void) {
    double lo = 3, hi = 4; /* the slope falls through 0 between */
    for (int i = 0; i < 60; i++) {
        double x = 0.5 * (lo + hi);
        *(spread_slope(x) > 0 ? &lo : &hi) = x;
    }
    return 0.5 * (lo + hi);
}

double rs_rope_band_pair(const rs_rope *r, double context) {
    double theta = rs_rope_band_peak() / context;
    for (int f = 0; f + 1 < r->n_rotated; f++) {
        double from = r->theta[f], to = r->theta[f + 1];
        if (theta <= from && theta >= to) {
            return from > to ? f + log(from / theta) / log(from / to) : f;
        }
    }
    return (double)NAN;
}

rs_rope_pull rs_rope_base_bound(const rs_rope *r, int64_t limit) {
    rs_rope_pull p = {.least = 1, .least_at = 0, .first_negative = 0, .limit = limit};
    for (int64_t d = 1; d < limit && r->n_pairs > 0; d++) {
        double sum = 0;
        for (int f = 0; f < r->n_pairs; f++) {
            sum += cos((double)d * r->theta[f]);
        }
        sum /= r->n_pairs;
        if (sum < p.least) {
            p.least = sum;
            p.least_at = d;
        }
        if (sum < 0) {
            p.first_negative = d;
            break;
        }
    }
    return p;
}
