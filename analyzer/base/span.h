/* base/span.h: stretches of positions of a sequence, and what a generated task says about one: from where the text is
 * made (data/tasks.h) to who measures on it (probes, ablate). */
#ifndef RS_BASE_SPAN_H
#define RS_BASE_SPAN_H

#include <stdint.h>

typedef struct rs_span {
    int32_t first, end; /* positions first .. end - 1 */
} rs_span;

/* Of one sequence. The question follows the context, the answer the question; the answer ends the sequence. */
typedef struct rs_task_spans {
    rs_span context;  /* everything in front of the question but a BOS */
    rs_span gold;     /* the item of the context that holds the answer */
    rs_span question; /* up to the first token of the answer */
    rs_span answer;   /* what must be predicted; the row in front of a token predicts it */
} rs_task_spans;

/* Mean of x [positions] over a span, which is not empty. */
static inline double rs_span_mean(const double *x, rs_span s) {
    double sum = 0;
    for (int32_t t = s.first; t < s.end; t++) {
        sum += x[t];
    }
    return sum / (double)(s.end - s.first);
}

#endif
