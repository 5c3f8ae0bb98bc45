/* base/status.h: one status type, one polarity, and messages written where the facts are.
 * Everything that can fail returns an rs_status and takes an rs_error; RS_OK leaves the error untouched.
 * Knows nothing of models, files or devices. Everybody calls it. */
#ifndef RS_BASE_STATUS_H
#define RS_BASE_STATUS_H

#include <stdarg.h>

/* name, value, exit code of the program (README, "Exit codes"), text */
#define RS_STATUS_MAP(X)                                                                                               \
    X(OK, 0, 0, "ok")                                                                                                  \
    X(E_NOMEM, 1, 1, "out of memory")                                                                                  \
    X(E_IO, 2, 1, "input/output error")                                                                                \
    X(E_INTERNAL, 3, 1, "internal error")                                                                              \
    X(E_DEVICE, 4, 1, "device error")                                                                                  \
    X(E_USAGE, 5, 2, "usage error")                                                                                    \
    X(E_EXISTS, 6, 2, "output exists or has no folder")                                                                \
    X(E_UNSUPPORTED, 7, 3, "not supported")                                                                            \
    X(E_UNAVAILABLE, 8, 3, "not available here")                                                                       \
    X(E_FORMAT, 9, 4, "malformed input")                                                                               \
    X(E_MISMATCH, 10, 4, "input contradicts itself")                                                                   \
    X(E_NONFINITE, 11, 4, "not a finite number")                                                                       \
    X(E_CANCELLED, 12, 130, "cancelled")

typedef enum rs_status {
#define RS_STATUS_ENUM(name, value, exit_code, text) RS_##name = (value),
    RS_STATUS_MAP(RS_STATUS_ENUM)
#undef RS_STATUS_ENUM
} rs_status;

/* Room for a list of several bad tensors; a longer message ends in "...". */
enum { RS_ERROR_BYTES = 4096 };

typedef struct rs_error {
    rs_status status;
    char message[RS_ERROR_BYTES]; /* complete enough to print as it is; "" when status is RS_OK */
} rs_error;

#if defined(__GNUC__)
#define RS_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define RS_PRINTF(fmt, args)
#endif

/* Sets err (may be NULL) and returns st, so that callers write `return rs_fail(err, RS_E_FORMAT, "...")`.
 * The message names file, tensor or field, what was found and what was expected. */
rs_status rs_fail(rs_error *err, rs_status st, const char *fmt, ...) RS_PRINTF(3, 4);
/* Same for "FILE: message: strerror(errno)". Status RS_E_IO. Reads errno on entry. */
rs_status rs_fail_errno(rs_error *err, const char *file, const char *what);
/* Puts "text: " in front of a message that is already there. */
void rs_error_prefix(rs_error *err, const char *fmt, ...) RS_PRINTF(2, 3);

/* Short English text of a status; never NULL. */
const char *rs_status_text(rs_status st);
/* The program's exit code for a status (0, 1, 2, 3, 4 or 130). */
int rs_status_exit_code(rs_status st);

/* For functions with one exit label `out:` and a local `rs_status st`. */
#define RS_TRY(expr)                                                                                                   \
    do {                                                                                                               \
        rs_status rs_try_st = (expr);                                                                                  \
        if (rs_try_st != RS_OK) {                                                                                      \
            st = rs_try_st;                                                                                            \
            goto out;                                                                                                  \
        }                                                                                                              \
    } while (0)

#endif
