/* See config_read.h. */
#include "analyzer/model/config_read.h"

#include "analyzer/base/text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const char *rs_node_text(const rs_json *node, char *out, size_t bytes) {
    rs_json_kind kind = rs_json_kind_of(node);
    if (rs_json_is_null(node)) snprintf(out, bytes, "%s", rs_json_kind_name(node));
    else if (kind == RS_JSON_INT) snprintf(out, bytes, "%lld", (long long)rs_json_int(node, 0));
    else if (kind == RS_JSON_REAL) snprintf(out, bytes, "%.10g", rs_json_real(node, 0));
    else if (kind == RS_JSON_BOOL) snprintf(out, bytes, "%s", rs_json_bool(node, false) ? "true" : "false");
    else if (kind == RS_JSON_STRING) snprintf(out, bytes, "'%.60s'", rs_json_string(node, NULL));
    else snprintf(out, bytes, "%s of %zu", rs_json_kind_name(node), rs_json_size(node));
    return out;
}

rs_status rs_field_fail(rs_reader *r, const char *field, const rs_json *found, const char *expected, rs_error *err) {
    char text[96];
    return rs_fail(err, RS_E_FORMAT, "%s: field '%s': found %s, expected %s", r->file, field,
                   rs_node_text(found, text, sizeof text), expected);
}

static void note(rs_reader *r, const char *key) {
    for (int i = 0; i < r->n_used; i++)
        if (strcmp(r->used[i], key) == 0) return;
    if (r->n_used < RS_MOST_KEYS) r->used[r->n_used++] = key;
}

static bool was_used(const rs_reader *r, const char *key) {
    for (int i = 0; i < r->n_used; i++)
        if (strcmp(r->used[i], key) == 0) return true;
    return false;
}

const rs_json *rs_read_node(rs_reader *r, const char *key) {
    note(r, key);
    return rs_json_get(r->root, key);
}

rs_status rs_node_int(rs_reader *r, const rs_json *node, const char *field, int64_t least, int64_t most, int64_t *out,
                      rs_error *err) {
    char expected[96];
    snprintf(expected, sizeof expected, "a whole number from %lld to %lld", (long long)least, (long long)most);
    *out = rs_json_int(node, INT64_MIN); /* what is no whole number reads as the otherwise value */
    if (*out < least || *out > most) return rs_field_fail(r, field, node, expected, err);
    return RS_OK;
}

rs_status rs_node_real(rs_reader *r, const rs_json *node, const char *field, double least, double most, double *out,
                       rs_error *err) {
    char expected[96];
    snprintf(expected, sizeof expected, "a number from %g to %g", least, most);
    *out = rs_json_real(node, NAN);
    if (!(*out >= least && *out <= most)) return rs_field_fail(r, field, node, expected, err);
    return RS_OK;
}

rs_status rs_read_int(rs_reader *r, const char *key, int64_t least, int64_t most, bool required, int64_t otherwise,
                      int64_t *out, rs_error *err) {
    const rs_json *node = rs_read_node(r, key);
    *out = otherwise;
    if (rs_json_is_null(node) && !required) return RS_OK;
    return rs_node_int(r, node, key, least, most, out, err);
}

rs_status rs_read_real(rs_reader *r, const char *key, double least, double most, double otherwise, double *out,
                       rs_error *err) {
    const rs_json *node = rs_read_node(r, key);
    *out = otherwise;
    return rs_json_is_null(node) ? RS_OK : rs_node_real(r, node, key, least, most, out, err);
}

rs_status rs_read_bool(rs_reader *r, const char *key, bool otherwise, bool *out, rs_error *err) {
    const rs_json *node = rs_read_node(r, key);
    *out = rs_json_bool(node, otherwise);
    if (!rs_json_is_null(node) && !rs_json_is(node, RS_JSON_BOOL))
        return rs_field_fail(r, key, node, "true or false", err);
    return RS_OK;
}

rs_status rs_read_string(rs_reader *r, const char *key, const char **out, rs_error *err) {
    const rs_json *node = rs_read_node(r, key);
    size_t bytes = 0;
    *out = rs_json_string(node, &bytes);
    if (!rs_json_is_null(node) && (!*out || strlen(*out) != bytes)) return rs_field_fail(r, key, node, "a string", err);
    return RS_OK;
}

rs_status rs_read_act(rs_reader *r, const char *key, rs_graph_act otherwise, rs_graph_act *out, rs_error *err) {
    static const struct {
        const char *name;
        rs_graph_act act;
    } acts[] = {
        {"silu", RS_GRAPH_SILU},
        {"swish", RS_GRAPH_SILU},
        {"gelu", RS_GRAPH_GELU_ERF},
        {"gelu_python", RS_GRAPH_GELU_ERF},
        {"gelu_new", RS_GRAPH_GELU_TANH},
        {"gelu_fast", RS_GRAPH_GELU_TANH},
        {"gelu_pytorch_tanh", RS_GRAPH_GELU_TANH},
        {"gelu_python_tanh", RS_GRAPH_GELU_TANH},
        {"relu", RS_GRAPH_RELU},
        {"relu2", RS_GRAPH_RELU2},
    };
    const char *name = NULL;
    rs_status st = rs_read_string(r, key, &name, err);
    *out = otherwise;
    if (st != RS_OK || !name) return st;
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++) {
        *out = acts[i].act;
        if (strcmp(acts[i].name, name) == 0) return RS_OK;
    }
    return rs_fail(
        err, RS_E_UNSUPPORTED,
        "%s: field '%s': activation '%.60s' is not supported; known: silu, swish, gelu, gelu_new, gelu_fast, "
        "gelu_pytorch_tanh, relu, relu2",
        r->file, key, name);
}

rs_status rs_warn(rs_reader *r, rs_error *err, const char *fmt, ...) {
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (r->n_warnings == RS_MOST_WARNINGS) return RS_OK;
    const char *words = r->n_warnings == RS_MOST_WARNINGS - 1 ? "more warnings are not shown" : text;
    rs_status st = rs_arena_strdup(r->arena, &r->warnings[r->n_warnings], words, err);
    if (st == RS_OK) r->n_warnings++;
    return st;
}

/* null, false, 0 and 1 change nothing in any field that is asked about. */
static bool is_neutral(const rs_json *node) {
    double x = rs_json_real(node, NAN);
    return rs_json_is_null(node) || x == 0 || x == 1 || (rs_json_is(node, RS_JSON_BOOL) && !rs_json_bool(node, false));
}

rs_status rs_warn_unused(rs_reader *r, const char *family, const char *prefix, const char *const *keys, rs_error *err) {
    rs_status st = RS_OK;
    char text[96], key[160];
    for (; *keys && st == RS_OK; keys++) {
        snprintf(key, sizeof key, "%.80s%s", prefix, *keys);
        const rs_json *node = rs_json_get(r->root, key);
        if (!was_used(r, key) && !is_neutral(node))
            st = rs_warn(r, err, "%s: field '%s' (%s) has no effect in the %s family", r->file, key,
                         rs_node_text(node, text, sizeof text), family);
    }
    return st;
}
