/* cli/calibrate.h: how fast this device multiplies right now, for the time that a plan names. */
#ifndef RS_CLI_CALIBRATE_H
#define RS_CLI_CALIBRATE_H

#include "kernels/backend.h"

/* Floating-point operations per second of a 512 x 512 x 512 product, best of a few: takes about 0.05 s. */
rs_status rs_calibrate(const rs_backend *b, rs_device *d, double *flops_per_second, rs_error *err);

#endif
