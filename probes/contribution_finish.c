/* probes/contribution_finish.c: sums of contribution.c -> results: means over sampled rows, and how well the second
 * order tells the real divergence. */
#include "probes/contribution.h"

#include "analyzer/base/alloc.h"
#include "analyzer/base/rng.h"
#include "probes/tally.h"
#include "probes/verdict.h"

#include <math.h>
#include <stdio.h>

typedef struct sums {
    int64_t H, F;
    double *pair; /* [H, RS_C_TERMS, F] */
    double *rows; /* [RS_CR_TERMS] */
    double *head; /* [H, RS_CH_TERMS] */
} sums;

/* An array that is a weighted sum of two terms, divided by the number of rows that have them. */
typedef struct result {
    const char *name, *unit, *text;
    int term;
    double weight;
    int more; /* second term; its weight 0 = none */
    double more_weight;
    int rows;
} result;

enum { R_SCALE_PREDICTED, R_SCALE, R_ZERO_PREDICTED, R_ZERO, R_REST, R_UNROTATE_PREDICTED, R_UNROTATE };
#define HALF_SQUARE (0.5 * 0.1 * 0.1) /* 1/2 RS_SCALE_STEP^2 */
static const result RESULTS[] = {
    {"kl_scale_predicted", "nats", "second order: half the variance under the attention of a tenth of the pair's part",
     RS_C_SLOPED, HALF_SQUARE, 0, 0, RS_CR_ROWS},
    {"kl_scale", "nats", "divergence of the attention with the pair scaled by 0.9 from the real one", RS_C_KL_SCALE, 1,
     0, 0, RS_CR_ROWS},
    {"kl_zero_predicted", "nats", "second order: half the variance of the pair's part of the logit under the attention",
     RS_C_SLOPED, 0.5, 0, 0, RS_CR_ROWS},
    {"kl_zero", "nats", "divergence of the attention without the pair from the real one", RS_C_KL_ZERO, 1, 0, 0,
     RS_CR_ROWS},
    {"kl_zero_rest", "nats", "of that, the part among the keys other than position 0", RS_C_KL_REST, 1, 0, 0,
     RS_CR_ROWS},
    {"kl_unrotate_predicted", "nats",
     "second order: half the variance under the attention of what un-rotating the pair changes in the logit", RS_C_TURN,
     0.5, 0, 0, RS_CR_ROWS},
    {"kl_unrotate", "nats", "divergence of the attention with the pair un-rotated from the real one", RS_C_KL_UNROTATE,
     1, 0, 0, RS_CR_ROWS},
    {"kl_zero_third", "nats", "third order: half the variance of the pair's part less a sixth of its third moment",
     RS_C_SLOPED, 0.5, RS_C_THIRD, -1.0 / 6.0, RS_CR_ROWS},
    {"lift", "1", "mean part of the logit under the attention less that under a uniform reader of the same keys",
     RS_C_LIFT, 1, 0, 0, RS_CR_ROWS},
    {"spread", "1", "variance of the pair's part of the logit over the visible keys", RS_C_SPREAD, 1, 0, 0, RS_CR_ROWS},
    {"variance", "1", "variance of the pair's part of the logit under the attention", RS_C_VARIANCE, 1, 0, 0,
     RS_CR_ROWS},
    {"agreement_256", "1",
     "share of the 256 keys of the largest logit that are also the 256 of the pair's largest part, rows with more keys",
     RS_C_TOP_FIXED, 1, 0, 0, RS_CR_FIXED},
    {"agreement_5_percent", "1", "the same for the twentieth of the visible keys", RS_C_TOP_SHARE, 1, 0, 0,
     RS_CR_SHARE},
    {"sink_logit", "1", "mean part of the logit at position 0", RS_C_SINK, 1, 0, 0, RS_CR_SINK},
    {"sink_logit_centred", "1", "the same less the mean over the other visible keys", RS_C_SINK_CENTRED, 1, 0, 0,
     RS_CR_SINK},
};
enum { N_RESULTS = sizeof RESULTS / sizeof RESULTS[0] };

static rs_status add(rs_arrays *out, const sums *s, const char *name, const char *unit, const char *text, bool pairs,
                     double **cells, rs_error *err) {
    rs_status st = RS_OK;
    rs_array *a = NULL;
    char path[RS_NAME_BYTES];
    snprintf(path, sizeof path, "contribution/%.80s", name);
    RS_TRY(rs_arrays_add(out, &a, err, path, RS_F32, unit, text, pairs ? 2 : 1, "head", s->H, "pair", s->F));
    a->count = (int64_t)s->rows[RS_CR_ROWS];
    *cells = a->data;
out:
    return st;
}

static rs_status finish_pairs(const sums *s, rs_arrays *out, double *cells[N_RESULTS], rs_error *err) {
    rs_status st = RS_OK;
    for (int i = 0; i < N_RESULTS; i++) {
        const result *r = &RESULTS[i];
        RS_TRY(add(out, s, r->name, r->unit, r->text, true, &cells[i], err));
        for (int64_t h = 0; h < s->H; h++) {
            const double *from = s->pair + h * RS_C_TERMS * s->F;
            for (int64_t f = 0; f < s->F; f++) {
                double sum = r->weight * from[r->term * s->F + f] + r->more_weight * from[r->more * s->F + f];
                cells[i][h * s->F + f] = rs_tally_ratio(sum, s->rows[r->rows]);
            }
        }
    }
out:
    return st;
}

typedef struct fit {
    const char *name, *text;
    int predicted, real;
} fit;
static const fit FITS[] = {
    {"fit_kl_scale", "correlation over pairs of predicted and real divergence of scaling", R_SCALE_PREDICTED, R_SCALE},
    {"fit_kl_zero", "correlation over pairs of predicted and real divergence of zeroing", R_ZERO_PREDICTED, R_ZERO},
    {"fit_kl_unrotate", "correlation over pairs of predicted and real divergence of un-rotating", R_UNROTATE_PREDICTED,
     R_UNROTATE},
};

static rs_status finish_fits(const sums *s, double *const pairs[N_RESULTS], rs_arrays *out, rs_error *err) {
    rs_status st = RS_OK;
    for (size_t i = 0; i < sizeof FITS / sizeof FITS[0]; i++) {
        double *cells = NULL;
        RS_TRY(add(out, s, FITS[i].name, "1", FITS[i].text, false, &cells, err));
        for (int64_t h = 0; h < s->H; h++) {
            cells[h] = rs_tally_correlation(pairs[FITS[i].predicted] + h * s->F, pairs[FITS[i].real] + h * s->F, s->F);
        }
    }
out:
    return st;
}

static rs_status finish_chance(const sums *s, rs_arrays *out, rs_error *err) {
    rs_status st = RS_OK;
    static const char *const NAME[2] = {"agreement_256_chance", "agreement_5_percent_chance"};
    for (int i = 0; i < 2; i++) {
        double *cells = NULL, *rows = s->rows + RS_CR_FIXED + 2 * i;
        RS_TRY(add(out, s, NAME[i], "1", "the agreement that chance would give: K / visible keys", false, &cells, err));
        for (int64_t h = 0; h < s->H; h++) {
            cells[h] = rs_tally_ratio(rows[1], rows[0]);
        }
    }
out:
    return st;
}

/* ---- alignment at distances 0 and 1 ---- */

/* Mean part over mean bound: of each pair, and of the whole logit. The bound of the previous token is that of the
 * previous token's key (the paper's table 5 prints the one of the token's own). */
static rs_status finish_alignment(const sums *s, rs_arrays *out, rs_error *err) {
    static const struct {
        const char *pair, *head, *pair_text, *head_text;
    } NAME[RS_CH_TERMS] = {
        {"align_diagonal", "align_diagonal_head",
         "pair's part of the logit of a token's own key / the most it could be, g |q| |k|: mean over mean",
         "logit of a token's own key / its Cauchy-Schwarz bound: mean over mean"},
        {"align_previous", "align_previous_head", "the same for the key one before", "the same for the key one before"},
    };
    rs_status st = RS_OK;
    for (int d = 0; d < RS_CH_TERMS; d++) {
        double *pairs = NULL, *heads = NULL;
        RS_TRY(add(out, s, NAME[d].pair, "1", NAME[d].pair_text, true, &pairs, err));
        RS_TRY(add(out, s, NAME[d].head, "1", NAME[d].head_text, false, &heads, err));
        for (int64_t h = 0; h < s->H; h++) {
            const double *from = s->pair + h * RS_C_TERMS * s->F;
            double logit = 0;
            for (int64_t f = 0; f < s->F; f++) {
                double c = from[(RS_C_SELF + d) * s->F + f];
                pairs[h * s->F + f] = rs_tally_ratio(c, from[(RS_C_SELF_BOUND + d) * s->F + f]);
                logit += c;
            }
            heads[h] = rs_tally_ratio(logit, s->head[h * RS_CH_TERMS + d]);
        }
    }
out:
    return st;
}

/* ---- the verdict ---- */

/* from: the pair's first term of [RS_C_TERMS, F] sums over so many rows. */
static rs_verdict verdict_from(const double *from, int64_t F, double rows) {
    rs_verdict_numbers n = {.zero = rs_tally_ratio(from[RS_C_KL_ZERO * F], rows),
                            .rest = rs_tally_ratio(from[RS_C_KL_REST * F], rows),
                            .unrotate = rs_tally_ratio(from[RS_C_KL_UNROTATE * F], rows),
                            .lift = rs_tally_ratio(from[RS_C_LIFT * F], rows),
                            .spread = rs_tally_ratio(from[RS_C_SPREAD * F], rows)};
    return rs_verdict_of(&n);
}

static rs_verdict verdict_of(const sums *s, int64_t h, int64_t f) {
    return verdict_from(s->pair + h * RS_C_TERMS * s->F + f, s->F, s->rows[RS_CR_ROWS]);
}

static void close_sums(sums *s) {
    rs_free(s->pair);
    rs_free(s->rows);
    rs_free(s->head);
}

/* Sums over the folds first, first + step, ... */
static rs_status open_sums(const rs_layer *l, const rs_arrays *state, int first, int step, sums *s, rs_error *err) {
    rs_status st = RS_OK;
    *s = (sums){.H = l->heads, .F = l->rope.n_pairs};
    RS_TRY(rs_tally_sum(state, "state/contribution/pair", first, step, &s->pair, NULL, err));
    RS_TRY(rs_tally_sum(state, "state/contribution/rows", first, step, &s->rows, NULL, err));
    RS_TRY(rs_tally_sum(state, "state/contribution/head", first, step, &s->head, NULL, err));
out:
    return st;
}

/* Of each pair, and per head the share of pairs on which two halves of the sequences agree. */
static rs_status finish_verdicts(const sums *s, const sums half[2], rs_arrays *out, rs_error *err) {
    rs_status st = RS_OK;
    double *verdict = NULL, *agreement = NULL;
    bool halves = half[0].rows[RS_CR_ROWS] > 0 && half[1].rows[RS_CR_ROWS] > 0;
    RS_TRY(add(out, s, "verdict", "1", "what the pair is for: 0 undecided, 1 positional, 2 semantic, 3 bias, 4 idle",
               true, &verdict, err));
    RS_TRY(add(out, s, "verdict_split_half", "1",
               "share of the head's pairs of which the two halves of the sequences say the same", false, &agreement,
               err));
    for (int64_t h = 0; h < s->H; h++) {
        double same = 0;
        for (int64_t f = 0; f < s->F; f++) {
            verdict[h * s->F + f] = s->rows[RS_CR_ROWS] > 0 ? (double)verdict_of(s, h, f) : (double)NAN;
            same += verdict_of(&half[0], h, f) == verdict_of(&half[1], h, f);
        }
        agreement[h] = halves ? rs_tally_ratio(same, (double)s->F) : (double)NAN;
    }
out:
    return st;
}

/* ---- how sure the shares are ---- */

/* Weighted sums of one head: sum [RS_C_TERMS, F] over the folds; returns the rows. */
static double draw_head(const rs_array *pair, const rs_array *rows, const int weight[RS_FOLDS], int64_t h, int64_t H,
                        int64_t F, double *sum) {
    double n = 0;
    int64_t cells = RS_C_TERMS * F, terms = rs_array_size(rows) / rows->dims[0];
    for (int64_t c = 0; c < cells; c++) {
        sum[c] = 0;
    }
    for (int64_t i = 0; i < pair->dims[0] && i < RS_FOLDS; i++) {
        const double *from = pair->data + (i * H + h) * cells;
        for (int64_t c = 0; c < cells && weight[i] > 0; c++) {
            sum[c] += weight[i] * from[c];
        }
        n += weight[i] * rows->data[i * terms + RS_CR_ROWS];
    }
    return n;
}

/* How many pairs of the layer get which verdict when the folds of sequences are drawn anew, with replacement. The draws
 * are the same in every layer, so that a draw's counts add up over layers. */
static rs_status finish_bootstrap(const sums *s, const rs_arrays *state, rs_arrays *out, rs_error *err) {
    rs_status st = RS_OK;
    const rs_array *pair = rs_arrays_find(state, "state/contribution/pair"),
                   *rows = rs_arrays_find(state, "state/contribution/rows");
    int weight[RS_RESAMPLES][RS_FOLDS];
    bool drawn = false;
    rs_array *a = NULL;
    double *sum = NULL;
    RS_TRY(rs_arrays_add(out, &a, err, "contribution/verdict_bootstrap", RS_F32, "1",
                         "pairs of the layer by verdict, in draws of the folds of sequences with replacement", 2,
                         "resample", (int64_t)RS_RESAMPLES, "verdict", (int64_t)RS_VERDICTS));
    a->count = (int64_t)s->rows[RS_CR_ROWS];
    RS_TRY(rs_tally_draws(state, "state/contribution/sequences", weight, &drawn, err));
    RS_TRY(RS_NEW(&sum, (size_t)(RS_C_TERMS * s->F), err));
    for (int b = 0; b < RS_RESAMPLES && drawn; b++) {
        double *count = a->data + (int64_t)b * RS_VERDICTS;
        for (int x = 0; x < RS_VERDICTS; x++) {
            count[x] = 0;
        }
        for (int64_t h = 0; h < s->H; h++) {
            double seen = draw_head(pair, rows, weight[b], h, s->H, s->F, sum);
            for (int64_t f = 0; f < s->F; f++) {
                count[verdict_from(sum + f, s->F, seen)]++;
            }
        }
    }
out:
    rs_free(sum);
    return st;
}

rs_status rs_contribution_finish(const rs_probe_facts *facts, int layer, const rs_arrays *state, rs_arrays *out,
                                 rs_error *err) {
    rs_status st = RS_OK;
    const rs_layer *l = &facts->graph->layers[layer];
    sums s = {0}, half[2] = {{0}, {0}};
    double *pairs[N_RESULTS] = {0};
    RS_TRY(open_sums(l, state, 0, 1, &s, err));
    RS_TRY(open_sums(l, state, 0, 2, &half[0], err));
    RS_TRY(open_sums(l, state, 1, 2, &half[1], err));
    RS_TRY(finish_pairs(&s, out, pairs, err));
    RS_TRY(finish_fits(&s, pairs, out, err));
    RS_TRY(finish_chance(&s, out, err));
    RS_TRY(finish_alignment(&s, out, err));
    RS_TRY(finish_verdicts(&s, half, out, err));
    RS_TRY(finish_bootstrap(&s, state, out, err));
out:
    close_sums(&s);
    close_sums(&half[0]);
    close_sums(&half[1]);
    return st;
}
