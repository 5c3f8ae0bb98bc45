/* What a run of a task has beside others: where item, question and answer stand, and how well the answers came. */
#include "analyzer/cli/record.h"

#include <stddef.h>

static rs_span context_of(const rs_task_spans *s) { return s->context; }
static rs_span gold_of(const rs_task_spans *s) { return s->gold; }
static rs_span question_of(const rs_task_spans *s) { return s->question; }
static rs_span answer_of(const rs_task_spans *s) { return s->answer; }

static const struct {
    const char *name, *long_name;
    rs_span (*of)(const rs_task_spans *s);
} spans[] = {
    {"task/context", "first position of the context, and the one behind it", context_of},
    {"task/gold", "first position of the item that holds the answer, and the one behind it", gold_of},
    {"task/question", "first position of the question, and the one behind it", question_of},
    {"task/answer", "first position of the answer, and the one behind it", answer_of},
};

/* Of one sequence, from its tokens' losses and top1 [positions]. */
static double answer_nll(const double *nll, const double *top1, rs_span answer) {
    (void)top1;
    return rs_span_mean(nll, answer);
}
static double answer_top1(const double *nll, const double *top1, rs_span answer) {
    (void)nll;
    return rs_span_mean(top1, answer);
}
static double answer_whole(const double *nll, const double *top1, rs_span answer) {
    return answer_top1(nll, top1, answer) >= 1.0;
}

static const struct {
    const char *name, *unit, *long_name, *attribute; /* of "/": the mean over all sequences */
    double (*of)(const double *nll, const double *top1, rs_span answer);
    size_t at; /* of the mean in rs_record */
} scores[] = {
    {"task/answer_nll", "nats", "mean loss of the tokens of the answer", "answer_nll", answer_nll,
     offsetof(rs_record, answer_nll)},
    {"task/answer_top1", "1", "share of the answer's tokens that are the likeliest after those before them",
     "answer_accuracy", answer_top1, offsetof(rs_record, answer_accuracy)},
    {"task/answer_whole", "1", "1 where all tokens of the answer are the likeliest", "answers_whole", answer_whole,
     offsetof(rs_record, answers_whole)},
};

static rs_status write_span(rs_record *r, size_t i, rs_error *err) {
    rs_status st = RS_OK;
    rs_array a = {0};
    int64_t B = r->input->corpus.sequences;
    RS_TRY(rs_array_init(&a, err, spans[i].name, RS_I32, "tokens", spans[i].long_name, 2, "sequence", B, "span_end",
                         (int64_t)2));
    for (int64_t s = 0; s < B; s++) {
        rs_span x = spans[i].of(&r->input->task.spans[s]);
        a.data[2 * s] = x.first;
        a.data[2 * s + 1] = x.end;
    }
    RS_TRY(rs_store_write(r->store, &a, err));
out:
    rs_array_deinit(&a);
    return st;
}

static rs_status write_score(rs_record *r, size_t i, const double *nll, const double *top1, rs_error *err) {
    rs_status st = RS_OK;
    rs_array a = {0};
    const rs_corpus *c = &r->input->corpus;
    double sum = 0;
    RS_TRY(rs_array_init(&a, err, scores[i].name, RS_F64, scores[i].unit, scores[i].long_name, 1, "sequence",
                         c->sequences));
    for (int64_t s = 0; s < c->sequences; s++) {
        a.data[s] = scores[i].of(nll + s * c->context, top1 + s * c->context, r->input->task.spans[s].answer);
        sum += a.data[s];
    }
    sum /= (double)c->sequences;
    *(double *)(void *)((char *)r + scores[i].at) = sum;
    RS_TRY(rs_store_write(r->store, &a, err));
    RS_TRY(rs_store_set_real(r->store, "/", scores[i].attribute, sum, err));
out:
    rs_array_deinit(&a);
    return st;
}

rs_status rs_record_task(rs_record *r, const double *nll, const double *top1, rs_error *err) {
    rs_status st = RS_OK;
    const rs_task *t = &r->input->task;
    RS_TRY(rs_store_set_string(r->store, "/", "task", rs_task_name(t->kind), err));
    RS_TRY(rs_store_set_int(r->store, "/", "task_items", t->items, err));
    RS_TRY(rs_store_set_int(r->store, "/", "task_gold", t->gold, err));
    RS_TRY(rs_store_set_int(r->store, "/", "task_seed", (int64_t)t->seed, err));
    if (t->file) {
        RS_TRY(rs_store_set_string(r->store, "/", "task_file", t->file, err));
    }
    for (size_t i = 0; i < sizeof spans / sizeof *spans; i++) {
        RS_TRY(write_span(r, i, err));
    }
    for (size_t i = 0; i < sizeof scores / sizeof *scores; i++) {
        RS_TRY(write_score(r, i, nll, top1, err));
    }
out:
    return st;
}
