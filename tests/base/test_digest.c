/* digest: published vectors, any split gives the same, text forms are strict.
 */
#include "tests/check.h"

#include <string.h>

#include "common/base/digest.h"
#include "common/base/rng.h"

static void the_hash_is_blake2b_256(void **state)
{
    (void)state;
    /* Python: hashlib.blake2b(data, digest_size=32).hexdigest() */
    static const struct {
        const char *text, *hex;
    } vectors[] = {
        {"", "0e5751c026e543b2e8ab2eb06099daa1"
             "d1e5df47778f7787faab45cdf12fe3a8"},
        {"abc", "bddd813c634239723171ef3fee98579b"
                "94964e3bb1cb3e427262c8c068d52319"},
    };
    for (size_t i = 0; i < 2; i++) {
        struct digest d;
        char hex[DIGEST_HEX];
        digest_of(&d, vectors[i].text, strlen(vectors[i].text));
        hex_encode(hex, d.b, sizeof d.b);
        assert_string_equal(hex, vectors[i].hex);
    }
}

static void any_split_gives_the_same_hash(void **state)
{
    (void)state;
    uint8_t bytes[500];
    struct rng r;
    rng_init(&r, 6, 0, 0);
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)rng_u64(&r);
    for (int k = 0; k < 100; k++) {
        struct digest whole, parts;
        struct digest_state s;
        size_t n = rng_below(&r, sizeof bytes + 1);
        digest_of(&whole, bytes, n);
        digest_begin(&s);
        for (size_t at = 0; at < n;) {
            size_t step = 1 + rng_below(&r, n - at);
            digest_add(&s, bytes + at, step);
            digest_add(&s, bytes, 0);
            at += step;
        }
        digest_end(&s, &parts);
        check(digest_equal(&whole, &parts));
        parts.b[rng_below(&r, 32)] ^= (uint8_t)(1u << rng_below(&r, 8));
        check(!digest_equal(&whole, &parts));
    }
}

static void hex_is_exact(void **state)
{
    (void)state;
    uint8_t out[3];
    check_ok(hex_decode(out, 3, "00fFa1"));
    check(out[0] == 0 && out[1] == 0xff && out[2] == 0xa1);
    static const char *const bad[] = {
        "", "00ffa", "00ffa1b", "00ffa1b2", "00ffg1", " 0ffa1", "00ff\xc3\xa1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        check_err(hex_decode(out, 3, bad[i]), TACIT_FORMAT);
}

static void base64_round_trips_every_length(void **state)
{
    (void)state;
    uint8_t in[40], out[40];
    char text[60];
    struct rng r;
    rng_init(&r, 7, 0, 0);
    for (size_t n = 0; n <= sizeof in; n++) {
        size_t got = 99;
        for (size_t i = 0; i < n; i++) in[i] = (uint8_t)rng_u64(&r);
        base64url_encode(text, sizeof text, in, n);
        check(strlen(text) == (4 * n + 2) / 3);
        check(strpbrk(text, "+/=") == NULL);
        check_ok(base64url_decode(out, sizeof out, &got, text));
        check(got == n && memcmp(in, out, n) == 0);
    }
}

static void base64_refuses_everything_else(void **state)
{
    (void)state;
    /* Padding, the other alphabet, blanks, a length of 1 mod 4, bits past the
     * end, bytes that are no characters, more than fits. */
    static const char *const bad[] = {"AA==",     "A+A",     "A/A", "A A",
                                      "AA\n",     "A",       "AAB", "AA\xff",
                                      "\xc3\xa9", "AAAAAAAA"};
    uint8_t out[4];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        size_t got = 99;
        check_err(base64url_decode(out, sizeof out, &got, bad[i]),
                  TACIT_FORMAT);
        check(got == 99);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_hash_is_blake2b_256),
        cmocka_unit_test(any_split_gives_the_same_hash),
        cmocka_unit_test(hex_is_exact),
        cmocka_unit_test(base64_round_trips_every_length),
        cmocka_unit_test(base64_refuses_everything_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
