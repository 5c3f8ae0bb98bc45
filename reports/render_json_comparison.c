/* A comparison as JSON: what `--format json` prints and what the page carries. */
#include "reports/measures.h"
#include "reports/render.h"

#include <math.h>
#include <string.h>

static void member(rs_text *out, const char *name) {
    char last = out->bytes > 0 ? out->data[out->bytes - 1] : '{';
    rs_text_printf(out, "%s\"%s\":", last == '{' ? "" : ",", name);
}

static void member_text(rs_text *out, const char *name, const char *s) {
    member(out, name);
    rs_write_json_text(out, s);
}

static void member_number(rs_text *out, const char *name, double x) {
    member(out, name);
    rs_write_json_number(out, x);
}

/* n numbers, or null where there is no array. */
static void member_numbers(rs_text *out, const char *name, const double *x, int64_t n) {
    member(out, name);
    if (x == NULL) {
        rs_text_append(out, "null");
        return;
    }
    rs_text_append(out, "[");
    for (int64_t i = 0; i < n; i++) {
        rs_text_append(out, i ? "," : "");
        if (isfinite(x[i])) rs_text_printf(out, "%.9g", x[i]);
        else rs_text_append(out, "null");
    }
    rs_text_append(out, "]");
}

static void member_ints(rs_text *out, const char *name, const int *x, int n) {
    member(out, name);
    if (x == NULL) {
        rs_text_append(out, "null");
        return;
    }
    rs_text_append(out, "[");
    for (int i = 0; i < n; i++) rs_text_printf(out, i ? ",%d" : "%d", x[i]);
    rs_text_append(out, "]");
}

/* --- variants --- */

static void write_cache(rs_text *out, const rs_report_view *v) {
    int64_t contexts = rs_view_array(v, "axis/cache_context")->dims[0];
    rs_text_append(out, ",\"cache_bytes\":[");
    for (int64_t i = 0; i < contexts; i++) rs_text_printf(out, i ? ",%.0f" : "%.0f", rs_view_cache_bytes(v, i));
    rs_text_append(out, "]");
}

static void write_variant(rs_text *out, const rs_comparison *c, const rs_variant *x) {
    int64_t cells = (int64_t)x->layers * x->pairs;
    rs_text_append(out, "{");
    member_text(out, "label", x->label);
    member_text(out, "encoding", rs_encoding_names[x->encoding]);
    member_number(out, "fraction", x->fraction);
    member(out, "rope");
    rs_write_json_rope(out, &x->view->ropes[x->view->main_rope]);
    member_ints(out, "runs", x->runs, x->n_runs);
    member_number(out, "n_compared", x->n_compared);
    member_ints(out, "aligned", x->aligned, c->variants[0].pairs);
    member_number(out, "layers", x->layers);
    member_number(out, "heads", x->view->n_heads);
    member_number(out, "pairs", x->pairs);
    member_numbers(out, "q_share", x->q_share, x->pairs);
    member_numbers(out, "k_share", x->k_share, x->pairs);
    member_numbers(out, "v_share", x->v_share, x->pairs);
    member_numbers(out, "q_map", x->q_map, cells);
    member_numbers(out, "k_map", x->k_map, cells);
    write_cache(out, x->view);
    rs_text_append(out, "}");
}

/* --- runs --- */

static void write_run_shares(rs_text *out, const char *name, const rs_report_view *v, const char *array) {
    int64_t pairs;
    const double *means = rs_view_main_means(v, array, &pairs);
    member_numbers(out, name, means, pairs);
}

static void write_loss(rs_text *out, const rs_report_view *v) {
    const rs_array *a = rs_view_array(v, "loss/by_position");
    rs_text_append(out, ",\"loss_by_position\":[");
    for (int64_t b = 0; a != NULL && b < a->dims[0]; b++) {
        rs_text_append(out, b ? ",[" : "[");
        for (int64_t f = 0; f < a->dims[1]; f++) {
            rs_text_append(out, f ? "," : "");
            rs_write_json_number(out, rs_view_cell(a, b, f, 0));
        }
        rs_text_append(out, "]");
    }
    rs_text_append(out, "]");
}

static void write_run(rs_text *out, const rs_compared_run *r) {
    const rs_report_view *v = r->view;
    rs_text_append(out, "{");
    member_number(out, "variant", r->variant);
    member_text(out, "path", v->path);
    member_text(out, "model_name", v->model_name);
    member_text(out, "model_path", v->model_path);
    member_text(out, "command_line", v->command_line);
    member_text(out, "created", v->created);
    member_text(out, "ids_sha256", v->ids_sha256);
    member_text(out, "reason", r->reason);
    member_number(out, "mean_nll", v->mean_nll);
    write_run_shares(out, "q_share", v, "by_frequency/q_share");
    write_run_shares(out, "k_share", v, "by_frequency/k_share");
    member_ints(out, "kinds", v->head_kind_count, RS_HEAD_KINDS);
    rs_text_append(out, ",");
    rs_write_json_heads(out, v);
    write_loss(out, v);
    rs_text_append(out, "}");
}

/* --- tables --- */

static void write_facts(rs_text *out, const rs_comparison *c) {
    rs_text_append(out, ",\n\"facts\":[");
    for (int i = 0; i < c->n_facts; i++) {
        const rs_compared_fact *f = &c->facts[i];
        rs_text_append(out, i ? ",{" : "{");
        member_text(out, "key", f->key);
        member_text(out, "label", f->label);
        member(out, "equal");
        rs_text_append(out, f->equal ? "true" : "false");
        member(out, "values");
        for (int v = 0; v < c->n_variants; v++) {
            rs_text_append(out, v ? "," : "[");
            rs_write_json_text(out, f->values[v]);
        }
        rs_text_append(out, "]}");
    }
    rs_text_append(out, "]");
}

static void write_estimate(rs_text *out, const rs_estimate *e, int n) {
    rs_text_append(out, "{");
    member_numbers(out, "runs", e->runs, n);
    member_number(out, "mean", e->mean);
    member_number(out, "low", e->low);
    member_number(out, "high", e->high);
    member_number(out, "difference", e->difference);
    member_number(out, "half_width", e->half_width);
    member_number(out, "text_half_width", e->text_half_width);
    member_text(out, "verdict", rs_verdict_names[e->verdict]);
    rs_text_append(out, "}");
}

static void write_quantities(rs_text *out, const rs_comparison *c) {
    static const char *const forms[RS_FORM_FORMS] = {
        [RS_FORM_NATS] = "nats", [RS_FORM_PERCENT] = "percent", [RS_FORM_NUMBER] = "number", [RS_FORM_TIMES] = "times"};
    rs_text_append(out, ",\n\"quantities\":[");
    for (int i = 0; i < c->n_quantities; i++) {
        const rs_compared_quantity *x = &c->quantities[i];
        rs_text_append(out, i ? ",\n{" : "\n{");
        member_text(out, "key", x->quantity->key);
        member_text(out, "label", x->quantity->label);
        member_text(out, "group", x->quantity->group);
        member_text(out, "unit", x->quantity->unit);
        member_text(out, "what", x->quantity->what);
        member_text(out, "form", forms[x->quantity->form]);
        member_number(out, "spread", x->spread);
        member_number(out, "degrees", x->degrees);
        member(out, "values");
        for (int v = 0; v < c->n_variants; v++) {
            rs_text_append(out, v ? "," : "[");
            write_estimate(out, &x->values[v], c->variants[v].n_compared);
        }
        rs_text_append(out, "]}");
    }
    rs_text_append(out, "]");
}

static void write_loss_differences(rs_text *out, const rs_comparison *c) {
    rs_text_append(out, ",\n\"loss_differences\":[");
    for (int v = 0; v < c->n_variants; v++) {
        const rs_loss_difference *d = c->loss_differences[v];
        rs_text_append(out, v ? "," : "");
        rs_text_append(out, d != NULL ? "[" : "null");
        for (int b = 0; d != NULL && b < c->n_loss_buckets; b++) {
            rs_text_printf(out, "%s[%lld,%lld,", b ? "," : "", (long long)d[b].first, (long long)d[b].last);
            rs_write_json_number(out, d[b].difference);
            rs_text_append(out, ",");
            rs_write_json_number(out, d[b].half_width);
            rs_text_append(out, "]");
        }
        rs_text_append(out, d != NULL ? "]" : "");
    }
    rs_text_append(out, "]");
}

static void write_words(rs_text *out, const rs_comparison *c) {
    rs_text_append(out, ",\n\"findings\":[");
    for (int i = 0; i < c->n_findings; i++) {
        rs_text_append(out, i ? ",{" : "{");
        member_text(out, "key", c->findings[i].key);
        member_text(out, "text", c->findings[i].text);
        member_text(out, "figure", c->findings[i].figure);
        rs_text_append(out, "}");
    }
    rs_text_append(out, "],\n\"published\":[");
    for (int i = 0; i < c->n_published; i++) {
        const rs_published_row *r = &c->published[i];
        rs_text_append(out, i ? ",{" : "{");
        member_text(out, "what", r->what);
        member_text(out, "unit", r->unit);
        member_number(out, "theirs", r->theirs);
        member_number(out, "ours", r->ours);
        member_number(out, "half_width", r->half_width);
        member_text(out, "says", r->says);
        member_text(out, "source", r->source);
        rs_text_append(out, "}");
    }
    rs_text_append(out, "]");
}

rs_status rs_render_comparison_json(const rs_comparison *c, const rs_report_options *o, rs_text *out, rs_error *err) {
    const rs_array *contexts = rs_view_array(c->variants[0].view, "axis/cache_context");
    (void)o;
    rs_text_append(out, "{");
    member_text(out, "report", c->program);
    member_text(out, "kind", "comparison");
    rs_text_append(out, ",\n\"variants\":[");
    for (int v = 0; v < c->n_variants; v++) {
        rs_text_append(out, v ? ",\n" : "\n");
        write_variant(out, c, &c->variants[v]);
    }
    rs_text_append(out, "],\n\"runs\":[");
    for (int i = 0; i < c->n_runs; i++) {
        rs_text_append(out, i ? ",\n" : "\n");
        write_run(out, &c->runs[i]);
    }
    rs_text_append(out, "],\n");
    rs_write_json_kinds(out, NULL);
    member_numbers(out, "cache_contexts", contexts->data, contexts->dims[0]);
    write_facts(out, c);
    write_quantities(out, c);
    write_loss_differences(out, c);
    write_words(out, c);
    member_number(out, "tests", c->n_tests);
    member_number(out, "beyond", c->n_beyond);
    rs_text_append(out, "}\n");
    return rs_text_status(out, err);
}
