/* model/family.h: the families of models that the program can run, as one table (family.c). A family is an entry, not
 * code: names, defaults and layouts. config_hf.c and config_gguf.c read files by it, weights_bind.c finds tensors by
 * it. */
#ifndef RS_MODEL_FAMILY_H
#define RS_MODEL_FAMILY_H

#include "analyzer/model/graph.h"
#include "analyzer/model/naming.h"

enum { RS_FAMILY_NAMES = 4 };

/* Which layers see a window only. */
typedef enum rs_window_rule {
    RS_WINDOW_NONE,
    RS_WINDOW_ALL,     /* every layer, when sliding_window is set */
    RS_WINDOW_PATTERN, /* layer l slides iff (l + 1) mod pattern != 0, or as layer_types says */
    RS_WINDOW_TYPES,   /* as layer_types says; without it: the layers without RoPE, when use_sliding_window is set */
} rs_window_rule;

/* Dimensions that a file may leave out; 0 = it must not. */
typedef struct rs_family_dims {
    int64_t width, layers, heads, kv_heads, head_dim, hidden, vocab, context;
} rs_family_dims;

typedef struct rs_family {
    const char *name;
    const char *model_types[RS_FAMILY_NAMES]; /* of config.json, NULL-ended */
    const char *classes[RS_FAMILY_NAMES];     /* architectures[0], where model_type is missing */
    const char *archs[RS_FAMILY_NAMES];       /* general.architecture of a GGUF */
    const char *wrapper; /* model_type of a multimodal wrapper that keeps the text model in text_config */
    const rs_naming *hf, *gguf;
    const char *other_tensors[RS_FAMILY_NAMES]; /* prefixes of the wrapper's other parts, which are left alone */

    /* rotation */
    rs_rope_layout hf_layout, gguf_layout; /* different: the converter turned the rows over (rope.c, component_map) */
    double theta, local_theta;             /* bases when the file is silent; local: of sliding layers, 0 = the same */
    const char *theta_key;                 /* outside the RoPE dictionary */
    const char *local_theta_key;           /* NULL: one base for all layers */
    const char *partial_key;               /* outside the RoPE dictionary */
    double partial;                        /* when the file is silent */
    bool partial_prefix;      /* attention rotates the first components and passes the rest of the head by */
    bool nested;              /* rope_parameters has one dictionary per kind of layer */
    bool yarn_is_longrope;    /* an old spelling */
    int64_t original_context; /* top-level original_max_position_embeddings when silent; 0 = as the dictionary says */
    rs_window_rule window;
    int window_pattern;
    int64_t window_width; /* when the file is silent */
    int nope_interval;    /* layer l has RoPE iff (l + 1) mod interval != 0, or no_rope_layers[l]; 0 = all have */

    /* body */
    rs_family_dims dims;
    rs_graph_norm norm;
    const char *eps_key; /* config.json */
    double eps;
    float hf_norm_add;   /* 1: stored as w - 1 in Hugging Face files; GGUF has it folded in */
    const char *act_key; /* config.json */
    rs_graph_act act;
    bool gated, parallel, parallel_key, post_norms, qk_norm, norm_bias;
    bool attention_bias, attention_bias_key; /* default; does config.json state it */
    bool mlp_bias, mlp_bias_key;
    bool tied;
    bool embed_sqrt;           /* embeddings times sqrt(width) */
    double score_width;        /* query_pre_attn_scalar when silent: scores times its -1/2 power; 0 = the head width */
    int gguf_wide_layers;      /* the size whose GGUF hard-codes (width / heads)^-1/2 in llama.cpp; 0 = none */
    bool final_cap, score_cap; /* final_logit_softcapping, attn_logit_softcapping take effect in the family's code */
} rs_family;

const rs_family *rs_family_by_model_type(const char *model_type); /* also a wrapper's; NULL when unknown */
const rs_family *rs_family_by_class(const char *class_name);
const rs_family *rs_family_by_arch(const char *arch);
const rs_family *rs_family_by_name(const char *name); /* also "llama2.c" */

#endif
