/* forward/hook.h: how the outside watches a forward pass. Hooks are fixed when a run is created, asked once per site
 * and layer whether they want it, then called with borrowed device views. Hooks observe; edits (run.h) change. */
#ifndef RS_FORWARD_HOOK_H
#define RS_FORWARD_HOOK_H

#include "analyzer/base/status.h"
#include "analyzer/forward/site.h"
#include "analyzer/model/graph.h"
#include "kernels/backend.h"

#include <stdint.h>

/* What a hook is handed. Views are valid during the call only; components of q and k stand in file order
 * (layer->rope.lo/hi). */
typedef struct rs_frame {
    rs_site site;
    int layer; /* -1 where the site has none */
    const rs_graph *graph;
    const rs_layer *layer_info; /* NULL where the site has no layer */
    const rs_backend *backend;
    rs_device *device;
    int64_t sequence, sequences, positions; /* number of this sequence, of all, T */
    const int32_t *ids;                     /* [T] host: tokens of this sequence */
    rs_view view;                           /* the site's values:
                                               [rows, D] residual-like (rows row0..); [T, H|K, Dh|Dv] q, k, v, z;
                                               rot_k has S key slots in place of K where edits gave heads keys of their own;
                                               [H, R, C] scores, pattern (tile); [rows, Vc] logits (tile) */
    int64_t row0, col0;                     /* of a tile: absolute position of row 0, key / vocabulary id of column 0 */
    rs_view row_stats;                      /* pattern: [H, R, 2] log-sum-exp and entropy */
    /* Pattern, where view is absent (rs_hook: needs_tile): what it follows from, all T rows of the sequence at once. */
    rs_op_attend attend;
    /* Views of this layer and sequence that are alive now; absent otherwise. Q_ROPE stays readable when K_ROPE fires.
     */
    rs_view q_rope, k_rope;
    rs_view component_lo, component_hi; /* [F] i32 on the device, file order */
    rs_view w_q; /* [H Dh, D] the layer's query projection as it is multiplied with: f32 or bf16, rows in file order */
} rs_frame;

typedef struct rs_hook {
    const char *name; /* for messages */
    void *ctx;
    /* "Do you want this site in this layer?" asked once, at rs_run_create. layer is -1 for sites without one. */
    bool (*wants)(void *ctx, rs_site site, int layer);
    /* Of a hook that wants the pattern of a layer: must its frames come with the pattern itself, tile by tile? Where no
     * hook says so, they may come without it, one a sequence, when that is cheaper. NULL: yes. */
    bool (*needs_tile)(void *ctx, int layer);
    rs_status (*observe)(void *ctx, const rs_frame *f, rs_error *err);
    /* Called when the last sequence of a layer is through (layer = -1: embedding side; n_layers: after the loss). May
     * be NULL. */
    rs_status (*layer_done)(void *ctx, int layer, rs_error *err);
} rs_hook;

#endif
