/* tests/support/hf_writer.h: writes a Hugging Face model directory (config.json, model.safetensors in float32) from
 * arrays in memory. */
#ifndef RS_TESTS_HF_WRITER_H
#define RS_TESTS_HF_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct hf_tensor {
    char name[96];   /* "model.layers.0.self_attn.q_proj.weight" */
    int n_dims;      /* 1 or 2 */
    int64_t dims[2]; /* output features first */
    float *data;     /* [dims[0], dims[1]] */
} hf_tensor;

/* Makes the folder where it does not exist and writes both files over what is there. false (with errno) when something
 * cannot be written. */
bool hf_write(const char *folder, const char *config_json, const hf_tensor *tensors, size_t n);

#endif
