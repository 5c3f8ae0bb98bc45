/* What the pairs are for, counted: verdict/count [layer, verdict, pair] heads of a layer by the verdict on their pair;
 * verdict/by_frequency [rope, verdict, pair] share of the heads of the layers of a rope. And of each head what its
 * pairs are for and how much of its norm turns fast. */
#include "reports/view.h"

#include "analyzer/base/alloc.h"

#include <math.h>
#include <stdlib.h>
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

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Share of a verdict in a draw, over all layers; NaN where a layer has none. */
static double drawn_share(const rs_array *a, int64_t draw, int x) {
    double count = 0.0, all = 0.0;
    for (int64_t l = 0; l < a->dims[0]; l++)
        for (int i = 0; i < RS_VERDICTS; i++) {
            double n = a->data[(l * a->dims[1] + draw) * RS_VERDICTS + i];
            all += n, count += i == x ? n : 0.0;
        }
    return all > 0.0 ? count / all : (double)NAN;
}

/* 2.5 % and 97.5 % of the draws. */
static rs_status share_intervals(rs_report_view *v, rs_error *err) {
    const rs_array *a = rs_view_array(v, "contribution/verdict_bootstrap");
    double *share = NULL;
    for (int x = 0; x < RS_VERDICTS; x++) v->verdict_lo[x] = v->verdict_hi[x] = NAN;
    if (a == NULL || a->n_dims != 3 || a->dims[2] != RS_VERDICTS || a->dims[1] < 40) return RS_OK;
    int64_t draws = a->dims[1];
    rs_status st = RS_NEW(&share, (size_t)draws, err);
    for (int x = 0; st == RS_OK && x < RS_VERDICTS; x++) {
        bool whole = true;
        for (int64_t b = 0; b < draws; b++) {
            share[b] = drawn_share(a, b, x);
            whole = whole && isfinite(share[b]);
        }
        if (!whole) continue;
        qsort(share, (size_t)draws, sizeof *share, ascending);
        v->verdict_lo[x] = share[draws / 40];
        v->verdict_hi[x] = share[draws - 1 - draws / 40];
    }
    rs_free(share);
    return st;
}

rs_status rs_view_purpose(rs_report_view *v, rs_error *err) {
    rs_status st = RS_OK;
    RS_TRY(share_intervals(v, err));
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

/* --- heads --- */

static void head_verdicts(const rs_report_view *v, rs_view_head *h) {
    const rs_array *a = rs_view_array(v, "contribution/verdict");
    double n = 0.0, count[RS_VERDICTS] = {0};
    for (int p = 0; a != NULL && p < v->layers[h->layer].pairs; p++) {
        int x = verdict_at(a, h->layer, h->head, p);
        if (x >= 0) count[x] += 1.0, n += 1.0;
    }
    for (int x = 0; x < RS_VERDICTS; x++) h->verdict[x] = n > 0.0 ? count[x] / n : (double)NAN;
}

/* arXiv 2410.06205, section 5: heads that look at the previous token or at themselves have their norm in the fastest
 * pairs. */
static double fast_share(const rs_report_view *v, const rs_view_head *h) {
    const rs_array *a = rs_view_array(v, "frequency_norm/two_norm");
    const rs_view_rope *r = &v->ropes[v->layers[h->layer].rope];
    int fast = r->rotated / 4 > 0 ? r->rotated / 4 : 1;
    double sum = 0.0, part = 0.0;
    if (a == NULL || r->rotated == 0) return NAN;
    for (int p = 0; p < r->pairs; p++) {
        double x = rs_view_cell(a, h->layer, h->head, p);
        sum += x;
        part += p < fast ? x : 0.0;
    }
    return sum > 0.0 ? part / sum : (double)NAN;
}

static bool is_positional(const rs_view_head *h) { return h->kind == RS_HEAD_PREVIOUS || h->kind == RS_HEAD_DIAGONAL; }

static double median(double *x, int64_t n) {
    if (n == 0) return NAN;
    qsort(x, (size_t)n, sizeof *x, ascending);
    return 0.5 * (x[(n - 1) / 2] + x[n / 2]);
}

/* Area under the curve: share of (positional head, other head) in which the first has the larger share; ties half.
 * Both lists are sorted. */
static double area(const double *mine, int64_t n, const double *other, int64_t m) {
    double above = 0.0;
    int64_t below = 0, level = 0;
    for (int64_t i = 0; i < n; i++) {
        while (below < m && other[below] < mine[i]) below++;
        level = level < below ? below : level;
        while (level < m && other[level] <= mine[i]) level++;
        above += (double)below + 0.5 * (double)(level - below);
    }
    return n > 0 && m > 0 ? above / ((double)n * (double)m) : (double)NAN;
}

rs_status rs_view_head_types(rs_report_view *v, rs_error *err) {
    rs_status st = RS_OK;
    double *x = NULL; /* [n_head_rows] positional from the front, others from the back */
    int64_t n = 0, m = v->n_head_rows;
    RS_TRY(RS_NEW(&x, (size_t)v->n_head_rows + 1, err));
    for (int64_t i = 0; i < v->n_head_rows; i++) {
        rs_view_head *h = &v->heads[i];
        head_verdicts(v, h);
        h->fast_share = fast_share(v, h);
        if (h->kind == RS_HEAD_KINDS || isnan(h->fast_share)) continue;
        if (is_positional(h)) x[n++] = h->fast_share;
        else x[--m] = h->fast_share;
    }
    v->positional_heads = n;
    v->positional_fast_share = median(x, n);
    v->other_fast_share = median(x + m, v->n_head_rows - m);
    v->fast_auc = area(x, n, x + m, v->n_head_rows - m);
out:
    rs_free(x);
    return st;
}

void rs_view_band_verdicts(const rs_report_view *v, rs_view_band *b) {
    if (v->verdict_pairs > 0) shares(v, v->main_rope, b->first, b->last, b->verdict);
}
