#include "probes/axis.h"
#include "probes/probe.h"

#include <string.h>

static rs_status add_axis(rs_arrays *out, const char *name, const char *unit, const char *text, const double *values,
                          int64_t n, rs_error *err) {
    rs_array *a = NULL;
    rs_status st = rs_arrays_add(out, &a, err, name, RS_F64, unit, text, 1, name, n);
    if (st == RS_OK) {
        memcpy(a->data, values, (size_t)n * sizeof *values);
    }
    return st;
}

rs_status rs_probe_axes(const rs_probe_facts *facts, rs_arrays *out, rs_error *err) {
    rs_status st = RS_OK;
    double distance[RS_DISTANCE_POINTS], bucket[RS_BUCKETS_MOST];
    int64_t distances = rs_distance_axis(facts->positions, distance), buckets = rs_bucket_axis(facts->positions, bucket);
    RS_TRY(add_axis(out, "distance", "tokens", "query position minus key position; a point stands for itself up to the next",
                    distance, distances, err));
    RS_TRY(add_axis(out, "bucket", "tokens", "first position of the bucket; it ends before the next one's", bucket, buckets,
                    err));
out:
    return st;
}
