#include "probes/verdict.h"

#include <math.h>

static double least(double a, double b) { return a < b ? a : b; }

rs_verdict rs_verdict_of(const rs_verdict_numbers *n) {
    double lift = fabs(n->lift);
    if (isnan(n->zero) || isnan(lift)) {
        return RS_VERDICT_UNDECIDED;
    }
    if (n->zero < RS_IDLE_NATS && lift < RS_IDLE_LIFT) {
        return RS_VERDICT_IDLE;
    }
    if (lift < least(RS_ACTS_LIFT, RS_ACTS_TOGETHER * n->spread)) {
        return RS_VERDICT_UNDECIDED;
    }
    if (n->rest < RS_VERDICT_LITTLE * n->zero) {
        return RS_VERDICT_BIAS;
    }
    if (n->unrotate <= RS_VERDICT_LITTLE * n->zero) {
        return RS_VERDICT_SEMANTIC;
    }
    return n->unrotate >= RS_VERDICT_MUCH * n->zero ? RS_VERDICT_POSITIONAL : RS_VERDICT_UNDECIDED;
}
