/* tests/support/shape_writer.h: writes Hugging Face folders of the shape of known models (llama, bfloat16), with random
 * weights or with none: for measurements, which depend on the shape. What such a model computes means nothing. */
#ifndef RS_TESTS_SHAPE_WRITER_H
#define RS_TESTS_SHAPE_WRITER_H

#include "analyzer/base/status.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct model_shape {
    const char *key, *name;
    int64_t width, layers, heads, kv_heads, head_dim, hidden, vocab;
    bool tied;
} model_shape;

const model_shape *model_shape_find(const char *key); /* "8b", "1b", "70b", "135m"; NULL: unknown */
/* config.json and model.safetensors into the folder, over what is there, with so many layers. random: norms are 1, the
 * rest uniform with a standard deviation of 0.6 / sqrt(inputs), the same at every call; otherwise the weights are a
 * hole in a sparse file. RS_E_IO naming the file. */
rs_status model_shape_write(const model_shape *s, int layers, bool random, const char *folder, rs_error *err);
/* Removes the two files and the folder; "" is fine. */
void model_shape_remove(const char *folder);

#endif
