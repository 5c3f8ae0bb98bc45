/* data/tokenizer_added.c: tokens that are cut out of the text before anything else: the longest at the leftmost place.
 */
#include "analyzer/base/alloc.h"
#include "data/tokenizer_parts.h"

#include <stdlib.h>
#include <string.h>

rs_status rs_added_put(rs_added *a, const char *text, size_t n, int32_t id, bool special, bool lstrip, bool rstrip,
                       rs_error *err) {
    rs_status st = RS_OK;
    rs_added_token token = {.bytes = n, .id = id, .special = special, .lstrip = lstrip, .rstrip = rstrip};
    if (n == 0) {
        return RS_OK; /* can never be found */
    }
    if (a->count == a->room) {
        size_t room = a->room ? a->room * 2 : 64;
        st = rs_resize((void **)&a->item, a->room, room, sizeof *a->item, err);
        a->room = st == RS_OK ? room : a->room;
    }
    if (st == RS_OK) st = rs_strndup(&token.text, text, n, err);
    if (st == RS_OK) {
        a->item[a->count++] = token;
        a->begins[(unsigned char)text[0]] = true;
    }
    return st;
}

/* Byte order; of two texts of which one begins with the other, the shorter first. */
static int by_text(const void *left, const void *right) {
    const rs_added_token *a = left;
    const rs_added_token *b = right;
    int order = memcmp(a->text, b->text, a->bytes < b->bytes ? a->bytes : b->bytes);
    return order ? order : (a->bytes > b->bytes) - (a->bytes < b->bytes);
}

rs_status rs_added_sort(rs_added *a, rs_error *err) {
    if (a->count > 1) qsort(a->item, a->count, sizeof *a->item, by_text);
    for (size_t i = 1; i < a->count; i++) {
        if (by_text(&a->item[i - 1], &a->item[i]) == 0)
            return rs_fail(err, RS_E_FORMAT, "added token '%s' is there twice, as %d and as %d", a->item[i].text,
                           a->item[i - 1].id, a->item[i].id);
    }
    return RS_OK;
}

void rs_added_deinit(rs_added *a) {
    for (size_t i = 0; i < a->count; i++) rs_free(a->item[i].text);
    rs_free(a->item);
    *a = (rs_added){0};
}

/* First of items [low, high), which agree in their first `depth` bytes and are longer, whose next byte is >= limit. */
static size_t lower_bound(const rs_added *a, size_t low, size_t high, size_t depth, int limit) {
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if ((unsigned char)a->item[middle].text[depth] < limit) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The longest token that begins at text[0]; NULL = none. Narrows the sorted list byte by byte. */
static const rs_added_token *longest_at(const rs_added *a, const char *text, size_t n) {
    const rs_added_token *found = NULL;
    size_t low = 0;
    size_t high = a->count;
    for (size_t depth = 0; low < high; depth++) {
        if (a->item[low].bytes == depth) found = &a->item[low++];
        if (depth == n) break;
        int byte = (unsigned char)text[depth];
        low = lower_bound(a, low, high, depth, byte);
        high = lower_bound(a, low, high, depth, byte + 1);
    }
    return found;
}

/* Unicode's White_Space. */
static bool is_space(uint32_t c) {
    return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
           c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

static size_t spaces_after(const char *text, size_t n, size_t at) {
    uint32_t c = 0;
    for (size_t step = 1; at < n && step > 0;) {
        step = rs_utf8_decode(text + at, n - at, &c);
        if (!is_space(c)) break;
        at += step;
    }
    return at;
}

static size_t spaces_before(const char *text, size_t from, size_t at) {
    while (at > from) {
        uint32_t c = 0;
        size_t begin = at - 1;
        while (begin > from && ((unsigned char)text[begin] & 0xC0) == 0x80) begin--;
        if (rs_utf8_decode(text + begin, at - begin, &c) == 0 || !is_space(c)) break;
        at = begin;
    }
    return at;
}

const rs_added_token *rs_added_next(const rs_added *a, const char *text, size_t n, size_t from, bool parse_special,
                                    size_t *start, size_t *end) {
    for (size_t at = from; at < n; at++) {
        const rs_added_token *token = a->begins[(unsigned char)text[at]] ? longest_at(a, text + at, n - at) : NULL;
        if (!token) continue;
        if (token->special && !parse_special) {
            at += token->bytes - 1;
            continue;
        }
        *start = token->lstrip ? spaces_before(text, from, at) : at;
        *end = token->rstrip ? spaces_after(text, n, at + token->bytes) : at + token->bytes;
        return token;
    }
    *start = *end = n;
    return NULL;
}
