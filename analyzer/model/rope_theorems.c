#include "analyzer/model/rope_theorems.h"

#include "analyzer/base/alloc.h"
#include "analyzer/base/rng.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const double PI = 3.141592653589793238462643383279502884;

double rs_rope_logit(const double *theta, int n_pairs, const double *q, const double *k, double distance) {
    double z = 0;
    for (int f = 0; f < n_pairs; f++) {
        double re = q[2 * f] * k[2 * f] + q[2 * f + 1] * k[2 * f + 1];
        double im = q[2 * f + 1] * k[2 * f] - q[2 * f] * k[2 * f + 1]; /* of q conj(k) */
        z += re * cos(theta[f] * distance) - im * sin(theta[f] * distance);
    }
    return z;
}

double rs_rope_reversal(double theta) { return theta > 0 ? ceil(PI / 2 / theta) : (double)INFINITY; }

/* ---- what the statements are tried on ---- */

typedef struct lab {
    const double *theta;
    int F, rotated;
    int64_t N;
    rs_rng rng;
    double *q, *k; /* [2 F] */
} lab;

static void draw(lab *l, double *x) {
    for (int i = 0; i < 2 * l->F; i++) {
        x[i] = rs_rng_normal(&l->rng);
    }
}

/* k = R^r q: every pair of the query turned back by r tokens' angle, so that the logit is largest r tokens back. */
static void key_for(const lab *l, double r) {
    for (int f = 0; f < l->F; f++) {
        double c = cos(l->theta[f] * r), s = sin(l->theta[f] * r), re = l->q[2 * f], im = l->q[2 * f + 1];
        l->k[2 * f] = re * c - im * s;
        l->k[2 * f + 1] = re * s + im * c;
    }
}

/* Largest of z at all distances but `but`; its distance. */
static double largest_elsewhere(const lab *l, int64_t but) {
    double best = -(double)INFINITY;
    for (int64_t d = 0; d < l->N; d++) {
        best = d == but ? best : fmax(best, rs_rope_logit(l->theta, l->F, l->q, l->k, (double)d));
    }
    return best;
}

static rs_status any_distance(lab *l, rs_theorem *t, rs_error *err) {
    enum { QUERIES = 12 };
    const int64_t distance[] = {0, 1, 2, 5, 17, l->N / 3, l->N / 2, l->N - 1};
    int tried = 0, hit = 0;
    double closest = -1;
    (void)err;
    for (int n = 0; n < QUERIES; n++) {
        draw(l, l->q);
        for (size_t i = 0; i < sizeof distance / sizeof *distance; i++) {
            if (distance[i] >= l->N) {
                continue;
            }
            key_for(l, (double)distance[i]);
            double at = rs_rope_logit(l->theta, l->F, l->q, l->k, (double)distance[i]);
            double other = largest_elsewhere(l, distance[i]);
            tried++;
            hit += at > other;
            closest = fmax(closest, other / at);
        }
    }
    t->holds = hit == tried;
    snprintf(t->found, sizeof t->found,
             "%d of %d random queries and distances within %lld positions; the runner-up comes to at most %.6f of it",
             hit, tried, (long long)l->N, closest);
    return RS_OK;
}

static rs_status no_decay(lab *l, rs_theorem *t, rs_error *err) {
    enum { DRAWS = 4000, PLACES = 5 };
    const int64_t distance[PLACES] = {0, 1, 16 < l->N ? 16 : 2, l->N / 2, l->N - 1};
    double worst = 0, least = (double)INFINITY, most = 0, ones = 0;
    (void)err;
    for (int p = 0; p < PLACES; p++) {
        double sum = 0, square = 0;
        for (int n = 0; n < DRAWS; n++) {
            draw(l, l->q);
            draw(l, l->k);
            double z = rs_rope_logit(l->theta, l->F, l->q, l->k, (double)distance[p]);
            sum += z;
            square += z * z;
        }
        double mean = sum / DRAWS, deviation = sqrt(square / DRAWS - mean * mean) / sqrt(2.0 * l->F);
        worst = fmax(worst, fabs(mean) / sqrt(2.0 * l->F / DRAWS));
        least = fmin(least, deviation);
        most = fmax(most, deviation);
    }
    for (int f = 0; f < l->F; f++) {
        ones += cos(l->theta[f] * (double)(l->N - 1)) / l->F;
    }
    /* Of 5 means of 4,000 draws one in 3,000 seeds has one beyond 4 standard errors; the deviation's own error is 1 %.
     */
    t->holds = worst < 4 && least > 0.93 && most < 1.07;
    snprintf(t->found, sizeof t->found,
             "over %d draws at 5 distances: means within %.1f standard errors of 0, spread %.2f to %.2f of that at "
             "distance 0; vectors of ones fall to %.2f at %lld",
             (int)DRAWS, worst, least, most, ones, (long long)(l->N - 1));
    return RS_OK;
}

/* A NoPE head on [bos, x, x]: the two x are one key to it. */
static rs_status nope_cannot(lab *l, rs_theorem *t, rs_error *err) {
    enum { HEADS = 10000 };
    double best = 0;
    (void)err;
    for (int n = 0; n < HEADS; n++) {
        double strength = exp(4 * rs_rng_normal(&l->rng)); /* also heads far sharper than any trained one */
        double bos = strength * rs_rng_normal(&l->rng), x = strength * rs_rng_normal(&l->rng);
        double top = fmax(bos, x), part = exp(x - top);
        best = fmax(best, part / (exp(bos - top) + 2 * part));
    }
    t->holds = best <= 0.5;
    snprintf(t->found, sizeof t->found,
             "of %d random heads none gives the token itself, or the one before, more than %.4f of its attention",
             (int)HEADS, best);
    return RS_OK;
}

/* ---- theorem 5.3 ---- */

/* Least share that any row gives to the key `shift` back, at strength s. c [N]: mean over pairs of cos(theta (D -
 * shift)). The row with the most keys has the most competitors. */
static double least_share(const double *c, int64_t n, int shift, double s) {
    double sum = 0;
    for (int64_t d = 0; d < n; d++) {
        sum += exp(s * (c[d] - c[shift]));
    }
    return 1 / sum;
}

rs_status rs_rope_strength(const double *theta, int n_pairs, int64_t context, int shift, double share, double *out,
                           rs_error *err) {
    rs_status st = RS_OK;
    double *c = NULL, low = 0, high = 1, top = 1e12;
    RS_TRY(RS_NEW(&c, (size_t)context, err));
    for (int64_t d = 0; d < context; d++) {
        for (int f = 0; f < n_pairs; f++) {
            c[d] += cos(theta[f] * (double)(d - shift)) / n_pairs;
        }
    }
    while (high < top && least_share(c, context, shift, high) <= share) {
        high *= 2;
    }
    for (int step = 0; step < 100 && high < top; step++) {
        double middle = 0.5 * (low + high);
        *(least_share(c, context, shift, middle) > share ? &high : &low) = middle;
    }
    *out = high < top ? high : (double)INFINITY;
out:
    rs_free(c);
    return st;
}

static rs_status rope_can(lab *l, rs_theorem *t, rs_error *err) {
    rs_status st = RS_OK;
    int quarter = l->rotated / 4 > 0 ? l->rotated / 4 : 1;
    double diagonal, previous, fast, slow;
    RS_TRY(rs_rope_strength(l->theta, l->rotated, l->N, 0, 0.99, &diagonal, err));
    RS_TRY(rs_rope_strength(l->theta, l->rotated, l->N, 1, 0.99, &previous, err));
    RS_TRY(rs_rope_strength(l->theta, quarter, l->N, 0, 0.99, &fast, err));
    RS_TRY(rs_rope_strength(l->theta + l->rotated - quarter, quarter, l->N, 0, 0.99, &slow, err));
    t->holds = isfinite(diagonal) && isfinite(previous);
    snprintf(t->found, sizeof t->found,
             "more than 0.99 in every row of %lld needs |q||k| = %.3g on the diagonal, %.3g for the token before; with "
             "the fastest quarter of the pairs alone %.3g, with the slowest %.3g",
             (long long)l->N, diagonal, previous, fast, slow);
out:
    return st;
}

/* ---- theorem 6.1 ---- */

/* Attention of the target against its opposite when both stand D back; |q||k| = 20 in one pair. */
static double preference(double theta, double distance) { return 1 / (1 + exp(-2 * 20 * cos(theta * distance))); }

static rs_status content_is_lost(lab *l, rs_theorem *t, rs_error *err) {
    double theta = l->theta[l->rotated - 1], at = rs_rope_reversal(theta);
    (void)err;
    t->holds = preference(theta, at - 1) > 0.5 && preference(theta, at + 1) < 0.5;
    snprintf(
        t->found, sizeof t->found,
        "the slowest turning pair (wavelength %.4g) takes the target for its opposite from %.4g tokens on: %.3f of "
        "the attention at distance 0, %.3f at twice that distance",
        2 * PI / theta, at, preference(theta, 0), preference(theta, 2 * at));
    return RS_OK;
}

static rs_status content_is_kept(lab *l, rs_theorem *t, rs_error *err) {
    double least = 1;
    (void)l;
    (void)err;
    for (double d = 1; d < 1e12; d *= 3) {
        least = fmin(least, preference(0, d));
    }
    t->holds = least > 0.999 && isinf(rs_rope_reversal(0));
    snprintf(t->found, sizeof t->found,
             "a pair that does not turn keeps %.3f of the attention on its target at every distance up to 10^12 tokens",
             least);
    return RS_OK;
}

static const struct {
    const char *name, *claim;
    bool turns; /* needs a pair that does */
    rs_status (*try_out)(lab *l, rs_theorem *t, rs_error *err);
} statements[RS_THEOREMS] = {
    {"Proposition 3.1", "for every query and distance a key exists whose logit is largest at that distance", true,
     any_distance},
    {"Proposition 3.2", "Gaussian queries and keys: the expected logit is 0 at every distance, nothing decays", true,
     no_decay},
    {"Proposition 5.2", "without rotation a head can attend neither to itself nor to the previous token", false,
     nope_cannot},
    {"Theorem 5.3", "with rotation it can: diagonal and previous-token heads by construction", true, rope_can},
    {"Theorem 6.1", "content carried by a pair that turns is lost when the context is long enough", true,
     content_is_lost},
    {"p-RoPE", "content carried by a pair that does not turn is not", false, content_is_kept},
};

rs_status rs_rope_theorems(const double *theta, int n_pairs, int64_t context, uint64_t seed,
                           rs_theorem out[RS_THEOREMS], rs_error *err) {
    rs_status st = RS_OK;
    lab l = {.theta = theta, .F = n_pairs, .N = context};
    RS_TRY(RS_NEW(&l.q, 2 * (size_t)n_pairs, err));
    RS_TRY(RS_NEW(&l.k, 2 * (size_t)n_pairs, err));
    while (l.rotated < n_pairs && theta[l.rotated] > 0) {
        l.rotated++;
    }
    rs_rng_init(&l.rng, seed);
    for (int i = 0; i < RS_THEOREMS; i++) {
        out[i] = (rs_theorem){.name = statements[i].name, .claim = statements[i].claim};
        out[i].applies = !statements[i].turns || l.rotated > 0;
        if (out[i].applies) {
            RS_TRY(statements[i].try_out(&l, &out[i], err));
        } else {
            snprintf(out[i].found, sizeof out[i].found, "nothing turns in this table");
        }
    }
out:
    rs_free(l.q);
    rs_free(l.k);
    return st;
}
