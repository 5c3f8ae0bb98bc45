/* kernels/cpu/cpu_attention.c: scores = q k^T and z = p v of a tile of query rows, heads and row blocks in parallel.
 * Keys and values are packed into panels once per op and shared by the query heads of their group. BLAS calls per head
 * would pack them again for every call of a few rows, and could not stop at a row's own position. */
#include "kernels/cpu/cpu_device.h"

enum {
    ROW_BLOCK =
        32, /* query rows of a unit: enough to use a panel while it is in the first cache, few enough to share out */
    DEPTH = 256 /* key columns that go into a sum of MIX at a time: a panel of that depth stays in cache */
};

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static int64_t blocks_of(int64_t n, int64_t block) { return (n + block - 1) / block; }

/* ---- scores ---- */

typedef struct scores_job {
    const rs_cpu_hot *hot;
    const rs_op_scores *o;
    const float *panels;            /* [S, panels_per_slot, Dh, panel_cols] */
    int64_t panel, per_slot, depth; /* columns of a panel, panels of a slot, Dh */
} scores_job;

static void pack_keys(const scores_job *j, int64_t unit, float *panels) {
    const rs_view *k = &j->o->k;
    int64_t slot = unit / j->per_slot, col = unit % j->per_slot * j->panel;
    const float *src = (const float *)rs_cpu_data(k) + slot * k->stride[1] + col * k->stride[0];
    j->hot->pack_rows(src, k->stride[0], j->depth, least(j->panel, k->dim[0] - col),
                      panels + unit * j->depth * j->panel);
}

static void score_rows(const scores_job *j, int64_t h, int64_t r0) {
    const rs_op_scores *o = j->o;
    const int32_t *slot = rs_cpu_data(&o->slot);
    int64_t n = least(ROW_BLOCK, o->q.dim[0] - r0), C = o->k.dim[0];
    int64_t seen = least(C, o->row0 + r0 + n - o->col0); /* columns left of the last row's position */
    const float *q = (const float *)rs_cpu_data(&o->q) + r0 * o->q.stride[0] + h * o->q.stride[1];
    float *s = (float *)rs_cpu_data(&o->s) + h * o->s.stride[0] + r0 * o->s.stride[1];
    for (int64_t col = 0; col < seen; col += j->panel) {
        const float *panel = j->panels + (slot[h] * j->per_slot + col / j->panel) * j->depth * j->panel;
        /* Rows above the diagonal see nothing of the panel. */
        int64_t skip = o->col0 + col - o->row0 - r0;
        skip = skip > 0 ? skip / j->hot->tile_rows * j->hot->tile_rows : 0;
        j->hot->panel_tile(n - skip, least(j->panel, C - col), j->depth, q + skip * o->q.stride[0], o->q.stride[0],
                           panel, o->scale, false, s + skip * o->s.stride[1] + col, o->s.stride[1]);
    }
}

rs_status rs_cpu_scores(rs_device *d, const rs_op *op, rs_error *err) {
    rs_status st = RS_OK;
    rs_op_scores rounded = op->u.scores;
    const rs_op_scores *o = &rounded;
    rs_mem q, k;
    RS_TRY(rs_cpu_rounded(d, RS_CPU_ROUNDED, o->compute, &rounded.q, &q, err));
    RS_TRY(rs_cpu_rounded(d, RS_CPU_ROUNDED_MORE, o->compute, &rounded.k, &k, err));
    int64_t R = o->q.dim[0], H = o->q.dim[1], C = o->k.dim[0], S = o->k.dim[1], blocks = blocks_of(R, ROW_BLOCK);
    scores_job j = {.hot = d->hot, .o = o, .panel = d->hot->panel_cols, .depth = o->q.dim[2]};
    void *panels = NULL;
    j.per_slot = blocks_of(C, j.panel);
    RS_TRY(rs_cpu_check_index("scores", "slot", rs_cpu_data(&o->slot), H, 0, S, err));
    RS_TRY(rs_cpu_scratch_get(d, RS_CPU_PANELS, (size_t)(S * j.per_slot * j.depth * j.panel) * sizeof(float), &panels,
                              err));
    j.panels = panels;
#pragma omp parallel num_threads(rs_cpu_threads(d, R *C *H))
    {
#pragma omp for schedule(static)
        for (int64_t unit = 0; unit < S * j.per_slot; unit++) pack_keys(&j, unit, panels);
#pragma omp for schedule(dynamic, 1)
        for (int64_t unit = 0; unit < H * blocks; unit++) score_rows(&j, unit / blocks, unit % blocks * ROW_BLOCK);
    }
out:
    return st;
}

/* ---- mix ---- */

typedef struct mix_job {
    const rs_cpu_hot *hot;
    const rs_op_mix *o;
    const float *panels;            /* [K, panels_per_head, C, panel_cols] */
    int64_t panel, per_head, group; /* columns of a panel, panels of a head, query heads per value head */
} mix_job;

/* One unit: DEPTH columns (keys) of one panel of one head. */
static void pack_values(const mix_job *j, int64_t unit, int64_t depths, float *panels) {
    const rs_view *v = &j->o->v;
    int64_t whole = unit / depths, c0 = unit % depths * DEPTH, head = whole / j->per_head,
            col = whole % j->per_head * j->panel;
    const float *src = (const float *)rs_cpu_data(v) + c0 * v->stride[0] + head * v->stride[1] + col;
    j->hot->pack_cols(src, v->stride[0], least(DEPTH, v->dim[0] - c0), least(j->panel, v->dim[2] - col),
                      panels + (whole * v->dim[0] + c0) * j->panel);
}

static void mix_rows(const mix_job *j, int64_t h, int64_t r0) {
    const rs_op_mix *o = j->o;
    int64_t n = least(ROW_BLOCK, o->p.dim[1] - r0), C = o->p.dim[2], Dv = o->v.dim[2];
    int64_t seen = least(C, o->row0 + r0 + n - o->col0);
    const float *p = (const float *)rs_cpu_data(&o->p) + h * o->p.stride[0] + r0 * o->p.stride[1];
    float *z = (float *)rs_cpu_data(&o->z) + r0 * o->z.stride[0] + h * o->z.stride[1];
    for (int64_t c0 = 0; c0 < seen; c0 += DEPTH) {
        int64_t depth = least(DEPTH, seen - c0);
        for (int64_t col = 0; col < Dv; col += j->panel) {
            const float *panel = j->panels + ((h / j->group * j->per_head + col / j->panel) * C + c0) * j->panel;
            j->hot->panel_tile(n, least(j->panel, Dv - col), depth, p + c0, o->p.stride[1], panel, 1.0F, c0 > 0,
                               z + col, o->z.stride[0]);
        }
    }
}

rs_status rs_cpu_mix(rs_device *d, const rs_op *op, rs_error *err) {
    rs_status st = RS_OK;
    rs_op_mix rounded = op->u.mix;
    const rs_op_mix *o = &rounded;
    rs_mem p, v;
    RS_TRY(rs_cpu_rounded(d, RS_CPU_ROUNDED, o->compute, &rounded.p, &p, err));
    RS_TRY(rs_cpu_rounded(d, RS_CPU_ROUNDED_MORE, o->compute, &rounded.v, &v, err));
    int64_t H = o->p.dim[0], R = o->p.dim[1], C = o->p.dim[2], K = o->v.dim[1];
    int64_t blocks = blocks_of(R, ROW_BLOCK), depths = blocks_of(C, DEPTH);
    mix_job j = {.hot = d->hot, .o = o, .panel = d->hot->panel_cols, .group = H / K};
    void *panels = NULL;
    j.per_head = blocks_of(o->v.dim[2], j.panel);
    RS_TRY(rs_cpu_scratch_get(d, RS_CPU_PANELS, (size_t)(K * j.per_head * C * j.panel) * sizeof(float), &panels, err));
    j.panels = panels;
#pragma omp parallel num_threads(rs_cpu_threads(d, R *C *H))
    {
#pragma omp for schedule(static)
        for (int64_t unit = 0; unit < K * j.per_head * depths; unit++) pack_values(&j, unit, depths, panels);
#pragma omp for schedule(dynamic, 1)
        for (int64_t unit = 0; unit < H * blocks; unit++) mix_rows(&j, unit / blocks, unit % blocks * ROW_BLOCK);
    }
out:
    return st;
}
