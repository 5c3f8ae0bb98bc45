/* kernels/cpu/cpu_sample.c: LOGIT_SAMPLE. Pair by pair the variances come from running sums over the keys
 * (hot_sample.h: no loop over queries times keys); for the whole logit and its four terms the products are formed, by
 * dgemm, for the sampled rows alone. */
#include "kernels/cpu/cpu_device.h"

#include <cblas.h>
#include <limits.h>
#include <math.h>
#include <string.h>

enum {
    RENEW = 64, /* keys after which a turning factor is computed afresh: by then its error is some 1e-15 */
    KEYS = 512, /* keys of a product */
    ROWS = 32,  /* query rows of a product */
    BLOCK = RS_HOT_PAIR_BLOCK
};

typedef struct sample_job {
    const rs_cpu_hot *hot;
    const rs_op_logit_sample *o;
    const int32_t *lo, *hi, *rows;
    const double *theta, *factor;
    int64_t H, K, F, n_rows, group;
    double *step;        /* [2, F] cos, sin of theta */
    double *row_turns;   /* [n_rows, 2, F] cos, sin of theta m */
    double *keys;        /* [2, KEYS, 2F] turned keys, turned means */
    double *queries;     /* [ROWS, group, 2, 2F] the same of queries, with the gain */
    double *products;    /* [ROWS, group, 2 (queries, means), 2 (keys, means), KEYS] */
    rs_hot_terms *terms; /* [ROWS, group] */
} sample_job;

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static double gain_of(const sample_job *j, int64_t f) { return j->o->scale * j->factor[f] * j->factor[f]; }

static const float *row_of(const rs_view *v, int64_t t, int64_t h) {
    return (const float *)rs_cpu_data(v) + t * v->stride[0] + h * v->stride[1];
}

/* First key of the row at position m: position 0 is left out. */
static int64_t first_key(const sample_job *j, int64_t m) {
    int64_t first = j->o->window > 0 ? m - j->o->window + 1 : 1;
    return first > 1 ? first : 1;
}

/* ---- pairs ---- */

static void turn_to(const sample_job *j, int64_t position, int64_t first, int64_t n, double *re, double *im) {
    for (int64_t i = 0; i < n; i++) {
        double angle = j->theta[first + i] * (double)position;
        re[i] = cos(angle);
        im[i] = sin(angle);
    }
}

static void add_key(const sample_job *j, rs_hot_sample *s, int64_t position, int64_t kv, int64_t first, int64_t n) {
    if (position % RENEW == 1) turn_to(j, position, first, n, s->turn_re, s->turn_im);
    j->hot->sample_key(s, row_of(&j->o->k, position, kv), j->lo + first, j->hi + first, n);
}

static void add_query(const sample_job *j, const rs_hot_sample *lead, const rs_hot_sample *trail, int64_t row,
                      int64_t h, int64_t first, int64_t n) {
    rs_hot_query q = {.re = {0}};
    int64_t m = j->rows[row];
    const float *x = row_of(&j->o->q, m, h);
    const double *turns = j->row_turns + row * 2 * j->F + first;
    double *out = (double *)rs_cpu_data(&j->o->out) + h * RS_SAMPLES * j->F + first;
    for (int64_t i = 0; i < n; i++) {
        q.re[i] = (double)x[j->lo[first + i]];
        q.im[i] = (double)x[j->hi[first + i]];
        q.turn_re[i] = turns[i];
        q.turn_im[i] = turns[j->F + i];
        q.gain[i] = gain_of(j, first + i);
    }
    j->hot->sample_row(&q, lead, trail, m - first_key(j, m) + 1, n, out, j->F);
}

/* Pairs first..first+n-1 of a key head and of the query heads that read it, over all sampled rows (they ascend). With a
 * window a second set of sums follows behind and is subtracted. */
static void sample_pairs(const sample_job *j, int64_t kv, int64_t first) {
    int64_t n = least(BLOCK, j->F - first), next = 1, left = 1;
    rs_hot_sample lead = {.sum = {{0}}}, trail;
    memcpy(lead.step_re, j->step + first, (size_t)n * sizeof *j->step);
    memcpy(lead.step_im, j->step + j->F + first, (size_t)n * sizeof *j->step);
    trail = lead;
    for (int64_t i = 0; i < j->n_rows; i++) {
        int64_t m = j->rows[i];
        for (; next <= m; next++) add_key(j, &lead, next, kv, first, n);
        for (; left < first_key(j, m); left++) add_key(j, &trail, left, kv, first, n);
        for (int64_t h = kv * j->group; h < (kv + 1) * j->group; h++)
            add_query(j, &lead, left > 1 ? &trail : NULL, i, h, first, n);
    }
}

/* ---- whole logits ---- */

/* All pairs of z e^{i theta t} with c, s = cos, sin of theta t as [re F, im F]: dot products of such vectors are
 * logits. */
static void turn_row(const sample_job *j, const float *x, const double *c, const double *s, double *out) {
    for (int64_t f = 0; f < j->F; f++) {
        double re = (double)x[j->lo[f]], im = (double)x[j->hi[f]];
        out[f] = re * c[f] - im * s[f];
        out[j->F + f] = im * c[f] + re * s[f];
    }
}

static void turn_mean(const sample_job *j, const rs_view *mean, int64_t h, const double *c, const double *s,
                      double *out) {
    const double *re = (const double *)rs_cpu_data(mean) + h * 2 * j->F, *im = re + j->F;
    for (int64_t f = 0; f < j->F; f++) {
        out[f] = re[f] * c[f] - im[f] * s[f];
        out[j->F + f] = im[f] * c[f] + re[f] * s[f];
    }
}

static void apply_gain(const sample_job *j, double *vector) {
    for (int64_t f = 0; f < j->F; f++) {
        vector[f] *= gain_of(j, f);
        vector[j->F + f] *= gain_of(j, f);
    }
}

/* Rows row0 .. row0+n-1 of the query heads of a group. */
static void turn_queries(const sample_job *j, int64_t kv, int64_t row0, int64_t n) {
    int64_t width = 2 * j->F;
    for (int64_t unit = 0; unit < j->group * n; unit++) {
        int64_t i = unit / j->group, h = kv * j->group + unit % j->group;
        const double *c = j->row_turns + (row0 + i) * width, *s = c + j->F;
        double *q = j->queries + unit * 2 * width, *mu = q + width;
        turn_row(j, row_of(&j->o->q, j->rows[row0 + i], h), c, s, q);
        turn_mean(j, &j->o->q_mean, h, c, s, mu);
        apply_gain(j, q);
        apply_gain(j, mu);
    }
}

/* Keys n0+first .. n0+end-1 of a head, and what the mean key would be there. c, s: work space [F] each. */
static void turn_keys(const sample_job *j, int64_t kv, int64_t n0, int64_t first, int64_t end, double *c, double *s) {
    int64_t width = 2 * j->F;
    turn_to(j, n0 + first, 0, j->F, c, s);
    for (int64_t i = first; i < end; i++) {
        double *k = j->keys + i * width;
        turn_row(j, row_of(&j->o->k, n0 + i, kv), c, s, k);
        turn_mean(j, &j->o->k_mean, kv, c, s, k + KEYS * width);
        for (int64_t f = 0; f < j->F; f++) {
            double re = c[f] * j->step[f] - s[f] * j->step[j->F + f];
            s[f] = s[f] * j->step[f] + c[f] * j->step[j->F + f];
            c[f] = re;
        }
    }
}

/* Sums of one row and head (unit = row * group + head) over keys n0..n0+n-1 out of the products. */
static void add_terms(const sample_job *j, int64_t unit, int64_t m, int64_t n0, int64_t n) {
    int64_t first = first_key(j, m) > n0 ? first_key(j, m) - n0 : 0, end = least(n, m + 1 - n0);
    const double *q = j->products + unit * 4 * KEYS + first, *mu = q + 2 * (int64_t)KEYS;
    if (first < end) j->hot->sample_terms(q, q + KEYS, mu, mu + KEYS, end - first, &j->terms[unit]);
}

/* Variance = mean square - mean^2; rounding may leave it just below zero. */
static void finish_row(const sample_job *j, int64_t h, int64_t m, const rs_hot_terms *t) {
    double *out = (double *)rs_cpu_data(&j->o->head_out) + h * RS_HEAD_TERMS, n = (double)(m - first_key(j, m) + 1);
    for (int term = 0; term < RS_HEAD_ROWS; term++) {
        double mean = t->sum[term] / n, variance = t->square[term] / n - mean * mean;
        out[term] += variance > 0 ? variance : 0;
    }
    out[RS_HEAD_ROWS] += 1;
}

/* Keys n0..n0+n-1 against rows a..b-1 (counted from row0) of the query heads of a group. */
static void sample_block(rs_device *d, const sample_job *j, int64_t kv, int64_t row0, int64_t a, int64_t b, int64_t n0,
                         int64_t n, double *work) {
    int64_t width = 2 * j->F, lines = 2 * j->group;
#pragma omp parallel for schedule(static) num_threads(rs_cpu_threads(d, n *width * 8))
    for (int64_t i = 0; i < n; i += RENEW) {
        double *c = work + i / RENEW * width;
        turn_keys(j, kv, n0, i, least(i + RENEW, n), c, c + j->F);
    }
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)((b - a) * lines), 2 * KEYS, (int)width, 1.0,
                j->queries + a * lines * width, (int)width, j->keys, (int)width, 0.0,
                j->products + a * lines * 2 * KEYS, 2 * KEYS);
#pragma omp parallel for schedule(static) num_threads(rs_cpu_threads(d, n *(b - a) * j->group * 8))
    for (int64_t unit = a * j->group; unit < b * j->group; unit++)
        add_terms(j, unit, j->rows[row0 + unit / j->group], n0, n);
}

/* Up to ROWS sampled rows of the query heads of a group, KEYS keys at a time. Rows ascend: the first ones soon have
 * seen all. */
static void sample_logits(rs_device *d, const sample_job *j, int64_t kv, int64_t row0, double *work) {
    int64_t n_rows = least(ROWS, j->n_rows - row0), last = j->rows[row0 + n_rows - 1];
    memset(j->terms, 0, (size_t)(j->group * ROWS) * sizeof *j->terms);
    turn_queries(j, kv, row0, n_rows);
    for (int64_t n0 = first_key(j, j->rows[row0]), a = 0; n0 <= last; n0 += KEYS) {
        while (j->rows[row0 + a] < n0) a++;
        sample_block(d, j, kv, row0, a, n_rows, n0, least(KEYS, last + 1 - n0), work);
    }
    for (int64_t unit = 0; unit < j->group * n_rows; unit++)
        finish_row(j, kv * j->group + unit % j->group, j->rows[row0 + unit / j->group], &j->terms[unit]);
}

/* ---- the op ---- */

static rs_status check_rows(const sample_job *j, int64_t positions, rs_error *err) {
    rs_status st = RS_OK;
    RS_TRY(rs_cpu_check_index("logit_sample", "component_lo", j->lo, j->F, 0, 2 * j->F, err));
    RS_TRY(rs_cpu_check_index("logit_sample", "component_hi", j->hi, j->F, 0, 2 * j->F, err));
    RS_TRY(rs_cpu_check_index("logit_sample", "rows", j->rows, j->n_rows, 2, positions, err));
    for (int64_t i = 1; i < j->n_rows; i++) {
        if (j->rows[i] <= j->rows[i - 1])
            return rs_fail(err, RS_E_INTERNAL, "op logit_sample: argument 'rows': entry %lld does not ascend",
                           (long long)i);
    }
    if (j->group * 2 * ROWS > INT_MAX || 2 * j->F > INT_MAX)
        return rs_fail(err, RS_E_INTERNAL, "op logit_sample: too many heads or pairs for the BLAS library");
out:
    return st;
}

/* Scratch of the op; *work is [KEYS / RENEW, 2F]. Products with keys that are not there are formed too, and must not
 * meet what stood in the scratch before. */
static rs_status make_space(rs_device *d, sample_job *j, double **work, rs_error *err) {
    rs_status st = RS_OK;
    int64_t width = 2 * j->F, keys = 2 * KEYS * width, queries = j->group * 2 * ROWS * width,
            turns = (j->n_rows + 1) * width;
    void *at = NULL;
    RS_TRY(rs_cpu_scratch_get(d, RS_CPU_PANELS, (size_t)(keys + KEYS / RENEW * width) * sizeof(double), &at, err));
    j->keys = at;
    *work = j->keys + keys;
    RS_TRY(rs_cpu_scratch_get(d, RS_CPU_PRODUCTS, (size_t)(j->group * 4 * ROWS * KEYS) * sizeof(double), &at, err));
    j->products = at;
    RS_TRY(rs_cpu_scratch_get(d, RS_CPU_QUERIES,
                              (size_t)(queries + turns) * sizeof(double) + (size_t)(j->group * ROWS) * sizeof *j->terms,
                              &at, err));
    j->queries = at;
    j->step = j->queries + queries;
    j->row_turns = j->step + width;
    j->terms = (rs_hot_terms *)(void *)(j->step + turns);
    memset(j->keys, 0, (size_t)keys * sizeof *j->keys);
out:
    return st;
}

rs_status rs_cpu_logit_sample(rs_device *d, const rs_op *op, rs_error *err) {
    rs_status st = RS_OK;
    const rs_op_logit_sample *o = &op->u.logit_sample;
    double *work = NULL;
    sample_job j = {
        .hot = d->hot, .o = o, .H = o->q.dim[1], .K = o->k.dim[1], .F = o->theta.dim[0], .n_rows = o->rows.dim[0]};
    j.lo = rs_cpu_data(&o->component_lo);
    j.hi = rs_cpu_data(&o->component_hi);
    j.rows = rs_cpu_data(&o->rows);
    j.theta = rs_cpu_data(&o->theta);
    j.factor = rs_cpu_data(&o->factor);
    j.group = j.H / j.K;
    RS_TRY(check_rows(&j, o->q.dim[0], err));
    RS_TRY(make_space(d, &j, &work, err));
    turn_to(&j, 1, 0, j.F, j.step, j.step + j.F);
    for (int64_t i = 0; i < j.n_rows; i++)
        turn_to(&j, j.rows[i], 0, j.F, j.row_turns + i * 2 * j.F, j.row_turns + (2 * i + 1) * j.F);
    int64_t blocks = (j.F + BLOCK - 1) / BLOCK;
#pragma omp parallel for schedule(dynamic, 1) num_threads(rs_cpu_threads(d, j.K *j.F *j.rows[j.n_rows - 1] * 8))
    for (int64_t unit = 0; unit < j.K * blocks; unit++) sample_pairs(&j, unit / blocks, unit % blocks * BLOCK);
    for (int64_t kv = 0; kv < j.K; kv++) {
        for (int64_t row0 = 0; row0 < j.n_rows; row0 += ROWS) sample_logits(d, &j, kv, row0, work);
    }
out:
    return st;
}
