#include "analyzer/cli/commands.h"

#include "analyzer/base/alloc.h"
#include "analyzer/base/file.h"
#include "analyzer/cli/input.h"
#include "analyzer/cli/program.h"

#include <string.h>

typedef struct tokenize_options {
    rs_strings arguments;
    const char *tokenizer;
    bool pieces, special;
    int bos;
} tokenize_options;

enum { MAX_TEXT = 1 << 30 };

static void print_ids(const tokenize_options *o, const rs_tokenizer *t, const rs_ids *ids, rs_text *out) {
    for (size_t i = 0; i < ids->count; i++) {
        if (o->pieces) {
            size_t n = 0;
            const char *piece = rs_tokenizer_piece(t, ids->id[i], &n);
            rs_text_printf(out, "%d\t", ids->id[i]);
            rs_text_json_string(out, piece ? piece : "", n);
            rs_text_append(out, "\n");
        } else {
            rs_text_printf(out, "%s%d", i ? " " : "", ids->id[i]);
        }
    }
    rs_text_append(out, "\n");
}

static rs_status tokenize_file(const tokenize_options *o, const rs_tokenizer *t, const char *path, rs_text *out,
                               rs_error *err) {
    rs_status st = RS_OK;
    char *text = NULL;
    size_t n = 0;
    rs_ids ids = {0};
    bool bos = o->bos == RS_BOS_YES || (o->bos == RS_BOS_AUTO && rs_tokenizer_adds_bos(t));
    if (bos && rs_tokenizer_bos(t) < 0) {
        return rs_fail(err, RS_E_USAGE, "--bos yes: this tokenizer has no BOS token");
    }
    RS_TRY(rs_file_read_all(path, MAX_TEXT, &text, &n, err));
    if (bos) {
        RS_TRY(rs_ids_push(&ids, rs_tokenizer_bos(t), err));
    }
    st = rs_tokenizer_encode(t, text, n, o->special, &ids, err);
    if (st != RS_OK) {
        rs_error_prefix(err, "%s", path);
        goto out;
    }
    print_ids(o, t, &ids, out);
out:
    rs_free(text);
    rs_ids_deinit(&ids);
    return st;
}

static rs_status run(const void *options, rs_error *err) {
    rs_status st = RS_OK;
    const tokenize_options *o = options;
    rs_checkpoint *c = NULL;
    rs_tokenizer *t = NULL;
    rs_text out = {0};
    RS_TRY(rs_checkpoint_open(o->arguments.item[0], &c, err));
    RS_TRY(rs_tokenizer_open(c, o->tokenizer, &t, err));
    for (size_t i = 1; i < o->arguments.count; i++) {
        RS_TRY(tokenize_file(o, t, o->arguments.item[i], &out, err));
    }
    RS_TRY(rs_print(&out, err));
out:
    rs_text_deinit(&out);
    rs_tokenizer_close(t);
    rs_checkpoint_close(c);
    return st;
}

static const rs_option table[] = {
    {"pieces", 'p', RS_OPT_FLAG, NULL, "one token a line: id, tab, its text as a JSON string",
     offsetof(tokenize_options, pieces), false, 0, 0},
    {"special", 0, RS_OPT_FLAG, NULL, "special tokens written out in the text become themselves",
     offsetof(tokenize_options, special), false, 0, 0},
    {"bos", 0, RS_OPT_CHOICE, "auto|yes|no", "put the BOS token in front (default: auto, as the tokenizer does)",
     offsetof(tokenize_options, bos), false, 0, 0},
    {"tokenizer", 0, RS_OPT_FOLDER_OR_FILE, "FILE", "tokenizer to use (default: the model's own)",
     offsetof(tokenize_options, tokenizer), false, 0, 0},
    {0},
};

const rs_command rs_cmd_tokenize = {
    .name = "tokenize",
    .summary = "print the token ids of texts",
    .synopsis = "MODEL TEXT...",
    .description = "Prints the token ids of each UTF-8 TEXT, one line a file, blanks between, with the tokenizer of "
                   "MODEL. A GGUF file that holds a "
                   "vocabulary and no weights will do.",
    .options = table,
    .options_size = sizeof(tokenize_options),
    .least_arguments = 2,
    .most_arguments = -1,
    .examples =
        "ropescope tokenize model.gguf novel.txt > ids.txt\nropescope tokenize --pieces model/ novel.txt | head",
    .run = run,
};
