/* tests/support/shape_writer.c: see shape_writer.h. */
#include "tests/support/shape_writer.h"

#include "analyzer/base/rng.h"
#include "analyzer/base/text.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* From the config.json of meta-llama/Llama-3.1-8B, Llama-3.2-1B, Llama-3.1-70B and HuggingFaceTB/SmolLM2-135M. */
static const model_shape shapes[] = {
    {"8b", "Llama-3.1-8B", 4096, 32, 32, 8, 128, 14336, 128256, false},
    {"1b", "Llama-3.2-1B", 2048, 16, 32, 8, 64, 8192, 128256, true},
    {"70b", "Llama-3.1-70B", 8192, 80, 64, 8, 128, 28672, 128256, false},
    {"135m", "SmolLM2-135M", 576, 30, 9, 3, 64, 1536, 49152, true},
};

const model_shape *model_shape_find(const char *key) {
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        if (strcmp(shapes[i].key, key) == 0) return &shapes[i];
    }
    return NULL;
}

/* ---- the tensors, in the order of the file ---- */

/* name without ".weight"; cols 0: a vector of `rows`. False stops. */
typedef bool see_tensor(void *ctx, const char *name, int64_t rows, int64_t cols);

static bool see_layer(const model_shape *s, int layer, see_tensor *see, void *ctx) {
    const struct {
        const char *name;
        int64_t rows, cols;
    } tensors[] = {{"input_layernorm", s->width, 0},
                   {"self_attn.q_proj", s->heads * s->head_dim, s->width},
                   {"self_attn.k_proj", s->kv_heads * s->head_dim, s->width},
                   {"self_attn.v_proj", s->kv_heads * s->head_dim, s->width},
                   {"self_attn.o_proj", s->width, s->heads * s->head_dim},
                   {"post_attention_layernorm", s->width, 0},
                   {"mlp.gate_proj", s->hidden, s->width},
                   {"mlp.up_proj", s->hidden, s->width},
                   {"mlp.down_proj", s->width, s->hidden}};
    bool ok = true;
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors && ok; i++) {
        char name[96];
        snprintf(name, sizeof name, "model.layers.%d.%s", layer, tensors[i].name);
        ok = see(ctx, name, tensors[i].rows, tensors[i].cols);
    }
    return ok;
}

static bool see_all(const model_shape *s, int layers, see_tensor *see, void *ctx) {
    bool ok = see(ctx, "model.embed_tokens", s->vocab, s->width);
    for (int layer = 0; layer < layers && ok; layer++) ok = see_layer(s, layer, see, ctx);
    ok = ok && see(ctx, "model.norm", s->width, 0);
    return ok && (s->tied || see(ctx, "lm_head", s->vocab, s->width));
}

/* ---- the header ---- */

typedef struct header {
    rs_text text;
    int64_t at; /* bytes of the tensors so far */
} header;

static bool describe(void *ctx, const char *name, int64_t rows, int64_t cols) {
    header *h = ctx;
    int64_t end = h->at + 2 * rows * (cols > 0 ? cols : 1);
    rs_text_printf(&h->text, "%s\"%s.weight\":{\"dtype\":\"BF16\",\"shape\":[%lld", h->at > 0 ? "," : "{", name,
                   (long long)rows);
    if (cols > 0) rs_text_printf(&h->text, ",%lld", (long long)cols);
    rs_text_printf(&h->text, "],\"data_offsets\":[%lld,%lld]}", (long long)h->at, (long long)end);
    h->at = end;
    return true;
}

/* Eight bytes of length, and the header. */
static rs_status make_header(const model_shape *s, int layers, header *h, rs_error *err) {
    rs_text_append_n(&h->text, "\0\0\0\0\0\0\0\0", 8);
    see_all(s, layers, describe, h);
    rs_text_append(&h->text, "}");
    while (h->text.bytes % 8 != 0) rs_text_append(&h->text, " ");
    rs_status st = rs_text_status(&h->text, err);
    for (int i = 0; i < 8 && st == RS_OK; i++)
        h->text.data[i] = (char)(unsigned char)((h->text.bytes - 8) >> (8 * i) & 0xff);
    return st;
}

/* ---- random weights ---- */

typedef struct filler {
    FILE *file;
    rs_rng rng;
} filler;

static bool fill(void *ctx, const char *name, int64_t rows, int64_t cols) {
    enum { PART = 1 << 16 };
    static uint16_t part[PART];
    filler *f = ctx;
    double size = cols > 0 ? 0.6 * sqrt(3.0 / (double)cols) : 0; /* a uniform number in -1..1 varies by 1/3 */
    (void)name;
    for (int64_t left = rows * (cols > 0 ? cols : 1); left > 0; left -= PART) {
        size_t n = left < PART ? (size_t)left : PART;
        for (size_t i = 0; i < n; i++) {
            float x = cols > 0 ? (float)((2 * rs_rng_uniform(&f->rng) - 1) * size) : 1.0F;
            uint32_t bits;
            memcpy(&bits, &x, sizeof bits);
            part[i] = (uint16_t)(bits >> 16);
        }
        if (fwrite(part, sizeof *part, n, f->file) != n) return false;
    }
    return true;
}

/* ---- the files ---- */

/* What stands in the file, and behind it `hole` bytes of nothing or the weights of s (NULL: none). */
static rs_status write_file(const char *folder, const char *name, const rs_text *text, int64_t hole,
                            const model_shape *s, int layers, rs_error *err) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    filler f = {.file = fopen(path, "wb")};
    rs_rng_init(&f.rng, 1);
    bool ok = f.file && fwrite(text->data, 1, text->bytes, f.file) == text->bytes && fflush(f.file) == 0 &&
              (hole == 0 || ftruncate(fileno(f.file), (off_t)((int64_t)text->bytes + hole)) == 0) &&
              (!s || see_all(s, layers, fill, &f));
    if (f.file && fclose(f.file) != 0) ok = false;
    return ok ? RS_OK : rs_fail(err, RS_E_IO, "%s: %s", path, strerror(errno));
}

static rs_status write_config(const model_shape *s, int layers, const char *folder, rs_error *err) {
    rs_text t = {0};
    rs_text_printf(
        &t,
        "{\"model_type\":\"llama\",\"hidden_size\":%lld,\"num_hidden_layers\":%d,\"num_attention_heads\":%lld,"
        "\"num_key_value_heads\":%lld,\"head_dim\":%lld,\"intermediate_size\":%lld,\"vocab_size\":%lld,"
        "\"max_position_embeddings\":131072,\"rms_norm_eps\":1e-5,\"hidden_act\":\"silu\","
        "\"rope_theta\":500000.0,\"tie_word_embeddings\":%s}",
        (long long)s->width, layers, (long long)s->heads, (long long)s->kv_heads, (long long)s->head_dim,
        (long long)s->hidden, (long long)s->vocab, s->tied ? "true" : "false");
    rs_status st = rs_text_status(&t, err);
    if (st == RS_OK) st = write_file(folder, "config.json", &t, 0, NULL, 0, err);
    rs_text_deinit(&t);
    return st;
}

rs_status model_shape_write(const model_shape *s, int layers, bool random, const char *folder, rs_error *err) {
    rs_status st = RS_OK;
    header h = {.at = 0};
    RS_TRY(write_config(s, layers, folder, err));
    RS_TRY(make_header(s, layers, &h, err));
    RS_TRY(write_file(folder, "model.safetensors", &h.text, random ? 0 : h.at, random ? s : NULL, layers, err));
out:
    rs_text_deinit(&h.text);
    return st;
}

void model_shape_remove(const char *folder) {
    static const char *const names[] = {"config.json", "model.safetensors"};
    for (size_t i = 0; *folder && i < sizeof names / sizeof *names; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
}
