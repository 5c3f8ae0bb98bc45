#include "analyzer/base/verdict_name.h"

#include <stddef.h>

const char *rs_verdict_name(int verdict) {
    static const char *const names[RS_VERDICTS] = {"undecided", "positional", "semantic", "bias", "idle"};
    return verdict >= 0 && verdict < RS_VERDICTS ? names[verdict] : NULL;
}
