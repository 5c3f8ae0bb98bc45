/* What would an audit with all probes cost on a card that is not at hand? The program's own run is made over a model
 * without weights (roofline_model.c) on a device that executes nothing and writes down every op (roofline_count.c);
 * kernels, bytes and launches follow from kernels/cuda (roofline_kernels.c), seconds from public figures of the card
 * (roofline_clock.c). Then the same arithmetic is held against a measured run on this CPU.
 *   bench_roofline [--model 8b|1b|70b|135m] [--context T] [--sequences N] [--compute f32|tf32|bf16] [--card WORD]
 *                  [--what-if] [--no-cpu] */
#include "tests/bench/roofline.h"

#include "analyzer/base/alloc.h"
#include "analyzer/base/clock.h"
#include "analyzer/cli/calibrate.h"
#include "analyzer/cli/input.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct options {
    const model_shape *shape;
    char folder[ROOF_FOLDER];
    int64_t context, sequences;
    rs_compute compute;
    const char *card; /* NULL: all */
    bool what_if, no_cpu;
} options;

enum { EMBEDDING, FIRST_LAYER, LAYER, LOSS }; /* sections; LAYER: one whose weights travelled meanwhile */

static const char *const CLAIM = "estimate, nothing ran on a card";

/* ---- totals ---- */

static double loss_flops(const roof_run *r) {
    return 2.0 * (double)(r->sequences * r->context * r->shape->width) * (double)r->shape->vocab;
}

/* Of products, of all layers, as the plan has them: without what lies above the diagonal. */
static double model_flops(const roof_run *r) {
    double loss = loss_flops(r);
    return (r->plan.flops - loss) / ROOF_LAYERS * (double)r->shape->layers + loss;
}

static double model_seconds(const roof_run *r, const roof_times *t) {
    return t->seconds[EMBEDDING] + t->seconds[FIRST_LAYER] + t->seconds[LAYER] * (double)(r->shape->layers - 1) +
           t->seconds[LOSS];
}

/* Entries above the diagonal that products form and nobody sees: of tiles in memory, up to their last row; without
 * them, of 16 rows up to the end of a tile of 64 keys. */
static double tile_excess(const roof_run *r) {
    double sum = 0;
    int64_t rows = r->plan.tile_rows > 0 ? r->plan.tile_rows : 16, keys = r->plan.tile_rows > 0 ? 1 : 64;
    for (int64_t row = 0; row < r->context; row += rows) {
        int64_t n = r->context - row < rows ? r->context - row : rows, end = (row + n + keys - 1) / keys * keys;
        sum += (double)(n * end) - ((double)n * (double)row + (double)n * (double)(n + 1) / 2);
    }
    return sum * 4 * (double)(r->shape->heads * r->shape->head_dim * r->sequences) * ROOF_LAYERS;
}

static bool print_check(const roof_run *r) {
    double expected = r->plan.flops + tile_excess(r), counted = r->log.product_flops;
    bool equal = fabs(counted - expected) <= 1e-9 * expected; /* sums of doubles in another order */
    printf("check     products counted %.6f TFLOP, planned %.6f and %.6f above the diagonal: %s\n", counted * 1e-12,
           r->plan.flops * 1e-12, tile_excess(r) * 1e-12, equal ? "equal" : "DIFFERENT");
    return equal;
}

/* ---- a card ---- */

static const char *bound_name(const roof_line *l) {
    static const char *const names[ROOF_BOUNDS] = {"arithmetic",    "memory",          "cache",
                                                   "shared memory", "waiting threads", "gaps"};
    int most = 0;
    for (int i = 1; i < ROOF_BOUNDS; i++) {
        most = l->by[i] > l->by[most] ? i : most;
    }
    return l->by[most] > 0 ? names[most] : "";
}

/* A section, shared out to the sequences. */
static void print_lines(const roof_run *r, const roof_times *t, int section, const char *name) {
    double n = (double)r->sequences, whole = t->seconds[section];
    printf("  %-18s %9s %6s %9s %9s %9s %8s %8s  %s\n", name, "ms", "share", "GFLOP", "GB", "GB cache", "kernels",
           "host ms", "bound by");
    for (int row = 0; row < ROOF_ROWS; row++) {
        const roof_line *l = &t->line[section][row];
        if (l->seconds > 0 || l->kernels > 0) {
            printf("  %-18s %9.3f %5.1f%% %9.1f %9.3f %9.3f %8.0f %8.3f  %s\n", roof_row_name(row),
                   l->seconds / n * 1e3, 100 * l->seconds / whole, l->flops / n * 1e-9, l->memory / n * 1e-9,
                   l->cache / n * 1e-9, l->kernels / n, l->host / n * 1e3, bound_name(l));
        }
    }
    printf("  %-18s %9.3f, of which the host computes %.3f ms\n", "all", whole / n * 1e3, t->host[section] / n * 1e3);
}

static void print_card(const roof_run *r, const roof_card *c, const roof_times *t) {
    double seconds = model_seconds(r, t), rate = model_flops(r) / seconds, best = roof_product_rate(c, r->compute);
    printf("\n%s: a large %s product at %.0f TFLOP/s, memory %.2f TB/s, cache %.0f MB\n", c->name,
           rs_compute_name(r->compute), best * 1e-12, c->memory * 1e-12, c->cache_bytes * 1e-6);
    print_lines(r, t, LAYER, "a layer, sequence");
    print_lines(r, t, LOSS, "loss, a sequence");
    printf("  embedding %.2f s, first layer %.2f s, %lld more of %.3f s, loss %.2f s: %.1f s\n", t->seconds[EMBEDDING],
           t->seconds[FIRST_LAYER], (long long)r->shape->layers - 1, t->seconds[LAYER], t->seconds[LOSS], seconds);
    printf("  %.0f tokens/s, %.0f TFLOP/s: %.1f %% of the rate of a large product, %.1f %% of the nominal one\n",
           (double)(r->sequences * r->context) / seconds, rate * 1e-12, 100 * rate / best,
           100 * rate / c->product[r->compute]);
}

static double scratch_bytes(const roof_run *r) {
    double sum = 32 << 20; /* cuBLAS */
    for (size_t i = 0; i < sizeof r->log.scratch / sizeof *r->log.scratch; i++) {
        sum += r->log.scratch[i];
    }
    return sum;
}

static void print_memory(const roof_run *r, const options *o) {
    double planned = (double)(r->plan.total + 2 * r->probe_bytes), all = planned + scratch_bytes(r);
    size_t n = 0;
    const roof_card *card = roof_cards(&n);
    printf("memory    plan %.2f GB, statistics %.2f GB, scratch of the kernels (in no plan) %.2f GB: %.2f GB. Room:",
           (double)r->plan.total * 1e-9, 2e-9 * (double)r->probe_bytes, scratch_bytes(r) * 1e-9, all * 1e-9);
    for (size_t i = 0; i < n; i++) {
        if (!o->card || strstr(card[i].name, o->card)) {
            printf(" %s %s", card[i].name, all < 0.97 * card[i].memory_bytes ? "yes" : "NO");
        }
    }
    printf("\n");
}

static void print_run(const roof_run *r) {
    size_t n = 0;
    const char *const *lines = roof_assumptions(&n);
    printf("model     shape of %s, %lld layers; %d of them are run, all are alike\n", r->shape->name,
           (long long)r->shape->layers, ROOF_LAYERS);
    printf("run       %lld sequences of %lld tokens (Zipf's law), all probes, loss, products in %s\n",
           (long long)r->sequences, (long long)r->context, rs_compute_name(r->compute));
    printf("tiles     ");
    if (r->plan.tile_rows > 0) {
        printf("%lld query rows, ", (long long)r->plan.tile_rows);
    } else {
        printf("no attention pattern in memory, ");
    }
    printf("%lld rows a chunk, %lld vocabulary rows by %lld\n", (long long)r->plan.chunk_rows,
           (long long)r->plan.vocab_chunk, (long long)r->plan.logit_rows);
    for (size_t i = 0; i < n; i++) {
        printf("%-9s %s\n", i ? "" : "assumed", lines[i]);
    }
}

/* ---- what if ---- */

typedef struct answer {
    double seconds, rate; /* of the whole run; FLOP/s of its products */
} answer;

/* The better of two runs: the host's share is measured, and something may disturb it. */
static rs_status estimate(const options *o, const roof_card *c, roof_what what, bool table, answer *out,
                          rs_error *err) {
    rs_status st = RS_OK;
    roof_times *t = NULL;
    roof_run r = {.shape = o->shape,
                  .folder = o->folder,
                  .context = o->context,
                  .sequences = o->sequences,
                  .compute = o->compute,
                  .what = what,
                  .threads = 1};
    out->seconds = INFINITY;
    RS_TRY(RS_NEW(&t, 1, err));
    for (int i = 0; i < (table ? 1 : 2); i++) {
        roof_run_deinit(&r);
        RS_TRY(roof_run_execute(&r, err));
        roof_replay(&r.log, c, &what, t);
        out->seconds = fmin(out->seconds, model_seconds(&r, t));
        out->rate = model_flops(&r) / out->seconds;
    }
    if (table) {
        print_card(&r, c, t);
    }
out:
    roof_run_deinit(&r);
    rs_free(t);
    return st;
}

/* The two changes together. */
static roof_what both(roof_what a, roof_what b) {
    return (roof_what){
        .tile_rows = b.tile_rows ? b.tile_rows : a.tile_rows, .wide = a.wide || b.wide, .graphs = a.graphs || b.graphs};
}

static rs_status print_changes(const options *o, const roof_card *c, roof_what *all, rs_error *err) {
    rs_status st = RS_OK;
    const roof_what changes[] = {
        {.name = "as it is"},
        {.name = "statistics cut among threads enough", .wide = true},
        {.name = "launches replayed, 0.5 us of the host each", .graphs = true},
    };
    answer alone, together;
    double before = 0, best = roof_product_rate(c, o->compute);
    printf("\nwhat if, %s: seconds of the whole run, share of a large product's rate\n  %-48s %16s  %16s\n", c->name,
           "", "alone", "with those above");
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        RS_TRY(estimate(o, c, changes[i], false, &alone, err));
        printf("  %-48s %7.2f %7.1f%%", changes[i].name, alone.seconds, 100 * alone.rate / best);
        *all = both(*all, changes[i]);
        RS_TRY(estimate(o, c, *all, false, &together, err));
        printf("  %7.2f %7.1f%%", together.seconds, 100 * together.rate / best);
        printf(i ? "  (%+.2f s)\n" : "\n", together.seconds - before);
        before = together.seconds;
        fflush(stdout);
    }
    printf("\nwith all of the above");
    RS_TRY(estimate(o, c, *all, true, &together, err));
out:
    return st;
}

/* What it would be with the pattern in memory, as where somebody watches it. */
static rs_status print_tiles(const options *o, const roof_card *c, rs_error *err) {
    rs_status st = RS_OK;
    static const int64_t rows[] = {64, 128, 256};
    answer a;
    double best = roof_product_rate(c, o->compute);
    printf("\nwith the pattern in memory, %s\n", c->name);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        RS_TRY(estimate(o, c, (roof_what){.tile_rows = rows[i]}, false, &a, err));
        printf("  tiles of %3lld rows %37.2f %7.1f%%\n", (long long)rows[i], a.seconds, 100 * a.rate / best);
    }
    RS_TRY(estimate(o, c, (roof_what){.tile_rows = 256}, true, &a, err));
out:
    return st;
}

/* ---- the same arithmetic against a measured run ---- */

/* Bytes/s of a copy over so many bytes, read and written ones both counted; best of a few. */
static rs_status copy_rate(size_t bytes, double *rate, rs_error *err) {
    rs_status st = RS_OK;
    char *from = NULL, *to = NULL;
    size_t again = ((size_t)256 << 20) / bytes;
    *rate = 0;
    RS_TRY(rs_new((void **)&from, bytes, 1, err));
    RS_TRY(rs_new((void **)&to, bytes, 1, err));
    memset(from, 1, bytes);
    for (int i = 0; i < 5; i++) {
        double begun = rs_clock_seconds();
        for (size_t j = 0; j < again; j++) {
            memcpy(to, from, bytes);
            from[j % bytes] = to[bytes - 1]; /* no copy is like the one before */
        }
        double took = rs_clock_seconds() - begun;
        *rate = fmax(*rate, 2.0 * (double)(again * bytes) / took);
    }
out:
    rs_free(from);
    rs_free(to);
    return st;
}

/* One core: other arithmetic at a quarter (float32) and an eighth (float64) of a product's rate. */
static rs_status measure_cpu(roof_card *c, rs_error *err) {
    rs_status st = RS_OK;
    const rs_backend *b = NULL;
    rs_device *d = NULL;
    double rate = 0;
    RS_TRY(rs_device_open("cpu", 1, &b, &d, err));
    RS_TRY(rs_calibrate(b, d, &rate, err));
    *c = (roof_card){.name = "this CPU, 1 thread", .product = {rate, rate, rate}, .unit = {rate / 4, rate / 8}};
    c->cache_bytes = 2 << 20;
    RS_TRY(copy_rate((size_t)128 << 20, &c->memory, err));
    RS_TRY(copy_rate((size_t)256 << 10, &c->cache, err));
    c->link = c->memory;
out:
    if (d) {
        b->close(d);
    }
    return st;
}

static void print_against(const roof_run *r, const roof_times *t) {
    double predicted_sum = 0, measured_sum = 0;
    printf("  %-18s %12s %12s %9s\n", "all layers", "measured ms", "predicted ms", "ratio");
    for (int row = 0; row < RS_OP_COUNT; row++) {
        double predicted = 0, measured = r->log.measured[row];
        for (int s = 0; s < ROOF_SECTIONS; s++) {
            predicted += t->line[s][row].seconds;
        }
        if (measured > 0) {
            printf("  %-18s %12.2f %12.2f %9.2f\n", roof_row_name(row), measured * 1e3, predicted * 1e3,
                   measured / predicted);
        }
        predicted_sum += predicted;
        measured_sum += measured;
    }
    printf("  %-18s %12.2f %12.2f %9.2f   (the whole run, reading weights included: %.2f ms)\n", "all ops",
           measured_sum * 1e3, predicted_sum * 1e3, measured_sum / predicted_sum, r->seconds * 1e3);
}

static rs_status compare_with_cpu(rs_error *err) {
    rs_status st = RS_OK;
    roof_card cpu;
    roof_times *t = NULL;
    char folder[ROOF_FOLDER] = "";
    roof_run r = {.shape = model_shape_find("135m"),
                  .folder = folder,
                  .context = 512,
                  .sequences = 4,
                  .execute = true,
                  .threads = 1};
    RS_TRY(RS_NEW(&t, 1, err));
    RS_TRY(measure_cpu(&cpu, err));
    RS_TRY(roof_folder_make(r.shape, folder, err));
    RS_TRY(roof_run_execute(&r, err));
    roof_replay(&r.log, &cpu, &r.what, t);
    printf(
        "\nhow far to trust it: %d layers of the shape of %s, %lld x %lld tokens, float32, really run on one thread of "
        "this CPU (its processor time),\nbeside what the same counting says (same passes as a card's kernels; product "
        "%.1f GFLOP/s, memory %.1f "
        "GB/s, cache %.1f GB/s, all measured now)\n",
        ROOF_LAYERS, r.shape->name, (long long)r.sequences, (long long)r.context, cpu.product[0] * 1e-9,
        cpu.memory * 1e-9, cpu.cache * 1e-9);
    print_against(&r, t);
out:
    model_shape_remove(folder);
    roof_run_deinit(&r);
    rs_free(t);
    return st;
}

/* ---- all ---- */

static rs_status print_estimates(const options *o, rs_error *err) {
    rs_status st = RS_OK;
    size_t n = 0;
    const roof_card *card = roof_cards(&n);
    roof_times *t = NULL;
    bool asked = false;
    roof_run r = {.shape = o->shape,
                  .folder = o->folder,
                  .context = o->context,
                  .sequences = o->sequences,
                  .compute = o->compute,
                  .threads = 1};
    RS_TRY(RS_NEW(&t, 1, err));
    RS_TRY(roof_run_execute(&r, err)); /* once for the page cache to know the file */
    roof_run_deinit(&r);
    RS_TRY(roof_run_execute(&r, err));
    print_run(&r);
    print_memory(&r, o);
    if (!print_check(&r)) {
        st = rs_fail(err, RS_E_INTERNAL, "the flops that were counted are not those of the plan");
        goto out;
    }
    for (size_t i = 0; i < n; i++) {
        if (!o->card || strstr(card[i].name, o->card)) {
            roof_replay(&r.log, &card[i], &r.what, t);
            print_card(&r, &card[i], t);
            roof_what all = {0};
            if (o->what_if && !asked) { /* of the first card */
                RS_TRY(print_changes(o, &card[i], &all, err));
                RS_TRY(print_tiles(o, &card[i], err));
            }
            asked = true;
        }
    }
out:
    roof_run_deinit(&r);
    rs_free(t);
    return st;
}

static bool parse_compute(const char *word, rs_compute *out) {
    for (rs_compute c = RS_COMPUTE_F32; c <= RS_COMPUTE_BF16; c++) {
        if (strcmp(word, rs_compute_name(c)) == 0) {
            *out = c;
            return true;
        }
    }
    return false;
}

static bool parse(int argc, char **argv, options *o) {
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
        bool takes = true, good = true;
        if (strcmp(word, "--model") == 0) {
            o->shape = model_shape_find(value);
        } else if (strcmp(word, "--context") == 0) {
            good = (o->context = atoll(value)) >= 2;
        } else if (strcmp(word, "--sequences") == 0) {
            good = (o->sequences = atoll(value)) >= 1;
        } else if (strcmp(word, "--compute") == 0) {
            good = parse_compute(value, &o->compute);
        } else if (strcmp(word, "--card") == 0) {
            o->card = value;
        } else {
            takes = false;
            o->what_if = o->what_if || strcmp(word, "--what-if") == 0;
            o->no_cpu = o->no_cpu || strcmp(word, "--no-cpu") == 0;
            good = strcmp(word, "--what-if") == 0 || strcmp(word, "--no-cpu") == 0;
        }
        if (!good || !o->shape || (takes && !*value)) {
            return false;
        }
        i += takes;
    }
    return true;
}

static void on_interrupt(int number) {
    (void)number;
    rs_cancel_request();
}

int main(int argc, char **argv) {
    rs_error err = {0};
    options o = {.shape = model_shape_find("8b"), .context = 8192, .sequences = 8, .compute = RS_COMPUTE_BF16};
    if (!parse(argc, argv, &o)) {
        fprintf(stderr, "usage: bench_roofline [--model 8b|1b|70b|135m] [--context T] [--sequences N] "
                        "[--compute f32|tf32|bf16] [--card WORD] [--what-if] [--no-cpu]\n");
        return 2;
    }
    signal(SIGINT, on_interrupt); /* the folder is to be removed however this ends, */
    signal(SIGPIPE, SIG_IGN);     /* also where a reader of the tables goes away */
    printf("%s\n", CLAIM);
    rs_status st = roof_folder_make(o.shape, o.folder, &err);
    if (st == RS_OK) {
        st = print_estimates(&o, &err);
    }
    model_shape_remove(o.folder);
    if (st == RS_OK && !o.no_cpu) {
        st = compare_with_cpu(&err);
    }
    if (st != RS_OK) {
        fprintf(stderr, "bench_roofline: %s\n", err.message);
    }
    printf("%s\n", CLAIM);
    return rs_status_exit_code(st);
}
