/* A run file that is added to: a copy beside it, without what is to be replaced, which takes its place when it is
 * whole.
 */
#include "data/store_hdf5.h"

#include "analyzer/base/alloc.h"
#include "analyzer/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <hdf5.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK = 1 << 20, MAX_AXES = 64 };

static rs_status write_all(int fd, const char *path, const char *bytes, size_t n, rs_error *err) {
    while (n > 0) {
        ssize_t done = write(fd, bytes, n);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return rs_fail_errno(err, path, "cannot be written");
        bytes += done;
        n -= (size_t)done;
    }
    return RS_OK;
}

/* The first n bytes of a file into a new one. */
static rs_status copy_bytes(const char *from, uint64_t n, const char *to, rs_error *err) {
    rs_status st = RS_OK;
    rs_file *f = NULL;
    char *buffer = NULL; /* [BLOCK] */
    int fd = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0) return rs_fail_errno(err, to, "cannot be created");
    RS_TRY(rs_file_open(from, &f, err));
    RS_TRY(RS_NEW(&buffer, BLOCK, err));
    for (uint64_t at = 0; at < n; at += BLOCK) {
        size_t part = n - at < BLOCK ? (size_t)(n - at) : BLOCK;
        RS_TRY(rs_file_read(f, at, buffer, part, err));
        RS_TRY(write_all(fd, to, buffer, part, err));
    }
out:
    if (close(fd) != 0 && st == RS_OK) st = rs_fail_errno(err, to, "cannot be written");
    rs_file_close(f);
    rs_free(buffer);
    return st;
}

/* Names in the root that begin with the group's; gathered first, for a file must not change while it is walked. */
typedef struct doomed {
    const char *group;
    char name[MAX_AXES][RS_NAME_BYTES];
    int n;
} doomed;

static herr_t gather(hid_t root, const char *name, const H5L_info_t *info, void *ctx) {
    doomed *d = ctx;
    (void)root;
    (void)info;
    if (strncmp(name, d->group, strlen(d->group)) == 0 && strlen(name) < RS_NAME_BYTES && d->n < MAX_AXES) {
        snprintf(d->name[d->n++], RS_NAME_BYTES, "%s", name);
    }
    return 0;
}

static rs_status drop(rs_store *s, const char *group, rs_error *err) {
    doomed d = {.group = group};
    if (H5Literate(s->file, H5_INDEX_NAME, H5_ITER_INC, NULL, gather, &d) < 0) {
        return rs_h5_fail(s, RS_E_FORMAT, "/", "cannot be listed", err);
    }
    for (int i = 0; i < d.n; i++) {
        if (H5Ldelete(s->file, d.name[i], H5P_DEFAULT) < 0) {
            return rs_h5_fail(s, RS_E_IO, d.name[i], "cannot be replaced", err);
        }
    }
    return RS_OK;
}

rs_status rs_store_extend(const char *path, const char *group, rs_store **out, rs_error *err) {
    rs_status st = RS_OK;
    rs_store *s = NULL;
    uint64_t bytes = 0;
    *out = NULL;
    RS_TRY(rs_store_open(path, &s, err)); /* all that is checked of a file that is read */
    rs_store_close(s);
    s = NULL;
    RS_TRY(rs_store_unsealed_bytes(path, &bytes, err));
    RS_TRY(rs_store_new(path, &s, err));
    s->force = true;
    RS_TRY(rs_output_prepare(path, true, &s->temporary, err));
    unlink(s->temporary); /* left by a process of the same number that was killed */
    RS_TRY(copy_bytes(path, bytes, s->temporary, err));
    RS_TRY(rs_store_open_file(s, s->temporary, true, err));
    RS_TRY(drop(s, group, err));
    *out = s;
    s = NULL;
out:
    rs_store_discard(s);
    return st;
}
