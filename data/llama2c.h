/* data/llama2c.h: the .bin files of karpathy/llama2.c. v0 (export.py "legacy", stories*.bin) is read; v1 and v2 are
 * known by their magic and refused by name. Called by checkpoint.c. */
#ifndef RS_DATA_LLAMA2C_H
#define RS_DATA_LLAMA2C_H

#include "analyzer/base/status.h"
#include "data/checkpoint.h"

/* True when these first n bytes of a file of `size` bytes are a v1/v2 magic, or a v0 header that asks for exactly that
 * size. */
bool rs_llama2c_fits(const unsigned char *head, size_t n, uint64_t size);
/* Adds the tensors of file number `number` under their Hugging Face names and builds the metadata.
 * Fails: RS_E_FORMAT (the message compares the sizes), RS_E_UNSUPPORTED for v1 and v2. */
rs_status rs_llama2c_read(rs_checkpoint *c, int number, rs_error *err);

#endif
