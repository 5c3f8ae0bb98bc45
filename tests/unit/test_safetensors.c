/* tests/unit/test_safetensors.c: the safetensors format, each rule of its description and of tensor.rs by a file that
 * keeps or breaks it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/container_files.h"

#include "analyzer/base/alloc.h"

#include <stdio.h>
#include <string.h>

static rs_error err;

static const char *write_model(const char *folder, const char *header, size_t data) {
    rs_text b = {0};
    char name[64];
    const char *path = files_folder(folder);
    put_safetensors(&b, header, data);
    snprintf(name, sizeof name, "%s/model.safetensors", folder);
    files_write(name, b.data, b.bytes);
    rs_text_deinit(&b);
    return path;
}

static rs_checkpoint *open_model(const char *header, size_t data) {
    rs_checkpoint *c = NULL;
    rs_status st = rs_checkpoint_open(write_model("good", header, data), &c, &err);
    if (st != RS_OK) print_error("%s\n", err.message);
    assert_int_equal(st, RS_OK);
    check_sound(c);
    return c;
}

static void test_small(void **state) {
    (void)state;
    unsigned char bytes[4];
    rs_checkpoint *c = open_model(small_safetensors_header, 40);
    size_t header = 8 + strlen(small_safetensors_header);
    assert_int_equal(rs_checkpoint_container(c), RS_CONTAINER_HF);
    assert_string_equal(rs_checkpoint_container_name(c), "Hugging Face safetensors");
    assert_int_equal(rs_checkpoint_tensor_count(c), 3);
    assert_null(rs_checkpoint_metadata(c)); /* no config.json */
    const rs_tensor *a = rs_checkpoint_find(c, "a"), *b = rs_checkpoint_find(c, "b"), *k = rs_checkpoint_find(c, "c");
    assert_true(a->dtype == RS_F32 && a->usable && a->n_dims == 2 && a->dims[0] == 2 && a->dims[1] == 3);
    assert_true(a->offset == header && a->bytes == 24);
    assert_true(b->dtype == RS_BF16 && b->usable && b->n_dims == 1 && b->dims[0] == 4 && b->offset == header + 24);
    assert_true(k->dtype == RS_I64 && !k->usable && k->n_dims == 0 && k->bytes == 8);
    assert_string_equal(k->type_name, "I64");
    assert_int_equal(rs_checkpoint_read(c, b, 2, bytes, 4, &err), RS_OK);
    for (int i = 0; i < 4; i++) assert_int_equal(bytes[i], (7 * (24 + 2 + i) + 3) % 256);
    rs_checkpoint_close(c);
}

/* Blanks behind the header, tensors listed out of order, sizes of zero, fields the format may get later. */
static void test_unusual(void **state) {
    (void)state;
    rs_checkpoint *c = open_model("{\"late\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[4,6]},"
                                  "\"none\":{\"dtype\":\"F32\",\"shape\":[0,9],\"data_offsets\":[4,4],\"note\":1},"
                                  "\"early\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}   ",
                                  6);
    assert_int_equal(rs_checkpoint_find(c, "none")->bytes, 0);
    assert_int_equal(rs_checkpoint_find(c, "early")->n_dims, 0);
    assert_int_equal(rs_checkpoint_find(c, "late")->dtype, RS_F16);
    rs_checkpoint_close(c);
    c = open_model("{}", 0);
    assert_int_equal(rs_checkpoint_tensor_count(c), 0);
    rs_checkpoint_close(c);
    c = open_model("{\"conv\":{\"dtype\":\"F32\",\"shape\":[2,1,1,2,3],\"data_offsets\":[0,48]}}", 48);
    const rs_tensor *t = rs_checkpoint_find(c, "conv");
    assert_true(!t->usable && t->n_dims == 4 && t->dims[0] == 2 && t->dims[3] == 6);
    assert_string_equal(t->type_name, "F32 with 5 dimensions");
    rs_checkpoint_close(c);
}

/* All types that tensor.rs lists, with the bits of one element; two elements each. */
static void test_types(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int bits;
        bool usable;
    } types[] = {
        {"F32", 32, true},     {"F16", 16, true},     {"BF16", 16, true},        {"BOOL", 8, false},
        {"F4", 4, false},      {"U8", 8, false},      {"I8", 8, false},          {"F8_E5M2", 8, false},
        {"F8_E4M3", 8, false}, {"F8_E8M0", 8, false}, {"F8_E4M3FNUZ", 8, false}, {"F8_E5M2FNUZ", 8, false},
        {"I16", 16, false},    {"U16", 16, false},    {"I32", 32, false},        {"U32", 32, false},
        {"C64", 64, false},    {"I64", 64, false},    {"U64", 64, false},
    };
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        char header[128];
        int bytes = 2 * types[i].bits / 8;
        snprintf(header, sizeof header, "{\"t\":{\"dtype\":\"%s\",\"shape\":[2],\"data_offsets\":[0,%d]}}",
                 types[i].name, bytes);
        rs_checkpoint *c = open_model(header, (size_t)bytes);
        const rs_tensor *t = rs_checkpoint_tensor(c, 0);
        assert_string_equal(t->type_name, types[i].name);
        assert_int_equal(t->usable, types[i].usable);
        assert_int_equal(t->bytes, bytes);
        rs_checkpoint_close(c);
    }
    /* Four elements of 6 bits are 3 bytes. */
    rs_checkpoint *c = open_model("{\"t\":{\"dtype\":\"F6_E3M2\",\"shape\":[4],\"data_offsets\":[0,3]}}", 3);
    assert_false(rs_checkpoint_tensor(c, 0)->usable);
    rs_checkpoint_close(c);
}

#define F32_AT(name, shape, begin, end)                                                                                \
    "\"" name "\":{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":[" begin "," end "]}"

static const struct refused {
    const char *header;
    size_t data;
    const char *fragment;
} refused[] = {
    /* offsets */
    {"{" F32_AT("t", "[1]", "4", "0") "}", 4, "tensor 't': data_offsets [4, 0]"},
    {"{" F32_AT("t", "[2]", "0", "8") "}", 4, "tensor 't': data_offsets [0, 8]"},
    {"{" F32_AT("t", "[1]", "-4", "0") "}", 4, "tensor 't': data_offsets"},
    {"{" F32_AT("t", "[1]", "0.0", "4.0") "}", 4, "tensor 't': data_offsets"},
    {"{" F32_AT("t", "[1]", "0", "18446744073709551620") "}", 4, "tensor 't': data_offsets"},
    {"{" F32_AT("t", "[1]", "18446744073709551612", "18446744073709551616") "}", 4, "tensor 't': data_offsets"},
    {"{\"t\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,4]}}", 4, "tensor 't': data_offsets"},
    {"{\"t\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":4}}", 4, "tensor 't': data_offsets"},
    {"{\"t\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "tensor 't': data_offsets"},
    /* sizes */
    {"{" F32_AT("t", "[2]", "0", "4") "}", 4, "tensor 't': 4 bytes found, but 2 elements of F32"},
    {"{" F32_AT("t", "[0]", "0", "4") "}", 4, "tensor 't': 4 bytes found, but 0 elements"},
    {"{" F32_AT("t", "[4294967296,4294967296]", "0", "0") "}", 0,
     "tensor 't': shape"}, /* 2^64 elements: 0 if it wrapped */
    {"{" F32_AT("t", "[4611686018427387904]", "0", "0") "}", 0, "tensor 't': 0 bytes found"}, /* 2^62 * 4 bytes */
    {"{" F32_AT("t", "[576460752303423489]", "0", "4") "}", 4,
     "tensor 't': 4 bytes found"}, /* 2^59 + 1: 32 bits if it wrapped */
    {"{" F32_AT("t", "[-1]", "0", "4") "}", 4, "tensor 't': shape"},
    {"{" F32_AT("t", "[1.0]", "0", "4") "}", 4, "tensor 't': shape"},
    {"{" F32_AT("t", "[\"1\"]", "0", "4") "}", 4, "tensor 't': shape"},
    {"{" F32_AT("t", "1", "0", "4") "}", 4, "tensor 't': shape is integer"},
    {"{\"t\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,1]}}", 1,
     "tensor 't': 1 bytes found, but 3 elements of F4"},
    /* cover */
    {"{" F32_AT("a", "[1]", "0", "4") "," F32_AT("b", "[1]", "8", "12") "}", 12, "tensor 'b' begins"},
    {"{" F32_AT("a", "[2]", "0", "8") "," F32_AT("b", "[2]", "4", "12") "}", 12, "tensor 'b' begins"},
    {"{" F32_AT("a", "[1]", "0", "4") "," F32_AT("b", "[1]", "0", "4") "}", 4, "begins"},
    {"{" F32_AT("a", "[1]", "4", "8") "}", 8, "tensor 'a' begins"},
    {"{" F32_AT("a", "[1]", "0", "4") "}", 5, "the last tensor ends"},
    {"{}", 1, "the last tensor ends"},
    /* types and structure */
    {"{\"t\":{\"dtype\":\"F99\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "tensor 't': dtype 'F99'"},
    {"{\"t\":{\"dtype\":\"Q4_0\",\"shape\":[32],\"data_offsets\":[0,18]}}", 18, "tensor 't': dtype 'Q4_0'"},
    {"{\"t\":{\"dtype\":\"f32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "tensor 't': dtype 'f32'"},
    {"{\"t\":{\"dtype\":7,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "tensor 't': dtype is integer"},
    {"{\"t\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "tensor 't': dtype is absent"},
    {"{\"t\":[]}", 0, "tensor 't': is described by array"},
    {"[]", 0, "does not begin with '{'"},
    {" {}", 0, "does not begin with '{'"},
    {"", 0, "does not begin with '{'"},
    {"{} {}", 0, "line 1"},
    {"{\"t\":", 0, "line 1"},
    {"{" F32_AT("t", "[1]", "0", "4") "," F32_AT("t", "[1]", "0", "4") "}", 4, "line 1"},
    {"{\"t\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "line 1"},
    {"{\"__metadata__\":{\"n\":1}}", 0, "__metadata__ holds integer"},
    {"{\"__metadata__\":[]}", 0, "__metadata__ is array"},
    {"{" F32_AT("t\\u0007", "[1]", "0", "4") "}", 4, "control character"},
    {"{" F32_AT("", "[1]", "0", "4") "}", 4, "a name has 0 bytes"},
    {"{" F32_AT("\xff", "[1]", "0", "4") "}", 4, "line 1"},
};

static void test_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        check_refused(write_model("bad", refused[i].header, refused[i].data), RS_E_FORMAT, "bad/model.safetensors",
                      refused[i].fragment);
}

static void test_header_length(void **state) {
    (void)state;
    static const struct {
        uint64_t length;
        size_t follow;
        const char *fragment;
    } rows[] = {
        {100000001, 16, "at most 100000000"},
        {UINT64_MAX, 16, "at most 100000000"},
        {UINT64_MAX - 7, 16, "at most"},
        {17, 16, "only 16 follow"},
        {1, 0, "only 0 follow"},
        {0, 0, "does not begin with '{'"},
    };
    const char *folder = files_folder("length");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        rs_text b = {0};
        put_u64(&b, rows[i].length);
        for (size_t k = 0; k < rows[i].follow; k++) put_u8(&b, ' ');
        files_write("length/model.safetensors", b.data, b.bytes);
        check_refused(folder, RS_E_FORMAT, "length/model.safetensors", rows[i].fragment);
        rs_text_deinit(&b);
    }
    files_write("length/model.safetensors", "1234567", 7);
    check_refused(folder, RS_E_FORMAT, "length/model.safetensors", "has 7 bytes");
    files_write("length/model.safetensors", "", 0);
    check_refused(folder, RS_E_FORMAT, "length/model.safetensors", "has 0 bytes");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small),   cmocka_unit_test(test_unusual),       cmocka_unit_test(test_types),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_header_length),
    };
    return cmocka_run_group_tests(tests, files_group_begin, files_group_end);
}
