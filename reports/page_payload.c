/* The page's data: facts as JSON, and the arrays that its pictures are drawn from. */
#include "reports/measures.h"
#include "reports/page_pack.h"
#include "reports/render.h"

static const struct {
    const char *name;
    rs_packing as;
} embedded[] = {
    {"map/q_share", RS_PACK_HALF},
    {"map/k_share", RS_PACK_HALF},
    {"map/v_share", RS_PACK_HALF},
    {"map/two_norm_share", RS_PACK_HALF},
    {"map/unrotate_cost", RS_PACK_HALF},
    {"map/zero_cost", RS_PACK_HALF},
    {"map/q_concentration", RS_PACK_HALF},
    {"map/k_concentration", RS_PACK_HALF},
    {"by_frequency/q_share", RS_PACK_PLAIN},
    {"by_frequency/k_share", RS_PACK_PLAIN},
    {"by_frequency/v_share", RS_PACK_PLAIN},
    {"by_frequency/zero_cost", RS_PACK_PLAIN},
    {"by_frequency/unrotate_cost", RS_PACK_PLAIN},
    {"control/by_frequency/q_share", RS_PACK_PLAIN},
    {"control/by_frequency/k_share", RS_PACK_PLAIN},
    {"control/by_frequency/zero_cost", RS_PACK_PLAIN},
    {"control/by_frequency/unrotate_cost", RS_PACK_PLAIN},
    {"control/verdict/by_frequency", RS_PACK_PLAIN},
    {"frequency_norm/q_share", RS_PACK_BYTE},
    {"frequency_norm/k_share", RS_PACK_BYTE},
    {"frequency_norm/v_share", RS_PACK_BYTE},
    {"heads/two_norm_share", RS_PACK_BYTE},
    {"moments/zero_cost", RS_PACK_COST},
    {"moments/unrotate_cost", RS_PACK_COST},
    {"moments/zero_cost_sampled", RS_PACK_COST},
    {"moments/unrotate_cost_sampled", RS_PACK_COST},
    {"moments/q_concentration", RS_PACK_BYTE},
    {"moments/k_concentration", RS_PACK_BYTE},
    {"frequency_norm/q_split_half", RS_PACK_PLAIN},
    {"frequency_norm/k_split_half", RS_PACK_PLAIN},
    {"moments/zero_cost_split_half", RS_PACK_PLAIN},
    {"moments/unrotate_cost_split_half", RS_PACK_PLAIN},
    {"angular_spectrum/mean_logit_split_half", RS_PACK_PLAIN},
    {"utility/split_half", RS_PACK_PLAIN},
    {"attention_pattern/split_half", RS_PACK_PLAIN},
    {"reliability/sampled_over_closed", RS_PACK_PLAIN},
    {"reliability/foretold_zero", RS_PACK_PLAIN},
    {"reliability/foretold_unrotate", RS_PACK_PLAIN},
    {"head_kinds/count", RS_PACK_PLAIN},
    {"loss/by_position", RS_PACK_PLAIN},
    {"axis/distance_bucket", RS_PACK_PLAIN},
    {"heads/profile", RS_PACK_LOG},
    {"heads/distance_curve", RS_PACK_HALF},
    {"heads/pattern", RS_PACK_TRIANGLE},
    {"map/kl_zero", RS_PACK_HALF},
    {"map/kl_unrotate", RS_PACK_HALF},
    {"map/q_spectrum_entropy", RS_PACK_HALF},
    {"map/utility", RS_PACK_HALF},
    {"axis/period", RS_PACK_PLAIN},
    {"spectrum/q", RS_PACK_HALF},
    {"spectrum/k", RS_PACK_HALF},
    {"utility/pair", RS_PACK_BYTE},
    {"angular_spectrum/q_spectrum_entropy", RS_PACK_BYTE},
    {"heads/mean_logit", RS_PACK_HALF},
    {"heads/pair_logit", RS_PACK_SIGNED},
    {"axis/distance_band", RS_PACK_PLAIN},
    {"heads/q_angle", RS_PACK_WHOLE},
    {"heads/k_angle", RS_PACK_WHOLE},
    {"verdict/count", RS_PACK_WHOLE},
    {"verdict/by_frequency", RS_PACK_PLAIN},
    {"contribution/verdict", RS_PACK_WHOLE},
    {"contribution/verdict_split_half", RS_PACK_BYTE},
    {"contribution/kl_zero", RS_PACK_COST},
    {"contribution/kl_unrotate", RS_PACK_COST},
    {"contribution/kl_zero_predicted", RS_PACK_LOG},
    {"contribution/kl_unrotate_predicted", RS_PACK_LOG},
};

static void write_quantities(rs_text *out) {
    rs_text_append(out, "\"quantities\":[");
    for (int i = 0; i < RS_VIEW_QUANTITIES; i++) {
        const rs_map_quantity *q = &rs_map_quantities[i];
        rs_text_printf(
            out, "%s{\"key\":\"%s\",\"dataset\":\"%s\",\"family\":\"%s\",\"log\":%s,\"by_key_head\":%s,\"label\":",
            i ? "," : "", q->key, q->dataset, q->family, q->log_scale ? "true" : "false",
            q->by_key_head ? "true" : "false");
        rs_write_json_text(out, q->label);
        rs_text_append(out, ",\"title\":");
        rs_write_json_text(out, q->title);
        rs_text_append(out, ",\"unit\":");
        rs_write_json_text(out, q->unit);
        rs_text_append(out, "}");
    }
    rs_text_append(out, "],");
}

rs_status rs_write_page_payload(rs_text *out, const rs_report_view *v, rs_error *err) {
    rs_status st = RS_OK;
    rs_text_append(out, "{\"name\":");
    rs_write_json_text(out, v->model_name);
    rs_text_printf(out,
                   ",\"context\":%lld,\"trained_context\":%lld,\"n_layers\":%d,\"n_heads\":%d,\"n_kv_heads\":%d,\"n_"
                   "pairs\":%d,\"rotates\":%s,\"mean_nll\":",
                   (long long)v->context, (long long)v->trained_context, v->n_layers, v->n_heads, v->n_kv_heads,
                   v->n_pairs, v->rotates ? "true" : "false");
    rs_write_json_number(out, v->mean_nll);
    rs_text_append(out, ",");
    write_quantities(out);
    rs_write_json_shape(out, v);
    rs_text_append(out, ",\"arrays\":{");
    bool first = true;
    for (size_t i = 0; i < sizeof embedded / sizeof *embedded; i++) {
        const rs_array *a = rs_view_array(v, embedded[i].name);
        if (a == NULL) continue;
        if (!first) rs_text_append(out, ",");
        first = false;
        RS_TRY(rs_pack_array(out, a, embedded[i].as, err));
    }
    rs_text_append(out, "}}");
out:
    return st;
}
