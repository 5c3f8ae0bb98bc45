/* Edits become table entries: a head sees a pair scaled, stopped or moved because its cos and sin say so, and the
 * kernel that rotates knows nothing of it. Query heads of one group share a key; where an edit must not reach the
 * others, the key is rotated once more into a slot of its own. */
#include "analyzer/forward/pass.h"

#include "analyzer/base/alloc.h"

#include <math.h>
#include <string.h>

/* What one query head sees: how its query and how its key are rotated. */
typedef struct head_view {
    rs_rotation q, k;
} head_view;

static rs_status rotation_init(rs_rotation *r, const rs_rope *rope, rs_error *err) {
    rs_status st = RS_OK;
    RS_TRY(RS_NEW(&r->theta, (size_t)rope->n_pairs, err));
    RS_TRY(RS_NEW(&r->scale, (size_t)rope->n_pairs, err));
    for (int f = 0; f < rope->n_pairs; f++) {
        r->theta[f] = rope->theta[f];
        r->scale[f] = 1.0;
    }
out:
    return st;
}

static void rotation_deinit(rs_rotation *r) {
    rs_free(r->theta);
    rs_free(r->scale);
    *r = (rs_rotation){0};
}

static bool rotation_equal(const rs_rotation *a, const rs_rotation *b, int n_pairs) {
    for (int f = 0; f < n_pairs; f++) {
        if (a->theta[f] != b->theta[f] || a->scale[f] != b->scale[f]) {
            return false;
        }
    }
    return a->shift == b->shift;
}

/* Index of an equal rotation in the list, adding it when it is new. Takes nothing: copies. */
static rs_status rotation_intern(rs_rotary *r, const rs_rotation *x, const rs_rope *rope, int32_t *index,
                                 rs_error *err) {
    rs_status st = RS_OK;
    for (int i = 0; i < r->n_rotations; i++) {
        if (rotation_equal(&r->rotation[i], x, rope->n_pairs)) {
            *index = i;
            return RS_OK;
        }
    }
    RS_TRY(
        rs_resize((void **)&r->rotation, (size_t)r->n_rotations, (size_t)r->n_rotations + 1, sizeof *r->rotation, err));
    rs_rotation *slot = &r->rotation[r->n_rotations];
    *slot = (rs_rotation){0};
    r->n_rotations++;
    RS_TRY(rotation_init(slot, rope, err));
    memcpy(slot->theta, x->theta, sizeof *x->theta * (size_t)rope->n_pairs);
    memcpy(slot->scale, x->scale, sizeof *x->scale * (size_t)rope->n_pairs);
    slot->shift = x->shift;
    *index = r->n_rotations - 1;
out:
    return st;
}

static bool listed(const int *list, int n, int x) {
    for (int i = 0; i < n; i++) {
        if (list[i] == x) {
            return true;
        }
    }
    return n == 0;
}

static bool assign(double *where, double value) {
    bool changed = *where != value;
    *where = value;
    return changed;
}

static bool edit_pair(const rs_edit *e, head_view *h, int f) {
    bool changed = false;
    if (e->kind == RS_EDIT_THETA) {
        changed = assign(&h->q.theta[f], e->value);
        changed = assign(&h->k.theta[f], e->value) || changed;
    } else {
        if (e->of & RS_EDIT_Q) {
            changed = assign(&h->q.scale[f], h->q.scale[f] * e->value);
        }
        if (e->of & RS_EDIT_K) {
            changed = assign(&h->k.scale[f], h->k.scale[f] * e->value) || changed;
        }
    }
    return changed;
}

static bool edit_head(const rs_edit *e, head_view *h, int n_pairs) {
    bool changed = false;
    if (e->kind == RS_EDIT_SHIFT) {
        h->q.shift += e->value;
        h->k.shift += e->value;
        return e->value != 0;
    }
    for (int f = 0; f < n_pairs; f++) {
        if (listed(e->pairs, e->n_pairs, f)) {
            changed = edit_pair(e, h, f) || changed;
        }
    }
    return changed;
}

static rs_status edit_check(const rs_graph *g, int layer, const rs_edit *e, rs_error *err) {
    const rs_layer *l = &g->layers[layer];
    if (e->layer >= g->n_layers) {
        return rs_fail(err, RS_E_USAGE, "edit: layer %d, but the model has layers 0 to %d", e->layer, g->n_layers - 1);
    }
    for (int i = 0; i < e->n_heads; i++) {
        if (e->heads[i] < 0 || e->heads[i] >= l->heads) {
            return rs_fail(err, RS_E_USAGE, "edit: head %d, but layer %d has heads 0 to %d", e->heads[i], layer,
                           l->heads - 1);
        }
    }
    for (int i = 0; i < e->n_pairs; i++) {
        if (e->pairs[i] < 0 || e->pairs[i] >= l->rope.n_pairs) {
            return rs_fail(err, RS_E_USAGE, "edit: pair %d, but layer %d has pairs 0 to %d", e->pairs[i], layer,
                           l->rope.n_pairs - 1);
        }
    }
    return RS_OK;
}

static rs_status rotary_alloc(rs_rotary *r, const rs_layer *l, rs_error *err) {
    rs_status st = RS_OK;
    size_t h = (size_t)l->heads, most = (size_t)(l->heads > l->kv_heads ? l->heads : l->kv_heads);
    *r = (rs_rotary){.n_pairs = l->rope.n_pairs, .heads = l->heads, .kv_heads = l->kv_heads};
    RS_TRY(RS_NEW(&r->q_variant, h, err));
    RS_TRY(RS_NEW(&r->q_source, h, err));
    RS_TRY(RS_NEW(&r->slot_variant, most, err));
    RS_TRY(RS_NEW(&r->slot_source, most, err));
    RS_TRY(RS_NEW(&r->head_slot, h, err));
out:
    return st;
}

/* The key slot for (key head, rotation), adding it when it is new. */
static int32_t slot_intern(rs_rotary *r, int32_t kv_head, int32_t variant) {
    for (int i = 0; i < r->n_slots; i++) {
        if (r->slot_source[i] == kv_head && r->slot_variant[i] == variant) {
            return i;
        }
    }
    r->slot_source[r->n_slots] = kv_head;
    r->slot_variant[r->n_slots] = variant;
    return r->n_slots++;
}

static rs_status rotary_add_head(rs_rotary *r, const rs_layer *l, int head, const head_view *v, rs_error *err) {
    rs_status st = RS_OK;
    int32_t key_variant = 0;
    r->q_source[head] = head;
    RS_TRY(rotation_intern(r, &v->q, &l->rope, &r->q_variant[head], err));
    RS_TRY(rotation_intern(r, &v->k, &l->rope, &key_variant, err));
    r->head_slot[head] = slot_intern(r, head / (l->heads / l->kv_heads), key_variant);
out:
    return st;
}

rs_status rs_rotary_resolve(const rs_graph *g, int layer, const rs_edit *edits, int n_edits, bool *touched,
                            rs_rotary *out, rs_error *err) {
    rs_status st = RS_OK;
    const rs_layer *l = &g->layers[layer];
    head_view view = {0};
    RS_TRY(rotary_alloc(out, l, err));
    for (int h = 0; h < l->heads; h++) {
        RS_TRY(rotation_init(&view.q, &l->rope, err));
        RS_TRY(rotation_init(&view.k, &l->rope, err));
        for (int i = 0; i < n_edits; i++) {
            const rs_edit *e = &edits[i];
            if (e->layer >= 0 && e->layer != layer && e->layer < g->n_layers) {
                continue;
            }
            RS_TRY(edit_check(g, layer, e, err));
            if (listed(e->heads, e->n_heads, h) && edit_head(e, &view, l->rope.n_pairs) && touched) {
                touched[i] = true;
            }
        }
        RS_TRY(rotary_add_head(out, l, h, &view, err));
        rotation_deinit(&view.q);
        rotation_deinit(&view.k);
    }
    out->plain = out->n_slots == l->kv_heads;
    for (int s = 0; s < out->n_slots && out->plain; s++) {
        out->plain = out->slot_source[s] == s;
    }
out:
    rotation_deinit(&view.q);
    rotation_deinit(&view.k);
    if (st != RS_OK) {
        rs_rotary_deinit(out);
    }
    return st;
}

void rs_rotary_deinit(rs_rotary *r) {
    for (int i = 0; i < r->n_rotations; i++) {
        rotation_deinit(&r->rotation[i]);
    }
    rs_free(r->rotation);
    rs_free(r->q_variant);
    rs_free(r->q_source);
    rs_free(r->slot_variant);
    rs_free(r->slot_source);
    rs_free(r->head_slot);
    *r = (rs_rotary){0};
}

void rs_rotary_tables(const rs_rotary *r, const rs_rope *rope, int64_t positions, float *cos_out, float *sin_out) {
    for (int v = 0; v < r->n_rotations; v++) {
        const rs_rotation *rot = &r->rotation[v];
        for (int64_t t = 0; t < positions; t++) {
            float *c = cos_out + ((int64_t)v * positions + t) * r->n_pairs;
            float *s = sin_out + ((int64_t)v * positions + t) * r->n_pairs;
            for (int f = 0; f < r->n_pairs; f++) {
                double angle = ((double)t + rot->shift) * rot->theta[f], amplitude = rot->scale[f] * rope->factor[f];
                c[f] = (float)(cos(angle) * amplitude);
                s[f] = (float)(sin(angle) * amplitude);
            }
        }
    }
}

static bool same_ints(const int32_t *a, const int32_t *b, int n) { return memcmp(a, b, sizeof *a * (size_t)n) == 0; }

bool rs_rotary_equal(const rs_rotary *a, const rs_rotary *b) {
    if (a->n_pairs != b->n_pairs || a->heads != b->heads || a->kv_heads != b->kv_heads || a->n_slots != b->n_slots ||
        a->n_rotations != b->n_rotations) {
        return false;
    }
    for (int i = 0; i < a->n_rotations; i++) {
        if (!rotation_equal(&a->rotation[i], &b->rotation[i], a->n_pairs)) {
            return false;
        }
    }
    return same_ints(a->q_variant, b->q_variant, a->heads) && same_ints(a->slot_variant, b->slot_variant, a->n_slots) &&
           same_ints(a->slot_source, b->slot_source, a->n_slots) && same_ints(a->head_slot, b->head_slot, a->heads);
}
