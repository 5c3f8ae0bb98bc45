/* tests/unit/test_base.c: the base room. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "analyzer/base/alloc.h"
#include "analyzer/base/arena.h"
#include "analyzer/base/array.h"
#include "analyzer/base/clock.h"
#include "analyzer/base/file.h"
#include "analyzer/base/json.h"
#include "analyzer/base/rng.h"
#include "analyzer/base/text.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static rs_error err;
static char folder[] = "/tmp/ropescope-base-XXXXXX";

static void in_folder(char out[256], const char *name) { snprintf(out, 256, "%s/%s", folder, name); }

static void test_status(void **state) {
    (void)state;
    assert_int_equal(rs_status_exit_code(RS_OK), 0);
    assert_int_equal(rs_status_exit_code(RS_E_IO), 1);
    assert_int_equal(rs_status_exit_code(RS_E_EXISTS), 2);
    assert_int_equal(rs_status_exit_code(RS_E_UNSUPPORTED), 3);
    assert_int_equal(rs_status_exit_code(RS_E_NONFINITE), 4);
    assert_int_equal(rs_status_exit_code(RS_E_CANCELLED), 130);
    assert_string_equal(rs_status_text(RS_E_FORMAT), "malformed input");
    assert_int_equal(rs_fail(&err, RS_E_FORMAT, "%s %d", "field", 7), RS_E_FORMAT);
    rs_error_prefix(&err, "file %d", 1);
    assert_string_equal(err.message, "file 1: field 7");
    assert_int_equal(rs_fail(NULL, RS_E_IO, "nobody listens"), RS_E_IO);
    errno = ENOENT;
    assert_int_equal(rs_fail_errno(&err, "a", "cannot be opened"), RS_E_IO);
    assert_string_equal(err.message, "a: cannot be opened: No such file or directory");
}

static void test_long_message(void **state) {
    (void)state;
    static char big[2 * RS_ERROR_BYTES];
    memset(big, 'x', sizeof big - 1);
    rs_fail(&err, RS_E_FORMAT, "%s", big);
    assert_int_equal(strlen(err.message), RS_ERROR_BYTES - 1);
    assert_true(rs_ends_with(err.message, "x..."));
    rs_error_prefix(&err, "p");
    assert_true(rs_starts_with(err.message, "p: x") && rs_ends_with(err.message, "..."));
    for (size_t i = 0; i + 1 < sizeof big; i++) big[i] = i % 2 == 0 ? '\xC3' : '\xA9';
    rs_fail(&err, RS_E_FORMAT, "%s", big);
    assert_true(rs_utf8_valid(err.message, strlen(err.message), NULL));
}

static void test_alloc(void **state) {
    (void)state;
    uint64_t live = rs_alloc_live();
    double *a = NULL;
    assert_int_equal(RS_NEW(&a, 100, &err), RS_OK);
    assert_int_equal((uintptr_t)a % 64, 0);
    a[99] = 3.0;
    void *block = a;
    assert_int_equal(rs_resize(&block, 100, 1000, sizeof *a, &err), RS_OK);
    a = block;
    assert_true(a[99] > 2.0 && fabs(a[0]) + fabs(a[100]) + fabs(a[999]) < 1e-9);
    rs_alloc_fail_at(2);
    char *s = NULL;
    assert_int_equal(rs_strdup(&s, "one", &err), RS_OK);
    assert_int_equal(rs_resize(&block, 1000, 2000, sizeof *a, &err), RS_E_NOMEM);
    assert_ptr_equal(block, a);
    assert_non_null(strstr(err.message, "16000"));
    assert_string_equal(s, "one");
    rs_free(s);
    rs_free(block);
    assert_int_equal(rs_new(&block, SIZE_MAX / 2, 4, &err), RS_E_NOMEM);
    assert_int_equal(rs_new(&block, SIZE_MAX - 8, 1, &err), RS_E_NOMEM);
    assert_int_equal(rs_new(&block, 0, 4, &err), RS_OK);
    assert_null(block);
    assert_int_equal(rs_alloc_live(), live);
    int64_t product;
    assert_true(rs_mul_i64(INT64_MAX, 1, &product) && product == INT64_MAX);
    assert_false(rs_mul_i64(INT64_MAX / 2, 3, &product));
    assert_false(rs_mul_i64(-1, 3, &product));
}

static void test_arena(void **state) {
    (void)state;
    uint64_t live = rs_alloc_live();
    rs_arena *a = NULL;
    const char *s = NULL, *t = NULL;
    unsigned char *bytes = NULL;
    assert_int_equal(rs_arena_create(&a, &err), RS_OK);
    for (size_t n = 1; n < 300000; n = n * 3 + 1) {
        assert_int_equal(RS_ARENA_NEW(a, &bytes, n, &err), RS_OK);
        assert_int_equal((uintptr_t)bytes % 16, 0);
        for (size_t i = 0; i < n; i++) assert_int_equal(bytes[i], 0);
        memset(bytes, 0xFF, n);
    }
    assert_int_equal(rs_arena_strdup(a, &s, "text", &err), RS_OK);
    assert_int_equal(rs_arena_printf(a, &t, &err, "%s-%d", s, 5), RS_OK);
    assert_string_equal(t, "text-5");
    assert_int_equal(rs_arena_new(a, (void **)&bytes, SIZE_MAX / 2, 3, &err), RS_E_NOMEM);
    rs_alloc_fail_at(1);
    assert_int_equal(RS_ARENA_NEW(a, &bytes, 1000000, &err), RS_E_NOMEM);
    rs_arena_destroy(a);
    rs_arena_destroy(NULL);
    assert_int_equal(rs_alloc_live(), live);
}

static void test_utf8(void **state) {
    (void)state;
    static const char *const bad[] = {
        "\xC0\x80",         "\xC1\xBF",         "\xE0\x80\x80", "\xED\xA0\x80", "\xED\xBF\xBF",
        "\xF0\x80\x80\x80", "\xF4\x90\x80\x80", "\x80",         "\xE2\x82",     "\xFF"};
    size_t at = 0;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_int_equal(rs_utf8_length(bad[i], strlen(bad[i])), 0);
    for (uint32_t c = 0; c <= 0x10FFFF; c++) {
        char out[4];
        uint32_t back = 0;
        if (c >= 0xD800 && c <= 0xDFFF) continue;
        size_t n = rs_utf8_encode(c, out);
        if (rs_utf8_decode(out, n, &back) != n || back != c || rs_utf8_decode(out, n - 1, &back) != 0) fail();
    }
    assert_true(rs_utf8_valid("a\xC3\xA9", 3, NULL));
    assert_false(rs_utf8_valid("ab\xC3", 3, &at));
    assert_int_equal(at, 2);
    assert_int_equal(rs_utf8_length("", 0), 0);
}

static void expect_text(rs_text *t, const char *expected) {
    assert_int_equal(rs_text_status(t, &err), RS_OK);
    assert_string_equal(t->data, expected);
    assert_int_equal(t->bytes, strlen(expected));
    rs_text_deinit(t);
}

static void test_text(void **state) {
    (void)state;
    rs_text t = {0};
    rs_text_json_string(&t, "a\"\\\n\x01<&>\xE2\x80\xA8\xFFz\0y", 15);
    expect_text(&t, "\"a\\\"\\\\\\n\\u0001\\u003c\\u0026\\u003e\\u2028\xEF\xBF\xBDz\\u0000y\"");
    rs_text_html(&t, "<a b='c' d=\"e\">&\xC3\xA9\xC3", 19);
    expect_text(&t, "&lt;a b=&#39;c&#39; d=&quot;e&quot;&gt;&amp;\xC3\xA9\xEF\xBF\xBD");
    rs_text_html(&t, "", 0);
    expect_text(&t, "");
    rs_text_append(&t, "ab");
    for (int i = 0; i < 1000; i++) rs_text_printf(&t, "%03d", i);
    assert_int_equal(t.bytes, 3002);
    assert_true(rs_starts_with(t.data, "ab000001") && rs_ends_with(t.data, "999"));
    rs_alloc_fail_at(1);
    for (int i = 0; i < 5000; i++) rs_text_append(&t, "z");
    assert_int_equal(rs_text_status(&t, &err), RS_E_NOMEM);
    assert_int_equal(t.data[t.bytes], 0);
    rs_text_deinit(&t);
}

static void test_small_text(void **state) {
    (void)state;
    char out[32];
    assert_true(rs_glob_match("", "") && rs_glob_match("*", "") && rs_glob_match("a*c?", "abbcbcd"));
    assert_true(rs_glob_match("layers.*.q_proj", "layers.12.q_proj") && rs_glob_match("?", "\xC3\xA9"));
    assert_false(rs_glob_match("a", "ab") || rs_glob_match("a?", "a") || rs_glob_match("*b", "abc"));
    assert_string_equal(rs_format_bytes(out, 1536), "1.5 KiB");
    assert_string_equal(rs_format_bytes(out, 1023), "1023 B");
    assert_string_equal(rs_format_bytes(out, 1048575), "1.0 MiB");
    assert_string_equal(rs_format_bytes(out, UINT64_MAX), "16.0 EiB");
    assert_string_equal(rs_format_count(out, 1234567), "1,234,567");
    assert_string_equal(rs_format_count(out, -100), "-100");
    assert_string_equal(rs_format_count(out, INT64_MIN), "-9,223,372,036,854,775,808");
}

static rs_status parse(const char *s, rs_json **out) { return rs_json_parse(s, strlen(s), "f.json", out, &err); }

static void test_json(void **state) {
    (void)state;
    rs_json *j = NULL;
    size_t n = 0;
    assert_int_equal(parse("{\"a\": 1, \"b\": [true, null, 2.0, \"x\\u0000y\"]}", &j), RS_OK);
    const rs_json *b = rs_json_get(j, "b");
    assert_int_equal(rs_json_int(rs_json_get(j, "a"), -1), 1);
    assert_int_equal(rs_json_size(b), 4);
    assert_true(rs_json_bool(rs_json_at(b, 0), false) && rs_json_is_null(rs_json_at(b, 1)));
    assert_int_equal(rs_json_int(rs_json_at(b, 2), -1), 2);
    assert_memory_equal(rs_json_string(rs_json_at(b, 3), &n), "x\0y", 3);
    assert_int_equal(n, 3);
    assert_null(rs_json_get(j, "absent"));
    assert_null(rs_json_at(rs_json_get(NULL, "x"), 3));
    assert_string_equal(rs_json_kind_name(NULL), "absent");
    void *cursor = NULL;
    const char *key = NULL;
    assert_non_null(rs_json_next(j, &cursor, &key));
    assert_string_equal(key, "a");
    assert_non_null(rs_json_next(j, &cursor, &key));
    assert_null(rs_json_next(j, &cursor, &key));
    rs_json_free(j);
    rs_json_free(NULL);
}

static void test_json_numbers(void **state) {
    (void)state;
    rs_json *j = NULL;
    assert_int_equal(
        parse(
            "{\"m\": 1000000000000000019884624838656, \"i\": 9007199254740993, \"z\": 9223372036854775807,\n"
            "\"s\": \"NaN -Infinity 99999999999999999999\", \"v\": [NaN, Infinity, -Infinity, -99999999999999999999]}",
            &j),
        RS_OK);
    assert_true(rs_json_is(rs_json_get(j, "m"), RS_JSON_REAL));
    assert_true(fabs(rs_json_real(rs_json_get(j, "m"), 0) / 1e30 - 1) < 1e-12);
    assert_int_equal(rs_json_int(rs_json_get(j, "m"), -5), -5);
    assert_true(rs_json_int(rs_json_get(j, "i"), 0) == INT64_C(9007199254740993));
    assert_true(rs_json_int(rs_json_get(j, "z"), 0) == INT64_MAX);
    assert_string_equal(rs_json_string(rs_json_get(j, "s"), NULL), "NaN -Infinity 99999999999999999999");
    const rs_json *v = rs_json_get(j, "v");
    assert_true(isnan(rs_json_real(rs_json_at(v, 0), 0)));
    assert_true(rs_json_real(rs_json_at(v, 1), 0) > 1e308 && rs_json_real(rs_json_at(v, 2), 0) < -1e308);
    assert_true(rs_json_is_number(rs_json_at(v, 1)) && !rs_json_is_null(rs_json_at(v, 1)));
    assert_true(rs_json_real(rs_json_at(v, 3), 0) < -9e19);
    rs_json_free(j);
    assert_int_equal(parse("NaN", &j), RS_OK);
    assert_true(rs_json_is(j, RS_JSON_REAL));
    rs_json_free(j);
}

static void test_json_errors(void **state) {
    (void)state;
    static const char *const bad[] = {"{\"a\":1,\"a\":2}",
                                      "",
                                      "{",
                                      "[1,]",
                                      "nan",
                                      "[01]",
                                      "\"\xFF\"",
                                      "\"\\ud800\"",
                                      "[1] 2",
                                      "[-NaN]",
                                      "[1NaN]",
                                      "{NaN: 1}",
                                      "[1e999]",
                                      "[\"",
                                      "[\"\\"};
    rs_json *j = NULL;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(parse(bad[i], &j), RS_E_FORMAT);
        assert_null(j);
        assert_true(rs_starts_with(err.message, "f.json: line "));
    }
    assert_int_equal(parse("{\n \"a\": 1,\n \"b\" 2}", &j), RS_E_FORMAT);
    assert_true(rs_starts_with(err.message, "f.json: line 3 column "));
    char deep[1100] = {0};
    memset(deep, '[', 512);
    memset(deep + 512, ']', 512);
    assert_int_equal(parse(deep, &j), RS_OK);
    rs_json_free(j);
    memset(deep, '[', 513);
    assert_int_equal(parse(deep, &j), RS_E_FORMAT);
    assert_non_null(strstr(err.message, "line 1 column 513: nested deeper"));
    assert_int_equal(rs_json_parse("NaN,", 3, "f", &j, &err), RS_OK);
    rs_json_free(j);
}

static void test_json_builders(void **state) {
    (void)state;
    rs_json *o = rs_json_new_object(), *a = rs_json_new_array();
    assert_int_equal(rs_json_append(a, rs_json_new_int(4), &err), RS_OK);
    assert_int_equal(rs_json_append(a, rs_json_new_real((double)NAN), &err), RS_OK);
    assert_int_equal(rs_json_append(a, NULL, &err), RS_E_NOMEM);
    assert_int_equal(rs_json_set(o, "a", a, &err), RS_OK);
    assert_int_equal(rs_json_set(o, "s", rs_json_new_string("\xFF", 1), &err), RS_OK);
    assert_int_equal(rs_json_set(o, "n", NULL, &err), RS_E_NOMEM);
    assert_int_equal(rs_json_int(rs_json_at(rs_json_get(o, "a"), 0), 0), 4);
    assert_true(isnan(rs_json_real(rs_json_at(rs_json_get(o, "a"), 1), 0)));
    assert_string_equal(rs_json_string(rs_json_get(o, "s"), NULL), "\xFF");
    rs_json_free(o);
}

static void test_dtype(void **state) {
    (void)state;
    rs_dtype t;
    int64_t bytes;
    assert_true(rs_dtype_bytes(RS_Q4_K, 512, &bytes) && bytes == 288);
    assert_false(rs_dtype_bytes(RS_Q4_K, 100, &bytes) || rs_dtype_bytes(RS_F64, INT64_MAX, &bytes));
    assert_true(rs_dtype_from_gguf(30, &t) && t == RS_BF16);
    assert_true(rs_dtype_from_gguf(14, &t) && t == RS_Q6_K);
    assert_false(rs_dtype_from_gguf(10, &t) || rs_dtype_from_gguf(UINT32_MAX, &t));
    assert_true(rs_dtype_from_safetensors("BF16", &t) && t == RS_BF16);
    assert_false(rs_dtype_from_safetensors("Q4_0", &t));
}

static void test_array(void **state) {
    (void)state;
    rs_arrays list = {0};
    rs_array *a = NULL;
    char name[RS_NAME_BYTES], long_name[200];
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "x/%d", i);
        assert_int_equal(
            rs_arrays_add(&list, &a, &err, name, RS_F32, "nats", "text", 2, "head", (int64_t)3, "pair", (int64_t)i),
            RS_OK);
    }
    a = rs_arrays_find(&list, "x/7");
    assert_non_null(a);
    assert_int_equal(rs_array_size(a), 21);
    assert_true(isnan(a->data[20]));
    assert_string_equal(a->dim_names[1], "pair");
    assert_null(rs_arrays_find(&list, "x/20"));
    memset(long_name, 'n', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    assert_int_equal(rs_arrays_add(&list, &a, &err, long_name, RS_F32, "1", "t", 0), RS_E_INTERNAL);
    assert_int_equal(rs_arrays_add(&list, &a, &err, "y", RS_F32, "", "t", 0), RS_E_INTERNAL);
    assert_int_equal(rs_arrays_add(&list, &a, &err, "y", RS_Q4_K, "1", "t", 0), RS_E_INTERNAL);
    assert_int_equal(rs_arrays_add(&list, &a, &err, "y", RS_F32, "1", "t", 7), RS_E_INTERNAL);
    assert_int_equal(rs_arrays_add(&list, &a, &err, "y", RS_F32, "1", "t", 2, "a", INT64_MAX, "b", INT64_MAX),
                     RS_E_NOMEM);
    assert_int_equal(list.count, 20);
    assert_int_equal(rs_arrays_add(&list, &a, &err, "y", RS_F64, "1", "t", 0), RS_OK);
    assert_true(rs_array_size(a) == 1 && isnan(a->data[0]));
    rs_arrays_deinit(&list);
}

static void test_file(void **state) {
    (void)state;
    char path[256], bytes[8] = {0}, hex[65], *all = NULL;
    size_t n = 0;
    rs_file *f = NULL;
    in_folder(path, "abc");
    assert_int_equal(rs_output_write(path, false, "abc", 3, &err), RS_OK);
    assert_int_equal(rs_file_open(path, &f, &err), RS_OK);
    assert_int_equal(rs_file_size(f), 3);
    assert_int_equal(rs_file_read(f, 1, bytes, 2, &err), RS_OK);
    assert_string_equal(bytes, "bc");
    assert_int_equal(rs_file_read(f, 3, bytes, 0, &err), RS_OK);
    assert_int_equal(rs_file_read(f, 1, bytes, 3, &err), RS_E_FORMAT);
    assert_int_equal(rs_file_read(f, UINT64_MAX, bytes, 2, &err), RS_E_FORMAT);
    assert_int_equal(rs_file_sha256(f, hex, &err), RS_OK);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    rs_sha256("abc", 3, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(truncate(path, 1), 0);
    assert_int_equal(rs_file_read(f, 0, bytes, 3, &err), RS_E_IO);
    rs_file_close(f);
    assert_int_equal(rs_file_read_all(path, 1, &all, &n, &err), RS_OK);
    assert_string_equal(all, "a");
    rs_free(all);
    assert_int_equal(rs_file_read_all(path, 0, &all, &n, &err), RS_E_FORMAT);
    assert_int_equal(rs_file_open(folder, &f, &err), RS_E_IO);
    assert_int_equal(rs_file_open("/dev/null", &f, &err), RS_E_IO);
    assert_int_equal(unlink(path), 0);
}

static void write_plain(const char *path, const char *s) {
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(s, f);
    fclose(f);
}

static void expect_file(const char *path, const char *expected) {
    char *all = NULL;
    size_t n = 0;
    assert_int_equal(rs_file_read_all(path, 100, &all, &n, &err), RS_OK);
    assert_string_equal(all, expected);
    rs_free(all);
}

static void test_output(void **state) {
    (void)state;
    char path[256], missing[256], *temporary = NULL;
    in_folder(path, "out");
    in_folder(missing, "no/out");
    assert_int_equal(rs_output_prepare(missing, true, &temporary, &err), RS_E_EXISTS);
    assert_int_equal(rs_output_prepare(folder, true, &temporary, &err), RS_E_EXISTS);
    assert_int_equal(rs_output_prepare("", false, &temporary, &err), RS_E_EXISTS);
    assert_int_equal(rs_output_prepare(path, false, &temporary, &err), RS_OK);
    write_plain(temporary, "new");
    write_plain(path, "appeared meanwhile");
    assert_int_equal(rs_output_publish(temporary, path, false, &err), RS_E_EXISTS);
    expect_file(path, "appeared meanwhile");
    assert_false(rs_path_exists(temporary));
    write_plain(temporary, "newer");
    assert_int_equal(rs_output_publish(temporary, path, true, &err), RS_OK);
    expect_file(path, "newer");
    assert_false(rs_path_exists(temporary));
    rs_free(temporary);
    assert_int_equal(rs_output_write(path, false, "x", 1, &err), RS_E_EXISTS);
    assert_int_equal(rs_output_write(path, true, "forced", 6, &err), RS_OK);
    expect_file(path, "forced");
    assert_int_equal(unlink(path), 0);
}

static void test_paths(void **state) {
    (void)state;
    char *path = NULL;
    assert_int_equal(rs_path_join(&path, "a/b", "c", &err), RS_OK);
    assert_string_equal(path, "a/b/c");
    assert_string_equal(rs_path_base(path), "c");
    rs_free(path);
    assert_int_equal(rs_path_join(&path, "/", "c", &err), RS_OK);
    assert_string_equal(path, "/c");
    rs_free(path);
    assert_true(rs_path_is_folder(folder) && rs_path_exists(folder));
}

static void test_rng(void **state) {
    (void)state;
    rs_rng r;
    rs_rng_init(&r, 0);
    assert_true(r.s[0] == UINT64_C(0xE220A8397B1DCDAF) && r.s[1] == UINT64_C(0x6E789E6AA1B965F4));
    r = (rs_rng){{1, 2, 3, 4}}; /* the first outputs of the reference implementation */
    static const uint64_t expected[4] = {11520, 0, 1509978240, 1215971899390074240};
    for (int i = 0; i < 4; i++) assert_true(rs_rng_next(&r) == expected[i]);
    double sum = 0, squares = 0;
    rs_rng_init(&r, 7);
    for (int i = 0; i < 100000; i++) {
        double u = rs_rng_uniform(&r), v = rs_rng_normal(&r);
        int64_t k = rs_rng_below(&r, 3);
        if (u < 0 || u >= 1 || k < 0 || k > 2) fail();
        sum += v;
        squares += v * v;
    }
    assert_true(fabs(sum / 1e5) < 0.02 && fabs(squares / 1e5 - 1) < 0.03);
    assert_int_equal(rs_rng_below(&r, 1), 0);
}

static void test_clock(void **state) {
    (void)state;
    char now[32];
    setenv("SOURCE_DATE_EPOCH", "86400", 1);
    rs_clock_iso8601(now);
    assert_string_equal(now, "1970-01-02T00:00:00Z");
    unsetenv("SOURCE_DATE_EPOCH");
    double start = rs_clock_seconds();
    assert_true(rs_clock_seconds() >= start);
    assert_true(rs_memory_peak() > 1000 && rs_memory_available() > 0);
    assert_false(rs_cancel_requested());
    rs_cancel_request();
    assert_true(rs_cancel_requested());
}

static int make_folder(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    return rmdir(folder); /* fails when a test left something behind */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status),      cmocka_unit_test(test_long_message),  cmocka_unit_test(test_alloc),
        cmocka_unit_test(test_arena),       cmocka_unit_test(test_utf8),          cmocka_unit_test(test_text),
        cmocka_unit_test(test_small_text),  cmocka_unit_test(test_json),          cmocka_unit_test(test_json_numbers),
        cmocka_unit_test(test_json_errors), cmocka_unit_test(test_json_builders), cmocka_unit_test(test_dtype),
        cmocka_unit_test(test_array),       cmocka_unit_test(test_file),          cmocka_unit_test(test_output),
        cmocka_unit_test(test_paths),       cmocka_unit_test(test_rng),           cmocka_unit_test(test_clock),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
