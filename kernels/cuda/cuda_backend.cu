/* kernels/cuda/cuda_backend.cu: the table of the CUDA backend: device, memory, copies, which function runs which op,
 * and the one symbol that the program looks for in this module (kernels/cuda_plugin.h). Work is queued on one stream
 * and nothing waits for it but read, sync and a full ring of staging buffers. Pageable memory goes through pinned
 * staging buffers, so write may return at once; uploads of what comes next have a stream of their own. */
#include "kernels/cuda/cuda_device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern "C" {
#include "kernels/cuda_plugin.h"
}

rs_status rs_cuda_status(cudaError_t e, const char *what, rs_error *err) {
    if (e == cudaSuccess) return RS_OK;
    cudaGetLastError(); /* one that can be recovered from must not turn up again at the next call */
    if (e == cudaErrorMemoryAllocation) return rs_fail(err, RS_E_NOMEM, "device 'cuda': out of memory (%s)", what);
    return rs_fail(err, RS_E_DEVICE, "device 'cuda': %s: %s (%s)", what, cudaGetErrorString(e), cudaGetErrorName(e));
}

rs_status rs_cuda_blas_status(cublasStatus_t s, const char *what, rs_error *err) {
    if (s == CUBLAS_STATUS_SUCCESS) return RS_OK;
    if (s == CUBLAS_STATUS_ALLOC_FAILED) return rs_fail(err, RS_E_NOMEM, "device 'cuda': out of memory (%s)", what);
    return rs_fail(err, RS_E_DEVICE, "device 'cuda': %s: cuBLAS: %s", what, cublasGetStatusString(s));
}

namespace {

enum {
    BLAS_WORKSPACE = 32 << 20
}; /* what cuBLAS asks for on current cards; with our own, its results are repeatable */

/* ---- is there a card? ---- */

rs_status find_devices(int *count, rs_error *err) {
    int driver = 0, runtime = 0;
    *count = 0;
    cudaError_t e = cudaDriverGetVersion(&driver);
    if (e != cudaSuccess || driver == 0)
        return rs_fail(err, RS_E_UNAVAILABLE, "device 'cuda': no NVIDIA driver on this machine");
    cudaRuntimeGetVersion(&runtime);
    e = cudaGetDeviceCount(count);
    if (e == cudaErrorInsufficientDriver)
        return rs_fail(err, RS_E_UNAVAILABLE,
                       "device 'cuda': the driver supports CUDA %d.%d, this build needs %d.%d: update the driver",
                       driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
    if (e == cudaErrorNoDevice || (e == cudaSuccess && *count == 0))
        return rs_fail(err, RS_E_UNAVAILABLE, "device 'cuda': a driver is there, but no card that it can use");
    if (e != cudaSuccess)
        return rs_fail(err, RS_E_UNAVAILABLE, "device 'cuda': %s (%s)", cudaGetErrorString(e), cudaGetErrorName(e));
    return RS_OK;
}

rs_status cuda_probe(rs_error *err) {
    int count = 0;
    return find_devices(&count, err);
}

/* "" is card 0. */
rs_status parse_ordinal(const char *spec, int count, int *out, rs_error *err) {
    char *end = nullptr;
    long n = *spec ? strtol(spec, &end, 10) : 0;
    *out = 0;
    if (*spec && (end == spec || *end || n < 0))
        return rs_fail(err, RS_E_USAGE, "device 'cuda:%s': expected cuda or cuda:N with the number of a card", spec);
    if (n >= count)
        return rs_fail(err, RS_E_UNAVAILABLE, "device 'cuda:%s': this machine has %d card%s, numbered from 0", spec,
                       count, count == 1 ? "" : "s");
    *out = (int)n;
    return RS_OK;
}

/* ---- opening and closing ---- */

void cuda_close(rs_device *d) {
    if (!d) return;
    cudaSetDevice(d->ordinal);
    if (d->work) cudaStreamSynchronize(d->work);
    if (d->ahead) cudaStreamSynchronize(d->ahead);
    rs_cuda_plans_free(d);
    if (d->blas) cublasDestroy(d->blas);
    cudaFree(d->blas_workspace);
    for (int i = 0; i < RS_CUDA_SCRATCHES; i++) cudaFree(d->scratch[i].data);
    for (int i = 0; i < RS_CUDA_STAGES; i++) {
        if (d->stage[i].done) cudaEventDestroy(d->stage[i].done);
        cudaFreeHost(d->stage[i].host);
    }
    cudaFreeHost(d->landing);
    cudaFree(d->fault);
    cudaFreeHost(d->fault_host);
    if (d->uploaded) cudaEventDestroy(d->uploaded);
    if (d->work) cudaStreamDestroy(d->work);
    if (d->ahead) cudaStreamDestroy(d->ahead);
    rs_free(d);
}

rs_status name_device(rs_device *d, rs_error *err) {
    cudaDeviceProp p;
    int runtime = 0, blas = 0;
    rs_status st = RS_OK;
    RS_TRY(rs_cuda_status(cudaGetDeviceProperties(&p, d->ordinal), "reading the card's properties", err));
    cudaRuntimeGetVersion(&runtime);
    cublasGetVersion(d->blas, &blas);
    d->emulated = strcmp(p.name, RS_CUDA_EMULATED_NAME) == 0;
    if (d->emulated) snprintf(d->name, sizeof d->name, "emulated CUDA device (for tests: no card computed this)");
    else
        snprintf(d->name, sizeof d->name, "%.64s, compute %d.%d, CUDA %d.%d, cuBLAS %d.%d", p.name, p.major, p.minor,
                 runtime / 1000, runtime % 1000 / 10, blas / 10000, blas / 100 % 100);
out:
    return st;
}

rs_status open_streams(rs_device *d, rs_error *err) {
    rs_status st = RS_OK;
    RS_TRY(rs_cuda_status(cudaStreamCreateWithFlags(&d->work, cudaStreamNonBlocking), "opening a stream", err));
    RS_TRY(rs_cuda_status(cudaStreamCreateWithFlags(&d->ahead, cudaStreamNonBlocking), "opening a stream", err));
    RS_TRY(rs_cuda_status(cudaEventCreateWithFlags(&d->uploaded, cudaEventDisableTiming), "making an event", err));
    RS_TRY(rs_cuda_status(cudaMallocHost(reinterpret_cast<void **>(&d->landing), RS_CUDA_STAGE_BYTES),
                          "pinned memory for copies", err));
    for (int i = 0; i < RS_CUDA_STAGES; i++) {
        rs_cuda_stage *s = &d->stage[i];
        RS_TRY(rs_cuda_status(cudaMallocHost(reinterpret_cast<void **>(&s->host), RS_CUDA_STAGE_BYTES),
                              "pinned memory for copies", err));
        RS_TRY(rs_cuda_status(cudaEventCreateWithFlags(&s->done, cudaEventDisableTiming), "making an event", err));
    }
out:
    return st;
}

rs_status open_fault(rs_device *d, rs_error *err) {
    rs_status st = RS_OK;
    RS_TRY(rs_cuda_status(cudaMalloc(reinterpret_cast<void **>(&d->fault), sizeof *d->fault), "a word of memory", err));
    RS_TRY(rs_cuda_status(cudaMallocHost(reinterpret_cast<void **>(&d->fault_host), sizeof *d->fault_host),
                          "a word of pinned memory", err));
    RS_TRY(rs_cuda_status(cudaMemsetAsync(d->fault, 0xFF, sizeof *d->fault, d->work), "clearing a word", err));
out:
    return st;
}

rs_status open_blas(rs_device *d, rs_error *err) {
    rs_status st = RS_OK;
    RS_TRY(rs_cuda_status(cudaMalloc(&d->blas_workspace, BLAS_WORKSPACE), "work space of cuBLAS", err));
    RS_TRY(rs_cuda_blas_status(cublasCreate(&d->blas), "starting cuBLAS", err));
    RS_TRY(rs_cuda_blas_status(cublasSetStream(d->blas, d->work), "cuBLAS", err));
    RS_TRY(rs_cuda_blas_status(cublasSetWorkspace(d->blas, d->blas_workspace, BLAS_WORKSPACE), "cuBLAS", err));
out:
    return st;
}

rs_status cuda_open(const char *spec, int threads, rs_device **out, rs_error *err) {
    (void)threads; /* of the host; the card decides for itself */
    rs_status st = RS_OK;
    rs_device *d = nullptr;
    int count = 0;
    *out = nullptr;
    RS_TRY(find_devices(&count, err));
    RS_TRY(rs_new(reinterpret_cast<void **>(&d), 1, sizeof *d, err));
    RS_TRY(parse_ordinal(spec, count, &d->ordinal, err));
    RS_TRY(rs_cuda_status(cudaSetDevice(d->ordinal), "choosing the card", err));
    RS_TRY(open_streams(d, err));
    RS_TRY(open_fault(d, err));
    RS_TRY(open_blas(d, err));
    RS_TRY(name_device(d, err));
    *out = d;
    d = nullptr;
out:
    cuda_close(d);
    return st;
}

void cuda_info(rs_device *d, rs_device_info *out) {
    size_t available = 0, total = 0;
    *out = {};
    cudaSetDevice(d->ordinal);
    if (cudaMemGetInfo(&available, &total) != cudaSuccess) cudaGetLastError();
    out->memory_bytes = available;
    out->allocated = d->allocated;
    out->allocated_peak = d->peak;
    out->threads = 1;
    out->card = true;
    snprintf(out->name, sizeof out->name, "%s", d->name);
}

/* ---- memory ---- */

rs_status device_new(rs_device *d, void **out, size_t bytes, rs_error *err) {
    char what[64];
    snprintf(what, sizeof what, "%zu bytes", bytes);
    rs_status st = rs_cuda_status(cudaMalloc(out, bytes > 0 ? bytes : 1), what, err);
    if (st != RS_OK) return st;
    d->allocated += bytes;
    d->peak = d->allocated > d->peak ? d->allocated : d->peak;
    return RS_OK;
}

rs_status cuda_alloc(rs_device *d, size_t bytes, rs_mem **out, rs_error *err) {
    rs_status st = RS_OK;
    rs_mem *m = nullptr;
    *out = nullptr;
    RS_TRY(rs_new(reinterpret_cast<void **>(&m), 1, sizeof *m, err));
    RS_TRY(rs_cuda_status(cudaSetDevice(d->ordinal), "choosing the card", err));
    RS_TRY(device_new(d, reinterpret_cast<void **>(&m->data), bytes, err));
    m->bytes = bytes;
    *out = m;
    m = nullptr;
out:
    rs_free(m);
    return st;
}

void cuda_release(rs_device *d, rs_mem *m) {
    if (!m) return;
    d->allocated -= m->bytes;
    cudaFree(m->data);
    rs_free(m);
}

/* ---- what kernels have to report ---- */

rs_status report_fault(unsigned long long word, rs_error *err) {
    rs_op_kind kind = (rs_op_kind)(word >> (RS_CUDA_FAULT_ENTRY_BITS + 8));
    int argument = (int)(word >> RS_CUDA_FAULT_ENTRY_BITS & 255);
    unsigned long long entry = word & ((1ULL << RS_CUDA_FAULT_ENTRY_BITS) - 1);
    return rs_fail(err, RS_E_INTERNAL, "op %s: argument '%s': entry %llu is out of range", rs_op_name(kind),
                   rs_op_argument_name(kind, argument), entry);
}

/* Waits for all work; then whatever a kernel reported is an error, once. */
rs_status finish_work(rs_device *d, rs_error *err) {
    rs_status st = RS_OK;
    RS_TRY(rs_cuda_status(cudaMemcpyAsync(d->fault_host, d->fault, sizeof *d->fault, cudaMemcpyDeviceToHost, d->work),
                          "reading a word", err));
    RS_TRY(rs_cuda_status(cudaStreamSynchronize(d->work), "running the queued work", err));
    if (*d->fault_host != ~0ULL) {
        RS_TRY(rs_cuda_status(cudaMemsetAsync(d->fault, 0xFF, sizeof *d->fault, d->work), "clearing a word", err));
        return report_fault(*d->fault_host, err);
    }
out:
    return st;
}

rs_status cuda_sync(rs_device *d, rs_error *err) {
    rs_status st = RS_OK;
    RS_TRY(rs_cuda_status(cudaSetDevice(d->ordinal), "choosing the card", err));
    RS_TRY(rs_cuda_status(cudaStreamSynchronize(d->ahead), "uploading", err));
    RS_TRY(finish_work(d, err));
out:
    return st;
}

/* ---- copies ---- */

size_t at_most(size_t bytes, size_t most) { return bytes < most ? bytes : most; }

/* A stage with room: the one that is being filled, or the next one, once its old copies are done. */
rs_status stage_with_room(rs_device *d, rs_cuda_stage **out, rs_error *err) {
    rs_status st = RS_OK;
    rs_cuda_stage *s = &d->stage[d->filling];
    if (s->filled >= RS_CUDA_STAGE_BYTES) {
        RS_TRY(rs_cuda_status(cudaEventRecord(s->done, d->work), "copying to the card", err));
        s->copying = true;
        d->filling = (d->filling + 1) % RS_CUDA_STAGES;
        s = &d->stage[d->filling];
        if (s->copying) RS_TRY(rs_cuda_status(cudaEventSynchronize(s->done), "copying to the card", err));
        s->copying = false;
        s->filled = 0;
    }
    *out = s;
out:
    return st;
}

rs_status cuda_write(rs_device *d, rs_mem *m, size_t offset, const void *src, size_t bytes, rs_error *err) {
    rs_status st = RS_OK;
    const char *from = static_cast<const char *>(src);
    RS_TRY(rs_mem_check(m, offset, bytes, "write", err));
    RS_TRY(rs_cuda_status(cudaSetDevice(d->ordinal), "choosing the card", err));
    for (size_t at = 0, n = 0; at < bytes; at += n) {
        rs_cuda_stage *s = nullptr;
        RS_TRY(stage_with_room(d, &s, err));
        n = at_most(bytes - at, RS_CUDA_STAGE_BYTES - s->filled);
        memcpy(s->host + s->filled, from + at, n);
        RS_TRY(rs_cuda_status(
            cudaMemcpyAsync(m->data + offset + at, s->host + s->filled, n, cudaMemcpyHostToDevice, d->work),
            "copying to the card", err));
        s->filled += (n + 255) / 256 * 256; /* copies like whole lines */
    }
out:
    return st;
}

rs_status cuda_read(rs_device *d, rs_mem *m, size_t offset, void *dst, size_t bytes, rs_error *err) {
    rs_status st = RS_OK;
    char *to = static_cast<char *>(dst);
    RS_TRY(rs_mem_check(m, offset, bytes, "read", err));
    RS_TRY(rs_cuda_status(cudaSetDevice(d->ordinal), "choosing the card", err));
    for (size_t at = 0; at < bytes; at += RS_CUDA_STAGE_BYTES) {
        size_t n = at_most(bytes - at, RS_CUDA_STAGE_BYTES);
        RS_TRY(rs_cuda_status(cudaMemcpyAsync(d->landing, m->data + offset + at, n, cudaMemcpyDeviceToHost, d->work),
                              "copying from the card", err));
        RS_TRY(finish_work(d, err));
        memcpy(to + at, d->landing, n);
    }
out:
    return st;
}

rs_status cuda_host_new(rs_device *d, size_t bytes, void **out, rs_error *err) {
    rs_status st = RS_OK;
    *out = nullptr;
    RS_TRY(rs_cuda_status(cudaSetDevice(d->ordinal), "choosing the card", err));
    RS_TRY(rs_cuda_status(cudaMallocHost(out, bytes > 0 ? bytes : 1), "pinned memory for weights", err));
out:
    return st;
}

void cuda_host_release(rs_device *d, void *memory) {
    (void)d;
    cudaFreeHost(memory);
}

rs_status cuda_upload(rs_device *d, rs_mem *m, size_t offset, const void *src, size_t bytes, rs_error *err) {
    rs_status st = rs_mem_check(m, offset, bytes, "upload", err);
    if (st != RS_OK || bytes == 0) return st;
    cudaSetDevice(d->ordinal); /* an error of it is the next call's too */
    return rs_cuda_status(cudaMemcpyAsync(m->data + offset, src, bytes, cudaMemcpyHostToDevice, d->ahead), "uploading",
                          err);
}

rs_status cuda_await_uploads(rs_device *d, rs_error *err) {
    rs_status st = RS_OK;
    RS_TRY(rs_cuda_status(cudaSetDevice(d->ordinal), "choosing the card", err));
    RS_TRY(rs_cuda_status(cudaEventRecord(d->uploaded, d->ahead), "uploading", err));
    RS_TRY(rs_cuda_status(cudaStreamWaitEvent(d->work, d->uploaded, 0), "uploading", err));
out:
    return st;
}

rs_status cuda_zero(rs_device *d, rs_mem *m, size_t offset, size_t bytes, rs_error *err) {
    rs_status st = rs_mem_check(m, offset, bytes, "zeroing", err);
    if (st != RS_OK || bytes == 0) return st;
    cudaSetDevice(d->ordinal); /* an error of it is the next call's too */
    return rs_cuda_status(cudaMemsetAsync(m->data + offset, 0, bytes, d->work), "zeroing", err);
}

void *cuda_host(rs_device *d, rs_mem *m) {
    (void)d;
    (void)m;
    return nullptr;
}

/* ---- ops ---- */

/* No default: an op of op.h that has no function here does not compile. */
rs_status run_op(rs_device *d, const rs_op *op, rs_error *err) {
    switch (op->kind) {
    case RS_OP_WIDEN: return rs_cuda_widen(d, op, err);
    case RS_OP_NORM: return rs_cuda_norm(d, op, err);
    case RS_OP_MATMUL: return rs_cuda_matmul(d, op, err);
    case RS_OP_ADD: return rs_cuda_add(d, op, err);
    case RS_OP_GATE: return rs_cuda_gate(d, op, err);
    case RS_OP_ROPE: return rs_cuda_rope(d, op, err);
    case RS_OP_SCORES: return rs_cuda_scores(d, op, err);
    case RS_OP_MASK: return rs_cuda_mask(d, op, err);
    case RS_OP_SOFTMAX: return rs_cuda_softmax(d, op, err);
    case RS_OP_MIX: return rs_cuda_mix(d, op, err);
    case RS_OP_CROSS_ENTROPY: return rs_cuda_cross_entropy(d, op, err);
    case RS_OP_PAIR_REDUCE: return rs_cuda_pair_reduce(d, op, err);
    case RS_OP_LOGIT_SAMPLE: return rs_cuda_logit_sample(d, op, err);
    case RS_OP_PATTERN_REDUCE: return rs_cuda_pattern_reduce(d, op, err);
    case RS_OP_PROFILE_REDUCE: return rs_cuda_profile_reduce(d, op, err);
    case RS_OP_PHASE: return rs_cuda_phase(d, op, err);
    case RS_OP_SPECTRUM: return rs_cuda_spectrum(d, op, err);
    case RS_OP_CORRELATE: return rs_cuda_correlate(d, op, err);
    case RS_OP_SPAN_REDUCE: return rs_cuda_span_reduce(d, op, err);
    case RS_OP_ATTEND: return rs_cuda_attend(d, op, err);
    case RS_OP_ATTEND_REDUCE: return rs_cuda_attend_reduce(d, op, err);
    case RS_OP_COUNT: break;
    }
    return rs_fail(err, RS_E_INTERNAL, "op %d does not exist", (int)op->kind);
}

rs_status cuda_run(rs_device *d, const rs_op *ops, size_t n, rs_error *err) {
    rs_status st = RS_OK;
    RS_TRY(rs_cuda_status(cudaSetDevice(d->ordinal), "choosing the card", err));
    for (size_t i = 0; i < n; i++) RS_TRY(run_op(d, &ops[i], err));
out:
    return st;
}

rs_status cuda_supports(rs_op_kind kind, rs_error *err) {
    return kind == RS_OP_SPECTRUM || kind == RS_OP_CORRELATE ? rs_cuda_fourier_supported(err) : RS_OK;
}

rs_backend make_table() {
    rs_backend b = {};
    b.name = "cuda";
    b.probe = cuda_probe;
    b.open = cuda_open;
    b.close = cuda_close;
    b.alloc = cuda_alloc;
    b.release = cuda_release;
    b.write = cuda_write;
    b.read = cuda_read;
    b.host_new = cuda_host_new;
    b.host_release = cuda_host_release;
    b.upload = cuda_upload;
    b.await_uploads = cuda_await_uploads;
    b.zero = cuda_zero;
    b.run = cuda_run;
    b.sync = cuda_sync;
    b.supports = cuda_supports;
    b.info = cuda_info;
    b.host = cuda_host;
    return b;
}

const rs_backend table = make_table();

} // namespace

rs_status rs_cuda_scratch_get(rs_device *d, rs_cuda_scratch slot, size_t bytes, void **out, rs_error *err) {
    rs_status st = RS_OK;
    if (bytes > d->scratch[slot].bytes) {
        /* Work that is queued may still use the old block; cudaFree waits for it. */
        cudaFree(d->scratch[slot].data);
        d->allocated -= d->scratch[slot].bytes;
        d->scratch[slot].data = nullptr;
        d->scratch[slot].bytes = 0;
        RS_TRY(device_new(d, &d->scratch[slot].data, bytes, err));
        d->scratch[slot].bytes = bytes;
    }
    *out = d->scratch[slot].data;
out:
    return st;
}

extern "C" RS_CUDA_EXPORT const rs_backend *rs_cuda_plugin(int version) {
    return version == RS_CUDA_PLUGIN_VERSION ? &table : nullptr;
}
