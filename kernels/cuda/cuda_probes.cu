/* kernels/cuda/cuda_probes.cu: the sums that probes ask for: PAIR_REDUCE, PATTERN_REDUCE, PROFILE_REDUCE. Every sum has
 * one owner and a fixed order, so two runs give the same bytes; no floating-point atomics. */
#include "kernels/cuda/cuda_device.h"

namespace {

/* ---- pairs ---- */

enum {
    PAIRS = 32, /* pairs of a block: one warp's lanes */
    AHEAD = 4   /* rows that a thread loads before it adds them up */
};

struct pair_args {
    const float *x;
    const int32_t *lo, *hi, *bucket; /* [F] | NULL, [F] | NULL, [T] */
    const int32_t *top;              /* [T, H] pair of largest |z|; NULL when nobody asks */
    double *out;                     /* [buckets, H, features, F] */
    int64_t row, head;               /* strides of x */
    int64_t T, H, F, buckets, count; /* count: features asked for */
    uint32_t features;
    rs_cuda_fault lo_fault, hi_fault, bucket_fault;
};

__device__ __forceinline__ int component_lo(const pair_args &a, int64_t f) {
    return a.lo ? rs_cuda_index(a.lo, f, 0, 2 * a.F, a.lo_fault) : (int)f;
}

__device__ __forceinline__ int component_hi(const pair_args &a, int64_t f) {
    return a.hi ? rs_cuda_index(a.hi, f, 0, 2 * a.F, a.hi_fault) : (int)(f + a.F);
}

struct top_args {
    pair_args p;
    int32_t *top; /* [T, H] */
};

/* One thread, one head of one position: the pair of largest |z|, the first one on ties. */
__global__ void __launch_bounds__(128) find_top(top_args a) {
    int64_t unit = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (unit >= a.p.T * a.p.H) return;
    const float *x = a.p.x + unit / a.p.H * a.p.row + unit % a.p.H * a.p.head;
    double most = -1.0;
    int top = 0;
    for (int64_t f = 0; f < a.p.F; f++) {
        double re = (double)x[component_lo(a.p, f)], im = (double)x[component_hi(a.p, f)], square = re * re + im * im;
        if (square > most) {
            most = square;
            top = (int)f;
        }
    }
    a.top[unit] = top;
}

/* Features in float64, as on the CPU: |z|^2 of a subnormal float neither underflows nor loses bits. */
__device__ __forceinline__ void add_features(double re, double im, bool top, double sum[RS_PAIR_FEATURES]) {
    double square = re * re + im * im, length = sqrt(square), inverse = square > 0 ? 1.0 / length : 0.0;
    double u = re * inverse, v = im * inverse;
    sum[RS_PAIR_ABS] += length;
    sum[RS_PAIR_ABS2] += square;
    sum[RS_PAIR_RE] += re;
    sum[RS_PAIR_IM] += im;
    sum[RS_PAIR_SQ_RE] += re * re - im * im;
    sum[RS_PAIR_SQ_IM] += 2 * re * im;
    sum[RS_PAIR_U_RE] += u;
    sum[RS_PAIR_U_IM] += v;
    sum[RS_PAIR_U2_RE] += u * u - v * v;
    sum[RS_PAIR_U2_IM] += 2 * u * v;
    sum[RS_PAIR_TOP] += top ? 1.0 : 0.0;
}

/* One block: PAIRS pairs (x) of one head, the rows of one bucket, dealt out to blockDim.y lanes.
 * blockIdx: x = group of pairs, y = head, z = bucket. */
template <int LANES> __global__ void __launch_bounds__(PAIRS *LANES) reduce_pairs(pair_args a) {
    int64_t f = (int64_t)blockIdx.x * PAIRS + threadIdx.x, h = blockIdx.y, b = blockIdx.z;
    int64_t here = f < a.F ? f : a.F - 1; /* threads behind the last pair go along with it and write nothing */
    int lo = component_lo(a, here), hi = component_hi(a, here);
    double sum[RS_PAIR_FEATURES] = {0};
    const float *x = a.x + h * a.head;
    for (int64_t t0 = threadIdx.y; t0 < a.T; t0 += AHEAD * LANES) {
        float re[AHEAD], im[AHEAD];
        bool counts[AHEAD];
        /* All loads first: their waits run side by side. */
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            int64_t t = t0 + i * LANES;
            counts[i] = t < a.T && rs_cuda_index(a.bucket, t, -1, a.buckets, a.bucket_fault) == b;
            re[i] = counts[i] ? x[t * a.row + lo] : 0.0F;
            im[i] = counts[i] ? x[t * a.row + hi] : 0.0F;
        }
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            if (!counts[i]) continue;
            bool top = a.top && a.top[(t0 + i * LANES) * a.H + h] == here;
            add_features((double)re[i], (double)im[i], top, sum);
        }
    }
    double *out = a.out + (b * a.H + h) * a.count * a.F + f;
#pragma unroll
    for (int feature = 0; feature < RS_PAIR_FEATURES; feature++) {
        if (!(a.features >> feature & 1U)) continue;
        double total = rs_cuda_column_sum<PAIRS, LANES>(sum[feature]);
        if (threadIdx.y == 0 && f < a.F) *out += total;
        out += a.F;
    }
}

/* ---- patterns ---- */

struct list {
    const int32_t *start, *column; /* [T + 1], [n] | NULL */
    int64_t n;
};

struct pattern_args {
    const float *p, *stats;                   /* [H, R, C], [H, R, 2] */
    int64_t head, row, stats_head, stats_row; /* strides */
    int64_t H, R, C, row0, col0, window, T;
    int64_t skipped; /* columns on the left that SQUARE and profile leave out: 0 or 1 */
    list duplicate, induction;
    double *sums, *profile, *map; /* [H, RS_PATTERN_SUMS], [H, T] | NULL, [H, blocks, blocks] | NULL */
    int64_t blocks, bands,
        band0;     /* of the map's blocks (or of as many without a map): row blocks in the tile, the first */
    double *rows;  /* [H, R, RS_PATTERN_SUMS] what single entries of a row give */
    double *parts; /* [H, bands, blocks, 2] mass, squares */
    rs_cuda_fault duplicate_fault, induction_fault;
};

__device__ __forceinline__ int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
__device__ __forceinline__ int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

/* First position of block b when positions are shared out as position * blocks / T. */
__host__ __device__ __forceinline__ int64_t block_start(int64_t b, int64_t blocks, int64_t T) {
    return (b * T + blocks - 1) / blocks;
}

/* This lane's part of the sum of p over the columns listed for position t; a list that leaves its array is reported. */
__device__ __forceinline__ double listed(const pattern_args &a, const list &l, const float *row, int64_t t, int lane,
                                         rs_cuda_fault fault) {
    double sum = 0;
    if (!l.start) return 0;
    int64_t from = rs_cuda_index(l.start, t, 0, l.n + 1, fault),
            to = rs_cuda_index(l.start, t + 1, from, l.n + 1, fault);
    for (int64_t i = from + lane; i < to; i += 32) {
        int64_t c = l.column[i] - a.col0;
        if (c >= 0 && c < a.C) sum += (double)row[c];
    }
    return sum;
}

/* One warp, one row at a position >= 1: what single entries of it give, into rows[h, r]. Zeros for position 0. */
__global__ void __launch_bounds__(256) read_entries(pattern_args a) {
    int64_t unit = (int64_t)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
    if (unit >= a.H * a.R) return;
    int64_t h = unit / a.R, r = unit % a.R, t = a.row0 + r, c = t - a.col0;
    int lane = (int)(threadIdx.x % 32);
    const float *row = a.p + h * a.head + r * a.row;
    double duplicate = t > 0 ? listed(a, a.duplicate, row, t, lane, a.duplicate_fault) : 0;
    double induction = t > 0 ? listed(a, a.induction, row, t, lane, a.induction_fault) : 0;
    for (int step = 16; step > 0; step /= 2) {
        duplicate += __shfl_xor_sync(0xFFFFFFFFU, duplicate, step);
        induction += __shfl_xor_sync(0xFFFFFFFFU, induction, step);
    }
    if (lane != 0) return;
    double *out = a.rows + unit * RS_PATTERN_SUMS;
    for (int i = 0; i < RS_PATTERN_SUMS; i++) out[i] = 0;
    if (t == 0) return;
    if (c < a.C) out[RS_PATTERN_DIAGONAL] = (double)row[c];
    if (c >= 1 && c <= a.C) out[RS_PATTERN_PREVIOUS] = (double)row[c - 1];
    if (a.col0 == 0) out[RS_PATTERN_FIRST] = (double)row[0];
    out[RS_PATTERN_ENTROPY] = (double)a.stats[h * a.stats_head + r * a.stats_row + 1];
    out[RS_PATTERN_DUPLICATE] = duplicate;
    out[RS_PATTERN_INDUCTION] = induction;
    out[RS_PATTERN_ROWS] = 1;
}

/* One block, one kind of sum of one head, over its rows. blockIdx: x = kind, y = head. */
__global__ void __launch_bounds__(128) sum_entries(pattern_args a) {
    int64_t h = blockIdx.y;
    double sum = 0;
    for (int64_t r = threadIdx.x; r < a.R; r += blockDim.x) sum += a.rows[(h * a.R + r) * RS_PATTERN_SUMS + blockIdx.x];
    sum = rs_cuda_block_sum(sum);
    if (threadIdx.x == 0) a.sums[h * RS_PATTERN_SUMS + blockIdx.x] += sum;
}

/* One block, one rectangle: the rows of the tile in row block i of the map, the columns in column block j. Mass goes to
 * the map, of which this rectangle owns a cell, and with the squares to parts. blockIdx.x = (h * bands + i) * blocks +
 * j */
__global__ void __launch_bounds__(128) sum_rectangles(pattern_args a) {
    int64_t j = blockIdx.x % a.blocks, i = blockIdx.x / a.blocks % a.bands, h = blockIdx.x / a.blocks / a.bands;
    int64_t b = a.band0 + i, r0 = larger(block_start(b, a.blocks, a.T) - a.row0, 0);
    int64_t r1 = smaller(block_start(b + 1, a.blocks, a.T) - a.row0, a.R);
    int64_t c0 = larger(block_start(j, a.blocks, a.T) - a.col0, 0);
    int64_t c1 = smaller(block_start(j + 1, a.blocks, a.T) - a.col0, a.C);
    if (r0 >= r1 || c0 >= c1 || a.col0 + c0 >= a.row0 + r1) { /* nothing there, or nothing that a row of it may see */
        if (threadIdx.x < 2) a.parts[2 * (int64_t)blockIdx.x + threadIdx.x] = 0;
        return;
    }
    double mass = 0, squares = 0, top_left = 0;
    int lane = (int)(threadIdx.x % 32), warp = (int)(threadIdx.x / 32), warps = (int)(blockDim.x / 32);
    for (int64_t r = r0 + warp; r < r1; r += warps) {
        const float *row = a.p + h * a.head + r * a.row;
        int64_t end = smaller(c1, a.row0 + r + 1 - a.col0); /* zeros behind the row's own position */
        float sum = 0, square = 0;
        if (a.row0 + r == 0) { /* position 0 sees itself alone and joins the map, not the sums */
            if (c0 == 0 && c1 > 0 && lane == 0) top_left = (double)row[0]; /* the block's first thread: r0 is 0 */
            continue;
        }
        for (int64_t c = c0 + lane; c < end; c += 32) {
            sum += row[c];
            if (c >= a.skipped) square += row[c] * row[c];
        }
        mass += (double)sum;
        squares += (double)square;
    }
    mass = rs_cuda_block_sum(mass);
    squares = rs_cuda_block_sum(squares);
    if (threadIdx.x != 0) return;
    a.parts[2 * (int64_t)blockIdx.x] = mass;
    a.parts[2 * (int64_t)blockIdx.x + 1] = squares;
    if (a.map) a.map[(h * a.blocks + b) * a.blocks + j] += mass + top_left;
}

/* One thread, one head: its rectangles in their order. */
__global__ void __launch_bounds__(128) sum_parts(pattern_args a) {
    int64_t h = (int64_t)blockIdx.x * blockDim.x + threadIdx.x, n = a.bands * a.blocks;
    if (h >= a.H) return;
    double mass = 0, squares = 0;
    for (int64_t i = 0; i < n; i++) {
        mass += a.parts[2 * (h * n + i)];
        squares += a.parts[2 * (h * n + i) + 1];
    }
    a.sums[h * RS_PATTERN_SUMS + RS_PATTERN_MASS] += mass;
    a.sums[h * RS_PATTERN_SUMS + RS_PATTERN_SQUARE] += squares;
}

/* One thread, one distance of one head, over the rows of the tile: eight at a time in float32. Neighbouring threads
 * read neighbouring columns. blockIdx.y = head. */
__global__ void __launch_bounds__(256) sum_distances(pattern_args a) {
    int64_t d = (int64_t)blockIdx.x * blockDim.x + threadIdx.x, h = blockIdx.y;
    int64_t last = a.row0 + a.R - 1;
    if (d > last || (a.window > 0 && d >= a.window)) return;
    /* Row r has the distance in column row0 + r - d - col0, which must be one that counts. */
    int64_t from = larger(d + a.col0 + a.skipped - a.row0, a.row0 == 0 ? 1 : 0);
    int64_t to = smaller(a.R, a.C + a.col0 + d - a.row0);
    double total = 0;
    const float *p = a.p + h * a.head + (a.row0 - d - a.col0);
    for (int64_t r = larger(from, 0); r < to; r += 8) {
        float sum = 0;
        int64_t end = smaller(to, r + 8);
        for (int64_t i = r; i < end; i++) sum += p[i * a.row + i];
        total += (double)sum;
    }
    a.profile[h * a.T + d] += total;
}

/* ---- profiles ---- */

struct profile_args {
    const double *profile;              /* [H, T] */
    const int32_t *start;               /* [n] */
    double *bins, *distance, *toeplitz; /* [H, n], [H], [H] */
    int64_t T, n, most;                 /* most: distances that count for toeplitz */
    rs_cuda_fault start_fault;
};

/* One block, one head. */
__global__ void __launch_bounds__(256) reduce_profile(profile_args a) {
    int64_t h = blockIdx.x;
    const double *p = a.profile + h * a.T;
    double distance = 0, toeplitz = 0;
    for (int64_t i = threadIdx.x; i < a.n; i += blockDim.x) {
        int64_t from = rs_cuda_index(a.start, i, 0, a.T, a.start_fault);
        int64_t to = i + 1 < a.n ? rs_cuda_index(a.start, i + 1, 0, a.T, a.start_fault) : a.T;
        double sum = 0;
        for (int64_t d = from; d < to; d++) sum += p[d];
        a.bins[h * a.n + i] += sum;
    }
    for (int64_t d = threadIdx.x; d < a.T; d += blockDim.x) {
        distance += (double)d * p[d];
        if (d < a.most) toeplitz += p[d] * p[d] / (double)(a.T - 1 - d);
    }
    distance = rs_cuda_block_sum(distance);
    toeplitz = rs_cuda_block_sum(toeplitz);
    if (threadIdx.x != 0) return;
    a.distance[h] += distance;
    a.toeplitz[h] += toeplitz;
}

list list_of(const rs_view *start, const rs_view *column) {
    list l = {rs_cuda_data<int32_t>(start), rs_cuda_data<int32_t>(column), column->mem ? column->dim[0] : 0};
    return l;
}

/* Without a map the tile is cut all the same, so that there is work for everybody. */
const int64_t BLOCKS_WITHOUT_MAP = 32;

} // namespace

rs_status rs_cuda_pair_reduce(rs_device *d, const rs_op *op, rs_error *err) {
    rs_status st = RS_OK;
    const rs_op_pair_reduce *o = &op->u.pair_reduce;
    pair_args a = {};
    a.x = rs_cuda_data<float>(&o->x);
    a.lo = rs_cuda_data<int32_t>(&o->component_lo);
    a.hi = rs_cuda_data<int32_t>(&o->component_hi);
    a.bucket = rs_cuda_data<int32_t>(&o->bucket);
    a.out = rs_cuda_data<double>(&o->out);
    a.row = o->x.stride[0];
    a.head = o->x.stride[1];
    a.T = o->x.dim[0];
    a.H = o->x.dim[1];
    a.F = o->out.dim[3];
    a.buckets = o->out.dim[0];
    a.count = o->out.dim[2];
    a.features = o->features;
    a.lo_fault = rs_cuda_fault_of(d, RS_OP_PAIR_REDUCE, "component_lo");
    a.hi_fault = rs_cuda_fault_of(d, RS_OP_PAIR_REDUCE, "component_hi");
    a.bucket_fault = rs_cuda_fault_of(d, RS_OP_PAIR_REDUCE, "bucket");
    dim3 grid(rs_cuda_blocks(a.F, PAIRS), (unsigned)a.H, (unsigned)a.buckets);
    if (a.H > 65535 || a.buckets > 65535)
        return rs_fail(err, RS_E_INTERNAL, "op pair_reduce: %lld heads, %lld buckets: at most 65535 of each",
                       (long long)a.H, (long long)a.buckets);
    if (a.features & 1U << RS_PAIR_TOP) {
        void *top = nullptr;
        RS_TRY(rs_cuda_scratch_get(d, RS_CUDA_PARTS, (size_t)(a.T * a.H) * sizeof(int32_t), &top, err));
        top_args t = {a, static_cast<int32_t *>(top)};
        RS_TRY(rs_cuda_launch(d, "pair_reduce", find_top, dim3(rs_cuda_blocks(a.T * a.H, 128, INT32_MAX)), dim3(128), 0,
                              err, t));
        a.top = t.top;
    }
    /* Many rows are worth more lanes; the choice changes the order of sums, so the sizes alone decide. */
    if (a.T >= 2048) RS_TRY(rs_cuda_launch(d, "pair_reduce", reduce_pairs<16>, grid, dim3(PAIRS, 16), 0, err, a));
    else RS_TRY(rs_cuda_launch(d, "pair_reduce", reduce_pairs<8>, grid, dim3(PAIRS, 8), 0, err, a));
out:
    return st;
}

rs_status rs_cuda_pattern_reduce(rs_device *d, const rs_op *op, rs_error *err) {
    rs_status st = RS_OK;
    const rs_op_pattern_reduce *o = &op->u.pattern_reduce;
    void *parts = nullptr;
    pattern_args a = {};
    a.p = rs_cuda_data<float>(&o->p);
    a.stats = rs_cuda_data<float>(&o->stats);
    a.head = o->p.stride[0];
    a.row = o->p.stride[1];
    a.stats_head = o->stats.stride[0];
    a.stats_row = o->stats.stride[1];
    a.H = o->p.dim[0];
    a.R = o->p.dim[1];
    a.C = o->p.dim[2];
    a.row0 = o->row0;
    a.col0 = o->col0;
    a.window = o->window;
    a.T = o->positions;
    a.skipped = o->skip_first && o->col0 == 0 ? 1 : 0;
    a.duplicate = list_of(&o->duplicate_start, &o->duplicate_column);
    a.induction = list_of(&o->induction_start, &o->induction_column);
    a.sums = rs_cuda_data<double>(&o->sums);
    a.profile = rs_cuda_data<double>(&o->profile);
    a.map = rs_cuda_data<double>(&o->map);
    a.blocks = a.map ? o->map.dim[1] : BLOCKS_WITHOUT_MAP;
    a.band0 = a.row0 * a.blocks / a.T;
    a.bands = (a.row0 + a.R - 1) * a.blocks / a.T - a.band0 + 1;
    a.duplicate_fault = rs_cuda_fault_of(d, RS_OP_PATTERN_REDUCE, "duplicate_start");
    a.induction_fault = rs_cuda_fault_of(d, RS_OP_PATTERN_REDUCE, "induction_start");
    int64_t rectangles = a.H * a.bands * a.blocks;
    if (a.H > 65535 || rectangles > INT32_MAX)
        return rs_fail(err, RS_E_INTERNAL, "op pattern_reduce: %lld heads, %lld blocks of the map: too many",
                       (long long)a.H, (long long)a.blocks);
    RS_TRY(rs_cuda_scratch_get(d, RS_CUDA_PARTS,
                               (size_t)(2 * rectangles + a.H * a.R * RS_PATTERN_SUMS) * sizeof(double), &parts, err));
    a.parts = static_cast<double *>(parts);
    a.rows = a.parts + 2 * rectangles;
    RS_TRY(rs_cuda_launch(d, "pattern_reduce", read_entries, dim3(rs_cuda_blocks(a.H * a.R, 8, INT32_MAX)), dim3(256),
                          0, err, a));
    RS_TRY(
        rs_cuda_launch(d, "pattern_reduce", sum_entries, dim3(RS_PATTERN_SUMS, (unsigned)a.H), dim3(128), 0, err, a));
    RS_TRY(rs_cuda_launch(d, "pattern_reduce", sum_rectangles, dim3((unsigned)rectangles), dim3(128), 0, err, a));
    RS_TRY(rs_cuda_launch(d, "pattern_reduce", sum_parts, dim3(rs_cuda_blocks(a.H, 128)), dim3(128), 0, err, a));
    if (a.profile)
        RS_TRY(rs_cuda_launch(d, "pattern_reduce", sum_distances,
                              dim3(rs_cuda_blocks(a.row0 + a.R, 256, INT32_MAX), (unsigned)a.H), dim3(256), 0, err, a));
out:
    return st;
}

rs_status rs_cuda_profile_reduce(rs_device *d, const rs_op *op, rs_error *err) {
    const rs_op_profile_reduce *o = &op->u.profile_reduce;
    profile_args a = {};
    a.profile = rs_cuda_data<double>(&o->profile);
    a.start = rs_cuda_data<int32_t>(&o->start);
    a.bins = rs_cuda_data<double>(&o->bins);
    a.distance = rs_cuda_data<double>(&o->distance);
    a.toeplitz = rs_cuda_data<double>(&o->toeplitz);
    a.T = o->profile.dim[1];
    a.n = o->start.dim[0];
    a.most = o->window > 0 && o->window < a.T - 1 ? o->window : a.T - 1;
    a.start_fault = rs_cuda_fault_of(d, RS_OP_PROFILE_REDUCE, "start");
    return rs_cuda_launch(d, "profile_reduce", reduce_profile, dim3((unsigned)o->profile.dim[0]), dim3(256), 0, err, a);
}
