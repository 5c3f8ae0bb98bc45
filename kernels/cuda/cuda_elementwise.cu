/* kernels/cuda/cuda_elementwise.cu: ops that go row by row: norm, add, gate, rope, mask, softmax, cross entropy. */
#include "kernels/cuda/cuda_device.h"

namespace {

/* ---- rows in vectors of four ---- */

__device__ __forceinline__ float4 each(float4 v, float a) { return make_float4(v.x * a, v.y * a, v.z * a, v.w * a); }

/* An output that may be rounded to bfloat16 for a product: float32 or bfloat16, one of the two. */
struct output {
    float *wide;
    __nv_bfloat16 *half;
};

output output_of(const rs_view *v) {
    output y = {};
    if (v->dtype == RS_BF16) y.half = rs_cuda_data<__nv_bfloat16>(v);
    else y.wide = rs_cuda_data<float>(v);
    return y;
}

__device__ __forceinline__ void put_four(const output &y, int64_t at, float4 v) {
    if (y.half) {
        rs_vector_store(y.half + at, rs_cuda_round_four(v));
    } else {
        rs_vector_store(y.wide + at, v);
    }
}

__device__ __forceinline__ void put(const output &y, int64_t at, float v) {
    if (y.half) y.half[at] = __float2bfloat16_rn(v);
    else y.wide[at] = v;
}

/* ---- norm ---- */

struct norm_args {
    const float *x, *w, *b; /* w, b: NULL = 1, 0 */
    output y;
    int64_t x_row, x_group, y_row, y_group, w_group, b_group; /* strides */
    int64_t groups, width;
    float add, eps;
    bool centred; /* LayerNorm */
};

/* One block, one norm. Sums of a thread run in float32 over every blockDim-th entry, those of the block in float64. */
__global__ void __launch_bounds__(256) norm_rows(norm_args a) {
    int64_t row = blockIdx.x / a.groups, group = blockIdx.x % a.groups;
    const float *x = a.x + row * a.x_row + group * a.x_group;
    int64_t y = row * a.y_row + group * a.y_group;
    const float *w = a.w ? a.w + group * a.w_group : nullptr, *b = a.b ? a.b + group * a.b_group : nullptr;
    float centre = 0, squares = 0;
    if (a.centred) {
        float sum = 0;
        for (int64_t i = threadIdx.x; i < a.width; i += blockDim.x) sum += x[i];
        centre = (float)(rs_cuda_block_sum((double)sum) / (double)a.width);
    }
    for (int64_t i = threadIdx.x; i < a.width; i += blockDim.x) squares += (x[i] - centre) * (x[i] - centre);
    float gain = (float)(1.0 / sqrt(rs_cuda_block_sum((double)squares) / (double)a.width + (double)a.eps));
    for (int64_t i = threadIdx.x; i < a.width; i += blockDim.x) {
        float v = (x[i] - centre) * gain;
        if (w) v *= w[i] + a.add;
        put(a.y, y + i, b ? v + b[i] : v);
    }
}

/* ---- add, gate ---- */

template <typename T> struct add_args {
    const T *x;
    T *y;
    int64_t x_row, y_row, rows, cols; /* strides, then sizes in elements */
    T a, b;
};

template <typename T> __global__ void __launch_bounds__(256) add_rows(add_args<T> p) {
    int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t r = blockIdx.y; r < p.rows; r += gridDim.y) {
        for (int64_t c = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; c < p.cols; c += step) {
            T *y = p.y + r * p.y_row + c, v = p.a * p.x[r * p.x_row + c];
            *y = p.b == 0 ? v : v + p.b * *y;
        }
    }
}

__global__ void __launch_bounds__(256) add_fours(add_args<float> p) {
    int64_t step = 4 * (int64_t)gridDim.x * blockDim.x;
    for (int64_t r = blockIdx.y; r < p.rows; r += gridDim.y) {
        for (int64_t c = 4 * ((int64_t)blockIdx.x * blockDim.x + threadIdx.x); c < p.cols; c += step) {
            float *y = p.y + r * p.y_row + c;
            float4 v = each(rs_vector_load<float4>(p.x + r * p.x_row + c), p.a);
            if (p.b != 0.0F) {
                float4 old = each(rs_vector_load<float4>(y), p.b);
                v = make_float4(v.x + old.x, v.y + old.y, v.z + old.z, v.w + old.w);
            }
            rs_vector_store(y, v);
        }
    }
}

template <rs_activation ACT> __device__ __forceinline__ float activate(float x) {
    switch (ACT) {
    case RS_ACT_SILU: return x / (1.0F + expf(-x));
    case RS_ACT_GELU_ERF: return 0.5F * x * (1.0F + erff(x * 0.70710678F));
    case RS_ACT_GELU_TANH: return 0.5F * x * (1.0F + tanhf(0.79788456F * (x + 0.044715F * x * x * x)));
    case RS_ACT_RELU: return x < 0.0F ? 0.0F : x; /* written so that NaN goes through */
    case RS_ACT_RELU2: return x < 0.0F ? 0.0F : x * x;
    }
    return x;
}

struct gate_args {
    const float *gate, *up; /* up: NULL = 1 */
    output y;
    int64_t gate_row, up_row, y_row, rows, cols;
};

template <rs_activation ACT> __global__ void __launch_bounds__(256) gate_rows(gate_args p) {
    int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t r = blockIdx.y; r < p.rows; r += gridDim.y) {
#pragma unroll 1
        for (int64_t c = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; c < p.cols; c += step) {
            float v = activate<ACT>(p.gate[r * p.gate_row + c]);
            put(p.y, r * p.y_row + c, p.up ? v * p.up[r * p.up_row + c] : v);
        }
    }
}

template <rs_activation ACT> __global__ void __launch_bounds__(256) gate_fours(gate_args p) {
    int64_t step = 4 * (int64_t)gridDim.x * blockDim.x;
    for (int64_t r = blockIdx.y; r < p.rows; r += gridDim.y) {
        for (int64_t c = 4 * ((int64_t)blockIdx.x * blockDim.x + threadIdx.x); c < p.cols; c += step) {
            float4 g = rs_vector_load<float4>(p.gate + r * p.gate_row + c);
            float4 v = make_float4(activate<ACT>(g.x), activate<ACT>(g.y), activate<ACT>(g.z), activate<ACT>(g.w));
            if (p.up) {
                float4 u = rs_vector_load<float4>(p.up + r * p.up_row + c);
                v = make_float4(v.x * u.x, v.y * u.y, v.z * u.z, v.w * u.w);
            }
            put_four(p.y, r * p.y_row + c, v);
        }
    }
}

template <rs_activation ACT> rs_status gate_with(rs_device *d, const gate_args &p, bool fours, rs_error *err) {
    dim3 grid(rs_cuda_blocks(p.cols, fours ? 1024 : 256), rs_cuda_rows(p.rows));
    return rs_cuda_launch(d, "gate", fours ? gate_fours<ACT> : gate_rows<ACT>, grid, dim3(256), 0, err, p);
}

/* ---- rotation ---- */

struct rope_args {
    const float *x, *cos, *sin; /* tables [variants, T, F] */
    float *y;
    const int32_t *lo, *hi, *variant, *source; /* [F], [F], [H], [H] */
    int64_t x_row, x_head, y_row, y_head;      /* strides */
    int64_t T, H, F, variants, sources;
    bool in_place;
    rs_cuda_fault lo_fault, hi_fault, variant_fault, source_fault;
};

/* One thread, one pair of one head: both of its components belong to it alone, also when y is x. */
__global__ void __launch_bounds__(256) rope_pairs(rope_args a) {
    int64_t unit = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (unit >= a.H * a.F) return;
    int64_t h = unit / a.F, f = unit % a.F;
    int lo = rs_cuda_index(a.lo, f, 0, 2 * a.F, a.lo_fault), hi = rs_cuda_index(a.hi, f, 0, 2 * a.F, a.hi_fault);
    int variant = rs_cuda_index(a.variant, h, 0, a.variants, a.variant_fault);
    /* In place a head can come from itself alone: others may be turned already. */
    int source = rs_cuda_index(a.source, h, a.in_place ? h : 0, a.in_place ? h + 1 : a.sources, a.source_fault);
    for (int64_t t = blockIdx.y; t < a.T; t += gridDim.y) {
        const float *x = a.x + t * a.x_row + source * a.x_head;
        float *y = a.y + t * a.y_row + h * a.y_head;
        int64_t at = (variant * a.T + t) * a.F + f;
        float re = x[lo], im = x[hi], c = a.cos[at], s = a.sin[at];
        y[lo] = re * c - im * s;
        y[hi] = im * c + re * s;
    }
}

/* ---- mask, softmax ---- */

struct tile_args {
    float *s;          /* [H, R, C] */
    int64_t head, row; /* strides */
    int64_t H, R, C, row0, col0, window;
    float cap;
};

/* Visible columns [first, end) of the tile for the row at position t; empty when the row sees none of them. */
__device__ __forceinline__ void visible(const tile_args &a, int64_t t, int64_t *first, int64_t *end) {
    int64_t least = a.window > 0 && t - a.window + 1 > a.col0 ? t - a.window + 1 - a.col0 : 0, most = t + 1 - a.col0;
    *end = most < 0 ? 0 : most > a.C ? a.C : most;
    *first = least < *end ? least : *end;
}

__device__ __forceinline__ float capped(float x, float cap) { return cap > 0 ? cap * tanhf(x / cap) : x; }

/* One block, one row; blockIdx.x = h * R + r. */
__global__ void __launch_bounds__(256) mask_rows(tile_args a) {
    int64_t r = blockIdx.x % a.R, first = 0, end = 0;
    float *row = a.s + blockIdx.x / a.R * a.head + r * a.row;
    visible(a, a.row0 + r, &first, &end);
    for (int64_t c = threadIdx.x; c < a.C; c += blockDim.x) {
        bool seen = c >= first && c < end;
        if (!seen) row[c] = -INFINITY;
        else if (a.cap > 0) row[c] = capped(row[c], a.cap);
    }
}

struct softmax_args {
    tile_args t;
    const float *sinks;            /* [H] | NULL */
    float *stats;                  /* [H, R, 2] | NULL */
    int64_t stats_head, stats_row; /* strides */
    __nv_bfloat16 *half;           /* [H, R, C] | NULL */
    int64_t half_head, half_row;
    bool half_only;
};

/* exp of what is not above the maximum; the exact zero where float32 has no normal number. */
__device__ __forceinline__ float exp_below(float below) { return below < -87.3365F ? 0.0F : expf(below); }

/* A running softmax: maximum, sum of e = exp(x - maximum), sum of e (x - maximum). */
struct running {
    float most, sum, dot;
};

__device__ __forceinline__ void take(running *s, float x) {
    if (x > s->most) {
        if (s->sum > 0) { /* the sums move to the new maximum: e' = e k, x - most' = (x - most) + shift */
            float shift = fmaxf(s->most - x, -100.0F), k = expf(shift);
            s->dot = k * (s->dot + shift * s->sum);
            s->sum *= k;
        }
        s->most = x;
    }
    float below = fmaxf(x - s->most, -100.0F), e = exp_below(below);
    s->sum += e;
    s->dot += e * below;
}

/* What a row comes to; all threads of its block know it. */
struct row_total {
    float most;
    double sum, dot; /* of e and e (x - most), as above; NaN anywhere makes them NaN: comparisons drop it */
};

/* Entries [first, end) of a row are read once and stay in the block's memory: kept[c] becomes e. A thread meets its own
 * entries alone, so nothing has to wait. */
__device__ __forceinline__ row_total total_kept(const float *row, float *kept, int64_t first, int64_t end, float cap,
                                                float sink) {
    float most = -INFINITY, poison = 0, sum = 0, dot = 0;
    for (int64_t c = first + threadIdx.x; c < end; c += blockDim.x) {
        float x = capped(row[c], cap);
        poison += x != x ? x : 0.0F;
        most = fmaxf(most, x);
        kept[c] = x;
    }
    most = fmaxf(rs_cuda_block_max(most), sink);
    for (int64_t c = first + threadIdx.x; c < end; c += blockDim.x) {
        float below = fmaxf(kept[c] - most, -100.0F), e = exp_below(below);
        sum += e;
        dot += e * below;
        kept[c] = e;
    }
    return {most, rs_cuda_block_sum((double)poison + (double)sum), rs_cuda_block_sum((double)dot)};
}

/* A row that is too long for that: every thread keeps running sums, and the entries will be read again. */
__device__ __forceinline__ row_total total_running(const float *row, int64_t first, int64_t end, float cap,
                                                   float sink) {
    running mine = {-INFINITY, 0, 0};
    float poison = 0;
    for (int64_t c = first + threadIdx.x; c < end; c += blockDim.x) {
        float x = capped(row[c], cap);
        poison += x != x ? x : 0.0F;
        take(&mine, x);
    }
    float most = fmaxf(rs_cuda_block_max(mine.most), sink);
    double shift = mine.sum > 0 ? fmax((double)mine.most - (double)most, -100.0) : 0, k = exp(shift);
    double sum = rs_cuda_block_sum((double)poison + k * (double)mine.sum);
    return {most, sum, rs_cuda_block_sum(k * ((double)mine.dot + shift * (double)mine.sum))};
}

/* One block, one row. Entropy as in op.h: (ln(total) sum e - sum e (x - most)) / total. KEPT: the row fits into dynamic
 * shared memory, [C] floats. */
template <bool KEPT> __global__ void __launch_bounds__(256) softmax_rows(softmax_args a) {
    RS_SHARED_DYNAMIC(float, kept);
    int64_t h = blockIdx.x / a.t.R, r = blockIdx.x % a.t.R, first = 0, end = 0;
    float *row = a.t.s + h * a.t.head + r * a.t.row, *stats = a.stats;
    __nv_bfloat16 *half = a.half ? a.half + h * a.half_head + r * a.half_row : nullptr;
    visible(a.t, a.t.row0 + r, &first, &end);
    float sink = a.sinks ? a.sinks[h] : -INFINITY;
    row_total all =
        KEPT ? total_kept(row, kept, first, end, a.t.cap, sink) : total_running(row, first, end, a.t.cap, sink);
    double total = all.sum + (a.sinks ? exp((double)sink - (double)all.most) : 0.0);
    float share = (float)(1.0 / total);
    for (int64_t c = threadIdx.x; c < a.t.C; c += blockDim.x) {
        float p = 0;
        if (c >= first && c < end) p = (KEPT ? kept[c] : exp_below(capped(row[c], a.t.cap) - all.most)) * share;
        if (half) half[c] = __float2bfloat16_rn(p);
        if (!a.half_only) row[c] = p;
    }
    if (!stats || threadIdx.x != 0) return;
    stats += h * a.stats_head + r * a.stats_row;
    double log_total = log(total);
    stats[0] = first < end ? (float)((double)all.most + log_total) : sink;
    stats[1] = first < end ? (float)((log_total * all.sum - all.dot) / total) : 0.0F;
}

/* Columns of a row that a block may keep: what every card gives it unasked, less the arrays of the sums. */
enum { KEPT_COLUMNS = (48 * 1024 - 1024) / 4 };

/* ---- cross entropy ---- */

struct loss_args {
    const float *x; /* logits [rows, V] */
    const int32_t *targets;
    double *state; /* [rows, 3] */
    int64_t row, V, v0;
    float cap, scale;
};

/* One block, one row: its maximum, then its sum, into the running state. */
__global__ void __launch_bounds__(256) loss_rows(loss_args a) {
    const float *x = a.x + blockIdx.x * a.row;
    double *state = a.state + 3 * (int64_t)blockIdx.x;
    float top = -INFINITY, poison = 0;
    for (int64_t i = threadIdx.x; i < a.V; i += blockDim.x) {
        float v = capped(x[i] * a.scale, a.cap);
        poison += v != v ? v : 0.0F;
        top = fmaxf(top, v);
    }
    double before = state[0], most = fmax(before, (double)rs_cuda_block_max(top));
    float sum = poison;
    for (int64_t i = threadIdx.x; i < a.V && most > (double)-INFINITY; i += blockDim.x) {
        float below = capped(x[i] * a.scale, a.cap) - (float)most;
        sum += below < -87.3365F ? 0.0F : expf(below);
    }
    double here = rs_cuda_block_sum((double)sum);
    if (threadIdx.x != 0) return;
    double kept = state[1] > 0 ? state[1] * exp(before - most) : 0;
    state[0] = most;
    state[1] = kept + here;
    int64_t at = a.targets[blockIdx.x] - a.v0;
    if (a.targets[blockIdx.x] >= 0 && at >= 0 && at < a.V) state[2] = (double)capped(x[at] * a.scale, a.cap);
}

template <typename T> add_args<T> add_of(const rs_op_add *o) {
    add_args<T> a = {};
    a.x = rs_cuda_data<T>(&o->x);
    a.y = rs_cuda_data<T>(&o->y);
    a.x_row = o->x.stride[0];
    a.y_row = o->y.stride[0];
    a.rows = o->x.dim[0];
    a.cols = o->x.dim[1];
    a.a = (T)o->a;
    a.b = (T)o->b;
    return a;
}

tile_args tile_of(const rs_view *s, int64_t row0, int64_t col0, int64_t window, float cap) {
    tile_args t = {};
    t.s = rs_cuda_data<float>(s);
    t.head = s->stride[0];
    t.row = s->stride[1];
    t.H = s->dim[0];
    t.R = s->dim[1];
    t.C = s->dim[2];
    t.row0 = row0;
    t.col0 = col0;
    t.window = window;
    t.cap = cap;
    return t;
}

/* Threads for a row of so many entries: four each at most, as long as there are enough. */
unsigned row_threads(int64_t n) { return n <= 128 ? 32 : n <= 1024 ? 128 : 256; }

} // namespace

rs_status rs_cuda_norm(rs_device *d, const rs_op *op, rs_error *err) {
    const rs_op_norm *o = &op->u.norm;
    norm_args a = {};
    a.x = rs_cuda_data<float>(&o->x);
    a.y = output_of(&o->y);
    a.w = rs_cuda_data<float>(&o->weight);
    a.b = rs_cuda_data<float>(&o->bias);
    a.x_row = o->x.stride[0];
    a.x_group = o->x.stride[1];
    a.y_row = o->y.stride[0];
    a.y_group = o->y.stride[1];
    a.w_group = o->weight.n_dims == 2 ? o->weight.stride[0] : 0;
    a.b_group = o->bias.n_dims == 2 ? o->bias.stride[0] : 0;
    a.groups = o->x.dim[1];
    a.width = o->x.dim[2];
    a.add = o->add;
    a.eps = o->eps;
    a.centred = o->kind == RS_NORM_LAYER;
    return rs_cuda_launch(d, "norm", norm_rows, dim3((unsigned)(o->x.dim[0] * a.groups)), dim3(row_threads(a.width)), 0,
                          err, a);
}

rs_status rs_cuda_add(rs_device *d, const rs_op *op, rs_error *err) {
    const rs_op_add *o = &op->u.add;
    dim3 grid(rs_cuda_blocks(o->x.dim[1], 256), rs_cuda_rows(o->x.dim[0]));
    if (o->x.dtype == RS_F64)
        return rs_cuda_launch(d, "add", add_rows<double>, grid, dim3(256), 0, err, add_of<double>(o));
    if (!rs_cuda_in_fours(&o->x) || !rs_cuda_in_fours(&o->y))
        return rs_cuda_launch(d, "add", add_rows<float>, grid, dim3(256), 0, err, add_of<float>(o));
    grid.x = rs_cuda_blocks(o->x.dim[1], 1024);
    return rs_cuda_launch(d, "add", add_fours, grid, dim3(256), 0, err, add_of<float>(o));
}

rs_status rs_cuda_gate(rs_device *d, const rs_op *op, rs_error *err) {
    const rs_op_gate *o = &op->u.gate;
    bool fours = rs_cuda_in_fours(&o->gate) && rs_cuda_in_fours(&o->up) && rs_cuda_in_fours(&o->y);
    gate_args a = {};
    a.gate = rs_cuda_data<float>(&o->gate);
    a.up = rs_cuda_data<float>(&o->up);
    a.y = output_of(&o->y);
    a.gate_row = o->gate.stride[0];
    a.up_row = o->up.stride[0];
    a.y_row = o->y.stride[0];
    a.rows = o->gate.dim[0];
    a.cols = o->gate.dim[1];
    switch (o->act) {
    case RS_ACT_SILU: return gate_with<RS_ACT_SILU>(d, a, fours, err);
    case RS_ACT_GELU_ERF: return gate_with<RS_ACT_GELU_ERF>(d, a, fours, err);
    case RS_ACT_GELU_TANH: return gate_with<RS_ACT_GELU_TANH>(d, a, fours, err);
    case RS_ACT_RELU: return gate_with<RS_ACT_RELU>(d, a, fours, err);
    case RS_ACT_RELU2: return gate_with<RS_ACT_RELU2>(d, a, fours, err);
    }
    return rs_fail(err, RS_E_INTERNAL, "op gate: activation %d", (int)o->act);
}

rs_status rs_cuda_rope(rs_device *d, const rs_op *op, rs_error *err) {
    const rs_op_rope *o = &op->u.rope;
    rope_args a = {};
    a.x = rs_cuda_data<float>(&o->x);
    a.y = rs_cuda_data<float>(&o->y);
    a.cos = rs_cuda_data<float>(&o->cos);
    a.sin = rs_cuda_data<float>(&o->sin);
    a.lo = rs_cuda_data<int32_t>(&o->component_lo);
    a.hi = rs_cuda_data<int32_t>(&o->component_hi);
    a.variant = rs_cuda_data<int32_t>(&o->variant);
    a.source = rs_cuda_data<int32_t>(&o->source);
    a.x_row = o->x.stride[0];
    a.x_head = o->x.stride[1];
    a.y_row = o->y.stride[0];
    a.y_head = o->y.stride[1];
    a.T = o->y.dim[0];
    a.H = o->y.dim[1];
    a.F = o->component_lo.dim[0];
    a.variants = o->cos.dim[0];
    a.sources = o->x.dim[1];
    a.in_place = a.x == a.y;
    a.lo_fault = rs_cuda_fault_of(d, RS_OP_ROPE, "component_lo");
    a.hi_fault = rs_cuda_fault_of(d, RS_OP_ROPE, "component_hi");
    a.variant_fault = rs_cuda_fault_of(d, RS_OP_ROPE, "variant");
    a.source_fault = rs_cuda_fault_of(d, RS_OP_ROPE, "source");
    dim3 grid(rs_cuda_blocks(a.H * a.F, 256, INT32_MAX), rs_cuda_rows(a.T));
    return rs_cuda_launch(d, "rope", rope_pairs, grid, dim3(256), 0, err, a);
}

rs_status rs_cuda_mask(rs_device *d, const rs_op *op, rs_error *err) {
    const rs_op_mask *o = &op->u.mask;
    tile_args a = tile_of(&o->s, o->row0, o->col0, o->window, o->softcap);
    return rs_cuda_launch(d, "mask", mask_rows, dim3((unsigned)(a.H * a.R)), dim3(row_threads(a.C)), 0, err, a);
}

rs_status rs_cuda_softmax(rs_device *d, const rs_op *op, rs_error *err) {
    const rs_op_softmax *o = &op->u.softmax;
    softmax_args a = {};
    a.t = tile_of(&o->s, o->row0, o->col0, o->window, o->softcap);
    a.sinks = rs_cuda_data<float>(&o->sinks);
    a.stats = rs_cuda_data<float>(&o->stats);
    a.stats_head = o->stats.stride[0];
    a.stats_row = o->stats.stride[1];
    a.half = rs_cuda_data<__nv_bfloat16>(&o->half);
    a.half_head = o->half.stride[0];
    a.half_row = o->half.stride[1];
    a.half_only = o->half_only;
    bool kept = a.t.C <= KEPT_COLUMNS;
    return rs_cuda_launch(d, "softmax", kept ? softmax_rows<true> : softmax_rows<false>,
                          dim3((unsigned)(a.t.H * a.t.R)), dim3(row_threads(a.t.C)),
                          kept ? (size_t)a.t.C * sizeof(float) : 0, err, a);
}

rs_status rs_cuda_cross_entropy(rs_device *d, const rs_op *op, rs_error *err) {
    const rs_op_cross_entropy *o = &op->u.cross_entropy;
    loss_args a = {};
    a.x = rs_cuda_data<float>(&o->logits);
    a.targets = rs_cuda_data<int32_t>(&o->targets);
    a.state = rs_cuda_data<double>(&o->state);
    a.row = o->logits.stride[0];
    a.V = o->logits.dim[1];
    a.v0 = o->v0;
    a.cap = o->softcap;
    a.scale = o->scale;
    return rs_cuda_launch(d, "cross_entropy", loss_rows, dim3((unsigned)o->logits.dim[0]), dim3(row_threads(a.V)), 0,
                          err, a);
}
