/* models: see models.h. */
#include "coordinator/models.h"

#include <stdio.h>
#include <string.h>

#include "common/model/safetensors.h"
#include "common/wire/blob.h"

void models_over(const struct models_version *v, struct msg_over *over)
{
    memset(over, 0, sizeof *over);
    over->outcome = OUTCOME_COMMITTED;
    over->round = v->round;
    over->model_version = v->version;
    over->n_clients = v->n_clients;
    over->model_bytes = v->bytes;
    over->plan_hash = v->plan_hash;
    over->parent_hash = v->parent_hash;
    over->model_hash = v->model_hash;
    memcpy(over->session, v->session, sizeof over->session);
    memcpy(over->signature, v->signature, sizeof over->signature);
}

/* What a model's file says of itself. */
struct about {
    char plan_hash[DIGEST_HEX], version[16];
    const char *list[9];
};

static const char *const *about(const struct plan *plan, uint32_t version,
                                struct about *a)
{
    hex_encode(a->plan_hash, plan->hash.b, DIGEST_BYTES);
    snprintf(a->version, sizeof a->version, "%u", version);
    const char *list[] = {"tacit.plan",  plan->name,      "tacit.plan_hash",
                          a->plan_hash,  "tacit.version", a->version,
                          "tacit.model", plan->model,     NULL};
    memcpy(a->list, list, sizeof list);
    return a->list;
}

enum tacit_err models_bytes(const struct plan *plan, const struct params *p,
                            struct models_version *v)
{
    struct about a;
    return safetensors_bytes(p, about(plan, v->version, &a), &v->bytes);
}

enum tacit_err models_encode(const struct plan *plan, const struct params *p,
                             const struct models_version *v, struct buf *out)
{
    struct about a;
    return safetensors_encode(p, about(plan, v->version, &a), out);
}

enum tacit_err models_sign(const struct keys *keys, const struct plan *plan,
                           const struct params *p, struct models_version *v,
                           struct buf *out)
{
    TRY(models_encode(plan, p, v, out));
    digest_of(&v->model_hash, out->data, out->len);
    v->bytes = out->len;
    struct msg_over over;
    uint8_t statement[MSG_STATEMENT_BYTES];
    models_over(v, &over);
    msg_over_statement(&over, statement);
    keys_sign(keys, "tacit model v1", statement, sizeof statement,
              v->signature);
    return TACIT_OK;
}

enum tacit_err models_seal(const struct keys *keys, const char *blob_dir,
                           const struct plan *plan, const struct params *p,
                           struct models_version *v)
{
    struct buf bytes;
    buf_init(&bytes, WIRE_BLOB_MAX);
    enum tacit_err err = models_sign(keys, plan, p, v, &bytes);
    if (err == TACIT_OK)
        err = blob_put(blob_dir, bytes.data, bytes.len, &v->model_hash);
    buf_release(&bytes);
    return err == TACIT_OK ? TACIT_OK
                           : err_context(err, "model of plan %s", plan->name);
}

void models_task(const struct plan *plan, size_t plan_bytes,
                 const struct models_version *v, const struct ring_layout *l,
                 struct msg_task *out)
{
    *out = (struct msg_task){.plan_hash = plan->hash,
                             .model_hash = v->model_hash,
                             .plan_bytes = (uint32_t)plan_bytes,
                             .model_bytes = v->bytes,
                             .round = v->version + 1,
                             .n_rounds = plan->rounds,
                             .model_version = v->version,
                             .ring_bits = plan->ring_bits,
                             .n_coords = ring_coords(l),
                             .u_min = plan->min_reports < SECAGG_CLIENTS_MIN
                                          ? (uint32_t)SECAGG_CLIENTS_MIN
                                          : plan->min_reports,
                             .stage_ms = (uint32_t)plan->stage_deadline_ms,
                             .train_ms = (uint32_t)plan->train_deadline_ms};
}

enum tacit_err models_put_state(const char *blob_dir, const struct params *p,
                                struct models_version *v)
{
    struct buf bytes;
    memset(&v->state_hash, 0, sizeof v->state_hash);
    if (p->n_flat == 0) return TACIT_OK;
    buf_init(&bytes, WIRE_BLOB_MAX);
    enum tacit_err err = safetensors_encode(p, NULL, &bytes);
    if (err == TACIT_OK)
        err = blob_put(blob_dir, bytes.data, bytes.len, &v->state_hash);
    buf_release(&bytes);
    return err;
}

enum tacit_err models_load_state(const char *blob_dir,
                                 const struct models_version *v,
                                 struct params *p)
{
    struct buf bytes;
    if (p->n_flat == 0 || v->version == 0) return TACIT_OK;
    buf_init(&bytes, WIRE_BLOB_MAX);
    enum tacit_err err =
        blob_get(blob_dir, &v->state_hash, WIRE_BLOB_MAX, &bytes);
    if (err == TACIT_OK) err = safetensors_decode(bytes.data, bytes.len, p);
    buf_release(&bytes);
    return err == TACIT_OK
               ? TACIT_OK
               : err_context(err, "the strategy's state of version %u",
                             v->version);
}

enum tacit_err models_load(const char *blob_dir, const struct models_version *v,
                           struct params *p)
{
    struct buf bytes;
    buf_init(&bytes, WIRE_BLOB_MAX);
    enum tacit_err err =
        blob_get(blob_dir, &v->model_hash, WIRE_BLOB_MAX, &bytes);
    if (err == TACIT_OK) err = safetensors_decode(bytes.data, bytes.len, p);
    buf_release(&bytes);
    return err == TACIT_OK ? TACIT_OK
                           : err_context(err, "model version %u", v->version);
}
