/* data/tokenizer_gguf.c: the vocabulary inside a GGUF file. "gpt2": byte-level BPE, whose pre-tokenizer the file only
 * names, so that the name must be in the table below; "llama": SentencePiece BPE, joined by scores. */
#include "analyzer/base/alloc.h"
#include "data/tokenizer_parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* tokenizer.ggml.token_type */
enum { TYPE_NORMAL = 1, TYPE_UNKNOWN, TYPE_CONTROL, TYPE_USER, TYPE_UNUSED, TYPE_BYTE };

/* ---- Pre-tokenizers that we are sure of ---- */

#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define TIKTOKEN(digits)                                                                                               \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits                                               \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|"                                                                   \
    "\\s+(?!\\S)|\\s+"
#define CJK_COMPAT "[\\x{4E00}-\\x{9FA5}\\x{0800}-\\x{4E00}\\x{AC00}-\\x{D7FF}]+"
/* The letters that DeepSeek LLM's tokenizer.json lists range by range. */
#define CASED                                                                                                          \
    "A-Za-z\\x{B5}\\x{C0}-\\x{D6}\\x{D8}-\\x{F6}\\x{F8}-\\x{1BA}\\x{1BC}-\\x{1BF}\\x{1C4}-\\x{293}"                    \
    "\\x{295}-\\x{2AF}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37B}-\\x{37D}\\x{37F}\\x{386}\\x{388}-\\x{38A}"             \
    "\\x{38C}\\x{38E}-\\x{3A1}\\x{3A3}-\\x{3F5}\\x{3F7}-\\x{481}\\x{48A}-\\x{52F}\\x{531}-\\x{556}"                    \
    "\\x{10A0}-\\x{10C5}\\x{13A0}-\\x{13F5}\\x{13F8}-\\x{13FD}\\x{1C90}-\\x{1CBA}\\x{1CBD}-\\x{1CBF}"                  \
    "\\x{1D00}-\\x{1D2B}\\x{1D6B}-\\x{1D77}\\x{1D79}-\\x{1D9A}\\x{1E00}-\\x{1F15}\\x{1F18}-\\x{1F1D}"                  \
    "\\x{1F20}-\\x{1F45}\\x{1F48}-\\x{1F4D}\\x{1F50}-\\x{1F57}\\x{1F59}\\x{1F5B}\\x{1F5D}\\x{1F5F}-\\x{1F7D}"          \
    "\\x{1F80}-\\x{1FB4}\\x{1FB6}-\\x{1FBC}\\x{1FBE}\\x{1FC2}-\\x{1FC4}\\x{1FC6}-\\x{1FCC}\\x{1FD0}-\\x{1FD3}"         \
    "\\x{1FD6}-\\x{1FDB}\\x{1FE0}-\\x{1FEC}\\x{1FF2}-\\x{1FF4}\\x{1FF6}-\\x{1FFC}\\x{2102}\\x{2107}"                   \
    "\\x{210A}-\\x{2113}\\x{2115}\\x{2119}-\\x{211D}\\x{2124}\\x{2126}\\x{2128}\\x{212A}-\\x{212D}"                    \
    "\\x{212F}-\\x{2134}\\x{2139}\\x{213C}-\\x{213F}\\x{2145}-\\x{2149}\\x{214E}\\x{2183}\\x{2184}"                    \
    "\\x{2C00}-\\x{2C7B}\\x{2C7E}-\\x{2CE4}\\x{2CEB}-\\x{2CEE}\\x{2CF2}\\x{2CF3}\\x{A640}-\\x{A66D}"                   \
    "\\x{A680}-\\x{A69B}\\x{A722}-\\x{A76F}\\x{A771}-\\x{A787}\\x{A78B}-\\x{A78E}\\x{AB70}-\\x{ABBF}"                  \
    "\\x{FB00}-\\x{FB06}\\x{FB13}-\\x{FB17}\\x{FF21}-\\x{FF3A}\\x{FF41}-\\x{FF5A}\\x{10400}-\\x{1044F}"                \
    "\\x{104B0}-\\x{104D3}\\x{104D8}-\\x{104FB}\\x{10C80}-\\x{10CB2}\\x{10CC0}-\\x{10CF2}\\x{118A0}-\\x{118DF}"        \
    "\\x{1E900}-\\x{1E943}"

typedef struct pre_tokenizer {
    const char *name; /* tokenizer.ggml.pre */
    bool nfc, ignore_merges, adds_bos;
    const char *split[7]; /* each isolates its matches in what the one before has left, NULL-terminated */
} pre_tokenizer;

/* Patterns: each model's tokenizer.json. A row is here only when the normaliser and ignore_merges are known as well. */
static const pre_tokenizer pre_tokenizers[] = {
    {"gpt-2", false, false, false, {GPT2}},
    {"phi-2", false, false, false, {GPT2}},
    {"mpt", true, false, false, {GPT2}},
    {"gpt-neox", true, false, false, {GPT2}},
    {"olmo", true, false, false, {GPT2}},
    {"smollm", false, false, false, {"\\p{N}", GPT2}},
    {"starcoder", false, false, false, {"\\p{N}", GPT2}},
    {"llama-bpe", false, true, true, {TIKTOKEN("\\p{N}{1,3}")}},
    {"llama3", false, true, true, {TIKTOKEN("\\p{N}{1,3}")}},
    {"llama-v3", false, true, true, {TIKTOKEN("\\p{N}{1,3}")}},
    {"qwen2", true, false, false, {TIKTOKEN("\\p{N}")}},
    {"deepseek-llm",
     false,
     false,
     false,
     {"[\\r\\n]", "\\s?[" CASED "]+",
      "\\s?[!-/:-~\\x{FF01}-\\x{FF0F}\\x{FF1A}-\\x{FF5E}\\x{2018}-\\x{201F}\\x{3000}-\\x{3002}]+", "\\s+$", CJK_COMPAT,
      "\\p{N}"}},
    {"deepseek-coder", false, false, false, {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", CJK_COMPAT, "\\p{N}"}},
    {"deepseek-v3",
     false,
     false,
     false,
     {"\\p{N}{1,3}", "[\\x{4E00}-\\x{9FA5}\\x{3040}-\\x{309F}\\x{30A0}-\\x{30FF}]+",
      "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| "
      "?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}},
};
enum { PRE_TOKENIZERS = sizeof pre_tokenizers / sizeof *pre_tokenizers };

static rs_status find_pre_tokenizer(const rs_json *m, const pre_tokenizer **out, rs_error *err) {
    const char *name = rs_json_string(rs_json_get(m, "tokenizer.ggml.pre"), NULL);
    rs_text known = {0};
    for (size_t i = 0; i < PRE_TOKENIZERS; i++) {
        if (name && strcmp(pre_tokenizers[i].name, name) == 0) {
            *out = &pre_tokenizers[i];
            rs_text_deinit(&known);
            return RS_OK;
        }
        rs_text_printf(&known, "%s%s", i ? ", " : "", pre_tokenizers[i].name);
    }
    rs_status st = rs_fail(err, RS_E_UNSUPPORTED,
                           name ? "tokenizer.ggml.pre: the pre-tokenizer '%s' is not known (known: %s); give the "
                                  "model's tokenizer.json with --tokenizer"
                                : "tokenizer.ggml.pre%s: missing, so nothing says how words are cut (known: %s); give "
                                  "the model's tokenizer.json with --tokenizer",
                           name ? name : "", known.data ? known.data : "");
    rs_text_deinit(&known);
    return st;
}

/* ---- What both kinds have ---- */

typedef struct vocabulary {
    const rs_json *metadata, *tokens, *types, *scores;
    size_t count;
} vocabulary;

static rs_status need_list(const rs_json *m, const char *key, size_t count, const rs_json **out, rs_error *err) {
    *out = rs_json_get(m, key);
    if (!rs_json_is(*out, RS_JSON_ARRAY))
        return rs_fail(err, RS_E_FORMAT, "%s: found %s, expected an array", key, rs_json_kind_name(*out));
    if (count > 0 && rs_json_size(*out) != count)
        return rs_fail(err, RS_E_FORMAT, "%s: found %zu values, expected %zu, one a token", key, rs_json_size(*out),
                       count);
    return RS_OK;
}

static rs_status open_vocabulary(vocabulary *v, const rs_json *m, rs_error *err) {
    *v = (vocabulary){.metadata = m};
    rs_status st = need_list(m, "tokenizer.ggml.tokens", 0, &v->tokens, err);
    v->count = rs_json_size(v->tokens);
    if (st == RS_OK && (v->count == 0 || v->count > RS_VOCAB_MAX))
        st = rs_fail(err, RS_E_FORMAT, "tokenizer.ggml.tokens: found %zu tokens, expected 1..%d", v->count,
                     RS_VOCAB_MAX);
    if (st == RS_OK && rs_json_get(m, "tokenizer.ggml.token_type"))
        st = need_list(m, "tokenizer.ggml.token_type", v->count, &v->types, err);
    return st;
}

static int64_t type_of(const vocabulary *v, size_t i) {
    return v->types ? rs_json_int(rs_json_at(v->types, i), 0) : TYPE_NORMAL;
}

static rs_status put_tokens(rs_tokenizer *t, const vocabulary *v, bool (*findable)(int64_t type), rs_error *err) {
    rs_status st = RS_OK;
    for (size_t i = 0; i < v->count && st == RS_OK; i++) {
        size_t n = 0;
        const char *s = rs_json_string(rs_json_at(v->tokens, i), &n);
        if (!s || type_of(v, i) < TYPE_NORMAL || type_of(v, i) > TYPE_BYTE)
            return rs_fail(err, RS_E_FORMAT, "token %zu: found %s of type %lld, expected a string of type 1..6", i,
                           rs_json_kind_name(rs_json_at(v->tokens, i)), (long long)type_of(v, i));
        st = rs_pieces_put(&t->bpe.pieces, (int64_t)i, s, n, n > 0 && findable(type_of(v, i)), err);
    }
    return st;
}

/* Control and unknown tokens are special; user-defined ones are always found, in the text as it is or as the steps so
 * far leave it. */
static rs_status add_special(rs_tokenizer *t, const vocabulary *v, bool user_normalized, rs_error *err) {
    rs_status st = RS_OK;
    for (size_t i = 0; i < v->count && st == RS_OK; i++) {
        int64_t type = type_of(v, i);
        rs_added_token token = {.id = (int32_t)i, .special = type != TYPE_USER};
        const char *s = rs_json_string(rs_json_at(v->tokens, i), &token.bytes);
        if (type == TYPE_CONTROL || type == TYPE_UNKNOWN || type == TYPE_USER) {
            st = rs_strndup(&token.text, s, token.bytes, err);
            if (st == RS_OK) st = rs_tokenizer_add_token(t, &token, type == TYPE_USER && user_normalized, err);
            rs_free(token.text);
        }
    }
    return st;
}

static rs_status read_id(const vocabulary *v, const char *key, int32_t otherwise, int32_t *out, rs_error *err) {
    const rs_json *j = rs_json_get(v->metadata, key);
    int64_t id = rs_json_int(j, -1);
    *out = otherwise < (int64_t)v->count ? otherwise : -1;
    if (!j) return RS_OK;
    if (id < 0 || id >= (int64_t)v->count)
        return rs_fail(err, RS_E_FORMAT, "%s: found %lld, expected 0..%zu", key, (long long)id, v->count - 1);
    *out = (int32_t)id;
    return RS_OK;
}

static rs_status read_bos(rs_tokenizer *t, const vocabulary *v, int32_t otherwise, bool adds_otherwise, rs_error *err) {
    rs_status st = read_id(v, "tokenizer.ggml.bos_token_id", otherwise, &t->bos, err);
    t->adds_bos = rs_json_bool(rs_json_get(v->metadata, "tokenizer.ggml.add_bos_token"), adds_otherwise);
    if (st == RS_OK && t->adds_bos && t->bos < 0)
        st = rs_fail(err, RS_E_FORMAT, "tokenizer.ggml.bos_token_id: missing, and a BOS is to be added");
    return st;
}

/* ---- "gpt2" ---- */

/* Padding pieces ("[PAD123]") are never made. */
static bool findable_in_bpe(int64_t type) { return type != TYPE_UNUSED; }

static rs_status read_merges(rs_bpe *b, const rs_json *m, rs_error *err) {
    const rs_json *list = NULL;
    rs_text joined = {0};
    rs_status st = need_list(m, "tokenizer.ggml.merges", 0, &list, err);
    for (size_t i = 0; st == RS_OK && i < rs_json_size(list); i++) {
        size_t n = 0;
        const char *s = rs_json_string(rs_json_at(list, i), &n);
        const char *space = s && n > 1 ? memchr(s + 1, ' ', n - 1) : NULL;
        if (space) {
            size_t left = (size_t)(space - s);
            st = rs_bpe_add_merge(b, s, left, space + 1, n - left - 1, i, &joined, err);
        } else {
            st = rs_fail(err, RS_E_FORMAT, "found '%s', expected two pieces with a blank between",
                         s ? s : rs_json_kind_name(rs_json_at(list, i)));
        }
        if (st != RS_OK) rs_error_prefix(err, "tokenizer.ggml.merges: merge %zu", i);
    }
    rs_text_deinit(&joined);
    return st;
}

static rs_status read_gpt2(rs_tokenizer *t, const vocabulary *v, rs_error *err) {
    rs_status st = RS_OK;
    const pre_tokenizer *pre = NULL;
    RS_TRY(find_pre_tokenizer(v->metadata, &pre, err));
    RS_TRY(put_tokens(t, v, findable_in_bpe, err));
    RS_TRY(read_merges(&t->bpe, v->metadata, err));
    if (pre->nfc) RS_TRY(rs_steps_nfc(&t->steps, err));
    t->steps.normalizers = t->steps.count;
    for (size_t i = 0; pre->split[i]; i++)
        RS_TRY(rs_steps_split_regex(&t->steps, pre->split[i], strlen(pre->split[i]), RS_ISOLATED, false, err));
    RS_TRY(rs_steps_bytes(&t->steps, err));
    RS_TRY(add_special(t, v, false, err));
    RS_TRY(read_bos(t, v, -1, pre->adds_bos, err));
    t->bpe.ignore_merges = pre->ignore_merges;
    t->spelling = RS_SPELL_BYTES;
    snprintf(t->kind, sizeof t->kind, "byte-level BPE (%s)", pre->name);
out:
    return st;
}

/* ---- "llama" ---- */

static bool findable_in_sentencepiece(int64_t type) { return type == TYPE_NORMAL || type == TYPE_USER; }

typedef struct scored {
    double score;
    int32_t id;
} scored;

static int by_score(const void *left, const void *right) {
    const scored *a = left;
    const scored *b = right;
    return (a->score < b->score) - (a->score > b->score);
}

/* order[i] = how many different scores are higher than that of scored[i].id. */
rs_status rs_bpe_order_by_score(rs_bpe *b, const double *score, const bool *joinable, rs_error *err) {
    size_t count = 0;
    scored *list = NULL;
    rs_status st = RS_NEW(&b->order, b->pieces.count, err);
    if (st == RS_OK) st = RS_NEW(&list, b->pieces.count, err);
    for (size_t i = 0; st == RS_OK && i < b->pieces.count; i++) {
        b->order[i] = RS_NEVER;
        if (joinable[i] && isnan(score[i])) {
            st = rs_fail(err, RS_E_FORMAT, "the score of token %zu is not a number", i);
        } else if (joinable[i]) {
            list[count++] = (scored){score[i], (int32_t)i};
        }
    }
    if (st == RS_OK && count > 1) qsort(list, count, sizeof *list, by_score);
    uint32_t rank = 0;
    for (size_t i = 0; st == RS_OK && i < count; i++) {
        rank += i > 0 && list[i].score < list[i - 1].score;
        b->order[list[i].id] = rank;
    }
    rs_free(list);
    return st;
}

static rs_status read_scores(rs_bpe *b, const vocabulary *v, rs_error *err) {
    const rs_json *list = NULL;
    double *score = NULL;
    bool *joinable = NULL;
    rs_status st = RS_OK;
    RS_TRY(need_list(v->metadata, "tokenizer.ggml.scores", v->count, &list, err));
    RS_TRY(RS_NEW(&score, v->count, err));
    RS_TRY(RS_NEW(&joinable, v->count, err));
    for (size_t i = 0; i < v->count; i++) {
        score[i] = rs_json_real(rs_json_at(list, i), (double)NAN);
        joinable[i] = findable_in_sentencepiece(type_of(v, i));
    }
    st = rs_bpe_order_by_score(b, score, joinable, err);
out:
    rs_free(score);
    rs_free(joinable);
    return st;
}

static rs_status read_byte_pieces(rs_bpe *b, const vocabulary *v, rs_error *err) {
    for (size_t i = 0; i < v->count; i++) {
        size_t n = 0;
        const char *s = rs_json_string(rs_json_at(v->tokens, i), &n);
        int byte = type_of(v, i) == TYPE_BYTE ? rs_byte_piece(s, n) : 0;
        if (byte < 0)
            return rs_fail(err, RS_E_FORMAT, "token %zu: found '%s' as a byte, expected <0x00> to <0xFF>", i, s);
        if (type_of(v, i) == TYPE_BYTE) b->byte_id[byte] = (int32_t)i;
    }
    for (int i = 0; i < 256; i++) {
        if (b->byte_id[i] < 0) {
            return rs_fail(err, RS_E_UNSUPPORTED,
                           "the vocabulary has no token <0x%02X>; SentencePiece without byte pieces is not supported",
                           (unsigned)i);
        }
    }
    b->byte_fallback = true;
    return RS_OK;
}

/* As SentencePiece does it: spaces become U+2581, one goes in front of the text (not of every piece between tokens),
 * and user-defined tokens are found in what that gives. */
static rs_status read_llama(rs_tokenizer *t, const vocabulary *v, rs_error *err) {
    rs_status st = RS_OK;
    if (rs_json_bool(rs_json_get(v->metadata, "tokenizer.ggml.remove_extra_whitespaces"), false))
        return rs_fail(err, RS_E_UNSUPPORTED, "tokenizer.ggml.remove_extra_whitespaces is not supported");
    RS_TRY(put_tokens(t, v, findable_in_sentencepiece, err));
    RS_TRY(read_scores(&t->bpe, v, err));
    RS_TRY(read_byte_pieces(&t->bpe, v, err));
    RS_TRY(rs_steps_replace(&t->steps, " ", 1, RS_METASPACE, sizeof RS_METASPACE - 1, err));
    t->steps.normalizers = t->steps.count;
    RS_TRY(add_special(t, v, true, err));
    if (rs_json_bool(rs_json_get(v->metadata, "tokenizer.ggml.add_space_prefix"), true))
        RS_TRY(rs_steps_prefix(&t->steps, RS_METASPACE, sizeof RS_METASPACE - 1, false, true, err));
    t->steps.normalizers = t->steps.count;
    RS_TRY(read_id(v, "tokenizer.ggml.unknown_token_id", 0, &t->bpe.unknown, err));
    RS_TRY(read_bos(t, v, 1, true, err));
    t->spelling = RS_SPELL_METASPACE;
    snprintf(t->kind, sizeof t->kind, "SentencePiece BPE (GGUF llama)");
out:
    return st;
}

rs_status rs_tokenizer_read_gguf(rs_tokenizer *t, const rs_json *metadata, const char *file, rs_error *err) {
    const char *model = rs_json_string(rs_json_get(metadata, "tokenizer.ggml.model"), NULL);
    vocabulary v;
    rs_status st = RS_OK;
    if (!model) {
        st = rs_fail(err, RS_E_UNSUPPORTED,
                     "tokenizer.ggml.model: missing; the file carries no tokenizer (give one with --tokenizer)");
    } else if (strcmp(model, "gpt2") != 0 && strcmp(model, "llama") != 0) {
        st = rs_fail(err, RS_E_UNSUPPORTED, "tokenizer.ggml.model '%s' is not supported, only gpt2 and llama are",
                     model);
    } else {
        st = open_vocabulary(&v, metadata, err);
        if (st == RS_OK) st = strcmp(model, "gpt2") == 0 ? read_gpt2(t, &v, err) : read_llama(t, &v, err);
    }
    if (st != RS_OK) rs_error_prefix(err, "%s", file);
    return st;
}
