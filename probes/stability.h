/* probes/stability.h: private to stability.c (gathers), stability_cells.c (measures) and stability_finish.c (derives).
 */
#ifndef RS_PROBES_STABILITY_H
#define RS_PROBES_STABILITY_H

#include "probes/sampled_rows.h"

/* Sums over cells, per head. A cell is a query with one key (pair) or with two (triplet). */
enum {
    RS_ST_REVERSAL,       /* P(reversal), Gaussian form */
    RS_ST_REVERSAL_EXACT, /* fraction of distances at which the other key is preferred */
    RS_ST_TRIPLETS,       /* triplets with a preference at distance 0 */
    RS_ST_TIES,           /* triplets without */
    RS_ST_CHANGE,         /* mean |step of the logit| / coefficient norm */
    RS_ST_FAST,           /* r_H */
    RS_ST_PAIRS,          /* pairs with a rotary coefficient */
    RS_ST_FAST_MEAN,      /* sums over sequences: mean r_H of the sequence, its square, sequences that have one */
    RS_ST_FAST_SQUARE,
    RS_ST_TEXTS,
    RS_ST_TERMS
};

/* Keys drawn for each sampled row: this many pairs, half as many triplets. */
enum { RS_ST_KEYS = 4 };

/* Window of virtual distances: the layer's window, or the trained context where it has none, at most T. */
int64_t rs_stability_window(const rs_probe_facts *facts, const rs_layer *l);

/* What depends on the layer's frequencies alone. Rotary pairs: theta > 0; all others are the tail. */
typedef struct rs_stability_tables {
    int64_t F, window;
    const double *theta; /* [F] */
    double *mean;        /* [2, F] m(theta_f) */
    double *minus;       /* [2, F, F] C- */
    double *plus;        /* [2, F, F] C+ */
} rs_stability_tables;

/* Fills mean, minus and plus, which stand there. */
void rs_stability_prepare(rs_stability_tables *t);

/* Coefficients c_f = g_f q_f conj(k_f), [2, F], of the rotary pairs (0 in the others), and the tail: what the others
 * add to the logit at any distance. cos, sin: [F, stride] of theta_f D, D = 0..window-1. line: [window] work. */
typedef struct rs_coefficients {
    double *c;
    double tail;
} rs_coefficients;
/* A triplet (metrics M31): c and tail are differences of two keys'. Adds to out[RS_ST_TERMS]. */
void rs_stability_triplet(const rs_stability_tables *t, const rs_coefficients *x, const double *cos, const double *sin,
                          int64_t stride, double *line, double *out);
/* A pair (M32, M33). Leaves the coefficients of its step in x->c. */
void rs_stability_pair(const rs_stability_tables *t, const rs_coefficients *x, const double *cos, const double *sin,
                       int64_t stride, double *line, double *out);

rs_status rs_stability_finish(const rs_probe_facts *facts, int layer, const rs_arrays *state, rs_arrays *out,
                              rs_error *err);

#endif
