/* probes/probe_axes.c: the axes whose points have values of their own, for whoever stores the arrays. */
#include "probes/axis.h"
#include "probes/probe.h"

typedef struct valued_axis {
    const char *name, *unit, *text;
    int64_t (*points)(int64_t positions, double *out);
} valued_axis;

static const valued_axis AXES[] = {
    {"distance", "tokens", "query position minus key position; a point stands for itself up to the next",
     rs_distance_axis},
    {"bucket", "tokens", "first position of the bucket; it ends before the next one's", rs_bucket_axis},
    {"profile_distance", "tokens", "as distance, finer: the bins of raw attention profiles", rs_profile_axis},
    {"spectrum_bin", "1/token", "turns per token: bin k of a frame of W positions stands for k / W", rs_spectrum_axis},
    {"phase_bin", "rad", "lower edge of a bin of the angle of a pair", rs_phase_axis},
};

rs_status rs_probe_axes(const rs_probe_facts *facts, rs_arrays *out, rs_error *err) {
    rs_status st = RS_OK;
    for (size_t i = 0; i < sizeof AXES / sizeof AXES[0]; i++) {
        rs_array *a = NULL;
        int64_t n = AXES[i].points(facts->positions, NULL);
        RS_TRY(rs_arrays_add(out, &a, err, AXES[i].name, RS_F64, AXES[i].unit, AXES[i].text, 1, AXES[i].name, n));
        AXES[i].points(facts->positions, a->data);
    }
out:
    return st;
}
