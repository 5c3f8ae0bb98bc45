/* model/rope.h: the rotary table of a layer. Full, partial, p-RoPE ("proportional"), scaled and absent RoPE in
 * half-split and interleaved layouts all become this one struct; nothing downstream asks what the variant was
 * called. */
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
    rs_rope_layout layout;        /* of the file's components */
    const int32_t *lo, *hi;       /* [n_pairs] components in file order: what the forward pass uses */
    const int32_t *lo_hf, *hi_hf; /* [n_pairs] in Hugging Face order: what is stored and shown */
    const int32_t *hf_from_file;  /* [head_dim] Hugging Face index of each file component */
    const double *theta;          /* [n_pairs] rad/token; 0 = not rotated */
    const double *factor;  /* [n_pairs] attention factor on cos and sin of q and of k (1 for pass-through components) */
    const uint8_t *region; /* [n_pairs] rs_pair_region */
    double base;           /* 0 for NoPE */
    const char
        *kind; /* "default", "linear", "dynamic", "yarn", "llama3", "longrope", "proportional", "table", "none" */
    const char *words;  /* "full RoPE, 32 pairs, base 100,000" */
    const char *source; /* where the numbers came from: "rope_theta in config.json", "llama.rope.freq_base" ... */
} rs_rope;

/* How a layer's rotation is described before it becomes a table. Filled from a configuration (config.c). */
typedef struct rs_rope_spec {
    const char *kind;         /* rope_type after aliases; "none" for NoPE */
    rs_rope_layout layout;    /* of the file */
    rs_rope_layout hf_layout; /* of the family's Hugging Face weights */
    int head_dim;
    int rotary_dim; /* rotated width; components 0..rotary_dim-1. For "proportional": head_dim. An odd width d keeps its
                     * frequencies base^(-2i/d) and rotates d + 1 components, as Hugging Face does */
    double proportion;   /* "proportional": share of pairs that keep their frequency */
    double base, factor; /* factor: linear, llama3, dynamic... 1 when unused */
    double low_freq_factor, high_freq_factor,
        original_context;          /* llama3, longrope, yarn; dynamic: the trained context */
    double beta_fast, beta_slow;   /* yarn: turns over the original context at which the ramp begins and ends */
    bool truncate;                 /* yarn: ramp ends rounded outward */
    double mscale, mscale_all_dim; /* yarn, for its attention factor; 0 = absent */
    double attention_factor;       /* 1 when unused; NaN = by the kind's own formula */
    const double *divisors; /* [n_divisors] explicit divisors of the angle (GGUF rope_freqs.weight; longrope lists) |
                             * NULL; one per pair of the rotated width, in file order; infinity = not rotated */
    int n_divisors;
    double context; /* positions the table will see; 0 = unknown. theta * context < RS_ROPE_RESOLUTION becomes 0 */
    const char *source;
} rs_rope_spec;

/* Unit roundoff of float32, 2^-24. A pair that turns by less than this many radians over the whole context leaves both
 * its components where they were when they are of one size (cos rounds to 1, and lo - hi * angle to lo): it counts as
 * not rotated. */
#define RS_ROPE_RESOLUTION 5.9604644775390625e-8

/* Is there a formula for this rope_type? Lists of names for messages: rs_rope_kinds(). */
bool rs_rope_kind_known(const char *kind);
const char *rs_rope_kinds(void);

/* Builds the table in the arena; nothing of the spec is kept. With d = rotary_dim, D = head_dim and i = 0, 1, ..:
 *   default       theta_i = base^(-2i/d)                                       Su et al., arXiv 2104.09864
 *   linear        theta_i / factor
 *   dynamic       default with base (factor c/o - (factor - 1))^(d/(d-2)), o = original_context, c = max(context, o)
 *   yarn          arXiv 2309.00071: a ramp between theta_i and theta_i / factor, and an attention factor
 *   llama3        theta_i below wavelength o/high, theta_i / factor above o/low, a blend between
 *   longrope      theta_i / divisor_i; attention factor sqrt(1 + ln factor / ln o)   arXiv 2402.13753
 *   proportional  base^(-2i/D) / factor for i < floor(proportion D / 2), then 0: p-RoPE, arXiv 2410.06205 appendix D
 *   table         theta_i / divisor_i / factor
 *   none          no pair rotates
 * Fails: RS_E_UNSUPPORTED for a kind we do not know (named), RS_E_MISMATCH for widths, numbers and lists that do not
 * fit. */
rs_status rs_rope_build(const rs_rope_spec *spec, rs_arena *arena, rs_rope *out, rs_error *err);

/* Pairs that turn at least once over the context. Twice that is the critical dimension of arXiv 2310.05209, for default
 * RoPE 2 ceil(d/2 log_base(context / 2 pi)): what lies beyond it has never come round in training. */
int rs_rope_turning_pairs(const rs_rope *r, double context);

/* x = theta * context at which V(x) = 1/2 + sin(2x) / (4x) - (sin x / x)^2 is largest: the variance of cos(theta D)
 * over distances of a context, so that a pair with constant query and key tells distances apart best there ("Frequency
 * Bands", ICLR 2026, OpenReview PR1PPxvG9Q: where key norms gather). */
double rs_rope_band_peak(void);
/* The pair with that x in the context, between two pairs where theta is; NaN outside of the table. */
double rs_rope_band_pair(const rs_rope *r, double context);

/* Mean over all pairs of cos(D theta): how much more a key like the query draws than a random one, D tokens apart; a
 * model reads as far as it stays above 0 (the base bound, arXiv 2405.14591, equation 5). Not monotone in the base. */
typedef struct rs_rope_pull {
    double least; /* smallest value looked at, 1 at D = 0 */
    int64_t least_at;
    int64_t first_negative; /* smallest D at which it is below 0; 0: none */
    int64_t limit;          /* distances 1 .. limit - 1 were looked at, or up to first_negative */
} rs_rope_pull;
rs_rope_pull rs_rope_base_bound(const rs_rope *r, int64_t limit);

/* Bytes of the cos/sin cache, 2 * context * rotated width * 4 (arXiv 2603.11611, appendix C; float32, both tables). */
int64_t rs_rope_cache_bytes(const rs_rope *r, int64_t context);

#endif
