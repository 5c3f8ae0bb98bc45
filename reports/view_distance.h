/* reports/view_distance.h: arrays over single distances, reduced to buckets while they are read (one layer at a time:
 * at T = 8,192 the profile of an 8B-shaped model alone is half a gigabyte). */
#ifndef RS_REPORTS_VIEW_DISTANCE_H
#define RS_REPORTS_VIEW_DISTANCE_H

#include "data/store.h"
#include "reports/view.h"

/* Adds to v->derived, where the run has the arrays:
 *   heads/profile, heads/distance_curve [layer, head, distance_bucket]: mean over the bucket
 *   axis/distance_bucket [distance_bucket, 2]: first and last distance of each bucket
 * Buckets: every distance to 16, then four to the octave. */
rs_status rs_view_read_distance(rs_report_view *v, rs_store *s, rs_error *err);

#endif
