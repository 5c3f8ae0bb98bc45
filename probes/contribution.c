/* probes/contribution.c: what each pair adds to the choice of keys. Along the line of logits s + e c, c the pair's
 * part, the attention is an exponential family: E_P c is the first derivative of its log-normaliser, Var_P c the
 * second, so the divergence of scaling the pair by 1 + e is 1/2 e^2 Var_P c for small e. Here that prediction stands
 * beside the real divergence on the same rows. Also how far the pair alone picks the keys that the head picks
 * (contextual agreement, arXiv 2602.03152), what it adds at position 0, the sink, and how well query and key are
 * aligned in it where a diagonal or a previous-token head looks (arXiv 2410.06205, tables 3-5: the logit against its
 * Cauchy-Schwarz bound). Position 0 is a visible key like any other here. */
#include "probes/contribution.h"

#include "analyzer/base/alloc.h"
#include "probes/sampled_rows.h"
#include "probes/tally.h"

#include <math.h>
#include <string.h>

enum {
    S_PAIRS,
    S_ROWS,
    S_HEADS,
    S_SEQUENCES,
    VIEWS = S_SEQUENCES
}; /* order of declaration = index into rs_probe_state */

static bool wants(rs_site site) { return site == RS_SITE_K_ROPE; /* q is readable then, too */ }

static rs_status declare(const rs_probe_facts *facts, int layer, rs_arrays *state, rs_error *err) {
    rs_status st = RS_OK;
    rs_array *a = NULL;
    const rs_layer *l = &facts->graph->layers[layer];
    RS_TRY(rs_arrays_add(
        state, &a, err, "state/contribution/pair", RS_F64, "1",
        "sums over sampled rows: E_P c - E_U c, Var_U c, Var_P c, sloped, third moment, of "
        "un-rotating; KL of scaling, zeroing, "
        "its part beside position 0, un-rotating; agreement (K = 256, 5 %); c at position 0, centred; c at "
        "distances 0 and 1, its bounds there",
        4, "fold", (int64_t)RS_FOLDS, "head", (int64_t)l->heads, "contribution_term", (int64_t)RS_C_TERMS, "pair",
        (int64_t)l->rope.n_pairs));
    rs_tally_zero(a);
    RS_TRY(rs_arrays_add(state, &a, err, "state/contribution/rows", RS_F64, "1",
                         "sampled rows; those with more than 256 keys, and chance agreement there; with a 5 % that is "
                         "not all, and chance; with position 0 visible",
                         2, "fold", (int64_t)RS_FOLDS, "contribution_rows", (int64_t)RS_CR_TERMS));
    rs_tally_zero(a);
    RS_TRY(rs_arrays_add(state, &a, err, "state/contribution/head", RS_F64, "1",
                         "sums over sampled rows: bound of the logit at distances 0 and 1", 3, "fold",
                         (int64_t)RS_FOLDS, "head", (int64_t)l->heads, "contribution_bound", (int64_t)RS_CH_TERMS));
    rs_tally_zero(a);
    RS_TRY(rs_tally_declare_sequences(state, "contribution", "fold", RS_FOLDS, err));
out:
    return st;
}

static void end(void *ctx, const rs_backend *b, rs_device *d) {
    (void)b;
    (void)d;
    rs_sampled_rows_deinit(ctx);
    rs_free(ctx);
}

/* A thread's doubles, all by distance. */
enum { LINES = 10 };
typedef struct row {
    int64_t n;
    bool sink;
    double *parts; /* [F, n] */
    double *z, *s; /* [n] logit, score */
    double *p, *log_p, *slope;
    double *change, *ranked, *flat; /* [n] work */
    int64_t n_rest;                 /* keys other than position 0, which is the last by distance */
    double others;                  /* their share of the attention */
    double *p_rest, *log_rest;      /* [n_rest] the attention among them */
} row;

static rs_sampled_room room(const rs_probe_facts *facts) {
    const rs_graph *g = facts->graph;
    return (rs_sampled_room){.work = (g->max_pairs + LINES) * facts->positions,
                             .increments = g->max_heads * (RS_C_TERMS * g->max_pairs + RS_CH_TERMS) + RS_CR_TERMS};
}

static int64_t host_bytes(const rs_probe_facts *facts, int threads) {
    return rs_sampled_rows_bytes(facts, threads, room(facts));
}

static rs_status begin(const rs_probe_facts *facts, const rs_backend *b, rs_device *d, void **out, rs_error *err) {
    rs_status st = RS_OK;
    rs_sampled_rows *s = NULL;
    *out = NULL;
    RS_TRY(RS_NEW(&s, 1, err));
    RS_TRY(rs_sampled_rows_init(s, facts, b, d, room(facts), err));
    *out = s;
    s = NULL;
out:
    if (s) {
        end(s, b, d);
    }
    return st;
}

/* ---- contextual agreement ---- */

static void swap(double *a, double *b) {
    double t = *a;
    *a = *b;
    *b = t;
}

static double median(double a, double b, double c) { return fmax(fmin(a, b), fmin(fmax(a, b), c)); }

/* The K-th largest of a[n]; afterwards the K largest stand first. */
static double select_largest(double *a, int64_t n, int64_t K) {
    int64_t low = 0, high = n - 1, at = K - 1;
    while (low < high) {
        double pivot = median(a[low], a[low + (high - low) / 2], a[high]);
        int64_t i = low, j = high;
        while (i <= j) {
            while (a[i] > pivot) i++;
            while (a[j] < pivot) j--;
            if (i <= j) swap(&a[i++], &a[j--]);
        }
        if (at <= j) {
            high = j;
        } else if (at >= i) {
            low = i;
        } else {
            break;
        }
    }
    return a[at];
}

/* Where values tie for the last of the K places each is in with the same chance: a pair that is zero everywhere agrees
 * as chance does, not as the order of the keys would have it. */
typedef struct top {
    int64_t K;    /* 0: not asked for in this row */
    double least; /* smallest value that is in */
    double share; /* chance of a value that equals it */
} top;

static top top_of(const double *x, int64_t n, int64_t K, double least) {
    double above = 0, ties = 0;
    for (int64_t j = 0; j < n; j++) {
        above += x[j] > least;
        ties += x[j] == least;
    }
    return (top){.K = K, .least = least, .share = ((double)K - above) / ties};
}

static double member(const top *t, double x) { return x > t->least ? 1.0 : x == t->least ? t->share : 0.0; }

static double agreement(const top *whole, const double *z, const top *part, const double *c, int64_t n) {
    double both = 0;
    for (int64_t j = 0; j < n; j++) {
        both += member(whole, z[j]) * member(part, c[j]);
    }
    return both / (double)whole->K;
}

enum { TOPS = 2 };

/* K of both kinds for a row of n keys; 0 where K is not less than n. */
static void top_sizes(int64_t n, int64_t K[TOPS]) {
    int64_t part = n / RS_TOP_PART > 1 ? n / RS_TOP_PART : 1;
    K[0] = n > RS_TOP_FIXED ? RS_TOP_FIXED : 0;
    K[1] = n > part ? part : 0;
}

/* The tops of x[n]; the larger K is found first, the smaller among its values. */
static void find_tops(const double *x, int64_t n, const int64_t K[TOPS], double *ranked, top t[TOPS]) {
    int first = K[0] >= K[1] ? 0 : 1;
    int64_t among = n;
    memcpy(ranked, x, (size_t)n * sizeof *x);
    for (int step = 0; step < TOPS; step++) {
        int i = step == 0 ? first : 1 - first;
        t[i] = (top){0};
        if (K[i] > 0) {
            t[i] = top_of(x, n, K[i], select_largest(ranked, among, K[i]));
            among = K[i];
        }
    }
}

/* ---- one pair of one row ---- */

/* Central moments of x under p: second and third. */
static void moments(const double *p, const double *x, const double *slope, int64_t n, double *second, double *third) {
    double mean = 0, two = 0, three = 0;
    for (int64_t j = 0; j < n; j++) {
        mean += p[j] * (slope ? slope[j] * x[j] : x[j]);
    }
    for (int64_t j = 0; j < n; j++) {
        double d = (slope ? slope[j] * x[j] : x[j]) - mean;
        two += p[j] * d * d;
        three += p[j] * d * d * d;
    }
    *second = two;
    *third = three;
}

/* KL of replacing the logit z by z + step c. */
static double kl_of_step(const row *r, double cap, const double *c, double step) {
    for (int64_t j = 0; j < r->n; j++) {
        r->change[j] = r->z[j] + step * c[j];
    }
    rs_row_cap(cap, r->change, r->n, r->change);
    for (int64_t j = 0; j < r->n; j++) {
        r->change[j] = cap > 0.0 ? r->change[j] - r->s[j] : step * c[j];
    }
    return rs_row_kl(r->p, r->log_p, r->change, r->n);
}

static void add_divergences(const rs_sampled_rows *s, const row *r, const double *c, double *out) {
    double cap = s->layer->softcap, second, third;
    const double *slope = cap > 0.0 ? r->slope : NULL;
    moments(r->p, c, NULL, r->n, &second, &third);
    out[RS_C_VARIANCE * s->F] += second;
    if (slope) {
        moments(r->p, c, slope, r->n, &second, &third);
    }
    out[RS_C_SLOPED * s->F] += second;
    out[RS_C_THIRD * s->F] += third;
    out[RS_C_KL_SCALE * s->F] += kl_of_step(r, cap, c, RS_SCALE_STEP);
    out[RS_C_KL_ZERO * s->F] += kl_of_step(r, cap, c, -1.0);
    out[RS_C_KL_REST * s->F] += r->others * rs_row_kl(r->p_rest, r->log_rest, r->change, r->n_rest);
    for (int64_t j = 0; j < r->n; j++) {
        r->flat[j] -= c[j];
    }
    moments(r->p, r->flat, slope, r->n, &second, &third);
    out[RS_C_TURN * s->F] += second;
    out[RS_C_KL_UNROTATE * s->F] += kl_of_step(r, cap, r->flat, 1.0);
}

static void add_reading(const rs_sampled_rows *s, const row *r, const double *c, double *out) {
    double sum = 0, spread = 0;
    for (int64_t j = 0; j < r->n; j++) {
        sum += c[j];
    }
    double mean = sum / (double)r->n;
    for (int64_t j = 0; j < r->n; j++) {
        spread += (c[j] - mean) * (c[j] - mean);
    }
    out[RS_C_LIFT * s->F] += rs_row_mean(r->p, c, r->n) - mean;
    out[RS_C_SPREAD * s->F] += spread / (double)r->n;
    if (r->sink) {
        double at = c[r->n - 1];
        out[RS_C_SINK * s->F] += at;
        out[RS_C_SINK_CENTRED * s->F] += at - (sum - at) / (double)(r->n - 1);
    }
}

static void add_agreement(const rs_sampled_rows *s, const row *r, const top whole[TOPS], const double *c, double *out) {
    const int64_t K[TOPS] = {whole[0].K, whole[1].K};
    top part[TOPS];
    find_tops(c, r->n, K, r->ranked, part);
    for (int i = 0; i < TOPS; i++) {
        if (K[i] > 0) {
            out[(RS_C_TOP_FIXED + i) * s->F] += agreement(&whole[i], r->z, &part[i], c, r->n);
        }
    }
}

/* What stands at distances 0 and 1, and the most that could. `whole` [RS_CH_TERMS] gathers the squares of q and of both
 * keys over pairs: q, k at 0, k at 1. */
static void add_neighbours(const rs_sampled_rows *s, const row *r, int64_t h, int64_t i, int64_t f, const double q[2],
                           double *out, double whole[3]) {
    const double *c = r->parts + f * r->n;
    const double *k = s->k + (rs_row_key_head(s, h) * s->F + f) * 2 * s->T + (s->T - 1 - s->row[i]);
    double square = q[0] * q[0] + q[1] * q[1];
    whole[0] += s->gain[f] * square;
    for (int d = 0; d < 2 && d < r->n; d++) {
        double key = k[d] * k[d] + k[s->T + d] * k[s->T + d];
        whole[1 + d] += s->gain[f] * key;
        out[(RS_C_SELF + d) * s->F] += c[d];
        out[(RS_C_SELF_BOUND + d) * s->F] += s->gain[f] * sqrt(square * key);
    }
}

static row open_row(const rs_sampled_rows *s, int64_t h, int64_t i, double *work) {
    row r = {.parts = work};
    double *lines = work + s->F * s->T;
    r.n = rs_row_keys(s, i, &r.sink);
    double **line[LINES] = {&r.z,      &r.s,      &r.p,    &r.log_p,  &r.slope,
                            &r.change, &r.ranked, &r.flat, &r.p_rest, &r.log_rest};
    for (int l = 0; l < LINES; l++) {
        *line[l] = lines + l * s->T;
    }
    rs_row_parts(s, h, i, r.n, r.parts, r.z);
    rs_row_cap(s->layer->softcap, r.z, r.n, r.s);
    rs_row_softmax(r.s, r.n, r.p, r.log_p);
    r.n_rest = r.sink ? r.n - 1 : r.n;
    rs_row_softmax(r.s, r.n_rest, r.p_rest, r.log_rest);
    r.others = r.sink ? exp(r.log_p[0] - r.log_rest[0]) : 1.0;
    for (int64_t j = 0; j < r.n && s->layer->softcap > 0.0; j++) {
        double t = r.s[j] / s->layer->softcap;
        r.slope[j] = 1.0 - t * t;
    }
    return r;
}

static void measure(void *ctx, rs_sampled_rows *s, int64_t h, double *work) {
    (void)ctx;
    for (int64_t i = 0; i < s->n_rows; i++) {
        row r = open_row(s, h, i, work);
        top whole[TOPS];
        int64_t K[TOPS];
        top_sizes(r.n, K);
        find_tops(r.z, r.n, K, r.ranked, whole);
        double squares[3] = {0};
        for (int64_t f = 0; f < s->F; f++) {
            double q[2], *out = s->increment + h * RS_C_TERMS * s->F + f;
            const double *c = r.parts + f * r.n;
            rs_row_query(s, h, i, f, q);
            rs_row_flat(s, q, rs_row_key_head(s, h), i, f, r.n, r.flat);
            add_reading(s, &r, c, out);
            add_neighbours(s, &r, h, i, f, q, out, squares);
            add_agreement(s, &r, whole, c, out);
            add_divergences(s, &r, c, out);
        }
        double *bound = s->increment + s->H * RS_C_TERMS * s->F + RS_CR_TERMS + h * RS_CH_TERMS;
        bound[RS_CH_SELF_BOUND] += sqrt(squares[0] * squares[1]);
        bound[RS_CH_PREVIOUS_BOUND] += sqrt(squares[0] * squares[2]);
    }
}

static void count_rows(rs_sampled_rows *s) {
    double *out = s->increment + s->H * RS_C_TERMS * s->F;
    for (int64_t i = 0; i < s->n_rows; i++) {
        bool sink = false;
        int64_t n = rs_row_keys(s, i, &sink), K[TOPS];
        top_sizes(n, K);
        out[RS_CR_ROWS] += 1.0;
        out[RS_CR_FIXED] += K[0] > 0;
        out[RS_CR_FIXED_CHANCE] += (double)K[0] / (double)n;
        out[RS_CR_SHARE] += K[1] > 0;
        out[RS_CR_SHARE_CHANCE] += (double)K[1] / (double)n;
        out[RS_CR_SINK] += sink;
    }
}

static rs_status observe(void *ctx, const rs_probe_facts *facts, const rs_frame *f, const rs_probe_state *state,
                         rs_error *err) {
    rs_status st = RS_OK;
    rs_sampled_rows *s = ctx;
    RS_TRY(rs_sampled_rows_read(s, facts, f, err));
    if (s->n_rows > 0) {
        rs_sampled_heads(s, measure, NULL);
        count_rows(s);
        RS_TRY(rs_sampled_add(s, f, state, VIEWS, err));
    }
out:
    return st;
}

const rs_probe_kind rs_contribution = {
    .name = "contribution",
    .title =
        "what a pair adds to the choice of keys, and what scaling, removing or un-rotating it does to the attention",
    .source = "first and second derivative of the attention's log-normaliser along the pair's part of the logit; "
              "contextual agreement: FASA, ICLR 2026, arXiv 2602.03152; attention sinks: Xiao et al., ICLR 2024",
    .deep = "it goes through the sampled rows once for every pair",
    .folds = RS_FOLDS,
    .wants = wants,
    .declare = declare,
    .host_bytes = host_bytes,
    .begin = begin,
    .observe = observe,
    .end = end,
    .finish = rs_contribution_finish,
};
