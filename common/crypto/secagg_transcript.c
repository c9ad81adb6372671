#include "common/crypto/secagg_transcript.h"

#include <sodium.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/codes.h"
#include "common/crypto/keys.h"

static const char advert_domain[] = "tacit sa-1 advert v1";

static void terms_encode(const struct secagg_terms *t,
                         uint8_t out[SECAGG_TERMS_BYTES])
{
    memcpy(out, t->session, 32);
    memcpy(out + 32, t->plan_hash.b, 32);
    memcpy(out + 64, t->model_hash.b, 32);
    memcpy(out + 96, t->roster_hash.b, 32);
    le32_store(out + 128, t->round);
    le32_store(out + 132, t->ring_bits);
    le32_store(out + 136, t->n_coords);
    le32_store(out + 140, t->u_min);
}

enum tacit_err secagg_terms_check(const struct secagg_terms *t)
{
    if (t->ring_bits != 24 && t->ring_bits != 32)
        return fail(TACIT_PROTO, "a ring of %u bits; 24 and 32 are known",
                    t->ring_bits);
    if (t->n_coords == 0) return fail(TACIT_SHAPE, "an empty input");
    if (t->u_min < SECAGG_CLIENTS_MIN || t->u_min > SECAGG_CLIENTS_MAX)
        return fail_as(E_SECAGG_TOO_FEW, "a minimum cohort of %u; %d to %d fit",
                       t->u_min, SECAGG_CLIENTS_MIN, SECAGG_CLIENTS_MAX);
    return TACIT_OK;
}

/* terms, id, P, C */
enum { ADVERT_BYTES = SECAGG_TERMS_BYTES + SECAGG_ID + 2 * SECAGG_KEY };

static void advert_statement(const struct secagg_terms *terms,
                             const struct secagg_advert *a,
                             uint8_t out[ADVERT_BYTES])
{
    terms_encode(terms, out);
    uint8_t *p = out + SECAGG_TERMS_BYTES;
    memcpy(p, a->id, SECAGG_ID);
    memcpy(p + SECAGG_ID, a->mask_key, SECAGG_KEY);
    memcpy(p + SECAGG_ID + SECAGG_KEY, a->seal_key, SECAGG_KEY);
}

void secagg_advert_sign(const struct secagg_terms *terms,
                        const uint8_t *identity_secret, struct secagg_advert *a)
{
    uint8_t statement[ADVERT_BYTES];
    advert_statement(terms, a, statement);
    keys_sign_with(identity_secret, advert_domain, statement, sizeof statement,
                   a->signature);
}

enum tacit_err secagg_advert_verify(const struct secagg_terms *terms,
                                    const struct secagg_advert *a)
{
    uint8_t statement[ADVERT_BYTES], id[SECAGG_ID];
    keys_id(id, a->identity);
    if (memcmp(id, a->id, sizeof id) != 0)
        return fail_as(E_BAD_SIGNATURE, "a member's id is not that of its key");
    advert_statement(terms, a, statement);
    return keys_verify(a->identity, advert_domain, statement, sizeof statement,
                       a->signature);
}

static void put(struct digest_state *st, const char *domain)
{
    digest_add(st, domain, strlen(domain) + 1);
}

void secagg_transcript_of(const struct secagg_terms *terms,
                          const struct secagg_advert *roster, unsigned n,
                          struct digest *out)
{
    struct digest_state st;
    uint8_t encoded[SECAGG_TERMS_BYTES], count[4];
    digest_begin(&st);
    put(&st, "tacit sa-1 transcript v1");
    terms_encode(terms, encoded);
    digest_add(&st, encoded, sizeof encoded);
    le32_store(count, n);
    digest_add(&st, count, sizeof count);
    for (unsigned i = 0; i < n; i++) {
        digest_add(&st, roster[i].id, SECAGG_ID);
        digest_add(&st, roster[i].identity, SECAGG_KEY);
        digest_add(&st, roster[i].mask_key, SECAGG_KEY);
        digest_add(&st, roster[i].seal_key, SECAGG_KEY);
    }
    digest_end(&st, out);
}

void secagg_survivors_statement(const struct digest *transcript, unsigned n,
                                const struct secagg_set *u3,
                                uint8_t out[SECAGG_SURVIVORS_BYTES])
{
    memcpy(out, transcript->b, 32);
    out[32] = (uint8_t)n;
    out[33] = (uint8_t)(n >> 8);
    for (unsigned w = 0; w < SECAGG_CLIENTS_MAX / 64; w++)
        le64_store(out + 34 + 8 * w, u3->bits[w]);
}

void secagg_mask_secret(const uint8_t s[SECAGG_SCALAR], uint8_t out[32])
{
    struct digest_state st;
    struct digest d;
    digest_begin(&st);
    put(&st, "tacit sa-1 mask secret v1");
    digest_add(&st, s, SECAGG_SCALAR);
    digest_end(&st, &d);
    memcpy(out, d.b, 32);
    sodium_memzero(&d, sizeof d);
}

/* BLAKE2b keyed with a Diffie-Hellman result. */
static enum tacit_err pair(const char *domain, const struct digest *transcript,
                           const uint8_t secret[32],
                           const uint8_t peer_key[SECAGG_KEY], unsigned a,
                           unsigned b, uint8_t out[32])
{
    uint8_t shared[32], text[64] = {0};
    size_t n = strlen(domain) + 1;
    if (crypto_scalarmult(shared, secret, peer_key) != 0)
        return fail(TACIT_AUTH, "a member's key is not a usable point");
    memcpy(text, domain, n);
    crypto_generichash_state st;
    crypto_generichash_init(&st, shared, sizeof shared, 32);
    crypto_generichash_update(&st, text, n);
    crypto_generichash_update(&st, transcript->b, 32);
    le32_store(text, a);
    le32_store(text + 4, b);
    crypto_generichash_update(&st, text, 8);
    crypto_generichash_final(&st, out, 32);
    sodium_memzero(&st, sizeof st);
    sodium_memzero(shared, sizeof shared);
    return TACIT_OK;
}

enum tacit_err secagg_pair_key(const struct digest *transcript,
                               const uint8_t mask_secret[32],
                               const uint8_t peer_key[SECAGG_KEY], unsigned i,
                               unsigned j, uint8_t out[32])
{
    return pair("tacit sa-1 mask v1", transcript, mask_secret, peer_key,
                i < j ? i : j, i < j ? j : i, out);
}

void secagg_self_key(const struct digest *transcript,
                     const uint8_t b[SECAGG_SCALAR], uint8_t out[32])
{
    struct digest_state st;
    struct digest d;
    digest_begin(&st);
    put(&st, "tacit sa-1 self mask v1");
    digest_add(&st, transcript->b, 32);
    digest_add(&st, b, SECAGG_SCALAR);
    digest_end(&st, &d);
    memcpy(out, d.b, 32);
    sodium_memzero(&d, sizeof d);
}

enum tacit_err secagg_seal_key(const struct digest *transcript,
                               const uint8_t secret[32],
                               const uint8_t peer_key[SECAGG_KEY],
                               unsigned from, unsigned to, uint8_t out[32])
{
    return pair("tacit sa-1 share v1", transcript, secret, peer_key, from, to,
                out);
}

unsigned secagg_set_count(const struct secagg_set *s)
{
    unsigned n = 0;
    for (unsigned w = 0; w < SECAGG_CLIENTS_MAX / 64; w++)
        n += (unsigned)__builtin_popcountll(s->bits[w]);
    return n;
}

unsigned secagg_threshold(unsigned n)
{
    unsigned t = (n + n / 10) / 2 + 1;
    return t > n ? n : t;
}
