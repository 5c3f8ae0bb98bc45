/* A device that stands before the CPU's: memory and copies are the CPU's (calloc: pages that nobody touches cost
 * nothing), ops are written down and, only where asked for, run. Between two calls the host computes; how long is
 * written down too, in processor time of the calling thread, so that other programs do not disturb. */
#include "tests/bench/roofline.h"

#include "analyzer/base/alloc.h"

#include <string.h>
#include <time.h>

/* Of this file alone; `inner` is the CPU backend's own struct of the same name and only handed on. */
struct rs_device {
    const rs_backend *cpu;
    rs_device *inner;
    bool execute;
    roof_what what;
    roof_expander expander;
    roof_log *log;
    double left;     /* thread time at which the last call returned */
    double overhead; /* of taking that time */
    double host;     /* of the event being written */
};

static double thread_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void enter(rs_device *d) {
    double gap = thread_seconds() - d->left - d->overhead;
    d->host = gap > 0 ? gap : 0;
}

static void leave(rs_device *d) { d->left = thread_seconds(); }

static void append(rs_device *d, roof_event e) {
    roof_log *l = d->log;
    rs_error err;
    if (l->n == l->room) {
        size_t room = l->room ? 2 * l->room : 1024;
        if (l->status != RS_OK ||
            (l->status = rs_resize((void **)&l->events, l->n, room, sizeof *l->events, &err)) != RS_OK) {
            return;
        }
        l->room = room;
    }
    e.host = d->host;
    d->host = 0;
    l->events[l->n++] = e;
}

static void append_copy(rs_device *d, roof_event_kind kind, size_t bytes) {
    append(d, (roof_event){.kind = kind, .row = ROOF_COPY, .bytes = (double)bytes});
}

static void append_kernel(void *ctx, int row, const roof_kernel *k) {
    rs_device *d = ctx;
    d->log->product_flops += k->again ? 0 : k->flops[ROOF_PRODUCT];
    append(d, (roof_event){.kind = ROOF_KERNEL, .row = row, .kernel = *k});
}

static const void *host_address(void *ctx, const rs_view *v) {
    rs_device *d = ctx;
    return (const char *)d->cpu->host(d->inner, v->mem) + v->offset;
}

void roof_device_mark(rs_device *d) {
    enter(d);
    append(d, (roof_event){.kind = ROOF_MARK, .row = ROOF_IDLE});
    leave(d);
}

/* ---- the table's functions ---- */

static rs_status none(rs_error *err) {
    return rs_fail(err, RS_E_UNAVAILABLE, "the counting device is opened by bench_roofline alone");
}

static rs_status open_none(const char *spec, int threads, rs_device **out, rs_error *err) {
    (void)spec;
    (void)threads;
    *out = NULL;
    return none(err);
}

static void close_device(rs_device *d) {
    if (d) {
        d->cpu->close(d->inner);
        rs_free(d);
    }
}

static rs_status alloc(rs_device *d, size_t bytes, rs_mem **out, rs_error *err) {
    return d->cpu->alloc(d->inner, bytes, out, err);
}

static void release(rs_device *d, rs_mem *m) { d->cpu->release(d->inner, m); }

static rs_status write_bytes(rs_device *d, rs_mem *m, size_t offset, const void *src, size_t bytes, rs_error *err) {
    enter(d);
    append_copy(d, ROOF_WRITE, bytes);
    rs_status st = d->cpu->write(d->inner, m, offset, src, bytes, err);
    leave(d);
    return st;
}

static rs_status read_bytes(rs_device *d, rs_mem *m, size_t offset, void *dst, size_t bytes, rs_error *err) {
    enter(d);
    append_copy(d, ROOF_READ, bytes);
    rs_status st = d->cpu->read(d->inner, m, offset, dst, bytes, err);
    leave(d);
    return st;
}

static rs_status host_new(rs_device *d, size_t bytes, void **out, rs_error *err) {
    return d->cpu->host_new(d->inner, bytes, out, err);
}

static void host_release(rs_device *d, void *memory) { d->cpu->host_release(d->inner, memory); }

/* Waiting for the thread that reads the weights is the disk's time, not the host's. */
static rs_status upload(rs_device *d, rs_mem *m, size_t offset, const void *src, size_t bytes, rs_error *err) {
    d->host = 0;
    append_copy(d, ROOF_UPLOAD, bytes);
    rs_status st = d->execute ? d->cpu->upload(d->inner, m, offset, src, bytes, err) : RS_OK;
    leave(d);
    return st;
}

static rs_status await_uploads(rs_device *d, rs_error *err) {
    (void)err;
    d->host = 0;
    append_copy(d, ROOF_AWAIT, 0);
    leave(d);
    return RS_OK;
}

static rs_status zero(rs_device *d, rs_mem *m, size_t offset, size_t bytes, rs_error *err) {
    enter(d);
    append_copy(d, ROOF_ZERO, bytes);
    rs_status st = d->cpu->zero(d->inner, m, offset, bytes, err);
    leave(d);
    return st;
}

/* What the run looks at afterwards must be a number: {maximum, sum, target's logit}. */
static void finish_loss(rs_device *d, const rs_view *state) {
    double *rows = (double *)(void *)((char *)d->cpu->host(d->inner, state->mem) + state->offset);
    for (int64_t i = 0; i < state->dim[0]; i++) {
        rows[3 * i] = rows[3 * i + 2] = 0;
        rows[3 * i + 1] = 1;
    }
}

static rs_status run(rs_device *d, const rs_op *ops, size_t n, rs_error *err) {
    rs_status st = RS_OK;
    enter(d);
    for (size_t i = 0; i < n && st == RS_OK; i++) {
        roof_expand(&d->expander, &ops[i]);
        if (d->execute) {
            double begun = thread_seconds();
            st = d->cpu->run(d->inner, &ops[i], 1, err);
            d->log->measured[ops[i].kind] += thread_seconds() - begun;
        } else if (ops[i].kind == RS_OP_CROSS_ENTROPY) {
            finish_loss(d, &ops[i].u.cross_entropy.state);
        }
    }
    leave(d);
    return st;
}

static rs_status sync_device(rs_device *d, rs_error *err) {
    enter(d);
    append_copy(d, ROOF_READ, 0);
    rs_status st = d->cpu->sync(d->inner, err);
    leave(d);
    return st;
}

static void info(rs_device *d, rs_device_info *out) { d->cpu->info(d->inner, out); }

/* A card's memory has no host address: the run then reads ahead and uploads as it does for a card. */
static void *host(rs_device *d, rs_mem *m) { return d->execute ? d->cpu->host(d->inner, m) : NULL; }

static const rs_backend counting = {
    .name = "counting",
    .probe = none,
    .open = open_none,
    .close = close_device,
    .alloc = alloc,
    .release = release,
    .write = write_bytes,
    .read = read_bytes,
    .host_new = host_new,
    .host_release = host_release,
    .upload = upload,
    .await_uploads = await_uploads,
    .zero = zero,
    .run = run,
    .sync = sync_device,
    .info = info,
    .host = host,
};

/* Time between two looks at the clock with nothing between. */
static double clock_overhead(void) {
    double least = 1;
    for (int i = 0; i < 100; i++) {
        double begun = thread_seconds(), spent = thread_seconds() - begun;
        least = spent < least ? spent : least;
    }
    return least;
}

rs_status roof_device_open(const roof_what *what, bool execute, int threads, roof_log *log, const rs_backend **backend,
                           rs_device **device, rs_error *err) {
    rs_status st = RS_OK;
    rs_device *d = NULL;
    RS_TRY(RS_NEW(&d, 1, err));
    RS_TRY(rs_device_open("cpu", threads, &d->cpu, &d->inner, err));
    d->execute = execute;
    d->what = *what;
    d->log = log;
    d->expander = (roof_expander){
        .what = &d->what, .host = host_address, .emit = append_kernel, .ctx = d, .scratch = log->scratch};
    d->overhead = clock_overhead();
    d->left = thread_seconds();
    *backend = &counting;
    *device = d;
    d = NULL;
out:
    rs_free(d);
    return st;
}
