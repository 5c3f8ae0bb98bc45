/* make_fake_run VARIANT[@SEED] PATH [CATALOG]: writes a made-up run file (fake_run.h) for tests that start from the
 * shell; another seed gives other numbers and other weights. */
#include "tests/support/fake_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int usage(void) {
    fprintf(stderr, "usage: make_fake_run VARIANT[@SEED] PATH [CATALOG]\n");
    for (const rs_fake_shape *f = rs_fake_shapes; f->variant; f++)
        fprintf(stderr, "  %-8s  %s\n", f->variant, f->about);
    return 2;
}

int main(int argc, char **argv) {
    rs_error e = {0};
    char *seed = argc == 3 || argc == 4 ? strchr(argv[1], '@') : NULL;
    if (seed) *seed = '\0';
    const rs_fake_shape *found = argc == 3 || argc == 4 ? rs_fake_shape_find(argv[1]) : NULL;
    if (!found) return usage();
    rs_fake_shape f = *found;
    if (seed) f.seed = strtoull(seed + 1, NULL, 10);
    rs_status st = rs_fake_run_write(&f, argv[2], &e);
    if (st == RS_OK && argc == 4) st = rs_fake_run_record(&f, argv[2], argv[3], &e);
    if (st == RS_OK) return 0;
    fprintf(stderr, "make_fake_run: %s\n", e.message);
    return 1;
}
