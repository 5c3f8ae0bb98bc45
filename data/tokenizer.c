/* data/tokenizer.c: the front of the tokenizer: which reader, and the way of a text through it. */
#include "data/tokenizer.h"

#include "analyzer/base/alloc.h"
#include "analyzer/base/file.h"
#include "data/tokenizer_parts.h"

#include <string.h>

/* ---- Ids ---- */

rs_status rs_ids_push(rs_ids *ids, int32_t id, rs_error *err) {
    if (ids->count == ids->room) {
        size_t room = ids->room ? ids->room * 2 : 256;
        rs_status st = rs_resize((void **)&ids->id, ids->room, room, sizeof *ids->id, err);
        if (st != RS_OK) return st;
        ids->room = room;
    }
    ids->id[ids->count++] = id;
    return RS_OK;
}

void rs_ids_deinit(rs_ids *ids) {
    rs_free(ids->id);
    *ids = (rs_ids){0};
}

/* ---- What readers leave to us ---- */

static rs_status append_word(void *context, const char *word, size_t n, rs_error *err) {
    rs_text_append_n(context, word, n);
    return rs_text_status(context, err);
}

static rs_status normalise(const rs_tokenizer *t, const char *s, size_t n, rs_text *out, rs_error *err) {
    rs_step_room room = {0}; /* normalisers need no regular expressions */
    rs_status st = rs_steps_run(&t->steps, &room, 0, t->steps.normalizers, s, n, true, append_word, out, err);
    for (size_t i = 0; i < RS_STEPS_MAX; i++) rs_text_deinit(&room.scratch[i]);
    return st;
}

rs_status rs_tokenizer_add_token(rs_tokenizer *t, const rs_added_token *token, bool normalized, rs_error *err) {
    size_t n = 0;
    rs_text normal = {0};
    rs_status st = RS_OK;
    const char *there = rs_pieces_get(&t->bpe.pieces, token->id, &n);
    int32_t other = rs_pieces_find(&t->bpe.pieces, token->text, token->bytes);
    if ((there && (n != token->bytes || memcmp(there, token->text, n) != 0)) || (other >= 0 && other != token->id)) {
        return rs_fail(err, RS_E_FORMAT, "'%s' is to be token %d, which is '%.*s'; the vocabulary has it as %d",
                       token->text, token->id, (int)(n < 64 ? n : 64), there ? there : "", other);
    }
    if (!there) RS_TRY(rs_pieces_put(&t->bpe.pieces, token->id, token->text, token->bytes, false, err));
    RS_TRY(rs_pieces_put(&t->shown, token->id, token->text, token->bytes, false, err));
    if (normalized) {
        RS_TRY(normalise(t, token->text, token->bytes, &normal, err));
        RS_TRY(rs_added_put(&t->normal, normal.data, normal.bytes, token->id, token->special, token->lstrip,
                            token->rstrip, err));
    } else {
        RS_TRY(rs_added_put(&t->raw, token->text, token->bytes, token->id, token->special, token->lstrip, token->rstrip,
                            err));
    }
out:
    rs_text_deinit(&normal);
    return st;
}

/* GPT-2's characters back to bytes; a piece with any other character stands for itself, as in Hugging Face. */
static void show_bytes(rs_text *out, const char *s, size_t n) {
    for (size_t i = 0; i < n;) {
        uint32_t c = 0;
        size_t step = rs_utf8_decode(s + i, n - i, &c);
        int byte = step ? rs_char_byte(c) : -1;
        if (byte < 0) {
            out->bytes = 0;
            rs_text_append_n(out, s, n);
            return;
        }
        char b = (char)(unsigned char)byte;
        rs_text_append_n(out, &b, 1);
        i += step;
    }
}

static void show_metaspace(rs_text *out, const char *s, size_t n) {
    const size_t mark = sizeof RS_METASPACE - 1;
    for (size_t i = 0; i < n;) {
        bool space = n - i >= mark && memcmp(s + i, RS_METASPACE, mark) == 0;
        rs_text_append_n(out, space ? " " : s + i, 1);
        i += space ? mark : 1;
    }
}

static rs_status show_piece(rs_tokenizer *t, int32_t id, rs_text *text, rs_error *err) {
    size_t n = 0;
    const char *s = rs_pieces_get(&t->bpe.pieces, id, &n);
    int byte = s ? rs_byte_piece(s, n) : -1;
    size_t shown = 0;
    if (!s || rs_pieces_get(&t->shown, id, &shown)) return RS_OK;
    text->bytes = 0;
    if (byte >= 0 && t->bpe.byte_id[byte] == id) {
        char b = (char)(unsigned char)byte;
        rs_text_append_n(text, &b, 1);
    } else if (t->spelling == RS_SPELL_BYTES) {
        show_bytes(text, s, n);
    } else if (t->spelling == RS_SPELL_METASPACE) {
        show_metaspace(text, s, n);
    } else {
        rs_text_append_n(text, s, n);
    }
    rs_status st = rs_text_status(text, err);
    return st == RS_OK ? rs_pieces_put(&t->shown, id, text->data ? text->data : "", text->bytes, false, err) : st;
}

static rs_status finish(rs_tokenizer *t, rs_error *err) {
    rs_text text = {0};
    rs_status st = RS_OK;
    RS_TRY(rs_bpe_finish(&t->bpe, err));
    RS_TRY(rs_added_sort(&t->raw, err));
    RS_TRY(rs_added_sort(&t->normal, err));
    for (size_t i = 0; i < t->bpe.pieces.count; i++) RS_TRY(show_piece(t, (int32_t)i, &text, err));
out:
    rs_text_deinit(&text);
    return st;
}

/* ---- Which reader ---- */

static rs_status read_folder(rs_tokenizer *t, const char *folder, rs_error *err) {
    char *path = NULL;
    rs_status st = rs_path_join(&path, folder, "tokenizer.json", err);
    if (st == RS_OK && !rs_path_exists(path)) {
        st = rs_fail(err, RS_E_USAGE,
                     "%s: holds no tokenizer.json (other kinds of tokenizer are not read from a folder); give one with "
                     "--tokenizer",
                     folder);
    }
    if (st == RS_OK) st = rs_tokenizer_read_json(t, path, err);
    rs_free(path);
    return st;
}

static rs_status read_gguf_file(rs_tokenizer *t, const char *path, rs_error *err) {
    rs_checkpoint *c = NULL;
    rs_status st = rs_checkpoint_open(path, &c, err);
    if (st == RS_OK) st = rs_tokenizer_read_gguf(t, rs_checkpoint_metadata(c), path, err);
    rs_checkpoint_close(c);
    return st;
}

/* The content decides: "GGUF", or a '{' as the first visible byte, or else llama2.c. */
static rs_status read_file(rs_tokenizer *t, const char *path, rs_error *err) {
    char head[64] = {0};
    rs_file *f = NULL;
    rs_status st = rs_file_open(path, &f, err);
    if (st == RS_OK) {
        uint64_t size = rs_file_size(f);
        st = rs_file_read(f, 0, head, size < sizeof head - 1 ? (size_t)size : sizeof head - 1, err);
    }
    rs_file_close(f);
    if (st != RS_OK) return st;
    if (rs_ends_with(path, ".model")) {
        return rs_fail(err, RS_E_UNSUPPORTED,
                       "%s: SentencePiece model files are not read; take tokenizer.json or a GGUF", path);
    }
    if (memcmp(head, "GGUF", 4) == 0) return read_gguf_file(t, path, err);
    return head[strspn(head, " \t\r\n")] == '{' || rs_ends_with(path, ".json")
               ? rs_tokenizer_read_json(t, path, err)
               : rs_tokenizer_read_llama2c(t, path, err);
}

/* config.json's bos_token_id is what `--bos yes` uses when the tokenizer's own files name none. */
static void take_bos_of_config(rs_tokenizer *t, const rs_json *config) {
    int64_t id = rs_json_int(rs_json_get(config, "bos_token_id"), -1);
    if (t->bos < 0 && id >= 0 && id < (int64_t)t->bpe.pieces.count) t->bos = (int32_t)id;
}

static rs_status read_of_checkpoint(rs_tokenizer *t, rs_checkpoint *c, rs_error *err) {
    rs_status st = RS_OK;
    switch (rs_checkpoint_container(c)) {
    case RS_CONTAINER_HF:
        st = read_folder(t, rs_checkpoint_path(c), err);
        if (st == RS_OK) take_bos_of_config(t, rs_checkpoint_metadata(c));
        return st;
    case RS_CONTAINER_GGUF: return rs_tokenizer_read_gguf(t, rs_checkpoint_metadata(c), rs_checkpoint_path(c), err);
    case RS_CONTAINER_LLAMA2C: break;
    }
    return rs_fail(err, RS_E_USAGE,
                   "%s: a llama2.c checkpoint carries no tokenizer; give its tok*.bin with --tokenizer",
                   rs_checkpoint_path(c));
}

/* A llama2.c vocabulary belongs to one size of model: another file of the kind would give ids that mean nothing. */
static rs_status check_against(const rs_tokenizer *t, rs_checkpoint *c, const char *path, rs_error *err) {
    bool llama2c = c && rs_checkpoint_container(c) == RS_CONTAINER_LLAMA2C;
    int64_t vocab = llama2c ? rs_json_int(rs_json_get(rs_checkpoint_metadata(c), "vocab_size"), 0) : 0;
    if (llama2c && vocab != rs_tokenizer_vocab(t))
        return rs_fail(err, RS_E_MISMATCH, "%s: the tokenizer has %lld tokens, the model %s %lld", path,
                       (long long)rs_tokenizer_vocab(t), rs_checkpoint_path(c), (long long)vocab);
    return RS_OK;
}

rs_status rs_tokenizer_open(rs_checkpoint *c, const char *path, rs_tokenizer **out, rs_error *err) {
    rs_tokenizer *t = NULL;
    *out = NULL;
    if (!c && !path) return rs_fail(err, RS_E_USAGE, "neither a model nor a tokenizer was given");
    rs_status st = RS_NEW(&t, 1, err);
    if (st != RS_OK) return st;
    rs_bpe_init(&t->bpe);
    t->bos = -1;
    RS_TRY(!path                     ? read_of_checkpoint(t, c, err)
           : rs_path_is_folder(path) ? read_folder(t, path, err)
                                     : read_file(t, path, err));
    st = finish(t, err);
    if (st != RS_OK) {
        rs_error_prefix(err, "%s", path ? path : rs_checkpoint_path(c));
        goto out;
    }
    RS_TRY(check_against(t, path ? c : NULL, path, err));
    *out = t;
    t = NULL;
out:
    rs_tokenizer_close(t);
    return st;
}

void rs_tokenizer_close(rs_tokenizer *t) {
    if (t) {
        rs_bpe_deinit(&t->bpe);
        rs_steps_deinit(&t->steps);
        rs_added_deinit(&t->raw);
        rs_added_deinit(&t->normal);
        rs_pieces_deinit(&t->shown);
        rs_free(t);
    }
}

/* ---- Encoding ---- */

typedef struct encoder {
    const rs_tokenizer *t;
    bool parse_special;
    bool at_start; /* of the text: the fragment that is being normalised */
    rs_step_room steps;
    rs_bpe_work *work;
    rs_ids *out;
} encoder;

typedef rs_status (*fragment_fn)(encoder *e, const char *text, size_t n, bool at_start, rs_error *err);

static rs_status encode_word(void *context, const char *word, size_t n, rs_error *err) {
    encoder *e = context;
    return rs_bpe_word(&e->t->bpe, e->work, word, n, e->out, err);
}

static rs_status encode_normal(encoder *e, const char *text, size_t n, bool at_start, rs_error *err) {
    return rs_steps_run(&e->t->steps, &e->steps, e->t->steps.normalizers, e->t->steps.count, text, n, at_start,
                        encode_word, e, err);
}

/* Added tokens become their ids, what stands between them goes on. */
static rs_status cut_out(encoder *e, const rs_added *added, const char *text, size_t n, bool at_start, fragment_fn rest,
                         rs_error *err) {
    rs_status st = RS_OK;
    for (size_t from = 0; from < n && st == RS_OK;) {
        size_t start = n;
        size_t end = n;
        const rs_added_token *token = rs_added_next(added, text, n, from, e->parse_special, &start, &end);
        if (start > from) st = rest(e, text + from, start - from, at_start && from == 0, err);
        if (st == RS_OK && token) st = rs_ids_push(e->out, token->id, err);
        from = end;
    }
    return st;
}

static rs_status cut_normal(void *context, const char *text, size_t n, rs_error *err) {
    encoder *e = context;
    return cut_out(e, &e->t->normal, text, n, e->at_start, encode_normal, err);
}

static rs_status encode_raw(encoder *e, const char *text, size_t n, bool at_start, rs_error *err) {
    e->at_start = at_start;
    return rs_steps_run(&e->t->steps, &e->steps, 0, e->t->steps.normalizers, text, n, at_start, cut_normal, e, err);
}

rs_status rs_tokenizer_encode(const rs_tokenizer *t, const char *text, size_t n, bool parse_special, rs_ids *out,
                              rs_error *err) {
    encoder e = {.t = t, .parse_special = parse_special, .out = out};
    size_t before = out->count;
    size_t bad = 0;
    rs_status st = RS_OK;
    if (!rs_utf8_valid(text, n, &bad))
        return rs_fail(err, RS_E_FORMAT, "byte 0x%02X at offset %zu is not UTF-8", (unsigned)(unsigned char)text[bad],
                       bad);
    RS_TRY(rs_regex_room_create(&e.steps.regex, err));
    RS_TRY(rs_bpe_work_create(&e.work, err));
    RS_TRY(cut_out(&e, &t->raw, text, n, true, encode_raw, err));
out:
    for (size_t i = 0; i < RS_STEPS_MAX; i++) rs_text_deinit(&e.steps.scratch[i]);
    rs_regex_room_destroy(e.steps.regex);
    rs_bpe_work_destroy(e.work);
    out->count = st == RS_OK ? out->count : before;
    return st;
}

/* ---- Questions ---- */

const char *rs_tokenizer_piece(const rs_tokenizer *t, int32_t id, size_t *bytes) {
    return rs_pieces_get(&t->shown, id, bytes);
}

void rs_tokenizer_text_ids(const rs_tokenizer *t, bool *out, int64_t n) {
    const rs_added *lists[] = {&t->raw, &t->normal};
    for (int64_t i = 0; i < n; i++) {
        size_t bytes = 0;
        const char *piece = i <= INT32_MAX ? rs_pieces_get(&t->bpe.pieces, (int32_t)i, &bytes) : NULL;
        out[i] = piece && rs_pieces_find(&t->bpe.pieces, piece, bytes) == i && i != t->bos;
    }
    for (size_t l = 0; l < sizeof lists / sizeof *lists; l++) {
        for (size_t i = 0; i < lists[l]->count; i++) {
            int32_t id = lists[l]->item[i].id;
            if (id >= 0 && id < n) out[id] = false;
        }
    }
}

int64_t rs_tokenizer_vocab(const rs_tokenizer *t) { return (int64_t)t->bpe.pieces.count; }

int32_t rs_tokenizer_bos(const rs_tokenizer *t) { return t->bos; }

bool rs_tokenizer_adds_bos(const rs_tokenizer *t) { return t->adds_bos; }

const char *rs_tokenizer_kind(const rs_tokenizer *t) { return t->kind; }
