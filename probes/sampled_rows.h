/* probes/sampled_rows.h: sampled query rows of a sequence with all their keys, on the host: what the deep probes look
 * at that need single attention rows rather than sums. The rows are those of the moments probe.
 *
 * The device hands q and k back and the host computes, in float64: every measurement is written once, and devices agree
 * because there is one. Keys of a row are counted by their distance D from it: key m - D of the row at position m, so
 * that everything that follows runs through memory in one direction.
 *
 * With q, k the complex pairs before rotation (after q/k norm), g_f = softmax scale * factor_f^2:
 *   part of pair f     c_f[D] = g_f Re( q_f conj(k_f) e^{i theta_f D} )
 *   logit              z[D] = sum_f c_f[D];   score s = cap tanh(z / cap), or z where the model has no soft-cap
 *   attention          P = softmax of s over the visible keys, position 0 included (without a model's learned sinks,
 *                      which take the same share from every key) */
#ifndef RS_PROBES_SAMPLED_ROWS_H
#define RS_PROBES_SAMPLED_ROWS_H

#include "probes/kinds.h"
#include "probes/moments.h"

/* Farthest shift of a distance that the tables hold. */
enum { RS_ROWS_SHIFT = 16 };

typedef struct rs_sampled_rows {
    const rs_layer *layer;
    int64_t T, H, K, F;
    int layer_number; /* whose tables are below; -1 = none */
    uint64_t seed;    /* of this sequence */
    int64_t n_rows;
    int32_t row[RS_SAMPLE_ROWS]; /* their positions, ascending */
    double *gain;                /* [F] g_f */
    double *cos, *sin;           /* [F, T + RS_ROWS_SHIFT] of theta_f D */
    double *q;                   /* [RS_SAMPLE_ROWS, H, 2, F] real and imaginary parts */
    double *k;                   /* [K, F, 2, T]; position n stands at T - 1 - n */
    double *q_mean;              /* [H, 2, F] over positions 1..T-1 of this sequence */
    double *k_mean;              /* [K, 2, F] */
    float *staging;              /* [staging_room] activations as the device had them */
    int64_t staging_room;
    double *increment; /* [increments] of one layer and sequence; zero between frames */
    double *fold;      /* [increments] */
    int64_t increments;
    double *work; /* [threads, work_cells] */
    int64_t work_cells;
    int threads;
} rs_sampled_rows;

/* What a probe needs beside the rows, in doubles: work of each thread; one fold of its state in the largest layer. */
typedef struct rs_sampled_room {
    int64_t work, increments;
} rs_sampled_room;

/* Room for the largest layer of the run. Zero-initialise; free with rs_sampled_rows_deinit, also after a failure. */
rs_status rs_sampled_rows_init(rs_sampled_rows *s, const rs_probe_facts *facts, const rs_backend *b, rs_device *d,
                               rs_sampled_room room, rs_error *err);
/* Host memory that rs_sampled_rows_init takes. */
int64_t rs_sampled_rows_bytes(const rs_probe_facts *facts, int threads, rs_sampled_room room);
void rs_sampled_rows_deinit(rs_sampled_rows *s);

/* Takes the frame of RS_SITE_K_ROPE: chooses the rows, reads q and k, makes the tables of a new layer. n_rows is 0 for
 * sequences that have no row (T < 3) and layers without pairs; there is nothing to measure then. */
rs_status rs_sampled_rows_read(rs_sampled_rows *s, const rs_probe_facts *facts, const rs_frame *f, rs_error *err);

/* The first element of a view of float32 on the host, for what else a probe reads; borrowed until the next call. */
rs_status rs_sampled_fetch(rs_sampled_rows *s, const rs_frame *f, const rs_view *v, const float **values,
                           rs_error *err);

/* Runs measure(ctx, s, h, work) for every query head, spread over threads; work: the thread's own doubles. A call
 * writes cells of its own head only, so nothing depends on who ran what. */
void rs_sampled_heads(rs_sampled_rows *s, void (*measure)(void *ctx, rs_sampled_rows *s, int64_t h, double *work),
                      void *ctx);

/* Adds s->increment, whose cells stand array by array as declared, to the first n_views arrays of the fold's state, and
 * zeroes it. */
rs_status rs_sampled_add(rs_sampled_rows *s, const rs_frame *f, const rs_probe_state *state, int n_views,
                         rs_error *err);

/* Visible keys of row i, D = 0..n-1; *sink: is position 0 among them, as the last? */
int64_t rs_row_keys(const rs_sampled_rows *s, int64_t i, bool *sink);
int64_t rs_row_key_head(const rs_sampled_rows *s, int64_t h);

/* Part of one pair for keys first..first+n-1 by distance, at distances from `distance` on: out[j] = g_f Re( q conj(
 * k[first + j] ) e^{i theta_f (distance + j)} ). q: real and imaginary part. distance + n <= T + RS_ROWS_SHIFT. */
void rs_row_part(const rs_sampled_rows *s, const double q[2], int64_t kv, int64_t i, int64_t f, int64_t first,
                 int64_t distance, int64_t n, double *out);
/* The same with theta = 0. */
void rs_row_flat(const rs_sampled_rows *s, const double q[2], int64_t kv, int64_t i, int64_t f, int64_t n, double *out);
/* Pair f of the query of row i and head h. */
void rs_row_query(const rs_sampled_rows *s, int64_t h, int64_t i, int64_t f, double q[2]);
/* All parts [F, n] of row i and head h, and their sum z[n]. */
void rs_row_parts(const rs_sampled_rows *s, int64_t h, int64_t i, int64_t n, double *parts, double *z);

/* out[n] = cap tanh(z / cap); z where cap is 0. out may be z. */
void rs_row_cap(double cap, const double *z, int64_t n, double *out);
/* p[n] = softmax of s[n], log_p[n] its logarithm, which does not underflow. */
void rs_row_softmax(const double *s, int64_t n, double *p, double *log_p);
/* KL( P || P' ) in nats, P' = softmax of (log P + change). Exactly 0 where nothing changes. */
double rs_row_kl(const double *p, const double *log_p, const double *change, int64_t n);
/* sum_n p[n] x[n]. */
double rs_row_mean(const double *p, const double *x, int64_t n);

#endif
