/* probes/moments_finish.c: sums of moments.c -> results. Costs are squared changes of the scaled logit (softmax scale
 * times attention factor squared, per pair) divided by the head's logit variance, so that heads and models compare. */
#include "probes/moments.h"

#include "analyzer/base/alloc.h"
#include "probes/axis.h"
#include "probes/closed_form.h"
#include "probes/tally.h"

#include <math.h>
#include <stdio.h>

/* Everything the results of a layer are made of. */
typedef struct sums {
    const rs_layer *layer;
    int64_t T, H, K, F;
    double rows, sampled;       /* tokens at positions >= 1; sampled query rows */
    double *q, *k;              /* [H|K, RS_MOMENT_FEATURES, F] */
    double *sample;             /* [H, RS_SAMPLES, F] */
    double *heads;              /* [H, RS_HEAD_TERMS] */
    rs_causal *zero, *unrotate; /* [F] */
    double *gain;               /* [F] scale * factor^2: from units of q and k to the scaled logit */
    double *variance;           /* [H] mean variance of the scaled logit over visible keys; NaN without sampled rows */
} sums;

static void close_sums(sums *s) {
    rs_free(s->q);
    rs_free(s->k);
    rs_free(s->sample);
    rs_free(s->heads);
    rs_free(s->zero);
    rs_free(s->unrotate);
    rs_free(s->gain);
    rs_free(s->variance);
}

static void prepare(sums *s) {
    const rs_layer *l = s->layer;
    for (int64_t f = 0; f < s->F; f++) {
        rs_causal_means(RS_CHANGE_ZERO, l->rope.theta[f], s->T, l->window, &s->zero[f]);
        rs_causal_means(RS_CHANGE_UNROTATE, l->rope.theta[f], s->T, l->window, &s->unrotate[f]);
        s->gain[f] = l->scale * l->rope.factor[f] * l->rope.factor[f];
    }
    s->sampled = s->H > 0 ? s->heads[RS_HEAD_ROWS] : 0.0; /* the same rows for every head */
    for (int64_t h = 0; h < s->H; h++) {
        s->variance[h] =
            rs_tally_ratio(s->heads[h * RS_HEAD_TERMS + RS_HEAD_TOTAL], s->heads[h * RS_HEAD_TERMS + RS_HEAD_ROWS]);
    }
}

/* Of the folds first, first + step, ... */
static rs_status open_sums(sums *s, const rs_probe_facts *facts, int layer, const rs_arrays *state, int first, int step,
                           rs_error *err) {
    rs_status st = RS_OK;
    const rs_layer *l = &facts->graph->layers[layer];
    double *sequences = NULL;
    *s = (sums){.layer = l, .T = facts->positions, .H = l->heads, .K = l->kv_heads, .F = l->rope.n_pairs};
    RS_TRY(rs_tally_part(state, "state/moments/sequences", first, step, 1, &sequences, err));
    s->rows = sequences[0] * (double)(s->T - 1);
    RS_TRY(rs_tally_part(state, "state/moments/q", first, step, s->H * RS_MOMENT_FEATURES * s->F, &s->q, err));
    RS_TRY(rs_tally_part(state, "state/moments/k", first, step, s->K * RS_MOMENT_FEATURES * s->F, &s->k, err));
    RS_TRY(rs_tally_part(state, "state/moments/sample", first, step, s->H * RS_SAMPLES * s->F, &s->sample, err));
    RS_TRY(rs_tally_part(state, "state/moments/sample_head", first, step, s->H * RS_HEAD_TERMS, &s->heads, err));
    RS_TRY(RS_NEW(&s->zero, (size_t)s->F, err));
    RS_TRY(RS_NEW(&s->unrotate, (size_t)s->F, err));
    RS_TRY(RS_NEW(&s->gain, (size_t)s->F, err));
    RS_TRY(RS_NEW(&s->variance, (size_t)s->H, err));
    prepare(s);
out:
    rs_free(sequences);
    return st;
}

static double moment(const sums *s, const double *side, int64_t h, int what, int64_t f) {
    return rs_tally_ratio(side[(h * RS_MOMENT_FEATURES + what) * s->F + f], s->rows);
}

static rs_pair_moments pair_moments(const sums *s, const double *side, int64_t h, int64_t f) {
    return (rs_pair_moments){.mean = {moment(s, side, h, RS_M_RE, f), moment(s, side, h, RS_M_IM, f)},
                             .square = {moment(s, side, h, RS_M_SQ_RE, f), moment(s, side, h, RS_M_SQ_IM, f)},
                             .abs2 = moment(s, side, h, RS_M_ABS2, f)};
}

static int64_t key_head(const sums *s, int64_t h) { return h / (s->H / s->K); }

/* A new array [heads, last axis]; *cells stays valid when the list grows. */
static rs_status add(rs_arrays *out, const char *name, const char *text, const char *heads, int64_t H, const char *last,
                     int64_t n, double count, double **cells, rs_error *err) {
    rs_status st = RS_OK;
    rs_array *a = NULL;
    char path[RS_NAME_BYTES];
    snprintf(path, sizeof path, "moments/%.80s", name);
    RS_TRY(rs_arrays_add(out, &a, err, path, RS_F32, "1", text, last ? 2 : 1, heads, H, last, n));
    a->count = (int64_t)count;
    *cells = a->data;
out:
    return st;
}

/* --- direction
 * ------------------------------------------------------------------------------------------------------------------ */

static rs_status finish_side(const sums *s, const char *letter, const char *heads, int64_t H, const double *side,
                             rs_arrays *out, rs_error *err) {
    rs_status st = RS_OK;
    static const char *const SUFFIX[4] = {"mean_re", "mean_im", "concentration", "concentration_unit"};
    static const char *const TEXT[4] = {
        "real part of the mean pair before rotation, positions 1..T-1",
        "imaginary part of the mean pair before rotation, positions 1..T-1",
        "|mean of the pair| / mean of |pair|: 1 = one fixed direction, 0 = none",
        "length of the mean direction, pairs taken with length 1, corrected for chance"};
    double *cells[4] = {0};
    for (int i = 0; i < 4; i++) {
        char name[RS_NAME_BYTES];
        snprintf(name, sizeof name, "%s_%s", letter, SUFFIX[i]);
        RS_TRY(add(out, name, TEXT[i], heads, H, "pair", s->F, s->rows, &cells[i], err));
    }
    for (int64_t h = 0; h < H; h++) {
        for (int64_t f = 0; f < s->F; f++) {
            rs_complex mean = pair_moments(s, side, h, f).mean;
            const double *u = side + h * RS_MOMENT_FEATURES * s->F + f;
            int64_t at = h * s->F + f;
            cells[0][at] = mean.re;
            cells[1][at] = mean.im;
            cells[2][at] = rs_tally_ratio(hypot(mean.re, mean.im), moment(s, side, h, RS_M_ABS, f));
            cells[3][at] = rs_resultant_unbiased((rs_complex){u[RS_M_U_RE * s->F], u[RS_M_U_IM * s->F]}, s->rows);
        }
    }
out:
    return st;
}

/* --- cost of zeroing and of un-rotating
 * ------------------------------------------------------------------------------------------ */

typedef struct change {
    const char *word, *text; /* "zero", "zeroing" */
    int centred, raw;        /* its sums in the sample */
} change;
static const change CHANGES[2] = {{"zero", "zeroing", RS_SAMPLE_DROP, RS_SAMPLE_DROP_RAW},
                                  {"unrotate", "un-rotating", RS_SAMPLE_UNROT, RS_SAMPLE_UNROT_RAW}};

static rs_status add_cost(const sums *s, const change *c, const char *suffix, const char *what, const char *heads,
                          int64_t H, double count, rs_arrays *out, double **cells, rs_error *err) {
    rs_status st = RS_OK;
    char name[RS_NAME_BYTES], text[RS_LONG_NAME_BYTES];
    snprintf(name, sizeof name, "%s_cost%s", c->word, suffix);
    snprintf(text, sizeof text,
             "mean squared change of the logit by %s the pair, %s, divided by the head's logit variance", c->text,
             what);
    RS_TRY(add(out, name, text, heads, H, "pair", s->F, count, cells, err));
out:
    return st;
}

static void group_costs(const sums *s, const double *per_head, double *group) {
    for (int64_t i = 0; i < s->K * s->F; i++) {
        group[i] = 0.0;
    }
    for (int64_t h = 0; h < s->H; h++) {
        for (int64_t f = 0; f < s->F; f++) {
            group[key_head(s, h) * s->F + f] += per_head[h * s->F + f];
        }
    }
}

/* The closed form, as softmax sees it, of one pair in the units of the logit. */
static double closed_cost(const sums *s, const rs_causal *causal, int64_t h, int64_t f) {
    rs_pair_moments q = pair_moments(s, s->q, h, f), k = pair_moments(s, s->k, key_head(s, h), f);
    return s->gain[f] * s->gain[f] * rs_cost_centred(&causal[f], &q, &k);
}

/* Even against odd sequences: half [2]. In place of costs over the head's variance costs as they are, which a
 * correlation over its pairs does not tell apart. An empty half has no value. */
static rs_status finish_cost_halves(const sums half[2], const change *c, rs_arrays *out, rs_error *err) {
    rs_status st = RS_OK;
    const sums *s = &half[0];
    double *cells = NULL, *cost[2] = {NULL, NULL};
    char name[RS_NAME_BYTES], text[RS_LONG_NAME_BYTES];
    snprintf(name, sizeof name, "%s_cost_split_half", c->word);
    snprintf(text, sizeof text,
             "correlation over pairs of the closed-form costs of %s of even and of odd sequences; no value when one "
             "half is empty",
             c->text);
    RS_TRY(add(out, name, text, "head", s->H, NULL, 0, half[0].rows + half[1].rows, &cells, err));
    for (int i = 0; i < 2; i++) {
        RS_TRY(RS_NEW(&cost[i], (size_t)s->F, err));
    }
    for (int64_t h = 0; h < s->H; h++) {
        for (int i = 0; i < 2; i++) {
            const rs_causal *causal = c->centred == RS_SAMPLE_DROP ? half[i].zero : half[i].unrotate;
            for (int64_t f = 0; f < s->F; f++) {
                cost[i][f] = closed_cost(&half[i], causal, h, f);
            }
        }
        cells[h] = rs_tally_correlation(cost[0], cost[1], s->F);
    }
out:
    rs_free(cost[0]);
    rs_free(cost[1]);
    return st;
}

static rs_status finish_change(const sums *s, const change *c, const rs_causal *causal, rs_arrays *out, rs_error *err) {
    rs_status st = RS_OK;
    double *centred = NULL, *raw = NULL, *sampled = NULL, *group = NULL, *fit = NULL;
    char name[RS_NAME_BYTES];
    snprintf(name, sizeof name, "fit_%s", c->word);
    RS_TRY(add_cost(s, c, "", "as softmax sees it (centred), closed form", "head", s->H, s->rows, out, &centred, err));
    RS_TRY(add_cost(s, c, "_raw", "uncentred, closed form", "head", s->H, s->rows, out, &raw, err));
    RS_TRY(add_cost(s, c, "_sampled", "as softmax sees it (centred), on sampled query rows", "head", s->H, s->sampled,
                    out, &sampled, err));
    RS_TRY(add_cost(s, c, "_group", "closed form, summed over the query heads that share the key head", "kv_head", s->K,
                    s->rows, out, &group, err));
    RS_TRY(add(out, name, "correlation over pairs of closed-form and sampled cost", "head", s->H, NULL, 0, s->sampled,
               &fit, err));
    for (int64_t h = 0; h < s->H; h++) {
        for (int64_t f = 0; f < s->F; f++) {
            rs_pair_moments q = pair_moments(s, s->q, h, f), k = pair_moments(s, s->k, key_head(s, h), f);
            double gain2 = s->gain[f] * s->gain[f], sum = s->sample[(h * RS_SAMPLES + c->centred) * s->F + f];
            int64_t at = h * s->F + f;
            centred[at] = rs_tally_ratio(closed_cost(s, causal, h, f), s->variance[h]);
            raw[at] = rs_tally_ratio(gain2 * rs_cost_raw(&causal[f], &q, &k), s->variance[h]);
            sampled[at] = rs_tally_ratio(rs_tally_ratio(sum, s->sampled), s->variance[h]);
        }
        fit[h] = rs_tally_correlation(centred + h * s->F, sampled + h * s->F, s->F);
    }
    group_costs(s, centred, group);
out:
    return st;
}

static rs_status finish_variance(const sums *s, rs_arrays *out, rs_error *err) {
    rs_status st = RS_OK;
    double *cells = NULL;
    RS_TRY(add(out, "logit_variance",
               "variance of the scaled logit over the visible keys, mean over sampled query rows", "head", s->H, NULL,
               0, s->sampled, &cells, err));
    for (int64_t h = 0; h < s->H; h++) {
        cells[h] = s->variance[h];
    }
out:
    return st;
}

/* --- the mean logit by distance
 * ----------------------------------------------------------------------------------------------------- */

/* The logit made of the means alone, of all heads at one distance. */
typedef struct mean_curve {
    const sums *s;
    double *re, *im; /* [F, H] gain * mu_q conj(mu_k): heads innermost, so that a pair's angle serves all at once */
    rs_turn *turn;   /* [F] angles of the distance at hand */
} mean_curve;

static void close_curve(mean_curve *c) {
    rs_free(c->re);
    rs_free(c->im);
    rs_free(c->turn);
}

static rs_status open_curve(const sums *s, mean_curve *c, rs_error *err) {
    rs_status st = RS_OK;
    c->s = s;
    RS_TRY(RS_NEW(&c->re, (size_t)(s->H * s->F), err));
    RS_TRY(RS_NEW(&c->im, (size_t)(s->H * s->F), err));
    RS_TRY(RS_NEW(&c->turn, (size_t)s->F, err));
    for (int64_t f = 0; f < s->F; f++) {
        c->turn[f] = (rs_turn){.theta = s->layer->rope.theta[f]};
        for (int64_t h = 0; h < s->H; h++) {
            rs_complex q = pair_moments(s, s->q, h, f).mean, k = pair_moments(s, s->k, key_head(s, h), f).mean;
            c->re[f * s->H + h] = s->gain[f] * (q.re * k.re + q.im * k.im);
            c->im[f * s->H + h] = s->gain[f] * (q.im * k.re - q.re * k.im);
        }
    }
out:
    return st;
}

/* values[h] = sum_f Re( product e^{i theta D} ). */
static void curve_at(void *ctx, int64_t distance, double *restrict values) {
    const mean_curve *c = ctx;
    int64_t H = c->s->H, F = c->s->F;
    for (int64_t h = 0; h < H; h++) {
        values[h] = 0.0;
    }
    for (int64_t f = 0; f < F; f++) {
        rs_complex g = rs_turn_to(&c->turn[f], distance);
        const double *restrict re = c->re + f * H, *restrict im = c->im + f * H;
        double cosine = 1.0 + g.re, sine = g.im;
        for (int64_t h = 0; h < H; h++) {
            values[h] += re[h] * cosine - im[h] * sine;
        }
    }
}

static rs_status finish_curve(const sums *s, mean_curve *curve, rs_arrays *out, rs_error *err) {
    rs_status st = RS_OK;
    double axis[RS_DISTANCE_POINTS], *cells = NULL, *value = NULL;
    int64_t n = rs_distance_axis(s->T, axis);
    RS_TRY(RS_NEW(&value, (size_t)s->H, err));
    RS_TRY(add(out, "distance_curve", "scaled logit by distance that the mean query and the mean key alone would give",
               "head", s->H, "distance", n, s->rows, &cells, err));
    for (int64_t i = 0; i < n; i++) {
        curve_at(curve, (int64_t)axis[i], value);
        for (int64_t h = 0; h < s->H; h++) {
            cells[h * n + i] = value[h];
        }
    }
out:
    rs_free(value);
    return st;
}

/* --- position and content
 * -------------------------------------------------------------------------------------------------------- */

enum { TERMS = 4 };
static const char *const TERM[TERMS] = {"pp", "pc", "cp", "cc"};
static const char *const TERM_TEXT[TERMS] = {"position (mean query, mean key)", "key content (mean query)",
                                             "query content (mean key)", "query and key content"};
static const int TERM_SUM[TERMS] = {RS_HEAD_PP, RS_HEAD_PC, RS_HEAD_CP, RS_HEAD_CC};

/* cells[i][at] = value[i] / their sum. */
static void put_shares(double *const cells[TERMS], int64_t at, const double value[TERMS]) {
    double whole = value[0] + value[1] + value[2] + value[3];
    for (int i = 0; i < TERMS; i++) {
        cells[i][at] = rs_tally_ratio(value[i], whole);
    }
}

static rs_status add_shares(const sums *s, const char *format, const char *where, bool pairs, double count,
                            rs_arrays *out, double *cells[TERMS], rs_error *err) {
    rs_status st = RS_OK;
    for (int i = 0; i < TERMS; i++) {
        char name[RS_NAME_BYTES], text[RS_LONG_NAME_BYTES];
        snprintf(name, sizeof name, "%sshare_%s%s", pairs ? "pair_" : "", TERM[i], format);
        snprintf(text, sizeof text, "share of %s in the variance of the %s", TERM_TEXT[i], where);
        RS_TRY(add(out, name, text, "head", s->H, pairs ? "pair" : NULL, s->F, count, &cells[i], err));
    }
out:
    return st;
}

/* Terms other than the position's add up over pairs when content is uncorrelated between pairs, which the moments
 * cannot tell; the position term does not, and is taken from the head's whole curve. */
static rs_status finish_closed_shares(const sums *s, mean_curve *curve, rs_arrays *out, rs_error *err) {
    rs_status st = RS_OK;
    double *head[TERMS], *pair[TERMS], *position = NULL, *work = NULL;
    RS_TRY(RS_NEW(&position, (size_t)s->H, err));
    RS_TRY(RS_NEW(&work, (size_t)(3 * s->H), err));
    RS_TRY(add_shares(s, "", "centred logit, closed form", false, s->rows, out, head, err));
    RS_TRY(add_shares(s, "", "pair's part of the centred logit, closed form", true, s->rows, out, pair, err));
    rs_causal_curve_variance(curve_at, curve, s->H, s->T, s->layer->window, work, position);
    for (int64_t h = 0; h < s->H; h++) {
        double whole[TERMS] = {position[h], 0, 0, 0};
        for (int64_t f = 0; f < s->F; f++) {
            rs_pair_moments q = pair_moments(s, s->q, h, f), k = pair_moments(s, s->k, key_head(s, h), f);
            rs_four_terms t;
            rs_pair_four_terms(&s->zero[f], &q, &k, &t);
            put_shares(pair, h * s->F + f, (double[TERMS]){t.pp, t.pc, t.cp, t.cc});
            double gain2 = s->gain[f] * s->gain[f];
            whole[1] += gain2 * t.pc;
            whole[2] += gain2 * t.cp;
            whole[3] += gain2 * t.cc;
        }
        put_shares(head, h, whole);
    }
out:
    rs_free(position);
    rs_free(work);
    return st;
}

static rs_status finish_sampled_shares(const sums *s, rs_arrays *out, rs_error *err) {
    rs_status st = RS_OK;
    double *head[TERMS];
    RS_TRY(add_shares(s, "_sampled", "centred logit, on sampled query rows", false, s->sampled, out, head, err));
    for (int64_t h = 0; h < s->H; h++) {
        double value[TERMS];
        for (int i = 0; i < TERMS; i++) {
            value[i] = s->heads[h * RS_HEAD_TERMS + TERM_SUM[i]];
        }
        put_shares(head, h, value);
    }
out:
    return st;
}

rs_status rs_moments_finish(const rs_probe_facts *facts, int layer, const rs_arrays *state, rs_arrays *out,
                            rs_error *err) {
    rs_status st = RS_OK;
    sums s = {0}, half[2] = {{0}, {0}};
    mean_curve curve = {0};
    RS_TRY(open_sums(&s, facts, layer, state, 0, 1, err));
    RS_TRY(open_sums(&half[0], facts, layer, state, 0, 2, err));
    RS_TRY(open_sums(&half[1], facts, layer, state, 1, 2, err));
    RS_TRY(open_curve(&s, &curve, err));
    RS_TRY(finish_side(&s, "q", "head", s.H, s.q, out, err));
    RS_TRY(finish_side(&s, "k", "kv_head", s.K, s.k, out, err));
    RS_TRY(finish_change(&s, &CHANGES[0], s.zero, out, err));
    RS_TRY(finish_change(&s, &CHANGES[1], s.unrotate, out, err));
    RS_TRY(finish_cost_halves(half, &CHANGES[0], out, err));
    RS_TRY(finish_cost_halves(half, &CHANGES[1], out, err));
    RS_TRY(finish_variance(&s, out, err));
    RS_TRY(finish_curve(&s, &curve, out, err));
    RS_TRY(finish_closed_shares(&s, &curve, out, err));
    RS_TRY(finish_sampled_shares(&s, out, err));
out:
    close_curve(&curve);
    close_sums(&s);
    close_sums(&half[0]);
    close_sums(&half[1]);
    return st;
}
