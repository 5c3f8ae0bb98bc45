/* reports/render.h: the formats. Each writes a view into out and computes nothing; report.h's rs_report_render picks
 * one. */
#ifndef RS_REPORTS_RENDER_H
#define RS_REPORTS_RENDER_H

#include "analyzer/base/text.h"
#include "reports/comparison.h"
#include "reports/report.h"
#include "reports/view.h"

/* Appending cannot fail at the call; what is returned is a failure to build something on the way (RS_E_NOMEM,
 * RS_E_INTERNAL). */
typedef rs_status (*rs_render_fn)(const rs_report_view *v, const rs_report_options *o, rs_text *out, rs_error *err);

rs_status rs_render_text(const rs_report_view *v, const rs_report_options *o, rs_text *out, rs_error *err);
rs_status rs_render_json(const rs_report_view *v, const rs_report_options *o, rs_text *out, rs_error *err);
rs_status rs_render_csv(const rs_report_view *v, const rs_report_options *o, rs_text *out, rs_error *err);
rs_status rs_render_html(const rs_report_view *v, const rs_report_options *o, rs_text *out, rs_error *err);

typedef rs_status (*rs_render_comparison_fn)(const rs_comparison *c, const rs_report_options *o, rs_text *out,
                                             rs_error *err);

rs_status rs_render_comparison_text(const rs_comparison *c, const rs_report_options *o, rs_text *out, rs_error *err);
rs_status rs_render_comparison_json(const rs_comparison *c, const rs_report_options *o, rs_text *out, rs_error *err);
rs_status rs_render_comparison_csv(const rs_comparison *c, const rs_report_options *o, rs_text *out, rs_error *err);
rs_status rs_render_comparison_html(const rs_comparison *c, const rs_report_options *o, rs_text *out, rs_error *err);

/* --- pieces that formats share --- */

/* A number as JSON: up to 9 significant digits, null when it is none. */
void rs_write_json_number(rs_text *out, double x);
void rs_write_json_text(rs_text *out, const char *s);
/* The members "layers", "ropes", "heads" (columns), "kinds" of a JSON object, without braces: page_payload.c and
 * render_json.c. */
void rs_write_json_shape(rs_text *out, const rs_report_view *v);
/* One of them each. counts [RS_HEAD_KINDS]: heads of each kind, or NULL. */
void rs_write_json_rope(rs_text *out, const rs_view_rope *r);
void rs_write_json_kinds(rs_text *out, const int *counts);
void rs_write_json_heads(rs_text *out, const rs_report_view *v);
/* The members "verdicts" (name, pairs; none when not measured) and "ablations" (render_json_purpose.c). */
void rs_write_json_purpose(rs_text *out, const rs_report_view *v);
/* All ablations as a table for the terminal (render_text_tried.c). */
void rs_write_tried(rs_text *out, const rs_report_view *v);
/* Text for a terminal: control bytes and what is not UTF-8 become '?'; and the same broken into lines of at most
 * `columns`, each led by `lead` spaces (render_text.c). */
void rs_write_plain(rs_text *out, const char *s);
void rs_write_wrapped(rs_text *out, const char *s, int lead, int columns);
/* A curve as one line of characters between bars, darker = more, `top` = darkest; x [n], room characters at most. */
void rs_write_spark(rs_text *out, const double *x, int n, double top, int room);
/* Columns of the text form: asked for, never under 60; 0: 80. */
int rs_text_columns(const rs_report_options *o);
void rs_page_control(rs_text *out, const rs_report_view *v); /* page_control.c: the table beside the control */
/* "control": null, or its file, seed and every quantity beside that of the run; members of an object. */
void rs_write_json_control(rs_text *out, const rs_report_view *v);
/* The page's data: one JSON object, arrays as base64 (page_payload.c). */
rs_status rs_write_page_payload(rs_text *out, const rs_report_view *v, rs_error *err);
/* The page's words made from the view: HTML fragments, escaped (page_words.c). Commas in numbers become thin spaces. */
void rs_write_html_text(rs_text *out, const char *s);
void rs_page_lede(rs_text *out, const rs_report_view *v);
void rs_page_findings(rs_text *out, const rs_report_view *v, bool answer); /* those that are it, or the others */
void rs_page_head_rules(rs_text *out, const rs_report_view *v);
void rs_page_rope(rs_text *out, const rs_report_view *v);
void rs_page_loss(rs_text *out, const rs_report_view *v);
void rs_page_tried(rs_text *out, const rs_report_view *v); /* page_tried.c: the table of ablations */
void rs_page_made(rs_text *out, const rs_report_view *v);
/* Datasets of rs_measures that the run does not have, as a list of names in words; empty when it has all. */
void rs_page_missing(rs_text *out, const rs_report_view *v);
bool rs_measure_present(const rs_report_view *v, const char *datasets);
/* The words of a comparison's page (page_comparison.c): HTML fragments, escaped. */
void rs_page_comparison_title(rs_text *out, const rs_comparison *c);
void rs_page_comparison_lede(rs_text *out, const rs_comparison *c);
void rs_page_comparison_findings(rs_text *out, const rs_comparison *c);
void rs_page_comparison_facts(rs_text *out, const rs_comparison *c);
void rs_page_comparison_cache(rs_text *out, const rs_comparison *c);
void rs_page_comparison_quantities(rs_text *out, const rs_comparison *c);
void rs_page_comparison_published(rs_text *out, const rs_comparison *c);
void rs_page_comparison_left_out(rs_text *out, const rs_comparison *c);
void rs_page_comparison_made(rs_text *out, const rs_comparison *c);

#endif
