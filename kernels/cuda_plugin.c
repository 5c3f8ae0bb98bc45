/* kernels/cuda_plugin.c: opens the module with the CUDA backend, once, and says why where there is none. See
 * cuda_plugin.h. */
#include "kernels/cuda_plugin.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char file_name[] = "ropescope_cuda.so";

/* ---- where there is none ---- */

static char reason[PATH_MAX + 256];

static rs_status absent(rs_error *err) { return rs_fail(err, RS_E_UNAVAILABLE, "device 'cuda': %s", reason); }

static rs_status open_absent(const char *spec, int threads, rs_device **out, rs_error *err) {
    (void)spec;
    (void)threads;
    *out = NULL;
    return absent(err);
}

/* Callers that clean up behind a failed open close what they did not get. */
static void close_nothing(rs_device *d) { (void)d; }

static const rs_backend nobody = {.name = "cuda", .probe = absent, .open = open_absent, .close = close_nothing};

/* ---- finding and opening it ---- */

/* Folder of the program, without a slash at the end; false when the system does not tell. */
static bool program_folder(char out[PATH_MAX]) {
    ssize_t n = readlink("/proc/self/exe", out, PATH_MAX - 1);
    if (n <= 0) return false;
    out[n] = 0;
    char *slash = strrchr(out, '/');
    if (!slash) return false;
    *slash = 0;
    return true;
}

/* Path of the module, or "" (reason is set). */
static void find_module(char path[PATH_MAX + 64]) {
    static const char *const places[] = {"", "/../lib/ropescope"};
    char folder[PATH_MAX];
    path[0] = 0;
    for (size_t i = 0; program_folder(folder) && i < sizeof places / sizeof *places; i++) {
        snprintf(path, PATH_MAX + 64, "%s%s/%s", folder, places[i], file_name);
        if (access(path, R_OK) == 0) return;
    }
    path[0] = 0;
    snprintf(reason, sizeof reason,
             "this build has no CUDA backend (%s is not beside the program); build with the CUDA toolkit installed, or "
             "use --device cpu",
             file_name);
}

/* Opening the module maps half a gigabyte of libraries: on a machine without a driver there is no need to. */
static bool driver_there(void) {
    void *driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
    if (!driver) return false;
    dlclose(driver);
    return true;
}

static const rs_backend *open_module(void) {
    const char *asked = getenv("ROPESCOPE_CUDA_PLUGIN");
    char path[PATH_MAX + 64];
    if (asked && *asked) snprintf(path, sizeof path, "%s", asked);
    else find_module(path);
    if (!path[0]) return &nobody;
    if (!(asked && *asked) && !driver_there()) {
        snprintf(reason, sizeof reason, "no NVIDIA driver on this machine (libcuda.so.1 was not found)");
        return &nobody;
    }
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!module) {
        snprintf(reason, sizeof reason, "%s", dlerror());
        return &nobody;
    }
    /* ISO C has no conversion from an object to a function pointer; POSIX asks for this one. */
    rs_cuda_plugin_fn *plugin = NULL;
    void *symbol = dlsym(module, RS_CUDA_PLUGIN_SYMBOL);
    memcpy(&plugin, &symbol, sizeof plugin);
    const rs_backend *backend = symbol ? plugin(RS_CUDA_PLUGIN_VERSION) : NULL;
    if (backend) return backend; /* stays open as long as the program runs */
    snprintf(reason, sizeof reason, "%s is not the CUDA backend of this version of ropescope", path);
    dlclose(module);
    return &nobody;
}

static const rs_backend *found;
static void find_once(void) { found = open_module(); }

const rs_backend *rs_cuda_backend(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, find_once);
    return found;
}
