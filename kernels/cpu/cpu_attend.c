/* kernels/cpu/cpu_attend.c: ATTEND and ATTEND_REDUCE by way of tiles: what a processor has a cache for is put together
 * from the ops that work on one. */
#include "kernels/cpu/cpu_device.h"

enum { TILE_ROWS = 64 };

/* Rows [row0, row0 + n) of a sequence with the columns that some of them may see. */
typedef struct tile {
    int64_t row0, rows, col0, cols;
} tile;

static tile tile_at(int64_t row0, int64_t positions, int64_t window) {
    tile t = {.row0 = row0, .rows = positions - row0 < TILE_ROWS ? positions - row0 : TILE_ROWS};
    t.col0 = window > 0 && row0 - window + 1 > 0 ? row0 - window + 1 : 0;
    t.cols = row0 + t.rows - t.col0;
    return t;
}

/* Scores, pattern and statistics of tiles of [heads, TILE_ROWS, positions], in the device's scratch. */
static rs_status tile_memory(rs_device *d, int64_t heads, int64_t positions, rs_mem *out, rs_error *err) {
    void *memory = NULL;
    size_t bytes = (size_t)(heads * TILE_ROWS * (positions + 2)) * sizeof(float);
    rs_status st = rs_cpu_scratch_get(d, RS_CPU_TILE, bytes, &memory, err);
    *out = (rs_mem){.bytes = bytes, .data = memory};
    return st;
}

/* The pattern of a tile into *p [H, rows, cols] and its statistics into *stats, behind it. */
static rs_status form_pattern(rs_device *d, const rs_op_attend *o, const tile *t, rs_mem *memory, rs_view *p,
                              rs_view *stats, rs_error *err) {
    rs_status st = RS_OK;
    int64_t H = o->q.dim[1];
    *p = rs_view_3d(memory, 0, RS_F32, H, t->rows, t->cols);
    *stats = rs_view_3d(memory, (size_t)(H * t->rows * t->cols) * sizeof(float), RS_F32, H, t->rows, 2);
    rs_op score = {.kind = RS_OP_SCORES,
                   .u.scores = {.q = rs_view_rows(o->q, t->row0, t->rows),
                                .k = rs_view_rows(o->k, t->col0, t->cols),
                                .slot = o->slot,
                                .s = *p,
                                .scale = o->scale,
                                .row0 = t->row0,
                                .col0 = t->col0,
                                .compute = RS_COMPUTE_BF16}};
    rs_op softmax = {
        .kind = RS_OP_SOFTMAX,
        .u.softmax = {
            .s = *p, .stats = *stats, .row0 = t->row0, .col0 = t->col0, .window = o->window, .softcap = o->softcap}};
    RS_TRY(rs_cpu_scores(d, &score, err));
    RS_TRY(rs_cpu_softmax(d, &softmax, err));
out:
    return st;
}

static void keep_stats(const rs_view *from, int64_t row0, const rs_view *to) {
    for (int64_t h = 0; h < from->dim[0]; h++) {
        const float *row = (const float *)rs_cpu_data(from) + h * from->stride[0];
        float *kept = (float *)rs_cpu_data(to) + h * to->stride[0] + row0 * to->stride[1];
        for (int64_t r = 0; r < from->dim[1]; r++) {
            kept[r * to->stride[1]] = row[r * from->stride[1]];
            kept[r * to->stride[1] + 1] = row[r * from->stride[1] + 1];
        }
    }
}

rs_status rs_cpu_attend(rs_device *d, const rs_op *op, rs_error *err) {
    rs_status st = RS_OK;
    const rs_op_attend *o = &op->u.attend;
    rs_mem memory;
    rs_view p, stats;
    int64_t T = o->q.dim[0];
    RS_TRY(tile_memory(d, o->q.dim[1], T, &memory, err));
    for (int64_t row0 = 0; row0 < T; row0 += TILE_ROWS) {
        tile t = tile_at(row0, T, o->window);
        RS_TRY(form_pattern(d, o, &t, &memory, &p, &stats, err));
        rs_op mix = {.kind = RS_OP_MIX,
                     .u.mix = {.p = p,
                               .v = rs_view_rows(o->v, t.col0, t.cols),
                               .z = rs_view_rows(o->z, t.row0, t.rows),
                               .row0 = t.row0,
                               .col0 = t.col0,
                               .compute = RS_COMPUTE_BF16}};
        RS_TRY(rs_cpu_mix(d, &mix, err));
        keep_stats(&stats, t.row0, &o->stats);
    }
out:
    return st;
}

rs_status rs_cpu_attend_reduce(rs_device *d, const rs_op *op, rs_error *err) {
    rs_status st = RS_OK;
    const rs_op_attend_reduce *o = &op->u.attend_reduce;
    rs_op_attend same = {
        .q = o->q, .k = o->k, .slot = o->slot, .window = o->window, .scale = o->scale, .softcap = o->softcap};
    rs_mem memory;
    rs_view p, stats;
    int64_t T = o->q.dim[0];
    RS_TRY(tile_memory(d, o->q.dim[1], T, &memory, err));
    for (int64_t row0 = 0; row0 < T; row0 += TILE_ROWS) {
        tile t = tile_at(row0, T, o->window);
        RS_TRY(form_pattern(d, &same, &t, &memory, &p, &stats, err));
        rs_op sums = {.kind = RS_OP_PATTERN_REDUCE,
                      .u.pattern_reduce = {.p = p,
                                           .stats = stats,
                                           .ids = o->ids,
                                           .sums = o->sums,
                                           .profile = o->profile,
                                           .map = o->map,
                                           .row0 = t.row0,
                                           .col0 = t.col0,
                                           .window = o->window,
                                           .positions = T,
                                           .skip_first = o->skip_first}};
        RS_TRY(rs_cpu_pattern_reduce(d, &sums, err));
    }
out:
    return st;
}
