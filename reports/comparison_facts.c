/* What is equal between the variants and what is not. */
#include "reports/comparison.h"
#include "reports/show.h"

#include "analyzer/base/text.h"

#include <string.h>

typedef void (*fact_fn)(const rs_variant *x, rs_text *out);

static void say_texts(const rs_variant *x, rs_text *out) {
    for (size_t i = 0; i < rs_json_size(x->view->text_files); i++) {
        const char *path = rs_json_string(rs_json_get(rs_json_at(x->view->text_files, i), "path"), NULL);
        const char *slash = path != NULL ? strrchr(path, '/') : NULL;
        rs_text_printf(out, "%s%s", i ? ", " : "", slash != NULL ? slash + 1 : path != NULL ? path : "?");
    }
}

/* The hash tells texts apart that have the same name. */
static void say_tokens(const rs_variant *x, rs_text *out) {
    char n[RS_SHOW_BYTES], t[RS_SHOW_BYTES];
    rs_text_printf(out, "%s sequences of %s (%.8s)", rs_show_count(n, x->view->sequences),
                   rs_show_count(t, x->view->context), x->view->ids_sha256);
}

static void say_tokenizer(const rs_variant *x, rs_text *out) { rs_text_append(out, x->view->tokenizer); }

static void say_runs(const rs_variant *x, rs_text *out) {
    rs_text_printf(out, "%d", x->n_runs);
    if (x->n_compared < x->n_runs) rs_text_printf(out, ", %d not compared", x->n_runs - x->n_compared);
}

static void say_family(const rs_variant *x, rs_text *out) { rs_text_append(out, x->view->family); }

static void say_shape(const rs_variant *x, rs_text *out) {
    rs_text_printf(out, "%d layers, %d heads (%d key) of %d", x->view->n_layers, x->view->n_heads, x->view->n_kv_heads,
                   2 * x->view->n_pairs);
}

static void say_width(const rs_variant *x, rs_text *out) {
    char w[RS_SHOW_BYTES];
    rs_text_append(out, rs_show_count(w, x->view->width));
}

static void say_vocabulary(const rs_variant *x, rs_text *out) {
    char w[RS_SHOW_BYTES];
    rs_text_append(out, rs_show_count(w, x->view->vocab));
}

static void say_parameters(const rs_variant *x, rs_text *out) {
    char w[RS_SHOW_BYTES];
    rs_text_append(out, rs_show_count(w, x->view->parameters));
}

static void say_trained(const rs_variant *x, rs_text *out) {
    char w[RS_SHOW_BYTES];
    rs_text_append(out, rs_show_count(w, x->view->trained_context));
}

static void say_rotation(const rs_variant *x, rs_text *out) {
    /* Up to the trained context, which has its own row. */
    const char *end = strstr(x->view->rope_words, ", trained context");
    rs_text_append_n(out, x->view->rope_words,
                     end != NULL ? (size_t)(end - x->view->rope_words) : strlen(x->view->rope_words));
}

static void say_probes(const rs_variant *x, rs_text *out) { rs_text_append(out, x->view->probes); }

static void say_tool(const rs_variant *x, rs_text *out) {
    rs_text_printf(out, "%s %s", x->view->tool, x->view->tool_version);
}

static const struct {
    const char *key, *label;
    fact_fn say;
} rows[] = {
    {"rotation", "positions", say_rotation},
    {"runs", "runs", say_runs},
    {"family", "family", say_family},
    {"shape", "shape", say_shape},
    {"width", "width", say_width},
    {"parameters", "parameters", say_parameters},
    {"vocabulary", "vocabulary", say_vocabulary},
    {"trained", "trained context", say_trained},
    {"tokenizer", "tokenizer", say_tokenizer},
    {"text", "text", say_texts},
    {"tokens", "tokens read", say_tokens},
    {"probes", "probes", say_probes},
    {"tool", "made by", say_tool},
};

rs_status rs_comparison_state_facts(rs_comparison *c, rs_error *err) {
    rs_status st = RS_OK;
    rs_text t = {0};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        rs_compared_fact *f = &c->facts[c->n_facts++];
        const char **values = NULL;
        RS_TRY(RS_ARENA_NEW(c->arena, &values, (size_t)c->n_variants, err));
        *f = (rs_compared_fact){rows[i].key, rows[i].label, values, true};
        for (int k = 0; k < c->n_variants; k++) {
            rows[i].say(&c->variants[k], &t);
            RS_TRY(rs_text_status(&t, err));
            RS_TRY(rs_arena_strdup(c->arena, &values[k], t.bytes > 0 ? t.data : "-", err));
            f->equal = f->equal && strcmp(values[k], values[0]) == 0;
            rs_text_deinit(&t);
            t = (rs_text){0};
        }
    }
out:
    rs_text_deinit(&t);
    return st;
}
