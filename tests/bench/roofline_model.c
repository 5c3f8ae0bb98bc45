/* A Hugging Face folder of a wanted shape whose weights are one hole in a sparse file, and the program's own run over
 * it, made as analyzer/cli/cmd_audit.c makes it, with all probes. */
#include "tests/bench/roofline.h"

#include "analyzer/base/alloc.h"
#include "analyzer/base/clock.h"
#include "analyzer/base/rng.h"
#include "analyzer/base/text.h"
#include "analyzer/cli/input.h"
#include "probes/probe.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* From the config.json of meta-llama/Llama-3.1-8B, Llama-3.2-1B, Llama-3.1-70B and HuggingFaceTB/SmolLM2-135M. */
static const roof_shape shapes[] = {
    {"8b", "Llama-3.1-8B", 4096, 32, 32, 8, 128, 14336, 128256, false},
    {"1b", "Llama-3.2-1B", 2048, 16, 32, 8, 64, 8192, 128256, true},
    {"70b", "Llama-3.1-70B", 8192, 80, 64, 8, 128, 28672, 128256, false},
    {"135m", "SmolLM2-135M", 576, 30, 9, 3, 64, 1536, 49152, true},
};

const roof_shape *roof_shape_find(const char *key) {
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        if (strcmp(shapes[i].key, key) == 0) {
            return &shapes[i];
        }
    }
    return NULL;
}

/* ---- the checkpoint ---- */

static rs_status write_file(const char *folder, const char *name, const rs_text *head, int64_t bytes, rs_error *err) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    bool ok = f && fwrite(head->data, 1, head->bytes, f) == head->bytes && fflush(f) == 0 &&
              (bytes == 0 || ftruncate(fileno(f), bytes) == 0);
    rs_status st = ok ? RS_OK : rs_fail(err, RS_E_IO, "%s: %s", path, strerror(errno));
    if (f) {
        fclose(f);
    }
    return st;
}

static rs_status write_config(const roof_shape *s, const char *folder, rs_error *err) {
    rs_text t = {0};
    rs_text_printf(
        &t,
        "{\"model_type\":\"llama\",\"hidden_size\":%lld,\"num_hidden_layers\":%d,\"num_attention_heads\":%lld,"
        "\"num_key_value_heads\":%lld,\"head_dim\":%lld,\"intermediate_size\":%lld,\"vocab_size\":%lld,"
        "\"max_position_embeddings\":131072,\"rms_norm_eps\":1e-5,\"hidden_act\":\"silu\","
        "\"rope_theta\":500000.0,\"tie_word_embeddings\":%s}",
        (long long)s->width, ROOF_LAYERS, (long long)s->heads, (long long)s->kv_heads, (long long)s->head_dim,
        (long long)s->hidden, (long long)s->vocab, s->tied ? "true" : "false");
    rs_status st = rs_text_status(&t, err);
    if (st == RS_OK) {
        st = write_file(folder, "config.json", &t, 0, err);
    }
    rs_text_deinit(&t);
    return st;
}

/* One entry of the safetensors header; cols 0: a vector. */
static void tensor(rs_text *t, int64_t *at, int layer, const char *name, int64_t rows, int64_t cols) {
    int64_t end = *at + 2 * rows * (cols > 0 ? cols : 1);
    rs_text_append(t, t->bytes > 8 ? ",\"model." : "{\"model.");
    if (layer >= 0) {
        rs_text_printf(t, "layers.%d.", layer);
    }
    rs_text_printf(t, "%s.weight\":{\"dtype\":\"BF16\",\"shape\":[%lld", name, (long long)rows);
    if (cols > 0) {
        rs_text_printf(t, ",%lld", (long long)cols);
    }
    rs_text_printf(t, "],\"data_offsets\":[%lld,%lld]}", (long long)*at, (long long)end);
    *at = end;
}

static void layer_tensors(rs_text *t, int64_t *at, const roof_shape *s, int layer) {
    int64_t q = s->heads * s->head_dim, kv = s->kv_heads * s->head_dim;
    tensor(t, at, layer, "input_layernorm", s->width, 0);
    tensor(t, at, layer, "self_attn.q_proj", q, s->width);
    tensor(t, at, layer, "self_attn.k_proj", kv, s->width);
    tensor(t, at, layer, "self_attn.v_proj", kv, s->width);
    tensor(t, at, layer, "self_attn.o_proj", s->width, q);
    tensor(t, at, layer, "post_attention_layernorm", s->width, 0);
    tensor(t, at, layer, "mlp.gate_proj", s->hidden, s->width);
    tensor(t, at, layer, "mlp.up_proj", s->hidden, s->width);
    tensor(t, at, layer, "mlp.down_proj", s->width, s->hidden);
}

/* Eight bytes of length, the header, and then a hole as large as all weights. */
static rs_status write_weights(const roof_shape *s, const char *folder, rs_error *err) {
    rs_status st = RS_OK;
    rs_text t = {0};
    int64_t at = 0;
    rs_text_append_n(&t, "\0\0\0\0\0\0\0\0", 8);
    tensor(&t, &at, -1, "embed_tokens", s->vocab, s->width);
    for (int layer = 0; layer < ROOF_LAYERS; layer++) {
        layer_tensors(&t, &at, s, layer);
    }
    tensor(&t, &at, -1, "norm", s->width, 0);
    if (!s->tied) {
        rs_text_printf(
            &t, ",\"lm_head.weight\":{\"dtype\":\"BF16\",\"shape\":[%lld,%lld],\"data_offsets\":[%lld,%lld]}",
            (long long)s->vocab, (long long)s->width, (long long)at, (long long)(at + 2 * s->vocab * s->width));
        at += 2 * s->vocab * s->width;
    }
    rs_text_append(&t, "}");
    while (t.bytes % 8 != 0) {
        rs_text_append(&t, " ");
    }
    RS_TRY(rs_text_status(&t, err));
    for (int i = 0; i < 8; i++) {
        t.data[i] = (char)(unsigned char)((t.bytes - 8) >> (8 * i) & 0xff);
    }
    RS_TRY(write_file(folder, "model.safetensors", &t, (int64_t)t.bytes + at, err));
out:
    rs_text_deinit(&t);
    return st;
}

void roof_folder_remove(const char *folder) {
    static const char *const names[] = {"config.json", "model.safetensors"};
    for (size_t i = 0; *folder && i < sizeof names / sizeof *names; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
}

rs_status roof_folder_make(const roof_shape *s, char folder[ROOF_FOLDER], rs_error *err) {
    rs_status st = RS_OK;
    const char *place = getenv("TMPDIR");
    snprintf(folder, ROOF_FOLDER, "%s/roofline-XXXXXX", place && *place ? place : "/tmp");
    if (!mkdtemp(folder)) {
        st = rs_fail(err, RS_E_IO, "%s: %s", folder, strerror(errno));
        *folder = '\0';
        goto out;
    }
    RS_TRY(write_config(s, folder, err));
    RS_TRY(write_weights(s, folder, err));
out:
    return st;
}

/* ---- tokens: how often a token comes back decides how long the lists of ATTENTION_PATTERN are ---- */

/* Zipf's law with Mandelbrot's offset 2.7: the r-th token has a share in proportion to 1 / (r + 2.7). */
static rs_status make_ids(int64_t n, int64_t vocab, int32_t **out, rs_error *err) {
    rs_status st = RS_OK;
    double *below = NULL, sum = 0;
    rs_rng rng;
    RS_TRY(RS_NEW(&below, (size_t)vocab, err));
    RS_TRY(RS_NEW(out, (size_t)n, err));
    rs_rng_init(&rng, 1);
    for (int64_t r = 0; r < vocab; r++) {
        below[r] = sum += 1 / ((double)r + 2.7);
    }
    for (int64_t i = 0; i < n; i++) {
        double u = rs_rng_uniform(&rng) * sum;
        int64_t low = 0, high = vocab - 1;
        while (low < high) {
            int64_t middle = (low + high) / 2;
            if (below[middle] < u) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        (*out)[i] = (int32_t)low;
    }
out:
    rs_free(below);
    return st;
}

/* ---- the run ---- */

/* The probes' hook, with a mark behind every section. */
typedef struct marked {
    rs_hook probes;
    rs_device *device;
} marked;

static bool wants(void *ctx, rs_site site, int layer) {
    marked *m = ctx;
    return m->probes.wants(m->probes.ctx, site, layer);
}

static rs_status observe(void *ctx, const rs_frame *f, rs_error *err) {
    marked *m = ctx;
    return m->probes.observe(m->probes.ctx, f, err);
}

static rs_status layer_done(void *ctx, int layer, rs_error *err) {
    marked *m = ctx;
    rs_status st = m->probes.layer_done(m->probes.ctx, layer, err);
    roof_device_mark(m->device);
    return st;
}

typedef struct parts {
    rs_model model;
    int32_t *ids;
    const rs_backend *backend;
    rs_device *device;
    rs_probes *probes;
    rs_run *run;
} parts;

static rs_status go(roof_run *r, parts *p, rs_error *err) {
    rs_status st = RS_OK;
    size_t n = 0;
    const rs_probe_kind *const *kinds = rs_probe_kinds(&n);
    RS_TRY(rs_model_open(r->folder, r->context, 0, &p->model, err));
    RS_TRY(rs_model_bind(&p->model, err));
    RS_TRY(make_ids(r->sequences * r->context, r->shape->vocab, &p->ids, err));
    RS_TRY(roof_device_open(&r->what, r->context, r->execute, r->threads, &r->log, &p->backend, &p->device, err));
    rs_probe_facts facts = {.graph = p->model.graph, .positions = r->context, .sequences = r->sequences};
    RS_TRY(rs_probes_bytes(kinds, n, &facts, &r->probe_bytes, err));
    RS_TRY(rs_probes_create(kinds, n, &facts, p->backend, p->device, NULL, NULL, &p->probes, err));
    marked m = {rs_probes_hook(p->probes), p->device};
    rs_hook hook = {.name = m.probes.name, .ctx = &m, .wants = wants, .observe = observe, .layer_done = layer_done};
    rs_run_options o = {.ids = p->ids,
                        .sequences = r->sequences,
                        .positions = r->context,
                        .hooks = &hook,
                        .n_hooks = 1,
                        .loss = true,
                        .compute = r->compute,
                        .tile_rows = r->what.tile_rows,
                        .on_card = !r->execute,
                        .last_layer = -1};
    RS_TRY(
        rs_run_create(p->model.checkpoint, p->model.graph, p->model.weights, p->backend, p->device, &o, &p->run, err));
    RS_TRY(rs_run_plan(p->model.graph, p->model.weights, &o, &r->plan, err));
    double begun = rs_clock_seconds();
    RS_TRY(rs_run_execute(&p->run, 1, err));
    r->seconds = rs_clock_seconds() - begun;
    st = r->log.status == RS_OK ? RS_OK : rs_fail(err, r->log.status, "out of memory for the log");
out:
    return st;
}

rs_status roof_run_execute(roof_run *r, rs_error *err) {
    parts p = {0};
    rs_status st = go(r, &p, err);
    rs_run_destroy(p.run);
    rs_probes_destroy(p.probes);
    if (p.device) {
        p.backend->close(p.device);
    }
    rs_model_close(&p.model);
    rs_free(p.ids);
    return st;
}

void roof_run_deinit(roof_run *r) {
    rs_free(r->log.events);
    r->log = (roof_log){0};
}
