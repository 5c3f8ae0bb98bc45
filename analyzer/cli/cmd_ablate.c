/* ablate: edits pairs of the model of a run and measures what that costs. The run says which model, which text and
 * which pairs its measurements hold for idle; the answers join it. */
#include "analyzer/cli/commands.h"

#include "analyzer/ablate/ablation_measure.h"
#include "analyzer/base/alloc.h"
#include "analyzer/base/clock.h"
#include "analyzer/base/file.h"
#include "analyzer/cli/ablate_heads.h"
#include "analyzer/cli/ablation_rows.h"
#include "analyzer/cli/calibrate.h"
#include "analyzer/cli/program.h"
#include "analyzer/cli/recorded_input.h"
#include "reports/report.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct ablate_options {
    rs_strings arguments;
    rs_input_options input;
    rs_strings experiments, rankings, fractions, dimensions;
    const char *heads, *catalog;
    int mode; /* 0: zero and unrotate, then rs_ablate_mode + 1 */
    double scale, budget;
    int64_t sequences, seeds, memory;
    int format; /* TEXT, JSON, CSV */
    bool layers, group, dry_run, force;
} ablate_options;

enum {
    MOST = 64,
    DEFAULT_TOKENS = 8192,
    DEFAULT_SEEDS = 5,
    DEFAULT_BUDGET = 1800,
    DEFAULT_MEMORY = 1024,
    WRITE_SECONDS = 30
};
enum { TEXT, JSON, CSV }; /* --format */
static const double default_fractions[] = {0.05, 0.1, 0.2, 0.3, 0.5, 0.75}, default_dimensions[] = {16, 32};
/* Rankings of growing fractions that are tried where the run holds them, per mode. */
static const char *const default_rankings[][10] = {
    [RS_ABLATE_ZERO] = {"moments/zero_cost", "moments/zero_cost_sampled", "frequency_norm/two_norm",
                        "contribution/kl_zero", "utility/pair", "high", "low", "uniform"},
    [RS_ABLATE_UNROTATE] = {"moments/unrotate_cost", "moments/unrotate_cost_sampled", "frequency_norm/two_norm",
                            "contribution/kl_unrotate", "high", "low", "uniform"},
    [RS_ABLATE_SCALE] = {"moments/zero_cost", "frequency_norm/two_norm", "high", "low", "uniform"},
};
enum { MODES = sizeof default_rankings / sizeof *default_rankings };

typedef struct ablate {
    const ablate_options *o;
    const char *path;
    char *catalog;
    rs_store *run;
    rs_input input;
    const rs_backend *backend;
    rs_device *device;
    rs_device_info info;
    rs_run_options pass;
    double flops; /* of a whole pass */
    rs_ranking high, low, random, chosen_by[RS_EXPERIMENTS], ranking[MODES][MOST];
    size_t n_rankings[MODES];
    rs_arrays values; /* of rankings */
    double fraction[MOST], dimension[MOST];
    size_t n_fractions, n_dimensions;
    uint8_t *heads, *mask; /* [n_layers, max_heads] or NULL; [n_layers, max_heads, max_pairs] */
    rs_ablation *plan;     /* [n_plan] still to be measured */
    double *cost;          /* [n_plan] floating-point operations */
    size_t n_plan;
    rs_measure *measure;
    rs_ablation_rows rows;
    rs_progress progress;
    size_t at; /* of the plan */
    double done;
} ablate;

/* ---- what is asked ---- */

static rs_status open_values(ablate *a, const char *name, rs_array **out, rs_error *err) {
    rs_status st = RS_OK;
    rs_array read = {0};
    *out = rs_arrays_find(&a->values, name);
    if (*out) {
        return RS_OK;
    }
    if (!rs_store_has(a->run, name)) {
        return rs_fail(err, RS_E_USAGE,
                       "--ranking %s: no rule (high, low, uniform) and no array of %s; a path looks like "
                       "moments/zero_cost",
                       name, a->path);
    }
    RS_TRY(rs_store_read(a->run, name, &read, err));
    RS_TRY(rs_ranking_check(&read, a->input.model.graph, err));
    RS_TRY(rs_arrays_add(&a->values, out, err, name, RS_F64, "1", "", 1, "cell", rs_array_size(&read)));
    memcpy((*out)->data, read.data, sizeof *read.data * (size_t)rs_array_size(&read));
out:
    rs_array_deinit(&read);
    return st;
}

/* The values are bound at the end: the list of arrays moves while it grows. */
static rs_status add_ranking(ablate *a, int mode, const char *name, rs_error *err) {
    rs_status st = RS_OK;
    rs_array *unused = NULL;
    rs_ranking r = {.rule = rs_ranking_rule_of(name)};
    if (strlen(name) >= sizeof r.name || a->n_rankings[mode] == MOST || r.rule == RS_RANK_RANDOM) {
        return rs_fail(err, RS_E_USAGE, "--ranking %s: random controls are always made (--seeds); names are shorter",
                       name);
    }
    if (r.rule == RS_RANK_VALUES) {
        r.largest_first = *name == '-';
        r.by_group = a->o->group;
        RS_TRY(open_values(a, name + r.largest_first, &unused, err));
    }
    snprintf(r.name, sizeof r.name, "%s", name);
    a->ranking[mode][a->n_rankings[mode]++] = r;
out:
    return st;
}

static rs_status choose_rankings(ablate *a, rs_error *err) {
    rs_status st = RS_OK;
    rs_array *unused = NULL;
    for (int mode = 0; mode < MODES; mode++) {
        for (size_t i = 0; i < a->o->rankings.count; i++) {
            RS_TRY(add_ranking(a, mode, a->o->rankings.item[i], err));
        }
        for (size_t i = 0; a->o->rankings.count == 0 && default_rankings[mode][i]; i++) {
            const char *name = default_rankings[mode][i];
            if (rs_ranking_rule_of(name) != RS_RANK_VALUES || rs_store_has(a->run, name)) {
                RS_TRY(add_ranking(a, mode, name, err));
            }
        }
    }
    for (int e = 0; e < RS_EXPERIMENTS; e++) {
        const char *name = rs_experiment_array((rs_experiment)e);
        a->chosen_by[e].rule = RS_RANK_VALUES;
        snprintf(a->chosen_by[e].name, sizeof a->chosen_by[e].name, "%s", name ? name : "");
        if (name && rs_store_has(a->run, name)) {
            RS_TRY(open_values(a, name, &unused, err));
        }
    }
    for (int mode = 0; mode < MODES; mode++) {
        for (size_t i = 0; i < a->n_rankings[mode]; i++) {
            rs_ranking *r = &a->ranking[mode][i];
            r->values = rs_arrays_find(&a->values, r->name + r->largest_first);
        }
    }
    for (int e = 0; e < RS_EXPERIMENTS; e++) {
        a->chosen_by[e].values = rs_arrays_find(&a->values, a->chosen_by[e].name);
    }
    a->high = (rs_ranking){.name = "high", .rule = RS_RANK_HIGH};
    a->low = (rs_ranking){.name = "low", .rule = RS_RANK_LOW};
    a->random = (rs_ranking){.name = "random", .rule = RS_RANK_RANDOM};
out:
    return st;
}

/* Numbers of an option that may be repeated, or their default. out [MOST] */
static rs_status choose_numbers(const rs_strings *given, const char *option, const double *otherwise, size_t n,
                                double most, const char *expected, double *out, size_t *n_out, rs_error *err) {
    *n_out = given->count ? given->count : n;
    for (size_t i = 0; i < *n_out; i++) {
        char *end = NULL;
        out[i] = given->count ? strtod(given->item[i], &end) : otherwise[i];
        if (given->count && (*end || end == given->item[i] || !(out[i] > 0 && out[i] <= most))) {
            return rs_fail(err, RS_E_USAGE, "--%s %s: expected %s", option, given->item[i], expected);
        }
    }
    return RS_OK;
}

static rs_status choose_amounts(ablate *a, rs_error *err) {
    rs_status st = RS_OK;
    RS_TRY(choose_numbers(&a->o->fractions, "fraction", default_fractions,
                          sizeof default_fractions / sizeof *default_fractions, 1, "a number above 0 and up to 1",
                          a->fraction, &a->n_fractions, err));
    RS_TRY(choose_numbers(&a->o->dimensions, "dimensions", default_dimensions,
                          sizeof default_dimensions / sizeof *default_dimensions, 1e6, "a number of dimensions",
                          a->dimension, &a->n_dimensions, err));
    for (size_t i = 0; i < a->n_dimensions; i++) {
        if (fmod(a->dimension[i], 2) > 0) {
            return rs_fail(err, RS_E_USAGE, "--dimensions %g: expected an even number: pairs are edited whole",
                           a->dimension[i]);
        }
    }
out:
    return st;
}

static rs_status choose_heads(ablate *a, rs_error *err) {
    rs_status st = RS_OK;
    const rs_graph *g = a->input.model.graph;
    if (a->o->heads) {
        RS_TRY(RS_NEW(&a->heads, (size_t)g->n_layers * (size_t)g->max_heads, err));
        RS_TRY(rs_ablate_heads(a->run, a->path, g, a->o->heads, a->heads, err));
    }
out:
    return st;
}

/* ---- the plan ---- */

static rs_status cost_of(ablate *a, const rs_ablation *x, double *out, rs_error *err) {
    rs_status st = RS_OK;
    const rs_graph *g = a->input.model.graph;
    rs_run_options o = a->pass;
    rs_plan p;
    memset(a->mask, 0, (size_t)g->n_layers * (size_t)g->max_heads * (size_t)g->max_pairs);
    RS_TRY(rs_ablation_mask(x, g, a->heads, a->mask, err));
    int first = rs_ablation_first_layer(g, a->mask);
    *out = 0;
    if (first < g->n_layers) {
        o.first_layer = a->measure ? rs_measure_start(a->measure, first) : first;
        RS_TRY(rs_run_plan(g, a->input.model.weights, &o, &p, err));
        *out = p.flops;
    }
out:
    return st;
}

/* What is in the file already is not measured again. */
static rs_status drop_known(ablate *a, rs_error *err) {
    size_t left = 0;
    rs_status st = RS_NEW(&a->cost, a->n_plan, err);
    for (size_t i = 0; i < a->n_plan && st == RS_OK; i++) {
        char key[RS_ABLATION_KEY_BYTES];
        rs_ablation_key(&a->plan[i], a->o->heads, key);
        if (!rs_ablation_rows_find(&a->rows, key)) {
            a->plan[left++] = a->plan[i];
            st = cost_of(a, &a->plan[i], &a->cost[left - 1], err);
        }
    }
    a->n_plan = left;
    return st;
}

static rs_status unknown_experiment(const char *name, rs_error *err) {
    rs_text t = {0};
    for (int e = 0; e < RS_EXPERIMENTS; e++) {
        rs_text_printf(&t, "%s%s",
                       e == 0                   ? ""
                       : e + 1 < RS_EXPERIMENTS ? ", "
                                                : " or ",
                       rs_experiment_name((rs_experiment)e));
    }
    rs_status st = rs_text_status(&t, err);
    st = st == RS_OK ? rs_fail(err, RS_E_USAGE, "--experiment %s: expected %s", name, t.data) : st;
    rs_text_deinit(&t);
    return st;
}

static rs_status make_plan(ablate *a, rs_error *err) {
    rs_status st = RS_OK;
    bool wanted[RS_EXPERIMENTS] = {0}, modes[MODES] = {0};
    for (size_t i = 0; i < a->o->experiments.count; i++) {
        rs_experiment e = rs_experiment_find(a->o->experiments.item[i]);
        if (e == RS_EXPERIMENTS) {
            return unknown_experiment(a->o->experiments.item[i], err);
        }
        if (rs_experiment_array(e) && !a->chosen_by[e].values) {
            return rs_fail(err, RS_E_USAGE, "--experiment %s: %s has no %s; audit --deep measures it",
                           rs_experiment_name(e), a->path, rs_experiment_array(e));
        }
        wanted[e] = true;
    }
    for (int e = 0; e < RS_EXPERIMENTS; e++) {
        wanted[e] = wanted[e] || (e == RS_EXPERIMENT_LAYER ? a->o->layers : a->o->experiments.count == 0);
    }
    for (int m = 0; m < MODES; m++) {
        modes[m] = a->o->mode ? a->o->mode == m + 1 : m != RS_ABLATE_SCALE;
    }
    rs_ablate_choice c = {.experiments = wanted,
                          .modes = modes,
                          .high = &a->high,
                          .low = &a->low,
                          .random = &a->random,
                          .fractions = a->fraction,
                          .n_fractions = a->n_fractions,
                          .dimensions = a->dimension,
                          .n_dimensions = a->n_dimensions,
                          .seeds = a->o->seeds ? (int)a->o->seeds : DEFAULT_SEEDS};
    for (int e = 0; e < RS_EXPERIMENTS; e++) {
        c.chosen_by[e] = a->chosen_by[e].values ? &a->chosen_by[e] : NULL;
    }
    for (int m = 0; m < MODES; m++) {
        c.rankings[m] = a->ranking[m];
        c.n_rankings[m] = a->n_rankings[m];
    }
    RS_TRY(rs_ablation_plan(&c, a->input.model.graph, &a->plan, &a->n_plan, err));
    RS_TRY(drop_known(a, err));
out:
    return st;
}

static double planned(const ablate *a) {
    double sum = 0;
    for (size_t i = 0; i < a->n_plan; i++) {
        sum += a->cost[i];
    }
    return sum;
}

/* The plan is cut from its end: its order is that of the experiments (rs_experiment). */
static size_t within(const ablate *a, double flops) {
    size_t n = 0;
    for (double sum = 0; n < a->n_plan && sum + a->cost[n] <= flops; n++) {
        sum += a->cost[n];
    }
    return n;
}

static double budget(const ablate *a) { return a->o->budget > 0 ? a->o->budget : DEFAULT_BUDGET; }

static rs_status print_plan(ablate *a, rs_error *err) {
    rs_status st = RS_OK;
    rs_text t = {0};
    double rate = 0;
    RS_TRY(rs_calibrate(a->backend, a->device, &rate, err));
    rate /= 1.5;
    rs_text_printf(&t, "text      %" PRId64 " sequences of %" PRId64 " tokens\n", a->pass.sequences, a->pass.positions);
    rs_text_printf(&t, "known     %zu ablations are in %s\n", a->rows.n, a->path);
    for (size_t i = 0; i < a->n_plan;) {
        size_t n = i;
        double sum = 0;
        while (n < a->n_plan && a->plan[n].experiment == a->plan[i].experiment && a->plan[n].mode == a->plan[i].mode) {
            sum += a->cost[n++];
        }
        rs_text_printf(&t, "%-11s %-9s %4zu passes, about %.0f s\n", rs_experiment_name(a->plan[i].experiment),
                       rs_ablate_mode_name(a->plan[i].mode), n - i, sum / rate);
        i = n;
    }
    rs_text_printf(&t, "time      about %.0f s for all; within the %.0f s of --budget the first %zu of %zu\n",
                   (planned(a) + a->flops) / rate, budget(a), within(a, budget(a) * rate - a->flops), a->n_plan);
    RS_TRY(rs_print(&t, err));
out:
    rs_text_deinit(&t);
    return st;
}

/* ---- measuring ---- */

static void on_progress(void *ctx, int layer, int64_t done, int64_t total) {
    ablate *a = ctx;
    int L = a->input.model.graph->n_layers;
    double share = (layer + (double)done / (double)total) / (L + 1);
    double pass = a->measure ? a->cost[a->at] : a->flops;
    rs_progress_show(&a->progress, a->done + pass * share, a->measure ? "ablation %zu of %zu" : "unedited", a->at + 1,
                     a->n_plan);
}

static rs_status measure_one(ablate *a, const rs_ablation *x, rs_error *err) {
    rs_status st = RS_OK;
    const rs_graph *g = a->input.model.graph;
    rs_ablation_row row = {.experiment = (int)x->experiment,
                           .mode = (int)x->mode,
                           .seed = x->seed,
                           .layer = x->layer,
                           .amount = x->amount};
    rs_ablation_key(x, a->o->heads, row.key);
    snprintf(row.ranking, sizeof row.ranking, "%s", x->ranking->name);
    memset(a->mask, 0, (size_t)g->n_layers * (size_t)g->max_heads * (size_t)g->max_pairs);
    RS_TRY(rs_ablation_mask(x, g, a->heads, a->mask, err));
    row.pairs = rs_ablation_pairs(g, a->mask);
    RS_TRY(rs_scores_init(&row.scores, a->pass.sequences, err));
    RS_TRY(rs_measure_edited(a->measure, a->mask, x->mode, a->o->scale, &row.scores, err));
    RS_TRY(rs_paired_interval(a->rows.baseline.nll, row.scores.nll, a->pass.sequences, 0, &row.nll, err));
    RS_TRY(
        rs_paired_interval(a->rows.baseline.accuracy, row.scores.accuracy, a->pass.sequences, 0, &row.accuracy, err));
    RS_TRY(rs_ablation_rows_add(&a->rows, &row, err));
out:
    rs_scores_deinit(&row.scores);
    return st;
}

static bool group_ends(const ablate *a, size_t i) {
    const rs_ablation *x = &a->plan[i], *y = x + 1;
    return i + 1 == a->n_plan || x->experiment != y->experiment || x->mode != y->mode || x->layer != y->layer ||
           (x->seed >= 0 && y->seed < 0);
}

/* The file is brought up to date between the parts of an experiment, not more often than every WRITE_SECONDS (it is
 * written and synced whole), and when the work ends or is stopped. */
static rs_status measure_all(ablate *a, rs_error *err) {
    rs_status st = RS_OK;
    size_t written = a->rows.n;
    double last = rs_clock_seconds();
    for (a->at = 0; a->at < a->n_plan && st == RS_OK; a->at++) {
        st = measure_one(a, &a->plan[a->at], err);
        a->done += a->cost[a->at];
        bool end = a->at + 1 == a->n_plan;
        if (st == RS_OK && (end || (group_ends(a, a->at) && rs_clock_seconds() - last > WRITE_SECONDS))) {
            st = rs_ablation_rows_write(&a->rows, a->path, err);
            last = rs_clock_seconds();
            written = a->rows.n;
        }
    }
    if (st != RS_OK && a->rows.n > written) {
        (void)rs_ablation_rows_write(&a->rows, a->path, NULL); /* what was measured is whole; st says why it ended */
    }
    return st;
}

static rs_status measure(ablate *a, rs_error *err) {
    rs_status st = RS_OK;
    rs_measure_setup s = {.checkpoint = a->input.model.checkpoint,
                          .graph = a->input.model.graph,
                          .weights = a->input.model.weights,
                          .backend = a->backend,
                          .device = a->device,
                          .run = a->pass,
                          .spans = a->input.task.spans,
                          .keep_bytes = (a->o->memory ? a->o->memory : DEFAULT_MEMORY) << 20};
    bool from_within = a->o->heads != NULL; /* edits that begin behind the first layer */
    for (size_t i = 0; i < a->n_plan; i++) {
        from_within = from_within || a->plan[i].layer > 0;
    }
    s.keep_bytes = from_within ? s.keep_bytes : 0;
    s.run.progress = on_progress;
    s.run.progress_ctx = a;
    rs_progress_begin(&a->progress, a->o->input.quiet, a->flops + planned(a), 0);
    double begun = rs_clock_seconds();
    RS_TRY(rs_measure_create(&s, &a->measure, err));
    double seconds = rs_clock_seconds() - begun, rate = a->flops / seconds;
    size_t all = a->n_plan;
    a->done = a->flops;
    RS_TRY(rs_scores_init(&a->rows.baseline, a->pass.sequences, err));
    rs_scores_copy(rs_measure_baseline(a->measure), &a->rows.baseline, a->pass.sequences);
    a->n_plan = within(a, (budget(a) - seconds) * rate);
    rs_note(a->o->input.quiet, "unedited pass in %.1f s; %zu ablations in about %.0f s%s", seconds, a->n_plan,
            planned(a) / rate, a->n_plan < all ? "; the rest of the plan is beyond --budget" : "");
    a->progress.work_total = a->flops + planned(a);
    RS_TRY(measure_all(a, err));
out:
    rs_progress_end(&a->progress);
    return st;
}

/* ---- the command ---- */

static void describe_pass(ablate *a) {
    const rs_corpus *c = &a->input.corpus;
    int64_t n = a->o->sequences;
    if (n == 0) {
        n = DEFAULT_TOKENS / c->context > 4 ? DEFAULT_TOKENS / c->context : 4;
    }
    a->pass = (rs_run_options){.ids = c->ids,
                               .sequences = n < c->sequences ? n : c->sequences,
                               .positions = c->context,
                               .loss = true,
                               .compute = rs_input_compute(&a->o->input, &a->input, a->info.card),
                               .on_card = a->info.card,
                               .last_layer = -1};
    a->rows.sequences = a->pass.sequences;
    a->rows.tokens = 0;
    for (int64_t s = 0; s < a->pass.sequences; s++) {
        const rs_task_spans *spans = a->input.task.spans;
        a->rows.tokens += spans ? spans[s].answer.end - spans[s].answer.first : a->pass.positions - 1;
    }
    snprintf(a->rows.settings, sizeof a->rows.settings, "%lld sequences, %s, scale %.9g%s",
             (long long)a->pass.sequences, rs_compute_name(a->pass.compute), a->o->scale > 0 ? a->o->scale : 0.0,
             a->input.task.spans ? ", answers" : "");
}

static rs_status open_all(ablate *a, rs_error *err) {
    rs_status st = RS_OK;
    rs_plan p;
    rs_strings more = a->o->arguments;
    more.count--;
    memmove(more.item, more.item + 1, sizeof *more.item * more.count);
    RS_TRY(rs_store_open(a->path, &a->run, err));
    RS_TRY(rs_device_open(a->o->input.device ? a->o->input.device : "auto", (int)a->o->input.threads, &a->backend,
                          &a->device, err));
    a->backend->info(a->device, &a->info);
    RS_TRY(rs_recorded_input_open(a->run, a->path, &more, &a->o->input, &a->input, err));
    const rs_graph *g = a->input.model.graph;
    RS_TRY(RS_NEW(&a->mask, (size_t)g->n_layers * (size_t)g->max_heads * (size_t)g->max_pairs, err));
    describe_pass(a);
    RS_TRY(rs_run_plan(g, a->input.model.weights, &a->pass, &p, err));
    a->flops = p.flops;
    RS_TRY(choose_rankings(a, err));
    RS_TRY(choose_amounts(a, err));
    RS_TRY(choose_heads(a, err));
    if (!a->o->force) {
        RS_TRY(rs_ablation_rows_read(a->run, a->path, &a->rows, err));
    }
    rs_store_close(a->run); /* the file is written while we measure */
    a->run = NULL;
out:
    return st;
}

static rs_status catalog_path(ablate *a, rs_error *err) {
    const char *base = rs_path_base(a->path);
    char *folder = NULL;
    if (a->o->catalog) {
        return rs_strdup(&a->catalog, a->o->catalog, err);
    }
    rs_status st = rs_strndup(&folder, a->path, (size_t)(base - a->path), err);
    st = st == RS_OK ? (base == a->path ? rs_strdup(&a->catalog, "ropescope.sqlite", err)
                                        : rs_path_join(&a->catalog, folder, "ropescope.sqlite", err))
                     : st;
    rs_free(folder);
    return st;
}

static rs_status work(ablate *a, rs_error *err) {
    rs_status st = RS_OK;
    rs_text t = {0};
    RS_TRY(rs_catalog_check(a->catalog, err));
    if (a->n_plan > 0) {
        RS_TRY(measure(a, err));
        RS_TRY(rs_ablation_rows_catalog(&a->rows, a->path, a->catalog, err));
    }
    switch (a->o->format) {
    case JSON: rs_ablation_rows_json(&a->rows, &t); break;
    case CSV: rs_ablation_rows_csv(&a->rows, &t); break;
    default: RS_TRY(rs_report_tried(a->path, rs_program_version(), &t, err));
    }
    RS_TRY(rs_print(&t, err));
out:
    rs_text_deinit(&t);
    return st;
}

static rs_status run(const void *options, rs_error *err) {
    rs_status st = RS_OK;
    ablate a = {.o = options};
    a.path = a.o->arguments.item[0];
    RS_TRY(catalog_path(&a, err));
    RS_TRY(open_all(&a, err));
    RS_TRY(make_plan(&a, err));
    RS_TRY(a.o->dry_run ? print_plan(&a, err) : work(&a, err));
out:
    rs_measure_destroy(a.measure);
    rs_scores_deinit(&a.rows.baseline);
    rs_ablation_rows_deinit(&a.rows);
    rs_arrays_deinit(&a.values);
    rs_free(a.heads);
    rs_free(a.mask);
    rs_free(a.plan);
    rs_free(a.cost);
    rs_free(a.catalog);
    rs_store_close(a.run);
    rs_input_close(&a.input);
    if (a.device) {
        a.backend->close(a.device);
    }
    return st;
}

#define AT(field) offsetof(ablate_options, field)
static const rs_option table[] = {
    {"experiment", 'e', RS_OPT_STRING, "NAME",
     "p-rope, verdict, utility, band, ends, fraction or layer-band; may be repeated (default: all but layer-band)",
     AT(experiments), true, 0, 0},
    {"mode", 'm', RS_OPT_CHOICE, "both|zero|unrotate|scale",
     "what is done to pairs: their term leaves the logit, stops turning, or is scaled (default: both: zero and "
     "unrotate)",
     AT(mode), false, 0, 0},
    {"scale", 0, RS_OPT_REAL, "X", "factor of --mode scale (default: 0)", AT(scale), false, 0, 1e6},
    {"ranking", 'r', RS_OPT_STRING, "NAME",
     "order in which growing fractions give pairs up: high, low, uniform (the pairs kept, as MHA2MLA names them), or "
     "an "
     "array [layer, head, pair] of RUN.h5, smallest first, '-' in front for largest first; may be repeated",
     AT(rankings), true, 0, 0},
    {"group", 0, RS_OPT_FLAG, NULL,
     "sum an array over the query heads of a key head, which then give up the same pairs (default: each head its own; "
     "a query head's edit reaches no other head)",
     AT(group), false, 0, 0},
    {"fraction", 0, RS_OPT_STRING, "F", "share of a head's pairs; may be repeated (default: 0.05 0.1 0.2 0.3 0.5 0.75)",
     AT(fractions), true, 0, 0},
    {"dimensions", 0, RS_OPT_STRING, "N",
     "at either end of a head, for --experiment ends; may be repeated (default: 16 32)", AT(dimensions), true, 0, 0},
    {"heads", 0, RS_OPT_STRING, "L.H,...|retrieval|others", RS_ABLATE_HEADS_HELP, AT(heads), false, 0, 0},
    {"layers", 0, RS_OPT_FLAG, NULL, "also every band in every layer alone (layer-band)", AT(layers), false, 0, 0},
    {"seeds", 0, RS_OPT_INT, "N", "random controls of each kind (default: 5)", AT(seeds), false, 1, 256},
    {"sequences", 'n', RS_OPT_INT, "N",
     "the first N sequences of the run (default: as many as make 8,192 tokens, at least 4)", AT(sequences), false, 1,
     1e9},
    {"budget", 'b', RS_OPT_REAL, "SECONDS",
     "measure what fits, by the rate of the unedited pass, cutting the plan from its end, in the order of --experiment "
     "(default: 1800)",
     AT(budget), false, 1, 1e9},
    {"memory", 0, RS_OPT_INT, "MIB",
     "for residual streams at layers' entrances, from which edits of later layers begin (default: 1024)", AT(memory),
     false, 1, 1e7},
    {"ids", 0, RS_OPT_FILE, "FILE", "token ids, where the run was made from ids", AT(input.ids), false, 0, 0},
    {"tokenizer", 0, RS_OPT_FOLDER_OR_FILE, "FILE", "tokenizer to use (default: the model's own)", AT(input.tokenizer),
     false, 0, 0},
    RS_INPUT_MODEL_OPTIONS(ablate_options),
    RS_INPUT_RUN_OPTIONS(ablate_options),
    {"catalog", 0, RS_OPT_FILE, "FILE", "SQLite catalogue of runs (default: ropescope.sqlite beside RUN.h5)",
     AT(catalog), false, 0, 0},
    {"format", 'f', RS_OPT_CHOICE, "text|json|csv", "how the results are printed (default: text)", AT(format), false, 0,
     0},
    {"dry-run", 0, RS_OPT_FLAG, NULL, "print the plan and its time, and stop", AT(dry_run), false, 0, 0},
    {"force", 0, RS_OPT_FLAG, NULL, "measure anew; what RUN.h5 holds of earlier ablations is replaced", AT(force),
     false, 0, 0},
    {0},
};

const rs_command rs_cmd_ablate = {
    .name = "ablate",
    .summary = "measure what it costs to zero, scale or un-rotate pairs",
    .synopsis = "RUN.h5 [MODEL TEXT...]",
    .description = "Runs the model of an audit over its text again with pairs edited, and puts the change of the loss, "
                   "in nats per token, into the run and its catalogue: by verdict, utility, frequency band, first and "
                   "last dimensions, "
                   "growing fractions under rankings, p-RoPE; each beside random pairs, as many in the same heads. "
                   "MODEL and TEXT are those that the run names unless they are given; files that have changed are "
                   "refused. Of a run of a task, which is made again, the answers alone are scored. What the run holds "
                   "already is not measured again; work that is stopped keeps what was measured.",
    .options = table,
    .options_size = sizeof(ablate_options),
    .least_arguments = 1,
    .most_arguments = -1,
    .examples = "ropescope ablate run.h5 --dry-run\nropescope ablate run.h5 --experiment fraction --mode unrotate "
                "--ranking moments/unrotate_cost\nropescope ablate run.h5 --layers --budget 7200",
    .computes = true,
    .run = run,
};
