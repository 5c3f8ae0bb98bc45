/* What was tried on the model, for the terminal: a part for every experiment, edit and group of heads, its rows beside
 * their random controls. Plain ASCII. */
#include "reports/render.h"
#include "reports/show.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { RANGE_BYTES = 48, PERCENT = 100 };

static const char *range(char out[RANGE_BYTES], double lo, double hi, int digits, double scale) {
    if (isnan(lo) || isnan(hi)) return "";
    snprintf(out, RANGE_BYTES, "(%+.*f to %+.*f)", digits, scale * lo, digits, scale * hi);
    return out;
}

static void write_number(rs_text *out, double x, int width, int digits, double scale) {
    if (isnan(x)) rs_text_printf(out, "  %*s", width, "-");
    else rs_text_printf(out, "  %+*.*f", width, digits, scale * x);
}

/* The change, its interval; the random controls and their range. */
static void write_change(rs_text *out, const rs_view_change *x, int digits, double scale) {
    char own[RANGE_BYTES], random[RANGE_BYTES];
    write_number(out, x->delta, digits + 4, digits, scale);
    rs_text_printf(out, " %-20s", range(own, x->lo, x->hi, digits, scale));
    write_number(out, x->control, digits + 4, digits, scale);
    rs_text_printf(out, " %-20s", range(random, x->least, x->most, digits, scale));
}

static void write_row(rs_text *out, const rs_report_view *v, const rs_view_ablation *a) {
    char n[RS_SHOW_BYTES];
    rs_text what = {0};
    rs_write_plain(&what, a->what);
    rs_text_printf(out, "  %-36s %9s", what.data != NULL ? what.data : "", rs_show_count(n, a->pairs));
    if (v->task[0] != '\0') write_change(out, &a->accuracy, 1, PERCENT);
    write_change(out, &a->loss, 4, 1.0);
    while (out->bytes > 0 && out->data[out->bytes - 1] == ' ') out->data[--out->bytes] = '\0';
    rs_text_append(out, "\n");
    if (what.failed) out->failed = true;
    rs_text_deinit(&what);
}

static void write_head(rs_text *out, const rs_report_view *v, const rs_view_ablation *a) {
    rs_text_printf(out, "\n%s, ", a->experiment);
    rs_write_plain(out, a->how);
    rs_text_append(out, ", ");
    rs_write_plain(out, a->where);
    rs_text_printf(out, "\n  %-36s %9s", "", "pairs");
    if (v->task[0] != '\0') rs_text_printf(out, "  %-26s  %-26s", "right tokens, %", "random pairs");
    rs_text_printf(out, "  %-29s  %s\n", "loss, nats", "random pairs");
}

static bool together(const rs_view_ablation *a, const rs_view_ablation *b) {
    return strcmp(a->experiment, b->experiment) == 0 && strcmp(a->mode, b->mode) == 0 &&
           strcmp(a->heads, b->heads) == 0;
}

void rs_write_tried(rs_text *out, const rs_report_view *v) {
    if (v->n_ablations == 0) {
        rs_text_append(out, "nothing was tried\n");
        return;
    }
    rs_text_printf(out,
                   "With the edit less without it, on the same %lld sequences%s; in brackets the 95 %% interval over "
                   "them.\nBeside it as many random pairs of the same heads: their median and range.\n",
                   (long long)v->ablation_sequences, v->task[0] != '\0' ? ", of which the answers are scored" : "");
    for (int64_t i = 0; i < v->n_ablations; i++) {
        if (i == 0 || !together(&v->ablations[i - 1], &v->ablations[i])) write_head(out, v, &v->ablations[i]);
        write_row(out, v, &v->ablations[i]);
    }
}
