/* What is measured on every run, and what of it differs between variants by more than seeds differ.
 *
 * Spread: with x_vr the value of run r of variant v, s^2 = sum over v, r of (x_vr - mean_v)^2 / sum over v of (n_v -
 * 1): the variance between seeds, taken as the same for all variants (with two seeds each, one variant alone says
 * little). A difference from the reference, d = mean_v - mean_0, has the 95% interval d +- t(0.975, degrees) s
 * sqrt(1/n_v + 1/n_0). */
#include "reports/comparison.h"

#include "analyzer/base/alloc.h"

#include <math.h>
#include <string.h>

/* --- spread and difference --- */

double rs_student_975(int degrees) {
    static const double t[] = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
                               2.201,  2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
                               2.080,  2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042};
    enum { LISTED = sizeof t / sizeof *t };
    if (degrees < 1) return NAN;
    /* Beyond the table: first term of the expansion in 1/degrees, z + (z^3 + z) / (4 degrees). */
    return degrees <= LISTED ? t[degrees - 1] : 1.960 + 2.372 / degrees;
}

static void summarise(rs_estimate *e, double *x, int n) {
    double sum = 0.0;
    int known = 0;
    *e = (rs_estimate){.runs = x,
                       .mean = NAN,
                       .low = NAN,
                       .high = NAN,
                       .difference = NAN,
                       .half_width = NAN,
                       .text_half_width = NAN,
                       .verdict = RS_COMPARED_UNKNOWN};
    for (int i = 0; i < n; i++) {
        if (!isfinite(x[i])) continue;
        sum += x[i], known++;
        e->low = fmin(e->low, x[i]), e->high = fmax(e->high, x[i]);
    }
    /* A mean over some of the repeats only would be compared with means over all. */
    if (known == n && n > 0) e->mean = sum / n;
}

/* A share of heads moves in steps of one head: runs that agree by rounding are not known better than a rounded number,
 * whose standard deviation is 1/sqrt(12) of a step. */
static double resolution(const rs_comparison *c, const rs_quantity *q) {
    return q->per_head ? 1.0 / (double)c->runs[0].view->n_head_rows / sqrt(12.0) : 0.0;
}

static void pool(const rs_comparison *c, rs_compared_quantity *x) {
    double squares = 0.0;
    x->degrees = 0;
    for (int v = 0; v < c->n_variants; v++) {
        int n = c->variants[v].n_compared;
        if (n < 2 || isnan(x->values[v].mean)) continue;
        for (int r = 0; r < n; r++) {
            double d = x->values[v].runs[r] - x->values[v].mean;
            squares += d * d;
        }
        x->degrees += n - 1;
    }
    x->spread = x->degrees > 0 ? fmax(sqrt(squares / x->degrees), resolution(c, x->quantity)) : NAN;
}

static void judge(rs_comparison *c, rs_compared_quantity *x) {
    const rs_estimate *a = &x->values[0];
    for (int v = 0; v < c->n_variants; v++) {
        rs_estimate *b = &x->values[v];
        b->difference = b->mean - a->mean;
        if (v == 0) {
            b->verdict = RS_COMPARED_REFERENCE;
            continue;
        }
        if (isnan(b->difference) || x->degrees == 0) continue;
        b->half_width = rs_student_975(x->degrees) * x->spread *
                        sqrt(1.0 / c->variants[v].n_compared + 1.0 / c->variants[0].n_compared);
        b->verdict = fabs(b->difference) > b->half_width ? RS_COMPARED_DIFFERS : RS_COMPARED_WITHIN;
        c->n_tests++;
        c->n_beyond += b->verdict == RS_COMPARED_DIFFERS;
    }
}

static rs_status measure_one(rs_comparison *c, const rs_quantity *q, rs_error *err) {
    rs_status st = RS_OK;
    rs_compared_quantity *x = &c->quantities[c->n_quantities];
    bool any = false;
    *x = (rs_compared_quantity){.quantity = q, .spread = NAN};
    RS_TRY(RS_ARENA_NEW(c->arena, &x->values, (size_t)c->n_variants, err));
    for (int v = 0; v < c->n_variants; v++) {
        const rs_variant *w = &c->variants[v];
        double *values = NULL;
        RS_TRY(RS_ARENA_NEW(c->arena, &values, (size_t)w->n_compared + 1, err));
        for (int r = 0; r < w->n_compared; r++) values[r] = q->of(c->runs[w->runs[r]].view, q->argument);
        summarise(&x->values[v], values, w->n_compared);
        any = any || !isnan(x->values[v].mean);
    }
    if (!any) return RS_OK; /* nobody measured it */
    pool(c, x);
    judge(c, x);
    c->n_quantities++;
out:
    return st;
}

/* --- the loss on the same tokens --- */

/* Mean over the compared runs of a variant of the loss of one sequence between two positions; NaN without tokens. */
static double sequence_loss(const rs_comparison *c, const rs_variant *x, int64_t s, int64_t from, int64_t to) {
    double sum = 0.0, n = 0.0;
    for (int r = 0; r < x->n_compared; r++) {
        const rs_array *nll = rs_view_array(c->runs[x->runs[r]].view, "loss/token_nll");
        for (int64_t t = from; t < to; t++) {
            double y = nll->data[s * nll->dims[1] + t];
            if (isfinite(y)) sum += y, n += 1.0;
        }
    }
    return n > 0.0 ? sum / n : NAN;
}

/* Difference of two variants over sequences, paired: mean and 95% half width. */
static void paired(const rs_comparison *c, const rs_variant *a, const rs_variant *b, int64_t sequences, int64_t from,
                   int64_t to, double *difference, double *half_width) {
    double sum = 0.0, squares = 0.0;
    int n = 0;
    for (int64_t s = 0; s < sequences; s++) {
        double d = sequence_loss(c, b, s, from, to) - sequence_loss(c, a, s, from, to);
        if (!isfinite(d)) continue;
        sum += d, squares += d * d, n++;
    }
    *difference = n > 0 ? sum / n : NAN;
    double variance = n > 1 ? (squares - sum * sum / n) / (n - 1) : NAN;
    *half_width = n > 1 ? rs_student_975(n - 1) * sqrt(fmax(variance, 0.0) / n) : NAN;
}

static bool has_losses(const rs_comparison *c, const rs_variant *x, const rs_array *like) {
    for (int r = 0; r < x->n_compared; r++) {
        const rs_array *a = rs_view_array(c->runs[x->runs[r]].view, "loss/token_nll");
        if (a == NULL || a->n_dims != 2 || a->dims[0] != like->dims[0] || a->dims[1] != like->dims[1]) return false;
    }
    return x->n_compared > 0;
}

static rs_status measure_loss(rs_comparison *c, rs_error *err) {
    rs_status st = RS_OK;
    const rs_report_view *first = c->runs[0].view;
    const rs_array *buckets = rs_view_array(first, "loss/by_position"), *nll = rs_view_array(first, "loss/token_nll");
    rs_compared_quantity *loss = c->n_quantities > 0 ? &c->quantities[0] : NULL;
    RS_TRY(RS_ARENA_NEW(c->arena, &c->loss_differences, (size_t)c->n_variants, err));
    if (buckets == NULL || nll == NULL || loss == NULL || strcmp(loss->quantity->key, "loss") != 0) return RS_OK;
    c->n_loss_buckets = (int)buckets->dims[0];
    for (int v = 1; v < c->n_variants; v++) {
        double ignored;
        const rs_variant *x = &c->variants[v];
        if (!has_losses(c, x, nll) || !has_losses(c, &c->variants[0], nll)) continue;
        RS_TRY(RS_ARENA_NEW(c->arena, &c->loss_differences[v], (size_t)c->n_loss_buckets, err));
        for (int b = 0; b < c->n_loss_buckets; b++) {
            rs_loss_difference *d = &c->loss_differences[v][b];
            d->first = (int64_t)rs_view_cell(buckets, b, 0, 0), d->last = (int64_t)rs_view_cell(buckets, b, 1, 0);
            paired(c, &c->variants[0], x, nll->dims[0], d->first, d->last + 1, &d->difference, &d->half_width);
        }
        paired(c, &c->variants[0], x, nll->dims[0], 1, nll->dims[1], &ignored, &loss->values[v].text_half_width);
    }
out:
    return st;
}

rs_status rs_comparison_measure(rs_comparison *c, rs_error *err) {
    rs_status st = RS_OK;
    if (rs_quantities_count > RS_COMPARED_QUANTITIES)
        return rs_fail(err, RS_E_INTERNAL, "more than %d quantities", (int)RS_COMPARED_QUANTITIES);
    for (size_t i = 0; i < rs_quantities_count; i++) RS_TRY(measure_one(c, &rs_quantities[i], err));
    RS_TRY(measure_loss(c, err));
out:
    return st;
}

const rs_compared_quantity *rs_comparison_quantity(const rs_comparison *c, const char *key) {
    for (int i = 0; i < c->n_quantities; i++)
        if (strcmp(c->quantities[i].quantity->key, key) == 0) return &c->quantities[i];
    return NULL;
}
