/* data/store_hdf5.h: what the parts of the store share (store_hdf5.c life and errors, store_write.c arrays,
 * store_axis.c dimension scales, store_attribute.c attributes, store_read.c reading, store_seal.c the digest at the
 * end). Nobody else includes it. */
#ifndef RS_DATA_STORE_HDF5_H
#define RS_DATA_STORE_HDF5_H

#include "data/store.h"

/* An HDF5 identifier: hid_t is an int64_t since HDF5 1.10 (asserted in store_hdf5.c). Negative = none. */
typedef int64_t rs_h5;

/* A dimension scale of the file being written. */
typedef struct rs_store_scale {
    char name[RS_UNIT_BYTES]; /* of the axis */
    char user[RS_NAME_BYTES]; /* who fixed the length: the first array, or "" for rs_store_axis */
    int64_t n;
    rs_h5 dataset; /* kept open: every array of the axis attaches it */
} rs_store_scale;

struct rs_store {
    rs_h5 file;
    char *path;      /* as the caller named it; owned */
    char *temporary; /* what is being written; NULL for a reader; owned */
    bool force;
    rs_store_scale *scales; /* [scale_count] */
    size_t scale_count, scale_room;
    rs_h5 last;                    /* dataset of the last slab: tiles of one array come one after another */
    char last_name[RS_NAME_BYTES]; /* its name */
};

/* --- store_extend.c, store_seal.c --- */
/* Bytes of the file without its seal. */
rs_status rs_store_unsealed_bytes(const char *path, uint64_t *out, rs_error *err);

/* --- store_hdf5.c --- */
/* A store of that path with nothing open. */
rs_status rs_store_new(const char *path, rs_store **out, rs_error *err);
/* Opens `name` into s->file for reading, or to be added to. */
rs_status rs_store_open_file(rs_store *s, const char *name, bool writable, rs_error *err);
/* Stops HDF5 from printing its error stack; per thread in HDF5, so every public function that starts calls begins here.
 */
void rs_h5_quiet(void);
/* "PATH: OBJECT: WHAT: the deepest message of HDF5's error stack". The object may be NULL. Returns st. */
rs_status rs_h5_fail(const rs_store *s, rs_status st, const char *object, const char *what, rs_error *err);
/* True when `name` ("a/b/c", "/" and a leading "/" are fine) is there and reached through hard links alone, so that a
 * file cannot send us into another one. */
bool rs_h5_exists(const rs_store *s, const char *name);
/* Opens a dataset or group; rs_h5_exists must hold. Negative on failure. Close with H5Oclose. */
rs_h5 rs_h5_open_object(const rs_store *s, const char *name);
/* Name without leading slashes; "/" gives "". */
const char *rs_h5_bare(const char *name);

/* --- store_attribute.c --- */
/* Attributes on an open object; `where` names it in messages. A string is stored as variable-length UTF-8. */
rs_status rs_h5_put_string(const rs_store *s, rs_h5 object, const char *where, const char *name, const char *value,
                           rs_error *err);
rs_status rs_h5_put_int(const rs_store *s, rs_h5 object, const char *where, const char *name, int64_t value,
                        rs_error *err);
/* Text of an attribute as in rs_store_get_string; *out is NULL when absent. */
rs_status rs_h5_get_string(const rs_store *s, rs_h5 object, const char *where, const char *name, char **out,
                           rs_error *err);
double rs_h5_get_real(rs_h5 object, const char *name, double otherwise);

/* --- store_axis.c --- */
/* The scale of axis `name` of length n, made with 0..n-1 when the axis is new; `user` is the array that asks.
 * Fails: RS_E_INTERNAL when the axis has another length. */
rs_status rs_store_scale_get(rs_store *s, const char *name, int64_t n, const char *user, rs_h5 *out, rs_error *err);

/* --- store_write.c --- */
/* Creates a dataset of the shape with our creation properties and the attributes units, long_name, count (count < 0:
 * none). `rows`: chunked so that slabs of the first axes are whole chunks; otherwise a small array is one chunk. */
rs_status rs_store_make(rs_store *s, const rs_array *shape, bool rows, rs_h5 *out, rs_error *err);

/* --- store_seal.c: a digest behind the HDF5 data, where other readers do not look --- */
/* Appends the seal. Fails: RS_E_IO. */
rs_status rs_store_seal(const char *path, rs_error *err);
/* RS_OK when the file carries no seal (HDF5 tools drop it when they change a file) or a right one.
 * Fails: RS_E_FORMAT when the bytes are not those that were sealed; RS_E_IO. */
rs_status rs_store_seal_check(const char *path, rs_error *err);

#endif
