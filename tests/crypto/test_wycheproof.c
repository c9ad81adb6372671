/*
 * The published Wycheproof vectors against the primitives that this folder
 * stands on: through its own functions where these can take a vector, else
 * against the library's function that they call.
 */
#include "tests/check.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/digest.h"
#include "common/base/json.h"
#include "common/base/rng.h"
#include "common/crypto/noise_symmetric.h"
#include "common/crypto/secagg_transcript.h"

enum { BYTES_MAX = 1 << 16 };

/* A field of hexadecimal text, malloc'd exactly, so that reading past it is
 * seen. */
struct bytes {
    uint8_t *p;
    size_t n;
};

static struct bytes field(const json_t *test, const char *name)
{
    const char *hex = json_string_value(json_object_get(test, name));
    struct bytes b = {.n = hex ? strlen(hex) / 2 : 0};
    check(hex && b.n <= BYTES_MAX);
    b.p = malloc(b.n ? b.n : 1);
    check(b.p != NULL);
    if (b.n) check_ok(hex_decode(b.p, b.n, hex));
    return b;
}

static const char *result(const json_t *test)
{
    return json_string_value(json_object_get(test, "result"));
}

/* Call `one` for every test of the file; their number, or skip. */
static unsigned for_each(const char *file,
                         void (*one)(const json_t *group, const json_t *test))
{
    const char *path = check_data(file);
    unsigned n_tests = 0;
    size_t n, i, k;
    if (!path) skip_missing(file);
    char *text = check_gunzip(path, &n);
    json_t *root = json_loadb(text, n, 0, NULL), *group, *test;
    check(root != NULL);
    json_array_foreach(json_object_get(root, "testGroups"), i, group)
    {
        json_array_foreach(json_object_get(group, "tests"), k, test)
        {
            one(group, test);
            n_tests++;
        }
    }
    check(n_tests ==
          json_integer_value(json_object_get(root, "numberOfTests")));
    json_decref(root);
    free(text);
    return n_tests;
}

/* k_ij = BLAKE2b keyed with X25519(s_i, P_j): the vector's shared secret is the
 * key, so the two agree where it is right. A secret of zeros is refused. */
static void one_x25519(const json_t *group, const json_t *test)
{
    (void)group;
    static const char domain[] = "tacit sa-1 mask v1";
    static const uint8_t members[8] = {3, 0, 0, 0, 5, 0, 0, 0};
    struct digest transcript = {.b = {1, 2, 3}};
    uint8_t got[32], want[32];
    crypto_generichash_state st;
    struct bytes secret = field(test, "private"), peer = field(test, "public"),
                 shared = field(test, "shared");
    check(secret.n == 32 && peer.n == 32 && shared.n == 32);
    enum tacit_err err =
        secagg_pair_key(&transcript, secret.p, peer.p, 5, 3, got);
    if (sodium_is_zero(shared.p, shared.n)) {
        check_err(err, TACIT_AUTH);
    } else {
        check_ok(err);
        crypto_generichash_init(&st, shared.p, 32, 32);
        crypto_generichash_update(&st, (const uint8_t *)domain, sizeof domain);
        crypto_generichash_update(&st, transcript.b, 32);
        crypto_generichash_update(&st, members, sizeof members);
        crypto_generichash_final(&st, want, 32);
        assert_memory_equal(got, want, 32);
    }
    free(secret.p);
    free(peer.p);
    free(shared.p);
}

static void x25519_agrees_and_refuses_points_of_small_order(void **state)
{
    (void)state;
    check(for_each("vectors/wycheproof/x25519.json.gz", one_x25519) == 518);
}

static unsigned n_through_noise;

/* Noise's nonces begin with four zero bytes: such vectors take that way. */
static void noise_aead(const struct bytes *key, const struct bytes *iv,
                       const struct bytes *ad, const struct bytes *msg,
                       const struct bytes *sealed, int valid)
{
    uint64_t nonce = 0;
    uint8_t out[BYTES_MAX + 64];
    for (int i = 0; i < 8; i++) nonce |= (uint64_t)iv->p[4 + i] << (8 * i);
    enum tacit_err err =
        symmetric_open(key->p, nonce, ad->p, ad->n, sealed->p, sealed->n, out);
    check((err == TACIT_OK) == valid);
    err_clear();
    if (valid) {
        assert_memory_equal(out, msg->p, msg->n);
        symmetric_seal(key->p, nonce, ad->p, ad->n, msg->p, msg->n, out);
        assert_memory_equal(out, sealed->p, sealed->n);
    }
    n_through_noise++;
}

typedef int (*open_function)(unsigned char *, unsigned long long *,
                             unsigned char *, const unsigned char *,
                             unsigned long long, const unsigned char *,
                             unsigned long long, const unsigned char *,
                             const unsigned char *);

static void one_aead(const json_t *test, size_t nonce_bytes, open_function open)
{
    static uint8_t out[BYTES_MAX + 64];
    struct bytes key = field(test, "key"), iv = field(test, "iv"),
                 ad = field(test, "aad"), msg = field(test, "msg"),
                 ct = field(test, "ct"), tag = field(test, "tag");
    struct bytes sealed = {malloc(ct.n + tag.n), ct.n + tag.n};
    int valid = strcmp(result(test), "valid") == 0;
    check(sealed.p != NULL && key.n == 32);
    memcpy(sealed.p, ct.p, ct.n);
    memcpy(sealed.p + ct.n, tag.p, tag.n);
    if (iv.n == nonce_bytes) {
        unsigned long long n = 0;
        int rc =
            open(out, &n, NULL, sealed.p, sealed.n, ad.p, ad.n, iv.p, key.p);
        check((rc == 0) == valid);
        if (valid) check(n == msg.n && memcmp(out, msg.p, msg.n) == 0);
        if (nonce_bytes == 12 && sodium_is_zero(iv.p, 4))
            noise_aead(&key, &iv, &ad, &msg, &sealed, valid);
    } else {
        check(!valid); /* the functions have one nonce length */
    }
    free(key.p);
    free(iv.p);
    free(ad.p);
    free(msg.p);
    free(ct.p);
    free(tag.p);
    free(sealed.p);
}

static void one_chacha(const json_t *group, const json_t *test)
{
    (void)group;
    one_aead(test, 12, crypto_aead_chacha20poly1305_ietf_decrypt);
}

static void one_xchacha(const json_t *group, const json_t *test)
{
    (void)group;
    one_aead(test, 24, crypto_aead_xchacha20poly1305_ietf_decrypt);
}

static void chacha20_poly1305_of_records_agrees(void **state)
{
    (void)state;
    n_through_noise = 0;
    check(for_each("vectors/wycheproof/chacha20_poly1305.json.gz",
                   one_chacha) == 325);
    check(n_through_noise >= 10);
}

static void xchacha20_poly1305_of_sealed_shares_agrees(void **state)
{
    (void)state;
    check(for_each("vectors/wycheproof/xchacha20_poly1305.json.gz",
                   one_xchacha) > 300);
}

static void one_ed25519(const json_t *group, const json_t *test)
{
    struct bytes pk = field(json_object_get(group, "publicKey"), "pk"),
                 msg = field(test, "msg"), sig = field(test, "sig");
    int valid = strcmp(result(test), "valid") == 0;
    check(pk.n == 32);
    if (sig.n == 64)
        check((crypto_sign_verify_detached(sig.p, msg.p, msg.n, pk.p) == 0) ==
              valid);
    else
        check(!valid);
    free(pk.p);
    free(msg.p);
    free(sig.p);
}

static void ed25519_takes_no_second_form_of_a_signature(void **state)
{
    (void)state;
    check(for_each("vectors/wycheproof/ed25519.json.gz", one_ed25519) == 151);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(x25519_agrees_and_refuses_points_of_small_order),
        cmocka_unit_test(chacha20_poly1305_of_records_agrees),
        cmocka_unit_test(xchacha20_poly1305_of_sealed_shares_agrees),
        cmocka_unit_test(ed25519_takes_no_second_form_of_a_signature),
    };
    rng_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
