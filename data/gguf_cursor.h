/* data/gguf_cursor.h: reading a GGUF header front to back through one buffer, and its key-value pairs as a JSON tree.
 * Called by gguf.c. */
#ifndef RS_DATA_GGUF_CURSOR_H
#define RS_DATA_GGUF_CURSOR_H

#include "data/checkpoint_internal.h"

/* Zero-initialise, set c, file and size; free with rs_gguf_cursor_deinit. */
typedef struct rs_gguf_cursor {
    rs_checkpoint *c;      /* whose arena keeps the names */
    rs_file *file;         /* borrowed */
    const char *path;      /* of file, for messages */
    uint64_t size;         /* of file */
    uint64_t at;           /* the next byte to take */
    unsigned char *buffer; /* [room], holding the file's bytes at - begin ... */
    size_t room, begin, end;
    const char *item; /* the key or tensor being read, for messages */
    uint64_t values;  /* array elements so far */
} rs_gguf_cursor;

void rs_gguf_cursor_deinit(rs_gguf_cursor *r);
/* The next n bytes, valid until the next take. Fails: RS_E_FORMAT when the file ends before. */
rs_status rs_gguf_take(rs_gguf_cursor *r, uint64_t n, const unsigned char **out, rs_error *err);
rs_status rs_gguf_take_u32(rs_gguf_cursor *r, uint32_t *out, rs_error *err);
rs_status rs_gguf_take_u64(rs_gguf_cursor *r, uint64_t *out, rs_error *err);
/* A string's bytes, valid until the next take. */
rs_status rs_gguf_take_string(rs_gguf_cursor *r, const char **s, size_t *n, rs_error *err);
/* A string as a name in the arena of the checkpoint; also becomes r->item. */
rs_status rs_gguf_take_name(rs_gguf_cursor *r, const char **out, rs_error *err);
/* `count` things of at least `least` bytes each must fit into the rest of the file: asked before memory is. */
rs_status rs_gguf_check_count(const rs_gguf_cursor *r, uint64_t count, uint64_t least, const char *what, rs_error *err);
/* `count` pairs into one flat object. An unsigned number beyond 63 bits becomes a real. The caller frees *out.
 * Fails: RS_E_FORMAT (unknown types, a key twice, a boolean that is neither 0 nor 1), RS_E_UNSUPPORTED for arrays of
 * arrays and more than 2^24 array elements in all. */
rs_status rs_gguf_take_pairs(rs_gguf_cursor *r, uint64_t count, rs_json **out, rs_error *err);

#endif
