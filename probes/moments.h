/* probes/moments.h: private to moments.c (gathers) and moments_finish.c (derives); tests ask for the sampled rows. */
#ifndef RS_PROBES_MOMENTS_H
#define RS_PROBES_MOMENTS_H

#include "probes/kinds.h"

/* Features of the sums in state/moments/q and k, in the order of rs_pair_feature. */
enum { RS_M_ABS, RS_M_ABS2, RS_M_RE, RS_M_IM, RS_M_SQ_RE, RS_M_SQ_IM, RS_M_U_RE, RS_M_U_IM, RS_MOMENT_FEATURES };

/* Query rows sampled per sequence: enough that a few sequences give each cost to some percent, few enough that an audit
 * stays close to a plain forward pass (the sample costs rows * T * pairs, the forward pass about T * T * pairs and the
 * products). */
enum { RS_SAMPLE_ROWS = 32 };

/* The rows of a sequence: positions >= 2, ascending, one drawn from each of RS_SAMPLE_ROWS equal stretches (all of them
 * when T is short). Depends on seed and tokens only, so shards of a run sample what the whole run would. rows:
 * [RS_SAMPLE_ROWS]. Returns how many (0 for T < 3). */
int64_t rs_moments_rows(uint64_t seed, const int32_t *ids, int64_t positions, int32_t *rows);

/* Seed of whatever is drawn for one sequence: from the run's seed and the tokens [positions], and nothing else. */
uint64_t rs_moments_seed(uint64_t seed, const int32_t *ids, int64_t positions);

rs_status rs_moments_finish(const rs_probe_facts *facts, int layer, const rs_arrays *state, rs_arrays *out,
                            rs_error *err);

#endif
