#include "reports/rank.h"

#include "analyzer/base/alloc.h"

#include <math.h>
#include <stdlib.h>

typedef struct place {
    double value;
    int64_t at;
} place;

static int by_value(const void *a, const void *b) {
    double x = ((const place *)a)->value, y = ((const place *)b)->value;
    return (x > y) - (x < y);
}

/* Ranks of x less their mean, into rank [n]; order [n] is room. */
static void ranks(const double *x, int64_t n, place *order, double *rank) {
    for (int64_t i = 0; i < n; i++) order[i] = (place){x[i], i};
    qsort(order, (size_t)n, sizeof *order, by_value);
    for (int64_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && !(order[end].value > order[i].value);) end++;
        for (int64_t k = i; k < end; k++) rank[order[k].at] = 0.5 * (double)(i + end - 1) - 0.5 * (double)(n - 1);
    }
}

rs_status rs_rank_correlation(const double *x, const double *y, int64_t n, double *out, rs_error *err) {
    rs_status st = RS_OK;
    place *order = NULL;
    double *a = NULL, *b = NULL, ab = 0.0, aa = 0.0, bb = 0.0;
    *out = NAN;
    RS_TRY(RS_NEW(&order, (size_t)n + 1, err));
    RS_TRY(RS_NEW(&a, (size_t)n + 1, err));
    RS_TRY(RS_NEW(&b, (size_t)n + 1, err));
    ranks(x, n, order, a);
    ranks(y, n, order, b);
    for (int64_t i = 0; i < n; i++) ab += a[i] * b[i], aa += a[i] * a[i], bb += b[i] * b[i];
    if (aa > 0.0 && bb > 0.0) *out = ab / sqrt(aa * bb);
out:
    rs_free(order);
    rs_free(a);
    rs_free(b);
    return st;
}
