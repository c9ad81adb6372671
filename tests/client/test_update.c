/* update: from what training gave to what may leave, and back out of the sum
 * that the coordinator unmasks. */
#include "tests/check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "client/update.h"
#include "common/base/codes.h"
#include "common/base/rng.h"
#include "common/crypto/keys.h"
#include "common/wire/limits.h"

enum { CLIENTS = 3, PARAMS = 40, COORDS = PARAMS + 2 + TASK_METRICS + 4 };

static const struct strategy *strategy;
static struct ring_layout layout;
static struct plan plan;
static struct keys keys[CLIENTS];
static struct secagg_client *client[CLIENTS];
static struct secagg_server *server;
static float delta[CLIENTS][PARAMS];
static struct trained trained[CLIENTS];

static void begin(uint32_t ring_bits)
{
    struct secagg_terms terms = {.round = 1, .u_min = 2};
    plan = (struct plan){.clip = 2, .ring_bits = ring_bits};
    check_ok(strategy_find("fedavg", &strategy));
    task_layout(&plan, strategy, PARAMS, &layout);
    terms.ring_bits = ring_bits;
    terms.n_coords = ring_coords(&layout);
    check(terms.n_coords == COORDS);
    check_ok(secagg_server_new(&terms, &server));
    for (int i = 0; i < CLIENTS; i++) {
        struct secagg_advert a;
        check_ok(keys_new(&keys[i]));
        check_ok(secagg_client_new(&terms, keys[i].id, keys[i].sign_secret,
                                   &client[i]));
        secagg_client_advert(client[i], &a);
        check_ok(secagg_server_advert(server, &a));
        for (int k = 0; k < PARAMS; k++)
            delta[i][k] = 0.01f * (float)((i + 1) * (k % 9 - 4));
        trained[i] = (struct trained){.up = delta[i],
                                      .weight = 10000 * (uint32_t)(i + 1),
                                      .metrics = {0.9, 0.5 + i, -1, 1}};
    }
    check_ok(secagg_server_close_adverts(server));
}

/* Everybody shares and receives: ready to mask. */
static void share(void)
{
    uint8_t sealed[CLIENTS * SECAGG_SEALED];
    uint16_t from[SECAGG_CLIENTS_MAX];
    static uint8_t all[SECAGG_CLIENTS_MAX * SECAGG_SEALED];
    unsigned n = 0;
    for (int i = 0; i < CLIENTS; i++) {
        int me = secagg_server_member(server, keys[i].id);
        check_ok(secagg_client_share(client[i], secagg_server_roster(server),
                                     CLIENTS, sealed));
        check_ok(secagg_server_shares(server, (unsigned)me, sealed));
    }
    check_ok(secagg_server_close_shares(server));
    for (int i = 0; i < CLIENTS; i++) {
        int me = secagg_server_member(server, keys[i].id);
        secagg_server_shares_for(server, (unsigned)me, from, all, &n);
        check_ok(secagg_client_receive(client[i], from, all, n));
    }
}

static int setup_bits(uint32_t bits)
{
    begin(bits);
    share();
    return 0;
}

static int setup(void **state)
{
    (void)state;
    return setup_bits(32);
}

static int setup_24(void **state)
{
    (void)state;
    return setup_bits(24);
}

static int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < CLIENTS; i++) {
        secagg_client_free(client[i]);
        keys_release(&keys[i]);
    }
    secagg_server_free(server);
    return 0;
}

/* What client i sends, added to the sum. */
static double seal(int i, uint32_t *sum)
{
    struct buf out;
    uint32_t y[COORDS];
    double norm = -1;
    buf_init(&out, 0);
    check_ok(update_seal(&layout, client[i], &trained[i], &out, &norm));
    check(out.len == (size_t)COORDS * layout.ring_bits / 8);
    ring_unpack(y, out.data, COORDS, layout.ring_bits);
    if (sum) ring_add(sum, y, COORDS, layout.ring_bits);
    buf_release(&out);
    return norm;
}

/* The rest of the protocol: the sum without its masks. */
static void unmask(uint32_t *sum)
{
    static uint8_t sigs[SECAGG_CLIENTS_MAX * SECAGG_SIGNATURE];
    uint16_t signers[SECAGG_CLIENTS_MAX];
    struct secagg_share shares[SECAGG_CLIENTS_MAX];
    unsigned n = 0, n_shares = 0;
    for (unsigned i = 0; i < CLIENTS; i++)
        check_ok(secagg_server_input(server, i));
    check_ok(secagg_server_close_inputs(server));
    for (int i = 0; i < CLIENTS; i++) {
        int me = secagg_server_member(server, keys[i].id);
        uint8_t sig[SECAGG_SIGNATURE];
        check_ok(secagg_client_sign(client[i], secagg_server_u3(server), sig));
        check_ok(secagg_server_signature(server, (unsigned)me, sig));
    }
    secagg_server_signatures(server, signers, sigs, &n);
    for (int i = 0; i < CLIENTS; i++) {
        int me = secagg_server_member(server, keys[i].id);
        check_ok(secagg_client_reveal(client[i], signers, sigs, n, shares,
                                      &n_shares));
        check_ok(secagg_server_reveal(server, (unsigned)me, shares, n_shares));
    }
    check_ok(secagg_server_unmask(server, sum));
}

static void decode(uint32_t *sum, float *mean, struct ring_mean *out)
{
    struct digest transcript;
    for (int i = 0; i < CLIENTS; i++) seal(i, sum);
    unmask(sum);
    secagg_server_transcript(server, &transcript);
    check_ok(ring_decode(&layout, sum, CLIENTS, &transcript, mean, out));
}

/* ---- tests -------------------------------------------------------------- */

static void the_sum_decodes_to_the_weighted_mean(void **unused)
{
    (void)unused;
    uint32_t sum[COORDS] = {0};
    float mean[PARAMS];
    struct ring_mean m;
    decode(sum, mean, &m);
    double weight = 0, step = layout.clip / ring_limit(&layout);
    for (int i = 0; i < CLIENTS; i++) weight += trained[i].weight;
    check((double)m.weight == weight && m.n_clients == CLIENTS);
    /* Each client rounds by half a step, then the weights divide. */
    double tol = CLIENTS * 0.5 * step * RING_WEIGHT_MAX / weight + 1e-7;
    for (int k = 0; k < PARAMS; k++) {
        double want = 0;
        for (int i = 0; i < CLIENTS; i++)
            want += (double)delta[i][k] * trained[i].weight / weight;
        check_near(mean[k], want, tol);
    }
    double metric = 0;
    for (int i = 0; i < CLIENTS; i++)
        metric += trained[i].metrics[1] * trained[i].weight / weight;
    check_near(m.metrics[1], metric, 1e-2);
    check_near(m.metrics[2], -1, 1e-2);
}

static void a_long_update_is_clipped_and_its_norm_told(void **unused)
{
    (void)unused;
    uint32_t sum[COORDS] = {0};
    float mean[PARAMS];
    struct ring_mean m;
    for (int i = 0; i < CLIENTS; i++) {
        trained[i].weight = RING_WEIGHT_MAX;
        for (int k = 0; k < PARAMS; k++) delta[i][k] = k < 4 ? 50 : 0;
    }
    check_near(seal(0, sum), 100, 1e-9);
    check_near(seal(1, sum), 100, 1e-9);
    delta[2][0] = delta[2][1] = delta[2][2] = delta[2][3] = 0.5f;
    check_near(seal(2, sum), 1, 1e-9); /* short enough: as it is */
    unmask(sum);
    struct digest transcript;
    secagg_server_transcript(server, &transcript);
    check_ok(ring_decode(&layout, sum, CLIENTS, &transcript, mean, &m));
    /* 50 of a norm of 100 becomes 1 of 2. */
    for (int k = 0; k < 4; k++)
        check_near(mean[k], (1 + 1 + 0.5) / 3, 2 * layout.clip / 1e4);
}

static void nan_and_infinity_never_get_into_the_buffer(void **unused)
{
    (void)unused;
    const float bad[] = {NAN, INFINITY, -INFINITY};
    struct buf out;
    double norm = 7;
    buf_init(&out, 0);
    for (int i = 0; i < 3; i++) {
        delta[0][i + 1] = bad[i];
        check_err(update_seal(&layout, client[0], &trained[0], &out, &norm),
                  TACIT_FORMAT);
        delta[0][i + 1] = 0;
        trained[0].metrics[i] = (double)bad[i];
        check_err(update_seal(&layout, client[0], &trained[0], &out, &norm),
                  TACIT_FORMAT);
        trained[0].metrics[i] = 0;
    }
    check(out.len == 0);
    check_near(norm, 7, 0);
    /* A refused update has used nothing up. */
    check_ok(update_seal(&layout, client[0], &trained[0], &out, &norm));
    buf_release(&out);
}

static void a_weight_out_of_range_is_refused(void **unused)
{
    (void)unused;
    struct buf out;
    double norm = 0;
    buf_init(&out, 0);
    trained[0].weight = 0;
    check_err(update_seal(&layout, client[0], &trained[0], &out, &norm),
              TACIT_LIMIT);
    trained[0].weight = RING_WEIGHT_MAX + 1;
    check_err(update_seal(&layout, client[0], &trained[0], &out, &norm),
              TACIT_LIMIT);
    check(out.len == 0);
    buf_release(&out);
}

static void a_session_seals_one_update(void **unused)
{
    (void)unused;
    struct buf out;
    double norm = 0;
    buf_init(&out, 0);
    check_ok(update_seal(&layout, client[0], &trained[0], &out, &norm));
    size_t len = out.len;
    check_code(update_seal(&layout, client[0], &trained[0], &out, &norm),
               E_SECAGG_ONCE);
    check(out.len == len); /* the second one is nowhere */
    buf_release(&out);
}

static void nothing_is_sealed_before_the_shares_are_there(void **unused)
{
    (void)unused;
    struct buf out;
    double norm = 0;
    begin(32);
    buf_init(&out, 0);
    check_code(update_seal(&layout, client[0], &trained[0], &out, &norm),
               E_SECAGG_ONCE);
    check(out.len == 0);
    buf_release(&out);
}

/* What leaves is not what was learnt: no coordinate is in the clear. */
static void what_leaves_is_masked(void **unused)
{
    (void)unused;
    struct buf out;
    struct digest transcript;
    uint32_t plain[COORDS], sent[COORDS];
    double norm = 0;
    int n_equal = 0;
    struct ring_update u = {.delta = delta[0],
                            .weight = trained[0].weight,
                            .metrics = trained[0].metrics};
    secagg_client_transcript(client[0], &transcript);
    check_ok(ring_encode(&layout, &u, &transcript, plain));
    buf_init(&out, 0);
    check_ok(update_seal(&layout, client[0], &trained[0], &out, &norm));
    ring_unpack(sent, out.data, COORDS, 32);
    for (int i = 0; i < COORDS; i++) n_equal += sent[i] == plain[i];
    check(n_equal <= 1); /* 2^-32 each by chance */
    buf_release(&out);
}

static void the_layout_is_the_plans(void **unused)
{
    (void)unused;
    check(layout.n_params == PARAMS && layout.n_metrics == TASK_METRICS);
    check(layout.clients_max == SECAGG_CLIENTS_MAX && layout.ring_bits == 32);
    check_near(layout.clip, 2, 0);
    check_near(layout.metric_max, 64, 0);
}

int main(void)
{
    rng_setup();
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(the_sum_decodes_to_the_weighted_mean),
        cmocka_unit_test_setup_teardown(the_sum_decodes_to_the_weighted_mean,
                                        setup_24, teardown),
        T(a_long_update_is_clipped_and_its_norm_told),
        cmocka_unit_test_setup_teardown(
            a_long_update_is_clipped_and_its_norm_told, setup_24, teardown),
        T(nan_and_infinity_never_get_into_the_buffer),
        T(a_weight_out_of_range_is_refused),
        T(a_session_seals_one_update),
        cmocka_unit_test_teardown(nothing_is_sealed_before_the_shares_are_there,
                                  teardown),
        T(what_leaves_is_masked),
        T(the_layout_is_the_plans),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
