/* reports/render.h: the formats. Each writes a view into out and computes nothing; report.h's rs_report_render picks
 * one. */
#ifndef RS_REPORTS_RENDER_H
#define RS_REPORTS_RENDER_H

#include "analyzer/base/text.h"
#include "reports/report.h"
#include "reports/view.h"

/* Appending cannot fail at the call; what is returned is a failure to build something on the way (RS_E_NOMEM,
 * RS_E_INTERNAL). */
typedef rs_status (*rs_render_fn)(const rs_report_view *v, const rs_report_options *o, rs_text *out, rs_error *err);

rs_status rs_render_text(const rs_report_view *v, const rs_report_options *o, rs_text *out, rs_error *err);
rs_status rs_render_json(const rs_report_view *v, const rs_report_options *o, rs_text *out, rs_error *err);
rs_status rs_render_csv(const rs_report_view *v, const rs_report_options *o, rs_text *out, rs_error *err);
rs_status rs_render_html(const rs_report_view *v, const rs_report_options *o, rs_text *out, rs_error *err);

/* --- pieces that formats share --- */

/* A number as JSON: up to 9 significant digits, null when it is none. */
void rs_write_json_number(rs_text *out, double x);
void rs_write_json_text(rs_text *out, const char *s);
/* The members "layers", "ropes", "heads" (columns), "kinds" of a JSON object, without braces: page_payload.c and
 * render_json.c. */
void rs_write_json_shape(rs_text *out, const rs_report_view *v);
/* The page's data: one JSON object, arrays as base64 (page_payload.c). */
rs_status rs_write_page_payload(rs_text *out, const rs_report_view *v, rs_error *err);
/* The page's words made from the view: HTML fragments, escaped (page_words.c). Commas in numbers become thin spaces. */
void rs_write_html_text(rs_text *out, const char *s);
void rs_page_lede(rs_text *out, const rs_report_view *v);
void rs_page_findings(rs_text *out, const rs_report_view *v);
void rs_page_head_rules(rs_text *out, const rs_report_view *v);
void rs_page_rope(rs_text *out, const rs_report_view *v);
void rs_page_loss(rs_text *out, const rs_report_view *v);
void rs_page_made(rs_text *out, const rs_report_view *v);
/* Datasets of rs_measures that the run does not have, as a list of names in words; empty when it has all. */
void rs_page_missing(rs_text *out, const rs_report_view *v);
bool rs_measure_present(const rs_report_view *v, const char *datasets);

#endif
