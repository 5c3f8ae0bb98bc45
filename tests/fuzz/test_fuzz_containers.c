/* tests/fuzz/test_fuzz_containers.c: asserts that no bytes, taken for a GGUF or llama2.c file, a model.safetensors or a
 * shard index, make rs_checkpoint_open crash, read outside a file, leak, or hand out a tensor that does not lie in its
 * file. As an ordinary test it replays small checkpoints with seeded random damage; ROPESCOPE_FUZZ_ROUNDS (default 1500
 * a seed) makes it longer. For libFuzzer: clang -fsanitize=fuzzer,address -DRS_FUZZING_ENGINE. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/container_files.h"

#include "analyzer/base/alloc.h"
#include "analyzer/base/rng.h"

#include <stdlib.h>
#include <string.h>

enum { INPUT_BYTES = 1 << 16, DEFAULT_ROUNDS = 1500 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put_places(void) {
    rs_text b = {0};
    files_begin();
    files_folder("plain");
    files_folder("sharded");
    put_safetensors(&b, small_safetensors_header, 40);
    files_write("sharded/m.safetensors", b.data, b.bytes);
    rs_text_deinit(&b);
}

static void try_open(const char *path) {
    static rs_error err;
    rs_checkpoint *c = NULL;
    uint64_t live = rs_alloc_live();
    rs_status st = rs_checkpoint_open(path, &c, &err);
    if (st == RS_OK) check_sound(c);
    else assert_true(!c && err.message[0] != '\0' && st != RS_E_INTERNAL && st != RS_E_NOMEM);
    rs_checkpoint_close(c);
    assert_int_equal(rs_alloc_live(), live);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bool ready;
    if (!ready) {
        put_places();
        atexit(files_end);
        ready = true;
    }
    if (size > INPUT_BYTES) return 0;
    try_open(files_write("file.bin", data, size));
    files_write("plain/model.safetensors", data, size);
    try_open(files_path("plain"));
    files_write("sharded/model.safetensors.index.json", data, size);
    try_open(files_path("sharded"));
    return 0;
}

#if !defined(RS_FUZZING_ENGINE)

static const char index_seed[] =
    "{\"weight_map\":{\"a\":\"m.safetensors\",\"b\":\"m.safetensors\",\"c\":\"m.safetensors\"}}";

/* Numbers at the edges of their types, as text and as bytes. */
static const char *const words[] = {"0",
                                    "-1",
                                    "4294967296",
                                    "9223372036854775807",
                                    "18446744073709551615",
                                    "1e999",
                                    "null",
                                    "[]",
                                    "{}",
                                    "\"\"",
                                    "true",
                                    "\"F32\"",
                                    "\"F4\"",
                                    "\\u0000",
                                    ",",
                                    "[[[["};
static const uint64_t numbers[] = {0,
                                   1,
                                   2,
                                   31,
                                   127,
                                   255,
                                   32767,
                                   65535,
                                   INT32_MAX,
                                   UINT32_MAX,
                                   INT64_MAX,
                                   UINT64_MAX,
                                   (uint64_t)1 << 31,
                                   (uint64_t)1 << 32,
                                   (uint64_t)1 << 62,
                                   (uint64_t)1 << 63};
enum { WORDS = sizeof words / sizeof words[0], NUMBERS = sizeof numbers / sizeof numbers[0] };

static size_t below(rs_rng *r, size_t n) { return (size_t)rs_rng_below(r, (int64_t)n); }

/* Replaces `old` bytes at `at` by n others; false when there is no room. */
static bool splice(uint8_t *b, size_t *size, size_t at, size_t old, const void *s, size_t n) {
    if (at + old > *size || *size - old + n > INPUT_BYTES) return false;
    memmove(b + at + n, b + at + old, *size - at - old);
    memcpy(b + at, s, n);
    *size = *size - old + n;
    return true;
}

static void damage(rs_rng *r, uint8_t *b, size_t *size) {
    uint8_t piece[64];
    size_t at = below(r, *size), n = 1 + below(r, sizeof piece);
    uint64_t v = numbers[below(r, NUMBERS)];
    const char *word = words[below(r, WORDS)];
    switch (rs_rng_below(r, 8)) {
    case 0: b[at] = (uint8_t)(b[at] ^ 1U << below(r, 8)); break;
    case 1: b[at] = (uint8_t)below(r, 256); break;
    case 2: /* a number over what is there */
    case 3:
        for (size_t i = 0; i < (size_t)4 << below(r, 2) && at + i < *size; i++)
            b[at + i] = (uint8_t)(v >> (8 * i) & 0xff);
        break;
    case 4: splice(b, size, at, below(r, 4), word, strlen(word)); break;
    case 5: splice(b, size, at, n, "", 0); break;
    case 6: /* a stretch again, elsewhere */
        if (at + n > *size) break;
        memcpy(piece, b + at, n);
        splice(b, size, below(r, *size), 0, piece, n);
        break;
    default: *size = 1 + below(r, *size); break;
    }
    if (*size == 0) *size = 1;
}

/* A header whose length still fits gets past the first check. */
static void repair_length(uint8_t *b, size_t size) {
    size_t end = size;
    if (size < 10 || b[8] != '{') return;
    while (end > 9 && b[end - 1] != '}') end--;
    for (int i = 0; i < 8; i++) b[i] = (uint8_t)((end - 8) >> (8 * i) & 0xff);
}

static void replay(const void *seed, size_t n, uint64_t number) {
    static uint8_t b[INPUT_BYTES];
    rs_rng r;
    const char *asked = getenv("ROPESCOPE_FUZZ_ROUNDS");
    long rounds = asked ? strtol(asked, NULL, 10) : DEFAULT_ROUNDS;
    rs_rng_init(&r, number);
    LLVMFuzzerTestOneInput(seed, n);
    for (long i = 0; i < rounds; i++) {
        size_t size = n;
        memcpy(b, seed, n);
        for (int64_t k = 1 + rs_rng_below(&r, 4); k > 0; k--) damage(&r, b, &size);
        if (rs_rng_below(&r, 2)) repair_length(b, size);
        LLVMFuzzerTestOneInput(b, size);
    }
}

static void test_safetensors(void **state) {
    (void)state;
    rs_text b = {0};
    put_safetensors(&b, small_safetensors_header, 40);
    replay(b.data, b.bytes, 1);
    rs_text_deinit(&b);
}

static void test_index(void **state) {
    (void)state;
    replay(index_seed, strlen(index_seed), 2);
}

static void test_gguf(void **state) {
    (void)state;
    rs_text b = {0};
    put_small_gguf(&b);
    replay(b.data, b.bytes, 3);
    rs_text_deinit(&b);
}

static void test_llama2c(void **state) {
    (void)state;
    rs_text b = {0};
    put_llama2c(&b, true);
    replay(b.data, b.bytes, 4);
    rs_text_deinit(&b);
}

static void test_short(void **state) {
    (void)state;
    static const char *const starts[] = {
        "", "G", "GGUF", "GGUF\003", "{", "{}", "24ka\001", "24ka\002", "version https://git-lfs", "PK\003\004"};
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        uint8_t b[16];
        for (size_t n = 0; n <= sizeof b; n++) {
            memset(b, 0, sizeof b);
            memcpy(b, starts[i], strlen(starts[i]) < sizeof b ? strlen(starts[i]) : sizeof b);
            LLVMFuzzerTestOneInput(b, n);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_safetensors), cmocka_unit_test(test_index), cmocka_unit_test(test_gguf),
        cmocka_unit_test(test_llama2c),     cmocka_unit_test(test_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
