/* tests/cuda/test_emulated_products.cpp: halves of the emulated device bit by bit, and its products (cublas_v2.h)
 * against plain loops in float64: every transposition, type, batch; matrices that leave their allocation. */
#include "emulated_rig.h"

#include <cublas_v2.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <float.h>
#include <math.h>

/* ---- halves ---- */

/* What the bits mean, by the definition: sign, `exponent_bits` of exponent, the rest fraction. Exact in float64. */
static double meaning(unsigned bits, int exponent_bits) {
    int fraction_bits = 15 - exponent_bits, most = (1 << exponent_bits) - 1, bias = most / 2;
    int exponent = (int)(bits >> fraction_bits) & most, fraction = (int)(bits & ((1U << fraction_bits) - 1));
    double sign = bits & 0x8000U ? -1 : 1;
    if (exponent == most) return fraction ? (double)NAN : sign * (double)INFINITY;
    if (exponent == 0) return sign * ldexp(fraction, 1 - bias - fraction_bits);
    return sign * ldexp((1 << fraction_bits) + fraction, exponent - bias - fraction_bits);
}

struct half_type {
    int exponent_bits;
    float (*widen)(unsigned bits);
    unsigned (*narrow)(float x);
};
static const half_type half_types[] = {
    {5, [](unsigned b) { return __half2float(__ushort_as_half((unsigned short)b)); },
     [](float x) { return (unsigned)__half_as_ushort(__float2half(x)); }},
    {8, [](unsigned b) { return __bfloat162float(__ushort_as_bfloat16((unsigned short)b)); },
     [](float x) { return (unsigned)__bfloat16_as_ushort(__float2bfloat16(x)); }},
};

static void test_round_trip(void **) {
    for (const half_type &t : half_types) {
        for (unsigned bits = 0; bits < 65536; bits++) {
            double value = meaning(bits, t.exponent_bits);
            float wide = t.widen(bits);
            if (isnan(value)) {
                assert_true(isnan(wide) && isnan(t.widen(t.narrow(wide))));
                continue;
            }
            assert_true((double)wide == value && signbit(wide) == (bits >> 15 & 1U));
            assert_int_equal(t.narrow(wide), bits);
        }
    }
}

/* Between every two neighbours: the middle goes to the even one, a hair to either side to the nearer one. The
 * "neighbour" of the largest number is what the next power of two would be; from the middle on it is infinity. */
static void test_middles(void **) {
    for (const half_type &t : half_types) {
        unsigned infinity = ((1U << t.exponent_bits) - 1) << (15 - t.exponent_bits);
        for (unsigned bits = 0; bits < infinity; bits++) {
            double low = meaning(bits, t.exponent_bits);
            double high =
                bits + 1 < infinity ? meaning(bits + 1, t.exponent_bits) : 2 * low - meaning(bits - 1, t.exponent_bits);
            double exact = (low + high) / 2;
            if (exact > (double)FLT_MAX) continue; /* no float32 is there */
            float middle = (float)exact;
            if ((double)middle != exact) continue; /* subnormals of bfloat16 are float32's own */
            for (unsigned sign : {0U, 0x8000U}) {
                float s = sign ? -1.0F : 1.0F;
                assert_int_equal(t.narrow(s * middle), sign | (bits + (bits & 1U)));
                assert_int_equal(t.narrow(s * nextafterf(middle, 0.0F)), sign | bits);
                assert_int_equal(t.narrow(s * nextafterf(middle, INFINITY)), sign | (bits + 1));
            }
        }
        assert_int_equal(t.narrow(FLT_MAX), infinity);
        assert_int_equal(t.narrow(INFINITY), infinity);
        assert_int_equal(t.narrow(-INFINITY), 0x8000U | infinity);
        assert_int_equal(t.narrow(-0.0F), 0x8000U);
        /* A NaN whose mark stands in the bits that go must not become infinity. */
        assert_true(isnan(t.widen(t.narrow(__uint_as_float(0x7F800001U)))));
        assert_true(isnan(t.widen(t.narrow(__uint_as_float(0xFF800001U)))));
    }
}

/* ---- products ---- */

struct shape {
    cublasOperation_t ta, tb;
    int m, n, k, lda, ldb, ldc;
};

static unsigned series = 12345;
static float random_value() {
    series = series * 1664525U + 1013904223U;
    return (float)(int)(series >> 8) * 0x1p-23F - 1.0F; /* [-1, 1) */
}

static size_t bytes_of(cudaDataType_t t) { return t == CUDA_R_64F ? 8 : t == CUDA_R_32F ? 4 : 2; }

/* Values in their type, as the device will see them; given back as float64. */
static std::vector<double> fill(std::vector<char> *bytes, cudaDataType_t t, size_t n) {
    std::vector<double> values(n);
    bytes->resize(n * bytes_of(t));
    for (size_t i = 0; i < n; i++) {
        float v = random_value();
        void *to = bytes->data() + i * bytes_of(t);
        __half h = __float2half(v);
        __nv_bfloat16 b = __float2bfloat16(v);
        double d = (double)v * 1.1;
        if (t == CUDA_R_16F) memcpy(to, &h, 2), values[i] = (double)__half2float(h);
        if (t == CUDA_R_16BF) memcpy(to, &b, 2), values[i] = (double)__bfloat162float(b);
        if (t == CUDA_R_32F) memcpy(to, &v, 4), values[i] = (double)v;
        if (t == CUDA_R_64F) memcpy(to, &d, 8), values[i] = d;
    }
    return values;
}

static double value_at(const std::vector<char> &bytes, cudaDataType_t t, size_t i) {
    unsigned short h = 0;
    float f = 0;
    double d = 0;
    const char *from = bytes.data() + i * bytes_of(t);
    if (bytes_of(t) == 2) memcpy(&h, from, 2);
    if (t == CUDA_R_32F) memcpy(&f, from, 4);
    if (t == CUDA_R_64F) memcpy(&d, from, 8);
    return t == CUDA_R_16F    ? (double)__half2float(__ushort_as_half(h))
           : t == CUDA_R_16BF ? (double)__bfloat162float(__ushort_as_bfloat16(h))
           : t == CUDA_R_32F  ? (double)f
                              : d;
}

static cublasHandle_t blas;
static void good(cublasStatus_t s) {
    if (s != CUBLAS_STATUS_SUCCESS) fail_msg("%s: %s", cublasGetStatusString(s), rs_emulated_reason());
}

struct types {
    cudaDataType_t in, out;
    cublasComputeType_t compute;
    double bar; /* error of an entry, of the sum of the products' sizes */
};

/* Sums of up to 40 products in float32 err by less than 40 * 2^-24 of the sizes' sum; a stored half by half a unit of
 * its last place more; inputs of TF32 by 2^-11 each. */
static const types all_types[] = {
    {CUDA_R_32F, CUDA_R_32F, CUBLAS_COMPUTE_32F, 3e-6},
    {CUDA_R_32F, CUDA_R_32F, CUBLAS_COMPUTE_32F_FAST_TF32, 1.1e-3},
    {CUDA_R_16BF, CUDA_R_32F, CUBLAS_COMPUTE_32F, 3e-6},
    {CUDA_R_16F, CUDA_R_32F, CUBLAS_COMPUTE_32F, 3e-6},
    {CUDA_R_16BF, CUDA_R_16BF, CUBLAS_COMPUTE_32F, 4.1e-3},
    {CUDA_R_16F, CUDA_R_16F, CUBLAS_COMPUTE_32F, 5.2e-4},
    {CUDA_R_64F, CUDA_R_64F, CUBLAS_COMPUTE_64F, 1e-14},
};

enum way { SINGLE, STRIDED, LISTED };

/* count products, matrices of a batch behind each other; entries of C between its columns must stay as they were. */
static void multiply(const shape &s, const types &t, double alpha, double beta, int count, way how) {
    auto stored = [](int ld, int cols) { return (size_t)ld * (size_t)cols; };
    size_t na = stored(s.lda, s.ta == CUBLAS_OP_N ? s.k : s.m), nb = stored(s.ldb, s.tb == CUBLAS_OP_N ? s.n : s.k);
    size_t nc = stored(s.ldc, s.n), batch = (size_t)count;
    std::vector<char> a_bytes, b_bytes, c_bytes;
    std::vector<double> a = fill(&a_bytes, t.in, na * batch), b = fill(&b_bytes, t.in, nb * batch),
                        c = fill(&c_bytes, t.out, nc * batch);
    if (beta == 0)
        for (size_t i = 0; i < nc * batch; i++) memset(&c_bytes[i * bytes_of(t.out)], 0xFF, bytes_of(t.out)); /* NaN */
    char *da = device_copy(a_bytes), *db = device_copy(b_bytes), *dc = device_copy(c_bytes);
    float alpha_f = (float)alpha, beta_f = (float)beta;
    bool wide = t.compute == CUBLAS_COMPUTE_64F;
    const void *pa = wide ? (const void *)&alpha : &alpha_f, *pb = wide ? (const void *)&beta : &beta_f;
    std::vector<const void *> list;
    for (size_t i = 0; i < batch; i++) list.push_back(da + i * na * bytes_of(t.in));
    for (size_t i = 0; i < batch; i++) list.push_back(db + i * nb * bytes_of(t.in));
    for (size_t i = 0; i < batch; i++) list.push_back(dc + i * nc * bytes_of(t.out));
    const void **dl = device_copy(list);
    if (how == SINGLE)
        good(cublasGemmEx(blas, s.ta, s.tb, s.m, s.n, s.k, pa, da, t.in, s.lda, db, t.in, s.ldb, pb, dc, t.out, s.ldc,
                          t.compute, CUBLAS_GEMM_DEFAULT));
    if (how == STRIDED)
        good(cublasGemmStridedBatchedEx(blas, s.ta, s.tb, s.m, s.n, s.k, pa, da, t.in, s.lda, (long long)na, db, t.in,
                                        s.ldb, (long long)nb, pb, dc, t.out, s.ldc, (long long)nc, count, t.compute,
                                        CUBLAS_GEMM_DEFAULT));
    if (how == LISTED)
        good(cublasGemmBatchedEx(blas, s.ta, s.tb, s.m, s.n, s.k, pa, dl, t.in, s.lda, dl + batch, t.in, s.ldb, pb,
                                 const_cast<void **>(dl + 2 * batch), t.out, s.ldc, count, t.compute,
                                 CUBLAS_GEMM_DEFAULT));
    alpha_f = beta_f = NAN; /* read at the call */
    std::vector<char> got = host_copy(dc, c_bytes.size());
    for (size_t i = 0; i < nc * batch; i++) {
        size_t row = i % (size_t)s.ldc, col = i % nc / (size_t)s.ldc, e = i / nc;
        if (row >= (size_t)s.m) { /* between columns */
            assert_memory_equal(&got[i * bytes_of(t.out)], &c_bytes[i * bytes_of(t.out)], bytes_of(t.out));
            continue;
        }
        double sum = 0, sizes = 0;
        for (size_t k = 0; k < (size_t)s.k; k++) {
            double x = a[e * na + (s.ta == CUBLAS_OP_N ? row + k * (size_t)s.lda : k + row * (size_t)s.lda)];
            double y = b[e * nb + (s.tb == CUBLAS_OP_N ? k + col * (size_t)s.ldb : col + k * (size_t)s.ldb)];
            sum += x * y;
            sizes += fabs(x * y);
        }
        double expected = alpha * sum + (beta == 0 ? 0 : beta * c[i]);
        double allowed = t.bar * (fabs(alpha) * sizes + fabs(beta * c[i]));
        double is = value_at(got, t.out, i);
        if (!(fabs(is - expected) <= allowed + 1e-30))
            fail_msg("%.9g, expected %.9g within %.2g", is, expected, allowed);
    }
    for (void *p : {(void *)da, (void *)db, (void *)dc, (void *)dl}) must(cudaFree(p));
}

static void each_shape(const types &t, int count, way how) {
    for (int ta = 0; ta < 2; ta++)
        for (int tb = 0; tb < 2; tb++)
            for (int packed = 0; packed < 2; packed++) {
                shape s = {ta ? CUBLAS_OP_T : CUBLAS_OP_N, tb ? CUBLAS_OP_T : CUBLAS_OP_N, 13, 7, 40, 0, 0, 0};
                s.lda = (ta ? s.k : s.m) + (packed ? 0 : 3);
                s.ldb = (tb ? s.n : s.k) + (packed ? 0 : 5);
                s.ldc = s.m + (packed ? 0 : 2);
                multiply(s, t, 1, 0, count, how);
                multiply(s, t, -0.75, 0.5, count, how);
                multiply(s, t, 2, 1, count, how);
            }
}

static void test_products(void **) {
    for (const types &t : all_types) {
        each_shape(t, 1, SINGLE);
        each_shape(t, 3, STRIDED);
        each_shape(t, 4, LISTED);
    }
}

/* No terms: C is beta C. One row, one column. A product larger than a library's block. */
static void test_corners(void **) {
    multiply({CUBLAS_OP_N, CUBLAS_OP_N, 4, 3, 0, 4, 1, 4}, all_types[0], 1, 0.5, 1, SINGLE);
    multiply({CUBLAS_OP_T, CUBLAS_OP_N, 1, 1, 1, 1, 1, 1}, all_types[0], 1, 0, 1, SINGLE);
    multiply({CUBLAS_OP_T, CUBLAS_OP_N, 200, 150, 40, 40, 41, 203}, all_types[0], 1, 0, 2, STRIDED);
    multiply({CUBLAS_OP_T, CUBLAS_OP_N, 200, 150, 40, 40, 41, 203}, all_types[2], 1, 0, 2, LISTED);
}

/* TF32 drops bits that float32 keeps, through the compute type and through the handle's mode. */
static void test_tf32(void **) {
    std::vector<float> one = {1 + 0x1p-11F}, b = {1}; /* a tie: goes away from zero */
    float *a = device_copy(one), *w = device_copy(b), *c = device_new<float>(1), alpha = 1, beta = 0;
    cublasMath_t mode = CUBLAS_DEFAULT_MATH;
    const struct {
        float x, rounded;
    } cases[] = {{1 + 0x1p-11F, 1 + 0x1p-10F}, {1 + 0x1p-12F, 1}, {-1 - 0x1p-11F, -1 - 0x1p-10F}, {INFINITY, INFINITY}};
    for (auto each : cases) {
        must(cudaMemcpy(a, &each.x, 4, cudaMemcpyHostToDevice));
        good(cublasGemmEx(blas, CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 1, &alpha, a, CUDA_R_32F, 1, w, CUDA_R_32F, 1, &beta, c,
                          CUDA_R_32F, 1, CUBLAS_COMPUTE_32F_FAST_TF32, CUBLAS_GEMM_DEFAULT));
        assert_true(host_copy(c, 1)[0] == each.rounded);
        good(cublasSgemm(blas, CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 1, &alpha, a, 1, w, 1, &beta, c, 1));
        assert_true(host_copy(c, 1)[0] == each.x);
        good(cublasSetMathMode(blas, CUBLAS_TF32_TENSOR_OP_MATH));
        good(cublasGetMathMode(blas, &mode));
        assert_int_equal(mode, CUBLAS_TF32_TENSOR_OP_MATH);
        good(cublasSgemm(blas, CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 1, &alpha, a, 1, w, 1, &beta, c, 1));
        assert_true(host_copy(c, 1)[0] == each.rounded);
        good(cublasSetMathMode(blas, CUBLAS_DEFAULT_MATH));
    }
    for (float *p : {a, w, c}) must(cudaFree(p));
}

/* ---- what is refused ---- */

static cublasStatus_t four_by_four(const float *a, const float *b, float *c, int ld) {
    float one = 1, zero = 0;
    return cublasSgemm(blas, CUBLAS_OP_N, CUBLAS_OP_N, 4, 4, 4, &one, a, ld, b, 4, &zero, c, 4);
}

static void test_refusals(void **) {
    std::vector<float> v(16, 1);
    float *a = device_copy(v), *b = device_copy(v), *c = device_copy(v), host[16] = {0};
    good(four_by_four(a, b, c, 4));
    const struct {
        const float *a, *b;
        float *c;
        int ld;
        const char *text;
    } wrong[] = {
        {a, b, c, 5, "matrix A (4 x 4, leading dimension 5) is not within one live allocation"},
        {a + 1, b, c, 4, "matrix A"},
        {a, host, c, 4, "(memory of the host)"},
        {a, b, c + 1, 4, "matrix C"},
        {reinterpret_cast<const float *>(reinterpret_cast<const char *>(a) + 2), b, c, 4,
         "matrix A (4 x 4, leading dimension 4) is misaligned"},
    };
    for (const auto &w : wrong) {
        assert_int_equal(four_by_four(w.a, w.b, w.c, w.ld), CUBLAS_STATUS_EXECUTION_FAILED);
        if (!strstr(rs_emulated_reason(), w.text)) fail_msg("reason '%s' lacks '%s'", rs_emulated_reason(), w.text);
        assert_int_not_equal(cudaDeviceSynchronize(), cudaSuccess);
        rs_emulated_reset();
    }
    assert_int_equal(four_by_four(a, b, c, 3), CUBLAS_STATUS_INVALID_VALUE);
    float one = 1, zero = 0;
    assert_int_equal(cublasGemmEx(blas, CUBLAS_OP_N, CUBLAS_OP_N, 4, 4, 4, &one, a, CUDA_R_32F, 4, b, CUDA_R_16BF, 4,
                                  &zero, c, CUDA_R_32F, 4, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
                     CUBLAS_STATUS_NOT_SUPPORTED);
    assert_int_equal(cublasSetWorkspace(blas, a, 100), CUBLAS_STATUS_INVALID_VALUE);
    assert_int_equal(cublasSetWorkspace(blas, host, 4), CUBLAS_STATUS_INVALID_VALUE);
    good(cublasSetWorkspace(blas, a, 64));
    rs_emulated_reset();
    for (float *p : {a, b, c}) must(cudaFree(p));
}

/* Addresses of a batch are read when it runs: what a kernel before it writes counts, and a wrong one is found then. */
static void test_lists(void **) {
    std::vector<float> v(16, 1);
    std::vector<float *> places(3);
    float *x = device_copy(v), *c = device_new<float>(16), host[16] = {0}, one = 1, zero = 0;
    for (float *bad : {host, x + 1, (float *)nullptr, x}) {
        float **list = device_new<float *>(3);
        good(cublasSetStream(blas, nullptr));
        places = {x, bad, c};
        must(cudaMemcpyAsync(list, places.data(), 24, cudaMemcpyHostToDevice, nullptr));
        good(cublasGemmBatchedEx(blas, CUBLAS_OP_N, CUBLAS_OP_T, 4, 4, 4, &one, (const void **)list, CUDA_R_32F, 4,
                                 (const void **)list + 1, CUDA_R_32F, 4, &zero, (void **)list + 2, CUDA_R_32F, 4, 1,
                                 CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
        if (bad == x) {
            assert_true(host_copy(c, 16) == std::vector<float>(16, 4));
        } else {
            stopped_with(cudaDeviceSynchronize(), cudaErrorIllegalAddress, "matrix B");
            rs_emulated_reset();
        }
        must(cudaFree(list));
    }
    assert_int_equal(cublasGemmBatchedEx(blas, CUBLAS_OP_N, CUBLAS_OP_T, 4, 4, 4, &one, (const void **)places.data(),
                                         CUDA_R_32F, 4, (const void **)places.data(), CUDA_R_32F, 4, &zero,
                                         (void **)places.data(), CUDA_R_32F, 4, 1, CUBLAS_COMPUTE_32F,
                                         CUBLAS_GEMM_DEFAULT),
                     CUBLAS_STATUS_EXECUTION_FAILED);
    if (!strstr(rs_emulated_reason(), "a list of addresses is not on the device")) fail_msg("%s", rs_emulated_reason());
    rs_emulated_reset();
    must(cudaFree(x));
    must(cudaFree(c));
}

int main() {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_middles), cmocka_unit_test(test_products),
        cmocka_unit_test(test_corners),    cmocka_unit_test(test_tf32),    cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_lists),
    };
    if (cublasCreate(&blas) != CUBLAS_STATUS_SUCCESS) return 1;
    int failed = cmocka_run_group_tests(tests, nullptr, nullptr);
    cublasDestroy(blas);
    return failed;
}
