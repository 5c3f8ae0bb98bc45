/* dump: activations by site name into HDF5, for people's own analyses and for parity tests. Components of queries and
 * keys are put into Hugging Face order here, whatever the file's order was; everything is written as it is computed, T
 * x T tile by tile. */
#include "analyzer/cli/commands.h"

#include "analyzer/base/alloc.h"
#include "analyzer/base/file.h"
#include "analyzer/cli/input.h"
#include "analyzer/cli/program.h"
#include "analyzer/forward/run.h"
#include "data/store.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct dump_options {
    rs_strings arguments;
    rs_input_options input;
    const char *output;
    rs_strings sites;
    bool force;
} dump_options;

typedef struct dump {
    const dump_options *o;
    rs_input input;
    const rs_backend *backend;
    rs_device *device;
    rs_device_info device_info;
    rs_store *store;
    rs_run *run;
    rs_progress progress;
    bool matched[64]; /* which globs named something */
    float *values, *ordered;
    int64_t room; /* elements of both */
} dump;

static bool wants(void *ctx, rs_site site, int layer) {
    dump *d = ctx;
    char name[64];
    bool hit = false;
    rs_site_name(site, layer, name);
    for (size_t i = 0; i < d->o->sites.count; i++) {
        if (rs_glob_match(d->o->sites.item[i], name)) {
            d->matched[i] = hit = true;
        }
    }
    return hit;
}

static rs_status make_room(dump *d, int64_t n, rs_error *err) {
    rs_status st = RS_OK;
    if (n > d->room) {
        RS_TRY(rs_resize((void **)&d->values, (size_t)d->room, (size_t)n, sizeof *d->values, err));
        RS_TRY(rs_resize((void **)&d->ordered, (size_t)d->room, (size_t)n, sizeof *d->ordered, err));
        d->room = n;
    }
out:
    return st;
}

static bool has_components(rs_site s) {
    return s == RS_SITE_Q || s == RS_SITE_K || s == RS_SITE_Q_ROPE || s == RS_SITE_K_ROPE || s == RS_SITE_ROT_Q ||
           s == RS_SITE_ROT_K;
}

/* ordered[row, hf index] = values[row, file index] */
static void to_hf_order(const rs_rope *rope, const float *values, int64_t rows, float *ordered) {
    for (int64_t i = 0; i < rows; i++) {
        for (int c = 0; c < rope->head_dim; c++) {
            ordered[i * rope->head_dim + rope->hf_from_file[c]] = values[i * rope->head_dim + c];
        }
    }
}

/* Full shape of a site's dataset, with the axis names of site.h. */
static rs_status define(dump *d, const rs_frame *f, const char *name, rs_error *err) {
    rs_array a = {.stored_as = RS_F32, .count = 0};
    const char *axis = rs_site_shape(f->site);
    bool square = f->site == RS_SITE_SCORES || f->site == RS_SITE_PATTERN;
    int64_t tail = f->site == RS_SITE_LOGITS ? f->graph->vocab : f->view.dim[f->view.n_dims - 1];
    a.dims[0] = f->sequences;
    a.dims[1] = square ? f->view.dim[0] : f->positions;
    a.dims[2] = square ? f->positions : f->view.n_dims == 3 ? f->view.dim[1] : tail;
    a.dims[3] = square ? f->positions : tail;
    a.n_dims = square || f->view.n_dims == 3 ? 4 : 3;
    snprintf(a.name, sizeof a.name, "%s", name);
    snprintf(a.unit, sizeof a.unit, "1");
    snprintf(a.long_name, sizeof a.long_name, "activation at %s%s", rs_site_pattern(f->site),
             has_components(f->site) ? ", components in Hugging Face order" : "");
    for (int i = 0; i < a.n_dims; i++) {
        size_t n = strcspn(axis, ",");
        snprintf(a.dim_names[i], sizeof a.dim_names[i], "%.*s", (int)n, axis);
        axis += axis[n] ? n + 1 : n;
    }
    return rs_store_define(d->store, &a, err);
}

static rs_status put(dump *d, const rs_frame *f, const char *name, const float *v, rs_error *err) {
    bool square = f->site == RS_SITE_SCORES || f->site == RS_SITE_PATTERN;
    const rs_view *x = &f->view;
    int64_t start[4] = {f->sequence, f->row0, f->col0, 0}, count[4] = {1, x->dim[0], x->dim[1], x->dim[2]};
    if (square) {
        start[1] = 0;
        start[2] = f->row0;
        start[3] = f->col0;
    }
    return rs_store_put_f32(d->store, name, start, count, v, err);
}

/* Scores and patterns: a tile holds no columns left of the window and right of its last row; the file has them as -inf
 * and 0. */
static rs_status put_masked(dump *d, const rs_frame *f, const char *name, rs_error *err) {
    rs_status st = RS_OK;
    int64_t H = f->view.dim[0], R = f->view.dim[1], C = f->view.dim[2], T = f->positions;
    float outside = f->site == RS_SITE_SCORES ? -INFINITY : 0.0F;
    rs_frame whole = *f;
    RS_TRY(make_room(d, H * R * T, err));
    for (int64_t i = 0; i < H * R * T; i++) {
        d->ordered[i] = outside;
    }
    for (int64_t i = 0; i < H * R; i++) {
        memcpy(d->ordered + i * T + f->col0, d->values + i * C, sizeof(float) * (size_t)C);
    }
    whole.col0 = 0;
    whole.view.dim[2] = T;
    RS_TRY(put(d, &whole, name, d->ordered, err));
out:
    return st;
}

static rs_status observe(void *ctx, const rs_frame *f, rs_error *err) {
    rs_status st = RS_OK;
    dump *d = ctx;
    char name[64];
    int64_t n = rs_view_size(&f->view);
    rs_site_name(f->site, f->layer, name);
    if (!rs_store_has(d->store, name)) {
        RS_TRY(define(d, f, name, err));
    }
    RS_TRY(make_room(d, n, err));
    RS_TRY(f->backend->read(f->device, f->view.mem, f->view.offset, d->values, sizeof(float) * (size_t)n, err));
    if (f->site == RS_SITE_SCORES || f->site == RS_SITE_PATTERN) {
        RS_TRY(put_masked(d, f, name, err));
    } else if (has_components(f->site)) {
        to_hf_order(&f->layer_info->rope, d->values, n / f->layer_info->head_dim, d->ordered);
        RS_TRY(put(d, f, name, d->ordered, err));
    } else {
        RS_TRY(put(d, f, name, d->values, err));
    }
out:
    return st;
}

static void on_progress(void *ctx, int layer, int64_t done, int64_t total) {
    dump *d = ctx;
    int L = d->input.model.graph->n_layers;
    rs_progress_show(&d->progress, layer + (double)done / (double)total, layer < L ? "layer %d of %d" : "logits",
                     layer + 1, L);
}

static rs_status check_globs(const dump *d, rs_error *err) {
    for (size_t i = 0; i < d->o->sites.count; i++) {
        if (!d->matched[i]) {
            char example[64];
            return rs_fail(err, RS_E_USAGE, "--site %s names no site of this model; sites look like %s or %s",
                           d->o->sites.item[i], rs_site_name(RS_SITE_ROT_Q, 0, example),
                           rs_site_pattern(RS_SITE_LOGITS));
        }
    }
    return RS_OK;
}

static rs_status write_tokens(dump *d, rs_error *err) {
    rs_status st = RS_OK;
    const rs_corpus *c = &d->input.corpus;
    rs_array a = {0};
    RS_TRY(rs_array_init(&a, err, "tokens", RS_I32, "1", "token ids of the sequences", 2, "sequence", c->sequences,
                         "position", c->context));
    for (int64_t i = 0; i < c->sequences * c->context; i++) {
        a.data[i] = c->ids[i];
    }
    RS_TRY(rs_store_write(d->store, &a, err));
    RS_TRY(rs_store_set_string(d->store, "/", "tool_version", RS_VERSION, err));
    RS_TRY(rs_store_set_string(d->store, "/", "command_line", rs_program_command_line(), err));
    RS_TRY(rs_store_set_string(d->store, "/", "model_name", d->input.model.graph->name, err));
    RS_TRY(rs_store_set_string(d->store, "/", "rope_words", d->input.model.graph->rope_words, err));
out:
    rs_array_deinit(&a);
    return st;
}

static rs_status execute(dump *d, rs_error *err) {
    rs_status st = RS_OK;
    const rs_corpus *c = &d->input.corpus;
    rs_hook hook = {.name = "dump", .ctx = d, .wants = wants, .observe = observe};
    rs_run_options ro = {.ids = c->ids,
                         .sequences = c->sequences,
                         .positions = c->context,
                         .hooks = &hook,
                         .n_hooks = 1,
                         .compute = rs_input_compute(&d->o->input, &d->input, d->device_info.card),
                         .on_card = d->device_info.card,
                         .last_layer = -1,
                         .progress = on_progress,
                         .progress_ctx = d};
    RS_TRY(rs_run_create(d->input.model.checkpoint, d->input.model.graph, d->input.model.weights, d->backend, d->device,
                         &ro, &d->run, err));
    RS_TRY(check_globs(d, err));
    RS_TRY(rs_store_create(d->o->output, d->o->force, &d->store, err));
    RS_TRY(write_tokens(d, err));
    rs_progress_begin(&d->progress, d->o->input.quiet, d->input.model.graph->n_layers + 1, c->sequences * c->context);
    st = rs_run_execute(&d->run, 1, err);
    rs_progress_end(&d->progress);
    if (st == RS_OK) {
        rs_store *whole = d->store;
        d->store = NULL;
        st = rs_store_commit(whole, err);
    }
out:
    return st;
}

static rs_status run(const void *options, rs_error *err) {
    rs_status st = RS_OK;
    dump d = {.o = options};
    char *temporary = NULL;
    if (!d.o->output || d.o->sites.count == 0) {
        return rs_fail(err, RS_E_USAGE,
                       !d.o->output ? "no output given: -o ACTS.h5"
                                    : "no site given: --site 'blocks.0.attn.hook_rot_q' (repeatable, * and ? match)");
    }
    RS_TRY(rs_output_prepare(d.o->output, d.o->force, &temporary, err));
    RS_TRY(rs_device_open(d.o->input.device ? d.o->input.device : "auto", (int)d.o->input.threads, &d.backend,
                          &d.device, err));
    d.backend->info(d.device, &d.device_info);
    RS_TRY(rs_input_open(&d.o->arguments, &d.o->input, &d.input, err));
    RS_TRY(execute(&d, err));
    rs_note(d.o->input.quiet, "wrote %s", d.o->output);
out:
    rs_store_discard(d.store);
    rs_run_destroy(d.run);
    rs_input_close(&d.input);
    if (d.device) {
        d.backend->close(d.device);
    }
    rs_free(d.values);
    rs_free(d.ordered);
    rs_free(temporary);
    return st;
}

static const rs_option table[] = {
    {"output", 'o', RS_OPT_FILE, "ACTS.h5", "where the activations are written", offsetof(dump_options, output), false,
     0, 0},
    {"site", 's', RS_OPT_STRING, "GLOB", "site to write, by TransformerLens name; * and ? match; may be repeated",
     offsetof(dump_options, sites), true, 0, 0},
    RS_INPUT_TEXT_OPTIONS(dump_options),
    RS_INPUT_TASK_OPTIONS(dump_options),
    {"seed", 0, RS_OPT_INT, "N", "seed of --task (default: 0)", offsetof(dump_options, input.seed), false, 0, 9e15},
    RS_INPUT_MODEL_OPTIONS(dump_options),
    RS_INPUT_RUN_OPTIONS(dump_options),
    {"force", 0, RS_OPT_FLAG, NULL, "replace ACTS.h5 when it exists", offsetof(dump_options, force), false, 0, 0},
    {0},
};

const rs_command rs_cmd_dump = {
    .name = "dump",
    .summary = "write activations and logits by site name",
    .synopsis = "MODEL TEXT... --site GLOB -o ACTS.h5",
    .description = "Runs MODEL over the texts and writes activations to HDF5, one float32 dataset per site under its "
                   "TransformerLens name: queries and keys "
                   "(components in Hugging Face order), scores, patterns, residual streams, logits. T x T datasets are "
                   "written tile by tile.",
    .options = table,
    .options_size = sizeof(dump_options),
    .least_arguments = 1,
    .most_arguments = -1,
    .examples =
        "ropescope dump model/ novel.txt -n 1 -c 512 --site logits --site 'blocks.*.attn.hook_q_rope' -o acts.h5",
    .computes = true,
    .run = run,
};
