#include "tests/check.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/buf.h"
#include "common/base/codes.h"
#include "common/base/digest.h"
#include "common/base/file.h"
#include "common/base/rng.h"
#include "sims/checkpoint.h"
#include "sims/fleet.h"
#include "sims/sites.h"

enum { PARAMS_MOST = 64, TEXT_MAX = 2048, ROUNDS = 30, CUT = 11 };

/* Small clients, and everything that may happen to them. */
static const char plan_format[] =
    "name: small\n"
    "task: classify\n"
    "model: {kind: logistic}\n"
    "data:\n"
    "  source: patients\n"
    "  label: disease\n"
    "  columns: [{name: age}, {name: sex}, {name: thalach}, {name: oldpeak}]\n"
    "  standardise: site\n"
    "  holdout: 0.25\n"
    "rounds: 30\n"
    "cohort: {size: 5, min_reports: 3, over_select: 1.2}\n"
    "local: {steps: 4, batch: 8, learning_rate: 0.1}\n"
    "strategy: {kind: %s}\n"
    "sim: {clients: 24, rows: 20, dropout: 0.1, stragglers: 0.3,\n"
    "      evaluate_every: 4, checkpoint_every: 7, protocol: %s%s}\n";

struct run {
    char text[TEXT_MAX];
    struct plan *plan;
    struct sites sites;
    atomic_int stop;
    struct fleet *fleet;
};

static void launch(struct run *r, size_t n_clients, unsigned n_threads)
{
    const struct fleet_config c = {.plan = r->plan,
                                   .plan_text = r->text,
                                   .plan_bytes = strlen(r->text),
                                   .data = r->sites.data,
                                   .n_clients = n_clients,
                                   .n_threads = n_threads,
                                   .stop = &r->stop};
    check_ok(fleet_new(&c, &r->fleet));
}

static void start(struct run *r, const char *kind, const char *protocol,
                  const char *more, unsigned n_threads)
{
    memset(r, 0, sizeof *r);
    int n =
        snprintf(r->text, sizeof r->text, plan_format, kind, protocol, more);
    check(n > 0 && (size_t)n < sizeof r->text);
    check_ok(plan_parse("small.yaml", r->text, (size_t)n, &r->plan));
    check_ok(sites_invent(r->plan, &r->sites));
    launch(r, r->sites.n, n_threads);
}

static void finish(struct run *r)
{
    fleet_free(r->fleet);
    sites_release(&r->sites);
    plan_free(r->plan);
}

static void go(struct run *r, int n)
{
    struct fleet_round round;
    for (int i = 0; i < n; i++) check_ok(fleet_round(r->fleet, &round));
}

/* ---- the same bits ------------------------------------------------------ */

static int same_bits(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

static void check_same_round(const struct fleet_round *a,
                             const struct fleet_round *b)
{
    check(a->round == b->round && a->n_attempts == b->n_attempts);
    check(a->n_invited == b->n_invited && a->n_inputs == b->n_inputs);
    check(same_bits(a->loss_before, b->loss_before));
    check(same_bits(a->loss_after, b->loss_after));
    check(same_bits(a->metric, b->metric) && a->has_metric == b->has_metric);
    check(same_bits(a->personal, b->personal));
    check(a->has_personal == b->has_personal && a->staleness == b->staleness);
    check(same_bits(a->pooled.loss, b->pooled.loss));
    check(same_bits(a->pooled.metric, b->pooled.metric));
    check(a->pooled.n_rows == b->pooled.n_rows);
    check(a->has_pooled == b->has_pooled);
    check(memcmp(&a->spread, &b->spread, sizeof a->spread) == 0);
    check(a->bytes_up == b->bytes_up && a->bytes_down == b->bytes_down);
    check(same_bits(a->energy_j, b->energy_j));
    check(a->virtual_ms == b->virtual_ms);
}

static void check_same(const struct run *a, const struct run *b)
{
    size_t n, m;
    const struct fleet_round *x = fleet_told(a->fleet, &n);
    const struct fleet_round *y = fleet_told(b->fleet, &m);
    const struct params *p = model_params(fleet_model(a->fleet));
    const struct params *q = model_params(fleet_model(b->fleet));
    check(n == m && p->n_flat == q->n_flat);
    check(memcmp(p->flat, q->flat, p->n_flat * sizeof *p->flat) == 0);
    for (size_t i = 0; i < n; i++) check_same_round(&x[i], &y[i]);
}

struct kind {
    const char *strategy, *more;
};

static const struct kind kinds[] = {
    {"fedavg", ", devices: {crash: 0.05, duplicate: 0.1, delay: 0.1}"},
    {"scaffold", ""},
    {"fedadam", ""},
    {"fedbuff, concurrent: 3", ""},
    {"fedavg",
     ",\n      selection: oort, devices: {battery: 0.7, available: 0.5}"},
    {"ditto", ", attack: {kind: sign_flip, share: 0.2}"},
};

/* 30 rounds at once, and 11 with one number of threads, then a new process with
 * another. */
static void check_goes_on(const struct kind *k, const char *protocol,
                          unsigned threads_most)
{
    char folder[256];
    struct run whole, first, second;
    check_tmpdir(folder);
    for (unsigned threads = 1; threads <= threads_most; threads++) {
        start(&whole, k->strategy, protocol, k->more, threads);
        go(&whole, ROUNDS);
        start(&first, k->strategy, protocol, k->more, threads);
        go(&first, CUT);
        check_ok(checkpoint_write(folder, first.fleet));
        go(&first, 1); /* what came after is lost */
        finish(&first);
        start(&second, k->strategy, protocol, k->more, 3 - threads);
        check_ok(checkpoint_read(folder, second.fleet));
        go(&second, ROUNDS - CUT);
        check_same(&whole, &second);
        finish(&whole);
        finish(&second);
    }
    check_tmpdir_remove(folder);
}

static void a_run_goes_on_to_the_same_bits(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        check_goes_on(&kinds[i], "sum", 2);
}

static void so_does_one_of_the_full_protocol(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        check_goes_on(&kinds[i], "full", 1);
}

/* ---- a stop ------------------------------------------------------------- */

struct stopper {
    struct run *run;
    atomic_int over;
};

/* Stops the run at whatever it does, again and again. */
static void *stop_often(void *arg)
{
    struct stopper *s = arg;
    struct rng r;
    rng_init(&r, 7, 0, 0);
    while (!atomic_load(&s->over)) {
        struct timespec t = {.tv_nsec = (long)rng_below(&r, 900000)};
        nanosleep(&t, NULL);
        atomic_store(&s->run->stop, 1);
    }
    return NULL;
}

static void check_stops(const struct kind *k, const char *protocol)
{
    struct run whole, stopped;
    struct fleet_round round;
    pthread_t thread;
    unsigned n_stops = 0;
    start(&whole, k->strategy, protocol, k->more, 2);
    go(&whole, ROUNDS);
    start(&stopped, k->strategy, protocol, k->more, 2);
    struct stopper s = {.run = &stopped};
    check(pthread_create(&thread, NULL, stop_often, &s) == 0);
    for (int i = 0; i < ROUNDS;) {
        /* After a few stops a round may run through. */
        if (n_stops % 4 == 3) atomic_store(&s.over, 1);
        atomic_store(&stopped.stop, 0);
        enum tacit_err err = fleet_round(stopped.fleet, &round);
        if (err) {
            check_code(err, E_INTERRUPTED);
            n_stops++;
            if (!atomic_load(&s.over)) continue;
        } else {
            i++;
        }
        if (!atomic_load(&s.over)) continue;
        check(pthread_join(thread, NULL) == 0);
        atomic_store(&stopped.stop, 0);
        if (err) check_ok(fleet_round(stopped.fleet, &round));
        i += err != TACIT_OK;
        n_stops++;
        atomic_store(&s.over, 0);
        check(pthread_create(&thread, NULL, stop_often, &s) == 0);
    }
    atomic_store(&s.over, 1);
    check(pthread_join(thread, NULL) == 0);
    check_same(&whole, &stopped);
    finish(&whole);
    finish(&stopped);
}

static void a_stopped_round_leaves_nothing_behind(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        check_stops(&kinds[i], "sum");
    check_stops(&kinds[3], "full");
}

/* ---- when it is written ------------------------------------------------- */

static void it_is_written_as_the_plan_says_and_removed_at_the_end(void **state)
{
    (void)state;
    char folder[256], path[300];
    struct run r, other;
    check_tmpdir(folder);
    snprintf(path, sizeof path, "%s/checkpoint", folder);
    start(&r, "fedavg", "sum", "", 1);
    check_ok(checkpoint_round(folder, r.fleet));
    check(!file_exists(path));
    for (int i = 1; i <= ROUNDS; i++) {
        go(&r, 1);
        check_ok(checkpoint_round(folder, r.fleet));
        check(file_exists(path) == (i >= 7));
    }
    size_t n;
    start(&other, "fedavg", "sum", "", 1);
    check_ok(checkpoint_read(folder, other.fleet));
    (void)fleet_told(other.fleet, &n);
    check(n == 28);
    /* Only a fleet that has not begun takes one. */
    check_err(checkpoint_read(folder, other.fleet), TACIT_STATE);
    check_ok(checkpoint_remove(folder));
    check(!file_exists(path));
    check_ok(checkpoint_remove(folder));
    finish(&r);
    finish(&other);
    check_tmpdir_remove(folder);
}

static void a_run_that_ends_early_keeps_one_and_says_so(void **state)
{
    (void)state;
    char folder[256], path[300];
    struct run r;
    check_tmpdir(folder);
    snprintf(path, sizeof path, "%s/checkpoint", folder);
    start(&r, "fedavg", "sum", "", 1);
    enum tacit_err err = err_failed(err_record(TACIT_OK, E_INTERRUPTED, "cut"));
    err = checkpoint_keep(folder, r.fleet, err); /* nothing to keep yet */
    check_code(err, E_INTERRUPTED);
    check(!file_exists(path));
    go(&r, 3);
    err = err_failed(err_record(TACIT_OK, E_LOSS_NAN, "cut"));
    check_code(checkpoint_keep(folder, r.fleet, err), E_LOSS_NAN);
    check(!file_exists(path)); /* it would only come to the same */
    err = err_failed(err_record(TACIT_OK, E_INTERRUPTED, "cut"));
    err = checkpoint_keep(folder, r.fleet, err);
    check(strstr(err_message(), "cut; --resume goes on from /") != NULL);
    check_code(err, E_INTERRUPTED);
    check(file_exists(path));
    check_ok(checkpoint_keep(folder, r.fleet, TACIT_OK));
    finish(&r);
    check_tmpdir_remove(folder);
}

/* ---- what cannot be gone on from ---------------------------------------- */

struct stored {
    char folder[256], path[300];
    struct buf bytes;
    struct run run;
};

/* FedBuff has the most to tell. */
static void store(struct stored *s)
{
    check_tmpdir(s->folder);
    snprintf(s->path, sizeof s->path, "%s/checkpoint", s->folder);
    start(&s->run, kinds[3].strategy, "sum", "", 1);
    go(&s->run, 3);
    check_ok(checkpoint_write(s->folder, s->run.fleet));
    buf_init(&s->bytes, 0);
    check_ok(file_read(s->path, 1 << 24, &s->bytes));
}

static void store_end(struct stored *s)
{
    finish(&s->run);
    buf_release(&s->bytes);
    check_tmpdir_remove(s->folder);
}

/* Read from these bytes into a new fleet. */
static enum tacit_err take(struct stored *s, const uint8_t *bytes, size_t n)
{
    fleet_free(s->run.fleet);
    s->run.fleet = NULL;
    launch(&s->run, s->run.sites.n, 1);
    check_ok(file_write(s->path, bytes, n, 0644));
    enum tacit_err err = checkpoint_read(s->folder, s->run.fleet);
    if (err) check(strstr(err_message(), s->path) != NULL);
    return err;
}

static void a_damaged_checkpoint_is_refused(void **state)
{
    (void)state;
    struct stored s;
    store(&s);
    size_t n = s.bytes.len, step = n / 97;
    check_ok(take(&s, s.bytes.data, n));
    for (size_t at = 0; at < n; at += at < 120 ? 1 : step) {
        enum tacit_err err;
        s.bytes.data[at] ^= 0x40;
        err = take(&s, s.bytes.data, n);
        /* Its version is looked at first. */
        check_code(err,
                   at >= 16 && at < 20 ? E_STORE_NEWER : E_CHECKPOINT_DAMAGED);
        s.bytes.data[at] ^= 0x40;
        check_code(take(&s, s.bytes.data, at), E_CHECKPOINT_DAMAGED);
    }
    buf_put_u8(&s.bytes, 0);
    check_code(take(&s, s.bytes.data, n + 1), E_CHECKPOINT_DAMAGED);
    store_end(&s);
}

/* Bytes that were made to be read: every field of it wrong, digest right. */
static void no_bytes_do_harm(void **state)
{
    (void)state;
    struct stored s;
    unsigned n_taken = 0, n_refused = 0;
    store(&s);
    size_t n = s.bytes.len - DIGEST_BYTES;
    for (size_t at = 96; at < n; at += at % 3 + 1) {
        static const uint8_t wrong[] = {0xff, 0x80, 0x01};
        uint8_t was = s.bytes.data[at];
        s.bytes.data[at] ^= wrong[at % 3];
        struct digest d;
        digest_of(&d, s.bytes.data, n);
        memcpy(s.bytes.data + n, d.b, DIGEST_BYTES);
        fleet_free(s.run.fleet);
        s.run.fleet = NULL;
        launch(&s.run, s.run.sites.n, 1);
        enum tacit_err err = fleet_load(s.run.fleet, s.bytes.data + 96, n - 96);
        n_taken += !err;
        n_refused += err == TACIT_FORMAT;
        check(!err || err == TACIT_FORMAT);
        err_clear();
        s.bytes.data[at] = was;
    }
    for (size_t k = 96; k < n; k += 13) {
        fleet_free(s.run.fleet);
        s.run.fleet = NULL;
        launch(&s.run, s.run.sites.n, 1);
        check_err(fleet_load(s.run.fleet, s.bytes.data + 96, k - 96),
                  TACIT_FORMAT);
    }
    check(n_taken > 100 && n_refused > 100);
    store_end(&s);
}

static void another_run_is_not_gone_on_with(void **state)
{
    (void)state;
    struct stored s;
    struct run other;
    store(&s);
    start(&other, "fedavg", "sum", "", 1);
    check_code(checkpoint_read(s.folder, other.fleet), E_CHECKPOINT_OTHER);
    finish(&other);
    fleet_free(s.run.fleet);
    s.run.fleet = NULL;
    launch(&s.run, s.run.sites.n - 1, 1);
    enum tacit_err err = checkpoint_read(s.folder, s.run.fleet);
    check(strstr(err_message(), "24 clients") != NULL);
    check_code(err, E_CHECKPOINT_OTHER);
    /* One row of one client. */
    start(&other, kinds[3].strategy, "sum", "", 1);
    float *y = malloc(other.sites.data[5].train.n_rows * sizeof *y);
    check(y != NULL);
    memcpy(y, other.sites.data[5].train.y,
           other.sites.data[5].train.n_rows * sizeof *y);
    y[0] = 1 - y[0];
    other.sites.data[5].train.y = y;
    err = checkpoint_read(s.folder, other.fleet);
    check(strstr(err_message(), "other rows") != NULL);
    check_code(err, E_CHECKPOINT_OTHER);
    finish(&other);
    free(y);
    check_ok(checkpoint_remove(s.folder));
    start(&other, "fedavg", "sum", "", 1);
    err = checkpoint_read(s.folder, other.fleet);
    check(strstr(err_message(), "leave --resume away") != NULL);
    check_err(err, TACIT_NOTFOUND);
    finish(&other);
    store_end(&s);
}

int main(void)
{
    rng_setup();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_goes_on_to_the_same_bits),
        cmocka_unit_test(so_does_one_of_the_full_protocol),
        cmocka_unit_test(a_stopped_round_leaves_nothing_behind),
        cmocka_unit_test(it_is_written_as_the_plan_says_and_removed_at_the_end),
        cmocka_unit_test(a_run_that_ends_early_keeps_one_and_says_so),
        cmocka_unit_test(a_damaged_checkpoint_is_refused),
        cmocka_unit_test(no_bytes_do_harm),
        cmocka_unit_test(another_run_is_not_gone_on_with),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
