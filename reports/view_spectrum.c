#include "reports/view_spectrum.h"

#include <math.h>
#include <string.h>

enum { CONSTANT = 2, MOST_BANDS = 48 }; /* bins of the constant part */

/* Bins [first[b], first[b + 1]) make band b, fastest band first. */
typedef struct bands {
    int64_t bins, first[MOST_BANDS], last[MOST_BANDS];
    int n;
} bands;

/* Edges 2, 3, 4, 6, 8, 12, 16, ...: two to the octave. The last bin, the period of two tokens, stands with those before
 * it. */
static void make_bands(int64_t bins, bands *b) {
    int64_t first[MOST_BANDS], n = 0;
    for (int64_t k = CONSTANT; (n == 0 || k < bins - 1) && n < MOST_BANDS; n++) {
        int64_t octave = 1;
        first[n] = k;
        while (2 * octave <= k) octave *= 2;
        k = k < octave + octave / 2 ? octave + octave / 2 : 2 * octave;
    }
    b->bins = bins;
    b->n = (int)n;
    for (int i = 0; i < b->n; i++) {
        int64_t j = n - 1 - i;
        b->first[i] = first[j];
        b->last[i] = (j + 1 < n ? first[j + 1] : bins) - 1;
    }
}

/* One spectrum [bins] -> its density in each band over that of white noise, added to sum [n]; false without power. */
static bool add_spectrum(const bands *b, const double *share, double *sum) {
    double power = 0.0;
    for (int64_t k = CONSTANT; k < b->bins; k++) power += share[k];
    if (!(power > 0.0) || !isfinite(power)) return false;
    for (int i = 0; i < b->n; i++) {
        double part = 0.0;
        for (int64_t k = b->first[i]; k <= b->last[i]; k++) part += share[k];
        sum[i] += part / power * (double)(b->bins - CONSTANT) / (double)(b->last[i] - b->first[i] + 1);
    }
    return true;
}

/* Frames have 2 (bins - 1) positions, so that bin k has the period of 2 (bins - 1) / k tokens. */
static rs_status add_axis(rs_report_view *v, const bands *b, rs_error *err) {
    rs_array *a = rs_arrays_find(&v->derived, "axis/period");
    if (a != NULL && a->dims[0] != b->n)
        return rs_fail(err, RS_E_FORMAT, "%s: spectra of queries and of keys have different axes", v->path);
    if (a != NULL) return RS_OK;
    rs_status st =
        rs_arrays_add(&v->derived, &a, err, "axis/period", RS_F64, "tokens", "longest and shortest period of each band",
                      2, "period_band", (int64_t)b->n, "end", (int64_t)2);
    for (int i = 0; st == RS_OK && i < b->n; i++) {
        a->data[2 * i] = 2.0 * (double)(b->bins - 1) / (double)b->first[i];
        a->data[2 * i + 1] = 2.0 * (double)(b->bins - 1) / (double)b->last[i];
    }
    return st;
}

/* Adds the layer's spectra [heads, pairs, bins] to the sums of its rope, out [pairs, n], and counts them. */
static void add_layer(const bands *b, const rs_array *row, int64_t pairs, double *out, double *count) {
    for (int64_t h = 0; h < row->dims[0]; h++)
        for (int64_t p = 0; p < pairs; p++)
            if (add_spectrum(b, row->data + (h * pairs + p) * b->bins, out + p * b->n)) count[p] += 1.0;
}

static rs_status read_side(rs_report_view *v, rs_store *s, const char *name, const char *derived, rs_error *err) {
    rs_status st = RS_OK;
    rs_array row = {0}, count = {0}, *out = NULL;
    bands b = {0};
    int64_t pairs = 0, R = v->n_ropes;
    if (!rs_store_has(s, name)) return RS_OK;
    for (int l = 0; l < v->n_layers; l++) {
        RS_TRY(rs_store_read_row(s, name, l, &row, err));
        if (row.n_dims != 3 || row.dims[1] < 1 || row.dims[2] <= CONSTANT ||
            (l > 0 && (row.dims[1] != pairs || row.dims[2] != b.bins))) {
            st = rs_fail(err, RS_E_FORMAT, "%s: dataset '%s' is not [layer, head, pair, spectrum_bin]", v->path, name);
            goto out;
        }
        if (l == 0) {
            pairs = row.dims[1];
            make_bands(row.dims[2], &b);
            RS_TRY(add_axis(v, &b, err));
            RS_TRY(rs_arrays_add(&v->derived, &out, err, derived, RS_F32, "1",
                                 "power of the pair's norm along the sequence by period, over that of white noise", 3,
                                 "rope", R, "pair", pairs, "period_band", (int64_t)b.n));
            RS_TRY(rs_array_init(&count, err, "count", RS_F64, "1", "spectra", 2, "rope", R, "pair", pairs));
            memset(out->data, 0, (size_t)rs_array_size(out) * sizeof *out->data);
            memset(count.data, 0, (size_t)rs_array_size(&count) * sizeof *count.data);
        }
        int64_t at = v->layers[l].rope * pairs;
        add_layer(&b, &row, pairs, out->data + at * b.n, count.data + at);
        rs_array_deinit(&row);
        row = (rs_array){0};
    }
    for (int64_t i = 0; i < R * pairs * b.n; i++)
        out->data[i] = count.data[i / b.n] > 0.0 ? out->data[i] / count.data[i / b.n] : NAN;
out:
    rs_array_deinit(&row);
    rs_array_deinit(&count);
    return st;
}

rs_status rs_view_read_spectrum(rs_report_view *v, rs_store *s, rs_error *err) {
    rs_status st = RS_OK;
    RS_TRY(read_side(v, s, "angular_spectrum/q_norm_spectrum", "spectrum/q", err));
    RS_TRY(read_side(v, s, "angular_spectrum/k_norm_spectrum", "spectrum/k", err));
out:
    return st;
}
