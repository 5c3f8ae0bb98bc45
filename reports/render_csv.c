/* One row per layer, query head and pair: what the rotary table says, and every array with these axes as a column. Of a
 * comparison one row per quantity and variant. */
#include "reports/render.h"

#include "analyzer/base/alloc.h"

#include <math.h>
#include <string.h>

typedef struct csv_column {
    const rs_array *a;
    bool by_key_head;
} csv_column;

static bool by_pair(const rs_array *a, bool *by_key_head) {
    if (a->n_dims != 3 || strcmp(a->dim_names[0], "layer") != 0 || strcmp(a->dim_names[2], "pair") != 0) return false;
    *by_key_head = strcmp(a->dim_names[1], "kv_head") == 0;
    return *by_key_head || strcmp(a->dim_names[1], "head") == 0;
}

static size_t collect(const rs_arrays *list, csv_column *out) {
    size_t n = 0;
    for (size_t i = 0; i < list->count; i++) {
        bool key;
        if (!by_pair(&list->items[i], &key)) continue;
        out[n++] = (csv_column){&list->items[i], key};
    }
    return n;
}

static void write_field(rs_text *out, const char *s) {
    bool quote = strpbrk(s, ",\"\r\n") != NULL;
    rs_text_append(out, quote ? "\"" : "");
    for (; *s != '\0'; s++) {
        if (*s == '"') rs_text_append(out, "\"");
        rs_text_append_n(out, s, 1);
    }
    rs_text_append(out, quote ? "\"" : "");
}

static void write_number(rs_text *out, double x) {
    rs_text_append(out, ",");
    if (isfinite(x)) rs_text_printf(out, "%.7g", x);
}

static void write_row(rs_text *out, const rs_report_view *v, const rs_view_head *h, int p, const csv_column *c,
                      size_t n) {
    const rs_view_rope *r = &v->ropes[v->layers[h->layer].rope];
    rs_text_printf(out, "%d,%d,%d,%d,%d,%d,%d", h->layer, h->head, h->kv_head, p, r->lo[p], r->hi[p], r->region[p]);
    write_number(out, r->theta[p]);
    write_number(out, r->wavelength[p]);
    write_number(out, r->turns[p]);
    for (size_t i = 0; i < n; i++)
        write_number(out, rs_view_cell(c[i].a, h->layer, c[i].by_key_head ? h->kv_head : h->head, p));
    rs_text_append(out, "\n");
}

rs_status rs_render_csv(const rs_report_view *v, const rs_report_options *o, rs_text *out, rs_error *err) {
    csv_column *columns = NULL;
    (void)o;
    rs_status st = RS_NEW(&columns, v->stored.count + v->derived.count, err);
    if (st != RS_OK) return st;
    size_t n = collect(&v->stored, columns);
    n += collect(&v->derived, columns + n);
    rs_text_append(out, "layer,head,kv_head,pair,component_lo,component_hi,region,theta,wavelength,turns");
    /* The last part of a name is unique among these arrays: q_mean, zero_cost, ... */
    for (size_t i = 0; i < n; i++) rs_text_printf(out, ",%s", strrchr(columns[i].a->name, '/') + 1);
    rs_text_append(out, "\n");
    for (int64_t i = 0; i < v->n_head_rows; i++)
        for (int p = 0; p < v->layers[v->heads[i].layer].pairs; p++) write_row(out, v, &v->heads[i], p, columns, n);
    rs_free(columns);
    return rs_text_status(out, err);
}

rs_status rs_render_comparison_csv(const rs_comparison *c, const rs_report_options *o, rs_text *out, rs_error *err) {
    (void)o;
    rs_text_append(out,
                   "quantity,unit,variant,encoding,runs,mean,low,high,difference,half_width,text_half_width,spread,"
                   "degrees,verdict\n");
    for (int i = 0; i < c->n_quantities; i++) {
        const rs_compared_quantity *x = &c->quantities[i];
        for (int v = 0; v < c->n_variants; v++) {
            const rs_estimate *e = &x->values[v];
            const double numbers[] = {e->mean,   e->low,    e->high, e->difference, e->half_width, e->text_half_width,
                                      x->spread, x->degrees};
            rs_text_printf(out, "%s,%s,", x->quantity->key, x->quantity->unit);
            write_field(out, c->variants[v].label);
            rs_text_printf(out, ",%s,%d", rs_encoding_names[c->variants[v].encoding], c->variants[v].n_compared);
            for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++) write_number(out, numbers[k]);
            rs_text_printf(out, ",%s\n", rs_verdict_names[e->verdict]);
        }
    }
    return rs_text_status(out, err);
}
