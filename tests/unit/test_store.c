/* tests/unit/test_store.c: the store's writing half is read back through HDF5's own interface and its reading half is
 * given files made through it, so that neither is tested with the other alone. (Outside readers, h5py and netCDF:
 * tests/cli/store_consumers.test.py.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "analyzer/base/alloc.h"
#include "analyzer/base/file.h"
#include "analyzer/base/rng.h"
#include "data/store.h"
#include "tests/support/fake_run.h"

#include <dirent.h>
#include <hdf5.h>
#include <hdf5_hl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* HDF5 1.10 loses 264 bytes when a file cannot be created; what is ours stays watched. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) { return "leak:libhdf5\n"; }
const char *__lsan_default_options(void);
const char *__lsan_default_options(void) { return "print_suppressions=0"; }

static char folder[] = "/tmp/ropescope-store-XXXXXX";
static rs_error e;

static const char *in_folder(const char *name) {
    static char path[4][256];
    static int next;
    char *out = path[next++ % 4];
    snprintf(out, sizeof path[0], "%s/%s", folder, name);
    return out;
}

static void expect_ok(rs_status st) {
    if (st != RS_OK) fail_msg("status %d: %s", st, e.message);
}

static void expect_message(rs_status st, rs_status expected, const char *words) {
    assert_int_equal(st, expected);
    if (!strstr(e.message, words)) fail_msg("\"%s\" is not in \"%s\"", words, e.message);
}

static bool same(double a, double b) { return (isnan(a) && isnan(b)) || (a <= b && a >= b); }

/* Files of the folder whose name contains the word. */
static int count_files(const char *word) {
    int n = 0;
    DIR *d = opendir(folder);
    assert_non_null(d);
    for (struct dirent *f = readdir(d); f; f = readdir(d)) n += strstr(f->d_name, word) != NULL;
    closedir(d);
    return n;
}

static void make_array(rs_array *a, const char *name, rs_dtype type, int64_t layers, int64_t heads) {
    expect_ok(rs_array_init(a, &e, name, type, "nats", "a test", 2, "layer", layers, "head", heads));
    for (int64_t i = 0; i < layers * heads; i++) a->data[i] = (double)i;
    a->count = 77;
}

/* ---- what is in the file, by HDF5's own interface ---- */

static hid_t open_raw(const char *path) {
    hid_t f = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    assert_true(f >= 0);
    return f;
}

static void raw_string(hid_t object, const char *name, char *out, size_t room) {
    hid_t a = H5Aopen(object, name, H5P_DEFAULT), type = H5Aget_type(a);
    assert_int_equal(H5Tget_class(type), H5T_STRING);
    assert_true(H5Tis_variable_str(type) > 0);
    assert_int_equal(H5Tget_cset(type), H5T_CSET_UTF8);
    char *text = NULL;
    assert_true(H5Aread(a, type, (void *)&text) >= 0);
    snprintf(out, room, "%s", text ? text : "");
    H5free_memory(text);
    H5Tclose(type);
    H5Aclose(a);
}

static herr_t note_scale(hid_t dataset, unsigned axis, hid_t scale, void *out) {
    (void)dataset;
    (void)axis;
    H5Iget_name(scale, out, 64);
    return 1;
}

static void test_dataset_layout(void **state) {
    (void)state;
    rs_store *s = NULL;
    rs_array a = {0};
    const char *path = in_folder("layout.h5");
    expect_ok(rs_store_create(path, false, &s, &e));
    double at[] = {10, 20, 40};
    expect_ok(rs_store_axis(s, "head", at, 3, "tokens", "an axis with values", &e));
    make_array(&a, "group/sub/x", RS_F32, 2, 3);
    a.data[4] = (double)NAN;
    expect_ok(rs_store_write(s, &a, &e));
    rs_array_deinit(&a);
    expect_ok(rs_store_commit(s, &e));

    char text[256];
    hid_t f = open_raw(path), d = H5Dopen2(f, "/group/sub/x", H5P_DEFAULT), p = H5Dget_create_plist(d),
          type = H5Dget_type(d);
    assert_true(H5Tequal(type, H5T_IEEE_F32LE) > 0);
    float fill = 0, cells[6];
    H5Pget_fill_value(p, H5T_NATIVE_FLOAT, &fill);
    assert_true(isnan(fill));
    unsigned order = 0, flags, cd[4];
    H5Pget_attr_creation_order(p, &order);
    assert_int_equal(order, H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED);
    size_t n_cd = 4;
    assert_int_equal(H5Pget_nfilters(p), 2);
    assert_int_equal(H5Pget_filter2(p, 0, &flags, &n_cd, cd, 0, NULL, NULL), H5Z_FILTER_SHUFFLE);
    n_cd = 4;
    assert_int_equal(H5Pget_filter2(p, 1, &flags, &n_cd, cd, 0, NULL, NULL), H5Z_FILTER_DEFLATE);
    assert_int_equal(cd[0], 1);
    assert_true(H5Dread(d, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, cells) >= 0);
    for (int i = 0; i < 6; i++) assert_true(same(cells[i], i == 4 ? (double)NAN : i));
    raw_string(d, "units", text, sizeof text);
    assert_string_equal(text, "nats");
    raw_string(d, "long_name", text, sizeof text);
    assert_string_equal(text, "a test");
    long long count = 0;
    hid_t attribute = H5Aopen(d, "count", H5P_DEFAULT);
    H5Aread(attribute, H5T_NATIVE_LLONG, &count);
    H5Aclose(attribute);
    assert_int_equal(count, 77);
    assert_int_equal(H5DSget_num_scales(d, 0), 1);
    assert_int_equal(H5DSget_num_scales(d, 1), 1);
    H5DSiterate_scales(d, 1, NULL, note_scale, text);
    assert_string_equal(text, "/head");
    H5DSiterate_scales(d, 0, NULL, note_scale, text);
    assert_string_equal(text, "/layer");
    H5Tclose(type);
    H5Pclose(p);
    H5Dclose(d);

    double values[3];
    d = H5Dopen2(f, "/head", H5P_DEFAULT);
    assert_true(H5DSis_scale(d) > 0);
    H5Dread(d, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
    assert_memory_equal(values, at, sizeof at);
    raw_string(d, "units", text, sizeof text);
    assert_string_equal(text, "tokens");
    H5Dclose(d);
    d = H5Dopen2(f, "/layer", H5P_DEFAULT); /* never defined: counted */
    H5Dread(d, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
    assert_true(same(values[0], 0) && same(values[1], 1));
    H5Dclose(d);
    hid_t group = H5Gopen2(f, "/group", H5P_DEFAULT);
    p = H5Gget_create_plist(group);
    H5Pget_link_creation_order(p, &order);
    assert_int_equal(order, H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED);
    H5Pclose(p);
    H5Gclose(group);
    H5Fclose(f);
}

/* ---- round trips ---- */

static void test_types(void **state) {
    (void)state;
    const struct {
        rs_dtype type;
        double cells[4], back[4];
    } cases[] = {
        {RS_F64, {1e300, -0.1, (double)NAN, INFINITY}, {1e300, -0.1, (double)NAN, INFINITY}},
        {RS_F32, {0.1, 1e300, (double)NAN, -3}, {(double)0.1F, INFINITY, (double)NAN, -3}},
        {RS_I32, {-2147483647, 2147483647, (double)NAN, 0}, {-2147483647, 2147483647, (double)NAN, 0}},
        {RS_U8, {0, 254, (double)NAN, 3}, {0, 254, (double)NAN, 3}},
    };
    rs_store *s = NULL;
    const char *path = in_folder("types.h5");
    expect_ok(rs_store_create(path, false, &s, &e));
    for (size_t i = 0; i < 4; i++) {
        rs_array a = {0};
        char name[16];
        snprintf(name, sizeof name, "t%zu", i);
        expect_ok(rs_array_init(&a, &e, name, cases[i].type, "1", "", 1, "cell", (int64_t)4));
        memcpy(a.data, cases[i].cells, sizeof cases[i].cells);
        expect_ok(rs_store_write(s, &a, &e));
        rs_array_deinit(&a);
    }
    expect_ok(rs_store_commit(s, &e));
    expect_ok(rs_store_open(path, &s, &e));
    for (size_t i = 0; i < 4; i++) {
        rs_array a;
        char name[16];
        snprintf(name, sizeof name, "/t%zu", i);
        assert_true(rs_store_has(s, name));
        expect_ok(rs_store_read(s, name, &a, &e));
        assert_int_equal(a.stored_as, cases[i].type);
        for (int j = 0; j < 4; j++) assert_true(same(a.data[j], cases[i].back[j]));
        rs_array_deinit(&a);
    }
    rs_store_close(s);
}

static void test_read_back(void **state) {
    (void)state;
    rs_store *s = NULL;
    rs_array a = {0}, row = {0};
    const char *path = in_folder("back.h5");
    expect_ok(rs_store_create(path, false, &s, &e));
    expect_ok(rs_array_init(&a, &e, "g/scalar", RS_F64, "1", "no axis", 0));
    a.data[0] = 2.5;
    expect_ok(rs_store_write(s, &a, &e));
    rs_array_deinit(&a);
    expect_ok(
        rs_array_init(&a, &e, "g/none", RS_F64, "1", "an empty axis", 2, "layer", (int64_t)5, "empty", (int64_t)0));
    expect_ok(rs_store_write(s, &a, &e));
    rs_array_deinit(&a);
    make_array(&a, "g/x", RS_F64, 5, 9);
    expect_ok(rs_store_write(s, &a, &e));
    assert_true(rs_store_has(s, "g/x"));
    assert_false(rs_store_has(s, "g"));
    assert_false(rs_store_has(s, "g/y"));
    assert_false(rs_store_has(s, "g/x/y"));
    rs_array_deinit(&a);
    expect_ok(rs_store_commit(s, &e));

    expect_ok(rs_store_open(path, &s, &e));
    expect_ok(rs_store_read(s, "g/x", &a, &e));
    assert_int_equal(a.n_dims, 2);
    assert_int_equal(a.dims[0], 5);
    assert_int_equal(a.dims[1], 9);
    assert_string_equal(a.dim_names[0], "layer");
    assert_string_equal(a.dim_names[1], "head");
    assert_string_equal(a.name, "g/x");
    assert_string_equal(a.unit, "nats");
    assert_string_equal(a.long_name, "a test");
    assert_int_equal(a.count, 77);
    for (int i = 0; i < 45; i++) assert_true(same(a.data[i], i));
    rs_array_deinit(&a);
    expect_ok(rs_store_read_row(s, "g/x", 3, &row, &e));
    assert_int_equal(row.n_dims, 1);
    assert_string_equal(row.dim_names[0], "head");
    for (int i = 0; i < 9; i++) assert_true(same(row.data[i], 27 + i));
    rs_array_deinit(&row);
    expect_message(rs_store_read_row(s, "g/x", 5, &row, &e), RS_E_FORMAT, "no row 5");
    expect_message(rs_store_read_row(s, "g/x", -1, &row, &e), RS_E_FORMAT, "no row -1");
    expect_message(rs_store_read(s, "g/y", &row, &e), RS_E_FORMAT, "'g/y' is missing");
    expect_message(rs_store_read(s, "g", &row, &e), RS_E_FORMAT, "no dataset");
    assert_null(row.data);
    expect_ok(rs_store_read(s, "g/scalar", &a, &e));
    assert_int_equal(a.n_dims, 0);
    assert_true(same(a.data[0], 2.5));
    rs_array_deinit(&a);
    expect_message(rs_store_read_row(s, "g/scalar", 0, &row, &e), RS_E_FORMAT, "no row 0");
    expect_ok(rs_store_read(s, "g/none", &a, &e));
    assert_int_equal(rs_array_size(&a), 0);
    rs_array_deinit(&a);
    rs_store_close(s);
}

static rs_status collect(void *ctx, const char *name, rs_error *err) {
    (void)err;
    strcat(strcat(ctx, name), " ");
    return RS_OK;
}
static rs_status stop(void *ctx, const char *name, rs_error *err) {
    (void)ctx;
    return rs_fail(err, RS_E_CANCELLED, "%s", name);
}

static void test_each(void **state) {
    (void)state;
    rs_store *s = NULL;
    const char *names[] = {"z", "b/y", "b/x/w", "a"};
    expect_ok(rs_store_create(in_folder("each.h5"), false, &s, &e));
    for (int i = 0; i < 4; i++) {
        rs_array a = {0};
        make_array(&a, names[i], RS_F32, 2, 3);
        expect_ok(rs_store_write(s, &a, &e));
        rs_array_deinit(&a);
    }
    expect_ok(rs_store_commit(s, &e));
    expect_ok(rs_store_open(in_folder("each.h5"), &s, &e));
    char all[256] = "";
    expect_ok(rs_store_each(s, collect, all, &e));
    assert_string_equal(all, "a b/x/w b/y head layer z "); /* the scales are datasets too */
    expect_message(rs_store_each(s, stop, NULL, &e), RS_E_CANCELLED, "a");
    rs_store_close(s);
}

/* ---- slabs ---- */

static void test_slabs(void **state) {
    (void)state;
    rs_store *s = NULL;
    const int64_t L = 3, B = 2, H = 5, T = 40; /* written in tiles of 16 rows, some heads missing: they stay NaN */
    rs_array shape = {.stored_as = RS_F32,
                      .n_dims = 4,
                      .dims = {L, B, H, T},
                      .unit = "1",
                      .name = "big/map",
                      .dim_names = {"layer", "batch", "head", "key"}};
    expect_ok(rs_store_create(in_folder("slabs.h5"), false, &s, &e));
    expect_ok(rs_store_define(s, &shape, &e));
    float tile[4 * 16];
    for (int64_t l = 0; l < L; l++) {
        for (int64_t b = 0; b < B; b++) {
            for (int64_t from = 0; from < T; from += 16) {
                int64_t n = T - from < 16 ? T - from : 16, start[] = {l, b, 0, from}, count[] = {1, 1, 4, n};
                for (int64_t h = 0; h < 4; h++) {
                    for (int64_t t = 0; t < n; t++) tile[h * n + t] = (float)(((l * B + b) * H + h) * T + from + t);
                }
                expect_ok(rs_store_put_f32(s, "big/map", start, count, tile, &e));
            }
        }
        expect_ok(rs_store_flush(s, &e));
    }
    double one = 5;
    expect_ok(rs_store_put_f64(s, "big/map", (int64_t[]){2, 1, 4, 39}, (int64_t[]){1, 1, 1, 1}, &one, &e));
    expect_ok(rs_store_put_f64(s, "big/map", (int64_t[]){3, 0, 0, 0}, (int64_t[]){0, 1, 1, 1}, &one, &e)); /* nothing */
    expect_message(rs_store_put_f64(s, "big/map", (int64_t[]){3, 0, 0, 0}, (int64_t[]){1, 1, 1, 1}, &one, &e),
                   RS_E_INTERNAL, "axis 0, which has 3");
    expect_message(rs_store_put_f64(s, "big/map", (int64_t[]){0, 0, 0, 39}, (int64_t[]){1, 1, 1, 2}, &one, &e),
                   RS_E_INTERNAL, "axis 3");
    expect_message(rs_store_put_f64(s, "big/map", (int64_t[]){-1, 0, 0, 0}, (int64_t[]){1, 1, 1, 1}, &one, &e),
                   RS_E_INTERNAL, "axis 0");
    expect_message(rs_store_put_f64(s, "big/other", (int64_t[]){0}, (int64_t[]){1}, &one, &e), RS_E_INTERNAL,
                   "'big/other' is filled before it is defined");
    expect_ok(rs_store_commit(s, &e));

    hid_t f = open_raw(in_folder("slabs.h5")), d = H5Dopen2(f, "big/map", H5P_DEFAULT), p = H5Dget_create_plist(d);
    hsize_t chunk[4];
    assert_int_equal(H5Pget_chunk(p, 4, chunk), 4);
    assert_true(chunk[0] == 1 && chunk[1] == 1 && chunk[2] == 5 && chunk[3] == 40);
    H5Pclose(p);
    H5Dclose(d);
    H5Fclose(f);

    rs_array a;
    expect_ok(rs_store_open(in_folder("slabs.h5"), &s, &e));
    expect_ok(rs_store_read(s, "big/map", &a, &e));
    for (int64_t i = 0; i < L * B * H * T; i++) {
        bool written = i / T % H < 4, last = i == L * B * H * T - 1;
        assert_true(same(a.data[i], last ? 5 : written ? (double)i : (double)NAN));
    }
    rs_array_deinit(&a);
    rs_store_close(s);
}

/* Wide arrays: chunks of a bounded size, whole ones per row of the first axis. */
static void test_wide_chunks(void **state) {
    (void)state;
    rs_store *s = NULL;
    const struct {
        rs_array shape;
        hsize_t chunk[4];
    } cases[] = {
        {{.stored_as = RS_F32,
          .n_dims = 3,
          .dims = {2, 512, 49152},
          .unit = "1",
          .name = "logits",
          .dim_names = {"a", "b", "c"}},
         {1, 32, 2048}},
        {{.stored_as = RS_F32,
          .n_dims = 4,
          .dims = {2, 9, 512, 512},
          .unit = "1",
          .name = "pattern",
          .dim_names = {"a", "h", "b", "b"}},
         {1, 1, 128, 512}},
        {{.stored_as = RS_F64, .n_dims = 1, .dims = {512}, .unit = "1", .name = "line", .dim_names = {"b"}}, {512}},
    };
    expect_ok(rs_store_create(in_folder("wide.h5"), false, &s, &e));
    for (size_t i = 0; i < 3; i++) expect_ok(rs_store_define(s, &cases[i].shape, &e));
    expect_ok(rs_store_commit(s, &e));
    hid_t f = open_raw(in_folder("wide.h5"));
    for (size_t i = 0; i < 3; i++) {
        hsize_t chunk[4] = {0};
        hid_t d = H5Dopen2(f, cases[i].shape.name, H5P_DEFAULT), p = H5Dget_create_plist(d);
        H5Pget_chunk(p, 4, chunk);
        assert_memory_equal(chunk, cases[i].chunk, sizeof(hsize_t) * (size_t)cases[i].shape.n_dims);
        H5Pclose(p);
        H5Dclose(d);
    }
    H5Fclose(f);
}

/* ---- refusals ---- */

static void test_axis_lengths(void **state) {
    (void)state;
    rs_store *s = NULL;
    rs_array a = {0}, b = {0};
    double at[] = {1, 2};
    expect_ok(rs_store_create(in_folder("axes.h5"), false, &s, &e));
    make_array(&a, "first", RS_F32, 4, 9);
    make_array(&b, "second", RS_F32, 4, 8);
    expect_ok(rs_store_write(s, &a, &e));
    expect_message(rs_store_write(s, &b, &e), RS_E_INTERNAL,
                   "array 'second' has 8 along axis 'head', but array 'first' fixed its length at 9");
    assert_false(rs_store_has(s, "second"));
    expect_message(rs_store_axis(s, "head", at, 2, "1", "", &e), RS_E_INTERNAL, "after array 'first' used it");
    expect_ok(rs_store_axis(s, "pair", at, 2, "1", "", &e));
    expect_message(rs_store_axis(s, "pair", at, 2, "1", "", &e), RS_E_INTERNAL, "another definition");
    expect_message(rs_store_write(s, &a, &e), RS_E_INTERNAL, "'first' is written twice");
    snprintf(b.dim_names[1], sizeof b.dim_names[1], "pair");
    expect_message(rs_store_write(s, &b, &e), RS_E_INTERNAL, "its definition fixed its length at 2");
    rs_array_deinit(&a);
    rs_array_deinit(&b);
    rs_store_discard(s);
    assert_int_equal(count_files("axes.h5"), 0);
}

static void test_wrong_cells(void **state) {
    (void)state;
    const struct {
        rs_dtype type;
        double x;
    } cases[] = {{RS_U8, 255},       {RS_U8, -1},  {RS_U8, 1.5}, {RS_I32, 2147483648.0}, {RS_I32, -2147483648.0},
                 {RS_I32, INFINITY}, {RS_I32, 0.5}};
    rs_store *s = NULL;
    expect_ok(rs_store_create(in_folder("cells.h5"), false, &s, &e));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rs_array a = {0};
        char name[16];
        snprintf(name, sizeof name, "c%zu", i);
        make_array(&a, name, cases[i].type, 1, 1);
        a.data[0] = cases[i].x;
        expect_message(rs_store_write(s, &a, &e), RS_E_INTERNAL, "cannot be stored as");
        rs_array_deinit(&a);
    }
    rs_store_discard(s);
}

static void test_existing_output(void **state) {
    (void)state;
    rs_store *s = NULL;
    const char *path = in_folder("there.h5");
    expect_ok(rs_output_write(path, false, "old", 3, &e));
    expect_message(rs_store_create(path, false, &s, &e), RS_E_EXISTS, "exists already");
    assert_null(s);
    expect_message(rs_store_create(in_folder("no/such.h5"), false, &s, &e), RS_E_EXISTS, "does not exist");
    expect_ok(rs_store_create(path, true, &s, &e));
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_size, 3); /* until the commit the old one stands */
    rs_store_discard(s);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_size, 3);
    expect_ok(rs_store_create(path, true, &s, &e));
    expect_ok(rs_store_commit(s, &e));
    assert_int_equal(stat(path, &info), 0);
    assert_true(info.st_size > 3);
    /* one that appears while we write is not replaced */
    expect_ok(rs_store_create(in_folder("race.h5"), false, &s, &e));
    expect_ok(rs_output_write(in_folder("theirs"), false, "theirs", 6, &e));
    assert_int_equal(rename(in_folder("theirs"), in_folder("race.h5")), 0);
    expect_message(rs_store_commit(s, &e), RS_E_EXISTS, "exists already");
    assert_int_equal(stat(in_folder("race.h5"), &info), 0);
    assert_int_equal(info.st_size, 6);
    assert_int_equal(count_files(".tmp."), 0);
    rs_store_discard(NULL);
    rs_store_close(NULL);
}

/* ---- attributes ---- */

static void test_attributes(void **state) {
    (void)state;
    rs_store *s = NULL;
    rs_array a = {0};
    char *text = NULL;
    expect_ok(rs_store_create(in_folder("attributes.h5"), false, &s, &e));
    make_array(&a, "g/x", RS_F32, 1, 1);
    expect_ok(rs_store_write(s, &a, &e));
    rs_array_deinit(&a);
    expect_ok(rs_store_set_string(s, "/", "name", "first", &e));
    expect_ok(rs_store_set_string(s, "/", "name", "\"second\" — longer, 名前", &e));
    expect_ok(rs_store_set_int(s, "/", "n", 1, &e));
    expect_ok(rs_store_set_string(s, "/", "n", "now text", &e)); /* another type under the same name */
    expect_ok(rs_store_set_int(s, "g", "n", -9007199254740993, &e));
    expect_ok(rs_store_set_real(s, "g/x", "x", 0.1, &e));
    expect_ok(rs_store_set_string(s, "g/x", "bytes",
                                  "a\xff"
                                  "b\xc3(",
                                  &e));
    expect_ok(rs_store_set_string(s, "/", "empty", "", &e));
    expect_message(rs_store_set_int(s, "g/none", "n", 1, &e), RS_E_INTERNAL, "'g/none'");
    for (int i = 0; i < 40; i++) { /* past HDF5's switch to dense storage */
        char name[16];
        snprintf(name, sizeof name, "many%d", i);
        expect_ok(rs_store_set_int(s, "/", name, i, &e));
        expect_ok(rs_store_set_int(s, "/", name, i + 1, &e));
    }
    expect_ok(rs_store_commit(s, &e));

    expect_ok(rs_store_open(in_folder("attributes.h5"), &s, &e));
    const struct {
        const char *object, *name, *text;
    } cases[] = {{"/", "name", "\"second\" — longer, 名前"},
                 {"/", "n", "now text"},
                 {"g", "n", "-9007199254740993"},
                 {"/g/x", "x", "0.1"},
                 {"g/x", "bytes",
                  "a\xEF\xBF\xBD"
                  "b\xEF\xBF\xBD("},
                 {"/", "empty", ""},
                 {"/", "many39", "40"},
                 {"/", "schema_version", "1"},
                 {"/", "Conventions", "CF-1.10"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        expect_ok(rs_store_get_string(s, cases[i].object, cases[i].name, &text, &e));
        assert_non_null(text);
        assert_string_equal(text, cases[i].text);
        rs_free(text);
    }
    expect_ok(rs_store_get_string(s, "/", "absent", &text, &e));
    assert_null(text);
    expect_ok(rs_store_get_string(s, "no/object", "absent", &text, &e));
    assert_null(text);
    assert_true(same(rs_store_get_real(s, "g", "n", 1), -9007199254740992.0)); /* rounded to double */
    assert_true(same(rs_store_get_real(s, "g/x", "x", 1), 0.1));
    assert_true(same(rs_store_get_real(s, "/", "name", 7), 7));
    assert_true(same(rs_store_get_real(s, "/", "absent", 7), 7));
    expect_message(rs_store_get_string(s, "g/x", "DIMENSION_LIST", &text, &e), RS_OK,
                   ""); /* two cells: not one of ours */
    assert_null(text);
    rs_store_close(s);
}

/* ---- foreign and hostile files ---- */

static void write_bytes(const char *name, const void *bytes, size_t n) {
    expect_ok(rs_output_write(in_folder(name), true, bytes, n, &e));
}

static hid_t new_raw(const char *name) {
    hid_t f = H5Fcreate(in_folder(name), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), space = H5Screate(H5S_SCALAR);
    int version = RS_SCHEMA_VERSION;
    hid_t a = H5Acreate2(f, "schema_version", H5T_NATIVE_INT, space, H5P_DEFAULT, H5P_DEFAULT);
    H5Awrite(a, H5T_NATIVE_INT, &version);
    H5Aclose(a);
    H5Sclose(space);
    return f;
}

static void test_foreign_files(void **state) {
    (void)state;
    rs_store *s = NULL;
    expect_message(rs_store_open(in_folder("nothing.h5"), &s, &e), RS_E_IO, "nothing.h5");
    assert_null(s);
    expect_message(rs_store_open(folder, &s, &e), RS_E_IO, "folder");
    write_bytes("empty.h5", "", 0);
    expect_message(rs_store_open(in_folder("empty.h5"), &s, &e), RS_E_FORMAT, "no HDF5 file");
    write_bytes("text.h5", "this is no HDF5 file, but it is a long line of text all the same, is it not?", 77);
    expect_message(rs_store_open(in_folder("text.h5"), &s, &e), RS_E_FORMAT, "no HDF5 file");
    hid_t f = H5Fcreate(in_folder("plain.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    H5Fclose(f);
    expect_message(rs_store_open(in_folder("plain.h5"), &s, &e), RS_E_FORMAT, "schema_version is missing");
    f = new_raw("later.h5");
    hid_t a = H5Aopen(f, "schema_version", H5P_DEFAULT);
    int later = RS_SCHEMA_VERSION + 1;
    H5Awrite(a, H5T_NATIVE_INT, &later);
    H5Aclose(a);
    H5Fclose(f);
    expect_message(rs_store_open(in_folder("later.h5"), &s, &e), RS_E_FORMAT, "schema_version is 2");
    assert_null(s);
}

static void raw_dataset(hid_t f, const char *name, hid_t type, int n_dims, const hsize_t *dims, hid_t p) {
    hid_t space = n_dims < 0    ? H5Screate(H5S_NULL)
                  : n_dims == 0 ? H5Screate(H5S_SCALAR)
                                : H5Screate_simple(n_dims, dims, NULL);
    hid_t d = H5Dcreate2(f, name, type, space, H5P_DEFAULT, p, H5P_DEFAULT);
    assert_true(d >= 0);
    H5Dclose(d);
    H5Sclose(space);
}

/* Files that HDF5 itself finds nothing wrong with, but that are no arrays of ours or lead elsewhere. */
static void test_hostile_datasets(void **state) {
    (void)state;
    hid_t f = new_raw("hostile.h5"), p = H5Pcreate(H5P_DATASET_CREATE), chunked = H5Pcreate(H5P_DATASET_CREATE);
    hsize_t seven[7] = {1, 1, 1, 1, 1, 1, 1}, huge[3] = {1 << 20, 1 << 20, 1 << 10}, beyond[6],
            chunk[6] = {1, 1, 1, 1, 1, 1}, four = 4;
    for (int i = 0; i < 6; i++) beyond[i] = (hsize_t)1 << 31;
    raw_dataset(f, "seven", H5T_NATIVE_DOUBLE, 7, seven, H5P_DEFAULT);
    H5Pset_chunk(chunked, 3, chunk);
    raw_dataset(f, "huge", H5T_NATIVE_DOUBLE, 3, huge, chunked);
    H5Pset_chunk(chunked, 6, chunk);
    (void)beyond;
    raw_dataset(f, "text", H5T_C_S1, 1, &four, H5P_DEFAULT);
    raw_dataset(f, "null", H5T_NATIVE_DOUBLE, -1, NULL, H5P_DEFAULT);
    H5Pset_external(p, "/etc/hostname", 0, 32);
    raw_dataset(f, "outside", H5T_NATIVE_DOUBLE, 1, &four, p);
    raw_dataset(f, "plain", H5T_NATIVE_USHORT, 1, &four, H5P_DEFAULT); /* no units, no scales: readable all the same */
    H5Lcreate_external(in_folder("back.h5"), "g/x", f, "link", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_soft("/plain", f, "soft", H5P_DEFAULT, H5P_DEFAULT);
    H5Glink(f, H5G_LINK_HARD, "/", "loop"); /* a group that contains itself */
    H5Pclose(p);
    H5Pclose(chunked);
    H5Fclose(f);

    rs_store *s = NULL;
    rs_array a;
    expect_ok(rs_store_open(in_folder("hostile.h5"), &s, &e));
    expect_message(rs_store_read(s, "seven", &a, &e), RS_E_FORMAT, "shape");
    expect_message(rs_store_read(s, "huge", &a, &e), RS_E_FORMAT, "far more cells than its bytes can hold");
    expect_message(rs_store_read(s, "text", &a, &e), RS_E_FORMAT, "holds no numbers");
    expect_message(rs_store_read(s, "outside", &a, &e), RS_E_FORMAT, "in another file");
    expect_message(rs_store_read(s, "link", &a, &e), RS_E_FORMAT, "missing");
    assert_false(rs_store_has(s, "link"));
    assert_false(rs_store_has(s, "soft"));
    expect_message(rs_store_each(s, collect, (char[65536]){0}, &e), RS_E_FORMAT, "nested deeper");
    rs_status st = rs_store_read(s, "null", &a, &e);
    assert_true(st == RS_E_FORMAT || (st == RS_OK && rs_array_size(&a) >= 0));
    if (st == RS_OK) rs_array_deinit(&a);
    expect_ok(rs_store_read(s, "plain", &a, &e));
    assert_string_equal(a.unit, "1");
    assert_string_equal(a.dim_names[0], "axis0");
    assert_int_equal(a.stored_as, RS_I32);
    rs_array_deinit(&a);
    rs_store_close(s);
}

/* ---- damage ---- */

static rs_status read_one(void *ctx, const char *name, rs_error *err) {
    rs_array a;
    rs_status st = rs_store_read(ctx, name, &a, err);
    if (st == RS_OK) rs_array_deinit(&a);
    return st;
}

/* Everything a report would read. */
static rs_status read_all(const char *path) {
    rs_store *s = NULL;
    rs_status st = rs_store_open(path, &s, &e);
    if (st != RS_OK) return st;
    st = rs_store_each(s, read_one, s, &e);
    char *text = NULL;
    if (st == RS_OK) st = rs_store_get_string(s, "/", "layer_facts", &text, &e);
    rs_free(text);
    rs_store_close(s);
    return st;
}

/* Every truncation and every flipped bit is found, and before HDF5 (whose 1.10 can crash on damaged heaps) sees it. */
static void test_damage(void **state) {
    (void)state;
    const char *good = in_folder("good.h5"), *bad = in_folder("bad.h5");
    rs_store *s = NULL;
    rs_array a = {0};
    expect_ok(rs_store_create(good, false, &s, &e));
    make_array(&a, "g/x", RS_F32, 6, 5);
    expect_ok(rs_store_write(s, &a, &e));
    rs_array_deinit(&a);
    expect_ok(rs_store_set_string(s, "/", "layer_facts", "[1, 2, 3]", &e));
    expect_ok(rs_store_commit(s, &e));
    char *bytes = NULL;
    size_t n = 0;
    expect_ok(rs_file_read_all(good, 1 << 20, &bytes, &n, &e));
    assert_int_equal(read_all(good), RS_OK);
    const size_t seal = 17 + 64 + 1; /* the line that store_seal.c puts behind the HDF5 data */
    assert_memory_equal(bytes + n - seal, "ropescope seal 1 ", 17);
    rs_rng r;
    rs_rng_init(&r, 3);
    for (int i = 0; i < 400; i++) {
        size_t at = (size_t)rs_rng_below(&r, (int64_t)(n - seal));
        char flip = (char)(1 << rs_rng_below(&r, 8));
        bytes[at] = (char)(bytes[at] ^ flip);
        expect_ok(rs_output_write(bad, true, bytes, n, &e));
        expect_message(read_all(bad), RS_E_FORMAT, "damaged");
        bytes[at] = (char)(bytes[at] ^ flip);
    }
    for (size_t at = n - seal + 17; at < n - 1; at++) { /* a flip in the digest itself */
        bytes[at] = (char)(bytes[at] ^ 1);
        expect_ok(rs_output_write(bad, true, bytes, n, &e));
        expect_message(read_all(bad), RS_E_FORMAT, "damaged");
        bytes[at] = (char)(bytes[at] ^ 1);
    }
    for (size_t size = 0; size < n - seal; size += size < 256 ? 1 : 97) {
        expect_ok(rs_output_write(bad, true, bytes, size, &e));
        assert_int_equal(read_all(bad), RS_E_FORMAT);
    }
    expect_ok(rs_output_write(bad, true, bytes, n - seal,
                              &e)); /* all of HDF5's data without the seal: as another tool leaves it */
    assert_int_equal(read_all(bad), RS_OK);
    rs_free(bytes);
}

/* ---- failures while writing ---- */

/* A file may grow to `limit` bytes and no further, like a full disk. In a process of its own: HDF5 keeps a file open
 * that it could not flush, and what it does at exit is part of the test. Exit codes: 0 fine, else the step that went
 * wrong. */
static int write_with_limit(const char *path, rlim_t limit) {
    rs_store *s = NULL;
    rs_array a = {0};
    struct rlimit r = {limit, limit};
    signal(SIGXFSZ, SIG_IGN);
    if (rs_array_init(&a, &e, "noise", RS_F64, "1", "", 2, "row", (int64_t)64, "column", (int64_t)1024) != RS_OK)
        return 10;
    rs_rng g;
    rs_rng_init(&g, 1);
    for (int64_t i = 0; i < rs_array_size(&a); i++) a.data[i] = rs_rng_uniform(&g);
    if (setrlimit(RLIMIT_FSIZE, &r) != 0) return 11;
    rs_status st = rs_store_create(path, false, &s, &e);
    if (st == RS_OK) st = rs_store_define(s, &a, &e);
    for (int64_t row = 0; st == RS_OK && row < 64; row++) {
        st = rs_store_put_f64(s, "noise", (int64_t[]){row, 0}, (int64_t[]){1, 1024}, a.data + row * 1024, &e);
        if (st == RS_OK && row % 8 == 7) st = rs_store_flush(s, &e);
    }
    if (st == RS_OK) {
        st = rs_store_commit(s, &e);
        s = NULL;
    }
    rs_store_discard(s);
    rs_array_deinit(&a);
    if (st == RS_OK) return limit > 600000 ? 0 : 12;
    if (st != RS_E_IO) return 13;
    if (!strstr(e.message, path)) return 14;
    if (!strstr(e.message, "File too large")) return 15;
    return limit > 600000 ? 16 : 0;
}

static void test_full_disk(void **state) {
    (void)state;
    const rlim_t limits[] = {0, 50, 600, 2000, 5000, 20000, 100000, 300000, 440000, 10000000};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        const char *path = in_folder("full.h5");
        int pipes[2];
        assert_int_equal(pipe(pipes), 0); /* not a file: the limit would hold for it too */
        fflush(NULL);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            dup2(pipes[1], STDOUT_FILENO);
            dup2(pipes[1], STDERR_FILENO);
            close(pipes[0]);
            close(pipes[1]);
            int rc = write_with_limit(path, limits[i]);
            if (rc) printf("limit %lu: step %d: %s\n", (unsigned long)limits[i], rc, e.message);
            exit(rc); /* not _exit: HDF5's own exit handlers run */
        }
        close(pipes[1]);
        char said[4096];
        size_t n = 0;
        for (ssize_t got = 1; got > 0; n += got > 0 ? (size_t)got : 0)
            got = read(pipes[0], said + n, sizeof said - 1 - n);
        said[n] = '\0';
        close(pipes[0]);
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_string_equal(said, ""); /* neither we nor HDF5 printed anything */
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
        assert_int_equal(count_files(".tmp."), 0);
        unlink(path);
    }
}

static rs_status write_small(const char *path) {
    rs_store *s = NULL;
    rs_array a = {0};
    double at[] = {1, 2, 3};
    rs_status st = rs_store_create(path, true, &s, &e);
    if (st == RS_OK) st = rs_store_set_string(s, "/", "name", "x", &e);
    if (st == RS_OK) st = rs_store_axis(s, "pair", at, 3, "1", "", &e);
    if (st == RS_OK) st = rs_array_init(&a, &e, "x", RS_U8, "1", "", 2, "layer", (int64_t)2, "pair", (int64_t)3);
    for (int i = 0; st == RS_OK && i < 6; i++) a.data[i] = i;
    if (st == RS_OK) st = rs_store_write(s, &a, &e);
    if (st == RS_OK) {
        st = rs_store_commit(s, &e);
        s = NULL;
    }
    rs_store_discard(s);
    rs_array_deinit(&a);
    return st;
}

/* The nth allocation fails, for every n: out of memory is said, nothing is lost and nothing is left behind. */
static void test_allocation_failures(void **state) {
    (void)state;
    rs_status (*const work[])(const char *) = {write_small, read_all};
    const char *path = in_folder("memory.h5");
    for (size_t w = 0; w < 2; w++) {
        uint64_t n = 1, live = rs_alloc_live();
        for (rs_status st = RS_E_NOMEM; st != RS_OK; n++) {
            assert_true(n < 500);
            rs_alloc_fail_at(n);
            st = work[w](path);
            rs_alloc_fail_at(0);
            assert_true(st == RS_OK || st == RS_E_NOMEM);
            assert_int_equal(rs_alloc_live(), live);
            assert_int_equal(count_files(".tmp."), 0);
        }
        assert_true(n > 5);
    }
}

/* ---- the same bytes again ---- */

static void test_reproducible(void **state) {
    (void)state;
    char hex[2][65];
    for (int i = 0; i < 2; i++) {
        rs_file *f = NULL;
        expect_ok(rs_fake_run_write(rs_fake_shape_find("tiny"), in_folder(i ? "again.h5" : "once.h5"), &e));
        expect_ok(rs_file_open(in_folder(i ? "again.h5" : "once.h5"), &f, &e));
        expect_ok(rs_file_sha256(f, hex[i], &e));
        rs_file_close(f);
        if (i == 0) sleep(1); /* a time stamp inside would differ */
    }
    assert_string_equal(hex[0], hex[1]);
    assert_int_equal(read_all(in_folder("once.h5")), RS_OK);
}

/* ---- identifiers: HDF5 keeps what nobody closes, and no sanitizer sees it ---- */

enum { KINDS = 7 };

static void count_open(hsize_t out[KINDS]) {
    const H5I_type_t kinds[KINDS] = {H5I_FILE,    H5I_GROUP, H5I_DATATYPE,   H5I_DATASPACE,
                                     H5I_DATASET, H5I_ATTR,  H5I_GENPROP_LST};
    for (int i = 0; i < KINDS; i++) {
        hsize_t n = 0;
        H5Inmembers(kinds[i], &n);
        out[i] = n;
    }
}

static hsize_t open_before[KINDS];

static int note_open(void **state) {
    (void)state;
    count_open(open_before);
    return 0;
}

static int check_open(void **state) {
    hsize_t now[KINDS];
    (void)state;
    count_open(now);
    for (int i = 0; i < KINDS; i++) {
        if (now[i] != open_before[i])
            print_error("identifiers of kind %d: %d open before, %d after\n", i, (int)open_before[i], (int)now[i]);
        if (now[i] != open_before[i]) return -1;
    }
    return 0;
}

static int make_folder(void **state) {
    (void)state;
    rs_store *s = NULL; /* the store must be the first to call HDF5 in a process: see rs_h5_quiet */
    rs_store_open("/dev/null/none", &s, &e);
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    char line[128];
    snprintf(line, sizeof line, "rm -rf %s", folder);
    return system(line);
}

#define WATCHED(test) cmocka_unit_test_setup_teardown(test, note_open, check_open)

int main(void) {
    const struct CMUnitTest tests[] = {
        WATCHED(test_dataset_layout), WATCHED(test_types),         WATCHED(test_read_back),
        WATCHED(test_each),           WATCHED(test_slabs),         WATCHED(test_wide_chunks),
        WATCHED(test_axis_lengths),   WATCHED(test_wrong_cells),   WATCHED(test_existing_output),
        WATCHED(test_attributes),     WATCHED(test_foreign_files), WATCHED(test_hostile_datasets),
        WATCHED(test_damage),         WATCHED(test_full_disk),     WATCHED(test_allocation_failures),
        WATCHED(test_reproducible),
    };
    return cmocka_run_group_tests_name("store", tests, make_folder, remove_folder);
}
