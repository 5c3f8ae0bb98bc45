#include "tests/support/planted.h"

#include "analyzer/base/rng.h"
#include "tests/support/hf_writer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Coordinates of an embedding. Every token has the constant, exactly one of the flags, and a code of length 1: length
 * sqrt(3). */
enum { AT_CONSTANT, AT_BOS, AT_CLASS, AT_OTHER, AT_CODE };
enum { CODE = PLANTED_WIDTH - AT_CODE, D = PLANTED_WIDTH, DH = PLANTED_HEAD_DIM, HIDDEN = PLANTED_HIDDEN };
static const double BASE = 10000.0;

static const char CONFIG[] = "{\n"
                             "  \"architectures\": [\"LlamaForCausalLM\"],\n"
                             "  \"model_type\": \"llama\",\n"
                             "  \"hidden_size\": 64,\n"
                             "  \"intermediate_size\": 48,\n"
                             "  \"num_hidden_layers\": 2,\n"
                             "  \"num_attention_heads\": 4,\n"
                             "  \"num_key_value_heads\": 4,\n"
                             "  \"head_dim\": 32,\n"
                             "  \"vocab_size\": 64,\n"
                             "  \"max_position_embeddings\": 128,\n"
                             "  \"rms_norm_eps\": 1e-06,\n"
                             "  \"rope_theta\": 10000.0,\n"
                             "  \"hidden_act\": \"silu\",\n"
                             "  \"attention_bias\": false,\n"
                             "  \"mlp_bias\": false,\n"
                             "  \"tie_word_embeddings\": true,\n"
                             "  \"bos_token_id\": 0,\n"
                             "  \"torch_dtype\": \"float32\"\n"
                             "}\n";

bool planted_in_class(int32_t token) { return token % 4 == 1; }

void planted_ids(uint64_t seed, int64_t n, int32_t *ids) {
    rs_rng r;
    rs_rng_init(&r, seed);
    for (int64_t i = 0; i < n * PLANTED_CONTEXT; i++) {
        ids[i] = i % PLANTED_CONTEXT == 0 ? PLANTED_BOS : (int32_t)(1 + rs_rng_below(&r, PLANTED_VOCAB - 1));
    }
}

typedef struct model {
    hf_tensor tensors[2 + PLANTED_LAYERS * 9];
    size_t n;
    rs_rng rng;
} model;

static float *add(model *m, const char *name, int64_t rows, int64_t cols) {
    hf_tensor *t = &m->tensors[m->n++];
    snprintf(t->name, sizeof t->name, "%s", name);
    t->n_dims = cols > 0 ? 2 : 1;
    t->dims[0] = rows;
    t->dims[1] = cols;
    t->data = calloc((size_t)(rows * (cols > 0 ? cols : 1)), sizeof *t->data);
    if (!t->data) {
        abort();
    }
    return t->data;
}

static float *add_layer(model *m, int layer, const char *what, int64_t rows, int64_t cols) {
    char name[sizeof m->tensors[0].name];
    snprintf(name, sizeof name, "model.layers.%d.%s.weight", layer, what);
    return add(m, name, rows, cols);
}

static void add_ones(float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        x[i] = 1.0f;
    }
}

static void add_normal(model *m, float *x, int64_t n, double sigma) {
    for (int64_t i = 0; i < n; i++) {
        x[i] = (float)(sigma * rs_rng_normal(&m->rng));
    }
}

static void embed(model *m) {
    float *e = add(m, "model.embed_tokens.weight", PLANTED_VOCAB, D);
    for (int32_t v = 0; v < PLANTED_VOCAB; v++) {
        e[v * D + AT_CONSTANT] = 1.0f;
        e[v * D + (v == PLANTED_BOS ? AT_BOS : planted_in_class(v) ? AT_CLASS : AT_OTHER)] = 1.0f;
        for (int i = 0; i < CODE; i++) {
            e[v * D + AT_CODE + i] = (float)((rs_rng_below(&m->rng, 2) ? 1.0 : -1.0) / sqrt((double)CODE));
        }
    }
}

/* What RMSNorm makes of a coordinate that is 1 in the embedding: 1 / sqrt(3 / D). */
static double unit(void) { return sqrt((double)D / 3.0); }

/* Pair f of a head's projection gets amount * e^{i angle} for every token that has the coordinate (half-split:
 * components f and f + Dh/2). */
static void plant(float *w, int head, int f, int coordinate, double amount, double angle) {
    w[(head * DH + f) * D + coordinate] = (float)(amount * cos(angle) / unit());
    w[(head * DH + f + DH / 2) * D + coordinate] = (float)(amount * sin(angle) / unit());
}

static double theta(int f) { return pow(BASE, -2.0 * f / DH); }

/* Logit of distance D: sum_f A^2 cos(theta_f (D - 1)) / sqrt(Dh), largest at D = 1. A^2 = 83: the neighbours are 10
 * below. */
static void plant_previous(float *q, float *k) {
    for (int f = 0; f < PLANTED_FAST; f++) {
        plant(q, PLANTED_PREVIOUS, f, AT_CONSTANT, sqrt(83.0), 0.0);
        plant(k, PLANTED_PREVIOUS, f, AT_CONSTANT, sqrt(83.0), theta(f));
    }
}

/* Logit +-25 / sqrt(Dh): tokens of the class stand 8.8 above all others, at any distance (theta T = 0.02). */
static void plant_content(float *q, float *k) {
    plant(q, PLANTED_CONTENT, PLANTED_SLOW_PAIR, AT_CONSTANT, 5.0, 0.0);
    plant(k, PLANTED_CONTENT, PLANTED_SLOW_PAIR, AT_CLASS, 5.0, 0.0);
    plant(k, PLANTED_CONTENT, PLANTED_SLOW_PAIR, AT_OTHER, -5.0, 0.0);
    plant(k, PLANTED_CONTENT, PLANTED_SLOW_PAIR, AT_BOS, -5.0, 0.0);
}

/* Position 0 stands 68 / sqrt(Dh) = 12 above all others. */
static void plant_sink(float *q, float *k) {
    plant(q, PLANTED_SINK, PLANTED_SINK_PAIR, AT_CONSTANT, sqrt(68.0), 0.0);
    plant(k, PLANTED_SINK, PLANTED_SINK_PAIR, AT_BOS, sqrt(68.0), 0.0);
}

/* Entries of 0.15 make components of about 1.2 and logits of about 1.4. */
static const double RANDOM = 0.15;

static void plant_half(model *m, float *w) {
    for (int f = 0; f < PLANTED_USED_PAIRS; f++) {
        add_normal(m, w + (PLANTED_HALF * DH + f) * D, D, RANDOM);
        add_normal(m, w + (PLANTED_HALF * DH + f + DH / 2) * D, D, RANDOM);
    }
}

static void add_block(model *m, int layer, bool planted) {
    int64_t heads = (int64_t)PLANTED_HEADS * DH;
    add_ones(add_layer(m, layer, "input_layernorm", D, 0), D);
    float *q = add_layer(m, layer, "self_attn.q_proj", heads, D),
          *k = add_layer(m, layer, "self_attn.k_proj", heads, D);
    if (planted) {
        plant_previous(q, k);
        plant_content(q, k);
        plant_sink(q, k);
        plant_half(m, q);
        plant_half(m, k);
    } else {
        add_normal(m, q, heads * D, RANDOM);
        add_normal(m, k, heads * D, RANDOM);
    }
    add_normal(m, add_layer(m, layer, "self_attn.v_proj", heads, D), heads * D, RANDOM);
    add_normal(m, add_layer(m, layer, "self_attn.o_proj", D, heads), heads * D, 0.01);
    add_ones(add_layer(m, layer, "post_attention_layernorm", D, 0), D);
    add_normal(m, add_layer(m, layer, "mlp.gate_proj", HIDDEN, D), HIDDEN * D, RANDOM);
    add_normal(m, add_layer(m, layer, "mlp.up_proj", HIDDEN, D), HIDDEN * D, RANDOM);
    add_normal(m, add_layer(m, layer, "mlp.down_proj", D, HIDDEN), HIDDEN * D, 0.01);
}

bool planted_write(const char *variant, const char *folder) {
    model m = {.n = 0};
    bool planted = strcmp(variant, "planted") == 0;
    if (!planted && strcmp(variant, "control") != 0) {
        return false;
    }
    rs_rng_init(&m.rng, 20250316);
    embed(&m);
    for (int layer = 0; layer < PLANTED_LAYERS; layer++) {
        add_block(&m, layer, planted && layer == 0);
    }
    add_ones(add(&m, "model.norm.weight", D, 0), D);
    bool ok = hf_write(folder, CONFIG, m.tensors, m.n);
    for (size_t i = 0; i < m.n; i++) {
        free(m.tensors[i].data);
    }
    return ok;
}
