/* kernels/cuda/cuda_sample.cu: LOGIT_SAMPLE. Pair by pair the variances come from sums over the keys between one
 * sampled row and the next (cpu/hot_sample.h has the algebra), which are made side by side and then added up row by
 * row. For the whole logit and its four terms the products of the sampled rows are formed, a thread a key. All of it in
 * float64. */
#include "kernels/cuda/cuda_device.h"

namespace {

enum { PAIRS = 32, LANES = 8, KEYS = 128, HEADS = 4 };
enum { AHEAD = 4 }; /* pairs of a key that a thread loads before it multiplies */

/* Sums over keys n: U = k e^{i theta n}, V = U - k, as real vectors (re, im). */
enum { UR, UI, VR, VI, URUR, URUI, UIUI, VRVR, VRVI, VIVI, URVR, URVI, UIVR, UIVI, ABS, SUMS };

struct sample_args {
    const float *q, *k;
    int64_t q_row, q_head, k_row, k_head; /* strides */
    const int32_t *lo, *hi, *rows;        /* [F], [F], [n] */
    const double *theta, *factor;         /* [F] */
    const double *q_mean, *k_mean;        /* [H, 2, F], [K, 2, F] */
    double *out, *head_out;               /* [H, RS_SAMPLES, F], [H, RS_HEAD_TERMS] */
    int64_t T, H, K, F, n, window, group;
    double scale;
    double *segments; /* [2 (ahead, behind), n, K, SUMS, F] */
    double *turns;    /* [2 (cos, sin), F, T]: of theta times a distance */
    double *terms;    /* [n, H, RS_HEAD_ROWS] variances of a row */
    rs_cuda_fault lo_fault, hi_fault, rows_fault;
};

/* Position of sampled row i: ascending, at least 2. */
__device__ __forceinline__ int64_t row_at(const sample_args &a, int64_t i) {
    return rs_cuda_index(a.rows, i, 2, a.T, a.rows_fault);
}

/* First key of the row at position m: position 0 is left out. */
__device__ __forceinline__ int64_t first_key(const sample_args &a, int64_t m) {
    int64_t first = a.window > 0 ? m - a.window + 1 : 1;
    return first > 1 ? first : 1;
}

__device__ __forceinline__ double gain_of(const sample_args &a, int64_t f) {
    return a.scale * a.factor[f] * a.factor[f];
}

/* ---- pairs ---- */

__device__ __forceinline__ void add_key(double kr, double ki, double c, double s, double sum[SUMS]) {
    double ur = kr * c - ki * s, ui = ki * c + kr * s, vr = ur - kr, vi = ui - ki;
    sum[UR] += ur;
    sum[UI] += ui;
    sum[VR] += vr;
    sum[VI] += vi;
    sum[URUR] += ur * ur;
    sum[URUI] += ur * ui;
    sum[UIUI] += ui * ui;
    sum[VRVR] += vr * vr;
    sum[VRVI] += vr * vi;
    sum[VIVI] += vi * vi;
    sum[URVR] += ur * vr;
    sum[URVI] += ur * vi;
    sum[UIVR] += ui * vr;
    sum[UIVI] += ui * vi;
    sum[ABS] += sqrt(kr * kr + ki * ki);
}

/* Keys that row i adds to the sums (behind = false), or that leave the window with it: [*from, *to). */
__device__ __forceinline__ void segment(const sample_args &a, int64_t i, bool behind, int64_t *from, int64_t *to) {
    int64_t here = row_at(a, i), before = i > 0 ? row_at(a, i - 1) : 0;
    if (here <= before) atomicMin(a.rows_fault.word, a.rows_fault.code | (unsigned long long)i); /* they must ascend */
    *from = behind ? (i > 0 ? first_key(a, before) : 1) : before + 1;
    *to = behind ? first_key(a, here) : here + 1;
}

/* One block: PAIRS pairs of one key head over the keys of one segment, dealt out to LANES lanes.
 * blockIdx: x = group of pairs, y = key head, z = segment (n ahead, then n behind). */
__global__ void __launch_bounds__(PAIRS *LANES) sum_segments(sample_args a) {
    int64_t f = (int64_t)blockIdx.x * PAIRS + threadIdx.x, kv = blockIdx.y, here = f < a.F ? f : a.F - 1;
    int64_t i = blockIdx.z % a.n, from = 0, to = 0;
    int lo = rs_cuda_index(a.lo, here, 0, 2 * a.F, a.lo_fault), hi = rs_cuda_index(a.hi, here, 0, 2 * a.F, a.hi_fault);
    double sum[SUMS] = {0};
    segment(a, i, blockIdx.z >= a.n, &from, &to);
    for (int64_t n = from + threadIdx.y; n < to; n += LANES) {
        const float *k = a.k + n * a.k_row + kv * a.k_head;
        double c = 0, s = 0;
        rs_cuda_turn(a.theta[here], (double)n, &c, &s);
        add_key((double)k[lo], (double)k[hi], c, s, sum);
    }
    double *out = a.segments + ((int64_t)blockIdx.z * a.K + kv) * SUMS * a.F + f;
#pragma unroll
    for (int term = 0; term < SUMS; term++) {
        double total = rs_cuda_column_sum<PAIRS, LANES>(sum[term]);
        if (threadIdx.y == 0 && f < a.F) out[term * a.F] = total;
    }
}

/* Row m of a query head against the means over its keys (cpu/hot_sample.h: sample_row). */
__device__ __forceinline__ void add_row(const sample_args &a, int64_t h, int64_t f, int64_t m, const double mean[SUMS],
                                        double out[RS_SAMPLES]) {
    const float *q = a.q + m * a.q_row + h * a.q_head;
    double qr = (double)q[a.lo[f]], qi = (double)q[a.hi[f]], c = 0, s = 0, gain = gain_of(a, f), g2 = gain * gain;
    rs_cuda_turn(a.theta[f], (double)m, &c, &s);
    double rr = qr * c - qi * s, ri = qi * c + qr * s; /* q e^{i theta m} */
    double ar = rr - qr, ai = ri - qi;                 /* q (e^{i theta m} - 1) */
    double rot = rr * mean[UR] + ri * mean[UI];
    double rot2 = rr * rr * mean[URUR] + 2 * rr * ri * mean[URUI] + ri * ri * mean[UIUI];
    double off = ar * mean[UR] + ai * mean[UI] + qr * mean[VR] + qi * mean[VI];
    double off2 = ar * ar * mean[URUR] + 2 * ar * ai * mean[URUI] + ai * ai * mean[UIUI] + qr * qr * mean[VRVR] +
                  2 * qr * qi * mean[VRVI] + qi * qi * mean[VIVI] +
                  2 * (ar * (qr * mean[URVR] + qi * mean[URVI]) + ai * (qr * mean[UIVR] + qi * mean[UIVI]));
    /* Rounding may leave a mean square, or a variance of nothing, just below zero. */
    rot2 = fmax(rot2, 0.0);
    off2 = fmax(off2, 0.0);
    out[RS_SAMPLE_DROP] += g2 * fmax(rot2 - rot * rot, 0.0);
    out[RS_SAMPLE_UNROT] += g2 * fmax(off2 - off * off, 0.0);
    out[RS_SAMPLE_DROP_RAW] += g2 * rot2;
    out[RS_SAMPLE_UNROT_RAW] += g2 * off2;
    out[RS_SAMPLE_ABS] += sqrt(qr * qr + qi * qi) * mean[ABS];
}

/* One thread, one pair of one query head: the segments add up row by row. Index tables were checked by sum_segments. */
__global__ void __launch_bounds__(64) sample_pairs(sample_args a) {
    int64_t unit = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (unit >= a.H * a.F) return;
    int64_t h = unit / a.F, f = unit % a.F, kv = h / a.group, step = a.K * SUMS * a.F;
    double sum[SUMS] = {0}, out[RS_SAMPLES] = {0};
    const double *ahead = a.segments + kv * SUMS * a.F + f, *behind = ahead + a.n * step;
    for (int64_t i = 0; i < a.n; i++) {
        int64_t m = row_at(a, i);
        double share = 1.0 / (double)(m - first_key(a, m) + 1), mean[SUMS];
#pragma unroll
        for (int term = 0; term < SUMS; term++) {
            sum[term] += ahead[i * step + term * a.F];
            if (a.window > 0) sum[term] -= behind[i * step + term * a.F];
            mean[term] = sum[term] * share;
        }
        add_row(a, h, f, m, mean, out);
    }
#pragma unroll
    for (int term = 0; term < RS_SAMPLES; term++) a.out[(h * RS_SAMPLES + term) * a.F + f] += out[term];
}

/* ---- whole logits ---- */

/* turns[0 | 1, f, D] = cos, sin of theta[f] D. blockIdx.y = pair. */
__global__ void __launch_bounds__(256) fill_turns(sample_args a) {
    int64_t D = (int64_t)blockIdx.x * blockDim.x + threadIdx.x, f = blockIdx.y;
    if (D >= a.T) return;
    rs_cuda_turn(a.theta[f], (double)D, &a.turns[f * a.T + D], &a.turns[a.F * a.T + f * a.T + D]);
}

/* Logit and its four terms over the keys of one row, for up to HEADS query heads of a key head: a thread takes every
 * KEYS-th key. Turning q on by theta D is the same as turning k back. blockIdx: x = first head / HEADS within the
 * group, y = key head, z = row. Dynamic shared memory: [HEADS, 4, F] of the queries, [2, F] of the mean key. */
__global__ void __launch_bounds__(KEYS) sample_logits(sample_args a) {
    RS_SHARED_DYNAMIC(double, shared);
    int64_t kv = blockIdx.y, i = blockIdx.z, m = row_at(a, i), first = first_key(a, m), F = a.F;
    int64_t g0 = (int64_t)blockIdx.x * HEADS, heads = a.group - g0 < HEADS ? a.group - g0 : (int64_t)HEADS;
    double *mean_key = shared + HEADS * 4 * F;
    for (int64_t u = threadIdx.x; u < HEADS * F; u += KEYS) {
        int64_t g = u / F, f = u % F, h = kv * a.group + g0 + (g < heads ? g : 0);
        const float *q = a.q + m * a.q_row + h * a.q_head;
        double gain = gain_of(a, f), *to = shared + g * 4 * F + f;
        to[0] = gain * (double)q[a.lo[f]];
        to[F] = gain * (double)q[a.hi[f]];
        to[2 * F] = gain * a.q_mean[(h * 2) * F + f];
        to[3 * F] = gain * a.q_mean[(h * 2 + 1) * F + f];
    }
    for (int64_t u = threadIdx.x; u < 2 * F; u += KEYS) mean_key[u] = a.k_mean[kv * 2 * F + u];
    __syncthreads();
    double sum[HEADS][RS_HEAD_ROWS] = {}, square[HEADS][RS_HEAD_ROWS] = {};
    for (int64_t n = first + threadIdx.x; n <= m; n += KEYS) {
        const float *k = a.k + n * a.k_row + kv * a.k_head;
        const double *cosine = a.turns + (m - n), *sine = cosine + F * a.T;
        double qk[HEADS] = {0}, qm[HEADS] = {0}, mk[HEADS] = {0}, mm[HEADS] = {0};
        for (int64_t f0 = 0; f0 < F; f0 += AHEAD) {
            float re[AHEAD], im[AHEAD];
            double c[AHEAD], s[AHEAD];
            /* All loads first: their waits run side by side. */
#pragma unroll
            for (int u = 0; u < AHEAD; u++) {
                int64_t f = f0 + u < F ? f0 + u : F - 1;
                re[u] = k[a.lo[f]];
                im[u] = k[a.hi[f]];
                c[u] = cosine[f * a.T];
                s[u] = sine[f * a.T];
            }
#pragma unroll
            for (int u = 0; u < AHEAD; u++) {
                int64_t f = f0 + u;
                if (f >= F) break;
                double kr = (double)re[u], ki = (double)im[u], br = mean_key[f], bi = mean_key[F + f];
                double tr = kr * c[u] + ki * s[u], ti = ki * c[u] - kr * s[u]; /* k e^{-i theta D} */
                double ur = br * c[u] + bi * s[u], ui = bi * c[u] - br * s[u];
#pragma unroll
                for (int g = 0; g < HEADS; g++) {
                    const double *q = shared + g * 4 * F + f;
                    qk[g] += q[0] * tr + q[F] * ti;
                    qm[g] += q[0] * ur + q[F] * ui;
                    mk[g] += q[2 * F] * tr + q[3 * F] * ti;
                    mm[g] += q[2 * F] * ur + q[3 * F] * ui;
                }
            }
        }
#pragma unroll
        for (int g = 0; g < HEADS; g++) {
            /* (q - mu_q)(k - mu_k) = qk - q mu_k - mu_q k + mu_q mu_k, and so on (op.h; metrics C2). */
            double pp = mm[g], pc = mk[g] - pp, cp = qm[g] - pp;
            double term[RS_HEAD_ROWS] = {qk[g], pp, pc, cp, qk[g] - pp - pc - cp};
#pragma unroll
            for (int e = 0; e < RS_HEAD_ROWS; e++) {
                sum[g][e] += term[e];
                square[g][e] += term[e] * term[e];
            }
        }
    }
    double share = 1.0 / (double)(m - first + 1);
#pragma unroll
    for (int g = 0; g < HEADS; g++) {
#pragma unroll
        for (int e = 0; e < RS_HEAD_ROWS; e++) {
            double mean = rs_cuda_block_sum(sum[g][e]) * share, mean2 = rs_cuda_block_sum(square[g][e]) * share;
            int64_t h = kv * a.group + g0 + g;
            if (threadIdx.x == 0 && g < heads)
                a.terms[(i * a.H + h) * RS_HEAD_ROWS + e] = fmax(mean2 - mean * mean, 0.0);
        }
    }
}

/* One thread, one head: its rows in their order. */
__global__ void __launch_bounds__(128) sum_terms(sample_args a) {
    int64_t h = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (h >= a.H) return;
    double *out = a.head_out + h * RS_HEAD_TERMS;
    for (int e = 0; e < RS_HEAD_ROWS; e++) {
        double total = 0;
        for (int64_t i = 0; i < a.n; i++) total += a.terms[(i * a.H + h) * RS_HEAD_ROWS + e];
        out[e] += total;
    }
    out[RS_HEAD_ROWS] += (double)a.n;
}

static_assert(RS_HEAD_TOTAL == 0 && RS_HEAD_PP == 1 && RS_HEAD_PC == 2 && RS_HEAD_CP == 3 && RS_HEAD_CC == 4 &&
                  RS_HEAD_ROWS == 5,
              "order of the terms in sample_logits");

rs_status make_space(rs_device *d, sample_args *a, rs_error *err) {
    rs_status st = RS_OK;
    void *at = nullptr;
    size_t segments = 2 * (size_t)(a->n * a->K * SUMS * a->F), terms = (size_t)(a->n * a->H * RS_HEAD_ROWS);
    RS_TRY(rs_cuda_scratch_get(d, RS_CUDA_PARTS, (segments + terms) * sizeof(double), &at, err));
    a->segments = static_cast<double *>(at);
    a->terms = a->segments + segments;
    RS_TRY(rs_cuda_scratch_get(d, RS_CUDA_TURNS, 2 * (size_t)(a->F * a->T) * sizeof(double), &at, err));
    a->turns = static_cast<double *>(at);
out:
    return st;
}

} // namespace

rs_status rs_cuda_logit_sample(rs_device *d, const rs_op *op, rs_error *err) {
    rs_status st = RS_OK;
    const rs_op_logit_sample *o = &op->u.logit_sample;
    sample_args a = {};
    a.q = rs_cuda_data<float>(&o->q);
    a.k = rs_cuda_data<float>(&o->k);
    a.q_row = o->q.stride[0];
    a.q_head = o->q.stride[1];
    a.k_row = o->k.stride[0];
    a.k_head = o->k.stride[1];
    a.lo = rs_cuda_data<int32_t>(&o->component_lo);
    a.hi = rs_cuda_data<int32_t>(&o->component_hi);
    a.rows = rs_cuda_data<int32_t>(&o->rows);
    a.theta = rs_cuda_data<double>(&o->theta);
    a.factor = rs_cuda_data<double>(&o->factor);
    a.q_mean = rs_cuda_data<double>(&o->q_mean);
    a.k_mean = rs_cuda_data<double>(&o->k_mean);
    a.out = rs_cuda_data<double>(&o->out);
    a.head_out = rs_cuda_data<double>(&o->head_out);
    a.T = o->q.dim[0];
    a.H = o->q.dim[1];
    a.K = o->k.dim[1];
    a.F = o->theta.dim[0];
    a.n = o->rows.dim[0];
    a.window = o->window;
    a.group = a.H / a.K;
    a.scale = o->scale;
    a.lo_fault = rs_cuda_fault_of(d, RS_OP_LOGIT_SAMPLE, "component_lo");
    a.hi_fault = rs_cuda_fault_of(d, RS_OP_LOGIT_SAMPLE, "component_hi");
    a.rows_fault = rs_cuda_fault_of(d, RS_OP_LOGIT_SAMPLE, "rows");
    size_t shared = (size_t)((HEADS * 4 + 2) * a.F) * sizeof(double);
    unsigned pairs = rs_cuda_blocks(a.F, PAIRS), groups = rs_cuda_blocks(a.group, HEADS);
    if (a.K > 65535 || a.F > 65535 || 2 * a.n > 65535)
        return rs_fail(err, RS_E_INTERNAL, "op logit_sample: %lld key heads, %lld pairs, %lld rows: too many",
                       (long long)a.K, (long long)a.F, (long long)a.n);
    RS_TRY(make_space(d, &a, err));
    RS_TRY(rs_cuda_launch(d, "logit_sample", sum_segments,
                          dim3(pairs, (unsigned)a.K, (unsigned)(a.window > 0 ? 2 * a.n : a.n)), dim3(PAIRS, LANES), 0,
                          err, a));
    RS_TRY(rs_cuda_launch(d, "logit_sample", sample_pairs, dim3(rs_cuda_blocks(a.H * a.F, 64)), dim3(64), 0, err, a));
    RS_TRY(rs_cuda_launch(d, "logit_sample", fill_turns, dim3(rs_cuda_blocks(a.T, 256, INT32_MAX), (unsigned)a.F),
                          dim3(256), 0, err, a));
    RS_TRY(rs_cuda_launch(d, "logit_sample", sample_logits, dim3(groups, (unsigned)a.K, (unsigned)a.n), dim3(KEYS),
                          shared, err, a));
    RS_TRY(rs_cuda_launch(d, "logit_sample", sum_terms, dim3(rs_cuda_blocks(a.H, 128)), dim3(128), 0, err, a));
out:
    return st;
}
