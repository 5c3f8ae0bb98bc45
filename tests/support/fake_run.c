#include "tests/support/fake_run.h"

#include "analyzer/base/alloc.h"
#include "analyzer/base/array.h"
#include "analyzer/base/text.h"
#include "data/store.h"
#include "tests/support/fake_values.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

const rs_fake_shape rs_fake_shapes[] = {
    {"smollm2", "full RoPE, the shape of SmolLM2-135M", 30, 9, 3, 32, 32, 2048, 4, 49152, 576, 134515008, 100000, false,
     1},
    {"nope", "the same without any rotation", 30, 9, 3, 32, 0, 2048, 4, 49152, 576, 134515008, 10000, false, 2},
    {"partial", "a quarter of the pairs rotated", 30, 9, 3, 32, 8, 2048, 4, 49152, 576, 134515008, 10000, false, 3},
    {"8b", "the shape of an 8B model", 32, 32, 8, 64, 64, 2048, 4, 128256, 4096, 8030261248, 500000, false, 4},
    {"hostile", "names with markup, quotes and other scripts", 6, 4, 2, 16, 16, 512, 4, 49152, 128, 1234567, 10000,
     true, 5},
    {"tiny", "as small as a run can sensibly be", 2, 2, 1, 4, 4, 64, 2, 256, 16, 5120, 10000, false, 6},
    {0},
};

const rs_fake_shape *rs_fake_shape_find(const char *variant) {
    for (const rs_fake_shape *f = rs_fake_shapes; f->variant; f++) {
        if (strcmp(f->variant, variant) == 0) return f;
    }
    return NULL;
}

/* ---- arrays ---- */

static int64_t axis_length(const rs_fake_shape *f, const char *axis, size_t n) {
    const struct {
        const char *name;
        int64_t length;
    } known[] = {{"layer", f->layers},
                 {"head", f->heads},
                 {"kv_head", f->kv_heads},
                 {"pair", f->pairs},
                 {"v_pair", f->pairs},
                 {"sequence", f->sequences},
                 {"position", f->context},
                 {"distance_class", 7},
                 {"resample", 200},
                 {"map_row", 32},
                 {"map_column", 32},
                 {"fold", 16},
                 {"distance", fake_distance_axis(f, NULL)},
                 {"bucket", fake_bucket_axis(f, NULL)}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strlen(known[i].name) == n && strncmp(known[i].name, axis, n) == 0) return known[i].length;
    }
    return -1;
}

/* The shape of a table row; its data are made and owned by the caller. */
static rs_status shape_of(const rs_fake_shape *f, const fake_array *t, rs_array *a, rs_error *err) {
    rs_status st = rs_array_init(a, err, t->name, t->stored_as, t->unit, t->long_name, 0);
    rs_array_deinit(a);
    if (st != RS_OK) return st;
    for (const char *axis = t->axes; *axis; a->n_dims++) {
        size_t n = strcspn(axis, ",");
        snprintf(a->dim_names[a->n_dims], RS_UNIT_BYTES, "%.*s", (int)n, axis);
        a->dims[a->n_dims] = axis_length(f, axis, n);
        axis += axis[n] ? n + 1 : n;
    }
    a->count = t->counted ? f->sequences * (f->context - 1) : 0;
    return RS_NEW(&a->data, (size_t)rs_array_size(a), err);
}

static void fill(const rs_fake_shape *f, const fake_array *t, rs_array *a) {
    int64_t at[RS_ARRAY_DIMS] = {0}, n = rs_array_size(a);
    for (int64_t i = 0; i < n; i++) {
        a->data[i] = t->value(f, at);
        for (int d = a->n_dims - 1; d >= 0 && ++at[d] == a->dims[d]; d--) at[d] = 0;
    }
}

static double mean_of(const rs_array *a, int64_t *scored) {
    double sum = 0;
    *scored = 0;
    for (int64_t i = 0; i < rs_array_size(a); i++) {
        if (isnan(a->data[i])) continue;
        sum += a->data[i];
        ++*scored;
    }
    return sum / (double)*scored;
}

static rs_status set_loss(rs_store *s, const rs_array *nll, rs_error *err) {
    rs_status st = RS_OK;
    int64_t scored;
    double mean = mean_of(nll, &scored);
    RS_TRY(rs_store_set_int(s, "/", "tokens", scored, err));
    RS_TRY(rs_store_set_real(s, "/", "mean_nll", mean, err));
    RS_TRY(rs_store_set_real(s, "/", "perplexity", exp(mean), err));
out:
    return st;
}

static rs_status write_array(const rs_fake_shape *f, rs_store *s, const fake_array *t, rs_error *err) {
    rs_status st = RS_OK;
    rs_array a = {0};
    RS_TRY(shape_of(f, t, &a, err));
    fill(f, t, &a);
    RS_TRY(rs_store_write(s, &a, err));
    if (strcmp(t->name, "loss/token_nll") == 0) RS_TRY(set_loss(s, &a, err));
out:
    rs_array_deinit(&a);
    return st;
}

static rs_status write_axes(const rs_fake_shape *f, rs_store *s, rs_error *err) {
    rs_status st = RS_OK;
    double values[512];
    int64_t n = fake_distance_axis(f, values);
    RS_TRY(rs_store_axis(s, "distance", values, n, "tokens", "distance between query and key: first of each bin", err));
    n = fake_bucket_axis(f, values);
    RS_TRY(rs_store_axis(s, "bucket", values, n, "tokens", "first position of each bucket", err));
    for (int i = 0; i < 32; i++) values[i] = (double)f->context * i / 32.0;
    RS_TRY(rs_store_axis(s, "map_row", values, 32, "tokens", "first query position of each block", err));
    RS_TRY(rs_store_axis(s, "map_column", values, 32, "tokens", "first key position of each block", err));
out:
    return st;
}

/* ---- attributes ---- */

static void rope_words(const rs_fake_shape *f, rs_text *t) {
    char base[32];
    rs_format_count(base, (int64_t)f->base);
    if (f->rotated == 0) rs_text_append(t, "no rotation (NoPE)");
    else if (f->rotated < f->pairs)
        rs_text_printf(t, "partial RoPE, %" PRId64 " of %" PRId64 " pairs, base %s", f->rotated, f->pairs, base);
    else rs_text_printf(t, "full RoPE, %" PRId64 " pairs, base %s", f->pairs, base);
}

#define HOSTILE_NAME "</script><script>alert('x')</script> \"quoted\" & \\back — Ünï©ødé 名前 \u2028 🦜"

static const char *name_of(const rs_fake_shape *f) { return f->hostile ? HOSTILE_NAME : "made-up model"; }

static const char *path_of(const rs_fake_shape *f) {
    return f->hostile ? "models/<img src=x onerror=alert(1)>/'; DROP TABLE runs; --/\xff\xfe.gguf"
                      : "models/made-up.safetensors";
}

static void model_files(const rs_fake_shape *f, rs_text *t) {
    rs_text_append(t, "[{\"path\":");
    rs_text_json_string(t, path_of(f), strlen(path_of(f)));
    rs_text_printf(t, ",\"bytes\":%" PRId64 ",\"sha256\":\"%064" PRIu64 "\"}]", f->parameters * 2,
                   f->seed); /* other weights have another hash */
}

static void text_files(const rs_fake_shape *f, rs_text *t) {
    const char *path = f->hostile ? "texts/<b>nov\"el</b> — Ωmega.txt" : "texts/novel.txt";
    rs_text_append(t, "[{\"path\":");
    rs_text_json_string(t, path, strlen(path));
    rs_text_printf(t, ",\"bytes\":%d,\"tokens\":%" PRId64 ",\"windows\":%" PRId64 ",\"left_over\":%d}]", 1250000,
                   f->sequences * f->context + 77, f->sequences, 77);
}

static void layer_facts(const rs_fake_shape *f, rs_text *t) {
    for (int64_t l = 0; l < f->layers; l++) {
        rs_text words = {0};
        rope_words(f, &words);
        rs_text_printf(t,
                       "%s{\"heads\":%" PRId64 ",\"kv_heads\":%" PRId64 ",\"head_dim\":%" PRId64 ",\"v_dim\":%" PRId64,
                       l ? "," : "[", f->heads, f->kv_heads, 2 * f->pairs, 2 * f->pairs);
        rs_text_printf(
            t, ",\"window\":0,\"pairs\":%" PRId64 ",\"rotated\":%" PRId64 ",\"base\":%.17g,\"kind\":\"%s\",\"words\":",
            f->pairs, f->rotated, f->rotated ? f->base : 0.0, f->rotated ? "default" : "none");
        rs_text_json_string(t, words.data ? words.data : "", words.bytes);
        rs_text_printf(
            t,
            ",\"source\":\"config.json: rope_theta\",\"scale\":%.17g,\"softcap\":0,\"cache_bytes_1024\":%" PRId64 "}",
            1.0 / sqrt(2.0 * (double)f->pairs), 2 * 1024 * 2 * f->rotated * 4);
        t->failed |= words.failed;
        rs_text_deinit(&words);
    }
    rs_text_append(t, "]");
}

static rs_status set_made(rs_store *s, const rs_fake_shape *f, const char *name,
                          void (*make)(const rs_fake_shape *, rs_text *), rs_error *err) {
    rs_text t = {0};
    make(f, &t);
    rs_status st = rs_text_status(&t, err);
    if (st == RS_OK) st = rs_store_set_string(s, "/", name, t.data, err);
    rs_text_deinit(&t);
    return st;
}

static rs_status set_strings(rs_store *s, const rs_fake_shape *f, rs_error *err) {
    const struct {
        const char *name, *value;
    } facts[] = {
        {"tool", "ropescope"},
        {"tool_version", "0.1.0"},
        {"command_line", f->hostile ? "ropescope audit '</textarea>' \"a b\" -o run.h5"
                                    : "ropescope audit models/made-up novel.txt -o run.h5"},
        {"created", "2026-01-02T03:04:05Z"},
        {"model_name", name_of(f)},
        {"model_path", path_of(f)},
        {"model_container", "safetensors"},
        {"family", f->hostile ? "llama<script>" : "llama"},
        {"warnings", f->hostile ? "a warning with </script> in it\nand a second one — \"so\"" : ""},
        {"ids_sha256", "00000000000000000000000000000000000000000000000000000000000000aa"},
        {"tokenizer", "byte-level BPE"},
        {"bos", "no BOS"},
        {"perplexity_definition",
         "exp(mean_nll); mean_nll = mean of -ln p(token | tokens before it) over all tokens but the first of "
         "each sequence; sequences are non-overlapping windows, scored independently"},
        {"device", "CPU, 2 threads, x86-64-v4"},
        {"compute", "bf16"},
        {"probes", "frequency_norm moments attention_pattern"},
    };
    rs_status st = RS_OK;
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++)
        RS_TRY(rs_store_set_string(s, "/", facts[i].name, facts[i].value, err));
out:
    return st;
}

static rs_status set_numbers(rs_store *s, const rs_fake_shape *f, rs_error *err) {
    const struct {
        const char *name;
        int64_t value;
    } facts[] = {
        {"parameters", f->parameters},
        {"layers", f->layers},
        {"heads", f->heads},
        {"kv_heads", f->kv_heads},
        {"head_dim", 2 * f->pairs},
        {"width", f->width},
        {"vocab", f->vocab},
        {"trained_context", 4 * f->context},
        {"context", f->context},
        {"sequences", f->sequences},
        {"threads", 2},
        {"seed", 0},
        {"peak_memory_bytes", 612 << 20},
    };
    rs_status st = RS_OK;
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++)
        RS_TRY(rs_store_set_int(s, "/", facts[i].name, facts[i].value, err));
    RS_TRY(rs_store_set_real(s, "/", "seconds", 31.4, err));
    RS_TRY(rs_store_set_real(s, "/", "tokens_per_second", (double)(f->sequences * f->context) / 31.4, err));
out:
    return st;
}

rs_status rs_fake_run_write(const rs_fake_shape *f, const char *path, rs_error *err) {
    rs_status st = RS_OK;
    rs_store *s = NULL;
    RS_TRY(rs_store_create(path, true, &s, err));
    RS_TRY(set_strings(s, f, err));
    RS_TRY(set_numbers(s, f, err));
    RS_TRY(set_made(s, f, "rope_words", rope_words, err));
    RS_TRY(set_made(s, f, "model_files", model_files, err));
    RS_TRY(set_made(s, f, "text_files", text_files, err));
    RS_TRY(set_made(s, f, "layer_facts", layer_facts, err));
    RS_TRY(write_axes(f, s, err));
    for (size_t i = 0; i < fake_arrays_count; i++) RS_TRY(write_array(f, s, &fake_arrays[i], err));
    st = rs_store_commit(s, err);
    s = NULL;
out:
    rs_store_discard(s);
    return st;
}

/* ---- the catalogue ---- */

static int index_of(double x) { return isnan(x) ? -1 : (int)x; }

static void fill_head(const rs_fake_shape *f, int l, int h, rs_catalog_head *row) {
    const int64_t at[] = {l, h}, key[] = {l, h * f->kv_heads / f->heads};
    *row = (rs_catalog_head){.layer = l,
                             .head = h,
                             .kv_head = (int)key[1],
                             .previous = fake_value(f, "attention_pattern/previous", at),
                             .first = fake_value(f, "attention_pattern/first", at),
                             .diagonal = fake_value(f, "attention_pattern/diagonal", at),
                             .induction = fake_value(f, "attention_pattern/induction", at),
                             .duplicate = fake_value(f, "attention_pattern/duplicate", at),
                             .entropy = fake_value(f, "attention_pattern/entropy", at),
                             .mean_distance = fake_value(f, "attention_pattern/mean_distance", at),
                             .top_pair_q = index_of(fake_value(f, "frequency_norm/q_top_pair", at)),
                             .top_pair_k = index_of(fake_value(f, "frequency_norm/k_top_pair", key)),
                             .retrieval = (double)NAN,
                             .copy = (double)NAN};
}

static void fill_pair(const rs_fake_shape *f, int l, int h, int p, rs_catalog_pair *row) {
    const int64_t at[] = {l, h, p}, key[] = {l, h * f->kv_heads / f->heads, p}, rope[] = {l, p};
    *row = (rs_catalog_pair){.layer = l,
                             .head = h,
                             .pair = p,
                             .theta = fake_value(f, "rope/theta", rope),
                             .q_mean = fake_value(f, "frequency_norm/q_mean", at),
                             .k_mean = fake_value(f, "frequency_norm/k_mean", key),
                             .q_share = fake_value(f, "frequency_norm/q_share", at),
                             .k_share = fake_value(f, "frequency_norm/k_share", key),
                             .zero_cost = fake_value(f, "moments/zero_cost", at),
                             .unrotate_cost = fake_value(f, "moments/unrotate_cost", at),
                             .concentration_q = fake_value(f, "moments/q_concentration", at),
                             .concentration_k = fake_value(f, "moments/k_concentration", key)};
}

static rs_status record(const rs_fake_shape *f, const char *path, const char *catalog, rs_catalog_head *heads,
                        rs_catalog_pair *pairs, rs_error *err) {
    rs_text rope = {0};
    size_t n_heads = (size_t)(f->layers * f->heads), n_pairs = n_heads * (size_t)f->pairs;
    for (size_t i = 0; i < n_heads; i++)
        fill_head(f, (int)(i / (size_t)f->heads), (int)(i % (size_t)f->heads), &heads[i]);
    for (size_t i = 0; i < n_pairs; i++) {
        size_t head = i / (size_t)f->pairs;
        fill_pair(f, heads[head].layer, heads[head].head, (int)(i % (size_t)f->pairs), &pairs[i]);
    }
    rope_words(f, &rope);
    rs_status st = rs_text_status(&rope, err);
    const rs_catalog_run run = {.model_name = name_of(f),
                                .model_path = path_of(f),
                                .family = "llama",
                                .model_sha256 = "07",
                                .container = "safetensors",
                                .parameters = f->parameters,
                                .layers = f->layers,
                                .heads = f->heads,
                                .kv_heads = f->kv_heads,
                                .head_dim = 2 * f->pairs,
                                .vocab = f->vocab,
                                .trained_context = 4 * f->context,
                                .rope_words = rope.data,
                                .run_path = path,
                                .run_sha256 = "",
                                .created = "2026-01-02T03:04:05Z",
                                .tool_version = "0.1.0",
                                .command_line = "ropescope audit",
                                .device = "CPU",
                                .ids_sha256 = "aa",
                                .context = f->context,
                                .sequences = f->sequences,
                                .tokens = f->sequences * (f->context - 1),
                                .mean_nll = 3.0,
                                .seconds = 31.4,
                                .head_rows = heads,
                                .head_count = n_heads,
                                .pair_rows = pairs,
                                .pair_count = n_pairs};
    if (st == RS_OK) st = rs_catalog_record(catalog, &run, err);
    rs_text_deinit(&rope);
    return st;
}

rs_status rs_fake_run_record(const rs_fake_shape *f, const char *path, const char *catalog, rs_error *err) {
    rs_catalog_head *heads = NULL; /* [layers * heads] */
    rs_catalog_pair *pairs = NULL; /* [layers * heads * pairs] */
    rs_status st = RS_NEW(&heads, (size_t)(f->layers * f->heads), err);
    if (st == RS_OK) st = RS_NEW(&pairs, (size_t)(f->layers * f->heads * f->pairs), err);
    if (st == RS_OK) st = record(f, path, catalog, heads, pairs, err);
    rs_free(heads);
    rs_free(pairs);
    return st;
}
