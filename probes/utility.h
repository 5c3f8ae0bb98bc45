/* probes/utility.h: private to utility.c (gathers), utility_mask.c (solves) and utility_finish.c (derives). */
#ifndef RS_PROBES_UTILITY_H
#define RS_PROBES_UTILITY_H

#include "probes/kinds.h"
#include "probes/sampled_rows.h"

/* What is kept of a sequence, per head: the mask [2 F] (first and second components of the pairs), sums of these, and
 * beside the mask the cheap stand-in of the same paper, sum |w| of the component's row of W_q [2 F]. */
enum {
    RS_UT_OBJECTIVE, /* at the mask found; 1 at u = 1 */
    RS_UT_ERROR,     /* mean squared change of the output */
    RS_UT_POWER,     /* mean squared output */
    RS_UT_STEPS,     /* gradient steps taken */
    RS_UT_RESIDUAL,  /* largest entry of u - clip(u - gradient / alpha): 0 at a stationary point */
    RS_UT_SEQUENCES, /* solved */
    RS_UT_WEIGHTS,   /* those of them with a look at W_q */
    RS_UT_TERMS
};
enum { RS_UT_MOST_STEPS = 60 };
static const double RS_UT_ENOUGH = 1e-3; /* residual at which a mask is taken */

/* A head on the sampled rows of one sequence. D = 2 F components of query and key as they enter the product. */
typedef struct rs_utility_head {
    int64_t n_rows, D, Dv, T;
    double cap;           /* soft-cap of the scores; 0: none */
    const int64_t *first; /* [n_rows] first visible position of each row */
    const int64_t *keys;  /* [n_rows] visible keys */
    const double *q;      /* [n_rows, D] rotated, times the softmax scale */
    const double *k;      /* [D, T] rotated; position n stands at n */
    const double *v;      /* [Dv, T] */
    double *wanted;       /* [n_rows, Dv] outputs without a mask (rs_utility_outputs) */
    double *lines;        /* [3 T + 2 Dv] work */
} rs_utility_head;

typedef struct rs_utility_report {
    double objective, error, power, residual;
    int steps;
} rs_utility_report;

/* Fills h->wanted: Attn(q, K, V) of each row; the mean of its squared length. */
double rs_utility_outputs(const rs_utility_head *h);
/* arXiv 2502.11276, equation 4, with alpha = 1 / D:
 *   J(u) = mean over rows of | Attn(q) - Attn(q * u) |^2  +  |u|_1 / D
 * u [D] in [0, 1]; gradient [D] or NULL; *error: the first term. */
double rs_utility_objective(const rs_utility_head *h, const double *u, double *gradient, double *error);
/* Minimises J over the box by the spectral projected gradient from u = 1 (Birgin, Martinez and Raydan, SIAM J. Optim.
 * 10, 2000: Barzilai-Borwein lengths, a line search that compares with the largest of the last five values), scaled by
 * the curvature along each component, until the residual is below RS_UT_ENOUGH, at most RS_UT_MOST_STEPS. Plain steps
 * are not enough: components that do nothing have a gradient of 1 / D and no curvature, those a sharp head needs have
 * much of it. u [D] out; work [5 D]. */
rs_utility_report rs_utility_solve(const rs_utility_head *h, double *u, double *work);

rs_status rs_utility_finish(const rs_probe_facts *facts, int layer, const rs_arrays *state, rs_arrays *out,
                            rs_error *err);

#endif
