/* The page of one run: what its markers say. */
#include "reports/assets.h"
#include "reports/page_skeleton.h"
#include "reports/render.h"

#include <string.h>

static const rs_report_view *view_of(const rs_page *p) { return p->subject; }

/* --- what comes from the run --- */

static void put_name(rs_page *p, rs_text *out) {
    const char *s = view_of(p)->model_name[0] != '\0' ? view_of(p)->model_name : "unnamed model";
    rs_text_html(out, s, strlen(s));
}

static void put_lede(rs_page *p, rs_text *out) { rs_page_lede(out, view_of(p)); }
static void put_answer(rs_page *p, rs_text *out) { rs_page_findings(out, view_of(p), true); }
static void put_findings(rs_page *p, rs_text *out) { rs_page_findings(out, view_of(p), false); }
static void put_head_rules(rs_page *p, rs_text *out) { rs_page_head_rules(out, view_of(p)); }
static void put_rope(rs_page *p, rs_text *out) { rs_page_rope(out, view_of(p)); }
static void put_loss_words(rs_page *p, rs_text *out) { rs_page_loss(out, view_of(p)); }
static void put_tried(rs_page *p, rs_text *out) { rs_page_tried(out, view_of(p)); }
static void put_control(rs_page *p, rs_text *out) { rs_page_control(out, view_of(p)); }
static void put_made(rs_page *p, rs_text *out) { rs_page_made(out, view_of(p)); }
static void put_axis(rs_page *p, rs_text *out) {
    rs_text_append(out, view_of(p)->rotates ? "frequency" : "component pair");
}

static void put_cost_title(rs_page *p, rs_text *out) {
    rs_text_append(out, view_of(p)->rotates ? "What does it cost to stop rotating a pair, or to remove it?"
                                            : "What does it cost to remove a pair?");
}

static void put_rope_title(rs_page *p, rs_text *out) {
    rs_text_append(out, view_of(p)->rotates ? "RoPE configuration" : "No rotary embedding");
}

static int rotating_ropes(const rs_report_view *v) {
    int n = 0;
    for (int r = 0; r < v->n_ropes; r++) n += v->ropes[r].rotated > 0;
    return n;
}

static void put_map_words(rs_page *p, rs_text *out) {
    rs_text_append(out, "How to read: one row per layer, one column per pair of components; a cell is the mean over "
                        "the layer's heads, and one colour means one number "
                        "everywhere in the map. Shares of query, key and value have the same scale.");
    if (!view_of(p)->rotates)
        rs_text_append(
            out,
            " Nothing rotates here, so the columns are component pairs in ascending order and have no wavelength.");
    else if (rotating_ropes(view_of(p)) > 1)
        rs_text_append(out, " The layers rotate by different tables, so a column has another wavelength in another "
                            "layer: each table has its own axis above the map.");
    else rs_text_append(out, " Pairs to the right of a broken line do not complete one turn within that context.");
}

static void put_data(rs_page *p, rs_text *out) {
    if (p->st == RS_OK) p->st = rs_write_page_payload(out, view_of(p), p->err);
}

static const rs_page_marker markers[] = {
    {"name", put_name},
    {"lede", put_lede},
    {"answer", put_answer},
    {"findings", put_findings},
    {"axis", put_axis},
    {"cost_title", put_cost_title},
    {"map_words", put_map_words},
    {"head_rules", put_head_rules},
    {"rope_title", put_rope_title},
    {"rope", put_rope},
    {"loss_words", put_loss_words},
    {"tried", put_tried},
    {"control", put_control},
    {"made", put_made},
    {"data", put_data},
};

/* Sections of the skeleton and the arrays any of which keeps them. */
#define SAMPLED "reliability/sampled_over_closed"
#define PREDICTED "contribution/kl_zero_predicted contribution/kl_unrotate_predicted"
#define FORETOLD "reliability/foretold_zero reliability/foretold_unrotate"
#define HALVES                                                                                                         \
    "frequency_norm/q_split_half frequency_norm/k_split_half moments/zero_cost_split_half "                            \
    "angular_spectrum/mean_logit_split_half "                                                                          \
    "utility/split_half attention_pattern/split_half"
#define AGREEMENT "contribution/verdict_split_half"
#define CONTROL "control/by_frequency/q_share control/by_frequency/zero_cost control/verdict/by_frequency"
static const struct {
    const char *name, *datasets;
} sections[] = {
    {"norm", "by_frequency/q_share by_frequency/k_share"},
    {"cost", "by_frequency/zero_cost by_frequency/unrotate_cost"},
    {"kinds", "head_kinds/count"},
    {"map", "map/q_share map/k_share map/v_share map/two_norm_share map/unrotate_cost map/zero_cost "
            "map/q_concentration map/k_concentration map/kl_zero map/kl_unrotate map/q_spectrum_entropy map/utility"},
    {"spectrum", "spectrum/q spectrum/k"},
    {"purpose", "verdict/by_frequency"},
    {"tried", "ablations/delta"},
    {"reliability", SAMPLED " " PREDICTED " " FORETOLD " " HALVES " " AGREEMENT " " CONTROL},
    {"control", CONTROL},
    {"sampled", SAMPLED},
    {"kl", PREDICTED},
    {"foretold", FORETOLD},
    {"split", HALVES},
    {"agree", AGREEMENT},
    {"loss", "loss/by_position"},
};

static bool finite_any(const rs_array *a) {
    for (int64_t i = 0; a != NULL && i < rs_array_size(a); i++)
        if (a->data[i] - a->data[i] == 0.0) return true; /* neither NaN nor infinite */
    return false;
}

/* A section is kept when one of its arrays has a number: split halves of a single sequence, say, are there but empty.
 */
static bool keep_section(const rs_page *p, const char *name, size_t n) {
    const rs_report_view *v = view_of(p);
    char dataset[RS_NAME_BYTES];
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
        if (strlen(sections[i].name) != n || memcmp(sections[i].name, name, n) != 0) continue;
        for (const char *q = sections[i].datasets; *q != '\0';) {
            size_t length = strcspn(q, " ");
            memcpy(dataset, q, length);
            dataset[length] = '\0';
            if (finite_any(rs_view_array(v, dataset))) return true;
            q += length + (q[length] == ' ');
        }
    }
    return false;
}

rs_status rs_render_html(const rs_report_view *v, const rs_report_options *o, rs_text *out, rs_error *err) {
    (void)o;
    rs_page p = {.skeleton = rs_asset_html,
                 .skeleton_end = rs_asset_html_end,
                 .script = rs_asset_js,
                 .script_end = rs_asset_js_end,
                 .markers = markers,
                 .n_markers = sizeof markers / sizeof *markers,
                 .keeps = keep_section,
                 .subject = v,
                 .program = v->program,
                 .err = err};
    return rs_page_write(&p, out);
}
