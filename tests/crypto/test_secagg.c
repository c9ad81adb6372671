#include "tests/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/rng.h"
#include "common/crypto/keys.h"
#include "common/crypto/secagg.h"
#include "common/crypto/secagg_state.h"
#include "tests/crypto/memo.h"

/*
 * A whole session in memory. Every device leaves at a stage of its choice; the
 * sum that the server gets must be the plain ring sum of the survivors, or the
 * session must end with too few.
 *
 * Keys, transcript and shares follow from who advertised; masks follow from who
 * shared. So the patterns are played as a tree: a cohort is brought to its
 * sealed shares, from a copy of that state those who share to their masked
 * inputs, and from a copy of that one every pattern of the later stages.
 */
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
    struct snapshot {
        struct secagg_client clients[DEVICES];
        struct secagg_server server;
    } shared, masked;
};

static struct keys identities[DEVICES];

static int make_identities(void **state)
{
    (void)state;
    for (int i = 0; i < DEVICES; i++) check_ok(keys_new(&identities[i]));
    return 0;
}

static int drop_identities(void **state)
{
    (void)state;
    for (int i = 0; i < DEVICES; i++) keys_release(&identities[i]);
    return 0;
}

static void begin(struct world *w, unsigned n, unsigned u_min,
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

static void end(struct world *w)
{
    for (unsigned i = 0; i < w->n; i++) secagg_client_free(w->clients[i]);
    secagg_server_free(w->server);
}

static enum tacit_err do_adverts(struct world *w, const int *leave)
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

static void seal_shares(struct world *w, const int *leave)
{
    unsigned n = secagg_server_n(w->server);
    for (unsigned i = 0; i < w->n; i++)
        if (leave[i] > AT_ADVERT)
            check_ok(secagg_client_share(w->clients[i],
                                         secagg_server_roster(w->server), n,
                                         w->sealed[i]));
}

static enum tacit_err send_shares(struct world *w, const int *leave)
{
    for (unsigned i = 0; i < w->n; i++)
        if (leave[i] > AT_SHARES)
            check_ok(secagg_server_shares(w->server, (unsigned)w->member[i],
                                          w->sealed[i]));
    return secagg_server_close_shares(w->server);
}

static enum tacit_err do_shares(struct world *w, const int *leave)
{
    seal_shares(w, leave);
    return send_shares(w, leave);
}

static void mask_inputs(struct world *w, const int *leave)
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

static enum tacit_err send_inputs(struct world *w, const int *leave)
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

static enum tacit_err do_inputs(struct world *w, const int *leave)
{
    mask_inputs(w, leave);
    return send_inputs(w, leave);
}

static void do_signatures(struct world *w, const int *leave)
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
static enum tacit_err do_reveals(struct world *w, const int *leave)
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

static int survivors(const int *leave, unsigned n, enum leave after)
{
    int k = 0;
    for (unsigned i = 0; i < n; i++) k += leave[i] > (int)after;
    return k;
}

static void save(const struct world *w, struct snapshot *to)
{
    for (unsigned i = 0; i < w->n; i++) to->clients[i] = *w->clients[i];
    to->server = *w->server;
}

static void go_back(struct world *w, const struct snapshot *from)
{
    for (unsigned i = 0; i < w->n; i++) *w->clients[i] = from->clients[i];
    *w->server = from->server;
    for (unsigned i = 0; i < w->server->n; i++) w->server->owners[i].n = 0;
    memset(w->sum, 0, sizeof w->sum);
    memset(w->plain, 0, sizeof w->plain);
}

/* A cohort of n, those out of it that leave at the adverts, up to its sealed
 * shares; 0 when it is too small. */
static int play_adverts(struct world *w, unsigned n, unsigned u_min,
                        uint32_t ring_bits, const int *leave)
{
    memo_clear();
    begin(w, n, u_min, ring_bits);
    enum tacit_err err = do_adverts(w, leave);
    check((err == TACIT_OK) == (survivors(leave, n, AT_ADVERT) >= (int)u_min));
    if (err) {
        check_code(err, E_SECAGG_TOO_FEW);
        return 0;
    }
    seal_shares(w, leave);
    save(w, &w->shared);
    return 1;
}

static int minimum(const struct world *w)
{
    int t = (int)secagg_threshold(secagg_server_n(w->server));
    return t > (int)w->terms.u_min ? t : (int)w->terms.u_min;
}

/* From there, with new inputs, without those that leave at the shares; 0 when
 * too few are left. */
static int play_shares(struct world *w, const int *leave, struct rng *r)
{
    go_back(w, &w->shared);
    for (unsigned i = 0; i < w->n; i++)
        for (int k = 0; k < COORDS; k++)
            w->x[i][k] = (uint32_t)rng_u64(r) >> (32 - w->terms.ring_bits);
    enum tacit_err err = send_shares(w, leave);
    check((err == TACIT_OK) ==
          (survivors(leave, w->n, AT_SHARES) >= minimum(w)));
    if (err) {
        check_code(err, E_SECAGG_TOO_FEW);
        return 0;
    }
    mask_inputs(w, leave);
    save(w, &w->masked);
    return 1;
}

/* And from there; 1 when the sum came out. */
static int play_rest(struct world *w, const int *leave)
{
    int done = 0, need = minimum(w);
    go_back(w, &w->masked);
    enum tacit_err err = send_inputs(w, leave);
    check((err == TACIT_OK) == (survivors(leave, w->n, AT_INPUT) >= need));
    if (!err) {
        do_signatures(w, leave);
        err = do_reveals(w, leave);
        if (survivors(leave, w->n, AT_REVEAL) > 0)
            check((err == TACIT_OK) ==
                  (survivors(leave, w->n, AT_SIGNATURE) >= need));
        int enough = !err && survivors(leave, w->n, AT_REVEAL) >=
                                 (int)secagg_threshold(w->server->n);
        check(secagg_server_ready(w->server) == enough);
        if (enough) {
            check_ok(secagg_server_unmask(w->server, w->sum));
            assert_memory_equal(w->sum, w->plain, sizeof w->sum);
            done = 1;
        }
    }
    err_clear();
    return done;
}

static struct world world;

/* Of the first n devices those in `who`, of base ** n patterns number p: each
 * leaves at `first` or later. */
static int set_leave(int *leave, unsigned n, unsigned who, int first,
                     unsigned p)
{
    unsigned base = (unsigned)(NEVER - first) + 1;
    for (unsigned i = 0; i < n; i++) {
        if (!(who >> i & 1)) continue;
        leave[i] = first + (int)(p % base);
        p /= base;
    }
    return p == 0;
}

/* Every pattern of n devices in which `u1` advertise and, of them, `u2` share.
 * Returns their number. */
static int play_all(unsigned n, unsigned u1, unsigned u2, struct rng *r,
                    int *n_done)
{
    int leave[5], n_all = 0;
    for (unsigned i = 0; i < n; i++)
        leave[i] = u2 >> i & 1 ? NEVER : u1 >> i & 1 ? AT_SHARES : AT_ADVERT;
    int ok =
        survivors(leave, n, AT_ADVERT) >= 2 && play_shares(&world, leave, r);
    while (set_leave(leave, n, u2, AT_INPUT, (unsigned)n_all)) {
        if (ok) *n_done += play_rest(&world, leave);
        n_all++;
    }
    return n_all;
}

static void the_sum_is_exact_for_every_drop_pattern_up_to_five(void **state)
{
    (void)state;
    int n_done = 0, n_all = 0, n_want = 0;
    struct rng r;
    rng_init(&r, 5, 0, 0);
    for (unsigned n = 2; n <= 5; n++) {
        int patterns = 1;
        for (unsigned i = 0; i < n; i++) patterns *= STAGES;
        n_want += patterns;
        for (unsigned u1 = 0; u1 < 1U << n; u1++) {
            int leave[5];
            for (unsigned i = 0; i < n; i++)
                leave[i] = u1 >> i & 1 ? NEVER : AT_ADVERT;
            play_adverts(&world, n, 2, u1 % 2 ? 24 : 32, leave);
            for (unsigned u2 = u1;; u2 = (u2 - 1) & u1) {
                n_all += play_all(n, u1, u2, &r, &n_done);
                if (u2 == 0) break;
            }
            end(&world);
        }
    }
    print_message("%d patterns, %d sums, all exact\n", n_all, n_done);
    check(n_all == n_want && n_done > 0 && n_done < n_all);
}

/* Ways on from each cohort, and from each set of those that share. */
enum { PATTERNS = 10000, SHARE_BRANCHES = 20, BRANCHES = 10 };

/* Of those that stayed so far, lose some at stages first … last. */
static void lose(struct rng *r, uint64_t percent, int first, int last,
                 int *leave)
{
    for (int i = 0; i < DEVICES; i++)
        if (leave[i] == NEVER && rng_below(r, 100) < percent)
            leave[i] = first + (int)rng_below(r, (uint64_t)(last - first) + 1);
}

/* Mostly devices that stay, so that most sessions get to a sum. Returns how
 * many did. */
static int play_random_shares(struct rng *r, const int *adverts)
{
    int leave[DEVICES], later[DEVICES], n_done = 0;
    memcpy(leave, adverts, sizeof leave);
    lose(r, rng_below(r, 20), AT_SHARES, AT_SHARES, leave);
    int ok = play_shares(&world, leave, r);
    for (int k = 0; ok && k < BRANCHES; k++) {
        memcpy(later, leave, sizeof later);
        lose(r, rng_below(r, 50), AT_INPUT, AT_REVEAL, later);
        n_done += play_rest(&world, later);
    }
    return n_done;
}

static void the_sum_is_exact_for_random_patterns_of_32(void **state)
{
    (void)state;
    const char *text = getenv("TACIT_TEST_PATTERNS");
    int n_done = 0, n_all = 0, n_want = text ? atoi(text) : PATTERNS;
    struct rng r;
    uint64_t seed;
    rng_secure(&seed, sizeof seed);
    print_message("seed %llu\n", (unsigned long long)seed);
    rng_init(&r, seed, 0, 0);
    while (n_all < n_want) {
        int leave[DEVICES];
        for (int i = 0; i < DEVICES; i++) leave[i] = NEVER;
        lose(&r, rng_below(&r, 20), AT_ADVERT, AT_ADVERT, leave);
        check(play_adverts(&world, DEVICES, 3, rng_below(&r, 2) ? 24 : 32,
                           leave));
        for (int k = 0; k < SHARE_BRANCHES; k++) {
            n_done += play_random_shares(&r, leave);
            n_all += BRANCHES;
        }
        end(&world);
    }
    print_message("%d patterns, %d sums, all exact\n", n_all, n_done);
    check(n_done > n_all / 2);
}

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
        cmocka_unit_test(the_sum_is_exact_for_every_drop_pattern_up_to_five),
        cmocka_unit_test(the_sum_is_exact_for_random_patterns_of_32),
        cmocka_unit_test(masked_inputs_look_uniform),
        cmocka_unit_test(a_replaced_key_is_refused),
        cmocka_unit_test(another_model_hash_is_refused_by_signature),
        cmocka_unit_test(a_device_that_advertises_twice_is_refused),
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
