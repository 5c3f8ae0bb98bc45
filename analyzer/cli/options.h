/* cli/options.h: one table per command describes its options and arguments; the same table parses, prints --help, and
 * makes the man page and the shell completion. */
#ifndef RS_CLI_OPTIONS_H
#define RS_CLI_OPTIONS_H

#include "analyzer/base/status.h"
#include "analyzer/base/text.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum rs_option_kind {
    RS_OPT_FLAG,
    RS_OPT_STRING,
    RS_OPT_INT,
    RS_OPT_REAL,
    RS_OPT_CHOICE,
    RS_OPT_FILE,
    RS_OPT_FOLDER_OR_FILE
} rs_option_kind;

typedef struct rs_option {
    const char *name; /* long name without dashes */
    char letter;      /* short form or 0 */
    rs_option_kind kind;
    const char *value; /* "T", "FILE", "a|b|c" for RS_OPT_CHOICE; NULL for flags */
    const char *help;  /* one line, with the default */
    size_t offset;   /* of the field in the command's options struct: bool, const char *, int64_t, double, int (index of
                        choice), rs_strings (repeatable) */
    bool repeatable; /* field is an rs_strings */
    double least, most; /* for numbers: allowed range */
} rs_option;

typedef struct rs_strings {
    const char *item[64];
    size_t count;
} rs_strings;

typedef struct rs_command {
    const char *name, *summary, *synopsis; /* "MODEL TEXT... -o RUN.h5" */
    const char *description;               /* paragraphs for --help and man */
    const rs_option *options;              /* ends with name == NULL */
    size_t options_size; /* sizeof the options struct; field `rs_strings arguments` stands first in it */
    int least_arguments, most_arguments; /* positional; most < 0: any number */
    const char *examples;                /* lines, or NULL */
    bool computes;                       /* with threads: rs_program_wait_briefly */
    rs_status (*run)(const void *options, rs_error *err);
} rs_command;

/* Every command of the program, ends with name == NULL. */
extern const rs_command *const rs_commands[];

/* Parses argv (behind the command's name) into the zeroed struct. RS_E_USAGE with what was wrong and a hint. *help:
 * --help was asked. */
rs_status rs_options_parse(const rs_command *c, int argc, char **argv, void *options, bool *help, rs_error *err);
void rs_options_help(const rs_command *c, rs_text *out);
void rs_options_overview(rs_text *out);                      /* ropescope --help */
void rs_options_man(rs_text *out);                           /* ropescope(1), mdoc */
void rs_options_completion(rs_text *out, const char *shell); /* "bash" | "zsh" | "fish" */

#endif
