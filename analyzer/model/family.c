/* The table. Facts: transformers 5 (configuration_*.py, modeling_*.py) and llama.cpp (models/, llama-arch.cpp). */
#include "analyzer/model/family.h"

#include <string.h>

static const rs_family families[] = {
    {
        .name = "llama",
        .model_types = {"llama"},
        .classes = {"LlamaForCausalLM", "LlamaModel"},
        .archs = {"llama"},
        .hf = &rs_naming_llama,
        .gguf = &rs_naming_gguf,
        .hf_layout = RS_HALF_SPLIT,
        .gguf_layout = RS_INTERLEAVED,
        .theta = 1e4,
        .theta_key = "rope_theta",
        .partial_key = "partial_rotary_factor",
        .partial = 1,
        .dims = {.context = 2048},
        .norm = RS_GRAPH_NORM_RMS,
        .eps_key = "rms_norm_eps",
        .eps = 1e-6,
        .act_key = "hidden_act",
        .act = RS_GRAPH_SILU,
        .gated = true,
        .attention_bias_key = true,
        .mlp_bias_key = true,
    },
    {
        .name = "phi3",
        .model_types = {"phi3"},
        .classes = {"Phi3ForCausalLM", "Phi3Model"},
        .archs = {"phi3"},
        .hf = &rs_naming_phi3,
        .gguf = &rs_naming_gguf_fused,
        .hf_layout = RS_HALF_SPLIT,
        .gguf_layout = RS_HALF_SPLIT,
        .theta = 1e4,
        .theta_key = "rope_theta",
        .partial_key = "partial_rotary_factor",
        .partial = 1,
        .partial_prefix = true,
        .yarn_is_longrope = true,
        .original_context = 4096,
        .window = RS_WINDOW_ALL,
        .dims = {.context = 4096},
        .norm = RS_GRAPH_NORM_RMS,
        .eps_key = "rms_norm_eps",
        .eps = 1e-5,
        .act_key = "hidden_act",
        .act = RS_GRAPH_SILU,
        .gated = true,
    },
    {
        .name = "smollm3",
        .model_types = {"smollm3"},
        .classes = {"SmolLM3ForCausalLM", "SmolLM3Model"},
        .archs = {"smollm3"},
        .hf = &rs_naming_llama,
        .gguf = &rs_naming_gguf,
        .hf_layout = RS_HALF_SPLIT,
        .gguf_layout = RS_INTERLEAVED,
        .theta = 2e6,
        .theta_key = "rope_theta",
        .partial_key = "partial_rotary_factor",
        .partial = 1,
        .window = RS_WINDOW_TYPES,
        .nope_interval = 4,
        .dims = {.kv_heads = 4, .context = 32768},
        .norm = RS_GRAPH_NORM_RMS,
        .eps_key = "rms_norm_eps",
        .eps = 1e-6,
        .act_key = "hidden_act",
        .act = RS_GRAPH_SILU,
        .gated = true,
        .attention_bias_key = true,
        .mlp_bias_key = true,
        .tied = true,
    },
    {
        .name = "gemma3",
        .model_types = {"gemma3_text"},
        .classes = {"Gemma3ForCausalLM", "Gemma3TextModel"},
        .archs = {"gemma3"},
        .wrapper = "gemma3",
        .hf = &rs_naming_gemma3,
        .gguf = &rs_naming_gguf,
        .other_tensors = {"vision_tower.", "multi_modal_projector.", "model.vision_tower.",
                          "model.multi_modal_projector."},
        .hf_layout = RS_HALF_SPLIT,
        .gguf_layout = RS_HALF_SPLIT,
        .theta = 1e6,
        .local_theta = 1e4,
        .theta_key = "rope_theta",
        .local_theta_key = "rope_local_base_freq",
        .partial_key = "partial_rotary_factor",
        .partial = 1,
        .nested = true,
        .window = RS_WINDOW_PATTERN,
        .window_pattern = 6,
        .window_width = 4096,
        .dims = {.width = 2304,
                 .layers = 26,
                 .heads = 8,
                 .kv_heads = 4,
                 .head_dim = 256,
                 .hidden = 9216,
                 .vocab = 262208,
                 .context = 131072},
        .norm = RS_GRAPH_NORM_RMS,
        .eps_key = "rms_norm_eps",
        .eps = 1e-6,
        .hf_norm_add = 1,
        .act_key = "hidden_activation",
        .act = RS_GRAPH_GELU_TANH,
        .gated = true,
        .post_norms = true,
        .qk_norm = true,
        .attention_bias_key = true,
        .tied = true,
        .embed_sqrt = true,
        .score_width = 256,
        .gguf_wide_layers = 62,
        .final_cap =
            true, /* attn_logit_softcapping may be stated; transformers and llama.cpp leave it out all the same */
    },
    {
        .name = "gpt_neox",
        .model_types = {"gpt_neox"},
        .classes = {"GPTNeoXForCausalLM", "GPTNeoXModel"},
        .archs = {"gptneox"},
        .hf = &rs_naming_gpt_neox,
        .gguf = &rs_naming_gguf,
        .hf_layout = RS_HALF_SPLIT,
        .gguf_layout = RS_HALF_SPLIT,
        .theta = 1e4,
        .theta_key = "rotary_emb_base",
        .partial_key = "rotary_pct",
        .partial = 0.25,
        .partial_prefix = true,
        .dims = {.context = 2048},
        .norm = RS_GRAPH_NORM_LAYER,
        .eps_key = "layer_norm_eps",
        .eps = 1e-5,
        .act_key = "hidden_act",
        .act = RS_GRAPH_GELU_ERF,
        .parallel = true,
        .parallel_key = true,
        .norm_bias = true,
        .attention_bias = true,
        .attention_bias_key = true,
        .mlp_bias = true,
    },
};

enum { FAMILIES = sizeof families / sizeof *families };

const char *rs_families(void) { return "llama, phi3, smollm3, gemma3, gpt_neox, llama2.c"; }

static bool listed(const char *const *names, const char *name) {
    for (int i = 0; i < RS_FAMILY_NAMES && names[i]; i++)
        if (strcmp(names[i], name) == 0) return true;
    return false;
}

const rs_family *rs_family_by_model_type(const char *model_type) {
    for (int i = 0; i < FAMILIES; i++) {
        const rs_family *f = &families[i];
        if (listed(f->model_types, model_type) || (f->wrapper && strcmp(f->wrapper, model_type) == 0)) return f;
    }
    return NULL;
}

const rs_family *rs_family_by_class(const char *class_name) {
    for (int i = 0; i < FAMILIES; i++)
        if (listed(families[i].classes, class_name)) return &families[i];
    return NULL;
}

const rs_family *rs_family_by_arch(const char *arch) {
    for (int i = 0; i < FAMILIES; i++)
        if (listed(families[i].archs, arch)) return &families[i];
    return NULL;
}

const rs_family *rs_family_by_name(const char *name) {
    for (int i = 0; i < FAMILIES; i++)
        if (strcmp(families[i].name, name) == 0) return &families[i];
    return strcmp(name, "llama2.c") == 0 ? rs_family_by_name("llama") : NULL;
}
