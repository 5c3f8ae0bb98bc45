/* reports/view_spectrum.h: the spectra of the norms of pairs along the sequence, a mean over heads, read one layer at
 * a time (those of an 8B-shaped model take 270 MB). */
#ifndef RS_REPORTS_VIEW_SPECTRUM_H
#define RS_REPORTS_VIEW_SPECTRUM_H

#include "data/store.h"
#include "reports/view.h"

/* Adds to v->derived, where the run has angular_spectrum/q_norm_spectrum, k_norm_spectrum:
 *   spectrum/q, spectrum/k [rope, pair, period_band]: power of |z| along the sequence in a band of periods over what
 *     white noise of the same power would have there; mean over heads and layers with that rotary table. The constant
 *     part is left out (bins 0 and 1: a Hann window spreads it over its neighbour).
 *   axis/period [period_band, 2]: longest and shortest period of each band in tokens, shortest band first; two bands
 *     to the octave.
 * Fails: RS_E_FORMAT when the arrays and the axis spectrum_bin do not fit together. */
rs_status rs_view_read_spectrum(rs_report_view *v, rs_store *s, rs_error *err);

#endif
