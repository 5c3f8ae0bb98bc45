/* The catalogue: one SQLite file over many runs. Facts to query stand here, arrays stay in the run files.
 * NULL = not measured. Indices count from 0; pairs from the fastest to the slowest frequency, unrotated ones last.
 * A file is ours when its application_id is "RSCP"; user_version is the schema's version (RS_SCHEMA_VERSION). */
#define _XOPEN_SOURCE 700 /* realpath */
#include "data/store.h"

#include "analyzer/base/alloc.h"
#include "analyzer/base/file.h"
#include "data/store_text.h"

#include <inttypes.h>
#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { APPLICATION_ID = 0x52534350, BUSY_MS = 20000 };

static const char schema[] =
    "CREATE TABLE models ("
    "  model_id INTEGER PRIMARY KEY,"
    "  name TEXT NOT NULL, path TEXT NOT NULL, family TEXT NOT NULL,"
    "  sha256 TEXT NOT NULL,"    /* of the weights' files, '' when it was not taken */
    "  container TEXT NOT NULL," /* safetensors, gguf, llama2.c */
    "  parameters INTEGER, layers INTEGER, heads INTEGER, kv_heads INTEGER,"
    "  head_dim INTEGER," /* components of a query; two make a pair */
    "  vocab INTEGER,"
    "  trained_context INTEGER,"  /* tokens */
    "  rope_words TEXT NOT NULL," /* 'full RoPE, 32 pairs, base 100,000' */
    "  UNIQUE (sha256, path)"
    ") STRICT;"
    "CREATE TABLE runs ("
    "  run_id INTEGER PRIMARY KEY,"
    "  model_id INTEGER NOT NULL REFERENCES models (model_id),"
    "  path TEXT NOT NULL UNIQUE," /* of the HDF5 file, absolute */
    "  sha256 TEXT NOT NULL,"      /* of the HDF5 file, '' when it was not taken */
    "  created TEXT NOT NULL,"     /* UTC, 2026-11-23T06:00:00Z */
    "  tool_version TEXT NOT NULL, command_line TEXT NOT NULL, device TEXT NOT NULL,"
    "  ids_sha256 TEXT NOT NULL," /* of the token ids: equal = same text under the same tokenizer */
    "  context INTEGER,"          /* tokens per sequence */
    "  sequences INTEGER,"
    "  tokens INTEGER,"  /* scored */
    "  mean_nll REAL,"   /* nats per token */
    "  perplexity REAL," /* exp(mean_nll) */
    "  seconds REAL"     /* of the forward pass with its probes */
    ") STRICT;"
    "CREATE INDEX runs_by_model ON runs (model_id);"
    "CREATE TABLE heads (" /* one row per query head; averages over query positions 1..context-1 */
    "  run_id INTEGER NOT NULL REFERENCES runs (run_id) ON DELETE CASCADE,"
    "  layer INTEGER NOT NULL, head INTEGER NOT NULL,"
    "  kv_head INTEGER NOT NULL,"                                                 /* whose keys the head reads */
    "  previous REAL, first REAL, diagonal REAL, induction REAL, duplicate REAL," /* attention mass, 0..1 */
    "  entropy REAL,"                                                             /* nats */
    "  mean_distance REAL,"                                                       /* tokens, without the sink */
    "  top_pair_q INTEGER, top_pair_k INTEGER," /* the pair whose norm is most often the largest */
    "  PRIMARY KEY (run_id, layer, head)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TABLE pairs (" /* one row per query head and rotary pair */
    "  run_id INTEGER NOT NULL REFERENCES runs (run_id) ON DELETE CASCADE,"
    "  layer INTEGER NOT NULL, head INTEGER NOT NULL, pair INTEGER NOT NULL,"
    "  theta REAL,"                                 /* rad/token; 0 = not rotated */
    "  q_mean REAL, k_mean REAL,"                   /* mean 2-norms; k of the head's key head */
    "  q_share REAL, k_share REAL,"                 /* of the head's norm, 0..1 */
    "  zero_cost REAL, unrotate_cost REAL,"         /* in units of the head's logit variance */
    "  concentration_q REAL, concentration_k REAL," /* R, 0..1 */
    "  PRIMARY KEY (run_id, layer, head, pair)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TABLE artefacts (" /* files that belong to a run */
    "  artefact_id INTEGER PRIMARY KEY,"
    "  run_id INTEGER NOT NULL REFERENCES runs (run_id) ON DELETE CASCADE,"
    "  kind TEXT NOT NULL," /* 'arrays': the HDF5 file */
    "  path TEXT NOT NULL, sha256 TEXT NOT NULL,"
    "  UNIQUE (run_id, path)"
    ") STRICT;"
    "CREATE VIEW v_runs AS SELECT r.run_id, m.name AS model, m.family, m.rope_words, r.context, r.sequences, r.tokens,"
    "  r.mean_nll, r.perplexity, r.device, r.created, r.path FROM runs r JOIN models m USING (model_id);"
    "CREATE VIEW v_heads AS SELECT m.name AS model, h.*"
    "  FROM heads h JOIN runs r USING (run_id) JOIN models m USING (model_id);"
    "CREATE VIEW v_pairs AS SELECT m.name AS model, p.*,"
    "  6.283185307179586 / nullif(p.theta, 0) AS wavelength," /* tokens; NULL = not rotated */
    "  p.theta * r.context / 6.283185307179586 AS turns"      /* over the analysed context */
    "  FROM pairs p JOIN runs r USING (run_id) JOIN models m USING (model_id);";

/* What came after the first catalogues were made; added to these when they are next written. */
static const char additions[] =
    "CREATE TABLE IF NOT EXISTS interventions (" /* one row per edit of pairs that was tried */
    "  intervention_id INTEGER PRIMARY KEY,"
    "  run_id INTEGER NOT NULL REFERENCES runs (run_id) ON DELETE CASCADE,"
    "  experiment TEXT NOT NULL, mode TEXT NOT NULL,"
    "  ranking TEXT NOT NULL,"        /* 'random': a control */
    "  amount REAL NOT NULL,"         /* p, band, dimensions or fraction, by the experiment */
    "  seed INTEGER, layer INTEGER,"  /* NULL: no control; all layers */
    "  heads TEXT NOT NULL,"          /* '': all */
    "  pairs INTEGER NOT NULL,"       /* edited, counted per query head */
    "  delta_nll REAL,"               /* nats per token, edited minus unedited */
    "  delta_lo REAL, delta_hi REAL," /* 95 % bootstrap over sequences; NULL for one sequence */
    "  tokens INTEGER NOT NULL,"
    "  UNIQUE (run_id, experiment, mode, ranking, amount, seed, layer, heads)"
    ") STRICT;";

/* Columns of interventions that came later still, and the view over all of them. */
static const char has_accuracy[] = "SELECT count(*) FROM pragma_table_info('interventions') WHERE name = 'accuracy_hi'";
static const char accuracy[] =
    "ALTER TABLE interventions ADD COLUMN delta_accuracy REAL;" /* share of tokens that are the likeliest */
    "ALTER TABLE interventions ADD COLUMN accuracy_lo REAL;"    /* 95 % bootstrap over sequences */
    "ALTER TABLE interventions ADD COLUMN accuracy_hi REAL;"
    "DROP VIEW IF EXISTS v_ablation;"
    "CREATE VIEW v_ablation AS SELECT m.name AS model, i.run_id, i.experiment, i.mode, i.ranking, "
    "i.amount,"
    "  i.layer, i.heads, i.pairs, i.delta_nll, i.delta_lo, i.delta_hi,"
    "  (SELECT avg(c.delta_nll) FROM interventions c WHERE c.run_id = i.run_id AND c.experiment = i.experiment"
    "     AND c.mode = i.mode AND c.ranking = 'random' AND c.layer IS i.layer AND c.heads = i.heads"
    "     AND (c.amount = i.amount OR i.experiment LIKE '%band')) AS control_mean,"
    "  (SELECT count(*) FROM interventions c WHERE c.run_id = i.run_id AND c.experiment = i.experiment"
    "     AND c.mode = i.mode AND c.ranking = 'random' AND c.layer IS i.layer AND c.heads = i.heads"
    "     AND (c.amount = i.amount OR i.experiment LIKE '%band') AND c.delta_nll <= i.delta_nll) AS controls_not_above,"
    "  i.delta_accuracy, i.accuracy_lo, i.accuracy_hi,"
    "  (SELECT avg(c.delta_accuracy) FROM interventions c WHERE c.run_id = i.run_id AND c.experiment = i.experiment"
    "     AND c.mode = i.mode AND c.ranking = 'random' AND c.layer IS i.layer AND c.heads = i.heads"
    "     AND (c.amount = i.amount OR i.experiment LIKE '%band')) AS control_accuracy_mean,"
    "  i.tokens FROM interventions i JOIN runs r USING (run_id) JOIN models m USING (model_id)"
    "  WHERE i.ranking <> 'random';"
    "CREATE TABLE IF NOT EXISTS verdicts (" /* what a pair of a head is for; one row per pair, where it was measured */
    "  run_id INTEGER NOT NULL REFERENCES runs (run_id) ON DELETE CASCADE,"
    "  layer INTEGER NOT NULL, head INTEGER NOT NULL, pair INTEGER NOT NULL,"
    "  verdict TEXT NOT NULL,"          /* positional, semantic, bias, idle, undecided */
    "  kl_zero REAL, kl_unrotate REAL," /* nats: how far attention moves without it, without its rotation */
    "  lift REAL,"                      /* mean part of the logit under the attention less under a uniform reader */
    "  PRIMARY KEY (run_id, layer, head, pair)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE VIEW IF NOT EXISTS v_verdicts AS SELECT m.name AS model, x.*,"
    "  6.283185307179586 / nullif(p.theta, 0) AS wavelength, p.q_share, p.k_share"
    "  FROM verdicts x JOIN pairs p USING (run_id, layer, head, pair) JOIN runs r USING (run_id) JOIN models m USING "
    "(model_id);"
    "CREATE VIEW IF NOT EXISTS v_idle_pairs AS SELECT * FROM v_verdicts WHERE verdict = 'idle';"
    "CREATE VIEW IF NOT EXISTS v_semantic_pairs AS SELECT * FROM v_verdicts WHERE verdict = 'semantic';"
    "CREATE VIEW IF NOT EXISTS v_positional_pairs AS SELECT * FROM v_verdicts WHERE verdict = 'positional';"
    "CREATE VIEW IF NOT EXISTS v_positional_heads AS SELECT m.name AS model, h.run_id, h.layer, h.head, h.previous,"
    "  h.diagonal, sum(x.verdict = 'positional') AS positional, sum(x.verdict = 'semantic') AS semantic,"
    "  sum(x.verdict = 'idle') AS idle, max(x.kl_unrotate) AS largest_kl_unrotate"
    "  FROM heads h JOIN verdicts x USING (run_id, layer, head) JOIN runs r USING (run_id) JOIN models m USING "
    "(model_id)"
    "  GROUP BY h.run_id, h.layer, h.head HAVING positional > 0;";

/* Columns of heads that came later, and who they are about. */
static const char has_retrieval[] = "SELECT count(*) FROM pragma_table_info('heads') WHERE name = 'copy'";
static const char retrieval[] =
    "ALTER TABLE heads ADD COLUMN retrieval REAL;" /* attention from question and answer to the context, 0..1 */
    "ALTER TABLE heads ADD COLUMN copy REAL;"      /* share of the answer's tokens that its strongest key holds */
    "CREATE VIEW IF NOT EXISTS v_retrieval_heads AS SELECT m.name AS model, h.run_id, h.layer, h.head, h.retrieval,"
    "  h.copy, h.previous, h.first FROM heads h JOIN runs r USING (run_id) JOIN models m USING (model_id)"
    "  WHERE h.retrieval > 0.5 OR h.copy > 0.1;"; /* as `ablate --heads retrieval` and `copying` take them */

/* ---- errors ---- */

static rs_status status_of(int rc) {
    switch (rc & 0xFF) {
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT: return RS_E_FORMAT;
    case SQLITE_NOMEM: return RS_E_NOMEM;
    case SQLITE_CONSTRAINT:
    case SQLITE_MISUSE:
    case SQLITE_ERROR: return RS_E_INTERNAL;
    default: return RS_E_IO;
    }
}

/* rc: of the call that failed; ours may say out of memory where SQLite knows of nothing. */
static rs_status fail_rc(sqlite3 *db, int rc, const char *path, const char *what, rs_error *err) {
    const char *why = sqlite3_errcode(db) == SQLITE_OK ? sqlite3_errstr(rc) : sqlite3_errmsg(db);
    return rs_fail(err, status_of(rc), "%s: catalogue: %s: %s", path, what, why);
}

static rs_status fail(sqlite3 *db, const char *path, const char *what, rs_error *err) {
    return fail_rc(db, sqlite3_errcode(db), path, what, err);
}

static rs_status execute(sqlite3 *db, const char *path, const char *sql, const char *what, rs_error *err) {
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? RS_OK : fail(db, path, what, err);
}

/* First column of the first row as an integer. */
static rs_status ask(sqlite3 *db, const char *path, const char *sql, int64_t *out, rs_error *err) {
    sqlite3_stmt *q = NULL;
    rs_status st = RS_OK;
    *out = 0;
    if (sqlite3_prepare_v2(db, sql, -1, &q, NULL) != SQLITE_OK || sqlite3_step(q) != SQLITE_ROW)
        st = fail(db, path, "cannot be read", err);
    else *out = sqlite3_column_int64(q, 0);
    sqlite3_finalize(q);
    return st;
}

/* ---- opening ---- */

static rs_status bring_up_to_date(sqlite3 *db, const char *path, rs_error *err) {
    rs_status st = RS_OK;
    int64_t there = 0;
    RS_TRY(execute(db, path, additions, "cannot be brought up to date", err));
    RS_TRY(ask(db, path, has_accuracy, &there, err));
    if (!there) RS_TRY(execute(db, path, accuracy, "cannot be brought up to date", err));
    RS_TRY(ask(db, path, has_retrieval, &there, err));
    if (!there) RS_TRY(execute(db, path, retrieval, "cannot be brought up to date", err));
out:
    return st;
}

static rs_status create_schema(sqlite3 *db, const char *path, rs_error *err) {
    char mark[96];
    snprintf(mark, sizeof mark, "PRAGMA application_id = %d; PRAGMA user_version = %d;", APPLICATION_ID,
             RS_SCHEMA_VERSION);
    rs_status st = execute(db, path, schema, "cannot be made", err);
    st = st == RS_OK ? bring_up_to_date(db, path, err) : st;
    return st == RS_OK ? execute(db, path, mark, "cannot be made", err) : st;
}

/* Inside a transaction, so that two programs that start at once do not both make the tables. */
static rs_status check_schema(sqlite3 *db, const char *path, rs_error *err) {
    rs_status st = RS_OK;
    int64_t application, version, objects;
    RS_TRY(ask(db, path, "PRAGMA application_id", &application, err));
    RS_TRY(ask(db, path, "PRAGMA user_version", &version, err));
    RS_TRY(ask(db, path, "SELECT count(*) FROM sqlite_schema", &objects, err));
    if (application == 0 && version == 0 && objects == 0) return create_schema(db, path, err);
    if (application != APPLICATION_ID)
        return rs_fail(err, RS_E_FORMAT, "%s: is a SQLite file of another program, no catalogue of runs", path);
    if (version > RS_SCHEMA_VERSION || version < 1) {
        return rs_fail(err, RS_E_FORMAT, "%s: catalogue of schema version %" PRId64 "; this program knows 1 to %d",
                       path, version, RS_SCHEMA_VERSION);
    }
    RS_TRY(bring_up_to_date(db, path, err));
out:
    return st;
}

static void close_catalog(sqlite3 *db) { sqlite3_close(db); }

/* Leaves a transaction open, which closing without COMMIT rolls back. */
static rs_status open_catalog(const char *path, sqlite3 **out, rs_error *err) {
    rs_status st = RS_OK;
    sqlite3 *db = NULL;
    char *temporary = NULL; /* not used: asked for its checks of the folder */
    *out = NULL;
    RS_TRY(rs_output_prepare(path, true, &temporary, err));
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) != SQLITE_OK) {
        st = db ? fail(db, path, "cannot be opened", err)
                : rs_fail(err, RS_E_NOMEM, "%s: catalogue: out of memory", path);
        goto out;
    }
    sqlite3_busy_timeout(db, BUSY_MS);
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    RS_TRY(execute(db, path, "PRAGMA foreign_keys = ON", "cannot be opened", err));
    RS_TRY(execute(db, path, "BEGIN IMMEDIATE", "cannot be written", err));
    RS_TRY(check_schema(db, path, err));
    *out = db;
    db = NULL;
out:
    close_catalog(db);
    rs_free(temporary);
    return st;
}

rs_status rs_catalog_check(const char *catalog_path, rs_error *err) {
    sqlite3 *db = NULL;
    if (!rs_path_exists(catalog_path)) { /* nothing is left behind by work that fails later */
        char *temporary = NULL;
        rs_status there = rs_output_prepare(catalog_path, true, &temporary, err);
        rs_free(temporary);
        return there;
    }
    rs_status st = open_catalog(catalog_path, &db, err);
    if (st == RS_OK) st = execute(db, catalog_path, "COMMIT", "cannot be written", err);
    close_catalog(db);
    return st;
}

/* ---- rows ---- */

typedef enum value_kind {
    TEXT,
    INT64,
    INT,
    INDEX,
    REAL
} value_kind; /* INDEX: an int, negative = NULL; REAL: NaN = NULL */

typedef struct column {
    const char *name;
    value_kind kind;
    size_t offset; /* in the row's struct */
} column;

#define AT(type, field, kind)                                                                                          \
    { #field, kind, offsetof(type, field) }
#define RUN(name, field, kind)                                                                                         \
    { name, kind, offsetof(rs_catalog_run, field) }

static const column model_columns[] = {
    RUN("name", model_name, TEXT),       RUN("path", model_path, TEXT),
    RUN("family", family, TEXT),         RUN("sha256", model_sha256, TEXT),
    RUN("container", container, TEXT),   RUN("parameters", parameters, INT64),
    RUN("layers", layers, INT64),        RUN("heads", heads, INT64),
    RUN("kv_heads", kv_heads, INT64),    RUN("head_dim", head_dim, INT64),
    RUN("vocab", vocab, INT64),          RUN("trained_context", trained_context, INT64),
    RUN("rope_words", rope_words, TEXT),
};
static const column run_columns[] = {
    RUN("path", run_path, TEXT),
    RUN("sha256", run_sha256, TEXT),
    RUN("created", created, TEXT),
    RUN("tool_version", tool_version, TEXT),
    RUN("command_line", command_line, TEXT),
    RUN("device", device, TEXT),
    RUN("ids_sha256", ids_sha256, TEXT),
    RUN("context", context, INT64),
    RUN("sequences", sequences, INT64),
    RUN("tokens", tokens, INT64),
    RUN("mean_nll", mean_nll, REAL),
    RUN("seconds", seconds, REAL),
};
static const column head_columns[] = {
    AT(rs_catalog_head, layer, INT),        AT(rs_catalog_head, head, INT),
    AT(rs_catalog_head, kv_head, INT),      AT(rs_catalog_head, previous, REAL),
    AT(rs_catalog_head, first, REAL),       AT(rs_catalog_head, diagonal, REAL),
    AT(rs_catalog_head, induction, REAL),   AT(rs_catalog_head, duplicate, REAL),
    AT(rs_catalog_head, entropy, REAL),     AT(rs_catalog_head, mean_distance, REAL),
    AT(rs_catalog_head, top_pair_q, INDEX), AT(rs_catalog_head, top_pair_k, INDEX),
    AT(rs_catalog_head, retrieval, REAL),   AT(rs_catalog_head, copy, REAL),
};
static const column pair_columns[] = {
    AT(rs_catalog_pair, layer, INT),
    AT(rs_catalog_pair, head, INT),
    AT(rs_catalog_pair, pair, INT),
    AT(rs_catalog_pair, theta, REAL),
    AT(rs_catalog_pair, q_mean, REAL),
    AT(rs_catalog_pair, k_mean, REAL),
    AT(rs_catalog_pair, q_share, REAL),
    AT(rs_catalog_pair, k_share, REAL),
    AT(rs_catalog_pair, zero_cost, REAL),
    AT(rs_catalog_pair, unrotate_cost, REAL),
    AT(rs_catalog_pair, concentration_q, REAL),
    AT(rs_catalog_pair, concentration_k, REAL),
};
static const column verdict_columns[] = {
    AT(rs_catalog_verdict, layer, INT),    AT(rs_catalog_verdict, head, INT),
    AT(rs_catalog_verdict, pair, INT),     AT(rs_catalog_verdict, verdict, TEXT),
    AT(rs_catalog_verdict, kl_zero, REAL), AT(rs_catalog_verdict, kl_unrotate, REAL),
    AT(rs_catalog_verdict, lift, REAL),
};
static const column intervention_columns[] = {
    AT(rs_catalog_intervention, experiment, TEXT),     AT(rs_catalog_intervention, mode, TEXT),
    AT(rs_catalog_intervention, ranking, TEXT),        AT(rs_catalog_intervention, amount, REAL),
    AT(rs_catalog_intervention, seed, INDEX),          AT(rs_catalog_intervention, layer, INDEX),
    AT(rs_catalog_intervention, heads, TEXT),          AT(rs_catalog_intervention, pairs, INT64),
    AT(rs_catalog_intervention, delta_nll, REAL),      AT(rs_catalog_intervention, delta_lo, REAL),
    AT(rs_catalog_intervention, delta_hi, REAL),       AT(rs_catalog_intervention, tokens, INT64),
    AT(rs_catalog_intervention, delta_accuracy, REAL), AT(rs_catalog_intervention, accuracy_lo, REAL),
    AT(rs_catalog_intervention, accuracy_hi, REAL),
};
#define COUNT(columns) (sizeof(columns) / sizeof *(columns))

static int bind_text(sqlite3_stmt *q, int at, const char *s) {
    rs_text clean = {0};
    rs_store_append_utf8(&clean, s);
    int rc = clean.failed || clean.bytes > INT32_MAX
                 ? SQLITE_NOMEM
                 : sqlite3_bind_text(q, at, clean.data ? clean.data : "", (int)clean.bytes, SQLITE_TRANSIENT);
    rs_text_deinit(&clean);
    return rc;
}

static int bind_real(sqlite3_stmt *q, int at, double x) {
    return isnan(x) ? sqlite3_bind_null(q, at) : sqlite3_bind_double(q, at, x);
}

static int bind(sqlite3_stmt *q, int at, const column *c, const void *row) {
    const char *field = (const char *)row + c->offset;
    switch (c->kind) {
    case TEXT: return bind_text(q, at, *(const char *const *)(const void *)field);
    case INT64: return sqlite3_bind_int64(q, at, *(const int64_t *)(const void *)field);
    case INT: return sqlite3_bind_int(q, at, *(const int *)(const void *)field);
    case INDEX: {
        int i = *(const int *)(const void *)field;
        return i < 0 ? sqlite3_bind_null(q, at) : sqlite3_bind_int(q, at, i);
    }
    default: return bind_real(q, at, *(const double *)(const void *)field);
    }
}

/* A table being filled: parameter 1 is the owner's id in column `owner` (NULL: none), the columns follow. */
typedef struct inserter {
    sqlite3 *db;
    sqlite3_stmt *q;
    const char *path, *table;
    const column *columns;
    size_t n;
} inserter;

static rs_status inserter_open(inserter *in, const char *owner, const char *more, rs_error *err) {
    rs_text sql = {0};
    rs_text_printf(&sql, "INSERT INTO %s (%s", in->table, owner ? owner : "");
    for (size_t i = 0; i < in->n; i++) rs_text_printf(&sql, "%s%s", i || owner ? ", " : "", in->columns[i].name);
    rs_text_append(&sql, ") VALUES (");
    for (size_t i = 0; i < in->n + (owner ? 1 : 0); i++) rs_text_printf(&sql, "%s?%zu", i ? ", " : "", i + 1);
    rs_text_printf(&sql, ")%s", more);
    rs_status st = rs_text_status(&sql, err);
    if (st == RS_OK && sqlite3_prepare_v2(in->db, sql.data, -1, &in->q, NULL) != SQLITE_OK)
        st = fail(in->db, in->path, in->table, err);
    rs_text_deinit(&sql);
    return st;
}

/* owner < 0: the table has none. */
static rs_status insert(inserter *in, int64_t owner, const void *row, rs_error *err) {
    int at = 1, rc = SQLITE_OK;
    if (owner >= 0) rc = sqlite3_bind_int64(in->q, at++, owner);
    for (size_t i = 0; i < in->n && rc == SQLITE_OK; i++) rc = bind(in->q, at++, &in->columns[i], row);
    if (rc == SQLITE_OK) rc = sqlite3_step(in->q);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE) {
        char what[64];
        snprintf(what, sizeof what, "table %s", in->table);
        return fail_rc(in->db, rc, in->path, what, err);
    }
    return RS_OK;
}

static rs_status insert_rows(sqlite3 *db, const char *path, const char *table, const column *columns, size_t n_columns,
                             int64_t run_id, const void *rows, size_t row_bytes, size_t n, rs_error *err) {
    rs_status st = RS_OK;
    inserter in = {.db = db, .path = path, .table = table, .columns = columns, .n = n_columns};
    RS_TRY(inserter_open(&in, "run_id", "", err));
    for (size_t i = 0; i < n; i++) {
        RS_TRY(insert(&in, run_id, (const char *)rows + i * row_bytes, err));
        sqlite3_reset(in.q);
    }
out:
    sqlite3_finalize(in.q);
    return st;
}

/* The row of a model is found by its hash and path and brought up to date. */
static rs_status record_model(sqlite3 *db, const char *path, const rs_catalog_run *run, int64_t *model_id,
                              rs_error *err) {
    rs_status st = RS_OK;
    inserter in = {.db = db, .path = path, .table = "models", .columns = model_columns, .n = COUNT(model_columns)};
    rs_text update = {0};
    rs_text_append(&update, " ON CONFLICT (sha256, path) DO UPDATE SET ");
    for (size_t i = 0; i < in.n; i++)
        rs_text_printf(&update, "%s%s = excluded.%s", i ? ", " : "", in.columns[i].name, in.columns[i].name);
    rs_text_append(&update, " RETURNING model_id");
    RS_TRY(rs_text_status(&update, err));
    RS_TRY(inserter_open(&in, NULL, update.data, err));
    RS_TRY(insert(&in, -1, run, err));
    *model_id = sqlite3_column_int64(in.q, 0);
out:
    sqlite3_finalize(in.q);
    rs_text_deinit(&update);
    return st;
}

/* One statement with @id, @text or @x in it. */
static rs_status change(sqlite3 *db, const char *path, const char *sql, int64_t id, const char *text, double x,
                        rs_error *err) {
    sqlite3_stmt *q = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &q, NULL), at;
    if (rc == SQLITE_OK && (at = sqlite3_bind_parameter_index(q, "@id")) > 0) rc = sqlite3_bind_int64(q, at, id);
    if (rc == SQLITE_OK && (at = sqlite3_bind_parameter_index(q, "@text")) > 0) rc = bind_text(q, at, text);
    if (rc == SQLITE_OK && (at = sqlite3_bind_parameter_index(q, "@x")) > 0) rc = bind_real(q, at, x);
    if (rc == SQLITE_OK) rc = sqlite3_step(q);
    rs_status st = rc == SQLITE_DONE ? RS_OK : fail_rc(db, rc, path, "cannot be written", err);
    sqlite3_finalize(q);
    return st;
}

static rs_status record_run(sqlite3 *db, const char *path, const rs_catalog_run *run, rs_error *err) {
    rs_status st = RS_OK;
    int64_t model_id, run_id;
    inserter in = {.db = db, .path = path, .table = "runs", .columns = run_columns, .n = COUNT(run_columns)};
    RS_TRY(change(db, path, "DELETE FROM runs WHERE path = @text", 0, run->run_path, 0, err));
    RS_TRY(record_model(db, path, run, &model_id, err));
    RS_TRY(inserter_open(&in, "model_id", "", err));
    RS_TRY(insert(&in, model_id, run, err));
    run_id = sqlite3_last_insert_rowid(db);
    RS_TRY(
        change(db, path, "UPDATE runs SET perplexity = @x WHERE run_id = @id", run_id, NULL, exp(run->mean_nll), err));
    RS_TRY(change(db, path,
                  "INSERT INTO artefacts (run_id, kind, path, sha256) SELECT run_id, 'arrays', path, sha256 FROM runs "
                  "WHERE run_id = @id",
                  run_id, NULL, 0, err));
    RS_TRY(insert_rows(db, path, "heads", head_columns, COUNT(head_columns), run_id, run->head_rows,
                       sizeof *run->head_rows, run->head_count, err));
    RS_TRY(insert_rows(db, path, "pairs", pair_columns, COUNT(pair_columns), run_id, run->pair_rows,
                       sizeof *run->pair_rows, run->pair_count, err));
    RS_TRY(insert_rows(db, path, "verdicts", verdict_columns, COUNT(verdict_columns), run_id, run->verdict_rows,
                       sizeof *run->verdict_rows, run->verdict_count, err));
    /* The run that was replaced may have been the last one of its model. */
    RS_TRY(execute(db, path, "DELETE FROM models WHERE model_id NOT IN (SELECT model_id FROM runs)",
                   "cannot be written", err));
out:
    sqlite3_finalize(in.q);
    return st;
}

rs_status rs_catalog_record(const char *catalog_path, const rs_catalog_run *run, rs_error *err) {
    sqlite3 *db = NULL;
    rs_catalog_run absolute = *run;
    char *whole = realpath(run->run_path, NULL); /* a run is known by where it lies, not by how it was named today */
    if (whole) absolute.run_path = whole;
    rs_status st = open_catalog(catalog_path, &db, err);
    if (st == RS_OK) st = record_run(db, catalog_path, &absolute, err);
    if (st == RS_OK) st = execute(db, catalog_path, "COMMIT", "cannot be written", err);
    close_catalog(db);
    free(whole);
    return st;
}

static rs_status run_id_of(sqlite3 *db, const char *path, const char *run_path, int64_t *out, rs_error *err) {
    sqlite3_stmt *q = NULL;
    rs_status st = RS_OK;
    int rc = sqlite3_prepare_v2(db, "SELECT run_id FROM runs WHERE path = ?1", -1, &q, NULL);
    rc = rc == SQLITE_OK ? bind_text(q, 1, run_path) : rc;
    rc = rc == SQLITE_OK ? sqlite3_step(q) : rc;
    if (rc == SQLITE_ROW) *out = sqlite3_column_int64(q, 0);
    else if (rc == SQLITE_DONE) st = rs_fail(err, RS_E_USAGE, "%s: catalogue: knows no run '%s'", path, run_path);
    else st = fail_rc(db, rc, path, "cannot be read", err);
    sqlite3_finalize(q);
    return st;
}

rs_status rs_catalog_interventions(const char *catalog_path, const char *run_path, const rs_catalog_intervention *rows,
                                   size_t n, rs_error *err) {
    rs_status st = RS_OK;
    sqlite3 *db = NULL;
    int64_t id = 0;
    char *whole = realpath(run_path, NULL);
    RS_TRY(open_catalog(catalog_path, &db, err));
    RS_TRY(run_id_of(db, catalog_path, whole ? whole : run_path, &id, err));
    RS_TRY(change(db, catalog_path, "DELETE FROM interventions WHERE run_id = @id", id, NULL, 0, err));
    RS_TRY(insert_rows(db, catalog_path, "interventions", intervention_columns, COUNT(intervention_columns), id, rows,
                       sizeof *rows, n, err));
    RS_TRY(execute(db, catalog_path, "COMMIT", "cannot be written", err));
out:
    close_catalog(db);
    free(whole);
    return st;
}
