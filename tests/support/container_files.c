/* tests/support/container_files.c: see container_files.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/container_files.h"

#include "analyzer/base/alloc.h"
#include "analyzer/base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { PATH_BYTES = 512, PATHS = 1024 };

static char root[] = "/tmp/ropescope-containers-XXXXXX";
static struct {
    char *path;
    int made; /* its turn among the things made, from 1; 0: not made */
} paths[PATHS];
static int path_count, made_count;

/* ---- Files ---- */

void files_begin(void) {
    if (!mkdtemp(root)) abort();
}

static int number_of(const char *path) {
    for (int i = 0; i < path_count; i++) {
        if (strcmp(paths[i].path, path) == 0) return i;
    }
    if (path_count == PATHS) abort();
    paths[path_count].path = malloc(strlen(path) + 1);
    if (!paths[path_count].path) abort();
    strcpy(paths[path_count].path, path);
    return path_count++;
}

static void remember(const char *path) {
    int i = number_of(path);
    if (paths[i].made == 0) paths[i].made = ++made_count;
}

/* What was made last goes first: files before their folders. */
void files_end(void) {
    for (; made_count > 0; made_count--) {
        for (int i = 0; i < path_count; i++) {
            if (paths[i].made == made_count && remove(paths[i].path) != 0) perror(paths[i].path);
        }
    }
    while (path_count > 0) free(paths[--path_count].path);
    if (rmdir(root) != 0) perror(root);
}

const char *files_path(const char *name) {
    char path[PATH_BYTES];
    if (snprintf(path, PATH_BYTES, "%s/%s", root, name) >= PATH_BYTES) abort();
    return paths[number_of(path)].path;
}

const char *files_folder(const char *name) {
    const char *path = files_path(name);
    if (!rs_path_is_folder(path) && mkdir(path, 0777) != 0) abort();
    remember(path);
    return path;
}

const char *files_write(const char *name, const void *bytes, size_t n) {
    const char *path = files_path(name);
    remove(path); /* some file systems sync a file that is emptied and written again: a thousand times slower */
    FILE *f = fopen(path, "wb");
    if (!f || (n > 0 && fwrite(bytes, 1, n, f) != n) || fclose(f) != 0) abort();
    remember(path);
    return path;
}

const char *files_write_text(const char *name, const char *s) { return files_write(name, s, strlen(s)); }

const char *files_write_gzip(const char *name, const char *s) {
    const char *path = files_write(name, "", 0);
    size_t n = strlen(s), half = n / 2;
    for (int part = 0; part < 2; part++) {
        gzFile f = gzopen(path, part ? "ab" : "wb");
        unsigned bytes = (unsigned)(part ? n - half : half);
        if (!f || gzwrite(f, s + (part ? half : 0), bytes) != (int)bytes || gzclose(f) != Z_OK) abort();
    }
    return path;
}

/* ---- Bytes ---- */

static void put_little(rs_text *b, uint64_t v, int bytes) {
    for (int i = 0; i < bytes; i++) put_u8(b, (unsigned)(v >> (8 * i) & 0xff));
}

void put_u8(rs_text *b, unsigned v) {
    unsigned char c = (unsigned char)v;
    rs_text_append_n(b, &c, 1);
}

void put_u32(rs_text *b, uint32_t v) { put_little(b, v, 4); }

void put_u64(rs_text *b, uint64_t v) { put_little(b, v, 8); }

void put_f32(rs_text *b, float v) {
    uint32_t u;
    memcpy(&u, &v, sizeof u);
    put_u32(b, u);
}

void put_pattern(rs_text *b, size_t n) {
    for (size_t i = 0; i < n; i++) put_u8(b, (unsigned)(7 * i + 3) & 0xff);
}

void put_padding(rs_text *b, size_t multiple) {
    while (b->bytes % multiple != 0) put_u8(b, 0);
}

/* ---- Containers ---- */

void put_safetensors(rs_text *b, const char *header, size_t n) {
    put_u64(b, strlen(header));
    rs_text_append(b, header);
    put_pattern(b, n);
}

const char small_safetensors_header[] = "{\"__metadata__\":{\"format\":\"pt\"},"
                                        "\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
                                        "\"b\":{\"dtype\":\"BF16\",\"shape\":[4],\"data_offsets\":[24,32]},"
                                        "\"c\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[32,40]}}";

void put_gguf_string(rs_text *b, const char *s) {
    put_u64(b, strlen(s));
    rs_text_append(b, s);
}

void put_gguf_head(rs_text *b, uint32_t version, uint64_t tensors, uint64_t pairs) {
    rs_text_append(b, "GGUF");
    put_u32(b, version);
    put_u64(b, tensors);
    put_u64(b, pairs);
}

void put_gguf_key(rs_text *b, const char *key, uint32_t type) {
    put_gguf_string(b, key);
    put_u32(b, type);
}

void put_gguf_tensor(rs_text *b, const char *name, uint32_t n_dims, const uint64_t *dims, uint32_t type,
                     uint64_t offset) {
    put_gguf_string(b, name);
    put_u32(b, n_dims);
    for (uint32_t i = 0; i < n_dims; i++) put_u64(b, dims[i]);
    put_u32(b, type);
    put_u64(b, offset);
}

static void put_small_pairs(rs_text *b) {
    put_gguf_key(b, "u8", 0), put_u8(b, 200);
    put_gguf_key(b, "i8", 1), put_u8(b, 0x80);                   /* -128 */
    put_gguf_key(b, "u16", 2), put_u8(b, 0xff), put_u8(b, 0xff); /* 65535 */
    put_gguf_key(b, "i16", 3), put_u8(b, 0xfe), put_u8(b, 0xff); /* -2 */
    put_gguf_key(b, "u32", 4), put_u32(b, 4000000000U);
    put_gguf_key(b, "i32", 5), put_u32(b, 0x80000000U); /* -2147483648 */
    put_gguf_key(b, "f32", 6), put_u32(b, 0x3fc00000U); /* 1.5 */
    put_gguf_key(b, "yes", 7), put_u8(b, 1);
    put_gguf_key(b, "no", 7), put_u8(b, 0);
    put_gguf_key(b, "string", 8), put_gguf_string(b, "caf\xc3\xa9");
    put_gguf_key(b, "u64", 10), put_u64(b, 0x8000000000000000U); /* 2^63, beyond int64 */
    put_gguf_key(b, "i64", 11), put_u64(b, 0xffffffffffffffffU); /* -1 */
    put_gguf_key(b, "f64", 12), put_u64(b, 0x3fb999999999999aU); /* 0.1 */
    put_gguf_key(b, "words", 9), put_u32(b, 8), put_u64(b, 3);
    put_gguf_string(b, "one"), put_gguf_string(b, ""),
        put_gguf_string(b, "\xff\xfe"); /* not UTF-8: bytes all the same */
    put_gguf_key(b, "flags", 9), put_u32(b, 7), put_u64(b, 2), put_u8(b, 1), put_u8(b, 0);
    put_gguf_key(b, "sizes", 9), put_u32(b, 5), put_u64(b, 2), put_u32(b, 7), put_u32(b, 0xffffffffU);
    put_gguf_key(b, "empty", 9), put_u32(b, 4), put_u64(b, 0);
}

void put_small_gguf(rs_text *b) {
    static const uint64_t dims[4][3] = {{3, 2, 0}, {32, 2, 1}, {256, 0, 0}, {5, 0, 0}};
    put_gguf_head(b, 3, 4, 17);
    put_small_pairs(b);
    put_gguf_tensor(b, "plain.weight", 2, dims[0], 0, 0);      /* F32: 24 bytes, padded to 32 */
    put_gguf_tensor(b, "blocks.weight", 3, dims[1], 8, 32);    /* Q8_0: 2 blocks of 34, padded to 96 */
    put_gguf_tensor(b, "foreign.weight", 1, dims[2], 10, 128); /* Q2_K: 84 bytes, padded to 96 */
    put_gguf_tensor(b, "last.bias", 1, dims[3], 1, 224);       /* F16: 10 bytes */
    put_padding(b, 32);
    put_pattern(b, 234);
}

void put_llama2c(rs_text *b, bool separate_classifier) {
    static const uint32_t header[] = {8, 6, 2, 4, 2, 5, 3};
    int floats = separate_classifier ? 798 : 758;
    for (int i = 0; i < 7; i++) put_u32(b, i == 5 && separate_classifier ? 0U - header[i] : header[i]);
    for (int i = 0; i < floats; i++) put_f32(b, (float)i);
}

/* ---- Checks ---- */

static void check_tensor(rs_checkpoint *c, const rs_tensor *t) {
    static rs_error err;
    int64_t elements = 1, bytes = 0;
    unsigned char *all = NULL, last = 0;
    assert_ptr_equal(rs_checkpoint_find(c, t->name), t);
    assert_true(t->file >= 0 && (size_t)t->file < rs_checkpoint_file_count(c));
    uint64_t size = rs_checkpoint_file_size(c, (size_t)t->file);
    assert_true(t->bytes >= 0 && (uint64_t)t->bytes <= size && t->offset <= size - (uint64_t)t->bytes);
    assert_true(t->n_dims >= 0 && t->n_dims <= 4);
    for (int i = 0; i < t->n_dims; i++) assert_true(t->dims[i] >= 0 && rs_mul_i64(elements, t->dims[i], &elements));
    if (t->usable) assert_true(rs_dtype_bytes(t->dtype, elements, &bytes) && bytes == t->bytes);
    assert_non_null(t->type_name);
    assert_int_equal(RS_NEW(&all, (size_t)t->bytes + 1, &err), RS_OK);
    assert_int_equal(rs_checkpoint_read(c, t, 0, all, t->bytes, &err), RS_OK);
    if (t->bytes > 0) {
        assert_int_equal(rs_checkpoint_read(c, t, t->bytes - 1, &last, 1, &err), RS_OK);
        assert_int_equal(last, all[t->bytes - 1]);
    }
    assert_int_equal(rs_checkpoint_read(c, t, 0, all, t->bytes + 1, &err), RS_E_INTERNAL);
    rs_free(all);
}

void check_sound(rs_checkpoint *c) {
    assert_true(strlen(rs_checkpoint_container_name(c)) > 0);
    if (rs_checkpoint_container(c) != RS_CONTAINER_HF)
        assert_true(rs_json_is(rs_checkpoint_metadata(c), RS_JSON_OBJECT));
    for (size_t i = 0; i < rs_checkpoint_tensor_count(c); i++) check_tensor(c, rs_checkpoint_tensor(c, i));
    assert_null(rs_checkpoint_tensor(c, rs_checkpoint_tensor_count(c)));
    assert_null(rs_checkpoint_find(c, "no such tensor"));
}

void check_refused(const char *path, rs_status st, const char *file, const char *fragment) {
    static rs_error err;
    rs_checkpoint *c = NULL;
    uint64_t live = rs_alloc_live();
    rs_status got = rs_checkpoint_open(path, &c, &err);
    if (got != st || !strstr(err.message, file) || !strstr(err.message, fragment))
        print_error("%s: status %d and \"%s\"; expected %d with \"%s\"\n", path, got, got ? err.message : "", st,
                    fragment);
    assert_int_equal(got, st);
    assert_int_equal(err.status, st);
    assert_null(c);
    assert_non_null(strstr(err.message, file));
    assert_non_null(strstr(err.message, fragment));
    assert_int_equal(rs_alloc_live(), live);
}

int files_group_begin(void **state) {
    (void)state;
    files_begin();
    return 0;
}

int files_group_end(void **state) {
    (void)state;
    files_end();
    return 0;
}
