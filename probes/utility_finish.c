/* probes/utility_finish.c: sums of utility.c -> results: means over sequences. */
#include "probes/utility.h"

#include "analyzer/base/alloc.h"
#include "probes/tally.h"

#include <math.h>

typedef struct sums {
    int64_t H, F;
    const rs_rope *rope;
    double *mask; /* [H, 2, F] */
    double *head; /* [H, RS_UT_TERMS] */
    double *row;  /* [H, 2, F] */
} sums;

static void close_sums(sums *s) {
    rs_free(s->mask);
    rs_free(s->head);
    rs_free(s->row);
}

static rs_status open_sums(const rs_layer *l, const rs_arrays *state, int first, int step, sums *s, rs_error *err) {
    rs_status st = RS_OK;
    *s = (sums){.H = l->heads, .F = l->rope.n_pairs, .rope = &l->rope};
    RS_TRY(rs_tally_sum(state, "state/utility/mask", first, step, &s->mask, NULL, err));
    RS_TRY(rs_tally_sum(state, "state/utility/head", first, step, &s->head, NULL, err));
    RS_TRY(rs_tally_sum(state, "state/utility/row_norm", first, step, &s->row, NULL, err));
out:
    return st;
}

static double term(const sums *s, int64_t h, int which) { return s->head[h * RS_UT_TERMS + which]; }

static double mask_of(const sums *s, int64_t h, int64_t place, int64_t f) {
    return rs_tally_ratio(s->mask[(h * 2 + place) * s->F + f], term(s, h, RS_UT_SEQUENCES));
}

static int64_t solved(const sums *s) { return s->H > 0 ? (int64_t)term(s, 0, RS_UT_SEQUENCES) : 0; }

static rs_status finish_masks(const sums *s, rs_arrays *out, rs_error *err) {
    rs_status st = RS_OK;
    rs_array *u = NULL, *pair = NULL;
    RS_TRY(rs_arrays_add(out, &u, err, "utility/component", RS_F32, "1",
                         "mask on the component of the rotated query that keeps the head's output, 0 to 1", 2, "head",
                         s->H, "component", 2 * s->F));
    u->count = solved(s);
    for (int64_t h = 0; h < s->H; h++) {
        for (int64_t f = 0; f < s->F; f++) {
            u->data[h * 2 * s->F + s->rope->lo_hf[f]] = mask_of(s, h, 0, f);
            u->data[h * 2 * s->F + s->rope->hi_hf[f]] = mask_of(s, h, 1, f);
        }
    }
    RS_TRY(rs_arrays_add(out, &pair, err, "utility/pair", RS_F32, "1", "mean of the pair's two components", 2, "head",
                         s->H, "pair", s->F));
    pair->count = solved(s);
    for (int64_t h = 0; h < s->H; h++) {
        for (int64_t f = 0; f < s->F; f++) {
            pair->data[h * s->F + f] = 0.5 * (mask_of(s, h, 0, f) + mask_of(s, h, 1, f));
        }
    }
out:
    return st;
}

/* The paper's cheap stand-in, and how well it stands in. */
static rs_status finish_rows(const sums *s, rs_arrays *out, rs_error *err) {
    rs_status st = RS_OK;
    rs_array *norm = NULL, *with = NULL;
    double *x = NULL;
    int64_t F = s->F, D = 2 * F;
    RS_TRY(rs_arrays_add(out, &norm, err, "utility/row_norm", RS_F32, "1", "sum |w| of the component's row of W_q", 2,
                         "head", s->H, "component", D));
    RS_TRY(rs_arrays_add(out, &with, err, "utility/row_norm_correlation", RS_F32, "1",
                         "correlation over components of the mask and the row norm of W_q", 1, "head", s->H));
    norm->count = s->H > 0 ? (int64_t)term(s, 0, RS_UT_WEIGHTS) : 0;
    with->count = norm->count;
    RS_TRY(RS_NEW(&x, (size_t)(2 * D) + 1, err));
    for (int64_t h = 0; h < s->H; h++) {
        for (int64_t c = 0; c < D; c++) {
            x[c] = mask_of(s, h, c / F, c % F);
            x[D + c] = rs_tally_ratio(s->row[h * D + c], term(s, h, RS_UT_WEIGHTS));
            norm->data[h * D + (c < F ? s->rope->lo_hf[c] : s->rope->hi_hf[c - F])] = x[D + c];
        }
        with->data[h] = rs_tally_correlation(x, x + D, D);
    }
out:
    rs_free(x);
    return st;
}

static const struct {
    const char *name, *text;
    int term, of;
} MEANS[] = {
    {"utility/objective", "mean over rows of |change of the output|^2 + mean of the mask; 1 where the mask is 1",
     RS_UT_OBJECTIVE, RS_UT_SEQUENCES},
    {"utility/error_share", "mean |change of the output|^2 / mean |output|^2", RS_UT_ERROR, RS_UT_POWER},
    {"utility/steps", "gradient steps until the residual was below 0.001, at most 60", RS_UT_STEPS, RS_UT_SEQUENCES},
    {"utility/residual", "largest entry of u - clip(u - gradient D) at the end: 0 at a stationary point",
     RS_UT_RESIDUAL, RS_UT_SEQUENCES},
};

static rs_status finish_heads(const sums *s, rs_arrays *out, rs_error *err) {
    rs_status st = RS_OK;
    for (size_t i = 0; i < sizeof MEANS / sizeof *MEANS; i++) {
        rs_array *a = NULL;
        RS_TRY(rs_arrays_add(out, &a, err, MEANS[i].name, RS_F32, "1", MEANS[i].text, 1, "head", s->H));
        a->count = solved(s);
        for (int64_t h = 0; h < s->H; h++) {
            a->data[h] = rs_tally_ratio(term(s, h, MEANS[i].term), term(s, h, MEANS[i].of));
        }
    }
out:
    return st;
}

static rs_status finish_halves(const sums half[2], rs_arrays *out, rs_error *err) {
    rs_status st = RS_OK;
    rs_array *a = NULL;
    double *x = NULL;
    int64_t D = 2 * half[0].F;
    RS_TRY(rs_arrays_add(out, &a, err, "utility/split_half", RS_F32, "1",
                         "correlation over components of the masks of even and of odd sequences", 1, "head",
                         half[0].H));
    a->count = solved(&half[0]) + solved(&half[1]);
    RS_TRY(RS_NEW(&x, (size_t)(2 * D) + 1, err));
    for (int64_t h = 0; h < half[0].H; h++) {
        for (int i = 0; i < 2; i++) {
            for (int64_t c = 0; c < D; c++) {
                x[i * D + c] = mask_of(&half[i], h, c / half[i].F, c % half[i].F);
            }
        }
        a->data[h] = rs_tally_correlation(x, x + D, D);
    }
out:
    rs_free(x);
    return st;
}

rs_status rs_utility_finish(const rs_probe_facts *facts, int layer, const rs_arrays *state, rs_arrays *out,
                            rs_error *err) {
    rs_status st = RS_OK;
    const rs_layer *l = &facts->graph->layers[layer];
    sums s = {0}, half[2] = {{0}, {0}};
    RS_TRY(open_sums(l, state, 0, 1, &s, err));
    RS_TRY(open_sums(l, state, 0, 2, &half[0], err));
    RS_TRY(open_sums(l, state, 1, 2, &half[1], err));
    RS_TRY(finish_masks(&s, out, err));
    RS_TRY(finish_rows(&s, out, err));
    RS_TRY(finish_heads(&s, out, err));
    RS_TRY(finish_halves(half, out, err));
out:
    close_sums(&s);
    close_sums(&half[0]);
    close_sums(&half[1]);
    return st;
}
