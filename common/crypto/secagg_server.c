#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/crypto/keys.h"
#include "common/crypto/prg.h"
#include "common/crypto/secagg.h"
#include "common/crypto/secagg_state.h"
#include "common/crypto/secagg_transcript.h"
#include "common/crypto/secret.h"
#include "common/crypto/shamir.h"

enum tacit_err secagg_server_new(const struct secagg_terms *terms,
                                 struct secagg_server **out)
{
    TRY(secagg_terms_check(terms));
    struct secagg_server *s = calloc(1, sizeof *s);
    if (!s) return fail(TACIT_NOMEM, "out of memory");
    s->terms = *terms;
    *out = s;
    return TACIT_OK;
}

void secagg_server_free(struct secagg_server *s)
{
    if (!s) return;
    if (s->owners) secret_wipe(s->owners, s->n * sizeof *s->owners);
    free(s->owners);
    free(s->sealed);
    free(s);
}

unsigned secagg_server_n(const struct secagg_server *s)
{
    return s->n;
}

const struct secagg_advert *secagg_server_roster(const struct secagg_server *s)
{
    return s->roster;
}

const struct secagg_set *secagg_server_u2(const struct secagg_server *s)
{
    return &s->shared;
}

const struct secagg_set *secagg_server_u3(const struct secagg_server *s)
{
    return &s->input;
}

void secagg_server_transcript(const struct secagg_server *s, struct digest *out)
{
    *out = s->transcript;
}

int secagg_server_member(const struct secagg_server *s,
                         const uint8_t id[SECAGG_ID])
{
    for (unsigned i = 0; i < s->n; i++)
        if (memcmp(s->roster[i].id, id, SECAGG_ID) == 0) return (int)i;
    return -1;
}

/* What the other members would refuse is refused here, or one device could
 * send them all home: a point of small order, another's mask key. */
static enum tacit_err check_keys(const struct secagg_server *s,
                                 const struct secagg_advert *a)
{
    static const uint8_t any[32] = {1};
    uint8_t shared[32];
    if (crypto_scalarmult(shared, any, a->mask_key) != 0 ||
        crypto_scalarmult(shared, any, a->seal_key) != 0)
        return fail(TACIT_AUTH, "a member's key is not a usable point");
    for (unsigned i = 0; i < s->n; i++)
        if (memcmp(s->roster[i].mask_key, a->mask_key, SECAGG_KEY) == 0)
            return fail_as(E_SECAGG_ROSTER, "two members share a key");
    return TACIT_OK;
}

enum tacit_err secagg_server_advert(struct secagg_server *s,
                                    const struct secagg_advert *a)
{
    int known = secagg_server_member(s, a->id);
    if (known >= 0) {
        if (memcmp(&s->roster[known], a, sizeof *a) == 0) return TACIT_OK;
        return fail(TACIT_PROTO, "a device advertised two sets of keys");
    }
    if (s->stage != ADVERTS)
        return fail(TACIT_STATE, "the round has begun without this device");
    if (s->n == SECAGG_CLIENTS_MAX)
        return fail(TACIT_LIMIT, "the round is full with %d members",
                    SECAGG_CLIENTS_MAX);
    TRY(secagg_advert_verify(&s->terms, a));
    TRY(check_keys(s, a));
    s->roster[s->n++] = *a;
    return TACIT_OK;
}

static int by_id(const void *a, const void *b)
{
    const struct secagg_advert *x = a, *y = b;
    return memcmp(x->id, y->id, SECAGG_ID);
}

enum tacit_err secagg_server_close_adverts(struct secagg_server *s)
{
    if (s->stage != ADVERTS) return fail(TACIT_STATE, "closed already");
    if (s->n < s->terms.u_min)
        return fail_as(E_SECAGG_TOO_FEW, "%u of at least %u devices joined",
                       s->n, s->terms.u_min);
    qsort(s->roster, s->n, sizeof s->roster[0], by_id);
    s->sealed = calloc((size_t)s->n * s->n, SECAGG_SEALED);
    s->owners = calloc(s->n, sizeof *s->owners);
    if (!s->sealed || !s->owners) return fail(TACIT_NOMEM, "out of memory");
    s->t = secagg_threshold(s->n);
    secagg_transcript_of(&s->terms, s->roster, s->n, &s->transcript);
    s->stage = SHARES;
    return TACIT_OK;
}

enum tacit_err secagg_server_shares(struct secagg_server *s, unsigned i,
                                    const uint8_t *sealed)
{
    if (i >= s->n) return fail(TACIT_PROTO, "member %u does not exist", i);
    if (secagg_set_has(&s->shared, i)) return TACIT_OK;
    if (s->stage != SHARES) return fail(TACIT_STATE, "too late for shares");
    memcpy(s->sealed + (size_t)i * s->n * SECAGG_SEALED, sealed,
           (size_t)s->n * SECAGG_SEALED);
    secagg_set_add(&s->shared, i);
    return TACIT_OK;
}

static unsigned minimum(const struct secagg_server *s)
{
    return s->t > s->terms.u_min ? s->t : s->terms.u_min;
}

enum tacit_err secagg_server_close_shares(struct secagg_server *s)
{
    if (s->stage != SHARES) return fail(TACIT_STATE, "closed already");
    unsigned n = secagg_set_count(&s->shared);
    if (n < minimum(s))
        return fail_as(E_SECAGG_TOO_FEW, "%u of at least %u shared keys", n,
                       minimum(s));
    s->stage = INPUTS;
    return TACIT_OK;
}

void secagg_server_shares_for(const struct secagg_server *s, unsigned i,
                              uint16_t *senders, uint8_t *sealed, unsigned *n)
{
    unsigned k = 0;
    for (unsigned from = 0; from < s->n; from++) {
        if (from == i || !secagg_set_has(&s->shared, from)) continue;
        senders[k] = (uint16_t)from;
        memcpy(sealed + (size_t)k * SECAGG_SEALED,
               s->sealed + ((size_t)from * s->n + i) * SECAGG_SEALED,
               SECAGG_SEALED);
        k++;
    }
    *n = k;
}

enum tacit_err secagg_server_input(struct secagg_server *s, unsigned i)
{
    if (i >= s->n || !secagg_set_has(&s->shared, i))
        return fail_as(E_SECAGG_INPUT, "member %u shared no keys", i);
    if (s->stage != INPUTS) return fail(TACIT_STATE, "too late for inputs");
    secagg_set_add(&s->input, i);
    return TACIT_OK;
}

enum tacit_err secagg_server_close_inputs(struct secagg_server *s)
{
    if (s->stage != INPUTS) return fail(TACIT_STATE, "closed already");
    unsigned n = secagg_set_count(&s->input);
    if (n < minimum(s))
        return fail_as(E_SECAGG_TOO_FEW, "%u of at least %u inputs came", n,
                       minimum(s));
    s->stage = SIGNATURES;
    return TACIT_OK;
}

enum tacit_err secagg_server_signature(struct secagg_server *s, unsigned i,
                                       const uint8_t *sig)
{
    uint8_t statement[SECAGG_SURVIVORS_BYTES];
    if (s->stage != SIGNATURES)
        return fail(TACIT_STATE, "the survivors are not fixed yet");
    if (i >= s->n || !secagg_set_has(&s->input, i))
        return fail(TACIT_PROTO, "member %u is no survivor", i);
    if (secagg_set_has(&s->signed_by, i)) return TACIT_OK;
    secagg_survivors_statement(&s->transcript, s->n, &s->input, statement);
    TRY(keys_verify(s->roster[i].identity, SECAGG_SURVIVORS_DOMAIN, statement,
                    sizeof statement, sig));
    memcpy(s->signatures[i], sig, SECAGG_SIGNATURE);
    secagg_set_add(&s->signed_by, i);
    return TACIT_OK;
}

unsigned secagg_server_n_signatures(const struct secagg_server *s)
{
    return secagg_set_count(&s->signed_by);
}

void secagg_server_signatures(const struct secagg_server *s, uint16_t *signers,
                              uint8_t *sigs, unsigned *n)
{
    unsigned k = 0;
    for (unsigned i = 0; i < s->n; i++) {
        if (!secagg_set_has(&s->signed_by, i)) continue;
        signers[k] = (uint16_t)i;
        memcpy(sigs + (size_t)k * SECAGG_SIGNATURE, s->signatures[i],
               SECAGG_SIGNATURE);
        k++;
    }
    *n = k;
}

/* Which of a member's two secrets may be shown: never both. */
static int wanted_kind(const struct secagg_server *s, unsigned owner)
{
    return secagg_set_has(&s->input, owner) ? SECAGG_SHARE_SELF
                                            : SECAGG_SHARE_MASK;
}

enum tacit_err secagg_server_reveal(struct secagg_server *s, unsigned i,
                                    const struct secagg_share *shares,
                                    unsigned n)
{
    struct secagg_set seen = {{0}};
    if (s->stage != SIGNATURES)
        return fail(TACIT_STATE, "the survivors are not fixed yet");
    if (i >= s->n || !secagg_set_has(&s->input, i))
        return fail(TACIT_PROTO, "member %u is no survivor", i);
    if (secagg_set_has(&s->revealed_by, i)) return TACIT_OK;
    for (unsigned k = 0; k < n; k++) {
        unsigned owner = shares[k].owner;
        if (owner >= s->n || !secagg_set_has(&s->shared, owner) ||
            secagg_set_has(&seen, owner) ||
            shares[k].kind != wanted_kind(s, owner))
            return fail_as(E_SECAGG_KIND,
                           "member %u shows a share that may not be shown", i);
        secagg_set_add(&seen, owner);
    }
    for (unsigned k = 0; k < n; k++) {
        struct secagg_owner *o = &s->owners[shares[k].owner];
        assert(o->n < SECAGG_CLIENTS_MAX);
        o->from[o->n] = (uint16_t)i;
        memcpy(o->scalar[o->n++], shares[k].scalar, SECAGG_SCALAR);
    }
    secagg_set_add(&s->revealed_by, i);
    return TACIT_OK;
}

int secagg_server_ready(const struct secagg_server *s)
{
    if (s->stage != SIGNATURES) return 0;
    for (unsigned i = 0; i < s->n; i++)
        if (secagg_set_has(&s->shared, i) && s->owners[i].n < s->t) return 0;
    return 1;
}

/* The weights of the last set of members, which is nearly always the next. */
struct weights {
    uint16_t members[SECAGG_CLIENTS_MAX];
    uint8_t lambda[SECAGG_CLIENTS_MAX * SHAMIR_SCALAR];
    unsigned n;
};

static void rebuild(const struct secagg_server *s, unsigned i,
                    struct weights *w, uint8_t out[SECAGG_SCALAR])
{
    const struct secagg_owner *o = &s->owners[i];
    if (w->n != s->t ||
        memcmp(w->members, o->from, s->t * sizeof o->from[0]) != 0) {
        memcpy(w->members, o->from, s->t * sizeof o->from[0]);
        w->n = s->t;
        shamir_weights(w->members, w->n, w->lambda);
    }
    shamir_combine(w->lambda, o->scalar[0], s->t, out);
}

/* Undo what the survivors added for a member that was lost after sharing. */
static enum tacit_err unmask_lost(struct secagg_server *s, unsigned lost,
                                  const uint8_t secret[SECAGG_SCALAR],
                                  struct prg_mask *masks, uint32_t *sum)
{
    uint8_t mask_secret[32], public_key[32];
    unsigned k = 0;
    enum tacit_err err = TACIT_OK;
    secagg_mask_secret(secret, mask_secret);
    crypto_scalarmult_base(public_key, mask_secret);
    if (memcmp(public_key, s->roster[lost].mask_key, sizeof public_key) != 0)
        err = fail_as(E_SECAGG_SHARES,
                      "the shares of member %u do not rebuild its key", lost);
    for (unsigned i = 0; i < s->n && !err; i++) {
        if (!secagg_set_has(&s->input, i)) continue;
        err = secagg_pair_key(&s->transcript, mask_secret,
                              s->roster[i].mask_key, lost, i, masks[k].key);
        /* Survivor i added it when i < lost: take the opposite. */
        masks[k++].subtract = i < lost;
    }
    if (!err) prg_apply(masks, k, sum, s->terms.n_coords, s->terms.ring_bits);
    secret_wipe(mask_secret, sizeof mask_secret);
    return err;
}

static enum tacit_err unmask(struct secagg_server *s, struct weights *w,
                             struct prg_mask *masks, uint32_t *sum)
{
    uint8_t secret[SECAGG_SCALAR];
    unsigned k = 0;
    enum tacit_err err = TACIT_OK;
    for (unsigned i = 0; i < s->n; i++) {
        if (!secagg_set_has(&s->input, i)) continue;
        rebuild(s, i, w, secret);
        secagg_self_key(&s->transcript, secret, masks[k].key);
        masks[k++].subtract = 1;
    }
    prg_apply(masks, k, sum, s->terms.n_coords, s->terms.ring_bits);
    for (unsigned i = 0; i < s->n && !err; i++) {
        if (!secagg_set_has(&s->shared, i) || secagg_set_has(&s->input, i))
            continue;
        rebuild(s, i, w, secret);
        err = unmask_lost(s, i, secret, masks, sum);
    }
    secret_wipe(secret, sizeof secret);
    return err;
}

enum tacit_err secagg_server_unmask(struct secagg_server *s, uint32_t *sum)
{
    struct prg_mask *masks;
    if (!secagg_server_ready(s))
        return fail(TACIT_STATE, "too few shares to unmask");
    struct weights *w = calloc(1, sizeof *w);
    if (!w) return fail(TACIT_NOMEM, "out of memory");
    enum tacit_err err =
        secret_alloc(SECAGG_CLIENTS_MAX * sizeof *masks, &masks);
    if (!err) {
        err = unmask(s, w, masks, sum);
        secret_free(masks);
    }
    free(w);
    return err;
}
