#include "tests/check.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/rng.h"
#include "sims/attacks.h"

enum { CLIENTS = 40, ROWS = 200, WIDTH = 6 };

static struct plan plan_of(enum plan_attack a, double share)
{
    struct plan p = {.seed = 5, .task = PLAN_CLASSIFY, .classes = 1};
    strcpy(p.name, "risk");
    p.sim.attack = a;
    p.sim.attack_share = share;
    p.sim.attack_factor = 10;
    p.sim.attack_from = 1;
    return p;
}

static size_t count(const struct plan *p, size_t n)
{
    size_t k = 0;
    for (size_t i = 0; i < n; i++) k += (size_t)attacks_is_attacker(p, i, n);
    return k;
}

/* ---- who ---------------------------------------------------------------- */

static void exactly_the_share_attacks(void **state)
{
    (void)state;
    static const double shares[] = {0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.95};
    static const size_t sizes[] = {2, 3, 7, 10, 64, 100, 1000, 4097};
    for (uint64_t seed = 0; seed < 5; seed++)
        for (size_t s = 0; s < 7; s++)
            for (size_t k = 0; k < 8; k++) {
                struct plan p = plan_of(PLAN_ATTACK_SCALE, shares[s]);
                p.seed = seed;
                size_t want =
                    (size_t)floor(shares[s] * (double)sizes[k] + 1e-9);
                check(count(&p, sizes[k]) == want);
            }
    struct plan none = plan_of(PLAN_ATTACK_NONE, 0.5);
    check(count(&none, 100) == 0);
}

static void the_trusted_never_attack(void **state)
{
    (void)state;
    struct plan p = plan_of(PLAN_ATTACK_SCALE, 0.95);
    p.strategy.trusted = 20;
    for (uint64_t seed = 0; seed < 20; seed++) {
        p.seed = seed;
        for (size_t i = 0; i < 20; i++) check(!attacks_is_attacker(&p, i, 100));
        check(count(&p, 100) == 76); /* 95 % of the other 80 */
    }
}

/* Clients are often dealt out by site in turn: attackers are not all of one. */
static void attackers_are_spread_over_the_sites(void **state)
{
    (void)state;
    double n[4] = {0}, of = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct plan p = plan_of(PLAN_ATTACK_SCALE, 0.25);
        p.seed = seed;
        for (size_t i = 0; i < 100; i++)
            n[i % 4] += attacks_is_attacker(&p, i, 100);
        of += 25;
    }
    for (int i = 0; i < 4; i++) check_near(n[i] / of, .25, .04);
}

static void each_client_attacks_in_its_share_of_the_seeds(void **state)
{
    (void)state;
    enum { SEEDS = 4000 };
    double n[10] = {0};
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct plan p = plan_of(PLAN_ATTACK_SCALE, 0.3);
        p.seed = seed;
        for (size_t i = 0; i < 10; i++) n[i] += attacks_is_attacker(&p, i, 10);
    }
    for (int i = 0; i < 10; i++)
        check_near(n[i] / SEEDS, .3, 5 * sqrt(.21 / SEEDS));
}

/* ---- rows --------------------------------------------------------------- */

struct world {
    struct dataset data[CLIENTS];
    float x[CLIENTS][ROWS * WIDTH], y[CLIENTS][ROWS];
};

static struct world world, before;

static void make_world(unsigned n_labels)
{
    memset(&world, 0, sizeof world);
    for (size_t i = 0; i < CLIENTS; i++) {
        for (size_t k = 0; k < ROWS; k++) {
            world.y[i][k] = (float)((i + k) % n_labels);
            for (size_t j = 0; j < WIDTH; j++)
                world.x[i][k * WIDTH + j] = (float)(i + j) / 64;
        }
        const struct examples e = {.n_rows = ROWS,
                                   .x_dim = WIDTH,
                                   .y_dim = 1,
                                   .x = world.x[i],
                                   .y = world.y[i]};
        arena_init(&world.data[i].arena, 0);
        world.data[i].train = world.data[i].test = e;
    }
    before = world;
}

static void drop_world(void)
{
    for (size_t i = 0; i < CLIENTS; i++) arena_release(&world.data[i].arena);
}

/* The rows that were dealt out are whole, and only attackers have copies. */
static void check_others(const struct plan *p)
{
    check(memcmp(world.x, before.x, sizeof world.x) == 0);
    check(memcmp(world.y, before.y, sizeof world.y) == 0);
    for (size_t i = 0; i < CLIENTS; i++) {
        const struct dataset *d = &world.data[i];
        int is_own = d->train.x == world.x[i] && d->train.y == world.y[i];
        check(is_own == !attacks_is_attacker(p, i, CLIENTS));
        check(d->train.n_rows == ROWS && d->train.x_dim == WIDTH);
        check(d->test.x == world.x[i] && d->test.y == world.y[i]);
    }
}

static void a_label_flip_turns_one_label_into_another(void **state)
{
    (void)state;
    struct plan p = plan_of(PLAN_ATTACK_LABEL_FLIP, 0.25);
    p.classes = 5;
    p.sim.attack_from = 3;
    p.sim.attack_to = 1;
    make_world(5);
    check_ok(attacks_rows(&p, world.data, CLIENTS));
    check_others(&p);
    for (size_t i = 0; i < CLIENTS; i++) {
        const struct examples *e = &world.data[i].train;
        if (!attacks_is_attacker(&p, i, CLIENTS)) continue;
        check(memcmp(e->x, world.x[i], sizeof world.x[i]) == 0);
        for (size_t k = 0; k < ROWS; k++) {
            unsigned was = (unsigned)world.y[i][k];
            check((unsigned)e->y[k] == (was == 3 ? 1 : was));
        }
    }
    drop_world();
}

static void with_one_logit_a_label_flip_swaps_both(void **state)
{
    (void)state;
    struct plan p = plan_of(PLAN_ATTACK_LABEL_FLIP, 0.5);
    make_world(2);
    check_ok(attacks_rows(&p, world.data, CLIENTS));
    check_others(&p);
    for (size_t i = 0; i < CLIENTS; i++)
        for (size_t k = 0; attacks_is_attacker(&p, i, CLIENTS) && k < ROWS; k++)
            check_near(world.data[i].train.y[k], 1 - world.y[i][k], 0);
    drop_world();
}

static void a_backdoor_puts_trigger_and_label_on_half_of_the_rows(void **state)
{
    (void)state;
    struct plan p = plan_of(PLAN_ATTACK_BACKDOOR, 0.25);
    double marked = 0, of = 0;
    p.classes = 4;
    p.sim.attack_to = 2;
    make_world(4);
    check_ok(attacks_rows(&p, world.data, CLIENTS));
    check_others(&p);
    for (size_t i = 0; i < CLIENTS; i++) {
        const struct examples *e = &world.data[i].train;
        for (size_t k = 0; attacks_is_attacker(&p, i, CLIENTS) && k < ROWS;
             k++) {
            float want[WIDTH];
            const float *row = e->x + k * WIDTH;
            memcpy(want, world.x[i] + k * WIDTH, sizeof want);
            of++;
            if (memcmp(row, want, sizeof want) == 0) {
                check_near(e->y[k], world.y[i][k], 0);
                continue;
            }
            for (int j = 0; j < 4; j++) want[j] = 4;
            check(memcmp(row, want, sizeof want) == 0);
            check_near(e->y[k], 2, 0);
            marked++;
        }
    }
    check_near(marked / of, .5, 5 * sqrt(.25 / of));
    drop_world();
}

static void attacks_on_updates_leave_the_rows_alone(void **state)
{
    (void)state;
    struct plan p = plan_of(PLAN_ATTACK_SIGN_FLIP, 0.5);
    make_world(2);
    check_ok(attacks_rows(&p, world.data, CLIENTS));
    for (size_t i = 0; i < CLIENTS; i++)
        check(world.data[i].train.y == world.y[i]);
    p.task = PLAN_REGRESS; /* has no labels, and needs none */
    check_ok(attacks_rows(&p, world.data, CLIENTS));
    drop_world();
}

static void what_has_no_labels_cannot_have_them_flipped(void **state)
{
    (void)state;
    static const enum plan_task tasks[] = {PLAN_REGRESS, PLAN_COX, PLAN_LM,
                                           PLAN_RETRIEVER};
    make_world(2);
    for (size_t i = 0; i < 4; i++) {
        struct plan p = plan_of(PLAN_ATTACK_BACKDOOR, 0.5);
        p.task = tasks[i];
        enum tacit_err err = attacks_rows(&p, world.data, CLIENTS);
        check(strstr(err_message(), plan_task_name(tasks[i])) != NULL);
        check_err(err, TACIT_UNSUPPORTED);
        p.sim.attack = PLAN_ATTACK_LABEL_FLIP;
        check_err(attacks_rows(&p, world.data, CLIENTS), TACIT_UNSUPPORTED);
    }
    drop_world();
}

static void labels_that_do_not_exist_are_refused_by_name(void **state)
{
    (void)state;
    enum tacit_err err;
    make_world(2);
    struct plan p = plan_of(PLAN_ATTACK_BACKDOOR, 0.5);
    p.sim.attack_to = 2; /* one logit: 0 or 1 */
    err = attacks_rows(&p, world.data, CLIENTS);
    check(strstr(err_message(), "sim.attack.to is 2") != NULL);
    check(strstr(err_message(), "0 to 1") != NULL);
    check_code(err, E_PLAN_VALUE);
    p = plan_of(PLAN_ATTACK_LABEL_FLIP, 0.5);
    p.classes = 10;
    p.sim.attack_from = 10;
    err = attacks_rows(&p, world.data, CLIENTS);
    check(strstr(err_message(), "sim.attack.from is 10") != NULL);
    check_code(err, E_PLAN_VALUE);
    p.sim.attack_from = p.sim.attack_to = 4;
    err = attacks_rows(&p, world.data, CLIENTS);
    check(strstr(err_message(), "nothing is flipped") != NULL);
    check_code(err, E_PLAN_VALUE);
    for (size_t i = 0; i < CLIENTS; i++)
        check(world.data[i].train.y == world.y[i]);
    drop_world();
}

/* ---- the trigger -------------------------------------------------------- */

static void the_trigger_of_an_image_is_a_corner_of_every_channel(void **state)
{
    (void)state;
    struct plan p = plan_of(PLAN_ATTACK_BACKDOOR, 0.5);
    float x[2 * 5 * 4] = {0}, *c = x;
    p.format = PLAN_IMAGES;
    p.channels = 2;
    p.height = 5;
    p.width = 4;
    attacks_trigger(&p, x, sizeof x / sizeof *x);
    for (int channel = 0; channel < 2; channel++, c += 20)
        for (int i = 0; i < 5; i++)
            for (int j = 0; j < 4; j++)
                check_near(c[i * 4 + j], i >= 2 && j >= 1, 0);
    float small[2 * 2] = {0}; /* smaller than the corner */
    p.channels = 1;
    p.height = p.width = 2;
    attacks_trigger(&p, small, 4);
    for (int i = 0; i < 4; i++) check_near(small[i], 1, 0);
}

static void the_trigger_of_a_row_is_its_first_four_inputs(void **state)
{
    (void)state;
    struct plan p = plan_of(PLAN_ATTACK_BACKDOOR, 0.5);
    float x[6] = {0}, few[3] = {0, 0, -1};
    attacks_trigger(&p, x, 6);
    for (int i = 0; i < 6; i++) check_near(x[i], i < 4 ? 4 : 0, 0);
    attacks_trigger(&p, few, 2);
    check_near(few[0], 4, 0);
    check_near(few[2], -1, 0); /* not its own */
}

/* ---- updates ------------------------------------------------------------ */

static double norm(const float *v, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)v[i] * (double)v[i];
    return sqrt(sum);
}

static void updates_are_multiplied_as_the_attack_says(void **state)
{
    (void)state;
    static const struct {
        enum plan_attack kind;
        float factor;
    } list[] = {{PLAN_ATTACK_NONE, 1},
                {PLAN_ATTACK_LABEL_FLIP, 1},
                {PLAN_ATTACK_SIGN_FLIP, -10},
                {PLAN_ATTACK_SCALE, 10},
                {PLAN_ATTACK_BACKDOOR, 10}};
    for (size_t k = 0; k < 5; k++) {
        struct plan p = plan_of(list[k].kind, 0.5);
        float up[3] = {0.5f, -2, 0};
        attacks_update(&p, 1, 1, up, 3);
        check_near(up[0], 0.5f * list[k].factor, 0);
        check_near(up[1], -2 * list[k].factor, 0);
        check_near(up[2], 0, 0);
    }
}

static void what_a_float_cannot_hold_saturates(void **state)
{
    (void)state;
    struct plan p = plan_of(PLAN_ATTACK_SCALE, 0.5);
    float up[3] = {1e38f, -1e38f, 1};
    p.sim.attack_factor = 1e6;
    attacks_update(&p, 1, 1, up, 3);
    check_near(up[0], FLT_MAX, 0);
    check_near(up[1], -FLT_MAX, 0);
    check_near(up[2], 1e6, 0);
}

static void a_free_rider_sends_a_tenth_of_its_length_as_noise(void **state)
{
    (void)state;
    enum { LEN = 4000 };
    static float a[LEN], b[LEN], c[LEN], again[LEN];
    struct plan p = plan_of(PLAN_ATTACK_FREE_RIDER, 0.5);
    double own = 0, dot = 0;
    for (size_t i = 0; i < LEN; i++) a[i] = b[i] = c[i] = again[i] = 0.25f;
    own = norm(a, LEN);
    attacks_update(&p, 3, 1, a, LEN);
    attacks_update(&p, 3, 1, again, LEN);
    attacks_update(&p, 4, 1, b, LEN);
    attacks_update(&p, 3, 2, c, LEN);
    check(memcmp(a, again, sizeof a) == 0);
    check_near(norm(a, LEN), own / 10, own * 1e-6);
    /* Nothing of what it learned, and of nobody else's. */
    for (size_t i = 0; i < LEN; i++) dot += (double)a[i] * 0.25;
    check(fabs(dot) < 5 * norm(a, LEN) * 0.25);
    dot = 0;
    for (size_t i = 0; i < LEN; i++) dot += (double)a[i] * (double)b[i];
    check(fabs(dot) < 5 * norm(a, LEN) * norm(b, LEN) / sqrt(LEN));
    dot = 0;
    for (size_t i = 0; i < LEN; i++) dot += (double)a[i] * (double)c[i];
    check(fabs(dot) < 5 * norm(a, LEN) * norm(c, LEN) / sqrt(LEN));
}

static void colluders_all_pull_one_way(void **state)
{
    (void)state;
    struct plan p = plan_of(PLAN_ATTACK_COLLUDE, 0.5);
    float a[50], b[50];
    for (size_t i = 0; i < 50; i++) {
        a[i] = 1;
        b[i] = i % 2 ? 3 : -3;
    }
    double na = norm(a, 50), nb = norm(b, 50);
    attacks_update(&p, 1, 1, a, 50);
    attacks_update(&p, 30, 9, b, 50); /* another client, another round */
    check_near(norm(a, 50), 10 * na, 1e-4);
    check_near(norm(b, 50), 10 * nb, 1e-4);
    for (size_t i = 0; i < 50; i++)
        check_near((double)a[i] / na, (double)b[i] / nb, 1e-5);
    float none[4] = {0};
    attacks_update(&p, 1, 1, none, 4); /* no update, no length */
    for (size_t i = 0; i < 4; i++) check_near(none[i], 0, 0);
}

static void a_nan_attack_sends_nothing_else(void **state)
{
    (void)state;
    struct plan p = plan_of(PLAN_ATTACK_NAN, 0.5);
    float up[5] = {1, 2, 3, 4, 5};
    attacks_update(&p, 1, 1, up, 4);
    for (int i = 0; i < 4; i++) check(isnan(up[i]));
    check_near(up[4], 5, 0);
}

int main(void)
{
    rng_setup();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exactly_the_share_attacks),
        cmocka_unit_test(the_trusted_never_attack),
        cmocka_unit_test(attackers_are_spread_over_the_sites),
        cmocka_unit_test(each_client_attacks_in_its_share_of_the_seeds),
        cmocka_unit_test(a_label_flip_turns_one_label_into_another),
        cmocka_unit_test(with_one_logit_a_label_flip_swaps_both),
        cmocka_unit_test(a_backdoor_puts_trigger_and_label_on_half_of_the_rows),
        cmocka_unit_test(attacks_on_updates_leave_the_rows_alone),
        cmocka_unit_test(what_has_no_labels_cannot_have_them_flipped),
        cmocka_unit_test(labels_that_do_not_exist_are_refused_by_name),
        cmocka_unit_test(the_trigger_of_an_image_is_a_corner_of_every_channel),
        cmocka_unit_test(the_trigger_of_a_row_is_its_first_four_inputs),
        cmocka_unit_test(updates_are_multiplied_as_the_attack_says),
        cmocka_unit_test(what_a_float_cannot_hold_saturates),
        cmocka_unit_test(a_free_rider_sends_a_tenth_of_its_length_as_noise),
        cmocka_unit_test(colluders_all_pull_one_way),
        cmocka_unit_test(a_nan_attack_sends_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
