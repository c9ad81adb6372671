#include "common/crypto/noise_symmetric.h"

#include <sodium.h>
#include <string.h>

#include "common/base/buf.h"

enum { BLOCK = 128 };

static void hash2(uint8_t out[SYMMETRIC_HASH], const void *a, size_t na,
                  const void *b, size_t nb)
{
    crypto_generichash_state st;
    crypto_generichash_init(&st, NULL, 0, SYMMETRIC_HASH);
    crypto_generichash_update(&st, a, na);
    crypto_generichash_update(&st, b, nb);
    crypto_generichash_final(&st, out, SYMMETRIC_HASH);
    sodium_memzero(&st, sizeof st);
}

/* HMAC (RFC 2104) over BLAKE2b-512; the key is always a 64-byte chaining or
 * temporary key here. */
static void hmac(uint8_t out[SYMMETRIC_HASH], const uint8_t key[SYMMETRIC_HASH],
                 const void *a, size_t na, const void *b, size_t nb)
{
    uint8_t inner[BLOCK], outer[BLOCK], sum[SYMMETRIC_HASH];
    crypto_generichash_state st;
    memset(inner, 0x36, sizeof inner);
    memset(outer, 0x5c, sizeof outer);
    for (int i = 0; i < SYMMETRIC_HASH; i++) {
        inner[i] ^= key[i];
        outer[i] ^= key[i];
    }
    crypto_generichash_init(&st, NULL, 0, SYMMETRIC_HASH);
    crypto_generichash_update(&st, inner, sizeof inner);
    crypto_generichash_update(&st, a, na);
    crypto_generichash_update(&st, b, nb);
    crypto_generichash_final(&st, sum, sizeof sum);
    hash2(out, outer, sizeof outer, sum, sizeof sum);
    sodium_memzero(&st, sizeof st);
    sodium_memzero(inner, sizeof inner);
    sodium_memzero(outer, sizeof outer);
    sodium_memzero(sum, sizeof sum);
}

/* HKDF of the specification, section 4.3: up to three outputs of 64 bytes. */
static void hkdf(const uint8_t ck[SYMMETRIC_HASH], const uint8_t *ikm, size_t n,
                 uint8_t out[][SYMMETRIC_HASH], int n_out)
{
    uint8_t temp[SYMMETRIC_HASH];
    hmac(temp, ck, ikm, n, NULL, 0);
    for (int i = 0; i < n_out; i++) {
        uint8_t number = (uint8_t)(i + 1);
        hmac(out[i], temp, i ? out[i - 1] : NULL, i ? SYMMETRIC_HASH : 0,
             &number, 1);
    }
    sodium_memzero(temp, sizeof temp);
}

void symmetric_init(struct symmetric *s, const char *protocol_name)
{
    size_t n = strlen(protocol_name);
    memset(s, 0, sizeof *s);
    if (n <= SYMMETRIC_HASH)
        memcpy(s->h, protocol_name, n);
    else
        hash2(s->h, protocol_name, n, NULL, 0);
    memcpy(s->ck, s->h, sizeof s->ck);
}

void symmetric_mix_hash(struct symmetric *s, const void *data, size_t n)
{
    hash2(s->h, s->h, sizeof s->h, data, n);
}

static void set_key(struct symmetric *s, const uint8_t *key)
{
    memcpy(s->k, key, sizeof s->k);
    s->n = 0;
    s->has_key = 1;
}

void symmetric_mix_key(struct symmetric *s, const uint8_t *ikm, size_t n)
{
    uint8_t out[2][SYMMETRIC_HASH];
    hkdf(s->ck, ikm, n, out, 2);
    memcpy(s->ck, out[0], sizeof s->ck);
    set_key(s, out[1]);
    sodium_memzero(out, sizeof out);
}

void symmetric_mix_key_and_hash(struct symmetric *s, const uint8_t *ikm,
                                size_t n)
{
    uint8_t out[3][SYMMETRIC_HASH];
    hkdf(s->ck, ikm, n, out, 3);
    memcpy(s->ck, out[0], sizeof s->ck);
    symmetric_mix_hash(s, out[1], sizeof out[1]);
    set_key(s, out[2]);
    sodium_memzero(out, sizeof out);
}

size_t symmetric_encrypt(struct symmetric *s, const void *plain, size_t n,
                         uint8_t *out)
{
    size_t len = n;
    if (s->has_key) {
        symmetric_seal(s->k, s->n++, s->h, sizeof s->h, plain, n, out);
        len += SYMMETRIC_TAG;
    } else if (n) {
        memcpy(out, plain, n);
    }
    symmetric_mix_hash(s, out, len);
    return len;
}

enum tacit_err symmetric_decrypt(struct symmetric *s, const uint8_t *in,
                                 size_t n, uint8_t *out, size_t *out_n)
{
    size_t len = n;
    if (s->has_key) {
        TRY(symmetric_open(s->k, s->n, s->h, sizeof s->h, in, n, out));
        s->n++;
        len = n - SYMMETRIC_TAG;
    } else if (n) {
        memcpy(out, in, n);
    }
    symmetric_mix_hash(s, in, n);
    *out_n = len;
    return TACIT_OK;
}

void symmetric_split(const struct symmetric *s, uint8_t first[SYMMETRIC_KEY],
                     uint8_t second[SYMMETRIC_KEY])
{
    uint8_t out[2][SYMMETRIC_HASH];
    hkdf(s->ck, NULL, 0, out, 2);
    memcpy(first, out[0], SYMMETRIC_KEY);
    memcpy(second, out[1], SYMMETRIC_KEY);
    sodium_memzero(out, sizeof out);
}

void symmetric_seal(const uint8_t key[SYMMETRIC_KEY], uint64_t nonce,
                    const void *ad, size_t ad_len, const void *plain, size_t n,
                    uint8_t *out)
{
    uint8_t npub[12] = {0};
    le64_store(npub + 4, nonce);
    crypto_aead_chacha20poly1305_ietf_encrypt(out, NULL, plain, n, ad, ad_len,
                                              NULL, npub, key);
}

enum tacit_err symmetric_open(const uint8_t key[SYMMETRIC_KEY], uint64_t nonce,
                              const void *ad, size_t ad_len, const uint8_t *in,
                              size_t n, uint8_t *out)
{
    uint8_t npub[12] = {0};
    le64_store(npub + 4, nonce);
    if (n < SYMMETRIC_TAG ||
        crypto_aead_chacha20poly1305_ietf_decrypt(out, NULL, NULL, in, n, ad,
                                                  ad_len, npub, key) != 0)
        return fail(TACIT_AUTH, "a message does not authenticate");
    return TACIT_OK;
}
