#include "analyzer/cli/ablation_rows.h"

#include "analyzer/base/alloc.h"
#include "analyzer/base/json.h"
#include "analyzer/cli/record.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char group[] = "ablation", row_axis[] = "ablation_row"; /* axes stand beside groups: another name */

rs_status rs_ablation_rows_add(rs_ablation_rows *r, rs_ablation_row *row, rs_error *err) {
    if (r->n == r->room) {
        size_t room = r->room ? 2 * r->room : 64;
        void *block = r->item;
        rs_status st = rs_resize(&block, r->n, room, sizeof *r->item, err);
        if (st != RS_OK) {
            rs_scores_deinit(&row->scores);
            return st;
        }
        r->item = block;
        r->room = room;
    }
    r->item[r->n++] = *row;
    row->scores = (rs_scores){0};
    return RS_OK;
}

const rs_ablation_row *rs_ablation_rows_find(const rs_ablation_rows *r, const char *key) {
    for (size_t i = 0; i < r->n; i++) {
        if (strcmp(r->item[i].key, key) == 0) {
            return &r->item[i];
        }
    }
    return NULL;
}

void rs_ablation_rows_deinit(rs_ablation_rows *r) {
    for (size_t i = 0; i < r->n; i++) {
        rs_scores_deinit(&r->item[i].scores);
    }
    rs_free(r->item);
    r->item = NULL;
    r->n = r->room = 0;
}

/* ---- columns ---- */

/* A number of every row; what is a text in a row is its number in a JSON list among the group's attributes. */
typedef struct column {
    const char *name, *unit, *long_name;
    rs_dtype stored_as;
    double (*get)(const rs_ablation_row *r);
    void (*set)(rs_ablation_row *r, double x);
} column;

static double or_none(int x) { return x < 0 ? (double)NAN : x; }
static int or_minus(double x) { return x >= 0 && x < 1e9 ? (int)x : -1; }
static double get_experiment(const rs_ablation_row *r) { return r->experiment; }
static double get_mode(const rs_ablation_row *r) { return r->mode; }
static double get_amount(const rs_ablation_row *r) { return r->amount; }
static double get_seed(const rs_ablation_row *r) { return or_none(r->seed); }
static double get_layer(const rs_ablation_row *r) { return or_none(r->layer); }
static double get_pairs(const rs_ablation_row *r) { return (double)r->pairs; }
static double get_delta(const rs_ablation_row *r) { return r->nll.mean; }
static double get_lo(const rs_ablation_row *r) { return r->nll.lo; }
static double get_hi(const rs_ablation_row *r) { return r->nll.hi; }
static double get_accuracy(const rs_ablation_row *r) { return r->accuracy.mean; }
static double get_accuracy_lo(const rs_ablation_row *r) { return r->accuracy.lo; }
static double get_accuracy_hi(const rs_ablation_row *r) { return r->accuracy.hi; }
static void set_experiment(rs_ablation_row *r, double x) { r->experiment = or_minus(x); }
static void set_mode(rs_ablation_row *r, double x) { r->mode = or_minus(x); }
static void set_amount(rs_ablation_row *r, double x) { r->amount = x; }
static void set_seed(rs_ablation_row *r, double x) { r->seed = or_minus(x); }
static void set_layer(rs_ablation_row *r, double x) { r->layer = or_minus(x); }
static void set_pairs(rs_ablation_row *r, double x) { r->pairs = x >= 0 && x < 9e15 ? (int64_t)x : 0; }
static void set_delta(rs_ablation_row *r, double x) { r->nll.mean = x; }
static void set_lo(rs_ablation_row *r, double x) { r->nll.lo = x; }
static void set_hi(rs_ablation_row *r, double x) { r->nll.hi = x; }
static void set_accuracy(rs_ablation_row *r, double x) { r->accuracy.mean = x; }
static void set_accuracy_lo(rs_ablation_row *r, double x) { r->accuracy.lo = x; }
static void set_accuracy_hi(rs_ablation_row *r, double x) { r->accuracy.hi = x; }

static const column columns[] = {
    {"ablation/experiment", "1", "number of the experiment in the attribute experiments", RS_I32, get_experiment,
     set_experiment},
    {"ablation/mode", "1", "number of the edit in the attribute modes", RS_I32, get_mode, set_mode},
    {"ablation/amount", "1", "p, band, dimensions or share of pairs, by the experiment", RS_F64, get_amount,
     set_amount},
    {"ablation/seed", "1", "seed of a random control; missing otherwise", RS_I32, get_seed, set_seed},
    {"ablation/layer", "1", "the one layer that was edited; missing: all", RS_I32, get_layer, set_layer},
    {"ablation/pairs", "1", "edited pairs, counted per query head", RS_F64, get_pairs, set_pairs},
    {"ablation/delta_nll", "nats", "mean loss per token, edited minus unedited", RS_F64, get_delta, set_delta},
    {"ablation/delta_lo", "nats", "2.5 percentile of delta_nll, paired bootstrap over sequences", RS_F64, get_lo,
     set_lo},
    {"ablation/delta_hi", "nats", "97.5 percentile of delta_nll, paired bootstrap over sequences", RS_F64, get_hi,
     set_hi},
    {"ablation/delta_accuracy", "1", "share of tokens that are the likeliest, edited minus unedited", RS_F64,
     get_accuracy, set_accuracy},
    {"ablation/accuracy_lo", "1", "2.5 percentile of delta_accuracy, paired bootstrap over sequences", RS_F64,
     get_accuracy_lo, set_accuracy_lo},
    {"ablation/accuracy_hi", "1", "97.5 percentile of delta_accuracy, paired bootstrap over sequences", RS_F64,
     get_accuracy_hi, set_accuracy_hi},
};
enum { COLUMNS = sizeof columns / sizeof *columns };

/* What every sequence has, of each row and unedited. */
static double *nll_of(const rs_scores *s) { return s->nll; }
static double *accuracy_of(const rs_scores *s) { return s->accuracy; }
static const struct {
    const char *name, *baseline, *unit, *what;
    double *(*of)(const rs_scores *s);
} by_sequence[] = {
    {"ablation/sequence_nll", "ablation/baseline_nll", "nats", "mean loss of a sequence's scored tokens", nll_of},
    {"ablation/sequence_accuracy", "ablation/baseline_accuracy", "1",
     "share of a sequence's scored tokens that are the likeliest", accuracy_of},
};
enum { SCORES = sizeof by_sequence / sizeof *by_sequence };

/* ---- reading ---- */

static rs_status read_json(rs_store *s, const char *path, const char *name, rs_json **out, rs_error *err) {
    char *text = NULL;
    rs_status st = rs_store_get_string(s, group, name, &text, err);
    if (st == RS_OK && !text) {
        st = rs_fail(err, RS_E_FORMAT, "%s: /ablation: attribute '%s' is missing", path, name);
    }
    st = st == RS_OK ? rs_json_parse(text, strlen(text), path, out, err) : st;
    rs_free(text);
    return st;
}

/* The numbers of experiments are places in a list that the file carries: another list is another meaning. */
static rs_status check_experiments(const char *path, const rs_json *list, rs_error *err) {
    bool same = rs_json_size(list) == RS_EXPERIMENTS;
    for (size_t i = 0; same && i < RS_EXPERIMENTS; i++) {
        const char *name = rs_json_string(rs_json_at(list, i), NULL);
        same = name && strcmp(name, rs_experiment_name((rs_experiment)i)) == 0;
    }
    return same ? RS_OK
                : rs_fail(err, RS_E_USAGE,
                          "%s: its ablations were measured by another version, which knew other experiments; --force "
                          "replaces them",
                          path);
}

static rs_status check_settings(rs_store *s, const char *path, const rs_ablation_rows *r, rs_error *err) {
    char *found = NULL;
    rs_status st = rs_store_get_string(s, group, "settings", &found, err);
    if (st == RS_OK && (!found || strcmp(found, r->settings) != 0)) {
        st = rs_fail(err, RS_E_USAGE,
                     "%s: its ablations were measured with other settings: found '%s', expected '%s'; give the same "
                     "ones, or --force to replace them",
                     path, found ? found : "", r->settings);
    }
    rs_free(found);
    return st;
}

static rs_status read_column(rs_store *s, const char *path, const char *name, int64_t cells, rs_array *a,
                             rs_error *err) {
    rs_status st = rs_store_read(s, name, a, err);
    if (st == RS_OK && rs_array_size(a) != cells) {
        st = rs_fail(err, RS_E_FORMAT, "%s: dataset '%s': found %lld cells, expected %lld", path, name,
                     (long long)rs_array_size(a), (long long)cells);
    }
    return st;
}

/* arrays: [SCORES] of [rows, sequences]. */
static rs_status take_scores(const rs_array *arrays, size_t row, int64_t sequences, rs_scores *out, rs_error *err) {
    rs_status st = rs_scores_init(out, sequences, err);
    for (int k = 0; k < SCORES && st == RS_OK; k++) {
        double *to = by_sequence[k].of(out);
        memcpy(to, arrays[k].data + (int64_t)row * sequences, sizeof *to * (size_t)sequences);
    }
    if (st != RS_OK) {
        rs_scores_deinit(out);
    }
    return st;
}

static rs_status take_rows(rs_store *s, const char *path, const rs_json *keys, const rs_json *rankings,
                           rs_ablation_rows *r, rs_error *err) {
    rs_status st = RS_OK;
    rs_array column_values[COLUMNS], scores[SCORES];
    memset(column_values, 0, sizeof column_values);
    memset(scores, 0, sizeof scores);
    size_t n = rs_json_size(keys);
    for (int c = 0; c < COLUMNS; c++) {
        RS_TRY(read_column(s, path, columns[c].name, (int64_t)n, &column_values[c], err));
    }
    for (int k = 0; k < SCORES; k++) {
        RS_TRY(read_column(s, path, by_sequence[k].name, (int64_t)n * r->sequences, &scores[k], err));
    }
    for (size_t i = 0; i < n; i++) {
        const char *key = rs_json_string(rs_json_at(keys, i), NULL),
                   *ranking = rs_json_string(rs_json_at(rankings, i), NULL);
        rs_ablation_row row = {0};
        snprintf(row.key, sizeof row.key, "%s", key ? key : "");
        snprintf(row.ranking, sizeof row.ranking, "%s", ranking ? ranking : "");
        for (int c = 0; c < COLUMNS; c++) {
            columns[c].set(&row, column_values[c].data[i]);
        }
        if (row.experiment < 0 || row.experiment >= RS_EXPERIMENTS || row.mode < 0 || row.mode > RS_ABLATE_SCALE) {
            st = rs_fail(err, RS_E_FORMAT, "%s: /ablation: row %zu is of no known experiment", path, i);
            goto out;
        }
        RS_TRY(take_scores(scores, i, r->sequences, &row.scores, err));
        RS_TRY(rs_ablation_rows_add(r, &row, err));
    }
out:
    for (int c = 0; c < COLUMNS; c++) {
        rs_array_deinit(&column_values[c]);
    }
    for (int k = 0; k < SCORES; k++) {
        rs_array_deinit(&scores[k]);
    }
    return st;
}

rs_status rs_ablation_rows_read(rs_store *s, const char *path, rs_ablation_rows *r, rs_error *err) {
    rs_status st = RS_OK;
    rs_json *keys = NULL, *rankings = NULL, *experiments = NULL;
    if (!rs_store_has(s, by_sequence[0].name)) {
        return RS_OK;
    }
    if (!rs_store_has(s, by_sequence[SCORES - 1].name)) {
        return rs_fail(err, RS_E_USAGE,
                       "%s: its ablations are of a version without accuracies: --force to replace them", path);
    }
    RS_TRY(check_settings(s, path, r, err));
    RS_TRY(read_json(s, path, "experiments", &experiments, err));
    RS_TRY(check_experiments(path, experiments, err));
    RS_TRY(read_json(s, path, "keys", &keys, err));
    RS_TRY(read_json(s, path, "rankings", &rankings, err));
    RS_TRY(take_rows(s, path, keys, rankings, r, err));
out:
    rs_json_free(experiments);
    rs_json_free(keys);
    rs_json_free(rankings);
    return st;
}

/* ---- writing ---- */

static const char *key_of(const rs_ablation_row *r) { return r->key; }
static const char *ranking_of(const rs_ablation_row *r) { return r->ranking; }

static rs_status set_list(rs_store *s, const char *name, rs_text *t, rs_error *err) {
    rs_status st = rs_text_status(t, err);
    st = st == RS_OK ? rs_store_set_string(s, group, name, t->data, err) : st;
    rs_text_deinit(t);
    return st;
}

static rs_status write_texts(rs_store *s, const char *name, const rs_ablation_rows *r,
                             const char *(*text)(const rs_ablation_row *), rs_error *err) {
    rs_text t = {0};
    rs_text_append(&t, "[");
    for (size_t i = 0; i < r->n; i++) {
        rs_text_append(&t, i ? "," : "");
        rs_text_json_string(&t, text(&r->item[i]), strlen(text(&r->item[i])));
    }
    rs_text_append(&t, "]");
    return set_list(s, name, &t, err);
}

static const char *experiment_word(int i) { return rs_experiment_name((rs_experiment)i); }
static const char *mode_word(int i) { return rs_ablate_mode_name((rs_ablate_mode)i); }

static rs_status write_words(rs_store *s, const char *name, const char *(*word)(int), int n, rs_error *err) {
    rs_text t = {0};
    for (int i = 0; i < n; i++) {
        rs_text_printf(&t, "%s\"%s\"", i ? "," : "[", word(i));
    }
    rs_text_append(&t, "]");
    return set_list(s, name, &t, err);
}

static rs_status write_column(rs_store *s, const column *c, const rs_ablation_rows *r, rs_error *err) {
    rs_status st = RS_OK;
    rs_array a = {0};
    RS_TRY(rs_array_init(&a, err, c->name, c->stored_as, c->unit, c->long_name, 1, row_axis, (int64_t)r->n));
    for (size_t i = 0; i < r->n; i++) {
        a.data[i] = c->get(&r->item[i]);
    }
    a.count = r->tokens;
    RS_TRY(rs_store_write(s, &a, err));
out:
    rs_array_deinit(&a);
    return st;
}

static rs_status write_scores(rs_store *s, const rs_ablation_rows *r, int k, rs_error *err) {
    rs_status st = RS_OK;
    rs_array a = {0}, b = {0};
    char text[RS_LONG_NAME_BYTES];
    size_t bytes = sizeof *a.data * (size_t)r->sequences;
    snprintf(text, sizeof text, "%s, edited", by_sequence[k].what);
    RS_TRY(rs_array_init(&a, err, by_sequence[k].name, RS_F64, by_sequence[k].unit, text, 2, row_axis, (int64_t)r->n,
                         "ablation_sequence", r->sequences));
    snprintf(text, sizeof text, "%s, unedited", by_sequence[k].what);
    RS_TRY(rs_array_init(&b, err, by_sequence[k].baseline, RS_F64, by_sequence[k].unit, text, 1, "ablation_sequence",
                         r->sequences));
    for (size_t i = 0; i < r->n; i++) {
        memcpy(a.data + (int64_t)i * r->sequences, by_sequence[k].of(&r->item[i].scores), bytes);
    }
    memcpy(b.data, by_sequence[k].of(&r->baseline), bytes);
    a.count = b.count = r->tokens / r->sequences;
    RS_TRY(rs_store_write(s, &a, err));
    RS_TRY(rs_store_write(s, &b, err));
out:
    rs_array_deinit(&a);
    rs_array_deinit(&b);
    return st;
}

rs_status rs_ablation_rows_write(const rs_ablation_rows *r, const char *path, rs_error *err) {
    rs_status st = RS_OK;
    rs_store *s = NULL;
    RS_TRY(rs_store_extend(path, group, &s, err));
    for (int c = 0; c < COLUMNS; c++) {
        RS_TRY(write_column(s, &columns[c], r, err));
    }
    for (int k = 0; k < SCORES; k++) {
        RS_TRY(write_scores(s, r, k, err));
    }
    RS_TRY(rs_store_set_string(s, group, "settings", r->settings, err));
    RS_TRY(write_texts(s, "keys", r, key_of, err));
    RS_TRY(write_texts(s, "rankings", r, ranking_of, err));
    RS_TRY(write_words(s, "experiments", experiment_word, RS_EXPERIMENTS, err));
    RS_TRY(write_words(s, "modes", mode_word, RS_ABLATE_SCALE + 1, err));
    rs_store *whole = s;
    s = NULL;
    RS_TRY(rs_store_commit(whole, err));
out:
    rs_store_discard(s);
    return st;
}

const char *rs_ablation_row_heads(const rs_ablation_row *r) {
    const char *at = strstr(r->key, " heads ");
    return at ? at + strlen(" heads ") : "";
}

rs_status rs_ablation_rows_catalog(const rs_ablation_rows *r, const char *path, const char *catalog, rs_error *err) {
    rs_status st = RS_OK;
    rs_catalog_intervention *rows = NULL;
    RS_TRY(rs_record_catalog(path, catalog, err));
    RS_TRY(RS_NEW(&rows, r->n, err));
    for (size_t i = 0; i < r->n; i++) {
        const rs_ablation_row *x = &r->item[i];
        rows[i] = (rs_catalog_intervention){.experiment = experiment_word(x->experiment),
                                            .mode = mode_word(x->mode),
                                            .ranking = x->ranking,
                                            .heads = rs_ablation_row_heads(x),
                                            .amount = x->amount,
                                            .seed = x->seed,
                                            .layer = x->layer,
                                            .pairs = x->pairs,
                                            .delta_nll = x->nll.mean,
                                            .delta_lo = x->nll.lo,
                                            .delta_hi = x->nll.hi,
                                            .delta_accuracy = x->accuracy.mean,
                                            .accuracy_lo = x->accuracy.lo,
                                            .accuracy_hi = x->accuracy.hi,
                                            .tokens = r->tokens};
    }
    RS_TRY(rs_catalog_interventions(catalog, path, rows, r->n, err));
out:
    rs_free(rows);
    return st;
}
