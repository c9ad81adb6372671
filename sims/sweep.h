/*
 * sweep: a plan in variants. The grid is the product of the axes; each point is
 * the plan's text with some keys set, and runs once for each seed.
 *
 *   --set strategy.kind=fedavg,fedadam --set rounds=10,20 --seeds 3
 *     axes ──product──> 4 variants ──seeds──> 12 runs
 *       OUT/kind-fedavg_rounds-10/seed-1/plan.yaml, run.json, metrics.csv …
 *
 * Every variant is parsed before the first run starts. Runs are processes of
 * their own (`tacit-sim run`), so that one that fails takes no other along.
 */
#ifndef TACIT_SIMS_SWEEP_H
#define TACIT_SIMS_SWEEP_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/digest.h"
#include "common/base/err.h"
#include "common/plan/plan.h"

enum {
    SWEEP_AXES_MAX = 8,
    SWEEP_VALUES_MAX = 64,
    SWEEP_RUNS_MAX = 10000,
    SWEEP_SLUG = 120,
    SWEEP_PATH = 4096
};

struct sweep_axis {
    char *key;                     /* owned */
    char *value[SWEEP_VALUES_MAX]; /* [n], owned */
    size_t n;
};

struct sweep_variant {
    char slug[SWEEP_SLUG];
    char said[256]; /* "strategy.kind=fedavg rounds=10" */
    struct buf text;
    struct plan *plan; /* of the first seed, owned */
};

struct sweep {
    const char *name; /* of the plan's file, borrowed */
    struct sweep_axis axis[SWEEP_AXES_MAX];
    size_t n_axes;
    struct sweep_variant *variants; /* [n_variants], owned */
    size_t n_variants;
    uint32_t n_seeds;
    uint64_t first_seed;
};

/* "key=a,b,[c, d]": commas in brackets, braces and quotes do not part.
 * E_USAGE for no value, an empty one or one that stands twice. */
TACIT_CHECKED enum tacit_err sweep_axis_parse(const char *text,
                                              struct sweep_axis *out);

/* Form and check every variant of the plan text[n]; all faults at once
 * (faults.h). Takes over nothing. LIMIT over SWEEP_RUNS_MAX runs. */
TACIT_CHECKED enum tacit_err sweep_expand(struct sweep *s, const char *text,
                                          size_t n);
/* The plan of variant v with its seed number i, and its hash. */
TACIT_CHECKED enum tacit_err sweep_text(const struct sweep *s, size_t v,
                                        uint32_t i, struct buf *out,
                                        struct digest *hash);
void sweep_release(struct sweep *s);

#endif
