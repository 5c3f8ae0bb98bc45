/* tests/support/gguf_writer.h: writes small GGUF v3 files: pairs first, then float32 tensors. Nothing is checked here;
 * a test that wants a broken file may say anything. */
#ifndef RS_TESTS_GGUF_WRITER_H
#define RS_TESTS_GGUF_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct gguf_writer gguf_writer;

gguf_writer *gguf_begin(void); /* NULL without memory */
void gguf_u32(gguf_writer *w, const char *key, uint32_t value);
void gguf_f32(gguf_writer *w, const char *key, float value);
void gguf_bool(gguf_writer *w, const char *key, bool value);
void gguf_string(gguf_writer *w, const char *key, const char *value);
void gguf_u32s(gguf_writer *w, const char *key, const uint32_t *values, size_t n);
void gguf_bools(gguf_writer *w, const char *key, const bool *values, size_t n);
/* dims as in Hugging Face, output features first; data [product of dims] or NULL for zeros. */
void gguf_tensor(gguf_writer *w, const char *name, int n_dims, const int64_t *dims, const float *data);
/* Writes the file and frees w. false when something failed on the way. */
bool gguf_finish(gguf_writer *w, const char *path);

#endif
