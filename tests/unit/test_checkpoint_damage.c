/* tests/unit/test_checkpoint_damage.c: every container cut off at every length, with every bit turned, and with every
 * allocation failing. Nothing may crash, read outside the file or leak; run it under the sanitizers too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/container_files.h"

#include "analyzer/base/alloc.h"

#include <string.h>

static rs_error err;

/* A small checkpoint of each kind: the bytes of the file that is damaged, and the path to open. */
typedef struct victim {
    const char *name, *file, *folder; /* folder NULL: the file itself is opened */
    rs_text bytes;
    size_t header; /* bytes whose bits are turned; data behind them has no structure */
} victim;

enum { VICTIMS = 5 };
static victim victims[VICTIMS] = {
    {"safetensors", "plain/model.safetensors", "plain", {0}, 0},
    {"shard index", "sharded/model.safetensors.index.json", "sharded", {0}, 0},
    {"config", "configured/config.json", "configured", {0}, 0},
    {"GGUF", "small.gguf", NULL, {0}, 0},
    {"llama2.c", "small.bin", NULL, {0}, 28},
};

static const char *path_of(const victim *v) { return files_path(v->folder ? v->folder : v->file); }

static void write_shard(const char *path) {
    rs_text b = {0};
    put_safetensors(&b, small_safetensors_header, 40);
    files_write(path, b.data, b.bytes);
    rs_text_deinit(&b);
}

static int begin(void **state) {
    (void)state;
    files_begin();
    for (int i = 0; i < VICTIMS; i++) {
        if (victims[i].folder) files_folder(victims[i].folder);
    }
    put_safetensors(&victims[0].bytes, small_safetensors_header, 40);
    rs_text_append(&victims[1].bytes,
                   "{\"weight_map\":{\"a\":\"m.safetensors\",\"b\":\"m.safetensors\",\"c\":\"m.safetensors\"}}");
    rs_text_append(&victims[2].bytes, "{\"model_type\":\"llama\",\"text_config\":{\"quantization_config\":null}}");
    put_small_gguf(&victims[3].bytes);
    put_llama2c(&victims[4].bytes, true);
    write_shard("sharded/m.safetensors");
    write_shard("configured/model.safetensors");
    for (int i = 0; i < VICTIMS; i++) {
        victim *v = &victims[i];
        if (v->header == 0) v->header = v->bytes.bytes;
        files_write(v->file, v->bytes.data, v->bytes.bytes);
    }
    return 0;
}

static int end(void **state) {
    (void)state;
    for (int i = 0; i < VICTIMS; i++) rs_text_deinit(&victims[i].bytes);
    files_end();
    return 0;
}

/* Opens and closes; what opens must be sound, what does not must say of which file it speaks and leave nothing. */
static rs_status open_and_close(const victim *v) {
    rs_checkpoint *c = NULL;
    uint64_t live = rs_alloc_live();
    rs_status st = rs_checkpoint_open(path_of(v), &c, &err);
    if (st == RS_OK) check_sound(c);
    else assert_true(!c && strstr(err.message, files_path(v->folder ? v->folder : v->file)));
    rs_checkpoint_close(c);
    assert_int_equal(rs_alloc_live(), live);
    return st;
}

static void test_whole(void **state) {
    (void)state;
    for (int i = 0; i < VICTIMS; i++) assert_int_equal(open_and_close(&victims[i]), RS_OK);
}

static void test_cut(void **state) {
    (void)state;
    for (int i = 0; i < VICTIMS; i++) {
        victim *v = &victims[i];
        for (size_t n = 0; n < v->bytes.bytes; n++) {
            files_write(v->file, v->bytes.data, n);
            if (open_and_close(v) != RS_E_FORMAT) {
                print_error("%s cut to %zu of %zu bytes: status %d\n", v->name, n, v->bytes.bytes, err.status);
                fail();
            }
        }
        files_write(v->file, v->bytes.data, v->bytes.bytes);
    }
}

static void test_bits(void **state) {
    (void)state;
    for (int i = 0; i < VICTIMS; i++) {
        victim *v = &victims[i];
        for (size_t bit = 0; bit < 8 * v->header; bit++) {
            v->bytes.data[bit / 8] = (char)(v->bytes.data[bit / 8] ^ (1 << bit % 8));
            files_write(v->file, v->bytes.data, v->bytes.bytes);
            rs_status st = open_and_close(v);
            if (st != RS_OK && st != RS_E_FORMAT && st != RS_E_UNSUPPORTED) {
                print_error("%s with bit %zu turned: status %d, %s\n", v->name, bit, st, err.message);
                fail();
            }
            v->bytes.data[bit / 8] = (char)(v->bytes.data[bit / 8] ^ (1 << bit % 8));
        }
        files_write(v->file, v->bytes.data, v->bytes.bytes);
    }
}

/* The first allocation fails, then the second, until opening needs no more of them. */
static void test_allocations(void **state) {
    (void)state;
    for (int i = 0; i < VICTIMS; i++) {
        rs_status st = RS_E_NOMEM;
        rs_checkpoint *c = NULL;
        uint64_t nth = 0, live = rs_alloc_live();
        while (st != RS_OK) {
            rs_alloc_fail_at(++nth);
            st = rs_checkpoint_open(path_of(&victims[i]), &c, &err);
            rs_alloc_fail_at(0);
            assert_true(st == RS_OK || (st == RS_E_NOMEM && !c));
            if (st != RS_OK) assert_int_equal(rs_alloc_live(), live);
        }
        assert_true(nth > 5);
        check_sound(c);
        rs_checkpoint_close(c);
        assert_int_equal(rs_alloc_live(), live);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_bits),
        cmocka_unit_test(test_allocations),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
