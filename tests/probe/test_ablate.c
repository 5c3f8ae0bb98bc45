/* Ablations: edits from masks, passes that begin behind the first layer, and planted models whose essential and idle
 * pairs are known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "analyzer/ablate/ablation_measure.h"
#include "analyzer/base/verdict_name.h"
#include "tests/support/planted.h"
#include "tests/support/test_device.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SEQUENCES = 3, CELLS = PLANTED_LAYERS * PLANTED_HEADS * PLANTED_PAIRS };

typedef struct rig {
    char folder[32];
    rs_arena *arena;
    rs_measure_setup s;
    rs_measure *m;
    int32_t ids[SEQUENCES * PLANTED_CONTEXT];
    uint8_t mask[CELLS];
    double nll[SEQUENCES], accuracy[SEQUENCES];
} rig;

static void must(rs_status st, const rs_error *err) {
    if (st != RS_OK) {
        fail_msg("%s", err->message);
    }
}

static void rig_open(rig *r, int64_t keep_bytes) {
    rs_error err = {0};
    memset(r, 0, sizeof *r);
    strcpy(r->folder, "/tmp/ablate_XXXXXX");
    assert_non_null(mkdtemp(r->folder));
    assert_true(planted_write("planted", r->folder));
    planted_ids(1, SEQUENCES, r->ids);
    must(rs_arena_create(&r->arena, &err), &err);
    must(rs_checkpoint_open(r->folder, &r->s.checkpoint, &err), &err);
    rs_graph_options how = {.context = PLANTED_CONTEXT};
    must(rs_graph_create(r->s.checkpoint, &how, r->arena, &r->s.graph, &err), &err);
    must(rs_weights_bind(r->s.checkpoint, r->s.graph, r->arena, &r->s.weights, &err), &err);
    must(rs_device_open(rs_test_device(), 0, &r->s.backend, &r->s.device, &err), &err);
    r->s.run = (rs_run_options){.ids = r->ids, .sequences = SEQUENCES, .positions = PLANTED_CONTEXT, .last_layer = -1};
    r->s.keep_bytes = keep_bytes;
    must(rs_measure_create(&r->s, &r->m, &err), &err);
}

static void rig_close(rig *r) {
    char path[64];
    rs_measure_destroy(r->m);
    r->s.backend->close(r->s.device);
    rs_checkpoint_close(r->s.checkpoint);
    rs_arena_destroy(r->arena);
    snprintf(path, sizeof path, "%s/config.json", r->folder);
    unlink(path);
    snprintf(path, sizeof path, "%s/model.safetensors", r->folder);
    unlink(path);
    rmdir(r->folder);
}

static void set(rig *r, int layer, int head, int from, int to) {
    for (int f = from; f < to; f++) {
        r->mask[(layer * PLANTED_HEADS + head) * PLANTED_PAIRS + f] = 1;
    }
}

/* Largest change of a sequence's loss. */
static double change(rig *r, rs_ablate_mode mode, double scale) {
    rs_error err = {0};
    double worst = 0;
    must(rs_measure_edited(r->m, r->mask, mode, scale, &(rs_scores){r->nll, r->accuracy}, &err), &err);
    for (int s = 0; s < SEQUENCES; s++) {
        worst = fmax(worst, fabs(r->nll[s] - rs_measure_baseline(r->m)->nll[s]));
    }
    memset(r->mask, 0, sizeof r->mask);
    return worst;
}

/* The half that holds rows of zeros contributes q k = 0 to every logit: nothing but float32's order of the same sums
 * could differ, and that stays. What a head is made of must show. */
static void idle_pairs_cost_nothing_and_essential_ones_do(void **state) {
    rig r;
    (void)state;
    rig_open(&r, 0);
    set(&r, 0, PLANTED_HALF, PLANTED_USED_PAIRS, PLANTED_PAIRS);
    assert_true(change(&r, RS_ABLATE_ZERO, 0) <= 0);
    set(&r, 0, PLANTED_HALF, PLANTED_USED_PAIRS, PLANTED_PAIRS);
    assert_true(change(&r, RS_ABLATE_UNROTATE, 0) <= 0);
    static const struct {
        int head, from, to;
        rs_ablate_mode mode;
    } essential[] = {{PLANTED_PREVIOUS, 0, PLANTED_FAST, RS_ABLATE_ZERO},
                     {PLANTED_PREVIOUS, 0, PLANTED_FAST, RS_ABLATE_UNROTATE},
                     {PLANTED_CONTENT, PLANTED_SLOW_PAIR, PLANTED_SLOW_PAIR + 1, RS_ABLATE_ZERO},
                     {PLANTED_SINK, PLANTED_SINK_PAIR, PLANTED_SINK_PAIR + 1, RS_ABLATE_ZERO}};
    for (size_t i = 0; i < sizeof essential / sizeof *essential; i++) {
        set(&r, 0, essential[i].head, essential[i].from, essential[i].to);
        double d = change(&r, essential[i].mode, 0);
        print_message("head %d, %s: %.4f nats\n", essential[i].head, rs_ablate_mode_name(essential[i].mode), d);
        assert_true(d > 1e-3);
    }
    /* The slowest pair hardly turns over the context: what reads content with it reads it unrotated too. */
    set(&r, 0, PLANTED_CONTENT, PLANTED_SLOW_PAIR, PLANTED_SLOW_PAIR + 1);
    double unrotated = change(&r, RS_ABLATE_UNROTATE, 0);
    set(&r, 0, PLANTED_CONTENT, PLANTED_SLOW_PAIR, PLANTED_SLOW_PAIR + 1);
    assert_true(unrotated < 0.1 * change(&r, RS_ABLATE_ZERO, 0));
    rig_close(&r);
}

static void no_edit_changes_no_bit(void **state) {
    rig r;
    rs_error err = {0};
    (void)state;
    rig_open(&r, 0);
    must(rs_measure_edited(r.m, r.mask, RS_ABLATE_ZERO, 0, &(rs_scores){r.nll, r.accuracy}, &err), &err);
    assert_memory_equal(r.nll, rs_measure_baseline(r.m)->nll, sizeof r.nll);
    assert_memory_equal(r.accuracy, rs_measure_baseline(r.m)->accuracy, sizeof r.accuracy);
    rs_measure *again = NULL; /* and the pass itself repeats to the bit */
    must(rs_measure_create(&r.s, &again, &err), &err);
    assert_memory_equal(rs_measure_baseline(again)->nll, rs_measure_baseline(r.m)->nll, sizeof r.nll);
    rs_measure_destroy(again);
    rig_close(&r);
}

/* Layer 1 edited, once from the embedding and once from the stream that was kept at its entrance. */
static void a_pass_from_a_kept_entrance_is_the_whole_pass_to_the_bit(void **state) {
    rig whole, kept;
    (void)state;
    rig_open(&whole, 0);
    rig_open(&kept, 1 << 20);
    assert_int_equal(rs_measure_start(whole.m, 1), 0);
    assert_int_equal(rs_measure_start(kept.m, 1), 1);
    for (int mode = RS_ABLATE_ZERO; mode <= RS_ABLATE_SCALE; mode++) {
        set(&whole, 1, 1, 0, 5);
        set(&kept, 1, 1, 0, 5);
        assert_true(change(&whole, (rs_ablate_mode)mode, 0.5) > 0);
        change(&kept, (rs_ablate_mode)mode, 0.5);
        assert_memory_equal(whole.nll, kept.nll, sizeof whole.nll);
    }
    rig_close(&whole);
    rig_close(&kept);
}

static void controls_edit_as_many_pairs_in_the_same_heads(void **state) {
    rig r;
    rs_error err = {0};
    (void)state;
    rig_open(&r, 0);
    double cost[CELLS];
    for (int i = 0; i < CELLS; i++) {
        cost[i] = i * 7919 % 101;
    }
    rs_array values = {.n_dims = 3, .dims = {PLANTED_LAYERS, PLANTED_HEADS, PLANTED_PAIRS}, .data = cost};
    rs_ranking by_cost = {.name = "cost", .rule = RS_RANK_VALUES, .values = &values},
               random = {.name = "random", .rule = RS_RANK_RANDOM};
    must(rs_ranking_check(&values, r.s.graph, &err), &err);
    for (double f = 0.05; f < 1.01; f += 0.19) {
        uint8_t other[2][CELLS] = {{0}};
        rs_ablation a = {.experiment = RS_EXPERIMENT_FRACTION, .ranking = &by_cost, .amount = f, .layer = -1};
        memset(r.mask, 0, sizeof r.mask);
        must(rs_ablation_mask(&a, r.s.graph, NULL, r.mask, &err), &err);
        a.ranking = &random;
        for (a.seed = 0; a.seed < 2; a.seed++) {
            must(rs_ablation_mask(&a, r.s.graph, NULL, other[a.seed], &err), &err);
        }
        for (int h = 0; h < PLANTED_LAYERS * PLANTED_HEADS; h++) {
            int n[3] = {0};
            double most = -1, left = 1e9;
            for (int f2 = 0; f2 < PLANTED_PAIRS; f2++) {
                int i = h * PLANTED_PAIRS + f2;
                n[0] += r.mask[i];
                n[1] += other[0][i];
                n[2] += other[1][i];
                most = r.mask[i] ? fmax(most, cost[i]) : most;
                left = r.mask[i] ? left : fmin(left, cost[i]);
            }
            assert_int_equal(n[0], (int)floor(f * PLANTED_PAIRS + 0.5));
            assert_int_equal(n[0], n[1]);
            assert_int_equal(n[0], n[2]);
            assert_true(most <= left); /* the cheapest go */
        }
        if (f > 0.2 && f < 0.8) {
            assert_memory_not_equal(other[0], other[1], CELLS);
        }
    }
    rig_close(&r);
}

/* Chosen by a value of the run: the pairs of one verdict, or of a utility below a half, no other; their controls as
 * many of each head. A pair without a value is never edited. */
static void a_value_names_its_pairs(void **state) {
    rig r;
    rs_error err = {0};
    (void)state;
    rig_open(&r, 0);
    double value[CELLS];
    for (int i = 0; i < CELLS; i++) {
        value[i] = i % 11 == 0 ? (double)NAN : i * 31 % 7 % RS_VERDICTS;
    }
    rs_array values = {.n_dims = 3, .dims = {PLANTED_LAYERS, PLANTED_HEADS, PLANTED_PAIRS}, .data = value};
    rs_ranking named = {.name = "verdict", .rule = RS_RANK_VALUES, .values = &values},
               random = {.name = "random", .rule = RS_RANK_RANDOM};
    rs_ablation a = {.values = &values, .layer = -1};
    for (int turn = 0; turn < 2 * RS_VERDICTS; turn++) {
        bool verdict = turn % 2 == 0;
        a.experiment = verdict ? RS_EXPERIMENT_VERDICT : RS_EXPERIMENT_UTILITY;
        a.amount = turn / 2;
        uint8_t other[CELLS] = {0};
        memset(r.mask, 0, sizeof r.mask);
        a.ranking = &named;
        must(rs_ablation_mask(&a, r.s.graph, NULL, r.mask, &err), &err);
        a.ranking = &random;
        must(rs_ablation_mask(&a, r.s.graph, NULL, other, &err), &err);
        for (int h = 0; h < PLANTED_LAYERS * PLANTED_HEADS; h++) {
            int n = 0;
            for (int i = h * PLANTED_PAIRS; i < (h + 1) * PLANTED_PAIRS; i++) {
                assert_int_equal(r.mask[i],
                                 verdict ? value[i] >= a.amount && value[i] <= a.amount : value[i] < a.amount);
                n += r.mask[i] - other[i];
            }
            assert_int_equal(n, 0);
        }
    }
    rig_close(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(idle_pairs_cost_nothing_and_essential_ones_do),
        cmocka_unit_test(no_edit_changes_no_bit),
        cmocka_unit_test(a_pass_from_a_kept_entrance_is_the_whole_pass_to_the_bit),
        cmocka_unit_test(controls_edit_as_many_pairs_in_the_same_heads),
        cmocka_unit_test(a_value_names_its_pairs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
