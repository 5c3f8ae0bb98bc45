/* Cards, and the time that what was written down takes on one: two clocks, the host's, which launches, and the card's,
 * which starts a kernel when the one before is done and the launch has come. Between the caches and memory stands a
 * model of what is still in the second-level cache. */
#include "tests/bench/roofline.h"

#include <math.h>
#include <string.h>

/* Public figures: dense, without sparsity, sums of half products in float32, float64 without tensor cores.
 *   H100 SXM5, H200 SXM   NVIDIA H100 and H200 Tensor Core GPU data sheets (halved where they count sparsity)
 *   A100 80GB SXM         NVIDIA A100 80GB data sheet; caches: A100 architecture white paper
 *   RTX 4090              NVIDIA Ada GPU architecture white paper, appendix A
 *   L4                    NVIDIA L4 data sheet (halved where it counts sparsity); caches: Ada white paper (AD104)
 * Bandwidth of the second-level cache is no vendor's figure: H100 and A100 at 60 % of the 5120 bytes a clock of the
 * A100 white paper (what public microbenchmarks reach), Ada by what such benchmarks report of the RTX 4090, the L4 in
 * proportion to processors and clock. Shared memory: 128 bytes a clock and processor (CUDA C++ programming guide).
 * Kernels of ours on tensor cores: what FlashAttention-2, which is built alike, is reported to reach: 35 % on the H100
 * (arXiv 2407.08608), at least 50 % on the A100 (arXiv 2307.08691), which is taken for Ada too. Link: PCIe 5.0 or 4.0
 * x16 at four fifths of its nominal rate. */
static const roof_card cards[] = {
    {"H100 SXM",
     {66.9e12, 494.7e12, 989.4e12},
     {66.9e12, 33.5e12},
     3.35e12,
     5.4e12,
     33.4e12,
     0.35,
     50e6,
     80e9,
     50e9,
     132,
     2048,
     32},
    {"H200",
     {66.9e12, 494.7e12, 989.4e12},
     {66.9e12, 33.5e12},
     4.8e12,
     5.4e12,
     33.4e12,
     0.35,
     50e6,
     141e9,
     50e9,
     132,
     2048,
     32},
    {"A100 80GB",
     {19.5e12, 156e12, 312e12},
     {19.5e12, 9.7e12},
     2.04e12,
     4.3e12,
     19.5e12,
     0.5,
     40e6,
     80e9,
     25e9,
     108,
     2048,
     32},
    {"RTX 4090",
     {82.6e12, 82.6e12, 165.2e12},
     {82.6e12, 1.29e12},
     1.008e12,
     5e12,
     41.3e12,
     0.5,
     72e6,
     24e9,
     25e9,
     128,
     1536,
     24},
    {"L4", {30.3e12, 60e12, 121e12}, {30.3e12, 0.47e12}, 0.3e12, 1.9e12, 15.1e12, 0.5, 48e6, 24e9, 25e9, 58, 1536, 24},
};

const roof_card *roof_cards(size_t *n) {
    *n = sizeof cards / sizeof *cards;
    return cards;
}

static const double ATTAINED = 0.75;   /* of the nominal rate, by a product large enough */
static const double ARITHMETIC = 0.5;  /* of the nominal rate, by anything else: not all of it is multiply-and-add */
static const double STREAMED = 0.9;    /* of the memory's nominal bandwidth */
static const double SHARED = 0.75;     /* of the rate of shared memory */
static const double CACHE_SHARE = 0.6; /* of the second-level cache holds what was touched last */
static const double LAUNCH = 3e-6, REPLAYED = 0.5e-6; /* of the host, a kernel */
static const double GAP = 1e-6;                       /* of the card, from kernel to kernel */
static const double TRIP = 10e-6;                     /* of the host, waiting for the card */
static const double STAGING = 10e9;                   /* bytes/s into and out of pinned memory by the host */
static const double FAR = 0.5e-6, CLOSE = 0.2e-6;     /* a load from memory, from the cache, under way */

const char *const *roof_assumptions(size_t *n) {
    static const char *const lines[] = {
        "products: 75 % of the card's nominal rate where the result fills it with tiles of 256 x 128; less by the "
        "share "
        "of processors that the last wave leaves idle, and for smaller tiles (best of nine sizes, cut along the sum "
        "where that helps and the product is single)",
        "attention, a kernel of ours: 35 % of the nominal rate of products on Hopper, 50 % before, as FlashAttention-2 "
        "is reported to reach, its softmax included; shared memory: 75 % of 128 bytes a clock and processor",
        "other arithmetic: half of the nominal float32 or float64 rate (float64 without tensor cores)",
        "memory: 90 % of the nominal bandwidth; second-level cache: a bandwidth that no vendor states "
        "(roofline_clock.c)",
        "what was touched last, up to 60 % of the second-level cache, is still there: read from the cache, and written "
        "to memory only when it is pushed out; blocks are found again by where they begin",
        "a kernel takes the longest of: its arithmetic, its bytes from memory, from the cache, from shared "
        "memory, and the waiting "
        "of its threads (waves x loads one after another x 0.5 us from memory or 0.2 us from the cache)",
        "from kernel to kernel the card rests 1 us; a launch costs the host 3 us and is hidden while the card is "
        "behind",
        "the host's own work between launches counts with the processor time measured here, on this machine's core",
        "waiting for a result costs 10 us and empties the queue; pageable bytes are staged at 10 GB/s; weights travel "
        "beside the work at four fifths of the PCIe rate, and are read by a thread at 10 GB/s before (they are in the "
        "page cache)",
        "layers are finished and written by a thread of their own, beside the card",
        "clocks do not throttle; no other program uses the card",
    };
    *n = sizeof lines / sizeof *lines;
    return lines;
}

/* ---- products ---- */

typedef struct tile {
    double m, n, rating; /* of a block's result; its rate in parts of the best one's */
} tile;

/* Ratings: what the smaller share of arithmetic per byte in shared memory leaves, rounded. */
static const tile tiles[] = {{256, 128, 1}, {128, 256, 1},  {128, 128, 0.9}, {128, 64, 0.7}, {64, 128, 0.7},
                             {64, 64, 0.5}, {128, 32, 0.4}, {64, 32, 0.3},   {32, 32, 0.2}};

static double share_of(const roof_card *c, const roof_kernel *k, const tile *t, double pieces) {
    double blocks = k->batch * ceil(k->m / t->m) * ceil(k->n / t->n) * pieces;
    double waves = ceil(blocks / c->processors);
    double share = k->batch * k->m * k->n * pieces / (waves * c->processors * t->m * t->n);
    return t->rating * share * (pieces > 1 ? 0.95 : 1);
}

/* Part of the attainable rate that a product of these sides reaches. */
static double filled(const roof_card *c, const roof_kernel *k) {
    double best = 0;
    for (size_t i = 0; c->processors > 0 && i < sizeof tiles / sizeof *tiles; i++) {
        for (double pieces = 1; pieces <= (k->one_piece ? 1 : 4); pieces *= 2) {
            best = fmax(best, share_of(c, k, &tiles[i], pieces));
        }
    }
    return c->processors > 0 ? best : 1;
}

double roof_product_rate(const roof_card *c, rs_compute compute) {
    return c->product[compute] * (c->processors > 0 ? ATTAINED : 1);
}

static double arithmetic_seconds(const roof_card *c, const roof_kernel *k) {
    double share = c->processors > 0 ? ARITHMETIC : 1;
    double s = k->flops[ROOF_F32] / (c->unit[0] * share) + k->flops[ROOF_F64] / (c->unit[1] * share);
    if (k->own) {
        s += k->flops[ROOF_PRODUCT] / (c->product[k->compute] * (c->processors > 0 ? c->own : 1));
    } else if (k->flops[ROOF_PRODUCT] > 0) {
        s += k->flops[ROOF_PRODUCT] / (roof_product_rate(c, k->compute) * filled(c, k));
    }
    return s;
}

/* ---- what is still in the second-level cache ---- */

enum { KEPT = 96 };

typedef struct kept {
    const void *memory;
    size_t offset;
    double bytes;
    bool dirty;
} kept;

typedef struct cache {
    double room;
    int n;
    kept item[KEPT + 1]; /* latest first */
} cache;

/* Out of the cache goes what no longer fits; returns the bytes that must be written to memory. */
static double evict(cache *c) {
    double sum = 0, written = 0;
    int n = 0;
    for (int i = 0; i < c->n; i++) {
        sum += c->item[i].bytes;
        if (sum <= c->room && i < KEPT) {
            n = i + 1;
        } else {
            written += c->item[i].dirty ? c->item[i].bytes : 0;
        }
    }
    c->n = n;
    return written;
}

/* Takes the item out; bytes of it that were there. */
static kept take(cache *c, const roof_touch *t) {
    for (int i = 0; i < c->n; i++) {
        kept k = c->item[i];
        if (k.memory == t->memory && k.offset == t->offset) {
            memmove(&c->item[i], &c->item[i + 1], (size_t)(c->n - i - 1) * sizeof k);
            c->n--;
            return k;
        }
    }
    return (kept){0};
}

/* Bytes from and to memory that the touch causes. */
static double touch_memory(cache *c, const roof_touch *t) {
    bool fits = t->bytes <= c->room;
    kept before = take(c, t);
    double memory = 0, there = fits ? fmin(before.bytes, t->bytes) : 0;
    if (t->reads > 0) {
        double again = fits || t->near ? 0 : fmax(t->reads - 1, 0);
        memory += (t->bytes - there) * fmin(t->reads, 1) + t->bytes * again;
    }
    memory += fits ? 0 : t->bytes * t->writes + (before.dirty && t->writes == 0 ? before.bytes : 0);
    memmove(&c->item[1], &c->item[0], (size_t)c->n * sizeof *c->item);
    /* What lay there beyond the range that is touched now stays. */
    c->item[0] =
        (kept){t->memory, t->offset, fmax(t->bytes, fits ? before.bytes : 0), fits && (before.dirty || t->writes > 0)};
    c->n++;
    return memory + evict(c);
}

/* ---- the two clocks ---- */

typedef struct clocks {
    const roof_card *card;
    const roof_what *what;
    roof_times *out;
    cache cache;
    double host, device; /* when host and card are done */
    double uploading;    /* bytes of the upload that is waited for next */
    double awaited;      /* when the upload before was there; 0: there was none */
    double section_began;
    int section;
} clocks;

static roof_line *line_of(clocks *k, int row) { return &k->out->line[k->section][row]; }

/* Work of the card that the host has just asked for. */
static void run_on_card(clocks *k, int row, double seconds) {
    double start = fmax(k->device, k->host);
    line_of(k, ROOF_IDLE)->seconds += start - k->device;
    line_of(k, row)->seconds += seconds;
    k->device = start + seconds;
}

static double waiting_seconds(const roof_card *c, const roof_kernel *k, double memory, double cached) {
    if (c->processors == 0 || k->block == 0) {
        return 0;
    }
    double blocks = fmin(floor((double)c->threads / k->block), c->blocks);
    double waves = fmax(1, k->threads / (blocks * k->block * c->processors));
    return waves * k->chain * (memory > 0.5 * cached ? FAR : CLOSE);
}

static void replay_kernel(clocks *k, const roof_event *e) {
    const roof_card *c = k->card;
    const roof_kernel *g = &e->kernel;
    roof_line *l = line_of(k, e->row);
    double memory = 0, cached = 0, seconds = 0, cpu = c->processors == 0;
    int by = 0;
    for (int i = 0; i < g->n_touches; i++) {
        memory += touch_memory(&k->cache, &g->touch[i]);
        cached += g->touch[i].bytes * (g->touch[i].reads + g->touch[i].writes);
    }
    double takes[ROOF_BY_GAPS] = {[ROOF_BY_ARITHMETIC] = arithmetic_seconds(c, g),
                                  [ROOF_BY_MEMORY] = memory / (c->memory * (cpu ? 1 : STREAMED)),
                                  [ROOF_BY_CACHE] = cached / c->cache,
                                  [ROOF_BY_SHARED] = cpu ? 0 : g->shared / (c->shared * SHARED),
                                  [ROOF_BY_LATENCY] = waiting_seconds(c, g, memory, cached)};
    for (int i = 0; i < ROOF_BY_GAPS; i++) {
        by = takes[i] > seconds ? i : by;
        seconds = fmax(seconds, takes[i]);
    }
    l->by[by] += seconds;
    l->by[ROOF_BY_GAPS] += cpu ? 0 : GAP;
    l->flops += g->flops[ROOF_PRODUCT] + g->flops[ROOF_F32] + g->flops[ROOF_F64];
    l->memory += memory;
    l->cache += cached;
    l->kernels++;
    k->host += cpu ? 0 : k->what->graphs ? REPLAYED : LAUNCH;
    run_on_card(k, e->row, seconds + (cpu ? 0 : GAP));
}

/* A part's weights are read when the part before has been widened, for then their place is free, and set out when they
 * are read. In the log their upload stands wherever the reading thread happened to be done, so the time is taken from
 * the waits. */
static void replay_await(clocks *k) {
    double now = fmax(k->device, k->host), from = k->awaited > 0 ? k->awaited : now;
    double wait = fmax(0, from + k->uploading / STAGING + k->uploading / k->card->link - now);
    line_of(k, ROOF_COPY)->seconds += wait;
    line_of(k, ROOF_IDLE)->seconds += now - k->device;
    k->device = k->awaited = now + wait;
}

static void replay_read(clocks *k, const roof_event *e) {
    run_on_card(k, ROOF_COPY, e->bytes / k->card->link);
    k->host = fmax(k->host, k->device) + TRIP + e->bytes / STAGING;
}

static void replay_mark(clocks *k) {
    double now = fmax(k->host, k->device);
    line_of(k, ROOF_IDLE)->seconds += now - k->device;
    k->device = k->host = now;
    k->out->seconds[k->section] = now - k->section_began;
    k->section_began = now;
    k->section++;
}

static void replay_event(clocks *k, const roof_event *e) {
    double computed = e->kind == ROOF_AWAIT ? 0 : e->host; /* waiting for the reading thread: replay_await */
    k->host += computed;
    k->out->host[k->section] += computed;
    line_of(k, e->row)->host += computed;
    switch (e->kind) {
    case ROOF_KERNEL: replay_kernel(k, e); break;
    case ROOF_WRITE:
        k->host += e->bytes / STAGING + LAUNCH;
        run_on_card(k, ROOF_COPY, e->bytes / k->card->link + GAP);
        break;
    case ROOF_READ: replay_read(k, e); break;
    case ROOF_ZERO:
        k->host += LAUNCH;
        run_on_card(k, ROOF_COPY, e->bytes / (k->card->memory * STREAMED) + GAP);
        break;
    case ROOF_UPLOAD: k->uploading = e->bytes; break;
    case ROOF_AWAIT: replay_await(k); break;
    case ROOF_MARK: replay_mark(k); break;
    }
}

void roof_replay(const roof_log *log, const roof_card *card, const roof_what *what, roof_times *out) {
    clocks k = {.card = card, .what = what, .out = out, .cache.room = CACHE_SHARE * card->cache_bytes};
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < log->n && k.section < ROOF_SECTIONS; i++) {
        replay_event(&k, &log->events[i]);
    }
}
