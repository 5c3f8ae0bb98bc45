/* tests/unit/test_tasks.c: what data/tasks.h promises of a generated sequence, read back from its tokens: the spans
 * hold what they say, the question is about the item, nothing else answers it, all are T long; the same for a seed,
 * other for another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/container_files.h"
#include "tests/support/vocabulary_file.h"

#include "analyzer/base/alloc.h"
#include "data/tasks.h"
#include "data/tasks_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static rs_error err;

/* Line 3's document would answer the first question too (Rome), line 4 has two documents of its own, and an answer that
 * only one of its spellings finds in the document. */
static const char QUESTIONS[] =
    "{\"question\": \"where did he live\", \"answers\": [\"Rome\"], \"ctxs\": [{\"title\": \"A\", \"text\": \"He "
    "lived in Rome.\", \"isgold\": true}]}\n"
    "{\"question\": \"who was king\", \"answers\": [\"Karl\"], \"ctxs\": [{\"title\": \"B\", \"text\": \"Karl was "
    "king.\"}]}\n"
    "{\"question\": \"what is on the hill\", \"answers\": [\"a tower\"], \"ctxs\": [{\"title\": \"C\", \"text\": "
    "\"In ROME a tower is on the hill.\", \"isgold\": true}]}\n"
    "{\"question\": \"how many\", \"answers\": [\"7\", \"seven\"], \"ctxs\": [{\"title\": \"D\", \"text\": \"None.\", "
    "\"isgold\": false}, {\"title\": \"E\", \"text\": \"There were seven.\", \"isgold\": true}]}\n";

/* A real vocabulary of 2,048 pieces, without a blank in front of a text. */
static rs_tokenizer *shipped(void) {
    rs_tokenizer *t = NULL;
    char path[512];
    const char *root = getenv("RS_SOURCE_DIR");
    snprintf(path, sizeof path, "%s/data/samples/models/full-rope/tokenizer.json", root ? root : ".");
    if (rs_tokenizer_open(NULL, path, &t, &err) != RS_OK) fail_msg("%s", err.message);
    return t;
}

/* Letters, digits and marks one by one, as SentencePiece has them: a blank is put in front of every text, BOS is added.
 */
static rs_tokenizer *one_by_one(void) {
    static char letter[95][2];
    const char *pieces[96];
    float scores[96] = {0};
    rs_tokenizer *t = NULL;
    rs_text b = {0};
    for (int i = 0; i < 95; i++) {
        letter[i][0] = (char)(' ' + i);
        pieces[i] = letter[i];
    }
    pieces[95] = "\n";
    put_vocabulary_llama2c(&b, pieces, scores, 96);
    const char *path = files_write("tok.bin", b.data, b.bytes);
    rs_text_deinit(&b);
    if (rs_tokenizer_open(NULL, path, &t, &err) != RS_OK) fail_msg("%s", err.message);
    return t;
}

typedef struct made {
    rs_corpus corpus;
    rs_task task;
} made;

static made make(rs_task_options o) {
    made m;
    if (rs_task_generate(&o, &m.corpus, &m.task, &err) != RS_OK) fail_msg("%s", err.message);
    assert_int_equal(m.corpus.context, o.context);
    return m;
}

static void drop(made *m) {
    rs_corpus_deinit(&m->corpus);
    rs_task_deinit(&m->task);
}

static void refused(rs_task_options o, rs_status status, const char *words) {
    made m;
    rs_status st = rs_task_generate(&o, &m.corpus, &m.task, &err);
    if (st != status || !strstr(err.message, words)) fail_msg("%d: '%s', expected '%s'", (int)st, err.message, words);
    assert_null(m.corpus.ids);
    assert_null(m.task.spans);
}

/* Text of positions first..end-1 of sequence s; free with rs_text_deinit. */
static rs_text read_text(const made *m, const rs_tokenizer *t, int64_t s, rs_span span) {
    rs_text out = {0};
    rs_text_append(&out, "");
    for (int32_t i = span.first; i < span.end; i++) {
        size_t n = 0;
        const char *piece = rs_tokenizer_piece(t, m->corpus.ids[s * m->corpus.context + i], &n);
        assert_non_null(piece);
        rs_text_append_n(&out, piece, n);
    }
    return out;
}

static const char *trim(char *s) { /* blanks on both sides */
    s += strspn(s, " \n");
    for (size_t n = strlen(s); n > 0 && strchr(" \n", s[n - 1]); n--) s[n - 1] = 0;
    return s;
}

static int count(const char *text, const char *word) {
    int n = 0;
    for (const char *at = strstr(text, word); at; at = strstr(at + 1, word)) n++;
    return n;
}

static void check_spans(const made *m, int64_t s) {
    const rs_task_spans *x = &m->task.spans[s];
    assert_int_equal(x->context.first, m->corpus.bos);
    assert_int_equal(x->context.end, x->question.first);
    assert_int_equal(x->question.end, x->answer.first);
    assert_int_equal(x->answer.end, m->corpus.context);
    assert_true(x->context.first <= x->gold.first && x->gold.first < x->gold.end && x->gold.end <= x->context.end);
    assert_true(x->question.first < x->question.end && x->answer.first < x->answer.end);
}

/* `before` and `between` a key and its value, as an item has them. */
static void check_text(const made *m, const rs_tokenizer *t, int64_t s, const char *before, const char *between) {
    const rs_task_spans *x = &m->task.spans[s];
    char item[256];
    rs_text context = read_text(m, t, s, x->context), gold = read_text(m, t, s, x->gold),
            question = read_text(m, t, s, x->question), answer = read_text(m, t, s, x->answer);
    const char *value = trim(answer.data), *whole = trim(gold.data);
    const char *key = strstr(whole, before);
    assert_non_null(key);
    assert_int_equal(strlen(value), 4);
    assert_int_equal(strspn(value, "0123456789"), 4);
    key += strlen(before);
    size_t n = strcspn(key, ":") < strcspn(key, " ") ? strcspn(key, ":") : (size_t)(strstr(key, between) - key);
    snprintf(item, sizeof item, "%s%.*s%s%s", before, (int)n, key, between, value);
    assert_string_equal(whole, item);
    assert_int_equal(count(context.data, item), 1);
    assert_int_equal(count(context.data, value), 1);
    snprintf(item, sizeof item, "%.*s", (int)n, key);
    assert_true(count(question.data, item) >= 1);
    assert_int_equal(count(question.data, value), 0);
    rs_text_deinit(&context);
    rs_text_deinit(&gold);
    rs_text_deinit(&question);
    rs_text_deinit(&answer);
}

static void check_texts_of(const rs_tokenizer *t, int64_t T, int64_t items) {
    static const struct {
        rs_task_kind kind;
        const char *before, *between, *line;
    } kinds[] = {{RS_TASK_KEY_VALUE, "", ": ", ": "},
                 {RS_TASK_NEEDLE, "The number of the ", " is ", "The number of the "}};
    for (size_t k = 0; k < 2; k++) {
        made m = make((rs_task_options){.kind = kinds[k].kind,
                                        .items = items,
                                        .context = T,
                                        .sequences = 7,
                                        .seed = 5,
                                        .tokenizer = t,
                                        .vocab = 2048});
        assert_int_equal(m.corpus.sequences, 7);
        int64_t depth = 0;
        for (int64_t s = 0; s < 7; s++) {
            check_spans(&m, s);
            check_text(&m, t, s, kinds[k].before, kinds[k].between);
            rs_text context = read_text(&m, t, s, m.task.spans[s].context);
            assert_int_equal(count(context.data, kinds[k].line), items);
            rs_text_deinit(&context);
            depth += m.task.spans[s].gold.first != m.task.spans[0].gold.first;
            if (m.corpus.bos) assert_int_equal(m.corpus.ids[s * T], rs_tokenizer_bos(t));
        }
        assert_true(depth > 3); /* items stand at different places */
        drop(&m);
    }
}

static void test_texts(void **state) {
    (void)state;
    rs_tokenizer *t = shipped();
    check_texts_of(t, 400, 3);
    check_texts_of(t, 203, 1);
    rs_tokenizer_close(t);
    t = one_by_one();
    check_texts_of(t, 700, 4);
    rs_tokenizer_close(t);
}

/* More items than words: keys of two words, all different. */
static void test_many(void **state) {
    (void)state;
    rs_tokenizer *t = shipped();
    made m = make((rs_task_options){.items = 200, .context = 4000, .sequences = 2, .tokenizer = t, .vocab = 2048});
    for (int64_t s = 0; s < 2; s++) {
        check_spans(&m, s);
        rs_text context = read_text(&m, t, s, m.task.spans[s].context);
        assert_int_equal(count(context.data, ": "), 200);
        char *lines = strstr(context.data, "numbers:\n") + strlen("numbers:\n");
        for (char *a = lines; *a; a = strchr(a, '\n') + 1) {
            char key[64];
            snprintf(key, sizeof key, "\n%.*s:", (int)strcspn(a, ":"), a);
            assert_int_equal(count(lines - 1, key), 1);
        }
        rs_text_deinit(&context);
    }
    drop(&m);
    rs_tokenizer_close(t);
}

static void check_repeat(const made *m, int64_t s, int64_t n, int64_t cue, const rs_tokenizer *t) {
    const rs_task_spans *x = &m->task.spans[s];
    const int32_t *ids = m->corpus.ids + s * m->corpus.context;
    int64_t T = m->corpus.context;
    check_spans(m, s);
    assert_int_equal(x->gold.end - x->gold.first, n);
    assert_int_equal(x->question.end - x->question.first, cue);
    assert_int_equal(x->answer.end - x->question.first, n);
    assert_memory_equal(ids + x->gold.first, ids + x->question.first, (size_t)n * sizeof *ids);
    for (int64_t i = x->gold.first; i < x->gold.end; i++) {
        int times = 0;
        for (int64_t j = 0; j < T; j++) times += ids[j] == ids[i];
        assert_int_equal(times, 2); /* in the passage and again: nowhere else */
    }
    bool *text = calloc(2048, sizeof *text);
    if (t) rs_tokenizer_text_ids(t, text, 2048);
    for (int64_t i = m->corpus.bos; i < T; i++) {
        assert_true(ids[i] >= 0 && (!t || text[ids[i]]));
    }
    free(text);
}

static void test_tokens(void **state) {
    (void)state;
    rs_tokenizer *t = shipped();
    rs_task_options o = {
        .kind = RS_TASK_INDUCTION, .context = 65, .sequences = 4, .seed = 9, .tokenizer = t, .vocab = 2048};
    made m = make(o);
    for (int64_t s = 0; s < 4; s++) check_repeat(&m, s, 32, 1, t);
    assert_int_equal(m.task.items, 32);
    drop(&m);
    o.kind = RS_TASK_COPY, o.items = 10, o.bos = RS_BOS_YES;
    m = make(o);
    int64_t apart = 0;
    for (int64_t s = 0; s < 4; s++) {
        check_repeat(&m, s, 10, 4, t);
        apart += m.task.spans[s].gold.end < m.task.spans[s].question.first;
        assert_int_equal(m.corpus.ids[s * 65], rs_tokenizer_bos(t));
    }
    assert_true(apart > 0);
    drop(&m);
    rs_tokenizer_close(t);
    o = (rs_task_options){.kind = RS_TASK_COPY, .items = 3, .context = 9, .sequences = 40, .vocab = 4};
    m = make(o); /* no tokenizer, and one id left for filler */
    for (int64_t s = 0; s < 40; s++) check_repeat(&m, s, 3, 2, NULL);
    drop(&m);
}

/* Special tokens are never drawn: here all but three ids are. */
static void test_special_tokens(void **state) {
    (void)state;
    rs_tokenizer *t = NULL;
    bool text[6];
    files_write_text("tokenizer.json",
                     "{\"model\": {\"type\": \"BPE\", \"merges\": [], \"vocab\": {\"a\": 0, \"b\": 2, \"c\": 4}}, "
                     "\"added_tokens\": [{\"id\": 1, \"content\": \"<s>\", \"special\": true, \"normalized\": false}, "
                     "{\"id\": 3, \"content\": \"<t>\", \"special\": false, \"normalized\": false}]}");
    assert_int_equal(rs_tokenizer_open(NULL, files_path("tokenizer.json"), &t, &err), RS_OK);
    rs_tokenizer_text_ids(t, text, 6);
    const bool expected[6] = {true, false, true, false, true, false};
    assert_memory_equal(text, expected, sizeof text);
    made m =
        make((rs_task_options){.kind = RS_TASK_INDUCTION, .context = 12, .sequences = 20, .tokenizer = t, .vocab = 6});
    for (int64_t i = 0; i < 20 * 12; i++) assert_true(m.corpus.ids[i] % 2 == 0);
    drop(&m);
    rs_tokenizer_close(t);
}

static void test_seeds(void **state) {
    (void)state;
    rs_tokenizer *t = shipped();
    for (int kind = 0; kind < RS_TASKS; kind++) {
        rs_task_options o = {.kind = (rs_task_kind)kind,
                             .file = kind == RS_TASK_QA ? files_write_text("qa.jsonl", QUESTIONS) : NULL,
                             .items = 3,
                             .context = 150,
                             .sequences = 5,
                             .seed = 1,
                             .tokenizer = t,
                             .vocab = 2048};
        made five = make(o), again = make(o);
        o.sequences = 2;
        made two = make(o);
        o.seed = 2;
        made other = make(o);
        assert_string_equal(five.corpus.sha256, again.corpus.sha256);
        assert_memory_equal(five.task.spans, again.task.spans, 5 * sizeof *five.task.spans);
        assert_memory_equal(five.corpus.ids, two.corpus.ids, 2 * 150 * sizeof *two.corpus.ids);
        assert_true(memcmp(two.corpus.ids, other.corpus.ids, 150 * sizeof *two.corpus.ids) != 0);
        assert_true(memcmp(two.corpus.ids, two.corpus.ids + 150, 150 * sizeof *two.corpus.ids) != 0);
        assert_int_equal(rs_task_find(rs_task_name((rs_task_kind)kind)), kind);
        drop(&five), drop(&again), drop(&two), drop(&other);
    }
    assert_int_equal(rs_task_find("keys"), RS_TASKS);
    rs_tokenizer_close(t);
}

/* The filler must not hold what is asked for, and words must differ. */
static void test_words(void **state) {
    (void)state;
    for (int64_t i = 0; i < rs_task_word_count; i++) {
        for (int64_t j = 0; j < i; j++) assert_string_not_equal(rs_task_words[i], rs_task_words[j]);
        for (int64_t j = 0; j < rs_task_line_count; j++) {
            char padded[128];
            snprintf(padded, sizeof padded, " %s", rs_task_words[i]);
            assert_null(strstr(rs_task_lines[j], padded));
        }
    }
    for (int64_t j = 0; j < rs_task_line_count; j++) assert_null(strpbrk(rs_task_lines[j], "0123456789:\n"));
}

static const char RECORDS[] =
    "{\"ordered_kv_records\": [[\"ab\", \"11\"], [\"cd\", \"22\"], [\"ef\", \"33\"], [\"gh\", \"44\"]], \"key\": "
    "\"cd\", \"value\": \"22\"}\n\n"
    "{\"ordered_kv_records\": [[\"xy\", \"77\"]], \"key\": \"xy\", \"value\": \"77\"}\n";

static void test_file(void **state) {
    (void)state;
    rs_tokenizer *t = shipped();
    rs_task_options o = {
        .context = 90, .sequences = 9, .tokenizer = t, .vocab = 2048, .file = files_write_text("kv.jsonl", RECORDS)};
    made m = make(o);
    assert_int_equal(m.corpus.sequences, 2); /* as many as the file has */
    static const char *const items[] = {"cd: 22", "xy: 77"}, *const values[] = {"22", "77"};
    for (int64_t s = 0; s < 2; s++) {
        check_spans(&m, s);
        rs_text gold = read_text(&m, t, s, m.task.spans[s].gold), answer = read_text(&m, t, s, m.task.spans[s].answer),
                context = read_text(&m, t, s, m.task.spans[s].context);
        assert_string_equal(trim(gold.data), items[s]);
        assert_string_equal(trim(answer.data), values[s]);
        assert_int_equal(count(context.data, ": "), s ? 1 : 4);
        rs_text_deinit(&gold), rs_text_deinit(&answer), rs_text_deinit(&context);
    }
    o.file = files_write_gzip("kv.jsonl.gz", RECORDS);
    made packed = make(o);
    assert_string_equal(packed.corpus.sha256, m.corpus.sha256);
    drop(&packed);
    drop(&m);
    for (int gold = 1; gold <= 2; gold++) { /* the one asked for and a neighbour, in the order asked for */
        o.items = 2, o.sequences = 1, o.gold = gold;
        m = make(o);
        rs_text list = read_text(&m, t, 0, m.task.spans[0].context);
        const char *asked = strstr(list.data, "cd: 22\n"), *head = strstr(list.data, "numbers:\n");
        assert_true(asked && head && (gold == 1) == (asked == head + strlen("numbers:\n")));
        assert_int_equal(count(list.data, ": "), 2);
        rs_text_deinit(&list);
        drop(&m);
    }
    o.sequences = 9, o.gold = 0;
    m = make(o);
    rs_text context = read_text(&m, t, 0, m.task.spans[0].context);
    assert_int_equal(count(context.data, ": "), 2);
    assert_int_equal(count(context.data, "cd: 22"), 1);
    rs_text_deinit(&context);
    drop(&m);
    static const struct {
        const char *text, *words;
    } bad[] = {{"{\"key\": 1}", "line 1"},
               {"\x1f\x8b\x08", "ends too early"},
               {"\x1f\x8b\x09\x01 no gzip", "cannot be unpacked"},
               {"\n{\"ordered_kv_records\": [[\"a\", \"1\"]], \"key\": \"b\", \"value\": \"1\"}", "line 2"},
               {"{\"ordered_kv_records\": [[\"a\", 1]], \"key\": \"a\", \"value\": \"1\"}", "pair of strings"},
               {"{\"ordered_kv_records\": [], \"key\": \"a\", \"value\": \"1\"}", "expected the fields"},
               {"\n \n", "holds no"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        o.file = files_write_text("bad.jsonl", bad[i].text);
        refused(o, RS_E_FORMAT, bad[i].words);
    }
    o.file = files_path("absent.jsonl");
    refused(o, RS_E_IO, "absent.jsonl");
    rs_tokenizer_close(t);
}

static void test_documents(void **state) {
    (void)state;
    static const struct {
        const char *document, *question, *answer;
    } expected[] = {
        {"(Title: A) He lived in Rome.", "\nQuestion: where did he live\nAnswer:", "Rome"},
        {"(Title: B) Karl was king.", "\nQuestion: who was king\nAnswer:", "Karl"},
        {"(Title: C) In ROME a tower is on the hill.", "\nQuestion: what is on the hill\nAnswer:", "a tower"},
        {"(Title: E) There were seven.", "\nQuestion: how many\nAnswer:", "seven"}};
    rs_tokenizer *t = shipped();
    rs_task_options o = {.kind = RS_TASK_QA,
                         .context = 200,
                         .sequences = 9,
                         .seed = 3,
                         .tokenizer = t,
                         .vocab = 2048,
                         .file = files_write_text("qa.jsonl", QUESTIONS)};
    for (int items = 0; items <= 3; items++) {
        for (int gold = 0; gold <= (items ? items : 1); gold++) {
            o.items = items, o.gold = gold;
            made m = make(o);
            assert_int_equal(m.corpus.sequences, 4);
            for (int64_t s = 0; s < 4; s++) {
                const rs_task_spans *x = &m.task.spans[s];
                char numbered[64];
                int documents = items ? items : s == 3 ? 2 : 1;
                check_spans(&m, s);
                rs_text item = read_text(&m, t, s, x->gold), question = read_text(&m, t, s, x->question),
                        answer = read_text(&m, t, s, x->answer), context = read_text(&m, t, s, x->context);
                assert_non_null(strstr(item.data, expected[s].document));
                snprintf(numbered, sizeof numbered, "Document [%d]", gold);
                assert_true(gold == 0 || strstr(item.data, numbered));
                assert_string_equal(question.data, expected[s].question);
                assert_string_equal(trim(answer.data), expected[s].answer);
                assert_int_equal(count(context.data, "Document ["), documents);
                assert_int_equal(count(context.data, expected[s].document), 1);
                assert_true(s > 0 || count(context.data, "ROME") == 0);
                rs_text_deinit(&item), rs_text_deinit(&question), rs_text_deinit(&answer), rs_text_deinit(&context);
            }
            drop(&m);
        }
    }
    o.items = 2, o.gold = 3;
    refused(o, RS_E_USAGE, "--task-gold 3: found 2");
    o.items = 5, o.gold = 0;
    refused(o, RS_E_USAGE, "found 3 documents");
    o.items = 3, o.context = 30;
    refused(o, RS_E_USAGE, "--context");
    o.context = 200;
    static const struct {
        const char *text, *words;
    } bad[] = {{"{\"question\": \"q\", \"answers\": [], \"ctxs\": []}", "expected the fields 'question'"},
               {"{\"question\": \"q\", \"answers\": [\"\"], \"ctxs\": []}", "an answer is not"},
               {"{\"question\": \"q\", \"answers\": [\"a\"], \"ctxs\": []}", "isgold"},
               {"{\"question\": \"q\", \"answers\": [\"a\"], \"ctxs\": [{}]}", "'title' and 'text'"},
               {RECORDS, "line 1"},
               {"", "holds no qa task"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        o.file = files_write_text("bad.jsonl", bad[i].text);
        refused(o, RS_E_FORMAT, bad[i].words);
    }
    o.file = NULL;
    refused(o, RS_E_USAGE, "--task-file");
    rs_tokenizer_close(t);
}

static void test_refusals(void **state) {
    (void)state;
    rs_tokenizer *t = shipped();
    rs_task_options o = {.context = 60, .sequences = 1, .tokenizer = t, .vocab = 2048};
    o.items = 30;
    refused(o, RS_E_USAGE, "30 items");
    o.items = 100000;
    refused(o, RS_E_USAGE, "at most");
    o.kind = RS_TASK_NEEDLE, o.items = 1, o.context = 12;
    refused(o, RS_E_USAGE, "--context");
    o.tokenizer = NULL;
    refused(o, RS_E_USAGE, "needs a tokenizer");
    o.kind = RS_TASK_INDUCTION, o.items = 0, o.bos = RS_BOS_YES;
    refused(o, RS_E_USAGE, "--bos yes");
    o.bos = RS_BOS_AUTO, o.items = 7;
    refused(o, RS_E_USAGE, "at most 6");
    o.items = 5, o.vocab = 5;
    refused(o, RS_E_USAGE, "at most 4");
    o.items = 0, o.context = 3;
    refused(o, RS_E_USAGE, "at least 2");
    o.file = "x.jsonl";
    refused(o, RS_E_USAGE, "--task-file");
    o.file = NULL, o.gold = 1;
    refused(o, RS_E_USAGE, "--task-gold");
    rs_tokenizer_close(t);
}

/* Every allocation may fail, and nothing is left behind. */
static void test_memory(void **state) {
    (void)state;
    rs_tokenizer *t = shipped();
    for (int kind = 0; kind < RS_TASKS; kind++) {
        rs_task_options o = {
            .kind = (rs_task_kind)kind, .items = 2, .context = 80, .sequences = 2, .tokenizer = t, .vocab = 2048};
        if (kind == RS_TASK_QA) o.file = files_write_gzip("qa.jsonl.gz", QUESTIONS), o.context = 120;
        rs_status st = RS_E_NOMEM;
        for (uint64_t nth = 1; st != RS_OK; nth += 1 + nth / 16) {
            made m;
            uint64_t live = rs_alloc_live();
            rs_alloc_fail_at(nth);
            st = rs_task_generate(&o, &m.corpus, &m.task, &err);
            rs_alloc_fail_at(0);
            assert_true(st == RS_OK || st == RS_E_NOMEM);
            drop(&m);
            assert_int_equal(rs_alloc_live(), live);
        }
    }
    rs_tokenizer_close(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_texts),    cmocka_unit_test(test_many),
                                       cmocka_unit_test(test_tokens),   cmocka_unit_test(test_special_tokens),
                                       cmocka_unit_test(test_seeds),    cmocka_unit_test(test_words),
                                       cmocka_unit_test(test_file),     cmocka_unit_test(test_documents),
                                       cmocka_unit_test(test_refusals), cmocka_unit_test(test_memory)};
    return cmocka_run_group_tests(tests, files_group_begin, files_group_end);
}
