/* probes/angular_spectrum.h: private to angular_spectrum.c (gathers) and angular_spectrum_finish.c (derives). */
#ifndef RS_PROBES_ANGULAR_SPECTRUM_H
#define RS_PROBES_ANGULAR_SPECTRUM_H

#include "kernels/op.h"
#include "probes/kinds.h"

/* Spectra and distance curves of every pair are large: two folds, enough for split halves. */
#define RS_ANGULAR_FOLD_AXIS "fold_2"
enum { RS_ANGULAR_FOLDS = 2 };

/* Features of the sums in state/angular_spectrum/q and k, in the order of rs_pair_feature. */
enum {
    RS_A_ABS2,
    RS_A_RE,
    RS_A_IM,
    RS_A_SQ_RE,
    RS_A_SQ_IM,
    RS_A_U_RE,
    RS_A_U_IM,
    RS_A_U2_RE,
    RS_A_U2_IM,
    RS_ANGULAR_FEATURES
};
/* What the op SPECTRUM adds to an entropy: its sum, and over how many sequences. */
enum { RS_A_ENTROPY_SUM, RS_A_ENTROPY_COUNT, RS_ANGULAR_ENTROPIES };

rs_status rs_angular_finish(const rs_probe_facts *facts, int layer, const rs_arrays *state, rs_arrays *out,
                            rs_error *err);

#endif
