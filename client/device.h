/*
 * device: one device's home, and the one SQLite file in it.
 *
 *   <home>/tacit.db      documents, passages, vectors, answers, feedback,
 *                        federation, adopted models, ledger; sealed
 *   <home>/seal          its key, locked by the key in store.key, or elsewhere
 *                        (store_key.h)
 *   <home>/keys          made here, 0600, never leave
 *   <home>/policy.yaml   the site's last word
 *   <home>/blobs/        plans, rosters and models, named by their hash
 *   <home>/run.lock      held by the daemon; use.lock by everybody
 *
 * Thread rule: one thread per device object; the command line and the daemon
 * each open their own.
 */
#ifndef TACIT_CLIENT_DEVICE_H
#define TACIT_CLIENT_DEVICE_H

#include <stdint.h>

#include "client/participate.h"
#include "client/policy.h"
#include "client/store_key.h"
#include "common/base/db.h"
#include "common/base/err.h"
#include "common/crypto/keys.h"
#include "common/wire/limits.h"

enum { DEVICE_PATH_MAX = 512, DEVICE_ADDRESS_MAX = 256 };

struct device_federation {
    char name[WIRE_NAME_MAX];
    char address[DEVICE_ADDRESS_MAX];    /* "tcp://host:port" */
    uint8_t coordinator_dh[KEYS_PUBLIC]; /* X25519, pinned */
    uint8_t coordinator_sign[KEYS_PUBLIC];
    int64_t joined_s;
};

struct device {
    char home[DEVICE_PATH_MAX], blobs[DEVICE_PATH_MAX];
    struct sealed_vfs *vfs; /* NULL: the store is plain; owned, unless … */
    int is_shared;          /* … it is another device's (device_share) */
    int held, use_fd;       /* use.lock, when held */
    struct db db;
    struct keys keys; /* guarded */
    int joined;
    struct device_federation federation; /* valid when joined */
};

/* Make the home: store, keys, policy. source: where the store's key is kept,
 * NULL: in the home; passphrase: where from (passphrase.h). STATE when there is
 * a device already. */
TACIT_CHECKED enum tacit_err device_init_with(const char *home,
                                              const struct store_source *source,
                                              const char *passphrase);
/* Open a home. E_NOT_INITIALISED, E_STORE_NEWER, E_STORE_DAMAGED,
 * E_KEYS_READABLE, E_STORE_KEY … */
TACIT_CHECKED enum tacit_err device_open_with(struct device *d,
                                              const char *home,
                                              const char *passphrase);
/* The same for what only reads; d->db.is_readonly where nothing may be written
 * (db.h: DB_READABLE). E_STORE_LOG. */
TACIT_CHECKED enum tacit_err device_open_to_read(struct device *d,
                                                 const char *home,
                                                 const char *passphrase);
/* A connection of its own to the store of an open device, for another thread;
 * it asks for no passphrase, has no keys and no federation, and is closed
 * before `of`. */
TACIT_CHECKED enum tacit_err device_share(const struct device *of,
                                          struct device *out);
void device_close(struct device *d);
/* "<home>/name". */
TACIT_CHECKED enum tacit_err device_path(const struct device *d,
                                         const char *name,
                                         char out[DEVICE_PATH_MAX]);
TACIT_CHECKED enum tacit_err device_policy(const struct device *d,
                                           struct policy *out);

/* Remember the federation, durably. STATE (E_ALREADY_JOINED) when there is one.
 */
TACIT_CHECKED enum tacit_err device_join(struct device *d,
                                         const struct device_federation *f);
/* Forget it; adopted models and the ledger stay. */
TACIT_CHECKED enum tacit_err device_leave(struct device *d);

/* A model that this device has adopted. */
struct device_model {
    char plan[PLAN_NAME_MAX], kind[PLAN_NAME_MAX];
    enum plan_task task;
    struct digest plan_hash, model_hash;
    uint32_t version, n_clients;
    int64_t adopted_s;
};
/* Remember the model of a round; its blob must be there. The blob of the
 * version before is deleted unless another plan's model is the same.
 * MODEL_REFUSED for an older one. state [n_state] is what the strategy keeps on
 * this device (a control variate, a personal model), remembered in the same
 * transaction; NULL leaves what there is. */
TACIT_CHECKED enum tacit_err device_adopt(struct device *d,
                                          const struct plan *plan,
                                          const struct msg_over *over,
                                          const float *state, size_t n_state);
/* What was remembered so for a plan: [n], owned by the caller (free), NULL when
 * there is none. */
TACIT_CHECKED enum tacit_err device_state(struct device *d,
                                          const struct digest *plan_hash,
                                          size_t n, float **out);
/* Newest adopted version of a plan, zeros when there is none. */
TACIT_CHECKED enum tacit_err device_known(struct device *d,
                                          const struct digest *plan_hash,
                                          struct participate_known *out);
TACIT_CHECKED enum tacit_err device_models(
    struct device *d,
    enum tacit_err (*visit)(const struct device_model *m, void *ctx),
    void *ctx);
/* The weights of the newest adopted model of a plan into p (allocated, of the
 * plan's layout). NOTFOUND when none was adopted. */
TACIT_CHECKED enum tacit_err device_weights(struct device *d,
                                            const struct digest *plan_hash,
                                            struct params *p);
/* This device's own model of a plan whose strategy keeps one (ditto, finetune)
 * into p, of the plan's layout: *has 0, and p untouched, where there is none.
 * p NULL: only whether there is one. */
TACIT_CHECKED enum tacit_err device_own(struct device *d,
                                        const struct digest *plan_hash,
                                        struct params *p, int *has);
/* Along which directions a plan's model lies, where the plan is at hand. */
struct model_along;
TACIT_CHECKED enum tacit_err device_along(struct device *d,
                                          const struct digest *plan,
                                          struct model_along *out);
/* Query-side adapter of the newest adopted retriever model, or this device's
 * own of that plan: [dim, dim], owned by the caller (free), NULL when there is
 * none, it was adopted with another built-in encoder than this program's, or
 * this device's held-out questions speak against it (trial.h). */
TACIT_CHECKED enum tacit_err device_adapter(struct device *d, size_t dim,
                                            float **out);

/* Whether an adopted model was learnt over the vectors of this program's
 * built-in encoder. */
TACIT_CHECKED enum tacit_err device_fits_encoder(
    struct device *d, const struct digest *model_hash, int *out);

/* The daemon's lock: STATE (E_STORE_BUSY) when another process holds it. */
TACIT_CHECKED enum tacit_err device_lock(const struct device *d, int *out_fd);
/* 1 when a daemon runs on this home. */
int device_is_running(const struct device *d);

#endif
