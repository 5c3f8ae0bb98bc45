/* probes/position_anova.c: how much of the sampled logits depends on the distance, how much on the key, how much on both at
 * once (metrics C3). Per head and sequence, over sampled rows m and keys n >= 1:
 *   total     SS of y = z - mean of its row: softmax does not see the mean of a row
 *   distance  SS between the groups of y with one distance, whatever the key
 *   key       SS between the groups of y with one key, whatever the distance: the key's content as this sequence has it
 *   both      SS explained by z = row + a(distance) + b(key) + e, least squares over all rows at once
 * The groups of one factor are not balanced over those of the other: distance and key alone overlap and need not add up
 * to `both`. What many small groups explain by chance is taken off: SS - df MS_e (epsilon squared, Kelley 1935), MS_e =
 * (SS_total - SS) / its degrees of freedom. A distance is a group of its own up to 2,048 (the axis profile_distance). */
#include "probes/position_content.h"

#include "probes/axis.h"

#include <math.h>
#include <string.h>

/* Conjugate gradients on the normal equations: alternating over the factors creeps, for distance and key are nearly one
 * another's mirror. The squared residual of the equations, over their diagonal, falls below SETTLED of the total. */
enum { STEPS = 1000 };
static const double SETTLED = 1e-14;

enum { ROWS, DISTANCES, KEYS, FACTORS };

typedef struct anova {
    const double *const *z;
    const int64_t *keys;
    const int32_t *row;
    int64_t n_rows, T;
    double *group; /* [T] group of each distance */
    /* Levels of the three factors behind one another, levels[FACTORS] of them in all. */
    int64_t levels[FACTORS + 1]; /* where each factor's begin */
    double *count, *effect, *gradient, *step, *image;
} anova;

enum { VECTORS = 5 };

int64_t rs_anova_work(int64_t T) { return T + RS_PROFILE_POINTS + VECTORS * (RS_SAMPLE_ROWS + RS_PROFILE_POINTS + T); }

/* Places of observation (row i, distance D). */
static void levels_of(const anova *a, int64_t i, int64_t D, int64_t at[FACTORS]) {
    at[ROWS] = i;
    at[DISTANCES] = a->levels[DISTANCES] + (int64_t)a->group[D];
    at[KEYS] = a->levels[KEYS] + a->row[i] - D;
}

/* out[level] = sum over its observations of x's effects there, or of what they leave of the data. */
static void gather(const anova *a, const double *x, bool of_data, double *out) {
    memset(out, 0, (size_t)a->levels[FACTORS] * sizeof *out);
    for (int64_t i = 0; i < a->n_rows; i++) {
        for (int64_t D = 0; D < a->keys[i]; D++) {
            int64_t at[FACTORS];
            levels_of(a, i, D, at);
            double fit = x[at[ROWS]] + x[at[DISTANCES]] + x[at[KEYS]], value = of_data ? a->z[i][D] - fit : fit;
            out[at[ROWS]] += value;
            out[at[DISTANCES]] += value;
            out[at[KEYS]] += value;
        }
    }
}

static double residual(const anova *a) {
    double sum = 0;
    for (int64_t i = 0; i < a->n_rows; i++) {
        for (int64_t D = 0; D < a->keys[i]; D++) {
            int64_t at[FACTORS];
            levels_of(a, i, D, at);
            double e = a->z[i][D] - a->effect[at[ROWS]] - a->effect[at[DISTANCES]] - a->effect[at[KEYS]];
            sum += e * e;
        }
    }
    return sum;
}

static double product(const double *a, const double *b, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

/* x / count, level by level; 0 where nothing was observed. */
static double share(const anova *a, const double *x, int64_t level) {
    return a->count[level] > 0 ? x[level] / a->count[level] : 0.0;
}

/* SS between the levels of one factor when the rows' means are taken off and nothing else; *groups: how many there are.
 * The gradient holds the sums of what is left. */
static double between(const anova *a, int which, double *groups) {
    double sum = 0;
    *groups = 0;
    for (int64_t level = a->levels[which]; level < a->levels[which + 1]; level++) {
        sum += a->gradient[level] * share(a, a->gradient, level);
        *groups += a->count[level] > 0;
    }
    return sum;
}

static double steepness(const anova *a) {
    double sum = 0;
    for (int64_t level = 0; level < a->levels[FACTORS]; level++) {
        sum += a->gradient[level] * share(a, a->gradient, level);
    }
    return sum;
}

/* Least squares over all three factors, from the effects that stand there. Returns the SS of the residual. */
static double fit_all(const anova *a, double whole) {
    int64_t n = a->levels[FACTORS];
    double now = steepness(a), before = 0;
    memset(a->step, 0, (size_t)n * sizeof *a->step);
    for (int k = 0; k < STEPS && now > SETTLED * whole; k++) {
        for (int64_t level = 0; level < n; level++) {
            a->step[level] = share(a, a->gradient, level) + (k > 0 ? now / before : 0.0) * a->step[level];
        }
        gather(a, a->step, false, a->image);
        double curved = product(a->step, a->image, n), by = now / curved;
        if (!(curved > 0)) {
            break;
        }
        for (int64_t level = 0; level < n; level++) {
            a->effect[level] += by * a->step[level];
            a->gradient[level] -= by * a->image[level];
        }
        before = now;
        now = steepness(a);
    }
    return residual(a);
}

/* SS less what df free levels explain of noise. */
static double above_chance(double whole, double explained, double df, double free) {
    return explained - df * (whole - explained) / (free - df);
}

static anova open_anova(const double *const *z, const int64_t *keys, const int32_t *row, int64_t n_rows, int64_t T,
                        double *work) {
    anova a = {.z = z, .keys = keys, .row = row, .n_rows = n_rows, .T = T, .group = work};
    double *axis = work + T, *vectors = axis + RS_PROFILE_POINTS;
    int64_t points = rs_profile_axis(T, axis), n = n_rows + points + T;
    double **at[VECTORS] = {&a.count, &a.effect, &a.gradient, &a.step, &a.image};
    a.levels[DISTANCES] = n_rows;
    a.levels[KEYS] = n_rows + points;
    a.levels[FACTORS] = n;
    for (int v = 0; v < VECTORS; v++) {
        *at[v] = vectors + v * n;
    }
    for (int64_t D = 0; D < T; D++) {
        a.group[D] = (double)rs_axis_find(axis, points, (double)D);
    }
    memset(a.effect, 0, (size_t)n * sizeof *a.effect);
    for (int64_t level = 0; level < n; level++) {
        a.step[level] = level < n_rows ? 1.0 : 0.0; /* an effect of 1 for every row: sums are numbers of observations */
    }
    gather(&a, a.step, false, a.count);
    return a;
}

void rs_anova_rows(const double *const *z, const int64_t *keys, const int32_t *row, int64_t n_rows, int64_t T,
                   double *work, double *out) {
    anova a = open_anova(z, keys, row, n_rows, T, work);
    double seen = 0, distances = 0, key_groups = 0;
    gather(&a, a.effect, true, a.gradient);
    for (int64_t i = 0; i < n_rows; i++) {
        seen += (double)keys[i];
        a.effect[i] = share(&a, a.gradient, i);
    }
    gather(&a, a.effect, true, a.gradient);
    double whole = residual(&a), free = seen - (double)n_rows;
    double by_distance = between(&a, DISTANCES, &distances), by_key = between(&a, KEYS, &key_groups);
    /* m - n = D ties one trend of the three together. */
    double both_df = (distances - 1) + (key_groups - 1) - 1;
    if (!(whole > 0) || free - both_df < 1) {
        return;
    }
    out[RS_ANOVA_TOTAL] += whole;
    out[RS_ANOVA_DISTANCE] += above_chance(whole, by_distance, distances - 1, free);
    out[RS_ANOVA_KEY] += above_chance(whole, by_key, key_groups - 1, free);
    out[RS_ANOVA_BOTH] += above_chance(whole, whole - fit_all(&a, whole), both_df, free);
}
