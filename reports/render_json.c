#include "reports/measures.h"
#include "reports/render.h"

#include <math.h>
#include <string.h>

void rs_write_json_number(rs_text *out, double x) {
    if (isfinite(x)) rs_text_printf(out, "%.9g", x);
    else rs_text_append(out, "null");
}

void rs_write_json_text(rs_text *out, const char *s) { rs_text_json_string(out, s, strlen(s)); }

static void write_reals(rs_text *out, const char *name, const double *x, int n) {
    rs_text_printf(out, ",\"%s\":[", name);
    for (int i = 0; i < n; i++) {
        rs_text_append(out, i ? "," : "");
        rs_write_json_number(out, x[i]);
    }
    rs_text_append(out, "]");
}

static void write_ints(rs_text *out, const char *name, const int *x, int n) {
    rs_text_printf(out, ",\"%s\":[", name);
    for (int i = 0; i < n; i++) rs_text_printf(out, i ? ",%d" : "%d", x[i]);
    rs_text_append(out, "]");
}

void rs_write_json_rope(rs_text *out, const rs_view_rope *r) {
    rs_text_append(out, "{\"words\":");
    rs_write_json_text(out, r->words);
    rs_text_append(out, ",\"kind\":");
    rs_write_json_text(out, r->kind);
    rs_text_append(out, ",\"source\":");
    rs_write_json_text(out, r->source);
    rs_text_append(out, ",\"base\":");
    rs_write_json_number(out, r->base);
    rs_text_printf(out, ",\"pairs\":%d,\"rotated\":%d", r->pairs, r->rotated);
    write_ints(out, "layers", r->layers, r->n_layers);
    write_reals(out, "theta", r->theta, r->pairs);
    write_reals(out, "wavelength", r->wavelength, r->pairs);
    write_reals(out, "turns", r->turns, r->pairs);
    write_reals(out, "turns_trained", r->turns_trained, r->pairs);
    write_reals(out, "attention_factor", r->factor, r->pairs);
    write_ints(out, "component_lo", r->lo, r->pairs);
    write_ints(out, "component_hi", r->hi, r->pairs);
    write_ints(out, "region", r->region, r->pairs);
    rs_text_append(out, "}");
}

typedef struct head_column {
    const char *name;
    size_t offset;
    bool whole; /* an int, not a double */
} head_column;
#define HEAD(field) offsetof(rs_view_head, field)
static const head_column head_columns[] = {
    {"layer", HEAD(layer), true},
    {"head", HEAD(head), true},
    {"kv_head", HEAD(kv_head), true},
    {"previous", HEAD(previous), false},
    {"first", HEAD(first), false},
    {"diagonal", HEAD(diagonal), false},
    {"induction", HEAD(induction), false},
    {"duplicate", HEAD(duplicate), false},
    {"entropy", HEAD(entropy), false},
    {"effective", HEAD(effective), false},
    {"mean_distance", HEAD(mean_distance), false},
    {"local", HEAD(local), false},
    {"toeplitz", HEAD(toeplitz), false},
    {"split_half", HEAD(split_half), false},
    {"norm_split_half", HEAD(norm_split_half), false},
    {"fit_zero", HEAD(fit_zero), false},
    {"fit_unrotate", HEAD(fit_unrotate), false},
    {"logit_variance", HEAD(logit_variance), false},
    {"fast_share", HEAD(fast_share), false},
    {"retrieval", HEAD(retrieval), false},
    {"copy", HEAD(copy), false},
    {"align_diagonal", HEAD(align_diagonal), false},
    {"align_previous", HEAD(align_previous), false},
    {"positional", HEAD(verdict[RS_VERDICT_POSITIONAL]), false},
    {"semantic", HEAD(verdict[RS_VERDICT_SEMANTIC]), false},
    {"bias", HEAD(verdict[RS_VERDICT_BIAS]), false},
    {"idle", HEAD(verdict[RS_VERDICT_IDLE]), false},
    {"top_pair_q", HEAD(top_pair_q), true},
    {"top_pair_k", HEAD(top_pair_k), true},
};

static void write_head_cell(rs_text *out, const rs_view_head *h, const head_column *c) {
    const void *at = (const char *)h + c->offset;
    double x = c->whole ? 0.0 : *(const double *)at;
    if (c->whole) rs_text_printf(out, "%d", *(const int *)at);
    else if (isfinite(x)) rs_text_printf(out, "%.4g", x);
    else rs_text_append(out, "null");
}

void rs_write_json_heads(rs_text *out, const rs_report_view *v) {
    rs_text_append(out, "\"heads\":{\"kind\":[");
    for (int64_t i = 0; i < v->n_head_rows; i++) {
        rs_head_kind k = v->heads[i].kind;
        rs_text_printf(out, "%s%s%s%s", i ? "," : "", k < RS_HEAD_KINDS ? "\"" : "",
                       k < RS_HEAD_KINDS ? rs_head_rules[k].key : "null", k < RS_HEAD_KINDS ? "\"" : "");
    }
    rs_text_append(out, "]");
    for (size_t c = 0; c < sizeof head_columns / sizeof *head_columns; c++) {
        rs_text_printf(out, ",\"%s\":[", head_columns[c].name);
        for (int64_t i = 0; i < v->n_head_rows; i++) {
            rs_text_append(out, i ? "," : "");
            write_head_cell(out, &v->heads[i], &head_columns[c]);
        }
        rs_text_append(out, "]");
    }
    rs_text_append(out, "}");
}

void rs_write_json_kinds(rs_text *out, const int *counts) {
    rs_text_append(out, "\"kinds\":[");
    for (int k = 0; k < RS_HEAD_KINDS; k++) {
        rs_text_printf(out, "%s{\"key\":\"%s\",\"name\":", k ? "," : "", rs_head_rules[k].key);
        rs_write_json_text(out, rs_head_rules[k].name);
        rs_text_append(out, ",\"rule\":");
        rs_write_json_text(out, rs_head_rules[k].rule);
        rs_text_printf(out, ",\"threshold\":%g", rs_head_rules[k].threshold);
        if (counts != NULL) rs_text_printf(out, ",\"heads\":%d", counts[k]);
        rs_text_append(out, "}");
    }
    rs_text_append(out, "]");
}

void rs_write_json_shape(rs_text *out, const rs_report_view *v) {
    rs_text_append(out, "\"layers\":[");
    for (int l = 0; l < v->n_layers; l++) {
        const rs_view_layer *y = &v->layers[l];
        rs_text_printf(out, "%s{\"heads\":%d,\"kv_heads\":%d,\"head_dim\":%d,\"pairs\":%d,\"window\":%d,\"rope\":%d}",
                       l ? "," : "", y->heads, y->kv_heads, y->head_dim, y->pairs, y->window, y->rope);
    }
    rs_text_append(out, "],\"ropes\":[");
    for (int r = 0; r < v->n_ropes; r++) {
        rs_text_append(out, r ? "," : "");
        rs_write_json_rope(out, &v->ropes[r]);
    }
    rs_text_append(out, "],");
    rs_write_json_kinds(out, v->head_kind_count);
    rs_text_append(out, ",");
    rs_write_json_heads(out, v);
    rs_text_append(out, ",");
    rs_write_json_purpose(out, v);
    rs_text_append(out, ",");
    rs_write_json_control(out, v);
}

/* --- facts --- */

static void member_text(rs_text *out, const char *name, const char *value) {
    rs_text_printf(out, ",\n \"%s\":", name);
    rs_write_json_text(out, value);
}

static void member_int(rs_text *out, const char *name, int64_t value) {
    rs_text_printf(out, ",\n \"%s\":", name);
    if (value >= 0) rs_text_printf(out, "%lld", (long long)value);
    else rs_text_append(out, "null");
}

static void member_real(rs_text *out, const char *name, double value) {
    rs_text_printf(out, ",\n \"%s\":", name);
    rs_write_json_number(out, value);
}

static void write_files(rs_text *out, const char *name, const rs_json *list) {
    rs_text_printf(out, ",\n \"%s\":[", name);
    for (size_t i = 0; i < rs_json_size(list); i++) {
        const rs_json *f = rs_json_at(list, i);
        void *cursor = NULL;
        const char *key;
        int n = 0;
        rs_text_append(out, i ? ",{" : "{");
        for (const rs_json *x; (x = rs_json_next(f, &cursor, &key)) != NULL;) {
            rs_text_append(out, n++ ? "," : "");
            rs_write_json_text(out, key);
            rs_text_append(out, ":");
            if (rs_json_string(x, NULL) != NULL) rs_write_json_text(out, rs_json_string(x, NULL));
            else if (rs_json_is(x, RS_JSON_INT)) rs_text_printf(out, "%lld", (long long)rs_json_int(x, 0));
            else rs_write_json_number(out, rs_json_real(x, NAN));
        }
        rs_text_append(out, "}");
    }
    rs_text_append(out, "]");
}

static void write_facts(rs_text *out, const rs_report_view *v) {
    member_text(out, "tool", v->tool);
    member_text(out, "tool_version", v->tool_version);
    member_text(out, "schema_version", v->schema_version);
    member_text(out, "command_line", v->command_line);
    member_text(out, "created", v->created);
    member_text(out, "model_name", v->model_name);
    member_text(out, "model_path", v->model_path);
    member_text(out, "model_container", v->model_container);
    member_text(out, "family", v->family);
    member_text(out, "rope_words", v->rope_words);
    member_text(out, "warnings", v->warnings);
    member_text(out, "tokenizer", v->tokenizer);
    member_text(out, "bos", v->bos);
    member_text(out, "ids_sha256", v->ids_sha256);
    member_text(out, "device", v->device);
    member_text(out, "compute", v->compute);
    member_text(out, "probes", v->probes);
    member_text(out, "seed", v->seed);
    member_text(out, "perplexity_definition", v->perplexity_definition);
    member_int(out, "parameters", v->parameters);
    member_int(out, "trained_context", v->trained_context);
    member_int(out, "vocab", v->vocab);
    member_int(out, "width", v->width);
    member_int(out, "context", v->context);
    member_int(out, "sequences", v->sequences);
    member_int(out, "tokens", v->tokens);
    member_int(out, "threads", v->threads);
    member_int(out, "peak_memory_bytes", v->peak_memory);
    member_real(out, "mean_nll", v->mean_nll);
    member_real(out, "perplexity", v->perplexity);
    member_real(out, "seconds", v->seconds);
    member_real(out, "tokens_per_second", v->tokens_per_second);
    write_files(out, "model_files", v->model_files);
    write_files(out, "text_files", v->text_files);
}

static void write_findings(rs_text *out, const rs_report_view *v) {
    rs_text_append(out, ",\n \"findings\":{");
    for (int i = 0; i < v->n_findings; i++) {
        rs_text_append(out, i ? "," : "");
        rs_write_json_text(out, v->findings[i].key);
        rs_text_append(out, ":");
        rs_write_json_text(out, v->findings[i].text);
    }
    rs_text_append(out, "}");
}

static void write_bands(rs_text *out, const rs_report_view *v) {
    rs_text_printf(out, ",\n \"bands\":{\"rope\":%d,\"rows\":[", v->main_rope);
    for (int i = 0; i < v->n_bands; i++) {
        const rs_view_band *b = &v->bands[i];
        const struct {
            const char *name;
            double x;
        } cells[] = {{"shortest_wavelength", b->shortest},
                     {"longest_wavelength", b->longest},
                     {"q_share", b->q_share},
                     {"k_share", b->k_share},
                     {"v_share", b->v_share},
                     {"zero_cost", b->zero_cost},
                     {"unrotate_cost", b->unrotate_cost}};
        rs_text_printf(out, "%s{\"first\":%d,\"last\":%d", i ? "," : "", b->first, b->last);
        for (size_t c = 0; c < sizeof cells / sizeof *cells; c++) {
            rs_text_printf(out, ",\"%s\":", cells[c].name);
            rs_write_json_number(out, cells[c].x);
        }
        rs_text_append(out, "}");
    }
    rs_text_append(out, "]}");
}

/* {"unit", "what", "count", "axes", "shape", "data": flat, row-major, null where there is no value} */
static void write_array(rs_text *out, const rs_array *a, bool first) {
    rs_text_append(out, first ? "\n  " : ",\n  ");
    rs_write_json_text(out, a->name);
    rs_text_append(out, ":{\"unit\":");
    rs_write_json_text(out, a->unit);
    rs_text_append(out, ",\"what\":");
    rs_write_json_text(out, a->long_name);
    rs_text_printf(out, ",\"count\":%lld,\"axes\":[", (long long)a->count);
    for (int d = 0; d < a->n_dims; d++) {
        rs_text_append(out, d ? "," : "");
        rs_write_json_text(out, a->dim_names[d]);
    }
    rs_text_append(out, "],\"shape\":[");
    for (int d = 0; d < a->n_dims; d++) rs_text_printf(out, d ? ",%lld" : "%lld", (long long)a->dims[d]);
    rs_text_append(out, "],\"data\":[");
    for (int64_t i = 0; i < rs_array_size(a); i++) {
        rs_text_append(out, i ? "," : "");
        if (isfinite(a->data[i])) rs_text_printf(out, "%.6g", a->data[i]);
        else rs_text_append(out, "null");
    }
    rs_text_append(out, "]}");
}

rs_status rs_render_json(const rs_report_view *v, const rs_report_options *o, rs_text *out, rs_error *err) {
    (void)o;
    rs_text_append(out, "{\"report\":");
    rs_write_json_text(out, v->program);
    write_facts(out, v);
    write_findings(out, v);
    write_bands(out, v);
    rs_text_append(out, ",\n ");
    rs_write_json_shape(out, v);
    rs_text_append(out, ",\n \"arrays\":{");
    size_t written = 0;
    for (size_t i = 0; i < v->stored.count; i++)
        /* The loss of every token is in the run file; here stands loss/by_position. */
        if (strcmp(v->stored.items[i].name, "loss/token_nll") != 0)
            write_array(out, &v->stored.items[i], written++ == 0);
    for (size_t i = 0; i < v->derived.count; i++) write_array(out, &v->derived.items[i], written++ == 0);
    rs_text_append(out, "}}\n");
    return rs_text_status(out, err);
}
