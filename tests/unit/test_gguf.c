/* tests/unit/test_gguf.c: GGUF, written byte by byte from the layout in ggml's docs/gguf.md. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/container_files.h"

#include "analyzer/base/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static rs_error err;

static rs_checkpoint *open_file(const char *path) {
    rs_checkpoint *c = NULL;
    rs_status st = rs_checkpoint_open(path, &c, &err);
    if (st != RS_OK) print_error("%s\n", err.message);
    assert_int_equal(st, RS_OK);
    check_sound(c);
    return c;
}

static rs_checkpoint *open_bytes(rs_text *b, const char *name) {
    rs_checkpoint *c = open_file(files_write(name, b->data, b->bytes));
    rs_text_deinit(b);
    return c;
}

static void refuse_bytes(rs_text *b, rs_status st, const char *fragment) {
    check_refused(files_write("bad.gguf", b->data, b->bytes), st, "bad.gguf", fragment);
    rs_text_deinit(b);
}

static const rs_json *get(rs_checkpoint *c, const char *key) { return rs_json_get(rs_checkpoint_metadata(c), key); }

static bool is_int(rs_checkpoint *c, const char *key, int64_t v) {
    return rs_json_is(get(c, key), RS_JSON_INT) && rs_json_int(get(c, key), v + 1) == v;
}

/* Exact: both sides are the same decimal, rounded once. */
static bool is_real(rs_checkpoint *c, const char *key, double v) {
    double got = rs_json_real(get(c, key), 0);
    return rs_json_is(get(c, key), RS_JSON_REAL) && memcmp(&got, &v, sizeof v) == 0;
}

static void test_values(void **state) {
    (void)state;
    rs_text b = {0};
    size_t n = 0;
    put_small_gguf(&b);
    rs_checkpoint *c = open_bytes(&b, "small.gguf");
    assert_string_equal(rs_checkpoint_container_name(c), "GGUF v3");
    assert_int_equal(rs_json_size(rs_checkpoint_metadata(c)), 17);
    assert_true(is_int(c, "u8", 200) && is_int(c, "i8", -128) && is_int(c, "u16", 65535) && is_int(c, "i16", -2));
    assert_true(is_int(c, "u32", 4000000000) && is_int(c, "i32", -2147483647 - 1) && is_int(c, "i64", -1));
    assert_true(is_real(c, "u64", 9223372036854775808.0) && is_real(c, "f32", 1.5) && is_real(c, "f64", 0.1));
    assert_true(rs_json_is(get(c, "yes"), RS_JSON_BOOL) && rs_json_bool(get(c, "yes"), false));
    assert_true(rs_json_is(get(c, "no"), RS_JSON_BOOL) && !rs_json_bool(get(c, "no"), true));
    assert_string_equal(rs_json_string(get(c, "string"), &n), "caf\xc3\xa9");
    assert_int_equal(n, 5);
    const rs_json *words = get(c, "words"), *flags = get(c, "flags"), *sizes = get(c, "sizes");
    assert_int_equal(rs_json_size(words), 3);
    assert_string_equal(rs_json_string(rs_json_at(words, 0), NULL), "one");
    assert_string_equal(rs_json_string(rs_json_at(words, 1), NULL), "");
    assert_string_equal(rs_json_string(rs_json_at(words, 2), NULL), "\xff\xfe");
    assert_true(rs_json_bool(rs_json_at(flags, 0), false) && !rs_json_bool(rs_json_at(flags, 1), true));
    assert_true(rs_json_int(rs_json_at(sizes, 0), 0) == 7 && rs_json_int(rs_json_at(sizes, 1), 0) == -1);
    assert_true(rs_json_is(get(c, "empty"), RS_JSON_ARRAY) && rs_json_size(get(c, "empty")) == 0);
    rs_checkpoint_close(c);
}

static void test_tensors(void **state) {
    (void)state;
    rs_text b = {0};
    unsigned char bytes[10];
    put_small_gguf(&b);
    uint64_t data = b.bytes - 234;
    rs_checkpoint *c = open_bytes(&b, "small.gguf");
    assert_int_equal(rs_checkpoint_tensor_count(c), 4);
    const rs_tensor *t = rs_checkpoint_find(c, "plain.weight");
    assert_true(t->dtype == RS_F32 && t->usable && t->n_dims == 2 && t->dims[0] == 2 && t->dims[1] == 3 &&
                t->offset == data);
    t = rs_checkpoint_find(c, "blocks.weight");
    assert_true(t->dtype == RS_Q8_0 && t->usable && t->n_dims == 3 && t->dims[0] == 1 && t->dims[1] == 2 &&
                t->dims[2] == 32);
    assert_true(t->offset == data + 32 && t->bytes == 68);
    t = rs_checkpoint_find(c, "foreign.weight");
    assert_true(!t->usable && t->bytes == 84 && t->offset == data + 128);
    assert_string_equal(t->type_name, "Q2_K");
    t = rs_checkpoint_find(c, "last.bias");
    assert_int_equal(rs_checkpoint_read(c, t, 0, bytes, 10, &err), RS_OK);
    for (int i = 0; i < 10; i++) assert_int_equal(bytes[i], (7 * (224 + i) + 3) % 256);
    rs_checkpoint_close(c);
}

/* One tensor and what may be wrong with it; a zero takes the default. */
typedef struct plan {
    uint32_t version, n_dims, type, alignment, alignment_type;
    uint64_t dims[5], offset, tensors, data;
    const char *name;
} plan;

static void put_plan(rs_text *b, const plan *p) {
    static const uint64_t plain[5] = {4, 2, 1, 1, 1};
    put_gguf_head(b, p->version ? p->version : 3, p->tensors ? p->tensors : 1, p->alignment_type ? 1 : 0);
    if (p->alignment_type) put_gguf_key(b, "general.alignment", p->alignment_type), put_u32(b, p->alignment);
    put_gguf_tensor(b, p->name ? p->name : "t", p->n_dims ? p->n_dims : 2, p->dims[0] ? p->dims : plain, p->type,
                    p->offset);
    put_padding(b, p->alignment == 8 || p->alignment == 64 ? p->alignment : 32);
    put_pattern(b, p->data ? p->data : 32);
}

static void test_accepted(void **state) {
    (void)state;
    static const plan good[] = {
        {.version = 2},
        {.offset = 32, .data = 64},
        {.alignment_type = 4, .alignment = 8, .offset = 8, .data = 40},
        {.alignment_type = 4, .alignment = 64, .offset = 64, .data = 96},
        {.n_dims = 4},
        {.n_dims = 1, .dims = {32}, .type = 2, .data = 18},
        {.n_dims = 2, .dims = {256, 3}, .type = 12, .data = 3 * 144},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        rs_text b = {0};
        put_plan(&b, &good[i]);
        size_t data = b.bytes - (good[i].data ? good[i].data : 32);
        rs_checkpoint *c = open_bytes(&b, "plan.gguf");
        assert_int_equal(rs_checkpoint_find(c, "t")->offset, data + good[i].offset);
        rs_checkpoint_close(c);
    }
}

/* Type, its block and the block's bytes as the gguf package for Python has them; 0: listed without a size. */
static const struct type_row {
    uint32_t id;
    const char *name;
    uint64_t block, bytes;
    bool usable;
} type_rows[] = {
    {0, "F32", 1, 4, true},          {1, "F16", 1, 2, true},          {2, "Q4_0", 32, 18, true},
    {3, "Q4_1", 32, 20, true},       {6, "Q5_0", 32, 22, true},       {7, "Q5_1", 32, 24, true},
    {8, "Q8_0", 32, 34, true},       {9, "Q8_1", 32, 0, false},       {10, "Q2_K", 256, 84, false},
    {11, "Q3_K", 256, 110, false},   {12, "Q4_K", 256, 144, true},    {13, "Q5_K", 256, 176, true},
    {14, "Q6_K", 256, 210, true},    {15, "Q8_K", 256, 292, false},   {16, "IQ2_XXS", 256, 66, false},
    {17, "IQ2_XS", 256, 74, false},  {18, "IQ3_XXS", 256, 98, false}, {19, "IQ1_S", 256, 50, false},
    {20, "IQ4_NL", 32, 18, false},   {21, "IQ3_S", 256, 110, false},  {22, "IQ2_S", 256, 82, false},
    {23, "IQ4_XS", 256, 136, false}, {24, "I8", 1, 1, false},         {25, "I16", 1, 2, false},
    {26, "I32", 1, 4, false},        {27, "I64", 1, 8, false},        {29, "IQ1_M", 256, 56, false},
    {30, "BF16", 1, 2, true},        {34, "TQ1_0", 256, 54, false},   {35, "TQ2_0", 256, 66, false},
    {39, "MXFP4", 32, 17, false},    {40, "NVFP4", 64, 36, false},    {41, "Q1_0", 128, 18, false},
    {42, "Q2_0", 64, 0, false},
};

static void test_types(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof type_rows / sizeof type_rows[0]; i++) {
        const struct type_row *row = &type_rows[i];
        plan p = {.n_dims = 2, .dims = {3 * row->block, 2}, .type = row->id, .data = row->bytes ? 6 * row->bytes : 32};
        rs_text b = {0};
        put_plan(&b, &p);
        rs_checkpoint *c = open_bytes(&b, "plan.gguf");
        const rs_tensor *t = rs_checkpoint_find(c, "t");
        assert_string_equal(t->type_name, row->name);
        assert_int_equal(t->usable, row->usable);
        assert_int_equal(t->bytes, 6 * row->bytes);
        rs_checkpoint_close(c);
        if (row->bytes == 0) continue;
        p.data--; /* one byte short of the last block */
        put_plan(&b, &p);
        refuse_bytes(&b, RS_E_FORMAT, "tensor 't'");
        if (row->block == 1) continue;
        p.data++;
        p.dims[0]++; /* no whole number of blocks */
        put_plan(&b, &p);
        refuse_bytes(&b, RS_E_FORMAT, "comes in blocks of");
    }
    static const uint32_t unknown[] = {4, 5, 31, 32, 33, 36, 37, 38, 43, 97, 137, UINT32_MAX};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        rs_text b = {0};
        char fragment[64];
        snprintf(fragment, sizeof fragment, "tensor 't': type %lu is unknown", (unsigned long)unknown[i]);
        put_plan(&b, &(plan){.type = unknown[i]});
        refuse_bytes(&b, RS_E_FORMAT, fragment);
    }
}

static void test_refused_tensors(void **state) {
    (void)state;
    static const struct {
        plan p;
        rs_status st;
        const char *fragment;
    } rows[] = {
        {{.version = 1}, RS_E_UNSUPPORTED, "version 1"},
        {{.version = 4}, RS_E_UNSUPPORTED, "version 4"},
        {{.version = 0x03000000}, RS_E_UNSUPPORTED, "big-endian"},
        {{.version = 0x02000000}, RS_E_UNSUPPORTED, "big-endian"},
        {{.n_dims = 5}, RS_E_FORMAT, "tensor 't': 5 dimensions"},
        {{.n_dims = 2, .dims = {4, 0}}, RS_E_FORMAT, "tensor 't': dimension 0"},
        {{.n_dims = 2, .dims = {4, UINT64_MAX}}, RS_E_FORMAT, "tensor 't': dimension -1"},
        {{.n_dims = 2, .dims = {UINT64_C(1) << 32, UINT64_C(1) << 32}}, RS_E_FORMAT, "too large"},
        {{.n_dims = 1, .dims = {UINT64_C(1) << 62}}, RS_E_FORMAT, "tensor 't': is too large"},
        {{.n_dims = 1, .dims = {9}}, RS_E_FORMAT, "tensor 't': 36 bytes at offset 0"},
        {{.offset = 32}, RS_E_FORMAT, "tensor 't': 32 bytes at offset 32"},
        {{.offset = 8}, RS_E_FORMAT, "no multiple of the alignment 32"},
        {{.offset = UINT64_MAX - 31}, RS_E_FORMAT, "tensor 't'"},
        {{.alignment_type = 4, .alignment = 24}, RS_E_FORMAT, "'general.alignment': 24"},
        {{.alignment_type = 4, .alignment = 4}, RS_E_FORMAT, "'general.alignment': 4"},
        {{.alignment_type = 4, .alignment = 0}, RS_E_FORMAT, "'general.alignment': 0"},
        {{.alignment_type = 6, .alignment = 0x42000000}, RS_E_FORMAT, "'general.alignment'"}, /* 32.0 as f32 */
        {{.alignment_type = 4, .alignment = 0x80000000}, RS_E_FORMAT, "tensor 't'"},
        {{.tensors = 2}, RS_E_FORMAT, ""},
        {{.tensors = UINT64_MAX}, RS_E_FORMAT, "18446744073709551615 tensors"},
        {{.tensors = UINT64_C(1) << 40}, RS_E_FORMAT, "1099511627776 tensors"},
        {{.name = "bad\nname"}, RS_E_FORMAT, "control character"},
        {{.name = "\xc3("}, RS_E_FORMAT, "not UTF-8"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        rs_text b = {0};
        put_plan(&b, &rows[i].p);
        refuse_bytes(&b, rows[i].st, rows[i].fragment);
    }
}

static void test_refused_lists(void **state) {
    (void)state;
    static const uint64_t dims[1] = {8};
    rs_text b = {0};
    for (int twice = 0; twice < 2; twice++) { /* the same name; then overlapping data */
        put_gguf_head(&b, 3, 2, 0);
        put_gguf_tensor(&b, "t", 1, dims, 0, 0);
        put_gguf_tensor(&b, twice ? "u" : "t", 1, dims, 0, twice ? 0 : 32);
        put_padding(&b, 32);
        put_pattern(&b, 64);
        refuse_bytes(&b, RS_E_FORMAT, twice ? "tensors 't' and 'u' overlap" : "tensor 't' stands there twice");
    }
    put_gguf_head(&b, 3, 1, 0); /* a count of dimensions that no file can hold */
    put_gguf_string(&b, "t");
    put_u32(&b, UINT32_MAX);
    put_pattern(&b, 64);
    refuse_bytes(&b, RS_E_FORMAT, "4294967295 dimensions");
    put_gguf_head(&b, 3, 1, 0);
    put_gguf_tensor(&b, "t", 0, NULL, 0, 0);
    put_pattern(&b, 64);
    refuse_bytes(&b, RS_E_FORMAT, "0 dimensions");
    put_gguf_head(&b, 3, 1, 0);
    put_gguf_tensor(&b, "", 1, dims, 0, 0);
    put_pattern(&b, 64);
    refuse_bytes(&b, RS_E_FORMAT, "a name has 0 bytes");
}

static void test_refused_pairs(void **state) {
    (void)state;
    rs_text b = {0};
    static const uint64_t counts[] = {UINT64_MAX, (uint64_t)INT64_MAX, 1000};
    for (int i = 0; i < 3; i++) {
        put_gguf_head(&b, 3, 0, counts[i]);
        put_pattern(&b, 64);
        refuse_bytes(&b, RS_E_FORMAT, "keys expected");
    }
    put_gguf_head(&b, 3, 0, 2);
    for (int i = 0; i < 2; i++) put_gguf_key(&b, "k", 4), put_u32(&b, 1);
    refuse_bytes(&b, RS_E_FORMAT, "key 'k' stands there twice");
    static const uint32_t types[] = {13, 255, UINT32_MAX};
    for (int i = 0; i < 3; i++) {
        put_gguf_head(&b, 3, 0, 1);
        put_gguf_key(&b, "k", types[i]), put_u64(&b, 1);
        refuse_bytes(&b, RS_E_FORMAT, "'k': value type");
        put_gguf_head(&b, 3, 0, 1);
        put_gguf_key(&b, "k", 9), put_u32(&b, types[i]), put_u64(&b, 1), put_u64(&b, 1);
        refuse_bytes(&b, RS_E_FORMAT, "'k': value type");
    }
    put_gguf_head(&b, 3, 0, 1);
    put_gguf_key(&b, "k", 9), put_u32(&b, 9), put_u64(&b, 1), put_u32(&b, 4), put_u64(&b, 0);
    refuse_bytes(&b, RS_E_UNSUPPORTED, "'k': an array of arrays");
    put_gguf_head(&b, 3, 0, 1);
    put_gguf_key(&b, "k", 7), put_u8(&b, 2);
    refuse_bytes(&b, RS_E_FORMAT, "'k': a boolean is 2");
    static const uint64_t lengths[] = {UINT64_MAX, (uint64_t)INT64_MAX, 65};
    for (int i = 0; i < 3; i++) { /* a string's length, an array's count, a key's length */
        put_gguf_head(&b, 3, 0, 1);
        put_gguf_key(&b, "k", 8), put_u64(&b, lengths[i]), put_pattern(&b, 64);
        refuse_bytes(&b, RS_E_FORMAT, "'k': ");
        put_gguf_head(&b, 3, 0, 1);
        put_gguf_key(&b, "k", 9), put_u32(&b, 0), put_u64(&b, lengths[i]), put_pattern(&b, 64);
        refuse_bytes(&b, RS_E_FORMAT, "'k': ");
        put_gguf_head(&b, 3, 0, 1);
        put_u64(&b, lengths[i]), put_pattern(&b, 64);
        refuse_bytes(&b, RS_E_FORMAT, "bytes expected at byte 32");
    }
    put_gguf_head(&b, 3, 0, 1);
    put_u64(&b, 3), put_u8(&b, 'k'), put_u8(&b, 0), put_u8(&b, 'k'), put_u32(&b, 4), put_u32(&b, 1);
    refuse_bytes(&b, RS_E_FORMAT, "holds a NUL");
}

/* Strings and numbers across the reader's buffer, and one string larger than it. */
static void test_large_header(void **state) {
    (void)state;
    enum { WORDS = 262144, LONG = 3000001 };
    rs_text b = {0};
    char word[32];
    put_gguf_head(&b, 3, 0, 3);
    put_gguf_key(&b, "words", 9), put_u32(&b, 8), put_u64(&b, WORDS);
    for (int i = 0; i < WORDS; i++) {
        snprintf(word, sizeof word, "w%d", i * 7);
        put_gguf_string(&b, word);
    }
    put_gguf_key(&b, "long", 8), put_u64(&b, LONG), put_pattern(&b, LONG);
    put_gguf_key(&b, "numbers", 9), put_u32(&b, 12), put_u64(&b, WORDS);
    for (int i = 0; i < WORDS; i++) put_u64(&b, 0x4000000000000000U + (uint64_t)i); /* 2 + i 2^-51 */
    rs_checkpoint *c = open_bytes(&b, "large.gguf");
    const rs_json *words = get(c, "words"), *numbers = get(c, "numbers");
    size_t n = 0;
    assert_int_equal(rs_json_size(words), WORDS);
    assert_int_equal(rs_json_size(numbers), WORDS);
    for (int i = 0; i < WORDS; i++) {
        snprintf(word, sizeof word, "w%d", i * 7);
        assert_string_equal(rs_json_string(rs_json_at(words, (size_t)i), NULL), word);
        double v = 2.0 + i * 0x1p-51, got = rs_json_real(rs_json_at(numbers, (size_t)i), 0);
        assert_memory_equal(&got, &v, sizeof v);
    }
    const char *s = rs_json_string(get(c, "long"), &n);
    assert_int_equal(n, LONG);
    for (size_t i = 0; i < LONG; i += 997) assert_int_equal((unsigned char)s[i], (7 * i + 3) % 256);
    rs_checkpoint_close(c);
}

/* ---- Split models ---- */

static void put_part(rs_text *b, uint32_t no, uint32_t count, const char *tensor, uint32_t total) {
    static const uint64_t dims[1] = {8};
    put_gguf_head(b, 3, tensor ? 1 : 0, no == 0 ? 4 : 3);
    if (no == 0) put_gguf_key(b, "general.architecture", 8), put_gguf_string(b, "llama");
    put_gguf_key(b, "split.no", 2), put_u8(b, no), put_u8(b, 0);
    put_gguf_key(b, "split.count", 2), put_u8(b, count), put_u8(b, 0);
    put_gguf_key(b, "split.tensors.count", 5), put_u32(b, total);
    if (tensor) put_gguf_tensor(b, tensor, 1, dims, 0, 0);
    put_padding(b, 32);
    if (tensor) put_pattern(b, 32);
}

static const char *write_part(const char *name, uint32_t no, uint32_t count, const char *tensor, uint32_t total) {
    rs_text b = {0};
    put_part(&b, no, count, tensor, total);
    const char *path = files_write(name, b.data, b.bytes);
    rs_text_deinit(&b);
    return path;
}

static void test_split(void **state) {
    (void)state;
    const char *first = write_part("m-00001-of-00003.gguf", 0, 3, NULL, 2),
               *third = files_path("m-00003-of-00003.gguf");
    check_refused(first, RS_E_FORMAT, "m-00001-of-00003.gguf",
                  "missing beside it: m-00002-of-00003.gguf, m-00003-of-00003.gguf");
    write_part("m-00003-of-00003.gguf", 2, 3, "b", 2);
    check_refused(third, RS_E_FORMAT, "m-00003-of-00003.gguf", "missing beside it: m-00002-of-00003.gguf");
    write_part("m-00002-of-00003.gguf", 1, 3, "a", 2);
    for (int i = 0; i < 2; i++) { /* whichever part is named */
        rs_checkpoint *c = open_file(i == 0 ? first : third);
        assert_int_equal(rs_checkpoint_file_count(c), 3);
        assert_int_equal(rs_checkpoint_tensor_count(c), 2);
        assert_int_equal(rs_checkpoint_find(c, "a")->file, 1);
        assert_int_equal(rs_checkpoint_find(c, "b")->file, 2);
        assert_string_equal(rs_json_string(get(c, "general.architecture"), NULL), "llama");
        rs_checkpoint_close(c);
    }
    write_part("m-00002-of-00003.gguf", 1, 3, "b", 2);
    check_refused(first, RS_E_FORMAT, "m-00002-of-00003.gguf", "tensor 'b' stands in");
    write_part("m-00002-of-00003.gguf", 1, 4, "a", 2);
    check_refused(first, RS_E_FORMAT, "m-00002-of-00003.gguf", "do not agree");
    write_part("m-00002-of-00003.gguf", 1, 3, "a", 3);
    write_part("m-00001-of-00003.gguf", 0, 3, NULL, 3);
    check_refused(first, RS_E_FORMAT, "m-00001-of-00003.gguf", "split.tensors.count is 3");
    files_write("m-00002-of-00003.gguf", "GGUF", 4);
    check_refused(first, RS_E_FORMAT, "m-00002-of-00003.gguf", "expected at byte 4");
    check_refused(write_part("renamed.gguf", 0, 3, NULL, 2), RS_E_FORMAT, "renamed.gguf", "-00001-of-00003.gguf");
    check_refused(write_part("m-00004-of-00003.gguf", 3, 3, NULL, 2), RS_E_FORMAT, "m-00004-of-00003.gguf",
                  "split.no 3");
    rs_checkpoint *c = open_file(write_part("single.gguf", 0, 1, "a", 1)); /* a split into one */
    assert_int_equal(rs_checkpoint_tensor_count(c), 1);
    rs_checkpoint_close(c);
}

/* ---- Real files; the expected numbers are what the gguf package for Python reads from them ---- */

static void test_vocabularies(void **state) {
    (void)state;
    static const struct {
        const char *file, *model, *token;
        size_t keys, tokens, merges, at;
    } rows[] = {
        {"ggml-vocab-deepseek-llm.gguf", "gpt2", "[PAD102399]", 23, 102400, 99757, 102399},
        {"ggml-vocab-gpt-2.gguf", "gpt2", "ale", 16, 50257, 50000, 1000},
        {"ggml-vocab-llama-spm.gguf", "llama", "\xe7\xbb\x99", 22, 32000, 0, 31999},
        {"ggml-vocab-mpt.gguf", "gpt2", "err", 17, 50432, 50009, 1000},
    };
    const char *folder = getenv("ROPESCOPE_TEST_DATA");
    if (!folder) skip();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char path[1024];
        snprintf(path, sizeof path, "%s/tokenizers/vectors/%s", folder, rows[i].file);
        rs_checkpoint *c = open_file(path);
        assert_int_equal(rs_checkpoint_tensor_count(c), 0);
        assert_int_equal(rs_json_size(rs_checkpoint_metadata(c)), rows[i].keys);
        assert_string_equal(rs_json_string(get(c, "tokenizer.ggml.model"), NULL), rows[i].model);
        assert_int_equal(rs_json_size(get(c, "tokenizer.ggml.tokens")), rows[i].tokens);
        assert_int_equal(rs_json_size(get(c, "tokenizer.ggml.merges")), rows[i].merges);
        assert_string_equal(rs_json_string(rs_json_at(get(c, "tokenizer.ggml.tokens"), rows[i].at), NULL),
                            rows[i].token);
        rs_checkpoint_close(c);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),          cmocka_unit_test(test_tensors),
        cmocka_unit_test(test_accepted),        cmocka_unit_test(test_types),
        cmocka_unit_test(test_refused_tensors), cmocka_unit_test(test_refused_lists),
        cmocka_unit_test(test_refused_pairs),   cmocka_unit_test(test_large_header),
        cmocka_unit_test(test_split),           cmocka_unit_test(test_vocabularies),
    };
    return cmocka_run_group_tests(tests, files_group_begin, files_group_end);
}
