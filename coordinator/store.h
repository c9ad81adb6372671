/*
 * store: everything the coordinator remembers, in one SQLite file
 * (coordinator.db); all its SQL is here.
 *
 *   federation  one row: name, where it listens, what invites carry
 *   invites     one row per one-time token (its PSK, never the token)
 *   members     one row per device: keys, state, last seen
 *   plans       the queue; the text is a blob named by plan_hash
 *   rounds      one row per secure sum (most rounds have one; a round in groups
 *               has one for each), written when it opens and when it ends
 *   models      one row per version, written with its round in one transaction
 *
 * Every function that writes is one transaction (WAL, synchronous=FULL): when
 * it returns, the change survives a crash. The admin commands write the same
 * file from another process; the daemon sees that by store_changes().
 */
#ifndef TACIT_COORDINATOR_STORE_H
#define TACIT_COORDINATOR_STORE_H

#include <stdint.h>

#include "common/base/db.h"
#include "common/base/digest.h"
#include "common/base/err.h"
#include "common/crypto/keys.h"
#include "common/plan/plan.h"
#include "common/task/task.h"
#include "common/wire/limits.h"
#include "coordinator/models.h"

struct store {
    struct db db;
};

/* NOT_INITIALISED when there is none, unless mode is DB_CREATE. */
TACIT_CHECKED enum tacit_err store_open(struct store *s, const char *home,
                                        enum db_mode mode);
void store_close(struct store *s);
/* A number that changes when another process has written. */
TACIT_CHECKED enum tacit_err store_changes(struct store *s, int64_t *out);

/* ---- federation --------------------------------------------------------- */
struct store_federation {
    char name[WIRE_NAME_MAX];
    char listen[256];  /* "tcp://HOST:PORT" to bind */
    char address[256]; /* "tcp://HOST:PORT" that invites carry, "" = bound */
    char bound[256];   /* where it listened last, "" = never yet */
};
/* STATE when there is a row already. */
TACIT_CHECKED enum tacit_err store_federation_set(
    struct store *s, const struct store_federation *f, int64_t now_s);
TACIT_CHECKED enum tacit_err store_federation(struct store *s,
                                              struct store_federation *out);
/* Note where the daemon listens. */
TACIT_CHECKED enum tacit_err store_bound_set(struct store *s,
                                             const char *address);

/* ---- invites ------------------------------------------------------------ */
struct store_invite {
    uint64_t token_id;
    uint8_t psk[32];
    char name[WIRE_NAME_MAX];
    int64_t expires_s;
    int approve;    /* 1: the device is approved by joining */
    int64_t used_s; /* 0 = not yet */
};
TACIT_CHECKED enum tacit_err store_invite_add(struct store *s,
                                              const struct store_invite *i,
                                              int64_t now_s);
TACIT_CHECKED enum tacit_err store_invite_find(struct store *s,
                                               uint64_t token_id,
                                               struct store_invite *out);
typedef enum tacit_err store_invite_fn(void *ctx, const struct store_invite *i);
/* Those not used yet, in order of name; their PSK is left out. */
TACIT_CHECKED enum tacit_err store_invites(struct store *s, store_invite_fn *fn,
                                           void *ctx);

/* ---- members ------------------------------------------------------------ */
enum member_state {
    MEMBER_PENDING, /* waits for `approve` */
    MEMBER_APPROVED,
    MEMBER_REVOKED,
    MEMBER_LEFT
};
const char *store_member_state_name(enum member_state m);

struct store_member {
    uint8_t id[KEYS_ID];
    char name[WIRE_NAME_MAX];
    uint8_t identity[KEYS_PUBLIC];
    uint8_t dh[KEYS_PUBLIC];
    char software[WIRE_NAME_MAX];
    enum member_state state;
    int64_t enrolled_s, last_seen_s;
};
/* Consume token_id and record m (id, identity, dh, software) under the
 * invite's name, in one transaction. The same device with the same invite again
 * gets the same answer. E_INVITE_USED, E_INVITE_EXPIRED, NOTFOUND. *m gets the
 * name and the state. */
TACIT_CHECKED enum tacit_err store_enrol(struct store *s, uint64_t token_id,
                                         int64_t now_s, struct store_member *m);
typedef enum tacit_err store_member_fn(void *ctx, const struct store_member *m);
/* In order of name. */
TACIT_CHECKED enum tacit_err store_members(struct store *s, store_member_fn *fn,
                                           void *ctx);
/* Change the state of the members called who (or with that id in hex); NOTFOUND
 * when there is none, *n gets how many. */
TACIT_CHECKED enum tacit_err store_member_set(struct store *s, const char *who,
                                              enum member_state state,
                                              int64_t now_s, int *n);
TACIT_CHECKED enum tacit_err store_leave(struct store *s,
                                         const uint8_t id[KEYS_ID],
                                         int64_t now_s);
/* Note when devices were last seen. */
struct store_seen {
    uint8_t id[KEYS_ID];
    int64_t seen_s;
};
TACIT_CHECKED enum tacit_err store_seen(struct store *s,
                                        const struct store_seen *list,
                                        size_t n);

/* ---- plans -------------------------------------------------------------- */
struct store_plan {
    struct digest hash;
    char name[PLAN_NAME_MAX];
    uint32_t n_rounds;
    uint32_t version; /* newest model, = rounds committed */
    int has_model;    /* 0: not even v0 yet */
    int64_t submitted_s;
};
/* Queue a plan whose text is a durable blob; *again = 1 when it was already
 * there. */
TACIT_CHECKED enum tacit_err store_plan_add(struct store *s,
                                            const struct plan *plan,
                                            int64_t now_s, int *again);
typedef enum tacit_err store_plan_fn(void *ctx, const struct store_plan *p);
/* In the order of submission. */
TACIT_CHECKED enum tacit_err store_plans(struct store *s, store_plan_fn *fn,
                                         void *ctx);
/* By name (the newest of that name) or by the first hex digits of its hash;
 * who = NULL: the newest plan. */
TACIT_CHECKED enum tacit_err store_plan_find(struct store *s, const char *who,
                                             struct store_plan *out);

/* ---- rounds ------------------------------------------------------------- */
struct store_round {
    int64_t n; /* row number: order of opening */
    struct digest plan_hash;
    char plan_name[PLAN_NAME_MAX]; /* out */
    uint32_t n_rounds;             /* out: of the plan */
    uint32_t round, attempt;
    uint32_t group; /* 1 … of a round in groups, or the buffer; 0: one sum */
    uint32_t base;  /* version that its devices trained on */
    int64_t ended;  /* out: order of ending, 0 = running */
    uint8_t session[32];
    char state[16]; /* "running", "committed", "aborted" */
    unsigned code;
    char reason[WIRE_TEXT_MAX];
    int64_t started_s, duration_ms;
    uint32_t n_invited, n_advertised, n_inputs;
    double weight;
    double metrics[TASK_METRICS];
    int64_t bytes_in, bytes_out;
    struct digest model_hash;  /* of the model it made; zeros otherwise */
    struct digest parent_hash; /* out: what that model was made from */
};
/* Attempts at this round that have ended so far. */
TACIT_CHECKED enum tacit_err store_attempts(struct store *s,
                                            const struct digest *plan,
                                            uint32_t round, uint32_t *out);
/* Record that a round opens; r->n gets its row. */
TACIT_CHECKED enum tacit_err store_round_begin(struct store *s,
                                               struct store_round *r);
/* The same for n sums at once, in one transaction. */
TACIT_CHECKED enum tacit_err store_sums_begin(struct store *s,
                                              struct store_round *const *list,
                                              size_t n);
/* Record how it ended; with the model it made, unless v is NULL. */
TACIT_CHECKED enum tacit_err store_round_end(struct store *s,
                                             const struct store_round *r,
                                             const struct models_version *v);
/* The same for the n sums that one step was made from, in one transaction. */
TACIT_CHECKED enum tacit_err store_sums_end(struct store *s,
                                            const struct store_round *list,
                                            size_t n,
                                            const struct models_version *v);
/* After a restart: what was running is aborted with this code; *n = how many.
 */
TACIT_CHECKED enum tacit_err store_rounds_abort(struct store *s, unsigned code,
                                                const char *reason, int *n);
TACIT_CHECKED enum tacit_err store_round_by_session(struct store *s,
                                                    const uint8_t session[32],
                                                    struct store_round *out);
typedef enum tacit_err store_round_fn(void *ctx, const struct store_round *r);
/* In the order of opening; plan NULL = all. */
TACIT_CHECKED enum tacit_err store_rounds(struct store *s,
                                          const struct digest *plan,
                                          store_round_fn *fn, void *ctx);
/* Those that ended after `after` (of store_round.ended), in that order. */
TACIT_CHECKED enum tacit_err store_rounds_ended(struct store *s, int64_t after,
                                                store_round_fn *fn, void *ctx);

/* ---- models ------------------------------------------------------------- */
TACIT_CHECKED enum tacit_err store_model_add(struct store *s,
                                             const struct models_version *v);
enum { STORE_NEWEST = -1 };
TACIT_CHECKED enum tacit_err store_model_find(struct store *s,
                                              const struct digest *plan,
                                              int64_t version,
                                              struct models_version *out);
TACIT_CHECKED enum tacit_err store_model_by_session(struct store *s,
                                                    const uint8_t session[32],
                                                    struct models_version *out);
typedef enum tacit_err store_model_fn(void *ctx,
                                      const struct models_version *v);
TACIT_CHECKED enum tacit_err store_models(struct store *s,
                                          const struct digest *plan,
                                          store_model_fn *fn, void *ctx);

#endif
