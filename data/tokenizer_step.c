/* data/tokenizer_step.c: normalisers and pre-tokenizers as one list of small steps, run depth first: a piece of text
 * goes through all steps behind before the next piece is cut, so no list of pieces is ever kept. */
#include "analyzer/base/alloc.h"
#include "data/tokenizer_parts.h"

#include <string.h>
#include <utf8proc.h>

/* ---- Building ---- */

static rs_status add_step(rs_steps *s, rs_step_kind kind, rs_step **out, rs_error *err) {
    if (s->count == RS_STEPS_MAX)
        return rs_fail(err, RS_E_UNSUPPORTED, "more than %d normalisation and pre-tokenization steps", RS_STEPS_MAX);
    *out = &s->item[s->count++];
    **out = (rs_step){.kind = kind};
    return RS_OK;
}

static rs_status keep(char **copy, size_t *bytes, const char *s, size_t n, rs_error *err) {
    *bytes = n;
    return rs_strndup(copy, s, n, err);
}

rs_status rs_steps_nfc(rs_steps *s, rs_error *err) {
    rs_step *step = NULL;
    return add_step(s, RS_STEP_NFC, &step, err);
}

rs_status rs_steps_replace(rs_steps *s, const char *from, size_t from_bytes, const char *to, size_t to_bytes,
                           rs_error *err) {
    rs_step *step = NULL;
    rs_status st = add_step(s, RS_STEP_REPLACE, &step, err);
    if (st == RS_OK) st = keep(&step->from, &step->from_bytes, from, from_bytes, err);
    return st == RS_OK ? keep(&step->to, &step->to_bytes, to, to_bytes, err) : st;
}

rs_status rs_steps_prefix(rs_steps *s, const char *to, size_t n, bool unless_there, bool only_first, rs_error *err) {
    rs_step *step = NULL;
    rs_status st = add_step(s, RS_STEP_PREFIX, &step, err);
    if (st == RS_OK) {
        step->unless_there = unless_there;
        step->only_first = only_first;
        st = keep(&step->to, &step->to_bytes, to, n, err);
    }
    return st;
}

static rs_status add_split(rs_steps *s, rs_behavior behavior, bool invert, rs_step **step, rs_error *err) {
    rs_status st = add_step(s, RS_STEP_SPLIT, step, err);
    if (st == RS_OK) {
        (*step)->behavior = behavior;
        (*step)->invert = invert;
    }
    return st;
}

rs_status rs_steps_split_regex(rs_steps *s, const char *pattern, size_t n, rs_behavior behavior, bool invert,
                               rs_error *err) {
    rs_step *step = NULL;
    rs_status st = add_split(s, behavior, invert, &step, err);
    return st == RS_OK ? rs_regex_compile(pattern, n, &step->pattern, err) : st;
}

rs_status rs_steps_split_string(rs_steps *s, const char *from, size_t n, rs_behavior behavior, bool invert,
                                rs_error *err) {
    rs_step *step = NULL;
    rs_status st = add_split(s, behavior, invert, &step, err);
    return st == RS_OK ? keep(&step->from, &step->from_bytes, from, n, err) : st;
}

rs_status rs_steps_bytes(rs_steps *s, rs_error *err) {
    rs_step *step = NULL;
    return add_step(s, RS_STEP_BYTES, &step, err);
}

bool rs_steps_has(const rs_steps *s, rs_step_kind kind) {
    for (size_t i = 0; i < s->count; i++) {
        if (s->item[i].kind == kind) return true;
    }
    return false;
}

void rs_steps_deinit(rs_steps *s) {
    for (size_t i = 0; i < s->count; i++) {
        rs_free(s->item[i].from);
        rs_free(s->item[i].to);
        rs_regex_free(s->item[i].pattern);
    }
    *s = (rs_steps){0};
}

/* ---- GPT-2's bytes as characters: printable ones of Latin-1 are themselves, the others count up from U+0100 ---- */

uint32_t rs_byte_char(unsigned char byte) {
    if (byte <= 0x20) return 0x100U + byte;
    if (byte >= 0x7F && byte <= 0xA0) return 0x121U + (byte - 0x7FU);
    return byte == 0xAD ? 0x143U : byte;
}

int rs_char_byte(uint32_t c) {
    int byte = c < 0x100    ? (int)c
               : c <= 0x120 ? (int)c - 0x100
               : c <= 0x142 ? (int)c - 0x121 + 0x7F
               : c == 0x143 ? 0xAD
                            : -1;
    return byte >= 0 && rs_byte_char((unsigned char)byte) == c ? byte : -1;
}

static void append_bytes_as_chars(rs_text *out, const char *s, size_t n) {
    for (size_t i = 0; i < n;) {
        size_t run = i;
        while (run < n && s[run] >= '!' && s[run] <= '~') run++;
        rs_text_append_n(out, s + i, run - i);
        if (run < n) {
            char c[4];
            rs_text_append_n(out, c, rs_utf8_encode(rs_byte_char((unsigned char)s[run]), c));
            run++;
        }
        i = run;
    }
}

/* ---- Normal form C ---- */

/* Appends the NFC of a run that neither composes with what stands before nor with what comes behind. */
static rs_status nfc_run(rs_text *out, const char *s, size_t n, rs_error *err) {
    const utf8proc_option_t options = UTF8PROC_STABLE | UTF8PROC_COMPOSE;
    utf8proc_int32_t *points = NULL;
    /* Canonical decomposition makes at most four code points of one character, those of three bytes (U+1F82). */
    const utf8proc_ssize_t room = n < PTRDIFF_MAX / 16 ? (utf8proc_ssize_t)(2 * n) : 0;
    rs_status st = room ? RS_NEW(&points, (size_t)room + 1, err)
                        : rs_fail(err, RS_E_NOMEM, "out of memory: %zu bytes to normalise", n);
    if (st != RS_OK) return st;
    utf8proc_ssize_t count =
        utf8proc_decompose((const utf8proc_uint8_t *)s, (utf8proc_ssize_t)n, points, room, options);
    if (count >= 0 && count <= room) count = utf8proc_normalize_utf32(points, count, options);
    if (count < 0 || count > room)
        st = rs_fail(err, RS_E_INTERNAL, "NFC failed: %s", count < 0 ? utf8proc_errmsg(count) : "too long");
    for (utf8proc_ssize_t i = 0; st == RS_OK && i < count; i++) {
        char c[4];
        rs_text_append_n(out, c, rs_utf8_encode((uint32_t)points[i], c));
    }
    rs_free(points);
    return st;
}

/* ASCII is its own normal form and composes with nothing before it, so only stretches of other characters, with the one
 * ASCII character in front that they may compose with, go through the library. */
rs_status rs_nfc_append(rs_text *out, const char *s, size_t n, rs_error *err) {
    rs_status st = RS_OK;
    for (size_t i = 0; i < n && st == RS_OK;) {
        size_t other = i;
        while (other < n && (unsigned char)s[other] < 0x80) other++;
        size_t run = other < n && other > i ? other - 1 : other;
        rs_text_append_n(out, s + i, run - i);
        i = other;
        while (i < n && (unsigned char)s[i] >= 0x80) i++;
        if (i > run) st = nfc_run(out, s + run, i - run, err);
    }
    return st == RS_OK ? rs_text_status(out, err) : st;
}

/* ---- Running ---- */

typedef struct runner {
    const rs_steps *steps;
    rs_step_room *room;
    size_t last;
    rs_word_fn word;
    void *context;
    rs_error *err;
} runner;

static rs_status run_from(const runner *r, size_t i, const char *text, size_t n, bool at_start);

/* A stretch that a split has found and not yet handed on: the next one may belong to it. */
typedef struct stretch {
    size_t start, end;
    bool held, match; /* match: of the last part of it */
} stretch;

static rs_status hand_on(const runner *r, size_t i, const char *text, stretch *held, bool at_start) {
    rs_status st = RS_OK;
    if (held->held && !(r->steps->item[i].behavior == RS_REMOVED && held->match))
        st = run_from(r, i + 1, text + held->start, held->end - held->start, at_start && held->start == 0);
    held->held = false;
    return st;
}

static bool belongs(rs_behavior behavior, const stretch *held, bool match) {
    switch (behavior) {
    case RS_MERGED_PREVIOUS: return match && !held->match;
    case RS_MERGED_NEXT: return !match && held->match;
    case RS_CONTIGUOUS: return match == held->match;
    case RS_ISOLATED:
    case RS_REMOVED: break;
    }
    return false;
}

static rs_status take(const runner *r, size_t i, const char *text, stretch *held, size_t start, size_t end, bool match,
                      bool at_start) {
    const rs_step *step = &r->steps->item[i];
    rs_status st = RS_OK;
    match = match != step->invert;
    if (start == end) return RS_OK;
    if (held->held && belongs(step->behavior, held, match)) {
        held->end = end;
        held->match = match;
        return RS_OK;
    }
    st = hand_on(r, i, text, held, at_start);
    *held = (stretch){.start = start, .end = end, .held = true, .match = match};
    return st;
}

static void find_string(const char *text, size_t n, size_t from, const char *what, size_t bytes, size_t *start,
                        size_t *end) {
    *start = *end = n;
    for (size_t at = from; bytes > 0 && at + bytes <= n; at++) {
        const char *hit = memchr(text + at, what[0], n - at - bytes + 1);
        if (!hit) return;
        at = (size_t)(hit - text);
        if (memcmp(hit, what, bytes) == 0) {
            *start = at;
            *end = at + bytes;
            return;
        }
    }
}

static rs_status split(const runner *r, size_t i, const char *text, size_t n, bool at_start) {
    const rs_step *step = &r->steps->item[i];
    stretch held = {0};
    rs_status st = RS_OK;
    for (size_t from = 0; from < n && st == RS_OK;) {
        size_t start = n;
        size_t end = n;
        if (step->pattern) {
            st = rs_regex_next(step->pattern, r->room->regex, text, n, from, &start, &end, r->err);
        } else {
            find_string(text, n, from, step->from, step->from_bytes, &start, &end);
        }
        if (st == RS_OK) st = take(r, i, text, &held, from, start, false, at_start);
        if (st == RS_OK) st = take(r, i, text, &held, start, end, true, at_start);
        from = end;
    }
    return st == RS_OK ? hand_on(r, i, text, &held, at_start) : st;
}

static void replace(rs_text *out, const rs_step *step, const char *text, size_t n) {
    for (size_t from = 0; from < n;) {
        size_t start = n;
        size_t end = n;
        find_string(text, n, from, step->from, step->from_bytes, &start, &end);
        rs_text_append_n(out, text + from, start - from);
        if (end > start) rs_text_append_n(out, step->to, step->to_bytes);
        from = end;
    }
}

static void prefix(rs_text *out, const rs_step *step, const char *text, size_t n, bool at_start) {
    bool there = n >= step->to_bytes && memcmp(text, step->to, step->to_bytes) == 0;
    if (!(step->unless_there && there) && (at_start || !step->only_first))
        rs_text_append_n(out, step->to, step->to_bytes);
    rs_text_append_n(out, text, n);
}

static rs_status rewrite(const runner *r, size_t i, const char *text, size_t n, bool at_start) {
    const rs_step *step = &r->steps->item[i];
    rs_text *out = &r->room->scratch[i];
    rs_status st = RS_OK;
    out->bytes = 0;
    switch (step->kind) {
    case RS_STEP_NFC: st = rs_nfc_append(out, text, n, r->err); break;
    case RS_STEP_REPLACE: replace(out, step, text, n); break;
    case RS_STEP_PREFIX: prefix(out, step, text, n, at_start); break;
    case RS_STEP_BYTES: append_bytes_as_chars(out, text, n); break;
    case RS_STEP_SPLIT: break;
    }
    if (st == RS_OK) st = rs_text_status(out, r->err);
    return st == RS_OK ? run_from(r, i + 1, out->data, out->bytes, at_start) : st;
}

static rs_status run_from(const runner *r, size_t i, const char *text, size_t n, bool at_start) {
    if (n == 0) return RS_OK;
    if (i == r->last) return r->word(r->context, text, n, r->err);
    return r->steps->item[i].kind == RS_STEP_SPLIT ? split(r, i, text, n, at_start) : rewrite(r, i, text, n, at_start);
}

rs_status rs_steps_run(const rs_steps *s, rs_step_room *room, size_t first, size_t last, const char *text, size_t n,
                       bool at_start, rs_word_fn word, void *context, rs_error *err) {
    const runner r = {.steps = s, .room = room, .last = last, .word = word, .context = context, .err = err};
    return run_from(&r, first, text, n, at_start);
}
