/* probes/position_swaps.c: does attention stay with the position or go with the content when blocks of keys exchange
 * their contents? Positional and symbolic scores (arXiv 2511.11579) with the centred estimator of our metrics C1:
 *   v = means of the attention over two blocks less 1/n, v' = the same after the exchange;
 *   positional cos(v', v), symbolic cos(v', v with its two entries exchanged), averaged over the exchanges of a row
 * with weights softmax( moved mass / TAU ), moved mass = 1/2 || A - pi A ||_1. Centred, because uniform attention would
 * score 1 on both. The interaction is what neither can say: 1/2 || A_xp - A_x - A_p + A ||_1, x: contents exchanged, p:
 * positions exchanged, xp: both, so that A_xp = pi A and A_p = pi A_x; zero for attention that is only positional or
 * only symbolic. */
#include "probes/position_content.h"

#include <math.h>

enum { SWAPS = RS_SWAP_BLOCKS / 2 };
static const double TAU = 0.1;
/* A centred mean below this share of 1/n is rounding. */
static const double LEAST = 1e-9;

/* One exchange of one row. */
typedef struct exchange {
    double positional, symbolic, interaction, mass;
    bool defined;
} exchange;

/* The row before any exchange; e^{score - top} by distance. */
typedef struct swap_row {
    int64_t n, size; /* keys; keys of a block. The n - 8 size farthest keys are in no block */
    double top, sum;
    double *weight;  /* [n] */
    double *swapped; /* [2 size] new scores of the two blocks, then their weights */
} swap_row;

int64_t rs_swap_work(int64_t T) { return 2 * T; }

static double cosine(const double a[2], const double b[2]) {
    return (a[0] * b[0] + a[1] * b[1]) / (hypot(a[0], a[1]) * hypot(b[0], b[1]));
}

static double total(const double *x, int64_t n) {
    double sum = 0;
    for (int64_t j = 0; j < n; j++) {
        sum += x[j];
    }
    return sum;
}

/* Sum of the weights outside the blocks at a < b: added up, for a difference would drown it. */
static double outside(const swap_row *r, int64_t a, int64_t b) {
    return total(r->weight, a) + total(r->weight + a + r->size, b - a - r->size) +
           total(r->weight + b + r->size, r->n - b - r->size);
}

/* New scores -> weights relative to the larger one of the two tops; returns the factor on the weights that stay. */
static double new_weights(const swap_row *r, double *x) {
    double top = r->top;
    for (int64_t j = 0; j < 2 * r->size; j++) {
        top = x[j] > top ? x[j] : top;
    }
    for (int64_t j = 0; j < 2 * r->size; j++) {
        x[j] = exp(x[j] - top);
    }
    return exp(r->top - top);
}

/* 1/2 || pi A - A_x - pi A_x + A ||_1; the two blocks have the same entries. */
static double interaction(const swap_row *r, int64_t a, int64_t b, double others, double kept, double sum) {
    double in = 0, share = 1.0 / r->sum, new_share = 1.0 / sum;
    for (int64_t j = 0; j < r->size; j++) {
        in +=
            fabs((r->weight[a + j] + r->weight[b + j]) * share - (r->swapped[j] + r->swapped[r->size + j]) * new_share);
    }
    return in + others * fabs(share - kept * new_share);
}

static exchange exchange_blocks(const swap_row *r, int64_t a, int64_t b, rs_swapped_scores *swapped, const void *ctx) {
    exchange x = {0};
    int64_t size = r->size;
    double even = 1.0 / (double)r->n, mass = 0, others = outside(r, a, b);
    swapped(ctx, a, b, size, r->swapped);
    swapped(ctx, b, a, size, r->swapped + size);
    double kept = new_weights(r, r->swapped), new_a = total(r->swapped, size), new_b = total(r->swapped + size, size),
           sum = others * kept + new_a + new_b, by = 1.0 / (r->sum * (double)size), new_by = 1.0 / (sum * (double)size);
    double v[2] = {total(r->weight + a, size) * by - even, total(r->weight + b, size) * by - even},
           v_new[2] = {new_a * new_by - even, new_b * new_by - even}, turned[2] = {v[1], v[0]};
    for (int64_t j = 0; j < size; j++) {
        mass += fabs(r->weight[a + j] - r->weight[b + j]);
    }
    x.defined = hypot(v[0], v[1]) > LEAST * even && hypot(v_new[0], v_new[1]) > LEAST * even;
    if (x.defined) {
        x.positional = cosine(v_new, v);
        x.symbolic = cosine(v_new, turned);
        x.mass = mass / r->sum;
        x.interaction = interaction(r, a, b, others, kept, sum);
    }
    return x;
}

static void add_row(const exchange *x, double *out, int64_t stride) {
    double weight[SWAPS], sum = 0;
    for (int i = 0; i < SWAPS; i++) {
        weight[i] = x[i].defined ? exp(x[i].mass / TAU) : 0.0; /* mass <= 1: nothing overflows */
        sum += weight[i];
    }
    for (int i = 0; i < SWAPS && sum > 0; i++) {
        double share = weight[i] / sum;
        out[RS_SWAP_POSITIONAL * stride] += share * x[i].positional;
        out[RS_SWAP_SYMBOLIC * stride] += share * x[i].symbolic;
        out[RS_SWAP_INTERACTION * stride] += share * x[i].interaction;
        out[RS_SWAP_MASS * stride] += share * x[i].mass;
    }
    out[RS_SWAP_ROWS * stride] += sum > 0;
}

void rs_swap_row(const double *score, int64_t n, rs_swapped_scores *swapped, const void *ctx, const int *order,
                 double *work, double *out, int64_t stride) {
    swap_row r = {.n = n, .size = n / RS_SWAP_BLOCKS, .weight = work, .swapped = work + n, .top = -INFINITY};
    exchange x[SWAPS];
    if (r.size < 1) {
        return;
    }
    for (int64_t j = 0; j < n; j++) {
        r.top = score[j] > r.top ? score[j] : r.top;
    }
    for (int64_t j = 0; j < n; j++) {
        r.weight[j] = exp(score[j] - r.top);
    }
    r.sum = total(r.weight, n);
    for (int i = 0; i < SWAPS; i++) {
        int64_t a = order[2 * i] * r.size, b = order[2 * i + 1] * r.size;
        x[i] = exchange_blocks(&r, a < b ? a : b, a < b ? b : a, swapped, ctx);
    }
    add_row(x, out, stride);
}
