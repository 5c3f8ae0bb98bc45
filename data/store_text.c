#include "data/store_text.h"

#include <string.h>

void rs_store_append_utf8(rs_text *t, const char *s) {
    size_t n = s ? strlen(s) : 0;
    for (size_t i = 0; i < n;) {
        size_t length = rs_utf8_length(s + i, n - i);
        if (length > 0) rs_text_append_n(t, s + i, length);
        else rs_text_append(t, "\xEF\xBF\xBD");
        i += length > 0 ? length : 1;
    }
}
