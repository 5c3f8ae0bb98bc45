/* The page: page.html with its {{markers}} replaced and its {{#sections}} kept or left out. Scripts and styles are
 * allowed by their SHA-256 alone, so that nothing which came from a file can run even if an escape were wrong. */
#include "reports/assets.h"
#include "reports/render.h"

#include "analyzer/base/file.h"

#include <string.h>

typedef struct page {
    const rs_report_view *v;
    rs_error *err;
    rs_status st;
} page;

/* --- what stands in the program --- */

static void put_asset(rs_text *out, const char *begin, const char *end) {
    rs_text_append_n(out, begin, (size_t)(end - begin));
}

static void put_style(page *p, rs_text *out) {
    (void)p;
    put_asset(out, rs_asset_css, rs_asset_css_end);
}

/* The licence travels inside the script element, in front of the library. */
static void put_d3(page *p, rs_text *out) {
    (void)p;
    rs_text_append(out, "/*\n");
    put_asset(out, rs_asset_d3_licence, rs_asset_d3_licence_end);
    rs_text_append(out, "*/\n");
    put_asset(out, rs_asset_d3, rs_asset_d3_end);
}

static void put_script(page *p, rs_text *out) {
    (void)p;
    put_asset(out, rs_asset_js, rs_asset_js_end);
}

/* --- Content-Security-Policy --- */

static int hex_value(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }

/* " 'sha256-BASE64'" of what `put` writes. */
static void put_hash(page *p, rs_text *out, void (*put)(page *, rs_text *)) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    rs_text body = {0};
    char hex[65], base64[45];
    unsigned char digest[33] = {0}; /* one zero byte behind, for the last group of three */
    put(p, &body);
    if (body.failed) {
        out->failed = true;
        rs_text_deinit(&body);
        return;
    }
    rs_sha256(body.data, body.bytes, hex);
    rs_text_deinit(&body);
    for (int i = 0; i < 32; i++) digest[i] = (unsigned char)(hex_value(hex[2 * i]) * 16 + hex_value(hex[2 * i + 1]));
    for (int i = 0, o = 0; i < 33; i += 3) {
        unsigned x = (unsigned)digest[i] << 16 | (unsigned)digest[i + 1] << 8 | digest[i + 2];
        for (int shift = 18; shift >= 0; shift -= 6) base64[o++] = letters[x >> shift & 63];
    }
    base64[43] = '=';
    base64[44] = '\0';
    rs_text_printf(out, " 'sha256-%s'", base64);
}

static void put_csp(page *p, rs_text *out) {
    rs_text_append(out, "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; script-src");
    put_hash(p, out, put_d3);
    put_hash(p, out, put_script);
    rs_text_append(out, "; style-src");
    put_hash(p, out, put_style);
}

/* --- what comes from the run --- */

static void put_name(page *p, rs_text *out) {
    const char *s = p->v->model_name[0] != '\0' ? p->v->model_name : "unnamed model";
    rs_text_html(out, s, strlen(s));
}

static void put_lede(page *p, rs_text *out) { rs_page_lede(out, p->v); }
static void put_findings(page *p, rs_text *out) { rs_page_findings(out, p->v); }
static void put_head_rules(page *p, rs_text *out) { rs_page_head_rules(out, p->v); }
static void put_rope(page *p, rs_text *out) { rs_page_rope(out, p->v); }
static void put_loss_words(page *p, rs_text *out) { rs_page_loss(out, p->v); }
static void put_made(page *p, rs_text *out) { rs_page_made(out, p->v); }
static void put_axis(page *p, rs_text *out) { rs_text_append(out, p->v->rotates ? "frequency" : "component pair"); }

static void put_cost_title(page *p, rs_text *out) {
    rs_text_append(out, p->v->rotates ? "What does it cost to stop rotating a pair, or to remove it?"
                                      : "What does it cost to remove a pair?");
}

static void put_rope_title(page *p, rs_text *out) {
    rs_text_append(out, p->v->rotates ? "RoPE configuration" : "No rotary embedding");
}

static int rotating_ropes(const rs_report_view *v) {
    int n = 0;
    for (int r = 0; r < v->n_ropes; r++) n += v->ropes[r].rotated > 0;
    return n;
}

static void put_map_words(page *p, rs_text *out) {
    rs_text_append(out, "How to read: one row per layer, one column per pair of components; a cell is the mean over "
                        "the layer's heads, and one colour means one number "
                        "everywhere in the map. Shares of query, key and value have the same scale.");
    if (!p->v->rotates)
        rs_text_append(
            out,
            " Nothing rotates here, so the columns are component pairs in ascending order and have no wavelength.");
    else if (rotating_ropes(p->v) > 1)
        rs_text_append(out, " The layers rotate by different tables, so a column has another wavelength in another "
                            "layer: each table has its own axis above the map.");
    else rs_text_append(out, " Pairs to the right of a broken line do not complete one turn within that context.");
}

static void put_data(page *p, rs_text *out) {
    if (p->st == RS_OK) p->st = rs_write_page_payload(out, p->v, p->err);
}

static void put_foot(page *p, rs_text *out) {
    rs_text_append(out, "Page made by ");
    rs_text_html(out, p->v->program, strlen(p->v->program));
    rs_text_append(out, ". It holds all it shows and asks nothing of any network.");
}

static const struct {
    const char *name;
    void (*put)(page *, rs_text *);
} markers[] = {
    {"csp", put_csp},
    {"name", put_name},
    {"style", put_style},
    {"lede", put_lede},
    {"findings", put_findings},
    {"axis", put_axis},
    {"cost_title", put_cost_title},
    {"map_words", put_map_words},
    {"head_rules", put_head_rules},
    {"rope_title", put_rope_title},
    {"rope", put_rope},
    {"loss_words", put_loss_words},
    {"made", put_made},
    {"foot", put_foot},
    {"data", put_data},
    {"d3", put_d3},
    {"script", put_script},
};

/* Sections of the skeleton and the arrays any of which keeps them. */
static const struct {
    const char *name, *datasets;
} sections[] = {
    {"norm", "by_frequency/q_share by_frequency/k_share"},
    {"cost", "by_frequency/zero_cost by_frequency/unrotate_cost"},
    {"kinds", "head_kinds/count"},
    {"map", "map/q_share map/k_share map/v_share map/two_norm_share map/unrotate_cost map/zero_cost "
            "map/q_concentration map/k_concentration"},
    {"reliability", "reliability/sampled_over_closed frequency_norm/q_split_half frequency_norm/k_split_half"},
    {"sampled", "reliability/sampled_over_closed"},
    {"split", "frequency_norm/q_split_half frequency_norm/k_split_half"},
    {"loss", "loss/by_position"},
};

/* --- the skeleton --- */

static bool finite_any(const rs_array *a) {
    for (int64_t i = 0; a != NULL && i < rs_array_size(a); i++)
        if (a->data[i] - a->data[i] == 0.0) return true; /* neither NaN nor infinite */
    return false;
}

/* A section is kept when one of its arrays has a number: split halves of a single sequence, say, are there but empty.
 */
static bool keep_section(const rs_report_view *v, const char *name, size_t n) {
    char dataset[RS_NAME_BYTES];
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
        if (strlen(sections[i].name) != n || memcmp(sections[i].name, name, n) != 0) continue;
        for (const char *p = sections[i].datasets; *p != '\0';) {
            size_t length = strcspn(p, " ");
            memcpy(dataset, p, length);
            dataset[length] = '\0';
            if (finite_any(rs_view_array(v, dataset))) return true;
            p += length + (p[length] == ' ');
        }
    }
    return false;
}

static const char *find(const char *from, const char *end, const char *what, size_t n) {
    for (; from + n <= end; from++)
        if (memcmp(from, what, n) == 0) return from;
    return NULL;
}

static rs_status put_marker(page *p, rs_text *out, const char *name, size_t n) {
    for (size_t i = 0; i < sizeof markers / sizeof *markers; i++) {
        if (strlen(markers[i].name) != n || memcmp(markers[i].name, name, n) != 0) continue;
        markers[i].put(p, out);
        return p->st;
    }
    return rs_fail(p->err, RS_E_INTERNAL, "page.html: unknown marker '%.*s'", (int)n, name);
}

/* Writes the skeleton from..end. {{#x}} .. {{/x}} may nest but not in itself. */
static rs_status put_skeleton(page *p, rs_text *out, const char *from, const char *end) {
    rs_status st = RS_OK;
    while (st == RS_OK) {
        const char *open = find(from, end, "{{", 2), *close = open != NULL ? find(open, end, "}}", 2) : NULL;
        put_asset(out, from, close != NULL ? open : end);
        if (close == NULL) break;
        const char *name = open + 2;
        size_t n = (size_t)(close - name);
        from = close + 2;
        /* A section that was left out is skipped whole; the end of one that was kept says nothing. */
        if (*name == '#' && !keep_section(p->v, name + 1, n - 1)) {
            char mark[48] = "{{/";
            memcpy(mark + 3, name + 1, n - 1);
            memcpy(mark + 2 + n, "}}", 2);
            const char *behind = find(from, end, mark, n + 4);
            if (behind == NULL)
                return rs_fail(p->err, RS_E_INTERNAL, "page.html: section '%.*s' has no end", (int)n, name);
            from = behind + n + 4;
        } else if (*name != '#' && *name != '/') {
            st = put_marker(p, out, name, n);
        }
    }
    return st;
}

rs_status rs_render_html(const rs_report_view *v, const rs_report_options *o, rs_text *out, rs_error *err) {
    (void)o;
    page p = {v, err, RS_OK};
    rs_status st = put_skeleton(&p, out, rs_asset_html, rs_asset_html_end);
    return st == RS_OK ? rs_text_status(out, err) : st;
}
