/*
 * plan: the one YAML file that a federation runs, in simulation and in
 * production; checked completely before anything starts.
 *
 *   name: heart-risk
 *   task: classify            # classify | regress | retriever
 *   model: {kind: logistic}   # logistic | linear | mlp | static; hidden: [16]
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
 *   local: {steps: 100, batch: 4, optimizer: sgd, learning_rate: 0.001}
 *   weighting: {by: examples, cap: 1000}        # examples | uniform
 *   clip: 4.0                 # L2 bound of a device's update
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
    PLAN_CLIENTS_MAX = 128       /* complete graph; see crypto/secagg.h */
};

enum plan_task { PLAN_CLASSIFY, PLAN_REGRESS, PLAN_RETRIEVER };
enum plan_weighting { PLAN_BY_EXAMPLES, PLAN_UNIFORM };
enum plan_standardise {
    PLAN_STANDARDISE_SITE,
    PLAN_STANDARDISE_PLAN,
    PLAN_STANDARDISE_NONE
};
enum plan_partition { PLAN_PART_IID, PLAN_PART_SITES };

struct plan_column {
    char name[PLAN_NAME_MAX];
    size_t n_values;                /* 0 = numeric */
    double values[PLAN_VALUES_MAX]; /* categories, one-hot without the first */
    double mean, sd; /* standardise: plan; 0 and 1 unless given */
};

struct plan {
    char name[PLAN_NAME_MAX];
    enum plan_task task;
    char model[PLAN_NAME_MAX]; /* a row of common/model/arch.c: "logistic" … */
    size_t n_hidden;
    uint32_t hidden[PLAN_HIDDEN_MAX];
    uint32_t dim; /* retriever: vector length, 256 by default */

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
    uint32_t local_steps, batch;
    char optimizer[PLAN_NAME_MAX]; /* "sgd", "adam", "adamw" */
    double learning_rate, momentum, weight_decay, temperature;
    enum plan_weighting weighting;
    uint32_t weight_cap;
    double clip;
    uint32_t ring_bits; /* 24 or 32 */
    int64_t stage_deadline_ms, train_deadline_ms;
    uint64_t seed;

    uint32_t sim_clients, sim_rows, sim_threads;
    enum plan_partition sim_partition;
    double sim_dropout; /* chance that a client vanishes in a round */

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
const char *plan_task_name(enum plan_task t);

#endif
