/* Binding tensors to roles: fused slices, tied embeddings, and the one message about everything that does not fit.
 * Every element of a made-up tensor has a value of its own, so that a row taken from the wrong place shows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/model_case.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { D = 8, H = 4, K = 2, DH = 6, HIDDEN = 10, V = 7, LAYERS = 2, MOST = 64 };

typedef struct fixture {
    model_case m;
    hf_tensor t[MOST];
    size_t n;
    const rs_weights *w;
} fixture;

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    model_case_begin(&f->m);
    *state = f;
    return 0;
}

static void forget(fixture *f) {
    for (size_t i = 0; i < f->n; i++) free(f->t[i].data);
    f->n = 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    forget(f);
    model_case_end(&f->m);
    free(f);
    return 0;
}

/* Element i of tensor number t. */
static float value(size_t tensor, int64_t i) { return (float)((double)tensor * 10000.0 + (double)i); }

/* cols == 0: a vector. */
static void add(fixture *f, const char *name, int64_t rows, int64_t cols) {
    hf_tensor *t = &f->t[f->n];
    int64_t n = cols ? rows * cols : rows;
    assert_true(f->n < MOST);
    snprintf(t->name, sizeof t->name, "%s", name);
    t->n_dims = cols ? 2 : 1;
    t->dims[0] = rows, t->dims[1] = cols;
    t->data = calloc((size_t)n, sizeof *t->data);
    assert_non_null(t->data);
    for (int64_t i = 0; i < n; i++) t->data[i] = value(f->n, i);
    f->n++;
}

static void add_layer(fixture *f, const char *prefix, int layer, const char *name, int64_t rows, int64_t cols) {
    char full[96];
    snprintf(full, sizeof full, "%slayers.%d.%s", prefix, layer, name);
    add(f, full, rows, cols);
}

static size_t number(const fixture *f, const char *name) {
    for (size_t i = 0; i < f->n; i++)
        if (strcmp(f->t[i].name, name) == 0) return i;
    fail_msg("no tensor '%s'", name);
    return 0;
}

static void llama(fixture *f, const char *prefix) {
    char name[96];
    snprintf(name, sizeof name, "%sembed_tokens.weight", prefix);
    add(f, name, V, D);
    snprintf(name, sizeof name, "%snorm.weight", prefix);
    add(f, name, D, 0);
    for (int l = 0; l < LAYERS; l++) {
        add_layer(f, prefix, l, "input_layernorm.weight", D, 0);
        add_layer(f, prefix, l, "post_attention_layernorm.weight", D, 0);
        add_layer(f, prefix, l, "self_attn.q_proj.weight", H * DH, D);
        add_layer(f, prefix, l, "self_attn.k_proj.weight", K * DH, D);
        add_layer(f, prefix, l, "self_attn.v_proj.weight", K * DH, D);
        add_layer(f, prefix, l, "self_attn.o_proj.weight", D, H * DH);
        add_layer(f, prefix, l, "mlp.gate_proj.weight", HIDDEN, D);
        add_layer(f, prefix, l, "mlp.up_proj.weight", HIDDEN, D);
        add_layer(f, prefix, l, "mlp.down_proj.weight", D, HIDDEN);
    }
}

static const char *config(const char *own) {
    static char text[1024];
    snprintf(text, sizeof text,
             "{\"hidden_size\":%d,\"intermediate_size\":%d,\"num_hidden_layers\":%d,\"num_attention_heads\":%d,\"vocab_"
             "size\":%d,"
             "\"max_position_embeddings\":64,%s}",
             D, HIDDEN, LAYERS, H, V, own);
    return text;
}

#define LLAMA "\"model_type\":\"llama\",\"head_dim\":6,\"num_key_value_heads\":2"

static rs_status bind(fixture *f, const char *own) {
    rs_status st = model_case_hf(&f->m, config(own), f->t, f->n, NULL);
    if (st != RS_OK) fail_msg("%s", f->m.error.message);
    return rs_weights_bind(f->m.checkpoint, f->m.graph, f->m.arena, &f->w, &f->m.error);
}

static void must_bind(fixture *f, const char *own) {
    if (bind(f, own) != RS_OK) fail_msg("%s", f->m.error.message);
}

/* Rows first..first+n-1 of the weight are the tensor's rows row[0..n-1] (a vector's elements). */
static void check_rows(fixture *f, int layer, rs_role role, const char *tensor, int64_t first, int64_t n,
                       const int64_t *row, int64_t cols) {
    const rs_weight *w = rs_weights_get(f->w, layer, role);
    int64_t bytes = rs_weight_bytes(w, w->rows == 1 ? 1 : n);
    size_t number_of = number(f, tensor);
    float *got = calloc(1, (size_t)bytes);
    assert_non_null(got);
    assert_string_equal(w->tensor->name, tensor);
    assert_int_equal(bytes, n * cols * (int64_t)sizeof(float));
    if (rs_weight_read(f->m.checkpoint, w, w->rows == 1 ? 0 : first, w->rows == 1 ? 1 : n, got, &f->m.error) != RS_OK)
        fail_msg("%s", f->m.error.message);
    for (int64_t i = 0; i < n * cols; i++) assert_true(got[i] == value(number_of, row[i / cols] * cols + i % cols));
    free(got);
}

static void test_llama(void **state) {
    fixture *f = *state;
    static const int64_t two[] = {5, 6};
    llama(f, "model.");
    add(f, "lm_head.weight", V, D);
    must_bind(f, LLAMA);
    int64_t layer = 2 * D + (2 * H + 2 * K) * DH * D + 3 * HIDDEN * D;
    assert_int_equal(rs_weights_parameters(f->w), 2 * V * D + D + LAYERS * layer);
    check_rows(f, -1, RS_W_UNEMBED, "lm_head.weight", 5, 2, two, D);
    check_rows(f, 1, RS_W_K, "model.layers.1.self_attn.k_proj.weight", 5, 2, two, D);
    assert_null(rs_weights_get(f->w, 0, RS_W_Q_BIAS)->tensor);
    assert_null(rs_weights_get(f->w, 0, RS_W_EMBED)->tensor); /* belongs to no layer */
    assert_null(rs_weights_get(f->w, -1, RS_W_Q)->tensor);
    assert_int_equal(rs_weights_get(f->w, 0, RS_W_ATTN_NORM)->rows, 1);
    assert_string_equal(rs_role_name(RS_W_MLP_NORM), "mlp norm");
    float x[D];
    assert_int_equal(rs_weight_read(f->m.checkpoint, rs_weights_get(f->w, 0, RS_W_K), K * DH, 1, x, &f->m.error),
                     RS_E_INTERNAL);
}

static void test_tied(void **state) {
    fixture *f = *state;
    llama(f, "model.");
    must_bind(f, LLAMA ",\"tie_word_embeddings\":true");
    assert_ptr_equal(rs_weights_get(f->w, -1, RS_W_UNEMBED)->tensor, rs_weights_get(f->w, -1, RS_W_EMBED)->tensor);
    int64_t once = rs_weights_parameters(f->w);
    add(f, "lm_head.weight", V, D); /* transformers uses a head that is there */
    must_bind(f, LLAMA ",\"tie_word_embeddings\":true");
    assert_string_equal(rs_weights_get(f->w, -1, RS_W_UNEMBED)->tensor->name, "lm_head.weight");
    assert_int_equal(rs_weights_parameters(f->w), once + V * D);
    assert_int_equal(f->m.graph->n_warnings, 1);
}

static void test_prefixes(void **state) {
    static const char *const prefixes[] = {"", "language_model.model.", "model.language_model."};
    fixture *f = *state;
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        forget(f);
        llama(f, prefixes[i]);
        add(f, i == 1 ? "language_model.lm_head.weight" : "lm_head.weight", V, D);
        must_bind(f, LLAMA);
    }
}

static void test_harmless_buffers(void **state) {
    fixture *f = *state;
    llama(f, "model.");
    add(f, "lm_head.weight", V, D);
    add(f, "model.layers.0.self_attn.rotary_emb.inv_freq", 3, 0);
    add(f, "model.layers.0.attn.masked_bias", 1, 0);
    must_bind(f, LLAMA);
}

/* rows [q; k; v] and [gate; up] */
static void test_phi3_blocks(void **state) {
    fixture *f = *state;
    static const int64_t two[] = {3, 4};
    const int64_t v[] = {(H + K) * 2 + 1, (H + K) * 2 + 2}, k[] = {H * 2, H * 2 + 3}, up[] = {HIDDEN, HIDDEN + 1};
    add(f, "model.embed_tokens.weight", V, D);
    add(f, "model.norm.weight", D, 0);
    add(f, "lm_head.weight", V, D);
    for (int l = 0; l < LAYERS; l++) {
        add_layer(f, "model.", l, "input_layernorm.weight", D, 0);
        add_layer(f, "model.", l, "post_attention_layernorm.weight", D, 0);
        add_layer(f, "model.", l, "self_attn.qkv_proj.weight", (H + 2 * K) * 2, D);
        add_layer(f, "model.", l, "self_attn.o_proj.weight", D, H * 2);
        add_layer(f, "model.", l, "mlp.gate_up_proj.weight", 2 * HIDDEN, D);
        add_layer(f, "model.", l, "mlp.down_proj.weight", D, HIDDEN);
    }
    must_bind(f, "\"model_type\":\"phi3\",\"num_key_value_heads\":2"); /* head width 8 / 4 */
    check_rows(f, 1, RS_W_Q, "model.layers.1.self_attn.qkv_proj.weight", 3, 2, two, D);
    check_rows(f, 1, RS_W_K, "model.layers.1.self_attn.qkv_proj.weight", 0, 1, &k[0], D);
    check_rows(f, 1, RS_W_K, "model.layers.1.self_attn.qkv_proj.weight", 3, 1, &k[1], D);
    check_rows(f, 1, RS_W_V, "model.layers.1.self_attn.qkv_proj.weight", 1, 2, v, D);
    check_rows(f, 0, RS_W_GATE, "model.layers.0.mlp.gate_up_proj.weight", 3, 2, two, D);
    check_rows(f, 0, RS_W_UP, "model.layers.0.mlp.gate_up_proj.weight", 0, 2, up, D);
    int64_t layer = 2 * D + (2 * H + 2 * K) * 2 * D + 3 * HIDDEN * D;
    assert_int_equal(rs_weights_parameters(f->w), 2 * V * D + D + LAYERS * layer); /* a fused tensor counts once */
}

static void gpt_neox(fixture *f) {
    add(f, "gpt_neox.embed_in.weight", V, D);
    add(f, "gpt_neox.final_layer_norm.weight", D, 0);
    add(f, "gpt_neox.final_layer_norm.bias", D, 0);
    add(f, "embed_out.weight", V, D);
    for (int l = 0; l < LAYERS; l++) {
        static const char *const vectors[] = {
            "input_layernorm.weight",        "input_layernorm.bias", "post_attention_layernorm.weight",
            "post_attention_layernorm.bias", "attention.dense.bias", "mlp.dense_4h_to_h.bias"};
        for (int i = 0; i < 6; i++) add_layer(f, "gpt_neox.", l, vectors[i], D, 0);
        add_layer(f, "gpt_neox.", l, "attention.query_key_value.weight", 3 * D, D);
        add_layer(f, "gpt_neox.", l, "attention.query_key_value.bias", 3 * D, 0);
        add_layer(f, "gpt_neox.", l, "attention.dense.weight", D, D);
        add_layer(f, "gpt_neox.", l, "mlp.dense_h_to_4h.weight", HIDDEN, D);
        add_layer(f, "gpt_neox.", l, "mlp.dense_h_to_4h.bias", HIDDEN, 0);
        add_layer(f, "gpt_neox.", l, "mlp.dense_4h_to_h.weight", D, HIDDEN);
        add_layer(f, "gpt_neox.", l, "attention.bias", 5, 0); /* the mask, a buffer of old files */
        add_layer(f, "gpt_neox.", l, "attention.rotary_emb.inv_freq", 1, 0);
    }
}

/* Per head [q, k, v] of 2 rows each: the whole projection is gathered, and so is any part, across groups. */
static void test_gpt_neox_heads(void **state) {
    static const char *weight = "gpt_neox.layers.1.attention.query_key_value.weight";
    static const char *bias = "gpt_neox.layers.1.attention.query_key_value.bias";
    static const int64_t q[] = {0, 1, 6, 7, 12, 13, 18, 19}, k[] = {2, 3, 8, 9, 14, 15, 20, 21},
                         v[] = {4, 5, 10, 11, 16, 17, 22, 23};
    fixture *f = *state;
    gpt_neox(f);
    must_bind(f, "\"model_type\":\"gpt_neox\"");
    check_rows(f, 1, RS_W_Q, weight, 0, 8, q, D);
    check_rows(f, 1, RS_W_K, weight, 0, 8, k, D);
    check_rows(f, 1, RS_W_V, weight, 0, 8, v, D);
    for (int64_t first = 0; first < 8; first++)
        for (int64_t n = 1; first + n <= 8; n++) check_rows(f, 1, RS_W_K, weight, first, n, k + first, D);
    check_rows(f, 1, RS_W_Q_BIAS, bias, 0, 8, q, 1);
    check_rows(f, 1, RS_W_K_BIAS, bias, 0, 8, k, 1);
    check_rows(f, 1, RS_W_V_BIAS, bias, 0, 8, v, 1);
    assert_null(rs_weights_get(f->w, 0, RS_W_GATE)->tensor);
}

/* ---- what does not fit
 * -------------------------------------------------------------------------------------------------------- */

static void rename_tensor(fixture *f, const char *from, const char *to) {
    hf_tensor *t = &f->t[number(f, from)];
    snprintf(t->name, sizeof t->name, "%s", to);
}

static void swap_dims(fixture *f, const char *name) {
    hf_tensor *t = &f->t[number(f, name)];
    int64_t rows = t->dims[0];
    t->dims[0] = t->dims[1], t->dims[1] = rows;
}

static void test_everything_is_reported_together(void **state) {
    fixture *f = *state;
    llama(f, "model.");
    add(f, "lm_head.weight", V, D);
    add(f, "model.layers.0.self_attn.q_proj.bias", H * DH, 0);
    rename_tensor(f, "model.layers.0.input_layernorm.weight", "model.layers.0.strange.weight");
    rename_tensor(f, "model.layers.1.mlp.down_proj.weight", "model.layers.7.mlp.down_proj.weight");
    swap_dims(f, "model.layers.1.self_attn.q_proj.weight");
    swap_dims(f, "model.embed_tokens.weight");
    model_case_refused(
        &f->m, bind(f, LLAMA), RS_E_MISMATCH,
        "wrong shape (2)|'model.embed_tokens.weight' (embedding): found [8, 7], expected [7, 8]|"
        "'model.layers.1.self_attn.q_proj.weight' (query projection of layer 1): found [8, 24], expected [24, 8]|"
        "missing (2)|'model.layers.0.input_layernorm.weight' (attention norm of layer 0), expected [8]|"
        "'model.layers.1.mlp.down_proj.weight' (mlp down of layer 1), expected [8, 10]|"
        "not used (3)|'model.layers.0.strange.weight' [8]|q_proj.bias' [24]|model.layers.7.mlp");
}

/* A model of another size: the list is cut, the counts are not. */
static void test_many_problems(void **state) {
    fixture *f = *state;
    llama(f, "model.");
    model_case_refused(
        &f->m, bind(f, "\"model_type\":\"llama\",\"head_dim\":4,\"num_key_value_heads\":2,\"attention_bias\":true"),
        RS_E_MISMATCH, "wrong shape (8)|missing (9)|lm_head.weight|query bias of layer 1");
    model_case_refused(&f->m, bind(f, LLAMA ",\"mlp_bias\":true,\"attention_bias\":true,\"tie_word_embeddings\":true"),
                       RS_E_MISMATCH, "missing (14)|and 2 more");
}

static void test_fused_shape_is_reported_once(void **state) {
    fixture *f = *state;
    gpt_neox(f);
    swap_dims(f, "gpt_neox.layers.0.attention.query_key_value.weight");
    model_case_refused(&f->m, bind(f, "\"model_type\":\"gpt_neox\""), RS_E_MISMATCH,
                       "wrong shape (1)|found [8, 24], expected [24, 8]");
    swap_dims(f, "gpt_neox.layers.0.attention.query_key_value.weight");
    model_case_refused(&f->m, bind(f, "\"model_type\":\"gpt_neox\",\"num_key_value_heads\":2"), RS_E_MISMATCH,
                       "found 2 for 4");
}

/* Integers where weights belong. */
static void test_unusable_type(void **state) {
    fixture *f = *state;
    char path[400], bytes[1 << 16];
    llama(f, "model.");
    assert_int_equal(bind(f, LLAMA ",\"tie_word_embeddings\":true"), RS_OK);
    model_case_close(&f->m);
    snprintf(path, sizeof path, "%s/model.safetensors", f->m.path);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    size_t n = fread(bytes, 1, sizeof bytes - 1, file);
    size_t header = (size_t)(unsigned char)bytes[0] + ((size_t)(unsigned char)bytes[1] << 8);
    assert_true(n > 8 + header);
    bytes[8 + header] = '\0';
    char *type = strstr(strstr(bytes + 8, "\"model.norm.weight\""), "F32");
    assert_non_null(type);
    fseek(file, (long)(type - bytes), SEEK_SET);
    fputc('I', file);
    fclose(file);
    assert_int_equal(rs_arena_create(&f->m.arena, &f->m.error), RS_OK);
    assert_int_equal(rs_checkpoint_open(f->m.path, &f->m.checkpoint, &f->m.error), RS_OK);
    assert_int_equal(rs_graph_create(f->m.checkpoint, NULL, f->m.arena, &f->m.graph, &f->m.error), RS_OK);
    model_case_refused(&f->m, rs_weights_bind(f->m.checkpoint, f->m.graph, f->m.arena, &f->w, &f->m.error),
                       RS_E_MISMATCH, "cannot be read (1)|'model.norm.weight' (final norm)|I32");
}

/* ---- GGUF
 * ---------------------------------------------------------------------------------------------------------------------
 */

static void block(gguf_writer *w, int layer, const char *name, int64_t rows, int64_t cols) {
    char full[96];
    const int64_t dims[2] = {rows, cols};
    snprintf(full, sizeof full, "blk.%d.%s", layer, name);
    gguf_tensor(w, full, cols ? 2 : 1, dims, NULL);
}

static gguf_writer *begin(const char *arch) {
    static const struct {
        const char *key;
        uint32_t value;
    } keys[] = {{"block_count", LAYERS},         {"context_length", 64},      {"embedding_length", D},
                {"feed_forward_length", HIDDEN}, {"attention.head_count", H}, {"attention.head_count_kv", K}};
    static const int64_t embedding[] = {V, D}, norm[] = {D};
    char name[64];
    gguf_writer *w = gguf_begin();
    gguf_string(w, "general.architecture", arch);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        snprintf(name, sizeof name, "%s.%s", arch, keys[i].key);
        gguf_u32(w, name, keys[i].value);
    }
    gguf_tensor(w, "token_embd.weight", 2, embedding, NULL);
    gguf_tensor(w, "output_norm.weight", 1, norm, NULL);
    for (int l = 0; l < LAYERS; l++) {
        block(w, l, "attn_norm.weight", D, 0);
        block(w, l, "ffn_norm.weight", D, 0);
        block(w, l, "attn_output.weight", D, D);
        block(w, l, "ffn_down.weight", D, HIDDEN);
    }
    return w;
}

static void bind_gguf(fixture *f, gguf_writer *w) {
    if (model_case_gguf(&f->m, w, NULL) != RS_OK) fail_msg("%s", f->m.error.message);
    if (rs_weights_bind(f->m.checkpoint, f->m.graph, f->m.arena, &f->w, &f->m.error) != RS_OK)
        fail_msg("%s", f->m.error.message);
}

/* One layer split, the other fused, as newer converters write it. */
static void test_gguf_names(void **state) {
    fixture *f = *state;
    gguf_writer *w = begin("llama");
    block(w, 0, "attn_q.weight", D, D);
    block(w, 0, "attn_k.weight", D / 2, D);
    block(w, 0, "attn_v.weight", D / 2, D);
    block(w, 1, "attn_qkv.weight", 2 * D, D);
    for (int l = 0; l < LAYERS; l++) {
        block(w, l, "ffn_gate.weight", HIDDEN, D);
        block(w, l, "ffn_up.weight", HIDDEN, D);
    }
    bind_gguf(f, w);
    assert_int_equal(rs_weights_get(f->w, 0, RS_W_V)->first_row, 0);
    assert_int_equal(rs_weights_get(f->w, 1, RS_W_V)->first_row, D + D / 2);
    assert_int_equal(rs_weights_get(f->w, 1, RS_W_V)->rows, D / 2);
    assert_true(f->m.graph->tied);
    w = begin("phi3");
    for (int l = 0; l < LAYERS; l++) {
        block(w, l, "attn_qkv.weight", 2 * D, D);
        block(w, l, "ffn_up.weight", 2 * HIDDEN, D);
    }
    bind_gguf(f, w);
    assert_int_equal(rs_weights_get(f->w, 0, RS_W_GATE)->first_row, 0);
    assert_int_equal(rs_weights_get(f->w, 0, RS_W_UP)->first_row, HIDDEN);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(test_llama),
        CASE(test_tied),
        CASE(test_prefixes),
        CASE(test_harmless_buffers),
        CASE(test_phi3_blocks),
        CASE(test_gpt_neox_heads),
        CASE(test_everything_is_reported_together),
        CASE(test_many_problems),
        CASE(test_fused_shape_is_reported_once),
        CASE(test_unusable_type),
        CASE(test_gguf_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
