/* Residual stream -> logits -> loss. The vocabulary is outermost and in chunks: the unembedding is read ahead
 * and widened chunk by chunk, once, and per token only a running maximum, a running sum and the target's logit are
 * kept; [T, V] never exists. */
#include "analyzer/forward/pass.h"

#include "analyzer/base/alloc.h"

#include <math.h>

/* Target of position t is the token at t + 1; the last position of a sequence has none. */
static rs_status write_targets(rs_run *r, rs_error *err) {
    rs_status st = RS_OK;
    int64_t T = r->o.positions, n = r->o.sequences * T;
    int32_t *target = NULL;
    double *state = NULL;
    RS_TRY(RS_NEW(&target, (size_t)n, err));
    RS_TRY(RS_NEW(&state, (size_t)n * 3, err));
    for (int64_t i = 0; i < n; i++) {
        target[i] = i % T == T - 1 ? -1 : r->o.ids[i + 1];
        state[3 * i] = -INFINITY;
        state[3 * i + 2] = NAN;
    }
    RS_TRY(r->backend->write(r->device, r->targets, 0, target, sizeof *target * (size_t)n, err));
    RS_TRY(r->backend->write(r->device, r->loss, 0, state, sizeof *state * 3 * (size_t)n, err));
out:
    rs_free(target);
    rs_free(state);
    return st;
}

/* The stream is not needed any more: it is normalised where it stands, and the scale of the logits goes in here. */
static rs_status final_norm(rs_run *r, rs_error *err) {
    rs_status st = RS_OK;
    const rs_graph *g = r->graph;
    rs_view weight = RS_ABSENT, bias = RS_ABSENT;
    const rs_weight *w = rs_weights_get(r->weights, -1, RS_W_FINAL_NORM),
                    *b = rs_weights_get(r->weights, -1, RS_W_FINAL_NORM_BIAS);
    if (w && w->tensor) {
        weight = rs_view_1d(r->normed, 0, RS_F32, g->width);
        RS_TRY(rs_loader_rows(r, w, 0, 1, weight, err));
    }
    if (b && b->tensor) {
        bias = rs_view_1d(r->branch, 0, RS_F32, g->width);
        RS_TRY(rs_loader_rows(r, b, 0, 1, bias, err));
    }
    for (int64_t s = 0; s < r->o.sequences; s++) {
        rs_view x = rs_pass_residual(r, s, 0, r->o.positions);
        rs_view groups = rs_view_3d(x.mem, x.offset, RS_F32, r->o.positions, 1, g->width);
        rs_op ops[2] = {rs_pass_norm(g, groups, groups, weight, bias),
                        {.kind = RS_OP_ADD, .u.add = {.x = x, .y = x, .a = g->logit_scale, .b = 0}}};
        RS_TRY(rs_pass_ops(r, ops, 1, err));
        rs_frame f = rs_pass_frame(r, RS_SITE_FINAL_NORM, -1, s);
        f.view = x;
        RS_TRY(rs_pass_fire(r, &f, err));
        if (g->logit_scale != 1.0F) {
            RS_TRY(rs_pass_ops(r, &ops[1], 1, err));
        }
    }
out:
    return st;
}

/* Logits of `n` rows of one sequence against one chunk of the vocabulary. */
static rs_status logits(rs_run *r, int64_t sequence, int64_t first, int64_t n, int64_t v0, rs_view w, rs_error *err) {
    rs_status st = RS_OK;
    int64_t row = sequence * r->o.positions + first, V = w.dim[0];
    bool watched = rs_pass_watched(r, RS_SITE_LOGITS, -1);
    float softcap = r->graph->final_softcap;
    rs_view y = rs_view_2d(r->logits, 0, RS_F32, n, V);
    rs_op product = rs_pass_matmul(r, rs_pass_residual(r, sequence, first, n), w, RS_ABSENT, y);
    /* A row far behind the last column sees all of them: the mask does nothing but cap. */
    rs_op cap = {.kind = RS_OP_MASK,
                 .u.mask = {.s = rs_view_3d(r->logits, 0, RS_F32, 1, n, V), .row0 = V, .col0 = 0, .softcap = softcap}};
    rs_op loss = {.kind = RS_OP_CROSS_ENTROPY,
                  .u.cross_entropy = {.logits = y,
                                      .targets = rs_view_1d(r->targets, sizeof(int32_t) * (size_t)row, RS_I32, n),
                                      .state = rs_view_2d(r->loss, 3 * sizeof(double) * (size_t)row, RS_F64, n, 3),
                                      .v0 = v0,
                                      .softcap = watched ? 0 : softcap,
                                      .scale = 1}};
    RS_TRY(rs_pass_ops(r, &product, 1, err));
    if (watched) {
        RS_TRY(rs_pass_ops(r, &cap, softcap > 0 ? 1 : 0, err));
        rs_frame f = rs_pass_frame(r, RS_SITE_LOGITS, -1, sequence);
        f.view = y;
        f.row0 = first;
        f.col0 = v0;
        RS_TRY(rs_pass_fire(r, &f, err));
    }
    RS_TRY(rs_pass_ops(r, &loss, r->o.loss ? 1 : 0, err));
out:
    return st;
}

static rs_status vocabulary_chunk(rs_run *r, int64_t v0, rs_error *err) {
    rs_status st = RS_OK;
    rs_view w = RS_ABSENT;
    RS_TRY(rs_loader_vocabulary(r->loader, r, v0, &w, err));
    for (int64_t s = 0; s < r->o.sequences; s++) {
        for (int64_t first = 0; first < r->o.positions; first += r->plan.logit_rows) {
            int64_t rows = r->o.positions - first;
            RS_TRY(logits(r, s, first, rows < r->plan.logit_rows ? rows : r->plan.logit_rows, v0, w, err));
            RS_TRY(rs_pass_poll(r, err));
        }
    }
out:
    return st;
}

/* state: maximum, sum, logit of the target (op.h). Maximum and target are soft-capped by different code, which may
 * round the last bit differently: one step below the maximum counts as the maximum. */
static double is_top(const double state[3]) { return (float)state[2] >= nextafterf((float)state[0], -INFINITY); }

/* Of the token at t + 1, stored at t + 1: -ln p(token | tokens before it), and whether it is the likeliest one. */
static rs_status read_loss(rs_run *r, rs_error *err) {
    rs_status st = RS_OK;
    int64_t T = r->o.positions, n = r->o.sequences * T;
    double *state = NULL;
    RS_TRY(RS_NEW(&state, (size_t)n * 3, err));
    RS_TRY(RS_NEW(&r->nll, (size_t)n, err));
    RS_TRY(RS_NEW(&r->top1, (size_t)n, err));
    RS_TRY(r->backend->read(r->device, r->loss, 0, state, sizeof *state * 3 * (size_t)n, err));
    for (int64_t i = 0; i < n; i++) {
        const double *before = state + 3 * (i - 1);
        r->nll[i] = i % T == 0 ? (double)NAN : log(before[1]) + before[0] - before[2];
        r->top1[i] = i % T == 0 ? (double)NAN : is_top(before);
        if (i % T != 0 && !isfinite(r->nll[i])) {
            st = rs_fail(err, RS_E_NONFINITE,
                         "the loss of token %lld of sequence %lld is not finite: the forward pass overflowed; the "
                         "weights are damaged or the configuration does not belong to them",
                         (long long)(i % T), (long long)(i / T));
            goto out;
        }
    }
out:
    rs_free(state);
    return st;
}

bool rs_unembed_wanted(const rs_run *r) { return r->o.loss || rs_pass_watched(r, RS_SITE_LOGITS, -1); }

rs_status rs_unembed_run(rs_run *r, rs_error *err) {
    rs_status st = RS_OK;
    int64_t V = r->graph->vocab;
    bool wanted = rs_unembed_wanted(r);
    if (!wanted && !rs_pass_watched(r, RS_SITE_FINAL_NORM, -1)) {
        return RS_OK;
    }
    RS_TRY(write_targets(r, err));
    RS_TRY(final_norm(r, err));
    for (int64_t v0 = 0; v0 < V && wanted; v0 += r->plan.vocab_chunk) {
        int64_t n = V - v0 < r->plan.vocab_chunk ? V - v0 : r->plan.vocab_chunk;
        RS_TRY(vocabulary_chunk(r, v0, err));
        if (r->o.progress) {
            r->o.progress(r->o.progress_ctx, r->graph->n_layers, v0 + n, V);
        }
    }
    if (r->o.loss) {
        RS_TRY(read_loss(r, err));
    }
out:
    return st;
}
