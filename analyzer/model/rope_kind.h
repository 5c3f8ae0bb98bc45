/* model/rope_kind.h: private to this room: the formulas of rope_type, one function each, in one table (rope_kind.c). */
#ifndef RS_MODEL_ROPE_KIND_H
#define RS_MODEL_ROPE_KIND_H

#include "analyzer/model/rope.h"

/* Frequencies in the file's own order, before sorting. */
typedef struct rs_rope_ladder {
    int n;           /* pairs of the rotated width */
    double *theta;   /* [n] */
    uint8_t *region; /* [n] rs_pair_region */
    double attention_factor;
} rs_rope_ladder;

typedef struct rs_rope_kind {
    const char *name;
    bool rotates; /* has a base and a width */
    bool takes_divisors, takes_factor;
    rs_status (*fill)(const rs_rope_spec *s, rs_rope_ladder *l, rs_error *err);
} rs_rope_kind;

/* NULL for a name we do not know. */
const rs_rope_kind *rs_rope_kind_find(const char *name);

/* One line for people about a table that is built; the ladder says which of the file's pairs rest. */
rs_status rs_rope_describe(const rs_rope_spec *s, const rs_rope_ladder *l, rs_arena *arena, rs_rope *r, rs_error *err);

#endif
