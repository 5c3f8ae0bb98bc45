/* data/tasks_parts.h: private to tasks.c (tokens, the whole) and tasks_text.c (words). */
#ifndef RS_DATA_TASKS_PARTS_H
#define RS_DATA_TASKS_PARTS_H

#include "analyzer/base/rng.h"
#include "data/tasks.h"

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
    char *file;           /* bytes of o->file */
    size_t file_bytes, file_at;
    int64_t file_line;
} rs_task_maker;

/* Tokens that are there for the sequence beside its BOS. */
int64_t rs_task_room(const rs_task_maker *m);

/* tasks_text.c. begin: what is the same for all sequences. make: appends rs_task_room ids; *end: the file has no
 * sequence more (nothing was appended). */
rs_status rs_task_text_begin(rs_task_maker *m, rs_error *err);
rs_status rs_task_text_make(rs_task_maker *m, rs_ids *ids, rs_task_spans *spans, bool *end, rs_error *err);

/* tasks_words.c */
extern const char *const rs_task_words[]; /* [rs_task_word_count] nouns, each once */
extern const int64_t rs_task_word_count;
extern const char *const rs_task_lines[]; /* [rs_task_line_count] sentences without digits and without the nouns */
extern const int64_t rs_task_line_count;

#endif
