/* Every finished array of the default set of probes against the same quantity computed from the same activations by
 * plain double loops, by its definition in docs/store.md. Position 0 of q, k and v is a thousand times as long as the
 * rest: one token of it in an average shows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "analyzer/base/alloc.h"
#include "probes/axis.h"
#include "probes/moments.h"
#include "tests/support/fake_frames.h"
#include "tests/support/test_device.h"

#include <complex.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SEQUENCES = 5, SEED = 7 };

/* The bar for statistics from float32 activations (design, "Numbers to hold"); sums are float64, so errors are far
 * smaller. */
static const double TOLERANCE = 1e-5;

typedef struct world {
    fake_forward forward;
    fake_activations acts[SEQUENCES]; /* of the layer at hand */
    const rs_layer *layer;
    int number; /* of that layer */
    int64_t T, H, K, F, Dv;
    rs_arrays *results; /* of that layer, all probes */
    size_t seen;        /* arrays compared */
} world;

/* --- running
 * ------------------------------------------------------------------------------------------------------------------------
 */

static rs_status keep(void *ctx, const rs_probe_kind *kind, int layer, const rs_arrays *state, const rs_arrays *results,
                      rs_error *err) {
    (void)kind;
    (void)state;
    rs_arrays *all = ctx;
    for (size_t i = 0; i < results->count; i++) {
        const rs_array *a = &results->items[i];
        rs_array *b = NULL;
        rs_status st = rs_arrays_add(&all[layer], &b, err, a->name, a->stored_as, a->unit, a->long_name, a->n_dims,
                                     a->dim_names[0], a->dims[0], a->dim_names[1], a->dims[1], a->dim_names[2],
                                     a->dims[2], a->dim_names[3], a->dims[3]);
        assert_int_equal(st, RS_OK);
        memcpy(b->data, a->data, (size_t)rs_array_size(a) * sizeof *a->data);
        b->count = a->count;
    }
    return RS_OK;
}

static uint64_t content_of(int sequence) { return 900 + (uint64_t)sequence; }

static void run_all(const fake_forward *f, rs_arrays results[FAKE_LAYERS]) {
    rs_error err = {0};
    size_t n = 0;
    const rs_probe_kind *const *kinds = rs_probe_defaults(&n);
    rs_probe_facts facts = {.graph = &f->graph, .positions = f->positions, .sequences = SEQUENCES, .seed = SEED};
    rs_probes *p = NULL;
    uint64_t content[SEQUENCES];
    for (int i = 0; i < SEQUENCES; i++) {
        content[i] = content_of(i);
    }
    rs_probe_finisher finisher = {&facts, keep, results};
    assert_int_equal(rs_probes_create(kinds, n, &facts, f->backend, f->device, rs_probe_finish, &finisher, &p, &err),
                     RS_OK);
    rs_hook hook = rs_probes_hook(p);
    if (fake_drive(f, &hook, content, NULL, SEQUENCES, 9, &err) != RS_OK) {
        fail_msg("%s", err.message);
    }
    rs_probes_destroy(p);
}

/* --- access to activations
 * ----------------------------------------------------------------------------------------------------------- */

static double complex query(const world *w, int s, int64_t t, int64_t h, int64_t f) {
    const float *x = w->acts[s].q + (t * w->H + h) * w->layer->head_dim;
    return x[w->forward.lo[w->number][f]] + I * (double)x[w->forward.hi[w->number][f]];
}

static double complex key(const world *w, int s, int64_t t, int64_t h, int64_t f) {
    const float *x = w->acts[s].k + (t * w->K + h) * w->layer->head_dim;
    return x[w->forward.lo[w->number][f]] + I * (double)x[w->forward.hi[w->number][f]];
}

static double complex value(const world *w, int s, int64_t t, int64_t h, int64_t j) {
    const float *x = w->acts[s].v + (t * w->K + h) * w->Dv;
    return x[j] + I * (double)x[j + w->Dv / 2];
}

typedef double complex (*vector_at)(const world *w, int s, int64_t t, int64_t h, int64_t f);

static double attention(const world *w, int s, int64_t h, int64_t t, int64_t n) {
    return w->acts[s].pattern[(h * w->T + t) * w->T + n];
}

/* --- comparing
 * ---------------------------------------------------------------------------------------------------------------------------
 */

/* Largest error against the largest entry; NaN must meet NaN. expected is freed. */
static void expect(world *w, const char *name, double *expected, int64_t cells) {
    const rs_array *a = rs_arrays_find(w->results, name);
    double most = 0.0, worst = 0.0;
    int finite = 0;
    if (!a || rs_array_size(a) != cells) {
        fail_msg("%s: %lld cells, expected %lld", name, a ? (long long)rs_array_size(a) : -1, (long long)cells);
        return;
    }
    assert_true(a->count > 0);
    for (int64_t i = 0; i < cells; i++) {
        if (isnan(a->data[i]) != isnan(expected[i])) {
            fail_msg("layer %d %s[%lld] is %g, expected %g", w->number, name, (long long)i, a->data[i], expected[i]);
        }
        if (!isnan(expected[i])) {
            most = fmax(most, fabs(expected[i]));
            worst = fmax(worst, fabs(expected[i] - a->data[i]));
            finite++;
        }
    }
    if (!(worst <= TOLERANCE * most)) {
        fail_msg("layer %d %s: error %g, largest entry %g", w->number, name, worst, most);
    }
    assert_true(finite > 0);
    w->seen++;
    free(expected);
}

static double *cells(int64_t n) {
    double *p = calloc((size_t)n, sizeof *p);
    assert_non_null(p);
    return p;
}

static double pearson(const double *a, const double *b, int64_t n) {
    double ma = 0, mb = 0, ab = 0, aa = 0, bb = 0;
    for (int64_t i = 0; i < n; i++) {
        ma += a[i] / (double)n;
        mb += b[i] / (double)n;
    }
    for (int64_t i = 0; i < n; i++) {
        ab += (a[i] - ma) * (b[i] - mb);
        aa += (a[i] - ma) * (a[i] - ma);
        bb += (b[i] - mb) * (b[i] - mb);
    }
    return ab / sqrt(aa * bb);
}

/* --- frequency_norm
 * ------------------------------------------------------------------------------------------------------------------------
 */

/* Mean over sequences s (step 2 from `first`, or all) and positions of |z|^power. */
static double mean_norm(const world *w, vector_at at, int64_t h, int64_t f, int64_t from, int64_t to, int power,
                        int first, int step) {
    double sum = 0, n = 0;
    for (int s = first; s < SEQUENCES; s += step) {
        for (int64_t t = from; t < to; t++) {
            sum += pow(cabs(at(w, s, t, h, f)), power);
            n += 1;
        }
    }
    return sum / n;
}

static void norms_of(world *w, const char *letter, vector_at at, int64_t heads, int64_t F, bool rotated) {
    char name[128];
    double *mean = cells(heads * F), *rms = cells(heads * F), *share = cells(heads * F), *sink = cells(heads * F);
    for (int64_t h = 0; h < heads; h++) {
        double whole = 0;
        for (int64_t f = 0; f < F; f++) {
            mean[h * F + f] = mean_norm(w, at, h, f, 1, w->T, 1, 0, 1);
            rms[h * F + f] = sqrt(mean_norm(w, at, h, f, 1, w->T, 2, 0, 1));
            sink[h * F + f] = mean_norm(w, at, h, f, 0, 1, 1, 0, 1);
            whole += mean[h * F + f];
        }
        for (int64_t f = 0; f < F; f++) {
            share[h * F + f] = mean[h * F + f] / whole;
        }
        assert_true(sink[h * F] > 100 * mean[h * F]); /* the outlier is there */
    }
    snprintf(name, sizeof name, "frequency_norm/%s_mean", letter);
    expect(w, name, mean, heads * F);
    snprintf(name, sizeof name, "frequency_norm/%s_rms", letter);
    expect(w, name, rms, heads * F);
    snprintf(name, sizeof name, "frequency_norm/%s_share", letter);
    expect(w, name, share, heads * F);
    /* Which draws there are is test_probe_laws.c's; the shares of each are of one whole. */
    snprintf(name, sizeof name, "frequency_norm/%s_share_bootstrap", letter);
    const rs_array *draws = rs_arrays_find(w->results, name);
    assert_non_null(draws);
    for (int64_t b = 0; b < draws->dims[0]; b++) {
        double all = 0;
        for (int64_t f = 0; f < F; f++) {
            all += draws->data[b * F + f];
        }
        assert_true(fabs(all - 1) < 1e-6);
    }
    w->seen++;
    if (rotated) {
        snprintf(name, sizeof name, "frequency_norm/%s_mean_sink", letter);
        expect(w, name, sink, heads * F);
    } else {
        free(sink);
    }
}

static void tops_of(world *w, const char *letter, vector_at at, int64_t heads) {
    char name[128];
    double *top = cells(heads * w->F), *pair = cells(heads);
    for (int64_t h = 0; h < heads; h++) {
        for (int s = 0; s < SEQUENCES; s++) {
            for (int64_t t = 1; t < w->T; t++) {
                int64_t best = 0;
                for (int64_t f = 1; f < w->F; f++) {
                    best = cabs(at(w, s, t, h, f)) > cabs(at(w, s, t, h, best)) ? f : best;
                }
                top[h * w->F + best] += 1.0 / (double)(SEQUENCES * (w->T - 1));
            }
        }
        for (int64_t f = 1; f < w->F; f++) {
            pair[h] = top[h * w->F + f] > top[h * w->F + (int64_t)pair[h]] ? (double)f : pair[h];
        }
    }
    snprintf(name, sizeof name, "frequency_norm/%s_top", letter);
    expect(w, name, top, heads * w->F);
    snprintf(name, sizeof name, "frequency_norm/%s_top_pair", letter);
    expect(w, name, pair, heads);
}

static void buckets_of(world *w, const char *letter, vector_at at, int64_t heads) {
    char name[128];
    int64_t B = 0;
    for (int64_t first = 1; first < w->T; first *= 4) {
        B++;
    }
    double *mean = cells(B * heads * w->F), *half = cells(heads);
    int64_t first = 1;
    for (int64_t b = 0; b < B; b++, first *= 4) {
        for (int64_t i = 0; i < heads * w->F; i++) {
            mean[b * heads * w->F + i] =
                mean_norm(w, at, i / w->F, i % w->F, first, first * 4 < w->T ? first * 4 : w->T, 1, 0, 1);
        }
    }
    for (int64_t h = 0; h < heads; h++) {
        double *even = cells(w->F), *odd = cells(w->F);
        for (int64_t f = 0; f < w->F; f++) {
            even[f] = mean_norm(w, at, h, f, 1, w->T, 1, 0, 2);
            odd[f] = mean_norm(w, at, h, f, 1, w->T, 1, 1, 2);
        }
        half[h] = pearson(even, odd, w->F);
        free(even);
        free(odd);
    }
    snprintf(name, sizeof name, "frequency_norm/%s_bucket_mean", letter);
    expect(w, name, mean, B * heads * w->F);
    snprintf(name, sizeof name, "frequency_norm/%s_split_half", letter);
    expect(w, name, half, heads);
}

static void check_frequency_norm(world *w) {
    double *two = cells(w->H * w->F);
    norms_of(w, "q", query, w->H, w->F, true);
    norms_of(w, "k", key, w->K, w->F, true);
    norms_of(w, "v", value, w->K, w->Dv / 2, false);
    tops_of(w, "q", query, w->H);
    tops_of(w, "k", key, w->K);
    buckets_of(w, "q", query, w->H);
    buckets_of(w, "k", key, w->K);
    for (int64_t i = 0; i < w->H * w->F; i++) {
        int64_t h = i / w->F, f = i % w->F;
        two[i] = mean_norm(w, query, h, f, 1, w->T, 1, 0, 1) * mean_norm(w, key, h * w->K / w->H, f, 1, w->T, 1, 0, 1);
    }
    expect(w, "frequency_norm/two_norm", two, w->H * w->F);
}

/* --- moments
 * -------------------------------------------------------------------------------------------------------------------------------
 */

/* Means over all sequences and positions 1..T-1. */
typedef struct mean_of {
    double complex z, square, unit;
    double abs, abs2, n;
} mean_of;

static mean_of averages_of(const world *w, vector_at at, int64_t h, int64_t f, int first, int step) {
    mean_of m = {0};
    for (int s = first; s < SEQUENCES; s += step) {
        for (int64_t t = 1; t < w->T; t++) {
            double complex z = at(w, s, t, h, f);
            m.z += z;
            m.square += z * z;
            m.unit += z / cabs(z);
            m.abs += cabs(z);
            m.abs2 += cabs(z) * cabs(z);
            m.n += 1;
        }
    }
    return (mean_of){m.z / m.n, m.square / m.n, m.unit / m.n, m.abs / m.n, m.abs2 / m.n, m.n};
}

static mean_of averages(const world *w, vector_at at, int64_t h, int64_t f) { return averages_of(w, at, h, f, 0, 1); }

static void directions_of(world *w, const char *letter, vector_at at, int64_t heads) {
    static const char *const SUFFIX[4] = {"mean_re", "mean_im", "concentration", "concentration_unit"};
    double *out[4];
    for (int i = 0; i < 4; i++) {
        out[i] = cells(heads * w->F);
    }
    for (int64_t i = 0; i < heads * w->F; i++) {
        mean_of m = averages(w, at, i / w->F, i % w->F);
        double r2 = cabs(m.unit) * cabs(m.unit);
        out[0][i] = creal(m.z);
        out[1][i] = cimag(m.z);
        out[2][i] = cabs(m.z) / m.abs;
        out[3][i] = sqrt(fmax(0, (m.n * r2 - 1) / (m.n - 1)));
    }
    for (int i = 0; i < 4; i++) {
        char name[128];
        snprintf(name, sizeof name, "moments/%s_%s", letter, SUFFIX[i]);
        expect(w, name, out[i], heads * w->F);
    }
}

static int64_t seen_keys(const world *w, int64_t m) /* without the sink */
{
    return w->layer->window > 0 && w->layer->window < m ? w->layer->window : m;
}

/* Mean over rows m = 2..T-1 and distances of the squared change of a logit with the given moments, minus (centred) its
 * squared row mean: q and k replaced by everything that is known of them, E over q of (Re(q conj(k) g))^2 written out.
 */
static double cost(const world *w, const mean_of *q, const mean_of *k, double theta, bool unrotate, bool centred) {
    double total = 0;
    for (int64_t m = 2; m < w->T; m++) {
        int64_t n = seen_keys(w, m);
        double complex row = 0;
        double sum = 0;
        for (int64_t d = 0; d < n; d++) {
            double complex g = cexp(I * theta * (double)d) - (unrotate ? 1 : 0);
            row += g / (double)n;
            sum +=
                0.5 * (q->abs2 * k->abs2 * creal(g * conj(g)) + creal(q->square * conj(k->square) * g * g)) / (double)n;
        }
        if (centred) {
            sum -= 0.5 * (q->abs2 * creal(k->z * conj(k->z)) * creal(row * conj(row)) +
                          creal(q->square * conj(k->z * k->z) * row * row));
        }
        total += sum / (double)(w->T - 2);
    }
    return total;
}

/* Sampled rows of one head: variances over visible keys by definition. */
typedef struct sampled {
    double total, pp, pc, cp, cc, rows;
    double zero[FAKE_PAIRS], unrotate[FAKE_PAIRS];
} sampled;

static double spread(const double *x, int64_t n) {
    double mean = 0, v = 0;
    for (int64_t i = 0; i < n; i++) {
        mean += x[i] / (double)n;
    }
    for (int64_t i = 0; i < n; i++) {
        v += (x[i] - mean) * (x[i] - mean) / (double)n;
    }
    return v;
}

static double complex sequence_mean(const world *w, vector_at at, int s, int64_t h, int64_t f) {
    double complex m = 0;
    for (int64_t t = 1; t < w->T; t++) {
        m += at(w, s, t, h, f) / (double)(w->T - 1);
    }
    return m;
}

static void sample_row(const world *w, int s, int64_t h, int64_t m, sampled *out) {
    int64_t n = seen_keys(w, m), kv = h * w->K / w->H;
    double *terms = cells(5 * n), *zero = cells(n), *unrotate = cells(n);
    for (int64_t f = 0; f < w->F; f++) {
        double complex q = query(w, s, m, h, f), mq = sequence_mean(w, query, s, h, f),
                       mk = sequence_mean(w, key, s, kv, f);
        double g = w->layer->scale * w->layer->rope.factor[f] * w->layer->rope.factor[f];
        for (int64_t d = 0; d < n; d++) {
            double complex k = key(w, s, m - d, kv, f), e = cexp(I * w->layer->rope.theta[f] * (double)d);
            zero[d] = g * creal(q * conj(k) * e);
            unrotate[d] = zero[d] - g * creal(q * conj(k));
            terms[d] += zero[d];
            terms[n + d] += g * creal(mq * conj(mk) * e);
            terms[2 * n + d] += g * creal(mq * conj(k - mk) * e);
            terms[3 * n + d] += g * creal((q - mq) * conj(mk) * e);
            terms[4 * n + d] += g * creal((q - mq) * conj(k - mk) * e);
        }
        out->zero[f] += spread(zero, n);
        out->unrotate[f] += spread(unrotate, n);
    }
    double *sums[5] = {&out->total, &out->pp, &out->pc, &out->cp, &out->cc};
    for (int i = 0; i < 5; i++) {
        *sums[i] += spread(terms + i * n, n);
    }
    out->rows += 1;
    free(terms);
    free(zero);
    free(unrotate);
}

static sampled sample_head(const world *w, int64_t h) {
    sampled out = {0};
    for (int s = 0; s < SEQUENCES; s++) {
        int32_t rows[RS_SAMPLE_ROWS];
        int64_t n = rs_moments_rows(SEED, w->acts[s].ids, w->T, rows);
        for (int64_t i = 0; i < n; i++) {
            sample_row(w, s, h, rows[i], &out);
        }
    }
    return out;
}

/* Closed-form costs of even against those of odd sequences, head by head. */
static void check_cost_halves(world *w, bool unrotate) {
    double *r = cells(w->H), *half[2] = {cells(w->F), cells(w->F)};
    for (int64_t h = 0; h < w->H; h++) {
        for (int64_t f = 0; f < w->F; f++) {
            double g = w->layer->scale * w->layer->rope.factor[f] * w->layer->rope.factor[f];
            for (int i = 0; i < 2; i++) {
                mean_of q = averages_of(w, query, h, f, i, 2), k = averages_of(w, key, h * w->K / w->H, f, i, 2);
                half[i][f] = g * g * cost(w, &q, &k, w->layer->rope.theta[f], unrotate, true);
            }
        }
        r[h] = pearson(half[0], half[1], w->F);
    }
    expect(w, unrotate ? "moments/unrotate_cost_split_half" : "moments/zero_cost_split_half", r, w->H);
    free(half[0]);
    free(half[1]);
}

static void check_costs(world *w) {
    static const char *const NAME[2] = {"zero", "unrotate"};
    sampled *heads = calloc((size_t)w->H, sizeof *heads);
    double *variance = cells(w->H);
    for (int64_t h = 0; h < w->H; h++) {
        heads[h] = sample_head(w, h);
        variance[h] = heads[h].total / heads[h].rows;
    }
    for (int c = 0; c < 2; c++) {
        char name[128];
        double *centred = cells(w->H * w->F), *raw = cells(w->H * w->F), *measured = cells(w->H * w->F),
               *group = cells(w->K * w->F), *fit = cells(w->H);
        for (int64_t i = 0; i < w->H * w->F; i++) {
            int64_t h = i / w->F, f = i % w->F, kv = h * w->K / w->H;
            mean_of q = averages(w, query, h, f), k = averages(w, key, kv, f);
            double g = w->layer->scale * w->layer->rope.factor[f] * w->layer->rope.factor[f],
                   theta = w->layer->rope.theta[f];
            centred[i] = g * g * cost(w, &q, &k, theta, c == 1, true) / variance[h];
            raw[i] = g * g * cost(w, &q, &k, theta, c == 1, false) / variance[h];
            measured[i] = (c == 1 ? heads[h].unrotate[f] : heads[h].zero[f]) / heads[h].rows / variance[h];
            group[kv * w->F + f] += centred[i];
        }
        for (int64_t h = 0; h < w->H; h++) {
            fit[h] = pearson(centred + h * w->F, measured + h * w->F, w->F);
        }
        snprintf(name, sizeof name, "moments/fit_%s", NAME[c]);
        expect(w, name, fit, w->H);
        snprintf(name, sizeof name, "moments/%s_cost", NAME[c]);
        expect(w, name, centred, w->H * w->F);
        snprintf(name, sizeof name, "moments/%s_cost_raw", NAME[c]);
        expect(w, name, raw, w->H * w->F);
        snprintf(name, sizeof name, "moments/%s_cost_sampled", NAME[c]);
        expect(w, name, measured, w->H * w->F);
        snprintf(name, sizeof name, "moments/%s_cost_group", NAME[c]);
        expect(w, name, group, w->K * w->F);
    }
    check_cost_halves(w, false);
    check_cost_halves(w, true);
    expect(w, "moments/logit_variance", variance, w->H);
    free(heads);
}

static double mean_curve(const world *w, int64_t h, int64_t d) {
    double z = 0;
    for (int64_t f = 0; f < w->F; f++) {
        mean_of q = averages(w, query, h, f), k = averages(w, key, h * w->K / w->H, f);
        double g = w->layer->scale * w->layer->rope.factor[f] * w->layer->rope.factor[f];
        z += g * creal(q.z * conj(k.z) * cexp(I * w->layer->rope.theta[f] * (double)d));
    }
    return z;
}

/* The parts of q and k around their means, as moments of their own. */
static mean_of content(const mean_of *m) {
    double complex square = m->square - m->z * m->z;
    return (mean_of){.square = square, .abs2 = m->abs2 - cabs(m->z) * cabs(m->z)};
}

static mean_of constant(const mean_of *m) {
    return (mean_of){.z = m->z, .square = m->z * m->z, .abs2 = cabs(m->z) * cabs(m->z)};
}

static void put_shares(double *const out[4], int64_t at, const double *term) {
    for (int i = 0; i < 4; i++) {
        out[i][at] = term[i] / (term[0] + term[1] + term[2] + term[3]);
    }
}

static void check_shares(world *w) {
    static const char *const TERM[4] = {"pp", "pc", "cp", "cc"};
    double *pair[4], *head[4], *measured[4], *distances = cells(w->T), *curve;
    int64_t points = rs_distance_axis(w->T, distances);
    curve = cells(w->H * points);
    for (int i = 0; i < 4; i++) {
        pair[i] = cells(w->H * w->F);
        head[i] = cells(w->H);
        measured[i] = cells(w->H);
    }
    for (int64_t h = 0; h < w->H; h++) {
        double whole[4] = {0}, *z = cells(w->T);
        for (int64_t d = 0; d < w->T; d++) {
            z[d] = mean_curve(w, h, d);
        }
        for (int64_t i = 0; i < points; i++) {
            curve[h * points + i] = z[(int64_t)distances[i]];
        }
        for (int64_t m = 2; m < w->T; m++) {
            whole[0] += spread(z, seen_keys(w, m)) / (double)(w->T - 2);
        }
        for (int64_t f = 0; f < w->F; f++) {
            mean_of q = averages(w, query, h, f), k = averages(w, key, h * w->K / w->H, f);
            mean_of parts_q[2] = {constant(&q), content(&q)}, parts_k[2] = {constant(&k), content(&k)};
            double g = w->layer->scale * w->layer->rope.factor[f] * w->layer->rope.factor[f], term[4];
            for (int i = 0; i < 4; i++) { /* pp, pc, cp, cc: content of k in the odd ones, of q in the last two */
                term[i] = g * g * cost(w, &parts_q[i / 2], &parts_k[i % 2], w->layer->rope.theta[f], false, true);
                whole[i] += i > 0 ? term[i] : 0;
            }
            put_shares(pair, h * w->F + f, term);
        }
        put_shares(head, h, whole);
        sampled s = sample_head(w, h);
        put_shares(measured, h, (double[4]){s.pp, s.pc, s.cp, s.cc});
        free(z);
    }
    for (int i = 0; i < 4; i++) {
        char name[128];
        snprintf(name, sizeof name, "moments/pair_share_%s", TERM[i]);
        expect(w, name, pair[i], w->H * w->F);
        snprintf(name, sizeof name, "moments/share_%s", TERM[i]);
        expect(w, name, head[i], w->H);
        snprintf(name, sizeof name, "moments/share_%s_sampled", TERM[i]);
        expect(w, name, measured[i], w->H);
    }
    expect(w, "moments/distance_curve", curve, w->H * points);
    free(distances);
}

/* --- attention_pattern
 * -----------------------------------------------------------------------------------------------------------------------
 */

/* mode: 0 itself, 1 previous, 2 first, 3 duplicates, 4 induction. Adds the mass of row t and returns whether the row
 * counts. */
static bool row_mass(const world *w, int s, int64_t h, int64_t t, int mode, double *mass) {
    const int32_t *ids = w->acts[s].ids;
    bool counts = mode < 3;
    for (int64_t n = 0; n <= t; n++) {
        bool hit = mode == 0   ? n == t
                   : mode == 1 ? n == t - 1
                   : mode == 2 ? n == 0
                   : mode == 3 ? n > 0 && n < t && ids[n] == ids[t]
                               : n > 0 && n < t && ids[n - 1] == ids[t];
        counts = counts || hit;
        *mass += hit ? attention(w, s, h, t, n) : 0;
    }
    return counts;
}

static double mean_mass(const world *w, int64_t h, int mode, int first, int step) {
    double mass = 0, rows = 0;
    for (int s = first; s < SEQUENCES; s += step) {
        for (int64_t t = 1; t < w->T; t++) {
            rows += row_mass(w, s, h, t, mode, &mass);
        }
    }
    return mass / rows;
}

static void check_row_means(world *w) {
    static const char *const NAME[5] = {"diagonal", "previous", "first", "duplicate", "induction"};
    double *entropy = cells(w->H), *context = cells(w->H), *half = cells(w->H);
    for (int mode = 0; mode < 5; mode++) {
        char name[128];
        double *mean = cells(w->H);
        for (int64_t h = 0; h < w->H; h++) {
            mean[h] = mean_mass(w, h, mode, 0, 1);
        }
        snprintf(name, sizeof name, "attention_pattern/%s", NAME[mode]);
        expect(w, name, mean, w->H);
    }
    for (int64_t h = 0; h < w->H; h++) {
        for (int s = 0; s < SEQUENCES; s++) {
            for (int64_t t = 1; t < w->T; t++) {
                for (int64_t n = 0; n <= t; n++) {
                    double p = attention(w, s, h, t, n);
                    entropy[h] -= p > 0 ? p * log(p) / (double)(SEQUENCES * (w->T - 1)) : 0;
                }
            }
        }
        context[h] = exp(entropy[h]);
        for (int mode = 0; mode < 3; mode++) {
            half[h] = fmax(half[h], fabs(mean_mass(w, h, mode, 0, 2) - mean_mass(w, h, mode, 1, 2)));
        }
    }
    expect(w, "attention_pattern/entropy", entropy, w->H);
    expect(w, "attention_pattern/effective_context", context, w->H);
    expect(w, "attention_pattern/split_half", half, w->H);
}

/* Attention by distance without column 0: sum[d], and how many entries there are. */
static void by_distance(const world *w, int64_t h, double *sum, double *entries) {
    for (int s = 0; s < SEQUENCES; s++) {
        for (int64_t t = 1; t < w->T; t++) {
            for (int64_t n = 1; n <= t; n++) {
                bool visible = w->layer->window == 0 || t - n < w->layer->window;
                sum[t - n] += attention(w, s, h, t, n);
                entries[t - n] += visible;
            }
        }
    }
}

static double reach(const double *mass, int64_t n, double part) {
    double whole = 0, below = 0;
    for (int64_t d = 0; d < n; d++) {
        whole += mass[d];
    }
    for (int64_t d = 0; d < n; d++) {
        below += mass[d];
        if (below >= part * whole) {
            return (double)d;
        }
    }
    return (double)(n - 1);
}

static void check_distances(world *w) {
    static const int64_t LAST[6] = {0, 1, 16, 128, 1024, 1000000}; /* of the classes behind the sink's */
    double *axis = cells(w->T), *mean = cells(w->H), *p50 = cells(w->H), *p90 = cells(w->H), *classes = cells(w->H * 7);
    int64_t points = rs_distance_axis(w->T, axis);
    double *profile = cells(w->H * points);
    for (int64_t h = 0; h < w->H; h++) {
        double *sum = cells(w->T), *entries = cells(w->T), whole = 0;
        by_distance(w, h, sum, entries);
        classes[h * 7] = mean_mass(w, h, 2, 0, 1);
        for (int64_t d = 0; d < w->T; d++) {
            int c = 0;
            while (d > LAST[c]) {
                c++;
            }
            classes[h * 7 + 1 + c] += sum[d] / (double)(SEQUENCES * (w->T - 1));
            mean[h] += (double)d * sum[d];
            whole += sum[d];
        }
        mean[h] /= whole;
        p50[h] = reach(sum, w->T, 0.5);
        p90[h] = reach(sum, w->T, 0.9);
        for (int64_t i = 0; i < points; i++) {
            double mass = 0, n = 0;
            for (int64_t d = (int64_t)axis[i]; d < (i + 1 < points ? (int64_t)axis[i + 1] : w->T); d++) {
                mass += sum[d];
                n += entries[d];
            }
            profile[h * points + i] = n > 0 ? mass / n : (double)NAN;
        }
        free(sum);
        free(entries);
    }
    expect(w, "attention_pattern/mean_distance", mean, w->H);
    expect(w, "attention_pattern/p50_distance", p50, w->H);
    expect(w, "attention_pattern/p90_distance", p90, w->H);
    expect(w, "attention_pattern/distance_mass", classes, w->H * 7);
    expect(w, "attention_pattern/profile", profile, w->H * points);
    free(axis);
}

static void check_shape(world *w) {
    double *share = cells(w->H), *map = cells(w->H * 32 * 32), rows[32] = {0};
    for (int64_t t = 0; t < w->T; t++) {
        rows[t * 32 / w->T] += 1;
    }
    for (int64_t h = 0; h < w->H; h++) {
        double projected = 0, all = 0;
        for (int s = 0; s < SEQUENCES; s++) {
            for (int64_t d = 0; d < w->T - 1; d++) { /* the projection puts the mean of each diagonal on all of it */
                double sum = 0, n = 0;
                for (int64_t t = d + 1; t < w->T; t++) {
                    sum += attention(w, s, h, t, t - d);
                    all += attention(w, s, h, t, t - d) * attention(w, s, h, t, t - d);
                    n += 1;
                }
                projected += n * (sum / n) * (sum / n);
            }
            for (int64_t t = 0; t < w->T; t++) {
                for (int64_t n = 0; n <= t; n++) {
                    map[(h * 32 + t * 32 / w->T) * 32 + n * 32 / w->T] += attention(w, s, h, t, n);
                }
            }
        }
        share[h] = projected / all;
    }
    for (int64_t i = 0; i < w->H * 32 * 32; i++) {
        double n = rows[i / 32 % 32] * SEQUENCES;
        map[i] = n > 0 ? map[i] / n : (double)NAN;
    }
    expect(w, "attention_pattern/toeplitz_share", share, w->H);
    expect(w, "attention_pattern/map", map, w->H * 32 * 32);
}

/* --- all of it
 * --------------------------------------------------------------------------------------------------------------------------------
 */

static void check_layer(world *w, int layer) {
    w->number = layer;
    w->layer = &w->forward.layers[layer];
    w->H = w->layer->heads;
    w->K = w->layer->kv_heads;
    w->F = w->layer->rope.n_pairs;
    w->Dv = w->layer->v_dim;
    w->seen = 0;
    for (int s = 0; s < SEQUENCES; s++) {
        fake_make(&w->forward, layer, content_of(s), &w->acts[s]);
    }
    check_frequency_norm(w);
    directions_of(w, "q", query, w->H);
    directions_of(w, "k", key, w->K);
    check_costs(w);
    check_shares(w);
    check_row_means(w);
    check_distances(w);
    check_shape(w);
    assert_int_equal(w->seen, w->results->count); /* no array goes unchecked */
    for (int s = 0; s < SEQUENCES; s++) {
        fake_free(&w->acts[s]);
    }
}

static void check_world(int64_t positions) {
    world w = {.T = positions};
    rs_arrays results[FAKE_LAYERS] = {{0}};
    fake_open(&w.forward, positions);
    run_all(&w.forward, results);
    for (int layer = 0; layer < FAKE_LAYERS; layer++) {
        w.results = &results[layer];
        check_layer(&w, layer);
        rs_arrays_deinit(&results[layer]);
    }
    fake_close(&w.forward);
}

static void short_sequences(void **unused) {
    (void)unused;
    check_world(43); /* every distance has its point; more than the sampled rows */
}

static void sequences_shorter_than_the_sample_and_the_map(void **unused) {
    (void)unused;
    check_world(21); /* all rows are sampled; some of the 32 blocks are empty */
}

static void sequences_longer_than_the_dense_axis(void **unused) {
    (void)unused;
    check_world(290); /* distances beyond 256 share points */
}

/* --- sampled rows
 * -------------------------------------------------------------------------------------------------------------------------------
 */

static void sampled_rows_are_spread_and_repeatable(void **unused) {
    (void)unused;
    enum { T = 1002 };
    int32_t *ids = calloc(T, sizeof *ids), rows[RS_SAMPLE_ROWS], again[RS_SAMPLE_ROWS], other[RS_SAMPLE_ROWS];
    double mean = 0;
    assert_non_null(ids);
    for (int trial = 0; trial < 400; trial++) {
        ids[5] = trial;
        assert_int_equal(rs_moments_rows(3, ids, T, rows), RS_SAMPLE_ROWS);
        for (int i = 0; i < RS_SAMPLE_ROWS; i++) {
            /* one in each of 32 equal stretches of positions 2..T-1 */
            assert_true(rows[i] >= 2 + 1000 * i / RS_SAMPLE_ROWS && rows[i] < 2 + 1000 * (i + 1) / RS_SAMPLE_ROWS);
            mean += rows[i] / (400.0 * RS_SAMPLE_ROWS);
        }
    }
    assert_true(fabs(mean - 501.5) < 0.5); /* 12,800 draws within stretches of 31: standard error 0.08 */
    rs_moments_rows(3, ids, T, again);
    assert_memory_equal(rows, again, sizeof rows);
    rs_moments_rows(4, ids, T, other);
    assert_memory_not_equal(rows, other, sizeof rows); /* the seed counts */
    ids[5] = -1;
    rs_moments_rows(3, ids, T, other);
    assert_memory_not_equal(rows, other, sizeof rows); /* and so do the tokens */
    assert_int_equal(rs_moments_rows(3, ids, 2, rows), 0);
    assert_int_equal(rs_moments_rows(3, ids, 3, rows), 1);
    assert_int_equal(rows[0], 2);
    free(ids);
}

int main(void) {
    rs_test_device_or_skip();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_sequences),
        cmocka_unit_test(sequences_shorter_than_the_sample_and_the_map),
        cmocka_unit_test(sequences_longer_than_the_dense_axis),
        cmocka_unit_test(sampled_rows_are_spread_and_repeatable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
