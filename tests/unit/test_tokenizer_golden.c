/* tests/unit/test_tokenizer_golden.c: asserts that token ids equal those of others: of Hugging Face's `tokenizers` and
 * Google's SentencePiece on the small vocabularies of tests/golden/tokenizers (made by make_tokenizer_cases.py there),
 * and the published vectors of llama.cpp where ROPESCOPE_TEST_DATA has them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/container_files.h"
#include "tests/support/vocabulary_file.h"

#include "analyzer/base/alloc.h"
#include "analyzer/base/file.h"
#include "analyzer/base/json.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static rs_error err;

/* ---- tests/golden/tokenizers ---- */

static rs_json *must_read(const char *path) {
    rs_json *j = NULL;
    if (rs_json_read_file(path, (size_t)1 << 26, &j, &err) != RS_OK) fail_msg("%s", err.message);
    return j;
}

enum { MOST_TOKENS = 4096 };

/* NAME.vocabulary.json as a GGUF file. GGUF has the spaces of user-defined tokens as spaces. */
static const char *gguf_of(const char *path) {
    static const char *tokens[MOST_TOKENS];
    static float scores[MOST_TOKENS];
    static int32_t types[MOST_TOKENS];
    rs_json *j = must_read(path);
    size_t n = rs_json_size(rs_json_get(j, "tokens"));
    assert_true(n <= MOST_TOKENS);
    for (size_t i = 0; i < n; i++) {
        tokens[i] = rs_json_string(rs_json_at(rs_json_get(j, "tokens"), i), NULL);
        scores[i] = (float)rs_json_real(rs_json_at(rs_json_get(j, "scores"), i), 0);
        types[i] = (int32_t)rs_json_int(rs_json_at(rs_json_get(j, "types"), i), 0);
    }
    bool prefix = rs_json_bool(rs_json_get(j, "add_space_prefix"), true);
    const vocabulary v = {.model = "llama",
                          .tokens = tokens,
                          .count = n,
                          .scores = scores,
                          .types = types,
                          .add_space_prefix = prefix ? 0 : -1};
    rs_text b = {0};
    put_vocabulary_gguf(&b, &v);
    const char *file = files_write("vocabulary.gguf", b.data, b.bytes);
    rs_text_deinit(&b);
    rs_json_free(j);
    return file;
}

static void check_cases(const char *folder, const char *name) {
    char path[1200];
    rs_tokenizer *t = NULL;
    snprintf(path, sizeof path, "%s/%s.tokenizer.json", folder, name);
    const bool is_json = rs_path_exists(path);
    if (!is_json) snprintf(path, sizeof path, "%s/%s.vocabulary.json", folder, name);
    if (rs_tokenizer_open(NULL, is_json ? path : gguf_of(path), &t, &err) != RS_OK) fail_msg("%s", err.message);
    snprintf(path, sizeof path, "%s/%s.cases.json", folder, name);
    rs_json *cases = must_read(path);
    assert_true(rs_json_size(cases) > 20);
    for (size_t i = 0; i < rs_json_size(cases); i++) {
        const rs_json *c = rs_json_at(cases, i);
        size_t n = 0;
        const char *text = rs_json_string(rs_json_get(c, "text"), &n);
        const char *expected = ids_of_json(rs_json_get(c, "ids"));
        const char *found = ids_of_bytes(t, text, n, rs_json_bool(rs_json_get(c, "special"), false));
        if (strcmp(found, expected) != 0)
            fail_msg("%s: case %zu '%s': found %s, expected %s", name, i, text, found, expected);
    }
    rs_json_free(cases);
    rs_tokenizer_close(t);
}

static void test_golden(void **state) {
    (void)state;
    char folder[1024];
    int found = 0;
    const char *source = getenv("RS_SOURCE_DIR");
    snprintf(folder, sizeof folder, "%s/tests/golden/tokenizers", source ? source : ".");
    DIR *d = opendir(folder);
    if (!d) fail_msg("%s: no such folder; RS_SOURCE_DIR names the source tree", folder);
    for (struct dirent *item = readdir(d); item; item = readdir(d)) {
        if (!rs_ends_with(item->d_name, ".cases.json")) continue;
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)(strlen(item->d_name) - strlen(".cases.json")), item->d_name);
        check_cases(folder, name);
        found++;
    }
    closedir(d);
    assert_true(found >= 20);
}

/* ---- Published vectors ---- */

static const char separator[] = "\n__ggml_vocab_test__\n";

/* base.inp: texts, each with the separator behind it; base.out: a line of ids per text, without BOS. */
static void check_vectors(const char *data, const char *tokenizer, const char *vectors) {
    char path[1200];
    char *texts = NULL;
    char *expected = NULL;
    size_t n = 0;
    size_t m = 0;
    rs_tokenizer *t = NULL;
    snprintf(path, sizeof path, "%s/tokenizers/%s", data, tokenizer);
    if (rs_tokenizer_open(NULL, path, &t, &err) != RS_OK) fail_msg("%s", err.message);
    snprintf(path, sizeof path, "%s/tokenizers/vectors/ggml-vocab-%s.gguf.inp", data, vectors);
    if (rs_file_read_all(path, 1 << 20, &texts, &n, &err) != RS_OK) fail_msg("%s", err.message);
    snprintf(path, sizeof path, "%s/tokenizers/vectors/ggml-vocab-%s.gguf.out", data, vectors);
    if (rs_file_read_all(path, 1 << 20, &expected, &m, &err) != RS_OK) fail_msg("%s", err.message);
    char *line = expected;
    int count = 0;
    for (char *text = texts, *end = strstr(text, separator); end;
         text = end + strlen(separator), end = strstr(text, separator)) {
        char *next = line + strcspn(line, "\n");
        assert_true(next < expected + m);
        char *trimmed = next;
        while (trimmed > line && trimmed[-1] == ' ') trimmed--;
        *trimmed = *end = '\0';
        const char *found = ids_of(t, text, false);
        if (strcmp(found, line + strspn(line, " ")) != 0)
            fail_msg("%s: '%s': found %s, expected %s", tokenizer, text, found, line);
        line = next + 1;
        count++;
    }
    assert_int_equal(count, 46);
    rs_free(texts);
    rs_free(expected);
    rs_tokenizer_close(t);
}

static void test_vectors(void **state) {
    (void)state;
    static const char *const runs[][2] = {
        {"vectors/ggml-vocab-gpt-2.gguf", "gpt-2"},
        {"vectors/ggml-vocab-mpt.gguf", "mpt"},
        {"vectors/ggml-vocab-deepseek-llm.gguf", "deepseek-llm"},
        {"vectors/ggml-vocab-llama-spm.gguf", "llama-spm"},
        {"gpt-neox/20B_tokenizer.json", "mpt"},
        {"qwen3", "qwen2"},
    };
    const char *data = getenv("ROPESCOPE_TEST_DATA");
    if (!data) skip();
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) check_vectors(data, runs[i][0], runs[i][1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_vectors),
    };
    return cmocka_run_group_tests(tests, files_group_begin, files_group_end);
}
