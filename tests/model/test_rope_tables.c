/* Rotary tables against those of Hugging Face transformers, for every family in the spelling of transformers 4 and 5.
 * Expected values: tests/golden/rope_tables.tsv, written by rope_tables.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "analyzer/base/alloc.h"
#include "analyzer/base/file.h"
#include "tests/support/model_case.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* transformers computes base^(i/d) in float32: the exponent alone is rounded by 2^-24 relative, which the power
 * multiplies by up to ln(base) = 14.5 (8.6e-7 for base 2e6). A wrong exponent, width or base is off by more than 1e-2.
 */
static const double TOLERANCE = 1e-6;
/* Attention factors are computed in double there. */
static const double FACTOR_TOLERANCE = 1e-12;

enum { COLUMNS = 6, MOST_PAIRS = 64 };

static char *table; /* the file; rows are cut into columns while reading */

static int setup(void **state) {
    rs_error err = {0};
    char path[1024];
    size_t n = 0;
    const char *source = getenv("RS_SOURCE_DIR");
    (void)state;
    snprintf(path, sizeof path, "%s/tests/golden/rope_tables.tsv", source ? source : ".");
    if (rs_file_read_all(path, 1 << 20, &table, &n, &err) != RS_OK) fail_msg("%s", err.message);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    rs_free(table);
    return 0;
}

/* Splits the row at *rest at its tabs; false at the end. The text is changed back by the caller's copy. */
static bool next_row(char **rest, char *column[COLUMNS]) {
    if (!**rest) return false;
    char *row = *rest, *end = strchr(row, '\n');
    *rest = end ? end + 1 : row + strlen(row);
    if (end) *end = '\0';
    for (int i = 0; i < COLUMNS; i++) {
        column[i] = row;
        char *tab = row ? strchr(row, '\t') : NULL;
        if (tab) *tab = '\0';
        row = tab ? tab + 1 : NULL;
    }
    return true;
}

static int numbers(const char *list, double out[MOST_PAIRS]) {
    int n = 0;
    while (*list) {
        char *end = NULL;
        assert_true(n < MOST_PAIRS);
        out[n++] = strtod(list, &end);
        assert_true(end != list);
        list = *end == ',' ? end + 1 : end;
    }
    return n;
}

static void check_pair(const rs_rope *r, const char *name, int lo, int hi, double theta, double factor) {
    int f = model_case_pair(r, lo);
    if (f < 0 || r->hi_hf[f] != hi) fail_msg("%s: no pair (%d, %d)", name, lo, hi);
    if (!(fabs(r->theta[f] - theta) <= TOLERANCE * theta))
        fail_msg("%s: pair (%d, %d): theta %.9g, expected %.9g", name, lo, hi, r->theta[f], theta);
    if (!(fabs(r->factor[f] - factor) <= FACTOR_TOLERANCE * factor))
        fail_msg("%s: pair (%d, %d): attention factor %.17g, expected %.17g", name, lo, hi, r->factor[f], factor);
}

/* inv_freq entry i turns components i and i + n. What lies behind 2n is passed by: u_j pairs with u_{j+m}. */
static void check_layer(const rs_rope *r, const char *name, double context, double factor, const char *list) {
    double inv_freq[MOST_PAIRS];
    int n = strcmp(list, "none") == 0 ? 0 : numbers(list, inv_freq), m = r->n_pairs - n, turning = 0;
    for (int i = 0; i < n; i++) {
        bool rests = inv_freq[i] * context < 1e-9; /* 1e30 divisors; everything else in the file turns visibly */
        turning += !rests;
        check_pair(r, name, i, i + n, rests ? 0 : inv_freq[i], factor);
    }
    for (int j = 0; j < m; j++) check_pair(r, name, 2 * n + j, 2 * n + j + m, 0, 1);
    assert_int_equal(r->n_rotated, turning);
    for (int f = 1; f < r->n_pairs; f++) assert_true(r->theta[f] <= r->theta[f - 1]);
}

static void check_config(model_case *m, const char *name, const char *spelling, const char *config) {
    char *copy = strdup(table), *rest = copy, *c[COLUMNS], label[160];
    int layers = 0;
    assert_non_null(copy);
    while (next_row(&rest, c)) {
        if (strcmp(c[0], "layer") != 0 || strcmp(c[1], name) != 0) continue;
        int layer = atoi(c[2]);
        rs_graph_options o = {.context = atoi(c[3])};
        snprintf(label, sizeof label, "%s (%s), layer %d", name, spelling, layer);
        if (layer == 0 && model_case_hf(m, config, NULL, 0, &o) != RS_OK) fail_msg("%s: %s", label, m->error.message);
        assert_true(layer < m->graph->n_layers);
        check_layer(&m->graph->layers[layer].rope, label, (double)o.context, atof(c[4]), c[5]);
        layers++;
    }
    assert_int_equal(layers, m->graph->n_layers);
    free(copy);
}

static void test_all(void **state) {
    (void)state;
    char *copy = strdup(table), *rest = copy, *c[COLUMNS];
    int configs = 0;
    model_case m;
    model_case_begin(&m);
    assert_non_null(copy);
    while (next_row(&rest, c)) {
        if (strcmp(c[0], "config") != 0) continue;
        check_config(&m, c[1], c[2], c[3]);
        configs++;
    }
    assert_true(configs >= 2 * 30);
    free(copy);
    model_case_end(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
