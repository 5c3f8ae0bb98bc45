/* data/store_text.h: text as files of others' formats want it. */
#ifndef RS_DATA_STORE_TEXT_H
#define RS_DATA_STORE_TEXT_H

#include "analyzer/base/text.h"

/* Appends s with every byte that is not UTF-8 (RFC 3629) as U+FFFD: HDF5's and SQLite's text types promise UTF-8 and
 * their readers refuse the rest, but names of files may hold any bytes. NULL appends nothing. */
void rs_store_append_utf8(rs_text *t, const char *s);

#endif
