/* model/config_read.h: private to this room: fields of untrusted metadata with their limits, and the draft they fill.
 * A reader knows the file's name for messages, which keys were asked for (what is left over is warned about), and the
 * arena. */
#ifndef RS_MODEL_CONFIG_READ_H
#define RS_MODEL_CONFIG_READ_H

#include "analyzer/model/family.h"

/* Limits. Beyond them a file is refused by name; they keep every product of two dimensions inside 64 bits. */
enum {
    RS_MOST_LAYERS = 4096,
    RS_MOST_VOCAB = 1 << 24,
    RS_MOST_WIDTH = 1 << 20,
    RS_MOST_HIDDEN = 1 << 24,
    RS_MOST_HEADS = 65536,
    RS_MOST_HEAD_DIM = 65536,
    RS_MOST_PROJECTION = 1 << 24, /* heads * head width */
    RS_MOST_CONTEXT = 1 << 30,
};

enum { RS_MOST_WARNINGS = 64, RS_MOST_KEYS = 96 };

typedef struct rs_reader {
    const rs_json *root; /* object the fields are in */
    const char *file;    /* "dir/config.json" */
    rs_arena *arena;
    const char *used[RS_MOST_KEYS]; /* keys asked for */
    int n_used;
    const char *warnings[RS_MOST_WARNINGS];
    int n_warnings;
} rs_reader;

typedef enum rs_layer_kind { RS_LAYER_FULL, RS_LAYER_SLIDING, RS_LAYER_KINDS } rs_layer_kind;

/* One layer before its table is built. */
typedef struct rs_layer_draft {
    int64_t heads, kv_heads, hidden;
    rs_layer_kind kind;
    bool rope;
} rs_layer_draft;

/* Everything a configuration says, in one form for all containers. Made by config_hf.c, config_gguf.c or
 * config_llama2c.c; checked and turned into a graph by config.c. */
typedef struct rs_draft {
    const rs_family *family;
    const char *family_name, *name;
    int64_t layers, width, vocab, context;
    int64_t head_dim, v_dim;
    rs_layer_draft *layer;   /* [layers] */
    int64_t window;          /* of sliding layers */
    double eps, score_scale; /* softmax scale; 0 = head_dim^-1/2 */
    double score_cap, final_cap;
    rs_graph_act act;
    bool parallel, attention_bias, mlp_bias, tied;
    float norm_add;
    rs_rope_spec rope[RS_LAYER_KINDS]; /* of layers that have RoPE; widths are filled in by config.c when -1 */
} rs_draft;

/* Fails with RS_E_FORMAT for a field of the wrong type or outside [least, most]: file, field, found, expected. An
 * absent or null field gives `otherwise`; with required set that is RS_E_FORMAT too. */
rs_status rs_read_int(rs_reader *r, const char *key, int64_t least, int64_t most, bool required, int64_t otherwise,
                      int64_t *out, rs_error *err);
rs_status rs_read_real(rs_reader *r, const char *key, double least, double most, double otherwise, double *out,
                       rs_error *err);
rs_status rs_read_bool(rs_reader *r, const char *key, bool otherwise, bool *out, rs_error *err);
/* NULL when absent; borrowed. */
rs_status rs_read_string(rs_reader *r, const char *key, const char **out, rs_error *err);
/* A node by key, noted as used. NULL when absent. */
const rs_json *rs_read_node(rs_reader *r, const char *key);
/* The same checks for a node that was found by other means; `field` names it. */
rs_status rs_node_int(rs_reader *r, const rs_json *node, const char *field, int64_t least, int64_t most, int64_t *out,
                      rs_error *err);
rs_status rs_node_real(rs_reader *r, const rs_json *node, const char *field, double least, double most, double *out,
                       rs_error *err);
/* "FILE: field 'KEY': found .., expected .." with RS_E_FORMAT. */
rs_status rs_field_fail(rs_reader *r, const char *field, const rs_json *found, const char *expected, rs_error *err);
/* A JSON value as people would write it, cut to fit. */
const char *rs_node_text(const rs_json *node, char *out, size_t bytes);

rs_status rs_warn(rs_reader *r, rs_error *err, const char *fmt, ...) RS_PRINTF(3, 4);
/* Warns about fields that would matter if the family's code read them: present, not neutral (null, false, 0, 1), never
 * asked for. keys: NULL-ended, each behind the prefix. */
rs_status rs_warn_unused(rs_reader *r, const char *family, const char *prefix, const char *const *keys, rs_error *err);

/* Activation by its Hugging Face name. */
rs_status rs_read_act(rs_reader *r, const char *key, rs_graph_act otherwise, rs_graph_act *out, rs_error *err);

/* The three readers. */
rs_status rs_config_hf(rs_checkpoint *c, const rs_graph_options *o, rs_reader *r, rs_draft *d, rs_error *err);
rs_status rs_config_gguf(rs_checkpoint *c, const rs_graph_options *o, rs_reader *r, rs_draft *d, rs_error *err);
rs_status rs_config_llama2c(rs_checkpoint *c, const rs_graph_options *o, rs_reader *r, rs_draft *d, rs_error *err);
/* config_rope.c: the RoPE dictionary of config.json, in both generations' spelling. */
rs_status rs_config_hf_rope(rs_reader *r, const rs_graph_options *o, rs_draft *d, rs_error *err);
/* The base: as the file states it, or the option's for a file that is silent, or the family's. */
rs_status rs_pick_base(rs_reader *r, const rs_graph_options *o, bool stated, double value, const char *where,
                       double otherwise, rs_rope_spec *s, rs_error *err);

#endif
