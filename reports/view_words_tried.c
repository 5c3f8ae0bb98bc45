/* What was tried, in words: what an ablation edited, how and where; and the sentences of what can go and what it cost.
 */
#include "analyzer/base/band.h"
#include "reports/show.h"
#include "reports/view.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- what: by experiment ---- */

typedef char label[160];

static void label_verdict(const rs_view_ablation *a, label out) {
    snprintf(out, sizeof(label), "pairs called %s", a->amount_name);
}

static void label_utility(const rs_view_ablation *a, label out) {
    snprintf(out, sizeof(label), "pairs of utility below %g", a->amount);
}

static void label_p_rope(const rs_view_ablation *a, label out) {
    char share[RS_SHOW_BYTES];
    snprintf(out, sizeof(label), "slowest %s of the pairs (p-RoPE)", rs_show_percent(share, 1.0 - a->amount));
}

static void label_ends(const rs_view_ablation *a, label out) {
    snprintf(out, sizeof(label), "%s %g dimensions",
             strcmp(a->ranking, "low") == 0 ? "first (fastest)" : "last (slowest)", a->amount);
}

static void label_band(const rs_view_ablation *a, label out) {
    char layer[24] = "";
    if (a->layer >= 0) snprintf(layer, sizeof layer, "layer %d, ", a->layer);
    snprintf(out, sizeof(label), "%sband %g%s", layer, a->amount,
             a->amount < 0.5              ? " (fastest)"
             : a->amount > RS_BANDS - 1.5 ? " (slowest)"
                                          : "");
}

/* The rules of MHA2MLA are named for the pairs that are kept. */
static void label_fraction(const rs_view_ablation *a, label out) {
    static const struct {
        const char *ranking, *words;
    } rules[] = {
        {"high", "slowest first (high)"}, {"low", "fastest first (low)"}, {"uniform", "spread evenly (uniform)"}};
    char share[RS_SHOW_BYTES];
    rs_show_percent(share, a->amount);
    snprintf(out, sizeof(label), "%s by %s", share, a->ranking);
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (strcmp(a->ranking, rules[i].ranking) == 0) snprintf(out, sizeof(label), "%s, %s", share, rules[i].words);
}

static void label_other(const rs_view_ablation *a, label out) {
    snprintf(out, sizeof(label), "%s %g", a->experiment, a->amount);
}

typedef void labeller(const rs_view_ablation *a, label out);
static const struct {
    const char *experiment;
    labeller *say;
} experiments[] = {{"verdict", label_verdict},  {"utility", label_utility}, {"p-rope", label_p_rope},
                   {"ends", label_ends},        {"band", label_band},       {"layer-band", label_band},
                   {"fraction", label_fraction}};

/* ---- how and where ---- */

static const struct {
    const char *word, *words;
} modes[] = {{"zero", "removed"}, {"unrotate", "no longer rotated"}, {"scale", "scaled"}},
  groups[] = {/* what `ablate --heads` was given */
              {"", "in every head"},
              {"retrieval", "in the heads that retrieve: more than half of their attention from question and answer "
                            "goes to the context"},
              {"others", "in other heads, as many where there are so many, drawn at random"},
              {"copying", "in the heads that copy: a tenth of the answer's tokens and more"},
              {"copying-others", "in heads that do not copy, as many where there are so many, drawn at random"}};

rs_status rs_view_ablation_words(const rs_report_view *v, rs_view_ablation *a, rs_error *err) {
    rs_status st = RS_OK;
    label what;
    labeller *say = label_other;
    for (size_t i = 0; i < sizeof experiments / sizeof *experiments; i++)
        if (strcmp(a->experiment, experiments[i].experiment) == 0) say = experiments[i].say;
    say(a, what);
    RS_TRY(rs_arena_strdup(v->arena, &a->what, what, err));
    a->how = a->mode;
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (strcmp(a->mode, modes[i].word) == 0) a->how = modes[i].words;
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
        if (strcmp(a->heads, groups[i].word) == 0) a->where = groups[i].words;
    if (a->where == NULL) RS_TRY(rs_arena_printf(v->arena, &a->where, err, "in heads %s", a->heads));
out:
    return st;
}

/* ---- sentences ---- */

/* "+0.82", never "-0.00" of what is not below zero to the digits shown. */
static void say_signed(rs_text *t, double x) {
    int digits = fabs(x) < 0.095 ? 4 : 2;
    double unit = digits == 4 ? 1e-4 : 1e-2;
    rs_text_printf(t, "%+.*f", digits, fabs(x) < 0.5 * unit ? 0.0 : x);
}

/* "+0.82 nats (+0.68 to +1.02; random pairs: +4.62)" */
static void say_delta(rs_text *t, const rs_view_change *a) {
    say_signed(t, a->delta);
    rs_text_append(t, " nats");
    if (isfinite(a->lo)) {
        rs_text_append(t, " (");
        say_signed(t, a->lo);
        rs_text_append(t, " to ");
        say_signed(t, a->hi);
    }
    if (a->controls > 0) {
        rs_text_append(t, isfinite(a->lo) ? "; random pairs: " : " (random pairs: ");
        say_signed(t, a->control);
    }
    if (isfinite(a->lo) || a->controls > 0) rs_text_append(t, ")");
}

/* An edit is called cheap when the upper end of its interval stays under a hundredth of a nat: perplexity rises by 1 %
 * at most. */
static const double cheap_nats = 0.01;

static double upper_end(const rs_view_change *x) { return isfinite(x->hi) ? x->hi : x->delta; }

static bool gives_up_a_share(const rs_view_ablation *a, const char *mode) {
    bool share = strcmp(a->experiment, "fraction") == 0 || strcmp(a->experiment, "p-rope") == 0;
    return share && strcmp(a->mode, mode) == 0 && a->layer < 0 && a->heads[0] == '\0' && a->pairs > 0;
}

/* Is a a better answer to "how much can go" than b (NULL: none yet)? More pairs at a cheap loss; of as many, the one
 * that costs less; where none is cheap, the cheapest. */
static bool is_better(const rs_view_ablation *a, const rs_view_ablation *b) {
    if (b == NULL) return true;
    bool cheap = upper_end(&a->loss) <= cheap_nats, other = upper_end(&b->loss) <= cheap_nats;
    if (cheap != other) return cheap;
    if (cheap && a->pairs != b->pairs) return a->pairs > b->pairs;
    return a->loss.delta < b->loss.delta;
}

static void say_share(const rs_report_view *v, rs_text *t, const rs_view_ablation *a, const char *words) {
    char n[RS_SHOW_BYTES], all[RS_SHOW_BYTES];
    int64_t pairs = 0;
    for (int l = 0; l < v->n_layers; l++) pairs += (int64_t)v->layers[l].heads * v->layers[l].pairs;
    bool cheap = upper_end(&a->loss) <= cheap_nats;
    rs_text_printf(t, "%s%s of %s pairs %s (%s), ", cheap ? "" : "no share that was tried; the cheapest, ",
                   rs_show_count(n, a->pairs), rs_show_count(all, pairs), words, a->what);
    say_delta(t, &a->loss);
}

static rs_status say_can_go(rs_report_view *v, rs_error *err) {
    static const struct {
        const char *mode, *words;
    } edits[] = {{"unrotate", "no longer rotated"}, {"zero", "removed"}};
    rs_text t = {0};
    int said = 0, tried = 0;
    for (size_t e = 0; e < sizeof edits / sizeof *edits; e++) {
        const rs_view_ablation *best = NULL;
        for (int64_t i = 0; i < v->n_ablations; i++) {
            const rs_view_ablation *a = &v->ablations[i];
            if (!gives_up_a_share(a, edits[e].mode)) continue;
            tried++;
            if (is_better(a, best)) best = a;
        }
        if (best == NULL) continue;
        rs_text_append(&t, said++ ? "; " : "What can go for less than 0.01 nats (1% of perplexity): ");
        say_share(v, &t, best, edits[e].words);
    }
    if (said > 0)
        rs_text_printf(
            &t,
            ". In brackets the 95%% interval over sequences, of which the upper end counts, and the median of "
            "as many random pairs of the same heads. The best of %d edits, found on the text on which they "
            "were tried; nothing was trained behind them.",
            tried);
    return rs_view_add_finding(v, "can_go", "fig-tried", &t, err);
}

static rs_status say_verdicts_tried(rs_report_view *v, rs_error *err) {
    static const struct {
        const char *mode, *words;
        rs_verdict verdict;
    } edits[] = {
        {"zero", "without the %s idle pairs", RS_VERDICT_IDLE},
        {"unrotate", "with the %s that work by content no longer rotated", RS_VERDICT_SEMANTIC},
        {"unrotate", "with the %s that work by position no longer rotated", RS_VERDICT_POSITIONAL},
    };
    rs_text t = {0};
    char n[RS_SHOW_BYTES];
    int said = 0;
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        const rs_view_ablation *a = rs_view_ablation_find(v, "verdict", edits[i].mode, NULL, (double)edits[i].verdict);
        if (a == NULL || a->pairs == 0) continue;
        const char *at = strstr(edits[i].words, "%s");
        rs_text_append(&t, said++ ? ", " : "Tried on the model, the loss changed ");
        rs_text_append_n(&t, edits[i].words, (size_t)(at - edits[i].words));
        rs_text_printf(&t, "%s%s by ", rs_show_count(n, a->pairs), at + 2);
        say_delta(&t, &a->loss);
    }
    if (said > 0)
        rs_text_append(&t, ". A verdict is about one pair at a time: what all of them cost together can be more.");
    return rs_view_add_finding(v, "tried", "fig-tried", &t, err);
}

static rs_status say_p_rope(rs_report_view *v, rs_error *err) {
    rs_text t = {0};
    char share[RS_SHOW_BYTES];
    int said = 0;
    for (int64_t i = 0; i < v->n_ablations; i++) {
        const rs_view_ablation *a = &v->ablations[i];
        if (strcmp(a->experiment, "p-rope") != 0 || a->layer >= 0 || a->heads[0] != '\0' || a->pairs == 0) continue;
        rs_text_printf(&t, "%s%s: ",
                       said++ ? ", "
                              : "No longer rotating the slowest pairs of every head, as p-RoPE does, changed the loss "
                                "by the share that went, in nats: ",
                       rs_show_percent(share, 1.0 - a->amount));
        say_signed(&t, a->loss.delta);
        if (a->loss.controls == 0) continue;
        rs_text_append(&t, said == 1 ? " (random pairs " : " (");
        say_signed(&t, a->loss.control);
        rs_text_append(&t, ")");
    }
    if (said > 0) rs_text_append(&t, ". Nothing was trained behind these edits.");
    return rs_view_add_finding(v, "p_rope", "fig-tried", &t, err);
}

rs_status rs_view_say_tried(rs_report_view *v, rs_error *err) {
    rs_status st = RS_OK;
    RS_TRY(say_can_go(v, err));
    RS_TRY(say_verdicts_tried(v, err));
    RS_TRY(say_p_rope(v, err));
out:
    return st;
}
