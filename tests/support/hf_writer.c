/* safetensors: 8 bytes little-endian length of the header, the header (JSON: name -> dtype, shape, data_offsets), the
 * bytes of all tensors one behind the other. https://huggingface.co/docs/safetensors */
#include "tests/support/hf_writer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int64_t size_of(const hf_tensor *t) { return t->n_dims == 1 ? t->dims[0] : t->dims[0] * t->dims[1]; }

static bool write_file(const char *folder, const char *name, const void *head, size_t head_bytes,
                       const hf_tensor *tensors, size_t n) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    if (!f) {
        return false;
    }
    bool ok = fwrite(head, 1, head_bytes, f) == head_bytes;
    for (size_t i = 0; ok && i < n; i++) {
        size_t cells = (size_t)size_of(&tensors[i]);
        ok = fwrite(tensors[i].data, sizeof *tensors[i].data, cells, f) == cells;
    }
    return fclose(f) == 0 && ok;
}

/* The header of all tensors, padded with spaces so that data begins at a multiple of 8. *bytes includes the length in
 * front. */
static char *make_header(const hf_tensor *tensors, size_t n, size_t *bytes) {
    size_t room = 64 + n * 256, at = 8;
    char *h = calloc(room, 1);
    if (!h) {
        return NULL;
    }
    int64_t from = 0;
    for (size_t i = 0; i < n; i++) {
        const hf_tensor *t = &tensors[i];
        int64_t to = from + size_of(t) * (int64_t)sizeof(float);
        at += (size_t)snprintf(h + at, room - at, "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%lld", i ? "," : "{", t->name,
                               (long long)t->dims[0]);
        if (t->n_dims == 2) {
            at += (size_t)snprintf(h + at, room - at, ",%lld", (long long)t->dims[1]);
        }
        at += (size_t)snprintf(h + at, room - at, "],\"data_offsets\":[%lld,%lld]}", (long long)from, (long long)to);
        from = to;
    }
    h[at++] = '}';
    while (at % 8 != 0) {
        h[at++] = ' ';
    }
    uint64_t length = at - 8;
    for (int i = 0; i < 8; i++) {
        h[i] = (char)(unsigned char)(length >> (8 * i) & 0xff);
    }
    *bytes = at;
    return h;
}

bool hf_write(const char *folder, const char *config_json, const hf_tensor *tensors, size_t n) {
    size_t bytes = 0;
    if (mkdir(folder, 0777) != 0 && errno != EEXIST) {
        return false;
    }
    char *header = make_header(tensors, n, &bytes);
    bool ok = header && write_file(folder, "config.json", config_json, strlen(config_json), NULL, 0) &&
              write_file(folder, "model.safetensors", header, bytes, tensors, n);
    free(header);
    return ok;
}
