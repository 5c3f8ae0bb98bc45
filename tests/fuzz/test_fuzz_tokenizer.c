/* tests/fuzz/test_fuzz_tokenizer.c: asserts that no bytes, taken for a tokenizer.json, a GGUF vocabulary or a llama2.c
 * tokenizer, make rs_tokenizer_open crash, leak or hand out a tokenizer whose ids lie outside its vocabulary, and that
 * any bytes as text are encoded or refused. As an ordinary test it replays small tokenizers with seeded random damage;
 * ROPESCOPE_FUZZ_ROUNDS (default 1200 a seed) makes it longer. For libFuzzer: clang -fsanitize=fuzzer,address
 * -DRS_FUZZING_ENGINE. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/container_files.h"
#include "tests/support/vocabulary_file.h"

#include "analyzer/base/alloc.h"
#include "analyzer/base/rng.h"

#include <stdlib.h>
#include <string.h>

enum { INPUT_BYTES = 1 << 16, DEFAULT_ROUNDS = 1200, TEXT_BYTES = 200 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static rs_error err;

static const char *const texts[] = {
    "",
    "a",
    "ab abc  abab\n\ncab",
    "<s>ab<x> \t<x>",
    "12 \xC3\xA9 e\xCC\x81 \xE6\x9D\xB1 \xF0\x9F\x99\x82",
    "\xE2\x96\x81 \xE2\x96\x81\xE2\x96\x81",
    "a\xFF",
    "don't  'LL",
};

static void check_encode(const rs_tokenizer *t, const char *text, size_t n) {
    rs_ids ids = {0};
    for (int special = 0; special < 2; special++) {
        rs_status st = rs_tokenizer_encode(t, text, n, special, &ids, &err);
        /* UNSUPPORTED: a damaged pattern that backtracks without end on this text */
        assert_true(st == RS_OK || (st == RS_E_FORMAT && strstr(err.message, "UTF-8")) || st == RS_E_UNSUPPORTED);
    }
    for (size_t i = 0; i < ids.count; i++) {
        size_t bytes = 0;
        assert_true(ids.id[i] >= 0 && ids.id[i] < rs_tokenizer_vocab(t));
        assert_non_null(rs_tokenizer_piece(t, ids.id[i], &bytes));
    }
    rs_ids_deinit(&ids);
}

static void check_tokenizer(const rs_tokenizer *t) {
    assert_true(rs_tokenizer_bos(t) >= -1 && rs_tokenizer_bos(t) < rs_tokenizer_vocab(t));
    assert_true(!rs_tokenizer_adds_bos(t) || rs_tokenizer_bos(t) >= 0);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) check_encode(t, texts[i], strlen(texts[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bool ready;
    rs_tokenizer *t = NULL;
    if (!ready) {
        files_begin();
        atexit(files_end);
        ready = true;
    }
    if (size > INPUT_BYTES) return 0;
    uint64_t live = rs_alloc_live();
    rs_status st = rs_tokenizer_open(NULL, files_write("file.bin", data, size), &t, &err);
    if (st == RS_OK) check_tokenizer(t);
    else assert_true(!t && err.message[0] != '\0' && st != RS_E_INTERNAL && st != RS_E_NOMEM);
    rs_tokenizer_close(t);
    assert_int_equal(rs_alloc_live(), live);
    return 0;
}

#ifndef RS_FUZZING_ENGINE

/* ---- Small tokenizers of every kind ---- */

#define VOCAB                                                                                                          \
    "\"vocab\": {\"a\": 0, \"b\": 1, \"c\": 2, \"ab\": 3, \"bc\": 4, \"abc\": 5, \"<u>\": 6, \"\\u0120\": 7, "         \
    "\"\\u2581\": 8, \"<0xC3>\": 9, \"<0xA9>\": 10, \"1\": 11}, \"merges\": [\"b c\", [\"a\", \"bc\"], \"a b\"]"
#define ADDED                                                                                                          \
    "\"added_tokens\": [{\"id\": 12, \"content\": \"<s>\", \"special\": true, \"normalized\": false, \"lstrip\": "     \
    "true}, {\"id\": 13, \"content\": \"<x>\", \"special\": false, \"normalized\": true, \"rstrip\": true}]"

static const char *const json_seeds[] = {
    "{" ADDED ", \"normalizer\": {\"type\": \"NFC\"}, \"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": "
    "[{\"type\": \"Digits\", \"individual_digits\": true}, {\"type\": \"Split\", \"pattern\": {\"Regex\": "
    "\"(?i:'s|'t)|[^\\\\r\\\\n\\\\p{L}]?\\\\p{Han}+|\\\\p{N}{1,3}| ?[^\\\\s\\\\w]+|\\\\s+(?!\\\\S)\"}, "
    "\"behavior\": \"MergedWithNext\", \"invert\": false}, {\"type\": \"ByteLevel\", \"add_prefix_space\": "
    "true, \"use_regex\": true}]}, \"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": "
    "[{\"SpecialToken\": {\"id\": \"<s>\"}}, {\"Sequence\": {\"id\": \"A\"}}], \"special_tokens\": {\"<s>\": "
    "{\"ids\": [12]}}}, \"model\": {\"type\": \"BPE\", \"ignore_merges\": true, " VOCAB "}}",
    "{\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Prepend\", \"prepend\": \"\\u2581\"}, "
    "{\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": \"\\u2581\"}]}, " ADDED
    ", \"model\": {\"type\": \"BPE\", \"unk_token\": \"<u>\", \"fuse_unk\": true, \"byte_fallback\": true, " VOCAB "}}",
    "{\"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"\\u2581\", \"prepend_scheme\": \"first\", "
    "\"split\": true}, \"model\": {\"unk_token\": \"<u>\", " VOCAB "}, " ADDED "}",
};

static void put_gguf_seed(rs_text *b) {
    static const char *const tokens[] = {"a", "b", "ab", "<s>", "1", "11", "\xC4\xA0", "<x>", "[PAD8]"};
    static const int32_t types[] = {1, 1, 1, 3, 1, 1, 1, 4, 5};
    static const char *const merges[] = {"a b", "1 1"};
    const vocabulary v = {.model = "gpt2",
                          .pre = "qwen2",
                          .tokens = tokens,
                          .count = 9,
                          .types = types,
                          .merges = merges,
                          .merge_count = 2,
                          .bos = 3,
                          .add_bos = 1};
    put_vocabulary_gguf(b, &v);
}

enum { SP_COUNT = 3 + 256 + 4 };

static void put_sentencepiece_seed(rs_text *b) {
    static const char *const pieces[] = {"a", "b", "ab",
                                         "\xE2\x96\x81"
                                         "a"};
    static char bytes[256][8];
    const char *tokens[SP_COUNT] = {"<unk>", "<s>", "</s>"};
    int32_t types[SP_COUNT] = {2, 3, 3};
    float scores[SP_COUNT] = {0};
    for (size_t i = 3; i < SP_COUNT; i++) {
        static const char hex[] = "0123456789ABCDEF";
        types[i] = i < 259 ? 6 : 1;
        scores[i] = i < 259 ? 0 : -(float)(i - 258);
        if (i < 259)
            memcpy(bytes[i - 3], (const char[]){'<', '0', 'x', hex[(i - 3) / 16], hex[(i - 3) % 16], '>', 0}, 7);
        tokens[i] = i < 259 ? bytes[i - 3] : pieces[i - 259];
    }
    const vocabulary v = {
        .model = "llama", .tokens = tokens, .count = SP_COUNT, .types = types, .scores = scores, .bos = 1};
    put_vocabulary_gguf(b, &v);
}

static void put_llama2c_seed(rs_text *b) {
    static const char *const pieces[] = {" ", "a", "b", "ab"};
    static const float scores[] = {-1, -2, -3, -1};
    put_vocabulary_llama2c(b, pieces, scores, 4);
}

/* ---- Random damage ---- */

static int64_t rounds(void) {
    const char *s = getenv("ROPESCOPE_FUZZ_ROUNDS");
    return s && atoi(s) > 0 ? atoi(s) : DEFAULT_ROUNDS;
}

static void damage(rs_rng *rng, unsigned char *b, size_t *n) {
    for (int64_t i = 1 + rs_rng_below(rng, 4); i > 0 && *n > 1; i--) {
        size_t at = (size_t)rs_rng_below(rng, (int64_t)*n);
        size_t from = (size_t)rs_rng_below(rng, (int64_t)*n);
        size_t room = *n - (at > from ? at : from);
        size_t m = 1 + (size_t)rs_rng_below(rng, room < 24 ? (int64_t)room : 24);
        switch (rs_rng_below(rng, 6)) {
        case 0: b[at] = (unsigned char)rs_rng_below(rng, 256); break;
        case 1: b[at] ^= (unsigned char)(1U << rs_rng_below(rng, 8)); break;
        case 2: memmove(b + at, b + from, m < room ? m : room); break; /* a piece over another */
        case 3:                                                        /* a piece taken out */
            m = m < *n - at ? m : *n - at;
            memmove(b + at, b + at + m, *n - at - m);
            *n -= m;
            break;
        case 4: b[at] = (unsigned char)"0123456789-\"[]{},:\\ "[rs_rng_below(rng, 20)]; break;
        default:
            if (rs_rng_below(rng, 8) == 0) *n = at + 1; /* cut short */
            break;
        }
    }
}

static void fuzz_around(const rs_text *seed, uint64_t number) {
    static unsigned char b[INPUT_BYTES];
    rs_rng rng;
    rs_rng_init(&rng, number);
    assert_true(seed->bytes < INPUT_BYTES);
    LLVMFuzzerTestOneInput((const uint8_t *)seed->data, seed->bytes);
    for (int64_t i = 0; i < rounds(); i++) {
        size_t n = seed->bytes;
        memcpy(b, seed->data, n);
        damage(&rng, b, &n);
        LLVMFuzzerTestOneInput(b, n);
    }
}

static void test_damaged_json(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof json_seeds / sizeof *json_seeds; i++) {
        rs_text b = {0};
        rs_text_append(&b, json_seeds[i]);
        fuzz_around(&b, i + 1);
        rs_text_deinit(&b);
    }
}

static void test_damaged_binaries(void **state) {
    (void)state;
    void (*const seeds[])(rs_text *) = {put_gguf_seed, put_sentencepiece_seed, put_llama2c_seed};
    for (size_t i = 0; i < sizeof seeds / sizeof *seeds; i++) {
        rs_text b = {0};
        seeds[i](&b);
        fuzz_around(&b, 100 + i);
        rs_text_deinit(&b);
    }
}

/* The seeds themselves must open, or the damage would be done to something refused at once. */
static void test_seeds_open(void **state) {
    (void)state;
    LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    for (size_t i = 0; i < sizeof json_seeds / sizeof *json_seeds; i++) {
        rs_tokenizer *t = NULL;
        if (rs_tokenizer_open(NULL, files_write_text("seed.json", json_seeds[i]), &t, &err) != RS_OK)
            fail_msg("%s", err.message);
        rs_tokenizer_close(t);
    }
    void (*const seeds[])(rs_text *) = {put_gguf_seed, put_sentencepiece_seed, put_llama2c_seed};
    for (size_t i = 0; i < sizeof seeds / sizeof *seeds; i++) {
        rs_text b = {0};
        rs_tokenizer *t = NULL;
        seeds[i](&b);
        if (rs_tokenizer_open(NULL, files_write("seed.bin", b.data, b.bytes), &t, &err) != RS_OK)
            fail_msg("%s", err.message);
        rs_tokenizer_close(t);
        rs_text_deinit(&b);
    }
}

static void test_random_texts(void **state) {
    (void)state;
    char text[TEXT_BYTES];
    rs_rng rng;
    rs_tokenizer *t = NULL;
    static const char alphabet[] = "ab c\n<s>x1'\xC3\xA9\xCC\x81\xE2\x96\x81\xFF";
    rs_rng_init(&rng, 7);
    for (size_t s = 0; s < sizeof json_seeds / sizeof *json_seeds; s++) {
        assert_int_equal(rs_tokenizer_open(NULL, files_write_text("seed.json", json_seeds[s]), &t, &err), RS_OK);
        for (int64_t i = 0; i < rounds(); i++) {
            size_t n = (size_t)rs_rng_below(&rng, TEXT_BYTES);
            for (size_t k = 0; k < n; k++) text[k] = alphabet[rs_rng_below(&rng, sizeof alphabet - 2 + (i % 8 == 0))];
            check_encode(t, text, n);
        }
        rs_tokenizer_close(t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_seeds_open),
        cmocka_unit_test(test_damaged_json),
        cmocka_unit_test(test_damaged_binaries),
        cmocka_unit_test(test_random_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
