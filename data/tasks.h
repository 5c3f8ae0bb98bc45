/* data/tasks.h: sequences in which something must be retrieved, made from a seed, without any data or from a file of
 * questions: what a model is asked in place of a text when heads that retrieve are looked for (docs/store.md, /task).
 *
 *   key-value  lines "word: number", one of which is asked for again; lines of filler in front
 *   needle     lines of filler with "The number of the WORD is NUMBER." among them, one of which is asked for
 *   qa         documents, one of which answers the question behind them (arXiv 2307.03172); lines of filler in front;
 *              from a file alone
 *   induction  random tokens, then the same once more; random filler in front
 *   copy       random tokens with a passage among them, whose beginning comes again at the end and must be gone on with
 *
 * The first three are text in the model's tokenizer (wording and words: tasks_words.c); the others
 * are ids of the vocabulary that text can give, each once in what is repeated, none of them in the filler, and need no
 * tokenizer (then every id is drawn from, and none is the BOS). Every sequence is exactly T tokens, BOS included, and
 * ends with its answer. Sequence i depends on the seed, i and the options alone. */
#ifndef RS_DATA_TASKS_H
#define RS_DATA_TASKS_H

#include "analyzer/base/span.h"
#include "data/corpus.h"

typedef enum rs_task_kind {
    RS_TASK_KEY_VALUE,
    RS_TASK_NEEDLE,
    RS_TASK_QA,
    RS_TASK_INDUCTION,
    RS_TASK_COPY,
    RS_TASKS
} rs_task_kind;
const char *rs_task_name(rs_task_kind k);     /* "key-value" */
rs_task_kind rs_task_find(const char *name);  /* RS_TASKS when there is none */
bool rs_task_needs_tokenizer(rs_task_kind k); /* is it made of text? */

typedef struct rs_task_options {
    rs_task_kind kind;
    /* Pairs, needles, documents, tokens that are repeated; 0: 16, 1, as the file has, as many as fit, 32. */
    int64_t items;
    /* Which item of key-value, needle and qa holds the answer, from 1; 0: drawn, or as the file has it. */
    int64_t gold;
    /* One question a line and sequence (tasks_file.c has the two forms), plain or gzip; items: so many around the one
     * that is asked for; qa: with documents of other lines where its own are fewer; 0: all. NULL: made up. Key-value
     * and qa alone. */
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
    int64_t gold;  /* as in the options */
    uint64_t seed;
    char *file;           /* as in the options; NULL: none */
    rs_task_spans *spans; /* [sequences of the corpus]; NULL: no task */
} rs_task;

/* Fails: RS_E_USAGE (what is asked for does not fit into T or the vocabulary; no BOS), RS_E_FORMAT (the file, with its
 * line), RS_E_UNSUPPORTED (a tokenizer whose pieces do not give the text back), RS_E_IO. Free both. */
rs_status rs_task_generate(const rs_task_options *o, rs_corpus *corpus, rs_task *task, rs_error *err);
void rs_task_deinit(rs_task *t); /* zeroed is fine */

#endif
