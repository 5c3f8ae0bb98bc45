/* data/corpus.h: texts or id files -> windows of exactly T token ids. */
#ifndef RS_DATA_CORPUS_H
#define RS_DATA_CORPUS_H

#include "analyzer/base/status.h"
#include "data/tokenizer.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum rs_bos_policy { RS_BOS_AUTO, RS_BOS_YES, RS_BOS_NO } rs_bos_policy;

typedef struct rs_corpus_file {
    char *path;
    int64_t bytes, tokens; /* of the whole file */
    int64_t windows;       /* taken from it */
    int64_t left_over;     /* tokens behind the last window taken */
} rs_corpus_file;

typedef struct rs_corpus {
    int32_t *ids; /* [sequences, context] */
    int64_t sequences, context;
    bool bos;              /* every window begins with BOS */
    rs_corpus_file *files; /* [file_count] */
    size_t file_count;
    char sha256[65]; /* of the ids as little-endian int32, all windows in order */
} rs_corpus;

/* Text files cut into non-overlapping windows in order; a window never spans files. With BOS a window is BOS + T-1 text
 * tokens. context >= 2; max_sequences <= 0: all. Reading stops once enough windows are there. Fails: RS_E_FORMAT (not
 * UTF-8, with file and offset; no file fills one window, with the tokens found; a leading double BOS), RS_E_USAGE (BOS
 * asked for and the tokenizer has none), RS_E_IO. Free with rs_corpus_deinit. */
rs_status rs_corpus_from_text(const rs_tokenizer *t, const char *const *paths, size_t n, int64_t context,
                              int64_t max_sequences, rs_bos_policy bos, rs_corpus *out, rs_error *err);
/* Token ids, one sequence a line, blanks between, all of one length (= context; a context asked for > 0 must agree).
 * Fails: RS_E_FORMAT naming file, line and what was found (also ids outside 0..vocab-1). */
rs_status rs_corpus_from_ids(const char *path, int64_t vocab, int64_t context, int64_t max_sequences, rs_corpus *out,
                             rs_error *err);
void rs_corpus_deinit(rs_corpus *c);

/* For what makes windows in other ways (tasks.h). Does every window begin with BOS? RS_E_USAGE when it is asked for and
 * the tokenizer has none. */
rs_status rs_corpus_bos(const rs_tokenizer *t, rs_bos_policy policy, bool *bos, rs_error *err);
/* Takes over the ids [sequences * context] and hashes them as little-endian int32, so that the digest is the same on
 * every machine. */
rs_status rs_corpus_seal(rs_corpus *c, rs_ids *ids, rs_error *err);

#endif
