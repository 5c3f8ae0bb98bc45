#include "analyzer/cli/commands.h"

#include "analyzer/base/alloc.h"
#include "analyzer/base/arena.h"
#include "analyzer/base/file.h"
#include "analyzer/cli/program.h"
#include "reports/report.h"

#include <stdlib.h>
#include <string.h>

typedef struct report_options {
    rs_strings arguments;
    const char *output, *control;
    int format; /* 0: by the output's name */
    bool force, quiet;
} report_options;

static const char *const endings[] = {".html", ".txt", ".json", ".csv"};

/* --format, or what the output's name ends in, or HTML for files and text for the terminal. */
static rs_report_format choose(const report_options *o) {
    if (o->format > 0) {
        return (rs_report_format)(o->format - 1);
    }
    for (size_t i = 0; o->output && i < sizeof endings / sizeof *endings; i++) {
        if (rs_ends_with(o->output, endings[i])) {
            return (rs_report_format)i;
        }
    }
    return o->output && strcmp(o->output, "-") != 0 ? RS_REPORT_HTML : RS_REPORT_TEXT;
}

static int columns(void) {
    const char *s = getenv("COLUMNS");
    long n = s ? strtol(s, NULL, 10) : 0;
    return n >= 60 && n <= 400 ? (int)n : 80;
}

/* The sign of NAME=RUN.h5: the first one behind which there is a file, since names may have signs of their own; the
 * first of all when there is none. NULL for RUN.h5 alone: an argument that is a file as it stands is that file. */
static const char *name_ends(const char *argument) {
    const char *first = strchr(argument, '=');
    if (!first || first == argument || rs_path_exists(argument)) {
        return NULL;
    }
    for (const char *sign = first; sign; sign = strchr(sign + 1, '=')) {
        if (rs_path_exists(sign + 1)) {
            return sign;
        }
    }
    return first;
}

static rs_status label_runs(const rs_strings *arguments, rs_arena *arena, rs_labelled_run *out, rs_error *err) {
    for (size_t i = 0; i < arguments->count; i++) {
        const char *argument = arguments->item[i], *sign = name_ends(argument);
        out[i] = (rs_labelled_run){NULL, sign ? sign + 1 : argument};
        rs_status st =
            sign ? rs_arena_printf(arena, &out[i].label, err, "%.*s", (int)(sign - argument), argument) : RS_OK;
        if (st != RS_OK) {
            return st;
        }
    }
    return RS_OK;
}

static rs_status run(const void *options, rs_error *err) {
    rs_status st = RS_OK;
    const report_options *o = options;
    rs_arena *arena = NULL;
    rs_labelled_run *runs = NULL;
    rs_report_options ro = {
        .format = choose(o), .columns = columns(), .control = o->control, .program = rs_program_version()};
    const char *output = o->output ? o->output : "-";
    char *temporary = NULL, size[32];
    rs_text t = {0};
    if (strcmp(output, "-") != 0) {
        RS_TRY(rs_output_prepare(output, o->force, &temporary, err));
    }
    RS_TRY(rs_arena_create(&arena, err));
    RS_TRY(RS_ARENA_NEW(arena, &runs, o->arguments.count, err));
    RS_TRY(label_runs(&o->arguments, arena, runs, err));
    RS_TRY(rs_report_render(runs, o->arguments.count, &ro, &t, err));
    RS_TRY(rs_text_status(&t, err));
    RS_TRY(rs_output_write(output, o->force, t.data, t.bytes, err));
    if (temporary) {
        rs_note(o->quiet, "wrote %s (%s)", output, rs_format_bytes(size, t.bytes));
    }
out:
    rs_arena_destroy(arena);
    rs_free(temporary);
    rs_text_deinit(&t);
    return st;
}

static const rs_option table[] = {
    {"output", 'o', RS_OPT_FILE, "FILE", "where to write (default: text to standard output); - is standard output",
     offsetof(report_options, output), false, 0, 0},
    {"format", 'f', RS_OPT_CHOICE, "auto|html|text|json|csv",
     "form of the report (default: auto, by the output's name)", offsetof(report_options, format), false, 0, 0},
    {"control", 0, RS_OPT_FILE, "CONTROL.h5",
     "beside a single run: what audit --control found on the same tokens, to see what is chance",
     offsetof(report_options, control), false, 0, 0},
    {"force", 0, RS_OPT_FLAG, NULL, "replace FILE when it exists", offsetof(report_options, force), false, 0, 0},
    {"quiet", 'q', RS_OPT_FLAG, NULL, "no notes on stderr", offsetof(report_options, quiet), false, 0, 0},
    {0},
};

const rs_command rs_cmd_report = {
    .name = "report",
    .summary = "turn run files into a page, a text, JSON or CSV",
    .synopsis = "[NAME=]RUN.h5... [-o page.html]",
    .description =
        "Reads a run file and writes what it says: one offline HTML page, a text for the terminal, JSON with every "
        "fact, or CSV with a row per layer, head and pair. Needs neither the model nor the text.\n\nSeveral run files "
        "are compared. NAME=RUN.h5 names a run (otherwise the model's name is used); runs with one name are repeats, "
        "such as trainings from several seeds, and the first name is what the others are compared with. Runs on other "
        "tokens than the first are shown with the reason and not compared.",
    .options = table,
    .options_size = sizeof(report_options),
    .least_arguments = 1,
    .most_arguments = -1,
    .examples = "ropescope report run.h5\nropescope report run.h5 -o report.html\nropescope report run.h5 --control "
                "control.h5 -o report.html\nropescope report run.h5 --format csv "
                "> pairs.csv\nropescope report RoPE=a.h5 RoPE=b.h5 NoPE=c.h5 NoPE=d.h5 -o comparison.html",
    .run = run,
};
