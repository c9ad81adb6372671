#include <assert.h>
#include <sodium.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/rng.h"
#include "common/crypto/keys.h"
#include "common/crypto/prg.h"
#include "common/crypto/secagg.h"
#include "common/crypto/secagg_state.h"
#include "common/crypto/secagg_transcript.h"
#include "common/crypto/secret.h"
#include "common/crypto/shamir.h"

_Static_assert((int)SECAGG_CLIENTS_MAX <= (int)SHAMIR_MAX,
               "every member gets a share");
_Static_assert(SECAGG_SEALED == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES +
                                    2 * SECAGG_SCALAR +
                                    crypto_aead_xchacha20poly1305_ietf_ABYTES,
               "sealed size");

enum tacit_err secagg_client_new(const struct secagg_terms *terms,
                                 const uint8_t id[SECAGG_ID],
                                 const uint8_t *identity_secret,
                                 struct secagg_client **out)
{
    struct secagg_client *c;
    TRY(secagg_terms_check(terms));
    TRY(secret_alloc(sizeof *c, &c));
    c->terms = *terms;
    c->identity_secret = identity_secret;
    crypto_core_ristretto255_scalar_random(c->s);
    crypto_core_ristretto255_scalar_random(c->b);
    secagg_mask_secret(c->s, c->mask_secret);
    crypto_scalarmult_base(c->own.mask_key, c->mask_secret);
    crypto_box_keypair(c->own.seal_key, c->seal_secret);
    memcpy(c->own.id, id, SECAGG_ID);
    crypto_sign_ed25519_sk_to_pk(c->own.identity, identity_secret);
    secagg_advert_sign(&c->terms, identity_secret, &c->own);
    *out = c;
    return TACIT_OK;
}

void secagg_client_free(struct secagg_client *c)
{
    secret_free(c);
}

void secagg_client_advert(const struct secagg_client *c,
                          struct secagg_advert *out)
{
    *out = c->own;
}

void secagg_client_transcript(const struct secagg_client *c, struct digest *out)
{
    *out = c->transcript;
}

/* Sorted, distinct, signed, and with this client's own advert in it. */
static enum tacit_err check_roster(struct secagg_client *c,
                                   const struct secagg_advert *roster,
                                   unsigned n)
{
    int found = 0;
    if (n < c->terms.u_min || n > SECAGG_CLIENTS_MAX)
        return fail_as(E_SECAGG_TOO_FEW,
                       "%u members; at least %u have to take part", n,
                       c->terms.u_min);
    for (unsigned i = 0; i < n; i++) {
        if (i && memcmp(roster[i - 1].id, roster[i].id, SECAGG_ID) >= 0)
            return fail_as(E_SECAGG_ROSTER,
                           "the roster is unsorted or repeats a member");
        for (unsigned j = 0; j < i; j++)
            if (memcmp(roster[j].mask_key, roster[i].mask_key, SECAGG_KEY) == 0)
                return fail_as(E_SECAGG_ROSTER, "two members share a key");
        if (memcmp(roster[i].id, c->own.id, SECAGG_ID) == 0) {
            if (memcmp(&roster[i], &c->own, sizeof c->own) != 0)
                return fail_as(E_SECAGG_ROSTER,
                               "this device's keys were changed on the way");
            c->me = i;
            found = 1;
            continue;
        }
        TRY(secagg_advert_verify(&c->terms, &roster[i]));
    }
    if (!found)
        return fail_as(E_SECAGG_ROSTER, "this device is not in the roster");
    return TACIT_OK;
}

static void share_ad(uint8_t ad[40], const struct digest *transcript,
                     unsigned from, unsigned to)
{
    memcpy(ad, transcript->b, 32);
    for (int i = 0; i < 4; i++) {
        ad[32 + i] = (uint8_t)(from >> (8 * i));
        ad[36 + i] = (uint8_t)(to >> (8 * i));
    }
}

static enum tacit_err seal(struct secagg_client *c, unsigned to,
                           const uint8_t *plain, uint8_t *out)
{
    uint8_t key[32], ad[40];
    TRY(secagg_seal_key(&c->transcript, c->seal_secret, c->roster[to].seal_key,
                        c->me, to, key));
    share_ad(ad, &c->transcript, c->me, to);
    rng_secure(out, crypto_aead_xchacha20poly1305_ietf_NPUBBYTES);
    crypto_aead_xchacha20poly1305_ietf_encrypt(
        out + crypto_aead_xchacha20poly1305_ietf_NPUBBYTES, NULL, plain,
        2 * SECAGG_SCALAR, ad, sizeof ad, NULL, out, key);
    secret_wipe(key, sizeof key);
    return TACIT_OK;
}

static enum tacit_err seal_all(struct secagg_client *c, const uint8_t *of_s,
                               const uint8_t *of_b, uint8_t *out_sealed)
{
    uint8_t plain[2 * SECAGG_SCALAR];
    enum tacit_err err = TACIT_OK;
    for (unsigned i = 0; i < c->n && !err; i++) {
        memcpy(plain, of_s + (size_t)i * SECAGG_SCALAR, SECAGG_SCALAR);
        memcpy(plain + SECAGG_SCALAR, of_b + (size_t)i * SECAGG_SCALAR,
               SECAGG_SCALAR);
        if (i == c->me)
            memcpy(c->shares[i], plain, sizeof plain);
        else
            err = seal(c, i, plain, out_sealed + (size_t)i * SECAGG_SEALED);
    }
    secret_wipe(plain, sizeof plain);
    return err;
}

enum tacit_err secagg_client_share(struct secagg_client *c,
                                   const struct secagg_advert *roster,
                                   unsigned n, uint8_t *out_sealed)
{
    if (c->step != FRESH)
        return fail_as(E_SECAGG_ONCE, "keys were shared already");
    TRY(check_roster(c, roster, n));
    uint8_t *shares;
    size_t bytes = (size_t)n * SECAGG_SCALAR;
    TRY(secret_alloc(2 * bytes, &shares));
    memcpy(c->roster, roster, n * sizeof *roster);
    c->n = n;
    c->t = secagg_threshold(n);
    secagg_transcript_of(&c->terms, roster, n, &c->transcript);
    shamir_split(c->s, c->t, n, shares);
    shamir_split(c->b, c->t, n, shares + bytes);
    memset(out_sealed, 0, (size_t)n * SECAGG_SEALED);
    enum tacit_err err = seal_all(c, shares, shares + bytes, out_sealed);
    secret_free(shares);
    if (err) return err;
    secagg_set_add(&c->held, c->me);
    c->step = SHARED;
    return TACIT_OK;
}

/* 1 when the share opened. One that does not only lowers what this client can
 * reveal later. */
static int unseal(struct secagg_client *c, unsigned from, const uint8_t *sealed)
{
    uint8_t key[32], ad[40];
    if (secagg_seal_key(&c->transcript, c->seal_secret,
                        c->roster[from].seal_key, from, c->me, key)) {
        err_clear();
        return 0;
    }
    share_ad(ad, &c->transcript, from, c->me);
    int rc = crypto_aead_xchacha20poly1305_ietf_decrypt(
        c->shares[from], NULL, NULL,
        sealed + crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
        SECAGG_SEALED - crypto_aead_xchacha20poly1305_ietf_NPUBBYTES, ad,
        sizeof ad, sealed, key);
    secret_wipe(key, sizeof key);
    return rc == 0;
}

enum tacit_err secagg_client_receive(struct secagg_client *c,
                                     const uint16_t *senders,
                                     const uint8_t *sealed, unsigned n)
{
    struct secagg_set u2 = {{0}};
    if (c->step != SHARED)
        return fail_as(E_SECAGG_ONCE, "shares were received already");
    secagg_set_add(&u2, c->me);
    for (unsigned i = 0; i < n; i++) {
        if (senders[i] >= c->n || secagg_set_has(&u2, senders[i]))
            return fail_as(E_SECAGG_ROSTER,
                           "shares from an unknown or repeated member");
        secagg_set_add(&u2, senders[i]);
    }
    unsigned count = secagg_set_count(&u2);
    if (count < c->t || count < c->terms.u_min)
        return fail_as(E_SECAGG_TOO_FEW,
                       "%u members shared keys; at least %u are needed", count,
                       c->t > c->terms.u_min ? c->t : c->terms.u_min);
    for (unsigned i = 0; i < n; i++)
        if (unseal(c, senders[i], sealed + (size_t)i * SECAGG_SEALED))
            secagg_set_add(&c->held, senders[i]);
    c->u2 = u2;
    c->step = RECEIVED;
    return TACIT_OK;
}

static enum tacit_err mask_keys(struct secagg_client *c, struct prg_mask *masks,
                                unsigned *n_masks)
{
    unsigned k = 0;
    secagg_self_key(&c->transcript, c->b, masks[k].key);
    masks[k++].subtract = 0;
    for (unsigned j = 0; j < c->n; j++) {
        if (j == c->me || !secagg_set_has(&c->u2, j)) continue;
        TRY(secagg_pair_key(&c->transcript, c->mask_secret,
                            c->roster[j].mask_key, c->me, j, masks[k].key));
        masks[k++].subtract = c->me > j;
    }
    *n_masks = k;
    return TACIT_OK;
}

enum tacit_err secagg_client_mask(struct secagg_client *c, uint32_t *y)
{
    struct prg_mask *masks;
    unsigned n_masks = 0;
    if (c->step != RECEIVED)
        return fail_as(E_SECAGG_ONCE, "an input is masked once, after the "
                                      "shares");
    TRY(secret_alloc(SECAGG_CLIENTS_MAX * sizeof *masks, &masks));
    enum tacit_err err = mask_keys(c, masks, &n_masks);
    if (!err) {
        prg_apply(masks, n_masks, y, c->terms.n_coords, c->terms.ring_bits);
        c->step = MASKED;
    }
    secret_free(masks);
    return err;
}

enum tacit_err secagg_client_sign(struct secagg_client *c,
                                  const struct secagg_set *u3,
                                  uint8_t out_sig[SECAGG_SIGNATURE])
{
    uint8_t statement[SECAGG_SURVIVORS_BYTES];
    if (c->step != MASKED)
        return fail_as(E_SECAGG_ONCE, "survivors are signed once, after the "
                                      "input");
    for (unsigned w = 0; w < SECAGG_CLIENTS_MAX / 64; w++)
        if (u3->bits[w] & ~c->u2.bits[w])
            return fail_as(E_SECAGG_SURVIVORS,
                           "a survivor never shared its keys");
    if (!secagg_set_has(u3, c->me))
        return fail_as(E_SECAGG_SURVIVORS,
                       "this device's input is left out of the survivors");
    unsigned count = secagg_set_count(u3);
    if (count < c->t || count < c->terms.u_min)
        return fail_as(E_SECAGG_TOO_FEW, "%u survivors; at least %u are needed",
                       count, c->t > c->terms.u_min ? c->t : c->terms.u_min);
    c->u3 = *u3;
    secagg_survivors_statement(&c->transcript, c->n, u3, statement);
    keys_sign_with(c->identity_secret, SECAGG_SURVIVORS_DOMAIN, statement,
                   sizeof statement, out_sig);
    c->step = SIGNED;
    return TACIT_OK;
}

static enum tacit_err check_signatures(struct secagg_client *c,
                                       const uint16_t *signers,
                                       const uint8_t *signatures, unsigned n)
{
    uint8_t statement[SECAGG_SURVIVORS_BYTES];
    struct secagg_set seen = {{0}};
    secagg_survivors_statement(&c->transcript, c->n, &c->u3, statement);
    for (unsigned i = 0; i < n; i++) {
        if (signers[i] >= c->n || !secagg_set_has(&c->u3, signers[i]) ||
            secagg_set_has(&seen, signers[i]))
            return fail_as(E_SECAGG_SIGNATURES,
                           "a signature of an unknown or repeated member");
        secagg_set_add(&seen, signers[i]);
        if (keys_verify(c->roster[signers[i]].identity, SECAGG_SURVIVORS_DOMAIN,
                        statement, sizeof statement,
                        signatures + (size_t)i * SECAGG_SIGNATURE)) {
            err_clear();
            return fail_as(E_SECAGG_SIGNATURES,
                           "member %u did not sign this survivor list",
                           signers[i]);
        }
    }
    unsigned need = c->t > c->terms.u_min ? c->t : c->terms.u_min;
    if (n < need)
        return fail_as(E_SECAGG_SIGNATURES,
                       "%u signatures on the survivor list; %u are needed", n,
                       need);
    return TACIT_OK;
}

/* Forget everything that could answer a second time. */
static void spend(struct secagg_client *c)
{
    secret_wipe(c->s, sizeof c->s);
    secret_wipe(c->b, sizeof c->b);
    secret_wipe(c->mask_secret, sizeof c->mask_secret);
    secret_wipe(c->seal_secret, sizeof c->seal_secret);
    secret_wipe(c->shares, sizeof c->shares);
    c->step = SPENT;
}

enum tacit_err secagg_client_reveal(struct secagg_client *c,
                                    const uint16_t *signers,
                                    const uint8_t *signatures, unsigned n,
                                    struct secagg_share *out, unsigned *out_n)
{
    if (c->step != SIGNED)
        return fail_as(E_SECAGG_ONCE,
                       "shares are revealed once, after signing");
    enum tacit_err err = check_signatures(c, signers, signatures, n);
    unsigned k = 0;
    for (unsigned i = 0; i < c->n && !err; i++) {
        if (!secagg_set_has(&c->u2, i) || !secagg_set_has(&c->held, i))
            continue;
        /* One kind per member: alive -> b, lost -> s. Disjoint by
         * construction. */
        int alive = secagg_set_has(&c->u3, i);
        out[k].owner = (uint16_t)i;
        out[k].kind = alive ? SECAGG_SHARE_SELF : SECAGG_SHARE_MASK;
        memcpy(out[k++].scalar, c->shares[i] + (alive ? SECAGG_SCALAR : 0),
               SECAGG_SCALAR);
    }
    /* Also after a refusal: this session is over for this device. */
    spend(c);
    if (err) return err;
    *out_n = k;
    return TACIT_OK;
}
