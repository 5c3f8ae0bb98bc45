/* cli/ablate_heads.h: which heads an ablation may edit: a list, or what the run's retrieval probe found. Used by
 * cmd_ablate.c. */
#ifndef RS_CLI_ABLATE_HEADS_H
#define RS_CLI_ABLATE_HEADS_H

#include "analyzer/model/graph.h"
#include "data/store.h"

#include <stdint.h>

/* What --help says of `what` below. */
#define RS_ABLATE_HEADS_HELP                                                                                           \
    "edit these heads alone (default: all): a list; retrieval or copying, as /retrieval of the run has them (context " \
    "above 0.5, copy above 0.1); others or copying-others: as many at random that are not (others:N: by seed N)"

/* what: "3.1,5.2" (layer.head), or a word. heads [n_layers, max_heads], zeroed by the caller: 1 where a head may be
 * edited. Fails: RS_E_USAGE (no such head; the run has no /retrieval; no head is above the threshold, or none is left).
 */
rs_status rs_ablate_heads(rs_store *run, const char *path, const rs_graph *g, const char *what, uint8_t *heads,
                          rs_error *err);

#endif
