#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "analyzer/base/alloc.h"
#include "analyzer/base/file.h"
#include "tests/support/golden.h"
#include "tests/support/test_device.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(rs_status st, const rs_error *err) {
    if (st != RS_OK) {
        fail_msg("%s: %s", rs_status_text(st), err->message);
    }
}

void rs_golden_path(const char *kind, const char *name, char out[1024]) {
    const char *source = getenv("RS_SOURCE_DIR");
    int n = snprintf(out, 1024, "%s/tests/golden/%s/%s", source ? source : ".", kind, name);
    assert_true(n > 0 && n < 1024);
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

const char *const *rs_golden_names(const char *kind) {
    static char store[64][64];
    static const char *names[65];
    char folder[1024];
    size_t n = 0;
    rs_golden_path(kind, "", folder);
    DIR *d = opendir(folder);
    if (!d) {
        fail_msg("%s: no such folder; RS_SOURCE_DIR names the source tree", folder);
        return names;
    }
    for (struct dirent *e = readdir(d); e && n < 64; e = readdir(d)) {
        if (e->d_name[0] != '.' && strlen(e->d_name) < sizeof store[0]) {
            strcpy(store[n], e->d_name);
            names[n] = store[n];
            n++;
        }
    }
    closedir(d);
    qsort(names, n, sizeof *names, by_name);
    names[n] = NULL;
    return names;
}

/* Whole file, NUL-terminated; NULL when it is not there. */
static char *slurp(const char *folder, const char *name, size_t *bytes) {
    char path[2048];
    char *out = NULL;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "rb");
    if (!f) {
        return NULL;
    }
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    long size = ftell(f);
    assert_true(size >= 0);
    rewind(f);
    out = calloc((size_t)size + 1, 1);
    assert_non_null(out);
    assert_int_equal(fread(out, 1, (size_t)size, f), (size_t)size);
    fclose(f);
    *bytes = (size_t)size;
    return out;
}

void rs_golden_open(const char *folder, rs_golden *out) { rs_golden_open_model(folder, folder, out); }

static void open_checkpoint(const char *model, rs_golden *out) {
    rs_error err = {0};
    memset(out, 0, sizeof *out);
    must(rs_arena_create(&out->arena, &err), &err);
    must(rs_checkpoint_open(model, &out->checkpoint, &err), &err);
    must(rs_graph_create(out->checkpoint, NULL, out->arena, &out->graph, &err), &err);
}

/* With the corpus open: tables may depend on the positions that are run. */
static void bind(rs_golden *out) {
    rs_error err = {0};
    const rs_graph_options o = {.context = out->corpus.context};
    must(rs_graph_create(out->checkpoint, &o, out->arena, &out->graph, &err), &err);
    must(rs_weights_bind(out->checkpoint, out->graph, out->arena, &out->weights, &err), &err);
    must(rs_device_open(rs_test_device(), 2, &out->backend, &out->device, &err), &err);
}

void rs_golden_open_model(const char *model, const char *folder, rs_golden *out) {
    rs_error err = {0};
    char path[2048];
    size_t bytes = 0;
    open_checkpoint(model, out);
    snprintf(out->folder, sizeof out->folder, "%s", folder);
    snprintf(path, sizeof path, "%s/ids.txt", folder);
    must(rs_corpus_from_ids(path, out->graph->vocab, 0, 0, &out->corpus, &err), &err);
    bind(out);
    out->index = slurp(folder, "expected.tsv", &bytes);
    out->blob = slurp(folder, "expected.bin", &out->blob_bytes);
}

void rs_golden_open_text(const char *model, const char *text, int64_t context, int64_t sequences, rs_golden *out) {
    rs_error err = {0};
    rs_tokenizer *tokenizer = NULL;
    open_checkpoint(model, out);
    must(rs_tokenizer_open(out->checkpoint, NULL, &tokenizer, &err), &err);
    must(rs_corpus_from_text(tokenizer, &text, 1, context, sequences, RS_BOS_AUTO, &out->corpus, &err), &err);
    rs_tokenizer_close(tokenizer);
    bind(out);
}

void rs_golden_close(rs_golden *g) {
    rs_corpus_deinit(&g->corpus);
    g->backend->close(g->device);
    rs_checkpoint_close(g->checkpoint);
    rs_arena_destroy(g->arena);
    free(g->index);
    free(g->blob);
    memset(g, 0, sizeof *g);
}

/* "2,96,61" */
static void parse_dims(const char *text, rs_golden_array *a) {
    a->n = 1;
    a->n_dims = 0;
    for (const char *p = text; *p && a->n_dims < 5; p++) {
        char *end = NULL;
        a->dims[a->n_dims] = strtoll(p, &end, 10);
        a->n *= a->dims[a->n_dims++];
        p = end;
        if (!*p) {
            break;
        }
    }
}

static void widen(const rs_golden *g, size_t offset, size_t size, rs_golden_array *a) {
    assert_true(offset + (size_t)a->n * size <= g->blob_bytes);
    a->v = calloc((size_t)a->n + 1, sizeof *a->v);
    assert_non_null(a->v);
    for (int64_t i = 0; i < a->n; i++) { /* the files are little-endian, as every machine this runs on */
        const char *from = g->blob + offset + (size_t)i * size;
        float single = 0;
        if (size == sizeof single) {
            memcpy(&single, from, size);
            a->v[i] = (double)single;
        } else {
            memcpy(&a->v[i], from, size);
        }
    }
}

bool rs_golden_find(const rs_golden *g, const char *name, rs_golden_array *out) {
    memset(out, 0, sizeof *out);
    assert_non_null(g->index);
    assert_non_null(g->blob);
    for (const char *line = g->index; *line; line = strchr(line, '\n') + 1) {
        char found[128], type[8], dims[64];
        unsigned long offset = 0;
        if (sscanf(line, "%127[^\t]\t%7[^\t]\t%63[^\t]\t%lu", found, type, dims, &offset) != 4) {
            fail_msg("%s/expected.tsv: a line does not read: %.60s", g->folder, line);
        }
        if (strcmp(found, name) == 0) {
            parse_dims(dims, out);
            widen(g, offset, strcmp(type, "f32") == 0 ? sizeof(float) : sizeof(double), out);
            return true;
        }
    }
    return false;
}

void rs_golden_array_free(rs_golden_array *a) {
    free(a->v);
    memset(a, 0, sizeof *a);
}

typedef struct collect {
    rs_golden_output *out;
    int z_layer;
} collect;

static bool wants(void *ctx, rs_site site, int layer) {
    const collect *c = ctx;
    return site == RS_SITE_LOGITS || (site == RS_SITE_Z && layer == c->z_layer);
}

static rs_status observe(void *ctx, const rs_frame *f, rs_error *err) {
    rs_status st = RS_OK;
    collect *c = ctx;
    const rs_view *v = &f->view;
    int64_t n = rs_view_size(v);
    float *got = NULL;
    RS_TRY(RS_NEW(&got, (size_t)n, err));
    RS_TRY(f->backend->read(f->device, v->mem, v->offset, got, sizeof *got * (size_t)n, err));
    if (f->site == RS_SITE_Z) {
        memcpy(c->out->z + f->sequence * n, got, sizeof *got * (size_t)n);
    } else {
        for (int64_t i = 0; i < v->dim[0]; i++) {
            float *row = c->out->logits + (f->sequence * c->out->positions + f->row0 + i) * c->out->vocab + f->col0;
            memcpy(row, got + i * v->dim[1], sizeof *got * (size_t)v->dim[1]);
        }
    }
out:
    rs_free(got);
    return st;
}

static void output_init(const rs_golden *g, const rs_golden_run *how, rs_golden_output *out) {
    const rs_layer *l = &g->graph->layers[how->z_layer];
    memset(out, 0, sizeof *out);
    out->sequences = how->sequences > 0 ? how->sequences : g->corpus.sequences;
    out->positions = g->corpus.context;
    out->vocab = g->graph->vocab;
    out->z_width = (int64_t)l->heads * l->v_dim;
    size_t tokens = (size_t)(out->sequences * out->positions);
    out->logits = calloc(tokens * (size_t)out->vocab, sizeof *out->logits);
    out->token_nll = calloc(tokens, sizeof *out->token_nll);
    out->z = calloc(tokens * (size_t)out->z_width, sizeof *out->z);
    assert_true(out->logits && out->token_nll && out->z);
}

void rs_golden_execute(rs_golden *g, const rs_golden_run *how, rs_golden_output *out) {
    rs_error err = {0};
    rs_run *run = NULL;
    output_init(g, how, out);
    collect c = {.out = out, .z_layer = how->z_layer};
    rs_hook hook = {.name = "collect", .ctx = &c, .wants = wants, .observe = observe};
    rs_run_options o = {.ids = g->corpus.ids + how->first * g->corpus.context,
                        .sequences = out->sequences,
                        .positions = out->positions,
                        .hooks = &hook,
                        .n_hooks = 1,
                        .edits = how->edits,
                        .n_edits = how->n_edits,
                        .loss = true,
                        .tile_rows = how->tile_rows,
                        .last_layer = -1};
    must(rs_run_create(g->checkpoint, g->graph, g->weights, g->backend, g->device, &o, &run, &err), &err);
    must(rs_run_execute(&run, 1, &err), &err);
    memcpy(out->token_nll, rs_run_token_nll(run), sizeof *out->token_nll * (size_t)(out->sequences * out->positions));
    rs_run_destroy(run);
}

rs_status rs_golden_refused(rs_golden *g, const rs_edit *edit, rs_error *err) {
    rs_run *run = NULL;
    rs_run_options o = {.ids = g->corpus.ids,
                        .sequences = 1,
                        .positions = g->corpus.context,
                        .edits = edit,
                        .n_edits = 1,
                        .loss = true,
                        .last_layer = -1};
    rs_status st = rs_run_create(g->checkpoint, g->graph, g->weights, g->backend, g->device, &o, &run, err);
    rs_run_destroy(run);
    return st;
}

void rs_golden_output_free(rs_golden_output *o) {
    free(o->logits);
    free(o->token_nll);
    free(o->z);
    memset(o, 0, sizeof *o);
}

typedef struct worst {
    double difference, scale;
} worst;

static void compare(worst *w, double a, double b) {
    if (isnan(a) && isnan(b)) {
        return;
    }
    double d = isnan(a) || isnan(b) ? INFINITY : fabs(a - b);
    w->difference = d > w->difference ? d : w->difference;
    w->scale = fabs(b) > w->scale ? fabs(b) : w->scale;
}

static double ratio(const worst *w) { return w->scale > 0 ? w->difference / w->scale : w->difference; }

double rs_golden_error_f32(const float *a, const float *b, int64_t n) {
    worst w = {0, 0};
    for (int64_t i = 0; i < n; i++) {
        compare(&w, (double)a[i], (double)b[i]);
    }
    return ratio(&w);
}

double rs_golden_error_f64(const double *a, const double *b, int64_t n) {
    worst w = {0, 0};
    for (int64_t i = 0; i < n; i++) {
        compare(&w, a[i], b[i]);
    }
    return ratio(&w);
}
