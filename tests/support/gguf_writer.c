/* Layout: ggml, docs/gguf.md. */
#include "tests/support/gguf_writer.h"

#include "tests/support/container_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { U32 = 4, F32 = 6, BOOL = 7, STRING = 8, ARRAY = 9 }; /* of pairs */
enum { TENSOR_F32 = 0, ALIGNMENT = 32, DIMS = 4 };

struct gguf_writer {
    rs_text pairs, infos, data;
    uint64_t n_pairs, n_tensors;
};

static void put_key(gguf_writer *w, const char *key, uint32_t type) {
    put_gguf_key(&w->pairs, key, type);
    w->n_pairs++;
}

gguf_writer *gguf_begin(void) { return calloc(1, sizeof(gguf_writer)); }

void gguf_u32(gguf_writer *w, const char *key, uint32_t value) {
    put_key(w, key, U32);
    put_u32(&w->pairs, value);
}

void gguf_f32(gguf_writer *w, const char *key, float value) {
    put_key(w, key, F32);
    put_f32(&w->pairs, value);
}

void gguf_bool(gguf_writer *w, const char *key, bool value) {
    put_key(w, key, BOOL);
    put_u8(&w->pairs, value);
}

void gguf_string(gguf_writer *w, const char *key, const char *value) {
    put_key(w, key, STRING);
    put_gguf_string(&w->pairs, value);
}

static void put_array(gguf_writer *w, const char *key, uint32_t type, size_t n) {
    put_key(w, key, ARRAY);
    put_u32(&w->pairs, type);
    put_u64(&w->pairs, n);
}

void gguf_u32s(gguf_writer *w, const char *key, const uint32_t *values, size_t n) {
    put_array(w, key, U32, n);
    for (size_t i = 0; i < n; i++) put_u32(&w->pairs, values[i]);
}

void gguf_bools(gguf_writer *w, const char *key, const bool *values, size_t n) {
    put_array(w, key, BOOL, n);
    for (size_t i = 0; i < n; i++) put_u8(&w->pairs, values[i]);
}

void gguf_tensor(gguf_writer *w, const char *name, int n_dims, const int64_t *dims, const float *data) {
    uint64_t turned[DIMS] = {0}; /* the file names the contiguous one first */
    size_t n = 1;
    for (int i = 0; i < n_dims; i++) {
        turned[i] = (uint64_t)dims[n_dims - 1 - i];
        n *= (size_t)dims[i];
    }
    put_gguf_tensor(&w->infos, name, (uint32_t)n_dims, turned, TENSOR_F32, w->data.bytes);
    for (size_t i = 0; i < n; i++) put_f32(&w->data, data ? data[i] : 0.0F);
    put_padding(&w->data, ALIGNMENT);
    w->n_tensors++;
}

bool gguf_finish(gguf_writer *w, const char *path) {
    rs_text file = {0};
    put_gguf_head(&file, 3, w->n_tensors, w->n_pairs);
    rs_text_append_n(&file, w->pairs.data, w->pairs.bytes);
    if (w->n_tensors > 0) {
        rs_text_append_n(&file, w->infos.data, w->infos.bytes);
        put_padding(&file, ALIGNMENT);
        rs_text_append_n(&file, w->data.data, w->data.bytes);
    }
    FILE *f = fopen(path, "wb");
    bool ok = f && !file.failed && fwrite(file.data, 1, file.bytes, f) == file.bytes;
    if (f) ok = fclose(f) == 0 && ok;
    rs_text_deinit(&file);
    rs_text_deinit(&w->pairs);
    rs_text_deinit(&w->infos);
    rs_text_deinit(&w->data);
    free(w);
    return ok;
}
