/* --help of the program and of every command, from the tables. */
#include "analyzer/cli/options_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 80, NARROWEST = 40, WIDEST = 160, TEXT_COLUMN_MOST = 30 };

const char rs_program_summary[] = "looks inside trained transformers and says what each rotary frequency is used for.";

const rs_global_option rs_global_options[] = {
    {"help", 'h', NULL, "print this overview and stop"},
    {"version", 'V', NULL, "print the version and stop"},
    {"man", 0, NULL, "print the manual page (mdoc) and stop"},
    {"completion", 0, "bash|zsh|fish", "print a completion script for that shell and stop"},
    {0},
};

/* ---- wrapping ---- */

static size_t line_width(void) {
    const char *columns = getenv("COLUMNS");
    long n = columns ? strtol(columns, NULL, 10) : 0;
    return n < NARROWEST ? WIDTH : n > WIDEST ? WIDEST : (size_t)n;
}

/* Characters, not bytes. */
static size_t text_width(const char *s, size_t n) {
    size_t width = 0;
    for (size_t i = 0; i < n; i++) width += ((unsigned char)s[i] & 0xC0) != 0x80;
    return width;
}

static void spaces(rs_text *out, size_t n) {
    for (size_t i = 0; i < n; i++) rs_text_append(out, " ");
}

/* Words of s from `column` on, following lines indented by `indent`; a newline in s begins a new line. Ends with a
 * newline. */
static void wrap(rs_text *out, const char *s, size_t column, size_t indent) {
    const size_t width = line_width();
    bool first = true;
    while (*s) {
        size_t n = strcspn(s, " \n"), w = text_width(s, n);
        if (!first && column + 1 + w > width) {
            rs_text_append(out, "\n");
            spaces(out, indent);
            column = indent;
            first = true;
        }
        if (!first && n > 0) rs_text_append(out, " ");
        column += w + (first || n == 0 ? 0 : 1);
        rs_text_append_n(out, s, n);
        first = first && n == 0;
        s += n;
        if (*s == '\n') {
            rs_text_append(out, "\n");
            if (s[1]) spaces(out, indent);
            column = indent;
            first = true;
        }
        s += *s ? 1 : 0;
    }
    rs_text_append(out, "\n");
}

/* One entry of a two-column list; a left side that is too long has a line of its own. */
static void entry(rs_text *out, const char *left, const char *right, size_t column) {
    size_t at = 2 + text_width(left, strlen(left));
    rs_text_printf(out, "  %s", left);
    if (at + 2 > column) {
        rs_text_append(out, "\n");
        at = 0;
    }
    spaces(out, column - at);
    wrap(out, right, column, column);
}

static size_t column_for(size_t widest) { return widest + 4 < TEXT_COLUMN_MOST ? widest + 4 : TEXT_COLUMN_MOST; }

/* ---- lists ---- */

static void option_left(char *out, size_t room, char letter, const char *name, const char *value) {
    char short_form[8] = "    ";
    if (letter) snprintf(short_form, sizeof short_form, "-%c, ", letter);
    snprintf(out, room, "%s--%s%s%s", short_form, name, value ? "=" : "", value ? value : "");
}

static size_t max_size(size_t a, size_t b) { return a > b ? a : b; }

static void list_options(const rs_command *c, rs_text *out) {
    char left[128];
    size_t widest = strlen("-h, --help");
    for (const rs_option *o = c->options; o->name; o++) {
        option_left(left, sizeof left, o->letter, o->name, o->value);
        if (text_width(left, strlen(left)) + 4 <= TEXT_COLUMN_MOST)
            widest = max_size(widest, text_width(left, strlen(left)));
    }
    rs_text_append(out, "\nOptions:\n");
    for (const rs_option *o = c->options; o->name; o++) {
        option_left(left, sizeof left, o->letter, o->name, o->value);
        entry(out, left, o->help, column_for(widest));
    }
    entry(out, "-h, --help", "print this help and stop", column_for(widest));
}

/* Examples are commands: they are shown as they are, for copying. */
static void list_examples(const char *examples, rs_text *out) {
    rs_text_append(out, "\nExamples:\n");
    while (*examples) {
        size_t n = strcspn(examples, "\n");
        rs_text_printf(out, "  %.*s\n", (int)n, examples);
        examples += n + (examples[n] == '\n');
    }
}

void rs_options_help(const rs_command *c, rs_text *out) {
    char usage[64];
    snprintf(usage, sizeof usage, "Usage: ropescope %.32s ", c->name);
    rs_text_append(out, usage);
    wrap(out, c->synopsis, strlen(usage), strlen(usage));
    rs_text_append(out, "\n");
    wrap(out, c->description && *c->description ? c->description : c->summary, 0, 0);
    list_options(c, out);
    if (c->examples) list_examples(c->examples, out);
}

void rs_options_overview(rs_text *out) {
    char left[64];
    size_t widest = 0;
    rs_text_append(out, "Usage: ropescope COMMAND [ARGUMENT | OPTION]...\n\n");
    rs_text_append(out, "ropescope ");
    wrap(out, rs_program_summary, strlen("ropescope "), 0);
    rs_text_append(out, "\nCommands:\n");
    for (const rs_command *const *c = rs_commands; *c; c++) widest = max_size(widest, strlen((*c)->name));
    for (const rs_command *const *c = rs_commands; *c; c++) entry(out, (*c)->name, (*c)->summary, column_for(widest));
    rs_text_append(out, "\nOptions:\n");
    for (const rs_global_option *g = rs_global_options; g->name; g++) {
        option_left(left, sizeof left, g->letter, g->name, g->value);
        entry(out, left, g->help, TEXT_COLUMN_MOST);
    }
    rs_text_append(out, "\n`ropescope COMMAND --help` describes a command.\n");
}
