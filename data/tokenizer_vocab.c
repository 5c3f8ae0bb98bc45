/* data/tokenizer_vocab.c: hash tables of a tokenizer: pieces and merges. Open addressing, powers of two, at most half
 * full. */
#include "analyzer/base/alloc.h"
#include "data/tokenizer_parts.h"

#include <string.h>

enum { FIRST_SLOTS = 1024 };
static const uint32_t no_piece = UINT32_MAX;

/* FNV-1a with a last mixing round, so that the low bits depend on all bytes. */
static uint64_t hash_bytes(const char *s, size_t n) {
    uint64_t h = 14695981039346656037ULL;
    for (size_t i = 0; i < n; i++) h = (h ^ (unsigned char)s[i]) * 1099511628211ULL;
    return h ^ (h >> 29);
}

/* splitmix64's finaliser. */
static uint64_t hash_key(uint64_t k) {
    k = (k ^ (k >> 30)) * 0xbf58476d1ce4e5b9ULL;
    k = (k ^ (k >> 27)) * 0x94d049bb133111ebULL;
    return k ^ (k >> 31);
}

static size_t find_slot(const rs_pieces *p, const char *s, size_t n) {
    size_t i = (size_t)hash_bytes(s, n) & (p->slots - 1);
    while (p->slot[i] >= 0) {
        size_t id = (size_t)p->slot[i];
        if (p->length[id] == n && memcmp(p->bytes.data + p->start[id], s, n) == 0) break;
        i = (i + 1) & (p->slots - 1);
    }
    return i;
}

static rs_status grow_slots(rs_pieces *p, rs_error *err) {
    size_t old = p->slots;
    int32_t *ids = p->slot;
    int32_t *slot = NULL;
    size_t slots = old ? old * 2 : FIRST_SLOTS;
    rs_status st = RS_NEW(&slot, slots, err);
    if (st != RS_OK) return st;
    for (size_t i = 0; i < slots; i++) slot[i] = -1;
    p->slot = slot;
    p->slots = slots;
    for (size_t i = 0; i < old; i++) {
        if (ids[i] >= 0) slot[find_slot(p, p->bytes.data + p->start[ids[i]], p->length[ids[i]])] = ids[i];
    }
    rs_free(ids);
    return RS_OK;
}

static rs_status grow_ids(rs_pieces *p, size_t count, rs_error *err) {
    if (count > p->room) {
        size_t room = p->room ? p->room : FIRST_SLOTS;
        while (room < count) room *= 2;
        rs_status st = rs_resize((void **)&p->start, p->room, room, sizeof *p->start, err);
        if (st == RS_OK) st = rs_resize((void **)&p->length, p->room, room, sizeof *p->length, err);
        if (st != RS_OK) return st;
        for (size_t i = p->room; i < room; i++) p->length[i] = no_piece;
        p->room = room;
    }
    p->count = count > p->count ? count : p->count;
    return RS_OK;
}

rs_status rs_pieces_put(rs_pieces *p, int64_t id, const char *s, size_t n, bool findable, rs_error *err) {
    if (id < 0 || id >= RS_VOCAB_MAX)
        return rs_fail(err, RS_E_FORMAT, "token '%.*s' has id %lld, expected 0..%d", (int)(n < 64 ? n : 64), s,
                       (long long)id, RS_VOCAB_MAX - 1);
    if (n >= no_piece) return rs_fail(err, RS_E_FORMAT, "token %lld is %zu bytes long", (long long)id, n);
    if (findable && p->filled * 2 >= p->slots) {
        rs_status st = grow_slots(p, err);
        if (st != RS_OK) return st;
    }
    if (findable && rs_pieces_find(p, s, n) >= 0)
        return rs_fail(err, RS_E_FORMAT, "token '%.*s' is there twice, as %d and as %lld", (int)(n < 64 ? n : 64), s,
                       rs_pieces_find(p, s, n), (long long)id);
    rs_status st = grow_ids(p, (size_t)id + 1, err);
    if (st != RS_OK) return st;
    if (p->length[id] != no_piece) {
        return rs_fail(err, RS_E_FORMAT, "two tokens have id %lld; the second is '%.*s'", (long long)id,
                       (int)(n < 64 ? n : 64), s);
    }
    size_t start = p->bytes.bytes;
    rs_text_append_n(&p->bytes, s, n);
    st = rs_text_status(&p->bytes, err);
    if (st != RS_OK) return st;
    p->start[id] = start;
    p->length[id] = (uint32_t)n;
    if (findable) {
        p->slot[find_slot(p, s, n)] = (int32_t)id;
        p->filled++;
        p->longest = n > p->longest ? n : p->longest;
    }
    return RS_OK;
}

int32_t rs_pieces_find(const rs_pieces *p, const char *s, size_t n) {
    return p->slots == 0 || n > p->longest ? -1 : p->slot[find_slot(p, s, n)];
}

const char *rs_pieces_get(const rs_pieces *p, int32_t id, size_t *n) {
    *n = 0;
    if (id < 0 || (size_t)id >= p->count || p->length[id] == no_piece) return NULL;
    *n = p->length[id];
    return *n ? p->bytes.data + p->start[id] : "";
}

void rs_pieces_deinit(rs_pieces *p) {
    rs_text_deinit(&p->bytes);
    rs_free(p->start);
    rs_free(p->length);
    rs_free(p->slot);
    *p = (rs_pieces){0};
}

static int hex_digit(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1; }

int rs_byte_piece(const char *s, size_t n) {
    if (n != 6 || memcmp(s, "<0x", 3) != 0 || s[5] != '>' || hex_digit(s[3]) < 0 || hex_digit(s[4]) < 0) return -1;
    return hex_digit(s[3]) * 16 + hex_digit(s[4]);
}

static uint64_t merge_key(int32_t left, int32_t right) {
    return ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) + 1;
}

static size_t merge_slot(const rs_merges *m, uint64_t key) {
    size_t i = (size_t)hash_key(key) & (m->slots - 1);
    while (m->slot[i].key != 0 && m->slot[i].key != key) i = (i + 1) & (m->slots - 1);
    return i;
}

static rs_status grow_merges(rs_merges *m, rs_error *err) {
    rs_merges bigger = {.slots = m->slots ? m->slots * 2 : FIRST_SLOTS, .filled = m->filled};
    rs_status st = RS_NEW(&bigger.slot, bigger.slots, err);
    if (st != RS_OK) return st;
    for (size_t i = 0; i < m->slots; i++) {
        if (m->slot[i].key != 0) bigger.slot[merge_slot(&bigger, m->slot[i].key)] = m->slot[i];
    }
    rs_free(m->slot);
    *m = bigger;
    return RS_OK;
}

rs_status rs_merges_put(rs_merges *m, int32_t left, int32_t right, uint32_t rank, int32_t made, rs_error *err) {
    if (m->filled * 2 >= m->slots) {
        rs_status st = grow_merges(m, err);
        if (st != RS_OK) return st;
    }
    uint64_t key = merge_key(left, right);
    rs_merge *slot = &m->slot[merge_slot(m, key)];
    m->filled += slot->key == 0;
    *slot = (rs_merge){.key = key, .rank = rank, .made = made};
    return RS_OK;
}

const rs_merge *rs_merges_find(const rs_merges *m, int32_t left, int32_t right) {
    if (m->slots == 0) return NULL;
    const rs_merge *slot = &m->slot[merge_slot(m, merge_key(left, right))];
    return slot->key ? slot : NULL;
}

void rs_merges_deinit(rs_merges *m) {
    rs_free(m->slot);
    *m = (rs_merges){0};
}
