/*
 * What a coordinator or a member may try, and what each gets for it.
 */
#include "tests/check.h"

#include <stdlib.h>
#include <string.h>

#include "common/crypto/secagg_transcript.h"
#include "tests/crypto/secagg_world.h"

static const int all_stay[8] = {NEVER, NEVER, NEVER, NEVER,
                                NEVER, NEVER, NEVER, NEVER};

static void masked_inputs_look_uniform(void **state)
{
    (void)state;
    enum { N = 1 << 16 };
    static uint8_t sealed[SECAGG_CLIENTS_MAX * SECAGG_SEALED];
    uint16_t senders[SECAGG_CLIENTS_MAX];
    uint32_t *y = calloc(N, sizeof *y);
    struct world w;
    unsigned n;
    begin(&w, 3, 2, 32);
    secagg_server_free(w.server);
    for (int i = 0; i < 3; i++) secagg_client_free(w.clients[i]);
    w.terms.n_coords = N;
    check_ok(secagg_server_new(&w.terms, &w.server));
    for (int i = 0; i < 3; i++)
        check_ok(secagg_client_new(&w.terms, identities[i].id,
                                   identities[i].sign_secret, &w.clients[i]));
    check_ok(do_adverts(&w, all_stay));
    check_ok(do_shares(&w, all_stay));
    secagg_server_shares_for(w.server, (unsigned)w.member[0], senders, sealed,
                             &n);
    check_ok(secagg_client_receive(w.clients[0], senders, sealed, n));
    check_ok(secagg_client_mask(w.clients[0], y)); /* x = 0 */
    /* Chi-square with 255 degrees of freedom per byte: mean 255, sd 22.6. */
    for (int b = 0; b < 4; b++) {
        double count[256] = {0}, chi = 0;
        for (int i = 0; i < N; i++) count[y[i] >> (8 * b) & 255] += 1;
        for (int v = 0; v < 256; v++)
            chi +=
                (count[v] - N / 256.0) * (count[v] - N / 256.0) / (N / 256.0);
        check_near(chi, 255, 8 * 22.6);
    }
    end(&w);
    free(y);
}

static void a_replaced_key_is_refused(void **state)
{
    (void)state;
    uint8_t sealed[4 * SECAGG_SEALED];
    struct secagg_advert roster[3];
    struct world w;
    begin(&w, 3, 2, 32);
    check_ok(do_adverts(&w, all_stay));
    memcpy(roster, secagg_server_roster(w.server), sizeof roster);
    int me = w.member[0];
    /* Another's key: its signature no more fits. */
    roster[(me + 1) % 3].mask_key[5] ^= 1;
    check_code(secagg_client_share(w.clients[0], roster, 3, sealed),
               E_BAD_SIGNATURE);
    memcpy(roster, secagg_server_roster(w.server), sizeof roster);
    /* This client's own. */
    roster[me].seal_key[5] ^= 1;
    check_code(secagg_client_share(w.clients[0], roster, 3, sealed),
               E_SECAGG_ROSTER);
    /* Out of order, and without this client. */
    memcpy(roster, secagg_server_roster(w.server), sizeof roster);
    struct secagg_advert first = roster[0];
    roster[0] = roster[1];
    roster[1] = first;
    check_code(secagg_client_share(w.clients[0], roster, 3, sealed),
               E_SECAGG_ROSTER);
    memcpy(roster, secagg_server_roster(w.server), sizeof roster);
    memmove(&roster[me], &roster[me + 1], (size_t)(2 - me) * sizeof roster[0]);
    check_code(secagg_client_share(w.clients[0], roster, 2, sealed),
               E_SECAGG_ROSTER);
    /* Too few. */
    memcpy(roster, secagg_server_roster(w.server), sizeof roster);
    check_code(secagg_client_share(w.clients[0], roster, 1, sealed),
               E_SECAGG_TOO_FEW);
    end(&w);
}

static void another_model_hash_is_refused_by_signature(void **state)
{
    (void)state;
    struct world w;
    struct secagg_client *other;
    struct secagg_advert a;
    begin(&w, 2, 2, 32);
    struct secagg_terms terms = w.terms;
    terms.model_hash.b[0] ^= 1;
    check_ok(secagg_client_new(&terms, identities[5].id,
                               identities[5].sign_secret, &other));
    secagg_client_advert(other, &a);
    check_code(secagg_server_advert(w.server, &a), E_BAD_SIGNATURE);
    secagg_client_free(other);
    end(&w);
}

static void a_device_that_advertises_twice_is_refused(void **state)
{
    (void)state;
    struct world w;
    struct secagg_client *again;
    struct secagg_advert a;
    begin(&w, 2, 2, 32);
    secagg_client_advert(w.clients[0], &a);
    check_ok(secagg_server_advert(w.server, &a));
    check_ok(secagg_client_new(&w.terms, identities[0].id,
                               identities[0].sign_secret, &again));
    secagg_client_advert(again, &a);
    check_err(secagg_server_advert(w.server, &a), TACIT_PROTO);
    secagg_client_free(again);
    end(&w);
}

/* An advert of device 5 with these keys, signed by it. */
static struct secagg_advert forged(const struct world *w,
                                   const uint8_t mask_key[SECAGG_KEY],
                                   const uint8_t seal_key[SECAGG_KEY])
{
    struct secagg_advert a;
    memcpy(a.id, identities[5].id, SECAGG_ID);
    memcpy(a.identity, identities[5].sign_public, SECAGG_KEY);
    memcpy(a.mask_key, mask_key, SECAGG_KEY);
    memcpy(a.seal_key, seal_key, SECAGG_KEY);
    secagg_advert_sign(&w->terms, identities[5].sign_secret, &a);
    return a;
}

static void keys_that_would_stop_the_others_are_refused_at_once(void **state)
{
    (void)state;
    static const uint8_t small_order[2][SECAGG_KEY] = {{0}, {1}};
    struct secagg_advert a, good;
    struct world w;
    begin(&w, 3, 2, 32);
    secagg_client_advert(w.clients[0], &good);
    check_ok(secagg_server_advert(w.server, &good));
    for (int i = 0; i < 2; i++) {
        a = forged(&w, small_order[i], good.seal_key);
        check_err(secagg_server_advert(w.server, &a), TACIT_AUTH);
        a = forged(&w, good.seal_key, small_order[i]);
        check_err(secagg_server_advert(w.server, &a), TACIT_AUTH);
    }
    a = forged(&w, good.mask_key, good.seal_key);
    check_code(secagg_server_advert(w.server, &a), E_SECAGG_ROSTER);
    /* A client looks, too: its coordinator may not have. */
    uint8_t sealed[2 * SECAGG_SEALED];
    struct secagg_advert roster[2] = {good, a};
    if (memcmp(a.id, good.id, SECAGG_ID) < 0) {
        roster[0] = a;
        roster[1] = good;
    }
    check_code(secagg_client_share(w.clients[0], roster, 2, sealed),
               E_SECAGG_ROSTER);
    for (int i = 0; i < 2; i++)
        if (memcmp(roster[i].id, a.id, SECAGG_ID) == 0)
            roster[i] = forged(&w, good.seal_key, small_order[0]);
    check_err(secagg_client_share(w.clients[0], roster, 2, sealed), TACIT_AUTH);
    check(secagg_server_n(w.server) == 1);
    end(&w);
}

static void each_stage_is_open_once_and_in_its_order(void **state)
{
    (void)state;
    uint8_t sealed[3 * SECAGG_SEALED] = {0}, sig[SECAGG_SIGNATURE] = {0};
    uint16_t senders[3];
    struct digest t1, t2;
    struct secagg_advert late;
    unsigned n;
    int leave[3] = {NEVER, NEVER, AT_SHARES};
    struct world w;
    begin(&w, 3, 2, 32);
    check_err(secagg_server_close_shares(w.server), TACIT_STATE);
    check_err(secagg_server_close_inputs(w.server), TACIT_STATE);
    check_err(secagg_server_signature(w.server, 0, sig), TACIT_STATE);
    check_err(secagg_server_reveal(w.server, 0, NULL, 0), TACIT_STATE);
    check_err(secagg_server_unmask(w.server, w.sum), TACIT_STATE);
    check(!secagg_server_ready(w.server));
    secagg_client_advert(w.clients[2], &late);
    check_ok(do_adverts(&w, leave));
    check_err(secagg_server_close_adverts(w.server), TACIT_STATE);
    check_ok(secagg_server_advert(w.server, &late)); /* a repeat, still */
    uint8_t key[SECAGG_KEY] = {9};
    late = forged(&w, key, key);
    check_err(secagg_server_advert(w.server, &late), TACIT_STATE);
    check_err(secagg_server_shares(w.server, 3, sealed), TACIT_PROTO);
    check_ok(do_shares(&w, leave));
    check_err(secagg_server_close_shares(w.server), TACIT_STATE);
    unsigned lost = (unsigned)w.member[2], here = (unsigned)w.member[0];
    check_err(secagg_server_shares(w.server, lost, sealed), TACIT_STATE);
    check_ok(secagg_server_shares(w.server, here, sealed)); /* a repeat */
    check_code(secagg_server_input(w.server, lost), E_SECAGG_INPUT);
    check_code(secagg_server_input(w.server, 3), E_SECAGG_INPUT);
    check_err(secagg_server_signature(w.server, here, sig), TACIT_STATE);
    check(secagg_set_count(secagg_server_u2(w.server)) == 2);
    check_ok(do_inputs(&w, leave));
    secagg_server_shares_for(w.server, here, senders, sealed, &n);
    check_code(secagg_client_receive(w.clients[0], senders, sealed, n),
               E_SECAGG_ONCE);
    check_err(secagg_server_close_inputs(w.server), TACIT_STATE);
    check_err(secagg_server_input(w.server, here), TACIT_STATE);
    check_err(secagg_server_signature(w.server, lost, sig), TACIT_PROTO);
    check_err(secagg_server_signature(w.server, 3, sig), TACIT_PROTO);
    check_code(secagg_server_signature(w.server, here, sig), E_BAD_SIGNATURE);
    check_err(secagg_server_reveal(w.server, lost, NULL, 0), TACIT_PROTO);
    do_signatures(&w, leave);
    check(secagg_server_n_signatures(w.server) == 2);
    check_err(secagg_server_unmask(w.server, w.sum), TACIT_STATE);
    secagg_client_transcript(w.clients[0], &t1);
    secagg_server_transcript(w.server, &t2);
    check(digest_equal(&t1, &t2));
    end(&w);
}

static void a_cohort_over_the_limit_is_refused(void **state)
{
    (void)state;
    struct world w;
    struct keys device;
    struct secagg_client *c;
    struct secagg_advert a;
    begin(&w, 2, 2, 32);
    for (int i = 0; i <= SECAGG_CLIENTS_MAX; i++) {
        check_ok(keys_new(&device));
        check_ok(
            secagg_client_new(&w.terms, device.id, device.sign_secret, &c));
        secagg_client_advert(c, &a);
        if (i < SECAGG_CLIENTS_MAX)
            check_ok(secagg_server_advert(w.server, &a));
        else
            check_err(secagg_server_advert(w.server, &a), TACIT_LIMIT);
        secagg_client_free(c);
        keys_release(&device);
    }
    check_ok(secagg_server_close_adverts(w.server));
    check(secagg_server_n(w.server) == SECAGG_CLIENTS_MAX);
    end(&w);
}

static void a_survivor_list_that_names_a_stranger_is_refused(void **state)
{
    (void)state;
    int leave[4] = {NEVER, NEVER, NEVER, AT_SHARES};
    uint8_t sig[SECAGG_SIGNATURE];
    struct world w;
    begin(&w, 4, 2, 32);
    check_ok(do_adverts(&w, leave));
    check_ok(do_shares(&w, leave));
    check_ok(do_inputs(&w, leave));
    struct secagg_set u3 = *secagg_server_u3(w.server);
    secagg_set_add(&u3, (unsigned)w.member[3]);
    check_code(secagg_client_sign(w.clients[0], &u3, sig), E_SECAGG_SURVIVORS);
    /* Without itself. */
    u3 = *secagg_server_u3(w.server);
    u3.bits[0] &= ~((uint64_t)1 << w.member[0]);
    check_code(secagg_client_sign(w.clients[0], &u3, sig), E_SECAGG_SURVIVORS);
    /* Too small a set. */
    u3 = (struct secagg_set){{0}};
    secagg_set_add(&u3, (unsigned)w.member[0]);
    check_code(secagg_client_sign(w.clients[0], &u3, sig), E_SECAGG_TOO_FEW);
    end(&w);
}

static void two_survivor_lists_reveal_nothing(void **state)
{
    (void)state;
    uint8_t sigs[4 * SECAGG_SIGNATURE], ignored[SECAGG_SIGNATURE];
    uint16_t signers[4];
    struct secagg_share shares[4];
    unsigned n = 0;
    struct world w;
    begin(&w, 4, 2, 32);
    check_ok(do_adverts(&w, all_stay));
    check_ok(do_shares(&w, all_stay));
    check_ok(do_inputs(&w, all_stay));
    struct secagg_set full = *secagg_server_u3(w.server), less = full;
    less.bits[0] &= ~((uint64_t)1 << w.member[3]);
    /* Device 0 is shown the full list, the others that without device 3. */
    check_ok(secagg_client_sign(w.clients[0], &full, sigs));
    signers[n++] = (uint16_t)w.member[0];
    for (int i = 1; i < 3; i++) {
        check_ok(secagg_client_sign(w.clients[i], &less,
                                    sigs + n * SECAGG_SIGNATURE));
        signers[n++] = (uint16_t)w.member[i];
    }
    unsigned n_shares = 99;
    check_code(secagg_client_reveal(w.clients[0], signers, sigs, n, shares,
                                    &n_shares),
               E_SECAGG_SIGNATURES);
    check(n_shares == 99);
    /* It is spent: not even the right list brings anything now. */
    check_code(secagg_client_reveal(w.clients[0], signers, sigs, 1, shares,
                                    &n_shares),
               E_SECAGG_ONCE);
    check_code(secagg_client_sign(w.clients[0], &full, ignored), E_SECAGG_ONCE);
    /* A signature repeated does not count twice. */
    signers[0] = signers[1];
    memcpy(sigs, sigs + SECAGG_SIGNATURE, SECAGG_SIGNATURE);
    check_code(secagg_client_reveal(w.clients[1], signers, sigs, n, shares,
                                    &n_shares),
               E_SECAGG_SIGNATURES);
    /* Too few. */
    check_code(secagg_client_reveal(w.clients[2], signers + 1,
                                    sigs + SECAGG_SIGNATURE, 2, shares,
                                    &n_shares),
               E_SECAGG_SIGNATURES);
    end(&w);
}

static void nothing_is_done_twice(void **state)
{
    (void)state;
    uint8_t sealed[4 * SECAGG_SEALED], sigs[4 * SECAGG_SIGNATURE];
    uint16_t who[4];
    uint32_t y[COORDS] = {0};
    struct secagg_share shares[4];
    unsigned n, n_shares;
    struct world w;
    begin(&w, 3, 2, 32);
    check_code(secagg_client_mask(w.clients[0], y), E_SECAGG_ONCE);
    check_ok(do_adverts(&w, all_stay));
    check_ok(do_shares(&w, all_stay));
    check_code(secagg_client_share(w.clients[0], secagg_server_roster(w.server),
                                   3, sealed),
               E_SECAGG_ONCE);
    check_ok(do_inputs(&w, all_stay));
    check_code(secagg_client_mask(w.clients[0], y), E_SECAGG_ONCE);
    do_signatures(&w, all_stay);
    secagg_server_signatures(w.server, who, sigs, &n);
    check_ok(
        secagg_client_reveal(w.clients[0], who, sigs, n, shares, &n_shares));
    check_code(secagg_client_reveal(w.clients[0], who, sigs, n, shares,
                                    &n_shares),
               E_SECAGG_ONCE);
    end(&w);
}

static void the_server_takes_one_kind_of_share_only(void **state)
{
    (void)state;
    struct world w;
    int leave[4] = {NEVER, NEVER, NEVER, AT_INPUT};
    begin(&w, 4, 2, 32);
    check_ok(do_adverts(&w, leave));
    check_ok(do_shares(&w, leave));
    check_ok(do_inputs(&w, leave));
    do_signatures(&w, leave);
    struct secagg_share wrong[2] = {{.owner = (uint16_t)w.member[1],
                                     .kind = SECAGG_SHARE_MASK},
                                    {.owner = (uint16_t)w.member[1],
                                     .kind = SECAGG_SHARE_SELF}};
    check_code(secagg_server_reveal(w.server, (unsigned)w.member[0], wrong, 1),
               E_SECAGG_KIND);
    check_code(secagg_server_reveal(w.server, (unsigned)w.member[0], wrong + 1,
                                    1) ||
                       secagg_server_reveal(w.server, (unsigned)w.member[1],
                                            wrong, 2)
                   ? TACIT_PROTO
                   : TACIT_OK,
               E_SECAGG_KIND);
    end(&w);
}

static void a_false_share_of_a_lost_device_is_detected(void **state)
{
    (void)state;
    static uint8_t sigs[4 * SECAGG_SIGNATURE];
    uint16_t signers[4];
    struct secagg_share shares[4];
    unsigned n, n_shares;
    int leave[4] = {NEVER, NEVER, NEVER, AT_INPUT};
    struct world w;
    begin(&w, 4, 2, 32);
    check_ok(do_adverts(&w, leave));
    check_ok(do_shares(&w, leave));
    check_ok(do_inputs(&w, leave));
    do_signatures(&w, leave);
    secagg_server_signatures(w.server, signers, sigs, &n);
    for (unsigned i = 0; i < 3; i++) {
        check_ok(secagg_client_reveal(w.clients[i], signers, sigs, n, shares,
                                      &n_shares));
        for (unsigned k = 0; k < n_shares; k++)
            if (shares[k].kind == SECAGG_SHARE_MASK) shares[k].scalar[0] ^= 1;
        check_ok(secagg_server_reveal(w.server, (unsigned)w.member[i], shares,
                                      n_shares));
    }
    check_code(secagg_server_unmask(w.server, w.sum), E_SECAGG_SHARES);
    end(&w);
}

static void a_share_that_does_not_open_costs_only_itself(void **state)
{
    (void)state;
    static uint8_t sealed[4 * SECAGG_SEALED];
    uint16_t senders[4];
    unsigned n;
    struct world w;
    begin(&w, 3, 2, 32);
    check_ok(do_adverts(&w, all_stay));
    check_ok(do_shares(&w, all_stay));
    secagg_server_shares_for(w.server, (unsigned)w.member[0], senders, sealed,
                             &n);
    sealed[40] ^= 1;
    check_ok(secagg_client_receive(w.clients[0], senders, sealed, n));
    end(&w);
    begin(&w, 3, 2, 32);
    check_ok(do_adverts(&w, all_stay));
    check_ok(do_shares(&w, all_stay));
    secagg_server_shares_for(w.server, (unsigned)w.member[0], senders, sealed,
                             &n);
    senders[1] = senders[0];
    check_code(secagg_client_receive(w.clients[0], senders, sealed, n),
               E_SECAGG_ROSTER);
    check_code(secagg_client_receive(w.clients[0], senders, sealed, 0),
               E_SECAGG_TOO_FEW);
    end(&w);
}

static void terms_that_cannot_work_are_refused(void **state)
{
    (void)state;
    struct secagg_terms t = {.ring_bits = 16, .n_coords = 1, .u_min = 2};
    struct secagg_server *s;
    check_err(secagg_server_new(&t, &s), TACIT_PROTO);
    t.ring_bits = 32;
    t.n_coords = 0;
    check_err(secagg_server_new(&t, &s), TACIT_SHAPE);
    t.n_coords = 1;
    t.u_min = 1;
    check_code(secagg_server_new(&t, &s), E_SECAGG_TOO_FEW);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(masked_inputs_look_uniform),
        cmocka_unit_test(a_replaced_key_is_refused),
        cmocka_unit_test(another_model_hash_is_refused_by_signature),
        cmocka_unit_test(a_device_that_advertises_twice_is_refused),
        cmocka_unit_test(keys_that_would_stop_the_others_are_refused_at_once),
        cmocka_unit_test(each_stage_is_open_once_and_in_its_order),
        cmocka_unit_test(a_cohort_over_the_limit_is_refused),
        cmocka_unit_test(a_survivor_list_that_names_a_stranger_is_refused),
        cmocka_unit_test(two_survivor_lists_reveal_nothing),
        cmocka_unit_test(nothing_is_done_twice),
        cmocka_unit_test(the_server_takes_one_kind_of_share_only),
        cmocka_unit_test(a_false_share_of_a_lost_device_is_detected),
        cmocka_unit_test(a_share_that_does_not_open_costs_only_itself),
        cmocka_unit_test(terms_that_cannot_work_are_refused),
    };
    return cmocka_run_group_tests(tests, make_identities, drop_identities);
}
