/* The rotary table of a layer: frequencies from rope_kind.c, components from the layout, one canonical order. */
#include "analyzer/model/rope.h"

#include "analyzer/base/alloc.h"
#include "analyzer/model/rope_kind.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WIDEST_HEAD = 65536 };

typedef struct pair {
    double theta, factor;
    int32_t lo, hi, lo_hf, hi_hf;
    int32_t native; /* index in the file's own order: the tie-break that makes sorting stable */
    uint8_t region;
} pair;

static int even_width(const rs_rope_spec *s) { return (s->rotary_dim + 1) / 2 * 2; }

static int ladder_size(const rs_rope_spec *s, const rs_rope_kind *k) {
    if (!k->rotates) return 0;
    return strcmp(k->name, "proportional") == 0 ? s->head_dim / 2 : even_width(s) / 2;
}

static rs_status check_widths(const rs_rope_spec *s, const rs_rope_kind *k, rs_error *err) {
    if (s->head_dim < 2 || s->head_dim % 2 != 0 || s->head_dim > WIDEST_HEAD)
        return rs_fail(err, RS_E_MISMATCH, "head width %d: expected an even number from 2 to %d", s->head_dim,
                       WIDEST_HEAD);
    if (k->rotates && (s->rotary_dim < 0 || s->rotary_dim > s->head_dim))
        return rs_fail(err, RS_E_MISMATCH, "rotary width %d: expected 0 to the head width, %d", s->rotary_dim,
                       s->head_dim);
    return RS_OK;
}

static rs_status check_divisors(const rs_rope_spec *s, const rs_rope_kind *k, int n, rs_error *err) {
    if (!k->takes_divisors) return RS_OK;
    if (!s->divisors || s->n_divisors != n)
        return rs_fail(err, RS_E_MISMATCH, "rope_type '%s': %d divisors found, expected %d, one per rotated pair (%s)",
                       k->name, s->divisors ? s->n_divisors : 0, n, s->source ? s->source : "no source");
    for (int i = 0; i < n; i++)
        if (!(s->divisors[i] > 0)) /* infinity is fine: that pair rests */
            return rs_fail(err, RS_E_MISMATCH, "rope_type '%s': divisor %d is %g, expected a positive number (%s)",
                           k->name, i, s->divisors[i], s->source ? s->source : "no source");
    return RS_OK;
}

static rs_status check_numbers(const rs_rope_spec *s, const rs_rope_kind *k, rs_error *err) {
    if (!k->rotates) return RS_OK;
    if (!(s->base > 0) || !isfinite(s->base))
        return rs_fail(err, RS_E_MISMATCH, "RoPE base %g: expected a positive number (%s)", s->base,
                       s->source ? s->source : "no source");
    if (k->takes_factor && (!(s->factor > 0) || !isfinite(s->factor)))
        return rs_fail(err, RS_E_MISMATCH, "rope_type '%s': factor %g, expected a positive number", k->name, s->factor);
    if (!isnan(s->attention_factor) && (!(s->attention_factor >= 0) || !isfinite(s->attention_factor)))
        return rs_fail(err, RS_E_MISMATCH, "rope_type '%s': attention factor %g, expected a number not below 0",
                       k->name, s->attention_factor);
    return RS_OK;
}

/* Hugging Face component of each file component. Where a family turns its rows over for a container, it does so over
 * the whole head: Hugging Face row h * D/2 + j becomes row 2j + h (llama.cpp's converter and llama2.c's export alike).
 */
static void component_map(const rs_rope_spec *s, int32_t *hf_from_file) {
    int half = s->head_dim / 2;
    for (int c = 0; c < s->head_dim; c++) {
        if (s->layout == s->hf_layout) hf_from_file[c] = c;
        else if (s->layout == RS_INTERLEAVED) hf_from_file[c] = c % 2 * half + c / 2;
        else hf_from_file[c] = c % half * 2 + c / half;
    }
}

/* Pairs that the model's rotation names, whether they turn or rest. */
static void rotary_pairs(const rs_rope_spec *s, const rs_rope_ladder *l, const int32_t *hf_from_file, pair *p) {
    for (int i = 0; i < l->n; i++) {
        bool rests = l->theta[i] <= 0 || (s->context > 0 && l->theta[i] * s->context < RS_ROPE_RESOLUTION);
        p[i].native = i;
        p[i].lo = s->layout == RS_INTERLEAVED ? 2 * i : i;
        p[i].hi = s->layout == RS_INTERLEAVED ? 2 * i + 1 : i + l->n;
        p[i].lo_hf = hf_from_file[p[i].lo];
        p[i].hi_hf = hf_from_file[p[i].hi];
        p[i].theta = rests ? 0 : l->theta[i];
        p[i].region = rests ? RS_PAIR_UNROTATED : l->region[i];
        p[i].factor = l->attention_factor;
    }
}

/* Components that the model passes by, in ascending Hugging Face order u_0..u_{2m-1}, pair as (u_j, u_{j+m}). */
static void passing_pairs(const rs_rope_spec *s, int first, const int32_t *hf_from_file, int32_t *file_from_hf,
                          pair *p) {
    int half = s->head_dim / 2, m = half - first, seen = 0;
    for (int c = 0; c < s->head_dim; c++) file_from_hf[hf_from_file[c]] = c;
    for (int u = 0; u < s->head_dim; u++) {
        int32_t c = file_from_hf[u];
        if (c < 2 * first) continue;
        pair *x = &p[first + seen % m];
        if (seen < m)
            *x = (pair){.lo = c, .lo_hf = u, .factor = 1, .region = RS_PAIR_UNROTATED, .native = first + seen};
        else x->hi = c, x->hi_hf = u;
        seen++;
    }
}

static int compare(const void *a, const void *b) {
    const pair *x = a, *y = b;
    if (x->theta != y->theta) return x->theta > y->theta ? -1 : 1;
    int32_t i = x->theta > 0 ? x->native : x->lo_hf, j = y->theta > 0 ? y->native : y->lo_hf;
    return (i > j) - (i < j);
}

static rs_status publish(const rs_rope_spec *s, const pair *p, const int32_t *hf_from_file, rs_arena *arena, rs_rope *r,
                         rs_error *err) {
    rs_status st = RS_OK;
    size_t n = (size_t)r->n_pairs;
    int32_t *index[4], *map;
    double *theta, *factor;
    uint8_t *region;
    for (int k = 0; k < 4; k++) RS_TRY(RS_ARENA_NEW(arena, &index[k], n, err));
    RS_TRY(RS_ARENA_NEW(arena, &map, (size_t)s->head_dim, err));
    RS_TRY(RS_ARENA_NEW(arena, &theta, n, err));
    RS_TRY(RS_ARENA_NEW(arena, &factor, n, err));
    RS_TRY(RS_ARENA_NEW(arena, &region, n, err));
    for (size_t f = 0; f < n; f++) {
        index[0][f] = p[f].lo, index[1][f] = p[f].hi, index[2][f] = p[f].lo_hf, index[3][f] = p[f].hi_hf;
        theta[f] = p[f].theta, factor[f] = p[f].factor, region[f] = p[f].region;
        r->n_rotated += p[f].theta > 0;
    }
    memcpy(map, hf_from_file, sizeof *map * (size_t)s->head_dim);
    r->lo = index[0], r->hi = index[1], r->lo_hf = index[2], r->hi_hf = index[3];
    r->hf_from_file = map, r->theta = theta, r->factor = factor, r->region = region;
    RS_TRY(rs_arena_strdup(arena, &r->source, s->source ? s->source : "", err));
out:
    return st;
}

rs_status rs_rope_build(const rs_rope_spec *spec, rs_arena *arena, rs_rope *out, rs_error *err) {
    rs_status st = RS_OK;
    pair *pairs = NULL;
    int32_t *maps = NULL; /* [2, D] Hugging Face from file, file from Hugging Face */
    rs_rope_ladder l = {0};
    const rs_rope_kind *k = rs_rope_kind_find(spec->kind);
    if (!k)
        return rs_fail(err, RS_E_UNSUPPORTED, "rope_type '%s' is not supported; known: %s", spec->kind,
                       rs_rope_kinds());
    RS_TRY(check_widths(spec, k, err));
    l.n = ladder_size(spec, k);
    l.attention_factor = isnan(spec->attention_factor) || !k->rotates ? 1.0 : spec->attention_factor;
    RS_TRY(check_numbers(spec, k, err));
    RS_TRY(check_divisors(spec, k, l.n, err));
    *out =
        (rs_rope){.n_pairs = spec->head_dim / 2, .head_dim = spec->head_dim, .layout = spec->layout, .kind = k->name};
    out->base = k->rotates && l.n > 0 ? spec->base : 0;
    RS_TRY(RS_NEW(&l.theta, (size_t)l.n, err));
    RS_TRY(RS_NEW(&l.region, (size_t)l.n, err));
    RS_TRY(RS_NEW(&pairs, (size_t)out->n_pairs, err));
    RS_TRY(RS_NEW(&maps, 2 * (size_t)spec->head_dim, err));
    RS_TRY(k->fill(spec, &l, err));
    component_map(spec, maps);
    rotary_pairs(spec, &l, maps, pairs);
    if (l.n < out->n_pairs) passing_pairs(spec, l.n, maps, maps + spec->head_dim, pairs);
    qsort(pairs, (size_t)out->n_pairs, sizeof *pairs, compare);
    RS_TRY(publish(spec, pairs, maps, arena, out, err));
    RS_TRY(rs_rope_describe(spec, &l, arena, out, err));
out:
    rs_free(l.theta);
    rs_free(l.region);
    rs_free(pairs);
    rs_free(maps);
    return st;
}

int64_t rs_rope_cache_bytes(const rs_rope *r, int64_t context) {
    int64_t bytes; /* two tables of one column per rotated component */
    return rs_mul_i64(2 * 2 * (int64_t)r->n_rotated * (int64_t)sizeof(float), context, &bytes) ? bytes : INT64_MAX;
}
