/* data/gzip_file.c: see gzip_file.h. */
#include "data/gzip_file.h"

#include "analyzer/base/alloc.h"
#include "analyzer/base/file.h"

#include <string.h>

#define ZLIB_CONST
#include <zlib.h>

enum { FIRST_ROOM = 1 << 16, MOST_PIECE = 1 << 30, GZIP_WINDOW = 15 + 16 /* zlib: gzip alone */ };
static const char magic[] = {'\x1f', '\x8b'};

typedef struct unpacked {
    const char *path;
    char *bytes; /* [room], NUL behind the first n */
    size_t n, room, most;
} unpacked;

static rs_status check_size(const unpacked *u, rs_error *err) {
    return u->n <= u->most
               ? RS_OK
               : rs_fail(err, RS_E_FORMAT, "%s: unpacks to more than %zu bytes; at most so many are expected", u->path,
                         u->most);
}

/* Room for one byte more at least, and the NUL. */
static rs_status make_room(unpacked *u, rs_error *err) {
    size_t room = u->room ? 2 * u->room : FIRST_ROOM;
    if (u->room - u->n >= 2) return RS_OK;
    rs_status st = check_size(u, err);
    st = st == RS_OK ? rs_resize((void **)&u->bytes, u->room, room, 1, err) : st;
    if (st == RS_OK) u->room = room;
    return st;
}

static unsigned piece(size_t n) { return (unsigned)(n < MOST_PIECE ? n : MOST_PIECE); }

/* One member from z's input on; *used: bytes of it. */
static rs_status unpack_member(unpacked *u, z_stream *z, size_t left, size_t *used, rs_error *err) {
    int code = Z_OK;
    size_t before = left;
    while (code != Z_STREAM_END) {
        rs_status st = make_room(u, err);
        if (st != RS_OK) return st;
        unsigned in = piece(left), out = piece(u->room - u->n - 1);
        z->avail_in = in;
        z->avail_out = out;
        z->next_out = (unsigned char *)u->bytes + u->n;
        code = inflate(z, Z_NO_FLUSH);
        left -= in - z->avail_in;
        u->n += out - z->avail_out;
        if (code == Z_BUF_ERROR) return rs_fail(err, RS_E_FORMAT, "%s: the packed file ends too early", u->path);
        if (code == Z_MEM_ERROR) return rs_fail(err, RS_E_NOMEM, "%s: no memory to unpack it", u->path);
        if (code != Z_OK && code != Z_STREAM_END)
            return rs_fail(err, RS_E_FORMAT, "%s: cannot be unpacked as gzip: %s", u->path,
                           z->msg ? z->msg : "damaged");
    }
    *used = before - left;
    return RS_OK;
}

static rs_status unpack(unpacked *u, const char *packed, size_t n, rs_error *err) {
    rs_status st = RS_OK;
    for (size_t at = 0, used = 0; at < n && st == RS_OK; at += used) {
        z_stream z = {0};
        z.next_in = (const unsigned char *)packed + at;
        if (inflateInit2(&z, GZIP_WINDOW) != Z_OK) return rs_fail(err, RS_E_NOMEM, "%s: zlib cannot begin", u->path);
        st = unpack_member(u, &z, n - at, &used, err);
        inflateEnd(&z);
    }
    return st == RS_OK ? check_size(u, err) : st;
}

rs_status rs_gzip_file_read_all(const char *path, size_t max_bytes, char **bytes, size_t *n, rs_error *err) {
    char *packed = NULL;
    size_t n_packed = 0;
    unpacked u = {.path = path, .most = max_bytes};
    *bytes = NULL;
    *n = 0;
    rs_status st = rs_file_read_all(path, max_bytes, &packed, &n_packed, err);
    if (st != RS_OK) return st;
    if (n_packed < sizeof magic || memcmp(packed, magic, sizeof magic) != 0) {
        *bytes = packed;
        *n = n_packed;
        return RS_OK;
    }
    st = unpack(&u, packed, n_packed, err);
    rs_free(packed);
    if (st != RS_OK) {
        rs_free(u.bytes);
        return st;
    }
    u.bytes[u.n] = '\0';
    *bytes = u.bytes;
    *n = u.n;
    return RS_OK;
}
