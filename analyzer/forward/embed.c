/* Token ids -> residual stream. Only the rows of the embedding that the text uses are read, gathered from the file. */
#include "analyzer/forward/pass.h"

#include "analyzer/base/alloc.h"
#include "analyzer/base/clock.h"

/* Rows of `chunk` tokens as stored, one after another. */
static rs_status gather(rs_run *r, const rs_weight *w, const int32_t *ids, int64_t n, char *host, rs_error *err) {
    int64_t row_bytes = rs_weight_bytes(w, 1);
    for (int64_t i = 0; i < n; i++) {
        rs_status st = rs_weight_read(r->checkpoint, w, ids[i], 1, host + i * row_bytes, err);
        if (st != RS_OK) {
            return st;
        }
    }
    return RS_OK;
}

static rs_status embed_rows(rs_run *r, const rs_weight *w, int64_t first, int64_t n, char *host, rs_error *err) {
    rs_status st = RS_OK;
    int64_t width = r->graph->width;
    size_t offset = (size_t)(first * width) * sizeof(float);
    int64_t finite = INT64_MAX;
    rs_view bad = rs_view_1d(r->loss, 0, RS_I64, 1); /* the loss state is not in use yet */
    RS_TRY(gather(r, w, r->o.ids + first, n, host, err));
    RS_TRY(r->backend->write(r->device, r->packed, 0, host, (size_t)(n * rs_weight_bytes(w, 1)), err));
    RS_TRY(r->backend->write(r->device, r->loss, 0, &finite, sizeof finite, err));
    rs_view rows = rs_view_2d(r->residual, offset, RS_F32, n, width);
    rs_op ops[2] = {
        {.kind = RS_OP_WIDEN,
         .u.widen = {.src = rs_view_1d(r->packed, 0, w->tensor->dtype, n * width),
                     .dst = rs_view_1d(r->residual, offset, RS_F32, n * width),
                     .bad = bad}},
        {.kind = RS_OP_ADD, .u.add = {.x = rows, .y = rows, .a = r->graph->embed_scale, .b = 0}},
    };
    RS_TRY(rs_pass_ops(r, ops, r->graph->embed_scale == 1.0F ? 1 : 2, err));
    RS_TRY(r->backend->read(r->device, r->loss, 0, &finite, sizeof finite, err));
    if (finite != INT64_MAX) {
        st = rs_fail(err, RS_E_NONFINITE,
                     "tensor '%s': row %d (the embedding of a token in the text) holds NaN or an infinite number",
                     w->tensor->name, (int)r->o.ids[first + finite / width]);
    }
out:
    return st;
}

rs_status rs_embed_run(rs_run *r, rs_error *err) {
    rs_status st = RS_OK;
    char *host = NULL;
    const rs_weight *w = rs_weights_get(r->weights, -1, RS_W_EMBED);
    int64_t tokens = r->o.sequences * r->o.positions;
    RS_TRY(rs_new((void **)&host, (size_t)(r->plan.chunk_rows * rs_weight_bytes(w, 1)), 1, err));
    for (int64_t first = 0; first < tokens; first += r->plan.chunk_rows) {
        int64_t n = tokens - first < r->plan.chunk_rows ? tokens - first : r->plan.chunk_rows;
        RS_TRY(embed_rows(r, w, first, n, host, err));
        if (rs_cancel_requested()) {
            st = rs_fail(err, RS_E_CANCELLED, "cancelled");
            goto out;
        }
    }
    for (int64_t s = 0; s < r->o.sequences && rs_pass_watched(r, RS_SITE_EMBED, -1); s++) {
        rs_frame f = rs_pass_frame(r, RS_SITE_EMBED, -1, s);
        f.view = rs_pass_residual(r, s, 0, r->o.positions);
        RS_TRY(rs_pass_fire(r, &f, err));
    }
out:
    rs_free(host);
    return st;
}
