/* tests/support/cuda_host/cufft.h: stands for the toolkit's header of this name: the transforms of cuFFT that
 * kernels/cuda may use, computed by FFTW on the emulated device (emulated_fft.cpp). One-dimensional, float64, one
 * signal behind the other, not normalised. Signals must lie inside one live allocation. Values of enumerations are
 * cuFFT's. In a build without FFTW nothing is supported. */
#ifndef RS_TESTS_CUFFT_H
#define RS_TESTS_CUFFT_H

#include "cuda_runtime.h"

enum cufftResult {
    CUFFT_SUCCESS = 0,
    CUFFT_INVALID_PLAN = 1,
    CUFFT_ALLOC_FAILED = 2,
    CUFFT_INVALID_VALUE = 4,
    CUFFT_EXEC_FAILED = 6,
    CUFFT_SETUP_FAILED = 7,
    CUFFT_INVALID_SIZE = 8,
    CUFFT_NOT_SUPPORTED = 16
};
enum cufftType { CUFFT_Z2Z = 0x69, CUFFT_D2Z = 0x6a };
enum { CUFFT_FORWARD = -1, CUFFT_INVERSE = 1 };
typedef int cufftHandle;
typedef double cufftDoubleReal;
typedef double2 cufftDoubleComplex;

cufftResult cufftGetVersion(int *version);
/* rank 1, no embedding: `batch` signals of n[0]; D2Z gives n[0] / 2 + 1 numbers each. */
cufftResult cufftPlanMany(cufftHandle *out, int rank, int *n, int *inembed, int istride, int idist, int *onembed,
                          int ostride, int odist, cufftType type, int batch);
cufftResult cufftDestroy(cufftHandle plan);
cufftResult cufftSetStream(cufftHandle plan, cudaStream_t stream);
cufftResult cufftExecZ2Z(cufftHandle plan, cufftDoubleComplex *in, cufftDoubleComplex *out, int direction);
cufftResult cufftExecD2Z(cufftHandle plan, cufftDoubleReal *in, cufftDoubleComplex *out);

#endif
