#include "common/base/digest.h"

#include <sodium.h>
#include <string.h>

_Static_assert(sizeof(crypto_generichash_state) <= sizeof(struct digest_state),
               "the state fits");

void digest_of(struct digest *out, const void *bytes, size_t n)
{
    crypto_generichash(out->b, sizeof out->b, bytes, n, NULL, 0);
}

static crypto_generichash_state *state(struct digest_state *s)
{
    return (crypto_generichash_state *)(void *)s->opaque;
}

void digest_begin(struct digest_state *s)
{
    crypto_generichash_init(state(s), NULL, 0, DIGEST_BYTES);
}

void digest_add(struct digest_state *s, const void *bytes, size_t n)
{
    crypto_generichash_update(state(s), bytes, n);
}

void digest_end(struct digest_state *s, struct digest *out)
{
    crypto_generichash_final(state(s), out->b, sizeof out->b);
    sodium_memzero(s, sizeof *s);
}

int digest_equal(const struct digest *a, const struct digest *b)
{
    return sodium_memcmp(a->b, b->b, sizeof a->b) == 0;
}

void hex_encode(char *out, const uint8_t *bytes, size_t n)
{
    sodium_bin2hex(out, 2 * n + 1, bytes, n);
}

enum tacit_err hex_decode(uint8_t *out, size_t n, const char *hex)
{
    size_t got = 0;
    if (strlen(hex) != 2 * n ||
        sodium_hex2bin(out, n, hex, 2 * n, NULL, &got, NULL) != 0 || got != n)
        return fail(TACIT_FORMAT, "not %zu bytes of hexadecimal", n);
    return TACIT_OK;
}

void base64url_encode(char *out, size_t cap, const uint8_t *bytes, size_t n)
{
    sodium_bin2base64(out, cap, bytes, n,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

enum tacit_err base64url_decode(uint8_t *out, size_t cap, size_t *out_n,
                                const char *text)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                   "abcdefghijklmnopqrstuvwxyz0123456789-_";
    size_t n = strlen(text), got = 0;
    const char *end = NULL;
    /* libsodium 1.0.18 reads bytes from 0x80 up as '_'. */
    if (strspn(text, alphabet) != n ||
        sodium_base642bin(out, cap, text, n, NULL, &got, &end,
                          sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0 ||
        end != text + n)
        return fail(TACIT_FORMAT, "not valid base64");
    *out_n = got;
    return TACIT_OK;
}
