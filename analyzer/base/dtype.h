/* base/dtype.h: the element types that files and devices hold, and their block sizes. One table (dtype.c).
 * Block layouts: docs/formats.md; widening to float32 is an op (kernels/op.h). */
#ifndef RS_BASE_DTYPE_H
#define RS_BASE_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum rs_dtype {
    RS_F32,
    RS_F16,
    RS_BF16,
    RS_F64,
    RS_I32,
    RS_I64,
    RS_U8,
    RS_Q4_0,
    RS_Q4_1,
    RS_Q5_0,
    RS_Q5_1,
    RS_Q8_0,
    RS_Q4_K,
    RS_Q5_K,
    RS_Q6_K,
    RS_DTYPE_COUNT
} rs_dtype;

const char *rs_dtype_name(rs_dtype t); /* "F32", "Q4_K", ... */
int64_t rs_dtype_block(rs_dtype t);    /* elements per block: 1, 32 or 256 */
int64_t rs_dtype_block_bytes(rs_dtype t);
/* Bytes of n elements; false when n is negative, no multiple of the block, or the product overflows. */
bool rs_dtype_bytes(rs_dtype t, int64_t n, int64_t *bytes);
bool rs_dtype_is_weight(rs_dtype t); /* can be widened to float32 */
bool rs_dtype_from_safetensors(const char *name, rs_dtype *out);
bool rs_dtype_from_gguf(uint32_t id, rs_dtype *out);

#endif
