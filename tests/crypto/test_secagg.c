/*
 * Whoever leaves whenever: the sum that the server gets must be the plain ring
 * sum of the survivors, or the session must end with too few.
 *
 * Keys, transcript and shares follow from who advertised; masks follow from who
 * shared. So the patterns are played as a tree: a cohort is brought to its
 * sealed shares, from a copy of that state those who share to their masked
 * inputs, and from a copy of that one every pattern of the later stages.
 */
#include "tests/check.h"

#include <stdlib.h>
#include <string.h>

#include "common/crypto/secagg_state.h"
#include "tests/crypto/memo.h"
#include "tests/crypto/secagg_world.h"

/* Where a session can be played on from. */
struct snapshot {
    struct secagg_client clients[DEVICES];
    struct secagg_server server;
};

static struct world world;
static struct snapshot shared, masked;

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
    save(w, &shared);
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
    go_back(w, &shared);
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
    save(w, &masked);
    return 1;
}

/* And from there; 1 when the sum came out. */
static int play_rest(struct world *w, const int *leave)
{
    int done = 0, need = minimum(w);
    go_back(w, &masked);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_sum_is_exact_for_every_drop_pattern_up_to_five),
        cmocka_unit_test(the_sum_is_exact_for_random_patterns_of_32),
    };
    return cmocka_run_group_tests(tests, make_identities, drop_identities);
}
