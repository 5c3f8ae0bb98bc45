/* What the pairs are for, counted: verdict/count [layer, verdict, pair] heads of a layer by the verdict on their pair;
 * verdict/by_frequency [rope, verdict, pair] share of the heads of the layers of a rope. */
#include "reports/view.h"

#include <math.h>
#include <string.h>

static int verdict_at(const rs_array *a, int64_t layer, int64_t head, int64_t pair) {
    double x = rs_view_cell(a, layer, head, pair);
    return x >= 0.0 && x < RS_VERDICTS ? (int)x : -1;
}

static rs_status count_verdicts(rs_report_view *v, rs_error *err) {
    rs_array *out = NULL;
    const rs_array *a = rs_view_array(v, "contribution/verdict");
    int64_t pairs = a->dims[2];
    rs_status st =
        rs_arrays_add(&v->derived, &out, err, "verdict/count", RS_F32, "heads", "heads by the verdict on their pair", 3,
                      "layer", (int64_t)v->n_layers, "verdict", (int64_t)RS_VERDICTS, "pair", pairs);
    if (st != RS_OK) return st;
    memset(out->data, 0, (size_t)rs_array_size(out) * sizeof *out->data);
    for (int64_t l = 0; l < v->n_layers; l++) {
        for (int64_t h = 0; h < v->layers[l].heads; h++) {
            for (int64_t p = 0; p < v->layers[l].pairs; p++) {
                int x = verdict_at(a, l, h, p);
                if (x < 0) continue;
                out->data[(l * RS_VERDICTS + x) * pairs + p] += 1.0;
                v->verdict_count[x]++;
                v->verdict_pairs++;
            }
        }
    }
    return RS_OK;
}

/* Share of each verdict among pairs first..last of the heads of a rope's layers: out [RS_VERDICTS], NaN without any. */
static void shares(const rs_report_view *v, int rope, int first, int last, double *out) {
    const rs_array *count = rs_view_array(v, "verdict/count");
    double sum[RS_VERDICTS] = {0}, all = 0.0;
    for (int i = 0; i < v->ropes[rope].n_layers; i++)
        for (int x = 0; x < RS_VERDICTS; x++)
            for (int p = first; p <= last; p++) {
                double n = rs_view_cell(count, v->ropes[rope].layers[i], x, p);
                sum[x] += n, all += n;
            }
    for (int x = 0; x < RS_VERDICTS; x++) out[x] = all > 0.0 ? sum[x] / all : (double)NAN;
}

static rs_status by_frequency(rs_report_view *v, rs_error *err) {
    rs_array *a = NULL;
    int64_t pairs = rs_view_array(v, "verdict/count")->dims[2];
    rs_status st = rs_arrays_add(&v->derived, &a, err, "verdict/by_frequency", RS_F32, "1",
                                 "share of heads by the verdict on their pair", 3, "rope", (int64_t)v->n_ropes,
                                 "verdict", (int64_t)RS_VERDICTS, "pair", pairs);
    for (int r = 0; st == RS_OK && r < v->n_ropes; r++)
        for (int p = 0; p < v->ropes[r].pairs && p < pairs; p++) {
            double share[RS_VERDICTS];
            shares(v, r, p, p, share);
            for (int x = 0; x < RS_VERDICTS; x++) a->data[(r * RS_VERDICTS + x) * pairs + p] = share[x];
        }
    return st;
}

static double mean_agreement(const rs_array *a) {
    double sum = 0.0, n = 0.0;
    for (int64_t i = 0; a != NULL && i < rs_array_size(a); i++)
        if (isfinite(a->data[i])) sum += a->data[i], n += 1.0;
    return n > 0.0 ? sum / n : (double)NAN;
}

rs_status rs_view_purpose(rs_report_view *v, rs_error *err) {
    rs_status st = RS_OK;
    v->verdict_agreement = mean_agreement(rs_view_array(v, "contribution/verdict_split_half"));
    for (int b = 0; b < RS_VIEW_BANDS; b++)
        for (int x = 0; x < RS_VERDICTS; x++) v->bands[b].verdict[x] = NAN;
    const rs_array *a = rs_view_array(v, "contribution/verdict");
    if (a == NULL || a->n_dims != 3) return RS_OK;
    RS_TRY(count_verdicts(v, err));
    RS_TRY(by_frequency(v, err));
out:
    return st;
}

void rs_view_band_verdicts(const rs_report_view *v, rs_view_band *b) {
    if (v->verdict_pairs > 0) shares(v, v->main_rope, b->first, b->last, b->verdict);
}
