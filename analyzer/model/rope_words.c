/* What a rotary table is called in one line. */
#include "analyzer/model/rope_kind.h"

#include "analyzer/base/text.h"

#include <math.h>
#include <string.h>

/* 100000 as "100,000"; what is no whole number as it is. */
static void put_number(rs_text *t, double x) {
    char count[32];
    if (x == floor(x) && fabs(x) < 1e15) rs_text_append(t, rs_format_count(count, (int64_t)x));
    else rs_text_printf(t, "%.6g", x);
}

typedef enum shape { FULL, PREFIX, FASTEST, SLOWEST, SCATTERED } shape;

static bool turns(const rs_rope_spec *s, const rs_rope_ladder *l, int i) {
    return l->theta[i] > 0 && !(s->context > 0 && l->theta[i] * s->context < RS_ROPE_RESOLUTION);
}

/* Which of the file's pairs turn. */
static shape shape_of(const rs_rope_spec *s, const rs_rope_ladder *l, const rs_rope *r) {
    int changes = 0;
    for (int i = 1; i < l->n; i++) changes += turns(s, l, i) != turns(s, l, i - 1);
    if (r->n_rotated == r->n_pairs) return FULL;
    if (r->n_rotated == l->n) return PREFIX;
    if (changes > 1) return SCATTERED;
    return turns(s, l, 0) ? FASTEST : SLOWEST;
}

static void put_shape(rs_text *t, shape is, const rs_rope *r) {
    static const char *const words[] = {
        [PREFIX] = "partial RoPE: ",
        [FASTEST] = "p-RoPE: the fastest ",
        [SLOWEST] = "reversed p-RoPE: the slowest ",
        [SCATTERED] = "RoPE: ",
    };
    if (is == FULL) rs_text_printf(t, "full RoPE, %d pairs", r->n_pairs);
    else
        rs_text_printf(t, "%.3g %% %s%d of %d pairs", 100.0 * r->n_rotated / r->n_pairs, words[is], r->n_rotated,
                       r->n_pairs);
}

static void put_regions(rs_text *t, const rs_rope *r) {
    int count[4] = {0};
    for (int f = 0; f < r->n_pairs; f++) count[r->region[f] & 3]++;
    if (count[RS_PAIR_SCALED] < r->n_rotated)
        rs_text_printf(t, " (%d kept, %d blended, %d scaled)", count[RS_PAIR_KEPT], count[RS_PAIR_BLENDED],
                       count[RS_PAIR_SCALED]);
}

static bool any_scaled(const rs_rope *r) {
    for (int f = 0; f < r->n_pairs; f++)
        if (r->region[f] == RS_PAIR_BLENDED || r->region[f] == RS_PAIR_SCALED) return true;
    return false;
}

static void put_scaling(rs_text *t, const rs_rope_spec *s, const rs_rope_ladder *l, const rs_rope *r) {
    if (any_scaled(r)) {
        bool table = strcmp(r->kind, "table") == 0, listed = table || strcmp(r->kind, "longrope") == 0;
        rs_text_printf(t, ", %s %s", table ? "rope_freqs" : r->kind, listed ? "divisors" : "scaling by ");
        if (!listed) put_number(t, s->factor);
        put_regions(t, r);
    }
    if (l->attention_factor != 1.0) rs_text_printf(t, ", attention factor %.6g", l->attention_factor);
}

rs_status rs_rope_describe(const rs_rope_spec *s, const rs_rope_ladder *l, rs_arena *arena, rs_rope *r, rs_error *err) {
    rs_status st = RS_OK;
    rs_text t = {0};
    if (r->n_rotated == 0) {
        rs_text_append(&t, "NoPE");
        if (l->n > 0) rs_text_printf(&t, " (rope_type %s, no pair turns)", r->kind);
    } else {
        put_shape(&t, shape_of(s, l, r), r);
        rs_text_append(&t, ", base ");
        put_number(&t, r->base);
        put_scaling(&t, s, l, r);
    }
    RS_TRY(rs_text_status(&t, err));
    RS_TRY(rs_arena_strdup(arena, &r->words, t.data, err));
out:
    rs_text_deinit(&t);
    return st;
}
