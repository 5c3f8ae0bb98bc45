/* base/rng.h: seeded random numbers, the same on every machine (splitmix64 seeding xoshiro256**). */
#ifndef RS_BASE_RNG_H
#define RS_BASE_RNG_H

#include <stdint.h>

typedef struct rs_rng {
    uint64_t s[4];
} rs_rng;

void rs_rng_init(rs_rng *r, uint64_t seed);
uint64_t rs_rng_next(rs_rng *r);
double rs_rng_uniform(rs_rng *r);           /* [0, 1) with 53 bits */
double rs_rng_normal(rs_rng *r);            /* N(0, 1), Box-Muller */
int64_t rs_rng_below(rs_rng *r, int64_t n); /* 0..n-1, unbiased; n >= 1 */

#endif
