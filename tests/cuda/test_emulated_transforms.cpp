/* tests/cuda/test_emulated_transforms.cpp: the emulated device's Fourier transforms (cufft.h) against sums written out,
 * in batches, and what they refuse: memory that is not the device's, or ends too early. */
#include <complex> /* before cmocka, whose macro `fail` it would meet */

#include "emulated_rig.h"

#include <cufft.h>

typedef std::complex<double> number;

static const double TOLERANCE = 1e-12; /* float64, signals of length 1 and at most 60 terms */

static std::vector<number> signal_of(size_t n, unsigned seed) {
    std::vector<number> x(n);
    for (size_t i = 0; i < n; i++) x[i] = number(sin(1.3 * (double)(i + seed)), cos(0.7 * (double)(i * i + seed)));
    return x;
}

static number sum_at(const number *x, size_t n, size_t k, int sign) {
    number sum = 0;
    for (size_t t = 0; t < n; t++) sum += x[t] * std::polar(1.0, sign * 2 * M_PI * (double)(k * t % n) / (double)n);
    return sum;
}

static cufftHandle plan_of(int n, cufftType type, int batch) {
    cufftHandle plan = 0;
    assert_int_equal(cufftPlanMany(&plan, 1, &n, nullptr, 1, n, nullptr, 1, n, type, batch), CUFFT_SUCCESS);
    assert_int_equal(cufftSetStream(plan, nullptr), CUFFT_SUCCESS);
    return plan;
}

static void check_complex(int n, int batch, int direction) {
    size_t all = (size_t)n * (size_t)batch;
    std::vector<number> x = signal_of(all, 5);
    double2 *d = reinterpret_cast<double2 *>(device_copy(x));
    cufftHandle plan = plan_of(n, CUFFT_Z2Z, batch);
    assert_int_equal(cufftExecZ2Z(plan, d, d, direction), CUFFT_SUCCESS);
    std::vector<number> got = host_copy(reinterpret_cast<number *>(d), all);
    for (size_t i = 0; i < all; i++) {
        number want = sum_at(&x[i / (size_t)n * (size_t)n], (size_t)n, i % (size_t)n, direction);
        if (std::abs(got[i] - want) > TOLERANCE * n) fail_msg("n %d, batch %d: element %zu", n, batch, i);
    }
    assert_int_equal(cufftDestroy(plan), CUFFT_SUCCESS);
    assert_int_equal(cufftExecZ2Z(plan, d, d, direction), CUFFT_INVALID_PLAN);
    must(cudaFree(d));
}

static void check_real(int n, int batch) {
    size_t all = (size_t)n * (size_t)batch, bins = (size_t)n / 2 + 1;
    std::vector<number> x = signal_of(all, 2);
    std::vector<double> real(all);
    for (size_t i = 0; i < all; i++) x[i] = real[i] = x[i].real();
    double *d = device_copy(real);
    double2 *out = device_new<double2>(bins * (size_t)batch);
    cufftHandle plan = plan_of(n, CUFFT_D2Z, batch);
    assert_int_equal(cufftExecD2Z(plan, d, out), CUFFT_SUCCESS);
    std::vector<number> got = host_copy(reinterpret_cast<number *>(out), bins * (size_t)batch);
    for (size_t i = 0; i < got.size(); i++) {
        number want = sum_at(&x[i / bins * (size_t)n], (size_t)n, i % bins, -1);
        if (std::abs(got[i] - want) > TOLERANCE * n) fail_msg("n %d, batch %d: element %zu", n, batch, i);
    }
    assert_int_equal(cufftDestroy(plan), CUFFT_SUCCESS);
    must(cudaFree(d));
    must(cudaFree(out));
}

static void test_transforms(void **) {
    for (int n : {1, 2, 16, 37, 60}) {
        check_complex(n, 3, CUFFT_FORWARD);
        check_complex(n, 1, CUFFT_INVERSE);
        check_real(n, 2);
    }
}

static void test_refusals(void **) {
    static double2 host[64];
    double2 *d = device_new<double2>(63);
    cufftHandle plan = plan_of(16, CUFFT_Z2Z, 4), out = 0;
    int n = 16;
    for (double2 *bad : {host, d, (double2 *)nullptr}) { /* one element short is short */
        assert_int_equal(cufftExecZ2Z(plan, bad, bad, CUFFT_FORWARD), CUFFT_EXEC_FAILED);
        if (!strstr(rs_emulated_reason(), "not within one live allocation")) fail_msg("%s", rs_emulated_reason());
        rs_emulated_reset();
    }
    assert_int_equal(cufftExecZ2Z(plan, d, d, 0), CUFFT_INVALID_VALUE);
    assert_int_equal(cufftExecD2Z(plan, reinterpret_cast<double *>(d), d), CUFFT_INVALID_PLAN);
    assert_int_equal(cufftPlanMany(&out, 2, &n, nullptr, 1, n, nullptr, 1, n, CUFFT_Z2Z, 1), CUFFT_NOT_SUPPORTED);
    n = 0;
    assert_int_equal(cufftPlanMany(&out, 1, &n, nullptr, 1, n, nullptr, 1, n, CUFFT_Z2Z, 1), CUFFT_INVALID_SIZE);
    assert_int_equal(cufftDestroy(plan), CUFFT_SUCCESS);
    assert_int_equal(cufftDestroy(plan), CUFFT_INVALID_PLAN);
    must(cudaFree(d));
}

int main() {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_transforms), cmocka_unit_test(test_refusals)};
    int version = 0;
    if (cufftGetVersion(&version) != CUFFT_SUCCESS) return 77; /* a build without FFTW */
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
