/* A run beside its control: every quantity that both have. */
#include "reports/quantities.h"
#include "reports/render.h"

#include <math.h>
#include <string.h>

static bool both(const rs_report_view *v, const rs_quantity *q) {
    return isfinite(q->of(v, q->argument)) && isfinite(q->of(v->control, q->argument));
}

static void write_escaped(rs_text *out, const char *s) { rs_text_html(out, s, strlen(s)); }

void rs_page_control(rs_text *out, const rs_report_view *v) {
    char here[32], there[32];
    if (v->control == NULL) return;
    rs_text_append(out,
                   "<div class=\"box\" tabindex=\"0\" role=\"region\" aria-label=\"The run and its control\"><table "
                   "class=\"short beside\"><thead><tr><th scope=\"col\" class=\"t\">measure</th><th scope=\"col\">the "
                   "model</th><th scope=\"col\">its control</th></tr></thead><tbody>\n");
    for (size_t i = 0; i < rs_quantities_count; i++) {
        const rs_quantity *q = &rs_quantities[i];
        if (!both(v, q)) continue;
        rs_text_append(out, "<tr><th scope=\"row\" class=\"t\" title=\"");
        write_escaped(out, q->what);
        rs_text_append(out, "\">");
        write_escaped(out, q->label);
        if (*q->unit != '\0') rs_text_printf(out, ", <small>%s</small>", q->unit);
        rs_text_printf(out, "</th><td>%s</td><td>%s</td></tr>\n",
                       rs_show_quantity(here, q->form, q->of(v, q->argument)),
                       rs_show_quantity(there, q->form, q->of(v->control, q->argument)));
    }
    rs_text_append(out, "</tbody></table></div>\n");
}

void rs_write_json_control(rs_text *out, const rs_report_view *v) {
    bool behind = false;
    rs_text_append(out, "\"control\":");
    if (v->control == NULL) {
        rs_text_append(out, "null");
        return;
    }
    rs_text_append(out, "{\"path\":");
    rs_write_json_text(out, v->control->path);
    rs_text_printf(out, ",\"seed\":%lld,\"quantities\":[", (long long)v->control->control_seed);
    for (size_t i = 0; i < rs_quantities_count; i++) {
        const rs_quantity *q = &rs_quantities[i];
        if (!both(v, q)) continue;
        rs_text_printf(out, "%s\n{\"key\":\"%s\",\"model\":", behind ? "," : "", q->key);
        rs_write_json_number(out, q->of(v, q->argument));
        rs_text_append(out, ",\"control\":");
        rs_write_json_number(out, q->of(v->control, q->argument));
        rs_text_append(out, "}");
        behind = true;
    }
    rs_text_append(out, "]}");
}
