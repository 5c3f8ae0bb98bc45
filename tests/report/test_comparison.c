/* Comparisons over made-up runs (tests/support/fake_run.h). Means, spreads and intervals are computed here anew from
 * the arrays as the store gives them, by the formulas that the page prints; quantiles of Student's t are those of
 * printed tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "analyzer/base/alloc.h"
#include "analyzer/base/json.h"
#include "data/store.h"
#include "reports/comparison.h"
#include "tests/support/fake_run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[] = "/tmp/rs_comparison_XXXXXX";

/* name, shape it is made from, rotated pairs, context, seed */
static const struct {
    const char *name, *shape;
    int64_t rotated, context;
    uint64_t seed;
} made[] = {
    {"full1", "tiny", 4, 64, 1},        {"full2", "tiny", 4, 64, 2},   {"full3", "tiny", 4, 64, 3},
    {"part1", "tiny", 1, 64, 4},        {"part2", "tiny", 1, 64, 5},   {"nope1", "tiny", 0, 64, 6},
    {"nope2", "tiny", 0, 64, 7},        {"longer", "tiny", 4, 128, 8}, {"wide", "smollm2", 32, 64, 9},
    {"hostile", "hostile", 16, 64, 10},
};
enum { MADE = sizeof made / sizeof *made };

static const char *path_of(const char *name) {
    static char path[16][256];
    static int next;
    char *p = path[next++ % 16];
    snprintf(p, sizeof path[0], "%s/%s.h5", folder, name);
    return p;
}

static int make_runs(void **state) {
    (void)state;
    rs_error err = {0};
    if (mkdtemp(folder) == NULL) return -1;
    for (int i = 0; i < MADE; i++) {
        rs_fake_shape f = *rs_fake_shape_find(made[i].shape);
        f.rotated = made[i].rotated, f.context = made[i].context, f.seed = made[i].seed;
        f.sequences = 4;
        if (strcmp(made[i].shape, "smollm2") == 0) f.layers = 3;
        if (rs_fake_run_write(&f, path_of(made[i].name), &err) != RS_OK) {
            fprintf(stderr, "%s: %s\n", made[i].name, err.message);
            return -1;
        }
    }
    return 0;
}

static int remove_runs(void **state) {
    (void)state;
    for (int i = 0; i < MADE; i++) unlink(path_of(made[i].name));
    return rmdir(folder);
}

static rs_comparison *open_runs(const rs_labelled_run *runs, size_t n) {
    rs_error err = {0};
    rs_comparison *c = NULL;
    if (rs_comparison_open(runs, n, "ropescope test", &c, &err) != RS_OK) fail_msg("%s", err.message);
    return c;
}

static rs_array stored(const char *run, const char *name) {
    rs_error err = {0};
    rs_store *s = NULL;
    rs_array a = {0};
    assert_int_equal(rs_store_open(path_of(run), &s, &err), RS_OK);
    assert_int_equal(rs_store_read(s, name, &a, &err), RS_OK);
    rs_store_close(s);
    return a;
}

static double mean_of_finite(const rs_array *a) {
    double sum = 0.0, n = 0.0;
    for (int64_t i = 0; i < rs_array_size(a); i++)
        if (isfinite(a->data[i])) sum += a->data[i], n += 1.0;
    return sum / n;
}

static double mean_of(const char *run, const char *name) {
    rs_array a = stored(run, name);
    double x = mean_of_finite(&a);
    rs_array_deinit(&a);
    return x;
}

/* Numbers are sums of the same doubles in another order. */
static void assert_same(double a, double b) {
    if (isnan(a) && isnan(b)) return;
    if (!(fabs(a - b) <= 1e-11 * fmax(1.0, fabs(b)))) fail_msg("%.15g, expected %.15g", a, b);
}

/* --- statistics --- */

/* Printed tables of Student's distribution, column 0.975. */
static void quantiles_are_those_of_the_tables(void **state) {
    (void)state;
    const struct {
        int degrees;
        double t, tolerance;
    } table[] = {{1, 12.706, 5e-4}, {2, 4.303, 5e-4},   {4, 2.776, 5e-4},   {5, 2.571, 5e-4},
                 {10, 2.228, 5e-4}, {20, 2.086, 5e-4},  {30, 2.042, 5e-4},  {40, 2.021, 2e-3},
                 {60, 2.000, 2e-3}, {120, 1.980, 2e-3}, {1000, 1.962, 2e-3}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        assert_float_equal((float)rs_student_975(table[i].degrees), (float)table[i].t, (float)table[i].tolerance);
    assert_true(isnan(rs_student_975(0)));
}

static const rs_labelled_run seeds[] = {{"full", "full1"}, {"nope", "nope1"}, {"full", "full2"}, {"part", "part1"},
                                        {"nope", "nope2"}, {"full", "full3"}, {"part", "part2"}};
enum { SEEDS = sizeof seeds / sizeof *seeds };

static rs_comparison *open_seeds(void) {
    rs_labelled_run runs[SEEDS];
    for (int i = 0; i < SEEDS; i++) runs[i] = (rs_labelled_run){seeds[i].label, path_of(seeds[i].path)};
    return open_runs(runs, SEEDS);
}

static void runs_of_one_label_are_one_variant(void **state) {
    (void)state;
    rs_comparison *c = open_seeds();
    assert_int_equal(c->n_variants, 3);
    assert_int_equal(c->n_compared, SEEDS);
    assert_string_equal(c->variants[0].label, "full");
    assert_string_equal(c->variants[1].label, "nope");
    assert_string_equal(c->variants[2].label, "part");
    assert_int_equal(c->variants[0].n_runs, 3);
    assert_int_equal(c->variants[2].n_runs, 2);
    assert_int_equal(c->variants[0].encoding, RS_ENCODING_FULL);
    assert_int_equal(c->variants[1].encoding, RS_ENCODING_NOPE);
    assert_true(c->repeats);
    rs_comparison_close(c);
}

/* s^2 = sum of squares within variants / (3 + 2 + 2 - 3); d +- t(4) s sqrt(1/n + 1/3), t(4) = 2.776. */
static void check_quantity(const rs_comparison *c, const char *key, double (*value)(const char *run)) {
    static const char *const runs[3][3] = {
        {"full1", "full2", "full3"}, {"nope1", "nope2", NULL}, {"part1", "part2", NULL}};
    const int n[] = {3, 2, 2};
    double mean[3] = {0}, squares = 0.0;
    const rs_compared_quantity *q = rs_comparison_quantity(c, key);
    assert_non_null(q);
    for (int v = 0; v < 3; v++) {
        for (int r = 0; r < n[v]; r++) mean[v] += value(runs[v][r]) / n[v];
        for (int r = 0; r < n[v]; r++) squares += pow(value(runs[v][r]) - mean[v], 2);
        assert_same(q->values[v].mean, mean[v]);
    }
    double s = sqrt(squares / 4.0);
    assert_int_equal(q->degrees, 4);
    assert_same(q->spread, s);
    assert_int_equal(q->values[0].verdict, RS_COMPARED_REFERENCE);
    for (int v = 1; v < 3; v++) {
        double width = 2.776 * s * sqrt(1.0 / n[v] + 1.0 / 3.0), d = mean[v] - mean[0];
        assert_same(q->values[v].difference, d);
        assert_same(q->values[v].half_width, width);
        assert_int_equal(q->values[v].verdict, fabs(d) > width ? RS_COMPARED_DIFFERS : RS_COMPARED_WITHIN);
    }
}

static double loss(const char *run) { return mean_of(run, "loss/token_nll"); }
static double first(const char *run) { return mean_of(run, "attention_pattern/first"); }
static double distance(const char *run) { return mean_of(run, "attention_pattern/mean_distance"); }

/* The made-up runs have a head axis without padding, so that the mean over cells is that over heads. */
static void differences_have_intervals_over_seeds(void **state) {
    (void)state;
    rs_comparison *c = open_seeds();
    check_quantity(c, "loss", loss);
    check_quantity(c, "first_mean", first);
    check_quantity(c, "distance_mean", distance);
    rs_comparison_close(c);
}

/* What the verdicts are worth: a value moved by ten times the spread differs, the same values do not. */
static void verdicts_follow_the_interval(void **state) {
    (void)state;
    rs_comparison *c = open_seeds();
    int differs = 0, within = 0;
    for (int i = 0; i < c->n_quantities; i++)
        for (int v = 1; v < c->n_variants; v++) {
            const rs_estimate *e = &c->quantities[i].values[v];
            differs += e->verdict == RS_COMPARED_DIFFERS, within += e->verdict == RS_COMPARED_WITHIN;
            if (e->verdict == RS_COMPARED_DIFFERS) assert_true(fabs(e->difference) > e->half_width);
            if (e->verdict == RS_COMPARED_WITHIN) assert_true(fabs(e->difference) <= e->half_width);
        }
    assert_int_equal(c->n_tests, differs + within);
    assert_int_equal(c->n_beyond, differs);
    /* The made-up norms follow the number of rotated pairs, the made-up attention does not. */
    assert_true(differs > 0 && within > 0);
    rs_comparison_close(c);
}

/* A share of heads that is the same in all runs is still known to one head only: 1/sqrt(12) of it. */
static void counts_of_heads_have_a_resolution(void **state) {
    (void)state;
    rs_comparison *c = open_seeds();
    const double step = 1.0 / 4.0; /* 2 layers of 2 heads */
    for (int i = 0; i < c->n_quantities; i++)
        if (c->quantities[i].quantity->per_head) assert_true(c->quantities[i].spread >= step / sqrt(12.0) - 1e-12);
    rs_comparison_close(c);
}

static void losses_are_paired_by_sequence(void **state) {
    (void)state;
    const rs_labelled_run runs[] = {{"a", path_of("full1")}, {"b", path_of("part1")}};
    rs_comparison *c = open_runs(runs, 2);
    rs_array a = stored("full1", "loss/token_nll"), b = stored("part1", "loss/token_nll");
    assert_int_equal(a.dims[0], 4);
    for (int k = 0; k < c->n_loss_buckets; k++) {
        const rs_loss_difference *d = &c->loss_differences[1][k];
        double x[4], sum = 0.0, squares = 0.0;
        for (int s = 0; s < 4; s++) {
            double part = 0.0;
            for (int64_t t = d->first; t <= d->last; t++) part += b.data[s * 64 + t] - a.data[s * 64 + t];
            x[s] = part / (double)(d->last - d->first + 1);
            sum += x[s];
        }
        for (int s = 0; s < 4; s++) squares += pow(x[s] - sum / 4.0, 2);
        assert_same(d->difference, sum / 4.0);
        assert_same(d->half_width, 3.182 * sqrt(squares / 3.0 / 4.0)); /* t(3) = 3.182 */
    }
    rs_array_deinit(&a);
    rs_array_deinit(&b);
    rs_comparison_close(c);
}

/* --- what cannot be said --- */

static void single_runs_give_no_verdict(void **state) {
    (void)state;
    const rs_labelled_run runs[] = {{"a", path_of("full1")}, {"b", path_of("part1")}};
    rs_comparison *c = open_runs(runs, 2);
    assert_false(c->repeats);
    assert_int_equal(c->n_tests, 0);
    for (int i = 0; i < c->n_quantities; i++) {
        assert_int_equal(c->quantities[i].values[1].verdict, RS_COMPARED_UNKNOWN);
        assert_true(isnan(c->quantities[i].values[1].half_width));
    }
    assert_true(rs_comparison_quantity(c, "loss")->values[1].text_half_width > 0.0);
    assert_non_null(strstr(c->findings[0].text, "no difference between them can be told"));
    rs_comparison_close(c);
}

static void a_run_does_not_differ_from_itself(void **state) {
    (void)state;
    const rs_labelled_run runs[] = {{"a", path_of("full1")}, {"b", path_of("full1")}};
    rs_comparison *c = open_runs(runs, 2);
    for (int i = 0; i < c->n_quantities; i++)
        if (!isnan(c->quantities[i].values[0].mean)) assert_same(c->quantities[i].values[1].difference, 0.0);
    assert_same(rs_comparison_quantity(c, "loss")->values[1].text_half_width, 0.0);
    rs_comparison_close(c);
}

/* Other tokens: shown with the reason, in no number. */
static void other_tokens_are_not_merged(void **state) {
    (void)state;
    const rs_labelled_run runs[] = {{"full", path_of("full1")},
                                    {"full", path_of("full2")},
                                    {"nope", path_of("nope1")},
                                    {"longer", path_of("longer")},
                                    {"full", path_of("longer")}};
    rs_comparison *c = open_runs(runs, 5), *without = open_runs(runs, 3);
    assert_non_null(strstr(c->runs[3].reason, "128 tokens"));
    assert_non_null(strstr(c->runs[4].reason, "128 tokens"));
    assert_string_equal(c->runs[1].reason, "");
    assert_int_equal(c->n_compared, 3);
    assert_int_equal(c->variants[2].n_compared, 0);
    assert_int_equal(c->variants[0].n_runs, 3);
    assert_int_equal(c->variants[0].n_compared, 2);
    for (int i = 0; i < c->n_quantities; i++) {
        const rs_compared_quantity *x = &c->quantities[i], *y = &without->quantities[i];
        assert_same(x->spread, y->spread);
        for (int v = 0; v < 2; v++) assert_same(x->values[v].mean, y->values[v].mean);
        assert_true(isnan(x->values[2].mean));
        assert_int_equal(x->values[2].verdict, RS_COMPARED_UNKNOWN);
    }
    rs_comparison_close(c);
    rs_comparison_close(without);
}

static void refused(const rs_labelled_run *runs, size_t n, rs_status want, const char *words) {
    rs_error err = {0};
    rs_comparison *c = NULL;
    assert_int_equal(rs_comparison_open(runs, n, "ropescope test", &c, &err), want);
    assert_null(c);
    if (strstr(err.message, words) == NULL) fail_msg("\"%s\" does not say \"%s\"", err.message, words);
}

static void what_is_no_repeat_is_refused(void **state) {
    (void)state;
    const rs_labelled_run same[] = {{"x", path_of("full1")}, {"x", path_of("full1")}};
    const rs_labelled_run rotation[] = {{"x", path_of("full1")}, {"x", path_of("part1")}};
    const rs_labelled_run shape[] = {{"x", path_of("full1")}, {"x", path_of("wide")}};
    const rs_labelled_run missing[] = {{"x", path_of("full1")}, {"y", path_of("nothing")}};
    refused(same, 2, RS_E_USAGE, "the same weights");
    refused(rotation, 2, RS_E_USAGE, "other rotations");
    refused(shape, 2, RS_E_USAGE, "other shapes");
    refused(same, 1, RS_E_USAGE, "two runs");
    refused(missing, 2, RS_E_IO, "nothing.h5");
}

/* --- forms --- */

static rs_text render(const rs_labelled_run *runs, size_t n, rs_report_format format) {
    rs_error err = {0};
    rs_text t = {0};
    rs_report_options o = {.format = format, .columns = 80, .program = "ropescope test"};
    if (rs_report_render(runs, n, &o, &t, &err) != RS_OK) fail_msg("%s", err.message);
    return t;
}

#define BAD_LABEL "<img src=x onerror=alert(1)>,\"q\"\n\x1b[31m"
static const char *const bad_label = BAD_LABEL;

static void hostile_labels_stay_text(void **state) {
    (void)state;
    const rs_labelled_run runs[] = {{bad_label, path_of("hostile")}, {"</script>", path_of("full1")}};
    rs_text html = render(runs, 2, RS_REPORT_HTML), text = render(runs, 2, RS_REPORT_TEXT),
            json = render(runs, 2, RS_REPORT_JSON), csv = render(runs, 2, RS_REPORT_CSV);
    rs_error err = {0};
    rs_json *j = NULL;
    assert_null(strstr(html.data, "<img"));
    assert_null(strstr(html.data, "</script>,"));
    assert_null(strchr(text.data, '\x1b'));
    assert_int_equal(rs_json_parse(json.data, json.bytes, "report", &j, &err), RS_OK);
    const rs_json *label = rs_json_get(rs_json_at(rs_json_get(j, "variants"), 0), "label");
    assert_string_equal(rs_json_string(label, NULL), bad_label);
    assert_non_null(strstr(csv.data, "\"<img src=x onerror=alert(1)>,\"\"q\"\"\n"));
    rs_json_free(j);
    rs_text_deinit(&html);
    rs_text_deinit(&text);
    rs_text_deinit(&json);
    rs_text_deinit(&csv);
}

static size_t columns_of(const char *line) {
    size_t n = 0;
    for (; *line != '\0' && *line != '\n'; line++) n += ((unsigned char)*line & 0xc0) != 0x80;
    return n;
}

static void text_fits_a_terminal(void **state) {
    (void)state;
    rs_labelled_run runs[SEEDS];
    for (int i = 0; i < SEEDS; i++) runs[i] = (rs_labelled_run){seeds[i].label, path_of(seeds[i].path)};
    rs_text t = render(runs, SEEDS, RS_REPORT_TEXT);
    for (const char *line = t.data; line != NULL; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        if (columns_of(line) > 80) fail_msg("%zu columns: %.90s", columns_of(line), line);
    rs_text_deinit(&t);
}

static void failing_allocations_are_survived(void **state) {
    (void)state;
    const rs_labelled_run runs[] = {{"a", path_of("full1")}, {"a", path_of("full2")}, {"b", path_of("nope1")}};
    for (int f = RS_REPORT_HTML; f <= RS_REPORT_CSV; f++) {
        uint64_t live = rs_alloc_live();
        for (uint64_t n = 1;; n += n < 50 ? 1 : n / 10) {
            rs_error err = {0};
            rs_text t = {0};
            rs_report_options o = {.format = (rs_report_format)f, .program = "ropescope test"};
            rs_alloc_fail_at(n);
            rs_status st = rs_report_render(runs, 3, &o, &t, &err);
            rs_alloc_fail_at(0);
            if (st != RS_OK) assert_int_equal(st, RS_E_NOMEM);
            rs_text_deinit(&t);
            assert_int_equal(rs_alloc_live(), live);
            if (st == RS_OK) break;
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantiles_are_those_of_the_tables),
        cmocka_unit_test(runs_of_one_label_are_one_variant),
        cmocka_unit_test(differences_have_intervals_over_seeds),
        cmocka_unit_test(verdicts_follow_the_interval),
        cmocka_unit_test(counts_of_heads_have_a_resolution),
        cmocka_unit_test(losses_are_paired_by_sequence),
        cmocka_unit_test(single_runs_give_no_verdict),
        cmocka_unit_test(a_run_does_not_differ_from_itself),
        cmocka_unit_test(other_tokens_are_not_merged),
        cmocka_unit_test(what_is_no_repeat_is_refused),
        cmocka_unit_test(hostile_labels_stay_text),
        cmocka_unit_test(text_fits_a_terminal),
        cmocka_unit_test(failing_allocations_are_survived),
    };
    return cmocka_run_group_tests(tests, make_runs, remove_runs);
}
