#include "probes/tally.h"

#include "analyzer/base/alloc.h"
#include "analyzer/base/rng.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void rs_tally_zero(rs_array *a) {
    for (int64_t i = 0, n = rs_array_size(a); i < n; i++) {
        a->data[i] = 0.0;
    }
}

rs_status rs_tally_declare_sequences(rs_arrays *state, const char *probe, const char *axis, int folds, rs_error *err) {
    rs_status st = RS_OK;
    rs_array *a = NULL;
    char name[RS_NAME_BYTES];
    snprintf(name, sizeof name, "state/%s/sequences", probe);
    RS_TRY(rs_arrays_add(state, &a, err, name, RS_F64, "1", "number of sequences seen", 1, axis, (int64_t)folds));
    rs_tally_zero(a);
out:
    return st;
}

rs_status rs_tally_sum(const rs_arrays *state, const char *name, int first, int step, double **out, int64_t *cells,
                       rs_error *err) {
    rs_status st = RS_OK;
    *out = NULL;
    const rs_array *a = rs_arrays_find(state, name);
    if (!a || a->n_dims < 1) {
        return rs_fail(err, RS_E_MISMATCH, "raw state '%s' is missing", name);
    }
    int64_t folds = a->dims[0], inner = folds > 0 ? rs_array_size(a) / folds : 0;
    RS_TRY(RS_NEW(out, (size_t)inner, err));
    for (int64_t f = first; f < folds; f += step) {
        for (int64_t i = 0; i < inner; i++) {
            (*out)[i] += a->data[f * inner + i];
        }
    }
    if (cells) {
        *cells = inner;
    }
out:
    return st;
}

rs_status rs_tally_part(const rs_arrays *state, const char *name, int first, int step, int64_t expected, double **out,
                        rs_error *err) {
    rs_status st = RS_OK;
    int64_t cells = 0;
    RS_TRY(rs_tally_sum(state, name, first, step, out, &cells, err));
    if (cells != expected) {
        st = rs_fail(err, RS_E_MISMATCH, "raw state '%s' has %lld cells per fold, expected %lld", name,
                     (long long)cells, (long long)expected);
    }
out:
    return st;
}

rs_status rs_tally_cells(const rs_arrays *state, const char *name, int64_t expected, double **out, rs_error *err) {
    return rs_tally_part(state, name, 0, 1, expected, out, err);
}

rs_status rs_tally_number(const rs_arrays *state, const char *name, double *out, rs_error *err) {
    rs_status st = RS_OK;
    double *sum = NULL;
    RS_TRY(rs_tally_cells(state, name, 1, &sum, err));
    *out = sum[0];
out:
    rs_free(sum);
    return st;
}

rs_status rs_tally_draws(const rs_arrays *state, const char *sequences, int weight[RS_RESAMPLES][RS_FOLDS], bool *drawn,
                         rs_error *err) {
    const rs_array *a = rs_arrays_find(state, sequences);
    int filled[RS_FOLDS], n = 0;
    rs_rng rng;
    if (!a || a->n_dims != 1 || a->dims[0] > RS_FOLDS) {
        return rs_fail(err, RS_E_MISMATCH, "raw state '%s' has not one axis of at most %d folds", sequences,
                       (int)RS_FOLDS);
    }
    memset(weight, 0, sizeof(int[RS_RESAMPLES][RS_FOLDS]));
    for (int i = 0; i < (int)a->dims[0]; i++) {
        if (a->data[i] > 0) {
            filled[n++] = i;
        }
    }
    *drawn = n > 1;
    rs_rng_init(&rng, 1);
    for (int b = 0; b < RS_RESAMPLES && *drawn; b++) {
        for (int i = 0; i < n; i++) {
            weight[b][filled[rs_rng_below(&rng, n)]]++;
        }
    }
    return RS_OK;
}

double rs_tally_ratio(double a, double b) { return b == 0.0 ? (double)NAN : a / b; }

double rs_tally_correlation(const double *a, const double *b, int64_t n) {
    double used = 0, ma = 0, mb = 0, saa = 0, sbb = 0, sab = 0;
    for (int64_t i = 0; i < n; i++) { /* Welford: norms of several hundred must not drown their differences */
        if (!isfinite(a[i]) || !isfinite(b[i])) {
            continue;
        }
        used += 1.0;
        double da = a[i] - ma, db = b[i] - mb;
        ma += da / used;
        mb += db / used;
        saa += da * (a[i] - ma);
        sbb += db * (b[i] - mb);
        sab += da * (b[i] - mb);
    }
    return used >= 2.0 && saa > 0.0 && sbb > 0.0 ? sab / sqrt(saa) / sqrt(sbb) : (double)NAN;
}
