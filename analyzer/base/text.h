/* base/text.h: a growing byte string, and the few questions we ask of text. */
#ifndef RS_BASE_TEXT_H
#define RS_BASE_TEXT_H

#include "analyzer/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zero-initialise ({0}) and free with rs_text_deinit. data is NUL-terminated once anything was appended.
 * Appending never fails at the call: an allocation that fails sets `failed`, and later calls do nothing;
 * check once at the end with rs_text_status. */
typedef struct rs_text {
    char *data; /* [bytes + 1] */
    size_t bytes, room;
    bool failed;
} rs_text;

void rs_text_append(rs_text *t, const char *s);
void rs_text_append_n(rs_text *t, const void *s, size_t n);
void rs_text_printf(rs_text *t, const char *fmt, ...) RS_PRINTF(2, 3);
/* s as a JSON string with its quotes: RFC 8259, and '<', '>', '&', U+2028/9 as \u escapes so that it may stand inside a
 * <script>. Bytes that are not UTF-8 become U+FFFD. */
void rs_text_json_string(rs_text *t, const char *s, size_t n);
/* s escaped for HTML text and double- or single-quoted attributes; bytes that are not UTF-8 become U+FFFD. */
void rs_text_html(rs_text *t, const char *s, size_t n);
rs_status rs_text_status(const rs_text *t, rs_error *err); /* RS_OK or RS_E_NOMEM */
void rs_text_deinit(rs_text *t);

/* Length of the UTF-8 sequence at s (1..4), 0 when it is not valid (RFC 3629: no overlong, no surrogates). */
size_t rs_utf8_length(const char *s, size_t n);
/* True when all n bytes are valid UTF-8; otherwise *bad is the offset of the first bad byte. */
bool rs_utf8_valid(const char *s, size_t n, size_t *bad);
/* Decodes one code point; returns its length (0: invalid). */
size_t rs_utf8_decode(const char *s, size_t n, uint32_t *code_point);
/* Writes a code point as UTF-8 into out[4]; returns its length. */
size_t rs_utf8_encode(uint32_t code_point, char *out);

bool rs_starts_with(const char *s, const char *prefix);
bool rs_ends_with(const char *s, const char *suffix);
/* Shell-style pattern with * and ? only, whole string. */
bool rs_glob_match(const char *pattern, const char *s);
/* 1536 -> "1.5 KiB". out holds 32 bytes at least; returns out. */
char *rs_format_bytes(char out[32], uint64_t bytes);
/* 1234567 -> "1,234,567". */
char *rs_format_count(char out[32], int64_t n);

#endif
