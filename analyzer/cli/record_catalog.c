/* The catalogue's row of a run is read back from the finished run file: what the catalogue says is what the file holds.
 */
#include "analyzer/cli/record.h"

#include "analyzer/base/alloc.h"
#include "analyzer/base/file.h"
#include "analyzer/base/json.h"
#include "analyzer/base/verdict_name.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Arrays that the catalogue takes its numbers from. One that was not measured leaves NaN. */
typedef enum column {
    PREVIOUS,
    FIRST,
    DIAGONAL,
    INDUCTION,
    DUPLICATE,
    ENTROPY,
    MEAN_DISTANCE,
    TOP_Q,
    TOP_K,
    RETRIEVAL,
    COPY,
    THETA,
    Q_MEAN,
    K_MEAN,
    Q_SHARE,
    K_SHARE,
    ZERO_COST,
    UNROTATE_COST,
    CONCENTRATION_Q,
    CONCENTRATION_K,
    VERDICT,
    KL_ZERO,
    KL_UNROTATE,
    LIFT,
    COLUMNS
} column;

static const char *const column_names[COLUMNS] = {
    [PREVIOUS] = "attention_pattern/previous",
    [FIRST] = "attention_pattern/first",
    [DIAGONAL] = "attention_pattern/diagonal",
    [INDUCTION] = "attention_pattern/induction",
    [DUPLICATE] = "attention_pattern/duplicate",
    [ENTROPY] = "attention_pattern/entropy",
    [MEAN_DISTANCE] = "attention_pattern/mean_distance",
    [TOP_Q] = "frequency_norm/q_top_pair",
    [TOP_K] = "frequency_norm/k_top_pair",
    [RETRIEVAL] = "retrieval/context",
    [COPY] = "retrieval/copy",
    [THETA] = "rope/theta",
    [Q_MEAN] = "frequency_norm/q_mean",
    [K_MEAN] = "frequency_norm/k_mean",
    [Q_SHARE] = "frequency_norm/q_share",
    [K_SHARE] = "frequency_norm/k_share",
    [ZERO_COST] = "moments/zero_cost",
    [UNROTATE_COST] = "moments/unrotate_cost",
    [CONCENTRATION_Q] = "moments/q_concentration",
    [CONCENTRATION_K] = "moments/k_concentration",
    [VERDICT] = "contribution/verdict",
    [KL_ZERO] = "contribution/kl_zero",
    [KL_UNROTATE] = "contribution/kl_unrotate",
    [LIFT] = "contribution/lift",
};

typedef struct source {
    rs_array column[COLUMNS];
    int64_t layers, heads, kv_heads, pairs;
    char *text[16]; /* attributes, to be freed */
    int n_texts;
} source;

/* Value of a [layer, head|kv_head|-, pair|-] array; NaN where it was not measured. */
static double value(const source *s, column c, int64_t layer, int64_t head, int64_t pair) {
    const rs_array *a = &s->column[c];
    int64_t index[3] = {layer}, at = 0;
    if (!a->data) {
        return NAN;
    }
    for (int i = 1; i < a->n_dims && i < 3; i++) {
        const char *axis = a->dim_names[i];
        index[i] = strcmp(axis, "pair") == 0      ? pair
                   : strcmp(axis, "kv_head") == 0 ? head / (s->heads / s->kv_heads)
                                                  : head;
    }
    for (int i = 0; i < a->n_dims; i++) {
        at = at * a->dims[i] + index[i];
    }
    return a->data[at];
}

static int whole(double v) { return isnan(v) ? -1 : (int)v; }

static rs_status read_columns(rs_store *f, source *s, rs_error *err) {
    rs_status st = RS_OK;
    for (int i = 0; i < COLUMNS; i++) {
        if (rs_store_has(f, column_names[i])) {
            RS_TRY(rs_store_read(f, column_names[i], &s->column[i], err));
        }
    }
    s->layers = (int64_t)rs_store_get_real(f, "/", "layers", 0);
    s->heads = (int64_t)rs_store_get_real(f, "/", "heads", 0);
    s->kv_heads = (int64_t)rs_store_get_real(f, "/", "kv_heads", 0);
    s->pairs = s->column[THETA].n_dims == 2 ? s->column[THETA].dims[1] : 0;
out:
    return st;
}

static rs_status head_rows(const source *s, rs_catalog_head **rows, rs_error *err) {
    rs_status st = RS_OK;
    RS_TRY(RS_NEW(rows, (size_t)(s->layers * s->heads), err));
    for (int64_t l = 0; l < s->layers; l++) {
        for (int64_t h = 0; h < s->heads; h++) {
            (*rows)[l * s->heads + h] = (rs_catalog_head){.layer = (int)l,
                                                          .head = (int)h,
                                                          .kv_head = (int)(h / (s->heads / s->kv_heads)),
                                                          .previous = value(s, PREVIOUS, l, h, 0),
                                                          .first = value(s, FIRST, l, h, 0),
                                                          .diagonal = value(s, DIAGONAL, l, h, 0),
                                                          .induction = value(s, INDUCTION, l, h, 0),
                                                          .duplicate = value(s, DUPLICATE, l, h, 0),
                                                          .entropy = value(s, ENTROPY, l, h, 0),
                                                          .mean_distance = value(s, MEAN_DISTANCE, l, h, 0),
                                                          .top_pair_q = whole(value(s, TOP_Q, l, h, 0)),
                                                          .top_pair_k = whole(value(s, TOP_K, l, h, 0)),
                                                          .retrieval = value(s, RETRIEVAL, l, h, 0),
                                                          .copy = value(s, COPY, l, h, 0)};
        }
    }
out:
    return st;
}

static rs_status pair_rows(const source *s, rs_catalog_pair **rows, rs_error *err) {
    rs_status st = RS_OK;
    rs_catalog_pair *at = NULL;
    RS_TRY(RS_NEW(rows, (size_t)(s->layers * s->heads * s->pairs), err));
    at = *rows;
    for (int64_t l = 0; l < s->layers; l++) {
        for (int64_t h = 0; h < s->heads; h++) {
            for (int64_t f = 0; f < s->pairs; f++, at++) {
                *at = (rs_catalog_pair){.layer = (int)l,
                                        .head = (int)h,
                                        .pair = (int)f,
                                        .theta = value(s, THETA, l, h, f),
                                        .q_mean = value(s, Q_MEAN, l, h, f),
                                        .k_mean = value(s, K_MEAN, l, h, f),
                                        .q_share = value(s, Q_SHARE, l, h, f),
                                        .k_share = value(s, K_SHARE, l, h, f),
                                        .zero_cost = value(s, ZERO_COST, l, h, f),
                                        .unrotate_cost = value(s, UNROTATE_COST, l, h, f),
                                        .concentration_q = value(s, CONCENTRATION_Q, l, h, f),
                                        .concentration_k = value(s, CONCENTRATION_K, l, h, f)};
            }
        }
    }
out:
    return st;
}

/* Pairs that have a verdict; *n of them. */
static rs_status verdict_rows(const source *s, rs_catalog_verdict **rows, size_t *n, rs_error *err) {
    rs_status st = RS_OK;
    if (!s->column[VERDICT].data) {
        return RS_OK;
    }
    RS_TRY(RS_NEW(rows, (size_t)(s->layers * s->heads * s->pairs), err));
    for (int64_t i = 0; i < s->layers * s->heads * s->pairs; i++) {
        int64_t f = i % s->pairs, h = i / s->pairs % s->heads, l = i / s->pairs / s->heads;
        double x = value(s, VERDICT, l, h, f);
        const char *name = x >= 0 && x < RS_VERDICTS ? rs_verdict_name((int)x) : NULL;
        if (name) {
            (*rows)[(*n)++] = (rs_catalog_verdict){.layer = (int)l,
                                                   .head = (int)h,
                                                   .pair = (int)f,
                                                   .verdict = name,
                                                   .kl_zero = value(s, KL_ZERO, l, h, f),
                                                   .kl_unrotate = value(s, KL_UNROTATE, l, h, f),
                                                   .lift = value(s, LIFT, l, h, f)};
        }
    }
out:
    return st;
}

/* An attribute as a string that lives as long as the source; "" when absent. */
static rs_status text_of(rs_store *f, source *s, const char *name, const char **out, rs_error *err) {
    char *value_text = NULL;
    rs_status st = rs_store_get_string(f, "/", name, &value_text, err);
    s->text[s->n_texts++] = value_text;
    *out = value_text ? value_text : "";
    return st;
}

static rs_status texts(rs_store *f, source *s, rs_catalog_run *run, rs_error *err) {
    rs_status st = RS_OK;
    const struct {
        const char *name, **out;
    } wanted[] = {{"model_name", &run->model_name},
                  {"model_path", &run->model_path},
                  {"family", &run->family},
                  {"model_files", &run->model_sha256},
                  {"model_container", &run->container},
                  {"rope_words", &run->rope_words},
                  {"created", &run->created},
                  {"tool_version", &run->tool_version},
                  {"command_line", &run->command_line},
                  {"device", &run->device},
                  {"ids_sha256", &run->ids_sha256}};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        RS_TRY(text_of(f, s, wanted[i].name, wanted[i].out, err));
    }
out:
    return st;
}

static void numbers(rs_store *f, const source *s, rs_catalog_run *run) {
    run->parameters = (int64_t)rs_store_get_real(f, "/", "parameters", 0);
    run->layers = s->layers;
    run->heads = s->heads;
    run->kv_heads = s->kv_heads;
    run->head_dim = (int64_t)rs_store_get_real(f, "/", "head_dim", 0);
    run->vocab = (int64_t)rs_store_get_real(f, "/", "vocab", 0);
    run->trained_context = (int64_t)rs_store_get_real(f, "/", "trained_context", 0);
    run->context = (int64_t)rs_store_get_real(f, "/", "context", 0);
    run->sequences = (int64_t)rs_store_get_real(f, "/", "sequences", 0);
    run->tokens = (int64_t)rs_store_get_real(f, "/", "tokens", 0);
    run->mean_nll = rs_store_get_real(f, "/", "mean_nll", NAN);
    run->seconds = rs_store_get_real(f, "/", "seconds", NAN);
}

/* The model's identity: SHA-256 over the hashes of all its files, or the one file's own. */
static rs_status model_identity(const char *files_json, char hex[65], rs_error *err) {
    rs_status st = RS_OK;
    rs_json *files = NULL;
    rs_text all = {0};
    RS_TRY(rs_json_parse(files_json, strlen(files_json), "model_files", &files, err));
    for (size_t i = 0; i < rs_json_size(files); i++) {
        const char *one = rs_json_string(rs_json_get(rs_json_at(files, i), "sha256"), NULL);
        rs_text_append(&all, one ? one : "");
    }
    RS_TRY(rs_text_status(&all, err));
    if (rs_json_size(files) == 1 && all.bytes == 64) {
        memcpy(hex, all.data, 65);
    } else {
        rs_sha256(all.data ? all.data : "", all.bytes, hex);
    }
out:
    rs_json_free(files);
    rs_text_deinit(&all);
    return st;
}

static rs_status hash_run(const char *path, char hex[65], rs_error *err) {
    rs_file *f = NULL;
    rs_status st = rs_file_open(path, &f, err);
    st = st == RS_OK ? rs_file_sha256(f, hex, err) : st;
    rs_file_close(f);
    return st;
}

rs_status rs_record_catalog(const char *run_path, const char *catalog_path, rs_error *err) {
    rs_status st = RS_OK;
    rs_store *f = NULL;
    source s = {0};
    rs_catalog_run run = {.run_path = run_path};
    rs_catalog_head *heads = NULL;
    rs_catalog_pair *pairs = NULL;
    rs_catalog_verdict *verdicts = NULL;
    char run_hash[65], model_hash[65];
    RS_TRY(hash_run(run_path, run_hash, err));
    RS_TRY(rs_store_open(run_path, &f, err));
    RS_TRY(read_columns(f, &s, err));
    RS_TRY(texts(f, &s, &run, err));
    RS_TRY(model_identity(run.model_sha256, model_hash, err));
    run.run_sha256 = run_hash;
    run.model_sha256 = model_hash;
    numbers(f, &s, &run);
    RS_TRY(head_rows(&s, &heads, err));
    RS_TRY(pair_rows(&s, &pairs, err));
    run.head_rows = heads;
    run.head_count = (size_t)(s.layers * s.heads);
    run.pair_rows = pairs;
    run.pair_count = (size_t)(s.layers * s.heads * s.pairs);
    RS_TRY(verdict_rows(&s, &verdicts, &run.verdict_count, err));
    run.verdict_rows = verdicts;
    RS_TRY(rs_catalog_record(catalog_path, &run, err));
out:
    for (int i = 0; i < COLUMNS; i++) {
        rs_array_deinit(&s.column[i]);
    }
    for (int i = 0; i < s.n_texts; i++) {
        rs_free(s.text[i]);
    }
    rs_free(heads);
    rs_free(pairs);
    rs_free(verdicts);
    rs_store_close(f);
    return st;
}
