/* reports/assets.h: the files of reports/assets and d3, as they stand in the program (assets.S). Not NUL-terminated. */
#ifndef RS_REPORTS_ASSETS_H
#define RS_REPORTS_ASSETS_H

#define RS_ASSET(name) extern const char rs_asset_##name[], rs_asset_##name##_end[]

RS_ASSET(html);            /* page.html: the skeleton, with {{markers}} */
RS_ASSET(css);             /* page.css */
RS_ASSET(js);              /* page_*.js in the order in which they need each other */
RS_ASSET(comparison_html); /* comparison.html: the skeleton of a comparison */
RS_ASSET(comparison_js);   /* its scripts: what it shares with page_*.js, then comparison_*.js */
RS_ASSET(d3);              /* d3.min.js 5.16 */
RS_ASSET(d3_licence);      /* its licence, which travels with it */

#undef RS_ASSET

#endif
