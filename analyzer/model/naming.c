/* The tables of naming.h. Hugging Face names are what transformers 5 writes; GGUF names are llama.cpp's
 * (llama-arch.cpp). */
#include "analyzer/model/naming.h"

#include "analyzer/base/text.h"

#include <stdio.h>
#include <string.h>

#define LAYER "@layers.#."
#define TEXT_PREFIXES                                                                                                  \
    { "model.", "language_model.model.", "model.language_model.", "" }

/* What llama, phi3 and smollm3 share; a macro, since C has no way to derive one table from another. */
#define LLAMA_OUTSIDE                                                                                                  \
    [RS_W_EMBED] = {{"@embed_tokens.weight", 0}},                                                                      \
    [RS_W_UNEMBED] = {{"lm_head.weight", 0}, {"language_model.lm_head.weight", 0}},                                    \
    [RS_W_FINAL_NORM] = {{"@norm.weight", 0}}, [RS_W_ATTN_NORM] = {{LAYER "input_layernorm.weight", 0}},               \
    [RS_W_O] = {{LAYER "self_attn.o_proj.weight", 0}}, [RS_W_O_BIAS] = {{LAYER "self_attn.o_proj.bias", 0}},           \
    [RS_W_DOWN] = {{LAYER "mlp.down_proj.weight", 0}}, [RS_W_DOWN_BIAS] = {{LAYER "mlp.down_proj.bias", 0}}

#define LLAMA_SPLIT                                                                                                    \
    [RS_W_Q] = {{LAYER "self_attn.q_proj.weight", 0}}, [RS_W_K] = {{LAYER "self_attn.k_proj.weight", 0}},              \
    [RS_W_V] = {{LAYER "self_attn.v_proj.weight", 0}}, [RS_W_Q_BIAS] = {{LAYER "self_attn.q_proj.bias", 0}},           \
    [RS_W_K_BIAS] = {{LAYER "self_attn.k_proj.bias", 0}}, [RS_W_V_BIAS] = {{LAYER "self_attn.v_proj.bias", 0}},        \
    [RS_W_GATE] = {{LAYER "mlp.gate_proj.weight", 0}}, [RS_W_UP] = {{LAYER "mlp.up_proj.weight", 0}},                  \
    [RS_W_GATE_BIAS] = {{LAYER "mlp.gate_proj.bias", 0}}, [RS_W_UP_BIAS] = {{LAYER "mlp.up_proj.bias", 0}}

const rs_naming rs_naming_llama = {
    .prefixes = TEXT_PREFIXES,
    .role = {LLAMA_OUTSIDE, LLAMA_SPLIT, [RS_W_MLP_NORM] = {{LAYER "post_attention_layernorm.weight", 0}}},
};

const rs_naming rs_naming_phi3 = {
    .prefixes = TEXT_PREFIXES,
    .role = {LLAMA_OUTSIDE, [RS_W_MLP_NORM] = {{LAYER "post_attention_layernorm.weight", 0}},
             [RS_W_Q] = {{LAYER "self_attn.qkv_proj.weight", RS_SLICE_QKV_Q}},
             [RS_W_K] = {{LAYER "self_attn.qkv_proj.weight", RS_SLICE_QKV_K}},
             [RS_W_V] = {{LAYER "self_attn.qkv_proj.weight", RS_SLICE_QKV_V}},
             [RS_W_GATE] = {{LAYER "mlp.gate_up_proj.weight", RS_SLICE_GATE}},
             [RS_W_UP] = {{LAYER "mlp.gate_up_proj.weight", RS_SLICE_UP}}},
};

const rs_naming rs_naming_gemma3 = {
    .prefixes = TEXT_PREFIXES,
    .role = {LLAMA_OUTSIDE, LLAMA_SPLIT, [RS_W_Q_NORM] = {{LAYER "self_attn.q_norm.weight", 0}},
             [RS_W_K_NORM] = {{LAYER "self_attn.k_norm.weight", 0}},
             [RS_W_ATTN_POST_NORM] = {{LAYER "post_attention_layernorm.weight", 0}},
             [RS_W_MLP_NORM] = {{LAYER "pre_feedforward_layernorm.weight", 0}},
             [RS_W_MLP_POST_NORM] = {{LAYER "post_feedforward_layernorm.weight", 0}}},
};

const rs_naming rs_naming_gpt_neox = {
    .prefixes = {"gpt_neox.", ""},
    .role = {[RS_W_EMBED] = {{"@embed_in.weight", 0}},
             [RS_W_UNEMBED] = {{"embed_out.weight", 0}, {"lm_head.weight", 0}},
             [RS_W_FINAL_NORM] = {{"@final_layer_norm.weight", 0}},
             [RS_W_FINAL_NORM_BIAS] = {{"@final_layer_norm.bias", 0}},
             [RS_W_ATTN_NORM] = {{LAYER "input_layernorm.weight", 0}},
             [RS_W_ATTN_NORM_BIAS] = {{LAYER "input_layernorm.bias", 0}},
             [RS_W_Q] = {{LAYER "attention.query_key_value.weight", RS_SLICE_HEAD_Q}},
             [RS_W_K] = {{LAYER "attention.query_key_value.weight", RS_SLICE_HEAD_K}},
             [RS_W_V] = {{LAYER "attention.query_key_value.weight", RS_SLICE_HEAD_V}},
             [RS_W_Q_BIAS] = {{LAYER "attention.query_key_value.bias", RS_SLICE_HEAD_Q}},
             [RS_W_K_BIAS] = {{LAYER "attention.query_key_value.bias", RS_SLICE_HEAD_K}},
             [RS_W_V_BIAS] = {{LAYER "attention.query_key_value.bias", RS_SLICE_HEAD_V}},
             [RS_W_O] = {{LAYER "attention.dense.weight", 0}},
             [RS_W_O_BIAS] = {{LAYER "attention.dense.bias", 0}},
             [RS_W_MLP_NORM] = {{LAYER "post_attention_layernorm.weight", 0}},
             [RS_W_MLP_NORM_BIAS] = {{LAYER "post_attention_layernorm.bias", 0}},
             [RS_W_UP] = {{LAYER "mlp.dense_h_to_4h.weight", 0}},
             [RS_W_UP_BIAS] = {{LAYER "mlp.dense_h_to_4h.bias", 0}},
             [RS_W_DOWN] = {{LAYER "mlp.dense_4h_to_h.weight", 0}},
             [RS_W_DOWN_BIAS] = {{LAYER "mlp.dense_4h_to_h.bias", 0}}},
};

/* llama.cpp takes q, k, v split or fused in nearly every architecture. */
#define GGUF_COMMON                                                                                                    \
    [RS_W_EMBED] = {{"token_embd.weight", 0}}, [RS_W_UNEMBED] = {{"output.weight", 0}},                                \
    [RS_W_FINAL_NORM] = {{"output_norm.weight", 0}}, [RS_W_FINAL_NORM_BIAS] = {{"output_norm.bias", 0}},               \
    [RS_W_ATTN_NORM] = {{"blk.#.attn_norm.weight", 0}}, [RS_W_ATTN_NORM_BIAS] = {{"blk.#.attn_norm.bias", 0}},         \
    [RS_W_Q] = {{"blk.#.attn_q.weight", 0}, {"blk.#.attn_qkv.weight", RS_SLICE_QKV_Q}},                                \
    [RS_W_K] = {{"blk.#.attn_k.weight", 0}, {"blk.#.attn_qkv.weight", RS_SLICE_QKV_K}},                                \
    [RS_W_V] = {{"blk.#.attn_v.weight", 0}, {"blk.#.attn_qkv.weight", RS_SLICE_QKV_V}},                                \
    [RS_W_Q_BIAS] = {{"blk.#.attn_q.bias", 0}, {"blk.#.attn_qkv.bias", RS_SLICE_QKV_Q}},                               \
    [RS_W_K_BIAS] = {{"blk.#.attn_k.bias", 0}, {"blk.#.attn_qkv.bias", RS_SLICE_QKV_K}},                               \
    [RS_W_V_BIAS] = {{"blk.#.attn_v.bias", 0}, {"blk.#.attn_qkv.bias", RS_SLICE_QKV_V}},                               \
    [RS_W_Q_NORM] = {{"blk.#.attn_q_norm.weight", 0}}, [RS_W_K_NORM] = {{"blk.#.attn_k_norm.weight", 0}},              \
    [RS_W_O] = {{"blk.#.attn_output.weight", 0}}, [RS_W_O_BIAS] = {{"blk.#.attn_output.bias", 0}},                     \
    [RS_W_ATTN_POST_NORM] = {{"blk.#.post_attention_norm.weight", 0}},                                                 \
    [RS_W_MLP_NORM] = {{"blk.#.ffn_norm.weight", 0}}, [RS_W_MLP_NORM_BIAS] = {{"blk.#.ffn_norm.bias", 0}},             \
    [RS_W_DOWN] = {{"blk.#.ffn_down.weight", 0}}, [RS_W_DOWN_BIAS] = {{"blk.#.ffn_down.bias", 0}},                     \
    [RS_W_MLP_POST_NORM] = {{"blk.#.post_ffw_norm.weight", 0}}

const rs_naming rs_naming_gguf = {
    .prefixes = {""},
    .role = {GGUF_COMMON, [RS_W_GATE] = {{"blk.#.ffn_gate.weight", 0}}, [RS_W_GATE_BIAS] = {{"blk.#.ffn_gate.bias", 0}},
             [RS_W_UP] = {{"blk.#.ffn_up.weight", 0}}, [RS_W_UP_BIAS] = {{"blk.#.ffn_up.bias", 0}}},
};

const rs_naming rs_naming_gguf_fused = {
    .prefixes = {""},
    .role = {GGUF_COMMON, [RS_W_GATE] = {{"blk.#.ffn_up.weight", RS_SLICE_GATE}},
             [RS_W_UP] = {{"blk.#.ffn_up.weight", RS_SLICE_UP}}},
};

bool rs_naming_harmless(const char *tensor) {
    static const char *const patterns[] = {
        "*rotary_emb.inv_freq",    "*.attn.bias",        "*.attn.masked_bias",       "*.attention.bias",
        "*.attention.masked_bias", "*rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight",
        "blk.*.attn_rot_embd",
    };
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
        if (rs_glob_match(patterns[i], tensor)) return true;
    return false;
}

bool rs_naming_expand(const char *pattern, const char *prefix, int layer, char *out, size_t bytes) {
    char number[16];
    size_t n = 0;
    snprintf(number, sizeof number, "%d", layer);
    for (const char *p = pattern; *p; p++) {
        const char letter[2] = {*p, '\0'}, *piece = *p == '#' ? number : *p == '@' ? prefix : letter;
        size_t m = strlen(piece);
        if (n + m >= bytes) return false;
        memcpy(out + n, piece, m);
        n += m;
    }
    out[n] = '\0';
    return true;
}
