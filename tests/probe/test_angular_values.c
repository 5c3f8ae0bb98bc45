/* Every finished array of angular_spectrum against the same quantity computed from the same activations by plain double
 * loops, by its definition in docs/store.md and by another way where there is one: angles by atan2, ellipses by the
 * eigenvalues of the second moments, spectra by Fourier sums, logits by rotating every query and key to its position.
 * Position 0 is a thousand times as long as the rest: one token of it in an average shows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "analyzer/base/rng.h"
#include "probes/axis.h"
#include "probes/kinds.h"
#include "tests/support/fake_frames.h"
#include "tests/support/test_device.h"

#include <complex.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SEQUENCES = 3, BINS = 64 };
static const double PI = 3.14159265358979323846;

/* float64 throughout; transforms and sums in another order lose some 1e-15 of the largest term, and shares of variance
 * lose some digits more. */
static const double TOLERANCE = 1e-9;

typedef struct world {
    fake_forward forward;
    fake_activations acts[SEQUENCES]; /* of the layer at hand */
    const rs_layer *layer;
    int number; /* of that layer */
    int64_t T, H, K, F;
    rs_arrays *results; /* of that layer */
    size_t seen;        /* arrays compared */
} world;

static rs_status keep(void *ctx, const rs_probe_kind *kind, int layer, const rs_arrays *state, const rs_arrays *results,
                      rs_error *err) {
    (void)kind;
    (void)state;
    rs_arrays *all = ctx;
    for (size_t i = 0; i < results->count; i++) {
        const rs_array *a = &results->items[i];
        rs_array *b = NULL;
        rs_status st =
            rs_arrays_add(&all[layer], &b, err, a->name, a->stored_as, a->unit, a->long_name, a->n_dims,
                          a->dim_names[0], a->dims[0], a->dim_names[1], a->dims[1], a->dim_names[2], a->dims[2]);
        assert_int_equal(st, RS_OK);
        memcpy(b->data, a->data, (size_t)rs_array_size(a) * sizeof *a->data);
        b->count = a->count;
    }
    return RS_OK;
}

static uint64_t content_of(int sequence) { return 900 + (uint64_t)sequence; }

/* The probe, and what it needs as long as it lives. */
typedef struct running {
    rs_probe_facts facts;
    rs_probe_finisher finisher;
    rs_probes *probes;
} running;

static void begin(const fake_forward *f, int64_t sequences, rs_arrays *results, running *r) {
    static const rs_probe_kind *const kinds[] = {&rs_angular_spectrum};
    rs_error err = {0};
    r->facts = (rs_probe_facts){.graph = &f->graph, .positions = f->positions, .sequences = sequences};
    r->finisher = (rs_probe_finisher){&r->facts, keep, results};
    if (rs_probes_create(kinds, 1, &r->facts, f->backend, f->device, rs_probe_finish, &r->finisher, &r->probes, &err) !=
        RS_OK) {
        fail_msg("%s", err.message);
    }
}

static void run_all(const fake_forward *f, rs_arrays results[FAKE_LAYERS]) {
    rs_error err = {0};
    uint64_t content[SEQUENCES];
    for (int i = 0; i < SEQUENCES; i++) {
        content[i] = content_of(i);
    }
    running r;
    begin(f, SEQUENCES, results, &r);
    rs_hook hook = rs_probes_hook(r.probes);
    if (fake_drive(f, &hook, content, NULL, SEQUENCES, 9, &err) != RS_OK) {
        fail_msg("%s", err.message);
    }
    rs_probes_destroy(r.probes);
}

/* --- activations and comparing --- */

typedef double complex (*vector_at)(const world *w, int s, int64_t t, int64_t h, int64_t f);

static double complex query(const world *w, int s, int64_t t, int64_t h, int64_t f) {
    const float *x = w->acts[s].q + (t * w->H + h) * w->layer->head_dim;
    return (double)x[w->forward.lo[w->number][f]] + I * (double)x[w->forward.hi[w->number][f]];
}

static double complex key(const world *w, int s, int64_t t, int64_t h, int64_t f) {
    const float *x = w->acts[s].k + (t * w->K + h) * w->layer->head_dim;
    return (double)x[w->forward.lo[w->number][f]] + I * (double)x[w->forward.hi[w->number][f]];
}

static double *cells(int64_t n) {
    double *p = calloc((size_t)n, sizeof *p);
    assert_non_null(p);
    return p;
}

/* Largest error against the largest entry; NaN must meet NaN. expected is freed. */
static void expect(world *w, const char *letter, const char *suffix, double *expected, int64_t n) {
    char name[128];
    double most = 0.0, worst = 0.0;
    snprintf(name, sizeof name, "angular_spectrum/%s%s", letter, suffix);
    const rs_array *a = rs_arrays_find(w->results, name);
    if (!a || rs_array_size(a) != n) {
        fail_msg("%s: %lld cells, expected %lld", name, a ? (long long)rs_array_size(a) : -1, (long long)n);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        if (isnan(a->data[i]) != isnan(expected[i])) {
            fail_msg("layer %d %s[%lld] is %g, expected %g", w->number, name, (long long)i, a->data[i], expected[i]);
        }
        most = fmax(most, fabs(expected[i])); /* fmax passes NaN by */
        worst = fmax(worst, fabs(expected[i] - a->data[i]));
    }
    if (!(worst <= TOLERANCE * most)) {
        fail_msg("layer %d %s: error %g, largest entry %g", w->number, name, worst, most);
    }
    w->seen++;
    free(expected);
}

static double entropy_of(const double *p, int64_t n) {
    double whole = 0, sum = 0;
    for (int64_t i = 0; i < n; i++) {
        whole += p[i];
    }
    for (int64_t i = 0; i < n; i++) {
        sum -= p[i] > 0 ? p[i] / whole * log(p[i] / whole) : 0;
    }
    return sum / log((double)n);
}

/* --- angles --- */

static void check_angles(world *w, const char *letter, vector_at at, int64_t heads) {
    int64_t n = heads * w->F;
    double rows = (double)(SEQUENCES * (w->T - 1)), *phase = cells(n * BINS), *entropy = cells(n);
    double *length[2] = {cells(n), cells(n)}, *angle[2] = {cells(n), cells(n)}, *rho = cells(n), *ratio = cells(n);
    for (int64_t i = 0; i < n; i++) {
        double complex u[2] = {0, 0};
        double xx = 0, xy = 0, yy = 0;
        for (int64_t j = 0; j < SEQUENCES * (w->T - 1); j++) {
            double complex z = at(w, (int)(j % SEQUENCES), 1 + j / SEQUENCES, i / w->F, i % w->F);
            double a = carg(z);
            phase[i * BINS + (int64_t)floor((a < 0 ? a + 2 * PI : a) / (2 * PI) * BINS)] += 1 / rows;
            u[0] += cexp(I * a) / rows;
            u[1] += cexp(2 * I * a) / rows;
            xx += creal(z) * creal(z);
            xy += creal(z) * cimag(z);
            yy += cimag(z) * cimag(z);
        }
        entropy[i] = entropy_of(phase + i * BINS, BINS);
        for (int m = 0; m < 2; m++) {
            double r2 = cabs(u[m]) * cabs(u[m]);
            length[m][i] = sqrt(fmax(0, (rows * r2 - 1) / (rows - 1)));
            angle[m][i] = carg(u[m]);
        }
        double middle = (xx + yy) / 2, apart = hypot((xx - yy) / 2, xy); /* eigenvalues: middle +- apart */
        rho[i] = apart / middle;
        ratio[i] = sqrt((middle - apart) / (middle + apart));
    }
    expect(w, letter, "_phase", phase, n * BINS);
    expect(w, letter, "_phase_entropy", entropy, n);
    expect(w, letter, "_circular_1", length[0], n);
    expect(w, letter, "_circular_2", length[1], n);
    expect(w, letter, "_circular_angle_1", angle[0], n);
    expect(w, letter, "_circular_angle_2", angle[1], n);
    expect(w, letter, "_ellipse", rho, n);
    expect(w, letter, "_axis_ratio", ratio, n);
}

/* --- spectra --- */

static double power_at(const double *x, int64_t n, int64_t k) {
    double complex sum = 0;
    for (int64_t t = 0; t < n; t++) {
        sum += x[t] * cexp(-2 * PI * I * (double)(k * t % n) / (double)n);
    }
    return creal(sum) * creal(sum) + cimag(sum) * cimag(sum);
}

static void check_spectra(world *w, const char *letter, vector_at at, int64_t heads) {
    int64_t n = heads * w->F, rows = w->T - 1, bins = rs_spectrum_axis(w->T, NULL), frame = 2 * (bins - 1);
    double *power = cells(n * bins), *spectrum = cells(n), *sequence = cells(n), *x = cells(rows), *p = cells(rows),
           *part = cells(frame);
    for (int64_t i = 0; i < n; i++) {
        for (int s = 0; s < SEQUENCES; s++) {
            for (int64_t t = 0; t < rows; t++) {
                x[t] = cabs(at(w, s, t + 1, i / w->F, i % w->F));
            }
            for (int64_t from = 0; from + frame <= rows; from += frame / 2) {
                for (int64_t t = 0; t < frame; t++) {
                    part[t] = x[from + t] * (0.5 - 0.5 * cos(2 * PI * (double)t / (double)frame));
                }
                for (int64_t k = 0; k < bins; k++) {
                    power[i * bins + k] += power_at(part, frame, k);
                }
            }
            for (int64_t k = 1; k <= rows / 2; k++) {
                p[k - 1] = power_at(x, rows, k);
            }
            sequence[i] += entropy_of(p, rows / 2) / SEQUENCES;
        }
        double whole = 0;
        for (int64_t k = 0; k < bins; k++) {
            whole += power[i * bins + k];
        }
        for (int64_t k = 0; k < bins; k++) {
            power[i * bins + k] /= whole;
        }
        spectrum[i] = entropy_of(power + i * bins, bins);
    }
    expect(w, letter, "_norm_spectrum", power, n * bins);
    expect(w, letter, "_spectrum_entropy", spectrum, n);
    expect(w, letter, "_sequence_entropy", sequence, n);
    free(x), free(p), free(part);
}

/* --- logits by distance --- */

typedef struct curves {
    int64_t n;        /* points */
    double *seen;     /* [n] (query, key) of all sequences */
    double *pair;     /* [H, F, n] */
    double *means;    /* [H, F, n] from the means alone */
    double *half[2];  /* [H, n] sums of even and odd sequences */
    double *halves_n; /* [2, n] */
} curves;

static double complex mean_of(const world *w, vector_at at, int64_t h, int64_t f) {
    double complex sum = 0;
    for (int64_t j = 0; j < SEQUENCES * (w->T - 1); j++) {
        sum += at(w, (int)(j % SEQUENCES), 1 + j / SEQUENCES, h, f);
    }
    return sum / (double)(SEQUENCES * (w->T - 1));
}

/* Rotates both to their positions, as a forward pass does. */
static double logit(const world *w, double complex q, double complex k, int64_t f, int64_t t, int64_t n) {
    double theta = w->layer->rope.theta[f], factor = w->layer->rope.factor[f];
    double complex a = factor * q * cexp(I * theta * (double)t), b = factor * k * cexp(I * theta * (double)n);
    return w->layer->scale * (creal(a) * creal(b) + cimag(a) * cimag(b));
}

static int64_t point_of(const double *axis, int64_t n, int64_t distance) {
    int64_t i = n - 1;
    while (axis[i] > (double)distance) {
        i--;
    }
    return i;
}

static void add_head(const world *w, const double *axis, int64_t h, int64_t f, curves *c) {
    int64_t kv = h / (w->H / w->K);
    double complex mq = mean_of(w, query, h, f), mk = mean_of(w, key, kv, f);
    for (int64_t t = 1; t < w->T; t++) {
        for (int64_t n = 1; n <= t; n++) {
            int64_t i = point_of(axis, c->n, t - n), at = (h * w->F + f) * c->n + i;
            if (w->layer->window > 0 && t - n >= w->layer->window) {
                continue;
            }
            c->seen[i] += h == 0 && f == 0 ? SEQUENCES : 0;
            c->means[at] += SEQUENCES * logit(w, mq, mk, f, t, n);
            for (int s = 0; s < SEQUENCES; s++) {
                double z = logit(w, query(w, s, t, h, f), key(w, s, n, kv, f), f, t, n);
                c->pair[at] += z;
                c->half[s % 2][h * c->n + i] += z;
                c->halves_n[s % 2 * c->n + i] += h == 0 && f == 0;
            }
        }
    }
}

/* 1 - sum of squares left over / sum of squares, both around their weighted means. */
static double explained(const double *x, const double *means, const double *weight, int64_t n) {
    double whole = 0, mx = 0, mr = 0, xx = 0, rr = 0;
    for (int64_t i = 0; i < n; i++) {
        if (weight[i] > 0) {
            whole += weight[i];
            mx += weight[i] * x[i];
            mr += weight[i] * (x[i] - means[i]);
        }
    }
    for (int64_t i = 0; i < n; i++) {
        if (weight[i] > 0) {
            xx += weight[i] * pow(x[i] - mx / whole, 2);
            rr += weight[i] * pow(x[i] - means[i] - mr / whole, 2);
        }
    }
    return 1 - rr / xx;
}

static double correlation(const double *a, const double *b, const double *weight, int64_t n) {
    double m = 0, ma = 0, mb = 0, ab = 0, aa = 0, bb = 0;
    for (int64_t i = 0; i < n; i++) {
        if (weight[i] > 0) {
            m++, ma += a[i], mb += b[i];
        }
    }
    for (int64_t i = 0; i < n; i++) {
        if (weight[i] > 0) {
            ab += (a[i] - ma / m) * (b[i] - mb / m);
            aa += pow(a[i] - ma / m, 2);
            bb += pow(b[i] - mb / m, 2);
        }
    }
    return ab / sqrt(aa * bb);
}

static void check_curves(world *w) {
    double axis[RS_DISTANCE_POINTS];
    curves c = {.n = rs_distance_axis(w->T, axis)};
    int64_t all = w->H * w->F * c.n;
    c.seen = cells(c.n), c.pair = cells(all), c.means = cells(all), c.halves_n = cells(2 * c.n);
    c.half[0] = cells(w->H * c.n), c.half[1] = cells(w->H * c.n);
    double *head = cells(w->H * c.n), *head_means = cells(w->H * c.n), *pair_share = cells(w->H * w->F),
           *share = cells(w->H), *halves = cells(w->H);
    for (int64_t i = 0; i < w->H * w->F; i++) {
        add_head(w, axis, i / w->F, i % w->F, &c);
    }
    for (int64_t i = 0; i < all; i++) {
        int64_t h = i / (w->F * c.n);
        c.pair[i] /= c.seen[i % c.n]; /* 0/0 where the distance does not occur */
        c.means[i] /= c.seen[i % c.n];
        head[h * c.n + i % c.n] += c.pair[i];
        head_means[h * c.n + i % c.n] += c.means[i];
    }
    for (int64_t i = 0; i < w->H * w->F; i++) {
        pair_share[i] = explained(c.pair + i * c.n, c.means + i * c.n, c.seen, c.n);
    }
    for (int64_t h = 0; h < w->H; h++) {
        share[h] = explained(head + h * c.n, head_means + h * c.n, c.seen, c.n);
        for (int64_t i = 0; i < 2 * c.n; i++) {
            c.half[i / c.n][h * c.n + i % c.n] /= c.halves_n[i];
        }
        halves[h] = correlation(c.half[0] + h * c.n, c.half[1] + h * c.n, c.seen, c.n);
    }
    expect(w, "", "pair_logit", c.pair, all);
    expect(w, "", "mean_logit", head, w->H * c.n);
    expect(w, "", "pair_position_share", pair_share, w->H * w->F);
    expect(w, "", "position_share", share, w->H);
    expect(w, "", "mean_logit_split_half", halves, w->H);
    free(c.seen), free(c.means), free(c.halves_n), free(c.half[0]), free(c.half[1]), free(head_means);
}

static void check_turns(world *w) {
    double *trained = cells(w->F), *here = cells(w->F);
    for (int64_t f = 0; f < w->F; f++) {
        trained[f] = 5000 * w->layer->rope.theta[f] / (2 * PI);
        here[f] = (double)w->T * w->layer->rope.theta[f] / (2 * PI);
    }
    expect(w, "", "turns_trained", trained, w->F);
    expect(w, "", "turns_context", here, w->F);
}

static void check_world(int64_t positions) {
    world w = {.T = positions};
    rs_arrays results[FAKE_LAYERS] = {{0}};
    fake_open(&w.forward, positions);
    w.forward.graph.trained_context = 5000;
    run_all(&w.forward, results);
    for (int layer = 0; layer < FAKE_LAYERS; layer++) {
        w.results = &results[layer];
        w.number = layer;
        w.layer = &w.forward.layers[layer];
        w.H = w.layer->heads, w.K = w.layer->kv_heads, w.F = w.layer->rope.n_pairs;
        w.seen = 0;
        for (int s = 0; s < SEQUENCES; s++) {
            fake_make(&w.forward, layer, content_of(s), &w.acts[s]);
        }
        check_angles(&w, "q", query, w.H);
        check_angles(&w, "k", key, w.K);
        check_spectra(&w, "q", query, w.H);
        check_spectra(&w, "k", key, w.K);
        check_curves(&w);
        check_turns(&w);
        assert_int_equal(w.seen, w.results->count); /* no array goes unchecked */
        for (int s = 0; s < SEQUENCES; s++) {
            fake_free(&w.acts[s]);
        }
        rs_arrays_deinit(&results[layer]);
    }
    fake_close(&w.forward);
}

static void short_sequences(void **unused) {
    (void)unused;
    check_world(43);
}

static void sequences_with_one_frame(void **unused) {
    (void)unused;
    check_world(9);
}

static void sequences_longer_than_the_dense_axis(void **unused) {
    (void)unused;
    check_world(290); /* distances beyond 256 share points */
}

/* --- golden tests (f) and (g) of the metric catalogue --- */

/* Puts one sequence before the hook in which q and k of layer 0 are x. */
static void drive(const fake_forward *f, const float *x, rs_arrays *results) {
    const rs_layer *l = &f->layers[0];
    rs_error err = {0};
    rs_mem *m = NULL;
    int64_t T = f->positions, Dh = l->head_dim, F = l->rope.n_pairs;
    size_t n = (size_t)(T * Dh) * sizeof *x, pairs = (size_t)F * sizeof(int32_t);
    running r;
    begin(f, 1, results, &r);
    rs_hook hook = rs_probes_hook(r.probes);
    assert_int_equal(f->backend->alloc(f->device, n + 2 * pairs, &m, &err), RS_OK);
    assert_int_equal(f->backend->write(f->device, m, 0, x, n, &err), RS_OK);
    assert_int_equal(f->backend->write(f->device, m, n, l->rope.lo, pairs, &err), RS_OK);
    assert_int_equal(f->backend->write(f->device, m, n + pairs, l->rope.hi, pairs, &err), RS_OK);
    rs_view v = rs_view_3d(m, 0, RS_F32, T, 1, Dh);
    rs_frame frame = {.site = RS_SITE_K_ROPE,
                      .graph = &f->graph,
                      .layer_info = l,
                      .backend = f->backend,
                      .device = f->device,
                      .sequences = 1,
                      .positions = T,
                      .view = v,
                      .q_rope = v,
                      .k_rope = v,
                      .component_lo = rs_view_1d(m, n, RS_I32, F),
                      .component_hi = rs_view_1d(m, n + pairs, RS_I32, F)};
    if (hook.observe(hook.ctx, &frame, &err) != RS_OK || hook.layer_done(hook.ctx, 0, &err) != RS_OK) {
        fail_msg("%s", err.message);
    }
    f->backend->release(f->device, m);
    rs_probes_destroy(r.probes);
}

static double result(const rs_arrays *results, const char *name, int64_t pair) {
    char path[128];
    snprintf(path, sizeof path, "angular_spectrum/%s", name);
    const rs_array *a = rs_arrays_find(results, path);
    assert_non_null(a);
    return a->data[pair];
}

/* Pairs: uniform angles, length white noise about 10 | constant | uniform angles, length a tone | constant angle,
 * length white noise. */
static void known_signals(void **unused) {
    (void)unused;
    enum { T = 2049 };
    fake_forward f;
    rs_rng rng;
    rs_arrays results[FAKE_LAYERS] = {{0}};
    float *x = calloc((size_t)T * 8, sizeof *x);
    assert_non_null(x);
    fake_open(&f, T);
    f.layers[0].heads = f.layers[0].kv_heads = 1;
    rs_rng_init(&rng, 3);
    for (int64_t t = 0; t < T; t++) {
        double tone = 10 + 3 * cos(2 * PI * 0.0617 * (double)t);
        const double size[4] = {10 + rs_rng_normal(&rng), 7, tone, 10 + rs_rng_normal(&rng)};
        const double angle[4] = {2 * PI * rs_rng_uniform(&rng), 2.5, 2 * PI * rs_rng_uniform(&rng), -1};
        for (int pair = 0; pair < 4; pair++) {
            x[t * 8 + pair] = (float)(size[pair] * cos(angle[pair]));
            x[t * 8 + pair + 4] = (float)(size[pair] * sin(angle[pair]));
        }
    }
    drive(&f, x, results);
    const double chance = 3.5 / sqrt(T - 1.0); /* n R^2 of uniform angles is above 12 in 6 of a million cases */
    for (int pair = 0; pair < 4; pair++) {
        bool fixed = pair % 2 == 1;
        double one = result(results, "q_circular_1", pair), two = result(results, "k_circular_2", pair);
        assert_true(fixed ? fabs(one - 1) < 1e-6 && fabs(two - 1) < 1e-6 : one < chance && two < chance);
        /* 64 bins of 2,048 draws: the entropy lies (64 - 1) / (2 * 2,048 ln 64) = 0.004 below 1 */
        double entropy = result(results, "q_phase_entropy", pair);
        assert_true(fixed ? entropy == 0 : entropy > 0.99 && entropy < 1);
        double ellipse = result(results, "k_ellipse", pair), ratio = result(results, "k_axis_ratio", pair);
        assert_true(fixed ? fabs(ellipse - 1) < 1e-6 && ratio < 1e-3 : ellipse < 1.2 * chance && ratio > 0.9);
    }
    const double noise = 1 - (1 - 0.5772156649) / log(1024.0); /* powers of white noise are exponential: 0.939 */
    assert_true(fabs(result(results, "q_sequence_entropy", 0) - noise) < 0.01);
    assert_true(fabs(result(results, "k_sequence_entropy", 3) - noise) < 0.01);
    assert_true(result(results, "q_sequence_entropy", 2) < 0.3);
    rs_arrays_deinit(&results[0]);
    fake_close(&f);
    free(x);
}

int main(void) {
    rs_test_device_or_skip();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_sequences),
        cmocka_unit_test(sequences_with_one_frame),
        cmocka_unit_test(sequences_longer_than_the_dense_axis),
        cmocka_unit_test(known_signals),
    };
    fake_forward f;
    fake_open(&f, 5);
    bool there = rs_angular_spectrum.available(NULL, f.backend, NULL) == RS_OK;
    fake_close(&f);
    return there ? cmocka_run_group_tests(tests, NULL, NULL) : 77;
}
