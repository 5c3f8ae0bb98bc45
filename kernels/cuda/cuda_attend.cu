/* kernels/cuda/cuda_attend.cu: ATTEND and ATTEND_REDUCE: attention whose pattern never leaves the chip. A block has
 * ROWS queries of a head, a warp 16 of them, and goes over the keys KEYS at a time, which are copied into shared memory
 * while those before are worked on. ATTEND is FlashAttention's forward pass (Dao, arXiv 2307.08691) with the entropy of
 * the rows; ATTEND_REDUCE forms the pattern anew from the rows' log-sum-exp and adds it up. Every sum has one owner and
 * a fixed order. */
#include "kernels/cuda/cuda_tensor.h"

namespace {

enum { ROWS = 128, KEYS = 64, THREADS = 256, WARPS = 8, TILES = KEYS / 8 };

constexpr float LOG2_E = 1.44269504F, LN_2 = 0.693147181F;
constexpr float NOTHING = -3e38F; /* maximum of no entries: finite, for differences with itself must be 0 */

/* [T, heads, width] halves; strides in elements. */
struct head_rows {
    const __nv_bfloat16 *data;
    int64_t row, head, width;
};

/* Scores of a head: q k^T, in units of ln 2, for exp2 costs the card less. Positions are int in the kernels, which have
 * many of them to compare: op.c sees to it that they fit. */
struct score_args {
    head_rows q, k;
    const int32_t *slot; /* [H] */
    int64_t S;
    int T, window;
    float inner, outer; /* score = outer tanh(inner q.k) with a soft-cap, outer q.k without */
    bool capped;
    rs_cuda_fault slot_fault;
};

/* Halves from row to row of a tile in shared memory: eight more than there are, so that eight rows at one column lie in
 * different banks. */
template <int W> struct tile {
    enum { ROW = W + 8, HALVES = KEYS * ROW };
};

/* Rows first .. first + KEYS - 1 of a head on their way into shared memory [KEYS, W + 8], zeros where there are none.
 */
template <int W>
__device__ __forceinline__ void fetch(const head_rows &x, int64_t head, int first, int T, __nv_bfloat16 *to) {
    enum { CHUNKS = W / 8 };
    const __nv_bfloat16 *from = x.data + head * x.head;
    for (int i = (int)threadIdx.x; i < KEYS * CHUNKS; i += THREADS) {
        int row = i / CHUNKS, column = i % CHUNKS * 8;
        bool there = first + row < T && column < x.width;
        rs_cuda_copy_async(to + row * tile<W>::ROW + column,
                           there ? from + (int64_t)(first + row) * x.row + column : from, there);
    }
}

/* The warp's 16 queries as left operands. */
template <int W>
__device__ __forceinline__ void load_queries(const head_rows &x, int64_t head, int first, int T,
                                             unsigned q[W / 16][4]) {
    int lane = (int)(threadIdx.x % 32);
#pragma unroll
    for (int k = 0; k < W / 16; k++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int row = first + lane / 4 + 8 * (i % 2);
            int column = 16 * k + 2 * (lane % 4) + 8 * (i / 2);
            bool there = row < T && column < x.width;
            q[k][i] = there ? rs_vector_load<unsigned>(x.data + (int64_t)row * x.row + head * x.head + column) : 0U;
        }
    }
}

/* s = q k^T of 16 queries and the tile's keys; keys: [KEYS, W + 8]. */
template <int W>
__device__ __forceinline__ void multiply_keys(const unsigned q[W / 16][4], const __nv_bfloat16 *keys,
                                              float s[TILES][4]) {
    int lane = (int)(threadIdx.x % 32), matrix = lane / 8;
    const __nv_bfloat16 *row = keys + (8 * (matrix / 2) + lane % 8) * tile<W>::ROW + 8 * (matrix % 2);
#pragma unroll
    for (int j = 0; j < TILES; j++) {
#pragma unroll
        for (int i = 0; i < 4; i++) s[j][i] = 0;
    }
#pragma unroll
    for (int k = 0; k < W / 16; k++) {
#pragma unroll
        for (int j = 0; j < TILES; j += 2) {
            unsigned b[4];
            rs_cuda_load_matrices(b, row + 8 * j * tile<W>::ROW + 16 * k);
            rs_cuda_mma(s[j], q[k], b[0], b[1]);
            rs_cuda_mma(s[j + 1], q[k], b[2], b[3]);
        }
    }
}

/* Position of the thread's entry i of matrix j of a tile: row, column. */
__device__ __forceinline__ int row_of(int first_row, int i) {
    return first_row + (int)(threadIdx.x % 32 / 4) + 8 * (i / 2);
}
__device__ __forceinline__ int column_of(int first_column, int j, int i) {
    return first_column + 8 * j + 2 * (int)(threadIdx.x % 4) + i % 2;
}

__device__ __forceinline__ bool sees(const score_args &a, int row, int column) {
    return column <= row && row < a.T && (a.window == 0 || row - column < a.window);
}

/* Do 16 rows from first_row on see all of the tile, and neither themselves, nor the position before, nor position 0 in
 * it? Most tiles are such, and need no comparisons. */
__device__ __forceinline__ bool lies_inside(const score_args &a, int first_row, int first_column) {
    return first_column > 0 && first_column + KEYS < first_row && first_row + 16 <= a.T &&
           (a.window == 0 || first_row + 15 - first_column < a.window);
}

__device__ __forceinline__ float score(const score_args &a, float product) {
    return a.capped ? a.outer * tanhf(a.inner * product) : a.outer * product;
}

/* Keys that somebody among rows first_row .. first_row + ROWS - 1 sees: tiles from *first to *end, in columns. */
__device__ __forceinline__ void key_range(int first_row, int T, int window, int *first, int *end) {
    int last = first_row + ROWS < T ? first_row + ROWS : T, leftmost = first_row - window + 1;
    *first = window > 0 && leftmost > 0 ? leftmost / KEYS * KEYS : 0;
    *end = (last + KEYS - 1) / KEYS * KEYS;
}

/* ---- ATTEND ---- */

struct attend_args {
    score_args s;
    head_rows v;
    int64_t group, blocks; /* query heads of a value head; blocks of rows */
    float *z, *stats;      /* [T, H, Dv], [H, T, 2] */
    int64_t z_row, z_head, stats_head, stats_row;
};

/* A row's running softmax, this thread's part of it: sum of e = exp2(x - most), sum of e (x - most). */
struct running_row {
    float most, sum, dot;
};

/* Scores become e; what was summed before is scaled to the new maximum. INSIDE: all of them are seen. */
template <int W, bool INSIDE>
__device__ __forceinline__ void take_scores(const score_args &a, int first_row, int first_column, float s[TILES][4],
                                            running_row row[2], float z[W / 8][4]) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
        running_row *r = &row[half];
        float most = r->most;
#pragma unroll
        for (int j = 0; j < TILES; j++) {
#pragma unroll
            for (int i = 2 * half; i < 2 * half + 2; i++) {
                bool seen = INSIDE || sees(a, row_of(first_row, i), column_of(first_column, j, i));
                s[j][i] = seen ? score(a, s[j][i]) : -INFINITY;
                most = fmaxf(most, s[j][i]);
            }
        }
        most = fmaxf(most, __shfl_xor_sync(0xFFFFFFFFU, most, 1));
        most = fmaxf(most, __shfl_xor_sync(0xFFFFFFFFU, most, 2));
        float shift = r->most - most, before = exp2f(shift);
        r->dot = before * (r->dot + (r->sum > 0 ? shift * r->sum : 0.0F));
        r->sum *= before;
        r->most = most;
#pragma unroll
        for (int j = 0; j < TILES; j++) {
#pragma unroll
            for (int i = 2 * half; i < 2 * half + 2; i++) {
                float below = s[j][i] - most, e = exp2f(below);
                r->sum += e;
                r->dot += e * fmaxf(below, -200.0F); /* e is 0 long before */
                s[j][i] = e;
            }
        }
#pragma unroll
        for (int n = 0; n < W / 8; n++) {
            z[n][2 * half] *= before;
            z[n][2 * half + 1] *= before;
        }
    }
}

/* z += e v; values: [KEYS, W + 8]. Two matrices of e side by side are a left operand, in the same lanes. */
template <int W>
__device__ __forceinline__ void add_values(const float e[TILES][4], const __nv_bfloat16 *values, float z[W / 8][4]) {
    int lane = (int)(threadIdx.x % 32), matrix = lane / 8;
    const __nv_bfloat16 *row = values + (8 * (matrix % 2) + lane % 8) * tile<W>::ROW + 8 * (matrix / 2);
#pragma unroll
    for (int k = 0; k < KEYS / 16; k++) {
        const float *left = e[2 * k], *right = e[2 * k + 1];
        unsigned a[4] = {rs_cuda_pack(left[0], left[1]), rs_cuda_pack(left[2], left[3]),
                         rs_cuda_pack(right[0], right[1]), rs_cuda_pack(right[2], right[3])};
#pragma unroll
        for (int n = 0; n < W / 8; n += 2) {
            unsigned b[4];
            rs_cuda_load_transposed(b, row + 16 * k * tile<W>::ROW + 8 * n);
            rs_cuda_mma(z[n], a, b[0], b[1]);
            rs_cuda_mma(z[n + 1], a, b[2], b[3]);
        }
    }
}

__device__ __forceinline__ float quad_sum(float v) {
    v += __shfl_xor_sync(0xFFFFFFFFU, v, 1);
    return v + __shfl_xor_sync(0xFFFFFFFFU, v, 2);
}

/* With l = sum of e: log-sum-exp = most + log l, entropy = log l - dot / l. */
template <int W>
__device__ __forceinline__ void finish_rows(const attend_args &a, int64_t h, int first_row, const running_row row[2],
                                            const float z[W / 8][4]) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
        int t = row_of(first_row, 2 * half);
        float sum = quad_sum(row[half].sum), dot = quad_sum(row[half].dot), log_sum = log2f(sum);
        if (t >= a.s.T) continue;
        float *out = a.z + t * a.z_row + h * a.z_head, *stats = a.stats + h * a.stats_head + t * a.stats_row;
#pragma unroll
        for (int n = 0; n < W / 8; n++) {
#pragma unroll
            for (int i = 0; i < 2; i++) {
                int column = column_of(0, n, i);
                if (column < a.v.width) out[column] = z[n][2 * half + i] / sum;
            }
        }
        if (threadIdx.x % 4 == 0) {
            stats[0] = LN_2 * (row[half].most + log_sum);
            stats[1] = LN_2 * (log_sum - dot / sum);
        }
    }
}

/* blockIdx: x = block of rows, the last ones first, for they see most; y = head. Dynamic shared memory: keys and
 * values, each twice [KEYS, W + 8]. */
template <int W> __global__ void __launch_bounds__(THREADS) attend_rows(attend_args a) {
    RS_SHARED_DYNAMIC(__nv_bfloat16, shared);
    enum { HALVES = tile<W>::HALVES };
    int64_t h = blockIdx.y;
    int block_row = (int)(a.blocks - 1 - blockIdx.x) * ROWS, first_row = block_row + (int)(threadIdx.x / 32) * 16;
    int first = 0, end = 0;
    int64_t slot = rs_cuda_index(a.s.slot, h, 0, a.s.S, a.s.slot_fault);
    unsigned q[W / 16][4];
    float z[W / 8][4] = {{0}};
    running_row row[2] = {{NOTHING, 0, 0}, {NOTHING, 0, 0}};
    load_queries<W>(a.s.q, h, first_row, a.s.T, q);
    key_range(block_row, a.s.T, a.s.window, &first, &end);
    fetch<W>(a.s.k, slot, first, a.s.T, shared);
    fetch<W>(a.v, h / a.group, first, a.s.T, shared + HALVES);
    rs_cuda_copies_commit();
    for (int column = first, turn = 0; column < end; column += KEYS, turn ^= 1) {
        const __nv_bfloat16 *keys = shared + 2 * turn * HALVES;
        __nv_bfloat16 *next = shared + 2 * (turn ^ 1) * HALVES;
        if (column + KEYS < end) {
            fetch<W>(a.s.k, slot, column + KEYS, a.s.T, next);
            fetch<W>(a.v, h / a.group, column + KEYS, a.s.T, next + HALVES);
        }
        rs_cuda_copies_commit();
        rs_cuda_copies_wait<1>();
        __syncthreads(); /* everybody's copies are there */
        if (column <= first_row + 15) {
            float s[TILES][4];
            multiply_keys<W>(q, keys, s);
            if (lies_inside(a.s, first_row, column)) take_scores<W, true>(a.s, first_row, column, s, row, z);
            else take_scores<W, false>(a.s, first_row, column, s, row, z);
            add_values<W>(s, keys + HALVES, z);
        }
        __syncthreads(); /* everybody has read them */
    }
    finish_rows<W>(a, h, first_row, row, z);
}

/* ---- ATTEND_REDUCE ---- */

/* Sums of a block of rows: those to which every tile adds, then those that take one entry of a row. */
enum {
    PART_SQUARE,
    PART_DUPLICATE,
    PART_INDUCTION,
    PART_MASS,
    PART_OFTEN,
    PART_DIAGONAL = PART_OFTEN,
    PART_PREVIOUS,
    PART_FIRST,
    PARTS
};

/* A thread's part of them; single entries of its two rows are few. */
struct thread_parts {
    double often[PART_OFTEN];
    float seldom[PARTS - PART_OFTEN];
};

/* Shared memory of a block: keys twice, the pattern of a tile, sums along diagonals. Rows of the pattern lie 72 floats
 * apart: pairs of columns are written without two lanes in one bank. */
enum { PATTERN_ROW = 72, PATTERN = ROWS * PATTERN_ROW, DIAGONALS = ROWS + KEYS - 1, RING = 256 };

struct reduce_args {
    score_args s;
    const float *stats; /* [H, T, 2] */
    int64_t stats_head, stats_row;
    const int32_t *ids;           /* [T] | NULL */
    double *sums, *profile, *map; /* [H, RS_PATTERN_SUMS], [H, T] | NULL, [H, B, B] | NULL */
    int64_t H, B, bands;          /* bands: most row blocks of the map that 16 rows reach */
    int skipped;                  /* columns on the left that SQUARE and profile leave out: 0 or 1 */
    int64_t block0, blocks;       /* blocks of rows of this launch */
    double *parts;                /* [H, blocks, PARTS] */
    double *distances;            /* [H, blocks, T] | NULL: sums by distance, where the block reaches */
    double *cells;                /* [H, blocks, WARPS, bands, B] | NULL */
};

/* What the rows of a thread need of every tile. */
struct row_facts {
    float log_sum[2]; /* in units of ln 2 */
    int own[2];       /* token */
};

/* Tokens of a tile's columns: token[j] holds those of the thread's two columns of matrix j, behind that of the column
 * before them. */
__device__ __forceinline__ void load_tokens(const reduce_args &a, int first_column, int j, int token[3]) {
    int left = column_of(first_column, j, 0);
#pragma unroll
    for (int i = 0; i < 3; i++) token[i] = a.ids && left + i >= 1 && left + i <= a.s.T ? a.ids[left + i - 1] : 0;
}

/* Products become the pattern, and its entries join the thread's sums; returns what they add up to. INSIDE: as
 * lies_inside says. */
template <bool INSIDE>
__device__ __forceinline__ float take_pattern(const reduce_args &a, int first_row, int first_column,
                                              const row_facts &row, float p[TILES][4], thread_parts *part) {
    float sum[PARTS] = {0}, total = 0;
#pragma unroll
    for (int j = 0; j < TILES; j++) {
        int token[3];
        load_tokens(a, first_column, j, token);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int t = row_of(first_row, i), c = column_of(first_column, j, i);
            bool seen = INSIDE || sees(a.s, t, c), before = a.ids && (INSIDE || (c >= 1 && c < t));
            float v = seen ? exp2f(score(a.s, p[j][i]) - row.log_sum[i / 2]) : 0.0F;
            p[j][i] = v;
            total += v;
            sum[PART_DUPLICATE] += before && token[i % 2 + 1] == row.own[i / 2] ? v : 0.0F;
            sum[PART_INDUCTION] += before && token[i % 2] == row.own[i / 2] ? v : 0.0F;
            if (INSIDE) {
                sum[PART_SQUARE] += v * v;
                continue;
            }
            float counted = t > 0 ? v : 0.0F, kept = c >= a.skipped ? counted : 0.0F;
            sum[PART_MASS] += counted;
            sum[PART_SQUARE] += kept * kept;
            sum[PART_DIAGONAL] += c == t ? counted : 0.0F;
            sum[PART_PREVIOUS] += c == t - 1 ? counted : 0.0F;
            sum[PART_FIRST] += c == 0 ? counted : 0.0F;
        }
    }
    if (INSIDE) sum[PART_MASS] = total;
#pragma unroll
    for (int i = 0; i < PART_OFTEN; i++) part->often[i] += (double)sum[i];
#pragma unroll
    for (int i = PART_OFTEN; i < PARTS && !INSIDE; i++) part->seldom[i - PART_OFTEN] += sum[i];
    return total;
}

__device__ __forceinline__ float warp_sum(float v) {
    for (int step = 16; step > 0; step /= 2) v += __shfl_xor_sync(0xFFFFFFFFU, v, step);
    return v;
}

/* Sum of the thread's entries in rows [r0, r1) and columns [c0, c1). */
__device__ __forceinline__ float sum_within(const float p[TILES][4], int first_row, int first_column, int r0, int r1,
                                            int c0, int c1) {
    float sum = 0;
#pragma unroll
    for (int j = 0; j < TILES; j++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int t = row_of(first_row, i), c = column_of(first_column, j, i);
            sum += t >= r0 && t < r1 && c >= c0 && c < c1 ? p[j][i] : 0.0F;
        }
    }
    return sum;
}

/* Where the warp is in the map: row blocks of its first and last row, the column block that it has come to and where
 * the next one begins. */
struct map_place {
    int i0, i1, j, next;
};

__device__ __forceinline__ map_place enter_map(const reduce_args &a, int first_row, int first_column) {
    int last_row = first_row + 15 < a.s.T ? first_row + 15 : a.s.T - 1;
    int j = (int)(first_column * a.B / a.s.T);
    return {(int)(first_row * a.B / a.s.T), (int)(last_row * a.B / a.s.T), j,
            (int)rs_cuda_block_start(j + 1, a.B, a.s.T)};
}

/* The warp's 16 rows of the tile into the map's cells; mine: [bands, B]; total: of the thread's entries. */
__device__ __forceinline__ void add_cells(const reduce_args &a, int first_row, int first_column,
                                          const float p[TILES][4], float total, map_place *at, double *mine) {
    int end = first_column + KEYS < a.s.T ? first_column + KEYS : a.s.T;
    bool leads = threadIdx.x % 32 == 0;
    while (at->next <= first_column) at->next = (int)rs_cuda_block_start(++at->j + 1, a.B, a.s.T);
    if (at->i0 == at->i1 && end <= at->next) { /* one cell, as mostly */
        float sum = warp_sum(total);
        if (leads) mine[at->j] += (double)sum;
        return;
    }
    for (int i = at->i0; i <= at->i1; i++) {
        int r0 = (int)rs_cuda_block_start(i, a.B, a.s.T), r1 = (int)rs_cuda_block_start(i + 1, a.B, a.s.T);
        for (int j = at->j; j < a.B && rs_cuda_block_start(j, a.B, a.s.T) < end; j++) {
            int c0 = (int)rs_cuda_block_start(j, a.B, a.s.T), c1 = (int)rs_cuda_block_start(j + 1, a.B, a.s.T);
            float sum = warp_sum(sum_within(p, first_row, first_column, r0, r1, c0, c1));
            if (leads) mine[(i - at->i0) * a.B + j] += (double)sum;
        }
    }
}

/* What SQUARE and profile leave out becomes 0: the sink's column, and the row of position 0. */
__device__ __forceinline__ void drop_skipped(const reduce_args &a, int first_row, int first_column, float p[TILES][4]) {
#pragma unroll
    for (int j = 0; j < TILES; j++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            if (column_of(first_column, j, i) < a.skipped || row_of(first_row, i) == 0) p[j][i] = 0;
        }
    }
}

/* The tile's pattern where all threads of the block can read it: pattern [ROWS, PATTERN_ROW]. */
__device__ __forceinline__ void share_pattern(const float p[TILES][4], float *pattern) {
    int lane = (int)(threadIdx.x % 32);
    float *mine = pattern + (threadIdx.x / 32 * 16 + lane / 4) * PATTERN_ROW + 2 * (lane % 4);
#pragma unroll
    for (int j = 0; j < TILES; j++) {
        rs_vector_store(mine + 8 * j, make_float2(p[j][0], p[j][1]));
        rs_vector_store(mine + 8 * PATTERN_ROW + 8 * j, make_float2(p[j][2], p[j][3]));
    }
}

/* Sum along diagonal g = row - column + KEYS - 1 of the tile. Lanes begin at different columns, up to SKEW - 1, so that
 * they read different banks. */
__device__ __forceinline__ float along(const float *pattern, int g) {
    enum { SKEW = 8 };
    int skew = g % 32 / 4, r0 = g + skew - (KEYS - 1), at = r0 * PATTERN_ROW + skew;
    float sum = 0;
#pragma unroll
    for (int i = 0; i <= KEYS - SKEW; i++) {
        if ((unsigned)(r0 + i) < (unsigned)ROWS) sum += pattern[at + i * (PATTERN_ROW + 1)];
    }
#pragma unroll
    for (int i = KEYS - SKEW + 1; i < KEYS; i++) {
        int c = (i + skew) % KEYS, r = g + c - (KEYS - 1);
        if ((unsigned)r < (unsigned)ROWS) sum += pattern[r * PATTERN_ROW + c];
    }
    return sum;
}

/* One thread, one diagonal. Distances that no later tile of the block reaches are done and leave the ring. */
__device__ __forceinline__ void add_diagonal(const reduce_args &a, int block_row, int column, bool last,
                                             const float *pattern, double *ring, double *out) {
    int g = (int)threadIdx.x;
    if (g >= DIAGONALS) return;
    int distance = block_row - column + g - (KEYS - 1);
    double *slot = &ring[distance & (RING - 1)], total = *slot + (double)along(pattern, g);
    bool done = last || g >= ROWS - 1;
    *slot = done ? 0.0 : total;
    if (done && distance >= 0 && distance < a.s.T) out[distance] = total;
}

/* blockIdx: x = block of rows, the last ones first; y = head. */
template <int W> __global__ void __launch_bounds__(THREADS, 1) reduce_rows(reduce_args a) {
    RS_SHARED_DYNAMIC(unsigned char, shared);
    enum { HALVES = tile<W>::HALVES };
    __nv_bfloat16 *keys = reinterpret_cast<__nv_bfloat16 *>(shared);
    float *pattern = reinterpret_cast<float *>(keys + 2 * HALVES);
    double *ring = reinterpret_cast<double *>(pattern + PATTERN);
    int64_t h = blockIdx.y, block = a.blocks - 1 - (int64_t)blockIdx.x, warp = threadIdx.x / 32;
    int block_row = (int)(a.block0 + block) * ROWS, first_row = block_row + (int)warp * 16, first = 0, end = 0;
    int64_t slot = rs_cuda_index(a.s.slot, h, 0, a.s.S, a.s.slot_fault), unit = h * a.blocks + block;
    double *mine = a.cells ? a.cells + (unit * WARPS + warp) * a.bands * a.B : nullptr;
    unsigned q[W / 16][4];
    thread_parts part = {};
    row_facts row = {};
    for (int half = 0; half < 2; half++) {
        int t = row_of(first_row, 2 * half);
        row.log_sum[half] = t < a.s.T ? LOG2_E * a.stats[h * a.stats_head + t * a.stats_row] : 0.0F;
        row.own[half] = a.ids && t < a.s.T ? a.ids[t] : 0;
    }
    for (int64_t i = threadIdx.x % 32; mine && i < a.bands * a.B; i += 32) mine[i] = 0;
    for (int i = (int)threadIdx.x; i < RING; i += THREADS) ring[i] = 0;
    load_queries<W>(a.s.q, h, first_row, a.s.T, q);
    key_range(block_row, a.s.T, a.s.window, &first, &end);
    fetch<W>(a.s.k, slot, first, a.s.T, keys);
    rs_cuda_copies_commit();
    map_place place = {};
    if (mine) place = enter_map(a, first_row, first);
    __syncwarp(); /* cells are zeros */
    for (int column = first, turn = 0; column < end; column += KEYS, turn ^= 1) {
        float p[TILES][4];
        if (column + KEYS < end) fetch<W>(a.s.k, slot, column + KEYS, a.s.T, keys + (turn ^ 1) * HALVES);
        rs_cuda_copies_commit();
        rs_cuda_copies_wait<1>();
        __syncthreads(); /* everybody's copies are there, and the tile before has been read */
        multiply_keys<W>(q, keys + turn * HALVES, p);
        bool inside = lies_inside(a.s, first_row, column);
        float total = inside ? take_pattern<true>(a, first_row, column, row, p, &part)
                             : take_pattern<false>(a, first_row, column, row, p, &part);
        if (mine && first_row < a.s.T) add_cells(a, first_row, column, p, total, &place, mine);
        if (!inside) drop_skipped(a, first_row, column, p);
        share_pattern(p, pattern);
        __syncthreads(); /* the pattern is whole */
        if (a.distances) {
            add_diagonal(a, block_row, column, column + KEYS >= end, pattern, ring, a.distances + unit * a.s.T);
        }
    }
#pragma unroll
    for (int i = 0; i < PARTS; i++) {
        double mine_here = i < PART_OFTEN ? part.often[i] : (double)part.seldom[i - PART_OFTEN];
        double sum = rs_cuda_block_sum(mine_here);
        if (threadIdx.x == 0) a.parts[unit * PARTS + i] = sum;
    }
}

/* One block, one head: the blocks of rows in their order; entropies and rows are counted with the first ones. */
__global__ void __launch_bounds__(128) add_parts(reduce_args a) {
    int64_t h = blockIdx.x;
    double *sums = a.sums + h * RS_PATTERN_SUMS, entropy = 0;
    const int place[PARTS] = {RS_PATTERN_SQUARE,   RS_PATTERN_DUPLICATE, RS_PATTERN_INDUCTION, RS_PATTERN_MASS,
                              RS_PATTERN_DIAGONAL, RS_PATTERN_PREVIOUS,  RS_PATTERN_FIRST};
    int64_t first = a.block0 * ROWS, end = first + a.blocks * ROWS < a.s.T ? first + a.blocks * ROWS : a.s.T;
    first = first > 0 ? first : 1;
    for (int64_t t = first + threadIdx.x; t < end; t += blockDim.x)
        entropy += (double)a.stats[h * a.stats_head + t * a.stats_row + 1];
    entropy = rs_cuda_block_sum(entropy);
    if (threadIdx.x == 0) {
        sums[RS_PATTERN_ENTROPY] += entropy;
        sums[RS_PATTERN_ROWS] += (double)(end - first);
    }
    if (threadIdx.x >= PARTS) return;
    double total = 0;
    for (int64_t b = 0; b < a.blocks; b++) total += a.parts[(h * a.blocks + b) * PARTS + threadIdx.x];
    sums[place[threadIdx.x]] += total;
}

/* One thread, one distance of one head: the blocks of rows that reach it, in their order. blockIdx.y = head. */
__global__ void __launch_bounds__(256) add_distances(reduce_args a) {
    int64_t d = (int64_t)blockIdx.x * blockDim.x + threadIdx.x, h = blockIdx.y;
    double total = 0;
    if (d >= a.s.T) return;
    for (int64_t b = 0; b < a.blocks; b++) {
        int block_row = (int)(a.block0 + b) * ROWS, first = 0, end = 0;
        key_range(block_row, a.s.T, a.s.window, &first, &end);
        if (d <= block_row + ROWS - 1 - first) total += a.distances[(h * a.blocks + b) * a.s.T + d];
    }
    a.profile[h * a.s.T + d] += total;
}

/* One thread, one cell of the map: the warps whose rows lie in its row block, in their order. blockIdx.y = head. */
__global__ void __launch_bounds__(128) add_map(reduce_args a) {
    int64_t cell = (int64_t)blockIdx.x * blockDim.x + threadIdx.x, h = blockIdx.y;
    if (cell >= a.B * a.B) return;
    int64_t i = cell / a.B, j = cell % a.B, origin = a.block0 * ROWS;
    int64_t r0 = rs_cuda_block_start(i, a.B, a.s.T), r1 = rs_cuda_block_start(i + 1, a.B, a.s.T),
            end = origin + a.blocks * ROWS;
    double total = 0;
    r0 = r0 > origin ? r0 : origin;
    r1 = r1 < end ? r1 : end;
    for (int64_t w = (r0 - origin) / 16; r0 < r1 && w <= (r1 - 1 - origin) / 16; w++) {
        int64_t band = i - (origin + 16 * w) * a.B / a.s.T;
        total += a.cells[((h * a.blocks * WARPS + w) * a.bands + band) * a.B + j];
    }
    a.map[h * a.B * a.B + cell] += total;
}

/* ---- the host's side ---- */

head_rows rows_of(const rs_view *v) { return {rs_cuda_data<__nv_bfloat16>(v), v->stride[0], v->stride[1], v->dim[2]}; }

score_args scores_of(const rs_device *d, rs_op_kind op, const rs_view *q, const rs_view *k, const rs_view *slot,
                     int64_t window, float scale, float softcap) {
    score_args a = {};
    a.q = rows_of(q);
    a.k = rows_of(k);
    a.slot = rs_cuda_data<int32_t>(slot);
    a.T = (int)q->dim[0];
    a.S = k->dim[1];
    a.window = window < q->dim[0] ? (int)window : 0; /* one that hides nothing */
    a.capped = softcap > 0;
    a.inner = a.capped ? scale / softcap : 0;
    a.outer = (a.capped ? softcap : scale) * LOG2_E;
    a.slot_fault = rs_cuda_fault_of(d, op, "slot");
    return a;
}

template <int W> rs_status attend_with(rs_device *d, dim3 grid, const attend_args &a, rs_error *err) {
    return rs_cuda_launch(d, "attend", attend_rows<W>, grid, dim3(THREADS), 4 * tile<W>::HALVES * sizeof(__nv_bfloat16),
                          err, a);
}

template <int W> rs_status reduce_with(rs_device *d, dim3 grid, const reduce_args &a, rs_error *err) {
    size_t shared = 2 * tile<W>::HALVES * sizeof(__nv_bfloat16) + PATTERN * sizeof(float) + RING * sizeof(double);
    return rs_cuda_launch(d, "attend_reduce", reduce_rows<W>, grid, dim3(THREADS), shared, err, a);
}

/* What blocks of rows leave for the kernels behind them, at most: 64 MiB, or one block of rows. */
const int64_t PARTS_BYTES = 64 << 20;

/* Blocks of rows [a.block0, a.block0 + a.blocks): their parts, and then the sums. */
rs_status reduce_blocks(rs_device *d, const reduce_args &a, int64_t width, rs_error *err) {
    rs_status st = RS_OK;
    dim3 grid((unsigned)a.blocks, (unsigned)a.H);
    if (width <= 32) RS_TRY(reduce_with<32>(d, grid, a, err));
    else if (width <= 64) RS_TRY(reduce_with<64>(d, grid, a, err));
    else RS_TRY(reduce_with<128>(d, grid, a, err));
    RS_TRY(rs_cuda_launch(d, "attend_reduce", add_parts, dim3((unsigned)a.H), dim3(128), 0, err, a));
    if (a.profile)
        RS_TRY(rs_cuda_launch(d, "attend_reduce", add_distances,
                              dim3(rs_cuda_blocks(a.s.T, 256, INT32_MAX), (unsigned)a.H), dim3(256), 0, err, a));
    if (a.map)
        RS_TRY(rs_cuda_launch(d, "attend_reduce", add_map, dim3(rs_cuda_blocks(a.B * a.B, 128), (unsigned)a.H),
                              dim3(128), 0, err, a));
out:
    return st;
}

rs_status check_heads(const char *op, int64_t heads, rs_error *err) {
    if (heads <= 65535) return RS_OK;
    return rs_fail(err, RS_E_INTERNAL, "op %s: %lld heads: at most 65535", op, (long long)heads);
}

} // namespace

rs_status rs_cuda_attend(rs_device *d, const rs_op *op, rs_error *err) {
    rs_status st = RS_OK;
    const rs_op_attend *o = &op->u.attend;
    int64_t H = o->q.dim[1], width = o->q.dim[2] > o->v.dim[2] ? o->q.dim[2] : o->v.dim[2];
    attend_args a = {};
    a.s = scores_of(d, RS_OP_ATTEND, &o->q, &o->k, &o->slot, o->window, o->scale, o->softcap);
    a.v = rows_of(&o->v);
    a.group = H / o->v.dim[1];
    a.blocks = (a.s.T + ROWS - 1) / ROWS;
    a.z = rs_cuda_data<float>(&o->z);
    a.z_row = o->z.stride[0];
    a.z_head = o->z.stride[1];
    a.stats = rs_cuda_data<float>(&o->stats);
    a.stats_head = o->stats.stride[0];
    a.stats_row = o->stats.stride[1];
    dim3 grid((unsigned)a.blocks, (unsigned)H);
    RS_TRY(check_heads("attend", H, err));
    if (width <= 32) RS_TRY(attend_with<32>(d, grid, a, err));
    else if (width <= 64) RS_TRY(attend_with<64>(d, grid, a, err));
    else RS_TRY(attend_with<128>(d, grid, a, err));
out:
    return st;
}

rs_status rs_cuda_attend_reduce(rs_device *d, const rs_op *op, rs_error *err) {
    rs_status st = RS_OK;
    const rs_op_attend_reduce *o = &op->u.attend_reduce;
    void *memory = nullptr;
    reduce_args a = {};
    a.s = scores_of(d, RS_OP_ATTEND_REDUCE, &o->q, &o->k, &o->slot, o->window, o->scale, o->softcap);
    a.stats = rs_cuda_data<float>(&o->stats);
    a.stats_head = o->stats.stride[0];
    a.stats_row = o->stats.stride[1];
    a.ids = rs_cuda_data<int32_t>(&o->ids);
    a.sums = rs_cuda_data<double>(&o->sums);
    a.profile = rs_cuda_data<double>(&o->profile);
    a.map = rs_cuda_data<double>(&o->map);
    a.H = o->q.dim[1];
    a.B = a.map ? o->map.dim[1] : 0;
    a.bands = a.map ? (15 * a.B + a.s.T - 1) / a.s.T + 1 : 0;
    a.skipped = o->skip_first ? 1 : 0;
    int64_t all = (a.s.T + ROWS - 1) / ROWS, cells = WARPS * a.bands * a.B, distances = a.profile ? a.s.T : 0;
    int64_t per_block = a.H * (PARTS + distances + cells) * (int64_t)sizeof(double);
    int64_t most = PARTS_BYTES / per_block > 1 ? PARTS_BYTES / per_block : 1;
    most = most < all ? most : all;
    RS_TRY(check_heads("attend_reduce", a.H, err));
    RS_TRY(rs_cuda_scratch_get(d, RS_CUDA_PARTS, (size_t)(most * per_block), &memory, err));
    for (a.block0 = 0; a.block0 < all; a.block0 += most) {
        a.blocks = all - a.block0 < most ? all - a.block0 : most;
        a.parts = static_cast<double *>(memory);
        a.distances = a.profile ? a.parts + a.H * a.blocks * PARTS : nullptr;
        a.cells = a.map ? a.parts + a.H * a.blocks * (PARTS + distances) : nullptr;
        RS_TRY(reduce_blocks(d, a, o->q.dim[2], err));
    }
out:
    return st;
}
