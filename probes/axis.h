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
/* Axis `spectrum_bin`: frequencies k / W, k = 0 .. W/2, in turns per token, of frames of W positions: 1,024 where there
 * are as many behind the sink, else the largest power of two <= T/2. out: room for RS_SPECTRUM_BINS, or NULL. Returns
 * W/2 + 1. Sequences shorter than RS_SPECTRUM_POSITIONS have no frame; the axis is that of the shortest then. */
enum { RS_SPECTRUM_FRAME = 1024, RS_SPECTRUM_BINS = RS_SPECTRUM_FRAME / 2 + 1, RS_SPECTRUM_POSITIONS = 5 };
int64_t rs_spectrum_axis(int64_t positions, double *out);
/* Axis `phase_bin`: lower edges of RS_PHASE_BINS equal bins of the angle, in radians from 0. The same for every T. */
int64_t rs_phase_axis(int64_t positions, double *out);
/* Index of the last axis point that is <= value, -1 when there is none. axis: [n] ascending. */
int64_t rs_axis_find(const double *axis, int64_t n, double value);

#endif
