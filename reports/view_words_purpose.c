/* The sentences that say what the pairs are for; what it cost when that was tried: view_words_tried.c. They say no more
 * than was measured: a verdict speaks of attention, an ablation of the loss. */
#include "analyzer/base/alloc.h"
#include "reports/rank.h"
#include "reports/show.h"
#include "reports/view.h"

#include <math.h>
#include <string.h>

/* The verdicts in the order in which they are told. */
static const struct {
    rs_verdict verdict;
    const char *words;
} told[] = {
    {RS_VERDICT_POSITIONAL, "work by position (their rotation matters)"},
    {RS_VERDICT_SEMANTIC, "by content (they matter, their rotation does not)"},
    {RS_VERDICT_BIAS, "send attention to the first token or keep it away"},
    {RS_VERDICT_IDLE, "are idle (the attention hardly changes without them)"},
};

static double share_of(const rs_report_view *v, rs_verdict x) {
    return (double)v->verdict_count[x] / (double)v->verdict_pairs;
}

/* The band of the main rope in which a verdict has its largest share; NULL where it has none. */
static const rs_view_band *strongest_band(const rs_report_view *v, rs_verdict x) {
    const rs_view_band *best = NULL;
    for (int b = 0; b < v->n_bands; b++)
        if (v->bands[b].verdict[x] > (best ? best->verdict[x] : 0.0)) best = &v->bands[b];
    return best;
}

static void say_band(const rs_report_view *v, rs_text *t, rs_verdict x, const char *what) {
    char share[RS_SHOW_BYTES], from[RS_SHOW_BYTES], to[RS_SHOW_BYTES];
    const rs_view_band *b = strongest_band(v, x);
    if (b == NULL) return;
    rs_text_printf(t, " Pairs that work by %s are most frequent ", what);
    if (isnan(b->shortest)) rs_text_append(t, "among those that are not rotated");
    else if (b->first == b->last) rs_text_printf(t, "at a wavelength of %s tokens", rs_show_number(from, b->shortest));
    else
        rs_text_printf(t, "at wavelengths of %s to %s tokens", rs_show_number(from, b->shortest),
                       rs_show_number(to, b->longest));
    rs_text_printf(t, " (%s there).", rs_show_percent(share, b->verdict[x]));
}

/* "41% (39% to 43%) are idle" */
static void say_share(const rs_report_view *v, rs_text *t, const char *before, rs_verdict x, const char *words) {
    char share[RS_SHOW_BYTES], lo[RS_SHOW_BYTES], hi[RS_SHOW_BYTES];
    rs_text_printf(t, "%s%s", before, rs_show_percent(share, share_of(v, x)));
    if (isfinite(v->verdict_lo[x]))
        rs_text_printf(t, " (%s to %s)", rs_show_percent(lo, v->verdict_lo[x]), rs_show_percent(hi, v->verdict_hi[x]));
    rs_text_printf(t, " %s", words);
}

static rs_status say_verdicts(rs_report_view *v, rs_error *err) {
    rs_text t = {0};
    char n[RS_SHOW_BYTES], heads[RS_SHOW_BYTES], share[RS_SHOW_BYTES];
    if (v->verdict_pairs == 0) return RS_OK;
    rs_text_printf(&t, "Of %s pairs in %s heads, ", rs_show_count(n, v->verdict_pairs),
                   rs_show_count(heads, v->n_head_rows));
    for (size_t i = 0; i < sizeof told / sizeof *told; i++)
        say_share(v, &t, i ? ", " : "", told[i].verdict, told[i].words);
    rs_text_printf(&t, "; %s stay undecided", rs_show_percent(share, share_of(v, RS_VERDICT_UNDECIDED)));
    if (!isnan(v->verdict_agreement))
        rs_text_printf(
            &t, " (two halves of the text agree on %s of the pairs%s)", rs_show_percent(share, v->verdict_agreement),
            isfinite(v->verdict_lo[RS_VERDICT_IDLE]) ? "; in brackets 95% of what drawing the sequences anew gives"
                                                     : "");
    rs_text_append(&t, ".");
    if (v->rotates) {
        say_band(v, &t, RS_VERDICT_POSITIONAL, "position");
        say_band(v, &t, RS_VERDICT_SEMANTIC, "content");
    }
    return rs_view_add_finding(v, "purpose", "fig-purpose", &t, err);
}

/* What the same sentence would be of weights that learned nothing. */
static rs_status say_control(rs_report_view *v, rs_error *err) {
    const rs_report_view *c = v->control;
    rs_text t = {0};
    char share[RS_SHOW_BYTES];
    if (c == NULL || c->verdict_pairs == 0) return RS_OK;
    rs_text_append(&t, "With the rows of every query and key projection in a random order (control)");
    if (!isnan(c->mean_nll)) rs_text_printf(&t, ", at a loss of %.3f nats,", c->mean_nll);
    for (size_t i = 0; i < sizeof told / sizeof *told; i++)
        rs_text_printf(&t, "%s %s %s", i ? "," : "", rs_show_percent(share, share_of(c, told[i].verdict)),
                       told[i].words);
    rs_text_printf(&t, "; %s stay undecided. What the control has as well was not necessarily learned.",
                   rs_show_percent(share, share_of(c, RS_VERDICT_UNDECIDED)));
    return rs_view_add_finding(v, "control", "fig-control", &t, err);
}

static rs_status say_utility(rs_report_view *v, rs_error *err) {
    rs_text t = {0};
    char fast[RS_SHOW_BYTES], slow[RS_SHOW_BYTES];
    int64_t pairs = 0;
    const double *u = rs_view_main_means(v, "by_frequency/utility", &pairs);
    int n = v->ropes[v->main_rope].rotated < pairs ? v->ropes[v->main_rope].rotated : (int)pairs, quarter = n / 4;
    if (u == NULL || quarter < 1) return RS_OK;
    double first = 0.0, last = 0.0, r, *place = NULL;
    rs_status st = RS_NEW(&place, (size_t)n, err);
    for (int i = 0; st == RS_OK && i < n; i++) place[i] = i;
    st = st == RS_OK ? rs_rank_correlation(u, place, n, &r, err) : st;
    rs_free(place);
    if (st != RS_OK) return st;
    for (int i = 0; i < quarter; i++) first += u[i] / quarter, last += u[n - 1 - i] / quarter;
    if (isnan(r)) return RS_OK;
    rs_text_printf(
        &t,
        "The mask that keeps a head's output leaves %s of the fastest quarter of the rotated pairs and %s of "
        "the slowest (utility, mean over heads); over pairs it correlates with the wavelength by %+.2f (ranks; "
        "arXiv 2502.11276 finds it rising with the wavelength).",
        rs_show_percent(fast, first), rs_show_percent(slow, last), r);
    return rs_view_add_finding(v, "utility", "fig-map", &t, err);
}

/* The heads that copy most: "l17h5 0.83". */
static void say_copying(const rs_report_view *v, rs_text *t) {
    enum { MOST = 3 };
    const rs_view_head *best[MOST] = {NULL};
    for (int64_t i = 0; i < v->n_head_rows; i++) {
        const rs_view_head *h = &v->heads[i];
        for (int k = 0; k < MOST; k++) {
            if (!(h->copy > 0.0) || (best[k] != NULL && h->copy <= best[k]->copy)) continue;
            memmove(best + k + 1, best + k, sizeof *best * (size_t)(MOST - 1 - k));
            best[k] = h;
            break;
        }
    }
    for (int k = 0; k < MOST && best[k] != NULL; k++)
        rs_text_printf(t, "%s layer %d head %d (%.2f of the answer's tokens)",
                       k ? "," : ". The strongest copiers:", best[k]->layer, best[k]->head, best[k]->copy);
}

static rs_status say_task(rs_report_view *v, rs_error *err) {
    rs_text t = {0};
    char right[RS_SHOW_BYTES], whole[RS_SHOW_BYTES];
    int64_t heads = 0, measured = 0;
    if (v->task[0] == '\0') return RS_OK;
    rs_text_printf(&t, "Task %s, ", v->task);
    if (v->task_items > 0) rs_text_printf(&t, "%lld item%s", (long long)v->task_items, v->task_items == 1 ? "" : "s");
    else rs_text_append(&t, "items as its file has them");
    if (v->task_gold > 0) rs_text_printf(&t, ", the answer in number %lld", (long long)v->task_gold);
    rs_text_printf(&t, ": %s of the answer's tokens are the likeliest, %s of the answers as a whole",
                   rs_show_percent(right, v->answer_accuracy), rs_show_percent(whole, v->answers_whole));
    for (int64_t i = 0; i < v->n_head_rows; i++)
        heads += v->heads[i].retrieval > 0.5, measured += !isnan(v->heads[i].retrieval);
    if (measured > 0) {
        rs_text_printf(&t,
                       ". %lld of %lld heads give more than half of their attention from question and answer to the "
                       "context (retrieval heads)",
                       (long long)heads, (long long)measured);
        say_copying(v, &t);
    }
    rs_text_append(&t, ".");
    return rs_view_add_finding(v, "task", "heads", &t, err);
}

static void say_ranks(rs_text *t, const rs_view_foretold *f) {
    static const char *const names[] = {[RS_FORETOLD_CLOSED] = "closed form",
                                        [RS_FORETOLD_SAMPLED] = "sampled cost",
                                        [RS_FORETOLD_KL] = "divergence of the attention",
                                        [RS_FORETOLD_NORM] = "2-norm"};
    for (int c = 0, said = 0; c < RS_FORETOLD_COSTS; c++)
        if (!isnan(f->rank[c])) rs_text_printf(t, "%s%s %.2f", said++ ? ", " : "", names[c], f->rank[c]);
}

static rs_status say_foretold(rs_report_view *v, rs_error *err) {
    rs_text t = {0};
    for (int i = 0; i < v->n_foretold; i++) {
        const rs_view_foretold *f = &v->foretold[i];
        char n[RS_SHOW_BYTES];
        bool zero = strcmp(f->mode, "zero") == 0;
        if (i == 0)
            rs_text_append(&t, "What foretells the loss: rank correlation of a cost, summed over the pairs of one band "
                               "in one layer, with the measured change of the loss; ");
        rs_text_printf(&t, "%s%s edits, pairs %s: ", i ? "; " : "", rs_show_count(n, f->edits),
                       zero ? "removed" : "no longer rotated");
        say_ranks(&t, f);
    }
    if (v->n_foretold > 0) rs_text_append(&t, ".");
    return rs_view_add_finding(v, "foretold", "fig-foretold", &t, err);
}

rs_status rs_view_say_purpose(rs_report_view *v, rs_error *err) {
    rs_status st = RS_OK;
    RS_TRY(say_task(v, err));
    RS_TRY(say_verdicts(v, err));
    RS_TRY(say_control(v, err));
    RS_TRY(rs_view_say_tried(v, err));
    RS_TRY(say_foretold(v, err));
    RS_TRY(say_utility(v, err));
out:
    return st;
}
