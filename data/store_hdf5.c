/* Life of a run file, and errors. HDF5 1.10 does the reading and writing.
 *
 *   superblock version 2 or 3 (H5Pset_libver_bounds V18..V110), so that metadata blocks carry checksums
 *   /                creation order tracked and indexed; attributes: schema_version, Conventions, and what the caller
 * sets /AXIS            [n] float64, a dimension scale; attributes units, long_name /GROUP/ARRAY     [axes] float32,
 * float64, int32 or uint8; scales attached on every axis; attributes units, long_name, count; fill value NaN (int32:
 * -2147483648, uint8: 255, said in _FillValue where a cell has it) behind the HDF5 data: the seal (store_seal.c) No
 * time stamps inside, so that equal inputs give equal bytes. */
#include "data/store_hdf5.h"

#include "analyzer/base/alloc.h"
#include "analyzer/base/file.h"

#include <hdf5.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

_Static_assert(sizeof(hid_t) == sizeof(rs_h5), "rs_h5 holds an hid_t");

/* ---- errors ---- */

void rs_h5_quiet(void) {
    static bool first = true;
    if (first) {
        /* At exit HDF5 closes what it thinks is open, and 1.10 crashes there over a file that could not be flushed
         * (full disk). Works only before any other call of HDF5, and we close our files ourselves. */
        first = false;
        H5dont_atexit();
    }
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    H5Eclear2(H5E_DEFAULT);
}

static herr_t keep_deepest(unsigned n, const H5E_error2_t *e, void *out) {
    if (n == 0 && e->desc) snprintf(out, RS_LONG_NAME_BYTES, "%s", e->desc);
    return 0;
}

/* HDF5 wraps the system's words: "file write failed: time = ..., error message = 'No space left on device', buf = ...".
 */
static const char *trim_message(char *text) {
    static const char mark[] = "error message = '";
    char *inner = strstr(text, mark);
    if (!inner) return text;
    inner += sizeof mark - 1;
    inner[strcspn(inner, "'")] = '\0';
    return inner;
}

rs_status rs_h5_fail(const rs_store *s, rs_status st, const char *object, const char *what, rs_error *err) {
    char deepest[RS_LONG_NAME_BYTES] = "";
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_deepest, deepest);
    const char *why = trim_message(deepest);
    rs_fail(err, st, "%s%s%s%s: %s%s%s", s->path, object ? ": '" : "", object ? object : "", object ? "'" : "", what,
            *why ? ": " : "", why);
    H5Eclear2(H5E_DEFAULT);
    return st;
}

/* ---- names ---- */

const char *rs_h5_bare(const char *name) {
    while (*name == '/') name++;
    return name;
}

static bool is_hard_link(rs_h5 at, const char *path) {
    H5L_info_t info;
    return H5Lexists(at, path, H5P_DEFAULT) > 0 && H5Lget_info(at, path, &info, H5P_DEFAULT) >= 0 &&
           info.type == H5L_TYPE_HARD;
}

bool rs_h5_exists(const rs_store *s, const char *name) {
    char path[2 * RS_NAME_BYTES];
    const char *bare = rs_h5_bare(name);
    size_t n = strlen(bare);
    if (n >= sizeof path) return false;
    for (size_t i = 1; i <= n; i++) {
        if (bare[i] != '/' && bare[i] != '\0') continue;
        memcpy(path, bare, i);
        path[i] = '\0';
        if (!is_hard_link(s->file, path)) {
            H5Eclear2(H5E_DEFAULT);
            return false;
        }
    }
    return true;
}

rs_h5 rs_h5_open_object(const rs_store *s, const char *name) {
    const char *bare = rs_h5_bare(name);
    return H5Oopen(s->file, *bare ? bare : "/", H5P_DEFAULT);
}

/* ---- life ---- */

static void free_store(rs_store *s) {
    if (!s) return;
    rs_free(s->scales);
    rs_free(s->path);
    rs_free(s->temporary);
    rs_free(s);
}

rs_status rs_store_new(const char *path, rs_store **out, rs_error *err) {
    rs_status st = RS_NEW(out, 1, err);
    if (st != RS_OK) return st;
    (*out)->file = (*out)->last = -1;
    st = rs_strdup(&(*out)->path, path, err);
    if (st != RS_OK) {
        free_store(*out);
        *out = NULL;
    }
    return st;
}

/* H5F_CLOSE_STRONG: closing the file closes what is still open in it, so that no path can leave the file half open. */
static rs_h5 access_properties(void) {
    hid_t p = H5Pcreate(H5P_FILE_ACCESS);
    if (p < 0 || H5Pset_libver_bounds(p, H5F_LIBVER_V18, H5F_LIBVER_V110) < 0 ||
        H5Pset_fclose_degree(p, H5F_CLOSE_STRONG) < 0 || H5Pset_file_locking(p, true, true) < 0) {
        H5Pclose(p);
        return -1;
    }
    return p;
}

/* The error is told before the properties are closed: every HDF5 call clears the error stack of the one before. */
static rs_status create_file(rs_store *s, rs_error *err) {
    const unsigned order = H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED;
    rs_status st = RS_OK;
    hid_t access = access_properties(), create = H5Pcreate(H5P_FILE_CREATE);
    if (access >= 0 && create >= 0 && H5Pset_link_creation_order(create, order) >= 0 &&
        H5Pset_attr_creation_order(create, order) >= 0 && H5Pset_obj_track_times(create, false) >= 0) {
        s->file = H5Fcreate(s->temporary, H5F_ACC_EXCL, create, access);
    }
    if (s->file < 0) st = rs_h5_fail(s, RS_E_IO, NULL, "cannot be created", err);
    H5Pclose(create);
    H5Pclose(access);
    return st;
}

rs_status rs_store_open_file(rs_store *s, const char *name, bool writable, rs_error *err) {
    rs_status st = RS_OK;
    hid_t access = access_properties();
    s->file = H5Fopen(name, writable ? H5F_ACC_RDWR : H5F_ACC_RDONLY, access);
    if (s->file < 0) st = rs_h5_fail(s, RS_E_FORMAT, NULL, "is no HDF5 file, or is damaged", err);
    H5Pclose(access);
    return st;
}

rs_status rs_store_create(const char *path, bool force, rs_store **out, rs_error *err) {
    rs_status st = RS_OK;
    rs_store *s = NULL;
    *out = NULL;
    rs_h5_quiet();
    RS_TRY(rs_store_new(path, &s, err));
    s->force = force;
    RS_TRY(rs_output_prepare(path, force, &s->temporary, err));
    unlink(s->temporary); /* left by a process of the same number that was killed; EXCL then follows no link */
    RS_TRY(create_file(s, err));
    RS_TRY(rs_store_set_int(s, "/", "schema_version", RS_SCHEMA_VERSION, err));
    RS_TRY(rs_store_set_string(s, "/", "Conventions", "CF-1.10", err));
    *out = s;
    s = NULL;
out:
    rs_store_discard(s);
    return st;
}

rs_status rs_store_flush(rs_store *s, rs_error *err) {
    if (H5Fflush(s->file, H5F_SCOPE_GLOBAL) >= 0) return RS_OK;
    return rs_h5_fail(s, RS_E_IO, NULL, "cannot be written", err);
}

/* Goes on after a failure; the first one is reported. */
static rs_status close_file(rs_store *s, rs_error *err) {
    rs_status st = RS_OK;
    for (size_t i = 0; i < s->scale_count; i++) {
        if (H5Dclose(s->scales[i].dataset) < 0 && st == RS_OK) {
            st = rs_h5_fail(s, RS_E_IO, s->scales[i].name, "cannot be written", err);
        }
    }
    s->scale_count = 0;
    if (s->last >= 0 && H5Dclose(s->last) < 0 && st == RS_OK) {
        st = rs_h5_fail(s, RS_E_IO, s->last_name, "cannot be written", err);
    }
    s->last = -1;
    if (s->file >= 0 && H5Fclose(s->file) < 0 && st == RS_OK)
        st = rs_h5_fail(s, RS_E_IO, NULL, "cannot be written", err);
    s->file = -1;
    return st;
}

rs_status rs_store_commit(rs_store *s, rs_error *err) {
    rs_h5_quiet();
    rs_status flushed = rs_store_flush(s, err), st = close_file(s, flushed == RS_OK ? err : NULL);
    st = flushed != RS_OK ? flushed : st;
    if (st == RS_OK) st = rs_store_seal(s->temporary, err);
    if (st == RS_OK) st = rs_output_publish(s->temporary, s->path, s->force, err);
    if (st != RS_OK) unlink(s->temporary);
    free_store(s);
    return st;
}

void rs_store_discard(rs_store *s) {
    if (!s) return;
    rs_h5_quiet();
    (void)close_file(s, NULL);
    H5Eclear2(H5E_DEFAULT);
    if (s->temporary) unlink(s->temporary);
    free_store(s);
}

/* ---- reading ---- */

static rs_status check_schema(rs_store *s, rs_error *err) {
    double version = rs_store_get_real(s, "/", "schema_version", -1);
    if (version >= 1 && version <= RS_SCHEMA_VERSION) return RS_OK;
    if (version > RS_SCHEMA_VERSION) {
        return rs_fail(err, RS_E_FORMAT, "%s: schema_version is %g; this program reads up to %d: use a newer one",
                       s->path, version, RS_SCHEMA_VERSION);
    }
    return rs_fail(err, RS_E_FORMAT, "%s: is an HDF5 file but no run file: attribute schema_version is missing",
                   s->path);
}

rs_status rs_store_open(const char *path, rs_store **out, rs_error *err) {
    rs_status st = RS_OK;
    rs_store *s = NULL;
    *out = NULL;
    rs_h5_quiet();
    RS_TRY(rs_store_seal_check(path, err));
    RS_TRY(rs_store_new(path, &s, err));
    RS_TRY(rs_store_open_file(s, s->path, false, err));
    RS_TRY(check_schema(s, err));
    *out = s;
    s = NULL;
out:
    rs_store_close(s);
    return st;
}

void rs_store_close(rs_store *s) {
    if (!s) return;
    rs_h5_quiet();
    (void)close_file(s, NULL);
    H5Eclear2(H5E_DEFAULT);
    free_store(s);
}

bool rs_store_has(rs_store *s, const char *name) {
    const char *bare = rs_h5_bare(name);
    if (!*bare || !rs_h5_exists(s, bare)) return false;
    hid_t object = H5Oopen(s->file, bare, H5P_DEFAULT);
    bool dataset = object >= 0 && H5Iget_type(object) == H5I_DATASET;
    H5Oclose(object);
    H5Eclear2(H5E_DEFAULT);
    return dataset;
}
