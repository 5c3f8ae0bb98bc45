/* tests/support/container_files.h: small checkpoints of every container, written byte by byte from the published
 * layouts, and a folder to put them in. Whatever goes wrong here ends the test program. */
#ifndef RS_TESTS_CONTAINER_FILES_H
#define RS_TESTS_CONTAINER_FILES_H

#include "analyzer/base/text.h"
#include "data/checkpoint.h"

/* ---- A folder of our own ---- */
void files_begin(void);
void files_end(void); /* removes all that was made below */
/* The same as set-up and tear-down of a cmocka group. */
int files_group_begin(void **state);
int files_group_end(void **state);
/* FOLDER/name; valid until files_end. */
const char *files_path(const char *name);
const char *files_folder(const char *name);
const char *files_write(const char *name, const void *bytes, size_t n);
const char *files_write_text(const char *name, const char *s);
const char *files_write_gzip(const char *name, const char *s); /* packed, in two members where s has two bytes */

/* ---- Bytes; all numbers little-endian. Free with rs_text_deinit. ---- */
void put_u8(rs_text *b, unsigned v);
void put_u32(rs_text *b, uint32_t v);
void put_u64(rs_text *b, uint64_t v);
void put_f32(rs_text *b, float v);
void put_pattern(rs_text *b, size_t n); /* byte i is (7 i + 3) mod 256 */
void put_padding(rs_text *b, size_t multiple);

/* Header length, header, n bytes of the pattern. */
void put_safetensors(rs_text *b, const char *header, size_t n);
/* GGUF pieces. */
void put_gguf_string(rs_text *b, const char *s);
void put_gguf_head(rs_text *b, uint32_t version, uint64_t tensors, uint64_t pairs);
void put_gguf_key(rs_text *b, const char *key, uint32_t type);
void put_gguf_tensor(rs_text *b, const char *name, uint32_t n_dims, const uint64_t *dims, uint32_t type,
                     uint64_t offset);
/* llama2.c v0: dim 8, hidden 6, layers 2, heads 4, kv heads 2, vocabulary 5, context 3. Float number i of the file is
 * i. */
void put_llama2c(rs_text *b, bool separate_classifier);

/* A whole small file of each container. */
extern const char small_safetensors_header[]; /* with 40 bytes of data */
void put_small_gguf(rs_text *b); /* all value types; F32, Q8_0, Q2_K and F16 tensors; ends with the last tensor */

/* ---- What must hold for every checkpoint that opened ---- */
void check_sound(rs_checkpoint *c);
/* Opening must fail with st and a message that holds file (a path or its last part) and fragment, and leave no memory
 * behind. */
void check_refused(const char *path, rs_status st, const char *file, const char *fragment);

#endif
