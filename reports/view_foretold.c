/* Do the costs of single pairs foretell the loss? For each edit of one band in one layer that was measured, the costs
 * of its pairs, summed, beside the change of the loss. */
#include "reports/view.h"

#include "analyzer/base/alloc.h"
#include "analyzer/base/band.h"
#include "reports/rank.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { COSTS = RS_FORETOLD_COSTS, FIELDS = COSTS + 1, LEAST_EDITS = 8 };

/* The arrays [layer, head, pair] that are summed, per edit; none: the cost knows no such edit. */
static const struct {
    const char *mode, *arrays[COSTS];
} modes[] = {
    {"zero", {"moments/zero_cost", "moments/zero_cost_sampled", "contribution/kl_zero", "frequency_norm/two_norm"}},
    {"unrotate",
     {"moments/unrotate_cost", "moments/unrotate_cost_sampled", "contribution/kl_unrotate", "frequency_norm/two_norm"}},
};

/* Of all heads of the layer and the pairs of the band; NaN when one is missing or the run has no such array. */
static double summed(const rs_report_view *v, const char *name, int layer, int band) {
    const rs_array *a = rs_view_array(v, name);
    const rs_view_layer *l = &v->layers[layer];
    double sum = 0.0;
    for (int h = 0; h < l->heads; h++)
        for (int p = rs_band_begin(band, l->pairs); p < rs_band_begin(band + 1, l->pairs); p++)
            sum += rs_view_cell(a, layer, h, p);
    return sum;
}

static bool belongs(const rs_report_view *v, const rs_view_ablation *x, const char *mode) {
    return strcmp(x->experiment, "layer-band") == 0 && strcmp(x->mode, mode) == 0 && x->layer >= 0 &&
           x->layer < v->n_layers && x->heads[0] == '\0' && x->pairs > 0 && isfinite(x->loss.delta) &&
           x->amount >= 0.0 && x->amount < RS_BANDS;
}

static rs_status correlate(rs_view_foretold *f, const double *rows, double *x, double *y, rs_error *err) {
    rs_status st = RS_OK;
    for (int c = 0; c < COSTS; c++) {
        int64_t n = 0;
        f->rank[c] = NAN;
        for (int64_t i = 0; i < f->edits; i++) {
            if (!isfinite(rows[i * FIELDS + c])) continue;
            x[n] = rows[i * FIELDS + c];
            y[n++] = rows[i * FIELDS + COSTS];
        }
        if (n >= LEAST_EDITS) RS_TRY(rs_rank_correlation(x, y, n, &f->rank[c], err));
    }
out:
    return st;
}

static rs_status foretell(rs_report_view *v, size_t m, double *x, double *y, rs_error *err) {
    rs_status st = RS_OK;
    rs_array *a = NULL;
    int64_t n = 0, i = 0;
    char name[RS_NAME_BYTES];
    for (int64_t k = 0; k < v->n_ablations; k++) n += belongs(v, &v->ablations[k], modes[m].mode);
    if (n < LEAST_EDITS) return RS_OK;
    snprintf(name, sizeof name, "reliability/foretold_%s", modes[m].mode);
    RS_TRY(rs_arrays_add(&v->derived, &a, err, name, RS_F64, "1",
                         "sums over the edited pairs of closed form, sampled cost, KL and 2-norm; change of the loss",
                         2, "edit", n, "field", (int64_t)FIELDS));
    for (int64_t k = 0; k < v->n_ablations; k++) {
        const rs_view_ablation *e = &v->ablations[k];
        if (!belongs(v, e, modes[m].mode)) continue;
        for (int c = 0; c < COSTS; c++)
            a->data[i * FIELDS + c] = summed(v, modes[m].arrays[c], e->layer, (int)e->amount);
        a->data[i++ * FIELDS + COSTS] = e->loss.delta;
    }
    rs_view_foretold *f = &v->foretold[v->n_foretold++];
    f->mode = modes[m].mode;
    f->edits = n;
    RS_TRY(correlate(f, a->data, x, y, err));
out:
    return st;
}

rs_status rs_view_foretell(rs_report_view *v, rs_error *err) {
    rs_status st = RS_OK;
    double *x = NULL, *y = NULL;
    RS_TRY(RS_NEW(&x, (size_t)v->n_ablations + 1, err));
    RS_TRY(RS_NEW(&y, (size_t)v->n_ablations + 1, err));
    for (size_t m = 0; m < sizeof modes / sizeof *modes; m++) RS_TRY(foretell(v, m, x, y, err));
out:
    rs_free(x);
    rs_free(y);
    return st;
}
