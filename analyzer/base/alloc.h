/* base/alloc.h: all heap memory of the program goes through here, so that tests can make the Nth allocation fail.
 * Depends on nothing of ours. */
#ifndef RS_BASE_ALLOC_H
#define RS_BASE_ALLOC_H

#include "analyzer/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zeroed memory for count objects of size bytes, 64-byte aligned; *out is NULL for count == 0 or on failure.
 * Fails: RS_E_NOMEM (the message gives the bytes asked for), also when count * size overflows. Free with rs_free. */
rs_status rs_new(void **out, size_t count, size_t size, rs_error *err);
/* Grows or shrinks a block made by rs_new; new bytes are zero. On failure the old block stays valid and *block is
 * unchanged. */
rs_status rs_resize(void **block, size_t old_count, size_t new_count, size_t size, rs_error *err);
/* Copy of a C string / of n bytes with a NUL behind them. */
rs_status rs_strdup(char **out, const char *s, rs_error *err);
rs_status rs_strndup(char **out, const char *s, size_t n, rs_error *err);
/* NULL is fine. */
void rs_free(void *block);

/* Typed form: RS_NEW(&ptr, n, err) allocates n objects of *ptr's type. */
#define RS_NEW(out, count, err) rs_new((void **)(out), (count), sizeof **(out), (err))

/* *out = a * b; false when it does not fit. */
bool rs_mul_size(size_t a, size_t b, size_t *out);
bool rs_mul_i64(int64_t a, int64_t b, int64_t *out); /* a, b >= 0 */

/* Tests only: the nth allocation from now fails (1 = the next one), 0 switches that off. */
void rs_alloc_fail_at(uint64_t nth);
/* Tests only: allocations made since the program began / blocks not yet freed. */
uint64_t rs_alloc_count(void);
uint64_t rs_alloc_live(void);

#endif
