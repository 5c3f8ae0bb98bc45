/* probes/retrieval.c: which heads fetch what a question asks for. On a task (data/tasks.h), with the sink left out:
 * mean attention from question and answer to the context (arXiv 2502.11276, metrics A.4) and to the item that holds the
 * answer, and how often a head's strongest column holds, within that item, the token to be produced (arXiv 2404.15574,
 * metrics D3; teacher-forced, by answer token). Sums of sequences' means: examples count alike, however long their
 * answers are. */
#include "analyzer/base/alloc.h"
#include "probes/kinds.h"
#include "probes/tally.h"

#include <math.h>

enum { S_HEADS, S_SEQUENCES }; /* order of declaration = index into rs_probe_state */

typedef struct scratch {
    rs_mem *ids; /* [T] i32 of the sequence at hand */
} scratch;

static bool wants(rs_site site) { return site == RS_SITE_PATTERN; }

static rs_status available(const rs_probe_facts *facts, const rs_backend *b, rs_error *err) {
    (void)b;
    return facts->spans
               ? RS_OK
               : rs_fail(err, RS_E_UNAVAILABLE, "it measures how a task is done, and this run has none (--task NAME)");
}

static rs_status declare(const rs_probe_facts *facts, int layer, rs_arrays *state, rs_error *err) {
    rs_status st = RS_OK;
    rs_array *a = NULL;
    RS_TRY(rs_arrays_add(state, &a, err, "state/retrieval/heads", RS_F64, "1",
                         "sums over sequences of the mean mass on the context, on the item, and of the share of copied "
                         "tokens",
                         3, "fold", (int64_t)RS_FOLDS, "head", (int64_t)facts->graph->layers[layer].heads,
                         "retrieval_sum", (int64_t)RS_SPAN_SUMS));
    rs_tally_zero(a);
    RS_TRY(rs_tally_declare_sequences(state, "retrieval", "fold", RS_FOLDS, err));
out:
    return st;
}

static void end(void *ctx, const rs_backend *b, rs_device *d) {
    scratch *s = ctx;
    b->release(d, s->ids);
    rs_free(s);
}

static rs_status begin(const rs_probe_facts *facts, const rs_backend *b, rs_device *d, void **out, rs_error *err) {
    rs_status st = RS_OK;
    scratch *s = NULL;
    *out = NULL;
    RS_TRY(available(facts, b, err));
    RS_TRY(RS_NEW(&s, 1, err));
    RS_TRY(b->alloc(d, (size_t)facts->positions * sizeof(int32_t), &s->ids, err));
    *out = s;
    s = NULL;
out:
    if (s) {
        end(s, b, d);
    }
    return st;
}

static rs_status observe(void *ctx, const rs_probe_facts *facts, const rs_frame *f, const rs_probe_state *state,
                         rs_error *err) {
    rs_status st = RS_OK;
    scratch *s = ctx;
    rs_op op = {.kind = RS_OP_SPAN_REDUCE,
                .u.span_reduce = {.p = f->view,
                                  .ids = rs_view_1d(s->ids, 0, RS_I32, facts->positions),
                                  .out = state->view[S_HEADS],
                                  .row0 = f->row0,
                                  .col0 = f->col0,
                                  .spans = facts->spans[f->sequence]}};
    if (f->row0 == 0) {
        RS_TRY(f->backend->write(f->device, s->ids, 0, f->ids, (size_t)facts->positions * sizeof *f->ids, err));
    }
    RS_TRY(rs_run_ops(f->backend, f->device, &op, 1, err));
out:
    return st;
}

/* --- finishing
 * ----------------------------------------------------------------------------------------------------------------- */

static rs_status finish_mean(const char *name, const char *text, int which, int64_t H, const double *sums,
                             double sequences, rs_arrays *out, rs_error *err) {
    rs_status st = RS_OK;
    rs_array *a = NULL;
    RS_TRY(rs_arrays_add(out, &a, err, name, RS_F32, "1", text, 1, "head", H));
    a->count = (int64_t)sequences;
    for (int64_t h = 0; h < H; h++) {
        a->data[h] = rs_tally_ratio(sums[h * RS_SPAN_SUMS + which], sequences);
    }
out:
    return st;
}

/* Largest difference of the three between even and odd sequences; no value when one half is empty. */
static rs_status finish_halves(int64_t H, const rs_arrays *state, double sequences, rs_arrays *out, rs_error *err) {
    rs_status st = RS_OK;
    rs_array *a = NULL;
    double *sums[2] = {NULL, NULL}, *n[2] = {NULL, NULL};
    RS_TRY(rs_arrays_add(out, &a, err, "retrieval/split_half", RS_F32, "1",
                         "largest difference of context, gold and copy between even and odd sequences; no value when "
                         "one half is empty",
                         1, "head", H));
    a->count = (int64_t)sequences;
    for (int i = 0; i < 2; i++) {
        RS_TRY(rs_tally_sum(state, "state/retrieval/heads", i, 2, &sums[i], NULL, err));
        RS_TRY(rs_tally_sum(state, "state/retrieval/sequences", i, 2, &n[i], NULL, err));
    }
    for (int64_t h = 0; h<H && * n[0]> 0 && *n[1] > 0; h++) {
        a->data[h] = 0;
        for (int64_t k = h * RS_SPAN_SUMS; k < (h + 1) * RS_SPAN_SUMS; k++) {
            a->data[h] = fmax(a->data[h], fabs(sums[0][k] / *n[0] - sums[1][k] / *n[1]));
        }
    }
out:
    for (int i = 0; i < 2; i++) {
        rs_free(sums[i]);
        rs_free(n[i]);
    }
    return st;
}

static rs_status finish(const rs_probe_facts *facts, int layer, const rs_arrays *state, rs_arrays *out, rs_error *err) {
    rs_status st = RS_OK;
    static const struct {
        const char *name, *text;
        int which;
    } means[] = {
        {"retrieval/context",
         "mean attention from question and answer to the context without position 0; above 0.5: a retrieval head",
         RS_SPAN_CONTEXT},
        {"retrieval/gold", "mean attention from question and answer to the item that holds the answer", RS_SPAN_GOLD},
        {"retrieval/copy",
         "share of the answer's tokens at which the strongest key but position 0 lies in the item and holds the token "
         "to be produced",
         RS_SPAN_COPY},
    };
    int64_t H = facts->graph->layers[layer].heads;
    double *sums = NULL, sequences = 0;
    RS_TRY(rs_tally_cells(state, "state/retrieval/heads", H * RS_SPAN_SUMS, &sums, err));
    RS_TRY(rs_tally_number(state, "state/retrieval/sequences", &sequences, err));
    for (size_t i = 0; i < sizeof means / sizeof *means; i++) {
        RS_TRY(finish_mean(means[i].name, means[i].text, means[i].which, H, sums, sequences, out, err));
    }
    RS_TRY(finish_halves(H, state, sequences, out, err));
out:
    rs_free(sums);
    return st;
}

const rs_probe_kind rs_retrieval = {
    .name = "retrieval",
    .title = "which heads fetch what a question asks for",
    .source = "attention to the context and its threshold 0.5: arXiv 2502.11276; copying from the item: arXiv "
              "2404.15574",
    .deep = "it needs a run of a task: audit --task runs it",
    .task = true,
    .folds = RS_FOLDS,
    .available = available,
    .wants = wants,
    .declare = declare,
    .begin = begin,
    .observe = observe,
    .end = end,
    .finish = finish,
};
