/* The page's words that depend on the run, as escaped HTML. */
#include "reports/measures.h"
#include "reports/render.h"
#include "reports/show.h"

#include <math.h>
#include <string.h>

static bool digit(char c) { return c >= '0' && c <= '9'; }

void rs_write_html_text(rs_text *out, const char *s) {
    size_t from = 0, n = strlen(s);
    for (size_t i = 1; i + 3 < n; i++) {
        bool comma =
            s[i] == ',' && digit(s[i - 1]) && digit(s[i + 1]) && digit(s[i + 2]) && digit(s[i + 3]) && !digit(s[i + 4]);
        if (!comma) continue;
        rs_text_html(out, s + from, i - from);
        rs_text_append(out, "&#8239;");
        from = i + 1;
    }
    rs_text_html(out, s + from, n - from);
}

static void write_escaped(rs_text *out, const char *s) { rs_text_html(out, s, strlen(s)); }

/* --- title line --- */

static const char *text_name(const rs_json *file, size_t *n) {
    const char *path = rs_json_string(rs_json_get(file, "path"), n);
    if (path == NULL) return NULL;
    const char *slash = strrchr(path, '/');
    if (slash != NULL && slash[1] != '\0') {
        *n -= (size_t)(slash + 1 - path);
        return slash + 1;
    }
    return path;
}

static void write_texts(rs_text *out, const rs_report_view *v) {
    size_t files = rs_json_size(v->text_files), n = 0;
    for (size_t i = 0; i < files && i < 3; i++) {
        const char *name = text_name(rs_json_at(v->text_files, i), &n);
        rs_text_append(out, i ? ", " : "");
        if (name != NULL) rs_text_html(out, name, n);
    }
    if (files > 3) rs_text_printf(out, " and %zu more files", files - 3);
    rs_text_append(out, files == 0 ? "token ids as given" : "");
}

static void write_shape(rs_text *out, const rs_report_view *v) {
    char parameters[RS_SHOW_BYTES];
    rs_text_append(out, "<p class=\"facts\"><strong>");
    write_escaped(out, v->family[0] != '\0' ? v->family : "unknown family");
    rs_text_append(out, "</strong>");
    if (v->parameters > 0)
        rs_text_printf(out, ", %s parameters", rs_show_parameters(parameters, (double)v->parameters));
    rs_text_printf(out, ", %d layers of %d heads", v->n_layers, v->n_heads);
    if (v->n_kv_heads != v->n_heads)
        rs_text_printf(out, " on %d key head%s", v->n_kv_heads, v->n_kv_heads == 1 ? "" : "s");
    rs_text_append(out, ". <strong>");
    rs_write_html_text(out, v->rope_words);
    rs_text_append(out, "</strong>");
    if (v->trained_context > 0 && strstr(v->rope_words, "trained context") == NULL) {
        rs_text_append(out, ", trained context ");
        rs_write_html_text(out, rs_show_count(parameters, v->trained_context));
    }
    rs_text_append(out, ".</p>\n");
}

static void write_reading(rs_text *out, const rs_report_view *v) {
    char a[RS_SHOW_BYTES], b[RS_SHOW_BYTES], c[RS_SHOW_BYTES];
    rs_text line = {0};
    rs_text_append(out, "<p class=\"facts\">Read: ");
    write_texts(out, v);
    rs_text_printf(&line, "; %s sequence%s of %s tokens, %s scored.", rs_show_count(a, v->sequences),
                   v->sequences == 1 ? "" : "s", rs_show_count(b, v->context), rs_show_count(c, v->tokens));
    rs_write_html_text(out, line.data != NULL ? line.data : "");
    rs_text_deinit(&line);
    if (!isnan(v->mean_nll)) {
        rs_text_printf(out, " Loss <strong>%.3f nats</strong>, perplexity <strong>%s</strong> (", v->mean_nll,
                       rs_show_number(a, v->perplexity));
        write_escaped(out, v->perplexity_definition);
        rs_text_append(out, ").");
    }
    rs_text_append(out, "</p>\n");
}

void rs_page_lede(rs_text *out, const rs_report_view *v) {
    write_shape(out, v);
    write_reading(out, v);
    rs_text_append(out, "<p class=\"facts\">");
    if (strlen(v->created) >= 10) rs_text_html(out, v->created, 10);
    rs_text_append(out, ", ");
    write_escaped(out, v->tool);
    rs_text_append(out, " ");
    write_escaped(out, v->tool_version);
    rs_text_append(out, ", on ");
    write_escaped(out, v->device);
    rs_text_append(out, ".</p>\n");
    if (v->control_seed > 0)
        rs_text_printf(out,
                       "<p class=\"note\">This is a control, not the model: the rows of every query and key projection "
                       "stand in a random order (seed %lld).</p>\n",
                       (long long)v->control_seed);
    const char *p = v->warnings;
    while (*p != '\0') {
        size_t n = strcspn(p, "\n");
        rs_text_append(out, "<p class=\"note\">Warning: ");
        rs_text_html(out, p, n);
        rs_text_append(out, "</p>\n");
        p += n + (p[n] == '\n');
    }
}

/* --- the answer --- */

static const struct {
    const char *figure, *name;
} figures[] = {
    {"fig-purpose", "verdicts by frequency"}, {"fig-tried", "what it cost"},
    {"fig-norm", "norm by frequency"},        {"fig-cost", "costs by frequency"},
    {"fig-kinds", "kinds of heads"},          {"fig-map", "map"},
    {"fig-loss", "loss by position"},         {"fig-foretold", "costs and losses"},
    {"fig-control", "beside its control"},
};

static void write_finding(rs_text *out, const rs_view_finding *f) {
    rs_text_append(out, "<li>");
    rs_write_html_text(out, f->text);
    for (size_t k = 0; k < sizeof figures / sizeof *figures; k++)
        if (strcmp(figures[k].figure, f->figure) == 0)
            rs_text_printf(out, " <a href=\"#%s\">Figure: %s</a>", f->figure, figures[k].name);
    rs_text_append(out, "</li>\n");
}

void rs_page_findings(rs_text *out, const rs_report_view *v, bool answer) {
    int said = 0;
    for (int i = 0; i < v->n_findings; i++) {
        if (v->findings[i].answer != answer) continue;
        rs_text_append(out, said++ ? "" : "<ul class=\"findings\">\n");
        write_finding(out, &v->findings[i]);
    }
    rs_text_append(out, said ? "</ul>\n" : "");
    if (v->n_findings == 0 && answer) rs_text_append(out, "<p>The run holds no measure that this page can show.</p>\n");
}

void rs_page_head_rules(rs_text *out, const rs_report_view *v) {
    rs_text_append(out, "<p>A row opens the head: click it, or follow the link in it. A head can be mailed by its "
                        "address, for example <code>#l0h0</code>.</p>\n");
    if (rs_view_array(v, "head_kinds/count") == NULL) return;
    rs_text_append(out, "<details><summary>How kinds are named</summary>\n<p>The first rule that fits names the head. "
                        "The thresholds are conventions of this page, "
                        "not findings.</p>\n<table class=\"short\"><thead><tr><th scope=\"col\" "
                        "class=\"t\">kind</th><th scope=\"col\" class=\"t\">rule</th>"
                        "<th scope=\"col\">heads</th></tr></thead><tbody>\n");
    for (int k = 0; k < RS_HEAD_KINDS; k++) {
        rs_text_append(out, "<tr><td class=\"t\">");
        write_escaped(out, rs_head_rules[k].name);
        rs_text_append(out, "</td><td class=\"w\">");
        write_escaped(out, rs_head_rules[k].rule);
        rs_text_printf(out, "</td><td>%d</td></tr>\n", v->head_kind_count[k]);
    }
    rs_text_append(out, "</tbody></table></details>\n");
}

/* --- rotary tables --- */

static const char *const regions[] = {"kept", "blended", "scaled", "not rotated"};

typedef struct rope_columns {
    bool region, factor, trained;
} rope_columns;

static rope_columns columns_of(const rs_view_rope *r) {
    rope_columns c = {false, false, false};
    for (int p = 0; p < r->pairs; p++) {
        c.region = c.region || r->region[p] != 0;
        c.factor = c.factor || r->factor[p] < 1.0 || r->factor[p] > 1.0;
        c.trained = c.trained || !isnan(r->turns_trained[p]);
    }
    return c;
}

static void write_cell(rs_text *out, const char *text) {
    rs_text_append(out, "<td>");
    rs_write_html_text(out, text);
    rs_text_append(out, "</td>");
}

static void write_pair_row(rs_text *out, const rs_view_rope *r, int p, rope_columns c) {
    char s[RS_SHOW_BYTES];
    bool turns = r->theta[p] > 0.0;
    rs_text_printf(out, "<tr><td>%d</td><td>%d, %d</td>", p, r->lo[p], r->hi[p]);
    rs_text_printf(out, turns ? "<td>%.6g</td>" : "<td>0</td>", r->theta[p]);
    write_cell(out, rs_show_number(s, r->wavelength[p]));
    write_cell(out, turns ? rs_show_number(s, r->turns[p]) : "-");
    if (c.trained) write_cell(out, turns ? rs_show_number(s, r->turns_trained[p]) : "-");
    if (c.region) write_cell(out, r->region[p] >= 0 && r->region[p] < 4 ? regions[r->region[p]] : "-");
    if (c.factor) write_cell(out, rs_show_number(s, r->factor[p]));
    rs_text_append(out, "</tr>\n");
}

static void write_turns_title(rs_text *out, int64_t context) {
    char s[RS_SHOW_BYTES];
    rs_text_append(out, "<th scope=\"col\">turns in ");
    rs_write_html_text(out, rs_show_count(s, context));
    rs_text_append(out, "</th>");
}

static void write_rope_table(rs_text *out, const rs_report_view *v, const rs_view_rope *r) {
    rope_columns c = columns_of(r);
    rs_text_append(out, "<div class=\"box\" tabindex=\"0\" role=\"region\" aria-label=\"Rotary "
                        "table\"><table><thead><tr><th scope=\"col\">pair</th>"
                        "<th scope=\"col\">components</th><th scope=\"col\">θ, rad/token</th><th "
                        "scope=\"col\">wavelength, tokens</th>");
    write_turns_title(out, v->context);
    if (c.trained) write_turns_title(out, v->trained_context);
    rs_text_append(out, c.region ? "<th scope=\"col\">scaling</th>" : "");
    rs_text_append(out, c.factor ? "<th scope=\"col\">factor</th>" : "");
    rs_text_append(out, "</tr></thead><tbody>\n");
    for (int p = 0; p < r->pairs; p++) write_pair_row(out, r, p, c);
    rs_text_append(out, "</tbody></table></div>\n");
}

static void write_rope_heading(rs_text *out, const rs_report_view *v, const rs_view_rope *r) {
    char layers[128];
    rs_text_append(out, "<h3>");
    rs_write_html_text(out, r->words[0] != '\0' ? r->words : v->rope_words);
    if (v->n_ropes > 1)
        rs_text_printf(out, " (layer%s %s)", r->n_layers == 1 ? "" : "s",
                       rs_show_ranges(layers, sizeof layers, r->layers, r->n_layers));
    rs_text_append(out, "</h3>\n<p>");
    if (r->kind[0] != '\0') {
        rs_text_append(out, "Kind: ");
        write_escaped(out, r->kind);
        rs_text_append(out, ". ");
    }
    if (r->source[0] != '\0') {
        rs_text_append(out, "The numbers came from: ");
        write_escaped(out, r->source);
        rs_text_append(out, ". ");
    }
    rs_text_append(out, r->rotated == 0 ? "No pair is rotated, so there is no table."
                                        : "Components are in Hugging Face order.");
    rs_text_append(out, "</p>\n");
}

static void write_cache(rs_text *out, const rs_report_view *v) {
    const rs_array *bytes = rs_view_array(v, "rope/cache_bytes"), *context = rs_view_array(v, "axis/cache_context");
    char s[RS_SHOW_BYTES], layers[96];
    rs_text_append(
        out, "<h3>What do the cos and sin tables take?</h3>\n<div class=\"box\" tabindex=\"0\" role=\"region\" "
             "aria-label=\"Cache bytes\"><table class=\"short\"><thead><tr><th scope=\"col\" class=\"t\">rotation</th>"
             "<th scope=\"col\">components</th>");
    for (int64_t c = 0; c < context->dims[0]; c++) {
        rs_text_append(out, "<th scope=\"col\">");
        rs_write_html_text(out, rs_show_count(s, (long long)context->data[c]));
        rs_text_append(out, "</th>");
    }
    rs_text_append(out, "</tr></thead><tbody>\n");
    for (int r = 0; r < v->n_ropes; r++) {
        if (v->ropes[r].rotated == 0) continue;
        rs_text_printf(out, "<tr><td class=\"t\">%s %s</td><td>%d</td>", v->ropes[r].n_layers == 1 ? "layer" : "layers",
                       rs_show_ranges(layers, sizeof layers, v->ropes[r].layers, v->ropes[r].n_layers),
                       2 * v->ropes[r].rotated);
        for (int64_t c = 0; c < context->dims[0]; c++)
            write_cell(out, rs_format_bytes(s, (uint64_t)rs_view_cell(bytes, r, c, 0)));
        rs_text_append(out, "</tr>\n");
    }
    rs_text_append(out, "</tbody></table></div>\n<p>Bytes by positions held: 2 × positions × rotated components × 4, "
                        "both tables in float32, once per distinct "
                        "rotation. This is neither the key-value cache nor what one kernel may do better.</p>\n");
}

void rs_page_rope(rs_text *out, const rs_report_view *v) {
    for (int r = 0; r < v->n_ropes; r++) {
        write_rope_heading(out, v, &v->ropes[r]);
        if (v->ropes[r].rotated > 0) write_rope_table(out, v, &v->ropes[r]);
    }
    if (v->rotates) write_cache(out, v);
}

void rs_page_loss(rs_text *out, const rs_report_view *v) {
    char a[RS_SHOW_BYTES], b[RS_SHOW_BYTES];
    rs_text t = {0};
    if (isnan(v->mean_nll)) return;
    rs_text_printf(&t, "%.4f nats per token over %s tokens, perplexity %s. ", v->mean_nll, rs_show_count(a, v->tokens),
                   rs_show_number(b, v->perplexity));
    rs_text_append(out, "<p>");
    rs_write_html_text(out, t.data != NULL ? t.data : "");
    rs_text_deinit(&t);
    write_escaped(out, v->perplexity_definition);
    rs_text_append(out, ".</p>\n");
}
