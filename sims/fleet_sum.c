/* fleet: a sum by its arithmetic alone. Each worker trains, encodes into the
 * ring and adds to a sum of its own; sums of integers modulo 2^k do not depend
 * on their order, so the result is that of the masked protocol to the bit. */
#include "sims/fleet_parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/rng.h"
#include "sims/attacks.h"

/* The rows that the worker of a seat will most likely train on next. */
static const struct examples *next_rows(const struct sum *s,
                                        const struct seat *seat)
{
    const struct fleet *f = s->f;
    size_t i = (size_t)(seat - s->seats) +
               pool_threads(f->pool) * (f->c.peers ? f->c.peers->size : 1);
    return i < s->n_seats && s->seats[i].in_sum
               ? &f->c.data[s->seats[i].client].train
               : NULL;
}

/* A simulation replays: its noise is drawn from the plan's seed. */
static void draw_secret(const struct sum *s, const struct seat *seat,
                        uint8_t out[32])
{
    struct rng r;
    rng_init(&r, s->f->c.plan->seed ^ 0x6e6f697365U,
             (uint64_t)s->round << 32 | s->attempt, seat->client);
    for (int i = 0; i < 4; i++) le64_store(out + 8 * i, rng_u64(&r));
}

/* Clients have the ranks of a list in turn. */
static uint32_t rank_of(const struct plan *p, size_t client)
{
    return p->sim.n_ranks ? p->sim.ranks[client % p->sim.n_ranks] : 0;
}

enum tacit_err fleet_train(struct sum *s, struct seat *seat, struct model *m,
                           const float *down, struct trained *out)
{
    const struct fleet *f = s->f;
    const struct aggregate *a = f->learned;
    uint8_t secret[32];
    const struct trainer_task task = {.plan = f->c.plan,
                                      .strategy = a->strategy,
                                      .numbers = &a->numbers,
                                      .down = down,
                                      .state = f->kept[seat->client],
                                      .round = s->round,
                                      .client = seat->client,
                                      .work = seat->fate.work,
                                      .rank = rank_of(f->c.plan, seat->client),
                                      .next = next_rows(s, seat),
                                      .privacy = &a->privacy,
                                      .secret = secret};
    draw_secret(s, seat, secret);
    TRY(fleet_stopped(f));
    TRY(trainer_run(&task, m, &f->c.data[seat->client], out));
    seat->loss = out->metrics[TASK_LOSS_AFTER];
    if (seat->attacks)
        attacks_update(f->c.plan, seat->client, s->round, out->up,
                       a->n * a->strategy->n_up);
    if (out->next_state && !out->without_own) {
        size_t n = a->n * a->strategy->n_client;
        seat->next_state = malloc(n * sizeof *seat->next_state);
        if (!seat->next_state)
            return fail(TACIT_NOMEM, "what client %zu keeps", seat->client);
        memcpy(seat->next_state, out->next_state, n * sizeof *out->next_state);
    }
    return TACIT_OK;
}

/* ---- one seat, on a worker ---------------------------------------------- */

static enum tacit_err room(const struct fleet *f, struct worker *w)
{
    const struct aggregate *a = f->learned;
    size_t n = ring_coords(&a->layout);
    if (!w->trained.up) TRY(trained_new(a->strategy, a->n, &w->trained));
    if (!w->model) {
        struct model_spec spec;
        task_spec(f->c.plan, &spec);
        TRY(model_new(&spec, &w->model));
    }
    if (!w->y) w->y = calloc(n, sizeof *w->y);
    if (!w->sum) w->sum = calloc(n, sizeof *w->sum);
    return w->y && w->sum ? TACIT_OK
                          : fail(TACIT_NOMEM, "a sum of %zu numbers", n);
}

static enum tacit_err add(struct sum *s, struct seat *seat, struct worker *w)
{
    static const struct digest no_transcript; /* the checks hold for any */
    const struct ring_layout *l = &s->f->learned->layout;
    size_t n = ring_coords(l);
    struct ring_update u = {.delta = w->trained.up,
                            .whole = w->trained.whole,
                            .weight = w->trained.weight,
                            .metrics = w->trained.metrics,
                            .unclipped = seat->attacks};
    TRY(ring_encode(l, &u, &no_transcript, w->y));
    if (!w->used) memset(w->sum, 0, n * sizeof *w->sum);
    w->used = 1;
    ring_add(w->sum, w->y, n, l->ring_bits);
    return TACIT_OK;
}

/* Without masks every update is seen: an honest device's is clipped. */
static enum tacit_err keep_single(struct sum *s, struct seat *x,
                                  const struct trained *t)
{
    const struct aggregate *a = s->f->learned;
    size_t n = a->n * a->strategy->n_up;
    double norm2 = 0;
    x->row = malloc(n * sizeof *x->row);
    if (!x->row) return fail(TACIT_NOMEM, "an update of %zu numbers", n);
    for (size_t i = 0; i < n; i++) norm2 += (double)t->up[i] * (double)t->up[i];
    double norm = sqrt(norm2), clip = a->layout.clip;
    double shrink = norm > clip && !x->attacks ? clip / norm : 1;
    for (size_t i = 0; i < n; i++)
        x->row[i] = (float)((double)t->up[i] * shrink);
    x->mean = (struct ring_mean){.n_clients = 1, .weight = t->weight};
    memcpy(x->mean.metrics, t->metrics, sizeof t->metrics);
    return TACIT_OK;
}

static void one(void *ctx, size_t i, unsigned worker)
{
    struct sum *s = ctx;
    struct fleet *f = s->f;
    struct seat *x = &s->seats[i];
    struct worker *w = &f->workers[worker];
    if (!x->in_sum || !fleet_is_mine(f, i)) return;
    enum tacit_err err = room(f, w);
    if (!err) {
        struct params *p = model_params(w->model);
        memcpy(p->flat, f->learned->file.flat, p->n_flat * sizeof *p->flat);
        err = fleet_train(s, x, w->model, f->learned->file.flat + f->learned->n,
                          &w->trained);
    }
    if (!err && !s->singles) err = add(s, x, w);
    if (!err && s->singles) err = keep_single(s, x, &w->trained);
    if (err) {
        x->err = err;
        x->err_id = err_id();
        snprintf(x->why, sizeof x->why, "%s", err_message());
    }
    err_clear();
}

/* ---- the sum ------------------------------------------------------------ */

static enum tacit_err decode(struct sum *s, uint32_t *sum, uint32_t n_clients)
{
    static const struct digest no_transcript;
    const struct ring_layout *l = &s->f->learned->layout;
    s->update = malloc(l->n_params * sizeof *s->update);
    if (!s->update) return fail(TACIT_NOMEM, "a mean of %u", l->n_params);
    return ring_decode(l, sum, n_clients, &no_transcript, s->update, &s->mean);
}

/* Everybody's integers, of all workers and all machines. */
static enum tacit_err total(struct sum *s)
{
    struct fleet *f = s->f;
    const struct ring_layout *l = &f->learned->layout;
    size_t n = ring_coords(l);
    uint32_t *sum = calloc(n, sizeof *sum), n_clients = 0;
    if (!sum) return fail(TACIT_NOMEM, "a sum of %zu numbers", n);
    for (unsigned i = 0; i < pool_threads(f->pool); i++) {
        struct worker *w = &f->workers[i];
        if (w->used) ring_add(sum, w->sum, n, l->ring_bits);
        w->used = 0;
    }
    enum tacit_err err = fleet_share_sum(f, sum, n);
    for (size_t i = 0; i < s->n_seats; i++)
        n_clients += s->seats[i].in_sum && !s->seats[i].err;
    if (!err) err = decode(s, sum, n_clients);
    free(sum);
    return err;
}

enum tacit_err fleet_sum_run(struct sum *s)
{
    struct fleet *f = s->f;
    if (!s->agreed) {
        snprintf(s->why, sizeof s->why,
                 "too few of %zu clients stayed; %u are needed", s->n_seats,
                 f->c.plan->min_reports);
        s->why_id = E_ROUND_TOO_FEW;
        return TACIT_OK;
    }
    /* A sum that failed may have left something. */
    for (unsigned i = 0; i < pool_threads(f->pool); i++) f->workers[i].used = 0;
    pool_run(f->pool, s->n_seats, one, s);
    TRY(fleet_share_seats(s));
    TRY(fleet_first_failure(s));
    if (!s->singles) TRY(total(s));
    s->committed = 1;
    return TACIT_OK;
}
