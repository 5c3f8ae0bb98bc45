/* reports/measures.h: what each measure is: one table of names, units, formulas and sources, and the rules that name
 * head kinds. Every format and the page take their words from here. Constant data, no allocation. */
#ifndef RS_REPORTS_MEASURES_H
#define RS_REPORTS_MEASURES_H

#include "reports/view.h"

#include <stddef.h>

typedef struct rs_measure {
    const char *name;    /* "query norm share" */
    const char *dataset; /* array that must be there for the measure to be spoken of; several: separated by spaces, any
                            will do */
    const char *formula; /* plain text */
    const char *source;  /* paper or convention */
} rs_measure;

extern const rs_measure rs_measures[];
extern const size_t rs_measures_count;

/* Head kinds in the order in which they are tried: value of the measure >= threshold. */
typedef struct rs_head_rule {
    rs_head_kind kind;
    const char *name, *key; /* "previous token", "previous" */
    size_t offset;          /* of the double in rs_view_head that is compared */
    double threshold;
    bool of_context;  /* the threshold is a fraction of the analysed context */
    const char *rule; /* in words */
} rs_head_rule;

extern const rs_head_rule rs_head_rules[RS_HEAD_KINDS]; /* indexed by kind */

/* The quantities of the layer x frequency map, in the order of the switch. */
typedef struct rs_map_quantity {
    const char *key;     /* "q_share" */
    const char *label;   /* on the switch */
    const char *title;   /* of the map: what the question is */
    const char *dataset; /* [layer, head or kv_head, pair] whose mean over heads is the cell */
    const char *unit;
    const char *family;  /* quantities of one family have one scale */
    bool log_scale;      /* spans decades */
    bool needs_rotation; /* says nothing where no pair rotates */
    bool by_key_head;
} rs_map_quantity;

extern const rs_map_quantity rs_map_quantities[RS_VIEW_QUANTITIES];

#endif
