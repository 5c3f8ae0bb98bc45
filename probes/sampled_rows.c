#include "probes/sampled_rows.h"

#include "analyzer/base/alloc.h"

#include <math.h>
#include <omp.h>
#include <string.h>

/* ---- memory ---- */

typedef struct largest {
    size_t heads, kv_heads, pairs, staging;
} largest;

static size_t most(size_t a, size_t b) { return a > b ? a : b; }

static largest largest_layer(const rs_graph *g) {
    largest m = {1, 1, 1, 0};
    for (int l = 0; l < g->n_layers; l++) {
        m.heads = most(m.heads, (size_t)g->layers[l].heads);
        m.kv_heads = most(m.kv_heads, (size_t)g->layers[l].kv_heads);
        m.pairs = most(m.pairs, (size_t)g->layers[l].rope.n_pairs);
    }
    return m;
}

/* Doubles of each block. */
enum { GAIN, COS, SIN, Q, K, Q_MEAN, K_MEAN, INCREMENT, FOLD, WORK, BLOCKS };
static void block_sizes(const rs_probe_facts *facts, int threads, const rs_sampled_room *room, size_t n[BLOCKS]) {
    largest m = largest_layer(facts->graph);
    size_t T = (size_t)facts->positions, span = m.pairs * (T + RS_ROWS_SHIFT);
    const size_t sizes[BLOCKS] = {[GAIN] = m.pairs,
                                  [COS] = span,
                                  [SIN] = span,
                                  [Q] = RS_SAMPLE_ROWS * m.heads * 2 * m.pairs,
                                  [K] = m.kv_heads * m.pairs * 2 * T,
                                  [Q_MEAN] = m.heads * 2 * m.pairs,
                                  [K_MEAN] = m.kv_heads * 2 * m.pairs,
                                  [INCREMENT] = (size_t)room->increments,
                                  [FOLD] = (size_t)room->increments,
                                  [WORK] = (size_t)threads * (size_t)room->work};
    memcpy(n, sizes, sizeof sizes);
}

int64_t rs_sampled_rows_bytes(const rs_probe_facts *facts, int threads, rs_sampled_room room) {
    size_t n[BLOCKS], sum = 0;
    block_sizes(facts, threads, &room, n);
    for (int i = 0; i < BLOCKS; i++) {
        sum += n[i];
    }
    return (int64_t)(sum * sizeof(double));
}

rs_status rs_sampled_rows_init(rs_sampled_rows *s, const rs_probe_facts *facts, const rs_backend *b, rs_device *d,
                               rs_sampled_room room, rs_error *err) {
    rs_status st = RS_OK;
    size_t n[BLOCKS];
    rs_device_info info = {0};
    b->info(d, &info);
    *s = (rs_sampled_rows){
        .T = facts->positions, .layer_number = -1, .work_cells = room.work, .increments = room.increments};
    s->threads = info.threads > 0 ? info.threads : omp_get_max_threads();
    block_sizes(facts, s->threads, &room, n);
    double **block[BLOCKS] = {&s->gain,   &s->cos,    &s->sin,       &s->q,    &s->k,
                              &s->q_mean, &s->k_mean, &s->increment, &s->fold, &s->work};
    for (int i = 0; i < BLOCKS; i++) {
        RS_TRY(RS_NEW(block[i], n[i], err));
    }
out:
    return st;
}

void rs_sampled_rows_deinit(rs_sampled_rows *s) {
    rs_free(s->gain);
    rs_free(s->cos);
    rs_free(s->sin);
    rs_free(s->q);
    rs_free(s->k);
    rs_free(s->q_mean);
    rs_free(s->k_mean);
    rs_free(s->staging);
    rs_free(s->increment);
    rs_free(s->fold);
    rs_free(s->work);
    *s = (rs_sampled_rows){0};
}

/* ---- from the device ---- */

rs_status rs_sampled_fetch(rs_sampled_rows *s, const rs_frame *f, const rs_view *v, const float **values,
                           rs_error *err) {
    rs_status st = RS_OK;
    int64_t bytes = 0;
    char *shared = f->backend->host ? f->backend->host(f->device, v->mem) : NULL;
    if (shared) {
        *values = (const float *)(const void *)(shared + v->offset);
        return RS_OK;
    }
    if (!rs_view_extent(v, &bytes)) {
        return rs_fail(err, RS_E_INTERNAL, "sampled rows: a view without an extent");
    }
    int64_t n = bytes / (int64_t)sizeof(float);
    if (n > s->staging_room) {
        RS_TRY(rs_resize((void **)&s->staging, (size_t)s->staging_room, (size_t)n, sizeof(float), err));
        s->staging_room = n;
    }
    RS_TRY(f->backend->read(f->device, v->mem, v->offset, s->staging, (size_t)n * sizeof(float), err));
    *values = s->staging;
out:
    return st;
}

/* Means of all pairs of a head over positions 1..T-1. x: the head's values at position 0. */
static void head_means(const rs_sampled_rows *s, const float *x, int64_t stride, double *mean) {
    const rs_rope *r = &s->layer->rope;
    double share = 1.0 / (double)(s->T - 1);
    for (int64_t f = 0; f < 2 * s->F; f++) {
        mean[f] = 0.0;
    }
    for (int64_t t = 1; t < s->T; t++) {
        for (int64_t f = 0; f < s->F; f++) {
            mean[f] += (double)x[t * stride + r->lo[f]];
            mean[s->F + f] += (double)x[t * stride + r->hi[f]];
        }
    }
    for (int64_t f = 0; f < 2 * s->F; f++) {
        mean[f] *= share;
    }
}

static void take_queries(rs_sampled_rows *s, const rs_view *v, const float *x) {
    const rs_rope *r = &s->layer->rope;
#pragma omp parallel for schedule(static) num_threads(s->threads)
    for (int64_t h = 0; h < s->H; h++) {
        const float *head = x + h * v->stride[1];
        head_means(s, head, v->stride[0], s->q_mean + h * 2 * s->F);
        for (int64_t i = 0; i < s->n_rows; i++) {
            double *q = s->q + (i * s->H + h) * 2 * s->F;
            for (int64_t f = 0; f < s->F; f++) {
                q[f] = (double)head[s->row[i] * v->stride[0] + r->lo[f]];
                q[s->F + f] = (double)head[s->row[i] * v->stride[0] + r->hi[f]];
            }
        }
    }
}

static void take_keys(rs_sampled_rows *s, const rs_view *v, const float *x) {
    const rs_rope *r = &s->layer->rope;
#pragma omp parallel for schedule(static) num_threads(s->threads)
    for (int64_t h = 0; h < s->K; h++) {
        const float *head = x + h * v->stride[1];
        head_means(s, head, v->stride[0], s->k_mean + h * 2 * s->F);
        for (int64_t f = 0; f < s->F; f++) {
            double *re = s->k + (h * s->F + f) * 2 * s->T, *im = re + s->T;
            for (int64_t n = 0; n < s->T; n++) {
                re[s->T - 1 - n] = (double)head[n * v->stride[0] + r->lo[f]];
                im[s->T - 1 - n] = (double)head[n * v->stride[0] + r->hi[f]];
            }
        }
    }
}

static void make_tables(rs_sampled_rows *s, int layer) {
    int64_t span = s->T + RS_ROWS_SHIFT;
    const rs_rope *r = &s->layer->rope;
    if (s->layer_number == layer) {
        return;
    }
#pragma omp parallel for schedule(static) num_threads(s->threads)
    for (int64_t f = 0; f < s->F; f++) {
        s->gain[f] = s->layer->scale * r->factor[f] * r->factor[f];
        for (int64_t d = 0; d < span; d++) {
            s->cos[f * span + d] = cos(r->theta[f] * (double)d);
            s->sin[f * span + d] = sin(r->theta[f] * (double)d);
        }
    }
    s->layer_number = layer;
}

rs_status rs_sampled_rows_read(rs_sampled_rows *s, const rs_probe_facts *facts, const rs_frame *f, rs_error *err) {
    rs_status st = RS_OK;
    const float *x = NULL;
    s->layer = f->layer_info;
    s->H = s->layer->heads;
    s->K = s->layer->kv_heads;
    s->F = s->layer->rope.n_pairs;
    s->seed = rs_moments_seed(facts->seed, f->ids, s->T);
    s->n_rows = s->F > 0 ? rs_moments_rows(facts->seed, f->ids, s->T, s->row) : 0;
    if (s->n_rows == 0) {
        return RS_OK;
    }
    make_tables(s, f->layer);
    RS_TRY(rs_sampled_fetch(s, f, &f->q_rope, &x, err));
    take_queries(s, &f->q_rope, x);
    RS_TRY(rs_sampled_fetch(s, f, &f->k_rope, &x, err));
    take_keys(s, &f->k_rope, x);
out:
    return st;
}

void rs_sampled_heads(rs_sampled_rows *s, void (*measure)(void *ctx, rs_sampled_rows *s, int64_t h, double *work),
                      void *ctx) {
#pragma omp parallel for schedule(dynamic, 1) num_threads(s->threads)
    for (int64_t h = 0; h < s->H; h++) {
        measure(ctx, s, h, s->work + (int64_t)omp_get_thread_num() * s->work_cells);
    }
}

rs_status rs_sampled_add(rs_sampled_rows *s, const rs_frame *f, const rs_probe_state *state, int n_views,
                         rs_error *err) {
    rs_status st = RS_OK;
    double *from = s->increment;
    for (int i = 0; i < n_views; i++) {
        const rs_view *v = &state->view[i];
        int64_t n = rs_view_size(v);
        size_t bytes = (size_t)n * sizeof(double);
        RS_TRY(f->backend->read(f->device, v->mem, v->offset, s->fold, bytes, err));
        for (int64_t c = 0; c < n; c++) {
            s->fold[c] += from[c];
        }
        RS_TRY(f->backend->write(f->device, v->mem, v->offset, s->fold, bytes, err));
        from += n;
    }
out:
    memset(s->increment, 0, (size_t)s->increments * sizeof *s->increment);
    return st;
}

/* ---- a row ---- */

int64_t rs_row_keys(const rs_sampled_rows *s, int64_t i, bool *sink) {
    int64_t n = (int64_t)s->row[i] + 1, window = s->layer->window;
    *sink = window <= 0 || n <= window;
    return *sink ? n : window;
}

int64_t rs_row_key_head(const rs_sampled_rows *s, int64_t h) { return h / (s->H / s->K); }

void rs_row_query(const rs_sampled_rows *s, int64_t h, int64_t i, int64_t f, double q[2]) {
    const double *x = s->q + (i * s->H + h) * 2 * s->F;
    q[0] = x[f];
    q[1] = x[s->F + f];
}

/* Real parts of a pair of all keys at distance 0, 1, ... from row i; imaginary parts stand T further on. */
static const double *keys_of(const rs_sampled_rows *s, int64_t kv, int64_t i, int64_t f) {
    return s->k + (kv * s->F + f) * 2 * s->T + s->T - 1 - s->row[i];
}

void rs_row_part(const rs_sampled_rows *s, const double q[2], int64_t kv, int64_t i, int64_t f, int64_t first,
                 int64_t distance, int64_t n, double *out) {
    const double *re = keys_of(s, kv, i, f) + first, *im = re + s->T;
    const double *c = s->cos + f * (s->T + RS_ROWS_SHIFT) + distance,
                 *d = s->sin + f * (s->T + RS_ROWS_SHIFT) + distance;
    double g = s->gain[f], a = q[0], b = q[1];
    for (int64_t j = 0; j < n; j++) {
        out[j] = g * ((a * re[j] + b * im[j]) * c[j] - (b * re[j] - a * im[j]) * d[j]);
    }
}

void rs_row_flat(const rs_sampled_rows *s, const double q[2], int64_t kv, int64_t i, int64_t f, int64_t n,
                 double *out) {
    const double *re = keys_of(s, kv, i, f), *im = re + s->T;
    double g = s->gain[f], a = q[0], b = q[1];
    for (int64_t j = 0; j < n; j++) {
        out[j] = g * (a * re[j] + b * im[j]);
    }
}

void rs_row_parts(const rs_sampled_rows *s, int64_t h, int64_t i, int64_t n, double *parts, double *z) {
    int64_t kv = rs_row_key_head(s, h);
    memset(z, 0, (size_t)n * sizeof *z);
    for (int64_t f = 0; f < s->F; f++) {
        double q[2], *c = parts + f * n;
        rs_row_query(s, h, i, f, q);
        rs_row_part(s, q, kv, i, f, 0, 0, n, c);
        for (int64_t j = 0; j < n; j++) {
            z[j] += c[j];
        }
    }
}

void rs_row_cap(double cap, const double *z, int64_t n, double *out) {
    for (int64_t j = 0; j < n; j++) {
        out[j] = cap > 0.0 ? cap * tanh(z[j] / cap) : z[j];
    }
}

static double highest(const double *x, int64_t n) {
    double top = -INFINITY;
    for (int64_t j = 0; j < n; j++) {
        top = x[j] > top ? x[j] : top;
    }
    return top;
}

void rs_row_softmax(const double *s, int64_t n, double *p, double *log_p) {
    double top = highest(s, n), sum = 0.0;
    for (int64_t j = 0; j < n; j++) {
        p[j] = exp(s[j] - top);
        sum += p[j];
    }
    double share = 1.0 / sum, log_share = log(share);
    for (int64_t j = 0; j < n; j++) {
        p[j] *= share;
        log_p[j] = s[j] - top + log_share;
    }
}

double rs_row_mean(const double *p, const double *x, int64_t n) {
    double sum = 0.0;
    for (int64_t j = 0; j < n; j++) {
        sum += p[j] * x[j];
    }
    return sum;
}

/* log sum_n P e^{y}, where e^{y} or 1/P may not fit a double. */
static double log_tilted(const double *log_p, const double *change, double mean, int64_t n) {
    double top = -INFINITY, others = -1.0; /* the largest term is 1 */
    for (int64_t j = 0; j < n; j++) {
        top = fmax(top, log_p[j] + (change[j] - mean));
    }
    for (int64_t j = 0; j < n; j++) {
        others += exp(log_p[j] + (change[j] - mean) - top);
    }
    return top + log1p(others);
}

/* KL(P || P') = log sum_n P e^{y}, y = change - E_P change: both logarithms of P cancel but for the normaliser. Where
 * e^y fits a double, sum P (e^y - 1) keeps small divergences exact: what P has lost below 1e-308 is then worth less
 * than 1e-40. */
double rs_row_kl(const double *p, const double *log_p, const double *change, int64_t n) {
    double mean = rs_row_mean(p, change, n), farthest = 0.0, sum = 0.0;
    for (int64_t j = 0; j < n; j++) {
        double far = fabs(change[j] - mean);
        farthest = far > farthest ? far : farthest;
    }
    if (farthest > 600.0) {
        return log_tilted(log_p, change, mean, n);
    }
    for (int64_t j = 0; j < n; j++) {
        sum += p[j] * (exp(change[j] - mean) - 1.0);
    }
    return log1p(sum);
}
