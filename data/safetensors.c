/* data/safetensors.c: see safetensors.h.
 *
 * u64 n, little-endian; n bytes of JSON that begin with '{' and may end in blanks; then the buffer to the end of the
 * file.
 * {"name": {"dtype": "BF16", "shape": [rows, cols], "data_offsets": [begin, end]}, ..., "__metadata__": {text: text}}
 * with begin and end relative to the buffer (github.com/huggingface/safetensors, README "Format", and its tensor.rs).
 */
#include "data/safetensors.h"

#include "analyzer/base/alloc.h"
#include "data/checkpoint_internal.h"

#include <inttypes.h>
#include <string.h>

enum { LENGTH_BYTES = 8, HEADER_LIMIT = 100000000, MAX_DIMS = 4 };

/* Types of the format that base/dtype.h does not hold: listed, never used. Bits, for the packed ones. */
static const struct foreign_type {
    const char *name;
    int bits;
} foreign_types[] = {
    {"BOOL", 8},    {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6},     {"I8", 8},
    {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8},
    {"I16", 16},    {"U16", 16},    {"U32", 32},    {"C64", 64},        {"U64", 64},
};

/* Where we are, for messages. */
typedef struct entry {
    rs_checkpoint *c;
    const char *path;
    rs_tensor t;
    uint64_t buffer, buffer_bytes; /* where the buffer begins in the file, and how much of it there is */
    int bits;                      /* of one element */
} entry;

static rs_status set_type(entry *e, const rs_json *dtype, rs_error *err) {
    const char *name = rs_json_string(dtype, NULL);
    if (!name)
        return rs_fail(err, RS_E_FORMAT, "%s: tensor '%s': dtype is %s; a text is expected", e->path, e->t.name,
                       rs_json_kind_name(dtype));
    if (rs_dtype_from_safetensors(name, &e->t.dtype)) {
        e->t.type_name = rs_dtype_name(e->t.dtype);
        e->t.usable = rs_dtype_is_weight(e->t.dtype);
        e->bits = (int)rs_dtype_block_bytes(e->t.dtype) * 8;
        return RS_OK;
    }
    for (size_t i = 0; i < sizeof foreign_types / sizeof foreign_types[0]; i++) {
        if (strcmp(foreign_types[i].name, name) != 0) continue;
        e->t.dtype = RS_DTYPE_COUNT;
        e->t.type_name = foreign_types[i].name;
        e->bits = foreign_types[i].bits;
        return RS_OK;
    }
    return rs_fail(err, RS_E_FORMAT, "%s: tensor '%s': dtype '%.40s' is none of the format's", e->path, e->t.name,
                   name);
}

/* Reads item i of an array as a size. */
static bool size_at(const rs_json *array, size_t i, int64_t *out) {
    const rs_json *item = rs_json_at(array, i);
    *out = rs_json_int(item, -1);
    return rs_json_is(item, RS_JSON_INT) && *out >= 0;
}

static rs_status set_shape(entry *e, const rs_json *shape, int64_t *elements, rs_error *err) {
    size_t n = rs_json_size(shape);
    int64_t size = 0;
    if (!rs_json_is(shape, RS_JSON_ARRAY))
        return rs_fail(err, RS_E_FORMAT, "%s: tensor '%s': shape is %s; an array is expected", e->path, e->t.name,
                       rs_json_kind_name(shape));
    *elements = 1;
    for (size_t i = 0; i < n; i++) {
        if (!size_at(shape, i, &size) || !rs_mul_i64(*elements, size, elements))
            return rs_fail(err, RS_E_FORMAT, "%s: tensor '%s': shape: dimension %zu is no size, or too large", e->path,
                           e->t.name, i);
        if (i < MAX_DIMS) e->t.dims[i] = size;
        else if (!rs_mul_i64(e->t.dims[MAX_DIMS - 1], size, &e->t.dims[MAX_DIMS - 1]))
            return rs_fail(err, RS_E_FORMAT, "%s: tensor '%s': shape: too large", e->path, e->t.name);
    }
    e->t.n_dims = n < MAX_DIMS ? (int)n : MAX_DIMS;
    if (n <= MAX_DIMS) return RS_OK;
    e->t.usable = false;
    return rs_arena_printf(e->c->arena, &e->t.type_name, err, "%s with %zu dimensions", e->t.type_name, n);
}

static rs_status set_offsets(entry *e, const rs_json *offsets, int64_t elements, rs_error *err) {
    int64_t begin = 0, end = 0, bits = 0;
    if (!rs_json_is(offsets, RS_JSON_ARRAY) || rs_json_size(offsets) != 2 || !size_at(offsets, 0, &begin) ||
        !size_at(offsets, 1, &end))
        return rs_fail(err, RS_E_FORMAT, "%s: tensor '%s': data_offsets is not an array of two byte offsets", e->path,
                       e->t.name);
    if (begin > end || (uint64_t)end > e->buffer_bytes)
        return rs_fail(err, RS_E_FORMAT,
                       "%s: tensor '%s': data_offsets [%" PRId64 ", %" PRId64 "] do not lie in a buffer of %" PRIu64
                       " bytes",
                       e->path, e->t.name, begin, end, e->buffer_bytes);
    if (!rs_mul_i64(elements, e->bits, &bits) || bits % 8 != 0 || bits / 8 != end - begin)
        return rs_fail(err, RS_E_FORMAT,
                       "%s: tensor '%s': %" PRId64 " bytes found, but %" PRId64 " elements of %s expected", e->path,
                       e->t.name, end - begin, elements, e->t.type_name);
    e->t.offset = e->buffer + (uint64_t)begin;
    e->t.bytes = end - begin;
    return RS_OK;
}

static rs_status add_entry(entry *e, const char *name, const rs_json *value, rs_error *err) {
    int64_t elements = 0;
    rs_status st = rs_checkpoint_name(e->c, e->path, name, strlen(name), &e->t.name, err);
    if (st != RS_OK) return st;
    if (!rs_json_is(value, RS_JSON_OBJECT))
        return rs_fail(err, RS_E_FORMAT, "%s: tensor '%s': is described by %s; an object is expected", e->path,
                       e->t.name, rs_json_kind_name(value));
    st = set_type(e, rs_json_get(value, "dtype"), err);
    if (st == RS_OK) st = set_shape(e, rs_json_get(value, "shape"), &elements, err);
    if (st == RS_OK) st = set_offsets(e, rs_json_get(value, "data_offsets"), elements, err);
    return st == RS_OK ? rs_checkpoint_add_tensor(e->c, &e->t, err) : st;
}

static rs_status check_texts(const char *path, const rs_json *metadata, rs_error *err) {
    void *cursor = NULL;
    const rs_json *value;
    if (!rs_json_is(metadata, RS_JSON_OBJECT))
        return rs_fail(err, RS_E_FORMAT, "%s: __metadata__ is %s; an object is expected", path,
                       rs_json_kind_name(metadata));
    while ((value = rs_json_next(metadata, &cursor, NULL))) {
        if (!rs_json_is(value, RS_JSON_STRING))
            return rs_fail(err, RS_E_FORMAT, "%s: __metadata__ holds %s; only texts are expected", path,
                           rs_json_kind_name(value));
    }
    return RS_OK;
}

/* The tensors from `first` on must cover the buffer, each byte once. */
static rs_status check_cover(rs_checkpoint *c, const entry *e, size_t first, rs_error *err) {
    size_t n = c->tensor_count - first;
    rs_extent *extents = NULL;
    uint64_t end = e->buffer;
    rs_status st = RS_NEW(&extents, n, err);
    for (size_t i = 0; st == RS_OK && i < n; i++) {
        const rs_tensor *t = &c->tensors[first + i];
        extents[i] = (rs_extent){t->offset, t->offset + (uint64_t)t->bytes, first + i};
    }
    if (st == RS_OK) rs_extents_sort(extents, n);
    for (size_t i = 0; st == RS_OK && i < n; i++) {
        if (extents[i].begin != end)
            st = rs_fail(err, RS_E_FORMAT,
                         "%s: tensor '%s' begins at byte %" PRIu64 " of the file; the bytes before it %s %" PRIu64,
                         e->path, c->tensors[extents[i].tensor].name, extents[i].begin,
                         extents[i].begin > end ? "belong to no tensor from" : "belong to another tensor up to", end);
        end = extents[i].end;
    }
    if (st == RS_OK && end != e->buffer + e->buffer_bytes)
        st = rs_fail(err, RS_E_FORMAT, "%s: the last tensor ends at byte %" PRIu64 ", but the file has %" PRIu64,
                     e->path, end, e->buffer + e->buffer_bytes);
    rs_free(extents);
    return st;
}

static rs_status add_header(rs_checkpoint *c, const entry *where, const rs_json *header, rs_error *err) {
    size_t first = c->tensor_count;
    void *cursor = NULL;
    const char *name = NULL;
    const rs_json *value;
    if (!rs_json_is(header, RS_JSON_OBJECT))
        return rs_fail(err, RS_E_FORMAT, "%s: the header is %s; an object is expected", where->path,
                       rs_json_kind_name(header));
    while ((value = rs_json_next(header, &cursor, &name))) {
        entry e = *where;
        rs_status st =
            strcmp(name, "__metadata__") == 0 ? check_texts(e.path, value, err) : add_entry(&e, name, value, err);
        if (st != RS_OK) return st;
    }
    return check_cover(c, where, first, err);
}

static rs_status header_bytes(rs_file *f, uint64_t *bytes, rs_error *err) {
    unsigned char length[LENGTH_BYTES];
    uint64_t size = rs_file_size(f);
    if (size < LENGTH_BYTES)
        return rs_fail(err, RS_E_FORMAT, "%s: has %" PRIu64 " bytes; a safetensors file has at least 8",
                       rs_file_path(f), size);
    rs_status st = rs_file_read(f, 0, length, LENGTH_BYTES, err);
    if (st != RS_OK) return st;
    *bytes = rs_little_u64(length);
    if (*bytes > HEADER_LIMIT)
        return rs_fail(err, RS_E_FORMAT, "%s: the header is said to have %" PRIu64 " bytes; at most %d are expected",
                       rs_file_path(f), *bytes, HEADER_LIMIT);
    if (*bytes > size - LENGTH_BYTES)
        return rs_fail(err, RS_E_FORMAT,
                       "%s: the header is said to have %" PRIu64 " bytes, but only %" PRIu64 " follow", rs_file_path(f),
                       *bytes, size - LENGTH_BYTES);
    return RS_OK;
}

rs_status rs_safetensors_read(rs_checkpoint *c, int number, rs_error *err) {
    rs_status st = RS_OK;
    rs_file *f = c->files[number];
    entry where = {.c = c, .path = rs_file_path(f), .t = {.file = number}};
    rs_json *header = NULL;
    char *text = NULL;
    uint64_t n = 0;
    RS_TRY(header_bytes(f, &n, err));
    RS_TRY(RS_NEW(&text, (size_t)n + 1, err));
    RS_TRY(rs_file_read(f, LENGTH_BYTES, text, (size_t)n, err));
    if (text[0] != '{') RS_TRY(rs_fail(err, RS_E_FORMAT, "%s: the header does not begin with '{'", where.path));
    RS_TRY(rs_json_parse(text, (size_t)n, where.path, &header, err));
    where.buffer = LENGTH_BYTES + n;
    where.buffer_bytes = rs_file_size(f) - where.buffer;
    RS_TRY(add_header(c, &where, header, err));
out:
    rs_json_free(header);
    rs_free(text);
    return st;
}
