/* probes/attention_lists.c: for every position of a sequence, where its token stood before and what stood behind it. */
#include "probes/attention_pattern.h"

#include "analyzer/base/alloc.h"

rs_status rs_token_lists_init(rs_token_lists *l, int64_t positions, int64_t vocab, rs_error *err) {
    rs_status st = RS_OK;
    *l = (rs_token_lists){.positions = positions, .vocab = vocab};
    RS_TRY(RS_NEW(&l->last, (size_t)vocab, err));
    RS_TRY(RS_NEW(&l->before, (size_t)positions, err));
    for (int i = 0; i < RS_LISTS; i++) {
        RS_TRY(RS_NEW(&l->list[i].start, (size_t)positions + 1, err));
    }
    for (int64_t v = 0; v < vocab; v++) {
        l->last[v] = -1;
    }
out:
    return st;
}

void rs_token_lists_deinit(rs_token_lists *l) {
    rs_free(l->last);
    rs_free(l->before);
    for (int i = 0; i < RS_LISTS; i++) {
        rs_free(l->list[i].start);
        rs_free(l->list[i].column);
    }
    *l = (rs_token_lists){0};
}

static rs_status link_repeats(rs_token_lists *l, const int32_t *ids, rs_error *err) {
    rs_status st = RS_OK;
    int64_t t = 0;
    for (; t < l->positions; t++) {
        if (ids[t] < 0 || ids[t] >= l->vocab) {
            st = rs_fail(err, RS_E_INTERNAL, "token %d at position %lld is outside the vocabulary of %lld", (int)ids[t],
                         (long long)t, (long long)l->vocab);
            break;
        }
        l->before[t] = l->last[ids[t]];
        l->last[ids[t]] = (int32_t)t;
    }
    while (t-- > 0) { /* leave the table clean for the next sequence */
        l->last[ids[t]] = -1;
    }
    return st;
}

/* Column that an earlier position c of row t's token puts into the list, -1 = none. */
static int64_t column_of(int which, int64_t c, int64_t t) {
    if (which == RS_LIST_DUPLICATE) {
        return c > 0 ? c : -1;
    }
    return c + 1 < t ? c + 1 : -1;
}

static rs_status reserve(rs_token_list *list, int64_t entries, rs_error *err) {
    rs_status st = RS_OK;
    if (entries <= list->room) {
        return RS_OK;
    }
    void *block = list->column;
    int64_t room = entries + entries / 2 + 64;
    RS_TRY(rs_resize(&block, (size_t)list->room, (size_t)room, sizeof *list->column, err));
    list->column = block;
    list->room = room;
out:
    return st;
}

static void reverse(int32_t *column, int64_t from, int64_t to) {
    for (int64_t a = from, b = to - 1; a < b; a++, b--) {
        int32_t swap = column[a];
        column[a] = column[b];
        column[b] = swap;
    }
}

static rs_status fill(const rs_token_lists *l, int which, rs_token_list *list, rs_error *err) {
    rs_status st = RS_OK;
    int64_t n = 0, most = RS_LIST_MOST / l->positions > 1 ? RS_LIST_MOST / l->positions : 1;
    list->rows = 0;
    for (int64_t t = 0; t < l->positions; t++) {
        int64_t from = n;
        list->start[t] = (int32_t)n;
        for (int64_t c = l->before[t]; c >= 0 && n - from < most; c = l->before[c]) {
            int64_t column = column_of(which, c, t);
            if (column >= 0) {
                RS_TRY(reserve(list, n + 1, err));
                list->column[n++] = (int32_t)column;
            }
        }
        reverse(list->column, from, n); /* the chain runs backwards, readers want ascending columns */
        list->rows += n > from;
    }
    list->start[l->positions] = (int32_t)n;
out:
    return st;
}

rs_status rs_token_lists_build(rs_token_lists *l, const int32_t *ids, rs_error *err) {
    rs_status st = RS_OK;
    RS_TRY(link_repeats(l, ids, err));
    for (int i = 0; i < RS_LISTS; i++) {
        RS_TRY(reserve(&l->list[i], 1, err));
        RS_TRY(fill(l, i, &l->list[i], err));
    }
out:
    return st;
}
