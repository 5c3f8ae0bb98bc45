/* tests/cuda/test_emulated_tensor.cpp: a warp's matrices and copies into shared memory as kernels/cuda uses them
 * (cuda_tensor.h): products against plain loops, and what a card leaves undefined is seen. */
#include "emulated_rig.h"

#include "kernels/cuda/cuda_tensor.h"

#include <math.h>

enum { M = 16, N = 16, K = 16, ROW = 24 }; /* ROW: halves from row to row in shared memory */

/* c [16, 16] = a [16, 16] b, with b [K, N] (as it stands, loaded transposed) or [N, K]. */
template <bool TRANSPOSED> __global__ void multiply(const __nv_bfloat16 *a, const __nv_bfloat16 *b, float *c) {
    RS_SHARED(__nv_bfloat16, left, M * ROW + 8);
    RS_SHARED(__nv_bfloat16, right, K * ROW + 8);
    int lane = (int)threadIdx.x, matrix = lane / 8;
    /* The arrays are aligned to two bytes and no more: begin at a multiple of 16. */
    __nv_bfloat16 *x = left + (16 - reinterpret_cast<uintptr_t>(left) % 16) % 16 / 2;
    __nv_bfloat16 *y = right + (16 - reinterpret_cast<uintptr_t>(right) % 16) % 16 / 2;
    for (int i = lane; i < M * 2; i += 32) {
        rs_cuda_copy_async(x + i / 2 * ROW + i % 2 * 8, a + 8 * i, true);
        rs_cuda_copy_async(y + i / 2 * ROW + i % 2 * 8, b + 8 * i, true);
    }
    rs_cuda_copies_commit();
    rs_cuda_copies_wait<0>();
    __syncthreads();
    unsigned p[4], q[4];
    float d[2][4] = {{0}};
    /* Left operand: rows 0-7 and 8-15 of the first eight columns, then of the last. */
    rs_cuda_load_matrices(p, x + (8 * (matrix % 2) + lane % 8) * ROW + 8 * (matrix / 2));
    if (TRANSPOSED) rs_cuda_load_transposed(q, y + (8 * (matrix % 2) + lane % 8) * ROW + 8 * (matrix / 2));
    else rs_cuda_load_matrices(q, y + (8 * (matrix / 2) + lane % 8) * ROW + 8 * (matrix % 2));
    rs_cuda_mma(d[0], p, q[0], q[1]);
    rs_cuda_mma(d[1], p, q[2], q[3]);
    for (int half = 0; half < 2; half++) {
        for (int i = 0; i < 4; i++) c[(lane / 4 + 8 * (i / 2)) * N + 8 * half + 2 * (lane % 4) + i % 2] = d[half][i];
    }
}

/* Small whole numbers: exact in bfloat16 and in every order of additions. */
static float entry(int i) { return (float)(i * 37 % 29 - 14); }

template <bool TRANSPOSED> static void products() {
    std::vector<__nv_bfloat16> a(M * K), b(K * N);
    for (int i = 0; i < M * K; i++) a[(size_t)i] = __float2bfloat16_rn(entry(i));
    for (int i = 0; i < K * N; i++) b[(size_t)i] = __float2bfloat16_rn(entry(3 * i + 5));
    __nv_bfloat16 *on_a = device_new<__nv_bfloat16>(a.size()), *on_b = device_new<__nv_bfloat16>(b.size());
    float *c = device_new<float>(M * N);
    must(cudaMemcpy(on_a, a.data(), a.size() * 2, cudaMemcpyHostToDevice));
    must(cudaMemcpy(on_b, b.data(), b.size() * 2, cudaMemcpyHostToDevice));
    must(start(1, 32, 0, multiply<TRANSPOSED>, (const __nv_bfloat16 *)on_a, (const __nv_bfloat16 *)on_b, c));
    std::vector<float> got = host_copy(c, M * N);
    for (int i = 0; i < M * N; i++) {
        float sum = 0;
        for (int k = 0; k < K; k++) {
            int at = TRANSPOSED ? k * N + i % N : i % N * K + k;
            sum += entry(i / N * K + k) * entry(3 * at + 5);
        }
        if (got[(size_t)i] != sum) fail_msg("entry %d is %g, expected %g", i, (double)got[(size_t)i], (double)sum);
    }
    must(cudaFree(on_a));
    must(cudaFree(on_b));
    must(cudaFree(c));
}
static void test_products(void **) { each_seed(products<false>); }
static void test_transposed(void **) { each_seed(products<true>); }

/* Copies in two groups; OPEN of them may be under way when the first one is read. there: else zeros. */
template <int OPEN> __global__ void copy_twice(const float4 *from, float *out, bool there) {
    RS_SHARED(float4, box, 64);
    int t = (int)threadIdx.x;
    rs_cuda_copy_async(&box[t], &from[t], there);
    rs_cuda_copies_commit();
    rs_cuda_copy_async(&box[32 + t], &from[t], true);
    rs_cuda_copies_commit();
    rs_cuda_copies_wait<OPEN>();
    out[t] = box[t].x;
}

static int right;
template <int OPEN, bool THERE> static void count_right() {
    std::vector<float> x(128);
    for (size_t i = 0; i < x.size(); i++) x[i] = (float)(i + 1);
    float *from = device_new<float>(128), *out = device_new<float>(32);
    must(cudaMemcpy(from, x.data(), 512, cudaMemcpyHostToDevice));
    must(start(1, 32, 0, copy_twice<OPEN>, (const float4 *)from, out, THERE));
    std::vector<float> got = host_copy(out, 32);
    bool all = true;
    for (size_t t = 0; t < 32; t++) all = all && got[t] == (THERE ? x[4 * t] : 0.0F);
    right += all;
    must(cudaFree(from));
    must(cudaFree(out));
}

static void test_copies(void **) {
    right = 0;
    each_seed(count_right<0, true>);
    each_seed(count_right<1, true>);
    each_seed(count_right<1, false>);
    assert_int_equal(right, 18);
    right = 0;
    each_seed(count_right<2, true>); /* read before its group was waited for: wrong in every order */
    assert_int_equal(right, 0);
}

/* kind: 0 a row that begins in the middle of 16 bytes, 1 a row in device memory, 2 a copy to device memory, 3 a lane
 * that stays away. */
__global__ void misuse(float4 *memory, int kind) {
    RS_SHARED(float4, box, 33);
    unsigned r[4];
    char *row = reinterpret_cast<char *>(&box[threadIdx.x]);
    if (kind == 0) rs_cuda_load_matrices(r, row + 8);
    else if (kind == 1) rs_cuda_load_matrices(r, memory + threadIdx.x);
    else if (kind == 2) rs_cuda_copy_async(memory + threadIdx.x, memory + threadIdx.x, true);
    else if (threadIdx.x > 0) rs_cuda_load_matrices(r, row);
}

static void test_misuse(void **) {
    const char *const words[] = {"16 bytes", "no shared array", "no shared array", "ldmatrix"};
    for (int kind = 0; kind < 4; kind++) {
        rs_emulated_reset();
        float4 *memory = device_new<float4>(32);
        cudaError_t e = start(1, 32, 0, misuse, memory, kind);
        if (e == cudaSuccess) e = cudaDeviceSynchronize();
        assert_int_not_equal(e, cudaSuccess);
        if (!strstr(rs_emulated_reason(), words[kind])) fail_msg("case %d: %s", kind, rs_emulated_reason());
    }
    rs_emulated_reset();
}

int main() {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products),
        cmocka_unit_test(test_transposed),
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_misuse),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
