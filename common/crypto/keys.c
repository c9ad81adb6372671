#include "common/crypto/keys.h"

#include <sodium.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/buf.h"
#include "common/base/codes.h"
#include "common/base/digest.h"
#include "common/base/file.h"
#include "common/crypto/secret.h"

/* File: magic, Ed25519 secret [64], X25519 secret [32], BLAKE2b of all that. */
static const char magic[8] = "TACITK1";
enum {
    FILE_BODY = sizeof magic + KEYS_SIGN_SECRET + KEYS_DH_SECRET,
    FILE_BYTES = FILE_BODY + DIGEST_BYTES
};

void keys_id(uint8_t out[KEYS_ID], const uint8_t sign_public[KEYS_PUBLIC])
{
    struct digest d;
    digest_of(&d, sign_public, KEYS_PUBLIC);
    memcpy(out, d.b, KEYS_ID);
}

static enum tacit_err allocate(struct keys *k)
{
    *k = (struct keys){0};
    TRY(secret_alloc(KEYS_SIGN_SECRET, &k->sign_secret));
    enum tacit_err err = secret_alloc(KEYS_DH_SECRET, &k->dh_secret);
    if (err) keys_release(k);
    return err;
}

enum tacit_err keys_new(struct keys *out)
{
    struct keys k;
    TRY(allocate(&k));
    crypto_sign_keypair(k.sign_public, k.sign_secret);
    crypto_box_keypair(k.dh_public, k.dh_secret);
    keys_id(k.id, k.sign_public);
    *out = k;
    return TACIT_OK;
}

void keys_release(struct keys *k)
{
    secret_free(k->sign_secret);
    secret_free(k->dh_secret);
    *k = (struct keys){0};
}

enum tacit_err keys_save(const struct keys *k, const char *path)
{
    struct digest sum;
    struct buf b;
    if (file_exists(path))
        return fail(TACIT_STATE,
                    "%s: keys exist already; they are never "
                    "replaced",
                    path);
    buf_init(&b, FILE_BYTES);
    buf_put(&b, magic, sizeof magic);
    buf_put(&b, k->sign_secret, KEYS_SIGN_SECRET);
    buf_put(&b, k->dh_secret, KEYS_DH_SECRET);
    if (!b.err) digest_of(&sum, b.data, b.len);
    buf_put(&b, sum.b, sizeof sum.b);
    enum tacit_err err = buf_end(&b);
    if (!err) err = file_write(path, b.data, b.len, 0600);
    buf_wipe(&b);
    return err;
}

static enum tacit_err parse(struct keys *k, const char *path,
                            const struct buf *b)
{
    struct digest sum;
    if (b->len != FILE_BYTES || memcmp(b->data, magic, sizeof magic) != 0)
        return fail(TACIT_FORMAT, "%s: not a key file", path);
    digest_of(&sum, b->data, FILE_BODY);
    if (sodium_memcmp(sum.b, b->data + FILE_BODY, sizeof sum.b) != 0)
        return fail(TACIT_FORMAT, "%s: the key file is damaged", path);
    TRY(allocate(k));
    const uint8_t *p = b->data + sizeof magic;
    memcpy(k->sign_secret, p, KEYS_SIGN_SECRET);
    memcpy(k->dh_secret, p + KEYS_SIGN_SECRET, KEYS_DH_SECRET);
    crypto_sign_ed25519_sk_to_pk(k->sign_public, k->sign_secret);
    crypto_scalarmult_base(k->dh_public, k->dh_secret);
    keys_id(k->id, k->sign_public);
    return TACIT_OK;
}

enum tacit_err keys_load(struct keys *out, const char *path)
{
    struct stat st;
    struct buf b;
    struct keys k = {0};
    if (stat(path, &st) == 0 && (st.st_mode & 077) != 0)
        return fail_as(E_KEYS_READABLE,
                       "%s: others may read this key file; run: chmod 600 %s",
                       path, path);
    buf_init(&b, 0);
    /* Grown at once, so that growing leaves no copy of the secrets behind. */
    if (buf_extend(&b, 1 << 18)) b.len = 0;
    enum tacit_err err = file_read(path, FILE_BYTES, &b);
    if (!err) err = parse(&k, path, &b);
    buf_wipe(&b);
    if (!err) *out = k;
    sodium_memzero(&k, sizeof k);
    return err;
}

void keys_fingerprint(char out[KEYS_FINGERPRINT],
                      const uint8_t public_key[KEYS_PUBLIC])
{
    /* 32 letters without look-alikes: 160 bits in eight groups of four. */
    static const char letters[] = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
    struct digest d;
    size_t at = 0;
    digest_of(&d, public_key, KEYS_PUBLIC);
    for (size_t i = 0; i < 32; i++) {
        unsigned v = 0;
        for (size_t bit = 5 * i; bit < 5 * i + 5; bit++)
            v = v << 1 | ((unsigned)d.b[bit / 8] >> (7 - bit % 8) & 1u);
        if (i && i % 4 == 0) out[at++] = '-';
        out[at++] = letters[v];
    }
    out[at] = '\0';
}

/* What is signed: the domain, a zero byte, the message. */
static void statement(crypto_sign_state *st, const char *domain,
                      const void *msg, size_t n)
{
    crypto_sign_init(st);
    crypto_sign_update(st, (const uint8_t *)domain, strlen(domain) + 1);
    crypto_sign_update(st, msg, n);
}

void keys_sign_with(const uint8_t *sign_secret, const char *domain,
                    const void *msg, size_t n, uint8_t out[KEYS_SIGNATURE])
{
    crypto_sign_state st;
    statement(&st, domain, msg, n);
    crypto_sign_final_create(&st, out, NULL, sign_secret);
}

void keys_sign(const struct keys *k, const char *domain, const void *msg,
               size_t n, uint8_t out[KEYS_SIGNATURE])
{
    keys_sign_with(k->sign_secret, domain, msg, n, out);
}

enum tacit_err keys_verify(const uint8_t sign_public[KEYS_PUBLIC],
                           const char *domain, const void *msg, size_t n,
                           const uint8_t sig[KEYS_SIGNATURE])
{
    crypto_sign_state st;
    statement(&st, domain, msg, n);
    if (crypto_sign_final_verify(&st, sig, sign_public) != 0)
        return fail_as(E_BAD_SIGNATURE, "a signature (%s) does not verify",
                       domain);
    return TACIT_OK;
}
