/*
 * strategy: how devices learn apart and how their updates become the next
 * model. One const table; a new strategy is one small file and one row.
 *
 *   device                                      coordinator
 *   begin      where local training starts
 *   gradient   added to every batch gradient
 *   finish     w, global -> up, scalars  ──sum──>  apply    mean -> weights
 *                                          │
 *                  single updates or groups └───>  combine  many -> one mean
 *
 * Everything is arithmetic on flat vectors of n weights: this folder knows no
 * model, no plan and no wire. A sum-type strategy (STRATEGY_SUM) only ever sees
 * weighted means, so it works under secure aggregation as it is. A robust rule
 * (STRATEGY_SINGLES) compares updates with each other: under secure aggregation
 * it runs across the means of groups, and single updates exist only in a
 * simulation without secure aggregation.
 *
 * Notation of the files: x the global weights, y_i a device's weights after K
 * local steps, delta_i = y_i - x, p_i its share of the weights in the sum.
 *
 * Thread rule: pure functions of their arguments; nothing is shared.
 */
#ifndef TACIT_STRATEGY_STRATEGY_H
#define TACIT_STRATEGY_STRATEGY_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

struct params;

enum strategy_flag {
    STRATEGY_SUM = 1,        /* needs only the weighted mean */
    STRATEGY_SINGLES = 2,    /* compares updates, or the means of groups */
    STRATEGY_ASYNC = 4,      /* sums are applied as they come, with staleness */
    STRATEGY_PERSONAL = 8,   /* each device ends with a model of its own */
    STRATEGY_PLAIN_SGD = 16, /* its equations hold for sgd only */
    STRATEGY_CENTRED = 32,   /* combine starts from the last mean (state) */
    STRATEGY_ROOTED = 64,    /* combine wants a trusted update */
    STRATEGY_LOSS = 128      /* finish reads the loss of x */
};

enum {
    STRATEGY_SCALARS_MAX = 2,
    STRATEGY_RANK_MAX = 64 /* FLoRA: of a pair */
};
/* Scalars ride in the secure sum beside the metrics, within this bound. */
#define STRATEGY_SCALAR_LIMIT 64.0

/* The numbers of a plan's strategy: block; a strategy reads those it names. */
struct strategy_config {
    double server_lr;         /* eta_g */
    double momentum;          /* FedAvgM */
    double beta1, beta2, tau; /* FedAdam, FedYogi, FedAdagrad */
    double mu;                /* FedProx */
    double q;                 /* q-FedAvg */
    double alpha;             /* FedDyn */
    double lambda;            /* Ditto */
    double bound;             /* norm bounding, centred clipping: L2 */
    double trim;              /* trimmed mean: share cut from each end */
    double staleness;         /* FedBuff: exponent of 1/(1+s)^a */
    double learning_rate;     /* eta, of the local optimiser */
    double loss_scale;        /* q-FedAvg: loss of a model that knows nothing */
    uint32_t byzantine;       /* Krum, Bulyan: f */
    uint32_t keep;            /* multi-Krum: m; 0 = k - f */
    uint32_t iterations;      /* geometric median, centred clipping */
    uint32_t personal;        /* FedPer: first personal weight's index */
    uint32_t steps;           /* K_ref: local steps of a common device */
    uint64_t seed;            /* FLoRA: of its sketches */
    const struct params *layout; /* FLoRA: of the weights; borrowed */
};

/* The device's side of one local training. */
struct strategy_local {
    const struct strategy_config *c;
    size_t n;            /* weights */
    const float *global; /* [n] x */
    const float *down;   /* [n_down * n] what came with the model */
    const float *state;  /* [n_client * n] kept since the last round */
    float *next_state;   /* [n_client * n] kept once the round is committed */
    int fresh;           /* no state yet: state is all zeros */
    double learning_rate, momentum; /* of the local optimiser */
    uint32_t steps;                 /* K, valid in finish */
    double loss;    /* of x on this device's rows; 0 without STRATEGY_LOSS */
    uint32_t round; /* 1-based */
    uint32_t rank;  /* FLoRA: most that it trains of a pair; 0: all of it */
};

/* The coordinator's side. */
struct strategy_server {
    const struct strategy_config *c;
    size_t n;
    float *weights;        /* [n] in place */
    float *down;           /* [n_down * n] in place */
    float *state;          /* [n_server * n] in place, zeros before round 1 */
    uint32_t round;        /* 1-based */
    uint32_t n_clients;    /* in the mean */
    uint32_t n_population; /* members in all */
    uint32_t staleness;    /* FedBuff: versions since the sum's base */
};

/* What a robust rule combines; rows are borrowed. */
struct strategy_updates {
    const float *const *row; /* [k] of [n] */
    const double *weight;    /* [k] example counts; most rules ignore them */
    size_t k, n;
    const float *root;   /* [n] FLTrust: the trusted update; else NULL */
    const float *centre; /* [n] centred clipping: the last mean; else NULL */
};

struct strategy {
    const char *name;
    const char *paper;
    unsigned flags;
    /* Vectors of n floats: uplink (at least 1), downlink beside the weights,
     * kept by a device, kept by the coordinator. What a device keeps, and what
     * it sends, is of its update before the plan's clip: a clip that honest
     * updates reach makes both differ. */
    unsigned n_up, n_down, n_client, n_server;
    unsigned n_scalars;
    /* Move w [n], a copy of the global weights, to where training starts. */
    void (*begin)(const struct strategy_local *l, float *w);
    /* Add to the gradient g at w. */
    void (*gradient)(const struct strategy_local *l, const float *w, float *g);
    /* Ditto: the same for the second, personal training. */
    void (*personal)(const struct strategy_local *l, const float *w, float *g);
    /* NULL: up = w - global. */
    void (*finish)(const struct strategy_local *l, const float *w, float *up,
                   double *scalars);
    /* NULL with SINGLES: weights += server_lr * mean. */
    void (*apply)(struct strategy_server *s, const float *mean,
                  const double *scalars);
    /* In place of apply, where it wants memory. */
    enum tacit_err (*merge)(struct strategy_server *s, const float *mean);
    /* All rows are finite. E_STRATEGY_FEW when the rule wants more of them. */
    enum tacit_err (*combine)(const struct strategy_config *c,
                              const struct strategy_updates *u, float *mean);
};

/* NOTFOUND names the nearest. */
TACIT_CHECKED enum tacit_err strategy_find(const char *name,
                                           const struct strategy **out);
/* Row i, or NULL past the end. */
const struct strategy *strategy_at(size_t i);
/* Of pairs of low rank; no row of the table: a plan names it by its adapter,
 * and it stands where fedavg would. */
extern const struct strategy strategy_flora;

/* Whether what a device keeps is a whole model, its own. */
int strategy_keeps_model(const struct strategy *s);

/* The two defaults, for hosts: up = w - global; weights += lr * mean. */
void strategy_finish(const struct strategy *s, const struct strategy_local *l,
                     const float *w, float *up, double *scalars);
TACIT_CHECKED enum tacit_err strategy_apply(const struct strategy *st,
                                            struct strategy_server *s,
                                            const float *mean,
                                            const double *scalars);

#endif
