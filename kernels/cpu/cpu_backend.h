/* kernels/cpu/cpu_backend.h: the backend "cpu": OpenBLAS (OpenMP build) and OpenMP loops. For kernels/backend.c alone.
 * Same inputs with the same number of threads give the same bytes; most ops do
 * not depend on the number either (products that OpenBLAS forms may). */
#ifndef RS_KERNELS_CPU_BACKEND_H
#define RS_KERNELS_CPU_BACKEND_H

#include "kernels/backend.h"

extern const rs_backend rs_backend_cpu;

#endif
