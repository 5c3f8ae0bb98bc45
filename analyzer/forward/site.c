#include "analyzer/forward/site.h"

#include <stdio.h>
#include <string.h>

typedef struct site_row {
    const char *name, *shape;
} site_row;

static const site_row sites[RS_SITE_COUNT] = {
#define SITE_ROW(id, name, shape) [RS_SITE_##id] = {name, shape},
    RS_SITE_MAP(SITE_ROW)
#undef SITE_ROW
};

static const char layer_mark[] = "{l}";

bool rs_site_per_layer(rs_site s) { return strstr(sites[s].name, layer_mark) != NULL; }

char *rs_site_name(rs_site s, int layer, char out[64]) {
    const char *name = sites[s].name, *mark = strstr(name, layer_mark);
    if (!mark) {
        snprintf(out, 64, "%s", name);
    } else {
        snprintf(out, 64, "%.*s%d%s", (int)(mark - name), name, layer, mark + strlen(layer_mark));
    }
    return out;
}

const char *rs_site_shape(rs_site s) { return sites[s].shape; }

const char *rs_site_pattern(rs_site s) { return sites[s].name; }
