#include "analyzer/cli/recorded_input.h"

#include "analyzer/base/alloc.h"
#include "analyzer/base/json.h"

#include <string.h>

/* What the run says of itself; everything owned here. */
typedef struct recorded {
    char *model_path, *ids_sha256, *bos, *task, *task_file; /* the last two NULL where there are none */
    rs_json *model_files, *text_files;
    rs_input_options options;
    rs_strings arguments;
} recorded;

static rs_status text_attribute(rs_store *run, const char *path, const char *name, char **out, rs_error *err) {
    rs_status st = rs_store_get_string(run, "/", name, out, err);
    if (st == RS_OK && !*out) {
        st = rs_fail(err, RS_E_FORMAT, "%s: attribute '%s' is missing: is this the run of an audit?", path, name);
    }
    return st;
}

static rs_status json_attribute(rs_store *run, const char *path, const char *name, rs_json **out, rs_error *err) {
    char *text = NULL;
    rs_status st = text_attribute(run, path, name, &text, err);
    st = st == RS_OK ? rs_json_parse(text, strlen(text), path, out, err) : st;
    rs_free(text);
    return st;
}

static rs_status size_attribute(rs_store *run, const char *path, const char *name, int64_t *out, rs_error *err) {
    double x = rs_store_get_real(run, "/", name, -1);
    if (!(x >= 1 && x < 1e9)) {
        return rs_fail(err, RS_E_FORMAT, "%s: attribute '%s': found %g, expected a number of at least 1", path, name,
                       x);
    }
    *out = (int64_t)x;
    return RS_OK;
}

/* A task is made again, unless its ids are given. */
static rs_status read_task(rs_store *run, recorded *r, rs_error *err) {
    rs_status st = RS_OK;
    RS_TRY(rs_store_get_string(run, "/", "task", &r->task, err));
    RS_TRY(rs_store_get_string(run, "/", "task_file", &r->task_file, err));
    if (r->task && !r->options.ids) {
        r->options.task = r->task;
        r->options.task_file = r->task_file;
        r->options.task_items = (int64_t)rs_store_get_real(run, "/", "task_items", 0);
        r->options.task_gold = (int64_t)rs_store_get_real(run, "/", "task_gold", 0);
        r->options.seed = (int64_t)rs_store_get_real(run, "/", "task_seed", 0);
    }
out:
    return st;
}

static rs_status read_recorded(rs_store *run, const char *path, recorded *r, rs_error *err) {
    rs_status st = RS_OK;
    RS_TRY(text_attribute(run, path, "model_path", &r->model_path, err));
    RS_TRY(text_attribute(run, path, "ids_sha256", &r->ids_sha256, err));
    RS_TRY(text_attribute(run, path, "bos", &r->bos, err));
    RS_TRY(json_attribute(run, path, "model_files", &r->model_files, err));
    RS_TRY(json_attribute(run, path, "text_files", &r->text_files, err));
    RS_TRY(size_attribute(run, path, "context", &r->options.context, err));
    RS_TRY(size_attribute(run, path, "sequences", &r->options.sequences, err));
    r->options.tokens = 0;
    RS_TRY(read_task(run, r, err));
    r->options.bos = rs_starts_with(r->bos, "every") ? RS_BOS_YES
                     : rs_starts_with(r->bos, "no")  ? RS_BOS_NO
                                                     : RS_BOS_AUTO;
out:
    return st;
}

/* MODEL TEXT... as rs_input_open takes them. */
static rs_status take_arguments(recorded *r, const char *path, const rs_strings *more, rs_error *err) {
    size_t texts = rs_json_size(r->text_files), room = sizeof r->arguments.item / sizeof *r->arguments.item;
    r->arguments = *more;
    if (more->count == 0) {
        r->arguments.item[r->arguments.count++] = r->model_path;
    }
    if (r->options.ids || r->options.task || more->count > 1) {
        return RS_OK;
    }
    if (rs_starts_with(r->bos, "as given")) {
        return rs_fail(err, RS_E_USAGE, "%s: the run was made from token ids, whose file it does not name: --ids FILE",
                       path);
    }
    for (size_t i = 0; i < texts && r->arguments.count < room; i++) {
        const char *text = rs_json_string(rs_json_get(rs_json_at(r->text_files, i), "path"), NULL);
        if (text) {
            r->arguments.item[r->arguments.count++] = text;
        }
    }
    return RS_OK;
}

static rs_status check_model(const recorded *r, const char *path, rs_checkpoint *c, rs_error *err) {
    size_t n = rs_checkpoint_file_count(c);
    if (n != rs_json_size(r->model_files)) {
        return rs_fail(err, RS_E_MISMATCH, "%s: the run's model had %zu files, this one has %zu", path,
                       rs_json_size(r->model_files), n);
    }
    for (size_t i = 0; i < n; i++) {
        char hex[65];
        const char *want = rs_json_string(rs_json_get(rs_json_at(r->model_files, i), "sha256"), NULL);
        rs_status st = rs_checkpoint_file_sha256(c, i, hex, err);
        if (st != RS_OK) {
            return st;
        }
        if (!want || strcmp(want, hex) != 0) {
            return rs_fail(err, RS_E_MISMATCH,
                           "%s: is not the file that %s was made from: found SHA-256 %.12s..., expected %.12s...",
                           rs_checkpoint_file_path(c, i), path, hex, want ? want : "");
        }
    }
    return RS_OK;
}

rs_status rs_recorded_input_open(rs_store *run, const char *path, const rs_strings *more, const rs_input_options *o,
                                 rs_input *out, rs_error *err) {
    rs_status st = RS_OK;
    recorded r = {.options = *o};
    *out = (rs_input){0};
    if (rs_store_get_real(run, "/", "control", 0) > 0) {
        return rs_fail(err, RS_E_USAGE,
                       "%s: a control (audit --control): its weights are in a random order and no model has them; take "
                       "the run of the model itself",
                       path);
    }
    RS_TRY(read_recorded(run, path, &r, err));
    RS_TRY(take_arguments(&r, path, more, err));
    RS_TRY(rs_input_open(&r.arguments, &r.options, out, err));
    RS_TRY(check_model(&r, path, out->model.checkpoint, err));
    if (strcmp(out->corpus.sha256, r.ids_sha256) != 0) {
        st = rs_fail(err, RS_E_MISMATCH,
                     "%s: the token ids are not those of the run (SHA-256 %.12s..., expected %.12s...): the text, the "
                     "tokenizer or its BOS differ",
                     path, out->corpus.sha256, r.ids_sha256);
    }
out:
    rs_free(r.model_path);
    rs_free(r.ids_sha256);
    rs_free(r.bos);
    rs_free(r.task);
    rs_free(r.task_file);
    rs_json_free(r.model_files);
    rs_json_free(r.text_files);
    if (st != RS_OK) {
        rs_input_close(out);
    }
    return st;
}
