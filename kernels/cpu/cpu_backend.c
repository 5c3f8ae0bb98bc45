/* kernels/cpu/cpu_backend.c: the table of the CPU backend: device, memory, and which function runs which op. */
#include "kernels/cpu/cpu_backend.h"

#include "analyzer/base/clock.h"
#include "kernels/cpu/cpu_device.h"

#include <cblas.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- choice of the instruction set ---- */

#if defined(__x86_64__)
enum { LEVELS = 3 };
static const rs_cpu_hot *const levels[LEVELS] = {&rs_cpu_hot_v2, &rs_cpu_hot_v3, &rs_cpu_hot_v4};

static int highest_level(void) {
    __builtin_cpu_init();
    bool v2 = __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
    bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
              __builtin_cpu_supports("bmi2");
    bool v4 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
              __builtin_cpu_supports("avx512vl");
    return !v2 ? -1 : !v3 ? 0 : !v4 ? 1 : 2;
}

/* ROPESCOPE_CPU asks for a level by name; one that the machine has not, or no level, is an error. */
static rs_status pick_hot(const rs_cpu_hot **out, rs_error *err) {
    static const char *const names[LEVELS] = {"v2", "v3", "v4"};
    const char *asked = getenv("ROPESCOPE_CPU");
    int most = highest_level(), level = most;
    for (int i = 0; asked && *asked && i <= LEVELS; i++) {
        if (i == LEVELS) return rs_fail(err, RS_E_USAGE, "ROPESCOPE_CPU=%s: expected v2, v3 or v4", asked);
        level = i;
        if (strcmp(asked, names[i]) == 0) break;
    }
    if (most < 0)
        return rs_fail(err, RS_E_UNAVAILABLE, "device 'cpu': the processor is older than x86-64-v2 (SSE 4.2)");
    if (level > most)
        return rs_fail(err, RS_E_UNAVAILABLE, "ROPESCOPE_CPU=%s: the processor goes up to x86-64-%s", asked,
                       names[most]);
    *out = levels[level];
    return RS_OK;
}
#else
static rs_status pick_hot(const rs_cpu_hot **out, rs_error *err) {
    (void)err;
    *out = &rs_cpu_hot_generic;
    return RS_OK;
}
#endif

/* ---- device ---- */

static rs_status cpu_probe(rs_error *err) {
    const rs_cpu_hot *hot = NULL;
    return pick_hot(&hot, err);
}

static rs_status cpu_open(const char *spec, int threads, rs_device **out, rs_error *err) {
    rs_status st = RS_OK;
    const rs_cpu_hot *hot = NULL;
    *out = NULL;
    if (*spec) return rs_fail(err, RS_E_USAGE, "device 'cpu:%s': the CPU takes no number; use --threads", spec);
    RS_TRY(pick_hot(&hot, err));
    RS_TRY(RS_NEW(out, 1, err));
    (*out)->hot = hot;
    (*out)->threads = threads > 0 ? threads : omp_get_max_threads();
out:
    return st;
}

static void cpu_close(rs_device *d) {
    if (!d) return;
    rs_cpu_plans_free(d->plans);
    for (int i = 0; i < RS_CPU_SCRATCHES; i++) rs_free(d->scratch[i].data);
    rs_free(d);
}

/* A build that is not "openmp" starts threads of its own beside ours: slower, so the name shows it. */
static const char *blas_threading(void) {
    static const char *const names[] = {"sequential", "pthreads", "openmp"};
    int kind = openblas_get_parallel();
    return kind >= 0 && kind <= 2 ? names[kind] : "unknown threads";
}

static void cpu_info(rs_device *d, rs_device_info *out) {
    char version[32] = "";
    const char *config = openblas_get_config(); /* "OpenBLAS 0.3.21 DYNAMIC_ARCH ..." */
    const char *space = config ? strchr(config, ' ') : NULL;
    if (space) snprintf(version, sizeof version, "%.*s ", (int)strcspn(space + 1, " ") % 16, space + 1);
    *out = (rs_device_info){.memory_bytes = rs_memory_available(),
                            .allocated = d->allocated,
                            .allocated_peak = d->peak,
                            .threads = d->threads};
    snprintf(out->name, sizeof out->name, "CPU, %d thread%s, %s, OpenBLAS %s%s (%s)", d->threads,
             d->threads == 1 ? "" : "s", d->hot->name, version, openblas_get_corename(), blas_threading());
}

/* ---- memory ---- */

static rs_status cpu_alloc(rs_device *d, size_t bytes, rs_mem **out, rs_error *err) {
    rs_status st = RS_OK;
    rs_mem *m = NULL;
    *out = NULL;
    RS_TRY(RS_NEW(&m, 1, err));
    RS_TRY(rs_new((void **)&m->data, bytes, 1, err));
    m->bytes = bytes;
    d->allocated += bytes;
    d->peak = d->allocated > d->peak ? d->allocated : d->peak;
#ifndef NDEBUG
    if (bytes > 0) memset(m->data, 0xFF, bytes); /* NaN: whoever reads before writing shall notice */
#endif
    *out = m;
    m = NULL;
out:
    rs_free(m);
    return st;
}

static void cpu_release(rs_device *d, rs_mem *m) {
    if (!m) return;
    d->allocated -= m->bytes;
    rs_free(m->data);
    rs_free(m);
}

static rs_status cpu_write(rs_device *d, rs_mem *m, size_t offset, const void *src, size_t bytes, rs_error *err) {
    (void)d;
    rs_status st = rs_mem_check(m, offset, bytes, "write", err);
    if (st == RS_OK && bytes > 0) memcpy(m->data + offset, src, bytes);
    return st;
}

static rs_status cpu_read(rs_device *d, rs_mem *m, size_t offset, void *dst, size_t bytes, rs_error *err) {
    (void)d;
    rs_status st = rs_mem_check(m, offset, bytes, "read", err);
    if (st == RS_OK && bytes > 0) memcpy(dst, m->data + offset, bytes);
    return st;
}

static rs_status cpu_host_new(rs_device *d, size_t bytes, void **out, rs_error *err) {
    (void)d;
    return rs_new(out, bytes, 1, err);
}

static void cpu_host_release(rs_device *d, void *memory) {
    (void)d;
    rs_free(memory);
}

static rs_status cpu_zero(rs_device *d, rs_mem *m, size_t offset, size_t bytes, rs_error *err) {
    (void)d;
    rs_status st = rs_mem_check(m, offset, bytes, "zeroing", err);
    if (st == RS_OK && bytes > 0) memset(m->data + offset, 0, bytes);
    return st;
}

static void *cpu_host(rs_device *d, rs_mem *m) {
    (void)d;
    return m->data;
}

rs_status rs_cpu_scratch_get(rs_device *d, rs_cpu_scratch slot, size_t bytes, void **out, rs_error *err) {
    if (bytes > d->scratch[slot].bytes) {
        rs_free(d->scratch[slot].data);
        d->scratch[slot].data = NULL;
        d->scratch[slot].bytes = 0;
        rs_status st = rs_new(&d->scratch[slot].data, bytes, 1, err);
        if (st != RS_OK) return st;
        d->scratch[slot].bytes = bytes;
    }
    *out = d->scratch[slot].data;
    return RS_OK;
}

/* ---- ops ---- */

static rs_cpu_op_fn *const op_functions[RS_OP_COUNT] = {
    [RS_OP_WIDEN] = rs_cpu_widen,
    [RS_OP_NORM] = rs_cpu_norm,
    [RS_OP_MATMUL] = rs_cpu_matmul,
    [RS_OP_ADD] = rs_cpu_add,
    [RS_OP_GATE] = rs_cpu_gate,
    [RS_OP_ROPE] = rs_cpu_rope,
    [RS_OP_SCORES] = rs_cpu_scores,
    [RS_OP_MASK] = rs_cpu_mask,
    [RS_OP_SOFTMAX] = rs_cpu_softmax,
    [RS_OP_MIX] = rs_cpu_mix,
    [RS_OP_CROSS_ENTROPY] = rs_cpu_cross_entropy,
    [RS_OP_PAIR_REDUCE] = rs_cpu_pair_reduce,
    [RS_OP_LOGIT_SAMPLE] = rs_cpu_logit_sample,
    [RS_OP_PATTERN_REDUCE] = rs_cpu_pattern_reduce,
    [RS_OP_PROFILE_REDUCE] = rs_cpu_profile_reduce,
    [RS_OP_PHASE] = rs_cpu_phase,
    [RS_OP_SPECTRUM] = rs_cpu_spectrum,
    [RS_OP_CORRELATE] = rs_cpu_correlate,
    [RS_OP_SPAN_REDUCE] = rs_cpu_span_reduce,
    [RS_OP_ATTEND] = rs_cpu_attend,
    [RS_OP_ATTEND_REDUCE] = rs_cpu_attend_reduce,
};

rs_status rs_cpu_check_index(const char *op, const char *argument, const int32_t *list, int64_t n, int64_t least,
                             int64_t limit, rs_error *err) {
    for (int64_t i = 0; i < n; i++) {
        if (list[i] >= least && list[i] < limit) continue;
        return rs_fail(err, RS_E_INTERNAL, "op %s: argument '%s': entry %lld is %d, expected %lld to %lld", op,
                       argument, (long long)i, (int)list[i], (long long)least, (long long)limit - 1);
    }
    return RS_OK;
}

static rs_status cpu_run(rs_device *d, const rs_op *ops, size_t n, rs_error *err) {
    rs_status st = RS_OK;
    /* OpenBLAS takes its thread count from here; it is a setting of the calling thread, not of the device. */
    if (omp_get_max_threads() != d->threads) omp_set_num_threads(d->threads);
    for (size_t i = 0; i < n; i++) {
        RS_TRY(op_functions[ops[i].kind](d, &ops[i], err));
    }
out:
    return st;
}

static rs_status cpu_supports(rs_op_kind kind, rs_error *err) {
    return kind == RS_OP_SPECTRUM || kind == RS_OP_CORRELATE ? rs_cpu_fourier_supported(err) : RS_OK;
}

static rs_status cpu_sync(rs_device *d, rs_error *err) {
    (void)d;
    (void)err;
    return RS_OK;
}

const rs_backend rs_backend_cpu = {
    .name = "cpu",
    .probe = cpu_probe,
    .open = cpu_open,
    .close = cpu_close,
    .alloc = cpu_alloc,
    .release = cpu_release,
    .write = cpu_write,
    .read = cpu_read,
    .host_new = cpu_host_new,
    .host_release = cpu_host_release,
    .upload = cpu_write,
    .await_uploads = cpu_sync,
    .zero = cpu_zero,
    .run = cpu_run,
    .sync = cpu_sync,
    .supports = cpu_supports,
    .info = cpu_info,
    .host = cpu_host,
};
