/* kernels/cpu/hot.c: the table of inner loops for one x86-64 level; compiled once per level with RS_ISA = v2, v3, v4
 * (or generic elsewhere). See hot.h. */
#include "kernels/cpu/hot.h"

#include "kernels/cpu/hot_panel.h"
#include "kernels/cpu/hot_reduce.h"
#include "kernels/cpu/hot_rows.h"
#include "kernels/cpu/hot_sample.h"
#include "kernels/cpu/hot_widen.h"

#ifndef RS_ISA
#define RS_ISA generic /* for tools that read the file on its own */
#endif

#define JOIN_AGAIN(a, b) a##b
#define JOIN(a, b) JOIN_AGAIN(a, b)
#define TEXT_AGAIN(a) #a
#define TEXT(a) TEXT_AGAIN(a)

#if defined(__x86_64__)
#define LEVEL_NAME "x86-64-" TEXT(RS_ISA)
#else
#define LEVEL_NAME TEXT(RS_ISA)
extern const rs_cpu_hot JOIN(rs_cpu_hot_, RS_ISA);
#endif

const rs_cpu_hot JOIN(rs_cpu_hot_, RS_ISA) = {
    .name = LEVEL_NAME,
    .panel_cols = PANEL,
    .tile_rows = TILE_ROWS,
    .beats_blas = LANES == 16,
    .widen = widen,
    .first_bad = first_bad,
    .norm = norm,
    .add = add,
    .gate = gate,
    .rope = rope,
    .soft_cap = soft_cap,
    .softmax = softmax,
    .log_sum = log_sum,
    .pack_rows = pack_rows,
    .pack_cols = pack_cols,
    .panel_tile = panel_tile,
    .pair_rows = pair_rows,
    .block_sums = block_sums,
    .repeat_sums = repeat_sums,
    .profile_rows = profile_rows,
    .sample_key = sample_key,
    .sample_row = sample_row,
    .sample_terms = sample_terms,
};
