#include "analyzer/ablate/ablation_measure.h"

#include "analyzer/base/alloc.h"
#include "analyzer/base/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct rs_measure {
    rs_measure_setup s;
    int every;        /* entrances of layers 0, every, 2 every ... are kept; n_layers: of layer 0 alone, by computing */
    float **entrance; /* [n_layers] each [sequences, positions, D] or NULL */
    rs_scores baseline;
};

/* ---- scores ---- */

rs_status rs_scores_init(rs_scores *s, int64_t n, rs_error *err) {
    rs_status st = RS_OK;
    *s = (rs_scores){0};
    RS_TRY(RS_NEW(&s->nll, (size_t)n, err));
    RS_TRY(RS_NEW(&s->accuracy, (size_t)n, err));
out:
    return st;
}

void rs_scores_copy(const rs_scores *from, const rs_scores *to, int64_t n) {
    memcpy(to->nll, from->nll, sizeof *to->nll * (size_t)n);
    memcpy(to->accuracy, from->accuracy, sizeof *to->accuracy * (size_t)n);
}

void rs_scores_deinit(rs_scores *s) {
    rs_free(s->nll);
    rs_free(s->accuracy);
    *s = (rs_scores){0};
}

/* ---- entrances ---- */

static int64_t stream_floats(const rs_measure *m) {
    return m->s.run.sequences * m->s.run.positions * m->s.graph->width;
}

/* Layer 0's is not kept: embedding again costs next to nothing. */
static int choose_every(const rs_measure *m) {
    int L = m->s.graph->n_layers;
    int64_t fit = m->s.keep_bytes / (stream_floats(m) * (int64_t)sizeof(float));
    if (fit < 1) {
        return L;
    }
    int every = (int)((L + fit) / (fit + 1));
    return every < 1 ? 1 : every;
}

int rs_measure_start(const rs_measure *m, int first) {
    return first >= m->s.graph->n_layers ? 0 : first / m->every * m->every;
}

static bool keep_wants(void *ctx, rs_site site, int layer) {
    const rs_measure *m = ctx;
    return site == RS_SITE_RESID_PRE && layer > 0 && layer % m->every == 0;
}

static rs_status keep_observe(void *ctx, const rs_frame *f, rs_error *err) {
    rs_measure *m = ctx;
    int64_t n = f->positions * m->s.graph->width;
    if (!m->entrance[f->layer]) {
        rs_status st = RS_NEW(&m->entrance[f->layer], (size_t)stream_floats(m), err);
        if (st != RS_OK) {
            return st;
        }
    }
    return f->backend->read(f->device, f->view.mem, f->view.offset, m->entrance[f->layer] + f->sequence * n,
                            (size_t)n * sizeof(float), err);
}

/* ---- passes ---- */

static void score(const rs_measure *m, const rs_run *r, const rs_scores *out) {
    int64_t T = m->s.run.positions;
    for (int64_t s = 0; s < m->s.run.sequences; s++) {
        rs_span scored = m->s.spans ? m->s.spans[s].answer : (rs_span){1, (int32_t)T};
        out->nll[s] = rs_span_mean(rs_run_token_nll(r) + s * T, scored);
        out->accuracy[s] = rs_span_mean(rs_run_token_top1(r) + s * T, scored);
    }
}

static rs_status pass(rs_measure *m, const rs_run_options *o, const rs_scores *out, rs_error *err) {
    rs_status st = RS_OK;
    rs_run *r = NULL;
    RS_TRY(rs_run_create(m->s.checkpoint, m->s.graph, m->s.weights, m->s.backend, m->s.device, o, &r, err));
    RS_TRY(rs_run_execute(&r, 1, err));
    score(m, r, out);
out:
    rs_run_destroy(r);
    return st;
}

rs_status rs_measure_create(const rs_measure_setup *s, rs_measure **out, rs_error *err) {
    rs_status st = RS_OK;
    rs_measure *m = NULL;
    *out = NULL;
    RS_TRY(RS_NEW(&m, 1, err));
    m->s = *s;
    m->s.run.loss = true;
    m->s.run.last_layer = -1;
    m->every = choose_every(m);
    RS_TRY(RS_NEW(&m->entrance, (size_t)s->graph->n_layers, err));
    RS_TRY(rs_scores_init(&m->baseline, s->run.sequences, err));
    rs_hook keep = {.name = "entrances", .ctx = m, .wants = keep_wants, .observe = keep_observe};
    rs_run_options o = m->s.run;
    o.hooks = &keep;
    o.n_hooks = m->every < s->graph->n_layers ? 1 : 0;
    RS_TRY(pass(m, &o, &m->baseline, err));
    *out = m;
    m = NULL;
out:
    rs_measure_destroy(m);
    return st;
}

const rs_scores *rs_measure_baseline(const rs_measure *m) { return &m->baseline; }

rs_status rs_measure_edited(rs_measure *m, const uint8_t *mask, rs_ablate_mode mode, double scale, const rs_scores *out,
                            rs_error *err) {
    rs_status st = RS_OK;
    rs_edit_list edits = {0};
    rs_run_options o = m->s.run;
    int first = rs_ablation_first_layer(m->s.graph, mask);
    if (first >= m->s.graph->n_layers || (mode == RS_ABLATE_SCALE && scale == 1)) {
        rs_scores_copy(&m->baseline, out, o.sequences);
        return RS_OK;
    }
    RS_TRY(rs_edit_list_create(m->s.graph, mask, mode, scale, &edits, err));
    o.edits = edits.edits;
    o.n_edits = edits.n;
    o.first_layer = rs_measure_start(m, first);
    o.entrance = m->entrance[o.first_layer];
    RS_TRY(pass(m, &o, out, err));
out:
    rs_edit_list_deinit(&edits);
    return st;
}

void rs_measure_destroy(rs_measure *m) {
    if (!m) {
        return;
    }
    for (int l = 0; m->entrance && l < m->s.graph->n_layers; l++) {
        rs_free(m->entrance[l]);
    }
    rs_free(m->entrance);
    rs_scores_deinit(&m->baseline);
    rs_free(m);
}

/* ---- intervals ---- */

static double paired_mean(const double *a, const double *b, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += b[i] - a[i];
    }
    return sum / (double)n;
}

static int by_value(const void *x, const void *y) {
    const double *a = x, *b = y;
    return *a < *b ? -1 : *a > *b;
}

rs_status rs_paired_interval(const double *a, const double *b, int64_t n, uint64_t seed, rs_interval *out,
                             rs_error *err) {
    rs_status st = RS_OK;
    double *means = NULL; /* [RS_BOOTSTRAPS] */
    rs_rng rng;
    *out = (rs_interval){.mean = paired_mean(a, b, n), .lo = (double)NAN, .hi = (double)NAN};
    if (n < 2) {
        return RS_OK;
    }
    RS_TRY(RS_NEW(&means, RS_BOOTSTRAPS, err));
    rs_rng_init(&rng, seed);
    for (int i = 0; i < RS_BOOTSTRAPS; i++) {
        for (int64_t k = 0; k < n; k++) {
            int64_t s = rs_rng_below(&rng, n);
            means[i] += (b[s] - a[s]) / (double)n;
        }
    }
    qsort(means, RS_BOOTSTRAPS, sizeof *means, by_value);
    out->lo = means[(int)(0.025 * (RS_BOOTSTRAPS - 1))];
    out->hi = means[(int)ceil(0.975 * (RS_BOOTSTRAPS - 1))];
out:
    rs_free(means);
    return st;
}
