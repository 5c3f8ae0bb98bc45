/* model/rope.h: the rotary table of a layer. Full, partial, p-RoPE ("proportional"), scaled and absent RoPE in half-split and
 * interleaved layouts all become this one struct; nothing downstream asks what the variant was called (DESIGN 2). */
#ifndef RS_MODEL_ROPE_H
#define RS_MODEL_ROPE_H

#include "analyzer/base/arena.h"
#include "analyzer/base/status.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum rs_rope_layout { RS_HALF_SPLIT, RS_INTERLEAVED } rs_rope_layout;

typedef enum rs_pair_region { RS_PAIR_KEPT, RS_PAIR_BLENDED, RS_PAIR_SCALED, RS_PAIR_UNROTATED } rs_pair_region;

/* Pairs are ordered by theta, fastest first, unrotated ones (theta = 0) last in ascending component order.
 * Every component of the head belongs to exactly one pair: n_pairs = head_dim / 2. */
typedef struct rs_rope {
    int n_pairs, n_rotated, head_dim;
    rs_rope_layout layout;       /* of the file's components */
    const int32_t *lo, *hi;      /* [n_pairs] components in file order: what the forward pass uses */
    const int32_t *lo_hf, *hi_hf;/* [n_pairs] in Hugging Face order: what is stored and shown */
    const int32_t *hf_from_file; /* [head_dim] Hugging Face index of each file component */
    const double *theta;         /* [n_pairs] rad/token; 0 = not rotated */
    const double *factor;        /* [n_pairs] attention factor on cos and sin of q and of k (1 for pass-through components) */
    const uint8_t *region;       /* [n_pairs] rs_pair_region */
    double base;                 /* 0 for NoPE */
    const char *kind;            /* "default", "linear", "llama3", "proportional", "none", "longrope", "table" */
    const char *words;           /* "full RoPE, 32 pairs, base 100,000" */
    const char *source;          /* where the numbers came from: "rope_theta in config.json", "llama.rope.freq_base" ... */
} rs_rope;

/* How a layer's rotation is described before it becomes a table. Filled from a configuration (config.c). */
typedef struct rs_rope_spec {
    const char *kind;            /* rope_type after aliases; "none" for NoPE */
    rs_rope_layout layout;       /* of the file */
    rs_rope_layout hf_layout;    /* of the family's Hugging Face weights */
    int head_dim;
    int rotary_dim;              /* rotated width; components 0..rotary_dim-1. For "proportional": head_dim */
    double proportion;           /* "proportional": share of pairs that keep their frequency */
    double base, factor;         /* factor: linear, llama3, dynamic... 1 when unused */
    double low_freq_factor, high_freq_factor, original_context; /* llama3, longrope */
    double attention_factor;     /* 1 when unused; NaN = by the kind's own formula */
    const double *divisors;      /* [n_divisors] explicit divisors of the angle (GGUF rope_freqs.weight; longrope lists) | NULL */
    int n_divisors;
    double context;              /* positions the table will see: a theta whose whole turn is below float32's resolution becomes 0 */
    const char *source;
} rs_rope_spec;

/* Builds the table in the arena. Formulas: llama3 (loader 3.6), proportional (3.7), linear (3.2), longrope (3.5), default (3.1).
 * Fails: RS_E_UNSUPPORTED for a kind we do not know (named), RS_E_MISMATCH for widths and lists that do not fit. */
rs_status rs_rope_build(const rs_rope_spec *spec, rs_arena *arena, rs_rope *out, rs_error *err);

/* Bytes of the cos/sin cache, 2 * context * rotated width * 4 (arXiv 2603.11611, appendix C; float32, both tables). */
int64_t rs_rope_cache_bytes(const rs_rope *r, int64_t context);

#endif
