/* Sentences of a comparison. Each difference is said with its interval and with what the interval is about: seeds when
 * there are repeats, the text alone when there are none. */
#include "reports/comparison.h"
#include "reports/show.h"

#include "analyzer/base/text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const char *const rs_verdict_names[RS_COMPARED_VERDICTS] = {
    [RS_COMPARED_REFERENCE] = "reference",
    [RS_COMPARED_DIFFERS] = "differs",
    [RS_COMPARED_WITHIN] = "within",
    [RS_COMPARED_UNKNOWN] = "unknown",
};

static rs_status say(rs_comparison *c, const char *key, const char *figure, rs_text *t, rs_error *err) {
    rs_status st = rs_text_status(t, err);
    if (st == RS_OK && t->bytes > 0) {
        rs_view_finding *f = &c->findings[c->n_findings];
        if (c->n_findings == RS_COMPARED_FINDINGS)
            return rs_fail(err, RS_E_INTERNAL, "more than %d findings", (int)RS_COMPARED_FINDINGS);
        f->key = key, f->figure = figure;
        st = rs_arena_strdup(c->arena, &f->text, t->data, err);
        c->n_findings += st == RS_OK;
    }
    rs_text_deinit(t);
    *t = (rs_text){0};
    return st;
}

/* "+0.083 ± 0.009"; without an interval only the difference. */
static void say_signed(rs_text *t, rs_number_form form, double x, double half_width) {
    char a[32], b[32];
    rs_text_printf(t, "%s%s", x > 0.0 ? "+" : "", rs_show_quantity(a, form, x));
    if (!isnan(half_width)) rs_text_printf(t, " ± %s", rs_show_quantity(b, form, half_width));
}

static void say_value(rs_text *t, const rs_compared_quantity *x, int variant) {
    char a[32];
    const rs_estimate *e = &x->values[variant];
    rs_text_append(t, rs_show_quantity(a, x->quantity->form, e->mean));
}

/* --- what stands side by side --- */

static void say_spread_words(const rs_comparison *c, rs_text *t) {
    if (c->repeats)
        rs_text_append(t, " Intervals (±) are 95% intervals over seeds: a difference beyond its interval is more than "
                          "two trainings of the same model differ.");
    else
        rs_text_append(t, " Every variant is one run, so no difference between them can be told from a difference "
                          "between two trainings of the same model; intervals (±), where given, are over the "
                          "sequences of the text alone.");
}

static rs_status say_read(rs_comparison *c, rs_error *err) {
    rs_text t = {0};
    char n[RS_SHOW_BYTES], s[RS_SHOW_BYTES], x[RS_SHOW_BYTES];
    const rs_report_view *v = c->runs[0].view;
    int variants = 0;
    for (int i = 0; i < c->n_variants; i++) variants += c->variants[i].n_compared > 0;
    if (variants < 2)
        rs_text_printf(&t, "Nothing here can be compared with %s; the runs are shown side by side.",
                       c->variants[0].label);
    else {
        rs_text_printf(&t,
                       "%d variants in %d runs on the same %s tokens (%s sequences of %s); differences are from %s.",
                       variants, c->n_compared, rs_show_count(n, v->tokens), rs_show_count(s, v->sequences),
                       rs_show_count(x, v->context), c->variants[0].label);
        say_spread_words(c, &t);
    }
    return say(c, "read", "", &t, err);
}

/* Runs that cannot be compared, by reason. */
static rs_status say_left_out(rs_comparison *c, rs_error *err) {
    rs_text t = {0};
    for (int i = 0; i < c->n_runs; i++)
        if (*c->runs[i].reason != '\0')
            rs_text_printf(&t, "%s%s (%s) is shown but not compared: %s.", t.bytes > 0 ? " " : "",
                           c->variants[c->runs[i].variant].label, c->runs[i].view->path, c->runs[i].reason);
    return say(c, "left_out", "not-compared", &t, err);
}

/* --- loss --- */

static void say_loss_of(const rs_comparison *c, rs_text *t, const rs_compared_quantity *x, int v) {
    const rs_estimate *e = &x->values[v];
    bool seeds = !isnan(e->half_width);
    rs_text_printf(t, "%s ", c->variants[v].label);
    say_signed(t, RS_FORM_NATS, e->difference, seeds ? e->half_width : e->text_half_width);
    rs_text_append(t, e->verdict == RS_COMPARED_DIFFERS  ? " (beyond the seeds' spread)"
                      : e->verdict == RS_COMPARED_WITHIN ? " (within it)"
                                                         : "");
}

static rs_status say_loss(rs_comparison *c, rs_error *err) {
    const rs_compared_quantity *x = rs_comparison_quantity(c, "loss");
    rs_text t = {0};
    if (x == NULL || isnan(x->values[0].mean)) return RS_OK;
    rs_text_printf(&t, "Loss: %s %.3f nats", c->variants[0].label, x->values[0].mean);
    if (c->variants[0].repeats)
        rs_text_printf(&t, " (%.3f to %.3f over %d seeds)", x->values[0].low, x->values[0].high,
                       c->variants[0].n_compared);
    const char *lead = "; from it ";
    for (int v = 1; v < c->n_variants; v++) {
        if (isnan(x->values[v].difference)) continue;
        rs_text_append(&t, lead);
        say_loss_of(c, &t, x, v);
        lead = ", ";
    }
    rs_text_append(&t, ".");
    return say(c, "loss", "fig-loss", &t, err);
}

/* Where in the sequence the largest loss difference of a variant lies, against the last bucket. */
static rs_status say_positions(rs_comparison *c, rs_error *err) {
    const rs_compared_quantity *x = rs_comparison_quantity(c, "loss");
    rs_text t = {0};
    int worst = 0;
    for (int v = 1; x != NULL && v < c->n_variants; v++)
        if (c->loss_differences[v] != NULL &&
            (worst == 0 || fabs(x->values[v].difference) > fabs(x->values[worst].difference)))
            worst = v;
    if (worst == 0 || c->n_loss_buckets < 4) return RS_OK;
    const rs_loss_difference *d = c->loss_differences[worst], *last = &d[c->n_loss_buckets - 1];
    int early = 0;
    while (early + 1 < c->n_loss_buckets && d[early].first < 8) early++;
    rs_text_printf(&t, "By position: %s minus %s is ", c->variants[worst].label, c->variants[0].label);
    say_signed(&t, RS_FORM_NATS, d[early].difference, d[early].half_width);
    rs_text_printf(&t, " nats at positions %lld-%lld and ", (long long)d[early].first, (long long)d[early].last);
    say_signed(&t, RS_FORM_NATS, last->difference, last->half_width);
    rs_text_printf(&t, " at %lld-%lld (± over sequences of the text, same tokens).", (long long)last->first,
                   (long long)last->last);
    return say(c, "positions", "fig-loss-difference", &t, err);
}

/* --- values --- */

/* "1.02 (1.00 to 1.04)": the range when there are repeats. */
static void say_ranged(rs_text *t, const rs_compared_quantity *x, int v) {
    char a[32], b[32];
    const rs_estimate *e = &x->values[v];
    say_value(t, x, v);
    if (e->high > e->low)
        rs_text_printf(t, " (%s to %s)", rs_show_quantity(a, x->quantity->form, e->low),
                       rs_show_quantity(b, x->quantity->form, e->high));
}

/* What each variant has of several quantities: "LEAD: full RoPE 1.02 (1.00 to 1.04) NAME, 0.69 NAME; NoPE ...". */
static rs_status say_each(rs_comparison *c, const char *key, const char *lead, const char *figure,
                          const char *const (*list)[2], int n, rs_error *err) {
    rs_text t = {0};
    int variants = 0;
    for (int v = 0; v < c->n_variants; v++) {
        int said = 0;
        for (int i = 0; i < n; i++) {
            const rs_compared_quantity *x = rs_comparison_quantity(c, list[i][0]);
            if (x == NULL || isnan(x->values[v].mean)) continue;
            if (said == 0) rs_text_printf(&t, "%s%s ", variants++ ? "; " : lead, c->variants[v].label);
            rs_text_append(&t, said++ ? ", " : "");
            say_ranged(&t, x, v);
            rs_text_printf(&t, " %s", list[i][1]);
        }
    }
    if (variants > 0) rs_text_append(&t, ".");
    return say(c, key, figure, &t, err);
}

static rs_status say_norms(rs_comparison *c, rs_error *err) {
    static const char *const list[][2] = {{"k_fast", "on the fastest quarter of its rotated pairs"},
                                          {"k_slow", "on the slowest"},
                                          {"k_rotated", "on all that rotate"}};
    return say_each(c, "norms",
                    c->repeats ? "Key norm, times what it would be if all pairs were alike (range over seeds): "
                               : "Key norm, times what it would be if all pairs were alike: ",
                    "fig-norms", list, 3, err);
}

static int largest(const double *x, int n) {
    int at = 0;
    for (int p = 1; p < n; p++)
        if (x[p] > x[at]) at = p;
    return at;
}

/* Where the key norm peaks: the pair, and in how many runs it is that one. Nothing to say of variants without
 * frequencies. */
static rs_status say_peaks(rs_comparison *c, rs_error *err) {
    rs_text t = {0};
    for (int v = 0; v < c->n_variants; v++) {
        const rs_variant *x = &c->variants[v];
        const rs_view_rope *r = &x->view->ropes[x->view->main_rope];
        char wave[RS_SHOW_BYTES], times[RS_SHOW_BYTES];
        if (x->k_share == NULL || r->rotated == 0 || x->n_compared == 0) continue;
        int pair = largest(x->k_share, x->pairs), agree = 0;
        for (int i = 0; i < x->n_compared; i++) {
            const rs_report_view *w = c->runs[x->runs[i]].view;
            int64_t pairs;
            agree += largest(rs_view_main_means(w, "by_frequency/k_share", &pairs), x->pairs) == pair;
        }
        rs_text_printf(&t, "%s%s at pair %d", t.bytes > 0 ? "; " : "The key norm peaks in ", x->label, pair);
        if (isnan(r->wavelength[pair])) rs_text_append(&t, ", which is not rotated");
        else
            rs_text_printf(&t, ", wavelength %s tokens, %s times the context",
                           rs_show_number(wave, r->wavelength[pair]),
                           rs_show_number(times, r->wavelength[pair] / (double)x->view->context));
        rs_text_printf(&t, " (in %d of %d run%s)", agree, x->n_compared, x->n_compared == 1 ? "" : "s");
    }
    if (t.bytes > 0) rs_text_append(&t, ".");
    return say(c, "peaks", "fig-norms", &t, err);
}

static rs_status say_kinds(rs_comparison *c, rs_error *err) {
    static const char *const list[][2] = {{"kind_previous", "previous token"},
                                          {"kind_diagonal", "diagonal"},
                                          {"kind_induction", "induction"},
                                          {"kind_first", "first token"}};
    return say_each(c, "kinds",
                    c->repeats ? "Share of the heads by kind (range over seeds): " : "Share of the heads by kind: ",
                    "fig-kinds", list, 4, err);
}

/* --- lists of quantities --- */

/* "LABEL: full 0.93; NoPE 0.41 (-0.52 ± 0.10)" of the variants that differ; false when none does. */
static bool say_differing(const rs_comparison *c, rs_text *t, const rs_compared_quantity *x) {
    bool any = false;
    for (int v = 1; v < c->n_variants; v++) {
        const rs_estimate *e = &x->values[v];
        if (e->verdict != RS_COMPARED_DIFFERS) continue;
        if (!any) {
            rs_text_printf(t, "%s, %s ", x->quantity->label, c->variants[0].label);
            say_value(t, x, 0);
        }
        any = true;
        rs_text_printf(t, ", %s ", c->variants[v].label);
        say_value(t, x, v);
        rs_text_append(t, " (");
        say_signed(t, x->quantity->form, e->difference, e->half_width);
        rs_text_append(t, ")");
    }
    return any;
}

static bool tested(const rs_comparison *c, const rs_compared_quantity *x) {
    for (int v = 1; v < c->n_variants; v++)
        if (x->values[v].verdict == RS_COMPARED_DIFFERS || x->values[v].verdict == RS_COMPARED_WITHIN) return true;
    return false;
}

/* What of a group differs beyond the spread, then what does not. */
static rs_status say_group(rs_comparison *c, const char *group, const char *title, const char *figure, rs_error *err) {
    rs_text differs = {0}, same = {0}, t = {0};
    for (int i = 0; i < c->n_quantities; i++) {
        const rs_compared_quantity *x = &c->quantities[i];
        if (strcmp(x->quantity->group, group) != 0 || !tested(c, x)) continue;
        rs_text one = {0};
        if (say_differing(c, &one, x)) rs_text_printf(&differs, "%s%s", differs.bytes > 0 ? "; " : "", one.data);
        else rs_text_printf(&same, "%s%s", same.bytes > 0 ? ", " : "", x->quantity->label);
        rs_text_deinit(&one);
    }
    if (differs.bytes > 0) rs_text_printf(&t, "%s, beyond the seeds' spread: %s.", title, differs.data);
    if (same.bytes > 0)
        rs_text_printf(&t, "%s%s: %s.",
                       differs.bytes > 0 ? " No variant differs from the reference by more than seeds do in" : title,
                       differs.bytes > 0 ? "" : ", where no variant differs from the reference by more than seeds do",
                       same.data);
    rs_text_deinit(&differs);
    rs_text_deinit(&same);
    return say(c, group, figure, &t, err);
}

static rs_status say_norm_control(rs_comparison *c, rs_error *err) {
    const rs_compared_quantity *x = rs_comparison_quantity(c, "k_even");
    rs_text t = {0};
    for (int v = 0; x != NULL && v < c->n_variants; v++) {
        if (c->variants[v].encoding != RS_ENCODING_NOPE || isnan(x->values[v].mean)) continue;
        rs_text_printf(&t,
                       "%s has no frequencies: its components are shown as pairs all the same, as a control. Evenness "
                       "of its key pairs is ",
                       c->variants[v].label);
        say_value(&t, x, v);
        if (v > 0) {
            rs_text_printf(&t, ", that of %s ", c->variants[0].label);
            say_value(&t, x, 0);
            rs_text_append(&t, " (difference ");
            say_signed(&t, x->quantity->form, x->values[v].difference, x->values[v].half_width);
            rs_text_append(&t, isnan(x->values[v].half_width) ? ", one run each)" : ")");
        }
        rs_text_append(&t, "; 1 means all pairs alike.");
        break;
    }
    return say(c, "nope", "fig-norms", &t, err);
}

/* --- cache --- */

static rs_status say_cache(rs_comparison *c, rs_error *err) {
    enum { AT = 3 }; /* 131,072 positions in axis/cache_context */
    rs_text t = {0};
    const rs_array *context = rs_view_array(c->variants[0].view, "axis/cache_context");
    char bytes[32], n[RS_SHOW_BYTES], p[RS_SHOW_BYTES];
    double full = 0.0;
    rs_text_printf(&t, "RoPE tables for %s positions: ", rs_show_count(n, (long long)rs_view_cell(context, AT, 0, 0)));
    for (int v = 0; v < c->n_variants; v++) {
        const rs_report_view *w = c->variants[v].view;
        double sum = rs_view_cache_bytes(w, AT);
        rs_text_printf(&t, "%s%s %s", v ? ", " : "", c->variants[v].label,
                       sum > 0.0 ? rs_format_bytes(bytes, (uint64_t)sum) : "none");
        if (v == 0) full = sum;
        else if (full > 0.0 && sum > 0.0) rs_text_printf(&t, " (%s)", rs_show_percent(p, sum / full));
    }
    rs_text_append(&t, ". Exact: 2 × positions × rotated components × 4 bytes.");
    return say(c, "cache", "cache", &t, err);
}

static rs_status say_chance(rs_comparison *c, rs_error *err) {
    rs_text t = {0};
    if (c->n_tests == 0) return RS_OK;
    rs_text_printf(&t,
                   "%d of %d differences that were tested lie beyond their interval; if nothing differed, about %.0f "
                   "would by chance.",
                   c->n_beyond, c->n_tests, fmax(1.0, 0.05 * c->n_tests));
    return say(c, "chance", "", &t, err);
}

rs_status rs_comparison_say(rs_comparison *c, rs_error *err) {
    rs_status st = RS_OK;
    RS_TRY(say_read(c, err));
    RS_TRY(say_left_out(c, err));
    RS_TRY(say_loss(c, err));
    RS_TRY(say_positions(c, err));
    RS_TRY(say_kinds(c, err));
    RS_TRY(say_group(c, "purpose", "What the pairs are for", "", err));
    RS_TRY(say_group(c, "heads", "Heads", "fig-scores", err));
    RS_TRY(say_norms(c, err));
    RS_TRY(say_peaks(c, err));
    RS_TRY(say_group(c, "norm", "Norm by frequency", "fig-norms", err));
    RS_TRY(say_norm_control(c, err));
    RS_TRY(say_group(c, "position", "Position and content", "", err));
    RS_TRY(say_cache(c, err));
    RS_TRY(say_chance(c, err));
out:
    return st;
}
