/* kernels/cuda/cuda_tensor.h: a warp's products on tensor cores, and copies from device to shared memory beside the
 * work. PTX ISA, "Warp-level matrix instructions" (mma.m16n8k16, ldmatrix.m8n8) and "Data movement" (cp.async); compute
 * capability 8.0. All 32 lanes call; g = lane / 4, j = lane % 4.
 *
 *   A [16, 16] bf16, four words a lane: rows g, g + 8, g, g + 8; columns 2 j, 2 j + 1 (words 0, 1) and 8 further on
 *   B [16, 8]  bf16, two words: rows 2 j, 2 j + 1 and 8 further on; column g
 *   D [16, 8]  f32: rows g, g, g + 8, g + 8; columns 2 j, 2 j + 1, 2 j, 2 j + 1 */
#ifndef RS_KERNELS_CUDA_TENSOR_H
#define RS_KERNELS_CUDA_TENSOR_H

#include "kernels/cuda/cuda_device.h"

#ifndef RS_TENSOR_CORES

/* d += a b */
__device__ __forceinline__ void rs_cuda_mma(float d[4], const unsigned a[4], unsigned b0, unsigned b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
                 "{%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* Four matrices of 8 rows of 8 halves in shared memory; lane l names row l % 8 of matrix l / 8, 16-byte aligned. Word m
 * of a lane: row g, columns 2 j and 2 j + 1 of matrix m. */
__device__ __forceinline__ void rs_cuda_load_matrices(unsigned r[4], const void *row) {
    unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
}

/* The same, transposed: word m is rows 2 j and 2 j + 1, column g. */
__device__ __forceinline__ void rs_cuda_load_transposed(unsigned r[4], const void *row) {
    unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
}

/* 16 aligned bytes into shared memory, zeros where there is nothing (from must be an address of the device all the
 * same). They are there for the calling thread behind a wait for their group, for others behind a barrier after it. */
__device__ __forceinline__ void rs_cuda_copy_async(void *to, const void *from, bool there) {
    unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(to));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(there ? 16 : 0)
                 : "memory");
}

/* Closes a group of copies. */
__device__ __forceinline__ void rs_cuda_copies_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

/* Waits for all groups but the latest OPEN. */
template <int OPEN> __device__ __forceinline__ void rs_cuda_copies_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(OPEN) : "memory");
}

#endif

/* Two numbers, rounded, as halves of a word, the first one low. */
__device__ __forceinline__ unsigned rs_cuda_pack(float low, float high) {
    __nv_bfloat162 halves = __floats2bfloat162_rn(low, high);
    unsigned word;
    memcpy(&word, &halves, sizeof word);
    return word;
}

#endif
