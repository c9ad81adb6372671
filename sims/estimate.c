#include "sims/estimate.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/base/tick.h"
#include "common/task/task.h"

enum {
    PROCESS_BYTES = 8 << 20,  /* the program and its libraries */
    IDENTITY_BYTES = 600,     /* keys, roster rows, a dataset's head */
    SEAT_BYTES = 48 << 10,    /* full: sessions, shares and messages … */
    SEAT_PAIR_BYTES = 1 << 9, /* … and for each other device of the sum */
    MEASURE_NS = 15000000,
    MEASURES_MAX = 200
};

/* Rates of this code on one core of a server of 2023: what cannot be measured
 * before there is a round. */
#define MASK_S     1.1e-9 /* one coordinate of one pair's mask */
#define PAIR_S     2.5e-4 /* key agreements, shares and signatures of a pair */
#define MESSAGES_S 1.5e-3 /* encoding, hashing, signing of one device */
#define CODE_S     1.2e-8 /* quantising and adding one coordinate */

/* ---- memory ------------------------------------------------------------- */

static unsigned cores(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > 64 ? 64 : (unsigned)n;
}

static uint64_t invented_bytes(const struct estimate_case *c)
{
    const struct plan *p = c->plan;
    double values = (double)p->n_features + 1;
    if (p->format == PLAN_TEXT) values = 2.0 * p->length;
    if (p->task == PLAN_COX) values++;
    return (uint64_t)((double)c->n_clients * (double)p->sim.rows * values *
                      sizeof(float));
}

/* Vectors of n weights that one device of the round in hand holds. In the full
 * protocol: model, gradient, training, then the masked input on its way through
 * seal, chunks and runner; counted from the peak of runs with 50,000 to 800,000
 * weights and 12 to 48 devices (17 for FedAvg). */
static unsigned device_vectors(const struct plan *p, const struct strategy *s)
{
    unsigned kept = s->n_down + 2 * s->n_client;
    return kept + (p->sim.sum_only ? 4 + 2 * s->n_up : 13 + 5 * s->n_up);
}

static void count(const struct estimate_case *c, const struct strategy *s,
                  struct estimate *e)
{
    const struct plan *p = c->plan;
    uint64_t vector = (uint64_t)e->n_weights * sizeof(float);
    uint64_t at_once = task_invite_max(p), kept = 0;
    uint64_t threads = c->n_threads ? c->n_threads : cores();
    uint64_t seats = at_once;
    uint32_t groups = p->strategy.groups ? p->strategy.groups : 1;
    if (p->sim.sum_only) {
        /* Single updates, and the rule's copies. */
        if (p->secagg_off) kept = 2 * seats * s->n_up * vector;
        at_once = threads < seats ? threads : seats;
    }
    e->data = c->data_bytes ? c->data_bytes : invented_bytes(c);
    /* Twice: a checkpoint is made in memory. */
    e->clients = c->n_clients * (IDENTITY_BYTES + 2 * s->n_client * vector);
    e->server = PROCESS_BYTES + vector * (5 + 3 * s->n_down + s->n_server +
                                          (uint64_t)(2 + groups) * s->n_up);
    e->cohort = at_once * device_vectors(p, s) * vector + kept;
    if (!p->sim.sum_only)
        e->cohort += seats * (SEAT_BYTES + seats / groups * SEAT_PAIR_BYTES);
    e->total = e->data + e->clients + e->server + e->cohort;
}

enum tacit_err estimate_memory(const struct estimate_case *c,
                               struct estimate *out)
{
    struct model_spec spec;
    struct model *m = NULL;
    const struct strategy *s;
    struct strategy_config numbers;
    struct estimate e = {.seconds = NAN};
    task_spec(c->plan, &spec);
    TRY(model_new(&spec, &m));
    enum tacit_err err = task_strategy(c->plan, model_params(m), &s, &numbers);
    if (!err) {
        e.n_weights = model_params(m)->n_flat;
        count(c, s, &e);
        *out = e;
    }
    model_free(m);
    return err;
}

static void size_text(char out[32], double bytes)
{
    static const char *const unit[] = {"kB", "MB", "GB", "TB", "PB"};
    size_t i = 0;
    for (bytes /= 1e3; bytes >= 999.5 && i < 4; bytes /= 1e3) i++;
    snprintf(out, 32, "%.*f %s", bytes < 10 ? 1 : 0, bytes, unit[i]);
}

static uint64_t total_with(const struct estimate_case *c, size_t n_weights,
                           const struct strategy *s)
{
    struct estimate e = {.n_weights = n_weights};
    count(c, s, &e);
    return e.total;
}

/* The largest value of *n in [1, was) with which the case fits, 0 for none. */
static uint64_t largest(const struct estimate_case *c, size_t n_weights,
                        const struct strategy *s, uint64_t room, uint64_t was,
                        void (*set)(struct estimate_case *c, struct plan *p,
                                    uint64_t n))
{
    uint64_t low = 0, high = was;
    while (low + 1 < high) {
        struct plan p = *c->plan;
        struct estimate_case x = *c;
        uint64_t middle = low + (high - low) / 2;
        x.plan = &p;
        set(&x, &p, middle);
        if (total_with(&x, n_weights, s) <= room)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static void set_clients(struct estimate_case *c, struct plan *p, uint64_t n)
{
    c->n_clients = n;
    if (p->cohort_size > n) p->cohort_size = (uint32_t)n;
}

static void set_cohort(struct estimate_case *c, struct plan *p, uint64_t n)
{
    (void)c;
    p->cohort_size = (uint32_t)n;
}

static void set_threads(struct estimate_case *c, struct plan *p, uint64_t n)
{
    (void)p;
    c->n_threads = (unsigned)n;
}

/* Every single change with which the run would fit. */
static void put_ways_out(const struct estimate_case *c, size_t n_weights,
                         const struct strategy *s, uint64_t room,
                         struct buf *out)
{
    struct plan p = *c->plan;
    struct estimate_case sum = *c;
    uint64_t threads = c->n_threads ? c->n_threads : cores(), n;
    sum.plan = &p;
    p.sim.sum_only = 1;
    if (!c->plan->sim.sum_only && total_with(&sum, n_weights, s) <= room)
        buf_printf(out, "; sim.protocol: sum");
    n = largest(c, n_weights, s, room, threads, set_threads);
    if (n) buf_printf(out, "; --threads %llu", (unsigned long long)n);
    n = largest(c, n_weights, s, room, c->plan->cohort_size, set_cohort);
    if (n >= 2) buf_printf(out, "; cohort.size %llu", (unsigned long long)n);
    n = c->data_bytes
            ? 0
            : largest(c, n_weights, s, room, c->n_clients, set_clients);
    if (n >= 2) buf_printf(out, "; sim.clients %llu", (unsigned long long)n);
    if (c->n_runs > 1 && room * c->n_runs > 0) {
        n = room * c->n_runs / (total_with(c, n_weights, s) + 1);
        if (n) buf_printf(out, "; --jobs %llu", (unsigned long long)n);
    }
    if (out->len == 0)
        buf_printf(out, "; a smaller model, fewer rows, or more memory");
}

enum tacit_err estimate_fits(const struct estimate_case *c,
                             const struct estimate *e, uint64_t free)
{
    char want[32], data[32], round[32], have[32];
    const struct strategy *s;
    struct buf ways;
    uint64_t room = free / (c->n_runs ? c->n_runs : 1);
    if (e->total <= room) return TACIT_OK;
    TRY(strategy_find(c->plan->strategy.kind, &s));
    buf_init(&ways, 0);
    put_ways_out(c, e->n_weights, s, room, &ways);
    size_text(want, (double)e->total);
    size_text(data, (double)e->data);
    size_text(round, (double)e->cohort);
    size_text(have, (double)room);
    const char *text = buf_cstr(&ways);
    enum tacit_err err = fail_as(
        E_TOO_LARGE,
        "plan %s needs about %s (data %s, a round's devices %s), and %s are "
        "free%s; any of these would fit: %s",
        c->plan->name, want, data, round, have,
        c->n_runs > 1 ? " for each of the runs at once" : "",
        text ? text + 2 : "less");
    buf_release(&ways);
    return err;
}

/* ---- data ---------------------------------------------------------------- */

static enum tacit_err add_file(const char *path, void *ctx)
{
    uint64_t *total = ctx;
    struct stat st;
    const char *dot = strrchr(path, '.');
    int is_text =
        dot && (strcmp(dot, ".csv") == 0 || strcmp(dot, ".jsonl") == 0 ||
                strcmp(dot, ".npy") == 0);
    if (stat(path, &st) != 0) return TACIT_OK; /* reading it names the fault */
    /* A byte of an image becomes a float; a number of a table has about four
     * bytes already. */
    *total += (uint64_t)st.st_size * (is_text ? 1 : sizeof(float));
    return TACIT_OK;
}

enum tacit_err estimate_files(const char *path, uint64_t *out)
{
    uint64_t total = 0;
    TRY(file_walk(path, add_file, &total));
    *out = total;
    return TACIT_OK;
}

/* ---- time --------------------------------------------------------------- */

/* What a local step mostly is. */
static enum tacit_err one_step(const struct plan *p, struct model *m,
                               const struct examples *ex, const uint32_t *rows,
                               size_t n, float *gradient)
{
    float loss;
    if (strcmp(p->optimizer, "mezo") != 0)
        return model_gradient(m, ex, rows, n, gradient, &loss);
    TRY(model_loss(m, ex, rows, n, &loss));
    return model_loss(m, ex, rows, n, &loss);
}

/* Seconds of one gradient of a batch. */
static enum tacit_err time_step(const struct plan *p, struct model *m,
                                const struct examples *ex, double *out)
{
    size_t n = ex->n_rows < p->batch ? ex->n_rows : p->batch;
    size_t n_flat = model_params(m)->n_flat;
    float *gradient = malloc(n_flat * sizeof *gradient);
    uint32_t *rows = malloc((n ? n : 1) * sizeof *rows);
    enum tacit_err err = TACIT_OK;
    unsigned k = 0;
    if (!gradient || !rows) err = fail(TACIT_NOMEM, "no memory to measure");
    for (size_t i = 0; !err && i < n; i++) rows[i] = (uint32_t)i;
    int64_t start = 0, now = 0;
    for (; !err && k < MEASURES_MAX && now - start < MEASURE_NS; k++) {
        err = one_step(p, m, ex, rows, n, gradient);
        now = tick_ns();
        if (k == 0) start = now; /* the first one warms the caches */
    }
    if (!err && k > 1) *out = (double)(now - start) * 1e-9 / (k - 1);
    free(gradient);
    free(rows);
    return err;
}

/* Seconds of measuring one held-out row. */
static enum tacit_err time_row(struct model *m, const struct examples *ex,
                               double *out)
{
    struct model_metrics metrics;
    struct examples some = *ex;
    if (some.n_rows > 256) some.n_rows = 256;
    if (some.n_rows == 0) return TACIT_OK;
    int64_t start = tick_ns();
    TRY(model_evaluate(m, &some, &metrics));
    *out = (double)(tick_ns() - start) * 1e-9 / (double)some.n_rows;
    return TACIT_OK;
}

/* What masks, messages and the ring cost one device of a round. */
static double protocol_seconds(const struct plan *p, const struct strategy *s,
                               size_t n_weights)
{
    double values = (double)n_weights * s->n_up;
    uint32_t groups = p->strategy.groups ? p->strategy.groups : 1;
    double peers = (double)task_invite_max(p) / groups;
    if (p->sim.sum_only) return values * CODE_S;
    return values * (2 * CODE_S + peers * MASK_S) + peers * PAIR_S + MESSAGES_S;
}

static void add_up(const struct estimate_case *c, const struct strategy *s,
                   const struct dataset *d, double step_s, double row_s,
                   struct estimate *e)
{
    const struct plan *p = c->plan;
    double steps = 0, rows = 0;
    unsigned threads = c->n_threads ? c->n_threads : cores();
    double at_once = threads < cores() ? threads : cores();
    for (size_t i = 0; i < c->n_clients; i++) {
        double n = (double)d[i].train.n_rows;
        /* Row by row, which costs a step more than its share of a batch. */
        steps += p->privacy.record ? n * p->privacy.sample
                 : p->local_epochs ? ceil(n / p->batch) * p->local_epochs
                                   : p->local_steps;
        rows += (double)d[i].test.n_rows;
    }
    steps /= (double)c->n_clients;
    double protocol = protocol_seconds(p, s, e->n_weights);
    /* About half of what the full protocol costs is the coordinator's. */
    double alone = p->sim.sum_only ? 0 : protocol / 2;
    double shared = steps * step_s + protocol - alone;
    double round = task_invite_max(p) * (alone + shared / at_once);
    e->seconds = p->rounds * (round + rows * row_s / p->sim.evaluate_every);
}

enum tacit_err estimate_time(const struct estimate_case *c,
                             const struct dataset *d, struct estimate *out)
{
    struct model_spec spec;
    struct model *m = NULL;
    const struct strategy *s;
    struct strategy_config numbers;
    double step_s = 0, row_s = 0;
    size_t i = 0;
    task_spec(c->plan, &spec);
    TRY(model_new(&spec, &m));
    while (i < c->n_clients && d[i].train.n_rows == 0) i++;
    enum tacit_err err = task_strategy(c->plan, model_params(m), &s, &numbers);
    model_init(m, c->plan->seed);
    if (!err && i < c->n_clients)
        err = time_step(c->plan, m, &d[i].train, &step_s);
    if (!err && i < c->n_clients) err = time_row(m, &d[i].test, &row_s);
    if (!err) {
        out->n_weights = model_params(m)->n_flat;
        add_up(c, s, d, step_s, row_s, out);
    }
    model_free(m);
    return err;
}
