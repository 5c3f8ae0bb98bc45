/* tests/support/model_case.h: a model in a temporary folder, opened down to its graph. For tests of the model room. */
#ifndef RS_TESTS_MODEL_CASE_H
#define RS_TESTS_MODEL_CASE_H

#include "analyzer/model/weights.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/hf_writer.h"

typedef struct model_case {
    char folder[256]; /* made by model_case_begin, removed by model_case_end */
    char path[320];   /* of the model in it */
    rs_checkpoint *checkpoint;
    rs_arena *arena;
    const rs_graph *graph;
    rs_error error;
} model_case;

/* Fails the test when the folder cannot be made. */
void model_case_begin(model_case *m);
/* Writes a Hugging Face directory and opens it; without tensors one that nobody asks for is put in. */
rs_status model_case_hf(model_case *m, const char *config_json, const hf_tensor *tensors, size_t n,
                        const rs_graph_options *o);
/* Writes a GGUF (w is freed) and opens it. */
rs_status model_case_gguf(model_case *m, gguf_writer *w, const rs_graph_options *o);
/* Closes what is open, so that the case can be used for another model. */
void model_case_close(model_case *m);
void model_case_end(model_case *m);

/* Fails the test unless the status is the expected one and the message holds every word of `words` (separated by '|').
 */
void model_case_refused(const model_case *m, rs_status st, rs_status expected, const char *words);
/* The pair of a table that has this first component in Hugging Face order; -1 when there is none. */
int model_case_pair(const rs_rope *r, int lo_hf);

#endif
