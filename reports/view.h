/* reports/view.h: a run, ready to be shown. The view is the only place where numbers are derived for showing: the
 * formats print what stands here and compute nothing, so that page, text, JSON and CSV cannot disagree. Knows
 * data/store.h, no format. Written by view.c, view_layers.c, view_distance.c,
 * view_spectrum.c (reading), view_derive.c,
 * view_heads.c, view_purpose.c and view_foretold.c (numbers), view_ablation.c (what was tried), view_words.c,
 * view_words_purpose.c and view_words_tried.c (sentences); read by render_*.c. */
#ifndef RS_REPORTS_VIEW_H
#define RS_REPORTS_VIEW_H

#include "analyzer/base/arena.h"
#include "analyzer/base/array.h"
#include "analyzer/base/json.h"
#include "analyzer/base/status.h"
#include "analyzer/base/text.h"
#include "analyzer/base/verdict_name.h"

#include <stdbool.h>
#include <stdint.h>

/* What a head mostly does. The rules (measure, threshold, order) are rs_head_kinds in measures.c; the first that fits
 * wins. */
typedef enum rs_head_kind {
    RS_HEAD_PREVIOUS,
    RS_HEAD_DIAGONAL,
    RS_HEAD_INDUCTION,
    RS_HEAD_FIRST,
    RS_HEAD_LOCAL,
    RS_HEAD_DIFFUSE,
    RS_HEAD_MIXED,
    RS_HEAD_KINDS
} rs_head_kind;

typedef struct rs_view_layer {
    int heads, kv_heads, head_dim, pairs; /* pairs = head_dim / 2 */
    int window;                           /* tokens; 0 = all earlier positions */
    int rope;                             /* index into ropes */
} rs_view_layer;

/* One distinct rotary table and the layers that use it. Arrays have one entry per pair, fastest first, unrotated ones
 * last. */
typedef struct rs_view_rope {
    const char *words, *kind, *source; /* words: "full RoPE, 32 pairs, base 100,000" */
    double base;                       /* 0 when nothing rotates */
    int pairs, rotated, n_layers;
    const int *layers;           /* [n_layers] */
    const double *theta;         /* [pairs] rad/token; 0 = not rotated */
    const double *wavelength;    /* [pairs] tokens; NaN = not rotated */
    const double *turns;         /* [pairs] over the analysed context */
    const double *turns_trained; /* [pairs] over the trained context; NaN when that is unknown */
    const double *factor;        /* [pairs] attention factor */
    const int *lo, *hi, *region; /* [pairs] components in Hugging Face order; region as in the store */
} rs_view_rope;

/* One query head. NaN = not measured; pairs -1. */
typedef struct rs_view_head {
    int layer, head, kv_head;
    double previous, first, diagonal, induction, duplicate, entropy, effective, mean_distance, local, toeplitz,
        split_half;
    double norm_split_half, fit_zero, fit_unrotate, logit_variance;
    double fast_share;                     /* of the q.k two-norm, in the fastest quarter of the rotated pairs */
    double align_diagonal, align_previous; /* logit at distance 0, 1 over its Cauchy-Schwarz bound */
    double verdict[RS_VERDICTS];           /* share of the head's pairs */
    double retrieval, copy;                /* of a task: attention to the context without position 0; copied tokens */
    int top_pair_q, top_pair_k;
    rs_head_kind kind; /* RS_HEAD_KINDS when attention was not measured */
} rs_view_head;

/* A sentence made from the numbers and the figure that proves it. */
typedef struct rs_view_finding {
    const char *key, *text, *figure; /* figure: id on the page, "" for none */
    bool answer;                     /* says what the pairs are for or what that cost: stands before all pictures */
} rs_view_finding;

enum { RS_VIEW_FINDINGS = 24, RS_VIEW_QUANTITIES = 12, RS_VIEW_BANDS = 8 };
/* A picture that every head has is drawn at half its resolution where all of them would take more numbers: the page
 * stays small enough to be mailed (under 3 MB for 32 layers of 32 heads with 64 pairs). */
enum { RS_VIEW_HEAD_NUMBERS = 131072 };

/* A band of neighbouring pairs of one rotary table: what the text form and the sentences speak of. NaN = not measured.
 */
typedef struct rs_view_band {
    int first, last;                  /* pairs, inclusive */
    double longest, shortest;         /* wavelengths in tokens; NaN = not rotated */
    double q_share, k_share, v_share; /* sums over the band of the mean share; 1 over all bands */
    double zero_cost, unrotate_cost;  /* median over heads, layers and the band's pairs */
    double verdict[RS_VERDICTS];      /* share of the band's pairs in all heads; 1 over the verdicts */
} rs_view_band;

/* What an edit changes: with it less without; median and range of as many random pairs of the same heads. NaN: not
 * measured. */
typedef struct rs_view_change {
    double delta, lo, hi;        /* 95 % interval over sequences; NaN for one sequence */
    double control, least, most; /* of the random edits */
    int controls;
} rs_view_change;

/* One ablation that was measured. */
typedef struct rs_view_ablation {
    const char *experiment, *mode, *ranking, *heads; /* words of the file; heads: "3.1,5.2", "retrieval", "" for all */
    const char *amount_name;                         /* of a verdict, "" where the amount is a number */
    double amount;
    int layer;               /* -1: all */
    rs_view_change loss;     /* nats per scored token */
    rs_view_change accuracy; /* share of the scored tokens that are the likeliest */
    int64_t pairs;           /* edited, per query head */
    /* in words (view_words_tried.c): "pairs called idle", "removed", "in every head" */
    const char *what, *how, *where;
} rs_view_ablation;

/* How well costs of single pairs, summed, foretell the loss: over the edits of one band in one layer. */
enum { RS_FORETOLD_CLOSED, RS_FORETOLD_SAMPLED, RS_FORETOLD_KL, RS_FORETOLD_NORM, RS_FORETOLD_COSTS };
typedef struct rs_view_foretold {
    const char *mode; /* "zero", "unrotate" */
    int64_t edits;
    double rank[RS_FORETOLD_COSTS]; /* rank correlation with the change of the loss; NaN: not measured */
} rs_view_foretold;

typedef struct rs_report_view {
    rs_arena *arena;
    const char *path, *program;
    struct rs_report_view
        *control; /* the same model with shuffled weights on the same tokens, owned; NULL: not given */
    /* facts of the run, "" or -1 or NaN when the file has none */
    const char *tool, *tool_version, *command_line, *created, *model_name, *model_path, *model_container, *family,
        *rope_words;
    const char *ids_sha256, *tokenizer, *bos, *perplexity_definition, *device, *compute, *probes, *schema_version,
        *seed;
    const char *task;                                  /* "" for a text */
    double answer_accuracy, answers_whole, answer_nll; /* of a task */
    int64_t task_items, task_gold;                     /* 0: as the file has them; drawn */
    int64_t control_seed;                              /* > 0: this run is itself a control, by this seed */
    const char *warnings;                              /* one a line */
    int64_t parameters, trained_context, vocab, width, context, sequences, tokens, threads, peak_memory;
    double mean_nll, perplexity, seconds, tokens_per_second;
    const rs_json *model_files, *text_files; /* lists of objects, or NULL; owned by the two roots below */
    rs_json *model_files_root, *text_files_root, *layer_facts_root;
    /* shapes */
    int n_layers, n_heads, n_kv_heads, n_pairs; /* largest over layers */
    int64_t n_head_rows;
    rs_view_layer *layers; /* [n_layers] */
    rs_view_rope *ropes;   /* [n_ropes] in order of first layer */
    int n_ropes;
    bool rotates;        /* some pair of some layer does */
    rs_view_head *heads; /* [n_head_rows] by layer, then head; padded heads are not in it */
    /* numbers: as stored under the store's names, and derived (view_derive.c lists them) */
    rs_arrays stored, derived;
    /* words */
    rs_view_finding findings[RS_VIEW_FINDINGS];
    int n_findings;
    int head_kind_count[RS_HEAD_KINDS];
    /* what the pairs are for (view_purpose.c): counted over all heads; pairs 0 when no verdicts were measured */
    int64_t verdict_count[RS_VERDICTS], verdict_pairs;
    double verdict_lo[RS_VERDICTS], verdict_hi[RS_VERDICTS]; /* 95 % bootstrap of the shares over the folds of
                                                                sequences; NaN: a single one */
    double fast_auc;          /* chance that a positional head has a larger fast_share than another; NaN without both */
    int64_t positional_heads; /* of kind previous token or diagonal */
    double positional_fast_share, other_fast_share; /* medians */
    double verdict_agreement;    /* share on which two halves of the sequences say the same; NaN for one sequence */
    rs_view_ablation *ablations; /* [n_ablations] in the order they were planned; controls are folded in */
    int64_t n_ablations;
    int64_t ablation_sequences;   /* they were measured on */
    rs_view_foretold foretold[2]; /* [n_foretold]; reliability/foretold_zero, foretold_unrotate have the rows */
    int n_foretold;
    rs_view_band bands[RS_VIEW_BANDS]; /* of the table most layers use */
    int n_bands, main_rope;
} rs_report_view;

/* Reads the run file and derives everything. control: run file of its control (audit --control), shown beside it; NULL:
 * none. Fails: what rs_store_open fails with; RS_E_FORMAT when the RoPE table or the attributes that every run has are
 * missing (named); RS_E_USAGE when the control is none, or one of another shape or of other tokens (found and expected
 * are named). Free with rs_report_view_close. */
rs_status rs_report_view_open(const char *path, const char *control, const char *program, rs_report_view **out,
                              rs_error *err);
void rs_report_view_close(rs_report_view *v); /* NULL is fine */

/* Stored or derived array by name, NULL when the run has none (the probe was not run). */
const rs_array *rs_view_array(const rs_report_view *v, const char *name);
/* Cell of an array of 2 to 4 axes; NaN outside of it or when a is NULL. Unused indices are 0. */
double rs_view_cell(const rs_array *a, int64_t i, int64_t j, int64_t k);
/* Mean over heads and layers by pair of the main rope: [*pairs] of the array by_frequency/..., NULL when the run has
 * none. */
const double *rs_view_main_means(const rs_report_view *v, const char *by_frequency, int64_t *pairs);
/* Bytes of the cos and sin tables of all distinct rotations for the nth context of axis/cache_context. */
double rs_view_cache_bytes(const rs_report_view *v, int64_t n);
/* The ablation of all heads and layers by experiment, mode and amount, under the ranking (NULL: any); NULL when it was
 * not measured. */
const rs_view_ablation *rs_view_ablation_find(const rs_report_view *v, const char *experiment, const char *mode,
                                              const char *ranking, double amount);
/* Whether a picture of so many numbers is drawn at half its resolution, because every head has one. */
bool rs_view_halved(const rs_report_view *v, int64_t numbers);
/* Text of a finding by key, NULL when it could not be made. */
const char *rs_view_finding_text(const rs_report_view *v, const char *key);

/* --- the steps of rs_report_view_open, in order (view_ablation.c, view_purpose.c, view_derive.c, view_words.c) --- */
struct rs_store;
rs_status rs_view_read_ablations(rs_report_view *v, struct rs_store *s, rs_error *err);
rs_status rs_view_ablation_words(const rs_report_view *v, rs_view_ablation *a,
                                 rs_error *err); /* fills what, how, where */
rs_status rs_view_purpose(rs_report_view *v, rs_error *err);
rs_status rs_view_derive(rs_report_view *v, rs_error *err);
rs_status rs_view_foretell(rs_report_view *v, rs_error *err);         /* view_foretold.c: after derive */
rs_status rs_view_head_pictures(rs_report_view *v, rs_error *err);    /* view_heads.c */
rs_status rs_view_head_types(rs_report_view *v, rs_error *err);       /* fast_share, verdict of v->heads; fast_auc */
void rs_view_band_verdicts(const rs_report_view *v, rs_view_band *b); /* fills b->verdict from first and last */
/* Adds the sentence t (taken, also when it fails) to the findings; an empty one is left out. */
rs_status rs_view_add_finding(rs_report_view *v, const char *key, const char *figure, rs_text *t, rs_error *err);
rs_status rs_view_say_purpose(rs_report_view *v, rs_error *err); /* view_words_purpose.c */
rs_status rs_view_say_tried(rs_report_view *v, rs_error *err);   /* view_words_tried.c: as part of the purpose */
rs_status rs_view_say(rs_report_view *v, rs_error *err);

#endif
