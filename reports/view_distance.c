#include "reports/view_distance.h"

#include "analyzer/base/alloc.h"

#include <math.h>
#include <string.h>

/* Distances up to `single` stand alone, then come so many buckets to the octave. */
typedef struct grain {
    const char *axis; /* derived array with the edges */
    int single, per_octave;
} grain;
static const grain fine = {"axis/distance_bucket", 16, 4}, coarse = {"axis/distance_band", 4, 2};

enum { MOST_BUCKETS = 160 };

typedef struct buckets {
    double first[MOST_BUCKETS], last[MOST_BUCKETS];
    int n;
} buckets;

/* Distances 0..most: singly, then edges at single * 2^(i / per_octave). */
static void make_buckets(const grain *g, double most, buckets *b) {
    for (double d = 0.0; d <= most && d <= g->single; d += 1.0) {
        b->first[b->n] = b->last[b->n] = d;
        b->n++;
    }
    double from = g->single + 1.0;
    for (int i = 1; from <= most && b->n < MOST_BUCKETS; i++) {
        double to = floor(g->single * pow(2.0, (double)i / g->per_octave));
        if (to < from) continue;
        b->first[b->n] = from;
        b->last[b->n] = to < most ? to : most;
        b->n++;
        from = to + 1.0;
    }
}

static int bucket_of(const buckets *b, double d) {
    for (int i = 0; i < b->n; i++)
        if (d >= b->first[i] && d <= b->last[i]) return i;
    return -1;
}

/* Where the columns of an array over distances go. */
typedef struct columns {
    int64_t n;
    double *axis; /* [n] distance of each; a column stands for those up to the next one and weighs as many */
    int *of;      /* [n] bucket, -1: none */
    buckets b;
} columns;

/* One line over distances -> what it means in each bucket, added to out [bucket], where it has a value. */
static void add_line(const columns *c, const double *line, double *out) {
    double sum[MOST_BUCKETS] = {0}, count[MOST_BUCKETS] = {0};
    for (int64_t d = 0; d < c->n; d++) {
        if (c->of[d] < 0 || !isfinite(line[d])) continue;
        double width = d + 1 < c->n ? c->axis[d + 1] - c->axis[d] : 1.0;
        sum[c->of[d]] += width * line[d];
        count[c->of[d]] += width;
    }
    for (int b = 0; b < c->b.n; b++)
        if (count[b] > 0.0) out[b] = (isfinite(out[b]) ? out[b] : 0.0) + sum[b] / count[b];
}

/* One layer [head, (pair,) distance] -> out [head, (band,) bucket]: means over distances, sums over the pairs of a
 * band. */
static void reduce_layer(const columns *c, const rs_array *row, int64_t heads, int64_t pairs, int64_t bands,
                         double *out) {
    for (int64_t h = 0; h < heads && h < row->dims[0]; h++) {
        for (int64_t p = 0; p < pairs; p++)
            add_line(c, row->data + (h * pairs + p) * c->n, out + (h * bands + p * bands / pairs) * c->b.n);
    }
}

static rs_status add_axis(rs_report_view *v, const grain *g, const buckets *b, rs_error *err) {
    rs_array *a = rs_arrays_find(&v->derived, g->axis);
    if (b->n < 1 || (a != NULL && a->dims[0] != b->n))
        return rs_fail(err, RS_E_FORMAT, "%s: axis 'distance' is not one rising axis for all arrays that use it",
                       v->path);
    if (a != NULL) return RS_OK;
    rs_status st =
        rs_arrays_add(&v->derived, &a, err, g->axis, RS_F64, "tokens", "first and last distance of each bucket", 2,
                      strrchr(g->axis, '/') + 1, (int64_t)b->n, "end", (int64_t)2);
    if (st != RS_OK) return st;
    for (int i = 0; i < b->n; i++) {
        a->data[2 * i] = b->first[i];
        a->data[2 * i + 1] = b->last[i];
    }
    return RS_OK;
}

/* Values of the distance axis, [n]; 0..n-1 when the file gives none that fit. */
static rs_status read_axis(rs_store *s, int64_t n, double **out, rs_error *err) {
    rs_array axis = {0};
    rs_status st = RS_NEW(out, (size_t)n, err);
    if (st != RS_OK) return st;
    for (int64_t i = 0; i < n; i++) (*out)[i] = (double)i;
    if (!rs_store_has(s, "distance")) return RS_OK;
    st = rs_store_read(s, "distance", &axis, err);
    if (st == RS_OK && axis.n_dims == 1 && axis.dims[0] == n) memcpy(*out, axis.data, (size_t)n * sizeof **out);
    rs_array_deinit(&axis);
    return st;
}

static void close_columns(columns *c) {
    rs_free(c->axis);
    rs_free(c->of);
}

static rs_status open_columns(rs_report_view *v, rs_store *s, const grain *g, int64_t n, columns *c, rs_error *err) {
    rs_status st = RS_OK;
    c->n = n;
    RS_TRY(read_axis(s, n, &c->axis, err));
    make_buckets(g, c->axis[n - 1], &c->b);
    RS_TRY(RS_NEW(&c->of, (size_t)n, err));
    for (int64_t d = 0; d < n; d++) c->of[d] = bucket_of(&c->b, c->axis[d]);
    RS_TRY(add_axis(v, g, &c->b, err));
out:
    return st;
}

/* An array over distances and what becomes of it. bands: of pairs, most of them; 0: the array has none. */
typedef struct reduction {
    const char *name, *derived, *unit, *what;
    const grain *grain;
    int64_t bands;
} reduction;

static const reduction reductions[] = {
    {"attention_pattern/profile", "heads/profile", "1", "mean attention at a distance, mean over the bucket", &fine, 0},
    {"moments/distance_curve", "heads/distance_curve", "1",
     "mean logit at a distance from the means alone, mean over the bucket", &fine, 0},
    {"angular_spectrum/mean_logit", "heads/mean_logit", "1", "mean logit at a distance, mean over the bucket", &fine,
     0},
    {"angular_spectrum/pair_logit", "heads/pair_logit", "1",
     "part of a band of neighbouring pairs in the mean logit at a distance, mean over the bucket", &coarse,
     RS_LOGIT_BANDS},
};

static rs_status add_derived(rs_report_view *v, const reduction *r, int64_t bands, int64_t n, rs_array **out,
                             rs_error *err) {
    const char *axis = strrchr(r->grain->axis, '/') + 1;
    int64_t L = v->n_layers, H = v->n_heads;
    if (r->bands > 0)
        return rs_arrays_add(&v->derived, out, err, r->derived, RS_F32, r->unit, r->what, 4, "layer", L, "head", H,
                             "pair_band", bands, axis, n);
    return rs_arrays_add(&v->derived, out, err, r->derived, RS_F32, r->unit, r->what, 3, "layer", L, "head", H, axis,
                         n);
}

static rs_status reduce(rs_report_view *v, rs_store *s, const reduction *r, rs_error *err) {
    rs_status st = RS_OK;
    rs_array row = {0}, *out = NULL;
    columns c = {0};
    int axes = r->bands > 0 ? 3 : 2;
    int64_t bands = 1;
    if (!rs_store_has(s, r->name)) return RS_OK;
    for (int l = 0; l < v->n_layers; l++) {
        RS_TRY(rs_store_read_row(s, r->name, l, &row, err));
        int64_t n = row.n_dims == axes ? row.dims[axes - 1] : 0, pairs = axes == 3 && n > 0 ? row.dims[1] : 1;
        if (n < 1 || pairs < 1 || (c.n > 0 && n != c.n)) {
            st = rs_fail(err, RS_E_FORMAT, "%s: dataset '%s' is not [layer, head, %sdistance]", v->path, r->name,
                         axes == 3 ? "pair, " : "");
            goto out;
        }
        if (c.n == 0) {
            RS_TRY(open_columns(v, s, r->grain, n, &c, err));
            bands = r->bands > 0 && rs_view_halved(v, r->bands * c.b.n) ? r->bands / 2 : r->bands;
            bands = bands == 0 ? 1 : bands < pairs ? bands : pairs;
            RS_TRY(add_derived(v, r, bands, c.b.n, &out, err));
        }
        reduce_layer(&c, &row, v->n_heads, pairs, bands, out->data + (int64_t)l * v->n_heads * bands * c.b.n);
        rs_array_deinit(&row);
        row = (rs_array){0};
    }
out:
    rs_array_deinit(&row);
    close_columns(&c);
    return st;
}

rs_status rs_view_read_distance(rs_report_view *v, rs_store *s, rs_error *err) {
    rs_status st = RS_OK;
    for (size_t i = 0; i < sizeof reductions / sizeof *reductions; i++) RS_TRY(reduce(v, s, &reductions[i], err));
out:
    return st;
}
