/* tests/support/cuda_host/emulated_error.cpp: errors of the emulated device and why, the seed, the lock. */
#include "emulated_device.h"

#include <errno.h>
#include <mutex>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

extern "C" {
int rs_cuda_emulated = 1;
}

namespace emulated {
namespace {

std::recursive_mutex lock;
cudaError_t stop_error, last_error;
char reason[1024];
unsigned long seed_now;
bool seed_known;
uint64_t series;

void tell(const char *format, va_list arguments) {
    vsnprintf(reason, sizeof reason, format, arguments);
    fprintf(stderr, "emulated device: %s\n", reason);
}

} // namespace

guard::guard() { lock.lock(); }
guard::~guard() { lock.unlock(); }

void stop(cudaError_t e, const char *format, ...) {
    if (stop_error != cudaSuccess) return;
    va_list arguments;
    va_start(arguments, format);
    tell(format, arguments);
    va_end(arguments);
    stop_error = e;
}

cudaError_t stopped() { return stop_error; }

cudaError_t refuse(cudaError_t e, const char *format, ...) {
    if (stop_error != cudaSuccess) return stop_error;
    va_list arguments;
    va_start(arguments, format);
    tell(format, arguments);
    va_end(arguments);
    return last_error = e;
}

cudaError_t result(cudaError_t e) {
    if (stop_error != cudaSuccess) return stop_error;
    if (e != cudaSuccess && e != cudaErrorNotReady) last_error = e;
    return e;
}

long long setting(const char *name, long long otherwise) {
    const char *text = getenv(name);
    if (!text || !*text) return otherwise;
    char *end = nullptr;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (*end || errno || value < 0) {
        fprintf(stderr, "emulated device: %s=%s: expected a whole number\n", name, text);
        abort(); /* a test that runs with other settings than it says proves nothing */
    }
    return value;
}

static void set_seed(unsigned long s) {
    seed_now = s;
    seed_known = true;
    series = s * 0x9E3779B97F4A7C15U + 1;
}

unsigned long seed() {
    if (!seed_known) set_seed(static_cast<unsigned long>(setting("ROPESCOPE_EMULATED_SEED", 0)));
    return seed_now;
}

uint32_t draw(uint32_t n) {
    seed();
    series += 0x9E3779B97F4A7C15U; /* splitmix64 */
    uint64_t z = series;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9U;
    z = (z ^ z >> 27) * 0x94D049BB133111EBU;
    z ^= z >> 31;
    return static_cast<uint32_t>((z >> 32) * n >> 32);
}

} // namespace emulated

using namespace emulated;

const char *rs_emulated_reason(void) { return reason; }

void rs_emulated_reset(void) {
    guard g;
    drop_everything();
    stop_error = last_error = cudaSuccess;
    reason[0] = 0;
}

void rs_emulated_seed(unsigned long s) {
    guard g;
    set_seed(s);
}

cudaError_t cudaGetLastError() {
    guard g;
    cudaError_t e = cudaPeekAtLastError();
    last_error = cudaSuccess;
    return e;
}

cudaError_t cudaPeekAtLastError() {
    guard g;
    return stop_error != cudaSuccess ? stop_error : last_error;
}

namespace {
const struct {
    cudaError_t code;
    const char *name, *text;
} error_names[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "an argument is not valid"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "a launch past the limits"},
    {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver", "the driver is too old"},
    {cudaErrorInvalidDeviceFunction, "cudaErrorInvalidDeviceFunction", "no kernel"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no device"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "no device of that number"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "no such stream or event here"},
    {cudaErrorNotReady, "cudaErrorNotReady", "not done yet"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress", "an address that the device may not touch"},
    {cudaErrorMisalignedAddress, "cudaErrorMisalignedAddress", "a misaligned address"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "a kernel failed"},
    {cudaErrorNotSupported, "cudaErrorNotSupported", "not supported"},
};
} // namespace

const char *cudaGetErrorName(cudaError_t e) {
    for (const auto &known : error_names)
        if (known.code == e) return known.name;
    return "cudaErrorUnknown";
}

/* With the emulation's own reason, where it is about this error. */
const char *cudaGetErrorString(cudaError_t e) {
    guard g;
    if (e != cudaSuccess && reason[0] && (e == stop_error || e == last_error)) return reason;
    for (const auto &known : error_names)
        if (known.code == e) return known.text;
    return "unknown error";
}
