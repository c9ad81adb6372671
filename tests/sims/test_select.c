#include "tests/check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/rng.h"
#include "sims/select.h"

enum { N = 20, DRAWS = 8000, TENTH_MS = 24 * 3600 * 100 };

static struct plan plan_of(enum plan_selection s)
{
    struct plan p = {.seed = 11};
    p.sim.selection = s;
    return p;
}

/* All reachable, alike, never asked. */
static void all_alike(struct select_client *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        list[i] =
            (struct select_client){.reachable = 1, .n_rows = 10, .loss = -1};
}

static size_t ask(const struct plan *p, const struct select_client *list,
                  uint32_t round, unsigned attempt, size_t want, uint32_t *out)
{
    size_t n = 99;
    int seen[N] = {0};
    check_ok(select_cohort(p, list, N, round, attempt, want, out, &n));
    check(n <= want);
    for (size_t i = 0; i < n; i++) {
        check(out[i] < N && list[out[i]].reachable && !seen[out[i]]);
        seen[out[i]] = 1;
    }
    return n;
}

static int has(const uint32_t *list, size_t n, uint32_t client)
{
    for (size_t i = 0; i < n; i++)
        if (list[i] == client) return 1;
    return 0;
}

static const enum plan_selection every[] = {PLAN_SELECT_UNIFORM,
                                            PLAN_SELECT_WEIGHTED,
                                            PLAN_SELECT_AVAILABLE,
                                            PLAN_SELECT_OORT};

/* The best are found without sorting the others. */
static void fewer_seats_go_to_the_first_of_more(void **state)
{
    (void)state;
    struct select_client list[N];
    uint32_t all[N], some[N];
    all_alike(list, N);
    for (size_t i = 0; i < N; i++) list[i].reachable = i % 5 != 3;
    for (size_t s = 0; s < 3; s++) {
        struct plan p = plan_of(every[s]);
        for (uint32_t round = 1; round <= 30; round++) {
            size_t n = ask(&p, list, round, 0, N, all);
            check(n == 16);
            for (size_t want = 0; want <= n; want++) {
                check(ask(&p, list, round, 0, want, some) == want);
                check(memcmp(some, all, want * sizeof *all) == 0);
            }
        }
    }
}

/* ---- all of them -------------------------------------------------------- */

static void only_the_reachable_are_asked_and_all_of_them_when_few(void **state)
{
    (void)state;
    struct select_client list[N];
    uint32_t out[N];
    for (size_t s = 0; s < 4; s++) {
        struct plan p = plan_of(every[s]);
        all_alike(list, N);
        for (size_t i = 0; i < N; i++) list[i].reachable = i % 4 == 1;
        list[5].loss = 1;
        check(ask(&p, list, 1, 0, 12, out) == N / 4);
        check(ask(&p, list, 1, 0, 3, out) == 3);
        check(ask(&p, list, 1, 0, 0, out) == 0);
        for (size_t i = 0; i < N; i++) list[i].reachable = 0;
        check(ask(&p, list, 1, 0, 5, out) == 0);
        size_t n = 7;
        check_ok(select_cohort(&p, list, 0, 1, 0, 5, out, &n));
        check(n == 0);
    }
}

static void a_draw_is_a_function_of_seed_round_and_attempt(void **state)
{
    (void)state;
    for (size_t s = 0; s < 4; s++) {
        struct plan p = plan_of(every[s]), q = p;
        struct select_client list[N];
        uint32_t a[N], b[N];
        unsigned n_round = 0, n_attempt = 0, n_seed = 0;
        q.seed++;
        all_alike(list, N);
        for (uint32_t r = 1; r <= 20; r++) {
            ask(&p, list, r, 0, 6, a);
            ask(&p, list, r, 0, 6, b);
            check(memcmp(a, b, 6 * sizeof *a) == 0);
            ask(&p, list, r + 1, 0, 6, b);
            n_round += memcmp(a, b, 6 * sizeof *a) != 0;
            ask(&p, list, r, 1, 6, b);
            n_attempt += memcmp(a, b, 6 * sizeof *a) != 0;
            ask(&q, list, r, 0, 6, b);
            n_seed += memcmp(a, b, 6 * sizeof *a) != 0;
        }
        check(n_round >= 19 && n_attempt >= 19 && n_seed >= 19);
    }
}

/* Whether others can be reached does not change who comes before whom. */
static void those_who_are_away_do_not_change_the_order(void **state)
{
    (void)state;
    for (size_t s = 0; s < 4; s++) {
        struct plan p = plan_of(every[s]);
        struct select_client list[N];
        uint32_t all[N], some[N];
        all_alike(list, N);
        ask(&p, list, 4, 0, N, all);
        for (size_t i = 0; i < N; i += 3) list[i].reachable = 0;
        size_t n = ask(&p, list, 4, 0, N, some), k = 0;
        for (size_t i = 0; i < N; i++)
            if (all[i] % 3) check(k < n && all[i] == some[k++]);
        check(k == n);
    }
}

/* ---- uniform ------------------------------------------------------------ */

static void check_share(double n, double share)
{
    check_near(n / DRAWS, share, 5 * sqrt(share * (1 - share) / DRAWS));
}

static void uniform_asks_everyone_alike(void **state)
{
    (void)state;
    struct plan p = plan_of(PLAN_SELECT_UNIFORM);
    struct select_client list[N];
    double n[N] = {0}, first[N] = {0}, pair = 0;
    uint32_t out[N];
    all_alike(list, N);
    for (size_t i = 0; i < N; i++) list[i].n_rows = 1 + 100 * i; /* unread */
    for (uint32_t r = 0; r < DRAWS; r++) {
        check(ask(&p, list, r, 0, 5, out) == 5);
        for (size_t i = 0; i < 5; i++) n[out[i]]++;
        first[out[0]]++;
        pair += has(out, 5, 2) && has(out, 5, 3);
    }
    for (size_t i = 0; i < N; i++) {
        check_share(n[i], 5.0 / N);
        check_share(first[i], 1.0 / N);
    }
    check_share(pair, 5.0 * 4 / (N * (N - 1))); /* independent of each other */
}

/* ---- weighted ----------------------------------------------------------- */

static void weighted_asks_in_proportion_to_the_rows(void **state)
{
    (void)state;
    struct plan p = plan_of(PLAN_SELECT_WEIGHTED);
    struct select_client list[N];
    double first[N] = {0}, sum = 0, second = 0;
    uint32_t out[N];
    all_alike(list, N);
    for (size_t i = 0; i < N; i++) list[i].n_rows = i + 1;
    for (size_t i = 0; i < N; i++) sum += (double)list[i].n_rows;
    for (uint32_t r = 0; r < DRAWS; r++) {
        ask(&p, list, r, 0, 2, out);
        first[out[0]]++;
        second += out[1] == N - 1;
    }
    for (size_t i = 0; i < N; i++)
        check_share(first[i], (double)list[i].n_rows / sum);
    /* Without replacement: P(second = j) = sum of p_i p_j / (1 - p_i). */
    double want = 0, last = N / sum;
    for (size_t i = 0; i + 1 < N; i++) {
        double pi = (double)list[i].n_rows / sum;
        want += pi * last / (1 - pi);
    }
    check_share(second, want);
}

/* ---- available ---------------------------------------------------------- */

static void available_prefers_those_who_stay(void **state)
{
    (void)state;
    struct plan p = plan_of(PLAN_SELECT_AVAILABLE);
    struct select_client list[N];
    double n[N] = {0};
    uint32_t out[N];
    all_alike(list, N);
    /* Four stay for three tenths of the day, eight for one and a bit. */
    for (size_t i = 0; i < 4; i++) list[i].stays_ms = 3 * TENTH_MS + 5;
    for (size_t i = 4; i < 12; i++)
        list[i].stays_ms = TENTH_MS + 1000 * (int64_t)i;
    for (uint32_t r = 0; r < DRAWS; r++) {
        check(ask(&p, list, r, 0, 8, out) == 8);
        for (size_t i = 0; i < 8; i++) n[out[i]]++;
    }
    for (size_t i = 0; i < 4; i++) check_share(n[i], 1);
    for (size_t i = 4; i < 12; i++) check_share(n[i], .5); /* alike */
    for (size_t i = 12; i < N; i++) check_share(n[i], 0);
}

/* ---- oort --------------------------------------------------------------- */

/* Clients 0 … 9 took part; utility grows with the number. */
static void ten_known(struct select_client *list)
{
    all_alike(list, N);
    for (size_t i = 0; i < 10; i++) {
        list[i].loss = 1 + (double)i;
        list[i].duration_ms = 1000;
    }
}

static void oort_keeps_a_fifth_of_the_seats_for_the_unknown(void **state)
{
    (void)state;
    struct plan p = plan_of(PLAN_SELECT_OORT);
    struct select_client list[N];
    double fresh[N] = {0};
    uint32_t out[N];
    ten_known(list);
    for (uint32_t r = 0; r < DRAWS; r++) {
        check(ask(&p, list, r, 0, 10, out) == 10);
        for (size_t i = 0; i < 8; i++) check(out[i] == 9 - i);
        for (size_t i = 8; i < 10; i++) fresh[out[i]]++;
    }
    for (size_t i = 10; i < N; i++) check_share(fresh[i], .2);
    /* A seat of few is one too: rounded up. */
    check(ask(&p, list, 1, 0, 3, out) == 3);
    check(out[0] == 9 && out[1] == 8 && out[2] >= 10);
}

static void oort_fills_what_one_kind_leaves_with_the_other(void **state)
{
    (void)state;
    struct plan p = plan_of(PLAN_SELECT_OORT);
    struct select_client list[N];
    uint32_t out[N];
    all_alike(list, N); /* nobody known */
    check(ask(&p, list, 1, 0, 7, out) == 7);
    for (size_t i = 0; i < N; i++) list[i].loss = (double)i; /* all known */
    check(ask(&p, list, 1, 0, 7, out) == 7);
    for (uint32_t i = 0; i < 7; i++) check(out[i] == N - 1 - i);
    ten_known(list);
    for (size_t i = 4; i < 10; i++) list[i].reachable = 0; /* four known */
    check(ask(&p, list, 1, 0, 10, out) == 10);
    for (uint32_t i = 0; i < 4; i++) check(has(out, 10, i));
    ten_known(list);
    for (size_t i = 11; i < N; i++) list[i].reachable = 0; /* one fresh */
    check(ask(&p, list, 1, 0, 10, out) == 10 && has(out, 10, 10));
    check(!has(out, 10, 0));
}

/* n_i loss_i (T / t_i)^2 for t_i over the median T; not above 1 below it. */
static void oort_weighs_loss_rows_and_slowness(void **state)
{
    (void)state;
    struct plan p = plan_of(PLAN_SELECT_OORT);
    struct select_client list[N];
    uint32_t out[N];
    all_alike(list, N);
    for (size_t i = 0; i < N; i++) list[i].reachable = 0;
    /* Durations 1, 1, 2, 2, 4, 4 s: the median is 2 s. */
    const struct select_client known[] = {{1, 0, 10, 3.0, 1000},  /* 30 */
                                          {1, 0, 5, 4.0, 1000},   /* 20 */
                                          {1, 0, 10, 2.5, 2000},  /* 25 */
                                          {1, 0, 10, 9.0, 4000},  /* 22.5 */
                                          {1, 0, 10, 11.0, 4000}, /* 27.5 */
                                          {1, 0, 10, 0.0, 1000}}; /* 0 */
    memcpy(list, known, sizeof known);
    list[5].duration_ms = 2000;
    check(ask(&p, list, 1, 0, 6, out) == 6);
    static const uint32_t want[] = {0, 4, 2, 3, 1, 5};
    check(memcmp(out, want, sizeof want) == 0);
}

static void a_cycle_asks_everybody_once_in_an_order_of_its_own(void **state)
{
    (void)state;
    struct select_client list[N];
    struct plan p = plan_of(PLAN_SELECT_CYCLIC);
    uint32_t seen[2][N];
    all_alike(list, N);
    for (uint32_t round = 0; round < 2 * N; round++)
        check(ask(&p, list, round + 1, round % 3, 1,
                  &seen[round / N][round % N]) == 1);
    for (uint32_t i = 0; i < N; i++)
        check(has(seen[0], N, i) && has(seen[1], N, i));
    check(memcmp(seen[0], seen[1], sizeof seen[0]) != 0);
}

int main(void)
{
    rng_setup();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fewer_seats_go_to_the_first_of_more),
        cmocka_unit_test(only_the_reachable_are_asked_and_all_of_them_when_few),
        cmocka_unit_test(a_cycle_asks_everybody_once_in_an_order_of_its_own),
        cmocka_unit_test(a_draw_is_a_function_of_seed_round_and_attempt),
        cmocka_unit_test(those_who_are_away_do_not_change_the_order),
        cmocka_unit_test(uniform_asks_everyone_alike),
        cmocka_unit_test(weighted_asks_in_proportion_to_the_rows),
        cmocka_unit_test(available_prefers_those_who_stay),
        cmocka_unit_test(oort_keeps_a_fifth_of_the_seats_for_the_unknown),
        cmocka_unit_test(oort_fills_what_one_kind_leaves_with_the_other),
        cmocka_unit_test(oort_weighs_loss_rows_and_slowness),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
