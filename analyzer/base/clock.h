/* base/clock.h: time, memory of this process, and the request to stop. */
#ifndef RS_BASE_CLOCK_H
#define RS_BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

double rs_clock_seconds(void);       /* monotonic */
void rs_clock_iso8601(char out[32]); /* now, UTC: 2026-11-23T06:00:00Z; honours SOURCE_DATE_EPOCH */
uint64_t rs_memory_peak(void);       /* bytes, largest resident set so far (Linux VmHWM) */
uint64_t rs_memory_available(void);  /* bytes that can be had without swapping; respects cgroup limits; 0 = unknown */

/* Ctrl-C sets a flag; long loops ask and return RS_E_CANCELLED. */
void rs_cancel_request(void); /* async-signal-safe */
bool rs_cancel_requested(void);

#endif
