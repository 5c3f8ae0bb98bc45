#include "tests/support/fake_frames.h"
#include "tests/support/test_device.h"

#include "analyzer/base/rng.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(rs_status st, const rs_error *err) {
    if (st != RS_OK) {
        fprintf(stderr, "fake_frames: %s\n", err->message);
        abort();
    }
}

static void *grab(int64_t n, size_t size) {
    void *p = calloc((size_t)(n > 0 ? n : 1), size);
    if (!p) {
        abort();
    }
    return p;
}

static void set_layer(fake_forward *f, int layer, rs_layer shape, bool interleaved, const double *theta,
                      const double *factor) {
    int F = shape.head_dim / 2;
    for (int i = 0; i < F; i++) {
        f->lo[layer][i] = interleaved ? 2 * i : i;
        f->hi[layer][i] = interleaved ? 2 * i + 1 : i + F;
        f->theta[layer][i] = theta[i];
        f->factor[layer][i] = factor[i];
    }
    shape.rope = (rs_rope){.n_pairs = F,
                           .n_rotated = F,
                           .head_dim = shape.head_dim,
                           .layout = interleaved ? RS_INTERLEAVED : RS_HALF_SPLIT,
                           .lo = f->lo[layer],
                           .hi = f->hi[layer],
                           .lo_hf = f->lo[layer],
                           .hi_hf = f->hi[layer],
                           .theta = f->theta[layer],
                           .factor = f->factor[layer],
                           .region = f->region[layer],
                           .kind = "table",
                           .words = "made up",
                           .source = "a test"};
    f->layers[layer] = shape;
}

void fake_open(fake_forward *f, int64_t positions) {
    rs_error err = {0};
    memset(f, 0, sizeof *f);
    f->positions = positions;
    f->sink = 1000.0;
    f->concentrated = true;
    set_layer(f, 0, (rs_layer){.heads = 4, .kv_heads = 2, .head_dim = 8, .v_dim = 6, .scale = 0.35}, false,
              (double[]){1.0, 0.3, 0.02, 0.0}, (double[]){1.2, 1.2, 1.2, 1.0});
    set_layer(f, 1, (rs_layer){.heads = 2, .kv_heads = 1, .head_dim = 6, .v_dim = 4, .scale = 0.5, .window = 7}, true,
              (double[]){0.7, 0.05, 0.001}, (double[]){1.0, 1.0, 1.0});
    f->graph = (rs_graph){.family = "fake",
                          .name = "fake",
                          .n_layers = FAKE_LAYERS,
                          .width = 8,
                          .vocab = FAKE_VOCAB,
                          .trained_context = positions,
                          .layers = f->layers,
                          .max_heads = 4,
                          .max_kv_heads = 2,
                          .max_head_dim = 8,
                          .max_v_dim = 6,
                          .max_pairs = 4,
                          .rope_words = "made up"};
    must(rs_device_open(rs_test_device(), 1, &f->backend, &f->device, &err), &err);
}

void fake_close(fake_forward *f) { f->backend->close(f->device); }

/* Normal numbers around a mean of each head and component; position 0 is an outlier. */
static float *make_vectors(rs_rng *r, const fake_forward *f, int64_t T, int64_t heads, int64_t width) {
    float *x = grab(T * heads * width, sizeof *x);
    double *mean = grab(heads * width, sizeof *mean);
    for (int64_t i = 0; i < heads * width; i++) {
        mean[i] = f->concentrated ? 1.5 * rs_rng_normal(r) : 0.0;
    }
    for (int64_t t = 0; t < T; t++) {
        for (int64_t i = 0; i < heads * width; i++) {
            double value = mean[i] + (0.5 + 0.3 * (double)(i % 3)) * rs_rng_normal(r);
            x[t * heads * width + i] = (float)(t == 0 ? f->sink * value : value);
        }
    }
    free(mean);
    return x;
}

static void make_row(rs_rng *r, int64_t t, int64_t first, float *row, float *stats) {
    double whole = 0.0, entropy = 0.0;
    for (int64_t n = first; n <= t; n++) {
        whole += row[n] = (float)exp(1.5 * rs_rng_normal(r) + (n == 0 ? 3.0 : 0.0));
    }
    for (int64_t n = first; n <= t; n++) {
        double p = row[n] / whole;
        row[n] = (float)p;
        entropy -= p > 0.0 ? p * log(p) : 0.0;
    }
    stats[0] = (float)log(whole);
    stats[1] = (float)entropy;
}

static void make_pattern(rs_rng *r, const rs_layer *l, fake_activations *a) {
    a->pattern = grab(a->H * a->T * a->T, sizeof *a->pattern);
    a->stats = grab(a->H * a->T * 2, sizeof *a->stats);
    for (int64_t h = 0; h < a->H; h++) {
        for (int64_t t = 0; t < a->T; t++) {
            int64_t first = l->window > 0 && t - l->window + 1 > 0 ? t - l->window + 1 : 0;
            make_row(r, t, first, a->pattern + (h * a->T + t) * a->T, a->stats + (h * a->T + t) * 2);
        }
    }
}

void fake_make(const fake_forward *f, int layer, uint64_t seed, fake_activations *out) {
    rs_rng ids, r;
    const rs_layer *l = &f->layers[layer];
    rs_rng_init(&ids, seed); /* the tokens are the same in every layer */
    rs_rng_init(&r, seed * 1000 + (uint64_t)layer + 1);
    *out = (fake_activations){.T = f->positions, .H = l->heads, .K = l->kv_heads, .Dh = l->head_dim, .Dv = l->v_dim};
    out->ids = grab(out->T, sizeof *out->ids);
    for (int64_t t = 0; t < out->T; t++) {
        out->ids[t] = (int32_t)rs_rng_below(&ids, FAKE_VOCAB);
    }
    out->q = make_vectors(&r, f, out->T, out->H, out->Dh);
    out->k = make_vectors(&r, f, out->T, out->K, out->Dh);
    out->v = make_vectors(&r, f, out->T, out->K, out->Dv);
    make_pattern(&r, l, out);
}

void fake_free(fake_activations *a) {
    free(a->ids);
    free(a->q);
    free(a->k);
    free(a->v);
    free(a->pattern);
    free(a->stats);
    memset(a, 0, sizeof *a);
}

/* Device memory of a drive. */
typedef struct stage {
    rs_mem *q, *k, *v, *w_q, *tile, *stats, *index;
} stage;

static rs_status put(const fake_forward *f, rs_mem **m, const void *bytes, size_t n, rs_error *err) {
    rs_status st = RS_OK;
    if (!*m) {
        RS_TRY(f->backend->alloc(f->device, n, m, err));
    }
    RS_TRY(f->backend->write(f->device, *m, 0, bytes, n, err));
out:
    return st;
}

static rs_status call(const rs_hook *hook, rs_frame *frame, rs_site site, rs_error *err) {
    frame->site = site;
    return hook->wants(hook->ctx, site, frame->layer) ? hook->observe(hook->ctx, frame, err) : RS_OK;
}

/* Rows row0..row0+n-1 against the columns they may see, packed as a tile. */
static rs_status drive_tile(const fake_forward *f, const rs_hook *hook, stage *s, const fake_activations *a,
                            rs_frame *frame, int64_t row0, int64_t n, rs_error *err) {
    rs_status st = RS_OK;
    int64_t window = frame->layer_info->window, col0 = window > 0 && row0 - window + 1 > 0 ? row0 - window + 1 : 0,
            C = row0 + n - col0;
    float *tile = grab(a->H * n * C, sizeof *tile), *stats = grab(a->H * n * 2, sizeof *stats);
    for (int64_t h = 0; h < a->H; h++) {
        for (int64_t r = 0; r < n; r++) {
            memcpy(tile + (h * n + r) * C, a->pattern + (h * a->T + row0 + r) * a->T + col0, (size_t)C * sizeof *tile);
            memcpy(stats + (h * n + r) * 2, a->stats + (h * a->T + row0 + r) * 2, 2 * sizeof *stats);
        }
    }
    f->backend->release(f->device, s->tile);
    f->backend->release(f->device, s->stats);
    s->tile = s->stats = NULL;
    RS_TRY(put(f, &s->tile, tile, (size_t)(a->H * n * C) * sizeof *tile, err));
    RS_TRY(put(f, &s->stats, stats, (size_t)(a->H * n * 2) * sizeof *stats, err));
    frame->view = rs_view_3d(s->tile, 0, RS_F32, a->H, n, C);
    frame->row_stats = rs_view_3d(s->stats, 0, RS_F32, a->H, n, 2);
    frame->row0 = row0;
    frame->col0 = col0;
    RS_TRY(call(hook, frame, RS_SITE_PATTERN, err));
out:
    free(tile);
    free(stats);
    return st;
}

static rs_status drive_sequence(const fake_forward *f, const rs_hook *hook, stage *s, const fake_activations *a,
                                rs_frame frame, int64_t tile_rows, rs_error *err) {
    rs_status st = RS_OK;
    int64_t T = a->T;
    RS_TRY(put(f, &s->q, a->q, (size_t)(T * a->H * a->Dh) * sizeof(float), err));
    RS_TRY(put(f, &s->k, a->k, (size_t)(T * a->K * a->Dh) * sizeof(float), err));
    RS_TRY(put(f, &s->v, a->v, (size_t)(T * a->K * a->Dv) * sizeof(float), err));
    frame.view = rs_view_3d(s->v, 0, RS_F32, T, a->K, a->Dv);
    RS_TRY(call(hook, &frame, RS_SITE_V, err));
    frame.q_rope = frame.view = rs_view_3d(s->q, 0, RS_F32, T, a->H, a->Dh);
    RS_TRY(call(hook, &frame, RS_SITE_Q_ROPE, err));
    frame.k_rope = frame.view = rs_view_3d(s->k, 0, RS_F32, T, a->K, a->Dh);
    RS_TRY(call(hook, &frame, RS_SITE_K_ROPE, err));
    frame.q_rope = frame.k_rope = RS_ABSENT;
    for (int64_t row0 = 0; row0 < T; row0 += tile_rows) {
        RS_TRY(drive_tile(f, hook, s, a, &frame, row0, T - row0 < tile_rows ? T - row0 : tile_rows, err));
    }
out:
    return st;
}

static void clear(const fake_forward *f, stage *s) {
    rs_mem *all[] = {s->q, s->k, s->v, s->w_q, s->tile, s->stats, s->index};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        f->backend->release(f->device, all[i]);
    }
    *s = (stage){0};
}

/* The query projection of a layer, of a model of width FAKE_WIDTH. */
enum { FAKE_WIDTH = 8 };
static rs_status put_weights(const fake_forward *f, int layer, stage *s, rs_view *w_q, rs_error *err) {
    const rs_layer *l = &f->layers[layer];
    int64_t rows = (int64_t)l->heads * l->head_dim, n = rows * FAKE_WIDTH;
    rs_rng r;
    rs_rng_init(&r, (uint64_t)layer + 77);
    float *w = grab(n, sizeof *w);
    for (int64_t i = 0; i < n; i++) {
        w[i] = (float)rs_rng_normal(&r);
    }
    rs_status st = put(f, &s->w_q, w, (size_t)n * sizeof *w, err);
    free(w);
    if (st == RS_OK) {
        *w_q = rs_view_2d(s->w_q, 0, RS_F32, rows, FAKE_WIDTH);
    }
    return st;
}

static rs_status drive_layer(const fake_forward *f, const rs_hook *hook, int layer, const uint64_t *content,
                             const int64_t *number, int64_t n, int64_t tile_rows, rs_error *err) {
    rs_status st = RS_OK;
    stage s = {0};
    fake_activations a = {0};
    int64_t F = f->layers[layer].rope.n_pairs;
    int32_t index[2 * FAKE_PAIRS] = {0};
    memcpy(index, f->lo[layer], (size_t)F * sizeof *index);
    memcpy(index + F, f->hi[layer], (size_t)F * sizeof *index);
    rs_view w_q = RS_ABSENT;
    RS_TRY(put(f, &s.index, index, sizeof index, err));
    RS_TRY(put_weights(f, layer, &s, &w_q, err));
    for (int64_t i = 0; i < n; i++) {
        fake_make(f, layer, content[i], &a);
        rs_frame frame = {.layer = layer,
                          .graph = &f->graph,
                          .layer_info = &f->layers[layer],
                          .backend = f->backend,
                          .device = f->device,
                          .sequence = number ? number[i] : i,
                          .sequences = n,
                          .positions = f->positions,
                          .ids = a.ids,
                          .w_q = w_q,
                          .component_lo = rs_view_1d(s.index, 0, RS_I32, F),
                          .component_hi = rs_view_1d(s.index, (size_t)F * sizeof(int32_t), RS_I32, F)};
        RS_TRY(drive_sequence(f, hook, &s, &a, frame, tile_rows, err));
        fake_free(&a);
    }
    RS_TRY(hook->layer_done(hook->ctx, layer, err));
out:
    fake_free(&a);
    clear(f, &s);
    return st;
}

rs_status fake_drive(const fake_forward *f, const rs_hook *hook, const uint64_t *content, const int64_t *number,
                     int64_t n, int64_t tile_rows, rs_error *err) {
    rs_status st = RS_OK;
    RS_TRY(hook->layer_done(hook->ctx, -1, err));
    for (int layer = 0; layer < FAKE_LAYERS; layer++) {
        RS_TRY(drive_layer(f, hook, layer, content, number, n, tile_rows, err));
    }
    RS_TRY(hook->layer_done(hook->ctx, FAKE_LAYERS, err));
out:
    return st;
}
