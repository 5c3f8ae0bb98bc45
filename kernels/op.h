/* kernels/op.h: the closed list of operations, as data. A backend runs them; op.c checks shapes for all backends.
 *
 * Shape alphabet (everywhere in the program): T positions of a sequence, R rows of a tile, C columns (keys) of a tile,
 * D model width, H query heads, K key/value heads, S key slots (rotated keys; = K without edits), Dh head width of q
 * and k, Dv of v, F rotary pairs, L layers, V vocabulary. Row-major; the last axis is contiguous unless a stride says
 * otherwise. One matmul convention: y[M,N] = x[M,K] . w[N,K]^T, the order in which checkpoints store weights.
 *
 * float32 unless said otherwise; products accumulate in float32, statistics in float64. A product may round its inputs
 * first (rs_compute); weights of such products may be kept in bfloat16. */
#ifndef RS_KERNELS_OP_H
#define RS_KERNELS_OP_H

#include "analyzer/base/dtype.h"
#include "analyzer/base/span.h"
#include "analyzer/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct rs_mem rs_mem; /* device memory: kernels/memory.h */

/* A borrowed window on device memory. Up to four axes; stride in elements; unused axes have dim 1.
 * For packed dtypes (Q4_K ...) only n_dims == 1 and offset at a block. mem == NULL means "absent". */
typedef struct rs_view {
    rs_mem *mem;
    size_t offset; /* bytes */
    rs_dtype dtype;
    int n_dims;
    int64_t dim[4];
    int64_t stride[4];
} rs_view;

static const rs_view RS_ABSENT = {0};

/* Contiguous views. */
rs_view rs_view_1d(rs_mem *m, size_t offset, rs_dtype t, int64_t n);
rs_view rs_view_2d(rs_mem *m, size_t offset, rs_dtype t, int64_t rows, int64_t cols);
rs_view rs_view_3d(rs_mem *m, size_t offset, rs_dtype t, int64_t a, int64_t b, int64_t c);
rs_view rs_view_4d(rs_mem *m, size_t offset, rs_dtype t, int64_t a, int64_t b, int64_t c, int64_t d);
/* Rows first..first+n-1 of the first axis. */
rs_view rs_view_rows(rs_view v, int64_t first, int64_t n);
bool rs_view_present(const rs_view *v);
int64_t rs_view_size(const rs_view *v); /* product of dims */
/* Bytes from offset to the end of the farthest element; false when dims, strides or dtype are senseless or it
 * overflows. */
bool rs_view_extent(const rs_view *v, int64_t *bytes);
/* May the two share an element? Exact for row windows with equal row strides (slices of one buffer), else by byte
 * range. */
bool rs_view_overlap(const rs_view *a, const rs_view *b);
/* Same memory, offset, dtype, dims and strides. */
bool rs_view_equal(const rs_view *a, const rs_view *b);

/* What a product does with its inputs before it multiplies: nothing; round them to 10 bits behind the point (tensor
 * cores' TF32); round them to bfloat16. Sums are float32 in any case. */
typedef enum rs_compute { RS_COMPUTE_F32, RS_COMPUTE_TF32, RS_COMPUTE_BF16 } rs_compute;

typedef enum rs_norm_kind { RS_NORM_NONE, RS_NORM_RMS, RS_NORM_LAYER } rs_norm_kind;
typedef enum rs_activation { RS_ACT_SILU, RS_ACT_GELU_ERF, RS_ACT_GELU_TANH, RS_ACT_RELU, RS_ACT_RELU2 } rs_activation;

typedef enum rs_op_kind {
    RS_OP_WIDEN,          /* stored weights -> float32 */
    RS_OP_NORM,           /* RMSNorm / LayerNorm, also per head */
    RS_OP_MATMUL,         /* y = x w^T (+ bias) (+ y) */
    RS_OP_ADD,            /* y = a x + b y */
    RS_OP_GATE,           /* y = act(gate) * up, or act(gate) */
    RS_OP_ROPE,           /* rotation by the pair table; edits are entries of the table */
    RS_OP_SCORES,         /* s[H,R,C] = scale q k^T */
    RS_OP_MASK,           /* soft-cap and mask to -inf, only when somebody watches the scores */
    RS_OP_SOFTMAX,        /* s -> pattern in place (soft-cap, mask, sinks), row statistics */
    RS_OP_MIX,            /* z = pattern . v */
    RS_OP_ATTEND,         /* SCORES, SOFTMAX and MIX of a whole sequence; the pattern is never in memory */
    RS_OP_CROSS_ENTROPY,  /* a vocabulary chunk into running maximum, sum and target logit */
    RS_OP_PAIR_REDUCE,    /* components -> pairs -> features, summed over rows into buckets */
    RS_OP_LOGIT_SAMPLE,   /* per-pair variance of the logit on sampled query rows */
    RS_OP_PATTERN_REDUCE, /* a pattern tile -> per-head sums */
    RS_OP_ATTEND_REDUCE,  /* the same of a whole sequence, from queries, keys and ATTEND's statistics */
    RS_OP_PROFILE_REDUCE, /* the distance profile of a sequence -> sums over sequences */
    RS_OP_PHASE,          /* pairs -> histograms of their angle */
    RS_OP_SPECTRUM,       /* how long a pair is along the sequence -> Fourier spectra; needs a Fourier library */
    RS_OP_CORRELATE,      /* mean logit of a pair by distance, by cross-correlation; needs a Fourier library */
    RS_OP_SPAN_REDUCE,    /* a pattern tile -> what question and answer attend to, per head */
    RS_OP_COUNT
} rs_op_kind;

/* dst[i] = value of src[i]. src: packed bytes of a weight dtype, n elements. bad (optional, i64[1]): set to the
 * smallest index whose value is NaN or infinite if that is smaller than what is there (initialise with INT64_MAX). */
typedef struct rs_op_widen {
    rs_view src; /* [n] any weight dtype */
    rs_view dst; /* [n] f32, or bf16 (the float32 value rounded to nearest, ties to even) */
    rs_view bad; /* [1] i64 | absent */
} rs_op_widen;

/* y[r,g,:] = norm(x[r,g,:]) * (weight + add) + bias. RMS: x / sqrt(mean x^2 + eps); LAYER: (x - mean) / sqrt(var +
 * eps). One group = one norm over the width; q/k norms have a group per head. y may be x. */
typedef struct rs_op_norm {
    rs_norm_kind kind;
    rs_view x, y;         /* [rows, groups, width]; y f32, or bf16 where a product in bfloat16 takes it */
    rs_view weight, bias; /* [width] (shared by the groups) or [groups, width]; absent = 1 / 0 */
    float add;            /* 1 for Gemma's stored w - 1, else 0 */
    float eps;
} rs_op_norm;

typedef struct rs_op_matmul {
    rs_view x;    /* [M, K] f32, or bf16 for RS_COMPUTE_BF16; row stride free */
    rs_view w;    /* [N, K] the same */
    rs_view bias; /* [N] | absent */
    rs_view y;    /* [M, N], row stride free */
    rs_compute compute;
    bool add; /* to what y holds: a branch into the residual stream */
} rs_op_matmul;

typedef struct rs_op_add {
    rs_view x, y; /* [rows, cols] f32, or f64 both (a probe's sums); row strides free; y may be x */
    double a, b;  /* y = a x + b y; b == 0 does not read y. In the type of the views */
} rs_op_add;

typedef struct rs_op_gate {
    rs_activation act;
    rs_view gate; /* [rows, width], row stride free */
    rs_view up;   /* same | absent */
    rs_view y;    /* same, f32, or bf16 where a product in bfloat16 takes it; may be gate */
} rs_op_gate;

/* For head h and pair f with components lo = component_lo[f], hi = component_hi[f], t = row, v = variant[h]:
 *   y[t,h,lo] = x[t,src,lo] cos[v,t,f] - x[t,src,hi] sin[v,t,f]
 *   y[t,h,hi] = x[t,src,hi] cos[v,t,f] + x[t,src,lo] sin[v,t,f]          src = source[h]
 * The table already carries position, theta, attention factor, and every edit of that pair (scale: both entries times
 * s; zero: both 0; un-rotate: cos = factor, sin = 0). Every component belongs to exactly one pair. y may be x when
 * source[h] == h. For keys H of y is S, the number of key slots. */
typedef struct rs_op_rope {
    rs_view x;                          /* [T, Hx, Dh], head and row strides free */
    rs_view y;                          /* [T, Hy, Dh], head and row strides free */
    rs_view component_lo, component_hi; /* [F] i32, F = Dh/2 */
    rs_view cos, sin;                   /* [variants, T, F] */
    rs_view variant;                    /* [Hy] i32 */
    rs_view source;                     /* [Hy] i32 */
} rs_op_rope;

/* s[h,r,c] = scale * q[r,h,:] . k[c,slot[h],:]. Query row r stands at position row0 + r, key column c at col0 + c.
 * Columns that no row of the tile may see are not in C at all; entries above the diagonal inside the tile may hold
 * anything. */
typedef struct rs_op_scores {
    rs_view q;    /* [R, H, Dh] f32, or bf16 for RS_COMPUTE_BF16 */
    rs_view k;    /* [C, S, Dh] the same */
    rs_view slot; /* [H] i32 */
    rs_view s;    /* [H, R, C] */
    float scale;
    int64_t row0, col0;
    rs_compute compute;
} rs_op_scores;

/* Visible: col <= row and (window == 0 or row - col < window), in absolute positions. softcap > 0: s = c tanh(s / c),
 * first. */
typedef struct rs_op_mask {
    rs_view s; /* [H, R, C] in place */
    int64_t row0, col0, window;
    float softcap;
} rs_op_mask;

/* Row softmax over visible columns, exact zeros elsewhere. sinks: one extra logit per head that joins the sum and is
 * dropped. stats[h,r] = { log-sum-exp, entropy in nats of the row (without the sink's mass) }. Entropy = lse - sum p s,
 * no logarithm per entry. With a sink: the log-sum-exp includes it, the entropy is -sum p ln p over the columns (which
 * then sum to less than 1). half: the pattern once more, rounded to nearest, as a product in bfloat16 takes it; where
 * it is all that is wanted (half_only) s is left undefined. */
typedef struct rs_op_softmax {
    rs_view s;     /* [H, R, C] in place */
    rs_view sinks; /* [H] | absent */
    rs_view stats; /* [H, R, 2] f32 | absent */
    rs_view half;  /* [H, R, C] bf16 | absent */
    int64_t row0, col0, window;
    float softcap; /* 0 after RS_OP_MASK */
    bool half_only;
} rs_op_softmax;

/* z[r,h,:] = sum_c p[h,r,c] v[c, h / (H/K), :] */
typedef struct rs_op_mix {
    rs_view p;          /* [H, R, C] f32, or bf16 for RS_COMPUTE_BF16 */
    rs_view v;          /* [C, K, Dv] the same */
    rs_view z;          /* [R, H, Dv] */
    int64_t row0, col0; /* columns past a row's position hold zeros and may be skipped */
    rs_compute compute;
} rs_op_mix;

/* A whole sequence's attention without a pattern in memory: query row t stands at position t, key row c at c.
 *   p[h,t,c] = softmax over the visible c of x[h,t,c] = scale q[t,h,:] . k[c,slot[h],:], soft-cap first
 *   z[t,h,:] = sum_c p[h,t,c] v[c, h / (H/K), :]         stats[h,t] = { log-sum-exp, entropy } as in SOFTMAX
 * Products in bfloat16 with sums in float32; maximum and sum of a row are those of the columns so far, and what was
 * summed is scaled when the maximum grows (Milakov and Gimelshein, arXiv 1805.02867; Dao et al., arXiv 2205.14135). So
 * exp(x - maximum so far) is what is rounded for the product with v, where MIX rounds p. For heads that
 * rs_attend_takes. */
enum { RS_ATTEND_WIDTH = 128, RS_ATTEND_STEP = 8 }; /* widest head; widths, strides are multiples of: 16 bytes */
typedef struct rs_op_attend {
    rs_view q;     /* [T, H, Dh] bf16 */
    rs_view k;     /* [T, S, Dh] bf16 */
    rs_view v;     /* [T, K, Dv] bf16 */
    rs_view slot;  /* [H] i32 */
    rs_view z;     /* [T, H, Dv] f32 */
    rs_view stats; /* [H, T, 2] f32 */
    int64_t window;
    float scale, softcap;
} rs_op_attend;

/* state[r] = { running maximum, sum of exp(logit - maximum), logit of the target }: f64. Start: {-inf, 0, NaN}.
 * Target id of row r, if v0 <= id < v0 + Vc, is taken from this chunk. softcap as in MASK. NLL = log(sum) + max -
 * target. */
typedef struct rs_op_cross_entropy {
    rs_view logits;  /* [rows, Vc] */
    rs_view targets; /* [rows] i32; -1 = none */
    rs_view state;   /* [rows, 3] f64 */
    int64_t v0;
    float softcap;
    float scale; /* logits are multiplied by this first */
} rs_op_cross_entropy;

/* Features of z = x[lo] + i x[hi]. A mask of these; sums are stored in this order. */
typedef enum rs_pair_feature {
    RS_PAIR_ABS,   /* |z| */
    RS_PAIR_ABS2,  /* |z|^2 */
    RS_PAIR_RE,    /* Re z */
    RS_PAIR_IM,    /* Im z */
    RS_PAIR_SQ_RE, /* Re z^2 */
    RS_PAIR_SQ_IM, /* Im z^2 */
    RS_PAIR_U_RE,  /* Re z/|z|, 0 for z = 0 */
    RS_PAIR_U_IM,
    RS_PAIR_U2_RE, /* Re (z/|z|)^2 */
    RS_PAIR_U2_IM,
    RS_PAIR_TOP, /* 1 for the pair of largest |z| of its head and row (the first one on ties), else 0 */
    RS_PAIR_FEATURES
} rs_pair_feature;

/* out[bucket[t], h, feature, f] += feature(x[t,h,:], f) over rows t; bucket -1: the row is left out.
 * With no pair table (component_lo absent) pairs are (j, j + width/2): for v, the control. */
typedef struct rs_op_pair_reduce {
    rs_view x;                          /* [T, H, width], strides of rows and heads free */
    rs_view component_lo, component_hi; /* [F] i32 | absent */
    rs_view bucket;                     /* [T] i32 */
    rs_view out;                        /* [buckets, H, popcount(features), F] f64, added to */
    uint32_t features;                  /* mask of 1u << rs_pair_feature */
} rs_op_pair_reduce;

/* On sampled query rows m (positions), over the visible keys n of m without position 0 (window respected), per head h
 * and pair f, with q = q[m,h], k = k[n,kv(h)] BEFORE rotation as complex pairs, D = m - n, g2 = scale * factor[f]^2,
 * everything scaled by g2: rot_n  = Re(q conj(k) e^{i theta D}),  flat_n = Re(q conj(k)) variances over n (population,
 * float64), summed over the rows into out[h, ., f]: RS_SAMPLE_DROP    var(rot)              what zeroing pair f does to
 * the centred logit RS_SAMPLE_UNROT   var(rot - flat)       what un-rotating does RS_SAMPLE_DROP_RAW   mean(rot^2)
 * uncentred RS_SAMPLE_UNROT_RAW  mean((rot-flat)^2) RS_SAMPLE_ABS     mean |q||k| (no scale) and into head_out[h, .]:
 * var of the whole logit (all pairs) and of its four terms with q = mu_q + q', k = mu_k + k' (C2): RS_HEAD_TOTAL,
 * RS_HEAD_PP, RS_HEAD_PC (mu_q, k'), RS_HEAD_CP (q', mu_k), RS_HEAD_CC, and RS_HEAD_ROWS (number of rows used). */
enum { RS_SAMPLE_DROP, RS_SAMPLE_UNROT, RS_SAMPLE_DROP_RAW, RS_SAMPLE_UNROT_RAW, RS_SAMPLE_ABS, RS_SAMPLES };
enum { RS_HEAD_TOTAL, RS_HEAD_PP, RS_HEAD_PC, RS_HEAD_CP, RS_HEAD_CC, RS_HEAD_ROWS, RS_HEAD_TERMS };
typedef struct rs_op_logit_sample {
    rs_view q;                          /* [T, H, Dh] before rotation, strides free */
    rs_view k;                          /* [T, K, Dh] before rotation, strides free */
    rs_view component_lo, component_hi; /* [F] i32 */
    rs_view theta, factor;              /* [F] f64 */
    rs_view q_mean, k_mean;             /* [H, 2, F], [K, 2, F] f64: Re and Im of the means over positions 1..T-1 */
    rs_view rows;                       /* [n] i32: positions >= 2, ascending */
    rs_view out;                        /* [H, RS_SAMPLES, F] f64, added to */
    rs_view head_out;                   /* [H, RS_HEAD_TERMS] f64, added to */
    int64_t window;
    double scale;
} rs_op_logit_sample;

/* Sums over the query rows t >= 1 of the tile (t = row0 + r). All outputs are f64 and added to; absent ones are
 * skipped. sums[h]: RS_PATTERN_DIAGONAL p[t,t]; PREVIOUS p[t,t-1]; FIRST p[t,0]; ENTROPY (from stats); SQUARE sum_c
 * p^2; MASS sum_c p; ROWS number of rows; and with ids (Olsson et al. 2022), over the columns 1 <= c < t: DUPLICATE
 * p[t,c] where ids[c] = ids[t], the token itself as it stood before; INDUCTION p[t,c] where ids[c-1] = ids[t], what
 * followed it. profile[h, d]   sum of p[t, t-d], d = 0..T-1 map[h, i, j]    sum of p over rows of block i and columns
 * of block j, block = position * B / T (row 0 included) skip_first: SQUARE and profile leave column 0 (the sink) out;
 * all other outputs are unaffected. */
enum {
    RS_PATTERN_DIAGONAL,
    RS_PATTERN_PREVIOUS,
    RS_PATTERN_FIRST,
    RS_PATTERN_ENTROPY,
    RS_PATTERN_SQUARE,
    RS_PATTERN_DUPLICATE,
    RS_PATTERN_INDUCTION,
    RS_PATTERN_MASS,
    RS_PATTERN_ROWS,
    RS_PATTERN_SUMS
};
typedef struct rs_op_pattern_reduce {
    rs_view p;                             /* [H, R, C] */
    rs_view stats;                         /* [H, R, 2] from SOFTMAX */
    rs_view ids;                           /* [T] i32: tokens of the sequence | absent */
    rs_view sums;                          /* [H, RS_PATTERN_SUMS] f64 */
    rs_view profile;                       /* [H, T] f64 | absent */
    rs_view map;                           /* [H, B, B] f64 | absent */
    int64_t row0, col0, window, positions; /* positions = T */
    bool skip_first;                       /* leave the sink's column out of SQUARE and profile */
} rs_op_pattern_reduce;

/* PATTERN_REDUCE of the pattern of ATTEND (same q, k, slot, scale, softcap, window; stats as it left them), which is
 * formed anew: p = exp(x - log-sum-exp). Once more the products of the scores, instead of a pattern in memory. */
typedef struct rs_op_attend_reduce {
    rs_view q, k;    /* [T, H, Dh], [T, S, Dh] bf16 */
    rs_view slot;    /* [H] i32 */
    rs_view stats;   /* [H, T, 2] */
    rs_view ids;     /* [T] i32 | absent */
    rs_view sums;    /* [H, RS_PATTERN_SUMS] f64, added to */
    rs_view profile; /* [H, T] f64, added to | absent */
    rs_view map;     /* [H, B, B] f64, added to | absent */
    int64_t window;
    float scale, softcap;
    bool skip_first;
} rs_op_attend_reduce;

/* What a whole sequence's profile (PATTERN_REDUCE: sums over the query rows 1..T-1, by distance) gives, per head h,
 * added: bins[h, i]  = sum of profile[h, d] over start[i] <= d < start[i + 1], the last one up to T distance[h] = sum_d
 * d profile[h, d] toeplitz[h] = sum_d profile[h, d]^2 / (T - 1 - d) over d < T - 1 (and < window where there is one):
 * the squared norm of the nearest pattern that depends on the distance alone, which has the mean over each diagonal
 *                 (columns 1..: T - 1 - d entries). */
typedef struct rs_op_profile_reduce {
    rs_view profile;            /* [H, T] f64 */
    rs_view start;              /* [bins] i32: ascending distances */
    rs_view bins;               /* [H, bins] f64 */
    rs_view distance, toeplitz; /* [H] f64 */
    int64_t window;
} rs_op_profile_reduce;

/* out[h, f, b] += 1 for every row t >= first whose z = x[lo] + i x[hi] has its angle in
 * [2 pi b / RS_PHASE_BINS, 2 pi (b + 1) / RS_PHASE_BINS); z = 0 and what is not a number have no angle. Counts: the
 * same on every device. */
enum { RS_PHASE_BINS = 64 };
typedef struct rs_op_phase {
    rs_view x;                          /* [T, H, Dh], strides of rows and heads free */
    rs_view component_lo, component_hi; /* [F] i32 */
    rs_view out;                        /* [H, F, RS_PHASE_BINS] f64, added to */
    int64_t first;                      /* rows left out at the beginning */
} rs_op_phase;

/* Spectra of s[m] = |z| over the n = T - first rows from first on (metrics B2 and M12, ICLR 2026, OpenReview
 * 1JZuEDq62N), both in float64:
 *   power    of frames of W = 2 (B - 1) rows, W / 2 apart, each times a Hann window 1/2 - 1/2 cos(2 pi j / W):
 *            power[h, f, k] += sum over frames of |DFT_k|^2, k = 0 .. W/2 (STFT; the mean is not taken off)
 *   entropy  of the DFT of all n rows, p_k = |DFT_k|^2 / sum over k = 1 .. n/2 (no mean):
 *            entropy[h, f] += { -sum p_k log2 p_k / log2(n/2), 1 }; nothing where the signal does not vary
 * W <= n, and n >= 4. */
typedef struct rs_op_spectrum {
    rs_view x;                          /* [T, H, Dh], strides of rows and heads free */
    rs_view component_lo, component_hi; /* [F] i32 */
    rs_view power;                      /* [H, F, B] f64 */
    rs_view entropy;                    /* [H, F, 2] f64 */
    int64_t first;                      /* rows left out at the beginning */
} rs_op_spectrum;

/* Sum of the scaled logit of a pair over all (query, key) at a distance, exact, in O(T log T):
 *   C[h, f, D] = scale factor[f]^2 sum over t of Re(q[t, h] conj(k[t - D, kv(h)]) e^{i theta[f] D})
 * over t - D >= first, q and k BEFORE rotation; out[h, f, b] += sum of C over start[b] <= D < start[b + 1], the last
 * bin up to T - 1; distances that a window hides add nothing. The cross-correlation is a product of Fourier transforms
 * (float64) with zeros behind the signals, so that nothing wraps around; the rotation by the distance comes after. */
typedef struct rs_op_correlate {
    rs_view q;                          /* [T, H, Dh], strides free */
    rs_view k;                          /* [T, K, Dh], strides free */
    rs_view component_lo, component_hi; /* [F] i32 */
    rs_view theta, factor;              /* [F] f64 */
    rs_view start;                      /* [bins] i32: ascending distances */
    rs_view out;                        /* [H, F, bins] f64, added to */
    int64_t first;                      /* rows left out at the beginning, of q and of k */
    int64_t window;
    double scale;
} rs_op_correlate;

/* What a head does in a task, per head h over the rows of the tile that stand at position t = row0 + r, added; column 0
 * (the sink) is left out of all three. A row counts as one over the number of such rows of the sequence, so that the
 * tiles of a sequence add up to its means.
 *   out[h, RS_SPAN_CONTEXT], [h, RS_SPAN_GOLD]   rows of question and answer: sum of p over the span's columns
 *   out[h, RS_SPAN_COPY]   rows in front of a token of the answer: 1 where the strongest column (the first of equals;
 *                          none where all are 0) lies in the gold span and its token is the one to be produced
 * Spans are not empty, follow as span.h says, and end within T. */
enum { RS_SPAN_CONTEXT, RS_SPAN_GOLD, RS_SPAN_COPY, RS_SPAN_SUMS };
typedef struct rs_op_span_reduce {
    rs_view p;   /* [H, R, C] */
    rs_view ids; /* [T] i32: tokens of the sequence */
    rs_view out; /* [H, RS_SPAN_SUMS] f64, added to */
    int64_t row0, col0;
    rs_task_spans spans;
} rs_op_span_reduce;

typedef struct rs_op {
    rs_op_kind kind;
    union {
        rs_op_widen widen;
        rs_op_norm norm;
        rs_op_matmul matmul;
        rs_op_add add;
        rs_op_gate gate;
        rs_op_rope rope;
        rs_op_scores scores;
        rs_op_mask mask;
        rs_op_softmax softmax;
        rs_op_mix mix;
        rs_op_attend attend;
        rs_op_cross_entropy cross_entropy;
        rs_op_pair_reduce pair_reduce;
        rs_op_logit_sample logit_sample;
        rs_op_pattern_reduce pattern_reduce;
        rs_op_attend_reduce attend_reduce;
        rs_op_profile_reduce profile_reduce;
        rs_op_phase phase;
        rs_op_spectrum spectrum;
        rs_op_correlate correlate;
        rs_op_span_reduce span_reduce;
    } u;
} rs_op;

const char *rs_op_name(rs_op_kind kind);
/* Heads of queries and keys, and of values, so wide that ATTEND can do them. */
bool rs_attend_takes(int64_t head_dim, int64_t v_dim);
/* The views of an op by name, absent ones left out; returns their number. For backends that check bounds or copy. */
enum { RS_OP_ARGUMENTS = 12 };
typedef struct rs_op_argument {
    const char *name; /* "x", "w", ... as in the struct above */
    const rs_view *view;
    bool written;
} rs_op_argument;
int rs_op_arguments(const rs_op *op, rs_op_argument out[RS_OP_ARGUMENTS]);
/* Name of argument i of an op, counted as in its table in op.c (absent ones too); "?" when there is none. */
const char *rs_op_argument_name(rs_op_kind kind, int i);
/* dtype, shape, stride and aliasing of one op; RS_E_INTERNAL naming op, argument, found, expected. */
rs_status rs_op_check(const rs_op *op, rs_error *err);

#endif
