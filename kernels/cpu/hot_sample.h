/* kernels/cpu/hot_sample.h: the variance of a logit over its keys, pair by pair, without a loop over (query, key). Part
 * of hot.c.
 *
 * With U_n = k_n e^{i theta n} the rotated term is rot_n = Re(q e^{i theta m} conj U_n), linear in U_n, and with V_n =
 * U_n - k_n the change by un-rotating is rot_n - flat_n = Re(q (e^{i theta m} - 1) conj U_n) + Re(q conj V_n), linear
 * in (U_n, V_n). So mean and mean square over the keys of any query are forms in running sums of U, V and their
 * products, kept in float64. */
#ifndef RS_KERNELS_CPU_HOT_SAMPLE_H
#define RS_KERNELS_CPU_HOT_SAMPLE_H

#include "kernels/cpu/hot_math.h"

static void sample_key(rs_hot_sample *s, const float *k, const int32_t *lo, const int32_t *hi, int64_t n) {
    double kr[RS_HOT_PAIR_BLOCK] = {0}, ki[RS_HOT_PAIR_BLOCK] = {0};
    for (int64_t i = 0; i < n; i++) {
        kr[i] = (double)k[lo[i]];
        ki[i] = (double)k[hi[i]];
    }
#pragma omp simd
    for (int i = 0; i < RS_HOT_PAIR_BLOCK; i++) {
        double c = s->turn_re[i], d = s->turn_im[i];
        double ur = kr[i] * c - ki[i] * d, ui = ki[i] * c + kr[i] * d, vr = ur - kr[i], vi = ui - ki[i];
        s->sum[RS_SUM_UR][i] += ur;
        s->sum[RS_SUM_UI][i] += ui;
        s->sum[RS_SUM_VR][i] += vr;
        s->sum[RS_SUM_VI][i] += vi;
        s->sum[RS_SUM_URUR][i] += ur * ur;
        s->sum[RS_SUM_URUI][i] += ur * ui;
        s->sum[RS_SUM_UIUI][i] += ui * ui;
        s->sum[RS_SUM_VRVR][i] += vr * vr;
        s->sum[RS_SUM_VRVI][i] += vr * vi;
        s->sum[RS_SUM_VIVI][i] += vi * vi;
        s->sum[RS_SUM_URVR][i] += ur * vr;
        s->sum[RS_SUM_URVI][i] += ur * vi;
        s->sum[RS_SUM_UIVR][i] += ui * vr;
        s->sum[RS_SUM_UIVI][i] += ui * vi;
        s->sum[RS_SUM_ABS][i] += sqrt(kr[i] * kr[i] + ki[i] * ki[i]);
        s->turn_re[i] = c * s->step_re[i] - d * s->step_im[i];
        s->turn_im[i] = d * s->step_re[i] + c * s->step_im[i];
    }
}

/* Mean of s over the keys in *lead but not in *trail. */
static void key_means(const rs_hot_sample *lead, const rs_hot_sample *trail, int64_t count,
                      double mean[RS_SAMPLE_SUMS][RS_HOT_PAIR_BLOCK]) {
    double share = 1.0 / (double)count;
    for (int s = 0; s < RS_SAMPLE_SUMS; s++) {
        for (int i = 0; i < RS_HOT_PAIR_BLOCK; i++)
            mean[s][i] = (trail ? lead->sum[s][i] - trail->sum[s][i] : lead->sum[s][i]) * share;
    }
}

static void sample_row(const rs_hot_query *q, const rs_hot_sample *lead, const rs_hot_sample *trail, int64_t count,
                       int64_t n, double *out, int64_t pairs) {
    double m[RS_SAMPLE_SUMS][RS_HOT_PAIR_BLOCK];
    key_means(lead, trail, count, m);
    for (int64_t i = 0; i < n; i++) {
        double qr = q->re[i], qi = q->im[i], c = q->turn_re[i], d = q->turn_im[i], g2 = q->gain[i] * q->gain[i];
        double rr = qr * c - qi * d, ri = qi * c + qr * d; /* q e^{i theta m} */
        double ar = rr - qr, ai = ri - qi;                 /* q (e^{i theta m} - 1) */
        double rot = rr * m[RS_SUM_UR][i] + ri * m[RS_SUM_UI][i];
        double rot2 = rr * rr * m[RS_SUM_URUR][i] + 2 * rr * ri * m[RS_SUM_URUI][i] + ri * ri * m[RS_SUM_UIUI][i];
        double off = ar * m[RS_SUM_UR][i] + ai * m[RS_SUM_UI][i] + qr * m[RS_SUM_VR][i] + qi * m[RS_SUM_VI][i];
        double off2 = ar * ar * m[RS_SUM_URUR][i] + 2 * ar * ai * m[RS_SUM_URUI][i] + ai * ai * m[RS_SUM_UIUI][i] +
                      qr * qr * m[RS_SUM_VRVR][i] + 2 * qr * qi * m[RS_SUM_VRVI][i] + qi * qi * m[RS_SUM_VIVI][i] +
                      2 * (ar * (qr * m[RS_SUM_URVR][i] + qi * m[RS_SUM_URVI][i]) +
                           ai * (qr * m[RS_SUM_UIVR][i] + qi * m[RS_SUM_UIVI][i]));
        /* Rounding may leave a mean square, or a variance of nothing, just below zero. */
        rot2 = rot2 > 0 ? rot2 : 0;
        off2 = off2 > 0 ? off2 : 0;
        double rot_var = rot2 - rot * rot, off_var = off2 - off * off;
        out[RS_SAMPLE_DROP * pairs + i] += g2 * (rot_var > 0 ? rot_var : 0);
        out[RS_SAMPLE_UNROT * pairs + i] += g2 * (off_var > 0 ? off_var : 0);
        out[RS_SAMPLE_DROP_RAW * pairs + i] += g2 * rot2;
        out[RS_SAMPLE_UNROT_RAW * pairs + i] += g2 * off2;
        out[RS_SAMPLE_ABS * pairs + i] += sqrt(qr * qr + qi * qi) * m[RS_SUM_ABS][i];
    }
}

/* (q - mu_q)(k - mu_k) = qk - q mu_k - mu_q k + mu_q mu_k, and so on (op.h; metrics C2). */
static void sample_terms(const double *qk, const double *qm, const double *mk, const double *mm, int64_t n,
                         rs_hot_terms *t) {
    double s0 = 0, s1 = 0, s2 = 0, s3 = 0, s4 = 0, v0 = 0, v1 = 0, v2 = 0, v3 = 0, v4 = 0;
#pragma omp simd reduction(+ : s0, s1, s2, s3, s4, v0, v1, v2, v3, v4)
    for (int64_t i = 0; i < n; i++) {
        double total = qk[i], pp = mm[i], pc = mk[i] - pp, cp = qm[i] - pp, cc = total - pp - pc - cp;
        s0 += total;
        s1 += pp;
        s2 += pc;
        s3 += cp;
        s4 += cc;
        v0 += total * total;
        v1 += pp * pp;
        v2 += pc * pc;
        v3 += cp * cp;
        v4 += cc * cc;
    }
    const double sums[RS_HEAD_ROWS] = {s0, s1, s2, s3, s4}, squares[RS_HEAD_ROWS] = {v0, v1, v2, v3, v4};
    for (int term = 0; term < RS_HEAD_ROWS; term++) {
        t->sum[term] += sums[term];
        t->square[term] += squares[term];
    }
}

_Static_assert(RS_HEAD_TOTAL == 0 && RS_HEAD_PP == 1 && RS_HEAD_PC == 2 && RS_HEAD_CP == 3 && RS_HEAD_CC == 4 &&
                   RS_HEAD_ROWS == 5,
               "order of the sums in sample_terms");

#endif
