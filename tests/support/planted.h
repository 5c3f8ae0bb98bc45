/* tests/support/planted.h: small models whose heads are what they are by construction: the ground truth of an audit.
 *
 * A llama of two layers without a tokenizer (use --ids). Layer 0 is planted, layer 1 has random weights and is the
 * control inside the model; the variant "control" has random weights in both. All tokens have embeddings of the same
 * length, so that what RMSNorm does is known; token 0 (PLANTED_BOS) is meant to stand at position 0 of every sequence
 * and nowhere else. */
#ifndef RS_TESTS_PLANTED_H
#define RS_TESTS_PLANTED_H

#include <stdbool.h>
#include <stdint.h>

enum {
    PLANTED_LAYERS = 2,
    PLANTED_HEADS = 4,
    PLANTED_HEAD_DIM = 32,
    PLANTED_PAIRS = 16,
    PLANTED_WIDTH = 64,
    PLANTED_HIDDEN = 48,
    PLANTED_VOCAB = 64,
    PLANTED_CONTEXT = 128,
    PLANTED_BOS = 0,
};

/* What the heads of layer 0 do. */
enum {
    PLANTED_PREVIOUS, /* attends to the token before, by the fastest pairs 0..PLANTED_FAST-1 alone; q and k are constant
                         there */
    PLANTED_CONTENT,  /* attends to tokens of a class at whatever distance, by the slowest pair alone */
    PLANTED_SINK,     /* attends to position 0, by pair PLANTED_SINK_PAIR alone */
    PLANTED_HALF,     /* random on the faster half of its pairs, rows of zeros on the slower half */
};
enum { PLANTED_FAST = 4, PLANTED_SLOW_PAIR = 15, PLANTED_SINK_PAIR = 14, PLANTED_USED_PAIRS = 8 };

/* Tokens that PLANTED_CONTENT attends to: a quarter of the vocabulary. */
bool planted_in_class(int32_t token);
/* Writes the model directory. variant: "planted" or "control". false when it cannot be written or the variant is
 * unknown. */
bool planted_write(const char *variant, const char *folder);
/* Token ids [n, PLANTED_CONTEXT] for it: PLANTED_BOS, then tokens 1..VOCAB-1 at random. */
void planted_ids(uint64_t seed, int64_t n, int32_t *ids);

#endif
