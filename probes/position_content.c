/* probes/position_content.c: does a head choose keys by where they stand or by what they hold? Three kinds of evidence
 * on the same sampled rows, from the weakest to the strongest assumption: blocks of keys exchange their contents
 * (position_swaps.c); the logits' variance is split between distance and key (position_anova.c); and attentions that
 * know only one of the two are compared with the real one (levels, metrics C4). The four-term split of the logit is the
 * moments probe's. */
#include "probes/position_content.h"

#include "analyzer/base/alloc.h"
#include "analyzer/base/rng.h"
#include "probes/axis.h"
#include "probes/tally.h"

#include <math.h>
#include <string.h>

enum { S_LEVELS, S_HEAD_SWAPS, S_PAIR_SWAPS, S_ANOVA, S_ROWS, S_SEQUENCES, VIEWS = S_SEQUENCES };

static bool wants(rs_site site) { return site == RS_SITE_K_ROPE; /* q is readable then, too */ }

static rs_status declare_heads(const char *name, const char *text, const char *terms, int64_t n, const char *last,
                               int64_t m, int64_t H, rs_arrays *state, rs_error *err) {
    rs_status st = RS_OK;
    rs_array *a = NULL;
    RS_TRY(rs_arrays_add(state, &a, err, name, RS_F64, "1", text, last ? 4 : 3, "fold", (int64_t)RS_FOLDS, "head", H,
                         terms, n, last, m));
    rs_tally_zero(a);
out:
    return st;
}

static rs_status declare(const rs_probe_facts *facts, int layer, rs_arrays *state, rs_error *err) {
    rs_status st = RS_OK;
    rs_array *a = NULL;
    const rs_layer *l = &facts->graph->layers[layer];
    RS_TRY(declare_heads("state/position_content/level",
                         "sums over sampled rows of KL and top-1 agreement: uniform, means, un-rotated, shifted by 1, "
                         "by 16, keys permuted by position, by key",
                         "level", RS_LEVELS, "level_term", RS_LEVEL_TERMS, l->heads, state, err));
    RS_TRY(declare_heads("state/position_content/swap",
                         "sums over sampled rows: positional score, symbolic score, interaction, moved mass, rows",
                         "swap_term", RS_SWAP_TERMS, NULL, 0, l->heads, state, err));
    RS_TRY(declare_heads("state/position_content/pair_swap", "the same with the pair's part as the whole logit",
                         "swap_term", RS_SWAP_TERMS, "pair", l->rope.n_pairs, l->heads, state, err));
    RS_TRY(declare_heads(
        "state/position_content/anova",
        "sums of squares of the sampled logits: distance, key, both, less what chance explains; their totals",
        "anova_term", RS_ANOVA_TERMS, NULL, 0, l->heads, state, err));
    RS_TRY(rs_arrays_add(state, &a, err, "state/position_content/rows", RS_F64, "1", "sampled rows", 1, "fold",
                         (int64_t)RS_FOLDS));
    rs_tally_zero(a);
    RS_TRY(rs_tally_declare_sequences(state, "position_content", "fold", RS_FOLDS, err));
out:
    return st;
}

static void end(void *ctx, const rs_backend *b, rs_device *d) {
    (void)b;
    (void)d;
    rs_sampled_rows_deinit(ctx);
    rs_free(ctx);
}

/* A thread's doubles: parts [F, T], logits of all rows [RS_SAMPLE_ROWS, T], lines [T], work of the two others. */
enum { LINES = 8 };

static rs_sampled_room room(const rs_probe_facts *facts) {
    const rs_graph *g = facts->graph;
    int64_t T = facts->positions, swaps = rs_swap_work(T), anova = rs_anova_work(T);
    int64_t per_head = RS_LEVELS * RS_LEVEL_TERMS + RS_SWAP_TERMS * (1 + g->max_pairs) + RS_ANOVA_TERMS;
    return (rs_sampled_room){.work = (g->max_pairs + RS_SAMPLE_ROWS + LINES) * T + (swaps > anova ? swaps : anova),
                             .increments = g->max_heads * per_head + 1};
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

/* Where a head's sums stand in the increment. */
typedef struct places {
    double *level;            /* [RS_LEVELS, RS_LEVEL_TERMS] */
    double *swap, *pair_swap; /* [RS_SWAP_TERMS], [RS_SWAP_TERMS, F] */
    double *anova;            /* [RS_ANOVA_TERMS] */
    double *rows;             /* of all heads */
} places;

static places places_of(const rs_sampled_rows *s, int64_t h) {
    double *at = s->increment;
    places p = {.level = at + h * RS_LEVELS * RS_LEVEL_TERMS};
    at += s->H * RS_LEVELS * RS_LEVEL_TERMS;
    p.swap = at + h * RS_SWAP_TERMS;
    at += s->H * RS_SWAP_TERMS;
    p.pair_swap = at + h * RS_SWAP_TERMS * s->F;
    at += s->H * RS_SWAP_TERMS * s->F;
    p.anova = at + h * RS_ANOVA_TERMS;
    p.rows = at + s->H * RS_ANOVA_TERMS;
    return p;
}

typedef struct row {
    const rs_sampled_rows *rows;
    int64_t h, i, kv, n, behind; /* keys; keys behind position 0 */
    bool sink;
    double *parts;                          /* [F, n] */
    double *z, *s, *p, *log_p;              /* [n] logit, score, attention */
    double *line, *changed, *other, *moved; /* [n] work */
    double *spare;                          /* work of swaps and variance */
} row;

static row open_row(const rs_sampled_rows *s, int64_t h, int64_t i, double *work) {
    row r = {.rows = s, .h = h, .i = i, .kv = rs_row_key_head(s, h), .parts = work};
    double *lines = work + (s->F + RS_SAMPLE_ROWS) * s->T;
    r.n = rs_row_keys(s, i, &r.sink);
    r.behind = r.n - r.sink;
    r.z = work + (s->F + i) * s->T;
    double **line[LINES] = {&r.s, &r.p, &r.log_p, &r.line, &r.changed, &r.other, &r.moved, &r.spare};
    for (int l = 0; l < LINES; l++) {
        *line[l] = lines + l * s->T;
    }
    rs_row_parts(s, h, i, r.n, r.parts, r.z);
    rs_row_cap(s->layer->softcap, r.z, r.n, r.s);
    rs_row_softmax(r.s, r.n, r.p, r.log_p);
    return r;
}

/* ---- levels ---- */

/* Of the keys that the changed attention ranks first, the share that the real one ranks first, too: 1 where nothing
 * changes, 1/n for a uniform attention. */
static double same_top(const double *p, const double *other, int64_t n) {
    double top = -INFINITY, other_top = -INFINITY, ties = 0, both = 0;
    for (int64_t j = 0; j < n; j++) {
        top = fmax(top, p[j]);
        other_top = fmax(other_top, other[j]);
    }
    for (int64_t j = 0; j < n; j++) {
        ties += other[j] == other_top;
        both += other[j] == other_top && p[j] == top;
    }
    return both / ties;
}

/* other: scores of the changed attention. */
static void add_level(const row *r, int level, const double *other, double *out) {
    for (int64_t j = 0; j < r->n; j++) {
        r->line[j] = other[j] - r->s[j];
    }
    out[level * RS_LEVEL_TERMS + RS_LEVEL_KL] += rs_row_kl(r->p, r->log_p, r->line, r->n);
    out[level * RS_LEVEL_TERMS + RS_LEVEL_TOP] += same_top(r->s, other, r->n);
}

/* r->changed = scores of sum_f x, x computed by `part` for each pair into r->line. */
static void score_of(const row *r, void (*part)(const row *r, int64_t f, int64_t argument), int64_t argument) {
    memset(r->changed, 0, (size_t)r->n * sizeof *r->changed);
    for (int64_t f = 0; f < r->rows->F; f++) {
        part(r, f, argument);
        for (int64_t j = 0; j < r->n; j++) {
            r->changed[j] += r->line[j];
        }
    }
    rs_row_cap(r->rows->layer->softcap, r->changed, r->n, r->changed);
}

static void flat_part(const row *r, int64_t f, int64_t unused) {
    double q[2];
    (void)unused;
    rs_row_query(r->rows, r->h, r->i, f, q);
    rs_row_flat(r->rows, q, r->kv, r->i, f, r->n, r->line);
}

static void shifted_part(const row *r, int64_t f, int64_t shift) {
    double q[2];
    rs_row_query(r->rows, r->h, r->i, f, q);
    rs_row_part(r->rows, q, r->kv, r->i, f, 0, shift, r->n, r->line);
}

static void mean_part(const row *r, int64_t f, int64_t unused) {
    const rs_sampled_rows *s = r->rows;
    const double *k = s->k_mean + r->kv * 2 * s->F, *c = s->cos + f * (s->T + RS_ROWS_SHIFT),
                 *d = s->sin + f * (s->T + RS_ROWS_SHIFT);
    double q[2] = {s->q_mean[r->h * 2 * s->F + f], s->q_mean[(r->h * 2 + 1) * s->F + f]};
    double re = q[0] * k[f] + q[1] * k[s->F + f], im = q[1] * k[f] - q[0] * k[s->F + f];
    (void)unused;
    for (int64_t j = 0; j < r->behind; j++) {
        r->line[j] = s->gain[f] * (re * c[j] - im * d[j]);
    }
    if (r->sink) {
        rs_row_part(s, q, r->kv, r->i, f, r->n - 1, r->n - 1, 1, r->line + r->n - 1);
    }
}

/* ---- permuted keys ---- */

enum { DRAW_PERMUTATION = 1, DRAW_BLOCKS = 2 };

/* The same draw for all heads and layers. */
static rs_rng draw(const rs_sampled_rows *s, int64_t i, int what) {
    rs_rng r;
    rs_rng_init(&r, s->seed + (uint64_t)what * UINT64_C(0x9E3779B97F4A7C15) + (uint64_t)s->row[i]);
    return r;
}

/* r->moved[j] = distance of the key whose content stands at distance j now. */
static void permute(const row *r) {
    rs_rng rng = draw(r->rows, r->i, DRAW_PERMUTATION);
    for (int64_t j = 0; j < r->n; j++) {
        r->moved[j] = (double)j;
    }
    for (int64_t j = r->behind - 1; j > 0; j--) {
        int64_t other = rs_rng_below(&rng, j + 1);
        double t = r->moved[j];
        r->moved[j] = r->moved[other];
        r->moved[other] = t;
    }
}

static void permuted_part(const row *r, int64_t f, int64_t unused) {
    const rs_sampled_rows *s = r->rows;
    const double *re = s->k + (r->kv * s->F + f) * 2 * s->T + s->T - 1 - s->row[r->i], *im = re + s->T;
    const double *c = s->cos + f * (s->T + RS_ROWS_SHIFT), *d = s->sin + f * (s->T + RS_ROWS_SHIFT);
    double q[2];
    (void)unused;
    rs_row_query(s, r->h, r->i, f, q);
    for (int64_t j = 0; j < r->n; j++) {
        int64_t from = (int64_t)r->moved[j];
        r->line[j] =
            s->gain[f] * ((q[0] * re[from] + q[1] * im[from]) * c[j] - (q[1] * re[from] - q[0] * im[from]) * d[j]);
    }
}

static void add_levels(const row *r, double *out) {
    memset(r->other, 0, (size_t)r->n * sizeof *r->other);
    add_level(r, RS_LEVEL_UNIFORM, r->other, out);
    score_of(r, mean_part, 0);
    add_level(r, RS_LEVEL_MEANS, r->changed, out);
    score_of(r, flat_part, 0);
    add_level(r, RS_LEVEL_FLAT, r->changed, out);
    score_of(r, shifted_part, 1);
    add_level(r, RS_LEVEL_SHIFT_1, r->changed, out);
    score_of(r, shifted_part, RS_ROWS_SHIFT);
    add_level(r, RS_LEVEL_SHIFT_16, r->changed, out);
    permute(r);
    score_of(r, permuted_part, 0);
    add_level(r, RS_LEVEL_MOVED, r->changed, out);
    for (int64_t j = 0; j < r->n; j++) {
        r->other[(int64_t)r->moved[j]] = r->changed[j];
    }
    add_level(r, RS_LEVEL_FOLLOWED, r->other, out);
}

/* ---- exchanged blocks ---- */

typedef struct pair_of_row {
    const row *r;
    int64_t f;
} pair_of_row;

static void swapped_pair(const void *ctx, int64_t first, int64_t other, int64_t size, double *out) {
    const pair_of_row *p = ctx;
    double q[2];
    rs_row_query(p->r->rows, p->r->h, p->r->i, p->f, q);
    rs_row_part(p->r->rows, q, p->r->kv, p->r->i, p->f, other, first, size, out);
}

static void swapped_head(const void *ctx, int64_t first, int64_t other, int64_t size, double *out) {
    const row *r = ctx;
    memset(out, 0, (size_t)size * sizeof *out);
    for (int64_t f = 0; f < r->rows->F; f++) {
        swapped_pair(&(pair_of_row){r, f}, first, other, size, r->line);
        for (int64_t j = 0; j < size; j++) {
            out[j] += r->line[j];
        }
    }
    rs_row_cap(r->rows->layer->softcap, out, size, out);
}

static void add_swaps(const row *r, const places *at) {
    int order[RS_SWAP_BLOCKS] = {0};
    int64_t F = r->rows->F;
    rs_rng rng = draw(r->rows, r->i, DRAW_BLOCKS);
    for (int b = 0; b < RS_SWAP_BLOCKS; b++) {
        int other = (int)rs_rng_below(&rng, b + 1);
        order[b] = order[other];
        order[other] = b;
    }
    rs_swap_row(r->s, r->behind, swapped_head, r, order, r->spare, at->swap, 1);
    for (int64_t f = 0; f < F; f++) {
        rs_swap_row(r->parts + f * r->n, r->behind, swapped_pair, &(pair_of_row){r, f}, order, r->spare,
                    at->pair_swap + f, F);
    }
}

static void measure(void *ctx, rs_sampled_rows *s, int64_t h, double *work) {
    places at = places_of(s, h);
    const double *z[RS_SAMPLE_ROWS];
    int64_t keys[RS_SAMPLE_ROWS];
    double *spare = NULL;
    (void)ctx;
    for (int64_t i = 0; i < s->n_rows; i++) {
        row r = open_row(s, h, i, work);
        add_levels(&r, at.level);
        add_swaps(&r, &at);
        z[i] = r.z;
        keys[i] = r.behind;
        spare = r.spare;
    }
    rs_anova_rows(z, keys, s->row, s->n_rows, s->T, spare, at.anova);
}

static rs_status observe(void *ctx, const rs_probe_facts *facts, const rs_frame *f, const rs_probe_state *state,
                         rs_error *err) {
    rs_status st = RS_OK;
    rs_sampled_rows *s = ctx;
    RS_TRY(rs_sampled_rows_read(s, facts, f, err));
    if (s->n_rows > 0) {
        rs_sampled_heads(s, measure, NULL);
        *places_of(s, 0).rows += (double)s->n_rows;
        RS_TRY(rs_sampled_add(s, f, state, VIEWS, err));
    }
out:
    return st;
}

const rs_probe_kind rs_position_content = {
    .name = "position_content",
    .title = "whether heads and pairs choose keys by position or by content",
    .source = "positional and symbolic scores: arXiv 2511.11579 (ICLR 2026), centred; two-way analysis of variance; "
              "attention from means, without rotation, shifted, with permuted keys",
    .deep = "it makes the attention of the sampled rows anew, seven times for every head",
    .folds = RS_FOLDS,
    .wants = wants,
    .declare = declare,
    .host_bytes = host_bytes,
    .begin = begin,
    .observe = observe,
    .end = end,
    .finish = rs_position_content_finish,
};
