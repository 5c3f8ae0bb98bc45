#include "reports/render.h"

#include <stddef.h>

static const struct {
    rs_report_format format;
    rs_render_fn render;
} formats[] = {
    {RS_REPORT_HTML, rs_render_html},
    {RS_REPORT_TEXT, rs_render_text},
    {RS_REPORT_JSON, rs_render_json},
    {RS_REPORT_CSV, rs_render_csv},
};

rs_status rs_report_render(const char *const *run_paths, size_t n, const rs_report_options *o, rs_text *out,
                           rs_error *err) {
    rs_report_view *v = NULL;
    if (n == 0) return rs_fail(err, RS_E_USAGE, "report: no run file was given");
    if (n > 1)
        return rs_fail(
            err, RS_E_UNSUPPORTED,
            "report: %zu run files were given; this version shows one run, comparing several is not part of it", n);
    rs_status st = rs_report_view_open(run_paths[0], o->program, &v, err);
    if (st != RS_OK) return st;
    st = rs_fail(err, RS_E_INTERNAL, "report: format %d is unknown", (int)o->format);
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (formats[i].format == o->format) st = formats[i].render(v, o, out, err);
    rs_report_view_close(v);
    return st == RS_OK ? rs_text_status(out, err) : st;
}
