/* data/tokenizer.h: text -> token ids, equal to what the checkpoint was trained with, or a refusal by name.
 * Kinds: Hugging Face tokenizer.json (byte-level BPE; SentencePiece-style BPE with byte fallback as Gemma and Llama
 * have it), GGUF "gpt2" (known pre-tokenizers only) and "llama", llama2.c tok*.bin. */
#ifndef RS_DATA_TOKENIZER_H
#define RS_DATA_TOKENIZER_H

#include "analyzer/base/status.h"
#include "data/checkpoint.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct rs_tokenizer rs_tokenizer;

typedef struct rs_ids { /* zero-initialise; free with rs_ids_deinit */
    int32_t *id;        /* [count] */
    size_t count, room;
} rs_ids;
rs_status rs_ids_push(rs_ids *ids, int32_t id, rs_error *err);
void rs_ids_deinit(rs_ids *ids);

/* The tokenizer of a checkpoint, or of `path` when not NULL (a tokenizer.json, a folder that holds one, a .gguf, a
 * llama2.c .bin). Fails: RS_E_UNSUPPORTED naming the model, pre-tokenizer or normaliser we do not know; RS_E_FORMAT;
 * RS_E_USAGE when the checkpoint carries none (llama2.c) and path is NULL. */
rs_status rs_tokenizer_open(rs_checkpoint *c, const char *path, rs_tokenizer **out, rs_error *err);
void rs_tokenizer_close(rs_tokenizer *t); /* NULL is fine */

/* Appends the ids of n bytes of UTF-8; no BOS, no EOS. Special tokens written out in the text are taken as text unless
 * parse_special (Hugging Face: encode_special_tokens = not parse_special; its default is false). Added tokens that are
 * not special are always found. A GGUF "llama" vocabulary gives SentencePiece's ids; Hugging Face's differ on runs of
 * more spaces than the longest space token. Fails: RS_E_FORMAT with the offset of the first byte that is not UTF-8.
 * Checks for cancellation. */
rs_status rs_tokenizer_encode(const rs_tokenizer *t, const char *text, size_t n, bool parse_special, rs_ids *out,
                              rs_error *err);
/* Bytes of a token as they stand in the text ("\n", " the"), borrowed; NULL for an id outside the vocabulary. */
const char *rs_tokenizer_piece(const rs_tokenizer *t, int32_t id, size_t *bytes);
/* out [n]: can id i come of plain text? Not: ids without a piece or with one that is never made, added tokens (special
 * ones are among them), the BOS. */
void rs_tokenizer_text_ids(const rs_tokenizer *t, bool *out, int64_t n);
int64_t rs_tokenizer_vocab(const rs_tokenizer *t);
int32_t rs_tokenizer_bos(const rs_tokenizer *t);      /* -1 = none */
bool rs_tokenizer_adds_bos(const rs_tokenizer *t);    /* what --bos auto does */
const char *rs_tokenizer_kind(const rs_tokenizer *t); /* "byte-level BPE (smollm)", "SentencePiece BPE", ... */

#endif
