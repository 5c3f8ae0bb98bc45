/* cli/recorded_input.h: the model and the tokens of a run file, opened again, and only if they are still the same. */
#ifndef RS_CLI_RECORDED_INPUT_H
#define RS_CLI_RECORDED_INPUT_H

#include "analyzer/cli/input.h"
#include "data/store.h"

/* `more`: MODEL TEXT... in the place of the recorded paths (moved files), empty: the recorded ones. o: what the command
 * line says; context, sequences, BOS and task are the run's. Fails: RS_E_MISMATCH when the model's files or the token
 * ids are not those of the run; RS_E_USAGE when the run was given ids and --ids is not; as rs_input_open. */
rs_status rs_recorded_input_open(rs_store *run, const char *path, const rs_strings *more, const rs_input_options *o,
                                 rs_input *out, rs_error *err);

#endif
