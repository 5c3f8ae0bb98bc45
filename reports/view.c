#include "reports/view.h"

#include "analyzer/base/alloc.h"
#include "data/store.h"
#include "reports/measures.h"
#include "reports/view_distance.h"
#include "reports/view_layers.h"
#include "reports/view_spectrum.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* --- facts of the run --- */

typedef struct string_fact {
    const char *name;
    size_t offset; /* of a const char * in the view */
} string_fact;

#define AT(field) offsetof(rs_report_view, field)
static const string_fact string_facts[] = {
    {"tool", AT(tool)},
    {"tool_version", AT(tool_version)},
    {"command_line", AT(command_line)},
    {"created", AT(created)},
    {"model_name", AT(model_name)},
    {"task", AT(task)},
    {"model_path", AT(model_path)},
    {"model_container", AT(model_container)},
    {"family", AT(family)},
    {"rope_words", AT(rope_words)},
    {"ids_sha256", AT(ids_sha256)},
    {"tokenizer", AT(tokenizer)},
    {"bos", AT(bos)},
    {"perplexity_definition", AT(perplexity_definition)},
    {"device", AT(device)},
    {"compute", AT(compute)},
    {"probes", AT(probes)},
    {"warnings", AT(warnings)},
    {"schema_version", AT(schema_version)},
    {"seed", AT(seed)},
};

typedef struct int_fact {
    const char *name;
    size_t offset; /* of an int64_t */
    bool required;
} int_fact;
static const int_fact int_facts[] = {
    {"parameters", AT(parameters), false}, {"trained_context", AT(trained_context), false},
    {"vocab", AT(vocab), false},           {"width", AT(width), false},
    {"context", AT(context), true},        {"sequences", AT(sequences), false},
    {"task_items", AT(task_items), false}, {"task_gold", AT(task_gold), false},
    {"tokens", AT(tokens), false},         {"control", AT(control_seed), false},
    {"threads", AT(threads), false},       {"peak_memory_bytes", AT(peak_memory), false},
};

typedef struct real_fact {
    const char *name;
    size_t offset; /* of a double */
} real_fact;
static const real_fact real_facts[] = {
    {"mean_nll", AT(mean_nll)},
    {"perplexity", AT(perplexity)},
    {"seconds", AT(seconds)},
    {"tokens_per_second", AT(tokens_per_second)},
    {"answer_accuracy", AT(answer_accuracy)},
    {"answers_whole", AT(answers_whole)},
    {"answer_nll", AT(answer_nll)},
};

/* The arrays a report looks at whole. Those by distance are reduced while reading (view_distance.c). */
static const char *const stored_names[] = {
    "loss/token_nll",
    "frequency_norm/q_mean",
    "frequency_norm/q_rms",
    "frequency_norm/k_mean",
    "frequency_norm/k_rms",
    "frequency_norm/v_mean",
    "frequency_norm/v_rms",
    "frequency_norm/q_mean_sink",
    "frequency_norm/k_mean_sink",
    "frequency_norm/q_share",
    "frequency_norm/k_share",
    "frequency_norm/v_share",
    "frequency_norm/q_share_bootstrap",
    "frequency_norm/k_share_bootstrap",
    "frequency_norm/two_norm",
    "frequency_norm/q_top",
    "frequency_norm/k_top",
    "frequency_norm/q_top_pair",
    "frequency_norm/k_top_pair",
    "frequency_norm/q_split_half",
    "frequency_norm/k_split_half",
    "moments/q_concentration",
    "moments/k_concentration",
    "moments/q_concentration_unit",
    "moments/k_concentration_unit",
    "moments/q_mean_re",
    "moments/q_mean_im",
    "moments/k_mean_re",
    "moments/k_mean_im",
    "moments/zero_cost",
    "moments/unrotate_cost",
    "moments/zero_cost_raw",
    "moments/unrotate_cost_raw",
    "moments/zero_cost_sampled",
    "moments/unrotate_cost_sampled",
    "moments/zero_cost_split_half",
    "moments/unrotate_cost_split_half",
    "moments/zero_cost_group",
    "moments/unrotate_cost_group",
    "moments/logit_variance",
    "moments/share_pp",
    "moments/share_pc",
    "moments/share_cp",
    "moments/share_cc",
    "moments/pair_share_pp",
    "moments/pair_share_pc",
    "moments/pair_share_cp",
    "moments/pair_share_cc",
    "moments/fit_zero",
    "moments/fit_unrotate",
    "attention_pattern/diagonal",
    "attention_pattern/previous",
    "attention_pattern/first",
    "attention_pattern/entropy",
    "attention_pattern/effective_context",
    "attention_pattern/duplicate",
    "attention_pattern/induction",
    "attention_pattern/mean_distance",
    "attention_pattern/p50_distance",
    "attention_pattern/p90_distance",
    "attention_pattern/distance_mass",
    "attention_pattern/toeplitz_share",
    "attention_pattern/map",
    "attention_pattern/split_half",
    "contribution/verdict",
    "contribution/verdict_split_half",
    "contribution/verdict_bootstrap",
    "contribution/kl_zero",
    "contribution/kl_unrotate",
    "contribution/kl_zero_predicted",
    "contribution/kl_unrotate_predicted",
    "contribution/lift",
    "utility/pair",
    "retrieval/context",
    "retrieval/copy",
    "contribution/align_diagonal_head",
    "contribution/align_previous_head",
    "contribution/fit_kl_zero",
    "contribution/fit_kl_unrotate",
    "angular_spectrum/q_spectrum_entropy",
    "angular_spectrum/position_share",
    "angular_spectrum/mean_logit_split_half",
    "utility/split_half",
};

/* Moves a string of the store into the view's arena; "" when absent. */
static rs_status keep_string(rs_report_view *v, rs_store *s, const char *name, const char **out, rs_error *err) {
    char *text = NULL;
    rs_status st = rs_store_get_string(s, "/", name, &text, err);
    if (st == RS_OK) st = rs_arena_strdup(v->arena, out, text != NULL ? text : "", err);
    rs_free(text);
    return st;
}

/* An attribute that holds JSON; *root stays NULL when it is absent. A damaged one is an error: it names where numbers
 * came from. */
static rs_status keep_json(rs_store *s, const char *name, rs_json **root, rs_error *err) {
    char *text = NULL;
    rs_status st = rs_store_get_string(s, "/", name, &text, err);
    if (st == RS_OK && text != NULL && *text != '\0') st = rs_json_parse(text, strlen(text), name, root, err);
    rs_free(text);
    return st;
}

static double *real_at(rs_report_view *v, size_t offset) { return (double *)(void *)((char *)v + offset); }
static int64_t *int_at(rs_report_view *v, size_t offset) { return (int64_t *)(void *)((char *)v + offset); }
static const char **string_at(rs_report_view *v, size_t offset) { return (const char **)(void *)((char *)v + offset); }

static rs_status read_facts(rs_report_view *v, rs_store *s, rs_error *err) {
    rs_status st = RS_OK;
    for (size_t i = 0; i < sizeof string_facts / sizeof *string_facts; i++)
        RS_TRY(keep_string(v, s, string_facts[i].name, string_at(v, string_facts[i].offset), err));
    for (size_t i = 0; i < sizeof real_facts / sizeof *real_facts; i++)
        *real_at(v, real_facts[i].offset) = rs_store_get_real(s, "/", real_facts[i].name, NAN);
    for (size_t i = 0; i < sizeof int_facts / sizeof *int_facts; i++) {
        double x = rs_store_get_real(s, "/", int_facts[i].name, NAN);
        if (int_facts[i].required && !(x >= 1.0))
            return rs_fail(err, RS_E_FORMAT, "%s: attribute '%s' is missing or not positive: not a whole run file",
                           v->path, int_facts[i].name);
        *int_at(v, int_facts[i].offset) = x >= 0.0 && x < 9.0e18 ? (int64_t)x : -1;
    }
    RS_TRY(keep_json(s, "model_files", &v->model_files_root, err));
    RS_TRY(keep_json(s, "text_files", &v->text_files_root, err));
    RS_TRY(keep_json(s, "layer_facts", &v->layer_facts_root, err));
    v->model_files = v->model_files_root;
    v->text_files = v->text_files_root;
out:
    if (st != RS_OK) rs_error_prefix(err, "%s", v->path);
    return st;
}

/* --- arrays --- */

static rs_status push(rs_arrays *list, rs_array *a, rs_error *err) {
    if (list->count == list->room) {
        size_t room = list->room == 0 ? 64 : 2 * list->room;
        void *block = list->items;
        rs_status st = rs_resize(&block, list->room, room, sizeof *list->items, err);
        if (st != RS_OK) {
            rs_array_deinit(a);
            return st;
        }
        list->items = block;
        list->room = room;
    }
    list->items[list->count++] = *a;
    return RS_OK;
}

/* A stored array is believed only where its first axis is the run's layers (or, for the loss, sequences). */
static rs_status check_shape(const rs_report_view *v, const rs_array *a, rs_error *err) {
    bool by_layer = strcmp(a->name, "loss/token_nll") != 0;
    if (a->n_dims < 2 || (by_layer && a->dims[0] != v->n_layers))
        return rs_fail(err, RS_E_FORMAT, "%s: dataset '%s': first of %d axes has %lld entries, expected %d layers",
                       v->path, a->name, a->n_dims, (long long)(a->n_dims > 0 ? a->dims[0] : 0), v->n_layers);
    return RS_OK;
}

static rs_status read_array(rs_report_view *v, rs_store *s, const char *name, rs_error *err) {
    if (!rs_store_has(s, name)) return RS_OK;
    rs_array a = {0};
    rs_status st = rs_store_read(s, name, &a, err);
    if (st != RS_OK) return st;
    st = check_shape(v, &a, err);
    if (st != RS_OK) {
        rs_array_deinit(&a);
        return st;
    }
    return push(&v->stored, &a, err);
}

/* --- the view --- */

static rs_status read_run(rs_report_view *v, rs_store *s, rs_error *err) {
    rs_status st = RS_OK;
    RS_TRY(read_facts(v, s, err));
    RS_TRY(rs_view_read_layers(v, s, err));
    for (size_t i = 0; i < sizeof stored_names / sizeof *stored_names; i++)
        RS_TRY(read_array(v, s, stored_names[i], err));
    RS_TRY(rs_view_read_distance(v, s, err));
    RS_TRY(rs_view_read_spectrum(v, s, err));
    RS_TRY(rs_view_read_ablations(v, s, err));
out:
    return st;
}

/* Is c a control of v? Shapes and tokens must be the same, or nothing stands beside its like. */
static rs_status check_control(const rs_report_view *v, const rs_report_view *c, rs_error *err) {
    if (c->control_seed <= 0)
        return rs_fail(err, RS_E_USAGE, "%s: attribute 'control' is not a seed: not a run of audit --control", c->path);
    if (c->n_layers != v->n_layers || c->n_heads != v->n_heads || c->n_pairs != v->n_pairs || c->n_ropes != v->n_ropes)
        return rs_fail(err, RS_E_USAGE,
                       "%s: %d layers of %d heads of %d pairs, %d rotary tables; %s has %d, %d, %d, %d: not a control "
                       "of it",
                       c->path, c->n_layers, c->n_heads, c->n_pairs, c->n_ropes, v->path, v->n_layers, v->n_heads,
                       v->n_pairs, v->n_ropes);
    if (strcmp(c->ids_sha256, v->ids_sha256) != 0)
        return rs_fail(err, RS_E_USAGE, "%s: read other tokens (SHA-256 %.12s) than %s (%.12s)", c->path, c->ids_sha256,
                       v->path, v->ids_sha256);
    return RS_OK;
}

/* What pictures draw of the control: control/NAME in v->derived. */
static rs_status adopt_control(rs_report_view *v, rs_error *err) {
    static const char *const names[] = {"by_frequency/q_share", "by_frequency/k_share", "by_frequency/zero_cost",
                                        "by_frequency/unrotate_cost", "verdict/by_frequency"};
    char name[RS_NAME_BYTES];
    rs_status st = RS_OK;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const rs_array *x = rs_view_array(v->control, names[i]);
        rs_array *a = NULL;
        if (x == NULL || x->n_dims != 3) continue;
        snprintf(name, sizeof name, "control/%s", names[i]);
        RS_TRY(rs_arrays_add(&v->derived, &a, err, name, x->stored_as, x->unit, x->long_name, 3, x->dim_names[0],
                             x->dims[0], x->dim_names[1], x->dims[1], x->dim_names[2], x->dims[2]));
        memcpy(a->data, x->data, (size_t)rs_array_size(x) * sizeof *x->data);
    }
out:
    return st;
}

rs_status rs_report_view_open(const char *path, const char *control, const char *program, rs_report_view **out,
                              rs_error *err) {
    rs_status st = RS_OK;
    rs_report_view *v = NULL;
    rs_store *s = NULL;
    *out = NULL;
    RS_TRY(RS_NEW(&v, 1, err));
    v->path = path;
    v->program = program != NULL ? program : "ropescope";
    RS_TRY(rs_arena_create(&v->arena, err));
    RS_TRY(rs_store_open(path, &s, err));
    RS_TRY(read_run(v, s, err));
    RS_TRY(rs_view_purpose(v, err));
    RS_TRY(rs_view_derive(v, err));
    RS_TRY(rs_view_foretell(v, err));
    if (control != NULL) {
        RS_TRY(rs_report_view_open(control, NULL, program, &v->control, err));
        RS_TRY(check_control(v, v->control, err));
        RS_TRY(adopt_control(v, err));
    }
    RS_TRY(rs_view_say(v, err));
    *out = v;
    v = NULL;
out:
    rs_store_close(s);
    rs_report_view_close(v);
    return st;
}

void rs_report_view_close(rs_report_view *v) {
    if (v == NULL) return;
    rs_report_view_close(v->control);
    rs_arrays_deinit(&v->stored);
    rs_arrays_deinit(&v->derived);
    rs_json_free(v->model_files_root);
    rs_json_free(v->text_files_root);
    rs_json_free(v->layer_facts_root);
    rs_arena_destroy(v->arena);
    rs_free(v);
}

const rs_array *rs_view_array(const rs_report_view *v, const char *name) {
    const rs_array *a = rs_arrays_find(&v->stored, name);
    return a != NULL ? a : rs_arrays_find(&v->derived, name);
}

double rs_view_cell(const rs_array *a, int64_t i, int64_t j, int64_t k) {
    int64_t at[3] = {i, j, k}, offset = 0;
    if (a == NULL || a->data == NULL) return NAN;
    for (int d = 0; d < a->n_dims; d++) {
        int64_t x = d < 3 ? at[d] : 0;
        if (x < 0 || x >= a->dims[d]) return NAN;
        offset = offset * a->dims[d] + x;
    }
    return a->data[offset];
}

const double *rs_view_main_means(const rs_report_view *v, const char *by_frequency, int64_t *pairs) {
    const rs_array *a = rs_view_array(v, by_frequency); /* [rope, statistic, pair]; statistic 0 is the mean */
    *pairs = a != NULL ? a->dims[2] : 0;
    return a != NULL ? a->data + (int64_t)v->main_rope * a->dims[1] * a->dims[2] : NULL;
}

double rs_view_cache_bytes(const rs_report_view *v, int64_t n) {
    const rs_array *bytes = rs_view_array(v, "rope/cache_bytes");
    double sum = 0.0;
    for (int r = 0; r < v->n_ropes; r++) sum += rs_view_cell(bytes, r, n, 0);
    return sum;
}

const char *rs_view_finding_text(const rs_report_view *v, const char *key) {
    for (int i = 0; i < v->n_findings; i++)
        if (strcmp(v->findings[i].key, key) == 0) return v->findings[i].text;
    return NULL;
}
