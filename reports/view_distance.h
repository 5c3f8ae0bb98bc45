/* reports/view_distance.h: arrays over single distances, reduced to buckets while they are read (one layer at a time:
 * at T = 8,192 the profile of an 8B-shaped model alone is half a gigabyte). */
#ifndef RS_REPORTS_VIEW_DISTANCE_H
#define RS_REPORTS_VIEW_DISTANCE_H

#include "data/store.h"
#include "reports/view.h"

/* Adds to v->derived, where the run has the arrays:
 *   heads/profile, heads/distance_curve, heads/mean_logit [layer, head, distance_bucket]: mean over the bucket
 *   heads/pair_logit [layer, head, pair_band, distance_band]: the parts of pairs in mean_logit, summed over bands of
 *     neighbouring pairs (pair p of F in band p * bands / F), RS_LOGIT_BANDS of them, half
 *     as many where rs_view_halved says so, or as many as there are pairs
 *   axis/distance_bucket, axis/distance_band [., 2]: first and last distance of each
 * Buckets: every distance to 16, then four to the octave; bands: every distance to 4, then two to the octave. */
enum { RS_LOGIT_BANDS = 16 };
rs_status rs_view_read_distance(rs_report_view *v, rs_store *s, rs_error *err);

#endif
