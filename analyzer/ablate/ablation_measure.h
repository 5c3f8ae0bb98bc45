/* ablate/ablation_measure.h: the loss of a model with and without edits. A measurement is one forward pass with edits
 * over the same tokens; only the layers from the first edited one on are computed again, from the residual stream that
 * the unedited pass left at a kept layer's entrance. */
#ifndef RS_ABLATE_ABLATION_MEASURE_H
#define RS_ABLATE_ABLATION_MEASURE_H

#include "analyzer/ablate/ablation.h"
#include "analyzer/base/span.h"

/* Of each sequence's scored tokens: all but the first, or its answer. */
typedef struct rs_scores {
    double *nll;      /* [sequences] mean loss, nats */
    double *accuracy; /* [sequences] share that is the likeliest token of all */
} rs_scores;
/* [n] each, owned; deinit also after a failure. */
rs_status rs_scores_init(rs_scores *s, int64_t n, rs_error *err);
void rs_scores_copy(const rs_scores *from, const rs_scores *to, int64_t n);
void rs_scores_deinit(rs_scores *s);

typedef struct rs_measure_setup {
    rs_checkpoint *checkpoint;
    const rs_graph *graph;
    const rs_weights *weights;
    const rs_backend *backend;
    rs_device *device;
    rs_run_options run; /* ids, sequences, positions, compute, progress; hooks and edits are made here */
    const rs_task_spans
        *spans;         /* [sequences] of a task, borrowed: answers are scored; NULL: all tokens but the first */
    int64_t keep_bytes; /* for entrances: every k-th layer's is kept, with the smallest k that fits; 0: none */
} rs_measure_setup;

typedef struct rs_measure rs_measure;

/* Runs the unedited pass. The setup is copied; what it points to is borrowed. Fails as rs_run_execute does. */
rs_status rs_measure_create(const rs_measure_setup *s, rs_measure **out, rs_error *err);
/* Unedited; borrowed. */
const rs_scores *rs_measure_baseline(const rs_measure *m);
/* The layer from which a pass whose first edited layer is `first` is computed. */
int rs_measure_start(const rs_measure *m, int first);
/* With the pairs of the mask edited, into out, which has room. A mask without pairs is the baseline itself: nothing is
 * run. */
rs_status rs_measure_edited(rs_measure *m, const uint8_t *mask, rs_ablate_mode mode, double scale, const rs_scores *out,
                            rs_error *err);
void rs_measure_destroy(rs_measure *m); /* NULL is fine */

/* Mean difference b - a of paired values [n], and its bootstrap interval over the pairs (percentiles 2.5 and 97.5 of
 * RS_BOOTSTRAPS resamples, seeded); lo and hi are NaN for n < 2. Fails: RS_E_NOMEM. */
enum { RS_BOOTSTRAPS = 2000 };
typedef struct rs_interval {
    double mean, lo, hi;
} rs_interval;
rs_status rs_paired_interval(const double *a, const double *b, int64_t n, uint64_t seed, rs_interval *out,
                             rs_error *err);

#endif
