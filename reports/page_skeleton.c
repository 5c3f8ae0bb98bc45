#include "reports/page_skeleton.h"

#include "reports/assets.h"

#include "analyzer/base/file.h"

#include <string.h>

/* --- what stands in the program --- */

static void put_asset(rs_text *out, const char *begin, const char *end) {
    rs_text_append_n(out, begin, (size_t)(end - begin));
}

static void put_style(rs_page *p, rs_text *out) {
    (void)p;
    put_asset(out, rs_asset_css, rs_asset_css_end);
}

/* The licence travels inside the script element, in front of the library. */
static void put_d3(rs_page *p, rs_text *out) {
    (void)p;
    rs_text_append(out, "/*\n");
    put_asset(out, rs_asset_d3_licence, rs_asset_d3_licence_end);
    rs_text_append(out, "*/\n");
    put_asset(out, rs_asset_d3, rs_asset_d3_end);
}

static void put_script(rs_page *p, rs_text *out) { put_asset(out, p->script, p->script_end); }

/* --- Content-Security-Policy --- */

static int hex_value(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }

/* " 'sha256-BASE64'" of what `put` writes. */
static void put_hash(rs_page *p, rs_text *out, void (*put)(rs_page *, rs_text *)) {
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

static void put_csp(rs_page *p, rs_text *out) {
    rs_text_append(out, "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; script-src");
    put_hash(p, out, put_d3);
    put_hash(p, out, put_script);
    rs_text_append(out, "; style-src");
    put_hash(p, out, put_style);
}

/* --- the foot --- */

static void put_foot(rs_page *p, rs_text *out) {
    rs_text_append(out, "Page made by ");
    rs_text_html(out, p->program, strlen(p->program));
    rs_text_append(out, ". It holds all it shows and asks nothing of any network.");
}

static const rs_page_marker common[] = {
    {"csp", put_csp}, {"style", put_style}, {"d3", put_d3}, {"script", put_script}, {"foot", put_foot},
};

/* --- the skeleton --- */

static const rs_page_marker *find_marker(const rs_page_marker *list, size_t count, const char *name, size_t n) {
    for (size_t i = 0; i < count; i++)
        if (strlen(list[i].name) == n && memcmp(list[i].name, name, n) == 0) return &list[i];
    return NULL;
}

static const char *find(const char *from, const char *end, const char *what, size_t n) {
    for (; from + n <= end; from++)
        if (memcmp(from, what, n) == 0) return from;
    return NULL;
}

static rs_status put_marker(rs_page *p, rs_text *out, const char *name, size_t n) {
    const rs_page_marker *m = find_marker(common, sizeof common / sizeof *common, name, n);
    if (m == NULL) m = find_marker(p->markers, p->n_markers, name, n);
    if (m != NULL) {
        m->put(p, out);
        return p->st;
    }
    return rs_fail(p->err, RS_E_INTERNAL, "page: unknown marker '%.*s'", (int)n, name);
}

/* Writes the skeleton from..end. {{#x}} .. {{/x}} may nest but not in itself. */
static rs_status put_skeleton(rs_page *p, rs_text *out, const char *from, const char *end) {
    rs_status st = RS_OK;
    while (st == RS_OK) {
        const char *open = find(from, end, "{{", 2), *close = open != NULL ? find(open, end, "}}", 2) : NULL;
        put_asset(out, from, close != NULL ? open : end);
        if (close == NULL) break;
        const char *name = open + 2;
        size_t n = (size_t)(close - name);
        from = close + 2;
        /* A section that was left out is skipped whole; the end of one that was kept says nothing. */
        if (*name == '#' && !p->keeps(p, name + 1, n - 1)) {
            char mark[48] = "{{/";
            memcpy(mark + 3, name + 1, n - 1);
            memcpy(mark + 2 + n, "}}", 2);
            const char *behind = find(from, end, mark, n + 4);
            if (behind == NULL) return rs_fail(p->err, RS_E_INTERNAL, "page: section '%.*s' has no end", (int)n, name);
            from = behind + n + 4;
        } else if (*name != '#' && *name != '/') {
            st = put_marker(p, out, name, n);
        }
    }
    return st;
}

rs_status rs_page_write(rs_page *p, rs_text *out) {
    rs_status st = put_skeleton(p, out, p->skeleton, p->skeleton_end);
    return st == RS_OK ? rs_text_status(out, p->err) : st;
}
