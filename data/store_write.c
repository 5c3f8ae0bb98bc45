/* Arrays into the file: creation (type, chunks, filters, scales, attributes), whole arrays and slabs. */
#include "data/store_hdf5.h"

#include "analyzer/base/alloc.h"

#include <hdf5.h>
#include <hdf5_hl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* CHUNK_CELLS: 256 KiB of float32, which leaves HDF5's chunk cache (1 MiB) room for several. LAST_CELLS keeps chunks of
 * wide arrays (logits, patterns) at least 32 rows high: the rows that a forward pass hands over at a time are a
 * multiple of that. */
enum { CHUNK_CELLS = 1 << 16, LAST_CELLS = 1 << 11, SMALL_CELLS = 1 << 13, DEFLATE = 1 };

/* ---- types ---- */

typedef struct stored_type {
    rs_dtype dtype;
    double least, most; /* of integers */
    double missing;     /* fill value */
} stored_type;

static const stored_type types[] = {
    {RS_F64, 0, 0, (double)NAN},
    {RS_F32, 0, 0, (double)NAN},
    {RS_I32, INT32_MIN + 1.0, INT32_MAX, INT32_MIN},
    {RS_U8, 0, UINT8_MAX - 1, UINT8_MAX},
};

static const stored_type *find_type(rs_dtype t) {
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (types[i].dtype == t) return &types[i];
    }
    return NULL;
}

/* H5T_* are run-time values and cannot stand in a table. */
static hid_t file_type(rs_dtype t) {
    switch (t) {
    case RS_F64: return H5T_IEEE_F64LE;
    case RS_F32: return H5T_IEEE_F32LE;
    case RS_I32: return H5T_STD_I32LE;
    case RS_U8: return H5T_STD_U8LE;
    default: return -1;
    }
}

/* ---- creation ---- */

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

static int64_t cells_of(const rs_array *a) {
    int64_t n = 1;
    for (int i = 0; i < a->n_dims; i++) {
        if (!rs_mul_i64(n, a->dims[i], &n)) return -1;
    }
    return n;
}

/* One chunk is one row of the slab axes (see rs_store_define) or a part of one. */
static void choose_chunk(const rs_array *a, bool rows, hsize_t *chunk) {
    int slab_axes = a->n_dims >= 4 ? 2 : a->n_dims >= 2 ? 1 : 0;
    if (!rows && cells_of(a) <= SMALL_CELLS) slab_axes = 0;
    int64_t left = CHUNK_CELLS;
    for (int i = a->n_dims - 1; i >= 0; i--) {
        int64_t most = i == a->n_dims - 1 && a->n_dims > 1 ? smaller(LAST_CELLS, left) : left;
        int64_t n = i < slab_axes ? 1 : smaller(a->dims[i], most);
        chunk[i] = (hsize_t)n;
        left = left / n > 1 ? left / n : 1;
    }
}

static hid_t creation_properties(const rs_array *a, bool rows) {
    const unsigned order = H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED;
    hsize_t chunk[RS_ARRAY_DIMS];
    hid_t p = H5Pcreate(H5P_DATASET_CREATE);
    double missing = find_type(a->stored_as)->missing;
    bool ok = p >= 0 && H5Pset_obj_track_times(p, false) >= 0 && H5Pset_attr_creation_order(p, order) >= 0 &&
              H5Pset_fill_value(p, H5T_NATIVE_DOUBLE, &missing) >= 0;
    if (ok && cells_of(a) > 0 && a->n_dims > 0) { /* scalars and empty arrays cannot be chunked */
        choose_chunk(a, rows, chunk);
        ok = H5Pset_chunk(p, a->n_dims, chunk) >= 0 && H5Pset_shuffle(p) >= 0 && H5Pset_deflate(p, DEFLATE) >= 0;
    }
    if (ok) return p;
    H5Pclose(p);
    return -1;
}

/* Every group on the way, with creation order tracked. */
static rs_status make_groups(const rs_store *s, const char *name, rs_error *err) {
    const unsigned order = H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED;
    char path[RS_NAME_BYTES];
    rs_status st = RS_OK;
    for (const char *slash = strchr(name, '/'); slash && st == RS_OK; slash = strchr(slash + 1, '/')) {
        snprintf(path, sizeof path, "%.*s", (int)(slash - name), name);
        if (rs_h5_exists(s, path)) continue;
        hid_t p = H5Pcreate(H5P_GROUP_CREATE), group = -1;
        if (H5Pset_link_creation_order(p, order) >= 0 && H5Pset_attr_creation_order(p, order) >= 0 &&
            H5Pset_obj_track_times(p, false) >= 0) {
            group = H5Gcreate2(s->file, path, H5P_DEFAULT, p, H5P_DEFAULT);
        }
        if (group < 0 || H5Gclose(group) < 0) st = rs_h5_fail(s, RS_E_IO, path, "the group cannot be written", err);
        H5Pclose(p);
    }
    return st;
}

static rs_status create_dataset(const rs_store *s, const rs_array *a, bool rows, hid_t *out, rs_error *err) {
    rs_status st = RS_OK;
    hsize_t dims[RS_ARRAY_DIMS] = {0};
    for (int i = 0; i < a->n_dims; i++) dims[i] = (hsize_t)a->dims[i];
    hid_t space = a->n_dims > 0 ? H5Screate_simple(a->n_dims, dims, NULL) : H5Screate(H5S_SCALAR);
    hid_t p = creation_properties(a, rows);
    *out = H5Dcreate2(s->file, a->name, file_type(a->stored_as), space, H5P_DEFAULT, p, H5P_DEFAULT);
    if (*out < 0) st = rs_h5_fail(s, RS_E_IO, a->name, "the dataset cannot be created", err);
    H5Pclose(p);
    H5Sclose(space);
    return st;
}

static rs_status check_shape(const rs_store *s, const rs_array *a, rs_error *err) {
    if (!*a->name || *a->name == '/' || !*a->unit || a->n_dims < 0 || a->n_dims > RS_ARRAY_DIMS ||
        !find_type(a->stored_as) || cells_of(a) < 0) {
        return rs_fail(err, RS_E_INTERNAL, "%s: array '%s' cannot be stored: unit '%s', %d axes, type %s", s->path,
                       a->name, a->unit, a->n_dims, rs_dtype_name(a->stored_as));
    }
    if (rs_h5_exists(s, a->name))
        return rs_fail(err, RS_E_INTERNAL, "%s: array '%s' is written twice", s->path, a->name);
    return RS_OK;
}

rs_status rs_store_make(rs_store *s, const rs_array *a, bool rows, rs_h5 *out, rs_error *err) {
    rs_status st = RS_OK;
    *out = -1;
    RS_TRY(check_shape(s, a, err));
    RS_TRY(make_groups(s, a->name, err));
    RS_TRY(create_dataset(s, a, rows, out, err));
    RS_TRY(rs_h5_put_string(s, *out, a->name, "units", a->unit, err));
    RS_TRY(rs_h5_put_string(s, *out, a->name, "long_name", a->long_name, err));
    if (a->count >= 0) RS_TRY(rs_h5_put_int(s, *out, a->name, "count", a->count, err));
out:
    if (st != RS_OK && *out >= 0) {
        H5Dclose(*out);
        *out = -1;
    }
    return st;
}

/* Scales are found or made before the array, so that a wrong length leaves no array behind. */
static rs_status make_with_scales(rs_store *s, const rs_array *a, bool rows, rs_h5 *out, rs_error *err) {
    rs_status st = RS_OK;
    rs_h5 scale[RS_ARRAY_DIMS];
    RS_TRY(check_shape(s, a, err));
    for (int i = 0; i < a->n_dims; i++)
        RS_TRY(rs_store_scale_get(s, a->dim_names[i], a->dims[i], a->name, &scale[i], err));
    RS_TRY(rs_store_make(s, a, rows, out, err));
    for (int i = 0; i < a->n_dims; i++) {
        if (H5DSattach_scale(*out, scale[i], (unsigned)i) < 0 ||
            H5DSset_label(*out, (unsigned)i, a->dim_names[i]) < 0) {
            st = rs_h5_fail(s, RS_E_IO, a->name, "its axes cannot be written", err);
            H5Dclose(*out);
            *out = -1;
            goto out;
        }
    }
out:
    return st;
}

rs_status rs_store_define(rs_store *s, const rs_array *shape, rs_error *err) {
    rs_h5 dataset = -1;
    rs_h5_quiet();
    rs_status st = make_with_scales(s, shape, true, &dataset, err);
    if (st == RS_OK && H5Dclose(dataset) < 0) st = rs_h5_fail(s, RS_E_IO, shape->name, "cannot be written", err);
    return st;
}

/* ---- cells ---- */

/* Cells on their way into the file: f64 or f32, one of them. */
typedef struct cells {
    const double *f64;
    const float *f32;
    int64_t n;
} cells;

/* Integers are checked rather than rounded: a number that does not fit is a mistake of the caller. NaN becomes the fill
 * value. */
static rs_status to_integers(const rs_store *s, const char *name, const stored_type *t, const cells *c, int32_t *out,
                             bool *missing, rs_error *err) {
    for (int64_t i = 0; i < c->n; i++) {
        double x = c->f64 ? c->f64[i] : (double)c->f32[i];
        bool absent = isnan(x);
        if (!absent && !(x >= t->least && x <= t->most && floor(x) >= x)) {
            return rs_fail(err, RS_E_INTERNAL, "%s: array '%s': %g cannot be stored as %s", s->path, name, x,
                           rs_dtype_name(t->dtype));
        }
        out[i] = (int32_t)(absent ? t->missing : x);
        *missing |= absent;
    }
    return RS_OK;
}

/* Said only where it is needed: readers turn the whole array into floats when they see it. */
static rs_status say_fill(const rs_store *s, hid_t dataset, const char *name, const stored_type *t, rs_error *err) {
    if (H5Aexists(dataset, "_FillValue") > 0) return RS_OK;
    rs_status st = RS_OK;
    int32_t missing = (int32_t)t->missing;
    hid_t space = H5Screate(H5S_SCALAR);
    hid_t a = H5Acreate2(dataset, "_FillValue", file_type(t->dtype), space, H5P_DEFAULT, H5P_DEFAULT);
    if (a < 0 || H5Awrite(a, H5T_NATIVE_INT32, &missing) < 0 || H5Aclose(a) < 0) {
        st = rs_h5_fail(s, RS_E_IO, name, "attribute '_FillValue' cannot be written", err);
    }
    H5Sclose(space);
    return st;
}

static rs_status write_integers(const rs_store *s, hid_t dataset, const char *name, const stored_type *t, hid_t memory,
                                hid_t file, const cells *c, rs_error *err) {
    rs_status st = RS_OK;
    int32_t *whole = NULL; /* [n] */
    bool missing = false;
    RS_TRY(RS_NEW(&whole, (size_t)c->n, err));
    RS_TRY(to_integers(s, name, t, c, whole, &missing, err));
    if (missing) RS_TRY(say_fill(s, dataset, name, t, err));
    if (H5Dwrite(dataset, H5T_NATIVE_INT32, memory, file, H5P_DEFAULT, whole) < 0) {
        st = rs_h5_fail(s, RS_E_IO, name, "cannot be written", err);
    }
out:
    rs_free(whole);
    return st;
}

static rs_dtype stored_as(hid_t dataset) {
    hid_t type = H5Dget_type(dataset);
    bool integer = H5Tget_class(type) == H5T_INTEGER, wide = H5Tget_size(type) > 4;
    bool byte = H5Tget_size(type) == 1;
    H5Tclose(type);
    return integer ? (byte ? RS_U8 : RS_I32) : (wide ? RS_F64 : RS_F32);
}

static rs_status write_cells(const rs_store *s, hid_t dataset, const char *name, hid_t memory, hid_t file,
                             const cells *c, rs_error *err) {
    const stored_type *t = find_type(stored_as(dataset));
    if (c->n == 0) return RS_OK;
    if (t->most > 0) return write_integers(s, dataset, name, t, memory, file, c, err);
    const void *data = c->f64 ? (const void *)c->f64 : (const void *)c->f32;
    hid_t type = c->f64 ? H5T_NATIVE_DOUBLE : H5T_NATIVE_FLOAT;
    if (H5Dwrite(dataset, type, memory, file, H5P_DEFAULT, data) >= 0) return RS_OK;
    return rs_h5_fail(s, RS_E_IO, name, "cannot be written", err);
}

rs_status rs_store_write(rs_store *s, const rs_array *a, rs_error *err) {
    rs_h5 dataset = -1;
    rs_h5_quiet();
    rs_status st = make_with_scales(s, a, false, &dataset, err);
    if (st != RS_OK) return st;
    cells c = {.f64 = a->data, .n = cells_of(a)};
    st = write_cells(s, dataset, a->name, H5S_ALL, H5S_ALL, &c, err);
    if (H5Dclose(dataset) < 0 && st == RS_OK) st = rs_h5_fail(s, RS_E_IO, a->name, "cannot be written", err);
    return st;
}

/* ---- slabs ---- */

static rs_status open_last(rs_store *s, const char *name, rs_error *err) {
    const char *bare = rs_h5_bare(name);
    if (s->last >= 0 && strcmp(s->last_name, bare) == 0) return RS_OK;
    if (s->last >= 0 && H5Dclose(s->last) < 0) {
        s->last = -1;
        return rs_h5_fail(s, RS_E_IO, s->last_name, "cannot be written", err);
    }
    s->last = rs_h5_exists(s, bare) ? H5Dopen2(s->file, bare, H5P_DEFAULT) : -1;
    if (s->last < 0) return rs_fail(err, RS_E_INTERNAL, "%s: array '%s' is filled before it is defined", s->path, bare);
    snprintf(s->last_name, sizeof s->last_name, "%s", bare);
    return RS_OK;
}

/* The slab as hyperslab of the file's space; refuses what does not lie inside. */
static rs_status select_slab(const rs_store *s, hid_t space, const int64_t *start, const int64_t *count, int64_t *n,
                             rs_error *err) {
    hsize_t dims[RS_ARRAY_DIMS], from[RS_ARRAY_DIMS], size[RS_ARRAY_DIMS];
    int n_dims = H5Sget_simple_extent_dims(space, dims, NULL);
    *n = 1;
    for (int i = 0; i < n_dims; i++) {
        if (start[i] < 0 || count[i] < 0 || (hsize_t)start[i] > dims[i] ||
            (hsize_t)count[i] > dims[i] - (hsize_t)start[i]) {
            return rs_fail(err, RS_E_INTERNAL,
                           "%s: array '%s': cells %" PRId64 " + %" PRId64 " of axis %d, which has %llu", s->path,
                           s->last_name, start[i], count[i], i, (unsigned long long)dims[i]);
        }
        from[i] = (hsize_t)start[i];
        size[i] = (hsize_t)count[i];
        *n *= count[i];
    }
    if (*n > 0 && n_dims > 0 && H5Sselect_hyperslab(space, H5S_SELECT_SET, from, NULL, size, NULL) < 0) {
        return rs_h5_fail(s, RS_E_INTERNAL, s->last_name, "a slab cannot be selected", err);
    }
    return RS_OK;
}

static rs_status put(rs_store *s, const char *name, const int64_t *start, const int64_t *count, cells c,
                     rs_error *err) {
    rs_h5_quiet();
    rs_status st = open_last(s, name, err);
    if (st != RS_OK) return st;
    hid_t file = H5Dget_space(s->last), memory = -1;
    st = select_slab(s, file, start, count, &c.n, err);
    if (st == RS_OK && c.n > 0) {
        hsize_t n = (hsize_t)c.n;
        memory = H5Screate_simple(1, &n, NULL);
        st = write_cells(s, s->last, s->last_name, memory, file, &c, err);
        H5Sclose(memory);
    }
    H5Sclose(file);
    return st;
}

rs_status rs_store_put_f64(rs_store *s, const char *name, const int64_t *start, const int64_t *count,
                           const double *data, rs_error *err) {
    return put(s, name, start, count, (cells){.f64 = data}, err);
}

rs_status rs_store_put_f32(rs_store *s, const char *name, const int64_t *start, const int64_t *count, const float *data,
                           rs_error *err) {
    return put(s, name, start, count, (cells){.f32 = data}, err);
}
