/* make_random_model SHAPE FOLDER [LAYERS]: writes a model of that shape (8b, 1b, 70b, 135m) with random bfloat16
 * weights and as many layers as asked for (default 4; 3.9 GB for 8b): to measure how fast a card is. That it is no row
 * of zeros matters for the clock. */
#include "tests/support/shape_writer.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    const model_shape *shape = argc > 1 ? model_shape_find(argv[1]) : NULL;
    int layers = argc > 3 ? atoi(argv[3]) : 4;
    rs_error err = {0};
    if (argc < 3 || argc > 4 || !shape || layers < 1 || layers > shape->layers) {
        fprintf(stderr, "usage: make_random_model 8b|1b|70b|135m FOLDER [LAYERS]\n");
        return 2;
    }
    if (model_shape_write(shape, layers, true, argv[2], &err) != RS_OK) {
        fprintf(stderr, "make_random_model: %s\n", err.message);
        return 1;
    }
    return 0;
}
