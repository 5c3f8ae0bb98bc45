/* tests/cuda/test_emulated_refusals.cpp: kernels and host code with planted mistakes, each of which the emulated device
 * must catch: a backend that passes its tests there has none of these. Some show as a refusal with a reason, some as
 * wrong numbers in at least one order, some only under AddressSanitizer, some as the death of the process. */
#include "emulated_rig.h"

#include <math.h>
#include <thread>

/* ---- barriers ---- */

/* Neighbours exchange through shared memory; without the barrier whoever comes first reads NaN or what was before. */
template <bool BARRIER> __global__ void exchange(float *out) {
    RS_SHARED(float, box, 64);
    unsigned t = threadIdx.x;
    box[t] = (float)t;
    if (BARRIER) __syncthreads();
    out[t] = box[(t + 1) % 64];
}

static int wrong_exchanges;
template <bool BARRIER> static void count_wrong() {
    float *out = device_new<float>(64);
    must(start(1, 64, 0, exchange<BARRIER>, out));
    std::vector<float> got = host_copy(out, 64);
    bool wrong = false;
    for (size_t t = 0; t < 64; t++) wrong = wrong || got[t] != (float)((t + 1) % 64);
    wrong_exchanges += wrong;
    must(cudaFree(out));
}

static void test_missing_barrier(void **) {
    wrong_exchanges = 0;
    each_seed(count_wrong<true>);
    assert_int_equal(wrong_exchanges, 0);
    each_seed(count_wrong<false>);
    assert_int_equal(wrong_exchanges, 6); /* every order shows this one: somebody reads first */
}

/* A sum over strides whose loop lacks its barrier: only the orders of some seeds show it. */
template <bool BARRIER> __global__ void fold(int *out) {
    RS_SHARED(int, part, 128);
    unsigned t = threadIdx.x;
    part[t] = (int)t;
    __syncthreads();
    for (unsigned step = 64; step > 0; step /= 2) {
        if (t < step) part[t] += part[t + step];
        if (BARRIER) __syncthreads();
    }
    if (t == 0) out[0] = part[0];
}

static std::vector<int> folds;
template <bool BARRIER> static void keep_fold() {
    int *out = device_new<int>(1);
    must(start(1, 128, 0, fold<BARRIER>, out));
    folds.push_back(host_copy(out, 1)[0]);
    must(cudaFree(out));
}

static void test_missing_barrier_in_loop(void **) {
    folds.clear();
    each_seed(keep_fold<true>);
    for (int f : folds) assert_int_equal(f, 127 * 128 / 2);
    folds.clear();
    each_seed(keep_fold<false>);
    int wrong = 0;
    for (int f : folds) wrong += f != 127 * 128 / 2;
    assert_true(wrong >= 2);
}

/* Sums of warps handed over in an array that is used twice: without the first barrier a warp that runs ahead writes its
 * second sum while others still read the first ones. */
template <bool BARRIER> __global__ void two_sums(int *out) {
    RS_SHARED(int, warp_sum, 4);
    int total = 0;
    for (int round = 1; round <= 2; round++) {
        int sum = round * (int)threadIdx.x;
        for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(~0U, sum, step);
        if (BARRIER) __syncthreads();
        if (threadIdx.x % 32 == 0) warp_sum[threadIdx.x / 32] = sum;
        __syncthreads();
        for (int w = 0; w < 4; w++) total += warp_sum[w];
    }
    out[threadIdx.x] = total;
}

/* Lanes of a warp exchange through shared memory, where __syncwarp would do. */
template <bool BARRIER> __global__ void exchange_in_warp(int *out) {
    RS_SHARED(int, box, 128);
    unsigned t = threadIdx.x;
    box[t] = (int)t;
    if (BARRIER) __syncwarp();
    out[t] = box[t ^ 1U] * 2 - (int)(t ^ 1U) * 2 + 3 * 127 * 64;
}

static int wrong_sums;
static void (*sums_kernel)(int *);
static void count_wrong_sums() {
    int *out = device_new<int>(128);
    bool wrong = false;
    must(start(1, 128, 0, sums_kernel, out));
    for (int v : host_copy(out, 128)) wrong = wrong || v != 3 * 127 * 64;
    wrong_sums += wrong;
    must(cudaFree(out));
}

static void test_missing_barrier_between_warps(void **) {
    const struct {
        void (*kernel)(int *);
        int wrong_at_least, wrong_at_most; /* of 6 orders */
    } cases[] = {{two_sums<true>, 0, 0},
                 {two_sums<false>, 2, 6},
                 {exchange_in_warp<true>, 0, 0},
                 {exchange_in_warp<false>, 6, 6}};
    for (const auto &c : cases) {
        wrong_sums = 0;
        sums_kernel = c.kernel;
        each_seed(count_wrong_sums);
        assert_in_range(wrong_sums, c.wrong_at_least, c.wrong_at_most);
    }
}

__global__ void barrier_in_branch(int *out) {
    if (threadIdx.x < 32) __syncthreads();
    out[threadIdx.x] = 1;
}

__global__ void two_barriers(int *out) {
    if (threadIdx.x % 2 == 0) __syncthreads();
    else __syncthreads(); /* another one: hardware does not promise that they meet */
    out[threadIdx.x] = 1;
}

__global__ void early_return(int *out, int n) {
    if ((int)threadIdx.x >= n) return;
    out[threadIdx.x] = 1;
    __syncthreads();
    out[threadIdx.x] = 2;
}

template <typename... P, typename... A>
static void refused(void (*kernel)(P...), cudaError_t expected, const char *text, A... arguments) {
    must(start(2, 64, 0, kernel, arguments...)); /* nothing has run yet */
    stopped_with(cudaDeviceSynchronize(), expected, text);
    assert_int_equal(cudaGetLastError(), expected); /* and it stays */
    void *p = nullptr;
    assert_int_equal(cudaMalloc(&p, 4), expected);
    assert_int_equal(start(1, 1, 0, kernel, arguments...), expected);
    rs_emulated_reset();
    must(cudaDeviceSynchronize());
}

static void barriers() {
    int *out = device_new<int>(64);
    refused(barrier_in_branch, cudaErrorLaunchFailure, "32 of the 64 threads", out);
    refused(two_barriers, cudaErrorLaunchFailure, "while others of the block wait in __syncthreads", out);
    refused(early_return, cudaErrorLaunchFailure, "4 have left the kernel", out, 60);
    must(start(1, 64, 0, early_return, out, 64)); /* a stopped device can be used again */
    for (int v : host_copy(out, 64)) assert_int_equal(v, 2);
    must(cudaFree(out));
}
static void test_barriers(void **) { each_seed(barriers); }

/* ---- warps ---- */

__global__ void shuffle_after_leaving(int *out) {
    if (threadIdx.x % 32 >= 20) return;
    out[threadIdx.x] = __shfl_xor_sync(~0U, (int)threadIdx.x, 1);
}

__global__ void shuffle_in_branch(int *out) {
    int v = (int)threadIdx.x;
    if (v % 32 < 8) v = __shfl_xor_sync(~0U, v, 1); /* the mask should name 8 lanes */
    __syncthreads();
    out[threadIdx.x] = v;
}

__global__ void shuffle_without_self(int *out) { out[threadIdx.x] = __shfl_xor_sync(3U, (int)threadIdx.x, 1); }

__global__ void shuffle_from_outside(int *out) {
    if (threadIdx.x % 32 < 16) out[threadIdx.x] = __shfl_sync(0xFFFFU, (int)threadIdx.x, 20);
}

__global__ void two_masks(int *out) {
    unsigned mask = threadIdx.x % 32 < 16 ? ~0U : 0xFFFF0000U;
    out[threadIdx.x] = __any_sync(mask, 1);
}

__global__ void odd_width(int *out) { out[threadIdx.x] = __shfl_sync(~0U, 1, 0, 12); }

__global__ void sync_warp(int *out) {
    if (threadIdx.x % 32 != 3) __syncwarp();
    out[threadIdx.x] = 1;
}

static void warps() {
    int *out = device_new<int>(64);
    refused(shuffle_after_leaving, cudaErrorLaunchFailure, "have left the kernel", out);
    refused(shuffle_in_branch, cudaErrorLaunchFailure, "waits for lanes 0xffffff00", out);
    refused(shuffle_without_self, cudaErrorLaunchFailure, "not in its own mask", out);
    refused(shuffle_from_outside, cudaErrorLaunchFailure, "reads from a lane that is not in the mask", out);
    refused(two_masks, cudaErrorLaunchFailure, "__any_sync", out);
    refused(odd_width, cudaErrorLaunchFailure, "power of two", out);
    refused(sync_warp, cudaErrorLaunchFailure, "__syncwarp", out); /* lane 3 left, or has not come yet */
    must(start(1, 40, 0, sync_warp, out));
    stopped_with(cudaDeviceSynchronize(), cudaErrorLaunchFailure, "__syncwarp");
    rs_emulated_reset();
    must(start(1, 40, 0, odd_width, out));
    assert_int_equal(cudaDeviceSynchronize(), cudaErrorLaunchFailure);
    rs_emulated_reset();
    must(cudaFree(out));
}
static void test_warps(void **) { each_seed(warps); }

__global__ void whole_mask(int *out) { out[threadIdx.x] = (int)__ballot_sync(~0U, 1); }

static void test_partial_warp(void **) {
    int *out = device_new<int>(64);
    must(start(1, 64, 0, whole_mask, out));
    must(cudaDeviceSynchronize());
    must(start(1, 40, 0, whole_mask, out));
    stopped_with(cudaDeviceSynchronize(), cudaErrorLaunchFailure, "lanes that the block does not have");
    rs_emulated_reset();
    must(cudaFree(out));
}

/* ---- memory that nobody wrote ---- */

__global__ void sum_shared_fresh(float *out) {
    RS_SHARED(float, box, 8);
    if (threadIdx.x < 7) box[threadIdx.x] = 1;
    __syncthreads();
    float sum = 0;
    for (float v : box) sum += v;
    out[threadIdx.x] = sum;
}

__global__ void sum_dynamic_fresh(float *out) {
    RS_SHARED_DYNAMIC(float, box);
    out[threadIdx.x] = box[threadIdx.x];
}

/* Shared memory does not carry over from one block to the next. */
__global__ void sum_shared_of_before(float *out) {
    RS_SHARED(float, box, 8);
    out[blockIdx.x] = box[0];
    box[0] = 1;
}

static void fresh_memory() {
    float *out = device_new<float>(64);
    must(start(1, 64, 0, sum_shared_fresh, out));
    for (float v : host_copy(out, 64)) assert_true(isnan(v));
    must(start(1, 64, 256, sum_dynamic_fresh, out));
    for (float v : host_copy(out, 64)) assert_true(isnan(v));
    must(start(64, 1, 0, sum_shared_of_before, out));
    for (float v : host_copy(out, 64)) assert_true(isnan(v));
    must(cudaFree(out));
}
static void test_fresh_memory(void **) { each_seed(fresh_memory); }

/* ---- past the end ---- */

__global__ void write_at(float *x, long at) { x[at] = 1; }
__global__ void read_at(float *x, long at, float *out) { out[0] = x[at]; }
__global__ void write_shared_at(float *out, int at) {
    RS_SHARED(float, box, 10);
    float *p = box; /* the sanitizer of bounds does not see through this */
    p[at] = 1;
    out[0] = p[0];
}
__global__ void write_dynamic_at(float *out, int at) {
    RS_SHARED_DYNAMIC(float, box);
    box[at] = 1;
    out[0] = 0;
}

static float *forty_bytes() { return device_new<float>(10); }
static void write_behind() { start(1, 1, 0, write_at, forty_bytes(), 10L), cudaDeviceSynchronize(); }
static void write_before() { start(1, 1, 0, write_at, forty_bytes(), -1L), cudaDeviceSynchronize(); }
static void read_behind() { start(1, 1, 0, read_at, forty_bytes(), 10L, forty_bytes()), cudaDeviceSynchronize(); }
static void shared_behind() { start(1, 1, 0, write_shared_at, forty_bytes(), 10), cudaDeviceSynchronize(); }
static void shared_before() { start(1, 1, 0, write_shared_at, forty_bytes(), -1), cudaDeviceSynchronize(); }
static void dynamic_behind() { start(1, 1, 64, write_dynamic_at, forty_bytes(), 16), cudaDeviceSynchronize(); }

static void test_past_the_end_asan(void **) {
    if (!rig_has_asan) skip();
    void (*const mistakes[])() = {write_behind,  write_before,  read_behind,
                                  shared_behind, shared_before, dynamic_behind};
    for (auto mistake : mistakes) dies(mistake, "AddressSanitizer: use-after-poison");
}

static void test_past_the_end_plain(void **) {
    if (rig_has_asan) skip();
    float *x = forty_bytes();
    const struct {
        long at;
        const char *text;
    } places[] = {{10, "byte 0 behind the end of an allocation of 40 bytes"},
                  {-1, "byte 4 before an allocation of 40 bytes"},
                  {60, "byte 200 behind the end"}};
    for (auto place : places) {
        must(start(1, 1, 0, write_at, x, place.at));
        stopped_with(cudaDeviceSynchronize(), cudaErrorIllegalAddress, place.text);
        rs_emulated_reset();
    }
    refused(write_shared_at, cudaErrorIllegalAddress, "behind the end of the shared array 'box' of 40 bytes", x, 10);
    refused(write_shared_at, cudaErrorIllegalAddress, "byte 4 before the shared array 'box'", x, -1);
    must(start(1, 1, 64, write_dynamic_at, x, 16));
    stopped_with(cudaDeviceSynchronize(), cudaErrorIllegalAddress, "the shared array 'dynamic' of 64 bytes");
    rs_emulated_reset();
    must(cudaFree(x));
}

/* Far out there is nothing at all; the kernel ends, the process does not. */
static void far_out() {
    float *x = forty_bytes();
    refused(write_at, cudaErrorIllegalAddress, "memory that nobody allocated", x, 1L << 28);
    refused(write_at, cudaErrorIllegalAddress, "touches no memory", (float *)nullptr, 5L);
    must(start(1, 1, 0, write_at, x, 3L));
    assert_true(host_copy(x, 10)[3] == 1);
    must(cudaFree(x));
}
static void test_far_out(void **) { each_seed(far_out); }

/* ---- freed memory ---- */

struct hidden {
    float *x; /* [1], where an address stands that the launch cannot see */
};
__global__ void write_through(float **where, long at) { where[0][at] = 1; }

static void test_use_after_free(void **) {
    float *x = device_new<float>(100000), **table = device_copy(std::vector<float *>{x});
    must(start(1, 1, 0, write_through, table, 50000L));
    assert_true(host_copy(x, 100000)[50000] == 1);
    must(cudaFree(x));
    stopped_with(start(1, 1, 0, write_at, x, 0L), cudaErrorIllegalAddress, "in no live allocation");
    rs_emulated_reset();
    refused(write_through, cudaErrorIllegalAddress, "memory that was freed", table, 50000L);
    assert_int_equal(cudaFree(x), cudaErrorInvalidValue);
    assert_int_equal(cudaMemsetAsync(x, 0, 4), cudaErrorInvalidValue);
    rs_emulated_reset();
    must(cudaFree(table));
}

/* ---- addresses of the wrong side ---- */

struct buried {
    int first;
    double second;
    float *third;
};
__global__ void take_buried(float *out, buried b) { out[0] = b.third[0]; }

__global__ void take_numbers(float *out, double a, long long b, long long c, float2 d) {
    out[0] = (float)(a + (double)b + (double)c) + d.x + d.y;
}

static float global_float;

static void test_host_pointers(void **) {
    float on_stack = 1, *on_heap = new float(1), *out = forty_bytes(), *pinned = nullptr;
    must(cudaMallocHost(&pinned, 4));
    for (float *p : {&on_stack, on_heap, &global_float}) {
        stopped_with(start(1, 1, 0, take_buried, out, buried{1, 0.1, p}), cudaErrorIllegalAddress,
                     "argument 1, byte 16: an address of the host");
        rs_emulated_reset();
    }
    stopped_with(start(1, 1, 0, read_at, pinned, 0L, out), cudaErrorIllegalAddress, "pinned host memory");
    rs_emulated_reset();
    stopped_with(start(1, 1, 0, read_at, out + 11, 0L, out), cudaErrorIllegalAddress, "4 behind the end");
    rs_emulated_reset();
    /* Numbers that look like nothing in particular, and the end of an array, pass. */
    must(start(1, 1, 0, read_at, out + 10, -1L, out));
    must(start(1, 1, 0, take_numbers, out, 0.1, 5LL << 40, -1LL, make_float2(-1.0F, 3e-41F)));
    must(cudaDeviceSynchronize());
    must(cudaFreeHost(pinned));
    must(cudaFree(out));
    delete on_heap;
}

static float *host_touched;
static void touch_on_host() {
    float *x = forty_bytes();
    must(cudaMemsetAsync(x, 0, 40));
    must(cudaDeviceSynchronize());
    host_touched = x;
    *host_touched = 1;
}
static void test_host_code_touches_device(void **) {
    dies(touch_on_host, "emulated device: host code touched device memory");
}

static void test_directions(void **) {
    float host[20] = {0}, *x = forty_bytes(), *large = device_new<float>(20), *pinned = nullptr;
    must(cudaMallocHost(&pinned, 40));
    const struct {
        void *dst, *src;
        size_t bytes;
        cudaMemcpyKind kind;
        const char *text;
    } wrong[] = {
        {x, host, 40, cudaMemcpyDeviceToHost, "the target should lie within one allocation on the host"},
        {host, x, 40, cudaMemcpyHostToDevice, "the target should lie within one allocation on the device"},
        {x, host, 40, cudaMemcpyDeviceToDevice, "the source should lie within one allocation on the device"},
        {x, host, 44, cudaMemcpyHostToDevice, "(offset 0 of an allocation of 40)"},
        {large, pinned, 44, cudaMemcpyHostToDevice, "(offset 0 of a pinned allocation of 40)"},
        {x + 9, host, 8, cudaMemcpyHostToDevice, "the target"},
        {x, x + 2, 12, cudaMemcpyDeviceToDevice, "overlap"},
        {pinned, x + 11, 4, cudaMemcpyDeviceToHost, "behind the end"},
    };
    for (const auto &w : wrong) {
        stopped_with(cudaMemcpyAsync(w.dst, w.src, w.bytes, w.kind), cudaErrorInvalidValue, w.text);
        assert_int_equal(cudaGetLastError(), cudaErrorInvalidValue);
        must(cudaGetLastError()); /* a refused call, not a stopped device */
    }
    assert_int_equal(cudaMemsetAsync(x, 0, 41), cudaErrorInvalidValue);
    assert_int_equal(cudaFree(x + 1), cudaErrorInvalidValue);
    assert_int_equal(cudaFree(host), cudaErrorInvalidValue);
    assert_int_equal(cudaFreeHost(host), cudaErrorInvalidValue);
    rs_emulated_reset();
    must(cudaFreeHost(pinned));
    must(cudaFree(large));
    must(cudaFree(x));
}

/* ---- vectors ---- */

__global__ void load_vector(const char *x, float *out) { out[0] = rs_vector_load<float4>(x).x; }
__global__ void store_vector(char *x) { rs_vector_store(x, make_float2(1, 2)); }
__global__ void load_shared_vector(float *out) {
    RS_SHARED(float, box, 8); /* of floats: no more than 8-byte aligned */
    box[threadIdx.x % 8] = 1;
    out[0] = rs_vector_load<float4>(box).x;
}

static void test_vectors(void **) {
    float *x = forty_bytes();
    char *bytes = reinterpret_cast<char *>(x);
    must(start(1, 1, 0, load_vector, bytes + 16, x));
    must(start(1, 1, 0, store_vector, bytes + 8));
    must(cudaDeviceSynchronize());
    refused(load_vector, cudaErrorMisalignedAddress, "a vector of 16 bytes", bytes + 8, x);
    refused(store_vector, cudaErrorMisalignedAddress, "a vector of 8 bytes", bytes + 4);
    refused(load_shared_vector, cudaErrorMisalignedAddress, "a vector of 16 bytes", x);
    must(cudaFree(x));
}

/* ---- limits ---- */

__global__ void nothing() {}
template <int BYTES> __global__ void static_shared(char *out) {
    RS_SHARED(char, box, BYTES);
    box[threadIdx.x] = 1;
    out[0] = box[0];
}
__global__ void both_shared(char *out) {
    RS_SHARED_DYNAMIC(char, dynamic);
    RS_SHARED(char, box, 1024);
    dynamic[0] = box[0] = 1;
    out[0] = 1;
}

static void test_limits(void **) {
    const struct {
        dim3 grid, block;
        size_t shared;
        const char *text;
    } wrong[] = {
        {1, 1025, 0, "at most 1024"},
        {1, dim3(32, 33), 0, "at most 1024 threads"},
        {1, dim3(1, 1, 65), 0, "1024 x 1024 x 64"},
        {1, 0, 0, "an empty block"},
        {0, 1, 0, "an empty grid"},
        {dim3(1, 65536), 1, 0, "65535"},
        {dim3(1, 1, 65536), 1, 0, "65535"},
        {1U << 31, 1, 0, "2147483647"},
        {1, 1, 48 * 1024 + 1, "48 KiB"},
    };
    for (const auto &w : wrong) {
        stopped_with(start(w.grid, w.block, w.shared, nothing), cudaErrorInvalidConfiguration, w.text);
        assert_int_equal(cudaDeviceSynchronize(), cudaErrorInvalidConfiguration); /* also where nobody looked */
        rs_emulated_reset();
    }
    must(start(1, 1024, 48 * 1024, nothing));
    must(start(dim3(1, 65535), dim3(4, 4, 64), 0, nothing));
    must(cudaDeviceSynchronize());
}

static void test_shared_limits(void **) {
    char *out = device_new<char>(1);
    const void *both = reinterpret_cast<const void *>(both_shared);
    must(start(1, 64, 0, static_shared<48 * 1024>, out));
    must(cudaDeviceSynchronize());
    refused(static_shared<48 * 1024 + 4>, cudaErrorInvalidConfiguration, "bytes of shared arrays", out);
    must(start(1, 1, 48 * 1024, both_shared, out)); /* 49 KiB in all, and nobody asked for more than 48 */
    stopped_with(cudaDeviceSynchronize(), cudaErrorInvalidConfiguration,
                 "1024 bytes of shared arrays and 49152 dynamic ones");
    rs_emulated_reset();
    assert_int_equal(cudaFuncSetAttribute(both, cudaFuncAttributeMaxDynamicSharedMemorySize, 227 * 1024 + 1),
                     cudaErrorInvalidValue);
    must(cudaGetLastError() == cudaErrorInvalidValue ? cudaSuccess : cudaErrorLaunchFailure);
    must(cudaFuncSetAttribute(both, cudaFuncAttributeMaxDynamicSharedMemorySize, 226 * 1024));
    must(start(1, 1, 226 * 1024, both_shared, out));
    must(cudaDeviceSynchronize());
    stopped_with(start(1, 1, 226 * 1024 + 1, both_shared, out), cudaErrorInvalidConfiguration, "cudaFuncSetAttribute");
    rs_emulated_reset();
    must(cudaFree(out));
}

__device__ __noinline__ static int deep(int n, volatile char *last) {
    volatile char room[4096];
    room[0] = last[0];
    return n == 0 ? room[0] : deep(n - 1, room) + room[0];
}
__global__ void use_much_stack(int *out, int depth) {
    volatile char one = 1;
    out[threadIdx.x] = deep(depth, &one);
}

static void stack() {
    int *out = device_new<int>(64);
    must(start(1, 64, 0, use_much_stack, out, 10));
    assert_int_equal(host_copy(out, 64)[63], 11);
    refused(use_much_stack, cudaErrorLaunchFailure, "the stack of a thread is used up", out, 1000);
    must(start(1, 64, 0, use_much_stack, out, 10));
    must(cudaDeviceSynchronize());
    must(cudaFree(out));
}
static void test_stack(void **) { each_seed(stack); }

/* ---- too early ---- */

static void test_pinned_too_early(void **) {
    cudaStream_t s;
    int *pinned = nullptr, *x = device_new<int>(2);
    must(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking));
    must(cudaMallocHost(&pinned, 8));
    pinned[0] = pinned[1] = 1;
    must(cudaMemcpyAsync(x, pinned, 8, cudaMemcpyHostToDevice, s));
    pinned[1] = 2; /* reused before the copy ran */
    must(cudaStreamSynchronize(s));
    assert_true(host_copy(x, 2) == (std::vector<int>{1, 2}));
    pinned[0] = pinned[1] = -1;
    must(cudaMemcpyAsync(pinned, x, 8, cudaMemcpyDeviceToHost, s));
    assert_true(pinned[0] == -1 && pinned[1] == -1); /* read without waiting */
    must(cudaStreamSynchronize(s));
    assert_true(pinned[0] == 1 && pinned[1] == 2);
    must(cudaFreeHost(pinned));
    must(cudaStreamDestroy(s));
    must(cudaFree(x));
}

static void test_handles(void **) {
    cudaStream_t s;
    cudaEvent_t e;
    must(cudaStreamCreate(&s));
    must(cudaEventCreate(&e));
    stopped_with(cudaStreamWaitEvent(s, e, 0), cudaErrorInvalidValue, "has not been recorded");
    rs_emulated_reset();
    must(cudaStreamDestroy(s));
    must(cudaEventDestroy(e));
    assert_int_equal(cudaStreamSynchronize(s), cudaErrorInvalidResourceHandle);
    assert_int_equal(cudaEventRecord(e, nullptr), cudaErrorInvalidResourceHandle);
    assert_int_equal(start_on(s, 1, 1, 0, nothing), cudaErrorInvalidResourceHandle);
    assert_int_equal(cudaStreamDestroy(s), cudaErrorInvalidResourceHandle);
    rs_emulated_reset();
}

/* Faults and used-up stacks are caught on any thread of the host. */
static void test_host_threads(void **) {
    float *x = forty_bytes();
    std::vector<cudaError_t> got(4, cudaSuccess);
    for (size_t i = 0; i < got.size(); i++) {
        std::thread([&] {
            if (i % 2 == 0) start(1, 64, 0, write_at, x, 1L << 28);
            else start(1, 64, 0, use_much_stack, reinterpret_cast<int *>(x), 1000);
            got[i] = cudaDeviceSynchronize();
        }).join();
        assert_int_equal(got[i], i % 2 == 0 ? cudaErrorIllegalAddress : cudaErrorLaunchFailure);
        rs_emulated_reset();
    }
    must(cudaFree(x));
}

int main() {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_missing_barrier),
        cmocka_unit_test(test_missing_barrier_in_loop),
        cmocka_unit_test(test_missing_barrier_between_warps),
        cmocka_unit_test(test_barriers),
        cmocka_unit_test(test_warps),
        cmocka_unit_test(test_partial_warp),
        cmocka_unit_test(test_fresh_memory),
        cmocka_unit_test(test_past_the_end_asan),
        cmocka_unit_test(test_past_the_end_plain),
        cmocka_unit_test(test_far_out),
        cmocka_unit_test(test_use_after_free),
        cmocka_unit_test(test_host_pointers),
        cmocka_unit_test(test_host_code_touches_device),
        cmocka_unit_test(test_directions),
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_shared_limits),
        cmocka_unit_test(test_stack),
        cmocka_unit_test(test_host_threads),
        cmocka_unit_test(test_pinned_too_early),
        cmocka_unit_test(test_handles),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
