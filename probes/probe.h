/* probes/probe.h: the contract between the forward pass and a measurement. One measurement, one file.
 *
 * A probe declares its raw state (sums, per layer, with a leading fold axis), queues ops that add to that state while
 * activations exist, and turns raw state into finished arrays with a pure function. The runner (probe.c) owns
 * everything else: device memory of the state, zeroing it at the start of a layer, reading it back at the end, merging
 * (addition), handing it on. Because finished arrays are a function of (graph, positions, state) alone,
 * `merge` and split halves need no model run. Knows no file format and no HTML. analyzer/cli drives it. */
#ifndef RS_PROBES_PROBE_H
#define RS_PROBES_PROBE_H

#include "analyzer/base/array.h"
#include "analyzer/base/span.h"
#include "analyzer/base/status.h"
#include "analyzer/forward/hook.h"
#include "analyzer/model/graph.h"

#include <stdbool.h>
#include <stdint.h>

enum { RS_FOLDS = 16, RS_PROBE_STATES = 12 };

/* What finish may know: the model's graph and the shape of the run. */
typedef struct rs_probe_facts {
    const rs_graph *graph;
    int64_t positions, sequences; /* T, B */
    uint64_t seed;                /* of sampled measurements */
    const rs_task_spans *spans;   /* [sequences] of a task, borrowed; NULL: the run has none */
} rs_probe_facts;

/* Device views of this layer's state for one fold: item i is the i-th array the probe declared, without its fold axis.
 */
typedef struct rs_probe_state {
    rs_view view[RS_PROBE_STATES];
} rs_probe_state;

typedef struct rs_probe_kind {
    const char *name;   /* group in the store: "frequency_norm" */
    const char *title;  /* one line for people */
    const char *source; /* paper and formula */
    int folds;          /* RS_FOLDS, or fewer (>= 2) where the state is large */
    /* NULL: one of the default set, which together stays below 1.5 times the plain forward pass and writes small
     * files. Otherwise why it is not: it runs when named, or with --deep. */
    const char *deep;
    bool task; /* measures how a task is done: also in the default set of a run that has one */
    /* RS_OK when the backend runs the ops that it queues and the run has what it measures; otherwise RS_E_UNAVAILABLE
     * with the reason. NULL: always. */
    rs_status (*available)(const rs_probe_facts *facts, const rs_backend *b, rs_error *err);
    bool (*wants)(rs_site site);
    bool forms_pattern; /* wants RS_SITE_PATTERN, and can do with what the pattern follows from (rs_frame: attend) */
    /* Declares the state of a layer: arrays named "state/<probe>/<x>", f64, first axis "fold" (size folds; "fold_<n>"
     * where folds is not RS_FOLDS, for an axis of a store has one length); data stays zero. One of them is
     * "state/<probe>/sequences" [fold], which the runner fills: how many sequences each fold has seen. At most
     * RS_PROBE_STATES. Shapes may depend on the layer. */
    rs_status (*declare)(const rs_probe_facts *facts, int layer, rs_arrays *state, rs_error *err);
    /* Host memory that begin takes with that many threads, for the plan. NULL: little. */
    int64_t (*host_bytes)(const rs_probe_facts *facts, int threads);
    /* Per-run scratch (maps on the device, token lists). May be NULL when none is needed. */
    rs_status (*begin)(const rs_probe_facts *facts, const rs_backend *b, rs_device *d, void **scratch, rs_error *err);
    /* Queues ops that add this frame to the state of its fold (sequence mod folds). */
    rs_status (*observe)(void *scratch, const rs_probe_facts *facts, const rs_frame *f, const rs_probe_state *state,
                         rs_error *err);
    void (*end)(void *scratch, const rs_backend *b, rs_device *d);
    /* Raw state of one layer (host, as declared) -> finished arrays of that layer, without a layer axis, named
     * "<probe>/<x>". Pure and idempotent. Cells without a value are NaN. */
    rs_status (*finish)(const rs_probe_facts *facts, int layer, const rs_arrays *state, rs_arrays *out, rs_error *err);
} rs_probe_kind;

/* All probes of the program in a fixed order; docs/store.md lists what each writes. */
const rs_probe_kind *const *rs_probe_kinds(size_t *count);
/* The default set: those of them that are not `deep`, which stand first. */
const rs_probe_kind *const *rs_probe_defaults(size_t *count);
const rs_probe_kind *rs_probe_find(const char *name); /* NULL when unknown */

/* Axes of finished arrays that have values of their own: 1-D arrays named by the axis ("distance", "bucket",
 * "profile_distance"). */
rs_status rs_probe_axes(const rs_probe_facts *facts, rs_arrays *out, rs_error *err);

/* dst += src, array by array (same declaration). RS_E_MISMATCH when they differ in name or shape. */
rs_status rs_probe_merge(rs_arrays *dst, const rs_arrays *src, rs_error *err);
/* Sum over the folds first, first+step, ...: host state with fold axis -> the same arrays with one fold. For split
 * halves: (0,2), (1,2). */
rs_status rs_probe_fold_sum(const rs_arrays *state, int first, int step, rs_arrays *out, rs_error *err);

/* Called once per layer and probe, in order, with that layer's raw state, which it may take (and leave empty). */
typedef rs_status (*rs_probe_taker)(void *ctx, const rs_probe_kind *kind, int layer, rs_arrays *state, rs_error *err);
/* Called with a layer's raw state and what was finished from it (borrowed). */
typedef rs_status (*rs_probe_sink)(void *ctx, const rs_probe_kind *kind, int layer, const rs_arrays *state,
                                   const rs_arrays *results, rs_error *err);
/* A taker, ctx: an rs_probe_finisher. Finishes the state and hands both to the sink (NULL: to nobody). */
typedef struct rs_probe_finisher {
    const rs_probe_facts *facts;
    rs_probe_sink sink;
    void *ctx; /* of the sink */
} rs_probe_finisher;
rs_status rs_probe_finish(void *finisher, const rs_probe_kind *kind, int layer, rs_arrays *state, rs_error *err);

typedef struct rs_probes rs_probes;
/* kinds: [n] probes to run, borrowed while the probes live. */
rs_status rs_probes_create(const rs_probe_kind *const *kinds, size_t n, const rs_probe_facts *facts,
                           const rs_backend *b, rs_device *d, rs_probe_taker taker, void *taker_ctx, rs_probes **out,
                           rs_error *err);
/* For planning, before there are any: what sites the probes of a set will want. Its observe is NULL; the set is
 * borrowed. */
typedef struct rs_probe_set {
    const rs_probe_kind *const *kinds; /* [n] */
    size_t n;
} rs_probe_set;
rs_hook rs_probes_wishes(rs_probe_set *set);
/* The hook to hand to rs_run_create; valid while the probes live. */
rs_hook rs_probes_hook(rs_probes *p);
/* Host bytes of the probes' own, with that many threads: for the plan. */
int64_t rs_probes_host_bytes(const rs_probe_kind *const *kinds, size_t n, const rs_probe_facts *facts, int threads);
/* Device bytes of state of the largest layer, all probes: for the plan. */
rs_status rs_probes_bytes(const rs_probe_kind *const *kinds, size_t n, const rs_probe_facts *facts, int64_t *bytes,
                          rs_error *err);
void rs_probes_destroy(rs_probes *p); /* NULL is fine */

#endif
