/* See shards.h. */
#include "analyzer/cli/shards.h"

#include "analyzer/base/alloc.h"

#include <stdio.h>
#include <string.h>

rs_status rs_shards_open(const char *device, int threads, rs_shards *out, rs_error *err) {
    rs_status st = RS_OK;
    *out = (rs_shards){.n = 0};
    RS_TRY(rs_devices_open(device, threads, &out->backend, out->device, &out->n, err));
    out->backend->info(out->device[0], &out->info);
    for (int i = 1; i < out->n; i++) {
        rs_device_info other;
        out->backend->info(out->device[i], &other);
        if (other.memory_bytes < out->info.memory_bytes) {
            out->info.memory_bytes = other.memory_bytes;
        }
    }
    if (out->n > 1) {
        char one[sizeof out->info.name];
        memcpy(one, out->info.name, sizeof one);
        snprintf(out->info.name, sizeof out->info.name, "%d devices: %.100s", out->n, one);
    }
out:
    return st;
}

/* First sequence of device i; of device n: the number of all. */
static int64_t first_of(const rs_shards *s, int64_t sequences, int i) { return sequences * i / s->n; }

int64_t rs_shards_share(const rs_shards *s, int64_t sequences) { return (sequences + s->n - 1) / s->n; }

/* --- adding up
 * --------------------------------------------------------------------------------------------------------------- */

/* rs_probe_taker of every device's probes. They give a layer's states one after the other, in the order of the devices,
 * which is therefore the order of additions. */
static rs_status gather(void *ctx, const rs_probe_kind *kind, int layer, rs_arrays *state, rs_error *err) {
    rs_status st = RS_OK;
    rs_shards *s = ctx;
    size_t k = 0;
    while (s->kinds[k] != kind) {
        k++;
    }
    if (s->given[k] == 0) {
        s->sum[k] = *state;
        *state = (rs_arrays){0};
    } else {
        RS_TRY(rs_probe_merge(&s->sum[k], state, err));
    }
    if (++s->given[k] == s->n) {
        s->given[k] = 0;
        RS_TRY(rs_finishing_take(s->finishing, kind, layer, &s->sum[k], err));
    }
out:
    return st;
}

/* --- running
 * ----------------------------------------------------------------------------------------------------------------- */

static rs_status create(rs_shards *s, int i, const rs_input *in, const rs_run_options *whole, rs_hook *hook,
                        rs_error *err) {
    rs_status st = RS_OK;
    rs_run_options o = *whole;
    RS_TRY(rs_probes_create(s->kinds, s->n_kinds, s->facts, s->backend, s->device[i], gather, s, &s->probes[i], err));
    *hook = rs_probes_hook(s->probes[i]);
    o.hooks = hook;
    o.n_hooks = s->n_kinds > 0 ? 1 : 0;
    o.first_sequence = first_of(s, whole->sequences, i);
    o.sequences = first_of(s, whole->sequences, i + 1) - o.first_sequence;
    o.ids = whole->ids + o.first_sequence * whole->positions;
    if (i + 1 < s->n) {
        o.progress = NULL; /* the last device is the last to be given a layer: it speaks for all */
    }
    RS_TRY(rs_run_create(in->model.checkpoint, in->model.graph, in->model.weights, s->backend, s->device[i], &o,
                         &s->run[i], err));
out:
    return st;
}

static rs_status collect_loss(rs_shards *s, const rs_run_options *o, rs_error *err) {
    rs_status st = RS_OK;
    RS_TRY(RS_NEW(&s->nll, (size_t)(o->sequences * o->positions), err));
    RS_TRY(RS_NEW(&s->top1, (size_t)(o->sequences * o->positions), err));
    for (int i = 0; i < s->n; i++) {
        int64_t first = first_of(s, o->sequences, i), n = first_of(s, o->sequences, i + 1) - first;
        size_t bytes = (size_t)(n * o->positions) * sizeof *s->nll;
        memcpy(s->nll + first * o->positions, rs_run_token_nll(s->run[i]), bytes);
        memcpy(s->top1 + first * o->positions, rs_run_token_top1(s->run[i]), bytes);
    }
out:
    return st;
}

rs_status rs_shards_execute(rs_shards *s, const rs_input *in, const rs_run_options *o,
                            const rs_probe_kind *const *kinds, size_t n_kinds, const rs_probe_facts *facts,
                            rs_probe_sink sink, void *sink_ctx, rs_error *err) {
    rs_status st = RS_OK;
    rs_hook hooks[RS_DEVICES];
    rs_probe_finisher finisher = {facts, sink, sink_ctx};
    rs_error late = {0};
    if (o->sequences < s->n) {
        return rs_fail(err, RS_E_USAGE, "%d devices for %lld sequence%s: a sequence is not cut, take fewer devices",
                       s->n, (long long)o->sequences, o->sequences == 1 ? "" : "s");
    }
    s->kinds = kinds;
    s->n_kinds = n_kinds;
    s->facts = facts;
    RS_TRY(rs_finishing_begin(&finisher, s->info.card, &s->finishing, err));
    for (int i = 0; i < s->n; i++) {
        RS_TRY(create(s, i, in, o, &hooks[i], err));
    }
    RS_TRY(rs_run_execute(s->run, s->n, err));
    if (o->loss) {
        RS_TRY(collect_loss(s, o, err));
    }
out:;
    rs_status finished = rs_finishing_end(s->finishing, &late);
    s->finishing = NULL;
    if (st == RS_OK && finished != RS_OK) {
        st = finished;
        *err = late;
    }
    return st;
}

void rs_shards_close(rs_shards *s) {
    for (int i = 0; i < RS_DEVICES; i++) {
        rs_run_destroy(s->run[i]);
        rs_probes_destroy(s->probes[i]);
    }
    for (int i = 0; i < RS_DEVICES; i++) {
        if (s->device[i]) {
            s->backend->close(s->device[i]);
        }
    }
    for (int k = 0; k < RS_SHARD_KINDS; k++) {
        rs_arrays_deinit(&s->sum[k]);
    }
    rs_free(s->nll);
    rs_free(s->top1);
    *s = (rs_shards){.n = 0};
}
