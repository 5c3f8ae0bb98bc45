/* kernels/cpu/cpu_memory.c: how much memory there is for us: /proc/meminfo and the control group's limit. See
 * cpu_device.h. */
#include "kernels/cpu/cpu_device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* First number of a file that holds one ("max" and absent files: no limit). */
static uint64_t number_in(const char *path) {
    char text[64] = "";
    FILE *f = fopen(path, "r");
    if (!f) return UINT64_MAX;
    char *got = fgets(text, sizeof text, f);
    fclose(f);
    char *end = text;
    uint64_t n = got ? (uint64_t)strtoull(text, &end, 10) : 0;
    return end == text ? UINT64_MAX : n;
}

/* A field of /proc/meminfo in bytes; 0 when it is not there. */
static uint64_t meminfo(const char *field) {
    char line[256];
    uint64_t kib = 0;
    FILE *f = fopen("/proc/meminfo", "r");
    if (!f) return 0;
    while (kib == 0 && fgets(line, sizeof line, f)) {
        if (strncmp(line, field, strlen(field)) == 0) kib = (uint64_t)strtoull(line + strlen(field), NULL, 10);
    }
    fclose(f);
    return kib * 1024;
}

static uint64_t group_room(const char *limit_file, const char *usage_file) {
    uint64_t limit = number_in(limit_file), usage = number_in(usage_file);
    if (limit == UINT64_MAX || usage == UINT64_MAX) return UINT64_MAX;
    return limit > usage ? limit - usage : 1;
}

uint64_t rs_cpu_memory_available(void) {
    uint64_t room = meminfo("MemAvailable:");
    uint64_t v2 = group_room("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current");
    uint64_t v1 =
        group_room("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes");
    if (room == 0) return 0;
    room = v2 < room ? v2 : room;
    return v1 < room ? v1 : room;
}
