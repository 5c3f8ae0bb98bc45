/* base/array.c: see array.h. */
#include "analyzer/base/array.h"

#include "analyzer/base/alloc.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

/* A cut name would become a wrong path in the store, so it is an error. */
static rs_status copy_text(char *out, size_t room, const char *s, const char *what, rs_error *err) {
    size_t n = strlen(s);
    if (n >= room) return rs_fail(err, RS_E_INTERNAL, "%s \"%s\" is longer than %zu bytes", what, s, room - 1);
    memcpy(out, s, n + 1);
    return RS_OK;
}

static bool can_be_stored(rs_dtype t) { return t == RS_F64 || t == RS_F32 || t == RS_I32 || t == RS_U8; }

static rs_status set_texts(rs_array *a, const char *name, const char *unit, const char *long_name, rs_error *err) {
    rs_status st = copy_text(a->name, sizeof a->name, name, "array name", err);
    if (st == RS_OK) st = copy_text(a->unit, sizeof a->unit, unit, "unit", err);
    if (st == RS_OK) st = copy_text(a->long_name, sizeof a->long_name, long_name, "long name", err);
    if (st == RS_OK && (!name[0] || !unit[0]))
        st = rs_fail(err, RS_E_INTERNAL, "array \"%s\" has no name or no unit", name);
    return st;
}

static rs_status set_dims(rs_array *a, int n_dims, va_list args, rs_error *err) {
    if (n_dims < 0 || n_dims > RS_ARRAY_DIMS)
        return rs_fail(err, RS_E_INTERNAL, "array \"%s\" has %d axes; at most %d are possible", a->name, n_dims,
                       RS_ARRAY_DIMS);
    for (int i = 0; i < n_dims; i++) {
        const char *dim = va_arg(args, const char *);
        int64_t size = va_arg(args, int64_t);
        rs_status st = copy_text(a->dim_names[i], sizeof a->dim_names[i], dim, "axis name", err);
        if (st != RS_OK) return st;
        if (size < 0) return rs_fail(err, RS_E_INTERNAL, "array \"%s\": axis \"%s\" has a negative size", a->name, dim);
        a->dims[i] = size;
    }
    a->n_dims = n_dims;
    return RS_OK;
}

static rs_status new_cells(rs_array *a, rs_error *err) {
    int64_t cells = 1;
    for (int i = 0; i < a->n_dims; i++) {
        if (!rs_mul_i64(cells, a->dims[i], &cells))
            return rs_fail(err, RS_E_NOMEM, "array \"%s\" has more cells than can be counted", a->name);
    }
    rs_status st = RS_NEW(&a->data, (size_t)cells, err);
    if (st != RS_OK) rs_error_prefix(err, "array \"%s\"", a->name);
    for (int64_t i = 0; st == RS_OK && i < cells; i++) a->data[i] = (double)NAN;
    return st;
}

static rs_status init_from(rs_array *a, rs_error *err, const char *name, rs_dtype stored_as, const char *unit,
                           const char *long_name, int n_dims, va_list args) {
    *a = (rs_array){.stored_as = stored_as};
    rs_status st = set_texts(a, name, unit, long_name, err);
    if (st == RS_OK && !can_be_stored(stored_as))
        st = rs_fail(err, RS_E_INTERNAL, "array \"%s\" cannot be stored as %s", name, rs_dtype_name(stored_as));
    if (st == RS_OK) st = set_dims(a, n_dims, args, err);
    if (st == RS_OK) st = new_cells(a, err);
    if (st != RS_OK) *a = (rs_array){.stored_as = RS_F64};
    return st;
}

rs_status rs_array_init(rs_array *a, rs_error *err, const char *name, rs_dtype stored_as, const char *unit,
                        const char *long_name, int n_dims, ...) {
    va_list args;
    va_start(args, n_dims);
    rs_status st = init_from(a, err, name, stored_as, unit, long_name, n_dims, args);
    va_end(args);
    return st;
}

void rs_array_deinit(rs_array *a) {
    if (!a) return;
    rs_free(a->data);
    a->data = NULL;
}

int64_t rs_array_size(const rs_array *a) {
    int64_t cells = 1;
    for (int i = 0; i < a->n_dims; i++) cells *= a->dims[i]; /* fits: rs_array_init checked it */
    return cells;
}

static rs_status grow(rs_arrays *list, rs_error *err) {
    if (list->count < list->room) return RS_OK;
    size_t room = list->room ? list->room * 2 : 8;
    void *block = list->items;
    rs_status st = rs_resize(&block, list->count, room, sizeof *list->items, err);
    if (st != RS_OK) return st;
    list->items = block;
    list->room = room;
    return RS_OK;
}

rs_status rs_arrays_add(rs_arrays *list, rs_array **out, rs_error *err, const char *name, rs_dtype stored_as,
                        const char *unit, const char *long_name, int n_dims, ...) {
    *out = NULL;
    rs_status st = grow(list, err);
    if (st != RS_OK) return st;
    va_list args;
    va_start(args, n_dims);
    st = init_from(&list->items[list->count], err, name, stored_as, unit, long_name, n_dims, args);
    va_end(args);
    if (st != RS_OK) return st;
    *out = &list->items[list->count++];
    return RS_OK;
}

rs_array *rs_arrays_find(const rs_arrays *list, const char *name) {
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->items[i].name, name) == 0) return &list->items[i];
    }
    return NULL;
}

void rs_arrays_deinit(rs_arrays *list) {
    if (!list) return;
    for (size_t i = 0; i < list->count; i++) rs_array_deinit(&list->items[i]);
    rs_free(list->items);
    *list = (rs_arrays){0};
}
