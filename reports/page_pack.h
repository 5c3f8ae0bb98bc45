/* reports/page_pack.h: arrays as the page carries them, small enough to be mailed and sharp enough for what is drawn
 * from them. Read again by page_data.js; page_payload.c says which array is packed how. */
#ifndef RS_REPORTS_PAGE_PACK_H
#define RS_REPORTS_PAGE_PACK_H

#include "analyzer/base/array.h"
#include "analyzer/base/status.h"
#include "analyzer/base/text.h"

/* Everything but PLAIN is base64, low byte first; 255 (of a half: NaN) is "no value". top: the largest magnitude. */
typedef enum rs_packing {
    RS_PACK_PLAIN,    /* JSON numbers: small, or exact */
    RS_PACK_HALF,     /* float16 times "scale": three digits over nine decades */
    RS_PACK_LOG,      /* 0 = 0, b = "scale" e^("step" (b - 254)): from the least value to top, nine decades at most, so
                         that a step is at most 8.5 % */
    RS_PACK_COST,     /* HALF up to RS_PACK_FEW numbers, LOG beyond */
    RS_PACK_BYTE,     /* 254 sqrt(x / "scale"), "scale" = top */
    RS_PACK_SIGNED,   /* 127 + 127 sign(x) sqrt(|x| / "scale"[i]), i the cell of the first two axes: layer and head */
    RS_PACK_WHOLE,    /* whole numbers below 255 as they are */
    RS_PACK_TRIANGLE, /* BYTE of the blocks on and below the diagonal of the last two axes: what a causal pattern has */
} rs_packing;

enum { RS_PACK_FEW = 32768 };

/* Appends "name":{"dims":[...],"type":...,"data":...}. Types: plain, f16, l8, u8, s8, whole.
 * Fails: RS_E_FORMAT when the array has too few axes for its packing; RS_E_NOMEM. */
rs_status rs_pack_array(rs_text *out, const rs_array *a, rs_packing as, rs_error *err);

#endif
