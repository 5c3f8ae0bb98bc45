/* data/tasks_parts.h: private to tasks.c (tokens, the whole), tasks_text.c (words) and tasks_file.c (words of a file).
 */
#ifndef RS_DATA_TASKS_PARTS_H
#define RS_DATA_TASKS_PARTS_H

#include "analyzer/base/arena.h"
#include "analyzer/base/json.h"
#include "analyzer/base/rng.h"
#include "data/tasks.h"

/* A line of a file that is not blank; borrowed from the file's bytes. */
typedef struct rs_task_line {
    const char *text; /* [bytes] */
    size_t bytes;
    int64_t number; /* from 1 */
} rs_task_line;

typedef struct rs_task_maker {
    const rs_task_options *o;
    int64_t items; /* resolved; 0: as the file has them */
    bool bos;
    rs_rng rng; /* of the sequence at hand */
    /* tasks of tokens */
    int32_t *pool; /* [pooled] ids that may be drawn */
    int64_t pooled;
    bool *used; /* [vocab] is it in the passage? */
    /* tasks of text */
    int64_t *line_tokens; /* [rs_task_line_count] */
    char *file;           /* [file_bytes] unpacked; NULL: none */
    size_t file_bytes;
    rs_task_line *lines; /* [n_lines] of it */
    size_t n_lines, at_line;
} rs_task_maker;

/* Among what the answer stands: a word and its number, or a document's title and text. */
typedef struct rs_task_item {
    const char *key, *value;
} rs_task_item;

/* What a sequence is about. Zeroed, then opened and closed in tasks_text.c. */
typedef struct rs_task_question {
    rs_arena *arena;               /* holds what is below, and the strings that no record has */
    rs_task_item *items;           /* [n] */
    int64_t n, asked;              /* asked: the item that holds the answer */
    const char *question, *answer; /* a key and its value, or as a file has them */
    rs_json **records;             /* [n_records] owned: lines of a file, whose strings are used */
    size_t n_records;
} rs_task_question;
/* The asked item to place `at`, where another stood, which goes to its place. */
void rs_task_put(rs_task_question *q, int64_t at);
/* n different numbers below `limit`, in a random order: the first n of a shuffle. */
rs_status rs_task_draw_different(rs_rng *rng, rs_arena *arena, int64_t n, int64_t limit, int64_t **out, rs_error *err);

/* Tokens that are there for the sequence beside its BOS. */
int64_t rs_task_room(const rs_task_maker *m);

/* tasks_text.c. begin: what is the same for all sequences. make: appends rs_task_room ids; *end: the file has no
 * sequence more (nothing was appended). */
rs_status rs_task_text_begin(rs_task_maker *m, rs_error *err);
rs_status rs_task_text_make(rs_task_maker *m, rs_ids *ids, rs_task_spans *spans, bool *end, rs_error *err);

/* tasks_file.c. begin: reads o->file. take: the question of the next line; *end: there is none. */
rs_status rs_task_file_begin(rs_task_maker *m, rs_error *err);
rs_status rs_task_file_take(rs_task_maker *m, rs_task_question *q, bool *end, rs_error *err);

/* tasks_words.c */
extern const char *const rs_task_words[]; /* [rs_task_word_count] nouns, each once */
extern const int64_t rs_task_word_count;
extern const char *const rs_task_lines[]; /* [rs_task_line_count] sentences without digits and without the nouns */
extern const int64_t rs_task_line_count;

#endif
