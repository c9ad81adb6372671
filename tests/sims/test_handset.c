#include "tests/check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "sims/handset.h"

#define DAY_MS (24 * 3600 * (int64_t)1000)

enum { MANY = 20000 };

/* What a plan without a devices: block says. */
static struct plan plain(void)
{
    struct plan p = {.seed = 7};
    p.sim.rows_per_s = 1000;
    p.sim.up_mbps = 10;
    p.sim.down_mbps = 50;
    p.sim.latency_ms = 40;
    p.sim.available = 1;
    return p;
}

static int ascending(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* ---- profiles ----------------------------------------------------------- */

static void without_a_spread_all_devices_are_the_median(void **state)
{
    (void)state;
    struct plan p = plain();
    for (size_t i = 0; i < 50; i++) {
        struct handset d;
        handset_of(&p, i, &d);
        check_near(d.rows_per_s, 1000, 1e-9);
        check_near(d.up_Bps, 1.25e6, 1e-6); /* 10 Mbit/s */
        check_near(d.down_Bps, 6.25e6, 1e-6);
        check(d.latency_ms == 40 && !d.on_battery && d.skew_s == 0);
        check(d.phase_ms >= 0 && d.phase_ms < DAY_MS);
    }
}

/* The standard error of the median of n logarithms is 1.25 sd / sqrt(n), of
 * their sd it is sd / sqrt(2 n): bounds are five of them. */
static void check_lognormal(double *v, size_t n, double median, double sd)
{
    double sum = 0, square = 0;
    for (size_t i = 0; i < n; i++) v[i] = log(v[i]);
    for (size_t i = 0; i < n; i++) sum += v[i];
    for (size_t i = 0; i < n; i++)
        square += (v[i] - sum / (double)n) * (v[i] - sum / (double)n);
    qsort(v, n, sizeof *v, ascending);
    check_near(v[n / 2], log(median), 6.3 * sd / sqrt((double)n));
    check_near(sqrt(square / (double)n), sd, 5 * sd / sqrt(2 * (double)n));
}

static void speeds_and_links_are_lognormal_around_the_plans_medians(
    void **state)
{
    (void)state;
    static double speed[MANY], up[MANY], ratio[MANY];
    struct plan p = plain();
    p.sim.speed_sd = 0.7;
    p.sim.link_sd = 1.2;
    for (size_t i = 0; i < MANY; i++) {
        struct handset d;
        handset_of(&p, i, &d);
        speed[i] = d.rows_per_s;
        up[i] = d.up_Bps;
        ratio[i] = d.up_Bps / d.down_Bps;
        /* A slow link is slow both ways, and late. */
        check_near(ratio[i], 0.2, 1e-9);
        check_near((double)d.latency_ms * d.up_Bps / 1.25e6, 40,
                   0.51 * d.up_Bps / 1.25e6);
    }
    check_lognormal(speed, MANY, 1000, 0.7);
    check_lognormal(up, MANY, 1.25e6, 1.2);
}

static void the_share_on_batteries_and_the_skew_are_the_plans(void **state)
{
    (void)state;
    struct plan p = plain();
    double n = 0, square = 0;
    p.sim.battery = 0.3;
    p.sim.skew_s = 500;
    for (size_t i = 0; i < MANY; i++) {
        struct handset d;
        handset_of(&p, i, &d);
        n += d.on_battery;
        square += (double)d.skew_s * (double)d.skew_s;
    }
    check_near(n / MANY, 0.3, 5 * sqrt(.3 * .7 / MANY));
    check_near(sqrt(square / MANY), 500, 5 * 500 / sqrt(2.0 * MANY));
}

static int same_device(const struct handset *a, const struct handset *b)
{
    return a->rows_per_s == b->rows_per_s && a->up_Bps == b->up_Bps &&
           a->down_Bps == b->down_Bps && a->latency_ms == b->latency_ms &&
           a->phase_ms == b->phase_ms && a->on_battery == b->on_battery &&
           a->skew_s == b->skew_s;
}

static void a_device_is_the_same_whenever_it_is_asked_for(void **state)
{
    (void)state;
    struct plan p = plain();
    struct handset list[64], again;
    p.sim.speed_sd = p.sim.link_sd = 1;
    p.sim.battery = 0.5;
    for (size_t i = 0; i < 64; i++) handset_of(&p, i, &list[i]);
    for (size_t i = 64; i-- > 0;) {
        handset_of(&p, i, &again);
        check(same_device(&list[i], &again));
        check(i == 0 || !same_device(&list[i], &list[i - 1]));
    }
    p.seed++;
    handset_of(&p, 3, &again);
    check(!same_device(&list[3], &again));
}

/* ---- fates -------------------------------------------------------------- */

static void without_faults_every_device_stays(void **state)
{
    (void)state;
    struct plan p = plain();
    for (size_t i = 0; i < 1000; i++) {
        struct handset_fate f;
        handset_fate(&p, i, 3, 0, &f);
        check(f.work >= 1 && f.work <= 1);
        check(f.vanishes == HANDSET_STAYS && !f.returns && f.twice == 0);
        for (int k = 0; k < HANDSET_STAYS; k++) check(f.late_ms[k] == 0);
    }
}

static void check_rate(double n, double of, double rate)
{
    check_near(n / of, rate, 5 * sqrt(rate * (1 - rate) / of));
}

static void faults_are_as_frequent_as_the_plan_says(void **state)
{
    (void)state;
    struct plan p = plain();
    double straggles = 0, work = 0, crashes = 0, drops = 0;
    double late = 0, twice = 0, where[HANDSET_STAYS] = {0};
    p.sim.stragglers = 0.4;
    p.sim.dropout = 0.2;
    p.sim.crash = 0.1;
    p.sim.delay = 0.3;
    p.sim.duplicate = 0.15;
    for (size_t i = 0; i < MANY; i++) {
        struct handset_fate f;
        handset_fate(&p, i % 200, (uint32_t)(i / 200) + 1, 0, &f);
        straggles += f.work < 1;
        if (f.work < 1) work += f.work;
        crashes += f.vanishes < HANDSET_STAYS && f.returns;
        drops += f.vanishes < HANDSET_STAYS && !f.returns;
        check(f.vanishes < HANDSET_STAYS || !f.returns);
        if (f.vanishes < HANDSET_STAYS) where[f.vanishes]++;
        for (int k = 0; k < HANDSET_STAYS; k++) {
            late += f.late_ms[k] > 0;
            twice += f.twice >> k & 1;
        }
    }
    check_rate(straggles, MANY, 0.4);
    check_near(work / straggles, 0.5, 5 / sqrt(12 * straggles));
    check_rate(crashes, MANY, 0.1);
    check_rate(drops, MANY, 0.9 * 0.2); /* of those that do not crash */
    for (int k = 0; k < HANDSET_STAYS; k++)
        check_rate(where[k], crashes + drops, 1.0 / HANDSET_STAYS);
    check_near(late / (MANY * HANDSET_STAYS), 0.3, 0.01); /* few below 1 ms */
    check_rate(twice, MANY * HANDSET_STAYS, 0.15);
}

/* Exponential with a median of two seconds. */
static void half_of_the_late_messages_are_less_than_two_seconds_late(
    void **state)
{
    (void)state;
    struct plan p = plain();
    double n = 0, below = 0, sum = 0;
    p.sim.delay = 0.9;
    for (size_t i = 0; i < MANY / 4; i++) {
        struct handset_fate f;
        handset_fate(&p, i, 1, 0, &f);
        for (int k = 0; k < HANDSET_STAYS; k++) {
            check(f.late_ms[k] >= 0);
            if (f.late_ms[k] == 0) continue;
            n++;
            below += f.late_ms[k] < 2000;
            sum += (double)f.late_ms[k];
        }
    }
    check_rate(below, n, 0.5);
    check_near(sum / n, 2000 / log(2), 5 * 2000 / log(2) / sqrt(n));
}

/* A plan with more stragglers has the same drop-outs, and so on. */
static void no_key_changes_what_another_one_does(void **state)
{
    (void)state;
    struct plan p = plain(), q;
    p.sim.dropout = 0.3;
    p.sim.crash = 0.2;
    p.sim.stragglers = 0.3;
    p.sim.delay = p.sim.duplicate = 0.3;
    q = p;
    q.sim.stragglers = 0.9;
    q.sim.delay = 0.8;
    q.sim.speed_sd = q.sim.link_sd = 2;
    q.sim.battery = 0.5;
    for (size_t i = 0; i < 500; i++) {
        struct handset_fate a, b;
        handset_fate(&p, i, 5, 1, &a);
        handset_fate(&q, i, 5, 1, &b);
        check(a.vanishes == b.vanishes && a.returns == b.returns);
        check(a.twice == b.twice);
        /* Whoever straggled still does, by as much. */
        if (a.work < 1) check(a.work <= b.work && b.work <= a.work);
        for (int k = 0; k < HANDSET_STAYS; k++)
            if (a.late_ms[k]) check(a.late_ms[k] == b.late_ms[k]);
    }
}

static void another_round_or_attempt_is_another_fate(void **state)
{
    (void)state;
    struct plan p = plain();
    unsigned n_round = 0, n_attempt = 0;
    p.sim.dropout = 0.5;
    for (size_t i = 0; i < 200; i++) {
        struct handset_fate a, b, c, d;
        handset_fate(&p, i, 5, 0, &a);
        handset_fate(&p, i, 5, 0, &d);
        handset_fate(&p, i, 6, 0, &b);
        handset_fate(&p, i, 5, 1, &c);
        check(memcmp(&a, &d, sizeof a) == 0);
        n_round += a.vanishes != b.vanishes;
        n_attempt += a.vanishes != c.vanishes;
    }
    check(n_round > 50 && n_attempt > 50);
}

/* ---- hours -------------------------------------------------------------- */

static void a_device_is_there_for_its_share_of_the_day(void **state)
{
    (void)state;
    static const double shares[] = {0.01, 0.3, 0.75, 1};
    struct plan p = plain();
    for (size_t s = 0; s < 4; s++) {
        p.sim.available = shares[s];
        for (size_t i = 0; i < 20; i++) {
            struct handset d;
            int64_t n = 0, step = 60000;
            handset_of(&p, i, &d);
            for (int64_t t = 0; t < DAY_MS; t += step)
                n += handset_available_ms(&p, &d, t) > 0;
            check_near((double)n * (double)step / (double)DAY_MS, shares[s],
                       1.1 * (double)step / (double)DAY_MS);
        }
    }
}

/* … in one piece, which ends when it says, and comes again every day. */
static void it_stays_as_long_as_it_says(void **state)
{
    (void)state;
    struct plan p = plain();
    p.sim.available = 0.4;
    for (size_t i = 0; i < 200; i++) {
        struct handset d;
        struct rng r;
        handset_of(&p, i, &d);
        rng_init(&r, 1, i, 0);
        int64_t t = (int64_t)rng_below(&r, 10 * DAY_MS);
        int64_t stays = handset_available_ms(&p, &d, t);
        check(stays == handset_available_ms(&p, &d, t + DAY_MS));
        check(stays >= 0 && stays <= (int64_t)(0.4 * (double)DAY_MS));
        if (stays == 0) continue;
        check(handset_available_ms(&p, &d, t + stays - 1) > 0);
        check(handset_available_ms(&p, &d, t + stays) == 0);
        /* … for the rest of the day. */
        check(handset_available_ms(&p, &d, t + stays + DAY_MS * 6 / 10 - 1) ==
              0);
        check(handset_available_ms(&p, &d, t + stays + DAY_MS * 6 / 10 + 1) >
              0);
    }
    p.sim.available = 1;
    struct handset d;
    handset_of(&p, 0, &d);
    check(handset_available_ms(&p, &d, 12345) == DAY_MS);
}

/* ---- times, energy, charge ---------------------------------------------- */

static void times_are_work_over_speed(void **state)
{
    (void)state;
    const struct handset d = {.rows_per_s = 200,
                              .up_Bps = 1000,
                              .down_Bps = 4000,
                              .latency_ms = 30};
    check(handset_train_ms(&d, 500) == 2500);
    check(handset_train_ms(&d, 0) == 0);
    check(handset_up_ms(&d, 1500) == 1530);
    check(handset_down_ms(&d, 1500) == 375 + 30);
    check(handset_up_ms(&d, 0) == 30);
    check(handset_down_ms(&d, 1) == 31); /* begun milliseconds count */
    /* However slow, it is a number, and sums of a few do not overflow. */
    const struct handset slow = {.rows_per_s = 1e-300, .up_Bps = 1e-300};
    check(handset_train_ms(&slow, 1e9) == (int64_t)1e15);
    check(handset_up_ms(&slow, UINT64_MAX) == (int64_t)1e15);
}

static void energy_is_power_times_time(void **state)
{
    (void)state;
    const struct handset d = {.rows_per_s = 100,
                              .up_Bps = 1000,
                              .down_Bps = 2000};
    const struct handset_cost c = {.rows = 1000,
                                   .bytes_up = 5000,
                                   .bytes_down = 4000};
    check_near(handset_energy_j(&d, &c), 3 * 10 + 1 * (5 + 2), 1e-9);
    const struct handset_cost none = {0};
    check_near(handset_energy_j(&d, &none), 0, 0);
}

static void a_battery_charges_in_its_own_hours_and_never_beyond_full(
    void **state)
{
    (void)state;
    const int64_t hour = 3600 * 1000;
    const struct handset d = {.phase_ms = 0, .on_battery = 1};
    /* Its day begins with eight hours at the plug: 10 W into 40 kJ. */
    check_near(handset_charge(&d, 0, 0, hour), .9, 1e-9);
    check_near(handset_charge(&d, 0.5, 0, 0), .5, 0);
    check_near(handset_charge(&d, 0, 0, 2 * hour), 1, 0);
    check_near(handset_charge(&d, 0.2, 8 * hour, 24 * hour), .2, 1e-9);
    check_near(handset_charge(&d, 0.2, 7 * hour + hour / 2, 20 * hour), .65,
               1e-9);
    check_near(handset_charge(&d, 0, 20 * hour, 24 * hour + hour / 2), .45,
               1e-9);
    const struct handset late = {.phase_ms = 23 * hour, .on_battery = 1};
    check_near(handset_charge(&late, 0, 0, hour), 0, 0);
    check_near(handset_charge(&late, 0, 0, 2 * hour), .9, 1e-9);
    for (uint64_t i = 0; i < 1000; i++) {
        struct rng r;
        rng_init(&r, 2, i, 0);
        struct handset any = {.phase_ms = (int64_t)rng_below(&r, DAY_MS)};
        int64_t from = (int64_t)rng_below(&r, DAY_MS);
        int64_t middle = from + (int64_t)rng_below(&r, DAY_MS);
        int64_t to = middle + (int64_t)rng_below(&r, DAY_MS);
        double level = rng_f64(&r);
        double once = handset_charge(&any, level, from, to);
        double first = handset_charge(&any, level, from, middle);
        check(once >= level && once <= 1 && first <= once);
        /* Looking in between changes nothing. */
        check_near(handset_charge(&any, first, middle, to), once, 1e-9);
    }
}

int main(void)
{
    rng_setup();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_spread_all_devices_are_the_median),
        cmocka_unit_test(
            speeds_and_links_are_lognormal_around_the_plans_medians),
        cmocka_unit_test(the_share_on_batteries_and_the_skew_are_the_plans),
        cmocka_unit_test(a_device_is_the_same_whenever_it_is_asked_for),
        cmocka_unit_test(without_faults_every_device_stays),
        cmocka_unit_test(faults_are_as_frequent_as_the_plan_says),
        cmocka_unit_test(
            half_of_the_late_messages_are_less_than_two_seconds_late),
        cmocka_unit_test(no_key_changes_what_another_one_does),
        cmocka_unit_test(another_round_or_attempt_is_another_fate),
        cmocka_unit_test(a_device_is_there_for_its_share_of_the_day),
        cmocka_unit_test(it_stays_as_long_as_it_says),
        cmocka_unit_test(times_are_work_over_speed),
        cmocka_unit_test(energy_is_power_times_time),
        cmocka_unit_test(
            a_battery_charges_in_its_own_hours_and_never_beyond_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
