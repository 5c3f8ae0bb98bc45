/* base/text.c: see text.h. */
#include "analyzer/base/text.h"

#include "analyzer/base/alloc.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */

static bool make_room(rs_text *t, size_t more) {
    if (t->failed) return false;
    if (t->data && more < t->room - t->bytes) return true;
    size_t room = t->room ? t->room : 64;
    while (room - t->bytes <= more && room <= SIZE_MAX / 2) room *= 2;
    void *block = t->data;
    t->failed = room - t->bytes <= more || rs_resize(&block, t->data ? t->bytes + 1 : 0, room, 1, NULL) != RS_OK;
    if (t->failed) return false;
    t->data = block;
    t->room = room;
    return true;
}

void rs_text_append_n(rs_text *t, const void *s, size_t n) {
    if (!make_room(t, n)) return;
    if (n > 0) memcpy(t->data + t->bytes, s, n);
    t->bytes += n;
    t->data[t->bytes] = '\0';
}

void rs_text_append(rs_text *t, const char *s) { rs_text_append_n(t, s, strlen(s)); }

void rs_text_printf(rs_text *t, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n < 0) t->failed = true;
    if (n < 0 || !make_room(t, (size_t)n)) return;
    va_start(args, fmt);
    vsnprintf(t->data + t->bytes, (size_t)n + 1, fmt, args);
    va_end(args);
    t->bytes += (size_t)n;
}

rs_status rs_text_status(const rs_text *t, rs_error *err) {
    if (!t->failed) return RS_OK;
    return rs_fail(err, RS_E_NOMEM, "out of memory: a text of more than %zu bytes", t->bytes);
}

void rs_text_deinit(rs_text *t) {
    if (!t) return;
    rs_free(t->data);
    *t = (rs_text){0};
}

/* Never NULL for the characters that JSON, or a <script> around it, does not allow as they are. */
static const char *json_escape(uint32_t c, char out[8]) {
    switch (c) {
    case '"': return "\\\"";
    case '\\': return "\\\\";
    case '\b': return "\\b";
    case '\f': return "\\f";
    case '\n': return "\\n";
    case '\r': return "\\r";
    case '\t': return "\\t";
    default: break;
    }
    bool unsafe = c < 0x20 || c == '<' || c == '>' || c == '&' || c == 0x2028 || c == 0x2029;
    if (!unsafe) return NULL;
    snprintf(out, 8, "\\u%04x", (unsigned)(c & 0xFFFFU));
    return out;
}

/* XML has no way to write the other control characters, and SVG is XML. */
static const char *html_escape(uint32_t c, char out[8]) {
    (void)out;
    switch (c) {
    case '&': return "&amp;";
    case '<': return "&lt;";
    case '>': return "&gt;";
    case '"': return "&quot;";
    case '\'': return "&#39;";
    default: return c < 0x20 && c != '\t' && c != '\n' && c != '\r' ? REPLACEMENT : NULL;
    }
}

static void append_escaped(rs_text *t, const char *s, size_t n, const char *(*escape)(uint32_t, char[8])) {
    char room[8];
    for (size_t i = 0, plain = 0; i < n || plain < n;) {
        uint32_t c = 0;
        size_t length = i < n ? rs_utf8_decode(s + i, n - i, &c) : 0;
        const char *instead = length ? escape(c, room) : REPLACEMENT;
        if (i < n && !instead) {
            i += length;
            continue;
        }
        rs_text_append_n(t, s + plain, i - plain);
        if (i < n) rs_text_append(t, instead);
        i += length ? length : 1;
        plain = i;
    }
}

void rs_text_json_string(rs_text *t, const char *s, size_t n) {
    rs_text_append(t, "\"");
    append_escaped(t, s, n, json_escape);
    rs_text_append(t, "\"");
}

void rs_text_html(rs_text *t, const char *s, size_t n) {
    rs_text_append_n(t, "", 0); /* an empty text is still a string */
    append_escaped(t, s, n, html_escape);
}

size_t rs_utf8_length(const char *s, size_t n) {
    uint32_t c;
    return rs_utf8_decode(s, n, &c);
}

bool rs_utf8_valid(const char *s, size_t n, size_t *bad) {
    for (size_t i = 0; i < n;) {
        size_t length = rs_utf8_length(s + i, n - i);
        if (length == 0) {
            if (bad) *bad = i;
            return false;
        }
        i += length;
    }
    return true;
}

size_t rs_utf8_decode(const char *s, size_t n, uint32_t *code_point) {
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    if (n == 0) return 0;
    uint32_t c = (unsigned char)s[0];
    size_t length = c < 0x80 ? 1 : c < 0xC0 ? 0 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : c < 0xF8 ? 4 : 0;
    if (length == 0 || length > n) return 0;
    if (length > 1) c &= 0x7FU >> length;
    for (size_t i = 1; i < length; i++) {
        uint32_t next = (unsigned char)s[i];
        if ((next & 0xC0U) != 0x80U) return 0;
        c = c << 6 | (next & 0x3FU);
    }
    if (c < least[length] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF)) return 0;
    *code_point = c;
    return length;
}

size_t rs_utf8_encode(uint32_t code_point, char *out) {
    uint32_t c = code_point <= 0x10FFFF && (code_point < 0xD800 || code_point > 0xDFFF) ? code_point : 0xFFFD;
    size_t length = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char lead[5] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = length - 1; i > 0; i--, c >>= 6) out[i] = (char)(unsigned char)(0x80U | (c & 0x3FU));
    out[0] = (char)(unsigned char)(lead[length] | c);
    return length;
}

bool rs_starts_with(const char *s, const char *prefix) { return strncmp(s, prefix, strlen(prefix)) == 0; }

bool rs_ends_with(const char *s, const char *suffix) {
    size_t n = strlen(s), m = strlen(suffix);
    return n >= m && memcmp(s + n - m, suffix, m) == 0;
}

/* Going back to the last '*' alone is enough, so the time is at most |pattern| * |s|. */
bool rs_glob_match(const char *pattern, const char *s) {
    const char *star = NULL, *resume = NULL;
    while (*s) {
        if (*pattern == '*') {
            star = ++pattern;
            resume = s;
        } else if (*pattern == '?') {
            size_t length = rs_utf8_length(s, strlen(s));
            pattern++;
            s += length ? length : 1;
        } else if (*pattern == *s) {
            pattern++;
            s++;
        } else if (star) {
            pattern = star;
            s = ++resume;
        } else {
            return false;
        }
    }
    while (*pattern == '*') pattern++;
    return *pattern == '\0';
}

char *rs_format_bytes(char out[32], uint64_t bytes) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    size_t unit = 0;
    for (; value >= 1023.95 && unit + 1 < sizeof units / sizeof *units; unit++) value /= 1024.0;
    if (bytes < 1024) {
        snprintf(out, 32, "%" PRIu64 " B", bytes);
    } else {
        snprintf(out, 32, "%.1f %s", value, units[unit]);
    }
    return out;
}

char *rs_format_count(char out[32], int64_t n) {
    char digits[24];
    uint64_t size = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;
    int count = snprintf(digits, sizeof digits, "%" PRIu64, size);
    char *to = out;
    if (n < 0) *to++ = '-';
    for (int i = 0; i < count; i++) {
        if (i > 0 && (count - i) % 3 == 0) *to++ = ',';
        *to++ = digits[i];
    }
    *to = '\0';
    return out;
}
