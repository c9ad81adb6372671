#include "tests/check.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/digest.h"
#include "common/base/json.h"
#include "common/crypto/noise.h"

enum { KEY_TEXT = 32, MESSAGES_MAX = 8 };

/* One published vector, decoded. */
struct vector {
    char pattern[32];
    uint8_t prologue[256], e[2][32], s[2][32], rs[2][32], psk[2][32];
    size_t prologue_len;
    int has_e[2], has_s[2], has_rs[2], has_psk[2];
    struct {
        uint8_t payload[512], cipher[1024];
        size_t payload_len, cipher_len;
    } messages[MESSAGES_MAX];
    size_t n_messages;
    uint8_t hash[64];
    int has_hash;
};

static const char suite[] = "_25519_ChaChaPoly_BLAKE2b";

static size_t bytes_of(const json_t *v, uint8_t *out, size_t cap)
{
    const char *hex = json_string_value(v);
    size_t n = hex ? strlen(hex) / 2 : 0;
    assert_true(n <= cap);
    if (n) check_ok(hex_decode(out, n, hex));
    return n;
}

static void read_side(const json_t *j, struct vector *v, int side)
{
    const char *who = side == 0 ? "init" : "resp";
    char key[KEY_TEXT];
#define FIELD(name) (snprintf(key, sizeof key, "%s_" name, who), key)
    v->has_e[side] =
        bytes_of(json_object_get(j, FIELD("ephemeral")), v->e[side], 32) == 32;
    v->has_s[side] =
        bytes_of(json_object_get(j, FIELD("static")), v->s[side], 32) == 32;
    v->has_rs[side] = bytes_of(json_object_get(j, FIELD("remote_static")),
                               v->rs[side], 32) == 32;
    v->has_psk[side] =
        bytes_of(json_array_get(json_object_get(j, FIELD("psks")), 0),
                 v->psk[side], 32) == 32;
#undef FIELD
}

/* 1 when the vector is of our suite and has at most one PSK. */
static int read_vector(const json_t *j, struct vector *v)
{
    const char *name = json_string_value(json_object_get(j, "protocol_name"));
    const char *end = strstr(name, suite);
    memset(v, 0, sizeof *v);
    if (!end || strcmp(end, suite) != 0) return 0;
    if (json_array_size(json_object_get(j, "init_psks")) > 1) return 0;
    snprintf(v->pattern, sizeof v->pattern, "%.*s", (int)(end - name - 6),
             name + 6);
    v->prologue_len = bytes_of(json_object_get(j, "init_prologue"), v->prologue,
                               sizeof v->prologue);
    read_side(j, v, 0);
    read_side(j, v, 1);
    v->has_hash =
        bytes_of(json_object_get(j, "handshake_hash"), v->hash, 64) == 64;
    const json_t *list = json_object_get(j, "messages"), *m;
    size_t i;
    json_array_foreach(list, i, m)
    {
        assert_true(i < MESSAGES_MAX);
        v->messages[i].payload_len =
            bytes_of(json_object_get(m, "payload"), v->messages[i].payload,
                     sizeof v->messages[i].payload);
        v->messages[i].cipher_len =
            bytes_of(json_object_get(m, "ciphertext"), v->messages[i].cipher,
                     sizeof v->messages[i].cipher);
        v->n_messages++;
    }
    return 1;
}

static void open_side(const struct vector *v, int side, struct noise **out)
{
    struct noise_config c = {.pattern = v->pattern,
                             .role =
                                 side == 0 ? NOISE_INITIATOR : NOISE_RESPONDER,
                             .s_secret = v->has_s[side] ? v->s[side] : NULL,
                             .rs_public = v->has_rs[side] ? v->rs[side] : NULL,
                             .psk = v->has_psk[side] ? v->psk[side] : NULL,
                             .prologue = v->prologue,
                             .prologue_len = v->prologue_len,
                             .e_secret = v->has_e[side] ? v->e[side] : NULL};
    check_ok(noise_new(&c, out));
}

/* Who sends message i: one-way patterns have one sender. */
static int sender(const struct vector *v, size_t i)
{
    int one_way = strchr("NKX", v->pattern[0]) &&
                  (v->pattern[1] == '\0' || v->pattern[1] == 'p');
    return one_way ? 0 : (int)(i % 2);
}

/* Run the vector; message `flip_at`'s byte `flip` is damaged on the way when
 * flip_at < n_messages. Returns 1 when everything was accepted. */
static int run(const struct vector *v, size_t flip_at, size_t flip)
{
    struct noise *side[2];
    uint64_t nonce[2] = {0, 0};
    int accepted = 1;
    open_side(v, 0, &side[0]);
    open_side(v, 1, &side[1]);
    for (size_t i = 0; i < v->n_messages && accepted; i++) {
        int from = sender(v, i), transport = noise_done(side[from]);
        struct buf wire, plain;
        buf_init(&wire, 0);
        buf_init(&plain, 0);
        if (!transport) {
            check_ok(noise_write(side[from], v->messages[i].payload,
                                 v->messages[i].payload_len, &wire));
        } else {
            uint8_t *p = buf_extend(&wire, v->messages[i].payload_len + 16);
            check_ok(noise_encrypt(side[from], nonce[from], NULL, 0,
                                   v->messages[i].payload,
                                   v->messages[i].payload_len, p));
        }
        if (flip_at >= v->n_messages) {
            check(wire.len == v->messages[i].cipher_len);
            assert_memory_equal(wire.data, v->messages[i].cipher, wire.len);
        }
        if (i == flip_at) wire.data[flip] ^= 1;
        enum tacit_err err;
        if (!transport) {
            err = noise_read(side[!from], wire.data, wire.len, &plain);
        } else {
            uint8_t *p = buf_extend(&plain, wire.len - 16);
            err = noise_decrypt(side[!from], nonce[from]++, NULL, 0, wire.data,
                                wire.len, p);
        }
        accepted = err == TACIT_OK;
        err_clear();
        if (accepted && i != flip_at) {
            check(plain.len == v->messages[i].payload_len);
            assert_memory_equal(plain.data, v->messages[i].payload, plain.len);
        }
        /* The damage may only show in the next message; stop after the first
         * transport message. */
        if (accepted && transport && flip_at < i) i = v->n_messages;
        buf_release(&wire);
        buf_release(&plain);
    }
    if (accepted && flip_at >= v->n_messages && v->has_hash)
        assert_memory_equal(noise_hash(side[0]), v->hash, 64);
    noise_free(side[0]);
    noise_free(side[1]);
    return accepted;
}

static json_t *load(const char *file)
{
    char relative[64];
    snprintf(relative, sizeof relative, "vectors/noise/%s", file);
    const char *path = check_data(relative);
    if (!path) return NULL;
    size_t n;
    json_t *root;
    char *text = check_gunzip(path, &n);
    check_ok(json_parse(text, n, &root));
    free(text);
    return root;
}

static void run_file(const char *file, int want, int flips)
{
    json_t *root = load(file);
    if (!root) skip_missing(file);
    static struct vector v;
    int seen = 0;
    const json_t *j;
    size_t i;
    json_array_foreach(json_object_get(root, "vectors"), i, j)
    {
        if (!read_vector(j, &v)) continue;
        seen++;
        check(run(&v, SIZE_MAX, 0));
        for (size_t m = 0; flips && m < v.n_messages; m++)
            for (size_t b = 0; b < v.messages[m].cipher_len; b++)
                if (run(&v, m, b))
                    fail_msg("%s: message %zu byte %zu flipped, accepted",
                             v.pattern, m, b);
    }
    json_decref(root);
    check(seen == want);
}

static void every_published_vector_of_the_suite_passes(void **state)
{
    (void)state;
    run_file("cacophony.json.gz", 59, 0);
}

static void the_second_vector_collection_passes(void **state)
{
    (void)state;
    run_file("snow.json.gz", 38, 0);
}

static void any_flipped_byte_fails_the_handshake_or_its_first_message(
    void **state)
{
    (void)state;
    run_file("cacophony.json.gz", 59, 1);
}

static void a_peer_key_of_small_order_is_refused(void **state)
{
    (void)state;
    uint8_t zero[32] = {0}, secret[32];
    struct buf b;
    struct noise *n;
    memset(secret, 7, sizeof secret);
    buf_init(&b, 0);
    check_ok(noise_new(&(struct noise_config){.pattern = "XK",
                                              .role = NOISE_INITIATOR,
                                              .s_secret = secret,
                                              .rs_public = zero},
                       &n));
    check_err(noise_write(n, NULL, 0, &b), TACIT_AUTH);
    noise_free(n);
    buf_release(&b);
}

static void speaking_out_of_turn_is_refused(void **state)
{
    (void)state;
    uint8_t key[32];
    struct buf b;
    struct noise *n;
    memset(key, 9, sizeof key);
    buf_init(&b, 0);
    check_ok(noise_new(&(struct noise_config){.pattern = "XK",
                                              .role = NOISE_RESPONDER,
                                              .s_secret = key},
                       &n));
    check_err(noise_write(n, NULL, 0, &b), TACIT_STATE);
    check_err(noise_encrypt(n, 0, NULL, 0, key, 1, key), TACIT_STATE);
    check_err(noise_read(n, key, sizeof key, &b), TACIT_AUTH);
    check_err(noise_read(n, key, sizeof key, &b), TACIT_STATE);
    noise_free(n);
    buf_release(&b);
    check_err(noise_new(&(struct noise_config){.pattern = "QQ"}, &n),
              TACIT_UNSUPPORTED);
    check_err(noise_new(&(struct noise_config){.pattern = "XKpsk7"}, &n),
              TACIT_UNSUPPORTED);
    check_err(noise_new(&(struct noise_config){.pattern = "XK"}, &n),
              TACIT_STATE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_published_vector_of_the_suite_passes),
        cmocka_unit_test(the_second_vector_collection_passes),
        cmocka_unit_test(
            any_flipped_byte_fails_the_handshake_or_its_first_message),
        cmocka_unit_test(a_peer_key_of_small_order_is_refused),
        cmocka_unit_test(speaking_out_of_turn_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
