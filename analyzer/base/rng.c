/* base/rng.c: see rng.h. xoshiro256** and splitmix64 by Blackman and Vigna (public domain). */
#include "analyzer/base/rng.h"

#include <math.h>

static uint64_t splitmix64(uint64_t *x) {
    uint64_t z = (*x += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static uint64_t rotate_left(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }

void rs_rng_init(rs_rng *r, uint64_t seed) {
    for (int i = 0; i < 4; i++) r->s[i] = splitmix64(&seed);
}

uint64_t rs_rng_next(rs_rng *r) {
    uint64_t *s = r->s;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

double rs_rng_uniform(rs_rng *r) { return (double)(rs_rng_next(r) >> 11) * 0x1.0p-53; }

double rs_rng_normal(rs_rng *r) {
    const double two_pi = 6.283185307179586476925;
    double u = 1.0 - rs_rng_uniform(r); /* (0, 1]: its logarithm is finite */
    double v = rs_rng_uniform(r);
    return sqrt(-2.0 * log(u)) * cos(two_pi * v);
}

int64_t rs_rng_below(rs_rng *r, int64_t n) {
    if (n <= 1) return 0;
    uint64_t m = (uint64_t)n;
    uint64_t reject = (0 - m) % m; /* 2^64 mod n: the draws below it would favour small results */
    uint64_t x = rs_rng_next(r);
    while (x < reject) x = rs_rng_next(r);
    return (int64_t)(x % m);
}
