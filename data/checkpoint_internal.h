/* data/checkpoint_internal.h: what the container readers (hf_folder, safetensors, gguf, llama2c) put together.
 * Included by those files and checkpoint.c alone. */
#ifndef RS_DATA_CHECKPOINT_INTERNAL_H
#define RS_DATA_CHECKPOINT_INTERNAL_H

#include "analyzer/base/arena.h"
#include "analyzer/base/file.h"
#include "data/checkpoint.h"

/* A reader fills a zeroed one whose path and arena are set; rs_checkpoint_open destroys it when the reader fails. */
struct rs_checkpoint {
    rs_container container;
    char container_name[32];
    char *path;
    rs_arena *arena; /* names of tensors, keys */
    rs_json *metadata;
    rs_tensor *tensors; /* [tensor_count] */
    size_t tensor_count, tensor_room;
    rs_file **files; /* [file_count] */
    size_t file_count, file_room;
    size_t *slots; /* [slot_count] hash table: number of a tensor + 1, 0 = free; slot_count is a power of two */
    size_t slot_count;
};

/* Largest config.json or shard index that is read: the limit that safetensors sets for its own headers. */
enum { RS_CHECKPOINT_JSON_BYTES = 100000000 };

/* RS_E_FORMAT for a Git LFS pointer (the text that stands for a file that was not fetched). */
rs_status rs_checkpoint_refuse_pointer(rs_file *f, rs_error *err);
/* Opens a file and keeps it; refuses a Git LFS pointer by name. *number indexes files. */
rs_status rs_checkpoint_add_file(rs_checkpoint *c, const char *path, int *number, rs_error *err);
/* Closes all files and drops all tensors. */
void rs_checkpoint_forget(rs_checkpoint *c);
/* Copies *t; its strings must outlive the checkpoint (arena or static). */
rs_status rs_checkpoint_add_tensor(rs_checkpoint *c, const rs_tensor *t, rs_error *err);
/* Builds the hash table of names, after which rs_checkpoint_find works. Fails: RS_E_FORMAT for a name that stands
 * twice. */
rs_status rs_checkpoint_index(rs_checkpoint *c, rs_error *err);
/* Copies n bytes into the arena as a tensor's name or a key. Fails: RS_E_FORMAT for an empty or overlong name, bytes
 * that are not UTF-8, and control characters: names go to terminals and into reports. */
rs_status rs_checkpoint_name(rs_checkpoint *c, const char *file, const char *s, size_t n, const char **out,
                             rs_error *err);

/* A stretch of a file that belongs to one tensor. */
typedef struct rs_extent {
    uint64_t begin, end; /* bytes, end is behind the last */
    size_t tensor;       /* index into tensors */
} rs_extent;
/* Ascending by begin, then end, then tensor. */
void rs_extents_sort(rs_extent *extents, size_t n);

/* "24ka" read as a little-endian u32 and so on, whatever this machine's own order. */
uint32_t rs_little_u32(const unsigned char *p);
uint64_t rs_little_u64(const unsigned char *p);

#endif
