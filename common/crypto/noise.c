#include "common/crypto/noise.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "common/base/rng.h"
#include "common/crypto/noise_symmetric.h"
#include "common/crypto/secret.h"

enum token { E = 1, S, EE, ES, SE, SS, PSK };

enum { TOKENS_MAX = 8 };

/* A pattern of the specification, sections 7.4, 7.5 and 18: who knows whose
 * static key beforehand, and the tokens of each message, initiator first. */
struct pattern {
    const char *name;
    int initiator_known, responder_known;
    uint8_t messages[4][TOKENS_MAX];
};

static const struct pattern patterns[] = {
    {"N", 0, 1, {{E, ES}}},
    {"K", 1, 1, {{E, ES, SS}}},
    {"X", 0, 1, {{E, ES, S, SS}}},
    {"NN", 0, 0, {{E}, {E, EE}}},
    {"NK", 0, 1, {{E, ES}, {E, EE}}},
    {"NX", 0, 0, {{E}, {E, EE, S, ES}}},
    {"XN", 0, 0, {{E}, {E, EE}, {S, SE}}},
    {"XK", 0, 1, {{E, ES}, {E, EE}, {S, SE}}},
    {"XX", 0, 0, {{E}, {E, EE, S, ES}, {S, SE}}},
    {"KN", 1, 0, {{E}, {E, EE, SE}}},
    {"KK", 1, 1, {{E, ES, SS}, {E, EE, SE}}},
    {"KX", 1, 0, {{E}, {E, EE, SE, S, ES}}},
    {"IN", 0, 0, {{E, S}, {E, EE, SE}}},
    {"IK", 0, 1, {{E, ES, S, SS}, {E, EE, SE}}},
    {"IX", 0, 0, {{E, S}, {E, EE, SE, S, ES}}},
    {"NK1", 0, 1, {{E}, {E, EE, ES}}},
    {"NX1", 0, 0, {{E}, {E, EE, S}, {ES}}},
    {"X1N", 0, 0, {{E}, {E, EE}, {S}, {SE}}},
    {"X1K", 0, 1, {{E, ES}, {E, EE}, {S}, {SE}}},
    {"XK1", 0, 1, {{E}, {E, EE, ES}, {S, SE}}},
    {"X1K1", 0, 1, {{E}, {E, EE, ES}, {S}, {SE}}},
    {"X1X", 0, 0, {{E}, {E, EE, S, ES}, {S}, {SE}}},
    {"XX1", 0, 0, {{E}, {E, EE, S}, {ES, S, SE}}},
    {"X1X1", 0, 0, {{E}, {E, EE, S}, {ES, S}, {SE}}},
    {"K1N", 1, 0, {{E}, {E, EE}, {SE}}},
    {"K1K", 1, 1, {{E, ES}, {E, EE}, {SE}}},
    {"KK1", 1, 1, {{E}, {E, EE, SE, ES}}},
    {"K1K1", 1, 1, {{E}, {E, EE, ES}, {SE}}},
    {"K1X", 1, 0, {{E}, {E, EE, S, ES}, {SE}}},
    {"KX1", 1, 0, {{E}, {E, EE, SE, S}, {ES}}},
    {"K1X1", 1, 0, {{E}, {E, EE, S}, {SE, ES}}},
    {"I1N", 0, 0, {{E, S}, {E, EE}, {SE}}},
    {"I1K", 0, 1, {{E, ES, S}, {E, EE}, {SE}}},
    {"IK1", 0, 1, {{E, S}, {E, EE, SE, ES}}},
    {"I1K1", 0, 1, {{E, S}, {E, EE, ES}, {SE}}},
    {"I1X", 0, 0, {{E, S}, {E, EE, S, ES}, {SE}}},
    {"IX1", 0, 0, {{E, S}, {E, EE, SE, S}, {ES}}},
    {"I1X1", 0, 0, {{E, S}, {E, EE, S}, {SE, ES}}},
};

struct noise {
    struct symmetric sym;
    enum noise_role role;
    int has_psk_token;
    uint8_t messages[4][TOKENS_MAX + 2]; /* with the psk tokens put in */
    unsigned n_messages, at;
    int done, broken;
    uint8_t s_secret[32], s_public[32], e_secret[32], e_public[32];
    uint8_t rs[32], re[32], psk[32];
    int has_s, has_e, has_rs, has_re, has_psk, fixed_e;
    uint8_t send_key[32], receive_key[32];
};

static int length(const uint8_t *tokens)
{
    int n = 0;
    while (n < TOKENS_MAX + 2 && tokens[n]) n++;
    return n;
}

/* "psk0+psk2" -> a psk token at the start of message 1, or at the end of
 * message N (section 9.4). */
static enum tacit_err add_modifiers(struct noise *n, const char *text)
{
    while (*text) {
        unsigned at;
        int used = 0;
        if (*text == '+') text++;
        if (sscanf(text, "psk%1u%n", &at, &used) != 1 || at > n->n_messages)
            return fail(TACIT_UNSUPPORTED, "unknown Noise modifier %s", text);
        uint8_t *m = n->messages[at ? at - 1 : 0];
        int len = length(m);
        if (at == 0) memmove(m + 1, m, (size_t)len);
        m[at == 0 ? 0 : len] = PSK;
        n->has_psk_token = 1;
        text += used;
    }
    return TACIT_OK;
}

static enum tacit_err set_pattern(struct noise *n, const char *name,
                                  const struct pattern **out)
{
    size_t base = strcspn(name, "p");
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
        const struct pattern *p = &patterns[i];
        if (strlen(p->name) != base || memcmp(p->name, name, base) != 0)
            continue;
        for (int m = 0; m < 4 && p->messages[m][0]; m++) {
            memcpy(n->messages[m], p->messages[m], TOKENS_MAX);
            n->n_messages++;
        }
        *out = p;
        return add_modifiers(n, name + base);
    }
    return fail(TACIT_UNSUPPORTED, "unknown Noise pattern %s", name);
}

static void take_key(uint8_t to[32], int *has, const uint8_t *from)
{
    if (!from) return;
    memcpy(to, from, 32);
    *has = 1;
}

static enum tacit_err start(struct noise *n, const struct noise_config *c)
{
    const struct pattern *p = NULL;
    char name[96];
    int initiator = c->role == NOISE_INITIATOR;
    TRY(set_pattern(n, c->pattern, &p));
    take_key(n->s_secret, &n->has_s, c->s_secret);
    take_key(n->rs, &n->has_rs, c->rs_public);
    take_key(n->psk, &n->has_psk, c->psk);
    take_key(n->e_secret, &n->fixed_e, c->e_secret);
    if (n->has_s) crypto_scalarmult_base(n->s_public, n->s_secret);
    if ((initiator ? p->responder_known : p->initiator_known) && !n->has_rs)
        return fail(TACIT_STATE, "the pattern needs the remote static key");
    if ((initiator ? p->initiator_known : p->responder_known) && !n->has_s)
        return fail(TACIT_STATE, "the pattern needs a static key");
    snprintf(name, sizeof name, "Noise_%s_25519_ChaChaPoly_BLAKE2b",
             c->pattern);
    symmetric_init(&n->sym, name);
    symmetric_mix_hash(&n->sym, c->prologue, c->prologue_len);
    if (p->initiator_known)
        symmetric_mix_hash(&n->sym, initiator ? n->s_public : n->rs, 32);
    if (p->responder_known)
        symmetric_mix_hash(&n->sym, initiator ? n->rs : n->s_public, 32);
    return TACIT_OK;
}

enum tacit_err noise_new(const struct noise_config *cfg, struct noise **out)
{
    struct noise *n;
    TRY(secret_alloc(sizeof *n, &n));
    n->role = cfg->role;
    enum tacit_err err = start(n, cfg);
    if (err)
        secret_free(n);
    else
        *out = n;
    return err;
}

void noise_free(struct noise *n)
{
    secret_free(n);
}

void noise_set_psk(struct noise *n, const uint8_t psk[NOISE_KEY])
{
    take_key(n->psk, &n->has_psk, psk);
}

static enum tacit_err mix_dh(struct noise *n, const uint8_t secret[32],
                             int has_secret, const uint8_t public_key[32],
                             int has_public)
{
    uint8_t shared[32];
    if (!has_secret || !has_public)
        return fail(TACIT_STATE, "the handshake lacks a key");
    /* An all-zero result (a point of small order) is refused here. */
    if (crypto_scalarmult(shared, secret, public_key) != 0)
        return fail(TACIT_AUTH, "the peer's key is not a usable point");
    symmetric_mix_key(&n->sym, shared, sizeof shared);
    sodium_memzero(shared, sizeof shared);
    return TACIT_OK;
}

/* The tokens that both sides process alike. */
static enum tacit_err mix_token(struct noise *n, uint8_t token)
{
    int i = n->role == NOISE_INITIATOR;
    switch (token) {
    case EE: /* ee */ return mix_dh(n, n->e_secret, n->has_e, n->re, n->has_re);
    case ES: /* es: initiator's ephemeral, responder's static */
        return i ? mix_dh(n, n->e_secret, n->has_e, n->rs, n->has_rs)
                 : mix_dh(n, n->s_secret, n->has_s, n->re, n->has_re);
    case SE: /* se: initiator's static, responder's ephemeral */
        return i ? mix_dh(n, n->s_secret, n->has_s, n->re, n->has_re)
                 : mix_dh(n, n->e_secret, n->has_e, n->rs, n->has_rs);
    case SS: /* ss */ return mix_dh(n, n->s_secret, n->has_s, n->rs, n->has_rs);
    case PSK: /* psk */
        if (!n->has_psk)
            return fail(TACIT_STATE, "the handshake lacks its PSK");
        symmetric_mix_key_and_hash(&n->sym, n->psk, sizeof n->psk);
        return TACIT_OK;
    default: return fail(TACIT_INTERNAL, "unknown token");
    }
}

static void finish(struct noise *n)
{
    uint8_t first[32], second[32];
    int i = n->role == NOISE_INITIATOR;
    symmetric_split(&n->sym, first, second);
    memcpy(n->send_key, i ? first : second, 32);
    memcpy(n->receive_key, i ? second : first, 32);
    n->done = 1;
    /* Only the transport keys, the hash and the remote static stay. */
    sodium_memzero(first, sizeof first);
    sodium_memzero(second, sizeof second);
    sodium_memzero(n->s_secret, sizeof n->s_secret);
    sodium_memzero(n->e_secret, sizeof n->e_secret);
    sodium_memzero(n->psk, sizeof n->psk);
    sodium_memzero(n->sym.ck, sizeof n->sym.ck);
    sodium_memzero(n->sym.k, sizeof n->sym.k);
}

static enum tacit_err my_turn(struct noise *n, int writing)
{
    int initiator_speaks = n->at % 2 == 0;
    if (n->broken || n->done ||
        (initiator_speaks == (n->role == NOISE_INITIATOR)) != writing)
        return fail(TACIT_STATE, "not this side's turn in the handshake");
    return TACIT_OK;
}

static void write_e(struct noise *n, struct buf *out)
{
    if (!n->fixed_e) rng_secure(n->e_secret, sizeof n->e_secret);
    crypto_scalarmult_base(n->e_public, n->e_secret);
    n->has_e = 1;
    buf_put(out, n->e_public, 32);
    symmetric_mix_hash(&n->sym, n->e_public, 32);
    if (n->has_psk_token) symmetric_mix_key(&n->sym, n->e_public, 32);
}

static enum tacit_err write_tokens(struct noise *n, const uint8_t *tokens,
                                   struct buf *out)
{
    for (; *tokens; tokens++) {
        if (*tokens == E) { /* e */
            write_e(n, out);
        } else if (*tokens == S) { /* s */
            uint8_t sealed[32 + SYMMETRIC_TAG];
            if (!n->has_s) return fail(TACIT_STATE, "no static key");
            buf_put(out, sealed,
                    symmetric_encrypt(&n->sym, n->s_public, 32, sealed));
        } else {
            TRY(mix_token(n, *tokens));
        }
    }
    return TACIT_OK;
}

enum tacit_err noise_write(struct noise *n, const void *payload, size_t len,
                           struct buf *out)
{
    TRY(my_turn(n, 1));
    if (len > NOISE_MESSAGE_MAX - 256)
        return fail(TACIT_LIMIT, "handshake payload of %zu bytes", len);
    enum tacit_err err = write_tokens(n, n->messages[n->at], out);
    uint8_t *p = err ? NULL : buf_extend(out, len + SYMMETRIC_TAG);
    if (!p) {
        n->broken = 1;
        return err ? err : buf_end(out);
    }
    out->len -=
        len + SYMMETRIC_TAG - symmetric_encrypt(&n->sym, payload, len, p);
    if (++n->at == n->n_messages) finish(n);
    return buf_end(out);
}

static enum tacit_err read_tokens(struct noise *n, const uint8_t *tokens,
                                  struct reader *r)
{
    for (; *tokens; tokens++) {
        if (*tokens == E) { /* e */
            reader_copy(r, n->re, 32);
            n->has_re = 1;
            symmetric_mix_hash(&n->sym, n->re, 32);
            if (n->has_psk_token) symmetric_mix_key(&n->sym, n->re, 32);
        } else if (*tokens == S) { /* s */
            size_t want = n->sym.has_key ? 32 + SYMMETRIC_TAG : 32, got;
            const uint8_t *sealed = reader_take(r, want);
            if (!sealed) return fail(TACIT_AUTH, "handshake message too short");
            TRY(symmetric_decrypt(&n->sym, sealed, want, n->rs, &got));
            n->has_rs = 1;
        } else {
            TRY(mix_token(n, *tokens));
        }
        if (r->err) return fail(TACIT_AUTH, "handshake message too short");
    }
    return TACIT_OK;
}

enum tacit_err noise_read(struct noise *n, const uint8_t *msg, size_t len,
                          struct buf *out_payload)
{
    struct reader r;
    size_t got = 0, was = out_payload->len;
    TRY(my_turn(n, 0));
    if (len > NOISE_MESSAGE_MAX)
        return fail(TACIT_LIMIT, "handshake message of %zu bytes", len);
    reader_init(&r, msg, len);
    enum tacit_err err = read_tokens(n, n->messages[n->at], &r);
    uint8_t *p = err ? NULL : buf_extend(out_payload, r.left + 1);
    if (!err && !p) err = buf_end(out_payload);
    if (!err) err = symmetric_decrypt(&n->sym, r.p, r.left, p, &got);
    out_payload->len = was + (err ? 0 : got);
    if (err) {
        n->broken = 1;
        return err;
    }
    if (++n->at == n->n_messages) finish(n);
    return TACIT_OK;
}

int noise_done(const struct noise *n)
{
    return n->done && !n->broken;
}

const uint8_t *noise_hash(const struct noise *n)
{
    return n->sym.h;
}

const uint8_t *noise_remote_static(const struct noise *n)
{
    return n->has_rs ? n->rs : NULL;
}

enum tacit_err noise_encrypt(struct noise *n, uint64_t nonce, const void *ad,
                             size_t ad_len, const uint8_t *in, size_t len,
                             uint8_t *out)
{
    if (!noise_done(n)) return fail(TACIT_STATE, "the handshake is not done");
    if (len > NOISE_MESSAGE_MAX - NOISE_TAG || nonce == UINT64_MAX)
        return fail(TACIT_LIMIT, "record of %zu bytes", len);
    symmetric_seal(n->send_key, nonce, ad, ad_len, in, len, out);
    return TACIT_OK;
}

enum tacit_err noise_decrypt(struct noise *n, uint64_t nonce, const void *ad,
                             size_t ad_len, const uint8_t *in, size_t len,
                             uint8_t *out)
{
    if (!noise_done(n)) return fail(TACIT_STATE, "the handshake is not done");
    if (len > NOISE_MESSAGE_MAX || nonce == UINT64_MAX)
        return fail(TACIT_LIMIT, "record of %zu bytes", len);
    return symmetric_open(n->receive_key, nonce, ad, ad_len, in, len, out);
}
