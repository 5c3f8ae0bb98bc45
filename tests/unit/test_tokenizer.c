/* tests/unit/test_tokenizer.c: asserts that merges happen in the order worked out by hand, that bytes, special and
 * added tokens and BOS follow their rules, and that what is unknown is refused by name and what is broken as malformed.
 * What Hugging Face makes of real shapes of tokenizers is in test_tokenizer_golden.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/container_files.h"
#include "tests/support/vocabulary_file.h"

#include "analyzer/base/alloc.h"
#include "analyzer/base/clock.h"
#include "data/tokenizer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static rs_error err;

static rs_tokenizer *must_open(const char *path) {
    rs_tokenizer *t = NULL;
    if (rs_tokenizer_open(NULL, path, &t, &err) != RS_OK) fail_msg("%s", err.message);
    return t;
}

static rs_tokenizer *must_open_json(const char *json) {
    files_write_text("tokenizer_config.json", "{}");
    return must_open(files_write_text("tokenizer.json", json));
}

static void check_no_tokenizer(const char *path, rs_status expected, const char *words) {
    rs_tokenizer *t = NULL;
    rs_status st = rs_tokenizer_open(NULL, path, &t, &err);
    if (st != expected || !strstr(err.message, words))
        fail_msg("found '%s: %s', expected '%s: ..%s..'", rs_status_text(st), st ? err.message : "",
                 rs_status_text(expected), words);
    assert_null(t);
}

/* ---- Merges ---- */

#define LETTERS "\"a\": 0, \"b\": 1, \"c\": 2, \"ab\": 3, \"bc\": 4, \"abc\": 5, \"aa\": 6, \"cab\": 7"
#define MODEL(vocab, merges, more)                                                                                     \
    "{\"model\": {\"type\": \"BPE\", \"vocab\": {" vocab "}, \"merges\": [" merges "]" more "}"

static void test_merges_by_rank(void **state) {
    (void)state;
    rs_tokenizer *t = must_open_json(MODEL(LETTERS, "\"b c\", \"a b\", [\"a\", \"bc\"], \"a a\"", "") "}");
    assert_string_equal(ids_of(t, "abc", false), "5"); /* b c first, then a bc; a b would leave ab c */
    assert_string_equal(ids_of(t, "abab", false), "3 3");
    assert_string_equal(ids_of(t, "aabc", false), "0 5"); /* a bc (rank 2) before a a (rank 3) */
    assert_string_equal(ids_of(t, "aaa", false), "6 0");  /* equal ranks: from the left */
    assert_string_equal(ids_of(t, "aaaa", false), "6 6");
    assert_string_equal(ids_of(t, "cab", false), "2 3"); /* a piece that no merge makes */
    assert_string_equal(ids_of(t, "", false), "");
    assert_int_equal(rs_tokenizer_vocab(t), 8);
    rs_tokenizer_close(t);
    t = must_open_json(MODEL(LETTERS, "\"a b\", \"b c\", \"ab c\"", ", \"ignore_merges\": true") "}");
    assert_string_equal(ids_of(t, "abc", false), "5");
    assert_string_equal(ids_of(t, "cab", false), "7"); /* a whole word that is a piece */
    assert_string_equal(ids_of(t, "abb", false), "3 1");
    rs_tokenizer_close(t);
}

/* A long word is cut where no piece reaches across; the ids must not show it. Each of n "abc" ends with c, and c + a is
 * inside no mergeable pair of the first list but inside "cab" of the vocabulary. */
static void test_long_words(void **state) {
    (void)state;
    enum { N = 5000 };
    static char text[3 * N + 1];
    rs_text expected = {0};
    for (int i = 0; i < N; i++) {
        memcpy(text + 3 * i, "abc", 3);
        rs_text_append(&expected, i ? " 5" : "5");
    }
    rs_tokenizer *t = must_open_json(MODEL(LETTERS, "\"b c\", \"a bc\"", "") "}");
    assert_string_equal(ids_of(t, text, false), expected.data);
    rs_tokenizer_close(t);
    t = must_open_json(MODEL("\"a\": 0, \"b\": 1, \"c\": 2, \"bc\": 4, \"abc\": 5, \"<u>\": 6", "\"b c\", \"a bc\"",
                             ", \"unk_token\": \"<u>\"") "}");
    assert_string_equal(ids_of(t, text, false), expected.data);
    rs_tokenizer_close(t);
    rs_text_deinit(&expected);
}

static void test_unknown_characters(void **state) {
    (void)state;
#define FEW "\"a\": 0, \"b\": 1, \"ab\": 2, \"<u>\": 3, \"<0xC3>\": 4, \"<0xA9>\": 5, \"<0x21>\": 6"
    rs_tokenizer *t = must_open_json(MODEL(FEW, "\"a b\"", ", \"unk_token\": \"<u>\", \"byte_fallback\": true") "}");
    assert_string_equal(ids_of(t, "ab\xC3\xA9!b", false), "2 4 5 6 1");
    assert_string_equal(ids_of(t, "\xC3\xA8?", false), "3 3"); /* <0xA8> is not there: the character is unknown */
    rs_tokenizer_close(t);
    t = must_open_json(MODEL(FEW, "\"a b\"", ", \"unk_token\": \"<u>\", \"fuse_unk\": true") "}");
    assert_string_equal(ids_of(t, "xyab!!a?", false), "3 2 3 0 3");
    rs_tokenizer_close(t);
    t = must_open_json(MODEL(FEW, "\"a b\"", "") "}");
    assert_string_equal(ids_of(t, "a!b", false), "2"); /* dropped, and its neighbours meet, as in Hugging Face */
    rs_tokenizer_close(t);
}

/* ---- Bytes and pieces ---- */

static void check_piece(const rs_tokenizer *t, int32_t id, const char *expected) {
    size_t n = 0;
    const char *piece = rs_tokenizer_piece(t, id, &n);
    assert_non_null(piece);
    assert_int_equal(n, strlen(expected));
    assert_memory_equal(piece, expected, n);
}

static void test_byte_level(void **state) {
    (void)state;
    /* GPT-2's table, bytes_to_unicode of encoder.py: 0x0A U+010A, 0x20 U+0120, 0x7F U+0121, 0xA0 U+0142, 0xAD U+0143,
     * 0xC3 itself */
    rs_tokenizer *t = must_open_json(
        MODEL("\"\\u010a\": 0, \"\\u0120\": 1, \"\\u0121\": 2, \"\\u0142\": 3, \"\\u0143\": 4, \"\\u00c3\": 5, \"t\": "
              "6, \"\\u0120t\": 7, \"\\u00c3\\u0143\": 8, \"\\u4e00\": 9",
              "\"\\u0120 t\", \"\\u00c3 \\u0143\"",
              "") ", \"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": true}}");
    assert_string_equal(ids_of(t, "t t\nt \x7F\xC3\xAD\xC3\xA0", false), "6 7 0 6 1 2 8 5 3");
    check_piece(t, 7, " t");
    check_piece(t, 0, "\n");
    check_piece(t, 8, "\xC3\xAD");
    check_piece(t, 9, "\xE4\xB8\x80"); /* no byte of the table: itself */
    size_t n = 1;
    assert_null(rs_tokenizer_piece(t, 10, &n));
    assert_int_equal(n, 0);
    assert_null(rs_tokenizer_piece(t, -1, &n));
    assert_string_equal(rs_tokenizer_kind(t), "byte-level BPE (tokenizer.json)");
    rs_tokenizer_close(t);
}

static void test_bad_utf8(void **state) {
    (void)state;
    static const struct {
        const char *text;
        const char *offset;
    } cases[] = {
        {"ab\xC3", "offset 2 "},     {"\xED\xA0\x80", "offset 0 "},        {"a\xFF", "offset 1 "},
        {"ab\xC0\xAF", "offset 2 "}, {"abc\xF4\x90\x80\x80", "offset 3 "}, {"a\x80", "offset 1 "},
    };
    rs_tokenizer *t = must_open_json(MODEL(LETTERS, "", "") "}");
    rs_ids ids = {0};
    assert_int_equal(rs_ids_push(&ids, 42, &err), RS_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(rs_tokenizer_encode(t, cases[i].text, strlen(cases[i].text), false, &ids, &err), RS_E_FORMAT);
        assert_non_null(strstr(err.message, cases[i].offset));
        assert_int_equal(ids.count, 1);
    }
    assert_int_equal(rs_tokenizer_encode(t, "ab", 2, false, &ids, &err), RS_OK);
    assert_int_equal(ids.count, 3); /* appended */
    assert_int_equal(ids.id[0], 42);
    rs_ids_deinit(&ids);
    rs_tokenizer_close(t);
}

/* ---- Added tokens ---- */

#define TOKEN(id, content, special, more)                                                                              \
    "{\"id\": " #id ", \"content\": \"" content "\", \"special\": " special ", \"normalized\": false" more "}"

static void test_added_tokens(void **state) {
    (void)state;
    rs_tokenizer *t =
        must_open_json(MODEL(LETTERS ", \"<\": 20, \">\": 21, \" \": 22", "\"a b\"", "") ", \"added_tokens\": [" TOKEN(
            10, "<a>", "true",
            "") "," TOKEN(11, "<b>", "false",
                          "") "," TOKEN(12, "<b><b>", "false",
                                        "") "," TOKEN(13, "<c>", "false",
                                                      ", \"lstrip\": true, \"rstrip\": true") "," TOKEN(3, "ab",
                                                                                                        "false",
                                                                                                        "") "]}");
    assert_string_equal(ids_of(t, "a<a>b", false), "0 20 0 21 1"); /* special, and not asked for: text */
    assert_string_equal(ids_of(t, "a<a>b", true), "0 10 1");
    assert_string_equal(ids_of(t, "a<b>b", false), "0 11 1");
    assert_string_equal(ids_of(t, "<b><b><b>", false), "12 11"); /* the longest */
    assert_string_equal(ids_of(t, "a  <c> \t b", false), "0 13 1");
    assert_string_equal(ids_of(t, "<<b>", false), "20 11");
    assert_int_equal(rs_tokenizer_vocab(t), 23);
    check_piece(t, 12, "<b><b>");
    size_t n = 0;
    assert_null(rs_tokenizer_piece(t, 15, &n)); /* a hole */
    rs_tokenizer_close(t);
}

/* ---- BOS ---- */

#define TEMPLATE(single)                                                                                               \
    ", \"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [" single                                    \
    "], \"special_tokens\": {\"a\": {\"id\": \"a\", \"ids\": [0]}, \"b\": {\"id\": \"b\", \"ids\": [1]}}}"
#define SPECIAL(name) "{\"SpecialToken\": {\"id\": \"" name "\", \"type_id\": 0}}"
#define TEXT "{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}"

static void check_bos(const char *json, const char *config, int32_t bos, bool adds) {
    const char *path = files_write_text("tokenizer.json", json);
    files_write_text("tokenizer_config.json", config ? config : "{}");
    rs_tokenizer *t = must_open(path);
    assert_int_equal(rs_tokenizer_bos(t), bos);
    assert_int_equal(rs_tokenizer_adds_bos(t), adds);
    assert_string_equal(ids_of(t, "c", false), "2"); /* encode never adds one */
    rs_tokenizer_close(t);
}

static void test_bos(void **state) {
    (void)state;
    const char *plain = MODEL(LETTERS, "", "") "}";
    const char *with = MODEL(LETTERS, "", "") TEMPLATE(SPECIAL("b") "," TEXT "," SPECIAL("a")) "}";
    check_bos(plain, NULL, -1, false);
    check_bos(plain, "{\"bos_token\": \"c\"}", 2, false);
    check_bos(plain, "{\"bos_token\": {\"content\": \"c\"}, \"add_bos_token\": true}", 2, true);
    check_bos(plain, "{\"bos_token\": null, \"add_bos_token\": false}", -1, false);
    check_bos(with, NULL, 1, true);
    check_bos(with, "{\"bos_token\": \"b\"}", 1, true);
    check_bos(with, "{\"bos_token\": \"b\", \"add_bos_token\": false}", 1, false);
    check_bos(MODEL(LETTERS, "", "") TEMPLATE(TEXT "," SPECIAL("a")) "}", NULL, -1, false); /* an EOS is no BOS */
    check_no_tokenizer(
        files_write_text("tokenizer.json", MODEL(LETTERS, "", "") TEMPLATE(SPECIAL("a") "," SPECIAL("b") "," TEXT) "}"),
        RS_E_UNSUPPORTED, "'b'");
    files_write_text("tokenizer.json", plain);
    files_write_text("tokenizer_config.json", "{\"bos_token\": \"nobody\"}");
    check_no_tokenizer(files_path("tokenizer.json"), RS_E_FORMAT, "'nobody'");
    files_write_text("tokenizer_config.json", "{}");
}

/* ---- Refusals ---- */

static void test_refused_json(void **state) {
    (void)state;
    static const struct {
        const char *json;
        rs_status status;
        const char *words;
    } cases[] = {
        {"{\"model\": {\"type\": \"Unigram\", \"vocab\": []}}", RS_E_UNSUPPORTED, "'Unigram'"},
        {"{\"model\": {\"type\": \"WordPiece\"}}", RS_E_UNSUPPORTED, "'WordPiece'"},
        {MODEL(LETTERS, "", ", \"dropout\": 0.1") "}", RS_E_UNSUPPORTED, "dropout"},
        {MODEL(LETTERS, "", ", \"end_of_word_suffix\": \"</w>\"") "}", RS_E_UNSUPPORTED, "'</w>'"},
        {MODEL(LETTERS, "", "") ", \"normalizer\": {\"type\": \"NFKC\"}}", RS_E_UNSUPPORTED, "'NFKC'"},
        {MODEL(LETTERS, "",
               "") ", \"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Lowercase\"}]}}",
         RS_E_UNSUPPORTED, "'Lowercase'"},
        {MODEL(LETTERS, "",
               "") ", \"normalizer\": {\"type\": \"Replace\", \"pattern\": {\"Regex\": \"x+\"}, \"content\": \"\"}}",
         RS_E_UNSUPPORTED, "x+"},
        {MODEL(LETTERS, "", "") ", \"pre_tokenizer\": {\"type\": \"BertPreTokenizer\"}}", RS_E_UNSUPPORTED,
         "'BertPreTokenizer'"},
        {MODEL(
             LETTERS, "",
             "") ", \"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"String\": \"a\"}, \"behavior\": \"Odd\"}}",
         RS_E_UNSUPPORTED, "'Odd'"},
        {MODEL(LETTERS, "", "") ", \"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"_\", "
                                "\"prepend_scheme\": \"some\"}}",
         RS_E_UNSUPPORTED, "'some'"},
        {MODEL(LETTERS, "", "") ", \"post_processor\": {\"type\": \"BertProcessing\"}}", RS_E_UNSUPPORTED,
         "'BertProcessing'"},
        {MODEL(LETTERS, "", "") ", \"added_tokens\": [{\"id\": 9, \"content\": \"x\", \"single_word\": true}]}",
         RS_E_UNSUPPORTED, "single_word"},
        {"[]", RS_E_FORMAT, "model"},
        {"{}", RS_E_FORMAT, "'model'"},
        {"{\"model\": {\"type\": \"BPE\", \"vocab\": [], \"merges\": []}}", RS_E_FORMAT, "model.vocab"},
        {"{\"model\": {\"type\": \"BPE\", \"vocab\": {}, \"merges\": 3}}", RS_E_FORMAT, "model.merges"},
        {MODEL("\"a\": 0, \"b\": 0", "", "") "}", RS_E_FORMAT, "two tokens have id 0"},
        {MODEL("\"a\": -1", "", "") "}", RS_E_FORMAT, "id -1"},
        {MODEL("\"a\": 1099511627776", "", "") "}", RS_E_FORMAT, "id 1099511627776"},
        {MODEL("\"a\": \"0\"", "", "") "}", RS_E_FORMAT, "id -1"},
        {MODEL(LETTERS, "\"a x\"", "") "}", RS_E_FORMAT, "merge 0: 'a' + 'x'"},
        {MODEL(LETTERS, "\"a b\", \"b a\"", "") "}", RS_E_FORMAT, "merge 1: 'b' + 'a' makes 'ba'"},
        {MODEL(LETTERS, "\"ab\"", "") "}", RS_E_FORMAT, "merge 0"},
        {MODEL(LETTERS, "\"a b c\"", "") "}", RS_E_FORMAT, "merge 0"},
        {MODEL(LETTERS, "[\"a\"]", "") "}", RS_E_FORMAT, "merge 0"},
        {MODEL(LETTERS, "", ", \"unk_token\": \"<unk>\"") "}", RS_E_FORMAT, "'<unk>'"},
        {MODEL(LETTERS, "", "") ", \"added_tokens\": {}}", RS_E_FORMAT, "added_tokens"},
        {MODEL(LETTERS, "", "") ", \"added_tokens\": [" TOKEN(0, "b", "false", "") "]}", RS_E_FORMAT, "'b'"},
        {MODEL(LETTERS, "", "") ", \"added_tokens\": [" TOKEN(9, "b", "false", "") "]}", RS_E_FORMAT, "'b'"},
        {MODEL(LETTERS, "", "") ", \"added_tokens\": [" TOKEN(9, "x", "false", "") "," TOKEN(9, "x", "false", "") "]}",
         RS_E_FORMAT, "id 9"},
        {MODEL(LETTERS, "", "") ", \"added_tokens\": [" TOKEN(9, "x", "false", "") "," TOKEN(10, "x", "false", "") "]}",
         RS_E_FORMAT, "'x'"},
        {MODEL(LETTERS, "", "") ", \"added_tokens\": [{\"id\": 9}]}", RS_E_FORMAT, "added token 0"},
        {MODEL(LETTERS, "", "") ", \"normalizer\": {\"type\": 3}}", RS_E_FORMAT, "type"},
        {"{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"a\": 1}}}", RS_E_FORMAT, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_no_tokenizer(files_write_text("tokenizer.json", cases[i].json), cases[i].status, cases[i].words);
}

/* Constructs that mean different things to Oniguruma and PCRE2, or nothing to either. */
static void test_refused_patterns(void **state) {
    (void)state;
    static const struct {
        const char *pattern; /* as JSON */
        rs_status status;
    } cases[] = {
        {"\\\\bword", RS_E_UNSUPPORTED},
        {"(?i)abc", RS_E_UNSUPPORTED},
        {"(a)\\\\1", RS_E_UNSUPPORTED},
        {"a*", RS_E_UNSUPPORTED},
        {"[a[bc]]", RS_E_UNSUPPORTED},
        {"[a&&b]", RS_E_UNSUPPORTED},
        {"\\\\p{Emoji}", RS_E_UNSUPPORTED},
        {"\\\\pL", RS_E_UNSUPPORTED},
        {"\\\\h", RS_E_UNSUPPORTED},
        {"a{2}+", RS_E_UNSUPPORTED},
        {"a{,3}", RS_E_UNSUPPORTED},
        {"[\\\\W]", RS_E_UNSUPPORTED},
        {"(?<n>a)", RS_E_UNSUPPORTED},
        {"(*ACCEPT)", RS_E_UNSUPPORTED},
        {"\\\\xE9", RS_E_UNSUPPORTED},
        {"a\\\\", RS_E_UNSUPPORTED},
        {"(a", RS_E_FORMAT},
        {"[z-a]", RS_E_FORMAT},
        {"[a", RS_E_FORMAT},
        {"+", RS_E_FORMAT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char json[512];
        snprintf(json, sizeof json,
                 "%s, \"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"%s\"}, \"behavior\": "
                 "\"Isolated\"}}",
                 MODEL(LETTERS, "", ""), cases[i].pattern);
        check_no_tokenizer(files_write_text("tokenizer.json", json), cases[i].status, "regular expression");
    }
}

/* ---- GGUF ---- */

static const char *write_gguf(const vocabulary *v) {
    rs_text b = {0};
    put_vocabulary_gguf(&b, v);
    const char *path = files_write("vocabulary.gguf", b.data, b.bytes);
    rs_text_deinit(&b);
    return path;
}

static const char *const few[] = {"a", "b", "ab", "<s>", "1", "11", "\xC4\xA0", "[x]", "[PAD8]"};
static const int32_t few_types[] = {1, 1, 1, 3, 1, 1, 1, 4, 5};
static const char *const few_merges[] = {"a b", "1 1"};
enum { FEW_COUNT = sizeof few / sizeof *few };

static vocabulary gpt2_vocabulary(const char *pre) {
    return (vocabulary){.model = "gpt2",
                        .pre = pre,
                        .tokens = few,
                        .count = FEW_COUNT,
                        .types = few_types,
                        .merges = few_merges,
                        .merge_count = 2,
                        .bos = 3};
}

static void test_gguf_gpt2(void **state) {
    (void)state;
    vocabulary v = gpt2_vocabulary("gpt-2");
    rs_tokenizer *t = must_open(write_gguf(&v));
    assert_string_equal(ids_of(t, "ab11 [x]", false), "2 5 6 7");
    assert_string_equal(ids_of(t, "<s>ab", true), "3 2");
    assert_int_equal(rs_tokenizer_bos(t), 3);
    assert_false(rs_tokenizer_adds_bos(t));
    assert_string_equal(rs_tokenizer_kind(t), "byte-level BPE (gpt-2)");
    assert_int_equal(rs_tokenizer_vocab(t), FEW_COUNT);
    check_piece(t, 6, " ");
    rs_tokenizer_close(t);
    v.pre = "smollm"; /* every digit on its own */
    v.add_bos = 1;
    t = must_open(write_gguf(&v));
    assert_string_equal(ids_of(t, "ab11", false), "2 4 4");
    assert_true(rs_tokenizer_adds_bos(t));
    rs_tokenizer_close(t);
    v.pre = "llama-bpe"; /* adds a BOS unless the file says otherwise */
    v.add_bos = 0;
    t = must_open(write_gguf(&v));
    assert_true(rs_tokenizer_adds_bos(t));
    rs_tokenizer_close(t);
}

static void test_gguf_refused(void **state) {
    (void)state;
    vocabulary v = gpt2_vocabulary("nobody-bpe");
    check_no_tokenizer(write_gguf(&v), RS_E_UNSUPPORTED, "'nobody-bpe'");
    v.pre = NULL;
    check_no_tokenizer(write_gguf(&v), RS_E_UNSUPPORTED, "tokenizer.ggml.pre");
    v.pre = "default";
    check_no_tokenizer(write_gguf(&v), RS_E_UNSUPPORTED, "'default'");
    v = gpt2_vocabulary("gpt-2");
    v.model = "bert";
    check_no_tokenizer(write_gguf(&v), RS_E_UNSUPPORTED, "'bert'");
    v.model = NULL;
    check_no_tokenizer(write_gguf(&v), RS_E_UNSUPPORTED, "tokenizer.ggml.model");
    v = gpt2_vocabulary("gpt-2");
    v.bos = FEW_COUNT;
    check_no_tokenizer(write_gguf(&v), RS_E_FORMAT, "bos_token_id: found 9");
    v = gpt2_vocabulary("gpt-2");
    v.tokens = NULL;
    check_no_tokenizer(write_gguf(&v), RS_E_FORMAT, "tokenizer.ggml.tokens");
    v = gpt2_vocabulary("gpt-2");
    v.merges = NULL;
    check_no_tokenizer(write_gguf(&v), RS_E_FORMAT, "tokenizer.ggml.merges");
    v.merges = (const char *const[]){"a b", "ab"};
    check_no_tokenizer(write_gguf(&v), RS_E_FORMAT, "merge 1");
    v.merges = (const char *const[]){"a b", "b q"};
    check_no_tokenizer(write_gguf(&v), RS_E_FORMAT, "merge 1: 'b' + 'q'");
    v = gpt2_vocabulary("gpt-2");
    v.types = (const int32_t[]){1, 1, 1, 3, 1, 1, 1, 7, 5};
    check_no_tokenizer(write_gguf(&v), RS_E_FORMAT, "token 7");
    v = gpt2_vocabulary("gpt-2");
    v.tokens = (const char *const[]){"a", "b", "ab", "<s>", "1", "11", "a", "[x]", "y"};
    check_no_tokenizer(write_gguf(&v), RS_E_FORMAT, "'a' is there twice, as 0 and as 6");
    v = (vocabulary){.model = "llama", .tokens = few, .count = FEW_COUNT, .types = few_types};
    check_no_tokenizer(write_gguf(&v), RS_E_FORMAT, "tokenizer.ggml.scores");
    v.scores = (const float[FEW_COUNT]){0};
    check_no_tokenizer(write_gguf(&v), RS_E_UNSUPPORTED, "<0x00>");
}

/* ids 0..2 unknown, BOS, EOS; 3..258 bytes; pieces from 259 */
enum { FIRST_PIECE = 259, MOST_PIECES = 300 };
static const char *sp_tokens[MOST_PIECES];
static float sp_scores[MOST_PIECES];
static int32_t sp_types[MOST_PIECES];

static vocabulary sentencepiece_vocabulary(const char *const *pieces, const float *scores, size_t n) {
    static char bytes[256][8];
    static const char *const first[] = {"<unk>", "<s>", "</s>"};
    for (int i = 0; i < FIRST_PIECE; i++) {
        sp_tokens[i] = i < 3 ? first[i] : bytes[i - 3];
        sp_types[i] = i == 0 ? 2 : i < 3 ? 3 : 6;
        if (i >= 3) snprintf(bytes[i - 3], 8, "<0x%02X>", (unsigned)(i - 3));
    }
    for (size_t i = 0; i < n; i++) {
        sp_tokens[FIRST_PIECE + i] = pieces[i];
        sp_scores[FIRST_PIECE + i] = scores[i];
        sp_types[FIRST_PIECE + i] = 1;
    }
    return (vocabulary){
        .model = "llama", .tokens = sp_tokens, .count = FIRST_PIECE + n, .scores = sp_scores, .types = sp_types};
}

#define MARK "\xE2\x96\x81"

static void test_gguf_sentencepiece(void **state) {
    (void)state;
    /*                           259   260  261  262  263   264   265    266     267        268    269 */
    const char *const pieces[] = {MARK, "h", "e", "l", "o", "he", "ll", "llo", "hello", MARK "h", "el"};
    const float scores[] = {-10, -10, -10, -10, -10, -3, -2, -4, -5, -6, -3};
    vocabulary v = sentencepiece_vocabulary(pieces, scores, 11);
    rs_tokenizer *t = must_open(write_gguf(&v));
    /* ll (-2); he (-3, left of el); ll o (-4); he llo (-5); nothing with the space left */
    assert_string_equal(ids_of(t, "hello", false), "259 267");
    assert_string_equal(ids_of(t, "hel", false), "259 264 262"); /* he and el have one score: the left one */
    assert_string_equal(ids_of(t, "ho", false), "268 263");
    assert_string_equal(ids_of(t, "h h", false), "268 268");
    assert_string_equal(ids_of(t, "\xC3\xA9\n", false), "259 198 172 13"); /* bytes are ids 3 + byte */
    assert_string_equal(ids_of(t, "<0x0A>", false),
                        "259 63 51 123 51 68 65");         /* written out it is text; the e.. of hex are not pieces */
    assert_string_equal(ids_of(t, "<s>h", true), "1 260"); /* the space goes in front of the text, not of each part */
    check_piece(t, 268, " h");
    check_piece(t, 13, "\n");
    check_piece(t, 1, "<s>");
    assert_int_equal(rs_tokenizer_bos(t), 1);
    assert_true(rs_tokenizer_adds_bos(t));
    rs_tokenizer_close(t);
    v.add_space_prefix = -1;
    v.add_bos = -1;
    t = must_open(write_gguf(&v));
    assert_string_equal(ids_of(t, "hello ho", false), "267 268 263");
    assert_string_equal(ids_of(t, "", false), "");
    assert_false(rs_tokenizer_adds_bos(t));
    rs_tokenizer_close(t);
    sp_scores[FIRST_PIECE] = NAN;
    check_no_tokenizer(write_gguf(&v), RS_E_FORMAT, "score of token 259");
    sp_scores[FIRST_PIECE] = 0;
    sp_tokens[20] = "<0xZZ>";
    check_no_tokenizer(write_gguf(&v), RS_E_FORMAT, "token 20");
}

/* ---- llama2.c ---- */

static void test_llama2c(void **state) {
    (void)state;
    /*                           259   260  261  262  263 */
    const char *const pieces[] = {" ", "h", "e", "he", " he"};
    const float scores[] = {-9, -9, -9, -1, -2};
    rs_text b = {0};
    put_vocabulary_llama2c(&b, pieces, scores, 5);
    const char *path = files_write("tok.bin", b.data, b.bytes);
    rs_tokenizer *t = must_open(path);
    assert_string_equal(ids_of(t, "he he", false), "263 263");
    assert_string_equal(ids_of(t, "\n", false), "259 13");
    assert_string_equal(ids_of(t, " h", false), "259 259 260");
    assert_int_equal(rs_tokenizer_vocab(t), 264);
    assert_int_equal(rs_tokenizer_bos(t), 1);
    assert_true(rs_tokenizer_adds_bos(t));
    check_piece(t, 263, " he");
    rs_tokenizer_close(t);
    check_no_tokenizer(files_write("cut.bin", b.data, b.bytes - 1), RS_E_FORMAT, "token 263");
    check_no_tokenizer(files_write("few.bin", b.data, 26), RS_E_FORMAT, "");
    b.data[4 + 13 + 13] = '?'; /* in BOS: harmless, ids 0..2 are taken on trust */
    b.data[4 + 13 + 13 + 14 + 8] = '?';
    check_no_tokenizer(files_write("bytes.bin", b.data, b.bytes), RS_E_FORMAT, "<0x00>");
    b.bytes = 0;
    put_llama2c(&b, false);
    rs_checkpoint *c = NULL;
    assert_int_equal(rs_checkpoint_open(files_write("model.bin", b.data, b.bytes), &c, &err), RS_OK);
    assert_int_equal(rs_tokenizer_open(c, NULL, &t, &err), RS_E_USAGE);
    assert_non_null(strstr(err.message, "--tokenizer"));
    assert_int_equal(rs_tokenizer_open(c, path, &t, &err), RS_E_MISMATCH); /* the model has 5 tokens */
    assert_non_null(strstr(err.message, "264"));
    rs_checkpoint_close(c);
    rs_text_deinit(&b);
}

static void test_which_reader(void **state) {
    (void)state;
    rs_tokenizer *t = NULL;
    assert_int_equal(rs_tokenizer_open(NULL, NULL, &t, &err), RS_E_USAGE);
    check_no_tokenizer(files_folder("empty"), RS_E_USAGE, "tokenizer.json");
    check_no_tokenizer(files_path("absent.json"), RS_E_IO, "absent.json");
    check_no_tokenizer(files_write_text("sp.model", "\n\x0e"), RS_E_UNSUPPORTED, "SentencePiece");
    check_no_tokenizer(files_write_text("empty.bin", ""), RS_E_FORMAT, "llama2.c");
    files_folder("whole");
    files_write_text("whole/tokenizer.json", MODEL(LETTERS, "\"a b\"", "") "}");
    t = must_open(files_path("whole"));
    assert_string_equal(ids_of(t, "ab", false), "3");
    rs_tokenizer_close(t);
    rs_tokenizer_close(NULL);
}

/* The tokenizer a model brings along. */
static void test_of_checkpoint(void **state) {
    (void)state;
    rs_text b = {0};
    rs_checkpoint *c = NULL;
    rs_tokenizer *t = NULL;
    files_folder("hf");
    put_safetensors(&b, small_safetensors_header, 40);
    files_write("hf/model.safetensors", b.data, b.bytes);
    files_write_text("hf/config.json", "{\"bos_token_id\": 2}");
    assert_int_equal(rs_checkpoint_open(files_path("hf"), &c, &err), RS_OK);
    assert_int_equal(rs_tokenizer_open(c, NULL, &t, &err), RS_E_USAGE);
    files_write_text("hf/tokenizer.json", MODEL(LETTERS, "\"a b\"", "") "}");
    assert_int_equal(rs_tokenizer_open(c, NULL, &t, &err), RS_OK);
    assert_string_equal(ids_of(t, "abc", false), "3 2");
    assert_int_equal(rs_tokenizer_bos(t), 2); /* for --bos yes; nothing says that it is added */
    assert_false(rs_tokenizer_adds_bos(t));
    rs_tokenizer_close(t);
    rs_checkpoint_close(c);
    vocabulary v = gpt2_vocabulary("gpt-2");
    assert_int_equal(rs_checkpoint_open(write_gguf(&v), &c, &err), RS_OK);
    assert_int_equal(rs_tokenizer_open(c, NULL, &t, &err), RS_OK);
    assert_string_equal(ids_of(t, "ab", false), "2");
    rs_tokenizer_close(t);
    /* a tokenizer given goes before the model's own */
    assert_int_equal(rs_tokenizer_open(c, files_path("hf"), &t, &err), RS_OK);
    assert_string_equal(ids_of(t, "ab", false), "3");
    rs_tokenizer_close(t);
    rs_checkpoint_close(c);
    rs_text_deinit(&b);
}

/* ---- Memory and stopping ---- */

static const char whole_shape[] = MODEL(
    LETTERS ", \"\\u0120\": 8", "\"a b\"",
    "") ", \"normalizer\": {\"type\": \"NFC\"}, \"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": "
        "true}, \"added_tokens\": [" TOKEN(9, "<x>", "true", "") "]" TEMPLATE(SPECIAL("a") "," TEXT) "}";

static rs_status open_and_encode(const char *path) {
    rs_tokenizer *t = NULL;
    rs_ids ids = {0};
    rs_status st = rs_tokenizer_open(NULL, path, &t, &err);
    if (st == RS_OK) st = rs_tokenizer_encode(t, "ab e\xCC\x81 c<x>", 11, true, &ids, &err);
    rs_ids_deinit(&ids);
    rs_tokenizer_close(t);
    return st;
}

/* Every allocation on the way fails once: an error and no leak each time. (RS_OK where it was one that can be done
 * without: the compiled form of a pattern.) */
static void test_out_of_memory(void **state) {
    (void)state;
    const char *path = files_write_text("tokenizer.json", whole_shape);
    const uint64_t live = rs_alloc_live();
    uint64_t count = rs_alloc_count();
    uint64_t failed = 0;
    assert_int_equal(open_and_encode(path), RS_OK);
    count = rs_alloc_count() - count;
    assert_true(count > 20);
    for (uint64_t nth = 1; nth <= count; nth++) {
        rs_alloc_fail_at(nth);
        rs_status st = open_and_encode(path);
        rs_alloc_fail_at(0);
        if (st != RS_OK && st != RS_E_NOMEM) fail_msg("allocation %d: %s", (int)nth, err.message);
        failed += st == RS_E_NOMEM;
        assert_int_equal(rs_alloc_live(), live);
    }
    assert_true(failed > count / 2);
}

/* Last: a request to stop stays. */
static void test_cancel(void **state) {
    (void)state;
    enum { WORDS = 60000 };
    rs_tokenizer *t = must_open_json(whole_shape);
    rs_ids ids = {0};
    rs_text text = {0};
    for (int i = 0; i < WORDS; i++) rs_text_append(&text, " ab");
    assert_int_equal(rs_tokenizer_encode(t, text.data, text.bytes, false, &ids, &err), RS_OK);
    assert_int_equal(ids.count, 2 * WORDS);
    rs_cancel_request();
    assert_int_equal(rs_tokenizer_encode(t, text.data, text.bytes, false, &ids, &err), RS_E_CANCELLED);
    assert_int_equal(ids.count, 2 * WORDS); /* as before the call */
    rs_ids_deinit(&ids);
    rs_text_deinit(&text);
    rs_tokenizer_close(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merges_by_rank),
        cmocka_unit_test(test_long_words),
        cmocka_unit_test(test_unknown_characters),
        cmocka_unit_test(test_byte_level),
        cmocka_unit_test(test_bad_utf8),
        cmocka_unit_test(test_added_tokens),
        cmocka_unit_test(test_bos),
        cmocka_unit_test(test_refused_json),
        cmocka_unit_test(test_refused_patterns),
        cmocka_unit_test(test_gguf_gpt2),
        cmocka_unit_test(test_gguf_refused),
        cmocka_unit_test(test_gguf_sentencepiece),
        cmocka_unit_test(test_llama2c),
        cmocka_unit_test(test_which_reader),
        cmocka_unit_test(test_of_checkpoint),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_cancel),
    };
    return cmocka_run_group_tests(tests, files_group_begin, files_group_end);
}
