/* forward/site.h: the places in the forward pass that can be watched, by their TransformerLens names. One table
 * (site.c). */
#ifndef RS_FORWARD_SITE_H
#define RS_FORWARD_SITE_H

#include "analyzer/base/status.h"

#include <stdbool.h>

/* site, name ("{l}" is the layer), shape in words */
#define RS_SITE_MAP(X)                                                                                                 \
    X(EMBED, "hook_embed", "sequence,position,width")                                                                  \
    X(RESID_PRE, "blocks.{l}.hook_resid_pre", "sequence,position,width")                                               \
    X(Q, "blocks.{l}.attn.hook_q", "sequence,position,head,component")                                                 \
    X(K, "blocks.{l}.attn.hook_k", "sequence,position,kv_head,component")                                              \
    X(V, "blocks.{l}.attn.hook_v", "sequence,position,kv_head,v_component")                                            \
    X(Q_ROPE, "blocks.{l}.attn.hook_q_rope", "sequence,position,head,component")                                       \
    X(K_ROPE, "blocks.{l}.attn.hook_k_rope", "sequence,position,kv_head,component")                                    \
    X(ROT_Q, "blocks.{l}.attn.hook_rot_q", "sequence,position,head,component")                                         \
    X(ROT_K, "blocks.{l}.attn.hook_rot_k", "sequence,position,kv_head,component")                                      \
    X(SCORES, "blocks.{l}.attn.hook_attn_scores", "sequence,head,query,key")                                           \
    X(PATTERN, "blocks.{l}.attn.hook_pattern", "sequence,head,query,key")                                              \
    X(Z, "blocks.{l}.attn.hook_z", "sequence,position,head,v_component")                                               \
    X(ATTN_OUT, "blocks.{l}.hook_attn_out", "sequence,position,width")                                                 \
    X(RESID_MID, "blocks.{l}.hook_resid_mid", "sequence,position,width")                                               \
    X(MLP_OUT, "blocks.{l}.hook_mlp_out", "sequence,position,width")                                                   \
    X(RESID_POST, "blocks.{l}.hook_resid_post", "sequence,position,width")                                             \
    X(FINAL_NORM, "ln_final.hook_normalized", "sequence,position,width")                                               \
    X(LOGITS, "logits", "sequence,position,vocab")

typedef enum rs_site {
#define RS_SITE_ENUM(id, name, shape) RS_SITE_##id,
    RS_SITE_MAP(RS_SITE_ENUM)
#undef RS_SITE_ENUM
        RS_SITE_COUNT
} rs_site;

bool rs_site_per_layer(rs_site s);
/* Name with the layer filled in, into out (at least 64 bytes); returns out. */
char *rs_site_name(rs_site s, int layer, char out[64]);
const char *rs_site_shape(rs_site s);
const char *rs_site_pattern(rs_site s); /* with {l} */

#endif
