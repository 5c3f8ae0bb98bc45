#include "analyzer/ablate/ranking.h"

#include "analyzer/base/alloc.h"
#include "analyzer/base/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    rs_ranking_rule rule;
} rules[] = {{"high", RS_RANK_HIGH}, {"low", RS_RANK_LOW}, {"uniform", RS_RANK_UNIFORM}, {"random", RS_RANK_RANDOM}};

rs_ranking_rule rs_ranking_rule_of(const char *name) {
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        if (strcmp(rules[i].name, name) == 0) {
            return rules[i].rule;
        }
    }
    return RS_RANK_VALUES;
}

rs_status rs_ranking_check(const rs_array *a, const rs_graph *g, rs_error *err) {
    if (a->n_dims != 3 || a->dims[0] != g->n_layers || a->dims[1] != g->max_heads || a->dims[2] != g->max_pairs) {
        return rs_fail(err, RS_E_USAGE, "ranking '%s': expected an array [layer, head, pair] of %d x %lld x %lld cells",
                       a->name, g->n_layers, (long long)g->max_heads, (long long)g->max_pairs);
    }
    return RS_OK;
}

typedef struct scored {
    double score;
    int pair;
} scored;

static int compare(const void *a, const void *b) {
    const scored *x = a, *y = b;
    return x->score < y->score ? -1 : x->score > y->score ? 1 : x->pair - y->pair;
}

/* Which pairs share a key with others is the key's matter: their costs add up. */
static double value_of(const rs_ranking *r, const rs_graph *g, int layer, int head, int pair) {
    int64_t H = g->max_heads, P = g->max_pairs;
    int group = r->by_group ? g->layers[layer].heads / g->layers[layer].kv_heads : 1, first = head / group * group;
    double sum = 0;
    for (int h = first; h < first + group; h++) {
        sum += r->values->data[(layer * H + h) * P + pair];
    }
    return isnan(sum) ? (double)INFINITY : r->largest_first ? -sum : sum;
}

/* Random numbers of a head do not depend on how many pairs are asked for: growing shares contain each other. */
static void score(const rs_ranking *r, const rs_graph *g, int layer, int head, uint64_t seed, scored *s, int n) {
    rs_rng rng;
    rs_rng_init(&rng, seed * UINT64_C(0x9E3779B97F4A7C15) + (uint64_t)layer * 65537 + (uint64_t)head);
    for (int i = 0; i < n; i++) {
        switch (r->rule) {
        case RS_RANK_HIGH: s[i].score = -s[i].pair; break;
        case RS_RANK_RANDOM: s[i].score = rs_rng_uniform(&rng); break;
        case RS_RANK_VALUES: s[i].score = value_of(r, g, layer, head, s[i].pair); break;
        default: s[i].score = s[i].pair;
        }
    }
}

/* All but {floor(k n / r)}. */
static void choose_uniform(const int *open, int n, int count, uint8_t *chosen) {
    int64_t kept = n - count;
    for (int i = 0; i < n; i++) {
        chosen[open[i]] = 1;
    }
    for (int64_t k = 0; k < kept; k++) {
        chosen[open[k * n / kept]] = 0;
    }
}

rs_status rs_ranking_choose(const rs_ranking *r, const rs_graph *g, int layer, int head, const int *open, int n_open,
                            int count, uint64_t seed, uint8_t *chosen, rs_error *err) {
    rs_status st = RS_OK;
    scored *s = NULL; /* [n_open] */
    if (r->rule == RS_RANK_UNIFORM) {
        choose_uniform(open, n_open, count, chosen);
        return RS_OK;
    }
    RS_TRY(RS_NEW(&s, (size_t)n_open + 1, err));
    for (int i = 0; i < n_open; i++) {
        s[i].pair = open[i];
    }
    score(r, g, layer, head, seed, s, n_open);
    qsort(s, (size_t)n_open, sizeof *s, compare);
    for (int i = 0; i < count; i++) {
        chosen[s[i].pair] = 1;
    }
out:
    rs_free(s);
    return st;
}
