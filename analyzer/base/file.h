/* base/file.h: reading by offset with every range checked, whole small files, and names for output that appears at once
 * or not at all. */
#ifndef RS_BASE_FILE_H
#define RS_BASE_FILE_H

#include "analyzer/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct rs_file rs_file;

/* A regular file for reading (anything else is refused). Fails: RS_E_IO. */
rs_status rs_file_open(const char *path, rs_file **out, rs_error *err);
void rs_file_close(rs_file *f); /* NULL is fine */
const char *rs_file_path(const rs_file *f);
uint64_t rs_file_size(const rs_file *f);
/* Reads exactly n bytes at offset (pread, thread-safe). Fails: RS_E_FORMAT when the range is outside the file as it was
 * opened (names the range and the size), RS_E_IO when the file shrank or the disk failed. */
rs_status rs_file_read(rs_file *f, uint64_t offset, void *dst, size_t n, rs_error *err);
/* Whole file with a NUL behind it; refuses more than max_bytes (RS_E_FORMAT). Free *bytes with rs_free. */
rs_status rs_file_read_all(const char *path, size_t max_bytes, char **bytes, size_t *n, rs_error *err);
/* SHA-256 as 64 hex digits. Cancels with the program (base/cancel.h). */
rs_status rs_file_sha256(rs_file *f, char hex[65], rs_error *err);
void rs_sha256(const void *bytes, size_t n, char hex[65]);

bool rs_path_exists(const char *path);
bool rs_path_is_folder(const char *path);
/* folder + "/" + name into a new string. */
rs_status rs_path_join(char **out, const char *folder, const char *name, rs_error *err);
const char *rs_path_base(const char *path); /* what stands behind the last '/' */
/* Refuses an output that exists (unless force) or whose folder does not, or that is a folder: RS_E_EXISTS.
 * On success *temporary is "PATH.tmp.PID" in the same folder, to be written and then renamed; free with rs_free. */
rs_status rs_output_prepare(const char *path, bool force, char **temporary, rs_error *err);
/* fsync and rename temporary to path. Without force an existing path is an error (RS_E_EXISTS), the temporary is
 * removed. */
rs_status rs_output_publish(const char *temporary, const char *path, bool force, rs_error *err);
/* Writes n bytes to PATH as above, or to stdout for "-". Nothing is left behind on failure. */
rs_status rs_output_write(const char *path, bool force, const void *bytes, size_t n, rs_error *err);

#endif
