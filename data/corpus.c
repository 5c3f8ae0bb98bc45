/* data/corpus.c: see corpus.h. */
#include "data/corpus.h"

#include "analyzer/base/alloc.h"
#include "analyzer/base/clock.h"
#include "analyzer/base/file.h"

#include <string.h>

enum { MAX_TEXT = 1 << 30, LEAST_CONTEXT = 2 };

/* ---- What both ways end with ---- */

static rs_status add_file(rs_corpus *c, const char *path, int64_t bytes, rs_error *err) {
    rs_status st = rs_resize((void **)&c->files, c->file_count, c->file_count + 1, sizeof *c->files, err);
    if (st != RS_OK) return st;
    rs_corpus_file *f = &c->files[c->file_count];
    st = rs_strdup(&f->path, path, err);
    f->bytes = bytes;
    c->file_count += st == RS_OK;
    return st;
}

rs_status rs_corpus_seal(rs_corpus *c, rs_ids *ids, rs_error *err) {
    unsigned char *bytes = NULL;
    rs_status st = RS_NEW(&bytes, ids->count * sizeof *ids->id, err);
    if (st != RS_OK) return st;
    for (size_t i = 0; i < ids->count; i++) {
        for (int b = 0; b < 4; b++) bytes[4 * i + (size_t)b] = (unsigned char)((uint32_t)ids->id[i] >> (8 * b));
    }
    rs_sha256(bytes, ids->count * sizeof *ids->id, c->sha256);
    rs_free(bytes);
    c->ids = ids->id;
    *ids = (rs_ids){0};
    return RS_OK;
}

void rs_corpus_deinit(rs_corpus *c) {
    if (!c) return;
    for (size_t i = 0; i < c->file_count; i++) rs_free(c->files[i].path);
    rs_free(c->files);
    rs_free(c->ids);
    *c = (rs_corpus){0};
}

/* ---- Texts ---- */

rs_status rs_corpus_bos(const rs_tokenizer *t, rs_bos_policy policy, bool *bos, rs_error *err) {
    *bos = policy == RS_BOS_YES || (policy == RS_BOS_AUTO && t && rs_tokenizer_adds_bos(t));
    if (*bos && (!t || rs_tokenizer_bos(t) < 0))
        return rs_fail(err, RS_E_USAGE, "--bos yes: the tokenizer (%s) has no BOS token",
                       t ? rs_tokenizer_kind(t) : "there is none");
    return RS_OK;
}

/* A text that was already made into a prompt begins with the BOS written out; with ours it would stand there twice, and
 * position 0 is the attention sink. */
static rs_status refuse_double_bos(const rs_tokenizer *t, const char *text, size_t n, const rs_ids *ids,
                                   rs_error *err) {
    size_t bytes = 0;
    const char *bos = rs_tokenizer_piece(t, rs_tokenizer_bos(t), &bytes);
    bool written = bos && bytes > 0 && n >= bytes && memcmp(text, bos, bytes) == 0;
    if (written || (ids->count > 0 && ids->id[0] == rs_tokenizer_bos(t)))
        return rs_fail(err, RS_E_FORMAT,
                       "the text begins with the BOS token '%.*s', and every window gets one: it would be doubled; "
                       "remove it or use --bos no",
                       (int)bytes, bos ? bos : "");
    return RS_OK;
}

/* The tokens of one file, and as many whole windows of it as are still wanted. */
static rs_status take_windows(const rs_ids *tokens, int64_t per_window, int64_t wanted, int32_t bos, rs_corpus *c,
                              rs_corpus_file *f, rs_ids *ids, rs_error *err) {
    rs_status st = RS_OK;
    f->tokens = (int64_t)tokens->count;
    f->windows = f->tokens / per_window;
    if (wanted >= 0 && f->windows > wanted) f->windows = wanted;
    f->left_over = f->tokens - f->windows * per_window;
    c->sequences += f->windows;
    for (int64_t i = 0; i < f->windows * per_window && st == RS_OK; i++) {
        if (bos >= 0 && i % per_window == 0) st = rs_ids_push(ids, bos, err);
        if (st == RS_OK) st = rs_ids_push(ids, tokens->id[i], err);
    }
    return st;
}

static rs_status add_text(const rs_tokenizer *t, const char *path, int64_t max_sequences, rs_corpus *c, rs_ids *ids,
                          rs_error *err) {
    char *text = NULL;
    size_t n = 0;
    rs_ids tokens = {0};
    const int64_t wanted = max_sequences > 0 ? max_sequences - c->sequences : -1;
    rs_status st = RS_OK;
    RS_TRY(rs_file_read_all(path, MAX_TEXT, &text, &n, err));
    RS_TRY(add_file(c, path, (int64_t)n, err));
    st = rs_tokenizer_encode(t, text, n, false, &tokens, err);
    if (st == RS_OK && c->bos) st = refuse_double_bos(t, text, n, &tokens, err);
    if (st != RS_OK) {
        rs_error_prefix(err, "%s", path);
        goto out;
    }
    RS_TRY(take_windows(&tokens, c->context - c->bos, wanted, c->bos ? rs_tokenizer_bos(t) : -1, c,
                        &c->files[c->file_count - 1], ids, err));
out:
    rs_free(text);
    rs_ids_deinit(&tokens);
    return st;
}

static rs_status refuse_no_window(const rs_corpus *c, rs_error *err) {
    const rs_corpus_file *longest = c->files;
    if (c->file_count == 0) return rs_fail(err, RS_E_USAGE, "no text was given");
    for (size_t i = 1; i < c->file_count; i++) {
        if (c->files[i].tokens > longest->tokens) longest = &c->files[i];
    }
    return rs_fail(
        err, RS_E_FORMAT,
        "%s: no text fills one window: found %lld tokens here, the most of %zu files, expected at least %lld "
        "(--context %lld%s); give more text or a smaller --context",
        longest->path, (long long)longest->tokens, c->file_count, (long long)(c->context - c->bos),
        (long long)c->context, c->bos ? " with BOS" : "");
}

rs_status rs_corpus_from_text(const rs_tokenizer *t, const char *const *paths, size_t n, int64_t context,
                              int64_t max_sequences, rs_bos_policy bos, rs_corpus *out, rs_error *err) {
    rs_ids ids = {0};
    rs_status st = RS_OK;
    *out = (rs_corpus){.context = context};
    if (context < LEAST_CONTEXT)
        return rs_fail(err, RS_E_USAGE, "--context %lld: expected at least %d", (long long)context, LEAST_CONTEXT);
    RS_TRY(rs_corpus_bos(t, bos, &out->bos, err));
    for (size_t i = 0; i < n && (max_sequences <= 0 || out->sequences < max_sequences); i++)
        RS_TRY(add_text(t, paths[i], max_sequences, out, &ids, err));
    if (out->sequences == 0) {
        st = refuse_no_window(out, err);
        goto out;
    }
    RS_TRY(rs_corpus_seal(out, &ids, err));
out:
    rs_ids_deinit(&ids);
    if (st != RS_OK) rs_corpus_deinit(out);
    return st;
}

/* ---- Files of ids ---- */

typedef struct id_lines {
    const char *path, *at, *end;
    int64_t line, vocab;
    rs_error *err;
} id_lines;

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

static bool only_blanks(const char *at, const char *end) {
    while (at < end && (is_blank(*at) || *at == '\n')) at++;
    return at == end;
}

/* One run of visible characters as an id. What is not a number is quoted, cut short and without control characters. */
static rs_status read_id(id_lines *l, int32_t *id) {
    const char *word = l->at;
    int64_t value = 0;
    bool digits = true;
    while (l->at < l->end && !is_blank(*l->at) && *l->at != '\n') {
        digits = digits && *l->at >= '0' && *l->at <= '9';
        if (digits && value <= INT32_MAX) value = value * 10 + (*l->at - '0'); /* stays put once it is out of range */
        l->at++;
    }
    int n = l->at - word < 40 ? (int)(l->at - word) : 40;
    bool negative = n > 1 && word[0] == '-' && word[1] >= '0' && word[1] <= '9';
    if (!digits && !negative) {
        char quoted[41] = "";
        for (int i = 0; i < n; i++) quoted[i] = word[i] >= ' ' && word[i] <= '~' ? word[i] : '?';
        return rs_fail(l->err, RS_E_FORMAT, "%s: line %lld: found '%s', expected a token id", l->path,
                       (long long)l->line, quoted);
    }
    if (negative || value >= l->vocab || value > INT32_MAX)
        return rs_fail(l->err, RS_E_FORMAT, "%s: line %lld: found id %.*s, expected 0..%lld", l->path,
                       (long long)l->line, n, word, (long long)(l->vocab - 1));
    *id = (int32_t)value;
    return RS_OK;
}

static rs_status read_line(id_lines *l, rs_ids *ids) {
    rs_status st = RS_OK;
    int32_t id = 0;
    while (l->at < l->end && *l->at != '\n' && st == RS_OK) {
        if (is_blank(*l->at)) {
            l->at++;
            continue;
        }
        st = read_id(l, &id);
        if (st == RS_OK) st = rs_ids_push(ids, id, l->err);
    }
    l->at += l->at < l->end && st == RS_OK;
    return st;
}

static rs_status check_length(const id_lines *l, const rs_corpus *c, int64_t found) {
    if (found < LEAST_CONTEXT)
        return rs_fail(l->err, RS_E_FORMAT, "%s: line %lld: found %lld ids, expected at least %d", l->path,
                       (long long)l->line, (long long)found, LEAST_CONTEXT);
    if (found != c->context)
        return rs_fail(l->err, RS_E_FORMAT, "%s: line %lld: found %lld ids, expected %lld as %s", l->path,
                       (long long)l->line, (long long)found, (long long)c->context,
                       l->line == 1 ? "--context says" : "in line 1");
    return RS_OK;
}

/* All lines are read and checked; those behind max_sequences are counted and not kept. */
static rs_status read_lines(id_lines *l, int64_t max_sequences, rs_corpus *c, rs_ids *ids) {
    rs_status st = RS_OK;
    rs_corpus_file *f = &c->files[0];
    for (l->line = 1; !only_blanks(l->at, l->end) && st == RS_OK; l->line++) {
        size_t before = ids->count;
        st = read_line(l, ids);
        int64_t found = (int64_t)(ids->count - before);
        if (st == RS_OK && c->context <= 0) c->context = found;
        if (st == RS_OK) st = check_length(l, c, found);
        if (st != RS_OK) return st;
        f->tokens += found;
        if (max_sequences > 0 && c->sequences >= max_sequences) ids->count = before;
        else c->sequences++;
        if (rs_cancel_requested()) return rs_fail(l->err, RS_E_CANCELLED, "cancelled while reading %s", l->path);
    }
    f->windows = c->sequences;
    f->left_over = f->tokens - f->windows * c->context;
    return c->sequences ? RS_OK : rs_fail(l->err, RS_E_FORMAT, "%s: holds no token ids", l->path);
}

rs_status rs_corpus_from_ids(const char *path, int64_t vocab, int64_t context, int64_t max_sequences, rs_corpus *out,
                             rs_error *err) {
    char *text = NULL;
    size_t n = 0;
    rs_ids ids = {0};
    rs_status st = RS_OK;
    *out = (rs_corpus){.context = context};
    RS_TRY(rs_file_read_all(path, MAX_TEXT, &text, &n, err));
    RS_TRY(add_file(out, path, (int64_t)n, err));
    id_lines lines = {.path = path, .at = text, .end = text + n, .vocab = vocab, .err = err};
    RS_TRY(read_lines(&lines, max_sequences, out, &ids));
    RS_TRY(rs_corpus_seal(out, &ids, err));
out:
    rs_free(text);
    rs_ids_deinit(&ids);
    if (st != RS_OK) rs_corpus_deinit(out);
    return st;
}
