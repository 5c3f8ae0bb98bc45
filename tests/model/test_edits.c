/* Edits of the forward pass: against transformers with its attention changed by hand
 * (tests/golden/make_family_models.py: EDITS), against a checkpoint whose weights were changed instead, and against
 * what must not change. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/golden.h"
#include "tests/support/test_device.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TAIL = 4, ALL = -1 }; /* last positions whose logits expected.bin holds */

static const int head0[] = {0}, head1[] = {1}, heads01[] = {0, 1}, pair0[] = {0}, pair1[] = {1}, pairs02[] = {0, 2};

typedef struct named_edit {
    const char *name;
    rs_edit edit;
} named_edit;

static const named_edit edits[] = {
    {"edit/unrotate_all", {.kind = RS_EDIT_THETA, .layer = ALL, .value = 0}},
    {"edit/unrotate_one_head", {.kind = RS_EDIT_THETA, .layer = 0, .heads = head1, .n_heads = 1, .value = 0}},
    {"edit/zero_pair_of_queries",
     {.kind = RS_EDIT_SCALE, .layer = 1, .pairs = pair1, .n_pairs = 1, .value = 0, .of = RS_EDIT_Q}},
    {"edit/zero_pair_of_one_heads_key",
     {.kind = RS_EDIT_SCALE,
      .layer = 0,
      .heads = head0,
      .n_heads = 1,
      .pairs = pairs02,
      .n_pairs = 2,
      .value = 0,
      .of = RS_EDIT_K}},
    {"edit/scale_pair",
     {.kind = RS_EDIT_SCALE,
      .layer = ALL,
      .heads = heads01,
      .n_heads = 2,
      .pairs = pair0,
      .n_pairs = 1,
      .value = 0.5,
      .of = RS_EDIT_Q | RS_EDIT_K}},
    {"edit/other_theta",
     {.kind = RS_EDIT_THETA, .layer = 0, .heads = head1, .n_heads = 1, .pairs = pair0, .n_pairs = 1, .value = 0.123}},
};

static void open_family(const char *name, rs_golden *g) {
    char folder[1024];
    rs_golden_path("families", name, folder);
    rs_golden_open(folder, g);
}

static void execute(rs_golden *g, const rs_edit *e, int n, rs_golden_output *out) {
    rs_golden_run how = {.edits = e, .n_edits = n};
    rs_golden_execute(g, &how, out);
}

static double tail_error(const rs_golden_output *got, const rs_golden_array *want) {
    double worst = 0;
    int64_t n = TAIL * got->vocab;
    double *wide = calloc((size_t)n, sizeof *wide);
    assert_non_null(wide);
    for (int64_t s = 0; s < got->sequences; s++) {
        const float *rows = got->logits + ((s + 1) * got->positions - TAIL) * got->vocab;
        for (int64_t i = 0; i < n; i++) {
            wide[i] = (double)rows[i];
        }
        double e = rs_golden_error_f64(wide, want->v + s * n, n);
        worst = e > worst ? e : worst;
    }
    free(wide);
    return worst;
}

/* 1e-5: as in test_parity.c. Each of these edits moves the logits by 4e-2 at least. */
static void edits_do_what_changed_attention_does_in_transformers(void **state) {
    const char *const *names = rs_golden_names("families");
    (void)state;
    for (int i = 0; names[i]; i++) {
        double worst = 0;
        rs_golden g;
        open_family(names[i], &g);
        for (size_t j = 0; j < sizeof edits / sizeof *edits; j++) {
            rs_golden_array want;
            rs_golden_output got;
            assert_true(rs_golden_find(&g, edits[j].name, &want));
            execute(&g, &edits[j].edit, 1, &got);
            double e = tail_error(&got, &want);
            if (!(e < 1e-5)) {
                fail_msg("%s: %s: logits differ by %.3g", names[i], edits[j].name, e);
            }
            worst = e > worst ? e : worst;
            rs_golden_output_free(&got);
            rs_golden_array_free(&want);
        }
        print_message("%-30s %.1e\n", names[i], worst);
        rs_golden_close(&g);
    }
}

/* --- a checkpoint with zeroed weights
 * --------------------------------------------------------------------------------------- */

static void copy_file(const char *from_folder, const char *to_folder, const char *name) {
    char from[2048], to[2048], block[4096];
    size_t n;
    snprintf(from, sizeof from, "%s/%s", from_folder, name);
    snprintf(to, sizeof to, "%s/%s", to_folder, name);
    FILE *a = fopen(from, "rb"), *b = fopen(to, "wb");
    assert_true(a && b);
    while ((n = fread(block, 1, sizeof block, a)) > 0) {
        assert_int_equal(fwrite(block, 1, n, b), n);
    }
    fclose(a);
    assert_int_equal(fclose(b), 0);
}

/* Zeroes rows of a float32 matrix of model.safetensors in `folder`; where it lies is read from the open original. */
static void zero_row(const rs_golden *g, const char *folder, const char *tensor, int64_t row) {
    char path[2048];
    const rs_tensor *t = rs_checkpoint_find(g->checkpoint, tensor);
    assert_non_null(t);
    assert_int_equal(t->dtype, RS_F32);
    assert_true(row < t->dims[0]);
    size_t bytes = (size_t)t->dims[1] * sizeof(float);
    char *zeros = calloc(bytes, 1);
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, zeros, bytes, (off_t)(t->offset + (uint64_t)row * bytes)), (ssize_t)bytes);
    close(fd);
    free(zeros);
}

static void remove_copy(const char *folder) {
    static const char *const names[] = {"config.json", "ids.txt", "model.safetensors"};
    char path[2048];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
}

static void make_copy(const rs_golden *g, char folder[64]) {
    strcpy(folder, "/tmp/rs_edits_XXXXXX");
    assert_non_null(mkdtemp(folder));
    copy_file(g->folder, folder, "config.json");
    copy_file(g->folder, folder, "ids.txt");
    copy_file(g->folder, folder, "model.safetensors");
}

/* Zeros in the weights and zeros in the rotation give the same zeros in q; what follows is the same arithmetic. */
static void zeroing_a_pair_equals_zeroed_query_weights(void **state) {
    static const int heads[] = {0, 2}, pairs[] = {3, 5};
    const rs_edit e = {.kind = RS_EDIT_SCALE,
                       .layer = 1,
                       .heads = heads,
                       .n_heads = 2,
                       .pairs = pairs,
                       .n_pairs = 2,
                       .value = 0,
                       .of = RS_EDIT_Q};
    char folder[64];
    rs_golden g, changed;
    rs_golden_output edited, zeroed, plain;
    (void)state;
    open_family("llama_odd_sizes", &g);
    make_copy(&g, folder);
    for (int h = 0; h < 2; h++) {
        for (int p = 0; p < 2; p++) {
            const rs_rope *r = &g.graph->layers[1].rope;
            zero_row(&g, folder, "model.layers.1.self_attn.q_proj.weight",
                     (int64_t)heads[h] * r->head_dim + r->lo_hf[pairs[p]]);
            zero_row(&g, folder, "model.layers.1.self_attn.q_proj.weight",
                     (int64_t)heads[h] * r->head_dim + r->hi_hf[pairs[p]]);
        }
    }
    rs_golden_open(folder, &changed);
    execute(&g, &e, 1, &edited);
    execute(&g, NULL, 0, &plain);
    execute(&changed, NULL, 0, &zeroed);
    int64_t n = edited.sequences * edited.positions * edited.vocab;
    assert_true(rs_golden_error_f32(edited.logits, zeroed.logits, n) < 1e-6);
    assert_true(rs_golden_error_f32(edited.logits, plain.logits, n) > 1e-3);
    rs_golden_output_free(&edited);
    rs_golden_output_free(&plain);
    rs_golden_output_free(&zeroed);
    rs_golden_close(&changed);
    rs_golden_close(&g);
    remove_copy(folder);
}

/* theta = 0 on the layers that rotate makes a model without RoPE: the same as a configuration that asks for none. */
static void unrotating_every_pair_equals_a_configuration_without_rope(void **state) {
    const rs_edit e = {.kind = RS_EDIT_THETA, .layer = ALL, .value = 0};
    static const char find[] = "\"no_rope_layers\": [\n  1,\n  0,\n  1\n ]",
                      put[] = "\"no_rope_layers\": [\n  0,\n  0,\n  0\n ]";
    char folder[64], path[128], text[8192];
    rs_golden g, nope;
    rs_golden_output edited, without;
    (void)state;
    open_family("smollm3_nope_layers", &g);
    make_copy(&g, folder);
    snprintf(path, sizeof path, "%s/config.json", folder);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    char *at = strstr(text, find);
    assert_non_null(at);
    memcpy(at, put, sizeof put - 1);
    rewind(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    rs_golden_open(folder, &nope);
    execute(&g, &e, 1, &edited);
    execute(&nope, NULL, 0, &without);
    assert_true(rs_golden_error_f32(edited.logits, without.logits, edited.sequences * edited.positions * edited.vocab) <
                1e-6);
    rs_golden_output_free(&edited);
    rs_golden_output_free(&without);
    rs_golden_close(&nope);
    rs_golden_close(&g);
    remove_copy(folder);
}

/* --- what an edit must leave alone
 * ------------------------------------------------------------------------------------------ */

/* Heads 0 and 1 share a key; z of a head depends on no other head, so unchanged heads agree to the last bit. */
static void an_edit_of_one_query_head_leaves_its_group_alone(void **state) {
    const rs_edit e = {.kind = RS_EDIT_THETA, .layer = 0, .heads = head1, .n_heads = 1, .value = 0};
    rs_golden g;
    rs_golden_output plain, edited;
    (void)state;
    open_family("llama_gqa", &g);
    execute(&g, NULL, 0, &plain);
    execute(&g, &e, 1, &edited);
    int64_t heads = g.graph->layers[0].heads, width = g.graph->layers[0].v_dim, changed = 0;
    for (int64_t row = 0; row < plain.sequences * plain.positions; row++) {
        for (int64_t h = 0; h < heads; h++) {
            const float *a = plain.z + row * plain.z_width + h * width, *b = edited.z + row * plain.z_width + h * width;
            bool same = memcmp(a, b, sizeof *a * (size_t)width) == 0;
            assert_true(same || h == 1);
            changed += !same;
        }
    }
    assert_true(changed > plain.sequences * (plain.positions - 2)); /* row 0 sees one key: nothing can change there */
    rs_golden_output_free(&plain);
    rs_golden_output_free(&edited);
    rs_golden_close(&g);
}

/* RoPE is relative. cos and sin are rounded once, from float64 angles, so a shift moves every rotated component by half
 * an ulp at most: some 1e-7 of a score, a few 1e-6 of a logit. */
static void shifting_all_positions_changes_nothing(void **state) {
    static const char *const models[] = {"llama_gqa", "llama_llama3", "gemma3_text", "phi3_partial_quarter",
                                         "gpt_neox_parallel"};
    const rs_edit far = {.kind = RS_EDIT_SHIFT, .layer = ALL, .value = 1234.5};
    (void)state;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        rs_golden g;
        rs_golden_output plain, shifted;
        open_family(models[i], &g);
        execute(&g, NULL, 0, &plain);
        execute(&g, &far, 1, &shifted);
        double e = rs_golden_error_f32(shifted.logits, plain.logits, plain.sequences * plain.positions * plain.vocab);
        if (!(e < 1e-5)) {
            fail_msg("%s: a shift of all positions moves the logits by %.3g", models[i], e);
        }
        assert_true(e > 0); /* the edit reached the tables */
        rs_golden_output_free(&plain);
        rs_golden_output_free(&shifted);
        rs_golden_close(&g);
    }
}

static void edits_that_cannot_do_anything_are_refused(void **state) {
    static const int head9[] = {9}, pair99[] = {99}, negative[] = {-1};
    const rs_edit refused[] = {
        {.kind = RS_EDIT_SCALE, .layer = 0, .heads = head9, .n_heads = 1, .value = 0, .of = RS_EDIT_Q},
        {.kind = RS_EDIT_SCALE, .layer = 0, .heads = negative, .n_heads = 1, .value = 0, .of = RS_EDIT_Q},
        {.kind = RS_EDIT_SCALE, .layer = 0, .pairs = pair99, .n_pairs = 1, .value = 0, .of = RS_EDIT_Q},
        {.kind = RS_EDIT_THETA, .layer = 0, .pairs = negative, .n_pairs = 1, .value = 0},
        {.kind = RS_EDIT_THETA, .layer = 3, .value = 0},                  /* layers 0 to 2 */
        {.kind = RS_EDIT_THETA, .layer = 1, .value = 0},                  /* a NoPE layer is not rotated already */
        {.kind = RS_EDIT_SCALE, .layer = 0, .value = 1, .of = RS_EDIT_Q}, /* times 1 */
        {.kind = RS_EDIT_SCALE, .layer = 0, .value = 0, .of = 0},         /* of neither */
        {.kind = RS_EDIT_SHIFT, .layer = ALL, .value = 0},
    };
    rs_golden g;
    (void)state;
    open_family("smollm3_nope_layers", &g);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        rs_error err = {0};
        if (rs_golden_refused(&g, &refused[i], &err) != RS_E_USAGE || strlen(err.message) < 10) {
            fail_msg("edit %zu was not refused as it should: '%s'", i, err.message);
        }
    }
    rs_golden_close(&g);
}

int main(void) {
    rs_test_device_or_skip();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(edits_do_what_changed_attention_does_in_transformers),
        cmocka_unit_test(zeroing_a_pair_equals_zeroed_query_weights),
        cmocka_unit_test(unrotating_every_pair_equals_a_configuration_without_rope),
        cmocka_unit_test(an_edit_of_one_query_head_leaves_its_group_alone),
        cmocka_unit_test(shifting_all_positions_changes_nothing),
        cmocka_unit_test(edits_that_cannot_do_anything_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
