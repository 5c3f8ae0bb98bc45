/* model/rope_theorems.h: the statements of "Round and Round We Go! What makes Rotary Positional Encodings useful?"
 * (Barbero et al., ICLR 2025, arXiv 2410.06205) tried out on a rotary table, with the heads that its proofs construct.
 * Pure arithmetic in float64 on frequencies; knows no weights. Called by analyzer/cli/check_theorems.c.
 *
 * Throughout, pairs are complex numbers, and the logit of a query for a key D tokens back is
 *   z(D) = sum_f Re( q_f conj(k_f) e^{i theta_f D} ),   theta = 0 for a pair that does not turn. */
#ifndef RS_MODEL_ROPE_THEOREMS_H
#define RS_MODEL_ROPE_THEOREMS_H

#include "analyzer/base/status.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct rs_theorem {
    const char *name;  /* "Proposition 3.1" */
    const char *claim; /* in words */
    char found[240];   /* what was tried and what came out */
    bool applies;      /* to this table: most need a pair that turns */
    bool holds;        /* what came out is what the statement says */
} rs_theorem;

enum { RS_THEOREMS = 6 };

/* theta [n_pairs] rad/token, fastest first, 0 = not rotated; context: distances 0..context-1 are looked at, from 8 to
 * 65,536. Same seed, same draws. Fails: RS_E_NOMEM. */
rs_status rs_rope_theorems(const double *theta, int n_pairs, int64_t context, uint64_t seed,
                           rs_theorem out[RS_THEOREMS], rs_error *err);

/* z(D) of one query and key [n_pairs] real and imaginary parts interleaved. */
double rs_rope_logit(const double *theta, int n_pairs, const double *q, const double *k, double distance);
/* Smallest |psi|^2 with which the head q = psi, k = R^shift psi (all its pairs alike) gives more than `share` of the
 * attention of every row to the key `shift` back, within `context` positions (theorem 5.3; shift 0: diagonal, 1:
 * previous token). INFINITY when no strength does: some other key is level. Fails: RS_E_NOMEM. */
rs_status rs_rope_strength(const double *theta, int n_pairs, int64_t context, int shift, double share, double *out,
                           rs_error *err);
/* First distance at which a head of one pair prefers the opposite of its target to the target (theorem 6.1's swap): a
 * quarter of the wavelength. INFINITY for theta = 0. */
double rs_rope_reversal(double theta);

#endif
