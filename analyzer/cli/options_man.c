/* ropescope(1) in mdoc, from the tables. `mandoc -Tlint` has nothing to say about it. */
#include "analyzer/cli/options_table.h"

#include <string.h>

static const char page_date[] = "November 23, 2026";

/* ---- roff ---- */

/* mdoc wants a new line where a sentence begins: a full stop, a blank and a capital. */
static bool ends_sentence(const char *s) { return strchr(".!?", *s) && s[1] == ' ' && s[2] >= 'A' && s[2] <= 'Z'; }

/* Running text: backslashes are escaped, a newline begins a paragraph, and no line begins with a control character. */
static void text(rs_text *out, const char *s) {
    bool line_start = true;
    for (; *s; s++) {
        if (*s == '\n') {
            while (s[1] == '\n') s++;
            if (s[1]) rs_text_append(out, "\n.Pp\n");
            line_start = true;
            continue;
        }
        if (line_start && (*s == '.' || *s == '\'')) rs_text_append(out, "\\&");
        if (*s == '\\') rs_text_append(out, "\\e");
        else rs_text_append_n(out, s, 1);
        line_start = ends_sentence(s);
        if (line_start) {
            rs_text_append(out, "\n");
            s++;
        }
    }
    rs_text_append(out, "\n");
}

/* One argument of a macro: quoted, so that blanks and names of macros in it mean nothing. */
static void argument(rs_text *out, const char *s) {
    rs_text_append(out, "\"\\&");
    for (; *s; s++) {
        if (*s == '\\') rs_text_append(out, "\\e");
        else if (*s == '"') rs_text_append(out, "\"\"");
        else rs_text_append_n(out, s, 1);
    }
    rs_text_append(out, "\"");
}

static void item(rs_text *out, char letter, const char *name, const char *value, const char *help) {
    rs_text_append(out, ".It");
    if (letter) rs_text_printf(out, " Fl %c ,", letter);
    rs_text_printf(out, " Fl -%s", name);
    if (value) {
        rs_text_append(out, " Ns = Ns Ar ");
        argument(out, value);
    }
    rs_text_append(out, "\n");
    text(out, help);
}

/* ---- sections ---- */

static void commands(rs_text *out) {
    rs_text_append(out, ".Sh COMMANDS\n");
    for (const rs_command *const *p = rs_commands; *p; p++) {
        const rs_command *c = *p;
        rs_text_printf(out, ".Ss %s\n.Nm\n.Cm %s\n.Ar ", c->name, c->name);
        argument(out, *c->synopsis ? c->synopsis : "[options]");
        rs_text_append(out, "\n.Pp\n");
        text(out, c->description && *c->description ? c->description : c->summary);
        if (!c->options->name) continue;
        rs_text_append(out, ".Bl -tag -width Ds\n");
        for (const rs_option *o = c->options; o->name; o++) item(out, o->letter, o->name, o->value, o->help);
        rs_text_append(out, ".El\n");
    }
}

typedef struct status_row {
    int exit_code;
    const char *text;
} status_row;

#define STATUS_ROW(name, value, exit_code, words) {exit_code, words},
static const status_row status_rows[] = {RS_STATUS_MAP(STATUS_ROW)};
#undef STATUS_ROW

static void exit_status(rs_text *out) {
    const size_t n = sizeof status_rows / sizeof *status_rows;
    rs_text_append(out, ".Sh EXIT STATUS\n.Bl -tag -width Ds\n");
    for (size_t i = 0; i < n; i++) {
        bool known = false;
        for (size_t j = 0; j < i; j++) known |= status_rows[j].exit_code == status_rows[i].exit_code;
        if (known) continue;
        rs_text_printf(out, ".It %d\n%s", status_rows[i].exit_code, status_rows[i].text);
        for (size_t j = i + 1; j < n; j++) {
            if (status_rows[j].exit_code == status_rows[i].exit_code) rs_text_printf(out, "; %s", status_rows[j].text);
        }
        rs_text_append(out, "\n");
    }
    rs_text_append(out, ".El\n");
}

static void examples(rs_text *out) {
    rs_text_append(out, ".Sh EXAMPLES\n");
    for (const rs_command *const *c = rs_commands; *c; c++) {
        for (const char *s = (*c)->examples; s && *s;) {
            size_t n = strcspn(s, "\n");
            rs_text_append(out, ".Dl ");
            for (size_t i = 0; i < n; i++) {
                if (s[i] == '\\') rs_text_append(out, "\\e");
                else if (s[i] == '"') rs_text_append(out, "\\(dq");
                else rs_text_append_n(out, s + i, 1);
            }
            rs_text_append(out, "\n");
            s += n + (s[n] == '\n');
        }
    }
}

void rs_options_man(rs_text *out) {
    const int words = (int)strlen(rs_program_summary) - 1; /* without the full stop: a line of NAME is no sentence */
    rs_text_printf(out, ".Dd %s\n.Dt ROPESCOPE 1\n.Os\n.Sh NAME\n.Nm ropescope\n.Nd %.*s\n", page_date, words,
                   rs_program_summary);
    rs_text_append(out, ".Sh DESCRIPTION\n.Nm\n");
    text(out, rs_program_summary);
    rs_text_append(out, ".Pp\nResults go to standard output, progress and messages to standard error.\n"
                        "Nothing that exists is overwritten unless\n.Fl -force\nis given.\n.Bl -tag -width Ds\n");
    for (const rs_global_option *g = rs_global_options; g->name; g++) item(out, g->letter, g->name, g->value, g->help);
    rs_text_append(out, ".El\n");
    commands(out);
    exit_status(out);
    examples(out);
}
