#include "reports/page_pack.h"

#include "analyzer/base/alloc.h"

#include <math.h>
#include <stdint.h>

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

/* Largest magnitude of n cells; 0 when there is none. */
static double largest(const double *x, int64_t n) {
    double top = 0.0;
    for (int64_t i = 0; i < n; i++)
        if (isfinite(x[i])) top = fmax(top, fabs(x[i]));
    return top;
}

/* --- one number --- */

static uint8_t byte_of(double x, double scale) {
    if (!isfinite(x)) return 255;
    return (uint8_t)nearbyint(254.0 * sqrt(fmin(1.0, fmax(0.0, x) / scale)));
}

static uint8_t signed_byte_of(double x, double scale) {
    if (!isfinite(x)) return 255;
    return (uint8_t)(127.0 + nearbyint(127.0 * copysign(sqrt(fmin(1.0, fabs(x) / scale)), x)));
}

static uint8_t log_byte_of(double x, double scale, double step) {
    if (!isfinite(x)) return 255;
    double b = x > 0.0 ? 254.0 + nearbyint(log(x / scale) / step) : 0.0;
    return (uint8_t)fmin(254.0, fmax(0.0, b));
}

/* --- one array: writes the keys behind "type", fills out and says how many bytes --- */

/* Largest half is 65504; 32768 leaves room and is a power of two. */
static size_t halves(rs_text *t, const rs_array *a, uint8_t *out) {
    size_t n = 0;
    double top = largest(a->data, rs_array_size(a)), scale = top > 0.0 ? top / 32768.0 : 1.0;
    for (int64_t i = 0; i < rs_array_size(a); i++) {
        uint16_t h = half_of(isfinite(a->data[i]) ? a->data[i] / scale : NAN);
        out[n++] = (uint8_t)(h & 255);
        out[n++] = (uint8_t)(h >> 8);
    }
    rs_text_printf(t, "\"f16\",\"scale\":%.9g", scale);
    return n;
}

static size_t logarithms(rs_text *t, const rs_array *a, uint8_t *out) {
    double top = largest(a->data, rs_array_size(a)), least = top;
    for (int64_t i = 0; i < rs_array_size(a); i++)
        if (a->data[i] > 0.0 && a->data[i] < least) least = a->data[i];
    double scale = top > 0.0 ? top : 1.0, step = top > least ? log(fmin(top / least, 1e9)) / 253.0 : 1.0;
    for (int64_t i = 0; i < rs_array_size(a); i++) out[i] = log_byte_of(a->data[i], scale, step);
    rs_text_printf(t, "\"l8\",\"scale\":%.9g,\"step\":%.9g", scale, step);
    return (size_t)rs_array_size(a);
}

static size_t wholes(rs_text *t, const rs_array *a, uint8_t *out) {
    for (int64_t i = 0; i < rs_array_size(a); i++)
        out[i] = a->data[i] >= 0.0 && a->data[i] < 254.5 ? (uint8_t)nearbyint(a->data[i]) : 255;
    rs_text_append(t, "\"whole\"");
    return (size_t)rs_array_size(a);
}

static size_t signed_bytes(rs_text *t, const rs_array *a, uint8_t *out) {
    int64_t heads = a->dims[0] * a->dims[1], cells = heads > 0 ? rs_array_size(a) / heads : 0;
    rs_text_append(t, "\"s8\",\"scale\":[");
    for (int64_t h = 0; h < heads; h++) {
        double top = largest(a->data + h * cells, cells), scale = top > 0.0 ? top : 1.0;
        rs_text_printf(t, h ? ",%.4g" : "%.4g", scale);
        for (int64_t i = h * cells; i < (h + 1) * cells; i++) out[i] = signed_byte_of(a->data[i], scale);
    }
    rs_text_append(t, "]");
    return (size_t)(heads * cells);
}

static size_t bytes(rs_text *t, const rs_array *a, bool triangle, uint8_t *out) {
    size_t n = 0;
    int64_t columns = a->dims[a->n_dims - 1], rows = triangle ? a->dims[a->n_dims - 2] : 1;
    double top = largest(a->data, rs_array_size(a)), scale = top > 0.0 ? top : 1.0;
    for (int64_t i = 0; i < rs_array_size(a); i++)
        if (!triangle || i % columns <= i / columns % rows) out[n++] = byte_of(a->data[i], scale);
    rs_text_printf(t, "\"u8\",\"scale\":%.9g", scale);
    return n;
}

static void plain(rs_text *out, const rs_array *a) {
    rs_text_append(out, "\"plain\",\"data\":[");
    for (int64_t i = 0; i < rs_array_size(a); i++) {
        rs_text_append(out, i ? "," : "");
        if (isfinite(a->data[i])) rs_text_printf(out, "%.7g", a->data[i]);
        else rs_text_append(out, "null");
    }
    rs_text_append(out, "]");
}

static rs_status packed(rs_text *out, const rs_array *a, rs_packing as, rs_error *err) {
    uint8_t *block = NULL;
    size_t n = 0;
    bool few = rs_array_size(a) <= RS_PACK_FEW;
    rs_status st = RS_NEW(&block, (size_t)rs_array_size(a) * 2 + 1, err);
    if (st != RS_OK) return st;
    if (as == RS_PACK_HALF || (as == RS_PACK_COST && few)) n = halves(out, a, block);
    else if (as == RS_PACK_LOG || as == RS_PACK_COST) n = logarithms(out, a, block);
    else if (as == RS_PACK_SIGNED) n = signed_bytes(out, a, block);
    else if (as == RS_PACK_WHOLE) n = wholes(out, a, block);
    else n = bytes(out, a, as == RS_PACK_TRIANGLE, block);
    rs_text_append(out, ",\"data\":\"");
    write_base64(out, block, n);
    rs_text_append(out, "\"");
    rs_free(block);
    return RS_OK;
}

rs_status rs_pack_array(rs_text *out, const rs_array *a, rs_packing as, rs_error *err) {
    rs_status st = RS_OK;
    int least = as == RS_PACK_TRIANGLE || as == RS_PACK_SIGNED ? 2 : 1;
    if (a->n_dims < least)
        return rs_fail(err, RS_E_FORMAT, "array '%s': %d axes, expected at least %d", a->name, a->n_dims, least);
    rs_text_printf(out, "\n\"%s\":{\"dims\":[", a->name);
    for (int d = 0; d < a->n_dims; d++) rs_text_printf(out, d ? ",%lld" : "%lld", (long long)a->dims[d]);
    rs_text_append(out, "],\"type\":");
    if (as == RS_PACK_PLAIN) plain(out, a);
    else st = packed(out, a, as, err);
    rs_text_append(out, "}");
    return st;
}
