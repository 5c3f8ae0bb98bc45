/* data/checkpoint.h: a trained model on disk as a list of named tensors and one tree of metadata, whatever the
 * container. Containers: Hugging Face directory with safetensors (sharded or not), GGUF v2/v3 file, llama2.c v0 .bin.
 * Knows bytes, sizes and names; no layer, no RoPE (analyzer/model does). Untrusted input: every size, offset and count
 * is checked against the file before use. Nothing is mapped: tensors are read with pread into the caller's memory. */
#ifndef RS_DATA_CHECKPOINT_H
#define RS_DATA_CHECKPOINT_H

#include "analyzer/base/dtype.h"
#include "analyzer/base/json.h"
#include "analyzer/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum rs_container { RS_CONTAINER_HF, RS_CONTAINER_GGUF, RS_CONTAINER_LLAMA2C } rs_container;

typedef struct rs_tensor {
    const char *name;      /* as in the file; llama2.c tensors get Hugging Face llama names
                              ("model.layers.0.self_attn.q_proj.weight") */
    rs_dtype dtype;        /* RS_DTYPE_COUNT for a type that base/dtype.h does not hold */
    bool usable;           /* false: a type we know the name of but cannot widen (I64, F8_E4M3, Q2_K, ...) */
    const char *type_name; /* as in the file, for messages */
    int n_dims;
    int64_t dims[4]; /* row-major, output features first, as in Hugging Face: GGUF's reversed order is already turned */
    int file;        /* index into files */
    uint64_t offset; /* bytes from the start of that file */
    int64_t bytes;   /* 0 also for the few GGUF types whose block size is not certain; those are not usable */
} rs_tensor;

typedef struct rs_checkpoint rs_checkpoint;

/* Opens a directory, a .gguf (content decides, not the name) or a llama2.c .bin. A GGUF without tensors is fine here
 * (vocabulary only). Refuses by name: pickles, LFS pointers, PEFT adapters, quantised Hugging Face directories, split
 * GGUF whose parts are missing, big-endian GGUF, llama2.c v1/v2. Fails: RS_E_FORMAT, RS_E_UNSUPPORTED, RS_E_IO. */
rs_status rs_checkpoint_open(const char *path, rs_checkpoint **out, rs_error *err);
void rs_checkpoint_close(rs_checkpoint *c); /* NULL is fine */

rs_container rs_checkpoint_container(const rs_checkpoint *c);
const char *
rs_checkpoint_container_name(const rs_checkpoint *c); /* "Hugging Face safetensors", "GGUF v3", "llama2.c v0" */
const char *rs_checkpoint_path(const rs_checkpoint *c);
/* HF: config.json. GGUF: one flat object of the key-value pairs ("llama.rope.freq_base": 100000.0, arrays as arrays).
 * llama2.c:
 * {"dim":..,"hidden_dim":..,"n_layers":..,"n_heads":..,"n_kv_heads":..,"vocab_size":..,"seq_len":..,"shared_classifier":true}.
 * Borrowed. NULL only for an HF directory without config.json. */
const rs_json *rs_checkpoint_metadata(const rs_checkpoint *c);

size_t rs_checkpoint_tensor_count(const rs_checkpoint *c);
const rs_tensor *rs_checkpoint_tensor(const rs_checkpoint *c, size_t i);
const rs_tensor *rs_checkpoint_find(const rs_checkpoint *c, const char *name); /* NULL when absent; O(1) */
/* Reads bytes [first, first+n) of the tensor as stored. Thread-safe. */
rs_status rs_checkpoint_read(rs_checkpoint *c, const rs_tensor *t, int64_t first, void *dst, int64_t n, rs_error *err);

size_t rs_checkpoint_file_count(const rs_checkpoint *c);
const char *rs_checkpoint_file_path(const rs_checkpoint *c, size_t i);
uint64_t rs_checkpoint_file_size(const rs_checkpoint *c, size_t i);
/* SHA-256 of one of the files (weights and, for HF, config.json), 64 hex digits. */
rs_status rs_checkpoint_file_sha256(rs_checkpoint *c, size_t i, char hex[65], rs_error *err);

#endif
