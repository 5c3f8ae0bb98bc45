/* tests/cuda/emulated_rig.h: for tests of the emulated device: launching, device arrays, every seed, dying children.
 * Each test program includes it once. */
#ifndef RS_TESTS_EMULATED_RIG_H
#define RS_TESTS_EMULATED_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

extern "C" { /* the header does not say so itself */
#include <cmocka.h>
}

#include <cuda_runtime.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
constexpr bool rig_has_asan = true;
#else
constexpr bool rig_has_asan = false;
#endif

inline void must(cudaError_t e) {
    if (e != cudaSuccess) fail_msg("%s: %s", cudaGetErrorName(e), rs_emulated_reason());
}

/* Orders in which threads, blocks and streams go: ascending, descending, some shuffled ones. */
inline void each_seed(void (*body)()) {
    for (unsigned long seed : {0UL, 1UL, 2UL, 3UL, 17UL, 1000UL}) {
        rs_emulated_seed(seed);
        rs_emulated_reset();
        body();
        rs_emulated_reset();
    }
    rs_emulated_seed(0);
}

template <typename... P, typename... A>
cudaError_t start_on(cudaStream_t stream, dim3 grid, dim3 block, size_t shared, void (*kernel)(P...), A... arguments) {
    cudaLaunchConfig_t config = {};
    config.gridDim = grid;
    config.blockDim = block;
    config.dynamicSmemBytes = shared;
    config.stream = stream;
    return cudaLaunchKernelEx(&config, kernel, arguments...);
}

template <typename... P, typename... A>
cudaError_t start(dim3 grid, dim3 block, size_t shared, void (*kernel)(P...), A... arguments) {
    return start_on(nullptr, grid, block, shared, kernel, arguments...);
}

template <typename T> T *device_new(size_t n) {
    T *p = nullptr;
    must(cudaMalloc(&p, n * sizeof(T)));
    return p;
}

template <typename T> T *device_copy(const std::vector<T> &v) {
    T *p = device_new<T>(v.size());
    must(cudaMemcpy(p, v.data(), v.size() * sizeof(T), cudaMemcpyHostToDevice));
    return p;
}

template <typename T> std::vector<T> host_copy(const T *p, size_t n) {
    std::vector<T> v(n);
    must(cudaMemcpy(v.data(), p, n * sizeof(T), cudaMemcpyDeviceToHost));
    return v;
}

/* The device has stopped (or refused the call) with this error and a reason that holds the text. */
inline void stopped_with(cudaError_t got, cudaError_t expected, const char *text) {
    if (got != expected)
        fail_msg("%s, expected %s (%s)", cudaGetErrorName(got), cudaGetErrorName(expected), rs_emulated_reason());
    if (!strstr(rs_emulated_reason(), text)) fail_msg("reason '%s' lacks '%s'", rs_emulated_reason(), text);
}

/* A child that runs the body must die, with the text on its stderr. */
inline void dies(void (*body)(), const char *text) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    fflush(stdout);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        signal(SIGSEGV, SIG_DFL); /* not the test framework's */
        signal(SIGABRT, SIG_DFL);
        body();
        _exit(0);
    }
    close(ends[1]);
    std::vector<char> said;
    char part[4096];
    for (ssize_t n; (n = read(ends[0], part, sizeof part)) > 0;) said.insert(said.end(), part, part + n);
    said.push_back(0);
    close(ends[0]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) fail_msg("the child lived; it said '%s'", said.data());
    if (!strstr(said.data(), text)) fail_msg("the child said '%s', expected '%s' in it", said.data(), text);
}

#endif
