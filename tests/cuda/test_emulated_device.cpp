/* tests/cuda/test_emulated_device.cpp: the emulated device (tests/support/cuda_host) computes what CUDA says kernels
 * compute: places of threads, barriers, warps, atomics, shared memory, streams, events, memory; in every order.
 * Expected values are worked out here in plain loops. What it refuses: test_emulated_refusals.cpp. */
#include "emulated_rig.h"

#include <math.h>
#include <thread>

/* ---- threads and blocks ---- */

__global__ void write_places(unsigned *out) {
    unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    atomicAdd(&out[block * blockDim.x * blockDim.y * blockDim.z + thread],
              1 + threadIdx.x + 100 * threadIdx.y + 10000 * threadIdx.z);
}

static void places() {
    dim3 grid(3, 5, 2), block(7, 3, 4);
    size_t per_block = 7 * 3 * 4, n = 30 * per_block;
    unsigned *out = device_copy(std::vector<unsigned>(n, 0));
    must(start(grid, block, 0, write_places, out));
    std::vector<unsigned> got = host_copy(out, n);
    for (size_t i = 0; i < n; i++) {
        unsigned t = (unsigned)(i % per_block), x = t % 7, y = t / 7 % 3, z = t / 21;
        assert_int_equal(got[i], 1 + x + 100 * y + 10000 * z); /* once each */
    }
    must(cudaFree(out));
}
static void test_places(void **) { each_seed(places); }

__global__ void sum_blocks(const int *x, long long *out) {
    RS_SHARED(long long, part, 256);
    unsigned t = threadIdx.x;
    part[t] = x[blockIdx.x * 256 + t];
    __syncthreads();
    for (unsigned step = 128; step > 0; step /= 2) {
        if (t < step) part[t] += part[t + step];
        __syncthreads();
    }
    if (t == 0) out[blockIdx.x] = part[0];
}

static void block_sums() {
    std::vector<int> x(256 * 9);
    std::vector<long long> sum(9, 0);
    for (size_t i = 0; i < x.size(); i++) sum[i / 256] += x[i] = (int)(i * 2654435761U % 100003) - 50000;
    int *in = device_copy(x);
    long long *out = device_new<long long>(9);
    must(start(9, 256, 0, sum_blocks, in, out));
    assert_true(host_copy(out, 9) == sum);
    must(cudaFree(in));
    must(cudaFree(out));
}
static void test_block_sums(void **) { each_seed(block_sums); }

__global__ void vote_block(int *out) {
    int t = (int)threadIdx.x;
    int third = __syncthreads_count(t % 3 == 0), one = __syncthreads_or(t == 77), none = __syncthreads_or(t == 100);
    int all = __syncthreads_and(t < 100), most = __syncthreads_and(t != 5);
    out[t] = third * 10000 + one * 1000 + none * 100 + all * 10 + most;
}

static void block_votes() {
    int *out = device_new<int>(100);
    must(start(1, 100, 0, vote_block, out));
    for (int v : host_copy(out, 100)) assert_int_equal(v, 34 * 10000 + 1000 + 10);
    must(cudaFree(out));
}
static void test_block_votes(void **) { each_seed(block_votes); }

/* ---- warps ---- */

struct warp_out {
    double *at;
    int width, by;
};

__global__ void shuffle_all(warp_out o) {
    int t = (int)(threadIdx.y * blockDim.x + threadIdx.x); /* of a 2-D block x counts first */
    double v = 1000.0 * (t / 32) + t % 32;
    o.at[t * 4] = __shfl_sync(0xFFFFFFFFU, v, o.by, o.width);
    o.at[t * 4 + 1] = (double)__shfl_up_sync(0xFFFFFFFFU, (int)v, (unsigned)o.by, o.width);
    o.at[t * 4 + 2] = (double)__shfl_down_sync(0xFFFFFFFFU, (float)v, (unsigned)o.by, o.width);
    o.at[t * 4 + 3] = (double)__shfl_xor_sync(0xFFFFFFFFU, (unsigned long long)v, o.by, o.width);
}

static void shuffles() {
    double *out = device_new<double>(96 * 4);
    for (int width = 2; width <= 32; width *= 2) {
        for (int by = 0; by < 32; by++) {
            must(start(1, dim3(6, 16), 0, shuffle_all, warp_out{out, width, by}));
            std::vector<double> got = host_copy(out, 96 * 4);
            for (int t = 0; t < 96; t++) {
                int lane = t % 32, first = lane / width * width, in = lane - first; /* as the programming guide says */
                int index = first + by % width, up = in - by < 0 ? lane : lane - by;
                int down = in + by >= width ? lane : lane + by;
                int crossed = (lane ^ by) / width > lane / width ? lane : lane ^ by;
                int expected[] = {index, up, down, crossed};
                for (int i = 0; i < 4; i++) assert_true(got[(size_t)(t * 4 + i)] == 1000.0 * (t / 32) + expected[i]);
            }
        }
    }
    must(cudaFree(out));
}
static void test_shuffles(void **) { each_seed(shuffles); }

__global__ void vote_warp(unsigned *out) {
    int lane = (int)threadIdx.x % 32, t = (int)threadIdx.x;
    unsigned *o = out + 10 * t, low = 0xFFFFU, all = ~0U;
    o[0] = __ballot_sync(all, lane % 5 == 0);
    o[1] = (unsigned)__any_sync(all, t == 40);
    o[2] = (unsigned)__all_sync(all, t != 40);
    o[3] = (unsigned)__reduce_add_sync(all, lane - 20);
    o[4] = (unsigned)__reduce_min_sync(all, lane - 20);
    o[5] = (unsigned)__reduce_max_sync(all, lane - 20);
    o[6] = __reduce_min_sync(all, (unsigned)lane - 20U);
    o[7] = __reduce_max_sync(all, (unsigned)lane - 20U);
    /* Two halves of a warp on ways of their own, with masks of their own, several times. */
    if (lane < 16) {
        int sum = lane;
        for (int step = 8; step > 0; step /= 2) sum += __shfl_xor_sync(low, sum, step);
        o[8] = (unsigned)sum;
    } else {
        __syncwarp(~low);
        o[8] = __ballot_sync(~low, 1);
    }
    __syncwarp();
    o[9] = (unsigned)__shfl_sync(all, (int)o[8], 31 - lane);
}

static void warp_votes() {
    unsigned *out = device_new<unsigned>(640);
    must(start(1, 64, 0, vote_warp, out));
    std::vector<unsigned> got = host_copy(out, 640);
    for (unsigned t = 0; t < 64; t++) {
        const unsigned *o = &got[10 * t];
        assert_int_equal(o[0], 0x42108421U); /* bits 0, 5, ... 30 */
        assert_int_equal(o[1], t >= 32);
        assert_int_equal(o[2], t < 32);
        assert_int_equal((int)o[3], 31 * 16 - 20 * 32);
        assert_int_equal((int)o[4], -20);
        assert_int_equal((int)o[5], 11);
        assert_int_equal(o[6], 0);
        assert_int_equal(o[7], 0xFFFFFFFFU);
        assert_int_equal(o[8], t % 32 < 16 ? 120 : 0xFFFF0000U);
        assert_int_equal(o[9], t % 32 < 16 ? 0xFFFF0000U : 120);
    }
    must(cudaFree(out));
}
static void test_warp_votes(void **) { each_seed(warp_votes); }

/* Sums of warps, handed over in shared memory: as rs_cuda_block_sum does. */
__global__ void sum_by_warps(const double *x, double *out) {
    RS_SHARED(double, warp_sum, 32);
    double v = x[blockIdx.x * blockDim.x + threadIdx.x];
    for (int round = 0; round < 3; round++) {
        double sum = v;
        for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(~0U, sum, step);
        __syncthreads();
        if (threadIdx.x % 32 == 0) warp_sum[threadIdx.x / 32] = sum;
        __syncthreads();
        sum = 0;
        for (unsigned w = 0; w < blockDim.x / 32; w++) sum += warp_sum[w];
        v = sum / blockDim.x;
    }
    out[blockIdx.x * blockDim.x + threadIdx.x] = v;
}

static void warp_sums() {
    std::vector<double> x(1024 * 2), mean(2, 0);
    for (size_t i = 0; i < x.size(); i++) mean[i / 1024] += x[i] = (double)(i * 7919 % 4096); /* sums are exact */
    double *in = device_copy(x), *out = device_new<double>(2048);
    must(start(2, 1024, 0, sum_by_warps, in, out));
    std::vector<double> got = host_copy(out, 2048);
    for (size_t i = 0; i < 2048; i++) assert_true(got[i] == mean[i / 1024] / 1024);
    must(cudaFree(in));
    must(cudaFree(out));
}
static void test_warp_sums(void **) { each_seed(warp_sums); }

/* ---- atomics ---- */

struct atomic_out {
    int *i;
    unsigned *u;
    unsigned long long *w;
    long long *l;
    float *f;
    double *d;
};

__global__ void use_atomics(atomic_out o) {
    int t = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    atomicAdd(&o.i[0], -t);
    atomicMin(&o.i[1], 500 - t);
    atomicMax(&o.i[2], 3 * t - 700);
    atomicAdd(&o.u[0], (unsigned)t);
    atomicMin(&o.u[1], (unsigned)(t * 37 % 512 + 3));
    atomicMax(&o.u[2], (unsigned)(t * 37 % 512));
    atomicOr(&o.u[3], 1U << t % 20);
    atomicAdd(&o.w[0], 1ULL << 33);
    atomicMin(&o.w[1], (unsigned long long)(t + 7) << 40);
    atomicMax(&o.w[2], (unsigned long long)t << 40);
    atomicMin(&o.l[0], -(long long)t * 10000000000LL);
    atomicMax(&o.l[1], (long long)t * 10000000000LL - 1);
    atomicAdd(&o.f[0], 1.0F);
    atomicAdd(&o.d[0], 0.5);
    unsigned long long seen = o.w[3], expected; /* counting by exchange */
    do expected = seen, seen = atomicCAS(&o.w[3], expected, expected + 3);
    while (seen != expected);
    atomicExch(&o.f[1], 9.0F);
}

static void atomics() {
    atomic_out o = {device_copy(std::vector<int>(4, 0)),
                    device_copy(std::vector<unsigned>{0, ~0U, 0, 0}),
                    device_copy(std::vector<unsigned long long>{0, ~0ULL, 0, 0}),
                    device_copy(std::vector<long long>{0, 0}),
                    device_copy(std::vector<float>{0, 0}),
                    device_copy(std::vector<double>{0})};
    must(start(4, 128, 0, use_atomics, o));
    long long sum = 511 * 512 / 2;
    assert_true(host_copy(o.i, 3) == (std::vector<int>{(int)-sum, 500 - 511, 3 * 511 - 700}));
    assert_true(host_copy(o.u, 4) == (std::vector<unsigned>{(unsigned)sum, 3, 511, 0xFFFFF}));
    assert_true(host_copy(o.w, 4) == (std::vector<unsigned long long>{512ULL << 33, 7ULL << 40, 511ULL << 40, 1536}));
    assert_true(host_copy(o.l, 2) == (std::vector<long long>{-5110000000000LL, 5109999999999LL}));
    assert_true(host_copy(o.f, 2) == (std::vector<float>{512, 9}));
    assert_true(host_copy(o.d, 1)[0] == 256);
    void *all[] = {o.i, o.u, o.w, o.l, o.f, o.d};
    for (void *p : all) must(cudaFree(p));
}
static void test_atomics(void **) { each_seed(atomics); }

/* ---- shared memory ---- */

template <int N> __device__ int *numbered() {
    RS_SHARED(int, mine, N);
    return mine;
}

/* An instance of a template has an array of its own; a dynamic one stands beside them. */
__global__ void use_shared(int *out, int n) {
    RS_SHARED_DYNAMIC(int, dynamic);
    RS_SHARED(double, beside, 3);
    int *a = numbered<64>(), *b = numbered<65>(), t = (int)threadIdx.x;
    a[t] = t;
    b[t] = 100 + t;
    beside[t % 3] = 5;
    for (int i = t; i < n; i += 64) dynamic[i] = i;
    __syncthreads();
    bool distinct = a != b && numbered<64>() == a && (char *)dynamic != (char *)a;
    out[t] = distinct && beside[t % 3] == 5 ? a[63 - t] + 1000 * b[63 - t] + dynamic[n - 1 - t] * 1000000 : -1;
}

static void shared_memory() {
    int *out = device_new<int>(64);
    const int n = 20000; /* 80000 bytes: more than there is without asking */
    must(cudaFuncSetAttribute((const void *)use_shared, cudaFuncAttributeMaxDynamicSharedMemorySize, 4 * n));
    must(start(3, 64, 4 * n, use_shared, out, 100));
    std::vector<int> got = host_copy(out, 64);
    for (int t = 0; t < 64; t++) assert_int_equal(got[(size_t)t], 63 - t + 1000 * (163 - t) + (99 - t) * 1000000);
    must(cudaFree(out));
}
static void test_shared_memory(void **) { each_seed(shared_memory); }

/* ---- streams and events ---- */

__global__ void append(int *list, int value) {
    list[1 + list[0]] = value;
    list[0]++;
}

__global__ void raise_all(int *x, int n, int from, int to) {
    for (int i = (int)threadIdx.x; i < n; i += (int)blockDim.x)
        if (x[i] == from) x[i] = to;
}

/* Two streams and events between them: the order is the program's. */
static void stream_order() {
    cudaStream_t a, b;
    cudaEvent_t from_a, from_b;
    must(cudaStreamCreateWithFlags(&a, cudaStreamNonBlocking));
    must(cudaStreamCreateWithFlags(&b, cudaStreamNonBlocking));
    must(cudaEventCreateWithFlags(&from_a, cudaEventDisableTiming));
    must(cudaEventCreateWithFlags(&from_b, cudaEventDisableTiming));
    int *x = device_copy(std::vector<int>(100, 0));
    for (int round = 0; round < 6; round += 2) {
        must(start_on(a, 1, 32, 0, raise_all, x, 100, round, round + 1));
        must(cudaEventRecord(from_a, a));
        must(cudaStreamWaitEvent(b, from_a, 0));
        must(start_on(b, 1, 32, 0, raise_all, x, 100, round + 1, round + 2));
        must(cudaEventRecord(from_b, b));
        must(cudaStreamWaitEvent(a, from_b, 0));
    }
    must(cudaStreamSynchronize(a)); /* and b, for a waits for it */
    for (int v : host_copy(x, 100)) assert_int_equal(v, 6);
    assert_int_equal(cudaEventQuery(from_b), cudaSuccess);
    must(cudaEventDestroy(from_a));
    must(cudaEventDestroy(from_b));
    must(cudaStreamDestroy(a));
    must(cudaStreamDestroy(b));
    must(cudaFree(x));
}
static void test_stream_order(void **) { each_seed(stream_order); }

/* Without an event the order of two streams is nobody's: all seeds together show both. */
static unsigned orders_seen;
static void no_event() {
    cudaStream_t s[2];
    int *list = device_copy(std::vector<int>(3, 0));
    for (int i = 0; i < 2; i++) {
        must(cudaStreamCreateWithFlags(&s[i], cudaStreamNonBlocking));
        must(start_on(s[i], 1, 1, 0, append, list, i + 1));
    }
    must(cudaDeviceSynchronize());
    std::vector<int> got = host_copy(list, 3);
    assert_int_equal(got[0], 2);
    orders_seen |= 1U << got[1];
    for (cudaStream_t each : s) must(cudaStreamDestroy(each));
    must(cudaFree(list));
}
static void test_no_event(void **) {
    orders_seen = 0;
    each_seed(no_event);
    assert_int_equal(orders_seen, 2 | 4);
}

/* Stream 0 waits for blocking streams and they for it; non-blocking ones go their own way. */
static void default_stream() {
    cudaStream_t a, b;
    must(cudaStreamCreate(&a));
    must(cudaStreamCreate(&b));
    int *list = device_copy(std::vector<int>(5, 0));
    must(start_on(a, 1, 1, 0, append, list, 1));
    must(start_on(nullptr, 1, 1, 0, append, list, 2));
    must(start_on(b, 1, 1, 0, append, list, 3));
    must(start_on(nullptr, 1, 1, 0, append, list, 4));
    must(cudaStreamSynchronize(nullptr));
    assert_true(host_copy(list, 5) == (std::vector<int>{4, 1, 2, 3, 4}));
    must(cudaStreamDestroy(a));
    must(cudaStreamDestroy(b));
    must(cudaFree(list));
}
static void test_default_stream(void **) { each_seed(default_stream); }

/* A stream that is only asked after comes to its end, and is not done at once. */
static void queries() {
    cudaStream_t s;
    cudaEvent_t first, last;
    float milliseconds = -1;
    must(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking));
    must(cudaEventCreate(&first));
    must(cudaEventCreate(&last));
    int *list = device_copy(std::vector<int>(8, 0)), asked = 0;
    assert_int_equal(cudaStreamQuery(s), cudaSuccess);
    must(cudaEventRecord(first, s));
    for (int i = 0; i < 5; i++) must(start_on(s, 1, 1, 0, append, list, i));
    must(cudaEventRecord(last, s));
    assert_int_equal(cudaEventElapsedTime(&milliseconds, first, last), cudaErrorNotReady);
    while (cudaStreamQuery(s) == cudaErrorNotReady) assert_true(++asked < 100);
    assert_true(asked > 0);
    must(cudaGetLastError()); /* not being ready is no error */
    must(cudaEventElapsedTime(&milliseconds, first, last));
    assert_true(milliseconds >= 0);
    must(cudaEventDestroy(first));
    must(cudaEventDestroy(last));
    must(cudaStreamDestroy(s));
    must(cudaFree(list));
}
static void test_queries(void **) { each_seed(queries); }

/* Copies in both directions, pinned and not, are what was there when CUDA says they read. */
static void copies() {
    cudaStream_t s;
    int *pinned = nullptr, *x = device_new<int>(4), *y = device_new<int>(4), pageable[4] = {1, 2, 3, 4};
    must(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking));
    must(cudaMallocHost(&pinned, 16));
    must(cudaMemcpyAsync(x, pageable, 16, cudaMemcpyHostToDevice, s));
    memset(pageable, 0, sizeof pageable); /* pageable memory was copied aside */
    must(cudaMemcpyAsync(y, x, 16, cudaMemcpyDeviceToDevice, s));
    must(cudaMemsetAsync(x, 0x11, 8, s));
    memset(pinned, 0, 16);
    must(cudaMemcpyAsync(pinned, y, 16, cudaMemcpyDefault, s));
    assert_int_equal(pinned[3], 0); /* not copied yet */
    must(cudaMemcpyAsync(pageable, x, 16, cudaMemcpyDeviceToHost, s));
    assert_int_equal(pageable[0], 0x11111111);
    assert_int_equal(pageable[3], 4);
    must(cudaStreamSynchronize(s));
    assert_int_equal(pinned[0], 1);
    assert_int_equal(pinned[3], 4);
    must(cudaFreeHost(pinned));
    must(cudaStreamDestroy(s));
    must(cudaFree(x));
    must(cudaFree(y));
}
static void test_copies(void **) { each_seed(copies); }

/* Two threads of the host, each with a stream: nothing of one gets into the other. */
static void test_host_threads(void **) {
    std::vector<std::vector<int>> got(2);
    auto work = [&got](int me) {
        cudaStream_t s;
        if (cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking) != cudaSuccess) return;
        int *x = nullptr, *pinned = nullptr;
        if (cudaMalloc(&x, 400) != cudaSuccess || cudaMallocHost(&pinned, 400) != cudaSuccess) return;
        cudaMemsetAsync(x, 0, 400, s);
        for (int i = 0; i < 100; i++) {
            start_on(s, 1, 64, 0, raise_all, x, 100, i * me, (i + 1) * me);
            if (i % 10 == 0) cudaStreamSynchronize(s);
        }
        cudaMemcpyAsync(pinned, x, 400, cudaMemcpyDeviceToHost, s);
        cudaStreamSynchronize(s);
        got[(size_t)me - 1].assign(pinned, pinned + 100);
        cudaFree(x);
        cudaFreeHost(pinned);
        cudaStreamDestroy(s);
    };
    std::thread first(work, 1), second(work, 2);
    first.join();
    second.join();
    must(cudaDeviceSynchronize());
    for (int me = 1; me <= 2; me++) assert_true(got[(size_t)me - 1] == std::vector<int>(100, 100 * me));
}

/* ---- memory ---- */

static void test_memory(void **) {
    size_t before = 0, total = 0, after = 0;
    must(cudaMemGetInfo(&before, &total));
    assert_true(total == (size_t)4 << 30 && before <= total);
    std::vector<float *> blocks;
    for (size_t n : {1, 3, 64, 65, 1000, 5000, 300000}) {
        float *p = device_new<float>(n);
        assert_int_equal((uintptr_t)p % 256, 0);
        assert_int_not_equal((uintptr_t)p % 512, 0); /* nobody can lean on more than is promised */
        for (float v : host_copy(p, n)) assert_true(isnan(v));
        blocks.push_back(p);
    }
    must(cudaMemGetInfo(&after, &total));
    assert_int_equal(before - after, 256 + 256 + 256 + 512 + 4096 + 20224 + 1200128);
    for (float *p : blocks) must(cudaFree(p));
    must(cudaMemGetInfo(&after, &total));
    assert_int_equal(before, after);
    void *p = nullptr;
    assert_int_equal(cudaMalloc(&p, before + 1), cudaErrorMemoryAllocation);
    assert_int_equal(cudaMalloc(&p, SIZE_MAX - 3), cudaErrorMemoryAllocation);
    assert_int_equal(cudaGetLastError(), cudaErrorMemoryAllocation);
    must(cudaGetLastError()); /* forgotten, the device goes on */
    must(cudaFree(nullptr));
}

static void test_failing_allocations(void **) {
    void *p[3] = {};
    rs_emulated_fail_allocation(2);
    must(cudaMalloc(&p[0], 10));
    assert_int_equal(cudaMallocHost(&p[1], 10), cudaErrorMemoryAllocation);
    assert_null(p[1]);
    must(cudaMallocHost(&p[1], 10));
    rs_emulated_fail_allocation(1);
    assert_int_equal(cudaMalloc(&p[2], 10), cudaErrorMemoryAllocation);
    must(cudaMalloc(&p[2], 10));
    rs_emulated_fail_allocation(0);
    must(cudaFree(p[0]));
    must(cudaFree(p[2]));
    must(cudaFreeHost(p[1]));
    rs_emulated_reset();
}

/* Freed addresses are not used anew at once: a pointer that dangles stays one. */
static void test_addresses(void **) {
    std::vector<char *> seen;
    for (int i = 0; i < 40; i++) {
        char *p = device_new<char>(1 << 20);
        for (char *old : seen) assert_ptr_not_equal(p, old);
        seen.push_back(p);
        must(cudaFree(p));
    }
}

/* ---- mathematics ---- */

static void test_mathematics(void **) {
    for (int i = -4000; i <= 4000; i++) {
        double x = i / 256.0, s = 0, c = 0;
        sincospi(x, &s, &c);
        assert_true(fabs(s - sin(M_PI * x)) < 4e-14 && fabs(c - cos(M_PI * x)) < 4e-14); /* the right sides err: pi x */
        if (i % 256 == 0) assert_true(s == 0 && c == (i / 256 % 2 == 0 ? 1 : -1));
        if (i % 256 == 128) assert_true(c == 0 && s == (i / 256 % 2 == 0 ? 1 : -1));
    }
    double s = 0, c = 0;
    sincospi(1e15 + 0.5, &s, &c);
    assert_true(s == 1 && c == 0);
    assert_true(rsqrt(4.0) == 0.5 && rsqrtf(16.0F) == 0.25F && isinf(rsqrt(0.0)));
    assert_true(min(3, -4) == -4 && max(3U, 4U) == 4U && max(-0.5F, NAN) == -0.5F && min(1LL << 40, 5LL) == 5);
    assert_true(__popc(0xF0F0U) == 8 && __ffs(0) == 0 && __ffs(8) == 4 && __clz(1) == 31 && __clz(0) == 32);
    assert_true(__float_as_uint(1.0F) == 0x3F800000U && __int_as_float(0x40000000) == 2.0F);
    assert_true(__longlong_as_double(__double_as_longlong(-1.5)) == -1.5);
    assert_true(__fadd_rn(__fmul_rn(1 + 0x1p-23F, 1 + 0x1p-23F), -1.0F) == 0x1p-22F); /* two roundings, not one */
    assert_true(__fmaf_rn(1 + 0x1p-23F, 1 + 0x1p-23F, -1.0F) == 0x1p-22F + 0x1p-46F);
}

/* ---- devices ---- */

/* In a process of its own, for the number of devices is read once: main starts it by this word. */
static const char *const TWO_DEVICES = "two-devices";

static int two_devices() {
    int n = 0, device = -1;
    int *first = nullptr, *second = nullptr;
    size_t available = 0, total = 0;
    must(cudaGetDeviceCount(&n));
    assert_int_equal(n, 2);
    assert_int_equal(cudaSetDevice(2), cudaErrorInvalidDevice);
    must(cudaMalloc(&first, 1000));
    must(cudaSetDevice(1));
    must(cudaGetDevice(&device));
    assert_int_equal(device, 1);
    must(cudaMemGetInfo(&available, &total));
    assert_true(available == 1 << 20 && total == 1 << 20);
    assert_int_equal(cudaMalloc(&second, 2 << 20), cudaErrorMemoryAllocation);
    must(cudaMalloc(&second, 1000));
    std::vector<int> v(250, 42);
    must(cudaMemcpy(second, v.data(), 1000, cudaMemcpyHostToDevice));
    must(cudaMemcpyPeerAsync(first, 0, second, 1, 1000, nullptr));
    assert_int_equal(cudaMemcpyPeerAsync(first, 1, second, 0, 1000, nullptr), cudaErrorInvalidValue);
    must(cudaDeviceSynchronize());
    assert_true(host_copy(first, 250) == v);
    /* More memory than the device has addresses (72 MiB), bit by bit, around a block that stays. */
    must(cudaSetDevice(0));
    for (int i = 0; i < 400; i++) {
        char *p = device_new<char>(500 << 10);
        must(cudaMemsetAsync(p, i, 500 << 10));
        assert_int_equal(host_copy(p, 500 << 10).back(), (char)i);
        must(cudaFree(p));
    }
    assert_true(host_copy(first, 250) == v);
    must(cudaSetDevice(1));
    stopped_with(start(1, 1, 0, append, first, 3), cudaErrorIllegalAddress, "another device");
    return 0;
}

static void test_two_devices(void **) {
    pid_t child = fork();
    if (child == 0) {
        setenv("ROPESCOPE_EMULATED_DEVICES", "2", 1);
        setenv("ROPESCOPE_EMULATED_MEMORY", "1048576", 1);
        execl("/proc/self/exe", "test_emulated_device", TWO_DEVICES, (char *)nullptr);
        _exit(1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void test_properties(void **) {
    cudaDeviceProp p;
    int n = 0, value = 0;
    must(cudaGetDeviceCount(&n));
    assert_int_equal(n, 1);
    must(cudaGetDeviceProperties(&p, 0));
    assert_string_equal(p.name, "emulated device");
    assert_true(p.totalGlobalMem == (size_t)4 << 30 && p.warpSize == 32 && p.maxThreadsPerBlock == 1024);
    must(cudaDeviceGetAttribute(&value, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0));
    assert_int_equal(value, 227 * 1024);
    assert_int_equal(cudaGetDeviceProperties(&p, 1), cudaErrorInvalidDevice);
    rs_emulated_reset();
}

static void two_devices_test(void **) { two_devices(); }

int main(int argc, char **argv) {
    const struct CMUnitTest on_two[] = {cmocka_unit_test(two_devices_test)};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places),         cmocka_unit_test(test_block_sums),
        cmocka_unit_test(test_block_votes),    cmocka_unit_test(test_shuffles),
        cmocka_unit_test(test_warp_votes),     cmocka_unit_test(test_warp_sums),
        cmocka_unit_test(test_atomics),        cmocka_unit_test(test_shared_memory),
        cmocka_unit_test(test_stream_order),   cmocka_unit_test(test_no_event),
        cmocka_unit_test(test_default_stream), cmocka_unit_test(test_queries),
        cmocka_unit_test(test_copies),         cmocka_unit_test(test_host_threads),
        cmocka_unit_test(test_memory),         cmocka_unit_test(test_failing_allocations),
        cmocka_unit_test(test_addresses),      cmocka_unit_test(test_mathematics),
        cmocka_unit_test(test_two_devices),    cmocka_unit_test(test_properties),
    };
    if (argc > 1 && strcmp(argv[1], TWO_DEVICES) == 0) return cmocka_run_group_tests(on_two, nullptr, nullptr);
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
