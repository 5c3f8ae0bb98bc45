/* forward/pass.h: private to this room: the state of a forward pass and the steps it is made of, in the order in which
 * a token meets them: embedding (embed.c) -> per layer: weights (layer_load.c), attention (attention.c), mlp and
 * residuals (block.c)
 * -> final norm, unembedding, loss (unembed.c). run.c drives; plan.c sizes; rotary.c turns rope tables and edits into
 * tables. */
#ifndef RS_FORWARD_PASS_H
#define RS_FORWARD_PASS_H

#include "analyzer/forward/run.h"

/* --- rotary.c: what RS_OP_ROPE needs in a layer, edits included
 * ------------------------------------------------------------ */

/* One way of rotating a vector: its own angle and scale per pair, and a shift of positions. */
typedef struct rs_rotation {
    double *theta; /* [F] rad/token */
    double *scale; /* [F] */
    double shift;  /* positions */
} rs_rotation;

typedef struct rs_rotary {
    int n_pairs, heads, kv_heads;
    rs_rotation *rotation; /* [n_rotations] distinct ones */
    int n_rotations;
    int32_t *q_variant, *q_source;       /* [heads] */
    int32_t *slot_variant, *slot_source; /* [n_slots] rotation and key head of each key slot */
    int n_slots;
    int32_t *head_slot; /* [heads] key slot that a query head reads */
    bool plain;         /* slots are the key heads: keys can be rotated in place */
} rs_rotary;

/* Resolves the edits for a layer. *touched[i] is set for every edit that changed something here.
 * Fails: RS_E_USAGE for heads, pairs or layers out of range. Free with rs_rotary_deinit. */
rs_status rs_rotary_resolve(const rs_graph *g, int layer, const rs_edit *edits, int n_edits, bool *touched,
                            rs_rotary *out, rs_error *err);
void rs_rotary_deinit(rs_rotary *r);
/* cos, sin [n_rotations, T, F]: angle (t + shift) theta in float64, times scale and attention factor, rounded once. */
void rs_rotary_tables(const rs_rotary *r, const rs_rope *rope, int64_t positions, float *cos_out, float *sin_out);
bool rs_rotary_equal(const rs_rotary *a, const rs_rotary *b);

/* --- the pass
 * ------------------------------------------------------------------------------------------------------------ */

typedef struct rs_layer_weights {
    rs_view w[RS_ROLE_COUNT]; /* on the device; [rows, cols] matrices in rs_pass_weight_type, [cols] f32 vectors; absent
                                 where the model has none */
} rs_layer_weights;

typedef struct rs_loader rs_loader; /* layer_load.c: reads what comes next while a layer is computed */

struct rs_run {
    rs_checkpoint *checkpoint;
    const rs_graph *graph;
    const rs_weights *weights;
    const rs_backend *backend;
    rs_device *device;
    rs_run_options o;
    rs_plan plan;
    uint32_t *wanted; /* [n_hooks, n_layers + 1] mask of sites; row n_layers: sites without a layer */
    rs_loader *loader;
    rs_layer_weights layer; /* of the layer being run */
    rs_rotary rotary;       /* of the layer being run */
    rs_mem *residual;       /* [B*T, D] */
    rs_mem *q, *k, *v, *z;  /* [T, H*Dh], [T, K*Dh], [T, K*Dv], [T, H*Dv] of one sequence */
    rs_mem *slots;          /* [T, S*Dh] rotated keys where slots are not the key heads; NULL when never needed */
    rs_mem *q_half, *keys_half, *v_half; /* the same in bf16, rotated, as a tile's products take them; NULL where they
                                            take float32 */
    rs_mem *normed, *branch;             /* [chunk, D] input and output of a sub-layer */
    rs_mem *gate, *up;                   /* [chunk, hidden] */
    rs_mem *hidden;    /* [chunk, hidden] bf16: what the gate lets through; NULL where it stays in gate */
    rs_mem *tile;      /* [H, R, C]; NULL where no layer forms a pattern in memory */
    rs_mem *tile_half; /* [H, R, C] bf16: the pattern for its product; NULL where that takes float32 */
    rs_mem *stats;     /* [H, R, 2], or of all T rows */
    rs_mem *tables;    /* cos then sin, [max rotations, T, F] each */
    rs_mem *index;     /* i32: component_lo, component_hi, q_variant, q_source, slot_variant, slot_source, head_slot */
    rs_mem *vocab, *logits; /* [Vc, D], [rows, Vc] */
    rs_mem *packed;         /* stored rows of the embedding on their way to float32 */
    rs_mem *targets, *loss; /* [B*T] i32, [B*T, 3] f64 */
    int64_t slots_max;
    int rotations_max;
    double *nll, *top1; /* [B*T] */
    bool needs_slots;   /* some layer rotates keys into slots */
};

/* Offsets into `index`, in entries. */
typedef struct rs_index_layout {
    int64_t lo, hi, q_variant, q_source, slot_variant, slot_source, head_slot, total;
} rs_index_layout;
rs_index_layout rs_pass_index(const rs_run *r);

/* Widest of all layers, in elements per position: queries, keys, values, z, one key slot, the mlp's hidden layer
 * (plan.c). */
typedef struct rs_pass_widths {
    int64_t q, k, v, z, slot, hidden;
} rs_pass_widths;
rs_pass_widths rs_pass_widest(const rs_graph *g);

/* Is attention of the layer done by ATTEND, without a pattern in memory? On a card with products in bfloat16, where
 * nobody must see scores or pattern: a processor's tiles stay in its cache and its products know float32 alone
 * (plan.c). */
bool rs_pass_attends(const rs_graph *g, const rs_run_options *o, int layer);

/* Runs n ops on the run's device. */
rs_status rs_pass_ops(rs_run *r, const rs_op *ops, size_t n, rs_error *err);
/* Does any hook watch the site? */
bool rs_pass_watched(const rs_run *r, rs_site site, int layer);
/* Hands a frame to every hook that wants it; fills in graph, backend, device, ids. */
rs_status rs_pass_fire(rs_run *r, rs_frame *f, rs_error *err);
/* A frame of a sequence in a layer (layer -1: none). */
rs_frame rs_pass_frame(rs_run *r, rs_site site, int layer, int64_t sequence);
/* [n, D] rows of the residual stream. */
rs_view rs_pass_residual(const rs_run *r, int64_t sequence, int64_t first, int64_t n);
/* Type in which matrices are kept on the device: what the arithmetic of the run rounds them to anyway. */
rs_dtype rs_pass_weight_type(rs_compute compute);
/* y = x w^T + bias in the run's arithmetic; bias may be absent. */
rs_op rs_pass_matmul(const rs_run *r, rs_view x, rs_view w, rs_view bias, rs_view y);
/* y = norm(x) with the graph's kind; weight and bias may be absent. x, y: [rows, groups, width]. */
rs_op rs_pass_norm(const rs_graph *g, rs_view x, rs_view y, rs_view weight, rs_view bias);

/* layer_load.c. Layers must be asked for in order; `last` is the last one that will be. vocabulary: chunks of the
 * unembedding (r->plan.vocab_chunk rows, in order) will be asked for behind it. */
rs_status rs_loader_create(rs_run *r, int last, bool vocabulary, rs_loader **out, rs_error *err);
void rs_loader_destroy(rs_loader *l, rs_run *r);
rs_status rs_loader_layer(rs_loader *l, rs_run *r, int layer, rs_layer_weights *out, rs_error *err);
/* The chunk of the unembedding that begins at row `first`, widened into r->vocab: *out [rows, D]. */
rs_status rs_loader_vocabulary(rs_loader *l, rs_run *r, int64_t first, rs_view *out, rs_error *err);
/* Goes on with what is being read ahead: what has arrived sets out for the device. To be called now and then while the
 * part before is computed with. */
rs_status rs_loader_poll(rs_loader *l, rs_run *r, rs_error *err);
/* That, and RS_E_CANCELLED when somebody has asked to stop: between pieces of work. */
rs_status rs_pass_poll(rs_run *r, rs_error *err);
/* Rows [first, first+n) of a weight, read now, widened into dst [n, cols], f32 or bf16. */
rs_status rs_loader_rows(rs_run *r, const rs_weight *w, int64_t first, int64_t n, rs_view dst, rs_error *err);
/* Bytes of the largest layer or chunk of the vocabulary as stored, and of the largest layer with its matrices in the
 * given type. */
void rs_loader_sizes(const rs_graph *g, const rs_weights *w, rs_dtype matrices, int64_t vocab_chunk, int64_t *stored,
                     int64_t *widened);

rs_status rs_embed_run(rs_run *r, rs_error *err);                    /* embed.c */
rs_status rs_attention_prepare(rs_run *r, int layer, rs_error *err); /* attention.c: tables of the layer */
rs_status rs_attention_run(rs_run *r, int layer, int64_t sequence, rs_error *err); /* residual -> z of one sequence */
rs_status rs_block_finish(rs_run *r, int layer, int64_t sequence,
                          rs_error *err);           /* block.c: z -> residual after the mlp */
rs_status rs_unembed_run(rs_run *r, rs_error *err); /* unembed.c: loss and logits */
bool rs_unembed_wanted(const rs_run *r);            /* does anybody ask for either? */

#endif
