/* check: what a checkpoint's configuration says about its rotary frequencies, without running it. */
#include "analyzer/cli/commands.h"

#include "analyzer/cli/check_theorems.h"
#include "analyzer/cli/input.h"
#include "analyzer/cli/program.h"

#include "analyzer/base/alloc.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

typedef struct check_options {
    rs_strings arguments;
    int64_t context;
    double rope_theta;
    int format;
    bool all_layers, theorems;
} check_options;

/* Without a model: the table of the first models with rotary embeddings. */
enum { PLAIN_PAIRS = 64, PLAIN_CONTEXT = 2048, LEAST_THEOREM_CONTEXT = 8, MOST_THEOREM_CONTEXT = 65536 };
static const double PLAIN_BASE = 10000;

static const double TAU = 6.283185307179586476925286766559;

static const char *region_name(uint8_t r) {
    static const char *const names[] = {"kept", "blended", "scaled", "unrotated"};
    return r < 4 ? names[r] : "?";
}

/* Layers with the same table are shown once. */
static bool same_table(const rs_layer *a, const rs_layer *b) {
    if (a->rope.n_pairs != b->rope.n_pairs || a->window != b->window) {
        return false;
    }
    for (int f = 0; f < a->rope.n_pairs; f++) {
        if (a->rope.theta[f] != b->rope.theta[f] || a->rope.lo_hf[f] != b->rope.lo_hf[f] ||
            a->rope.hi_hf[f] != b->rope.hi_hf[f]) {
            return false;
        }
    }
    return true;
}

/* The first layer with the table of this one. */
static int first_like(const rs_graph *g, int layer) {
    int i = 0;
    while (!same_table(&g->layers[i], &g->layers[layer])) {
        i++;
    }
    return i;
}

/* "0-4, 6-10" of the layers whose table is like this one's. */
static void layer_list(const rs_graph *g, int like, rs_text *t) {
    bool first = true;
    for (int i = 0; i < g->n_layers; i++) {
        int j = i;
        if (!same_table(&g->layers[like], &g->layers[i])) {
            continue;
        }
        while (j + 1 < g->n_layers && same_table(&g->layers[like], &g->layers[j + 1])) {
            j++;
        }
        rs_text_printf(t, j > i ? "%s%d-%d" : "%s%d", first ? "" : ", ", i, j);
        first = false;
        i = j;
    }
}

static void pair_row(const rs_graph *g, const rs_rope *r, int f, int64_t context, rs_text *t) {
    double theta = r->theta[f];
    rs_text_printf(t, "  %4d  %4d %4d  ", f, r->lo_hf[f], r->hi_hf[f]);
    if (theta > 0) {
        rs_text_printf(t, "%12.6g  %12.6g  %10.4g  %10.4g  %s\n", theta, TAU / theta,
                       (double)g->trained_context * theta / TAU, (double)context * theta / TAU,
                       region_name(r->region[f]));
    } else {
        rs_text_printf(t, "%12s  %12s  %10s  %10s  %s\n", "0", "-", "-", "-", "not rotated");
    }
}

/* Farthest that a layer looks. */
static int64_t reach_of(const rs_graph *g, const rs_layer *l) {
    return l->window > 0 && l->window < g->trained_context ? l->window : g->trained_context;
}

/* Distances are looked at up to four times that, for the answer is a margin, and no farther than a second takes. */
static rs_rope_pull base_bound(const rs_graph *g, const rs_layer *l) {
    int64_t limit = 4 * reach_of(g, l), most = INT64_C(1) << 20;
    return rs_rope_base_bound(&l->rope, limit < most ? limit : most);
}

static void geometry_of(const rs_graph *g, const rs_layer *l, rs_text *t) {
    const rs_rope *r = &l->rope;
    bool windowed = reach_of(g, l) < g->trained_context;
    int turning = rs_rope_turning_pairs(r, (double)reach_of(g, l));
    rs_rope_pull p = base_bound(g, l);
    rs_text_printf(t,
                   "\n  %d of %d pairs turn at least once over the %s (critical dimension %d of %d, arXiv "
                   "2310.05209)",
                   turning, r->n_pairs, windowed ? "window" : "trained context", 2 * turning, r->head_dim);
    if (p.first_negative > 0) {
        rs_text_printf(t, "\n  mean of cos(D theta) first below 0 at D = %" PRId64 ", %.3g times the %s",
                       p.first_negative, (double)p.first_negative / (double)reach_of(g, l),
                       windowed ? "window" : "trained context");
    } else {
        rs_text_printf(t, "\n  mean of cos(D theta) above 0 for D < %" PRId64 ", least %.3g at D = %" PRId64, p.limit,
                       p.least, p.least_at);
    }
    rs_text_append(t, " (base bound, arXiv 2405.14591)");
    double band = rs_rope_band_pair(r, (double)reach_of(g, l));
    if (isfinite(band)) {
        rs_text_printf(
            t,
            "\n  constant vectors tell distances apart best at pair %.1f (where key norms gather, OpenReview "
            "PR1PPxvG9Q)",
            band);
    }
}

static void table_of(const rs_graph *g, int layer, int64_t context, rs_text *t) {
    const rs_layer *l = &g->layers[layer];
    char bytes[32];
    rs_text_append(t, "\nlayers: ");
    layer_list(g, layer, t);
    rs_text_printf(t, "\n  %s", l->rope.words);
    if (l->window > 0) {
        rs_text_printf(t, "; window of %" PRId64 " tokens", l->window);
    }
    rs_text_printf(t, "\n  source: %s", l->rope.source);
    if (l->rope.n_rotated > 0) {
        rs_text_printf(t, "\n  cos/sin cache at %" PRId64 " positions: %s", context,
                       rs_format_bytes(bytes, (uint64_t)rs_rope_cache_bytes(&l->rope, context)));
    }
    if (l->rope.n_rotated > 0 && g->trained_context > 0) {
        geometry_of(g, l, t);
    }
    rs_text_printf(t, "\n  %4s %10s  %12s  %12s  %10s  %10s\n", "pair", "components", "rad/token", "wavelength",
                   "turns", "turns here");
    rs_text_printf(t, "  %4s %10s  %12s  %12s  %10s\n", "", "", "", "(tokens)", "(trained)");
    for (int f = 0; f < l->rope.n_pairs; f++) {
        pair_row(g, &l->rope, f, context, t);
    }
}

static void print_text(const rs_model *m, const check_options *o, rs_text *t) {
    const rs_graph *g = m->graph;
    char count[32];
    int64_t context = o->context > 0 ? o->context : g->trained_context;
    rs_text_printf(t,
                   "model     %s\nfile      %s, %s\nfamily    %s, %s parameters, %d layers, width %" PRId64 ", %" PRId64
                   " query and %" PRId64 " key heads of %" PRId64 ", vocabulary %" PRId64 "\n",
                   g->name, rs_checkpoint_path(m->checkpoint), rs_checkpoint_container_name(m->checkpoint), g->family,
                   rs_format_count(count, rs_weights_parameters(m->weights)), g->n_layers, g->width, g->max_heads,
                   g->max_kv_heads, g->max_head_dim, g->vocab);
    rs_text_printf(t, "rope      %s\ncontext   trained %" PRId64 ", looked at here %" PRId64 "\n", g->rope_words,
                   g->trained_context, context);
    for (int i = 0; i < g->n_warnings; i++) {
        rs_text_printf(t, "warning   %s\n", g->warnings[i]);
    }
    for (int i = 0; i < g->n_layers; i++) {
        if (o->all_layers || first_like(g, i) == i) {
            table_of(g, i, context, t);
        }
    }
}

static void json_text(rs_text *t, const char *key, const char *value) {
    rs_text_printf(t, "\"%s\":", key);
    rs_text_json_string(t, value, strlen(value));
}

/* A table's geometry; kept: what was found for the first layer like this one, of every layer. */
static void json_geometry(const rs_graph *g, int layer, rs_rope_pull *kept, rs_text *t) {
    const rs_layer *l = &g->layers[layer];
    int first = first_like(g, layer);
    if (l->rope.n_rotated == 0 || g->trained_context <= 0) {
        return;
    }
    if (first == layer) {
        kept[layer] = base_bound(g, l);
    }
    const rs_rope_pull *p = &kept[first];
    rs_text_printf(t,
                   ",\"turning_pairs\":%d,\"base_bound\":{\"first_negative\":%" PRId64
                   ",\"least\":%.6g,\"least_at\":%" PRId64 ",\"limit\":%" PRId64 "}",
                   rs_rope_turning_pairs(&l->rope, (double)reach_of(g, l)), p->first_negative, p->least, p->least_at,
                   p->limit);
}

static rs_status print_json(const rs_model *m, const check_options *o, rs_text *t, rs_error *err) {
    rs_status st = RS_OK;
    const rs_graph *g = m->graph;
    rs_rope_pull *kept = NULL;
    RS_TRY(RS_NEW(&kept, (size_t)g->n_layers, err));
    rs_text_append(t, "{");
    json_text(t, "model", g->name);
    rs_text_append(t, ",");
    json_text(t, "family", g->family);
    rs_text_append(t, ",");
    json_text(t, "rope", g->rope_words);
    rs_text_printf(
        t, ",\"trained_context\":%" PRId64 ",\"context\":%" PRId64 ",\"parameters\":%" PRId64 ",\"warnings\":[",
        g->trained_context, o->context > 0 ? o->context : g->trained_context, rs_weights_parameters(m->weights));
    for (int i = 0; i < g->n_warnings; i++) {
        rs_text_append(t, i ? "," : "");
        rs_text_json_string(t, g->warnings[i], strlen(g->warnings[i]));
    }
    rs_text_append(t, "],\"layers\":[");
    for (int i = 0; i < g->n_layers; i++) {
        const rs_layer *l = &g->layers[i];
        rs_text_printf(t, "%s\n{\"layer\":%d,\"heads\":%d,\"kv_heads\":%d,\"head_dim\":%d,\"window\":%" PRId64 ",",
                       i ? "," : "", i, l->heads, l->kv_heads, l->head_dim, l->window);
        json_text(t, "rope", l->rope.words);
        json_geometry(g, i, kept, t);
        rs_text_append(t, ",\"pairs\":[");
        for (int f = 0; f < l->rope.n_pairs; f++) {
            rs_text_printf(t, "%s{\"lo\":%d,\"hi\":%d,\"theta\":%.17g,\"attention_factor\":%.17g,\"region\":\"%s\"}",
                           f ? "," : "", l->rope.lo_hf[f], l->rope.hi_hf[f], l->rope.theta[f], l->rope.factor[f],
                           region_name(l->rope.region[f]));
        }
        rs_text_append(t, "]}");
    }
    rs_text_append(t, "]}\n");
out:
    rs_free(kept);
    return st;
}

/* The first layer that rotates, or the first. */
static int telling_layer(const rs_graph *g) {
    for (int i = 0; i < g->n_layers; i++) {
        if (g->layers[i].rope.n_rotated > 0) {
            return i;
        }
    }
    return 0;
}

static rs_status print_theorems(const rs_model *m, const check_options *o, rs_text *t, rs_error *err) {
    rs_status st = RS_OK;
    rs_text words = {0};
    bool all = false;
    double plain[PLAIN_PAIRS], base = o->rope_theta > 0 ? o->rope_theta : PLAIN_BASE;
    rs_theorem_table table = {
        .theta = plain, .n_pairs = PLAIN_PAIRS, .context = o->context ? o->context : PLAIN_CONTEXT};
    if (table.context < LEAST_THEOREM_CONTEXT || table.context > MOST_THEOREM_CONTEXT) {
        return rs_fail(err, RS_E_USAGE, "--context %" PRId64 ": the theorems are tried on %d to %d positions",
                       table.context, (int)LEAST_THEOREM_CONTEXT, (int)MOST_THEOREM_CONTEXT);
    }
    if (m) {
        int layer = telling_layer(m->graph);
        table.theta = m->graph->layers[layer].rope.theta;
        table.n_pairs = m->graph->layers[layer].rope.n_pairs;
        rs_text_printf(&words, "the table of %s, layers ", m->graph->name);
        layer_list(m->graph, layer, &words);
        rs_text_printf(&words, ": %s", m->graph->layers[layer].rope.words);
    } else {
        rs_plain_table(base, PLAIN_PAIRS, plain);
        rs_text_printf(&words, "a plain table, %d pairs of base %.10g,", (int)PLAIN_PAIRS, base);
    }
    RS_TRY(rs_text_status(&words, err));
    table.words = words.data;
    RS_TRY(rs_check_theorems(&table, o->format == 1, t, &all, err));
    RS_TRY(rs_print(t, err));
    if (!all) {
        st = rs_fail(err, RS_E_INTERNAL, "a statement does not hold on this table");
    }
out:
    rs_text_deinit(&words);
    return st;
}

static rs_status run(const void *options, rs_error *err) {
    rs_status st = RS_OK;
    const check_options *o = options;
    rs_model m = {0};
    rs_text t = {0};
    if (o->arguments.count == 0) {
        if (!o->theorems) {
            return rs_fail(err, RS_E_USAGE, "check needs MODEL; `ropescope check --help` says more");
        }
        RS_TRY(print_theorems(NULL, o, &t, err));
        goto out;
    }
    RS_TRY(rs_model_open(o->arguments.item[0], o->theorems ? 0 : o->context, o->rope_theta, &m, err));
    RS_TRY(rs_model_bind(&m, err));
    if (o->theorems) {
        RS_TRY(print_theorems(&m, o, &t, err));
        goto out;
    }
    if (o->format == 1) {
        RS_TRY(print_json(&m, o, &t, err));
    } else {
        print_text(&m, o, &t);
    }
    RS_TRY(rs_print(&t, err));
out:
    rs_text_deinit(&t);
    rs_model_close(&m);
    return st;
}

static const rs_option table[] = {
    {"context", 'c', RS_OPT_INT, "T", "positions to look at (default: the trained context)",
     offsetof(check_options, context), false, 2, 1e9},
    {"rope-theta", 0, RS_OPT_REAL, "BASE", "RoPE base, for files that carry none (llama2.c)",
     offsetof(check_options, rope_theta), false, 1, 1e15},
    {"all-layers", 0, RS_OPT_FLAG, NULL, "a table for every layer, also where they are the same",
     offsetof(check_options, all_layers), false, 0, 0},
    {"theorems", 0, RS_OPT_FLAG, NULL,
     "instead: what rotation can and cannot do (arXiv 2410.06205), tried out on MODEL's table, or without MODEL on 64 "
     "pairs of base 10,000",
     offsetof(check_options, theorems), false, 0, 0},
    {"format", 'f', RS_OPT_CHOICE, "text|json", "form of the output (default: text)", offsetof(check_options, format),
     false, 0, 0},
    {0},
};

const rs_command rs_cmd_check = {
    .name = "check",
    .summary = "print a checkpoint's rotary table and what is odd about it, without running it",
    .synopsis = "MODEL | --theorems [MODEL]",
    .description =
        "Reads MODEL's configuration and the headers of its tensors, checks one against the other, and prints the "
        "exact rotary table: components, "
        "frequency, wavelength, turns over the trained context, scaling region, and the size of the cos/sin cache.",
    .options = table,
    .options_size = sizeof(check_options),
    .least_arguments = 0,
    .most_arguments = 1,
    .examples =
        "ropescope check model.gguf\nropescope check --theorems\nropescope check model/ --context 32768 --format json",
    .run = run,
};
