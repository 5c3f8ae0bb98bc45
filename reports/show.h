/* reports/show.h: numbers as people read them. Pure functions into the caller's 32 bytes; each returns out. */
#ifndef RS_REPORTS_SHOW_H
#define RS_REPORTS_SHOW_H

#include <stddef.h>

enum { RS_SHOW_BYTES = 32 };

/* Two to three significant digits: 0.0831, 19.6, 812, 18,400, 4.1e-5; "-" for NaN. */
char *rs_show_number(char out[RS_SHOW_BYTES], double x);
/* A fraction as a percentage: 0.414 -> "41%", 0.0362 -> "3.6%", 0.00041 -> "0.041%"; "-" for NaN. */
char *rs_show_percent(char out[RS_SHOW_BYTES], double x);
/* An exact count with commas; "-" when negative (unknown). */
char *rs_show_count(char out[RS_SHOW_BYTES], long long n);
/* Seconds as "12 s", "3 min 20 s", "1 h 5 min". */
char *rs_show_seconds(char out[RS_SHOW_BYTES], double seconds);
/* Parameters as "135 M", "8.03 B". */
char *rs_show_parameters(char out[RS_SHOW_BYTES], double n);
/* Sorted layer numbers as "0, 3-5, 7" into out of n bytes; ends in "..." when they do not fit. */
char *rs_show_ranges(char *out, size_t n, const int *values, int count);

#endif
