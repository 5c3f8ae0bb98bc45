#include "reports/view_distance.h"

#include "analyzer/base/alloc.h"

#include <math.h>
#include <string.h>

enum { SINGLE = 16, PER_OCTAVE = 4, MOST_BUCKETS = 160 };

typedef struct buckets {
    double first[MOST_BUCKETS], last[MOST_BUCKETS];
    int n;
} buckets;

/* Distances 0..most: singly to 16, then edges at 16 * 2^(i/4). */
static void make_buckets(double most, buckets *b) {
    for (double d = 0.0; d <= most && d <= SINGLE; d += 1.0) {
        b->first[b->n] = b->last[b->n] = d;
        b->n++;
    }
    double from = SINGLE + 1.0;
    for (int i = 1; from <= most && b->n < MOST_BUCKETS; i++) {
        double to = floor(SINGLE * pow(2.0, (double)i / PER_OCTAVE));
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

/* One layer [head, distance] -> means in out [head, bucket]. of[d] is the bucket of column d; a column stands for the
 * distances up to the next one and weighs as many. */
static void reduce_layer(const rs_array *row, const int *of, const double *axis, int n_buckets, int64_t heads,
                         double *out) {
    int64_t columns = row->dims[row->n_dims - 1];
    for (int64_t h = 0; h < heads && h < row->dims[row->n_dims - 2]; h++) {
        double sum[MOST_BUCKETS] = {0}, count[MOST_BUCKETS] = {0};
        for (int64_t d = 0; d < columns; d++) {
            double x = row->data[h * columns + d];
            if (of[d] < 0 || !isfinite(x)) continue;
            double width = d + 1 < columns ? axis[d + 1] - axis[d] : 1.0;
            sum[of[d]] += width * x;
            count[of[d]] += width;
        }
        for (int b = 0; b < n_buckets; b++)
            if (count[b] > 0.0) out[h * n_buckets + b] = sum[b] / count[b];
    }
}

static rs_status add_axis(rs_report_view *v, const buckets *b, rs_error *err) {
    rs_array *a = rs_arrays_find(&v->derived, "axis/distance_bucket");
    if (b->n < 1 || (a != NULL && a->dims[0] != b->n))
        return rs_fail(err, RS_E_FORMAT, "%s: axis 'distance' is not one rising axis for all arrays that use it",
                       v->path);
    if (a != NULL) return RS_OK;
    rs_status st =
        rs_arrays_add(&v->derived, &a, err, "axis/distance_bucket", RS_F64, "tokens",
                      "first and last distance of each bucket", 2, "distance_bucket", (int64_t)b->n, "end", (int64_t)2);
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

static rs_status reduce(rs_report_view *v, rs_store *s, const char *name, const char *derived, const char *unit,
                        const char *what, rs_error *err) {
    rs_status st = RS_OK;
    rs_array row = {0}, *out = NULL;
    double *axis = NULL;
    int *of = NULL;
    int64_t columns = 0;
    buckets b = {.n = 0};
    if (!rs_store_has(s, name)) return RS_OK;
    for (int l = 0; l < v->n_layers; l++) {
        RS_TRY(rs_store_read_row(s, name, l, &row, err));
        if (row.n_dims < 2 || row.dims[row.n_dims - 1] < 1 || (of != NULL && row.dims[row.n_dims - 1] != columns)) {
            st = rs_fail(err, RS_E_FORMAT, "%s: dataset '%s' is not [layer, head, distance]", v->path, name);
            goto out;
        }
        if (of == NULL) {
            columns = row.dims[row.n_dims - 1];
            RS_TRY(read_axis(s, columns, &axis, err));
            make_buckets(axis[columns - 1], &b);
            RS_TRY(RS_NEW(&of, (size_t)columns, err));
            for (int64_t d = 0; d < columns; d++) of[d] = bucket_of(&b, axis[d]);
            RS_TRY(add_axis(v, &b, err));
            RS_TRY(rs_arrays_add(&v->derived, &out, err, derived, RS_F32, unit, what, 3, "layer", (int64_t)v->n_layers,
                                 "head", (int64_t)v->n_heads, "distance_bucket", (int64_t)b.n));
        }
        reduce_layer(&row, of, axis, b.n, v->n_heads, out->data + (int64_t)l * v->n_heads * b.n);
        rs_array_deinit(&row);
        row = (rs_array){0};
    }
out:
    rs_array_deinit(&row);
    rs_free(axis);
    rs_free(of);
    return st;
}

rs_status rs_view_read_distance(rs_report_view *v, rs_store *s, rs_error *err) {
    rs_status st = RS_OK;
    RS_TRY(reduce(v, s, "attention_pattern/profile", "heads/profile", "1",
                  "mean attention at a distance, mean over the bucket", err));
    RS_TRY(reduce(v, s, "moments/distance_curve", "heads/distance_curve", "1",
                  "mean logit at a distance from the means alone, mean over the bucket", err));
    RS_TRY(reduce(v, s, "angular_spectrum/mean_logit", "heads/mean_logit", "1",
                  "mean logit at a distance, mean over the bucket", err));
out:
    return st;
}
