/* kernels/fourier.h: what the backends' Fourier and phase ops (op.h) have in common, so that they cut and pad alike.
 * Compiled into the program and into the module of the CUDA backend. For kernels alone. */
#ifndef RS_KERNELS_FOURIER_H
#define RS_KERNELS_FOURIER_H

#include "kernels/op.h"

#ifdef __CUDACC__
#define RS_ON_BOTH __host__ __device__
#else
#define RS_ON_BOTH
#endif

/* Distances of CORRELATE that can occur: 0 .. lags - 1. */
int64_t rs_correlate_lags(const rs_op_correlate *o);
/* Length of its transforms: rows + lags - 1 at least, so that no distance wraps around into another, and a product of
 * small primes. */
int64_t rs_correlate_length(const rs_op_correlate *o);

/* A signal of SPECTRUM whose part without the mean has less than this share of the whole power does not vary: what is
 * left is rounding of float64 (1e-16 squared), far below that of float32 inputs (6e-8 squared). */
#define RS_SPECTRUM_LEAST 1e-26

/* The edges of the bins of a quarter turn: cos and sin of 2 pi j / RS_PHASE_BINS. */
enum { RS_PHASE_QUARTER = RS_PHASE_BINS / 4 };
typedef struct rs_phase_edges {
    double cosine[RS_PHASE_QUARTER], sine[RS_PHASE_QUARTER];
} rs_phase_edges;
void rs_phase_edges_init(rs_phase_edges *e);

/* Bin of the angle of re + i im; -1 where it has none. Turns by quarters and comparisons of products alone: no
 * trigonometry that differs between devices. */
RS_ON_BOTH static inline int rs_phase_bin(const rs_phase_edges *e, double re, double im) {
    int quarter = 0, j = 0;
    double x = re, y = im;
    if (re <= 0 && im > 0) {
        quarter = 1;
        x = im;
        y = -re;
    } else if (re < 0 && im <= 0) {
        quarter = 2;
        x = -re;
        y = -im;
    } else if (re >= 0 && im < 0) {
        quarter = 3;
        x = -im;
        y = re;
    }
    if (!(x > 0)) return -1;
    for (int step = RS_PHASE_QUARTER / 2; step > 0; step /= 2) {
        if (y * e->cosine[j + step] >= x * e->sine[j + step]) j += step;
    }
    return quarter * RS_PHASE_QUARTER + j;
}

#endif
