/* tests/unit/test_corpus.c: asserts that texts are cut into the windows that data/corpus.h describes (BOS,
 * left-over tokens, no window over two files), that id files are taken as they are, and that wrong ones are refused by
 * file and line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/container_files.h"

#include "analyzer/base/alloc.h"
#include "data/corpus.h"

#include <stdio.h>
#include <string.h>

static rs_error err;

/* Letters are ids 0..9; <s> is 10 and the BOS, added or not. */
static rs_tokenizer *letters(bool adds_bos, bool has_bos) {
    char json[1024];
    rs_tokenizer *t = NULL;
    snprintf(
        json, sizeof json,
        "{\"model\": {\"type\": \"BPE\", \"merges\": [], \"vocab\": {\"a\": 0, \"b\": 1, \"c\": 2, \"d\": 3, \"e\": "
        "4, \"f\": 5, \"g\": 6, \"h\": 7, \"i\": 8, \"j\": 9}}, \"added_tokens\": [{\"id\": 10, \"content\": "
        "\"<s>\", \"special\": true, \"normalized\": false}]}");
    files_write_text("tokenizer.json", json);
    snprintf(json, sizeof json, "{\"bos_token\": %s, \"add_bos_token\": %s}", has_bos ? "\"<s>\"" : "null",
             adds_bos ? "true" : "false");
    files_write_text("tokenizer_config.json", json);
    if (rs_tokenizer_open(NULL, files_path("tokenizer.json"), &t, &err) != RS_OK) fail_msg("%s", err.message);
    return t;
}

static void check_ids(const rs_corpus *c, const int32_t *expected, size_t n) {
    assert_int_equal(c->sequences * c->context, n);
    for (size_t i = 0; i < n; i++) assert_int_equal(c->ids[i], expected[i]);
}

static void test_windows(void **state) {
    (void)state;
    const char *paths[] = {files_write_text("one.txt", "abcdefgh"), files_write_text("two.txt", "ij"),
                           files_write_text("three.txt", "jihgfed")};
    rs_tokenizer *t = letters(false, true);
    rs_corpus c;
    assert_int_equal(rs_corpus_from_text(t, paths, 3, 3, 0, RS_BOS_AUTO, &c, &err), RS_OK);
    check_ids(&c, (const int32_t[]){0, 1, 2, 3, 4, 5, 9, 8, 7, 6, 5, 4}, 12);
    assert_false(c.bos);
    assert_int_equal(c.file_count, 3);
    assert_string_equal(c.files[0].path, paths[0]);
    const int64_t expected[3][4] = {{8, 8, 2, 2}, {2, 2, 0, 2}, {7, 7, 2, 1}}; /* bytes, tokens, windows, left over */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(c.files[i].bytes, expected[i][0]);
        assert_int_equal(c.files[i].tokens, expected[i][1]);
        assert_int_equal(c.files[i].windows, expected[i][2]);
        assert_int_equal(c.files[i].left_over, expected[i][3]);
    }
    rs_corpus_deinit(&c);
    assert_int_equal(rs_corpus_from_text(t, paths, 3, 3, 1, RS_BOS_AUTO, &c, &err), RS_OK);
    check_ids(&c, (const int32_t[]){0, 1, 2}, 3);
    assert_int_equal(c.file_count, 1); /* enough windows: the others were not read */
    assert_int_equal(c.files[0].tokens, 8);
    assert_int_equal(c.files[0].left_over, 5);
    rs_corpus_deinit(&c);
    rs_tokenizer_close(t);
}

static void test_bos(void **state) {
    (void)state;
    const char *paths[] = {files_write_text("one.txt", "abcde")};
    rs_tokenizer *t = letters(true, true);
    rs_corpus c;
    assert_int_equal(rs_corpus_from_text(t, paths, 1, 3, 0, RS_BOS_AUTO, &c, &err), RS_OK);
    check_ids(&c, (const int32_t[]){10, 0, 1, 10, 2, 3}, 6);
    assert_true(c.bos);
    assert_int_equal(c.files[0].tokens, 5);
    assert_int_equal(c.files[0].windows, 2);
    assert_int_equal(c.files[0].left_over, 1);
    rs_corpus_deinit(&c);
    assert_int_equal(rs_corpus_from_text(t, paths, 1, 3, 0, RS_BOS_NO, &c, &err), RS_OK);
    check_ids(&c, (const int32_t[]){0, 1, 2}, 3);
    rs_corpus_deinit(&c);
    /* already a prompt: the BOS is written out */
    paths[0] = files_write_text("prompt.txt", "<s>abcde");
    assert_int_equal(rs_corpus_from_text(t, paths, 1, 3, 0, RS_BOS_AUTO, &c, &err), RS_E_FORMAT);
    assert_non_null(strstr(err.message, "prompt.txt"));
    assert_non_null(strstr(err.message, "<s>"));
    assert_null(c.ids);
    rs_tokenizer_close(t);
    t = letters(false, false);
    paths[0] = files_path("one.txt");
    assert_int_equal(rs_corpus_from_text(t, paths, 1, 3, 0, RS_BOS_YES, &c, &err), RS_E_USAGE);
    assert_int_equal(rs_corpus_from_text(t, paths, 1, 1, 0, RS_BOS_NO, &c, &err), RS_E_USAGE);
    rs_tokenizer_close(t);
}

static void test_bad_texts(void **state) {
    (void)state;
    const char *paths[] = {files_write_text("short.txt", "abc"), files_write_text("bad.txt", "abcdef\xFFgh"),
                           files_path("absent.txt")};
    rs_tokenizer *t = letters(true, true);
    rs_corpus c;
    assert_int_equal(rs_corpus_from_text(t, paths, 1, 5, 0, RS_BOS_AUTO, &c, &err), RS_E_FORMAT);
    assert_non_null(strstr(err.message, "short.txt"));
    assert_non_null(strstr(err.message, "found 3 tokens"));
    assert_non_null(strstr(err.message, "at least 4"));
    assert_int_equal(rs_corpus_from_text(t, paths, 2, 5, 0, RS_BOS_AUTO, &c, &err), RS_E_FORMAT);
    assert_non_null(strstr(err.message, "bad.txt: byte 0xFF at offset 6"));
    assert_int_equal(rs_corpus_from_text(t, paths + 2, 1, 5, 0, RS_BOS_AUTO, &c, &err), RS_E_IO);
    assert_int_equal(rs_corpus_from_text(t, paths, 0, 5, 0, RS_BOS_AUTO, &c, &err), RS_E_USAGE);
    rs_corpus_deinit(&c);
    rs_corpus_deinit(NULL);
    rs_tokenizer_close(t);
}

static void test_ids(void **state) {
    (void)state;
    rs_corpus c;
    const char *path = files_write_text("ids.txt", "1 2 3 300\r\n  4\t5 70000 7 \n8 9 10 11\n\n \n");
    assert_int_equal(rs_corpus_from_ids(path, 70001, 0, 0, &c, &err), RS_OK);
    check_ids(&c, (const int32_t[]){1, 2, 3, 300, 4, 5, 70000, 7, 8, 9, 10, 11}, 12);
    assert_int_equal(c.context, 4);
    assert_int_equal(c.file_count, 1);
    assert_int_equal(c.files[0].tokens, 12);
    assert_int_equal(c.files[0].left_over, 0);
    /* python3: hashlib.sha256(struct.pack("<12i", 1, 2, 3, 300, 4, 5, 70000, 7, 8, 9, 10, 11)).hexdigest() */
    assert_string_equal(c.sha256, "59f02fd53bb30e24efdc6ba3684e068f0d730bc52d86cc78743417f4bce6121e");
    rs_corpus_deinit(&c);
    assert_int_equal(rs_corpus_from_ids(path, 70001, 4, 2, &c, &err), RS_OK);
    assert_int_equal(c.sequences, 2);
    assert_int_equal(c.files[0].tokens, 12);
    assert_int_equal(c.files[0].left_over, 4);
    rs_corpus_deinit(&c);
}

static void test_bad_ids(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t context;
        const char *words;
    } cases[] = {
        {"1 2\n3 x4\n", 0, "line 2: found 'x4'"},
        {"1 2\n3 4.5\n", 0, "line 2: found '4.5'"},
        {"1,2,3\n", 0, "line 1: found '1,2,3'"},
        {"1 \x01\xC3\xA9\n", 0, "line 1: found '\?\?\?'"},
        {"1 2\n\n3 4\n", 0, "line 2: found 0 ids"},
        {"1 2\n3 100\n", 0, "line 2: found id 100, expected 0..99"},
        {"1 2\n3 -1\n", 0, "line 2: found id -1, expected 0..99"},
        {"1 99999999999999999999999999999999\n", 0, "line 1: found id 99999999999999999999999999999999, expected"},
        {"1 4294967297\n", 0, "line 1: found id 4294967297"},
        {"1 2 3\n4 5\n", 0, "line 2: found 2 ids, expected 3 as in line 1"},
        {"1 2\n3 4 5\n", 0, "line 2: found 3 ids, expected 2"},
        {"1 2 3\n", 4, "line 1: found 3 ids, expected 4 as --context says"},
        {"7\n", 0, "line 1: found 1 ids, expected at least 2"},
        {"", 0, "holds no token ids"},
        {" \n\n", 0, "holds no token ids"},
        {"- 1\n", 0, "line 1: found '-'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rs_corpus c;
        const char *path = files_write_text("bad_ids.txt", cases[i].text);
        rs_status st = rs_corpus_from_ids(path, 100, cases[i].context, 0, &c, &err);
        if (st != RS_E_FORMAT || !strstr(err.message, cases[i].words) || !strstr(err.message, path))
            fail_msg("found '%s', expected '..%s..'", st == RS_OK ? "ok" : err.message, cases[i].words);
        assert_null(c.ids);
    }
    rs_corpus c;
    assert_int_equal(rs_corpus_from_ids(files_path("absent.txt"), 100, 0, 0, &c, &err), RS_E_IO);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_windows), cmocka_unit_test(test_bos),     cmocka_unit_test(test_bad_texts),
        cmocka_unit_test(test_ids),     cmocka_unit_test(test_bad_ids),
    };
    return cmocka_run_group_tests(tests, files_group_begin, files_group_end);
}
