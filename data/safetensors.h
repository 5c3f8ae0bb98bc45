/* data/safetensors.h: one safetensors file. Called by hf_folder.c. */
#ifndef RS_DATA_SAFETENSORS_H
#define RS_DATA_SAFETENSORS_H

#include "analyzer/base/status.h"
#include "data/checkpoint.h"

/* Adds the tensors of file number `number`. The format is checked whole: header of at most 100 MB, strict JSON, known
 * types, offsets inside the buffer that agree with shapes and cover it without holes or overlaps. A tensor of more than
 * four dimensions is listed unusable, the fifth and later folded into the fourth. Fails: RS_E_FORMAT naming file and
 * tensor. */
rs_status rs_safetensors_read(rs_checkpoint *c, int number, rs_error *err);

#endif
