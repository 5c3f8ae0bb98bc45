/* probes/axis.h: the two axes of finished arrays that are not simply counted: distances between query and key, and
 * positions. Pure functions of the sequence length; the store's axis values and the probes' bins come from here and
 * agree. */
#ifndef RS_PROBES_AXIS_H
#define RS_PROBES_AXIS_H

#include <stdint.h>

enum { RS_DISTANCE_POINTS = 512, RS_DISTANCE_DENSE = 257 }; /* most points; distances 0..256 have a point each */
enum { RS_PROFILE_POINTS = 3072, RS_PROFILE_DENSE = 2049 }; /* the same for raw state: exact up to 2,048 tokens */
enum { RS_BUCKETS_MOST = 32 };

/* Axis `distance` for sequences of T positions: 0..256, then spaced evenly in the logarithm up to T - 1, strictly
 * ascending. A point stands for the distances from itself up to the next point (bins), the last one for itself up to T
 * - 1. out: room for RS_DISTANCE_POINTS, or NULL to ask for the number only. Returns the number of points (0 for T <
 * 1). */
int64_t rs_distance_axis(int64_t positions, double *out);
/* The finer axis on which attention profiles are summed. out: room for RS_PROFILE_POINTS, or NULL. */
int64_t rs_profile_axis(int64_t positions, double *out);
/* Axis `bucket`: first position of each bucket of positions, 1, 4, 16, 64, ... < T (position 0 is the sink and in no
 * bucket). out: room for RS_BUCKETS_MOST, or NULL. Returns the number of buckets (0 for T < 2). */
int64_t rs_bucket_axis(int64_t positions, double *out);
/* Index of the last axis point that is <= value, -1 when there is none. axis: [n] ascending. */
int64_t rs_axis_find(const double *axis, int64_t n, double value);

#endif
