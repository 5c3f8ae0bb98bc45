/* probes/attention_pattern.c: what heads attend to: themselves, the token before, the sink, earlier copies of a token
 * and what stood behind them; how far, how sharply, and how much of the pattern depends on the distance alone. Gathers;
 * attention_finish.c derives. Tiles of a sequence come in order of their rows; what needs the whole sequence is added
 * to the state behind its last tile. */
#include "probes/attention_pattern.h"

#include "analyzer/base/alloc.h"
#include "probes/axis.h"
#include "probes/tally.h"

#include <string.h>

enum {
    S_SUMS,
    S_PROFILE,
    S_DISTANCE,
    S_TOEPLITZ,
    S_LISTED,
    S_MAP,
    S_SEQUENCES
}; /* order of declaration = index into rs_probe_state */

typedef struct scratch {
    rs_token_repeats repeats;
    double rows[RS_LISTS]; /* of the sequence at hand */
    rs_mem *ids;           /* [T] i32: its tokens */
    rs_mem *profile;       /* [H, T] f64 of it */
    rs_mem *listed;        /* [RS_LISTS] f64: rows on their way into the state */
    rs_mem *points_at;     /* [points] i32: first distance of each bin of the stored profile */
    int64_t points, positions;
} scratch;

static bool wants(rs_site site) { return site == RS_SITE_PATTERN; }

static rs_status declare_heads(const char *name, const char *unit, const char *text, int64_t H, const char *last,
                               int64_t n, rs_arrays *state, rs_error *err) {
    rs_status st = RS_OK;
    rs_array *a = NULL;
    RS_TRY(rs_arrays_add(state, &a, err, name, RS_F64, unit, text, last ? 3 : 2, RS_PATTERN_FOLD_AXIS,
                         (int64_t)RS_PATTERN_FOLDS, "head", H, last, n));
    rs_tally_zero(a);
out:
    return st;
}

static rs_status declare(const rs_probe_facts *facts, int layer, rs_arrays *state, rs_error *err) {
    rs_status st = RS_OK;
    rs_array *a = NULL;
    int64_t H = facts->graph->layers[layer].heads, B = RS_MAP_BLOCKS;
    RS_TRY(declare_heads("state/attention_pattern/sums", "1",
                         "sums over rows 1..T-1: A[t,t], A[t,t-1], A[t,0], entropy (nats), A^2 without column 0, mass "
                         "on duplicates, on induction columns, on all, rows",
                         H, "pattern_sum", RS_PATTERN_SUMS, state, err));
    RS_TRY(declare_heads("state/attention_pattern/profile", "1",
                         "sums of A[t,t-D] without column 0, by distance (bins from each point to the next)", H,
                         "profile_distance", rs_profile_axis(facts->positions, NULL), state, err));
    RS_TRY(declare_heads("state/attention_pattern/distance", "tokens", "sum of D A[t,t-D] without column 0", H, NULL, 0,
                         state, err));
    RS_TRY(
        declare_heads("state/attention_pattern/toeplitz", "1",
                      "sum over sequences of the squared norm of the pattern's Toeplitz projection, without column 0",
                      H, NULL, 0, state, err));
    RS_TRY(rs_arrays_add(state, &a, err, "state/attention_pattern/listed_rows", RS_F64, "1",
                         "rows with a duplicate, rows with an induction column", 2, RS_PATTERN_FOLD_AXIS,
                         (int64_t)RS_PATTERN_FOLDS, "list", (int64_t)RS_LISTS));
    rs_tally_zero(a);
    RS_TRY(rs_arrays_add(state, &a, err, "state/attention_pattern/map", RS_F64, "1",
                         "sums of A over blocks of rows and columns", 4, RS_PATTERN_FOLD_AXIS,
                         (int64_t)RS_PATTERN_FOLDS, "head", H, "map_row", B, "map_column", B));
    rs_tally_zero(a);
    RS_TRY(rs_tally_declare_sequences(state, "attention_pattern", RS_PATTERN_FOLD_AXIS, RS_PATTERN_FOLDS, err));
out:
    return st;
}

static void end(void *ctx, const rs_backend *b, rs_device *d) {
    scratch *s = ctx;
    rs_token_repeats_deinit(&s->repeats);
    b->release(d, s->ids);
    b->release(d, s->profile);
    b->release(d, s->listed);
    b->release(d, s->points_at);
    rs_free(s);
}

static rs_status write_points(scratch *s, const rs_backend *b, rs_device *d, rs_error *err) {
    rs_status st = RS_OK;
    double axis[RS_PROFILE_POINTS];
    int32_t first[RS_PROFILE_POINTS];
    s->points = rs_profile_axis(s->positions, axis);
    for (int64_t i = 0; i < s->points; i++) {
        first[i] = (int32_t)axis[i];
    }
    RS_TRY(b->alloc(d, (size_t)s->points * sizeof *first, &s->points_at, err));
    RS_TRY(b->write(d, s->points_at, 0, first, (size_t)s->points * sizeof *first, err));
out:
    return st;
}

static rs_status begin(const rs_probe_facts *facts, const rs_backend *b, rs_device *d, void **out, rs_error *err) {
    rs_status st = RS_OK;
    scratch *s = NULL;
    size_t T = (size_t)facts->positions, H = 1;
    *out = NULL;
    for (int l = 0; l < facts->graph->n_layers; l++) {
        size_t h = (size_t)facts->graph->layers[l].heads;
        H = h > H ? h : H;
    }
    RS_TRY(RS_NEW(&s, 1, err));
    s->positions = facts->positions;
    RS_TRY(rs_token_repeats_init(&s->repeats, facts->positions, facts->graph->vocab, err));
    RS_TRY(b->alloc(d, T * sizeof(int32_t), &s->ids, err));
    RS_TRY(b->alloc(d, H * T * sizeof(double), &s->profile, err));
    RS_TRY(b->alloc(d, RS_LISTS * sizeof(double), &s->listed, err));
    RS_TRY(write_points(s, b, d, err));
    *out = s;
    s = NULL;
out:
    if (s) {
        end(s, b, d);
    }
    return st;
}

/* --- one sequence
 * ------------------------------------------------------------------------------------------------------------------ */

static rs_status begin_sequence(scratch *s, const rs_frame *f, rs_error *err) {
    rs_status st = RS_OK;
    RS_TRY(rs_token_repeats_count(&s->repeats, f->ids, s->rows, err));
    RS_TRY(f->backend->write(f->device, s->ids, 0, f->ids, (size_t)s->positions * sizeof *f->ids, err));
    RS_TRY(f->backend->zero(f->device, s->profile, 0, (size_t)(f->layer_info->heads * s->positions) * sizeof(double),
                            err));
out:
    return st;
}

/* Of a sequence whose pattern was never in memory. */
static rs_status form_and_reduce(const scratch *s, const rs_frame *f, const rs_probe_state *state, rs_error *err) {
    rs_op op = {.kind = RS_OP_ATTEND_REDUCE,
                .u.attend_reduce = {.q = f->attend.q,
                                    .k = f->attend.k,
                                    .slot = f->attend.slot,
                                    .stats = f->row_stats,
                                    .ids = rs_view_1d(s->ids, 0, RS_I32, s->positions),
                                    .sums = state->view[S_SUMS],
                                    .profile = rs_view_2d(s->profile, 0, RS_F64, f->layer_info->heads, s->positions),
                                    .map = state->view[S_MAP],
                                    .window = f->attend.window,
                                    .scale = f->attend.scale,
                                    .softcap = f->attend.softcap,
                                    .skip_first = true}};
    return rs_run_ops(f->backend, f->device, &op, 1, err);
}

static rs_status reduce(const scratch *s, const rs_frame *f, const rs_probe_state *state, rs_error *err) {
    rs_op op = {.kind = RS_OP_PATTERN_REDUCE,
                .u.pattern_reduce = {.p = f->view,
                                     .stats = f->row_stats,
                                     .ids = rs_view_1d(s->ids, 0, RS_I32, s->positions),
                                     .sums = state->view[S_SUMS],
                                     .profile = rs_view_2d(s->profile, 0, RS_F64, f->layer_info->heads, s->positions),
                                     .map = state->view[S_MAP],
                                     .row0 = f->row0,
                                     .col0 = f->col0,
                                     .window = f->layer_info->window,
                                     .positions = s->positions,
                                     .skip_first = true}};
    return rs_run_ops(f->backend, f->device, &op, 1, err);
}

/* The profile of a whole sequence, and how many of its rows had a list, into the state. */
static rs_status end_sequence(scratch *s, const rs_frame *f, const rs_probe_state *state, rs_error *err) {
    rs_status st = RS_OK;
    rs_view counted = state->view[S_LISTED];
    rs_op ops[2] = {
        {.kind = RS_OP_PROFILE_REDUCE,
         .u.profile_reduce = {.profile = rs_view_2d(s->profile, 0, RS_F64, f->layer_info->heads, s->positions),
                              .start = rs_view_1d(s->points_at, 0, RS_I32, s->points),
                              .bins = state->view[S_PROFILE],
                              .distance = state->view[S_DISTANCE],
                              .toeplitz = state->view[S_TOEPLITZ],
                              .window = f->layer_info->window}},
        {.kind = RS_OP_ADD,
         .u.add = {.x = rs_view_2d(s->listed, 0, RS_F64, 1, RS_LISTS),
                   .y = rs_view_2d(counted.mem, counted.offset, RS_F64, 1, RS_LISTS),
                   .a = 1,
                   .b = 1}}};
    RS_TRY(f->backend->write(f->device, s->listed, 0, s->rows, sizeof s->rows, err));
    RS_TRY(rs_run_ops(f->backend, f->device, ops, 2, err));
out:
    return st;
}

static rs_status observe(void *ctx, const rs_probe_facts *facts, const rs_frame *f, const rs_probe_state *state,
                         rs_error *err) {
    rs_status st = RS_OK;
    scratch *s = ctx;
    if (f->row0 == 0) {
        RS_TRY(begin_sequence(s, f, err));
    }
    bool whole = !rs_view_present(&f->view);
    RS_TRY(whole ? form_and_reduce(s, f, state, err) : reduce(s, f, state, err));
    if (whole || f->row0 + f->view.dim[1] >= facts->positions) {
        RS_TRY(end_sequence(s, f, state, err));
    }
out:
    return st;
}

const rs_probe_kind rs_attention_pattern = {
    .name = "attention_pattern",
    .title = "what heads attend to and how far",
    .source = "diagonal and previous-token heads: Barbero et al., ICLR 2025; induction and duplicate tokens: Olsson et "
              "al. 2022, TransformerLens head_detector; "
              "attention sinks: Xiao et al., ICLR 2024",
    .folds = RS_PATTERN_FOLDS,
    .wants = wants,
    .forms_pattern = true,
    .declare = declare,
    .begin = begin,
    .observe = observe,
    .end = end,
    .finish = rs_pattern_finish,
};
