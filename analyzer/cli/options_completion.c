/* Completion scripts for bash, zsh and fish, from the tables. */
#include "analyzer/cli/options_table.h"

#include <string.h>

/* s with every byte of `special` preceded by `escape`. */
static void escaped(rs_text *out, const char *s, const char *special, const char *escape) {
    for (; *s; s++) {
        if (strchr(special, *s)) rs_text_append(out, escape);
        rs_text_append_n(out, s, 1);
    }
}

/* s for use between single quotes: ' ends them, gives a quote, and begins them again. */
static void quoted(rs_text *out, const char *s) {
    for (; *s; s++) {
        if (*s == '\'') rs_text_append(out, "'\\''");
        else rs_text_append_n(out, s, 1);
    }
}

static void choices(rs_text *out, const char *value) {
    size_t n;
    for (const char *c = value, *next; c; c = next) {
        next = rs_choice_next(c, &n);
        rs_text_printf(out, "%.*s%s", (int)n, c, next ? " " : "");
    }
}

static bool is_path(const rs_option *o) { return o->kind == RS_OPT_FILE || o->kind == RS_OPT_FOLDER_OR_FILE; }

/* ---- bash ---- */

static void bash_names(rs_text *out, const rs_option *options) {
    for (const rs_option *o = options; o->name; o++) rs_text_printf(out, "--%s ", o->name);
    rs_text_append(out, "--help");
}

static void bash_values(rs_text *out, const rs_command *c) {
    for (const rs_option *o = c->options; o->name; o++) {
        if (o->kind == RS_OPT_FLAG || is_path(o)) continue;
        rs_text_printf(out, "        %s:--%s", c->name, o->name);
        if (o->letter) rs_text_printf(out, "|%s:-%c", c->name, o->letter);
        rs_text_append(out, ") words='");
        if (o->kind == RS_OPT_CHOICE) choices(out, o->value);
        rs_text_append(out, "'; files= ;;\n");
    }
    for (const rs_option *o = c->options; o->name; o++) {
        if (!is_path(o)) continue;
        rs_text_printf(out, "        %s:--%s", c->name, o->name);
        if (o->letter) rs_text_printf(out, "|%s:-%c", c->name, o->letter);
        rs_text_append(out, ") words= ;;\n");
    }
    rs_text_printf(out, "        %s:*) words='", c->name);
    bash_names(out, c->options);
    rs_text_append(out, "' ;;\n");
}

/* An option's name is offered where the word begins with '-'; elsewhere files are. */
static void bash(rs_text *out) {
    rs_text_append(
        out, "_ropescope() {\n    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n"
             "    local words= files=yes\n    COMPREPLY=()\n    if [ \"$COMP_CWORD\" -eq 1 ]; then\n        words='");
    for (const rs_command *const *c = rs_commands; *c; c++) rs_text_printf(out, "%s ", (*c)->name);
    for (const rs_global_option *g = rs_global_options; g->name; g++)
        rs_text_printf(out, "--%s%s", g->name, g[1].name ? " " : "");
    rs_text_append(out, "'\n        COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n        return\n    fi\n"
                        "    case \"${COMP_WORDS[1]}:$before\" in\n");
    for (const rs_global_option *g = rs_global_options; g->name; g++) {
        if (!g->value) continue;
        rs_text_printf(out, "        --%s:*) words='", g->name);
        choices(out, g->value);
        rs_text_append(out, "'; files= ;;\n");
    }
    for (const rs_command *const *c = rs_commands; *c; c++) bash_values(out, *c);
    rs_text_append(
        out, "    esac\n    case \"$current:$files\" in\n        -*:*|*:) COMPREPLY=($(compgen -W \"$words\" -- "
             "\"$current\")) ;;\n"
             "        *) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- \"$current\")) ;;\n    esac\n}\n"
             "complete -F _ropescope ropescope\n");
}

/* ---- zsh ---- */

static void zsh_value(rs_text *out, const rs_option *o) {
    if (o->kind == RS_OPT_FLAG) return;
    rs_text_append(out, ":");
    escaped(out, o->value, ":'", "\\");
    rs_text_append(out, ":");
    if (is_path(o)) rs_text_append(out, "_files");
    if (o->kind != RS_OPT_CHOICE) return;
    rs_text_append(out, "(");
    choices(out, o->value);
    rs_text_append(out, ")");
}

static void zsh_help(rs_text *out, const char *help) {
    rs_text line = {0};
    escaped(&line, help, "[]:\\", "\\");
    rs_text_append(out, "[");
    quoted(out, line.data ? line.data : "");
    rs_text_append(out, "]");
    out->failed |= line.failed;
    rs_text_deinit(&line);
}

static void zsh_option(rs_text *out, const rs_option *o) {
    const char *equals = o->kind == RS_OPT_FLAG ? "" : "=";
    rs_text_printf(out, "            '%s--%s%s", o->repeatable ? "*" : "", o->name, equals);
    zsh_help(out, o->help);
    zsh_value(out, o);
    rs_text_append(out, "' \\\n");
    if (!o->letter) return;
    rs_text_printf(out, "            '%s-%c%s", o->repeatable ? "*" : "", o->letter, o->kind == RS_OPT_FLAG ? "" : "+");
    zsh_help(out, o->help);
    zsh_value(out, o);
    rs_text_append(out, "' \\\n");
}

static void zsh(rs_text *out) {
    rs_text_append(out, "#compdef ropescope\n_ropescope() {\n    local -a commands=(\n");
    for (const rs_command *const *c = rs_commands; *c; c++) {
        rs_text_printf(out, "        '%s:", (*c)->name);
        quoted(out, (*c)->summary);
        rs_text_append(out, "'\n");
    }
    rs_text_append(out,
                   "    )\n    if (( CURRENT == 2 )); then\n        _describe command commands\n        _arguments");
    for (const rs_global_option *g = rs_global_options; g->name; g++) {
        rs_text_printf(out, " '--%s", g->name);
        zsh_help(out, g->help);
        rs_text_append(out, "'");
    }
    rs_text_append(out, "\n        return\n    fi\n    case \"$words[2]\" in\n");
    for (const rs_global_option *g = rs_global_options; g->name; g++) {
        if (!g->value) continue;
        rs_text_printf(out, "    --%s) compadd ", g->name);
        choices(out, g->value);
        rs_text_append(out, "; return ;;\n");
    }
    rs_text_append(
        out, "    esac\n    local command=$words[2]\n    shift words\n    (( CURRENT-- ))\n    case \"$command\" in\n");
    for (const rs_command *const *c = rs_commands; *c; c++) {
        rs_text_printf(out, "    %s)\n        _arguments -s \\\n", (*c)->name);
        for (const rs_option *o = (*c)->options; o->name; o++) zsh_option(out, o);
        rs_text_append(out, "            '--help[print this help and stop]' '*:file:_files' ;;\n");
    }
    rs_text_append(out, "    esac\n}\nif [ \"$funcstack[1]\" = _ropescope ]; then _ropescope \"$@\"; else compdef "
                        "_ropescope ropescope; fi\n");
}

/* ---- fish ---- */

static void fish_help(rs_text *out, const char *help) {
    rs_text_append(out, " -d '");
    escaped(out, help, "'\\", "\\");
    rs_text_append(out, "'\n");
}

static void fish_option(rs_text *out, const rs_command *c, const rs_option *o) {
    rs_text_printf(out, "complete -c ropescope -n '__fish_seen_subcommand_from %s' -l %s", c->name, o->name);
    if (o->letter) rs_text_printf(out, " -s %c", o->letter);
    if (o->kind != RS_OPT_FLAG) rs_text_append(out, is_path(o) ? " -r -F" : " -x");
    if (o->kind == RS_OPT_CHOICE) {
        rs_text_append(out, " -a '");
        choices(out, o->value);
        rs_text_append(out, "'");
    }
    fish_help(out, o->help);
}

static void fish(rs_text *out) {
    for (const rs_command *const *c = rs_commands; *c; c++) {
        rs_text_printf(out, "complete -c ropescope -f -n __fish_use_subcommand -a %s", (*c)->name);
        fish_help(out, (*c)->summary);
    }
    for (const rs_global_option *g = rs_global_options; g->name; g++) {
        rs_text_printf(out, "complete -c ropescope -n __fish_use_subcommand -l %s", g->name);
        if (g->letter) rs_text_printf(out, " -s %c", g->letter);
        if (g->value) {
            rs_text_append(out, " -x -a '");
            choices(out, g->value);
            rs_text_append(out, "'");
        }
        fish_help(out, g->help);
    }
    for (const rs_command *const *c = rs_commands; *c; c++) {
        for (const rs_option *o = (*c)->options; o->name; o++) fish_option(out, *c, o);
    }
}

void rs_options_completion(rs_text *out, const char *shell) {
    const struct {
        const char *name;
        void (*write)(rs_text *out);
    } shells[] = {{"bash", bash}, {"zsh", zsh}, {"fish", fish}};
    for (size_t i = 0; i < sizeof shells / sizeof *shells; i++) {
        if (strcmp(shells[i].name, shell) == 0) shells[i].write(out);
    }
}
