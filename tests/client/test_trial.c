/* trial: an adopted search model is tried on the device's own held-out
 * questions, and searches only where nothing finds more of them. */
#include "tests/client/trials.h"

#include <stdlib.h>

#include "client/trial.h"

static void check_searches(struct device *d, const float *want)
{
    float *w = NULL;
    check_ok(device_adapter(d, DIM, &w));
    check((w != NULL) == (want != NULL));
    for (size_t i = 0; want && i < N_WEIGHTS; i++)
        check_near(w[i], (double)want[i], 0);
    free(w);
}

static void check_trial(struct device *d, const struct plan *p, int64_t shared,
                        int64_t own, enum trial_choice choice)
{
    struct trial t;
    check_ok(trial_find(d, &p->hash, &t));
    assert_int_equal(t.n_rows, N_ROWS);
    assert_int_equal(t.hits[TRIAL_UNTRAINED], 0);
    assert_int_equal(t.hits[TRIAL_SHARED], shared);
    assert_int_equal(t.hits[TRIAL_OWN], own);
    check(trial_choose(&t) == choice);
}

static void what_finds_the_most_held_out_answers_searches(void **state)
{
    (void)state;
    struct device d;
    struct held h;
    float low[N_WEIGHTS], high[N_WEIGHTS];
    make_held(&h);
    shift(low, 2);
    shift(high, 5);
    check_ok(device_open(&d, home));
    struct plan *p = plan_of(&d, "finetune");
    adopt(&d, p, 1, low, high);
    check_ok(trial_hold(&d, p, &h.rows));
    check_trial(&d, p, 2, 5, TRIAL_OWN);
    check_searches(&d, high);
    adopt(&d, p, 2, high, low);
    check_ok(trial_hold(&d, p, &h.rows));
    check_trial(&d, p, 5, 2, TRIAL_SHARED);
    check_searches(&d, high);
    adopt(&d, p, 3, low, low);
    check_ok(trial_hold(&d, p, &h.rows));
    check_trial(&d, p, 2, 2, TRIAL_OWN);
    plan_free(p);
    device_close(&d);
}

/* Passages that are the questions themselves, so that the untrained encoder
 * finds all, and an adapter that turns away from some. */
static void a_model_that_finds_fewer_than_none_does_not_search(void **state)
{
    (void)state;
    struct device d;
    struct held h;
    struct trial t;
    float w[N_WEIGHTS] = {0};
    make_held(&h);
    for (uint32_t i = 0; i < N_ROWS; i++) h.row_group[i] = i;
    w[0] = -2;
    check_ok(device_open(&d, home));
    struct plan *p = plan_of(&d, "fedavg");
    adopt(&d, p, 1, w, NULL);
    check_searches(&d, w);
    check_ok(trial_hold(&d, p, &h.rows));
    check_ok(trial_find(&d, &p->hash, &t));
    assert_int_equal(t.hits[TRIAL_UNTRAINED], N_ROWS);
    assert_int_equal(t.hits[TRIAL_SHARED], N_ROWS - 1);
    assert_int_equal(t.hits[TRIAL_OWN], -1);
    check(trial_choose(&t) == TRIAL_UNTRAINED);
    check_searches(&d, NULL);
    device_close(&d);
    check_ok(device_open(&d, home));
    check_searches(&d, NULL);
    /* The next version stands on its own trial; of equals it searches. */
    w[0] = 2;
    adopt(&d, p, 2, w, NULL);
    check_searches(&d, w);
    check_ok(trial_hold(&d, p, &h.rows));
    check_ok(trial_find(&d, &p->hash, &t));
    check(trial_choose(&t) == TRIAL_SHARED);
    check_searches(&d, w);
    plan_free(p);
    device_close(&d);
}

static void without_held_out_rows_nothing_is_tried(void **state)
{
    (void)state;
    struct device d;
    struct trial t;
    float w[N_WEIGHTS];
    shift(w, 3);
    check_ok(device_open(&d, home));
    struct plan *p = plan_of(&d, "fedavg");
    adopt(&d, p, 1, w, NULL);
    check_ok(trial_hold(&d, p, &(struct examples){.x_dim = DIM}));
    check_ok(trial_find(&d, &p->hash, &t));
    assert_int_equal(t.n_rows, 0);
    check(trial_choose(&t) == TRIAL_OWN);
    check_searches(&d, w);
    plan_free(p);
    device_close(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            what_finds_the_most_held_out_answers_searches, home_begin,
            home_end),
        cmocka_unit_test_setup_teardown(
            a_model_that_finds_fewer_than_none_does_not_search, home_begin,
            home_end),
        cmocka_unit_test_setup_teardown(without_held_out_rows_nothing_is_tried,
                                        home_begin, home_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
