/* Which kernels of kernels/cuda an op becomes: their traffic, arithmetic, threads, and how long the busiest thread
 * waits for loads. To be kept in step with kernels/cuda by hand: the tables here say what each kernel was seen to do.
 */
#include "tests/bench/roofline.h"

#include <math.h>
#include <string.h>

/* ---- how often a kernel reads and writes each byte of its arguments ---- */

/* Kernels of an op that has several. */
enum { ONLY, BIAS = ONLY, PRODUCT, TOP = ONLY, PAIRS, ENTRIES = ONLY, PIECES, CELLS, DISTANCES, TILES = ONLY };
enum { SEGMENTS = ONLY, SAMPLE_PAIRS, TURNS, LOGITS };

typedef struct pass {
    rs_op_kind op;
    int kernel;
    const char *argument;
    double reads, writes;
    bool near; /* read again by the same block at once */
} pass;

static const pass passes[] = {
    {RS_OP_WIDEN, ONLY, "src", 1, 0, false},
    {RS_OP_WIDEN, ONLY, "dst", 0, 1, false},
    {RS_OP_NORM, ONLY, "x", 2, 0, true}, /* squares, then values; a row is a block's own */
    {RS_OP_NORM, ONLY, "weight", 1, 0, true},
    {RS_OP_NORM, ONLY, "y", 0, 1, false},
    {RS_OP_MATMUL, BIAS, "y", 0, 1, false}, /* fill_bias, only with a bias; the product then adds to y */
    {RS_OP_MATMUL, PRODUCT, "y", 0, 1, false},
    {RS_OP_ADD, ONLY, "x", 1, 0, false},
    {RS_OP_ADD, ONLY, "y", 1, 1, false},
    {RS_OP_GATE, ONLY, "gate", 1, 0, false}, /* y is another pass over the same memory: below */
    {RS_OP_GATE, ONLY, "up", 1, 0, false},
    {RS_OP_GATE, ONLY, "y", 0, 1, false},
    {RS_OP_ROPE, ONLY, "x", 1, 0, false},
    {RS_OP_ROPE, ONLY, "y", 0, 1, false},
    {RS_OP_ROPE, ONLY, "cos", 1, 0, true}, /* again for every fourth head: a block has 256 pairs */
    {RS_OP_ROPE, ONLY, "sin", 1, 0, true},
    {RS_OP_SCORES, ONLY, "s", 0, 1, false},
    {RS_OP_MASK, ONLY, "s", 1, 1, false},
    {RS_OP_SOFTMAX, ONLY, "s", 1, 1, false}, /* rows that are not kept are read again: below */
    {RS_OP_SOFTMAX, ONLY, "half", 0, 1, false},
    {RS_OP_MIX, ONLY, "z", 0, 1, false},
    {RS_OP_ATTEND, ONLY, "q", 1, 0, false}, /* keys and values: below */
    {RS_OP_ATTEND, ONLY, "z", 0, 1, false},
    {RS_OP_ATTEND, ONLY, "stats", 0, 1, false},
    {RS_OP_CROSS_ENTROPY, ONLY, "logits", 2, 0, false}, /* maximum, then the sum */
    {RS_OP_CROSS_ENTROPY, ONLY, "state", 1, 1, false},
    {RS_OP_PAIR_REDUCE, TOP, "x", 1, 0, true},   /* find_top */
    {RS_OP_PAIR_REDUCE, PAIRS, "x", 1, 0, true}, /* a row has one bucket: one block of a head reads it */
    {RS_OP_PAIR_REDUCE, PAIRS, "out", 1, 1, false},
    {RS_OP_PATTERN_REDUCE, PIECES, "p", 1, 0, false}, /* mass, squares, and along the diagonals */
    {RS_OP_PATTERN_REDUCE, CELLS, "map", 1, 1, false},
    {RS_OP_PATTERN_REDUCE, DISTANCES, "profile", 1, 1, false},
    {RS_OP_ATTEND_REDUCE, TILES, "q", 1, 0, false},
    {RS_OP_ATTEND_REDUCE, TILES, "stats", 1, 0, false},
    {RS_OP_ATTEND_REDUCE, CELLS, "map", 1, 1, false},
    {RS_OP_ATTEND_REDUCE, DISTANCES, "profile", 1, 1, false},
    {RS_OP_LOGIT_SAMPLE, SEGMENTS, "k", 1, 0, false},
    {RS_OP_LOGIT_SAMPLE, SAMPLE_PAIRS, "out", 1, 1, false},
    {RS_OP_PROFILE_REDUCE, ONLY, "profile", 2, 0, true}, /* bins; distance and toeplitz */
    {RS_OP_PROFILE_REDUCE, ONLY, "bins", 1, 1, false},
};

/* Arithmetic per unit that is no product: additions and multiplications count 1, an exponential about 10, a square
 * root, a division in float64 about 15, sincospi about 40. */
enum {
    NORM_FLOPS = 4,
    GATE_FLOPS = 14,
    ROPE_FLOPS = 6,     /* a pair */
    SOFTMAX_FLOPS = 20, /* an exponential, the sums */
    RUNNING_FLOPS = 20, /* of a row that is not kept: another exponential */
    LOSS_FLOPS = 24,
    PATTERN_FLOPS = 32, /* mass, square, two tokens to compare; 8 steps along each of two diagonals for 8 entries */
    REDUCE_FLOPS = 16,  /* an entry of ATTEND_REDUCE: its score, exponential, mass, square, two tokens */
    DIAGONAL_FLOPS = 4, /* a step along a diagonal there */
    TOP_F64 = 4,
    PAIR_F64 = 55,          /* all features are formed whoever asks */
    SEGMENT_F64 = 85,       /* a turn, fifteen sums */
    ROW_F64 = 130,          /* a turn, the quadratic forms of one row */
    LOGIT_F64 = 12 + 4 * 16 /* two turns by a table, four dot products for four heads */
};

/* Independent loads that a thread has under way at once: what the compiler makes of a loop without branches. */
static const double AHEAD = 4;

enum { SLOT_ROUNDED, SLOT_ROUNDED_MORE, SLOT_PARTS, SLOT_TURNS };
static const char scratch_memory[4]; /* their addresses stand for the scratch's memory */

/* ---- views ---- */

static double entries(const rs_view *v) { return (double)rs_view_size(v); }

static double view_bytes(const rs_view *v) {
    int64_t bytes = 0;
    rs_dtype_bytes(v->dtype, rs_view_size(v), &bytes);
    return (double)bytes;
}

static void touch(roof_kernel *k, roof_touch t) {
    if (t.bytes > 0 && k->n_touches < ROOF_TOUCHES) {
        k->touch[k->n_touches++] = t;
    }
}

static void touch_view(roof_kernel *k, const rs_view *v, double share, double reads, double writes, bool near) {
    if (v->mem) {
        touch(k, (roof_touch){v->mem, v->offset, share * view_bytes(v), reads, writes, near});
    }
}

static void touch_scratch_at(const roof_expander *x, roof_kernel *k, int slot, size_t offset, double bytes,
                             double reads, double writes) {
    x->scratch[slot] = bytes > x->scratch[slot] ? bytes : x->scratch[slot];
    touch(k, (roof_touch){&scratch_memory[slot], offset, bytes, reads, writes, false});
}

static void touch_scratch(const roof_expander *x, roof_kernel *k, int slot, double bytes, double reads, double writes) {
    touch_scratch_at(x, k, slot, 0, bytes, reads, writes);
}

static double ceiling(double a, double b) { return (double)(int64_t)((a + b - 1) / b); }

/* ---- kernels ---- */

/* Threads and traffic by the table. */
static roof_kernel start(const rs_op *op, int kernel, double threads, int block, double chain) {
    roof_kernel k = {.threads = threads, .block = block, .chain = chain};
    rs_op_argument args[RS_OP_ARGUMENTS];
    int n = rs_op_arguments(op, args);
    for (size_t i = 0; i < sizeof passes / sizeof *passes; i++) {
        const pass *p = &passes[i];
        for (int j = 0; j < n && p->op == op->kind && p->kernel == kernel; j++) {
            if (strcmp(args[j].name, p->argument) == 0) {
                touch_view(&k, args[j].view, 1, p->reads, p->writes, p->near);
            }
        }
    }
    return k;
}

static void emit(const roof_expander *x, int row, const roof_kernel *k) { x->emit(x->ctx, row, k); }

/* As kernels that are to be: enough threads for any chain to be short. */
static void emit_statistics(const roof_expander *x, int row, roof_kernel k) {
    if (x->what->wide && k.chain > 8) {
        k.threads *= k.chain / 8;
        k.chain = 8;
    }
    emit(x, row, &k);
}

static roof_touch *touch_of(roof_kernel *k, const rs_view *v) {
    for (int i = 0; i < k->n_touches; i++) {
        if (k->touch[i].memory == v->mem && k->touch[i].offset == v->offset && k->touch[i].writes > 0) {
            return &k->touch[i];
        }
    }
    return NULL;
}

/* Threads for a row, as in cuda_elementwise.cu. */
static int row_threads(int64_t n) { return n <= 128 ? 32 : n <= 1024 ? 128 : 256; }

/* ---- inputs of products: rounded into scratch where they are wider than the product takes them (cuda_matmul.cu) ----
 */

typedef struct input {
    const rs_view *view;
    double reads; /* by the product */
    int slot, row;
} input;

static void round_input(const roof_expander *x, const input *in) {
    const rs_view *v = in->view;
    int64_t last = v->dim[v->n_dims - 1];
    double rows = entries(v) / (double)last;
    /* round_fours: rows one behind the other; round_rows: a block for every 256 values of a row. */
    roof_kernel k = {
        .threads = last % 4 == 0 ? entries(v) / 4 : rows * ceiling((double)last, 256) * 256, .block = 256, .chain = 1};
    touch_view(&k, v, 1, 1, 0, false);
    touch_scratch(x, &k, in->slot, entries(v) * 2, 0, 1);
    emit(x, in->row, &k);
}

static void take_input(const roof_expander *x, roof_kernel *product, const input *in) {
    const rs_view *v = in->view;
    bool rounds = product->compute == RS_COMPUTE_BF16 && v->dtype == RS_F32;
    if (!rounds) {
        touch_view(product, v, 1, in->reads, 0, false);
    } else {
        round_input(x, in);
        touch_scratch(x, product, in->slot, entries(v) * 2, in->reads, 0);
    }
}

static void matmul(const roof_expander *x, const rs_op *op) {
    const rs_op_matmul *o = &op->u.matmul;
    double M = (double)o->x.dim[0], K = (double)o->x.dim[1], N = (double)o->y.dim[1];
    if (o->bias.mem) {
        roof_kernel bias = start(op, BIAS, M * N, 256, 1);
        emit(x, op->kind, &bias);
    }
    roof_kernel k = start(op, PRODUCT, 0, 0, 0);
    if (o->add) {
        touch_of(&k, &o->y)->reads = 1;
    }
    k.flops[ROOF_PRODUCT] = 2 * M * N * K;
    k.m = N;
    k.n = M;
    k.batch = 1;
    k.compute = o->compute;
    take_input(x, &k, &(input){&o->x, 1, SLOT_ROUNDED, ROOF_ROUND_MATMUL});
    take_input(x, &k, &(input){&o->w, 1, SLOT_ROUNDED_MORE, ROOF_ROUND_MATMUL});
    emit(x, op->kind, &k);
}

/* write_addresses: one thread a head. */
static void addresses(const roof_expander *x, int row, int64_t heads) {
    roof_kernel k = {.threads = (double)heads, .block = 128, .chain = 2};
    emit(x, row, &k);
}

/* A product per query head: each reads the keys of its head, so a key head is read once for every query head of it. */
static void scores(const roof_expander *x, const rs_op *op) {
    const rs_op_scores *o = &op->u.scores;
    double H = (double)o->q.dim[1], R = (double)o->q.dim[0], C = (double)o->k.dim[0], width = (double)o->q.dim[2];
    roof_kernel k = start(op, ONLY, 0, 0, 0);
    k.flops[ROOF_PRODUCT] = 2 * H * R * C * width;
    k.m = C;
    k.n = R;
    k.batch = H;
    k.one_piece = true;
    k.compute = o->compute;
    take_input(x, &k, &(input){&o->q, 1, SLOT_ROUNDED, ROOF_ROUND_SCORES});
    take_input(x, &k, &(input){&o->k, H / (double)o->k.dim[1], SLOT_ROUNDED_MORE, ROOF_ROUND_SCORES});
    addresses(x, op->kind, o->q.dim[1]);
    emit(x, op->kind, &k);
}

static void mix(const roof_expander *x, const rs_op *op) {
    const rs_op_mix *o = &op->u.mix;
    double H = (double)o->p.dim[0], R = (double)o->p.dim[1], C = (double)o->p.dim[2], width = (double)o->v.dim[2];
    roof_kernel k = start(op, ONLY, 0, 0, 0);
    k.flops[ROOF_PRODUCT] = 2 * H * R * C * width;
    k.m = width;
    k.n = R;
    k.batch = H;
    k.one_piece = true;
    k.compute = o->compute;
    take_input(x, &k, &(input){&o->p, 1, SLOT_ROUNDED, ROOF_ROUND_MIX});
    take_input(x, &k, &(input){&o->v, H / (double)o->v.dim[1], SLOT_ROUNDED_MORE, ROOF_ROUND_MIX});
    addresses(x, op->kind, o->p.dim[0]);
    emit(x, op->kind, &k);
}

/* ---- attention without a pattern in memory (cuda_attend.cu) ---- */

enum { BLOCK_ROWS = 128, WARP_ROWS = 16, WARP_COUNT = 8, TILE_KEYS = 64, BLOCK_THREADS = 256 };

/* Tiles of 16 rows by 64 keys that warps go over in a head, and tiles of 128 rows that blocks fetch. */
typedef struct visits {
    double warps, blocks, reached; /* reached: distances that blocks reach, added up */
} visits;

static visits visits_of(int64_t T, int64_t window) {
    visits v = {0};
    for (int64_t block = 0; block < T; block += BLOCK_ROWS) {
        int64_t last = block + BLOCK_ROWS < T ? block + BLOCK_ROWS : T, left = block - window + 1;
        int64_t first = window > 0 && left > 0 ? left / TILE_KEYS * TILE_KEYS : 0;
        v.blocks += ceiling((double)(last - first), TILE_KEYS);
        v.reached += (double)(block + BLOCK_ROWS - first);
        for (int64_t row = block; row < last; row += WARP_ROWS) {
            v.warps += (double)((row + WARP_ROWS - 1 - first) / TILE_KEYS + 1);
        }
    }
    return v;
}

/* As wide as the kernel takes them. */
static double padded(int64_t width) { return width <= 32 ? 32 : width <= 64 ? 64 : 128; }

/* Inputs that a block reads again for every tile; blocks side by side read the same keys. */
static void touch_heads(roof_kernel *k, const rs_view *v, double reads) {
    touch_view(k, v, 1, reads > 1 ? reads : 1, 0, true);
}

static void attend(const roof_expander *x, const rs_op *op) {
    const rs_op_attend *o = &op->u.attend;
    visits v = visits_of(o->q.dim[0], o->window);
    double H = (double)o->q.dim[1], W = fmax(padded(o->q.dim[2]), padded(o->v.dim[2])), T = (double)o->q.dim[0];
    roof_kernel k = start(op, ONLY, ceiling(T, BLOCK_ROWS) * H * BLOCK_THREADS, BLOCK_THREADS, 2);
    k.flops[ROOF_PRODUCT] = v.warps * H * WARP_ROWS * TILE_KEYS * 2 * 2 * W;
    k.compute = RS_COMPUTE_BF16;
    k.own = true;
    /* A warp reads keys and values; the block has them brought once. */
    k.shared = 2 * H * TILE_KEYS * W * 2 * (v.warps + v.blocks);
    touch_heads(&k, &o->k, H * v.blocks * TILE_KEYS / (T * (double)o->k.dim[1]));
    touch_heads(&k, &o->v, H * v.blocks * TILE_KEYS / (T * (double)o->v.dim[1]));
    emit(x, op->kind, &k);
}

/* Every warp of a block goes over all of its tiles. */
static void attend_reduce(const roof_expander *x, const rs_op *op) {
    const rs_op_attend_reduce *o = &op->u.attend_reduce;
    visits v = visits_of(o->q.dim[0], o->window);
    double H = (double)o->q.dim[1], W = padded(o->q.dim[2]), T = (double)o->q.dim[0], B = (double)o->map.dim[1];
    double blocks = ceiling(T, BLOCK_ROWS), tile = BLOCK_ROWS * TILE_KEYS, f8 = sizeof(double);
    double steps = (BLOCK_ROWS + TILE_KEYS) * TILE_KEYS, bands = ceiling((WARP_ROWS - 1) * B, T) + 1;
    roof_kernel k = start(op, TILES, blocks * H * BLOCK_THREADS, BLOCK_THREADS, 2);
    k.flops[ROOF_PRODUCT] = v.blocks * H * tile * 2 * W;
    k.flops[ROOF_F32] = v.blocks * H * (REDUCE_FLOPS * tile + (o->profile.mem ? DIAGONAL_FLOPS * steps : 0));
    k.compute = RS_COMPUTE_BF16;
    k.own = k.again = true;
    k.shared = v.blocks * H * ((WARP_COUNT + 1) * TILE_KEYS * W * 2 + 4 * tile + (o->profile.mem ? 4 * steps : 0));
    touch_heads(&k, &o->k, H * v.blocks * TILE_KEYS / (T * (double)o->k.dim[1]));
    touch_scratch(x, &k, SLOT_PARTS, H * v.reached * f8, 0, 1);
    touch_scratch_at(x, &k, SLOT_PARTS, 1, H * blocks * WARP_COUNT * bands * B * f8, 0, 1);
    emit_statistics(x, op->kind, k);
    k = start(op, DISTANCES, T * H, 256, ceiling(blocks, AHEAD));
    touch_scratch(x, &k, SLOT_PARTS, H * v.reached * f8, 1, 0);
    emit_statistics(x, op->kind, k);
    k = start(op, CELLS, H * B * B, 128, ceiling(T / (B * WARP_ROWS), AHEAD));
    touch_scratch_at(x, &k, SLOT_PARTS, 1, H * blocks * WARP_COUNT * bands * B * f8, 1, 0);
    emit_statistics(x, op->kind, k);
    k = (roof_kernel){.threads = H * 128, .block = 128, .chain = ceiling(T / 128, AHEAD) + ceiling(blocks, AHEAD)};
    touch_view(&k, &o->stats, 1, 1, 0, false);
    emit_statistics(x, op->kind, k);
}

/* ---- row by row ---- */

static void widen(const roof_expander *x, const rs_op *op) {
    roof_kernel k = start(op, ONLY, ceiling(entries(&op->u.widen.dst), 4), 256, 1);
    emit(x, op->kind, &k);
}

static void norm(const roof_expander *x, const rs_op *op) {
    const rs_op_norm *o = &op->u.norm;
    int block = row_threads(o->x.dim[2]);
    double rows = entries(&o->x) / (double)o->x.dim[2], loads = (double)o->x.dim[2] / block;
    roof_kernel k = start(op, ONLY, rows * block, block, 2 * ceiling(loads, AHEAD));
    k.flops[ROOF_F32] = NORM_FLOPS * entries(&o->x);
    emit(x, op->kind, &k);
}

static void add(const roof_expander *x, const rs_op *op) {
    const rs_op_add *o = &op->u.add;
    double fours = o->x.dtype == RS_F32 ? 4 : 1;
    roof_kernel k = start(op, ONLY, ceiling(entries(&o->x), fours), 256, 1);
    k.flops[o->x.dtype == RS_F64 ? ROOF_F64 : ROOF_F32] = 3 * entries(&o->x);
    emit(x, op->kind, &k);
}

static void gate(const roof_expander *x, const rs_op *op) {
    const rs_op_gate *o = &op->u.gate;
    roof_kernel k = start(op, ONLY, ceiling(entries(&o->y), 4), 256, 1);
    k.flops[ROOF_F32] = GATE_FLOPS * entries(&o->y);
    emit(x, op->kind, &k);
}

static void rope(const roof_expander *x, const rs_op *op) {
    const rs_op_rope *o = &op->u.rope;
    roof_kernel k = start(op, ONLY, entries(&o->y) / 2, 256, 1);
    double heads = ceiling((double)o->y.dim[1], 4);
    for (int i = 0; i < k.n_touches; i++) {
        k.touch[i].reads *= k.touch[i].near ? heads : 1;
    }
    k.flops[ROOF_F32] = ROPE_FLOPS * entries(&o->y) / 2;
    emit(x, op->kind, &k);
}

static void mask(const roof_expander *x, const rs_op *op) {
    const rs_view *s = &op->u.mask.s;
    int block = row_threads(s->dim[2]);
    roof_kernel k =
        start(op, ONLY, (double)(s->dim[0] * s->dim[1]) * block, block, ceiling((double)s->dim[2] / block, AHEAD));
    emit(x, op->kind, &k);
}

/* A row of so many columns stands in shared memory. A longer one is read twice, and the first read cannot run ahead:
 * each value may move the running maximum. */
static const int64_t KEPT_COLUMNS = 12032;

static void softmax(const roof_expander *x, const rs_op *op) {
    const rs_op_softmax *o = &op->u.softmax;
    int block = row_threads(o->s.dim[2]);
    double loads = ceiling((double)o->s.dim[2], block), rows = (double)(o->s.dim[0] * o->s.dim[1]);
    bool kept = o->s.dim[2] <= KEPT_COLUMNS;
    roof_kernel k = start(op, ONLY, rows * block, block, (kept ? 0 : loads) + ceiling(loads, AHEAD));
    roof_touch *s = touch_of(&k, &o->s);
    if (s) {
        s->reads = kept ? 1 : 2;
        s->writes = o->half_only ? 0 : 1;
    }
    k.flops[ROOF_F32] = (SOFTMAX_FLOPS + (kept ? 0 : RUNNING_FLOPS)) * entries(&o->s);
    emit(x, op->kind, &k);
}

static void cross_entropy(const roof_expander *x, const rs_op *op) {
    const rs_op_cross_entropy *o = &op->u.cross_entropy;
    int block = row_threads(o->logits.dim[1]);
    double loads = (double)o->logits.dim[1] / block;
    roof_kernel k = start(op, ONLY, (double)o->logits.dim[0] * block, block, 2 * ceiling(loads, AHEAD));
    k.flops[ROOF_F32] = LOSS_FLOPS * entries(&o->logits);
    emit(x, op->kind, &k);
}

/* ---- sums of probes ---- */

static void pair_reduce(const roof_expander *x, const rs_op *op) {
    const rs_op_pair_reduce *o = &op->u.pair_reduce;
    double T = (double)o->x.dim[0], H = (double)o->x.dim[1], F = (double)o->out.dim[3], buckets = (double)o->out.dim[0];
    int lanes = T >= 2048 ? 16 : 8;
    double segments = ceiling(T, fmax(1024, ceiling(T, 16))), f8 = sizeof(double);
    if (o->features & 1U << RS_PAIR_TOP) {
        roof_kernel top = start(op, TOP, T * H * 32, 128, ceiling(2 * ceiling(F, 32), AHEAD)); /* a warp each */
        top.flops[ROOF_F64] = TOP_F64 * T * H * F;
        touch_scratch(x, &top, SLOT_PARTS, T * H * 4, 0, 1);
        emit_statistics(x, op->kind, top);
    }
    /* Eight rows at a time: their buckets, half of which stand in the nearest cache, then the values of those that
     * belong here; a bucket among many takes a share of the rows, which mostly stand alone. */
    const double rows = 8;
    double own = buckets <= 2 ? T : fmin(T, rows * T / buckets);
    roof_kernel k = start(op, PAIRS, segments * ceiling(F, 32) * H * buckets * 32 * lanes, 32 * lanes,
                          (own + 0.5 * T) / (segments * lanes * rows));
    k.flops[ROOF_F64] = PAIR_F64 * T * H * F;
    if (segments > 1) {
        touch_scratch(x, &k, SLOT_PARTS, segments * entries(&o->out) * f8, 0, 1);
    }
    emit_statistics(x, op->kind, k);
    if (segments > 1) {
        k = (roof_kernel){.threads = entries(&o->out), .block = 256, .chain = ceiling(segments, AHEAD)};
        touch_scratch(x, &k, SLOT_PARTS, segments * entries(&o->out) * f8, 1, 0);
        emit_statistics(x, op->kind, k);
    }
}

/* read_entries: a thread takes a row. Then the rows are added up, a block for every kind of sum. */
static void sum_entries(const roof_expander *x, const rs_op *op) {
    const rs_op_pattern_reduce *o = &op->u.pattern_reduce;
    double H = (double)o->p.dim[0], R = (double)o->p.dim[1], f8 = sizeof(double);
    const double sector = 32; /* bytes that come for one entry */
    roof_kernel k = start(op, ENTRIES, H * R, 256, 2);
    touch(&k, (roof_touch){o->p.mem, o->p.offset, H * 3 * R * sector, 1, 0, false});
    touch_scratch(x, &k, SLOT_PARTS, H * R * RS_PATTERN_SUMS * f8, 0, 1);
    emit_statistics(x, op->kind, k);
    k = (roof_kernel){.threads = H * RS_PATTERN_SUMS * 128, .block = 128, .chain = ceiling(R, 128)};
    touch_scratch(x, &k, SLOT_PARTS, H * R * RS_PATTERN_SUMS * f8, 1, 0);
    emit_statistics(x, op->kind, k);
}

static void pattern_reduce(const roof_expander *x, const rs_op *op) {
    const rs_op_pattern_reduce *o = &op->u.pattern_reduce;
    enum { PIECE = 256, STRIP = 8, PIECE_SUMS = 5 }; /* as in cuda_probes.cu */
    double H = (double)o->p.dim[0], R = (double)o->p.dim[1], C = (double)o->p.dim[2], T = (double)o->positions;
    double blocks = o->map.mem ? (double)o->map.dim[1] : 32, side = ceiling(T, blocks), f8 = sizeof(double);
    double bands = (double)((o->row0 + o->p.dim[1] - 1) * (int64_t)blocks / o->positions -
                            o->row0 * (int64_t)blocks / o->positions + 1);
    double tall = fmin(R, side), wide = fmin(C, side), over = blocks * ceiling(wide, PIECE),
           down = ceiling(tall, PIECE);
    double pieces = H * bands * down * over, slots = fmin(tall, PIECE) + fmin(wide, PIECE) - 1;
    sum_entries(x, op);
    /* A strip of eight rows after the other: a thread loads eight values, then all wait for each other. */
    roof_kernel k =
        start(op, PIECES, pieces * PIECE, PIECE, ceiling(fmin(tall, PIECE), STRIP) * ceiling(PIECE / 32, AHEAD));
    k.flops[ROOF_F32] = PATTERN_FLOPS * entries(&o->p);
    touch_scratch(x, &k, SLOT_PARTS, pieces * PIECE_SUMS * f8, 0, 1);
    if (o->profile.mem) {
        touch_scratch_at(x, &k, SLOT_PARTS, 1, pieces * slots * f8, 0, 1);
    }
    emit_statistics(x, op->kind, k);
    k = start(op, CELLS, H * 128, 128,
              ceiling(bands * blocks, 128) * ceiling(PIECE_SUMS * pieces / (H * bands * blocks), AHEAD));
    touch_scratch(x, &k, SLOT_PARTS, pieces * PIECE_SUMS * f8, 1, 0);
    emit_statistics(x, op->kind, k);
    if (o->profile.mem) { /* a distance crosses two pieces of a row block */
        k = start(op, DISTANCES, ceiling(C, 256) * 256 * H, 256, ceiling(2 * bands * down, AHEAD) + 1);
        touch_scratch_at(x, &k, SLOT_PARTS, 1, pieces * slots * f8, 1, 0);
        emit_statistics(x, op->kind, k);
    }
}

static void profile_reduce(const roof_expander *x, const rs_op *op) {
    const rs_op_profile_reduce *o = &op->u.profile_reduce;
    const int32_t *first = x->host(x->ctx, &o->start);
    double longest = 0, T = (double)o->profile.dim[1];
    for (int64_t i = 0; i < o->start.dim[0]; i++) {
        double n = (i + 1 < o->start.dim[0] ? first[i + 1] : T) - first[i];
        longest = n > longest ? n : longest;
    }
    double turns = ceiling((double)o->start.dim[0], 256);
    double chain = turns * ceiling(longest, AHEAD) + ceiling(T / 256, AHEAD);
    roof_kernel k = start(op, ONLY, (double)o->profile.dim[0] * 256, 256, chain);
    k.flops[ROOF_F64] = 20 * entries(&o->profile);
    emit_statistics(x, op->kind, k);
}

static void logit_sample(const roof_expander *x, const rs_op *op) {
    enum { SUMS = 15, LANES = 8, KEYS = 128, HEADS = 4, TERMS = 5 }; /* as in cuda_sample.cu */
    const rs_op_logit_sample *o = &op->u.logit_sample;
    double T = (double)o->q.dim[0], H = (double)o->q.dim[1], K = (double)o->k.dim[1], F = (double)o->theta.dim[0];
    double n = (double)o->rows.dim[0], group = H / K, keys = 0, most = 0, f8 = sizeof(double);
    const int32_t *rows = x->host(x->ctx, &o->rows);
    for (int64_t i = 0; i < o->rows.dim[0]; i++) {
        double seen = o->window > 0 && rows[i] > o->window ? (double)o->window : rows[i];
        keys += seen;
        most = seen > most ? seen : most;
    }
    roof_kernel k = start(op, SEGMENTS, ceiling(F, 32) * K * n * 32 * LANES, 32 * LANES, ceiling(T / n, LANES));
    k.flops[ROOF_F64] = SEGMENT_F64 * T * K * F;
    touch_scratch(x, &k, SLOT_PARTS, n * K * SUMS * F * f8, 0, 1);
    emit_statistics(x, op->kind, k);
    k = start(op, SAMPLE_PAIRS, H * F, 64, n * ceiling(SUMS, AHEAD));
    k.flops[ROOF_F64] = ROW_F64 * n * H * F;
    touch_scratch(x, &k, SLOT_PARTS, n * K * SUMS * F * f8, group, 0);
    emit_statistics(x, op->kind, k);
    k = start(op, TURNS, T * F, 256, 1);
    k.flops[ROOF_F64] = 45 * T * F;
    touch_scratch(x, &k, SLOT_TURNS, 2 * T * F * f8, 0, 1);
    emit_statistics(x, op->kind, k);
    /* A thread, a key: for every pair two components of the key and two entries of the table, four pairs at a time. */
    double groups = ceiling(group, HEADS);
    k = start(op, LOGITS, groups * K * n * KEYS, KEYS, ceiling(most, KEYS) * ceiling(F, 4));
    k.flops[ROOF_F64] = LOGIT_F64 * keys * K * groups * F;
    touch_view(&k, &o->k, 1, groups * keys / T, 0, false);
    touch_scratch(x, &k, SLOT_TURNS, 2 * T * F * f8, K * groups * keys / T, 0);
    emit_statistics(x, op->kind, k);
    k = (roof_kernel){.threads = H, .block = 128, .chain = TERMS * ceiling(n, AHEAD)}; /* sum_terms */
    emit_statistics(x, op->kind, k);
}

typedef void expand_op(const roof_expander *x, const rs_op *op);

static expand_op *const expanders[RS_OP_COUNT] = {
    [RS_OP_WIDEN] = widen,
    [RS_OP_NORM] = norm,
    [RS_OP_MATMUL] = matmul,
    [RS_OP_ADD] = add,
    [RS_OP_GATE] = gate,
    [RS_OP_ROPE] = rope,
    [RS_OP_SCORES] = scores,
    [RS_OP_MASK] = mask,
    [RS_OP_SOFTMAX] = softmax,
    [RS_OP_MIX] = mix,
    [RS_OP_ATTEND] = attend,
    [RS_OP_CROSS_ENTROPY] = cross_entropy,
    [RS_OP_PAIR_REDUCE] = pair_reduce,
    [RS_OP_LOGIT_SAMPLE] = logit_sample,
    [RS_OP_PATTERN_REDUCE] = pattern_reduce,
    [RS_OP_ATTEND_REDUCE] = attend_reduce,
    [RS_OP_PROFILE_REDUCE] = profile_reduce,
};

void roof_expand(const roof_expander *x, const rs_op *op) { expanders[op->kind](x, op); }

const char *roof_row_name(int row) {
    static const char *const others[] = {"round for matmul", "round for scores", "round for mix", "copies", "idle"};
    return row < RS_OP_COUNT ? rs_op_name((rs_op_kind)row) : others[row - RS_OP_COUNT];
}
