/* A comparison in the terminal: what stands beside what, the sentences, the norms as lines, the table of quantities. */
#include "reports/render.h"
#include "reports/show.h"

#include <math.h>
#include <string.h>

enum { LABEL = 36, CELL = 11 };

static void write_wrapped_text(rs_text *out, const rs_text *t, int lead, int columns) {
    rs_write_wrapped(out, t->data != NULL ? t->data : "", lead, columns);
    if (t->failed) out->failed = true;
}

/* "[1] full: full RoPE, 16 pairs, base 10,000; 2 runs" */
static void write_variants(rs_text *out, const rs_comparison *c, int columns) {
    rs_text_printf(out, "%d variants, %d runs; [1] is what the others are compared with\n", c->n_variants, c->n_runs);
    for (int v = 0; v < c->n_variants; v++) {
        const rs_variant *x = &c->variants[v];
        rs_text t = {0};
        rs_text_printf(&t, "[%d] %s: %s; %d %s%s", v + 1, x->label, x->view->rope_words, x->n_runs,
                       x->n_runs == 1 ? "run" : "runs", x->n_compared == 0 ? ", NOT COMPARED" : "");
        write_wrapped_text(out, &t, 2, columns);
        rs_text_deinit(&t);
    }
}

/* Facts that are not equal, without those that the list above has. */
static void write_differing_facts(rs_text *out, const rs_comparison *c, int columns) {
    rs_text equal = {0};
    for (int i = 0; i < c->n_facts; i++) {
        const rs_compared_fact *f = &c->facts[i];
        if (strcmp(f->key, "rotation") == 0 || strcmp(f->key, "runs") == 0) continue;
        if (f->equal) {
            rs_text_printf(&equal, "%s%s", equal.bytes > 0 ? ", " : "", f->label);
            continue;
        }
        rs_text t = {0};
        rs_text_printf(&t, "%s differs:", f->label);
        for (int v = 0; v < c->n_variants; v++) rs_text_printf(&t, "%s [%d] %s", v ? ";" : "", v + 1, f->values[v]);
        write_wrapped_text(out, &t, 0, columns);
        rs_text_deinit(&t);
    }
    rs_text same = {0};
    if (equal.bytes > 0) rs_text_printf(&same, "equal: %s", equal.data);
    write_wrapped_text(out, &same, 0, columns);
    rs_text_deinit(&equal);
    rs_text_deinit(&same);
}

static void write_findings(rs_text *out, const rs_comparison *c, int columns) {
    for (int i = 0; i < c->n_findings; i++) {
        rs_text_append(out, "\n");
        rs_write_wrapped(out, c->findings[i].text, 0, columns);
    }
}

/* --- norms --- */

static void write_norm(rs_text *out, const rs_comparison *c, const char *what, bool queries, int columns) {
    double top = 0.0;
    for (int v = 0; v < c->n_variants; v++) {
        const double *x = queries ? c->variants[v].q_share : c->variants[v].k_share;
        for (int p = 0; x != NULL && p < c->variants[v].pairs; p++) top = fmax(top, x[p] * c->variants[v].pairs);
    }
    if (!(top > 0.0)) return;
    rs_text_printf(out, "\nShare of the %s norm by pair, darkest = %.2f times uniform\n", what, top);
    for (int v = 0; v < c->n_variants; v++) {
        const rs_variant *x = &c->variants[v];
        const double *share = queries ? x->q_share : x->k_share;
        double line[512];
        if (share == NULL || x->pairs > 512) continue;
        for (int p = 0; p < x->pairs; p++) line[p] = share[x->aligned != NULL ? x->aligned[p] : p] * x->pairs;
        rs_text_printf(out, "  [%d] ", v + 1);
        rs_write_spark(out, line, x->pairs, top, columns - 40 > x->pairs ? x->pairs : columns - 40);
        rs_text_printf(out, " %s\n",
                       x->encoding == RS_ENCODING_NOPE ? "component pairs"
                       : x->aligned != NULL            ? "fastest to slowest"
                                                       : "fastest first, then unrotated");
    }
}

/* --- quantities --- */

static void write_cell(rs_text *out, const rs_compared_quantity *x, int v) {
    char s[32];
    rs_text_printf(out, " %*s%s", CELL - 2, rs_show_quantity(s, x->quantity->form, x->values[v].mean),
                   x->values[v].verdict == RS_COMPARED_DIFFERS ? "*" : " ");
}

static void write_quantity_row(rs_text *out, const rs_comparison *c, const rs_compared_quantity *x, int from, int to) {
    char label[LABEL + 1], s[32];
    size_t n = strlen(x->quantity->label);
    memcpy(label, x->quantity->label, n < LABEL ? n + 1 : LABEL);
    label[LABEL] = '\0';
    rs_text_printf(out, "%-*s", LABEL, label);
    write_cell(out, x, 0);
    for (int v = from; v < to; v++) write_cell(out, x, v);
    /* The width of the interval is the same for all variants with as many runs; that of the first one is shown. */
    for (int v = from; c->repeats && v < to; v++) {
        if (isnan(x->values[v].half_width)) continue;
        rs_text_printf(out, "  ± %s", rs_show_quantity(s, x->quantity->form, x->values[v].half_width));
        break;
    }
    rs_text_append(out, "\n");
}

static void write_quantities(rs_text *out, const rs_comparison *c, int columns) {
    int spare = columns - LABEL - CELL - (c->repeats ? 10 : 0), each = spare / CELL > 1 ? spare / CELL : 1;
    for (int from = 1; from < c->n_variants; from += each) {
        int to = from + each < c->n_variants ? from + each : c->n_variants;
        rs_text_printf(out, "\n%-*s %*s ", LABEL, "mean over runs", CELL - 2, "[1]");
        for (int v = from; v < to; v++) rs_text_printf(out, " %*s[%d] ", v < 9 ? CELL - 5 : CELL - 6, "", v + 1);
        rs_text_append(out, "\n");
        for (int i = 0; i < c->n_quantities; i++) write_quantity_row(out, c, &c->quantities[i], from, to);
    }
    if (c->repeats) rs_text_append(out, "*: differs from [1] by more than seeds do; ±: 95% interval of a difference\n");
}

static void write_published(rs_text *out, const rs_comparison *c, int columns) {
    char a[32], b[32], w[32];
    if (c->n_published > 0) rs_text_append(out, "\nBeside the papers\n");
    for (int i = 0; i < c->n_published; i++) {
        const rs_published_row *r = &c->published[i];
        rs_text t = {0};
        rs_text_printf(&t, "%s: theirs %s, here %s", r->what, rs_show_quantity(a, RS_FORM_NATS, r->theirs),
                       rs_show_quantity(b, RS_FORM_NATS, r->ours));
        if (!isnan(r->half_width)) rs_text_printf(&t, " ± %s", rs_show_quantity(w, RS_FORM_NATS, r->half_width));
        rs_text_printf(&t, "%s%s. %s (%s)", *r->unit != '\0' ? " " : "", r->unit, r->says, r->source);
        write_wrapped_text(out, &t, 2, columns);
        rs_text_deinit(&t);
    }
}

rs_status rs_render_comparison_text(const rs_comparison *c, const rs_report_options *o, rs_text *out, rs_error *err) {
    int columns = rs_text_columns(o);
    write_variants(out, c, columns);
    write_differing_facts(out, c, columns);
    write_findings(out, c, columns);
    write_norm(out, c, "query", true, columns);
    write_norm(out, c, "key", false, columns);
    write_quantities(out, c, columns);
    write_published(out, c, columns);
    return rs_text_status(out, err);
}
