/*
 * models: the versions of a plan's model, from its plan to a signed file.
 *
 *   v0 --round 1--> v1 --round 2--> v2 ...
 *
 * v0 is drawn from the plan's seed. Each version is one safetensors blob named
 * by its hash, one row in coordinator.db, and one statement signed by the
 * coordinator over (plan, round, version, parent, model, clients): a chain.
 * The blob is durable before the row, the row before any device hears of it.
 */
#ifndef TACIT_COORDINATOR_MODELS_H
#define TACIT_COORDINATOR_MODELS_H

#include <stdint.h>

#include "common/base/err.h"
#include "common/crypto/keys.h"
#include "common/model/model.h"
#include "common/plan/plan.h"
#include "common/privacy/ring.h"
#include "common/task/task.h"
#include "common/wire/messages.h"

/* A version as it is stored and signed. */
struct models_version {
    struct digest plan_hash, model_hash, parent_hash;
    struct digest state_hash; /* what the strategy keeps; zeros: nothing */
    uint32_t version, round, n_clients;
    uint64_t bytes;
    int64_t created_s;
    uint8_t session[32]; /* of the round that made it; zeros for v0 */
    uint8_t signature[KEYS_SIGNATURE];
};

/* p as safetensors with metadata: into out, or its length into v->bytes. */
TACIT_CHECKED enum tacit_err models_encode(const struct plan *plan,
                                           const struct params *p,
                                           const struct models_version *v,
                                           struct buf *out);
TACIT_CHECKED enum tacit_err models_bytes(const struct plan *plan,
                                          const struct params *p,
                                          struct models_version *v);
/* Encode p as models_encode() does, and fill v's model_hash, bytes and
 * signature. The other fields of *v are set before. */
TACIT_CHECKED enum tacit_err models_sign(const struct keys *keys,
                                         const struct plan *plan,
                                         const struct params *p,
                                         struct models_version *v,
                                         struct buf *out);
/* The same, durably into blob_dir; the caller writes the row. */
TACIT_CHECKED enum tacit_err models_seal(const struct keys *keys,
                                         const char *blob_dir,
                                         const struct plan *plan,
                                         const struct params *p,
                                         struct models_version *v);
/* Load a version's weights into p (same layout), hash checked. */
TACIT_CHECKED enum tacit_err models_load(const char *blob_dir,
                                         const struct models_version *v,
                                         struct params *p);
/* What the strategy keeps at this version, durably into blob_dir; fills
 * v->state_hash. And back. An empty p is fine. */
TACIT_CHECKED enum tacit_err models_put_state(const char *blob_dir,
                                              const struct params *p,
                                              struct models_version *v);
TACIT_CHECKED enum tacit_err models_load_state(const char *blob_dir,
                                               const struct models_version *v,
                                               struct params *p);
/* What devices are told of it: all model fields of *over. */
void models_over(const struct models_version *v, struct msg_over *over);
/* The task of the round that follows version v: everything but session, attempt
 * and roster. */
void models_task(const struct plan *plan, size_t plan_bytes,
                 const struct models_version *v, const struct ring_layout *l,
                 struct msg_task *out);

#endif
