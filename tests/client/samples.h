/* Plans over images, vectors and text, and files made in memory, for the tests
 * of their readers. */
#ifndef TACIT_TESTS_CLIENT_SAMPLES_H
#define TACIT_TESTS_CLIENT_SAMPLES_H

#include "tests/check.h"

#include <stdio.h>
#include <string.h>

#include "client/pooled.h"
#include "common/base/buf.h"
#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/plan/plan.h"

/* task, model and the lines of data: behind the source. */
static inline struct plan *data_plan(const char *task, const char *model,
                                     const char *data)
{
    struct plan *p = NULL;
    char text[1024];
    int n = snprintf(text, sizeof text,
                     "name: data\ntask: %s\nmodel: {%s}\n"
                     "data: {source: own, %s}\nseed: 7\n",
                     task, model, data);
    check(n > 0 && (size_t)n < sizeof text);
    check_ok(plan_parse("data.yaml", text, (size_t)n, &p));
    return p;
}

static inline void data_put(const char *folder, const char *name,
                            const struct buf *b, char path[512])
{
    check_ok(file_join(path, 512, folder, name));
    check_ok(file_write(path, b->data, b->len, 0600));
}

/* The recorded message is exactly this one, under this code. */
static inline void data_refused(enum tacit_err err, unsigned id,
                                const char *message)
{
    if (!err) fail_msg("taken, but wanted: %s", message);
    assert_string_equal(err_message(), message);
    check_code(err, id);
}

#endif
