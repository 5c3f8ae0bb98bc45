/* kernels/cpu/cpu_elementwise.c: ops that go row by row: widen, norm, add, gate, rope, mask, softmax, cross entropy. */
#include "kernels/cpu/cpu_device.h"

#include <math.h>
#include <omp.h>
#include <string.h>

/* Elements that one unit of WIDEN or ADD handles: a multiple of every block. */
enum { PART = 16384 };

rs_status rs_cpu_widen(rs_device *d, const rs_op *op, rs_error *err) {
    (void)err;
    const rs_op_widen *o = &op->u.widen;
    const rs_cpu_hot *hot = d->hot;
    const char *src = rs_cpu_data(&o->src);
    float *dst = o->dst.dtype == RS_F32 ? rs_cpu_data(&o->dst) : NULL;
    uint16_t *rounded = dst ? NULL : rs_cpu_data(&o->dst);
    int64_t n = o->dst.dim[0], worst = INT64_MAX, *bad = rs_cpu_data(&o->bad);
    int64_t part_bytes = PART / rs_dtype_block(o->src.dtype) * rs_dtype_block_bytes(o->src.dtype);
#pragma omp parallel for schedule(static) num_threads(rs_cpu_threads(d, n)) reduction(min : worst)
    for (int64_t at = 0; at < n; at += PART) {
        int64_t count = n - at < PART ? n - at : PART;
        float part[PART], *to = dst ? dst + at : part;
        hot->widen(o->src.dtype, src + at / PART * part_bytes, to, count);
        int64_t first = bad ? hot->first_bad(to, count) : count;
        if (rounded) rs_cpu_to_bf16(to, rounded + at, count);
        if (first < count && at + first < worst) worst = at + first;
    }
    if (bad && worst < *bad) *bad = worst;
    return RS_OK;
}

rs_status rs_cpu_norm(rs_device *d, const rs_op *op, rs_error *err) {
    rs_status st = RS_OK;
    const rs_op_norm *o = &op->u.norm;
    const float *x = rs_cpu_data(&o->x), *w = rs_cpu_data(&o->weight), *b = rs_cpu_data(&o->bias);
    void *y = rs_cpu_data(&o->y), *work = NULL;
    bool half = o->y.dtype == RS_BF16;
    int64_t rows = o->x.dim[0], groups = o->x.dim[1], n = o->x.dim[2];
    int64_t w_step = o->weight.n_dims == 2 ? o->weight.stride[0] : 0,
            b_step = o->bias.n_dims == 2 ? o->bias.stride[0] : 0;
    if (half) RS_TRY(rs_cpu_scratch_get(d, RS_CPU_ROUNDED, (size_t)(d->threads * n) * sizeof(float), &work, err));
#pragma omp parallel for schedule(static) num_threads(rs_cpu_threads(d, rows *groups *n))
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t g = 0; g < groups; g++) {
            int64_t at = r * o->y.stride[0] + g * o->y.stride[1];
            float *to = half ? (float *)work + omp_get_thread_num() * n : (float *)y + at;
            d->hot->norm(o->kind, x + r * o->x.stride[0] + g * o->x.stride[1], to, w ? w + g * w_step : NULL,
                         b ? b + g * b_step : NULL, o->add, o->eps, n);
            if (half) rs_cpu_to_bf16(to, (uint16_t *)y + at, n);
        }
    }
out:
    return st;
}

/* Sums of probes: few numbers. */
static void add_doubles(const rs_op_add *o) {
    const double *x = rs_cpu_data(&o->x);
    double *y = rs_cpu_data(&o->y);
    for (int64_t r = 0; r < o->x.dim[0]; r++) {
        const double *from = x + r * o->x.stride[0];
        double *to = y + r * o->y.stride[0];
        for (int64_t c = 0; c < o->x.dim[1]; c++) to[c] = o->a * from[c] + (o->b == 0 ? 0 : o->b * to[c]);
    }
}

rs_status rs_cpu_add(rs_device *d, const rs_op *op, rs_error *err) {
    (void)err;
    const rs_op_add *o = &op->u.add;
    if (o->x.dtype == RS_F64) {
        add_doubles(o);
        return RS_OK;
    }
    const float *x = rs_cpu_data(&o->x);
    float *y = rs_cpu_data(&o->y);
    int64_t rows = o->x.dim[0], cols = o->x.dim[1];
#pragma omp parallel for schedule(static) num_threads(rs_cpu_threads(d, rows *cols))
    for (int64_t r = 0; r < rows; r++)
        d->hot->add(x + r * o->x.stride[0], y + r * o->y.stride[0], (float)o->a, (float)o->b, cols);
    return RS_OK;
}

/* One row into bfloat16, a stretch at a time. */
static void gate_to_bf16(const rs_cpu_hot *hot, rs_activation act, const float *gate, const float *up, uint16_t *y,
                         int64_t n) {
    enum { STRETCH = 1024 };
    float part[STRETCH];
    for (int64_t at = 0; at < n; at += STRETCH) {
        int64_t count = n - at < STRETCH ? n - at : STRETCH;
        hot->gate(act, gate + at, up ? up + at : NULL, part, count);
        rs_cpu_to_bf16(part, y + at, count);
    }
}

rs_status rs_cpu_gate(rs_device *d, const rs_op *op, rs_error *err) {
    (void)err;
    const rs_op_gate *o = &op->u.gate;
    const float *gate = rs_cpu_data(&o->gate), *up = rs_cpu_data(&o->up);
    void *y = rs_cpu_data(&o->y);
    int64_t rows = o->gate.dim[0], cols = o->gate.dim[1];
#pragma omp parallel for schedule(static) num_threads(rs_cpu_threads(d, rows *cols))
    for (int64_t r = 0; r < rows; r++) {
        const float *g = gate + r * o->gate.stride[0], *u = up ? up + r * o->up.stride[0] : NULL;
        int64_t at = r * o->y.stride[0];
        if (o->y.dtype == RS_BF16) gate_to_bf16(d->hot, o->act, g, u, (uint16_t *)y + at, cols);
        else d->hot->gate(o->act, g, u, (float *)y + at, cols);
    }
    return RS_OK;
}

rs_status rs_cpu_rope(rs_device *d, const rs_op *op, rs_error *err) {
    rs_status st = RS_OK;
    const rs_op_rope *o = &op->u.rope;
    const float *x = rs_cpu_data(&o->x), *cosine = rs_cpu_data(&o->cos), *sine = rs_cpu_data(&o->sin);
    const int32_t *lo = rs_cpu_data(&o->component_lo), *hi = rs_cpu_data(&o->component_hi);
    const int32_t *variant = rs_cpu_data(&o->variant), *source = rs_cpu_data(&o->source);
    float *y = rs_cpu_data(&o->y);
    int64_t T = o->y.dim[0], H = o->y.dim[1], F = o->component_lo.dim[0];
    RS_TRY(rs_cpu_check_index("rope", "component_lo", lo, F, 0, 2 * F, err));
    RS_TRY(rs_cpu_check_index("rope", "component_hi", hi, F, 0, 2 * F, err));
    RS_TRY(rs_cpu_check_index("rope", "variant", variant, H, 0, o->cos.dim[0], err));
    RS_TRY(rs_cpu_check_index("rope", "source", source, H, 0, o->x.dim[1], err));
    for (int32_t h = 0; h < H && x == y; h++) {
        if (source[h] != h)
            return rs_fail(err, RS_E_INTERNAL, "op rope: in place, but head %d comes from head %d", (int)h,
                           (int)source[h]);
    }
#pragma omp parallel for schedule(static) num_threads(rs_cpu_threads(d, T *H *F))
    for (int64_t t = 0; t < T; t++) {
        for (int64_t h = 0; h < H; h++) {
            int64_t row = (variant[h] * T + t) * F;
            d->hot->rope(x + t * o->x.stride[0] + source[h] * o->x.stride[1],
                         y + t * o->y.stride[0] + h * o->y.stride[1], cosine + row, sine + row, lo, hi, F);
        }
    }
out:
    return st;
}

/* Visible columns [*first, *end) of the tile for the row at position t; empty when the row sees none of them. */
static void visible(int64_t t, int64_t col0, int64_t cols, int64_t window, int64_t *first, int64_t *end) {
    int64_t least = window > 0 && t - window + 1 > col0 ? t - window + 1 - col0 : 0, most = t + 1 - col0;
    *end = most < 0 ? 0 : most > cols ? cols : most;
    *first = least < *end ? least : *end;
}

rs_status rs_cpu_mask(rs_device *d, const rs_op *op, rs_error *err) {
    (void)err;
    const rs_op_mask *o = &op->u.mask;
    float *s = rs_cpu_data(&o->s);
    int64_t H = o->s.dim[0], R = o->s.dim[1], C = o->s.dim[2];
#pragma omp parallel for schedule(static) num_threads(rs_cpu_threads(d, H *R *C))
    for (int64_t i = 0; i < H * R; i++) {
        float *row = s + i / R * o->s.stride[0] + i % R * o->s.stride[1];
        int64_t first = 0, end = 0;
        visible(o->row0 + i % R, o->col0, C, o->window, &first, &end);
        for (int64_t c = 0; c < first; c++) row[c] = -INFINITY;
        for (int64_t c = end; c < C; c++) row[c] = -INFINITY;
        if (o->softcap > 0) d->hot->soft_cap(row + first, end - first, o->softcap);
    }
    return RS_OK;
}

static void softmax_row(const rs_device *d, const rs_op_softmax *o, float *row, int64_t position, const float *sink,
                        float *stats) {
    int64_t first = 0, end = 0, C = o->s.dim[2];
    visible(position, o->col0, C, o->window, &first, &end);
    if (first < end) d->hot->softmax(row + first, end - first, o->softcap, sink, stats);
    if (first == end && stats) {
        stats[0] = sink ? *sink : -INFINITY;
        stats[1] = 0.0F;
    }
    memset(row, 0, (size_t)first * sizeof *row);
    memset(row + end, 0, (size_t)(C - end) * sizeof *row);
}

rs_status rs_cpu_softmax(rs_device *d, const rs_op *op, rs_error *err) {
    (void)err;
    const rs_op_softmax *o = &op->u.softmax;
    const float *sinks = rs_cpu_data(&o->sinks);
    float *s = rs_cpu_data(&o->s), *stats = rs_cpu_data(&o->stats);
    uint16_t *half = rs_cpu_data(&o->half);
    int64_t H = o->s.dim[0], R = o->s.dim[1], C = o->s.dim[2];
    /* Rows of a tile differ in length by little, except in the first tile. */
#pragma omp parallel for schedule(static) num_threads(rs_cpu_threads(d, H *R *C))
    for (int64_t i = 0; i < H * R; i++) {
        int64_t h = i / R, r = i % R;
        softmax_row(d, o, s + h * o->s.stride[0] + r * o->s.stride[1], o->row0 + r, sinks ? sinks + h : NULL,
                    stats ? stats + h * o->stats.stride[0] + r * o->stats.stride[1] : NULL);
        if (half)
            rs_cpu_to_bf16(s + h * o->s.stride[0] + r * o->s.stride[1],
                           half + h * o->half.stride[0] + r * o->half.stride[1], C);
    }
    return RS_OK;
}

rs_status rs_cpu_cross_entropy(rs_device *d, const rs_op *op, rs_error *err) {
    (void)err;
    const rs_op_cross_entropy *o = &op->u.cross_entropy;
    const float *x = rs_cpu_data(&o->logits);
    const int32_t *targets = rs_cpu_data(&o->targets);
    double *state = rs_cpu_data(&o->state);
    int64_t rows = o->logits.dim[0], V = o->logits.dim[1];
#pragma omp parallel for schedule(static) num_threads(rs_cpu_threads(d, rows *V))
    for (int64_t r = 0; r < rows; r++) {
        const float *row = x + r * o->logits.stride[0];
        int64_t at = targets[r] - o->v0;
        d->hot->log_sum(row, V, o->scale, o->softcap, state + 3 * r);
        if (targets[r] < 0 || at < 0 || at >= V) continue;
        float logit = row[at] * o->scale;
        if (o->softcap > 0) d->hot->soft_cap(&logit, 1, o->softcap);
        state[3 * r + 2] = (double)logit;
    }
    return RS_OK;
}
