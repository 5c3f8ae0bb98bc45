/* The RoPE dictionary of config.json. Two generations spell it differently: transformers 4 has rope_theta at top level
 * and rope_scaling beside it (type key rope_type, earlier type); transformers 5 has rope_parameters, for some families
 * one per kind of layer. What is not understood is refused by name: a table that is silently wrong makes every number
 * after it wrong. */
#include "analyzer/model/config_read.h"

#include "analyzer/base/file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { NAME_BYTES = 96 };

/* Where the fields of one kind of layer are looked up: the overlay first, then the dictionary. */
typedef struct source {
    const rs_json *overlay, *dict;
    const char *overlay_name, *dict_name;
} source;

enum {
    FACTOR = 1,
    ORIGINAL = 2,
    LOW = 4,
    HIGH = 8,
    SHORT = 16,
    LONG = 32,
    ATTENTION = 64,
    YARN = 128,
    TYPE = 256, /* always read */
};

static const struct {
    const char *key;
    int bit;
} fields[] = {
    {"rope_type", TYPE},
    {"type", TYPE},
    {"rope_theta", TYPE},
    {"partial_rotary_factor", TYPE},
    {"factor", FACTOR},
    {"original_max_position_embeddings", ORIGINAL},
    {"low_freq_factor", LOW},
    {"high_freq_factor", HIGH},
    {"short_factor", SHORT},
    {"long_factor", LONG},
    {"attention_factor", ATTENTION},
    {"beta_fast", YARN},
    {"beta_slow", YARN},
    {"mscale", YARN},
    {"mscale_all_dim", YARN},
    {"truncate", YARN},
};

static const struct {
    const char *kind;
    int needs, reads;
} rules[] = {
    {"default", 0, 0},
    {"linear", FACTOR, FACTOR},
    {"dynamic", FACTOR, FACTOR},
    {"yarn", 0, FACTOR | ORIGINAL | ATTENTION | YARN},
    {"llama3", FACTOR | LOW | HIGH, FACTOR | LOW | HIGH | ORIGINAL},
    {"longrope", SHORT | LONG, SHORT | LONG | FACTOR | ORIGINAL | ATTENTION},
    {"proportional", 0, FACTOR},
};

static const rs_json *look(const source *s, const char *key, const char **where) {
    const rs_json *node = rs_json_get(s->overlay, key);
    *where = rs_json_is_null(node) ? s->dict_name : s->overlay_name;
    return rs_json_is_null(node) ? rs_json_get(s->dict, key) : node;
}

static int field_bit(const char *key) {
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (strcmp(fields[i].key, key) == 0) return fields[i].bit;
    return 0;
}

static rs_status check_dict(rs_reader *r, const rs_json *dict, const char *name, rs_error *err) {
    void *cursor = NULL;
    const char *key = NULL;
    for (const rs_json *v = rs_json_next(dict, &cursor, &key); v; v = rs_json_next(dict, &cursor, &key))
        if (!rs_json_is_null(v) && field_bit(key) == 0)
            return rs_fail(
                err, RS_E_UNSUPPORTED,
                "%s: field '%s.%.60s' is not known; known: rope_type, rope_theta, partial_rotary_factor, factor, "
                "original_max_position_embeddings, low_freq_factor, high_freq_factor, short_factor, long_factor, "
                "attention_factor, beta_fast, beta_slow, mscale, mscale_all_dim, truncate",
                r->file, name, key);
    return RS_OK;
}

/* rope_type after its old names. */
static rs_status read_kind(rs_reader *r, const rs_family *f, const source *s, rs_rope_spec *out, rs_error *err) {
    const char *where = NULL, *kind = NULL;
    const rs_json *node = look(s, "rope_type", &where);
    if (rs_json_is_null(node)) node = look(s, "type", &where);
    kind = rs_json_string(node, NULL);
    if (!rs_json_is_null(node) && !kind) return rs_field_fail(r, "rope_type", node, "a string", err);
    if (!kind) kind = "default";
    if (strcmp(kind, "su") == 0 || (f->yarn_is_longrope && strcmp(kind, "yarn") == 0)) kind = "longrope";
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        out->kind = rules[i].kind;
        if (strcmp(rules[i].kind, kind) == 0) return RS_OK;
    }
    return rs_fail(err, RS_E_UNSUPPORTED, "%s: rope_type '%.60s' is not supported; known: %s", r->file, kind,
                   rs_rope_kinds());
}

static rs_status check_fields(rs_reader *r, const source *s, const char *kind, int needs, int reads, rs_error *err) {
    rs_status st = RS_OK;
    for (size_t i = 0; i < sizeof fields / sizeof *fields && st == RS_OK; i++) {
        const char *where = NULL;
        const rs_json *node = look(s, fields[i].key, &where);
        if (rs_json_is_null(node) && (fields[i].bit & needs))
            return rs_fail(err, RS_E_FORMAT, "%s: field '%s.%s': found %s, expected a value: rope_type '%s' needs it",
                           r->file, where, fields[i].key, rs_json_kind_name(node), kind);
        if (!rs_json_is_null(node) && !(fields[i].bit & (reads | TYPE)))
            st = rs_warn(r, err, "%s: field '%s.%s' has no effect with rope_type '%s'", r->file, where, fields[i].key,
                         kind);
    }
    return st;
}

static rs_status read_number(rs_reader *r, const source *s, const char *key, double least, double most,
                             double otherwise, double *out, rs_error *err) {
    char field[NAME_BYTES];
    const char *where = NULL;
    const rs_json *node = look(s, key, &where);
    *out = otherwise;
    if (rs_json_is_null(node)) return RS_OK;
    snprintf(field, sizeof field, "%s.%s", where, key);
    return rs_node_real(r, node, field, least, most, out, err);
}

static rs_status read_list(rs_reader *r, const source *s, const char *key, rs_rope_spec *out, rs_error *err) {
    rs_status st = RS_OK;
    char field[NAME_BYTES];
    const char *where = NULL;
    double *list = NULL;
    const rs_json *node = look(s, key, &where);
    size_t n = rs_json_size(node);
    snprintf(field, sizeof field, "%s.%s", where, key);
    if (!rs_json_is(node, RS_JSON_ARRAY) || n == 0 || n > RS_MOST_HEAD_DIM)
        return rs_field_fail(r, field, node, "a list of one number per rotated pair", err);
    RS_TRY(RS_ARENA_NEW(r->arena, &list, n, err));
    for (size_t i = 0; i < n; i++) {
        list[i] = rs_json_real(rs_json_at(node, i), NAN);
        if (!(list[i] > 0)) return rs_field_fail(r, field, rs_json_at(node, i), "positive numbers", err);
    }
    out->divisors = list;
    out->n_divisors = (int)n;
out:
    return st;
}

/* The context before extension: a top-level field wins over the dictionary (phi3 keeps it there), else the trained one.
 */
static rs_status read_original(rs_reader *r, const source *s, const rs_draft *d, rs_rope_spec *out, rs_error *err) {
    rs_status st = RS_OK;
    double inside = 0;
    RS_TRY(read_number(r, s, "original_max_position_embeddings", 1, RS_MOST_CONTEXT, (double)d->context, &inside, err));
    if (d->family->original_context > 0) inside = (double)d->family->original_context;
    RS_TRY(
        rs_read_real(r, "original_max_position_embeddings", 1, RS_MOST_CONTEXT, inside, &out->original_context, err));
out:
    return st;
}

static rs_status read_truncate(rs_reader *r, const source *s, rs_rope_spec *out, rs_error *err) {
    const char *where = NULL;
    const rs_json *node = look(s, "truncate", &where);
    out->truncate = rs_json_bool(node, true);
    if (!rs_json_is_null(node) && !rs_json_is(node, RS_JSON_BOOL))
        return rs_field_fail(r, "truncate", node, "true or false", err);
    return RS_OK;
}

static rs_status read_scaling(rs_reader *r, const source *s, const rs_draft *d, rs_rope_spec *out, rs_error *err) {
    rs_status st = RS_OK;
    double stretch = 1;
    RS_TRY(read_original(r, s, d, out, err));
    if (strcmp(out->kind, "dynamic") == 0) out->original_context = (double)d->context;
    if (strcmp(out->kind, "yarn") == 0 || strcmp(out->kind, "longrope") == 0)
        stretch = (double)d->context / out->original_context;
    RS_TRY(read_number(r, s, "factor", 1e-6, 1e9, stretch, &out->factor, err));
    RS_TRY(read_number(r, s, "low_freq_factor", 1e-6, 1e9, 0, &out->low_freq_factor, err));
    RS_TRY(read_number(r, s, "high_freq_factor", 1e-6, 1e9, 0, &out->high_freq_factor, err));
    RS_TRY(read_number(r, s, "attention_factor", 0, 1e6, NAN, &out->attention_factor, err));
    RS_TRY(read_number(r, s, "beta_fast", 0, 1e9, 0, &out->beta_fast, err));
    RS_TRY(read_number(r, s, "beta_slow", 0, 1e9, 0, &out->beta_slow, err));
    if (out->beta_fast == 0) out->beta_fast = 32; /* transformers writes `or 32`, so 0 is as good as absent */
    if (out->beta_slow == 0) out->beta_slow = 1;
    RS_TRY(read_number(r, s, "mscale", 0, 1e6, 0, &out->mscale, err));
    RS_TRY(read_number(r, s, "mscale_all_dim", 0, 1e6, 0, &out->mscale_all_dim, err));
    RS_TRY(read_truncate(r, s, out, err));
    /* transformers chooses by the length of the sequence that is run */
    bool is_long = out->context > out->original_context;
    if (strcmp(out->kind, "longrope") == 0) RS_TRY(read_list(r, s, is_long ? "long_factor" : "short_factor", out, err));
out:
    return st;
}

/* What the family's own code makes of the share: transformers 5, compute_default_rope_parameters of each model. */
static rs_status apply_partial(rs_reader *r, const rs_draft *d, double share, rs_rope_spec *out, rs_error *err) {
    rs_status st = RS_OK;
    int D = (int)d->head_dim, width = (int)((double)D * share);
    out->rotary_dim = D;
    out->proportion = share;
    if (strcmp(out->kind, "proportional") == 0 || width == D) return RS_OK;
    if (!d->family->partial_prefix && strcmp(out->kind, "default") != 0)
        return rs_fail(
            err, RS_E_MISMATCH,
            "%s: partial_rotary_factor %g with rope_type '%s': the %s family rotates whole heads; expected 1, or "
            "rope_type 'proportional'",
            r->file, share, out->kind, d->family->name);
    if (!d->family->partial_prefix)
        return rs_warn(r, err,
                       "%s: partial_rotary_factor %g has no effect in the %s family with rope_type 'default' (as in "
                       "transformers): all %d components of a head rotate",
                       r->file, share, d->family->name, D);
    out->rotary_dim = width;
    if (width % 2 != 0)
        RS_TRY(rs_warn(r, err, "%s: %g of %d components is the odd width %d: as in transformers, %d components rotate",
                       r->file, share, D, width, width + 1));
out:
    return st;
}

static rs_status read_partial(rs_reader *r, const source *s, const rs_draft *d, rs_rope_spec *out, rs_error *err) {
    rs_status st = RS_OK;
    double outside = 1, share = 1;
    RS_TRY(rs_read_real(r, d->family->partial_key, 0, 1, d->family->partial, &outside, err));
    RS_TRY(read_number(r, s, "partial_rotary_factor", 0, 1, outside, &share, err));
    RS_TRY(apply_partial(r, d, share, out, err));
out:
    return st;
}

rs_status rs_pick_base(rs_reader *r, const rs_graph_options *o, bool stated, double value, const char *where,
                       double otherwise, rs_rope_spec *s, rs_error *err) {
    s->base = stated ? value : otherwise;
    if (stated && o->rope_theta > 0 && o->rope_theta != value)
        return rs_fail(err, RS_E_USAGE, "--rope-theta %g: %s carries its own base, %g (%s)", o->rope_theta, r->file,
                       value, where);
    if (stated) return rs_arena_printf(r->arena, &s->source, err, "%s in %s", where, rs_path_base(r->file));
    if (o->rope_theta > 0) {
        s->base = o->rope_theta;
        return rs_arena_printf(r->arena, &s->source, err, "--rope-theta (%s carries no base)", rs_path_base(r->file));
    }
    return rs_arena_printf(r->arena, &s->source, err, "the family's default (%s has no %s)", rs_path_base(r->file),
                           where);
}

static rs_status read_base(rs_reader *r, const rs_graph_options *o, const source *s, const rs_draft *d,
                           rs_layer_kind kind, rs_rope_spec *out, rs_error *err) {
    rs_status st = RS_OK;
    static const rs_graph_options none = {0};
    const rs_family *f = d->family;
    bool local = kind == RS_LAYER_SLIDING && f->local_theta_key != NULL;
    const char *outer = local ? f->local_theta_key : f->theta_key, *where = NULL;
    char field[NAME_BYTES];
    double inside = 0, outside = 0;
    RS_TRY(read_number(r, s, "rope_theta", 1e-6, 1e30, 0, &inside, err));
    RS_TRY(rs_read_real(r, outer, 1e-6, 1e30, 0, &outside, err));
    (void)look(s, "rope_theta", &where);
    snprintf(field, sizeof field, "%s.rope_theta", where);
    if (inside > 0 && outside > 0 && inside != outside)
        RS_TRY(rs_warn(r, err, "%s: field '%s' (%g) has no effect beside %s (%g)", r->file, outer, outside, field,
                       inside));
    RS_TRY(rs_pick_base(r, local ? &none : o, inside > 0 || outside > 0, inside > 0 ? inside : outside,
                        inside > 0 ? field : outer, local ? f->local_theta : f->theta, out, err));
out:
    return st;
}

static rs_status name_source(rs_reader *r, const source *s, rs_rope_spec *out, rs_error *err) {
    const char *base = out->source, *where = s->overlay ? s->overlay_name : s->dict_name;
    if (strcmp(out->kind, "default") == 0) return RS_OK;
    if (strcmp(out->kind, "longrope") == 0)
        return rs_arena_printf(
            r->arena, &out->source, err, "%s; %s.%s_factor for %.0f positions (original context %.0f)", base, where,
            out->context > out->original_context ? "long" : "short", out->context, out->original_context);
    return rs_arena_printf(r->arena, &out->source, err, "%s; %s in %s", base, out->kind, where);
}

static rs_status read_layer_kind(rs_reader *r, const rs_graph_options *o, const source *s, rs_layer_kind kind,
                                 rs_draft *d, rs_error *err) {
    rs_status st = RS_OK;
    rs_rope_spec *out = &d->rope[kind];
    out->context = (double)(o->context > 0 ? o->context : d->context);
    out->layout = out->hf_layout = d->family->hf_layout;
    out->head_dim = (int)d->head_dim;
    RS_TRY(check_dict(r, s->overlay, s->overlay_name, err));
    RS_TRY(check_dict(r, s->dict, s->dict_name, err));
    RS_TRY(read_kind(r, d->family, s, out, err));
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (strcmp(rules[i].kind, out->kind) == 0)
            RS_TRY(check_fields(r, s, out->kind, rules[i].needs, rules[i].reads, err));
    RS_TRY(read_base(r, o, s, d, kind, out, err));
    RS_TRY(read_partial(r, s, d, out, err));
    RS_TRY(read_scaling(r, s, d, out, err));
    RS_TRY(name_source(r, s, out, err));
out:
    return st;
}

static rs_status read_dict(rs_reader *r, const char *key, const rs_json **out, rs_error *err) {
    *out = rs_read_node(r, key);
    if (rs_json_is_null(*out)) *out = NULL;
    if (*out && !rs_json_is(*out, RS_JSON_OBJECT)) return rs_field_fail(r, key, *out, "an object or null", err);
    if (rs_json_size(*out) == 0) *out = NULL;
    return RS_OK;
}

/* One dictionary per kind of layer; rope_scaling, of the older generation, changes full layers alone. */
static rs_status read_nested(rs_reader *r, const rs_graph_options *o, const rs_json *scaling, const rs_json *parameters,
                             rs_draft *d, rs_error *err) {
    static const char *const names[] = {[RS_LAYER_FULL] = "full_attention", [RS_LAYER_SLIDING] = "sliding_attention"};
    static const char *const where[] = {
        [RS_LAYER_FULL] = "rope_parameters.full_attention", [RS_LAYER_SLIDING] = "rope_parameters.sliding_attention"};
    rs_status st = RS_OK;
    void *cursor = NULL;
    const char *key = NULL;
    for (const rs_json *v = rs_json_next(parameters, &cursor, &key); v; v = rs_json_next(parameters, &cursor, &key))
        if (!rs_json_is_null(v) && strcmp(key, names[0]) != 0 && strcmp(key, names[1]) != 0)
            return rs_fail(
                err, RS_E_UNSUPPORTED,
                "%s: field 'rope_parameters.%.60s' is not known in the %s family; expected full_attention and "
                "sliding_attention",
                r->file, key, d->family->name);
    for (int k = 0; k < RS_LAYER_KINDS; k++) {
        source s = {.dict = rs_json_get(parameters, names[k]), .dict_name = where[k], .overlay_name = "rope_scaling"};
        if (!rs_json_is_null(s.dict) && !rs_json_is(s.dict, RS_JSON_OBJECT))
            return rs_field_fail(r, where[k], s.dict, "an object or null", err);
        if (k == RS_LAYER_FULL) s.overlay = scaling;
        RS_TRY(read_layer_kind(r, o, &s, (rs_layer_kind)k, d, err));
    }
out:
    return st;
}

rs_status rs_config_hf_rope(rs_reader *r, const rs_graph_options *o, rs_draft *d, rs_error *err) {
    rs_status st = RS_OK;
    const rs_json *scaling = NULL, *parameters = NULL;
    RS_TRY(read_dict(r, "rope_scaling", &scaling, err));
    RS_TRY(read_dict(r, "rope_parameters", &parameters, err));
    if (d->family->nested) return read_nested(r, o, scaling, parameters, d, err);
    if (scaling && parameters)
        RS_TRY(rs_warn(r, err, "%s: rope_parameters has no effect beside rope_scaling (as in transformers)", r->file));
    source s = {.dict = scaling ? scaling : parameters, .dict_name = scaling ? "rope_scaling" : "rope_parameters"};
    s.overlay_name = s.dict_name;
    RS_TRY(read_layer_kind(r, o, &s, RS_LAYER_FULL, d, err));
    d->rope[RS_LAYER_SLIDING] = d->rope[RS_LAYER_FULL];
out:
    return st;
}
