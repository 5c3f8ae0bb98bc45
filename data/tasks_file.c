/* data/tasks_file.c: questions that come from a file: JSON lines, one each, as nelson-liu/lost-in-the-middle
 * (arXiv 2307.03172) has them, plain or packed with gzip.
 *
 *   key-value  {"ordered_kv_records": [[key, value], ...], "key": ..., "value": ...}
 *   qa         {"question": ..., "answers": [...], "ctxs": [{"title": ..., "text": ..., "isgold": true|false}, ...]}
 *
 * A line of qa that has fewer documents than are asked for is filled up with the documents that answer other lines. */
#include "analyzer/base/alloc.h"
#include "analyzer/base/arena.h"
#include "analyzer/base/json.h"
#include "data/gzip_file.h"
#include "data/tasks_parts.h"

#include <string.h>
#include <strings.h>

enum { MOST_FILE = 1 << 30 };

/* ---- Lines ---- */

/* The line behind offset *at that is not blank; *at and *number move on; false when there is none. */
static bool next_line(const rs_task_maker *m, size_t *at, int64_t *number, rs_task_line *out) {
    while (*at < m->file_bytes) {
        const char *from = m->file + *at, *stop = memchr(from, '\n', m->file_bytes - *at);
        size_t n = stop ? (size_t)(stop - from) : m->file_bytes - *at;
        *at += n + (stop != NULL);
        ++*number;
        if (strspn(from, " \t\r") < n) {
            *out = (rs_task_line){from, n, *number};
            return true;
        }
    }
    return false;
}

rs_status rs_task_file_begin(rs_task_maker *m, rs_error *err) {
    rs_status st = RS_OK;
    rs_task_line line;
    size_t n = 0;
    int64_t number = 0;
    RS_TRY(rs_gzip_file_read_all(m->o->file, MOST_FILE, &m->file, &m->file_bytes, err));
    for (size_t at = 0; next_line(m, &at, &number, &line);) n++;
    if (n == 0) return rs_fail(err, RS_E_FORMAT, "%s: holds no %s task", m->o->file, rs_task_name(m->o->kind));
    RS_TRY(RS_NEW(&m->lines, n, err));
    number = 0;
    for (size_t at = 0; next_line(m, &at, &number, &line);) m->lines[m->n_lines++] = line;
out:
    return st;
}

static rs_status bad_line(const rs_task_maker *m, const rs_task_line *line, const char *what, rs_error *err) {
    return rs_fail(err, RS_E_FORMAT, "%s: line %lld: %s", m->o->file, (long long)line->number, what);
}

/* A line as JSON, which the question keeps: its strings are the record's. */
static rs_status read_record(const rs_task_maker *m, rs_task_question *q, const rs_task_line *line, const rs_json **out,
                             rs_error *err) {
    rs_status st = rs_json_parse(line->text, line->bytes, m->o->file, &q->records[q->n_records], err);
    if (st != RS_OK) {
        rs_error_prefix(err, "record on line %lld", (long long)line->number);
        return st;
    }
    *out = q->records[q->n_records++];
    return RS_OK;
}

static const char *string_of(const rs_json *object, const char *key) {
    return rs_json_string(rs_json_get(object, key), NULL);
}

/* ---- Keys and values ---- */

static rs_status take_pairs(const rs_task_maker *m, rs_task_question *q, const rs_task_line *line,
                            const rs_json *record, rs_error *err) {
    rs_status st = RS_OK;
    const rs_json *list = rs_json_get(record, "ordered_kv_records");
    q->question = string_of(record, "key");
    q->answer = string_of(record, "value");
    if (!q->question || !q->answer || !rs_json_is(list, RS_JSON_ARRAY) || rs_json_size(list) == 0)
        return bad_line(m, line, "expected the fields 'ordered_kv_records' (a list), 'key' and 'value' (strings)", err);
    q->n = (int64_t)rs_json_size(list);
    q->asked = -1;
    RS_TRY(RS_ARENA_NEW(q->arena, &q->items, (size_t)q->n, err));
    for (int64_t i = 0; i < q->n; i++) {
        const rs_json *pair = rs_json_at(list, (size_t)i);
        rs_task_item *e = &q->items[i];
        e->key = rs_json_string(rs_json_at(pair, 0), NULL);
        e->value = rs_json_string(rs_json_at(pair, 1), NULL);
        if (!e->key || !e->value) return bad_line(m, line, "a record is not a pair of strings", err);
        if (strcmp(e->key, q->question) == 0 && strcmp(e->value, q->answer) == 0) q->asked = i;
    }
    if (q->asked < 0 || !*q->answer)
        return bad_line(m, line, "the key that is asked for is not among the records", err);
out:
    return st;
}

/* ---- Documents ---- */

/* Does the text hold the words, capital letters or not? */
static bool mentions(const char *text, const char *words) {
    size_t n = strlen(words);
    while (*text && strncasecmp(text, words, n) != 0) text++;
    return *text != '\0';
}

static rs_status take_document(const rs_task_maker *m, const rs_task_line *line, const rs_json *document,
                               rs_task_item *out, rs_error *err) {
    out->key = string_of(document, "title");
    out->value = string_of(document, "text");
    return out->key && out->value
               ? RS_OK
               : bad_line(m, line, "expected documents with the fields 'title' and 'text' (strings)", err);
}

/* Where the document that answers stands: the one with isgold, or the only one. */
static int64_t find_gold(const rs_json *documents) {
    int64_t n = (int64_t)rs_json_size(documents);
    for (int64_t i = 0; i < n; i++)
        if (rs_json_bool(rs_json_get(rs_json_at(documents, (size_t)i), "isgold"), false)) return i;
    return n == 1 ? 0 : -1;
}

static rs_status check_documents(const rs_task_maker *m, const rs_task_line *line, const rs_json *record,
                                 const rs_json **documents, const rs_json **answers, int64_t *gold, rs_error *err) {
    *documents = rs_json_get(record, "ctxs");
    *answers = rs_json_get(record, "answers");
    if (!string_of(record, "question") || !rs_json_is(*answers, RS_JSON_ARRAY) || rs_json_size(*answers) == 0 ||
        !rs_json_is(*documents, RS_JSON_ARRAY))
        return bad_line(m, line, "expected the fields 'question' (a string), 'answers' and 'ctxs' (lists)", err);
    for (size_t i = 0; i < rs_json_size(*answers); i++) {
        const char *answer = rs_json_string(rs_json_at(*answers, i), NULL);
        if (!answer || !*answer) return bad_line(m, line, "an answer is not a string, or empty", err);
    }
    *gold = find_gold(*documents);
    return *gold >= 0 ? RS_OK : bad_line(m, line, "none of 'ctxs' has 'isgold': which document answers?", err);
}

/* The first of the answers that stands in the document as it is written there; the first of all where none does. */
static const char *choose_answer(const rs_json *answers, const char *document) {
    for (size_t i = 0; i < rs_json_size(answers); i++) {
        const char *answer = rs_json_string(rs_json_at(answers, i), NULL);
        if (strstr(document, answer)) return answer;
    }
    return rs_json_string(rs_json_at(answers, 0), NULL);
}

/* May the document stand beside those that are there? It must not answer, nor be one of them. */
static bool fits_beside(const rs_task_question *q, const rs_json *answers, const rs_task_item *document) {
    for (size_t i = 0; i < rs_json_size(answers); i++)
        if (mentions(document->value, rs_json_string(rs_json_at(answers, i), NULL))) return false;
    for (int64_t i = 0; i < q->n; i++)
        if (strcmp(q->items[i].key, document->key) == 0) return false;
    return true;
}

/* Documents that answer other lines, in an order drawn anew, until there are `wanted`. */
static rs_status add_documents(rs_task_maker *m, rs_task_question *q, const rs_json *answers, int64_t wanted,
                               rs_error *err) {
    rs_status st = RS_OK;
    int64_t *order = NULL, n = (int64_t)m->n_lines, gold = 0;
    RS_TRY(rs_task_draw_different(&m->rng, q->arena, n, n, &order, err));
    for (int64_t i = 0; i < n && q->n < wanted; i++) {
        const rs_task_line *line = &m->lines[order[i]];
        const rs_json *record = NULL, *documents = NULL, *theirs = NULL;
        rs_task_item document;
        RS_TRY(read_record(m, q, line, &record, err));
        RS_TRY(check_documents(m, line, record, &documents, &theirs, &gold, err));
        RS_TRY(take_document(m, line, rs_json_at(documents, (size_t)gold), &document, err));
        if (fits_beside(q, answers, &document)) {
            q->items[q->n++] = document;
        } else {
            rs_json_free(q->records[--q->n_records]);
        }
    }
    if (q->n < wanted)
        return rs_fail(err, RS_E_USAGE,
                       "%s: found %lld documents for a question, the others hold its answer: expected %lld "
                       "(--task-items)",
                       m->o->file, (long long)q->n, (long long)wanted);
out:
    return st;
}

static rs_status take_documents(rs_task_maker *m, rs_task_question *q, const rs_task_line *line, const rs_json *record,
                                rs_error *err) {
    rs_status st = RS_OK;
    const rs_json *documents = NULL, *answers = NULL;
    RS_TRY(check_documents(m, line, record, &documents, &answers, &q->asked, err));
    int64_t n = (int64_t)rs_json_size(documents), most = n > m->items ? n : m->items;
    RS_TRY(RS_ARENA_NEW(q->arena, &q->items, (size_t)most, err));
    for (; q->n < n; q->n++) RS_TRY(take_document(m, line, rs_json_at(documents, (size_t)q->n), &q->items[q->n], err));
    q->question = string_of(record, "question");
    q->answer = choose_answer(answers, q->items[q->asked].value);
    if (n < m->items) {
        RS_TRY(add_documents(m, q, answers, m->items, err));
        rs_task_put(q, rs_rng_below(&m->rng, q->n));
    }
out:
    return st;
}

/* ---- For tasks_text.c ---- */

/* m->items items that follow on one another, the one asked for at random among them. */
static void keep_some(rs_task_maker *m, rs_task_question *q) {
    if (m->items == 0 || m->items >= q->n) return;
    int64_t least = q->asked - m->items + 1, most = q->asked;
    least = least < 0 ? 0 : least;
    most = most > q->n - m->items ? q->n - m->items : most;
    int64_t first = least + rs_rng_below(&m->rng, most - least + 1);
    q->items += first;
    q->asked -= first;
    q->n = m->items;
}

rs_status rs_task_file_take(rs_task_maker *m, rs_task_question *q, bool *end, rs_error *err) {
    rs_status st = RS_OK;
    const rs_json *record = NULL;
    *end = m->at_line == m->n_lines;
    if (*end) return RS_OK;
    const rs_task_line *line = &m->lines[m->at_line++];
    RS_TRY(
        RS_ARENA_NEW(q->arena, &q->records, (size_t)m->items + 2, err)); /* its own, the others', one that is tried */
    RS_TRY(read_record(m, q, line, &record, err));
    RS_TRY(m->o->kind == RS_TASK_QA ? take_documents(m, q, line, record, err) : take_pairs(m, q, line, record, err));
    keep_some(m, q);
out:
    return st;
}
