/* kernels/cuda/cuda_probes.cu: the sums that probes ask for: PAIR_REDUCE, PATTERN_REDUCE, PROFILE_REDUCE. Every sum has
 * one owner and a fixed order, so two runs give the same bytes; no floating-point atomics. */
#include "kernels/cuda/cuda_device.h"

namespace {

/* ---- pairs ---- */

enum {
    PAIRS = 32,          /* pairs of a block: one warp's lanes */
    AHEAD = 8,           /* rows that a thread loads before it adds them up */
    SEGMENT_ROWS = 1024, /* rows are cut into segments so long, or longer ones where there would be too many */
    SEGMENTS = 16
};

struct pair_args {
    const float *x;
    const int32_t *lo, *hi, *bucket; /* [F] | NULL, [F] | NULL, [T] */
    const int32_t *top;              /* [T, H] pair of largest |z|; NULL when nobody asks */
    double *out;                     /* [buckets, H, features, F] */
    double *parts;                   /* [segments, buckets, H, features, F] | NULL: one segment, added to out */
    int64_t rows;                    /* of a segment */
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

/* One warp, one head of one position: the pair of largest |z|, the first one on ties. */
__global__ void __launch_bounds__(128) find_top(top_args a) {
    int64_t unit = (int64_t)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
    if (unit >= a.p.T * a.p.H) return;
    int lane = (int)(threadIdx.x % 32);
    const float *x = a.p.x + unit / a.p.H * a.p.row + unit % a.p.H * a.p.head;
    double most = -1.0;
    int top = 0;
#pragma unroll 1
    for (int64_t f = lane; f < a.p.F; f += 32) {
        double re = (double)x[component_lo(a.p, f)], im = (double)x[component_hi(a.p, f)], square = re * re + im * im;
        if (square > most) {
            most = square;
            top = (int)f;
        }
    }
    for (int step = 16; step > 0; step /= 2) {
        double other = __shfl_xor_sync(0xFFFFFFFFU, most, step);
        int its = __shfl_xor_sync(0xFFFFFFFFU, top, step);
        bool better = other > most || (other == most && its < top);
        most = better ? other : most;
        top = better ? its : top;
    }
    if (lane == 0) a.top[unit] = top;
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

/* One block: PAIRS pairs (x) of one head, the rows of a segment in one bucket, dealt out to blockDim.y lanes.
 * blockIdx: x = group of pairs, y = head, z = segment * buckets + bucket. */
template <int LANES> __global__ void __launch_bounds__(PAIRS *LANES) reduce_pairs(pair_args a) {
    int64_t f = (int64_t)blockIdx.x * PAIRS + threadIdx.x, h = blockIdx.y, b = blockIdx.z % a.buckets;
    int64_t first = blockIdx.z / a.buckets * a.rows, end = first + a.rows < a.T ? first + a.rows : a.T;
    int64_t here = f < a.F ? f : a.F - 1; /* threads behind the last pair go along with it and write nothing */
    int lo = component_lo(a, here), hi = component_hi(a, here);
    double sum[RS_PAIR_FEATURES] = {0};
    const float *x = a.x + h * a.head;
    for (int64_t t0 = first + threadIdx.y; t0 < end; t0 += AHEAD * LANES) {
        float re[AHEAD], im[AHEAD];
        bool counts[AHEAD];
        /* All loads first: their waits run side by side. */
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            int64_t t = t0 + i * LANES;
            counts[i] = t < end && rs_cuda_index(a.bucket, t, -1, a.buckets, a.bucket_fault) == b;
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
    double *out =
        (a.parts ? a.parts + (blockIdx.z * a.H + h) * a.count * a.F : a.out + (b * a.H + h) * a.count * a.F) + f;
#pragma unroll
    for (int feature = 0; feature < RS_PAIR_FEATURES; feature++) {
        if (!(a.features >> feature & 1U)) continue;
        double total = rs_cuda_column_sum<PAIRS, LANES>(sum[feature]);
        if (threadIdx.y == 0 && f < a.F) *out = a.parts ? total : *out + total;
        out += a.F;
    }
}

/* One thread, one sum: the segments in their order. n: [buckets, H, features, F]. */
__global__ void __launch_bounds__(256) add_segments(const double *parts, double *out, int64_t n, int64_t segments) {
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    double total = 0;
    for (int64_t s = 0; s < segments; s++) total += parts[s * n + i];
    out[i] += total;
}

/* ---- patterns ---- */

/* The tile is cut along the map's blocks, and these into pieces of at most PIECE x PIECE entries, which are read once.
 * STRIP rows stand in shared memory at a time: a warp reads a row, and then threads go along the diagonals. */
enum { PIECE = 256, STRIP = 8 };
enum {
    PIECE_MASS,
    PIECE_SQUARES,
    PIECE_CORNER, /* the entry of position 0, for the map alone */
    PIECE_DUPLICATE,
    PIECE_INDUCTION,
    PIECE_SUMS
};

struct pattern_args {
    const float *p, *stats;                   /* [H, R, C], [H, R, 2] */
    int64_t head, row, stats_head, stats_row; /* strides */
    int64_t H, R, C, row0, col0, window, T;
    int64_t skipped;              /* columns on the left that SQUARE and profile leave out: 0 or 1 */
    const int32_t *ids;           /* [T] | NULL */
    double *sums, *profile, *map; /* [H, RS_PATTERN_SUMS], [H, T] | NULL, [H, blocks, blocks] | NULL */
    int64_t blocks, bands,
        band0;          /* of the map's blocks (or of as many without a map): row blocks in the tile, the first */
    int64_t down, over; /* pieces of a row block, of a column block */
    int64_t slots;      /* diagonals of a piece, at most */
    double *rows;       /* [H, R, RS_PATTERN_SUMS] what single entries of a row give */
    double *parts;      /* [H, bands, down, blocks, over, PIECE_SUMS] */
    double *diagonals;  /* [H, bands, down, blocks, over, slots] sums along the diagonals of a piece | NULL */
};

__host__ __device__ __forceinline__ int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
__device__ __forceinline__ int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

/* One thread, one row at a position >= 1: what single entries of it give, into rows[h, r]. Zeros for position 0. */
__global__ void __launch_bounds__(256) read_entries(pattern_args a) {
    int64_t unit = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (unit >= a.H * a.R) return;
    int64_t h = unit / a.R, r = unit % a.R, t = a.row0 + r, c = t - a.col0;
    const float *row = a.p + h * a.head + r * a.row;
    double *out = a.rows + unit * RS_PATTERN_SUMS;
    for (int i = 0; i < RS_PATTERN_SUMS; i++) out[i] = 0;
    if (t == 0) return;
    if (c < a.C) out[RS_PATTERN_DIAGONAL] = (double)row[c];
    if (c >= 1 && c <= a.C) out[RS_PATTERN_PREVIOUS] = (double)row[c - 1];
    if (a.col0 == 0) out[RS_PATTERN_FIRST] = (double)row[0];
    out[RS_PATTERN_ENTROPY] = (double)a.stats[h * a.stats_head + r * a.stats_row + 1];
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

/* A piece of the tile: rows [r0, r1), columns [c0, c1). */
struct piece {
    int64_t r0, r1, c0, c1;
};

/* Piece `down` (of all row blocks) and `over` (of all column blocks); false when there is nothing there, or nothing
 * that a row of it may see. */
__device__ __forceinline__ bool piece_at(const pattern_args &a, int64_t down, int64_t over, piece *out) {
    int64_t b = a.band0 + down / a.down, j = over / a.over;
    out->r0 = larger(rs_cuda_block_start(b, a.blocks, a.T) - a.row0, 0) + down % a.down * PIECE;
    out->r1 = smaller(smaller(rs_cuda_block_start(b + 1, a.blocks, a.T) - a.row0, a.R), out->r0 + PIECE);
    out->c0 = larger(rs_cuda_block_start(j, a.blocks, a.T) - a.col0, 0) + over % a.over * PIECE;
    out->c1 = smaller(smaller(rs_cuda_block_start(j + 1, a.blocks, a.T) - a.col0, a.C), out->c0 + PIECE);
    return out->r0 < out->r1 && out->c0 < out->c1 && a.col0 + out->c0 < a.row0 + out->r1;
}

/* Row r of the piece into the strip, zeros where there is nothing, by one warp; what SQUARE and profile leave out is
 * zero there too. Sums of this lane's entries into part. */
__device__ __forceinline__ void read_row(const pattern_args &a, const piece &q, const float *p, int64_t r, int lane,
                                         float *strip, double part[PIECE_SUMS]) {
    int64_t t = a.row0 + r, end = r < q.r1 ? smaller(q.c1, t + 1 - a.col0) : q.c0; /* zeros behind its own position */
    float v[PIECE / 32], sum = 0, square = 0, duplicate = 0, induction = 0;
#pragma unroll
    for (int i = 0; i < PIECE / 32; i++) {
        int64_t c = q.c0 + lane + 32 * i;
        v[i] = c < end ? p[r * a.row + c] : 0.0F;
    }
#pragma unroll
    for (int i = 0; i < PIECE / 32; i++) {
        bool skipped = t == 0 || q.c0 + lane + 32 * i < a.skipped;
        float kept = skipped ? 0.0F : v[i];
        sum += v[i];
        square += kept * kept;
        strip[lane + 32 * i] = kept;
    }
    /* Columns 1 .. t - 1 that hold the row's own token, or stand behind one that does. */
    int own = a.ids && r < q.r1 ? a.ids[t] : 0;
#pragma unroll
    for (int i = 0; i < PIECE / 32; i++) {
        int64_t at = a.col0 + q.c0 + lane + 32 * i;
        if (!a.ids || at < 1 || at >= t || at - a.col0 >= end) continue;
        duplicate += a.ids[at] == own ? v[i] : 0.0F;
        induction += a.ids[at - 1] == own ? v[i] : 0.0F;
    }
    part[PIECE_DUPLICATE] += (double)duplicate;
    part[PIECE_INDUCTION] += (double)induction;
    /* Position 0 sees itself alone and joins the map, not the sums. */
    part[PIECE_CORNER] += t == 0 ? (double)sum : 0.0;
    part[PIECE_MASS] += t == 0 ? 0.0 : (double)sum;
    part[PIECE_SQUARES] += (double)square;
}

/* Sum of the strip along diagonal g of the piece (row - column + columns - 1); its first row is row s of the piece. */
__device__ __forceinline__ float along(const float *strip, int64_t s, int64_t columns, int64_t g) {
    float sum = 0;
#pragma unroll
    for (int i = 0; i < STRIP; i++) {
        int64_t c = s + i + columns - 1 - g;
        if (c >= 0 && c < columns) sum += strip[i * PIECE + c];
    }
    return sum;
}

/* One block, one piece of one head: its sums, and with a profile those along its diagonals, of which a thread has two.
 * blockIdx.x = (h * all pieces down + piece) * all pieces over + piece. */
__global__ void __launch_bounds__(PIECE) sum_pieces(pattern_args a) {
    RS_SHARED(float, strip, STRIP *PIECE);
    int64_t over = a.blocks * a.over, down = a.bands * a.down, h = blockIdx.x / over / down;
    double part[PIECE_SUMS] = {0}, total[2] = {0, 0};
    piece q;
    bool seen = piece_at(a, blockIdx.x / over % down, blockIdx.x % over, &q);
    int64_t rows = seen ? q.r1 - q.r0 : 0, columns = q.c1 - q.c0;
    int lane = (int)(threadIdx.x % 32), warp = (int)(threadIdx.x / 32);
    for (int64_t s = 0; s < rows; s += STRIP) {
        read_row(a, q, a.p + h * a.head, q.r0 + s + warp, lane, strip + warp * PIECE, part);
        if (!a.diagonals) continue;
        __syncthreads();
#pragma unroll
        for (int i = 0; i < 2; i++) {
            int64_t g = threadIdx.x + i * PIECE;
            if (g >= s && g < s + STRIP + columns) total[i] += (double)along(strip, s, columns, g);
        }
        __syncthreads(); /* the strip is read */
    }
#pragma unroll
    for (int i = 0; i < PIECE_SUMS; i++) {
        double sum = rs_cuda_block_sum(part[i]);
        if (threadIdx.x == 0) a.parts[PIECE_SUMS * (int64_t)blockIdx.x + i] = sum;
    }
#pragma unroll
    for (int i = 0; i < 2; i++) {
        int64_t g = threadIdx.x + i * PIECE;
        if (a.diagonals && g < rows + columns - 1) a.diagonals[blockIdx.x * a.slots + g] = total[i];
    }
}

/* One block, one head: a thread takes a cell of the map with all its pieces. */
__global__ void __launch_bounds__(128) sum_cells(pattern_args a) {
    int64_t h = blockIdx.x, over = a.blocks * a.over;
    double all[PIECE_SUMS] = {0};
    for (int64_t cell = threadIdx.x; cell < a.bands * a.blocks; cell += blockDim.x) {
        int64_t i = cell / a.blocks, j = cell % a.blocks;
        double sum[PIECE_SUMS] = {0};
        for (int64_t n = 0; n < a.down * a.over; n++) {
            int64_t at = ((h * a.bands + i) * a.down + n / a.over) * over + j * a.over + n % a.over;
#pragma unroll
            for (int k = 0; k < PIECE_SUMS; k++) sum[k] += a.parts[PIECE_SUMS * at + k];
        }
#pragma unroll
        for (int k = 0; k < PIECE_SUMS; k++) all[k] += sum[k];
        if (a.map) a.map[(h * a.blocks + a.band0 + i) * a.blocks + j] += sum[PIECE_MASS] + sum[PIECE_CORNER];
    }
#pragma unroll
    for (int k = 0; k < PIECE_SUMS; k++) all[k] = rs_cuda_block_sum(all[k]);
    if (threadIdx.x != 0) return;
    double *sums = a.sums + h * RS_PATTERN_SUMS;
    sums[RS_PATTERN_MASS] += all[PIECE_MASS];
    sums[RS_PATTERN_SQUARE] += all[PIECE_SQUARES];
    sums[RS_PATTERN_DUPLICATE] += all[PIECE_DUPLICATE];
    sums[RS_PATTERN_INDUCTION] += all[PIECE_INDUCTION];
}

/* One thread, one distance of one head: the diagonals of the pieces that it crosses, in their order. blockIdx.y = head.
 */
__global__ void __launch_bounds__(256) sum_distances(pattern_args a) {
    int64_t d = (int64_t)blockIdx.x * blockDim.x + threadIdx.x, h = blockIdx.y;
    if (d >= a.row0 + a.R || (a.window > 0 && d >= a.window)) return;
    int64_t over = a.blocks * a.over, down = a.bands * a.down;
    double total = 0;
    for (int64_t y = 0; y < down; y++) {
        piece q;
        piece_at(a, y, 0, &q); /* its rows, which reach the positions row0 + r - d */
        int64_t first = larger(a.row0 + q.r0 - d, a.col0), last = smaller(a.row0 + q.r1 - 1 - d, a.col0 + a.C - 1);
        if (first > last || q.r0 >= q.r1) continue;
        for (int64_t x = first * a.blocks / a.T * a.over; x < (last * a.blocks / a.T + 1) * a.over; x++) {
            if (!piece_at(a, y, x, &q)) continue;
            int64_t columns = q.c1 - q.c0, g = d - (a.row0 + q.r0 - a.col0 - q.c0) + columns - 1;
            if (g >= 0 && g < q.r1 - q.r0 + columns - 1)
                total += a.diagonals[((h * down + y) * over + x) * a.slots + g];
        }
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
    a.rows = (a.T + SEGMENTS - 1) / SEGMENTS;
    if (a.rows < SEGMENT_ROWS) a.rows = SEGMENT_ROWS;
    int64_t segments = (a.T + a.rows - 1) / a.rows, n = a.buckets * a.H * a.count * a.F;
    dim3 grid(rs_cuda_blocks(a.F, PAIRS), (unsigned)a.H, (unsigned)(a.buckets * segments));
    if (a.H > 65535 || a.buckets * segments > 65535)
        return rs_fail(err, RS_E_INTERNAL, "op pair_reduce: %lld heads, %lld buckets in %lld segments: at most 65535",
                       (long long)a.H, (long long)a.buckets, (long long)segments);
    bool cut = segments > 1;
    size_t parts = cut ? (size_t)(segments * n) * sizeof(double) : 0;
    void *memory = nullptr;
    RS_TRY(rs_cuda_scratch_get(d, RS_CUDA_PARTS, parts + (size_t)(a.T * a.H) * sizeof(int32_t), &memory, err));
    a.parts = cut ? static_cast<double *>(memory) : nullptr;
    if (a.features & 1U << RS_PAIR_TOP) {
        top_args t = {a, reinterpret_cast<int32_t *>(static_cast<char *>(memory) + parts)};
        RS_TRY(rs_cuda_launch(d, "pair_reduce", find_top, dim3(rs_cuda_blocks(a.T * a.H, 4, INT32_MAX)), dim3(128), 0,
                              err, t));
        a.top = t.top;
    }
    /* Many rows are worth more lanes; the choice changes the order of sums, so the sizes alone decide. */
    if (a.T >= 2048) RS_TRY(rs_cuda_launch(d, "pair_reduce", reduce_pairs<16>, grid, dim3(PAIRS, 16), 0, err, a));
    else RS_TRY(rs_cuda_launch(d, "pair_reduce", reduce_pairs<8>, grid, dim3(PAIRS, 8), 0, err, a));
    if (cut)
        RS_TRY(rs_cuda_launch(d, "pair_reduce", add_segments, dim3(rs_cuda_blocks(n, 256, INT32_MAX)), dim3(256), 0,
                              err, (const double *)a.parts, a.out, n, segments));
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
    a.ids = rs_cuda_data<int32_t>(&o->ids);
    a.sums = rs_cuda_data<double>(&o->sums);
    a.profile = rs_cuda_data<double>(&o->profile);
    a.map = rs_cuda_data<double>(&o->map);
    a.blocks = a.map ? o->map.dim[1] : BLOCKS_WITHOUT_MAP;
    a.band0 = a.row0 * a.blocks / a.T;
    a.bands = (a.row0 + a.R - 1) * a.blocks / a.T - a.band0 + 1;
    int64_t side = (a.T + a.blocks - 1) / a.blocks, tall = smaller(side, a.R), wide = smaller(side, a.C);
    a.down = (tall + PIECE - 1) / PIECE;
    a.over = (wide + PIECE - 1) / PIECE;
    a.slots = a.profile ? smaller(tall, PIECE) + smaller(wide, PIECE) - 1 : 0;
    int64_t pieces = a.H * a.bands * a.down * a.blocks * a.over, entries = a.H * a.R * RS_PATTERN_SUMS;
    if (a.H > 65535 || pieces > INT32_MAX)
        return rs_fail(err, RS_E_INTERNAL, "op pattern_reduce: %lld heads, %lld blocks of the map: too many",
                       (long long)a.H, (long long)a.blocks);
    RS_TRY(rs_cuda_scratch_get(d, RS_CUDA_PARTS, (size_t)(pieces * (PIECE_SUMS + a.slots) + entries) * sizeof(double),
                               &parts, err));
    a.rows = static_cast<double *>(parts);
    a.parts = a.rows + entries;
    a.diagonals = a.profile ? a.parts + PIECE_SUMS * pieces : nullptr;
    RS_TRY(rs_cuda_launch(d, "pattern_reduce", read_entries, dim3(rs_cuda_blocks(a.H * a.R, 256, INT32_MAX)), dim3(256),
                          0, err, a));
    RS_TRY(
        rs_cuda_launch(d, "pattern_reduce", sum_entries, dim3(RS_PATTERN_SUMS, (unsigned)a.H), dim3(128), 0, err, a));
    RS_TRY(rs_cuda_launch(d, "pattern_reduce", sum_pieces, dim3((unsigned)pieces), dim3(PIECE), 0, err, a));
    RS_TRY(rs_cuda_launch(d, "pattern_reduce", sum_cells, dim3((unsigned)a.H), dim3(128), 0, err, a));
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
