/* partition: each row goes to exactly one client, as the plan says, and the
 * same plan deals the same way. */
#include "tests/check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/rng.h"
#include "sims/partition.h"

enum { ROWS_MOST = 20000, LABELS = 10 };

static uint32_t labels[ROWS_MOST], clients[ROWS_MOST];

/* Rows of uneven labels: label k has about k + 1 parts of 55. */
static struct partition_rows rows_of(size_t n)
{
    struct rng rng;
    rng_init(&rng, 99, 0, 0);
    check(n <= ROWS_MOST);
    for (size_t i = 0; i < n; i++) {
        uint64_t v = rng_below(&rng, 55);
        uint32_t k = 0;
        while (v > k) v -= ++k;
        labels[i] = k;
    }
    return (struct partition_rows){.name = "rows",
                                   .n = n,
                                   .label = labels,
                                   .n_labels = LABELS};
}

static struct plan plan_of(enum plan_partition way, uint32_t n_clients)
{
    return (struct plan){.name = "deal",
                         .task = PLAN_CLASSIFY,
                         .classes = LABELS,
                         .seed = 5,
                         .sim = {.clients = n_clients,
                                 .partition = way,
                                 .alpha = 0.5,
                                 .labels = 2,
                                 .shift = 1}};
}

static size_t size_of(const struct deal *d, size_t i)
{
    return d->first[i + 1] - d->first[i];
}

/* Every row once, every client enough. */
static void check_whole(const struct deal *d, size_t n_rows, size_t n_clients)
{
    uint8_t *seen = calloc(n_rows, 1);
    check(seen && d->n_clients == n_clients);
    check(d->first[0] == 0 && d->first[n_clients] == n_rows);
    for (size_t i = 0; i < n_clients; i++) {
        check(d->first[i + 1] >= d->first[i] + PARTITION_ROWS_MIN);
        for (size_t k = d->first[i]; k < d->first[i + 1]; k++) {
            check(d->order[k] < n_rows && !seen[d->order[k]]++);
            check(k == d->first[i] || d->order[k] > d->order[k - 1]);
        }
    }
    free(seen);
}

static struct deal dealt(const struct plan *p, const struct partition_rows *r)
{
    struct deal d;
    check_ok(partition_deal(p, r, &d));
    check_whole(&d, r->n, p->sim.clients);
    return d;
}

/* Clients' counts per label into [n_clients, LABELS]. */
static size_t *count(const struct deal *d)
{
    size_t *n = calloc(d->n_clients * LABELS, sizeof *n);
    check(n != NULL);
    for (size_t i = 0; i < d->n_clients; i++)
        for (size_t k = d->first[i]; k < d->first[i + 1]; k++)
            n[i * LABELS + labels[d->order[k]]]++;
    return n;
}

static void refused(const struct plan *p, const struct partition_rows *r,
                    const char *message)
{
    struct deal d = {.n_clients = 77};
    enum tacit_err err = partition_deal(p, r, &d);
    if (!err) fail_msg("dealt, but wanted: %s", message);
    assert_string_equal(err_message(), message);
    check_code(err, E_DEAL);
    check(d.n_clients == 77 && !d.order && !d.first);
}

/* ---- every way ---------------------------------------------------------- */

static void every_row_is_dealt_exactly_once(void **state)
{
    (void)state;
    static const struct {
        size_t rows;
        uint32_t clients;
    } sizes[] = {{4, 2}, {57, 7}, {2000, 100}, {20000, 1000}};
    static const enum plan_partition ways[] = {PLAN_PART_IID, PLAN_PART_SHIFT,
                                               PLAN_PART_DIRICHLET,
                                               PLAN_PART_LABELS};
    for (size_t s = 0; s < 4; s++) {
        struct partition_rows r = rows_of(sizes[s].rows);
        for (size_t w = 0; w < 4; w++) {
            for (int power = 0; power < 2; power++) {
                struct plan p = plan_of(ways[w], sizes[s].clients);
                p.sim.alpha = 100;
                /* By label, a client needs rows of each of its labels. */
                if (w == 3 && sizes[s].rows < 2000) continue;
                if (w == 2 && (power || s == 0)) continue;
                p.sim.power_sizes = power;
                struct deal d = dealt(&p, &r);
                deal_release(&d);
            }
        }
    }
}

static void the_same_seed_deals_the_same(void **state)
{
    (void)state;
    static const enum plan_partition ways[] = {PLAN_PART_IID,
                                               PLAN_PART_DIRICHLET,
                                               PLAN_PART_LABELS};
    struct partition_rows r = rows_of(3000);
    for (size_t w = 0; w < 3; w++) {
        struct plan p = plan_of(ways[w], 20);
        struct deal a = dealt(&p, &r);
        p.sim.threads = 8;
        struct deal b = dealt(&p, &r);
        p.seed = 6;
        struct deal c = dealt(&p, &r);
        check(memcmp(a.order, b.order, r.n * sizeof *a.order) == 0);
        check(memcmp(a.first, b.first, 21 * sizeof *a.first) == 0);
        check(memcmp(a.order, c.order, r.n * sizeof *a.order) != 0);
        deal_release(&a);
        deal_release(&b);
        deal_release(&c);
    }
}

/* ---- sizes -------------------------------------------------------------- */

static void equal_sizes_differ_by_one_row(void **state)
{
    (void)state;
    struct partition_rows r = rows_of(1007);
    struct plan p = plan_of(PLAN_PART_IID, 50);
    struct deal d = dealt(&p, &r);
    for (size_t i = 0; i < 50; i++)
        check(size_of(&d, i) == 20 || size_of(&d, i) == 21);
    deal_release(&d);
}

static void power_sizes_are_lognormal(void **state)
{
    (void)state;
    enum { N = 1000 };
    static size_t sizes[N];
    struct plan p = plan_of(PLAN_PART_IID, N);
    double sum = 0, squares = 0;
    size_t total = 0;
    p.sim.power_sizes = 1;
    check_ok(partition_sizes(&p, 1000000000, N, sizes));
    for (size_t i = 0; i < N; i++) {
        check(sizes[i] >= PARTITION_ROWS_MIN);
        total += sizes[i];
        double v = log((double)sizes[i]);
        sum += v;
        squares += v * v;
    }
    check(total == 1000000000);
    double mean = sum / N, sd = sqrt(squares / N - mean * mean);
    check_near(sd, 2, 0.15);
    /* The mean of a lognormal is exp(2) above its median. */
    check_near(mean, log(1e6) - 2, 0.4);
    check_err(partition_sizes(&p, 2 * N - 1, N, sizes), TACIT_LIMIT);
    check_ok(partition_sizes(&p, 2 * N, N, sizes));
    for (size_t i = 0; i < N; i++) check(sizes[i] == 2);
}

static void iid_clients_have_all_labels_in_proportion(void **state)
{
    (void)state;
    struct partition_rows r = rows_of(20000);
    struct plan p = plan_of(PLAN_PART_IID, 10);
    struct deal d = dealt(&p, &r);
    size_t *n = count(&d);
    for (size_t i = 0; i < 10; i++)
        for (size_t k = 0; k < LABELS; k++) {
            double want = 2000. * ((double)k + 1) / 55;
            check_near(n[i * LABELS + k], want, 6 * sqrt(want));
        }
    free(n);
    deal_release(&d);
}

/* ---- dirichlet ---------------------------------------------------------- */

/* A client's share of a label has mean 1/n and variance
 * (n - 1) / (n^2 (n alpha + 1)). */
static void shares_of_a_label_are_dirichlet(void **state)
{
    (void)state;
    static const double alphas[] = {0.5, 2, 50};
    enum { N = 8, SEEDS = 120 };
    struct partition_rows r = rows_of(20000);
    size_t total[LABELS] = {0};
    for (size_t i = 0; i < r.n; i++) total[labels[i]]++;
    for (size_t a = 0; a < 3; a++) {
        double sum = 0, squares = 0, first = 0;
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            struct plan p = plan_of(PLAN_PART_DIRICHLET, N);
            p.sim.alpha = alphas[a];
            p.seed = seed;
            struct deal d = dealt(&p, &r);
            size_t *n = count(&d);
            for (size_t i = 0; i < N; i++)
                for (size_t k = 0; k < LABELS; k++) {
                    double v = (double)n[i * LABELS + k] / (double)total[k];
                    sum += v;
                    squares += v * v;
                    first += i == 0 ? v : 0;
                }
            free(n);
            deal_release(&d);
        }
        double cells = (double)SEEDS * N * LABELS, mean = sum / cells;
        double want = (N - 1) / (N * N * (N * alphas[a] + 1));
        check_near(mean, 1. / N, 1e-12);
        check_near(first / (SEEDS * LABELS), 1. / N, 0.02);
        check_near((squares / cells - mean * mean) / want, 1, 0.12);
    }
}

static void power_sizes_are_dirichlet_means(void **state)
{
    (void)state;
    enum { N = 6, SEEDS = 60 };
    struct partition_rows r = rows_of(20000);
    double share[N] = {0};
    size_t sizes[N];
    struct plan p = plan_of(PLAN_PART_DIRICHLET, N);
    p.sim.alpha = 1000;
    p.sim.power_sizes = 1;
    struct deal d = dealt(&p, &r);
    check_ok(partition_sizes(&p, 20000, N, sizes));
    for (size_t i = 0; i < N; i++) {
        share[i] = (double)size_of(&d, i) / (double)sizes[i];
        if (sizes[i] > 500) check_near(share[i], 1, 0.1);
    }
    deal_release(&d);
}

static void an_alpha_that_starves_a_client_is_refused(void **state)
{
    (void)state;
    struct partition_rows r = rows_of(1000);
    struct plan p = plan_of(PLAN_PART_DIRICHLET, 50);
    struct deal d;
    p.sim.alpha = 1e-3;
    check(partition_deal(&p, &r, &d) == TACIT_LIMIT);
    check(strstr(err_message(), "rows: sim.alpha 0.001 leaves client ") &&
          strstr(err_message(), "(1000 rows, 10 labels, 50 clients)") &&
          strstr(err_message(), "raise sim.alpha"));
    check_code(TACIT_LIMIT, E_DEAL);
    /* Few clients may each have one label alone: every label is somewhere. */
    p.sim.clients = 3;
    d = dealt(&p, &r);
    size_t *n = count(&d);
    for (size_t k = 0; k < LABELS; k++)
        check(n[k] + n[LABELS + k] + n[2 * LABELS + k] > 0);
    free(n);
    deal_release(&d);
}

/* ---- k labels ----------------------------------------------------------- */

static void each_client_has_k_labels_and_each_label_as_many_holders(
    void **state)
{
    (void)state;
    struct partition_rows r = rows_of(20000);
    for (uint32_t k = 1; k <= LABELS; k++) {
        for (uint32_t n_clients = 10; n_clients <= 100; n_clients += 45) {
            for (int power = 0; power < 2; power++) {
                struct plan p = plan_of(PLAN_PART_LABELS, n_clients);
                size_t holders[LABELS] = {0};
                p.sim.labels = k;
                p.sim.power_sizes = power;
                struct deal d = dealt(&p, &r);
                size_t *n = count(&d);
                for (size_t i = 0; i < n_clients; i++) {
                    size_t has = 0;
                    for (size_t c = 0; c < LABELS; c++) {
                        has += n[i * LABELS + c] > 0;
                        holders[c] += n[i * LABELS + c] > 0;
                    }
                    check(has == k);
                }
                for (size_t c = 0; c < LABELS; c++)
                    check(holders[c] * LABELS + LABELS > k * n_clients &&
                          holders[c] * LABELS < k * n_clients + LABELS);
                free(n);
                deal_release(&d);
            }
        }
    }
}

static void labels_that_cannot_be_held_are_refused(void **state)
{
    (void)state;
    struct partition_rows r = rows_of(1000);
    struct plan p = plan_of(PLAN_PART_LABELS, 4);
    refused(&p, &r,
            "rows: 4 clients of 2 labels each cannot hold the 10 labels; raise "
            "sim.labels or sim.clients");
    p.sim.labels = 11;
    refused(&p, &r, "rows: sim.labels is 11, but there are 10 labels");
    struct deal d;
    p = plan_of(PLAN_PART_LABELS, 400);
    check(partition_deal(&p, &r, &d) == TACIT_LIMIT);
    check(strstr(err_message(), "rows: label 0 has ") &&
          strstr(err_message(), "rows for the 80 clients that hold it"));
    err_clear();
}

/* ---- natural ------------------------------------------------------------ */

static void natural_clients_keep_their_rows(void **state)
{
    (void)state;
    struct partition_rows r = rows_of(300);
    struct plan p = plan_of(PLAN_PART_COLUMN, 2);
    struct deal d;
    for (size_t i = 0; i < 300; i++) clients[i] = (uint32_t)(i * i % 7);
    r.client = clients;
    r.n_clients = 7; /* 3, 5 and 6 are no squares modulo 7 */
    refused(&p, &r,
            "rows: client 3 gets 0 rows; each needs at least 2: "
            "add rows, or take fewer clients");
    r.is_sized = 1;
    refused(&p, &r,
            "rows: client 3 gets 0 rows; each needs at least 2: "
            "raise sim.rows, or lower data.holdout");
    r.is_sized = 0;
    for (size_t i = 0; i < 300; i++) clients[i] = (uint32_t)(i % 7);
    check_ok(partition_deal(&p, &r, &d));
    check_whole(&d, 300, 7); /* not sim.clients */
    for (size_t i = 0; i < 7; i++)
        for (size_t k = d.first[i]; k < d.first[i + 1]; k++)
            check(clients[d.order[k]] == i);
    deal_release(&d);
    p.sim.power_sizes = 1;
    refused(&p, &r,
            "rows: sim.sizes: power has no effect on clients that the data "
            "itself names");
}

static void what_makes_no_sense_is_refused(void **state)
{
    (void)state;
    struct partition_rows r = rows_of(19);
    struct plan p = plan_of(PLAN_PART_IID, 10);
    refused(&p, &r, "rows: 19 rows for 10 clients; each needs at least 2");
    r.n = 0;
    refused(&p, &r, "rows: 0 rows for 10 clients; each needs at least 2");
    r = rows_of(100);
    p.sim.partition = PLAN_PART_SITES;
    refused(&p, &r,
            "rows: the rows name no clients of their own; set sim.partition: "
            "iid, dirichlet, labels or shift, or column with sim.column");
    r.label = NULL;
    p.task = PLAN_REGRESS;
    p.sim.partition = PLAN_PART_DIRICHLET;
    refused(&p, &r,
            "rows: a plan of task regress has no labels to deal out by; set "
            "sim.partition: iid, shift or column");
    p.format = PLAN_TEXT;
    refused(&p, &r,
            "rows: a plan of task regress has no labels to deal out by; set "
            "sim.partition: iid or sites");
    r = rows_of(100);
    r.n_labels = 1U << 31;
    struct deal d;
    check_err(partition_deal(&p, &r, &d), TACIT_LIMIT);
}

static void an_offset_is_the_clients_own(void **state)
{
    (void)state;
    enum { N = 4000 };
    static float a[N], b[N];
    struct plan p = plan_of(PLAN_PART_SHIFT, 10);
    double sum = 0, squares = 0, product = 0;
    p.sim.shift = 3;
    partition_offset(&p, 1, N, a);
    partition_offset(&p, 2, N, b);
    for (size_t i = 0; i < N; i++) {
        sum += (double)a[i];
        squares += (double)a[i] * (double)a[i];
        product += (double)a[i] * (double)b[i];
    }
    check_near(sum / N, 0, 0.2);
    check_near(sqrt(squares / N), 3, 0.15);
    check_near(product / squares, 0, 0.08);
    partition_offset(&p, 1, 7, b);
    check(memcmp(a, b, 7 * sizeof *a) == 0);
}

int main(void)
{
    rng_setup();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_dealt_exactly_once),
        cmocka_unit_test(the_same_seed_deals_the_same),
        cmocka_unit_test(equal_sizes_differ_by_one_row),
        cmocka_unit_test(power_sizes_are_lognormal),
        cmocka_unit_test(iid_clients_have_all_labels_in_proportion),
        cmocka_unit_test(shares_of_a_label_are_dirichlet),
        cmocka_unit_test(power_sizes_are_dirichlet_means),
        cmocka_unit_test(an_alpha_that_starves_a_client_is_refused),
        cmocka_unit_test(
            each_client_has_k_labels_and_each_label_as_many_holders),
        cmocka_unit_test(labels_that_cannot_be_held_are_refused),
        cmocka_unit_test(natural_clients_keep_their_rows),
        cmocka_unit_test(what_makes_no_sense_is_refused),
        cmocka_unit_test(an_offset_is_the_clients_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
