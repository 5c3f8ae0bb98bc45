/* base/json.h: strict JSON (RFC 8259, no duplicate keys, valid UTF-8) as a read-only tree, over jansson.
 * The library's name appears in json.c alone. Also carries GGUF and llama2.c metadata, so that the model layer reads
 * one kind of tree whatever the container was. */
#ifndef RS_BASE_JSON_H
#define RS_BASE_JSON_H

#include "analyzer/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct rs_json rs_json; /* a node; the root is owned, all others are borrowed from it */

typedef enum rs_json_kind {
    RS_JSON_NULL,
    RS_JSON_BOOL,
    RS_JSON_INT,
    RS_JSON_REAL,
    RS_JSON_STRING,
    RS_JSON_ARRAY,
    RS_JSON_OBJECT
} rs_json_kind;

/* Parses n bytes; `file` names them in messages. Integers beyond 64 bits become reals (model_max_length: 1e30 is
 * common). Accepts Infinity, -Infinity and NaN as Python writes them (they read as reals; checks are the reader's).
 * Depth <= 512. Fails: RS_E_FORMAT with line and column. Free the root with rs_json_free. */
rs_status rs_json_parse(const char *bytes, size_t n, const char *file, rs_json **out, rs_error *err);
rs_status rs_json_read_file(const char *path, size_t max_bytes, rs_json **out, rs_error *err);
void rs_json_free(rs_json *root); /* NULL is fine */

/* All of these take NULL (absent) and give the neutral answer. */
rs_json_kind rs_json_kind_of(const rs_json *j);
bool rs_json_is(const rs_json *j, rs_json_kind kind);               /* false for NULL */
bool rs_json_is_null(const rs_json *j);                             /* absent or null */
const char *rs_json_kind_name(const rs_json *j);                    /* "absent", "null", "integer", ... for messages */
const rs_json *rs_json_get(const rs_json *object, const char *key); /* NULL when absent */
size_t rs_json_size(const rs_json *array_or_object);
const rs_json *rs_json_at(const rs_json *array, size_t i);
const char *rs_json_string(const rs_json *j, size_t *bytes); /* NULL unless a string; bytes may be NULL */
bool rs_json_bool(const rs_json *j, bool otherwise);
int64_t rs_json_int(const rs_json *j, int64_t otherwise); /* integer, or a real with an integral value */
double rs_json_real(const rs_json *j, double otherwise);  /* integer or real */
bool rs_json_is_number(const rs_json *j);
/* Iterates an object: start with *cursor = NULL; returns the value or NULL at the end. */
const rs_json *rs_json_next(const rs_json *object, void **cursor, const char **key);

/* Builders (for metadata trees and for what we write). A set/append takes ownership of value even when it fails.
 * NULL values (from a failed *_new) give RS_E_NOMEM. Strings are bytes: not checked for UTF-8. */
rs_json *rs_json_new_object(void);
rs_json *rs_json_new_array(void);
rs_json *rs_json_new_string(const char *s, size_t bytes);
rs_json *rs_json_new_int(int64_t v);
rs_json *rs_json_new_real(double v); /* NaN and infinities are written as null */
rs_json *rs_json_new_bool(bool v);
rs_json *rs_json_new_null(void);
rs_status rs_json_set(rs_json *object, const char *key, rs_json *value, rs_error *err);
rs_status rs_json_append(rs_json *array, rs_json *value, rs_error *err);

#endif
