/* tests/support/cuda_host/emulated_language.h: the language of kernels, as much of CUDA's as kernels/cuda may use, for
 * the host's C++ compiler: keywords, vectors, the place of a thread, barriers, warps, atomics, shared memory,
 * intrinsics. cuda_runtime.h includes it. One thread of the device runs at a time and gives way only where it waits
 * (emulated_fibers.cpp), so an atomic is a plain read and write. What CUDA leaves undefined is refused where it can be
 * seen: the kernel stops and the device keeps an error (cuda_runtime.h: rs_emulated_reason). */
#ifndef RS_TESTS_EMULATED_LANGUAGE_H
#define RS_TESTS_EMULATED_LANGUAGE_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <type_traits>

/* ---- keywords ---- */

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(bytes) alignas(bytes)

/* ---- vectors, with CUDA's alignments ---- */

struct uint3 {
    unsigned x, y, z;
};
struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
    constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(8) int2 {
    int x, y;
};
struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(16) int4 {
    int x, y, z, w;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct alignas(16) double2 {
    double x, y;
};

inline uint3 make_uint3(unsigned x, unsigned y, unsigned z) { return {x, y, z}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline int2 make_int2(int x, int y) { return {x, y}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline double2 make_double2(double x, double y) { return {x, y}; }

/* ---- where the running thread is ---- */

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
constexpr int warpSize = 32;

/* ---- the seam to the runtime; kernels do not call these by name ---- */

/* What a lane brings to a meeting of its warp, and what the lanes get out of it. */
enum rs_emulated_meeting {
    RS_EMULATED_SYNC,
    RS_EMULATED_SHUFFLE, /* the deposit of lane `source` */
    RS_EMULATED_BALLOT,  /* lanes with a deposit that is not 0 */
    RS_EMULATED_ADD,     /* sum of the deposits, modulo 2^32 */
    RS_EMULATED_MIN,     /* signed */
    RS_EMULATED_MAX,     /* signed */
    RS_EMULATED_MIN_UNSIGNED,
    RS_EMULATED_MAX_UNSIGNED
};
/* Waits until every lane of the mask has come to the same place with the same mask. */
uint64_t rs_emulated_meet(rs_emulated_meeting kind, const char *what, unsigned mask, uint64_t deposit, int source,
                          const char *file, int line);
/* The running thread's number in its block; of a multi-dimensional block x counts first. Then its lane in its warp. */
extern int rs_emulated_thread;
inline int rs_emulated_lane() { return rs_emulated_thread % 32; }
/* Waits for the whole block. Results: threads whose predicate is not 0. */
int rs_emulated_barrier(const char *what, int predicate, const char *file, int line);
/* Stops the kernel when p is no multiple of bytes. */
void rs_emulated_check_aligned(const void *p, size_t bytes, const char *file, int line);
/* Stops the kernel for a mistake in the arguments of an intrinsic. */
[[noreturn]] void rs_emulated_misuse(const char *what, const char *why, const char *file, int line);

/* ---- shared memory ---- */

/* One declaration of a block-wide array: where it stands in the block with that serial number. */
struct rs_emulated_array {
    uint64_t block;
    void *address;
};
extern uint64_t rs_emulated_block; /* serial number of the running block, never 0 in a kernel */
/* The first thread of a block that reaches the declaration makes the array: bytes 0xFF (NaN) between red zones. */
void rs_emulated_make_shared(rs_emulated_array *a, const char *name, size_t bytes, size_t align);
/* The launch's dynamic shared memory: 16-byte aligned and no more, bytes 0xFF. */
void *rs_emulated_dynamic_shared();

#define RS_SHARED(type, name, count)                                                                                   \
    static rs_emulated_array name##_array;                                                                             \
    if (name##_array.block != rs_emulated_block)                                                                       \
        rs_emulated_make_shared(&name##_array, #name, sizeof(type) * static_cast<size_t>(count), alignof(type));       \
    type(&name)[count] = *static_cast<type(*)[count]>(name##_array.address)
#define RS_SHARED_DYNAMIC(type, name) type *name = static_cast<type *>(rs_emulated_dynamic_shared())

/* ---- loads and stores of whole vectors ---- */

#define RS_VECTOR_ACCESS
template <typename V>
inline V rs_vector_load(const void *p, const char *file = __builtin_FILE(), int line = __builtin_LINE()) {
    if (reinterpret_cast<uintptr_t>(p) % sizeof(V) != 0) rs_emulated_check_aligned(p, sizeof(V), file, line);
    return *static_cast<const V *>(p);
}
template <typename V>
inline void rs_vector_store(void *p, V v, const char *file = __builtin_FILE(), int line = __builtin_LINE()) {
    if (reinterpret_cast<uintptr_t>(p) % sizeof(V) != 0) rs_emulated_check_aligned(p, sizeof(V), file, line);
    *static_cast<V *>(p) = v;
}
template <typename T> inline T __ldg(const T *p) { return *p; }

/* ---- barriers ---- */

inline void __syncthreads(const char *file = __builtin_FILE(), int line = __builtin_LINE()) {
    rs_emulated_barrier("__syncthreads", 0, file, line);
}
inline int __syncthreads_count(int p, const char *file = __builtin_FILE(), int line = __builtin_LINE()) {
    return rs_emulated_barrier("__syncthreads_count", p, file, line);
}
inline int __syncthreads_or(int p, const char *file = __builtin_FILE(), int line = __builtin_LINE()) {
    return rs_emulated_barrier("__syncthreads_or", p, file, line) > 0;
}
inline int __syncthreads_and(int p, const char *file = __builtin_FILE(), int line = __builtin_LINE()) {
    return rs_emulated_barrier("__syncthreads_and", p == 0, file, line) == 0;
}
inline void __syncwarp(unsigned mask = 0xFFFFFFFFU, const char *file = __builtin_FILE(), int line = __builtin_LINE()) {
    rs_emulated_meet(RS_EMULATED_SYNC, "__syncwarp", mask, 0, 0, file, line);
}
/* Threads run one at a time: what one has written the next one sees. */
inline void __threadfence() {}
inline void __threadfence_block() {}

/* ---- warps ---- */

template <typename T>
inline T rs_emulated_shuffle(const char *what, unsigned mask, T v, int source, const char *file, int line) {
    static_assert(std::is_arithmetic<T>::value && (sizeof(T) == 4 || sizeof(T) == 8), "shuffles move 4 or 8 bytes");
    uint64_t bits = 0;
    memcpy(&bits, &v, sizeof v);
    bits = rs_emulated_meet(RS_EMULATED_SHUFFLE, what, mask, bits, source, file, line);
    memcpy(&v, &bits, sizeof v);
    return v;
}
/* First lane of the running lane's segment. */
inline int rs_emulated_segment(const char *what, int width, const char *file, int line) {
    if (width < 1 || width > 32 || (width & (width - 1)) != 0)
        rs_emulated_misuse(what, "the width is no power of two up to 32", file, line);
    return rs_emulated_lane() & ~(width - 1);
}
template <typename T>
inline T __shfl_sync(unsigned mask, T v, int lane, int width = 32, const char *file = __builtin_FILE(),
                     int line = __builtin_LINE()) {
    int first = rs_emulated_segment("__shfl_sync", width, file, line);
    return rs_emulated_shuffle("__shfl_sync", mask, v, first | (lane & (width - 1)), file, line);
}
template <typename T>
inline T __shfl_up_sync(unsigned mask, T v, unsigned by, int width = 32, const char *file = __builtin_FILE(),
                        int line = __builtin_LINE()) {
    int first = rs_emulated_segment("__shfl_up_sync", width, file, line), own = rs_emulated_lane();
    int from = by < 32 && own - static_cast<int>(by) >= first ? own - static_cast<int>(by) : own;
    return rs_emulated_shuffle("__shfl_up_sync", mask, v, from, file, line);
}
template <typename T>
inline T __shfl_down_sync(unsigned mask, T v, unsigned by, int width = 32, const char *file = __builtin_FILE(),
                          int line = __builtin_LINE()) {
    int first = rs_emulated_segment("__shfl_down_sync", width, file, line), own = rs_emulated_lane();
    int from = by < 32 && own + static_cast<int>(by) < first + width ? own + static_cast<int>(by) : own;
    return rs_emulated_shuffle("__shfl_down_sync", mask, v, from, file, line);
}
template <typename T>
inline T __shfl_xor_sync(unsigned mask, T v, int bits, int width = 32, const char *file = __builtin_FILE(),
                         int line = __builtin_LINE()) {
    int first = rs_emulated_segment("__shfl_xor_sync", width, file, line), own = rs_emulated_lane(), from = own ^ bits;
    return rs_emulated_shuffle("__shfl_xor_sync", mask, v, from < 0 || from >= first + width ? own : from, file, line);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, const char *file = __builtin_FILE(),
                              int line = __builtin_LINE()) {
    return static_cast<unsigned>(
        rs_emulated_meet(RS_EMULATED_BALLOT, "__ballot_sync", mask, predicate != 0, 0, file, line));
}
inline int __any_sync(unsigned mask, int predicate, const char *file = __builtin_FILE(), int line = __builtin_LINE()) {
    return rs_emulated_meet(RS_EMULATED_BALLOT, "__any_sync", mask, predicate != 0, 0, file, line) != 0;
}
inline int __all_sync(unsigned mask, int predicate, const char *file = __builtin_FILE(), int line = __builtin_LINE()) {
    return rs_emulated_meet(RS_EMULATED_BALLOT, "__all_sync", mask, predicate != 0, 0, file, line) == mask;
}
#define RS_EMULATED_REDUCE(name, kind, type)                                                                           \
    inline type name(unsigned mask, type v, const char *file = __builtin_FILE(), int line = __builtin_LINE()) {        \
        return static_cast<type>(rs_emulated_meet(kind, #name, mask, static_cast<uint32_t>(v), 0, file, line));        \
    }
RS_EMULATED_REDUCE(__reduce_add_sync, RS_EMULATED_ADD, int)
RS_EMULATED_REDUCE(__reduce_min_sync, RS_EMULATED_MIN, int)
RS_EMULATED_REDUCE(__reduce_max_sync, RS_EMULATED_MAX, int)
RS_EMULATED_REDUCE(__reduce_add_sync, RS_EMULATED_ADD, unsigned)
RS_EMULATED_REDUCE(__reduce_min_sync, RS_EMULATED_MIN_UNSIGNED, unsigned)
RS_EMULATED_REDUCE(__reduce_max_sync, RS_EMULATED_MAX_UNSIGNED, unsigned)
#undef RS_EMULATED_REDUCE

/* ---- tensor cores, copies into shared memory beside the work: kernels/cuda/cuda_tensor.h (emulated_tensor.cpp) ----
 */

#define RS_TENSOR_CORES
void rs_emulated_mma(float d[4], const unsigned a[4], unsigned b0, unsigned b1, const char *file, int line);
void rs_emulated_load_matrices(unsigned r[4], const void *row, bool transposed, const char *file, int line);
void rs_emulated_copy_async(void *to, const void *from, bool there, const char *file, int line);
void rs_emulated_copies_commit();
void rs_emulated_copies_wait(int open);

inline void rs_cuda_mma(float d[4], const unsigned a[4], unsigned b0, unsigned b1, const char *file = __builtin_FILE(),
                        int line = __builtin_LINE()) {
    rs_emulated_mma(d, a, b0, b1, file, line);
}
inline void rs_cuda_load_matrices(unsigned r[4], const void *row, const char *file = __builtin_FILE(),
                                  int line = __builtin_LINE()) {
    rs_emulated_load_matrices(r, row, false, file, line);
}
inline void rs_cuda_load_transposed(unsigned r[4], const void *row, const char *file = __builtin_FILE(),
                                    int line = __builtin_LINE()) {
    rs_emulated_load_matrices(r, row, true, file, line);
}
inline void rs_cuda_copy_async(void *to, const void *from, bool there, const char *file = __builtin_FILE(),
                               int line = __builtin_LINE()) {
    rs_emulated_copy_async(to, from, there, file, line);
}
inline void rs_cuda_copies_commit() { rs_emulated_copies_commit(); }
template <int OPEN> inline void rs_cuda_copies_wait() { rs_emulated_copies_wait(OPEN); }

/* ---- atomics: each returns what stood there before ---- */

#define RS_EMULATED_ATOMIC(name, type, expression)                                                                     \
    inline type name(type *p, type v) {                                                                                \
        type old = *p;                                                                                                 \
        *p = expression;                                                                                               \
        return old;                                                                                                    \
    }
RS_EMULATED_ATOMIC(atomicAdd, int, static_cast<int>(static_cast<unsigned>(old) + static_cast<unsigned>(v)))
RS_EMULATED_ATOMIC(atomicAdd, unsigned, old + v)
RS_EMULATED_ATOMIC(atomicAdd, unsigned long long, old + v)
RS_EMULATED_ATOMIC(atomicAdd, float, old + v)
RS_EMULATED_ATOMIC(atomicAdd, double, old + v)
RS_EMULATED_ATOMIC(atomicMin, int, v < old ? v : old)
RS_EMULATED_ATOMIC(atomicMin, unsigned, v < old ? v : old)
RS_EMULATED_ATOMIC(atomicMin, long long, v < old ? v : old)
RS_EMULATED_ATOMIC(atomicMin, unsigned long long, v < old ? v : old)
RS_EMULATED_ATOMIC(atomicMax, int, v > old ? v : old)
RS_EMULATED_ATOMIC(atomicMax, unsigned, v > old ? v : old)
RS_EMULATED_ATOMIC(atomicMax, long long, v > old ? v : old)
RS_EMULATED_ATOMIC(atomicMax, unsigned long long, v > old ? v : old)
RS_EMULATED_ATOMIC(atomicOr, int, old | v)
RS_EMULATED_ATOMIC(atomicOr, unsigned, old | v)
RS_EMULATED_ATOMIC(atomicOr, unsigned long long, old | v)
RS_EMULATED_ATOMIC(atomicExch, int, v)
RS_EMULATED_ATOMIC(atomicExch, unsigned, v)
RS_EMULATED_ATOMIC(atomicExch, unsigned long long, v)
RS_EMULATED_ATOMIC(atomicExch, float, v)
#undef RS_EMULATED_ATOMIC
#define RS_EMULATED_CAS(type)                                                                                          \
    inline type atomicCAS(type *p, type expected, type v) {                                                            \
        type old = *p;                                                                                                 \
        if (old == expected) *p = v;                                                                                   \
        return old;                                                                                                    \
    }
RS_EMULATED_CAS(int)
RS_EMULATED_CAS(unsigned)
RS_EMULATED_CAS(unsigned long long)
#undef RS_EMULATED_CAS

/* ---- bits of numbers ---- */

template <typename To, typename From> inline To rs_emulated_bits(From x) {
    static_assert(sizeof(To) == sizeof(From), "types of one size");
    To y;
    memcpy(&y, &x, sizeof y);
    return y;
}
inline int __float_as_int(float x) { return rs_emulated_bits<int>(x); }
inline unsigned __float_as_uint(float x) { return rs_emulated_bits<unsigned>(x); }
inline float __int_as_float(int x) { return rs_emulated_bits<float>(x); }
inline float __uint_as_float(unsigned x) { return rs_emulated_bits<float>(x); }
inline long long __double_as_longlong(double x) { return rs_emulated_bits<long long>(x); }
inline double __longlong_as_double(long long x) { return rs_emulated_bits<double>(x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }

/* ---- mathematics that the host's library lacks or has under another name ---- */

inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __fmaf_rn(float x, float y, float z) { return fmaf(x, y, z); }
/* One rounding each: volatile keeps the compiler from joining a product and a sum. */
inline float __fadd_rn(float x, float y) {
    volatile float r = x + y;
    return r;
}
inline float __fmul_rn(float x, float y) {
    volatile float r = x * y;
    return r;
}
inline double __dadd_rn(double x, double y) {
    volatile double r = x + y;
    return r;
}
inline double __dmul_rn(double x, double y) {
    volatile double r = x * y;
    return r;
}
/* Under names of ours, for newer C libraries have these. */
inline float rs_emulated_rsqrtf(float x) { return static_cast<float>(1.0 / sqrt(static_cast<double>(x))); }
inline double rs_emulated_rsqrt(double x) { return 1.0 / sqrt(x); }
void rs_emulated_sincospi(double x, double *s, double *c);
#define rsqrtf rs_emulated_rsqrtf
#define rsqrt rs_emulated_rsqrt
#define sincospi rs_emulated_sincospi

#define RS_EMULATED_EXTREMES(type)                                                                                     \
    inline type min(type a, type b) { return b < a ? b : a; }                                                          \
    inline type max(type a, type b) { return a < b ? b : a; }
RS_EMULATED_EXTREMES(int)
RS_EMULATED_EXTREMES(unsigned)
RS_EMULATED_EXTREMES(long)
RS_EMULATED_EXTREMES(unsigned long)
RS_EMULATED_EXTREMES(long long)
RS_EMULATED_EXTREMES(unsigned long long)
#undef RS_EMULATED_EXTREMES
/* A NaN yields to a number, as on the card. */
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }

#endif
