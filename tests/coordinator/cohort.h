/*
 * cohort: devices with real round keys that talk to a runner by hand, under a
 * clock that the test turns. Used by the tests of this folder.
 *
 * A device does the next step of the protocol whenever it has its answer; one
 * that dropped says nothing more. Deltas are small integers times 1/8, so that
 * sums are easy to state.
 */
#ifndef TACIT_TESTS_COORDINATOR_COHORT_H
#define TACIT_TESTS_COORDINATOR_COHORT_H

#include "tests/check.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "common/crypto/keys.h"
#include "common/wire/blob.h"
#include "coordinator/runner.h"

enum { COHORT_MAX = 8, COHORT_PARAMS = 5, COHORT_NEVER = 9 };

struct device {
    struct keys keys;
    struct secagg_client *client;
    int asked;   /* a request is out */
    int replied; /* … and `reply` answers it */
    struct message reply;
    uint8_t bytes[SECAGG_CLIENTS_MAX * SECAGG_SEALED]; /* its pointers */
    int stage; /* next step: 0 POLL, 1 ADVERT, … 5 REVEAL, 7 over */
    int drop;  /* silent from this step on; COHORT_NEVER = stays */
    uint32_t weight;
    float delta[COHORT_PARAMS];
    double metrics[2];
    uint8_t *sealed; /* last SHARES */
    uint8_t *packed; /* its masked input */
    size_t n_packed;
    unsigned n_wait;
    struct msg_over over;
};

struct cohort {
    struct runner *runner;
    struct runner_config config;
    int64_t now_ms;
    unsigned n;
    struct device d[COHORT_MAX];
    float weights[COHORT_PARAMS];
    /* What commit() saw. */
    int n_commits;
    enum tacit_err commit_result;
    float next[COHORT_PARAMS];
    struct ring_mean mean;
    struct digest transcript;
};

static void cohort_reply(void *ctx, uint64_t token, const struct message *m)
{
    struct cohort *c = ctx;
    if (token >= c->n) return; /* a test's own request */
    struct device *d = &c->d[token];
    check(d->asked && !d->replied);
    d->reply = *m;
    d->replied = 1;
    if (m->type == MSG_PEER_SHARES) {
        memcpy(d->bytes, m->u.peer_shares.sealed,
               (size_t)m->u.peer_shares.n * SECAGG_SEALED);
        d->reply.u.peer_shares.sealed = d->bytes;
    } else if (m->type == MSG_SIGNATURES) {
        memcpy(d->bytes, m->u.signatures.signatures,
               (size_t)m->u.signatures.n * SECAGG_SIGNATURE);
        d->reply.u.signatures.signatures = d->bytes;
    }
}

static enum tacit_err cohort_commit(void *ctx,
                                    const struct runner_result *result,
                                    struct msg_over *over)
{
    struct cohort *c = ctx;
    if (c->commit_result != TACIT_OK)
        return fail(c->commit_result, "the test's disk is full");
    c->n_commits++;
    check(result->n_params == COHORT_PARAMS);
    for (int p = 0; p < COHORT_PARAMS; p++)
        c->next[p] = c->weights[p] + result->update[p];
    c->mean = result->mean;
    over->model_version = over->round;
    return TACIT_OK;
}

/* n devices, a round that needs u_min of them; nothing is sent yet. */
static void cohort_begin(struct cohort *c, unsigned n, uint32_t u_min)
{
    memset(c, 0, sizeof *c);
    c->n = n;
    c->now_ms = 1000;
    struct runner_config *k = &c->config;
    struct msg_task *t = &k->round.task;
    k->layout = (struct ring_layout){.n_params = COHORT_PARAMS,
                                     .n_metrics = 2,
                                     .ring_bits = 32,
                                     .clients_max = 128,
                                     .clip = 100,
                                     .metric_max = 64};
    rng_secure(t->session, sizeof t->session);
    digest_of(&t->plan_hash, "plan", 4);
    digest_of(&t->model_hash, "model", 5);
    digest_of(&t->roster_hash, "roster", 6);
    t->round = 1;
    t->n_rounds = 3;
    t->ring_bits = 32;
    t->n_coords = ring_coords(&k->layout);
    t->u_min = u_min;
    t->stage_ms = 5000;
    t->train_ms = 60000;
    k->round.invite_max = n;
    k->round.goal = n;
    k->reply = cohort_reply;
    k->commit = cohort_commit;
    k->ctx = c;
    for (unsigned i = 0; i < n; i++) {
        struct device *d = &c->d[i];
        check_ok(keys_new(&d->keys));
        d->drop = COHORT_NEVER;
        d->weight = (i + 1) * 1000;
        for (int p = 0; p < COHORT_PARAMS; p++)
            d->delta[p] = (float)((int)i - p) / 8;
        d->metrics[0] = (double)i;
        d->metrics[1] = 1;
    }
    for (int p = 0; p < COHORT_PARAMS; p++) c->weights[p] = (float)p;
}

static void cohort_open(struct cohort *c)
{
    check_ok(runner_new(&c->config, c->now_ms, &c->runner));
}

static void cohort_end(struct cohort *c)
{
    for (unsigned i = 0; i < c->n; i++) {
        secagg_client_free(c->d[i].client);
        keys_release(&c->d[i].keys);
        free(c->d[i].packed);
        free(c->d[i].sealed);
    }
    runner_free(c->runner);
}

static int cohort_send(struct cohort *c, unsigned i, uint64_t token,
                       const struct message *m)
{
    struct device *d = &c->d[i];
    struct runner_peer peer = {d->keys.id, d->keys.sign_public};
    if (token == i) {
        d->asked = 1;
        d->replied = 0;
    }
    return runner_message(c->runner, c->now_ms, &peer, token, m);
}

/* Fill in the session that every stage message starts with. */
static struct message cohort_message(const struct cohort *c,
                                     enum message_type type)
{
    struct message m;
    memset(&m, 0, sizeof m);
    m.type = type;
    memcpy(&m.u, c->config.round.task.session, 32);
    return m;
}

static void device_poll(struct cohort *c, unsigned i)
{
    struct message m;
    memset(&m, 0, sizeof m);
    m.type = MSG_POLL;
    cohort_send(c, i, i, &m);
}

static void device_advert(struct cohort *c, unsigned i)
{
    struct device *d = &c->d[i];
    const struct msg_task *t = &d->reply.u.task;
    struct secagg_terms terms = {.plan_hash = t->plan_hash,
                                 .model_hash = t->model_hash,
                                 .roster_hash = t->roster_hash,
                                 .round = t->round,
                                 .ring_bits = t->ring_bits,
                                 .n_coords = t->n_coords,
                                 .u_min = t->u_min};
    memcpy(terms.session, t->session, 32);
    check(d->reply.type == MSG_TASK);
    check_ok(
        secagg_client_new(&terms, d->keys.id, d->keys.sign_secret, &d->client));
    struct message m = cohort_message(c, MSG_ADVERT);
    secagg_client_advert(d->client, &m.u.advert.advert);
    cohort_send(c, i, i, &m);
}

static void device_shares(struct cohort *c, unsigned i)
{
    struct device *d = &c->d[i];
    const struct msg_roster *r = &d->reply.u.roster;
    check(d->reply.type == MSG_ROSTER);
    struct message m = cohort_message(c, MSG_SHARES);
    d->sealed = calloc(r->n, SECAGG_SEALED);
    check(d->sealed != NULL);
    check_ok(secagg_client_share(d->client, r->list, r->n, d->sealed));
    m.u.shares.n = r->n;
    m.u.shares.sealed = d->sealed;
    cohort_send(c, i, i, &m);
}

/* This device's plain ring input for transcript T. */
static void device_plain(const struct cohort *c, unsigned i,
                         const struct digest *transcript, uint32_t *y)
{
    const struct device *d = &c->d[i];
    struct ring_update u = {.delta = d->delta,
                            .weight = d->weight,
                            .metrics = d->metrics};
    check_ok(ring_encode(&c->config.layout, &u, transcript, y));
}

/* One chunk, or a repeat of it, outside the device's own requests. */
static void device_chunk(struct cohort *c, unsigned i, uint64_t token)
{
    struct device *d = &c->d[i];
    struct message m = cohort_message(c, MSG_CHUNK_PUT);
    m.u.chunk_put.n_chunks = 1;
    m.u.chunk_put.len = (uint32_t)d->n_packed;
    m.u.chunk_put.bytes = d->packed;
    digest_of(&m.u.chunk_put.hash, d->packed, d->n_packed);
    check(cohort_send(c, i, token, &m) == 1);
}

static void device_input_message(const struct cohort *c, unsigned i,
                                 struct message *m)
{
    const struct device *d = &c->d[i];
    *m = cohort_message(c, MSG_INPUT);
    m->u.input.n_chunks = 1;
    digest_of(&m->u.input.hash, d->packed, d->n_packed);
}

static void device_input(struct cohort *c, unsigned i)
{
    struct device *d = &c->d[i];
    const struct msg_peer_shares *s = &d->reply.u.peer_shares;
    check(d->reply.type == MSG_PEER_SHARES);
    check_ok(secagg_client_receive(d->client, s->senders, s->sealed, s->n));
    secagg_client_transcript(d->client, &c->transcript);
    size_t n = ring_coords(&c->config.layout);
    uint32_t *y = calloc(n, sizeof *y);
    check(y != NULL);
    device_plain(c, i, &c->transcript, y);
    check_ok(secagg_client_mask(d->client, y));
    d->n_packed = n * 4;
    d->packed = malloc(d->n_packed);
    check(d->packed != NULL);
    ring_pack(d->packed, y, n, 32);
    free(y);
    d->asked = 1;
    d->replied = 0;
    device_chunk(c, i, i);
    check(d->replied && d->reply.type == MSG_CHUNK_OK);
    struct message m;
    device_input_message(c, i, &m);
    cohort_send(c, i, i, &m);
}

static void device_consistency(struct cohort *c, unsigned i)
{
    struct device *d = &c->d[i];
    check(d->reply.type == MSG_SURVIVORS);
    struct message m = cohort_message(c, MSG_CONSISTENCY);
    check_ok(secagg_client_sign(d->client, &d->reply.u.survivors.u3,
                                m.u.consistency.signature));
    cohort_send(c, i, i, &m);
}

static void device_reveal(struct cohort *c, unsigned i)
{
    struct device *d = &c->d[i];
    const struct msg_signatures *s = &d->reply.u.signatures;
    unsigned n = 0;
    check(d->reply.type == MSG_SIGNATURES);
    struct message m = cohort_message(c, MSG_REVEAL);
    check_ok(secagg_client_reveal(d->client, s->signers, s->signatures, s->n,
                                  m.u.reveal.shares, &n));
    m.u.reveal.n = (uint16_t)n;
    cohort_send(c, i, i, &m);
}

/* The device's next step; 0 when it has none (waits, dropped, or is done). */
static int device_step(struct cohort *c, unsigned i)
{
    static void (*const steps[])(struct cohort *, unsigned) = {
        device_poll,  device_advert,      device_shares,
        device_input, device_consistency, device_reveal};
    struct device *d = &c->d[i];
    if (d->asked && !d->replied) return 0;
    if (d->replied && d->reply.type == MSG_OVER && d->stage != 7) {
        d->over = d->reply.u.over;
        d->stage = 7;
    }
    if (d->stage >= 7 || d->stage >= d->drop) return 0;
    if (d->replied && d->reply.type == MSG_WAIT) {
        struct message m = cohort_message(c, MSG_AWAIT);
        m.u.await.stage = d->reply.u.wait.stage;
        check((int)m.u.await.stage == d->stage - 2);
        d->n_wait++;
        cohort_send(c, i, i, &m);
        return 1;
    }
    if (d->stage == 6) return 0; /* it has revealed */
    steps[d->stage](c, i);
    d->stage++;
    return 1;
}

/* Let everybody do what they can; time stands still. */
static void cohort_settle(struct cohort *c)
{
    for (int moved = 1; moved;) {
        moved = 0;
        for (unsigned i = 0; i < c->n; i++) moved |= device_step(c, i);
    }
}

/* Run to the end, letting the clock jump to the next deadline when all wait. */
static void cohort_run(struct cohort *c)
{
    for (int i = 0; i < 1000; i++) {
        cohort_settle(c);
        if (runner_ended(c->runner)) return;
        int64_t next = runner_next_ms(c->runner);
        check(next >= c->now_ms);
        c->now_ms = next;
        runner_tick(c->runner, c->now_ms);
    }
    check(0 && "the round never ends");
}

/* Steps up to and including `stage` (1 = ADVERT …) for everybody. */
static void cohort_run_to(struct cohort *c, int stage)
{
    int drops[COHORT_MAX];
    for (unsigned i = 0; i < c->n; i++) {
        drops[i] = c->d[i].drop;
        if (c->d[i].drop > stage + 1) c->d[i].drop = stage + 1;
    }
    cohort_settle(c);
    for (unsigned i = 0; i < c->n; i++) c->d[i].drop = drops[i];
}

/* The sum over `members` was unmasked exactly and averaged right. */
static void cohort_check_sum(struct cohort *c, unsigned members)
{
    size_t n = ring_coords(&c->config.layout);
    uint32_t *sum = calloc(n, sizeof *sum), *y = calloc(n, sizeof *y);
    float mean[COHORT_PARAMS], want[COHORT_PARAMS];
    struct ring_mean aggregates;
    unsigned n_members = 0;
    check(sum && y);
    for (unsigned i = 0; i < c->n; i++) {
        if (!(members >> i & 1)) continue;
        device_plain(c, i, &c->transcript, y);
        ring_add(sum, y, n, 32);
        n_members++;
    }
    check_ok(ring_decode(&c->config.layout, sum, n_members, &c->transcript,
                         mean, &aggregates));
    for (int p = 0; p < COHORT_PARAMS; p++) want[p] = c->weights[p] + mean[p];
    check(memcmp(want, c->next, sizeof want) == 0);
    check(aggregates.weight == c->mean.weight);
    free(sum);
    free(y);
}

#endif
