/* reports/rank.h: correlation of ranks. */
#ifndef RS_REPORTS_RANK_H
#define RS_REPORTS_RANK_H

#include "analyzer/base/status.h"

#include <stdint.h>

/* Spearman's correlation of x [n] and y [n]: Pearson's of their ranks, ties share theirs. Numbers must be finite. *out
 * is NaN where one of them does not vary. Fails: RS_E_NOMEM. */
rs_status rs_rank_correlation(const double *x, const double *y, int64_t n, double *out, rs_error *err);

#endif
