/*
 * fleet_parts: what the files of the fleet share.
 *
 *   fleet.c          clients, rounds and their sums
 *   fleet_cohort.c   who takes part, in which sum
 *   fleet_foresee.c  the timetable of one sum: who is in it, when it ends
 *   fleet_full.c     one sum by the production protocol
 *   fleet_sum.c      the same sum by its arithmetic alone
 *   fleet_learn.c    means of sums, the next model, what devices keep of it
 *   fleet_measure.c  the model on held-out rows
 *   fleet_share.c    the same fleet in several processes
 *   fleet_state.c    what it carries from round to round, as bytes and back
 *
 * Both ways take the timetable's word on when a sum ends, and must agree with
 * it on who is in the sum: so `full` and `sum` learn the same to the bit.
 */
#ifndef TACIT_SIMS_FLEET_PARTS_H
#define TACIT_SIMS_FLEET_PARTS_H

#include "client/participate.h"
#include "client/trainer.h"
#include "common/base/buf.h"
#include "common/base/pool.h"
#include "coordinator/aggregate.h"
#include "coordinator/models.h"
#include "coordinator/runner.h"
#include "sims/fleet.h"
#include "sims/handset.h"
#include "sims/select.h"

/* The simulation has no secrets worth guarding: keys lie in plain memory, so
 * that 100,000 of them do not need as many mappings. */
struct identity {
    struct keys keys;
    uint8_t sign_secret[KEYS_SIGN_SECRET], dh_secret[KEYS_DH_SECRET];
};

/* A client in a sum. */
struct seat {
    size_t client;
    int attacks;
    struct handset device;
    struct handset_fate fate;
    int64_t
        offset_ms[HANDSET_STAYS]; /* from the stage's opening to its message */
    struct handset_cost cost;
    int64_t leaves_ms;     /* it cannot be reached from then on */
    int trusted;           /* FLTrust: its update is part of the root */
    int in_sum;            /* foreseen */
    int trains;            /* foreseen: it gets as far as that */
    double loss;           /* late in training, where it was in the sum */
    struct ring_mean mean; /* singles: its weight and metrics */
    float *row;            /* singles: [n_up * n] its update until it is taken,
                              owned */
    float *next_state;     /* [n_client * n] what it will keep, owned */
    enum tacit_err err;
    unsigned err_id;
    char why[256];
    struct full_seat *full; /* owned; fleet_full.c */
};

/* One sum: a round's, a group's of a round, or a buffer. */
struct sum {
    struct fleet *f;
    uint32_t round; /* as devices are told: of the model it starts from, + 1 */
    unsigned attempt, group;
    uint32_t goal;
    int64_t start_ms, end_ms; /* by the timetable */
    uint32_t base_version;
    struct seat *seats; /* [n_seats], owned */
    size_t n_seats;
    unsigned n_invited, n_inputs;
    int agreed;  /* foreseen: it comes to a sum */
    int singles; /* without secure aggregation: rows in place of a mean */
    /* Once it was run. */
    int committed;
    float *update; /* [n_up * n] the weighted mean, owned */
    struct ring_mean mean;
    char why[256]; /* it failed */
    unsigned why_id;
    struct full_sum *full; /* owned; fleet_full.c */
};

/* A worker's own: one model, one update, one running sum. */
struct worker {
    struct model *model;    /* owned */
    struct trained trained; /* owned */
    uint32_t *y, *sum;      /* [n_coords], owned */
    int used;               /* sum holds something */
};

struct fleet {
    struct fleet_config c;
    struct identity *identities; /* [n_clients], owned; full only */
    struct buf roster;
    struct digest roster_hash;
    struct keys coordinator;
    uint8_t roster_signature[KEYS_SIGNATURE];
    struct pool *pool;
    struct worker *workers; /* [pool_threads], owned */
    struct policy policy;
    struct aggregate *learned;     /* owned: newest weights */
    struct models_version version; /* … and their statement */
    struct buf file; /* of the newest model; empty until it is wanted */
    float **kept; /* [n_clients] what a strategy keeps there, owned; or NULL */
    struct select_client *clients; /* [n_clients], owned */
    float *level;                  /* [n_clients] of batteries, owned */
    int64_t *level_ms;             /* [n_clients] when that was, owned */
    int64_t now_ms;
    struct sum **flying; /* [n_flying] FedBuff: begun, not yet applied */
    size_t n_flying;
    uint32_t n_begun;                       /* FedBuff: sums begun */
    struct sum *landed[FLEET_ATTEMPTS_MAX]; /* FedBuff: in the round in hand */
    size_t n_landed;
    struct fleet_round *told; /* [n_told], owned: every round so far */
    size_t n_told, told_room;
    int is_torn; /* a round failed after its model was adopted */
    struct digest data_hash;
    int has_data_hash;
};

/* What a round changes before it commits, as it was. */
struct fleet_mark {
    uint32_t version, n_begun;
    int64_t now_ms;
    float *level;        /* [n_clients], owned; NULL: no batteries */
    int64_t *level_ms;   /* [n_clients], owned */
    struct sum **flying; /* [n_flying], owned; the sums are the fleet's */
    size_t n_flying;
};

/* 0, or E_INTERRUPTED once the run is to stop. */
TACIT_CHECKED enum tacit_err fleet_stopped(const struct fleet *f);
/* Bytes of one masked (or plain) input, and what else a device sends and
 * fetches in a sum of n. */
void fleet_traffic(const struct fleet *f, size_t n, uint64_t *up,
                   uint64_t *down);

/* A version's file, its hash and signature, which the protocol's messages
 * carry; where there are none, only the file's length, and file stays empty. */
TACIT_CHECKED enum tacit_err fleet_seal(const struct fleet *f,
                                        const struct params *p,
                                        struct models_version *v,
                                        struct buf *file);
void fleet_sum_free(struct sum *s);

/* ---- fleet_cohort.c ---- */
/* Clients for a round, or a buffer: the first n_root are the trusted ones. */
struct cohort {
    uint32_t *list; /* [room], owned by whoever asked */
    size_t n, n_root, room;
};
/* Passes virtual time until enough can be reached: LIMIT when a day is too
 * short for that. n = 0 while too many sit in sums under way. */
TACIT_CHECKED enum tacit_err fleet_cohort(struct fleet *f, uint32_t draw,
                                          unsigned attempt, struct cohort *out);
/* Its group's part of a cohort as a sum that begins now. */
TACIT_CHECKED enum tacit_err fleet_sum_new(struct fleet *f,
                                           const struct cohort *c,
                                           unsigned group, unsigned attempt,
                                           struct sum **out);

/* ---- fleet.c ---- */
/* When an attempt of n sums that were run is over: with the last of them, or
 * with the loss that leaves too few to commit, which ends the others, too. What
 * those spend is counted as if they had gone on: a device hears of the end at
 * its next message. */
int64_t fleet_end_ms(const struct fleet *f, struct sum *const *list,
                     unsigned n);

/* ---- fleet_foresee.c ---- */
/* Fill offsets, costs and outcome of s from its seats' fates. */
TACIT_CHECKED enum tacit_err fleet_foresee(struct sum *s);

/* ---- fleet_full.c ---- */
/* Run s up to its mean, or to its end without one. */
TACIT_CHECKED enum tacit_err fleet_full_run(struct sum *s);
/* The new model is f->version: tell the devices, let them adopt it. */
TACIT_CHECKED enum tacit_err fleet_full_finish(struct sum *s);
void fleet_full_free(struct sum *s);

/* ---- fleet_sum.c ---- */
TACIT_CHECKED enum tacit_err fleet_sum_run(struct sum *s);
/* Train one seat with a worker's model: both ways do it here. */
TACIT_CHECKED enum tacit_err fleet_train(struct sum *s, struct seat *seat,
                                         struct model *m, const float *down,
                                         struct trained *out);

/* ---- fleet_learn.c ---- */
/* The next model of n sums that were run, those that committed: taken, stepped
 * (out->staleness versions late), sealed, adopted; out's metrics are theirs.
 * After an error the model is the one before. */
TACIT_CHECKED enum tacit_err fleet_learn(struct fleet *f,
                                         struct sum *const *list, unsigned n,
                                         struct fleet_round *out);

/* ---- fleet_share.c ---- */
/* Does this process train seat i? */
int fleet_is_mine(const struct fleet *f, size_t i);
TACIT_CHECKED enum tacit_err fleet_share_sum(const struct fleet *f,
                                             uint32_t *sum, size_t n);
/* Losses, failures, kept states and rows of all seats, to all processes. */
TACIT_CHECKED enum tacit_err fleet_share_seats(struct sum *s);
/* The first failure of a seat, with round and client. */
TACIT_CHECKED enum tacit_err fleet_first_failure(const struct sum *s);

/* ---- fleet_state.c ---- */
TACIT_CHECKED enum tacit_err fleet_mark(const struct fleet *f,
                                        struct fleet_mark *out);
/* The round is over; undo: as if it had not begun. */
void fleet_mark_end(struct fleet *f, struct fleet_mark *m, int undo);
/* Room for one more round told. */
TACIT_CHECKED enum tacit_err fleet_tell_room(struct fleet *f);

/* ---- fleet_measure.c ---- */
TACIT_CHECKED enum tacit_err fleet_measure(struct fleet *f,
                                           struct fleet_round *out);

#endif
