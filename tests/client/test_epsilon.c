/* epsilon: what the ledger says was spent, what a policy then allows, and that
 * nobody takes noise out of the chain. */
#include "tests/check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "client/ledger.h"
#include "common/base/codes.h"

enum { NOW = 1700000000 };

static char dir[256];
static struct db db;

static int begin(void **state)
{
    char path[300];
    (void)state;
    check_tmpdir(dir);
    snprintf(path, sizeof path, "%s/tacit.db", dir);
    check_ok(
        db_open(&db, path, DB_CREATE, ledger_migrations, LEDGER_N_MIGRATIONS));
    return 0;
}

static int end(void **state)
{
    (void)state;
    db_close(&db);
    check_tmpdir_remove(dir);
    return 0;
}

static const struct digest ours = {.b = {1}}, other = {.b = {2}};

static void debit(const struct digest *plan, double noise, int64_t time_s)
{
    struct ledger_row r = {.time_s = time_s,
                           .plan = "risk",
                           .plan_hash = *plan,
                           .clip = 1,
                           .noise = noise,
                           .sample = noise > 0 ? 0.2 : 0,
                           .delta = noise > 0 ? 1e-5 : 0};
    check_ok(ledger_debit(&db, &r));
}

static struct policy_epsilon spent(void)
{
    struct policy_epsilon e;
    check_ok(ledger_epsilon(&db, NOW, &ours, &e));
    return e;
}

static void an_empty_ledger_has_spent_nothing(void **state)
{
    (void)state;
    struct policy_epsilon e = spent();
    check_near(account_epsilon(&e.all, 1e-5), 0, 0);
    check(!e.uploads && !e.noised && !e.open);
}

static void what_left_adds_up_by_plan_day_and_noise(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) debit(&ours, 1.1, NOW - 2 * POLICY_DAY_S);
    debit(&ours, 0, NOW - 60);
    for (int i = 0; i < 3; i++) debit(&other, 2, NOW - 60);
    for (int i = 0; i < 4; i++) debit(&ours, 1.1, NOW - 30);
    struct policy_epsilon e = spent();
    struct account all = {{0}}, today = {{0}};
    account_add(&all, 0.2, 1.1, 9);
    account_add(&all, 0.2, 2, 3);
    account_add(&today, 0.2, 1.1, 4);
    account_add(&today, 0.2, 2, 3);
    check_near(account_epsilon(&e.all, 1e-5), account_epsilon(&all, 1e-5),
               1e-9);
    check_near(account_epsilon(&e.today, 1e-6), account_epsilon(&today, 1e-6),
               1e-9);
    assert_int_equal(e.uploads, 9);
    assert_int_equal(e.noised, 12);
    assert_int_equal(e.open, 1);
}

static void noise_that_is_changed_or_removed_breaks_the_chain(void **state)
{
    (void)state;
    static const char *const changes[] = {
        "UPDATE ledger_noise SET noise = 9 WHERE id = 2",
        "UPDATE ledger_noise SET sample = 0.1 WHERE id = 2",
        "UPDATE ledger_noise SET delta = 0.1 WHERE id = 2",
        "UPDATE ledger_noise SET noise = 0 WHERE id = 2",
        "DELETE FROM ledger_noise WHERE id = 2",
        "INSERT INTO ledger_noise VALUES(3, 5, 0.2, 1e-5)"};
    struct policy_epsilon e;
    debit(&ours, 1.1, NOW);
    debit(&ours, 1.1, NOW);
    debit(&ours, 0, NOW);
    for (size_t i = 0; i < 6; i++) {
        uint64_t bad = 0;
        check_ok(db_begin(&db));
        check_ok(db_run(&db, changes[i], ""));
        check_ok(ledger_walk(&db, NULL, NULL, &bad));
        assert_int_equal(bad, i == 5 ? 3 : 2);
        check_code(ledger_epsilon(&db, NOW, &ours, &e), E_LEDGER_BROKEN);
        db_rollback(&db);
    }
    check_ok(ledger_epsilon(&db, NOW, &ours, &e));
}

/* ---- the policy ---------------------------------------------------------- */

static struct policy policy_of(const char *text)
{
    struct policy p;
    check_ok(policy_parse("p.yaml", text, strlen(text), &p));
    return p;
}

static void refused(const char *text)
{
    struct policy p;
    if (policy_parse("p.yaml", text, strlen(text), &p) == TACIT_OK)
        fail_msg("taken: %s", text);
    check(err_id() == E_YAML_VALUE);
    err_clear();
}

static void the_block_is_read_and_bounded(void **state)
{
    (void)state;
    struct policy p = policy_of("privacy: {epsilon_max: 3, delta: 1e-6,\n"
                                "  epsilon_per_day: 0.5}\n");
    check_near(p.epsilon_max, 3, 0);
    check_near(p.epsilon_per_day, 0.5, 0);
    check_near(p.delta, 1e-6, 0);
    p = policy_of("min_cohort: 3\n");
    check_near(p.epsilon_max, 0, 0);
    check_near(p.delta, 1e-5, 0);
    refused("privacy: {delta: 1e-6}\n");
    refused("privacy: {epsilon_max: 0}\n");
    refused("privacy: {epsilon_max: -1}\n");
    refused("privacy: {epsilon_max: .nan}\n");
    refused("privacy: {epsilon_max: 1, delta: 0.5}\n");
    refused("privacy: {epsilon_max: 1, epsilon_per_day: 0}\n");
}

static const struct plan plan = {
    .name = "risk",
    .task = PLAN_CLASSIFY,
    .source = "patients",
    .clip = 1,
    .privacy = {.record = 1, .epsilon = 8, .delta = 1e-5, .sample = 0.2}};
static const struct task_privacy asked = {.record = 1,
                                          .uploads = 10,
                                          .noise = 2};

static void a_plan_without_noise_is_refused_under_a_bound(void **state)
{
    (void)state;
    struct policy p = policy_of("privacy: {epsilon_max: 3}\n"
                                "data: [{source: patients, file: /p.csv}]\n");
    const struct policy_spent none = {0, 0};
    struct plan without = plan;
    check_ok(policy_allow(&p, &plan, 3, &none, 0));
    without.privacy.record = 0;
    check_code(policy_allow(&p, &without, 3, &none, 0), E_POLICY_REFUSED);
    p = policy_of("data: [{source: patients, file: /p.csv}]\n");
    check_ok(policy_allow(&p, &without, 3, &none, 0));
}

/* Spend until the site's bound: what it refuses would have been over it. */
static void updates_leave_until_the_sites_epsilon_is_spent(void **state)
{
    (void)state;
    struct policy p = policy_of("privacy: {epsilon_max: 3}\n");
    unsigned n = 0;
    for (;;) {
        struct policy_epsilon e = spent();
        e.uploads = 0;
        enum tacit_err err = policy_allow_private(&p, &plan, &asked, &e);
        if (err) {
            check_code(err, E_EPSILON_SPENT);
            break;
        }
        debit(&ours, asked.noise, NOW - 3 * POLICY_DAY_S);
        check(++n < 1000);
    }
    check(n > 2);
    check(account_epsilon_of(0.2, 2, n, 1e-5) <= 3);
    check(account_epsilon_of(0.2, 2, n + 1, 1e-5) > 3);
}

static void a_day_has_a_bound_of_its_own(void **state)
{
    (void)state;
    struct policy p =
        policy_of("privacy: {epsilon_max: 100, epsilon_per_day: 2}\n");
    for (int i = 0; i < 30; i++) debit(&other, 2, NOW - 60);
    struct policy_epsilon e = spent();
    enum tacit_err err = policy_allow_private(&p, &plan, &asked, &e);
    check(strstr(err_message(), "within 24 hours") != NULL);
    check(strstr(err_message(), "unit record") != NULL);
    check_code(err, E_EPSILON_SPENT);
    check_ok(ledger_epsilon(&db, NOW + POLICY_DAY_S, &ours, &e));
    check_ok(policy_allow_private(&p, &plan, &asked, &e));
}

/* What the plan promised holds for so many updates, whatever the site allows:
 * rounds that are tried again count. */
static void a_plan_gets_no_more_updates_than_its_epsilon_is_for(void **state)
{
    (void)state;
    struct policy p = policy_of("min_cohort: 3\n");
    for (int i = 0; i < 9; i++) debit(&ours, 1.1, NOW);
    struct policy_epsilon e = spent();
    check_ok(policy_allow_private(&p, &plan, &asked, &e));
    debit(&ours, 1.1, NOW);
    e = spent();
    check_code(policy_allow_private(&p, &plan, &asked, &e), E_EPSILON_SPENT);
}

#define FRESH(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FRESH(an_empty_ledger_has_spent_nothing),
        FRESH(what_left_adds_up_by_plan_day_and_noise),
        FRESH(noise_that_is_changed_or_removed_breaks_the_chain),
        cmocka_unit_test(the_block_is_read_and_bounded),
        cmocka_unit_test(a_plan_without_noise_is_refused_under_a_bound),
        FRESH(updates_leave_until_the_sites_epsilon_is_spent),
        FRESH(a_day_has_a_bound_of_its_own),
        FRESH(a_plan_gets_no_more_updates_than_its_epsilon_is_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
