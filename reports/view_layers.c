#include "reports/view_layers.h"

#include <math.h>

static const rs_json *layer_fact(const rs_report_view *v, int layer, const char *key) {
    return rs_json_get(rs_json_at(v->layer_facts_root, (size_t)layer), key);
}

static int layer_int(const rs_report_view *v, int layer, const char *key, int otherwise, int most) {
    int64_t x = rs_json_int(layer_fact(v, layer, key), otherwise);
    return x >= 0 && x <= most ? (int)x : otherwise;
}

static rs_status layer_words(rs_report_view *v, int layer, const char *key, const char *otherwise, const char **out,
                             rs_error *err) {
    const char *s = rs_json_string(layer_fact(v, layer, key), NULL);
    return rs_arena_strdup(v->arena, out, s != NULL ? s : otherwise, err);
}

typedef struct rope_arrays {
    rs_array theta, lo, hi, region, factor;
} rope_arrays;

static void rope_arrays_deinit(rope_arrays *r) {
    rs_array_deinit(&r->theta);
    rs_array_deinit(&r->lo);
    rs_array_deinit(&r->hi);
    rs_array_deinit(&r->region);
    rs_array_deinit(&r->factor);
}

static rs_status read_rope_array(const rs_report_view *v, rs_store *s, const char *name, const rs_array *like,
                                 rs_array *out, rs_error *err) {
    if (!rs_store_has(s, name))
        return rs_fail(err, RS_E_FORMAT, "%s: dataset '/%s' is missing: not a whole run file", v->path, name);
    rs_status st = rs_store_read(s, name, out, err);
    if (st != RS_OK) return st;
    if (out->n_dims != 2 || (like != NULL && (out->dims[0] != like->dims[0] || out->dims[1] != like->dims[1])))
        return rs_fail(err, RS_E_FORMAT, "%s: dataset '/%s' is not [layer, pair] like /rope/theta", v->path, name);
    return RS_OK;
}

static rs_status read_rope_arrays(const rs_report_view *v, rs_store *s, rope_arrays *r, rs_error *err) {
    rs_status st = RS_OK;
    RS_TRY(read_rope_array(v, s, "rope/theta", NULL, &r->theta, err));
    RS_TRY(read_rope_array(v, s, "rope/component_lo", &r->theta, &r->lo, err));
    RS_TRY(read_rope_array(v, s, "rope/component_hi", &r->theta, &r->hi, err));
    RS_TRY(read_rope_array(v, s, "rope/region", &r->theta, &r->region, err));
    RS_TRY(read_rope_array(v, s, "rope/attention_factor", &r->theta, &r->factor, err));
    /* Both axes become ints and loops; a run of more layers or pairs than any model has is a damaged file. */
    if (r->theta.dims[0] < 1 || r->theta.dims[1] < 1 || r->theta.dims[0] > 100000 || r->theta.dims[1] > 100000)
        st = rs_fail(err, RS_E_FORMAT, "%s: dataset '/rope/theta' has %lld layers and %lld pairs", v->path,
                     (long long)r->theta.dims[0], (long long)r->theta.dims[1]);
out:
    return st;
}

static int to_int(double x) { return x >= -1.0 && x <= 1.0e9 ? (int)x : -1; }

/* NaN and equal numbers are the same cell. */
static bool same_row(const rs_array *a, int64_t i, int64_t j) {
    for (int64_t p = 0; p < a->dims[1]; p++) {
        double x = a->data[i * a->dims[1] + p], y = a->data[j * a->dims[1] + p];
        if (x < y || x > y || isnan(x) != isnan(y)) return false;
    }
    return true;
}

static bool same_rope(const rope_arrays *r, int64_t i, int64_t j) {
    return same_row(&r->theta, i, j) && same_row(&r->lo, i, j) && same_row(&r->hi, i, j) && same_row(&r->factor, i, j);
}

/* Table entries of one rope from row `layer` of the stored arrays. */
static rs_status fill_rope(rs_report_view *v, const rope_arrays *r, int layer, rs_view_rope *out, rs_error *err) {
    rs_status st = RS_OK;
    int64_t width = r->theta.dims[1];
    const double *theta = r->theta.data + layer * width;
    while (out->pairs < width && !isnan(theta[out->pairs])) out->pairs++;
    double *th, *wave, *turns, *trained, *factor;
    int *lo, *hi, *region;
    size_t n = (size_t)out->pairs;
    RS_TRY(RS_ARENA_NEW(v->arena, &th, n, err));
    RS_TRY(RS_ARENA_NEW(v->arena, &wave, n, err));
    RS_TRY(RS_ARENA_NEW(v->arena, &turns, n, err));
    RS_TRY(RS_ARENA_NEW(v->arena, &trained, n, err));
    RS_TRY(RS_ARENA_NEW(v->arena, &factor, n, err));
    RS_TRY(RS_ARENA_NEW(v->arena, &lo, n, err));
    RS_TRY(RS_ARENA_NEW(v->arena, &hi, n, err));
    RS_TRY(RS_ARENA_NEW(v->arena, &region, n, err));
    const double two_pi = 6.283185307179586;
    for (int p = 0; p < out->pairs; p++) {
        int64_t c = layer * width + p;
        th[p] = theta[p];
        wave[p] = theta[p] > 0.0 ? two_pi / theta[p] : NAN;
        turns[p] = theta[p] * (double)v->context / two_pi;
        trained[p] = v->trained_context > 0 ? theta[p] * (double)v->trained_context / two_pi : NAN;
        factor[p] = r->factor.data[c];
        lo[p] = to_int(r->lo.data[c]);
        hi[p] = to_int(r->hi.data[c]);
        region[p] = to_int(r->region.data[c]);
        out->rotated += theta[p] > 0.0;
    }
    out->theta = th, out->wavelength = wave, out->turns = turns, out->turns_trained = trained, out->factor = factor;
    out->lo = lo, out->hi = hi, out->region = region;
    RS_TRY(layer_words(v, layer, "words", v->rope_words, &out->words, err));
    RS_TRY(layer_words(v, layer, "kind", "", &out->kind, err));
    RS_TRY(layer_words(v, layer, "source", "", &out->source, err));
    out->base = rs_json_real(layer_fact(v, layer, "base"), NAN);
out:
    return st;
}

/* Groups equal layers into ropes and lists the layers of each. */
static rs_status group_ropes(rs_report_view *v, const rope_arrays *r, rs_error *err) {
    rs_status st = RS_OK;
    RS_TRY(RS_ARENA_NEW(v->arena, &v->ropes, (size_t)v->n_layers, err));
    int *first; /* [n_layers] layer that stands for rope i */
    RS_TRY(RS_ARENA_NEW(v->arena, &first, (size_t)v->n_layers, err));
    for (int l = 0; l < v->n_layers; l++) {
        int k = 0;
        while (k < v->n_ropes && !same_rope(r, first[k], l)) k++;
        if (k == v->n_ropes) {
            first[v->n_ropes++] = l;
            RS_TRY(fill_rope(v, r, l, &v->ropes[k], err));
            v->rotates = v->rotates || v->ropes[k].rotated > 0;
        }
        v->layers[l].rope = k;
        v->ropes[k].n_layers++;
    }
    for (int k = 0; k < v->n_ropes; k++) {
        int *layers, n = 0;
        RS_TRY(RS_ARENA_NEW(v->arena, &layers, (size_t)v->ropes[k].n_layers, err));
        for (int l = 0; l < v->n_layers; l++)
            if (v->layers[l].rope == k) layers[n++] = l;
        v->ropes[k].layers = layers;
    }
out:
    return st;
}

static int attribute_int(rs_store *s, const char *name, int otherwise) {
    double x = rs_store_get_real(s, "/", name, (double)otherwise);
    return x >= 1.0 && x <= 1.0e6 ? (int)x : otherwise;
}

rs_status rs_view_read_layers(rs_report_view *v, rs_store *s, rs_error *err) {
    rs_status st = RS_OK;
    rope_arrays r = {0};
    RS_TRY(read_rope_arrays(v, s, &r, err));
    v->n_layers = (int)r.theta.dims[0];
    RS_TRY(RS_ARENA_NEW(v->arena, &v->layers, (size_t)v->n_layers, err));
    RS_TRY(group_ropes(v, &r, err));
    int heads = attribute_int(s, "heads", 1), kv_heads = attribute_int(s, "kv_heads", heads);
    for (int l = 0; l < v->n_layers; l++) {
        rs_view_layer *y = &v->layers[l];
        y->pairs = v->ropes[y->rope].pairs;
        y->heads = layer_int(v, l, "heads", heads, 1000000);
        y->kv_heads = layer_int(v, l, "kv_heads", kv_heads, y->heads);
        y->head_dim = layer_int(v, l, "head_dim", 2 * y->pairs, 1000000);
        y->window = layer_int(v, l, "window", 0, 1000000000);
        if (y->kv_heads < 1) y->kv_heads = 1;
        if (y->heads > v->n_heads) v->n_heads = y->heads;
        if (y->kv_heads > v->n_kv_heads) v->n_kv_heads = y->kv_heads;
        if (y->pairs > v->n_pairs) v->n_pairs = y->pairs;
        v->n_head_rows += y->heads;
        if (v->ropes[y->rope].n_layers > v->ropes[v->main_rope].n_layers) v->main_rope = y->rope;
    }
out:
    rope_arrays_deinit(&r);
    return st;
}
