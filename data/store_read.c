/* Arrays out of a run file. The file is untrusted: shapes are bounded before memory is asked for, data come from the
 * file itself (no external or virtual storage), groups are walked to a bounded depth. */
#include "data/store_hdf5.h"

#include "analyzer/base/alloc.h"

#include <hdf5.h>
#include <hdf5_hl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 16, MAX_NAMES = 1 << 20 };
/* Deflate makes at most 1032 bytes of one. An array may also have chunks that were never written, so this bounds only
 * large ones. */
enum { DEFLATE_MOST = 1100, UNWRITTEN_CELLS = 1 << 24 };

typedef struct source {
    hid_t dataset, space, type;
    int n_dims;
    hsize_t dims[RS_ARRAY_DIMS];
} source;

static void source_close(source *f) {
    if (f->type >= 0) H5Tclose(f->type);
    if (f->space >= 0) H5Sclose(f->space);
    if (f->dataset >= 0) H5Dclose(f->dataset);
}

static rs_status fail(const rs_store *s, const char *name, const char *what, rs_error *err) {
    return rs_fail(err, RS_E_FORMAT, "%s: dataset '%s' %s", s->path, name, what);
}

static rs_status check_storage(const rs_store *s, const char *name, const source *f, rs_error *err) {
    hid_t p = H5Dget_create_plist(f->dataset);
    H5D_layout_t layout = H5Pget_layout(p);
    int external = H5Pget_external_count(p);
    H5Pclose(p);
    if (layout != H5D_CHUNKED && layout != H5D_CONTIGUOUS && layout != H5D_COMPACT)
        return fail(s, name, "keeps its data elsewhere", err);
    return external == 0 ? RS_OK : fail(s, name, "keeps its data in another file", err);
}

static rs_status check_size(const rs_store *s, const char *name, const source *f, rs_error *err) {
    int64_t cells = 1;
    for (int i = 0; i < f->n_dims; i++) {
        if (f->dims[i] > INT64_MAX || !rs_mul_i64(cells, (int64_t)f->dims[i], &cells))
            return fail(s, name, "has more cells than can be counted", err);
    }
    if (cells > UNWRITTEN_CELLS && (hsize_t)cells / DEFLATE_MOST > H5Dget_storage_size(f->dataset)) {
        return fail(s, name, "claims far more cells than its bytes can hold", err);
    }
    return RS_OK;
}

static rs_status open_source(const rs_store *s, const char *name, source *f, rs_error *err) {
    *f = (source){.dataset = -1, .space = -1, .type = -1};
    if (!rs_h5_exists(s, name)) return fail(s, name, "is missing", err);
    f->dataset = H5Dopen2(s->file, name, H5P_DEFAULT);
    if (f->dataset < 0) return rs_h5_fail(s, RS_E_FORMAT, name, "is no dataset, or is damaged", err);
    f->space = H5Dget_space(f->dataset);
    f->type = H5Dget_type(f->dataset);
    H5T_class_t kind = H5Tget_class(f->type);
    if (kind != H5T_FLOAT && kind != H5T_INTEGER) return fail(s, name, "holds no numbers", err);
    f->n_dims = H5Sget_simple_extent_ndims(f->space);
    if (f->n_dims < 0 || f->n_dims > RS_ARRAY_DIMS || H5Sget_simple_extent_dims(f->space, f->dims, NULL) != f->n_dims) {
        return fail(s, name, "has a shape that no array of ours has", err);
    }
    rs_status st = check_storage(s, name, f, err);
    return st == RS_OK ? check_size(s, name, f, err) : st;
}

/* ---- names and units ---- */

static void take_base(char *out, size_t room, const char *path) {
    const char *slash = strrchr(path, '/');
    snprintf(out, room, "%.*s", (int)room - 1, slash ? slash + 1 : path);
}

static herr_t take_scale_name(hid_t dataset, unsigned axis, hid_t scale, void *out) {
    char path[RS_NAME_BYTES] = "";
    (void)dataset;
    (void)axis;
    if (H5Iget_name(scale, path, sizeof path) > 0) take_base(out, RS_UNIT_BYTES, path);
    return 1; /* the first is enough */
}

/* The names of the scales; a file whose scales were lost keeps its numbers and gets axis0, axis1, ... A scale is its
 * own axis. */
static void take_axes(const source *f, rs_array *a) {
    bool scale = f->n_dims == 1 && H5DSis_scale(f->dataset) > 0;
    for (int i = 0; i < f->n_dims; i++) {
        snprintf(a->dim_names[i], RS_UNIT_BYTES, "axis%d", i);
        if (scale) take_base(a->dim_names[i], RS_UNIT_BYTES, a->name);
        else if (H5DSget_num_scales(f->dataset, (unsigned)i) > 0) {
            H5DSiterate_scales(f->dataset, (unsigned)i, NULL, take_scale_name, a->dim_names[i]);
        }
    }
    H5Eclear2(H5E_DEFAULT);
}

static rs_status take_text(const rs_store *s, const source *f, const char *where, const char *name,
                           const char *otherwise, char *out, size_t room, rs_error *err) {
    char *text = NULL;
    rs_status st = rs_h5_get_string(s, f->dataset, where, name, &text, err);
    if (st == RS_OK) snprintf(out, room, "%s", text && *text ? text : otherwise);
    rs_free(text);
    return st;
}

static rs_dtype type_of(const source *f) {
    size_t bytes = H5Tget_size(f->type);
    if (H5Tget_class(f->type) == H5T_FLOAT) return bytes <= 4 ? RS_F32 : RS_F64;
    bool has_sign = H5Tget_sign(f->type) != H5T_SGN_NONE;
    if (bytes == 1 && !has_sign) return RS_U8;
    return bytes < 4 || (bytes == 4 && has_sign) ? RS_I32 : RS_F64;
}

static rs_status describe(const rs_store *s, const char *name, const source *f, rs_array *a, rs_error *err) {
    rs_status st = RS_OK;
    snprintf(a->name, sizeof a->name, "%s", name);
    a->stored_as = type_of(f);
    a->n_dims = f->n_dims;
    for (int i = 0; i < f->n_dims; i++) a->dims[i] = (int64_t)f->dims[i];
    take_axes(f, a);
    RS_TRY(take_text(s, f, name, "units", "1", a->unit, sizeof a->unit, err));
    RS_TRY(take_text(s, f, name, "long_name", "", a->long_name, sizeof a->long_name, err));
    double count = rs_h5_get_real(f->dataset, "count", 0);
    a->count = count >= 0 && count < 9e18 ? (int64_t)count : 0;
out:
    return st;
}

/* ---- cells ---- */

/* Integers that stand for "no value" are said in _FillValue; floats are NaN already. */
static void mask_missing(const source *f, double *data, int64_t n) {
    double missing = rs_h5_get_real(f->dataset, "_FillValue", (double)NAN);
    if (isnan(missing) || H5Tget_class(f->type) != H5T_INTEGER) return;
    for (int64_t i = 0; i < n; i++) {
        if (!(data[i] < missing) && !(data[i] > missing)) data[i] = (double)NAN;
    }
}

/* n cells: all of them (file and memory H5S_ALL) or a selection. */
static rs_status read_cells(const rs_store *s, const char *name, const source *f, hid_t memory, hid_t file, int64_t n,
                            double **out, rs_error *err) {
    double *data = NULL;
    rs_status st = RS_NEW(&data, (size_t)n, err);
    if (st == RS_OK && n > 0 && H5Dread(f->dataset, H5T_NATIVE_DOUBLE, memory, file, H5P_DEFAULT, data) < 0) {
        st = rs_h5_fail(s, RS_E_FORMAT, name, "cannot be read", err);
    }
    if (st == RS_OK) {
        mask_missing(f, data, n);
        *out = data;
        data = NULL;
    }
    rs_free(data);
    return st;
}

rs_status rs_store_read(rs_store *s, const char *name, rs_array *out, rs_error *err) {
    rs_status st = RS_OK;
    source f;
    const char *bare = rs_h5_bare(name);
    *out = (rs_array){.stored_as = RS_F64};
    rs_h5_quiet();
    RS_TRY(open_source(s, bare, &f, err));
    RS_TRY(describe(s, bare, &f, out, err));
    RS_TRY(read_cells(s, bare, &f, H5S_ALL, H5S_ALL, rs_array_size(out), &out->data, err));
out:
    source_close(&f);
    if (st != RS_OK) *out = (rs_array){.stored_as = RS_F64};
    return st;
}

static rs_status read_selection(const rs_store *s, const char *name, const source *f, int64_t row, rs_array *out,
                                rs_error *err) {
    hsize_t from[RS_ARRAY_DIMS] = {(hsize_t)row}, size[RS_ARRAY_DIMS] = {1};
    int64_t n = rs_array_size(out);
    hsize_t cells = (hsize_t)n;
    for (int i = 1; i < f->n_dims; i++) size[i] = f->dims[i];
    hid_t memory = H5Screate_simple(1, &cells, NULL);
    rs_status st = RS_OK;
    if (n > 0 && (memory < 0 || H5Sselect_hyperslab(f->space, H5S_SELECT_SET, from, NULL, size, NULL) < 0)) {
        st = rs_h5_fail(s, RS_E_FORMAT, name, "cannot be read", err);
    }
    if (st == RS_OK) st = read_cells(s, name, f, memory, f->space, n, &out->data, err);
    H5Sclose(memory);
    return st;
}

rs_status rs_store_read_row(rs_store *s, const char *name, int64_t row, rs_array *out, rs_error *err) {
    rs_status st = RS_OK;
    source f;
    const char *bare = rs_h5_bare(name);
    *out = (rs_array){.stored_as = RS_F64};
    rs_h5_quiet();
    RS_TRY(open_source(s, bare, &f, err));
    RS_TRY(describe(s, bare, &f, out, err));
    if (f.n_dims < 1 || row < 0 || (hsize_t)row >= f.dims[0]) {
        st = rs_fail(err, RS_E_FORMAT, "%s: dataset '%s' has no row %" PRId64 " (%" PRId64 " rows)", s->path, bare, row,
                     f.n_dims > 0 ? (int64_t)f.dims[0] : 0);
        goto out;
    }
    memmove(out->dims, out->dims + 1, sizeof out->dims - sizeof out->dims[0]);
    memmove(out->dim_names, out->dim_names + 1, sizeof out->dim_names - sizeof out->dim_names[0]);
    out->n_dims--;
    RS_TRY(read_selection(s, bare, &f, row, out, err));
out:
    source_close(&f);
    if (st != RS_OK) *out = (rs_array){.stored_as = RS_F64};
    return st;
}

/* ---- all names ---- */

typedef struct names {
    char **item; /* [count], each owned */
    size_t count, room;
} names;

static void names_deinit(names *n) {
    for (size_t i = 0; i < n->count; i++) rs_free(n->item[i]);
    rs_free(n->item);
}

static rs_status names_add(names *n, const char *path, rs_error *err) {
    if (n->count == n->room) {
        size_t room = n->room ? 2 * n->room : 64;
        void *block = n->item;
        rs_status st = rs_resize(&block, n->count, room, sizeof *n->item, err);
        if (st != RS_OK) return st;
        n->item = block;
        n->room = room;
    }
    rs_status st = rs_strdup(&n->item[n->count], path, err);
    if (st == RS_OK) n->count++;
    return st;
}

static rs_status walk(const rs_store *s, const char *group, int depth, names *found, rs_error *err);

/* Names that no array of ours can have (too long) are passed by. */
static rs_status visit_child(const rs_store *s, hid_t parent, const char *group, hsize_t i, int depth, names *found,
                             rs_error *err) {
    char name[RS_NAME_BYTES], path[RS_NAME_BYTES];
    ssize_t n = H5Lget_name_by_idx(parent, ".", H5_INDEX_NAME, H5_ITER_INC, i, name, sizeof name, H5P_DEFAULT);
    if (n < 0) return rs_h5_fail(s, RS_E_FORMAT, *group ? group : "/", "cannot be listed", err);
    if ((size_t)n >= sizeof name || found->count >= MAX_NAMES) return RS_OK;
    int length = snprintf(path, sizeof path, "%s%s%s", group, *group ? "/" : "", name);
    if ((size_t)length >= sizeof path || !rs_h5_exists(s, path)) return RS_OK;
    hid_t object = H5Oopen(s->file, path, H5P_DEFAULT);
    H5I_type_t kind = object >= 0 ? H5Iget_type(object) : H5I_BADID;
    H5Oclose(object);
    if (kind == H5I_DATASET) return names_add(found, path, err);
    return kind == H5I_GROUP ? walk(s, path, depth + 1, found, err) : RS_OK;
}

static rs_status walk(const rs_store *s, const char *group, int depth, names *found, rs_error *err) {
    H5G_info_t info;
    if (depth > MAX_DEPTH) return rs_fail(err, RS_E_FORMAT, "%s: groups are nested deeper than %d", s->path, MAX_DEPTH);
    hid_t parent = rs_h5_open_object(s, group);
    rs_status st = RS_OK;
    if (parent < 0 || H5Gget_info(parent, &info) < 0)
        st = rs_h5_fail(s, RS_E_FORMAT, *group ? group : "/", "cannot be listed", err);
    for (hsize_t i = 0; st == RS_OK && i < info.nlinks; i++) st = visit_child(s, parent, group, i, depth, found, err);
    if (parent >= 0) H5Oclose(parent);
    return st;
}

static int compare_names(const void *a, const void *b) {
    const char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

rs_status rs_store_each(rs_store *s, rs_status (*visit)(void *ctx, const char *name, rs_error *err), void *ctx,
                        rs_error *err) {
    names found = {0};
    rs_h5_quiet();
    rs_status st = walk(s, "", 0, &found, err);
    if (found.count > 0) qsort(found.item, found.count, sizeof *found.item, compare_names);
    for (size_t i = 0; st == RS_OK && i < found.count; i++) st = visit(ctx, found.item[i], err);
    names_deinit(&found);
    return st;
}
