/* probes/position_anova.c: how much of the sampled logits depends on the distance, how much on the key, how much on
 * both at once (metrics C3). Per head and sequence, over sampled rows m and keys n >= 1, by least squares: total     SS
 * left by z = row + e: softmax does not see what a row has in common distance  what z = row + a(distance) + e explains
 * of it key       what z = row + b(key) + e explains: the key's content as this sequence has it both      what z = row
 * + a(distance) + b(key) + e explains The rows do not balance distances over keys: distance and key alone overlap and
 * need not add up to `both`. What many small groups explain by chance is taken off: SS - df MS_e (epsilon squared,
 * Kelley 1935), MS_e = what is left / its degrees of freedom. A distance is a group of its own up to 2,048 (the axis
 * profile_distance). */
#include "probes/position_content.h"

#include "probes/axis.h"

#include <math.h>
#include <string.h>

/* Conjugate gradients on the normal equations: alternating over the factors creeps, for distance and key are nearly one
 * another's mirror. The squared residual of the equations, over their diagonal, falls below SETTLED of the total. */
enum { STEPS = 1000 };
static const double SETTLED = 1e-14;
/* Of the sum of squares: a row that varies less does not vary. */
static const double ROUNDING = 1e-24;

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
    double *fitted; /* count of the levels that the model at hand has, 0 of the others */
} anova;

enum { VECTORS = 6 };

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

/* x / count of a level of the model; 0 of one that is not in it or was never observed. */
static double share(const anova *a, const double *x, int64_t level) {
    return a->fitted[level] > 0 ? x[level] / a->fitted[level] : 0.0;
}

static double steepness(const anova *a) {
    double sum = 0;
    for (int64_t level = 0; level < a->levels[FACTORS]; level++) {
        sum += a->gradient[level] * share(a, a->gradient, level);
    }
    return sum;
}

/* The model's factors: rows, and those named. Returns how many of their levels were observed, without the rows'. */
static double choose(const anova *a, bool distances, bool keys) {
    double n = 0;
    for (int64_t level = 0; level < a->levels[FACTORS]; level++) {
        bool row = level < a->levels[DISTANCES], distance = !row && level < a->levels[KEYS];
        a->fitted[level] = row || (distance ? distances : keys) ? a->count[level] : 0.0;
        n += !row && a->fitted[level] > 0;
    }
    return n;
}

/* Least squares over the model's factors, from rows with these means on. Returns the SS of the residual. */
static double fit(const anova *a, const double *means, double whole) {
    int64_t n = a->levels[FACTORS];
    memset(a->effect, 0, (size_t)n * sizeof *a->effect);
    memset(a->step, 0, (size_t)n * sizeof *a->step);
    memcpy(a->effect, means, (size_t)a->n_rows * sizeof *means);
    gather(a, a->effect, true, a->gradient);
    double now = steepness(a), before = 0;
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

static anova open_anova(const double *const *z, const int64_t *keys, const int32_t *row, int64_t n_rows, int64_t T,
                        double *work) {
    anova a = {.z = z, .keys = keys, .row = row, .n_rows = n_rows, .T = T, .group = work};
    double *axis = work + T, *vectors = axis + RS_PROFILE_POINTS;
    int64_t points = rs_profile_axis(T, axis), n = n_rows + points + T;
    double **at[VECTORS] = {&a.count, &a.effect, &a.gradient, &a.step, &a.image, &a.fitted};
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

/* Sets of rows of which no two share a key: a window may leave gaps. Rows ascend and see what is just behind them. */
static double row_sets(const anova *a) {
    double sets = 1;
    for (int64_t i = 1; i < a->n_rows; i++) {
        sets += a->row[i] - a->keys[i] + 1 > a->row[i - 1];
    }
    return sets;
}

void rs_anova_rows(const double *const *z, const int64_t *keys, const int32_t *row, int64_t n_rows, int64_t T,
                   double *work, double *out) {
    /* Levels that others make up: a constant between rows and distances; one between rows and keys for every set of
     * rows that share keys; and, m - n being D, one trend of all three. */
    static const struct {
        bool distances, keys;
        double constants, sets;
    } MODEL[RS_ANOVA_SHARES] = {[RS_ANOVA_DISTANCE] = {true, false, 1, 0},
                                [RS_ANOVA_KEY] = {false, true, 0, 1},
                                [RS_ANOVA_BOTH] = {true, true, 2, 1}};
    anova a = open_anova(z, keys, row, n_rows, T, work);
    double means[RS_SAMPLE_ROWS] = {0}, free = -(double)n_rows, raw = residual(&a), sets = row_sets(&a);
    gather(&a, a.effect, true, a.gradient);
    for (int64_t i = 0; i < n_rows; i++) {
        free += (double)keys[i];
        means[i] = keys[i] > 0 ? a.gradient[i] / (double)keys[i] : 0.0;
        a.effect[i] = means[i];
    }
    double whole = residual(&a);
    for (int which = 0; which < RS_ANOVA_SHARES && whole > ROUNDING * raw; which++) {
        double df =
            choose(&a, MODEL[which].distances, MODEL[which].keys) - MODEL[which].constants - MODEL[which].sets * sets;
        if (free - df >= 1) { /* observations are left to tell chance by */
            double left = fit(&a, means, whole);
            out[which] += whole - left - df * left / (free - df);
            out[RS_ANOVA_SHARES + which] += whole;
        }
    }
}
