#include "sims/handset.h"

#include <math.h>
#include <string.h>

#include "common/base/rng.h"

#define DAY_MS    (24 * 3600 * (int64_t)1000)
#define CHARGE_MS (8 * 3600 * (int64_t)1000)

enum { PROFILE = 0x70726f66, FATE = 0x66617465 };

static double lognormal(struct rng *r, double median, double sd)
{
    double z = (double)rng_normal(r);
    return median * exp(sd * z);
}

void handset_of(const struct plan *p, size_t client, struct handset *out)
{
    const struct plan_sim *s = &p->sim;
    struct rng r;
    rng_init(&r, p->seed ^ PROFILE, client, 0);
    double speed = lognormal(&r, s->rows_per_s, s->speed_sd);
    double link = lognormal(&r, 1, s->link_sd);
    *out =
        (struct handset){.rows_per_s = speed,
                         .up_Bps = s->up_mbps * link * 125000,
                         .down_Bps = s->down_mbps * link * 125000,
                         .latency_ms = (int64_t)(s->latency_ms / link + 0.5)};
    out->phase_ms = (int64_t)(rng_f64(&r) * (double)DAY_MS);
    out->on_battery = rng_f64(&r) < s->battery;
    out->skew_s = (int64_t)((double)rng_normal(&r) * s->skew_s);
}

/* Milliseconds into the device's own day. */
static int64_t of_day(const struct handset *d, int64_t now_ms)
{
    return (now_ms + d->phase_ms) % DAY_MS;
}

int64_t handset_available_ms(const struct plan *p, const struct handset *d,
                             int64_t now_ms)
{
    int64_t open = (int64_t)(p->sim.available * (double)DAY_MS);
    int64_t at = of_day(d, now_ms);
    if (open >= DAY_MS) return DAY_MS;
    return at < open ? open - at : 0;
}

/* Half of the late messages are late by less than two seconds; a few by much
 * more. */
static int64_t lateness(struct rng *r)
{
    return (int64_t)(-2000 / M_LN2 * log(1 - rng_f64(r)));
}

void handset_fate(const struct plan *p, size_t client, uint32_t round,
                  unsigned attempt, struct handset_fate *out)
{
    const struct plan_sim *s = &p->sim;
    struct rng r;
    memset(out, 0, sizeof *out);
    rng_init(&r, p->seed ^ FATE, (uint64_t)round << 8 | attempt, client);
    /* Every number is drawn, so that no key shifts those behind it. */
    double straggles = rng_f64(&r), share = rng_f64(&r);
    double drops = rng_f64(&r), crashes = rng_f64(&r);
    uint64_t where = rng_below(&r, HANDSET_STAYS);
    uint64_t falls = rng_below(&r, HANDSET_STAYS);
    out->work = straggles < s->stragglers ? share : 1;
    out->vanishes = HANDSET_STAYS;
    if (crashes < s->crash) {
        out->vanishes = (enum handset_stage)falls;
        out->returns = 1;
    } else if (drops < s->dropout) {
        out->vanishes = (enum handset_stage)where;
    }
    for (int i = 0; i < HANDSET_STAYS; i++) {
        int64_t late = lateness(&r);
        if (rng_f64(&r) < s->delay) out->late_ms[i] = late;
        if (rng_f64(&r) < s->duplicate) out->twice |= 1U << i;
    }
}

static int64_t seconds(double s)
{
    double ms = ceil(s * 1000);
    return ms < 1e15 ? (int64_t)ms : (int64_t)1e15;
}

int64_t handset_train_ms(const struct handset *d, double rows)
{
    return seconds(rows / d->rows_per_s);
}

int64_t handset_up_ms(const struct handset *d, uint64_t bytes)
{
    return seconds((double)bytes / d->up_Bps) + d->latency_ms;
}

int64_t handset_down_ms(const struct handset *d, uint64_t bytes)
{
    return seconds((double)bytes / d->down_Bps) + d->latency_ms;
}

double handset_energy_j(const struct handset *d, const struct handset_cost *c)
{
    double radio_s =
        (double)c->bytes_up / d->up_Bps + (double)c->bytes_down / d->down_Bps;
    return HANDSET_TRAIN_W * c->rows / d->rows_per_s +
           HANDSET_RADIO_W * radio_s;
}

/* Charging time within [0, t) of a device whose day begins with it. */
static int64_t charging(int64_t t)
{
    int64_t days = t / DAY_MS, rest = t % DAY_MS;
    return days * CHARGE_MS + (rest < CHARGE_MS ? rest : CHARGE_MS);
}

double handset_charge(const struct handset *d, double level, int64_t since_ms,
                      int64_t now_ms)
{
    int64_t from = since_ms + d->phase_ms, to = now_ms + d->phase_ms;
    double gained = (double)(charging(to) - charging(from)) / 1000 *
                    HANDSET_CHARGE_W / HANDSET_BATTERY_J;
    double next = level + gained;
    return next < 0 ? 0 : next > 1 ? 1 : next;
}
