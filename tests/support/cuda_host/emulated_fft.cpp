/* tests/support/cuda_host/emulated_fft.cpp: cuFFT's transforms by FFTW, queued like any other work. FFTW's planner is
 * not for several threads: the lock of the emulation is held while it plans. */
#include "cufft.h"
#include "emulated_device.h"

#if RS_EMULATED_FFTW
#include <fftw3.h>
#include <map>

using namespace emulated;

namespace {

struct transform {
    cufftType type;
    int n, batch, device;
    cudaStream_t stream;
    fftw_plan forward, backward; /* of one signal, wherever it stands; D2Z has no backward */
};

std::map<cufftHandle, transform> &transforms() {
    static std::map<cufftHandle, transform> all;
    return all;
}

bool plan(transform *t) {
    size_t room = static_cast<size_t>(t->n) + 2;
    double *real = fftw_alloc_real(room);
    fftw_complex *z = fftw_alloc_complex(room);
    const unsigned how = FFTW_ESTIMATE | FFTW_UNALIGNED;
    if (real && z && t->type == CUFFT_Z2Z) {
        t->forward = fftw_plan_dft_1d(t->n, z, z, FFTW_FORWARD, how);
        t->backward = fftw_plan_dft_1d(t->n, z, z, FFTW_BACKWARD, how);
    }
    if (real && z && t->type == CUFFT_D2Z) t->forward = fftw_plan_dft_r2c_1d(t->n, real, z, how);
    fftw_free(real);
    fftw_free(z);
    return t->forward != nullptr;
}

void run(const transform &t, double2 *in, double2 *out, bool backward) {
    for (int i = 0; i < t.batch; i++) {
        if (t.type == CUFFT_D2Z)
            fftw_execute_dft_r2c(t.forward, reinterpret_cast<double *>(in) + static_cast<long>(i) * t.n,
                                 reinterpret_cast<fftw_complex *>(out + static_cast<long>(i) * (t.n / 2 + 1)));
        else
            fftw_execute_dft(backward ? t.backward : t.forward,
                             reinterpret_cast<fftw_complex *>(in + static_cast<long>(i) * t.n),
                             reinterpret_cast<fftw_complex *>(out + static_cast<long>(i) * t.n));
    }
}

bool check_signals(const char *name, const void *p, size_t bytes) {
    bool aligned = reinterpret_cast<uintptr_t>(p) % sizeof(double2) == 0;
    if (aligned && inside(p, bytes)) return true;
    stop(aligned ? cudaErrorIllegalAddress : cudaErrorMisalignedAddress, "a transform: its %s %s: %s", name,
         aligned ? "is not within one live allocation" : "is misaligned", describe(p, bytes));
    return false;
}

/* Checked at the call and once more when it runs: memory may have been freed in between. */
cufftResult submit(cufftHandle handle, cufftType type, double2 *in, double2 *out, bool backward) {
    guard g;
    auto found = transforms().find(handle);
    if (found == transforms().end() || found->second.type != type) return CUFFT_INVALID_PLAN;
    if (stopped() != cudaSuccess) return CUFFT_EXEC_FAILED;
    transform t = found->second;
    size_t batch = static_cast<size_t>(t.batch), n = static_cast<size_t>(t.n);
    bool real = type == CUFFT_D2Z;
    if (real && static_cast<void *>(in) == static_cast<void *>(out)) {
        refuse(cudaErrorInvalidValue, "a transform: real signals have another length in place");
        return CUFFT_INVALID_VALUE;
    }
    size_t takes = batch * n * (real ? sizeof(double) : sizeof(double2));
    size_t gives = batch * (real ? n / 2 + 1 : n) * sizeof(double2);
    if (!check_signals("input", in, takes) || !check_signals("output", out, gives)) return CUFFT_EXEC_FAILED;
    cudaError_t e = enqueue(t.stream, t.device, "a transform", [t, in, out, backward, takes, gives] {
        if (check_signals("input", in, takes) && check_signals("output", out, gives)) run(t, in, out, backward);
    });
    return e == cudaSuccess ? CUFFT_SUCCESS : CUFFT_EXEC_FAILED;
}

} // namespace

cufftResult cufftGetVersion(int *version) {
    *version = 12000;
    return CUFFT_SUCCESS;
}

cufftResult cufftPlanMany(cufftHandle *out, int rank, int *n, int *inembed, int istride, int idist, int *onembed,
                          int ostride, int odist, cufftType type, int batch) {
    guard g;
    static cufftHandle last = 0;
    (void)istride, (void)idist, (void)ostride, (void)odist; /* not looked at without an embedding */
    if (stopped() != cudaSuccess || devices() == 0) return CUFFT_SETUP_FAILED;
    if (rank != 1 || inembed || onembed || (type != CUFFT_Z2Z && type != CUFFT_D2Z)) return CUFFT_NOT_SUPPORTED;
    if (n[0] < 1 || batch < 1) return CUFFT_INVALID_SIZE;
    transform t = {type, n[0], batch, current_device(), nullptr, nullptr, nullptr};
    if (!plan(&t)) return CUFFT_ALLOC_FAILED;
    *out = ++last;
    transforms()[*out] = t;
    return CUFFT_SUCCESS;
}

cufftResult cufftDestroy(cufftHandle handle) {
    guard g;
    auto found = transforms().find(handle);
    if (found == transforms().end()) return CUFFT_INVALID_PLAN;
    fftw_destroy_plan(found->second.forward);
    if (found->second.backward) fftw_destroy_plan(found->second.backward);
    transforms().erase(found);
    return CUFFT_SUCCESS;
}

cufftResult cufftSetStream(cufftHandle handle, cudaStream_t stream) {
    guard g;
    auto found = transforms().find(handle);
    if (found == transforms().end()) return CUFFT_INVALID_PLAN;
    found->second.stream = stream;
    return CUFFT_SUCCESS;
}

cufftResult cufftExecZ2Z(cufftHandle handle, cufftDoubleComplex *in, cufftDoubleComplex *out, int direction) {
    if (direction != CUFFT_FORWARD && direction != CUFFT_INVERSE) return CUFFT_INVALID_VALUE;
    return submit(handle, CUFFT_Z2Z, in, out, direction == CUFFT_INVERSE);
}

cufftResult cufftExecD2Z(cufftHandle handle, cufftDoubleReal *in, cufftDoubleComplex *out) {
    return submit(handle, CUFFT_D2Z, reinterpret_cast<double2 *>(in), out, false);
}

#else

cufftResult cufftGetVersion(int *) { return CUFFT_NOT_SUPPORTED; }
cufftResult cufftPlanMany(cufftHandle *, int, int *, int *, int, int, int *, int, int, cufftType, int) {
    return CUFFT_NOT_SUPPORTED;
}
cufftResult cufftDestroy(cufftHandle) { return CUFFT_NOT_SUPPORTED; }
cufftResult cufftSetStream(cufftHandle, cudaStream_t) { return CUFFT_NOT_SUPPORTED; }
cufftResult cufftExecZ2Z(cufftHandle, cufftDoubleComplex *, cufftDoubleComplex *, int) { return CUFFT_NOT_SUPPORTED; }
cufftResult cufftExecD2Z(cufftHandle, cufftDoubleReal *, cufftDoubleComplex *) { return CUFFT_NOT_SUPPORTED; }

#endif
