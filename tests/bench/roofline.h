/* tests/bench/roofline.h: parts of bench_roofline, an estimate of what an audit costs on a card that is not at hand.
 *   roofline_model.c    a checkpoint of a wanted shape without its weights, and the program's own run over it
 *   roofline_count.c    the device of that run: it executes nothing and writes down what it was asked for
 *   roofline_kernels.c  which kernels of kernels/cuda an op becomes, and what each does to memory
 *   roofline_clock.c    cards, and the time that the written-down kernels take on one
 *   bench_roofline.c    options and tables */
#ifndef RS_TESTS_BENCH_ROOFLINE_H
#define RS_TESTS_BENCH_ROOFLINE_H

#include "analyzer/forward/run.h"
#include "kernels/backend.h"
#include "tests/support/shape_writer.h"

/* --- what a run asked of its device (roofline_count.c, roofline_kernels.c) --- */

/* Lines of the tables: the ops, then what has no op of its own. */
enum {
    ROOF_ROUND_MATMUL = RS_OP_COUNT, /* rounding the inputs of a product to bfloat16 */
    ROOF_ROUND_SCORES,
    ROOF_ROUND_MIX,
    ROOF_COPY, /* between host and device, and zeroing */
    ROOF_IDLE, /* the card waits for the host */
    ROOF_ROWS
};
const char *roof_row_name(int row);

enum { ROOF_TOUCHES = 8 };
typedef enum roof_unit { ROOF_PRODUCT, ROOF_F32, ROOF_F64, ROOF_UNITS } roof_unit;

/* What a kernel does to one range of device memory. */
typedef struct roof_touch {
    const void *memory; /* whose */
    size_t offset;
    double bytes, reads, writes; /* of the range; how often each byte of it is read and written */
    bool near;                   /* a block reads a byte again before it has read much else: no second trip to memory */
} roof_touch;

typedef struct roof_kernel {
    double flops[ROOF_UNITS];
    double m, n, batch; /* of a product: sides of its result, how many of them */
    bool one_piece;     /* of a product: the sum of an element is never cut into pieces */
    bool own;           /* products on tensor cores in a kernel of ours, not cuBLAS's; its result fills the card */
    bool again;         /* products that the run makes a second time: no part of its work */
    double shared;      /* bytes to and from shared memory */
    rs_compute compute; /* of a product */
    double threads;     /* of all blocks together */
    int block;          /* threads of a block */
    double chain;       /* loads that the busiest thread waits for one after another */
    int n_touches;
    roof_touch touch[ROOF_TOUCHES];
} roof_kernel;

typedef enum roof_event_kind {
    ROOF_KERNEL,
    ROOF_WRITE,
    ROOF_READ,
    ROOF_ZERO,
    ROOF_UPLOAD,
    ROOF_AWAIT,
    ROOF_MARK /* a section ends: embedding, layer 0, layer 1, ..., loss */
} roof_event_kind;

typedef struct roof_event {
    roof_event_kind kind;
    int row;
    double host;  /* seconds the host computed between the call before and this one */
    double bytes; /* of copies */
    roof_kernel kernel;
} roof_event;

/* Changes of op stream or kernels that are thought through, not made. All zero: the program as it is. */
typedef struct roof_what {
    const char *name;
    int64_t tile_rows; /* 0: the program's own way; else a pattern in memory, tiles of so many rows */
    bool wide;         /* statistics are cut among threads enough: chains of 8 loads at most */
    bool graphs;       /* launches are replayed: 0.5 us of the host each */
} roof_what;

typedef struct roof_log {
    roof_event *events; /* [n] */
    size_t n, room;
    double product_flops;
    double scratch[4];            /* bytes of the CUDA backend's own scratch: most that was asked for, per slot */
    double measured[RS_OP_COUNT]; /* seconds of the calling thread, where ops were executed */
    rs_status status;             /* of the log itself */
} roof_log;

/* A device over the CPU's memory. execute: ops run on the CPU (one thread) and are timed; otherwise they are only
 * written down. */
rs_status roof_device_open(const roof_what *what, bool execute, int threads, roof_log *log, const rs_backend **backend,
                           rs_device **device, rs_error *err);
void roof_device_mark(rs_device *d);

typedef void roof_emit(void *ctx, int row, const roof_kernel *k);
/* The kernels of an op in their order. host: address of device memory, for index lists. scratch: see roof_log. */
typedef struct roof_expander {
    const roof_what *what;
    const void *(*host)(void *ctx, const rs_view *v);
    roof_emit *emit;
    void *ctx;
    double *scratch; /* [4] */
} roof_expander;
void roof_expand(const roof_expander *x, const rs_op *op);

/* --- the run (roofline_model.c) --- */

enum { ROOF_FOLDER = 256 };
/* A temporary folder with a checkpoint of the shape; to be removed by model_shape_remove even where making it failed.
 */
rs_status roof_folder_make(const model_shape *s, char folder[ROOF_FOLDER], rs_error *err);

enum { ROOF_LAYERS = 2 }; /* that are run; all layers of these shapes are alike */

typedef struct roof_run {
    const model_shape *shape;
    const char *folder; /* of roof_folder_make */
    int64_t context, sequences;
    rs_compute compute;
    roof_what what;
    bool execute;
    int threads;
    /* results */
    roof_log log;
    rs_plan plan; /* of ROOF_LAYERS layers */
    int64_t probe_bytes;
    double seconds;
} roof_run;
rs_status roof_run_execute(roof_run *r, rs_error *err);
void roof_run_deinit(roof_run *r);

/* --- time (roofline_clock.c) --- */

typedef struct roof_card {
    const char *name;
    double product[3];            /* FLOP/s of products by rs_compute: f32, tf32, bf16 */
    double unit[2];               /* FLOP/s of other arithmetic: f32, f64 */
    double memory, cache, shared; /* bytes/s; shared memory of all processors */
    double own;                   /* share of the nominal rate that products of our kernels reach */
    double cache_bytes, memory_bytes;
    double link;         /* bytes/s between host and device */
    int processors;      /* 0: a CPU; then no launches, no waiting threads, no half-filled waves */
    int threads, blocks; /* at once on a processor */
} roof_card;
const roof_card *roof_cards(size_t *n);
double roof_product_rate(const roof_card *c, rs_compute compute); /* what a large product attains */

typedef enum roof_bound {
    ROOF_BY_ARITHMETIC,
    ROOF_BY_MEMORY,
    ROOF_BY_CACHE,
    ROOF_BY_SHARED,
    ROOF_BY_LATENCY,
    ROOF_BY_GAPS,
    ROOF_BOUNDS
} roof_bound;

typedef struct roof_line {
    double seconds, flops, memory, cache, kernels, by[ROOF_BOUNDS];
    double host; /* seconds that the host computed before it asked for these */
} roof_line;

enum { ROOF_SECTIONS = ROOF_LAYERS + 2 };
typedef struct roof_times {
    double seconds[ROOF_SECTIONS];
    double host[ROOF_SECTIONS]; /* of it the host was busy */
    roof_line line[ROOF_SECTIONS][ROOF_ROWS];
} roof_times;
void roof_replay(const roof_log *log, const roof_card *card, const roof_what *what, roof_times *out);
const char *const *roof_assumptions(size_t *n);

#endif
