/* data/llama2c.c: see llama2c.h.
 *
 * v0, little-endian, nothing aligned (llama2.c: export.py legacy_export, run.c memory_map_weights):
 *   i32 dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size, seq_len; vocab_size < 0: a classifier of its own at
 * the end f32 token_embedding [V, dim] f32 rms_att [L, dim], wq [L, dim, dim], wk [L, kv, dim], wv [L, kv, dim], wo [L,
 * dim, dim] f32 rms_ffn [L, dim], w1 [L, hidden, dim], w2 [L, dim, hidden], w3 [L, hidden, dim] f32 rms_final [dim],
 * freq_cos [seq_len, head/2], freq_sin [seq_len, head/2], wcls [V, dim] when separate with head = dim / n_heads and kv
 * = head * n_kv_heads. Queries and keys pair components (2i, 2i+1). */
#include "data/llama2c.h"

#include "analyzer/base/alloc.h"
#include "data/checkpoint_internal.h"

#include <inttypes.h>
#include <stdio.h>

enum { HEADER_BYTES = 28, MAGIC = 0x616b3432, FLOAT_BYTES = 4 };

typedef struct shape {
    int64_t dim, hidden, layers, heads, kv_heads, vocab, positions;
    bool separate; /* a classifier of its own */
} shape;

/* A size in the file, by what it stands for. */
typedef enum extent_of { ONE, DIM, KV, HIDDEN, VOCAB } extent_of;

static int64_t extent(const shape *s, extent_of e) {
    switch (e) {
    case ONE: return 1;
    case DIM: return s->dim;
    case KV: return s->dim / s->heads * s->kv_heads;
    case HIDDEN: return s->hidden;
    case VOCAB: return s->vocab;
    }
    return 0;
}

/* The file in its order. name NULL: skipped. */
static const struct piece {
    const char *name;
    extent_of rows, cols; /* rows ONE: a vector */
    enum { ONCE, PER_LAYER, ANGLES, IF_SEPARATE } when;
} pieces[] = {
    {"model.embed_tokens.weight", VOCAB, DIM, ONCE},
    {"input_layernorm.weight", ONE, DIM, PER_LAYER},
    {"self_attn.q_proj.weight", DIM, DIM, PER_LAYER},
    {"self_attn.k_proj.weight", KV, DIM, PER_LAYER},
    {"self_attn.v_proj.weight", KV, DIM, PER_LAYER},
    {"self_attn.o_proj.weight", DIM, DIM, PER_LAYER},
    {"post_attention_layernorm.weight", ONE, DIM, PER_LAYER},
    {"mlp.gate_proj.weight", HIDDEN, DIM, PER_LAYER}, /* w1 */
    {"mlp.down_proj.weight", DIM, HIDDEN, PER_LAYER}, /* w2 */
    {"mlp.up_proj.weight", HIDDEN, DIM, PER_LAYER},   /* w3 */
    {"model.norm.weight", ONE, DIM, ONCE},
    {NULL, ONE, ONE, ANGLES},
    {"lm_head.weight", VOCAB, DIM, IF_SEPARATE},
};
enum { PIECES = sizeof pieces / sizeof pieces[0] };

static bool header_of(const unsigned char *head, size_t n, shape *s) {
    int64_t v[7];
    if (n < HEADER_BYTES) return false;
    for (int i = 0; i < 7; i++) {
        uint32_t u = rs_little_u32(head + 4 * i);
        v[i] = u <= INT32_MAX ? (int64_t)u : (int64_t)u - ((int64_t)1 << 32);
    }
    *s = (shape){v[0], v[1], v[2], v[3], v[4], v[5] < 0 ? -v[5] : v[5], v[6], v[5] < 0};
    bool positive = s->dim > 0 && s->hidden > 0 && s->layers > 0 && s->heads > 0 && s->kv_heads > 0 && s->vocab > 0 &&
                    s->positions > 0;
    /* An even head width: the rotation takes components by two. */
    return positive && s->dim % s->heads == 0 && s->heads % s->kv_heads == 0 && s->dim / s->heads % 2 == 0;
}

/* Bytes of one copy of a piece (for the angles: both tables), and how many copies there are. */
static bool piece_bytes(const shape *s, const struct piece *p, int64_t *bytes, int64_t *copies) {
    int64_t rows = extent(s, p->rows), cols = extent(s, p->cols), floats = 0;
    if (p->when == ANGLES) {
        rows = s->positions;
        cols = s->dim / s->heads; /* half of it for the cosines, half for the sines */
    }
    *copies = p->when == PER_LAYER ? s->layers : p->when != IF_SEPARATE || s->separate;
    return rs_mul_i64(rows, cols, &floats) && rs_mul_i64(floats, FLOAT_BYTES, bytes);
}

static bool file_bytes(const shape *s, int64_t *total) {
    *total = HEADER_BYTES;
    for (int i = 0; i < PIECES; i++) {
        int64_t one = 0, copies = 0, all = 0;
        if (!piece_bytes(s, &pieces[i], &one, &copies) || !rs_mul_i64(one, copies, &all) || *total > INT64_MAX - all)
            return false;
        *total += all;
    }
    return true;
}

bool rs_llama2c_fits(const unsigned char *head, size_t n, uint64_t size) {
    shape s;
    int64_t total = 0;
    if (n >= 4 && rs_little_u32(head) == MAGIC) return true;
    return header_of(head, n, &s) && file_bytes(&s, &total) && (uint64_t)total == size;
}

static rs_status check_header(rs_file *f, shape *s, rs_error *err) {
    unsigned char head[HEADER_BYTES] = {0};
    const char *path = rs_file_path(f);
    uint64_t size = rs_file_size(f);
    size_t n = size < HEADER_BYTES ? (size_t)size : HEADER_BYTES;
    int64_t total = 0;
    rs_status st = rs_file_read(f, 0, head, n, err);
    if (st != RS_OK) return st;
    if (n >= 8 && rs_little_u32(head) == MAGIC)
        return rs_fail(err, RS_E_UNSUPPORTED,
                       "%s: is a llama2.c file of version %" PRIu32 "; only version 0 (legacy, float32) is read", path,
                       rs_little_u32(head + 4));
    if (!header_of(head, n, s))
        return rs_fail(
            err, RS_E_FORMAT,
            "%s: is no checkpoint we know: neither GGUF nor llama2.c by its first bytes, nor a folder with safetensors",
            path);
    if (!file_bytes(s, &total) || (uint64_t)total != size)
        return rs_fail(
            err, RS_E_FORMAT,
            "%s: is no checkpoint we know: no GGUF, and as a llama2.c file of version 0 it would have %" PRId64
            " bytes by its header, not %" PRIu64,
            path, total, size);
    return RS_OK;
}

static rs_status build_metadata(rs_checkpoint *c, const shape *s, rs_error *err) {
    const struct {
        const char *key;
        int64_t value;
    } numbers[] = {
        {"dim", s->dim},           {"hidden_dim", s->hidden},   {"n_layers", s->layers},
        {"n_heads", s->heads},     {"n_kv_heads", s->kv_heads}, {"vocab_size", s->vocab},
        {"seq_len", s->positions},
    };
    c->metadata = rs_json_new_object();
    if (!c->metadata) return rs_fail(err, RS_E_NOMEM, "%s: out of memory: metadata", c->path);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        rs_status st = rs_json_set(c->metadata, numbers[i].key, rs_json_new_int(numbers[i].value), err);
        if (st != RS_OK) return st;
    }
    return rs_json_set(c->metadata, "shared_classifier", rs_json_new_bool(!s->separate), err);
}

static rs_status add_copies(rs_checkpoint *c, int number, const shape *s, const struct piece *p, int64_t *at,
                            rs_error *err) {
    rs_tensor t = {.dtype = RS_F32, .usable = true, .type_name = rs_dtype_name(RS_F32), .file = number};
    int64_t copies = 0;
    piece_bytes(s, p, &t.bytes, &copies); /* cannot fail: file_bytes asked before */
    t.n_dims = p->rows == ONE ? 1 : 2;
    t.dims[0] = extent(s, p->rows == ONE ? p->cols : p->rows);
    if (t.n_dims == 2) t.dims[1] = extent(s, p->cols);
    for (int64_t i = 0; i < copies; i++, *at += t.bytes) {
        if (!p->name) continue;
        t.offset = (uint64_t)*at;
        rs_status st = p->when == PER_LAYER
                           ? rs_arena_printf(c->arena, &t.name, err, "model.layers.%" PRId64 ".%s", i, p->name)
                           : rs_arena_strdup(c->arena, &t.name, p->name, err);
        if (st == RS_OK) st = rs_checkpoint_add_tensor(c, &t, err);
        if (st != RS_OK) return st;
    }
    return RS_OK;
}

rs_status rs_llama2c_read(rs_checkpoint *c, int number, rs_error *err) {
    shape s;
    int64_t at = HEADER_BYTES;
    rs_status st = check_header(c->files[number], &s, err);
    if (st != RS_OK) return st;
    c->container = RS_CONTAINER_LLAMA2C;
    snprintf(c->container_name, sizeof c->container_name, "llama2.c v0");
    st = build_metadata(c, &s, err);
    for (int i = 0; st == RS_OK && i < PIECES; i++) st = add_copies(c, number, &s, &pieces[i], &at, err);
    return st == RS_OK ? rs_checkpoint_index(c, err) : st;
}
