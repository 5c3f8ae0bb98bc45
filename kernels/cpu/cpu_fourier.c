/* kernels/cpu/cpu_fourier.c: SPECTRUM and CORRELATE by FFTW in float64. Plans are made once per kind and length, by
 * estimate: measuring would choose by the clock, and other algorithms round otherwise. FFTW's planner is not for
 * several threads, executing a plan with new arrays is. A unit of work is a pair of a (key) head, so that no sum
 * depends on the number of threads. Left out of a build without FFTW (cpu_fourier_absent.c). */
#include "kernels/cpu/cpu_device.h"
#include "kernels/fourier.h"

#include <fftw3.h>
#include <math.h>
#include <omp.h>
#include <string.h>

/* ---- plans ---- */

typedef enum plan_kind { PLAN_FORWARD, PLAN_BACKWARD, PLAN_REAL } plan_kind;

enum { PLANS = 16 }; /* windows of two sizes and two spectra need six */
struct rs_cpu_plans {
    struct {
        plan_kind kind;
        int64_t n;
        fftw_plan plan;
    } item[PLANS];
    int count, oldest;
};

rs_status rs_cpu_fourier_supported(rs_error *err) {
    (void)err;
    return RS_OK;
}

void rs_cpu_plans_free(rs_cpu_plans *p) {
    for (int i = 0; p && i < p->count; i++) fftw_destroy_plan(p->item[i].plan);
    rs_free(p);
}

/* FFTW wants memory to plan with, which estimates do not touch. In place, but for real signals. */
static fftw_plan make_plan(plan_kind kind, int64_t n, double *room) {
    fftw_complex *z = (fftw_complex *)(void *)room;
    fftw_plan plan = NULL;
#pragma omp critical(rs_fftw_planner)
    {
        if (kind == PLAN_REAL)
            plan = fftw_plan_dft_r2c_1d((int)n, room, (fftw_complex *)(void *)(room + (n + 7) / 8 * 8), FFTW_ESTIMATE);
        else plan = fftw_plan_dft_1d((int)n, z, z, kind == PLAN_FORWARD ? FFTW_FORWARD : FFTW_BACKWARD, FFTW_ESTIMATE);
    }
    return plan;
}

/* room: what the plan will be used on begins 64-byte aligned, as rs_cpu_scratch_get gives it. */
static rs_status get_plan(rs_device *d, plan_kind kind, int64_t n, double *room, fftw_plan *out, rs_error *err) {
    rs_status st = RS_OK;
    if (!d->plans) RS_TRY(RS_NEW(&d->plans, 1, err));
    rs_cpu_plans *p = d->plans;
    for (int i = 0; i < p->count; i++) {
        if (p->item[i].kind != kind || p->item[i].n != n) continue;
        *out = p->item[i].plan;
        return RS_OK;
    }
    *out = make_plan(kind, n, room);
    if (!*out) return rs_fail(err, RS_E_NOMEM, "FFTW: no plan for a transform of %lld", (long long)n);
    int at = p->count < PLANS ? p->count++ : p->oldest++ % PLANS;
    if (p->item[at].plan) fftw_destroy_plan(p->item[at].plan);
    p->item[at].kind = kind;
    p->item[at].n = n;
    p->item[at].plan = *out;
out:
    return st;
}

/* ---- signals ---- */

/* Doubles of a piece of scratch, rounded up so that the next piece is aligned like the first. */
static int64_t aligned(int64_t doubles) { return (doubles + 7) / 8 * 8; }

static rs_status check_pairs(const char *op, const rs_view *lo, const rs_view *hi, int64_t width, rs_error *err) {
    rs_status st = RS_OK;
    RS_TRY(rs_cpu_check_index(op, "component_lo", rs_cpu_data(lo), lo->dim[0], 0, width, err));
    RS_TRY(rs_cpu_check_index(op, "component_hi", rs_cpu_data(hi), hi->dim[0], 0, width, err));
out:
    return st;
}

/* One pair of one head over the rows from `first` on. */
typedef struct signal {
    const float *lo, *hi; /* of row `first` */
    int64_t rows, stride;
} signal;

static signal signal_of(const rs_view *x, const rs_view *lo, const rs_view *hi, int64_t first, int64_t h, int64_t f) {
    const float *at = (const float *)rs_cpu_data(x) + first * x->stride[0] + h * x->stride[1];
    return (signal){.lo = at + ((const int32_t *)rs_cpu_data(lo))[f],
                    .hi = at + ((const int32_t *)rs_cpu_data(hi))[f],
                    .rows = x->dim[0] - first,
                    .stride = x->stride[0]};
}

/* Complex, zeros behind, up to n. out: [2 n] */
static void put_complex(const signal *s, double *out, int64_t n) {
    for (int64_t t = 0; t < s->rows; t++) {
        out[2 * t] = (double)s->lo[t * s->stride];
        out[2 * t + 1] = (double)s->hi[t * s->stride];
    }
    memset(out + 2 * s->rows, 0, (size_t)(2 * (n - s->rows)) * sizeof *out);
}

static void put_sizes(const signal *s, double *out) {
    for (int64_t t = 0; t < s->rows; t++) {
        double re = (double)s->lo[t * s->stride], im = (double)s->hi[t * s->stride];
        out[t] = sqrt(re * re + im * im);
    }
}

/* ---- correlate ---- */

typedef struct correlate_job {
    const rs_op_correlate *o;
    int64_t lags, n;
    fftw_plan forward, backward;
} correlate_job;

/* z = q conj(k): both [2 n], into q. */
static void multiply_conjugate(double *q, const double *k, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        double re = q[2 * i] * k[2 * i] + q[2 * i + 1] * k[2 * i + 1];
        double im = q[2 * i + 1] * k[2 * i] - q[2 * i] * k[2 * i + 1];
        q[2 * i] = re;
        q[2 * i + 1] = im;
    }
}

/* e^{i theta D} for all distances. turn: [2 lags] */
static void fill_turns(double theta, int64_t lags, double *turn) {
    for (int64_t D = 0; D < lags; D++) {
        turn[2 * D] = cos(theta * (double)D);
        turn[2 * D + 1] = sin(theta * (double)D);
    }
}

/* Sums over the bins of Re(c e^{i theta D}), times gain. c: [2 n] */
static void add_bins(const correlate_job *j, const double *c, const double *turn, double gain, double *out) {
    const rs_op_correlate *o = j->o;
    const int32_t *start = rs_cpu_data(&o->start);
    int64_t bins = o->start.dim[0];
    for (int64_t b = 0; b < bins; b++) {
        int64_t end = b + 1 < bins && start[b + 1] < j->lags ? start[b + 1] : j->lags;
        double sum = 0;
        for (int64_t D = start[b]; D < end; D++) sum += c[2 * D] * turn[2 * D] - c[2 * D + 1] * turn[2 * D + 1];
        out[b] += gain * sum;
    }
}

/* Pair f of key head kv against all query heads that share it. room: [3][aligned(2 n)] */
static void correlate_pair(const correlate_job *j, int64_t kv, int64_t f, double *room) {
    const rs_op_correlate *o = j->o;
    int64_t group = o->q.dim[1] / o->k.dim[1], F = o->theta.dim[0], bins = o->start.dim[0], piece = aligned(2 * j->n);
    double *k = room, *q = room + piece, *turn = room + 2 * piece;
    double theta = ((const double *)rs_cpu_data(&o->theta))[f], factor = ((const double *)rs_cpu_data(&o->factor))[f];
    signal s = signal_of(&o->k, &o->component_lo, &o->component_hi, o->first, kv, f);
    put_complex(&s, k, j->n);
    fftw_execute_dft(j->forward, (fftw_complex *)(void *)k, (fftw_complex *)(void *)k);
    fill_turns(theta, j->lags, turn);
    for (int64_t h = kv * group; h < (kv + 1) * group; h++) {
        s = signal_of(&o->q, &o->component_lo, &o->component_hi, o->first, h, f);
        put_complex(&s, q, j->n);
        fftw_execute_dft(j->forward, (fftw_complex *)(void *)q, (fftw_complex *)(void *)q);
        multiply_conjugate(q, k, j->n);
        fftw_execute_dft(j->backward, (fftw_complex *)(void *)q, (fftw_complex *)(void *)q);
        add_bins(j, q, turn, o->scale * factor * factor / (double)j->n,
                 (double *)rs_cpu_data(&o->out) + (h * F + f) * bins);
    }
}

rs_status rs_cpu_correlate(rs_device *d, const rs_op *op, rs_error *err) {
    rs_status st = RS_OK;
    const rs_op_correlate *o = &op->u.correlate;
    void *memory = NULL;
    int64_t K = o->k.dim[1], F = o->theta.dim[0];
    correlate_job j = {.o = o, .lags = rs_correlate_lags(o), .n = rs_correlate_length(o)};
    int64_t room = 3 * aligned(2 * j.n);
    RS_TRY(check_pairs("correlate", &o->component_lo, &o->component_hi, 2 * F, err));
    RS_TRY(rs_cpu_check_index("correlate", "start", rs_cpu_data(&o->start), o->start.dim[0], 0, o->q.dim[0], err));
    RS_TRY(rs_cpu_scratch_get(d, RS_CPU_SIGNALS, (size_t)(d->threads * room) * sizeof(double), &memory, err));
    RS_TRY(get_plan(d, PLAN_FORWARD, j.n, memory, &j.forward, err));
    RS_TRY(get_plan(d, PLAN_BACKWARD, j.n, memory, &j.backward, err));
#pragma omp parallel for schedule(dynamic, 1) num_threads(rs_cpu_threads(d, K *F *j.n * 64))
    for (int64_t unit = 0; unit < K * F; unit++)
        correlate_pair(&j, unit / F, unit % F, (double *)memory + omp_get_thread_num() * room);
out:
    return st;
}

/* ---- spectrum ---- */

typedef struct spectrum_job {
    const rs_op_spectrum *o;
    int64_t rows, frame;
    const double *window; /* [frame] */
    fftw_plan whole, part;
} spectrum_job;

static double square_at(const double *z, int64_t k) { return z[2 * k] * z[2 * k] + z[2 * k + 1] * z[2 * k + 1]; }

/* x: [frame], z: [2 (frame/2 + 1)] room */
static void add_frames(const spectrum_job *j, const double *size, double *x, double *z, double *power) {
    for (int64_t at = 0; at + j->frame <= j->rows; at += j->frame / 2) {
        for (int64_t t = 0; t < j->frame; t++) x[t] = j->window[t] * size[at + t];
        fftw_execute_dft_r2c(j->part, x, (fftw_complex *)(void *)z);
        for (int64_t k = 0; k <= j->frame / 2; k++) power[k] += square_at(z, k);
    }
}

/* z: the DFT of all rows. */
static void add_entropy(const spectrum_job *j, const double *z, double *entropy) {
    int64_t last = j->rows / 2;
    double whole = 0, sum = 0;
    for (int64_t k = 1; k <= last; k++) whole += square_at(z, k);
    if (!(whole > RS_SPECTRUM_LEAST * square_at(z, 0))) return;
    for (int64_t k = 1; k <= last; k++) {
        double p = square_at(z, k) / whole;
        if (p > 0) sum -= p * log2(p);
    }
    entropy[0] += sum / log2((double)last);
    entropy[1] += 1;
}

/* room: sizes [aligned(rows)], their DFT [aligned(rows + 2)] */
static void spectrum_pair(const spectrum_job *j, int64_t h, int64_t f, double *room) {
    const rs_op_spectrum *o = j->o;
    int64_t at = h * o->component_lo.dim[0] + f;
    double *size = room, *z = room + aligned(j->rows);
    signal s = signal_of(&o->x, &o->component_lo, &o->component_hi, o->first, h, f);
    put_sizes(&s, size);
    fftw_execute_dft_r2c(j->whole, size, (fftw_complex *)(void *)z);
    add_entropy(j, z, (double *)rs_cpu_data(&o->entropy) + 2 * at);
    add_frames(j, size, z + aligned(j->rows + 2), z, (double *)rs_cpu_data(&o->power) + at * o->power.dim[2]);
}

static void fill_window(double *window, int64_t n) {
    for (int64_t t = 0; t < n; t++) window[t] = 0.5 - 0.5 * cos(2.0 * 3.14159265358979323846 * (double)t / (double)n);
}

rs_status rs_cpu_spectrum(rs_device *d, const rs_op *op, rs_error *err) {
    rs_status st = RS_OK;
    const rs_op_spectrum *o = &op->u.spectrum;
    void *memory = NULL;
    int64_t H = o->x.dim[1], F = o->component_lo.dim[0];
    spectrum_job j = {.o = o, .rows = o->x.dim[0] - o->first, .frame = 2 * (o->power.dim[2] - 1)};
    int64_t room = aligned(j.rows) + aligned(j.rows + 2) + aligned(j.frame);
    RS_TRY(check_pairs("spectrum", &o->component_lo, &o->component_hi, 2 * F, err));
    RS_TRY(rs_cpu_scratch_get(d, RS_CPU_SIGNALS, (size_t)(d->threads * room + aligned(j.frame)) * sizeof(double),
                              &memory, err));
    double *window = (double *)memory + d->threads * room;
    RS_TRY(get_plan(d, PLAN_REAL, j.rows, memory, &j.whole, err));
    RS_TRY(get_plan(d, PLAN_REAL, j.frame, memory, &j.part, err));
    fill_window(window, j.frame);
    j.window = window;
#pragma omp parallel for schedule(dynamic, 1) num_threads(rs_cpu_threads(d, H *F *j.rows * 64))
    for (int64_t unit = 0; unit < H * F; unit++)
        spectrum_pair(&j, unit / F, unit % F, (double *)memory + omp_get_thread_num() * room);
out:
    return st;
}
