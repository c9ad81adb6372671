/*
 * participate_parts: what the files of participate share.
 *
 *   participate.c         its life, actions, a task up to its model, dispatch
 *   participate_refuse.c  what is refused of a task and of a result
 *   participate_round.c   the messages of a round, its upload, its end
 */
#ifndef TACIT_CLIENT_PARTICIPATE_PARTS_H
#define TACIT_CLIENT_PARTICIPATE_PARTS_H

#include "client/participate.h"
#include "client/roster.h"

/* What the last action was for. */
enum participate_state {
    IDLE,
    POLLING,
    GETTING_PLAN,
    CONSULTING,
    GETTING_ROSTER,
    GETTING_MODEL,
    ADVERTISING,
    SHARING,
    TRAINING,
    DEBITING,
    UPLOADING,
    INPUTTING,
    SIGNING,
    REVEALING,
    GETTING_RESULT,
    ADOPTING
};

struct participate {
    struct participate_config c;
    enum participate_state state;
    struct message out;  /* the message of the last CALL */
    unsigned n_failures; /* since the last thing that went well */
    unsigned n_quick;    /* replies in a row that allow no pause */
    unsigned n_waits;    /* WAITs of the stage in hand */
    uint8_t last_session[32];
    uint8_t debited[32]; /* session of the last update that was debited */
    struct participate_known known; /* told in POLL */

    /* Kept between rounds of one plan. */
    struct digest plan_hash;
    struct plan *plan;        /* owned */
    struct model *model;      /* owned, of the plan's kind */
    struct params file;       /* owned: weights and what comes with them */
    struct digest model_hash; /* of the weights that they hold, or zeros */
    const struct strategy *strategy;
    struct strategy_config numbers;
    struct roster roster;

    /* The round in hand. */
    int tasked;
    struct msg_task task;
    struct ring_layout layout;
    struct task_privacy privacy;
    struct secagg_client *secagg; /* owned */
    struct buf sealed;            /* shares for the peers */
    struct buf input;             /* packed masked input */
    struct digest input_hash;
    uint32_t n_chunks, chunk;
    int counted; /* our update is in the sum that devices sign */
    struct msg_over over;
};

/* Forget the session: secrets are wiped. */
void participate_end_round(struct participate *p);

/* ---- actions ---- */
void participate_call(struct participate *p, struct participate_action *a,
                      enum participate_state next, enum message_type type);
void participate_fetch(struct participate *p, struct participate_action *a,
                       enum participate_state next, const struct digest *hash,
                       uint64_t bytes_max);
void participate_pause(struct participate *p, struct participate_action *a,
                       int64_t ms, enum participate_news news, const char *why);
/* A coordinator may have us come back at once, but not for ever. */
int64_t participate_pause_ms(struct participate *p, int64_t ms);
/* Leave the round for a reason of our own (the recorded error). */
void participate_give_up(struct participate *p, struct participate_action *a,
                         enum participate_news news);
/* A model file whose hash was checked: weights, and what comes with them. */
TACIT_CHECKED enum tacit_err participate_load_model(
    struct participate *p, const struct participate_event *ev);

/* ---- participate_refuse.c ---- */
/* No file of the plan's model is larger. */
uint64_t participate_model_bytes(const struct participate *p);
/* Does the task ask exactly what its plan says? Makes layout and privacy.
 * E_TASK_REFUSED. */
TACIT_CHECKED enum tacit_err participate_check_task(struct participate *p);
/* No way back: not to an older model, nor to another one of the same version.
 * Version 0 is the plan's first model, adopted by nobody. E_MODEL_REFUSED. */
TACIT_CHECKED enum tacit_err participate_check_known(
    const struct participate *p, const struct participate_known *known);
/* Is it this round's result, signed? E_MODEL_REFUSED. */
TACIT_CHECKED enum tacit_err participate_check_over(const struct participate *p,
                                                    const struct msg_over *o);

/* ---- participate_round.c ---- */
/* Open the session, R0. */
void participate_advertise(struct participate *p, struct participate_action *a);
/* Take a reply of the session in hand; 0 when this is none. */
int participate_round_reply(struct participate *p, const struct message *m,
                            struct participate_action *a);
/* Seal what was trained; the ledger comes before the upload. */
void participate_trained(struct participate *p,
                         const struct participate_event *ev,
                         struct participate_action *a);
/* The next chunk, or the message that ends the upload. */
void participate_upload(struct participate *p, struct participate_action *a);
/* The model of the round, and once the home has it. */
void participate_take_result(struct participate *p,
                             const struct participate_event *ev,
                             struct participate_action *a);
void participate_adopted(struct participate *p, struct participate_action *a);

#endif
