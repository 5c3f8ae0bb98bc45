/* The page's data: facts as JSON, large arrays as base64 of half floats or bytes. */
#include "analyzer/base/alloc.h"
#include "reports/measures.h"
#include "reports/render.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

typedef enum encoding {
    PLAIN,    /* JSON numbers: small, or exact */
    HALF,     /* float16 little-endian times "scale": three digits over nine decades */
    BYTE,     /* 254 * sqrt(x / scale), 255 = no value */
    SIGNED,   /* 127 + 127 * sign(x) sqrt(|x| / scale), 255 = no value */
    WHOLE,    /* whole numbers below 255 as they are, 255 = no value */
    TRIANGLE, /* BYTE of the blocks on and below the diagonal of the last two axes: what a causal pattern has */
} encoding;

static const struct {
    const char *name;
    encoding as;
} embedded[] = {
    {"map/q_share", HALF},
    {"map/k_share", HALF},
    {"map/v_share", HALF},
    {"map/two_norm_share", HALF},
    {"map/unrotate_cost", HALF},
    {"map/zero_cost", HALF},
    {"map/q_concentration", HALF},
    {"map/k_concentration", HALF},
    {"by_frequency/q_share", PLAIN},
    {"by_frequency/k_share", PLAIN},
    {"by_frequency/v_share", PLAIN},
    {"by_frequency/zero_cost", PLAIN},
    {"by_frequency/unrotate_cost", PLAIN},
    {"frequency_norm/q_share", HALF},
    {"frequency_norm/k_share", HALF},
    {"frequency_norm/v_share", HALF},
    {"heads/two_norm_share", HALF},
    {"moments/zero_cost", HALF},
    {"moments/unrotate_cost", HALF},
    {"moments/zero_cost_sampled", HALF},
    {"moments/unrotate_cost_sampled", HALF},
    {"moments/q_concentration", BYTE},
    {"moments/k_concentration", BYTE},
    {"frequency_norm/q_split_half", PLAIN},
    {"frequency_norm/k_split_half", PLAIN},
    {"reliability/sampled_over_closed", PLAIN},
    {"head_kinds/count", PLAIN},
    {"loss/by_position", PLAIN},
    {"axis/distance_bucket", PLAIN},
    {"heads/profile", HALF},
    {"heads/distance_curve", HALF},
    {"attention_pattern/map", TRIANGLE},
    {"map/kl_zero", HALF},
    {"map/kl_unrotate", HALF},
    {"map/q_spectrum_entropy", HALF},
    {"map/utility", HALF},
    {"utility/pair", BYTE},
    {"angular_spectrum/q_spectrum_entropy", BYTE},
    {"heads/mean_logit", HALF},
    {"heads/pair_logit", SIGNED},
    {"axis/distance_band", PLAIN},
    {"heads/q_angle", WHOLE},
    {"heads/k_angle", WHOLE},
    {"verdict/count", PLAIN},
    {"verdict/by_frequency", PLAIN},
    {"contribution/verdict", WHOLE},
    {"contribution/verdict_split_half", BYTE},
    {"contribution/kl_zero", HALF},
    {"contribution/kl_unrotate", HALF},
    {"contribution/kl_zero_predicted", HALF},
    {"contribution/kl_unrotate_predicted", HALF},
};

/* IEEE binary16, round to nearest, ties to even; |x| < 65520. */
static uint16_t half_of(double x) {
    if (isnan(x)) return 0x7e00;
    uint16_t sign = signbit(x) ? 0x8000 : 0;
    double a = fabs(x);
    if (a < 0x1p-14)
        return (uint16_t)(sign | (uint16_t)nearbyint(a * 0x1p24)); /* subnormal; 1024 is the first normal number */
    int e;
    double m = frexp(a, &e); /* m in [1/2, 1) */
    int mantissa = (int)nearbyint(m * 2048.0);
    return (uint16_t)(sign |
                      (uint16_t)((e + 14) * 1024 + mantissa - 1024)); /* 2048 carries into the exponent by itself */
}

static const char base64_letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void write_base64(rs_text *out, const uint8_t *b, size_t n) {
    char block[4096];
    size_t used = 0;
    for (size_t i = 0; i < n; i += 3) {
        size_t left = n - i;
        uint32_t x = (uint32_t)b[i] << 16 | (left > 1 ? (uint32_t)b[i + 1] << 8 : 0u) | (left > 2 ? b[i + 2] : 0u);
        block[used++] = base64_letters[x >> 18];
        block[used++] = base64_letters[x >> 12 & 63];
        block[used++] = left > 1 ? base64_letters[x >> 6 & 63] : '=';
        block[used++] = left > 2 ? base64_letters[x & 63] : '=';
        if (used == sizeof block) {
            rs_text_append_n(out, block, used);
            used = 0;
        }
    }
    rs_text_append_n(out, block, used);
}

static double largest(const rs_array *a) {
    double top = 0.0;
    for (int64_t i = 0; i < rs_array_size(a); i++)
        if (isfinite(a->data[i])) top = fmax(top, fabs(a->data[i]));
    return top;
}

static uint8_t byte_of(double x, double scale) {
    if (!isfinite(x)) return 255;
    return (uint8_t)nearbyint(254.0 * sqrt(fmin(1.0, fmax(0.0, x) / scale)));
}

static uint8_t signed_byte_of(double x, double scale) {
    if (!isfinite(x)) return 255;
    return (uint8_t)(127.0 + nearbyint(127.0 * copysign(sqrt(fmin(1.0, fabs(x) / scale)), x)));
}

/* Largest half is 65504; 32768 leaves room and is a power of two. */
static size_t encode_half(const rs_array *a, double scale, uint8_t *out) {
    size_t n = 0;
    for (int64_t i = 0; i < rs_array_size(a); i++) {
        uint16_t h = half_of(isfinite(a->data[i]) ? a->data[i] / scale : NAN);
        out[n++] = (uint8_t)(h & 255);
        out[n++] = (uint8_t)(h >> 8);
    }
    return n;
}

static size_t encode_whole(const rs_array *a, uint8_t *out) {
    for (int64_t i = 0; i < rs_array_size(a); i++)
        out[i] = a->data[i] >= 0.0 && a->data[i] < 254.5 ? (uint8_t)nearbyint(a->data[i]) : 255;
    return (size_t)rs_array_size(a);
}

static size_t encode_signed(const rs_array *a, double scale, uint8_t *out) {
    for (int64_t i = 0; i < rs_array_size(a); i++) out[i] = signed_byte_of(a->data[i], scale);
    return (size_t)rs_array_size(a);
}

static size_t encode_bytes(const rs_array *a, double scale, bool triangle, uint8_t *out) {
    size_t n = 0;
    int64_t columns = a->dims[a->n_dims - 1], rows = triangle ? a->dims[a->n_dims - 2] : 1;
    for (int64_t i = 0; i < rs_array_size(a); i++)
        if (!triangle || i % columns <= i / columns % rows) out[n++] = byte_of(a->data[i], scale);
    return n;
}

static void write_plain(rs_text *out, const rs_array *a) {
    rs_text_append(out, ",\"type\":\"plain\",\"data\":[");
    for (int64_t i = 0; i < rs_array_size(a); i++) {
        rs_text_append(out, i ? "," : "");
        if (isfinite(a->data[i])) rs_text_printf(out, "%.7g", a->data[i]);
        else rs_text_append(out, "null");
    }
    rs_text_append(out, "]");
}

static rs_status write_packed(rs_text *out, const rs_array *a, encoding as, rs_error *err) {
    uint8_t *bytes = NULL;
    double top = largest(a), scale = top > 0.0 ? (as == HALF ? top / 32768.0 : top) : 1.0;
    rs_status st = RS_NEW(&bytes, (size_t)rs_array_size(a) * 2 + 1, err);
    if (st != RS_OK) return st;
    size_t n = as == HALF     ? encode_half(a, scale, bytes)
               : as == SIGNED ? encode_signed(a, scale, bytes)
               : as == WHOLE  ? encode_whole(a, bytes)
                              : encode_bytes(a, scale, as == TRIANGLE, bytes);
    static const char *const type[] = {
        [HALF] = "f16", [BYTE] = "u8", [SIGNED] = "s8", [WHOLE] = "whole", [TRIANGLE] = "u8"};
    rs_text_printf(out, ",\"type\":\"%s\",\"scale\":%.9g,\"data\":\"", type[as], scale);
    write_base64(out, bytes, n);
    rs_text_append(out, "\"");
    rs_free(bytes);
    return RS_OK;
}

static rs_status write_array(rs_text *out, const rs_array *a, encoding as, rs_error *err) {
    rs_status st = RS_OK;
    rs_text_printf(out, "\n\"%s\":{\"dims\":[", a->name);
    for (int d = 0; d < a->n_dims; d++) rs_text_printf(out, d ? ",%lld" : "%lld", (long long)a->dims[d]);
    rs_text_append(out, "]");
    if (as == PLAIN) write_plain(out, a);
    else st = write_packed(out, a, as, err);
    rs_text_append(out, "}");
    return st;
}

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
        if (a == NULL || (embedded[i].as == TRIANGLE && a->n_dims != 4)) continue;
        if (!first) rs_text_append(out, ",");
        first = false;
        RS_TRY(write_array(out, a, embedded[i].as, err));
    }
    rs_text_append(out, "}}");
out:
    return st;
}
