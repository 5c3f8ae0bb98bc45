/* data/tokenizer_llama2c.c: llama2.c's tok*.bin: u32 longest piece; per token f32 score, u32 bytes, the bytes;
 * little-endian. Ids 0, 1, 2 are <unk>, BOS, EOS; 3..258 the bytes <0x00>..<0xFF>; then pieces, with plain spaces. One
 * space is put in front of the text, pairs join by score, what no piece covers becomes its bytes (run.c, encode). */
#include "analyzer/base/alloc.h"
#include "analyzer/base/file.h"
#include "data/tokenizer_parts.h"

#include <stdio.h>
#include <string.h>

enum { MAX_BYTES = 1 << 26, BOS = 1, FIRST_BYTE = 3, FIRST_PIECE = FIRST_BYTE + 256 };

static uint32_t little_endian(const char *p) {
    const unsigned char *b = (const unsigned char *)p;
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static double real_of(uint32_t bits) {
    float f = 0;
    memcpy(&f, &bits, sizeof f);
    return (double)f;
}

/* How many tokens there are, all of them whole. */
static rs_status count_tokens(const char *p, size_t n, size_t *count, rs_error *err) {
    size_t at = 4;
    for (*count = 0; at < n; ++*count) {
        size_t left = n - at;
        if (left < 8 || little_endian(p + at + 4) > left - 8)
            return rs_fail(err, RS_E_FORMAT,
                           "token %zu at byte %zu ends behind the file's %zu bytes: not a llama2.c tokenizer", *count,
                           at, n);
        at += 8 + little_endian(p + at + 4);
    }
    if (n < 4 || *count <= FIRST_PIECE || *count > RS_VOCAB_MAX)
        return rs_fail(err, RS_E_FORMAT, "found %zu tokens, expected %d..%d: not a llama2.c tokenizer", *count,
                       FIRST_PIECE + 1, RS_VOCAB_MAX);
    return RS_OK;
}

static rs_status put_token(rs_tokenizer *t, size_t id, const char *s, size_t n, rs_error *err) {
    int byte = (int)id - FIRST_BYTE;
    if (id >= FIRST_BYTE && id < FIRST_PIECE) {
        if (rs_byte_piece(s, n) != byte)
            return rs_fail(err, RS_E_FORMAT, "token %zu: expected <0x%02X>", id, (unsigned)byte);
        t->bpe.byte_id[byte] = (int32_t)id;
    }
    return rs_pieces_put(&t->bpe.pieces, (int64_t)id, s, n, id >= FIRST_PIECE && n > 0, err);
}

static rs_status read_tokens(rs_tokenizer *t, const char *p, size_t count, rs_error *err) {
    rs_status st = RS_OK;
    double *score = NULL;
    bool *joinable = NULL;
    size_t at = 4;
    RS_TRY(RS_NEW(&score, count, err));
    RS_TRY(RS_NEW(&joinable, count, err));
    for (size_t i = 0; i < count; i++) {
        size_t n = little_endian(p + at + 4);
        score[i] = real_of(little_endian(p + at));
        joinable[i] = i >= FIRST_PIECE && n > 0;
        RS_TRY(put_token(t, i, p + at + 8, n, err));
        at += 8 + n;
    }
    RS_TRY(rs_bpe_order_by_score(&t->bpe, score, joinable, err));
    RS_TRY(rs_steps_prefix(&t->steps, " ", 1, false, false, err));
    t->steps.normalizers = t->steps.count;
out:
    rs_free(score);
    rs_free(joinable);
    return st;
}

rs_status rs_tokenizer_read_llama2c(rs_tokenizer *t, const char *path, rs_error *err) {
    char *bytes = NULL;
    size_t n = 0;
    size_t count = 0;
    rs_status st = rs_file_read_all(path, MAX_BYTES, &bytes, &n, err);
    if (st != RS_OK) return st;
    st = count_tokens(bytes, n, &count, err);
    if (st == RS_OK) st = read_tokens(t, bytes, count, err);
    if (st != RS_OK) rs_error_prefix(err, "%s", path);
    t->bpe.byte_fallback = true;
    t->bpe.unknown = 0;
    t->bos = BOS;
    t->adds_bos = true;
    t->spelling = RS_SPELL_PLAIN;
    snprintf(t->kind, sizeof t->kind, "SentencePiece BPE (llama2.c)");
    rs_free(bytes);
    return st;
}
