/* Every finished array of the probes that look at single query rows, against the same quantity computed from the same
 * activations by its definition, with plain loops: softmaxes in full, divergences as sums of P log(P / P'), tops by
 * sorting, least squares by elimination, distances by enumeration. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "analyzer/base/rng.h"
#include "probes/axis.h"
#include "probes/moments.h"
#include "tests/support/fake_frames.h"
#include "tests/support/test_device.h"

#include <complex.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SEQUENCES = 3, SEED = 7, HEADS_MOST = 4 };

/* Both sides compute in float64 from the same float32 numbers; some thousand terms, exponentials of logits of up to
 * 1e5. */
static const double TOLERANCE = 1e-8;

typedef struct world {
    fake_forward forward;
    fake_activations acts[SEQUENCES]; /* of the layer at hand */
    const rs_layer *layer;
    int number;
    int64_t T, H, K, F;
    int32_t rows[SEQUENCES][RS_SAMPLE_ROWS];
    int64_t n_rows;
    rs_arrays results[FAKE_LAYERS];
    size_t seen;
} world;

static double *cells(int64_t n) {
    double *p = calloc((size_t)(n > 0 ? n : 1), sizeof *p);
    assert_non_null(p);
    return p;
}

/* --- running ------------------------------------------------------------------------------------------------------ */

static uint64_t content_of(int sequence) { return 700 + (uint64_t)sequence; }

static rs_status keep(void *ctx, const rs_probe_kind *kind, int layer, const rs_arrays *state, const rs_arrays *results,
                      rs_error *err) {
    rs_arrays *all = ctx;
    (void)kind;
    (void)state;
    for (size_t i = 0; i < results->count; i++) {
        const rs_array *a = &results->items[i];
        rs_array *b = NULL;
        assert_int_equal(rs_arrays_add(&all[layer], &b, err, a->name, a->stored_as, a->unit, a->long_name, a->n_dims,
                                       a->dim_names[0], a->dims[0], a->dim_names[1], a->dims[1]),
                         RS_OK);
        memcpy(b->data, a->data, (size_t)rs_array_size(a) * sizeof *a->data);
        b->count = a->count;
    }
    return RS_OK;
}

static void run_probe(world *w, const char *name) {
    rs_error err = {0};
    const rs_probe_kind *kind = rs_probe_find(name);
    rs_probe_facts facts = {.graph = &w->forward.graph, .positions = w->T, .sequences = SEQUENCES, .seed = SEED};
    rs_probes *p = NULL;
    uint64_t content[SEQUENCES];
    for (int s = 0; s < SEQUENCES; s++) {
        content[s] = content_of(s);
    }
    assert_non_null(kind);
    assert_true(kind->deep);
    rs_probe_finisher finisher = {&facts, keep, w->results};
    assert_int_equal(
        rs_probes_create(&kind, 1, &facts, w->forward.backend, w->forward.device, rs_probe_finish, &finisher, &p, &err),
        RS_OK);
    rs_hook hook = rs_probes_hook(p);
    if (fake_drive(&w->forward, &hook, content, NULL, SEQUENCES, 9, &err) != RS_OK) {
        fail_msg("%s", err.message);
    }
    rs_probes_destroy(p);
}

/* expected is freed. */
static void expect(world *w, const char *name, double *expected, int64_t n) {
    const rs_array *a = rs_arrays_find(&w->results[w->number], name);
    double most = 0;
    if (!a || rs_array_size(a) != n) {
        fail_msg("%s: %lld cells, expected %lld", name, a ? (long long)rs_array_size(a) : -1, (long long)n);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        most = fmax(most, fabs(expected[i]));
    }
    for (int64_t i = 0; i < n; i++) {
        if (isnan(a->data[i]) != isnan(expected[i]) || fabs(a->data[i] - expected[i]) > TOLERANCE * most) {
            fail_msg("T %lld layer %d %s[%lld] is %.12g, expected %.12g", (long long)w->T, w->number, name,
                     (long long)i, a->data[i], expected[i]);
        }
    }
    w->seen++;
    free(expected);
}

/* --- rows by their definition ------------------------------------------------------------------------------------- */

static double complex query(const world *w, int s, int64_t t, int64_t h, int64_t f) {
    const float *x = w->acts[s].q + (t * w->H + h) * w->layer->head_dim;
    return x[w->forward.lo[w->number][f]] + I * (double)x[w->forward.hi[w->number][f]];
}

static double complex key(const world *w, int s, int64_t t, int64_t h, int64_t f) {
    const float *x = w->acts[s].k + (t * w->K + h / (w->H / w->K)) * w->layer->head_dim;
    return x[w->forward.lo[w->number][f]] + I * (double)x[w->forward.hi[w->number][f]];
}

static double part_of(const world *w, int64_t f, double complex q, double complex k, int64_t distance) {
    double g = w->layer->scale * w->layer->rope.factor[f] * w->layer->rope.factor[f];
    return g * creal(q * conj(k) * cexp(I * w->layer->rope.theta[f] * (double)distance));
}

/* Visible positions first..m. */
static int64_t first_visible(const world *w, int64_t m) {
    int64_t first = w->layer->window > 0 ? m - w->layer->window + 1 : 0;
    return first > 0 ? first : 0;
}

static double score(const world *w, double z) {
    double cap = w->layer->softcap;
    return cap > 0 ? cap * tanh(z / cap) : z;
}

/* log softmax of s[first..m]. */
static void log_softmax(const double *s, int64_t first, int64_t m, double *out) {
    double top = -INFINITY, sum = 0;
    for (int64_t n = first; n <= m; n++) {
        top = fmax(top, s[n]);
    }
    for (int64_t n = first; n <= m; n++) {
        sum += exp(s[n] - top);
    }
    for (int64_t n = first; n <= m; n++) {
        out[n] = s[n] - top - log(sum);
    }
}

/* What everything below is made of; all by position. */
typedef struct row {
    int s;
    int64_t h, m, first;
    double *z;     /* [T] logits */
    double *log_p; /* [T] */
    double *c;     /* [F, T] */
} row;

static row make_row(const world *w, int s, int64_t h, int64_t i) {
    row r = {.s = s, .h = h, .m = w->rows[s][i], .z = cells(w->T), .log_p = cells(w->T), .c = cells(w->F * w->T)};
    double *scores = cells(w->T);
    r.first = first_visible(w, r.m);
    for (int64_t n = r.first; n <= r.m; n++) {
        for (int64_t f = 0; f < w->F; f++) {
            r.c[f * w->T + n] = part_of(w, f, query(w, s, r.m, h, f), key(w, s, n, h, f), r.m - n);
            r.z[n] += r.c[f * w->T + n];
        }
        scores[n] = score(w, r.z[n]);
    }
    log_softmax(scores, r.first, r.m, r.log_p);
    free(scores);
    return r;
}

static void free_row(row *r) {
    free(r->z);
    free(r->log_p);
    free(r->c);
}

/* KL of the softmax of the scores of other logits. */
static double divergence(const world *w, const row *r, const double *logits) {
    double *scores = cells(w->T), *log_q = cells(w->T), sum = 0;
    for (int64_t n = r->first; n <= r->m; n++) {
        scores[n] = score(w, logits[n]);
    }
    log_softmax(scores, r->first, r->m, log_q);
    for (int64_t n = r->first; n <= r->m; n++) {
        sum += exp(r->log_p[n]) * (r->log_p[n] - log_q[n]);
    }
    free(scores);
    free(log_q);
    return sum;
}

/* The same among the keys other than position 0, times their share of the attention. */
static double divergence_of_rest(const world *w, const row *r, const double *logits) {
    row rest = *r;
    double other = 0, sum = 0;
    if (r->first > 0) {
        return divergence(w, r, logits);
    }
    double *log_p = cells(w->T);
    for (int64_t n = 1; n <= r->m; n++) {
        other += exp(r->log_p[n]);
    }
    for (int64_t n = 1; n <= r->m; n++) {
        log_p[n] = r->log_p[n] - log(other);
    }
    rest.first = 1;
    rest.log_p = log_p;
    sum = other > 0 ? other * divergence(w, &rest, logits) : 0; /* all of it at position 0 */
    free(log_p);
    return sum;
}

/* --- contribution ------------------------------------------------------------------------------------------------- */

enum {
    LIFT,
    SPREAD,
    VARIANCE,
    SCALE_PREDICTED,
    SCALE,
    ZERO_PREDICTED,
    THIRD,
    ZERO,
    REST,
    UNROTATE_PREDICTED,
    UNROTATE,
    TOP_256,
    TOP_5,
    SINK,
    SINK_CENTRED,
    OF_PAIR
};
static const char *const PAIR_NAME[OF_PAIR] = {"lift",
                                               "spread",
                                               "variance",
                                               "kl_scale_predicted",
                                               "kl_scale",
                                               "kl_zero_predicted",
                                               "kl_zero_third",
                                               "kl_zero",
                                               "kl_zero_rest",
                                               "kl_unrotate_predicted",
                                               "kl_unrotate",
                                               "agreement_256",
                                               "agreement_5_percent",
                                               "sink_logit",
                                               "sink_logit_centred"};

static double moment(const row *r, const double *x, double about, int power) {
    double sum = 0;
    for (int64_t n = r->first; n <= r->m; n++) {
        sum += exp(r->log_p[n]) * pow(x[n] - about, power);
    }
    return sum;
}

static int descending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* Chance of each entry to be among the K largest, ties drawn by lot. */
static void membership(const double *x, int64_t n, int64_t K, double *out) {
    double *sorted = cells(n), places = 0, ties = 0;
    memcpy(sorted, x, (size_t)n * sizeof *x);
    qsort(sorted, (size_t)n, sizeof *sorted, descending);
    for (int64_t j = 0; j < n; j++) {
        places += j < K && sorted[j] == sorted[K - 1];
        ties += sorted[j] == sorted[K - 1];
    }
    for (int64_t j = 0; j < n; j++) {
        out[j] = x[j] > sorted[K - 1] ? 1.0 : x[j] == sorted[K - 1] ? places / ties : 0.0;
    }
    free(sorted);
}

static double agreement(const row *r, const double *c, int64_t K) {
    int64_t n = r->m - r->first + 1;
    double *a = cells(n), *b = cells(n), both = 0;
    membership(r->z + r->first, n, K, a);
    membership(c + r->first, n, K, b);
    for (int64_t j = 0; j < n; j++) {
        both += a[j] * b[j];
    }
    free(a);
    free(b);
    return both / (double)K;
}

static int64_t twentieth(int64_t n) { return n / 20 > 1 ? n / 20 : 1; }

/* Adds what pair f of the row says. */
static void add_pair(const world *w, const row *r, int64_t f, double *const out[OF_PAIR], int64_t at) {
    const double *c = r->c + f * w->T;
    double *x = cells(w->T), *sloped = cells(w->T), *turned = cells(w->T), *other = cells(w->T), sum = 0;
    int64_t n = r->m - r->first + 1;
    for (int64_t i = r->first; i <= r->m; i++) {
        double t = w->layer->softcap > 0 ? tanh(r->z[i] / w->layer->softcap) : 0.0;
        sum += c[i];
        sloped[i] = (1 - t * t) * c[i];
        x[i] = part_of(w, f, query(w, r->s, r->m, r->h, f), key(w, r->s, i, r->h, f), 0) - c[i];
        turned[i] = (1 - t * t) * x[i];
        other[i] = r->z[i] - 0.1 * c[i];
    }
    double mean = moment(r, c, 0, 1), var = moment(r, sloped, moment(r, sloped, 0, 1), 2);
    out[LIFT][at] += mean - sum / (double)n;
    for (int64_t i = r->first; i <= r->m; i++) {
        out[SPREAD][at] += (c[i] - sum / (double)n) * (c[i] - sum / (double)n) / (double)n;
    }
    out[VARIANCE][at] += moment(r, c, mean, 2);
    out[SCALE_PREDICTED][at] += 0.005 * var;
    out[ZERO_PREDICTED][at] += 0.5 * var;
    out[THIRD][at] += 0.5 * var - moment(r, sloped, moment(r, sloped, 0, 1), 3) / 6;
    out[UNROTATE_PREDICTED][at] += 0.5 * moment(r, turned, moment(r, turned, 0, 1), 2);
    out[SCALE][at] += divergence(w, r, other);
    for (int64_t i = r->first; i <= r->m; i++) {
        other[i] = r->z[i] - c[i];
    }
    out[ZERO][at] += divergence(w, r, other);
    out[REST][at] += divergence_of_rest(w, r, other);
    for (int64_t i = r->first; i <= r->m; i++) {
        other[i] = r->z[i] + x[i];
    }
    out[UNROTATE][at] += divergence(w, r, other);
    out[TOP_256][at] += n > 256 ? agreement(r, c, 256) : 0.0;
    out[TOP_5][at] += n > twentieth(n) ? agreement(r, c, twentieth(n)) : 0.0;
    out[SINK][at] += r->first == 0 ? c[0] : 0.0;
    out[SINK_CENTRED][at] += r->first == 0 ? c[0] - (sum - c[0]) / (double)(n - 1) : 0.0;
    free(x);
    free(sloped);
    free(turned);
    free(other);
}

static double correlation(const double *a, const double *b, int64_t n) {
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

static void expect_fit(world *w, const char *name, const double *predicted, const double *real) {
    double *fit = cells(w->H);
    for (int64_t h = 0; h < w->H; h++) {
        fit[h] = correlation(predicted + h * w->F, real + h * w->F, w->F);
    }
    expect(w, name, fit, w->H);
}

/* The rule of verdict.h once more, on the numbers of this file. */
static void expect_verdicts(world *w, double *const out[OF_PAIR]) {
    double *verdict = cells(w->H * w->F);
    const double *alike = rs_arrays_find(&w->results[w->number], "contribution/verdict_split_half")->data;
    for (int64_t c = 0; c < w->H * w->F; c++) {
        double zero = out[ZERO][c], lift = fabs(out[LIFT][c]), ratio = out[UNROTATE][c] / zero;
        bool acts = lift >= 1 || lift >= 3 * out[SPREAD][c];
        verdict[c] = zero < 0.01 && lift < 0.1   ? 4
                     : !acts                     ? 0
                     : out[REST][c] < 0.2 * zero ? 3
                     : ratio <= 0.2              ? 2
                     : ratio >= 0.5              ? 1
                                                 : 0;
    }
    /* Which draws there are is test_probe_laws.c's; each has all pairs. */
    const rs_array *draws = rs_arrays_find(&w->results[w->number], "contribution/verdict_bootstrap");
    for (int64_t b = 0; b < draws->dims[0]; b++) {
        double all = 0;
        for (int64_t x = 0; x < draws->dims[1]; x++) {
            all += draws->data[b * draws->dims[1] + x];
        }
        assert_true(all == (double)(w->H * w->F));
    }
    w->seen++;
    expect(w, "contribution/verdict", verdict, w->H * w->F);
    for (int64_t h = 0; h < w->H; h++) {
        assert_true(alike[h] >= 0 && alike[h] <= 1);
    }
    w->seen++;
}

/* Logits of a token's own key and of the one before, against |q| |k|: the norms of whole vectors, weighed by the gains.
 */
static void expect_alignment(world *w, int64_t d, const char *pair_name, const char *head_name) {
    double *pair = cells(w->H * w->F), *pair_bound = cells(w->H * w->F), *head = cells(w->H), *head_bound = cells(w->H);
    for (int s = 0; s < SEQUENCES; s++) {
        for (int64_t i = 0; i < w->n_rows; i++) {
            int64_t m = w->rows[s][i];
            for (int64_t h = 0; h < w->H && m - d >= first_visible(w, m); h++) {
                double qq = 0, kk = 0;
                for (int64_t f = 0; f < w->F; f++) {
                    double complex q = query(w, s, m, h, f), k = key(w, s, m - d, h, f);
                    double g = w->layer->scale * w->layer->rope.factor[f] * w->layer->rope.factor[f];
                    double c = part_of(w, f, q, k, d);
                    pair[h * w->F + f] += c;
                    pair_bound[h * w->F + f] += g * cabs(q) * cabs(k);
                    head[h] += c;
                    qq += g * creal(q * conj(q));
                    kk += g * creal(k * conj(k));
                }
                head_bound[h] += sqrt(qq) * sqrt(kk);
            }
        }
    }
    for (int64_t c = 0; c < w->H * w->F; c++) {
        pair[c] /= pair_bound[c];
    }
    for (int64_t h = 0; h < w->H; h++) {
        head[h] /= head_bound[h];
    }
    free(pair_bound);
    free(head_bound);
    expect(w, pair_name, pair, w->H * w->F);
    expect(w, head_name, head, w->H);
}

static void check_contribution(world *w) {
    double *out[OF_PAIR], rows = 0, with_256 = 0, with_5 = 0, with_sink = 0, chance_256 = 0, chance_5 = 0;
    for (int i = 0; i < OF_PAIR; i++) {
        out[i] = cells(w->H * w->F);
    }
    for (int s = 0; s < SEQUENCES; s++) {
        for (int64_t i = 0; i < w->n_rows; i++) {
            int64_t m = w->rows[s][i], n = m - first_visible(w, m) + 1;
            rows += 1;
            with_256 += n > 256;
            chance_256 += n > 256 ? 256 / (double)n : 0;
            with_5 += n > twentieth(n);
            chance_5 += n > twentieth(n) ? (double)twentieth(n) / (double)n : 0;
            with_sink += first_visible(w, m) == 0;
            for (int64_t h = 0; h < w->H; h++) {
                row r = make_row(w, s, h, i);
                for (int64_t f = 0; f < w->F; f++) {
                    add_pair(w, &r, f, out, h * w->F + f);
                }
                free_row(&r);
            }
        }
    }
    double *chance[2] = {cells(w->H), cells(w->H)};
    for (int i = 0; i < OF_PAIR; i++) {
        double by = i == TOP_256 ? with_256 : i == TOP_5 ? with_5 : i >= SINK ? with_sink : rows;
        for (int64_t c = 0; c < w->H * w->F; c++) {
            out[i][c] /= by; /* 0 / 0: no value */
        }
    }
    for (int64_t h = 0; h < w->H; h++) {
        chance[0][h] = chance_256 / with_256;
        chance[1][h] = chance_5 / with_5;
    }
    expect_verdicts(w, out);
    expect_alignment(w, 0, "contribution/align_diagonal", "contribution/align_diagonal_head");
    expect_alignment(w, 1, "contribution/align_previous", "contribution/align_previous_head");
    expect_fit(w, "contribution/fit_kl_scale", out[SCALE_PREDICTED], out[SCALE]);
    expect_fit(w, "contribution/fit_kl_zero", out[ZERO_PREDICTED], out[ZERO]);
    expect_fit(w, "contribution/fit_kl_unrotate", out[UNROTATE_PREDICTED], out[UNROTATE]);
    expect(w, "contribution/agreement_256_chance", chance[0], w->H);
    expect(w, "contribution/agreement_5_percent_chance", chance[1], w->H);
    for (int i = 0; i < OF_PAIR; i++) {
        char name[64];
        snprintf(name, sizeof name, "contribution/%s", PAIR_NAME[i]);
        expect(w, name, out[i], w->H * w->F);
    }
}

/* --- levels ------------------------------------------------------------------------------------------------------- */

enum { UNIFORM, MEANS, UNROTATED, SHIFT_1, SHIFT_16, PERMUTED_POSITION, PERMUTED_CONTENT, LEVELS };
static const char *const LEVEL_NAME[LEVELS] = {
    "uniform", "means", "unrotated", "shift_1", "shift_16", "permuted_position", "permuted_content"};

static double complex mean_of(const world *w, int s, int64_t h, int64_t f, bool keys) {
    double complex sum = 0;
    for (int64_t t = 1; t < w->T; t++) {
        sum += (keys ? key : query)(w, s, t, h, f);
    }
    return sum / (double)(w->T - 1);
}

static rs_rng draw(const world *w, const row *r, uint64_t what) {
    rs_rng rng;
    rs_rng_init(&rng,
                rs_moments_seed(SEED, w->acts[r->s].ids, w->T) + what * UINT64_C(0x9E3779B97F4A7C15) + (uint64_t)r->m);
    return rng;
}

/* from[n]: whose content stands at position n. The draw goes through distances, nearest first, from the far end on. */
static void permutation(const world *w, const row *r, int64_t *from) {
    rs_rng rng = draw(w, r, 1);
    int64_t last = r->first > 0 ? r->first : 1, n = r->m - last + 1;
    for (int64_t p = r->first; p <= r->m; p++) {
        from[p] = p;
    }
    for (int64_t j = n - 1; j > 0; j--) {
        int64_t a = r->m - j, b = r->m - rs_rng_below(&rng, j + 1), t = from[a];
        from[a] = from[b];
        from[b] = t;
    }
}

static void level_logits(const world *w, const row *r, int level, double *out) {
    int64_t *from = calloc((size_t)w->T, sizeof *from);
    assert_non_null(from);
    permutation(w, r, from);
    memset(out, 0, (size_t)w->T * sizeof *out);
    for (int64_t f = 0; f < w->F && level != UNIFORM; f++) {
        double complex q = level == MEANS ? mean_of(w, r->s, r->h, f, false) : query(w, r->s, r->m, r->h, f);
        double complex mean = level == MEANS ? mean_of(w, r->s, r->h, f, true) : 0;
        for (int64_t n = r->first; n <= r->m; n++) {
            int64_t D = r->m - n + (level == SHIFT_1 ? 1 : level == SHIFT_16 ? 16 : 0);
            if (level == MEANS) {
                out[n] += part_of(w, f, q, n == 0 ? key(w, r->s, 0, r->h, f) : mean, D);
            } else if (level == PERMUTED_POSITION) {
                out[n] += part_of(w, f, q, key(w, r->s, from[n], r->h, f), D);
            } else if (level == PERMUTED_CONTENT) {
                out[from[n]] += part_of(w, f, q, key(w, r->s, from[n], r->h, f), D);
            } else {
                out[n] += part_of(w, f, q, key(w, r->s, n, r->h, f), level == UNROTATED ? 0 : D);
            }
        }
    }
    free(from);
}

/* Of the positions where b is largest, the share where a is. */
static double same_top(const world *w, const row *r, const double *b) {
    double a_top = -INFINITY, b_top = -INFINITY, ties = 0, both = 0;
    for (int64_t n = r->first; n <= r->m; n++) {
        a_top = fmax(a_top, score(w, r->z[n]));
        b_top = fmax(b_top, score(w, b[n]));
    }
    for (int64_t n = r->first; n <= r->m; n++) {
        /* equal but for the order of additions */
        bool in_b = fabs(score(w, b[n]) - b_top) <= 1e-12 * fabs(b_top);
        ties += in_b;
        both += in_b && score(w, r->z[n]) == a_top;
    }
    return both / ties;
}

static void check_levels(world *w) {
    double *kl[LEVELS], *top[LEVELS], *logits = cells(w->T), rows = (double)(SEQUENCES * w->n_rows);
    for (int level = 0; level < LEVELS; level++) {
        kl[level] = cells(w->H);
        top[level] = cells(w->H);
        for (int64_t unit = 0; unit < SEQUENCES * w->n_rows * w->H; unit++) {
            int64_t h = unit % w->H;
            row r = make_row(w, (int)(unit / w->H / w->n_rows), h, unit / w->H % w->n_rows);
            level_logits(w, &r, level, logits);
            kl[level][h] += divergence(w, &r, logits) / rows;
            top[level][h] += same_top(w, &r, logits) / rows;
            free_row(&r);
        }
    }
    for (int level = 0; level < LEVELS; level++) {
        char name[64];
        snprintf(name, sizeof name, "position_content/kl_%s", LEVEL_NAME[level]);
        expect(w, name, kl[level], w->H);
        snprintf(name, sizeof name, "position_content/top_%s", LEVEL_NAME[level]);
        expect(w, name, top[level], w->H);
    }
    free(logits);
}

/* --- exchanged blocks --------------------------------------------------------------------------------------------- */

enum { POSITIONAL, SYMBOLIC, INTERACTION, MASS, ROWS, SCORES };

static double cosine(const double a[2], const double b[2]) {
    return (a[0] * b[0] + a[1] * b[1]) / sqrt((a[0] * a[0] + a[1] * a[1]) * (b[0] * b[0] + b[1] * b[1]));
}

/* Attention over distances 0..n-1 of pair f alone (f < 0: of the head) with the content of distance content[j] at j. */
static void attention_of(const world *w, const row *r, int64_t f, int64_t n, const int64_t *content, double *p) {
    double *s = cells(n);
    for (int64_t j = 0; j < n; j++) {
        for (int64_t g = 0; g < w->F; g++) {
            if (f < 0 || f == g) {
                s[j] += part_of(w, g, query(w, r->s, r->m, r->h, g), key(w, r->s, r->m - content[j], r->h, g), j);
            }
        }
        s[j] = f < 0 ? score(w, s[j]) : s[j];
    }
    log_softmax(s, 0, n - 1, p);
    for (int64_t j = 0; j < n; j++) {
        p[j] = exp(p[j]);
    }
    free(s);
}

/* One exchange of blocks a and b: x[SCORES - 1], and whether it says anything. */
static bool exchange(const world *w, const row *r, int64_t f, int64_t n, int64_t a, int64_t b, double *x) {
    int64_t size = n / 8, *content = calloc((size_t)n, sizeof *content);
    double *A = cells(n), *X = cells(n), even = 1 / (double)n, v[2] = {0}, u[2] = {0};
    assert_non_null(content);
    memset(x, 0, (SCORES - 1) * sizeof *x);
    for (int64_t j = 0; j < n; j++) {
        content[j] = j;
    }
    attention_of(w, r, f, n, content, A);
    for (int64_t j = 0; j < size; j++) {
        content[a * size + j] = b * size + j;
        content[b * size + j] = a * size + j;
    }
    attention_of(w, r, f, n, content, X);
    for (int64_t j = 0; j < size; j++) {
        v[0] += A[a * size + j] / (double)size;
        v[1] += A[b * size + j] / (double)size;
        u[0] += X[a * size + j] / (double)size;
        u[1] += X[b * size + j] / (double)size;
    }
    double before[2] = {v[0] - even, v[1] - even}, after[2] = {u[0] - even, u[1] - even},
           turned[2] = {before[1], before[0]};
    x[POSITIONAL] = cosine(after, before);
    x[SYMBOLIC] = cosine(after, turned);
    for (int64_t j = 0; j < n; j++) { /* A_xp = pi A, A_p = pi A_x */
        x[INTERACTION] += 0.5 * fabs(A[content[j]] - X[j] - X[content[j]] + A[j]);
        x[MASS] += 0.5 * fabs(A[j] - A[content[j]]);
    }
    free(content);
    free(A);
    free(X);
    return hypot(before[0], before[1]) > 1e-9 * even && hypot(after[0], after[1]) > 1e-9 * even;
}

static void add_exchanges(const world *w, const row *r, int64_t f, double *out) {
    int order[8];
    double x[4][SCORES - 1], weight[4], sum = 0;
    int64_t n = r->m - (r->first > 0 ? r->first : 1) + 1;
    rs_rng rng = draw(w, r, 2);
    if (n < 8) {
        return;
    }
    for (int b = 0; b < 8; b++) {
        int other = (int)rs_rng_below(&rng, b + 1);
        order[b] = order[other];
        order[other] = b;
    }
    for (int i = 0; i < 4; i++) {
        bool says = exchange(w, r, f, n, order[2 * i], order[2 * i + 1], x[i]);
        weight[i] = says ? exp(x[i][MASS] / 0.1) : 0;
        sum += weight[i];
    }
    for (int i = 0; i < 4; i++) {
        for (int k = 0; k < SCORES - 1; k++) {
            out[k] += weight[i] > 0 ? weight[i] / sum * x[i][k] : 0;
        }
    }
    out[ROWS] += sum > 0;
}

static void check_exchanges(world *w, bool pairs) {
    int64_t F = pairs ? w->F : 1, n = w->H * F;
    double *sums = cells(n * SCORES), *positional = cells(n), *symbolic = cells(n), *interaction = cells(n);
    for (int64_t unit = 0; unit < SEQUENCES * w->n_rows * w->H; unit++) {
        int64_t h = unit % w->H;
        row r = make_row(w, (int)(unit / w->H / w->n_rows), h, unit / w->H % w->n_rows);
        for (int64_t f = 0; f < F; f++) {
            add_exchanges(w, &r, pairs ? f : -1, sums + (h * F + f) * SCORES);
        }
        free_row(&r);
    }
    for (int64_t c = 0; c < n; c++) {
        const double *s = sums + c * SCORES;
        positional[c] = s[POSITIONAL] / s[ROWS];
        symbolic[c] = s[SYMBOLIC] / s[ROWS];
        interaction[c] = s[INTERACTION] / s[MASS];
    }
    expect(w, pairs ? "position_content/pair_positional" : "position_content/positional", positional, n);
    expect(w, pairs ? "position_content/pair_symbolic" : "position_content/symbolic", symbolic, n);
    expect(w, pairs ? "position_content/pair_interaction" : "position_content/interaction", interaction, n);
    free(sums);
}

/* --- variance ----------------------------------------------------------------------------------------------------- */

typedef struct design { /* observations of one head and sequence */
    int64_t n;
    double *z, *y; /* y: centred by row */
    int64_t *row, *group, *key;
} design;

static design make_design(const world *w, int s, int64_t h) {
    design d = {0};
    int64_t most = w->n_rows * w->T;
    double axis[RS_PROFILE_POINTS];
    int64_t points = rs_profile_axis(w->T, axis);
    assert_int_equal(points, w->T); /* every distance is a group of its own */
    d.z = cells(most);
    d.y = cells(most);
    d.row = calloc((size_t)most, sizeof *d.row);
    d.group = calloc((size_t)most, sizeof *d.group);
    d.key = calloc((size_t)most, sizeof *d.key);
    for (int64_t i = 0; i < w->n_rows; i++) {
        row r = make_row(w, s, h, i);
        int64_t from = d.n;
        double mean = 0;
        for (int64_t n = r.first > 0 ? r.first : 1; n <= r.m; n++, d.n++) {
            d.z[d.n] = r.z[n];
            d.row[d.n] = i;
            d.group[d.n] = r.m - n;
            d.key[d.n] = n;
            mean += r.z[n];
        }
        mean /= (double)(d.n - from);
        for (int64_t o = from; o < d.n; o++) {
            d.y[o] = d.z[o] - mean;
        }
        free_row(&r);
    }
    return d;
}

static void free_design(design *d) {
    free(d->z);
    free(d->y);
    free(d->row);
    free(d->group);
    free(d->key);
}

/* Residual of z = row + a(distance), + b(key): normal equations by elimination; columns that the others make up are
 * left out. *rank: of the design. */
static double residual(const world *w, const design *d, bool distances, bool keys, double *rank) {
    int64_t n = w->n_rows + 2 * w->T;
    double *M = cells(n * (n + 1)), *x = cells(n), sum = 0;
    bool *used = calloc((size_t)n, sizeof *used);
    assert_non_null(used);
    for (int64_t o = 0; o < d->n; o++) {
        int64_t at[3] = {d->row[o], w->n_rows + d->group[o], w->n_rows + w->T + d->key[o]};
        bool in[3] = {true, distances, keys};
        for (int a = 0; a < 3; a++) {
            for (int b = 0; b < 3 && in[a]; b++) {
                M[at[a] * (n + 1) + at[b]] += in[b];
            }
            M[at[a] * (n + 1) + n] += in[a] ? d->z[o] : 0;
        }
    }
    *rank = 0;
    for (int64_t c = 0; c < n; c++) {
        double pivot = M[c * (n + 1) + c];
        used[c] = pivot > 1e-5; /* rounding leaves 1e-7 of columns that the others make up */
        *rank += used[c];
        for (int64_t a = 0; a < n && used[c]; a++) {
            double by = M[a * (n + 1) + c] / pivot;
            for (int64_t b = c; b <= n && a != c && by != 0; b++) {
                M[a * (n + 1) + b] -= by * M[c * (n + 1) + b];
            }
        }
    }
    for (int64_t c = 0; c < n; c++) {
        x[c] = used[c] ? M[c * (n + 1) + n] / M[c * (n + 1) + c] : 0;
    }
    for (int64_t o = 0; o < d->n; o++) {
        double e = d->z[o] - x[d->row[o]] - x[w->n_rows + d->group[o]] - x[w->n_rows + w->T + d->key[o]];
        sum += e * e;
    }
    free(M);
    free(x);
    free(used);
    return sum;
}

/* What a model explains less chance to sum[0], the total to sum[1], where observations are left to tell. */
static void add_share(const world *w, const design *d, bool distances, bool keys, double sum[2]) {
    double rank, whole = 0, left = residual(w, d, distances, keys, &rank);
    for (int64_t o = 0; o < d->n; o++) {
        whole += d->y[o] * d->y[o];
    }
    double df = rank - (double)w->n_rows, free_df = (double)d->n - rank;
    if (free_df >= 1) {
        sum[0] += whole - left - df * left / free_df;
        sum[1] += whole;
    }
}

static void check_anova(world *w) {
    double *share[3] = {cells(w->H), cells(w->H), cells(w->H)};
    for (int64_t h = 0; h < w->H; h++) {
        double sum[3][2] = {{0}};
        for (int s = 0; s < SEQUENCES; s++) {
            design d = make_design(w, s, h);
            add_share(w, &d, true, false, sum[0]);
            add_share(w, &d, false, true, sum[1]);
            add_share(w, &d, true, true, sum[2]);
            free_design(&d);
        }
        for (int i = 0; i < 3; i++) {
            share[i][h] = sum[i][0] / sum[i][1];
        }
        share[2][h] = 1 - share[2][h];
    }
    expect(w, "position_content/anova_distance", share[0], w->H);
    expect(w, "position_content/anova_key", share[1], w->H);
    expect(w, "position_content/anova_rest", share[2], w->H);
}

static void check_position_content(world *w) {
    check_levels(w);
    check_exchanges(w, false);
    check_exchanges(w, true);
    check_anova(w);
}

/* --- stability ---------------------------------------------------------------------------------------------------- */

enum { REVERSAL, EXACT, TRIPLETS, TIES, CHANGE, FAST, PAIRS, CELLS };

/* Logit of the key n at distance D; rotary pairs alone, or the tail. */
static double moved_logit(const world *w, const row *r, int64_t n, int64_t D, bool rotary) {
    double sum = 0;
    for (int64_t f = 0; f < w->F; f++) {
        if ((w->layer->rope.theta[f] > 0) == rotary) {
            sum += part_of(w, f, query(w, r->s, r->m, r->h, f), key(w, r->s, n, r->h, f), D);
        }
    }
    return sum;
}

static double preference(const world *w, const row *r, int64_t a, int64_t b, int64_t D) {
    return moved_logit(w, r, a, D, true) - moved_logit(w, r, b, D, true) + moved_logit(w, r, a, D, false) -
           moved_logit(w, r, b, D, false);
}

static void add_triplet(const world *w, const row *r, int64_t a, int64_t b, int64_t W, double *out) {
    double now = preference(w, r, a, b, 0), mean = 0, variance = 0, reversed = 0;
    if (now == 0) {
        out[TIES] += 1;
        return;
    }
    for (int64_t D = 0; D < W; D++) {
        double S = preference(w, r, a, b, D);
        mean += S / (double)W;
        reversed += (S > 0) != (now > 0);
    }
    for (int64_t D = 0; D < W; D++) {
        double e = preference(w, r, a, b, D) - mean;
        variance += e * e / (double)W;
    }
    out[REVERSAL] += 0.5 * erfc((now > 0 ? mean : -mean) / sqrt(2 * variance));
    out[EXACT] += reversed / (double)W;
    out[TRIPLETS] += 1;
}

static void add_key(const world *w, const row *r, int64_t n, int64_t W, double *out) {
    double all = 0, fast = 0, change = 0;
    for (int64_t f = 0; f < w->F; f++) {
        double g = w->layer->scale * w->layer->rope.factor[f] * w->layer->rope.factor[f];
        double c = g * cabs(query(w, r->s, r->m, r->h, f)) * cabs(key(w, r->s, n, r->h, f));
        double theta = w->layer->rope.theta[f];
        all += theta > 0 ? c * c : 0;
        fast += theta * (double)W >= 2 ? c * c : 0;
    }
    for (int64_t D = 0; D + 1 < W; D++) {
        change += fabs(moved_logit(w, r, n, D + 1, true) - moved_logit(w, r, n, D, true));
    }
    if (all > 0 && W > 1) {
        out[CHANGE] += change / (double)(W - 1) / sqrt(all);
        out[FAST] += sqrt(fast) / sqrt(all);
        out[PAIRS] += 1;
    }
}

static void add_row_cells(const world *w, const row *r, int64_t W, double *out) {
    int64_t n = r->m - (r->first > 0 ? r->first : 1) + 1, drawn = 0, position[4];
    rs_rng rng = draw(w, r, 3);
    while (drawn < 4 && drawn < n) {
        int64_t p = r->m - rs_rng_below(&rng, n);
        bool again = false;
        for (int64_t j = 0; j < drawn; j++) {
            again |= position[j] == p;
        }
        if (!again) {
            position[drawn++] = p;
        }
    }
    for (int64_t j = 0; j < drawn; j++) {
        add_key(w, r, position[j], W, out);
        if (j % 2 == 1) {
            add_triplet(w, r, position[j - 1], position[j], W, out);
        }
    }
}

static void check_stability(world *w) {
    static const char *const NAME[7] = {
        "semantic_stability", "semantic_stability_exact", "ties",  "positional_sensitivity",
        "fast_share",         "fast_share_variance",      "window"};
    int64_t W = w->layer->window > 0 ? w->layer->window : w->forward.graph.trained_context;
    double *out[7];
    W = W > 0 && W < w->T ? W : w->T; /* 0: the model does not say */
    for (int i = 0; i < 7; i++) {
        out[i] = cells(w->H);
    }
    for (int64_t h = 0; h < w->H; h++) {
        double all[CELLS] = {0}, mean[SEQUENCES], centre = 0;
        for (int s = 0; s < SEQUENCES; s++) {
            double one[CELLS] = {0};
            for (int64_t i = 0; i < w->n_rows; i++) {
                row r = make_row(w, s, h, i);
                add_row_cells(w, &r, W, one);
                free_row(&r);
            }
            mean[s] = one[FAST] / one[PAIRS];
            centre += mean[s] / SEQUENCES;
            for (int i = 0; i < CELLS; i++) {
                all[i] += one[i];
            }
        }
        out[0][h] = 1 - all[REVERSAL] / all[TRIPLETS];
        out[1][h] = 1 - all[EXACT] / all[TRIPLETS];
        out[2][h] = all[TIES] / (all[TIES] + all[TRIPLETS]);
        out[3][h] = all[CHANGE] / all[PAIRS];
        out[4][h] = all[FAST] / all[PAIRS];
        for (int s = 0; s < SEQUENCES; s++) {
            out[5][h] += (mean[s] - centre) * (mean[s] - centre) / (SEQUENCES - 1);
        }
        out[6][h] = (double)W;
    }
    for (int i = 0; i < 7; i++) {
        char name[64];
        snprintf(name, sizeof name, "stability/%s", NAME[i]);
        expect(w, name, out[i], w->H);
    }
}

/* --- all of it ---------------------------------------------------------------------------------------------------- */

typedef struct probe {
    const char *name;
    void (*check)(world *w);
} probe;
static const probe PROBES[] = {
    {"contribution", check_contribution}, {"position_content", check_position_content}, {"stability", check_stability}};

static void check_layer(world *w, int layer, const probe *p) {
    w->number = layer;
    w->layer = &w->forward.layers[layer];
    w->H = w->layer->heads;
    w->K = w->layer->kv_heads;
    w->F = w->layer->rope.n_pairs;
    w->seen = 0;
    for (int s = 0; s < SEQUENCES; s++) {
        fake_make(&w->forward, layer, content_of(s), &w->acts[s]);
        w->n_rows = rs_moments_rows(SEED, w->acts[s].ids, w->T, w->rows[s]);
    }
    p->check(w);
    assert_int_equal(w->seen, w->results[layer].count); /* no array goes unchecked */
    for (int s = 0; s < SEQUENCES; s++) {
        fake_free(&w->acts[s]);
    }
}

typedef struct variant {
    int64_t positions, trained;
    double sink, softcap;
    bool concentrated;
} variant;

static void check_world(variant v) {
    for (size_t p = 0; p < sizeof PROBES / sizeof PROBES[0]; p++) {
        world w = {.T = v.positions};
        fake_open(&w.forward, v.positions);
        w.forward.sink = v.sink;
        w.forward.concentrated = v.concentrated;
        w.forward.graph.trained_context = v.trained;
        for (int l = 0; l < FAKE_LAYERS; l++) {
            w.forward.layers[l].softcap = v.softcap;
        }
        run_probe(&w, PROBES[p].name);
        for (int l = 0; l < FAKE_LAYERS; l++) {
            check_layer(&w, l, &PROBES[p]);
            rs_arrays_deinit(&w.results[l]);
        }
        fake_close(&w.forward);
    }
}

static void ordinary_rows(void **unused) {
    (void)unused;
    check_world((variant){.positions = 61, .trained = 50, .sink = 1});
}

static void a_long_key_at_position_0(void **unused) {
    (void)unused; /* logits of 1e3: attention is all there or not at all there, divergences of hundreds of nats */
    check_world((variant){.positions = 43, .trained = 43, .sink = 1000, .concentrated = true});
}

static void capped_scores(void **unused) {
    (void)unused;
    check_world((variant){.positions = 61, .trained = 4096, .sink = 3, .softcap = 1.5, .concentrated = true});
}

static void rows_of_more_than_256_keys(void **unused) {
    (void)unused;
    check_world((variant){.positions = 290, .trained = 0, .sink = 2});
}

int main(void) {
    rs_test_device_or_skip();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ordinary_rows),
        cmocka_unit_test(a_long_key_at_position_0),
        cmocka_unit_test(capped_scores),
        cmocka_unit_test(rows_of_more_than_256_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
