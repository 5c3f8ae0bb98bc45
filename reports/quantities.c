#include "reports/quantities.h"

#include "reports/show.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

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

static double verdict_share(const rs_report_view *v, int which) {
    return v->verdict_pairs > 0 ? (double)v->verdict_count[which] / (double)v->verdict_pairs : (double)NAN;
}

static double verdict_agreement(const rs_report_view *v, int argument) {
    (void)argument;
    return v->verdict_agreement;
}

static const char *const pair_measures[] = {"moments/zero_cost", "moments/unrotate_cost", "contribution/kl_zero",
                                            "contribution/kl_unrotate"};
enum { ZERO_COST, UNROTATE_COST, KL_ZERO, KL_UNROTATE };

static double mean_of_pairs(const rs_report_view *v, int of) {
    const rs_array *a = rs_view_array(v, pair_measures[of]);
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
const rs_quantity rs_quantities[] = {
    {"loss", "loss", "loss", "nats", "mean of -ln p(token | tokens before it)", RS_FORM_NATS, loss_of, 0, false},
    {"context_gain", "gain from context", "loss", "nats",
     "mean loss at positions 8-23 minus mean loss in the second half of the sequences", RS_FORM_NATS, context_gain, 0,
     false},
    {"pairs_positional", "pairs that work by position", "purpose", "", "share of all pairs of all heads by verdict",
     RS_FORM_PERCENT, verdict_share, RS_VERDICT_POSITIONAL, false},
    {"pairs_semantic", "pairs that work by content", "purpose", "", "the same", RS_FORM_PERCENT, verdict_share,
     RS_VERDICT_SEMANTIC, false},
    {"pairs_bias", "pairs that send attention to the first token or keep it away", "purpose", "", "the same",
     RS_FORM_PERCENT, verdict_share, RS_VERDICT_BIAS, false},
    {"pairs_idle", "idle pairs", "purpose", "", "the same", RS_FORM_PERCENT, verdict_share, RS_VERDICT_IDLE, false},
    {"pairs_undecided", "undecided pairs", "purpose", "", "the same", RS_FORM_PERCENT, verdict_share,
     RS_VERDICT_UNDECIDED, false},
    {"verdict_halves", "halves of the text agree on the verdict", "purpose", "", "share of pairs, mean over heads",
     RS_FORM_PERCENT, verdict_agreement, 0, false},
    {"kl_zero_mean", "attention moved by removing a pair", "purpose", "nats", "KL, mean over all pairs of all heads",
     RS_FORM_NATS, mean_of_pairs, KL_ZERO, false},
    {"kl_unrotate_mean", "attention moved by un-rotating a pair", "purpose", "nats", "the same", RS_FORM_NATS,
     mean_of_pairs, KL_UNROTATE, false},
    {"zero_cost_mean", "zeroing cost of a pair", "purpose", "of the logit variance",
     "closed form, mean over all pairs of all heads", RS_FORM_PERCENT, mean_of_pairs, ZERO_COST, false},
    {"unrotate_cost_mean", "un-rotating cost of a pair", "purpose", "of the logit variance", "the same",
     RS_FORM_PERCENT, mean_of_pairs, UNROTATE_COST, false},
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
const size_t rs_quantities_count = sizeof rs_quantities / sizeof *rs_quantities;

/* Small numbers, as differences are, get one more digit. */
char *rs_show_quantity(char out[32], rs_number_form form, double x) {
    double a = fabs(x), percent = 100.0 * a;
    if (isnan(x)) return strcpy(out, "-");
    switch (form) {
    case RS_FORM_NATS: snprintf(out, 32, "%.3f", x); break;
    case RS_FORM_PERCENT:
        snprintf(out, 32, percent >= 9.95 || a <= 0.0 ? "%.0f%%" : percent >= 0.995 ? "%.1f%%" : "%.2f%%", 100.0 * x);
        break;
    case RS_FORM_TIMES:
    case RS_FORM_NUMBER:
    case RS_FORM_FORMS:
        if (a < 10.0) snprintf(out, 32, a < 0.0995 ? "%.3f" : "%.2f", x);
        else rs_show_number(out, x);
    }
    /* "-0.000" is nothing. */
    if (out[0] == '-' && strspn(out + 1, "0.%") == strlen(out + 1)) memmove(out, out + 1, strlen(out));
    return out;
}
