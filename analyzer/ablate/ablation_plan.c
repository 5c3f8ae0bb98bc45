#include "analyzer/ablate/ablation.h"

#include "analyzer/base/alloc.h"
#include "analyzer/base/band.h"
#include "analyzer/base/verdict_name.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const mode_names[] = {"zero", "unrotate", "scale"};
enum { MODES = sizeof mode_names / sizeof *mode_names };

const char *rs_ablate_mode_name(rs_ablate_mode m) { return mode_names[m]; }

/* How many of a head's pairs an amount means. P: pairs, open: of these, the ones that can be edited. */
typedef int amount_rule(double amount, int P, int open);

static int least(int a, int b) { return a < b ? a : b; }
static int count_fraction(double f, int P, int open) { return least((int)floor(f * P + 0.5), open); }
static int count_dimensions(double n, int P, int open) {
    (void)P;
    return least((int)(n / 2), open);
}
/* floor(p P) pairs keep turning; pairs that never turned are among those that do not. The slack is for p such as 0.9,
 * which lie a hair below. */
static int count_p_rope(double p, int P, int open) {
    int kept = (int)floor(p * P + 1e-9);
    return open > kept ? open - kept : 0;
}
static int count_band(double b, int P, int open) {
    return least(rs_band_begin((int)b + 1, P) - rs_band_begin((int)b, P), open);
}

/* Is a pair with this value of the run meant by an amount? False for NaN. */
typedef bool value_rule(double value, double amount);

static bool is_verdict(double value, double amount) { return fabs(value - amount) < 0.5; }
static bool is_below(double value, double amount) { return value < amount; }

typedef struct experiment {
    const char *name;
    const double *amounts; /* [n]; NULL: the choice's */
    size_t n;
    amount_rule *count; /* how many pairs; NULL: those whose value is meant */
    const char *array;  /* [layer, head, pair] of the run; NULL with count */
    value_rule *meant;  /* of a value of it */
    unsigned modes;     /* bits of modes that make sense */
    bool band;          /* the amount is a place, not a number of pairs */
    bool per_layer;
} experiment;

static const double p_amounts[] = {0.9, 0.75, 0.5, 0.25, 0};
static const double band_amounts[RS_BANDS] = {0, 1, 2, 3, 4, 5, 6, 7};
static const double verdict_amounts[] = {RS_VERDICT_IDLE, RS_VERDICT_SEMANTIC, RS_VERDICT_POSITIONAL, RS_VERDICT_BIAS};
static const double utility_amounts[] = {0.5};
#define AMOUNTS(a) a, sizeof(a) / sizeof *(a)

enum { ZERO_ALONE = 1U << RS_ABLATE_ZERO, UNROTATE_ALONE = 1U << RS_ABLATE_UNROTATE, ALL_MODES = (1U << MODES) - 1 };
static const experiment experiments[RS_EXPERIMENTS] = {
    [RS_EXPERIMENT_P_ROPE] = {"p-rope", AMOUNTS(p_amounts), .count = count_p_rope, .modes = UNROTATE_ALONE},
    [RS_EXPERIMENT_VERDICT] = {"verdict", AMOUNTS(verdict_amounts), .array = "contribution/verdict",
                               .meant = is_verdict, .modes = ALL_MODES},
    [RS_EXPERIMENT_UTILITY] = {"utility", AMOUNTS(utility_amounts), .array = "utility/pair", .meant = is_below,
                               .modes = ZERO_ALONE},
    [RS_EXPERIMENT_BAND] = {"band", AMOUNTS(band_amounts), .count = count_band, .modes = ALL_MODES, .band = true},
    [RS_EXPERIMENT_ENDS] = {"ends", NULL, 0, .count = count_dimensions, .modes = ALL_MODES},
    [RS_EXPERIMENT_FRACTION] = {"fraction", NULL, 0, .count = count_fraction, .modes = ALL_MODES},
    [RS_EXPERIMENT_LAYER] = {"layer-band", AMOUNTS(band_amounts), .count = count_band, .modes = ALL_MODES, .band = true,
                             .per_layer = true},
};

const char *rs_experiment_name(rs_experiment e) { return experiments[e].name; }
const char *rs_experiment_array(rs_experiment e) { return experiments[e].array; }

rs_experiment rs_experiment_find(const char *name) {
    int e = 0;
    while (e < RS_EXPERIMENTS && strcmp(experiments[e].name, name) != 0) {
        e++;
    }
    return (rs_experiment)e;
}

void rs_ablation_key(const rs_ablation *a, const char *heads, char out[RS_ABLATION_KEY_BYTES]) {
    int n = snprintf(out, RS_ABLATION_KEY_BYTES, "%s %s %s%s %.9g", experiments[a->experiment].name,
                     mode_names[a->mode], a->ranking->name, a->ranking->by_group ? "+" : "", a->amount);
    const struct {
        const char *word;
        int value;
    } more[] = {{" seed", a->seed}, {" layer", a->layer}};
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
        if (more[i].value >= 0) {
            n += snprintf(out + n, (size_t)(RS_ABLATION_KEY_BYTES - n), "%s %d", more[i].word, more[i].value);
        }
    }
    if (heads && *heads) {
        snprintf(out + n, (size_t)(RS_ABLATION_KEY_BYTES - n), " heads %s", heads);
    }
}

/* ---- the list ---- */

typedef struct list {
    rs_ablation *item;
    size_t n, room;
} list;

static rs_status add(list *l, const rs_ablation *a, rs_error *err) {
    if (l->n == l->room) {
        size_t room = l->room ? 2 * l->room : 64;
        void *block = l->item;
        rs_status st = rs_resize(&block, l->n, room, sizeof *l->item, err);
        if (st != RS_OK) {
            return st;
        }
        l->item = block;
        l->room = room;
    }
    l->item[l->n++] = *a;
    return RS_OK;
}

static rs_status add_controls(list *l, const rs_ablate_choice *c, rs_ablation a, rs_error *err) {
    rs_status st = RS_OK;
    a.ranking = c->random;
    for (a.seed = 0; a.seed < c->seeds && st == RS_OK; a.seed++) {
        st = add(l, &a, err);
    }
    return st;
}

/* One mode of one experiment in one layer (or all): every amount under every ranking, then its controls. Bands are of
 * one size: one set of controls, under amount 0. */
static rs_status add_mode(list *l, const rs_ablate_choice *c, rs_ablation a, rs_error *err) {
    rs_status st = RS_OK;
    const experiment *e = &experiments[a.experiment];
    const rs_ranking *low_high[] = {c->low, c->high};
    bool fraction = a.experiment == RS_EXPERIMENT_FRACTION, ends = a.experiment == RS_EXPERIMENT_ENDS;
    const double *amounts = fraction ? c->fractions : ends ? c->dimensions : e->amounts;
    size_t n = fraction ? c->n_fractions
               : ends   ? c->n_dimensions
                        : e->n,
           n_rankings = fraction ? c->n_rankings[a.mode]
                        : ends   ? 2
                                 : 1;
    for (size_t i = 0; i < n; i++) {
        a.amount = amounts[i];
        for (size_t r = 0; r < n_rankings; r++) {
            a.ranking = fraction   ? &c->rankings[a.mode][r]
                        : e->band  ? c->low
                        : ends     ? low_high[r]
                        : a.values ? c->chosen_by[a.experiment]
                                   : c->high;
            RS_TRY(add(l, &a, err));
        }
        if (!e->band || i == 0) {
            RS_TRY(add_controls(l, c, a, err));
        }
    }
out:
    return st;
}

rs_status rs_ablation_plan(const rs_ablate_choice *c, const rs_graph *g, rs_ablation **out, size_t *n, rs_error *err) {
    rs_status st = RS_OK;
    list l = {0};
    for (int e = 0; e < RS_EXPERIMENTS; e++) {
        int layers = experiments[e].per_layer ? g->n_layers : 1;
        for (int k = 0; k < layers * MODES; k++) {
            rs_ablation a = {.experiment = (rs_experiment)e,
                             .mode = (rs_ablate_mode)(k % MODES),
                             .seed = -1,
                             .layer = experiments[e].per_layer ? k / MODES : -1};
            if (experiments[e].array && !c->chosen_by[e]) {
                continue;
            }
            a.values = c->chosen_by[e] ? c->chosen_by[e]->values : NULL;
            if (c->experiments[e] && c->modes[a.mode] && experiments[e].modes & 1U << a.mode) {
                RS_TRY(add_mode(&l, c, a, err));
            }
        }
    }
    *out = l.item;
    *n = l.n;
    l.item = NULL;
out:
    rs_free(l.item);
    return st;
}

/* ---- its pairs ---- */

/* Pairs of a layer that the mode changes, ascending: open [n_pairs]. */
static int open_pairs(const rs_layer *l, rs_ablate_mode mode, int *open) {
    int n = 0;
    for (int f = 0; f < l->rope.n_pairs; f++) {
        if (mode != RS_ABLATE_UNROTATE || l->rope.theta[f] > 0) {
            open[n++] = f;
        }
    }
    return n;
}

/* The band itself; a random control of a band chooses as many as the first one has. */
static void choose_band(const rs_ablation *a, int P, const int *open, int n, uint8_t *chosen) {
    for (int i = 0; i < n; i++) {
        chosen[open[i]] = open[i] >= rs_band_begin((int)a->amount, P) && open[i] < rs_band_begin((int)a->amount + 1, P);
    }
}

/* Those of a head's open pairs whose value is meant: their number, and chosen where it is not NULL. */
static int choose_meant(const rs_ablation *a, const rs_graph *g, int layer, int head, const int *open, int n,
                        uint8_t *chosen) {
    const double *value = a->values->data + (layer * g->max_heads + head) * g->max_pairs;
    int count = 0;
    for (int i = 0; i < n; i++) {
        bool has = experiments[a->experiment].meant(value[open[i]], a->amount);
        count += has;
        if (chosen) {
            chosen[open[i]] = has;
        }
    }
    return count;
}

/* How many of a head's open pairs an ablation edits. */
static int count_of(const rs_ablation *a, const rs_graph *g, int layer, int head, const int *open, int n) {
    const experiment *e = &experiments[a->experiment];
    return e->count ? e->count(a->amount, g->layers[layer].rope.n_pairs, n)
                    : choose_meant(a, g, layer, head, open, n, NULL);
}

rs_status rs_ablation_mask(const rs_ablation *a, const rs_graph *g, const uint8_t *heads, uint8_t *mask,
                           rs_error *err) {
    rs_status st = RS_OK;
    int *open = NULL; /* [max_pairs] */
    const experiment *e = &experiments[a->experiment];
    RS_TRY(RS_NEW(&open, (size_t)g->max_pairs + 1, err));
    for (int l = a->layer < 0 ? 0 : a->layer; l < (a->layer < 0 ? g->n_layers : a->layer + 1); l++) {
        int P = g->layers[l].rope.n_pairs, n = open_pairs(&g->layers[l], a->mode, open);
        for (int h = 0; h < g->layers[l].heads; h++) {
            uint8_t *chosen = mask + (l * g->max_heads + h) * g->max_pairs;
            if (heads && !heads[l * g->max_heads + h]) {
                continue;
            }
            bool control = a->ranking->rule == RS_RANK_RANDOM;
            if (e->band && !control) {
                choose_band(a, P, open, n, chosen);
            } else if (a->values && !control) {
                choose_meant(a, g, l, h, open, n, chosen);
            } else {
                RS_TRY(rs_ranking_choose(a->ranking, g, l, h, open, n, count_of(a, g, l, h, open, n),
                                         (uint64_t)(a->seed < 0 ? 0 : a->seed), chosen, err));
            }
        }
    }
out:
    rs_free(open);
    return st;
}

static int head_pairs(const rs_graph *g, const uint8_t *mask, int layer, int head) {
    const uint8_t *row = mask + (layer * g->max_heads + head) * g->max_pairs;
    int n = 0;
    for (int f = 0; f < g->layers[layer].rope.n_pairs; f++) {
        n += row[f] != 0;
    }
    return n;
}

static int64_t layer_pairs(const rs_graph *g, const uint8_t *mask, int layer) {
    int64_t n = 0;
    for (int h = 0; h < g->layers[layer].heads; h++) {
        n += head_pairs(g, mask, layer, h);
    }
    return n;
}

int64_t rs_ablation_pairs(const rs_graph *g, const uint8_t *mask) {
    int64_t n = 0;
    for (int l = 0; l < g->n_layers; l++) {
        n += layer_pairs(g, mask, l);
    }
    return n;
}

int rs_ablation_first_layer(const rs_graph *g, const uint8_t *mask) {
    int l = 0;
    while (l < g->n_layers && layer_pairs(g, mask, l) == 0) {
        l++;
    }
    return l;
}

/* ---- as edits ---- */

/* A term of the logit is q_i conj(k_i): a factor on the query alone is a factor on the term, and leaves shared keys
 * where they are (2502.11276, A.5: the same for whole pairs). */
static rs_edit edit_of(rs_ablate_mode mode, double scale) {
    switch (mode) {
    case RS_ABLATE_UNROTATE: return (rs_edit){.kind = RS_EDIT_THETA, .value = 0};
    case RS_ABLATE_SCALE: return (rs_edit){.kind = RS_EDIT_SCALE, .of = RS_EDIT_Q, .value = scale};
    default: return (rs_edit){.kind = RS_EDIT_SCALE, .of = RS_EDIT_Q, .value = 0};
    }
}

rs_status rs_edit_list_create(const rs_graph *g, const uint8_t *mask, rs_ablate_mode mode, double scale,
                              rs_edit_list *out, rs_error *err) {
    rs_status st = RS_OK;
    size_t heads = (size_t)g->n_layers * (size_t)g->max_heads;
    *out = (rs_edit_list){0};
    RS_TRY(RS_NEW(&out->edits, heads, err));
    RS_TRY(RS_NEW(&out->numbers, heads + (size_t)rs_ablation_pairs(g, mask) + 1, err));
    int *at = out->numbers;
    for (int l = 0; l < g->n_layers; l++) {
        for (int h = 0; h < g->layers[l].heads; h++) {
            rs_edit e = edit_of(mode, scale);
            e.layer = l;
            e.n_heads = 1;
            e.n_pairs = head_pairs(g, mask, l, h);
            if (e.n_pairs == 0) {
                continue;
            }
            e.heads = at;
            *at++ = h;
            e.pairs = at;
            for (int f = 0; f < g->layers[l].rope.n_pairs; f++) {
                if (mask[(l * g->max_heads + h) * g->max_pairs + f]) {
                    *at++ = f;
                }
            }
            out->edits[out->n++] = e;
        }
    }
out:
    if (st != RS_OK) {
        rs_edit_list_deinit(out);
    }
    return st;
}

void rs_edit_list_deinit(rs_edit_list *l) {
    rs_free(l->edits);
    rs_free(l->numbers);
    *l = (rs_edit_list){0};
}
