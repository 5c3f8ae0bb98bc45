/* data/tokenizer_merge.c: byte-pair encoding of one word: a linked list of symbols and a heap of the pairs that could
 * join. The best pair is joined first (smallest rank, then leftmost), until none is left: O(n log n), the same ids as
 * the textbook's repeated search. Sennrich, Haddow, Birch 2016 (merges by rank); Kudo and Richardson 2018,
 * SentencePiece (by score). */
#include "analyzer/base/alloc.h"
#include "analyzer/base/clock.h"
#include "data/tokenizer_parts.h"

#include <string.h>

enum {
    JOINED_BITS = 1 << 22,
    LONG_WORD = 128,        /* longer words are cut where no piece can reach across */
    CACHED_WORD = 64,       /* longer words are not remembered */
    CACHED_WORDS = 1 << 16, /* so many words are */
    CANCEL_EVERY = 1 << 14
};

typedef struct symbol {
    int32_t id;             /* -1: a character that no piece covers */
    int32_t previous, next; /* -1 = none */
    uint32_t start, bytes;
    uint32_t rank; /* of joining with next; RS_NEVER = cannot */
    int32_t made;  /* by joining with next */
} symbol;

struct rs_bpe_work {
    symbol *symbols; /* [symbol_room] */
    size_t symbol_room;
    uint64_t *heap; /* [heap_room] rank << 32 | symbol; a pair that has changed since is skipped when it comes up */
    size_t heap_count, heap_room;
    rs_pieces words;  /* words seen, numbered from 0 */
    rs_ids ids, ends; /* their ids, one behind the other; ends.id[w] = where those of word w end */
    uint64_t steps;
};

/* ---- The model ---- */

static size_t joined_bit(uint32_t a, uint32_t b) {
    uint64_t h = ((uint64_t)a << 32 | b) * 0x9e3779b97f4a7c15ULL;
    return (size_t)(h >> 42); /* 22 bits */
}

static bool touches(const rs_bpe *b, uint32_t left, uint32_t right) {
    size_t bit = joined_bit(left, right);
    return (b->joined[bit / 64] >> (bit % 64) & 1) != 0;
}

static void note_pairs(rs_bpe *b, const char *s, size_t n) {
    uint32_t before = 0;
    uint32_t c = 0;
    for (size_t i = 0; i < n; before = c) {
        size_t step = rs_utf8_decode(s + i, n - i, &c);
        if (step == 0) {
            return; /* not UTF-8 (a lone byte of llama2.c): reached through byte_id alone */
        }
        if (i > 0) {
            size_t bit = joined_bit(before, c);
            b->joined[bit / 64] |= (uint64_t)1 << (bit % 64);
        }
        i += step;
    }
}

void rs_bpe_init(rs_bpe *b) {
    *b = (rs_bpe){.unknown = -1};
    for (int i = 0; i < 256; i++) b->byte_id[i] = -1;
}

static bool is_byte_piece(const rs_bpe *b, int32_t id) {
    size_t n = 0;
    const char *s = rs_pieces_get(&b->pieces, id, &n);
    int byte = s ? rs_byte_piece(s, n) : -1;
    return byte >= 0 && b->byte_id[byte] == id;
}

/* Bytes stand in for characters once all joining is done, so a list of merges must not want them earlier. */
static rs_status check_merges(const rs_bpe *b, rs_error *err) {
    for (size_t i = 0; b->byte_fallback && i < b->merges.slots; i++) {
        uint64_t key = b->merges.slot[i].key;
        if (key != 0 &&
            (is_byte_piece(b, (int32_t)((key - 1) >> 32)) || is_byte_piece(b, (int32_t)((key - 1) & UINT32_MAX))))
            return rs_fail(err, RS_E_UNSUPPORTED, "a merge names a byte piece (<0x..>), which byte_fallback makes");
    }
    return RS_OK;
}

rs_status rs_bpe_finish(rs_bpe *b, rs_error *err) {
    rs_status st = check_merges(b, err);
    if (st == RS_OK) st = RS_NEW(&b->joined, JOINED_BITS / 64, err);
    for (size_t i = 0; st == RS_OK && i < b->pieces.count; i++) {
        size_t n = 0;
        const char *s = rs_pieces_get(&b->pieces, (int32_t)i, &n);
        if (s && rs_pieces_find(&b->pieces, s, n) == (int32_t)i && (!b->order || b->order[i] != RS_NEVER))
            note_pairs(b, s, n);
    }
    return st;
}

void rs_bpe_deinit(rs_bpe *b) {
    rs_pieces_deinit(&b->pieces);
    rs_merges_deinit(&b->merges);
    rs_free(b->order);
    rs_free(b->joined);
    rs_bpe_init(b);
}

/* Cutting keeps the ids as they are, except where unknown characters left and right of a cut would no longer be one, or
 * where neighbours of a dropped character could still join. */
static bool can_cut(const rs_bpe *b) {
    bool covered = b->byte_fallback;
    for (int i = 0; i < 256; i++) covered = covered && b->byte_id[i] >= 0;
    return covered || (b->unknown >= 0 && !b->fuse_unknown);
}

/* ---- Memory ---- */

rs_status rs_bpe_work_create(rs_bpe_work **out, rs_error *err) { return RS_NEW(out, 1, err); }

void rs_bpe_work_destroy(rs_bpe_work *w) {
    if (w) {
        rs_free(w->symbols);
        rs_free(w->heap);
        rs_pieces_deinit(&w->words);
        rs_ids_deinit(&w->ids);
        rs_ids_deinit(&w->ends);
        rs_free(w);
    }
}

/* Room for n symbols and for the pairs they can form: n - 1 at first, at most two more for each of n - 1 joins. */
static rs_status make_room(rs_bpe_work *w, size_t n, rs_error *err) {
    rs_status st = RS_OK;
    w->heap_count = 0;
    if (n > w->symbol_room) {
        size_t room = n < 64 ? 64 : n;
        st = rs_resize((void **)&w->symbols, 0, room, sizeof *w->symbols, err);
        w->symbol_room = st == RS_OK ? room : 0;
    }
    if (st == RS_OK && n * 3 > w->heap_room) {
        size_t room = n < 64 ? 192 : n * 3;
        st = rs_resize((void **)&w->heap, 0, room, sizeof *w->heap, err);
        w->heap_room = st == RS_OK ? room : 0;
    }
    return st;
}

/* ---- The heap: smallest key on top ---- */

static void heap_push(rs_bpe_work *w, uint64_t key) {
    size_t i = w->heap_count++;
    while (i > 0 && w->heap[(i - 1) / 2] > key) {
        w->heap[i] = w->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    w->heap[i] = key;
}

static uint64_t heap_pop(rs_bpe_work *w) {
    uint64_t top = w->heap[0];
    uint64_t last = w->heap[--w->heap_count];
    size_t i = 0;
    for (size_t child = 1; child < w->heap_count; child = 2 * i + 1) {
        child += child + 1 < w->heap_count && w->heap[child + 1] < w->heap[child];
        if (w->heap[child] >= last) break;
        w->heap[i] = w->heap[child];
        i = child;
    }
    w->heap[i] = last;
    return top;
}

/* ---- Joining ---- */

static void rank_pair(const rs_bpe *b, const char *word, symbol *left, const symbol *right) {
    left->rank = RS_NEVER;
    if (b->order) {
        int32_t made = rs_pieces_find(&b->pieces, word + left->start, (size_t)left->bytes + right->bytes);
        if (made >= 0) {
            left->rank = b->order[made];
            left->made = made;
        }
    } else if (left->id >= 0 && right->id >= 0) {
        const rs_merge *m = rs_merges_find(&b->merges, left->id, right->id);
        if (m) {
            left->rank = m->rank;
            left->made = m->made;
        }
    }
}

static void consider(const rs_bpe *b, rs_bpe_work *w, const char *word, int32_t i) {
    symbol *s = &w->symbols[i];
    if (s->next < 0) {
        s->rank = RS_NEVER;
        return;
    }
    rank_pair(b, word, s, &w->symbols[s->next]);
    if (s->rank != RS_NEVER) heap_push(w, (uint64_t)s->rank << 32 | (uint32_t)i);
}

static bool bytes_cover(const rs_bpe *b, const char *s, size_t n) {
    bool covered = b->byte_fallback;
    for (size_t i = 0; i < n; i++) covered = covered && b->byte_id[(unsigned char)s[i]] >= 0;
    return covered;
}

/* One symbol a character; a character that nothing covers leaves none, so that its neighbours meet, as in Hugging Face.
 * Returns how many. */
static size_t first_symbols(const rs_bpe *b, rs_bpe_work *w, const char *word, size_t n) {
    size_t count = 0;
    for (size_t i = 0, step = 0; i < n; i += step) {
        step = rs_utf8_length(word + i, n - i);
        step = step ? step : 1;
        int32_t id = rs_pieces_find(&b->pieces, word + i, step);
        if (id >= 0 && b->order && b->order[id] == RS_NEVER) id = -1;
        if (id < 0 && b->unknown < 0 && !bytes_cover(b, word + i, step)) continue;
        w->symbols[count] = (symbol){.id = id,
                                     .previous = (int32_t)count - 1,
                                     .next = (int32_t)count + 1,
                                     .start = (uint32_t)i,
                                     .bytes = (uint32_t)step,
                                     .rank = RS_NEVER,
                                     .made = -1};
        count++;
    }
    if (count > 0) w->symbols[count - 1].next = -1;
    return count;
}

static void join(const rs_bpe *b, rs_bpe_work *w, const char *word, int32_t i) {
    symbol *left = &w->symbols[i];
    symbol *right = &w->symbols[left->next];
    left->id = left->made;
    left->bytes += right->bytes;
    left->next = right->next;
    right->rank = RS_NEVER;
    if (left->next >= 0) w->symbols[left->next].previous = i;
    consider(b, w, word, i);
    if (left->previous >= 0) consider(b, w, word, left->previous);
}

/* A character that no piece covers: its bytes, or the unknown piece. */
static rs_status push_uncovered(const rs_bpe *b, const char *s, size_t n, bool *unknown, rs_ids *out, rs_error *err) {
    rs_status st = RS_OK;
    const bool fused = *unknown && b->fuse_unknown;
    *unknown = !bytes_cover(b, s, n);
    if (*unknown) return fused ? RS_OK : rs_ids_push(out, b->unknown, err);
    for (size_t i = 0; i < n && st == RS_OK; i++) st = rs_ids_push(out, b->byte_id[(unsigned char)s[i]], err);
    return st;
}

static rs_status push_symbols(const rs_bpe *b, const rs_bpe_work *w, const char *word, rs_ids *out, rs_error *err) {
    rs_status st = RS_OK;
    bool unknown = false;
    for (int32_t i = 0; i >= 0 && st == RS_OK; i = w->symbols[i].next) {
        const symbol *s = &w->symbols[i];
        if (s->id >= 0) {
            st = rs_ids_push(out, s->id, err);
            unknown = false;
        } else {
            st = push_uncovered(b, word + s->start, s->bytes, &unknown, out, err);
        }
    }
    return st;
}

static bool cancelled(rs_bpe_work *w) { return ++w->steps % CANCEL_EVERY == 0 && rs_cancel_requested(); }

static rs_status merge_word(const rs_bpe *b, rs_bpe_work *w, const char *word, size_t n, rs_ids *out, rs_error *err) {
    if (n >= INT32_MAX) {
        return rs_fail(err, RS_E_UNSUPPORTED,
                       "a stretch of %zu bytes without a place to cut; at most 2 GiB can be encoded as one", n);
    }
    rs_status st = make_room(w, n, err);
    if (st != RS_OK) return st;
    size_t count = first_symbols(b, w, word, n);
    for (size_t i = 0; i < count; i++) consider(b, w, word, (int32_t)i);
    while (w->heap_count > 0) {
        uint64_t top = heap_pop(w);
        int32_t i = (int32_t)(top & UINT32_MAX);
        if (w->symbols[i].rank == (uint32_t)(top >> 32)) join(b, w, word, i);
        if (cancelled(w)) return rs_fail(err, RS_E_CANCELLED, "cancelled while encoding text");
    }
    return count > 0 ? push_symbols(b, w, word, out, err) : RS_OK;
}

/* ---- Words seen before ---- */

static rs_status remember(rs_bpe_work *w, const char *word, size_t n, const rs_ids *out, size_t first, rs_error *err) {
    rs_status st = RS_OK;
    for (size_t i = first; i < out->count && st == RS_OK; i++) st = rs_ids_push(&w->ids, out->id[i], err);
    if (st == RS_OK) st = rs_ids_push(&w->ends, (int32_t)w->ids.count, err);
    return st == RS_OK ? rs_pieces_put(&w->words, (int64_t)w->ends.count - 1, word, n, true, err) : st;
}

static rs_status recall(const rs_bpe_work *w, int32_t seen, rs_ids *out, rs_error *err) {
    rs_status st = RS_OK;
    for (int32_t i = seen ? w->ends.id[seen - 1] : 0; i < w->ends.id[seen] && st == RS_OK; i++)
        st = rs_ids_push(out, w->ids.id[i], err);
    return st;
}

static rs_status encode_word(const rs_bpe *b, rs_bpe_work *w, const char *word, size_t n, rs_ids *out, rs_error *err) {
    if (cancelled(w)) return rs_fail(err, RS_E_CANCELLED, "cancelled while encoding text");
    if (n > CACHED_WORD) return merge_word(b, w, word, n, out, err);
    int32_t seen = rs_pieces_find(&w->words, word, n);
    if (seen >= 0) return recall(w, seen, out, err);
    size_t before = out->count;
    rs_status st = merge_word(b, w, word, n, out, err);
    if (st == RS_OK && w->ends.count < CACHED_WORDS) st = remember(w, word, n, out, before, err);
    return st;
}

/* Where no piece holds both neighbours, no join can reach across: the parts can be encoded on their own. This makes one
 * word of a whole novel (Gemma splits nowhere) as cheap as its words. */
static rs_status encode_long(const rs_bpe *b, rs_bpe_work *w, const char *word, size_t n, rs_ids *out, rs_error *err) {
    rs_status st = RS_OK;
    size_t start = 0;
    uint32_t before = 0;
    uint32_t c = 0;
    for (size_t i = 0; i < n && st == RS_OK; before = c) {
        size_t step = rs_utf8_decode(word + i, n - i, &c);
        if (i > start && !touches(b, before, c)) {
            st = encode_word(b, w, word + start, i - start, out, err);
            start = i;
        }
        i += step ? step : 1;
    }
    return st == RS_OK ? encode_word(b, w, word + start, n - start, out, err) : st;
}

rs_status rs_bpe_word(const rs_bpe *b, rs_bpe_work *w, const char *word, size_t n, rs_ids *out, rs_error *err) {
    int32_t whole = b->ignore_merges ? rs_pieces_find(&b->pieces, word, n) : -1;
    if (n == 0) return RS_OK;
    if (whole >= 0) return rs_ids_push(out, whole, err);
    return n > LONG_WORD && can_cut(b) ? encode_long(b, w, word, n, out, err) : encode_word(b, w, word, n, out, err);
}
