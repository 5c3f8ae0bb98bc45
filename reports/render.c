#include "reports/render.h"

#include <stddef.h>

static const struct {
    rs_report_format format;
    rs_render_fn render;
    rs_render_comparison_fn compare;
} formats[] = {
    {RS_REPORT_HTML, rs_render_html, rs_render_comparison_html},
    {RS_REPORT_TEXT, rs_render_text, rs_render_comparison_text},
    {RS_REPORT_JSON, rs_render_json, rs_render_comparison_json},
    {RS_REPORT_CSV, rs_render_csv, rs_render_comparison_csv},
};

static rs_status render_one(size_t format, const char *path, const rs_report_options *o, rs_text *out, rs_error *err) {
    rs_report_view *v = NULL;
    rs_status st = rs_report_view_open(path, o->control, o->program, &v, err);
    if (st == RS_OK) st = formats[format].render(v, o, out, err);
    rs_report_view_close(v);
    return st;
}

static rs_status render_several(size_t format, const rs_labelled_run *runs, size_t n, const rs_report_options *o,
                                rs_text *out, rs_error *err) {
    rs_comparison *c = NULL;
    rs_status st = rs_comparison_open(runs, n, o->program, &c, err);
    if (st == RS_OK) st = formats[format].compare(c, o, out, err);
    rs_comparison_close(c);
    return st;
}

rs_status rs_report_render(const rs_labelled_run *runs, size_t n, const rs_report_options *o, rs_text *out,
                           rs_error *err) {
    rs_status st = RS_OK;
    size_t i = 0;
    if (n == 0) return rs_fail(err, RS_E_USAGE, "report: no run file was given");
    while (i < sizeof formats / sizeof *formats && formats[i].format != o->format) i++;
    if (i == sizeof formats / sizeof *formats)
        return rs_fail(err, RS_E_INTERNAL, "report: format %d is unknown", (int)o->format);
    if (n > 1 && o->control != NULL)
        return rs_fail(err, RS_E_USAGE, "report: a control stands beside one run, not beside a comparison");
    st = n == 1 ? render_one(i, runs[0].path, o, out, err) : render_several(i, runs, n, o, out, err);
    return st == RS_OK ? rs_text_status(out, err) : st;
}

rs_status rs_report_tried(const char *path, const char *program, rs_text *out, rs_error *err) {
    rs_report_view *v = NULL;
    rs_status st = rs_report_view_open(path, NULL, program, &v, err);
    if (st == RS_OK) rs_write_tried(out, v);
    rs_report_view_close(v);
    return st == RS_OK ? rs_text_status(out, err) : st;
}
