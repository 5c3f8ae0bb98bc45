/* model/graph.h: what the network is, as plain data: no memory, no backend, no file. One description for every family;
 * analyzer/forward interprets it. Made by model/config.c from a checkpoint's metadata and model/family.c's table. */
#ifndef RS_MODEL_GRAPH_H
#define RS_MODEL_GRAPH_H

#include "analyzer/base/arena.h"
#include "analyzer/base/status.h"
#include "analyzer/model/rope.h"
#include "data/checkpoint.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum rs_graph_norm { RS_GRAPH_NORM_RMS, RS_GRAPH_NORM_LAYER } rs_graph_norm;
typedef enum rs_graph_act {
    RS_GRAPH_SILU,
    RS_GRAPH_GELU_ERF,
    RS_GRAPH_GELU_TANH,
    RS_GRAPH_RELU,
    RS_GRAPH_RELU2
} rs_graph_act;

typedef struct rs_layer {
    int heads, kv_heads, head_dim, v_dim; /* H, K, Dh, Dv */
    int64_t hidden;                       /* mlp width */
    int64_t window;                       /* keys visible: q - k < window; 0 = all before */
    double scale;                         /* softmax scale */
    double softcap;                       /* of scores; 0 = none */
    rs_rope rope;
} rs_layer;

/* Residual topology, the same for all layers:
 *   sequential: x += post1(attn(norm1 x)); x += post2(mlp(norm2 x))
 *   parallel:   x += attn(norm1 x) + mlp(norm2 x)
 * Which norms exist follows from the weights that are bound (rs_role). */
typedef struct rs_graph {
    const char *family; /* "llama", "gemma3", ... as in the family table */
    const char *name;   /* what the file calls the model; may be the folder's name; untrusted text */
    int n_layers;
    int64_t width, vocab, trained_context; /* D, V */
    rs_graph_norm norm;
    float norm_eps, norm_add; /* add: 1 where weights are stored as w - 1 */
    rs_graph_act act;
    bool gated; /* act(gate) * up */
    bool parallel;
    bool post_norms; /* norms on the outputs of attention and mlp */
    bool qk_norm;    /* per head, before rotation */
    bool norm_bias, qkv_bias, o_bias, mlp_bias;
    bool tied;                                     /* unembedding = embedding */
    float embed_scale, logit_scale, final_softcap; /* 1, 1, 0 when unused */
    const rs_layer *layers;                        /* [n_layers] */
    int64_t max_heads, max_kv_heads, max_head_dim, max_v_dim,
        max_pairs;               /* over layers: the padded shape of stored arrays */
    const char *rope_words;      /* one line for people: "full RoPE, 32 pairs, base 100,000, trained context 8,192" */
    const char *const *warnings; /* [n_warnings] things check prints (unused fields that matter, ...) */
    int n_warnings;
} rs_graph;

typedef struct rs_graph_options {
    int64_t context;   /* positions that will be run; 0 = the trained context */
    double rope_theta; /* override for files that carry none (llama2.c); 0 = from the file */
} rs_graph_options;

/* Reads the metadata of an open checkpoint. Every field is validated; an unknown model_type, rope_type or non-null RoPE
 * field is refused by name with the list of families we know (RS_E_UNSUPPORTED); contradictions are RS_E_MISMATCH. The
 * graph lives in the arena. */
rs_status rs_graph_create(rs_checkpoint *c, const rs_graph_options *o, rs_arena *arena, const rs_graph **out,
                          rs_error *err);

/* Names of the families the program can run, comma separated; static. */
const char *rs_families(void);

#endif
