/* tests/support/fake_frames.h: a forward pass without a model. Random queries, keys, values and attention patterns are
 * put on the CPU device and a hook is called by hand with the frames a real pass would make. What stands in the arrays
 * is known to the test, which can recompute every statistic from them. Two layers of different shapes: grouped keys
 * with an unrotated pair, and interleaved components with an attention window. */
#ifndef RS_TESTS_FAKE_FRAMES_H
#define RS_TESTS_FAKE_FRAMES_H

#include "analyzer/forward/hook.h"

enum { FAKE_LAYERS = 2, FAKE_VOCAB = 11, FAKE_PAIRS = 4 };

/* What one layer sees of one sequence. Row-major, owned. */
typedef struct fake_activations {
    int64_t T, H, K, Dh, Dv;
    int32_t *ids;     /* [T] */
    float *q, *k, *v; /* [T, H, Dh], [T, K, Dh], [T, K, Dv]; position 0 is a thousand times as long as the others */
    float *pattern;   /* [H, T, T]; rows sum to 1; row t is 0 beyond t and outside the window; column 0 gets much */
    float *stats;     /* [H, T, 2] log-sum-exp (not meaningful here) and entropy in nats */
} fake_activations;

typedef struct fake_forward {
    rs_graph graph;
    rs_layer layers[FAKE_LAYERS];
    int32_t lo[FAKE_LAYERS][FAKE_PAIRS], hi[FAKE_LAYERS][FAKE_PAIRS];
    double theta[FAKE_LAYERS][FAKE_PAIRS], factor[FAKE_LAYERS][FAKE_PAIRS];
    uint8_t region[FAKE_LAYERS][FAKE_PAIRS];
    int64_t positions;
    const rs_backend *backend;
    rs_device *device;
    double sink;       /* length of position 0 against the others: 1000 */
    bool concentrated; /* keys and queries have means (default true) */
} fake_forward;

/* Opens the CPU device and fills the graph. Aborts the test program on failure. */
void fake_open(fake_forward *f, int64_t positions);
void fake_close(fake_forward *f);
/* The activations of a layer for sequence content `seed`: the same every time. Free with fake_free. */
void fake_make(const fake_forward *f, int layer, uint64_t seed, fake_activations *out);
void fake_free(fake_activations *a);
/* Calls the hook as a run over `n` sequences would: layer by layer, sequence by sequence; content[i] is the seed of the
 * i-th one and number[i] its number in the run (NULL: 0..n-1). Patterns come in tiles of tile_rows rows. */
rs_status fake_drive(const fake_forward *f, const rs_hook *hook, const uint64_t *content, const int64_t *number,
                     int64_t n, int64_t tile_rows, rs_error *err);

#endif
