/* The seal: a line of text behind the HDF5 data, "ropescope seal 1 <64 hex digits>\n". HDF5 and everything built on it
 * ignore bytes behind the end that the superblock names; a tool that changes the file cuts them off, and then nothing
 * is checked here. Why: HDF5 keeps variable-length data in heaps without checksums, and its 1.10 library can crash on a
 * damaged one. With the seal a flipped bit anywhere is found before HDF5 looks at the file. The digest is a chain over
 * blocks b_1..b_n of 1 MiB: h_0 = 64 zeros, h_i = hex(SHA-256(h_{i-1} b_i)). */
#include "data/store_hdf5.h"

#include "analyzer/base/alloc.h"
#include "analyzer/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { HEX = 64, BLOCK = 1 << 20 };
static const char mark[] = "ropescope seal 1 ";
enum { MARK = sizeof mark - 1, SEAL = MARK + HEX + 1 };

/* Digest of the first n bytes. */
static rs_status digest(rs_file *f, uint64_t n, char hex[HEX + 1], rs_error *err) {
    rs_status st = RS_OK;
    char *buffer = NULL; /* [HEX + BLOCK] */
    RS_TRY(RS_NEW(&buffer, HEX + BLOCK, err));
    memset(hex, '0', HEX);
    hex[HEX] = '\0';
    for (uint64_t at = 0; at < n; at += BLOCK) {
        size_t part = n - at < BLOCK ? (size_t)(n - at) : BLOCK;
        memcpy(buffer, hex, HEX);
        RS_TRY(rs_file_read(f, at, buffer + HEX, part, err));
        rs_sha256(buffer, HEX + part, hex);
    }
out:
    rs_free(buffer);
    return st;
}

static rs_status append(const char *path, const char *bytes, size_t n, rs_error *err) {
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (fd < 0) return rs_fail_errno(err, path, "cannot be opened");
    rs_status st = RS_OK;
    errno = ENOSPC; /* what a short write means */
    if (write(fd, bytes, n) != (ssize_t)n) st = rs_fail_errno(err, path, "cannot be written");
    if (close(fd) != 0 && st == RS_OK) st = rs_fail_errno(err, path, "cannot be written");
    return st;
}

rs_status rs_store_seal(const char *path, rs_error *err) {
    char line[SEAL + 1];
    rs_file *f = NULL;
    rs_status st = rs_file_open(path, &f, err);
    if (st != RS_OK) return st;
    memcpy(line, mark, MARK);
    st = digest(f, rs_file_size(f), line + MARK, err);
    line[SEAL - 1] = '\n';
    rs_file_close(f);
    return st == RS_OK ? append(path, line, SEAL, err) : st;
}

static rs_status check(rs_file *f, rs_error *err) {
    rs_status st = RS_OK;
    char line[SEAL], hex[HEX + 1];
    uint64_t size = rs_file_size(f);
    if (size < SEAL) return RS_OK;
    RS_TRY(rs_file_read(f, size - SEAL, line, SEAL, err));
    if (memcmp(line, mark, MARK) != 0) return RS_OK;
    RS_TRY(digest(f, size - SEAL, hex, err));
    if (memcmp(line + MARK, hex, HEX) != 0) {
        st = rs_fail(err, RS_E_FORMAT,
                     "%s: is damaged: its bytes are not those that were written (digest %.12s..., expected %.12s...)",
                     rs_file_path(f), hex, line + MARK);
    }
out:
    return st;
}

rs_status rs_store_seal_check(const char *path, rs_error *err) {
    rs_file *f = NULL;
    rs_status st = rs_file_open(path, &f, err);
    if (st == RS_OK) st = check(f, err);
    rs_file_close(f);
    return st;
}

rs_status rs_store_unsealed_bytes(const char *path, uint64_t *out, rs_error *err) {
    rs_status st = RS_OK;
    char line[MARK];
    rs_file *f = NULL;
    RS_TRY(rs_file_open(path, &f, err));
    *out = rs_file_size(f);
    if (*out >= SEAL) {
        RS_TRY(rs_file_read(f, *out - SEAL, line, MARK, err));
        *out -= memcmp(line, mark, MARK) == 0 ? SEAL : 0;
    }
out:
    rs_file_close(f);
    return st;
}
