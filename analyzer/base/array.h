/* base/array.h: a named array with named axes and units: how results travel from probes to the store and from the store
 * to reports. */
#ifndef RS_BASE_ARRAY_H
#define RS_BASE_ARRAY_H

#include "analyzer/base/dtype.h"
#include "analyzer/base/status.h"

enum { RS_ARRAY_DIMS = 6, RS_NAME_BYTES = 96, RS_UNIT_BYTES = 32, RS_LONG_NAME_BYTES = 256 };

typedef struct rs_array {
    char name[RS_NAME_BYTES];                     /* path in the store: "frequency_norm/q_mean" */
    char unit[RS_UNIT_BYTES];                     /* "1", "nats", "rad/token", ... never empty */
    char long_name[RS_LONG_NAME_BYTES];           /* one sentence: what it is, over what it was averaged */
    char dim_names[RS_ARRAY_DIMS][RS_UNIT_BYTES]; /* "layer", "head", "pair", ... = dimension scales of the store */
    int64_t dims[RS_ARRAY_DIMS];
    int n_dims;
    rs_dtype stored_as; /* RS_F64, RS_F32, RS_I32, RS_U8: the type in the file */
    int64_t count;      /* observations behind each cell (tokens, rows); 0 = does not apply */
    double *data;       /* [dims[0], ..., dims[n_dims-1]] row-major, owned; NaN = no value */
} rs_array;

/* A growing list; owns its arrays. Zero-initialise; free with rs_arrays_deinit. */
typedef struct rs_arrays {
    rs_array *items; /* [count] */
    size_t count, room;
} rs_arrays;

/* dims: "head,pair" style names with sizes behind: rs_array_init(&a, "x/y", RS_F32, "1", "text", 2, "head", H, "pair",
 * F). After the text: n_dims, then n_dims times (const char *name, int64_t size). All cells NaN. Fails: RS_E_NOMEM.
 * Sizes must be passed as int64_t. Free with rs_array_deinit. */
rs_status rs_array_init(rs_array *a, rs_error *err, const char *name, rs_dtype stored_as, const char *unit,
                        const char *long_name, int n_dims, ...);
void rs_array_deinit(rs_array *a);        /* data only; NULL is fine */
int64_t rs_array_size(const rs_array *a); /* product of dims */
/* The same as rs_array_init, into a new item of the list; *out is borrowed and valid until the next add. */
rs_status rs_arrays_add(rs_arrays *list, rs_array **out, rs_error *err, const char *name, rs_dtype stored_as,
                        const char *unit, const char *long_name, int n_dims, ...);
rs_array *rs_arrays_find(const rs_arrays *list, const char *name); /* NULL when absent */
void rs_arrays_deinit(rs_arrays *list);

#endif
