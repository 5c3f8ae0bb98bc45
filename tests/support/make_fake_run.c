/* make_fake_run VARIANT PATH [CATALOG]: writes a made-up run file (fake_run.h) for tests that start from the shell. */
#include "tests/support/fake_run.h"

#include <stdio.h>

static int usage(void) {
    fprintf(stderr, "usage: make_fake_run VARIANT PATH [CATALOG]\n");
    for (const rs_fake_shape *f = rs_fake_shapes; f->variant; f++)
        fprintf(stderr, "  %-8s  %s\n", f->variant, f->about);
    return 2;
}

int main(int argc, char **argv) {
    rs_error e = {0};
    const rs_fake_shape *f = argc == 3 || argc == 4 ? rs_fake_shape_find(argv[1]) : NULL;
    if (!f) return usage();
    rs_status st = rs_fake_run_write(f, argv[2], &e);
    if (st == RS_OK && argc == 4) st = rs_fake_run_record(f, argv[2], argv[3], &e);
    if (st == RS_OK) return 0;
    fprintf(stderr, "make_fake_run: %s\n", e.message);
    return 1;
}
