#include "sims/attacks.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/rng.h"

enum { CHOOSE = 0x61747461, NOISE = 0x6e6f6973, POISON = 0x706f6973 };
enum { TRIGGER = 4, CORNER = 3 };
#define POISONED 0.5 /* share of a backdoor attacker's rows */

/* The finaliser of SplitMix64. */
static uint64_t mix(uint64_t v)
{
    v = (v ^ v >> 30) * 0xbf58476d1ce4e5b9U;
    v = (v ^ v >> 27) * 0x94d049bb133111ebU;
    return v ^ v >> 31;
}

/* The place of i in a seeded permutation of [0, n): four Feistel rounds on the
 * smallest even number of bits that holds n, repeated while outside. */
static uint64_t place_of(uint64_t seed, uint64_t i, uint64_t n)
{
    unsigned half = 1;
    while (n > (uint64_t)1 << 2 * half) half++;
    uint64_t mask = ((uint64_t)1 << half) - 1;
    do {
        uint64_t left = i >> half, right = i & mask;
        for (uint64_t k = 0; k < 4; k++) {
            uint64_t f = mix(mix(seed + k) ^ right);
            uint64_t next = left ^ (f & mask);
            left = right;
            right = next;
        }
        i = left << half | right;
    } while (i >= n);
    return i;
}

int attacks_is_attacker(const struct plan *p, size_t client, size_t n_clients)
{
    size_t n_trusted = p->strategy.trusted;
    if (p->sim.attack == PLAN_ATTACK_NONE || client < n_trusted) return 0;
    uint64_t n = n_clients - n_trusted;
    uint64_t j = place_of(p->seed ^ CHOOSE, client - n_trusted, n);
    return (double)(j + 1) <= (double)n * p->sim.attack_share + 1e-9;
}

/* The corner at the lower right of every channel. */
static void mark_image(const struct plan *p, float *x, size_t n)
{
    size_t h = p->height, w = p->width;
    for (size_t c = 0; (c + 1) * h * w <= n; c++)
        for (size_t i = 0; i < CORNER && i < h; i++)
            for (size_t j = 0; j < CORNER && j < w; j++)
                x[(c * h + h - 1 - i) * w + w - 1 - j] = 1;
}

void attacks_trigger(const struct plan *p, float *x, size_t n)
{
    if (p->format == PLAN_IMAGES) {
        mark_image(p, x, n);
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
    if (n_x) memcpy(x, e->x, n_x * sizeof *x);
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

static enum tacit_err check_labels(const struct plan *p)
{
    uint32_t n = p->classes > 1 ? p->classes : 2;
    const struct plan_sim *s = &p->sim;
    int reads_from = s->attack == PLAN_ATTACK_LABEL_FLIP && p->classes > 1;
    if (s->attack_to >= n || (reads_from && s->attack_from >= n))
        return fail_as(E_PLAN_VALUE,
                       "sim.attack.%s is %u; the labels of plan %s are 0 to %u",
                       s->attack_to >= n ? "to" : "from",
                       s->attack_to >= n ? s->attack_to : s->attack_from,
                       p->name, n - 1);
    if (reads_from && s->attack_from == s->attack_to)
        return fail_as(E_PLAN_VALUE,
                       "sim.attack.from and to are both %u: nothing is flipped",
                       s->attack_to);
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
    if (p->sim.attack == PLAN_ATTACK_BACKDOOR && plan_has_base(p))
        return fail(TACIT_UNSUPPORTED,
                    "a backdoor's trigger is for numbers and images; plan %s "
                    "learns from texts",
                    p->name);
    TRY(check_labels(p));
    for (size_t i = 0; i < n_clients; i++)
        if (attacks_is_attacker(p, i, n_clients)) TRY(poison(p, i, &data[i]));
    return TACIT_OK;
}

/* What a float cannot hold saturates: an attacker who wants to be refused sends
 * NaN. */
static void multiply(float *up, size_t n, double factor)
{
    for (size_t i = 0; i < n; i++) {
        double v = (double)up[i] * factor;
        up[i] = (float)(v > FLT_MAX ? FLT_MAX : v < -FLT_MAX ? -FLT_MAX : v);
    }
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
