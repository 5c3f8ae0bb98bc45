/* tests/support/fake_values.h: what stands in the cells of a made-up run (fake_run.h). */
#ifndef RS_TESTS_FAKE_VALUES_H
#define RS_TESTS_FAKE_VALUES_H

#include "analyzer/base/dtype.h"
#include "tests/support/fake_run.h"

#include <stddef.h>

typedef struct fake_array {
    const char *name, *axes, *unit, *long_name; /* axes: "layer,head,pair" */
    rs_dtype stored_as;
    double (*value)(const rs_fake_shape *f, const int64_t *at); /* at: one index per axis */
    bool counted;                                               /* averaged over tokens */
} fake_array;

extern const fake_array fake_arrays[];
extern const size_t fake_arrays_count;

/* Cell of an array of the table; NaN when there is no such array. */
double fake_value(const rs_fake_shape *f, const char *name, const int64_t *at);

/* Values of the axes that are not simply counted; the result is the length. out may be NULL. */
int64_t fake_distance_axis(const rs_fake_shape *f, double *out); /* room for 512 */
int64_t fake_bucket_axis(const rs_fake_shape *f, double *out);   /* room for 32 */

#endif
