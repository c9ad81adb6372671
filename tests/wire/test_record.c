#include "tests/check.h"

#include <stdlib.h>
#include <string.h>

#include "tests/wire/pair.h"

static void a_message_has_one_count_of_records(void **state)
{
    (void)state;
    check(records_count(0) == 1);
    check(records_count(1) == 1);
    check(records_count(RECORD_BYTES) == 1);
    check(records_count(RECORD_BYTES + 1) == 2);
    check(records_count(2 * RECORD_BYTES) == 2);
    check(records_count(WIRE_MESSAGE_MAX) <= RECORDS_MAX);
}

/* Where record number i of a DATA packet of full records begins. */
static size_t record_at(unsigned i)
{
    return PACKET_DATA_HEAD + i * (size_t)(2 + WIRE_RECORD_MAX);
}

/* Records that verify, but are not the message that was sealed. */
static void records_cannot_be_dropped_swapped_or_repeated(void **state)
{
    (void)state;
    enum { N = 3 };
    struct pair p;
    struct buf good;
    uint8_t *msg = malloc(N * RECORD_BYTES);
    check(msg != NULL);
    rng_secure(msg, N * RECORD_BYTES);
    buf_init(&good, 0);
    pair_open(&p, 0);
    check_ok(pair_handshake(&p));
    check_ok(link_client_seal(p.client, msg, N * RECORD_BYTES, &good));
    check(good.len == record_at(N));
    size_t one = 2 + WIRE_RECORD_MAX;
    for (int change = 0; change < 5; change++) {
        buf_clear(&p.wire);
        buf_put(&p.wire, good.data, good.len);
        if (change < 2) { /* the last two cut off, the last one */
            p.wire.len = record_at(1 + (unsigned)change);
        } else if (change == 2) { /* the first */
            memmove(p.wire.data + record_at(0), p.wire.data + record_at(1),
                    2 * one);
            p.wire.len = record_at(2);
        } else if (change == 3) { /* swapped */
            memcpy(p.wire.data + record_at(0), good.data + record_at(1), one);
            memcpy(p.wire.data + record_at(1), good.data + record_at(0), one);
        } else { /* the last one twice */
            buf_put(&p.wire, good.data + record_at(2), one);
        }
        check(pair_arrive(&p) == LINK_REPLY);
        check(pair_is_reset(&p, RESET_PACKET));
        check(p.plain.len == 0);
    }
    buf_clear(&p.wire);
    buf_put(&p.wire, good.data, good.len);
    check(pair_arrive(&p) == LINK_MESSAGE);
    check(pair_got(&p, msg, N * RECORD_BYTES));
    buf_release(&good);
    free(msg);
    pair_close(&p);
}

static void more_records_than_a_message_has_are_malformed(void **state)
{
    (void)state;
    size_t cap = record_at(RECORDS_MAX + 1);
    uint8_t *bytes = calloc(1, cap);
    struct packet p;
    check(bytes != NULL);
    bytes[0] = PACKET_DATA;
    bytes[1 + LINK_SESSION] = 1; /* nonce */
    for (unsigned i = 0; i <= RECORDS_MAX; i++) {
        bytes[record_at(i)] = WIRE_RECORD_MAX & 255;
        bytes[record_at(i) + 1] = WIRE_RECORD_MAX >> 8;
    }
    for (unsigned i = 1; i <= RECORDS_MAX && record_at(i) <= WIRE_PACKET_MAX;
         i++) {
        check_ok(packet_parse(bytes, record_at(i), &p));
        check(p.n_records == i && p.kind == PACKET_DATA && p.nonce == 1);
    }
    check_err(packet_parse(bytes, cap, &p), TACIT_PROTO);
    /* A record in the middle that is not full, an empty one, none, nonce 0. */
    bytes[record_at(0)]--;
    check_err(packet_parse(bytes, record_at(2) - 1, &p), TACIT_PROTO);
    memset(bytes + record_at(0), 0, 100);
    bytes[record_at(0)] = NOISE_TAG;
    check_err(packet_parse(bytes, record_at(0) + 2 + NOISE_TAG, &p),
              TACIT_PROTO);
    bytes[record_at(0)]++;
    check_ok(packet_parse(bytes, record_at(0) + 3 + NOISE_TAG, &p));
    check_err(packet_parse(bytes, record_at(0), &p), TACIT_PROTO);
    bytes[1 + LINK_SESSION] = 0;
    check_err(packet_parse(bytes, record_at(0) + 3 + NOISE_TAG, &p),
              TACIT_PROTO);
    check_err(packet_parse(bytes, 0, &p), TACIT_PROTO);
    free(bytes);
}

static void a_full_buffer_is_an_error_and_leaves_no_half_message(void **state)
{
    (void)state;
    struct pair p;
    struct buf small;
    uint8_t msg[100] = {0};
    enum link_event event;
    pair_open(&p, 0);
    check_ok(pair_handshake(&p));
    buf_init(&small, 60);
    buf_put(&small, "kept", 4);
    check(link_client_seal(p.client, msg, sizeof msg, &small) != TACIT_OK);
    check(small.len == 4);
    err_clear();
    pair_seal(&p, msg, sizeof msg);
    buf_release(&small);
    buf_init(&small, 60);
    enum tacit_err err =
        link_server_receive(p.server, p.now_ms, p.wire.data, p.wire.len, &event,
                            &p.peer, &small);
    check(err != TACIT_OK || event == LINK_REPLY);
    err_clear();
    buf_release(&small);
    pair_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_has_one_count_of_records),
        cmocka_unit_test(records_cannot_be_dropped_swapped_or_repeated),
        cmocka_unit_test(more_records_than_a_message_has_are_malformed),
        cmocka_unit_test(a_full_buffer_is_an_error_and_leaves_no_half_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
