/* reports/comparison.h: several runs, ready to be shown side by side. Runs with one label are repeats of one variant
 * (seeds); the first variant is the reference. Like view.h for one run, this is the only place where numbers are
 * derived for a comparison: the formats print what stands here. Knows view.h, no format. comparison.c opens and groups,
 * comparison_facts.c says what is equal, comparison_numbers.c measures and tests, comparison_words.c says it; read by
 * render_*.c and page_*.c. */
#ifndef RS_REPORTS_COMPARISON_H
#define RS_REPORTS_COMPARISON_H

#include "analyzer/base/arena.h"
#include "analyzer/base/status.h"
#include "reports/quantities.h"
#include "reports/report.h"
#include "reports/view.h"

#include <stdbool.h>
#include <stddef.h>

/* How far the positions of a variant reach into the head: what tells the variants of arXiv 2410.06205 and 2603.11611
 * apart. Read from the frequencies, never from names. MIXED: layers that differ, or none of the others. */
typedef enum rs_encoding_kind {
    RS_ENCODING_FULL,     /* every pair rotates */
    RS_ENCODING_PARTIAL,  /* the first components rotate, by frequencies of their own range */
    RS_ENCODING_P_ROPE,   /* the fastest pairs of full RoPE rotate */
    RS_ENCODING_REVERSED, /* the slowest pairs of full RoPE rotate */
    RS_ENCODING_NOPE,     /* none rotates */
    RS_ENCODING_MIXED,
    RS_ENCODINGS
} rs_encoding_kind;

typedef struct rs_compared_run {
    rs_report_view *view; /* owned by the comparison */
    int variant;          /* index into variants */
    const char *reason;   /* why it is shown but not compared; "" when it is compared */
} rs_compared_run;

/* A label and its runs. Shares and maps are means over the runs that are compared (over all of its runs when none is).
 */
typedef struct rs_variant {
    const char *label;
    const rs_report_view *view; /* of its first run: shapes, rotary tables */
    rs_encoding_kind encoding;
    double fraction;    /* rotated pairs / pairs of the main rope */
    const int *runs;    /* [n_runs] indices into the comparison's runs */
    int n_runs;         /* all runs with this label */
    int n_compared;     /* of them; 0: shown, not compared */
    bool repeats;       /* n_compared >= 2 */
    const int *aligned; /* [pairs of the reference] the pair of this variant with the same two components; NULL where
                           the two do not pair the same components */
    int pairs, layers;
    const double *q_share, *k_share,
        *v_share;                /* [pairs] of the main rope, mean over heads, layers and runs; NULL: not measured */
    const double *q_map, *k_map; /* [layers, pairs] mean over heads and runs; NULL: not measured */
} rs_variant;

/* What is equal between variants and what is not: one row of a table, a value per variant. */
typedef struct rs_compared_fact {
    const char *key, *label;
    const char *const *values; /* [n_variants] ready to be shown */
    bool equal;
} rs_compared_fact;

typedef enum rs_compared_verdict {
    RS_COMPARED_REFERENCE, /* it is the reference */
    RS_COMPARED_DIFFERS,   /* the interval of the difference leaves out 0 */
    RS_COMPARED_WITHIN,    /* it does not: what differs is no more than seeds differ */
    RS_COMPARED_UNKNOWN,   /* no variant has repeats, or one of the two was not measured */
    RS_COMPARED_VERDICTS
} rs_compared_verdict;

/* A quantity of one variant. NaN = not measured or not defined. */
typedef struct rs_estimate {
    const double *runs;     /* [n_compared of the variant] */
    double mean, low, high; /* over its runs */
    double difference;      /* from the reference */
    double half_width;      /* of its 95% interval over seeds; NaN when no variant has repeats */
    double text_half_width; /* the same over sequences of the text, paired (loss only); NaN otherwise */
    rs_compared_verdict verdict;
} rs_estimate;

typedef struct rs_compared_quantity {
    const rs_quantity *quantity;
    double spread;       /* standard deviation of runs within variants, pooled; NaN without repeats */
    int degrees;         /* of freedom of it */
    rs_estimate *values; /* [n_variants] */
} rs_compared_quantity;

/* Loss of a variant minus that of the reference in one bucket of positions, on the same tokens. */
typedef struct rs_loss_difference {
    int64_t first, last; /* positions */
    double difference;   /* nats; NaN without tokens */
    double half_width;   /* 95%, over sequences */
} rs_loss_difference;

/* What a paper found and what these runs show (comparison_published.c). */
typedef struct rs_published_row {
    const char *what;        /* "loss of 0.75 p-RoPE minus that of full RoPE" */
    const char *unit;        /* "nats", "times uniform" */
    double theirs;           /* NaN where the paper gives no number */
    double ours, half_width; /* 95% over seeds; NaN when unknown */
    const char *says;        /* one sentence: agrees, contradicts, too small to tell */
    const char *source;
} rs_published_row;

enum { RS_COMPARED_FACTS = 24, RS_COMPARED_QUANTITIES = 48, RS_COMPARED_FINDINGS = 20, RS_PUBLISHED_ROWS = 16 };

typedef struct rs_comparison {
    rs_arena *arena;
    const char *program;
    rs_compared_run *runs; /* [n_runs] as given */
    int n_runs;
    rs_variant *variants; /* [n_variants] in order of first run; 0 is the reference */
    int n_variants;
    int n_compared; /* runs that are compared */
    bool repeats;   /* some variant has two compared runs or more */
    rs_compared_fact facts[RS_COMPARED_FACTS];
    int n_facts;
    rs_compared_quantity quantities[RS_COMPARED_QUANTITIES];
    int n_quantities;
    rs_loss_difference *
        *loss_differences; /* [n_variants] each [n_loss_buckets]; NULL for the reference and for what is not compared */
    int n_loss_buckets;
    rs_view_finding findings[RS_COMPARED_FINDINGS];
    int n_findings;
    rs_published_row published[RS_PUBLISHED_ROWS];
    int n_published;
    int n_tests, n_beyond; /* differences tested, and those beyond the spread of seeds: 1 in 20 would be by chance */
} rs_comparison;

/* Opens all runs (n >= 2). Runs on other tokens than the first (text, tokenizer, context) are kept with the reason and
 * left out of every number. Fails: RS_E_USAGE for fewer than two runs or the same weights twice under one label; what
 * rs_report_view_open fails with. Free with rs_comparison_close. */
rs_status rs_comparison_open(const rs_labelled_run *runs, size_t n, const char *program, rs_comparison **out,
                             rs_error *err);
void rs_comparison_close(rs_comparison *c); /* NULL is fine */

/* Quantity by key, NULL when nobody measured it. */
const rs_compared_quantity *rs_comparison_quantity(const rs_comparison *c, const char *key);
/* 97.5% quantile of Student's t with `degrees` of freedom (>= 1). */
double rs_student_975(int degrees);
extern const char *const rs_encoding_names[RS_ENCODINGS];        /* "full RoPE", "partial RoPE", ... */
extern const char *const rs_verdict_names[RS_COMPARED_VERDICTS]; /* "reference", "differs", "within", "unknown" */

/* --- the steps of rs_comparison_open, in order --- */
rs_status rs_comparison_state_facts(rs_comparison *c, rs_error *err);
rs_status rs_comparison_measure(rs_comparison *c, rs_error *err);
rs_status rs_comparison_say(rs_comparison *c, rs_error *err);
rs_status rs_comparison_set_beside_papers(rs_comparison *c, rs_error *err);

#endif
