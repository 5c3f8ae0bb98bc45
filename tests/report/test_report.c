/* All formats over made-up runs (tests/support/fake_run.h). What a report says is checked against numbers computed
 * here, from the arrays as the store gives them, by the formulas that the page prints; what the page embeds is decoded
 * here by the definition of binary16. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "analyzer/base/alloc.h"
#include "analyzer/base/json.h"
#include "data/store.h"
#include "reports/report.h"
#include "tests/support/fake_run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[] = "/tmp/rs_report_XXXXXX";

static const char *path_of(const char *name) {
    static char path[4][256];
    static int next;
    char *p = path[next++ % 4];
    snprintf(p, sizeof path[0], "%s/%s.h5", folder, name);
    return p;
}

static int make_runs(void **state) {
    (void)state;
    rs_error err = {0};
    if (mkdtemp(folder) == NULL) return -1;
    for (const rs_fake_shape *f = rs_fake_shapes; f->variant != NULL; f++) {
        if (rs_fake_run_write(f, path_of(f->variant), &err) != RS_OK) {
            fprintf(stderr, "%s: %s\n", f->variant, err.message);
            return -1;
        }
    }
    return 0;
}

static int remove_runs(void **state) {
    static const char *const own[] = {"bare", "empty", "mixed", "noholes", "nocontext", "misshapen"};
    (void)state;
    for (const rs_fake_shape *f = rs_fake_shapes; f->variant != NULL; f++) unlink(path_of(f->variant));
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) unlink(path_of(own[i]));
    return rmdir(folder);
}

/* Renders a run; the text must be freed. */
static rs_text render_columns(const char *variant, rs_report_format format, int columns) {
    rs_error err = {0};
    rs_text t = {0};
    rs_labelled_run run = {NULL, path_of(variant)};
    rs_report_options o = {.format = format, .columns = columns, .program = "ropescope test"};
    rs_status st = rs_report_render(&run, 1, &o, &t, &err);
    if (st != RS_OK) fail_msg("%s: %s", variant, err.message);
    assert_non_null(t.data);
    return t;
}

static rs_text render(const char *variant, rs_report_format format) { return render_columns(variant, format, 0); }

static size_t count_of(const char *in, const char *what) {
    size_t n = 0;
    for (const char *p = in; (p = strstr(p, what)) != NULL; p += strlen(what)) n++;
    return n;
}

static rs_array stored(const char *variant, const char *name) {
    rs_error err = {0};
    rs_store *s = NULL;
    rs_array a = {0};
    assert_int_equal(rs_store_open(path_of(variant), &s, &err), RS_OK);
    assert_int_equal(rs_store_read(s, name, &a, &err), RS_OK);
    rs_store_close(s);
    return a;
}

static rs_json *parse(const rs_text *t) {
    rs_error err = {0};
    rs_json *j = NULL;
    if (rs_json_parse(t->data, t->bytes, "report", &j, &err) != RS_OK) fail_msg("%s", err.message);
    return j;
}

static const rs_json *array_of(const rs_json *root, const char *name) {
    const rs_json *a = rs_json_get(rs_json_get(root, "arrays"), name);
    if (a == NULL) fail_msg("the report has no array %s", name);
    return rs_json_get(a, "data");
}

static double number(const rs_json *list, int64_t i) { return rs_json_real(rs_json_at(list, (size_t)i), NAN); }

/* JSON gives six digits of arrays. */
static void assert_close(double a, double b) {
    if (isnan(a) && isnan(b)) return;
    if (!(fabs(a - b) <= 2e-5 * fabs(b) + 1e-12)) fail_msg("%.9g, expected %.9g", a, b);
}

/* --- the page as a file --- */

static void sizes_stay_under_their_budgets(void **state) {
    (void)state;
    rs_text small = render("smollm2", RS_REPORT_HTML), large = render("8b", RS_REPORT_HTML);
    assert_true(small.bytes < 1000000);
    assert_true(large.bytes < 3000000);
    rs_text_deinit(&small);
    rs_text_deinit(&large);
}

static void same_run_gives_same_bytes(void **state) {
    (void)state;
    for (int f = RS_REPORT_HTML; f <= RS_REPORT_CSV; f++) {
        rs_text a = render("hostile", (rs_report_format)f), b = render("hostile", (rs_report_format)f);
        assert_int_equal(a.bytes, b.bytes);
        assert_memory_equal(a.data, b.data, a.bytes);
        rs_text_deinit(&a);
        rs_text_deinit(&b);
    }
}

static const char *const all_variants[] = {"smollm2", "nope", "partial", "hostile", "tiny"};

/* The first `what` before `end`, or NULL. */
static const char *memmem_text(const char *from, const char *end, const char *what) {
    const char *p = strstr(from, what);
    return p != NULL && p < end ? p : NULL;
}

/* Nothing in the page makes a browser ask for anything: no addresses in attributes but fragments, none in styles;
 * "http" stands only in namespaces of SVG and in the first lines of d3's modules and its licence, which are names. */
static void pages_ask_for_nothing(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof all_variants / sizeof *all_variants; i++) {
        rs_text t = render(all_variants[i], RS_REPORT_HTML);
        assert_int_equal(count_of(t.data, "<script"), 3);
        assert_int_equal(count_of(t.data, "</script"), 3);
        assert_int_equal(count_of(t.data, "<style"), 1);
        assert_int_equal(count_of(t.data, "<link"), 0);
        assert_int_equal(count_of(t.data, "<iframe"), 0);
        assert_int_equal(count_of(t.data, "@import"), 0);
        assert_int_equal(count_of(t.data, "url("), 0);
        assert_int_equal(count_of(t.data, " src=\""), 0);
        assert_int_equal(count_of(t.data, " href=\""), count_of(t.data, " href=\"#"));
        assert_int_equal(count_of(t.data, "http"), count_of(t.data, "http://www.w3.org/") +
                                                       count_of(t.data, "https://d3js.org") +
                                                       count_of(t.data, "http-equiv"));
        assert_non_null(strstr(t.data, "default-src 'none'"));
        assert_null(strstr(t.data, "unsafe"));
        /* No marker of the skeleton is left in the markup, which ends where the data begin. */
        assert_null(memmem_text(t.data, strstr(t.data, "<script"), "{{"));
        rs_text_deinit(&t);
    }
}

static void licence_travels_with_the_library(void **state) {
    (void)state;
    rs_text t = render("tiny", RS_REPORT_HTML);
    assert_non_null(strstr(t.data, "Copyright 2010-2022 Mike Bostock. Licence: BSD-3-Clause"));
    assert_non_null(strstr(t.data, "THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS"));
    rs_text_deinit(&t);
}

/* Rounded products change the last digits: the page says where and how the numbers were made. */
static void device_and_arithmetic_are_named(void **state) {
    (void)state;
    rs_text t = render("tiny", RS_REPORT_HTML);
    assert_non_null(strstr(t.data, "device</th><td>CPU, 2 threads, x86-64-v4<"));
    assert_non_null(strstr(t.data, "products in</th><td>bf16<"));
    rs_text_deinit(&t);
}

static void hostile_names_stay_text(void **state) {
    (void)state;
    rs_text t = render("hostile", RS_REPORT_HTML);
    assert_null(strstr(t.data, "<img"));
    assert_null(strstr(t.data, "</textarea"));
    assert_null(strstr(t.data, "<b>"));
    /* Comments of the page's own text are allowed only in d3, styles and scripts; none opens in the markup. */
    assert_int_equal(count_of(t.data, "<!--"), 0);
    rs_text_deinit(&t);

    t = render("hostile", RS_REPORT_JSON);
    rs_json *j = parse(&t);
    assert_non_null(rs_json_string(rs_json_get(j, "model_name"), NULL));
    rs_json_free(j);
    rs_text_deinit(&t);

    t = render("hostile", RS_REPORT_TEXT);
    for (size_t i = 0; i < t.bytes; i++) assert_true((unsigned char)t.data[i] >= 0x20 || t.data[i] == '\n');
    assert_null(strstr(t.data, "\xc2\x9b")); /* CSI as one character */
    size_t bad;
    assert_true(rs_utf8_valid(t.data, t.bytes, &bad));
    rs_text_deinit(&t);
}

/* --- what the page embeds, decoded by the definitions --- */

static int sextet(char c) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *p = strchr(letters, c);
    return c == '=' || p == NULL ? 0 : (int)(p - letters);
}

/* Bytes of base64 text; returns how many. */
static size_t unbase64(const char *s, size_t n, unsigned char *out) {
    size_t used = 0;
    assert_int_equal(n % 4, 0);
    for (size_t i = 0; i < n; i += 4) {
        unsigned x = (unsigned)(sextet(s[i]) << 18 | sextet(s[i + 1]) << 12 | sextet(s[i + 2]) << 6 | sextet(s[i + 3]));
        out[used++] = (unsigned char)(x >> 16);
        if (s[i + 2] != '=') out[used++] = (unsigned char)(x >> 8 & 255);
        if (s[i + 3] != '=') out[used++] = (unsigned char)(x & 255);
    }
    return used;
}

/* IEEE 754 binary16: (-1)^s 2^(e-15) (1 + m/1024), subnormal 2^-24 m. */
static double unhalf(unsigned h) {
    int e = (int)(h >> 10 & 31);
    double m = h & 1023, x = e == 31 ? NAN : e == 0 ? ldexp(m, -24) : ldexp(1.0 + m / 1024.0, e - 15);
    return h & 0x8000 ? -x : x;
}

static rs_json *payload(const rs_text *page) {
    rs_error err = {0};
    rs_json *j = NULL;
    const char *from = strstr(page->data, "id=\"run\">") + 9, *to = strstr(from, "</script>");
    assert_int_equal(rs_json_parse(from, (size_t)(to - from), "payload", &j, &err), RS_OK);
    return j;
}

/* An array of the page, decoded: its bytes (malloc) and its scale. */
static unsigned char *embedded(const rs_json *root, const char *name, const char *type, size_t *bytes, double *scale) {
    const rs_json *a = rs_json_get(rs_json_get(root, "arrays"), name);
    size_t n;
    const char *text = rs_json_string(rs_json_get(a, "data"), &n);
    unsigned char *out = malloc(n);
    assert_string_equal(rs_json_string(rs_json_get(a, "type"), NULL), type);
    *scale = rs_json_real(rs_json_get(a, "scale"), NAN);
    *bytes = unbase64(text, n, out);
    return out;
}

static void check_halves(const rs_json *root, const char *variant, const char *name) {
    size_t n;
    double scale;
    rs_array want = stored(variant, name);
    unsigned char *bytes = embedded(root, name, "f16", &n, &scale);
    assert_int_equal(n, 2 * rs_array_size(&want));
    for (int64_t i = 0; i < rs_array_size(&want); i++) {
        double x = scale * unhalf((unsigned)bytes[2 * i] | (unsigned)bytes[2 * i + 1] << 8);
        /* Half a unit in the last of eleven bits, while the value is within nine decades of the largest. */
        if (isnan(want.data[i])) assert_true(isnan(x));
        else if (fabs(x - want.data[i]) > fabs(want.data[i]) * 0x1.01p-11 + scale * 0x1p-24)
            fail_msg("%s[%lld] = %g, expected %g", name, (long long)i, x, want.data[i]);
    }
    free(bytes);
    rs_array_deinit(&want);
}

/* 254 sqrt(x / scale). Half a step of the square root: d(x) = 2 sqrt(x scale) / 508 + scale / 508^2. */
static void check_byte(unsigned char byte, double want, double scale) {
    double x = scale * pow(byte / 254.0, 2.0);
    if (isnan(want)) assert_int_equal(byte, 255);
    else if (!(fabs(x - want) <= 2.0 * sqrt(want * scale) / 508.0 + scale / 250000.0))
        fail_msg("%g, expected %g", x, want);
}

static void check_bytes(const rs_json *root, const char *variant, const char *name) {
    size_t n;
    double scale;
    rs_array want = stored(variant, name);
    unsigned char *bytes = embedded(root, name, "u8", &n, &scale);
    assert_int_equal(n, rs_array_size(&want));
    for (size_t i = 0; i < n; i++) check_byte(bytes[i], want.data[i], scale);
    free(bytes);
    rs_array_deinit(&want);
}

/* scale e^(step (b - 254)), nine decades at most: half a step off, and no further. */
static void check_logarithms(const rs_json *root, const char *variant, const char *name) {
    size_t n;
    double scale, step = rs_json_real(rs_json_get(rs_json_get(rs_json_get(root, "arrays"), name), "step"), NAN);
    rs_array want = stored(variant, name);
    unsigned char *bytes = embedded(root, name, "l8", &n, &scale);
    assert_int_equal(n, rs_array_size(&want));
    assert_true(step > 0.0 && step <= log(1e9) / 253.0 * (1.0 + 1e-6));
    for (size_t i = 0; i < n; i++) {
        if (isnan(want.data[i])) assert_int_equal(bytes[i], 255);
        else if (want.data[i] > scale * 1.0001e-9)
            assert_true(fabs(log(scale / want.data[i]) + step * (bytes[i] - 254.0)) <= step * 0.5001);
        else assert_true(bytes[i] <= 1);
    }
    free(bytes);
    rs_array_deinit(&want);
}

static void embedded_arrays_are_the_stored_ones(void **state) {
    (void)state;
    rs_text page = render("smollm2", RS_REPORT_HTML), large = render("8b", RS_REPORT_HTML);
    rs_json *root = payload(&page), *more = payload(&large);
    check_bytes(root, "smollm2", "frequency_norm/q_share");
    check_bytes(root, "smollm2", "frequency_norm/k_share");
    check_halves(root, "smollm2", "moments/zero_cost");
    check_halves(root, "smollm2", "moments/unrotate_cost_sampled");
    check_logarithms(more, "8b", "moments/zero_cost");
    check_logarithms(more, "8b", "moments/unrotate_cost_sampled");
    rs_json_free(root);
    rs_json_free(more);
    rs_text_deinit(&page);
    rs_text_deinit(&large);
}

/* Mean attention of a row of block r to all keys of block c, in n x n blocks of the stored 32 x 32: all have as many
 * rows. */
static double blocks_of(const rs_array *map, int64_t head, int64_t n, int64_t r, int64_t c) {
    double sum = 0.0;
    int64_t each = 32 / n;
    for (int64_t i = r * each; i < (r + 1) * each; i++)
        for (int64_t j = c * each; j < (c + 1) * each; j++) sum += map->data[(head * 32 + i) * 32 + j];
    return sum / (double)each;
}

/* Blocks of the pattern on and below the diagonal; half as many to a side where a page would become large. */
static void check_pattern(const char *variant, int64_t blocks) {
    rs_text page = render(variant, RS_REPORT_HTML);
    rs_json *root = payload(&page);
    size_t n, at = 0;
    double scale;
    rs_array want = stored(variant, "attention_pattern/map");
    unsigned char *bytes = embedded(root, "heads/pattern", "u8", &n, &scale);
    for (int64_t head = 0; head < want.dims[0] * want.dims[1]; head++)
        for (int64_t r = 0; r < blocks; r++)
            for (int64_t c = 0; c <= r; c++, at++) check_byte(bytes[at], blocks_of(&want, head, blocks, r, c), scale);
    assert_int_equal(n, at);
    free(bytes);
    rs_array_deinit(&want);
    rs_json_free(root);
    rs_text_deinit(&page);
}

static void embedded_patterns_are_the_stored_ones(void **state) {
    (void)state;
    check_pattern("hostile", 32);
    check_pattern("smollm2", 16);
}

/* --- derived numbers, computed again --- */

static void maps_are_means_over_heads(void **state) {
    (void)state;
    static const char *const names[][2] = {{"map/q_share", "frequency_norm/q_share"},
                                           {"map/k_share", "frequency_norm/k_share"},
                                           {"map/zero_cost", "moments/zero_cost"},
                                           {"map/k_concentration", "moments/k_concentration"}};
    rs_text t = render("hostile", RS_REPORT_JSON);
    rs_json *root = parse(&t);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        rs_array x = stored("hostile", names[i][1]);
        const rs_json *got = array_of(root, names[i][0]);
        int64_t heads = x.dims[1], pairs = x.dims[2];
        for (int64_t l = 0; l < x.dims[0]; l++)
            for (int64_t p = 0; p < pairs; p++) {
                double sum = 0.0;
                for (int64_t h = 0; h < heads; h++) sum += x.data[(l * heads + h) * pairs + p];
                assert_close(number(got, l * pairs + p), sum / (double)heads);
            }
        rs_array_deinit(&x);
    }
    rs_json_free(root);
    rs_text_deinit(&t);
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* numpy.quantile(x, q), method "linear", by its definition: x[floor(q (n-1))] + fraction of the step to the next. */
static double quantile(const double *sorted, int64_t n, double q) {
    double at = q * (double)(n - 1), below = floor(at);
    int64_t i = (int64_t)below, j = i + 1 < n ? i + 1 : i;
    return sorted[i] * (1.0 - (at - below)) + sorted[j] * (at - below);
}

static void curves_by_frequency_are_order_statistics(void **state) {
    (void)state;
    rs_text t = render("smollm2", RS_REPORT_JSON);
    rs_json *root = parse(&t);
    rs_array x = stored("smollm2", "moments/unrotate_cost");
    const rs_json *got = array_of(root, "by_frequency/unrotate_cost");
    int64_t pairs = x.dims[2], n = x.dims[0] * x.dims[1];
    double *v = malloc((size_t)n * sizeof *v);
    for (int64_t p = 0; p < pairs; p++) {
        double sum = 0.0;
        for (int64_t i = 0; i < n; i++) sum += v[i] = x.data[i * pairs + p];
        qsort(v, (size_t)n, sizeof *v, ascending);
        assert_close(number(got, p), sum / (double)n);
        assert_close(number(got, pairs + p), quantile(v, n, 0.5));
        assert_close(number(got, 2 * pairs + p), quantile(v, n, 0.1));
        assert_close(number(got, 3 * pairs + p), quantile(v, n, 0.9));
    }
    free(v);
    rs_array_deinit(&x);
    rs_json_free(root);
    rs_text_deinit(&t);
}

static void loss_by_position_is_the_mean_of_its_tokens(void **state) {
    (void)state;
    rs_text t = render("smollm2", RS_REPORT_JSON);
    rs_json *root = parse(&t);
    const rs_json *got = array_of(root, "loss/by_position");
    rs_array nll = stored("smollm2", "loss/token_nll");
    int64_t n = (int64_t)rs_json_size(got) / 5, covered = 0;
    for (int64_t b = 0; b < n; b++) {
        int64_t first = (int64_t)number(got, 5 * b), last = (int64_t)number(got, 5 * b + 1);
        double sum = 0.0, means[16] = {0}, mean = 0.0, square = 0.0;
        for (int64_t s = 0; s < nll.dims[0]; s++) {
            for (int64_t p = first; p <= last; p++) means[s] += nll.data[s * nll.dims[1] + p];
            sum += means[s];
            means[s] /= (double)(last - first + 1);
        }
        assert_close(number(got, 5 * b + 2), sum / (double)(nll.dims[0] * (last - first + 1)));
        for (int64_t s = 0; s < nll.dims[0]; s++) mean += means[s] / (double)nll.dims[0];
        for (int64_t s = 0; s < nll.dims[0]; s++) square += (means[s] - mean) * (means[s] - mean);
        double error = sqrt(square / (double)(nll.dims[0] - 1) / (double)nll.dims[0]);
        assert_true(fabs(number(got, 5 * b + 3) - error) < 1e-5 * (1.0 + error));
        assert_int_equal(first, b == 0 ? 1 : (int64_t)number(got, 5 * b - 4) + 1);
        covered += last - first + 1;
    }
    assert_int_equal(covered, nll.dims[1] - 1);
    rs_array_deinit(&nll);
    rs_json_free(root);
    rs_text_deinit(&t);
}

/* The rules as the page prints them, in their order. */
static const char *kind_by_the_rules(const rs_array *a[6], int64_t i, double context) {
    const double *mass = a[5]->data + 7 * i;
    double rest = mass[1] + mass[2] + mass[3] + mass[4] + mass[5] + mass[6];
    if (a[0]->data[i] >= 0.4) return "previous";
    if (a[1]->data[i] >= 0.4) return "diagonal";
    if (a[2]->data[i] >= 0.3) return "induction";
    if (a[3]->data[i] >= 0.3) return "first";
    if (rest > 0 && (mass[1] + mass[2] + mass[3]) / rest >= 0.5) return "local";
    if (a[4]->data[i] >= 0.1 * context) return "diffuse";
    return "mixed";
}

static void heads_are_named_by_the_printed_rules(void **state) {
    (void)state;
    static const char *const names[6] = {"previous", "diagonal",          "induction",
                                         "first",    "effective_context", "distance_mass"};
    rs_text t = render("smollm2", RS_REPORT_JSON);
    rs_json *root = parse(&t);
    const rs_json *kinds = rs_json_get(rs_json_get(root, "heads"), "kind");
    rs_array a[6];
    const rs_array *p[6];
    for (int i = 0; i < 6; i++) {
        char name[64];
        snprintf(name, sizeof name, "attention_pattern/%s", names[i]);
        a[i] = stored("smollm2", name);
        p[i] = &a[i];
    }
    int different = 0;
    for (int64_t i = 0; i < 270; i++) {
        const char *got = rs_json_string(rs_json_at(kinds, (size_t)i), NULL);
        assert_string_equal(got, kind_by_the_rules(p, i, 2048.0));
        different += strcmp(got, "mixed") != 0;
    }
    assert_true(different > 50); /* the made-up run has heads of several kinds, so the comparison says something */
    for (int i = 0; i < 6; i++) rs_array_deinit(&a[i]);
    rs_json_free(root);
    rs_text_deinit(&t);
}

/* 2 * L * R * 4: for SmolLM2's 64 rotated components at 8,192 positions 4 MiB. */
static void cache_bytes_follow_the_formula(void **state) {
    (void)state;
    rs_text t = render("smollm2", RS_REPORT_JSON);
    rs_json *root = parse(&t);
    const rs_json *context = array_of(root, "axis/cache_context"), *bytes = array_of(root, "rope/cache_bytes");
    assert_close(number(context, 1), 8192.0);
    assert_close(number(bytes, 1), 4194304.0);
    rs_json_free(root);
    rs_text_deinit(&t);
    t = render("smollm2", RS_REPORT_HTML);
    assert_non_null(strstr(t.data, "<td>4.0 MiB</td>"));
    rs_text_deinit(&t);
}

/* --- the other formats --- */

static void text_fits_a_terminal(void **state) {
    (void)state;
    static const int widths[] = {80, 100, 60};
    for (size_t i = 0; i < sizeof all_variants / sizeof *all_variants; i++)
        for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
            rs_text t = render_columns(all_variants[i], RS_REPORT_TEXT, widths[w]);
            int lines = 0, most = 0;
            for (const char *p = t.data; *p != '\0';) {
                size_t n = strcspn(p, "\n");
                int shown = 0;
                for (size_t k = 0; k < n; k++) shown += (p[k] & 0xc0) != 0x80;
                /* The table of bands is 80 wide, and a name without blanks cannot be broken. */
                if (strncmp(p, "  ", 2) != 0 && memchr(p, ' ', n) != NULL && strncmp(p, "next:", 5) != 0 &&
                    shown > most)
                    most = shown;
                lines++;
                p += n + (p[n] == '\n');
            }
            if (widths[w] == 80 && lines > 60) fail_msg("%s: %d lines", all_variants[i], lines);
            if (widths[w] >= 80 && most > widths[w]) fail_msg("%s: %d columns of %d", all_variants[i], most, widths[w]);
            rs_text_deinit(&t);
        }
}

static size_t fields(const char *line) {
    size_t n = 1;
    for (; *line != '\n' && *line != '\0'; line++) n += *line == ',';
    return n;
}

static void csv_has_a_row_per_head_and_pair(void **state) {
    (void)state;
    rs_text t = render("hostile", RS_REPORT_CSV);
    rs_array zero = stored("hostile", "moments/zero_cost"), k = stored("hostile", "frequency_norm/k_mean");
    size_t columns = fields(t.data), rows = 0, zero_at = 0, k_at = 0, i = 0;
    char header[2048];
    snprintf(header, sizeof header, "%.*s", (int)strcspn(t.data, "\n"), t.data);
    for (char *p = strtok(header, ","); p != NULL; p = strtok(NULL, ","), i++) {
        if (strcmp(p, "zero_cost") == 0) zero_at = i;
        if (strcmp(p, "k_mean") == 0) k_at = i;
    }
    assert_true(zero_at > 0 && k_at > 0);
    for (const char *line = strchr(t.data, '\n') + 1; *line != '\0'; line = strchr(line, '\n') + 1, rows++) {
        int layer, head, kv, pair;
        double got_zero = NAN, got_k = NAN;
        assert_int_equal(fields(line), columns);
        assert_int_equal(sscanf(line, "%d,%d,%d,%d", &layer, &head, &kv, &pair), 4);
        assert_int_equal(kv, head / 2); /* 4 heads on 2 key heads */
        const char *p = line;
        for (size_t c = 0; c < columns; c++, p = strpbrk(p, ",\n") + 1) {
            if (c == zero_at) got_zero = strtod(p, NULL);
            if (c == k_at) got_k = strtod(p, NULL);
        }
        assert_close(got_zero, zero.data[(layer * 4 + head) * 16 + pair]);
        assert_close(got_k, k.data[(layer * 2 + kv) * 16 + pair]);
    }
    assert_int_equal(rows, 6 * 4 * 16);
    rs_array_deinit(&zero);
    rs_array_deinit(&k);
    rs_text_deinit(&t);
}

static void json_holds_the_facts(void **state) {
    (void)state;
    rs_text t = render("smollm2", RS_REPORT_JSON);
    rs_json *root = parse(&t);
    rs_array nll = stored("smollm2", "loss/token_nll");
    double sum = 0.0, n = 0.0;
    for (int64_t i = 0; i < rs_array_size(&nll); i++)
        if (isfinite(nll.data[i])) sum += nll.data[i], n += 1.0;
    assert_close(rs_json_real(rs_json_get(root, "mean_nll"), NAN), sum / n);
    assert_int_equal(rs_json_int(rs_json_get(root, "context"), 0), 2048);
    assert_int_equal(rs_json_size(rs_json_get(root, "layers")), 30);
    assert_int_equal(rs_json_size(rs_json_get(rs_json_get(root, "heads"), "layer")), 270);
    const rs_json *rope = rs_json_at(rs_json_get(root, "ropes"), 0);
    /* theta_p = base^(-2 p / 64): the last pair of base 100,000. */
    double theta = pow(100000.0, -2.0 * 31.0 / 64.0);
    assert_close(number(rs_json_get(rope, "theta"), 31), theta);
    assert_close(number(rs_json_get(rope, "wavelength"), 31), 2.0 * 3.14159265358979323846 / theta);
    assert_close(number(rs_json_get(rope, "turns"), 0), 2048.0 / (2.0 * 3.14159265358979323846));
    rs_array_deinit(&nll);
    rs_json_free(root);
    rs_text_deinit(&t);
}

/* --- runs that lack something --- */

static void nope_has_no_frequencies(void **state) {
    (void)state;
    rs_text t = render("nope", RS_REPORT_HTML);
    assert_non_null(strstr(t.data, "Nothing rotates in this model"));
    assert_non_null(strstr(t.data, "<h2 id=\"map-t\">Layer by component pair</h2>"));
    assert_non_null(strstr(t.data, "No rotary embedding"));
    assert_null(strstr(t.data, "\"map/unrotate_cost\""));
    assert_null(strstr(t.data, "wavelengths from"));
    rs_json *root = payload(&t);
    const rs_json *wave = rs_json_get(rs_json_at(rs_json_get(root, "ropes"), 0), "wavelength");
    assert_int_equal(rs_json_size(wave), 32);
    for (size_t i = 0; i < 32; i++) assert_true(rs_json_is(rs_json_at(wave, i), RS_JSON_NULL));
    rs_json_free(root);
    rs_text_deinit(&t);
    t = render("nope", RS_REPORT_TEXT);
    assert_non_null(strstr(t.data, "not rotated"));
    rs_text_deinit(&t);
}

static void partial_says_what_is_not_rotated(void **state) {
    (void)state;
    rs_text t = render("partial", RS_REPORT_TEXT);
    assert_non_null(strstr(t.data, "24 of 32 pairs that are not rotated"));
    assert_non_null(strstr(t.data, "8-31      not rotated"));
    rs_text_deinit(&t);
}

#define CHECK(expr) assert_int_equal((expr), RS_OK)

/* A run of the rotary table alone: base[l] = 0 is a layer without rotation. extra: writes more before the end. */
static void write_run(const char *name, int64_t layers, int64_t pairs, const double *base, bool context,
                      void (*extra)(rs_store *s, rs_error *err)) {
    static const char *const arrays[] = {"rope/theta", "rope/component_lo", "rope/component_hi", "rope/region",
                                         "rope/attention_factor"};
    rs_error err = {0};
    rs_store *s = NULL;
    CHECK(rs_store_create(path_of(name), true, &s, &err));
    CHECK(rs_store_set_int(s, "/", "schema_version", RS_SCHEMA_VERSION, &err));
    if (context) CHECK(rs_store_set_int(s, "/", "context", 128, &err));
    CHECK(rs_store_set_int(s, "/", "heads", 2, &err));
    for (int i = 0; i < 5; i++) {
        rs_array a = {0};
        CHECK(rs_array_init(&a, &err, arrays[i], RS_F64, "1", "test", 2, "layer", layers, "pair", pairs));
        for (int64_t l = 0; l < layers; l++)
            for (int64_t p = 0; p < pairs; p++) {
                double theta = base[l] > 0.0 ? pow(base[l], -(double)p / (double)pairs) : 0.0;
                const double values[] = {theta, (double)p, (double)(p + pairs), theta > 0.0 ? 0.0 : 3.0, 1.0};
                a.data[l * pairs + p] = values[i];
            }
        CHECK(rs_store_write(s, &a, &err));
        rs_array_deinit(&a);
    }
    if (extra != NULL) extra(s, &err);
    CHECK(rs_store_commit(s, &err));
}

static const double one_base[] = {10000.0, 10000.0};

static void missing_measures_are_left_out_and_named_once(void **state) {
    (void)state;
    write_run("bare", 2, 4, one_base, true, NULL);
    rs_text t = render("bare", RS_REPORT_HTML);
    assert_null(strstr(t.data, "<figure id="));
    assert_null(strstr(t.data, "<section id=\"map\""));
    assert_null(strstr(t.data, "<section id=\"loss\""));
    assert_null(strstr(t.data, "<section id=\"reliability\""));
    assert_int_equal(count_of(t.data, "Not in this run, and therefore left out:"), 1);
    assert_non_null(strstr(t.data, "norm share, value control, two-norm"));
    rs_text_deinit(&t);
    t = render("bare", RS_REPORT_TEXT);
    assert_non_null(strstr(t.data, "Not in this run"));
    rs_text_deinit(&t);
    t = render("bare", RS_REPORT_JSON);
    rs_json *root = parse(&t);
    assert_true(rs_json_is(rs_json_get(root, "mean_nll"), RS_JSON_NULL));
    rs_json_free(root);
    rs_text_deinit(&t);
    t = render("bare", RS_REPORT_CSV);
    assert_int_equal(count_of(t.data, "\n"), 1 + 2 * 2 * 4);
    rs_text_deinit(&t);
}

/* Arrays without a single number, and one with infinities: padded layers, undefined ratios. */
static void write_holes(rs_store *s, rs_error *err) {
    static const char *const names[] = {"frequency_norm/q_share", "frequency_norm/k_share", "frequency_norm/two_norm",
                                        "moments/zero_cost",      "moments/unrotate_cost",  "moments/zero_cost_sampled",
                                        "moments/q_concentration"};
    static const char *const by_head[] = {"attention_pattern/entropy", "attention_pattern/previous",
                                          "frequency_norm/q_split_half", "moments/fit_zero"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        rs_array a = {0};
        CHECK(rs_array_init(&a, err, names[i], RS_F32, "1", "test", 3, "layer", (int64_t)2, "head", (int64_t)2, "pair",
                            (int64_t)4));
        if (i == 3) a.data[0] = INFINITY, a.data[1] = -INFINITY, a.data[2] = 0.0;
        CHECK(rs_store_write(s, &a, err));
        rs_array_deinit(&a);
    }
    for (size_t i = 0; i < sizeof by_head / sizeof *by_head; i++) {
        rs_array a = {0};
        CHECK(rs_array_init(&a, err, by_head[i], RS_F32, "1", "test", 2, "layer", (int64_t)2, "head", (int64_t)2));
        CHECK(rs_store_write(s, &a, err));
        rs_array_deinit(&a);
    }
}

static void holes_become_null_or_nothing(void **state) {
    (void)state;
    write_run("empty", 2, 4, one_base, true, write_holes);
    rs_text t = render("empty", RS_REPORT_JSON);
    rs_json *root = parse(&t);
    assert_true(rs_json_is(rs_json_at(array_of(root, "moments/zero_cost"), 0), RS_JSON_NULL));
    assert_true(rs_json_is(rs_json_at(array_of(root, "map/q_share"), 0), RS_JSON_NULL));
    rs_json_free(root);
    rs_text_deinit(&t);
    t = render("empty", RS_REPORT_HTML);
    root = payload(&t);
    rs_json_free(root);
    assert_null(strstr(t.data, "<section id=\"reliability\""));
    rs_text_deinit(&t);
    for (int f = RS_REPORT_TEXT; f <= RS_REPORT_CSV; f += 2) {
        t = render("empty", (rs_report_format)f);
        assert_null(strstr(t.data, "nan"));
        assert_null(strstr(t.data, "inf,"));
        rs_text_deinit(&t);
    }
}

static void write_shares(rs_store *s, rs_error *err) {
    rs_array q = {0}, k = {0};
    CHECK(rs_array_init(&q, err, "frequency_norm/q_share", RS_F32, "1", "test", 3, "layer", (int64_t)4, "head",
                        (int64_t)2, "pair", (int64_t)4));
    CHECK(rs_array_init(&k, err, "frequency_norm/k_share", RS_F32, "1", "test", 3, "layer", (int64_t)4, "kv_head",
                        (int64_t)2, "pair", (int64_t)4));
    for (int64_t i = 0; i < 32; i++) q.data[i] = k.data[i] = i % 4 == 3 ? 0.4 : 0.2;
    CHECK(rs_store_write(s, &q, err));
    CHECK(rs_store_write(s, &k, err));
    rs_array_deinit(&q);
    rs_array_deinit(&k);
}

/* Two bases and a layer without rotation: three tables, each with its layers. */
static void layers_with_different_rotations_are_kept_apart(void **state) {
    static const double bases[] = {10000.0, 1000000.0, 10000.0, 0.0};
    (void)state;
    write_run("mixed", 4, 4, bases, true, write_shares);
    rs_text t = render("mixed", RS_REPORT_JSON);
    rs_json *root = parse(&t);
    const rs_json *ropes = rs_json_get(root, "ropes");
    assert_int_equal(rs_json_size(ropes), 3);
    const rs_json *first = rs_json_get(rs_json_at(ropes, 0), "layers"),
                  *third = rs_json_get(rs_json_at(ropes, 2), "layers");
    assert_int_equal(rs_json_size(first), 2);
    assert_int_equal(rs_json_int(rs_json_at(first, 1), -1), 2);
    assert_int_equal(rs_json_int(rs_json_at(third, 0), -1), 3);
    assert_int_equal(rs_json_int(rs_json_get(rs_json_at(ropes, 2), "rotated"), -1), 0);
    rs_json_free(root);
    rs_text_deinit(&t);
    t = render("mixed", RS_REPORT_HTML);
    assert_non_null(strstr(t.data, "Layer 3 does not rotate at all (NoPE)"));
    assert_non_null(strstr(t.data, "Layers 0, 2: the slowest 1 of 4 pairs"));
    assert_non_null(strstr(t.data, "Layer 1: the slowest 1 of 4 pairs"));
    assert_non_null(strstr(t.data, "holds 40% of the query norm"));
    assert_non_null(strstr(t.data, "different tables"));
    rs_text_deinit(&t);
}

/* --- refusals --- */

static void refused(const char *path, rs_status want, const char *words) {
    rs_error err = {0};
    rs_text t = {0};
    rs_report_options o = {.format = RS_REPORT_TEXT, .program = "ropescope test"};
    rs_labelled_run run = {NULL, path};
    assert_int_equal(rs_report_render(&run, 1, &o, &t, &err), want);
    if (strstr(err.message, words) == NULL) fail_msg("\"%s\" does not say \"%s\"", err.message, words);
    rs_text_deinit(&t);
}

static void write_misshapen(rs_store *s, rs_error *err) {
    rs_array a = {0};
    CHECK(rs_array_init(&a, err, "frequency_norm/q_share", RS_F32, "1", "test", 3, "other", (int64_t)5, "head",
                        (int64_t)2, "pair", (int64_t)4));
    CHECK(rs_store_write(s, &a, err));
    rs_array_deinit(&a);
}

static void runs_that_are_not_whole_are_refused(void **state) {
    (void)state;
    rs_error err = {0};
    rs_text t = {0};
    rs_report_options o = {.format = RS_REPORT_TEXT, .program = "ropescope test"};
    assert_int_equal(rs_report_render(NULL, 0, &o, &t, &err), RS_E_USAGE);
    write_run("nocontext", 2, 4, one_base, false, NULL);
    refused(path_of("nocontext"), RS_E_FORMAT, "'context'");
    write_run("misshapen", 2, 4, one_base, true, write_misshapen);
    refused(path_of("misshapen"), RS_E_FORMAT, "expected 2 layers");
    rs_store *s = NULL;
    CHECK(rs_store_create(path_of("noholes"), true, &s, &err));
    CHECK(rs_store_set_int(s, "/", "schema_version", RS_SCHEMA_VERSION, &err));
    CHECK(rs_store_set_int(s, "/", "context", 128, &err));
    CHECK(rs_store_commit(s, &err));
    refused(path_of("noholes"), RS_E_FORMAT, "rope/theta");
}

/* The nth allocation fails, for every n up to fifty and then in growing steps: always an error, never a leak. */
static void failing_allocations_are_survived(void **state) {
    (void)state;
    for (int f = RS_REPORT_HTML; f <= RS_REPORT_CSV; f++) {
        uint64_t live = rs_alloc_live();
        for (uint64_t n = 1;; n += n < 50 ? 1 : n / 10) {
            rs_error err = {0};
            rs_text t = {0};
            rs_labelled_run run = {NULL, path_of("tiny")};
            rs_report_options o = {.format = (rs_report_format)f, .program = "ropescope test"};
            rs_alloc_fail_at(n);
            rs_status st = rs_report_render(&run, 1, &o, &t, &err);
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
        cmocka_unit_test(sizes_stay_under_their_budgets),
        cmocka_unit_test(same_run_gives_same_bytes),
        cmocka_unit_test(pages_ask_for_nothing),
        cmocka_unit_test(licence_travels_with_the_library),
        cmocka_unit_test(device_and_arithmetic_are_named),
        cmocka_unit_test(hostile_names_stay_text),
        cmocka_unit_test(embedded_arrays_are_the_stored_ones),
        cmocka_unit_test(embedded_patterns_are_the_stored_ones),
        cmocka_unit_test(maps_are_means_over_heads),
        cmocka_unit_test(curves_by_frequency_are_order_statistics),
        cmocka_unit_test(loss_by_position_is_the_mean_of_its_tokens),
        cmocka_unit_test(heads_are_named_by_the_printed_rules),
        cmocka_unit_test(cache_bytes_follow_the_formula),
        cmocka_unit_test(text_fits_a_terminal),
        cmocka_unit_test(csv_has_a_row_per_head_and_pair),
        cmocka_unit_test(json_holds_the_facts),
        cmocka_unit_test(nope_has_no_frequencies),
        cmocka_unit_test(partial_says_what_is_not_rotated),
        cmocka_unit_test(missing_measures_are_left_out_and_named_once),
        cmocka_unit_test(holes_become_null_or_nothing),
        cmocka_unit_test(layers_with_different_rotations_are_kept_apart),
        cmocka_unit_test(runs_that_are_not_whole_are_refused),
        cmocka_unit_test(failing_allocations_are_survived),
    };
    return cmocka_run_group_tests(tests, make_runs, remove_runs);
}
