/* data/store.h: one run = one HDF5 file (arrays) and one row of a SQLite catalogue (facts to query).
 *
 * HDF5: group "/" holds attributes (strings and numbers, named below) and one dimension scale per axis name ("layer",
 * "head", "pair", ...), each a float64 dataset with units and long_name; every dataset has its scales attached and
 * carries the attributes units, long_name, count. Float datasets use NaN as fill value; shuffle + deflate 1; creation
 * order tracked, so that h5py, xarray (netcdf4, h5netcdf) and ncdump read it. No probe is known here: arrays come named
 * (base/array.h). Integers without a value (NaN in rs_array) are stored as the fill value, then named by the attribute
 * _FillValue. Text that is not UTF-8 is stored with U+FFFD in place of the bad bytes. A digest stands behind the HDF5
 * data (store_seal.c): a file changed by a fault of disk or network is refused before the HDF5 library, whose 1.10 can
 * crash on damage, sees it. A file without the digest (another tool wrote to it) is read on trust in that library.
 * SQLite: STRICT tables with foreign keys: models, runs, heads, pairs, artefacts (schema in store_catalog.c); views
 * v_*; PRAGMA user_version = schema version, application_id set. One transaction per run. Written under a temporary
 * name, renamed by rs_store_commit; then the catalogue row is committed. HDF5's and SQLite's own types appear in no
 * header. */
#ifndef RS_DATA_STORE_H
#define RS_DATA_STORE_H

#include "analyzer/base/array.h"
#include "analyzer/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RS_SCHEMA_VERSION = 1 };

typedef struct rs_store rs_store;

/* --- writing --- */
/* Prepares PATH (base/file.h: exists, folder) and creates the temporary file. Fails: RS_E_EXISTS, RS_E_IO. */
rs_status rs_store_create(const char *path, bool force, rs_store **out, rs_error *err);
/* Attributes of an object ("/" for the file). A later call with the same name replaces. */
rs_status rs_store_set_string(rs_store *s, const char *object, const char *name, const char *value, rs_error *err);
rs_status rs_store_set_int(rs_store *s, const char *object, const char *name, int64_t value, rs_error *err);
rs_status rs_store_set_real(rs_store *s, const char *object, const char *name, double value, rs_error *err);
/* Defines the values of an axis before its first use; axes never defined get 0..n-1. */
rs_status rs_store_axis(rs_store *s, const char *name, const double *values, int64_t n, const char *unit,
                        const char *long_name, rs_error *err);
/* Writes a whole array; groups in its name are made. */
rs_status rs_store_write(rs_store *s, const rs_array *a, rs_error *err);
/* Creates a dataset to be filled by slabs: shape, names, unit as in `shape` (its data may be NULL). Chunked so that a
 * slab of the first axis (or, for 4 axes and more, of the first two) is a whole number of chunks. */
rs_status rs_store_define(rs_store *s, const rs_array *shape, rs_error *err);
/* Fills a slab: start and count have the dataset's number of axes; data is row-major f64 or f32 of count's size. */
rs_status rs_store_put_f64(rs_store *s, const char *name, const int64_t *start, const int64_t *count,
                           const double *data, rs_error *err);
rs_status rs_store_put_f32(rs_store *s, const char *name, const int64_t *start, const int64_t *count, const float *data,
                           rs_error *err);
/* A copy of the run file PATH to be added to, without the group GROUP and the axes whose names begin with GROUP;
 * rs_store_commit puts it in the place of PATH, which stays as it is until then. Axes that PATH has cannot be used by
 * new arrays. Fails: as rs_store_open, RS_E_IO. */
rs_status rs_store_extend(const char *path, const char *group, rs_store **out, rs_error *err);
rs_status rs_store_flush(rs_store *s, rs_error *err);
/* Closes, syncs and renames to PATH. The store is gone afterwards whatever is returned. */
rs_status rs_store_commit(rs_store *s, rs_error *err);
/* Closes and removes the temporary file. NULL is fine. */
void rs_store_discard(rs_store *s);

/* --- reading --- */
/* Fails: RS_E_FORMAT when it is no HDF5 file, not ours (no schema_version), or of a later schema. */
rs_status rs_store_open(const char *path, rs_store **out, rs_error *err);
void rs_store_close(rs_store *s); /* a reader; NULL is fine */
bool rs_store_has(rs_store *s, const char *name);
/* Whole dataset as f64 with its names and units; free with rs_array_deinit. RS_E_FORMAT when absent or not numeric. */
rs_status rs_store_read(rs_store *s, const char *name, rs_array *out, rs_error *err);
/* Row i of the first axis only (for state of one layer). */
rs_status rs_store_read_row(rs_store *s, const char *name, int64_t row, rs_array *out, rs_error *err);
/* Attribute as text (numbers are printed); *out is NULL when absent. Free with rs_free. */
rs_status rs_store_get_string(rs_store *s, const char *object, const char *name, char **out, rs_error *err);
/* Number attribute; `otherwise` when absent. */
double rs_store_get_real(rs_store *s, const char *object, const char *name, double otherwise);
/* Names of all datasets, axes among them, sorted, one call each. */
rs_status rs_store_each(rs_store *s, rs_status (*visit)(void *ctx, const char *name, rs_error *err), void *ctx,
                        rs_error *err);

/* --- catalogue --- */
typedef struct rs_catalog_head {
    int layer, head, kv_head;                                                       /* head >= 0: a query head */
    double previous, first, diagonal, induction, duplicate, entropy, mean_distance; /* NaN = not measured */
    int top_pair_q, top_pair_k;                                                     /* -1 = not measured */
    double retrieval, copy; /* of a run of a task; NaN = not measured */
} rs_catalog_head;
typedef struct rs_catalog_pair {
    int layer, head, pair; /* head: query head */
    double theta, q_mean, k_mean, q_share, k_share, zero_cost, unrotate_cost, concentration_q,
        concentration_k; /* NaN = not measured */
} rs_catalog_pair;
typedef struct rs_catalog_verdict {
    int layer, head, pair;             /* head: query head */
    const char *verdict;               /* its name (base/verdict_name.h) */
    double kl_zero, kl_unrotate, lift; /* nats; NaN = not measured */
} rs_catalog_verdict;
typedef struct rs_catalog_intervention {
    const char *experiment, *mode, *ranking; /* ranking: "random" for a control */
    const char *heads;                       /* "" = all */
    double amount;
    int seed, layer;                      /* -1: none, all */
    int64_t pairs;                        /* edited, of all query heads */
    double delta_nll, delta_lo, delta_hi; /* nats per token */
    double delta_accuracy, accuracy_lo, accuracy_hi;
    int64_t tokens; /* scored */
} rs_catalog_intervention;
typedef struct rs_catalog_run {
    const char *model_name, *model_path, *family, *model_sha256, *container;
    int64_t parameters, layers, heads, kv_heads, head_dim, vocab, trained_context;
    const char *rope_words;
    const char *run_path, *run_sha256, *created, *tool_version, *command_line, *device, *ids_sha256;
    int64_t context, sequences, tokens;
    double mean_nll, seconds;
    const rs_catalog_head *head_rows; /* [head_count] */
    size_t head_count;
    const rs_catalog_pair *pair_rows; /* [pair_count] */
    size_t pair_count;
    const rs_catalog_verdict *verdict_rows; /* [verdict_count]; 0: not measured */
    size_t verdict_count;
} rs_catalog_run;
/* Adds the run (one transaction; a run of the same path is replaced: it was overwritten with --force). Creates the file
 * and schema when needed. The path is stored absolute. Fails: RS_E_FORMAT for a file that is no SQLite, not ours or of
 * a later schema; RS_E_EXISTS without a folder; RS_E_INTERNAL when two rows are of the same head or pair; RS_E_IO. */
rs_status rs_catalog_record(const char *catalog_path, const rs_catalog_run *run, rs_error *err);
/* The interventions [n] of the run of that path take the place of those it had. Fails: RS_E_USAGE when the catalogue
 * does not know the run; as rs_catalog_record. */
rs_status rs_catalog_interventions(const char *catalog_path, const char *run_path, const rs_catalog_intervention *rows,
                                   size_t n, rs_error *err);
/* Refuses what rs_catalog_record would refuse, before the work: a file that is not ours, a folder that does not exist.
 * A catalogue that does not exist yet is not created. */
rs_status rs_catalog_check(const char *catalog_path, rs_error *err);

#endif
