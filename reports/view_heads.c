/* What the page draws of every single head and the run does not hold as such: heads/two_norm_share [layer, head, pair],
 * heads/q_angle [layer, head, pair], heads/k_angle [layer, kv_head, pair] and heads/pattern [layer, head, map_row,
 * map_column]. */
#include "reports/view.h"

#include <math.h>
#include <string.h>

bool rs_view_halved(const rs_report_view *v, int64_t numbers) {
    return v->n_head_rows * numbers > RS_VIEW_HEAD_NUMBERS;
}

static rs_status derive_two_norm_share(rs_report_view *v, rs_error *err) {
    const rs_array *two = rs_view_array(v, "frequency_norm/two_norm");
    rs_array *a = NULL;
    if (two == NULL || two->n_dims != 3) return RS_OK;
    rs_status st = rs_arrays_add(&v->derived, &a, err, "heads/two_norm_share", RS_F32, "1",
                                 "E|q_i| E|k_i| over its sum over pairs", 3, "layer", two->dims[0], "head",
                                 two->dims[1], "pair", two->dims[2]);
    if (st != RS_OK) return st;
    int64_t pairs = two->dims[2];
    for (int64_t row = 0; row < two->dims[0] * two->dims[1]; row++) {
        double sum = 0.0;
        for (int64_t p = 0; p < pairs; p++)
            sum += isfinite(two->data[row * pairs + p]) ? two->data[row * pairs + p] : 0.0;
        for (int64_t p = 0; p < pairs && sum > 0.0; p++) a->data[row * pairs + p] = two->data[row * pairs + p] / sum;
    }
    return RS_OK;
}

static rs_status derive_angle(rs_report_view *v, const char *re, const char *im, const char *name, const char *head,
                              rs_error *err) {
    const rs_array *x = rs_view_array(v, re), *y = rs_view_array(v, im);
    const double steps = 250.0;
    rs_array *a = NULL;
    if (x == NULL || y == NULL || x->n_dims != 3 || rs_array_size(x) != rs_array_size(y)) return RS_OK;
    rs_status st = rs_arrays_add(&v->derived, &a, err, name, RS_F32, "1/250 turn",
                                 "direction of the mean vector of the pair before rotation, from -pi on", 3, "layer",
                                 x->dims[0], head, x->dims[1], "pair", x->dims[2]);
    for (int64_t i = 0; st == RS_OK && i < rs_array_size(x); i++) {
        double angle = atan2(y->data[i], x->data[i]), turns = angle / 6.283185307179586 + 0.5;
        bool points = x->data[i] != 0.0 || y->data[i] != 0.0;
        if (points && isfinite(turns)) a->data[i] = fmod(nearbyint(steps * turns), steps);
    }
    return st;
}

/* Rows of the block: positions t with t * blocks / context = block (whole division). */
static double block_rows(int64_t context, int64_t blocks, int64_t block) {
    int64_t from = (block * context + blocks - 1) / blocks, to = ((block + 1) * context + blocks - 1) / blocks;
    return (double)(to - from);
}

/* Mean attention of the rows of two neighbouring row blocks to two neighbouring column blocks: the columns add up, the
 * rows are a mean. in: [blocks, blocks]; out: [blocks / 2, blocks / 2]. */
static void halve_pattern(const double *in, int64_t blocks, int64_t context, double *out) {
    for (int64_t r = 0; r < blocks / 2; r++)
        for (int64_t c = 0; c < blocks / 2; c++) {
            double sum = 0.0, rows = 0.0;
            for (int64_t i = 2 * r; i < 2 * r + 2; i++) {
                double n = block_rows(context, blocks, i), x = in[i * blocks + 2 * c], y = in[i * blocks + 2 * c + 1];
                if (!isfinite(x) || !isfinite(y)) continue;
                sum += n * (x + y);
                rows += n;
            }
            if (rows > 0.0) out[r * (blocks / 2) + c] = sum / rows;
        }
}

static rs_status derive_pattern(rs_report_view *v, rs_error *err) {
    const rs_array *x = rs_view_array(v, "attention_pattern/map");
    rs_array *a = NULL;
    if (x == NULL || x->n_dims != 4 || x->dims[2] != x->dims[3]) return RS_OK;
    int64_t B = x->dims[2], heads = x->dims[0] * x->dims[1];
    bool halved = B % 2 == 0 && rs_view_halved(v, B * (B + 1) / 2);
    int64_t n = halved ? B / 2 : B;
    rs_status st = rs_arrays_add(&v->derived, &a, err, "heads/pattern", RS_F32, "1",
                                 "mean attention of the rows of a block to all columns of a block", 4, "layer",
                                 x->dims[0], "head", x->dims[1], "map_row", n, "map_column", n);
    for (int64_t h = 0; st == RS_OK && h < heads; h++) {
        if (halved) halve_pattern(x->data + h * B * B, B, v->context, a->data + h * n * n);
        else memcpy(a->data + h * n * n, x->data + h * B * B, (size_t)(n * n) * sizeof *a->data);
    }
    return st;
}

rs_status rs_view_head_pictures(rs_report_view *v, rs_error *err) {
    rs_status st = RS_OK;
    RS_TRY(derive_two_norm_share(v, err));
    RS_TRY(derive_angle(v, "moments/q_mean_re", "moments/q_mean_im", "heads/q_angle", "head", err));
    RS_TRY(derive_angle(v, "moments/k_mean_re", "moments/k_mean_im", "heads/k_angle", "kv_head", err));
    RS_TRY(derive_pattern(v, err));
out:
    return st;
}
