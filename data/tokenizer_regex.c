/* data/tokenizer_regex.c: the patterns of tokenizer.json on PCRE2.
 * Hugging Face matches them with Oniguruma in Ruby syntax. Where the two engines agree a pattern goes through as it is;
 * where they name the same thing differently it is rewritten; where they differ in meaning it is refused: \s \S PCRE2
 * counts U+180E as a space, Oniguruma does not: written out \w \W      differ on marks: Alphabetic, M, Nd, Pc written
 * out \p{Han}    PCRE2 means Script_Extensions: \p{sc:Han} \v ^ $     a vertical tab; ^ and $ are those of every line
 * Compared over all code points with PCRE2 10.42 and Oniguruma 6.9.8. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "analyzer/base/alloc.h"
#include "data/tokenizer_parts.h"

#include <pcre2.h>
#include <string.h>

#define SPACES "\\t-\\r \\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}\\x{205F}\\x{3000}"
#define NO_SPACES                                                                                                      \
    "\\x{00}-\\x{08}\\x{0E}-\\x{1F}\\x{21}-\\x{84}\\x{86}-\\x{9F}\\x{A1}-\\x{167F}\\x{1681}-\\x{1FFF}\\x{200B}-\\x{"   \
    "2027}"                                                                                                            \
    "\\x{202A}-\\x{202E}\\x{2030}-\\x{205E}\\x{2060}-\\x{2FFF}\\x{3001}-\\x{10FFFF}"
#define WORD "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}"

enum { MAX_PATTERN = 1 << 16, JIT_STACK_FIRST = 1 << 15, JIT_STACK_MOST = 1 << 23 };

struct rs_regex {
    pcre2_code *code;
};

struct rs_regex_room {
    pcre2_match_data *match;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
};

/* ---- PCRE2's memory is ours ---- */

static void *take_memory(size_t n, void *context) {
    void *block = NULL;
    (void)context;
    return rs_new(&block, n ? n : 1, 1, NULL) == RS_OK ? block : NULL;
}

static void give_memory(void *block, void *context) {
    (void)context;
    rs_free(block);
}

static rs_status no_memory(rs_error *err) { return rs_fail(err, RS_E_NOMEM, "out of memory: a regular expression"); }

/* ---- Translation ---- */

typedef struct translation {
    const char *s; /* [n] the pattern */
    size_t n, at;
    bool in_class;
    rs_text out;
    rs_error *err;
} translation;

static rs_status refuse(const translation *t, const char *what) {
    return rs_fail(t->err, RS_E_UNSUPPORTED, "regular expression '%.*s': %s at byte %zu is not supported",
                   (int)(t->n < 200 ? t->n : 200), t->s, what, t->at);
}

static bool next_is(const translation *t, size_t ahead, char c) {
    return t->at + ahead < t->n && t->s[t->at + ahead] == c;
}

/* Escapes that stand for a set of characters: the members, and the members of the complement. NULL: cannot stand in
 * [..]. */
static const struct set_escape {
    char letter;
    const char *in_class, *outside;
} set_escapes[] = {
    {'s', SPACES, "[" SPACES "]"}, {'S', NO_SPACES, "[^" SPACES "]"}, {'d', "\\p{Nd}", "\\p{Nd}"},
    {'D', "\\P{Nd}", "\\P{Nd}"},   {'w', WORD, "[" WORD "]"},         {'W', NULL, "[^" WORD "]"},
    {'v', "\\x0B", "\\x0B"},
};

/* Properties that both engines define alike: general categories. */
static const char *const categories[] = {"L",  "Ll", "Lu", "Lt", "Lm", "Lo", "M",  "Mn", "Mc", "Me", "N", "Nd",
                                         "Nl", "No", "P",  "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "S", "Sm",
                                         "Sc", "Sk", "So", "Z",  "Zs", "Zl", "Zp", "C",  "Cc", "Cf"};
static const char *const scripts[] = {"Han",      "Hiragana", "Katakana", "Hangul", "Latin",      "Greek",
                                      "Cyrillic", "Arabic",   "Hebrew",   "Thai",   "Devanagari", "Bopomofo"};

static bool is_one_of(const char *const *names, size_t count, const char *s, size_t n) {
    for (size_t i = 0; i < count; i++) {
        if (strlen(names[i]) == n && memcmp(names[i], s, n) == 0) return true;
    }
    return false;
}

/* \p{NAME}, \P{NAME}, \p{^NAME} */
static rs_status translate_property(translation *t) {
    const char *name = next_is(t, 2, '{') ? t->s + t->at + 3 : NULL;
    const char *close = name ? memchr(name, '}', t->n - t->at - 3) : NULL;
    if (!close) {
        return refuse(t, "a property without {..}");
    }
    size_t n = (size_t)(close - name);
    bool negated = n > 0 && name[0] == '^';
    const char *bare = name + negated;
    bool script = is_one_of(scripts, sizeof scripts / sizeof *scripts, bare, n - negated);
    if (!script && !is_one_of(categories, sizeof categories / sizeof *categories, bare, n - negated))
        return refuse(t, "this property");
    rs_text_printf(&t->out, "\\%c{%s%s%.*s}", t->s[t->at + 1], negated ? "^" : "", script ? "sc:" : "",
                   (int)(n - negated), bare);
    t->at += n + 4;
    return RS_OK;
}

static size_t hex_digits(const translation *t, size_t from, size_t most) {
    size_t n = 0;
    while (n < most && from + n < t->n && strchr("0123456789abcdefABCDEF", t->s[from + n]) && t->s[from + n]) n++;
    return n;
}

/* \x{HHHH}, \xHH below 0x80 (above, Oniguruma means a byte), \uHHHH */
static rs_status translate_code_point(translation *t) {
    bool braces = t->s[t->at + 1] == 'x' && next_is(t, 2, '{');
    bool u = t->s[t->at + 1] == 'u';
    size_t from = t->at + (braces ? 3 : 2);
    size_t digits = hex_digits(t, from, braces ? 6 : u ? 4 : 2);
    bool whole = braces ? digits > 0 && from + digits < t->n && t->s[from + digits] == '}' : digits == (u ? 4U : 2U);
    if (!whole || (!braces && !u && t->s[from] > '7')) return refuse(t, "this code point");
    rs_text_printf(&t->out, "\\x{%.*s}", (int)digits, t->s + from);
    t->at = from + digits + braces;
    return RS_OK;
}

static rs_status translate_escape(translation *t) {
    if (t->at + 1 >= t->n) return refuse(t, "a trailing backslash");
    char c = t->s[t->at + 1];
    for (size_t i = 0; i < sizeof set_escapes / sizeof *set_escapes; i++) {
        if (set_escapes[i].letter == c) {
            const char *members = t->in_class ? set_escapes[i].in_class : set_escapes[i].outside;
            if (!members) return refuse(t, "this escape inside [..]");
            rs_text_append(&t->out, members);
            t->at += 2;
            return RS_OK;
        }
    }
    if (c == 'p' || c == 'P') return translate_property(t);
    if (c == 'x' || c == 'u') return translate_code_point(t);
    bool alphanumeric = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (c == '\0' || (alphanumeric && !strchr("rntfae", c))) return refuse(t, "this escape");
    rs_text_append_n(&t->out, t->s + t->at, 2); /* of a character of several bytes the rest follows as itself */
    t->at += 2;
    return RS_OK;
}

static rs_status translate_in_class(translation *t) {
    char c = t->s[t->at];
    if (c == '\\') return translate_escape(t);
    if (c == '[' || (c == '&' && next_is(t, 1, '&'))) return refuse(t, "a set inside [..]");
    t->in_class = c != ']';
    rs_text_append_n(&t->out, &c, 1);
    t->at++;
    return RS_OK;
}

/* Behind '[': a '^' and a ']' that is a member. */
static void open_class(translation *t) {
    t->in_class = true;
    do {
        rs_text_append_n(&t->out, t->s + t->at, 1);
        t->at++;
    } while (next_is(t, 0, '^') && t->s[t->at - 1] == '[');
    if (next_is(t, 0, ']')) {
        rs_text_append(&t->out, "\\]");
        t->at++;
    }
}

static rs_status open_group(translation *t) {
    static const char *const kinds[] = {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        size_t n = strlen(kinds[i]);
        if (t->n - t->at >= n && memcmp(t->s + t->at, kinds[i], n) == 0) {
            rs_text_append(&t->out, kinds[i]);
            t->at += n;
            return RS_OK;
        }
    }
    if (next_is(t, 1, '?') || next_is(t, 1, '*')) return refuse(t, "this kind of group");
    rs_text_append(&t->out, "(?:"); /* nothing refers to groups */
    t->at++;
    return RS_OK;
}

/* {n}, {n,m}: a '+' behind means "again" in Ruby and "possessive" here; {,m} is a count there and text here. */
static rs_status translate_count(translation *t) {
    const char *close = memchr(t->s + t->at, '}', t->n - t->at);
    size_t n = close ? (size_t)(close - (t->s + t->at)) + 1 : 0;
    bool comma = n > 0 && memchr(t->s + t->at, ',', n);
    if (n == 0 || next_is(t, 1, ',') || next_is(t, n, '+') || (next_is(t, n, '?') && !comma))
        return refuse(t, "this count");
    rs_text_append_n(&t->out, t->s + t->at, n);
    t->at += n;
    return RS_OK;
}

static rs_status translate_outside(translation *t) {
    char c = t->s[t->at];
    switch (c) {
    case '\\': return translate_escape(t);
    case '[': open_class(t); return RS_OK;
    case '(': return open_group(t);
    case '{': return translate_count(t);
    case '^': rs_text_append(&t->out, "(?m:^)"); break;
    case '$': rs_text_append(&t->out, "(?m:$)"); break;
    default: rs_text_append_n(&t->out, &c, 1); break;
    }
    t->at++;
    return RS_OK;
}

static rs_status translate(translation *t) {
    rs_status st = RS_OK;
    while (t->at < t->n && st == RS_OK) st = t->in_class ? translate_in_class(t) : translate_outside(t);
    return st == RS_OK ? rs_text_status(&t->out, t->err) : st;
}

/* ---- Compiling and matching ---- */

static rs_status compile(const translation *t, rs_regex *r) {
    int number = 0;
    size_t at = 0;
    uint32_t empty = 0;
    pcre2_general_context *memory = pcre2_general_context_create(take_memory, give_memory, NULL);
    pcre2_compile_context *context = memory ? pcre2_compile_context_create(memory) : NULL;
    if (context) {
        pcre2_set_newline(context, PCRE2_NEWLINE_LF);
        r->code = pcre2_compile((PCRE2_SPTR)(t->out.data ? t->out.data : ""), t->out.bytes, PCRE2_UTF | PCRE2_UCP,
                                &number, &at, context);
    }
    pcre2_compile_context_free(context);
    pcre2_general_context_free(memory);
    if (!context || number == PCRE2_ERROR_HEAP_FAILED) return no_memory(t->err);
    if (!r->code) {
        char message[128] = "";
        pcre2_get_error_message(number, (PCRE2_UCHAR *)message, sizeof message);
        return rs_fail(t->err, RS_E_FORMAT, "regular expression '%.*s': %s", (int)(t->n < 200 ? t->n : 200), t->s,
                       message);
    }
    pcre2_pattern_info(r->code, PCRE2_INFO_MATCHEMPTY, &empty);
    if (empty)
        return rs_fail(t->err, RS_E_UNSUPPORTED, "regular expression '%.*s': it matches the empty text",
                       (int)(t->n < 200 ? t->n : 200), t->s);
    (void)pcre2_jit_compile(r->code, PCRE2_JIT_COMPLETE); /* without it matching is slower, not different */
    return RS_OK;
}

rs_status rs_regex_compile(const char *pattern, size_t n, rs_regex **out, rs_error *err) {
    translation t = {.s = pattern, .n = n, .err = err};
    rs_regex *r = NULL;
    *out = NULL;
    if (n > MAX_PATTERN)
        return rs_fail(err, RS_E_UNSUPPORTED, "regular expression of %zu bytes, at most %d are read", n, MAX_PATTERN);
    rs_status st = RS_NEW(&r, 1, err);
    if (st == RS_OK) st = translate(&t);
    if (st == RS_OK) st = compile(&t, r);
    if (st == RS_OK) {
        *out = r;
    } else {
        rs_regex_free(r);
    }
    rs_text_deinit(&t.out);
    return st;
}

void rs_regex_free(rs_regex *r) {
    if (r) {
        pcre2_code_free(r->code);
        rs_free(r);
    }
}

rs_status rs_regex_room_create(rs_regex_room **out, rs_error *err) {
    rs_regex_room *r = NULL;
    rs_status st = RS_NEW(&r, 1, err);
    pcre2_general_context *memory = st == RS_OK ? pcre2_general_context_create(take_memory, give_memory, NULL) : NULL;
    *out = NULL;
    if (memory) {
        r->match = pcre2_match_data_create(1, memory);
        r->context = pcre2_match_context_create(memory);
        r->stack = pcre2_jit_stack_create(JIT_STACK_FIRST, JIT_STACK_MOST, memory); /* NULL where there is no JIT */
    }
    pcre2_general_context_free(memory);
    if (st == RS_OK && (!memory || !r->match || !r->context)) st = no_memory(err);
    if (st != RS_OK) {
        rs_regex_room_destroy(r);
        return st;
    }
    if (r->stack) pcre2_jit_stack_assign(r->context, NULL, r->stack);
    *out = r;
    return RS_OK;
}

void rs_regex_room_destroy(rs_regex_room *r) {
    if (r) {
        pcre2_match_data_free(r->match);
        pcre2_match_context_free(r->context);
        pcre2_jit_stack_free(r->stack);
        rs_free(r);
    }
}

rs_status rs_regex_next(const rs_regex *r, rs_regex_room *room, const char *text, size_t n, size_t from, size_t *start,
                        size_t *end, rs_error *err) {
    /* The text was checked once; checking it at every match would cost the square of its length. */
    int rc = pcre2_match(r->code, (PCRE2_SPTR)text, n, from, PCRE2_NO_UTF_CHECK, room->match, room->context);
    *start = *end = n;
    if (rc == PCRE2_ERROR_NOMATCH) return RS_OK;
    if (rc == PCRE2_ERROR_NOMEMORY) return no_memory(err);
    if (rc < 0) {
        char message[128] = "";
        pcre2_get_error_message(rc, (PCRE2_UCHAR *)message, sizeof message);
        return rs_fail(err, RS_E_UNSUPPORTED, "the tokenizer's regular expression failed on this text: %s", message);
    }
    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(room->match);
    *start = at[0];
    *end = at[1];
    return RS_OK;
}
