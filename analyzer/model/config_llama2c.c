/* The header of a llama2.c file -> draft: a llama in its own row order, with everything that the header does not say
 * fixed in run.c: base 10000, eps 1e-5, silu, no biases. */
#include "analyzer/model/config_read.h"

#include "analyzer/base/file.h"

static rs_status read_dim(rs_reader *r, const char *key, int64_t most, int64_t *out, rs_error *err) {
    return rs_read_int(r, key, 1, most, true, 0, out, err);
}

static rs_status read_dims(rs_reader *r, rs_draft *d, rs_error *err) {
    rs_status st = RS_OK;
    rs_layer_draft like = {.rope = true};
    RS_TRY(read_dim(r, "dim", RS_MOST_WIDTH, &d->width, err));
    RS_TRY(read_dim(r, "hidden_dim", RS_MOST_HIDDEN, &like.hidden, err));
    RS_TRY(read_dim(r, "n_layers", RS_MOST_LAYERS, &d->layers, err));
    RS_TRY(read_dim(r, "n_heads", RS_MOST_HEADS, &like.heads, err));
    RS_TRY(read_dim(r, "n_kv_heads", RS_MOST_HEADS, &like.kv_heads, err));
    RS_TRY(read_dim(r, "vocab_size", RS_MOST_VOCAB, &d->vocab, err));
    RS_TRY(read_dim(r, "seq_len", RS_MOST_CONTEXT, &d->context, err));
    if (d->width % like.heads != 0)
        return rs_fail(err, RS_E_MISMATCH, "%s: header field 'dim': found %lld, expected a multiple of n_heads, %lld",
                       r->file, (long long)d->width, (long long)like.heads);
    d->head_dim = d->v_dim = d->width / like.heads;
    RS_TRY(RS_ARENA_NEW(r->arena, &d->layer, (size_t)d->layers, err));
    for (int64_t l = 0; l < d->layers; l++) d->layer[l] = like;
out:
    return st;
}

rs_status rs_config_llama2c(rs_checkpoint *c, const rs_graph_options *o, rs_reader *r, rs_draft *d, rs_error *err) {
    rs_status st = RS_OK;
    r->file = rs_checkpoint_path(c);
    r->root = rs_checkpoint_metadata(c);
    d->family = rs_family_by_model_type("llama");
    d->family_name = "llama2.c";
    d->name = rs_path_base(r->file);
    d->act = d->family->act;
    d->eps = 1e-5;
    RS_TRY(read_dims(r, d, err));
    RS_TRY(rs_read_bool(r, "shared_classifier", false, &d->tied, err));
    rs_rope_spec s = {.kind = "default", .layout = RS_INTERLEAVED, .hf_layout = d->family->hf_layout, .factor = 1};
    s.head_dim = s.rotary_dim = (int)d->head_dim;
    s.attention_factor = 1;
    s.context = (double)(o->context > 0 ? o->context : d->context);
    RS_TRY(rs_pick_base(r, o, false, 0, "RoPE base", 1e4, &s, err));
    d->rope[RS_LAYER_FULL] = d->rope[RS_LAYER_SLIDING] = s;
    if (o->rope_theta <= 0)
        RS_TRY(rs_warn(r, err,
                       "%s: this format carries no RoPE base: 10,000, as in llama2.c, is assumed (--rope-theta)",
                       r->file));
out:
    return st;
}
