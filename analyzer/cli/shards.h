/* cli/shards.h: one audit on one or several devices. The sequences are shared out, every device runs its part layer by
 * layer beside the others, and what the probes summed there is added up before it is finished: statistics are sums, so
 * the result is that of one device but for the order of additions. Used by cmd_audit.c. */
#ifndef RS_CLI_SHARDS_H
#define RS_CLI_SHARDS_H

#include "analyzer/cli/finishing.h"
#include "analyzer/cli/input.h"
#include "analyzer/forward/run.h"
#include "probes/probe.h"

enum { RS_SHARD_KINDS = 32 }; /* most probes of an audit */

typedef struct rs_shards {
    const rs_backend *backend;
    int n;                         /* devices */
    rs_device *device[RS_DEVICES]; /* [n] */
    rs_device_info info;           /* of all: what they are called, the least memory that is free on one */
    rs_probes *probes[RS_DEVICES]; /* [n], and the runs, while rs_shards_execute works and behind it */
    rs_run *run[RS_DEVICES];
    double *nll, *top1; /* [sequences, positions] (rs_run_token_nll, _top1), after rs_shards_execute with loss */
    /* adding up: per probe the sum of the states of a layer, and how many devices have given theirs */
    rs_arrays sum[RS_SHARD_KINDS];
    int given[RS_SHARD_KINDS];
    const rs_probe_kind *const *kinds; /* [n_kinds], borrowed */
    size_t n_kinds;
    const rs_probe_facts *facts;
    rs_finishing *finishing;
} rs_shards;

/* Opens what --device names (kernels/backend.h). */
rs_status rs_shards_open(const char *device, int threads, rs_shards *out, rs_error *err);
/* Most sequences that one device gets of so many. */
int64_t rs_shards_share(const rs_shards *s, int64_t sequences);
/* Runs o->sequences sequences with the probes kinds [n_kinds]; o's hooks are made here. The sink is called once per
 * layer and probe, with the states of all devices added, from a thread of its own where the device is a card.
 * RS_E_USAGE when there are more devices than sequences. */
rs_status rs_shards_execute(rs_shards *s, const rs_input *in, const rs_run_options *o,
                            const rs_probe_kind *const *kinds, size_t n_kinds, const rs_probe_facts *facts,
                            rs_probe_sink sink, void *sink_ctx, rs_error *err);
void rs_shards_close(rs_shards *s); /* zeroed is fine */

#endif
