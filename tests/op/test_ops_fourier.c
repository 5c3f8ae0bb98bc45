/* tests/op/test_ops_fourier.c: PHASE, SPECTRUM and CORRELATE on every backend against what they stand for, written out:
 * atan2, Fourier sums term by term, and sums over all pairs of a query and a key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/op_rig.h"
#include "tests/support/test_device.h"

#include <complex.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double PI = 3.14159265358979323846;

/* Transforms of float64 in another order than the sums here: some 1e-15 of the largest term, grown by the number of
 * terms. A wrong sign, shift or bin is off by 1e-2 and more. */
static const double TOLERANCE = 1e-11;

static void layout(int32_t *lo, int32_t *hi, int64_t F, bool interleaved) {
    for (int32_t f = 0; f < F; f++) {
        lo[f] = interleaved ? 2 * f : f;
        hi[f] = interleaved ? 2 * f + 1 : f + (int32_t)F;
    }
}

static double complex pair_of(const float *row, const int32_t *lo, const int32_t *hi, int64_t f) {
    return (double)row[lo[f]] + I * (double)row[hi[f]];
}

/* ---- phase ---- */

typedef struct phase_case {
    int64_t T, H, F, first;
    bool interleaved;
} phase_case;

/* Angles on the edges of bins, where float64 holds them exactly, in the first rows of head 0, pair 0. */
typedef struct edge {
    float re, im;
    int bin; /* -1: none */
} edge;
static const edge EDGES[] = {{1, 0, 0},      {2, 2, 8},    {0, 3, 16},       {-1, 1, 24},     {-5, 0, 32},
                             {-2, -2, 40},   {0, -1, 48},  {1, -1, 56},      {0, 0, -1},      {-0.0F, -0.0F, -1},
                             {1e-30F, 0, 0}, {NAN, 1, -1}, {1, -1e-20F, 63}, {-1, 1e-20F, 31}};
enum { N_EDGES = sizeof EDGES / sizeof EDGES[0] };

static void run_phase(rs_rig *r, const phase_case *c) {
    rs_rng rng;
    int32_t lo[64], hi[64];
    int64_t n = c->T * c->H * 2 * c->F, cells = c->H * c->F * RS_PHASE_BINS;
    rs_rng_init(&rng, (uint64_t)c->T);
    layout(lo, hi, c->F, c->interleaved);
    float *x = rs_rig_normal(&rng, n, 1);
    double *want = rs_rig_numbered(cells);
    rs_view out = RS_RIG_PUT(r, RS_F64, 0, want, c->H, c->F, RS_PHASE_BINS);
    for (int64_t i = 0; i < N_EDGES && c->first + i < c->T; i++) {
        x[(c->first + i) * c->H * 2 * c->F + lo[0]] = EDGES[i].re;
        x[(c->first + i) * c->H * 2 * c->F + hi[0]] = EDGES[i].im;
    }
    for (int64_t i = c->first * c->H * c->F; i < c->T * c->H * c->F; i++) {
        int64_t t = i / (c->H * c->F), h = i / c->F % c->H, f = i % c->F;
        const float *row = x + (t * c->H + h) * 2 * c->F;
        double angle = atan2((double)row[hi[f]], (double)row[lo[f]]);
        int bin = (int)floor((angle < 0 ? angle + 2 * PI : angle) / (2 * PI) * RS_PHASE_BINS);
        if (h == 0 && f == 0 && t - c->first < N_EDGES) bin = EDGES[t - c->first].bin;
        if (bin >= 0) want[(h * c->F + f) * RS_PHASE_BINS + bin] += 1;
    }
    rs_op op = {.kind = RS_OP_PHASE,
                .u.phase = {.x = RS_RIG_PUT(r, RS_F32, 3, x, c->T, c->H, 2 * c->F),
                            .component_lo = RS_RIG_PUT(r, RS_I32, 0, lo, c->F),
                            .component_hi = RS_RIG_PUT(r, RS_I32, 0, hi, c->F),
                            .out = out,
                            .first = c->first}};
    rs_rig_run(r, &op);
    double *got = rs_rig_get(r, &out);
    rs_rig_close_f64(r, "phase", got, want, cells, 0);
    free(x), free(want), free(got);
}

static void body_phase(rs_rig *r) {
    run_phase(r, &(phase_case){1, 1, 1, 1, false}); /* no row at all */
    run_phase(r, &(phase_case){700, 3, 17, 1, true});
    run_phase(r, &(phase_case){300, 9, 32, 0, false});
}

/* ---- spectrum ---- */

typedef struct spectrum_case {
    int64_t T, H, F, first, frame;
    bool interleaved;
} spectrum_case;

static double power_of(const double *x, int64_t n, int64_t k) {
    double complex sum = 0;
    for (int64_t t = 0; t < n; t++) sum += x[t] * cexp(-2 * PI * I * (double)(k * t % n) / (double)n);
    return creal(sum) * creal(sum) + cimag(sum) * cimag(sum);
}

static void spectrum_reference(const spectrum_case *c, const double *size, int64_t n, double *power, double *entropy) {
    double *part = rs_rig_doubles(c->frame), *p = rs_rig_doubles(n / 2 + 1), whole = 0, sum = 0, square = 0;
    for (int64_t at = 0; at + c->frame <= n; at += c->frame / 2) {
        for (int64_t t = 0; t < c->frame; t++)
            part[t] = size[at + t] * (0.5 - 0.5 * cos(2 * PI * (double)t / (double)c->frame));
        for (int64_t k = 0; k <= c->frame / 2; k++) power[k] += power_of(part, c->frame, k);
    }
    for (int64_t k = 1; k <= n / 2; k++) whole += p[k] = power_of(size, n, k);
    for (int64_t t = 0; t < n; t++) square += size[t] * size[t];
    for (int64_t k = 1; k <= n / 2; k++) sum -= p[k] > 0 ? p[k] / whole * log2(p[k] / whole) : 0;
    if (whole > 1e-20 * square * (double)n) { /* what varies varies by 1e-7 at least */
        entropy[0] += sum / log2((double)(n / 2));
        entropy[1] += 1;
    }
    free(part), free(p);
}

/* A pair that does not vary, and one that is always zero, where there is room for them. */
static void plant_constants(const spectrum_case *c, float *x, const int32_t *lo, const int32_t *hi) {
    for (int64_t t = 0; t < c->T && c->F > 2; t++) {
        float *row = x + t * c->H * 2 * c->F;
        row[lo[1]] = t % 2 ? 3.0F : -4.0F; /* turns, with length 5 */
        row[hi[1]] = t % 2 ? -4.0F : 3.0F;
        row[lo[2]] = row[hi[2]] = 0;
    }
}

static void run_spectrum(rs_rig *r, const spectrum_case *c) {
    rs_rng rng;
    int32_t lo[64], hi[64];
    int64_t n = c->T - c->first, bins = c->frame / 2 + 1, cells = c->H * c->F * bins;
    rs_rng_init(&rng, (uint64_t)c->T);
    layout(lo, hi, c->F, c->interleaved);
    float *x = rs_rig_normal(&rng, c->T * c->H * 2 * c->F, 1);
    plant_constants(c, x, lo, hi);
    double *want = rs_rig_numbered(cells), *want_entropy = rs_rig_numbered(c->H * c->F * 2), *size = rs_rig_doubles(n);
    rs_view power = RS_RIG_PUT(r, RS_F64, 0, want, c->H, c->F, bins),
            entropy = RS_RIG_PUT(r, RS_F64, 0, want_entropy, c->H, c->F, 2);
    for (int64_t i = 0; i < c->H * c->F; i++) {
        int64_t h = i / c->F, f = i % c->F;
        for (int64_t t = 0; t < n; t++) size[t] = cabs(pair_of(x + ((t + c->first) * c->H + h) * 2 * c->F, lo, hi, f));
        spectrum_reference(c, size, n, want + i * bins, want_entropy + 2 * i);
    }
    rs_op op = {.kind = RS_OP_SPECTRUM,
                .u.spectrum = {.x = RS_RIG_PUT(r, RS_F32, 1, x, c->T, c->H, 2 * c->F),
                               .component_lo = RS_RIG_PUT(r, RS_I32, 0, lo, c->F),
                               .component_hi = RS_RIG_PUT(r, RS_I32, 0, hi, c->F),
                               .power = power,
                               .entropy = entropy,
                               .first = c->first}};
    rs_rig_run(r, &op);
    double *got = rs_rig_get(r, &power), *got_entropy = rs_rig_get(r, &entropy);
    rs_rig_close_f64(r, "spectrum", got, want, cells, TOLERANCE);
    rs_rig_close_f64(r, "entropy", got_entropy, want_entropy, c->H * c->F * 2, TOLERANCE);
    rs_rig_same_bytes(r, got, (size_t)cells * sizeof *got);
    rs_rig_same_bytes(r, got_entropy, (size_t)(c->H * c->F * 2) * sizeof *got_entropy);
    free(x), free(want), free(want_entropy), free(size), free(got), free(got_entropy);
}

static void body_spectrum(rs_rig *r) {
    run_spectrum(r, &(spectrum_case){5, 1, 1, 1, 2, false});    /* the shortest signal */
    run_spectrum(r, &(spectrum_case){129, 2, 5, 1, 64, true});  /* even length */
    run_spectrum(r, &(spectrum_case){180, 3, 4, 1, 64, false}); /* 179 is prime; frames leave rows over */
    run_spectrum(r, &(spectrum_case){64, 1, 3, 0, 64, false});
}

/* SequenceFE of signals whose answer is known without a Fourier transform (metrics, golden test g): white noise about
 * 1, since powers of white noise are exponential variables: 1 - (1 - 0.5772)/ln(n/2) for one sequence; a tone below
 * 0.3. */
static void body_golden(rs_rig *r) {
    enum { T = 2049, F = 3, BINS = 513 };
    rs_rng rng;
    int32_t lo[F], hi[F];
    rs_rng_init(&rng, 5);
    layout(lo, hi, F, false);
    float *x = rs_rig_zeros((int64_t)T * 2 * F, sizeof *x);
    double *zero = rs_rig_doubles(F * BINS);
    for (int64_t t = 0; t < T; t++) {
        double noise = 10 + rs_rng_normal(&rng), tone = 10 + 3 * cos(2 * PI * 0.0617 * (double)t), angle = (double)t;
        const double size[F] = {noise, tone, 7};
        for (int f = 0; f < F; f++) {
            x[t * 2 * F + lo[f]] = (float)(size[f] * cos(angle));
            x[t * 2 * F + hi[f]] = (float)(size[f] * sin(angle));
        }
    }
    rs_view power = RS_RIG_PUT(r, RS_F64, 0, zero, 1, F, BINS), entropy = RS_RIG_PUT(r, RS_F64, 0, zero, 1, F, 2);
    rs_op op = {.kind = RS_OP_SPECTRUM,
                .u.spectrum = {.x = RS_RIG_PUT(r, RS_F32, 0, x, T, 1, 2 * F),
                               .component_lo = RS_RIG_PUT(r, RS_I32, 0, lo, F),
                               .component_hi = RS_RIG_PUT(r, RS_I32, 0, hi, F),
                               .power = power,
                               .entropy = entropy,
                               .first = 1}};
    rs_rig_run(r, &op);
    double *e = rs_rig_get(r, &entropy), *p = rs_rig_get(r, &power);
    double noise = 1 - (1 - 0.5772156649) / log(1024.0); /* 0.939 */
    assert_true(fabs(e[0] - noise) < 0.01);              /* its spread over seeds is some 0.003 */
    assert_true(e[2] > 0 && e[2] < 0.3);
    for (int64_t k = 2; k < BINS; k++) { /* the tone stands at 0.0617 turns a token: bin 63.2 of 1,024 */
        if (k != 63 && k != 64) assert_true(p[BINS + k] < p[BINS + 63]);
    }
    free(x), free(zero), free(e), free(p);
}

/* ---- correlate ---- */

typedef struct correlate_case {
    int64_t T, H, K, F, first, window, step; /* step: distances of a bin behind the tenth */
    bool interleaved;
} correlate_case;

static void correlate_reference(const correlate_case *c, const float *q, const float *k, const int32_t *lo,
                                const int32_t *hi, const double *theta, const double *factor, const int32_t *start,
                                int64_t bins, double scale, double *out) {
    for (int64_t i = 0; i < c->H * c->F; i++) {
        int64_t h = i / c->F, f = i % c->F, kv = h / (c->H / c->K);
        for (int64_t t = c->first; t < c->T; t++) {
            for (int64_t n = c->first; n <= t; n++) {
                int64_t b = 0;
                if (c->window > 0 && t - n >= c->window) continue;
                while (b + 1 < bins && start[b + 1] <= t - n) b++;
                double complex z = pair_of(q + (t * c->H + h) * 2 * c->F, lo, hi, f) *
                                   conj(pair_of(k + (n * c->K + kv) * 2 * c->F, lo, hi, f));
                out[i * bins + b] += scale * factor[f] * factor[f] * creal(z * cexp(I * theta[f] * (double)(t - n)));
            }
        }
    }
}

static void run_correlate(rs_rig *r, const correlate_case *c) {
    rs_rng rng;
    int32_t lo[64], hi[64], *start = rs_rig_zeros(c->T, sizeof *start);
    double theta[64], factor[64];
    int64_t bins = 0;
    rs_rng_init(&rng, (uint64_t)c->T);
    layout(lo, hi, c->F, c->interleaved);
    for (int64_t D = 0; D < c->T; D += D < 10 ? 1 : c->step) start[bins++] = (int32_t)D;
    for (int64_t f = 0; f < c->F; f++) { /* the last pair is not rotated */
        theta[f] = f == c->F - 1 ? 0 : pow(1e4, -(double)f / (double)c->F);
        factor[f] = f % 2 ? 1.0 : 1.3;
    }
    float *q = rs_rig_normal(&rng, c->T * c->H * 2 * c->F, 1), *k = rs_rig_normal(&rng, c->T * c->K * 2 * c->F, 1);
    for (int64_t i = 0; i < c->H * 2 * c->F; i++) q[i] = 1000; /* a sink at position 0 */
    double *want = rs_rig_numbered(c->H * c->F * bins);
    rs_view out = RS_RIG_PUT(r, RS_F64, 0, want, c->H, c->F, bins);
    correlate_reference(c, q, k, lo, hi, theta, factor, start, bins, 0.3, want);
    rs_op op = {.kind = RS_OP_CORRELATE,
                .u.correlate = {.q = RS_RIG_PUT(r, RS_F32, 1, q, c->T, c->H, 2 * c->F),
                                .k = RS_RIG_PUT(r, RS_F32, 2, k, c->T, c->K, 2 * c->F),
                                .component_lo = RS_RIG_PUT(r, RS_I32, 0, lo, c->F),
                                .component_hi = RS_RIG_PUT(r, RS_I32, 0, hi, c->F),
                                .theta = RS_RIG_PUT(r, RS_F64, 0, theta, c->F),
                                .factor = RS_RIG_PUT(r, RS_F64, 0, factor, c->F),
                                .start = RS_RIG_PUT(r, RS_I32, 0, start, bins),
                                .out = out,
                                .first = c->first,
                                .window = c->window,
                                .scale = 0.3}};
    rs_rig_run(r, &op);
    double *got = rs_rig_get(r, &out);
    rs_rig_close_f64(r, "correlate", got, want, c->H * c->F * bins, TOLERANCE);
    rs_rig_same_bytes(r, got, (size_t)(c->H * c->F * bins) * sizeof *got);
    free(start), free(q), free(k), free(want), free(got);
}

static void body_correlate(rs_rig *r) {
    run_correlate(r, &(correlate_case){2, 1, 1, 1, 1, 0, 1, false}); /* one query, one key */
    run_correlate(r, &(correlate_case){100, 6, 2, 5, 1, 0, 1, true});
    run_correlate(r, &(correlate_case){130, 4, 1, 3, 0, 0, 7, false});
    run_correlate(r, &(correlate_case){130, 2, 2, 4, 1, 37, 7, false}); /* the window cuts a bin */
    run_correlate(r, &(correlate_case){65, 2, 1, 2, 1, 1, 1, false});   /* each query sees itself alone */
    run_correlate(r, &(correlate_case){65, 2, 1, 2, 1, 1000, 5, true}); /* a window that hides nothing */
}

/* More lengths than a device keeps plans for. */
static void body_plans(rs_rig *r) {
    for (int64_t T = 20; T < 200; T += 9) run_spectrum(r, &(spectrum_case){T, 1, 1, 1, 4, false});
    run_spectrum(r, &(spectrum_case){20, 1, 1, 1, 4, false});
}

#define TEST(name, body)                                                                                               \
    static void name(void **state) {                                                                                   \
        (void)state;                                                                                                   \
        rs_rig_each(body);                                                                                             \
    }
TEST(test_phase, body_phase)
TEST(test_spectrum, body_spectrum)
TEST(test_golden, body_golden)
TEST(test_correlate, body_correlate)
TEST(test_plans, body_plans)

/* Is there a Fourier library behind the device under test? */
static bool transforms(void) {
    const rs_backend *b = NULL;
    rs_device *d = NULL;
    if (rs_device_open(rs_test_device(), 1, &b, &d, NULL) != RS_OK) return true; /* the tests will say it */
    bool there = b->supports(RS_OP_CORRELATE, NULL) == RS_OK;
    b->close(d);
    return there;
}

int main(void) {
    rs_test_device_or_skip();
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_phase), cmocka_unit_test(test_spectrum),
                                       cmocka_unit_test(test_golden), cmocka_unit_test(test_correlate),
                                       cmocka_unit_test(test_plans)};
    if (transforms()) return cmocka_run_group_tests(tests, NULL, NULL);
    const struct CMUnitTest without[] = {cmocka_unit_test(test_phase)};
    return cmocka_run_group_tests(without, NULL, NULL);
}
