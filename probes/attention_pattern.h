/* probes/attention_pattern.h: private to attention_pattern.c (gathers), attention_lists.c (which columns repeat a
 * token) and attention_finish.c (derives); tests ask for the lists. */
#ifndef RS_PROBES_ATTENTION_PATTERN_H
#define RS_PROBES_ATTENTION_PATTERN_H

#include "probes/kinds.h"

/* Two folds are enough for split halves; profile and map are large. Their axis has a name of its own: probe.h. */
#define RS_PATTERN_FOLD_AXIS "fold_2"
enum { RS_PATTERN_FOLDS = 2, RS_MAP_BLOCKS = 32 };
enum { RS_LIST_DUPLICATE, RS_LIST_INDUCTION, RS_LISTS };
/* Most entries of one list: rows of long sequences keep their latest RS_LIST_MOST / T columns. Whole up to T = 4,096.
 */
enum { RS_LIST_MOST = 1 << 24 };

/* Columns of interest of every query row, as compressed rows: entries start[t] .. start[t+1]-1 of column, ascending.
 *   duplicate  earlier positions of the token at t             (Olsson et al. 2022: duplicate-token heads)
 *   induction  positions behind those, c + 1 < t               (the token that followed last time)
 * The sink's column 0 is in neither list. */
typedef struct rs_token_list {
    int32_t *start;  /* [T + 1] */
    int32_t *column; /* [start[T]], room for `room` */
    int64_t room;
    int64_t rows; /* rows with at least one column */
} rs_token_list;

typedef struct rs_token_lists {
    int64_t positions, vocab;
    int32_t *last;   /* [vocab] latest position of each token, -1 = none; all -1 between calls */
    int32_t *before; /* [T] previous position of the same token, -1 = none */
    rs_token_list list[RS_LISTS];
} rs_token_lists;

/* Zero-initialise and free with rs_token_lists_deinit. */
rs_status rs_token_lists_init(rs_token_lists *l, int64_t positions, int64_t vocab, rs_error *err);
/* Lists of one sequence. ids: [T]. RS_E_INTERNAL for a token outside the vocabulary. */
rs_status rs_token_lists_build(rs_token_lists *l, const int32_t *ids, rs_error *err);
void rs_token_lists_deinit(rs_token_lists *l);

rs_status rs_pattern_finish(const rs_probe_facts *facts, int layer, const rs_arrays *state, rs_arrays *out,
                            rs_error *err);

#endif
