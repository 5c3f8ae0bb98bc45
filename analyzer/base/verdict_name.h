/* base/verdict_name.h: what a rotary pair of a head can be for. The numbers stand in run files (/contribution/verdict),
 * so that whoever writes, edits by or shows them shares this list; the rule that gives them is probes/verdict.h. */
#ifndef RS_BASE_VERDICT_NAME_H
#define RS_BASE_VERDICT_NAME_H

typedef enum rs_verdict {
    RS_VERDICT_UNDECIDED,  /* no more than random weights of its size would do; or between the lines */
    RS_VERDICT_POSITIONAL, /* its rotation matters: not rotating it changes attention half as much as removing it, or
                              more */
    RS_VERDICT_SEMANTIC,   /* it matters, its rotation does not: not rotating it changes at most a fifth */
    RS_VERDICT_BIAS,       /* what it does is to send attention to position 0, or away from there */
    RS_VERDICT_IDLE,       /* removing it changes next to nothing */
    RS_VERDICTS
} rs_verdict;

/* "undecided", "positional", "semantic", "bias", "idle"; NULL for any other number. */
const char *rs_verdict_name(int verdict);

#endif
