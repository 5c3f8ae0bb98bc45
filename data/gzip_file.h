/* data/gzip_file.h: whole files that may be packed with gzip. */
#ifndef RS_DATA_GZIP_FILE_H
#define RS_DATA_GZIP_FILE_H

#include "analyzer/base/status.h"

#include <stddef.h>

/* As rs_file_read_all: the file's bytes, unpacked where it begins as gzip does (RFC 1952, also of several members).
 * max_bytes bounds what is read and what it unpacks to. Fails: RS_E_IO, RS_E_FORMAT (too large, damaged, cut off),
 * RS_E_NOMEM. Free *bytes with rs_free. */
rs_status rs_gzip_file_read_all(const char *path, size_t max_bytes, char **bytes, size_t *n, rs_error *err);

#endif
