/* tests/unit/test_catalog.c: rows are read back with SQLite itself, not with the code that wrote them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "analyzer/base/alloc.h"
#include "analyzer/base/file.h"
#include "data/store.h"

#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[] = "/tmp/ropescope-catalog-XXXXXX";
static rs_error e;

static const char *in_folder(const char *name) {
    static char path[4][256];
    static int next;
    char *out = path[next++ % 4];
    snprintf(out, sizeof path[0], "%s/%s", folder, name);
    return out;
}

static void expect_ok(rs_status st) {
    if (st != RS_OK) fail_msg("status %d: %s", st, e.message);
}

static void expect_message(rs_status st, rs_status expected, const char *words) {
    assert_int_equal(st, expected);
    if (!strstr(e.message, words)) fail_msg("\"%s\" is not in \"%s\"", words, e.message);
}

/* All rows of a query: values by '|', rows by newlines; NULL as "-". */
static const char *ask(const char *catalog, const char *sql) {
    static char out[8192];
    sqlite3 *db = NULL;
    sqlite3_stmt *q = NULL;
    size_t n = 0;
    out[0] = '\0';
    assert_int_equal(sqlite3_open_v2(catalog, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    sqlite3_exec(db, "PRAGMA foreign_keys = ON", NULL, NULL, NULL);
    if (sqlite3_prepare_v2(db, sql, -1, &q, NULL) != SQLITE_OK) fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    int rc;
    while ((rc = sqlite3_step(q)) == SQLITE_ROW) {
        for (int i = 0; i < sqlite3_column_count(q); i++) {
            const unsigned char *text = sqlite3_column_text(q, i);
            n += (size_t)snprintf(out + n, sizeof out - n, "%s%s", i ? "|" : "", text ? (const char *)text : "-");
        }
        n += (size_t)snprintf(out + n, sizeof out - n, "\n");
    }
    if (rc != SQLITE_DONE) snprintf(out, sizeof out, "error: %s", sqlite3_errmsg(db));
    sqlite3_finalize(q);
    sqlite3_close(db);
    return out;
}

static const rs_catalog_head head_rows[] = {
    {0, 0, 0, 0.9, 0.01, 0.02, 0.03, 0.04, 1.5, 7.25, 3, 5, 0.75, 0.05},
    {0, 1, 0, (double)NAN, (double)NAN, (double)NAN, (double)NAN, (double)NAN, (double)NAN, (double)NAN, -1, -1,
     (double)NAN, (double)NAN},
};
static const rs_catalog_pair pair_rows[] = {
    {0, 0, 0, 1.0, 1.5, 2.5, 0.25, 0.75, 0.125, 0.5, 0.1, 0.2},
    {0, 0, 1, 0.0, 1.0, 2.0, 0.5, 0.5, 0.25, (double)NAN, 0.9, 0.8},
};

static const rs_catalog_verdict verdict_rows[] = {
    {0, 0, 0, "positional", 0.5, 0.75, 0.25},
    {0, 0, 1, "idle", 0.001, 0.0, 0.01},
};

static rs_catalog_run make_run(const char *path) {
    return (rs_catalog_run){.model_name = "a model — with 'quotes'",
                            .model_path = "models/a",
                            .family = "llama",
                            .model_sha256 = "aa",
                            .container = "gguf",
                            .parameters = 134515008,
                            .layers = 1,
                            .heads = 2,
                            .kv_heads = 1,
                            .head_dim = 4,
                            .vocab = 49152,
                            .trained_context = 8192,
                            .rope_words = "full RoPE",
                            .run_path = path,
                            .run_sha256 = "bb",
                            .created = "2026-01-02T03:04:05Z",
                            .tool_version = "0.1.0",
                            .command_line = "ropescope audit",
                            .device = "cpu",
                            .ids_sha256 = "cc",
                            .context = 2048,
                            .sequences = 4,
                            .tokens = 8188,
                            .mean_nll = 3.0,
                            .seconds = 12.5,
                            .head_rows = head_rows,
                            .head_count = 2,
                            .pair_rows = pair_rows,
                            .pair_count = 2,
                            .verdict_rows = verdict_rows,
                            .verdict_count = 2};
}

static void test_rows(void **state) {
    (void)state;
    const char *db = in_folder("rows.sqlite");
    rs_catalog_run run = make_run("runs/a.h5");
    expect_ok(rs_catalog_record(db, &run, &e));
    assert_string_equal(ask(db, "SELECT name, path, family, sha256, container, parameters, layers, heads, kv_heads, "
                                "head_dim, vocab, trained_context, rope_words FROM models"),
                        "a model — with 'quotes'|models/a|llama|aa|gguf|134515008|1|2|1|4|49152|8192|full RoPE\n");
    assert_string_equal(ask(db, "SELECT path, sha256, created, tool_version, command_line, device, ids_sha256, "
                                "context, sequences, tokens, mean_nll, seconds FROM runs"),
                        "runs/a.h5|bb|2026-01-02T03:04:05Z|0.1.0|ropescope audit|cpu|cc|2048|4|8188|3.0|12.5\n");
    assert_string_equal(ask(db, "SELECT round(perplexity, 4) FROM runs"), "20.0855\n"); /* e^3 */
    assert_string_equal(ask(db, "SELECT layer, head, kv_head, previous, first, diagonal, induction, duplicate, "
                                "entropy, mean_distance, top_pair_q, top_pair_k FROM heads"),
                        "0|0|0|0.9|0.01|0.02|0.03|0.04|1.5|7.25|3|5\n0|1|0|-|-|-|-|-|-|-|-|-\n");
    assert_string_equal(ask(db, "SELECT retrieval, copy FROM heads"), "0.75|0.05\n-|-\n");
    assert_string_equal(ask(db, "SELECT layer, head, retrieval, copy, previous FROM v_retrieval_heads"),
                        "0|0|0.75|0.05|0.9\n");
    assert_string_equal(ask(db, "SELECT layer, head, pair, theta, q_mean, k_mean, q_share, k_share, zero_cost, "
                                "unrotate_cost, concentration_q, concentration_k FROM pairs"),
                        "0|0|0|1.0|1.5|2.5|0.25|0.75|0.125|0.5|0.1|0.2\n0|0|1|0.0|1.0|2.0|0.5|0.5|0.25|-|0.9|0.8\n");
    assert_string_equal(ask(db, "SELECT kind, path, sha256 FROM artefacts"), "arrays|runs/a.h5|bb\n");
    assert_string_equal(
        ask(db, "SELECT model, round(wavelength, 4), round(turns, 4) FROM v_pairs"),
        "a model — with 'quotes'|6.2832|325.9493\na model — with 'quotes'|-|0.0\n"); /* 2 pi / theta; 2048 / 2 pi */
    assert_string_equal(ask(db, "SELECT model, family, context, tokens FROM v_runs"),
                        "a model — with 'quotes'|llama|2048|8188\n");
    assert_string_equal(ask(db, "SELECT model, head, previous FROM v_heads"),
                        "a model — with 'quotes'|0|0.9\na model — with 'quotes'|1|-\n");
    assert_string_equal(ask(db, "SELECT layer, head, pair, verdict, kl_zero, kl_unrotate, lift FROM verdicts"),
                        "0|0|0|positional|0.5|0.75|0.25\n0|0|1|idle|0.001|0.0|0.01\n");
    assert_string_equal(ask(db, "SELECT pair, round(wavelength, 4), q_share FROM v_positional_pairs"),
                        "0|6.2832|0.25\n");
    assert_string_equal(ask(db, "SELECT pair, wavelength FROM v_idle_pairs"), "1|-\n"); /* not rotated */
    assert_string_equal(ask(db, "SELECT count(*) FROM v_semantic_pairs"), "0\n");
    assert_string_equal(ask(db, "SELECT model, layer, head, previous, positional, semantic, idle, largest_kl_unrotate "
                                "FROM v_positional_heads"),
                        "a model — with 'quotes'|0|0|0.9|1|0|1|0.75\n");
}

/* A catalogue from before heads had these columns gets them, and keeps what it holds. */
static void test_older_heads(void **state) {
    (void)state;
    const char *db = in_folder("older.sqlite");
    rs_catalog_run run = make_run("runs/a.h5");
    expect_ok(rs_catalog_record(db, &run, &e));
    sqlite3 *raw = NULL;
    assert_int_equal(sqlite3_open(db, &raw), SQLITE_OK);
    assert_int_equal(sqlite3_exec(raw,
                                  "DROP VIEW v_retrieval_heads; ALTER TABLE heads DROP COLUMN copy;"
                                  "ALTER TABLE heads DROP COLUMN retrieval",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(raw);
    run = make_run("runs/b.h5");
    expect_ok(rs_catalog_record(db, &run, &e));
    assert_string_equal(ask(db, "SELECT run_id, head, previous, retrieval FROM heads"),
                        "1|0|0.9|-\n1|1|-|-\n2|0|0.9|0.75\n2|1|-|-\n");
    assert_string_equal(ask(db, "SELECT run_id, layer, head FROM v_retrieval_heads"), "2|0|0\n");
}

static void test_schema(void **state) {
    (void)state;
    const char *db = in_folder("schema.sqlite");
    rs_catalog_run run = make_run("a.h5");
    expect_ok(rs_catalog_check(db, &e));
    assert_false(rs_path_exists(db)); /* a check leaves nothing behind */
    expect_ok(rs_catalog_record(db, &run, &e));
    expect_ok(rs_catalog_check(db, &e));
    assert_string_equal(ask(db, "PRAGMA application_id"), "1381188432\n"); /* "RSCP" */
    assert_string_equal(ask(db, "PRAGMA user_version"), "1\n");
    assert_string_equal(ask(db, "PRAGMA journal_mode"), "delete\n");
    assert_string_equal(ask(db, "SELECT count(*) FROM pragma_table_list WHERE type = 'table' AND schema = 'main' AND "
                                "name NOT LIKE 'sqlite_%' AND strict"),
                        "7\n");
    expect_ok(rs_catalog_record(db, &run, &e));
    assert_string_equal(ask(db, "PRAGMA foreign_key_check"), "");
    assert_string_equal(ask(db, "PRAGMA integrity_check"), "ok\n");
    assert_string_equal(ask(db, "INSERT INTO heads (run_id, layer, head, kv_head) VALUES (99, 0, 0, 0)"),
                        "error: FOREIGN KEY constraint failed");
    assert_string_equal(ask(db, "INSERT INTO heads (run_id, layer, head, kv_head) VALUES (1, 'x', 7, 0)"),
                        "error: cannot store TEXT value in INTEGER column heads.layer");
    assert_string_equal(ask(db, "DELETE FROM models"), "error: FOREIGN KEY constraint failed");
    assert_string_equal(ask(db, "DELETE FROM runs"), "");
    assert_string_equal(
        ask(db,
            "SELECT (SELECT count(*) FROM heads) + (SELECT count(*) FROM pairs) + (SELECT count(*) FROM artefacts)"),
        "0\n");
    assert_false(rs_path_exists(in_folder("schema.sqlite-wal")));
    assert_false(rs_path_exists(in_folder("schema.sqlite-journal")));
}

/* A run is known by its file: recorded again it is replaced, under whatever name it is called. */
static void test_replace(void **state) {
    (void)state;
    const char *db = in_folder("replace.sqlite");
    char file[256], other_name[256];
    snprintf(file, sizeof file, "%s", in_folder("a.h5"));
    snprintf(other_name, sizeof other_name, "%s/./a.h5", folder);
    expect_ok(rs_output_write(file, true, "x", 1, &e));
    rs_catalog_run run = make_run(file), same = make_run(other_name), second = make_run("elsewhere/b.h5");
    expect_ok(rs_catalog_record(db, &run, &e));
    expect_ok(rs_catalog_record(db, &second, &e));
    assert_string_equal(ask(db, "SELECT count(*), count(DISTINCT model_id) FROM runs"), "2|1\n");
    same.mean_nll = (double)NAN;
    same.head_count = 1;
    same.model_name = "renamed";
    expect_ok(rs_catalog_record(db, &same, &e));
    char expected[300];
    snprintf(expected, sizeof expected, "%s|-|-\n", file);
    assert_string_equal(ask(db, "SELECT path, mean_nll, perplexity FROM runs WHERE path LIKE '%a.h5'"), expected);
    assert_string_equal(ask(db, "SELECT count(*) FROM runs"), "2\n");
    assert_string_equal(ask(db, "SELECT (SELECT count(*) FROM heads), (SELECT count(*) FROM pairs)"), "3|4\n");
    assert_string_equal(ask(db, "SELECT name FROM models"), "renamed\n");
    same.model_sha256 = "dd"; /* overwritten by a run of another model */
    expect_ok(rs_catalog_record(db, &same, &e));
    assert_string_equal(ask(db, "SELECT sha256 FROM models ORDER BY 1"), "aa\ndd\n");
    second.model_sha256 = "dd";
    expect_ok(rs_catalog_record(db, &second, &e));
    assert_string_equal(ask(db, "SELECT sha256 FROM models"), "dd\n"); /* a model without runs is not kept */
    assert_string_equal(ask(db, "PRAGMA foreign_key_check"), "");
}

static void test_hostile_text(void **state) {
    (void)state;
    const char *db = in_folder("hostile.sqlite");
    rs_catalog_run run = make_run("'); DROP TABLE runs; --");
    run.model_name = "\xff\xfe</script>";
    run.device = NULL;
    expect_ok(rs_catalog_record(db, &run, &e));
    assert_string_equal(ask(db, "SELECT r.path, m.name, r.device FROM runs r JOIN models m USING (model_id)"),
                        "'); DROP TABLE runs; --|\xEF\xBF\xBD\xEF\xBF\xBD</script>|\n");
}

static void test_refusals(void **state) {
    (void)state;
    rs_catalog_run run = make_run("a.h5");
    const char *text = in_folder("text.sqlite"), *other = in_folder("other.sqlite"), *later = in_folder("later.sqlite");
    char line[] =
        "this is no database, but it is longer than the hundred bytes of a header, so that SQLite looks at it: "
        "and then some more text, since a page has at least 512 bytes";
    expect_ok(rs_output_write(text, true, line, sizeof line, &e));
    expect_message(rs_catalog_check(text, &e), RS_E_FORMAT, "not a database");
    expect_message(rs_catalog_record(text, &run, &e), RS_E_FORMAT, "text.sqlite");
    sqlite3 *db = NULL;
    sqlite3_open(other, &db);
    sqlite3_exec(db, "CREATE TABLE theirs (x)", NULL, NULL, NULL);
    sqlite3_close(db);
    expect_message(rs_catalog_check(other, &e), RS_E_FORMAT, "another program");
    assert_string_equal(ask(other, "SELECT group_concat(name) FROM sqlite_schema"), "theirs\n"); /* untouched */
    expect_ok(rs_catalog_record(later, &run, &e));
    ask(later, "PRAGMA user_version = 2");
    expect_message(rs_catalog_record(later, &run, &e), RS_E_FORMAT, "schema version 2");
    expect_message(rs_catalog_check(in_folder("no/such/folder.sqlite"), &e), RS_E_EXISTS, "does not exist");
    expect_message(rs_catalog_check(folder, &e), RS_E_EXISTS, "folder");
}

/* One transaction: what fails in the middle leaves the catalogue as it was. */
static void test_all_or_nothing(void **state) {
    (void)state;
    const char *db = in_folder("whole.sqlite");
    rs_catalog_run run = make_run("a.h5");
    expect_ok(rs_catalog_record(db, &run, &e));
    rs_catalog_pair twice[] = {pair_rows[0], pair_rows[0]};
    run.pair_rows = twice;
    run.seconds = 99;
    expect_message(rs_catalog_record(db, &run, &e), RS_E_INTERNAL, "table pairs: UNIQUE constraint failed");
    assert_string_equal(ask(db, "SELECT seconds, (SELECT count(*) FROM pairs) FROM runs"), "12.5|2\n");
}

/* Several programs at once: all runs are there, whoever made the tables. */
static void test_concurrent(void **state) {
    (void)state;
    const char *db = in_folder("many.sqlite");
    enum { PROGRAMS = 6 };
    pid_t child[PROGRAMS];
    fflush(NULL);
    for (int i = 0; i < PROGRAMS; i++) {
        child[i] = fork();
        assert_true(child[i] >= 0);
        if (child[i] == 0) {
            char path[32];
            snprintf(path, sizeof path, "run%d.h5", i);
            rs_catalog_run run = make_run(path);
            _exit(rs_catalog_record(db, &run, &e) == RS_OK ? 0 : 1);
        }
    }
    for (int i = 0; i < PROGRAMS; i++) {
        int status = 0;
        assert_int_equal(waitpid(child[i], &status, 0), child[i]);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    assert_string_equal(
        ask(db, "SELECT (SELECT count(*) FROM models), (SELECT count(*) FROM runs), (SELECT count(*) FROM pairs)"),
        "1|6|12\n");
}

static void test_allocation_failures(void **state) {
    (void)state;
    const char *db = in_folder("memory.sqlite");
    rs_catalog_run run = make_run("a.h5");
    uint64_t n = 1, live = rs_alloc_live();
    for (rs_status st = RS_E_NOMEM; st != RS_OK; n++) {
        assert_true(n < 500);
        rs_alloc_fail_at(n);
        st = rs_catalog_record(db, &run, &e);
        rs_alloc_fail_at(0);
        assert_true(st == RS_OK || st == RS_E_NOMEM);
        assert_int_equal(rs_alloc_live(), live);
    }
    assert_true(n > 5);
    assert_string_equal(ask(db, "SELECT count(*) FROM runs"), "1\n");
}

static int make_folder(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    char line[128];
    snprintf(line, sizeof line, "rm -rf %s", folder);
    return system(line);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_older_heads),
        cmocka_unit_test(test_schema),
        cmocka_unit_test(test_replace),
        cmocka_unit_test(test_hostile_text),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_all_or_nothing),
        cmocka_unit_test(test_concurrent),
        cmocka_unit_test(test_allocation_failures),
    };
    return cmocka_run_group_tests_name("catalog", tests, make_folder, remove_folder);
}
