/* tests/support/vocabulary_file.h: vocabularies as files: GGUF without tensors, and llama2.c's tok*.bin. Nothing is
 * checked here; a test that wants a broken file may say anything. */
#ifndef RS_TESTS_VOCABULARY_FILE_H
#define RS_TESTS_VOCABULARY_FILE_H

#include "analyzer/base/json.h"
#include "analyzer/base/text.h"
#include "data/tokenizer.h"

typedef struct vocabulary {
    const char *model, *pre;   /* NULL: the key is left out, as everywhere below */
    const char *const *tokens; /* [count] */
    size_t count;
    const float *scores;       /* [count] */
    const int32_t *types;      /* [count] */
    const char *const *merges; /* [merge_count] */
    size_t merge_count;
    int add_bos, add_space_prefix; /* 0 left out, 1 true, -1 false */
    int64_t bos;                   /* 0 left out, else bos_token_id */
} vocabulary;

void put_vocabulary_gguf(rs_text *b, const vocabulary *v);
/* Ids 0..258 as llama2.c has them, then the pieces given. */
void put_vocabulary_llama2c(rs_text *b, const char *const *pieces, const float *scores, size_t n);

/* The ids of a text, blanks between, as a string that lives until the next call; or "!" and the message. */
const char *ids_of(const rs_tokenizer *t, const char *text, bool parse_special);
const char *ids_of_bytes(const rs_tokenizer *t, const char *text, size_t n, bool parse_special);
/* The same for an array of integers. */
const char *ids_of_json(const rs_json *array);

#endif
