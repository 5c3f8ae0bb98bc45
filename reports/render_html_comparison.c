/* The page of a comparison: what its markers say. */
#include "reports/assets.h"
#include "reports/page_skeleton.h"
#include "reports/render.h"

#include <string.h>

static const rs_comparison *comparison_of(const rs_page *p) { return p->subject; }

static void put_title(rs_page *p, rs_text *out) { rs_page_comparison_title(out, comparison_of(p)); }
static void put_lede(rs_page *p, rs_text *out) { rs_page_comparison_lede(out, comparison_of(p)); }
static void put_findings(rs_page *p, rs_text *out) { rs_page_comparison_findings(out, comparison_of(p)); }
static void put_facts(rs_page *p, rs_text *out) { rs_page_comparison_facts(out, comparison_of(p)); }
static void put_cache(rs_page *p, rs_text *out) { rs_page_comparison_cache(out, comparison_of(p)); }
static void put_quantities(rs_page *p, rs_text *out) { rs_page_comparison_quantities(out, comparison_of(p)); }
static void put_published(rs_page *p, rs_text *out) { rs_page_comparison_published(out, comparison_of(p)); }
static void put_left_out(rs_page *p, rs_text *out) { rs_page_comparison_left_out(out, comparison_of(p)); }
static void put_made(rs_page *p, rs_text *out) { rs_page_comparison_made(out, comparison_of(p)); }

static void put_data(rs_page *p, rs_text *out) {
    const rs_report_options o = {.format = RS_REPORT_JSON, .program = p->program};
    if (p->st == RS_OK) p->st = rs_render_comparison_json(comparison_of(p), &o, out, p->err);
}

static const rs_page_marker markers[] = {
    {"title", put_title},         {"lede", put_lede},         {"findings", put_findings},
    {"facts", put_facts},         {"cache", put_cache},       {"quantities", put_quantities},
    {"published", put_published}, {"left_out", put_left_out}, {"made", put_made},
    {"data", put_data},
};

static bool any_map(const rs_comparison *c) {
    for (int v = 0; v < c->n_variants; v++)
        if (c->variants[v].q_map != NULL || c->variants[v].k_map != NULL) return true;
    return false;
}

static bool any_share(const rs_comparison *c) {
    for (int v = 0; v < c->n_variants; v++)
        if (c->variants[v].q_share != NULL || c->variants[v].k_share != NULL) return true;
    return false;
}

static bool any_difference(const rs_comparison *c) {
    for (int v = 0; v < c->n_variants; v++)
        if (c->loss_differences[v] != NULL) return true;
    return false;
}

static bool any_kind(const rs_comparison *c) {
    for (int i = 0; i < c->n_runs; i++)
        if (rs_view_array(c->runs[i].view, "head_kinds/count") != NULL) return true;
    return false;
}

static bool any_loss(const rs_comparison *c) { return rs_comparison_quantity(c, "loss") != NULL; }
static bool any_published(const rs_comparison *c) { return c->n_published > 0; }
static bool any_left_out(const rs_comparison *c) { return c->n_compared < c->n_runs; }

static bool keep_section(const rs_page *p, const char *name, size_t n) {
    static const struct {
        const char *name;
        bool (*keeps)(const rs_comparison *c);
    } sections[] = {{"loss", any_loss},  {"difference", any_difference}, {"norm", any_share},       {"map", any_map},
                    {"kinds", any_kind}, {"published", any_published},   {"left_out", any_left_out}};
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++)
        if (strlen(sections[i].name) == n && memcmp(sections[i].name, name, n) == 0)
            return sections[i].keeps(comparison_of(p));
    return false;
}

rs_status rs_render_comparison_html(const rs_comparison *c, const rs_report_options *o, rs_text *out, rs_error *err) {
    (void)o;
    rs_page p = {.skeleton = rs_asset_comparison_html,
                 .skeleton_end = rs_asset_comparison_html_end,
                 .script = rs_asset_comparison_js,
                 .script_end = rs_asset_comparison_js_end,
                 .markers = markers,
                 .n_markers = sizeof markers / sizeof *markers,
                 .keeps = keep_section,
                 .subject = c,
                 .program = c->program,
                 .err = err};
    return rs_page_write(&p, out);
}
