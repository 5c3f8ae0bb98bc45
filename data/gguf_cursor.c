/* data/gguf_cursor.c: see gguf_cursor.h. A vocabulary has hundreds of thousands of small fields: one pread each would
 * take longer than the rest of the program's start. */
#include "data/gguf_cursor.h"

#include "analyzer/base/alloc.h"

#include <inttypes.h>
#include <string.h>

/* A tree node costs 40 bytes and more, so a file of one-byte numbers would need many times its own size: 2^24 elements
 * are ten times what the largest vocabularies have. */
enum { BUFFER_BYTES = 1 << 20, STRING_LIMIT = 1 << 26, ELEMENT_LIMIT = 1 << 24 };

typedef enum value_type {
    T_U8,
    T_I8,
    T_U16,
    T_I16,
    T_U32,
    T_I32,
    T_F32,
    T_BOOL,
    T_STRING,
    T_ARRAY,
    T_U64,
    T_I64,
    T_F64,
    T_COUNT
} value_type;

/* Bytes in the file; of a string its length field, of an array its type and count. */
static const uint8_t type_bytes[T_COUNT] = {1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};

/* ---- Bytes ---- */

void rs_gguf_cursor_deinit(rs_gguf_cursor *r) {
    rs_free(r->buffer);
    r->buffer = NULL;
}

static rs_status make_room(rs_gguf_cursor *r, size_t n, rs_error *err) {
    size_t held = r->end - r->begin;
    if (n > r->room) {
        void *block = r->buffer;
        size_t room = n;
        if (room < BUFFER_BYTES) room = r->size < BUFFER_BYTES ? (size_t)r->size : BUFFER_BYTES;
        rs_status st = rs_resize(&block, r->room, room, 1, err);
        if (st != RS_OK) return st;
        r->buffer = block;
        r->room = room;
    }
    memmove(r->buffer, r->buffer + r->begin, held);
    r->begin = 0;
    r->end = held;
    return RS_OK;
}

static rs_status fill(rs_gguf_cursor *r, size_t n, rs_error *err) {
    rs_status st = make_room(r, n, err);
    if (st != RS_OK) return st;
    uint64_t left = r->size - r->at - r->end; /* begin is 0 now */
    size_t part = r->room - r->end;
    if (part > left) part = (size_t)left;
    st = rs_file_read(r->file, r->at + r->end, r->buffer + r->end, part, err);
    if (st == RS_OK) r->end += part;
    return st;
}

rs_status rs_gguf_take(rs_gguf_cursor *r, uint64_t n, const unsigned char **out, rs_error *err) {
    if (n > r->size - r->at)
        return rs_fail(err, RS_E_FORMAT,
                       "%s: '%s': %" PRIu64 " bytes expected at byte %" PRIu64 ", but the file has %" PRIu64, r->path,
                       r->item, n, r->at, r->size);
    if (n > r->end - r->begin) {
        rs_status st = fill(r, (size_t)n, err);
        if (st != RS_OK) return st;
    }
    *out = r->buffer + r->begin;
    r->begin += (size_t)n;
    r->at += n;
    return RS_OK;
}

rs_status rs_gguf_take_u32(rs_gguf_cursor *r, uint32_t *out, rs_error *err) {
    const unsigned char *p = NULL;
    rs_status st = rs_gguf_take(r, 4, &p, err);
    if (st == RS_OK) *out = rs_little_u32(p);
    return st;
}

rs_status rs_gguf_take_u64(rs_gguf_cursor *r, uint64_t *out, rs_error *err) {
    const unsigned char *p = NULL;
    rs_status st = rs_gguf_take(r, 8, &p, err);
    if (st == RS_OK) *out = rs_little_u64(p);
    return st;
}

rs_status rs_gguf_take_string(rs_gguf_cursor *r, const char **s, size_t *n, rs_error *err) {
    const unsigned char *p = NULL;
    uint64_t length = 0;
    rs_status st = rs_gguf_take_u64(r, &length, err);
    if (st == RS_OK && length > STRING_LIMIT && length <= r->size - r->at)
        st = rs_fail(err, RS_E_UNSUPPORTED, "%s: '%s': a string of %" PRIu64 " bytes; at most %d are read", r->path,
                     r->item, length, STRING_LIMIT);
    if (st == RS_OK) st = rs_gguf_take(r, length, &p, err);
    if (st != RS_OK) return st;
    *s = (const char *)p;
    *n = (size_t)length;
    return RS_OK;
}

rs_status rs_gguf_take_name(rs_gguf_cursor *r, const char **out, rs_error *err) {
    const char *s = NULL;
    size_t n = 0;
    rs_status st = rs_gguf_take_string(r, &s, &n, err);
    if (st == RS_OK && memchr(s, 0, n))
        st = rs_fail(err, RS_E_FORMAT, "%s: the name after '%s' holds a NUL", r->path, r->item);
    if (st == RS_OK) st = rs_checkpoint_name(r->c, r->path, s, n, out, err);
    if (st == RS_OK) r->item = *out;
    return st;
}

rs_status rs_gguf_check_count(const rs_gguf_cursor *r, uint64_t count, uint64_t least, const char *what,
                              rs_error *err) {
    uint64_t left = r->size - r->at;
    if (count <= left / least) return RS_OK;
    return rs_fail(err, RS_E_FORMAT,
                   "%s: '%s': %" PRIu64 " %s expected, but the %" PRIu64 " bytes that are left cannot hold them",
                   r->path, r->item, count, what, left);
}

/* ---- Values ---- */

static rs_json *json_of_u64(uint64_t v) {
    return v <= INT64_MAX ? rs_json_new_int((int64_t)v) : rs_json_new_real((double)v);
}

/* Two's complement of the given width. */
static rs_json *json_of_signed(uint64_t v, int bits) {
    uint64_t sign = (uint64_t)1 << (bits - 1);
    int64_t low = (int64_t)(v & (sign - 1));
    if (!(v & sign)) return rs_json_new_int(low);
    return rs_json_new_int(low - (int64_t)(sign - 1) - 1);
}

static rs_json *json_of_f32(uint32_t v) {
    float f;
    memcpy(&f, &v, sizeof f);
    return rs_json_new_real((double)f);
}

static rs_json *json_of_f64(uint64_t v) {
    double d;
    memcpy(&d, &v, sizeof d);
    return rs_json_new_real(d);
}

static uint64_t little(const unsigned char *p, size_t n) {
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++) v |= (uint64_t)p[i] << (8 * i);
    return v;
}

static rs_json *json_of_number(value_type type, const unsigned char *p) {
    size_t n = type_bytes[type];
    uint64_t v = little(p, n);
    switch (type) {
    case T_I8:
    case T_I16:
    case T_I32:
    case T_I64: return json_of_signed(v, (int)n * 8);
    case T_F32: return json_of_f32((uint32_t)v);
    case T_F64: return json_of_f64(v);
    case T_BOOL: return rs_json_new_bool(v != 0);
    default: return json_of_u64(v);
    }
}

/* Anything but an array. *out is NULL with RS_OK when the tree could not get memory: set and append report that. */
static rs_status take_scalar(rs_gguf_cursor *r, value_type type, rs_json **out, rs_error *err) {
    const unsigned char *p = NULL;
    const char *s = NULL;
    size_t n = 0;
    *out = NULL;
    rs_status st = type == T_STRING ? rs_gguf_take_string(r, &s, &n, err) : rs_gguf_take(r, type_bytes[type], &p, err);
    if (st != RS_OK) return st;
    if (type == T_BOOL && p[0] > 1)
        return rs_fail(err, RS_E_FORMAT, "%s: '%s': a boolean is %d; 0 or 1 are expected", r->path, r->item, p[0]);
    *out = type == T_STRING ? rs_json_new_string(s, n) : json_of_number(type, p);
    return RS_OK;
}

static rs_status take_type(rs_gguf_cursor *r, value_type *type, rs_error *err) {
    uint32_t id = 0;
    rs_status st = rs_gguf_take_u32(r, &id, err);
    if (st == RS_OK && id >= T_COUNT)
        st = rs_fail(err, RS_E_FORMAT, "%s: '%s': value type %" PRIu32 " is unknown; 0 to %d are expected", r->path,
                     r->item, id, T_COUNT - 1);
    *type = st == RS_OK ? (value_type)id : T_U8;
    return st;
}

static rs_status take_array_head(rs_gguf_cursor *r, value_type *type, uint64_t *count, rs_error *err) {
    rs_status st = take_type(r, type, err);
    if (st == RS_OK) st = rs_gguf_take_u64(r, count, err);
    if (st == RS_OK && *type == T_ARRAY)
        st = rs_fail(err, RS_E_UNSUPPORTED, "%s: '%s': an array of arrays is not supported", r->path, r->item);
    if (st == RS_OK) st = rs_gguf_check_count(r, *count, type_bytes[*type], "array elements", err);
    if (st == RS_OK && *count > ELEMENT_LIMIT - r->values)
        st = rs_fail(err, RS_E_UNSUPPORTED, "%s: '%s': more than %d array elements in the header", r->path, r->item,
                     ELEMENT_LIMIT);
    if (st == RS_OK) r->values += *count;
    return st;
}

static rs_status take_array(rs_gguf_cursor *r, rs_json **out, rs_error *err) {
    value_type type = T_U8;
    uint64_t count = 0;
    rs_json *array = NULL, *value = NULL;
    rs_status st = take_array_head(r, &type, &count, err);
    if (st != RS_OK) return st;
    array = rs_json_new_array();
    if (!array) return rs_fail(err, RS_E_NOMEM, "%s: '%s': out of memory", r->path, r->item);
    for (uint64_t i = 0; st == RS_OK && i < count; i++) {
        st = take_scalar(r, type, &value, err);
        if (st == RS_OK) st = rs_json_append(array, value, err);
    }
    if (st == RS_OK) *out = array;
    else rs_json_free(array);
    return st;
}

static rs_status take_pair(rs_gguf_cursor *r, rs_json *object, rs_error *err) {
    const char *key = NULL;
    value_type type = T_U8;
    rs_json *value = NULL;
    rs_status st = rs_gguf_take_name(r, &key, err);
    if (st == RS_OK && rs_json_get(object, key))
        st = rs_fail(err, RS_E_FORMAT, "%s: key '%s' stands there twice", r->path, key);
    if (st == RS_OK) st = take_type(r, &type, err);
    if (st == RS_OK) st = type == T_ARRAY ? take_array(r, &value, err) : take_scalar(r, type, &value, err);
    return st == RS_OK ? rs_json_set(object, key, value, err) : st;
}

rs_status rs_gguf_take_pairs(rs_gguf_cursor *r, uint64_t count, rs_json **out, rs_error *err) {
    rs_json *object = NULL;
    *out = NULL;
    rs_status st = rs_gguf_check_count(r, count, 8 + 1 + 4 + 1, "keys", err); /* length, one letter, type, one byte */
    if (st != RS_OK) return st;
    object = rs_json_new_object();
    if (!object) return rs_fail(err, RS_E_NOMEM, "%s: out of memory: metadata", r->path);
    for (uint64_t i = 0; st == RS_OK && i < count; i++) st = take_pair(r, object, err);
    if (st == RS_OK) *out = object;
    else rs_json_free(object);
    return st;
}
