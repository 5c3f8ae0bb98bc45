#include "tests/support/fake_values.h"

#include "analyzer/base/rng.h"

#include <math.h>
#include <string.h>

typedef rs_fake_shape shape;

enum { DENSE = 257, POINTS = 512, CLASSES = 7, MAP = 32 };

/* ---- noise that depends on the place alone ---- */

static double noise(const shape *f, uint64_t what, int64_t i, int64_t j, int64_t k) {
    rs_rng r;
    rs_rng_init(&r, f->seed * 1000003 + what * 7919 + (uint64_t)i * 104729 + (uint64_t)j * 15485863 +
                        (uint64_t)k * 32452843);
    return rs_rng_normal(&r);
}

static double uniform(const shape *f, uint64_t what, int64_t i, int64_t j) {
    rs_rng r;
    rs_rng_init(&r, f->seed * 7000003 + what * 7907 + (uint64_t)i * 15487469 + (uint64_t)j * 104743);
    return rs_rng_uniform(&r);
}

static double clamp(double x, double least, double most) { return x < least ? least : x > most ? most : x; }

/* ---- what a head is ---- */

typedef enum kind { PREVIOUS, SINK, DIAGONAL, INDUCTION, LOCAL, DIFFUSE, KINDS } kind;

typedef struct habits {
    double sink, self, previous, near, middle, far; /* attention; the rest lies beyond 1,024 tokens */
    double induction, duplicate, fast, slow;        /* fast, slow: extra norm at both ends of the frequencies */
} habits;

static const habits habit[KINDS] = {
    [PREVIOUS] = {.02, .05, .80, .10, .02, .01, .05, .01, 3.0, 0.2},
    [SINK] = {.82, .02, .02, .06, .05, .02, .02, .02, 0.1, 2.5},
    [DIAGONAL] = {.05, .70, .08, .10, .04, .02, .02, .03, 2.0, 0.3},
    [INDUCTION] = {.25, .03, .03, .09, .20, .30, .45, .06, 0.4, 1.8},
    [LOCAL] = {.12, .12, .15, .45, .12, .03, .06, .04, 1.5, 0.6},
    [DIFFUSE] = {.15, .01, .02, .10, .22, .35, .03, .03, 0.2, 1.6},
};

static kind kind_of(const shape *f, int64_t l, int64_t h) {
    double u = uniform(f, 1, l, h), depth = (double)l / (double)f->layers;
    if (f->rotated == 0)
        return u < 0.5 ? DIFFUSE : u < 0.8 ? SINK : INDUCTION; /* position is out of reach without rotation */
    if (u < 0.12) return PREVIOUS;
    if (u < 0.18) return DIAGONAL;
    if (u < 0.45) return l > 0 ? SINK : LOCAL;
    if (u < 0.55) return depth > 0.3 ? INDUCTION : LOCAL;
    return u < 0.8 ? LOCAL : DIFFUSE;
}

static int64_t key_head(const shape *f, int64_t h) { return h * f->kv_heads / f->heads; }
static int64_t first_query_head(const shape *f, int64_t g) { return g * f->heads / f->kv_heads; }
static int64_t group_size(const shape *f) { return f->heads / f->kv_heads; }

static double theta(const shape *f, int64_t p) {
    return p < f->rotated ? pow(f->base, -(double)p / (double)f->rotated) : 0.0;
}

/* ---- /rope and /loss ---- */

static double rope_theta(const shape *f, const int64_t *at) { return theta(f, at[1]); }
static double rope_rotated(const shape *f, const int64_t *at) { return at[1] < f->rotated; }
/* Rotated components come first, pairs (j, j + rotated); the others pair among themselves. */
static double rope_lo(const shape *f, const int64_t *at) {
    return (double)(at[1] < f->rotated ? at[1] : at[1] + f->rotated);
}
static double rope_hi(const shape *f, const int64_t *at) {
    return (double)(at[1] < f->rotated ? at[1] + f->rotated : at[1] + f->pairs);
}
static double rope_factor(const shape *f, const int64_t *at) { return (void)f, (void)at, 1.0; }
static double rope_region(const shape *f, const int64_t *at) { return at[1] < f->rotated ? 0.0 : 3.0; }

static double token_nll(const shape *f, const int64_t *at) {
    if (at[1] == 0) return (double)NAN;
    double level = 2.9 + 2.2 / sqrt((double)at[1]);
    return level * -log(1.0 - 0.999 * uniform(f, 2, at[0], at[1])) * 0.9 + 0.02;
}

static double token_top1(const shape *f, const int64_t *at) { return at[1] == 0 ? NAN : token_nll(f, at) < 0.7; }

/* ---- /frequency_norm ---- */

static double profile(const shape *f, kind k, int64_t p) {
    double x = f->pairs > 1 ? (double)p / (double)(f->pairs - 1) : 0.0; /* 0 fast .. 1 slow */
    if (f->rotated == 0) return 1.0;
    if (p >= f->rotated) return 1.0 + 0.8 * habit[k].slow;
    return 0.6 + habit[k].fast * exp(-8.0 * x) + habit[k].slow * exp(-pow((x - 0.85) / 0.12, 2.0));
}

static double q_mean(const shape *f, const int64_t *at) {
    return 1.3 * profile(f, kind_of(f, at[0], at[1]), at[2]) * exp(0.25 * noise(f, 10, at[0], at[1], at[2]));
}
static double k_mean(const shape *f, const int64_t *at) {
    kind k = kind_of(f, at[0], first_query_head(f, at[1]));
    return 1.6 * profile(f, k, at[2]) * exp(0.3 * noise(f, 11, at[0], at[1], at[2]));
}
static double v_mean(const shape *f, const int64_t *at) { return 0.4 * exp(0.1 * noise(f, 12, at[0], at[1], at[2])); }
static double q_rms(const shape *f, const int64_t *at) { return 1.12 * q_mean(f, at); }
static double k_rms(const shape *f, const int64_t *at) { return 1.08 * k_mean(f, at); }
static double v_rms(const shape *f, const int64_t *at) { return 1.2 * v_mean(f, at); }
static double q_sink(const shape *f, const int64_t *at) { return 0.7 * q_mean(f, at); }
static double k_sink(const shape *f, const int64_t *at) {
    return k_mean(f, at) * (at[2] > f->pairs * 3 / 4 ? 3.5 : 0.5);
}

typedef double value_fn(const shape *f, const int64_t *at);

/* Sum over pairs of mean^power, kept for the heads of the last layer: every cell of a row asks for it. */
static double sum_over_pairs(const shape *f, int64_t l, int64_t h, value_fn *mean, double power) {
    enum { KEPT = 256 };
    static struct {
        const shape *f;
        value_fn *mean;
        int64_t l, h;
        double power, sum;
    } kept[KEPT];
    size_t slot = ((size_t)h * 7 + (size_t)power * 3 + (uintptr_t)mean / 16) % KEPT;
    bool known = kept[slot].f == f && kept[slot].mean == mean && kept[slot].l == l && kept[slot].h == h &&
                 (int)kept[slot].power == (int)power;
    if (known) return kept[slot].sum;
    double sum = 0;
    for (int64_t p = 0; p < f->pairs; p++) sum += pow(mean(f, (int64_t[]){l, h, p}), power);
    kept[slot].f = f;
    kept[slot].mean = mean;
    kept[slot].l = l;
    kept[slot].h = h;
    kept[slot].power = power;
    kept[slot].sum = sum;
    return sum;
}

static double share(const shape *f, const int64_t *at, value_fn *mean) {
    return mean(f, at) / sum_over_pairs(f, at[0], at[1], mean, 1.0);
}
static double q_share(const shape *f, const int64_t *at) { return share(f, at, q_mean); }
static double k_share(const shape *f, const int64_t *at) { return share(f, at, k_mean); }
static double v_share(const shape *f, const int64_t *at) { return share(f, at, v_mean); }
/* In place of the mean over heads that of the first one, which is cheaper and as good. */
static double draw(const shape *f, const int64_t *at, value_fn *mean) {
    return share(f, (int64_t[]){at[0], 0, at[2]}, mean) * (1.0 + 0.01 * noise(f, 45, at[0], at[1], at[2]));
}
static double q_draw(const shape *f, const int64_t *at) { return draw(f, at, q_mean); }
static double k_draw(const shape *f, const int64_t *at) { return draw(f, at, k_mean); }
static double v_draw(const shape *f, const int64_t *at) { return draw(f, at, v_mean); }
static double two_norm(const shape *f, const int64_t *at) {
    return q_mean(f, at) * k_mean(f, (int64_t[]){at[0], key_head(f, at[1]), at[2]});
}
static double top_share(const shape *f, const int64_t *at, value_fn *mean) {
    return pow(mean(f, at), 4.0) / sum_over_pairs(f, at[0], at[1], mean, 4.0);
}
static double q_top(const shape *f, const int64_t *at) { return top_share(f, at, q_mean); }
static double k_top(const shape *f, const int64_t *at) { return top_share(f, at, k_mean); }
static double top_pair(const shape *f, const int64_t *at, value_fn *mean) {
    int64_t best = 0;
    for (int64_t p = 1; p < f->pairs; p++) {
        if (mean(f, (int64_t[]){at[0], at[1], p}) > mean(f, (int64_t[]){at[0], at[1], best})) best = p;
    }
    return (double)best;
}
static double q_top_pair(const shape *f, const int64_t *at) { return top_pair(f, at, q_mean); }
static double k_top_pair(const shape *f, const int64_t *at) { return top_pair(f, at, k_mean); }
static double bucket(const shape *f, const int64_t *at, value_fn *mean) {
    return mean(f, (int64_t[]){at[0], at[2], at[3]}) *
           (1.0 + 0.02 * (double)at[1] + 0.01 * noise(f, 13, at[0], at[1], at[3]));
}
static double q_bucket(const shape *f, const int64_t *at) { return bucket(f, at, q_mean); }
static double k_bucket(const shape *f, const int64_t *at) { return bucket(f, at, k_mean); }
static double split_half(const shape *f, const int64_t *at) { return 1.0 - 0.02 * uniform(f, 14, at[0], at[1]); }

/* ---- /moments ---- */

static double concentration(const shape *f, int64_t l, int64_t h, int64_t p, uint64_t what) {
    double slow = f->pairs > 1 ? (double)p / (double)(f->pairs - 1) : 0.0;
    return clamp(0.08 + 0.75 * slow * slow + 0.08 * noise(f, what, l, h, p), 0.01, 0.99);
}
static double q_conc(const shape *f, const int64_t *at) { return concentration(f, at[0], at[1], at[2], 20); }
static double k_conc(const shape *f, const int64_t *at) { return concentration(f, at[0], at[1], at[2], 21); }
static double q_conc_unit(const shape *f, const int64_t *at) { return 0.97 * q_conc(f, at); }
static double k_conc_unit(const shape *f, const int64_t *at) { return 0.97 * k_conc(f, at); }
static double phase(const shape *f, const int64_t *at, uint64_t what) {
    return 6.283185307179586 * uniform(f, what, at[0] * 1000 + at[1], at[2]);
}
static double q_re(const shape *f, const int64_t *at) { return q_mean(f, at) * q_conc(f, at) * cos(phase(f, at, 22)); }
static double q_im(const shape *f, const int64_t *at) { return q_mean(f, at) * q_conc(f, at) * sin(phase(f, at, 22)); }
static double k_re(const shape *f, const int64_t *at) { return k_mean(f, at) * k_conc(f, at) * cos(phase(f, at, 23)); }
static double k_im(const shape *f, const int64_t *at) { return k_mean(f, at) * k_conc(f, at) * sin(phase(f, at, 23)); }

static double zero_cost(const shape *f, const int64_t *at) {
    double part_of_sum = pow(two_norm(f, at), 2.0) / sum_over_pairs(f, at[0], at[1], two_norm, 2.0);
    return 0.9 * part_of_sum * exp(0.2 * noise(f, 24, at[0], at[1], at[2]));
}
/* Mean of 1 - cos(theta D) over distances: (theta T)^2 / 6 for slow pairs, 1 for fast ones. */
static double turning(const shape *f, int64_t p) {
    double x = theta(f, p) * (double)f->context;
    return x > 0 ? 1.0 - sin(x) / x : 0.0;
}
static double unrotate_cost(const shape *f, const int64_t *at) { return 2.0 * zero_cost(f, at) * turning(f, at[2]); }
static double zero_raw(const shape *f, const int64_t *at) { return zero_cost(f, at) * (1.0 + pow(q_conc(f, at), 2.0)); }
static double unrotate_raw(const shape *f, const int64_t *at) {
    return unrotate_cost(f, at) * (1.0 + pow(q_conc(f, at), 2.0));
}
static double zero_sampled(const shape *f, const int64_t *at) {
    return zero_cost(f, at) * exp(0.08 * noise(f, 25, at[0], at[1], at[2]));
}
static double unrotate_sampled(const shape *f, const int64_t *at) {
    return unrotate_cost(f, at) * exp(0.08 * noise(f, 26, at[0], at[1], at[2]));
}
static double group_sum(const shape *f, const int64_t *at, value_fn *cost) {
    double sum = 0;
    for (int64_t i = 0; i < group_size(f); i++)
        sum += cost(f, (int64_t[]){at[0], first_query_head(f, at[1]) + i, at[2]});
    return sum;
}
static double zero_group(const shape *f, const int64_t *at) { return group_sum(f, at, zero_cost); }
static double unrotate_group(const shape *f, const int64_t *at) { return group_sum(f, at, unrotate_cost); }
static double logit_variance(const shape *f, const int64_t *at) {
    return exp(1.0 + 0.6 * noise(f, 27, at[0], at[1], 0));
}

static double distance_curve(const shape *f, const int64_t *at) {
    double axis[POINTS], sum = 0;
    fake_distance_axis(f, axis);
    for (int64_t p = 0; p<f->pairs; p += f->pairs> 16 ? 4 : 1) {
        int64_t q[] = {at[0], at[1], p}, k[] = {at[0], key_head(f, at[1]), p};
        double z = q_mean(f, q) * q_conc(f, q) * k_mean(f, k) * k_conc(f, k);
        sum += z * cos(theta(f, p) * axis[at[2]] + phase(f, q, 22) - phase(f, k, 23));
    }
    return sum / sqrt(2.0 * (double)f->pairs);
}

/* Four parts of 1 from a head's or a pair's reliance on position. */
static double part(double position, int which) {
    const double pp = 0.7 * position, pc = 0.6 * (1 - position) * 0.5 + 0.1 * position, cp = 0.2 * position,
                 rest = 1 - pp - pc - cp;
    const double parts[] = {pp, pc, cp, rest};
    return parts[which];
}
static double head_position(const shape *f, const int64_t *at) {
    kind k = kind_of(f, at[0], at[1]);
    return f->rotated == 0 ? 0.0 : clamp(0.3 * habit[k].fast + 0.05 * noise(f, 28, at[0], at[1], 0), 0.02, 0.95);
}
static double share_pp(const shape *f, const int64_t *at) { return part(head_position(f, at), 0); }
static double share_pc(const shape *f, const int64_t *at) { return part(head_position(f, at), 1); }
static double share_cp(const shape *f, const int64_t *at) { return part(head_position(f, at), 2); }
static double share_cc(const shape *f, const int64_t *at) { return part(head_position(f, at), 3); }
static double pair_position(const shape *f, const int64_t *at) {
    return clamp(turning(f, at[2]) * q_conc(f, at), 0.0, 0.95);
}
static double pair_pp(const shape *f, const int64_t *at) { return part(pair_position(f, at), 0); }
static double pair_pc(const shape *f, const int64_t *at) { return part(pair_position(f, at), 1); }
static double pair_cp(const shape *f, const int64_t *at) { return part(pair_position(f, at), 2); }
static double pair_cc(const shape *f, const int64_t *at) { return part(pair_position(f, at), 3); }
static double fit_zero(const shape *f, const int64_t *at) { return 1.0 - 0.08 * uniform(f, 29, at[0], at[1]); }
static double fit_unrotate(const shape *f, const int64_t *at) {
    return f->rotated == 0 ? (double)NAN : 1.0 - 0.12 * uniform(f, 30, at[0], at[1]);
}

/* ---- /attention_pattern ---- */

/* Mass at: sink, self, 1, 2-16, 17-128, 129-1024, more; sums to 1. */
static double mass(const shape *f, int64_t l, int64_t h, int64_t which) {
    const habits *b = &habit[kind_of(f, l, h)];
    const double rough[CLASSES] = {b->sink, b->self, b->previous, b->near, b->middle, b->far, 0.02};
    double sum = 0, x = 0;
    for (int i = 0; i < CLASSES; i++) {
        double m = rough[i] * exp(0.15 * noise(f, 40, l, h, i));
        sum += m;
        x = i == which ? m : x;
    }
    return x / sum;
}
static double distance_mass(const shape *f, const int64_t *at) { return mass(f, at[0], at[1], at[2]); }
static double first(const shape *f, const int64_t *at) { return mass(f, at[0], at[1], 0); }
static double diagonal(const shape *f, const int64_t *at) { return mass(f, at[0], at[1], 1); }
static double previous(const shape *f, const int64_t *at) { return mass(f, at[0], at[1], 2); }
static double entropy(const shape *f, const int64_t *at) {
    static const double cells[CLASSES] = {1, 1, 1, 15, 112, 896, 1024};
    double sum = 0;
    for (int i = 0; i < CLASSES; i++) {
        double m = mass(f, at[0], at[1], i);
        sum -= m * log(m / cells[i]);
    }
    return 0.8 * sum;
}
static double effective(const shape *f, const int64_t *at) { return exp(entropy(f, at)); }
static double mean_distance(const shape *f, const int64_t *at) {
    static const double middle[CLASSES] = {0, 0, 1, 8, 60, 450, 1400};
    double sum = 0, rest = 0;
    for (int i = 1; i < CLASSES; i++) {
        sum += middle[i] * mass(f, at[0], at[1], i);
        rest += mass(f, at[0], at[1], i);
    }
    return sum / rest;
}
static double p50(const shape *f, const int64_t *at) { return floor(0.4 * mean_distance(f, at)); }
static double p90(const shape *f, const int64_t *at) { return floor(2.2 * mean_distance(f, at)) + 1.0; }
static double induction(const shape *f, const int64_t *at) {
    return clamp(habit[kind_of(f, at[0], at[1])].induction * exp(0.2 * noise(f, 41, at[0], at[1], 0)), 0.0, 0.9);
}
static double duplicate(const shape *f, const int64_t *at) {
    return clamp(habit[kind_of(f, at[0], at[1])].duplicate * exp(0.3 * noise(f, 42, at[0], at[1], 0)), 0.0, 0.9);
}
/* Mass of a class spread evenly over its distances. */
static double attention_at(const shape *f, int64_t l, int64_t h, double d) {
    static const double upto[CLASSES] = {-1, 0, 1, 16, 128, 1024, 1e9}, cells[CLASSES] = {1, 1, 1, 15, 112, 896, 1024};
    int i = 1;
    while (d > upto[i]) i++;
    return mass(f, l, h, i) / cells[i];
}
static double pattern_profile(const shape *f, const int64_t *at) {
    double axis[POINTS];
    fake_distance_axis(f, axis);
    return attention_at(f, at[0], at[1], axis[at[2]]) * exp(0.1 * noise(f, 43, at[0], at[1], at[2]));
}
static double toeplitz(const shape *f, const int64_t *at) {
    return clamp(previous(f, at) + diagonal(f, at), 0.02, 0.98);
}
static double map(const shape *f, const int64_t *at) {
    if (at[3] > at[2]) return 0.0;
    double block = (double)f->context / MAP, d = (double)(at[2] - at[3]) * block;
    double x = attention_at(f, at[0], at[1], d < 1 ? 2 : d) * block;
    if (d < 1) x = mass(f, at[0], at[1], 1) + mass(f, at[0], at[1], 2) + mass(f, at[0], at[1], 3);
    return at[3] == 0 ? x + mass(f, at[0], at[1], 0) : x;
}
static double pattern_split(const shape *f, const int64_t *at) { return 0.03 * uniform(f, 44, at[0], at[1]); }

/* ---- /state: sums over tokens by fold; sequences fill the folds in turn ---- */

static double tokens_of_fold(const shape *f, int64_t fold) {
    int64_t sequences = f->sequences / 16 + (fold < f->sequences % 16);
    return (double)(sequences * (f->context - 1));
}
static double state_sequences(const shape *f, const int64_t *at) {
    return (double)(f->sequences / 16 + (at[1] < f->sequences % 16));
}
static double state_q(const shape *f, const int64_t *at) {
    return tokens_of_fold(f, at[1]) * q_mean(f, (int64_t[]){at[0], at[2], at[3]});
}

/* ---- the table ---- */

#define LH "layer,head"
#define LK "layer,kv_head"
#define LHP "layer,head,pair"
#define LKP "layer,kv_head,pair"
#define NORM "frequency_norm/"
#define MOM "moments/"
#define ATT "attention_pattern/"

const fake_array fake_arrays[] = {
    {"rope/theta", "layer,pair", "rad/token", "angular frequency of the pair; 0 = not rotated", RS_F64, rope_theta,
     false},
    {"rope/rotated", "layer,pair", "1", "1 where the pair is rotated", RS_F32, rope_rotated, false},
    {"rope/component_lo", "layer,pair", "1", "first component of the pair, Hugging Face order", RS_F32, rope_lo, false},
    {"rope/component_hi", "layer,pair", "1", "second component of the pair, Hugging Face order", RS_F32, rope_hi,
     false},
    {"rope/attention_factor", "layer,pair", "1", "factor on cos and sin of queries and keys", RS_F64, rope_factor,
     false},
    {"rope/region", "layer,pair", "1", "0 kept, 1 blended, 2 scaled, 3 unrotated", RS_F32, rope_region, false},
    {"loss/token_nll", "sequence,position", "nats",
     "-ln p(token at this position | tokens before it); NaN at position 0", RS_F64, token_nll, false},
    {"loss/token_top1", "sequence,position", "1",
     "1 where no token is likelier than the one at this position; missing at position 0", RS_F32, token_top1, false},
    {NORM "q_mean", LHP, "1", "mean 2-norm of the pair of q over positions 1..T-1", RS_F32, q_mean, true},
    {NORM "q_rms", LHP, "1", "root mean square 2-norm of the pair of q", RS_F32, q_rms, true},
    {NORM "k_mean", LKP, "1", "mean 2-norm of the pair of k over positions 1..T-1", RS_F32, k_mean, true},
    {NORM "k_rms", LKP, "1", "root mean square 2-norm of the pair of k", RS_F32, k_rms, true},
    {NORM "v_mean", "layer,kv_head,v_pair", "1", "mean 2-norm of components j and j + Dv/2 of v", RS_F32, v_mean, true},
    {NORM "v_rms", "layer,kv_head,v_pair", "1", "root mean square 2-norm of components j and j + Dv/2 of v", RS_F32,
     v_rms, true},
    {NORM "q_mean_sink", LHP, "1", "mean 2-norm of the pair of q at position 0", RS_F32, q_sink, true},
    {NORM "k_mean_sink", LKP, "1", "mean 2-norm of the pair of k at position 0", RS_F32, k_sink, true},
    {NORM "q_share", LHP, "1", "mean norm of the pair of q / sum over pairs", RS_F32, q_share, true},
    {NORM "k_share", LKP, "1", "mean norm of the pair of k / sum over pairs", RS_F32, k_share, true},
    {NORM "v_share", "layer,kv_head,v_pair", "1", "mean norm of the pair of v / sum over pairs", RS_F32, v_share, true},
    {NORM "q_share_bootstrap", "layer,resample,pair", "1", "share of the pair of q in draws of the sequences", RS_F32,
     q_draw, true},
    {NORM "k_share_bootstrap", "layer,resample,pair", "1", "share of the pair of k in draws of the sequences", RS_F32,
     k_draw, true},
    {NORM "v_share_bootstrap", "layer,resample,v_pair", "1", "share of the pair of v in draws of the sequences", RS_F32,
     v_draw, true},
    {NORM "two_norm", LHP, "1", "E|q| E|k| of the pair", RS_F32, two_norm, true},
    {NORM "q_top", LHP, "1", "share of tokens whose largest q norm is in the pair", RS_F32, q_top, true},
    {NORM "k_top", LKP, "1", "share of tokens whose largest k norm is in the pair", RS_F32, k_top, true},
    {NORM "q_top_pair", LH, "1", "the pair most often largest in q", RS_F32, q_top_pair, true},
    {NORM "k_top_pair", LK, "1", "the pair most often largest in k", RS_F32, k_top_pair, true},
    {NORM "q_bucket_mean", "layer,bucket,head,pair", "1", "mean norm of the pair of q by position", RS_F32, q_bucket,
     true},
    {NORM "k_bucket_mean", "layer,bucket,kv_head,pair", "1", "mean norm of the pair of k by position", RS_F32, k_bucket,
     true},
    {NORM "q_split_half", LH, "1", "correlation over pairs of odd and even sequences", RS_F32, split_half, true},
    {NORM "k_split_half", LK, "1", "correlation over pairs of odd and even sequences", RS_F32, split_half, true},
    {MOM "q_mean_re", LHP, "1", "real part of E z of q before rotation", RS_F32, q_re, true},
    {MOM "q_mean_im", LHP, "1", "imaginary part of E z of q before rotation", RS_F32, q_im, true},
    {MOM "k_mean_re", LKP, "1", "real part of E z of k before rotation", RS_F32, k_re, true},
    {MOM "k_mean_im", LKP, "1", "imaginary part of E z of k before rotation", RS_F32, k_im, true},
    {MOM "q_concentration", LHP, "1", "|E z| / E|z| of q", RS_F32, q_conc, true},
    {MOM "k_concentration", LKP, "1", "|E z| / E|z| of k", RS_F32, k_conc, true},
    {MOM "q_concentration_unit", LHP, "1", "|E z/|z|| of q, bias-corrected", RS_F32, q_conc_unit, true},
    {MOM "k_concentration_unit", LKP, "1", "|E z/|z|| of k, bias-corrected", RS_F32, k_conc_unit, true},
    {MOM "zero_cost", LHP, "1", "cost of zeroing, centred closed form / logit variance", RS_F32, zero_cost, true},
    {MOM "unrotate_cost", LHP, "1", "cost of un-rotating, centred closed form / logit variance", RS_F32, unrotate_cost,
     true},
    {MOM "zero_cost_raw", LHP, "1", "cost of zeroing, uncentred / logit variance", RS_F32, zero_raw, true},
    {MOM "unrotate_cost_raw", LHP, "1", "cost of un-rotating, uncentred / logit variance", RS_F32, unrotate_raw, true},
    {MOM "zero_cost_split_half", LH, "1", "correlation over pairs of odd and even sequences", RS_F32, split_half, true},
    {MOM "unrotate_cost_split_half", LH, "1", "correlation over pairs of odd and even sequences", RS_F32, fit_unrotate,
     true},
    {MOM "zero_cost_sampled", LHP, "1", "cost of zeroing on sampled rows / logit variance", RS_F32, zero_sampled, true},
    {MOM "unrotate_cost_sampled", LHP, "1", "cost of un-rotating on sampled rows / logit variance", RS_F32,
     unrotate_sampled, true},
    {MOM "zero_cost_group", LKP, "1", "sum of zero_cost over the query heads of the key head", RS_F32, zero_group,
     true},
    {MOM "unrotate_cost_group", LKP, "1", "sum of unrotate_cost over the query heads of the key head", RS_F32,
     unrotate_group, true},
    {MOM "logit_variance", LH, "1", "mean over sampled rows of the variance of the scaled logit", RS_F32,
     logit_variance, true},
    {MOM "distance_curve", "layer,head,distance", "1", "mean logit by distance from the means alone", RS_F32,
     distance_curve, true},
    {MOM "share_pp", LH, "1", "share of the centred logit's variance: position", RS_F32, share_pp, true},
    {MOM "share_pc", LH, "1", "share of the centred logit's variance: key content", RS_F32, share_pc, true},
    {MOM "share_cp", LH, "1", "share of the centred logit's variance: query content", RS_F32, share_cp, true},
    {MOM "share_cc", LH, "1", "share of the centred logit's variance: both", RS_F32, share_cc, true},
    {MOM "share_pp_sampled", LH, "1", "share_pp on sampled rows", RS_F32, share_pp, true},
    {MOM "share_pc_sampled", LH, "1", "share_pc on sampled rows", RS_F32, share_pc, true},
    {MOM "share_cp_sampled", LH, "1", "share_cp on sampled rows", RS_F32, share_cp, true},
    {MOM "share_cc_sampled", LH, "1", "share_cc on sampled rows", RS_F32, share_cc, true},
    {MOM "pair_share_pp", LHP, "1", "the pair's share: position", RS_F32, pair_pp, true},
    {MOM "pair_share_pc", LHP, "1", "the pair's share: key content", RS_F32, pair_pc, true},
    {MOM "pair_share_cp", LHP, "1", "the pair's share: query content", RS_F32, pair_cp, true},
    {MOM "pair_share_cc", LHP, "1", "the pair's share: both", RS_F32, pair_cc, true},
    {MOM "fit_zero", LH, "1", "correlation over pairs of closed-form and sampled zeroing cost", RS_F32, fit_zero, true},
    {MOM "fit_unrotate", LH, "1", "correlation over pairs of closed-form and sampled un-rotating cost", RS_F32,
     fit_unrotate, true},
    {ATT "diagonal", LH, "1", "mean of A[t,t] over t = 1..T-1", RS_F32, diagonal, true},
    {ATT "previous", LH, "1", "mean of A[t,t-1] over t = 1..T-1", RS_F32, previous, true},
    {ATT "first", LH, "1", "mean of A[t,0] over t = 1..T-1", RS_F32, first, true},
    {ATT "entropy", LH, "nats", "mean entropy of a row", RS_F32, entropy, true},
    {ATT "effective_context", LH, "tokens", "exp(entropy)", RS_F32, effective, true},
    {ATT "duplicate", LH, "1", "mean mass on earlier occurrences of the same token", RS_F32, duplicate, true},
    {ATT "induction", LH, "1", "mean mass on the tokens behind earlier occurrences of the same token", RS_F32,
     induction, true},
    {ATT "mean_distance", LH, "tokens", "mean distance of the attention without the sink", RS_F32, mean_distance, true},
    {ATT "p50_distance", LH, "tokens", "median distance of the attention without the sink", RS_F32, p50, true},
    {ATT "p90_distance", LH, "tokens", "90th percentile of the distance of the attention without the sink", RS_F32, p90,
     true},
    {ATT "distance_mass", "layer,head,distance_class", "1", "mass at: sink, self, 1, 2-16, 17-128, 129-1024, more",
     RS_F32, distance_mass, true},
    {ATT "profile", "layer,head,distance", "1", "mean attention at a distance over rows that have it", RS_F32,
     pattern_profile, true},
    {ATT "toeplitz_share", LH, "1", "squared norm of the Toeplitz projection of A / of A", RS_F32, toeplitz, true},
    {ATT "map", "layer,head,map_row,map_column", "1", "mean pattern in 32 x 32 blocks", RS_F32, map, true},
    {ATT "split_half", LH, "1", "largest difference of previous, first, diagonal between odd and even sequences",
     RS_F32, pattern_split, true},
    {"state/frequency_norm/sequences", "layer,fold", "1", "sequences in each fold", RS_F64, state_sequences, false},
    {"state/frequency_norm/q", "layer,fold,head,pair", "1", "sums of the norm of the pair of q over positions 1..T-1",
     RS_F64, state_q, false},
};
const size_t fake_arrays_count = sizeof fake_arrays / sizeof *fake_arrays;

double fake_value(const rs_fake_shape *f, const char *name, const int64_t *at) {
    for (size_t i = 0; i < fake_arrays_count; i++) {
        if (strcmp(fake_arrays[i].name, name) == 0) return fake_arrays[i].value(f, at);
    }
    return (double)NAN;
}

/* ---- axes ---- */

int64_t fake_distance_axis(const rs_fake_shape *f, double *out) {
    int64_t n = 0;
    double d = 0;
    while (n < POINTS && d < (double)f->context) {
        if (out) out[n] = d;
        n++;
        d = n < DENSE ? d + 1 : floor(d * 1.04) + 1;
    }
    return n;
}

int64_t fake_bucket_axis(const rs_fake_shape *f, double *out) {
    int64_t n = 0;
    for (int64_t first_position = 1; first_position < f->context && n < 32; first_position *= 4, n++) {
        if (out) out[n] = (double)first_position;
    }
    return n;
}
