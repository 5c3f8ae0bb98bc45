/* tests/support/fake_run.h: complete run files without a model: every array and attribute of docs/store.md, made up
 * from a seeded generator with the structure that real runs show (previous-token heads with their norm on fast pairs,
 * sink heads on slow ones, costs that fall with theta), consistent where arrays depend on one another (shares sum to 1,
 * two_norm is a product, the mean of the loss is mean_nll). For tests of the store, of reports and of the catalogue;
 * the numbers say nothing about any model. */
#ifndef RS_TESTS_FAKE_RUN_H
#define RS_TESTS_FAKE_RUN_H

#include "analyzer/base/status.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct rs_fake_shape {
    const char *variant, *about;
    int64_t layers, heads, kv_heads, pairs, rotated; /* rotated: of the pairs; 0 = NoPE */
    int64_t context, sequences, vocab, width, parameters;
    double base;
    bool hostile; /* names that try to break out of whatever shows them */
    uint64_t seed;
} rs_fake_shape;

/* "smollm2", "nope", "partial", "8b", "hostile", "tiny"; ends with variant == NULL. */
extern const rs_fake_shape rs_fake_shapes[];
const rs_fake_shape *rs_fake_shape_find(const char *variant); /* NULL when unknown */
/* Writes the run file; an existing one is replaced. Same shape, same bytes. */
rs_status rs_fake_run_write(const rs_fake_shape *shape, const char *path, rs_error *err);
/* Records that run file in a catalogue, with the numbers that stand in it. */
rs_status rs_fake_run_record(const rs_fake_shape *shape, const char *path, const char *catalog, rs_error *err);

#endif
