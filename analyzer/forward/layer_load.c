/* Weights on their way to the device: stored bytes are read part by part (a layer, a chunk of the vocabulary) by a
 * thread, while the part before is computed with; they set out for the device as soon as they are there, and are
 * widened there once per part. Where the device shares the host's memory, they are read to their place at once. */
#include "analyzer/forward/pass.h"

#include "analyzer/base/alloc.h"
#include "analyzer/base/rng.h"

#include <stdatomic.h>
#include <string.h>
#include <threads.h>

/* What is read at a time: all weights of a layer, or (layer -1) rows of the unembedding. rows == 0: nothing. */
typedef struct part {
    int layer;
    int64_t first, rows; /* of the unembedding; a layer has rows 1 */
} part;

struct rs_loader {
    rs_checkpoint *checkpoint;
    const rs_weights *weights;
    rs_mem *packed;     /* one part on the device as in the file, role after role */
    rs_mem *widened;    /* one layer as it is multiplied with */
    rs_mem *bad;        /* [RS_ROLE_COUNT] i64: first value that is not finite, per role */
    char *stored;       /* where the thread reads to: packed's host address, or `pinned` */
    void *pinned;       /* host memory of the same size; NULL where the device shares the host's */
    int last;           /* layer */
    int64_t control;    /* rs_run_options */
    int64_t chunk;      /* rows of a chunk of the vocabulary; 0: the unembedding is not wanted */
    int64_t vocabulary; /* rows */
    thrd_t thread;
    bool reading;     /* the thread is out */
    atomic_bool read; /* the part ahead is in `stored` */
    bool uploaded;    /* ... and on its way to packed */
    part ahead;       /* in `stored`, or being read into it */
    rs_status status;
    rs_error error;
};

static int64_t align64(int64_t n) { return (n + 63) / 64 * 64; }

static rs_dtype type_of(const rs_weight *w, rs_dtype matrices) { return rs_weight_is_matrix(w) ? matrices : RS_F32; }

static int64_t widened_bytes(const rs_weight *w, rs_dtype matrices) {
    return align64(w->rows * w->cols * rs_dtype_block_bytes(type_of(w, matrices)));
}

/* The rows of a role that belong to a part; NULL when it has none of them. */
static const rs_weight *piece(const rs_weights *w, part p, int role, int64_t *first, int64_t *rows) {
    const rs_weight *x = rs_weights_get(w, p.layer, (rs_role)role);
    if (!x || !x->tensor || (p.layer < 0 && role != RS_W_UNEMBED)) {
        return NULL;
    }
    *first = p.layer < 0 ? p.first : 0;
    *rows = p.layer < 0 ? p.rows : x->rows;
    return x;
}

static int64_t part_bytes(const rs_weights *weights, part p) {
    int64_t bytes = 0, first, rows;
    for (int role = 0; role < RS_ROLE_COUNT; role++) {
        const rs_weight *w = piece(weights, p, role, &first, &rows);
        bytes += w ? align64(rs_weight_bytes(w, rows)) : 0;
    }
    return bytes;
}

static part whole_layer(int layer) { return (part){.layer = layer, .rows = 1}; }

/* Rows first .. of the unembedding, as many as a chunk has. */
static part vocabulary_rows(const rs_loader *l, int64_t first) {
    int64_t left = l->vocabulary - first;
    return (part){.layer = -1, .first = first, .rows = left < l->chunk ? left : l->chunk};
}

/* What will be asked for behind p. */
static part behind(const rs_loader *l, part p) {
    if (p.layer >= 0 && p.layer < l->last) {
        return whole_layer(p.layer + 1);
    }
    return vocabulary_rows(l, p.layer >= 0 ? 0 : p.first + p.rows);
}

void rs_loader_sizes(const rs_graph *g, const rs_weights *w, rs_dtype matrices, int64_t vocab_chunk, int64_t *stored,
                     int64_t *widened) {
    *stored = part_bytes(w, (part){.layer = -1, .rows = vocab_chunk});
    *widened = 0;
    for (int layer = 0; layer < g->n_layers; layer++) {
        int64_t s = part_bytes(w, whole_layer(layer)), f = 0;
        for (int role = 0; role < RS_ROLE_COUNT; role++) {
            const rs_weight *x = rs_weights_get(w, layer, (rs_role)role);
            f += x && x->tensor ? widened_bytes(x, matrices) : 0;
        }
        *stored = s > *stored ? s : *stored;
        *widened = f > *widened ? f : *widened;
    }
}

/* The rows of a weight as stored in a random order of their own (Fisher-Yates). */
static void shuffle_rows(char *rows, int64_t n, size_t row_bytes, uint64_t seed) {
    rs_rng rng;
    rs_rng_init(&rng, seed);
    for (int64_t i = n - 1; i > 0; i--) {
        char *a = rows + (size_t)i * row_bytes, *b = rows + (size_t)rs_rng_below(&rng, i + 1) * row_bytes;
        for (size_t k = 0; k < row_bytes && a != b; k++) {
            char kept = a[k];
            a[k] = b[k];
            b[k] = kept;
        }
    }
}

static bool is_shuffled(const rs_loader *l, int role) { return l->control > 0 && (role == RS_W_Q || role == RS_W_K); }

static uint64_t shuffle_seed(const rs_loader *l, int role) {
    uint64_t place = (uint64_t)l->ahead.layer * (uint64_t)RS_ROLE_COUNT + (uint64_t)role;
    return (uint64_t)l->control * UINT64_C(0x9E3779B97F4A7C15) + place;
}

/* Reads the part ahead into l->stored; runs on the thread or directly. */
static int read_part(void *arg) {
    rs_loader *l = arg;
    char *at = l->stored;
    for (int role = 0; role < RS_ROLE_COUNT && l->status == RS_OK; role++) {
        int64_t first, rows;
        const rs_weight *w = piece(l->weights, l->ahead, role, &first, &rows);
        if (!w) {
            continue;
        }
        l->status = rs_weight_read(l->checkpoint, w, first, rows, at, &l->error);
        if (l->status == RS_OK && is_shuffled(l, role)) {
            shuffle_rows(at, rows, (size_t)rs_weight_bytes(w, 1), shuffle_seed(l, role));
        }
        at += align64(rs_weight_bytes(w, rows));
    }
    atomic_store(&l->read, true);
    return 0;
}

/* Starts reading a part; where no thread can be had, reads it here. */
static void start(rs_loader *l, part p) {
    l->ahead = p;
    l->status = RS_OK;
    l->uploaded = false;
    atomic_store(&l->read, false);
    l->reading = p.rows > 0 && thrd_create(&l->thread, read_part, l) == thrd_success;
    if (p.rows > 0 && !l->reading) {
        read_part(l);
    }
}

static void join(rs_loader *l) {
    if (l->reading) {
        thrd_join(l->thread, NULL);
        l->reading = false;
    }
}

rs_status rs_loader_create(rs_run *r, int last, bool vocabulary, rs_loader **out, rs_error *err) {
    rs_status st = RS_OK;
    rs_loader *l = NULL;
    int64_t stored, widened;
    rs_loader_sizes(r->graph, r->weights, rs_pass_weight_type(r->o.compute), r->plan.vocab_chunk, &stored, &widened);
    RS_TRY(RS_NEW(&l, 1, err));
    l->checkpoint = r->checkpoint;
    l->weights = r->weights;
    l->last = last;
    l->control = r->o.control;
    l->vocabulary = r->graph->vocab;
    l->chunk = vocabulary ? r->plan.vocab_chunk : 0;
    RS_TRY(r->backend->alloc(r->device, (size_t)stored, &l->packed, err));
    l->stored = r->backend->host(r->device, l->packed);
    if (!l->stored) {
        RS_TRY(r->backend->host_new(r->device, (size_t)stored, &l->pinned, err));
        l->stored = l->pinned;
    }
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
    r->backend->release(r->device, l->packed);
    r->backend->release(r->device, l->widened);
    r->backend->release(r->device, l->bad);
    r->backend->host_release(r->device, l->pinned);
    rs_free(l);
}

rs_status rs_loader_poll(rs_loader *l, rs_run *r, rs_error *err) {
    rs_status st = RS_OK;
    if (l->ahead.rows == 0 || l->uploaded || !atomic_load(&l->read) || l->status != RS_OK) {
        return RS_OK;
    }
    if (l->pinned) {
        RS_TRY(r->backend->upload(r->device, l->packed, 0, l->pinned, (size_t)part_bytes(l->weights, l->ahead), err));
    }
    l->uploaded = true;
out:
    return st;
}

static rs_op widen(rs_view src, rs_view dst, rs_view bad) {
    dst = rs_view_1d(dst.mem, dst.offset, dst.dtype, rs_view_size(&src));
    return (rs_op){.kind = RS_OP_WIDEN, .u.widen = {.src = src, .dst = dst, .bad = bad}};
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

static rs_status check_bad(rs_loader *l, rs_run *r, part p, rs_error *err) {
    int64_t bad[RS_ROLE_COUNT], first = 0, rows;
    rs_status st = r->backend->read(r->device, l->bad, 0, bad, sizeof bad, err);
    for (int role = 0; role < RS_ROLE_COUNT && st == RS_OK; role++) {
        if (bad[role] != INT64_MAX) {
            const rs_weight *w = piece(l->weights, p, role, &first, &rows);
            st = nonfinite(w, first * w->cols + bad[role], err);
        }
    }
    return st;
}

static rs_view shaped(const rs_weight *w, int64_t rows, rs_mem *m, size_t offset, rs_dtype matrices) {
    rs_dtype t = type_of(w, matrices);
    return rs_weight_is_matrix(w) ? rs_view_2d(m, offset, t, rows, w->cols) : rs_view_1d(m, offset, t, w->cols);
}

/* All roles of the part, from packed to `to`. */
static rs_status widen_part(rs_loader *l, rs_run *r, rs_mem *to, rs_layer_weights *out, rs_error *err) {
    rs_status st = RS_OK;
    size_t from = 0, at = 0;
    rs_dtype matrices = rs_pass_weight_type(r->o.compute);
    for (int role = 0; role < RS_ROLE_COUNT; role++) {
        int64_t first, rows;
        const rs_weight *w = piece(l->weights, l->ahead, role, &first, &rows);
        if (!w) {
            continue;
        }
        out->w[role] = shaped(w, rows, to, at, matrices);
        rs_op op = widen(rs_view_1d(l->packed, from, w->tensor->dtype, rows * w->cols), out->w[role],
                         rs_view_1d(l->bad, sizeof(int64_t) * (size_t)role, RS_I64, 1));
        RS_TRY(rs_pass_ops(r, &op, 1, err));
        from += (size_t)align64(rs_weight_bytes(w, rows));
        at += (size_t)widened_bytes(w, matrices);
    }
out:
    return st;
}

static bool same_part(part a, part b) { return a.layer == b.layer && a.first == b.first && a.rows == b.rows; }

/* Waits for a part, widens it into `to`, and has the next one read. */
static rs_status take(rs_loader *l, rs_run *r, part p, rs_mem *to, rs_layer_weights *out, rs_error *err) {
    rs_status st = RS_OK;
    memset(out, 0, sizeof *out);
    join(l);
    if (!same_part(l->ahead, p)) {
        start(l, p);
        join(l);
    }
    if (l->status != RS_OK) {
        return rs_fail(err, l->status, "%s", l->error.message);
    }
    RS_TRY(rs_loader_poll(l, r, err));
    RS_TRY(r->backend->await_uploads(r->device, err));
    RS_TRY(reset_bad(r, l->bad, RS_ROLE_COUNT, err));
    RS_TRY(widen_part(l, r, to, out, err));
    /* Waits for the device: behind it nobody reads packed or the host's copy any more, and the next part may come. */
    RS_TRY(check_bad(l, r, p, err));
    start(l, behind(l, p));
out:
    return st;
}

rs_status rs_loader_layer(rs_loader *l, rs_run *r, int layer, rs_layer_weights *out, rs_error *err) {
    return take(l, r, whole_layer(layer), l->widened, out, err);
}

rs_status rs_loader_vocabulary(rs_loader *l, rs_run *r, int64_t first, rs_view *out, rs_error *err) {
    rs_layer_weights w;
    rs_status st = take(l, r, vocabulary_rows(l, first), r->vocab, &w, err);
    *out = w.w[RS_W_UNEMBED];
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
    rs_op op = widen(rs_view_1d(r->packed, 0, w->tensor->dtype, n * w->cols), dst, rs_view_1d(l->bad, 0, RS_I64, 1));
    RS_TRY(rs_pass_ops(r, &op, 1, err));
    RS_TRY(r->backend->read(r->device, l->bad, 0, &bad, sizeof bad, err));
    if (bad != INT64_MAX) {
        st = nonfinite(w, first * w->cols + bad, err);
    }
out:
    rs_free(host);
    return st;
}
