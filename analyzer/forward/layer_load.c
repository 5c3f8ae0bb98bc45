/* Weights on their way to the device: stored bytes are read layer by layer into one host buffer (by a thread, while the
 * layer before is computed), copied to the device as they are, and widened there once per layer. */
#include "analyzer/forward/pass.h"

#include "analyzer/base/alloc.h"

#include <string.h>
#include <threads.h>

struct rs_loader {
    rs_checkpoint *checkpoint;
    const rs_weights *weights;
    rs_mem *widened; /* float32 weights of one layer */
    rs_mem *bad;     /* [RS_ROLE_COUNT] i64: first value that is not finite, per role */
    char *stored;    /* bytes of one layer as in the file, role after role */
    int last;
    thrd_t thread;
    bool reading; /* the thread is out */
    int ahead;    /* layer in `stored`, or being read into it; -1 = none */
    rs_status status;
    rs_error error;
};

static int64_t align64(int64_t n) { return (n + 63) / 64 * 64; }

void rs_loader_sizes(const rs_graph *g, const rs_weights *w, int64_t *stored, int64_t *widened, int64_t *largest) {
    *stored = *widened = *largest = 0;
    for (int layer = 0; layer < g->n_layers; layer++) {
        int64_t s = 0, f = 0;
        for (int role = 0; role < RS_ROLE_COUNT; role++) {
            const rs_weight *x = rs_weights_get(w, layer, (rs_role)role);
            if (!x || !x->tensor) {
                continue;
            }
            int64_t bytes = rs_weight_bytes(x, x->rows);
            s += align64(bytes);
            f += align64(x->rows * x->cols * (int64_t)sizeof(float));
            *largest = bytes > *largest ? bytes : *largest;
        }
        *stored = s > *stored ? s : *stored;
        *widened = f > *widened ? f : *widened;
    }
}

/* Reads a whole layer into l->stored; runs on the thread or directly. */
static int read_layer(void *arg) {
    rs_loader *l = arg;
    char *at = l->stored;
    for (int role = 0; role < RS_ROLE_COUNT; role++) {
        const rs_weight *w = rs_weights_get(l->weights, l->ahead, (rs_role)role);
        if (!w || !w->tensor) {
            continue;
        }
        l->status = rs_weight_read(l->checkpoint, w, 0, w->rows, at, &l->error);
        if (l->status != RS_OK) {
            return 1;
        }
        at += align64(rs_weight_bytes(w, w->rows));
    }
    return 0;
}

/* Starts reading `layer`; where no thread can be had, reads it here. */
static void start(rs_loader *l, int layer) {
    l->ahead = layer;
    l->status = RS_OK;
    l->reading = thrd_create(&l->thread, read_layer, l) == thrd_success;
    if (!l->reading) {
        read_layer(l);
    }
}

static void join(rs_loader *l) {
    if (l->reading) {
        thrd_join(l->thread, NULL);
        l->reading = false;
    }
}

rs_status rs_loader_create(rs_run *r, int last, rs_loader **out, rs_error *err) {
    rs_status st = RS_OK;
    rs_loader *l = NULL;
    int64_t stored, widened, largest;
    rs_loader_sizes(r->graph, r->weights, &stored, &widened, &largest);
    RS_TRY(RS_NEW(&l, 1, err));
    l->checkpoint = r->checkpoint;
    l->weights = r->weights;
    l->last = last;
    l->ahead = -1;
    RS_TRY(RS_NEW(&l->stored, (size_t)stored, err));
    RS_TRY(r->backend->alloc(r->device, (size_t)widened, &l->widened, err));
    RS_TRY(r->backend->alloc(r->device, sizeof(int64_t) * RS_ROLE_COUNT, &l->bad, err));
    *out = l;
    l = NULL;
out:
    rs_loader_destroy(l, r);
    return st;
}

void rs_loader_destroy(rs_loader *l, rs_run *r) {
    if (!l) {
        return;
    }
    join(l);
    r->backend->release(r->device, l->widened);
    r->backend->release(r->device, l->bad);
    rs_free(l->stored);
    rs_free(l);
}

static rs_op widen(rs_run *r, const rs_weight *w, int64_t n, rs_mem *dst, size_t offset, rs_view bad) {
    return (rs_op){.kind = RS_OP_WIDEN,
                   .u.widen = {.src = rs_view_1d(r->packed, 0, w->tensor->dtype, n),
                               .dst = rs_view_1d(dst, offset, RS_F32, n),
                               .bad = bad}};
}

static rs_status nonfinite(const rs_weight *w, int64_t index, rs_error *err) {
    return rs_fail(
        err, RS_E_NONFINITE,
        "tensor '%s': value %lld of the part that is used is NaN or infinite; a checkpoint must hold finite numbers",
        w->tensor->name, (long long)index);
}

static rs_status reset_bad(rs_run *r, rs_mem *bad, int64_t n, rs_error *err) {
    int64_t none[RS_ROLE_COUNT];
    for (int64_t i = 0; i < n; i++) {
        none[i] = INT64_MAX;
    }
    return r->backend->write(r->device, bad, 0, none, sizeof *none * (size_t)n, err);
}

static rs_status check_bad(rs_loader *l, rs_run *r, int layer, rs_error *err) {
    int64_t bad[RS_ROLE_COUNT];
    rs_status st = r->backend->read(r->device, l->bad, 0, bad, sizeof bad, err);
    for (int role = 0; role < RS_ROLE_COUNT && st == RS_OK; role++) {
        if (bad[role] != INT64_MAX) {
            st = nonfinite(rs_weights_get(l->weights, layer, (rs_role)role), bad[role], err);
        }
    }
    return st;
}

static rs_view shaped(const rs_weight *w, rs_mem *m, size_t offset) {
    return w->rows == 1 ? rs_view_1d(m, offset, RS_F32, w->cols) : rs_view_2d(m, offset, RS_F32, w->rows, w->cols);
}

rs_status rs_loader_layer(rs_loader *l, rs_run *r, int layer, rs_layer_weights *out, rs_error *err) {
    rs_status st = RS_OK;
    if (l->ahead != layer) {
        join(l);
        start(l, layer);
    }
    join(l);
    if (l->status != RS_OK) {
        return rs_fail(err, l->status, "%s", l->error.message);
    }
    const char *at = l->stored;
    size_t offset = 0;
    memset(out, 0, sizeof *out);
    RS_TRY(reset_bad(r, l->bad, RS_ROLE_COUNT, err));
    for (int role = 0; role < RS_ROLE_COUNT; role++) {
        const rs_weight *w = rs_weights_get(l->weights, layer, (rs_role)role);
        if (!w || !w->tensor) {
            continue;
        }
        int64_t bytes = rs_weight_bytes(w, w->rows), n = w->rows * w->cols;
        RS_TRY(r->backend->write(r->device, r->packed, 0, at, (size_t)bytes, err));
        rs_op op = widen(r, w, n, l->widened, offset, rs_view_1d(l->bad, sizeof(int64_t) * (size_t)role, RS_I64, 1));
        RS_TRY(rs_pass_ops(r, &op, 1, err));
        out->w[role] = shaped(w, l->widened, offset);
        at += align64(bytes);
        offset += (size_t)align64(n * (int64_t)sizeof(float));
    }
    RS_TRY(check_bad(l, r, layer, err));
    if (layer < l->last) {
        start(l, layer + 1);
    }
out:
    return st;
}

rs_status rs_loader_rows(rs_run *r, const rs_weight *w, int64_t first, int64_t n, rs_view dst, rs_error *err) {
    rs_status st = RS_OK;
    rs_loader *l = r->loader;
    int64_t bytes = rs_weight_bytes(w, n), bad = 0;
    char *host = NULL;
    RS_TRY(rs_new((void **)&host, (size_t)bytes, 1, err));
    RS_TRY(rs_weight_read(r->checkpoint, w, first, n, host, err));
    RS_TRY(r->backend->write(r->device, r->packed, 0, host, (size_t)bytes, err));
    RS_TRY(reset_bad(r, l->bad, 1, err));
    rs_op op = widen(r, w, n * w->cols, dst.mem, dst.offset, rs_view_1d(l->bad, 0, RS_I64, 1));
    RS_TRY(rs_pass_ops(r, &op, 1, err));
    RS_TRY(r->backend->read(r->device, l->bad, 0, &bad, sizeof bad, err));
    if (bad != INT64_MAX) {
        st = nonfinite(w, first * w->cols + bad, err);
    }
out:
    rs_free(host);
    return st;
}
