/* kernels/cpu/cpu_probes.c: the sums that probes ask for: PAIR_REDUCE, PHASE, PATTERN_REDUCE, PROFILE_REDUCE. */
#include "kernels/cpu/cpu_device.h"
#include "kernels/fourier.h"

/* ---- pairs ---- */

/* Pairs (j, j + width / 2) where there is no table. */
static rs_status pair_tables(rs_device *d, const rs_op_pair_reduce *o, int64_t pairs, const int32_t **lo,
                             const int32_t **hi, rs_error *err) {
    rs_status st = RS_OK;
    void *made = NULL;
    *lo = rs_cpu_data(&o->component_lo);
    *hi = rs_cpu_data(&o->component_hi);
    if (*lo) {
        RS_TRY(rs_cpu_check_index("pair_reduce", "component_lo", *lo, pairs, 0, 2 * pairs, err));
        RS_TRY(rs_cpu_check_index("pair_reduce", "component_hi", *hi, pairs, 0, 2 * pairs, err));
        return RS_OK;
    }
    RS_TRY(rs_cpu_scratch_get(d, RS_CPU_INDEX, (size_t)(2 * pairs) * sizeof(int32_t), &made, err));
    for (int64_t i = 0; i < 2 * pairs; i++) ((int32_t *)made)[i] = (int32_t)i;
    *lo = made;
    *hi = (const int32_t *)made + pairs;
out:
    return st;
}

rs_status rs_cpu_pair_reduce(rs_device *d, const rs_op *op, rs_error *err) {
    rs_status st = RS_OK;
    const rs_op_pair_reduce *o = &op->u.pair_reduce;
    const float *x = rs_cpu_data(&o->x);
    const int32_t *bucket = rs_cpu_data(&o->bucket), *lo = NULL, *hi = NULL;
    double *out = rs_cpu_data(&o->out);
    int64_t T = o->x.dim[0], H = o->x.dim[1], F = o->out.dim[3], cell = o->out.dim[2] * F;
    int64_t blocks = (F + RS_HOT_PAIR_BLOCK - 1) / RS_HOT_PAIR_BLOCK;
    RS_TRY(rs_cpu_check_index("pair_reduce", "bucket", bucket, T, -1, o->out.dim[0], err));
    RS_TRY(pair_tables(d, o, F, &lo, &hi, err));
    /* A unit is a block of pairs of a head: it owns its sums, over all rows in their order. */
#pragma omp parallel for schedule(dynamic, 1) num_threads(rs_cpu_threads(d, T *H *F))
    for (int64_t unit = 0; unit < H * blocks; unit++) {
        int64_t h = unit / blocks, first = unit % blocks * RS_HOT_PAIR_BLOCK;
        rs_hot_pairs p = {.x = x + h * o->x.stride[1],
                          .stride = o->x.stride[0],
                          .rows = T,
                          .bucket = bucket,
                          .lo = lo,
                          .hi = hi,
                          .pairs = F,
                          .first = first,
                          .n = F - first < RS_HOT_PAIR_BLOCK ? F - first : RS_HOT_PAIR_BLOCK,
                          .features = o->features,
                          .out = out + h * cell,
                          .bucket_stride = H * cell};
        d->hot->pair_rows(&p);
    }
out:
    return st;
}

/* One pair of one head. */
static void count_phases(const rs_op_phase *o, const rs_phase_edges *edges, int64_t h, int64_t f) {
    const float *x = (const float *)rs_cpu_data(&o->x) + h * o->x.stride[1];
    int32_t lo = ((const int32_t *)rs_cpu_data(&o->component_lo))[f],
            hi = ((const int32_t *)rs_cpu_data(&o->component_hi))[f];
    double *out = (double *)rs_cpu_data(&o->out) + (h * o->out.dim[1] + f) * RS_PHASE_BINS;
    for (int64_t t = o->first; t < o->x.dim[0]; t++) {
        const float *row = x + t * o->x.stride[0];
        int bin = rs_phase_bin(edges, (double)row[lo], (double)row[hi]);
        if (bin >= 0) out[bin] += 1;
    }
}

rs_status rs_cpu_phase(rs_device *d, const rs_op *op, rs_error *err) {
    rs_status st = RS_OK;
    const rs_op_phase *o = &op->u.phase;
    rs_phase_edges edges;
    int64_t H = o->out.dim[0], F = o->out.dim[1];
    RS_TRY(rs_cpu_check_index("phase", "component_lo", rs_cpu_data(&o->component_lo), F, 0, 2 * F, err));
    RS_TRY(rs_cpu_check_index("phase", "component_hi", rs_cpu_data(&o->component_hi), F, 0, 2 * F, err));
    rs_phase_edges_init(&edges);
#pragma omp parallel for schedule(static) num_threads(rs_cpu_threads(d, o->x.dim[0] * H * F * 8))
    for (int64_t unit = 0; unit < H * F; unit++) count_phases(o, &edges, unit / F, unit % F);
out:
    return st;
}

/* ---- patterns ---- */

typedef struct pattern_job {
    const rs_cpu_hot *hot;
    const rs_op_pattern_reduce *o;
    int64_t rows, cols;
    int64_t skipped; /* columns on the left that SQUARE and profile leave out: 0 or 1 */
} pattern_job;

static const float *pattern_row(const pattern_job *j, int64_t h, int64_t r) {
    return (const float *)rs_cpu_data(&j->o->p) + h * j->o->p.stride[0] + r * j->o->p.stride[1];
}

static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* First column that the row at position t may see. Everything left of it and right of t is an exact zero. */
static int64_t first_seen(const pattern_job *j, int64_t t) {
    const rs_op_pattern_reduce *o = j->o;
    return o->window > 0 ? most(0, t - o->window + 1 - o->col0) : 0;
}

/* DUPLICATE and INDUCTION of the row at position t. */
static void add_repeats(const pattern_job *j, const float *row, int64_t t, double *sums) {
    const int32_t *ids = rs_cpu_data(&j->o->ids);
    int64_t first = most(first_seen(j, t), j->o->col0 == 0), n = t - j->o->col0 - first;
    double found[2] = {0, 0};
    if (!ids || n <= 0) return;
    j->hot->repeat_sums(row + first, ids + j->o->col0 + first, ids[t], n, found);
    sums[RS_PATTERN_DUPLICATE] += found[0];
    sums[RS_PATTERN_INDUCTION] += found[1];
}

/* Single entries of the row at position t >= 1. */
static void add_entries(const pattern_job *j, int64_t h, int64_t r, double *sums) {
    const rs_op_pattern_reduce *o = j->o;
    const float *row = pattern_row(j, h, r), *stats = rs_cpu_data(&o->stats);
    int64_t t = o->row0 + r, c = t - o->col0;
    if (c < j->cols) sums[RS_PATTERN_DIAGONAL] += (double)row[c];
    if (c >= 1 && c <= j->cols) sums[RS_PATTERN_PREVIOUS] += (double)row[c - 1];
    if (o->col0 == 0) sums[RS_PATTERN_FIRST] += (double)row[0];
    sums[RS_PATTERN_ENTROPY] += (double)stats[h * o->stats.stride[0] + r * o->stats.stride[1] + 1];
    add_repeats(j, row, t, sums);
    sums[RS_PATTERN_ROWS] += 1;
}

/* Rows r0..r1-1 (positions >= 1), columns c0..c1-1: mass and squares; the mass also into *cell (NULL: no map). */
static void add_block(const pattern_job *j, int64_t h, int64_t r0, int64_t r1, int64_t c0, int64_t c1, double *sums,
                      double *cell) {
    double block[2];
    if (r0 >= r1 || c0 >= c1) return;
    j->hot->block_sums(pattern_row(j, h, r0) + c0, j->o->p.stride[1], r1 - r0, c1 - c0, block);
    sums[RS_PATTERN_MASS] += block[0];
    if (c0 >= j->skipped) sums[RS_PATTERN_SQUARE] += block[1];
    if (cell) *cell += block[0];
}

/* First position of block b when positions are shared out as position * B / T. */
static int64_t block_start(int64_t b, int64_t blocks, int64_t positions) {
    return (b * positions + blocks - 1) / blocks;
}

/* Rows r0..r1-1, all in row block i of the map (blocks == 1 and map NULL without one): column block by column block. */
static void add_band(const pattern_job *j, int64_t h, int64_t r0, int64_t r1, int64_t blocks, double *sums,
                     double *map_row) {
    const rs_op_pattern_reduce *o = j->o;
    int64_t end = least(j->cols, o->row0 + r1 - o->col0);
    if (j->skipped) add_block(j, h, r0, r1, 0, 1, sums, map_row);
    for (int64_t b = 0, c0 = j->skipped; b < blocks && c0 < end; b++) {
        int64_t c1 = least(end, block_start(b + 1, blocks, o->positions) - o->col0);
        if (c1 <= c0) continue;
        add_block(j, h, r0, r1, c0, c1, sums, map_row ? map_row + b : NULL);
        c0 = c1;
    }
}

static void add_sums(const pattern_job *j, int64_t h) {
    const rs_op_pattern_reduce *o = j->o;
    double *sums = (double *)rs_cpu_data(&o->sums) + h * RS_PATTERN_SUMS, *map = rs_cpu_data(&o->map);
    int64_t blocks = map ? o->map.dim[1] : 1, first = o->row0 == 0;
    if (first && map) map[h * blocks * blocks] += (double)pattern_row(j, h, 0)[0]; /* row 0 sees itself alone */
    for (int64_t r = first; r < j->rows; r++) add_entries(j, h, r, sums);
    for (int64_t b = 0, r0 = first; b < blocks && r0 < j->rows; b++) {
        int64_t r1 = least(j->rows, block_start(b + 1, blocks, o->positions) - o->row0);
        if (r1 <= r0) continue;
        add_band(j, h, r0, r1, blocks, sums, map ? map + (h * blocks + b) * blocks : NULL);
        r0 = r1;
    }
}

/* Distances of rows r..r+n-1 at once: row i starts one column further right, so that equal offsets are equal distances.
 * The few columns on the left that only the later rows reach go one by one. */
static void add_distances(const pattern_job *j, int64_t h, int64_t r, int64_t n, double *profile) {
    const rs_op_pattern_reduce *o = j->o;
    const float *p = pattern_row(j, h, r);
    int64_t t = o->row0 + r, base = t - o->col0, first = most(j->skipped, first_seen(j, t));
    for (int64_t i = 1; i < n; i++) {
        for (int64_t c = most(j->skipped, first_seen(j, t + i)); c < first + i; c++)
            profile[base + i - c] += (double)p[i * o->p.stride[1] + c];
    }
    j->hot->profile_rows(p, o->p.stride[1], n, first, base, profile);
}

static void add_profile(const pattern_job *j, int64_t h) {
    const rs_op_pattern_reduce *o = j->o;
    double *profile = (double *)rs_cpu_data(&o->profile) + h * o->profile.dim[1];
    for (int64_t r = o->row0 == 0; r < j->rows; r += RS_HOT_PROFILE_ROWS)
        add_distances(j, h, r, least(RS_HOT_PROFILE_ROWS, j->rows - r), profile);
}

rs_status rs_cpu_pattern_reduce(rs_device *d, const rs_op *op, rs_error *err) {
    (void)err;
    const rs_op_pattern_reduce *o = &op->u.pattern_reduce;
    int64_t H = o->p.dim[0];
    pattern_job j = {
        .hot = d->hot, .o = o, .rows = o->p.dim[1], .cols = o->p.dim[2], .skipped = o->skip_first && o->col0 == 0};
    int parts = rs_view_present(&o->profile) ? 2 : 1;
    /* Two units per head: the profile, and all the rest. */
#pragma omp parallel for schedule(dynamic, 1) num_threads(rs_cpu_threads(d, H *j.rows *j.cols))
    for (int64_t unit = 0; unit < H * parts; unit++) {
        if (unit < H) add_sums(&j, unit);
        else add_profile(&j, unit - H);
    }
    return RS_OK;
}

/* ---- profiles ---- */

/* One head. */
static void reduce_profile(const rs_op_profile_reduce *o, int64_t h, const int32_t *start) {
    int64_t T = o->profile.dim[1], n = o->start.dim[0];
    int64_t most_d = o->window > 0 && o->window < T - 1 ? o->window : T - 1;
    const double *p = (const double *)rs_cpu_data(&o->profile) + h * T;
    double *bins = (double *)rs_cpu_data(&o->bins) + h * n, distance = 0, toeplitz = 0;
    for (int64_t i = 0; i < n; i++) {
        double sum = 0;
        for (int64_t d = start[i]; d < (i + 1 < n ? start[i + 1] : T); d++) sum += p[d];
        bins[i] += sum;
    }
    for (int64_t d = 0; d < T; d++) distance += (double)d * p[d];
    for (int64_t d = 0; d < most_d; d++) toeplitz += p[d] * p[d] / (double)(T - 1 - d);
    ((double *)rs_cpu_data(&o->distance))[h] += distance;
    ((double *)rs_cpu_data(&o->toeplitz))[h] += toeplitz;
}

rs_status rs_cpu_profile_reduce(rs_device *d, const rs_op *op, rs_error *err) {
    const rs_op_profile_reduce *o = &op->u.profile_reduce;
    const int32_t *start = rs_cpu_data(&o->start);
    int64_t H = o->profile.dim[0], T = o->profile.dim[1];
    rs_status st = rs_cpu_check_index("profile_reduce", "start", start, o->start.dim[0], 0, T, err);
    if (st != RS_OK) return st;
#pragma omp parallel for schedule(static) num_threads(rs_cpu_threads(d, H *T))
    for (int64_t h = 0; h < H; h++) reduce_profile(o, h, start);
    return RS_OK;
}
