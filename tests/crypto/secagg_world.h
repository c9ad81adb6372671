/*
 * secagg_world: one session of secure aggregation in memory, its devices and
 * its coordinator, stage by stage. Every device leaves at a stage of its
 * choice.
 */
#ifndef TACIT_TESTS_CRYPTO_SECAGG_WORLD_H
#define TACIT_TESTS_CRYPTO_SECAGG_WORLD_H

#include "tests/check.h"

#include <string.h>

#include "common/base/codes.h"
#include "common/base/rng.h"
#include "common/crypto/keys.h"
#include "common/crypto/secagg.h"

enum { COORDS = 9, DEVICES = 32, STAGES = 6 };
enum leave { AT_ADVERT, AT_SHARES, AT_INPUT, AT_SIGNATURE, AT_REVEAL, NEVER };

struct world {
    unsigned n;
    struct secagg_terms terms;
    struct secagg_client *clients[DEVICES];
    uint32_t x[DEVICES][COORDS];
    int member[DEVICES]; /* number in the roster, -1 = none */
    struct secagg_server *server;
    uint32_t sum[COORDS], plain[COORDS];
    uint8_t sealed[DEVICES][DEVICES * SECAGG_SEALED];
    uint32_t y[DEVICES][COORDS]; /* masked */
};

static struct keys identities[DEVICES];

static inline int make_identities(void **state)
{
    (void)state;
    for (int i = 0; i < DEVICES; i++) check_ok(keys_new(&identities[i]));
    return 0;
}

static inline int drop_identities(void **state)
{
    (void)state;
    for (int i = 0; i < DEVICES; i++) keys_release(&identities[i]);
    return 0;
}

static inline void begin(struct world *w, unsigned n, unsigned u_min,
                         uint32_t ring_bits)
{
    memset(w, 0, sizeof *w);
    w->n = n;
    w->terms.ring_bits = ring_bits;
    w->terms.n_coords = COORDS;
    w->terms.u_min = u_min;
    w->terms.round = 3;
    rng_secure(w->terms.session, sizeof w->terms.session);
    check_ok(secagg_server_new(&w->terms, &w->server));
    for (unsigned i = 0; i < n; i++) {
        rng_secure(w->x[i], sizeof w->x[i]);
        if (ring_bits == 24)
            for (int k = 0; k < COORDS; k++) w->x[i][k] &= 0xffffff;
        w->member[i] = -1;
        check_ok(secagg_client_new(&w->terms, identities[i].id,
                                   identities[i].sign_secret, &w->clients[i]));
    }
}

static inline void end(struct world *w)
{
    for (unsigned i = 0; i < w->n; i++) secagg_client_free(w->clients[i]);
    secagg_server_free(w->server);
}

static inline enum tacit_err do_adverts(struct world *w, const int *leave)
{
    struct secagg_advert a;
    for (unsigned i = 0; i < w->n; i++) {
        if (leave[i] == AT_ADVERT) continue;
        secagg_client_advert(w->clients[i], &a);
        check_ok(secagg_server_advert(w->server, &a));
        check_ok(secagg_server_advert(w->server, &a)); /* a repeat */
    }
    TRY(secagg_server_close_adverts(w->server));
    for (unsigned i = 0; i < w->n; i++)
        w->member[i] = secagg_server_member(w->server, identities[i].id);
    return TACIT_OK;
}

static inline void seal_shares(struct world *w, const int *leave)
{
    unsigned n = secagg_server_n(w->server);
    for (unsigned i = 0; i < w->n; i++)
        if (leave[i] > AT_ADVERT)
            check_ok(secagg_client_share(w->clients[i],
                                         secagg_server_roster(w->server), n,
                                         w->sealed[i]));
}

static inline enum tacit_err send_shares(struct world *w, const int *leave)
{
    for (unsigned i = 0; i < w->n; i++)
        if (leave[i] > AT_SHARES)
            check_ok(secagg_server_shares(w->server, (unsigned)w->member[i],
                                          w->sealed[i]));
    return secagg_server_close_shares(w->server);
}

static inline enum tacit_err do_shares(struct world *w, const int *leave)
{
    seal_shares(w, leave);
    return send_shares(w, leave);
}

static inline void mask_inputs(struct world *w, const int *leave)
{
    static uint8_t sealed[DEVICES * SECAGG_SEALED];
    uint16_t senders[DEVICES];
    unsigned n;
    for (unsigned i = 0; i < w->n; i++) {
        if (leave[i] <= AT_SHARES) continue;
        secagg_server_shares_for(w->server, (unsigned)w->member[i], senders,
                                 sealed, &n);
        check_ok(secagg_client_receive(w->clients[i], senders, sealed, n));
        memcpy(w->y[i], w->x[i], sizeof w->y[i]);
        check_ok(secagg_client_mask(w->clients[i], w->y[i]));
    }
}

static inline enum tacit_err send_inputs(struct world *w, const int *leave)
{
    uint32_t mask = w->terms.ring_bits == 32 ? UINT32_MAX : 0xffffff;
    for (unsigned i = 0; i < w->n; i++) {
        if (leave[i] <= AT_INPUT) continue;
        check_ok(secagg_server_input(w->server, (unsigned)w->member[i]));
        for (int k = 0; k < COORDS; k++) {
            w->sum[k] = (w->sum[k] + w->y[i][k]) & mask;
            w->plain[k] = (w->plain[k] + w->x[i][k]) & mask;
        }
    }
    return secagg_server_close_inputs(w->server);
}

static inline enum tacit_err do_inputs(struct world *w, const int *leave)
{
    mask_inputs(w, leave);
    return send_inputs(w, leave);
}

static inline void do_signatures(struct world *w, const int *leave)
{
    uint8_t sig[SECAGG_SIGNATURE];
    for (unsigned i = 0; i < w->n; i++) {
        if (leave[i] <= AT_SIGNATURE) continue;
        check_ok(secagg_client_sign(w->clients[i], secagg_server_u3(w->server),
                                    sig));
        check_ok(
            secagg_server_signature(w->server, (unsigned)w->member[i], sig));
    }
}

/* Returns the first refusal. */
static inline enum tacit_err do_reveals(struct world *w, const int *leave)
{
    static uint8_t sigs[SECAGG_CLIENTS_MAX * SECAGG_SIGNATURE];
    uint16_t signers[SECAGG_CLIENTS_MAX];
    struct secagg_share shares[SECAGG_CLIENTS_MAX];
    unsigned n, n_shares;
    secagg_server_signatures(w->server, signers, sigs, &n);
    for (unsigned i = 0; i < w->n; i++) {
        if (leave[i] <= AT_REVEAL) continue;
        TRY(secagg_client_reveal(w->clients[i], signers, sigs, n, shares,
                                 &n_shares));
        check_ok(secagg_server_reveal(w->server, (unsigned)w->member[i], shares,
                                      n_shares));
    }
    return TACIT_OK;
}

static inline int survivors(const int *leave, unsigned n, enum leave after)
{
    int k = 0;
    for (unsigned i = 0; i < n; i++) k += leave[i] > (int)after;
    return k;
}

#endif
