/* Looking up and reading weights that are bound. Binding: weights_bind.c. */
#include "analyzer/model/weights_table.h"

static const struct {
    bool per_layer;
    const char *name;
} roles[RS_ROLE_COUNT] = {
#define RS_ROLE_ROW(role, layer, text) [RS_W_##role] = {layer, text},
    RS_ROLE_MAP(RS_ROLE_ROW)
#undef RS_ROLE_ROW
};

const char *rs_role_name(rs_role role) { return roles[role].name; }

bool rs_role_per_layer(rs_role role) { return roles[role].per_layer; }

const rs_weight *rs_weights_get(const rs_weights *w, int layer, rs_role role) {
    static const rs_weight none = {0};
    if (layer < 0) return &w->outside[role];
    if (layer >= w->n_layers) return &none;
    return &w->layer[(int64_t)layer * RS_ROLE_COUNT + role];
}

int64_t rs_weights_parameters(const rs_weights *w) { return w->parameters; }

int64_t rs_weight_bytes(const rs_weight *w, int64_t n) {
    int64_t bytes = 0; /* binding has checked that a row is whole blocks and that the tensor's size fits */
    return w->tensor && rs_dtype_bytes(w->tensor->dtype, n * w->cols, &bytes) ? bytes : 0;
}

/* A unit is what groups count: a row of a matrix, an element of a vector. */
static int64_t unit_bytes(const rs_weight *w) {
    int64_t bytes = 0;
    if (w->tensor->n_dims > 1) return rs_weight_bytes(w, 1);
    return rs_dtype_bytes(w->tensor->dtype, 1, &bytes) ? bytes : rs_weight_bytes(w, 1) / w->cols;
}

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

rs_status rs_weight_read(rs_checkpoint *c, const rs_weight *w, int64_t first, int64_t n, void *dst, rs_error *err) {
    rs_status st = RS_OK;
    if (!w->tensor || first < 0 || n < 0 || n > w->rows - first)
        return rs_fail(err, RS_E_INTERNAL, "rows %lld to %lld asked of a weight with %lld", (long long)first,
                       (long long)(first + n), (long long)w->rows);
    if (n == 0) return RS_OK;
    if (w->groups == 1 && w->tensor->n_dims <= 1 && w->group_rows == w->tensor->dims[0])
        return rs_checkpoint_read(c, w->tensor, 0, dst, w->tensor->bytes, err); /* also a vector of quantised blocks */
    if (w->tensor->n_dims <= 1) first = 0, n = w->cols;
    int64_t unit = unit_bytes(w);
    char *to = dst;
    while (n > 0 && st == RS_OK) {
        int64_t in = first % w->group_rows, count = smaller(n, w->group_rows - in);
        int64_t row = w->first_row + first / w->group_rows * w->group_stride + in;
        st = rs_checkpoint_read(c, w->tensor, row * unit, to, count * unit, err);
        to += count * unit;
        first += count, n -= count;
    }
    return st;
}
