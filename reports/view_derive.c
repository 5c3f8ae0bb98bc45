/* Derived arrays, all in v->derived:
 *   heads/two_norm_share [layer, head, pair]   two_norm / its sum over pairs
 *   heads/q_angle, k_angle [layer, (kv_)head, pair]   direction of the mean, in steps of 1/250 turn from -pi on
 *   map/<quantity> [layer, pair]               mean over heads of each quantity of rs_map_quantities
 *   by_frequency/<quantity> [rope, statistic, pair]  mean, median, 10th and 90th percentile over heads of the layers of
 * a rope head_kinds/count [layer, head_kind]        heads of each kind loss/by_position [bucket, field]           first
 * and last position, mean, standard error over sequences, tokens rope/cache_bytes [rope, cache_context]     2 * context
 * * rotated components * 4; axis/cache_context [cache_context] reliability/sampled_over_closed [layer, cost] geometric
 * mean over heads and pairs of sampled / closed form; zeroing, un-rotating and v->heads, v->bands, v->head_kind_count.
 */
#include "analyzer/base/alloc.h"
#include "reports/measures.h"
#include "reports/view.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- a list of numbers and its order statistics --- */

typedef struct sample {
    double *x; /* [room] */
    int64_t n, room;
} sample;

static rs_status sample_reserve(sample *s, int64_t room, rs_error *err) {
    s->room = room;
    return RS_NEW(&s->x, (size_t)room, err);
}

static void sample_add(sample *s, double x) {
    if (isfinite(x) && s->n < s->room) s->x[s->n++] = x;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void sample_sort(sample *s) {
    if (s->n > 1) qsort(s->x, (size_t)s->n, sizeof *s->x, ascending);
}

/* Linear interpolation between order statistics (numpy's default); the sample is sorted. */
static double quantile(const sample *s, double q) {
    if (s->n == 0) return NAN;
    double at = q * (double)(s->n - 1);
    int64_t i = (int64_t)at;
    if (i + 1 >= s->n) return s->x[s->n - 1];
    return s->x[i] + (at - (double)i) * (s->x[i + 1] - s->x[i]);
}

static double mean_of(const sample *s) {
    double sum = 0.0;
    for (int64_t i = 0; i < s->n; i++) sum += s->x[i];
    return s->n > 0 ? sum / (double)s->n : NAN;
}

/* --- heads --- */

static int kv_of(const rs_view_layer *y, int head) { return (int)((int64_t)head * y->kv_heads / y->heads); }

/* Attention within 16 tokens over what is not on the sink; classes of distance_mass: sink, self, 1, 2-16, ... */
static double local_share(const rs_report_view *v, int layer, int head) {
    const rs_array *a = rs_view_array(v, "attention_pattern/distance_mass");
    if (a == NULL || a->n_dims != 3 || a->dims[2] < 4 || head >= a->dims[1]) return NAN;
    double rest = 0.0, near = 0.0;
    for (int64_t c = 1; c < a->dims[2]; c++) {
        double x = rs_view_cell(a, layer, head, c);
        if (isnan(x)) return NAN;
        rest += x;
        if (c <= 3) near += x;
    }
    return rest > 0.0 ? near / rest : NAN;
}

static rs_head_kind kind_of(const rs_report_view *v, const rs_view_head *h) {
    if (isnan(h->entropy)) return RS_HEAD_KINDS;
    for (int k = 0; k < RS_HEAD_MIXED; k++) {
        const rs_head_rule *r = &rs_head_rules[k];
        double x = *(const double *)(const void *)((const char *)h + r->offset);
        if (x >= r->threshold * (r->of_context ? (double)v->context : 1.0)) return r->kind;
    }
    return RS_HEAD_MIXED;
}

typedef struct head_field {
    const char *dataset;
    size_t offset;
    bool by_key_head;
} head_field;
#define HEAD(field) offsetof(rs_view_head, field)
static const head_field head_fields[] = {
    {"attention_pattern/previous", HEAD(previous), false},
    {"attention_pattern/first", HEAD(first), false},
    {"attention_pattern/diagonal", HEAD(diagonal), false},
    {"attention_pattern/induction", HEAD(induction), false},
    {"attention_pattern/duplicate", HEAD(duplicate), false},
    {"attention_pattern/entropy", HEAD(entropy), false},
    {"attention_pattern/effective_context", HEAD(effective), false},
    {"attention_pattern/mean_distance", HEAD(mean_distance), false},
    {"attention_pattern/toeplitz_share", HEAD(toeplitz), false},
    {"attention_pattern/split_half", HEAD(split_half), false},
    {"frequency_norm/q_split_half", HEAD(norm_split_half), false},
    {"moments/fit_zero", HEAD(fit_zero), false},
    {"moments/fit_unrotate", HEAD(fit_unrotate), false},
    {"moments/logit_variance", HEAD(logit_variance), false},
    {"retrieval/context", HEAD(retrieval), false},
    {"retrieval/copy", HEAD(copy), false},
    {"contribution/align_diagonal_head", HEAD(align_diagonal), false},
    {"contribution/align_previous_head", HEAD(align_previous), false},
};

static int pair_of(const rs_array *a, int layer, int head) {
    double x = rs_view_cell(a, layer, head, 0);
    return a != NULL && x >= 0.0 && x < 1.0e6 ? (int)x : -1;
}

static rs_status derive_heads(rs_report_view *v, rs_error *err) {
    rs_status st = RS_OK;
    RS_TRY(RS_ARENA_NEW(v->arena, &v->heads, (size_t)v->n_head_rows, err));
    const rs_array *top_q = rs_view_array(v, "frequency_norm/q_top_pair"),
                   *top_k = rs_view_array(v, "frequency_norm/k_top_pair");
    rs_view_head *h = v->heads;
    for (int l = 0; l < v->n_layers; l++) {
        for (int i = 0; i < v->layers[l].heads; i++, h++) {
            h->layer = l, h->head = i, h->kv_head = kv_of(&v->layers[l], i);
            for (size_t f = 0; f < sizeof head_fields / sizeof *head_fields; f++)
                *(double *)(void *)((char *)h + head_fields[f].offset) =
                    rs_view_cell(rs_view_array(v, head_fields[f].dataset), l, i, 0);
            h->local = local_share(v, l, i);
            h->top_pair_q = pair_of(top_q, l, i);
            h->top_pair_k = pair_of(top_k, l, h->kv_head);
            h->kind = kind_of(v, h);
            if (h->kind < RS_HEAD_KINDS) v->head_kind_count[h->kind]++;
        }
    }
out:
    return st;
}

static rs_status derive_kind_counts(rs_report_view *v, rs_error *err) {
    rs_array *a = NULL;
    if (rs_view_array(v, "attention_pattern/entropy") == NULL) return RS_OK;
    rs_status st = rs_arrays_add(&v->derived, &a, err, "head_kinds/count", RS_F64, "heads", "heads of each kind", 2,
                                 "layer", (int64_t)v->n_layers, "head_kind", (int64_t)RS_HEAD_KINDS);
    if (st != RS_OK) return st;
    memset(a->data, 0, (size_t)rs_array_size(a) * sizeof *a->data);
    for (int64_t i = 0; i < v->n_head_rows; i++)
        if (v->heads[i].kind < RS_HEAD_KINDS) a->data[v->heads[i].layer * RS_HEAD_KINDS + (int)v->heads[i].kind] += 1.0;
    return RS_OK;
}

/* --- layer x pair --- */

static rs_status derive_map(rs_report_view *v, const rs_map_quantity *q, rs_error *err) {
    char name[RS_NAME_BYTES];
    const rs_array *x = rs_view_array(v, q->dataset);
    rs_array *a = NULL;
    if (x == NULL || x->n_dims != 3 || (q->needs_rotation && !v->rotates)) return RS_OK;
    snprintf(name, sizeof name, "map/%s", q->key);
    rs_status st = rs_arrays_add(&v->derived, &a, err, name, RS_F32, "1", "mean over heads", 2, "layer", x->dims[0],
                                 "pair", x->dims[2]);
    if (st != RS_OK) return st;
    x = rs_view_array(v, q->dataset); /* adding may have moved the list it came from */
    for (int64_t l = 0; l < x->dims[0]; l++) {
        for (int64_t p = 0; p < x->dims[2]; p++) {
            double sum = 0.0, n = 0.0;
            for (int64_t h = 0; h < x->dims[1]; h++) {
                double c = rs_view_cell(x, l, h, p);
                if (isfinite(c)) sum += c, n += 1.0;
            }
            if (n > 0.0) a->data[l * x->dims[2] + p] = sum / n;
        }
    }
    return RS_OK;
}

/* Cells of pairs first..last of all heads in the layers of a rope, sorted. */
static void gather(const rs_report_view *v, const rs_array *x, int rope, int first, int last, sample *s) {
    s->n = 0;
    for (int i = 0; i < v->ropes[rope].n_layers; i++)
        for (int64_t h = 0; h < x->dims[1]; h++)
            for (int p = first; p <= last; p++) sample_add(s, rs_view_cell(x, v->ropes[rope].layers[i], h, p));
    sample_sort(s);
}

static rs_status derive_by_frequency(rs_report_view *v, const rs_map_quantity *q, rs_error *err) {
    char name[RS_NAME_BYTES];
    rs_status st = RS_OK;
    sample s = {0};
    const rs_array *x = rs_view_array(v, q->dataset);
    rs_array *a = NULL;
    if (x == NULL || x->n_dims != 3 || (q->needs_rotation && !v->rotates)) return RS_OK;
    snprintf(name, sizeof name, "by_frequency/%s", q->key);
    RS_TRY(rs_arrays_add(&v->derived, &a, err, name, RS_F64, "1",
                         "mean, median, 10th and 90th percentile over heads and layers", 3, "rope", (int64_t)v->n_ropes,
                         "statistic", (int64_t)4, "pair", x->dims[2]));
    x = rs_view_array(v, q->dataset); /* adding may have moved the list it came from */
    RS_TRY(sample_reserve(&s, x->dims[0] * x->dims[1], err));
    for (int r = 0; r < v->n_ropes; r++) {
        for (int p = 0; p < (int)x->dims[2]; p++) {
            gather(v, x, r, p, p, &s);
            double *out = a->data + (int64_t)r * 4 * x->dims[2] + p;
            out[0] = mean_of(&s);
            out[x->dims[2]] = quantile(&s, 0.5);
            out[2 * x->dims[2]] = quantile(&s, 0.1);
            out[3 * x->dims[2]] = quantile(&s, 0.9);
        }
    }
out:
    rs_free(s.x);
    return st;
}

/* --- bands of neighbouring pairs of the main rope --- */

static double band_share(const rs_report_view *v, const char *quantity, int first, int last) {
    const rs_array *a = rs_view_array(v, quantity);
    double sum = 0.0;
    for (int p = first; p <= last; p++) sum += rs_view_cell(a, v->main_rope, 0, p);
    return sum;
}

static double band_median(const rs_report_view *v, const char *dataset, int first, int last, sample *s) {
    const rs_array *a = rs_view_array(v, dataset);
    if (a == NULL || a->n_dims != 3) return NAN;
    gather(v, a, v->main_rope, first, last, s);
    return quantile(s, 0.5);
}

static rs_status derive_bands(rs_report_view *v, rs_error *err) {
    rs_status st = RS_OK;
    sample s = {0};
    const rs_view_rope *r = &v->ropes[v->main_rope];
    int resting = r->pairs > r->rotated,
        cut = r->rotated < RS_VIEW_BANDS - resting ? r->rotated : RS_VIEW_BANDS - resting;
    RS_TRY(sample_reserve(&s, (int64_t)v->n_layers * v->n_heads * v->n_pairs, err));
    for (int i = 0; i < cut + resting; i++) {
        rs_view_band *b = &v->bands[v->n_bands++];
        b->first = i < cut ? (int)((int64_t)i * r->rotated / cut) : r->rotated;
        b->last = i < cut ? (int)((int64_t)(i + 1) * r->rotated / cut) - 1 : r->pairs - 1;
        b->shortest = r->wavelength[b->first];
        b->longest = r->wavelength[b->last];
        b->q_share = band_share(v, "by_frequency/q_share", b->first, b->last);
        b->k_share = band_share(v, "by_frequency/k_share", b->first, b->last);
        b->v_share = band_share(v, "by_frequency/v_share", b->first, b->last);
        b->zero_cost = band_median(v, "moments/zero_cost", b->first, b->last, &s);
        b->unrotate_cost = band_median(v, "moments/unrotate_cost", b->first, b->last, &s);
        rs_view_band_verdicts(v, b);
    }
out:
    rs_free(s.x);
    return st;
}

/* --- loss by position --- */

/* Mean and standard error over sequences of the buckets [first, last]; out: first, last, mean, standard error, tokens.
 */
static void loss_bucket(const rs_array *nll, int64_t first, int64_t last, double *out) {
    double sum = 0.0, n = 0.0, sum_seq = 0.0, sq_seq = 0.0, n_seq = 0.0;
    for (int64_t s = 0; s < nll->dims[0]; s++) {
        double part = 0.0, count = 0.0;
        for (int64_t t = first; t <= last; t++) {
            double x = nll->data[s * nll->dims[1] + t];
            if (isfinite(x)) part += x, count += 1.0;
        }
        if (count == 0.0) continue;
        sum += part, n += count;
        sum_seq += part / count, sq_seq += (part / count) * (part / count), n_seq += 1.0;
    }
    out[0] = (double)first, out[1] = (double)last;
    out[2] = n > 0.0 ? sum / n : NAN;
    double variance = n_seq > 1.0 ? (sq_seq - sum_seq * sum_seq / n_seq) / (n_seq - 1.0) : NAN;
    out[3] = variance > 0.0 ? sqrt(variance / n_seq) : variance;
    out[4] = n;
}

/* Buckets 1, 2, 3, 4-5, 6-7, 8-11, ...: two to the octave. */
static int64_t bucket_end(int64_t first) {
    int64_t octave = 1;
    while (octave * 2 <= first) octave *= 2;
    int64_t middle = octave + octave / 2;
    return (first < middle ? middle : 2 * octave) - 1;
}

static rs_status derive_loss(rs_report_view *v, rs_error *err) {
    const rs_array *nll = rs_view_array(v, "loss/token_nll");
    rs_array *a = NULL;
    if (nll == NULL || nll->n_dims != 2 || nll->dims[1] < 2) return RS_OK;
    int64_t positions = nll->dims[1], n = 0;
    for (int64_t t = 1; t < positions; t = bucket_end(t) + 1) n++;
    rs_status st = rs_arrays_add(&v->derived, &a, err, "loss/by_position", RS_F64, "nats",
                                 "first and last position, mean, standard error over sequences, tokens", 2,
                                 "loss_bucket", n, "field", (int64_t)5);
    if (st != RS_OK) return st;
    int64_t i = 0;
    for (int64_t t = 1; t < positions; t = bucket_end(t) + 1, i++) {
        int64_t last = bucket_end(t) < positions ? bucket_end(t) : positions - 1;
        loss_bucket(nll, t, last, a->data + 5 * i);
    }
    return RS_OK;
}

/* --- closed form against sampled --- */

static double log_ratio(const rs_array *closed, const rs_array *sampled, int64_t layer) {
    int64_t cells = closed->dims[1] * closed->dims[2];
    double sum = 0.0, n = 0.0;
    for (int64_t i = layer * cells; i < (layer + 1) * cells; i++) {
        double c = closed->data[i], s = sampled->data[i];
        if (c > 0.0 && s > 0.0 && isfinite(c) && isfinite(s)) sum += log(s / c), n += 1.0;
    }
    return n > 0.0 ? exp(sum / n) : NAN;
}

static rs_status derive_ratio(rs_report_view *v, rs_error *err) {
    static const char *const names[2][2] = {{"moments/zero_cost", "moments/zero_cost_sampled"},
                                            {"moments/unrotate_cost", "moments/unrotate_cost_sampled"}};
    rs_array *a = NULL;
    if (rs_view_array(v, names[0][1]) == NULL && rs_view_array(v, names[1][1]) == NULL) return RS_OK;
    rs_status st = rs_arrays_add(&v->derived, &a, err, "reliability/sampled_over_closed", RS_F64, "1",
                                 "geometric mean over heads and pairs of sampled / closed form; zeroing, un-rotating",
                                 2, "layer", (int64_t)v->n_layers, "cost", (int64_t)2);
    for (int c = 0; st == RS_OK && c < 2; c++) {
        const rs_array *closed = rs_view_array(v, names[c][0]), *sampled = rs_view_array(v, names[c][1]);
        if (closed == NULL || sampled == NULL || closed->n_dims != 3 || rs_array_size(closed) != rs_array_size(sampled))
            continue;
        for (int64_t l = 0; l < v->n_layers; l++) a->data[2 * l + c] = log_ratio(closed, sampled, l);
    }
    return st;
}

/* --- cache bytes --- */

static rs_status derive_cache(rs_report_view *v, rs_error *err) {
    static const double contexts[] = {2048.0, 8192.0, 32768.0, 131072.0, 1048576.0};
    enum { CONTEXTS = sizeof contexts / sizeof *contexts };
    rs_array *axis = NULL, *a = NULL;
    rs_status st = RS_OK;
    RS_TRY(rs_arrays_add(&v->derived, &axis, err, "axis/cache_context", RS_F64, "tokens", "positions in the cache", 1,
                         "cache_context", (int64_t)CONTEXTS));
    memcpy(axis->data, contexts, sizeof contexts);
    RS_TRY(rs_arrays_add(&v->derived, &a, err, "rope/cache_bytes", RS_F64, "bytes", "cos and sin tables, float32", 2,
                         "rope", (int64_t)v->n_ropes, "cache_context", (int64_t)CONTEXTS));
    for (int r = 0; r < v->n_ropes; r++)
        for (int c = 0; c < CONTEXTS; c++)
            a->data[r * CONTEXTS + c] = 2.0 * contexts[c] * 2.0 * v->ropes[r].rotated * 4.0;
out:
    return st;
}

rs_status rs_view_derive(rs_report_view *v, rs_error *err) {
    rs_status st = RS_OK;
    RS_TRY(derive_heads(v, err));
    RS_TRY(rs_view_head_types(v, err));
    RS_TRY(derive_kind_counts(v, err));
    RS_TRY(rs_view_head_pictures(v, err));
    for (int i = 0; i < RS_VIEW_QUANTITIES; i++) {
        RS_TRY(derive_map(v, &rs_map_quantities[i], err));
        RS_TRY(derive_by_frequency(v, &rs_map_quantities[i], err));
    }
    RS_TRY(derive_bands(v, err));
    RS_TRY(derive_loss(v, err));
    RS_TRY(derive_ratio(v, err));
    RS_TRY(derive_cache(v, err));
out:
    return st;
}
