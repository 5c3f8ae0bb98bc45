/* kernels/cpu/cpu_spans.c: SPAN_REDUCE. Rows of question and answer are few in most tasks; plain loops will do. */
#include "kernels/cpu/cpu_device.h"

typedef struct span_job {
    const rs_op_span_reduce *o;
    const int32_t *ids; /* [T] */
    int64_t cols;
    double row, token; /* what a row of question and answer, a token of the answer counts as */
} span_job;

static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* Sum of a row over the positions of a span without position 0. */
static double mass(const span_job *j, const float *row, rs_span s) {
    double sum = 0;
    for (int64_t c = most(most(s.first, 1) - j->o->col0, 0); c < least(s.end - j->o->col0, j->cols); c++) {
        sum += (double)row[c];
    }
    return sum;
}

/* Position of the strongest column but 0 that the row at position t has; -1 when all are 0. */
static int64_t strongest(const span_job *j, const float *row, int64_t t) {
    int64_t first = j->o->col0 == 0, end = least(t + 1 - j->o->col0, j->cols);
    float top = 0;
#pragma omp simd reduction(max : top)
    for (int64_t c = first; c < end; c++) top = row[c] > top ? row[c] : top;
    for (int64_t c = first; top > 0 && c < end; c++) {
        if (row[c] >= top) return j->o->col0 + c;
    }
    return -1;
}

static void add_row(const span_job *j, const float *row, int64_t t, double *out) {
    const rs_task_spans *s = &j->o->spans;
    if (t >= s->question.first && t < s->answer.end) {
        out[RS_SPAN_CONTEXT] += j->row * mass(j, row, s->context);
        out[RS_SPAN_GOLD] += j->row * mass(j, row, s->gold);
    }
    if (t + 1 >= s->answer.first && t + 1 < s->answer.end) {
        int64_t c = strongest(j, row, t);
        out[RS_SPAN_COPY] += c >= s->gold.first && c < s->gold.end && j->ids[c] == j->ids[t + 1] ? j->token : 0;
    }
}

rs_status rs_cpu_span_reduce(rs_device *d, const rs_op *op, rs_error *err) {
    (void)err;
    const rs_op_span_reduce *o = &op->u.span_reduce;
    const float *p = rs_cpu_data(&o->p);
    const rs_task_spans *s = &o->spans;
    double *out = rs_cpu_data(&o->out);
    int64_t H = o->p.dim[0], R = o->p.dim[1];
    span_job j = {.o = o,
                  .ids = rs_cpu_data(&o->ids),
                  .cols = o->p.dim[2],
                  .row = 1.0 / (double)(s->answer.end - s->question.first),
                  .token = 1.0 / (double)(s->answer.end - s->answer.first)};
    /* The question is not empty: the row in front of the answer is one of its rows. */
    int64_t first = most(s->question.first - o->row0, 0), end = least(s->answer.end - o->row0, R);
    if (first >= end) return RS_OK;
#pragma omp parallel for schedule(static) num_threads(rs_cpu_threads(d, H *(end - first) * j.cols))
    for (int64_t h = 0; h < H; h++) {
        for (int64_t r = first; r < end; r++) {
            add_row(&j, p + h * o->p.stride[0] + r * o->p.stride[1], o->row0 + r, out + h * RS_SPAN_SUMS);
        }
    }
    return RS_OK;
}
