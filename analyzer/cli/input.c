#include "analyzer/cli/input.h"

#include <string.h>

enum { DEFAULT_CONTEXT = 2048, DEFAULT_TOKENS = 65536 };

static rs_status read_graph(rs_model *m, int64_t context, double rope_theta, rs_error *err) {
    rs_graph_options o = {.context = context, .rope_theta = rope_theta};
    return rs_graph_create(m->checkpoint, &o, m->arena, &m->graph, err);
}

rs_status rs_model_open(const char *path, int64_t context, double rope_theta, rs_model *out, rs_error *err) {
    rs_status st = RS_OK;
    *out = (rs_model){0};
    RS_TRY(rs_arena_create(&out->arena, err));
    RS_TRY(rs_checkpoint_open(path, &out->checkpoint, err));
    RS_TRY(read_graph(out, context, rope_theta, err));
out:
    if (st != RS_OK) {
        rs_model_close(out);
    }
    return st;
}

rs_status rs_model_bind(rs_model *m, rs_error *err) {
    return rs_weights_bind(m->checkpoint, m->graph, m->arena, &m->weights, err);
}

void rs_model_close(rs_model *m) {
    rs_checkpoint_close(m->checkpoint);
    rs_arena_destroy(m->arena);
    *m = (rs_model){0};
}

/* How many sequences of T tokens the options allow; 0 = no limit. */
static int64_t sequence_limit(const rs_input_options *o, int64_t context) {
    int64_t tokens = o->tokens > 0 ? o->tokens : o->sequences > 0 ? 0 : DEFAULT_TOKENS;
    int64_t by_tokens = tokens > 0 ? (tokens / context > 0 ? tokens / context : 1) : 0;
    if (o->sequences > 0 && (by_tokens == 0 || o->sequences < by_tokens)) {
        return o->sequences;
    }
    return by_tokens;
}

static rs_status read_ids(const rs_input_options *o, rs_input *in, rs_error *err) {
    rs_status st = rs_corpus_from_ids(o->ids, in->model.graph->vocab, o->context, o->sequences, &in->corpus, err);
    if (st == RS_OK && o->tokens > 0 && in->corpus.sequences * in->corpus.context > o->tokens) {
        int64_t most = o->tokens / in->corpus.context;
        rs_corpus_deinit(&in->corpus);
        st = rs_corpus_from_ids(o->ids, in->model.graph->vocab, o->context, most > 0 ? most : 1, &in->corpus, err);
    }
    return st;
}

static int64_t context_of(const rs_input_options *o, const rs_input *in) {
    int64_t trained = in->model.graph->trained_context;
    return o->context > 0 ? o->context : trained > 0 && trained < DEFAULT_CONTEXT ? trained : DEFAULT_CONTEXT;
}

static rs_status read_text(const rs_strings *arguments, const rs_input_options *o, rs_input *in, rs_error *err) {
    rs_status st = RS_OK;
    int64_t context = context_of(o, in);
    RS_TRY(rs_tokenizer_open(in->model.checkpoint, o->tokenizer, &in->tokenizer, err));
    RS_TRY(rs_corpus_from_text(in->tokenizer, arguments->item + 1, arguments->count - 1, context,
                               sequence_limit(o, context), (rs_bos_policy)o->bos, &in->corpus, err));
out:
    return st;
}

/* Tasks of tokens use a tokenizer where there is one, for its BOS and to leave special tokens out. */
static rs_status open_task_tokenizer(const rs_input_options *o, rs_task_kind kind, rs_input *in, rs_error *err) {
    rs_error why = {0};
    rs_status st = rs_tokenizer_open(in->model.checkpoint, o->tokenizer, &in->tokenizer, &why);
    if (st == RS_OK ||
        (!rs_task_needs_tokenizer(kind) && !o->tokenizer && (st == RS_E_USAGE || st == RS_E_UNSUPPORTED))) {
        return RS_OK;
    }
    return rs_fail(err, st, "%s", why.message);
}

static rs_status read_task(const rs_input_options *o, rs_input *in, rs_error *err) {
    rs_status st = RS_OK;
    int64_t context = context_of(o, in);
    rs_task_kind kind = rs_task_find(o->task);
    if (kind == RS_TASKS) {
        return rs_fail(err, RS_E_USAGE, "--task %s: expected key-value, needle, qa, induction or copy", o->task);
    }
    RS_TRY(open_task_tokenizer(o, kind, in, err));
    const rs_task_options how = {.kind = kind,
                                 .items = o->task_items,
                                 .gold = o->task_gold,
                                 .file = o->task_file,
                                 .sequences = sequence_limit(o, context),
                                 .context = context,
                                 .seed = (uint64_t)o->seed,
                                 .bos = (rs_bos_policy)o->bos,
                                 .tokenizer = in->tokenizer,
                                 .vocab = in->model.graph->vocab};
    RS_TRY(rs_task_generate(&how, &in->corpus, &in->task, err));
out:
    return st;
}

/* Tokens come of TEXT, --ids or --task: exactly one. */
static rs_status check_source(const rs_strings *arguments, const rs_input_options *o, rs_error *err) {
    if (o->ids && o->task) {
        return rs_fail(err, RS_E_USAGE, "--ids and --task: give one of them");
    }
    if ((o->ids || o->task) && arguments->count > 1) {
        return rs_fail(err, RS_E_USAGE, "%s takes the place of TEXT: give one of them", o->ids ? "--ids" : "--task");
    }
    if (!o->ids && !o->task && arguments->count < 2) {
        return rs_fail(err, RS_E_USAGE,
                       "no TEXT given: name at least one UTF-8 text file, or give token ids with --ids FILE, or have "
                       "a task made with --task NAME");
    }
    if (!o->task && (o->task_file || o->task_items > 0 || o->task_gold > 0)) {
        return rs_fail(err, RS_E_USAGE, "--task-items, --task-gold and --task-file go with --task NAME");
    }
    return RS_OK;
}

rs_status rs_input_open(const rs_strings *arguments, const rs_input_options *o, rs_input *out, rs_error *err) {
    rs_status st = RS_OK;
    *out = (rs_input){0};
    RS_TRY(check_source(arguments, o, err));
    RS_TRY(rs_model_open(arguments->item[0], o->context, o->rope_theta, &out->model, err));
    RS_TRY(rs_model_bind(&out->model, err));
    RS_TRY(o->ids ? read_ids(o, out, err) : o->task ? read_task(o, out, err) : read_text(arguments, o, out, err));
    if (out->corpus.context != o->context) { /* tables may depend on the positions that are run */
        RS_TRY(read_graph(&out->model, out->corpus.context, o->rope_theta, err));
        RS_TRY(rs_model_bind(&out->model, err));
    }
out:
    if (st != RS_OK) {
        rs_input_close(out);
    }
    return st;
}

void rs_input_close(rs_input *in) {
    rs_task_deinit(&in->task);
    rs_corpus_deinit(&in->corpus);
    rs_tokenizer_close(in->tokenizer);
    rs_model_close(&in->model);
    *in = (rs_input){0};
}

/* Are all matrices that products use stored in 16 bits or fewer? */
static bool weights_are_halves(const rs_model *m) {
    for (int layer = -1; layer < m->graph->n_layers; layer++) {
        for (int role = 0; role < RS_ROLE_COUNT; role++) {
            const rs_weight *w = rs_weights_get(m->weights, layer, (rs_role)role);
            if (w && w->tensor && rs_weight_is_matrix(w) &&
                (w->tensor->dtype == RS_F32 || w->tensor->dtype == RS_F64)) {
                return false;
            }
        }
    }
    return true;
}

rs_compute rs_input_compute(const rs_input_options *o, const rs_input *in, bool card) {
    enum { AUTO }; /* the first choice of --compute; the others stand in the order of rs_compute */
    if (o->compute != AUTO) {
        return (rs_compute)(o->compute - 1);
    }
    return card && weights_are_halves(&in->model) ? RS_COMPUTE_BF16 : RS_COMPUTE_F32;
}

const char *rs_compute_name(rs_compute c) {
    static const char *const names[] = {"f32", "tf32", "bf16"};
    return names[c];
}
