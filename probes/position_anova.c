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

enum { PASSES = 500 };
static const double SETTLED = 1e-10; /* of the total: smaller changes of the fit's SS end it */

typedef struct factor {
    double *effect, *sum, *count; /* [levels] */
    int64_t levels;
} factor;

typedef struct anova {
    const double *const *z;
    const int64_t *keys;
    const int32_t *row;
    int64_t n_rows;
    const double *axis; /* [points] first distance of each group */
    int64_t points;
    double *group; /* [T] group of each distance */
    factor rows, distance, key;
} anova;

int64_t rs_anova_work(int64_t T) { return 4 * T + 4 * RS_PROFILE_POINTS + 3 * RS_SAMPLE_ROWS; }

static factor factor_at(double **work, int64_t levels) {
    factor f = {.effect = *work, .sum = *work + levels, .count = *work + 2 * levels, .levels = levels};
    memset(*work, 0, (size_t)(3 * levels) * sizeof **work);
    *work += 3 * levels;
    return f;
}

/* Level of observation (i, D) in a factor. */
static int64_t level_of(const anova *a, const factor *f, int64_t i, int64_t D) {
    return f == &a->rows ? i : f == &a->distance ? (int64_t)a->group[D] : a->row[i] - D;
}

static double fitted(const anova *a, int64_t i, int64_t D) {
    return a->rows.effect[i] + a->distance.effect[(int64_t)a->group[D]] + a->key.effect[a->row[i] - D];
}

/* Takes the mean residual of each level into its effect: one step of least squares, all other effects held. */
static void settle(const anova *a, factor *f) {
    memset(f->sum, 0, (size_t)f->levels * sizeof *f->sum);
    memset(f->count, 0, (size_t)f->levels * sizeof *f->count);
    for (int64_t i = 0; i < a->n_rows; i++) {
        for (int64_t D = 0; D < a->keys[i]; D++) {
            int64_t level = level_of(a, f, i, D);
            f->sum[level] += a->z[i][D] - fitted(a, i, D);
            f->count[level] += 1.0;
        }
    }
    for (int64_t level = 0; level < f->levels; level++) {
        f->effect[level] += f->count[level] > 0 ? f->sum[level] / f->count[level] : 0.0;
    }
}

static double residual(const anova *a) {
    double sum = 0;
    for (int64_t i = 0; i < a->n_rows; i++) {
        for (int64_t D = 0; D < a->keys[i]; D++) {
            double e = a->z[i][D] - fitted(a, i, D);
            sum += e * e;
        }
    }
    return sum;
}

static double filled(const factor *f) {
    double n = 0;
    for (int64_t level = 0; level < f->levels; level++) {
        n += f->count[level] > 0;
    }
    return n;
}

/* SS between the levels of one factor, and no other but the rows' means; *groups: how many there are. */
static double between(const anova *a, factor *f, double *groups) {
    double sum = 0;
    settle(a, f);
    for (int64_t level = 0; level < f->levels; level++) {
        sum += f->count[level] > 0 ? f->sum[level] * f->sum[level] / f->count[level] : 0.0;
    }
    *groups = filled(f);
    memset(f->effect, 0, (size_t)f->levels * sizeof *f->effect);
    return sum;
}

static double joint(anova *a, double whole) {
    double before = whole, after = whole;
    for (int pass = 0; pass < PASSES; pass++) {
        before = after;
        settle(a, &a->distance);
        settle(a, &a->key);
        settle(a, &a->rows);
        after = residual(a);
        if (before - after <= SETTLED * whole) {
            break;
        }
    }
    return whole - after;
}

/* SS less what df free levels explain of noise. */
static double above_chance(double whole, double explained, double df, double free) {
    return explained - df * (whole - explained) / (free - df);
}

static anova open_anova(const double *const *z, const int64_t *keys, const int32_t *row, int64_t n_rows, int64_t T,
                        double *work) {
    anova a = {.z = z, .keys = keys, .row = row, .n_rows = n_rows, .axis = work};
    a.points = rs_profile_axis(T, work);
    a.group = work + RS_PROFILE_POINTS;
    work = a.group + T;
    a.rows = factor_at(&work, n_rows);
    a.distance = factor_at(&work, a.points);
    a.key = factor_at(&work, T);
    for (int64_t D = 0; D < T; D++) {
        a.group[D] = (double)rs_axis_find(a.axis, a.points, (double)D);
    }
    return a;
}

void rs_anova_rows(const double *const *z, const int64_t *keys, const int32_t *row, int64_t n_rows, int64_t T,
                   double *work, double *out) {
    anova a = open_anova(z, keys, row, n_rows, T, work);
    double seen = 0, distances = 0, key_groups = 0;
    for (int64_t i = 0; i < n_rows; i++) {
        seen += (double)keys[i];
    }
    settle(&a, &a.rows);
    double whole = residual(&a), free = seen - (double)n_rows;
    double by_distance = between(&a, &a.distance, &distances), by_key = between(&a, &a.key, &key_groups);
    /* m - n = D ties one trend of the three together. */
    double both_df = (distances - 1) + (key_groups - 1) - 1;
    if (!(whole > 0) || free - both_df < 1) {
        return;
    }
    out[RS_ANOVA_TOTAL] += whole;
    out[RS_ANOVA_DISTANCE] += above_chance(whole, by_distance, distances - 1, free);
    out[RS_ANOVA_KEY] += above_chance(whole, by_key, key_groups - 1, free);
    out[RS_ANOVA_BOTH] += above_chance(whole, joint(&a, whole), both_df, free);
}
