#include "analyzer/cli/commands.h"

#include <stddef.h>

const rs_command *const rs_commands[] = {&rs_cmd_check,   &rs_cmd_audit,   &rs_cmd_report,
                                         &rs_cmd_ablate,  &rs_cmd_dump,    &rs_cmd_tokenize,
                                         &rs_cmd_devices, &rs_cmd_version, NULL};
