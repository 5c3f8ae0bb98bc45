/* probes/position_content.h: private to position_content.c (gathers), position_swaps.c, position_anova.c and
 * position_content_finish.c (derives). */
#ifndef RS_PROBES_POSITION_CONTENT_H
#define RS_PROBES_POSITION_CONTENT_H

#include "probes/sampled_rows.h"

/* Attentions P' to which the real one is compared, from the same q and k. */
enum {
    RS_LEVEL_UNIFORM,  /* every visible key alike: what there is to explain */
    RS_LEVEL_MEANS,    /* mean query and mean key; position 0, a kind of its own, keeps its key */
    RS_LEVEL_FLAT,     /* no pair rotated */
    RS_LEVEL_SHIFT_1,  /* every distance longer by 1 */
    RS_LEVEL_SHIFT_16, /* by 16 */
    RS_LEVEL_MOVED,    /* keys behind position 0 permuted; P' by position */
    RS_LEVEL_FOLLOWED, /* the same, P' by key: wherever it stands now */
    RS_LEVELS
};
enum { RS_LEVEL_KL, RS_LEVEL_TOP, RS_LEVEL_TERMS };

/* Sums of the swap scores over rows, per head (the whole logit) and per pair. */
enum { RS_SWAP_POSITIONAL, RS_SWAP_SYMBOLIC, RS_SWAP_INTERACTION, RS_SWAP_MASS, RS_SWAP_ROWS, RS_SWAP_TERMS };
/* Blocks of keys; swaps exchange two of them. */
enum { RS_SWAP_BLOCKS = 8 };

/* Sums of squares over the sampled logits, without position 0: what each factor explains less what chance explains, and
 * behind these, in the same order, the totals of the sequences that have observations enough to tell. */
enum { RS_ANOVA_DISTANCE, RS_ANOVA_KEY, RS_ANOVA_BOTH, RS_ANOVA_SHARES, RS_ANOVA_TERMS = 2 * RS_ANOVA_SHARES };

/* Doubles of work for T positions. */
int64_t rs_swap_work(int64_t T);
int64_t rs_anova_work(int64_t T);

/* What one row says about swapping blocks of its keys' contents (metrics C1, M8), added to out[RS_SWAP_TERMS], stride
 * apart. score: [n] the row's scores by distance, position 0 not among them; swapped(ctx, first, other, size,
 * out[size]): the scores that distances first.. would have with the contents of distances other... order:
 * [RS_SWAP_BLOCKS] block numbers, exchanged two and two. Nothing is added where n < RS_SWAP_BLOCKS or the row is
 * uniform. */
typedef void rs_swapped_scores(const void *ctx, int64_t first, int64_t other, int64_t size, double *out);
void rs_swap_row(const double *score, int64_t n, rs_swapped_scores *swapped, const void *ctx, const int *order,
                 double *work, double *out, int64_t stride);

/* Two-way analysis of variance (metrics C3) of the logits z[i][D] of n_rows rows, position 0 not among them: row i has
 * keys[i] values by distance and stands at position row[i]; T positions. Adds to out[RS_ANOVA_TERMS]. */
void rs_anova_rows(const double *const *z, const int64_t *keys, const int32_t *row, int64_t n_rows, int64_t T,
                   double *work, double *out);

rs_status rs_position_content_finish(const rs_probe_facts *facts, int layer, const rs_arrays *state, rs_arrays *out,
                                     rs_error *err);

#endif
