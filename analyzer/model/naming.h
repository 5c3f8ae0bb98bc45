/* model/naming.h: how families call their tensors. A scheme gives every role up to RS_SOURCES places to look, first
 * found wins; a place is a name pattern and the part of that tensor which is meant. In a pattern '#' is the layer
 * number and '@' one of the scheme's prefixes (the first one under which the file has an embedding). */
#ifndef RS_MODEL_NAMING_H
#define RS_MODEL_NAMING_H

#include "analyzer/model/weights.h"

enum { RS_SOURCES = 2, RS_PREFIXES = 5 };

typedef enum rs_slice {
    RS_SLICE_WHOLE,
    RS_SLICE_QKV_Q, /* rows [H*Dh of q; K*Dh of k; K*Dv of v] */
    RS_SLICE_QKV_K,
    RS_SLICE_QKV_V,
    RS_SLICE_HEAD_Q, /* per head [Dh of q; Dh of k; Dv of v] */
    RS_SLICE_HEAD_K,
    RS_SLICE_HEAD_V,
    RS_SLICE_GATE, /* rows [gate; up] */
    RS_SLICE_UP,
} rs_slice;

typedef struct rs_source {
    const char *pattern;
    rs_slice slice;
} rs_source;

typedef struct rs_naming {
    const char *prefixes[RS_PREFIXES]; /* NULL-ended */
    rs_source role[RS_ROLE_COUNT][RS_SOURCES];
} rs_naming;

extern const rs_naming rs_naming_llama, rs_naming_phi3, rs_naming_gemma3, rs_naming_gpt_neox; /* Hugging Face */
extern const rs_naming rs_naming_gguf, rs_naming_gguf_fused; /* GGUF; fused: gate in ffn_up */

/* Buffers and tables that are no weights, in any family. */
bool rs_naming_harmless(const char *tensor);
/* Puts layer and prefix into a pattern; false when it does not fit. */
bool rs_naming_expand(const char *pattern, const char *prefix, int layer, char *out, size_t bytes);

#endif
