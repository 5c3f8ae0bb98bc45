/* probes/position_content_finish.c: sums of position_content.c -> results. */
#include "probes/position_content.h"

#include "analyzer/base/alloc.h"
#include "probes/tally.h"

#include <stdio.h>

typedef struct sums {
    int64_t H, F;
    double rows;
    double *level;            /* [H, RS_LEVELS, RS_LEVEL_TERMS] */
    double *swap, *pair_swap; /* [H, RS_SWAP_TERMS], [H, RS_SWAP_TERMS, F] */
    double *anova;            /* [H, RS_ANOVA_TERMS] */
} sums;

static void close_sums(sums *s) {
    rs_free(s->level);
    rs_free(s->swap);
    rs_free(s->pair_swap);
    rs_free(s->anova);
}

static rs_status open_sums(sums *s, const rs_arrays *state, rs_error *err) {
    rs_status st = RS_OK;
    RS_TRY(rs_tally_number(state, "state/position_content/rows", &s->rows, err));
    RS_TRY(rs_tally_cells(state, "state/position_content/level", s->H * RS_LEVELS * RS_LEVEL_TERMS, &s->level, err));
    RS_TRY(rs_tally_cells(state, "state/position_content/swap", s->H * RS_SWAP_TERMS, &s->swap, err));
    RS_TRY(rs_tally_cells(state, "state/position_content/pair_swap", s->H * RS_SWAP_TERMS * s->F, &s->pair_swap, err));
    RS_TRY(rs_tally_cells(state, "state/position_content/anova", s->H * RS_ANOVA_TERMS, &s->anova, err));
out:
    return st;
}

static rs_status add(rs_arrays *out, const sums *s, const char *prefix, const char *name, const char *unit,
                     const char *text, bool pairs, double **cells, rs_error *err) {
    rs_status st = RS_OK;
    rs_array *a = NULL;
    char path[RS_NAME_BYTES];
    snprintf(path, sizeof path, "position_content/%s%.60s", prefix, name);
    RS_TRY(rs_arrays_add(out, &a, err, path, RS_F32, unit, text, pairs ? 2 : 1, "head", s->H, "pair", s->F));
    a->count = (int64_t)s->rows;
    *cells = a->data;
out:
    return st;
}

typedef struct named {
    const char *name, *text;
    int term;
} named;

/* ---- levels ---- */

static const named LEVELS[] = {
    {"uniform", "uniform over the visible keys", RS_LEVEL_UNIFORM},
    {"means", "from the mean query and the mean key of the sequence alone", RS_LEVEL_MEANS},
    {"unrotated", "without rotation", RS_LEVEL_FLAT},
    {"shift_1", "with every distance longer by 1", RS_LEVEL_SHIFT_1},
    {"shift_16", "with every distance longer by 16", RS_LEVEL_SHIFT_16},
    {"permuted_position", "with the keys' contents permuted, position by position", RS_LEVEL_MOVED},
    {"permuted_content", "with the keys' contents permuted, key by key wherever it stands now", RS_LEVEL_FOLLOWED},
};

typedef struct side {
    const char *prefix, *unit, *text;
    int term;
} side;
static const side SIDES[] = {
    {"kl_", "nats", "mean divergence, from the real attention, of the attention", RS_LEVEL_KL},
    {"top_", "1", "share of rows whose strongest key is that of the attention", RS_LEVEL_TOP},
};

static rs_status finish_level(const sums *s, const side *what, const named *level, rs_arrays *out, rs_error *err) {
    rs_status st = RS_OK;
    double *cells = NULL;
    char text[RS_LONG_NAME_BYTES];
    snprintf(text, sizeof text, "%s %s", what->text, level->text);
    RS_TRY(add(out, s, what->prefix, level->name, what->unit, text, false, &cells, err));
    for (int64_t h = 0; h < s->H; h++) {
        cells[h] = rs_tally_ratio(s->level[(h * RS_LEVELS + level->term) * RS_LEVEL_TERMS + what->term], s->rows);
    }
out:
    return st;
}

static rs_status finish_levels(const sums *s, rs_arrays *out, rs_error *err) {
    rs_status st = RS_OK;
    for (size_t what = 0; what < sizeof SIDES / sizeof SIDES[0]; what++) {
        for (size_t i = 0; i < sizeof LEVELS / sizeof LEVELS[0]; i++) {
            RS_TRY(finish_level(s, &SIDES[what], &LEVELS[i], out, err));
        }
    }
out:
    return st;
}

/* ---- exchanged blocks ---- */

typedef struct score {
    const char *name, *text;
    int term, by;
} score;
static const score SCORES[] = {
    {"positional", "how far attention stays with the position when blocks of keys exchange contents (centred cosine)",
     RS_SWAP_POSITIONAL, RS_SWAP_ROWS},
    {"symbolic", "how far attention goes with the content when blocks of keys exchange contents (centred cosine)",
     RS_SWAP_SYMBOLIC, RS_SWAP_ROWS},
    {"interaction",
     "what neither position nor content alone explains of the attention that an exchange moves, in units of the mass "
     "moved",
     RS_SWAP_INTERACTION, RS_SWAP_MASS},
};

static rs_status finish_swaps(const sums *s, const double *from, bool pairs, rs_arrays *out, rs_error *err) {
    rs_status st = RS_OK;
    int64_t F = pairs ? s->F : 1;
    for (size_t i = 0; i < sizeof SCORES / sizeof SCORES[0]; i++) {
        double *cells = NULL;
        RS_TRY(add(out, s, pairs ? "pair_" : "", SCORES[i].name, "1", SCORES[i].text, pairs, &cells, err));
        for (int64_t cell = 0; cell < s->H * F; cell++) {
            const double *at = from + cell / F * RS_SWAP_TERMS * F + cell % F;
            cells[cell] = rs_tally_ratio(at[SCORES[i].term * F], at[SCORES[i].by * F]);
        }
    }
out:
    return st;
}

/* ---- variance ---- */

static rs_status finish_anova(const sums *s, rs_arrays *out, rs_error *err) {
    rs_status st = RS_OK;
    static const named SHARES[] = {
        {"distance", "share of the logits' variance that the distance alone explains, less chance", RS_ANOVA_DISTANCE},
        {"key", "share of the logits' variance that the key alone explains, less chance", RS_ANOVA_KEY},
        {"rest", "share of the logits' variance that distance and key together leave, chance added", RS_ANOVA_BOTH}};
    for (size_t i = 0; i < sizeof SHARES / sizeof SHARES[0]; i++) {
        double *cells = NULL;
        RS_TRY(add(out, s, "anova_", SHARES[i].name, "1", SHARES[i].text, false, &cells, err));
        for (int64_t h = 0; h < s->H; h++) {
            const double *a = s->anova + h * RS_ANOVA_TERMS;
            double share = rs_tally_ratio(a[SHARES[i].term], a[RS_ANOVA_SHARES + SHARES[i].term]);
            cells[h] = SHARES[i].term == RS_ANOVA_BOTH ? 1.0 - share : share;
        }
    }
out:
    return st;
}

rs_status rs_position_content_finish(const rs_probe_facts *facts, int layer, const rs_arrays *state, rs_arrays *out,
                                     rs_error *err) {
    rs_status st = RS_OK;
    const rs_layer *l = &facts->graph->layers[layer];
    sums s = {.H = l->heads, .F = l->rope.n_pairs};
    RS_TRY(open_sums(&s, state, err));
    RS_TRY(finish_levels(&s, out, err));
    RS_TRY(finish_swaps(&s, s.swap, false, out, err));
    RS_TRY(finish_swaps(&s, s.pair_swap, true, out, err));
    RS_TRY(finish_anova(&s, out, err));
out:
    close_sums(&s);
    return st;
}
