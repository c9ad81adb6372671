/* runner: carries out what round_step() asks for. See runner.h. */
#include "coordinator/runner.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/wire/blob.h"
#include "coordinator/tally.h"

struct runner {
    struct runner_config config;
    struct round *round; /* owned */
    struct tally *tally; /* owned */
    float *update;       /* [n_params], owned while finishing */
    struct ring_mean mean;
    unsigned n_same_identity;
    struct message reply; /* scratch: 20 KiB is much for a stack */
};

static void carry_out(struct runner *r, const struct round_event *ev,
                      const struct round_actions *actions);

static void step(struct runner *r, const struct round_event *ev)
{
    struct round_actions actions;
    round_step(r->round, ev, &actions);
    carry_out(r, ev, &actions);
}

/* ---- an input ----------------------------------------------------------- */

static void add_input(struct runner *r, const struct round_event *asked,
                      const struct round_action *a)
{
    struct round_event ev = {.now_ms = asked->now_ms,
                             .id = asked->id,
                             .identity = asked->identity,
                             .token = a->token};
    enum tacit_err err = tally_add(r->tally, a->seat, &a->input);
    if (err == TACIT_OK) {
        ev.kind = ROUND_ADDED;
    } else if (err == TACIT_INTERNAL) {
        ev.kind = ROUND_FAILED;
        ev.code = err_id();
        ev.reason = err_message();
    } else {
        ev.kind = ROUND_REFUSED;
        ev.code = err_id();
    }
    step(r, &ev);
    err_clear();
}

/* ---- the end of a round ------------------------------------------------- */

/* The weighted mean of the sum, checked. */
static enum tacit_err unmask(struct runner *r, struct runner_result *out)
{
    const struct runner_config *c = &r->config;
    struct secagg_server *secagg = round_secagg(r->round);
    uint32_t n_params = c->layout.n_params;
    uint32_t *sum = tally_sum(r->tally);
    unsigned n_clients = tally_n_added(r->tally);
    TRY(secagg_server_unmask(secagg, sum));
    struct digest transcript;
    secagg_server_transcript(secagg, &transcript);
    r->update = malloc(n_params * sizeof *r->update);
    if (!r->update) return fail(TACIT_NOMEM, "a mean of %u weights", n_params);
    TRY(ring_decode(&c->layout, sum, n_clients, &transcript, r->update,
                    &r->mean));
    *out = (struct runner_result){.update = r->update,
                                  .n_params = n_params,
                                  .n_clients = n_clients,
                                  .mean = r->mean};
    return TACIT_OK;
}

static void finish(struct runner *r, const struct round_event *asked)
{
    const struct msg_task *task = round_task(r->round);
    struct runner_result result = {0};
    struct msg_over over = {.outcome = OUTCOME_COMMITTED,
                            .round = task->round,
                            .plan_hash = task->plan_hash,
                            .parent_hash = task->model_hash};
    struct round_event ev = {.now_ms = asked->now_ms};
    memcpy(over.session, task->session, sizeof over.session);
    enum tacit_err err = unmask(r, &result);
    if (err == TACIT_AUTH) {
        /* A wrong share or a failed check: one story for people. */
        ev.code = E_ROUND_SUM_WRONG;
    } else if (err == TACIT_OK) {
        over.n_clients = result.n_clients;
        err = r->config.commit(r->config.ctx, &result, &over);
    }
    free(r->update);
    r->update = NULL;
    if (err == TACIT_OK && r->config.when == RUNNER_LATER) return;
    if (err != TACIT_OK && ev.code == 0) ev.code = err_id();
    ev.kind = err == TACIT_OK ? ROUND_DONE : ROUND_FAILED;
    ev.over = &over;
    ev.reason = err_message();
    step(r, &ev);
    err_clear();
}

void runner_finish(struct runner *r, int64_t now_ms, enum tacit_err err,
                   const struct msg_over *over)
{
    struct round_event ev = {.now_ms = now_ms};
    struct msg_over mine;
    assert(round_state(r->round) == ROUND_FINISHING);
    if (err == TACIT_OK) {
        mine = *over;
        memcpy(mine.session, round_task(r->round)->session,
               sizeof mine.session);
        ev.kind = ROUND_DONE;
        ev.over = &mine;
        step(r, &ev);
        return;
    }
    ev.kind = ROUND_FAILED;
    ev.code = err_id();
    ev.reason = err_message();
    step(r, &ev);
}

static void carry_out(struct runner *r, const struct round_event *ev,
                      const struct round_actions *actions)
{
    for (unsigned i = 0; i < actions->n; i++) {
        const struct round_action *a = &actions->list[i];
        switch (a->kind) {
        case ROUND_REPLY:
            round_message(r->round, a, &r->reply);
            r->config.reply(r->config.ctx, a->token, &r->reply);
            break;
        case ROUND_ADD_INPUT: add_input(r, ev, a); break;
        case ROUND_FINISH: finish(r, ev); break;
        case ROUND_SAME_IDENTITY: r->n_same_identity++; break;
        case ROUND_END: /* the sum and the uploads are of no more use */
            tally_free(r->tally);
            r->tally = NULL;
            break;
        }
    }
}

/* ---- chunks ------------------------------------------------------------- */

static void reply_error(struct runner *r, uint64_t token, unsigned code)
{
    struct message *m = &r->reply;
    const struct err_code *c = err_code_find(code);
    memset(m, 0, sizeof *m);
    m->type = MSG_ERROR;
    m->u.error.code = (uint16_t)code;
    snprintf(m->u.error.text, sizeof m->u.error.text, "%s", c ? c->title : "");
    r->config.reply(r->config.ctx, token, m);
    err_clear();
}

static void take_chunk(struct runner *r, unsigned seat, uint64_t token,
                       const struct msg_chunk_put *put)
{
    if (!round_wants_chunks(r->round, seat)) {
        reply_error(r, token, E_ROUND_ORDER);
        return;
    }
    if (tally_put(r->tally, seat, put) != TACIT_OK) {
        reply_error(r, token, err_id());
        return;
    }
    struct message *m = &r->reply;
    memset(m, 0, sizeof *m);
    m->type = MSG_CHUNK_OK;
    memcpy(m->u.chunk_ok.session, put->session, sizeof put->session);
    m->u.chunk_ok.index = put->index;
    r->config.reply(r->config.ctx, token, m);
}

static void tell_held(struct runner *r, unsigned seat, uint64_t token)
{
    struct buf bitmap;
    buf_init(&bitmap, 0);
    tally_held(r->tally, seat, &bitmap);
    struct message *m = &r->reply;
    memset(m, 0, sizeof *m);
    m->type = MSG_CHUNKS_HELD;
    memcpy(m->u.chunks_held.session, round_task(r->round)->session,
           sizeof m->u.chunks_held.session);
    m->u.chunks_held.n_chunks = tally_n_chunks(r->tally);
    m->u.chunks_held.bitmap_len = (uint32_t)bitmap.len;
    m->u.chunks_held.bitmap = bitmap.data;
    if (buf_end(&bitmap) == TACIT_OK)
        r->config.reply(r->config.ctx, token, m);
    else
        reply_error(r, token, err_id());
    buf_release(&bitmap);
}

/* ---- outside ------------------------------------------------------------ */

enum tacit_err runner_new(const struct runner_config *c, int64_t now_ms,
                          struct runner **out)
{
    const struct msg_task *task = &c->round.task;
    if (ring_coords(&c->layout) != task->n_coords ||
        c->layout.ring_bits != task->ring_bits)
        return fail(TACIT_SHAPE, "a task of %u coordinates for a ring of %u",
                    task->n_coords, ring_coords(&c->layout));
    struct runner *r = calloc(1, sizeof *r);
    if (!r) return fail(TACIT_NOMEM, "a round");
    r->config = *c;
    struct tally_config t = {.n_coords = task->n_coords,
                             .ring_bits = task->ring_bits,
                             .spool_dir = c->spool_dir,
                             .session = task->session};
    enum tacit_err err = round_new(&c->round, now_ms, &r->round);
    if (err == TACIT_OK) err = tally_new(&t, &r->tally);
    if (err != TACIT_OK) {
        runner_free(r);
        return err;
    }
    *out = r;
    return TACIT_OK;
}

void runner_free(struct runner *r)
{
    if (!r) return;
    round_free(r->round);
    tally_free(r->tally);
    free(r->update);
    free(r);
}

int runner_message(struct runner *r, int64_t now_ms,
                   const struct runner_peer *peer, uint64_t token,
                   const struct message *m)
{
    const uint8_t *session = round_message_session(m);
    const struct msg_task *task = round_task(r->round);
    if (session && memcmp(session, task->session, sizeof task->session) != 0)
        return 0;
    int seat = round_seat(r->round, peer->id);
    int chunky = m->type == MSG_CHUNK_PUT || m->type == MSG_INPUT_STATUS;
    if (!session && m->type != MSG_POLL) return 0;
    if (chunky && runner_ended(r)) {
        /* An upload that lost its round hears of the end. */
        memset(&r->reply, 0, sizeof r->reply);
        r->reply.type = MSG_OVER;
        r->reply.u.over = *round_over(r->round);
        r->config.reply(r->config.ctx, token, &r->reply);
        return 1;
    }
    if (chunky && seat < 0) {
        reply_error(r, token, E_ROUND_UNKNOWN);
        return 1;
    }
    if (m->type == MSG_CHUNK_PUT) {
        take_chunk(r, (unsigned)seat, token, &m->u.chunk_put);
        return 1;
    }
    if (m->type == MSG_INPUT_STATUS) {
        tell_held(r, (unsigned)seat, token);
        return 1;
    }
    struct round_event ev = {.kind = ROUND_MESSAGE,
                             .now_ms = now_ms,
                             .id = peer->id,
                             .identity = peer->identity,
                             .token = token,
                             .message = m};
    struct round_actions actions;
    round_step(r->round, &ev, &actions);
    int mine = m->type != MSG_POLL;
    for (unsigned i = 0; i < actions.n; i++)
        mine |= actions.list[i].kind == ROUND_REPLY &&
                actions.list[i].token == token;
    carry_out(r, &ev, &actions);
    return mine;
}

void runner_tick(struct runner *r, int64_t now_ms)
{
    step(r, &(struct round_event){.kind = ROUND_TICK, .now_ms = now_ms});
}

void runner_abort(struct runner *r, int64_t now_ms, unsigned code,
                  const char *reason)
{
    step(r, &(struct round_event){.kind = ROUND_FAILED,
                                  .now_ms = now_ms,
                                  .code = code,
                                  .reason = reason});
}

int64_t runner_next_ms(const struct runner *r)
{
    return round_next_ms(r->round);
}

int runner_ended(const struct runner *r)
{
    enum round_state s = round_state(r->round);
    return s == ROUND_COMMITTED || s == ROUND_ABORTED;
}

const struct round *runner_round(const struct runner *r)
{
    return r->round;
}

unsigned runner_n_same_identity(const struct runner *r)
{
    return r->n_same_identity;
}
