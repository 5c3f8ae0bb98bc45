/* ablate/ablation.h: which edits are tried: experiments as data, and the pairs that each of them edits.
 * A set of pairs is a mask [n_layers, max_heads, max_pairs]; everything that can be tried is a mask and a mode. */
#ifndef RS_ABLATE_ABLATION_H
#define RS_ABLATE_ABLATION_H

#include "analyzer/ablate/ranking.h"
#include "analyzer/forward/run.h"

/* What is done to a pair, of query and key as seen by that query head. */
typedef enum rs_ablate_mode {
    RS_ABLATE_ZERO,     /* its term leaves the logit */
    RS_ABLATE_UNROTATE, /* its angle is zero at every distance */
    RS_ABLATE_SCALE,    /* its term of the logit times a factor */
} rs_ablate_mode;
const char *rs_ablate_mode_name(rs_ablate_mode m);

/* The table of experiments stands in ablation_plan.c; `amount` is in its unit there. */
typedef enum rs_experiment {
    RS_EXPERIMENT_P_ROPE,   /* amount p: the slowest 1 - p of a head's pairs (arXiv 2410.06205) */
    RS_EXPERIMENT_VERDICT,  /* amount v: the pairs that the run gave verdict v (base/verdict_name.h) */
    RS_EXPERIMENT_UTILITY,  /* amount u: the pairs whose utility is below u (arXiv 2502.11276, 5.2: 0.5, there by
                               dimension) */
    RS_EXPERIMENT_BAND,     /* amount b: band b of 8 of equal size, by frequency */
    RS_EXPERIMENT_ENDS,     /* amount n: the first or last n dimensions (arXiv 2502.11276, 5.4), n / 2 pairs */
    RS_EXPERIMENT_FRACTION, /* amount f: share f of a head's pairs, the first ones of a ranking */
    RS_EXPERIMENT_LAYER,    /* amount b: band b in one layer alone */
    RS_EXPERIMENTS
} rs_experiment;
const char *rs_experiment_name(rs_experiment e);
rs_experiment rs_experiment_find(const char *name); /* RS_EXPERIMENTS when there is none */
/* Array [layer, head, pair] of the run by whose values an experiment chooses its pairs ("contribution/verdict"); NULL
 * for those that need none. */
const char *rs_experiment_array(rs_experiment e);

typedef struct rs_ablation {
    rs_experiment experiment;
    rs_ablate_mode mode;
    const rs_ranking *ranking; /* borrowed */
    const rs_array *values;    /* [layer, head, pair] borrowed, of rs_experiment_array; NULL without one */
    double amount;
    int seed;  /* of a random control; -1 otherwise */
    int layer; /* -1: all */
} rs_ablation;

enum { RS_ABLATION_KEY_BYTES = 512 };
/* One line that names it: equal lines are the same edits of the same model ("fraction zero moments/zero_cost 0.2"). */
void rs_ablation_key(const rs_ablation *a, const char *heads, char out[RS_ABLATION_KEY_BYTES]);

typedef struct rs_ablate_choice {
    const bool *experiments; /* [RS_EXPERIMENTS] */
    const bool *modes;       /* [3] */
    const rs_ranking *high, *low, *random;
    const rs_ranking *chosen_by[RS_EXPERIMENTS]; /* its values are rs_experiment_array's; NULL where the experiment
                                                    needs none, or the run has none: then nothing of it is tried */
    const rs_ranking *rankings[3];               /* per mode [n_rankings[mode]]: of growing fractions */
    size_t n_rankings[3];
    const double *fractions; /* [n_fractions] of a head's pairs */
    size_t n_fractions;
    const double *dimensions; /* [n_dimensions] at a head's ends */
    size_t n_dimensions;
    int seeds; /* random controls of each */
} rs_ablate_choice;

/* What is to be tried, the most telling first; free with rs_free. Things that would edit nothing in this model are in
 * the list (their cost is exactly zero). Fails: RS_E_NOMEM. */
rs_status rs_ablation_plan(const rs_ablate_choice *c, const rs_graph *g, rs_ablation **out, size_t *n, rs_error *err);

/* The pairs of an ablation: mask [n_layers, max_heads, max_pairs], zeroed by the caller. heads [n_layers, max_heads]:
 * 1 where a head may be edited, NULL: all. Only pairs on which the edit does something count (to un-rotate: those that
 * rotate), for a control as for a ranking, so that both edit the same number in the same heads. */
rs_status rs_ablation_mask(const rs_ablation *a, const rs_graph *g, const uint8_t *heads, uint8_t *mask, rs_error *err);
int64_t rs_ablation_pairs(const rs_graph *g, const uint8_t *mask);   /* set in the mask */
int rs_ablation_first_layer(const rs_graph *g, const uint8_t *mask); /* with an edited pair; n_layers: none */

/* A mask as edits of a forward pass. */
typedef struct rs_edit_list {
    rs_edit *edits; /* [n]; one per layer and head */
    int n;
    int *numbers; /* what the edits point to */
} rs_edit_list;
rs_status rs_edit_list_create(const rs_graph *g, const uint8_t *mask, rs_ablate_mode mode, double scale,
                              rs_edit_list *out, rs_error *err);
void rs_edit_list_deinit(rs_edit_list *l);

#endif
