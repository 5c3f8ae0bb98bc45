/* cli/finishing.h: finishes and records layers beside the pass that goes on with the next one. While a card computes,
 * the thread that queues its work has no time to spare; finished arrays are a function of a layer's sums alone, so
 * another thread makes them and writes them, one after another in the order in which they came. Used by shards.c. */
#ifndef RS_CLI_FINISHING_H
#define RS_CLI_FINISHING_H

#include "probes/probe.h"

#include <stdbool.h>

typedef struct rs_finishing rs_finishing;

/* aside false: everything is done at once, in the calling thread (on a CPU, whose cores the pass itself needs).
 * The finisher is borrowed until the end; its sink is called from one thread at a time. */
rs_status rs_finishing_begin(const rs_probe_finisher *finisher, bool aside, rs_finishing **out, rs_error *err);
/* rs_probe_taker, ctx: the rs_finishing. Takes the arrays out of the state. Waits where RS_FINISHING_JOBS are waiting
 * already. Fails with what an earlier state failed with. */
enum { RS_FINISHING_JOBS = 32 };
rs_status rs_finishing_take(void *ctx, const rs_probe_kind *kind, int layer, rs_arrays *state, rs_error *err);
/* Waits until all is recorded, and frees; the first failure, if any. NULL is fine. */
rs_status rs_finishing_end(rs_finishing *f, rs_error *err);

#endif
