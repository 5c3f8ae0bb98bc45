/* probes/stability_finish.c: sums of stability.c -> results. */
#include "probes/stability.h"

#include "analyzer/base/alloc.h"
#include "probes/tally.h"

#include <math.h>
#include <stdio.h>

typedef struct sums {
    int64_t H, window;
    const double *head; /* [H, RS_ST_TERMS] */
} sums;

static double stability(const double *a, const sums *s) {
    (void)s;
    return 1.0 - rs_tally_ratio(a[RS_ST_REVERSAL], a[RS_ST_TRIPLETS]);
}

static double stability_exact(const double *a, const sums *s) {
    (void)s;
    return 1.0 - rs_tally_ratio(a[RS_ST_REVERSAL_EXACT], a[RS_ST_TRIPLETS]);
}

static double ties(const double *a, const sums *s) {
    (void)s;
    return rs_tally_ratio(a[RS_ST_TIES], a[RS_ST_TIES] + a[RS_ST_TRIPLETS]);
}

static double sensitivity(const double *a, const sums *s) {
    (void)s;
    return rs_tally_ratio(a[RS_ST_CHANGE], a[RS_ST_PAIRS]);
}

static double fast(const double *a, const sums *s) {
    (void)s;
    return rs_tally_ratio(a[RS_ST_FAST], a[RS_ST_PAIRS]);
}

/* Sample variance over sequences; rounding may leave one of nothing just below 0. */
static double fast_variance(const double *a, const sums *s) {
    double n = a[RS_ST_TEXTS], mean = rs_tally_ratio(a[RS_ST_FAST_MEAN], n);
    (void)s;
    return n < 2.0 ? (double)NAN : fmax(0.0, (a[RS_ST_FAST_SQUARE] - n * mean * mean) / (n - 1.0));
}

static double window(const double *a, const sums *s) {
    return a[RS_ST_TRIPLETS] + a[RS_ST_TIES] + a[RS_ST_PAIRS] > 0.0 ? (double)s->window : (double)NAN;
}

typedef struct result {
    const char *name, *unit, *text;
    double (*value)(const double *a, const sums *s);
} result;

static const result RESULTS[] = {
    {"semantic_stability", "1",
     "1 - probability that another distance turns a preference between two keys over, Gaussian form", stability},
    {"semantic_stability_exact", "1", "the same, counted over all distances of the window", stability_exact},
    {"ties", "1", "share of triplets without a preference at distance 0, which are left out", ties},
    {"positional_sensitivity", "1",
     "mean |change of the rotary logit| by one token of distance / norm of its coefficients", sensitivity},
    {"fast_share", "1", "norm of the coefficients of pairs with theta W >= 2 / norm of all rotary ones", fast},
    {"fast_share_variance", "1", "sample variance over sequences of their mean fast share", fast_variance},
    {"window", "tokens", "W: number of virtual distances, from 0", window},
};

rs_status rs_stability_finish(const rs_probe_facts *facts, int layer, const rs_arrays *state, rs_arrays *out,
                              rs_error *err) {
    rs_status st = RS_OK;
    const rs_layer *l = &facts->graph->layers[layer];
    double *head = NULL;
    RS_TRY(rs_tally_cells(state, "state/stability/head", l->heads * RS_ST_TERMS, &head, err));
    sums s = {.H = l->heads, .window = rs_stability_window(facts, l), .head = head};
    for (size_t i = 0; i < sizeof RESULTS / sizeof RESULTS[0]; i++) {
        rs_array *a = NULL;
        char name[RS_NAME_BYTES];
        snprintf(name, sizeof name, "stability/%s", RESULTS[i].name);
        RS_TRY(rs_arrays_add(out, &a, err, name, RS_F32, RESULTS[i].unit, RESULTS[i].text, 1, "head", s.H));
        a->count = (int64_t)(head[RS_ST_TRIPLETS] + head[RS_ST_TIES] + head[RS_ST_PAIRS]);
        for (int64_t h = 0; h < s.H; h++) {
            a->data[h] = RESULTS[i].value(head + h * RS_ST_TERMS, &s);
        }
    }
out:
    rs_free(head);
    return st;
}
