/* What every step of the pass uses: running ops, frames for hooks, views of the residual stream. */
#include "analyzer/forward/pass.h"

#include "analyzer/base/clock.h"

rs_index_layout rs_pass_index(const rs_run *r) {
    const rs_graph *g = r->graph;
    rs_index_layout x = {0};
    x.hi = x.lo + g->max_pairs;
    x.q_variant = x.hi + g->max_pairs;
    x.q_source = x.q_variant + g->max_heads;
    x.slot_variant = x.q_source + g->max_heads;
    x.slot_source = x.slot_variant + r->slots_max;
    x.head_slot = x.slot_source + r->slots_max;
    x.total = x.head_slot + g->max_heads;
    return x;
}

rs_status rs_pass_ops(rs_run *r, const rs_op *ops, size_t n, rs_error *err) {
    return rs_run_ops(r->backend, r->device, ops, n, err);
}

rs_status rs_pass_poll(rs_run *r, rs_error *err) {
    rs_status st = rs_loader_poll(r->loader, r, err);
    return st == RS_OK && rs_cancel_requested() ? rs_fail(err, RS_E_CANCELLED, "cancelled") : st;
}

static int wanted_row(const rs_run *r, rs_site site, int layer) {
    return rs_site_per_layer(site) ? layer : r->graph->n_layers;
}

static uint32_t wanted_mask(const rs_run *r, int hook, rs_site site, int layer) {
    return r->wanted[hook * (r->graph->n_layers + 1) + wanted_row(r, site, layer)];
}

bool rs_pass_watched(const rs_run *r, rs_site site, int layer) {
    for (int i = 0; i < r->o.n_hooks; i++) {
        if (wanted_mask(r, i, site, layer) & 1U << site) {
            return true;
        }
    }
    return false;
}

rs_frame rs_pass_frame(rs_run *r, rs_site site, int layer, int64_t sequence) {
    return (rs_frame){.site = site,
                      .layer = layer,
                      .graph = r->graph,
                      .layer_info = layer >= 0 ? &r->graph->layers[layer] : NULL,
                      .backend = r->backend,
                      .device = r->device,
                      .sequence = r->o.first_sequence + sequence,
                      .sequences = r->o.sequences,
                      .positions = r->o.positions,
                      .w_q = layer >= 0 ? r->layer.w[RS_W_Q] : RS_ABSENT,
                      .ids = r->o.ids + sequence * r->o.positions};
}

rs_status rs_pass_fire(rs_run *r, rs_frame *f, rs_error *err) {
    for (int i = 0; i < r->o.n_hooks; i++) {
        if (wanted_mask(r, i, f->site, f->layer) & 1U << f->site) {
            rs_status st = r->o.hooks[i].observe(r->o.hooks[i].ctx, f, err);
            if (st != RS_OK) {
                return st;
            }
        }
    }
    return RS_OK;
}

rs_view rs_pass_residual(const rs_run *r, int64_t sequence, int64_t first, int64_t n) {
    int64_t D = r->graph->width;
    return rs_view_2d(r->residual, (size_t)((sequence * r->o.positions + first) * D) * sizeof(float), RS_F32, n, D);
}

rs_op rs_pass_norm(const rs_graph *g, rs_view x, rs_view y, rs_view weight, rs_view bias) {
    return (rs_op){.kind = RS_OP_NORM,
                   .u.norm = {.kind = g->norm == RS_GRAPH_NORM_RMS ? RS_NORM_RMS : RS_NORM_LAYER,
                              .x = x,
                              .y = y,
                              .weight = weight,
                              .bias = bias,
                              .add = weight.mem ? g->norm_add : 0,
                              .eps = g->norm_eps}};
}

rs_dtype rs_pass_weight_type(rs_compute compute) { return compute == RS_COMPUTE_BF16 ? RS_BF16 : RS_F32; }

rs_op rs_pass_matmul(const rs_run *r, rs_view x, rs_view w, rs_view bias, rs_view y) {
    return (rs_op){.kind = RS_OP_MATMUL, .u.matmul = {.x = x, .w = w, .bias = bias, .y = y, .compute = r->o.compute}};
}
