/* kernels/op.c: what every op expects of its views: one table of arguments, one place of checks for all backends. See
 * op.h. */
#include "kernels/op.h"

#include <string.h>

enum {
    OPTIONAL = 1, /* may be absent */
    WRITTEN = 2,
    IN_PLACE = 4, /* a written view that may be the op's first view itself (equal in every field) */
    DENSE = 8     /* no gaps; otherwise outer strides are free */
};

/* Types an argument may have: a mask of 1u << rs_dtype, or any weight. */
#define TYPE(t) (1U << (t))
enum {
    F32 = TYPE(RS_F32),
    BF16 = TYPE(RS_BF16),
    F64 = TYPE(RS_F64),
    I32 = TYPE(RS_I32),
    I64 = TYPE(RS_I64),
    ANY_WEIGHT = 0
};

typedef struct argument {
    const char *name;
    size_t at; /* of the view within rs_op */
    unsigned types;
    const char
        *shape; /* one character per axis: a digit is that size; a letter is a size, the same wherever it stands */
    const char *other; /* a second shape that will do, or NULL */
    unsigned flags;
} argument;

#define ARG(op, field, types, shape, other, flags)                                                                     \
    { #field, offsetof(rs_op, u.op.field), types, shape, other, flags }
#define F32_ARG(op, field, shape, flags) ARG(op, field, F32, shape, NULL, flags)
#define I32_ARG(op, field, shape, flags) ARG(op, field, I32, shape, NULL, (flags) | DENSE)
#define F64_ARG(op, field, shape, flags) ARG(op, field, F64, shape, NULL, (flags) | DENSE)

static const struct {
    const char *name;
    argument args[RS_OP_ARGUMENTS + 1];
} ops[RS_OP_COUNT] = {
    [RS_OP_WIDEN] = {"widen",
                     {ARG(widen, src, ANY_WEIGHT, "N", NULL, DENSE),
                      ARG(widen, dst, F32 | BF16, "N", NULL, WRITTEN | DENSE),
                      ARG(widen, bad, I64, "1", NULL, WRITTEN | OPTIONAL | DENSE)}},
    [RS_OP_NORM] = {"norm",
                    {F32_ARG(norm, x, "RGW", 0), ARG(norm, y, F32 | BF16, "RGW", NULL, WRITTEN | IN_PLACE),
                     ARG(norm, weight, F32, "W", "GW", OPTIONAL), ARG(norm, bias, F32, "W", "GW", OPTIONAL)}},
    [RS_OP_MATMUL] = {"matmul",
                      {ARG(matmul, x, F32 | BF16, "MK", NULL, 0), ARG(matmul, w, F32 | BF16, "NK", NULL, 0),
                       F32_ARG(matmul, bias, "N", OPTIONAL), F32_ARG(matmul, y, "MN", WRITTEN)}},
    [RS_OP_ADD] = {"add",
                   {ARG(add, x, F32 | F64, "RC", NULL, 0), ARG(add, y, F32 | F64, "RC", NULL, WRITTEN | IN_PLACE)}},
    [RS_OP_GATE] = {"gate",
                    {F32_ARG(gate, gate, "RC", 0), F32_ARG(gate, up, "RC", OPTIONAL),
                     ARG(gate, y, F32 | BF16, "RC", NULL, WRITTEN | IN_PLACE)}},
    [RS_OP_ROPE] = {"rope",
                    {F32_ARG(rope, x, "TJD", 0), F32_ARG(rope, y, "THD", WRITTEN | IN_PLACE),
                     I32_ARG(rope, component_lo, "F", 0), I32_ARG(rope, component_hi, "F", 0),
                     F32_ARG(rope, cos, "VTF", DENSE), F32_ARG(rope, sin, "VTF", DENSE), I32_ARG(rope, variant, "H", 0),
                     I32_ARG(rope, source, "H", 0)}},
    [RS_OP_SCORES] = {"scores",
                      {ARG(scores, q, F32 | BF16, "RHD", NULL, 0), ARG(scores, k, F32 | BF16, "CSD", NULL, 0),
                       I32_ARG(scores, slot, "H", 0), F32_ARG(scores, s, "HRC", WRITTEN)}},
    [RS_OP_MASK] = {"mask", {F32_ARG(mask, s, "HRC", WRITTEN)}},
    [RS_OP_SOFTMAX] = {"softmax",
                       {F32_ARG(softmax, s, "HRC", WRITTEN), F32_ARG(softmax, sinks, "H", OPTIONAL),
                        F32_ARG(softmax, stats, "HR2", WRITTEN | OPTIONAL),
                        ARG(softmax, half, BF16, "HRC", NULL, WRITTEN | OPTIONAL)}},
    [RS_OP_MIX] = {"mix",
                   {ARG(mix, p, F32 | BF16, "HRC", NULL, 0), ARG(mix, v, F32 | BF16, "CKD", NULL, 0),
                    F32_ARG(mix, z, "RHD", WRITTEN)}},
    [RS_OP_ATTEND] = {"attend",
                      {ARG(attend, q, BF16, "THD", NULL, 0), ARG(attend, k, BF16, "TSD", NULL, 0),
                       ARG(attend, v, BF16, "TKE", NULL, 0), I32_ARG(attend, slot, "H", 0),
                       F32_ARG(attend, z, "THE", WRITTEN), F32_ARG(attend, stats, "HT2", WRITTEN)}},
    [RS_OP_CROSS_ENTROPY] = {"cross_entropy",
                             {F32_ARG(cross_entropy, logits, "RV", 0), I32_ARG(cross_entropy, targets, "R", 0),
                              F64_ARG(cross_entropy, state, "R3", WRITTEN)}},
    [RS_OP_PAIR_REDUCE] = {"pair_reduce",
                           {F32_ARG(pair_reduce, x, "THW", 0), I32_ARG(pair_reduce, component_lo, "F", OPTIONAL),
                            I32_ARG(pair_reduce, component_hi, "F", OPTIONAL), I32_ARG(pair_reduce, bucket, "T", 0),
                            F64_ARG(pair_reduce, out, "BHPF", WRITTEN)}},
    [RS_OP_LOGIT_SAMPLE] = {"logit_sample",
                            {F32_ARG(logit_sample, q, "THD", 0), F32_ARG(logit_sample, k, "TKD", 0),
                             I32_ARG(logit_sample, component_lo, "F", 0), I32_ARG(logit_sample, component_hi, "F", 0),
                             F64_ARG(logit_sample, theta, "F", 0), F64_ARG(logit_sample, factor, "F", 0),
                             F64_ARG(logit_sample, q_mean, "H2F", 0), F64_ARG(logit_sample, k_mean, "K2F", 0),
                             I32_ARG(logit_sample, rows, "N", 0), F64_ARG(logit_sample, out, "H5F", WRITTEN),
                             F64_ARG(logit_sample, head_out, "H6", WRITTEN)}},
    [RS_OP_PATTERN_REDUCE] = {"pattern_reduce",
                              {F32_ARG(pattern_reduce, p, "HRC", 0), F32_ARG(pattern_reduce, stats, "HR2", 0),
                               I32_ARG(pattern_reduce, ids, "T", OPTIONAL),
                               F64_ARG(pattern_reduce, sums, "H9", WRITTEN),
                               F64_ARG(pattern_reduce, profile, "HT", WRITTEN | OPTIONAL),
                               F64_ARG(pattern_reduce, map, "HBB", WRITTEN | OPTIONAL)}},
    [RS_OP_ATTEND_REDUCE] = {"attend_reduce",
                             {ARG(attend_reduce, q, BF16, "THD", NULL, 0), ARG(attend_reduce, k, BF16, "TSD", NULL, 0),
                              I32_ARG(attend_reduce, slot, "H", 0), F32_ARG(attend_reduce, stats, "HT2", 0),
                              I32_ARG(attend_reduce, ids, "T", OPTIONAL), F64_ARG(attend_reduce, sums, "H9", WRITTEN),
                              F64_ARG(attend_reduce, profile, "HT", WRITTEN | OPTIONAL),
                              F64_ARG(attend_reduce, map, "HBB", WRITTEN | OPTIONAL)}},
    [RS_OP_PROFILE_REDUCE] = {"profile_reduce",
                              {F64_ARG(profile_reduce, profile, "HT", 0), I32_ARG(profile_reduce, start, "N", 0),
                               F64_ARG(profile_reduce, bins, "HN", WRITTEN),
                               F64_ARG(profile_reduce, distance, "H", WRITTEN),
                               F64_ARG(profile_reduce, toeplitz, "H", WRITTEN)}},
    [RS_OP_PHASE] = {"phase",
                     {F32_ARG(phase, x, "THD", 0), I32_ARG(phase, component_lo, "F", 0),
                      I32_ARG(phase, component_hi, "F", 0), F64_ARG(phase, out, "HFB", WRITTEN)}},
    [RS_OP_SPECTRUM] = {"spectrum",
                        {F32_ARG(spectrum, x, "THD", 0), I32_ARG(spectrum, component_lo, "F", 0),
                         I32_ARG(spectrum, component_hi, "F", 0), F64_ARG(spectrum, power, "HFB", WRITTEN),
                         F64_ARG(spectrum, entropy, "HF2", WRITTEN)}},
    [RS_OP_CORRELATE] = {"correlate",
                         {F32_ARG(correlate, q, "THD", 0), F32_ARG(correlate, k, "TKD", 0),
                          I32_ARG(correlate, component_lo, "F", 0), I32_ARG(correlate, component_hi, "F", 0),
                          F64_ARG(correlate, theta, "F", 0), F64_ARG(correlate, factor, "F", 0),
                          I32_ARG(correlate, start, "N", 0), F64_ARG(correlate, out, "HFN", WRITTEN)}},
    [RS_OP_SPAN_REDUCE] = {"span_reduce",
                           {F32_ARG(span_reduce, p, "HRC", 0), I32_ARG(span_reduce, ids, "T", 0),
                            F64_ARG(span_reduce, out, "H3", WRITTEN)}},
};

_Static_assert(RS_SAMPLES == 5 && RS_HEAD_TERMS == 6 && RS_PATTERN_SUMS == 9 && RS_SPAN_SUMS == 3,
               "the digits in the shapes above");

const char *rs_op_name(rs_op_kind kind) {
    return (unsigned)kind < (unsigned)RS_OP_COUNT ? ops[kind].name : "unknown op";
}

static const rs_view *view_of(const rs_op *op, const argument *a) {
    return (const rs_view *)(const void *)((const char *)op + a->at);
}

int rs_op_arguments(const rs_op *op, rs_op_argument out[RS_OP_ARGUMENTS]) {
    int n = 0;
    for (const argument *a = ops[op->kind].args; a->name; a++) {
        if (!rs_view_present(view_of(op, a))) continue;
        out[n++] = (rs_op_argument){a->name, view_of(op, a), (a->flags & WRITTEN) != 0};
    }
    return n;
}

const char *rs_op_argument_name(rs_op_kind kind, int i) {
    bool known = (unsigned)kind < (unsigned)RS_OP_COUNT && i >= 0 && i < RS_OP_ARGUMENTS && ops[kind].args[i].name;
    return known ? ops[kind].args[i].name : "?";
}

/* ---- one view ---- */

static rs_status refuse(const rs_op *op, const char *name, rs_error *err, const char *what, int64_t found,
                        int64_t expected) {
    return rs_fail(err, RS_E_INTERNAL, "op %s: argument '%s': %s is %lld, expected %lld", rs_op_name(op->kind), name,
                   what, (long long)found, (long long)expected);
}

static rs_status check_type(const rs_op *op, const argument *a, const rs_view *v, rs_error *err) {
    bool known = (unsigned)v->dtype < (unsigned)RS_DTYPE_COUNT;
    bool fits = a->types == ANY_WEIGHT ? rs_dtype_is_weight(v->dtype) : (a->types & (1U << (unsigned)v->dtype)) != 0;
    if (!known || !fits)
        return rs_fail(err, RS_E_INTERNAL, "op %s: argument '%s': type %s is not one that it takes",
                       rs_op_name(op->kind), a->name, rs_dtype_name(v->dtype));
    /* Blocks hold no numbers wider than 16 bits; plain types are read as what they are. */
    int64_t unit = rs_dtype_block(v->dtype) == 1 ? rs_dtype_block_bytes(v->dtype) : 1;
    if (v->offset % (size_t)unit != 0) return refuse(op, a->name, err, "offset modulo element", 1, 0);
    return RS_OK;
}

static void sort_axes(const rs_view *v, int order[4]) {
    for (int i = 0; i < v->n_dims; i++) {
        int j = i;
        for (; j > 0 && v->stride[order[j - 1]] > v->stride[i]; j--) order[j] = order[j - 1];
        order[j] = i;
    }
}

/* Written views must not hold an element twice, dense ones have no gaps, and the last axis is contiguous always. */
static rs_status check_strides(const rs_op *op, const argument *a, const rs_view *v, rs_error *err) {
    int64_t bytes = 0, dense = 1, reach = 1;
    int order[4] = {0}, last = v->n_dims - 1;
    if (!rs_view_extent(v, &bytes))
        return rs_fail(err, RS_E_INTERNAL, "op %s: argument '%s': sizes or strides are senseless or too large",
                       rs_op_name(op->kind), a->name);
    if (v->dim[last] > 1 && v->stride[last] != 1)
        return refuse(op, a->name, err, "stride of the last axis", v->stride[last], 1);
    for (int i = last; i >= 0 && (a->flags & DENSE); dense *= v->dim[i--]) {
        if (v->dim[i] > 1 && v->stride[i] != dense) return refuse(op, a->name, err, "stride", v->stride[i], dense);
    }
    sort_axes(v, order);
    for (int i = 0; i <= last && (a->flags & WRITTEN); i++) {
        int64_t dim = v->dim[order[i]], stride = v->stride[order[i]];
        if (dim == 1) continue;
        if (stride < reach) return refuse(op, a->name, err, "stride (elements written twice; at least)", stride, reach);
        reach = stride * (dim - 1) + reach;
    }
    return RS_OK;
}

/* Sizes bound to letters so far; 0 = not seen. */
typedef struct sizes {
    int64_t of['Z' + 1];
} sizes;

static rs_status check_shape(const rs_op *op, const argument *a, const rs_view *v, sizes *s, rs_error *err) {
    const char *shape = a->other && v->n_dims == (int)strlen(a->other) ? a->other : a->shape;
    if (v->n_dims != (int)strlen(shape))
        return refuse(op, a->name, err, "number of axes", v->n_dims, (int64_t)strlen(shape));
    for (int i = 0; i < v->n_dims; i++) {
        char what[32] = "size of axis 0 ( )";
        bool digit = shape[i] <= '9';
        int64_t *bound = &s->of[(unsigned char)shape[i]], expected = digit ? shape[i] - '0' : *bound;
        what[13] = (char)('0' + i);
        what[16] = shape[i];
        if (v->dim[i] < 1) return refuse(op, a->name, err, what, v->dim[i], 1);
        if (expected != 0 && v->dim[i] != expected) return refuse(op, a->name, err, what, v->dim[i], expected);
        *bound = v->dim[i];
    }
    return RS_OK;
}

static rs_status check_view(const rs_op *op, const argument *a, sizes *s, rs_error *err) {
    rs_status st = RS_OK;
    const rs_view *v = view_of(op, a);
    if (!rs_view_present(v)) {
        if (a->flags & OPTIONAL) return RS_OK;
        return rs_fail(err, RS_E_INTERNAL, "op %s: argument '%s' is absent", rs_op_name(op->kind), a->name);
    }
    RS_TRY(check_type(op, a, v, err));
    RS_TRY(check_shape(op, a, v, s, err));
    RS_TRY(check_strides(op, a, v, err));
out:
    return st;
}

/* A written view shares no element with another one, except where it may be the op's first view. */
static rs_status check_alias(const rs_op *op, rs_error *err) {
    const argument *args = ops[op->kind].args;
    for (const argument *w = args; w->name; w++) {
        for (const argument *a = args; a->name && (w->flags & WRITTEN); a++) {
            const rs_view *vw = view_of(op, w), *va = view_of(op, a);
            if (a == w || !rs_view_overlap(vw, va)) continue;
            if ((w->flags & IN_PLACE) && a == args && rs_view_equal(vw, va)) continue;
            return rs_fail(err, RS_E_INTERNAL, "op %s: argument '%s' is written and shares memory with '%s'",
                           rs_op_name(op->kind), w->name, a->name);
        }
    }
    return RS_OK;
}

/* ---- what letters cannot say ---- */

static rs_status expect(const rs_op *op, bool ok, const char *what, rs_error *err) {
    return ok ? RS_OK : rs_fail(err, RS_E_INTERNAL, "op %s: %s", rs_op_name(op->kind), what);
}

/* Of a product of two inputs; halves: what to say where one is in bfloat16 and the product is not. */
static rs_status check_compute(const rs_op *op, rs_compute compute, const rs_view *a, const rs_view *b,
                               const char *halves, rs_error *err) {
    if ((a->dtype == RS_BF16 || b->dtype == RS_BF16) && compute != RS_COMPUTE_BF16)
        return expect(op, false, halves, err);
    return expect(op, (unsigned)compute <= (unsigned)RS_COMPUTE_BF16, "unknown arithmetic", err);
}

static rs_status check_tile(const rs_op *op, int64_t row0, int64_t col0, int64_t window, rs_error *err) {
    return expect(op, row0 >= 0 && col0 >= 0 && col0 <= row0 && window >= 0 && row0 <= INT64_MAX / 4,
                  "tile positions must satisfy 0 <= col0 <= row0 and window >= 0", err);
}

static rs_status check_pair_reduce(const rs_op *op, const sizes *s, rs_error *err) {
    rs_status st = RS_OK;
    const rs_op_pair_reduce *p = &op->u.pair_reduce;
    int64_t count = 0;
    for (uint32_t m = p->features; m; m &= m - 1) count++;
    RS_TRY(expect(op, p->features != 0 && p->features < 1U << RS_PAIR_FEATURES, "no feature, or one that is not known",
                  err));
    RS_TRY(expect(op, count == s->of['P'], "axis 2 of 'out' must have one entry per feature", err));
    RS_TRY(expect(op, s->of['W'] == 2 * s->of['F'], "the width of 'x' must be twice the number of pairs", err));
    RS_TRY(expect(op, rs_view_present(&p->component_lo) == rs_view_present(&p->component_hi),
                  "'component_lo' and 'component_hi' must both be there or both be absent", err));
out:
    return st;
}

static rs_status check_pattern_reduce(const rs_op *op, const sizes *s, rs_error *err) {
    rs_status st = RS_OK;
    const rs_op_pattern_reduce *p = &op->u.pattern_reduce;
    RS_TRY(check_tile(op, p->row0, p->col0, p->window, err));
    RS_TRY(expect(op, s->of['T'] == 0 || s->of['T'] == p->positions,
                  "'ids' and 'profile' must have an entry per position", err));
    RS_TRY(expect(op, p->positions >= p->row0 + s->of['R'] && p->col0 + s->of['C'] <= p->positions,
                  "the tile reaches past the last position", err));
    RS_TRY(
        expect(op, p->col0 + s->of['C'] >= p->row0 + s->of['R'], "the tile must reach its last row's position", err));
out:
    return st;
}

bool rs_attend_takes(int64_t head_dim, int64_t v_dim) {
    return head_dim > 0 && head_dim <= RS_ATTEND_WIDTH && head_dim % RS_ATTEND_STEP == 0 && v_dim > 0 &&
           v_dim <= RS_ATTEND_WIDTH && v_dim % RS_ATTEND_STEP == 0;
}

/* Are rows of the view read 16 bytes at a time? */
static bool in_steps(const rs_view *v) {
    bool fits = v->offset % (RS_ATTEND_STEP * sizeof(uint16_t)) == 0;
    for (int i = 0; i < 2; i++) fits = fits && (v->dim[i] == 1 || v->stride[i] % RS_ATTEND_STEP == 0);
    return fits;
}

static rs_status check_attend(const rs_op *op, const sizes *s, const rs_view *const inputs[3], int64_t v_dim,
                              int64_t window, rs_error *err) {
    rs_status st = RS_OK;
    RS_TRY(expect(op, rs_attend_takes(s->of['D'], v_dim), "heads are wider than 128, or no multiple of 8", err));
    for (int i = 0; i < 3 && inputs[i]; i++)
        RS_TRY(expect(op, in_steps(inputs[i]), "rows of queries, keys and values must begin at a multiple of 16 bytes",
                      err));
    RS_TRY(expect(op, window >= 0, "window must not be negative", err));
    RS_TRY(expect(op, s->of['T'] <= 1 << 28, "too many rows", err));
out:
    return st;
}

static rs_status check_logit_sample(const rs_op *op, const sizes *s, rs_error *err) {
    rs_status st = RS_OK;
    RS_TRY(expect(op, s->of['D'] == 2 * s->of['F'], "the head width must be twice the number of pairs", err));
    RS_TRY(expect(op, s->of['H'] % s->of['K'] == 0, "the heads must be a multiple of the key heads", err));
    RS_TRY(expect(op, op->u.logit_sample.window >= 0, "window must not be negative", err));
out:
    return st;
}

/* Transforms have lengths of type int. */
static rs_status check_signal(const rs_op *op, const sizes *s, int64_t first, int64_t least, rs_error *err) {
    rs_status st = RS_OK;
    RS_TRY(expect(op, s->of['D'] == 2 * s->of['F'], "the head width must be twice the number of pairs", err));
    RS_TRY(expect(op, first >= 0 && first <= s->of['T'] && s->of['T'] - first >= least, "too few rows", err));
    RS_TRY(expect(op, s->of['T'] <= 1 << 28, "too many rows", err));
out:
    return st;
}

static rs_status check_spectrum(const rs_op *op, const sizes *s, rs_error *err) {
    rs_status st = RS_OK;
    const rs_op_spectrum *o = &op->u.spectrum;
    int64_t bins = o->power.dim[2];
    RS_TRY(check_signal(op, s, o->first, 4, err));
    RS_TRY(expect(op, bins >= 2 && 2 * (bins - 1) <= s->of['T'] - o->first, "frames are longer than the signal", err));
out:
    return st;
}

static rs_status check_correlate(const rs_op *op, const sizes *s, rs_error *err) {
    rs_status st = RS_OK;
    const rs_op_correlate *o = &op->u.correlate;
    RS_TRY(check_signal(op, s, o->first, 1, err));
    RS_TRY(expect(op, s->of['H'] % s->of['K'] == 0, "the heads must be a multiple of the key heads", err));
    RS_TRY(expect(op, o->window >= 0, "window must not be negative", err));
out:
    return st;
}

static rs_status check_span_reduce(const rs_op *op, const sizes *s, rs_error *err) {
    rs_status st = RS_OK;
    const rs_op_span_reduce *o = &op->u.span_reduce;
    const rs_task_spans *x = &o->spans;
    int64_t T = s->of['T'];
    RS_TRY(check_tile(op, o->row0, o->col0, 0, err));
    RS_TRY(expect(op, T >= o->row0 + s->of['R'] && o->col0 + s->of['C'] <= T, "the tile reaches past the last position",
                  err));
    RS_TRY(
        expect(op, o->col0 + s->of['C'] >= o->row0 + s->of['R'], "the tile must reach its last row's position", err));
    RS_TRY(expect(op, x->context.first >= 0 && x->context.first < x->context.end && x->context.end <= x->question.first,
                  "the context must stand in front of the question", err));
    RS_TRY(expect(op, x->gold.first >= x->context.first && x->gold.first < x->gold.end && x->gold.end <= x->context.end,
                  "the gold span must lie in the context", err));
    RS_TRY(expect(op,
                  x->question.first < x->question.end && x->question.end == x->answer.first &&
                      x->answer.first < x->answer.end && x->answer.end <= T,
                  "the answer must follow the question and end with the sequence", err));
out:
    return st;
}

static rs_status check_rest(const rs_op *op, const sizes *s, rs_error *err) {
    switch (op->kind) {
    case RS_OP_NORM:
        return expect(op, op->u.norm.kind == RS_NORM_RMS || op->u.norm.kind == RS_NORM_LAYER, "kind is no norm", err);
    case RS_OP_ADD: return expect(op, op->u.add.x.dtype == op->u.add.y.dtype, "'x' and 'y' must be of one type", err);
    case RS_OP_PROFILE_REDUCE: return expect(op, op->u.profile_reduce.window >= 0, "window must not be negative", err);
    case RS_OP_GATE: return expect(op, (unsigned)op->u.gate.act <= (unsigned)RS_ACT_RELU2, "unknown activation", err);
    case RS_OP_ROPE:
        return expect(op, s->of['D'] == 2 * s->of['F'], "the head width must be twice the number of pairs", err);
    case RS_OP_MATMUL:
        return check_compute(op, op->u.matmul.compute, &op->u.matmul.x, &op->u.matmul.w,
                             "'x' or 'w' in bfloat16 is for products in bfloat16", err);
    case RS_OP_SCORES:
        if (check_compute(op, op->u.scores.compute, &op->u.scores.q, &op->u.scores.k,
                          "'q' or 'k' in bfloat16 is for products in bfloat16", err) != RS_OK)
            return RS_E_INTERNAL;
        return check_tile(op, op->u.scores.row0, op->u.scores.col0, 0, err);
    case RS_OP_MASK: return check_tile(op, op->u.mask.row0, op->u.mask.col0, op->u.mask.window, err);
    case RS_OP_SOFTMAX:
        if (op->u.softmax.half_only && !rs_view_present(&op->u.softmax.half))
            return expect(op, false, "'half' alone is wanted, and it is absent", err);
        return check_tile(op, op->u.softmax.row0, op->u.softmax.col0, op->u.softmax.window, err);
    case RS_OP_MIX:
        if (s->of['H'] % s->of['K'] != 0)
            return expect(op, false, "the heads must be a multiple of the value heads", err);
        if (check_compute(op, op->u.mix.compute, &op->u.mix.p, &op->u.mix.v,
                          "'p' or 'v' in bfloat16 is for products in bfloat16", err) != RS_OK)
            return RS_E_INTERNAL;
        return check_tile(op, op->u.mix.row0, op->u.mix.col0, 0, err);
    case RS_OP_ATTEND:
        if (s->of['H'] % s->of['K'] != 0)
            return expect(op, false, "the heads must be a multiple of the value heads", err);
        return check_attend(op, s, (const rs_view *const[]){&op->u.attend.q, &op->u.attend.k, &op->u.attend.v},
                            s->of['E'], op->u.attend.window, err);
    case RS_OP_ATTEND_REDUCE:
        return check_attend(op, s, (const rs_view *const[]){&op->u.attend_reduce.q, &op->u.attend_reduce.k, NULL},
                            RS_ATTEND_STEP, op->u.attend_reduce.window, err);
    case RS_OP_CROSS_ENTROPY: return expect(op, op->u.cross_entropy.v0 >= 0, "v0 must not be negative", err);
    case RS_OP_PAIR_REDUCE: return check_pair_reduce(op, s, err);
    case RS_OP_LOGIT_SAMPLE: return check_logit_sample(op, s, err);
    case RS_OP_PATTERN_REDUCE: return check_pattern_reduce(op, s, err);
    case RS_OP_PHASE:
        if (s->of['B'] != RS_PHASE_BINS) return expect(op, false, "axis 2 of 'out' must be RS_PHASE_BINS", err);
        return check_signal(op, s, op->u.phase.first, 0, err);
    case RS_OP_SPECTRUM: return check_spectrum(op, s, err);
    case RS_OP_CORRELATE: return check_correlate(op, s, err);
    case RS_OP_SPAN_REDUCE: return check_span_reduce(op, s, err);
    case RS_OP_WIDEN:
    case RS_OP_COUNT: break;
    }
    return RS_OK;
}

rs_status rs_op_check(const rs_op *op, rs_error *err) {
    rs_status st = RS_OK;
    sizes s = {0};
    if ((unsigned)op->kind >= (unsigned)RS_OP_COUNT)
        return rs_fail(err, RS_E_INTERNAL, "op %d does not exist", (int)op->kind);
    for (const argument *a = ops[op->kind].args; a->name; a++) RS_TRY(check_view(op, a, &s, err));
    RS_TRY(check_rest(op, &s, err));
    RS_TRY(check_alias(op, err));
out:
    return st;
}
