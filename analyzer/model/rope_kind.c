/* The formulas of rope_type. Written from the papers named in rope.h and from what Hugging Face transformers 5 computes
 * (modeling_rope_utils.py); in float64, where transformers computes in float32. */
#include "analyzer/model/rope_kind.h"

#include <math.h>
#include <string.h>

static const double TAU = 6.283185307179586476925286766559;

static double power(double base, int i, int width) { return pow(base, -2.0 * i / width); }

static void set(rs_rope_ladder *l, int i, double theta, rs_pair_region region) {
    l->theta[i] = theta;
    l->region[i] = (uint8_t)region;
}

static rs_status fill_none(const rs_rope_spec *s, rs_rope_ladder *l, rs_error *err) {
    (void)s, (void)l, (void)err;
    return RS_OK;
}

static rs_status fill_linear(const rs_rope_spec *s, rs_rope_ladder *l, rs_error *err) {
    (void)err;
    for (int i = 0; i < l->n; i++)
        set(l, i, power(s->base, i, s->rotary_dim) / s->factor, s->factor != 1.0 ? RS_PAIR_SCALED : RS_PAIR_KEPT);
    return RS_OK;
}

static rs_status fill_default(const rs_rope_spec *s, rs_rope_ladder *l, rs_error *err) {
    rs_rope_spec plain = *s;
    plain.factor = 1.0;
    return fill_linear(&plain, l, err);
}

static rs_status fill_dynamic(const rs_rope_spec *s, rs_rope_ladder *l, rs_error *err) {
    double original = s->original_context, context = fmax(s->context, original), d = s->rotary_dim;
    if (!(original > 0) || s->rotary_dim <= 2)
        return rs_fail(err, RS_E_MISMATCH,
                       "rope_type 'dynamic': original context %g and rotary width %d, expected above 0 and above 2",
                       original, s->rotary_dim);
    double stretch = pow(s->factor * context / original - (s->factor - 1.0), d / (d - 2.0));
    for (int i = 0; i < l->n; i++)
        set(l, i, power(s->base * stretch, i, s->rotary_dim), stretch != 1.0 && i > 0 ? RS_PAIR_SCALED : RS_PAIR_KEPT);
    return RS_OK;
}

static rs_status fill_llama3(const rs_rope_spec *s, rs_rope_ladder *l, rs_error *err) {
    double low = s->low_freq_factor, high = s->high_freq_factor, original = s->original_context;
    if (!(low > 0) || !(high > low) || !isfinite(high) || !(original > 0))
        return rs_fail(
            err, RS_E_MISMATCH,
            "rope_type 'llama3': low_freq_factor %g, high_freq_factor %g, original context %g; expected 0 < low < "
            "high and a positive context",
            low, high, original);
    for (int i = 0; i < l->n; i++) {
        double theta = power(s->base, i, s->rotary_dim), turns = original * theta / TAU;
        double smooth = (turns - low) / (high - low);
        if (turns > high) set(l, i, theta, RS_PAIR_KEPT);
        else if (turns < low) set(l, i, theta / s->factor, RS_PAIR_SCALED);
        else set(l, i, (1.0 - smooth) * theta / s->factor + smooth * theta, RS_PAIR_BLENDED);
    }
    return RS_OK;
}

static double yarn_mscale(double scale, double m) { return scale <= 1.0 ? 1.0 : 0.1 * m * log(scale) + 1.0; }

/* The pair that makes `turns` turns over the original context, as a real number. */
static double yarn_edge(const rs_rope_spec *s, double turns) {
    return s->rotary_dim * log(s->original_context / (turns * TAU)) / (2.0 * log(s->base));
}

static rs_status fill_yarn(const rs_rope_spec *s, rs_rope_ladder *l, rs_error *err) {
    if (!(s->original_context > 0) || !(s->beta_fast > 0) || !(s->beta_slow > 0) || !(s->base > 1))
        return rs_fail(err, RS_E_MISMATCH,
                       "rope_type 'yarn': original context %g, beta_fast %g, beta_slow %g, base %g; expected positive "
                       "numbers and a base above 1",
                       s->original_context, s->beta_fast, s->beta_slow, s->base);
    double low = yarn_edge(s, s->beta_fast), high = yarn_edge(s, s->beta_slow);
    if (s->truncate) low = floor(low), high = ceil(high);
    low = fmax(low, 0), high = fmin(high, s->rotary_dim - 1);
    if (low == high) high += 0.001;
    for (int i = 0; i < l->n; i++) {
        double theta = power(s->base, i, s->rotary_dim), ramp = fmin(fmax((i - low) / (high - low), 0), 1);
        set(l, i, theta / s->factor * ramp + theta * (1 - ramp),
            ramp <= 0   ? RS_PAIR_KEPT
            : ramp >= 1 ? RS_PAIR_SCALED
                        : RS_PAIR_BLENDED);
    }
    if (!isnan(s->attention_factor)) return RS_OK;
    bool both = s->mscale != 0 && s->mscale_all_dim != 0;
    l->attention_factor = both ? yarn_mscale(s->factor, s->mscale) / yarn_mscale(s->factor, s->mscale_all_dim)
                               : yarn_mscale(s->factor, 1.0);
    return RS_OK;
}

static rs_status fill_longrope(const rs_rope_spec *s, rs_rope_ladder *l, rs_error *err) {
    for (int i = 0; i < l->n; i++)
        set(l, i, power(s->base, i, s->rotary_dim) / s->divisors[i],
            s->divisors[i] == 1.0 ? RS_PAIR_KEPT : RS_PAIR_SCALED);
    if (!isnan(s->attention_factor)) return RS_OK;
    if (s->factor > 1.0 && !(s->original_context > 1.0))
        return rs_fail(err, RS_E_MISMATCH, "rope_type 'longrope': original context %g, expected above 1",
                       s->original_context);
    l->attention_factor = s->factor <= 1.0 ? 1.0 : sqrt(1.0 + log(s->factor) / log(s->original_context));
    return RS_OK;
}

/* Divisors that a file states without saying what they mean. Divisor 1 is a pair kept; the largest that still turns is
 * what the slow end was divided by (llama3 writes `factor` there); between them lies a blend. */
static rs_status fill_table(const rs_rope_spec *s, rs_rope_ladder *l, rs_error *err) {
    (void)err;
    double largest = 1.0;
    for (int i = 0; i < l->n; i++) {
        double theta = power(s->base, i, s->rotary_dim) / s->divisors[i] / s->factor;
        bool turns = theta * fmax(s->context, 1.0) >= RS_ROPE_RESOLUTION;
        set(l, i, theta, RS_PAIR_BLENDED);
        if (turns) largest = fmax(largest, s->divisors[i]);
    }
    for (int i = 0; i < l->n; i++) {
        if (s->divisors[i] == largest) l->region[i] = RS_PAIR_SCALED;
        if (s->divisors[i] == 1.0) l->region[i] = s->factor != 1.0 ? RS_PAIR_SCALED : RS_PAIR_KEPT;
    }
    return RS_OK;
}

static rs_status fill_proportional(const rs_rope_spec *s, rs_rope_ladder *l, rs_error *err) {
    if (!(s->proportion >= 0 && s->proportion <= 1))
        return rs_fail(err, RS_E_MISMATCH, "rope_type 'proportional': share of pairs %g, expected 0 to 1",
                       s->proportion);
    int turning = (int)floor(s->proportion * s->head_dim / 2.0);
    for (int i = 0; i < l->n; i++)
        set(l, i, i < turning ? power(s->base, i, s->head_dim) / s->factor : 0.0,
            s->factor != 1.0 ? RS_PAIR_SCALED : RS_PAIR_KEPT);
    return RS_OK;
}

static const rs_rope_kind kinds[] = {
    {"default", true, false, false, fill_default}, {"linear", true, false, true, fill_linear},
    {"dynamic", true, false, true, fill_dynamic},  {"yarn", true, false, true, fill_yarn},
    {"llama3", true, false, true, fill_llama3},    {"longrope", true, true, true, fill_longrope},
    {"table", true, true, true, fill_table},       {"proportional", true, false, true, fill_proportional},
    {"none", false, false, false, fill_none},
};

const rs_rope_kind *rs_rope_kind_find(const char *name) {
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i].name, name) == 0) return &kinds[i];
    return NULL;
}

bool rs_rope_kind_known(const char *kind) { return rs_rope_kind_find(kind) != NULL; }

const char *rs_rope_kinds(void) { return "default, linear, dynamic, yarn, llama3, longrope, proportional"; }
