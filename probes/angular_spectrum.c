/* probes/angular_spectrum.c: where the pairs of queries and keys point before rotation, how their length moves along
 * the sequence, and what each pair adds to the logit at every distance on average: the last exactly, over all (query,
 * key) of a distance, by cross-correlation. This file gathers; angular_spectrum_finish.c derives. Position 0 (the sink)
 * is left out everywhere, as query and as key. */
#include "probes/angular_spectrum.h"

#include "analyzer/base/alloc.h"
#include "probes/axis.h"
#include "probes/tally.h"

#include <stdio.h>

/* Order of declaration = index into rs_probe_state; what q has k has next to it. */
enum { S_CIRCLE, S_PHASE = 2, S_POWER = 4, S_ENTROPY = 6, S_LOGIT = 8, S_SEQUENCES };

static const uint32_t FEATURES = 1u << RS_PAIR_ABS2 | 1u << RS_PAIR_RE | 1u << RS_PAIR_IM | 1u << RS_PAIR_SQ_RE |
                                 1u << RS_PAIR_SQ_IM | 1u << RS_PAIR_U_RE | 1u << RS_PAIR_U_IM | 1u << RS_PAIR_U2_RE |
                                 1u << RS_PAIR_U2_IM;

/* Device memory; offsets in bytes. */
typedef struct scratch {
    rs_mem *index;  /* i32: bucket map [T], then first distances of the axis [points] */
    rs_mem *tables; /* f64: theta [F], factor [F] of `layer` */
    int64_t positions, points;
    int layer; /* whose tables are on the device; -1 = none */
} scratch;

static bool wants(rs_site site) { return site == RS_SITE_K_ROPE; /* q is readable then, too */ }

static rs_status available(const rs_probe_facts *facts, const rs_backend *b, rs_error *err) {
    (void)facts;
    rs_status st = b->supports(RS_OP_CORRELATE, err);
    return st == RS_OK ? b->supports(RS_OP_SPECTRUM, err) : st;
}

/* An array of each of q and k: [fold, heads, ...]. */
static rs_status declare_sides(const rs_layer *l, const char *suffix, const char *text, const char *axis[2],
                               const int64_t size[2], rs_arrays *state, rs_error *err) {
    rs_status st = RS_OK;
    for (int k = 0; k < 2; k++) {
        rs_array *a = NULL;
        char name[RS_NAME_BYTES];
        snprintf(name, sizeof name, "state/angular_spectrum/%s%s", k ? "k" : "q", suffix);
        RS_TRY(rs_arrays_add(state, &a, err, name, RS_F64, "1", text, 4, RS_ANGULAR_FOLD_AXIS,
                             (int64_t)RS_ANGULAR_FOLDS, k ? "kv_head" : "head", (int64_t)(k ? l->kv_heads : l->heads),
                             axis[0], size[0], axis[1], size[1]));
        rs_tally_zero(a);
    }
out:
    return st;
}

static rs_status declare(const rs_probe_facts *facts, int layer, rs_arrays *state, rs_error *err) {
    rs_status st = RS_OK;
    rs_array *a = NULL;
    const rs_layer *l = &facts->graph->layers[layer];
    int64_t F = l->rope.n_pairs, D = rs_distance_axis(facts->positions, NULL);
    RS_TRY(declare_sides(l, "",
                         "sums over positions 1..T-1 of |z|^2, Re z, Im z, Re z^2, Im z^2, and with u = z/|z| Re u, "
                         "Im u, Re u^2, Im u^2",
                         (const char *[]){"circle_feature", "pair"}, (int64_t[]){RS_ANGULAR_FEATURES, F}, state, err));
    RS_TRY(declare_sides(l, "_phase", "number of positions 1..T-1 by the angle of the pair before rotation",
                         (const char *[]){"pair", "phase_bin"}, (int64_t[]){F, RS_PHASE_BINS}, state, err));
    RS_TRY(declare_sides(l, "_power", "power of |z| along positions 1..T-1, summed over the frames of all sequences",
                         (const char *[]){"pair", "spectrum_bin"},
                         (int64_t[]){F, rs_spectrum_axis(facts->positions, NULL)}, state, err));
    RS_TRY(declare_sides(l, "_entropy",
                         "normalised entropy of the spectrum of |z| over a whole sequence, summed; how many sequences "
                         "had one",
                         (const char *[]){"pair", "entropy_sum"}, (int64_t[]){F, RS_ANGULAR_ENTROPIES}, state, err));
    RS_TRY(rs_arrays_add(state, &a, err, "state/angular_spectrum/logit", RS_F64, "1",
                         "the pair's part of the scaled logit, summed over all (query, key) of a distance, no sink", 4,
                         RS_ANGULAR_FOLD_AXIS, (int64_t)RS_ANGULAR_FOLDS, "head", (int64_t)l->heads, "pair", F,
                         "distance", D));
    rs_tally_zero(a);
    RS_TRY(rs_tally_declare_sequences(state, "angular_spectrum", RS_ANGULAR_FOLD_AXIS, RS_ANGULAR_FOLDS, err));
out:
    return st;
}

static void end(void *ctx, const rs_backend *b, rs_device *d) {
    scratch *s = ctx;
    b->release(d, s->index);
    b->release(d, s->tables);
    rs_free(s);
}

/* Bucket map: everything but the sink into one bucket; behind it the distances where the points of the axis begin. */
static rs_status write_index(scratch *s, const rs_backend *b, rs_device *d, rs_error *err) {
    rs_status st = RS_OK;
    double axis[RS_DISTANCE_POINTS];
    int32_t *index = NULL;
    int64_t T = s->positions;
    size_t bytes;
    s->points = rs_distance_axis(T, axis);
    bytes = (size_t)(T + s->points) * sizeof *index;
    RS_TRY(RS_NEW(&index, (size_t)(T + s->points), err));
    index[0] = -1;
    for (int64_t i = 0; i < s->points; i++) {
        index[T + i] = (int32_t)axis[i];
    }
    RS_TRY(b->alloc(d, bytes, &s->index, err));
    RS_TRY(b->write(d, s->index, 0, index, bytes, err));
out:
    rs_free(index);
    return st;
}

static rs_status begin(const rs_probe_facts *facts, const rs_backend *b, rs_device *d, void **out, rs_error *err) {
    rs_status st = RS_OK;
    scratch *s = NULL;
    size_t pairs = (size_t)(facts->graph->max_pairs > 0 ? facts->graph->max_pairs : 1);
    *out = NULL;
    RS_TRY(RS_NEW(&s, 1, err));
    s->positions = facts->positions;
    s->layer = -1;
    RS_TRY(write_index(s, b, d, err));
    RS_TRY(b->alloc(d, 2 * pairs * sizeof(double), &s->tables, err));
    *out = s;
    s = NULL;
out:
    if (s) {
        end(s, b, d);
    }
    return st;
}

static rs_status prepare_layer(scratch *s, const rs_frame *f, rs_error *err) {
    rs_status st = RS_OK;
    const rs_rope *r = &f->layer_info->rope;
    size_t bytes = (size_t)r->n_pairs * sizeof(double);
    if (s->layer == f->layer) {
        return RS_OK;
    }
    RS_TRY(f->backend->write(f->device, s->tables, 0, r->theta, bytes, err));
    RS_TRY(f->backend->write(f->device, s->tables, bytes, r->factor, bytes, err));
    s->layer = f->layer;
out:
    return st;
}

/* Moments, phases and, where the sequence is long enough for a frame, spectra: of queries (side 0) or keys (side 1).
 * Returns how many ops. */
static size_t side_ops(const scratch *s, const rs_frame *f, int side, const rs_probe_state *state, rs_op ops[3]) {
    rs_view x = side ? f->k_rope : f->q_rope, circle = state->view[S_CIRCLE + side];
    size_t n = 2;
    ops[0] = (rs_op){.kind = RS_OP_PAIR_REDUCE,
                     .u.pair_reduce = {.x = x,
                                       .component_lo = f->component_lo,
                                       .component_hi = f->component_hi,
                                       .bucket = rs_view_1d(s->index, 0, RS_I32, s->positions),
                                       .out = rs_view_4d(circle.mem, circle.offset, circle.dtype, 1, circle.dim[0],
                                                         circle.dim[1], circle.dim[2]),
                                       .features = FEATURES}};
    ops[1] = (rs_op){.kind = RS_OP_PHASE,
                     .u.phase = {.x = x,
                                 .component_lo = f->component_lo,
                                 .component_hi = f->component_hi,
                                 .out = state->view[S_PHASE + side],
                                 .first = 1}};
    if (s->positions >= RS_SPECTRUM_POSITIONS) {
        ops[n++] = (rs_op){.kind = RS_OP_SPECTRUM,
                           .u.spectrum = {.x = x,
                                          .component_lo = f->component_lo,
                                          .component_hi = f->component_hi,
                                          .power = state->view[S_POWER + side],
                                          .entropy = state->view[S_ENTROPY + side],
                                          .first = 1}};
    }
    return n;
}

static rs_op correlate(const scratch *s, const rs_frame *f, const rs_probe_state *state) {
    const rs_layer *l = f->layer_info;
    int64_t F = l->rope.n_pairs;
    return (rs_op){
        .kind = RS_OP_CORRELATE,
        .u.correlate = {.q = f->q_rope,
                        .k = f->k_rope,
                        .component_lo = f->component_lo,
                        .component_hi = f->component_hi,
                        .theta = rs_view_1d(s->tables, 0, RS_F64, F),
                        .factor = rs_view_1d(s->tables, (size_t)F * sizeof(double), RS_F64, F),
                        .start = rs_view_1d(s->index, (size_t)s->positions * sizeof(int32_t), RS_I32, s->points),
                        .out = state->view[S_LOGIT],
                        .first = 1,
                        .window = l->window,
                        .scale = l->scale}};
}

static rs_status observe(void *ctx, const rs_probe_facts *facts, const rs_frame *f, const rs_probe_state *state,
                         rs_error *err) {
    rs_status st = RS_OK;
    scratch *s = ctx;
    rs_op ops[7];
    size_t n = 0;
    if (facts->positions < 2 || f->layer_info->rope.n_pairs == 0) {
        return RS_OK;
    }
    RS_TRY(prepare_layer(s, f, err));
    n += side_ops(s, f, 0, state, ops);
    n += side_ops(s, f, 1, state, ops + n);
    ops[n++] = correlate(s, f, state);
    RS_TRY(rs_run_ops(f->backend, f->device, ops, n, err));
out:
    return st;
}

const rs_probe_kind rs_angular_spectrum = {
    .name = "angular_spectrum",
    .title = "angles of the pairs, spectra of their length along the sequence, mean logit of every pair by distance",
    .source =
        "angles: metrics M11; frequency entropy of the norm signal: ICLR 2026 (OpenReview 1JZuEDq62N), SpectrumFE "
        "and SequenceFE; distance curve by cross-correlation: sum over t of Re(q_t conj(k_{t-D}) e^{i theta D})",
    .folds = RS_ANGULAR_FOLDS,
    .deep = "arrays of every pair by distance and by frequency: large files, and Fourier transforms of every pair",
    .available = available,
    .wants = wants,
    .declare = declare,
    .begin = begin,
    .observe = observe,
    .end = end,
    .finish = rs_angular_finish,
};
