/* probes/angular_spectrum_finish.c: sums of angular_spectrum.c -> results. */
#include "probes/angular_spectrum.h"

#include "analyzer/base/alloc.h"
#include "probes/axis.h"
#include "probes/closed_form.h"
#include "probes/tally.h"

#include <math.h>
#include <stdio.h>

/* Queries or keys. */
typedef struct side {
    const char *letter, *heads;
    int64_t H, F;
    double rows;     /* tokens at positions >= 1 */
    double *circle;  /* [H, RS_ANGULAR_FEATURES, F] */
    double *phase;   /* [H, F, RS_PHASE_BINS] */
    double *power;   /* [H, F, bins] */
    double *entropy; /* [H, F, RS_ANGULAR_ENTROPIES] */
    int64_t bins;
    double sequences;
} side;

static void close_side(side *s) {
    rs_free(s->circle);
    rs_free(s->phase);
    rs_free(s->power);
    rs_free(s->entropy);
}

static rs_status take(const side *s, const rs_arrays *state, const char *suffix, int64_t cells, double **out,
                      rs_error *err) {
    char name[RS_NAME_BYTES];
    snprintf(name, sizeof name, "state/angular_spectrum/%s%s", s->letter, suffix);
    return rs_tally_cells(state, name, s->H * s->F * cells, out, err);
}

static rs_status open_side(side *s, const rs_probe_facts *facts, const rs_arrays *state, rs_error *err) {
    rs_status st = RS_OK;
    s->bins = rs_spectrum_axis(facts->positions, NULL);
    RS_TRY(rs_tally_number(state, "state/angular_spectrum/sequences", &s->sequences, err));
    s->rows = s->sequences * (double)(facts->positions - 1);
    RS_TRY(take(s, state, "", RS_ANGULAR_FEATURES, &s->circle, err));
    RS_TRY(take(s, state, "_phase", RS_PHASE_BINS, &s->phase, err));
    RS_TRY(take(s, state, "_power", s->bins, &s->power, err));
    RS_TRY(take(s, state, "_entropy", RS_ANGULAR_ENTROPIES, &s->entropy, err));
out:
    return st;
}

static double circle(const side *s, int64_t h, int what, int64_t f) {
    return s->circle[(h * RS_ANGULAR_FEATURES + what) * s->F + f];
}

/* An array [heads, pair] or, with an axis, [heads, pair, axis]; *cells stays valid when the list grows. */
static rs_status add(const side *s, const char *suffix, const char *unit, const char *text, const char *axis, int64_t n,
                     double count, rs_arrays *out, double **cells, rs_error *err) {
    rs_status st = RS_OK;
    rs_array *a = NULL;
    char name[RS_NAME_BYTES];
    snprintf(name, sizeof name, "angular_spectrum/%s_%s", s->letter, suffix);
    RS_TRY(rs_arrays_add(out, &a, err, name, RS_F32, unit, text, axis ? 3 : 2, s->heads, s->H, "pair", s->F, axis, n));
    a->count = (int64_t)count;
    *cells = a->data;
out:
    return st;
}

/* ---- angles ---- */

/* Shares of cells p[n], and their entropy divided by that of n equal ones; NaN for both when all are 0. shares: [n] or
 * NULL. */
static double shares_and_entropy(const double *p, int64_t n, double *shares) {
    double whole = 0.0, entropy = 0.0;
    for (int64_t i = 0; i < n; i++) {
        whole += p[i];
    }
    for (int64_t i = 0; i < n; i++) {
        double share = rs_tally_ratio(p[i], whole);
        if (shares) {
            shares[i] = share;
        }
        entropy -= share == 0.0 ? 0.0 : share * log2(share); /* NaN stays NaN */
    }
    return entropy / log2((double)n);
}

static rs_status finish_phase(const side *s, rs_arrays *out, rs_error *err) {
    rs_status st = RS_OK;
    double *share = NULL, *entropy = NULL;
    RS_TRY(add(s, "phase", "1", "share of the positions 1..T-1 by the angle of the pair before rotation", "phase_bin",
               RS_PHASE_BINS, s->rows, out, &share, err));
    RS_TRY(add(s, "phase_entropy", "1", "entropy of the angle over 64 bins, divided by that of equal shares", NULL, 0,
               s->rows, out, &entropy, err));
    for (int64_t i = 0; i < s->H * s->F; i++) {
        entropy[i] = shares_and_entropy(s->phase + i * RS_PHASE_BINS, RS_PHASE_BINS, share + i * RS_PHASE_BINS);
    }
out:
    return st;
}

/* Moment 1 and 2 of the angle: length without the bias of chance, and direction. */
static rs_status finish_circle(const side *s, int order, rs_arrays *out, rs_error *err) {
    rs_status st = RS_OK;
    int re = order == 1 ? RS_A_U_RE : RS_A_U2_RE, im = order == 1 ? RS_A_U_IM : RS_A_U2_IM;
    char length_name[32], angle_name[32], length_text[RS_LONG_NAME_BYTES], angle_text[RS_LONG_NAME_BYTES];
    double *length = NULL, *angle = NULL;
    snprintf(length_name, sizeof length_name, "circular_%d", order);
    snprintf(angle_name, sizeof angle_name, "circular_angle_%d", order);
    snprintf(length_text, sizeof length_text,
             "length of circular moment %d, |mean of (z/|z|)^%d|, corrected for chance: 1 = one %s, 0 = none", order,
             order, order == 1 ? "direction" : "axis");
    snprintf(angle_text, sizeof angle_text, "angle of circular moment %d, that of the mean of (z/|z|)^%d", order,
             order);
    RS_TRY(add(s, length_name, "1", length_text, NULL, 0, s->rows, out, &length, err));
    RS_TRY(add(s, angle_name, "rad", angle_text, NULL, 0, s->rows, out, &angle, err));
    for (int64_t h = 0; h < s->H; h++) {
        for (int64_t f = 0; f < s->F; f++) {
            rs_complex sum = {circle(s, h, re, f), circle(s, h, im, f)};
            length[h * s->F + f] = rs_resultant_unbiased(sum, s->rows);
            angle[h * s->F + f] = sum.re == 0.0 && sum.im == 0.0 ? (double)NAN : atan2(sum.im, sum.re);
        }
    }
out:
    return st;
}

/* M11: rho = |E z^2| / E|z|^2; half axes of the ellipse that the pair fills (around the origin, root mean squares along
 * and across) are sqrt((1 +- rho) E|z|^2 / 2). */
static rs_status finish_ellipse(const side *s, rs_arrays *out, rs_error *err) {
    rs_status st = RS_OK;
    double *rho = NULL, *ratio = NULL;
    RS_TRY(add(s, "ellipse", "1", "|E z^2| / E|z|^2 around the origin: 0 = a circle, 1 = a line", NULL, 0, s->rows, out,
               &rho, err));
    RS_TRY(add(s, "axis_ratio", "1",
               "short by long axis of the pair's ellipse around the origin, sqrt((1 - r)/(1 + r)), r = |E z^2|/E|z|^2",
               NULL, 0, s->rows, out, &ratio, err));
    for (int64_t h = 0; h < s->H; h++) {
        for (int64_t f = 0; f < s->F; f++) {
            double r = rs_tally_ratio(hypot(circle(s, h, RS_A_SQ_RE, f), circle(s, h, RS_A_SQ_IM, f)),
                                      circle(s, h, RS_A_ABS2, f));
            r = r > 1.0 ? 1.0 : r; /* rounding */
            rho[h * s->F + f] = r;
            ratio[h * s->F + f] = sqrt((1.0 - r) / (1.0 + r));
        }
    }
out:
    return st;
}

/* ---- spectra of the norm ---- */

static rs_status finish_spectrum(const side *s, rs_arrays *out, rs_error *err) {
    rs_status st = RS_OK;
    double *share = NULL, *spectrum = NULL, *sequence = NULL;
    RS_TRY(
        add(s, "norm_spectrum", "1",
            "share of the power of |z| along the sequence by frequency: Hann frames half a frame apart, the constant "
            "part included",
            "spectrum_bin", s->bins, s->sequences, out, &share, err));
    RS_TRY(add(s, "spectrum_entropy", "1",
               "SpectrumFE: entropy of the averaged power spectrum of |z| over frames, divided by that of equal shares",
               NULL, 0, s->sequences, out, &spectrum, err));
    RS_TRY(add(s, "sequence_entropy", "1",
               "SequenceFE: entropy of the spectrum of |z| over a whole sequence without its mean, divided by that of "
               "equal shares; mean over sequences",
               NULL, 0, s->sequences, out, &sequence, err));
    for (int64_t i = 0; i < s->H * s->F; i++) {
        const double *e = s->entropy + i * RS_ANGULAR_ENTROPIES;
        spectrum[i] = shares_and_entropy(s->power + i * s->bins, s->bins, share + i * s->bins);
        sequence[i] = rs_tally_ratio(e[RS_A_ENTROPY_SUM], e[RS_A_ENTROPY_COUNT]);
    }
out:
    return st;
}

static rs_status finish_side(side *s, const rs_probe_facts *facts, const rs_arrays *state, rs_arrays *out,
                             rs_error *err) {
    rs_status st = RS_OK;
    RS_TRY(open_side(s, facts, state, err));
    RS_TRY(finish_phase(s, out, err));
    RS_TRY(finish_circle(s, 1, out, err));
    RS_TRY(finish_circle(s, 2, out, err));
    RS_TRY(finish_ellipse(s, out, err));
    RS_TRY(finish_spectrum(s, out, err));
out:
    return st;
}

/* ---- turns ---- */

/* A table of the graph alone, but no value where nothing was observed: an empty half of a run says nothing. */
static rs_status finish_turns(const side *s, const rs_layer *l, const char *name, const char *text, int64_t positions,
                              rs_arrays *out, rs_error *err) {
    rs_status st = RS_OK;
    rs_array *a = NULL;
    RS_TRY(rs_arrays_add(out, &a, err, name, RS_F64, "1", text, 1, "pair", s->F));
    a->count = (int64_t)s->rows;
    for (int64_t f = 0; f < s->F && s->sequences > 0 && positions > 0; f++) {
        a->data[f] = (double)positions * l->rope.theta[f] / (2.0 * 3.14159265358979323846);
    }
out:
    return st;
}

/* ---- the logit by distance ---- */

/* By distance on the axis: how many (query, key), and the mean of e^{i theta D} over them. */
typedef struct curve {
    const rs_layer *layer;
    int64_t T, H, K, F, n;
    double sequences;
    double *weight; /* [n] (query, key) of a point in one sequence */
    double *turn;   /* [2, F, n] */
    double *logit;  /* [H, F, n] sums over all folds */
    double *half;   /* [2, H, n] sums over the pairs, of even and of odd folds */
} curve;

static void close_curve(curve *c) {
    rs_free(c->weight);
    rs_free(c->turn);
    rs_free(c->logit);
    rs_free(c->half);
}

/* Distance D has T - 1 - D pairs of a query and a key without the sink, as long as the window shows it. */
static void fill_turns(curve *c) {
    double axis[RS_DISTANCE_POINTS + 1];
    int64_t window = c->layer->window, most = window > 0 && window < c->T - 1 ? window : c->T - 1;
    rs_distance_axis(c->T, axis);
    axis[c->n] = (double)c->T;
    for (int64_t i = 0; i < c->n; i++) {
        for (int64_t D = (int64_t)axis[i]; D < (int64_t)axis[i + 1] && D < most; D++) {
            double rows = (double)(c->T - 1 - D);
            c->weight[i] += rows;
            for (int64_t f = 0; f < c->F; f++) {
                double angle = c->layer->rope.theta[f] * (double)D;
                c->turn[f * c->n + i] += rows * cos(angle);
                c->turn[(c->F + f) * c->n + i] += rows * sin(angle);
            }
        }
    }
    for (int64_t i = 0; i < 2 * c->F * c->n; i++) {
        c->turn[i] = rs_tally_ratio(c->turn[i], c->weight[i % c->n]);
    }
}

static rs_status sum_half(curve *c, const rs_arrays *state, int first, rs_error *err) {
    rs_status st = RS_OK;
    double *sum = NULL;
    RS_TRY(rs_tally_sum(state, "state/angular_spectrum/logit", first, 2, &sum, NULL, err));
    for (int64_t i = 0; i < c->H * c->F * c->n; i++) {
        c->half[(first * c->H + i / (c->F * c->n)) * c->n + i % c->n] += sum[i];
    }
out:
    rs_free(sum);
    return st;
}

static rs_status open_curve(curve *c, const rs_probe_facts *facts, const rs_layer *l, double sequences,
                            const rs_arrays *state, rs_error *err) {
    rs_status st = RS_OK;
    *c = (curve){.layer = l,
                 .T = facts->positions,
                 .H = l->heads,
                 .K = l->kv_heads,
                 .F = l->rope.n_pairs,
                 .n = rs_distance_axis(facts->positions, NULL),
                 .sequences = sequences};
    RS_TRY(rs_tally_cells(state, "state/angular_spectrum/logit", c->H * c->F * c->n, &c->logit, err));
    RS_TRY(RS_NEW(&c->weight, (size_t)c->n, err));
    RS_TRY(RS_NEW(&c->turn, (size_t)(2 * c->F * c->n), err));
    RS_TRY(RS_NEW(&c->half, (size_t)(2 * c->H * c->n), err));
    fill_turns(c);
    RS_TRY(sum_half(c, state, 0, err));
    RS_TRY(sum_half(c, state, 1, err));
out:
    return st;
}

/* Mean and sum of squares around it of x[n], each point counted as often as it was seen. */
static double spread(const curve *c, const double *x) {
    double seen = 0.0, mean = 0.0, square = 0.0; /* Welford */
    for (int64_t i = 0; i < c->n; i++) {
        if (c->weight[i] == 0.0) {
            continue;
        }
        double delta = x[i] - mean;
        seen += c->weight[i];
        mean += delta * c->weight[i] / seen;
        square += c->weight[i] * delta * (x[i] - mean);
    }
    return square;
}

/* 1 - var(measured - means) / var(measured) over the distances. work: [n] */
static double explained(const curve *c, const double *measured, const double *means, double *work) {
    for (int64_t i = 0; i < c->n; i++) {
        work[i] = measured[i] - means[i];
    }
    double whole = spread(c, measured);
    return whole > 0.0 ? 1.0 - spread(c, work) / whole : (double)NAN;
}

/* What the mean query and the mean key alone give at the distances: Re( mu_q conj(mu_k) e^{i theta D} ). */
static void curve_of_means(const curve *c, const side *q, const side *k, int64_t h, int64_t f, double *out) {
    int64_t kv = h / (c->H / c->K);
    double by = c->layer->scale * c->layer->rope.factor[f] * c->layer->rope.factor[f] / (q->rows * k->rows);
    double qr = circle(q, h, RS_A_RE, f), qi = circle(q, h, RS_A_IM, f);
    double kr = circle(k, kv, RS_A_RE, f), ki = circle(k, kv, RS_A_IM, f);
    for (int64_t i = 0; i < c->n; i++) {
        out[i] =
            by * ((qr * kr + qi * ki) * c->turn[f * c->n + i] - (qi * kr - qr * ki) * c->turn[(c->F + f) * c->n + i]);
    }
}

typedef struct curve_results {
    double *pair;       /* [H, F, n] */
    double *head;       /* [H, n] */
    double *pair_share; /* [H, F] */
    double *share;      /* [H] */
    double *halves;     /* [H] */
} curve_results;

static rs_status add_curve(const curve *c, const char *name, const char *text, bool pairs, bool distances,
                           rs_arrays *out, double **cells, rs_error *err) {
    rs_status st = RS_OK;
    rs_array *a = NULL;
    char path[RS_NAME_BYTES];
    const char *axis[2] = {pairs ? "pair" : "distance", "distance"};
    int64_t size[2] = {pairs ? c->F : c->n, c->n};
    snprintf(path, sizeof path, "angular_spectrum/%s", name);
    RS_TRY(rs_arrays_add(out, &a, err, path, RS_F32, "1", text, 1 + pairs + distances, "head", c->H, axis[0], size[0],
                         axis[1], size[1]));
    a->count = (int64_t)(c->sequences * (double)(c->T - 1));
    *cells = a->data;
out:
    return st;
}

static rs_status add_results(const curve *c, rs_arrays *out, curve_results *r, rs_error *err) {
    rs_status st = RS_OK;
    RS_TRY(
        add_curve(c, "pair_logit",
                  "mean over all (query, key) at a distance, without the sink, of the pair's part of the scaled logit",
                  true, true, out, &r->pair, err));
    RS_TRY(add_curve(c, "mean_logit", "sum of pair_logit over the pairs: the mean scaled logit by distance", false,
                     true, out, &r->head, err));
    RS_TRY(add_curve(c, "pair_position_share",
                     "share of the variance of the pair's distance curve that the mean query and the mean key explain; "
                     "below 0 where they predict worse than a constant",
                     true, false, out, &r->pair_share, err));
    RS_TRY(add_curve(c, "position_share",
                     "share of the variance of mean_logit over distances that the mean queries and keys explain", false,
                     false, out, &r->share, err));
    RS_TRY(add_curve(c, "mean_logit_split_half",
                     "correlation over distances of mean_logit of even and of odd sequences; no value when one half is "
                     "empty",
                     false, false, out, &r->halves, err));
out:
    return st;
}

static void finish_head(const curve *c, const side *q, const side *k, int64_t h, const curve_results *r, double *work) {
    double *means = work, *whole = work + c->n, *scratch = work + 2 * c->n, *head = r->head + h * c->n;
    for (int64_t i = 0; i < c->n; i++) {
        whole[i] = 0.0;
        head[i] = 0.0;
    }
    for (int64_t f = 0; f < c->F; f++) {
        double *pair = r->pair + (h * c->F + f) * c->n;
        curve_of_means(c, q, k, h, f, means);
        for (int64_t i = 0; i < c->n; i++) {
            pair[i] = rs_tally_ratio(c->logit[(h * c->F + f) * c->n + i], c->sequences * c->weight[i]);
            head[i] += pair[i];
            whole[i] += means[i];
        }
        r->pair_share[h * c->F + f] = explained(c, pair, means, scratch);
    }
    r->share[h] = explained(c, head, whole, scratch);
    for (int64_t i = 0; i < c->n; i++) { /* the halves need no number of sequences: a correlation does not see it */
        c->half[h * c->n + i] = rs_tally_ratio(c->half[h * c->n + i], c->weight[i]);
        c->half[(c->H + h) * c->n + i] = rs_tally_ratio(c->half[(c->H + h) * c->n + i], c->weight[i]);
    }
    r->halves[h] = rs_tally_correlation(c->half + h * c->n, c->half + (c->H + h) * c->n, c->n);
}

static rs_status finish_curve(const curve *c, const side *q, const side *k, rs_arrays *out, rs_error *err) {
    rs_status st = RS_OK;
    curve_results r = {0};
    double *work = NULL;
    RS_TRY(RS_NEW(&work, (size_t)(3 * c->n), err));
    RS_TRY(add_results(c, out, &r, err));
    for (int64_t h = 0; h < c->H; h++) {
        finish_head(c, q, k, h, &r, work);
    }
out:
    rs_free(work);
    return st;
}

rs_status rs_angular_finish(const rs_probe_facts *facts, int layer, const rs_arrays *state, rs_arrays *out,
                            rs_error *err) {
    rs_status st = RS_OK;
    const rs_layer *l = &facts->graph->layers[layer];
    side q = {.letter = "q", .heads = "head", .H = l->heads, .F = l->rope.n_pairs};
    side k = {.letter = "k", .heads = "kv_head", .H = l->kv_heads, .F = l->rope.n_pairs};
    curve c = {0};
    RS_TRY(finish_side(&q, facts, state, out, err));
    RS_TRY(finish_side(&k, facts, state, out, err));
    RS_TRY(finish_turns(&q, l, "angular_spectrum/turns_trained", "turns of the pair over the trained context",
                        facts->graph->trained_context, out, err));
    RS_TRY(finish_turns(&q, l, "angular_spectrum/turns_context", "turns of the pair over the sequences of this run",
                        facts->positions, out, err));
    RS_TRY(open_curve(&c, facts, l, q.sequences, state, err));
    RS_TRY(finish_curve(&c, &q, &k, out, err));
out:
    close_curve(&c);
    close_side(&q);
    close_side(&k);
    return st;
}
