/* model/weights_table.h: private to this room: what rs_weights holds. */
#ifndef RS_MODEL_WEIGHTS_TABLE_H
#define RS_MODEL_WEIGHTS_TABLE_H

#include "analyzer/model/weights.h"

struct rs_weights {
    int n_layers;
    rs_weight outside[RS_ROLE_COUNT]; /* roles that belong to no layer */
    rs_weight *layer;                 /* [n_layers, RS_ROLE_COUNT] */
    int64_t parameters;
};

bool rs_role_per_layer(rs_role role);

#endif
