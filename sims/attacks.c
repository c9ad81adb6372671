#include "sims/attacks.h"

#include <math.h>
#include <string.h>

#include "common/base/rng.h"

enum { CHOOSE = 0x61747461, NOISE = 0x6e6f6973, POISON = 0x706f6973 };
enum { TRIGGER = 4, CORNER = 3 };
#define POISONED 0.5 /* share of a backdoor attacker's rows */

int attacks_is_attacker(const struct plan *p, size_t client, size_t n_clients)
{
    size_t n_trusted = p->strategy.trusted;
    if (p->sim.attack == PLAN_ATTACK_NONE || client < n_trusted) return 0;
    /* Client i attacks when floor((j + 1) share) > floor(j share) for its
     * place j in a seeded rotation: exactly the share, spread evenly. */
    size_t n = n_clients - n_trusted;
    struct rng r;
    rng_init(&r, p->seed ^ CHOOSE, 0, 0);
    size_t j = (client - n_trusted + (size_t)rng_below(&r, n)) % n;
    double share = p->sim.attack_share;
    return floor((double)(j + 1) * share + 1e-9) >
           floor((double)j * share + 1e-9);
}

void attacks_trigger(const struct plan *p, float *x, size_t n)
{
    if (p->format == PLAN_IMAGES) {
        for (size_t i = 0; i < CORNER && i < p->height; i++)
            for (size_t j = 0; j < CORNER && j < p->width; j++)
                x[(p->height - 1 - i) * p->width + p->width - 1 - j] = 1;
        return;
    }
    for (size_t i = 0; i < TRIGGER && i < n; i++) x[i] = 4;
}

static float flipped(const struct plan *p, float y)
{
    if (p->classes <= 1) return y > 0.5f ? 0 : 1;
    return (uint32_t)y == p->sim.attack_from ? (float)p->sim.attack_to : y;
}

static enum tacit_err poison(const struct plan *p, size_t client,
                             struct dataset *d)
{
    struct examples *e = &d->train;
    float *x, *y;
    struct rng r;
    size_t n_x = e->n_rows * e->x_dim;
    void *copy = NULL;
    TRY(arena_alloc(&d->arena, n_x ? n_x : 1, sizeof *x, &copy));
    x = copy;
    TRY(arena_alloc(&d->arena, e->n_rows ? e->n_rows : 1, sizeof *y, &copy));
    y = copy;
    memcpy(x, e->x, n_x * sizeof *x);
    memcpy(y, e->y, e->n_rows * sizeof *y);
    rng_init(&r, p->seed ^ POISON, client, 0);
    for (size_t i = 0; i < e->n_rows; i++) {
        if (p->sim.attack == PLAN_ATTACK_LABEL_FLIP) {
            y[i] = flipped(p, y[i]);
        } else if (rng_f64(&r) < POISONED) {
            attacks_trigger(p, x + i * e->x_dim, e->x_dim);
            y[i] = (float)p->sim.attack_to;
        }
    }
    e->x = x;
    e->y = y;
    return TACIT_OK;
}

enum tacit_err attacks_rows(const struct plan *p, struct dataset *data,
                            size_t n_clients)
{
    int on_rows = p->sim.attack == PLAN_ATTACK_LABEL_FLIP ||
                  p->sim.attack == PLAN_ATTACK_BACKDOOR;
    if (!on_rows) return TACIT_OK;
    if (p->task != PLAN_CLASSIFY)
        return fail(TACIT_UNSUPPORTED,
                    "this attack changes labels; the plan's task is %s, not "
                    "classify",
                    plan_task_name(p->task));
    for (size_t i = 0; i < n_clients; i++)
        if (attacks_is_attacker(p, i, n_clients)) TRY(poison(p, i, &data[i]));
    return TACIT_OK;
}

static void multiply(float *up, size_t n, double factor)
{
    for (size_t i = 0; i < n; i++) up[i] = (float)((double)up[i] * factor);
}

static double norm(const float *v, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)v[i] * (double)v[i];
    return sqrt(sum);
}

/* A direction of length `length`: the same for all clients who share it. */
static void direction(float *up, size_t n, struct rng *r, double length)
{
    for (size_t i = 0; i < n; i++) up[i] = rng_normal(r);
    double now = norm(up, n);
    multiply(up, n, now > 0 ? length / now : 0);
}

void attacks_update(const struct plan *p, size_t client, uint32_t round,
                    float *up, size_t n)
{
    struct rng r;
    double factor = p->sim.attack_factor;
    switch (p->sim.attack) {
    case PLAN_ATTACK_SIGN_FLIP: multiply(up, n, -factor); break;
    case PLAN_ATTACK_SCALE:
    case PLAN_ATTACK_BACKDOOR: multiply(up, n, factor); break;
    case PLAN_ATTACK_FREE_RIDER:
        rng_init(&r, p->seed ^ NOISE, round, client);
        direction(up, n, &r, norm(up, n) * 0.1);
        break;
    case PLAN_ATTACK_COLLUDE:
        rng_init(&r, p->seed ^ NOISE, 0, 0); /* one for all, in all rounds */
        direction(up, n, &r, norm(up, n) * factor);
        break;
    case PLAN_ATTACK_NAN:
        for (size_t i = 0; i < n; i++) up[i] = NAN;
        break;
    default: break;
    }
}
