/* tests/unit/test_checkpoint.c: Hugging Face folders, llama2.c files, what is refused by name, and reading.
 * The formats themselves: test_safetensors.c, test_gguf.c. Damaged files: test_checkpoint_damage.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/container_files.h"

#include "analyzer/base/alloc.h"
#include "analyzer/base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static rs_error err;

static rs_checkpoint *open_path(const char *path) {
    rs_checkpoint *c = NULL;
    rs_status st = rs_checkpoint_open(path, &c, &err);
    if (st != RS_OK) print_error("%s\n", err.message);
    assert_int_equal(st, RS_OK);
    check_sound(c);
    return c;
}

static void write_safetensors(const char *name, const char *header, size_t data) {
    rs_text b = {0};
    put_safetensors(&b, header, data);
    files_write(name, b.data, b.bytes);
    rs_text_deinit(&b);
}

#define ONE_TENSOR(name) "{\"" name "\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}"

/* ---- Folders ---- */

static void test_folder(void **state) {
    (void)state;
    char hex[65];
    const char *folder = files_folder("whole");
    files_write_text("whole/config.json", "{\"model_type\":\"llama\",\"quantization_config\":null}");
    write_safetensors("whole/model.safetensors", small_safetensors_header, 40);
    files_write_text("whole/model.safetensors.index.json",
                     "{\"weight_map\":{\"x\":\"model-00001-of-00002.safetensors\"}}");
    rs_checkpoint *c = open_path(folder); /* the single file comes before an index, as in transformers */
    assert_string_equal(rs_checkpoint_path(c), folder);
    assert_string_equal(rs_json_string(rs_json_get(rs_checkpoint_metadata(c), "model_type"), NULL), "llama");
    assert_int_equal(rs_checkpoint_file_count(c), 2);
    assert_string_equal(rs_path_base(rs_checkpoint_file_path(c, 0)), "config.json");
    assert_string_equal(rs_path_base(rs_checkpoint_file_path(c, (size_t)rs_checkpoint_find(c, "a")->file)),
                        "model.safetensors");
    assert_null(rs_checkpoint_file_path(c, 2));
    assert_int_equal(rs_checkpoint_file_size(c, 2), 0);
    assert_int_equal(rs_checkpoint_file_sha256(c, 2, hex, &err), RS_E_INTERNAL);
    rs_checkpoint_close(c);
    files_write_text("whole/config.json", "{}");
    c = open_path(folder);
    assert_int_equal(rs_checkpoint_file_sha256(c, 0, hex, &err), RS_OK);
    assert_string_equal(hex,
                        "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"); /* sha256sum of "{}" */
    assert_int_equal(rs_checkpoint_file_size(c, 0), 2);
    rs_checkpoint_close(c);
    rs_checkpoint_close(NULL);
}

static void test_config_refused(void **state) {
    (void)state;
    static const struct {
        const char *config;
        rs_status st;
        const char *fragment;
    } rows[] = {
        {"[]", RS_E_FORMAT, "is array; an object is expected"},
        {"{\"a\":}", RS_E_FORMAT, "line 1"},
        {"{\"a\":1,\"a\":2}", RS_E_FORMAT, "line 1"},
        {"", RS_E_FORMAT, "line 1"},
        {"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", RS_E_FORMAT, "Git LFS pointer"},
        {"{\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":4}}", RS_E_UNSUPPORTED, "quantised (gptq)"},
        {"{\"quantization_config\":{\"load_in_4bit\":true}}", RS_E_UNSUPPORTED, "quantization_config"},
        {"{\"text_config\":{\"quantization_config\":{\"quant_method\":\"fp8\"}}}", RS_E_UNSUPPORTED, "quantised (fp8)"},
    };
    const char *folder = files_folder("config");
    write_safetensors("config/model.safetensors", small_safetensors_header, 40);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        files_write_text("config/config.json", rows[i].config);
        check_refused(folder, rows[i].st, "config/config.json", rows[i].fragment);
    }
}

/* A folder with these files (each a line of text) and no model.safetensors. */
static void test_other_folders(void **state) {
    (void)state;
    static const struct {
        const char *files[3];
        rs_status st;
        const char *fragment;
    } rows[] = {
        {{NULL}, RS_E_FORMAT, "holds no model"},
        {{"config.json", "tokenizer.json"}, RS_E_FORMAT, "holds no model"},
        {{"config.json", "pytorch_model.bin"}, RS_E_UNSUPPORTED, "pytorch_model.bin is a Python pickle"},
        {{"pytorch_model-00002-of-00002.bin", "pytorch_model-00001-of-00002.bin"},
         RS_E_UNSUPPORTED,
         "pytorch_model-00001-of-00002.bin is a Python pickle"},
        {{"consolidated.safetensors", "params.json"},
         RS_E_UNSUPPORTED,
         "consolidated.safetensors is in Mistral's own format"},
        {{"consolidated-00001-of-00002.safetensors", "params.json"}, RS_E_UNSUPPORTED, "Mistral's own format"},
        {{"consolidated.00.pth", "params.json"}, RS_E_UNSUPPORTED, "consolidated.00.pth is a Python pickle"},
        {{"config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"},
         RS_E_UNSUPPORTED,
         "model-00001-of-00002.safetensors is not named"},
        {{"weights.safetensors"}, RS_E_UNSUPPORTED, "weights.safetensors is not named model.safetensors"},
        {{"model.Q4_K_M.gguf"}, RS_E_UNSUPPORTED, "model.Q4_K_M.gguf is a GGUF file"},
        {{"adapter_config.json", "adapter_model.safetensors"}, RS_E_UNSUPPORTED, "PEFT adapter"},
        {{"adapter_config.json", "model.safetensors", "config.json"}, RS_E_UNSUPPORTED, "PEFT adapter"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char folder[32], file[128];
        snprintf(folder, sizeof folder, "other%zu", i);
        const char *path = files_folder(folder);
        for (int k = 0; k < 3 && rows[i].files[k]; k++) {
            snprintf(file, sizeof file, "%s/%s", folder, rows[i].files[k]);
            files_write_text(file, "{}\n");
        }
        check_refused(path, rows[i].st, folder, rows[i].fragment);
    }
}

/* ---- Shards ---- */

static const char shard1[] = "model-00001-of-00002.safetensors", shard2[] = "model-00002-of-00002.safetensors";

static void write_index(const char *weight_map) {
    rs_text b = {0};
    rs_text_printf(&b, "{\"metadata\":{\"total_size\":16},\"weight_map\":%s}", weight_map);
    files_write_text("shards/model.safetensors.index.json", b.data);
    rs_text_deinit(&b);
}

static void test_shards(void **state) {
    (void)state;
    const char *folder = files_folder("shards");
    float bytes[2];
    write_safetensors("shards/model-00001-of-00002.safetensors", ONE_TENSOR("a"), 8);
    write_safetensors("shards/model-00002-of-00002.safetensors", ONE_TENSOR("b"), 8);
    write_index("{\"b\":\"model-00002-of-00002.safetensors\",\"a\":\"model-00001-of-00002.safetensors\"}");
    rs_checkpoint *c = open_path(folder);
    assert_int_equal(rs_checkpoint_tensor_count(c), 2);
    assert_string_equal(rs_path_base(rs_checkpoint_file_path(c, (size_t)rs_checkpoint_find(c, "a")->file)), shard1);
    assert_string_equal(rs_path_base(rs_checkpoint_file_path(c, (size_t)rs_checkpoint_find(c, "b")->file)), shard2);
    assert_int_equal(rs_checkpoint_read(c, rs_checkpoint_find(c, "b"), 0, bytes, 8, &err), RS_OK);
    rs_checkpoint_close(c);
}

static void test_shards_refused(void **state) {
    (void)state;
    static const struct {
        const char *map, *fragment;
    } rows[] = {
        {"{\"a\":\"model-00001-of-00002.safetensors\",\"b\":\"model-00003-of-00009.safetensors\",\"c\":\"model-00004-"
         "of-00009.safetensors\"}",
         "missing: model-00003-of-00009.safetensors, model-00004-of-00009.safetensors"},
        {"{\"a\":\"model-00001-of-00002.safetensors\",\"x\":\"model-00001-of-00002.safetensors\"}",
         "tensor 'x' should stand in model-00001-of-00002.safetensors, but it stands in none"},
        {"{\"b\":\"model-00001-of-00002.safetensors\",\"a\":\"model-00002-of-00002.safetensors\"}",
         "should stand in model-00001-of-00002.safetensors, but it stands in model-00002"},
        {"{\"a\":\"../shards/model-00001-of-00002.safetensors\"}", "no plain name"},
        {"{\"a\":\"/etc/model-00001-of-00002.safetensors\"}", "no plain name"},
        {"{\"a\":\"sub/model-00001-of-00002.safetensors\"}", "no plain name"},
        {"{\"a\":\"..safetensors\"}", "no plain name"},
        {"{\"a\":\"model-00001-of-00002.safetensors\\u0000\"}", "no plain name"},
        {"{\"a\":\"pytorch_model-00001-of-00002.bin\"}", "no plain name"},
        {"{\"a\":\"\"}", "no plain name"},
        {"{\"a\":1}", "'a' is integer"},
        {"{}", "weight_map is empty"},
        {"[]", "weight_map is"},
        {"null", "weight_map is"},
        {"{\"a\":\"model-00001-of-00002.safetensors\",\"a\":\"model-00002-of-00002.safetensors\"}", "line 1"},
    };
    const char *folder = files_folder("shards");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        write_index(rows[i].map);
        check_refused(folder, RS_E_FORMAT, "shards/model.safetensors.index.json", rows[i].fragment);
    }
    files_write_text("shards/model.safetensors.index.json", "{\"metadata\":{}}");
    check_refused(folder, RS_E_FORMAT, "model.safetensors.index.json", "weight_map is absent");
    write_index("{\"a\":\"model-00001-of-00002.safetensors\",\"b\":\"model-00002-of-00002.safetensors\"}");
    write_safetensors("shards/model-00002-of-00002.safetensors", ONE_TENSOR("a"), 8);
    check_refused(folder, RS_E_FORMAT, shard1, "tensor 'a' stands in");
    files_write_text("shards/model-00002-of-00002.safetensors",
                     "version https://git-lfs.github.com/spec/v1\noid sha256:1\n");
    check_refused(folder, RS_E_FORMAT, shard2, "Git LFS pointer");
    files_write_text("shards/model.safetensors.index.json",
                     "version https://git-lfs.github.com/spec/v1\noid sha256:1\n");
    check_refused(folder, RS_E_FORMAT, "model.safetensors.index.json", "Git LFS pointer");
}

/* ---- llama2.c: where each tensor of the small file begins, in floats, added up by hand from run.c's
 * memory_map_weights ---- */

static void test_llama2c(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int64_t rows, cols; /* rows 0: a vector */
        float first;
    } rows[] = {
        {"model.embed_tokens.weight", 5, 8, 0},
        {"model.layers.0.input_layernorm.weight", 0, 8, 40},
        {"model.layers.1.input_layernorm.weight", 0, 8, 48},
        {"model.layers.0.self_attn.q_proj.weight", 8, 8, 56},
        {"model.layers.1.self_attn.q_proj.weight", 8, 8, 120},
        {"model.layers.0.self_attn.k_proj.weight", 4, 8, 184},
        {"model.layers.1.self_attn.k_proj.weight", 4, 8, 216},
        {"model.layers.0.self_attn.v_proj.weight", 4, 8, 248},
        {"model.layers.1.self_attn.v_proj.weight", 4, 8, 280},
        {"model.layers.0.self_attn.o_proj.weight", 8, 8, 312},
        {"model.layers.1.self_attn.o_proj.weight", 8, 8, 376},
        {"model.layers.0.post_attention_layernorm.weight", 0, 8, 440},
        {"model.layers.1.post_attention_layernorm.weight", 0, 8, 448},
        {"model.layers.0.mlp.gate_proj.weight", 6, 8, 456},
        {"model.layers.1.mlp.gate_proj.weight", 6, 8, 504},
        {"model.layers.0.mlp.down_proj.weight", 8, 6, 552},
        {"model.layers.1.mlp.down_proj.weight", 8, 6, 600},
        {"model.layers.0.mlp.up_proj.weight", 6, 8, 648},
        {"model.layers.1.mlp.up_proj.weight", 6, 8, 696},
        {"model.norm.weight", 0, 8, 744},
        {"lm_head.weight", 5, 8, 758}, /* behind 3 x 1 cosines and 3 x 1 sines */
    };
    for (int separate = 0; separate < 2; separate++) {
        rs_text b = {0};
        size_t n = sizeof rows / sizeof rows[0] - (separate ? 0 : 1);
        put_llama2c(&b, separate);
        rs_checkpoint *c = open_path(files_write("small.bin", b.data, b.bytes));
        assert_int_equal(rs_checkpoint_container(c), RS_CONTAINER_LLAMA2C);
        assert_string_equal(rs_checkpoint_container_name(c), "llama2.c v0");
        assert_int_equal(rs_checkpoint_tensor_count(c), n);
        assert_int_equal(rs_json_bool(rs_json_get(rs_checkpoint_metadata(c), "shared_classifier"), separate),
                         !separate);
        assert_int_equal(rs_json_int(rs_json_get(rs_checkpoint_metadata(c), "vocab_size"), 0), 5);
        assert_int_equal(rs_json_int(rs_json_get(rs_checkpoint_metadata(c), "n_kv_heads"), 0), 2);
        for (size_t i = 0; i < n; i++) {
            float v = -1;
            const rs_tensor *t = rs_checkpoint_find(c, rows[i].name);
            assert_non_null(t);
            assert_int_equal(rs_checkpoint_read(c, t, 0, &v, 4, &err), RS_OK);
            assert_true(memcmp(&v, &rows[i].first, sizeof v) == 0);
            assert_int_equal(t->n_dims, rows[i].rows ? 2 : 1);
            assert_int_equal(t->dims[0], rows[i].rows ? rows[i].rows : rows[i].cols);
            if (rows[i].rows) assert_int_equal(t->dims[1], rows[i].cols);
        }
        rs_checkpoint_close(c);
        rs_text_deinit(&b);
    }
}

static void test_llama2c_refused(void **state) {
    (void)state;
    rs_text b = {0};
    char copy[4096];
    put_llama2c(&b, false);
    size_t n = b.bytes;
    assert_true(n + 1 < sizeof copy);
    memset(copy, 0, sizeof copy);
    memcpy(copy, b.data, n);
    check_refused(files_write("bad.bin", copy, n - 1), RS_E_FORMAT, "bad.bin",
                  "would have 3060 bytes by its header, not 3059");
    check_refused(files_write("bad.bin", copy, n + 1), RS_E_FORMAT, "bad.bin",
                  "would have 3060 bytes by its header, not 3061");
    /* A value of the header, and what makes it impossible. */
    static const struct {
        int at;
        unsigned char value[4];
    } rows[] = {
        {0, {9, 0, 0, 0}},             /* dim not divisible by heads */
        {0, {4, 0, 0, 0}},             /* heads of one component */
        {1, {0xff, 0xff, 0xff, 0xff}}, /* hidden_dim -1 */
        {2, {0, 0, 0, 0}},             /* no layers */
        {3, {0, 0, 0, 0}},             /* no heads: a division by zero waits */
        {4, {3, 0, 0, 0}},             /* 4 heads over 3 */
        {4, {0, 0, 0, 0}},             /* no key heads */
        {5, {0, 0, 0, 0}},             /* no vocabulary */
        {6, {0, 0, 0, 0x80}},          /* seq_len INT32_MIN */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        memcpy(copy, b.data, n);
        memcpy(copy + 4 * rows[i].at, rows[i].value, 4);
        check_refused(files_write("bad.bin", copy, n), RS_E_FORMAT, "bad.bin", "is no checkpoint we know");
    }
    memset(copy, 0xff, 28);
    for (int i = 0; i < 7; i++) copy[4 * i + 3] = 0x7f; /* INT32_MAX everywhere: sizes beyond 64 bits */
    check_refused(files_write("bad.bin", copy, n), RS_E_FORMAT, "bad.bin", "is no checkpoint we know");
    for (int version = 1; version <= 2; version++) {
        memset(copy, 0, 256);
        memcpy(copy, "24ka", 4);
        copy[4] = (char)version;
        check_refused(files_write("bad.bin", copy, 256), RS_E_UNSUPPORTED, "bad.bin",
                      version == 1 ? "llama2.c file of version 1" : "llama2.c file of version 2");
    }
    rs_text_deinit(&b);
}

/* ---- Single files of other kinds ---- */

static void test_other_files(void **state) {
    (void)state;
    static const char zip[] = "PK\003\004 and the rest of a zip archive";
    static const char pickle[] = "\200\002\212\012l\374\234F\371 j\250P\031.";
    static const char ggjt[] = "tjgg\003\000\000\000 and the rest of an old file";
    rs_text b = {0};
    put_safetensors(&b, small_safetensors_header, 40);
    check_refused(files_write("x.safetensors", b.data, b.bytes), RS_E_UNSUPPORTED, "x.safetensors", "give the folder");
    check_refused(files_write("x.pt", zip, sizeof zip), RS_E_UNSUPPORTED, "x.pt", "zip archive");
    check_refused(files_write("x.bin", pickle, sizeof pickle), RS_E_UNSUPPORTED, "x.bin", "Python pickle");
    check_refused(files_write("x.bin", ggjt, sizeof ggjt), RS_E_UNSUPPORTED, "x.bin", "before GGUF");
    check_refused(files_write_text("x.gguf", "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1\n"),
                  RS_E_FORMAT, "x.gguf", "Git LFS pointer");
    check_refused(files_write("x.bin", "", 0), RS_E_FORMAT, "x.bin", "is no checkpoint we know");
    check_refused(files_write_text("x.txt", "Call me Ishmael. Some years ago, never mind how long"), RS_E_FORMAT,
                  "x.txt", "is no checkpoint");
    check_refused(files_write("x.gguf", "GGUF", 4), RS_E_FORMAT, "x.gguf", "expected at byte 4");
    check_refused(files_path("absent.gguf"), RS_E_IO, "absent.gguf", "cannot be opened");
    check_refused("/dev/null", RS_E_IO, "/dev/null", "not a regular file");
    rs_text_deinit(&b);
}

/* ---- Reading ---- */

static void test_read(void **state) {
    (void)state;
    rs_text b = {0};
    unsigned char bytes[24] = {0};
    put_small_gguf(&b);
    const char *path = files_write("read.gguf", b.data, b.bytes);
    rs_checkpoint *c = open_path(path);
    const rs_tensor *t = rs_checkpoint_find(c, "plain.weight");
    static const int64_t outside[][2] = {{-1, 1},        {0, -1},        {0, 25},
                                         {24, 1},        {25, 0},        {INT64_MAX, 1},
                                         {1, INT64_MAX}, {INT64_MIN, 1}, {INT64_MAX, INT64_MAX}};
    for (size_t i = 0; i < sizeof outside / sizeof outside[0]; i++)
        assert_int_equal(rs_checkpoint_read(c, t, outside[i][0], bytes, outside[i][1], &err), RS_E_INTERNAL);
    assert_non_null(strstr(err.message, "plain.weight"));
    assert_int_equal(rs_checkpoint_read(c, t, 24, bytes, 0, &err), RS_OK);
    assert_int_equal(rs_checkpoint_read(c, t, 5, bytes, 19, &err), RS_OK);
    for (int i = 0; i < 19; i++) assert_int_equal(bytes[i], (7 * (5 + i) + 3) % 256);
    assert_int_equal(truncate(path, (off_t)t->offset + 10), 0); /* someone else's download starts again */
    assert_int_equal(rs_checkpoint_read(c, t, 0, bytes, 24, &err), RS_E_IO);
    assert_non_null(strstr(err.message, "plain.weight"));
    assert_non_null(strstr(err.message, "read.gguf"));
    rs_checkpoint_close(c);
    rs_text_deinit(&b);
}

/* ---- Files of others ---- */

/* What transformers' save_pretrained wrote, and what the script that called it asked for:
 * tests/golden/make_family_models.py. */
static void test_saved_by_transformers(void **state) {
    (void)state;
    char path[1024];
    const char *source = getenv("RS_SOURCE_DIR");
    snprintf(path, sizeof path, "%s/tests/golden/families/llama_bf16_sharded", source ? source : ".");
    if (!rs_path_is_folder(path)) skip();
    rs_checkpoint *c = open_path(path);
    const rs_json *config = rs_checkpoint_metadata(c);
    int64_t width = rs_json_int(rs_json_get(config, "hidden_size"), 0),
            head = rs_json_int(rs_json_get(config, "head_dim"), 0);
    assert_string_equal(rs_json_string(rs_json_get(config, "model_type"), NULL), "llama");
    assert_int_equal(rs_checkpoint_tensor_count(c), 3 + 9 * rs_json_int(rs_json_get(config, "num_hidden_layers"), 0));
    assert_true(rs_checkpoint_file_count(c) >= 3); /* config.json and two shards at least */
    const rs_tensor *k = rs_checkpoint_find(c, "model.layers.1.self_attn.k_proj.weight");
    const rs_tensor *d = rs_checkpoint_find(c, "model.layers.0.mlp.down_proj.weight");
    assert_true(k && k->dtype == RS_BF16 && k->usable && k->n_dims == 2 && k->dims[1] == width);
    assert_int_equal(k->dims[0], rs_json_int(rs_json_get(config, "num_key_value_heads"), 0) * head);
    assert_true(d && d->dims[0] == width && d->dims[1] == rs_json_int(rs_json_get(config, "intermediate_size"), 0));
    rs_checkpoint_close(c);
}

static float value_at(rs_checkpoint *c, const char *name, int64_t i) {
    float v = 0;
    const rs_tensor *t = rs_checkpoint_find(c, name);
    assert_non_null(t);
    assert_int_equal(rs_checkpoint_read(c, t, 4 * i, &v, 4, &err), RS_OK);
    return v;
}

/* Values as numpy.fromfile reads them. The file ends where the rotation's cosines and sines end, and numpy finds
 * cos(1), cos(0.1) ... right behind what we call model.norm.weight, so the lengths of all pieces before it are right.
 */
static void test_stories(void **state) {
    (void)state;
    char path[1024], hex[65];
    const char *folder = getenv("ROPESCOPE_TEST_DATA");
    if (!folder) skip();
    snprintf(path, sizeof path, "%s/stories260K/stories260K-q8.bin", folder);
    check_refused(path, RS_E_UNSUPPORTED, "stories260K-q8.bin", "llama2.c file of version 2");
    snprintf(path, sizeof path, "%s/stories260K/stories260K.bin", folder);
    rs_checkpoint *c = open_path(path);
    static const struct {
        const char *key;
        int64_t value;
    } header[] = {{"dim", 64},       {"hidden_dim", 172}, {"n_layers", 5},  {"n_heads", 8},
                  {"n_kv_heads", 4}, {"vocab_size", 512}, {"seq_len", 512}, {"shared_classifier", 0}};
    for (int i = 0; i < 7; i++)
        assert_int_equal(rs_json_int(rs_json_get(rs_checkpoint_metadata(c), header[i].key), 0), header[i].value);
    assert_true(rs_json_bool(rs_json_get(rs_checkpoint_metadata(c), "shared_classifier"), false));
    assert_int_equal(rs_checkpoint_tensor_count(c), 2 + 9 * 5);
    static const struct {
        const char *name;
        int64_t at;
        double value;
    } values[] = {
        {"model.embed_tokens.weight", 1, 0.5618956089019775},
        {"model.layers.4.self_attn.k_proj.weight", 1, 0.03121275268495083},
        {"model.layers.2.mlp.down_proj.weight", 0, -0.004114390816539526},
        {"model.norm.weight", 0, 2.4583089351654053},
    };
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        float v = value_at(c, values[i].name, values[i].at), expected = (float)values[i].value;
        assert_memory_equal(&v, &expected, sizeof v);
    }
    assert_int_equal(rs_checkpoint_file_sha256(c, 0, hex, &err), RS_OK);
    assert_true(rs_starts_with(hex, "b0a507e7"));
    rs_checkpoint_close(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_folder),
        cmocka_unit_test(test_config_refused),
        cmocka_unit_test(test_other_folders),
        cmocka_unit_test(test_shards),
        cmocka_unit_test(test_shards_refused),
        cmocka_unit_test(test_llama2c),
        cmocka_unit_test(test_llama2c_refused),
        cmocka_unit_test(test_other_files),
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_saved_by_transformers),
        cmocka_unit_test(test_stories),
    };
    return cmocka_run_group_tests(tests, files_group_begin, files_group_end);
}
