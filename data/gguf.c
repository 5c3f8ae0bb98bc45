/* data/gguf.c: see gguf.h.
 *
 * "GGUF"; u32 version; i64 tensors; i64 pairs; the pairs: string key, u32 type, value; the tensors: string name, u32
 * n_dims, i64 dims[n_dims] (the contiguous one first), u32 type, u64 offset into the data section, which begins at the
 * next multiple of general.alignment (default 32). A string is a u64 length and its bytes (ggml, docs/gguf.md;
 * gguf.cpp). Parts of a split model are NAME-00001-of-00003.gguf; all metadata stands in the first, each has split.no
 * and split.count. */
#include "data/gguf.h"

#include "analyzer/base/alloc.h"
#include "analyzer/base/text.h"
#include "data/checkpoint_internal.h"
#include "data/gguf_cursor.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MAX_DIMS = 4, DEFAULT_ALIGNMENT = 32, LEAST_ALIGNMENT = 8, MAX_PARTS = 99999 };
/* name length, one letter, n_dims, one dimension, type, offset */
enum { LEAST_TENSOR_BYTES = 8 + 1 + 4 + 8 + 4 + 8 };
enum { SUFFIX_BYTES = sizeof "-00001-of-00001.gguf" - 1 };

/* Types that base/dtype.h does not hold: listed, never used. Bytes 0: the block is not the same in all programs that
 * write it (Q8_1 lost four bytes, Q2_0 comes in blocks of 64 and of 128). Sizes: ggml-common.h. */
static const struct foreign_type {
    uint32_t id;
    const char *name;
    int64_t block, bytes;
} foreign_types[] = {
    {9, "Q8_1", 32, 0},       {10, "Q2_K", 256, 84},   {11, "Q3_K", 256, 110},   {15, "Q8_K", 256, 292},
    {16, "IQ2_XXS", 256, 66}, {17, "IQ2_XS", 256, 74}, {18, "IQ3_XXS", 256, 98}, {19, "IQ1_S", 256, 50},
    {20, "IQ4_NL", 32, 18},   {21, "IQ3_S", 256, 110}, {22, "IQ2_S", 256, 82},   {23, "IQ4_XS", 256, 136},
    {24, "I8", 1, 1},         {25, "I16", 1, 2},       {29, "IQ1_M", 256, 56},   {34, "TQ1_0", 256, 54},
    {35, "TQ2_0", 256, 66},   {39, "MXFP4", 32, 17},   {40, "NVFP4", 64, 36},    {41, "Q1_0", 128, 18},
    {42, "Q2_0", 1, 0},
};

bool rs_gguf_is(const unsigned char *head, size_t n) { return n >= 4 && memcmp(head, "GGUF", 4) == 0; }

/* ---- Tensors ---- */

static rs_status set_type(const rs_gguf_cursor *r, rs_tensor *t, uint32_t id, int64_t *block, int64_t *bytes,
                          rs_error *err) {
    if (rs_dtype_from_gguf(id, &t->dtype)) {
        t->type_name = rs_dtype_name(t->dtype);
        t->usable = rs_dtype_is_weight(t->dtype);
        *block = rs_dtype_block(t->dtype);
        *bytes = rs_dtype_block_bytes(t->dtype);
        return RS_OK;
    }
    for (size_t i = 0; i < sizeof foreign_types / sizeof foreign_types[0]; i++) {
        if (foreign_types[i].id != id) continue;
        t->dtype = RS_DTYPE_COUNT;
        t->type_name = foreign_types[i].name;
        *block = foreign_types[i].block;
        *bytes = foreign_types[i].bytes;
        return RS_OK;
    }
    return rs_fail(err, RS_E_FORMAT, "%s: tensor '%s': type %" PRIu32 " is unknown", r->path, t->name, id);
}

/* Turns the order of the dimensions: the file's first is our last. */
static rs_status take_dims(rs_gguf_cursor *r, rs_tensor *t, int64_t *elements, rs_error *err) {
    uint32_t n = 0;
    uint64_t size = 0;
    rs_status st = rs_gguf_take_u32(r, &n, err);
    if (st != RS_OK) return st;
    if (n < 1 || n > MAX_DIMS)
        return rs_fail(err, RS_E_FORMAT, "%s: tensor '%s': %" PRIu32 " dimensions; 1 to %d are expected", r->path,
                       t->name, n, MAX_DIMS);
    t->n_dims = (int)n;
    *elements = 1;
    for (int i = t->n_dims - 1; i >= 0; i--) {
        st = rs_gguf_take_u64(r, &size, err);
        if (st != RS_OK) return st;
        if (size < 1 || size > INT64_MAX || !rs_mul_i64(*elements, (int64_t)size, elements))
            return rs_fail(err, RS_E_FORMAT, "%s: tensor '%s': dimension %" PRId64 " is no size, or too large", r->path,
                           t->name, (int64_t)size);
        t->dims[i] = (int64_t)size;
    }
    return RS_OK;
}

/* offset is still relative to the data section. */
static rs_status take_tensor(rs_gguf_cursor *r, int number, rs_error *err) {
    rs_tensor t = {.file = number};
    rs_status st = RS_OK;
    uint32_t id = 0;
    int64_t elements = 0, block = 1, block_bytes = 0;
    RS_TRY(rs_gguf_take_name(r, &t.name, err));
    RS_TRY(take_dims(r, &t, &elements, err));
    RS_TRY(rs_gguf_take_u32(r, &id, err));
    RS_TRY(set_type(r, &t, id, &block, &block_bytes, err));
    RS_TRY(rs_gguf_take_u64(r, &t.offset, err));
    if (t.dims[t.n_dims - 1] % block != 0)
        RS_TRY(rs_fail(err, RS_E_FORMAT,
                       "%s: tensor '%s': rows of %" PRId64 " elements; %s comes in blocks of %" PRId64, r->path, t.name,
                       t.dims[t.n_dims - 1], t.type_name, block));
    if (!rs_mul_i64(elements / block, block_bytes, &t.bytes))
        RS_TRY(rs_fail(err, RS_E_FORMAT, "%s: tensor '%s': is too large", r->path, t.name));
    RS_TRY(rs_checkpoint_add_tensor(r->c, &t, err));
out:
    return st;
}

/* Makes the offset count from the start of the file. */
static rs_status place_tensor(const rs_gguf_cursor *r, rs_tensor *t, uint64_t data, uint64_t alignment, rs_error *err) {
    uint64_t room = r->size > data ? r->size - data : 0;
    if (t->offset % alignment != 0)
        return rs_fail(err, RS_E_FORMAT, "%s: tensor '%s': offset %" PRIu64 " is no multiple of the alignment %" PRIu64,
                       r->path, t->name, t->offset, alignment);
    if (t->offset > room || (uint64_t)t->bytes > room - t->offset)
        return rs_fail(err, RS_E_FORMAT,
                       "%s: tensor '%s': %" PRId64 " bytes at offset %" PRIu64
                       " expected, but the data section has %" PRIu64 " (is the file cut off?)",
                       r->path, t->name, t->bytes, t->offset, room);
    t->offset += data;
    return RS_OK;
}

static rs_status check_overlap(const rs_gguf_cursor *r, size_t first, rs_error *err) {
    const rs_checkpoint *c = r->c;
    size_t n = c->tensor_count - first;
    rs_extent *extents = NULL;
    rs_status st = RS_NEW(&extents, n, err);
    if (st != RS_OK) return st;
    for (size_t i = 0; i < n; i++) {
        const rs_tensor *t = &c->tensors[first + i];
        extents[i] = (rs_extent){t->offset, t->offset + (uint64_t)t->bytes, first + i};
    }
    rs_extents_sort(extents, n);
    for (size_t i = 1; st == RS_OK && i < n; i++) {
        if (extents[i].begin < extents[i - 1].end)
            st = rs_fail(err, RS_E_FORMAT, "%s: tensors '%s' and '%s' overlap", r->path,
                         c->tensors[extents[i - 1].tensor].name, c->tensors[extents[i].tensor].name);
    }
    rs_free(extents);
    return st;
}

static rs_status alignment_of(const rs_gguf_cursor *r, const rs_json *metadata, uint64_t *out, rs_error *err) {
    const rs_json *j = rs_json_get(metadata, "general.alignment");
    int64_t v = j ? rs_json_int(j, 0) : DEFAULT_ALIGNMENT;
    *out = (uint64_t)v;
    if ((!j || rs_json_is(j, RS_JSON_INT)) && v >= LEAST_ALIGNMENT && v <= UINT32_MAX && (v & (v - 1)) == 0)
        return RS_OK;
    return rs_fail(err, RS_E_FORMAT,
                   "%s: 'general.alignment': %" PRId64 " found; a power of two from %d on is expected", r->path, v,
                   LEAST_ALIGNMENT);
}

static rs_status take_tensors(rs_gguf_cursor *r, int number, uint64_t count, const rs_json *metadata, rs_error *err) {
    size_t first = r->c->tensor_count;
    uint64_t alignment = 0;
    rs_status st = alignment_of(r, metadata, &alignment, err);
    if (st != RS_OK) return st;
    r->item = "list of tensors";
    st = rs_gguf_check_count(r, count, LEAST_TENSOR_BYTES, "tensors", err);
    for (uint64_t i = 0; st == RS_OK && i < count; i++) st = take_tensor(r, number, err);
    uint64_t data = (r->at + alignment - 1) / alignment * alignment;
    for (size_t i = first; st == RS_OK && i < r->c->tensor_count; i++)
        st = place_tensor(r, &r->c->tensors[i], data, alignment, err);
    return st == RS_OK ? check_overlap(r, first, err) : st;
}

/* ---- One file ---- */

static rs_status check_version(const char *path, uint32_t version, rs_error *err) {
    if (version == 2 || version == 3) return RS_OK;
    if (version == 0) return rs_fail(err, RS_E_FORMAT, "%s: GGUF version 0; 2 or 3 is expected", path);
    if ((version & 0xffffU) == 0)
        return rs_fail(err, RS_E_UNSUPPORTED, "%s: is a big-endian GGUF file; only little-endian ones are read", path);
    return rs_fail(err, RS_E_UNSUPPORTED, "%s: is a GGUF file of version %" PRIu32 "; versions 2 and 3 are read", path,
                   version);
}

/* Adds the tensors of one file; *metadata is the caller's to free. */
static rs_status read_part(rs_checkpoint *c, int number, uint32_t *version, rs_json **metadata, rs_error *err) {
    rs_status st = RS_OK;
    rs_file *f = c->files[number];
    rs_gguf_cursor r = {.c = c, .file = f, .path = rs_file_path(f), .size = rs_file_size(f), .item = "header"};
    const unsigned char *magic = NULL;
    uint64_t tensors = 0, pairs = 0;
    *metadata = NULL;
    RS_TRY(rs_gguf_take(&r, 4, &magic, err));
    if (!rs_gguf_is(magic, 4)) RS_TRY(rs_fail(err, RS_E_FORMAT, "%s: is no GGUF file", r.path));
    RS_TRY(rs_gguf_take_u32(&r, version, err));
    RS_TRY(check_version(r.path, *version, err));
    RS_TRY(rs_gguf_take_u64(&r, &tensors, err));
    RS_TRY(rs_gguf_take_u64(&r, &pairs, err));
    RS_TRY(rs_gguf_take_pairs(&r, pairs, metadata, err));
    RS_TRY(take_tensors(&r, number, tensors, *metadata, err));
out:
    rs_gguf_cursor_deinit(&r);
    if (st != RS_OK) {
        rs_json_free(*metadata);
        *metadata = NULL;
    }
    return st;
}

/* ---- Split models ---- */

static int64_t split_number(const rs_json *metadata, const char *key, int64_t otherwise) {
    const rs_json *j = rs_json_get(metadata, key);
    return j ? rs_json_int(j, -1) : otherwise;
}

/* What stands before "-00002-of-00003.gguf" in the path of part `no` (from 0) of `parts`. */
static rs_status prefix_of(const char *path, int64_t no, int64_t parts, char **out, rs_error *err) {
    char suffix[64];
    if (no < 0 || no >= parts || parts > MAX_PARTS)
        return rs_fail(err, RS_E_FORMAT, "%s: split.no %" PRId64 " and split.count %" PRId64 " do not fit together",
                       path, no, parts);
    snprintf(suffix, sizeof suffix, "-%05" PRId64 "-of-%05" PRId64 ".gguf", no + 1, parts);
    if (!rs_ends_with(path, suffix))
        return rs_fail(
            err, RS_E_FORMAT,
            "%s: is a part of a split model, but its name does not end in %s, so the other parts cannot be found", path,
            suffix);
    return rs_strndup(out, path, strlen(path) - SUFFIX_BYTES, err);
}

static rs_status path_of_part(const char *prefix, int64_t no, int64_t parts, char **out, rs_error *err) {
    size_t room = strlen(prefix) + SUFFIX_BYTES + 1;
    rs_status st = RS_NEW(out, room, err);
    if (st == RS_OK) snprintf(*out, room, "%s-%05d-of-%05d.gguf", prefix, (int)no + 1, (int)parts);
    return st;
}

/* All that are missing in one message. */
static rs_status check_parts_exist(const char *path, const char *prefix, int64_t parts, rs_error *err) {
    rs_text missing = {0};
    rs_status st = RS_OK;
    for (int64_t i = 0; st == RS_OK && i < parts && missing.bytes < RS_ERROR_BYTES; i++) {
        char *part = NULL;
        st = path_of_part(prefix, i, parts, &part, err);
        if (st == RS_OK && !rs_path_exists(part))
            rs_text_printf(&missing, "%s%s", missing.bytes ? ", " : "", rs_path_base(part));
        rs_free(part);
    }
    if (st == RS_OK) st = rs_text_status(&missing, err);
    if (st == RS_OK && missing.bytes)
        st = rs_fail(err, RS_E_FORMAT, "%s: is one of %" PRId64 " parts, and these are missing beside it: %s", path,
                     parts, missing.data);
    rs_text_deinit(&missing);
    return st;
}

static rs_status read_split_part(rs_checkpoint *c, const char *prefix, int64_t no, int64_t parts, rs_error *err) {
    rs_json *metadata = NULL;
    uint32_t version = 0;
    int number = 0;
    rs_status st = RS_OK;
    char *path = NULL;
    RS_TRY(path_of_part(prefix, no, parts, &path, err));
    RS_TRY(rs_checkpoint_add_file(c, path, &number, err));
    RS_TRY(read_part(c, number, &version, &metadata, err));
    if (split_number(metadata, "split.no", -1) != no || split_number(metadata, "split.count", -1) != parts)
        RS_TRY(rs_fail(err, RS_E_FORMAT, "%s: split.no and split.count in it do not agree with its name", path));
    if (no == 0) {
        c->metadata = metadata;
        metadata = NULL;
    }
out:
    rs_json_free(metadata);
    rs_free(path);
    return st;
}

/* The part that was named has been read already: to learn that it is one. It is forgotten and all are read in their
 * order. */
static rs_status read_split(rs_checkpoint *c, const rs_json *metadata, int64_t parts, rs_error *err) {
    rs_status st = RS_OK;
    char *prefix = NULL;
    RS_TRY(prefix_of(c->path, split_number(metadata, "split.no", -1), parts, &prefix, err));
    RS_TRY(check_parts_exist(c->path, prefix, parts, err));
    rs_checkpoint_forget(c);
    for (int64_t i = 0; i < parts; i++) RS_TRY(read_split_part(c, prefix, i, parts, err));
    int64_t expected = split_number(c->metadata, "split.tensors.count", (int64_t)c->tensor_count);
    if (expected != (int64_t)c->tensor_count)
        RS_TRY(rs_fail(err, RS_E_FORMAT, "%s: split.tensors.count is %" PRId64 ", but the parts hold %zu tensors",
                       c->path, expected, c->tensor_count));
out:
    rs_free(prefix);
    return st;
}

rs_status rs_gguf_read(rs_checkpoint *c, int number, rs_error *err) {
    rs_json *metadata = NULL;
    uint32_t version = 0;
    rs_status st = read_part(c, number, &version, &metadata, err);
    if (st != RS_OK) return st;
    c->container = RS_CONTAINER_GGUF;
    snprintf(c->container_name, sizeof c->container_name, "GGUF v%" PRIu32, version);
    int64_t parts = split_number(metadata, "split.count", 0);
    if (parts == 0 || parts == 1) { /* whole */
        c->metadata = metadata;
        return rs_checkpoint_index(c, err);
    }
    st = read_split(c, metadata, parts, err);
    rs_json_free(metadata);
    return st == RS_OK ? rs_checkpoint_index(c, err) : st;
}
