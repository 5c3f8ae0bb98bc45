#include "reports/show.h"

#include "analyzer/base/text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* "4.1e-05" -> "4.1e-5": C prints two digits of exponent at least. */
static void trim_exponent(char *s) {
    char *e = strchr(s, 'e');
    if (e == NULL) return;
    char *digit = e + 2;
    while (*digit == '0' && digit[1] != '\0') memmove(digit, digit + 1, strlen(digit));
}

char *rs_show_number(char out[RS_SHOW_BYTES], double x) {
    double a = fabs(x);
    if (isnan(x)) return strcpy(out, "-");
    if (isinf(x)) return strcpy(out, x > 0.0 ? "inf" : "-inf");
    if (a >= 1.0e15 || (a > 0.0 && a < 0.000995)) {
        snprintf(out, RS_SHOW_BYTES, "%.1e", x);
        trim_exponent(out);
    } else if (a >= 999.5) {
        double unit = pow(10.0, floor(log10(a)) - 2.0);
        rs_format_count(out, (int64_t)(floor(x / unit + 0.5) * unit));
    } else {
        snprintf(out, RS_SHOW_BYTES, a >= 99.95 ? "%.0f" : a >= 9.995 ? "%.1f" : a >= 1.0 ? "%.2f" : "%.3g", x);
    }
    return out;
}

char *rs_show_percent(char out[RS_SHOW_BYTES], double x) {
    double p = 100.0 * x, a = fabs(p);
    if (!isfinite(p)) return strcpy(out, "-");
    if (a > 0.0 && a < 0.00095) return strcpy(out, "under 0.001%");
    snprintf(out, RS_SHOW_BYTES, a >= 9.95 ? "%.0f%%" : a >= 0.995 ? "%.1f%%" : "%.2g%%", p);
    return out;
}

char *rs_show_count(char out[RS_SHOW_BYTES], long long n) { return n < 0 ? strcpy(out, "-") : rs_format_count(out, n); }

char *rs_show_seconds(char out[RS_SHOW_BYTES], double seconds) {
    if (!(seconds >= 0.0 && seconds < 1.0e12)) return strcpy(out, "-");
    long long s = (long long)(seconds + 0.5);
    if (seconds < 10.0) snprintf(out, RS_SHOW_BYTES, "%.1f s", seconds);
    else if (s < 120) snprintf(out, RS_SHOW_BYTES, "%lld s", s);
    else if (s < 7200) snprintf(out, RS_SHOW_BYTES, "%lld min %lld s", s / 60, s % 60);
    else snprintf(out, RS_SHOW_BYTES, "%lld h %lld min", s / 3600, s % 3600 / 60);
    return out;
}

char *rs_show_parameters(char out[RS_SHOW_BYTES], double n) {
    static const struct {
        double unit;
        const char *word;
    } units[] = {{1e12, "T"}, {1e9, "B"}, {1e6, "M"}, {1e3, "K"}};
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        double x = n / units[i].unit;
        if (x < 1.0) continue;
        snprintf(out, RS_SHOW_BYTES, x >= 100.0 ? "%.0f %s" : x >= 10.0 ? "%.1f %s" : "%.2f %s", x, units[i].word);
        return out;
    }
    snprintf(out, RS_SHOW_BYTES, "%.0f", n);
    return out;
}

char *rs_show_ranges(char *out, size_t n, const int *values, int count) {
    size_t used = 0;
    if (n == 0) return out;
    out[0] = '\0';
    for (int i = 0; i < count;) {
        char piece[32];
        int j = i;
        while (j + 1 < count && values[j + 1] == values[j] + 1) j++;
        const char *comma = i > 0 ? ", " : "";
        if (j - i >= 2) snprintf(piece, sizeof piece, "%s%d-%d", comma, values[i], values[j]);
        else snprintf(piece, sizeof piece, "%s%d", comma, values[j = i]);
        size_t length = strlen(piece);
        if (used + length + 5 > n) {
            if (used + 6 <= n) memcpy(out + used, ", ...", 6);
            return out;
        }
        memcpy(out + used, piece, length + 1);
        used += length;
        i = j + 1;
    }
    return out;
}
