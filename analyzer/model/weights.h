/* model/weights.h: tensors bound to roles, once; no strings after this. A role may be a slice of a fused tensor
 * (phi3 qkv_proj, gate_up_proj; gpt_neox query_key_value per head). */
#ifndef RS_MODEL_WEIGHTS_H
#define RS_MODEL_WEIGHTS_H

#include "analyzer/base/arena.h"
#include "analyzer/base/status.h"
#include "analyzer/model/graph.h"
#include "data/checkpoint.h"

#include <stdint.h>

/* role, whether it belongs to a layer, short name for messages */
/* clang-format off */
#define RS_ROLE_MAP(X)                            \
    X(EMBED, 0, "embedding")                      \
    X(UNEMBED, 0, "unembedding")                  \
    X(FINAL_NORM, 0, "final norm")                \
    X(FINAL_NORM_BIAS, 0, "final norm bias")      \
    X(ATTN_NORM, 1, "attention norm")             \
    X(ATTN_NORM_BIAS, 1, "attention norm bias")   \
    X(Q, 1, "query projection")                   \
    X(K, 1, "key projection")                     \
    X(V, 1, "value projection")                   \
    X(Q_BIAS, 1, "query bias")                    \
    X(K_BIAS, 1, "key bias")                      \
    X(V_BIAS, 1, "value bias")                    \
    X(Q_NORM, 1, "query norm")                    \
    X(K_NORM, 1, "key norm")                      \
    X(O, 1, "output projection")                  \
    X(O_BIAS, 1, "output bias")                   \
    X(ATTN_POST_NORM, 1, "attention output norm") \
    X(MLP_NORM, 1, "mlp norm")                    \
    X(MLP_NORM_BIAS, 1, "mlp norm bias")          \
    X(GATE, 1, "mlp gate")                        \
    X(UP, 1, "mlp up")                            \
    X(DOWN, 1, "mlp down")                        \
    X(GATE_BIAS, 1, "mlp gate bias")              \
    X(UP_BIAS, 1, "mlp up bias")                  \
    X(DOWN_BIAS, 1, "mlp down bias")              \
    X(MLP_POST_NORM, 1, "mlp output norm")
/* clang-format on */

typedef enum rs_role {
#define RS_ROLE_ENUM(name, per_layer, text) RS_W_##name,
    RS_ROLE_MAP(RS_ROLE_ENUM)
#undef RS_ROLE_ENUM
        RS_ROLE_COUNT
} rs_role;

/* `rows` rows of `cols` elements: group g (of `groups`) is tensor rows first_row + g * group_stride .. + group_rows
 * - 1. rows = groups * group_rows. Vectors have rows = 1, and their groups count elements: cols = groups * group_rows.
 * tensor == NULL: this model has no such weight. */
typedef struct rs_weight {
    const rs_tensor *tensor;
    int64_t rows, cols;
    int64_t first_row, group_rows, group_stride, groups;
} rs_weight;

/* Does a product use it? Vectors (norms, biases) have one row. */
static inline bool rs_weight_is_matrix(const rs_weight *w) { return w->rows > 1; }

typedef struct rs_weights rs_weights;

/* Binds every role the graph asks for. All missing, mis-shaped and unusable tensors, and those nobody asked for, are
 * reported in one message (name looked up, shape found, shape expected): RS_E_MISMATCH. Buffers known to be harmless
 * (rotary_emb.inv_freq, attn.bias, attn.masked_bias, rope_freqs.weight) are skipped. Lives in the arena. */
rs_status rs_weights_bind(rs_checkpoint *c, const rs_graph *g, rs_arena *arena, const rs_weights **out, rs_error *err);
/* layer < 0 for roles that belong to no layer. UNEMBED is EMBED's tensor when tied. */
const rs_weight *rs_weights_get(const rs_weights *w, int layer, rs_role role);
const char *rs_role_name(rs_role role);
int64_t rs_weights_parameters(const rs_weights *w); /* elements of all bound tensors, tied ones once */
/* Bytes as stored of rows [first, first + n) of a weight. */
int64_t rs_weight_bytes(const rs_weight *w, int64_t n);
/* Reads rows [first, first + n) as stored, groups gathered into consecutive rows. dst: rs_weight_bytes(w, n).
 * Thread-safe. */
rs_status rs_weight_read(rs_checkpoint *c, const rs_weight *w, int64_t first, int64_t n, void *dst, rs_error *err);

#endif
