/* forward/run.h: one forward pass over all sequences, layer by layer.
 * The residual stream of all tokens is kept; layer l is loaded, all sequences go through it, its probes finish, next
 * layer. Used by analyzer/cli (audit, dump, ...); knows no probe and no file format of ours. */
#ifndef RS_FORWARD_RUN_H
#define RS_FORWARD_RUN_H

#include "analyzer/base/status.h"
#include "analyzer/forward/hook.h"
#include "analyzer/model/graph.h"
#include "analyzer/model/weights.h"
#include "data/checkpoint.h"
#include "kernels/backend.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum rs_edit_kind { RS_EDIT_SCALE, RS_EDIT_THETA, RS_EDIT_SHIFT } rs_edit_kind;
enum { RS_EDIT_Q = 1, RS_EDIT_K = 2 };

/* Edits are data. layer -1: all. heads/pairs: lists, count 0 = all. Zeroing = SCALE by 0; un-rotating = THETA 0 (then q
 * and k both, as seen by these query heads: a shared key gets its own copy for them); SHIFT adds `value` to all
 * positions. */
typedef struct rs_edit {
    rs_edit_kind kind;
    int layer;
    const int *heads; /* [n_heads] query heads */
    int n_heads;
    const int *pairs; /* [n_pairs] indices into the layer's rope table */
    int n_pairs;
    double value; /* scale, theta in rad/token, or positions */
    int of;       /* RS_EDIT_Q | RS_EDIT_K for SCALE */
} rs_edit;

typedef struct rs_run_options {
    const int32_t *ids; /* [sequences, positions], borrowed */
    int64_t sequences, positions;
    int64_t first_sequence; /* number of the first one: where a text is shared out over several runs */
    const rs_hook *hooks;   /* [n_hooks], borrowed until rs_run_destroy */
    int n_hooks;
    const rs_edit *edits; /* [n_edits], borrowed */
    int n_edits;
    bool loss; /* compute token NLL */
    /* above 0: seed of a random-weight control: the rows of every query and every key projection are put in a random
     * order, so that a head's components are other heads' and fall on other frequencies. Norms and statistics of the
     * rows stay; what is found by frequency in such a pass was not learned. */
    int64_t control;
    rs_compute compute; /* arithmetic of products */
    int64_t tile_rows;  /* query rows per attention tile; 0 = by the model's shape, or no tiles at all on a card */
    bool on_card;       /* sizes for a device with many processors (rs_device_info: card) */
    int last_layer;     /* stop after this layer (for dump of early sites); < 0 = all */
    int first_layer;    /* begin with this layer on `entrance`; 0: with the embedding */
    /* [sequences, positions, D] on the host, borrowed: the residual stream as RS_SITE_RESID_PRE of first_layer showed
     * it in a pass over the same ids; an edit of a later layer then costs only the layers from there on */
    const float *entrance;
    /* progress(ctx, layer, sequence): called after each sequence of each layer and, with layer == n_layers, per
     * vocabulary chunk. May be NULL. */
    void (*progress)(void *ctx, int layer, int64_t done, int64_t total);
    void *progress_ctx;
} rs_run_options;

/* Bytes a run will need, before anything is read or allocated. */
typedef struct rs_plan {
    int64_t residual, weights, scratch, vocabulary,
        total;            /* bytes; weights: one layer as stored (read ahead), one as it is multiplied with */
    int64_t packed;       /* of `weights`: stored rows of the embedding on their way to float32 */
    int64_t stored_bytes; /* read from disk once */
    double flops;         /* of products, with causal and window skipping */
    int64_t tile_rows;    /* of an attention tile; 0: no layer forms a pattern in memory. This and what follows: by the
                             model's shape and the options alone */
    int64_t chunk_rows, vocab_chunk, logit_rows;
} rs_plan;
rs_status rs_run_plan(const rs_graph *g, const rs_weights *w, const rs_run_options *o, rs_plan *out, rs_error *err);

typedef struct rs_run rs_run;

/* Asks the hooks, resolves the edits (one that touches nothing and a hook that nobody can fire are errors: RS_E_USAGE),
 * allocates. */
rs_status rs_run_create(rs_checkpoint *c, const rs_graph *g, const rs_weights *w, const rs_backend *b, rs_device *d,
                        const rs_run_options *o, rs_run **out, rs_error *err);
/* Does it all, for runs [n] of one model that stand on devices of their own, side by side: each is given a layer's work
 * before the first is waited for. Fails also with RS_E_NONFINITE (tensor named), RS_E_CANCELLED. */
rs_status rs_run_execute(rs_run *const *runs, int n, rs_error *err);
/* After execute with loss: [sequences, positions] f64, NaN at position 0; borrowed. */
const double *rs_run_token_nll(const rs_run *r);
/* The same shape: 1 where the token's logit is the largest of all (or one rounding step of float32 below it: a tie), 0
 * where not, NaN at position 0; borrowed. */
const double *rs_run_token_top1(const rs_run *r);
void rs_run_destroy(rs_run *r); /* NULL is fine */

#endif
