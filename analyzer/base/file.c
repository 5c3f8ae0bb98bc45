/* base/file.c: see file.h. */
#include "analyzer/base/file.h"

#include "analyzer/base/alloc.h"
#include "analyzer/base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_BYTES = 1 << 30, HASH_BYTES = 1 << 20, SHA256_BYTES = 32 };

struct rs_file {
    int fd;
    uint64_t size;
    char *path;
};

/* O_NONBLOCK: opening a pipe by mistake must be refused, not waited for. */
static rs_status open_regular(const char *path, int *fd, uint64_t *size, rs_error *err) {
    struct stat info;
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0) return rs_fail_errno(err, path, "cannot be opened");
    rs_status st = RS_OK;
    if (fstat(*fd, &info) != 0) st = rs_fail_errno(err, path, "cannot be examined");
    else if (S_ISDIR(info.st_mode)) st = rs_fail(err, RS_E_IO, "%s: is a folder, not a file", path);
    else if (!S_ISREG(info.st_mode)) st = rs_fail(err, RS_E_IO, "%s: is not a regular file", path);
    else *size = (uint64_t)info.st_size;
    if (st != RS_OK) close(*fd);
    return st;
}

rs_status rs_file_open(const char *path, rs_file **out, rs_error *err) {
    rs_file *f = NULL;
    *out = NULL;
    rs_status st = RS_NEW(&f, 1, err);
    if (st != RS_OK) return st;
    f->fd = -1;
    st = rs_strdup(&f->path, path, err);
    if (st == RS_OK) {
        st = open_regular(path, &f->fd, &f->size, err);
        if (st != RS_OK) f->fd = -1;
    }
    if (st == RS_OK) *out = f;
    else rs_file_close(f);
    return st;
}

void rs_file_close(rs_file *f) {
    if (!f) return;
    if (f->fd >= 0) close(f->fd);
    rs_free(f->path);
    rs_free(f);
}

const char *rs_file_path(const rs_file *f) { return f->path; }

uint64_t rs_file_size(const rs_file *f) { return f->size; }

rs_status rs_file_read(rs_file *f, uint64_t offset, void *dst, size_t n, rs_error *err) {
    if (offset > f->size || n > f->size - offset)
        return rs_fail(err, RS_E_FORMAT,
                       "%s: %zu bytes at offset %" PRIu64 " asked for, but the file has %" PRIu64 " bytes", f->path, n,
                       offset, f->size);
    for (size_t done = 0; done < n;) {
        size_t part = n - done < READ_BYTES ? n - done : READ_BYTES;
        ssize_t got = pread(f->fd, (char *)dst + done, part, (off_t)(offset + done));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return rs_fail_errno(err, f->path, "cannot be read");
        if (got == 0) return rs_fail(err, RS_E_IO, "%s: became shorter while it was read", f->path);
        done += (size_t)got;
    }
    return RS_OK;
}

rs_status rs_file_read_all(const char *path, size_t max_bytes, char **bytes, size_t *n, rs_error *err) {
    rs_file *f = NULL;
    char *all = NULL;
    *bytes = NULL;
    *n = 0;
    rs_status st = rs_file_open(path, &f, err);
    if (st != RS_OK) return st;
    if (f->size > max_bytes || f->size >= SIZE_MAX)
        st = rs_fail(err, RS_E_FORMAT, "%s: has %" PRIu64 " bytes; at most %zu are expected", path, f->size, max_bytes);
    if (st == RS_OK) st = RS_NEW(&all, (size_t)f->size + 1, err);
    if (st == RS_OK) st = rs_file_read(f, 0, all, (size_t)f->size, err);
    if (st == RS_OK) {
        *bytes = all;
        *n = (size_t)f->size;
        all = NULL;
    }
    rs_free(all);
    rs_file_close(f);
    return st;
}

static void to_hex(const unsigned char *digest, char hex[65]) {
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < SHA256_BYTES; i++) {
        hex[2 * i] = digits[digest[i] >> 4];
        hex[2 * i + 1] = digits[digest[i] & 15];
    }
    hex[64] = '\0';
}

static rs_status hash_file(rs_file *f, EVP_MD_CTX *hash, unsigned char *buffer, rs_error *err) {
    if (EVP_DigestInit_ex(hash, EVP_sha256(), NULL) != 1)
        return rs_fail(err, RS_E_INTERNAL, "%s: SHA-256 failed", f->path);
    for (uint64_t at = 0; at < f->size; at += HASH_BYTES) {
        size_t part = f->size - at < HASH_BYTES ? (size_t)(f->size - at) : HASH_BYTES;
        if (rs_cancel_requested()) return rs_fail(err, RS_E_CANCELLED, "cancelled");
        rs_status st = rs_file_read(f, at, buffer, part, err);
        if (st != RS_OK) return st;
        if (EVP_DigestUpdate(hash, buffer, part) != 1)
            return rs_fail(err, RS_E_INTERNAL, "%s: SHA-256 failed", f->path);
    }
    return RS_OK;
}

rs_status rs_file_sha256(rs_file *f, char hex[65], rs_error *err) {
    unsigned char digest[EVP_MAX_MD_SIZE], *buffer = NULL;
    hex[0] = '\0';
    rs_status st = RS_NEW(&buffer, HASH_BYTES, err);
    if (st != RS_OK) return st;
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    st = hash ? hash_file(f, hash, buffer, err) : rs_fail(err, RS_E_NOMEM, "out of memory: SHA-256");
    if (st == RS_OK && EVP_DigestFinal_ex(hash, digest, NULL) != 1)
        st = rs_fail(err, RS_E_INTERNAL, "%s: SHA-256 failed", f->path);
    if (st == RS_OK) to_hex(digest, hex);
    EVP_MD_CTX_free(hash);
    rs_free(buffer);
    return st;
}

void rs_sha256(const void *bytes, size_t n, char hex[65]) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    hex[0] = '\0'; /* what remains if the library refuses */
    if (EVP_Digest(bytes, n, digest, NULL, EVP_sha256(), NULL) == 1) to_hex(digest, hex);
}

/* lstat: a link that leads nowhere is in the way too. */
bool rs_path_exists(const char *path) {
    struct stat info;
    return lstat(path, &info) == 0;
}

bool rs_path_is_folder(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

rs_status rs_path_join(char **out, const char *folder, const char *name, rs_error *err) {
    size_t n = strlen(folder);
    const char *between = n > 0 && folder[n - 1] != '/' ? "/" : "";
    size_t room = n + strlen(between) + strlen(name) + 1;
    rs_status st = RS_NEW(out, room, err);
    if (st == RS_OK) snprintf(*out, room, "%s%s%s", folder, between, name);
    return st;
}

const char *rs_path_base(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static rs_status check_folder_of(const char *path, rs_error *err) {
    char *folder = NULL;
    const char *base = rs_path_base(path);
    size_t n = (size_t)(base - path);
    if (*base == '\0') return rs_fail(err, RS_E_EXISTS, "%s: names no file", *path ? path : "\"\"");
    rs_status st = n > 0 ? rs_strndup(&folder, path, n, err) : rs_strdup(&folder, ".", err);
    if (st != RS_OK) return st;
    if (!rs_path_is_folder(folder)) st = rs_fail(err, RS_E_EXISTS, "%s: the folder %s does not exist", path, folder);
    rs_free(folder);
    return st;
}

static rs_status fail_exists(const char *path, rs_error *err) {
    return rs_fail(err, RS_E_EXISTS, "%s: exists already; --force replaces it", path);
}

rs_status rs_output_prepare(const char *path, bool force, char **temporary, rs_error *err) {
    *temporary = NULL;
    rs_status st = check_folder_of(path, err);
    if (st != RS_OK) return st;
    if (rs_path_is_folder(path)) return rs_fail(err, RS_E_EXISTS, "%s: is a folder", path);
    if (!force && rs_path_exists(path)) return fail_exists(path, err);
    size_t room = strlen(path) + 32;
    st = RS_NEW(temporary, room, err);
    if (st == RS_OK) snprintf(*temporary, room, "%s.tmp.%ld", path, (long)getpid());
    return st;
}

/* Some file systems cannot sync (EINVAL); that is no reason to lose the output. */
static rs_status sync_file(const char *path, rs_error *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return rs_fail_errno(err, path, "cannot be opened");
    rs_status st = fsync(fd) == 0 || errno == EINVAL ? RS_OK : rs_fail_errno(err, path, "cannot be written");
    close(fd);
    return st;
}

/* link refuses a name that appeared meanwhile, rename would replace it; not every file system has hard links. */
static rs_status move_into_place(const char *temporary, const char *path, bool force, rs_error *err) {
    if (!force) {
        if (link(temporary, path) == 0) {
            unlink(temporary);
            return RS_OK;
        }
        if (errno == EEXIST || rs_path_exists(path)) return fail_exists(path, err);
    }
    return rename(temporary, path) == 0 ? RS_OK : rs_fail_errno(err, path, "cannot be put in place");
}

rs_status rs_output_publish(const char *temporary, const char *path, bool force, rs_error *err) {
    rs_status st = sync_file(temporary, err);
    if (st == RS_OK) st = move_into_place(temporary, path, force, err);
    if (st != RS_OK) unlink(temporary);
    return st;
}

static rs_status write_new(const char *path, const void *bytes, size_t n, rs_error *err) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (fd < 0) return rs_fail_errno(err, path, "cannot be created");
    rs_status st = RS_OK;
    for (size_t done = 0; st == RS_OK && done < n;) {
        size_t part = n - done < READ_BYTES ? n - done : READ_BYTES;
        ssize_t put = write(fd, (const char *)bytes + done, part);
        if (put >= 0) done += (size_t)put;
        else if (errno != EINTR) st = rs_fail_errno(err, path, "cannot be written");
    }
    if (close(fd) != 0 && st == RS_OK) st = rs_fail_errno(err, path, "cannot be written");
    if (st != RS_OK) unlink(path);
    return st;
}

static rs_status write_stdout(const void *bytes, size_t n, rs_error *err) {
    if (fwrite(bytes, 1, n, stdout) == n && fflush(stdout) == 0) return RS_OK;
    return rs_fail_errno(err, "standard output", "cannot be written");
}

rs_status rs_output_write(const char *path, bool force, const void *bytes, size_t n, rs_error *err) {
    char *temporary = NULL;
    if (strcmp(path, "-") == 0) return write_stdout(bytes, n, err);
    rs_status st = rs_output_prepare(path, force, &temporary, err);
    if (st == RS_OK) st = write_new(temporary, bytes, n, err);
    if (st == RS_OK) st = rs_output_publish(temporary, path, force, err);
    rs_free(temporary);
    return st;
}
