/* base/dtype.c: the one table of element types. See dtype.h. */
#include "analyzer/base/dtype.h"

#include "analyzer/base/alloc.h"

#include <string.h>

enum { NO_GGUF = -1 };

typedef struct dtype_row {
    const char *name;
    const char *safetensors; /* NULL: the container has no such type */
    int gguf;                /* ggml_type, or NO_GGUF */
    int64_t block, block_bytes;
    bool weight;
} dtype_row;

static const dtype_row table[RS_DTYPE_COUNT] = {
    [RS_F32] = {"F32", "F32", 0, 1, 4, true},       [RS_F16] = {"F16", "F16", 1, 1, 2, true},
    [RS_BF16] = {"BF16", "BF16", 30, 1, 2, true},   [RS_F64] = {"F64", "F64", 28, 1, 8, true},
    [RS_I32] = {"I32", "I32", 26, 1, 4, false},     [RS_I64] = {"I64", "I64", 27, 1, 8, false},
    [RS_U8] = {"U8", "U8", NO_GGUF, 1, 1, false},   [RS_Q4_0] = {"Q4_0", NULL, 2, 32, 18, true},
    [RS_Q4_1] = {"Q4_1", NULL, 3, 32, 20, true},    [RS_Q5_0] = {"Q5_0", NULL, 6, 32, 22, true},
    [RS_Q5_1] = {"Q5_1", NULL, 7, 32, 24, true},    [RS_Q8_0] = {"Q8_0", NULL, 8, 32, 34, true},
    [RS_Q4_K] = {"Q4_K", NULL, 12, 256, 144, true}, [RS_Q5_K] = {"Q5_K", NULL, 13, 256, 176, true},
    [RS_Q6_K] = {"Q6_K", NULL, 14, 256, 210, true},
};

static const dtype_row unknown = {"unknown", NULL, NO_GGUF, 1, 0, false};

/* The value may come from a damaged store, so it is checked here once for all. */
static const dtype_row *row(rs_dtype t) { return (unsigned)t < (unsigned)RS_DTYPE_COUNT ? &table[t] : &unknown; }

const char *rs_dtype_name(rs_dtype t) { return row(t)->name; }

int64_t rs_dtype_block(rs_dtype t) { return row(t)->block; }

int64_t rs_dtype_block_bytes(rs_dtype t) { return row(t)->block_bytes; }

bool rs_dtype_bytes(rs_dtype t, int64_t n, int64_t *bytes) {
    const dtype_row *r = row(t);
    if (r == &unknown || n < 0 || n % r->block != 0) return false;
    return rs_mul_i64(n / r->block, r->block_bytes, bytes);
}

bool rs_dtype_is_weight(rs_dtype t) { return row(t)->weight; }

bool rs_dtype_from_safetensors(const char *name, rs_dtype *out) {
    for (int t = 0; t < RS_DTYPE_COUNT; t++) {
        if (!table[t].safetensors || strcmp(table[t].safetensors, name) != 0) continue;
        *out = (rs_dtype)t;
        return true;
    }
    return false;
}

bool rs_dtype_from_gguf(uint32_t id, rs_dtype *out) {
    for (int t = 0; t < RS_DTYPE_COUNT; t++) {
        if (table[t].gguf == NO_GGUF || (uint32_t)table[t].gguf != id) continue;
        *out = (rs_dtype)t;
        return true;
    }
    return false;
}
