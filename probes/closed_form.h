/* probes/closed_form.h: what the moments of queries and keys alone say about logits: pure functions of numbers, no
 * state, no device.
 *
 * Complex pairs before rotation: q, k; distance D = m - n; logit of a pair g2 Re(q conj(k) e^{i theta D}), g2 = softmax
 * scale * factor^2. Everything here is in units of q and k; costs and variances are multiplied by g2^2 by the caller.
 * Independence: q, k and the position are taken as independent, and so are the keys of different positions; that is why
 * a sampled estimate always stands beside (op LOGIT_SAMPLE).
 *
 * Causal attention: a query at position m sees keys 1..m (not the sink, position 0), at most `window` of them, so given
 * m the distance D is uniform on 0..N(m)-1, N(m) = min(m, window). Means over m run over 2..T-1, the rows with two keys
 * or more. All forms below follow from one identity, for g(D) any complex function, (Re(q conj(k) g))^2 = 1/2 |q|^2
 * |k|^2 |g|^2 + 1/2 Re(q^2 conj(k)^2 g^2). */
#ifndef RS_PROBES_CLOSED_FORM_H
#define RS_PROBES_CLOSED_FORM_H

#include <stdint.h>

/* What is done to a pair: the change of its logit is Re(q conj(k) g(D)). */
typedef enum rs_pair_change {
    RS_CHANGE_ZERO,    /* removed: g(D) = e^{i theta D} */
    RS_CHANGE_UNROTATE /* kept, not rotated: g(D) = e^{i theta D} - 1 */
} rs_pair_change;

typedef struct rs_complex {
    double re, im;
} rs_complex;

/* e^{i theta D} - 1, without cancellation at small angles. Walking from a distance to the next costs one complex
 * product; every RS_TURN_STEPS distances, and after a jump, sine and cosine are taken anew, so that the error stays
 * below RS_TURN_STEPS roundings. Begin with {.theta = theta}. */
enum { RS_TURN_STEPS = 64 };
typedef struct rs_turn {
    double theta; /* rad/token */
    int64_t distance;
    rs_complex step, now; /* of one token, of `distance` */
} rs_turn;
rs_complex rs_turn_to(rs_turn *t, int64_t distance);

/* Averages of g over the causal positions. With w_m = mean over D of g(D) given m:
 *   a = E_m E_D|g|^2, b = E_m E_D g^2, wa = E_m |w_m|^2, wb = E_m w_m^2. */
typedef struct rs_causal {
    double a, wa;
    rs_complex b, wb;
} rs_causal;

/* First and second moments of one pair of one head: E z, E|z|^2, E z^2. */
typedef struct rs_pair_moments {
    rs_complex mean, square;
    double abs2;
} rs_pair_moments;

/* O(T) per theta. window 0 = no window. All zero for T < 3 (no row with two keys).
 * theta = 0 gives exactly g = 1 (zeroing) and g = 0 (un-rotating). */
void rs_causal_means(rs_pair_change change, double theta, int64_t positions, int64_t window, rs_causal *out);

/* E of the squared change of the logit:  1/2 E|q|^2 E|k|^2 a + 1/2 Re( E[q^2] conj(E[k^2]) b ). */
double rs_cost_raw(const rs_causal *c, const rs_pair_moments *q, const rs_pair_moments *k);
/* The same after the mean over the visible keys of each query is taken off, since softmax does not see it:
 *   raw - [ 1/2 E|q|^2 |mu_k|^2 wa + 1/2 Re( E[q^2] conj(mu_k)^2 wb ) ].
 * Never negative: the bracket is the mean of a square that raw contains; rounding is cut at 0. */
double rs_cost_centred(const rs_causal *c, const rs_pair_moments *q, const rs_pair_moments *k);

/* Four terms of the centred logit of one pair, q = mu_q + q', k = mu_k + k': variance over the visible keys of
 *   pp  Re(mu_q conj(mu_k) e)  position      pc  Re(mu_q conj(k') e)  key content
 *   cp  Re(q' conj(mu_k) e)    query content cc  Re(q' conj(k') e)    both
 * zero: the means for RS_CHANGE_ZERO. The four add up to rs_cost_centred of zeroing. */
typedef struct rs_four_terms {
    double pp, pc, cp, cc;
} rs_four_terms;
void rs_pair_four_terms(const rs_causal *zero, const rs_pair_moments *q, const rs_pair_moments *k, rs_four_terms *out);

/* Mean over m of the variance over D in 0..N(m)-1 of a curve, for `curves` curves at once: the position term of whole
 * heads, in which pairs interfere. curve(ctx, D, values[curves]) is called for D = 0, 1, ... in order. out: [curves].
 * work: [3 * curves]. O(T) calls. NaN for T < 3. */
void rs_causal_curve_variance(void (*curve)(void *ctx, int64_t distance, double *values), void *ctx, int64_t curves,
                              int64_t positions, int64_t window, double *work, double *out);

/* Mean logit at distance D from the means alone, in units of q and k: Re( mu_q conj(mu_k) e^{i theta D} ), of one pair.
 */
double rs_mean_logit(rs_complex q_mean, rs_complex k_mean, double theta, double distance);

/* Mean resultant length without weights, corrected for chance: sqrt(max(0, (n R^2 - 1)/(n - 1))), R = |sum u| / n.
 * NaN for n < 2. (E R^2 = 1/n for uniform directions; Kutil 2012, "Biased and unbiased estimation of the circular mean
 * resultant length") */
double rs_resultant_unbiased(rs_complex sum, double n);

#endif
