/* Sizes of everything a run allocates, before it allocates. They depend on the model and the options alone, never on
 * free memory, so that the same inputs give the same sums in the same order. */
#include "analyzer/forward/pass.h"

#include <string.h>

/* Bytes of what is handled at a time: scores of an attention tile, activations of a row chunk of the mlp, rows of the
 * unembedding, logits. A processor wants them in its cache; a card wants enough of them to have work for all of its
 * processors, which by the estimate of tests/bench/bench_roofline.c is worth more than a cache that holds a tile. */
typedef struct sizes {
    int64_t tile, chunk, vocabulary, logits;
} sizes;
static const sizes host_sizes = {6 << 20, 64 << 20, 16 << 20, 16 << 20};
static const sizes card_sizes = {512 << 20, 512 << 20, 64 << 20, 64 << 20};

enum { ROW_QUANTUM = 32 }; /* row counts are multiples of this: whole register tiles in the products */

static int64_t clamp_rows(int64_t budget, int64_t row_bytes, int64_t least, int64_t most) {
    int64_t rows = budget / (row_bytes > 0 ? row_bytes : 1) / ROW_QUANTUM * ROW_QUANTUM;
    rows = rows < least ? least : rows;
    return rows > most ? most : rows;
}

static int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }

rs_pass_widths rs_pass_widest(const rs_graph *g) {
    rs_pass_widths w = {0};
    for (int i = 0; i < g->n_layers; i++) {
        const rs_layer *l = &g->layers[i];
        w.q = max64(w.q, (int64_t)l->heads * l->head_dim);
        w.k = max64(w.k, (int64_t)l->kv_heads * l->head_dim);
        w.v = max64(w.v, (int64_t)l->kv_heads * l->v_dim);
        w.z = max64(w.z, (int64_t)l->heads * l->v_dim);
        w.slot = max64(w.slot, l->head_dim);
        w.hidden = max64(w.hidden, l->hidden);
    }
    return w;
}

static bool must_see(const rs_hook *h, int layer) {
    bool pattern = h->wants(h->ctx, RS_SITE_PATTERN, layer);
    return h->wants(h->ctx, RS_SITE_SCORES, layer) || (pattern && (!h->needs_tile || h->needs_tile(h->ctx, layer)));
}

bool rs_pass_attends(const rs_graph *g, const rs_run_options *o, int layer) {
    const rs_layer *l = &g->layers[layer];
    bool fits =
        o->on_card && o->tile_rows == 0 && o->compute == RS_COMPUTE_BF16 && rs_attend_takes(l->head_dim, l->v_dim);
    for (int i = 0; i < o->n_hooks && fits; i++) {
        fits = !must_see(&o->hooks[i], layer);
    }
    return fits;
}

static bool forms_patterns(const rs_graph *g, const rs_run_options *o) {
    for (int l = 0; l < g->n_layers; l++) {
        if (!rs_pass_attends(g, o, l)) {
            return true;
        }
    }
    return false;
}

/* Visible (query, key) pairs of one sequence. */
static double visible_pairs(int64_t T, int64_t window) {
    double t = (double)T, w = (double)window;
    return window > 0 && window < T ? w * (w + 1) / 2 + (t - w) * w : t * (t + 1) / 2;
}

static double layer_flops(const rs_graph *g, const rs_layer *l, int64_t T) {
    double D = (double)g->width, qkv = (double)l->heads * l->head_dim + (double)l->kv_heads * (l->head_dim + l->v_dim);
    double dense = D * (qkv + (double)l->heads * l->v_dim) + D * (double)l->hidden * (g->gated ? 3 : 2);
    return 2 * (double)T * dense + 2 * visible_pairs(T, l->window) * l->heads * (l->head_dim + l->v_dim);
}

static double run_flops(const rs_graph *g, const rs_run_options *o) {
    double sum = o->loss ? 2.0 * (double)o->positions * (double)g->width * (double)g->vocab : 0;
    for (int l = o->first_layer; l < g->n_layers && (o->last_layer < 0 || l <= o->last_layer); l++) {
        sum += layer_flops(g, &g->layers[l], o->positions);
    }
    return sum * (double)o->sequences;
}

static int64_t stored_total(const rs_graph *g, const rs_weights *w) {
    int64_t sum = 0;
    for (int layer = -1; layer < g->n_layers; layer++) {
        for (int role = 0; role < RS_ROLE_COUNT; role++) {
            const rs_weight *x = rs_weights_get(w, layer, (rs_role)role);
            if (x && x->tensor && !(role == RS_W_UNEMBED && g->tied)) {
                sum += rs_weight_bytes(x, x->rows);
            }
        }
    }
    return sum;
}

rs_status rs_run_plan(const rs_graph *g, const rs_weights *w, const rs_run_options *o, rs_plan *out, rs_error *err) {
    int64_t T = o->positions, B = o->sequences, D = g->width, F4 = (int64_t)sizeof(float), stored, widened;
    rs_dtype matrices = rs_pass_weight_type(o->compute);
    const sizes *most = o->on_card ? &card_sizes : &host_sizes;
    if (T < 2 || B < 1 || T > INT32_MAX || B > INT32_MAX || T * B > INT64_C(1) << 40) {
        return rs_fail(
            err, RS_E_USAGE,
            "a run of %lld sequences of %lld tokens: sequences must be at least 1, and a sequence 2 tokens long",
            (long long)B, (long long)T);
    }
    rs_pass_widths widest = rs_pass_widest(g);
    int64_t heads = widest.q + widest.k + widest.v + widest.z, hidden = widest.hidden;
    memset(out, 0, sizeof *out);
    out->tile_rows = o->tile_rows > 0 ? o->tile_rows : clamp_rows(most->tile, g->max_heads * T * F4, ROW_QUANTUM, 256);
    out->tile_rows = out->tile_rows > T ? T : out->tile_rows;
    out->chunk_rows = clamp_rows(most->chunk, (2 * hidden + 2 * D) * F4, 128, 2048);
    out->chunk_rows = out->chunk_rows > T ? T : out->chunk_rows;
    out->vocab_chunk = clamp_rows(most->vocabulary, D * F4, 256, 8192);
    out->vocab_chunk = out->vocab_chunk > g->vocab ? g->vocab : out->vocab_chunk;
    out->logit_rows = clamp_rows(most->logits, out->vocab_chunk * F4, 128, out->chunk_rows);
    rs_loader_sizes(g, w, matrices, out->vocab_chunk, &stored, &widened);
    int64_t embed_chunk = out->chunk_rows * rs_weight_bytes(rs_weights_get(w, -1, RS_W_EMBED), 1);
    out->residual = B * T * D * F4;
    out->packed = max64(embed_chunk, D * F4); /* the final norm comes this way too */
    out->weights = stored + widened + out->packed;
    out->tile_rows = forms_patterns(g, o) ? out->tile_rows : 0;
    int64_t inputs = (widest.q + widest.k + widest.v + g->max_heads * out->tile_rows) * T;
    int64_t rounded = matrices == RS_F32 ? 0 : (out->chunk_rows * hidden + inputs) * rs_dtype_block_bytes(matrices);
    out->scratch = rounded + (heads + g->max_pairs * 2) * T * F4 + out->chunk_rows * (2 * hidden + 2 * D) * F4 +
                   g->max_heads * (out->tile_rows + 2) * T * F4 + B * T * (4 + 3 * 8);
    out->vocabulary = out->vocab_chunk * D * rs_dtype_block_bytes(matrices) + out->logit_rows * out->vocab_chunk * F4;
    out->total = out->residual + out->weights + out->scratch + out->vocabulary;
    out->stored_bytes = stored_total(g, w);
    out->flops = run_flops(g, o);
    return RS_OK;
}
