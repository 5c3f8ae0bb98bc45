/* The order of a run: ask the hooks, resolve the edits, allocate; then embedding, layers one by one with all sequences
 * through each, unembedding. What a layer does is in attention.c and block.c. */
#include "analyzer/forward/pass.h"

#include "analyzer/base/alloc.h"

#include <string.h>

static int last_layer(const rs_run *r) {
    int n = r->graph->n_layers;
    return r->o.last_layer >= 0 && r->o.last_layer < n ? r->o.last_layer : n - 1;
}

/* Can this site fire at all in this model and run? */
static bool site_exists(const rs_run *r, rs_site site, int layer) {
    if (site == RS_SITE_RESID_MID && r->graph->parallel) {
        return false;
    }
    if (site == RS_SITE_FINAL_NORM || site == RS_SITE_LOGITS) {
        return last_layer(r) == r->graph->n_layers - 1;
    }
    if (!rs_site_per_layer(site)) {
        return r->o.first_layer == 0;
    }
    return layer >= r->o.first_layer && layer <= last_layer(r);
}

static rs_status ask_hook(rs_run *r, int hook, rs_error *err) {
    const rs_hook *h = &r->o.hooks[hook];
    int n = r->graph->n_layers, rows = 0;
    for (int site = 0; site < RS_SITE_COUNT; site++) {
        bool per_layer = rs_site_per_layer((rs_site)site);
        for (int layer = 0; layer < (per_layer ? n : 1); layer++) {
            if (site_exists(r, (rs_site)site, layer) && h->wants(h->ctx, (rs_site)site, per_layer ? layer : -1)) {
                r->wanted[hook * (n + 1) + (per_layer ? layer : n)] |= 1U << site;
                rows++;
            }
        }
    }
    if (rows == 0) {
        return rs_fail(err, RS_E_USAGE, "hook '%s' wants no site that this run reaches", h->name);
    }
    return RS_OK;
}

static rs_status resolve_edits(rs_run *r, rs_error *err) {
    rs_status st = RS_OK;
    bool *touched = NULL;
    RS_TRY(RS_NEW(&touched, (size_t)r->o.n_edits + 1, err));
    r->slots_max = r->rotations_max = 0;
    for (int layer = r->o.first_layer; layer < r->graph->n_layers; layer++) {
        rs_rotary rotary = {0};
        RS_TRY(rs_rotary_resolve(r->graph, layer, r->o.edits, r->o.n_edits, touched, &rotary, err));
        r->slots_max = rotary.n_slots > r->slots_max ? rotary.n_slots : r->slots_max;
        r->rotations_max = rotary.n_rotations > r->rotations_max ? rotary.n_rotations : r->rotations_max;
        r->needs_slots = r->needs_slots || !rotary.plain;
        rs_rotary_deinit(&rotary);
    }
    for (int i = 0; i < r->o.n_edits; i++) {
        if (!touched[i]) {
            st = rs_fail(err, RS_E_USAGE, "edit %d of %d changes nothing in this model", i + 1, r->o.n_edits);
            goto out;
        }
    }
out:
    rs_free(touched);
    return st;
}

static rs_status device_new(rs_run *r, rs_mem **out, int64_t elements, size_t size, rs_error *err) {
    return r->backend->alloc(r->device, (size_t)(elements > 0 ? elements : 1) * size, out, err);
}

static rs_status allocate_heads(rs_run *r, rs_error *err) {
    rs_status st = RS_OK;
    int64_t T = r->o.positions;
    rs_pass_widths w = rs_pass_widest(r->graph);
    RS_TRY(device_new(r, &r->q, T * w.q, sizeof(float), err));
    RS_TRY(device_new(r, &r->k, T * w.k, sizeof(float), err));
    RS_TRY(device_new(r, &r->v, T * w.v, sizeof(float), err));
    RS_TRY(device_new(r, &r->z, T * w.z, sizeof(float), err));
    if (r->needs_slots) {
        RS_TRY(device_new(r, &r->slots, T * r->slots_max * w.slot, sizeof(float), err));
    }
    if (rs_pass_weight_type(r->o.compute) != RS_F32) {
        int64_t slots = r->needs_slots ? r->slots_max * w.slot : 0;
        RS_TRY(device_new(r, &r->q_half, T * w.q, sizeof(uint16_t), err));
        RS_TRY(device_new(r, &r->keys_half, T * (slots > w.k ? slots : w.k), sizeof(uint16_t), err));
        RS_TRY(device_new(r, &r->v_half, T * w.v, sizeof(uint16_t), err));
    }
out:
    return st;
}

static rs_status allocate(rs_run *r, rs_error *err) {
    rs_status st = RS_OK;
    const rs_graph *g = r->graph;
    const rs_plan *p = &r->plan;
    int64_t T = r->o.positions, tokens = r->o.sequences * T, hidden = rs_pass_widest(g).hidden;
    RS_TRY(device_new(r, &r->residual, tokens * g->width, sizeof(float), err));
    RS_TRY(allocate_heads(r, err));
    RS_TRY(device_new(r, &r->normed, p->chunk_rows * g->width, sizeof(float), err));
    RS_TRY(device_new(r, &r->branch, p->chunk_rows * g->width, sizeof(float), err));
    RS_TRY(device_new(r, &r->up, p->chunk_rows * hidden, sizeof(float), err));
    RS_TRY(device_new(r, &r->gate, g->gated ? p->chunk_rows * hidden : 1, sizeof(float), err));
    if (rs_pass_weight_type(r->o.compute) != RS_F32) {
        RS_TRY(device_new(r, &r->hidden, p->chunk_rows * hidden, sizeof(uint16_t), err));
    }
    if (p->tile_rows > 0) {
        RS_TRY(device_new(r, &r->tile, g->max_heads * p->tile_rows * T, sizeof(float), err));
    }
    if (p->tile_rows > 0 && rs_pass_weight_type(r->o.compute) != RS_F32) {
        RS_TRY(device_new(r, &r->tile_half, g->max_heads * p->tile_rows * T, sizeof(uint16_t), err));
    }
    RS_TRY(device_new(r, &r->stats, g->max_heads * T * 2, sizeof(float), err));
    RS_TRY(device_new(r, &r->tables, 2 * r->rotations_max * T * g->max_pairs, sizeof(float), err));
    RS_TRY(device_new(r, &r->index, rs_pass_index(r).total, sizeof(int32_t), err));
    RS_TRY(device_new(r, &r->vocab, p->vocab_chunk * g->width,
                      (size_t)rs_dtype_block_bytes(rs_pass_weight_type(r->o.compute)), err));
    RS_TRY(device_new(r, &r->logits, p->logit_rows * p->vocab_chunk, sizeof(float), err));
    RS_TRY(device_new(r, &r->packed, p->packed, 1, err));
    RS_TRY(device_new(r, &r->targets, tokens, sizeof(int32_t), err));
    RS_TRY(device_new(r, &r->loss, tokens * 3, sizeof(double), err));
    RS_TRY(
        rs_loader_create(r, last_layer(r), last_layer(r) == g->n_layers - 1 && rs_unembed_wanted(r), &r->loader, err));
out:
    return st;
}

static rs_status check_ids(const rs_run *r, rs_error *err) {
    for (int64_t i = 0; i < r->o.sequences * r->o.positions; i++) {
        if (r->o.ids[i] < 0 || r->o.ids[i] >= r->graph->vocab) {
            return rs_fail(err, RS_E_FORMAT,
                           "token %lld of sequence %lld is id %d, but the model's embedding has ids 0 to %lld",
                           (long long)(i % r->o.positions), (long long)(i / r->o.positions), r->o.ids[i],
                           (long long)r->graph->vocab - 1);
        }
    }
    return RS_OK;
}

static rs_status check_entrance(const rs_run *r, rs_error *err) {
    int first = r->o.first_layer;
    if (first < 0 || first > last_layer(r) || (first > 0 && !r->o.entrance)) {
        return rs_fail(err, RS_E_INTERNAL,
                       "a pass cannot begin with layer %d: layers 0 to %d are run, and behind 0 the residual stream "
                       "must be given",
                       first, last_layer(r));
    }
    return RS_OK;
}

rs_status rs_run_create(rs_checkpoint *c, const rs_graph *g, const rs_weights *w, const rs_backend *b, rs_device *d,
                        const rs_run_options *o, rs_run **out, rs_error *err) {
    rs_status st = RS_OK;
    rs_run *r = NULL;
    *out = NULL;
    RS_TRY(RS_NEW(&r, 1, err));
    r->checkpoint = c;
    r->graph = g;
    r->weights = w;
    r->backend = b;
    r->device = d;
    r->o = *o;
    RS_TRY(check_entrance(r, err));
    RS_TRY(rs_run_plan(g, w, o, &r->plan, err));
    RS_TRY(check_ids(r, err));
    RS_TRY(RS_NEW(&r->wanted, (size_t)(o->n_hooks + 1) * (size_t)(g->n_layers + 1), err));
    for (int i = 0; i < o->n_hooks; i++) {
        RS_TRY(ask_hook(r, i, err));
    }
    RS_TRY(resolve_edits(r, err));
    RS_TRY(allocate(r, err));
    *out = r;
    r = NULL;
out:
    rs_run_destroy(r);
    return st;
}

static rs_status layer_done(rs_run *r, int layer, rs_error *err) {
    for (int i = 0; i < r->o.n_hooks; i++) {
        if (r->o.hooks[i].layer_done) {
            rs_status st = r->o.hooks[i].layer_done(r->o.hooks[i].ctx, layer, err);
            if (st != RS_OK) {
                return st;
            }
        }
    }
    return RS_OK;
}

/* Queues a layer's work; the hooks are told that it is through by layer_done. */
static rs_status run_layer(rs_run *r, int layer, rs_error *err) {
    rs_status st = RS_OK;
    RS_TRY(rs_loader_layer(r->loader, r, layer, &r->layer, err));
    RS_TRY(rs_attention_prepare(r, layer, err));
    for (int64_t s = 0; s < r->o.sequences; s++) {
        rs_frame f = rs_pass_frame(r, RS_SITE_RESID_PRE, layer, s);
        f.view = rs_pass_residual(r, s, 0, r->o.positions);
        RS_TRY(rs_pass_fire(r, &f, err));
        RS_TRY(rs_attention_run(r, layer, s, err));
        RS_TRY(rs_block_finish(r, layer, s, err));
        if (r->o.progress) {
            r->o.progress(r->o.progress_ctx, layer, s + 1, r->o.sequences);
        }
    }
out:
    return st;
}

typedef rs_status step(rs_run *r, int layer, rs_error *err);

/* What the first layer that is run finds: embeddings, or what the layers before it made of them in another pass. */
static rs_status enter(rs_run *r, int layer, rs_error *err) {
    (void)layer;
    return r->o.first_layer == 0
               ? rs_embed_run(r, err)
               : r->backend->write(r->device, r->residual, 0, r->o.entrance, (size_t)r->plan.residual, err);
}

static rs_status unembed(rs_run *r, int layer, rs_error *err) {
    (void)layer;
    return rs_unembed_run(r, err);
}

/* A step in all runs, and then its end in all. */
static rs_status in_all(rs_run *const *runs, int n, step *first, int layer, rs_error *err) {
    rs_status st = RS_OK;
    for (int i = 0; i < n; i++) {
        RS_TRY(first(runs[i], layer, err));
    }
    for (int i = 0; i < n; i++) {
        RS_TRY(layer_done(runs[i], layer, err));
    }
out:
    return st;
}

rs_status rs_run_execute(rs_run *const *runs, int n, rs_error *err) {
    rs_status st = RS_OK;
    int last = last_layer(runs[0]), layers = runs[0]->graph->n_layers;
    RS_TRY(in_all(runs, n, enter, -1, err));
    for (int layer = runs[0]->o.first_layer; layer <= last; layer++) {
        RS_TRY(in_all(runs, n, run_layer, layer, err));
    }
    if (last == layers - 1) {
        RS_TRY(in_all(runs, n, unembed, layers, err));
    }
    for (int i = 0; i < n; i++) {
        RS_TRY(runs[i]->backend->sync(runs[i]->device, err));
    }
out:
    return st;
}

const double *rs_run_token_nll(const rs_run *r) { return r->nll; }

const double *rs_run_token_top1(const rs_run *r) { return r->top1; }

void rs_run_destroy(rs_run *r) {
    if (!r) {
        return;
    }
    rs_mem *all[] = {r->q_half, r->keys_half, r->v_half, r->tile_half, r->residual, r->q,      r->k,       r->v,
                     r->z,      r->slots,     r->normed, r->branch,    r->hidden,   r->gate,   r->up,      r->tile,
                     r->stats,  r->tables,    r->index,  r->vocab,     r->logits,   r->packed, r->targets, r->loss};
    rs_loader_destroy(r->loader, r);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        r->backend->release(r->device, all[i]);
    }
    rs_rotary_deinit(&r->rotary);
    rs_free(r->wanted);
    rs_free(r->nll);
    rs_free(r->top1);
    rs_free(r);
}
