/* A Hugging Face folder of a wanted shape whose weights are one hole in a sparse file, and the program's own run over
 * it, made as analyzer/cli/cmd_audit.c makes it, with the default probes. */
#include "tests/bench/roofline.h"

#include "analyzer/base/alloc.h"
#include "analyzer/base/clock.h"
#include "analyzer/base/rng.h"
#include "analyzer/base/text.h"
#include "analyzer/cli/input.h"
#include "probes/probe.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

rs_status roof_folder_make(const model_shape *s, char folder[ROOF_FOLDER], rs_error *err) {
    rs_status st = RS_OK;
    const char *place = getenv("TMPDIR");
    snprintf(folder, ROOF_FOLDER, "%s/roofline-XXXXXX", place && *place ? place : "/tmp");
    if (!mkdtemp(folder)) {
        st = rs_fail(err, RS_E_IO, "%s: %s", folder, strerror(errno));
        *folder = '\0';
        goto out;
    }
    RS_TRY(model_shape_write(s, ROOF_LAYERS, false, folder, err));
out:
    return st;
}

/* ---- tokens: how often a token comes back decides how long the lists of ATTENTION_PATTERN are ---- */

/* Zipf's law with Mandelbrot's offset 2.7: the r-th token has a share in proportion to 1 / (r + 2.7). */
static rs_status make_ids(int64_t n, int64_t vocab, int32_t **out, rs_error *err) {
    rs_status st = RS_OK;
    double *below = NULL, sum = 0;
    rs_rng rng;
    RS_TRY(RS_NEW(&below, (size_t)vocab, err));
    RS_TRY(RS_NEW(out, (size_t)n, err));
    rs_rng_init(&rng, 1);
    for (int64_t r = 0; r < vocab; r++) {
        below[r] = sum += 1 / ((double)r + 2.7);
    }
    for (int64_t i = 0; i < n; i++) {
        double u = rs_rng_uniform(&rng) * sum;
        int64_t low = 0, high = vocab - 1;
        while (low < high) {
            int64_t middle = (low + high) / 2;
            if (below[middle] < u) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        (*out)[i] = (int32_t)low;
    }
out:
    rs_free(below);
    return st;
}

/* ---- the run ---- */

/* The probes' hook, with a mark behind every section. */
typedef struct marked {
    rs_hook probes;
    rs_device *device;
} marked;

static bool wants(void *ctx, rs_site site, int layer) {
    marked *m = ctx;
    return m->probes.wants(m->probes.ctx, site, layer);
}

static bool needs_tile(void *ctx, int layer) {
    const marked *m = ctx;
    return m->probes.needs_tile(m->probes.ctx, layer);
}

static rs_status observe(void *ctx, const rs_frame *f, rs_error *err) {
    marked *m = ctx;
    return m->probes.observe(m->probes.ctx, f, err);
}

static rs_status layer_done(void *ctx, int layer, rs_error *err) {
    marked *m = ctx;
    rs_status st = m->probes.layer_done(m->probes.ctx, layer, err);
    roof_device_mark(m->device);
    return st;
}

typedef struct parts {
    rs_model model;
    int32_t *ids;
    const rs_backend *backend;
    rs_device *device;
    rs_probes *probes;
    rs_run *run;
} parts;

/* Layers are finished by a thread of their own (analyzer/cli/finishing.h), beside the card. */
static rs_status leave(void *ctx, const rs_probe_kind *kind, int layer, rs_arrays *state, rs_error *err) {
    (void)ctx, (void)kind, (void)layer, (void)state, (void)err;
    return RS_OK;
}

static rs_status go(roof_run *r, parts *p, rs_error *err) {
    rs_status st = RS_OK;
    size_t n = 0;
    const rs_probe_kind *const *kinds = rs_probe_defaults(&n);
    RS_TRY(rs_model_open(r->folder, r->context, 0, &p->model, err));
    RS_TRY(rs_model_bind(&p->model, err));
    RS_TRY(make_ids(r->sequences * r->context, r->shape->vocab, &p->ids, err));
    RS_TRY(roof_device_open(&r->what, r->execute, r->threads, &r->log, &p->backend, &p->device, err));
    rs_probe_facts facts = {.graph = p->model.graph, .positions = r->context, .sequences = r->sequences};
    RS_TRY(rs_probes_bytes(kinds, n, &facts, &r->probe_bytes, err));
    RS_TRY(rs_probes_create(kinds, n, &facts, p->backend, p->device, leave, NULL, &p->probes, err));
    marked m = {rs_probes_hook(p->probes), p->device};
    rs_hook hook = {.name = m.probes.name,
                    .ctx = &m,
                    .wants = wants,
                    .needs_tile = needs_tile,
                    .observe = observe,
                    .layer_done = layer_done};
    rs_run_options o = {.ids = p->ids,
                        .sequences = r->sequences,
                        .positions = r->context,
                        .hooks = &hook,
                        .n_hooks = 1,
                        .loss = true,
                        .compute = r->compute,
                        .tile_rows = r->what.tile_rows,
                        .on_card = !r->execute,
                        .last_layer = -1};
    RS_TRY(
        rs_run_create(p->model.checkpoint, p->model.graph, p->model.weights, p->backend, p->device, &o, &p->run, err));
    RS_TRY(rs_run_plan(p->model.graph, p->model.weights, &o, &r->plan, err));
    double begun = rs_clock_seconds();
    RS_TRY(rs_run_execute(&p->run, 1, err));
    r->seconds = rs_clock_seconds() - begun;
    st = r->log.status == RS_OK ? RS_OK : rs_fail(err, r->log.status, "out of memory for the log");
out:
    return st;
}

rs_status roof_run_execute(roof_run *r, rs_error *err) {
    parts p = {0};
    rs_status st = go(r, &p, err);
    rs_run_destroy(p.run);
    rs_probes_destroy(p.probes);
    if (p.device) {
        p.backend->close(p.device);
    }
    rs_model_close(&p.model);
    rs_free(p.ids);
    return st;
}

void roof_run_deinit(roof_run *r) {
    rs_free(r->log.events);
    r->log = (roof_log){0};
}
