/*
 * The coordinator's sessions. One table of slots; a slot is free, in a
 * handshake or live, and stands on the list of its kind, longest untouched
 * first, so that expiry and eviction look at the head alone. The identifier of
 * a session starts with its slot's number: finding it needs no search.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/rng.h"
#include "common/crypto/secret.h"
#include "common/wire/link.h"
#include "common/wire/record.h"

enum { SLOTS_MAX = (int)WIRE_SESSIONS_MAX + (int)WIRE_HANDSHAKES_MAX };
enum kind { FREE, HANDSHAKE, LIVE, N_KINDS };
static const uint32_t none = UINT32_MAX;

struct slot {
    uint8_t id[LINK_SESSION]; /* le32 slot number | random */
    struct noise *noise;      /* guarded, owned */
    uint32_t generation;      /* of the slot, raised at each use */
    uint32_t prev, next;      /* on the list of its kind */
    int64_t since_ms;         /* begun, or last request */
    uint64_t token_id;
    uint64_t request;   /* nonce of the last request, 0 = none yet */
    uint64_t received;  /* last nonce of it */
    uint64_t next_send; /* nonce of the next record we send */
    uint8_t *kept;      /* last sealed reply, when small; owned */
    uint32_t kept_len;
    uint8_t kind, enrol, answered;
};

struct link_server {
    struct link_server_config config;
    struct slot *slots; /* [cap], owned; [n] have been used */
    uint32_t n, cap;
    struct {
        uint32_t head, tail, count;
    } lists[N_KINDS];
};

/* ---- the table ---------------------------------------------------------- */

static void list_add(struct link_server *l, uint32_t i, enum kind kind)
{
    struct slot *s = &l->slots[i];
    uint32_t tail = l->lists[kind].tail;
    s->kind = (uint8_t)kind;
    s->prev = tail;
    s->next = none;
    if (tail == none)
        l->lists[kind].head = i;
    else
        l->slots[tail].next = i;
    l->lists[kind].tail = i;
    l->lists[kind].count++;
}

static void list_remove(struct link_server *l, uint32_t i)
{
    struct slot *s = &l->slots[i];
    if (s->prev == none)
        l->lists[s->kind].head = s->next;
    else
        l->slots[s->prev].next = s->next;
    if (s->next == none)
        l->lists[s->kind].tail = s->prev;
    else
        l->slots[s->next].prev = s->prev;
    l->lists[s->kind].count--;
}

static void slot_free(struct link_server *l, uint32_t i)
{
    struct slot *s = &l->slots[i];
    list_remove(l, i);
    noise_free(s->noise);
    free(s->kept);
    s->noise = NULL;
    s->kept = NULL;
    memset(s->id, 0, sizeof s->id);
    list_add(l, i, FREE);
}

static int grow(struct link_server *l)
{
    uint32_t cap = l->cap ? 2 * l->cap : 64;
    if (cap > SLOTS_MAX) cap = SLOTS_MAX;
    assert(cap > l->cap); /* both lists are bounded below the maximum */
    struct slot *slots = realloc(l->slots, cap * sizeof *slots);
    if (!slots) return 0;
    memset(slots + l->cap, 0, (cap - l->cap) * sizeof *slots);
    l->slots = slots;
    l->cap = cap;
    return 1;
}

/* A slot for a new handshake, which takes over noise; none without memory. */
static uint32_t slot_new(struct link_server *l, struct noise *noise,
                         int64_t now_ms)
{
    uint8_t unique[LINK_SESSION];
    if (l->lists[HANDSHAKE].count == WIRE_HANDSHAKES_MAX)
        slot_free(l, l->lists[HANDSHAKE].head);
    uint32_t i = l->lists[FREE].head;
    if (i != none) {
        list_remove(l, i);
    } else {
        if (l->n == l->cap && !grow(l)) return none;
        i = l->n++;
    }
    struct slot *s = &l->slots[i];
    uint32_t generation = s->generation + 1;
    *s = (struct slot){.noise = noise,
                       .generation = generation,
                       .since_ms = now_ms,
                       .next_send = 1};
    rng_secure(unique, sizeof unique);
    memcpy(s->id, unique, sizeof s->id);
    le32_store(s->id, i);
    list_add(l, i, HANDSHAKE);
    return i;
}

static uint32_t slot_find(const struct link_server *l,
                          const uint8_t id[LINK_SESSION], enum kind kind)
{
    uint32_t i = le32_load(id);
    if (i >= l->n || l->slots[i].kind != kind) return none;
    return memcmp(l->slots[i].id, id, LINK_SESSION) == 0 ? i : none;
}

static void expire(struct link_server *l, int64_t now_ms)
{
    static const int64_t ages_ms[N_KINDS] = {0, WIRE_HANDSHAKE_MS,
                                             WIRE_SESSION_IDLE_MS};
    for (int kind = HANDSHAKE; kind < N_KINDS; kind++)
        for (uint32_t i = l->lists[kind].head;
             i != none && now_ms - l->slots[i].since_ms > ages_ms[kind];
             i = l->lists[kind].head)
            slot_free(l, i);
}

/* One device key has a few sessions: a copied or broken device cannot push out
 * the others. Handshakes are rare and costly, so a walk will do. */
static void make_room(struct link_server *l, const uint8_t dh[KEYS_PUBLIC])
{
    uint32_t oldest = none, count = 0;
    for (uint32_t i = l->lists[LIVE].head; i != none; i = l->slots[i].next) {
        const uint8_t *key = noise_remote_static(l->slots[i].noise);
        if (memcmp(key, dh, KEYS_PUBLIC) != 0) continue;
        if (count++ == 0) oldest = i;
    }
    if (count >= WIRE_SESSIONS_PER_KEY)
        slot_free(l, oldest);
    else if (l->lists[LIVE].count == WIRE_SESSIONS_MAX)
        slot_free(l, l->lists[LIVE].head);
}

/* ---- handshakes --------------------------------------------------------- */

static enum tacit_err reset(struct buf *out, enum packet_reset reason)
{
    err_clear(); /* what the peer did wrong is told to the peer alone */
    packet_put_reset(out, reason);
    return TACIT_OK;
}

static enum tacit_err new_noise(struct link_server *l, const struct packet *p,
                                struct noise **out)
{
    uint8_t prologue[PACKET_PROLOGUE];
    packet_prologue(prologue, p->version, p->enrol, p->token_id);
    struct noise_config c = {.pattern = p->enrol ? "XKpsk3" : "XK",
                             .role = NOISE_RESPONDER,
                             .s_secret = l->config.keys->dh_secret,
                             .prologue = prologue,
                             .prologue_len = sizeof prologue};
    enum tacit_err err = noise_new(&c, out);
    for (int kind = HANDSHAKE; kind < N_KINDS && err == TACIT_NOMEM; kind++) {
        /* Guarded memory is scarce: the longest idle session gives way. */
        if (l->lists[kind].head == none) continue;
        slot_free(l, l->lists[kind].head);
        err_clear();
        err = noise_new(&c, out);
    }
    return err;
}

/* e, es, and for an invite its PSK; 0 or why not. */
static uint8_t read_hello(struct link_server *l, const struct packet *p,
                          struct noise *noise)
{
    struct buf nothing;
    uint8_t psk[32];
    buf_init(&nothing, WIRE_HANDSHAKE_MAX);
    enum tacit_err err = noise_read(noise, p->body, p->len, &nothing);
    buf_release(&nothing);
    if (err != TACIT_OK) return RESET_KEY;
    if (!p->enrol) return 0;
    err_clear();
    err = l->config.token_psk
              ? l->config.token_psk(l->config.ctx, p->token_id, psk)
              : fail(TACIT_NOTFOUND, "nobody can be enrolled here");
    if (err != TACIT_OK)
        return err_id() == E_INVITE_USED      ? RESET_INVITE_USED
               : err_id() == E_INVITE_EXPIRED ? RESET_INVITE_EXPIRED
                                              : RESET_INVITE;
    noise_set_psk(noise, psk);
    secret_wipe(psk, sizeof psk);
    return 0;
}

static enum tacit_err take_hello(struct link_server *l, int64_t now_ms,
                                 const struct packet *p, struct buf *out)
{
    struct noise *noise = NULL;
    size_t was = out->len;
    if (p->version != WIRE_VERSION) return reset(out, RESET_VERSION);
    TRY(new_noise(l, p, &noise));
    uint8_t reason = read_hello(l, p, noise);
    if (reason) {
        noise_free(noise);
        return reset(out, (enum packet_reset)reason);
    }
    uint32_t i = slot_new(l, noise, now_ms);
    if (i == none) {
        noise_free(noise);
        return fail(TACIT_NOMEM, "out of memory for a session");
    }
    l->slots[i].enrol = p->enrol;
    l->slots[i].token_id = p->token_id;
    buf_put_u8(out, PACKET_HELLO_OK);
    buf_put(out, l->slots[i].id, LINK_SESSION);
    enum tacit_err err = noise_write(noise, NULL, 0, out); /* e, ee */
    if (err == TACIT_OK) return TACIT_OK;
    slot_free(l, i);
    out->len = was;
    return err;
}

/* s, se (, psk), and whether this key may come in; 0 or why not. */
static uint8_t read_finish(struct link_server *l, const struct packet *p,
                           const struct slot *s)
{
    struct buf nothing;
    buf_init(&nothing, WIRE_HANDSHAKE_MAX);
    enum tacit_err err = noise_read(s->noise, p->body, p->len, &nothing);
    buf_release(&nothing);
    if (err != TACIT_OK) return s->enrol ? RESET_INVITE : RESET_PACKET;
    if (s->enrol || !l->config.admit) return 0;
    const uint8_t *dh = noise_remote_static(s->noise);
    return l->config.admit(l->config.ctx, dh) == TACIT_OK ? 0 : RESET_STRANGER;
}

static enum tacit_err take_finish(struct link_server *l, int64_t now_ms,
                                  const struct packet *p,
                                  struct link_peer *peer, struct buf *out)
{
    uint32_t i = slot_find(l, p->session, HANDSHAKE);
    if (i == none) return reset(out, RESET_SESSION);
    struct slot *s = &l->slots[i];
    uint8_t reason = read_finish(l, p, s);
    if (reason) {
        slot_free(l, i);
        return reset(out, (enum packet_reset)reason);
    }
    make_room(l, noise_remote_static(s->noise));
    list_remove(l, i);
    list_add(l, i, LIVE);
    s->since_ms = now_ms;
    peer->proven = 1;
    struct record_bond bond = {.kind = PACKET_FINISH_OK, .session = s->id};
    buf_put_u8(out, PACKET_FINISH_OK);
    buf_put(out, s->id, LINK_SESSION);
    return records_seal(s->noise, &bond, NULL, 0, out);
}

/* ---- requests and replies ----------------------------------------------- */

static void describe(const struct slot *s, uint32_t i, struct link_peer *peer)
{
    *peer = (struct link_peer){.slot = i,
                               .generation = s->generation,
                               .enrol = s->enrol,
                               .token_id = s->token_id,
                               .hash = noise_hash(s->noise),
                               .request = s->request,
                               .proven = 1};
    memcpy(peer->dh_public, noise_remote_static(s->noise), KEYS_PUBLIC);
}

static enum tacit_err open_request(const struct slot *s, const struct packet *p,
                                   struct buf *out)
{
    struct record_bond bond = {.kind = PACKET_DATA,
                               .session = s->id,
                               .nonce = p->nonce};
    return records_open(s->noise, &bond, p, out);
}

static enum tacit_err take_repeat(struct slot *s, const struct packet *p,
                                  enum link_event *event, struct buf *out)
{
    size_t was = out->len;
    enum tacit_err err = open_request(s, p, out);
    if (err != TACIT_OK)
        return err == TACIT_NOMEM ? err : reset(out, RESET_PACKET);
    if (!s->answered) {
        *event = LINK_MESSAGE;
        return TACIT_OK;
    }
    out->len = was;
    if (!s->kept) return reset(out, RESET_REPEAT);
    buf_put(out, s->kept, s->kept_len);
    return TACIT_OK;
}

static enum tacit_err take_data(struct link_server *l, int64_t now_ms,
                                const struct packet *p, enum link_event *event,
                                struct link_peer *peer, struct buf *out)
{
    uint32_t i = slot_find(l, p->session, LIVE);
    if (i == none) return reset(out, RESET_SESSION);
    struct slot *s = &l->slots[i];
    if (p->nonce == s->request) {
        enum tacit_err err = take_repeat(s, p, event, out);
        describe(s, i, peer);
        peer->repeat = 1;
        peer->proven = 0;
        return err;
    }
    if (p->nonce <= s->received) return reset(out, RESET_REPEAT);
    if (p->nonce > WIRE_REKEY_RECORDS || s->next_send > WIRE_REKEY_RECORDS)
        return reset(out, RESET_REKEY);
    enum tacit_err err = open_request(s, p, out);
    if (err != TACIT_OK)
        return err == TACIT_NOMEM ? err : reset(out, RESET_PACKET);
    s->request = p->nonce;
    s->received = p->nonce + p->n_records - 1;
    s->answered = 0;
    free(s->kept);
    s->kept = NULL;
    s->since_ms = now_ms;
    list_remove(l, i);
    list_add(l, i, LIVE);
    describe(s, i, peer);
    *event = LINK_MESSAGE;
    return TACIT_OK;
}

enum tacit_err link_server_receive(struct link_server *l, int64_t now_ms,
                                   const uint8_t *packet, size_t n,
                                   enum link_event *event,
                                   struct link_peer *peer, struct buf *out)
{
    struct packet p;
    expire(l, now_ms);
    *event = LINK_REPLY;
    peer->proven = 0;
    if (packet_parse(packet, n, &p) != TACIT_OK)
        return reset(out, RESET_PACKET);
    switch (p.kind) {
    case PACKET_HELLO: return take_hello(l, now_ms, &p, out);
    case PACKET_FINISH: return take_finish(l, now_ms, &p, peer, out);
    case PACKET_DATA: return take_data(l, now_ms, &p, event, peer, out);
    default: return reset(out, RESET_PACKET);
    }
}

/* Without memory for it, a repeat costs the device a handshake. */
static void keep(struct slot *s, const uint8_t *sealed, size_t n)
{
    free(s->kept);
    s->kept = n <= WIRE_REPLY_KEPT_MAX ? malloc(n) : NULL;
    if (!s->kept) return;
    memcpy(s->kept, sealed, n);
    s->kept_len = (uint32_t)n;
}

enum tacit_err link_server_seal(struct link_server *l,
                                const struct link_peer *peer,
                                const uint8_t *msg, size_t n, struct buf *out)
{
    struct slot *s = peer->slot < l->n ? &l->slots[peer->slot] : NULL;
    size_t was = out->len;
    if (!s || s->kind != LIVE || s->generation != peer->generation ||
        s->request != peer->request)
        return TACIT_NOTFOUND;
    struct record_bond bond = {.kind = PACKET_DATA,
                               .session = s->id,
                               .nonce = s->next_send,
                               .request = s->request};
    buf_put_u8(out, PACKET_DATA);
    buf_put(out, s->id, LINK_SESSION);
    buf_put_u64(out, s->next_send);
    enum tacit_err err = records_seal(s->noise, &bond, msg, n, out);
    /* Spent even when it failed: no nonce may seal twice. */
    s->next_send += records_count(n);
    if (err != TACIT_OK) {
        out->len = was;
        return err;
    }
    s->answered = 1;
    keep(s, out->data + was, out->len - was);
    return TACIT_OK;
}

/* ---- life --------------------------------------------------------------- */

enum tacit_err link_server_new(const struct link_server_config *c,
                               struct link_server **out)
{
    struct link_server *l = calloc(1, sizeof *l);
    if (!l) return fail(TACIT_NOMEM, "out of memory");
    l->config = *c;
    for (int kind = 0; kind < N_KINDS; kind++)
        l->lists[kind].head = l->lists[kind].tail = none;
    *out = l;
    return TACIT_OK;
}

void link_server_free(struct link_server *l)
{
    if (!l) return;
    for (uint32_t i = 0; i < l->n; i++) {
        noise_free(l->slots[i].noise);
        free(l->slots[i].kept);
    }
    free(l->slots);
    free(l);
}

size_t link_server_sessions(const struct link_server *l)
{
    return l->lists[LIVE].count;
}
