#include "tests/check.h"

#include <dirent.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/base/codes.h"
#include "common/base/db.h"
#include "common/base/file.h"
#include "sims/outputs.h"
#include "sims/run_page.h"
#include "sims/tfevents.h"
#include "tests/sims/page.h"

static const char text[] = "name: small\n"
                           "task: classify\n"
                           "model: {kind: logistic}\n"
                           "data: {source: p, label: y, columns: [{name: x}]}\n"
                           "rounds: 3\n"
                           "seed: 7\n";

static void make(struct runlog *out, const char *data)
{
    struct plan *plan = NULL;
    check_ok(plan_parse("small.yaml", text, strlen(text), &plan));
    check_ok(runlog_of_plan(plan, text, strlen(text), data, 20, out));
    plan_free(plan);
}

static struct fleet_round a_round(uint32_t k)
{
    struct fleet_round r = {.round = k,
                            .n_attempts = 1,
                            .n_invited = 6,
                            .n_inputs = 5,
                            .loss_before = 1.0 / k,
                            .loss_after = .5 / k,
                            .bytes_up = (uint64_t)5000000000 * k,
                            .energy_j = .25,
                            .virtual_ms = 60000 * (int64_t)k,
                            .wall_ms = 3};
    if (k % 2 == 0) return r; /* not every round is measured */
    r.has_metric = r.has_pooled = 1;
    r.metric = .6;
    r.pooled = (struct model_metrics){.loss = .5,
                                      .metric = .7 + .01 * k,
                                      .n_rows = 90};
    r.spread = (struct fleet_spread){20, .7, .1, .5, .7, .9, .4};
    return r;
}

static void path_in(char out[512], const char *folder, const char *name)
{
    snprintf(out, 512, "%s/%s", folder, name);
}

static int exists(const char *folder, const char *name)
{
    char path[512];
    path_in(path, folder, name);
    return file_exists(path);
}

static size_t n_ending(const char *folder, const char *ending)
{
    size_t n = 0;
    DIR *d = opendir(folder);
    check(d != NULL);
    for (struct dirent *e; (e = readdir(d));) {
        size_t len = strlen(e->d_name), k = strlen(ending);
        n += len >= k && strcmp(e->d_name + len - k, ending) == 0;
    }
    closedir(d);
    return n;
}

static void write_run(const char *folder, enum runlog_state state)
{
    struct runlog record;
    struct outputs *o = NULL;
    struct buf model;
    make(&record, NULL);
    check_ok(outputs_open(folder, &record, &o));
    for (uint32_t k = 1; k <= 3; k++) {
        struct fleet_round r = a_round(k);
        check_ok(outputs_round(o, &r));
    }
    buf_init(&model, 0);
    buf_printf(&model, "weights");
    check_ok(outputs_close(o, state, &model));
    buf_release(&model);
    outputs_free(o);
}

/* ---- what is written ---------------------------------------------------- */

static void a_run_is_read_as_it_was_written(void **state)
{
    char folder[256];
    struct runlog r;
    (void)state;
    check_tmpdir(folder);
    write_run(folder, RUNLOG_FINISHED);
    check_ok(runlog_read(folder, &r));
    check(r.state == RUNLOG_FINISHED && r.seed == 7 && r.n_clients == 20);
    check(strcmp(r.plan, "small") == 0 && strcmp(r.metric, "accuracy") == 0);
    check(strcmp(r.plan_text, text) == 0 && r.n_planned == 3);
    check(strlen(r.plan_hash) == 64 && strlen(r.ended) == 20);
    check(r.n_rounds == 3 && r.has_pooled);
    for (uint32_t k = 1; k <= 3; k++) {
        struct fleet_round want = a_round(k), got = r.rounds[k - 1];
        double a, b;
        for (size_t i = 0; runlog_column_at(i); i++) {
            int has = runlog_value(&want, i, &a);
            check(has == runlog_value(&got, i, &b));
            if (has) check_near(a, b, 1e-8 * fabs(a));
        }
    }
    runlog_release(&r);
    check_tmpdir_remove(folder);
}

static void an_open_run_has_rounds_but_no_results(void **state)
{
    char folder[256], path[512];
    struct runlog record, seen;
    struct outputs *o = NULL;
    struct fleet_round r = a_round(1);
    (void)state;
    check_tmpdir(folder);
    write_run(folder, RUNLOG_FINISHED); /* an older one */
    path_in(path, folder, "mine.txt");
    check_ok(file_write(path, "x", 1, 0644));
    make(&record, NULL);
    check_ok(outputs_open(folder, &record, &o));
    check(!exists(folder, "metrics.csv") && !exists(folder, "report.html"));
    check(!exists(folder, "model.safetensors"));
    check(n_ending(folder, ".part") == 2 && exists(folder, "mine.txt"));
    check_ok(outputs_round(o, &r));
    check_ok(runlog_read(folder, &seen));
    check(seen.state == RUNLOG_RUNNING && seen.n_rounds == 1);
    runlog_release(&seen);
    outputs_free(o); /* as after a crash */
    path_in(path, folder, "metrics.jsonl.part");
    FILE *f = fopen(path, "ab");
    check(f && fputs("{\"round\": 2, \"inp", f) >= 0 && fclose(f) == 0);
    check_ok(runlog_read(folder, &seen));
    check(seen.state == RUNLOG_RUNNING && seen.n_rounds == 1);
    runlog_release(&seen);
    check_tmpdir_remove(folder);
}

static void a_failed_run_says_why(void **state)
{
    char folder[256];
    struct runlog record, seen;
    struct outputs *o = NULL;
    (void)state;
    check_tmpdir(folder);
    make(&record, "/data/here");
    check_ok(outputs_open(folder, &record, &o));
    check(fail_as(E_LOSS_NAN, "round 3: client 5: loss is nan") == TACIT_LIMIT);
    check_ok(outputs_close(o, RUNLOG_FAILED, NULL));
    err_clear();
    outputs_free(o);
    check_ok(runlog_read(folder, &seen));
    check(seen.state == RUNLOG_FAILED && seen.n_rounds == 0);
    check(strcmp(seen.error, "round 3: client 5: loss is nan") == 0);
    check(strcmp(seen.data, "/data/here") == 0);
    check(!exists(folder, "model.safetensors"));
    check(!exists(folder, "report.html")); /* not one round to draw */
    runlog_release(&seen);
    check_tmpdir_remove(folder);
}

static void the_database_holds_the_run_and_its_rounds(void **state)
{
    char folder[256], path[512];
    struct db db = {0};
    int64_t n = 0;
    (void)state;
    check_tmpdir(folder);
    write_run(folder, RUNLOG_INTERRUPTED);
    path_in(path, folder, "metrics.sqlite");
    check_ok(db_open(&db, path, DB_READONLY, NULL, 0));
    check_ok(db_int(&db, &n,
                    "SELECT count(*) FROM runs WHERE seed = 7 AND state = "
                    "'interrupted' AND rounds = 3",
                    ""));
    check(n == 1);
    check_ok(db_int(&db, &n, "SELECT sum(bytes_up) FROM rounds", ""));
    check(n == 30000000000);
    check_ok(db_int(&db, &n,
                    "SELECT count(*) FROM rounds WHERE pooled_metric IS NULL",
                    ""));
    check(n == 1);
    db_close(&db);
    check_tmpdir_remove(folder);
}

static void what_is_no_number_is_left_out(void **state)
{
    struct fleet_round r = a_round(1);
    struct buf line;
    double v;
    (void)state;
    r.loss_before = NAN;
    r.pooled.metric = INFINITY;
    buf_init(&line, 0);
    runlog_put_line(&line, &r);
    const char *said = buf_cstr(&line);
    check(strstr(said, "\"loss_before\": null") != NULL);
    check(strstr(said, "\"pooled_metric\": null") != NULL);
    check(strstr(said, "nan") == NULL && strstr(said, "inf\"") == NULL);
    check(!runlog_value(&r, 4, &v));
    buf_release(&line);
}

static void damaged_folders_are_refused(void **state)
{
    static const struct {
        const char *run, *rounds;
        enum tacit_err err;
    } bad[] = {{NULL, NULL, TACIT_NOTFOUND},
               {"", "", TACIT_FORMAT},
               {"[]", "", TACIT_FORMAT},
               {"{\"state\": \"finished\"}", "", TACIT_FORMAT},
               {"{\"state\": \"odd\", \"plan_text\": \"x\"}", "", TACIT_FORMAT},
               {"{\"state\": \"finished\", \"plan_text\": \"x\"}", "{\"round\n",
                TACIT_FORMAT}};
    char folder[256], path[512];
    struct runlog r;
    (void)state;
    check_tmpdir(folder);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        path_in(path, folder, "run.json");
        if (bad[i].run)
            check_ok(file_write(path, bad[i].run, strlen(bad[i].run), 0644));
        path_in(path, folder, "metrics.jsonl");
        if (bad[i].rounds)
            check_ok(
                file_write(path, bad[i].rounds, strlen(bad[i].rounds), 0644));
        check_err(runlog_read(folder, &r), bad[i].err);
    }
    /* Counts that no run has are cut, wrong kinds left out. */
    path_in(path, folder, "metrics.jsonl");
    const char *odd = "{\"round\": 1e300, \"inputs\": -4, \"metric\": \"x\"}\n";
    check_ok(file_write(path, odd, strlen(odd), 0644));
    check_ok(runlog_read(folder, &r));
    check(r.n_rounds == 1 && r.rounds[0].round == UINT32_MAX);
    check(r.rounds[0].n_inputs == 0 && !r.rounds[0].has_metric);
    runlog_release(&r);
    check_tmpdir_remove(folder);
}

/* A file that may not grow behaves like a full disk. */
static void a_full_disk_ends_the_run_and_its_folder_says_so(void **state)
{
    char folder[256];
    struct runlog record, seen;
    struct outputs *o = NULL;
    struct rlimit old, small;
    enum tacit_err err = TACIT_OK;
    (void)state;
    check_tmpdir(folder);
    make(&record, NULL);
    check_ok(outputs_open(folder, &record, &o));
    check(getrlimit(RLIMIT_FSIZE, &old) == 0);
    small = (struct rlimit){4096, old.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    check(setrlimit(RLIMIT_FSIZE, &small) == 0);
    for (uint32_t k = 1; !err && k <= 100; k++) {
        struct fleet_round r = a_round(k);
        err = outputs_round(o, &r);
    }
    check(setrlimit(RLIMIT_FSIZE, &old) == 0);
    check(err == TACIT_IO && err_id() == E_DISK_FULL);
    err_clear();
    outputs_free(o);
    check_ok(runlog_read(folder, &seen));
    check(seen.state == RUNLOG_RUNNING);
    check(seen.n_rounds > 0 && seen.n_rounds < 100);
    check(!exists(folder, "metrics.jsonl") && !exists(folder, "metrics.csv"));
    runlog_release(&seen);
    check_tmpdir_remove(folder);
}

/* ---- sums and pages ----------------------------------------------------- */

static void a_summary_takes_the_best_the_last_and_the_sums(void **state)
{
    struct runlog r;
    struct runlog_summary s;
    (void)state;
    make(&r, NULL);
    for (uint32_t k = 1; k <= 4; k++) {
        struct fleet_round x = a_round(k);
        if (k == 3) x.pooled.metric = .65;
        check_ok(runlog_add(&r, &x));
    }
    runlog_sum_up(&r, .7, &s);
    check_near(s.final, .65, 1e-12);
    check_near(s.best, .71, 1e-12);
    check(s.best_round == 1);
    check_near(s.worst, .4, 1e-12);
    check_near(s.bytes_up, 5e10, 1);
    check_near(s.energy_j, 1, 1e-12);
    check_near(s.virtual_s, 240, 1e-9);
    check_near(s.target_rounds, 1, 0);
    check_near(s.target_virtual_s, 60, 0);
    check(isnan(s.personal));
    r.lower_is_better = 1;
    runlog_sum_up(&r, .66, &s);
    check_near(s.best, .65, 1e-12);
    check_near(s.target_rounds, 3, 0);
    runlog_sum_up(&r, .1, &s);
    check(isnan(s.target_rounds) && isnan(s.target_virtual_s));
    runlog_release(&r);
}

static void the_page_is_whole_and_says_what_is_not_private(void **state)
{
    struct runlog r;
    struct buf page;
    (void)state;
    make(&r, "<script>");
    for (uint32_t k = 1; k <= 5; k++) {
        struct fleet_round x = a_round(k);
        if (k == 2) x.loss_before = NAN;
        x.has_personal = k == 5;
        check_ok(runlog_add(&r, &x));
        buf_init(&page, 0);
        check_ok(run_page(&r, &page));
        page_check(&page);
        const char *said = buf_cstr(&page);
        check(strstr(said, "no differential-privacy noise: "
                           "epsilon is not bounded") != NULL);
        check(strstr(said, "worst 10 %") && strstr(said, "&lt;script&gt;"));
        buf_release(&page);
    }
    runlog_release(&r);
}

static void units_are_those_a_person_reads(void **state)
{
    char out[32];
    (void)state;
    page_bytes(out, 999);
    assert_string_equal(out, "999 B");
    page_bytes(out, 1.25e9);
    assert_string_equal(out, "1.25 GB");
    page_seconds(out, 90);
    assert_string_equal(out, "1.50 min");
    page_seconds(out, 0.25);
    assert_string_equal(out, "250 ms");
    page_seconds(out, NAN);
    assert_string_equal(out, "-");
    page_joules(out, 3.6e6);
    assert_string_equal(out, "3.60 MJ");
}

/* ---- TensorBoard -------------------------------------------------------- */

static void crc32c_is_castagnolis(void **state)
{
    uint8_t zeros[32] = {0};
    (void)state;
    check(tfevents_crc32c("123456789", 9) == 0xe3069283u);
    check(tfevents_crc32c(zeros, 32) == 0x8a9136aau); /* RFC 3720, B.4 */
    check(tfevents_crc32c("", 0) == 0);
}

/* Written by TensorFlow's own rules, by hand: length 24, its masked CRC, then
 * Event{wall_time 0, file_version "brain.Event:2"}. */
static void the_first_record_is_the_version(void **state)
{
    static const uint8_t want[] = {0x18, 0, 0, 0, 0, 0, 0, 0};
    static const uint8_t body[] = {0x09, 0,    0,   0,   0,   0,   0,   0,
                                   0,    0x1a, 13,  'b', 'r', 'a', 'i', 'n',
                                   '.',  'E',  'v', 'e', 'n', 't', ':', '2'};
    char folder[256], path[512];
    struct tfevents t = {0};
    struct buf file;
    (void)state;
    check_tmpdir(folder);
    path_in(path, folder, "e");
    check_ok(tfevents_open(&t, path));
    check_ok(tfevents_close(&t));
    check_ok(tfevents_close(&t));
    buf_init(&file, 0);
    check_ok(file_read(path, 1000, &file));
    check(file.len == 12 + sizeof body + 4);
    assert_memory_equal(file.data, want, sizeof want);
    assert_memory_equal(file.data + 12, body, sizeof body);
    uint32_t crc = tfevents_crc32c(body, sizeof body);
    check(le32_load(file.data + 12 + sizeof body) ==
          (crc >> 15 | crc << 17) + 0xa282ead8u);
    buf_release(&file);
    check_tmpdir_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_is_read_as_it_was_written),
        cmocka_unit_test(an_open_run_has_rounds_but_no_results),
        cmocka_unit_test(a_failed_run_says_why),
        cmocka_unit_test(the_database_holds_the_run_and_its_rounds),
        cmocka_unit_test(what_is_no_number_is_left_out),
        cmocka_unit_test(damaged_folders_are_refused),
        cmocka_unit_test(a_full_disk_ends_the_run_and_its_folder_says_so),
        cmocka_unit_test(a_summary_takes_the_best_the_last_and_the_sums),
        cmocka_unit_test(the_page_is_whole_and_says_what_is_not_private),
        cmocka_unit_test(units_are_those_a_person_reads),
        cmocka_unit_test(crc32c_is_castagnolis),
        cmocka_unit_test(the_first_record_is_the_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
