/* tests/support/vocabulary_file.c: see vocabulary_file.h. */
#include "tests/support/vocabulary_file.h"

#include "tests/support/container_files.h"

#include <stdio.h>
#include <string.h>

enum { GGUF_U32 = 4, GGUF_I32 = 5, GGUF_F32 = 6, GGUF_BOOL = 7, GGUF_STRING = 8, GGUF_ARRAY = 9 };

static void put_list(rs_text *b, const char *key, uint32_t type, size_t n) {
    put_gguf_key(b, key, GGUF_ARRAY);
    put_u32(b, type);
    put_u64(b, n);
}

static void put_strings(rs_text *b, const char *key, const char *const *s, size_t n) {
    put_list(b, key, GGUF_STRING, n);
    for (size_t i = 0; i < n; i++) put_gguf_string(b, s[i]);
}

static void put_string(rs_text *b, const char *key, const char *s) {
    if (!s) return;
    put_gguf_key(b, key, GGUF_STRING);
    put_gguf_string(b, s);
}

static void put_bool(rs_text *b, const char *key, int value) {
    if (value == 0) return;
    put_gguf_key(b, key, GGUF_BOOL);
    put_u8(b, value > 0);
}

void put_vocabulary_gguf(rs_text *b, const vocabulary *v) {
    size_t pairs = (size_t) !!v->model + !!v->pre + !!v->tokens + !!v->scores + !!v->types + !!v->merges +
                   (v->add_bos != 0) + (v->add_space_prefix != 0) + (v->bos != 0);
    put_gguf_head(b, 3, 0, pairs);
    put_string(b, "tokenizer.ggml.model", v->model);
    put_string(b, "tokenizer.ggml.pre", v->pre);
    if (v->tokens) put_strings(b, "tokenizer.ggml.tokens", v->tokens, v->count);
    if (v->scores) put_list(b, "tokenizer.ggml.scores", GGUF_F32, v->count);
    for (size_t i = 0; v->scores && i < v->count; i++) put_f32(b, v->scores[i]);
    if (v->types) put_list(b, "tokenizer.ggml.token_type", GGUF_I32, v->count);
    for (size_t i = 0; v->types && i < v->count; i++) put_u32(b, (uint32_t)v->types[i]);
    if (v->merges) put_strings(b, "tokenizer.ggml.merges", v->merges, v->merge_count);
    put_bool(b, "tokenizer.ggml.add_bos_token", v->add_bos);
    put_bool(b, "tokenizer.ggml.add_space_prefix", v->add_space_prefix);
    if (v->bos != 0) {
        put_gguf_key(b, "tokenizer.ggml.bos_token_id", GGUF_U32);
        put_u32(b, (uint32_t)v->bos);
    }
    put_padding(b, 32);
}

static void put_piece(rs_text *b, const char *s, float score) {
    put_f32(b, score);
    put_u32(b, (uint32_t)strlen(s));
    rs_text_append(b, s);
}

void put_vocabulary_llama2c(rs_text *b, const char *const *pieces, const float *scores, size_t n) {
    put_u32(b, 7);
    put_piece(b, "<unk>", 0);
    put_piece(b, "\n<s>\n", 0);
    put_piece(b, "\n</s>\n", 0);
    for (unsigned i = 0; i < 256; i++) {
        char byte[8];
        snprintf(byte, sizeof byte, "<0x%02X>", i);
        put_piece(b, byte, 0);
    }
    for (size_t i = 0; i < n; i++) put_piece(b, pieces[i], scores[i]);
}

static rs_text shown;

const char *ids_of_bytes(const rs_tokenizer *t, const char *text, size_t n, bool parse_special) {
    static rs_error err;
    rs_ids ids = {0};
    shown.bytes = 0;
    rs_text_append(&shown, "");
    if (rs_tokenizer_encode(t, text, n, parse_special, &ids, &err) != RS_OK) rs_text_printf(&shown, "!%s", err.message);
    for (size_t i = 0; i < ids.count; i++) rs_text_printf(&shown, "%s%d", i ? " " : "", ids.id[i]);
    rs_ids_deinit(&ids);
    return shown.data;
}

const char *ids_of(const rs_tokenizer *t, const char *text, bool parse_special) {
    return ids_of_bytes(t, text, strlen(text), parse_special);
}

const char *ids_of_json(const rs_json *array) {
    static rs_text expected;
    expected.bytes = 0;
    rs_text_append(&expected, "");
    for (size_t i = 0; i < rs_json_size(array); i++)
        rs_text_printf(&expected, "%s%lld", i ? " " : "", (long long)rs_json_int(rs_json_at(array, i), -1));
    return expected.data;
}
