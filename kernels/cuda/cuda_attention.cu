/* kernels/cuda/cuda_attention.cu: scores = q k^T and z = p v of a tile of query rows: one product per head, all heads
 * in a batch. The addresses of a head's matrices follow from the slot table, which lives on the device, so a kernel of
 * a few threads writes them there. */
#include "kernels/cuda/cuda_blas.h"

namespace {

/* Matrix of a head: first + head * stride. */
struct head_address {
    const char *first;
    int64_t head; /* bytes */
};

struct address_args {
    head_address a, b, c; /* of the product c = a b; a is that of the head's slot */
    const int32_t *slot;  /* [heads] | NULL: h / group */
    int64_t heads, slots, group;
    const void **out; /* [3, heads] */
    rs_cuda_fault slot_fault;
};

__global__ void __launch_bounds__(128) write_addresses(address_args p) {
    int64_t h = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (h >= p.heads) return;
    int64_t from = p.slot ? rs_cuda_index(p.slot, h, 0, p.slots, p.slot_fault) : h / p.group;
    p.out[h] = p.a.first + from * p.a.head;
    p.out[p.heads + h] = p.b.first + h * p.b.head;
    p.out[2 * p.heads + h] = p.c.first + h * p.c.head;
}

/* c_h = alpha op(a_h) b_h in cuBLAS's order: a is [k, m] (transposed) or [m, k], b [k, n], c [m, n]; strides from
 * column to column in elements. */
struct batch {
    const char *op;
    cublasOperation_t transposed;
    int64_t m, n, k, a_stride, b_stride, c_stride;
    float alpha;
    rs_compute compute;
    cudaDataType_t type; /* of a and b */
};

rs_status multiply(rs_device *d, const batch &s, const address_args &addresses, rs_error *err) {
    rs_status st = RS_OK;
    void *memory = nullptr;
    const float zero = 0;
    int m = 0, n = 0, k = 0, lda = 0, ldb = 0, ldc = 0, heads = 0;
    address_args p = addresses;
    RS_TRY(rs_cuda_size(s.op, s.m, &m, err));
    RS_TRY(rs_cuda_size(s.op, s.n, &n, err));
    RS_TRY(rs_cuda_size(s.op, s.k, &k, err));
    RS_TRY(rs_cuda_size(s.op, s.a_stride, &lda, err));
    RS_TRY(rs_cuda_size(s.op, s.b_stride, &ldb, err));
    RS_TRY(rs_cuda_size(s.op, s.c_stride, &ldc, err));
    RS_TRY(rs_cuda_size(s.op, p.heads, &heads, err));
    RS_TRY(rs_cuda_scratch_get(d, RS_CUDA_POINTERS, 3 * (size_t)p.heads * sizeof(void *), &memory, err));
    p.out = static_cast<const void **>(memory);
    RS_TRY(rs_cuda_launch(d, s.op, write_addresses, dim3(rs_cuda_blocks(p.heads, 128)), dim3(128), 0, err, p));
    RS_TRY(rs_cuda_blas_status(cublasGemmBatchedEx(d->blas, s.transposed, CUBLAS_OP_N, m, n, k, &s.alpha, p.out, s.type,
                                                   lda, p.out + heads, s.type, ldb, &zero,
                                                   const_cast<void **>(p.out + 2 * heads), CUDA_R_32F, ldc, heads,
                                                   rs_cuda_compute_type(s.compute), CUBLAS_GEMM_DEFAULT),
                               s.op, err));
out:
    return st;
}

head_address input_address(const rs_cuda_input &x, int axis) { return {x.data, x.stride[axis] * x.bytes}; }

head_address output_address(const rs_view *v, int axis) {
    return {rs_cuda_data<char>(v), v->stride[axis] * (int64_t)sizeof(float)};
}

} // namespace

/* s[h] [R, C] = scale q[h] [R, Dh] k[slot] [C, Dh]^T; for cuBLAS [C, R] = k^T q. */
rs_status rs_cuda_scores(rs_device *d, const rs_op *op, rs_error *err) {
    rs_status st = RS_OK;
    const rs_op_scores *o = &op->u.scores;
    int64_t C = o->k.dim[0], R = o->q.dim[0], Dh = o->q.dim[2];
    rs_cuda_input q = {}, k = {};
    batch s = {"scores", CUBLAS_OP_T, C,         R, Dh, 0, 0, rs_cuda_stride(R, o->s.stride[1], C),
               o->scale, o->compute,  CUDA_R_32F};
    address_args p = {};
    RS_TRY(rs_cuda_take_input(d, RS_CUDA_ROUNDED, o->compute, &o->q, &q, err));
    RS_TRY(rs_cuda_take_input(d, RS_CUDA_ROUNDED_MORE, o->compute, &o->k, &k, err));
    s.a_stride = rs_cuda_stride(C, k.stride[0], Dh);
    s.b_stride = rs_cuda_stride(R, q.stride[0], Dh);
    s.type = q.type;
    p.a = input_address(k, 1);
    p.b = input_address(q, 1);
    p.c = output_address(&o->s, 0);
    p.slot = rs_cuda_data<int32_t>(&o->slot);
    p.heads = o->q.dim[1];
    p.slots = o->k.dim[1];
    p.slot_fault = rs_cuda_fault_of(d, RS_OP_SCORES, "slot");
    RS_TRY(multiply(d, s, p, err));
out:
    return st;
}

/* z[:, h] [R, Dv] = p[h] [R, C] v[:, h / group] [C, Dv]; for cuBLAS [Dv, R] = v p. */
rs_status rs_cuda_mix(rs_device *d, const rs_op *op, rs_error *err) {
    rs_status st = RS_OK;
    const rs_op_mix *o = &op->u.mix;
    int64_t C = o->p.dim[2], R = o->p.dim[1], Dv = o->v.dim[2];
    rs_cuda_input pattern = {}, v = {};
    batch s = {"mix", CUBLAS_OP_N, Dv, R, C, 0, 0, rs_cuda_stride(R, o->z.stride[0], Dv), 1.0F, o->compute, CUDA_R_32F};
    address_args p = {};
    RS_TRY(rs_cuda_take_input(d, RS_CUDA_ROUNDED, o->compute, &o->p, &pattern, err));
    RS_TRY(rs_cuda_take_input(d, RS_CUDA_ROUNDED_MORE, o->compute, &o->v, &v, err));
    s.a_stride = rs_cuda_stride(C, v.stride[0], Dv);
    s.b_stride = rs_cuda_stride(R, pattern.stride[1], C);
    s.type = pattern.type;
    p.a = input_address(v, 1);
    p.b = input_address(pattern, 0);
    p.c = output_address(&o->z, 1);
    p.heads = o->p.dim[0];
    p.slots = o->v.dim[1];
    p.group = p.heads / p.slots;
    RS_TRY(multiply(d, s, p, err));
out:
    return st;
}
