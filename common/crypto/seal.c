#include "common/crypto/seal.h"

#include <sodium.h>
#include <string.h>

#include "common/base/buf.h"

enum { PLACE_BYTES = 17 };

static void place_bytes(uint8_t out[PLACE_BYTES], const struct seal_place *p)
{
    out[0] = (uint8_t)p->kind;
    le64_store(out + 1, p->a);
    le64_store(out + 9, p->b);
}

void seal_close(const uint8_t key[SEAL_KEY], const struct seal_place *place,
                const void *bytes, size_t n, uint8_t *out,
                uint8_t extra[SEAL_EXTRA])
{
    uint8_t where[PLACE_BYTES], none[1];
    place_bytes(where, place);
    if (n == 0) out = none; /* libsodium wants no NULL */
    randombytes_buf(extra, SEAL_NONCE);
    crypto_aead_xchacha20poly1305_ietf_encrypt_detached(out, extra + SEAL_NONCE,
                                                        NULL, bytes, n, where,
                                                        sizeof where, NULL,
                                                        extra, key);
}

int seal_open(const uint8_t key[SEAL_KEY], const struct seal_place *place,
              uint8_t *bytes, size_t n, const uint8_t extra[SEAL_EXTRA])
{
    uint8_t where[PLACE_BYTES], none[1] = {0};
    place_bytes(where, place);
    if (n == 0) bytes = none;
    int bad = crypto_aead_xchacha20poly1305_ietf_decrypt_detached(
        bytes, NULL, bytes, n, extra + SEAL_NONCE, where, sizeof where, extra,
        key);
    if (bad && n > 0) memset(bytes, 0, n);
    return bad ? -1 : 0;
}

void seal_derive(uint8_t out[SEAL_KEY], const uint8_t key[SEAL_KEY],
                 const char *purpose, const void *salt, size_t n_salt)
{
    crypto_generichash_state st;
    crypto_generichash_init(&st, key, SEAL_KEY, SEAL_KEY);
    crypto_generichash_update(&st, (const uint8_t *)purpose,
                              strlen(purpose) + 1);
    crypto_generichash_update(&st, salt, n_salt);
    crypto_generichash_final(&st, out, SEAL_KEY);
    sodium_memzero(&st, sizeof st);
}

void seal_mask(const uint8_t key[SEAL_KEY], const uint8_t nonce[SEAL_NONCE],
               uint8_t *bytes, size_t n)
{
    crypto_stream_xchacha20_xor(bytes, bytes, n, nonce, key);
}
