/* Attributes: strings (variable-length UTF-8, what h5py and netCDF read as text), int64 and float64, all scalar. */
#include "data/store_hdf5.h"

#include "analyzer/base/alloc.h"
#include "data/store_text.h"

#include <hdf5.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_STRING = 64 << 20 }; /* bytes of a fixed-length string that we are willing to read */

/* ---- writing ---- */

static rs_status fail_write(const rs_store *s, const char *where, const char *name, rs_error *err) {
    char what[RS_NAME_BYTES + 40];
    snprintf(what, sizeof what, "attribute '%.90s' cannot be written", name);
    return rs_h5_fail(s, RS_E_IO, where, what, err);
}

static rs_status put(const rs_store *s, hid_t object, const char *where, const char *name, hid_t type,
                     const void *value, rs_error *err) {
    rs_status st = RS_OK;
    if (H5Aexists(object, name) > 0 && H5Adelete(object, name) < 0) return fail_write(s, where, name, err);
    hid_t space = H5Screate(H5S_SCALAR), attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    if (attribute < 0 || H5Awrite(attribute, type, value) < 0) st = fail_write(s, where, name, err);
    if (attribute >= 0 && H5Aclose(attribute) < 0 && st == RS_OK) st = fail_write(s, where, name, err);
    H5Sclose(space);
    return st;
}

static hid_t string_type(void) {
    hid_t t = H5Tcopy(H5T_C_S1);
    if (t >= 0 && H5Tset_size(t, H5T_VARIABLE) >= 0 && H5Tset_cset(t, H5T_CSET_UTF8) >= 0) return t;
    H5Tclose(t);
    return -1;
}

rs_status rs_h5_put_string(const rs_store *s, rs_h5 object, const char *where, const char *name, const char *value,
                           rs_error *err) {
    rs_text clean = {0};
    rs_store_append_utf8(&clean, value);
    rs_status st = rs_text_status(&clean, err);
    if (st == RS_OK) {
        const char *bytes = clean.data ? clean.data : "";
        hid_t type = string_type();
        st = put(s, object, where, name, type, (const void *)&bytes, err);
        H5Tclose(type);
    }
    rs_text_deinit(&clean);
    return st;
}

rs_status rs_h5_put_int(const rs_store *s, rs_h5 object, const char *where, const char *name, int64_t value,
                        rs_error *err) {
    return put(s, object, where, name, H5T_NATIVE_INT64, &value, err);
}

static rs_status open_for(const rs_store *s, const char *object, rs_h5 *out, rs_error *err) {
    rs_h5_quiet();
    *out = rs_h5_exists(s, object) ? rs_h5_open_object(s, object) : -1;
    if (*out >= 0) return RS_OK;
    return rs_h5_fail(s, RS_E_INTERNAL, object, "an attribute is set on an object that is not there", err);
}

rs_status rs_store_set_string(rs_store *s, const char *object, const char *name, const char *value, rs_error *err) {
    rs_h5 o;
    rs_status st = open_for(s, object, &o, err);
    if (st != RS_OK) return st;
    st = rs_h5_put_string(s, o, object, name, value, err);
    H5Oclose(o);
    return st;
}

rs_status rs_store_set_int(rs_store *s, const char *object, const char *name, int64_t value, rs_error *err) {
    rs_h5 o;
    rs_status st = open_for(s, object, &o, err);
    if (st != RS_OK) return st;
    st = rs_h5_put_int(s, o, object, name, value, err);
    H5Oclose(o);
    return st;
}

rs_status rs_store_set_real(rs_store *s, const char *object, const char *name, double value, rs_error *err) {
    rs_h5 o;
    rs_status st = open_for(s, object, &o, err);
    if (st != RS_OK) return st;
    st = put(s, o, object, name, H5T_NATIVE_DOUBLE, &value, err);
    H5Oclose(o);
    return st;
}

/* ---- reading ---- */

/* A scalar (or single-cell) attribute and its class; negative when absent or of another shape. */
static hid_t open_single(hid_t object, const char *name, hid_t *type) {
    *type = -1;
    if (H5Aexists(object, name) <= 0) return -1;
    hid_t attribute = H5Aopen(object, name, H5P_DEFAULT), space = H5Aget_space(attribute);
    bool single = space >= 0 && H5Sget_simple_extent_npoints(space) == 1;
    H5Sclose(space);
    if (single) *type = H5Aget_type(attribute);
    if (*type >= 0) return attribute;
    H5Aclose(attribute);
    return -1;
}

static rs_status read_variable(hid_t attribute, char **out, rs_error *err) {
    char *bytes = NULL; /* HDF5's own */
    hid_t memory = string_type();
    bool ok = H5Aread(attribute, memory, (void *)&bytes) >= 0;
    H5Tclose(memory);
    if (!ok) return rs_fail(err, RS_E_FORMAT, "cannot be read");
    rs_status st = rs_strdup(out, bytes ? bytes : "", err);
    H5free_memory(bytes);
    return st;
}

static rs_status read_fixed(hid_t attribute, hid_t type, char **out, rs_error *err) {
    size_t n = H5Tget_size(type);
    if (n == 0 || n > MAX_STRING) return rs_fail(err, RS_E_FORMAT, "holds a string of %zu bytes", n);
    rs_status st = RS_NEW(out, n + 1, err);
    if (st == RS_OK && H5Aread(attribute, type, *out) < 0) st = rs_fail(err, RS_E_FORMAT, "cannot be read");
    return st;
}

/* Shortest of the usual forms that reads back as the same number. */
static void print_real(char out[64], double value) {
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(out, 64, "%.*g", digits, value);
        double back = strtod(out, NULL);
        if (!(back < value) && !(back > value)) return;
    }
}

static rs_status read_number(hid_t attribute, H5T_class_t kind, char **out, rs_error *err) {
    char text[64];
    double real = 0;
    int64_t integer = 0;
    bool whole = kind == H5T_INTEGER;
    if (H5Aread(attribute, whole ? H5T_NATIVE_INT64 : H5T_NATIVE_DOUBLE, whole ? (void *)&integer : (void *)&real) <
        0) {
        return rs_fail(err, RS_E_FORMAT, "cannot be read");
    }
    if (whole) snprintf(text, sizeof text, "%" PRId64, integer);
    else print_real(text, real);
    return rs_strdup(out, text, err);
}

static rs_status read_text(hid_t attribute, hid_t type, char **out, rs_error *err) {
    H5T_class_t kind = H5Tget_class(type);
    if (kind == H5T_INTEGER || kind == H5T_FLOAT) return read_number(attribute, kind, out, err);
    if (kind != H5T_STRING) return rs_fail(err, RS_E_FORMAT, "is neither text nor a number");
    return H5Tis_variable_str(type) > 0 ? read_variable(attribute, out, err) : read_fixed(attribute, type, out, err);
}

rs_status rs_h5_get_string(const rs_store *s, rs_h5 object, const char *where, const char *name, char **out,
                           rs_error *err) {
    hid_t type, attribute = open_single(object, name, &type);
    *out = NULL;
    H5Eclear2(H5E_DEFAULT);
    if (attribute < 0) return RS_OK;
    rs_status st = read_text(attribute, type, out, err);
    H5Tclose(type);
    H5Aclose(attribute);
    if (st != RS_OK) {
        rs_free(*out);
        *out = NULL;
        rs_error_prefix(err, "%s: '%s': attribute '%s'", s->path, where, name);
    }
    return st;
}

double rs_h5_get_real(rs_h5 object, const char *name, double otherwise) {
    double value = otherwise;
    hid_t type, attribute = open_single(object, name, &type);
    if (attribute >= 0) {
        H5T_class_t kind = H5Tget_class(type);
        bool number = kind == H5T_INTEGER || kind == H5T_FLOAT;
        if (!number || H5Aread(attribute, H5T_NATIVE_DOUBLE, &value) < 0) value = otherwise;
        H5Tclose(type);
        H5Aclose(attribute);
    }
    H5Eclear2(H5E_DEFAULT);
    return value;
}

rs_status rs_store_get_string(rs_store *s, const char *object, const char *name, char **out, rs_error *err) {
    *out = NULL;
    rs_h5_quiet();
    rs_h5 o = rs_h5_exists(s, object) ? rs_h5_open_object(s, object) : -1;
    if (o < 0) return RS_OK;
    rs_status st = rs_h5_get_string(s, o, object, name, out, err);
    H5Oclose(o);
    return st;
}

double rs_store_get_real(rs_store *s, const char *object, const char *name, double otherwise) {
    rs_h5_quiet();
    rs_h5 o = rs_h5_exists(s, object) ? rs_h5_open_object(s, object) : -1;
    if (o < 0) return otherwise;
    double value = rs_h5_get_real(o, name, otherwise);
    H5Oclose(o);
    return value;
}
