/* data/gguf.h: GGUF files, versions 2 and 3, little-endian, whole or split. Called by checkpoint.c. */
#ifndef RS_DATA_GGUF_H
#define RS_DATA_GGUF_H

#include "analyzer/base/status.h"
#include "data/checkpoint.h"

/* True for the magic "GGUF". */
bool rs_gguf_is(const unsigned char *head, size_t n);
/* Adds tensors and metadata of file number `number`, and of all parts when it is one of a split model; the metadata is
 * the first part's. Types that we cannot widen are listed unusable; `bytes` is 0 where even their size is not certain.
 * Fails: RS_E_FORMAT, also naming the parts that are missing; RS_E_UNSUPPORTED for version 1, versions after 3 and
 * big-endian. */
rs_status rs_gguf_read(rs_checkpoint *c, int number, rs_error *err);

#endif
