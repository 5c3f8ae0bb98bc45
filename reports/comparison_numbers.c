/* What is measured on every run, and what of it differs between variants by more than seeds differ.
 *
 * Spread: with x_vr the value of run r of variant v, s^2 = sum over v, r of (x_vr - mean_v)^2 / sum over v of (n_v -
 * 1): the variance between seeds, taken as the same for all variants (with two seeds each, one variant alone says
 * little). A difference from the reference, d = mean_v - mean_0, has the 95% interval d +- t(0.975, degrees) s
 * sqrt(1/n_v + 1/n_0). */
#include "reports/comparison.h"

#include "analyzer/base/alloc.h"
#include "reports/measures.h"

#include <math.h>
#include <string.h>

/* --- quantities of one run --- */

static double loss_of(const rs_report_view *v, int argument) {
    (void)argument;
    return v->mean_nll;
}

static double mean_between(const rs_array *nll, int64_t from, int64_t to) {
    double sum = 0.0, n = 0.0;
    for (int64_t s = 0; s < nll->dims[0]; s++) {
        for (int64_t t = from; t < to; t++) {
            double x = nll->data[s * nll->dims[1] + t];
            if (isfinite(x)) sum += x, n += 1.0;
        }
    }
    return n > 0.0 ? sum / n : NAN;
}

static double context_gain(const rs_report_view *v, int argument) {
    const rs_array *nll = rs_view_array(v, "loss/token_nll");
    (void)argument;
    if (nll == NULL || nll->n_dims != 2 || nll->dims[1] < 64) return NAN;
    int64_t positions = nll->dims[1];
    return mean_between(nll, 8, 24) - mean_between(nll, positions / 2, positions);
}

static const size_t head_scores[] = {
    offsetof(rs_view_head, previous),  offsetof(rs_view_head, first),   offsetof(rs_view_head, diagonal),
    offsetof(rs_view_head, induction), offsetof(rs_view_head, entropy), offsetof(rs_view_head, mean_distance),
    offsetof(rs_view_head, local),
};
enum { PREVIOUS, FIRST, DIAGONAL, INDUCTION, ENTROPY, DISTANCE, LOCAL };

static double score_of(const rs_view_head *h, int which) {
    return *(const double *)(const void *)((const char *)h + head_scores[which]);
}

static double mean_score(const rs_report_view *v, int which) {
    double sum = 0.0, n = 0.0;
    for (int64_t i = 0; i < v->n_head_rows; i++)
        if (isfinite(score_of(&v->heads[i], which))) sum += score_of(&v->heads[i], which), n += 1.0;
    return n > 0.0 ? sum / n : NAN;
}

static double largest_score(const rs_report_view *v, int which) {
    double top = NAN;
    for (int64_t i = 0; i < v->n_head_rows; i++) top = fmax(top, score_of(&v->heads[i], which));
    return top;
}

static double kind_share(const rs_report_view *v, int kind) {
    if (rs_view_array(v, "head_kinds/count") == NULL) return NAN;
    return (double)v->head_kind_count[kind] / (double)v->n_head_rows;
}

/* Share of the norm in pairs first..last of the main rope over what it would be if all pairs were used alike. */
static double times_uniform(const rs_report_view *v, const char *name, int first, int last) {
    const rs_array *a = rs_view_array(v, name);
    const rs_view_rope *r = &v->ropes[v->main_rope];
    double sum = 0.0;
    if (a == NULL || first > last) return NAN;
    for (int p = first; p <= last; p++) sum += rs_view_cell(a, v->main_rope, 0, p);
    return sum * r->pairs / (last - first + 1);
}

static const char *const share_names[] = {"by_frequency/q_share", "by_frequency/k_share"};
static const char *const head_share_names[] = {"frequency_norm/q_share", "frequency_norm/k_share"};

static double fast_times(const rs_report_view *v, int of) {
    const rs_view_rope *r = &v->ropes[v->main_rope];
    return times_uniform(v, share_names[of], 0, (r->rotated + 3) / 4 - 1);
}

static double slow_times(const rs_report_view *v, int of) {
    const rs_view_rope *r = &v->ropes[v->main_rope];
    return times_uniform(v, share_names[of], r->rotated - (r->rotated + 3) / 4, r->rotated - 1);
}

static double rotated_times(const rs_report_view *v, int of) {
    const rs_view_rope *r = &v->ropes[v->main_rope];
    return r->rotated < r->pairs ? times_uniform(v, share_names[of], 0, r->rotated - 1) : NAN;
}

/* exp(entropy of a head's shares) / pairs, mean over heads and layers. */
static double evenness(const rs_report_view *v, int of) {
    const rs_array *a = rs_view_array(v, head_share_names[of]);
    double sum = 0.0, n = 0.0;
    if (a == NULL || a->n_dims != 3) return NAN;
    int64_t pairs = a->dims[2];
    for (int64_t row = 0; row < a->dims[0] * a->dims[1]; row++) {
        double entropy = 0.0, used = 0.0;
        for (int64_t p = 0; p < pairs; p++) {
            double x = a->data[row * pairs + p];
            if (!isfinite(x)) continue;
            used += 1.0;
            if (x > 0.0) entropy -= x * log(x);
        }
        if (used > 0.0) sum += exp(entropy) / used, n += 1.0;
    }
    return n > 0.0 ? sum / n : NAN;
}

static const char *const variance_shares[] = {"moments/share_pp", "moments/share_cc"};

static double variance_share(const rs_report_view *v, int of) {
    const rs_array *a = rs_view_array(v, variance_shares[of]);
    double sum = 0.0, n = 0.0;
    for (int64_t i = 0; a != NULL && i < rs_array_size(a); i++)
        if (isfinite(a->data[i])) sum += a->data[i], n += 1.0;
    return n > 0.0 ? sum / n : NAN;
}

#define KIND(key, name, kind)                                                                                          \
    {                                                                                                                  \
        "kind_" key, "heads: " name, "heads", "", "share of the heads that the rules call this", RS_FORM_PERCENT,      \
            kind_share, kind, true                                                                                     \
    }
static const rs_quantity quantities[] = {
    {"loss", "loss", "loss", "nats", "mean of -ln p(token | tokens before it)", RS_FORM_NATS, loss_of, 0, false},
    {"context_gain", "gain from context", "loss", "nats",
     "mean loss at positions 8-23 minus mean loss in the second half of the sequences", RS_FORM_NATS, context_gain, 0,
     false},
    {"previous_mean", "attention to the previous token", "heads", "", "A[t,t-1], mean over heads", RS_FORM_PERCENT,
     mean_score, PREVIOUS, false},
    {"previous_top", "strongest previous-token head", "heads", "", "A[t,t-1] of the head with the largest",
     RS_FORM_NUMBER, largest_score, PREVIOUS, false},
    {"first_mean", "attention to the first token", "heads", "", "A[t,0], mean over heads", RS_FORM_PERCENT, mean_score,
     FIRST, false},
    {"diagonal_mean", "attention to the token itself", "heads", "", "A[t,t], mean over heads", RS_FORM_PERCENT,
     mean_score, DIAGONAL, false},
    {"diagonal_top", "strongest diagonal head", "heads", "", "A[t,t] of the head with the largest", RS_FORM_NUMBER,
     largest_score, DIAGONAL, false},
    {"induction_mean", "induction attention", "heads", "",
     "attention behind earlier copies of the current token, mean over heads", RS_FORM_PERCENT, mean_score, INDUCTION,
     false},
    {"induction_top", "strongest induction head", "heads", "", "the same of the head with the largest", RS_FORM_NUMBER,
     largest_score, INDUCTION, false},
    KIND("previous", "previous token", RS_HEAD_PREVIOUS),
    KIND("diagonal", "diagonal", RS_HEAD_DIAGONAL),
    KIND("induction", "induction", RS_HEAD_INDUCTION),
    KIND("first", "first token", RS_HEAD_FIRST),
    KIND("local", "local", RS_HEAD_LOCAL),
    KIND("diffuse", "diffuse", RS_HEAD_DIFFUSE),
    KIND("mixed", "none of these", RS_HEAD_MIXED),
    {"local_mean", "attention within 16 tokens", "heads", "",
     "share of the attention that is not on the first token, mean over heads", RS_FORM_PERCENT, mean_score, LOCAL,
     false},
    {"distance_mean", "mean distance of attention", "heads", "tokens", "without the first token, mean over heads",
     RS_FORM_NUMBER, mean_score, DISTANCE, false},
    {"entropy_mean", "entropy of attention", "heads", "nats", "mean over rows and heads", RS_FORM_NUMBER, mean_score,
     ENTROPY, false},
    {"q_fast", "query norm on the fastest quarter", "norm", "times uniform",
     "share of the norm in the fastest quarter of the rotated pairs, over that of as many pairs if all were alike",
     RS_FORM_TIMES, fast_times, 0, false},
    {"k_fast", "key norm on the fastest quarter", "norm", "times uniform", "the same for keys", RS_FORM_TIMES,
     fast_times, 1, false},
    {"q_slow", "query norm on the slowest quarter", "norm", "times uniform",
     "the same for the slowest quarter of the rotated pairs", RS_FORM_TIMES, slow_times, 0, false},
    {"k_slow", "key norm on the slowest quarter", "norm", "times uniform", "the same for keys", RS_FORM_TIMES,
     slow_times, 1, false},
    {"q_rotated", "query norm on rotated pairs", "norm", "times uniform",
     "the same for all rotated pairs, where some are not rotated", RS_FORM_TIMES, rotated_times, 0, false},
    {"k_rotated", "key norm on rotated pairs", "norm", "times uniform", "the same for keys", RS_FORM_TIMES,
     rotated_times, 1, false},
    {"q_even", "evenness of query pairs", "norm", "",
     "exp(entropy of a head's norm shares over pairs) / pairs: 1 = all pairs alike; mean over heads", RS_FORM_NUMBER,
     evenness, 0, false},
    {"k_even", "evenness of key pairs", "norm", "", "the same for keys", RS_FORM_NUMBER, evenness, 1, false},
    {"share_pp", "logit variance from position alone", "position", "",
     "share of the centred logit's variance that is the mean query against the mean key, closed form, mean over heads",
     RS_FORM_PERCENT, variance_share, 0, false},
    {"share_cc", "logit variance from content alone", "position", "",
     "the same for what is left when both means are taken out", RS_FORM_PERCENT, variance_share, 1, false},
};
#undef KIND
_Static_assert(sizeof quantities / sizeof *quantities <= RS_COMPARED_QUANTITIES, "room for every quantity");

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
    for (size_t i = 0; i < sizeof quantities / sizeof *quantities; i++) RS_TRY(measure_one(c, &quantities[i], err));
    RS_TRY(measure_loss(c, err));
out:
    return st;
}

const rs_compared_quantity *rs_comparison_quantity(const rs_comparison *c, const char *key) {
    for (int i = 0; i < c->n_quantities; i++)
        if (strcmp(c->quantities[i].quantity->key, key) == 0) return &c->quantities[i];
    return NULL;
}
