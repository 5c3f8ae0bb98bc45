#include "analyzer/cli/record.h"

#include "analyzer/base/alloc.h"
#include "analyzer/base/clock.h"
#include "analyzer/base/file.h"
#include "analyzer/cli/program.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- attributes
 * --------------------------------------------------------------------------------------------------------- */

static rs_status set_text(rs_record *r, const char *name, rs_text *t, rs_error *err) {
    rs_status st = rs_text_status(t, err);
    st = st == RS_OK ? rs_store_set_string(r->store, "/", name, t->data ? t->data : "", err) : st;
    rs_text_deinit(t);
    return st;
}

static rs_status set_model_files(rs_record *r, rs_error *err) {
    rs_status st = RS_OK;
    rs_checkpoint *c = r->input->model.checkpoint;
    rs_text t = {0};
    rs_text_append(&t, "[");
    for (size_t i = 0; i < rs_checkpoint_file_count(c); i++) {
        char hex[65];
        const char *path = rs_checkpoint_file_path(c, i);
        RS_TRY(rs_checkpoint_file_sha256(c, i, hex, err));
        rs_text_append(&t, i ? ",{\"path\":" : "{\"path\":");
        rs_text_json_string(&t, path, strlen(path));
        rs_text_printf(&t, ",\"bytes\":%llu,\"sha256\":\"%s\"}", (unsigned long long)rs_checkpoint_file_size(c, i),
                       hex);
    }
    rs_text_append(&t, "]");
    return set_text(r, "model_files", &t, err);
out:
    rs_text_deinit(&t);
    return st;
}

static rs_status set_text_files(rs_record *r, rs_error *err) {
    const rs_corpus *c = &r->input->corpus;
    rs_text t = {0};
    rs_text_append(&t, "[");
    for (size_t i = 0; i < c->file_count; i++) {
        const rs_corpus_file *f = &c->files[i];
        rs_text_append(&t, i ? ",{\"path\":" : "{\"path\":");
        rs_text_json_string(&t, f->path, strlen(f->path));
        rs_text_printf(&t, ",\"bytes\":%lld,\"tokens\":%lld,\"windows\":%lld,\"left_over\":%lld}", (long long)f->bytes,
                       (long long)f->tokens, (long long)f->windows, (long long)f->left_over);
    }
    rs_text_append(&t, "]");
    return set_text(r, "text_files", &t, err);
}

static void layer_fact(rs_text *t, const rs_layer *l) {
    rs_text_printf(t,
                   "{\"heads\":%d,\"kv_heads\":%d,\"head_dim\":%d,\"v_dim\":%d,\"window\":%lld,\"pairs\":%d,"
                   "\"rotated\":%d,\"base\":%.17g,\"kind\":",
                   l->heads, l->kv_heads, l->head_dim, l->v_dim, (long long)l->window, l->rope.n_pairs,
                   l->rope.n_rotated, l->rope.base);
    rs_text_json_string(t, l->rope.kind, strlen(l->rope.kind));
    rs_text_append(t, ",\"words\":");
    rs_text_json_string(t, l->rope.words, strlen(l->rope.words));
    rs_text_append(t, ",\"source\":");
    rs_text_json_string(t, l->rope.source, strlen(l->rope.source));
    rs_text_printf(t, ",\"scale\":%.17g,\"softcap\":%.17g,\"cache_bytes_1024\":%lld}", l->scale, l->softcap,
                   (long long)rs_rope_cache_bytes(&l->rope, 1024));
}

static rs_status set_layer_facts(rs_record *r, rs_error *err) {
    const rs_graph *g = r->input->model.graph;
    rs_text t = {0};
    rs_text_append(&t, "[");
    for (int i = 0; i < g->n_layers; i++) {
        rs_text_append(&t, i ? "," : "");
        layer_fact(&t, &g->layers[i]);
    }
    rs_text_append(&t, "]");
    return set_text(r, "layer_facts", &t, err);
}

static rs_status set_warnings(rs_record *r, rs_error *err) {
    const rs_graph *g = r->input->model.graph;
    rs_text t = {0};
    for (int i = 0; i < g->n_warnings; i++) {
        rs_text_printf(&t, "%s%s", i ? "\n" : "", g->warnings[i]);
    }
    if (r->control > 0) {
        rs_text_printf(&t,
                       "%sThis is a control (--control %lld): the rows of the query and key projections were put in a "
                       "random order. It says what chance looks like, nothing of the model.",
                       g->n_warnings ? "\n" : "", (long long)r->control);
    }
    return set_text(r, "warnings", &t, err);
}

typedef struct text_fact {
    const char *name, *value;
} text_fact;
typedef struct int_fact {
    const char *name;
    int64_t value;
} int_fact;

static rs_status set_texts(rs_record *r, const text_fact *f, size_t n, rs_error *err) {
    rs_status st = RS_OK;
    for (size_t i = 0; i < n && st == RS_OK; i++) {
        st = rs_store_set_string(r->store, "/", f[i].name, f[i].value, err);
    }
    return st;
}

static rs_status set_ints(rs_record *r, const int_fact *f, size_t n, rs_error *err) {
    rs_status st = RS_OK;
    for (size_t i = 0; i < n && st == RS_OK; i++) {
        st = rs_store_set_int(r->store, "/", f[i].name, f[i].value, err);
    }
    return st;
}

static rs_status set_facts(rs_record *r, const rs_device_info *device, const char *probes, rs_error *err) {
    rs_status st = RS_OK;
    const rs_input *in = r->input;
    const rs_graph *g = in->model.graph;
    const rs_corpus *c = &in->corpus;
    char created[32];
    rs_clock_iso8601(created);
    const text_fact texts[] = {
        {"tool", "ropescope"},
        {"tool_version", RS_VERSION},
        {"command_line", rs_program_command_line()},
        {"created", created},
        {"model_name", g->name},
        {"model_path", rs_checkpoint_path(in->model.checkpoint)},
        {"model_container", rs_checkpoint_container_name(in->model.checkpoint)},
        {"family", g->family},
        {"rope_words", g->rope_words},
        {"ids_sha256", c->sha256},
        {"tokenizer", in->tokenizer ? rs_tokenizer_kind(in->tokenizer) : "none (token ids were given)"},
        {"bos", c->bos          ? "every sequence begins with BOS"
                : in->tokenizer ? "no BOS"
                                : "as given in the ids"},
        {"device", device->name},
        {"compute", r->compute},
        {"probes", probes},
        {"perplexity_definition",
         "exp(mean_nll); mean_nll = mean of -ln p(token | tokens before it) over all tokens but the first of each "
         "sequence; sequences are non-overlapping windows, scored independently"},
    };
    const int_fact ints[] = {
        {"parameters", rs_weights_parameters(in->model.weights)},
        {"layers", g->n_layers},
        {"heads", g->max_heads},
        {"kv_heads", g->max_kv_heads},
        {"head_dim", g->max_head_dim},
        {"width", g->width},
        {"vocab", g->vocab},
        {"trained_context", g->trained_context},
        {"context", c->context},
        {"sequences", c->sequences},
        {"threads", device->threads},
        {"seed", (int64_t)r->facts->seed},
        {"control", r->control},
    };
    RS_TRY(set_texts(r, texts, sizeof texts / sizeof *texts, err));
    RS_TRY(set_ints(r, ints, sizeof ints / sizeof *ints, err));
    RS_TRY(set_model_files(r, err));
    RS_TRY(set_text_files(r, err));
    RS_TRY(set_layer_facts(r, err));
    RS_TRY(set_warnings(r, err));
out:
    return st;
}

/* ---- /rope
 * --------------------------------------------------------------------------------------------------------------- */

typedef struct rope_column {
    const char *name, *unit, *long_name;
    rs_dtype stored_as;
    double (*value)(const rs_rope *r, int pair);
} rope_column;

static double rope_theta(const rs_rope *r, int f) { return r->theta[f]; }
static double rope_rotated(const rs_rope *r, int f) { return r->theta[f] > 0; }
static double rope_lo(const rs_rope *r, int f) { return r->lo_hf[f]; }
static double rope_hi(const rs_rope *r, int f) { return r->hi_hf[f]; }
static double rope_factor(const rs_rope *r, int f) { return r->factor[f]; }
static double rope_region(const rs_rope *r, int f) { return r->region[f]; }

static const rope_column rope_columns[] = {
    {"rope/theta", "rad/token", "angular frequency of the pair; 0 = not rotated", RS_F64, rope_theta},
    {"rope/rotated", "1", "1 where the pair is rotated", RS_F32, rope_rotated},
    {"rope/component_lo", "1", "first component of the pair, Hugging Face order", RS_F32, rope_lo},
    {"rope/component_hi", "1", "second component of the pair, Hugging Face order", RS_F32, rope_hi},
    {"rope/attention_factor", "1", "factor on cos and sin of queries and keys", RS_F64, rope_factor},
    {"rope/region", "1", "0 kept, 1 blended, 2 scaled, 3 unrotated", RS_F32, rope_region},
};

static rs_status write_rope_column(rs_record *r, const rope_column *c, rs_error *err) {
    rs_status st = RS_OK;
    const rs_graph *g = r->input->model.graph;
    rs_array a = {0};
    RS_TRY(rs_array_init(&a, err, c->name, c->stored_as, c->unit, c->long_name, 2, "layer", (int64_t)g->n_layers,
                         "pair", g->max_pairs));
    for (int l = 0; l < g->n_layers; l++) {
        for (int f = 0; f < g->layers[l].rope.n_pairs; f++) {
            a.data[l * g->max_pairs + f] = c->value(&g->layers[l].rope, f);
        }
    }
    RS_TRY(rs_store_write(r->store, &a, err));
out:
    rs_array_deinit(&a);
    return st;
}

static rs_status define_axes(rs_record *r, rs_error *err) {
    rs_status st = RS_OK;
    rs_arrays axes = {0};
    RS_TRY(rs_probe_axes(r->facts, &axes, err));
    for (size_t i = 0; i < axes.count; i++) {
        const rs_array *a = &axes.items[i];
        RS_TRY(rs_store_axis(r->store, a->name, a->data, a->dims[0], a->unit, a->long_name, err));
    }
out:
    rs_arrays_deinit(&axes);
    return st;
}

rs_status rs_record_begin(rs_record *r, const rs_device_info *device, const char *probes, rs_error *err) {
    rs_status st = RS_OK;
    RS_TRY(set_facts(r, device, probes, err));
    RS_TRY(define_axes(r, err));
    for (size_t i = 0; i < sizeof rope_columns / sizeof *rope_columns; i++) {
        RS_TRY(write_rope_column(r, &rope_columns[i], err));
    }
out:
    return st;
}

/* ---- probe arrays, layer by layer
 * ------------------------------------------------------------------------------------------ */

/* Length of an axis over all layers: layers with fewer heads or pairs are padded up to the widest. */
static int64_t padded(const rs_graph *g, const char *axis, int64_t here) {
    const struct {
        const char *axis;
        int64_t size;
    } widest[] = {
        {"head", g->max_heads}, {"kv_head", g->max_kv_heads}, {"pair", g->max_pairs}, {"v_pair", g->max_v_dim / 2}};
    for (size_t i = 0; i < sizeof widest / sizeof *widest; i++) {
        if (strcmp(widest[i].axis, axis) == 0) {
            return widest[i].size;
        }
    }
    return here;
}

/* Axes of raw state that mean something in one array only get their length into the name: an axis of the store has one
 * length. */
static bool shared_axis(const char *axis, int64_t n) {
    static const char *const shared[] = {"head",   "kv_head",  "pair",         "v_pair",
                                         "bucket", "distance", "spectrum_bin", "phase_bin"};
    for (size_t i = 0; i < sizeof shared / sizeof *shared; i++) {
        if (strcmp(shared[i], axis) == 0) {
            return true;
        }
    }
    return strcmp(axis, "fold") == 0 && n == RS_FOLDS;
}

/* The array as the store will hold it: a layer axis in front, the others padded. No data. */
static void stored_shape(const rs_record *r, const rs_array *a, bool state, rs_array *shape) {
    const rs_graph *g = r->input->model.graph;
    *shape = *a;
    shape->data = NULL;
    shape->n_dims = a->n_dims + 1;
    shape->dims[0] = g->n_layers;
    snprintf(shape->dim_names[0], sizeof shape->dim_names[0], "layer");
    for (int i = 0; i < a->n_dims; i++) {
        shape->dims[i + 1] = padded(g, a->dim_names[i], a->dims[i]);
        if (state && !shared_axis(a->dim_names[i], a->dims[i])) {
            snprintf(shape->dim_names[i + 1], sizeof shape->dim_names[i + 1], "%.20s_%lld", a->dim_names[i],
                     (long long)a->dims[i]);
        } else {
            memcpy(shape->dim_names[i + 1], a->dim_names[i], sizeof a->dim_names[i]);
        }
    }
}

static rs_status put_layer(rs_record *r, int layer, const rs_array *a, bool state, rs_error *err) {
    rs_array shape;
    int64_t start[RS_ARRAY_DIMS] = {layer}, count[RS_ARRAY_DIMS] = {1};
    if (a->n_dims + 1 > RS_ARRAY_DIMS) {
        return rs_fail(err, RS_E_INTERNAL, "array '%s' has %d axes; with the layer axis at most %d can be stored",
                       a->name, a->n_dims, RS_ARRAY_DIMS);
    }
    stored_shape(r, a, state, &shape);
    if (!rs_store_has(r->store, a->name)) {
        rs_status st = rs_store_define(r->store, &shape, err);
        if (st != RS_OK) {
            return st;
        }
    }
    for (int i = 0; i < a->n_dims; i++) {
        count[i + 1] = a->dims[i];
    }
    return rs_store_put_f64(r->store, a->name, start, count, a->data, err);
}

rs_status rs_record_layer(void *ctx, const rs_probe_kind *kind, int layer, const rs_arrays *state,
                          const rs_arrays *results, rs_error *err) {
    rs_status st = RS_OK;
    rs_record *r = ctx;
    (void)kind;
    for (size_t i = 0; i < state->count && !r->no_state; i++) {
        RS_TRY(put_layer(r, layer, &state->items[i], true, err));
    }
    for (size_t i = 0; i < results->count; i++) {
        RS_TRY(put_layer(r, layer, &results->items[i], false, err));
    }
    RS_TRY(rs_store_flush(r->store, err));
out:
    return st;
}

/* ---- the end
 * ---------------------------------------------------------------------------------------------------------------- */

/* Mean over all scored tokens, compensated: the order of summation must not show in the last printed digit. */
static double mean_scored(const double *nll, int64_t n, int64_t *scored) {
    double sum = 0, rest = 0;
    *scored = 0;
    for (int64_t i = 0; i < n; i++) {
        if (!isnan(nll[i])) {
            double y = nll[i] - rest, t = sum + y;
            rest = (t - sum) - y;
            sum = t;
            ++*scored;
        }
    }
    return sum / (double)*scored;
}

/* x: [sequences, positions]. */
static rs_status write_tokens(rs_record *r, const char *name, rs_dtype type, const char *unit, const char *long_name,
                              const double *x, rs_error *err) {
    rs_status st = RS_OK;
    const rs_corpus *c = &r->input->corpus;
    rs_array a = {0};
    RS_TRY(rs_array_init(&a, err, name, type, unit, long_name, 2, "sequence", c->sequences, "position", c->context));
    memcpy(a.data, x, sizeof *x * (size_t)(c->sequences * c->context));
    a.count = 1;
    RS_TRY(rs_store_write(r->store, &a, err));
out:
    rs_array_deinit(&a);
    return st;
}

rs_status rs_record_end(rs_record *r, const double *nll, const double *top1, double seconds, rs_error *err) {
    rs_status st = RS_OK;
    const rs_corpus *c = &r->input->corpus;
    int64_t scored = 0, n = c->sequences * c->context;
    double mean = mean_scored(nll, n, &scored);
    RS_TRY(write_tokens(r, "loss/token_nll", RS_F64, "nats",
                        "-ln p(token at this position | tokens before it); NaN at position 0", nll, err));
    RS_TRY(write_tokens(r, "loss/token_top1", RS_F32, "1",
                        "1 where the token at this position is the likeliest after those before it; NaN at position 0",
                        top1, err));
    RS_TRY(rs_store_set_int(r->store, "/", "tokens", scored, err));
    RS_TRY(rs_store_set_real(r->store, "/", "mean_nll", mean, err));
    RS_TRY(rs_store_set_real(r->store, "/", "perplexity", exp(mean), err));
    RS_TRY(rs_store_set_real(r->store, "/", "seconds", seconds, err));
    RS_TRY(rs_store_set_real(r->store, "/", "tokens_per_second", (double)n / seconds, err));
    RS_TRY(rs_store_set_int(r->store, "/", "peak_memory_bytes", (int64_t)rs_memory_peak(), err));
    if (r->input->task.spans) {
        RS_TRY(rs_record_task(r, nll, top1, err));
    }
out:
    return st;
}
