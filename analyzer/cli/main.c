/* ropescope: looks inside trained transformers and says what each rotary frequency is for. This file only finds the
 * command, parses its options by its table and turns a status into an exit code. */
#include "analyzer/base/alloc.h"
#include "analyzer/base/clock.h"
#include "analyzer/cli/options.h"
#include "analyzer/cli/program.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static void on_signal(int number) {
    (void)number;
    rs_cancel_request();
}

static void watch_signals(void) {
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    action.sa_flags = (int)SA_RESETHAND; /* a second Ctrl-C ends the program at once */
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static const rs_command *find_command(const char *name) {
    for (size_t i = 0; rs_commands[i]; i++) {
        if (strcmp(rs_commands[i]->name, name) == 0) {
            return rs_commands[i];
        }
    }
    return NULL;
}

static int complain(const rs_error *e, const char *command) {
    fprintf(stderr, "ropescope%s%s: %s\n", command ? " " : "", command ? command : "", e->message);
    return rs_status_exit_code(e->status);
}

static int print_text(rs_text *t, rs_status st, rs_error *e, const char *command) {
    st = st == RS_OK ? rs_print(t, e) : st;
    rs_text_deinit(t);
    return st == RS_OK ? 0 : complain(e, command);
}

static int run_command(const rs_command *c, int argc, char **argv) {
    rs_error e = {0};
    void *options = NULL;
    bool help = false;
    rs_status st = rs_new(&options, 1, c->options_size, &e);
    if (st == RS_OK) {
        st = rs_options_parse(c, argc, argv, options, &help, &e);
    }
    if (st == RS_OK && help) {
        rs_text t = {0};
        rs_options_help(c, &t);
        rs_free(options);
        return print_text(&t, RS_OK, &e, c->name);
    }
    if (st == RS_OK && c->computes) {
        rs_program_wait_briefly();
    }
    if (st == RS_OK) {
        st = c->run(options, &e);
    }
    rs_free(options);
    return st == RS_OK ? 0 : complain(&e, c->name);
}

static bool is_one_of(const char *word, const char *a, const char *b) {
    return strcmp(word, a) == 0 || strcmp(word, b) == 0;
}

/* What may stand in place of a command. True when it was one of these and *code is the exit code. */
static bool run_global(int argc, char **argv, int *code) {
    rs_error e = {0};
    rs_text t = {0};
    if (is_one_of(argv[1], "--help", "-h") || (strcmp(argv[1], "help") == 0 && argc == 2)) {
        rs_options_overview(&t);
    } else if (is_one_of(argv[1], "--version", "-V")) {
        rs_text_printf(&t, "%s\n", rs_program_version());
    } else if (strcmp(argv[1], "--man") == 0) {
        rs_options_man(&t);
    } else if (rs_starts_with(argv[1], "--completion")) {
        const char *shell = argv[1][12] == '=' ? argv[1] + 13 : argc > 2 ? argv[2] : "bash";
        rs_options_completion(&t, shell);
        if (!t.data) {
            fprintf(stderr, "ropescope: --completion=%s: expected bash, zsh or fish\n", shell);
            *code = rs_status_exit_code(RS_E_USAGE);
            return true;
        }
    } else {
        return false;
    }
    *code = print_text(&t, RS_OK, &e, NULL);
    return true;
}

int main(int argc, char **argv) {
    int code = 0;
    watch_signals();
    rs_program_set_command_line(argc, argv);
    if (argc < 2) {
        fprintf(stderr, "ropescope: no command given; `ropescope --help` lists them\n");
        return rs_status_exit_code(RS_E_USAGE);
    }
    if (run_global(argc, argv, &code)) {
        return code;
    }
    if (strcmp(argv[1], "help") == 0) { /* help COMMAND = COMMAND --help */
        static char flag[] = "--help";
        const rs_command *c = find_command(argv[2]);
        char *args[] = {flag, NULL};
        if (c) {
            return run_command(c, 1, args);
        }
        argv++;
    }
    const rs_command *c = find_command(argv[1]);
    if (!c) {
        fprintf(stderr, "ropescope: unknown command '%s'; `ropescope --help` lists them\n", argv[1]);
        return rs_status_exit_code(RS_E_USAGE);
    }
    return run_command(c, argc - 2, argv + 2);
}
