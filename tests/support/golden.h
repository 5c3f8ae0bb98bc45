/* tests/support/golden.h: opens a model of tests/golden/families, runs it, and reads what transformers computed with it
 * (tests/golden/make_family_models.py). Everything that goes wrong here fails the test that asked. */
#ifndef RS_TESTS_GOLDEN_H
#define RS_TESTS_GOLDEN_H

#include "analyzer/base/arena.h"
#include "analyzer/forward/run.h"
#include "data/corpus.h"

#include <stddef.h>
#include <stdint.h>

typedef struct rs_golden {
    char folder[1024];
    rs_arena *arena;
    rs_checkpoint *checkpoint;
    const rs_graph *graph;
    const rs_weights *weights;
    const rs_backend *backend;
    rs_device *device;
    rs_corpus corpus; /* ids.txt */
    char *index;      /* expected.tsv */
    char *blob;       /* expected.bin */
    size_t blob_bytes;
} rs_golden;

/* Numbers of an expected array, widened. Free with rs_golden_array_free. */
typedef struct rs_golden_array {
    int64_t dims[5], n;
    int n_dims;
    double *v; /* [n] */
} rs_golden_array;

/* What a run gave. z: of one layer. Free with rs_golden_output_free. */
typedef struct rs_golden_output {
    int64_t sequences, positions, vocab;
    float *logits;     /* [sequences, positions, vocab] */
    double *token_nll; /* [sequences, positions] */
    float *z;          /* [sequences, positions, heads, v_dim] of layer z_layer */
    int64_t z_width;   /* heads * v_dim */
} rs_golden_output;

typedef struct rs_golden_run {
    const rs_edit *edits; /* [n_edits] */
    int n_edits;
    int64_t tile_rows; /* 0: by the model's shape */
    int64_t sequences; /* first sequences of ids.txt; 0: all */
    int64_t first;     /* sequence to begin with */
    int z_layer;
} rs_golden_run;

/* Entries of a folder of tests/golden ("families", "containers"), sorted; ends with NULL; static, until the next call.
 */
const char *const *rs_golden_names(const char *kind);
/* Path of an entry. */
void rs_golden_path(const char *kind, const char *name, char out[1024]);
/* Opens a folder (a family's own, or a changed copy). expected.* and ids.txt are read where they are. */
void rs_golden_open(const char *folder, rs_golden *out);
/* The same with the model in another place: the folder gives ids and expected values alone. */
void rs_golden_open_model(const char *model, const char *folder, rs_golden *out);
/* A model with the first windows of a text, tokenized by its own tokenizer; there are no expected values. */
void rs_golden_open_text(const char *model, const char *text, int64_t context, int64_t sequences, rs_golden *out);
void rs_golden_close(rs_golden *g);
bool rs_golden_find(const rs_golden *g, const char *name, rs_golden_array *out);
void rs_golden_array_free(rs_golden_array *a);
void rs_golden_execute(rs_golden *g, const rs_golden_run *how, rs_golden_output *out);
/* The status of a run that is not expected to begin. */
rs_status rs_golden_refused(rs_golden *g, const rs_edit *edit, rs_error *err);
void rs_golden_output_free(rs_golden_output *o);

/* max|a - b| / max|b| of n numbers; pairs of NaN are equal, a NaN alone is an infinite error. */
double rs_golden_error_f32(const float *a, const float *b, int64_t n);
double rs_golden_error_f64(const double *a, const double *b, int64_t n);

#endif
