/* The page's table of what was tried on the model: ablations of all heads, then of those that were chosen, beside their
 * random controls; of a task also how many tokens of the answers came right. */
#include "reports/render.h"
#include "reports/show.h"

#include <math.h>
#include <string.h>

/* Experiments that a table tells better than a curve, in its order. */
static const char *const shown[] = {"verdict", "utility", "p-rope", "ends"};

static void write_signed(rs_text *out, double x, int digits) {
    if (isnan(x)) rs_text_append(out, "\xe2\x80\x93");
    else rs_text_printf(out, "%s%.*f", x <= -0.5 * pow(10, -digits) ? "\xe2\x88\x92" : "+", digits, fabs(x));
}

static void write_range(rs_text *out, double from, double to, int digits) {
    rs_text_append(out, "<td class=\"range\">");
    if (isfinite(from) && isfinite(to)) {
        rs_text_append(out, "(");
        write_signed(out, from, digits);
        rs_text_append(out, " to ");
        write_signed(out, to, digits);
        rs_text_append(out, ")");
    }
    rs_text_append(out, "</td>");
}

/* What changes, as columns: of a text its loss, of a task the right tokens of its answers too. */
typedef struct kind_of_change {
    const char *what;
    int digits, digits_of_task;
    double scale;
    bool of_task;
    rs_view_change (*of)(const rs_view_ablation *);
} kind_of_change;
static rs_view_change loss_of(const rs_view_ablation *a) { return a->loss; }
static rs_view_change accuracy_of(const rs_view_ablation *a) { return a->accuracy; }
static const kind_of_change changes[] = {
    {"right tokens, points", 1, 1, 100.0, true, accuracy_of},
    {"loss, nats", 4, 2, 1.0, false, loss_of},
};
enum { CHANGES = sizeof changes / sizeof *changes };

static bool of_task(const rs_report_view *v) { return v->task[0] != '\0'; }
static bool has_columns(const rs_report_view *v, int change) { return of_task(v) || !changes[change].of_task; }

static void write_change(rs_text *out, const kind_of_change *kind, const rs_view_change *x, int digits) {
    rs_text_append(out, "<td><strong>");
    write_signed(out, kind->scale * x->delta, digits);
    rs_text_append(out, "</strong></td>");
    write_range(out, kind->scale * x->lo, kind->scale * x->hi, digits);
    rs_text_append(out, "<td>");
    write_signed(out, kind->scale * x->control, digits);
    rs_text_append(out, "</td>");
    write_range(out, kind->scale * x->least, kind->scale * x->most, digits);
}

static void write_row(rs_text *out, const rs_report_view *v, const rs_view_ablation *a) {
    char n[RS_SHOW_BYTES];
    rs_text_append(out, "<tr><td class=\"t w\">");
    rs_text_html(out, a->what, strlen(a->what));
    rs_text_append(out, "</td><td class=\"t\">");
    rs_text_html(out, a->how, strlen(a->how));
    rs_text_append(out, "</td><td>");
    rs_write_html_text(out, rs_show_count(n, a->pairs));
    rs_text_append(out, "</td>");
    for (int c = 0; c < CHANGES; c++) {
        rs_view_change x = changes[c].of(a);
        if (has_columns(v, c))
            write_change(out, &changes[c], &x, of_task(v) ? changes[c].digits_of_task : changes[c].digits);
    }
    rs_text_append(out, "</tr>\n");
}

static void write_head(rs_text *out, const rs_report_view *v) {
    rs_text_append(out, "<div class=\"box\" tabindex=\"0\" role=\"region\" aria-label=\"Ablations\"><table "
                        "class=\"tried\"><thead><tr><th scope=\"col\" class=\"t\">edited</th><th scope=\"col\" "
                        "class=\"t\">how</th><th scope=\"col\">pairs</th>");
    for (int c = 0; c < CHANGES; c++)
        if (has_columns(v, c))
            rs_text_printf(out,
                           "<th scope=\"col\" colspan=\"2\" class=\"t\">%s (95%%)</th><th scope=\"col\" "
                           "colspan=\"2\" class=\"t\">random (range)</th>",
                           changes[c].what);
    rs_text_append(out, "</tr></thead>\n");
}

/* ---- groups of heads ---- */

static void write_group(rs_text *out, const rs_report_view *v, const char *where) {
    int columns = 3;
    for (int c = 0; c < CHANGES; c++) columns += has_columns(v, c) ? 4 : 0;
    rs_text_printf(out, "<tbody><tr><th scope=\"rowgroup\" colspan=\"%d\" class=\"t group\">", columns);
    rs_text_html(out, where, strlen(where));
    rs_text_append(out, "</th></tr>\n");
}

static bool belongs(const rs_view_ablation *a, size_t kind, const char *heads) {
    return strcmp(a->experiment, shown[kind]) == 0 && a->layer < 0 && a->pairs > 0 && strcmp(a->heads, heads) == 0;
}

/* Has the table a row of these heads? */
static bool any_shown(const rs_report_view *v, const char *heads) {
    for (int64_t i = 0; i < v->n_ablations; i++)
        for (size_t k = 0; k < sizeof shown / sizeof *shown; k++)
            if (belongs(&v->ablations[i], k, heads)) return true;
    return false;
}

static bool first_of_its_heads(const rs_report_view *v, int64_t row) {
    for (int64_t i = 0; i < row; i++)
        if (strcmp(v->ablations[i].heads, v->ablations[row].heads) == 0) return false;
    return true;
}

static void write_rows(rs_text *out, const rs_report_view *v, const rs_view_ablation *first) {
    write_group(out, v, first->where);
    for (size_t k = 0; k < sizeof shown / sizeof *shown; k++)
        for (int64_t i = 0; i < v->n_ablations; i++)
            if (belongs(&v->ablations[i], k, first->heads)) write_row(out, v, &v->ablations[i]);
    rs_text_append(out, "</tbody>\n");
}

void rs_page_tried(rs_text *out, const rs_report_view *v) {
    bool any = false;
    for (int64_t i = 0; i < v->n_ablations; i++) {
        if (!first_of_its_heads(v, i) || !any_shown(v, v->ablations[i].heads)) continue;
        if (!any && of_task(v))
            rs_text_append(out, "<p>This is the run of a task: the tokens of the answers alone are scored.</p>\n");
        if (!any) write_head(out, v);
        any = true;
        write_rows(out, v, &v->ablations[i]);
    }
    if (any) rs_text_append(out, "</table></div>\n");
}
