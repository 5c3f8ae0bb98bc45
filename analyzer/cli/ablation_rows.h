/* cli/ablation_rows.h: what was measured, one row per ablation, between the run file (/ablation), the catalogue
 * (interventions) and the reader. Used by cmd_ablate.c. */
#ifndef RS_CLI_ABLATION_ROWS_H
#define RS_CLI_ABLATION_ROWS_H

#include "analyzer/ablate/ablation_measure.h"
#include "analyzer/base/text.h"
#include "data/store.h"

typedef struct rs_ablation_row {
    char key[RS_ABLATION_KEY_BYTES]; /* rs_ablation_key */
    char ranking[RS_RANKING_NAME_BYTES];
    int experiment, mode, seed, layer; /* -1: no control, all layers */
    double amount;
    rs_interval nll, accuracy; /* edited minus unedited; lo and hi NaN for one sequence */
    int64_t pairs;
    rs_scores scores; /* [sequences], owned */
} rs_ablation_row;

typedef struct rs_ablation_rows {
    rs_ablation_row *item; /* [n] */
    size_t n, room;
    int64_t sequences, tokens; /* tokens: scored, of all sequences */
    rs_scores baseline;        /* [sequences] unedited; the caller's; not read back */
    char settings[256];        /* what must be equal for rows to stand side by side */
} rs_ablation_rows;

/* Heads that the row's edits were kept to, "0.3,1.2" (layer.head); "" for all. Borrowed from the row. */
const char *rs_ablation_row_heads(const rs_ablation_row *r);
/* Takes the row, its scores with it, also when it fails. */
rs_status rs_ablation_rows_add(rs_ablation_rows *r, rs_ablation_row *row, rs_error *err);
const rs_ablation_row *rs_ablation_rows_find(const rs_ablation_rows *r, const char *key); /* NULL when absent */
void rs_ablation_rows_deinit(rs_ablation_rows *r);
/* Rows of the run file, none when it has no /ablation. Fails: RS_E_USAGE when they were measured under other settings
 * than r->settings; RS_E_FORMAT. */
rs_status rs_ablation_rows_read(rs_store *s, const char *path, rs_ablation_rows *r, rs_error *err);
/* Puts the rows into the run file, in the place of those it had: a whole new file, renamed. */
rs_status rs_ablation_rows_write(const rs_ablation_rows *r, const char *path, rs_error *err);
/* The rows into the catalogue, with the run's own row brought up to date. */
rs_status rs_ablation_rows_catalog(const rs_ablation_rows *r, const char *path, const char *catalog, rs_error *err);

/* Every row, controls too, for programs (ablation_show.c). */
void rs_ablation_rows_json(const rs_ablation_rows *r, rs_text *out);
void rs_ablation_rows_csv(const rs_ablation_rows *r, rs_text *out);

#endif
