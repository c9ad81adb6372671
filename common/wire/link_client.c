#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/crypto/secret.h"
#include "common/wire/link.h"
#include "common/wire/record.h"

enum state { IDLE, HELLO_SENT, FINISH_DUE, FINISH_SENT, READY };

struct link_client {
    struct link_client_config config;
    uint8_t psk[32];
    enum state state;
    struct noise *noise; /* guarded, owned; NULL when IDLE */
    uint8_t session[LINK_SESSION];
    uint64_t next;     /* nonce of the next record to send */
    uint64_t request;  /* nonce of the request last sent, 0 = none */
    uint64_t received; /* last nonce of the replies opened so far */
};

enum tacit_err link_client_new(const struct link_client_config *c,
                               struct link_client **out)
{
    struct link_client *l;
    TRY(secret_alloc(sizeof *l, &l));
    l->config = *c;
    if (c->enrol) link_token_psk(l->psk, c->token);
    *out = l;
    return TACIT_OK;
}

void link_client_free(struct link_client *l)
{
    if (!l) return;
    noise_free(l->noise);
    secret_free(l);
}

int link_client_ready(const struct link_client *l)
{
    /* Old sessions end before a nonce could come near its limit. */
    return l->state == READY && l->next + RECORDS_MAX <= WIRE_REKEY_RECORDS &&
           l->received + RECORDS_MAX <= WIRE_REKEY_RECORDS;
}

void link_client_reset(struct link_client *l)
{
    noise_free(l->noise);
    l->noise = NULL;
    l->state = IDLE;
    l->request = 0;
}

static enum tacit_err write_hello(struct link_client *l, struct buf *out)
{
    const struct link_client_config *c = &l->config;
    uint8_t prologue[PACKET_PROLOGUE];
    uint8_t enrol = c->enrol ? 1 : 0;
    uint64_t token_id = enrol ? c->token_id : 0;
    packet_prologue(prologue, WIRE_VERSION, enrol, token_id);
    struct noise_config n = {.pattern = enrol ? "XKpsk3" : "XK",
                             .role = NOISE_INITIATOR,
                             .s_secret = c->keys->dh_secret,
                             .rs_public = c->coordinator,
                             .psk = enrol ? l->psk : NULL,
                             .prologue = prologue,
                             .prologue_len = sizeof prologue};
    TRY(noise_new(&n, &l->noise));
    buf_put_u8(out, PACKET_HELLO);
    buf_put_u8(out, WIRE_VERSION);
    buf_put_u8(out, enrol);
    buf_put_u64(out, token_id);
    TRY(noise_write(l->noise, NULL, 0, out)); /* e, es */
    l->state = HELLO_SENT;
    return TACIT_OK;
}

static enum tacit_err write_finish(struct link_client *l, struct buf *out)
{
    buf_put_u8(out, PACKET_FINISH);
    buf_put(out, l->session, LINK_SESSION);
    TRY(noise_write(l->noise, NULL, 0, out)); /* s, se (, psk) */
    l->state = FINISH_SENT;
    return TACIT_OK;
}

enum tacit_err link_client_hello(struct link_client *l, struct buf *out)
{
    size_t was = out->len;
    enum tacit_err err;
    if (l->state == FINISH_DUE) {
        err = write_finish(l, out);
    } else {
        link_client_reset(l);
        err = write_hello(l, out);
    }
    if (err == TACIT_OK) err = buf_end(out);
    if (err == TACIT_OK) return TACIT_OK;
    out->len = was;
    link_client_reset(l);
    return err;
}

static enum tacit_err wrong_coordinator(const struct link_client *l)
{
    char fingerprint[KEYS_FINGERPRINT];
    keys_fingerprint(fingerprint, l->config.coordinator);
    return fail_as(E_WRONG_COORDINATOR,
                   "what answers at this address does not hold the expected "
                   "key, of fingerprint %s; nothing was sent: call the "
                   "coordinator's operator",
                   fingerprint);
}

/* What the coordinator's "no" to a handshake means to a person. */
static enum tacit_err refused(const struct link_client *l, uint8_t reason)
{
    switch (reason) {
    case RESET_KEY: return wrong_coordinator(l);
    case RESET_VERSION:
        return fail_as(E_WIRE_VERSION,
                       "the coordinator does not speak wire version %d",
                       WIRE_VERSION);
    case RESET_INVITE:
        return fail_as(E_INVITE_REFUSED, "the coordinator refused the invite");
    case RESET_INVITE_USED:
        return fail_as(E_INVITE_USED, "this invite was used before");
    case RESET_INVITE_EXPIRED:
        return fail_as(E_INVITE_EXPIRED, "this invite has expired");
    case RESET_STRANGER:
        return fail_as(E_NOT_A_MEMBER,
                       "the coordinator does not know this device");
    default:
        return fail_as(E_NO_SESSION,
                       "the coordinator asks for a new handshake (reason %u)",
                       reason);
    }
}

static enum tacit_err read_hello_ok(struct link_client *l,
                                    const struct packet *p)
{
    struct buf nothing;
    buf_init(&nothing, WIRE_HANDSHAKE_MAX);
    enum tacit_err err =
        noise_read(l->noise, p->body, p->len, &nothing); /* e, ee */
    buf_release(&nothing);
    if (err == TACIT_AUTH) {
        err_clear();
        return wrong_coordinator(l);
    }
    TRY(err);
    memcpy(l->session, p->session, LINK_SESSION);
    l->state = FINISH_DUE;
    return TACIT_OK;
}

static enum tacit_err read_finish_ok(struct link_client *l,
                                     const struct packet *p)
{
    struct buf nothing;
    struct record_bond bond = {.kind = PACKET_FINISH_OK, .session = l->session};
    if (memcmp(p->session, l->session, LINK_SESSION) != 0)
        return fail(TACIT_PROTO, "an answer for another session");
    buf_init(&nothing, WIRE_HANDSHAKE_MAX);
    enum tacit_err err = records_open(l->noise, &bond, p, &nothing);
    buf_release(&nothing);
    TRY(err);
    l->state = READY;
    l->next = 1;
    l->request = l->received = 0;
    return TACIT_OK;
}

static enum tacit_err take_answer(struct link_client *l, const uint8_t *packet,
                                  size_t n)
{
    struct packet p;
    if (n > WIRE_HANDSHAKE_MAX)
        return fail(TACIT_PROTO, "a handshake packet of %zu bytes", n);
    TRY(packet_parse(packet, n, &p));
    if (p.kind == PACKET_RESET) return refused(l, p.reason);
    if (p.kind == PACKET_HELLO_OK && l->state == HELLO_SENT)
        return read_hello_ok(l, &p);
    if (p.kind == PACKET_FINISH_OK && l->state == FINISH_SENT)
        return read_finish_ok(l, &p);
    return fail(TACIT_PROTO, "packet kind %d is not an answer to a handshake",
                (int)p.kind);
}

enum tacit_err link_client_answer(struct link_client *l, const uint8_t *packet,
                                  size_t n)
{
    enum tacit_err err = take_answer(l, packet, n);
    if (err != TACIT_OK) link_client_reset(l);
    return err;
}

enum tacit_err link_client_seal(struct link_client *l, const uint8_t *msg,
                                size_t n, struct buf *out)
{
    size_t was = out->len;
    if (!link_client_ready(l))
        return fail(TACIT_STATE, "no session: handshake first");
    struct record_bond bond = {.kind = PACKET_DATA,
                               .session = l->session,
                               .nonce = l->next};
    buf_put_u8(out, PACKET_DATA);
    buf_put(out, l->session, LINK_SESSION);
    buf_put_u64(out, l->next);
    enum tacit_err err = records_seal(l->noise, &bond, msg, n, out);
    /* Spent even when it failed: no nonce may seal twice. */
    l->next += records_count(n);
    if (err != TACIT_OK) {
        out->len = was;
        return err;
    }
    l->request = bond.nonce;
    return TACIT_OK;
}

enum tacit_err link_client_open(struct link_client *l, const uint8_t *packet,
                                size_t n, struct buf *out_msg)
{
    struct packet p;
    TRY(packet_parse(packet, n, &p));
    if (p.kind == PACKET_RESET)
        return fail_as(E_NO_SESSION,
                       "the coordinator asks for a new handshake (reason %u)",
                       p.reason);
    if (l->state != READY || l->request == 0)
        return fail(TACIT_STATE, "no request waits for an answer");
    if (p.kind != PACKET_DATA ||
        memcmp(p.session, l->session, LINK_SESSION) != 0 ||
        p.nonce <= l->received || p.nonce > WIRE_REKEY_RECORDS + RECORDS_MAX)
        return fail(TACIT_PROTO, "not a reply to the request last sent");
    struct record_bond bond = {.kind = PACKET_DATA,
                               .session = l->session,
                               .nonce = p.nonce,
                               .request = l->request};
    TRY(records_open(l->noise, &bond, &p, out_msg));
    l->received = p.nonce + p.n_records - 1;
    l->request = 0;
    return TACIT_OK;
}

const uint8_t *link_client_hash(const struct link_client *l)
{
    return l->state == READY ? noise_hash(l->noise) : NULL;
}
