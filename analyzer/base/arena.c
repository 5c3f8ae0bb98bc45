/* base/arena.c: see arena.h. A list of chunks; the first has the room, larger pieces get chunks of their own. */
#include "analyzer/base/arena.h"

#include "analyzer/base/alloc.h"

#include <stdalign.h>
#include <stdio.h>
#include <string.h>

enum { PIECE_ALIGNMENT = 16 };

#if defined(__SANITIZE_ADDRESS__)
enum { CHUNK_BYTES = 0 };
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
enum { CHUNK_BYTES = 0 };
#else
enum { CHUNK_BYTES = 65536 };
#endif
#else
enum { CHUNK_BYTES = 65536 };
#endif

typedef struct chunk {
    struct chunk *next;
    size_t used, room;
    alignas(PIECE_ALIGNMENT) unsigned char bytes[];
} chunk;

struct rs_arena {
    chunk *chunks;
};

rs_status rs_arena_create(rs_arena **out, rs_error *err) { return RS_NEW(out, 1, err); }

void rs_arena_destroy(rs_arena *a) {
    if (!a) return;
    for (chunk *c = a->chunks, *next; c; c = next) {
        next = c->next;
        rs_free(c);
    }
    rs_free(a);
}

static rs_status add_chunk(rs_arena *a, size_t bytes, chunk **out, rs_error *err) {
    void *block = NULL;
    size_t room = bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES;
    if (room > SIZE_MAX - sizeof(chunk)) return rs_fail(err, RS_E_NOMEM, "out of memory: %zu bytes asked for", bytes);
    rs_status st = rs_new(&block, 1, sizeof(chunk) + room, err);
    if (st != RS_OK) return st;
    chunk *c = block;
    c->room = room;
    /* A large piece goes behind the chunk that still has room, so that it does not end that chunk's use. */
    chunk **at = a->chunks && room == bytes ? &a->chunks->next : &a->chunks;
    c->next = *at;
    *at = c;
    *out = c;
    return RS_OK;
}

static size_t aligned_use(const chunk *c) { return (c->used + PIECE_ALIGNMENT - 1) & ~(size_t)(PIECE_ALIGNMENT - 1); }

rs_status rs_arena_new(rs_arena *a, void **out, size_t count, size_t size, rs_error *err) {
    size_t bytes = 0;
    *out = NULL;
    if (!rs_mul_size(count, size, &bytes))
        return rs_fail(err, RS_E_NOMEM, "out of memory: %zu objects of %zu bytes asked for", count, size);
    if (bytes == 0) return RS_OK;
    chunk *c = a->chunks;
    if (!c || aligned_use(c) > c->room || c->room - aligned_use(c) < bytes) {
        rs_status st = add_chunk(a, bytes, &c, err);
        if (st != RS_OK) return st;
    }
    size_t at = aligned_use(c);
    c->used = at + bytes;
    *out = c->bytes + at;
    return RS_OK;
}

rs_status rs_arena_strdup(rs_arena *a, const char **out, const char *s, rs_error *err) {
    void *copy = NULL;
    size_t bytes = strlen(s) + 1;
    rs_status st = rs_arena_new(a, &copy, bytes, 1, err);
    if (st == RS_OK) memcpy(copy, s, bytes);
    *out = copy;
    return st;
}

rs_status rs_arena_printf(rs_arena *a, const char **out, rs_error *err, const char *fmt, ...) {
    void *copy = NULL;
    va_list args;
    *out = NULL;
    va_start(args, fmt);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n < 0) return rs_fail(err, RS_E_INTERNAL, "a text could not be formatted");
    rs_status st = rs_arena_new(a, &copy, (size_t)n + 1, 1, err);
    if (st != RS_OK) return st;
    va_start(args, fmt);
    vsnprintf(copy, (size_t)n + 1, fmt, args);
    va_end(args);
    *out = copy;
    return RS_OK;
}
