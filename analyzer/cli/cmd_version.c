#include "analyzer/cli/commands.h"

#include "analyzer/cli/program.h"
#include "analyzer/model/graph.h"
#include "data/store.h"
#include "probes/probe.h"

typedef struct version_options {
    rs_strings arguments;
} version_options;

static rs_status run(const void *options, rs_error *err) {
    rs_status st = RS_OK;
    rs_text t = {0};
    size_t n = 0;
    const rs_probe_kind *const *kinds = rs_probe_kinds(&n);
    (void)options;
    rs_text_printf(&t, "%s\nrun file schema  %d\nfamilies         %s\n", rs_program_version(), RS_SCHEMA_VERSION,
                   rs_families());
    for (size_t i = 0; i < n; i++) {
        rs_text_printf(&t, "%s %-17s %s\n", i ? "                " : "probes          ", kinds[i]->name,
                       kinds[i]->title);
        if (kinds[i]->deep) {
            rs_text_printf(&t, "%35sonly with --probe or --deep: %s\n", "", kinds[i]->deep);
        }
    }
    RS_TRY(rs_print(&t, err));
out:
    rs_text_deinit(&t);
    return st;
}

static const rs_option table[] = {{0}};

const rs_command rs_cmd_version = {
    .name = "version",
    .summary = "print the version, the model families and the probes",
    .synopsis = "",
    .description =
        "Prints the program's version, the schema of the run files it writes, the model families it can run "
        "and its probes. The default set of an audit is made of the probes that together cost less than half a "
        "plain forward pass and write small files; for the others it says why they are not in it.",
    .options = table,
    .options_size = sizeof(version_options),
    .run = run,
};
