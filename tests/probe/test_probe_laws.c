/* Laws that hold for every registered probe, whatever it measures: states add up, finishing is a function of the state
 * alone, and every array says what it is. The probes are driven by made-up activations (tests/support/fake_frames.h).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "analyzer/base/alloc.h"
#include "analyzer/base/verdict_name.h"
#include "probes/probe.h"
#include "tests/support/fake_frames.h"
#include "tests/support/test_device.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POSITIONS = 43, TILE = 8, NUMBERS = 64 };

/* States and results of all layers of one run of one probe. */
typedef struct run {
    rs_arrays state[FAKE_LAYERS], results[FAKE_LAYERS];
    int calls;
} run;

static void copy(const rs_arrays *from, rs_arrays *to) {
    rs_error err = {0};
    for (size_t i = 0; i < from->count; i++) {
        const rs_array *a = &from->items[i];
        rs_array *b = NULL;
        assert_int_equal(rs_arrays_add(to, &b, &err, a->name, a->stored_as, a->unit, a->long_name, a->n_dims,
                                       a->dim_names[0], a->dims[0], a->dim_names[1], a->dims[1], a->dim_names[2],
                                       a->dims[2], a->dim_names[3], a->dims[3], a->dim_names[4], a->dims[4],
                                       a->dim_names[5], a->dims[5]),
                         RS_OK);
        for (int64_t c = 0; c < rs_array_size(a); c++) {
            b->data[c] = a->data[c];
        }
        b->count = a->count;
    }
}

static rs_status keep(void *ctx, const rs_probe_kind *kind, int layer, const rs_arrays *state, const rs_arrays *results,
                      rs_error *err) {
    (void)kind;
    (void)err;
    run *r = ctx;
    r->calls++;
    copy(state, &r->state[layer]);
    copy(results, &r->results[layer]);
    return RS_OK;
}

static void drop(run *r) {
    for (int l = 0; l < FAKE_LAYERS; l++) {
        rs_arrays_deinit(&r->state[l]);
        rs_arrays_deinit(&r->results[l]);
    }
}

/* Every sequence has the same task, so that a shard may number its sequences anew; none where there is no room for one.
 * The spans are those of the last call. */
static rs_probe_facts facts_of(const fake_forward *f, int64_t sequences) {
    static rs_task_spans spans[NUMBERS];
    int32_t T = (int32_t)f->positions, answer = T - 1 - T / 8, question = answer - 1 - T / 16;
    for (int i = 0; i < NUMBERS; i++) {
        spans[i] = (rs_task_spans){
            {question > 1, question}, {question / 2, question - question / 8}, {question, answer}, {answer, T}};
    }
    return (rs_probe_facts){.graph = &f->graph,
                            .positions = f->positions,
                            .sequences = sequences,
                            .seed = 7,
                            .spans = question > 0 ? spans : NULL};
}

static void run_probe(const fake_forward *f, const rs_probe_kind *kind, const uint64_t *content, const int64_t *number,
                      int64_t n, run *out) {
    rs_error err = {0};
    rs_probe_facts facts = facts_of(f, n);
    rs_probe_finisher finisher = {&facts, keep, out};
    rs_probes *p = NULL;
    memset(out, 0, sizeof *out);
    if (rs_probes_create(&kind, 1, &facts, f->backend, f->device, rs_probe_finish, &finisher, &p, &err) != RS_OK) {
        fail_msg("%s", err.message);
    }
    rs_hook hook = rs_probes_hook(p);
    if (fake_drive(f, &hook, content, number, n, TILE, &err) != RS_OK) {
        fail_msg("%s", err.message);
    }
    assert_int_equal(out->calls, FAKE_LAYERS);
    rs_probes_destroy(p);
}

/* A build may be without the library that a probe's ops need. */
static bool runs(const fake_forward *f, const rs_probe_kind *kind) {
    rs_probe_facts facts = facts_of(f, 1);
    return !kind->available || kind->available(&facts, f->backend, NULL) == RS_OK;
}

/* Largest difference of an array against its largest entry; NaN must meet NaN. */
static double distance(const rs_array *a, const rs_array *b) {
    double most = 0.0, worst = 0.0;
    assert_string_equal(a->name, b->name);
    assert_int_equal(rs_array_size(a), rs_array_size(b));
    for (int64_t i = 0; i < rs_array_size(a); i++) {
        if (isnan(a->data[i]) != isnan(b->data[i])) {
            fail_msg("%s[%lld]: %g against %g", a->name, (long long)i, a->data[i], b->data[i]);
        }
        most = fmax(most, fabs(b->data[i])); /* fmax passes NaN by */
        worst = fmax(worst, fabs(a->data[i] - b->data[i]));
    }
    return most > 0.0 ? worst / most : worst;
}

static void assert_close(const rs_arrays *a, const rs_arrays *b, double tolerance) {
    assert_int_equal(a->count, b->count);
    for (size_t i = 0; i < a->count; i++) {
        double d = distance(&a->items[i], &b->items[i]);
        if (!(d <= tolerance)) {
            fail_msg("%s differs by %g of its largest entry", a->items[i].name, d);
        }
    }
}

/* float64 sums of a few hundred float32 terms in another order: some 1e-14. A term counted twice or lost gives 1e-3 and
 * more. */
static const double SUM_TOLERANCE = 1e-11;
/* Finished arrays divide and subtract such sums; closed forms lose some digits more where position cancels. */
static const double FINISHED_TOLERANCE = 1e-8;

/* --- observe(A) + observe(B) = observe(AB)
 * ----------------------------------------------------------------------------------------- */

static void check_addition(const fake_forward *f, const rs_probe_kind *kind) {
    rs_error err = {0};
    run a, b, both;
    run_probe(f, kind, (uint64_t[]){11, 12}, (int64_t[]){0, 1}, 2, &a);
    run_probe(f, kind, (uint64_t[]){13, 14, 15}, (int64_t[]){2, 3, 4}, 3, &b);
    run_probe(f, kind, (uint64_t[]){11, 12, 13, 14, 15}, NULL, 5, &both);
    rs_probe_facts facts = facts_of(f, 5);
    for (int l = 0; l < FAKE_LAYERS; l++) {
        rs_arrays results = {0};
        assert_int_equal(rs_probe_merge(&a.state[l], &b.state[l], &err), RS_OK);
        assert_close(&a.state[l], &both.state[l], SUM_TOLERANCE);
        assert_int_equal(kind->finish(&facts, l, &a.state[l], &results, &err), RS_OK);
        assert_close(&results, &both.results[l], FINISHED_TOLERANCE);
        rs_arrays_deinit(&results);
    }
    drop(&a);
    drop(&b);
    drop(&both);
}

/* A shard numbers its sequences from 0: folds differ, the sums over all folds do not. */
static void check_shards(const fake_forward *f, const rs_probe_kind *kind) {
    rs_error err = {0};
    run a, b, both;
    run_probe(f, kind, (uint64_t[]){21}, NULL, 1, &a);
    run_probe(f, kind, (uint64_t[]){22}, NULL, 1, &b);
    run_probe(f, kind, (uint64_t[]){21, 22}, NULL, 2, &both);
    for (int l = 0; l < FAKE_LAYERS; l++) {
        rs_arrays left = {0}, right = {0};
        assert_int_equal(rs_probe_merge(&a.state[l], &b.state[l], &err), RS_OK);
        assert_int_equal(rs_probe_fold_sum(&a.state[l], 0, 1, &left, &err), RS_OK);
        assert_int_equal(rs_probe_fold_sum(&both.state[l], 0, 1, &right, &err), RS_OK);
        assert_close(&left, &right, SUM_TOLERANCE);
        rs_arrays_deinit(&left);
        rs_arrays_deinit(&right);
    }
    drop(&a);
    drop(&b);
    drop(&both);
}

/* Two sequences must not look like one, or the laws above would hold for a probe that stores nothing. */
static void check_counts(const fake_forward *f, const rs_probe_kind *kind) {
    run one, two;
    run_probe(f, kind, (uint64_t[]){21}, NULL, 1, &one);
    run_probe(f, kind, (uint64_t[]){21, 22}, NULL, 2, &two);
    for (size_t i = 0; i < one.state[0].count; i++) {
        if (distance(&one.state[0].items[i], &two.state[0].items[i]) < 1e-3) {
            fail_msg("%s does not change with a second sequence", one.state[0].items[i].name);
        }
    }
    drop(&one);
    drop(&two);
}

/* --- merging
 * -----------------------------------------------------------------------------------------------------------------------
 */

static void check_merge(const fake_forward *f, const rs_probe_kind *kind) {
    rs_error err = {0};
    run a, b, c;
    run_probe(f, kind, (uint64_t[]){31}, (int64_t[]){0}, 1, &a);
    run_probe(f, kind, (uint64_t[]){32}, (int64_t[]){17}, 1, &b);
    run_probe(f, kind, (uint64_t[]){33, 34}, NULL, 2, &c);
    for (int l = 0; l < FAKE_LAYERS; l++) {
        rs_arrays ab = {0}, ba = {0}, bc = {0}, a_bc = {0};
        copy(&a.state[l], &ab);
        copy(&b.state[l], &ba);
        copy(&b.state[l], &bc);
        copy(&a.state[l], &a_bc);
        assert_int_equal(rs_probe_merge(&ab, &b.state[l], &err), RS_OK);
        assert_int_equal(rs_probe_merge(&ba, &a.state[l], &err), RS_OK);
        assert_close(&ab, &ba, 0.0); /* addition of two numbers commutes exactly */
        assert_int_equal(rs_probe_merge(&ab, &c.state[l], &err), RS_OK);
        assert_int_equal(rs_probe_merge(&bc, &c.state[l], &err), RS_OK);
        assert_int_equal(rs_probe_merge(&a_bc, &bc, &err), RS_OK);
        assert_close(&ab, &a_bc, SUM_TOLERANCE);
        rs_arrays_deinit(&ab);
        rs_arrays_deinit(&ba);
        rs_arrays_deinit(&bc);
        rs_arrays_deinit(&a_bc);
    }
    drop(&a);
    drop(&b);
    drop(&c);
}

static void check_mismatch(const fake_forward *f, const rs_probe_kind *kind) {
    rs_error err = {0};
    run a;
    run_probe(f, kind, (uint64_t[]){31}, NULL, 1, &a);
    rs_arrays same = {0};
    copy(&a.state[0], &same);
    double before = same.items[0].data[0];
    assert_int_equal(rs_probe_merge(&same, &a.state[1], &err), RS_E_MISMATCH); /* another layer has another shape */
    assert_true(err.message[0] != 0);
    assert_true(same.items[0].data[0] == before);
    rs_arrays_deinit(&same);
    drop(&a);
}

/* --- finishing
 * ---------------------------------------------------------------------------------------------------------------------
 */

static bool same_bits(const rs_arrays *a, const rs_arrays *b) {
    if (a->count != b->count) {
        return false;
    }
    for (size_t i = 0; i < a->count; i++) {
        size_t n = (size_t)rs_array_size(&a->items[i]) * sizeof(double);
        if (strcmp(a->items[i].name, b->items[i].name) != 0 || memcmp(a->items[i].data, b->items[i].data, n) != 0) {
            return false;
        }
    }
    return true;
}

static void check_finish(const fake_forward *f, const rs_probe_kind *kind) {
    rs_error err = {0};
    run a;
    run_probe(f, kind, (uint64_t[]){41, 42}, NULL, 2, &a);
    for (int l = 0; l < FAKE_LAYERS; l++) {
        rs_arrays before = {0}, once = {0}, one_fold = {0}, folded = {0};
        copy(&a.state[l], &before);
        /* sequences says 99: finished arrays depend on the state, not on what the run meant to do */
        rs_probe_facts facts = facts_of(f, 99);
        assert_int_equal(kind->finish(&facts, l, &a.state[l], &once, &err), RS_OK);
        assert_true(same_bits(&once, &a.results[l]));
        assert_true(same_bits(&before, &a.state[l]));
        assert_int_equal(rs_probe_fold_sum(&a.state[l], 0, 1, &one_fold, &err), RS_OK);
        assert_int_equal(kind->finish(&facts, l, &one_fold, &folded, &err), RS_OK);
        for (size_t i = 0; i < once.count; i++) { /* one fold tells all but how the folds differ */
            if (!strstr(once.items[i].name, "split_half") && !strstr(once.items[i].name, "bootstrap")) {
                assert_true(distance(&folded.items[i], &once.items[i]) == 0.0);
            } else {
                assert_true(isnan(folded.items[i].data[0]));
            }
        }
        rs_arrays_deinit(&before);
        rs_arrays_deinit(&once);
        rs_arrays_deinit(&one_fold);
        rs_arrays_deinit(&folded);
    }
    drop(&a);
}

/* Halves: the even half of two sequences is what the first one alone gives. An empty half has no values. */
static void check_halves(const fake_forward *f, const rs_probe_kind *kind) {
    rs_error err = {0};
    run two, first;
    run_probe(f, kind, (uint64_t[]){51, 52}, NULL, 2, &two);
    run_probe(f, kind, (uint64_t[]){51}, NULL, 1, &first);
    rs_probe_facts facts = facts_of(f, 2);
    for (int l = 0; l < FAKE_LAYERS; l++) {
        rs_arrays even = {0}, odd_of_one = {0}, finished = {0}, empty = {0};
        assert_int_equal(rs_probe_fold_sum(&two.state[l], 0, 2, &even, &err), RS_OK);
        assert_int_equal(kind->finish(&facts, l, &even, &finished, &err), RS_OK);
        assert_close(&finished, &first.results[l], FINISHED_TOLERANCE);
        assert_int_equal(rs_probe_fold_sum(&first.state[l], 1, 2, &odd_of_one, &err), RS_OK);
        assert_int_equal(kind->finish(&facts, l, &odd_of_one, &empty, &err), RS_OK);
        for (size_t i = 0; i < empty.count; i++) {
            for (int64_t c = 0; c < rs_array_size(&empty.items[i]); c++) {
                if (!isnan(empty.items[i].data[c])) {
                    fail_msg("%s[%lld] is %g though nothing was observed", empty.items[i].name, (long long)c,
                             empty.items[i].data[c]);
                }
            }
        }
        rs_arrays_deinit(&even);
        rs_arrays_deinit(&odd_of_one);
        rs_arrays_deinit(&finished);
        rs_arrays_deinit(&empty);
    }
    drop(&two);
    drop(&first);
}

/* --- arrays say what they are
 * -------------------------------------------------------------------------------------------------------- */

static void check_described(const rs_array *a, const char *prefix) {
    assert_int_equal(strncmp(a->name, prefix, strlen(prefix)), 0);
    if (a->unit[0] == 0 || strlen(a->long_name) < 10 || a->n_dims < 1) {
        fail_msg("%s: unit '%s', long name '%s', %d axes", a->name, a->unit, a->long_name, a->n_dims);
    }
    for (int i = 0; i < a->n_dims; i++) {
        assert_true(a->dim_names[i][0] != 0);
        assert_true(a->dims[i] > 0);
        for (int j = 0; j < i; j++) {
            assert_string_not_equal(a->dim_names[i], a->dim_names[j]);
        }
    }
}

static void check_arrays(const fake_forward *f, const rs_probe_kind *kind) {
    char results[128], states[128];
    run a;
    run_probe(f, kind, (uint64_t[]){61, 62}, NULL, 2, &a);
    snprintf(results, sizeof results, "%s/", kind->name);
    snprintf(states, sizeof states, "state/%s/", kind->name);
    assert_true(kind->title[0] && kind->source[0]);
    assert_true(kind->folds >= 2 && kind->folds <= RS_FOLDS);
    for (int l = 0; l < FAKE_LAYERS; l++) {
        assert_true(a.results[l].count > 0 && a.state[l].count > 0 && a.state[l].count <= RS_PROBE_STATES);
        for (size_t i = 0; i < a.results[l].count; i++) {
            check_described(&a.results[l].items[i], results);
            assert_true(a.results[l].items[i].count > 0);
            assert_ptr_equal(rs_arrays_find(&a.results[l], a.results[l].items[i].name),
                             &a.results[l].items[i]); /* no name twice */
        }
        for (size_t i = 0; i < a.state[l].count; i++) {
            check_described(&a.state[l].items[i], states);
            assert_int_equal(strncmp(a.state[l].items[i].dim_names[0], "fold", 4), 0);
            assert_int_equal(a.state[l].items[i].dims[0], kind->folds);
            assert_int_equal(a.state[l].items[i].stored_as, RS_F64);
        }
    }
    drop(&a);
}

/* One axis name, one length, over all probes: a store has one scale per name. Only heads and pairs may differ from
 * layer to layer. */
enum { AXES_MOST = 64 };
typedef struct axes {
    const char *name[AXES_MOST], *user[AXES_MOST];
    int64_t length[AXES_MOST];
    int n;
} axes;

static void note_axis(axes *all, const rs_array *a, int axis) {
    for (int i = 0; i < all->n; i++) {
        if (strcmp(all->name[i], a->dim_names[axis]) == 0) {
            if (all->length[i] != a->dims[axis]) {
                fail_msg("axis %s is %lld long in %s and %lld in %s", all->name[i], (long long)all->length[i],
                         all->user[i], (long long)a->dims[axis], a->name);
            }
            return;
        }
    }
    assert_true(all->n < AXES_MOST);
    all->name[all->n] = a->dim_names[axis];
    all->user[all->n] = a->name;
    all->length[all->n++] = a->dims[axis];
}

static void axes_have_one_length(void **unused) {
    (void)unused;
    enum { MOST = 16 };
    size_t n = 0;
    const rs_probe_kind *const *kinds = rs_probe_kinds(&n);
    fake_forward f;
    run of[MOST];
    fake_open(&f, POSITIONS);
    assert_true(n <= MOST);
    memset(of, 0, sizeof of);
    for (size_t i = 0; i < n; i++) {
        if (runs(&f, kinds[i])) {
            run_probe(&f, kinds[i], (uint64_t[]){63}, NULL, 1, &of[i]);
        }
    }
    rs_arrays values = {0};
    rs_error err = {0};
    rs_probe_facts facts = facts_of(&f, 1);
    assert_int_equal(rs_probe_axes(&facts, &values, &err), RS_OK);
    assert_true(values.count >= 2);
    for (int l = 0; l < FAKE_LAYERS; l++) {
        axes all = {.n = 0};
        for (size_t i = 0; i < values.count; i++) { /* an axis with values is as long as the arrays that use it */
            assert_string_equal(values.items[i].name, values.items[i].dim_names[0]);
            note_axis(&all, &values.items[i], 0);
        }
        for (size_t i = 0; i < 2 * n; i++) {
            const rs_arrays *list = i < n ? &of[i].state[l] : &of[i - n].results[l];
            for (size_t j = 0; j < list->count; j++) {
                for (int axis = 0; axis < list->items[j].n_dims; axis++) {
                    note_axis(&all, &list->items[j], axis);
                }
            }
        }
    }
    for (size_t i = 0; i < n; i++) {
        drop(&of[i]);
    }
    rs_arrays_deinit(&values);
    fake_close(&f);
}

/* --- size
 * ---------------------------------------------------------------------------------------------------------------------------
 */

static int64_t state_bytes(const fake_forward *f, const rs_probe_kind *kind, int64_t positions, int64_t sequences) {
    rs_error err = {0};
    int64_t bytes = 0;
    rs_probe_facts facts = facts_of(f, sequences);
    facts.positions = positions;
    assert_int_equal(rs_probes_bytes(&kind, 1, &facts, &bytes, &err), RS_OK);
    return bytes;
}

static void check_size(const fake_forward *f, const rs_probe_kind *kind) {
    assert_int_equal(state_bytes(f, kind, 2048, 1), state_bytes(f, kind, 2048, 1000000));
    /* Longer sequences may have more bins; 32 times the length must not be 32 times the state. */
    assert_true(state_bytes(f, kind, 65536, 1) < 3 * state_bytes(f, kind, 2048, 1));
    run a;
    run_probe(f, kind, (uint64_t[]){64}, NULL, 1, &a);
    int64_t largest = 0;
    for (int l = 0; l < FAKE_LAYERS; l++) {
        int64_t cells = 0;
        for (size_t i = 0; i < a.state[l].count; i++) {
            cells += rs_array_size(&a.state[l].items[i]);
        }
        largest = cells * 8 > largest ? cells * 8 : largest;
    }
    assert_int_equal(state_bytes(f, kind, f->positions, 1), largest);
    drop(&a);
}

/* --- tiles and short sequences
 * --------------------------------------------------------------------------------------------------------- */

static void check_lengths(const fake_forward *f, const rs_probe_kind *kind) {
    (void)f;
    for (int64_t T = 1; T <= 4; T++) {
        fake_forward g;
        run a;
        fake_open(&g, T);
        if (!runs(&g, kind)) {
            fake_close(&g);
            continue;
        }
        run_probe(&g, kind, (uint64_t[]){71, 72}, NULL, 2, &a);
        for (size_t i = 0; i < a.results[0].count; i++) {
            for (int64_t c = 0; c < rs_array_size(&a.results[0].items[i]); c++) {
                assert_true(!isinf(a.results[0].items[i].data[c])); /* nothing to average is NaN, not infinite */
            }
        }
        drop(&a);
        fake_close(&g);
    }
}

/* --- memory that cannot be had
 * ------------------------------------------------------------------------------------------------------------ */

/* Every allocation on the CPU. An emulated device computes a hundred times slower and the host's side is the same:
 * ever larger steps. */
static void check_allocation(const fake_forward *f, const rs_probe_kind *kind) {
    bool every = strcmp(rs_test_device(), "cpu") == 0;
    (void)f;
    for (uint64_t nth = 1;; nth += every ? 1 : 1 + nth / 8) {
        fake_forward g;
        rs_error err = {0};
        rs_probes *p = NULL;
        uint64_t live = rs_alloc_live();
        fake_open(&g, POSITIONS); /* a device of its own: devices keep working memory until they are closed */
        rs_probe_facts facts = facts_of(&g, 1);
        rs_probe_finisher finisher = {.facts = &facts};
        rs_alloc_fail_at(nth);
        rs_status st = rs_probes_create(&kind, 1, &facts, g.backend, g.device, rs_probe_finish, &finisher, &p, &err);
        if (st == RS_OK) {
            rs_hook hook = rs_probes_hook(p);
            st = fake_drive(&g, &hook, (uint64_t[]){81}, NULL, 1, POSITIONS, &err);
        }
        rs_alloc_fail_at(0);
        rs_probes_destroy(p);
        fake_close(&g);
        assert_true(st == RS_OK || st == RS_E_NOMEM);
        assert_int_equal(rs_alloc_live(), live);
        if (st == RS_OK) {
            assert_true(nth > 10); /* the failures did reach the probe */
            return;
        }
    }
}

static void for_every_probe(void (*check)(const fake_forward *f, const rs_probe_kind *kind)) {
    size_t n = 0;
    const rs_probe_kind *const *kinds = rs_probe_kinds(&n);
    fake_forward f;
    assert_true(n >= 3);
    fake_open(&f, POSITIONS);
    for (size_t i = 0; i < n; i++) {
        assert_ptr_equal(rs_probe_find(kinds[i]->name), kinds[i]);
        if (runs(&f, kinds[i])) {
            check(&f, kinds[i]);
        }
    }
    fake_close(&f);
}

#define LAW(name, check)                                                                                               \
    static void name(void **unused) {                                                                                  \
        (void)unused;                                                                                                  \
        for_every_probe(check);                                                                                        \
    }
LAW(states_of_shards_add_up, check_addition)
LAW(fold_sums_do_not_depend_on_numbering, check_shards)
LAW(every_state_counts_sequences, check_counts)
LAW(merging_commutes_and_associates, check_merge)
LAW(merging_refuses_other_shapes, check_mismatch)
LAW(finishing_is_pure_and_idempotent, check_finish)
LAW(halves_stand_alone, check_halves)
LAW(arrays_are_described, check_arrays)
LAW(state_does_not_grow_with_tokens, check_size)
LAW(short_sequences_are_finite_or_nan, check_lengths)
LAW(failing_allocations_are_reported, check_allocation)

/* What a draw holds, [width]: pairs of the layer by verdict. */
static void count_verdicts(const run *r, int layer, double *count, int64_t width) {
    const rs_array *a = rs_arrays_find(&r->results[layer], "contribution/verdict");
    assert_int_equal(width, RS_VERDICTS);
    memset(count, 0, RS_VERDICTS * sizeof *count);
    for (int64_t i = 0; i < rs_array_size(a); i++) {
        count[(int)a->data[i]]++;
    }
}

/* The same: share of the query norm by pair, mean over heads. */
static void mean_shares(const run *r, int layer, double *mean, int64_t width) {
    const rs_array *a = rs_arrays_find(&r->results[layer], "frequency_norm/q_share");
    assert_int_equal(width, a->dims[1]);
    memset(mean, 0, (size_t)width * sizeof *mean);
    for (int64_t i = 0; i < rs_array_size(a); i++) {
        mean[i % width] += a->data[i] / (double)a->dims[0];
    }
}

static bool alike(const double *a, const double *b, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        if (!(fabs(a[i] - b[i]) <= 1e-6 * fabs(b[i]))) { /* arrays are float32 in a store; sums in another order */
            return false;
        }
    }
    return true;
}

/* Two folds have three draws: the one twice, the other twice, both. Each draw is that of its sequences alone, and all
 * three occur. */
static void check_draws(const char *probe, const char *name,
                        void (*of_run)(const run *r, int layer, double *out, int64_t width)) {
    enum { DRAWS = 3, MOST = 64 };
    static const uint64_t content[2] = {61, 62};
    const rs_probe_kind *kind = rs_probe_find(probe);
    run of[DRAWS];
    fake_forward f;
    fake_open(&f, POSITIONS);
    for (int i = 0; i < DRAWS; i++) {
        run_probe(&f, kind, i < 2 ? &content[i] : content, NULL, i < 2 ? 1 : 2, &of[i]);
    }
    for (int l = 0; l < FAKE_LAYERS; l++) {
        double want[DRAWS][MOST];
        int64_t times[DRAWS] = {0};
        const rs_array *a = rs_arrays_find(&of[2].results[l], name);
        assert_non_null(a);
        int64_t width = a->dims[1];
        assert_true(a->dims[0] >= 100 && width <= MOST);
        for (int i = 0; i < DRAWS; i++) {
            of_run(&of[i], l, want[i], width);
        }
        for (int64_t b = 0; b < a->dims[0]; b++) {
            int i = 0;
            while (i < DRAWS && !alike(a->data + b * width, want[i], width)) {
                i++;
            }
            assert_true(i < DRAWS);
            times[i]++;
        }
        assert_true(isnan(rs_arrays_find(&of[0].results[l], name)->data[0]));
        bool differ =
            !alike(want[0], want[1], width) && !alike(want[0], want[2], width) && !alike(want[1], want[2], width);
        if (differ) { /* both together half of the time */
            assert_true(times[0] > 0 && times[1] > 0 && times[2] > a->dims[0] / 4);
        }
    }
    for (int i = 0; i < DRAWS; i++) {
        drop(&of[i]);
    }
    fake_close(&f);
}

static void draws_are_of_sequences(void **unused) {
    (void)unused;
    check_draws("contribution", "contribution/verdict_bootstrap", count_verdicts);
    check_draws("frequency_norm", "frequency_norm/q_share_bootstrap", mean_shares);
}

static void the_default_set_stands_first(void **unused) {
    (void)unused;
    size_t n = 0, defaults = 0;
    const rs_probe_kind *const *kinds = rs_probe_kinds(&n);
    assert_ptr_equal(rs_probe_defaults(&defaults), kinds);
    assert_true(defaults >= 3 && defaults <= n);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(kinds[i]->deep != NULL, i >= defaults);
    }
}

static void unknown_probes_are_null(void **unused) {
    (void)unused;
    assert_null(rs_probe_find("frequency_norms"));
    assert_null(rs_probe_find(""));
}

int main(void) {
    rs_test_device_or_skip();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(states_of_shards_add_up),
        cmocka_unit_test(fold_sums_do_not_depend_on_numbering),
        cmocka_unit_test(every_state_counts_sequences),
        cmocka_unit_test(merging_commutes_and_associates),
        cmocka_unit_test(merging_refuses_other_shapes),
        cmocka_unit_test(finishing_is_pure_and_idempotent),
        cmocka_unit_test(halves_stand_alone),
        cmocka_unit_test(arrays_are_described),
        cmocka_unit_test(axes_have_one_length),
        cmocka_unit_test(state_does_not_grow_with_tokens),
        cmocka_unit_test(short_sequences_are_finite_or_nan),
        cmocka_unit_test(failing_allocations_are_reported),
        cmocka_unit_test(draws_are_of_sequences),
        cmocka_unit_test(the_default_set_stands_first),
        cmocka_unit_test(unknown_probes_are_null),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
