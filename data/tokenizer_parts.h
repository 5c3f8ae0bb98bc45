/* data/tokenizer_parts.h: what a tokenizer is made of; for the tokenizer_*.c files only.
 *
 *   text --added tokens--> fragments --steps (normalise, split)--> words --BPE--> ids
 *
 * Readers (tokenizer_json.c, tokenizer_gguf.c, tokenizer_llama2c.c) fill one rs_tokenizer; nothing behind them asks
 * where it came from. Order of work and corner cases follow the Rust library `tokenizers` of Hugging Face, which is the
 * yardstick. */
#ifndef RS_DATA_TOKENIZER_PARTS_H
#define RS_DATA_TOKENIZER_PARTS_H

#include "analyzer/base/json.h"
#include "analyzer/base/text.h"
#include "data/tokenizer.h"

#define RS_METASPACE "\xE2\x96\x81" /* U+2581, how SentencePiece writes a space */

/* The largest vocabulary in the wild has 262,144 pieces; far beyond that a file is broken, not large. */
enum { RS_VOCAB_MAX = 1 << 22, RS_STEPS_MAX = 24 };

/* ---- Strings by id and ids by string (tokenizer_vocab.c). Zero-initialise; free with rs_pieces_deinit. ---- */
typedef struct rs_pieces {
    rs_text bytes;      /* all pieces, one behind the other */
    size_t *start;      /* [room] offset into bytes */
    uint32_t *length;   /* [room] UINT32_MAX: this id has no piece */
    size_t count, room; /* count = largest id + 1 */
    int32_t *slot;      /* [slots] hash table of the ids that can be found by string; -1 = empty */
    size_t slots, filled;
    size_t longest; /* bytes of the longest piece that can be found */
} rs_pieces;

/* Fails: RS_E_FORMAT when id is not in 0..RS_VOCAB_MAX-1, has a piece already, or findable and the string has an id
 * already. */
rs_status rs_pieces_put(rs_pieces *p, int64_t id, const char *s, size_t n, bool findable, rs_error *err);
int32_t rs_pieces_find(const rs_pieces *p, const char *s, size_t n);  /* -1 = none */
const char *rs_pieces_get(const rs_pieces *p, int32_t id, size_t *n); /* NULL = none; not NUL-terminated */
void rs_pieces_deinit(rs_pieces *p);

/* ---- Merges: (left, right) -> the piece they make and its rank. Zero-initialise; free with rs_merges_deinit. ---- */
typedef struct rs_merge {
    uint64_t key;  /* (left << 32 | right) + 1; 0 = empty slot */
    uint32_t rank; /* smaller merges first */
    int32_t made;
} rs_merge;

typedef struct rs_merges {
    rs_merge *slot; /* [slots] */
    size_t slots, filled;
} rs_merges;

/* A pair named twice keeps its last rank, as in Hugging Face. */
rs_status rs_merges_put(rs_merges *m, int32_t left, int32_t right, uint32_t rank, int32_t made, rs_error *err);
const rs_merge *rs_merges_find(const rs_merges *m, int32_t left, int32_t right); /* NULL = none */
void rs_merges_deinit(rs_merges *m);

/* ---- Byte-pair encoding of one word (tokenizer_merge.c) ---- */
enum { RS_NEVER = UINT32_MAX }; /* an order or rank that is no merge */

typedef struct rs_bpe {
    rs_pieces pieces;
    /* Listed merges, or, when order [pieces.count] is not NULL, SentencePiece's way: two symbols join when their text
     * is a piece; a piece of higher score (smaller order) first, equal ones from the left; RS_NEVER: not made by
     * joining. */
    rs_merges merges;
    uint32_t *order;
    int32_t byte_id[256]; /* piece of a byte that no other piece covers; -1 = none */
    bool byte_fallback;
    int32_t unknown; /* -1: characters that nothing covers are dropped, as in Hugging Face */
    bool fuse_unknown, ignore_merges;
    uint64_t *joined; /* set of hashed pairs of characters that touch inside some piece */
} rs_bpe;

void rs_bpe_init(rs_bpe *b);
/* left + right make a piece that must be in the vocabulary, as must both. `joined` is scratch. Fails: RS_E_FORMAT. */
rs_status rs_bpe_add_merge(rs_bpe *b, const char *left, size_t left_bytes, const char *right, size_t right_bytes,
                           size_t rank, rs_text *joined, rs_error *err);
/* Joining by score [pieces.count] among the pieces that are joinable [pieces.count]. Fails: RS_E_FORMAT for a NaN. */
rs_status rs_bpe_order_by_score(rs_bpe *b, const double *score, const bool *joinable, rs_error *err);
/* Call when all pieces and merges are in. Fails: RS_E_NOMEM, RS_E_UNSUPPORTED (merges that name byte pieces). */
rs_status rs_bpe_finish(rs_bpe *b, rs_error *err);
void rs_bpe_deinit(rs_bpe *b);
/* The byte that "<0x0A>" stands for; -1: not written like that. */
int rs_byte_piece(const char *s, size_t n);

/* Memory of one encoding: symbols, the heap of pairs, words seen. Not shared between threads. */
typedef struct rs_bpe_work rs_bpe_work;
rs_status rs_bpe_work_create(rs_bpe_work **out, rs_error *err);
void rs_bpe_work_destroy(rs_bpe_work *w); /* NULL is fine */
/* Appends the ids of a word of n bytes of valid UTF-8. Fails: RS_E_NOMEM, RS_E_CANCELLED, RS_E_UNSUPPORTED (a word over
 * 2 GiB). */
rs_status rs_bpe_word(const rs_bpe *b, rs_bpe_work *w, const char *word, size_t n, rs_ids *out, rs_error *err);

/* ---- Regular expressions as tokenizer.json has them (tokenizer_regex.c) ---- */
typedef struct rs_regex rs_regex;
typedef struct rs_regex_room rs_regex_room; /* what matching needs beside the pattern; one per thread */
/* Pattern in Oniguruma's Ruby syntax. Fails: RS_E_UNSUPPORTED for constructs whose meaning differs from engine to
 * engine and for patterns that match nothing at all; RS_E_FORMAT for patterns that are none. */
rs_status rs_regex_compile(const char *pattern, size_t n, rs_regex **out, rs_error *err);
void rs_regex_free(rs_regex *r);
rs_status rs_regex_room_create(rs_regex_room **out, rs_error *err);
void rs_regex_room_destroy(rs_regex_room *r);
/* First match in text[from, n); *start = *end = n when there is none. Text before `from` is seen by look-behind. */
rs_status rs_regex_next(const rs_regex *r, rs_regex_room *room, const char *text, size_t n, size_t from, size_t *start,
                        size_t *end, rs_error *err);

/* ---- Steps between a fragment and its words (tokenizer_step.c) ---- */
typedef enum rs_step_kind {
    RS_STEP_NFC,     /* canonical composition */
    RS_STEP_REPLACE, /* every `from` by `to` */
    RS_STEP_PREFIX,  /* `to` in front: always, or unless it is there; everywhere, or only at the start of the text */
    RS_STEP_SPLIT,   /* cut at matches of `pattern` or of the string `from` */
    RS_STEP_BYTES    /* every byte becomes a printable character (GPT-2's table) */
} rs_step_kind;

typedef enum rs_behavior { RS_ISOLATED, RS_REMOVED, RS_MERGED_PREVIOUS, RS_MERGED_NEXT, RS_CONTIGUOUS } rs_behavior;

typedef struct rs_step {
    rs_step_kind kind;
    char *from, *to; /* owned, may be NULL */
    size_t from_bytes, to_bytes;
    rs_regex *pattern; /* owned, may be NULL */
    rs_behavior behavior;
    bool invert;
    bool unless_there, only_first; /* RS_STEP_PREFIX */
} rs_step;

typedef struct rs_steps {
    rs_step item[RS_STEPS_MAX];
    size_t count;
    size_t normalizers; /* the first so many are the normaliser: added tokens of the normalised kind are looked for
                           behind it */
} rs_steps;

/* Each takes copies. Fails: RS_E_UNSUPPORTED when there are more than RS_STEPS_MAX. */
rs_status rs_steps_nfc(rs_steps *s, rs_error *err);
rs_status rs_steps_replace(rs_steps *s, const char *from, size_t from_bytes, const char *to, size_t to_bytes,
                           rs_error *err);
rs_status rs_steps_prefix(rs_steps *s, const char *to, size_t n, bool unless_there, bool only_first, rs_error *err);
rs_status rs_steps_split_regex(rs_steps *s, const char *pattern, size_t n, rs_behavior behavior, bool invert,
                               rs_error *err);
rs_status rs_steps_split_string(rs_steps *s, const char *from, size_t n, rs_behavior behavior, bool invert,
                                rs_error *err);
rs_status rs_steps_bytes(rs_steps *s, rs_error *err);
bool rs_steps_has(const rs_steps *s, rs_step_kind kind);
void rs_steps_deinit(rs_steps *s);

/* Runs steps [first, last) on text and calls `word` for what comes out, never with n == 0. at_start: the fragment is
 * the text's first. room->scratch[i] is the buffer of step i. */
typedef struct rs_step_room {
    rs_text scratch[RS_STEPS_MAX];
    rs_regex_room *regex;
} rs_step_room;
typedef rs_status (*rs_word_fn)(void *context, const char *word, size_t n, rs_error *err);
rs_status rs_steps_run(const rs_steps *s, rs_step_room *room, size_t first, size_t last, const char *text, size_t n,
                       bool at_start, rs_word_fn word, void *context, rs_error *err);
/* Appends the normal form C of n bytes of valid UTF-8. */
rs_status rs_nfc_append(rs_text *out, const char *s, size_t n, rs_error *err);

/* GPT-2's table from bytes to printable characters, and back. */
uint32_t rs_byte_char(unsigned char byte);
int rs_char_byte(uint32_t code_point); /* -1: not in the table */

/* ---- Added tokens: found in the text before anything else (tokenizer_added.c) ---- */
typedef struct rs_added_token {
    char *text; /* owned */
    size_t bytes;
    int32_t id;
    bool special;        /* taken as text unless asked for */
    bool lstrip, rstrip; /* swallows white space on that side */
} rs_added_token;

typedef struct rs_added {
    rs_added_token *item; /* [count], sorted by text once rs_added_sort was called */
    size_t count, room;
    bool begins[256]; /* some token begins with this byte */
} rs_added;

rs_status rs_added_put(rs_added *a, const char *text, size_t n, int32_t id, bool special, bool lstrip, bool rstrip,
                       rs_error *err);
rs_status rs_added_sort(rs_added *a, rs_error *err); /* Fails: RS_E_FORMAT for a text that is there twice */
void rs_added_deinit(rs_added *a);
/* The next token in text[from, n) and the stretch [*start, *end) that it takes; NULL and *start = *end = n when there
 * is none. The longest token at the leftmost place. A special token that is not asked for stays text, and what stands
 * inside it is not looked at again, as in Hugging Face. */
const rs_added_token *rs_added_next(const rs_added *a, const char *text, size_t n, size_t from, bool parse_special,
                                    size_t *start, size_t *end);

/* ---- The whole ---- */
typedef enum rs_spelling { RS_SPELL_PLAIN, RS_SPELL_BYTES, RS_SPELL_METASPACE } rs_spelling;

struct rs_tokenizer {
    rs_bpe bpe;
    rs_steps steps;
    rs_added raw, normal; /* matched on the text as it is / as the normaliser leaves it */
    rs_spelling spelling; /* how pieces are written: as they are, in GPT-2's characters, with U+2581 for spaces and
                             <0xHH> for bytes */
    rs_pieces shown;      /* pieces as they stand in the text */
    int32_t bos;
    bool adds_bos;
    char kind[128];
};

/* Fill a zeroed tokenizer whose bpe was initialised. `file` names the source in messages. */
rs_status rs_tokenizer_read_json(rs_tokenizer *t, const char *path, rs_error *err);
rs_status rs_tokenizer_read_gguf(rs_tokenizer *t, const rs_json *metadata, const char *file, rs_error *err);
rs_status rs_tokenizer_read_llama2c(rs_tokenizer *t, const char *path, rs_error *err);
/* Adds a token to the raw or normal list and to the pieces when it is not there. Fails: RS_E_FORMAT. */
rs_status rs_tokenizer_add_token(rs_tokenizer *t, const rs_added_token *token, bool normalized, rs_error *err);
/* The pre-tokenizers and normalisers that tokenizer.json names (tokenizer_json_steps.c). */
rs_status rs_steps_read_normalizer(rs_steps *s, const rs_json *j, rs_error *err);
rs_status rs_steps_read_pre_tokenizer(rs_steps *s, const rs_json *j, rs_error *err);
rs_status rs_steps_byte_level(rs_steps *s, bool add_prefix_space, bool use_regex, rs_error *err);

#endif
