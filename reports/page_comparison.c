/* The words and tables of a comparison's page, as escaped HTML: it reads without scripts. */
#include "reports/measures.h"
#include "reports/render.h"
#include "reports/show.h"

#include <math.h>
#include <string.h>

static void write_escaped(rs_text *out, const char *s) { rs_text_html(out, s, strlen(s)); }

static void begin_table(rs_text *out, const char *label, const char *class_name) {
    rs_text_printf(
        out, "<div class=\"box\" tabindex=\"0\" role=\"region\" aria-label=\"%s\"><table class=\"%s\"><thead><tr>",
        label, class_name);
}

static void end_table(rs_text *out) { rs_text_append(out, "</tbody></table></div>\n"); }

static void head_cell(rs_text *out, const char *s, bool words) {
    rs_text_printf(out, "<th scope=\"col\"%s>", words ? " class=\"t\"" : "");
    rs_write_html_text(out, s);
    rs_text_append(out, "</th>");
}

static void cell(rs_text *out, const char *s) {
    rs_text_append(out, "<td>");
    rs_write_html_text(out, s);
    rs_text_append(out, "</td>");
}

static void word_cell(rs_text *out, const char *s) {
    rs_text_append(out, "<td class=\"w\">");
    rs_write_html_text(out, s);
    rs_text_append(out, "</td>");
}

static void head_of_variants(rs_text *out, const rs_comparison *c, bool words) {
    for (int v = 0; v < c->n_variants; v++) head_cell(out, c->variants[v].label, words);
    rs_text_append(out, "</tr></thead><tbody>\n");
}

/* --- top --- */

void rs_page_comparison_title(rs_text *out, const rs_comparison *c) {
    for (int v = 0; v < c->n_variants; v++) {
        rs_text_append(out, v ? (v + 1 < c->n_variants ? ", " : " and ") : "");
        write_escaped(out, c->variants[v].label);
    }
}

static const char *fact_of_first(const rs_comparison *c, const char *key) {
    for (int i = 0; i < c->n_facts; i++)
        if (strcmp(c->facts[i].key, key) == 0) return c->facts[i].values[0];
    return "-";
}

void rs_page_comparison_lede(rs_text *out, const rs_comparison *c) {
    const rs_report_view *v = c->runs[0].view;
    char tokens[RS_SHOW_BYTES], sequences[RS_SHOW_BYTES], context[RS_SHOW_BYTES];
    rs_text line = {0};
    rs_text_printf(&line, "%d variants, %d runs. Read: %s sequences of %s tokens, %s scored.", c->n_variants, c->n_runs,
                   rs_show_count(sequences, v->sequences), rs_show_count(context, v->context),
                   rs_show_count(tokens, v->tokens));
    rs_text_append(out, "<p class=\"facts\">");
    rs_write_html_text(out, line.data != NULL ? line.data : "");
    rs_text_append(out, " Text: ");
    write_escaped(out, fact_of_first(c, "text"));
    rs_text_append(out, ". Differences are from <strong>");
    write_escaped(out, c->variants[0].label);
    rs_text_append(out, "</strong>. Measured by ");
    write_escaped(out, fact_of_first(c, "tool"));
    rs_text_append(out, ".</p>\n");
    rs_text_deinit(&line);
}

static const struct {
    const char *figure, *name;
} figures[] = {
    {"fig-loss", "loss"},
    {"fig-loss-difference", "difference by position"},
    {"fig-kinds", "kinds of heads"},
    {"fig-scores", "what heads attend to"},
    {"fig-norms", "norm by frequency"},
    {"cache", "cache"},
    {"not-compared", "not compared"},
};

/* Findings that list every variant or quantity grow with their number: beyond a few lines they are folded under a
 * title, so that the pictures stay near the top. group: its quantities are counted in the title. */
enum { FOLD_FROM = 320 }; /* bytes */
static const struct {
    const char *key, *title, *group;
} folded[] = {
    {"kinds", "Share of the heads by kind, variant by variant", NULL},
    {"heads", "Heads", "heads"},
    {"norms", "Key norm on fast and slow pairs, variant by variant", NULL},
    {"peaks", "Where the key norm peaks, variant by variant", NULL},
    {"norm", "Norm by frequency", "norm"},
    {"position", "Position and content", "position"},
};

static bool has_verdict(const rs_comparison *c, const rs_compared_quantity *x, rs_compared_verdict verdict) {
    for (int v = 0; v < c->n_variants; v++)
        if (x->values[v].verdict == verdict) return true;
    return false;
}

static void write_fold_title(rs_text *out, const rs_comparison *c, const char *title, const char *group) {
    int differ = 0, tested = 0;
    for (int i = 0; group != NULL && i < c->n_quantities; i++) {
        const rs_compared_quantity *x = &c->quantities[i];
        bool differs = has_verdict(c, x, RS_COMPARED_DIFFERS);
        if (strcmp(x->quantity->group, group) != 0) continue;
        differ += differs;
        tested += differs || has_verdict(c, x, RS_COMPARED_WITHIN);
    }
    rs_text_append(out, title);
    if (group != NULL)
        rs_text_printf(out, ": in %d of %d quantities some variant differs by more than seeds do", differ, tested);
}

static void write_finding(rs_text *out, const rs_comparison *c, const rs_view_finding *f) {
    for (size_t k = 0; k < sizeof folded / sizeof *folded; k++) {
        if (strcmp(folded[k].key, f->key) != 0 || strlen(f->text) < FOLD_FROM) continue;
        rs_text_append(out, "<details><summary>");
        write_fold_title(out, c, folded[k].title, folded[k].group);
        rs_text_append(out, "</summary>");
        rs_write_html_text(out, f->text);
        rs_text_append(out, "</details>");
        return;
    }
    rs_write_html_text(out, f->text);
}

void rs_page_comparison_findings(rs_text *out, const rs_comparison *c) {
    rs_text_append(out, "<ul class=\"findings\">\n");
    for (int i = 0; i < c->n_findings; i++) {
        const rs_view_finding *f = &c->findings[i];
        rs_text_append(out, "<li>");
        write_finding(out, c, f);
        for (size_t k = 0; k < sizeof figures / sizeof *figures; k++)
            if (strcmp(figures[k].figure, f->figure) == 0)
                rs_text_printf(out, " <a href=\"#%s\">See: %s</a>", f->figure, figures[k].name);
        rs_text_append(out, "</li>\n");
    }
    rs_text_append(out, "</ul>\n");
}

/* --- tables --- */

void rs_page_comparison_facts(rs_text *out, const rs_comparison *c) {
    begin_table(out, "What is equal and what is not", "short equality wide");
    head_cell(out, "", true);
    head_cell(out, "", true);
    head_of_variants(out, c, true);
    for (int i = 0; i < c->n_facts; i++) {
        const rs_compared_fact *f = &c->facts[i];
        rs_text_printf(out, "<tr%s><th scope=\"row\" class=\"t\">", f->equal ? "" : " class=\"unequal\"");
        write_escaped(out, f->label);
        rs_text_append(out, f->equal ? "</th><td class=\"t\">equal</td>"
                                     : "</th><td class=\"t\"><strong>differs</strong></td>");
        if (f->equal) {
            rs_text_printf(out, "<td class=\"w\" colspan=\"%d\">", c->n_variants);
            rs_write_html_text(out, f->values[0]);
            rs_text_append(out, "</td>");
        }
        for (int v = 0; v < c->n_variants && !f->equal; v++) word_cell(out, f->values[v]);
        rs_text_append(out, "</tr>\n");
    }
    end_table(out);
}

void rs_page_comparison_cache(rs_text *out, const rs_comparison *c) {
    const rs_array *contexts = rs_view_array(c->variants[0].view, "axis/cache_context");
    char s[RS_SHOW_BYTES];
    begin_table(out, "RoPE cache by context", "short wide");
    head_cell(out, "positions held", true);
    head_cell(out, "components", false);
    for (int64_t i = 0; i < contexts->dims[0]; i++)
        head_cell(out, rs_show_count(s, (long long)contexts->data[i]), false);
    head_cell(out, "of the first", false);
    rs_text_append(out, "</tr></thead><tbody>\n");
    for (int v = 0; v < c->n_variants; v++) {
        const rs_report_view *w = c->variants[v].view;
        rs_text_append(out, "<tr><th scope=\"row\" class=\"t\">");
        write_escaped(out, c->variants[v].label);
        rs_text_printf(out, "</th><td>%d of %d</td>", 2 * w->ropes[w->main_rope].rotated,
                       2 * w->ropes[w->main_rope].pairs);
        for (int64_t i = 0; i < contexts->dims[0]; i++)
            cell(out, rs_format_bytes(s, (uint64_t)rs_view_cache_bytes(w, i)));
        double of_first = rs_view_cache_bytes(w, 0) / rs_view_cache_bytes(c->variants[0].view, 0);
        cell(out, isfinite(of_first) ? rs_show_percent(s, of_first) : "–"); /* the first may keep none */
        rs_text_append(out, "</tr>\n");
    }
    end_table(out);
}

/* "+0.083 ± 0.009, differs" below the mean. */
static void write_estimate(rs_text *out, const rs_compared_quantity *x, int v) {
    static const char *const words[RS_COMPARED_VERDICTS] = {[RS_COMPARED_REFERENCE] = "",
                                                            [RS_COMPARED_DIFFERS] = "differs",
                                                            [RS_COMPARED_WITHIN] = "within",
                                                            [RS_COMPARED_UNKNOWN] = "not tested"};
    char a[32], b[32];
    const rs_estimate *e = &x->values[v];
    rs_number_form form = x->quantity->form;
    rs_text t = {0};
    if (isnan(e->mean)) {
        rs_text_append(out, "<td class=\"zero\">–</td>");
        return;
    }
    rs_text_append(&t, rs_show_quantity(a, form, e->mean));
    if (e->high > e->low)
        rs_text_printf(&t, " (%s to %s)", rs_show_quantity(a, form, e->low), rs_show_quantity(b, form, e->high));
    rs_text_printf(out, "<td%s>", e->verdict == RS_COMPARED_DIFFERS ? " class=\"differs\"" : "");
    rs_write_html_text(out, t.data != NULL ? t.data : "");
    rs_text_deinit(&t);
    if (e->verdict != RS_COMPARED_REFERENCE && !isnan(e->difference)) {
        rs_text_printf(out, "<br><small>%s%s", e->difference > 0.0 ? "+" : "",
                       rs_show_quantity(a, form, e->difference));
        if (!isnan(e->half_width)) rs_text_printf(out, " ± %s", rs_show_quantity(b, form, e->half_width));
        else if (!isnan(e->text_half_width))
            rs_text_printf(out, " ± %s over the text", rs_show_quantity(b, form, e->text_half_width));
        rs_text_printf(out, e->verdict == RS_COMPARED_DIFFERS ? ", <strong>%s</strong></small>" : ", %s</small>",
                       words[e->verdict]);
    }
    rs_text_append(out, "</td>");
}

void rs_page_comparison_quantities(rs_text *out, const rs_comparison *c) {
    static const char *const groups[][2] = {{"loss", "Loss"},
                                            {"purpose", "What the pairs are for"},
                                            {"heads", "Heads"},
                                            {"norm", "Norm by frequency"},
                                            {"position", "Position and content"}};
    begin_table(out, "Everything measured", "short quantities wide");
    head_cell(out, "quantity", true);
    head_of_variants(out, c, false);
    for (size_t g = 0; g < sizeof groups / sizeof *groups; g++) {
        bool begun = false;
        for (int i = 0; i < c->n_quantities; i++) {
            const rs_compared_quantity *x = &c->quantities[i];
            if (strcmp(x->quantity->group, groups[g][0]) != 0) continue;
            if (!begun)
                rs_text_printf(out,
                               "<tr class=\"group\"><th scope=\"colgroup\" class=\"t\" colspan=\"%d\">%s</th></tr>\n",
                               c->n_variants + 1, groups[g][1]);
            begun = true;
            rs_text_append(out, "<tr><th scope=\"row\" class=\"t\">");
            write_escaped(out, x->quantity->label);
            if (*x->quantity->unit != '\0') rs_text_printf(out, ", <small>%s</small>", x->quantity->unit);
            rs_text_append(out, "</th>");
            for (int v = 0; v < c->n_variants; v++) write_estimate(out, x, v);
            rs_text_append(out, "</tr>\n");
        }
    }
    end_table(out);
}

void rs_page_comparison_published(rs_text *out, const rs_comparison *c) {
    static const char *const columns[] = {"found", "unit", "theirs", "here", "what that says", "source"};
    char a[32], b[32];
    begin_table(out, "What papers report", "short published");
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) head_cell(out, columns[i], i < 2 || i > 3);
    rs_text_append(out, "</tr></thead><tbody>\n");
    for (int i = 0; i < c->n_published; i++) {
        const rs_published_row *r = &c->published[i];
        rs_text here = {0};
        rs_text_append(out, "<tr>");
        word_cell(out, r->what);
        word_cell(out, r->unit);
        cell(out, isnan(r->theirs) ? "–" : rs_show_quantity(a, RS_FORM_NATS, r->theirs));
        rs_text_append(&here, isnan(r->ours) ? "–" : rs_show_quantity(a, RS_FORM_NATS, r->ours));
        if (!isnan(r->half_width)) rs_text_printf(&here, " ± %s", rs_show_quantity(b, RS_FORM_NATS, r->half_width));
        cell(out, here.data != NULL ? here.data : "");
        rs_text_deinit(&here);
        word_cell(out, r->says);
        word_cell(out, r->source);
        rs_text_append(out, "</tr>\n");
    }
    end_table(out);
}

void rs_page_comparison_left_out(rs_text *out, const rs_comparison *c) {
    begin_table(out, "Runs that are not compared", "short");
    head_cell(out, "run", true);
    head_cell(out, "model", true);
    head_cell(out, "its own loss, nats", false);
    head_cell(out, "why it is not compared", true);
    rs_text_append(out, "</tr></thead><tbody>\n");
    for (int i = 0; i < c->n_runs; i++) {
        const rs_compared_run *r = &c->runs[i];
        char loss[32];
        if (*r->reason == '\0') continue;
        rs_text_append(out, "<tr>");
        word_cell(out, c->variants[r->variant].label);
        word_cell(out, r->view->model_name);
        cell(out, rs_show_quantity(loss, RS_FORM_NATS, r->view->mean_nll));
        word_cell(out, r->reason);
        rs_text_append(out, "</tr>\n");
    }
    end_table(out);
}

/* --- how it was made --- */

static void write_definitions(rs_text *out, const rs_comparison *c) {
    rs_text_append(out, "<details><summary>What each quantity is</summary>\n<dl>\n");
    for (int i = 0; i < c->n_quantities; i++) {
        const rs_quantity *q = c->quantities[i].quantity;
        rs_text_append(out, "<dt>");
        write_escaped(out, q->label);
        rs_text_append(out, "</dt><dd>");
        write_escaped(out, q->what);
        rs_text_append(out, ".</dd>\n");
    }
    rs_text_append(out, "</dl>\n<p>Kinds of heads, the first rule that fits:</p>\n<dl>\n");
    for (int k = 0; k < RS_HEAD_KINDS; k++) {
        rs_text_append(out, "<dt>");
        write_escaped(out, rs_head_rules[k].name);
        rs_text_append(out, "</dt><dd>");
        write_escaped(out, rs_head_rules[k].rule);
        rs_text_append(out, ".</dd>\n");
    }
    rs_text_append(out, "</dl></details>\n");
}

static void write_statistics(rs_text *out, const rs_comparison *c) {
    rs_text_append(
        out,
        "<p>Spread and intervals: the variance between runs of one variant, s² = Σ (x − mean of its variant)² / Σ "
        "(runs "
        "− 1), is pooled over all variants with repeats, as if seeds spread all of them alike. A difference of means d "
        "has the 95% interval d ± t s √(1/n + 1/n₀), t from Student's distribution");
    int degrees = 0;
    for (int i = 0; i < c->n_quantities; i++)
        if (c->quantities[i].degrees > degrees) degrees = c->quantities[i].degrees;
    if (degrees > 0)
        rs_text_printf(out, " with up to %d degrees of freedom (t = %.3f)", degrees, rs_student_975(degrees));
    rs_text_append(out, "; a variant of one run has the spread of the others. Shares of heads are known to one head "
                        "only (1/√12 of it at least). <em>Differs</em>: the interval leaves out 0. <em>Within</em>: it "
                        "does not. <em>Not tested</em>: no variant has repeats.");
    if (c->n_tests > 0)
        rs_text_printf(out,
                       " %d differences were tested and %d lie beyond their interval; with nothing to find, one in "
                       "twenty would.",
                       c->n_tests, c->n_beyond);
    rs_text_append(out, "</p>\n<p>Losses by position are compared on the same tokens: the interval is that of the mean "
                        "over sequences of the difference, so it speaks of the text, not of seeds.</p>\n<p>Heads are "
                        "compared as a set. Head 3 of one training has nothing to do with head 3 of another: nothing "
                        "ties them.</p>\n");
}

static void write_runs(rs_text *out, const rs_comparison *c) {
    begin_table(out, "Run files", "short files wide");
    head_cell(out, "name", true);
    head_cell(out, "run file", true);
    head_cell(out, "loss, nats", false);
    head_cell(out, "made", true);
    head_cell(out, "by", true);
    rs_text_append(out, "</tr></thead><tbody>\n");
    for (int i = 0; i < c->n_runs; i++) {
        const rs_report_view *v = c->runs[i].view;
        char loss[32];
        rs_text_append(out, "<tr>");
        word_cell(out, c->variants[c->runs[i].variant].label);
        word_cell(out, v->path);
        cell(out, rs_show_quantity(loss, RS_FORM_NATS, v->mean_nll));
        rs_text_append(out, "<td class=\"t\">");
        rs_text_html(out, v->created, strlen(v->created) < 10 ? strlen(v->created) : 10);
        rs_text_append(out, "</td><td class=\"w\"><code>");
        write_escaped(out, v->command_line);
        rs_text_append(out, "</code></td></tr>\n");
    }
    end_table(out);
}

/* The rows of one run. */
static void write_model_files(rs_text *out, const char *label, const rs_json *files) {
    for (size_t i = 0; i < rs_json_size(files); i++) {
        const rs_json *f = rs_json_at(files, i);
        const char *path = rs_json_string(rs_json_get(f, "path"), NULL),
                   *hash = rs_json_string(rs_json_get(f, "sha256"), NULL);
        rs_text_append(out, "<tr>");
        word_cell(out, label);
        word_cell(out, path != NULL ? path : "?");
        rs_text_append(out, "<td class=\"w\"><code>");
        write_escaped(out, hash != NULL ? hash : "unknown");
        rs_text_append(out, "</code></td></tr>\n");
    }
}

static void write_models(rs_text *out, const rs_comparison *c) {
    rs_text_append(out, "<details><summary>Files of the models and their SHA-256</summary>\n");
    begin_table(out, "Files of the models", "short files wide");
    head_cell(out, "name", true);
    head_cell(out, "file", true);
    head_cell(out, "SHA-256", true);
    rs_text_append(out, "</tr></thead><tbody>\n");
    for (int i = 0; i < c->n_runs; i++)
        write_model_files(out, c->variants[c->runs[i].variant].label, c->runs[i].view->model_files);
    end_table(out);
    rs_text_append(out, "</details>\n");
}

void rs_page_comparison_made(rs_text *out, const rs_comparison *c) {
    write_statistics(out, c);
    write_definitions(out, c);
    write_runs(out, c);
    write_models(out, c);
    rs_text_append(out, "<p>Everything about one run: <code>ropescope report RUN.h5 -o run.html</code>.</p>\n");
}
