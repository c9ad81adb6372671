/* task_privacy: epsilon, rounds and sample come to noise that keeps the promise
 * with as few honest devices as the plan allows. */
#include "tests/check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/privacy/accountant.h"
#include "common/privacy/dgauss.h"
#include "common/task/task.h"

static struct plan plan_of(void)
{
    return (struct plan){.name = "risk",
                         .rounds = 40,
                         .cohort_size = 6,
                         .min_reports = 5,
                         .over_select = 1,
                         .batch = 20,
                         .ring_bits = 32,
                         .privacy = {.record = 1,
                                     .epsilon = 8,
                                     .delta = 1e-5,
                                     .clip = 0.5,
                                     .sample = 0.2,
                                     .colluders = 1,
                                     .retries = 4}};
}

static enum tacit_err work_out(const struct plan *p, size_t n,
                               struct task_privacy *out)
{
    const struct strategy *s = NULL;
    struct ring_layout l;
    check_ok(strategy_find("fedavg", &s));
    task_layout(p, s, n, &l);
    return task_privacy(p, &l, out);
}

static void noise_keeps_to_epsilon_over_all_uploads(void **state)
{
    (void)state;
    struct plan p = plan_of();
    struct task_privacy v;
    check_ok(work_out(&p, 1000, &v));
    assert_int_equal(v.uploads, 44);
    check(v.epsilon <= 8 && v.epsilon > 7.98);
    check_near(account_epsilon_of(0.2, v.noise, 44, 1e-5), v.epsilon, 1e-12);
    p.rounds = 400;
    struct task_privacy more;
    check_ok(work_out(&p, 1000, &more));
    check(more.noise > v.noise);
}

/* min_reports devices, of which the colluders gave theirs away. */
static void the_honest_devices_alone_make_the_noise(void **state)
{
    (void)state;
    for (uint32_t colluders = 0; colluders < 5; colluders++) {
        struct plan p = plan_of();
        struct task_privacy v;
        p.privacy.colluders = colluders;
        check_ok(work_out(&p, 50000, &v));
        double all = (double)v.bounds.variance * (5 - colluders);
        double want = v.noise * v.bounds.unit;
        check(all >= want * want);
        check(all < want * want + 5);
    }
}

static void a_plan_without_privacy_has_none(void **state)
{
    (void)state;
    struct plan p = plan_of();
    struct task_privacy v;
    char text[TASK_PRIVACY_TEXT];
    p.privacy = (struct plan_privacy){0};
    check_ok(work_out(&p, 10, &v));
    check(!v.record && !v.uploads);
    task_privacy_text(&p, text);
    check(strstr(text, "epsilon is not bounded"));
}

static void the_text_names_unit_epsilon_delta_and_noise(void **state)
{
    (void)state;
    struct plan p = plan_of();
    char text[TASK_PRIVACY_TEXT];
    task_privacy_text(&p, text);
    check(strstr(text, "record-level"));
    check(strstr(text, "one training row"));
    check(strstr(text, "delta 1e-05"));
    check(strstr(text, "44 sums"));
    check(strstr(text, "noise "));
    check(!strstr(text, "not bounded"));
}

static void too_little_noise_is_refused_with_the_least(void **state)
{
    (void)state;
    struct plan p = plan_of();
    struct task_privacy v, least;
    check_ok(work_out(&p, 1000, &least));
    p.privacy.noise = least.noise - 0.01;
    check_code(work_out(&p, 1000, &v), E_PRIVACY_NOISE);
    p.privacy.noise = 3;
    check_ok(work_out(&p, 1000, &v));
    check_near(v.noise, 3, 0);
    check(v.epsilon < 3);
}

static void more_noise_than_there_may_be_is_refused(void **state)
{
    (void)state;
    struct plan p = plan_of();
    struct task_privacy v;
    p.rounds = 100000;
    p.privacy.sample = 1;
    p.privacy.epsilon = 0.01;
    check_code(work_out(&p, 1000, &v), E_PRIVACY_NOISE);
    /* Within the accountant's range, but not the ring's. */
    p = plan_of();
    p.privacy.noise = 100;
    p.min_reports = 2;
    check_code(work_out(&p, 100000000, &v), E_PRIVACY_NOISE);
}

/* One unit of the ring's sum is one clip over the batch. */
static void the_layout_scales_units_to_gradients(void **state)
{
    (void)state;
    struct plan p = plan_of();
    const struct strategy *s = NULL;
    struct ring_layout l;
    static const struct digest none;
    static const double metrics[TASK_METRICS];
    enum { N = 300, COORDS = N + 2 + TASK_METRICS + RING_CHECKS };
    int32_t whole[N] = {0};
    uint32_t y[COORDS];
    float mean[N];
    struct ring_mean m;
    check_ok(strategy_find("fedavg", &s));
    task_layout(&p, s, N, &l);
    assert_int_equal(ring_coords(&l), COORDS);
    whole[4] = (int32_t)rowsum_unit(N);
    whole[5] = -3 * (int32_t)rowsum_unit(N);
    const float unread[N] = {0};
    struct ring_update u = {.delta = unread,
                            .whole = whole,
                            .weight = RING_WEIGHT_MAX,
                            .metrics = metrics};
    check_ok(ring_encode(&l, &u, &none, y));
    check_ok(ring_decode(&l, y, 1, &none, mean, &m));
    check_near(mean[4], 0.5 / 20, 1e-7);
    check_near(mean[5], -1.5 / 20, 1e-7);
    check_near(mean[6], 0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(noise_keeps_to_epsilon_over_all_uploads),
        cmocka_unit_test(the_honest_devices_alone_make_the_noise),
        cmocka_unit_test(a_plan_without_privacy_has_none),
        cmocka_unit_test(the_text_names_unit_epsilon_delta_and_noise),
        cmocka_unit_test(too_little_noise_is_refused_with_the_least),
        cmocka_unit_test(more_noise_than_there_may_be_is_refused),
        cmocka_unit_test(the_layout_scales_units_to_gradients),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
