/* What was measured, for people and for programs. */
#include "analyzer/cli/ablation_rows.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_SEEDS = 256 };

/* Is c a random control of r? Bands are of one size and share theirs. */
static bool controls(const rs_ablation_row *c, const rs_ablation_row *r) {
    bool bands = rs_experiment_is_band((rs_experiment)r->experiment);
    return c->seed >= 0 && c->experiment == r->experiment && c->mode == r->mode && c->layer == r->layer &&
           (bands || fabs(c->amount - r->amount) < 1e-12) &&
           strcmp(rs_ablation_row_heads(c), rs_ablation_row_heads(r)) == 0;
}

static int by_value(const void *x, const void *y) {
    const double *a = x, *b = y;
    return *a < *b ? -1 : *a > *b;
}

static double nll_of(const rs_ablation_row *r) { return r->nll.mean; }
static double accuracy_of(const rs_ablation_row *r) { return r->accuracy.mean; }

/* What the random controls of x have, ascending; returns how many. */
static size_t control_values(const rs_ablation_rows *r, const rs_ablation_row *x,
                             double (*of)(const rs_ablation_row *r), double v[MOST_SEEDS]) {
    size_t n = 0;
    for (size_t i = 0; i < r->n && n < MOST_SEEDS; i++) {
        if (controls(&r->item[i], x)) {
            v[n++] = of(&r->item[i]);
        }
    }
    qsort(v, n, sizeof *v, by_value);
    return n;
}

static double median(const double *v, size_t n) { return (v[(n - 1) / 2] + v[n / 2]) / 2; }

static void show_controls(const rs_ablation_rows *r, const rs_ablation_row *x, rs_text *t) {
    double v[MOST_SEEDS];
    size_t n = control_values(r, x, nll_of, v);
    if (n == 0) {
        rs_text_printf(t, "  -  %+8.4f\n", x->accuracy.mean);
        return;
    }
    rs_text_printf(t, "  %+9.4f (%+.4f .. %+.4f), %zu", median(v, n), v[0], v[n - 1], n);
    n = control_values(r, x, accuracy_of, v);
    rs_text_printf(t, "  %+8.4f, %+.4f\n", x->accuracy.mean, median(v, n));
}

static void show_text(const rs_ablation_rows *r, rs_text *t) {
    rs_text_append(
        t, "loss in nats per token, edited minus unedited, with its 95 % interval over sequences; beside it "
           "the median of random pairs, as many in the same heads (their range), and how many such controls; "
           "then the share of tokens that are the likeliest, edited minus unedited, and its random median\n"
           "experiment  edit      ranking                            amount layer     pairs     delta   interval  "
           "              random                             accuracy\n");
    for (size_t i = 0; i < r->n; i++) {
        const rs_ablation_row *x = &r->item[i];
        char layer[16] = "all", amount[16];
        rs_experiment e = (rs_experiment)x->experiment;
        const char *word = rs_ablation_amount_name(e, x->amount);
        if (x->seed >= 0) {
            continue;
        }
        if (x->layer >= 0) {
            snprintf(layer, sizeof layer, "%d", x->layer);
        }
        if (word) {
            snprintf(amount, sizeof amount, "%s", word);
        } else {
            snprintf(amount, sizeof amount, "%g", x->amount);
        }
        rs_text_printf(t, "%-11s %-9s %-30s %10s %5s %9lld %+9.4f  [%+.4f, %+.4f]", rs_experiment_name(e),
                       rs_ablate_mode_name((rs_ablate_mode)x->mode), rs_experiment_is_band(e) ? "-" : x->ranking,
                       amount, layer, (long long)x->pairs, x->nll.mean, x->nll.lo, x->nll.hi);
        show_controls(r, x, t);
    }
}

static void json_number(rs_text *t, const char *name, double x) {
    if (isnan(x)) {
        rs_text_printf(t, ",\"%s\":null", name);
    } else {
        rs_text_printf(t, ",\"%s\":%.17g", name, x);
    }
}

static void show_json(const rs_ablation_rows *r, rs_text *t) {
    rs_text_append(t, "[");
    for (size_t i = 0; i < r->n; i++) {
        const rs_ablation_row *x = &r->item[i];
        rs_text_printf(t, "%s{\"experiment\":\"%s\",\"mode\":\"%s\",\"ranking\":", i ? ",\n" : "\n",
                       rs_experiment_name((rs_experiment)x->experiment), rs_ablate_mode_name((rs_ablate_mode)x->mode));
        rs_text_json_string(t, x->ranking, strlen(x->ranking));
        json_number(t, "amount", x->amount);
        json_number(t, "seed", x->seed < 0 ? (double)NAN : x->seed);
        json_number(t, "layer", x->layer < 0 ? (double)NAN : x->layer);
        json_number(t, "pairs", (double)x->pairs);
        json_number(t, "delta_nll", x->nll.mean);
        json_number(t, "delta_lo", x->nll.lo);
        json_number(t, "delta_hi", x->nll.hi);
        json_number(t, "delta_accuracy", x->accuracy.mean);
        json_number(t, "accuracy_lo", x->accuracy.lo);
        json_number(t, "accuracy_hi", x->accuracy.hi);
        rs_text_append(t, ",\"heads\":");
        rs_text_json_string(t, rs_ablation_row_heads(x), strlen(rs_ablation_row_heads(x)));
        rs_text_append(t, "}");
    }
    rs_text_append(t, "\n]\n");
}

static void csv_number(rs_text *t, double x) {
    if (isnan(x)) {
        rs_text_append(t, ",");
    } else {
        rs_text_printf(t, ",%.17g", x);
    }
}

static void show_csv(const rs_ablation_rows *r, rs_text *t) {
    rs_text_append(
        t, "experiment,mode,ranking,amount,seed,layer,pairs,delta_nll,delta_lo,delta_hi,delta_accuracy,accuracy_lo,"
           "accuracy_hi,heads\n");
    for (size_t i = 0; i < r->n; i++) {
        const rs_ablation_row *x = &r->item[i];
        rs_text_printf(t, "%s,%s,%s", rs_experiment_name((rs_experiment)x->experiment),
                       rs_ablate_mode_name((rs_ablate_mode)x->mode), x->ranking);
        csv_number(t, x->amount);
        csv_number(t, x->seed < 0 ? (double)NAN : x->seed);
        csv_number(t, x->layer < 0 ? (double)NAN : x->layer);
        csv_number(t, (double)x->pairs);
        csv_number(t, x->nll.mean);
        csv_number(t, x->nll.lo);
        csv_number(t, x->nll.hi);
        csv_number(t, x->accuracy.mean);
        csv_number(t, x->accuracy.lo);
        csv_number(t, x->accuracy.hi);
        rs_text_printf(t, ",\"%s\"\n", rs_ablation_row_heads(x));
    }
}

void rs_ablation_rows_show(const rs_ablation_rows *r, rs_ablation_format f, rs_text *out) {
    void (*const show[])(const rs_ablation_rows *, rs_text *) = {show_text, show_json, show_csv};
    show[f](r, out);
}
