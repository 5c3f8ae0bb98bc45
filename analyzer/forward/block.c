/* z -> the residual stream behind the layer: output projection, mlp, and how the two are added (residual
 * topology). */
#include "analyzer/forward/pass.h"

static rs_view rows_of(rs_mem *m, int64_t n, int64_t width) { return rs_view_2d(m, 0, RS_F32, n, width); }

static rs_view as_groups(rs_view v) { return rs_view_3d(v.mem, v.offset, v.dtype, v.dim[0], 1, v.dim[1]); }

/* The sub-layer's input as its products take it. */
static rs_view normed(const rs_run *r, int64_t n) {
    return rs_view_2d(r->normed, 0, rs_pass_weight_type(r->o.compute), n, r->graph->width);
}

static rs_activation activation(rs_graph_act a) {
    static const rs_activation map[] = {[RS_GRAPH_SILU] = RS_ACT_SILU,
                                        [RS_GRAPH_GELU_ERF] = RS_ACT_GELU_ERF,
                                        [RS_GRAPH_GELU_TANH] = RS_ACT_GELU_TANH,
                                        [RS_GRAPH_RELU] = RS_ACT_RELU,
                                        [RS_GRAPH_RELU2] = RS_ACT_RELU2};
    return map[a];
}

static rs_op add(rs_view x, rs_view y) { return (rs_op){.kind = RS_OP_ADD, .u.add = {.x = x, .y = y, .a = 1, .b = 1}}; }

/* normed [n, D] -> the mlp's hidden layer, as its last product takes it: *out [n, hidden] */
static rs_status mlp(rs_run *r, int64_t hidden, int64_t n, rs_view *out, rs_error *err) {
    const rs_view *w = r->layer.w;
    rs_view x = normed(r, n), up = rows_of(r->up, n, hidden);
    rs_view gate = r->graph->gated ? rows_of(r->gate, n, hidden) : up, active = gate;
    if (r->hidden) { /* rounded on the way, for the product that follows */
        active = rs_view_2d(r->hidden, 0, rs_pass_weight_type(r->o.compute), n, hidden);
    }
    rs_op ops[3];
    size_t c = 0;
    *out = active;
    if (r->graph->gated) {
        ops[c++] = rs_pass_matmul(r, x, w[RS_W_GATE], w[RS_W_GATE_BIAS], gate);
    }
    ops[c++] = rs_pass_matmul(r, x, w[RS_W_UP], w[RS_W_UP_BIAS], up);
    ops[c++] = (rs_op){
        .kind = RS_OP_GATE,
        .u.gate = {
            .act = activation(r->graph->act), .gate = gate, .up = r->graph->gated ? up : RS_ABSENT, .y = active}};
    return rs_pass_ops(r, ops, c, err);
}

static rs_status fire_rows(rs_run *r, rs_site site, int layer, int64_t sequence, int64_t first, rs_view v,
                           rs_error *err) {
    if (!rs_pass_watched(r, site, layer)) {
        return RS_OK;
    }
    rs_frame f = rs_pass_frame(r, site, layer, sequence);
    f.view = v;
    f.row0 = first;
    return rs_pass_fire(r, &f, err);
}

static rs_status norm_rows(rs_run *r, rs_view x, rs_view y, rs_view weight, rs_view bias, rs_error *err) {
    rs_op op = rs_pass_norm(r->graph, as_groups(x), as_groups(y), weight, bias);
    return rs_pass_ops(r, &op, 1, err);
}

/* A sub-layer's last product and its way into the residual stream. */
typedef struct branch {
    rs_view in; /* [n, width of the product's input] */
    rs_role weight, bias, post_norm;
    rs_site site;
} branch;

/* Where nobody watches the sub-layer's output and no norm follows it, the product adds to the stream x itself;
 * otherwise it goes into y, then come norm, hook, and sum. x, y: [n, D]. */
static rs_status add_branch(rs_run *r, int layer, int64_t sequence, int64_t first, const branch *b, rs_view y,
                            rs_view x, rs_error *err) {
    rs_status st = RS_OK;
    const rs_view *w = r->layer.w;
    bool joins = !r->graph->post_norms && !rs_pass_watched(r, b->site, layer);
    rs_op product = rs_pass_matmul(r, b->in, w[b->weight], w[b->bias], joins ? x : y), sum = add(y, x);
    product.u.matmul.add = joins;
    RS_TRY(rs_pass_ops(r, &product, 1, err));
    if (joins) {
        return RS_OK;
    }
    if (r->graph->post_norms) {
        RS_TRY(norm_rows(r, y, y, w[b->post_norm], RS_ABSENT, err));
    }
    RS_TRY(fire_rows(r, b->site, layer, sequence, first, y, err));
    RS_TRY(rs_pass_ops(r, &sum, 1, err));
out:
    return st;
}

static rs_status chunk(rs_run *r, int layer, int64_t sequence, int64_t first, int64_t n, rs_error *err) {
    rs_status st = RS_OK;
    const rs_graph *g = r->graph;
    const rs_layer *l = &g->layers[layer];
    const rs_view *w = r->layer.w;
    int64_t z_width = (int64_t)l->heads * l->v_dim;
    rs_view x = rs_pass_residual(r, sequence, first, n), h = normed(r, n), y = rows_of(r->branch, n, g->width);
    branch attention = {rs_view_2d(r->z, (size_t)(first * z_width) * sizeof(float), RS_F32, n, z_width), RS_W_O,
                        RS_W_O_BIAS, RS_W_ATTN_POST_NORM, RS_SITE_ATTN_OUT};
    branch feed_forward = {RS_ABSENT, RS_W_DOWN, RS_W_DOWN_BIAS, RS_W_MLP_POST_NORM, RS_SITE_MLP_OUT};
    if (g->parallel) { /* both branches read the stream as it entered the layer */
        RS_TRY(norm_rows(r, x, h, w[RS_W_MLP_NORM], w[RS_W_MLP_NORM_BIAS], err));
    }
    RS_TRY(add_branch(r, layer, sequence, first, &attention, y, x, err));
    if (!g->parallel) {
        RS_TRY(fire_rows(r, RS_SITE_RESID_MID, layer, sequence, first, x, err));
        RS_TRY(norm_rows(r, x, h, w[RS_W_MLP_NORM], w[RS_W_MLP_NORM_BIAS], err));
    }
    RS_TRY(mlp(r, l->hidden, n, &feed_forward.in, err));
    RS_TRY(add_branch(r, layer, sequence, first, &feed_forward, y, x, err));
out:
    return st;
}

rs_status rs_block_finish(rs_run *r, int layer, int64_t sequence, rs_error *err) {
    rs_status st = RS_OK;
    for (int64_t first = 0; first < r->o.positions; first += r->plan.chunk_rows) {
        int64_t n = r->o.positions - first;
        RS_TRY(chunk(r, layer, sequence, first, n < r->plan.chunk_rows ? n : r->plan.chunk_rows, err));
    }
    RS_TRY(fire_rows(r, RS_SITE_RESID_POST, layer, sequence, 0, rs_pass_residual(r, sequence, 0, r->o.positions), err));
out:
    return st;
}
