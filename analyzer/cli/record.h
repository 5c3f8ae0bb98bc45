/* cli/record.h: puts a run into its store: what was run (attributes), the rotary tables, every probe's arrays layer by
 * layer, the loss; and afterwards its row in the catalogue. The only place that joins probes to the store. */
#ifndef RS_CLI_RECORD_H
#define RS_CLI_RECORD_H

#include "analyzer/cli/input.h"
#include "data/store.h"
#include "kernels/backend.h"
#include "probes/probe.h"

typedef struct rs_record {
    rs_store *store;
    const rs_input *input;
    const rs_probe_facts *facts;
    const char *compute; /* arithmetic of products: rs_compute_name */
    bool no_state;       /* leave out the raw sums, /state */
    int64_t control;     /* rs_run_options; said in the attribute `control` and as a warning */
    double answer_nll, answer_accuracy, answers_whole; /* of a task, means over sequences; after rs_record_end */
} rs_record;

/* Attributes of "/", axes with their own values, /rope. `probes`: names, blank-separated. */
rs_status rs_record_begin(rs_record *r, const rs_device_info *device, const char *probes, rs_error *err);
/* rs_probe_sink: ctx is the rs_record. Arrays get a leading layer axis and are padded with NaN to the widest layer. */
rs_status rs_record_layer(void *ctx, const rs_probe_kind *kind, int layer, const rs_arrays *state,
                          const rs_arrays *results, rs_error *err);
/* /loss, mean_nll, perplexity, time and memory; /task with its answers where there is one. nll, top1: [sequences,
 * positions] (rs_run_token_nll, _top1). */
rs_status rs_record_end(rs_record *r, const double *nll, const double *top1, double seconds, rs_error *err);
/* record_task.c: spans, how well the answers came, and the attributes to make the task again. */
rs_status rs_record_task(rs_record *r, const double *nll, const double *top1, rs_error *err);
/* Reads the finished run file and adds its row to the catalogue. */
rs_status rs_record_catalog(const char *run_path, const char *catalog_path, rs_error *err);

#endif
