/* probes/utility.c: how much of each component of a head's query the head's output needs: the mask in [0, 1] that keeps
 * Attn(q, K, V) and has the smallest sum ("utilization", arXiv 2502.11276, equation 4). One mask per head and sequence,
 * on the sampled rows; masks are averaged over sequences, so that the state does not grow with the text. Where the
 * paper is silent: the mask is on the query as it enters the product, behind the rotation; squared errors are summed
 * over the output's components and averaged over rows; the solver starts from 1. Gathers; utility_mask.c solves. */
#include "probes/utility.h"

#include "analyzer/base/alloc.h"
#include "probes/tally.h"

#include <math.h>
#include <string.h>

enum {
    S_MASKS,
    S_HEADS,
    S_ROW_NORMS,
    S_SEQUENCES,
    VIEWS = S_SEQUENCES
}; /* order of declaration = index into rs_probe_state */

typedef struct scratch {
    rs_sampled_rows rows;
    double *v; /* [K, Dv, T] of this sequence */
    double *k; /* [K, 2 F, T] rotated keys */
    int64_t Dv;
    double *row_norm; /* [H, 2 F] of W_q of the layer at hand: sum |w| of first, then of second components */
    int norm_layer;   /* whose; -1: none yet */
    bool has_norms;
} scratch;

/* Values come before the keys. */
static bool wants(rs_site site) { return site == RS_SITE_V || site == RS_SITE_K_ROPE; }

static rs_status declare(const rs_probe_facts *facts, int layer, rs_arrays *state, rs_error *err) {
    rs_status st = RS_OK;
    rs_array *a = NULL;
    const rs_layer *l = &facts->graph->layers[layer];
    RS_TRY(rs_arrays_add(state, &a, err, "state/utility/mask", RS_F64, "1",
                         "sums over sequences of the masks: first, second components of the pairs", 4, "fold",
                         (int64_t)RS_FOLDS, "head", (int64_t)l->heads, "place", (int64_t)2, "pair",
                         (int64_t)l->rope.n_pairs));
    rs_tally_zero(a);
    RS_TRY(rs_arrays_add(state, &a, err, "state/utility/head", RS_F64, "1",
                         "sums over sequences: objective, squared error, squared output, steps, residual, sequences", 3,
                         "fold", (int64_t)RS_FOLDS, "head", (int64_t)l->heads, "utility_term", (int64_t)RS_UT_TERMS));
    rs_tally_zero(a);
    RS_TRY(rs_arrays_add(state, &a, err, "state/utility/row_norm", RS_F64, "1",
                         "sums over sequences of sum |w| of the component's row of W_q", 4, "fold", (int64_t)RS_FOLDS,
                         "head", (int64_t)l->heads, "place", (int64_t)2, "pair", (int64_t)l->rope.n_pairs));
    rs_tally_zero(a);
    RS_TRY(rs_tally_declare_sequences(state, "utility", "fold", RS_FOLDS, err));
out:
    return st;
}

static void end(void *ctx, const rs_backend *b, rs_device *d) {
    scratch *s = ctx;
    (void)b;
    (void)d;
    rs_sampled_rows_deinit(&s->rows);
    rs_free(s->v);
    rs_free(s->k);
    rs_free(s->row_norm);
    rs_free(s);
}

static int64_t widest_value(const rs_graph *g) {
    int64_t most = 0;
    for (int l = 0; l < g->n_layers; l++) {
        most = g->layers[l].v_dim > most ? g->layers[l].v_dim : most;
    }
    return most;
}

/* Of a thread: queries, outputs, lines, the mask and the solver's own. */
static rs_sampled_room room(const rs_probe_facts *facts) {
    const rs_graph *g = facts->graph;
    int64_t D = 2 * (int64_t)g->max_pairs, Dv = widest_value(g), rows = RS_SAMPLE_ROWS;
    return (rs_sampled_room){.work = rows * D + rows * Dv + 3 * facts->positions + 2 * Dv + 6 * D,
                             .increments = g->max_heads * (2 * D + RS_UT_TERMS)};
}

/* Values and rotated keys of a sequence, in doubles. */
static int64_t key_cells(const rs_probe_facts *facts) {
    return facts->graph->max_kv_heads * 2 * (int64_t)facts->graph->max_pairs * facts->positions;
}
static int64_t value_cells(const rs_probe_facts *facts) {
    return facts->graph->max_kv_heads * widest_value(facts->graph) * facts->positions;
}

static int64_t host_bytes(const rs_probe_facts *facts, int threads) {
    return rs_sampled_rows_bytes(facts, threads, room(facts)) +
           (key_cells(facts) + value_cells(facts)) * (int64_t)sizeof(double);
}

static rs_status begin(const rs_probe_facts *facts, const rs_backend *b, rs_device *d, void **out, rs_error *err) {
    rs_status st = RS_OK;
    scratch *s = NULL;
    *out = NULL;
    RS_TRY(RS_NEW(&s, 1, err));
    RS_TRY(rs_sampled_rows_init(&s->rows, facts, b, d, room(facts), err));
    RS_TRY(RS_NEW(&s->v, (size_t)value_cells(facts), err));
    RS_TRY(RS_NEW(&s->k, (size_t)key_cells(facts), err));
    RS_TRY(RS_NEW(&s->row_norm, (size_t)(facts->graph->max_heads * 2 * facts->graph->max_pairs), err));
    s->norm_layer = -1;
    *out = s;
    s = NULL;
out:
    if (s) {
        end(s, b, d);
    }
    return st;
}

static rs_status take_values(scratch *s, const rs_probe_facts *facts, const rs_frame *f, rs_error *err) {
    const float *x = NULL;
    int64_t T = facts->positions, K = f->layer_info->kv_heads;
    rs_status st = rs_sampled_fetch(&s->rows, f, &f->view, &x, err);
    if (st != RS_OK) {
        return st;
    }
    s->Dv = f->layer_info->v_dim;
    for (int64_t h = 0; h < K; h++) {
        for (int64_t n = 0; n < T; n++) {
            const float *value = x + n * f->view.stride[0] + h * f->view.stride[1];
            for (int64_t d = 0; d < s->Dv; d++) {
                s->v[(h * s->Dv + d) * T + n] = (double)value[d];
            }
        }
    }
    return RS_OK;
}

static double absolute_sum(const void *row, rs_dtype type, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        float x = 0;
        if (type == RS_F32) {
            x = ((const float *)row)[i];
        } else { /* bfloat16: the upper half of a float32 */
            uint32_t bits = (uint32_t)((const uint16_t *)row)[i] << 16;
            memcpy(&x, &bits, sizeof x);
        }
        sum += fabs((double)x);
    }
    return sum;
}

/* Row norms of W_q, head by head, once for each layer. */
static rs_status take_weights(scratch *s, const rs_frame *f, rs_error *err) {
    rs_status st = RS_OK;
    const rs_rope *rope = &f->layer_info->rope;
    int64_t F = rope->n_pairs, rows = f->layer_info->head_dim;
    void *block = NULL;
    if (s->norm_layer == f->layer) {
        return RS_OK;
    }
    s->norm_layer = f->layer;
    s->has_norms = rs_view_present(&f->w_q);
    size_t row = s->has_norms ? (size_t)(f->w_q.stride[0] * rs_dtype_block_bytes(f->w_q.dtype)) : 1;
    RS_TRY(rs_new(&block, (size_t)rows, row, err));
    for (int64_t h = 0; h < f->layer_info->heads && s->has_norms; h++) {
        rs_view part = rs_view_rows(f->w_q, h * rows, rows);
        int64_t bytes = 0;
        rs_view_extent(&part, &bytes);
        RS_TRY(f->backend->read(f->device, part.mem, part.offset, block, (size_t)bytes, err));
        for (int64_t i = 0; i < 2 * F; i++) {
            int64_t at = i < F ? rope->lo[i] : rope->hi[i - F];
            s->row_norm[h * 2 * F + i] =
                absolute_sum((const char *)block + (size_t)at * row, f->w_q.dtype, f->w_q.dim[1]);
        }
    }
out:
    rs_free(block);
    return st;
}

/* Keys turned to their own positions. */
static void rotate_keys(scratch *s) {
    const rs_sampled_rows *r = &s->rows;
    int64_t T = r->T, span = T + RS_ROWS_SHIFT;
    for (int64_t h = 0; h < r->K; h++) {
        for (int64_t f = 0; f < r->F; f++) {
            const double *re = r->k + (h * r->F + f) * 2 * T, *im = re + T;
            double *lo = s->k + (h * 2 * r->F + f) * T, *hi = lo + r->F * T;
            for (int64_t n = 0; n < T; n++) {
                double c = r->cos[f * span + n], d = r->sin[f * span + n], x = re[T - 1 - n], y = im[T - 1 - n];
                lo[n] = c * x - d * y;
                hi[n] = d * x + c * y;
            }
        }
    }
}

/* Queries of a head turned to their positions, times the softmax scale: q [n_rows, 2 F]. */
static void rotate_queries(const rs_sampled_rows *r, int64_t h, double *q) {
    int64_t span = r->T + RS_ROWS_SHIFT;
    for (int64_t i = 0; i < r->n_rows; i++) {
        for (int64_t f = 0; f < r->F; f++) {
            double x[2], c = r->cos[f * span + r->row[i]], d = r->sin[f * span + r->row[i]];
            rs_row_query(r, h, i, f, x);
            q[i * 2 * r->F + f] = r->gain[f] * (c * x[0] - d * x[1]);
            q[i * 2 * r->F + r->F + f] = r->gain[f] * (d * x[0] + c * x[1]);
        }
    }
}

static void measure(void *ctx, rs_sampled_rows *r, int64_t h, double *work) {
    const scratch *s = ctx;
    int64_t D = 2 * r->F, kv = rs_row_key_head(r, h), first[RS_SAMPLE_ROWS], keys[RS_SAMPLE_ROWS];
    double *q = work, *wanted = q + r->n_rows * D, *lines = wanted + r->n_rows * s->Dv;
    double *u = lines + 3 * r->T + 2 * s->Dv, *solver = u + D;
    for (int64_t i = 0; i < r->n_rows; i++) {
        bool sink = false;
        keys[i] = rs_row_keys(r, i, &sink);
        first[i] = r->row[i] + 1 - keys[i];
    }
    rotate_queries(r, h, q);
    rs_utility_head head = {.n_rows = r->n_rows,
                            .D = D,
                            .Dv = s->Dv,
                            .T = r->T,
                            .cap = r->layer->softcap,
                            .first = first,
                            .keys = keys,
                            .q = q,
                            .k = s->k + kv * D * r->T,
                            .v = s->v + kv * s->Dv * r->T,
                            .wanted = wanted,
                            .lines = lines};
    rs_utility_report found = rs_utility_solve(&head, u, solver);
    for (int64_t c = 0; c < D; c++) {
        r->increment[h * D + c] += u[c];
    }
    double *out = r->increment + r->H * D + h * RS_UT_TERMS;
    out[RS_UT_OBJECTIVE] += found.objective;
    out[RS_UT_ERROR] += found.error;
    out[RS_UT_POWER] += found.power;
    out[RS_UT_STEPS] += found.steps;
    out[RS_UT_RESIDUAL] += found.residual;
    out[RS_UT_SEQUENCES] += 1;
    out[RS_UT_WEIGHTS] += s->has_norms;
    for (int64_t c = 0; c < D && s->has_norms; c++) {
        r->increment[r->H * (D + RS_UT_TERMS) + h * D + c] += s->row_norm[h * D + c];
    }
}

static rs_status observe(void *ctx, const rs_probe_facts *facts, const rs_frame *f, const rs_probe_state *state,
                         rs_error *err) {
    rs_status st = RS_OK;
    scratch *s = ctx;
    if (f->site == RS_SITE_V) {
        RS_TRY(take_weights(s, f, err));
        return take_values(s, facts, f, err);
    }
    RS_TRY(rs_sampled_rows_read(&s->rows, facts, f, err));
    if (s->rows.n_rows > 0) {
        rotate_keys(s);
        rs_sampled_heads(&s->rows, measure, s);
        RS_TRY(rs_sampled_add(&s->rows, f, state, VIEWS, err));
    }
out:
    return st;
}

const rs_probe_kind rs_utility = {
    .name = "utility",
    .title = "how much of each component of the query a head's output needs: the smallest mask that keeps it",
    .source = "Chiang and Yogatama, \"The Rotary Position Embedding May Cause Dimension Inefficiency\", arXiv "
              "2502.11276, equation 4",
    .deep = "it solves a small minimisation for every head and sequence",
    .folds = RS_FOLDS,
    .wants = wants,
    .declare = declare,
    .host_bytes = host_bytes,
    .begin = begin,
    .observe = observe,
    .end = end,
    .finish = rs_utility_finish,
};
