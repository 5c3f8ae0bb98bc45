/* What papers found for the same change of encoding, beside what these runs show. Only for variants of one shape whose
 * reference is full RoPE: then the runs are the paper's experiment on a smaller scale.
 *
 * arXiv 2410.06205, table 2: validation perplexity of Gemma 2B trained from scratch on English Wikipedia, one run each;
 * RoPE (base 10,000) 4.4627. Differences in nats are ln(perplexity / 4.4627). Figure 3 (read off): Gemma 7B, share of
 * the summed norm in the slowest quarter of the pairs. */
#include "reports/comparison.h"

#include <math.h>
#include <string.h>

static const struct {
    rs_encoding_kind encoding;
    double fraction, perplexity;
    const char *what;
} trained[] = {
    {RS_ENCODING_NOPE, 0.0, 4.8594, "NoPE"},
    {RS_ENCODING_P_ROPE, 0.75, 4.4414, "0.75 p-RoPE"},
    {RS_ENCODING_P_ROPE, 0.25, 4.5302, "0.25 p-RoPE"},
    {RS_ENCODING_REVERSED, 0.75, 4.4592, "0.75 reversed p-RoPE"},
    {RS_ENCODING_PARTIAL, 0.75, 4.4537, "0.75 partial RoPE"},
};
static const double full_perplexity = 4.4627;
static const char *const round_and_round = "arXiv 2410.06205, table 2: Gemma 2B on Wikipedia, one run each";

static rs_published_row *add(rs_comparison *c) {
    return c->n_published < RS_PUBLISHED_ROWS ? &c->published[c->n_published++] : NULL;
}

static bool same_shape(const rs_report_view *a, const rs_report_view *b) {
    return a->n_layers == b->n_layers && a->n_heads == b->n_heads && a->n_kv_heads == b->n_kv_heads &&
           a->n_pairs == b->n_pairs && a->width == b->width && a->vocab == b->vocab;
}

static const char *verdict(double theirs, double ours, double half_width) {
    if (isnan(ours) || isnan(half_width)) return "One run each: cannot be told from seeds.";
    bool seen = fabs(ours) > half_width, agrees = fabs(ours - theirs) <= half_width;
    if (seen && agrees) return "Seen here too, of that size.";
    if (seen && ours * theirs > 0.0)
        return fabs(ours) > fabs(theirs) ? "The same direction, larger here." : "The same direction, smaller here.";
    if (seen) return "Contradicted here: the other direction, beyond the seeds' spread.";
    if (agrees)
        return "These models are too small, or too few, to show it: their difference lies within the seeds' spread.";
    return "Not seen here, though a difference of that size would have shown.";
}

static void set_losses(rs_comparison *c, const rs_compared_quantity *loss, int v) {
    const rs_variant *x = &c->variants[v];
    for (size_t i = 0; i < sizeof trained / sizeof *trained; i++) {
        if (trained[i].encoding != x->encoding || fabs(trained[i].fraction - x->fraction) > 0.02) continue;
        rs_published_row *r = add(c);
        if (r == NULL) return;
        const rs_estimate *e = &loss->values[v];
        double theirs = log(trained[i].perplexity / full_perplexity);
        *r = (rs_published_row){NULL,           "nats",        theirs,
                                e->difference,  e->half_width, verdict(theirs, e->difference, e->half_width),
                                round_and_round};
        rs_error ignored;
        if (rs_arena_printf(c->arena, &r->what, &ignored, "loss of %s minus that of full RoPE", trained[i].what) !=
            RS_OK)
            r->what = trained[i].what;
    }
}

/* "A tenth of the components suffices": no number is printed there, the curves are said to lie together. */
static rs_status set_partial(rs_comparison *c, const rs_compared_quantity *loss, int v, rs_error *err) {
    const rs_variant *x = &c->variants[v];
    const rs_estimate *e = &loss->values[v];
    rs_published_row *r;
    if (x->encoding != RS_ENCODING_PARTIAL || (r = add(c)) == NULL) return RS_OK;
    bool enough = x->fraction >= 0.094;
    *r = (rs_published_row){NULL,
                            "nats",
                            NAN,
                            e->difference,
                            e->half_width,
                            NULL,
                            "arXiv 2603.11611, abstract: 1B and 8B models on 100B tokens"};
    r->says = isnan(e->half_width)               ? "One run each: cannot be told from seeds."
              : e->verdict == RS_COMPARED_WITHIN ? "No difference beyond the seeds' spread here either."
              : e->difference > 0.0 && enough    ? "Contradicted at this size: a loss beyond the seeds' spread."
              : e->difference > 0.0              ? "Worse here, beyond the seeds' spread."
                                                 : "Better here than full RoPE, beyond the seeds' spread.";
    return rs_arena_printf(
        c->arena, &r->what, err,
        enough ? "loss of %.4g partial RoPE minus that of full RoPE: said to converge comparably"
               : "loss of %.4g partial RoPE (one pair) minus that of full RoPE: said to be stable, with "
                 "slightly lower scores",
        x->fraction);
}

static void set_slow_share(rs_comparison *c, const char *key, const char *what, double theirs) {
    const rs_compared_quantity *x = rs_comparison_quantity(c, key);
    rs_published_row *r;
    if (x == NULL || isnan(x->values[0].mean) || (r = add(c)) == NULL) return;
    const rs_estimate *e = &x->values[0];
    double width = x->degrees > 0 ? rs_student_975(x->degrees) * x->spread / sqrt(c->variants[0].n_compared) : NAN;
    *r = (rs_published_row){what,
                            "times uniform",
                            theirs,
                            e->mean,
                            width,
                            NULL,
                            "arXiv 2410.06205, figure 3 (read off): Gemma 7B, context 8,192"};
    double over = e->mean - 1.0;
    r->says = isnan(width)    ? "One run: no interval."
              : over > width  ? "Seen here too: the slow pairs carry more than their part."
              : over < -width ? "Contradicted here: the slow pairs carry less than their part."
                              : "Not shown here: no different from uniform within the interval.";
}

static rs_status set_positional_heads(rs_comparison *c, int v, rs_error *err) {
    const rs_compared_quantity *x = rs_comparison_quantity(c, "previous_top");
    rs_published_row *r;
    char full[32], none[32];
    if (c->variants[v].encoding != RS_ENCODING_NOPE || x == NULL || (r = add(c)) == NULL) return RS_OK;
    const rs_estimate *e = &x->values[v];
    *r = (rs_published_row){"strongest previous-token head of NoPE minus that of full RoPE",
                            "",
                            NAN,
                            e->difference,
                            e->half_width,
                            NULL,
                            "arXiv 2410.06205, proposition 5.2 and theorem 5.3"};
    return rs_arena_printf(c->arena, &r->says, err,
                           "One NoPE head by itself cannot attend by position, a stack of layers may: here %s of its "
                           "attention, %s with full RoPE.",
                           rs_show_quantity(none, RS_FORM_PERCENT, e->mean),
                           rs_show_quantity(full, RS_FORM_PERCENT, x->values[0].mean));
}

rs_status rs_comparison_set_beside_papers(rs_comparison *c, rs_error *err) {
    rs_status st = RS_OK;
    const rs_compared_quantity *loss = rs_comparison_quantity(c, "loss");
    int matched = 0;
    if (c->variants[0].encoding != RS_ENCODING_FULL || loss == NULL) return RS_OK;
    for (int v = 1; v < c->n_variants; v++) {
        if (c->variants[v].n_compared == 0 || !same_shape(c->variants[0].view, c->variants[v].view)) continue;
        matched++;
        set_losses(c, loss, v);
        RS_TRY(set_partial(c, loss, v, err));
        RS_TRY(set_positional_heads(c, v, err));
    }
    if (matched == 0) return RS_OK;
    set_slow_share(c, "q_slow", "query norm of full RoPE on its slowest quarter of pairs", 4.0 * 0.348);
    set_slow_share(c, "k_slow", "key norm of full RoPE on its slowest quarter of pairs", 4.0 * 0.314);
out:
    return st;
}
