/* probes/kinds.h: the measurements of this folder, one per file; probe.c lists them. A new probe is a file, a line here
 * and a line there. */
#ifndef RS_PROBES_KINDS_H
#define RS_PROBES_KINDS_H

#include "probes/probe.h"

extern const rs_probe_kind rs_frequency_norm;    /* frequency_norm.c */
extern const rs_probe_kind rs_moments;           /* moments.c */
extern const rs_probe_kind rs_attention_pattern; /* attention_pattern.c */
extern const rs_probe_kind rs_angular_spectrum;  /* angular_spectrum.c */
extern const rs_probe_kind rs_contribution;      /* contribution.c */
extern const rs_probe_kind rs_position_content;  /* position_content.c */
extern const rs_probe_kind rs_stability;         /* stability.c */
extern const rs_probe_kind rs_utility;           /* utility.c */
extern const rs_probe_kind rs_retrieval;         /* retrieval.c */

#endif
