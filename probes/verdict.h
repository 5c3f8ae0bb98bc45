/* probes/verdict.h: what a rotary pair of a head is for, as one rule over three numbers: what happens to the head's
 * attention when the pair is removed and when it is no longer rotated. The numbers are divergences KL(P || P') in nats,
 * means over sampled query rows, made by the contribution probe on the model's own queries and keys: interventions on
 * the attention, not correlations. Whether a change of attention reaches the loss is what `ropescope ablate` measures.
 *
 * Removing a pair changes how attention is shared between position 0 (the sink) and the rest, and how it is shared
 * among the rest. By the chain rule of the divergence the two add up: with p0 = P(position 0), KL(P || P') = KL( (p0, 1
 * - p0) || (p0', 1 - p0') ) + (1 - p0) KL( P given the rest || P' given the rest ). */
#ifndef RS_PROBES_VERDICT_H
#define RS_PROBES_VERDICT_H

#include "analyzer/base/verdict_name.h"

/* Divergences in nats, lift in units of the logit; NaN where there is none. c: the pair's part of the logit. */
typedef struct rs_verdict_numbers {
    double zero;     /* of removing the pair */
    double rest;     /* of that, the part among keys other than position 0: the second term above */
    double unrotate; /* of setting its frequency to 0 */
    double lift;     /* mean of c under the attention less that under a uniform reader of the same keys */
    double spread;   /* variance of c over the visible keys */
} rs_verdict_numbers;

/* The rule, in this order:
 *   idle         zero < RS_IDLE_NATS and |lift| < RS_IDLE_LIFT
 *   undecided    |lift| < RS_ACTS_LIFT and |lift| < RS_ACTS_TOGETHER spread
 *   bias         rest < RS_VERDICT_LITTLE zero
 *   semantic     unrotate <= RS_VERDICT_LITTLE zero
 *   positional   unrotate >= RS_VERDICT_MUCH zero
 *   undecided    otherwise, and where a number is missing.
 * A divergence of 0.01 nats moves at most 7 % of a row's attention (Pinsker: total variation <= sqrt(KL / 2)). The lift
 * is asked for because of heads so sharp that any one of their pairs can go: there removing one changes nothing and
 * removing all changes everything, and what tells such a pair from an idle one is that it pulls at the keys that are
 * attended to (0.1: by 10 % of their odds against an average key). A pair that pulls by itself at random has a lift of
 * about its spread: to first order the lift is the covariance of c and the whole logit over the keys, of which the
 * variance of c is what is there without any other pair. A pair acts when it pulls with the others (three times its
 * spread), or strongly (1: the odds by a factor of e). */
#define RS_IDLE_NATS 0.01
#define RS_IDLE_LIFT 0.1
#define RS_ACTS_LIFT 1.0
#define RS_ACTS_TOGETHER 3.0
#define RS_VERDICT_LITTLE 0.2
#define RS_VERDICT_MUCH 0.5
rs_verdict rs_verdict_of(const rs_verdict_numbers *n);

#endif
