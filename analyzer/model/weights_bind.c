/* Roles -> tensors, and one message with everything that does not fit: a person who mends a checkpoint wants the whole
 * list. */
#include "analyzer/base/alloc.h"
#include "analyzer/base/text.h"
#include "analyzer/model/family.h"
#include "analyzer/model/weights_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_BYTES = 256, LISTED = 12 };

typedef enum problem_kind { MISSHAPEN, UNUSABLE, MISSING, UNASKED, PROBLEM_KINDS } problem_kind;

typedef struct binder {
    rs_checkpoint *c;
    const rs_graph *g;
    const rs_family *family;
    const rs_naming *names;
    const char *prefix;
    rs_weights *w;
    const rs_tensor **used; /* [n_used] tensors bound to a role, fused ones several times */
    size_t n_used;
    rs_text list[PROBLEM_KINDS]; /* "a; b; c" */
    int count[PROBLEM_KINDS];
} binder;

/* ---- what the graph asks for
 * ---------------------------------------------------------------------------------------------- */

static bool wanted(const rs_graph *g, rs_role role) {
    switch (role) {
    case RS_W_UNEMBED: return !g->tied;
    case RS_W_GATE: return g->gated;
    case RS_W_GATE_BIAS: return g->gated && g->mlp_bias;
    case RS_W_UP_BIAS:
    case RS_W_DOWN_BIAS: return g->mlp_bias;
    case RS_W_Q_BIAS:
    case RS_W_K_BIAS:
    case RS_W_V_BIAS: return g->qkv_bias;
    case RS_W_O_BIAS: return g->o_bias;
    case RS_W_Q_NORM:
    case RS_W_K_NORM: return g->qk_norm;
    case RS_W_ATTN_POST_NORM:
    case RS_W_MLP_POST_NORM: return g->post_norms;
    case RS_W_FINAL_NORM_BIAS:
    case RS_W_ATTN_NORM_BIAS:
    case RS_W_MLP_NORM_BIAS: return g->norm_bias;
    default: return true;
    }
}

typedef struct shape {
    int64_t rows, cols; /* rows == 0: a vector of cols */
} shape;

static shape shape_of(const rs_graph *g, const rs_layer *l, rs_role role) {
    int64_t D = g->width;
    switch (role) {
    case RS_W_EMBED:
    case RS_W_UNEMBED: return (shape){g->vocab, D};
    case RS_W_Q: return (shape){(int64_t)l->heads * l->head_dim, D};
    case RS_W_K: return (shape){(int64_t)l->kv_heads * l->head_dim, D};
    case RS_W_V: return (shape){(int64_t)l->kv_heads * l->v_dim, D};
    case RS_W_O: return (shape){D, (int64_t)l->heads * l->v_dim};
    case RS_W_GATE:
    case RS_W_UP: return (shape){l->hidden, D};
    case RS_W_DOWN: return (shape){D, l->hidden};
    case RS_W_Q_BIAS: return (shape){0, (int64_t)l->heads * l->head_dim};
    case RS_W_K_BIAS: return (shape){0, (int64_t)l->kv_heads * l->head_dim};
    case RS_W_V_BIAS: return (shape){0, (int64_t)l->kv_heads * l->v_dim};
    case RS_W_GATE_BIAS:
    case RS_W_UP_BIAS: return (shape){0, l->hidden};
    case RS_W_Q_NORM:
    case RS_W_K_NORM: return (shape){0, l->head_dim};
    default: return (shape){0, D};
    }
}

/* Where a slice lies in its tensor, in rows (of a vector: elements). */
typedef struct span {
    int64_t first, group_rows, stride, groups, total;
} span;

static span span_of(const rs_layer *l, rs_slice slice, int64_t n) {
    if (slice == RS_SLICE_WHOLE) return (span){0, n, n, 1, n};
    int64_t q = (int64_t)l->heads * l->head_dim, k = (int64_t)l->kv_heads * l->head_dim;
    int64_t v = (int64_t)l->kv_heads * l->v_dim, H = l->heads, Dh = l->head_dim, head = 2 * Dh + l->v_dim;
    switch (slice) {
    case RS_SLICE_QKV_Q: return (span){0, q, q, 1, q + k + v};
    case RS_SLICE_QKV_K: return (span){q, k, k, 1, q + k + v};
    case RS_SLICE_QKV_V: return (span){q + k, v, v, 1, q + k + v};
    case RS_SLICE_HEAD_Q: return (span){0, Dh, head, H, H * head};
    case RS_SLICE_HEAD_K: return (span){Dh, Dh, head, H, H * head};
    case RS_SLICE_HEAD_V: return (span){2 * Dh, l->v_dim, head, H, H * head};
    case RS_SLICE_GATE: return (span){0, n, n, 1, 2 * n};
    default: return (span){n, n, n, 1, 2 * n}; /* RS_SLICE_UP */
    }
}

/* ---- problems
 * ------------------------------------------------------------------------------------------------------------- */

static void add_problem(binder *b, problem_kind kind, const char *fmt, ...) RS_PRINTF(3, 4);
static void add_problem(binder *b, problem_kind kind, const char *fmt, ...) {
    char text[768];
    va_list args;
    if (b->count[kind]++ >= LISTED) return;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    rs_text_printf(&b->list[kind], "%s%s", b->list[kind].bytes > 0 ? "; " : "", text);
}

/* "[64, 96]" */
static const char *dims_text(const int64_t *dims, int n, char out[112]) {
    size_t at = (size_t)snprintf(out, 112, "[");
    for (int i = 0; i < n && at < 100; i++)
        at += (size_t)snprintf(out + at, 112 - at, "%s%lld", i > 0 ? ", " : "", (long long)dims[i]);
    snprintf(out + at, 112 - at, "]");
    return out;
}

/* One fused tensor serves several roles; only the first of them speaks about it. */
static bool speaks(rs_slice slice) {
    return slice == RS_SLICE_WHOLE || slice == RS_SLICE_QKV_Q || slice == RS_SLICE_HEAD_Q || slice == RS_SLICE_GATE;
}

static void place_text(int layer, char out[32]) {
    if (layer < 0) out[0] = '\0';
    else snprintf(out, 32, " of layer %d", layer);
}

/* ---- binding
 * -------------------------------------------------------------------------------------------------------------- */

/* The first place of the role that the file has; otherwise the first place of all, for the message. */
static const rs_tensor *find(const binder *b, rs_role role, int layer, rs_slice *slice, char name[NAME_BYTES]) {
    const rs_source *places = b->names->role[role];
    for (int i = 0; i < RS_SOURCES && places[i].pattern; i++) {
        *slice = places[i].slice;
        if (!rs_naming_expand(places[i].pattern, b->prefix, layer, name, NAME_BYTES)) continue;
        const rs_tensor *t = rs_checkpoint_find(b->c, name);
        if (t) return t;
    }
    *slice = places[0].slice;
    if (!places[0].pattern || !rs_naming_expand(places[0].pattern, b->prefix, layer, name, NAME_BYTES))
        snprintf(name, NAME_BYTES, "(a tensor without a name in this family)");
    return NULL;
}

/* Can the part be read and widened? A quantised row must be whole blocks; a part of a vector, single elements. */
static bool readable(const rs_tensor *t, const shape *s, const span *at) {
    int64_t bytes;
    bool part = at->groups != 1 || at->group_rows != at->total;
    return t->usable && rs_dtype_is_weight(t->dtype) && rs_dtype_bytes(t->dtype, s->cols, &bytes) &&
           (s->rows > 0 || !part || rs_dtype_block(t->dtype) == 1);
}

static void bind_role(binder *b, rs_role role, int layer, rs_weight *out) {
    char name[NAME_BYTES], found[112], wants[112], place[32];
    rs_slice slice = RS_SLICE_WHOLE;
    const rs_layer *l = layer >= 0 ? &b->g->layers[layer] : NULL;
    shape s = shape_of(b->g, l, role);
    const rs_tensor *t = find(b, role, layer, &slice, name);
    span at = span_of(l, slice, s.rows > 0 ? s.rows : s.cols);
    int64_t dims[2] = {at.total, s.cols};
    int n = s.rows > 0 ? 2 : 1;
    if (at.groups * at.group_rows != (s.rows > 0 ? s.rows : s.cols)) {
        add_problem(b, MISSHAPEN, "'%s' (%s%s): one key head per query head is expected in it, found %d for %d", name,
                    rs_role_name(role), layer >= 0 ? "" : " outside layers", l->kv_heads, l->heads);
        return;
    }
    place_text(layer, place);
    if (t) b->used[b->n_used++] = t;
    if (!t && speaks(slice))
        add_problem(b, MISSING, "'%s' (%s%s), expected %s", name, rs_role_name(role), place, dims_text(dims, n, wants));
    if (!t) return;
    bool fits = t->n_dims == n && t->dims[0] == dims[0] && (n == 1 || t->dims[1] == dims[1]);
    if (!fits && speaks(slice))
        add_problem(b, MISSHAPEN, "'%s' (%s%s): found %s, expected %s", name, rs_role_name(role), place,
                    dims_text(t->dims, t->n_dims, found), dims_text(dims, n, wants));
    if (fits && !readable(t, &s, &at) && speaks(slice))
        add_problem(b, UNUSABLE, "'%s' (%s%s): found type %s with rows of %lld", name, rs_role_name(role), place,
                    t->type_name, (long long)s.cols);
    *out = (rs_weight){.tensor = t,
                       .rows = s.rows > 0 ? s.rows : 1,
                       .cols = s.cols,
                       .first_row = at.first,
                       .group_rows = at.group_rows,
                       .group_stride = at.stride,
                       .groups = at.groups};
    b->w->parameters += out->rows * out->cols;
}

static void choose_prefix(binder *b) {
    char name[NAME_BYTES];
    const char *pattern = b->names->role[RS_W_EMBED][0].pattern;
    b->prefix = b->names->prefixes[0];
    for (int i = 0; i < RS_PREFIXES && b->names->prefixes[i]; i++) {
        if (!rs_naming_expand(pattern, b->names->prefixes[i], 0, name, NAME_BYTES)) continue;
        if (!rs_checkpoint_find(b->c, name)) continue;
        b->prefix = b->names->prefixes[i];
        return;
    }
}

static void bind_all(binder *b) {
    for (int layer = -1; layer < b->g->n_layers; layer++) {
        for (int role = 0; role < RS_ROLE_COUNT; role++) {
            if (rs_role_per_layer((rs_role)role) != (layer >= 0) || !wanted(b->g, (rs_role)role)) continue;
            rs_weight *out = layer < 0 ? &b->w->outside[role] : &b->w->layer[(int64_t)layer * RS_ROLE_COUNT + role];
            bind_role(b, (rs_role)role, layer, out);
        }
    }
    if (b->g->tied) b->w->outside[RS_W_UNEMBED] = b->w->outside[RS_W_EMBED];
}

static int by_address(const void *a, const void *b) {
    uintptr_t x = (uintptr_t)(*(const rs_tensor *const *)a), y = (uintptr_t)(*(const rs_tensor *const *)b);
    return (x > y) - (x < y);
}

static bool outside_the_family(const rs_family *f, const char *name) {
    for (int i = 0; i < RS_FAMILY_NAMES && f->other_tensors[i]; i++)
        if (rs_starts_with(name, f->other_tensors[i])) return true;
    return rs_naming_harmless(name);
}

static void list_unasked(binder *b) {
    char dims[112];
    qsort(b->used, b->n_used, sizeof *b->used, by_address);
    for (size_t i = 0; i < rs_checkpoint_tensor_count(b->c); i++) {
        const rs_tensor *t = rs_checkpoint_tensor(b->c, i);
        if (bsearch(&t, b->used, b->n_used, sizeof *b->used, by_address) || outside_the_family(b->family, t->name))
            continue;
        add_problem(b, UNASKED, "'%.200s' %s", t->name, dims_text(t->dims, t->n_dims, dims));
    }
}

static rs_status report(binder *b, rs_error *err) {
    static const char *const heads[PROBLEM_KINDS] = {
        [MISSHAPEN] = "wrong shape",
        [UNUSABLE] = "a type that cannot be read",
        [MISSING] = "missing",
        [UNASKED] = "not used",
    };
    rs_status st = RS_OK;
    rs_text t = {0};
    for (int k = 0; k < PROBLEM_KINDS; k++) {
        if (b->count[k] == 0) continue;
        rs_text_printf(&t, "\n  %s (%d): %s", heads[k], b->count[k], b->list[k].data ? b->list[k].data : "");
        if (b->count[k] > LISTED) rs_text_printf(&t, "; and %d more", b->count[k] - LISTED);
        RS_TRY(rs_text_status(&b->list[k], err));
    }
    RS_TRY(rs_text_status(&t, err));
    if (t.bytes > 0)
        st = rs_fail(err, RS_E_MISMATCH, "%s: tensors do not fit the configuration (%s family):%s",
                     rs_checkpoint_path(b->c), b->g->family, t.data);
out:
    rs_text_deinit(&t);
    return st;
}

rs_status rs_weights_bind(rs_checkpoint *c, const rs_graph *g, rs_arena *arena, const rs_weights **out, rs_error *err) {
    rs_status st = RS_OK;
    binder b = {.c = c, .g = g, .family = rs_family_by_name(g->family)};
    size_t slots = ((size_t)g->n_layers + 1) * RS_ROLE_COUNT;
    if (!b.family) return rs_fail(err, RS_E_INTERNAL, "family '%s' is not in the table", g->family);
    b.names = rs_checkpoint_container(c) == RS_CONTAINER_GGUF ? b.family->gguf : b.family->hf;
    RS_TRY(RS_ARENA_NEW(arena, &b.w, 1, err));
    b.w->n_layers = g->n_layers;
    RS_TRY(RS_ARENA_NEW(arena, &b.w->layer, (size_t)g->n_layers * RS_ROLE_COUNT, err));
    RS_TRY(RS_NEW(&b.used, slots, err));
    choose_prefix(&b);
    bind_all(&b);
    list_unasked(&b);
    RS_TRY(report(&b, err));
    *out = b.w;
out:
    for (int k = 0; k < PROBLEM_KINDS; k++) rs_text_deinit(&b.list[k]);
    rs_free((void *)b.used);
    return st;
}
