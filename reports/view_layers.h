/* reports/view_layers.h: the layers of a run and its distinct rotary tables, read into the view. view.c alone calls it.
 */
#ifndef RS_REPORTS_VIEW_LAYERS_H
#define RS_REPORTS_VIEW_LAYERS_H

#include "data/store.h"
#include "reports/view.h"

/* Fills layers, ropes, main_rope, rotates and the largest shapes from /rope and the attribute layer_facts; v->context
 * and v->layer_facts_root are set already. Fails: RS_E_FORMAT when /rope is not whole (named). */
rs_status rs_view_read_layers(rs_report_view *v, rs_store *s, rs_error *err);

#endif
