/* cli/options_table.h: how the parser, the help, the man page and the completions read a command's table. */
#ifndef RS_CLI_OPTIONS_TABLE_H
#define RS_CLI_OPTIONS_TABLE_H

#include "analyzer/cli/options.h"

#include <stddef.h>

/* The option of that long name (n bytes), NULL when there is none. */
const rs_option *rs_option_find(const rs_command *c, const char *name, size_t n);
/* Walks "a|b|c": *n is the length of the choice at `choices`, the result is the next one or NULL. */
const char *rs_choice_next(const char *choices, size_t *n);

/* What stands beside the commands, for the overview, the man page and the completions. */
typedef struct rs_global_option {
    const char *name;
    char letter;
    const char *value; /* choices, or NULL */
    const char *help;
} rs_global_option;
extern const rs_global_option rs_global_options[]; /* ends with name == NULL */
extern const char rs_program_summary[];

#endif
