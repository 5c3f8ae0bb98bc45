/* cli/check_theorems.h: check --theorems: the statements of arXiv 2410.06205 on a rotary table, in words. Used by
 * cmd_check.c. */
#ifndef RS_CLI_CHECK_THEOREMS_H
#define RS_CLI_CHECK_THEOREMS_H

#include "analyzer/base/status.h"
#include "analyzer/base/text.h"

#include <stdbool.h>
#include <stdint.h>

/* A table to try them on. words: what it is, "layers 0-29 of MODEL: full RoPE, ...". theta [n_pairs]. */
typedef struct rs_theorem_table {
    const char *words;
    const double *theta;
    int n_pairs;
    int64_t context;
} rs_theorem_table;

/* Tries all and writes them as text or JSON. *all: those that apply hold. Fails: RS_E_NOMEM. */
rs_status rs_check_theorems(const rs_theorem_table *table, bool json, rs_text *out, bool *all, rs_error *err);
/* The table of `base` with n_pairs pairs: base^(-i / n_pairs). theta [n_pairs] */
void rs_plain_table(double base, int n_pairs, double *theta);

#endif
