/* The terminal form: at most 60 lines, plain ASCII, as wide as the terminal. */
#include "reports/measures.h"
#include "reports/render.h"
#include "reports/show.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LEAST_COLUMNS = 60, USUAL_COLUMNS = 80, STRONGEST = 4 };

/* Names from the file are untrusted: control bytes could move the cursor. Anything but printable ASCII and valid UTF-8
 * becomes '?'. */
void rs_write_plain(rs_text *out, const char *s) {
    for (size_t n = strlen(s), i = 0; i < n;) {
        size_t length = rs_utf8_length(s + i, n - i);
        unsigned char c = (unsigned char)s[i];
        bool control = c < 0x20 || c == 0x7f || (length == 2 && c == 0xc2 && (unsigned char)s[i + 1] < 0xa0);
        if (length == 0 || control) rs_text_append(out, "?");
        else rs_text_append_n(out, s + i, length);
        i += length > 0 ? length : 1;
    }
}

/* Words of s broken into lines of at most `columns`, each led by `lead` spaces; the first line continues at column
 * `at`. */
void rs_write_wrapped(rs_text *out, const char *s, int lead, int columns) {
    rs_text plain = {0};
    rs_write_plain(&plain, s);
    int at = lead;
    const char *p = plain.data != NULL ? plain.data : "";
    rs_text_printf(out, "%*s", lead, "");
    while (*p != '\0') {
        size_t n = strcspn(p, " ");
        if (at > lead && at + 1 + (int)n > columns) {
            rs_text_printf(out, "\n%*s", lead, "");
            at = lead;
        } else if (at > lead) {
            rs_text_append(out, " ");
            at++;
        }
        rs_text_append_n(out, p, n);
        at += (int)n;
        p += n;
        while (*p == ' ') p++;
    }
    rs_text_append(out, "\n");
    if (plain.failed) out->failed = true;
    rs_text_deinit(&plain);
}

static void write_head(rs_text *out, const rs_report_view *v, int columns) {
    char parameters[RS_SHOW_BYTES], context[RS_SHOW_BYTES], trained[RS_SHOW_BYTES], tokens[RS_SHOW_BYTES],
        sequences[RS_SHOW_BYTES];
    rs_text line = {0};
    rs_text_printf(&line, "%s: %s, %s parameters, %d layers x %d heads (%d key)", v->model_name, v->family,
                   rs_show_parameters(parameters, (double)v->parameters), v->n_layers, v->n_heads, v->n_kv_heads);
    rs_write_wrapped(out, line.data != NULL ? line.data : "", 0, columns);
    rs_text_deinit(&line);
    line = (rs_text){0};
    rs_text_append(&line, v->rope_words);
    if (v->trained_context > 0 && strstr(v->rope_words, "trained context") == NULL)
        rs_text_printf(&line, "; trained context %s", rs_show_count(trained, v->trained_context));
    rs_write_wrapped(out, line.data != NULL ? line.data : "", 0, columns);
    rs_text_deinit(&line);
    rs_text_printf(out, "%s sequences of %s tokens, %s scored", rs_show_count(sequences, v->sequences),
                   rs_show_count(context, v->context), rs_show_count(tokens, v->tokens));
    if (!isnan(v->mean_nll)) rs_text_printf(out, ": loss %.3f nats, perplexity %.4g", v->mean_nll, v->perplexity);
    rs_text_append(out, "\n");
}

void rs_write_spark(rs_text *out, const double *x, int n, double top, int room) {
    static const char shades[] = " .:-=+*#%@";
    int each = (n + room - 1) / room;
    rs_text_append(out, "|");
    for (int p = 0; p < n; p += each) {
        double sum = 0.0;
        int used = 0;
        for (int i = p; i < p + each && i < n; i++) sum += x[i], used++;
        double shade = top > 0.0 ? fmin(1.0, sum / used / top) : NAN;
        rs_text_append_n(out, isfinite(shade) ? &shades[(int)(shade * 9.0 + 0.5)] : "?", 1);
    }
    rs_text_append(out, "|");
}

/* Mean over heads by pair of the main rope, as one line. */
static void write_spark(rs_text *out, const char *name, const rs_array *a, int rope, int pairs, int room) {
    double top = 0.0;
    if (a == NULL) return;
    const double *x = a->data + (int64_t)rope * a->dims[1] * a->dims[2]; /* [pairs], statistic 0: the mean */
    for (int p = 0; p < pairs; p++) top = fmax(top, x[p]);
    rs_text_printf(out, "  %-6s ", name);
    rs_write_spark(out, x, pairs, top, room);
    rs_text_append(out, "\n");
}

static void write_norm(rs_text *out, const rs_report_view *v, int columns) {
    const rs_view_rope *r = &v->ropes[v->main_rope];
    const rs_array *values = rs_view_array(v, "by_frequency/v_share");
    char layers[48];
    if (rs_view_array(v, "by_frequency/q_share") == NULL && rs_view_array(v, "by_frequency/k_share") == NULL) return;
    rs_text_printf(out, "\nWhere the norm sits: %s",
                   r->rotated > 0 ? "pairs from fastest to slowest" : "component pairs (nothing rotates)");
    if (r->n_layers < v->n_layers)
        rs_text_printf(out, ", layers %s", rs_show_ranges(layers, sizeof layers, r->layers, r->n_layers));
    rs_text_append(out, "\n");
    write_spark(out, "query", rs_view_array(v, "by_frequency/q_share"), v->main_rope, r->pairs, columns - 12);
    write_spark(out, "key", rs_view_array(v, "by_frequency/k_share"), v->main_rope, r->pairs, columns - 12);
    if (values != NULL) write_spark(out, "value", values, v->main_rope, (int)values->dims[2], columns - 12);
}

static void write_band(rs_text *out, const rs_view_band *b) {
    char pairs[24], wave[2 * RS_SHOW_BYTES + 4], a[RS_SHOW_BYTES], c[RS_SHOW_BYTES];
    rs_text t = {0};
    rs_text_printf(&t, b->first == b->last ? "%d" : "%d-%d", b->first, b->last);
    memcpy(pairs, t.data != NULL ? t.data : "", t.bytes < sizeof pairs ? t.bytes + 1 : 1);
    rs_text_deinit(&t);
    if (isnan(b->shortest)) memcpy(wave, "not rotated", sizeof "not rotated");
    else {
        rs_show_number(wave, b->shortest);
        if (b->first != b->last) {
            size_t n = strlen(wave);
            memcpy(wave + n, " - ", 4);
            rs_show_number(wave + n + 3, b->longest);
        }
    }
    rs_text_printf(out, "  %-9s %-19s", pairs, wave);
    const double shares[] = {b->q_share, b->k_share, b->v_share};
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++)
        rs_text_printf(out, " %6s", rs_show_percent(a, shares[i]));
    rs_text_printf(out, " %11s %11s\n", isnan(b->shortest) ? "-" : rs_show_percent(a, b->unrotate_cost),
                   rs_show_percent(c, b->zero_cost));
}

static void write_bands(rs_text *out, const rs_report_view *v) {
    bool measured = rs_view_array(v, "frequency_norm/k_share") != NULL || rs_view_array(v, "moments/zero_cost") != NULL;
    if (v->n_bands == 0 || !measured) return;
    rs_text_printf(out, "  %-9s %-19s %6s %6s %6s %11s %11s\n", "pairs", "wavelength, tokens", "q", "k", "v",
                   "un-rotate", "zero");
    for (int i = 0; i < v->n_bands; i++) write_band(out, &v->bands[i]);
    rs_text_append(out, "  q, k, v: share of the norm; costs: median change of a head's logits when one\n"
                        "  such pair is edited, of their variance\n");
}

/* What the pairs of each band are for, when that was measured. */
static void write_purpose(rs_text *out, const rs_report_view *v) {
    static const rs_verdict order[] = {RS_VERDICT_POSITIONAL, RS_VERDICT_SEMANTIC, RS_VERDICT_BIAS, RS_VERDICT_IDLE,
                                       RS_VERDICT_UNDECIDED};
    char cell[RS_SHOW_BYTES], pairs[32];
    if (v->verdict_pairs == 0 || v->n_bands == 0) return;
    rs_text_append(out, "\nWhat the pairs are for: share of heads\n  pairs    ");
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) rs_text_printf(out, " %11s", rs_verdict_name(order[i]));
    rs_text_append(out, "\n");
    for (int b = 0; b < v->n_bands; b++) {
        snprintf(pairs, sizeof pairs, v->bands[b].first == v->bands[b].last ? "%d" : "%d-%d", v->bands[b].first,
                 v->bands[b].last);
        rs_text_printf(out, "  %-9s", pairs);
        for (size_t i = 0; i < sizeof order / sizeof *order; i++)
            rs_text_printf(out, " %11s",
                           v->bands[b].verdict[order[i]] > 0.0 ? rs_show_percent(cell, v->bands[b].verdict[order[i]])
                                                               : "-");
        rs_text_append(out, "\n");
    }
}

static double head_value(const rs_view_head *h, rs_head_kind kind) {
    return *(const double *)(const void *)((const char *)h + rs_head_rules[kind].offset);
}

/* The strongest heads of a kind, by its measure; ties keep the order of layers. */
static void write_strongest(rs_text *out, const rs_report_view *v, rs_head_kind kind) {
    const rs_view_head *best[STRONGEST] = {NULL};
    for (int64_t i = 0; i < v->n_head_rows; i++) {
        const rs_view_head *h = &v->heads[i];
        if (h->kind != kind) continue;
        for (int k = 0; k < STRONGEST; k++) {
            if (best[k] != NULL && !(head_value(h, kind) > head_value(best[k], kind))) continue;
            memmove(best + k + 1, best + k, sizeof *best * (size_t)(STRONGEST - 1 - k));
            best[k] = h;
            break;
        }
    }
    for (int k = 0; k < STRONGEST && best[k] != NULL; k++)
        rs_text_printf(out, "  l%dh%d %.2f", best[k]->layer, best[k]->head, head_value(best[k], kind));
}

static void write_kinds(rs_text *out, const rs_report_view *v) {
    if (rs_view_array(v, "head_kinds/count") == NULL) return;
    rs_text_append(out, "\nHeads by what they mostly attend to, and the strongest of each kind\n");
    for (int k = 0; k < RS_HEAD_KINDS; k++) {
        if (v->head_kind_count[k] == 0) continue;
        rs_text_printf(out, "  %-19s %5d ", rs_head_rules[k].name, v->head_kind_count[k]);
        /* "diffuse" and "none of these" have no score between 0 and 1 to rank by. */
        if (k < RS_HEAD_DIFFUSE) write_strongest(out, v, (rs_head_kind)k);
        rs_text_append(out, "\n");
    }
}

static void write_findings(rs_text *out, const rs_report_view *v, int columns) {
    if (v->n_findings > 0) rs_text_append(out, "\n");
    for (int i = 0; i < v->n_findings; i++) {
        /* The table of heads above already says it. */
        if (strcmp(v->findings[i].key, "heads") != 0) rs_write_wrapped(out, v->findings[i].text, 0, columns);
    }
}

/* Warnings, the first three: the page has them all. */
static void write_warnings(rs_text *out, const rs_report_view *v, int columns) {
    const char *p = v->warnings;
    for (int i = 0; *p != '\0' && i < 3; i++) {
        size_t n = strcspn(p, "\n");
        rs_text line = {0};
        rs_text_append(&line, "warning: ");
        rs_text_append_n(&line, p, n);
        rs_write_wrapped(out, line.data != NULL ? line.data : "", 0, columns);
        rs_text_deinit(&line);
        p += n + (p[n] == '\n');
    }
}

int rs_text_columns(const rs_report_options *o) {
    return o->columns == 0 ? USUAL_COLUMNS : o->columns < LEAST_COLUMNS ? LEAST_COLUMNS : o->columns;
}

rs_status rs_render_text(const rs_report_view *v, const rs_report_options *o, rs_text *out, rs_error *err) {
    int columns = rs_text_columns(o);
    write_head(out, v, columns);
    write_warnings(out, v, columns);
    if (v->control_seed > 0)
        rs_text_printf(out, "A control, not the model: rows of query and key projections in random order (seed %lld)\n",
                       (long long)v->control_seed);
    write_norm(out, v, columns);
    write_bands(out, v);
    write_purpose(out, v);
    write_kinds(out, v);
    write_findings(out, v, columns);
    rs_text missing = {0};
    rs_page_missing(&missing, v);
    if (missing.bytes > 0) {
        rs_text_append(out, "\n");
        rs_write_wrapped(out, missing.data, 0, columns);
    }
    rs_text_deinit(&missing);
    rs_text_append(out, "\nnext: ropescope report ");
    rs_write_plain(out, v->path);
    rs_text_append(out, " -o report.html\n");
    return rs_text_status(out, err);
}
