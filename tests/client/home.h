/* A home in a folder of its own, and a model's file among its blobs. */
#ifndef TACIT_TESTS_CLIENT_HOME_H
#define TACIT_TESTS_CLIENT_HOME_H

#include "tests/check.h"

#include <stdio.h>

#include "client/device.h"
#include "common/base/rng.h"
#include "common/model/model.h"
#include "common/model/safetensors.h"
#include "common/wire/blob.h"

static char dir[256], home[300];

/* As a person makes and opens one who says nothing of keys. */
static inline enum tacit_err device_init(const char *at)
{
    return device_init_with(at, NULL, NULL);
}

static inline enum tacit_err device_open(struct device *d, const char *at)
{
    return device_open_with(d, at, NULL);
}

static inline int home_begin(void **state)
{
    (void)state;
    rng_setup();
    check_tmpdir(dir);
    snprintf(home, sizeof home, "%s/a/home", dir);
    check_ok(device_init(home));
    return 0;
}

static inline int home_end(void **state)
{
    (void)state;
    check_tmpdir_remove(dir);
    return 0;
}

/* The hash of m's file, which lies among d's blobs now. */
static inline struct digest home_put_model(struct device *d, struct model *m)
{
    struct digest hash;
    struct buf b;
    buf_init(&b, 0);
    check_ok(safetensors_encode(model_params(m), NULL, &b));
    check_ok(blob_put(d->blobs, b.data, b.len, &hash));
    buf_release(&b);
    return hash;
}

/* A retriever's plan over a model ("static, dim: 16"), its text among d's blobs
 * as a device has it. Owned by the caller. */
static inline struct plan *home_put_plan(struct device *d, const char *model,
                                         const char *strategy)
{
    char text[300];
    struct plan *p = NULL;
    struct digest hash;
    int n = snprintf(text, sizeof text,
                     "name: guide\ntask: retriever\nmodel: {kind: %s}\n"
                     "data: {source: pairs}\nrounds: 3\n"
                     "cohort: {size: 3, min_reports: 3}\n"
                     "strategy: {kind: %s}\n",
                     model, strategy);
    check_ok(plan_parse("plan", text, (size_t)n, &p));
    check_ok(blob_put(d->blobs, text, (size_t)n, &hash));
    check(digest_equal(&hash, &p->hash));
    return p;
}

#endif
