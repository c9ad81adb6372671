#include "tests/check.h"

#include <string.h>

#include "common/base/codes.h"
#include "common/wire/frame.h"

static void addresses_are_host_and_port_and_nothing_else(void **state)
{
    (void)state;
    static const char *const good[] = {"tcp://192.0.2.7:7433",
                                       "tcp://[2001:db8::7]:1", "tcp://a:65535",
                                       "tcp://[::ffff:192.0.2.7]:80",
                                       "tcp://h_o-s.t:00080"};
    static const char *const bad[] = {"",
                                      "tcp",
                                      "tcp:/h:1",
                                      "TCP://h:1",
                                      "tcp://",
                                      "tcp://:1",
                                      "tcp://h",
                                      "tcp://h:",
                                      "tcp://h: 1",
                                      "tcp://h:1 ",
                                      "tcp://h:-1",
                                      "tcp://h:+1",
                                      "tcp://h:1x",
                                      "tcp://h:65536",
                                      "tcp://h:99999",
                                      "tcp://h:4294967297",
                                      "tcp://[]:1",
                                      "tcp://[:1",
                                      "tcp://[g]:1",
                                      "tcp://h/x:1",
                                      "tcp://h@x:1",
                                      "tcp://h%:1",
                                      "tcp://h\n:1"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        check_ok(frame_check_address(good[i], FRAME_DIAL));
        check_ok(frame_check_address(good[i], FRAME_LISTEN));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        for (int end = FRAME_DIAL; end <= FRAME_LISTEN; end++)
            check_code(frame_check_address(bad[i], (enum frame_end)end),
                       E_ADDRESS);
    check_ok(frame_check_address("tcp://0.0.0.0:0", FRAME_LISTEN));
    check_code(frame_check_address("tcp://0.0.0.0:0", FRAME_DIAL), E_ADDRESS);
    char host[300] = "tcp://";
    memset(host + 6, 'h', 201);
    strcpy(host + 6 + 201, ":1");
    check_code(frame_check_address(host, FRAME_DIAL), E_ADDRESS);
    strcpy(host + 6 + 200, ":1");
    check_ok(frame_check_address(host, FRAME_DIAL));
}

static void a_greeting_is_recognised_in_all_its_bytes(void **state)
{
    (void)state;
    uint8_t g[FRAME_GREETING];
    frame_put_greeting(g, FRAME_REQ);
    assert_memory_equal(g, "\0SP\0\0\x30\0\0", FRAME_GREETING);
    check(frame_is_greeting(g, FRAME_REQ) && !frame_is_greeting(g, FRAME_REP));
    for (int at = 0; at < FRAME_GREETING; at++)
        for (int bit = 0; bit < 8; bit++) {
            g[at] ^= (uint8_t)(1 << bit);
            check(!frame_is_greeting(g, FRAME_REQ));
            g[at] ^= (uint8_t)(1 << bit);
        }
}

static void heads_are_read_back(void **state)
{
    (void)state;
    static const uint32_t words[FRAME_WORDS_MAX] = {0, 1, 0x7fffffff,
                                                    0x80000000};
    uint32_t got[FRAME_WORDS_MAX], n_words;
    uint8_t head[FRAME_HEAD_MAX];
    for (uint32_t skip = 0; skip < FRAME_WORDS_MAX; skip++) {
        uint32_t n = FRAME_WORDS_MAX - skip;
        size_t len = 0, body_at = 0,
               written = frame_put_head(head, words + skip, n, 1000);
        check(written == FRAME_LENGTH + 4 * n);
        check_ok(frame_length(head, &len));
        check(len == 4 * n + 1000);
        check_ok(
            frame_words(head + FRAME_LENGTH, len, got, &n_words, &body_at));
        check(n_words == n && body_at == 4 * n);
        assert_memory_equal(got, words + skip, 4 * n);
        /* One word short of the request id. */
        check_err(frame_words(head + FRAME_LENGTH, 4 * n - 1, got, &n_words,
                              &body_at),
                  TACIT_PROTO);
    }
}

static void lengths_out_of_range_are_refused(void **state)
{
    (void)state;
    uint8_t in[FRAME_LENGTH] = {0};
    size_t n = 99;
    static const uint32_t edges[] = {0,         3, 4, FRAME_MAX, FRAME_MAX + 1,
                                     UINT32_MAX};
    static const int good[] = {0, 0, 1, 1, 0, 0};
    for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++) {
        for (int k = 0; k < 4; k++)
            in[4 + k] = (uint8_t)(edges[i] >> (24 - 8 * k));
        if (good[i]) {
            check_ok(frame_length(in, &n));
            check(n == edges[i]);
        } else {
            check_err(frame_length(in, &n), TACIT_PROTO);
        }
    }
    in[3] = 1;
    check_err(frame_length(in, &n), TACIT_PROTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_host_and_port_and_nothing_else),
        cmocka_unit_test(a_greeting_is_recognised_in_all_its_bytes),
        cmocka_unit_test(heads_are_read_back),
        cmocka_unit_test(lengths_out_of_range_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
