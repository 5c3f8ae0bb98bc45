/* data/checkpoint.c: see checkpoint.h. What all containers share: files, tensors, the index of names, and finding out
 * which container a path is. */
#include "data/checkpoint_internal.h"

#include "analyzer/base/alloc.h"
#include "analyzer/base/text.h"
#include "data/gguf.h"
#include "data/hf_folder.h"
#include "data/llama2c.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* GGUF allows names and keys of 2^16 - 1 bytes. */
enum { NAME_BYTES = 65535, HEAD_BYTES = 64, FIRST_ROOM = 16 };

static const char lfs_pointer[] = "version https://git-lfs";

uint32_t rs_little_u32(const unsigned char *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

uint64_t rs_little_u64(const unsigned char *p) {
    return (uint64_t)rs_little_u32(p) | (uint64_t)rs_little_u32(p + 4) << 32;
}

/* ---- Filling ---- */

rs_status rs_checkpoint_refuse_pointer(rs_file *f, rs_error *err) {
    char head[sizeof lfs_pointer - 1];
    if (rs_file_size(f) < sizeof head) return RS_OK;
    rs_status st = rs_file_read(f, 0, head, sizeof head, err);
    if (st != RS_OK || memcmp(head, lfs_pointer, sizeof head) != 0) return st;
    return rs_fail(err, RS_E_FORMAT,
                   "%s: is a Git LFS pointer, not the file it stands for; `git lfs pull` fetches that one",
                   rs_file_path(f));
}

rs_status rs_checkpoint_add_file(rs_checkpoint *c, const char *path, int *number, rs_error *err) {
    rs_file *f = NULL;
    if (c->file_count == c->file_room) {
        void *block = c->files;
        size_t room = c->file_room ? 2 * c->file_room : FIRST_ROOM;
        rs_status st = rs_resize(&block, c->file_room, room, sizeof(rs_file *), err);
        if (st != RS_OK) return st;
        c->files = block;
        c->file_room = room;
    }
    rs_status st = rs_file_open(path, &f, err);
    if (st == RS_OK) st = rs_checkpoint_refuse_pointer(f, err);
    if (st != RS_OK) {
        rs_file_close(f);
        return st;
    }
    *number = (int)c->file_count;
    c->files[c->file_count++] = f;
    return RS_OK;
}

rs_status rs_checkpoint_add_tensor(rs_checkpoint *c, const rs_tensor *t, rs_error *err) {
    if (c->tensor_count == c->tensor_room) {
        void *block = c->tensors;
        size_t room = c->tensor_room ? 2 * c->tensor_room : FIRST_ROOM;
        rs_status st = rs_resize(&block, c->tensor_room, room, sizeof *c->tensors, err);
        if (st != RS_OK) return st;
        c->tensors = block;
        c->tensor_room = room;
    }
    c->tensors[c->tensor_count++] = *t;
    return RS_OK;
}

void rs_checkpoint_forget(rs_checkpoint *c) {
    for (size_t i = 0; i < c->file_count; i++) rs_file_close(c->files[i]);
    c->file_count = c->tensor_count = 0;
}

static bool has_control(const char *s, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f) return true;
    }
    return false;
}

rs_status rs_checkpoint_name(rs_checkpoint *c, const char *file, const char *s, size_t n, const char **out,
                             rs_error *err) {
    void *copy = NULL;
    size_t bad = 0;
    *out = NULL;
    if (n == 0 || n > NAME_BYTES)
        return rs_fail(err, RS_E_FORMAT, "%s: a name has %zu bytes; 1 to %d are expected", file, n, NAME_BYTES);
    if (!rs_utf8_valid(s, n, &bad))
        return rs_fail(err, RS_E_FORMAT, "%s: a name of %zu bytes is not UTF-8 at its byte %zu", file, n, bad);
    if (has_control(s, n))
        return rs_fail(err, RS_E_FORMAT, "%s: a name of %zu bytes holds a control character", file, n);
    rs_status st = rs_arena_new(c->arena, &copy, n + 1, 1, err);
    if (st != RS_OK) return st;
    memcpy(copy, s, n);
    *out = copy;
    return RS_OK;
}

static int compare_extents(const void *a, const void *b) {
    const rs_extent *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    if (x->end != y->end) return x->end < y->end ? -1 : 1;
    return x->tensor < y->tensor ? -1 : x->tensor > y->tensor;
}

void rs_extents_sort(rs_extent *extents, size_t n) {
    if (n > 1) qsort(extents, n, sizeof *extents, compare_extents);
}

/* ---- Names ---- */

/* FNV-1a, 64 bits (Fowler, Noll, Vo); the high half is folded in because the table looks at the low bits alone. */
static size_t hash_name(const char *s) {
    uint64_t h = 0xcbf29ce484222325U;
    for (; *s; s++) h = (h ^ (unsigned char)*s) * 0x100000001b3U;
    return (size_t)(h ^ h >> 32);
}

/* The slot that holds the name, or the free one where it belongs. The table is never full. */
static size_t slot_of(const rs_checkpoint *c, const char *name) {
    size_t at = hash_name(name) & (c->slot_count - 1);
    while (c->slots[at] != 0 && strcmp(c->tensors[c->slots[at] - 1].name, name) != 0)
        at = (at + 1) & (c->slot_count - 1);
    return at;
}

static rs_status fail_twice(const rs_checkpoint *c, const rs_tensor *a, const rs_tensor *b, rs_error *err) {
    const char *first = rs_file_path(c->files[a->file]), *second = rs_file_path(c->files[b->file]);
    if (a->file == b->file) return rs_fail(err, RS_E_FORMAT, "%s: tensor '%s' stands there twice", first, a->name);
    return rs_fail(err, RS_E_FORMAT, "%s: tensor '%s' stands in %s too", first, a->name, second);
}

rs_status rs_checkpoint_index(rs_checkpoint *c, rs_error *err) {
    size_t room = FIRST_ROOM;
    while (room / 2 < c->tensor_count) room *= 2; /* at most half full */
    rs_status st = RS_NEW(&c->slots, room, err);
    if (st != RS_OK) return st;
    c->slot_count = room;
    for (size_t i = 0; i < c->tensor_count; i++) {
        size_t at = slot_of(c, c->tensors[i].name);
        if (c->slots[at] != 0) return fail_twice(c, &c->tensors[c->slots[at] - 1], &c->tensors[i], err);
        c->slots[at] = i + 1;
    }
    return RS_OK;
}

/* ---- Which container ---- */

/* Files that people try and that we know by their first bytes. */
static const struct near_miss {
    const char *head;
    size_t at, bytes;
    const char *what;
} near_misses[] = {
    {"{", 8, 1, "is a single safetensors file; give the folder that holds it and config.json"},
    {"PK\003\004", 0, 4,
     "is a zip archive, such as PyTorch's pickled checkpoints, which are not read; convert it to safetensors"},
    {"\200\002", 0, 2, "is a Python pickle, which is not read; convert it to safetensors"},
    {"lmgg", 0, 4, "is a ggml file from before GGUF; convert it to GGUF"},
    {"fmgg", 0, 4, "is a ggml (ggmf) file from before GGUF; convert it to GGUF"},
    {"tjgg", 0, 4, "is a ggml (ggjt) file from before GGUF; convert it to GGUF"},
};

static rs_status refuse_near_miss(const char *path, const unsigned char *head, size_t n, rs_error *err) {
    for (size_t i = 0; i < sizeof near_misses / sizeof near_misses[0]; i++) {
        const struct near_miss *m = &near_misses[i];
        if (n >= m->at + m->bytes && memcmp(head + m->at, m->head, m->bytes) == 0)
            return rs_fail(err, RS_E_UNSUPPORTED, "%s: %s", path, m->what);
    }
    return RS_OK;
}

/* llama2.c v0 has no magic, so it comes last but for what we can name: its size decides. */
static rs_status read_file(rs_checkpoint *c, rs_error *err) {
    unsigned char head[HEAD_BYTES] = {0};
    int number = 0;
    rs_status st = rs_checkpoint_add_file(c, c->path, &number, err);
    if (st != RS_OK) return st;
    uint64_t size = rs_file_size(c->files[number]);
    size_t n = size < HEAD_BYTES ? (size_t)size : HEAD_BYTES;
    st = rs_file_read(c->files[number], 0, head, n, err);
    if (st != RS_OK) return st;
    if (rs_gguf_is(head, n)) return rs_gguf_read(c, number, err);
    if (rs_llama2c_fits(head, n, size)) return rs_llama2c_read(c, number, err);
    st = refuse_near_miss(c->path, head, n, err);
    return st == RS_OK ? rs_llama2c_read(c, number, err) : st; /* which says what is wrong with it */
}

rs_status rs_checkpoint_open(const char *path, rs_checkpoint **out, rs_error *err) {
    rs_status st = RS_OK;
    rs_checkpoint *c = NULL;
    *out = NULL;
    RS_TRY(RS_NEW(&c, 1, err));
    RS_TRY(rs_strdup(&c->path, path, err));
    RS_TRY(rs_arena_create(&c->arena, err));
    RS_TRY(rs_path_is_folder(path) ? rs_hf_folder_read(c, err) : read_file(c, err));
    *out = c;
    c = NULL;
out:
    rs_checkpoint_close(c);
    return st;
}

void rs_checkpoint_close(rs_checkpoint *c) {
    if (!c) return;
    rs_checkpoint_forget(c);
    rs_json_free(c->metadata);
    rs_arena_destroy(c->arena);
    rs_free(c->files);
    rs_free(c->tensors);
    rs_free(c->slots);
    rs_free(c->path);
    rs_free(c);
}

/* ---- Asking ---- */

rs_container rs_checkpoint_container(const rs_checkpoint *c) { return c->container; }

const char *rs_checkpoint_container_name(const rs_checkpoint *c) { return c->container_name; }

const char *rs_checkpoint_path(const rs_checkpoint *c) { return c->path; }

const rs_json *rs_checkpoint_metadata(const rs_checkpoint *c) { return c->metadata; }

size_t rs_checkpoint_tensor_count(const rs_checkpoint *c) { return c->tensor_count; }

const rs_tensor *rs_checkpoint_tensor(const rs_checkpoint *c, size_t i) {
    return i < c->tensor_count ? &c->tensors[i] : NULL;
}

const rs_tensor *rs_checkpoint_find(const rs_checkpoint *c, const char *name) {
    size_t slot = c->slots[slot_of(c, name)];
    return slot != 0 ? &c->tensors[slot - 1] : NULL;
}

rs_status rs_checkpoint_read(rs_checkpoint *c, const rs_tensor *t, int64_t first, void *dst, int64_t n, rs_error *err) {
    if (first < 0 || n < 0 || first > t->bytes || n > t->bytes - first)
        return rs_fail(err, RS_E_INTERNAL,
                       "%s: tensor '%s': %" PRId64 " bytes from byte %" PRId64 " asked for; it has %" PRId64,
                       rs_file_path(c->files[t->file]), t->name, n, first, t->bytes);
    rs_status st = rs_file_read(c->files[t->file], t->offset + (uint64_t)first, dst, (size_t)n, err);
    if (st != RS_OK) rs_error_prefix(err, "tensor '%s'", t->name);
    return st;
}

size_t rs_checkpoint_file_count(const rs_checkpoint *c) { return c->file_count; }

const char *rs_checkpoint_file_path(const rs_checkpoint *c, size_t i) {
    return i < c->file_count ? rs_file_path(c->files[i]) : NULL;
}

uint64_t rs_checkpoint_file_size(const rs_checkpoint *c, size_t i) {
    return i < c->file_count ? rs_file_size(c->files[i]) : 0;
}

rs_status rs_checkpoint_file_sha256(rs_checkpoint *c, size_t i, char hex[65], rs_error *err) {
    hex[0] = '\0';
    if (i >= c->file_count)
        return rs_fail(err, RS_E_INTERNAL, "%s: file %zu asked for; there are %zu", c->path, i, c->file_count);
    return rs_file_sha256(c->files[i], hex, err);
}
