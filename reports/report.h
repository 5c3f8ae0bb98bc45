/* reports/report.h: from store files to what people read. Needs no model, no device: data/store.h only.
 * view.c reads a run into numbers that are ready to show; render_*.c are one table of functions per format over that
 * view. */
#ifndef RS_REPORTS_REPORT_H
#define RS_REPORTS_REPORT_H

#include "analyzer/base/status.h"
#include "analyzer/base/text.h"

#include <stddef.h>

typedef enum rs_report_format { RS_REPORT_HTML, RS_REPORT_TEXT, RS_REPORT_JSON, RS_REPORT_CSV } rs_report_format;

typedef struct rs_report_options {
    rs_report_format format;
    int columns;         /* width of the text form; 0 = 80 */
    const char *control; /* run file of audit --control, shown beside a single run; NULL: none */
    const char *program; /* "ropescope 0.1.0", for the foot line */
} rs_report_options;

/* One run file and the name it is shown under. */
typedef struct rs_labelled_run {
    const char *label; /* NULL: the model's name */
    const char *path;
} rs_labelled_run;

/* Renders one run, or compares several (n >= 2): those with one label are repeats, the first label is the reference.
 *   HTML  one offline page (shared words and looks: reports/assets)
 *   TEXT  what one wants after an audit in a terminal
 *   JSON  every fact of the page, machine-readable
 *   CSV   one row per layer, query head and pair; of a comparison: one per quantity and variant
 * Fails: RS_E_IO, RS_E_FORMAT (not a store, or not a whole one: names what is missing), RS_E_USAGE (runs with one label
 * that are not repeats, a control that is none of this run, or one beside a comparison). */
rs_status rs_report_render(const rs_labelled_run *runs, size_t n, const rs_report_options *o, rs_text *out,
                           rs_error *err);

/* What `ablate` has measured on a run, as a table for the terminal, each edit beside its random controls. Fails as
 * rs_report_render does. */
rs_status rs_report_tried(const char *path, const char *program, rs_text *out, rs_error *err);

#endif
