/* data/tasks.h: sequences in which something must be retrieved, made from a seed without any data: what a model is
 * asked in place of a text when heads that retrieve are looked for (docs/store.md, /task).
 *
 *   key-value  lines "word: number", one of which is asked for again; lines of filler in front
 *   needle     lines of filler with "The number of the WORD is NUMBER." among them, one of which is asked for
 *   induction  random tokens, then the same once more; random filler in front
 *   copy       random tokens with a passage among them, whose beginning comes again at the end and must be gone on with
 *
 * The first two are English words and digits in the model's tokenizer (wording and words: tasks_words.c); the others
 * are ids of the vocabulary that text can give, each once in what is repeated, none of them in the filler, and need no
 * tokenizer (then every id is drawn from, and none is the BOS). Every sequence is exactly T tokens, BOS included, and
 * ends with its answer. Sequence i depends on the seed, i and the options alone. */
#ifndef RS_DATA_TASKS_H
#define RS_DATA_TASKS_H

#include "analyzer/base/span.h"
#include "data/corpus.h"

typedef enum rs_task_kind { RS_TASK_KEY_VALUE, RS_TASK_NEEDLE, RS_TASK_INDUCTION, RS_TASK_COPY, RS_TASKS } rs_task_kind;
const char *rs_task_name(rs_task_kind k);     /* "key-value" */
rs_task_kind rs_task_find(const char *name);  /* RS_TASKS when there is none */
bool rs_task_needs_tokenizer(rs_task_kind k); /* is it made of text? */

typedef struct rs_task_options {
    rs_task_kind kind;
    int64_t items; /* pairs, needles, tokens that are repeated; 0: 16, 1, as many as fit, 32 */
    /* JSON lines {"ordered_kv_records": [[key, value], ...], "key": ..., "value": ...} (as
     * nelson-liu/lost-in-the-middle has them), one a sequence, in place of made-up pairs; items: so many records around
     * the one asked for; 0: all. NULL: made up. Of key-value alone. */
    const char *file;
    int64_t sequences, context; /* T >= 2 */
    uint64_t seed;
    rs_bos_policy bos;
    const rs_tokenizer *tokenizer; /* NULL: none (induction and copy) */
    int64_t vocab;                 /* of the model */
} rs_task_options;

typedef struct rs_task {
    rs_task_kind kind;
    int64_t items; /* 0: as the file has them */
    uint64_t seed;
    char *file;           /* as in the options; NULL: none */
    rs_task_spans *spans; /* [sequences of the corpus]; NULL: no task */
} rs_task;

/* Fails: RS_E_USAGE (what is asked for does not fit into T or the vocabulary; no BOS), RS_E_FORMAT (the file, with its
 * line), RS_E_UNSUPPORTED (a tokenizer whose pieces do not give the text back), RS_E_IO. Free both. */
rs_status rs_task_generate(const rs_task_options *o, rs_corpus *corpus, rs_task *task, rs_error *err);
void rs_task_deinit(rs_task *t); /* zeroed is fine */

#endif
