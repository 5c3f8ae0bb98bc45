/* data/tasks_text.c: tasks made of words. A draft is the text behind the front filler with marks in bytes; it is
 * encoded whole, as a model would be given it, and the marks become positions: a token belongs to where its last byte
 * stands, so that " 4" of " 4821" is of the number. What is left of T is filled in front with whole lines, of which the
 * first may lack its beginning. */
#include "analyzer/base/alloc.h"
#include "analyzer/base/arena.h"
#include "analyzer/base/text.h"
#include "data/tasks_parts.h"

#include <string.h>

enum { LEAST_NUMBER = 1000, NUMBERS = 9000 };

/* [0, gold) [gold, gold_end) ... [asked, answer) [answer, text.bytes): offsets into text. */
typedef struct draft {
    rs_text text;
    size_t gold, gold_end, asked, answer;
} draft;

/* ---- Keys and values ---- */

/* Number k of the names: a word, or two where there are not as many words as items. */
static rs_status name_key(const rs_task_question *q, int64_t k, const char **out, rs_error *err) {
    int64_t w = rs_task_word_count;
    if (q->n <= w) return rs_arena_strdup(q->arena, out, rs_task_words[k], err);
    return rs_arena_printf(q->arena, out, err, "%s %s", rs_task_words[k / w], rs_task_words[k % w]);
}

rs_status rs_task_draw_different(rs_rng *rng, rs_arena *arena, int64_t n, int64_t limit, int64_t **out, rs_error *err) {
    rs_status st = RS_ARENA_NEW(arena, out, (size_t)limit, err);
    for (int64_t i = 0; i < limit && st == RS_OK; i++) (*out)[i] = i;
    for (int64_t i = 0; i < n && st == RS_OK; i++) {
        int64_t j = i + rs_rng_below(rng, limit - i), swap = (*out)[i];
        (*out)[i] = (*out)[j];
        (*out)[j] = swap;
    }
    return st;
}

static rs_status make_up(rs_task_maker *m, rs_task_question *q, rs_error *err) {
    rs_status st = RS_OK;
    int64_t *name = NULL, *number = NULL, w = rs_task_word_count;
    q->n = m->items;
    RS_TRY(rs_task_draw_different(&m->rng, q->arena, q->n, q->n <= w ? w : w * w, &name, err));
    RS_TRY(rs_task_draw_different(&m->rng, q->arena, q->n, NUMBERS, &number, err));
    RS_TRY(RS_ARENA_NEW(q->arena, &q->items, (size_t)q->n, err));
    for (int64_t i = 0; i < q->n; i++) {
        RS_TRY(name_key(q, name[i], &q->items[i].key, err));
        RS_TRY(rs_arena_printf(q->arena, &q->items[i].value, err, "%lld", (long long)(LEAST_NUMBER + number[i])));
    }
    q->asked = rs_rng_below(&m->rng, q->n);
    q->question = q->items[q->asked].key;
    q->answer = q->items[q->asked].value;
out:
    return st;
}

/* ---- Questions ---- */

void rs_task_put(rs_task_question *q, int64_t at) {
    rs_task_item there = q->items[at];
    q->items[at] = q->items[q->asked];
    q->items[q->asked] = there;
    q->asked = at;
}

/* --task-gold. */
static rs_status put_gold(const rs_task_maker *m, rs_task_question *q, rs_error *err) {
    if (m->o->gold > q->n)
        return rs_fail(err, RS_E_USAGE, "--task-gold %lld: found %lld items, expected at least as many",
                       (long long)m->o->gold, (long long)q->n);
    if (m->o->gold > 0) rs_task_put(q, m->o->gold - 1);
    return RS_OK;
}

static rs_status question_open(rs_task_maker *m, rs_task_question *q, bool *end, rs_error *err) {
    rs_status st = RS_OK;
    RS_TRY(rs_arena_create(&q->arena, err));
    RS_TRY(m->o->file ? rs_task_file_take(m, q, end, err) : make_up(m, q, err));
    if (!*end) RS_TRY(put_gold(m, q, err));
out:
    return st;
}

static void question_close(rs_task_question *q) {
    for (size_t i = 0; i < q->n_records; i++) rs_json_free(q->records[i]);
    rs_arena_destroy(q->arena);
}

/* ---- Drafts ---- */

/* Item i as the text has it, marked where it is the one asked for. */
static void write_item(draft *d, const rs_task_question *q, int64_t i, rs_task_kind kind) {
    const rs_task_item *x = &q->items[i];
    if (i == q->asked) d->gold = d->text.bytes;
    if (kind == RS_TASK_NEEDLE) rs_text_printf(&d->text, "The number of the %s is %s", x->key, x->value);
    else if (kind == RS_TASK_QA)
        rs_text_printf(&d->text, "Document [%lld] (Title: %s) %s", (long long)i + 1, x->key, x->value);
    else rs_text_printf(&d->text, "%s: %s", x->key, x->value);
    if (i == q->asked) d->gold_end = d->text.bytes;
    rs_text_append(&d->text, kind == RS_TASK_NEEDLE ? ".\n" : "\n");
}

static void write_question(draft *d, const rs_task_question *q, rs_task_kind kind) {
    d->asked = d->text.bytes;
    if (kind == RS_TASK_NEEDLE)
        rs_text_printf(&d->text, "What is the number of the %s? The number of the %s is ", q->question, q->question);
    else if (kind == RS_TASK_QA) rs_text_printf(&d->text, "\nQuestion: %s\nAnswer: ", q->question);
    else rs_text_printf(&d->text, "One of them again:\n%s: ", q->question);
    d->answer = d->text.bytes;
    rs_text_append(&d->text, q->answer);
}

static void write_list(draft *d, const rs_task_question *q, rs_task_kind kind) {
    rs_text_append(&d->text, kind == RS_TASK_QA ? "Documents, of which one answers the question below them:\n\n"
                                                : "Words and their numbers:\n");
    for (int64_t i = 0; i < q->n; i++) write_item(d, q, i, kind);
    write_question(d, q, kind);
}

/* lines [n_lines] of filler; needle i stands in front of line slot[i], ascending (n_lines: behind all). */
static void write_needles(draft *d, const rs_task_question *q, const int64_t *lines, int64_t n_lines,
                          const int64_t *slot) {
    int64_t next = 0;
    for (int64_t line = 0; line <= n_lines; line++) {
        for (; next < q->n && slot[next] == line; next++) write_item(d, q, next, RS_TASK_NEEDLE);
        if (line < n_lines) rs_text_printf(&d->text, "%s\n", rs_task_lines[lines[line]]);
    }
    write_question(d, q, RS_TASK_NEEDLE);
}

/* ---- Tokens of a draft ---- */

static rs_status encode(const rs_task_maker *m, const rs_text *t, rs_ids *out, rs_error *err) {
    rs_status st = rs_text_status(t, err);
    return st == RS_OK ? rs_tokenizer_encode(m->o->tokenizer, t->data, t->bytes, false, out, err) : st;
}

static size_t piece_bytes(const rs_task_maker *m, int32_t id) {
    size_t bytes = 0;
    return rs_tokenizer_piece(m->o->tokenizer, id, &bytes) ? bytes : 0;
}

/* Tokens that end at or before each mark. SentencePiece may put a blank in front, which is in no text. */
static rs_status place(const rs_task_maker *m, const draft *d, const rs_ids *ids, int32_t out[4], rs_error *err) {
    const size_t marks[4] = {d->gold, d->gold_end, d->asked, d->answer};
    size_t whole = 0, end = 0;
    for (size_t i = 0; i < ids->count; i++) whole += piece_bytes(m, ids->id[i]);
    if (whole < d->text.bytes || whole > d->text.bytes + 1)
        return rs_fail(err, RS_E_UNSUPPORTED,
                       "--task: the tokens of the tokenizer (%s) do not give the text back: %zu bytes, expected %zu; "
                       "tasks of tokens (induction, copy) will do",
                       rs_tokenizer_kind(m->o->tokenizer), whole, d->text.bytes);
    for (size_t i = 0; i < ids->count; i++) {
        end += piece_bytes(m, ids->id[i]);
        for (int k = 0; k < 4; k++) out[k] += end <= marks[k] + (whole - d->text.bytes);
    }
    return RS_OK;
}

/* Appends the last n tokens of enough lines of filler. */
static rs_status fill_front(rs_task_maker *m, int64_t n, rs_ids *ids, rs_error *err) {
    rs_status st = RS_OK;
    rs_text t = {0};
    rs_ids filler = {0};
    int64_t sum = 0;
    while ((int64_t)filler.count < n) {
        for (sum = (int64_t)filler.count; sum <= n;) {
            int64_t line = rs_rng_below(&m->rng, rs_task_line_count);
            sum += m->line_tokens[line];
            rs_text_printf(&t, "%s\n", rs_task_lines[line]);
        }
        filler.count = 0;
        RS_TRY(encode(m, &t, &filler, err));
    }
    for (int64_t i = (int64_t)filler.count - n; i < (int64_t)filler.count; i++)
        RS_TRY(rs_ids_push(ids, filler.id[i], err));
out:
    rs_text_deinit(&t);
    rs_ids_deinit(&filler);
    return st;
}

/* Filler, then the draft's tokens, and its marks as positions. */
static rs_status assemble(rs_task_maker *m, const draft *d, const rs_ids *tokens, rs_ids *ids, rs_task_spans *spans,
                          rs_error *err) {
    rs_status st = RS_OK;
    int32_t at[4] = {0};
    int64_t front = rs_task_room(m) - (int64_t)tokens->count;
    RS_TRY(place(m, d, tokens, at, err));
    RS_TRY(fill_front(m, front, ids, err));
    for (size_t i = 0; i < tokens->count; i++) RS_TRY(rs_ids_push(ids, tokens->id[i], err));
    for (int i = 0; i < 4; i++) at[i] += (int32_t)(m->bos + front);
    *spans = (rs_task_spans){.context = {m->bos, at[2]},
                             .gold = {at[0], at[1]},
                             .question = {at[2], at[3]},
                             .answer = {at[3], (int32_t)m->o->context}};
    if (at[0] >= at[1] || at[2] >= at[3] || at[3] >= m->o->context)
        st = rs_fail(err, RS_E_UNSUPPORTED, "--task: item, question and answer are not tokens of their own");
out:
    return st;
}

static rs_status too_long(const rs_task_maker *m, const rs_task_question *q, size_t tokens, rs_error *err) {
    return rs_fail(err, RS_E_USAGE,
                   "--task %s: %lld items and the question take %zu tokens, and a sequence has %lld: fewer items "
                   "(--task-items) or a longer --context",
                   rs_task_name(m->o->kind), (long long)q->n, tokens + m->bos, (long long)m->o->context);
}

static rs_status make_list(rs_task_maker *m, const rs_task_question *q, rs_ids *ids, rs_task_spans *spans,
                           rs_error *err) {
    rs_status st = RS_OK;
    draft d = {0};
    rs_ids tokens = {0};
    write_list(&d, q, m->o->kind);
    RS_TRY(encode(m, &d.text, &tokens, err));
    RS_TRY((int64_t)tokens.count > rs_task_room(m) ? too_long(m, q, tokens.count, err)
                                                   : assemble(m, &d, &tokens, ids, spans, err));
out:
    rs_text_deinit(&d.text);
    rs_ids_deinit(&tokens);
    return st;
}

/* Random lines that fill `tokens` as nearly as their lengths add up. lines: room for most. */
static int64_t choose_lines(rs_task_maker *m, int64_t tokens, int64_t *lines, int64_t most) {
    int64_t n = 0;
    while (n < most) {
        lines[n] = rs_rng_below(&m->rng, rs_task_line_count);
        tokens -= m->line_tokens[lines[n]];
        if (tokens < 0) break;
        n++;
    }
    return n;
}

static void draw_slots(rs_task_maker *m, int64_t n, int64_t n_lines, int64_t *slot) {
    for (int64_t i = 0; i < n; i++) {
        int64_t at = rs_rng_below(&m->rng, n_lines + 1), j = i;
        for (; j > 0 && slot[j - 1] > at; j--) slot[j] = slot[j - 1];
        slot[j] = at;
    }
}

/* Lengths do not always add up exactly, so a line is given up until the whole fits. */
static rs_status make_needles(rs_task_maker *m, const rs_task_question *q, rs_ids *ids, rs_task_spans *spans,
                              rs_error *err) {
    rs_status st = RS_OK;
    draft d = {0};
    rs_ids tokens = {0};
    int64_t *lines = NULL, *slot = NULL, most = rs_task_room(m);
    RS_TRY(RS_ARENA_NEW(q->arena, &lines, (size_t)most + 1, err));
    RS_TRY(RS_ARENA_NEW(q->arena, &slot, (size_t)q->n, err));
    write_needles(&d, q, NULL, 0, slot);
    RS_TRY(encode(m, &d.text, &tokens, err));
    int64_t n = choose_lines(m, most - (int64_t)tokens.count, lines, most);
    draw_slots(m, q->n, n, slot);
    for (bool fits = false; !fits; n--) {
        rs_text_deinit(&d.text);
        d = (draft){0};
        tokens.count = 0;
        for (int64_t i = 0; i < q->n; i++) slot[i] = slot[i] > n ? n : slot[i];
        write_needles(&d, q, lines, n, slot);
        RS_TRY(encode(m, &d.text, &tokens, err));
        fits = (int64_t)tokens.count <= most;
        if (!fits && n == 0) RS_TRY(too_long(m, q, tokens.count, err));
    }
    RS_TRY(assemble(m, &d, &tokens, ids, spans, err));
out:
    rs_text_deinit(&d.text);
    rs_ids_deinit(&tokens);
    return st;
}

/* ---- For tasks.c ---- */

static rs_status measure_lines(rs_task_maker *m, rs_error *err) {
    rs_status st = RS_OK;
    rs_text t = {0};
    rs_ids ids = {0};
    RS_TRY(RS_NEW(&m->line_tokens, (size_t)rs_task_line_count, err));
    for (int64_t i = 0; i < rs_task_line_count; i++) {
        t.bytes = ids.count = 0;
        rs_text_printf(&t, "%s\n", rs_task_lines[i]);
        RS_TRY(encode(m, &t, &ids, err));
        m->line_tokens[i] = ids.count > 0 ? (int64_t)ids.count : 1;
    }
out:
    rs_text_deinit(&t);
    rs_ids_deinit(&ids);
    return st;
}

rs_status rs_task_text_begin(rs_task_maker *m, rs_error *err) {
    int64_t most = rs_task_word_count * rs_task_word_count;
    most = most < NUMBERS ? most : NUMBERS;
    if (!m->o->file && m->items > most)
        return rs_fail(err, RS_E_USAGE,
                       "--task-items %lld: found no so many different words and numbers, expected at most %lld",
                       (long long)m->items, (long long)most);
    rs_status st = measure_lines(m, err);
    return st == RS_OK && m->o->file ? rs_task_file_begin(m, err) : st;
}

rs_status rs_task_text_make(rs_task_maker *m, rs_ids *ids, rs_task_spans *spans, bool *end, rs_error *err) {
    rs_status st = RS_OK;
    rs_task_question q = {0};
    RS_TRY(question_open(m, &q, end, err));
    if (!*end) {
        RS_TRY(m->o->kind == RS_TASK_NEEDLE ? make_needles(m, &q, ids, spans, err) : make_list(m, &q, ids, spans, err));
    }
out:
    question_close(&q);
    return st;
}
