#include "analyzer/cli/program.h"

#include "analyzer/base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static rs_text command_line;
static char **arguments; /* main's; NULL before rs_program_set_command_line */

const char *rs_program_version(void) { return "ropescope " RS_VERSION; }

static bool plain_word(const char *s) {
    return *s && s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-")] == '\0';
}

static void append_word(const char *s) {
    if (plain_word(s)) {
        rs_text_append(&command_line, s);
        return;
    }
    rs_text_append(&command_line, "'");
    for (; *s; s++) {
        if (*s == '\'') {
            rs_text_append(&command_line, "'\\''");
        } else {
            rs_text_append_n(&command_line, s, 1);
        }
    }
    rs_text_append(&command_line, "'");
}

void rs_program_set_command_line(int argc, char **argv) {
    arguments = argv;
    for (int i = 0; i < argc; i++) {
        const char *word = i == 0 ? "ropescope" : argv[i];
        if (i > 0) {
            rs_text_append(&command_line, " ");
        }
        append_word(word);
    }
}

const char *rs_program_command_line(void) { return command_line.data ? command_line.data : "ropescope"; }

/* libgomp's own patience is 300,000 turns, about a millisecond. On an idle machine nobody notices; where another
 * program has one of the cores, every thread spins at every barrier for the one that does not run: ten times slower
 * (tests/bench/bench_waiting.py). It reads the number when it is loaded, before main. */
void rs_program_wait_briefly(void) {
    if (arguments && !getenv("OMP_WAIT_POLICY") && !getenv("GOMP_SPINCOUNT") &&
        setenv("GOMP_SPINCOUNT", "1000", 0) == 0) {
        execv("/proc/self/exe", arguments);
    }
}

rs_status rs_print(const rs_text *t, rs_error *err) {
    rs_status st = rs_text_status(t, err);
    if (st != RS_OK) {
        return st;
    }
    if ((t->bytes > 0 && fwrite(t->data, 1, t->bytes, stdout) != t->bytes) || fflush(stdout) != 0) {
        return rs_fail(err, RS_E_IO, "standard output: %s", strerror(errno));
    }
    return RS_OK;
}

void rs_note(bool quiet, const char *fmt, ...) {
    va_list args;
    if (quiet) {
        return;
    }
    va_start(args, fmt);
    fputs("ropescope: ", stderr);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
    va_end(args);
}

void rs_progress_begin(rs_progress *p, bool quiet, double work_total, int64_t tokens) {
    const char *term = getenv("TERM");
    *p = (rs_progress){.quiet = quiet, .begun = rs_clock_seconds(), .work_total = work_total, .tokens = tokens};
    p->terminal = isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0 && !getenv("NO_COLOR");
    p->shown = p->begun;
}

void rs_progress_show(rs_progress *p, double work_done, const char *fmt, ...) {
    double now = rs_clock_seconds(), spent = now - p->begun, share = work_done / p->work_total;
    char what[128];
    va_list args;
    p->work_done = work_done;
    if (p->quiet || now - p->shown < (p->terminal ? 0.1 : 10.0) || share <= 0) {
        return;
    }
    p->shown = now;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    long left = (long)(spent / share - spent + 0.5);
    char rate[48] = ""; /* of a text; work that is no text has a time alone */
    if (p->tokens > 0) {
        snprintf(rate, sizeof rate, ", %.0f tokens/s", (double)p->tokens * share / spent);
    }
    fprintf(stderr, p->terminal ? "\r\033[K%s%s, %ld:%02ld left" : "%s%s, %ld:%02ld left\n", what, rate, left / 60,
            left % 60);
    fflush(stderr);
}

void rs_progress_end(rs_progress *p) {
    if (!p->quiet && p->terminal && p->shown > p->begun) {
        fputs("\r\033[K", stderr);
        fflush(stderr);
    }
}
