/* probes/attention_finish.c: sums of attention_pattern.c -> results. */
#include "probes/attention_pattern.h"

#include "analyzer/base/alloc.h"
#include "probes/axis.h"
#include "probes/tally.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct sums {
    int64_t H, T, window;
    double sequences, rows; /* rows: query rows 1..T-1 of all sequences */
    double *heads;          /* [H, RS_PATTERN_SUMS] */
    double *profile;        /* [H, points] */
    double *distance;       /* [H] */
    double *toeplitz;       /* [H] */
    double *listed;         /* [RS_LISTS] */
    double *map;            /* [H, B, B] */
    double axis[RS_PROFILE_POINTS];
    int64_t points;
} sums;

static void close_sums(sums *s) {
    rs_free(s->heads);
    rs_free(s->profile);
    rs_free(s->distance);
    rs_free(s->toeplitz);
    rs_free(s->listed);
    rs_free(s->map);
}

static rs_status open_sums(sums *s, const rs_probe_facts *facts, int layer, const rs_arrays *state, rs_error *err) {
    rs_status st = RS_OK;
    const rs_layer *l = &facts->graph->layers[layer];
    s->H = l->heads;
    s->T = facts->positions;
    s->window = l->window;
    s->points = rs_profile_axis(s->T, s->axis);
    RS_TRY(rs_tally_number(state, "state/attention_pattern/sequences", &s->sequences, err));
    s->rows = s->sequences * (double)(s->T - 1);
    RS_TRY(rs_tally_cells(state, "state/attention_pattern/sums", s->H * RS_PATTERN_SUMS, &s->heads, err));
    RS_TRY(rs_tally_cells(state, "state/attention_pattern/profile", s->H * s->points, &s->profile, err));
    RS_TRY(rs_tally_cells(state, "state/attention_pattern/distance", s->H, &s->distance, err));
    RS_TRY(rs_tally_cells(state, "state/attention_pattern/toeplitz", s->H, &s->toeplitz, err));
    RS_TRY(rs_tally_cells(state, "state/attention_pattern/listed_rows", RS_LISTS, &s->listed, err));
    RS_TRY(rs_tally_cells(state, "state/attention_pattern/map", s->H * RS_MAP_BLOCKS * RS_MAP_BLOCKS, &s->map, err));
out:
    return st;
}

/* A new array [head] or [head, last]; *cells stays valid when the list grows. */
static rs_status add(const sums *s, const char *name, const char *unit, const char *text, const char *last, int64_t n,
                     double count, rs_arrays *out, double **cells, rs_error *err) {
    rs_status st = RS_OK;
    rs_array *a = NULL;
    char path[RS_NAME_BYTES];
    snprintf(path, sizeof path, "attention_pattern/%s", name);
    RS_TRY(rs_arrays_add(out, &a, err, path, RS_F32, unit, text, last ? 2 : 1, "head", s->H, last, n));
    a->count = (int64_t)count;
    *cells = a->data;
out:
    return st;
}

/* --- means over rows
 * ------------------------------------------------------------------------------------------------------------- */

typedef struct row_mean {
    const char *name, *unit, *text;
    int sum;
    int list; /* mean over the rows that have such a column; -1: over all rows */
} row_mean;

static const row_mean ROW_MEANS[] = {
    {"diagonal", "1", "mean attention of a token to itself, rows 1..T-1", RS_PATTERN_DIAGONAL, -1},
    {"previous", "1", "mean attention to the token before, rows 1..T-1", RS_PATTERN_PREVIOUS, -1},
    {"first", "1", "mean attention to position 0 (the sink), rows 1..T-1", RS_PATTERN_FIRST, -1},
    {"entropy", "nats", "mean entropy of a row of attention, rows 1..T-1", RS_PATTERN_ENTROPY, -1},
    {"duplicate", "1",
     "mean attention to earlier positions of the same token (position 0 left out), over rows that have any",
     RS_PATTERN_DUPLICATE, RS_LIST_DUPLICATE},
    {"induction", "1",
     "mean attention to the tokens behind earlier positions of the same token, over rows that have any",
     RS_PATTERN_INDUCTION, RS_LIST_INDUCTION},
};
enum { N_ROW_MEANS = sizeof ROW_MEANS / sizeof ROW_MEANS[0] };

static rs_status finish_rows(const sums *s, rs_arrays *out, rs_error *err) {
    rs_status st = RS_OK;
    for (int i = 0; i < N_ROW_MEANS; i++) {
        const row_mean *m = &ROW_MEANS[i];
        double rows = m->list < 0 ? s->rows : s->listed[m->list], *cells = NULL;
        RS_TRY(add(s, m->name, m->unit, m->text, NULL, 0, rows, out, &cells, err));
        for (int64_t h = 0; h < s->H; h++) {
            cells[h] = rs_tally_ratio(s->heads[h * RS_PATTERN_SUMS + m->sum], rows);
        }
    }
    double *context = NULL;
    RS_TRY(add(s, "effective_context", "tokens", "exp of the mean entropy: over how many tokens attention is spread",
               NULL, 0, s->rows, out, &context, err));
    for (int64_t h = 0; h < s->H; h++) {
        context[h] = exp(rs_tally_ratio(s->heads[h * RS_PATTERN_SUMS + RS_PATTERN_ENTROPY], s->rows));
    }
out:
    return st;
}

/* --- distances, the sink left out
 * -------------------------------------------------------------------------------------------------- */

/* Smallest distance up to which `part` of the mass lies. Where a bin is wider than one distance the mass counts as
 * spread evenly. */
static double quantile(const sums *s, const double *mass, double whole, double part) {
    double below = 0.0;
    if (!(whole > 0.0)) {
        return (double)NAN;
    }
    for (int64_t i = 0; i < s->points; i++) {
        if (below + mass[i] >= part * whole) {
            double width = (i + 1 < s->points ? s->axis[i + 1] : (double)s->T) - s->axis[i];
            return s->axis[i] + fmin(width - 1.0, floor(width * (part * whole - below) / mass[i]));
        }
        below += mass[i];
    }
    return s->axis[s->points - 1]; /* rounding left the sum below `part` */
}

static rs_status finish_distances(const sums *s, rs_arrays *out, rs_error *err) {
    rs_status st = RS_OK;
    double *mean = NULL, *p50 = NULL, *p90 = NULL;
    RS_TRY(add(s, "mean_distance", "tokens", "mean distance of the attention mass without the sink", NULL, 0, s->rows,
               out, &mean, err));
    RS_TRY(add(s, "p50_distance", "tokens", "distance within which half of the attention mass without the sink lies",
               NULL, 0, s->rows, out, &p50, err));
    RS_TRY(add(s, "p90_distance", "tokens",
               "distance within which nine tenths of the attention mass without the sink lie", NULL, 0, s->rows, out,
               &p90, err));
    for (int64_t h = 0; h < s->H; h++) {
        const double *mass = s->profile + h * s->points;
        double whole = 0.0;
        for (int64_t i = 0; i < s->points; i++) {
            whole += mass[i];
        }
        mean[h] = rs_tally_ratio(s->distance[h], whole);
        p50[h] = quantile(s, mass, whole, 0.5);
        p90[h] = quantile(s, mass, whole, 0.9);
    }
out:
    return st;
}

/* First distance of each class behind the sink's; all below RS_PROFILE_DENSE, so that no bin lies across two. */
static const double CLASS_FIRST[] = {0, 1, 2, 17, 129, 1025};
enum { N_CLASSES = sizeof CLASS_FIRST / sizeof CLASS_FIRST[0] };

static rs_status finish_classes(const sums *s, rs_arrays *out, rs_error *err) {
    rs_status st = RS_OK;
    double *cells = NULL;
    RS_TRY(add(s, "distance_mass", "1", "mean attention at: the sink, itself, distance 1, 2-16, 17-128, 129-1024, more",
               "distance_class", N_CLASSES + 1, s->rows, out, &cells, err));
    for (int64_t h = 0; h < s->H; h++) {
        double *mass = cells + h * (N_CLASSES + 1);
        for (int c = 0; c <= N_CLASSES; c++) {
            mass[c] = 0.0;
        }
        mass[0] = s->heads[h * RS_PATTERN_SUMS + RS_PATTERN_FIRST];
        for (int64_t i = 0; i < s->points; i++) {
            mass[1 + rs_axis_find(CLASS_FIRST, N_CLASSES, s->axis[i])] += s->profile[h * s->points + i];
        }
        for (int c = 0; c <= N_CLASSES; c++) {
            mass[c] = rs_tally_ratio(mass[c], s->rows);
        }
    }
out:
    return st;
}

/* Entries of the pattern at distances from..to-1 in one sequence: rows 1..T-1, columns 1.., inside the window. */
static double entries(const sums *s, int64_t from, int64_t to) {
    int64_t end = s->window > 0 && s->window < to ? s->window : to;
    double n = 0.0;
    for (int64_t d = from; d < end; d++) {
        n += (double)(s->T - 1 - d);
    }
    return n;
}

static rs_status finish_profile(const sums *s, rs_arrays *out, rs_error *err) {
    rs_status st = RS_OK;
    double axis[RS_DISTANCE_POINTS], *cells = NULL, *count = NULL;
    int64_t n = rs_distance_axis(s->T, axis);
    RS_TRY(RS_NEW(&count, (size_t)n, err));
    RS_TRY(add(s, "profile", "1",
               "mean attention at this distance (up to the next one of the axis), without column 0, over the entries "
               "that can be seen",
               "distance", n, s->rows, out, &cells, err));
    for (int64_t i = 0; i < s->H * n; i++) {
        cells[i] = 0.0;
    }
    for (int64_t i = 0; i < s->points; i++) {
        int64_t at = rs_axis_find(axis, n, s->axis[i]);
        count[at] += entries(s, (int64_t)s->axis[i], i + 1 < s->points ? (int64_t)s->axis[i + 1] : s->T);
        for (int64_t h = 0; h < s->H; h++) {
            cells[h * n + at] += s->profile[h * s->points + i];
        }
    }
    for (int64_t i = 0; i < s->H * n; i++) {
        cells[i] = rs_tally_ratio(cells[i], count[i % n] * s->sequences);
    }
out:
    rs_free(count);
    return st;
}

/* --- shape
 * -----------------------------------------------------------------------------------------------------------------------
 */

static rs_status finish_toeplitz(const sums *s, rs_arrays *out, rs_error *err) {
    rs_status st = RS_OK;
    double *cells = NULL;
    RS_TRY(
        add(s, "toeplitz_share", "1",
            "squared norm of the pattern's part that depends on the distance alone / of the pattern, without column 0",
            NULL, 0, s->sequences, out, &cells, err));
    for (int64_t h = 0; h < s->H; h++) {
        cells[h] = rs_tally_ratio(s->toeplitz[h], s->heads[h * RS_PATTERN_SUMS + RS_PATTERN_SQUARE]);
    }
out:
    return st;
}

/* Rows of each block: positions t with t * B / T = i (whole division), as the op bins them. */
static void block_rows(int64_t positions, double rows[RS_MAP_BLOCKS]) {
    for (int i = 0; i < RS_MAP_BLOCKS; i++) {
        rows[i] = 0.0;
    }
    for (int64_t t = 0; t < positions; t++) {
        rows[t * RS_MAP_BLOCKS / positions] += 1.0;
    }
}

static rs_status finish_map(const sums *s, rs_arrays *out, rs_error *err) {
    rs_status st = RS_OK;
    rs_array *a = NULL;
    double rows[RS_MAP_BLOCKS];
    int64_t B = RS_MAP_BLOCKS;
    RS_TRY(rs_arrays_add(out, &a, err, "attention_pattern/map", RS_F32, "1",
                         "mean attention of the rows of a block to all columns of a block, 32 by 32 blocks", 3, "head",
                         s->H, "map_row", B, "map_column", B));
    a->count = (int64_t)s->sequences;
    block_rows(s->T, rows);
    for (int64_t i = 0; i < s->H * B * B; i++) {
        a->data[i] = rs_tally_ratio(s->map[i], rows[i / B % B] * s->sequences);
    }
out:
    return st;
}

/* Largest difference between even and odd sequences of the means that name a head. */
static rs_status finish_halves(const sums *s, const rs_arrays *state, rs_arrays *out, rs_error *err) {
    rs_status st = RS_OK;
    static const int NAMING[] = {RS_PATTERN_PREVIOUS, RS_PATTERN_FIRST, RS_PATTERN_DIAGONAL};
    double *half[2] = {NULL, NULL}, *cells = NULL;
    RS_TRY(add(s, "split_half", "1",
               "largest difference of previous, first and diagonal between even and odd sequences; no value when one "
               "half is empty",
               NULL, 0, s->rows, out, &cells, err));
    RS_TRY(rs_tally_sum(state, "state/attention_pattern/sums", 0, 2, &half[0], NULL, err));
    RS_TRY(rs_tally_sum(state, "state/attention_pattern/sums", 1, 2, &half[1], NULL, err));
    for (int64_t h = 0; h < s->H; h++) {
        const double *even = half[0] + h * RS_PATTERN_SUMS, *odd = half[1] + h * RS_PATTERN_SUMS;
        if (even[RS_PATTERN_ROWS] <= 0.0 || odd[RS_PATTERN_ROWS] <= 0.0) {
            continue;
        }
        cells[h] = 0.0;
        for (size_t i = 0; i < sizeof NAMING / sizeof NAMING[0]; i++) {
            cells[h] =
                fmax(cells[h], fabs(even[NAMING[i]] / even[RS_PATTERN_ROWS] - odd[NAMING[i]] / odd[RS_PATTERN_ROWS]));
        }
    }
out:
    rs_free(half[0]);
    rs_free(half[1]);
    return st;
}

rs_status rs_pattern_finish(const rs_probe_facts *facts, int layer, const rs_arrays *state, rs_arrays *out,
                            rs_error *err) {
    rs_status st = RS_OK;
    sums *s = NULL; /* on the heap: its axis is large */
    RS_TRY(RS_NEW(&s, 1, err));
    RS_TRY(open_sums(s, facts, layer, state, err));
    RS_TRY(finish_rows(s, out, err));
    RS_TRY(finish_distances(s, out, err));
    RS_TRY(finish_classes(s, out, err));
    RS_TRY(finish_profile(s, out, err));
    RS_TRY(finish_toeplitz(s, out, err));
    RS_TRY(finish_map(s, out, err));
    RS_TRY(finish_halves(s, state, out, err));
out:
    if (s) {
        close_sums(s);
    }
    rs_free(s);
    return st;
}
