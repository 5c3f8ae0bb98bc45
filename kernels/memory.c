/* kernels/memory.c: see memory.h. */
#include "kernels/memory.h"

rs_status rs_mem_check(const rs_mem *m, size_t offset, size_t bytes, const char *verb, rs_error *err) {
    if (offset <= m->bytes && bytes <= m->bytes - offset) return RS_OK;
    return rs_fail(err, RS_E_INTERNAL, "device memory: %s of %zu bytes at %zu, but the block has %zu", verb, bytes,
                   offset, m->bytes);
}

rs_status rs_op_check_bounds(const rs_op *op, rs_error *err) {
    rs_op_argument args[RS_OP_ARGUMENTS];
    int n = rs_op_arguments(op, args);
    for (int i = 0; i < n; i++) {
        const rs_view *v = args[i].view;
        int64_t bytes = 0;
        if (rs_view_extent(v, &bytes) && v->offset <= v->mem->bytes && (size_t)bytes <= v->mem->bytes - v->offset)
            continue;
        return rs_fail(err, RS_E_INTERNAL, "op %s: argument '%s': %lld bytes at %zu reach past the block of %zu",
                       rs_op_name(op->kind), args[i].name, (long long)bytes, v->offset, v->mem->bytes);
    }
    return RS_OK;
}
