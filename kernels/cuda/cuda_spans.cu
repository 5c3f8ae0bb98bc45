/* kernels/cuda/cuda_spans.cu: SPAN_REDUCE. A block takes a row; the rows of a head are then added up in their order, so
 * that two runs give the same bytes. */
#include "kernels/cuda/cuda_device.h"

namespace {

struct span_args {
    const float *p;
    const int32_t *ids;                 /* [T] */
    double *rows, *out;                 /* [H, n, RS_SPAN_SUMS], [H, RS_SPAN_SUMS] */
    int64_t head, row;                  /* strides of p */
    int64_t H, C, row0, col0, first, n; /* n rows of the tile from `first` on */
    rs_task_spans spans;
    double row_weight, token_weight;
};

struct lower {
    __device__ double operator()(double a, double b) const { return fmin(a, b); }
};

/* Sum of a row over the positions of a span without position 0, by all threads of the block. */
__device__ __forceinline__ double mass(const span_args &a, const float *row, rs_span s) {
    int64_t first = (s.first > 1 ? s.first : 1) - a.col0, end = s.end - a.col0;
    double sum = 0;
    end = end < a.C ? end : a.C;
    for (int64_t c = (first > 0 ? first : 0) + threadIdx.x; c < end; c += blockDim.x) sum += (double)row[c];
    return rs_cuda_block_sum(sum);
}

/* Position of the strongest column but 0 of the row at position t, the first of equals; -1 when all are 0. */
__device__ __forceinline__ int64_t strongest(const span_args &a, const float *row, int64_t t) {
    const double NONE = 1e18;
    int64_t first = a.col0 == 0 ? 1 : 0, end = t + 1 - a.col0;
    float top = 0;
    double at = NONE;
    end = end < a.C ? end : a.C;
    for (int64_t c = first + threadIdx.x; c < end; c += blockDim.x) top = fmaxf(top, row[c]);
    top = rs_cuda_block_max(top);
    for (int64_t c = first + threadIdx.x; c < end && top > 0 && at == NONE; c += blockDim.x) {
        if (row[c] >= top) at = (double)(a.col0 + c);
    }
    at = rs_cuda_block_reduce(at, lower());
    return at < NONE ? (int64_t)at : -1;
}

/* One block, one row of one head: blockIdx.x = h * n + row. */
__global__ void __launch_bounds__(128) read_spans(span_args a) {
    int64_t h = blockIdx.x / a.n, r = a.first + blockIdx.x % a.n, t = a.row0 + r;
    const float *row = a.p + h * a.head + r * a.row;
    const rs_task_spans &s = a.spans;
    double context = mass(a, row, s.context), gold = mass(a, row, s.gold);
    int64_t c = strongest(a, row, t);
    if (threadIdx.x != 0) return;
    bool produces = t + 1 >= s.answer.first && t + 1 < s.answer.end && c >= s.gold.first && c < s.gold.end;
    double *out = a.rows + blockIdx.x * (int64_t)RS_SPAN_SUMS;
    out[RS_SPAN_CONTEXT] = a.row_weight * context;
    out[RS_SPAN_GOLD] = a.row_weight * gold;
    out[RS_SPAN_COPY] = produces && a.ids[c] == a.ids[t + 1] ? a.token_weight : 0;
}

/* One block, one head; a thread, a kind of sum. */
__global__ void __launch_bounds__(32) sum_spans(span_args a) {
    int64_t h = blockIdx.x;
    double sum = 0;
    if (threadIdx.x >= RS_SPAN_SUMS) return;
    for (int64_t i = 0; i < a.n; i++) sum += a.rows[(h * a.n + i) * RS_SPAN_SUMS + threadIdx.x];
    a.out[h * RS_SPAN_SUMS + threadIdx.x] += sum;
}

} // namespace

rs_status rs_cuda_span_reduce(rs_device *d, const rs_op *op, rs_error *err) {
    rs_status st = RS_OK;
    const rs_op_span_reduce *o = &op->u.span_reduce;
    void *parts = nullptr;
    span_args a = {};
    a.spans = o->spans;
    a.p = rs_cuda_data<float>(&o->p);
    a.ids = rs_cuda_data<int32_t>(&o->ids);
    a.out = rs_cuda_data<double>(&o->out);
    a.head = o->p.stride[0];
    a.row = o->p.stride[1];
    a.H = o->p.dim[0];
    a.C = o->p.dim[2];
    a.row0 = o->row0;
    a.col0 = o->col0;
    a.row_weight = 1.0 / (double)(a.spans.answer.end - a.spans.question.first);
    a.token_weight = 1.0 / (double)(a.spans.answer.end - a.spans.answer.first);
    /* The question is not empty: the row in front of the answer is one of its rows. */
    int64_t first = a.spans.question.first - a.row0, end = a.spans.answer.end - a.row0;
    a.first = first > 0 ? first : 0;
    a.n = (end < o->p.dim[1] ? end : o->p.dim[1]) - a.first;
    if (a.n <= 0) return RS_OK;
    if (a.H * a.n > INT32_MAX)
        return rs_fail(err, RS_E_INTERNAL, "op span_reduce: %lld heads, %lld rows: too many", (long long)a.H,
                       (long long)a.n);
    RS_TRY(rs_cuda_scratch_get(d, RS_CUDA_PARTS, (size_t)(a.H * a.n * RS_SPAN_SUMS) * sizeof(double), &parts, err));
    a.rows = static_cast<double *>(parts);
    RS_TRY(rs_cuda_launch(d, "span_reduce", read_spans, dim3((unsigned)(a.H * a.n)), dim3(128), 0, err, a));
    RS_TRY(rs_cuda_launch(d, "span_reduce", sum_spans, dim3((unsigned)a.H), dim3(32), 0, err, a));
out:
    return st;
}
