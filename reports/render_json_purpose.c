/* Verdicts and ablations as members of a JSON object, for the JSON form and the page. */
#include "reports/render.h"

static void write_member(rs_text *out, const char *name, double x) {
    rs_text_printf(out, ",\"%s\":", name);
    rs_write_json_number(out, x);
}

static void write_words(rs_text *out, const char *name, const char *s) {
    rs_text_printf(out, ",\"%s\":", name);
    rs_write_json_text(out, s);
}

static void write_change(rs_text *out, const rs_view_change *x) {
    write_member(out, "delta", x->delta);
    write_member(out, "lo", x->lo);
    write_member(out, "hi", x->hi);
    write_member(out, "control", x->control);
    write_member(out, "least", x->least);
    write_member(out, "most", x->most);
}

static void write_ablation(rs_text *out, const rs_view_ablation *a) {
    rs_text_append(out, "{\"experiment\":");
    rs_write_json_text(out, a->experiment);
    write_words(out, "mode", a->mode);
    write_words(out, "ranking", a->ranking);
    write_words(out, "heads", a->heads);
    write_words(out, "verdict", a->amount_name);
    write_member(out, "amount", a->amount);
    rs_text_printf(out, ",\"layer\":");
    if (a->layer >= 0) rs_text_printf(out, "%d", a->layer);
    else rs_text_append(out, "null");
    rs_text_printf(out, ",\"pairs\":%lld,\"controls\":%d", (long long)a->pairs, a->loss.controls);
    write_change(out, &a->loss);
    rs_text_append(out, ",\"accuracy\":{\"controls\":");
    rs_text_printf(out, "%d", a->accuracy.controls);
    write_change(out, &a->accuracy);
    rs_text_append(out, "}");
    rs_text_append(out, "}");
}

static void write_verdict(rs_text *out, const rs_report_view *v, int x) {
    rs_text_printf(out, "%s{\"name\":\"%s\",\"pairs\":%lld,\"share_lo\":", x ? "," : "", rs_verdict_name(x),
                   (long long)v->verdict_count[x]);
    rs_write_json_number(out, v->verdict_lo[x]);
    rs_text_append(out, ",\"share_hi\":");
    rs_write_json_number(out, v->verdict_hi[x]);
    rs_text_append(out, "}");
}

static void write_foretold(rs_text *out, const rs_view_foretold *f, bool behind) {
    static const char *const names[] = {[RS_FORETOLD_CLOSED] = "closed",
                                        [RS_FORETOLD_SAMPLED] = "sampled",
                                        [RS_FORETOLD_KL] = "kl",
                                        [RS_FORETOLD_NORM] = "two_norm"};
    rs_text_printf(out, "%s{\"mode\":\"%s\",\"edits\":%lld", behind ? "," : "", f->mode, (long long)f->edits);
    for (int c = 0; c < RS_FORETOLD_COSTS; c++) write_member(out, names[c], f->rank[c]);
    rs_text_append(out, "}");
}

void rs_write_json_purpose(rs_text *out, const rs_report_view *v) {
    rs_text_append(out, "\"verdicts\":[");
    for (int x = 0; x < RS_VERDICTS && v->verdict_pairs > 0; x++) write_verdict(out, v, x);
    rs_text_append(out, "],\"foretold\":[");
    for (int i = 0; i < v->n_foretold; i++) write_foretold(out, &v->foretold[i], i > 0);
    rs_text_append(out, "],\"ablations\":[");
    for (int64_t i = 0; i < v->n_ablations; i++) {
        rs_text_append(out, i ? ",\n" : "");
        write_ablation(out, &v->ablations[i]);
    }
    rs_text_append(out, "]");
}
