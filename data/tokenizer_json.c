/* data/tokenizer_json.c: tokenizer.json of Hugging Face: the BPE model, added tokens, and whether a BOS is put in
 * front. */
#include "analyzer/base/alloc.h"
#include "analyzer/base/file.h"
#include "data/tokenizer_parts.h"

#include <stdio.h>
#include <string.h>

enum { MAX_JSON = 1 << 28, MAX_CONFIG = 1 << 24, NO_ID = -1 };

/* ---- The model ---- */

static rs_status check_model(const rs_json *model, rs_error *err) {
    static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    const char *type = rs_json_string(rs_json_get(model, "type"), NULL);
    if (!rs_json_is(model, RS_JSON_OBJECT))
        return rs_fail(err, RS_E_FORMAT, "field 'model': found %s, expected an object", rs_json_kind_name(model));
    if (type ? strcmp(type, "BPE") != 0 : !rs_json_get(model, "merges"))
        return rs_fail(err, RS_E_UNSUPPORTED, "model '%s' is not supported, only BPE is",
                       type ? type : "without a type");
    if (rs_json_real(rs_json_get(model, "dropout"), 0) != 0)
        return rs_fail(err, RS_E_UNSUPPORTED, "model: dropout %g is not supported: its ids are random",
                       rs_json_real(rs_json_get(model, "dropout"), 0));
    for (size_t i = 0; i < 2; i++) {
        size_t n = 0;
        const char *affix = rs_json_string(rs_json_get(model, affixes[i]), &n);
        if (affix && n > 0) return rs_fail(err, RS_E_UNSUPPORTED, "model: %s '%s' is not supported", affixes[i], affix);
    }
    return RS_OK;
}

static rs_status read_vocab(rs_pieces *p, const rs_json *vocab, rs_error *err) {
    rs_status st = RS_OK;
    void *cursor = NULL;
    const char *piece = NULL;
    if (!rs_json_is(vocab, RS_JSON_OBJECT))
        return rs_fail(err, RS_E_FORMAT, "field 'model.vocab': found %s, expected an object", rs_json_kind_name(vocab));
    for (const rs_json *id = rs_json_next(vocab, &cursor, &piece); id && st == RS_OK;
         id = rs_json_next(vocab, &cursor, &piece)) {
        st = rs_pieces_put(p, rs_json_int(id, NO_ID), piece, strlen(piece), true, err);
    }
    return st;
}

/* "a b" or ["a", "b"] */
static rs_status merge_sides(const rs_json *merge, const char *side[2], size_t n[2], rs_error *err) {
    size_t bytes = 0;
    const char *both = rs_json_string(merge, &bytes);
    const char *space = both ? memchr(both, ' ', bytes) : NULL;
    if (space) {
        side[0] = both;
        n[0] = (size_t)(space - both);
        side[1] = space + 1;
        n[1] = bytes - n[0] - 1;
    } else if (!both && rs_json_size(merge) == 2) {
        side[0] = rs_json_string(rs_json_at(merge, 0), &n[0]);
        side[1] = rs_json_string(rs_json_at(merge, 1), &n[1]);
    }
    if (!side[0] || !side[1] || (space && memchr(side[1], ' ', n[1])))
        return rs_fail(err, RS_E_FORMAT, "found %s '%s', expected two pieces", rs_json_kind_name(merge),
                       both ? both : "");
    return RS_OK;
}

rs_status rs_bpe_add_merge(rs_bpe *b, const char *left, size_t left_bytes, const char *right, size_t right_bytes,
                           size_t rank, rs_text *joined, rs_error *err) {
    int32_t l = rs_pieces_find(&b->pieces, left, left_bytes);
    int32_t r = rs_pieces_find(&b->pieces, right, right_bytes);
    joined->bytes = 0;
    rs_text_append_n(joined, left, left_bytes);
    rs_text_append_n(joined, right, right_bytes);
    rs_status st = rs_text_status(joined, err);
    if (st != RS_OK) return st;
    int32_t made = rs_pieces_find(&b->pieces, joined->data, joined->bytes);
    if (l < 0 || r < 0 || made < 0 || rank >= RS_NEVER)
        return rs_fail(err, RS_E_FORMAT, "'%.*s' + '%.*s' makes '%s': %s is not in the vocabulary",
                       (int)(left_bytes < 64 ? left_bytes : 64), left, (int)(right_bytes < 64 ? right_bytes : 64),
                       right, joined->data,
                       l < 0   ? "the left piece"
                       : r < 0 ? "the right piece"
                               : "the result");
    return rs_merges_put(&b->merges, l, r, (uint32_t)rank, made, err);
}

static rs_status read_merges(rs_bpe *b, const rs_json *merges, rs_error *err) {
    rs_status st = RS_OK;
    rs_text joined = {0};
    if (!rs_json_is(merges, RS_JSON_ARRAY))
        return rs_fail(err, RS_E_FORMAT, "field 'model.merges': found %s, expected an array",
                       rs_json_kind_name(merges));
    for (size_t i = 0; i < rs_json_size(merges) && st == RS_OK; i++) {
        const char *side[2] = {NULL, NULL};
        size_t n[2] = {0, 0};
        st = merge_sides(rs_json_at(merges, i), side, n, err);
        if (st == RS_OK) st = rs_bpe_add_merge(b, side[0], n[0], side[1], n[1], i, &joined, err);
        if (st != RS_OK) rs_error_prefix(err, "merge %zu", i);
    }
    rs_text_deinit(&joined);
    return st;
}

static rs_status read_model(rs_bpe *b, const rs_json *model, rs_error *err) {
    size_t n = 0;
    const char *unknown = rs_json_string(rs_json_get(model, "unk_token"), &n);
    rs_status st = check_model(model, err);
    if (st == RS_OK) st = read_vocab(&b->pieces, rs_json_get(model, "vocab"), err);
    if (st == RS_OK) st = read_merges(b, rs_json_get(model, "merges"), err);
    if (st != RS_OK) return st;
    b->byte_fallback = rs_json_bool(rs_json_get(model, "byte_fallback"), false);
    b->fuse_unknown = rs_json_bool(rs_json_get(model, "fuse_unk"), false);
    b->ignore_merges = rs_json_bool(rs_json_get(model, "ignore_merges"), false);
    b->unknown = unknown ? rs_pieces_find(&b->pieces, unknown, n) : NO_ID;
    if (unknown && b->unknown < 0)
        return rs_fail(err, RS_E_FORMAT, "model: unk_token '%s' is not in the vocabulary", unknown);
    for (int i = 0; b->byte_fallback && i < 256; i++) {
        char piece[8];
        snprintf(piece, sizeof piece, "<0x%02X>", (unsigned)i);
        b->byte_id[i] = rs_pieces_find(&b->pieces, piece, 6);
    }
    return RS_OK;
}

/* ---- Added tokens ---- */

static rs_status read_added_token(rs_tokenizer *t, const rs_json *j, rs_error *err) {
    rs_added_token token = {.special = rs_json_bool(rs_json_get(j, "special"), false),
                            .lstrip = rs_json_bool(rs_json_get(j, "lstrip"), false),
                            .rstrip = rs_json_bool(rs_json_get(j, "rstrip"), false)};
    const char *content = rs_json_string(rs_json_get(j, "content"), &token.bytes);
    int64_t id = rs_json_int(rs_json_get(j, "id"), NO_ID);
    if (!content || id < 0 || id >= RS_VOCAB_MAX)
        return rs_fail(err, RS_E_FORMAT, "found id %lld and content of kind %s, expected an id in 0..%d and a string",
                       (long long)id, rs_json_kind_name(rs_json_get(j, "content")), RS_VOCAB_MAX - 1);
    if (rs_json_bool(rs_json_get(j, "single_word"), false))
        return rs_fail(err, RS_E_UNSUPPORTED, "'%s': single_word is not supported", content);
    token.id = (int32_t)id;
    rs_status st = rs_strndup(&token.text, content, token.bytes, err);
    if (st == RS_OK)
        st = rs_tokenizer_add_token(t, &token, rs_json_bool(rs_json_get(j, "normalized"), !token.special), err);
    rs_free(token.text);
    return st;
}

static rs_status read_added_tokens(rs_tokenizer *t, const rs_json *list, rs_error *err) {
    rs_status st = RS_OK;
    if (!rs_json_is_null(list) && !rs_json_is(list, RS_JSON_ARRAY))
        return rs_fail(err, RS_E_FORMAT, "field 'added_tokens': found %s, expected an array", rs_json_kind_name(list));
    for (size_t i = 0; i < rs_json_size(list) && st == RS_OK; i++) {
        st = read_added_token(t, rs_json_at(list, i), err);
        if (st != RS_OK) rs_error_prefix(err, "added token %zu", i);
    }
    return st;
}

/* ---- BOS: what the post-processor puts in front of a single text ---- */

static rs_status template_bos(const rs_json *j, int64_t *bos, rs_error *err) {
    const rs_json *single = rs_json_get(j, "single");
    if (!rs_json_is(single, RS_JSON_ARRAY))
        return rs_fail(err, RS_E_FORMAT, "field 'single': found %s, expected an array", rs_json_kind_name(single));
    for (size_t i = 0; i < rs_json_size(single); i++) {
        const rs_json *special = rs_json_get(rs_json_at(single, i), "SpecialToken");
        const char *name = rs_json_string(rs_json_get(special, "id"), NULL);
        if (!name) {
            break; /* the text; what follows it is an EOS, which we never add */
        }
        const rs_json *ids = rs_json_get(rs_json_get(rs_json_get(j, "special_tokens"), name), "ids");
        if (*bos != NO_ID || rs_json_size(ids) != 1)
            return rs_fail(err, RS_E_UNSUPPORTED,
                           "more or less than one token in front of the text ('%s') is not supported", name);
        *bos = rs_json_int(rs_json_at(ids, 0), NO_ID);
    }
    return RS_OK;
}

static rs_status read_post_processor(const rs_json *j, int64_t *bos, int depth, rs_error *err) {
    const char *type = rs_json_string(rs_json_get(j, "type"), NULL);
    rs_status st = RS_OK;
    if (rs_json_is_null(j) || (type && strcmp(type, "ByteLevel") == 0)) {
        return RS_OK; /* ByteLevel trims offsets, which we have none of */
    }
    if (type && strcmp(type, "TemplateProcessing") == 0) {
        st = template_bos(j, bos, err);
    } else if (type && strcmp(type, "Sequence") == 0 && depth < 4) {
        const rs_json *list = rs_json_get(j, "processors");
        for (size_t i = 0; st == RS_OK && i < rs_json_size(list); i++)
            st = read_post_processor(rs_json_at(list, i), bos, depth + 1, err);
    } else {
        return rs_fail(err, RS_E_UNSUPPORTED, "post_processor '%s' is not supported", type ? type : "without a type");
    }
    if (st != RS_OK) rs_error_prefix(err, "post_processor '%s'", type);
    return st;
}

static int32_t id_of_content(const rs_tokenizer *t, const char *s, size_t n) {
    const rs_added *lists[] = {&t->raw, &t->normal};
    for (size_t l = 0; l < 2; l++) {
        for (size_t i = 0; i < lists[l]->count; i++) {
            const rs_added_token *token = &lists[l]->item[i];
            if (token->bytes == n && memcmp(token->text, s, n) == 0) return token->id;
        }
    }
    return rs_pieces_find(&t->bpe.pieces, s, n);
}

/* tokenizer_config.json beside it: bos_token (a string or an added token written out) and add_bos_token, which decides
 * where it is given; otherwise the template does. */
static rs_status apply_config(rs_tokenizer *t, const rs_json *config, const char *file, rs_error *err) {
    const rs_json *token = rs_json_get(config, "bos_token");
    const rs_json *adds = rs_json_get(config, "add_bos_token");
    size_t n = 0;
    const char *content = rs_json_string(rs_json_is(token, RS_JSON_OBJECT) ? rs_json_get(token, "content") : token, &n);
    if (t->bos < 0 && content) {
        t->bos = id_of_content(t, content, n);
        if (t->bos < 0)
            return rs_fail(err, RS_E_FORMAT, "%s: bos_token '%s' is no token of tokenizer.json", file, content);
    }
    t->adds_bos = rs_json_bool(adds, t->adds_bos);
    if (t->adds_bos && t->bos < 0)
        return rs_fail(err, RS_E_FORMAT, "%s: add_bos_token is true and there is no bos_token", file);
    return RS_OK;
}

static rs_status read_config_beside(rs_tokenizer *t, const char *path, rs_error *err) {
    size_t folder = (size_t)(rs_path_base(path) - path);
    rs_text beside = {0};
    rs_json *config = NULL;
    rs_text_append_n(&beside, path, folder);
    rs_text_append(&beside, "tokenizer_config.json");
    rs_status st = rs_text_status(&beside, err);
    if (st == RS_OK && rs_path_exists(beside.data)) {
        st = rs_json_read_file(beside.data, MAX_CONFIG, &config, err);
        if (st == RS_OK) st = apply_config(t, config, beside.data, err);
    }
    rs_json_free(config);
    rs_text_deinit(&beside);
    return st;
}

/* ---- The whole ---- */

static rs_status read_parts(rs_tokenizer *t, const rs_json *root, rs_error *err) {
    int64_t bos = NO_ID;
    rs_status st = RS_OK;
    RS_TRY(read_model(&t->bpe, rs_json_get(root, "model"), err));
    RS_TRY(rs_steps_read_normalizer(&t->steps, rs_json_get(root, "normalizer"), err));
    RS_TRY(rs_steps_read_pre_tokenizer(&t->steps, rs_json_get(root, "pre_tokenizer"), err));
    RS_TRY(read_added_tokens(t, rs_json_get(root, "added_tokens"), err));
    RS_TRY(read_post_processor(rs_json_get(root, "post_processor"), &bos, 0, err));
    if (bos < NO_ID || bos >= (int64_t)t->bpe.pieces.count)
        return rs_fail(err, RS_E_FORMAT, "post_processor: token id %lld is not in 0..%zu", (long long)bos,
                       t->bpe.pieces.count - 1);
    t->bos = (int32_t)bos;
    t->adds_bos = bos != NO_ID;
out:
    return st;
}

rs_status rs_tokenizer_read_json(rs_tokenizer *t, const char *path, rs_error *err) {
    rs_json *root = NULL;
    rs_status st = rs_json_read_file(path, MAX_JSON, &root, err);
    if (st != RS_OK) return st;
    st = read_parts(t, root, err);
    if (st != RS_OK) rs_error_prefix(err, "%s", path);
    bool bytes = rs_steps_has(&t->steps, RS_STEP_BYTES);
    t->spelling = bytes ? RS_SPELL_BYTES : RS_SPELL_METASPACE;
    snprintf(t->kind, sizeof t->kind,
             bytes ? "byte-level BPE (tokenizer.json)" : "SentencePiece-style BPE (tokenizer.json)");
    rs_json_free(root);
    return st == RS_OK ? read_config_beside(t, path, err) : st;
}
