/* base/json.c: see json.h. A node is jansson's json_t; this is the only file that knows it. */
#include "analyzer/base/json.h"

#include "analyzer/base/alloc.h"
#include "analyzer/base/file.h"
#include "analyzer/base/text.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 512 };

/* jansson has no real that is not finite. These three nodes stand for them: known by address, never counted (that is
 * what the reference count -1 means to jansson), and written as null. */
static json_t not_a_number = {JSON_NULL, (size_t)-1};
static json_t plus_infinity = {JSON_NULL, (size_t)-1};
static json_t minus_infinity = {JSON_NULL, (size_t)-1};

typedef struct bare_word {
    const char *word;   /* as Python writes it, outside strings */
    const char *source; /* a JSON string in its place, for the second parse */
    const char *value;  /* that string's content; its NUL keeps it from being a key */
    json_t *node;
} bare_word;

enum { WORDS = 3, VALUE_BYTES = 8 };
static const bare_word words[WORDS] = {
    {"NaN", "\"\\u0000rs:nan\"", "\0rs:nan\0", &not_a_number},
    {"Infinity", "\"\\u0000rs:inf\"", "\0rs:inf\0", &plus_infinity},
    {"-Infinity", "\"\\u0000rs:neg\"", "\0rs:neg\0", &minus_infinity},
};

static json_t *node_of(const rs_json *j) {
    return (json_t *)(uintptr_t)j;
} /* reading alone; jansson is not const-correct */
static rs_json *json_of(json_t *j) { return (rs_json *)j; }

static bool is_nonfinite(const json_t *j) { return j == &not_a_number || j == &plus_infinity || j == &minus_infinity; }

/* One past the string that starts at i. */
static size_t skip_string(const char *s, size_t n, size_t i) {
    for (i++; i < n && s[i] != '"'; i++) {
        if (s[i] == '\\') i++;
    }
    return i < n ? i + 1 : n;
}

static bool too_deep(const char *s, size_t n, size_t *at) {
    size_t depth = 0;
    for (size_t i = 0; i < n;) {
        if (s[i] == '"') {
            i = skip_string(s, n, i);
            continue;
        }
        if (s[i] == '[' || s[i] == '{') depth++;
        if ((s[i] == ']' || s[i] == '}') && depth > 0) depth--;
        *at = i++;
        if (depth > MAX_DEPTH) return true;
    }
    return false;
}

static rs_status fail_depth(const char *s, size_t at, const char *file, rs_error *err) {
    size_t line = 1, column = 1;
    for (size_t i = 0; i < at; i++) {
        column = s[i] == '\n' ? 1 : column + 1;
        if (s[i] == '\n') line++;
    }
    return rs_fail(err, RS_E_FORMAT, "%s: line %zu column %zu: nested deeper than %d levels", file, line, column,
                   MAX_DEPTH);
}

static const bare_word *word_at(const char *s, size_t n) {
    for (int k = 0; k < WORDS; k++) {
        size_t m = strlen(words[k].word);
        if (m <= n && memcmp(s, words[k].word, m) == 0) return &words[k];
    }
    return NULL;
}

static bool is_big_integer(const char *s, size_t n) {
    char digits[32];
    size_t sign = s[0] == '-';
    if (n == sign || strspn(s + sign, "0123456789") < n - sign) return false;
    if (n >= sizeof digits) return true;
    memcpy(digits, s, n);
    digits[n] = '\0';
    errno = 0;
    (void)strtoll(digits, NULL, 10);
    return errno == ERANGE;
}

/* Appends the token at s in a spelling that jansson accepts and returns its length; *changed when it differs. */
static size_t rewrite_token(rs_text *out, const char *s, size_t n, bool *changed) {
    const bare_word *w = word_at(s, n);
    size_t length = s[0] == '"' ? skip_string(s, n, 0) : strspn(s, "+-.0123456789eE");
    if (w) length = strlen(w->word);
    if (length == 0) length = 1;
    if (w) rs_text_append(out, w->source);
    if (!w) rs_text_append_n(out, s, length);
    bool big = !w && is_big_integer(s, length);
    if (big) rs_text_append(out, ".0");
    *changed = *changed || w || big;
    return length;
}

/* s ends in a NUL at s[n]. */
static bool rewrite(rs_text *out, const char *s, size_t n) {
    bool changed = false;
    for (size_t i = 0; i < n;) i += rewrite_token(out, s + i, n - i, &changed);
    return changed;
}

static json_t *stand_in(json_t *j) {
    if (!json_is_string(j) || json_string_length(j) != VALUE_BYTES - 1) return NULL;
    for (int k = 0; k < WORDS; k++) {
        if (memcmp(json_string_value(j), words[k].value, VALUE_BYTES - 1) == 0) return words[k].node;
    }
    return NULL;
}

/* Puts the non-finite nodes where rewrite left its strings. The depth is bounded: too_deep came first. */
static void put_nonfinite(json_t *j) {
    json_t *child;
    for (size_t i = 0; i < json_array_size(j); i++) {
        child = json_array_get(j, i);
        if (stand_in(child)) json_array_set_new(j, i, stand_in(child));
        else put_nonfinite(child);
    }
    for (void *at = json_object_iter(j); at; at = json_object_iter_next(j, at)) {
        child = json_object_iter_value(at);
        if (stand_in(child)) json_object_iter_set_new(j, at, stand_in(child));
        else put_nonfinite(child);
    }
}

static json_t *load(const char *s, size_t n, json_error_t *why) {
    return json_loadb(s, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, why);
}

/* Only after a plain parse failed: most files need no copy. NULL with *why as it was when there is nothing to rewrite.
 */
static rs_status load_rewritten(const char *s, size_t n, json_t **out, json_error_t *why, rs_error *err) {
    rs_text text = {0};
    char *copy = NULL;
    rs_status st = rs_strndup(&copy, s, n, err);
    bool changed = st == RS_OK && rewrite(&text, copy, n);
    if (st == RS_OK) st = rs_text_status(&text, err);
    if (st == RS_OK && changed) *out = load(text.data, text.bytes, why);
    if (*out && stand_in(*out)) {
        json_t *node = stand_in(*out);
        json_decref(*out);
        *out = node;
    } else if (*out) {
        put_nonfinite(*out);
    }
    rs_text_deinit(&text);
    rs_free(copy);
    return st;
}

rs_status rs_json_parse(const char *bytes, size_t n, const char *file, rs_json **out, rs_error *err) {
    json_error_t why = {0};
    size_t at = 0;
    const char *s = bytes ? bytes : "";
    *out = NULL;
    if (too_deep(s, n, &at)) return fail_depth(s, at, file, err);
    json_t *root = load(s, n, &why);
    if (!root) {
        rs_status st = load_rewritten(s, n, &root, &why, err);
        if (st != RS_OK) return st;
    }
    if (!root && json_error_code(&why) == json_error_out_of_memory)
        return rs_fail(err, RS_E_NOMEM, "%s: out of memory while reading JSON", file);
    if (!root) return rs_fail(err, RS_E_FORMAT, "%s: line %d column %d: %s", file, why.line, why.column, why.text);
    *out = json_of(root);
    return RS_OK;
}

rs_status rs_json_read_file(const char *path, size_t max_bytes, rs_json **out, rs_error *err) {
    char *bytes = NULL;
    size_t n = 0;
    *out = NULL;
    rs_status st = rs_file_read_all(path, max_bytes, &bytes, &n, err);
    if (st == RS_OK) st = rs_json_parse(bytes, n, path, out, err);
    rs_free(bytes);
    return st;
}

void rs_json_free(rs_json *root) { json_decref(node_of(root)); }

rs_json_kind rs_json_kind_of(const rs_json *j) {
    const json_t *node = node_of(j);
    if (is_nonfinite(node)) return RS_JSON_REAL;
    if (!node) return RS_JSON_NULL;
    switch (json_typeof(node)) {
    case JSON_OBJECT: return RS_JSON_OBJECT;
    case JSON_ARRAY: return RS_JSON_ARRAY;
    case JSON_STRING: return RS_JSON_STRING;
    case JSON_INTEGER: return RS_JSON_INT;
    case JSON_REAL: return RS_JSON_REAL;
    case JSON_TRUE:
    case JSON_FALSE: return RS_JSON_BOOL;
    case JSON_NULL: break;
    }
    return RS_JSON_NULL;
}

bool rs_json_is(const rs_json *j, rs_json_kind kind) { return j && rs_json_kind_of(j) == kind; }

bool rs_json_is_null(const rs_json *j) { return rs_json_kind_of(j) == RS_JSON_NULL; }

const char *rs_json_kind_name(const rs_json *j) {
    static const char *const names[] = {"null", "boolean", "integer", "real", "string", "array", "object"};
    return j ? names[rs_json_kind_of(j)] : "absent";
}

const rs_json *rs_json_get(const rs_json *object, const char *key) {
    return json_of(json_object_get(node_of(object), key));
}

size_t rs_json_size(const rs_json *array_or_object) {
    const json_t *node = node_of(array_or_object);
    return json_is_object(node) ? json_object_size(node) : json_array_size(node);
}

const rs_json *rs_json_at(const rs_json *array, size_t i) { return json_of(json_array_get(node_of(array), i)); }

const char *rs_json_string(const rs_json *j, size_t *bytes) {
    if (bytes) *bytes = json_string_length(node_of(j));
    return json_string_value(node_of(j));
}

bool rs_json_bool(const rs_json *j, bool otherwise) {
    return rs_json_is(j, RS_JSON_BOOL) ? json_is_true(node_of(j)) : otherwise;
}

int64_t rs_json_int(const rs_json *j, int64_t otherwise) {
    if (rs_json_is(j, RS_JSON_INT)) return (int64_t)json_integer_value(node_of(j));
    double v = rs_json_real(j, (double)NAN);
    const double limit = 9223372036854775808.0; /* 2^63 */
    bool fits = v >= -limit && v < limit;       /* false for NaN */
    return fits && v >= floor(v) && v <= floor(v) ? (int64_t)v : otherwise;
}

double rs_json_real(const rs_json *j, double otherwise) {
    const json_t *node = node_of(j);
    if (node == &not_a_number) return (double)NAN;
    if (node == &plus_infinity) return (double)INFINITY;
    if (node == &minus_infinity) return -(double)INFINITY;
    return json_is_number(node) ? json_number_value(node) : otherwise;
}

bool rs_json_is_number(const rs_json *j) { return rs_json_is(j, RS_JSON_INT) || rs_json_is(j, RS_JSON_REAL); }

const rs_json *rs_json_next(const rs_json *object, void **cursor, const char **key) {
    json_t *node = node_of(object);
    *cursor = *cursor ? json_object_iter_next(node, *cursor) : json_object_iter(node);
    if (key) *key = json_object_iter_key(*cursor);
    return json_of(json_object_iter_value(*cursor));
}

rs_json *rs_json_new_object(void) { return json_of(json_object()); }
rs_json *rs_json_new_array(void) { return json_of(json_array()); }
rs_json *rs_json_new_string(const char *s, size_t bytes) {
    return json_of(json_stringn_nocheck(s ? s : "", s ? bytes : 0));
}
rs_json *rs_json_new_int(int64_t v) { return json_of(json_integer(v)); }
rs_json *rs_json_new_bool(bool v) { return json_of(json_boolean(v)); }
rs_json *rs_json_new_null(void) { return json_of(json_null()); }

rs_json *rs_json_new_real(double v) {
    if (isnan(v)) return json_of(&not_a_number);
    if (isinf(v)) return json_of(v > 0 ? &plus_infinity : &minus_infinity);
    return json_of(json_real(v));
}

rs_status rs_json_set(rs_json *object, const char *key, rs_json *value, rs_error *err) {
    if (json_object_set_new_nocheck(node_of(object), key, node_of(value)) == 0) return RS_OK;
    return rs_fail(err, RS_E_NOMEM, "out of memory: JSON value \"%s\"", key);
}

rs_status rs_json_append(rs_json *array, rs_json *value, rs_error *err) {
    if (json_array_append_new(node_of(array), node_of(value)) == 0) return RS_OK;
    return rs_fail(err, RS_E_NOMEM, "out of memory: JSON array of %zu values", rs_json_size(array));
}
