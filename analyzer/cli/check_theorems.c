#include "analyzer/cli/check_theorems.h"

#include "analyzer/model/rope_theorems.h"

#include <math.h>
#include <string.h>

enum { COLUMNS = 80, INDENT = 26 };

void rs_plain_table(double base, int n_pairs, double *theta) {
    for (int i = 0; i < n_pairs; i++) {
        theta[i] = pow(base, -(double)i / n_pairs);
    }
}

/* Words in lines of COLUMNS led by `lead` blanks; the first one goes on where the line stands, at column `lead`. */
static void wrap(rs_text *t, const char *words, int lead) {
    int at = lead;
    for (const char *p = words; *p;) {
        int n = (int)strcspn(p, " ");
        if (at > lead && at + 1 + n > COLUMNS) {
            rs_text_printf(t, "\n%*s", lead, "");
            at = lead;
        } else if (at > lead) {
            rs_text_append(t, " ");
            at++;
        }
        rs_text_append_n(t, p, (size_t)n);
        at += n;
        p += n + (p[n] == ' ');
    }
    rs_text_append(t, "\n");
}

static const char *outcome(const rs_theorem *x) { return !x->applies ? "-" : x->holds ? "holds" : "FAILS"; }

static void show_text(const rs_theorem_table *table, const rs_theorem x[RS_THEOREMS], rs_text *t) {
    rs_text head = {0};
    rs_text_printf(&head,
                   "What rotation can and cannot do (Barbero et al., arXiv 2410.06205), tried out on %s at %lld "
                   "positions. No weights are used: the heads are those of the proofs.",
                   table->words, (long long)table->context);
    wrap(t, head.data ? head.data : "", 0);
    t->failed |= head.failed;
    rs_text_deinit(&head);
    for (int i = 0; i < RS_THEOREMS; i++) {
        rs_text_printf(t, "\n%-8s%-*s", outcome(&x[i]), INDENT - 8, x[i].name);
        wrap(t, x[i].claim, INDENT);
        rs_text_printf(t, "%*s", INDENT, "tried:  ");
        wrap(t, x[i].found, INDENT);
    }
}

static void show_json(const rs_theorem_table *table, const rs_theorem x[RS_THEOREMS], rs_text *t) {
    rs_text_append(t, "{\"table\":");
    rs_text_json_string(t, table->words, strlen(table->words));
    rs_text_printf(t, ",\"context\":%lld,\"theorems\":[", (long long)table->context);
    for (int i = 0; i < RS_THEOREMS; i++) {
        const char *const texts[][2] = {{"name", x[i].name}, {"claim", x[i].claim}, {"found", x[i].found}};
        rs_text_printf(t, "%s\n{\"holds\":%s", i ? "," : "", !x[i].applies ? "null" : x[i].holds ? "true" : "false");
        for (size_t k = 0; k < sizeof texts / sizeof *texts; k++) {
            rs_text_printf(t, ",\"%s\":", texts[k][0]);
            rs_text_json_string(t, texts[k][1], strlen(texts[k][1]));
        }
        rs_text_append(t, "}");
    }
    rs_text_append(t, "]}\n");
}

rs_status rs_check_theorems(const rs_theorem_table *table, bool json, rs_text *out, bool *all, rs_error *err) {
    rs_theorem x[RS_THEOREMS];
    rs_status st = rs_rope_theorems(table->theta, table->n_pairs, table->context, 1, x, err);
    *all = st == RS_OK;
    if (st != RS_OK) {
        return st;
    }
    for (int i = 0; i < RS_THEOREMS; i++) {
        *all = *all && (!x[i].applies || x[i].holds);
    }
    (json ? show_json : show_text)(table, x, out);
    return RS_OK;
}
