/* The page's table of what was tried on the model: ablations of all heads, beside their random controls. */
#include "reports/render.h"
#include "reports/show.h"

#include <math.h>
#include <string.h>

/* Experiments that a table tells better than a curve, in its order, and what an amount means. */
static const struct {
    const char *experiment, *words;
} shown[] = {
    {"verdict", "pairs called %s"},
    {"p-rope", "slowest %s of the pairs (p-RoPE)"},
    {"ends", "%s dimensions of the head"},
};

static const struct {
    const char *mode, *words;
} edits[] = {{"zero", "removed"}, {"unrotate", "no longer rotated"}, {"scale", "scaled"}};

static const char *edit_words(const char *mode) {
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++)
        if (strcmp(edits[i].mode, mode) == 0) return edits[i].words;
    return mode;
}

static void write_what(rs_text *out, size_t kind, const rs_view_ablation *a) {
    char amount[64], number[RS_SHOW_BYTES];
    rs_text words = {0};
    if (a->amount_name[0] != '\0') rs_text_printf(&words, "%s", a->amount_name);
    else if (strcmp(a->experiment, "p-rope") == 0) rs_text_append(&words, rs_show_percent(number, 1.0 - a->amount));
    else
        rs_text_printf(&words, "%s %g", strcmp(a->ranking, "low") == 0 ? "first (fastest)" : "last (slowest)",
                       a->amount);
    size_t n = words.bytes < sizeof amount ? words.bytes : sizeof amount - 1;
    memcpy(amount, words.data != NULL ? words.data : "", n);
    amount[n] = '\0';
    rs_text_deinit(&words);
    const char *before = shown[kind].words, *at = strstr(before, "%s");
    rs_text_append(out, "<td class=\"t w\">");
    rs_text_html(out, before, (size_t)(at - before));
    rs_text_html(out, amount, strlen(amount));
    rs_text_html(out, at + 2, strlen(at + 2));
    rs_text_append(out, "</td>");
}

static void write_signed(rs_text *out, double x) {
    if (isnan(x)) rs_text_append(out, "\xe2\x80\x93");
    else rs_text_printf(out, "%s%.4f", x <= -0.00005 ? "\xe2\x88\x92" : "+", fabs(x));
}

static void write_range(rs_text *out, double from, double to) {
    rs_text_append(out, "<td>");
    if (isfinite(from) && isfinite(to)) {
        write_signed(out, from);
        rs_text_append(out, " to ");
        write_signed(out, to);
    } else rs_text_append(out, "\xe2\x80\x93");
    rs_text_append(out, "</td>");
}

static void write_row(rs_text *out, size_t kind, const rs_view_ablation *a) {
    char n[RS_SHOW_BYTES];
    rs_text_append(out, "<tr>");
    write_what(out, kind, a);
    rs_text_append(out, "<td class=\"t\">");
    rs_text_html(out, edit_words(a->mode), strlen(edit_words(a->mode)));
    rs_text_append(out, "</td><td>");
    rs_write_html_text(out, rs_show_count(n, a->pairs));
    rs_text_append(out, "</td><td><strong>");
    write_signed(out, a->delta);
    rs_text_append(out, "</strong></td>");
    write_range(out, a->lo, a->hi);
    rs_text_append(out, "<td>");
    write_signed(out, a->control);
    rs_text_append(out, "</td>");
    write_range(out, a->least, a->most);
    rs_text_append(out, "</tr>\n");
}

static bool belongs(const rs_view_ablation *a, size_t kind) {
    return strcmp(a->experiment, shown[kind].experiment) == 0 && a->layer < 0 && a->heads[0] == '\0' && a->pairs > 0;
}

void rs_page_tried(rs_text *out, const rs_report_view *v) {
    bool any = false;
    for (size_t k = 0; k < sizeof shown / sizeof *shown; k++) {
        for (int64_t i = 0; i < v->n_ablations; i++) {
            if (!belongs(&v->ablations[i], k)) continue;
            if (!any)
                rs_text_append(out, "<div class=\"box\" tabindex=\"0\" role=\"region\" aria-label=\"Ablations\"><table "
                                    "class=\"tried\"><thead><tr><th scope=\"col\" class=\"t\">edited in every head</th>"
                                    "<th scope=\"col\" class=\"t\">how</th><th scope=\"col\">pairs</th><th "
                                    "scope=\"col\">loss, nats</th><th scope=\"col\">95% interval</th><th "
                                    "scope=\"col\">random pairs</th><th scope=\"col\">their range</th></tr></thead>"
                                    "<tbody>\n");
            any = true;
            write_row(out, k, &v->ablations[i]);
        }
    }
    if (any) rs_text_append(out, "</tbody></table></div>\n");
}
