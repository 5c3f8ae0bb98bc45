/* What was measured, every row, for programs; people get the table of reports/report.h. */
#include "analyzer/cli/ablation_rows.h"

#include <math.h>
#include <string.h>

static void json_number(rs_text *t, const char *name, double x) {
    if (isnan(x)) {
        rs_text_printf(t, ",\"%s\":null", name);
    } else {
        rs_text_printf(t, ",\"%s\":%.17g", name, x);
    }
}

void rs_ablation_rows_json(const rs_ablation_rows *r, rs_text *t) {
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

void rs_ablation_rows_csv(const rs_ablation_rows *r, rs_text *t) {
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
