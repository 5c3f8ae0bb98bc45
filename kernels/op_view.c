/* kernels/op_view.c: windows on device memory: making them, their extent, whether two of them touch. See op.h. */
#include "kernels/op.h"

#include "analyzer/base/alloc.h"

static rs_view contiguous(rs_mem *m, size_t offset, rs_dtype t, int n_dims, const int64_t *dim) {
    rs_view v = {.mem = m, .offset = offset, .dtype = t, .n_dims = n_dims, .dim = {1, 1, 1, 1}, .stride = {1, 1, 1, 1}};
    int64_t stride = 1;
    for (int i = n_dims - 1; i >= 0; i--) {
        v.dim[i] = dim[i];
        v.stride[i] = stride;
        /* Senseless dims leave a stride that rs_view_extent refuses. */
        if (!rs_mul_i64(stride, dim[i], &stride)) stride = INT64_MAX;
    }
    return v;
}

rs_view rs_view_1d(rs_mem *m, size_t offset, rs_dtype t, int64_t n) { return contiguous(m, offset, t, 1, &n); }

rs_view rs_view_2d(rs_mem *m, size_t offset, rs_dtype t, int64_t rows, int64_t cols) {
    return contiguous(m, offset, t, 2, (int64_t[]){rows, cols});
}

rs_view rs_view_3d(rs_mem *m, size_t offset, rs_dtype t, int64_t a, int64_t b, int64_t c) {
    return contiguous(m, offset, t, 3, (int64_t[]){a, b, c});
}

rs_view rs_view_4d(rs_mem *m, size_t offset, rs_dtype t, int64_t a, int64_t b, int64_t c, int64_t d) {
    return contiguous(m, offset, t, 4, (int64_t[]){a, b, c, d});
}

rs_view rs_view_rows(rs_view v, int64_t first, int64_t n) {
    v.offset += (size_t)(first * v.stride[0] / rs_dtype_block(v.dtype) * rs_dtype_block_bytes(v.dtype));
    v.dim[0] = n;
    return v;
}

bool rs_view_present(const rs_view *v) { return v->mem != NULL; }

int64_t rs_view_size(const rs_view *v) { return v->dim[0] * v->dim[1] * v->dim[2] * v->dim[3]; }

/* Elements from the first to the farthest of axes first..n_dims-1, both included. */
static bool span(const rs_view *v, int first, int64_t *elements) {
    int64_t sum = 1;
    for (int i = first; i < v->n_dims; i++) {
        int64_t part = 0;
        if (v->dim[i] < 1 || v->stride[i] < 0 || !rs_mul_i64(v->dim[i] - 1, v->stride[i], &part)) return false;
        if (part > INT64_MAX - sum) return false;
        sum += part;
    }
    *elements = sum;
    return true;
}

bool rs_view_extent(const rs_view *v, int64_t *bytes) {
    int64_t elements = 0;
    if (v->n_dims < 1 || v->n_dims > 4 || !span(v, 0, &elements)) return false;
    return rs_dtype_bytes(v->dtype, elements, bytes) && v->offset <= (size_t)(INT64_MAX - *bytes);
}

bool rs_view_equal(const rs_view *a, const rs_view *b) {
    if (a->mem != b->mem || a->offset != b->offset || a->dtype != b->dtype || a->n_dims != b->n_dims) return false;
    for (int i = 0; i < a->n_dims; i++) {
        if (a->dim[i] != b->dim[i] || a->stride[i] != b->stride[i]) return false;
    }
    return true;
}

/* Rows of both repeat every `pitch` bytes and fit into it: they meet only if the places within a pitch meet. */
static bool rows_apart(const rs_view *a, const rs_view *b, int64_t pitch) {
    int64_t wa = 0, wb = 0, ea = rs_dtype_block_bytes(a->dtype), eb = rs_dtype_block_bytes(b->dtype);
    if (!span(a, 1, &wa) || !span(b, 1, &wb) || !rs_mul_i64(wa, ea, &wa) || !rs_mul_i64(wb, eb, &wb)) return false;
    if (pitch <= 0 || wa > pitch || wb > pitch) return false;
    int64_t at = (int64_t)(b->offset % (size_t)pitch) - (int64_t)(a->offset % (size_t)pitch);
    if (at < 0) at += pitch;
    return at >= wa && at + wb <= pitch;
}

bool rs_view_overlap(const rs_view *a, const rs_view *b) {
    int64_t na = 0, nb = 0;
    if (!a->mem || a->mem != b->mem) return false;
    if (!rs_view_extent(a, &na) || !rs_view_extent(b, &nb)) return true;
    if (a->offset + (size_t)na <= b->offset || b->offset + (size_t)nb <= a->offset) return false;
    if (a->n_dims < 2 || b->n_dims < 2 || rs_dtype_block(a->dtype) != 1 || rs_dtype_block(b->dtype) != 1) return true;
    int64_t pa = a->stride[0] * rs_dtype_block_bytes(a->dtype), pb = b->stride[0] * rs_dtype_block_bytes(b->dtype);
    return pa != pb || !rows_apart(a, b, pa);
}
