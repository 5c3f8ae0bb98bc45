/* audit: the main job. Everything is opened and checked first, the plan is made, and only then is the run file begun.
 */
#include "analyzer/cli/commands.h"

#include "analyzer/base/alloc.h"
#include "analyzer/base/clock.h"
#include "analyzer/base/file.h"
#include "analyzer/cli/calibrate.h"
#include "analyzer/cli/input.h"
#include "analyzer/cli/program.h"
#include "analyzer/cli/record.h"
#include "analyzer/cli/shards.h"
#include "analyzer/forward/run.h"
#include "probes/probe.h"

#include <inttypes.h>
#include <string.h>

typedef struct audit_options {
    rs_strings arguments;
    rs_input_options input;
    const char *output, *catalog;
    rs_strings probes;
    int64_t control;
    bool deep, no_state, dry_run, force;
} audit_options;

enum { MAX_PROBES = RS_SHARD_KINDS };

typedef struct audit {
    const audit_options *o;
    rs_input input;
    rs_shards shards;
    const rs_probe_kind *kind[MAX_PROBES];
    size_t n_kinds;
    rs_probe_facts facts;
    rs_record record;
    rs_plan plan;
    int64_t probe_bytes, host_bytes; /* of statistics on the device; of probes on the host */
    rs_progress progress;
} audit;

static rs_status name_probe(audit *a, const char *name, rs_error *err) {
    const rs_probe_kind *k = rs_probe_find(name);
    if (!k) {
        return rs_fail(err, RS_E_USAGE, "--probe %s: no such probe; `ropescope version` lists them", name);
    }
    for (size_t j = 0; j < a->n_kinds; j++) {
        if (a->kind[j] == k) {
            return rs_fail(err, RS_E_USAGE, "--probe %s is given twice", k->name);
        }
    }
    a->kind[a->n_kinds++] = k;
    return RS_OK;
}

/* Those that are named; all with --deep; otherwise the default set, and with --task what measures tasks. */
static rs_status choose_probes(audit *a, rs_error *err) {
    rs_status st = RS_OK;
    size_t n = 0;
    const rs_probe_kind *const *set = rs_probe_kinds(&n);
    if (a->o->deep && a->o->probes.count > 0) {
        return rs_fail(err, RS_E_USAGE, "--deep runs every probe; leave it out or --probe");
    }
    for (size_t i = 0; i < n && a->o->probes.count == 0; i++) {
        if (!set[i]->deep || a->o->deep || (set[i]->task && a->o->input.task)) {
            a->kind[a->n_kinds++] = set[i];
        }
    }
    for (size_t i = 0; i < a->o->probes.count && i < MAX_PROBES; i++) {
        RS_TRY(name_probe(a, a->o->probes.item[i], err));
    }
out:
    return st;
}

static void note_facts(audit *a) {
    const rs_corpus *c = &a->input.corpus;
    a->facts = (rs_probe_facts){.graph = a->input.model.graph,
                                .positions = c->context,
                                .sequences = c->sequences,
                                .seed = (uint64_t)a->o->input.seed,
                                .spans = a->input.task.spans};
}

/* A probe that this device or this run cannot have: an error where it was named, left out with a note otherwise. */
static rs_status check_probes(audit *a, rs_error *err) {
    size_t kept = 0;
    for (size_t i = 0; i < a->n_kinds; i++) {
        const rs_probe_kind *k = a->kind[i];
        rs_error why = {0};
        if (!k->available || k->available(&a->facts, a->shards.backend, &why) == RS_OK) {
            a->kind[kept++] = k;
        } else if (a->o->probes.count > 0) {
            return rs_fail(err, RS_E_UNAVAILABLE, "--probe %s: %s", k->name, why.message);
        } else if (!k->task) { /* nobody who reads a text misses what is of tasks */
            rs_note(a->o->input.quiet, "probe %s is left out: %s", k->name, why.message);
        }
    }
    a->n_kinds = kept;
    return RS_OK;
}

static void probe_names(const audit *a, rs_text *t) {
    for (size_t i = 0; i < a->n_kinds; i++) {
        rs_text_printf(t, "%s%s", i ? " " : "", a->kind[i]->name);
    }
}

static rs_run_options run_options(const audit *a) {
    const rs_corpus *c = &a->input.corpus;
    return (rs_run_options){.ids = c->ids,
                            .sequences = c->sequences,
                            .positions = c->context,
                            .loss = true,
                            .control = a->o->control,
                            .compute = rs_input_compute(&a->o->input, &a->input, a->shards.info.card),
                            .on_card = a->shards.info.card,
                            .last_layer = -1};
}

/* What the device must have; where it is the host, with what probes keep there. */
static int64_t on_device(const audit *a) {
    return a->plan.total + 2 * a->probe_bytes + (a->shards.info.card ? 0 : a->host_bytes);
}

static rs_status make_plan(audit *a, rs_error *err) {
    rs_status st = RS_OK;
    rs_run_options ro = run_options(a);
    rs_probe_set set = {a->kind, a->n_kinds};
    rs_hook wishes = rs_probes_wishes(&set);
    ro.sequences = rs_shards_share(&a->shards, ro.sequences); /* memory is counted on one device */
    ro.hooks = &wishes;
    ro.n_hooks = a->n_kinds > 0 ? 1 : 0;
    char need[32], have[32];
    RS_TRY(rs_run_plan(a->input.model.graph, a->input.model.weights, &ro, &a->plan, err));
    RS_TRY(rs_probes_bytes(a->kind, a->n_kinds, &a->facts, &a->probe_bytes, err));
    a->host_bytes = rs_probes_host_bytes(a->kind, a->n_kinds, &a->facts, a->shards.info.threads);
    uint64_t free_bytes = a->shards.info.memory_bytes, total = (uint64_t)on_device(a);
    if (free_bytes > 0 && total > free_bytes) {
        st = rs_fail(err, RS_E_UNAVAILABLE,
                     "this run needs %s of memory on its device and %s are free; take fewer sequences (--sequences) or "
                     "a shorter "
                     "context (--context)",
                     rs_format_bytes(need, total), rs_format_bytes(have, free_bytes));
    }
out:
    return st;
}

static void print_bytes(rs_text *t, const char *what, int64_t bytes) {
    char text[32];
    rs_text_printf(t, "  %-44s %12s\n", what, rs_format_bytes(text, (uint64_t)bytes));
}

static rs_status print_plan(audit *a, rs_error *err) {
    rs_status st = RS_OK;
    const rs_graph *g = a->input.model.graph;
    const rs_corpus *c = &a->input.corpus;
    rs_text t = {0};
    char count[32], memory[32];
    double rate = 0;
    RS_TRY(rs_calibrate(a->shards.backend, a->shards.device[0], &rate, err));
    rs_text_printf(&t, "model     %s, %s, %s parameters, %d layers\n", g->name, g->family,
                   rs_format_count(count, rs_weights_parameters(a->input.model.weights)), g->n_layers);
    rs_text_printf(&t, "rope      %s\n", g->rope_words);
    rs_text_printf(&t, "text      %" PRId64 " sequences of %" PRId64 " tokens%s\n", c->sequences, c->context,
                   c->bos ? ", each beginning with BOS" : "");
    rs_text_printf(&t, "device    %s; products in %s\n", a->shards.info.name, rs_compute_name(run_options(a).compute));
    rs_text_append(&t, "probes    ");
    probe_names(a, &t);
    rs_text_append(&t, "\ntiles     ");
    if (a->plan.tile_rows > 0) {
        rs_text_printf(&t, "%" PRId64 " query rows", a->plan.tile_rows);
    } else {
        rs_text_append(&t, "no attention pattern in memory");
    }
    rs_text_printf(&t, ", %" PRId64 " rows per chunk, %" PRId64 " vocabulary rows\nmemory\n", a->plan.chunk_rows,
                   a->plan.vocab_chunk);
    print_bytes(&t, "residual stream of all tokens", a->plan.residual);
    print_bytes(&t, "weights: a layer as stored, a layer as multiplied", a->plan.weights);
    print_bytes(&t, a->plan.tile_rows > 0 ? "activations of one sequence, tiles" : "activations of one sequence",
                a->plan.scratch);
    print_bytes(&t, "vocabulary and logit chunks", a->plan.vocabulary);
    print_bytes(&t, "statistics of one layer", 2 * a->probe_bytes);
    if (a->host_bytes > 0) {
        print_bytes(&t, a->shards.info.card ? "sampled rows of probes (on the host)" : "sampled rows of probes",
                    a->host_bytes);
    }
    print_bytes(&t, "in all, beside the program and its libraries", on_device(a));
    rs_text_printf(&t, "  %-44s %12s\n", "free now", rs_format_bytes(memory, a->shards.info.memory_bytes));
    rs_text_printf(&t, "reads     %s of weights, once\n", rs_format_bytes(memory, (uint64_t)a->plan.stored_bytes));
    rs_text_printf(
        &t, "time      about %.0f s: %.1f TFLOP at the %.0f GFLOP/s measured just now, two thirds of it reached\n",
        a->plan.flops / rate * 1.5, a->plan.flops / 1e12, rate / 1e9);
    RS_TRY(rs_print(&t, err));
out:
    rs_text_deinit(&t);
    return st;
}

static void on_progress(void *ctx, int layer, int64_t done, int64_t total) {
    audit *a = ctx;
    int L = a->facts.graph->n_layers;
    double flops = a->plan.flops, loss = 2.0 * (double)(a->facts.positions * a->facts.sequences) *
                                         (double)a->facts.graph->width * (double)a->facts.graph->vocab;
    double share = (double)done / (double)total;
    if (layer < L) {
        rs_progress_show(&a->progress, (flops - loss) * (layer + share) / L, "layer %d of %d", layer + 1, L);
    } else {
        rs_progress_show(&a->progress, flops - loss + loss * share, "loss");
    }
}

/* The catalogue stands beside the run unless it is named. */
static rs_status catalog_path(const audit_options *o, char **out, rs_error *err) {
    const char *slash = strrchr(o->output, '/');
    char *folder = NULL;
    if (o->catalog) {
        return rs_strdup(out, o->catalog, err);
    }
    if (!slash) {
        return rs_strdup(out, "ropescope.sqlite", err);
    }
    rs_status st = rs_strndup(&folder, o->output, slash == o->output ? 1 : (size_t)(slash - o->output), err);
    if (st == RS_OK) {
        st = rs_path_join(out, folder, "ropescope.sqlite", err);
    }
    rs_free(folder);
    return st;
}

static rs_status compute(audit *a, double *seconds, rs_error *err) {
    rs_status st = RS_OK;
    rs_run_options ro = run_options(a);
    ro.progress = on_progress;
    ro.progress_ctx = a;
    rs_progress_begin(&a->progress, a->o->input.quiet, a->plan.flops, ro.sequences * ro.positions);
    double begun = rs_clock_seconds();
    st =
        rs_shards_execute(&a->shards, &a->input, &ro, a->kind, a->n_kinds, &a->facts, rs_record_layer, &a->record, err);
    *seconds = rs_clock_seconds() - begun;
    rs_progress_end(&a->progress);
    return st;
}

static rs_status write_run(audit *a, const char *catalog, rs_error *err) {
    rs_status st = RS_OK;
    double seconds = 0;
    rs_text names = {0};
    probe_names(a, &names);
    RS_TRY(rs_text_status(&names, err));
    RS_TRY(rs_store_create(a->o->output, a->o->force, &a->record.store, err));
    a->record.input = &a->input;
    a->record.facts = &a->facts;
    a->record.no_state = a->o->no_state;
    a->record.control = a->o->control;
    a->record.compute = rs_compute_name(run_options(a).compute);
    RS_TRY(rs_record_begin(&a->record, &a->shards.info, names.data ? names.data : "", err));
    RS_TRY(compute(a, &seconds, err));
    RS_TRY(rs_record_end(&a->record, a->shards.nll, a->shards.top1, seconds, err));
    rs_store *whole = a->record.store;
    a->record.store = NULL;
    RS_TRY(rs_store_commit(whole, err));
    RS_TRY(rs_record_catalog(a->o->output, catalog, err));
    rs_note(a->o->input.quiet, "%" PRId64 " tokens in %.1f s (%.0f tokens/s); wrote %s, recorded in %s",
            a->facts.positions * a->facts.sequences, seconds,
            (double)(a->facts.positions * a->facts.sequences) / seconds, a->o->output, catalog);
    if (a->input.task.spans) {
        rs_note(a->o->input.quiet,
                "%s: %.1f %% of the answers' tokens right, %.1f %% of the answers, %.3f nats per token",
                a->o->input.task, 100 * a->record.answer_accuracy, 100 * a->record.answers_whole, a->record.answer_nll);
    }
    rs_note(a->o->input.quiet, "read it with: ropescope report %s   (or -o report.html)", a->o->output);
out:
    rs_text_deinit(&names);
    return st;
}

static void note_input(const audit *a) {
    const rs_corpus *c = &a->input.corpus;
    bool quiet = a->o->input.quiet;
    rs_note(quiet, "%s: %s", a->input.model.graph->name, a->input.model.graph->rope_words);
    for (int i = 0; i < a->input.model.graph->n_warnings; i++) {
        rs_note(quiet, "warning: %s", a->input.model.graph->warnings[i]);
    }
    if (a->input.task.spans) {
        rs_note(quiet, "%s: %" PRId64 " sequences of %" PRId64 "%s, seed %" PRIu64, a->o->input.task, c->sequences,
                c->context, c->bos ? " with BOS" : "", a->input.task.seed);
    }
    for (size_t i = 0; i < c->file_count; i++) {
        rs_note(quiet, "%s: %" PRId64 " tokens, %" PRId64 " sequences of %" PRId64 "%s, %" PRId64 " tokens left over",
                c->files[i].path, c->files[i].tokens, c->files[i].windows, c->context, c->bos ? " with BOS" : "",
                c->files[i].left_over);
    }
}

static rs_status open_all(audit *a, rs_error *err) {
    rs_status st = RS_OK;
    RS_TRY(choose_probes(a, err));
    RS_TRY(rs_shards_open(a->o->input.device ? a->o->input.device : "auto", (int)a->o->input.threads, &a->shards, err));
    RS_TRY(rs_input_open(&a->o->arguments, &a->o->input, &a->input, err));
    note_facts(a);
    RS_TRY(check_probes(a, err));
    RS_TRY(make_plan(a, err));
out:
    return st;
}

static rs_status run(const void *options, rs_error *err) {
    rs_status st = RS_OK;
    audit a = {.o = options};
    char *temporary = NULL, *catalog = NULL;
    if (!a.o->output && !a.o->dry_run) {
        return rs_fail(err, RS_E_USAGE,
                       "no output given: -o RUN.h5 says where the run is written (--dry-run prints the plan alone)");
    }
    if (a.o->output && !a.o->dry_run) { /* refused now rather than after the text is read */
        RS_TRY(rs_output_prepare(a.o->output, a.o->force, &temporary, err));
        RS_TRY(catalog_path(a.o, &catalog, err));
    }
    RS_TRY(open_all(&a, err));
    if (a.o->dry_run) {
        RS_TRY(print_plan(&a, err));
    } else {
        note_input(&a);
        RS_TRY(rs_catalog_check(catalog, err));
        RS_TRY(write_run(&a, catalog, err));
    }
out:
    rs_store_discard(a.record.store);
    rs_shards_close(&a.shards);
    rs_input_close(&a.input);
    rs_free(temporary);
    rs_free(catalog);
    return st;
}

static const rs_option table[] = {
    {"output", 'o', RS_OPT_FILE, "RUN.h5", "where the run is written", offsetof(audit_options, output), false, 0, 0},
    RS_INPUT_TEXT_OPTIONS(audit_options),
    RS_INPUT_TASK_OPTIONS(audit_options),
    RS_INPUT_MODEL_OPTIONS(audit_options),
    {"probe", 'p', RS_OPT_STRING, "NAME",
     "run this probe, may be repeated (default: those that cost little; `ropescope version` lists all and says which)",
     offsetof(audit_options, probes), true, 0, 0},
    {"deep", 0, RS_OPT_FLAG, NULL, "run every probe, also those that take long or write large files",
     offsetof(audit_options, deep), false, 0, 0},
    {"seed", 0, RS_OPT_INT, "N", "seed of sampled measurements and of --task (default: 0)",
     offsetof(audit_options, input.seed), false, 0, 9e15},
    RS_INPUT_RUN_OPTIONS(audit_options),
    {"catalog", 0, RS_OPT_FILE, "FILE", "SQLite catalogue of runs (default: ropescope.sqlite beside RUN.h5)",
     offsetof(audit_options, catalog), false, 0, 0},
    {"no-state", 0, RS_OPT_FLAG, NULL,
     "leave the raw sums (/state) out: a smaller file, which cannot be merged with others later",
     offsetof(audit_options, no_state), false, 0, 0},
    {"control", 0, RS_OPT_INT, "SEED",
     "audit a control instead: the rows of the query and key projections in a random order; what such a run still "
     "shows "
     "by frequency was not learned (1 or above)",
     offsetof(audit_options, control), false, 1, 9e15},
    {"dry-run", 0, RS_OPT_FLAG, NULL, "print what would be done and the memory it takes, and stop",
     offsetof(audit_options, dry_run), false, 0, 0},
    {"force", 0, RS_OPT_FLAG, NULL, "replace RUN.h5 when it exists", offsetof(audit_options, force), false, 0, 0},
    {0},
};

const rs_command rs_cmd_audit = {
    .name = "audit",
    .summary = "run a model over texts and measure how its heads use their rotary frequencies",
    .synopsis = "MODEL TEXT... -o RUN.h5",
    .description = "Runs MODEL (a Hugging Face directory, a .gguf file or a llama2.c .bin with --tokenizer) over UTF-8 "
                   "texts cut into sequences of --context "
                   "tokens, watches queries, keys and attention patterns, and writes per layer, head and frequency "
                   "statistics to RUN.h5. `ropescope report` "
                   "turns the run into a page or a text.\n\n"
                   "--task makes the sequences itself: something to find and a question about it, so that heads that "
                   "retrieve show and answers can be right or wrong. key-value and needle are English, induction and "
                   "copy random tokens, qa documents and a question from --task-file; all end with their answer.",
    .options = table,
    .options_size = sizeof(audit_options),
    .least_arguments = 1,
    .most_arguments = -1,
    .examples =
        "ropescope audit model.gguf novel.txt --context 2048 --sequences 4 -o run.h5\nropescope audit model/ "
        "--ids ids.txt -o run.h5 --probe frequency_norm\nropescope audit model.gguf --task key-value --task-items 16 "
        "--context 512 --sequences 32 -o task.h5\nropescope audit model.gguf --task qa --task-file "
        "nq-open-oracle.jsonl.gz --task-items 10 "
        "--task-gold 1 -o qa.h5",
    .computes = true,
    .run = run,
};
