/* kernels/cuda_plugin.h: the seam between the program and the module that holds the CUDA backend (ropescope_cuda.so).
 * The module is opened at run time, so that one program runs with and without CUDA. kernels/cuda_plugin.c opens it,
 * kernels/cuda/cuda_backend.cu is at the other end. */
#ifndef RS_KERNELS_CUDA_PLUGIN_H
#define RS_KERNELS_CUDA_PLUGIN_H

#include "kernels/backend.h"

/* Changes with rs_backend and rs_op: a module of another version is refused. */
enum { RS_CUDA_PLUGIN_VERSION = 2 };

/* The name by which the emulated device of the tests goes among cards. */
#define RS_CUDA_EMULATED_NAME "emulated device"

/* What the module exports: its table, static; NULL when it was built for another version. */
#define RS_CUDA_PLUGIN_SYMBOL "rs_cuda_plugin"
typedef const rs_backend *rs_cuda_plugin_fn(int version);
#define RS_CUDA_EXPORT __attribute__((visibility("default")))

/* The backend "cuda": the module's, or, where it cannot be opened, one whose probe and open give the reason
 * (RS_E_UNAVAILABLE). The module is looked for once: ROPESCOPE_CUDA_PLUGIN if set, else ropescope_cuda.so beside the
 * program, else ../lib/ropescope/ropescope_cuda.so from there. Never NULL; static. */
const rs_backend *rs_cuda_backend(void);

#endif
