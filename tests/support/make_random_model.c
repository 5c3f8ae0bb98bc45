/* make_random_model FOLDER [LAYERS]: writes a model of the 8B shape (Llama 3.1's: 4096 wide, 32 heads on 8 key heads of
 * 128, 14336 hidden, 128256 tokens) with random bfloat16 weights and as many layers as asked for (default 4, 3.9 GB):
 * to measure how fast a card is. What it computes means nothing; that it is no row of zeros matters for the clock. */
#include "analyzer/base/rng.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 4096, KEYS = 1024, HIDDEN = 14336, VOCAB = 128256, PER_LAYER = 9, PART = 1 << 16 };

typedef struct tensor {
    char name[96];
    int64_t rows, cols; /* rows 0: a vector */
    bool ones;          /* a norm's weight */
} tensor;

static tensor layer_tensor(int layer, int i) {
    static const struct {
        const char *name;
        int64_t rows, cols;
        bool ones;
    } table[PER_LAYER] = {
        {"input_layernorm", 0, WIDTH, true},       {"self_attn.q_proj", WIDTH, WIDTH, false},
        {"self_attn.k_proj", KEYS, WIDTH, false},  {"self_attn.v_proj", KEYS, WIDTH, false},
        {"self_attn.o_proj", WIDTH, WIDTH, false}, {"post_attention_layernorm", 0, WIDTH, true},
        {"mlp.gate_proj", HIDDEN, WIDTH, false},   {"mlp.up_proj", HIDDEN, WIDTH, false},
        {"mlp.down_proj", WIDTH, HIDDEN, false},
    };
    tensor t = {.rows = table[i].rows, .cols = table[i].cols, .ones = table[i].ones};
    snprintf(t.name, sizeof t.name, "model.layers.%d.%s.weight", layer, table[i].name);
    return t;
}

static tensor tensor_of(int i, int layers) {
    if (i == 0) return (tensor){"model.embed_tokens.weight", VOCAB, WIDTH, false};
    if (i == 1) return (tensor){"lm_head.weight", VOCAB, WIDTH, false};
    if (i == 2) return (tensor){"model.norm.weight", 0, WIDTH, true};
    (void)layers;
    return layer_tensor((i - 3) / PER_LAYER, (i - 3) % PER_LAYER);
}

static int64_t elements(const tensor *t) { return (t->rows ? t->rows : 1) * t->cols; }

static bool write_header(FILE *f, int layers) {
    size_t room = (size_t)(3 + PER_LAYER * layers) * 256, at = 0;
    char *text = calloc(room, 1);
    int64_t offset = 0;
    if (!text) return false;
    for (int i = 0; i < 3 + PER_LAYER * layers; i++) {
        tensor t = tensor_of(i, layers);
        char shape[64];
        if (t.rows) snprintf(shape, sizeof shape, "%" PRId64 ",%" PRId64, t.rows, t.cols);
        else snprintf(shape, sizeof shape, "%" PRId64, t.cols);
        at +=
            (size_t)snprintf(text + at, room - at,
                             "%c\"%s\":{\"dtype\":\"BF16\",\"shape\":[%s],\"data_offsets\":[%" PRId64 ",%" PRId64 "]}",
                             i ? ',' : '{', t.name, shape, offset, offset + 2 * elements(&t));
        offset += 2 * elements(&t);
    }
    text[at++] = '}';
    while (at % 8) text[at++] = ' ';
    uint64_t length = at;
    bool ok = fwrite(&length, sizeof length, 1, f) == 1 && fwrite(text, 1, at, f) == at;
    free(text);
    return ok;
}

/* Uniform, with the standard deviation of 0.6 / sqrt(inputs); 1 for norms. */
static bool write_values(FILE *f, const tensor *t, rs_rng *rng) {
    static uint16_t part[PART];
    float size = t->rows ? 1.04F / (float)(t->cols == HIDDEN ? 120 : 64) : 1;
    for (int64_t left = elements(t); left > 0; left -= PART) {
        size_t n = left < PART ? (size_t)left : PART;
        for (size_t i = 0; i < n; i++) {
            float x = t->ones ? 1.0F : ((float)rs_rng_uniform(rng) * 2 - 1) * size;
            uint32_t bits;
            memcpy(&bits, &x, sizeof bits);
            part[i] = (uint16_t)(bits >> 16);
        }
        if (fwrite(part, sizeof *part, n, f) != n) return false;
    }
    return true;
}

static bool write_config(const char *folder, int layers) {
    char path[4096];
    snprintf(path, sizeof path, "%s/config.json", folder);
    FILE *f = fopen(path, "w");
    if (!f) return false;
    fprintf(f,
            "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\",\"hidden_size\":%d,\"num_hidden_"
            "layers\":%d,"
            "\"num_attention_heads\":32,\"num_key_value_heads\":8,\"intermediate_size\":%d,\"vocab_size\":%d,"
            "\"hidden_act\":\"silu\",\"rms_norm_eps\":1e-05,\"rope_theta\":500000.0,\"max_position_embeddings\":131072,"
            "\"tie_word_embeddings\":false,\"torch_dtype\":\"bfloat16\"}\n",
            WIDTH, layers, HIDDEN, VOCAB);
    return fclose(f) == 0;
}

int main(int argc, char **argv) {
    int layers = argc > 2 ? atoi(argv[2]) : 4;
    char path[4096];
    rs_rng rng;
    if (argc < 2 || argc > 3 || layers < 1 || layers > 32) {
        fprintf(stderr, "usage: make_random_model FOLDER [LAYERS]\n");
        return 2;
    }
    snprintf(path, sizeof path, "%s/model.safetensors", argv[1]);
    FILE *f = write_config(argv[1], layers) ? fopen(path, "wb") : NULL;
    bool ok = f && write_header(f, layers);
    rs_rng_init(&rng, 1);
    for (int i = 0; i < 3 + PER_LAYER * layers && ok; i++) {
        tensor t = tensor_of(i, layers);
        ok = write_values(f, &t, &rng);
    }
    if (!f || fclose(f) != 0 || !ok) {
        perror(path);
        return 1;
    }
    return 0;
}
