/* base/arena.h: memory that dies together (configurations, graphs, parsed tables).
 * Under AddressSanitizer every piece is its own heap block, so that overruns are still seen. */
#ifndef RS_BASE_ARENA_H
#define RS_BASE_ARENA_H

#include "analyzer/base/status.h"

#include <stddef.h>

typedef struct rs_arena rs_arena;

rs_status rs_arena_create(rs_arena **out, rs_error *err);
void rs_arena_destroy(rs_arena *a); /* NULL is fine; frees every piece */
/* Zeroed memory for count * size bytes, 16-byte aligned, valid until rs_arena_destroy. Fails: RS_E_NOMEM. */
rs_status rs_arena_new(rs_arena *a, void **out, size_t count, size_t size, rs_error *err);
rs_status rs_arena_strdup(rs_arena *a, const char **out, const char *s, rs_error *err);
/* printf into the arena. */
rs_status rs_arena_printf(rs_arena *a, const char **out, rs_error *err, const char *fmt, ...) RS_PRINTF(4, 5);

#define RS_ARENA_NEW(a, out, count, err) rs_arena_new((a), (void **)(out), (count), sizeof **(out), (err))

#endif
