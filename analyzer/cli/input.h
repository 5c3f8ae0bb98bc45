/* cli/input.h: MODEL and TEXT as all commands take them, from paths to a graph with bound weights and windows of token
 * ids. */
#ifndef RS_CLI_INPUT_H
#define RS_CLI_INPUT_H

#include "analyzer/base/arena.h"
#include "analyzer/cli/options.h"
#include "analyzer/model/graph.h"
#include "analyzer/model/weights.h"
#include "data/checkpoint.h"
#include "data/corpus.h"
#include "data/tasks.h"
#include "data/tokenizer.h"
#include "kernels/op.h"

/* Fields that commands with a MODEL and a TEXT share; stands second in their options struct, behind `arguments`. */
typedef struct rs_input_options {
    const char *ids, *tokenizer;
    const char *task, *task_file; /* rs_task_name; NULL: no task */
    int64_t context, sequences, tokens, task_items, task_gold, seed;
    int bos; /* rs_bos_policy */
    double rope_theta;
    const char *device;
    int compute; /* 0: auto; then rs_compute, one on */
    int64_t threads;
    bool quiet;
} rs_input_options;

#define RS_INPUT_TEXT_OPTIONS(type)                                                                                    \
    {"context",                                                                                                        \
     'c',                                                                                                              \
     RS_OPT_INT,                                                                                                       \
     "T",                                                                                                              \
     "tokens per sequence (default: the trained context, at most 2048)",                                               \
     offsetof(type, input.context),                                                                                    \
     false,                                                                                                            \
     2,                                                                                                                \
     1e9},                                                                                                             \
        {"sequences",                                                                                                  \
         'n',                                                                                                          \
         RS_OPT_INT,                                                                                                   \
         "N",                                                                                                          \
         "at most N sequences (default: as many as make 65,536 tokens)",                                               \
         offsetof(type, input.sequences),                                                                              \
         false,                                                                                                        \
         1,                                                                                                            \
         1e9},                                                                                                         \
        {"tokens", 0, RS_OPT_INT, "N", "at most N tokens, in whole sequences", offsetof(type, input.tokens),           \
         false,    2, 1e12},                                                                                           \
        {"bos",                                                                                                        \
         0,                                                                                                            \
         RS_OPT_CHOICE,                                                                                                \
         "auto|yes|no",                                                                                                \
         "begin every sequence with the BOS token (default: auto, as the tokenizer does)",                             \
         offsetof(type, input.bos),                                                                                    \
         false,                                                                                                        \
         0,                                                                                                            \
         0},                                                                                                           \
        {"ids",                                                                                                        \
         0,                                                                                                            \
         RS_OPT_FILE,                                                                                                  \
         "FILE",                                                                                                       \
         "token ids in place of TEXT: one sequence a line, blanks between",                                            \
         offsetof(type, input.ids),                                                                                    \
         false,                                                                                                        \
         0,                                                                                                            \
         0},                                                                                                           \
    {                                                                                                                  \
        "tokenizer", 0, RS_OPT_FOLDER_OR_FILE, "FILE", "tokenizer to use (default: the model's own)",                  \
            offsetof(type, input.tokenizer), false, 0, 0                                                               \
    }

#define RS_INPUT_TASK_OPTIONS(type)                                                                                    \
    {"task",                                                                                                           \
     0,                                                                                                                \
     RS_OPT_STRING,                                                                                                    \
     "NAME",                                                                                                           \
     "sequences made in place of TEXT: key-value, needle, induction, copy, or qa with --task-file",                    \
     offsetof(type, input.task),                                                                                       \
     false,                                                                                                            \
     0,                                                                                                                \
     0},                                                                                                               \
        {"task-items",                                                                                                 \
         0,                                                                                                            \
         RS_OPT_INT,                                                                                                   \
         "N",                                                                                                          \
         "pairs, needles, documents, or tokens that are repeated (default: 16, 1, as the file has, as many as fit, "   \
         "32)",                                                                                                        \
         offsetof(type, input.task_items),                                                                             \
         false,                                                                                                        \
         1,                                                                                                            \
         1e6},                                                                                                         \
        {"task-gold",                                                                                                  \
         0,                                                                                                            \
         RS_OPT_INT,                                                                                                   \
         "N",                                                                                                          \
         "which of them holds the answer, 1 = the first (default: drawn, or as the file has it)",                      \
         offsetof(type, input.task_gold),                                                                              \
         false,                                                                                                        \
         1,                                                                                                            \
         1e6},                                                                                                         \
    {                                                                                                                  \
        "task-file", 0, RS_OPT_FILE, "FILE",                                                                           \
            "questions of --task key-value or qa: JSON lines as lost-in-the-middle has them, also .gz",                \
            offsetof(type, input.task_file), false, 0, 0                                                               \
    }

#define RS_INPUT_MODEL_OPTIONS(type)                                                                                   \
    {                                                                                                                  \
        "rope-theta", 0, RS_OPT_REAL, "BASE", "RoPE base, for files that carry none (llama2.c)",                       \
            offsetof(type, input.rope_theta), false, 1, 1e15                                                           \
    }

#define RS_INPUT_RUN_OPTIONS(type)                                                                                      \
    {"device",                                                                                                          \
     'd',                                                                                                               \
     RS_OPT_STRING,                                                                                                     \
     "auto|cpu|cuda[:N[,M...]]",                                                                                        \
     "where to compute (default: auto); a device named is that device or an error; audit shares its sequences out "     \
     "over several cards",                                                                                              \
     offsetof(type, input.device),                                                                                      \
     false,                                                                                                             \
     0,                                                                                                                 \
     0},                                                                                                                \
        {"compute",                                                                                                     \
         0,                                                                                                             \
         RS_OPT_CHOICE,                                                                                                 \
         "auto|f32|tf32|bf16",                                                                                          \
         "how the inputs of products are rounded (default: auto: not at all on the CPU; on a card bf16 where the "      \
         "weights are no wider)",                                                                                       \
         offsetof(type, input.compute),                                                                                 \
         false,                                                                                                         \
         0,                                                                                                             \
         0},                                                                                                            \
        {"threads", 't', RS_OPT_INT, "N", "CPU threads (default: all)", offsetof(type, input.threads), false, 1, 4096}, \
    {                                                                                                                   \
        "quiet", 'q', RS_OPT_FLAG, NULL, "no progress and no notes on stderr", offsetof(type, input.quiet), false, 0,   \
            0                                                                                                           \
    }

typedef struct rs_model {
    rs_arena *arena;
    rs_checkpoint *checkpoint;
    const rs_graph *graph;
    const rs_weights *weights; /* NULL until rs_model_bind */
} rs_model;

/* Opens the checkpoint and reads its configuration. context 0: the trained one. */
rs_status rs_model_open(const char *path, int64_t context, double rope_theta, rs_model *out, rs_error *err);
rs_status rs_model_bind(rs_model *m, rs_error *err);
void rs_model_close(rs_model *m); /* zeroed is fine */

typedef struct rs_input {
    rs_model model;
    rs_tokenizer *tokenizer; /* NULL with --ids, and with tasks of tokens where the model has none */
    rs_corpus corpus;
    rs_task task; /* without spans: no task */
} rs_input;

/* The arithmetic of products that the options ask for, on a card or not (rs_device_info). */
rs_compute rs_input_compute(const rs_input_options *o, const rs_input *in, bool card);
const char *rs_compute_name(rs_compute c); /* "f32" */
/* arguments: MODEL TEXT... (or MODEL alone with --ids or --task). Opens the model for the context that will be run,
 * binds its weights, tokenizes. The tokenizer stays open. */
rs_status rs_input_open(const rs_strings *arguments, const rs_input_options *o, rs_input *out, rs_error *err);
void rs_input_close(rs_input *in); /* zeroed is fine */

#endif
