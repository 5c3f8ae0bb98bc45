/* Sentences made from the view's numbers. They say what was measured and how sure it is, and name no purpose. */
#include "reports/measures.h"
#include "reports/show.h"
#include "reports/view.h"

#include "analyzer/base/text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MEAN = 0, MEDIAN = 1 }; /* rows of by_frequency arrays */

rs_status rs_view_add_finding(rs_report_view *v, const char *key, const char *figure, rs_text *t, rs_error *err) {
    rs_status st = rs_text_status(t, err);
    rs_view_finding *f = &v->findings[v->n_findings];
    if (st == RS_OK && t->bytes > 0) {
        if (v->n_findings == RS_VIEW_FINDINGS)
            return rs_fail(err, RS_E_INTERNAL, "more than %d findings", (int)RS_VIEW_FINDINGS);
        f->key = key, f->figure = figure;
        st = rs_arena_strdup(v->arena, &f->text, t->data, err);
        v->n_findings += st == RS_OK;
    }
    rs_text_deinit(t);
    return st;
}

/* A run of neighbouring pairs of a rope and what to call it. */
typedef struct part {
    int first, last;
    const char *name;
} part;

/* What the sentences compare: for full RoPE the slowest quarter of the pairs, otherwise the pairs that are not rotated.
 */
static part slow_part(const rs_view_rope *r) {
    if (r->rotated < r->pairs) return (part){r->rotated, r->pairs - 1, "unrotated"};
    int n = r->pairs / 4 > 0 ? r->pairs / 4 : 1;
    return (part){r->pairs - n, r->pairs - 1, "slowest"};
}

static part fast_part(const rs_view_rope *r) {
    int n = r->rotated / 4 > 0 ? r->rotated / 4 : 1;
    return (part){0, n - 1, "fastest"};
}

static double part_sum(const rs_report_view *v, const char *quantity, int rope, part p) {
    const rs_array *a = rs_view_array(v, quantity);
    double sum = 0.0;
    for (int i = p.first; i <= p.last; i++) sum += rs_view_cell(a, rope, MEAN, i);
    return sum;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Ends of the 95 % interval of that sum: what drawing the sequences anew gives; false where nothing was drawn. Layers
 * of a rope count by their heads. */
static bool part_interval(const rs_report_view *v, const char *draws, bool keys, int rope, part p, double out[2],
                          rs_error *err) {
    const rs_array *a = rs_view_array(v, draws); /* [layer, resample, pair] */
    const rs_view_rope *r = &v->ropes[rope];
    double *sum = NULL;
    int64_t n = a != NULL && a->n_dims == 3 ? a->dims[1] : 0;
    if (n < 40 || RS_ARENA_NEW(v->arena, &sum, (size_t)n, err) != RS_OK) return false;
    for (int64_t b = 0; b < n; b++) {
        double heads = 0.0;
        for (int i = 0; i < r->n_layers; i++) {
            const rs_view_layer *l = &v->layers[r->layers[i]];
            double weight = keys ? l->kv_heads : l->heads;
            for (int f = p.first; f <= p.last; f++) sum[b] += weight * rs_view_cell(a, r->layers[i], b, f);
            heads += weight;
        }
        sum[b] /= heads;
        if (!isfinite(sum[b])) return false;
    }
    qsort(sum, (size_t)n, sizeof *sum, compare);
    out[0] = sum[n / 40];
    out[1] = sum[n - 1 - n / 40];
    return true;
}

/* "33% (32% to 34%)", with as many digits as tell the ends apart: 33.1% (32.9% to 33.3%). */
static void say_interval(const rs_report_view *v, rs_text *t, bool keys, int rope, part p, rs_error *err) {
    char share[RS_SHOW_BYTES];
    double ends[2] = {NAN, NAN}, x = part_sum(v, keys ? "by_frequency/k_share" : "by_frequency/q_share", rope, p);
    const char *draws = keys ? "frequency_norm/k_share_bootstrap" : "frequency_norm/q_share_bootstrap";
    if (!part_interval(v, draws, keys, rope, p, ends, err)) {
        rs_text_append(t, rs_show_percent(share, x));
        return;
    }
    double wide = 100.0 * (ends[1] - ends[0]);
    int digits = wide >= 2.0 ? 0 : wide >= 0.2 ? 1 : 2;
    rs_text_printf(t, "%.*f%% (%.*f%% to %.*f%%)", digits, 100.0 * x, digits, 100.0 * ends[0], digits, 100.0 * ends[1]);
}

static bool least_and_median(const rs_report_view *v, const rs_array *a, double *least, double *median, rs_error *err) {
    double *x = NULL;
    int64_t n = 0;
    if (a == NULL || RS_ARENA_NEW(v->arena, &x, (size_t)rs_array_size(a), err) != RS_OK) return false;
    for (int64_t i = 0; i < rs_array_size(a); i++)
        if (isfinite(a->data[i])) x[n++] = a->data[i];
    if (n == 0) return false;
    qsort(x, (size_t)n, sizeof *x, compare);
    *least = x[0];
    *median = n % 2 ? x[n / 2] : 0.5 * (x[n / 2 - 1] + x[n / 2]);
    return true;
}

/* Three decimals, but never a 1.000 that is not one. */
static void say_correlation(rs_text *t, double r) {
    if (r >= 0.9995 && r < 1.0) rs_text_append(t, "above 0.999");
    else rs_text_printf(t, "%.3f", r);
}

static void say_split_half(const rs_report_view *v, rs_text *t, rs_error *err) {
    double least, median;
    if (!least_and_median(v, rs_view_array(v, "frequency_norm/k_split_half"), &least, &median, err)) {
        rs_text_append(t, " (fewer than two sequences were read, so nothing says how stable this is).");
        return;
    }
    bool drawn = isfinite(rs_view_cell(rs_view_array(v, "frequency_norm/q_share_bootstrap"), 0, 0, 0));
    rs_text_printf(t, " (%seven against odd sequences: correlation over pairs ",
                   drawn ? "in brackets 95% of what drawing the sequences anew gives; " : "");
    say_correlation(t, median);
    rs_text_append(t, " in the median key head, ");
    say_correlation(t, least);
    rs_text_append(t, " in the least).");
}

static void say_layers(const rs_report_view *v, rs_text *t, const rs_view_rope *r) {
    char list[96];
    if (r->n_layers == v->n_layers) return;
    rs_text_printf(t, "%s %s: ", r->n_layers == 1 ? "layer" : "layers",
                   rs_show_ranges(list, sizeof list, r->layers, r->n_layers));
}

/* "the slowest 8 of 32 pairs (wavelengths from 1,780 tokens)" */
static void say_part(rs_text *t, const rs_view_rope *r, part p) {
    char wave[RS_SHOW_BYTES];
    int n = p.last - p.first + 1;
    if (strcmp(p.name, "unrotated") == 0) rs_text_printf(t, "the %d of %d pairs that are not rotated", n, r->pairs);
    else
        rs_text_printf(t, "the %s %d of %d pairs (wavelengths %s %s tokens)", p.name, n, r->pairs,
                       p.first == 0 ? "up to" : "from",
                       rs_show_number(wave, r->wavelength[p.first == 0 ? p.last : p.first]));
}

static void capitalise(rs_text *t, size_t at) {
    if (t->bytes > at && t->data[at] >= 'a' && t->data[at] <= 'z') t->data[at] = (char)(t->data[at] - 'a' + 'A');
}

static void say_shares(const rs_report_view *v, rs_text *t, int rope, rs_error *err) {
    const rs_view_rope *r = &v->ropes[rope];
    part p = slow_part(r);
    char u[RS_SHOW_BYTES], val[RS_SHOW_BYTES];
    size_t at = t->bytes;
    say_layers(v, t, r);
    say_part(t, r, p);
    rs_text_append(t, p.first == p.last ? " holds " : " hold ");
    say_interval(v, t, false, rope, p, err);
    rs_text_append(t, " of the query norm and ");
    say_interval(v, t, true, rope, p, err);
    rs_text_printf(t, " of the key norm, against %s if all pairs were used alike",
                   rs_show_percent(u, (double)(p.last - p.first + 1) / r->pairs));
    double values = part_sum(v, "by_frequency/v_share", rope, p);
    if (!isnan(values) && rs_view_array(v, "by_frequency/v_share")->dims[2] == r->pairs)
        rs_text_printf(t, " and %s in the values, which are never rotated", rs_show_percent(val, values));
    capitalise(t, at);
}

static rs_status say_norm(rs_report_view *v, rs_error *err) {
    rs_text t = {0};
    int said = 0;
    if (rs_view_array(v, "by_frequency/q_share") == NULL || rs_view_array(v, "by_frequency/k_share") == NULL)
        return RS_OK;
    for (int r = 0; r < v->n_ropes && said < 3; r++) {
        if (v->ropes[r].rotated == 0) continue;
        rs_text_append(&t, said++ ? ". " : "");
        say_shares(v, &t, r, err);
    }
    if (said == 0) return RS_OK;
    say_split_half(v, &t, err);
    return rs_view_add_finding(v, "norm", "fig-norm", &t, err);
}

/* Layers without any rotation: in words, since no picture can show a frequency that is not there. */
static rs_status say_nope(rs_report_view *v, rs_error *err) {
    rs_text t = {0};
    for (int r = 0; r < v->n_ropes; r++) {
        char list[96];
        if (v->ropes[r].rotated > 0) continue;
        if (!v->rotates)
            rs_text_append(
                &t, "Nothing rotates in this model (NoPE): its pairs have no frequency and no wavelength. They are "
                    "shown as component "
                    "pairs in ascending order, so that the tables have the shape of those of a model with RoPE.");
        else {
            bool one = v->ropes[r].n_layers == 1;
            rs_text_printf(&t, "%s %s %s not rotate at all (NoPE): %s pairs have no frequency.",
                           one ? "Layer" : "Layers",
                           rs_show_ranges(list, sizeof list, v->ropes[r].layers, v->ropes[r].n_layers),
                           one ? "does" : "do", one ? "its" : "their");
        }
    }
    return rs_view_add_finding(v, "nope", v->rotates ? "fig-map" : "", &t, err);
}

/* The layer and pair with the largest mean share of the key norm. */
static rs_status say_peak(rs_report_view *v, rs_error *err) {
    const rs_array *a = rs_view_array(v, "map/k_share");
    rs_text t = {0};
    char share[RS_SHOW_BYTES], times[RS_SHOW_BYTES], wave[RS_SHOW_BYTES];
    int layer = -1, pair = -1;
    double best = 0.0;
    for (int l = 0; a != NULL && l < v->n_layers; l++)
        for (int p = 0; p < v->layers[l].pairs; p++)
            if (rs_view_cell(a, l, p, 0) > best) best = rs_view_cell(a, l, p, 0), layer = l, pair = p;
    if (layer < 0) return RS_OK;
    const rs_view_rope *r = &v->ropes[v->layers[layer].rope];
    rs_text_printf(&t, "The largest single share of the key norm is pair %d of layer %d", pair, layer);
    if (isnan(r->wavelength[pair])) rs_text_append(&t, " (not rotated)");
    else rs_text_printf(&t, " (wavelength %s tokens)", rs_show_number(wave, r->wavelength[pair]));
    rs_text_printf(&t, ": %s, mean over its heads, %s times the uniform share.", rs_show_percent(share, best),
                   rs_show_number(times, best * v->layers[layer].pairs));
    return rs_view_add_finding(v, "peak", "fig-map", &t, err);
}

/* Median over the pairs of a part of the median cost over heads. */
static double part_cost(const rs_report_view *v, const char *quantity, int rope, part p) {
    const rs_array *a = rs_view_array(v, quantity);
    double x[4096];
    int n = 0;
    for (int i = p.first; a != NULL && i <= p.last && n < 4096; i++) {
        double c = rs_view_cell(a, rope, MEDIAN, i);
        if (isfinite(c)) x[n++] = c;
    }
    if (n == 0) return NAN;
    qsort(x, (size_t)n, sizeof *x, compare);
    return n % 2 ? x[n / 2] : 0.5 * (x[n / 2 - 1] + x[n / 2]);
}

static int cheap_pairs(const rs_report_view *v, const char *quantity, int rope, double bound) {
    int n = 0;
    for (int p = 0; p < v->ropes[rope].rotated; p++)
        n += rs_view_cell(rs_view_array(v, quantity), rope, MEDIAN, p) < bound;
    return n;
}

static void say_fit(const rs_report_view *v, rs_text *t, rs_error *err) {
    double least, median;
    if (!least_and_median(v, rs_view_array(v, "moments/fit_unrotate"), &least, &median, err)) return;
    rs_text_append(t, " (closed forms; over a head's pairs they correlate with the sampled cost by ");
    say_correlation(t, median);
    rs_text_append(t, " in the median head)");
}

static rs_status say_cost(rs_report_view *v, rs_error *err) {
    rs_text t = {0};
    int rope = v->main_rope;
    const rs_view_rope *r = &v->ropes[rope];
    char a[RS_SHOW_BYTES], b[RS_SHOW_BYTES], c[RS_SHOW_BYTES], d[RS_SHOW_BYTES];
    if (r->rotated == 0 || rs_view_array(v, "by_frequency/unrotate_cost") == NULL) return RS_OK;
    part fast = fast_part(r), slow = {r->rotated - (fast.last + 1), r->rotated - 1, "slowest"};
    size_t at = t.bytes;
    say_layers(v, &t, r);
    rs_text_printf(&t,
                   "to stop rotating a pair changes the median head's logits by %s of their variance among the slowest "
                   "%d rotated pairs and by %s "
                   "among the fastest %d",
                   rs_show_percent(a, part_cost(v, "by_frequency/unrotate_cost", rope, slow)), fast.last + 1,
                   rs_show_percent(b, part_cost(v, "by_frequency/unrotate_cost", rope, fast)), fast.last + 1);
    if (rs_view_array(v, "by_frequency/zero_cost") != NULL)
        rs_text_printf(&t, "; to remove it, by %s and %s",
                       rs_show_percent(c, part_cost(v, "by_frequency/zero_cost", rope, slow)),
                       rs_show_percent(d, part_cost(v, "by_frequency/zero_cost", rope, fast)));
    say_fit(v, &t, err);
    rs_text_printf(&t, ". For %d of %d rotated pairs un-rotating stays under 0.1%% in the median head.",
                   cheap_pairs(v, "by_frequency/unrotate_cost", rope, 0.001), r->rotated);
    capitalise(&t, at);
    return rs_view_add_finding(v, "cost", "fig-cost", &t, err);
}

static const rs_view_head *strongest(const rs_report_view *v, rs_head_kind kind) {
    const rs_view_head *best = NULL;
    size_t offset = rs_head_rules[kind].offset;
    for (int64_t i = 0; i < v->n_head_rows; i++) {
        const rs_view_head *h = &v->heads[i];
        double x = *(const double *)(const void *)((const char *)h + offset);
        if (h->kind == kind && (best == NULL || x > *(const double *)(const void *)((const char *)best + offset)))
            best = h;
    }
    return best;
}

static rs_status say_heads(rs_report_view *v, rs_error *err) {
    rs_text t = {0};
    char n[RS_SHOW_BYTES];
    const int *count = v->head_kind_count;
    double least, median;
    if (rs_view_array(v, "head_kinds/count") == NULL) return RS_OK;
    rs_text_printf(
        &t,
        "Of %s heads, %d rest on the first token (with at least 0.3 of their attention), %d look at the previous token",
        rs_show_count(n, v->n_head_rows), count[RS_HEAD_FIRST], count[RS_HEAD_PREVIOUS]);
    const rs_view_head *h = strongest(v, RS_HEAD_PREVIOUS);
    if (h != NULL) rs_text_printf(&t, " (the strongest: layer %d, head %d, %.2f)", h->layer, h->head, h->previous);
    rs_text_printf(&t,
                   ", %d at the token itself, %d behind its earlier copies; of the rest %d are local and %d diffuse",
                   count[RS_HEAD_DIAGONAL], count[RS_HEAD_INDUCTION], count[RS_HEAD_LOCAL], count[RS_HEAD_DIFFUSE]);
    const rs_array *split = rs_view_array(v, "attention_pattern/split_half");
    if (least_and_median(v, split, &least, &median, err))
        rs_text_printf(&t, " (even against odd sequences: scores differ by %s in the median head)",
                       rs_show_number(n, median));
    rs_text_append(&t, ".");
    return rs_view_add_finding(v, "heads", "fig-kinds", &t, err);
}

static rs_status say_fast(rs_report_view *v, rs_error *err) {
    rs_text t = {0};
    char mine[RS_SHOW_BYTES], others[RS_SHOW_BYTES];
    if (isnan(v->fast_auc) || v->positional_heads < 2) return RS_OK;
    rs_text_printf(&t,
                   "The %lld heads that look at the previous token or at the token itself have %s of their two-norm, "
                   "E|q| E|k|, in the fastest quarter of the rotated pairs, the others %s (medians). That alone tells "
                   "them apart with an area under the curve of %.2f (0.5: chance).",
                   (long long)v->positional_heads, rs_show_percent(mine, v->positional_fast_share),
                   rs_show_percent(others, v->other_fast_share), v->fast_auc);
    return rs_view_add_finding(v, "fast", "fig-kinds", &t, err);
}

static rs_status say_loss(rs_report_view *v, rs_error *err) {
    const rs_array *a = rs_view_array(v, "loss/by_position");
    rs_text t = {0};
    if (a == NULL || a->dims[0] < 4) return RS_OK;
    int64_t n = a->dims[0] - 1, early = 0;
    /* The first bucket with enough tokens for its mean to mean something. */
    while (early < n && (rs_view_cell(a, early, 0, 0) < 8.0 || rs_view_cell(a, early, 4, 0) < 50.0)) early++;
    double x = rs_view_cell(a, early, 2, 0), y = rs_view_cell(a, n, 2, 0), ex = rs_view_cell(a, early, 3, 0),
           ey = rs_view_cell(a, n, 3, 0);
    if (early == n || isnan(x) || isnan(y)) return RS_OK;
    char from[RS_SHOW_BYTES], to[RS_SHOW_BYTES];
    rs_text_printf(&t, "The loss is %.2f nats", x);
    if (!isnan(ex)) rs_text_printf(&t, " (standard error %.2f)", ex);
    rs_text_printf(&t, " at positions %.0f-%.0f and %.2f", rs_view_cell(a, early, 0, 0), rs_view_cell(a, early, 1, 0),
                   y);
    if (!isnan(ey)) rs_text_printf(&t, " (%.2f)", ey);
    rs_text_printf(&t, " at %s-%s.", rs_show_count(from, (long long)rs_view_cell(a, n, 0, 0)),
                   rs_show_count(to, (long long)rs_view_cell(a, n, 1, 0)));
    return rs_view_add_finding(v, "loss", "fig-loss", &t, err);
}

rs_status rs_view_say(rs_report_view *v, rs_error *err) {
    rs_status st = RS_OK;
    RS_TRY(rs_view_say_purpose(v, err));
    for (int i = 0; i < v->n_findings; i++) v->findings[i].answer = true;
    RS_TRY(say_nope(v, err));
    RS_TRY(say_norm(v, err));
    RS_TRY(say_peak(v, err));
    RS_TRY(say_cost(v, err));
    RS_TRY(say_heads(v, err));
    RS_TRY(say_fast(v, err));
    RS_TRY(say_loss(v, err));
out:
    return st;
}
