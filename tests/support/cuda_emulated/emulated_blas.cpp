/* tests/support/cuda_emulated/emulated_blas.cpp: cuBLAS's products by OpenBLAS, on device memory whose extents are
 * checked first. */
#include "cublas_v2.h"
#include "cuda_bf16.h"
#include "cuda_fp16.h"
#include "emulated_device.h"

#include <cblas.h>
#include <vector>

struct rs_emulated_blas {
    cudaStream_t stream;
};

namespace {

/* A matrix as it lies there: rows x cols, column after column. */
struct matrix {
    const void *data;
    cudaDataType_t type;
    int rows, cols, ld;
};

size_t size_of(cudaDataType_t t) { return t == CUDA_R_32F ? 4 : 2; }

bool check_matrix(const char *name, const matrix &m) {
    size_t bytes = ((size_t)(m.cols - 1) * (size_t)m.ld + (size_t)m.rows) * size_of(m.type);
    if (rs_emulated_inside(m.data, bytes)) return true;
    rs_emulated_stop(cudaErrorIllegalAddress, "a product: matrix %s (%d x %d, %d apart) does not lie in one allocation",
                     name, m.rows, m.cols, m.ld);
    return false;
}

/* Tensor cores see 10 bits behind the point; what is behind them is cut off. */
float to_tf32(float x) { return __uint_as_float(__float_as_uint(x) & 0xFFFFE000U); }

float value_of(const matrix &m, size_t at, bool tf32) {
    switch (m.type) {
    case CUDA_R_16BF: return __bfloat162float(static_cast<const __nv_bfloat16 *>(m.data)[at]);
    case CUDA_R_16F: return __half2float(static_cast<const __half *>(m.data)[at]);
    case CUDA_R_32F: break;
    }
    float x = static_cast<const float *>(m.data)[at];
    return tf32 ? to_tf32(x) : x;
}

/* The values as float32, column after column without gaps; those of a float32 matrix where they are. */
const float *floats(const matrix &m, bool tf32, std::vector<float> *room, int *ld) {
    *ld = m.ld;
    if (m.type == CUDA_R_32F && !tf32) return static_cast<const float *>(m.data);
    room->resize((size_t)m.rows * (size_t)m.cols);
    for (int c = 0; c < m.cols; c++) {
        for (int r = 0; r < m.rows; r++)
            (*room)[(size_t)c * (size_t)m.rows + (size_t)r] = value_of(m, (size_t)c * (size_t)m.ld + (size_t)r, tf32);
    }
    *ld = m.rows;
    return room->data();
}

struct product {
    cublasOperation_t ta, tb;
    int m, n, k, lda, ldb, ldc;
    float alpha, beta;
    cudaDataType_t type;
    bool tf32;
};

matrix input(const product &p, const void *data, bool first) {
    bool turned = (first ? p.ta : p.tb) == CUBLAS_OP_T;
    int rows = first ? p.m : p.k, cols = first ? p.k : p.n;
    return {data, p.type, turned ? cols : rows, turned ? rows : cols, first ? p.lda : p.ldb};
}

void multiply(const product &p, const void *a, const void *b, void *c) {
    matrix ma = input(p, a, true), mb = input(p, b, false), mc = {c, CUDA_R_32F, p.m, p.n, p.ldc};
    std::vector<float> room_a, room_b;
    int lda = 0, ldb = 0;
    if (!check_matrix("a", ma) || !check_matrix("b", mb) || !check_matrix("c", mc)) return;
    const float *fa = floats(ma, p.tf32, &room_a, &lda), *fb = floats(mb, p.tf32, &room_b, &ldb);
    cblas_sgemm(CblasColMajor, p.ta == CUBLAS_OP_T ? CblasTrans : CblasNoTrans,
                p.tb == CUBLAS_OP_T ? CblasTrans : CblasNoTrans, p.m, p.n, p.k, p.alpha, fa, lda, fb, ldb, p.beta,
                static_cast<float *>(c), p.ldc);
}

cublasStatus_t status_of(cudaError_t e) {
    return e == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

/* What cuBLAS refuses at the call. */
cublasStatus_t check_call(cublasHandle_t h, const product &p, cudaDataType_t b_type, cudaDataType_t c_type) {
    int rows_a = p.ta == CUBLAS_OP_T ? p.k : p.m, rows_b = p.tb == CUBLAS_OP_T ? p.n : p.k;
    if (!h) return CUBLAS_STATUS_NOT_INITIALIZED;
    if (p.m < 0 || p.n < 0 || p.k < 0 || p.lda < (rows_a > 1 ? rows_a : 1) || p.ldb < (rows_b > 1 ? rows_b : 1) ||
        p.ldc < (p.m > 1 ? p.m : 1))
        return CUBLAS_STATUS_INVALID_VALUE;
    if (b_type != p.type || c_type != CUDA_R_32F) return CUBLAS_STATUS_NOT_SUPPORTED;
    return CUBLAS_STATUS_SUCCESS;
}

product product_of(cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k, const void *alpha,
                   cudaDataType_t type, int lda, int ldb, const void *beta, int ldc, cublasComputeType_t compute) {
    return {ta,
            tb,
            m,
            n,
            k,
            lda,
            ldb,
            ldc,
            *static_cast<const float *>(alpha),
            *static_cast<const float *>(beta),
            type,
            compute == CUBLAS_COMPUTE_32F_FAST_TF32 && type == CUDA_R_32F};
}

} // namespace

const char *cublasGetStatusString(cublasStatus_t s) {
    switch (s) {
    case CUBLAS_STATUS_SUCCESS: return "success";
    case CUBLAS_STATUS_NOT_INITIALIZED: return "the library was not initialized";
    case CUBLAS_STATUS_ALLOC_FAILED: return "the resource allocation failed";
    case CUBLAS_STATUS_INVALID_VALUE: return "an unsupported value or parameter was passed to the function";
    case CUBLAS_STATUS_EXECUTION_FAILED: return "the function failed to launch on the GPU";
    case CUBLAS_STATUS_NOT_SUPPORTED: return "the functionality requested is not supported";
    }
    return "unknown";
}

cublasStatus_t cublasCreate(cublasHandle_t *h) {
    *h = nullptr;
    if (rs_emulated_stopped() != cudaSuccess) return CUBLAS_STATUS_NOT_INITIALIZED;
    *h = new rs_emulated_blas{nullptr};
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasDestroy(cublasHandle_t h) {
    delete h;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasGetVersion(cublasHandle_t h, int *version) {
    (void)h;
    *version = 130000;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetStream(cublasHandle_t h, cudaStream_t stream) {
    h->stream = stream;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetWorkspace(cublasHandle_t h, void *workspace, size_t bytes) {
    (void)h;
    return rs_emulated_inside(workspace, bytes) ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasGemmEx(cublasHandle_t h, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k,
                            const void *alpha, const void *a, cudaDataType_t a_type, int lda, const void *b,
                            cudaDataType_t b_type, int ldb, const void *beta, void *c, cudaDataType_t c_type, int ldc,
                            cublasComputeType_t compute, cublasGemmAlgo_t algorithm) {
    (void)algorithm;
    product p = product_of(ta, tb, m, n, k, alpha, a_type, lda, ldb, beta, ldc, compute);
    cublasStatus_t s = check_call(h, p, b_type, c_type);
    if (s != CUBLAS_STATUS_SUCCESS) return s;
    return status_of(rs_emulated_enqueue(h->stream, "a product", [p, a, b, c]() { multiply(p, a, b, c); }));
}

cublasStatus_t cublasGemmBatchedEx(cublasHandle_t h, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k,
                                   const void *alpha, const void *const a[], cudaDataType_t a_type, int lda,
                                   const void *const b[], cudaDataType_t b_type, int ldb, const void *beta,
                                   void *const c[], cudaDataType_t c_type, int ldc, int batch,
                                   cublasComputeType_t compute, cublasGemmAlgo_t algorithm) {
    (void)algorithm;
    product p = product_of(ta, tb, m, n, k, alpha, a_type, lda, ldb, beta, ldc, compute);
    cublasStatus_t s = check_call(h, p, b_type, c_type);
    if (s != CUBLAS_STATUS_SUCCESS) return s;
    return status_of(rs_emulated_enqueue(h->stream, "a batch of products", [p, a, b, c, batch]() {
        size_t bytes = (size_t)batch * sizeof(void *);
        if (!rs_emulated_inside(a, bytes) || !rs_emulated_inside(b, bytes) || !rs_emulated_inside(c, bytes)) {
            rs_emulated_stop(cudaErrorIllegalAddress,
                             "a batch of products: the arrays of addresses are not on the device");
            return;
        }
        for (int i = 0; i < batch && rs_emulated_stopped() == cudaSuccess; i++) multiply(p, a[i], b[i], c[i]);
    }));
}
