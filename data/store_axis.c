/* Dimension scales: one per axis name of the file, in the root group, float64, with units and long_name. Readers of
 * netCDF (and xarray through them) take the axes' names and coordinates from them; an array without scales gets made-up
 * names there. */
#include "data/store_hdf5.h"

#include "analyzer/base/alloc.h"

#include <hdf5.h>
#include <hdf5_hl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static rs_store_scale *find(const rs_store *s, const char *name) {
    for (size_t i = 0; i < s->scale_count; i++) {
        if (strcmp(s->scales[i].name, name) == 0) return &s->scales[i];
    }
    return NULL;
}

static rs_status make_room(rs_store *s, rs_error *err) {
    if (s->scale_count < s->scale_room) return RS_OK;
    size_t room = s->scale_room ? 2 * s->scale_room : 16;
    void *block = s->scales;
    rs_status st = rs_resize(&block, s->scale_count, room, sizeof *s->scales, err);
    if (st != RS_OK) return st;
    s->scales = block;
    s->scale_room = room;
    return RS_OK;
}

/* The axis as an array of itself. */
static rs_status axis_shape(const char *name, int64_t n, const char *unit, const char *long_name, rs_array *a,
                            rs_error *err) {
    *a = (rs_array){.stored_as = RS_F64, .n_dims = 1, .dims = {n}, .count = -1};
    if (strlen(name) >= sizeof a->dim_names[0] || !*name || strchr(name, '/') || n < 0) {
        return rs_fail(err, RS_E_INTERNAL, "axis '%s' of length %" PRId64 ": names have 1 to %zu bytes and no '/'",
                       name, n, sizeof a->dim_names[0] - 1);
    }
    snprintf(a->name, sizeof a->name, "%s", name);
    snprintf(a->dim_names[0], sizeof a->dim_names[0], "%s", name);
    snprintf(a->unit, sizeof a->unit, "%s", unit);
    snprintf(a->long_name, sizeof a->long_name, "%s", long_name);
    return RS_OK;
}

static rs_status create_scale(rs_store *s, const rs_array *axis, const double *values, rs_h5 *out, rs_error *err) {
    rs_status st = rs_store_make(s, axis, false, out, err);
    if (st != RS_OK) return st;
    bool empty = axis->dims[0] == 0;
    if ((!empty && H5Dwrite(*out, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0) ||
        H5DSset_scale(*out, axis->name) < 0) {
        st = rs_h5_fail(s, RS_E_IO, axis->name, "the axis cannot be written", err);
        H5Dclose(*out);
        *out = -1;
    }
    return st;
}

/* values may be NULL: 0..n-1. */
static rs_status add(rs_store *s, const rs_array *axis, const double *values, const char *user, rs_error *err) {
    rs_status st = RS_OK;
    double *counted = NULL;
    int64_t n = axis->dims[0];
    rs_h5 dataset = -1;
    RS_TRY(make_room(s, err));
    if (!values) {
        RS_TRY(RS_NEW(&counted, (size_t)n, err));
        for (int64_t i = 0; i < n; i++) counted[i] = (double)i;
        values = counted;
    }
    RS_TRY(create_scale(s, axis, values, &dataset, err));
    rs_store_scale *scale = &s->scales[s->scale_count++];
    *scale = (rs_store_scale){.n = n, .dataset = dataset};
    memcpy(scale->name, axis->dim_names[0], sizeof scale->name);
    snprintf(scale->user, sizeof scale->user, "%s", user);
out:
    rs_free(counted);
    return st;
}

rs_status rs_store_axis(rs_store *s, const char *name, const double *values, int64_t n, const char *unit,
                        const char *long_name, rs_error *err) {
    rs_array axis;
    rs_h5_quiet();
    const rs_store_scale *known = find(s, name);
    if (known) {
        return rs_fail(err, RS_E_INTERNAL, "%s: axis '%s' is defined after %s%s%s used it", s->path, name,
                       *known->user ? "array '" : "another definition", known->user, *known->user ? "'" : "");
    }
    rs_status st = axis_shape(name, n, unit, long_name, &axis, err);
    return st == RS_OK ? add(s, &axis, values, "", err) : st;
}

rs_status rs_store_scale_get(rs_store *s, const char *name, int64_t n, const char *user, rs_h5 *out, rs_error *err) {
    rs_status st = RS_OK;
    rs_store_scale *scale = find(s, name);
    if (!scale) {
        rs_array axis;
        char long_name[RS_LONG_NAME_BYTES];
        snprintf(long_name, sizeof long_name, "index along %s, from 0", name);
        RS_TRY(axis_shape(name, n, "1", long_name, &axis, err));
        RS_TRY(add(s, &axis, NULL, user, err));
        scale = find(s, name);
    }
    if (scale->n != n) {
        return rs_fail(err, RS_E_INTERNAL,
                       "%s: array '%s' has %" PRId64 " along axis '%s', but %s%s%s fixed its length at %" PRId64,
                       s->path, user, n, name, *scale->user ? "array '" : "its definition", scale->user,
                       *scale->user ? "'" : "", scale->n);
    }
    *out = scale->dataset;
out:
    return st;
}
