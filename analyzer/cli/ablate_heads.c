#include "analyzer/cli/ablate_heads.h"

#include "analyzer/base/alloc.h"
#include "analyzer/base/rng.h"
#include "probes/retrieval.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

typedef struct rule {
    const char *word, *array;
    double above;
    bool others; /* as many of those that are not above */
} rule;

static const rule rules[] = {
    {"retrieval", "retrieval/context", RS_RETRIEVAL_CONTEXT, false},
    {"others", "retrieval/context", RS_RETRIEVAL_CONTEXT, true},
    {"copying", "retrieval/copy", RS_RETRIEVAL_COPY, false},
    {"copying-others", "retrieval/copy", RS_RETRIEVAL_COPY, true},
};

/* "3.1,5.2": layer.head */
static rs_status take_list(const rs_graph *g, const char *what, uint8_t *heads, rs_error *err) {
    for (const char *at = what;;) {
        char *dot = NULL, *end = NULL;
        long layer = strtol(at, &dot, 10), head = dot != at && *dot == '.' ? strtol(dot + 1, &end, 10) : -1;
        if (!end || end == dot + 1 || (*end && *end != ',') || layer < 0 || layer >= g->n_layers || head < 0 ||
            head >= g->layers[layer].heads) {
            return rs_fail(err, RS_E_USAGE,
                           "--heads %s: at '%s': expected LAYER.HEAD,... within %d layers of %lld heads, or retrieval, "
                           "others, copying, copying-others",
                           what, at, g->n_layers, (long long)g->max_heads);
        }
        heads[layer * g->max_heads + head] = 1;
        if (!*end) {
            return RS_OK;
        }
        at = end + 1;
    }
}

/* Of the heads that are not set as many as are, by lot; the set ones leave. candidates: room for all heads. */
static int64_t exchange(const rs_graph *g, uint64_t seed, int64_t set, int64_t *candidates, uint8_t *heads) {
    int64_t n = 0;
    rs_rng rng;
    rs_rng_init(&rng, seed);
    for (int l = 0; l < g->n_layers; l++) {
        for (int64_t h = l * g->max_heads; h < l * g->max_heads + g->layers[l].heads; h++) {
            candidates[n] = h;
            n += !heads[h];
        }
    }
    memset(heads, 0, (size_t)g->n_layers * (size_t)g->max_heads);
    set = set < n ? set : n;
    for (int64_t i = 0; i < set; i++) {
        int64_t j = i + rs_rng_below(&rng, n - i);
        heads[candidates[j]] = 1;
        candidates[j] = candidates[i];
    }
    return set;
}

static rs_status take_rule(rs_store *run, const char *path, const rs_graph *g, const rule *r, uint64_t seed,
                           uint8_t *heads, rs_error *err) {
    rs_status st = RS_OK;
    rs_array found = {0};
    int64_t *candidates = NULL, set = 0, cells = g->n_layers * (int64_t)g->max_heads;
    if (!rs_store_has(run, r->array)) {
        return rs_fail(err, RS_E_USAGE, "--heads %s: %s has no /%s: it must be the run of a task (audit --task)",
                       r->word, path, r->array);
    }
    RS_TRY(rs_store_read(run, r->array, &found, err));
    if (rs_array_size(&found) != cells) {
        st = rs_fail(err, RS_E_FORMAT, "%s: dataset '%s': found %lld cells, expected %lld", path, r->array,
                     (long long)rs_array_size(&found), (long long)cells);
        goto out;
    }
    for (int64_t i = 0; i < cells; i++) {
        heads[i] = found.data[i] > r->above;
        set += heads[i];
    }
    RS_TRY(RS_NEW(&candidates, (size_t)cells + 1, err));
    set = set > 0 && r->others ? exchange(g, seed, set, candidates, heads) : set;
    if (set == 0) {
        st = rs_fail(err, RS_E_USAGE, "--heads %s: no head of %s has %s above %g%s", r->word, path, r->array, r->above,
                     r->others ? ", or all have" : "");
    }
out:
    rs_array_deinit(&found);
    rs_free(candidates);
    return st;
}

rs_status rs_ablate_heads(rs_store *run, const char *path, const rs_graph *g, const char *what, uint8_t *heads,
                          rs_error *err) {
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        size_t n = strlen(rules[i].word);
        const char *rest = what + n;
        if (strncmp(what, rules[i].word, n) != 0 || (*rest && !(rules[i].others && *rest == ':'))) {
            continue;
        }
        char *end = NULL;
        uint64_t seed = *rest ? strtoull(rest + 1, &end, 10) : 0;
        if (end && (*end || end == rest + 1)) {
            return rs_fail(err, RS_E_USAGE, "--heads %s: expected a seed behind the colon", what);
        }
        return take_rule(run, path, g, &rules[i], seed, heads, err);
    }
    return take_list(g, what, heads, err);
}
