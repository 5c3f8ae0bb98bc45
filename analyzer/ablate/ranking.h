/* ablate/ranking.h: in which order the pairs of a head are given up. A ranking is a rule over frequencies (MHA2MLA,
 * arXiv 2502.14837: the r pairs that are kept), chance, or any array [layer, head, pair] of a run: new measurements
 * become rankings by their name. */
#ifndef RS_ABLATE_RANKING_H
#define RS_ABLATE_RANKING_H

#include "analyzer/base/array.h"
#include "analyzer/base/status.h"
#include "analyzer/model/graph.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum rs_ranking_rule {
    RS_RANK_HIGH,    /* S_high = {0 <= k < r} is kept: the slowest pairs go first */
    RS_RANK_LOW,     /* S_low = {n - r <= k < n} is kept: the fastest go first */
    RS_RANK_UNIFORM, /* {floor(k n / r) : 0 <= k < r} is kept, r the number that is left */
    RS_RANK_RANDOM,  /* by a seed, the layer and the head alone */
    RS_RANK_VALUES,  /* the smallest values go first (ties: the faster pair first; NaN: last) */
} rs_ranking_rule;

enum { RS_RANKING_NAME_BYTES = RS_NAME_BYTES + 2 };

typedef struct rs_ranking {
    char name[RS_RANKING_NAME_BYTES]; /* "high", "low", "uniform", "random", "moments/zero_cost", "-moments/..." */
    rs_ranking_rule rule;
    const rs_array *values; /* [layer, head, pair], borrowed; RS_RANK_VALUES alone */
    bool largest_first;     /* the name began with '-' */
    bool by_group;          /* values are summed over the query heads of a key head: these give up the same pairs */
} rs_ranking;

/* The rule of a word, RS_RANK_VALUES for all others (then a path of an array, '-' in front for largest first). */
rs_ranking_rule rs_ranking_rule_of(const char *name);
/* Are these values [n_layers, max_heads, max_pairs]? RS_E_USAGE with what was found. */
rs_status rs_ranking_check(const rs_array *values, const rs_graph *g, rs_error *err);
/* Sets chosen[pair] = 1 for `count` of the pairs open [n_open] (ascending) of a head; count <= n_open. chosen is
 * [n_pairs]. Fails: RS_E_NOMEM. */
rs_status rs_ranking_choose(const rs_ranking *r, const rs_graph *g, int layer, int head, const int *open, int n_open,
                            int count, uint64_t seed, uint8_t *chosen, rs_error *err);

#endif
