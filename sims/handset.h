/*
 * handset: the virtual devices of a simulation: how fast each is, when it can
 * be reached, and what befalls it in a round. Everything is a pure function of
 * (plan, client, round, attempt), so that no order of events changes it; only
 * the charge of a battery is carried along.
 *
 *   profile   speed, link, hours, battery; lognormal around the plan's medians
 *   fate      how much of its steps it makes, where it vanishes, what is late
 *
 * Energy is an estimate for a phone: 3 W while it trains (half a large core's
 * budget), 1 W while its radio sends or receives. A battery holds 40 kJ (11 Wh)
 * and charges with 10 W in the device's own eight hours of each day; below 30 %
 * it takes no part.
 */
#ifndef TACIT_SIMS_HANDSET_H
#define TACIT_SIMS_HANDSET_H

#include <stdint.h>

#include "common/plan/plan.h"

#define HANDSET_TRAIN_W   3.0
#define HANDSET_RADIO_W   1.0
#define HANDSET_CHARGE_W  10.0
#define HANDSET_BATTERY_J 40000.0
#define HANDSET_LEVEL_MIN 0.3

struct handset {
    double rows_per_s; /* rows through forward and backward */
    double up_Bps, down_Bps;
    int64_t latency_ms;
    int64_t phase_ms; /* where its day begins */
    int on_battery;
    int64_t skew_s; /* of its clock */
};

void handset_of(const struct plan *p, size_t client, struct handset *out);
/* How long it stays reachable, 0 when it is not; at most a day. (Whether its
 * battery allows: handset_charge.) */
int64_t handset_available_ms(const struct plan *p, const struct handset *d,
                             int64_t now_ms);

/* Where in a round a device vanishes: before it sends this. */
enum handset_stage {
    HANDSET_POLL,
    HANDSET_ADVERT,
    HANDSET_SHARES,
    HANDSET_UPLOAD,
    HANDSET_INPUT,
    HANDSET_CONSISTENCY,
    HANDSET_REVEAL,
    HANDSET_STAYS
};

struct handset_fate {
    double work;                    /* share of its local steps */
    enum handset_stage vanishes;    /* HANDSET_STAYS: never */
    int returns;                    /* a crash: it polls again, secrets lost */
    int64_t late_ms[HANDSET_STAYS]; /* how much later each message arrives */
    unsigned twice;                 /* bit per stage: the message comes twice */
};
void handset_fate(const struct plan *p, size_t client, uint32_t round,
                  unsigned attempt, struct handset_fate *out);

/* What a device spends on a round. */
struct handset_cost {
    double rows; /* trained: steps times batch */
    uint64_t bytes_up, bytes_down;
};
int64_t handset_train_ms(const struct handset *d, double rows);
int64_t handset_up_ms(const struct handset *d, uint64_t bytes);
int64_t handset_down_ms(const struct handset *d, uint64_t bytes);
double handset_energy_j(const struct handset *d, const struct handset_cost *c);

/* A battery's level after the time since `since_ms`, charging in its hours. */
double handset_charge(const struct handset *d, double level, int64_t since_ms,
                      int64_t now_ms);

#endif
