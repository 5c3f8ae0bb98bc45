/* Configurations -> graphs: every family in the spellings of transformers 4 and 5, GGUF keys, llama2.c headers; and
 * refusals by name. What is expected are the class defaults and rules of transformers 5 (configuration_*.py) and
 * llama.cpp (llama-model.cpp). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "analyzer/base/alloc.h"
#include "tests/support/container_files.h"
#include "tests/support/model_case.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *key, *value;
} common[] = {
    {"model_type", "\"llama\""},        {"hidden_size", "32"},        {"intermediate_size", "44"},
    {"num_hidden_layers", "4"},         {"num_attention_heads", "4"}, {"num_key_value_heads", "2"},
    {"max_position_embeddings", "256"}, {"vocab_size", "61"},
};

/* A configuration of the common fields, except those that `own` states itself. */
static const char *config(const char *own) {
    static char text[8192];
    char quoted[64];
    size_t n = (size_t)snprintf(text, sizeof text, "{%s", own);
    for (size_t i = 0; i < sizeof common / sizeof *common; i++) {
        snprintf(quoted, sizeof quoted, "\"%s\":", common[i].key);
        if (strstr(own, quoted)) continue;
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%s%s", n > 1 ? "," : "", quoted, common[i].value);
    }
    snprintf(text + n, sizeof text - n, "}");
    return text;
}

static int setup(void **state) {
    static model_case m;
    model_case_begin(&m);
    *state = &m;
    return 0;
}

static int teardown(void **state) {
    model_case_end(*state);
    return 0;
}

static const rs_graph *hf(model_case *m, const char *own) {
    if (model_case_hf(m, config(own), NULL, 0, NULL) != RS_OK) fail_msg("%s\n%s", own, m->error.message);
    return m->graph;
}

static const rs_graph *gguf(model_case *m, gguf_writer *w) {
    if (model_case_gguf(m, w, NULL) != RS_OK) fail_msg("%s", m->error.message);
    return m->graph;
}

static void warned(const rs_graph *g, const char *word) {
    for (int i = 0; i < g->n_warnings; i++)
        if (strstr(g->warnings[i], word)) return;
    fail_msg("no warning holds '%s'; the first of %d: %s", word, g->n_warnings, g->n_warnings ? g->warnings[0] : "-");
}

static void near(double got, double expected) {
    if (!(fabs(got - expected) <= 1e-7 * fabs(expected))) fail_msg("found %.12g, expected %.12g", got, expected);
}

/* ---- Hugging Face
 * ---------------------------------------------------------------------------------------------------------- */

/* What a file that states dimensions alone becomes: the class defaults. */
static void test_family_defaults(void **state) {
    static const struct {
        const char *own, *family;
        rs_graph_norm norm;
        rs_graph_act act;
        double eps, base;
        bool gated, parallel, post_norms, qk_norm, norm_bias, qkv_bias, mlp_bias, tied;
        float norm_add, embed_scale;
        int kv_heads, head_dim, rotated;
    } rows[] = {
        {"\"model_type\":\"llama\"", "llama", RS_GRAPH_NORM_RMS, RS_GRAPH_SILU, 1e-6, 1e4, true, false, false, false,
         false, false, false, false, 0, 1, 2, 8, 4},
        {"\"model_type\":\"phi3\"", "phi3", RS_GRAPH_NORM_RMS, RS_GRAPH_SILU, 1e-5, 1e4, true, false, false, false,
         false, false, false, false, 0, 1, 2, 8, 4},
        {"\"model_type\":\"smollm3\"", "smollm3", RS_GRAPH_NORM_RMS, RS_GRAPH_SILU, 1e-6, 2e6, true, false, false,
         false, false, false, false, true, 0, 1, 2, 8, 4},
        {"\"model_type\":\"gemma3_text\"", "gemma3", RS_GRAPH_NORM_RMS, RS_GRAPH_GELU_TANH, 1e-6, 1e4, true, false,
         true, true, false, false, false, true, 1, 5.65685425F, 2, 256, 128},
        {"\"model_type\":\"gpt_neox\",\"num_key_value_heads\":null", "gpt_neox", RS_GRAPH_NORM_LAYER, RS_GRAPH_GELU_ERF,
         1e-5, 1e4, false, true, false, false, true, true, true, false, 0, 1, 4, 8, 1},
        {"\"model_type\":null,\"architectures\":[\"Phi3ForCausalLM\"]", "phi3", RS_GRAPH_NORM_RMS, RS_GRAPH_SILU, 1e-5,
         1e4, true, false, false, false, false, false, false, false, 0, 1, 2, 8, 4},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const rs_graph *g = hf(*state, rows[i].own);
        assert_string_equal(g->family, rows[i].family);
        assert_string_equal(g->name, "model");
        assert_int_equal(g->n_layers, 4);
        assert_int_equal(g->width, 32);
        assert_int_equal(g->vocab, 61);
        assert_int_equal(g->trained_context, 256);
        assert_int_equal(g->norm, rows[i].norm);
        assert_int_equal(g->act, rows[i].act);
        assert_true(g->norm_eps == (float)rows[i].eps);
        assert_true(g->norm_add == rows[i].norm_add);
        assert_true(g->embed_scale == rows[i].embed_scale);
        assert_true(g->logit_scale == 1 && g->final_softcap == 0);
        assert_int_equal(g->gated, rows[i].gated);
        assert_int_equal(g->parallel, rows[i].parallel);
        assert_int_equal(g->post_norms, rows[i].post_norms);
        assert_int_equal(g->qk_norm, rows[i].qk_norm);
        assert_int_equal(g->norm_bias, rows[i].norm_bias);
        assert_int_equal(g->qkv_bias, rows[i].qkv_bias);
        assert_int_equal(g->o_bias, rows[i].qkv_bias);
        assert_int_equal(g->mlp_bias, rows[i].mlp_bias);
        assert_int_equal(g->tied, rows[i].tied);
        assert_int_equal(g->max_heads, 4);
        assert_int_equal(g->max_kv_heads, rows[i].kv_heads);
        assert_int_equal(g->max_head_dim, rows[i].head_dim);
        assert_int_equal(g->max_v_dim, rows[i].head_dim);
        assert_int_equal(g->max_pairs, rows[i].head_dim / 2);
        near(g->layers[0].rope.base, rows[i].base);
        near(g->layers[0].scale, 1 / sqrt(rows[i].head_dim));
        assert_int_equal(g->layers[0].rope.n_rotated, rows[i].rotated);
        assert_int_equal(g->layers[0].hidden, 44);
        assert_int_equal(g->n_warnings, 0);
    }
}

static void test_llama_fields(void **state) {
    const rs_graph *g =
        hf(*state,
           "\"attention_bias\":true,\"mlp_bias\":true,\"tie_word_embeddings\":true,\"head_dim\":12,"
           "\"num_key_value_heads\":null,\"rms_norm_eps\":1e-5,\"hidden_act\":\"gelu\",\"torch_dtype\":\"bfloat16\","
           "\"_name_or_path\":\"org/name\",\"rope_theta\":500000");
    assert_true(g->qkv_bias && g->o_bias && g->mlp_bias && g->tied);
    assert_string_equal(g->name, "org/name");
    assert_int_equal(g->act, RS_GRAPH_GELU_ERF);
    assert_int_equal(g->max_head_dim, 12); /* not 32 / 4 */
    assert_int_equal(g->max_kv_heads, 4);
    assert_int_equal(g->n_warnings, 0);
    assert_string_equal(g->rope_words, "full RoPE, 6 pairs, base 500,000, trained context 256");
    assert_string_equal(g->layers[0].rope.source, "rope_theta in config.json");
    g = hf(*state, "\"head_dim\":null");
    assert_int_equal(g->max_head_dim, 8);
}

static void test_phi3_window(void **state) {
    const rs_graph *g = hf(*state, "\"model_type\":\"phi3\",\"sliding_window\":20");
    for (int l = 0; l < 4; l++) assert_int_equal(g->layers[l].window, 20);
    assert_string_equal(g->rope_words, "full RoPE, 4 pairs, base 10,000 in a window of 20, trained context 256");
    g = hf(*state, "\"model_type\":\"phi3\",\"sliding_window\":null");
    assert_int_equal(g->layers[0].window, 0);
}

/* Short or long divisors by the length that is run, as transformers chooses. */
static void test_phi3_longrope(void **state) {
    static const char *own =
        "\"model_type\":\"phi3\",\"original_max_position_embeddings\":64,\"rope_theta\":10000.0,\"rope_scaling\":"
        "{\"type\":\"su\",\"short_factor\":[1,1,1,2],\"long_factor\":[1,3,4,5]}";
    model_case *m = *state;
    rs_graph_options o = {.context = 64};
    assert_int_equal(model_case_hf(m, config(own), NULL, 0, &o), RS_OK);
    near(m->graph->layers[0].rope.theta[3], 1e-3 / 2);
    near(m->graph->layers[0].rope.factor[3], sqrt(1 + log(256.0 / 64.0) / log(64.0)));
    o.context = 65;
    assert_int_equal(model_case_hf(m, config(own), NULL, 0, &o), RS_OK);
    near(m->graph->layers[0].rope.theta[3], 1e-3 / 5);
    near(hf(m, own)->layers[0].rope.theta[3], 1e-3 / 5); /* the trained context, 256 */
    assert_string_equal(m->graph->layers[0].rope.kind, "longrope");
}

static void test_smollm3_layers(void **state) {
    const rs_graph *g = hf(*state, "\"model_type\":\"smollm3\"");
    for (int l = 0; l < 4; l++) assert_int_equal(g->layers[l].rope.n_rotated, l == 3 ? 0 : 4);
    assert_string_equal(g->layers[3].rope.kind, "none");
    assert_string_equal(g->rope_words, "full RoPE, 4 pairs, base 2,000,000, NoPE on layer 3, trained context 256");
    g = hf(*state, "\"model_type\":\"smollm3\",\"num_hidden_layers\":12");
    assert_string_equal(g->rope_words,
                        "full RoPE, 4 pairs, base 2,000,000, NoPE on layers 3, 7, 11, trained context 256");
    g = hf(*state,
           "\"model_type\":\"smollm3\",\"no_rope_layers\":[0,1,true,false,1,1]"); /* 1: rotates; longer is fine */
    for (int l = 0; l < 4; l++) assert_int_equal(g->layers[l].rope.n_rotated > 0, l == 1 || l == 2);
    g = hf(
        *state,
        "\"model_type\":\"smollm3\",\"no_rope_layer_interval\":2,\"no_rope_layers\":null,\"use_sliding_window\":true,"
        "\"sliding_window\":24");
    for (int l = 0; l < 4; l++) assert_int_equal(g->layers[l].window, l % 2 ? 24 : 0); /* windows on the NoPE layers */
    g = hf(*state, "\"model_type\":\"smollm3\",\"use_sliding_window\":false,\"sliding_window\":24");
    assert_int_equal(g->layers[3].window, 0);
}

static void check_gemma(const rs_graph *g, double base, double local, double factor) {
    for (int l = 0; l < 7; l++) {
        bool full = l % 3 == 2;
        assert_int_equal(g->layers[l].window, full ? 0 : 32);
        near(g->layers[l].rope.base, full ? base : local);
        near(g->layers[l].rope.theta[0], full ? 1 / factor : 1);
        near(g->layers[l].scale, 1 / sqrt(100.0));
    }
}

#define GEMMA                                                                                                          \
    "\"model_type\":\"gemma3_text\",\"num_hidden_layers\":7,\"head_dim\":16,\"query_pre_attn_scalar\":100,\"sliding_"  \
    "window\":32,"                                                                                                     \
    "\"hidden_activation\":\"gelu_pytorch_tanh\",\"final_logit_softcapping\":30.0,\"attn_logit_softcapping\":null"

static void test_gemma3_spellings(void **state) {
    const rs_graph *g =
        hf(*state, GEMMA ",\"rope_theta\":1000000,\"rope_local_base_freq\":20000,\"sliding_window_pattern\":3,"
                         "\"rope_scaling\":{\"factor\":8.0,\"rope_type\":\"linear\"}");
    check_gemma(g, 1e6, 2e4, 8);
    assert_true(g->final_softcap == 30.0F);
    assert_true(g->layers[0].softcap == 0);
    assert_int_equal(g->n_warnings, 0);
    assert_string_equal(
        g->rope_words,
        "two bases: full RoPE, 8 pairs, base 20,000 in a window of 32 on layers 0-1, 3-4, 6; full RoPE, 8 pairs, base "
        "1,000,000, linear scaling by 8 on layers 2, 5, trained context 256");
    g = hf(*state, GEMMA
           ",\"layer_types\":[\"sliding_attention\",\"sliding_attention\",\"full_attention\",\"sliding_attention\","
           "\"sliding_attention\",\"full_attention\",\"sliding_attention\"],\"_sliding_window_pattern\":6,"
           "\"rope_parameters\":{\"full_attention\":{\"rope_type\":\"linear\",\"factor\":8.0,\"rope_theta\":1000000.0},"
           "\"sliding_attention\":{\"rope_type\":\"default\",\"rope_theta\":20000.0}}");
    check_gemma(g, 1e6, 2e4, 8);
    g = hf(*state, GEMMA ",\"sliding_window_pattern\":3,\"rope_parameters\":{\"full_attention\":null}");
    check_gemma(g, 1e6, 1e4, 1); /* the class fills in its defaults */
}

/* A multimodal file: dimensions that the inner dictionary leaves out are the class's. */
static void test_gemma3_wrapper(void **state) {
    model_case *m = *state;
    static float zero[4];
    static const hf_tensor tensors[] = {{"vision_tower.head.weight", 1, {4, 0}, zero},
                                        {"multi_modal_projector.x", 1, {4, 0}, zero}};
    static const char *text =
        "{\"model_type\":\"gemma3\",\"architectures\":[\"Gemma3ForConditionalGeneration\"],\"tie_word_embeddings\":"
        "true,"
        "\"vision_config\":{\"hidden_size\":7},\"text_config\":{\"model_type\":\"gemma3_text\",\"hidden_size\":2560,"
        "\"intermediate_size\":10240,\"num_hidden_layers\":34,\"sliding_window\":1024,"
        "\"rope_scaling\":{\"factor\":8.0,\"rope_type\":\"linear\"}}}"; /* the shape of a 4B */
    if (model_case_hf(m, text, tensors, 2, NULL) != RS_OK) fail_msg("%s", m->error.message);
    const rs_graph *g = m->graph;
    assert_int_equal(g->max_heads, 8);
    assert_int_equal(g->max_kv_heads, 4);
    assert_int_equal(g->max_head_dim, 256);
    assert_int_equal(g->vocab, 262208);
    assert_int_equal(g->trained_context, 131072);
    assert_int_equal(g->layers[4].window, 1024);
    assert_int_equal(g->layers[5].window, 0);
    near(g->layers[5].rope.theta[0], 0.125);
    assert_true(g->tied);
    warned(g, "2 tensors outside the text model");
}

static void test_gpt_neox(void **state) {
    const rs_graph *g = hf(
        *state,
        "\"model_type\":\"gpt_neox\",\"num_key_value_heads\":null,\"use_parallel_residual\":false,\"rotary_pct\":0.5,"
        "\"rotary_emb_base\":20000,\"attention_bias\":false,\"hidden_act\":\"gelu_new\",\"layer_norm_eps\":1e-4");
    assert_false(g->parallel);
    assert_false(g->qkv_bias || g->o_bias);
    assert_true(g->mlp_bias && g->norm_bias);
    assert_int_equal(g->act, RS_GRAPH_GELU_TANH);
    assert_true(g->norm_eps == 1e-4F);
    assert_string_equal(g->rope_words, "50 % partial RoPE: 2 of 4 pairs, base 20,000, trained context 256");
    g = hf(*state, "\"model_type\":\"gpt_neox\",\"num_key_value_heads\":null,\"rope_parameters\":{\"rope_type\":"
                   "\"default\",\"rope_theta\":20000,"
                   "\"partial_rotary_factor\":0.5}");
    assert_int_equal(g->layers[0].rope.n_rotated, 2);
    near(g->layers[0].rope.theta[1], pow(20000, -0.5));
}

static void test_warnings(void **state) {
    warned(hf(*state, "\"sliding_window\":4096"), "'sliding_window' (4096) has no effect");
    warned(hf(*state, "\"residual_multiplier\":0.22"), "residual_multiplier");
    warned(hf(*state, "\"partial_rotary_factor\":0.5"), "partial_rotary_factor 0.5 has no effect");
    warned(hf(*state, "\"rope_scaling\":{\"type\":\"default\",\"factor\":2.0}"), "'rope_scaling.factor' has no effect");
    warned(hf(*state, "\"rope_theta\":7.0,\"rope_parameters\":{\"rope_theta\":10000.0}"),
           "'rope_theta' (7) has no effect");
    warned(hf(*state, "\"model_type\":\"gpt_neox\",\"num_key_value_heads\":null,\"rotary_pct\":0.4"), "odd width 3");
    warned(hf(*state, GEMMA ",\"rope_pct\":0.3"), "rope_pct");
    assert_int_equal(
        hf(*state, "\"sliding_window\":null,\"partial_rotary_factor\":1.0,\"rope_scaling\":{}")->n_warnings, 0);
}

/* ---- refusals
 * ---------------------------------------------------------------------------------------------------------------- */

static void test_refusals(void **state) {
    static const struct {
        const char *own;
        rs_status st;
        const char *words;
    } rows[] = {
        {"\"model_type\":\"mamba\"", RS_E_UNSUPPORTED,
         "config.json|model_type 'mamba'|llama, phi3, smollm3, gemma3, gpt_neox"},
        {"\"model_type\":null", RS_E_FORMAT, "model_type"},
        {"\"model_type\":7", RS_E_FORMAT, "model_type|found 7"},
        {"\"model_type\":null,\"architectures\":[\"OddForCausalLM\"]", RS_E_UNSUPPORTED, "OddForCausalLM"},
        {"\"model_type\":\"gemma3\"", RS_E_FORMAT, "text_config"},
        {"\"rope_scaling\":{\"rope_type\":\"spiral\",\"factor\":2}", RS_E_UNSUPPORTED, "rope_type 'spiral'|llama3"},
        {"\"rope_parameters\":{\"rope_type\":\"default\",\"twist\":1}", RS_E_UNSUPPORTED, "rope_parameters.twist"},
        {"\"rope_scaling\":{\"type\":\"mrope\",\"mrope_section\":[1,1,2]}", RS_E_UNSUPPORTED, "mrope_section"},
        {"\"rope_parameters\":{\"full_attention\":{\"rope_theta\":1e4}}", RS_E_UNSUPPORTED, "full_attention"},
        {GEMMA ",\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":1e4}", RS_E_UNSUPPORTED,
         "rope_parameters.rope_"},
        {"\"rope_scaling\":\"linear\"", RS_E_FORMAT, "rope_scaling|an object"},
        {"\"rope_scaling\":{\"type\":\"linear\"}", RS_E_FORMAT, "rope_scaling.factor"},
        {"\"rope_scaling\":{\"type\":\"linear\",\"factor\":0}", RS_E_FORMAT, "rope_scaling.factor|found 0"},
        {"\"rope_scaling\":{\"type\":\"linear\",\"factor\":\"8\"}", RS_E_FORMAT, "rope_scaling.factor|found '8'"},
        {"\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":4,\"high_freq_factor\":1}",
         RS_E_MISMATCH, "config.json|low_freq_factor 4"},
        {"\"rope_scaling\":{\"rope_type\":\"longrope\",\"short_factor\":[1,1],\"long_factor\":[1,1]}", RS_E_MISMATCH,
         "2 divisors|expected 4"},
        {"\"rope_scaling\":{\"rope_type\":\"longrope\",\"short_factor\":[1,1,-1,1],\"long_factor\":[1,1,1,1],"
         "\"original_max_position_embeddings\":256}",
         RS_E_FORMAT, "short_factor|found -1"},
        {"\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":2,\"partial_rotary_factor\":0.5}", RS_E_MISMATCH,
         "partial_rotary_factor 0.5"},
        {"\"rope_parameters\":{\"rope_type\":\"proportional\",\"partial_rotary_factor\":1.5}", RS_E_FORMAT,
         "partial_rotary_factor|1.5"},
        {"\"rope_theta\":0", RS_E_FORMAT, "rope_theta|found 0"},
        {"\"rope_theta\":-10000.0", RS_E_FORMAT, "rope_theta|found -10000"},
        {"\"rope_theta\":Infinity", RS_E_FORMAT, "rope_theta|found inf"},
        {"\"rope_theta\":\"1e6\"", RS_E_FORMAT, "rope_theta|found '1e6'"},
        {"\"num_key_value_heads\":3", RS_E_MISMATCH, "num_key_value_heads|is 3|4 query heads"},
        {"\"num_key_value_heads\":0", RS_E_FORMAT, "num_key_value_heads|found 0"},
        {"\"head_dim\":7", RS_E_MISMATCH, "head width|found 7"},
        {"\"hidden_size\":33", RS_E_MISMATCH, "hidden_size|found 33|num_attention_heads"},
        {"\"hidden_size\":-32", RS_E_FORMAT, "hidden_size|found -32"},
        {"\"hidden_size\":32.5", RS_E_FORMAT, "hidden_size|found 32.5"},
        {"\"hidden_size\":[32]", RS_E_FORMAT, "hidden_size|array"},
        {"\"hidden_size\":null", RS_E_FORMAT, "hidden_size|found null"},
        {"\"hidden_size\":1048580", RS_E_FORMAT, "hidden_size|1048576"},
        {"\"hidden_size\":9223372036854775807", RS_E_FORMAT, "hidden_size"},
        {"\"num_hidden_layers\":0", RS_E_FORMAT, "num_hidden_layers|found 0"},
        {"\"num_hidden_layers\":4097", RS_E_FORMAT, "num_hidden_layers|4096"},
        {"\"vocab_size\":99999999999", RS_E_FORMAT, "vocab_size|16777216"},
        {"\"max_position_embeddings\":-1", RS_E_FORMAT, "max_position_embeddings"},
        {"\"head_dim\":65536,\"num_attention_heads\":65536,\"num_key_value_heads\":65536", RS_E_FORMAT,
         "65536 heads of 65536"},
        {"\"hidden_act\":\"softmaxish\"", RS_E_UNSUPPORTED, "softmaxish|gelu_new"},
        {"\"rms_norm_eps\":-1", RS_E_FORMAT, "rms_norm_eps"},
        {"\"attention_bias\":\"yes\"", RS_E_FORMAT, "attention_bias|found 'yes'"},
        {"\"tie_word_embeddings\":1", RS_E_FORMAT, "tie_word_embeddings|found 1"},
        {"\"layer_types\":[\"full_attention\",\"sliding_attention\",\"full_attention\",\"full_attention\"]",
         RS_E_UNSUPPORTED, "layer_types"},
        {"\"layer_types\":[\"linear_attention\",\"full_attention\",\"full_attention\",\"full_attention\"]",
         RS_E_UNSUPPORTED, "linear_attention"},
        {GEMMA ",\"layer_types\":[\"full_attention\"]", RS_E_MISMATCH, "layer_types|1 entries|expected 7"},
        {"\"model_type\":\"gemma3_text\",\"sliding_window\":null,\"layer_types\":[\"full_attention\",\"sliding_"
         "attention\",\"full_attention\","
         "\"full_attention\"]",
         RS_E_MISMATCH, "sliding_window"},
        {GEMMA ",\"use_bidirectional_attention\":true", RS_E_UNSUPPORTED, "use_bidirectional_attention"},
        {"\"model_type\":\"smollm3\",\"no_rope_layers\":[1,1]", RS_E_MISMATCH, "no_rope_layers|2 entries"},
        {"\"model_type\":\"smollm3\",\"no_rope_layers\":[1,2,1,1]", RS_E_FORMAT, "no_rope_layers|found 2"},
        {"\"model_type\":\"smollm3\",\"no_rope_layer_interval\":0", RS_E_FORMAT, "no_rope_layer_interval"},
        {"\"model_type\":\"phi3\",\"sliding_window\":-5", RS_E_FORMAT, "sliding_window|found -5"},
    };
    model_case *m = *state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        rs_status st = model_case_hf(m, config(rows[i].own), NULL, 0, NULL);
        if (st != rows[i].st) print_message("%s\n", rows[i].own);
        model_case_refused(m, st, rows[i].st, rows[i].words);
    }
    model_case_refused(m, model_case_hf(m, "[1]", NULL, 0, NULL), RS_E_FORMAT, "config.json");
}

/* ---- GGUF
 * ---------------------------------------------------------------------------------------------------------------------
 */

static void key_u32(gguf_writer *w, const char *arch, const char *key, uint32_t v) {
    char name[96];
    snprintf(name, sizeof name, "%s.%s", arch, key);
    gguf_u32(w, name, v);
}

static void key_f32(gguf_writer *w, const char *arch, const char *key, float v) {
    char name[96];
    snprintf(name, sizeof name, "%s.%s", arch, key);
    gguf_f32(w, name, v);
}

/* 6 layers, width 32, 4 and 2 heads; no rotation yet. */
static gguf_writer *begin(const char *arch) {
    static const int64_t embedding[] = {61, 32};
    gguf_writer *w = gguf_begin();
    assert_non_null(w);
    gguf_string(w, "general.architecture", arch);
    gguf_string(w, "general.name", "Tiny");
    key_u32(w, arch, "block_count", 6);
    key_u32(w, arch, "context_length", 256);
    key_u32(w, arch, "embedding_length", 32);
    key_u32(w, arch, "attention.head_count", 4);
    key_u32(w, arch, "attention.head_count_kv", 2);
    gguf_tensor(w, "token_embd.weight", 2, embedding, NULL);
    return w;
}

static gguf_writer *begin_all(const char *arch) {
    gguf_writer *w = begin(arch);
    key_u32(w, arch, "feed_forward_length", 44);
    key_f32(w, arch, strcmp(arch, "gptneox") ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon",
            1e-5F);
    return w;
}

/* Rows are turned over in the file; shown components are Hugging Face's. Divisors live in a tensor. */
static void test_gguf_llama(void **state) {
    static const float divisors[] = {1, 2, 8, 8};
    static const int64_t four[] = {4};
    gguf_writer *w = begin_all("llama");
    gguf_f32(w, "llama.rope.freq_base", 5e5F);
    gguf_u32(w, "llama.rope.dimension_count", 8);
    gguf_tensor(w, "rope_freqs.weight", 1, four, divisors);
    const rs_graph *g = gguf(*state, w);
    assert_string_equal(g->family, "llama");
    assert_string_equal(g->name, "Tiny");
    assert_int_equal(g->vocab, 61);
    assert_true(g->norm_eps == 1e-5F);
    assert_true(g->tied);
    const rs_rope *r = &g->layers[5].rope;
    assert_string_equal(r->kind, "table");
    assert_string_equal(r->source, "llama.rope.freq_base in model.gguf; divisors in tensor rope_freqs.weight");
    static const rs_pair_region regions[] = {RS_PAIR_KEPT, RS_PAIR_BLENDED, RS_PAIR_SCALED, RS_PAIR_SCALED};
    for (int f = 0; f < 4; f++) {
        near(r->theta[f], pow(5e5, -2.0 * f / 8) / (double)divisors[f]);
        assert_int_equal(r->lo[f], 2 * f);
        assert_int_equal(r->hi[f], 2 * f + 1);
        assert_int_equal(r->lo_hf[f], f);
        assert_int_equal(r->hi_hf[f], f + 4);
        assert_int_equal(r->region[f], regions[f]);
    }
}

static void test_gguf_scaling(void **state) {
    gguf_writer *w = begin_all("llama");
    gguf_string(w, "llama.rope.scaling.type", "linear");
    gguf_f32(w, "llama.rope.scaling.factor", 4);
    const rs_graph *g = gguf(*state, w);
    near(g->layers[0].rope.theta[0], 0.25);
    near(g->layers[0].rope.base, 1e4); /* llama.cpp's default */
    w = begin_all("llama");
    gguf_f32(w, "llama.rope.scale_linear", 2); /* the older key */
    near(gguf(*state, w)->layers[0].rope.theta[0], 0.5);
    w = begin_all("llama");
    gguf_string(w, "llama.rope.scaling.type", "none");
    gguf_f32(w, "llama.rope.scaling.factor", 4);
    near(gguf(*state, w)->layers[0].rope.theta[0], 1);
}

static void test_gguf_per_layer(void **state) {
    static const uint32_t kv[] = {1, 2, 4, 1, 2, 4}, hidden[] = {8, 16, 24, 32, 40, 48};
    gguf_writer *w = gguf_begin();
    static const int64_t embedding[] = {61, 32};
    gguf_string(w, "general.architecture", "llama");
    gguf_u32(w, "llama.block_count", 6);
    gguf_u32(w, "llama.context_length", 256);
    gguf_u32(w, "llama.embedding_length", 32);
    gguf_u32(w, "llama.attention.head_count", 4);
    gguf_u32s(w, "llama.attention.head_count_kv", kv, 6);
    gguf_u32s(w, "llama.feed_forward_length", hidden, 6);
    gguf_u32(w, "llama.attention.key_length", 10);
    gguf_u32(w, "llama.attention.value_length", 6);
    gguf_tensor(w, "token_embd.weight", 2, embedding, NULL);
    const rs_graph *g = gguf(*state, w);
    assert_string_equal(g->name, "model.gguf");
    for (int l = 0; l < 6; l++) {
        assert_int_equal(g->layers[l].kv_heads, kv[l]);
        assert_int_equal(g->layers[l].hidden, hidden[l]);
        assert_int_equal(g->layers[l].head_dim, 10);
        assert_int_equal(g->layers[l].v_dim, 6);
    }
    assert_int_equal(g->max_kv_heads, 4);
}

static void test_gguf_phi3(void **state) {
    static const float lengths[2][3] = {{1, 2, 3}, {4, 5, 6}};
    static const int64_t three[] = {3};
    gguf_writer *w = begin_all("phi3");
    gguf_u32(w, "phi3.rope.dimension_count", 6);
    gguf_u32(w, "phi3.attention.sliding_window", 100);
    gguf_u32(w, "phi3.rope.scaling.original_context_length", 128);
    gguf_f32(w, "phi3.rope.scaling.attn_factor", 1.25F);
    gguf_tensor(w, "rope_factors_short.weight", 1, three, lengths[0]);
    gguf_tensor(w, "rope_factors_long.weight", 1, three, lengths[1]);
    const rs_graph *g = gguf(*state, w);
    const rs_rope *r = &g->layers[0].rope;
    assert_int_equal(g->layers[0].window, 100);
    assert_int_equal(r->n_rotated, 3);
    for (int f = 0; f < 3; f++) {
        near(r->theta[f], pow(1e4, -2.0 * f / 6) / (double)lengths[1][f]); /* 256 > 128 */
        near(r->factor[f], 1.25);
        assert_int_equal(r->lo[f], f);
        assert_int_equal(r->hi[f], f + 3);
    }
    near(r->factor[3], 1);
}

static void test_gguf_smollm3(void **state) {
    gguf_writer *w = begin_all("smollm3");
    gguf_f32(w, "smollm3.rope.freq_base", 2e6F);
    const rs_graph *g = gguf(*state, w);
    for (int l = 0; l < 6; l++) {
        assert_int_equal(g->layers[l].rope.n_rotated, l == 3 ? 0 : 4);
        for (int f = 0; f < 4; f++) {
            assert_int_equal(g->layers[l].rope.lo_hf[f], f);
            assert_int_equal(g->layers[l].rope.lo[f], 2 * f); /* NoPE layers are turned over too */
        }
    }
}

static void test_gguf_gemma3(void **state) {
    gguf_writer *w = begin_all("gemma3");
    gguf_u32(w, "gemma3.attention.key_length", 16);
    gguf_u32(w, "gemma3.attention.value_length", 16);
    gguf_u32(w, "gemma3.attention.sliding_window", 32);
    gguf_f32(w, "gemma3.rope.freq_base", 1e6F);
    gguf_string(w, "gemma3.rope.scaling.type", "linear");
    gguf_f32(w, "gemma3.rope.scaling.factor", 8);
    const rs_graph *g = gguf(*state, w);
    assert_true(g->norm_add == 0); /* folded into the file's weights */
    assert_true(g->post_norms && g->qk_norm);
    near((double)g->embed_scale, sqrt(32));
    for (int l = 0; l < 6; l++) {
        assert_int_equal(g->layers[l].window, l == 5 ? 0 : 32);
        near(g->layers[l].rope.base, l == 5 ? 1e6 : 1e4);
        near(g->layers[l].rope.theta[0], l == 5 ? 0.125 : 1); /* full layers alone are scaled */
        near(g->layers[l].scale, 0.25);
    }
    static const bool pattern[] = {true, false, true, false, true, true};
    w = begin_all("gemma3");
    gguf_u32(w, "gemma3.attention.sliding_window", 32);
    gguf_f32(w, "gemma3.rope.freq_base_swa", 3e4F);
    gguf_bools(w, "gemma3.attention.sliding_window_pattern", pattern, 6);
    g = gguf(*state, w);
    for (int l = 0; l < 6; l++) assert_int_equal(g->layers[l].window, pattern[l] ? 32 : 0);
    near(g->layers[0].rope.base, 3e4);
    near(g->layers[1].rope.base, 1e4);
}

static void test_gguf_gptneox(void **state) {
    gguf_writer *w = begin_all("gptneox");
    gguf_u32(w, "gptneox.rope.dimension_count", 2);
    gguf_bool(w, "gptneox.use_parallel_residual", false);
    const rs_graph *g = gguf(*state, w);
    assert_string_equal(g->family, "gpt_neox");
    assert_false(g->parallel);
    assert_true(g->qkv_bias && g->norm_bias && g->mlp_bias);
    assert_int_equal(g->norm, RS_GRAPH_NORM_LAYER);
    assert_true(g->norm_eps == 1e-5F);
    assert_int_equal(g->layers[0].rope.n_rotated, 1);
}

typedef void (*spoil)(gguf_writer *w);

static void with_mrope(gguf_writer *w) {
    static const uint32_t sections[] = {1, 1, 2};
    gguf_u32s(w, "llama.rope.dimension_sections", sections, 3);
}
static void with_yarn(gguf_writer *w) { gguf_string(w, "llama.rope.scaling.type", "yarn"); }
static void with_partial(gguf_writer *w) { gguf_u32(w, "llama.rope.dimension_count", 4); }
static void with_zero_base(gguf_writer *w) { gguf_f32(w, "llama.rope.freq_base", 0); }
static void with_nan_base(gguf_writer *w) { gguf_f32(w, "llama.rope.freq_base", NAN); }
static void with_short_divisors(gguf_writer *w) {
    static const int64_t three[] = {3};
    gguf_tensor(w, "rope_freqs.weight", 1, three, NULL);
}
static void with_zero_divisors(gguf_writer *w) {
    static const int64_t four[] = {4};
    gguf_tensor(w, "rope_freqs.weight", 1, four, NULL);
}
static void with_odd_heads(gguf_writer *w) { gguf_u32(w, "llama.attention.key_length", 9); }

static void test_gguf_refusals(void **state) {
    static const struct {
        const char *arch;
        spoil change;
        rs_status st;
        const char *words;
    } rows[] = {
        {"mamba", NULL, RS_E_UNSUPPORTED, "general.architecture 'mamba'|phi3"},
        {"llama", with_mrope, RS_E_UNSUPPORTED, "llama.rope.dimension_sections"},
        {"llama", with_yarn, RS_E_UNSUPPORTED, "llama.rope.scaling.type|yarn"},
        {"llama", with_partial, RS_E_MISMATCH, "llama.rope.dimension_count|found 4|head width, 8"},
        {"llama", with_zero_base, RS_E_FORMAT, "llama.rope.freq_base|found 0"},
        {"llama", with_nan_base, RS_E_FORMAT, "llama.rope.freq_base"},
        {"llama", with_short_divisors, RS_E_MISMATCH, "rope_freqs.weight|3 elements|with 4"},
        {"llama", with_zero_divisors, RS_E_MISMATCH, "divisor 0 is 0"},
        {"llama", with_odd_heads, RS_E_MISMATCH, "head width|found 9"},
    };
    model_case *m = *state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        gguf_writer *w = begin_all(rows[i].arch);
        if (rows[i].change) rows[i].change(w);
        model_case_refused(m, model_case_gguf(m, w, NULL), rows[i].st, rows[i].words);
    }
    model_case_refused(m, model_case_gguf(m, begin("llama"), NULL), RS_E_FORMAT, "llama.feed_forward_length|absent");
}

/* ---- llama2.c
 * ------------------------------------------------------------------------------------------------------------------ */

static void test_llama2c(void **state) {
    model_case *m = *state;
    rs_text bytes = {0};
    rs_graph_options o = {.rope_theta = 5e5};
    put_llama2c(&bytes, false);
    model_case_close(m);
    snprintf(m->path, sizeof m->path, "%s/model.bin", m->folder);
    FILE *f = fopen(m->path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes.data, 1, bytes.bytes, f), bytes.bytes);
    fclose(f);
    rs_text_deinit(&bytes);
    assert_int_equal(rs_arena_create(&m->arena, &m->error), RS_OK);
    if (rs_checkpoint_open(m->path, &m->checkpoint, &m->error) != RS_OK) fail_msg("%s", m->error.message);
    for (int given = 0; given < 2; given++) {
        if (rs_graph_create(m->checkpoint, given ? &o : NULL, m->arena, &m->graph, &m->error) != RS_OK)
            fail_msg("%s", m->error.message);
        assert_string_equal(m->graph->family, "llama2.c");
        assert_int_equal(m->graph->n_layers, 2);
        assert_int_equal(m->graph->max_head_dim, 2);
        assert_int_equal(m->graph->max_kv_heads, 2);
        assert_int_equal(m->graph->trained_context, 3);
        assert_true(m->graph->tied && m->graph->norm_eps == 1e-5F);
        near(m->graph->layers[0].rope.base, given ? 5e5 : 1e4);
        if (!given) warned(m->graph, "carries no RoPE base");
    }
}

/* A base from the command line is for files that have none. */
static void test_rope_theta_option(void **state) {
    model_case *m = *state;
    rs_graph_options o = {.rope_theta = 5e5};
    assert_int_equal(model_case_hf(m, config(""), NULL, 0, &o), RS_OK);
    near(m->graph->layers[0].rope.base, 5e5);
    model_case_refused(m, model_case_hf(m, config("\"rope_theta\":10000"), NULL, 0, &o), RS_E_USAGE,
                       "--rope-theta 500000|10000");
}

/* Any allocation may fail: an error, no leak, no half graph. */
static void test_out_of_memory(void **state) {
    model_case *m = *state;
    const rs_graph *g = NULL;
    uint64_t n = 0;
    hf(m, GEMMA);
    do {
        rs_arena *arena = NULL;
        rs_status st;
        assert_int_equal(rs_arena_create(&arena, &m->error), RS_OK);
        g = NULL;
        rs_alloc_fail_at(++n);
        st = rs_graph_create(m->checkpoint, NULL, arena, &g, &m->error);
        rs_alloc_fail_at(0);
        assert_true(st == RS_OK || st == RS_E_NOMEM);
        assert_int_equal(st == RS_OK, g != NULL);
        rs_arena_destroy(arena);
    } while (!g && n < 10000);
    assert_true(g && n > 3);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(test_family_defaults), CASE(test_llama_fields),      CASE(test_phi3_window),
        CASE(test_phi3_longrope),   CASE(test_smollm3_layers),    CASE(test_gemma3_spellings),
        CASE(test_gemma3_wrapper),  CASE(test_gpt_neox),          CASE(test_warnings),
        CASE(test_refusals),        CASE(test_gguf_llama),        CASE(test_gguf_scaling),
        CASE(test_gguf_per_layer),  CASE(test_gguf_phi3),         CASE(test_gguf_smollm3),
        CASE(test_gguf_gemma3),     CASE(test_gguf_gptneox),      CASE(test_gguf_refusals),
        CASE(test_llama2c),         CASE(test_rope_theta_option), CASE(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
