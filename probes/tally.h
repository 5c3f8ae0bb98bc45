/* probes/tally.h: what every probe does with raw sums: declare them and fold them together on the
 * host. Used by the probes only. */
#ifndef RS_PROBES_TALLY_H
#define RS_PROBES_TALLY_H

#include "analyzer/base/array.h"
#include "analyzer/base/status.h"
#include "analyzer/forward/hook.h"
#include "probes/probe.h"

#include <stdint.h>

/* Sets every cell to 0: sums begin there, whereas finished arrays begin as NaN. */
void rs_tally_zero(rs_array *a);
/* Declares "state/<probe>/sequences" [axis: folds]: how many sequences each fold has seen. The runner (probe.c) counts
 * them. */
rs_status rs_tally_declare_sequences(rs_arrays *state, const char *probe, const char *axis, int folds, rs_error *err);

/* Sum of array `name` over its folds first, first+step, ...: *out has the array's cells without the fold axis, *cells
 * of them (cells may be NULL). Free with rs_free. RS_E_MISMATCH when the array is missing. */
rs_status rs_tally_sum(const rs_arrays *state, const char *name, int first, int step, double **out, int64_t *cells,
                       rs_error *err);
/* The same; RS_E_MISMATCH when the array has not `expected` cells. */
rs_status rs_tally_part(const rs_arrays *state, const char *name, int first, int step, int64_t expected, double **out,
                        rs_error *err);
/* The same over all folds; RS_E_MISMATCH when the array has not `expected` cells. */
rs_status rs_tally_cells(const rs_arrays *state, const char *name, int64_t expected, double **out, rs_error *err);
/* The same for one number per fold (sequences). */
rs_status rs_tally_number(const rs_arrays *state, const char *name, double *out, rs_error *err);

/* Bootstrap over sequences: the filled folds drawn anew, with replacement. weight [RS_RESAMPLES, RS_FOLDS]: how often a
 * fold stands in a draw; by the folds that "state/<probe>/sequences" says are filled, so that draw b is of the same
 * sequences in every layer (and in every probe with as many folds). Returns false, and all weights 0, where fewer than
 * two are filled: one says nothing about another. RS_E_MISMATCH when the array is missing or has more folds. */
enum { RS_RESAMPLES = 200 };
rs_status rs_tally_draws(const rs_arrays *state, const char *sequences, int weight[RS_RESAMPLES][RS_FOLDS], bool *drawn,
                         rs_error *err);

/* a / b; NaN when b is 0: a mean over nothing has no value. */
double rs_tally_ratio(double a, double b);
/* Pearson correlation of a and b [n] over the entries where both are finite; NaN when fewer than 2 or when one does not
 * vary. */
double rs_tally_correlation(const double *a, const double *b, int64_t n);

#endif
