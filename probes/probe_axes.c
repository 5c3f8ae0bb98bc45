/* probes/probe_axes.c: the axes whose points have values of their own, for whoever stores the arrays. */
#include "probes/axis.h"
#include "probes/probe.h"

typedef struct valued_axis {
    const char *name, *text;
    int64_t (*points)(int64_t positions, double *out);
} valued_axis;

static const valued_axis AXES[] = {
    {"distance", "query position minus key position; a point stands for itself up to the next", rs_distance_axis},
    {"bucket", "first position of the bucket; it ends before the next one's", rs_bucket_axis},
    {"profile_distance", "as distance, finer: the bins of raw attention profiles", rs_profile_axis},
};

rs_status rs_probe_axes(const rs_probe_facts *facts, rs_arrays *out, rs_error *err) {
    rs_status st = RS_OK;
    for (size_t i = 0; i < sizeof AXES / sizeof AXES[0]; i++) {
        rs_array *a = NULL;
        int64_t n = AXES[i].points(facts->positions, NULL);
        RS_TRY(rs_arrays_add(out, &a, err, AXES[i].name, RS_F64, "tokens", AXES[i].text, 1, AXES[i].name, n));
        AXES[i].points(facts->positions, a->data);
    }
out:
    return st;
}
