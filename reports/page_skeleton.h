/* reports/page_skeleton.h: from a skeleton of reports/assets to a page: its {{markers}} replaced, its {{#sections}}
 * kept or left out, styles and scripts inside. Scripts and styles are allowed by their SHA-256 alone, so that nothing
 * which came from a file can run even if an escape were wrong. What a page says is its markers' (render_html*.c). */
#ifndef RS_REPORTS_PAGE_SKELETON_H
#define RS_REPORTS_PAGE_SKELETON_H

#include "analyzer/base/status.h"
#include "analyzer/base/text.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct rs_page rs_page;

typedef struct rs_page_marker {
    const char *name;                      /* what stands between {{ and }} */
    void (*put)(rs_page *p, rs_text *out); /* writes escaped HTML; a failure goes to p->st */
} rs_page_marker;

struct rs_page {
    const char *skeleton, *skeleton_end, *script, *script_end; /* assets */
    const rs_page_marker *markers;                             /* [n_markers] beside csp, style, d3, script, foot */
    size_t n_markers;
    bool (*keeps)(const rs_page *p, const char *section, size_t n); /* is {{#section}} kept? name of n bytes */
    const void *subject;                                            /* what the markers speak of */
    const char *program;
    rs_error *err;
    rs_status st;
};

/* Fails: what a marker set in p->st, RS_E_NOMEM, RS_E_INTERNAL (a marker of the skeleton that nobody knows). */
rs_status rs_page_write(rs_page *p, rs_text *out);

#endif
