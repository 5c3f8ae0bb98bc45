/* kernels/memory.h: what device memory is to the backends of this folder: bytes at an address that the device can use.
 * One definition, so that ranges and bounds are checked in one place for all of them. For kernels alone. */
#ifndef RS_KERNELS_MEMORY_H
#define RS_KERNELS_MEMORY_H

#include "kernels/op.h"

struct rs_mem {
    size_t bytes;
    char *data; /* [bytes]; on the device: host code looks at it only where the device shares the host's memory */
};

/* Are bytes [offset, offset + bytes) inside? RS_E_INTERNAL naming the verb ("read") otherwise. */
rs_status rs_mem_check(const rs_mem *m, size_t offset, size_t bytes, const char *verb, rs_error *err);
/* Does every view of the op lie inside its memory? RS_E_INTERNAL naming op and argument otherwise. */
rs_status rs_op_check_bounds(const rs_op *op, rs_error *err);

#endif
