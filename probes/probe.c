/* probes/probe.c: the registry of measurements and the runner that owns what they have in common: device memory of the
 * state, which layer and fold it belongs to, reading it back, finishing, and adding states of several runs. */
#include "probes/probe.h"

#include "analyzer/base/alloc.h"
#include "probes/kinds.h"
#include "probes/tally.h"

#include <stdio.h>
#include <string.h>

/* The default set first. */
static const rs_probe_kind *const KINDS[] = {&rs_frequency_norm,   &rs_moments,      &rs_attention_pattern,
                                             &rs_angular_spectrum, &rs_contribution, &rs_position_content,
                                             &rs_stability,        &rs_utility,      &rs_retrieval};
enum { N_KINDS = sizeof KINDS / sizeof KINDS[0] };

const rs_probe_kind *const *rs_probe_kinds(size_t *count) {
    *count = N_KINDS;
    return KINDS;
}

const rs_probe_kind *const *rs_probe_defaults(size_t *count) {
    for (*count = 0; *count < N_KINDS && !KINDS[*count]->deep; (*count)++) {
    }
    return KINDS;
}

const rs_probe_kind *rs_probe_find(const char *name) {
    for (size_t i = 0; i < N_KINDS; i++) {
        if (strcmp(KINDS[i]->name, name) == 0) {
            return KINDS[i];
        }
    }
    return NULL;
}

/* --- states on the host
 * ---------------------------------------------------------------------------------------------------- */

static bool same_shape(const rs_array *a, const rs_array *b) {
    if (strcmp(a->name, b->name) != 0 || a->n_dims != b->n_dims) {
        return false;
    }
    for (int i = 0; i < a->n_dims; i++) {
        if (a->dims[i] != b->dims[i]) {
            return false;
        }
    }
    return true;
}

rs_status rs_probe_merge(rs_arrays *dst, const rs_arrays *src, rs_error *err) {
    if (dst->count != src->count) {
        return rs_fail(err, RS_E_MISMATCH, "states have %zu and %zu arrays", dst->count, src->count);
    }
    /* All checks first: a merge that fails leaves dst as it was. */
    for (size_t i = 0; i < dst->count; i++) {
        if (!same_shape(&dst->items[i], &src->items[i])) {
            return rs_fail(err, RS_E_MISMATCH, "states differ: '%s' and '%s' have other names or shapes",
                           dst->items[i].name, src->items[i].name);
        }
    }
    for (size_t i = 0; i < dst->count; i++) {
        for (int64_t c = 0, n = rs_array_size(&dst->items[i]); c < n; c++) {
            dst->items[i].data[c] += src->items[i].data[c];
        }
    }
    return RS_OK;
}

/* A copy of a's description with one fold; cells 0. */
static rs_status add_one_fold(const rs_array *a, rs_arrays *out, rs_array **added, rs_error *err) {
    rs_status st = RS_OK;
    int64_t d[RS_ARRAY_DIMS] = {1, 0, 0, 0, 0, 0};
    const char *n[RS_ARRAY_DIMS];
    for (int i = 0; i < RS_ARRAY_DIMS; i++) {
        n[i] = a->dim_names[i];
        d[i] = i == 0 ? 1 : a->dims[i];
    }
    RS_TRY(rs_arrays_add(out, added, err, a->name, a->stored_as, a->unit, a->long_name, a->n_dims, n[0], d[0], n[1],
                         d[1], n[2], d[2], n[3], d[3], n[4], d[4], n[5], d[5]));
    rs_tally_zero(*added);
    (*added)->count = a->count;
out:
    return st;
}

rs_status rs_probe_fold_sum(const rs_arrays *state, int first, int step, rs_arrays *out, rs_error *err) {
    rs_status st = RS_OK;
    if (first < 0 || step < 1) {
        return rs_fail(err, RS_E_INTERNAL, "folds %d, +%d: expected first >= 0 and step >= 1", first, step);
    }
    for (size_t i = 0; i < state->count; i++) {
        const rs_array *a = &state->items[i];
        rs_array *sum = NULL;
        if (a->n_dims < 1 || a->dims[0] < 1) {
            st = rs_fail(err, RS_E_MISMATCH, "raw state '%s' has no fold axis", a->name);
            goto out;
        }
        RS_TRY(add_one_fold(a, out, &sum, err));
        int64_t inner = rs_array_size(sum);
        for (int64_t f = first; f < a->dims[0]; f += step) {
            for (int64_t c = 0; c < inner; c++) {
                sum->data[c] += a->data[f * inner + c];
            }
        }
    }
out:
    return st;
}

/* --- the runner
 * -------------------------------------------------------------------------------------------------------------- */

typedef struct slot {
    const rs_probe_kind *kind;
    void *scratch;
    rs_mem *mem;           /* state of the current layer, arrays one behind the other */
    rs_arrays state;       /* the same on the host, as declared */
    double seen[RS_FOLDS]; /* sequences that reached each fold in this layer */
    int64_t last_sequence; /* the one counted last; -1 = none */
} slot;

struct rs_probes {
    rs_probe_facts facts;
    const rs_backend *backend;
    rs_device *device;
    rs_probe_taker taker;
    void *taker_ctx;
    int layer; /* whose state is on the device; -1 = none */
    rs_probe_set set;
    size_t n;
    slot *slots; /* [n] */
};

static int64_t state_cells(const rs_arrays *state) {
    int64_t cells = 0;
    for (size_t i = 0; i < state->count; i++) {
        cells += rs_array_size(&state->items[i]);
    }
    return cells;
}

/* A probe that declares what the runner cannot carry is a mistake in the program, found at the start of a run. */
static rs_status check_declared(const rs_probe_kind *kind, const rs_arrays *state, rs_error *err) {
    if (kind->folds < 2 || kind->folds > RS_FOLDS || state->count > RS_PROBE_STATES) {
        return rs_fail(err, RS_E_INTERNAL, "probe %s: %d folds, %zu arrays", kind->name, kind->folds, state->count);
    }
    for (size_t i = 0; i < state->count; i++) {
        const rs_array *a = &state->items[i];
        if (a->n_dims < 1 || a->n_dims > 5 || a->dims[0] != kind->folds || strncmp(a->dim_names[0], "fold", 4) != 0) {
            return rs_fail(err, RS_E_INTERNAL,
                           "probe %s: state '%s' needs a first axis 'fold' of %d and at most 4 more", kind->name,
                           a->name, kind->folds);
        }
    }
    return RS_OK;
}

static rs_status declare(const rs_probe_kind *kind, const rs_probe_facts *facts, int layer, rs_arrays *state,
                         rs_error *err) {
    rs_status st = RS_OK;
    RS_TRY(kind->declare(facts, layer, state, err));
    RS_TRY(check_declared(kind, state, err));
out:
    return st;
}

static rs_status layer_bytes(const rs_probe_kind *kind, const rs_probe_facts *facts, int layer, int64_t *bytes,
                             rs_error *err) {
    rs_status st = RS_OK;
    rs_arrays state = {0};
    RS_TRY(declare(kind, facts, layer, &state, err));
    *bytes = state_cells(&state) * (int64_t)sizeof(double);
out:
    rs_arrays_deinit(&state);
    return st;
}

static rs_status most_bytes(const rs_probe_kind *kind, const rs_probe_facts *facts, int64_t *bytes, rs_error *err) {
    rs_status st = RS_OK;
    *bytes = 0;
    for (int l = 0; l < facts->graph->n_layers; l++) {
        int64_t b = 0;
        RS_TRY(layer_bytes(kind, facts, l, &b, err));
        *bytes = b > *bytes ? b : *bytes;
    }
out:
    return st;
}

int64_t rs_probes_host_bytes(const rs_probe_kind *const *kinds, size_t n, const rs_probe_facts *facts, int threads) {
    int64_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += kinds[i]->host_bytes ? kinds[i]->host_bytes(facts, threads) : 0;
    }
    return sum;
}

rs_status rs_probes_bytes(const rs_probe_kind *const *kinds, size_t n, const rs_probe_facts *facts, int64_t *bytes,
                          rs_error *err) {
    rs_status st = RS_OK;
    *bytes = 0;
    for (size_t i = 0; i < n; i++) {
        int64_t b = 0;
        RS_TRY(most_bytes(kinds[i], facts, &b, err));
        *bytes += b;
    }
out:
    return st;
}

static rs_status open_slot(rs_probes *p, slot *s, const rs_probe_kind *kind, rs_error *err) {
    rs_status st = RS_OK;
    int64_t bytes = 0;
    s->kind = kind;
    RS_TRY(most_bytes(kind, &p->facts, &bytes, err));
    RS_TRY(p->backend->alloc(p->device, (size_t)(bytes > 0 ? bytes : 1), &s->mem, err));
    if (kind->begin) {
        RS_TRY(kind->begin(&p->facts, p->backend, p->device, &s->scratch, err));
    }
out:
    return st;
}

rs_status rs_probes_create(const rs_probe_kind *const *kinds, size_t n, const rs_probe_facts *facts,
                           const rs_backend *b, rs_device *d, rs_probe_taker taker, void *taker_ctx, rs_probes **out,
                           rs_error *err) {
    rs_status st = RS_OK;
    rs_probes *p = NULL;
    *out = NULL;
    RS_TRY(RS_NEW(&p, 1, err));
    *p = (rs_probes){.facts = *facts,
                     .backend = b,
                     .device = d,
                     .taker = taker,
                     .taker_ctx = taker_ctx,
                     .layer = -1,
                     .set = {kinds, n}};
    RS_TRY(RS_NEW(&p->slots, n, err));
    for (size_t i = 0; i < n; i++) {
        p->n = i + 1;
        RS_TRY(open_slot(p, &p->slots[i], kinds[i], err));
    }
    *out = p;
    p = NULL;
out:
    rs_probes_destroy(p);
    return st;
}

void rs_probes_destroy(rs_probes *p) {
    if (!p) {
        return;
    }
    for (size_t i = 0; i < p->n; i++) {
        slot *s = &p->slots[i];
        if (s->scratch && s->kind->end) {
            s->kind->end(s->scratch, p->backend, p->device);
        }
        p->backend->release(p->device, s->mem);
        rs_arrays_deinit(&s->state);
    }
    rs_free(p->slots);
    rs_free(p);
}

static rs_status begin_slot(rs_probes *p, slot *s, int layer, rs_error *err) {
    rs_status st = RS_OK;
    rs_arrays_deinit(&s->state);
    RS_TRY(declare(s->kind, &p->facts, layer, &s->state, err));
    memset(s->seen, 0, sizeof s->seen);
    s->last_sequence = -1;
    int64_t bytes = state_cells(&s->state) * (int64_t)sizeof(double);
    if (bytes > 0) {
        RS_TRY(p->backend->zero(p->device, s->mem, 0, (size_t)bytes, err));
    }
out:
    return st;
}

static rs_status begin_layer(rs_probes *p, int layer, rs_error *err) {
    rs_status st = RS_OK;
    if (p->layer == layer) {
        return RS_OK;
    }
    p->layer = -1;
    for (size_t i = 0; i < p->n; i++) {
        RS_TRY(begin_slot(p, &p->slots[i], layer, err));
    }
    p->layer = layer;
out:
    return st;
}

/* Views of one fold: array i begins behind its predecessors, the fold is its outermost axis. */
static void fold_views(const slot *s, int64_t fold, rs_probe_state *out) {
    size_t at = 0;
    *out = (rs_probe_state){0};
    for (size_t i = 0; i < s->state.count; i++) {
        const rs_array *a = &s->state.items[i];
        int64_t cells = rs_array_size(a), inner = cells / a->dims[0], stride = inner;
        rs_view v = {.mem = s->mem,
                     .offset = (at + (size_t)(fold * inner)) * sizeof(double),
                     .dtype = RS_F64,
                     .n_dims = a->n_dims - 1};
        for (int axis = 0; axis < 4; axis++) {
            bool used = axis < v.n_dims;
            v.dim[axis] = used ? a->dims[axis + 1] : 1;
            stride /= v.dim[axis] > 0 ? v.dim[axis] : 1;
            v.stride[axis] = used ? stride : 1;
        }
        if (v.n_dims == 0) { /* one number per fold */
            v.n_dims = 1;
        }
        out->view[i] = v;
        at += (size_t)cells;
    }
}

static bool set_wants(void *ctx, rs_site site, int layer) {
    const rs_probe_set *set = ctx;
    for (size_t i = 0; layer >= 0 && i < set->n; i++) {
        if (set->kinds[i]->wants(site)) {
            return true;
        }
    }
    return false;
}

static bool set_needs_tile(void *ctx, int layer) {
    const rs_probe_set *set = ctx;
    (void)layer;
    for (size_t i = 0; i < set->n; i++) {
        if (set->kinds[i]->wants(RS_SITE_PATTERN) && !set->kinds[i]->forms_pattern) {
            return true;
        }
    }
    return false;
}

rs_hook rs_probes_wishes(rs_probe_set *set) {
    return (rs_hook){.name = "probes", .ctx = set, .wants = set_wants, .needs_tile = set_needs_tile};
}

static bool wants(void *ctx, rs_site site, int layer) { return set_wants(&((rs_probes *)ctx)->set, site, layer); }

static bool needs_tile(void *ctx, int layer) { return set_needs_tile(&((rs_probes *)ctx)->set, layer); }

static rs_status observe(void *ctx, const rs_frame *f, rs_error *err) {
    rs_status st = RS_OK;
    rs_probes *p = ctx;
    if (f->layer < 0) {
        return RS_OK;
    }
    RS_TRY(begin_layer(p, f->layer, err));
    for (size_t i = 0; i < p->n; i++) {
        slot *s = &p->slots[i];
        if (!s->kind->wants(f->site)) {
            continue;
        }
        int64_t fold = f->sequence % s->kind->folds;
        rs_probe_state state;
        fold_views(s, fold, &state);
        if (s->last_sequence != f->sequence) {
            s->seen[fold] += 1.0;
            s->last_sequence = f->sequence;
        }
        st = s->kind->observe(s->scratch, &p->facts, f, &state, err);
        if (st != RS_OK) {
            rs_error_prefix(err, "probe %s, layer %d, sequence %lld", s->kind->name, f->layer, (long long)f->sequence);
            goto out;
        }
    }
out:
    return st;
}

static rs_status read_state(rs_probes *p, slot *s, rs_error *err) {
    rs_status st = RS_OK;
    size_t at = 0;
    for (size_t i = 0; i < s->state.count; i++) {
        rs_array *a = &s->state.items[i];
        size_t bytes = (size_t)rs_array_size(a) * sizeof *a->data;
        if (bytes > 0) {
            RS_TRY(p->backend->read(p->device, s->mem, at, a->data, bytes, err));
        }
        at += bytes;
    }
    /* Counted here, not on the device: every probe needs it and no op does it. */
    char name[RS_NAME_BYTES];
    snprintf(name, sizeof name, "state/%s/sequences", s->kind->name);
    rs_array *seen = rs_arrays_find(&s->state, name);
    if (seen) {
        memcpy(seen->data, s->seen, (size_t)s->kind->folds * sizeof *seen->data);
    }
out:
    return st;
}

rs_status rs_probe_finish(void *finisher, const rs_probe_kind *kind, int layer, rs_arrays *state, rs_error *err) {
    rs_status st = RS_OK;
    const rs_probe_finisher *f = finisher;
    rs_arrays results = {0};
    RS_TRY(kind->finish(f->facts, layer, state, &results, err));
    if (f->sink) {
        RS_TRY(f->sink(f->ctx, kind, layer, state, &results, err));
    }
out:
    if (st != RS_OK) {
        rs_error_prefix(err, "probe %s, layer %d", kind->name, layer);
    }
    rs_arrays_deinit(&results);
    return st;
}

static rs_status layer_done(void *ctx, int layer, rs_error *err) {
    rs_status st = RS_OK;
    rs_probes *p = ctx;
    if (layer < 0 || layer >= p->facts.graph->n_layers) {
        return RS_OK;
    }
    RS_TRY(begin_layer(p, layer, err)); /* a layer without frames finishes as zeros */
    for (size_t i = 0; i < p->n; i++) {
        slot *s = &p->slots[i];
        RS_TRY(read_state(p, s, err));
        RS_TRY(p->taker(p->taker_ctx, s->kind, layer, &s->state, err));
    }
    p->layer = -1;
out:
    return st;
}

rs_hook rs_probes_hook(rs_probes *p) {
    return (rs_hook){.name = "probes",
                     .ctx = p,
                     .wants = wants,
                     .needs_tile = needs_tile,
                     .observe = observe,
                     .layer_done = layer_done};
}
