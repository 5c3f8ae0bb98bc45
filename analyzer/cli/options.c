/* The parser: getopt_long's rules over a command's table (short letters may be joined, "--" ends the options, options
 * and arguments may be mixed), without abbreviations, since a name that is short today may be ambiguous tomorrow. */
#include "analyzer/cli/options.h"

#include "analyzer/cli/options_table.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_OPTIONS = 64 }; /* of one command */

typedef struct parse {
    const rs_command *command;
    char **argv;
    int argc, at;  /* at: the word that is read next */
    char *options; /* the caller's struct */
    bool seen[MAX_OPTIONS];
    bool *help;
} parse;

/* ---- the table ---- */

const rs_option *rs_option_find(const rs_command *c, const char *name, size_t n) {
    for (const rs_option *o = c->options; o->name; o++) {
        if (strlen(o->name) == n && memcmp(o->name, name, n) == 0) return o;
    }
    return NULL;
}

static const rs_option *find_letter(const rs_command *c, char letter) {
    for (const rs_option *o = c->options; o->name; o++) {
        if (o->letter == letter && letter) return o;
    }
    return NULL;
}

const char *rs_choice_next(const char *choices, size_t *n) {
    *n = strcspn(choices, "|");
    return choices[*n] ? choices + *n + 1 : NULL;
}

/* ---- suggestions ---- */

/* Fewest insertions, deletions, replacements and swaps of neighbours that turn a into b (optimal string alignment
 * distance: Boytsov 2011, "Indexing methods for approximate dictionary searching", section 2.1). Words of up to 31
 * bytes; longer: 99. */
static int edit_distance(const char *a, size_t m, const char *b, size_t n) {
    enum { MOST = 32 };
    int d[MOST][MOST];
    if (m >= MOST || n >= MOST) return 99;
    for (size_t i = 0; i <= m; i++) {
        for (size_t j = 0; j <= n; j++) {
            if (i == 0 || j == 0) {
                d[i][j] = (int)(i + j);
                continue;
            }
            int best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            if (d[i - 1][j] + 1 < best) best = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < best) best = d[i][j - 1] + 1;
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && d[i - 2][j - 2] + 1 < best) best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    }
    return d[m][n];
}

/* The option most like the word: one that begins with it, or one few typing mistakes away. NULL when none is near. */
static const char *nearest(const rs_command *c, const char *word, size_t n) {
    const char *best = NULL;
    int least = n <= 3 ? 2 : n <= 6 ? 3 : 4; /* a distance below this is near */
    for (const rs_option *o = c->options; o->name; o++) {
        int d = edit_distance(word, n, o->name, strlen(o->name));
        if (n >= 2 && strncmp(o->name, word, n) == 0) d = 0;
        if (d >= least) continue;
        least = d;
        best = o->name;
    }
    return best;
}

static rs_status unknown(const parse *p, const char *dashes, const char *word, size_t n, rs_error *err) {
    const char *like = strcmp(dashes, "--") == 0 ? nearest(p->command, word, n) : NULL;
    return rs_fail(err, RS_E_USAGE, "unknown option %s%.*s%s%s%s; `ropescope %s --help` lists the options", dashes,
                   (int)n, word, like ? "; did you mean --" : "", like ? like : "", like ? "?" : "", p->command->name);
}

/* ---- values ---- */

static void *field(const parse *p, const rs_option *o) { return p->options + o->offset; }

static bool has_range(const rs_option *o) { return o->least < o->most; }

static rs_status bad_number(const rs_option *o, const char *text, const char *kind, rs_error *err) {
    if (!has_range(o)) return rs_fail(err, RS_E_USAGE, "--%s %s: expected %s", o->name, text, kind);
    return rs_fail(err, RS_E_USAGE, "--%s %s: expected %s from %.15g to %.15g", o->name, text, kind, o->least, o->most);
}

static bool in_range(const rs_option *o, double x) { return !has_range(o) || (x >= o->least && x <= o->most); }

static rs_status take_int(const parse *p, const rs_option *o, const char *text, rs_error *err) {
    char *end = NULL;
    errno = 0;
    long long x = strtoll(text, &end, 10);
    bool whole = end != text && *end == '\0' && errno == 0 && !strchr(" \t\n\v\f\r", *text);
    if (!whole || !in_range(o, (double)x)) return bad_number(o, text, "a whole number", err);
    *(int64_t *)field(p, o) = x;
    return RS_OK;
}

static rs_status take_real(const parse *p, const rs_option *o, const char *text, rs_error *err) {
    char *end = NULL;
    double x = strtod(text, &end);
    bool whole = end != text && *end == '\0' && isfinite(x) && !strchr(" \t\n\v\f\r", *text);
    if (!whole || !in_range(o, x)) return bad_number(o, text, "a number", err);
    *(double *)field(p, o) = x;
    return RS_OK;
}

static rs_status take_choice(const parse *p, const rs_option *o, const char *text, rs_error *err) {
    int index = 0;
    size_t n;
    for (const char *c = o->value, *next; c; c = next, index++) {
        next = rs_choice_next(c, &n);
        if (strlen(text) == n && memcmp(c, text, n) == 0) {
            *(int *)field(p, o) = index;
            return RS_OK;
        }
    }
    return rs_fail(err, RS_E_USAGE, "--%s %s: expected %s", o->name, text, o->value);
}

static rs_status append(rs_strings *list, const char *text, const char *what, rs_error *err) {
    const size_t room = sizeof list->item / sizeof *list->item;
    if (list->count == room) return rs_fail(err, RS_E_USAGE, "%s: more than %zu are given", what, room);
    list->item[list->count++] = text;
    return RS_OK;
}

static rs_status take_string(const parse *p, const rs_option *o, const char *text, rs_error *err) {
    if (o->repeatable) return append(field(p, o), text, o->name, err);
    *(const char **)field(p, o) = text;
    return RS_OK;
}

static rs_status store_value(parse *p, const rs_option *o, const char *text, rs_error *err) {
    size_t index = (size_t)(o - p->command->options);
    if (index >= MAX_OPTIONS)
        return rs_fail(err, RS_E_INTERNAL, "command %s has more than %d options", p->command->name, MAX_OPTIONS);
    bool *seen = &p->seen[index];
    if (*seen && !o->repeatable) return rs_fail(err, RS_E_USAGE, "--%s is given twice", o->name);
    *seen = true;
    if (*text == '\0') return rs_fail(err, RS_E_USAGE, "--%s: its value is empty; expected %s", o->name, o->value);
    switch (o->kind) {
    case RS_OPT_INT: return take_int(p, o, text, err);
    case RS_OPT_REAL: return take_real(p, o, text, err);
    case RS_OPT_CHOICE: return take_choice(p, o, text, err);
    default: return take_string(p, o, text, err);
    }
}

/* ---- words ---- */

/* "-o --force": a forgotten value, not a file called --force. "--output=--force" says it when it is meant. */
static bool is_option(const rs_command *c, const char *word) {
    if (word[0] != '-' || word[1] == '\0') return false;
    if (word[1] != '-') return find_letter(c, word[1]) != NULL && word[2] == '\0';
    return rs_option_find(c, word + 2, strcspn(word + 2, "=")) != NULL || strcmp(word, "--help") == 0;
}

static rs_status value_from_next(parse *p, const rs_option *o, rs_error *err) {
    if (p->at >= p->argc) return rs_fail(err, RS_E_USAGE, "--%s: its value is missing; expected %s", o->name, o->value);
    if (is_option(p->command, p->argv[p->at])) {
        return rs_fail(err, RS_E_USAGE, "--%s: its value is missing; expected %s, found the option %s", o->name,
                       o->value, p->argv[p->at]);
    }
    return store_value(p, o, p->argv[p->at++], err);
}

static rs_status take_long(parse *p, const char *word, rs_error *err) {
    size_t n = strcspn(word, "=");
    if (n == 4 && strcmp(word, "help") == 0) {
        *p->help = true;
        return RS_OK;
    }
    const rs_option *o = rs_option_find(p->command, word, n);
    if (!o) return unknown(p, "--", word, n, err);
    if (o->kind != RS_OPT_FLAG) return word[n] ? store_value(p, o, word + n + 1, err) : value_from_next(p, o, err);
    if (word[n]) return rs_fail(err, RS_E_USAGE, "--%s takes no value, found '%s'", o->name, word + n + 1);
    *(bool *)field(p, o) = true;
    return RS_OK;
}

/* "-qo run.h5", "-orun.h5" */
static rs_status take_letters(parse *p, const char *word, rs_error *err) {
    for (; *word; word++) {
        const rs_option *o = find_letter(p->command, *word);
        if (!o && *word == 'h') {
            *p->help = true;
            return RS_OK;
        }
        if (!o) return unknown(p, "-", word, 1, err);
        if (o->kind != RS_OPT_FLAG) return word[1] ? store_value(p, o, word + 1, err) : value_from_next(p, o, err);
        *(bool *)field(p, o) = true;
    }
    return RS_OK;
}

static rs_status check_count(const rs_command *c, const rs_strings *arguments, rs_error *err) {
    int n = (int)arguments->count;
    bool many = c->most_arguments >= 0 && n > c->most_arguments;
    if (n >= c->least_arguments && !many) return RS_OK;
    if (many && c->most_arguments == 0) {
        return rs_fail(err, RS_E_USAGE, "'%s': no argument is expected; usage: ropescope %s %s", arguments->item[0],
                       c->name, c->synopsis);
    }
    return rs_fail(err, RS_E_USAGE, "%d argument%s given, expected at %s %d; usage: ropescope %s %s", n,
                   n == 1 ? " is" : "s are", many ? "most" : "least", many ? c->most_arguments : c->least_arguments,
                   c->name, c->synopsis);
}

rs_status rs_options_parse(const rs_command *c, int argc, char **argv, void *options, bool *help, rs_error *err) {
    rs_status st = RS_OK;
    rs_strings *arguments = options; /* stands first, see options.h */
    parse p = {.command = c, .argv = argv, .argc = argc, .options = options, .help = help};
    bool only_arguments = false;
    *help = false;
    while (p.at < argc) {
        const char *word = argv[p.at++];
        if (!only_arguments && strcmp(word, "--") == 0) only_arguments = true;
        else if (only_arguments || word[0] != '-' || word[1] == '\0') RS_TRY(append(arguments, word, "arguments", err));
        else if (word[1] == '-') RS_TRY(take_long(&p, word + 2, err));
        else RS_TRY(take_letters(&p, word + 1, err));
        if (*help) return RS_OK;
    }
    st = check_count(c, arguments, err);
out:
    return st;
}
