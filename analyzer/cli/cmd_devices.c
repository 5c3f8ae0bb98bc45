#include "analyzer/cli/commands.h"

#include "analyzer/cli/program.h"
#include "kernels/backend.h"

typedef struct devices_options {
    rs_strings arguments;
} devices_options;

static void describe(const rs_backend *b, rs_text *t) {
    rs_error why = {0};
    rs_device *d = NULL;
    rs_device_info info = {0};
    char memory[32];
    if (b->probe(&why) != RS_OK || b->open("", 0, &d, &why) != RS_OK) {
        rs_text_printf(t, "%-6s not available: %s\n", b->name, why.message);
        return;
    }
    b->info(d, &info);
    rs_text_printf(t, "%-6s %s, %s free\n", b->name, info.name, rs_format_bytes(memory, info.memory_bytes));
    b->close(d);
}

static rs_status run(const void *options, rs_error *err) {
    rs_status st = RS_OK;
    rs_text t = {0};
    size_t n = 0;
    const rs_backend *const *all = rs_backends(&n);
    (void)options;
    for (size_t i = 0; i < n; i++) {
        describe(all[i], &t);
    }
    RS_TRY(rs_print(&t, err));
out:
    rs_text_deinit(&t);
    return st;
}

static const rs_option table[] = {{0}};

const rs_command rs_cmd_devices = {
    .name = "devices",
    .summary = "list what can compute here, and why the rest cannot",
    .synopsis = "",
    .description = "Lists the devices that --device can name, and for those that cannot be used, why.",
    .options = table,
    .options_size = sizeof(devices_options),
    .run = run,
};
