/* kernels/cuda/cuda_absent.h: the backend "cuda" of a build without CUDA: probe and open fail with RS_E_UNAVAILABLE,
 * so nobody gets a device of it and the other entries are NULL. For kernels/backend.c alone. */
#ifndef RS_KERNELS_CUDA_ABSENT_H
#define RS_KERNELS_CUDA_ABSENT_H

#include "kernels/backend.h"

extern const rs_backend rs_backend_cuda;

#endif
