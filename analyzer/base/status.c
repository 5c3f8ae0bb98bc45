/* base/status.c: see status.h. */
#include "analyzer/base/status.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* A cut message must not end inside a UTF-8 sequence: it goes to terminals and into reports. */
static void mark_truncated(char *message) {
    size_t end = RS_ERROR_BYTES - 4;
    while (end > 0 && ((unsigned char)message[end] & 0xC0U) == 0x80U) end--;
    memcpy(message + end, "...", 4);
}

static void format_message(char *out, const char *fmt, va_list args) {
    int n = vsnprintf(out, RS_ERROR_BYTES, fmt, args);
    if (n < 0) strcpy(out, "(a message that could not be formatted)");
    if (n >= RS_ERROR_BYTES) mark_truncated(out);
}

rs_status rs_fail(rs_error *err, rs_status st, const char *fmt, ...) {
    if (!err) return st;
    char message[RS_ERROR_BYTES]; /* the arguments may point into err->message */
    va_list args;
    va_start(args, fmt);
    format_message(message, fmt, args);
    va_end(args);
    memcpy(err->message, message, sizeof message);
    err->status = st;
    return st;
}

rs_status rs_fail_errno(rs_error *err, const char *file, const char *what) {
    int code = errno;
    char reason[256];
    if (strerror_r(code, reason, sizeof reason) != 0) snprintf(reason, sizeof reason, "error %d", code);
    return rs_fail(err, RS_E_IO, "%s: %s: %s", file, what, reason);
}

void rs_error_prefix(rs_error *err, const char *fmt, ...) {
    if (!err) return;
    char prefix[RS_ERROR_BYTES];
    va_list args;
    va_start(args, fmt);
    format_message(prefix, fmt, args);
    va_end(args);
    rs_fail(err, err->status, "%s: %s", prefix, err->message);
}

const char *rs_status_text(rs_status st) {
    switch (st) {
#define RS_STATUS_CASE(name, value, exit_code, text)                                                                   \
    case RS_##name: return text;
        RS_STATUS_MAP(RS_STATUS_CASE)
#undef RS_STATUS_CASE
    }
    return "unknown status";
}

int rs_status_exit_code(rs_status st) {
    switch (st) {
#define RS_STATUS_CASE(name, value, exit_code, text)                                                                   \
    case RS_##name: return exit_code;
        RS_STATUS_MAP(RS_STATUS_CASE)
#undef RS_STATUS_CASE
    }
    return 1;
}
