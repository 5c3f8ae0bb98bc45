/* Ground truth: models whose heads were written by hand (tests/support/planted.h). The whole path, from the files on
 * disk to the finished arrays, must find what was planted where it was planted, and nothing in heads with random
 * weights. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "analyzer/base/arena.h"
#include "analyzer/forward/run.h"
#include "probes/probe.h"
#include "probes/verdict.h"
#include "tests/support/planted.h"
#include "tests/support/test_device.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SEQUENCES = 6, T = PLANTED_CONTEXT, H = PLANTED_HEADS, F = PLANTED_PAIRS };

/* --- running the program's own path
 * --------------------------------------------------------------------------------------------------- */

typedef struct found {
    rs_arrays layer[PLANTED_LAYERS]; /* finished arrays of all probes */
} found;

static rs_status keep(void *ctx, const rs_probe_kind *kind, int layer, const rs_arrays *state, const rs_arrays *results,
                      rs_error *err) {
    rs_status st = RS_OK;
    found *f = ctx;
    (void)kind;
    (void)state;
    for (size_t i = 0; i < results->count; i++) {
        const rs_array *a = &results->items[i];
        rs_array *b = NULL;
        RS_TRY(rs_arrays_add(&f->layer[layer], &b, err, a->name, a->stored_as, a->unit, a->long_name, a->n_dims,
                             a->dim_names[0], a->dims[0], a->dim_names[1], a->dims[1], a->dim_names[2], a->dims[2],
                             a->dim_names[3], a->dims[3]));
        memcpy(b->data, a->data, (size_t)rs_array_size(a) * sizeof *a->data);
    }
out:
    return st;
}

static rs_status run_model(const char *folder, const int32_t *ids, found *out, rs_error *err) {
    rs_status st = RS_OK;
    rs_checkpoint *checkpoint = NULL;
    rs_arena *arena = NULL;
    const rs_graph *graph = NULL;
    const rs_weights *weights = NULL;
    const rs_backend *backend = NULL;
    rs_device *device = NULL;
    rs_probes *probes = NULL;
    rs_run *run = NULL;
    size_t all = 0, n = 0;
    const rs_probe_kind *const *known = rs_probe_kinds(&all); /* also those that run only when asked for */
    const rs_probe_kind *kinds[32];
    for (size_t i = 0; i < all && n < 32; i++) {
        if (!known[i]->task) { /* these sequences are no task */
            kinds[n++] = known[i];
        }
    }
    RS_TRY(rs_arena_create(&arena, err));
    RS_TRY(rs_checkpoint_open(folder, &checkpoint, err));
    RS_TRY(rs_graph_create(checkpoint, &(rs_graph_options){.context = T}, arena, &graph, err));
    RS_TRY(rs_weights_bind(checkpoint, graph, arena, &weights, err));
    RS_TRY(rs_device_open(rs_test_device(), 0, &backend, &device, err));
    rs_probe_facts facts = {.graph = graph, .positions = T, .sequences = SEQUENCES, .seed = 3};
    rs_probe_finisher finisher = {&facts, keep, out};
    RS_TRY(rs_probes_create(kinds, n, &facts, backend, device, rs_probe_finish, &finisher, &probes, err));
    rs_hook hook = rs_probes_hook(probes);
    rs_run_options options = {
        .ids = ids, .sequences = SEQUENCES, .positions = T, .hooks = &hook, .n_hooks = 1, .last_layer = -1};
    RS_TRY(rs_run_create(checkpoint, graph, weights, backend, device, &options, &run, err));
    RS_TRY(rs_run_execute(&run, 1, err));
out:
    rs_run_destroy(run);
    rs_probes_destroy(probes);
    if (backend) {
        backend->close(device);
    }
    rs_checkpoint_close(checkpoint);
    rs_arena_destroy(arena);
    return st;
}

static void drop(found *f) {
    for (int l = 0; l < PLANTED_LAYERS; l++) {
        rs_arrays_deinit(&f->layer[l]);
    }
}

/* Writes the variant into a folder of its own, runs it, removes the folder. */
static void audit(const char *variant, found *out) {
    char folder[] = "/tmp/planted_XXXXXX", path[64];
    rs_error err = {0};
    int32_t *ids = calloc(SEQUENCES * T, sizeof *ids);
    memset(out, 0, sizeof *out);
    assert_non_null(ids);
    planted_ids(1, SEQUENCES, ids);
    assert_non_null(mkdtemp(folder));
    assert_true(planted_write(variant, folder));
    rs_status st = run_model(folder, ids, out, &err);
    snprintf(path, sizeof path, "%s/config.json", folder);
    unlink(path);
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    unlink(path);
    rmdir(folder);
    free(ids);
    if (st != RS_OK) {
        fail_msg("%s", err.message);
    }
}

static const double *get(const found *f, int layer, const char *name) {
    const rs_array *a = rs_arrays_find(&f->layer[layer], name);
    if (!a) {
        fail_msg("%s is missing", name);
        abort();
    }
    return a->data;
}

static double of_pairs(const double *a, int head, int from, int to) {
    double sum = 0.0;
    for (int f = from; f < to; f++) {
        sum += a[head * F + f];
    }
    return sum;
}

#define assert_near(a, b, tolerance)                                                                                   \
    do {                                                                                                               \
        double a_ = (a), b_ = (b);                                                                                     \
        if (!(fabs(a_ - b_) <= (tolerance))) fail_msg("%s = %g, not %g", #a, a_, b_);                                  \
    } while (0)

/* --- the planted layer
 * ------------------------------------------------------------------------------------------------------------------ */

static void previous_token_head_is_found(void **state) {
    const found *f = *state;
    const int h = PLANTED_PREVIOUS;
    const double *zero = get(f, 0, "moments/zero_cost"), *unrotate = get(f, 0, "moments/unrotate_cost"),
                 *sampled = get(f, 0, "moments/zero_cost_sampled");
    const double *q_share = get(f, 0, "frequency_norm/q_share"), *k_share = get(f, 0, "frequency_norm/k_share"),
                 *R = get(f, 0, "moments/q_concentration");
    /* Its neighbours' logits are 10 below: e^-10 twice, and the first row has position 0 alone to look back to. */
    assert_near(get(f, 0, "attention_pattern/previous")[h], 1.0, 1e-3);
    assert_near(get(f, 0, "attention_pattern/p90_distance")[h], 1.0, 0.0);
    assert_near(get(f, 0, "attention_pattern/toeplitz_share")[h], 1.0, 1e-3);
    assert_near(of_pairs(q_share, h, 0, PLANTED_FAST), 1.0, 0.0); /* the other rows are zeros */
    assert_near(of_pairs(k_share, h, 0, PLANTED_FAST), 1.0, 0.0);
    for (int i = 0; i < F; i++) {
        if (i >= PLANTED_FAST) {
            assert_near(zero[h * F + i], 0.0, 0.0);
            assert_near(unrotate[h * F + i], 0.0, 0.0);
            continue;
        }
        assert_true(zero[h * F + i] > 0.02);
        /* q and k do not vary: un-rotated, the pair is a constant, which is what zeroing makes of it; float32 norms
         * move it by 1e-5 */
        assert_near(unrotate[h * F + i] / zero[h * F + i], 1.0, 1e-3);
        assert_near(sampled[h * F + i] / zero[h * F + i], 1.0, 0.1); /* 32 rows of each sequence stand for all */
        assert_near(R[h * F + i], 1.0, 1e-5);
    }
    assert_near(get(f, 0, "moments/share_pp")[h], 1.0, 1e-4); /* nothing but position */
    assert_near(get(f, 0, "moments/share_pp_sampled")[h], 1.0, 1e-4);
    const rs_array *curve = rs_arrays_find(&f->layer[0], "moments/distance_curve");
    for (int64_t d = 0; d < curve->dims[1]; d++) { /* its curve peaks at distance 1 */
        assert_true(d == 1 || curve->data[h * curve->dims[1] + d] < curve->data[h * curve->dims[1] + 1] - 9.0);
    }
}

static void content_head_is_found(void **state) {
    const found *f = *state;
    const int h = PLANTED_CONTENT, slow = PLANTED_SLOW_PAIR;
    const double *zero = get(f, 0, "moments/zero_cost"), *unrotate = get(f, 0, "moments/unrotate_cost");
    assert_near(get(f, 0, "frequency_norm/q_share")[h * F + slow], 1.0, 0.0);
    assert_near(get(f, 0, "frequency_norm/k_share")[h * F + slow], 1.0, 0.0);
    assert_near(get(f, 0, "frequency_norm/q_top_pair")[h], slow, 0.0);
    assert_near(zero[h * F + slow], 1.0, 0.1); /* the whole logit is in this pair; sampled rows set the scale */
    assert_near(get(f, 0, "moments/zero_cost_sampled")[h * F + slow], 1.0, 1e-6);
    assert_near(of_pairs(zero, h, 0, slow), 0.0, 0.0);
    assert_true(unrotate[h * F + slow] < 1e-3 * zero[h * F + slow]); /* theta T = 0.02 */
    assert_true(get(f, 0, "moments/unrotate_cost_sampled")[h * F + slow] < 1e-3);
    assert_near(get(f, 0, "moments/share_pc")[h], 1.0, 1e-3); /* key content */
    assert_near(get(f, 0, "moments/share_pc_sampled")[h], 1.0, 1e-3);
    assert_true(get(f, 0, "attention_pattern/previous")[h] < 0.1);
    assert_true(get(f, 0, "attention_pattern/p50_distance")[h] >
                16); /* at whatever distance: half of the mass beyond a quarter of the mean row */
    assert_true(get(f, 0, "attention_pattern/toeplitz_share")[h] < 0.5);
    /* It reads 8.8 nats apart, so the mass on the class is all but e^-8.8 * 3; a mean row of 64 holds 16 of the class:
     * entropy log 16 */
    assert_near(get(f, 0, "attention_pattern/entropy")[h], log(16.0), 0.5);
}

static void sink_head_is_found(void **state) {
    const found *f = *state;
    const int h = PLANTED_SINK;
    assert_near(get(f, 0, "attention_pattern/first")[h], 1.0, 1e-3); /* 127 others at e^-12 */
    assert_near(get(f, 0, "attention_pattern/distance_mass")[h * 7], 1.0, 1e-3);
    assert_near(get(f, 0, "frequency_norm/k_mean_sink")[h * F + PLANTED_SINK_PAIR], sqrt(68.0), 1e-3);
    assert_near(of_pairs(get(f, 0, "frequency_norm/k_mean"), h, 0, F), 0.0, 0.0); /* the sink is in no average */
    assert_near(get(f, 0, "frequency_norm/q_share")[h * F + PLANTED_SINK_PAIR], 1.0, 0.0);
}

static void ignored_pairs_are_found(void **state) {
    const found *f = *state;
    const int h = PLANTED_HALF;
    static const char *const ZERO[] = {"frequency_norm/q_mean", "frequency_norm/k_rms",  "frequency_norm/two_norm",
                                       "moments/zero_cost",     "moments/unrotate_cost", "moments/zero_cost_sampled"};
    for (size_t i = 0; i < sizeof ZERO / sizeof ZERO[0]; i++) {
        const double *a = get(f, 0, ZERO[i]);
        assert_near(of_pairs(a, h, PLANTED_USED_PAIRS, F), 0.0, 0.0);
        for (int p = 0; p < PLANTED_USED_PAIRS; p++) {
            assert_true(a[h * F + p] > 1e-3);
        }
    }
}

/* Heads of random weights move attention as much as some trained ones do, and are for nothing. */
static void check_no_verdict(const found *f, int layer, int head) {
    static const char *const NAME[RS_VERDICTS] = {"undecided", "positional", "semantic", "bias", "idle"};
    const double *verdict = get(f, layer, "contribution/verdict");
    for (int p = 0; p < F; p++) {
        if (verdict[head * F + p] != RS_VERDICT_UNDECIDED && verdict[head * F + p] != RS_VERDICT_IDLE) {
            fail_msg("layer %d head %d pair %d: %s, lift %g, spread %g", layer, head, p,
                     NAME[(int)verdict[head * F + p]], get(f, layer, "contribution/lift")[head * F + p],
                     get(f, layer, "contribution/spread")[head * F + p]);
        }
    }
}

/* All planted pairs get their verdict, and pairs of zeros are idle. */
static void verdicts_are_right(void **state) {
    const found *f = *state;
    const double *verdict = get(f, 0, "contribution/verdict"), *zero = get(f, 0, "contribution/kl_zero");
    for (int p = 0; p < F; p++) {
        assert_near(verdict[PLANTED_PREVIOUS * F + p], p < PLANTED_FAST ? RS_VERDICT_POSITIONAL : RS_VERDICT_IDLE, 0.0);
        assert_near(verdict[PLANTED_CONTENT * F + p], p == PLANTED_SLOW_PAIR ? RS_VERDICT_SEMANTIC : RS_VERDICT_IDLE,
                    0.0);
        assert_near(verdict[PLANTED_SINK * F + p], p == PLANTED_SINK_PAIR ? RS_VERDICT_BIAS : RS_VERDICT_IDLE, 0.0);
        assert_true(p < PLANTED_USED_PAIRS || verdict[PLANTED_HALF * F + p] == RS_VERDICT_IDLE);
    }
    check_no_verdict(f, 0, PLANTED_HALF);
    /* The head is so sharp that any one of its pairs could go: what keeps them from being idle is their lift. */
    assert_true(zero[PLANTED_PREVIOUS * F + 2] < RS_IDLE_NATS);
}

/* The probes of single rows: in the head that looks back, attention stays where it is when contents are exchanged; in
 * the head that looks for a class it goes with them. */
static void position_and_content_are_told_apart(void **state) {
    const found *f = *state;
    const int back = PLANTED_PREVIOUS, class = PLANTED_CONTENT, slow = PLANTED_SLOW_PAIR;
    const double *positional = get(f, 0, "position_content/positional"),
                 *symbolic = get(f, 0, "position_content/symbolic"),
                 *pair = get(f, 0, "position_content/pair_symbolic"),
                 *distance = get(f, 0, "position_content/anova_distance"),
                 *key = get(f, 0, "position_content/anova_key");
    /* Its queries and keys do not vary but for float32 norms */
    assert_near(positional[back], 1.0, 1e-3);
    assert_near(distance[back], 1.0, 1e-3);
    assert_near(get(f, 0, "position_content/kl_means")[back], 0.0, 1e-3);
    assert_near(get(f, 0, "position_content/top_means")[back], 1.0, 0.0);
    assert_near(get(f, 0, "position_content/kl_permuted_position")[back], 0.0, 1e-3);
    assert_true(get(f, 0, "position_content/kl_permuted_content")[back] > 3.0);
    assert_true(get(f, 0, "position_content/kl_unrotated")[back] > 2.0); /* uniform: log of the number of keys */
    assert_true(get(f, 0, "position_content/kl_shift_1")[back] > 1.0);
    assert_true(symbolic[back] < 0.0); /* the mass never moves with a block */
    /* theta T = 0.02 in its pair: what is left of position */
    assert_near(symbolic[class], 1.0, 1e-2);
    assert_near(pair[class * F + slow], 1.0, 1e-2);
    assert_near(key[class], 1.0, 1e-2);
    assert_near(get(f, 0, "position_content/kl_unrotated")[class], 0.0, 1e-2);
    assert_near(get(f, 0, "position_content/kl_shift_16")[class], 0.0, 1e-2);
    assert_near(get(f, 0, "position_content/kl_permuted_content")[class], 0.0, 1e-2);
    assert_true(get(f, 0, "position_content/kl_permuted_position")[class] > 1.0);
    assert_true(get(f, 0, "position_content/kl_means")[class] > 0.5);
    assert_true(positional[class] < 0.5);
}

static void contributions_are_where_they_were_planted(void **state) {
    const found *f = *state;
    static const char *const NAME[] = {"contribution/kl_zero", "contribution/kl_scale", "contribution/kl_unrotate",
                                       "contribution/variance", "contribution/kl_zero_predicted"};
    static const struct {
        int head, from, to; /* pairs that the head uses */
    } USED[] = {{PLANTED_PREVIOUS, 0, PLANTED_FAST},
                {PLANTED_CONTENT, PLANTED_SLOW_PAIR, F},
                {PLANTED_SINK, PLANTED_SINK_PAIR, PLANTED_SINK_PAIR + 1},
                {PLANTED_HALF, 0, PLANTED_USED_PAIRS}};
    for (size_t i = 0; i < sizeof NAME / sizeof NAME[0]; i++) {
        for (size_t u = 0; u < sizeof USED / sizeof USED[0]; u++) {
            for (int p = 0; p < F; p++) {
                double value = get(f, 0, NAME[i])[USED[u].head * F + p];
                if (p >= USED[u].from && p < USED[u].to) {
                    assert_true(value > 0.0);
                } else {
                    assert_near(value, 0.0, 0.0); /* rows of zeros: exactly nothing */
                }
            }
        }
    }
    const int sink = PLANTED_SINK * F + PLANTED_SINK_PAIR;
    assert_near(get(f, 0, "contribution/sink_logit_centred")[sink], 12.0, 0.1); /* all others stand at e^-12 */
    assert_true(get(f, 0, "contribution/kl_zero")[sink] > 2.0);                 /* uniform without it */
    const double *agreement = get(f, 0, "contribution/agreement_5_percent"),
                 *chance = get(f, 0, "contribution/agreement_5_percent_chance");
    assert_near(agreement[PLANTED_CONTENT * F + PLANTED_SLOW_PAIR], 1.0, 1e-9); /* the pair is the whole logit */
    assert_near(agreement[PLANTED_CONTENT * F], chance[PLANTED_CONTENT], 1e-9); /* a pair of zeros draws by lot */
}

/* Components of pairs that were left at zero are of no use; those that a head works with are. */
static void utility_is_where_it_was_planted(void **state) {
    found *f = *state;
    const double *u = get(f, 0, "utility/pair");
    /* Its logits are so far apart that a part of the query is enough; without any of it nothing is left. */
    assert_true(u[PLANTED_CONTENT * F + PLANTED_SLOW_PAIR] > 0.1);
    for (int p = 0; p < F; p++) {
        assert_true(p == PLANTED_SLOW_PAIR || u[PLANTED_CONTENT * F + p] < 1e-6);
        assert_true(p < PLANTED_USED_PAIRS || u[PLANTED_HALF * F + p] < 1e-6);
        assert_true(p < PLANTED_FAST || u[PLANTED_PREVIOUS * F + p] < 1e-6);
    }
}

static void stability_is_what_was_planted(void **state) {
    const found *f = *state;
    /* The class is preferred at every distance; tokens of one class tie up to float32 and may turn. */
    assert_true(get(f, 0, "stability/semantic_stability_exact")[PLANTED_CONTENT] > 0.9);
    assert_near(get(f, 0, "stability/fast_share")[PLANTED_CONTENT], 0.0, 0.0);
    assert_near(get(f, 0, "stability/fast_share")[PLANTED_PREVIOUS], 1.0, 0.0);
    assert_true(get(f, 0, "stability/positional_sensitivity")[PLANTED_PREVIOUS] >
                1000.0 * get(f, 0, "stability/positional_sensitivity")[PLANTED_CONTENT]);
}

/* What was planted stands out in its own head only. */
static void nothing_else_is_found(void **state) {
    const found *f = *state;
    for (int l = 0; l < PLANTED_LAYERS; l++) {
        for (int h = 0; h < H; h++) {
            bool previous = l == 0 && h == PLANTED_PREVIOUS, sink = l == 0 && h == PLANTED_SINK;
            assert_true(previous || get(f, l, "attention_pattern/previous")[h] < 0.15);
            assert_true(sink || get(f, l, "attention_pattern/first")[h] < 0.3);
            assert_true(get(f, l, "attention_pattern/diagonal")[h] < 0.15);
        }
    }
}

/* --- random weights
 * ----------------------------------------------------------------------------------------------------------------------
 */

static void check_random(const found *f, int layer) {
    const double *share[2] = {get(f, layer, "frequency_norm/q_share"), get(f, layer, "frequency_norm/k_share")};
    const double *zero = get(f, layer, "moments/zero_cost"), *unrotate = get(f, layer, "moments/unrotate_cost");
    for (int h = 0; h < H; h++) {
        check_no_verdict(f, layer, h);
        assert_true(get(f, layer, "attention_pattern/previous")[h] < 0.15);
        assert_true(get(f, layer, "attention_pattern/first")[h] < 0.3);
        assert_true(get(f, layer, "attention_pattern/diagonal")[h] < 0.15);
        for (int p = 0; p < F; p++) { /* no band: all pairs are used about alike */
            assert_true(share[0][h * F + p] > 0.5 / F && share[0][h * F + p] < 2.0 / F);
            assert_true(share[1][h * F + p] > 0.5 / F && share[1][h * F + p] < 2.0 / F);
            assert_true(zero[h * F + p] < 0.5);
        }
        /* random content: un-rotating a fast pair is worse than zeroing it, a slow one costs nothing even here */
        assert_true(unrotate[h * F] > zero[h * F]);
        assert_true(unrotate[h * F + F - 1] < 0.01 * zero[h * F + F - 1]);
    }
}

static void random_layer_shows_nothing(void **state) { check_random(*state, 1); }

static void control_model_shows_nothing(void **unused) {
    (void)unused;
    found f;
    audit("control", &f);
    for (int l = 0; l < PLANTED_LAYERS; l++) {
        check_random(&f, l);
    }
    drop(&f);
}

/* --- one audit for all
 * ---------------------------------------------------------------------------------------------------------------------
 */

static int setup(void **state) {
    static found f;
    audit("planted", &f);
    *state = &f;
    return 0;
}

static int teardown(void **state) {
    drop(*state);
    return 0;
}

int main(void) {
    rs_test_device_or_skip();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(previous_token_head_is_found),
        cmocka_unit_test(content_head_is_found),
        cmocka_unit_test(sink_head_is_found),
        cmocka_unit_test(ignored_pairs_are_found),
        cmocka_unit_test(verdicts_are_right),
        cmocka_unit_test(nothing_else_is_found),
        cmocka_unit_test(random_layer_shows_nothing),
        cmocka_unit_test(control_model_shows_nothing),
        cmocka_unit_test(position_and_content_are_told_apart),
        cmocka_unit_test(contributions_are_where_they_were_planted),
        cmocka_unit_test(utility_is_where_it_was_planted),
        cmocka_unit_test(stability_is_what_was_planted),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
