/* probes/stability.c: would a head still prefer the same of two keys if the distance were another, and how much does
 * one token more of distance move its logit (arXiv 2609.39929)? Queries are the sampled rows, keys are drawn from their
 * visible keys behind position 0; q and k are kept, the distance runs through a window. Gathers; stability_cells.c
 * measures. */
#include "probes/stability.h"

#include "analyzer/base/alloc.h"
#include "analyzer/base/rng.h"
#include "probes/tally.h"

#include <string.h>

enum { S_HEADS, S_SEQUENCES, VIEWS = S_SEQUENCES }; /* order of declaration = index into rs_probe_state */

typedef struct scratch {
    rs_sampled_rows rows;
    rs_stability_tables tables; /* of rows.layer_number */
    int tables_layer;
    int64_t keys[RS_SAMPLE_ROWS];                 /* keys drawn for each row */
    int64_t distance[RS_SAMPLE_ROWS][RS_ST_KEYS]; /* their distances */
} scratch;

static bool wants(rs_site site) { return site == RS_SITE_K_ROPE; /* q is readable then, too */ }

static rs_status declare(const rs_probe_facts *facts, int layer, rs_arrays *state, rs_error *err) {
    rs_status st = RS_OK;
    rs_array *a = NULL;
    RS_TRY(rs_arrays_add(state, &a, err, "state/stability/head", RS_F64, "1",
                         "sums over triplets: P(reversal), exact, triplets, ties; over pairs: change of a step, fast "
                         "share, pairs; over sequences: mean fast share, its square, sequences",
                         3, "fold", (int64_t)RS_FOLDS, "head", (int64_t)facts->graph->layers[layer].heads,
                         "stability_term", (int64_t)RS_ST_TERMS));
    rs_tally_zero(a);
    RS_TRY(rs_tally_declare_sequences(state, "stability", "fold", RS_FOLDS, err));
out:
    return st;
}

static void end(void *ctx, const rs_backend *b, rs_device *d) {
    scratch *s = ctx;
    (void)b;
    (void)d;
    rs_sampled_rows_deinit(&s->rows);
    rs_free(s->tables.mean);
    rs_free(s->tables.minus);
    rs_free(s->tables.plus);
    rs_free(s);
}

static rs_sampled_room room(const rs_probe_facts *facts) {
    return (rs_sampled_room){.work = facts->positions + (RS_ST_KEYS + 1) * 2 * (int64_t)facts->graph->max_pairs,
                             .increments = facts->graph->max_heads * RS_ST_TERMS};
}

/* Its tables [2 F, F] twice are small beside the rows. */
static int64_t host_bytes(const rs_probe_facts *facts, int threads) {
    return rs_sampled_rows_bytes(facts, threads, room(facts));
}

static rs_status begin(const rs_probe_facts *facts, const rs_backend *b, rs_device *d, void **out, rs_error *err) {
    rs_status st = RS_OK;
    scratch *s = NULL;
    int64_t F = facts->graph->max_pairs;
    *out = NULL;
    RS_TRY(RS_NEW(&s, 1, err));
    s->tables_layer = -1;
    RS_TRY(rs_sampled_rows_init(&s->rows, facts, b, d, room(facts), err));
    RS_TRY(RS_NEW(&s->tables.mean, (size_t)(2 * F), err));
    RS_TRY(RS_NEW(&s->tables.minus, (size_t)(2 * F * F), err));
    RS_TRY(RS_NEW(&s->tables.plus, (size_t)(2 * F * F), err));
    *out = s;
    s = NULL;
out:
    if (s) {
        end(s, b, d);
    }
    return st;
}

static void prepare(scratch *s, const rs_probe_facts *facts) {
    const rs_layer *l = s->rows.layer;
    if (s->tables_layer == s->rows.layer_number) {
        return;
    }
    s->tables.F = s->rows.F;
    s->tables.theta = l->rope.theta;
    s->tables.window = rs_stability_window(facts, l);
    rs_stability_prepare(&s->tables);
    s->tables_layer = s->rows.layer_number;
}

/* Distances of RS_ST_KEYS different keys of each row, in the order in which they were drawn; all of them when there are
 * fewer. The same for every head and layer with the same window. */
static void draw_keys(scratch *s) {
    enum { DRAW_KEYS = 3 };
    for (int64_t i = 0; i < s->rows.n_rows; i++) {
        bool sink = false;
        int64_t n = rs_row_keys(&s->rows, i, &sink) - sink, drawn = 0;
        rs_rng rng;
        rs_rng_init(&rng, s->rows.seed + DRAW_KEYS * UINT64_C(0x9E3779B97F4A7C15) + (uint64_t)s->rows.row[i]);
        s->keys[i] = n < RS_ST_KEYS ? n : RS_ST_KEYS;
        while (drawn < s->keys[i]) {
            int64_t D = rs_rng_below(&rng, n);
            bool again = false;
            for (int64_t j = 0; j < drawn; j++) {
                again = again || s->distance[i][j] == D;
            }
            if (!again) {
                s->distance[i][drawn++] = D;
            }
        }
    }
}

/* Coefficients of row i with the key at that distance. The tail takes the softmax scale alone: components that are not
 * rotated are not multiplied by the attention factor (their factor is 1). */
static rs_coefficients coefficients(const rs_sampled_rows *s, int64_t h, int64_t i, int64_t D, double *c) {
    rs_coefficients x = {.c = c};
    int64_t kv = rs_row_key_head(s, h);
    for (int64_t f = 0; f < s->F; f++) {
        double q[2], re, im;
        const double *k = s->k + (kv * s->F + f) * 2 * s->T + s->T - 1 - s->row[i] + D;
        rs_row_query(s, h, i, f, q);
        re = s->gain[f] * (q[0] * k[0] + q[1] * k[s->T]);
        im = s->gain[f] * (q[1] * k[0] - q[0] * k[s->T]);
        bool rotary = s->layer->rope.theta[f] > 0.0;
        c[f] = rotary ? re : 0.0;
        c[s->F + f] = rotary ? im : 0.0;
        x.tail += rotary ? 0.0 : re;
    }
    return x;
}

static void measure_row(const scratch *s, int64_t h, int64_t i, double *work, double *out) {
    const rs_sampled_rows *r = &s->rows;
    rs_coefficients x[RS_ST_KEYS];
    int64_t width = 2 * r->F, stride = r->T + RS_ROWS_SHIFT;
    double *line = work, *difference = work + r->T, *c = difference + width;
    for (int64_t j = 0; j < s->keys[i]; j++) {
        x[j] = coefficients(r, h, i, s->distance[i][j], c + j * width);
    }
    for (int64_t j = 0; j + 1 < s->keys[i]; j += 2) {
        rs_coefficients d = {.c = difference, .tail = x[j].tail - x[j + 1].tail};
        for (int64_t f = 0; f < width; f++) {
            difference[f] = x[j].c[f] - x[j + 1].c[f];
        }
        rs_stability_triplet(&s->tables, &d, r->cos, r->sin, stride, line, out);
    }
    for (int64_t j = 0; j < s->keys[i]; j++) {
        rs_stability_pair(&s->tables, &x[j], r->cos, r->sin, stride, line, out);
    }
}

static void measure(void *ctx, rs_sampled_rows *rows, int64_t h, double *work) {
    const scratch *s = ctx;
    double *out = rows->increment + h * RS_ST_TERMS;
    for (int64_t i = 0; i < rows->n_rows; i++) {
        measure_row(s, h, i, work, out);
    }
    if (out[RS_ST_PAIRS] > 0.0) {
        double mean = out[RS_ST_FAST] / out[RS_ST_PAIRS];
        out[RS_ST_FAST_MEAN] = mean;
        out[RS_ST_FAST_SQUARE] = mean * mean;
        out[RS_ST_TEXTS] = 1.0;
    }
}

static rs_status observe(void *ctx, const rs_probe_facts *facts, const rs_frame *f, const rs_probe_state *state,
                         rs_error *err) {
    rs_status st = RS_OK;
    scratch *s = ctx;
    RS_TRY(rs_sampled_rows_read(&s->rows, facts, f, err));
    if (s->rows.n_rows > 0) {
        prepare(s, facts);
        draw_keys(s);
        rs_sampled_heads(&s->rows, measure, s);
        RS_TRY(rs_sampled_add(&s->rows, f, state, VIEWS, err));
    }
out:
    return st;
}

const rs_probe_kind rs_stability = {
    .name = "stability",
    .title = "whether distance turns a head's preference between keys over, and how far a step moves its logit",
    .source = "semantic stability, positional sensitivity and high-frequency share: arXiv 2609.39929",
    .deep = "it goes through all distances for drawn keys of every head",
    .folds = RS_FOLDS,
    .wants = wants,
    .declare = declare,
    .host_bytes = host_bytes,
    .begin = begin,
    .observe = observe,
    .end = end,
    .finish = rs_stability_finish,
};
