/* requests: see requests.h. */
#include "coordinator/requests.h"

#include <stdio.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/log.h"
#include "common/wire/blob.h"

void requests_error(struct message *out, unsigned code)
{
    const struct err_code *c = err_code_find(code);
    memset(out, 0, sizeof *out);
    out->type = MSG_ERROR;
    out->u.error.code = (uint16_t)code;
    snprintf(out->u.error.text, sizeof out->u.error.text, "%s",
             c ? c->title : "the coordinator could not do that");
    err_clear();
}

/* Our own failure: details stay in our log. */
static void own_failure(struct message *out, const char *what)
{
    log_event(LOG_ERROR, what, "error=\"%s\"", err_message());
    requests_error(out, err_id());
}

static int enrol_failed(const struct link_peer *peer, struct message *out)
{
    log_event(LOG_WARN, "enrol_refused",
              "invite=%016llx code=E%04u error=\"%s\"",
              (unsigned long long)peer->token_id, err_id(), err_message());
    requests_error(out, err_id());
    return 0;
}

int requests_enrol(struct store *s, const struct keys *keys,
                   const struct store_federation *federation,
                   const struct link_peer *peer, const struct msg_enrol *in,
                   int64_t now_s, struct message *out, struct store_member *m)
{
    /* The signature over the handshake hash ties the identity to this link:
     * nobody can enrol a key that they do not hold. */
    if (keys_verify(in->identity, "tacit enrol v1", peer->hash, 64,
                    in->signature) != TACIT_OK)
        return enrol_failed(peer, out);
    struct store_member fresh = {.state = MEMBER_PENDING};
    keys_id(fresh.id, in->identity);
    memcpy(fresh.identity, in->identity, sizeof fresh.identity);
    memcpy(fresh.dh, peer->dh_public, sizeof fresh.dh);
    snprintf(fresh.software, sizeof fresh.software, "%s", in->software);
    if (store_enrol(s, peer->token_id, now_s, &fresh) != TACIT_OK)
        return enrol_failed(peer, out);
    memset(out, 0, sizeof *out);
    out->type = MSG_ENROLLED;
    memcpy(out->u.enrolled.id, fresh.id, sizeof fresh.id);
    memcpy(out->u.enrolled.sign_public, keys->sign_public,
           sizeof out->u.enrolled.sign_public);
    snprintf(out->u.enrolled.federation, sizeof out->u.enrolled.federation,
             "%s", federation->name);
    out->u.enrolled.approved = fresh.state == MEMBER_APPROVED;
    log_event(LOG_INFO, "enrolled", "name=\"%s\" state=%s", fresh.name,
              store_member_state_name(fresh.state));
    *m = fresh;
    return 1;
}

void requests_leave(struct store *s, const struct store_member *m,
                    int64_t now_s, struct message *out)
{
    if (store_leave(s, m->id, now_s) != TACIT_OK) {
        own_failure(out, "leave_failed");
        return;
    }
    log_event(LOG_INFO, "left", "name=\"%s\"", m->name);
    memset(out, 0, sizeof *out);
    out->type = MSG_LEFT;
}

void requests_blob(const char *blob_dir, const struct msg_blob_get *in,
                   struct buf *bytes, struct message *out)
{
    uint64_t total = 0;
    buf_clear(bytes);
    enum tacit_err err =
        blob_chunk(blob_dir, &in->hash, in->index, &total, bytes);
    if (err == TACIT_OK) err = buf_end(bytes);
    if (err == TACIT_NOTFOUND) { /* a question, no fault of ours */
        requests_error(out, err_id());
        return;
    }
    if (err != TACIT_OK) {
        own_failure(out, "blob_refused");
        return;
    }
    memset(out, 0, sizeof *out);
    out->type = MSG_BLOB;
    out->u.blob.hash = in->hash;
    out->u.blob.total_bytes = total;
    out->u.blob.index = in->index;
    out->u.blob.n_chunks = blob_n_chunks(total);
    out->u.blob.len = (uint32_t)bytes->len;
    out->u.blob.bytes = bytes->data;
}

void requests_over(struct store *s, const uint8_t session[32],
                   struct message *out)
{
    struct models_version v;
    struct store_round r;
    memset(out, 0, sizeof *out);
    out->type = MSG_OVER;
    if (store_model_by_session(s, session, &v) == TACIT_OK) {
        models_over(&v, &out->u.over);
        return;
    }
    err_clear();
    if (store_round_by_session(s, session, &r) != TACIT_OK) {
        requests_error(out, E_ROUND_UNKNOWN);
        return;
    }
    struct msg_over *o = &out->u.over;
    /* Of a round in groups, the model's row names the first one's session. */
    static const struct digest none;
    if (!digest_equal(&r.model_hash, &none) &&
        store_model_find(s, &r.plan_hash, r.round, &v) == TACIT_OK)
        models_over(&v, o);
    err_clear();
    memcpy(o->session, session, sizeof o->session);
    if (o->model_version) return;
    o->outcome = OUTCOME_ABORTED;
    o->code = (uint16_t)r.code;
    o->round = r.round;
    o->plan_hash = r.plan_hash;
    snprintf(o->reason, sizeof o->reason, "%s", r.reason);
}
