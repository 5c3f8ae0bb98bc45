/* cli/commands.h: the commands, one per file. */
#ifndef RS_CLI_COMMANDS_H
#define RS_CLI_COMMANDS_H

#include "analyzer/cli/options.h"

extern const rs_command rs_cmd_check, rs_cmd_audit, rs_cmd_tokenize, rs_cmd_dump, rs_cmd_report, rs_cmd_ablate,
    rs_cmd_devices, rs_cmd_version;

#endif
