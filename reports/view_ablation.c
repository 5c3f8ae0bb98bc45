/* What was tried: the rows of /ablation (docs/store.md), each with its random controls folded in. */
#include "reports/view.h"

#include "analyzer/base/alloc.h"
#include "data/store.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_ROWS = 20000, FIELDS = 6 };
enum {
    EXPERIMENT,
    MODE,
    AMOUNT,
    SEED,
    LAYER,
    PAIRS,
    DELTA,
    LO,
    HI,
    ACCURACY, /* from here on: not in files of versions that did not measure it */
    ACCURACY_LO,
    ACCURACY_HI,
    READ
};
static const char *const names[READ] = {"ablation/experiment",     "ablation/mode",        "ablation/amount",
                                        "ablation/seed",           "ablation/layer",       "ablation/pairs",
                                        "ablation/delta_nll",      "ablation/delta_lo",    "ablation/delta_hi",
                                        "ablation/delta_accuracy", "ablation/accuracy_lo", "ablation/accuracy_hi"};

/* The file's rows before controls are folded in. */
typedef struct table {
    rs_array column[READ]; /* [n] each */
    int64_t n;
    rs_json *keys, *rankings, *experiments, *modes;
} table;

static void table_deinit(table *t) {
    for (int c = 0; c < READ; c++) rs_array_deinit(&t->column[c]);
    rs_json_free(t->keys);
    rs_json_free(t->rankings);
    rs_json_free(t->experiments);
    rs_json_free(t->modes);
}

static rs_status read_list(const rs_report_view *v, rs_store *s, const char *name, rs_json **out, rs_error *err) {
    char *text = NULL;
    rs_status st = rs_store_get_string(s, "/ablation", name, &text, err);
    if (st == RS_OK && text == NULL)
        st = rs_fail(err, RS_E_FORMAT, "%s: /ablation: attribute '%s' is missing", v->path, name);
    st = st == RS_OK ? rs_json_parse(text, strlen(text), v->path, out, err) : st;
    rs_free(text);
    return st;
}

static rs_status read_table(const rs_report_view *v, rs_store *s, table *t, rs_error *err) {
    rs_status st = RS_OK;
    for (int c = 0; c < READ; c++) {
        if (c >= ACCURACY && !rs_store_has(s, names[c])) continue;
        RS_TRY(rs_store_read(s, names[c], &t->column[c], err));
        int64_t n = rs_array_size(&t->column[c]);
        t->n = c == 0 ? n : t->n;
        if (n != t->n || n > MOST_ROWS) {
            st = rs_fail(err, RS_E_FORMAT, "%s: dataset '%s': found %lld rows, expected %lld, at most %d", v->path,
                         names[c], (long long)n, (long long)t->n, (int)MOST_ROWS);
            goto out;
        }
    }
    RS_TRY(read_list(v, s, "keys", &t->keys, err));
    RS_TRY(read_list(v, s, "rankings", &t->rankings, err));
    RS_TRY(read_list(v, s, "experiments", &t->experiments, err));
    RS_TRY(read_list(v, s, "modes", &t->modes, err));
out:
    return st;
}

static double at(const table *t, int column, int64_t row) {
    const double *data = t->column[column].data;
    return data != NULL ? data[row] : (double)NAN;
}

static const char *word(const rs_json *list, double number) {
    bool place = number >= 0.0 && number < (double)rs_json_size(list);
    const char *s = place ? rs_json_string(rs_json_at(list, (size_t)number), NULL) : NULL;
    return s != NULL ? s : "";
}

/* "... heads 3.1,5.2": what a key says of heads. */
static const char *heads_of(const table *t, int64_t row) {
    const char *key = word(t->keys, (double)row), *found = strstr(key, " heads ");
    return found != NULL ? found + strlen(" heads ") : "";
}

static bool same(double a, double b) { return (isnan(a) && isnan(b)) || fabs(a - b) < 1e-12; }

/* Is row c a control of row r, if controls of r stand under this amount? */
static bool is_control(const table *t, int64_t c, int64_t r, double amount) {
    return isfinite(at(t, SEED, c)) && same(at(t, EXPERIMENT, c), at(t, EXPERIMENT, r)) &&
           same(at(t, MODE, c), at(t, MODE, r)) && same(at(t, LAYER, c), at(t, LAYER, r)) &&
           same(at(t, AMOUNT, c), amount) && strcmp(heads_of(t, c), heads_of(t, r)) == 0;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Folds what a column has in the controls of a row that stand under an amount into out. room [n rows] */
static void fold(const table *t, int column, int64_t row, double amount, double *room, rs_view_change *out) {
    int n = 0;
    for (int64_t c = 0; c < t->n; c++)
        if (is_control(t, c, row, amount) && isfinite(at(t, column, c))) room[n++] = at(t, column, c);
    out->controls = n;
    if (n == 0) return;
    qsort(room, (size_t)n, sizeof *room, ascending);
    out->control = 0.5 * (room[(n - 1) / 2] + room[n / 2]);
    out->least = room[0], out->most = room[n - 1];
}

/* first: the column of the change, behind which its interval stands. Bands are of one size and share the controls of
 * the first. */
static rs_view_change change_of(const table *t, int first, int64_t row, double *room) {
    rs_view_change x = {.delta = at(t, first, row), .lo = at(t, first + 1, row), .hi = at(t, first + 2, row)};
    x.control = x.least = x.most = NAN;
    fold(t, first, row, at(t, AMOUNT, row), room, &x);
    if (x.controls == 0) fold(t, first, row, 0.0, room, &x);
    return x;
}

static rs_status keep(const rs_report_view *v, const char *s, const char **out, rs_error *err) {
    return rs_arena_strdup(v->arena, out, s, err);
}

static rs_status take_row(const rs_report_view *v, const table *t, int64_t r, double *room, rs_view_ablation *out,
                          rs_error *err) {
    rs_status st = RS_OK;
    double layer = at(t, LAYER, r), pairs = at(t, PAIRS, r);
    RS_TRY(keep(v, word(t->experiments, at(t, EXPERIMENT, r)), &out->experiment, err));
    RS_TRY(keep(v, word(t->modes, at(t, MODE, r)), &out->mode, err));
    RS_TRY(keep(v, word(t->rankings, (double)r), &out->ranking, err));
    RS_TRY(keep(v, heads_of(t, r), &out->heads, err));
    out->amount = at(t, AMOUNT, r);
    bool named = strcmp(out->experiment, "verdict") == 0 && out->amount >= 0.0 && out->amount < RS_VERDICTS;
    out->amount_name = named ? rs_verdict_name((int)out->amount) : "";
    out->layer = layer >= 0.0 && layer < 1e6 ? (int)layer : -1;
    out->pairs = pairs >= 0.0 && pairs < 1e15 ? (int64_t)pairs : 0;
    out->loss = change_of(t, DELTA, r, room);
    out->accuracy = change_of(t, ACCURACY, r, room);
    RS_TRY(rs_view_ablation_words(v, out, err));
out:
    return st;
}

/* An array [ablation, field] of one kind of change: for formats that know arrays only. */
static rs_status as_array(rs_report_view *v, const char *name, const char *unit, const char *what,
                          const rs_view_change *(*of)(const rs_view_ablation *), rs_error *err) {
    rs_array *a = NULL;
    char text[RS_LONG_NAME_BYTES];
    snprintf(text, sizeof text, "change of %s, its 95 %% interval; median, least, most of the random controls", what);
    rs_status st = rs_arrays_add(&v->derived, &a, err, name, RS_F64, unit, text, 2, "ablation", v->n_ablations, "field",
                                 (int64_t)FIELDS);
    for (int64_t i = 0; st == RS_OK && i < v->n_ablations; i++) {
        const rs_view_change *x = of(&v->ablations[i]);
        const double fields[FIELDS] = {x->delta, x->lo, x->hi, x->control, x->least, x->most};
        memcpy(a->data + i * FIELDS, fields, sizeof fields);
    }
    return st;
}

static const rs_view_change *loss_of(const rs_view_ablation *a) { return &a->loss; }
static const rs_view_change *accuracy_of(const rs_view_ablation *a) { return &a->accuracy; }

static rs_status as_arrays(rs_report_view *v, rs_error *err) {
    if (v->n_ablations == 0) return RS_OK;
    rs_status st = as_array(v, "ablations/delta", "nats", "the loss", loss_of, err);
    return st == RS_OK
               ? as_array(v, "ablations/accuracy", "1", "the share of tokens that are the likeliest", accuracy_of, err)
               : st;
}

rs_status rs_view_read_ablations(rs_report_view *v, rs_store *s, rs_error *err) {
    rs_status st = RS_OK;
    table t = {0};
    double *room = NULL;
    rs_array baseline = {0};
    if (!rs_store_has(s, names[DELTA])) return RS_OK;
    RS_TRY(read_table(v, s, &t, err));
    RS_TRY(rs_store_read(s, "ablation/baseline_nll", &baseline, err));
    v->ablation_sequences = rs_array_size(&baseline);
    RS_TRY(RS_NEW(&room, (size_t)t.n + 1, err));
    RS_TRY(RS_ARENA_NEW(v->arena, &v->ablations, (size_t)t.n + 1, err));
    for (int64_t r = 0; r < t.n; r++)
        if (!isfinite(at(&t, SEED, r))) RS_TRY(take_row(v, &t, r, room, &v->ablations[v->n_ablations++], err));
    RS_TRY(as_arrays(v, err));
out:
    table_deinit(&t);
    rs_array_deinit(&baseline);
    rs_free(room);
    return st;
}

const rs_view_ablation *rs_view_ablation_find(const rs_report_view *v, const char *experiment, const char *mode,
                                              const char *ranking, double amount) {
    for (int64_t i = 0; i < v->n_ablations; i++) {
        const rs_view_ablation *x = &v->ablations[i];
        if (strcmp(x->experiment, experiment) == 0 && strcmp(x->mode, mode) == 0 && same(x->amount, amount) &&
            x->layer < 0 && x->heads[0] == '\0' && (ranking == NULL || strcmp(x->ranking, ranking) == 0))
            return x;
    }
    return NULL;
}
