/* cli/program.h: what all commands share: the program's name and version, its command line, output, progress. */
#ifndef RS_CLI_PROGRAM_H
#define RS_CLI_PROGRAM_H

#include "analyzer/base/status.h"
#include "analyzer/base/text.h"

#include <stdbool.h>
#include <stdint.h>

const char *rs_program_version(void); /* "ropescope 0.1.0" */
/* The command line as a shell would take it back; kept for the run's metadata. argv, as main has it, is borrowed. */
void rs_program_set_command_line(int argc, char **argv);
const char *rs_program_command_line(void);

/* Begins the program anew, with the same arguments, so that its threads wait for each other more by sleeping than by
 * spinning; returns when that is so already, when the environment says how to wait (OMP_WAIT_POLICY, GOMP_SPINCOUNT),
 * or when it cannot be. Before anything is opened or printed. */
void rs_program_wait_briefly(void);

/* Writes a text to stdout, all of it or RS_E_IO; RS_E_NOMEM when the text could not be made whole. */
rs_status rs_print(const rs_text *t, rs_error *err);
/* One line to stderr, "ropescope: ..." unless quiet. */
void rs_note(bool quiet, const char *fmt, ...) RS_PRINTF(2, 3);

/* One progress line on stderr: rewritten in place on a terminal, a plain line every ten seconds elsewhere, nothing when
 * quiet. TERM=dumb and NO_COLOR are respected (no escape sequences at all then). */
typedef struct rs_progress {
    bool quiet, terminal;
    double begun, shown;
    double work_total, work_done; /* any unit: the share done gives the time left */
    int64_t tokens;               /* tokens of the whole run, for tokens/s over the share done */
} rs_progress;
void rs_progress_begin(rs_progress *p, bool quiet, double work_total, int64_t tokens);
void rs_progress_show(rs_progress *p, double work_done, const char *fmt, ...) RS_PRINTF(3, 4);
void rs_progress_end(rs_progress *p); /* clears the line */

#endif
