/* make_planted planted|control FOLDER [IDS SEQUENCES]: writes a model with known heads, and token ids for it (one
 * sequence a line). */
#include "tests/support/planted.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool write_ids(const char *path, int64_t n) {
    int32_t *ids = calloc((size_t)(n * PLANTED_CONTEXT), sizeof *ids);
    FILE *f = ids ? fopen(path, "w") : NULL;
    if (!f) {
        free(ids);
        return false;
    }
    planted_ids(1, n, ids);
    for (int64_t i = 0; i < n * PLANTED_CONTEXT; i++) {
        fprintf(f, "%d%c", (int)ids[i], i % PLANTED_CONTEXT == PLANTED_CONTEXT - 1 ? '\n' : ' ');
    }
    free(ids);
    return fclose(f) == 0;
}

int main(int argc, char **argv) {
    if (argc != 3 && argc != 5) {
        fprintf(stderr, "usage: make_planted planted|control FOLDER [IDS SEQUENCES]\n");
        return 2;
    }
    if (!planted_write(argv[1], argv[2])) {
        perror("make_planted");
        return 1;
    }
    long n = argc == 5 ? strtol(argv[4], NULL, 10) : 0;
    if (argc == 5 && (n < 1 || n > 100000 || !write_ids(argv[3], n))) {
        perror("make_planted");
        return 1;
    }
    return 0;
}
