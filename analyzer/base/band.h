/* base/band.h: the eight bands of neighbouring pairs in which edits are tried and told: written by `ablate` as the
 * amount of the experiments band and layer-band, read again by reports. */
#ifndef RS_BASE_BAND_H
#define RS_BASE_BAND_H

#include <stdint.h>

enum { RS_BANDS = 8 };

/* First pair of band b of a head with so many pairs, fastest first; that of band b + 1 is the end. */
static inline int rs_band_begin(int b, int pairs) { return (int)((int64_t)b * pairs / RS_BANDS); }

#endif
