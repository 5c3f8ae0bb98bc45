#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/model_case.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void model_case_begin(model_case *m) {
    memset(m, 0, sizeof *m);
    const char *tmp = getenv("TMPDIR");
    snprintf(m->folder, sizeof m->folder, "%.200s/rs_model_XXXXXX", tmp && *tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(m->folder));
}

static rs_status open_graph(model_case *m, const rs_graph_options *o) {
    memset(&m->error, 0, sizeof m->error);
    rs_status st = rs_arena_create(&m->arena, &m->error);
    if (st == RS_OK) st = rs_checkpoint_open(m->path, &m->checkpoint, &m->error);
    if (st == RS_OK) st = rs_graph_create(m->checkpoint, o, m->arena, &m->graph, &m->error);
    return st;
}

rs_status model_case_hf(model_case *m, const char *config_json, const hf_tensor *tensors, size_t n,
                        const rs_graph_options *o) {
    float zero = 0;
    const hf_tensor placeholder = {.name = "placeholder", .n_dims = 1, .dims = {1, 0}, .data = &zero};
    model_case_close(m);
    snprintf(m->path, sizeof m->path, "%s/model", m->folder);
    assert_true(hf_write(m->path, config_json, n ? tensors : &placeholder, n ? n : 1));
    return open_graph(m, o);
}

rs_status model_case_gguf(model_case *m, gguf_writer *w, const rs_graph_options *o) {
    model_case_close(m);
    snprintf(m->path, sizeof m->path, "%s/model.gguf", m->folder);
    assert_true(gguf_finish(w, m->path));
    return open_graph(m, o);
}

void model_case_close(model_case *m) {
    rs_checkpoint_close(m->checkpoint);
    rs_arena_destroy(m->arena);
    m->checkpoint = NULL;
    m->arena = NULL;
    m->graph = NULL;
}

void model_case_end(model_case *m) {
    static const char *const files[] = {"model/config.json", "model/model.safetensors", "model.gguf", "model.bin"};
    char path[320];
    model_case_close(m);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", m->folder, files[i]);
        unlink(path);
    }
    snprintf(path, sizeof path, "%s/model", m->folder);
    rmdir(path);
    rmdir(m->folder);
}

void model_case_refused(const model_case *m, rs_status st, rs_status expected, const char *words) {
    char copy[512], *rest = copy;
    if (st != expected)
        fail_msg("status '%s', expected '%s'; %s", rs_status_text(st), rs_status_text(expected), m->error.message);
    snprintf(copy, sizeof copy, "%s", words);
    while (rest) {
        char *word = rest, *bar = strchr(rest, '|');
        if (bar) *bar = '\0';
        rest = bar ? bar + 1 : NULL;
        if (!strstr(m->error.message, word)) fail_msg("'%s' is not in: %s", word, m->error.message);
    }
}

int model_case_pair(const rs_rope *r, int lo_hf) {
    for (int f = 0; f < r->n_pairs; f++)
        if (r->lo_hf[f] == lo_hf) return f;
    return -1;
}
