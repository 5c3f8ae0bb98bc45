/* probes/contribution.h: private to contribution.c (gathers) and contribution_finish.c (derives). */
#ifndef RS_PROBES_CONTRIBUTION_H
#define RS_PROBES_CONTRIBUTION_H

#include "probes/kinds.h"

/* Sums over sampled rows, per head and pair. c: the pair's part of the logit; P: the attention; U: a uniform reader of
 * the same keys; slope: ds/dz of the soft-cap (1 without one). */
enum {
    RS_C_LIFT,         /* E_P c - E_U c */
    RS_C_SPREAD,       /* Var_U c */
    RS_C_VARIANCE,     /* Var_P c */
    RS_C_SLOPED,       /* Var_P (slope c) */
    RS_C_THIRD,        /* third central moment of slope c under P */
    RS_C_TURN,         /* Var_P (slope (flat - c)) */
    RS_C_KL_SCALE,     /* KL(P || P') of scaling the pair by 1 + RS_SCALE_STEP */
    RS_C_KL_ZERO,      /* of removing it */
    RS_C_KL_REST,      /* of that, the part among the keys other than position 0 (verdict.h) */
    RS_C_KL_UNROTATE,  /* of un-rotating it */
    RS_C_TOP_FIXED,    /* |TopK(logit) and TopK(c)| / K with K = RS_TOP_FIXED, over rows that have more keys */
    RS_C_TOP_SHARE,    /* with K = a RS_TOP_PART-th of the visible keys */
    RS_C_SINK,         /* c at position 0 */
    RS_C_SINK_CENTRED, /* minus its mean over the other visible keys */
    RS_C_SELF,         /* c at distance 0: the token's own key */
    RS_C_PREVIOUS,     /* c at distance 1, where the key before is visible */
    RS_C_SELF_BOUND,   /* g |q| |k| of the same keys, which |c| cannot exceed */
    RS_C_PREVIOUS_BOUND,
    RS_C_TERMS
};
/* Per head: the bound of the whole logit, |q| |k| with all pairs weighed by g, at distances 0 and 1. */
enum { RS_CH_SELF_BOUND, RS_CH_PREVIOUS_BOUND, RS_CH_TERMS };
/* The same for every head: numbers of rows, and what agreement chance would give. */
enum { RS_CR_ROWS, RS_CR_FIXED, RS_CR_FIXED_CHANCE, RS_CR_SHARE, RS_CR_SHARE_CHANCE, RS_CR_SINK, RS_CR_TERMS };

enum { RS_TOP_FIXED = 256, RS_TOP_PART = 20 }; /* FASA's K; 5 % */
static const double RS_SCALE_STEP = -0.1;

rs_status rs_contribution_finish(const rs_probe_facts *facts, int layer, const rs_arrays *state, rs_arrays *out,
                                 rs_error *err);

#endif
