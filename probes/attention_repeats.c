/* probes/attention_repeats.c: how many positions of a sequence have something to look back at. */
#include "probes/attention_pattern.h"

#include "analyzer/base/alloc.h"

rs_status rs_token_repeats_init(rs_token_repeats *r, int64_t positions, int64_t vocab, rs_error *err) {
    rs_status st = RS_OK;
    *r = (rs_token_repeats){.positions = positions, .vocab = vocab};
    RS_TRY(RS_NEW(&r->last, (size_t)vocab, err));
    for (int64_t v = 0; v < vocab; v++) {
        r->last[v] = -1;
    }
out:
    return st;
}

void rs_token_repeats_deinit(rs_token_repeats *r) {
    rs_free(r->last);
    *r = (rs_token_repeats){0};
}

rs_status rs_token_repeats_count(rs_token_repeats *r, const int32_t *ids, double rows[RS_LISTS], rs_error *err) {
    rs_status st = RS_OK;
    int64_t t = 0, before_last = -1; /* where the token at t - 1 stood before that */
    rows[RS_LIST_DUPLICATE] = rows[RS_LIST_INDUCTION] = 0;
    for (; t < r->positions; t++) {
        if (ids[t] < 0 || ids[t] >= r->vocab) {
            st = rs_fail(err, RS_E_INTERNAL, "token %d at position %lld is outside the vocabulary of %lld", (int)ids[t],
                         (long long)t, (long long)r->vocab);
            break;
        }
        int64_t before = r->last[ids[t]];
        rows[RS_LIST_DUPLICATE] += before >= 1;
        /* What followed the token must stand left of t: the latest occurrence with a column of its own between. */
        rows[RS_LIST_INDUCTION] += before >= 0 && (before + 1 < t || before_last >= 0);
        before_last = before;
        r->last[ids[t]] = (int32_t)t;
    }
    while (t-- > 0) { /* leave the table clean for the next sequence */
        r->last[ids[t]] = -1;
    }
    return st;
}
