/* kernels/cpu/cpu_fourier_absent.c: in place of cpu_fourier.c in a build without FFTW. */
#include "kernels/cpu/cpu_device.h"

rs_status rs_cpu_fourier_supported(rs_error *err) {
    return rs_fail(err, RS_E_UNAVAILABLE,
                   "device 'cpu': this build is without FFTW (install libfftw3-dev and build with -DRS_FFTW=ON)");
}

void rs_cpu_plans_free(rs_cpu_plans *p) { (void)p; }

rs_status rs_cpu_spectrum(rs_device *d, const rs_op *op, rs_error *err) {
    (void)d;
    (void)op;
    return rs_cpu_fourier_supported(err);
}

rs_status rs_cpu_correlate(rs_device *d, const rs_op *op, rs_error *err) {
    (void)d;
    (void)op;
    return rs_cpu_fourier_supported(err);
}
