/* data/tokenizer_json_steps.c: the normalisers and pre-tokenizers of tokenizer.json as steps. What is not in the tables
 * is refused by name. */
#include "data/tokenizer_parts.h"

#include <string.h>

/* Sequences may nest; files in the wild nest once. */
enum { MAX_NESTING = 8 };

/* The pattern of GPT-2 (Radford et al. 2019, encoder.py), which ByteLevel carries in itself. */
static const char gpt2_pattern[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

typedef rs_status (*read_fn)(rs_steps *s, const rs_json *j, int depth, rs_error *err);

typedef struct reader {
    const char *type;
    read_fn read;
} reader;

static rs_status read_by_type(const reader *table, size_t count, const char *what, rs_steps *s, const rs_json *j,
                              int depth, rs_error *err) {
    if (rs_json_is_null(j)) return RS_OK;
    const char *type = rs_json_string(rs_json_get(j, "type"), NULL);
    if (!type) return rs_fail(err, RS_E_FORMAT, "%s: found no 'type', expected a string", what);
    if (depth > MAX_NESTING)
        return rs_fail(err, RS_E_UNSUPPORTED, "%s: sequences nested more than %d deep", what, MAX_NESTING);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(table[i].type, type) == 0) {
            rs_status st = table[i].read(s, j, depth, err);
            if (st != RS_OK) rs_error_prefix(err, "%s '%s'", what, type);
            return st;
        }
    }
    return rs_fail(err, RS_E_UNSUPPORTED, "%s '%s' is not supported", what, type);
}

static rs_status need_array(const rs_json *j, const char *field, rs_error *err) {
    return rs_json_is(j, RS_JSON_ARRAY)
               ? RS_OK
               : rs_fail(err, RS_E_FORMAT, "field '%s': found %s, expected an array", field, rs_json_kind_name(j));
}

static rs_status need_string(const rs_json *j, const char *field, const char **s, size_t *n, rs_error *err) {
    const rs_json *value = rs_json_get(j, field);
    *s = rs_json_string(value, n);
    return *s ? RS_OK
              : rs_fail(err, RS_E_FORMAT, "field '%s': found %s, expected a string", field, rs_json_kind_name(value));
}

/* {"String": s} or {"Regex": s} */
static rs_status need_pattern(const rs_json *j, const char **s, size_t *n, bool *is_regex, rs_error *err) {
    const rs_json *pattern = rs_json_get(j, "pattern");
    *is_regex = rs_json_get(pattern, "Regex") != NULL;
    rs_status st = need_string(pattern, *is_regex ? "Regex" : "String", s, n, err);
    if (st != RS_OK) rs_error_prefix(err, "field 'pattern'");
    return st;
}

/* ---- Normalisers ---- */

static rs_status read_normalizer(rs_steps *s, const rs_json *j, int depth, rs_error *err);

static rs_status normalizer_sequence(rs_steps *s, const rs_json *j, int depth, rs_error *err) {
    const rs_json *list = rs_json_get(j, "normalizers");
    rs_status st = need_array(list, "normalizers", err);
    for (size_t i = 0; st == RS_OK && i < rs_json_size(list); i++)
        st = read_normalizer(s, rs_json_at(list, i), depth + 1, err);
    return st;
}

static rs_status normalizer_nfc(rs_steps *s, const rs_json *j, int depth, rs_error *err) {
    (void)j;
    (void)depth;
    return rs_steps_nfc(s, err);
}

static rs_status normalizer_replace(rs_steps *s, const rs_json *j, int depth, rs_error *err) {
    const char *from = NULL;
    const char *to = NULL;
    size_t from_bytes = 0;
    size_t to_bytes = 0;
    bool regex = false;
    (void)depth;
    rs_status st = need_pattern(j, &from, &from_bytes, &regex, err);
    if (st == RS_OK) st = need_string(j, "content", &to, &to_bytes, err);
    if (st == RS_OK && regex)
        return rs_fail(err, RS_E_UNSUPPORTED, "a regular expression as pattern ('%s') is not supported", from);
    return st == RS_OK ? rs_steps_replace(s, from, from_bytes, to, to_bytes, err) : st;
}

static rs_status normalizer_prepend(rs_steps *s, const rs_json *j, int depth, rs_error *err) {
    const char *to = NULL;
    size_t n = 0;
    (void)depth;
    rs_status st = need_string(j, "prepend", &to, &n, err);
    return st == RS_OK ? rs_steps_prefix(s, to, n, false, false, err) : st;
}

static rs_status read_normalizer(rs_steps *s, const rs_json *j, int depth, rs_error *err) {
    static const reader table[] = {
        {"Sequence", normalizer_sequence},
        {"NFC", normalizer_nfc},
        {"Replace", normalizer_replace},
        {"Prepend", normalizer_prepend},
    };
    return read_by_type(table, sizeof table / sizeof *table, "normalizer", s, j, depth, err);
}

rs_status rs_steps_read_normalizer(rs_steps *s, const rs_json *j, rs_error *err) {
    rs_status st = read_normalizer(s, j, 0, err);
    s->normalizers = s->count;
    return st;
}

/* ---- Pre-tokenizers ---- */

static rs_status read_pre_tokenizer(rs_steps *s, const rs_json *j, int depth, rs_error *err);

static rs_status pre_sequence(rs_steps *s, const rs_json *j, int depth, rs_error *err) {
    const rs_json *list = rs_json_get(j, "pretokenizers");
    rs_status st = need_array(list, "pretokenizers", err);
    for (size_t i = 0; st == RS_OK && i < rs_json_size(list); i++)
        st = read_pre_tokenizer(s, rs_json_at(list, i), depth + 1, err);
    return st;
}

rs_status rs_steps_byte_level(rs_steps *s, bool add_prefix_space, bool use_regex, rs_error *err) {
    rs_status st = add_prefix_space ? rs_steps_prefix(s, " ", 1, true, false, err) : RS_OK;
    if (st == RS_OK && use_regex)
        st = rs_steps_split_regex(s, gpt2_pattern, sizeof gpt2_pattern - 1, RS_ISOLATED, false, err);
    return st == RS_OK ? rs_steps_bytes(s, err) : st;
}

static rs_status pre_byte_level(rs_steps *s, const rs_json *j, int depth, rs_error *err) {
    (void)depth;
    return rs_steps_byte_level(s, rs_json_bool(rs_json_get(j, "add_prefix_space"), true),
                               rs_json_bool(rs_json_get(j, "use_regex"), true), err);
}

static rs_status need_behavior(const rs_json *j, rs_behavior *behavior, rs_error *err) {
    static const char *const names[] = {[RS_ISOLATED] = "Isolated",
                                        [RS_REMOVED] = "Removed",
                                        [RS_MERGED_PREVIOUS] = "MergedWithPrevious",
                                        [RS_MERGED_NEXT] = "MergedWithNext",
                                        [RS_CONTIGUOUS] = "Contiguous"};
    const char *name = NULL;
    rs_status st = need_string(j, "behavior", &name, NULL, err);
    for (size_t i = 0; st == RS_OK && i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i]) == 0) {
            *behavior = (rs_behavior)i;
            return RS_OK;
        }
    }
    return st == RS_OK ? rs_fail(err, RS_E_UNSUPPORTED, "behavior '%s' is not supported", name) : st;
}

static rs_status pre_split(rs_steps *s, const rs_json *j, int depth, rs_error *err) {
    const char *pattern = NULL;
    size_t n = 0;
    bool regex = false;
    rs_behavior behavior = RS_ISOLATED;
    bool invert = rs_json_bool(rs_json_get(j, "invert"), false);
    (void)depth;
    rs_status st = need_pattern(j, &pattern, &n, &regex, err);
    if (st == RS_OK) st = need_behavior(j, &behavior, err);
    if (st != RS_OK) return st;
    return regex ? rs_steps_split_regex(s, pattern, n, behavior, invert, err)
                 : rs_steps_split_string(s, pattern, n, behavior, invert, err);
}

static rs_status split_class(rs_steps *s, const char *pattern, rs_behavior behavior, rs_error *err) {
    return rs_steps_split_regex(s, pattern, strlen(pattern), behavior, false, err);
}

static rs_status pre_digits(rs_steps *s, const rs_json *j, int depth, rs_error *err) {
    bool one_by_one = rs_json_bool(rs_json_get(j, "individual_digits"), false);
    (void)depth;
    return split_class(s, "\\p{N}", one_by_one ? RS_ISOLATED : RS_CONTIGUOUS, err);
}

/* ASCII punctuation and Unicode's P; unlike P alone it counts $+<=>^`|~. */
static rs_status pre_punctuation(rs_steps *s, const rs_json *j, int depth, rs_error *err) {
    rs_behavior behavior = RS_ISOLATED;
    (void)depth;
    rs_status st = rs_json_is_null(rs_json_get(j, "behavior")) ? RS_OK : need_behavior(j, &behavior, err);
    return st == RS_OK ? split_class(s, "[!-/:-@\\[-`{-~\\p{P}]", behavior, err) : st;
}

static rs_status pre_whitespace_split(rs_steps *s, const rs_json *j, int depth, rs_error *err) {
    (void)j;
    (void)depth;
    return split_class(s, "\\s", RS_REMOVED, err);
}

/* Older files have add_prefix_space where newer ones have prepend_scheme. */
static rs_status pre_metaspace(rs_steps *s, const rs_json *j, int depth, rs_error *err) {
    const char *mark = NULL;
    size_t n = 0;
    const char *scheme = rs_json_string(rs_json_get(j, "prepend_scheme"), NULL);
    bool old = rs_json_bool(rs_json_get(j, "add_prefix_space"), true);
    (void)depth;
    rs_status st = need_string(j, "replacement", &mark, &n, err);
    scheme = scheme ? scheme : old ? "always" : "never";
    if (st == RS_OK && strcmp(scheme, "always") != 0 && strcmp(scheme, "first") != 0 && strcmp(scheme, "never") != 0)
        return rs_fail(err, RS_E_UNSUPPORTED, "prepend_scheme '%s' is not supported", scheme);
    if (st == RS_OK) st = rs_steps_replace(s, " ", 1, mark, n, err);
    if (st == RS_OK && strcmp(scheme, "never") != 0)
        st = rs_steps_prefix(s, mark, n, true, strcmp(scheme, "first") == 0, err);
    if (st == RS_OK && rs_json_bool(rs_json_get(j, "split"), true))
        st = rs_steps_split_string(s, mark, n, RS_MERGED_NEXT, false, err);
    return st;
}

static rs_status read_pre_tokenizer(rs_steps *s, const rs_json *j, int depth, rs_error *err) {
    static const reader table[] = {
        {"Sequence", pre_sequence},   {"ByteLevel", pre_byte_level},    {"Split", pre_split},
        {"Digits", pre_digits},       {"Punctuation", pre_punctuation}, {"WhitespaceSplit", pre_whitespace_split},
        {"Metaspace", pre_metaspace},
    };
    return read_by_type(table, sizeof table / sizeof *table, "pre_tokenizer", s, j, depth, err);
}

rs_status rs_steps_read_pre_tokenizer(rs_steps *s, const rs_json *j, rs_error *err) {
    return read_pre_tokenizer(s, j, 0, err);
}
