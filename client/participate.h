/*
 * participate: a device's part in a federation, as a pure step function: no
 * socket, no clock, no file. One event in, one action out; the agent (and the
 * simulator) carries the action out and steps again with what came of it.
 *
 *   BEGIN ─> CALL poll ─> TASK: FETCH plan ─> CONSULT: policy ─> FETCH roster
 *     ^                          │ no: PAUSE                       FETCH model
 *     │                                                                │
 *     │   R0 CALL advert ─> roster checked against the signed one <────┘
 *     │   R1 CALL shares ─> peers' shares ─> TRAIN ─> seal ─> DEBIT ledger
 *     │   R2 CALL chunks …, input ─> survivors
 *     │   R3 CALL consistency ─> signatures
 *     │   R4 CALL reveal ─> OVER ─> statement checked ─> FETCH model ─> ADOPT
 *     └────────────────────────────────────────────────────────────────┘
 *
 * What it refuses, whatever the coordinator says: a plan against the policy, a
 * task that differs from its plan, a second update in one session, a roster
 * that the coordinator did not sign or that lacks this device, a cohort below
 * the policy's, a model older than an adopted one or other than announced, a
 * result without a valid statement.
 * Session secrets live in the secagg session: guarded memory, never on disk,
 * wiped whenever a session ends.
 *
 * Thread rule: one owner thread.
 */
#ifndef TACIT_CLIENT_PARTICIPATE_H
#define TACIT_CLIENT_PARTICIPATE_H

#include <stdint.h>

#include "client/ledger.h"
#include "client/policy.h"
#include "client/trainer.h"
#include "common/crypto/keys.h"
#include "common/wire/messages.h"

enum {
    PARTICIPATE_BACKOFF_MS = 200,  /* after the first failure, doubled … */
    PARTICIPATE_DECLINE_MS = 5000, /* … after a second refused task */
    PARTICIPATE_QUICK_MAX = 8,     /* replies in a row that allow no pause */
    PARTICIPATE_WAITS_EXTRA = 16   /* WAITs of a stage beyond its deadline */
};

struct participate; /* owned */

struct participate_config {
    const struct keys *keys;         /* borrowed */
    const uint8_t *coordinator_sign; /* [KEYS_PUBLIC], borrowed */
    const struct policy *policy;     /* borrowed; may change between steps */
    int64_t hold_ms;                 /* how long a poll may be held */
    const char *bases; /* where networks lie (plan_base.where), borrowed */
};

/* The newest model of a plan that this device has adopted. */
struct participate_known {
    struct digest plan_hash, model_hash;
    uint32_t version;
};

enum participate_event_kind {
    PARTICIPATE_BEGIN,     /* also after PAUSE and FINISHED */
    PARTICIPATE_REPLY,     /* reply */
    PARTICIPATE_FETCHED,   /* bytes: a whole blob whose hash was checked */
    PARTICIPATE_CONSULTED, /* spent, epsilon, local_minute, known */
    PARTICIPATE_TRAINED,   /* trained */
    PARTICIPATE_DEBITED,
    PARTICIPATE_ADOPTED,
    PARTICIPATE_FAILED /* the action could not be carried out */
};

struct participate_event {
    enum participate_event_kind kind;
    const struct message *reply;
    const uint8_t *bytes;
    size_t n_bytes;
    const struct trained *trained;
    struct policy_spent spent;
    struct policy_epsilon epsilon;
    int local_minute;
    struct participate_known known; /* version 0 and zeros when none */
    int64_t now_s;                  /* with TRAINED: for the ledger */
};

enum participate_action_kind {
    PARTICIPATE_CALL,     /* send `message`, wait `timeout_ms` */
    PARTICIPATE_FETCH,    /* blob `hash` of at most `bytes_max` */
    PARTICIPATE_CONSULT,  /* policy, examples, what has left, and the newest
                             model of `hash`, a plan's */
    PARTICIPATE_TRAIN,    /* trainer_run(plan, model, …) */
    PARTICIPATE_DEBIT,    /* write `debit` into the ledger, durably */
    PARTICIPATE_ADOPT,    /* keep the model of `over` (fetched before) */
    PARTICIPATE_PAUSE,    /* step with BEGIN after `pause_ms` */
    PARTICIPATE_FINISHED, /* no plan is left; BEGIN asks again */
    PARTICIPATE_STOP      /* this device may not go on: the recorded error */
};

/* What happened, for log, progress and --once. */
enum participate_news {
    PARTICIPATE_QUIET,
    PARTICIPATE_PENDING,   /* waits for the operator's approval */
    PARTICIPATE_REVOKED,   /* no longer a member */
    PARTICIPATE_TASKED,    /* accepted a task */
    PARTICIPATE_DECLINED,  /* reason in `why` */
    PARTICIPATE_COMMITTED, /* the round's model was adopted */
    PARTICIPATE_LOST,      /* the round ended without a model: `why` */
    PARTICIPATE_BROKEN     /* something failed here: `why` */
};

struct participate_action {
    enum participate_action_kind kind;
    const struct message *message; /* borrowed until the next step */
    int timeout_ms;
    struct digest hash;
    uint64_t bytes_max;
    const struct plan *plan; /* CONSULT, TRAIN, ADOPT: borrowed */
    struct model *model;     /* CONSULT, TRAIN: with the weights; borrowed */
    const struct strategy *strategy; /* TRAIN, ADOPT */
    const struct strategy_config *numbers;
    const float *down; /* [n_down * n] TRAIN: came with the weights; borrowed */
    const struct task_privacy *privacy; /* TRAIN */
    uint32_t round;
    int counted; /* ADOPT: this device's update is in the sum */
    struct ledger_row debit;
    struct msg_over over;
    int64_t pause_ms;
    enum participate_news news;
    char why[WIRE_TEXT_MAX];
    unsigned why_id; /* the code of a DECLINED, LOST or BROKEN; 0 = none */
};

TACIT_CHECKED enum tacit_err participate_new(const struct participate_config *c,
                                             struct participate **out);
/* Wipes; NULL is fine. */
void participate_free(struct participate *p);
/* Take what came of the last action and say what to do next. */
void participate_step(struct participate *p, const struct participate_event *ev,
                      struct participate_action *out);
/* Between rounds: give back the plan, its model and the roster; the next task
 * fetches them again. */
void participate_rest(struct participate *p);
/* The task in hand, or NULL between rounds. */
const struct msg_task *participate_task(const struct participate *p);

#endif
