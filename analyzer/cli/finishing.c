/* See finishing.h. */
#include "analyzer/cli/finishing.h"

#include "analyzer/base/alloc.h"

#include <threads.h>

typedef struct job {
    const rs_probe_kind *kind;
    int layer;
    rs_arrays state;
} job;

struct rs_finishing {
    rs_probe_finisher finisher;
    bool aside; /* the thread is there */
    thrd_t thread;
    mtx_t lock; /* of what follows */
    cnd_t changed;
    job jobs[RS_FINISHING_JOBS]; /* a ring: `waiting` of them from `first` on */
    int first, waiting;
    bool over; /* no more will come */
    rs_status status;
    rs_error error; /* the first failure */
};

static void finish(rs_finishing *f, job *j) {
    rs_error err = {0};
    rs_status st = rs_probe_finish(&f->finisher, j->kind, j->layer, &j->state, &err);
    rs_arrays_deinit(&j->state);
    mtx_lock(&f->lock);
    if (f->status == RS_OK && st != RS_OK) {
        f->status = st;
        f->error = err;
    }
    mtx_unlock(&f->lock);
}

/* The next job; false when there will be none. What came behind a failure is dropped. */
static bool next(rs_finishing *f, job *out) {
    mtx_lock(&f->lock);
    while (f->waiting == 0 && !f->over) {
        cnd_wait(&f->changed, &f->lock);
    }
    bool any = f->waiting > 0;
    if (any) {
        *out = f->jobs[f->first];
        f->first = (f->first + 1) % RS_FINISHING_JOBS;
        f->waiting--;
        cnd_broadcast(&f->changed);
    }
    bool drop = f->status != RS_OK;
    mtx_unlock(&f->lock);
    if (any && drop) {
        rs_arrays_deinit(&out->state);
        out->kind = NULL;
    }
    return any;
}

static int work(void *ctx) {
    rs_finishing *f = ctx;
    job j;
    while (next(f, &j)) {
        if (j.kind) {
            finish(f, &j);
        }
    }
    return 0;
}

rs_status rs_finishing_begin(const rs_probe_finisher *finisher, bool aside, rs_finishing **out, rs_error *err) {
    rs_status st = RS_OK;
    rs_finishing *f = NULL;
    *out = NULL;
    RS_TRY(RS_NEW(&f, 1, err));
    f->finisher = *finisher;
    if (mtx_init(&f->lock, mtx_plain) != thrd_success || cnd_init(&f->changed) != thrd_success) {
        rs_free(f);
        return rs_fail(err, RS_E_NOMEM, "no memory for a lock");
    }
    f->aside = aside && thrd_create(&f->thread, work, f) == thrd_success; /* no thread to be had: at once */
    *out = f;
out:
    return st;
}

static rs_status failure(rs_finishing *f, rs_error *err) {
    return f->status == RS_OK ? RS_OK : rs_fail(err, f->status, "%s", f->error.message);
}

rs_status rs_finishing_take(void *ctx, const rs_probe_kind *kind, int layer, rs_arrays *state, rs_error *err) {
    rs_finishing *f = ctx;
    job j = {kind, layer, *state};
    *state = (rs_arrays){0};
    if (!f->aside) {
        finish(f, &j);
        return failure(f, err);
    }
    mtx_lock(&f->lock);
    while (f->waiting == RS_FINISHING_JOBS) {
        cnd_wait(&f->changed, &f->lock);
    }
    f->jobs[(f->first + f->waiting) % RS_FINISHING_JOBS] = j;
    f->waiting++;
    rs_status st = failure(f, err);
    cnd_broadcast(&f->changed);
    mtx_unlock(&f->lock);
    return st;
}

rs_status rs_finishing_end(rs_finishing *f, rs_error *err) {
    if (!f) {
        return RS_OK;
    }
    mtx_lock(&f->lock);
    f->over = true;
    cnd_broadcast(&f->changed);
    mtx_unlock(&f->lock);
    if (f->aside) {
        thrd_join(f->thread, NULL);
    }
    rs_status st = failure(f, err);
    cnd_destroy(&f->changed);
    mtx_destroy(&f->lock);
    rs_free(f);
    return st;
}
