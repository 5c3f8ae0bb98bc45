/* kernels/cuda/cuda_fourier.cu: SPECTRUM and CORRELATE by cuFFT in float64, a head at a time with its pairs as the
 * batch, and PHASE, which is made with the same signals. Plans are made once per kind, length and batch. */
#include "kernels/cuda/cuda_device.h"

extern "C" {
#include "kernels/fourier.h"
}

/* ---- plans ---- */

rs_status rs_cuda_fourier_supported(rs_error *err) {
    int version = 0;
    if (cufftGetVersion(&version) == CUFFT_SUCCESS) return RS_OK;
    return rs_fail(err, RS_E_UNAVAILABLE, "device 'cuda': cuFFT is not there");
}

void rs_cuda_plans_free(rs_device *d) {
    for (int i = 0; i < d->plans; i++) cufftDestroy(d->plan[i].handle);
    d->plans = 0;
}

namespace {

rs_status fft_status(cufftResult r, const char *what, rs_error *err) {
    if (r == CUFFT_SUCCESS) return RS_OK;
    if (r == CUFFT_ALLOC_FAILED) return rs_fail(err, RS_E_NOMEM, "device 'cuda': out of memory (%s)", what);
    return rs_fail(err, RS_E_DEVICE, "device 'cuda': %s: cuFFT: error %d", what, (int)r);
}

/* Transforms of n, `batch` of them one behind the other. */
rs_status get_plan(rs_device *d, cufftType type, int64_t n, int64_t batch, cufftHandle *out, rs_error *err) {
    rs_status st = RS_OK;
    int length = (int)n, at = d->plans; /* op.c has seen to the length */
    for (int i = 0; i < d->plans; i++) {
        const rs_cuda_plan *p = &d->plan[i];
        if (p->type != type || p->n != n || p->batch != batch) continue;
        *out = p->handle;
        return RS_OK;
    }
    if (d->plans == RS_CUDA_PLANS) { /* queued work may still use the one that goes */
        at = d->oldest_plan++ % RS_CUDA_PLANS;
        RS_TRY(rs_cuda_status(cudaStreamSynchronize(d->work), "waiting for a transform", err));
        cufftDestroy(d->plan[at].handle);
        d->plan[at] = d->plan[--d->plans];
        at = d->plans;
    }
    RS_TRY(fft_status(cufftPlanMany(out, 1, &length, nullptr, 1, length, nullptr, 1, length, type, (int)batch),
                      "planning a transform", err));
    d->plan[at] = {type, n, batch, *out};
    d->plans = at + 1;
    RS_TRY(fft_status(cufftSetStream(*out, d->work), "planning a transform", err));
out:
    return st;
}

/* ---- signals ---- */

/* All pairs of one head over the rows from `first` on. */
struct signal_args {
    const float *x;         /* row `first` of the head */
    const int32_t *lo, *hi; /* [F] */
    int64_t row, rows, F, n;
    rs_cuda_fault lo_fault, hi_fault;
};

signal_args signals_of(const rs_device *d, const rs_op *op, const rs_view *x, const rs_view *lo, const rs_view *hi,
                       int64_t first, int64_t h, int64_t n) {
    return {rs_cuda_data<float>(x) + first * x->stride[0] + h * x->stride[1],
            rs_cuda_data<int32_t>(lo),
            rs_cuda_data<int32_t>(hi),
            x->stride[0],
            x->dim[0] - first,
            lo->dim[0],
            n,
            rs_cuda_fault_of(d, op->kind, "component_lo"),
            rs_cuda_fault_of(d, op->kind, "component_hi")};
}

__device__ __forceinline__ double2 pair_at(const signal_args &a, int64_t f, int64_t t) {
    const float *row = a.x + t * a.row;
    return make_double2((double)row[rs_cuda_index(a.lo, f, 0, 2 * a.F, a.lo_fault)],
                        (double)row[rs_cuda_index(a.hi, f, 0, 2 * a.F, a.hi_fault)]);
}

/* One thread, one element of a signal; blockIdx.y = pair. Zeros behind the rows. out: [F, n] */
__global__ void __launch_bounds__(256) put_complex(signal_args a, double2 *out) {
    int64_t t = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (t >= a.n) return;
    for (int64_t f = blockIdx.y; f < a.F; f += gridDim.y)
        out[f * a.n + t] = t < a.rows ? pair_at(a, f, t) : make_double2(0, 0);
}

__global__ void __launch_bounds__(256) put_sizes(signal_args a, double *out) {
    int64_t t = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (t >= a.rows) return;
    for (int64_t f = blockIdx.y; f < a.F; f += gridDim.y) {
        double2 z = pair_at(a, f, t);
        out[f * a.rows + t] = sqrt(z.x * z.x + z.y * z.y);
    }
}

dim3 grid_of(int64_t elements, int64_t pairs) {
    return dim3(rs_cuda_blocks(elements, 256, INT32_MAX), rs_cuda_rows(pairs));
}

/* ---- phase ---- */

/* One block, one pair of a head; counts are whole numbers and come out alike in any order. */
__global__ void __launch_bounds__(256) count_phases(signal_args a, rs_phase_edges edges, double *out) {
    RS_SHARED(unsigned, count, RS_PHASE_BINS);
    for (int64_t f = blockIdx.x; f < a.F; f += gridDim.x) {
        if (threadIdx.x < RS_PHASE_BINS) count[threadIdx.x] = 0;
        __syncthreads();
        for (int64_t t = threadIdx.x; t < a.rows; t += blockDim.x) {
            double2 z = pair_at(a, f, t);
            int bin = rs_phase_bin(&edges, z.x, z.y);
            if (bin >= 0) atomicAdd(&count[bin], 1U);
        }
        __syncthreads();
        if (threadIdx.x < RS_PHASE_BINS) out[f * RS_PHASE_BINS + threadIdx.x] += (double)count[threadIdx.x];
        __syncthreads();
    }
}

/* ---- correlate ---- */

/* q = q conj(k), [n] elements. */
__global__ void __launch_bounds__(256) multiply_conjugate(double2 *q, const double2 *k, int64_t n) {
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (int64_t)gridDim.x * blockDim.x) {
        double2 a = q[i], b = k[i];
        q[i] = make_double2(a.x * b.x + a.y * b.y, a.y * b.x - a.x * b.y);
    }
}

struct bin_args {
    const double2 *c;             /* [F, n] */
    const double *theta, *factor; /* [F] */
    const int32_t *start;         /* [bins] */
    double *out;                  /* [F, bins] of the head */
    int64_t F, n, bins, lags, T;
    double scale; /* 1 / n of the transform included */
    rs_cuda_fault start_fault;
};

/* One thread, one bin; blockIdx.y = pair. */
__global__ void __launch_bounds__(128) add_bins(bin_args a) {
    int64_t b = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (b >= a.bins) return;
    int64_t from = rs_cuda_index(a.start, b, 0, a.T, a.start_fault);
    int64_t to = b + 1 < a.bins ? rs_cuda_index(a.start, b + 1, 0, a.T, a.start_fault) : a.lags;
    if (to > a.lags) to = a.lags;
    for (int64_t f = blockIdx.y; f < a.F; f += gridDim.y) {
        double sum = 0, gain = a.scale * a.factor[f] * a.factor[f];
        for (int64_t D = from; D < to; D++) {
            double2 z = a.c[f * a.n + D];
            double c = 0, s = 0;
            rs_cuda_turn(a.theta[f], (double)D, &c, &s);
            sum += z.x * c - z.y * s;
        }
        a.out[f * a.bins + b] += gain * sum;
    }
}

/* ---- spectrum ---- */

/* x[f, t] = Hann window times size[f, at + t]. [F, frame] of [F, rows] */
__global__ void __launch_bounds__(256)
    cut_frame(const double *size, int64_t rows, int64_t at, int64_t frame, int64_t F, double *x) {
    int64_t t = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    double c = 0, s = 0;
    if (t >= frame) return;
    sincospi(2.0 * (double)t / (double)frame, &s, &c);
    for (int64_t f = blockIdx.y; f < F; f += gridDim.y) x[f * frame + t] = (0.5 - 0.5 * c) * size[f * rows + at + t];
}

__device__ __forceinline__ double square_of(double2 z) { return z.x * z.x + z.y * z.y; }

/* power[i] += |z[i]|^2, [n] */
__global__ void __launch_bounds__(256) add_power(const double2 *z, int64_t n, double *power) {
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (int64_t)gridDim.x * blockDim.x)
        power[i] += square_of(z[i]);
}

/* One block, one pair. z: [F, rows / 2 + 1] */
__global__ void __launch_bounds__(256) add_entropy(const double2 *z, int64_t rows, int64_t F, double *entropy) {
    int64_t last = rows / 2;
    for (int64_t f = blockIdx.x; f < F; f += gridDim.x) {
        const double2 *of = z + f * (last + 1);
        double whole = 0, sum = 0;
        for (int64_t k = 1 + threadIdx.x; k <= last; k += blockDim.x) whole += square_of(of[k]);
        whole = rs_cuda_block_sum(whole);
        if (!(whole > RS_SPECTRUM_LEAST * square_of(of[0]))) continue; /* the same for all threads */
        for (int64_t k = 1 + threadIdx.x; k <= last; k += blockDim.x) {
            double p = square_of(of[k]) / whole;
            if (p > 0) sum -= p * log2(p);
        }
        sum = rs_cuda_block_sum(sum);
        if (threadIdx.x != 0) continue;
        entropy[2 * f] += sum / log2((double)last);
        entropy[2 * f + 1] += 1;
    }
}

struct spectrum_room {
    double *size, *part; /* [F, rows], [F, frame] */
    double2 *z;          /* [F, rows / 2 + 1]; a frame is shorter */
    int64_t rows, frame, F;
    cufftHandle whole, frames;
};

rs_status spectrum_head(rs_device *d, const rs_op *op, const spectrum_room *r, int64_t h, rs_error *err) {
    rs_status st = RS_OK;
    const rs_op_spectrum *o = &op->u.spectrum;
    int64_t bins = o->power.dim[2], cells = r->F * bins;
    double *power = rs_cuda_data<double>(&o->power) + h * cells;
    double *entropy = rs_cuda_data<double>(&o->entropy) + h * r->F * 2;
    signal_args a = signals_of(d, op, &o->x, &o->component_lo, &o->component_hi, o->first, h, r->rows);
    RS_TRY(rs_cuda_launch(d, "spectrum", put_sizes, grid_of(r->rows, r->F), dim3(256), 0, err, a, r->size));
    RS_TRY(fft_status(cufftExecD2Z(r->whole, r->size, r->z), "a spectrum", err));
    RS_TRY(rs_cuda_launch(d, "spectrum", add_entropy, dim3(rs_cuda_blocks(r->F, 1)), dim3(256), 0, err, r->z, r->rows,
                          r->F, entropy));
    for (int64_t at = 0; at + r->frame <= r->rows; at += r->frame / 2) {
        RS_TRY(rs_cuda_launch(d, "spectrum", cut_frame, grid_of(r->frame, r->F), dim3(256), 0, err, r->size, r->rows,
                              at, r->frame, r->F, r->part));
        RS_TRY(fft_status(cufftExecD2Z(r->frames, r->part, r->z), "a spectrum", err));
        RS_TRY(rs_cuda_launch(d, "spectrum", add_power, dim3(rs_cuda_blocks(cells, 256)), dim3(256), 0, err, r->z,
                              cells, power));
    }
out:
    return st;
}

/* Doubles of a piece of memory, rounded up so that the next one begins like the first. */
int64_t aligned(int64_t doubles) { return (doubles + 31) / 32 * 32; }

} // namespace

rs_status rs_cuda_phase(rs_device *d, const rs_op *op, rs_error *err) {
    rs_status st = RS_OK;
    const rs_op_phase *o = &op->u.phase;
    rs_phase_edges edges;
    int64_t F = o->out.dim[1];
    rs_phase_edges_init(&edges);
    for (int64_t h = 0; h < o->out.dim[0]; h++) {
        signal_args a = signals_of(d, op, &o->x, &o->component_lo, &o->component_hi, o->first, h, 0);
        RS_TRY(rs_cuda_launch(d, "phase", count_phases, dim3(rs_cuda_blocks(F, 1)), dim3(256), 0, err, a, edges,
                              rs_cuda_data<double>(&o->out) + h * F * RS_PHASE_BINS));
    }
out:
    return st;
}

rs_status rs_cuda_spectrum(rs_device *d, const rs_op *op, rs_error *err) {
    rs_status st = RS_OK;
    const rs_op_spectrum *o = &op->u.spectrum;
    spectrum_room r = {};
    void *memory = nullptr;
    r.rows = o->x.dim[0] - o->first;
    r.frame = 2 * (o->power.dim[2] - 1);
    r.F = o->component_lo.dim[0];
    int64_t size = aligned(r.F * r.rows), part = aligned(r.F * r.frame), z = 2 * r.F * (r.rows / 2 + 1);
    RS_TRY(rs_cuda_scratch_get(d, RS_CUDA_SIGNALS, (size_t)(size + part + z) * sizeof(double), &memory, err));
    r.size = static_cast<double *>(memory);
    r.part = r.size + size;
    r.z = reinterpret_cast<double2 *>(r.part + part);
    RS_TRY(get_plan(d, CUFFT_D2Z, r.rows, r.F, &r.whole, err));
    RS_TRY(get_plan(d, CUFFT_D2Z, r.frame, r.F, &r.frames, err));
    for (int64_t h = 0; h < o->x.dim[1]; h++) RS_TRY(spectrum_head(d, op, &r, h, err));
out:
    return st;
}

rs_status rs_cuda_correlate(rs_device *d, const rs_op *op, rs_error *err) {
    rs_status st = RS_OK;
    const rs_op_correlate *o = &op->u.correlate;
    int64_t H = o->q.dim[1], group = H / o->k.dim[1], F = o->theta.dim[0], n = rs_correlate_length(o), all = F * n;
    bin_args b = {};
    void *memory = nullptr;
    cufftHandle plan = 0;
    RS_TRY(rs_cuda_scratch_get(d, RS_CUDA_SIGNALS, (size_t)(2 * all) * sizeof(double2), &memory, err));
    double2 *k, *q;
    k = static_cast<double2 *>(memory);
    q = k + all;
    RS_TRY(get_plan(d, CUFFT_Z2Z, n, F, &plan, err));
    b = {q,
         rs_cuda_data<double>(&o->theta),
         rs_cuda_data<double>(&o->factor),
         rs_cuda_data<int32_t>(&o->start),
         nullptr,
         F,
         n,
         o->start.dim[0],
         rs_correlate_lags(o),
         o->q.dim[0],
         o->scale / (double)n,
         rs_cuda_fault_of(d, op->kind, "start")};
    for (int64_t h = 0; h < H; h++) {
        if (h % group == 0) {
            signal_args a = signals_of(d, op, &o->k, &o->component_lo, &o->component_hi, o->first, h / group, n);
            RS_TRY(rs_cuda_launch(d, "correlate", put_complex, grid_of(n, F), dim3(256), 0, err, a, k));
            RS_TRY(fft_status(cufftExecZ2Z(plan, k, k, CUFFT_FORWARD), "a correlation", err));
        }
        signal_args a = signals_of(d, op, &o->q, &o->component_lo, &o->component_hi, o->first, h, n);
        RS_TRY(rs_cuda_launch(d, "correlate", put_complex, grid_of(n, F), dim3(256), 0, err, a, q));
        RS_TRY(fft_status(cufftExecZ2Z(plan, q, q, CUFFT_FORWARD), "a correlation", err));
        RS_TRY(rs_cuda_launch(d, "correlate", multiply_conjugate, dim3(rs_cuda_blocks(all, 256)), dim3(256), 0, err, q,
                              static_cast<const double2 *>(k), all));
        RS_TRY(fft_status(cufftExecZ2Z(plan, q, q, CUFFT_INVERSE), "a correlation", err));
        b.out = rs_cuda_data<double>(&o->out) + h * F * b.bins;
        RS_TRY(rs_cuda_launch(d, "correlate", add_bins, dim3(rs_cuda_blocks(b.bins, 128, INT32_MAX), rs_cuda_rows(F)),
                              dim3(128), 0, err, b));
    }
out:
    return st;
}
