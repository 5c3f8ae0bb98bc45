/* probes/attention_pattern.h: private to attention_pattern.c (gathers), attention_repeats.c (which rows have an earlier
 * copy of their token) and attention_finish.c (derives). */
#ifndef RS_PROBES_ATTENTION_PATTERN_H
#define RS_PROBES_ATTENTION_PATTERN_H

#include "probes/kinds.h"

/* Two folds are enough for split halves; profile and map are large. Their axis has a name of its own: probe.h. */
#define RS_PATTERN_FOLD_AXIS "fold_2"
enum { RS_PATTERN_FOLDS = 2, RS_MAP_BLOCKS = 32 };
enum { RS_LIST_DUPLICATE, RS_LIST_INDUCTION, RS_LISTS };

/* Rows with at least one column that counts for DUPLICATE and for INDUCTION (kernels/op.h, RS_OP_PATTERN_REDUCE). */
typedef struct rs_token_repeats {
    int64_t positions, vocab;
    int32_t *last; /* [vocab] latest position of each token, -1 = none; all -1 between calls */
} rs_token_repeats;

/* Zero-initialise and free with rs_token_repeats_deinit. */
rs_status rs_token_repeats_init(rs_token_repeats *r, int64_t positions, int64_t vocab, rs_error *err);
/* Of one sequence. ids: [positions]. RS_E_INTERNAL for a token outside the vocabulary. */
rs_status rs_token_repeats_count(rs_token_repeats *r, const int32_t *ids, double rows[RS_LISTS], rs_error *err);
void rs_token_repeats_deinit(rs_token_repeats *r);

rs_status rs_pattern_finish(const rs_probe_facts *facts, int layer, const rs_arrays *state, rs_arrays *out,
                            rs_error *err);

#endif
