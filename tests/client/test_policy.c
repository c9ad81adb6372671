/* policy: what stands in the file is what holds, what does not fit is named
 * with its line, and every rule refuses by its own name. */
#include "tests/check.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/policy.h"
#include "common/base/codes.h"
#include "common/base/file.h"

static struct policy read_policy(const char *text)
{
    struct policy p;
    memset(&p, 0xff, sizeof p);
    check_ok(policy_parse("p.yaml", text, strlen(text), &p));
    return p;
}

static void check_refused(const char *text, unsigned id, const char *message)
{
    struct policy p, before;
    memset(&p, 0x5a, sizeof p);
    before = p;
    enum tacit_err err = policy_parse("p.yaml", text, strlen(text), &p);
    if (!err) fail_msg("taken as a policy: %s", text);
    assert_string_equal(err_message(), message);
    check_code(err, id);
    check(memcmp(&p, &before, sizeof p) == 0);
}

/* ---- the file ------------------------------------------------------------ */

static void the_default_file_is_a_policy(void **state)
{
    (void)state;
    struct policy p = read_policy(policy_default);
    check(p.tasks >> PLAN_CLASSIFY & 1);
    check(p.tasks >> PLAN_REGRESS & 1);
    check(p.tasks >> PLAN_RETRIEVER & 1);
    assert_int_equal(p.n_sources, 0);
    assert_int_equal(p.min_cohort, 3);
    check_near(p.clip_max, 10, 0);
    assert_int_equal(p.updates, 1000);
    assert_int_equal(p.updates_per_day, 500);
    assert_int_equal(p.from_minute, p.to_minute);
}

static void what_is_left_out_has_the_default(void **state)
{
    (void)state;
    struct policy p = read_policy("min_cohort: 5\n");
    assert_int_equal(p.min_cohort, 5);
    check(p.tasks >> PLAN_CLASSIFY & 1);
    check_near(p.clip_max, 10, 0);
    assert_int_equal(p.updates, 1000);
    assert_int_equal(p.from_minute, p.to_minute);
    p = read_policy("budget: {updates: 7}\n");
    assert_int_equal(p.updates, 7);
    assert_int_equal(p.updates_per_day, 500);
    assert_int_equal(p.min_cohort, 3);
}

static void every_key_is_read(void **state)
{
    (void)state;
    struct policy p = read_policy("tasks: [regress]\n"
                                  "data:\n"
                                  "  - {source: patients, file: /a/b.csv}\n"
                                  "  - source: stays\n"
                                  "    file: /c d.csv\n"
                                  "min_cohort: 128\n"
                                  "clip_max: 0.25\n"
                                  "memory_mib: 300\n"
                                  "adapter_rank_max: 512\n"
                                  "budget: {updates: 0, updates_per_day: 9}\n"
                                  "hours: \"20:30-06:05\"\n");
    assert_int_equal(p.tasks, 1U << PLAN_REGRESS);
    assert_int_equal(p.n_sources, 2);
    assert_string_equal(policy_path(&p, "patients"), "/a/b.csv");
    assert_string_equal(policy_path(&p, "stays"), "/c d.csv");
    check(policy_path(&p, "patient") == NULL);
    check(policy_path(&p, "") == NULL);
    assert_int_equal(p.min_cohort, 128);
    check_near(p.clip_max, 0.25, 0);
    assert_int_equal(p.memory_mib, 300);
    assert_int_equal(p.adapter_rank_max, 512);
    assert_int_equal(p.updates, 0);
    assert_int_equal(p.updates_per_day, 9);
    assert_int_equal(p.from_minute, 20 * 60 + 30);
    assert_int_equal(p.to_minute, 6 * 60 + 5);
}

/* It once read as "left out", which allows all of them. */
static void an_empty_list_of_tasks_never_means_every_task(void **state)
{
    (void)state;
    static const char message[] =
        "p.yaml:2: tasks: too few entries (0, the limit is 1)";
    check_refused("min_cohort: 3\ntasks: []\n", E_YAML_VALUE, message);
    check_refused("{min_cohort: 3,\ntasks: []}\n", E_YAML_VALUE, message);
    check_refused("min_cohort: 3\n\"tasks\": []\n", E_YAML_VALUE, message);
    static const char *const empty[] = {"tasks:\n", "tasks: ~\n",
                                        "tasks: \"\"\n", "tasks: {}\n"};
    for (size_t i = 0; i < sizeof empty / sizeof *empty; i++)
        check_refused(empty[i], E_YAML_VALUE,
                      "p.yaml:1: tasks: a list in [ ] belongs here");
}

static void an_unknown_key_names_its_line_and_the_nearest(void **state)
{
    (void)state;
    check_refused("tasks: [classify]\nmin_cohorts: 3\n", E_YAML_KEY,
                  "p.yaml:2: unknown key \"min_cohorts\"; did you mean "
                  "\"min_cohort\"?");
    check_refused("clip_max: 1\n\nnoise: 3\n", E_YAML_KEY,
                  "p.yaml:3: unknown key \"noise\"");
    check_refused("budget:\n  updates: 3\n  updates_a_day: 4\n", E_YAML_KEY,
                  "p.yaml:3: unknown key \"updates_a_day\"; did you mean "
                  "\"updates_per_day\"?");
    check_refused("min_cohort: 3\nmin_cohort: 2\n", E_YAML_KEY,
                  "p.yaml:2: the key \"min_cohort\" stands twice");
    check_refused("data:\n  - {source: patients}\n", E_YAML_KEY,
                  "p.yaml:2: the key \"file\" is missing in data[1]");
    /* There is no way around secure aggregation. */
    check_refused("secagg: off\n", E_YAML_KEY,
                  "p.yaml:1: unknown key \"secagg\"");
}

static void a_value_that_cannot_hold_names_its_line_and_key(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"tasks: [classify, cluster]\n",
         "p.yaml:1: tasks: there are classify, regress, cox, lm, retriever "
         "and reader"},
        {"tasks: classify\n", "p.yaml:1: tasks: a list in [ ] belongs here"},
        {"min_cohort: 1\n",
         "p.yaml:1: min_cohort: 2 to 128; an update is never alone"},
        {"min_cohort: 129\n",
         "p.yaml:1: min_cohort: 2 to 128; an update is never alone"},
        {"min_cohort: -3\n",
         "p.yaml:1: min_cohort: 2 to 128; an update is never alone"},
        {"min_cohort: 4294967299\n",
         "p.yaml:1: min_cohort: 2 to 128; an update is never alone"},
        {"min_cohort: three\n", "p.yaml:1: min_cohort: not a whole number"},
        {"min_cohort: 3.5\n", "p.yaml:1: min_cohort: not a whole number"},
        {"memory_mib: 0\n", "p.yaml:1: memory_mib: 1 to 1048576"},
        {"memory_mib: 1048577\n", "p.yaml:1: memory_mib: 1 to 1048576"},
        {"adapter_rank_max: 0\n", "p.yaml:1: adapter_rank_max: 1 to 512"},
        {"adapter_rank_max: 513\n", "p.yaml:1: adapter_rank_max: 1 to 512"},
        {"# all\nclip_max: 0\n", "p.yaml:2: clip_max: a number above 0"},
        {"clip_max: -1\n", "p.yaml:1: clip_max: a number above 0"},
        {"clip_max: .nan\n", "p.yaml:1: clip_max: not a number"},
        {"clip_max: .inf\n", "p.yaml:1: clip_max: not a number"},
        {"min_cohort: 3\nbudget: {updates: -1}\n",
         "p.yaml:2: budget.updates: 0 or more"},
        {"budget:\n  updates: 3\n  updates_per_day: -9\n",
         "p.yaml:3: budget.updates_per_day: 0 or more"},
        {"budget: {updates: many}\n",
         "p.yaml:1: budget.updates: not a whole number"},
        {"data:\n  - {source: a, file: b.csv}\n",
         "p.yaml:1: data: a file must be a full path, from /"},
        {"data:\n  - {source: a, file: \"\"}\n",
         "p.yaml:1: data: a file must be a full path, from /"},
        {"data:\n  - {source: a, file: /b}\n  - {source: a, file: /c}\n",
         "p.yaml:1: data: a source is named twice"},
        {"data: {patients: /a.csv}\n",
         "p.yaml:1: data: a list in [ ] belongs here"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_refused(cases[i].text, E_YAML_VALUE, cases[i].message);
}

static void hours_are_a_span_of_two_times(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "20",           "20:00",        "20-06",
        "20:00-06",     "20:00-06:0x",  "25:00-06:00",
        "20:60-06:00",  "20:00-24:30",  "24:01-06:00",
        "-1:00-06:00",  "20:00-06:00 ", "20:00 - 06:00",
        "20:00,06:00",  "+8:00-+9:000", "",
        "8:-1-9:00",    "a20:00-6:00",  "20:00--6:00",
        "20:0 0-06:00", "1.5:00-06:00"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[64];
        snprintf(text, sizeof text, "min_cohort: 3\nhours: \"%s\"\n", bad[i]);
        check_refused(text, E_YAML_VALUE,
                      "p.yaml:2: hours: write a span like \"20:00-06:00\"");
    }
    struct policy p = read_policy("hours: \"00:00-24:00\"\n");
    assert_int_equal(p.from_minute, p.to_minute);
    p = read_policy("hours: \"18:00-24:00\"\n");
    assert_int_equal(p.from_minute, 18 * 60);
    assert_int_equal(p.to_minute, 0);
    p = read_policy("hours: \"8:05-9:30\"\n");
    assert_int_equal(p.from_minute, 8 * 60 + 5);
}

/* Someone who writes this means never or always; neither is guessed. */
static void hours_that_end_where_they_begin_are_refused(void **state)
{
    (void)state;
    static const char message[] =
        "p.yaml:1: hours: the span ends where it begins; leave hours out for "
        "always, or write budget: {updates: 0} for never";
    check_refused("hours: \"08:00-08:00\"\n", E_YAML_VALUE, message);
    check_refused("hours: \"00:00-00:00\"\n", E_YAML_VALUE, message);
    check_refused("hours: \"24:00-00:00\"\n", E_YAML_VALUE, message);
}

static void a_list_over_its_limit_is_refused(void **state)
{
    (void)state;
    char text[8192] = "data:\n";
    size_t n = strlen(text);
    for (int i = 0; i < POLICY_SOURCES_MAX; i++)
        n += (size_t)snprintf(text + n, sizeof text - n,
                              "  - {source: s%d, file: /f%d}\n", i, i);
    struct policy p = read_policy(text);
    assert_int_equal(p.n_sources, POLICY_SOURCES_MAX);
    assert_string_equal(policy_path(&p, "s31"), "/f31");
    snprintf(text + n, sizeof text - n, "  - {source: more, file: /more}\n");
    check_refused(text, E_YAML_VALUE, "p.yaml:34: data[32]: too many entries");
}

static void names_and_paths_fit_to_the_last_byte_and_no_further(void **state)
{
    (void)state;
    char name[PLAN_NAME_MAX + 1], path[POLICY_PATH_MAX + 1], text[1200];
    struct policy p;
    memset(name, 'n', sizeof name);
    memset(path, 'p', sizeof path);
    path[0] = '/';
    for (int over = 0; over < 2; over++) {
        snprintf(text, sizeof text, "data: [{source: %.*s, file: /p}]\n",
                 PLAN_NAME_MAX - 1 + over, name);
        enum tacit_err err = policy_parse("p.yaml", text, strlen(text), &p);
        if (over)
            check_code(err, E_YAML_VALUE);
        else
            check_ok(err);
        snprintf(text, sizeof text, "data: [{source: s, file: %.*s}]\n",
                 POLICY_PATH_MAX - 1 + over, path);
        err = policy_parse("p.yaml", text, strlen(text), &p);
        if (over)
            check_code(err, E_YAML_VALUE);
        else
            check_ok(err);
    }
    assert_int_equal(strlen(policy_path(&p, "s")), POLICY_PATH_MAX - 1);
}

static void a_file_is_read_or_says_why_not(void **state)
{
    (void)state;
    static char big[80 << 10];
    char dir[256], path[300];
    struct policy p;
    check_tmpdir(dir);
    snprintf(path, sizeof path, "%s/policy.yaml", dir);
    enum tacit_err err = policy_load(path, &p);
    check(strstr(err_message(), path) != NULL);
    check_err(err, TACIT_NOTFOUND);
    check_err(policy_load(dir, &p), TACIT_UNSUPPORTED);

    check_ok(file_write(path, policy_default, strlen(policy_default), 0600));
    check_ok(policy_load(path, &p));
    assert_int_equal(p.min_cohort, 3);
    if (geteuid() != 0) { /* root may read anything */
        check_ok(file_write(path, "min_cohort: 3\n", 14, 0));
        check_err(policy_load(path, &p), TACIT_IO);
    }
    check_ok(file_write(path, "min_cohort: 1\n", 14, 0600));
    err = policy_load(path, &p);
    check(strstr(err_message(), path) != NULL);
    check_code(err, E_YAML_VALUE);
    check_ok(file_write(path, "", 0, 0600));
    check_code(policy_load(path, &p), E_YAML_SYNTAX);
    check_ok(file_write(path, "tasks: [\n", 9, 0600));
    check_code(policy_load(path, &p), E_YAML_SYNTAX);

    memset(big, '#', sizeof big);
    check_ok(file_write(path, big, sizeof big, 0600));
    check_err(policy_load(path, &p), TACIT_LIMIT);
    check_tmpdir_remove(dir);
}

/* ---- the rules ----------------------------------------------------------- */

static const char site[] = "tasks: [classify, retriever]\n"
                           "data: [{source: patients, file: /p.csv}]\n"
                           "min_cohort: 4\n"
                           "clip_max: 2.5\n"
                           "budget: {updates: 10, updates_per_day: 3}\n"
                           "hours: \"20:00-06:00\"\n";

static void the_tighter_bound_of_memory_holds(void **state)
{
    static const struct {
        uint32_t policy, plan, both;
    } cases[] = {{0, 0, 0},
                 {0, 300, 300},
                 {200, 0, 200},
                 {200, 300, 200},
                 {300, 200, 200}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct policy p = {.memory_mib = cases[i].policy};
        struct plan plan = {.base = {.name = "minilm"},
                            .memory_mib = cases[i].plan};
        assert_int_equal(policy_memory_mib(&p, &plan), cases[i].both);
        plan.base.name[0] = '\0'; /* nothing of it is for other plans */
        plan.memory_mib = 0;
        assert_int_equal(policy_memory_mib(&p, &plan), 0);
    }
}

/* A round that the site's policy allows; a test spoils one thing of it. */
struct asked {
    struct policy policy;
    struct plan plan;
    uint32_t u_min;
    struct policy_spent spent;
    int minute;
};

static struct asked allowed(void)
{
    return (struct asked){.policy = read_policy(site),
                          .plan = {.name = "risk",
                                   .task = PLAN_CLASSIFY,
                                   .source = "patients",
                                   .clip = 2.5},
                          .u_min = 4,
                          .spent = {9, 2},
                          .minute = 22 * 60};
}

static enum tacit_err ask(const struct asked *a)
{
    return policy_allow(&a->policy, &a->plan, a->u_min, &a->spent, a->minute);
}

static void check_no(const struct asked *a, unsigned id, const char *message)
{
    enum tacit_err err = ask(a);
    assert_string_equal(err_message(), message);
    check_code(err, id);
}

static void a_round_within_every_bound_is_allowed(void **state)
{
    (void)state;
    struct asked a = allowed();
    check_ok(ask(&a));
}

static void a_task_that_is_not_listed_is_refused(void **state)
{
    (void)state;
    struct asked a = allowed();
    a.plan.task = PLAN_REGRESS;
    check_no(&a, E_POLICY_REFUSED, "plan risk: tasks does not list regress");
    a.policy = read_policy("tasks: [regress]\n");
    a.plan.task = PLAN_RETRIEVER;
    check_no(&a, E_POLICY_REFUSED, "plan risk: tasks does not list retriever");
}

static void a_source_without_a_file_is_refused(void **state)
{
    (void)state;
    struct asked a = allowed();
    snprintf(a.plan.source, sizeof a.plan.source, "stays");
    check_no(&a, E_POLICY_REFUSED,
             "plan risk: data names no file for source \"stays\"");
    /* Feedback is enough for this one. */
    a.plan.task = PLAN_RETRIEVER;
    check_ok(ask(&a));
}

static void a_sum_of_too_few_is_refused(void **state)
{
    (void)state;
    struct asked a = allowed();
    a.u_min = 3;
    check_no(&a, E_POLICY_REFUSED,
             "plan risk adds up as few as 3 devices; min_cohort is 4");
}

static void pairs_over_the_sites_rank_are_refused_unless_they_may_be_narrower(
    void **state)
{
    (void)state;
    struct asked a = allowed();
    a.policy.adapter_rank_max = 4;
    check_ok(ask(&a)); /* it has no pairs */
    snprintf(a.plan.base.name, sizeof a.plan.base.name, "minilm");
    a.plan.base.rank = 4;
    check_ok(ask(&a));
    a.plan.base.rank = 5;
    for (int kind = PLAN_FFA; kind <= PLAN_FLORA; kind++) {
        a.plan.base.adapter = (enum plan_adapter)kind;
        if (kind == PLAN_FFA || kind == PLAN_LORA)
            check_no(&a, E_POLICY_REFUSED,
                     "plan risk trains pairs of rank 5; adapter_rank_max is "
                     "4, and only adapter.kind: flora may be trained at less");
        else
            check_ok(ask(&a));
    }
}

static void a_clip_over_the_sites_is_refused(void **state)
{
    (void)state;
    struct asked a = allowed();
    a.plan.clip = 2.5000001;
    check_no(&a, E_POLICY_REFUSED,
             "plan risk clips updates at 2.5; clip_max is 2.5");
    a.plan.clip = 40;
    check_no(&a, E_POLICY_REFUSED,
             "plan risk clips updates at 40; clip_max is 2.5");
}

static void a_spent_budget_has_its_own_code(void **state)
{
    (void)state;
    struct asked a = allowed();
    a.spent = (struct policy_spent){10, 0};
    check_no(&a, E_BUDGET_SPENT, "10 of 10 updates have left");
    a.spent = (struct policy_spent){9, 3};
    check_no(&a, E_BUDGET_SPENT, "3 of 3 updates have left within 24 hours");
    a.spent = (struct policy_spent){UINT64_MAX, UINT64_MAX};
    assert_int_equal(ask(&a), TACIT_LIMIT);
    assert_int_equal(err_exit(TACIT_LIMIT), TACIT_EXIT_BUDGET);
    err_clear();
    a.policy = read_policy("budget: {updates: 0}\n"
                           "data: [{source: patients, file: /p.csv}]\n");
    a.spent = (struct policy_spent){0, 0};
    check_no(&a, E_BUDGET_SPENT, "0 of 0 updates have left");
    a.policy.updates = a.spent.updates = 1;
    check_no(&a, E_BUDGET_SPENT, "1 of 1 update has left");
}

static void check_hours(const char *hours, int from, int to)
{
    char text[64];
    struct asked a = allowed();
    struct policy p;
    snprintf(text, sizeof text, "hours: \"%s\"\n", hours);
    p = read_policy(text);
    a.policy.from_minute = p.from_minute;
    a.policy.to_minute = p.to_minute;
    for (a.minute = 0; a.minute < 24 * 60; a.minute++) {
        int open = from < to ? a.minute >= from && a.minute < to
                             : a.minute >= from || a.minute < to;
        if (open)
            check_ok(ask(&a));
        else
            check_no(&a, E_POLICY_REFUSED, "plan risk: outside of the hours");
    }
}

static void hours_hold_in_every_minute_of_the_day(void **state)
{
    (void)state;
    check_hours("08:00-17:30", 8 * 60, 17 * 60 + 30);
    check_hours("20:00-06:00", 20 * 60, 6 * 60);
    check_hours("00:00-00:01", 0, 1);
    check_hours("23:59-24:00", 23 * 60 + 59, 24 * 60);
    check_hours("18:00-24:00", 18 * 60, 24 * 60);
    check_hours("24:00-07:00", 0, 7 * 60);
    check_hours("00:00-24:00", 0, 24 * 60);
    check_hours("00:01-00:00", 1, 24 * 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_default_file_is_a_policy),
        cmocka_unit_test(what_is_left_out_has_the_default),
        cmocka_unit_test(every_key_is_read),
        cmocka_unit_test(the_tighter_bound_of_memory_holds),
        cmocka_unit_test(an_empty_list_of_tasks_never_means_every_task),
        cmocka_unit_test(an_unknown_key_names_its_line_and_the_nearest),
        cmocka_unit_test(a_value_that_cannot_hold_names_its_line_and_key),
        cmocka_unit_test(hours_are_a_span_of_two_times),
        cmocka_unit_test(hours_that_end_where_they_begin_are_refused),
        cmocka_unit_test(a_list_over_its_limit_is_refused),
        cmocka_unit_test(names_and_paths_fit_to_the_last_byte_and_no_further),
        cmocka_unit_test(a_file_is_read_or_says_why_not),
        cmocka_unit_test(a_round_within_every_bound_is_allowed),
        cmocka_unit_test(a_task_that_is_not_listed_is_refused),
        cmocka_unit_test(a_source_without_a_file_is_refused),
        cmocka_unit_test(a_sum_of_too_few_is_refused),
        cmocka_unit_test(
            pairs_over_the_sites_rank_are_refused_unless_they_may_be_narrower),
        cmocka_unit_test(a_clip_over_the_sites_is_refused),
        cmocka_unit_test(a_spent_budget_has_its_own_code),
        cmocka_unit_test(hours_hold_in_every_minute_of_the_day),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
