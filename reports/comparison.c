/* Opening runs and grouping them into variants. */
#include "reports/comparison.h"

#include "analyzer/base/alloc.h"
#include "analyzer/base/text.h"

#include <math.h>
#include <string.h>

const char *const rs_encoding_names[RS_ENCODINGS] = {
    [RS_ENCODING_FULL] = "full RoPE", [RS_ENCODING_PARTIAL] = "partial RoPE",
    [RS_ENCODING_P_ROPE] = "p-RoPE",  [RS_ENCODING_REVERSED] = "reversed p-RoPE",
    [RS_ENCODING_NOPE] = "NoPE",      [RS_ENCODING_MIXED] = "mixed",
};

/* --- what kind of encoding it is --- */

static rs_encoding_kind encoding_of(const rs_report_view *v) {
    const rs_view_rope *r = &v->ropes[v->main_rope];
    if (!v->rotates) return RS_ENCODING_NOPE;
    if (v->n_ropes > 1) return RS_ENCODING_MIXED;
    if (r->rotated == r->pairs) return RS_ENCODING_FULL;
    int least = r->lo[0];
    for (int p = 1; p < r->rotated; p++)
        if (r->lo[p] < least) least = r->lo[p];
    /* Components of a rotated pair lie half a head apart unless a narrower block rotates by itself. */
    if (r->hi[0] - r->lo[0] == r->rotated && least == 0) return RS_ENCODING_PARTIAL;
    if (r->hi[0] - r->lo[0] != r->pairs) return RS_ENCODING_MIXED;
    if (least == 0) return RS_ENCODING_P_ROPE;
    return least == r->pairs - r->rotated ? RS_ENCODING_REVERSED : RS_ENCODING_MIXED;
}

/* --- whether a run can be compared with the first --- */

static bool known_and_other(const char *a, const char *b) { return *a != '\0' && *b != '\0' && strcmp(a, b) != 0; }

static rs_status find_reason(rs_comparison *c, rs_compared_run *r, rs_error *err) {
    const rs_report_view *first = c->runs[0].view, *v = r->view;
    r->reason = "";
    if (v->context != first->context)
        return rs_arena_printf(c->arena, &r->reason, err,
                               "its sequences have %lld tokens, those of the first run %lld: losses, attention and "
                               "distances over other lengths",
                               (long long)v->context, (long long)first->context);
    if (known_and_other(v->tokenizer, first->tokenizer))
        return rs_arena_printf(c->arena, &r->reason, err,
                               "another tokenizer (%s; the first run: %s): the loss per token has another unit, and "
                               "other tokens were read",
                               v->tokenizer, first->tokenizer);
    if (*v->ids_sha256 == '\0' || *first->ids_sha256 == '\0')
        r->reason = "which tokens were read is not recorded in both files";
    else if (strcmp(v->ids_sha256, first->ids_sha256) != 0)
        r->reason = "another text: the tokens that were read are not those of the first run";
    return RS_OK;
}

/* --- repeats --- */

static const char *weights_hash(const rs_report_view *v) {
    for (size_t i = 0; i < rs_json_size(v->model_files); i++) {
        const rs_json *f = rs_json_at(v->model_files, i);
        const char *path = rs_json_string(rs_json_get(f, "path"), NULL),
                   *hash = rs_json_string(rs_json_get(f, "sha256"), NULL);
        if (hash != NULL && !(path != NULL && rs_ends_with(path, ".json"))) return hash;
    }
    return NULL;
}

static bool same_rotation(const rs_report_view *a, const rs_report_view *b) {
    if (a->n_layers != b->n_layers || a->n_heads != b->n_heads || a->n_kv_heads != b->n_kv_heads ||
        a->n_pairs != b->n_pairs || a->n_ropes != b->n_ropes || a->n_head_rows != b->n_head_rows)
        return false;
    for (int i = 0; i < a->n_ropes; i++) {
        const rs_view_rope *x = &a->ropes[i], *y = &b->ropes[i];
        if (x->pairs != y->pairs || x->rotated != y->rotated || x->n_layers != y->n_layers) return false;
        for (int p = 0; p < x->pairs; p++)
            if (x->lo[p] != y->lo[p] || x->hi[p] != y->hi[p] || fabs(x->theta[p] - y->theta[p]) > 1e-9 * x->theta[p])
                return false;
    }
    return true;
}

/* Runs under one label are repeats of one training: same shape and rotation, other weights. */
static rs_status check_repeat(const char *label, const rs_report_view *a, const rs_report_view *b, rs_error *err) {
    const char *x = weights_hash(a), *y = weights_hash(b);
    if (!same_rotation(a, b))
        return rs_fail(err, RS_E_USAGE,
                       "%s and %s are both called '%s' but have other shapes or other rotations (%s; %s), so they are "
                       "not repeats; give them different names: NAME=RUN.h5",
                       a->path, b->path, label, a->rope_words, b->rope_words);
    if (x != NULL && y != NULL && strcmp(x, y) == 0)
        return rs_fail(err, RS_E_USAGE,
                       "%s and %s are both called '%s' but are runs of the same weights (SHA-256 %.12s...), so they "
                       "are not repeats; leave one out, or give them different names: NAME=RUN.h5",
                       a->path, b->path, label, x);
    return RS_OK;
}

/* --- variants --- */

static const char *label_of(const rs_labelled_run *given, const rs_report_view *v) {
    if (given->label != NULL && *given->label != '\0') return given->label;
    return *v->model_name != '\0' ? v->model_name : v->path;
}

static int find_variant(const rs_comparison *c, const char *label) {
    for (int i = 0; i < c->n_variants; i++)
        if (strcmp(c->variants[i].label, label) == 0) return i;
    return -1;
}

static rs_status join(rs_comparison *c, int run, const char *label, rs_error *err) {
    rs_compared_run *r = &c->runs[run];
    int i = find_variant(c, label);
    if (i < 0) {
        rs_variant *x = &c->variants[i = c->n_variants];
        rs_status st = rs_arena_strdup(c->arena, &x->label, label, err);
        if (st != RS_OK) return st;
        x->view = r->view;
        x->layers = r->view->n_layers;
        x->pairs = r->view->ropes[r->view->main_rope].pairs;
        x->encoding = encoding_of(r->view);
        x->fraction = (double)r->view->ropes[r->view->main_rope].rotated / x->pairs;
        c->n_variants++;
    }
    r->variant = i;
    for (int k = 0; k < run; k++) {
        if (c->runs[k].variant != i) continue;
        rs_status st = check_repeat(label, c->runs[k].view, r->view, err);
        if (st != RS_OK) return st;
    }
    return find_reason(c, r, err);
}

static rs_status list_runs(rs_comparison *c, rs_variant *x, int variant, rs_error *err) {
    int *list = NULL;
    rs_status st = RS_ARENA_NEW(c->arena, &list, (size_t)c->n_runs, err);
    if (st != RS_OK) return st;
    /* Those that are compared first: estimates have a value for each of them. */
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < c->n_runs; i++)
            if (c->runs[i].variant == variant && (*c->runs[i].reason != '\0') == pass) list[x->n_runs++] = i;
    for (int i = 0; i < x->n_runs; i++) x->n_compared += *c->runs[list[i]].reason == '\0';
    x->runs = list;
    x->repeats = x->n_compared >= 2;
    c->repeats = c->repeats || x->repeats;
    c->n_compared += x->n_compared;
    return RS_OK;
}

static rs_status align(rs_comparison *c, rs_variant *x, rs_error *err) {
    const rs_view_rope *a = &c->variants[0].view->ropes[c->variants[0].view->main_rope],
                       *b = &x->view->ropes[x->view->main_rope];
    int *list = NULL;
    if (a->pairs != b->pairs) return RS_OK;
    rs_status st = RS_ARENA_NEW(c->arena, &list, (size_t)a->pairs, err);
    if (st != RS_OK) return st;
    for (int p = 0; p < a->pairs; p++) {
        list[p] = -1;
        for (int q = 0; q < b->pairs; q++)
            if (a->lo[p] == b->lo[q] && a->hi[p] == b->hi[q]) list[p] = q;
        if (list[p] < 0) return RS_OK;
    }
    x->aligned = list;
    return RS_OK;
}

/* Mean over the runs of a variant of n cells of an array from `offset` on; *out stays NULL where a run lacks it. */
static rs_status mean_over_runs(const rs_comparison *c, const rs_variant *x, const char *name, int64_t offset,
                                int64_t n, const double **out, rs_error *err) {
    double *sum = NULL;
    int used = x->n_compared > 0 ? x->n_compared : x->n_runs;
    rs_status st = RS_ARENA_NEW(c->arena, &sum, (size_t)n, err);
    for (int i = 0; st == RS_OK && i < used; i++) {
        const rs_array *a = rs_view_array(c->runs[x->runs[i]].view, name);
        if (a == NULL || rs_array_size(a) < offset + n) return RS_OK;
        for (int64_t p = 0; p < n; p++) sum[p] += a->data[offset + p] / used;
    }
    if (st == RS_OK) *out = sum;
    return st;
}

static rs_status average(rs_comparison *c, rs_variant *x, rs_error *err) {
    rs_status st = RS_OK;
    const struct {
        const char *name;
        const double **out;
        bool by_layer;
    } arrays[] = {{"by_frequency/q_share", &x->q_share, false},
                  {"by_frequency/k_share", &x->k_share, false},
                  {"by_frequency/v_share", &x->v_share, false},
                  {"map/q_share", &x->q_map, true},
                  {"map/k_share", &x->k_map, true}};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        const rs_array *a = rs_view_array(x->view, arrays[i].name);
        if (a == NULL) continue;
        int64_t pairs = a->dims[a->n_dims - 1];
        if (pairs != x->pairs) continue; /* values wider or narrower than keys, or layers of other widths */
        int64_t offset = arrays[i].by_layer ? 0 : (int64_t)x->view->main_rope * 4 * pairs;
        RS_TRY(mean_over_runs(c, x, arrays[i].name, offset, arrays[i].by_layer ? x->layers * pairs : pairs,
                              arrays[i].out, err));
    }
out:
    return st;
}

static rs_status group(rs_comparison *c, const rs_labelled_run *runs, rs_error *err) {
    rs_status st = RS_OK;
    RS_TRY(RS_ARENA_NEW(c->arena, &c->variants, (size_t)c->n_runs, err));
    for (int i = 0; i < c->n_runs; i++) RS_TRY(join(c, i, label_of(&runs[i], c->runs[i].view), err));
    for (int i = 0; i < c->n_variants; i++) {
        RS_TRY(list_runs(c, &c->variants[i], i, err));
        RS_TRY(align(c, &c->variants[i], err));
        RS_TRY(average(c, &c->variants[i], err));
    }
out:
    return st;
}

rs_status rs_comparison_open(const rs_labelled_run *runs, size_t n, const char *program, rs_comparison **out,
                             rs_error *err) {
    rs_status st = RS_OK;
    rs_comparison *c = NULL;
    *out = NULL;
    if (n < 2) return rs_fail(err, RS_E_USAGE, "a comparison needs two runs at least, %zu given", n);
    if (n > 1000) return rs_fail(err, RS_E_USAGE, "a comparison takes 1,000 runs at most, %zu given", n);
    RS_TRY(RS_NEW(&c, 1, err));
    c->program = program != NULL ? program : "ropescope";
    RS_TRY(rs_arena_create(&c->arena, err));
    RS_TRY(RS_ARENA_NEW(c->arena, &c->runs, n, err));
    for (; c->n_runs < (int)n; c->n_runs++)
        RS_TRY(rs_report_view_open(runs[c->n_runs].path, NULL, program, &c->runs[c->n_runs].view, err));
    RS_TRY(group(c, runs, err));
    RS_TRY(rs_comparison_state_facts(c, err));
    RS_TRY(rs_comparison_measure(c, err));
    RS_TRY(rs_comparison_say(c, err));
    RS_TRY(rs_comparison_set_beside_papers(c, err));
    *out = c;
    c = NULL;
out:
    rs_comparison_close(c);
    return st;
}

void rs_comparison_close(rs_comparison *c) {
    if (c == NULL) return;
    for (int i = 0; i < c->n_runs; i++) rs_report_view_close(c->runs[i].view);
    rs_arena_destroy(c->arena);
    rs_free(c);
}
