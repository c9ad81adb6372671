#include "tests/check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/base/memory.h"
#include "sims/estimate.h"
#include "sims/sites.h"

static const char format[] =
    "name: small\n"
    "task: classify\n"
    "model: {kind: mlp, hidden: [%d]}\n"
    "data: {source: patients, label: disease, columns: [{name: age}]}\n"
    "rounds: %d\n"
    "cohort: {size: %d, min_reports: 2, over_select: 1}\n"
    "sim: {clients: %d, rows: 20, protocol: %s}\n";

struct situation {
    int hidden, rounds, cohort, clients;
    const char *protocol;
};

static struct plan *plan_of(struct situation s)
{
    char text[1024];
    struct plan *p = NULL;
    int n = snprintf(text, sizeof text, format, s.hidden, s.rounds, s.cohort,
                     s.clients, s.protocol);
    check(n > 0 && (size_t)n < sizeof text);
    check_ok(plan_parse("small.yaml", text, (size_t)n, &p));
    return p;
}

static uint64_t bytes_of(struct situation s, unsigned n_threads)
{
    struct plan *p = plan_of(s);
    const struct estimate_case c = {.plan = p,
                                    .n_clients = p->sim.clients,
                                    .n_threads = n_threads};
    struct estimate e;
    check_ok(estimate_memory(&c, &e));
    check(e.n_weights == (size_t)s.hidden * 3 + 1 && isnan(e.seconds));
    check(e.total == e.data + e.clients + e.server + e.cohort);
    plan_free(p);
    return e.total;
}

static void more_of_anything_takes_more(void **state)
{
    const struct situation base = {20000, 2, 8, 64, "full"};
    struct situation wide = base, many = base, large = base, sum = base;
    (void)state;
    wide.hidden *= 2;
    many.clients *= 100;
    large.cohort *= 4;
    sum.protocol = "sum";
    check(bytes_of(wide, 1) > bytes_of(base, 1));
    check(bytes_of(many, 1) > bytes_of(base, 1));
    check(bytes_of(large, 1) > 2 * bytes_of(base, 1));
    check(bytes_of(sum, 1) < bytes_of(base, 1));
    check(bytes_of(sum, 4) > bytes_of(sum, 1));
    check(bytes_of(base, 4) == bytes_of(base, 1));
}

static void what_does_not_fit_names_what_would(void **state)
{
    struct plan *p = plan_of((struct situation){60000, 2, 64, 500, "full"});
    struct estimate_case c = {.plan = p,
                              .n_clients = 500,
                              .n_threads = 2,
                              .n_runs = 1};
    struct estimate e;
    unsigned cohort = 0;
    (void)state;
    check_ok(estimate_memory(&c, &e));
    check_ok(estimate_fits(&c, &e, e.total));
    check_ok(estimate_fits(&c, &e, UINT64_MAX));
    enum tacit_err err = estimate_fits(&c, &e, e.total / 4);
    check(err == TACIT_LIMIT && err_id() == E_TOO_LARGE);
    check(strstr(err_message(), "plan small needs about ") != NULL);
    check(strstr(err_message(), "sim.protocol: sum") != NULL);
    const char *at = strstr(err_message(), "cohort.size ");
    check(at && sscanf(at, "cohort.size %u", &cohort) == 1);
    check(cohort >= 2 && cohort < 64);
    err_clear();
    /* What it says would fit does, and one more would not. */
    uint64_t room = e.total / 4;
    p->cohort_size = cohort;
    check_ok(estimate_memory(&c, &e));
    check(e.total <= room);
    check_ok(estimate_fits(&c, &e, room));
    p->cohort_size = cohort + 1;
    check_ok(estimate_memory(&c, &e));
    check_code(estimate_fits(&c, &e, room), E_TOO_LARGE);
    /* Two at once have half the room. */
    p->cohort_size = cohort;
    c.n_runs = 2;
    check_ok(estimate_memory(&c, &e));
    err = estimate_fits(&c, &e, room);
    check(err == TACIT_LIMIT && strstr(err_message(), "--jobs 1") != NULL);
    err_clear();
    check_err(estimate_fits(&c, &e, 1000), TACIT_LIMIT);
    plan_free(p);
}

static void time_grows_with_the_rounds(void **state)
{
    double seconds[2];
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct plan *p =
            plan_of((struct situation){64, i ? 2000 : 1, 4, 8, "full"});
        struct sites s;
        struct estimate e = {0};
        check_ok(sites_invent(p, &s));
        const struct estimate_case c = {.plan = p,
                                        .n_clients = s.n,
                                        .n_threads = 1};
        check_ok(estimate_time(&c, s.data, &e));
        seconds[i] = e.seconds;
        sites_release(&s);
        plan_free(p);
    }
    check(seconds[0] > 0 && seconds[1] > 20 * seconds[0]);
}

static void put(const char *root, const char *path, const char *content)
{
    char whole[1024], folder[1024];
    snprintf(whole, sizeof whole, "%s%s", root, path);
    snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(whole, '/') - whole),
             whole);
    check_ok(file_mkdirs(folder, 0755));
    check_ok(file_write(whole, content, strlen(content), 0644));
}

static void the_lowest_limit_of_memory_counts(void **state)
{
    char root[256];
    (void)state;
    check_tmpdir(root);
    check(memory_free_below(root) == UINT64_MAX);
    put(root, "/proc/meminfo", "MemTotal: 9000 kB\nMemAvailable: 8000 kB\n");
    check(memory_free_below(root) == 8000 * 1024);
    put(root, "/sys/fs/cgroup/memory.max", "max\n");
    put(root, "/proc/self/cgroup", "0::/a/b\n");
    check(memory_free_below(root) == 8000 * 1024);
    put(root, "/sys/fs/cgroup/a/memory.max", "5000000\n");
    put(root, "/sys/fs/cgroup/a/memory.current", "1000000\n");
    check(memory_free_below(root) == 4000000);
    put(root, "/sys/fs/cgroup/a/b/memory.max", "3000000\n");
    put(root, "/sys/fs/cgroup/a/b/memory.current", "4000000\n");
    check(memory_free_below(root) == 0);
    put(root, "/sys/fs/cgroup/a/b/memory.max", "what\n");
    put(root, "/sys/fs/cgroup/a/memory.max", "max\n");
    put(root, "/sys/fs/cgroup/memory/memory.limit_in_bytes", "700\n");
    check(memory_free_below(root) == 700);
    check(memory_free() > 1 << 20);
    check_tmpdir_remove(root);
}

static void files_of_bytes_become_floats(void **state)
{
    char root[256];
    uint64_t n = 0;
    (void)state;
    check_tmpdir(root);
    put(root, "/a.csv", "1,2,3\n");
    check_ok(estimate_files(root, &n));
    check(n == 6);
    put(root, "/images-idx3-ubyte", "0123456789");
    check_ok(estimate_files(root, &n));
    check(n == 46);
    check_tmpdir_remove(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(more_of_anything_takes_more),
        cmocka_unit_test(what_does_not_fit_names_what_would),
        cmocka_unit_test(time_grows_with_the_rounds),
        cmocka_unit_test(the_lowest_limit_of_memory_counts),
        cmocka_unit_test(files_of_bytes_become_floats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
