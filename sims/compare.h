/*
 * compare: many runs, told as variants of a plan: mean and standard deviation
 * over seeds.
 *
 *   folders ──> records ──> groups              same plan but for the seed
 *                             └─ label          the keys in which groups differ
 *                             └─ figures        mean ± sd (n - 1) over its runs
 *
 * Only finished runs count. What was left out, and why, is told.
 */
#ifndef TACIT_SIMS_COMPARE_H
#define TACIT_SIMS_COMPARE_H

#include <stddef.h>
#include <stdio.h>

#include "common/base/digest.h"
#include "common/base/err.h"
#include "common/base/json.h"
#include "sims/runlog.h"

enum {
    COMPARE_RUNS_MAX = 20000,
    COMPARE_DEPTH_MAX = 6,
    COMPARE_KEYS_MAX = 8, /* columns that tell groups apart */
    COMPARE_VALUE = 64,
    COMPARE_PATH = 4096
};

enum compare_figure {
    COMPARE_METRIC,
    COMPARE_BEST,
    COMPARE_WORST,
    COMPARE_TARGET_ROUNDS,
    COMPARE_TARGET_TIME,
    COMPARE_VIRTUAL,
    COMPARE_BYTES,
    COMPARE_ENERGY,
    COMPARE_WALL,
    COMPARE_FIGURES
};

struct compare_stat {
    size_t n;        /* runs that have this figure */
    double mean, sd; /* NaN: none; sd needs two */
};

struct compare_run {
    char folder[COMPARE_PATH];
    struct runlog record;
    struct digest key; /* of the plan without its seed, and the data */
    size_t group;
};

struct compare_group {
    size_t first; /* a run of it */
    size_t n;
    char value[COMPARE_KEYS_MAX][COMPARE_VALUE];
    struct compare_stat figure[COMPARE_FIGURES];
    int is_best;
};

struct compare {
    struct compare_run *runs; /* [n_runs], owned */
    size_t n_runs, runs_cap;
    struct compare_group *groups; /* [n_groups], owned */
    size_t n_groups;
    char key[COMPARE_KEYS_MAX][COMPARE_VALUE]; /* what is here before grouping
                                                  is shown in any case */
    size_t n_keys;
    double target;    /* NaN: none */
    json_t *left_out; /* [{folder, why}], owned */
};

TACIT_CHECKED enum tacit_err compare_init(struct compare *c, double target);
void compare_release(struct compare *c);
/* A run's folder, or one that holds such, COMPARE_DEPTH_MAX deep. NOTFOUND when
 * there is none below it. */
TACIT_CHECKED enum tacit_err compare_add(struct compare *c, const char *folder);
/* Form the groups, in the order in which their first runs were added. NOTFOUND
 * when no run is finished. */
TACIT_CHECKED enum tacit_err compare_group(struct compare *c);

/* The table for a person. */
void compare_print(FILE *f, const struct compare *c);
/* The same for a program; owned by the caller, NULL when out of memory. */
json_t *compare_json(const struct compare *c);
/* A page with the table and the curves of the best six, ± one sd. */
TACIT_CHECKED enum tacit_err compare_page(const struct compare *c,
                                          const char *path);

#endif
