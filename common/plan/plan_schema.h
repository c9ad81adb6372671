/*
 * plan_schema: the plan file as YAML has it, before it is checked. A key that
 * is absent is a NULL pointer, so that defaults are given in one place.
 */
#ifndef TACIT_PLAN_PLAN_SCHEMA_H
#define TACIT_PLAN_PLAN_SCHEMA_H

#include <stdint.h>

#include "common/base/yaml.h"

struct raw_model {
    char *kind;
    int64_t *hidden;
    unsigned n_hidden;
    int64_t *dim, *classes, *layers, *heads;
    char *norm, *encoder;
};
struct raw_base {
    char *name, *hash;
};
struct raw_adapter {
    char *kind;
    int64_t *rank;
    double *alpha;
    char **targets;
    unsigned n_targets;
};
struct raw_column {
    char *name;
    double *values;
    unsigned n_values;
    double *mean, *sd;
};
struct raw_data {
    char *source, *label, *event, *format;
    int64_t *channels, *height, *width, *length, *classes;
    double *positive_above;
    struct raw_column *columns;
    unsigned n_columns;
    char *standardise;
    double *holdout;
};
struct raw_cohort {
    int64_t *size, *min_reports;
    double *over_select;
};
struct raw_local {
    int64_t *steps, *epochs, *batch;
    int64_t *hard_negatives, *memory_mib;
    char *optimizer, *numbers;
    double *learning_rate, *momentum, *weight_decay, *temperature;
    double *epsilon;
    int64_t *seeds;
};
struct raw_weighting {
    char *by;
    int64_t *cap;
};
struct raw_secagg {
    char *mode;
    int64_t *ring_bits;
};
struct raw_deadline {
    char *stage, *train;
};
struct raw_strategy {
    char *kind;
    double *server_learning_rate, *momentum, *beta1, *beta2, *tau, *mu, *q,
        *alpha, *lambda, *bound, *trim, *staleness;
    int64_t *byzantine, *keep, *iterations, *personal, *groups, *concurrent,
        *trusted;
};
struct raw_privacy {
    char *unit, *noise;
    double *epsilon, *delta, *clip, *sample;
    int64_t *colluders, *retries;
};
struct raw_attack {
    char *kind;
    double *share, *factor;
    int64_t *from, *to;
};
struct raw_devices {
    double *rows_per_s, *speed_sd, *up_mbps, *down_mbps, *link_sd, *latency_ms,
        *available, *battery, *delay, *duplicate, *crash, *skew_s;
};
struct raw_sim {
    int64_t *clients, *rows, *threads, *labels, *evaluate_every,
        *checkpoint_every;
    char *partition, *protocol, *column, *sizes, *selection, *held_out;
    double *dropout, *stragglers, *alpha, *shift, *a, *b;
    int64_t *ranks;
    unsigned n_ranks;
    struct raw_attack *attack;
    struct raw_devices *devices;
};
struct raw_plan {
    char *name, *task;
    struct raw_model *model;
    struct raw_base *base;
    struct raw_adapter *adapter;
    struct raw_data *data;
    int64_t *rounds;
    struct raw_cohort *cohort;
    struct raw_strategy *strategy;
    struct raw_local *local;
    struct raw_weighting *weighting;
    double *clip;
    struct raw_privacy *privacy;
    struct raw_secagg *secagg;
    struct raw_deadline *deadline;
    int64_t *seed;
    struct raw_sim *sim;
};

extern const cyaml_schema_value_t plan_schema;

#endif
