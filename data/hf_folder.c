/* data/hf_folder.c: see hf_folder.h. */
#include "data/hf_folder.h"

#include "analyzer/base/alloc.h"
#include "analyzer/base/text.h"
#include "data/checkpoint_internal.h"
#include "data/safetensors.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char config_name[] = "config.json";
static const char single_name[] = "model.safetensors";
static const char index_name[] = "model.safetensors.index.json";
static const char adapter_name[] = "adapter_config.json";

/* What a folder without the weights we look for may be instead; the first row that matches a file speaks. */
static const struct other_kind {
    const char *pattern;
    const char *what;
} other_kinds[] = {
    {"consolidated*.safetensors",
     "is in Mistral's own format (consolidated safetensors with params.json); take the Hugging Face form"},
    {"pytorch_model*.bin", "is a Python pickle, which is not read; convert the model to safetensors"},
    {"pytorch_model*.bin.index.json", "lists Python pickles, which are not read; convert the model to safetensors"},
    {"*.gguf", "is a GGUF file in a folder; give the file itself"},
    {"*.safetensors",
     "is not named model.safetensors and no model.safetensors.index.json lists it; is a file missing?"},
    {"consolidated*.pth", "is a Python pickle, which is not read; take the Hugging Face form"},
    {"tf_model.h5", "is a TensorFlow checkpoint, which is not read; convert the model to safetensors"},
    {"flax_model*.msgpack", "is a Flax checkpoint, which is not read; convert the model to safetensors"},
};
enum { OTHER_KINDS = sizeof other_kinds / sizeof other_kinds[0] };

/* ---- Folders of another kind ---- */

/* Keeps in found[i] the first file name, in byte order, that matches row i: readdir's own order is nobody's. */
static rs_status match_kinds(const char *name, char *found[OTHER_KINDS], rs_error *err) {
    for (int i = 0; i < OTHER_KINDS; i++) {
        if (!rs_glob_match(other_kinds[i].pattern, name) || (found[i] && strcmp(found[i], name) <= 0)) continue;
        rs_free(found[i]);
        rs_status st = rs_strdup(&found[i], name, err);
        if (st != RS_OK) return st;
    }
    return RS_OK;
}

static rs_status scan_folder(const char *path, char *found[OTHER_KINDS], rs_error *err) {
    rs_status st = RS_OK;
    DIR *d = opendir(path);
    if (!d) return rs_fail_errno(err, path, "cannot be listed");
    errno = 0;
    for (struct dirent *item = readdir(d); item && st == RS_OK; item = readdir(d))
        st = match_kinds(item->d_name, found, err);
    closedir(d);
    return st;
}

static rs_status refuse_other_kind(const char *path, rs_error *err) {
    char *found[OTHER_KINDS] = {0};
    rs_status st = scan_folder(path, found, err);
    for (int i = 0; st == RS_OK && i < OTHER_KINDS; i++) {
        if (found[i])
            st = rs_fail(err, RS_E_UNSUPPORTED, "%s: holds neither %s nor %s; %s %s", path, single_name, index_name,
                         found[i], other_kinds[i].what);
    }
    if (st == RS_OK)
        st = rs_fail(err, RS_E_FORMAT, "%s: holds no model: neither %s nor %s", path, single_name, index_name);
    for (int i = 0; i < OTHER_KINDS; i++) rs_free(found[i]);
    return st;
}

/* ---- Small files ---- */

static rs_status path_of(rs_checkpoint *c, const char *name, char **path, bool *exists, rs_error *err) {
    rs_status st = rs_path_join(path, c->path, name, err);
    *exists = st == RS_OK && rs_path_exists(*path);
    return st;
}

/* The file's tree; the caller frees *out. */
static rs_status parse_object(rs_file *f, rs_json **out, rs_error *err) {
    char *text = NULL;
    rs_status st = RS_OK;
    uint64_t n = rs_file_size(f);
    *out = NULL;
    if (n > RS_CHECKPOINT_JSON_BYTES)
        RS_TRY(rs_fail(err, RS_E_FORMAT, "%s: is larger than %d bytes", rs_file_path(f), RS_CHECKPOINT_JSON_BYTES));
    RS_TRY(RS_NEW(&text, (size_t)n + 1, err));
    RS_TRY(rs_file_read(f, 0, text, (size_t)n, err));
    RS_TRY(rs_json_parse(text, (size_t)n, rs_file_path(f), out, err));
    if (!rs_json_is(*out, RS_JSON_OBJECT))
        RS_TRY(rs_fail(err, RS_E_FORMAT, "%s: is %s; an object is expected", rs_file_path(f), rs_json_kind_name(*out)));
out:
    rs_free(text);
    return st;
}

static rs_status refuse_quantised(const char *path, const rs_json *config, rs_error *err) {
    const rs_json *q = rs_json_get(config, "quantization_config");
    if (rs_json_is_null(q)) return RS_OK;
    const char *method = rs_json_string(rs_json_get(q, "quant_method"), NULL);
    return rs_fail(err, RS_E_UNSUPPORTED,
                   "%s: quantization_config: the weights are quantised (%.40s); take the unquantised model or a GGUF",
                   path, method ? method : "no quant_method given");
}

static rs_status read_config(rs_checkpoint *c, rs_error *err) {
    char *path = NULL;
    bool exists = false;
    int number = 0;
    rs_status st = path_of(c, config_name, &path, &exists, err);
    if (st == RS_OK && exists) {
        st = rs_checkpoint_add_file(c, path, &number, err);
        if (st == RS_OK) st = parse_object(c->files[number], &c->metadata, err);
        if (st == RS_OK) st = refuse_quantised(path, c->metadata, err);
        if (st == RS_OK) st = refuse_quantised(path, rs_json_get(c->metadata, "text_config"), err);
    }
    rs_free(path);
    return st;
}

static rs_status refuse_adapter(rs_checkpoint *c, rs_error *err) {
    char *path = NULL;
    bool exists = false;
    rs_status st = path_of(c, adapter_name, &path, &exists, err);
    if (exists)
        st =
            rs_fail(err, RS_E_UNSUPPORTED,
                    "%s: the folder holds a PEFT adapter, not a whole model; merge it into its base model first", path);
    rs_free(path);
    return st;
}

/* ---- Shards ---- */

/* name -> shard, from the index; the texts are borrowed from its tree. */
typedef struct placing {
    const char *tensor, *shard;
} placing;

typedef struct shard_list {
    const char *path;  /* of the index */
    placing *placings; /* [count] sorted by shard, then tensor */
    size_t count;
    int first_file; /* number of the first shard; the others follow in this order */
} shard_list;

static int compare_placings(const void *a, const void *b) {
    const placing *x = a, *y = b;
    int order = strcmp(x->shard, y->shard);
    return order != 0 ? order : strcmp(x->tensor, y->tensor);
}

/* A shard must lie in the folder itself: an index is not to make us read other files. */
static rs_status check_shard_name(const char *path, const char *tensor, const rs_json *value, rs_error *err) {
    const char *name = rs_json_string(value, NULL);
    size_t n = 0;
    rs_json_string(value, &n);
    if (!name)
        return rs_fail(err, RS_E_FORMAT, "%s: weight_map: '%s' is %s; a file name is expected", path, tensor,
                       rs_json_kind_name(value));
    if (strlen(name) != n || strchr(name, '/') || strchr(name, '\\') || strstr(name, "..") ||
        !rs_ends_with(name, ".safetensors"))
        return rs_fail(err, RS_E_FORMAT,
                       "%s: weight_map: '%s' stands in '%.200s', which is no plain name of a safetensors file", path,
                       tensor, name);
    return RS_OK;
}

static rs_status list_shards(const rs_json *index, shard_list *s, rs_error *err) {
    const rs_json *map = rs_json_get(index, "weight_map"), *value;
    void *cursor = NULL;
    const char *tensor = NULL;
    if (!rs_json_is(map, RS_JSON_OBJECT) || rs_json_size(map) == 0)
        return rs_fail(err, RS_E_FORMAT, "%s: weight_map is %s; an object with tensors is expected", s->path,
                       rs_json_size(map) == 0 && map ? "empty" : rs_json_kind_name(map));
    rs_status st = RS_NEW(&s->placings, rs_json_size(map), err);
    if (st != RS_OK) return st;
    while ((value = rs_json_next(map, &cursor, &tensor))) {
        st = check_shard_name(s->path, tensor, value, err);
        if (st != RS_OK) return st;
        s->placings[s->count++] = (placing){tensor, rs_json_string(value, NULL)};
    }
    qsort(s->placings, s->count, sizeof *s->placings, compare_placings);
    return RS_OK;
}

static bool begins_shard(const shard_list *s, size_t i) {
    return i == 0 || strcmp(s->placings[i].shard, s->placings[i - 1].shard) != 0;
}

/* All that are missing in one message. */
static rs_status check_shards_exist(rs_checkpoint *c, const shard_list *s, rs_error *err) {
    rs_text missing = {0};
    rs_status st = RS_OK;
    for (size_t i = 0; st == RS_OK && i < s->count && missing.bytes < RS_ERROR_BYTES; i++) {
        char *path = NULL;
        bool exists = false;
        if (!begins_shard(s, i)) continue;
        st = path_of(c, s->placings[i].shard, &path, &exists, err);
        if (st == RS_OK && !exists) rs_text_printf(&missing, "%s%s", missing.bytes ? ", " : "", s->placings[i].shard);
        rs_free(path);
    }
    if (st == RS_OK) st = rs_text_status(&missing, err);
    if (st == RS_OK && missing.bytes)
        st = rs_fail(err, RS_E_FORMAT, "%s: these shards are missing: %s", s->path, missing.data);
    rs_text_deinit(&missing);
    return st;
}

static rs_status read_shards(rs_checkpoint *c, shard_list *s, rs_error *err) {
    rs_status st = RS_OK;
    s->first_file = (int)c->file_count;
    for (size_t i = 0; st == RS_OK && i < s->count; i++) {
        char *path = NULL;
        int number = 0;
        if (!begins_shard(s, i)) continue;
        st = rs_path_join(&path, c->path, s->placings[i].shard, err);
        if (st == RS_OK) st = rs_checkpoint_add_file(c, path, &number, err);
        if (st == RS_OK) st = rs_safetensors_read(c, number, err);
        rs_free(path);
    }
    return st == RS_OK ? rs_checkpoint_index(c, err) : st;
}

/* Every tensor of the index stands in the shard that the index names. */
static rs_status check_placings(const rs_checkpoint *c, const shard_list *s, rs_error *err) {
    int file = s->first_file - 1;
    for (size_t i = 0; i < s->count; i++) {
        const placing *p = &s->placings[i];
        const rs_tensor *t = rs_checkpoint_find(c, p->tensor);
        if (begins_shard(s, i)) file++;
        if (!t || t->file != file)
            return rs_fail(err, RS_E_FORMAT, "%s: weight_map: tensor '%s' should stand in %s, but it stands in %s",
                           s->path, p->tensor, p->shard,
                           t ? rs_path_base(rs_file_path(c->files[t->file])) : "none of the shards");
    }
    return RS_OK;
}

static rs_status open_index(const char *path, rs_json **out, rs_error *err) {
    rs_file *f = NULL;
    rs_status st = rs_file_open(path, &f, err);
    if (st == RS_OK) st = rs_checkpoint_refuse_pointer(f, err);
    if (st == RS_OK) st = parse_object(f, out, err);
    rs_file_close(f);
    return st;
}

static rs_status read_sharded(rs_checkpoint *c, const char *index_path, rs_error *err) {
    shard_list s = {.path = index_path};
    rs_json *index = NULL;
    rs_status st = RS_OK;
    RS_TRY(open_index(index_path, &index, err));
    RS_TRY(list_shards(index, &s, err));
    RS_TRY(check_shards_exist(c, &s, err));
    RS_TRY(read_shards(c, &s, err));
    RS_TRY(check_placings(c, &s, err));
out:
    rs_free(s.placings);
    rs_json_free(index);
    return st;
}

static rs_status read_single(rs_checkpoint *c, const char *path, rs_error *err) {
    int number = 0;
    rs_status st = rs_checkpoint_add_file(c, path, &number, err);
    if (st == RS_OK) st = rs_safetensors_read(c, number, err);
    return st == RS_OK ? rs_checkpoint_index(c, err) : st;
}

rs_status rs_hf_folder_read(rs_checkpoint *c, rs_error *err) {
    rs_status st = RS_OK;
    char *single = NULL, *index = NULL;
    bool has_single = false, has_index = false;
    c->container = RS_CONTAINER_HF;
    snprintf(c->container_name, sizeof c->container_name, "Hugging Face safetensors");
    RS_TRY(refuse_adapter(c, err));
    RS_TRY(path_of(c, single_name, &single, &has_single, err));
    RS_TRY(path_of(c, index_name, &index, &has_index, err));
    if (!has_single && !has_index) RS_TRY(refuse_other_kind(c->path, err));
    RS_TRY(read_config(c, err));
    RS_TRY(has_single ? read_single(c, single, err) : read_sharded(c, index, err));
out:
    rs_free(single);
    rs_free(index);
    return st;
}
