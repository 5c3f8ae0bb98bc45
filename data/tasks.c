/* data/tasks.c: see tasks.h. The whole of a task, and the tasks made of tokens; tasks_text.c makes those of text. */
#include "data/tasks.h"

#include "analyzer/base/alloc.h"
#include "analyzer/base/clock.h"
#include "data/tasks_parts.h"

#include <string.h>

enum { MOST_CONTEXT = 1 << 28 };

/* What a task is; cue: tokens of the repetition that are given, the others must be predicted. */
static const struct {
    const char *name;
    bool text;
    enum { NO_FILE, MAY, MUST } file; /* do the items come from one? */
    int64_t items;                    /* by default; 0: as many as fit */
    int64_t cue;
    bool apart; /* is the repetition at a distance, or does it follow at once? */
} tasks[RS_TASKS] = {
    [RS_TASK_KEY_VALUE] = {"key-value", true, MAY, 16, 0, false},
    [RS_TASK_NEEDLE] = {"needle", true, NO_FILE, 1, 0, false},
    [RS_TASK_QA] = {"qa", true, MUST, 0, 0, false},
    [RS_TASK_INDUCTION] = {"induction", false, NO_FILE, 0, 1, false},
    [RS_TASK_COPY] = {"copy", false, NO_FILE, 32, 4, true},
};

const char *rs_task_name(rs_task_kind k) { return tasks[k].name; }

rs_task_kind rs_task_find(const char *name) {
    int k = 0;
    while (k < RS_TASKS && strcmp(tasks[k].name, name) != 0) k++;
    return (rs_task_kind)k;
}

bool rs_task_needs_tokenizer(rs_task_kind k) { return tasks[k].text; }

int64_t rs_task_room(const rs_task_maker *m) { return m->o->context - m->bos; }

/* ---- Tokens ---- */

static rs_status fill_pool(rs_task_maker *m, rs_error *err) {
    rs_status st = RS_OK;
    bool *drawn = NULL; /* [vocab] */
    int64_t V = m->o->vocab;
    RS_TRY(RS_NEW(&drawn, (size_t)V, err));
    RS_TRY(RS_NEW(&m->pool, (size_t)V, err));
    RS_TRY(RS_NEW(&m->used, (size_t)V, err));
    memset(drawn, true, (size_t)V * sizeof *drawn);
    if (m->o->tokenizer) rs_tokenizer_text_ids(m->o->tokenizer, drawn, V);
    for (int64_t i = 0; i < V; i++) {
        if (drawn[i]) m->pool[m->pooled++] = (int32_t)i;
    }
out:
    rs_free(drawn);
    return st;
}

static rs_status begin_tokens(rs_task_maker *m, rs_error *err) {
    rs_status st = RS_OK;
    RS_TRY(fill_pool(m, err));
    int64_t half = rs_task_room(m) / 2, rest, most = m->pooled - 1; /* one id is left for the filler */
    if (m->o->items == 0 && (m->items == 0 || m->items > half)) m->items = half;
    if (m->o->items == 0 && m->items > most) m->items = most;
    rest = rs_task_room(m) - 2 * m->items;
    if (m->items < 2 || rest < 0)
        return rs_fail(err, RS_E_USAGE,
                       "--task %s: %lld tokens, twice, do not make a sequence of %lld: expected at least 2 and at most "
                       "%lld (--task-items, --context)",
                       tasks[m->o->kind].name, (long long)m->items, (long long)m->o->context, (long long)half);
    if (m->items > most)
        return rs_fail(err, RS_E_USAGE,
                       "--task %s: %lld different tokens are to be repeated, and the vocabulary has %lld that text can "
                       "give: expected at most %lld (--task-items)",
                       tasks[m->o->kind].name, (long long)m->items, (long long)m->pooled, (long long)most);
out:
    return st;
}

static rs_status push_filler(rs_task_maker *m, int64_t n, rs_ids *ids, rs_error *err) {
    rs_status st = RS_OK;
    for (int64_t i = 0; i < n && st == RS_OK; i++) {
        int32_t id = m->pool[rs_rng_below(&m->rng, m->pooled)];
        while (m->used[id]) id = m->pool[rs_rng_below(&m->rng, m->pooled)];
        st = rs_ids_push(ids, id, err);
    }
    return st;
}

static rs_status make_tokens(rs_task_maker *m, rs_ids *ids, rs_task_spans *spans, rs_error *err) {
    rs_status st = RS_OK;
    int32_t *passage = NULL; /* [items] */
    int64_t n = m->items, cue = tasks[m->o->kind].cue, rest = rs_task_room(m) - 2 * n;
    int64_t gap = tasks[m->o->kind].apart ? rs_rng_below(&m->rng, rest + 1) : 0;
    RS_TRY(RS_NEW(&passage, (size_t)n, err));
    for (int64_t i = 0; i < n; i++) {
        do passage[i] = m->pool[rs_rng_below(&m->rng, m->pooled)];
        while (m->used[passage[i]]);
        m->used[passage[i]] = true;
    }
    RS_TRY(push_filler(m, rest - gap, ids, err));
    for (int64_t i = 0; i < n; i++) RS_TRY(rs_ids_push(ids, passage[i], err));
    RS_TRY(push_filler(m, gap, ids, err));
    for (int64_t i = 0; i < n; i++) RS_TRY(rs_ids_push(ids, passage[i], err));
    int32_t gold = (int32_t)(m->bos + rest - gap), again = (int32_t)(m->o->context - n);
    int32_t answer = again + (int32_t)(cue < n ? cue : n - 1);
    *spans = (rs_task_spans){.context = {m->bos, again},
                             .gold = {gold, gold + (int32_t)n},
                             .question = {again, answer},
                             .answer = {answer, (int32_t)m->o->context}};
out:
    for (int64_t i = 0; passage && i < n; i++) m->used[passage[i]] = false;
    rs_free(passage);
    return st;
}

/* ---- The whole ---- */

static rs_status check_options(const rs_task_options *o, rs_error *err) {
    if (o->context < 2 || o->context > MOST_CONTEXT)
        return rs_fail(err, RS_E_USAGE, "--context %lld: expected 2 to %d", (long long)o->context, MOST_CONTEXT);
    if (o->file && tasks[o->kind].file == NO_FILE)
        return rs_fail(err, RS_E_USAGE, "--task-file: it goes with --task key-value and --task qa, not with %s",
                       tasks[o->kind].name);
    if (!o->file && tasks[o->kind].file == MUST)
        return rs_fail(err, RS_E_USAGE,
                       "--task %s: questions and documents come from a file (--task-file FILE, JSON lines of question, "
                       "answers and ctxs)",
                       tasks[o->kind].name);
    if (o->gold > 0 && !tasks[o->kind].text)
        return rs_fail(err, RS_E_USAGE, "--task-gold: --task %s has no list of items", tasks[o->kind].name);
    if (tasks[o->kind].text && !o->tokenizer)
        return rs_fail(err, RS_E_USAGE, "--task %s is made of text and needs a tokenizer (--tokenizer)",
                       tasks[o->kind].name);
    return RS_OK;
}

static rs_status begin(rs_task_maker *m, rs_error *err) {
    rs_status st = RS_OK;
    const rs_task_options *o = m->o;
    RS_TRY(check_options(o, err));
    RS_TRY(rs_corpus_bos(o->tokenizer, o->bos, &m->bos, err));
    m->items = o->items > 0 || o->file ? o->items : tasks[o->kind].items;
    RS_TRY(tasks[o->kind].text ? rs_task_text_begin(m, err) : begin_tokens(m, err));
out:
    return st;
}

/* One sequence; *end: there is none. The multiplier keeps neighbours apart in the generator's seeding, which counts in
 * steps of its own. */
static rs_status make(rs_task_maker *m, int64_t i, rs_ids *ids, rs_task_spans *spans, bool *end, rs_error *err) {
    rs_status st = RS_OK;
    size_t before = ids->count;
    rs_rng_init(&m->rng, m->o->seed + ((uint64_t)i + 1) * UINT64_C(0xD1B54A32D192ED03));
    if (m->bos) RS_TRY(rs_ids_push(ids, rs_tokenizer_bos(m->o->tokenizer), err));
    RS_TRY(tasks[m->o->kind].text ? rs_task_text_make(m, ids, spans, end, err) : make_tokens(m, ids, spans, err));
    if (*end) ids->count = before;
    else if (ids->count - before != (size_t)m->o->context)
        st = rs_fail(err, RS_E_INTERNAL, "task %s: a sequence of %zu tokens, expected %lld", tasks[m->o->kind].name,
                     ids->count - before, (long long)m->o->context);
out:
    return st;
}

static void end_maker(rs_task_maker *m) {
    rs_free(m->pool);
    rs_free(m->used);
    rs_free(m->line_tokens);
    rs_free(m->lines);
    rs_free(m->file);
}

rs_status rs_task_generate(const rs_task_options *o, rs_corpus *corpus, rs_task *task, rs_error *err) {
    rs_status st = RS_OK;
    rs_task_maker m = {.o = o};
    rs_ids ids = {0};
    bool end = false;
    *corpus = (rs_corpus){.context = o->context};
    *task = (rs_task){.kind = o->kind, .gold = o->gold, .seed = o->seed};
    if (o->sequences < 1) return rs_fail(err, RS_E_USAGE, "no sequence is asked for");
    RS_TRY(begin(&m, err));
    corpus->bos = m.bos;
    task->items = m.items;
    if (o->file) RS_TRY(rs_strdup(&task->file, o->file, err));
    RS_TRY(RS_NEW(&task->spans, (size_t)o->sequences, err));
    while (corpus->sequences < o->sequences) {
        RS_TRY(make(&m, corpus->sequences, &ids, &task->spans[corpus->sequences], &end, err));
        if (end) break;
        corpus->sequences++;
        if (rs_cancel_requested()) {
            st = rs_fail(err, RS_E_CANCELLED, "cancelled");
            goto out;
        }
    }
    RS_TRY(rs_corpus_seal(corpus, &ids, err));
out:
    end_maker(&m);
    rs_ids_deinit(&ids);
    if (st != RS_OK) {
        rs_corpus_deinit(corpus);
        rs_task_deinit(task);
    }
    return st;
}

void rs_task_deinit(rs_task *t) {
    rs_free(t->file);
    rs_free(t->spans);
    *t = (rs_task){0};
}
