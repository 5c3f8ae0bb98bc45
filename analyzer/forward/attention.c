/* Residual stream -> z of one sequence: norm, projections, q/k norm, rotation, then attention, in one of two ways:
 * tiles of query rows (scores, mask and softmax, values), where T x T never exists, for a tile has R rows and only the
 * columns that some row of it may see; or one op over the sequence, where not even tiles do. */
#include "analyzer/forward/pass.h"

#include "analyzer/base/alloc.h"

#include <string.h>

static rs_view index_view(const rs_run *r, int64_t first, int64_t n) {
    return rs_view_1d(r->index, sizeof(int32_t) * (size_t)first, RS_I32, n);
}

static rs_status write_index(rs_run *r, int64_t first, const int32_t *v, int n, rs_error *err) {
    return r->backend->write(r->device, r->index, sizeof *v * (size_t)first, v, sizeof *v * (size_t)n, err);
}

static rs_status upload_tables(rs_run *r, const rs_rope *rope, rs_error *err) {
    rs_status st = RS_OK;
    size_t n = (size_t)(r->rotary.n_rotations * r->o.positions * rope->n_pairs);
    float *table = NULL;
    RS_TRY(RS_NEW(&table, 2 * n, err));
    rs_rotary_tables(&r->rotary, rope, r->o.positions, table, table + n);
    RS_TRY(r->backend->write(r->device, r->tables, 0, table, 2 * n * sizeof *table, err));
out:
    rs_free(table);
    return st;
}

static rs_status upload_rotary(rs_run *r, const rs_layer *l, rs_error *err) {
    rs_status st = RS_OK;
    rs_index_layout x = rs_pass_index(r);
    RS_TRY(write_index(r, x.lo, l->rope.lo, l->rope.n_pairs, err));
    RS_TRY(write_index(r, x.hi, l->rope.hi, l->rope.n_pairs, err));
    RS_TRY(write_index(r, x.q_variant, r->rotary.q_variant, l->heads, err));
    RS_TRY(write_index(r, x.q_source, r->rotary.q_source, l->heads, err));
    RS_TRY(write_index(r, x.slot_variant, r->rotary.slot_variant, r->rotary.n_slots, err));
    RS_TRY(write_index(r, x.slot_source, r->rotary.slot_source, r->rotary.n_slots, err));
    RS_TRY(write_index(r, x.head_slot, r->rotary.head_slot, l->heads, err));
    RS_TRY(upload_tables(r, &l->rope, err));
out:
    return st;
}

/* Pair table of two layers: equal components and attention factors? (theta is compared in the rotations) */
static bool same_components(const rs_rope *a, const rs_rope *b) {
    size_t n = (size_t)a->n_pairs;
    return a->n_pairs == b->n_pairs && memcmp(a->lo, b->lo, n * sizeof *a->lo) == 0 &&
           memcmp(a->hi, b->hi, n * sizeof *a->hi) == 0 && memcmp(a->factor, b->factor, n * sizeof *a->factor) == 0;
}

rs_status rs_attention_prepare(rs_run *r, int layer, rs_error *err) {
    rs_status st = RS_OK;
    const rs_layer *l = &r->graph->layers[layer];
    rs_rotary next = {0};
    RS_TRY(rs_rotary_resolve(r->graph, layer, r->o.edits, r->o.n_edits, NULL, &next, err));
    bool same =
        layer > 0 && r->rotary.rotation && rs_rotary_equal(&next, &r->rotary) && same_components(&l->rope, &l[-1].rope);
    rs_rotary_deinit(&r->rotary);
    r->rotary = next;
    if (!same) {
        RS_TRY(upload_rotary(r, l, err));
    }
out:
    return st;
}

/* Rows of x into rows first.. of y. */
static rs_op project(const rs_run *r, rs_view x, rs_view w, rs_view bias, rs_mem *y, int64_t first) {
    int64_t rows = x.dim[0], cols = w.dim[0];
    return rs_pass_matmul(r, x, w, bias, rs_view_2d(y, (size_t)(first * cols) * sizeof(float), RS_F32, rows, cols));
}

/* q, k, v of rows first..first+n-1 of the sequence. */
static rs_status project_rows(rs_run *r, int64_t sequence, int64_t first, int64_t n, rs_error *err) {
    const rs_graph *g = r->graph;
    const rs_view *w = r->layer.w;
    rs_view x = rs_pass_residual(r, sequence, first, n);
    rs_dtype type = rs_pass_weight_type(r->o.compute);
    rs_view h = rs_view_2d(r->normed, 0, type, n, g->width);
    rs_op ops[4] = {
        rs_pass_norm(g, rs_view_3d(x.mem, x.offset, RS_F32, n, 1, g->width),
                     rs_view_3d(r->normed, 0, type, n, 1, g->width), w[RS_W_ATTN_NORM], w[RS_W_ATTN_NORM_BIAS]),
        project(r, h, w[RS_W_Q], w[RS_W_Q_BIAS], r->q, first),
        project(r, h, w[RS_W_K], w[RS_W_K_BIAS], r->k, first),
        project(r, h, w[RS_W_V], w[RS_W_V_BIAS], r->v, first),
    };
    return rs_pass_ops(r, ops, 4, err);
}

static rs_view heads_view(rs_mem *m, int64_t positions, int64_t heads, int64_t width) {
    return rs_view_3d(m, 0, RS_F32, positions, heads, width);
}

static rs_status fire_heads(rs_run *r, rs_site site, int layer, int64_t sequence, rs_mem *m, int64_t heads,
                            int64_t width, rs_error *err) {
    const rs_layer *l = &r->graph->layers[layer];
    if (!rs_pass_watched(r, site, layer)) {
        return RS_OK;
    }
    rs_index_layout x = rs_pass_index(r);
    rs_frame f = rs_pass_frame(r, site, layer, sequence);
    f.view = heads_view(m, r->o.positions, heads, width);
    f.component_lo = index_view(r, x.lo, l->rope.n_pairs);
    f.component_hi = index_view(r, x.hi, l->rope.n_pairs);
    if (site == RS_SITE_Q_ROPE || site == RS_SITE_K_ROPE) {
        f.q_rope = heads_view(r->q, r->o.positions, l->heads, l->head_dim);
        f.k_rope = heads_view(r->k, r->o.positions, l->kv_heads, l->head_dim);
    }
    return rs_pass_fire(r, &f, err);
}

static rs_status norm_heads(rs_run *r, rs_mem *m, int64_t heads, int64_t width, rs_view weight, rs_error *err) {
    rs_view x = heads_view(m, r->o.positions, heads, width);
    rs_op op = rs_pass_norm(r->graph, x, x, weight, RS_ABSENT);
    return rs_pass_ops(r, &op, 1, err);
}

static rs_op rotate(const rs_run *r, const rs_layer *l, rs_view x, rs_view y, int64_t variant, int64_t source) {
    rs_index_layout at = rs_pass_index(r);
    int64_t F = l->rope.n_pairs, R = r->rotary.n_rotations, T = r->o.positions;
    return (rs_op){.kind = RS_OP_ROPE,
                   .u.rope = {.x = x,
                              .y = y,
                              .component_lo = index_view(r, at.lo, F),
                              .component_hi = index_view(r, at.hi, F),
                              .cos = rs_view_3d(r->tables, 0, RS_F32, R, T, F),
                              .sin = rs_view_3d(r->tables, (size_t)(R * T * F) * sizeof(float), RS_F32, R, T, F),
                              .variant = index_view(r, variant, y.dim[1]),
                              .source = index_view(r, source, y.dim[1])}};
}

static rs_view key_slots(const rs_run *r, const rs_layer *l) {
    return heads_view(r->rotary.plain ? r->k : r->slots, r->o.positions, r->rotary.n_slots, l->head_dim);
}

/* Queries, keys or values as the products of a tile take them. half: NULL where that is float32. */
static rs_view taken_view(const rs_run *r, rs_mem *wide, rs_mem *half, int64_t heads, int64_t width) {
    rs_view v = heads_view(half ? half : wide, r->o.positions, heads, width);
    v.dtype = half ? RS_BF16 : RS_F32;
    return v;
}

/* Every tile multiplies by the same keys and values: they are rounded once. */
static rs_status round_heads(rs_run *r, const rs_layer *l, rs_error *err) {
    int64_t T = r->o.positions, q = T * l->heads * l->head_dim, k = T * r->rotary.n_slots * l->head_dim,
            v = T * l->kv_heads * l->v_dim;
    rs_view from[3] = {rs_view_1d(r->q, 0, RS_F32, q), rs_view_1d(key_slots(r, l).mem, 0, RS_F32, k),
                       rs_view_1d(r->v, 0, RS_F32, v)};
    rs_view to[3] = {rs_view_1d(r->q_half, 0, RS_BF16, q), rs_view_1d(r->keys_half, 0, RS_BF16, k),
                     rs_view_1d(r->v_half, 0, RS_BF16, v)};
    rs_op ops[3];
    for (int i = 0; i < 3; i++) {
        ops[i] = (rs_op){.kind = RS_OP_WIDEN, .u.widen = {.src = from[i], .dst = to[i]}};
    }
    return r->q_half ? rs_pass_ops(r, ops, 3, err) : RS_OK;
}

static rs_status rotate_all(rs_run *r, const rs_layer *l, rs_error *err) {
    rs_index_layout at = rs_pass_index(r);
    rs_view q = heads_view(r->q, r->o.positions, l->heads, l->head_dim);
    rs_op ops[2] = {rotate(r, l, q, q, at.q_variant, at.q_source),
                    rotate(r, l, heads_view(r->k, r->o.positions, l->kv_heads, l->head_dim), key_slots(r, l),
                           at.slot_variant, at.slot_source)};
    return rs_pass_ops(r, ops, 2, err);
}

/* Query rows row0 .. row0+n-1 against the columns any of them may see. */
static rs_status tile(rs_run *r, int layer, int64_t sequence, int64_t row0, int64_t n, rs_error *err) {
    rs_status st = RS_OK;
    const rs_layer *l = &r->graph->layers[layer];
    int64_t H = l->heads, col0 = l->window > 0 && row0 - l->window + 1 > 0 ? row0 - l->window + 1 : 0,
            C = row0 + n - col0;
    bool scores_watched = rs_pass_watched(r, RS_SITE_SCORES, layer);
    rs_view s = rs_view_3d(r->tile, 0, RS_F32, H, n, C), stats = rs_view_3d(r->stats, 0, RS_F32, H, n, 2);
    rs_view q = rs_view_rows(taken_view(r, r->q, r->q_half, H, l->head_dim), row0, n);
    rs_view k = rs_view_rows(taken_view(r, key_slots(r, l).mem, r->keys_half, r->rotary.n_slots, l->head_dim), col0, C);
    rs_view v = rs_view_rows(taken_view(r, r->v, r->v_half, l->kv_heads, l->v_dim), col0, C);
    rs_view half = r->tile_half ? rs_view_3d(r->tile_half, 0, RS_BF16, H, n, C) : RS_ABSENT;
    rs_view z = rs_view_rows(heads_view(r->z, r->o.positions, H, l->v_dim), row0, n);
    rs_op score = {.kind = RS_OP_SCORES,
                   .u.scores = {.q = q,
                                .k = k,
                                .slot = index_view(r, rs_pass_index(r).head_slot, H),
                                .s = s,
                                .scale = (float)l->scale,
                                .row0 = row0,
                                .col0 = col0,
                                .compute = r->o.compute}};
    rs_op mask = {.kind = RS_OP_MASK,
                  .u.mask = {.s = s, .row0 = row0, .col0 = col0, .window = l->window, .softcap = (float)l->softcap}};
    rs_op softmax = {.kind = RS_OP_SOFTMAX,
                     .u.softmax = {.s = s,
                                   .stats = stats,
                                   .half = half,
                                   .row0 = row0,
                                   .col0 = col0,
                                   .window = l->window,
                                   .softcap = scores_watched ? 0 : (float)l->softcap,
                                   .half_only = r->tile_half && !rs_pass_watched(r, RS_SITE_PATTERN, layer)}};
    rs_op mix = {
        .kind = RS_OP_MIX,
        .u.mix = {.p = r->tile_half ? half : s, .v = v, .z = z, .row0 = row0, .col0 = col0, .compute = r->o.compute}};
    rs_frame f = rs_pass_frame(r, RS_SITE_SCORES, layer, sequence);
    f.view = s;
    f.row0 = row0;
    f.col0 = col0;
    f.row_stats = stats;
    RS_TRY(rs_pass_ops(r, &score, 1, err));
    if (scores_watched) {
        RS_TRY(rs_pass_ops(r, &mask, 1, err));
        RS_TRY(rs_pass_fire(r, &f, err));
    }
    RS_TRY(rs_pass_ops(r, &softmax, 1, err));
    f.site = RS_SITE_PATTERN;
    RS_TRY(rs_pass_fire(r, &f, err));
    RS_TRY(rs_pass_ops(r, &mix, 1, err));
out:
    return st;
}

static rs_status run_tiles(rs_run *r, int layer, int64_t sequence, rs_error *err) {
    rs_status st = RS_OK;
    for (int64_t row0 = 0; row0 < r->o.positions; row0 += r->plan.tile_rows) {
        int64_t n = r->o.positions - row0;
        RS_TRY(tile(r, layer, sequence, row0, n < r->plan.tile_rows ? n : r->plan.tile_rows, err));
        RS_TRY(rs_pass_poll(r, err));
    }
out:
    return st;
}

/* All rows at once; who watches the pattern is told what it follows from. */
static rs_status run_whole(rs_run *r, int layer, int64_t sequence, rs_error *err) {
    rs_status st = RS_OK;
    const rs_layer *l = &r->graph->layers[layer];
    int64_t H = l->heads, T = r->o.positions;
    rs_op op = {.kind = RS_OP_ATTEND,
                .u.attend = {.q = taken_view(r, r->q, r->q_half, H, l->head_dim),
                             .k = taken_view(r, key_slots(r, l).mem, r->keys_half, r->rotary.n_slots, l->head_dim),
                             .v = taken_view(r, r->v, r->v_half, l->kv_heads, l->v_dim),
                             .slot = index_view(r, rs_pass_index(r).head_slot, H),
                             .z = heads_view(r->z, T, H, l->v_dim),
                             .stats = rs_view_3d(r->stats, 0, RS_F32, H, T, 2),
                             .window = l->window,
                             .scale = (float)l->scale,
                             .softcap = (float)l->softcap}};
    rs_frame f = rs_pass_frame(r, RS_SITE_PATTERN, layer, sequence);
    f.attend = op.u.attend;
    f.row_stats = op.u.attend.stats;
    RS_TRY(rs_pass_ops(r, &op, 1, err));
    RS_TRY(rs_pass_fire(r, &f, err));
    RS_TRY(rs_pass_poll(r, err));
out:
    return st;
}

static rs_status project_sequence(rs_run *r, int layer, int64_t sequence, rs_error *err) {
    rs_status st = RS_OK;
    const rs_layer *l = &r->graph->layers[layer];
    for (int64_t first = 0; first < r->o.positions; first += r->plan.chunk_rows) {
        int64_t n = r->o.positions - first;
        RS_TRY(project_rows(r, sequence, first, n < r->plan.chunk_rows ? n : r->plan.chunk_rows, err));
    }
    RS_TRY(fire_heads(r, RS_SITE_Q, layer, sequence, r->q, l->heads, l->head_dim, err));
    RS_TRY(fire_heads(r, RS_SITE_K, layer, sequence, r->k, l->kv_heads, l->head_dim, err));
    RS_TRY(fire_heads(r, RS_SITE_V, layer, sequence, r->v, l->kv_heads, l->v_dim, err));
    if (r->graph->qk_norm) {
        RS_TRY(norm_heads(r, r->q, l->heads, l->head_dim, r->layer.w[RS_W_Q_NORM], err));
        RS_TRY(norm_heads(r, r->k, l->kv_heads, l->head_dim, r->layer.w[RS_W_K_NORM], err));
    }
    RS_TRY(fire_heads(r, RS_SITE_Q_ROPE, layer, sequence, r->q, l->heads, l->head_dim, err));
    RS_TRY(fire_heads(r, RS_SITE_K_ROPE, layer, sequence, r->k, l->kv_heads, l->head_dim, err));
    RS_TRY(rotate_all(r, l, err));
    RS_TRY(fire_heads(r, RS_SITE_ROT_Q, layer, sequence, r->q, l->heads, l->head_dim, err));
    RS_TRY(fire_heads(r, RS_SITE_ROT_K, layer, sequence, r->rotary.plain ? r->k : r->slots, r->rotary.n_slots,
                      l->head_dim, err));
    RS_TRY(round_heads(r, l, err));
out:
    return st;
}

rs_status rs_attention_run(rs_run *r, int layer, int64_t sequence, rs_error *err) {
    rs_status st = RS_OK;
    const rs_layer *l = &r->graph->layers[layer];
    RS_TRY(project_sequence(r, layer, sequence, err));
    if (rs_pass_attends(r->graph, &r->o, layer)) {
        RS_TRY(run_whole(r, layer, sequence, err));
    } else {
        RS_TRY(run_tiles(r, layer, sequence, err));
    }
    RS_TRY(fire_heads(r, RS_SITE_Z, layer, sequence, r->z, l->heads, l->v_dim, err));
out:
    return st;
}
