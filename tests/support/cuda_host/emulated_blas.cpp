/* tests/support/cuda_host/emulated_blas.cpp: cuBLAS's products by OpenBLAS, queued like any other work. Halves and
 * rounded inputs go through float32 copies. Before a product runs, every matrix is known to lie inside one live
 * allocation: OpenBLAS is not built with the sanitizer. */
#include "cublas_v2.h"
#include "cuda_bf16.h"
#include "cuda_fp16.h"
#include "emulated_device.h"

#include <cblas.h>
#include <vector>

using namespace emulated;

struct cublasContext {
    int device;
    cudaStream_t stream;
    cublasMath_t mode;
};

namespace {

/* A matrix in memory, columns first: rows x cols, from column to column ld elements. */
struct matrix {
    const void *data;
    cudaDataType_t type;
    int rows, cols, ld;
};

struct product {
    cublasOperation_t ta, tb;
    int m, n, k;
    double alpha, beta; /* a float's value is exact in it */
    matrix a, b, c;
    long long a_stride, b_stride, c_stride; /* elements, from one product of a batch to the next */
    const void *const *a_list, *const *b_list;
    void *const *c_list; /* device arrays instead; NULL otherwise */
    int count;
    cublasComputeType_t compute;
};

size_t type_bytes(cudaDataType_t t) { return t == CUDA_R_64F ? 8 : t == CUDA_R_32F ? 4 : 2; }
bool is_half(cudaDataType_t t) { return t == CUDA_R_16F || t == CUDA_R_16BF; }

const char *at_offset(const void *p, long long elements, cudaDataType_t t) {
    return static_cast<const char *>(p) + elements * static_cast<long long>(type_bytes(t));
}

/* Stops the device when the matrix is not wholly in one allocation, or stands across its elements. */
bool check_matrix(const char *name, const matrix &x) {
    if (x.rows == 0 || x.cols == 0) return true;
    size_t bytes = (static_cast<size_t>(x.ld) * static_cast<size_t>(x.cols - 1) + static_cast<size_t>(x.rows)) *
                   type_bytes(x.type);
    bool aligned = reinterpret_cast<uintptr_t>(x.data) % type_bytes(x.type) == 0;
    if (aligned && inside(x.data, bytes)) return true;
    stop(aligned ? cudaErrorIllegalAddress : cudaErrorMisalignedAddress,
         "a product: matrix %s (%d x %d, leading dimension %d) %s: %s", name, x.rows, x.cols, x.ld,
         aligned ? "is not within one live allocation" : "is misaligned", describe(x.data, bytes));
    return false;
}

/* To 10 bits behind the point, ties away from zero; infinity and NaN as they are. */
float to_tf32(float x) {
    unsigned u = __float_as_uint(x);
    return (u & 0x7F800000U) == 0x7F800000U ? x : __uint_as_float((u + 0x1000U) & 0xFFFFE000U);
}

float element(const matrix &x, size_t i) {
    switch (x.type) {
    case CUDA_R_16F: return __half2float(static_cast<const __half *>(x.data)[i]);
    case CUDA_R_16BF: return __bfloat162float(static_cast<const __nv_bfloat16 *>(x.data)[i]);
    default: return static_cast<const float *>(x.data)[i];
    }
}

/* float32 values of the matrix; *ld: theirs. Those that stand there already are used as they are. */
const float *floats(const matrix &x, bool tf32, std::vector<float> *copy, int *ld) {
    *ld = x.ld;
    if (x.type == CUDA_R_32F && !tf32) return static_cast<const float *>(x.data);
    size_t rows = static_cast<size_t>(x.rows), cols = static_cast<size_t>(x.cols), step = static_cast<size_t>(x.ld);
    copy->resize(rows * cols + 1);
    for (size_t j = 0; j < cols; j++)
        for (size_t i = 0; i < rows; i++) {
            float v = element(x, j * step + i);
            (*copy)[j * rows + i] = tf32 ? to_tf32(v) : v;
        }
    *ld = x.rows > 0 ? x.rows : 1;
    return copy->data();
}

CBLAS_TRANSPOSE cblas_op(cublasOperation_t t) { return t == CUBLAS_OP_T ? CblasTrans : CblasNoTrans; }

/* C in a type of its own: through a float32 copy, rounded at the end. */
void store(const matrix &c, const std::vector<float> &values) {
    size_t rows = static_cast<size_t>(c.rows), step = static_cast<size_t>(c.ld);
    for (size_t j = 0; j < static_cast<size_t>(c.cols); j++)
        for (size_t i = 0; i < rows; i++) {
            void *data = const_cast<void *>(c.data);
            float v = values[j * rows + i];
            if (c.type == CUDA_R_16F) static_cast<__half *>(data)[j * step + i] = __float2half_rn(v);
            else static_cast<__nv_bfloat16 *>(data)[j * step + i] = __float2bfloat16_rn(v);
        }
}

void multiply_floats(const product &p, const matrix &a, const matrix &b, const matrix &c) {
    std::vector<float> a_copy, b_copy, c_copy;
    bool tf32 = p.compute == CUBLAS_COMPUTE_32F_FAST_TF32;
    int lda = 0, ldb = 0, ldc = c.ld;
    const float *fa = floats(a, tf32, &a_copy, &lda), *fb = floats(b, tf32, &b_copy, &ldb);
    float *fc = static_cast<float *>(const_cast<void *>(c.data));
    if (is_half(c.type)) {
        c_copy.resize(static_cast<size_t>(c.rows) * static_cast<size_t>(c.cols) + 1);
        if (p.beta != 0) floats(c, false, &c_copy, &ldc);
        fc = c_copy.data();
        ldc = c.rows;
    }
    cblas_sgemm(CblasColMajor, cblas_op(p.ta), cblas_op(p.tb), p.m, p.n, p.k, static_cast<float>(p.alpha), fa, lda, fb,
                ldb, static_cast<float>(p.beta), fc, ldc);
    if (is_half(c.type)) store(c, c_copy);
}

void multiply(const product &p, const matrix &a, const matrix &b, const matrix &c) {
    if (!check_matrix("A", a) || !check_matrix("B", b) || !check_matrix("C", c)) return;
    if (p.compute != CUBLAS_COMPUTE_64F) return multiply_floats(p, a, b, c);
    cblas_dgemm(CblasColMajor, cblas_op(p.ta), cblas_op(p.tb), p.m, p.n, p.k, p.alpha,
                static_cast<const double *>(a.data), a.ld, static_cast<const double *>(b.data), b.ld, p.beta,
                static_cast<double *>(const_cast<void *>(c.data)), c.ld);
}

matrix moved(matrix x, const void *const *list, int i, long long stride) {
    x.data = list ? list[i] : at_offset(x.data, stride * i, x.type);
    return x;
}

void run_product(const product &p) {
    for (int i = 0; i < p.count && stopped() == cudaSuccess; i++)
        multiply(p, moved(p.a, p.a_list, i, p.a_stride), moved(p.b, p.b_list, i, p.b_stride),
                 moved(p.c, p.c_list, i, p.c_stride));
}

/* The first and the last product of a batch with strides; lists of addresses when it is one of lists. */
bool check_places(const product &p) {
    if (!p.a_list) {
        int ends[] = {0, p.count - 1};
        for (int i : ends)
            if (!check_matrix("A", moved(p.a, nullptr, i, p.a_stride)) ||
                !check_matrix("B", moved(p.b, nullptr, i, p.b_stride)) ||
                !check_matrix("C", moved(p.c, nullptr, i, p.c_stride)))
                return false;
        return true;
    }
    const void *lists[] = {p.a_list, p.b_list, p.c_list};
    for (const void *list : lists)
        if (!inside(list, static_cast<size_t>(p.count) * sizeof(void *))) {
            stop(cudaErrorIllegalAddress, "a batch of products: a list of addresses is not on the device: %s",
                 describe(list, static_cast<size_t>(p.count) * sizeof(void *)));
            return false;
        }
    return true;
}

/* alpha, beta of a product in the type it is computed in. */
double scalar(const void *p, cublasComputeType_t compute) {
    return compute == CUBLAS_COMPUTE_64F ? *static_cast<const double *>(p)
                                         : static_cast<double>(*static_cast<const float *>(p));
}

bool types_fit(const product &p) {
    cudaDataType_t a = p.a.type, c = p.c.type;
    if (a != p.b.type) return false;
    switch (p.compute) {
    case CUBLAS_COMPUTE_64F: return a == CUDA_R_64F && c == CUDA_R_64F;
    case CUBLAS_COMPUTE_32F_FAST_TF32: return a == CUDA_R_32F && c == CUDA_R_32F;
    case CUBLAS_COMPUTE_32F: return (a == CUDA_R_32F || is_half(a)) && (c == CUDA_R_32F || c == a);
    }
    return false;
}

/* The shapes of A, B and C follow from m, n, k; then the product is checked and queued. */
cublasStatus_t submit(cublasHandle_t handle, product p, const void *alpha, const void *beta) {
    guard g;
    if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
    if (stopped() != cudaSuccess) return CUBLAS_STATUS_EXECUTION_FAILED;
    bool na = p.ta == CUBLAS_OP_N, nb = p.tb == CUBLAS_OP_N;
    p.a.rows = na ? p.m : p.k;
    p.a.cols = na ? p.k : p.m;
    p.b.rows = nb ? p.k : p.n;
    p.b.cols = nb ? p.n : p.k;
    p.c.rows = p.m;
    p.c.cols = p.n;
    bool sizes = p.m >= 0 && p.n >= 0 && p.k >= 0 && p.count >= 0 && alpha && beta;
    for (const matrix *x : {&p.a, &p.b, &p.c}) sizes = sizes && x->ld >= 1 && x->ld >= x->rows;
    if (!sizes) {
        refuse(cudaErrorInvalidValue, "a product: m %d, n %d, k %d, leading dimensions %d, %d, %d, count %d", p.m, p.n,
               p.k, p.a.ld, p.b.ld, p.c.ld, p.count);
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    if (!types_fit(p)) return CUBLAS_STATUS_NOT_SUPPORTED;
    if (p.m == 0 || p.n == 0 || p.count == 0) return CUBLAS_STATUS_SUCCESS;
    p.alpha = scalar(alpha, p.compute);
    p.beta = scalar(beta, p.compute);
    if (p.compute == CUBLAS_COMPUTE_32F && p.a.type == CUDA_R_32F && handle->mode == CUBLAS_TF32_TENSOR_OP_MATH)
        p.compute = CUBLAS_COMPUTE_32F_FAST_TF32;
    if (!check_places(p)) return CUBLAS_STATUS_EXECUTION_FAILED;
    cudaError_t e = enqueue(handle->stream, handle->device, "a product", [p] { run_product(p); });
    return e == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

product one_product(cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k, cublasComputeType_t compute) {
    product p = {};
    p.ta = ta;
    p.tb = tb;
    p.m = m;
    p.n = n;
    p.k = k;
    p.count = 1;
    p.compute = compute;
    return p;
}

matrix matrix_of(const void *data, cudaDataType_t type, int ld) { return {data, type, 0, 0, ld}; }

} // namespace

/* ---- the handle ---- */

cublasStatus_t cublasCreate(cublasHandle_t *out) {
    guard g;
    if (stopped() != cudaSuccess || devices() == 0) return CUBLAS_STATUS_NOT_INITIALIZED;
    *out = new cublasContext{current_device(), nullptr, CUBLAS_DEFAULT_MATH};
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasDestroy(cublasHandle_t handle) {
    if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
    delete handle;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream) {
    if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
    handle->stream = stream;
    return CUBLAS_STATUS_SUCCESS;
}

/* The emulation needs no work space; a wrong one is refused all the same. */
cublasStatus_t cublasSetWorkspace(cublasHandle_t handle, void *memory, size_t bytes) {
    guard g;
    if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
    if (reinterpret_cast<uintptr_t>(memory) % 256 == 0 && inside(memory, bytes)) return CUBLAS_STATUS_SUCCESS;
    refuse(cudaErrorInvalidValue, "cublasSetWorkspace: %s", describe(memory, bytes));
    return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode) {
    if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
    handle->mode = mode;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGetMathMode(cublasHandle_t handle, cublasMath_t *mode) {
    if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
    *mode = handle->mode;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGetVersion(cublasHandle_t handle, int *version) {
    if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
    *version = 120800;
    return CUBLAS_STATUS_SUCCESS;
}

const char *cublasGetStatusString(cublasStatus_t status) {
    switch (status) {
    case CUBLAS_STATUS_SUCCESS: return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED: return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_ALLOC_FAILED: return "CUBLAS_STATUS_ALLOC_FAILED";
    case CUBLAS_STATUS_INVALID_VALUE: return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_EXECUTION_FAILED: return "CUBLAS_STATUS_EXECUTION_FAILED";
    case CUBLAS_STATUS_INTERNAL_ERROR: return "CUBLAS_STATUS_INTERNAL_ERROR";
    case CUBLAS_STATUS_NOT_SUPPORTED: return "CUBLAS_STATUS_NOT_SUPPORTED";
    }
    return "an unknown status";
}

/* ---- products ---- */

cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k,
                            const void *alpha, const void *A, cudaDataType a_type, int lda, const void *B,
                            cudaDataType b_type, int ldb, const void *beta, void *C, cudaDataType c_type, int ldc,
                            cublasComputeType_t compute, cublasGemmAlgo_t algo) {
    return cublasGemmStridedBatchedEx(handle, ta, tb, m, n, k, alpha, A, a_type, lda, 0, B, b_type, ldb, 0, beta, C,
                                      c_type, ldc, 0, 1, compute, algo);
}

cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int m,
                                          int n, int k, const void *alpha, const void *A, cudaDataType a_type, int lda,
                                          long long a_stride, const void *B, cudaDataType b_type, int ldb,
                                          long long b_stride, const void *beta, void *C, cudaDataType c_type, int ldc,
                                          long long c_stride, int count, cublasComputeType_t compute,
                                          cublasGemmAlgo_t algo) {
    (void)algo;
    product p = one_product(ta, tb, m, n, k, compute);
    p.a = matrix_of(A, a_type, lda);
    p.b = matrix_of(B, b_type, ldb);
    p.c = matrix_of(C, c_type, ldc);
    p.a_stride = a_stride;
    p.b_stride = b_stride;
    p.c_stride = c_stride;
    p.count = count;
    return submit(handle, p, alpha, beta);
}

cublasStatus_t cublasGemmBatchedEx(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int m, int n,
                                   int k, const void *alpha, const void *const A[], cudaDataType a_type, int lda,
                                   const void *const B[], cudaDataType b_type, int ldb, const void *beta,
                                   void *const C[], cudaDataType c_type, int ldc, int count,
                                   cublasComputeType_t compute, cublasGemmAlgo_t algo) {
    (void)algo;
    product p = one_product(ta, tb, m, n, k, compute);
    p.a = matrix_of(nullptr, a_type, lda);
    p.b = matrix_of(nullptr, b_type, ldb);
    p.c = matrix_of(nullptr, c_type, ldc);
    p.a_list = A;
    p.b_list = B;
    p.c_list = C;
    p.count = count;
    return submit(handle, p, alpha, beta);
}

cublasStatus_t cublasSgemm(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k,
                           const float *alpha, const float *A, int lda, const float *B, int ldb, const float *beta,
                           float *C, int ldc) {
    return cublasGemmEx(handle, ta, tb, m, n, k, alpha, A, CUDA_R_32F, lda, B, CUDA_R_32F, ldb, beta, C, CUDA_R_32F,
                        ldc, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
}

cublasStatus_t cublasDgemm(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k,
                           const double *alpha, const double *A, int lda, const double *B, int ldb, const double *beta,
                           double *C, int ldc) {
    return cublasGemmEx(handle, ta, tb, m, n, k, alpha, A, CUDA_R_64F, lda, B, CUDA_R_64F, ldb, beta, C, CUDA_R_64F,
                        ldc, CUBLAS_COMPUTE_64F, CUBLAS_GEMM_DEFAULT);
}
