/* Our forward pass without any hook, loss on: what `audit` is measured against.
 *   bench_forward MODEL IDS.txt [THREADS]
 * prints one line of JSON. Seconds are those of rs_run_execute, reading the weights included. */
#include "analyzer/base/clock.h"
#include "analyzer/forward/run.h"
#include "data/corpus.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct bench {
    rs_arena *arena;
    rs_checkpoint *checkpoint;
    const rs_graph *graph;
    const rs_weights *weights;
    const rs_backend *backend;
    rs_device *device;
    rs_corpus corpus;
    rs_run *run;
} bench;

static rs_status open_all(bench *b, const char *model, const char *ids, int threads, rs_error *err) {
    rs_status st = RS_OK;
    rs_graph_options o = {0};
    RS_TRY(rs_arena_create(&b->arena, err));
    RS_TRY(rs_checkpoint_open(model, &b->checkpoint, err));
    RS_TRY(rs_graph_create(b->checkpoint, &o, b->arena, &b->graph, err));
    RS_TRY(rs_corpus_from_ids(ids, b->graph->vocab, 0, 0, &b->corpus, err));
    o.context = b->corpus.context;
    RS_TRY(rs_graph_create(b->checkpoint, &o, b->arena, &b->graph, err));
    RS_TRY(rs_weights_bind(b->checkpoint, b->graph, b->arena, &b->weights, err));
    RS_TRY(rs_device_open("cpu", threads, &b->backend, &b->device, err));
out:
    return st;
}

static double mean_nll(const bench *b) {
    const double *nll = rs_run_token_nll(b->run);
    double sum = 0, n = 0;
    for (int64_t i = 0; i < b->corpus.sequences * b->corpus.context; i++) {
        if (!isnan(nll[i])) {
            sum += nll[i];
            n++;
        }
    }
    return sum / n;
}

static rs_status execute(bench *b, rs_error *err) {
    rs_status st = RS_OK;
    rs_run_options o = {.ids = b->corpus.ids,
                        .sequences = b->corpus.sequences,
                        .positions = b->corpus.context,
                        .loss = true,
                        .last_layer = -1};
    rs_plan plan;
    RS_TRY(rs_run_plan(b->graph, b->weights, &o, &plan, err));
    RS_TRY(rs_run_create(b->checkpoint, b->graph, b->weights, b->backend, b->device, &o, &b->run, err));
    double begun = rs_clock_seconds();
    RS_TRY(rs_run_execute(&b->run, 1, err));
    double seconds = rs_clock_seconds() - begun, tokens = (double)(o.sequences * o.positions);
    printf("{\"seconds\": %.4f, \"tokens\": %.0f, \"tokens_per_second\": %.2f, \"gflop_per_second\": %.2f, "
           "\"mean_nll\": %.9f}\n",
           seconds, tokens, tokens / seconds, plan.flops / seconds * 1e-9, mean_nll(b));
out:
    return st;
}

int main(int argc, char **argv) {
    rs_error err = {0};
    bench b = {0};
    if (argc < 3) {
        fprintf(stderr, "usage: bench_forward MODEL IDS.txt [THREADS]\n");
        return 2;
    }
    rs_status st = open_all(&b, argv[1], argv[2], argc > 3 ? atoi(argv[3]) : 0, &err);
    if (st == RS_OK) {
        st = execute(&b, &err);
    }
    if (st != RS_OK) {
        fprintf(stderr, "bench_forward: %s\n", err.message);
    }
    rs_run_destroy(b.run);
    rs_corpus_deinit(&b.corpus);
    if (b.device) {
        b.backend->close(b.device);
    }
    rs_checkpoint_close(b.checkpoint);
    rs_arena_destroy(b.arena);
    return rs_status_exit_code(st);
}
