/* reports/quantities.h: what can be said of a run in one number: what comparisons of runs and a run beside its control
 * show. Constant data and pure functions. */
#ifndef RS_REPORTS_QUANTITIES_H
#define RS_REPORTS_QUANTITIES_H

#include "reports/view.h"

typedef enum rs_number_form {
    RS_FORM_NATS,
    RS_FORM_PERCENT,
    RS_FORM_NUMBER,
    RS_FORM_TIMES,
    RS_FORM_FORMS
} rs_number_form;

/* What is said of a run in one number. */
typedef struct rs_quantity {
    const char *key, *label; /* "loss", "loss" */
    const char *group;       /* "loss", "purpose", "norm", "heads", "position" */
    const char *unit;        /* "nats", "", "tokens" */
    const char *what;        /* how it is computed, in words */
    rs_number_form form;
    double (*of)(const rs_report_view *v, int argument); /* NaN: not measured */
    int argument;
    bool per_head; /* a count of heads over heads: its resolution is one head */
} rs_quantity;

extern const rs_quantity rs_quantities[]; /* [rs_quantities_count] in the order of their groups */
extern const size_t rs_quantities_count;

/* A value of a quantity as people read it, with its unit where that is not in the label; into the caller's 32 bytes. */
char *rs_show_quantity(char out[32], rs_number_form form, double x);

#endif
