/* base/clock.c: see clock.h. */
#include "analyzer/base/clock.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CGROUP_ROOT "/sys/fs/cgroup"

static atomic_int cancel_flag; /* lock-free, so a signal handler may set it */

double rs_clock_seconds(void) {
    struct timespec now;
    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0) return 0.0;
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Reproducible builds and tests fix the time this way: https://reproducible-builds.org/specs/source-date-epoch/ */
static time_t now_or_epoch(void) {
    const char *epoch = getenv("SOURCE_DATE_EPOCH");
    char *end = NULL;
    if (!epoch || !*epoch) return time(NULL);
    long long value = strtoll(epoch, &end, 10);
    return *end == '\0' && value >= 0 ? (time_t)value : time(NULL);
}

void rs_clock_iso8601(char out[32]) {
    time_t now = now_or_epoch();
    struct tm utc;
    if (!gmtime_r(&now, &utc) || strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0)
        strcpy(out, "1970-01-01T00:00:00Z");
}

/* The number behind `field` at the start of a line; field "" takes the first line. False when absent or not a number.
 */
static bool read_number(const char *path, const char *field, uint64_t *out) {
    char line[512];
    bool found = false;
    FILE *f = fopen(path, "r");
    if (!f) return false;
    size_t n = strlen(field);
    while (!found && fgets(line, sizeof line, f)) {
        found = strncmp(line, field, n) == 0 && sscanf(line + n, "%" SCNu64, out) == 1;
    }
    fclose(f);
    return found;
}

uint64_t rs_memory_peak(void) {
    uint64_t kib = 0;
    return read_number("/proc/self/status", "VmHWM:", &kib) ? kib * 1024 : 0;
}

/* The process's place in the cgroup v2 tree: "/" at least. */
static void cgroup_path(char *out, size_t room) {
    char line[1024];
    snprintf(out, room, "/");
    FILE *f = fopen("/proc/self/cgroup", "r");
    if (!f) return;
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "0::/", 4) == 0) snprintf(out, room, "%s", line + 3);
    }
    fclose(f);
}

/* What is left under one group's limit. Pages of files that were read count as used there, but are given back on
 * demand. */
static uint64_t group_available(const char *group) {
    char path[1280];
    uint64_t limit = 0, used = 0, cached = 0;
    snprintf(path, sizeof path, CGROUP_ROOT "%s/memory.max", group);
    if (!read_number(path, "", &limit)) return UINT64_MAX; /* "max", or no such controller */
    snprintf(path, sizeof path, CGROUP_ROOT "%s/memory.current", group);
    if (!read_number(path, "", &used)) return UINT64_MAX;
    snprintf(path, sizeof path, CGROUP_ROOT "%s/memory.stat", group);
    if (!read_number(path, "inactive_file ", &cached)) cached = 0;
    used -= cached < used ? cached : used;
    return used < limit ? limit - used : 1; /* 1, not 0: nothing left is not the same as unknown */
}

uint64_t rs_memory_available(void) {
    char group[1024];
    uint64_t kib = 0;
    uint64_t least = read_number("/proc/meminfo", "MemAvailable:", &kib) ? kib * 1024 : UINT64_MAX;
    cgroup_path(group, sizeof group);
    for (;;) { /* a limit anywhere above the process counts */
        uint64_t here = group_available(group);
        if (here < least) least = here;
        char *slash = strrchr(group, '/');
        if (!slash) break;
        *slash = '\0';
    }
    return least == UINT64_MAX ? 0 : least;
}

void rs_cancel_request(void) { atomic_store(&cancel_flag, 1); }

bool rs_cancel_requested(void) { return atomic_load_explicit(&cancel_flag, memory_order_relaxed) != 0; }
