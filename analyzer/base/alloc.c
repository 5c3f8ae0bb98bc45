/* base/alloc.c: see alloc.h. A block carries the pointer to free in the word before it. */
#include "analyzer/base/alloc.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64 };

#if defined(__SANITIZE_ADDRESS__)
#define RS_EXACT_BLOCKS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define RS_EXACT_BLOCKS 1
#endif
#endif

static atomic_uint_fast64_t fail_in;
static atomic_uint_fast64_t made;
static atomic_uint_fast64_t live;

bool rs_mul_size(size_t a, size_t b, size_t *out) {
    if (b != 0 && a > SIZE_MAX / b) return false;
    *out = a * b;
    return true;
}

bool rs_mul_i64(int64_t a, int64_t b, int64_t *out) {
    if (a < 0 || b < 0 || (b != 0 && a > INT64_MAX / b)) return false;
    *out = a * b;
    return true;
}

static bool injected_failure(void) {
    uint_fast64_t n = atomic_load(&fail_in);
    while (n != 0) {
        if (atomic_compare_exchange_weak(&fail_in, &n, n - 1)) return n == 1;
    }
    return false;
}

#if defined(RS_EXACT_BLOCKS)
/* The block ends where its bytes end, so that the sanitizer sees the first byte behind it. */
static void *raw_block(size_t bytes, unsigned char **user) {
    void *raw = NULL;
    if (posix_memalign(&raw, ALIGNMENT, bytes + ALIGNMENT) != 0) return NULL;
    *user = (unsigned char *)raw + ALIGNMENT;
    memset(*user, 0, bytes);
    return raw;
}
#else
/* calloc hands out fresh pages for large blocks without touching them; aligning by hand keeps that. */
static void *raw_block(size_t bytes, unsigned char **user) {
    const size_t front = sizeof(void *); /* the block's address stands in front of what the caller gets */
    unsigned char *raw = calloc(1, bytes + ALIGNMENT + front);
    if (!raw) return NULL;
    size_t past = (size_t)((uintptr_t)(raw + front) % ALIGNMENT);
    *user = raw + front + (past ? ALIGNMENT - past : 0);
    return raw;
}
#endif

static void *new_block(size_t bytes) {
    unsigned char *user = NULL;
    void *raw = NULL;
    atomic_fetch_add(&made, 1);
    if (injected_failure() || bytes > (size_t)PTRDIFF_MAX - 2 * ALIGNMENT) return NULL;
    raw = raw_block(bytes, &user);
    if (!raw) return NULL;
    memcpy(user - sizeof raw, &raw, sizeof raw);
    atomic_fetch_add(&live, 1);
    return user;
}

rs_status rs_new(void **out, size_t count, size_t size, rs_error *err) {
    size_t bytes = 0;
    *out = NULL;
    if (!rs_mul_size(count, size, &bytes))
        return rs_fail(err, RS_E_NOMEM, "out of memory: %zu objects of %zu bytes asked for", count, size);
    if (bytes == 0) return RS_OK;
    *out = new_block(bytes);
    if (!*out) return rs_fail(err, RS_E_NOMEM, "out of memory: %zu bytes asked for", bytes);
    return RS_OK;
}

rs_status rs_resize(void **block, size_t old_count, size_t new_count, size_t size, rs_error *err) {
    void *grown = NULL;
    rs_status st = rs_new(&grown, new_count, size, err);
    if (st != RS_OK) return st;
    size_t kept = (old_count < new_count ? old_count : new_count) * size;
    if (*block && kept > 0) memcpy(grown, *block, kept);
    rs_free(*block);
    *block = grown;
    return RS_OK;
}

rs_status rs_strdup(char **out, const char *s, rs_error *err) { return rs_strndup(out, s, strlen(s), err); }

rs_status rs_strndup(char **out, const char *s, size_t n, rs_error *err) {
    void *copy = NULL;
    *out = NULL;
    if (n == SIZE_MAX) return rs_fail(err, RS_E_NOMEM, "out of memory: %zu bytes asked for", n);
    rs_status st = rs_new(&copy, n + 1, 1, err);
    if (st != RS_OK) return st;
    if (n > 0) memcpy(copy, s, n);
    *out = copy;
    return RS_OK;
}

void rs_free(void *block) {
    if (!block) return;
    void *raw = NULL;
    memcpy(&raw, (unsigned char *)block - sizeof raw, sizeof raw);
    atomic_fetch_sub(&live, 1);
    free(raw);
}

void rs_alloc_fail_at(uint64_t nth) { atomic_store(&fail_in, nth); }

uint64_t rs_alloc_count(void) { return atomic_load(&made); }

uint64_t rs_alloc_live(void) { return atomic_load(&live); }
