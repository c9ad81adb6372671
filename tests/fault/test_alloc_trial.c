/* Out of memory while an adopted search model is tried: the trial is held whole
 * or not at all. */
#include "tests/client/trials.h"

#include "client/trial.h"
#include "tests/fault/exhaust.h"

static struct plan *plan;
static struct held held;

static enum tacit_err hold_and_find(struct device *d)
{
    struct trial t = {0};
    TRY(db_run(&d->db, "DELETE FROM trial", ""));
    enum tacit_err err = trial_hold(d, plan, &held.rows);
    enum tacit_err late = trial_find(d, &plan->hash, &t);
    if (!late) check(t.n_rows == (err ? 0 : N_ROWS));
    if (!late && !err)
        check(t.hits[TRIAL_SHARED] == 2 && t.hits[TRIAL_OWN] == 5);
    return err ? err : late;
}

/* With its connection, which gives back what it keeps when it is closed. */
static enum tacit_err run_trial(void)
{
    struct device d;
    TRY(device_open(&d, home));
    enum tacit_err err = hold_and_find(&d);
    device_close(&d);
    return err;
}

static void a_trial_is_out_of_memory(void **state)
{
    (void)state;
    struct device d;
    float shared[N_WEIGHTS], own[N_WEIGHTS];
    const struct store_source plain = {.kind = STORE_PLAIN};
    rng_setup();
    check_tmpdir(dir);
    snprintf(home, sizeof home, "%s/home", dir);
    check_ok(device_init_with(home, &plain, NULL));
    make_held(&held);
    shift(shared, 2);
    shift(own, 5);
    check_ok(device_open(&d, home));
    plan = plan_of(&d, "finetune");
    adopt(&d, plan, 1, shared, own);
    device_close(&d);
    exhaust("trial", MAY_SAY_LESS, run_trial); /* weights: jansson */
    plan_free(plan);
    check_tmpdir_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_trial_is_out_of_memory),
    };
#ifdef __SANITIZE_THREAD__
    puts("memory cannot be made to run out under TSan");
    return 77;
#endif
    return cmocka_run_group_tests(tests, failing_begin, NULL);
}
