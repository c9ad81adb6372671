/*
 * plan: the one YAML file that a federation runs, in simulation and in
 * production; checked completely before anything starts.
 *
 *   name: heart-risk
 *   task: classify            # classify | regress | cox | lm | retriever |
 *                             # reader
 *   model: {kind: logistic}   # logistic | softmax | linear | cox | mlp | cnn |
 *                             # gru | lstm | transformer | static
 *   base: {name: minilm, hash: 1f…}   # in place of model: a network that
 *   adapter: {kind: ffa, rank: 8}     # devices have; only adapters travel
 *   data:
 *     source: patients        # the device's policy maps it to a file
 *     label: disease          # classify, regress: the column
 *     columns:
 *       - {name: age, mean: 54, sd: 9}
 *       - {name: cp, values: [1, 2, 3, 4]}      # one-hot, first dropped
 *     standardise: plan       # plan (mean and sd above) | none | site (each
 *                             # device's own train mean and sd)
 *     holdout: 0.34           # share of rows kept for testing, never trained
 *   rounds: 15
 *   cohort: {size: 4, min_reports: 3, over_select: 1.3}
 *   strategy: {kind: fedavg}  # a row of common/strategy, with its numbers
 *   local: {steps: 100, batch: 4, optimizer: sgd, learning_rate: 0.001}
 *                             # optimizer: mezo learns by forward passes, and
 *                             # only local.seeds numbers travel
 *   weighting: {by: examples, cap: 1000}        # examples | uniform
 *   clip: 4.0                 # L2 bound of a device's update
 *   privacy: {epsilon: 8, …}  # in place of clip: noise in the sum, per row
 *   secagg: {ring_bits: 32}   # 24 | 32
 *   deadline: {stage: 30s, train: 10m}          # ms, s, m, h
 *   seed: 42
 *   sim: {clients: 100, partition: iid, …}      # simulation only
 *
 * `plan_hash` is BLAKE2b of the exact file bytes: every device sees, checks and
 * signs the same text.
 */
#ifndef TACIT_PLAN_PLAN_H
#define TACIT_PLAN_PLAN_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/digest.h"
#include "common/base/err.h"

enum {
    PLAN_BYTES_MAX = 64 << 10,
    PLAN_NAME_MAX = 64,
    PLAN_COLUMNS_MAX = 256,
    PLAN_VALUES_MAX = 64,
    PLAN_HIDDEN_MAX = 8,
    PLAN_WEIGHTS_MAX = 64 << 20, /* as many as an update carries */
    PLAN_CLIENTS_MAX = 128,      /* complete graph; see crypto/secagg.h */
    PLAN_COHORT_MAX = 4096,      /* in all groups, or without masks */
    PLAN_GROUPS_MAX = 256,
    PLAN_SEEDS_MAX = 1 << 16,
    PLAN_RANKS_MAX = 16,
    PLAN_PAIRS_MAX = 512, /* updates of which every pair is compared */
    PLAN_VOCABULARY = 96  /* printable ASCII, and one for all else */
};

enum plan_task {
    PLAN_CLASSIFY,
    PLAN_REGRESS,
    PLAN_RETRIEVER,
    PLAN_COX,
    PLAN_LM,
    PLAN_READER
};
enum plan_format { PLAN_TABLE, PLAN_VECTORS, PLAN_IMAGES, PLAN_TEXT };
enum plan_weighting { PLAN_BY_EXAMPLES, PLAN_UNIFORM };
enum plan_standardise {
    PLAN_STANDARDISE_SITE,
    PLAN_STANDARDISE_PLAN,
    PLAN_STANDARDISE_NONE
};
enum plan_partition {
    PLAN_PART_IID,
    PLAN_PART_SITES,
    PLAN_PART_DIRICHLET,
    PLAN_PART_LABELS,
    PLAN_PART_COLUMN,
    PLAN_PART_SHIFT
};
enum plan_selection {
    PLAN_SELECT_UNIFORM,
    PLAN_SELECT_WEIGHTED,
    PLAN_SELECT_AVAILABLE,
    PLAN_SELECT_OORT,
    PLAN_SELECT_CYCLIC
};
/* Whose rows are those that are held out? Unless the plan says: of images, and
 * where the data brings a test set, all clients' in common; else each client's
 * own. */
enum plan_held_out { PLAN_HELD_AS_USUAL, PLAN_HELD_COMMON, PLAN_HELD_OWN };
enum plan_attack {
    PLAN_ATTACK_NONE,
    PLAN_ATTACK_LABEL_FLIP,
    PLAN_ATTACK_SIGN_FLIP,
    PLAN_ATTACK_SCALE,
    PLAN_ATTACK_BACKDOOR,
    PLAN_ATTACK_FREE_RIDER,
    PLAN_ATTACK_COLLUDE,
    PLAN_ATTACK_NAN
};

struct plan_column {
    char name[PLAN_NAME_MAX];
    size_t n_values;                /* 0 = numeric */
    double values[PLAN_VALUES_MAX]; /* categories, one-hot without the first */
    double mean, sd; /* standardise: plan; 0 and 1 unless given */
};

/* How updates become the next model: a row of common/strategy. What a kind does
 * not read is 0. */
struct plan_strategy {
    char kind[PLAN_NAME_MAX];
    double server_lr, momentum, beta1, beta2, tau, mu, q, alpha, lambda, bound,
        trim, staleness;
    uint32_t byzantine, keep, iterations;
    uint32_t personal;   /* FedPer: last layers that stay on the device */
    uint32_t groups;     /* 0: one sum; else the rule runs across groups */
    uint32_t concurrent; /* FedBuff: buffers under way at once */
    uint32_t trusted;    /* FLTrust: the first clients, or to enrol */
    int compares;        /* a robust rule: wants single updates or groups */
    int personalises;
};

/* What is trained of a network that devices have (common/model/tuned.h). */
enum plan_adapter { PLAN_FFA, PLAN_LORA, PLAN_FULL, PLAN_FLORA };
struct plan_base {
    char name[PLAN_NAME_MAX]; /* "": the plan has no base */
    struct digest hash;       /* of its file on devices */
    enum plan_adapter adapter;
    uint32_t rank;
    double alpha;
    unsigned targets; /* matrices of a block, as bits of net.h's net_target */
    /* Where the host has bases: a folder of files named by their hash, or the
     * one file; set by the host after plan_parse(), borrowed. NULL: nowhere. */
    const char *where;
};

/* What the model may tell about one row, and how (common/privacy). */
struct plan_privacy {
    int record; /* 0: the plan has no privacy block */
    double epsilon, delta;
    double clip;        /* L2 bound of one row's gradient */
    double noise;       /* times the clip, of the whole sum; 0: worked out */
    double sample;      /* chance that a row takes part in a round */
    uint32_t colluders; /* devices that may tell others of their noise */
    uint32_t retries;   /* uploads of a device beyond one per round */
};

/* Simulation only. */
struct plan_sim {
    uint32_t clients, rows, threads;
    int sum_only; /* protocol: sum */
    double a, b;  /* vectors: spread of the models, spread of the inputs */
    enum plan_partition partition;
    double alpha;               /* dirichlet */
    uint32_t labels;            /* labels per client */
    char column[PLAN_NAME_MAX]; /* natural */
    double shift;               /* sd of each client's own offset of x */
    int power_sizes;
    enum plan_held_out held_out;
    double dropout;    /* chance that a client vanishes in a round */
    double stragglers; /* share of a cohort that does only part of its steps */
    enum plan_selection selection;
    enum plan_attack attack;
    double attack_share, attack_factor;
    uint32_t attack_from, attack_to; /* labels: flip, backdoor */
    uint32_t evaluate_every, checkpoint_every;
    /* Devices: medians, and the sd of the logarithm between devices. */
    double rows_per_s, speed_sd, up_mbps, down_mbps, link_sd, latency_ms;
    double available; /* share of the time that a device is reachable */
    double battery;   /* share of the devices that run on a battery */
    double delay, duplicate, crash; /* chances per message, message, round */
    double skew_s;                  /* sd of a device's clock */
    uint32_t ranks[PLAN_RANKS_MAX]; /* flora: of clients, in turn */
    size_t n_ranks;                 /* 0: all have the plan's */
};

struct plan {
    char name[PLAN_NAME_MAX];
    enum plan_task task;
    char model[PLAN_NAME_MAX]; /* a row of common/model/arch.c: "logistic" … */
    size_t n_hidden;
    uint32_t hidden[PLAN_HIDDEN_MAX];
    uint32_t dim;             /* retriever: vector length, 256 by default */
    uint32_t classes;         /* 1: one probability; else one logit per class */
    uint32_t layers, heads;   /* transformer */
    char norm[PLAN_NAME_MAX]; /* cnn: "none", "batch", "group" */
    /* static: version of the built-in encoder whose vectors are trained; "":
     * not said, which only a simulation may. */
    char encoder[PLAN_NAME_MAX];

    unsigned formats; /* bits of what the model can read */
    enum plan_format format;
    uint32_t channels, height, width; /* images; vectors: width */
    uint32_t length; /* text: characters of a window; base: tokens of a row */
    char event[PLAN_NAME_MAX]; /* cox: column, 1 = it happened */

    char source[PLAN_NAME_MAX];
    char label[PLAN_NAME_MAX];
    double label_positive_above; /* classify: label > this is 1; default 0 */
    size_t n_columns;
    struct plan_column *columns; /* [n_columns], owned */
    enum plan_standardise standardise;
    double holdout;

    uint32_t rounds;
    uint32_t cohort_size, min_reports;
    double over_select;
    uint32_t local_steps, local_epochs, batch; /* one of the first two is 0 */
    char optimizer[PLAN_NAME_MAX]; /* "sgd", "adam", "adamw", "mezo" */
    double epsilon;                /* mezo: how far it looks */
    uint32_t seeds;                /* mezo: directions; 0: all weights travel */
    double learning_rate, momentum, weight_decay, temperature;
    uint32_t hard_negatives; /* retriever: of each question */
    int fast;                /* with a base: bf16 where a processor has it */
    uint32_t memory_mib;     /* with a base: bound of a training; 0: none */
    enum plan_weighting weighting;
    uint32_t weight_cap;
    double clip;
    uint32_t ring_bits; /* 24 or 32 */
    int64_t stage_deadline_ms, train_deadline_ms;
    uint64_t seed;

    int secagg_off; /* only a simulation may */
    struct plan_strategy strategy;
    struct plan_base base;
    struct plan_privacy privacy;
    struct plan_sim sim;

    struct digest hash; /* of the file's bytes */
    size_t n_features;  /* inputs after one-hot; derived */
};

/* Parse and check text[n]; name is used in messages ("risk.yaml:9: …").
 * FORMAT with E_PLAN_VALUE or a code of yaml.h, or LIMIT; the message names the
 * line, the key, its value and what may stand there, for every fault of the
 * plan (faults.h). A key that would change nothing is an error too. */
TACIT_CHECKED enum tacit_err plan_parse(const char *name, const char *text,
                                        size_t n, struct plan **out);
TACIT_CHECKED enum tacit_err plan_load(const char *path, struct plan **out);
void plan_free(struct plan *p);
/* Strategy number i as plans may name it, or NULL past the end. */
const char *plan_strategy_name(size_t i);
const char *plan_task_name(enum plan_task t);
/* 1 when it trains an adapter of a network that devices have. */
int plan_has_base(const struct plan *p);

#endif
