/* data/hf_folder.h: a Hugging Face model directory: config.json, model.safetensors or its shards. Called by
 * checkpoint.c. */
#ifndef RS_DATA_HF_FOLDER_H
#define RS_DATA_HF_FOLDER_H

#include "analyzer/base/status.h"
#include "data/checkpoint.h"

/* Reads the folder c->path. model.safetensors comes before model.safetensors.index.json, as in transformers.
 * Fails: RS_E_UNSUPPORTED for a folder of another kind that we can name; RS_E_FORMAT. */
rs_status rs_hf_folder_read(rs_checkpoint *c, rs_error *err);

#endif
