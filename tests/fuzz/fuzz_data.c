/* Any bytes as images, labels, arrays or lines of text: refused with a message,
 * or rows that a model of the plan can use. The first byte chooses the reader
 * and the plan, the second where the first file ends and the next begins. */
#include <assert.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "client/data_idx.h"
#include "client/data_jsonl.h"
#include "client/data_npy.h"
#include "client/examples.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever failed says what, and is forgotten. */
static void check_refused(enum tacit_err err)
{
    assert(err == TACIT_FORMAT || err == TACIT_LIMIT || err == TACIT_SHAPE ||
           err == TACIT_STATE);
    assert(err_message()[0] != '\0' && err_id() != 0);
    err_clear();
}

static void check_rows(const struct plan *plan, const struct examples *e)
{
    size_t n = e->n_rows * e->y_dim;
    assert(e->x_dim == plan->n_features);
    for (size_t i = 0; i < e->n_rows * e->x_dim; i++) {
        assert(isfinite(e->x[i]));
        if (plan->format == PLAN_TEXT)
            assert(e->x[i] >= 0 && e->x[i] < PLAN_VOCABULARY);
    }
    for (size_t i = 0; i < n; i++) {
        assert(isfinite(e->y[i]));
        if (plan->task != PLAN_REGRESS)
            assert(e->y[i] >= 0 && e->y[i] < (float)plan->classes);
    }
}

static void check_pooled(const struct plan *plan, struct pooled *p)
{
    struct dataset d;
    size_t n = p->n_rows;
    assert(p->y_dim == (plan->format == PLAN_TEXT ? plan->length : 1));
    for (size_t i = 0; p->client && i < n; i++)
        assert(p->client[i] < p->n_clients &&
               p->client_name[p->client[i]] != NULL);
    enum tacit_err err = examples_from_pooled(plan, "fuzz", p, &d);
    if (err) {
        check_refused(err);
        return;
    }
    assert(d.train.n_rows >= 1 && d.train.n_rows + d.test.n_rows == n);
    check_rows(plan, &d.train);
    check_rows(plan, &d.test);
    dataset_release(&d);
}

static struct buf copy(const uint8_t *data, size_t n)
{
    struct buf b;
    buf_init(&b, 0);
    buf_put(&b, data, n);
    assert(buf_end(&b) == TACIT_OK);
    return b;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct plan plan = {.name = "fuzz", .classes = 10, .holdout = 0.3};
    struct pooled p;
    if (size < 2) return 0;
    unsigned way = data[0] % 5;
    size_t cut = 2 + (size - 2) * data[1] / 255;
    struct buf a = copy(data + 2, cut - 2);
    struct buf b = copy(data + cut, size - cut);
    plan.task = way == 3 ? PLAN_REGRESS : way == 4 ? PLAN_LM : PLAN_CLASSIFY;
    plan.format = way == 4 ? PLAN_TEXT : way & 1 ? PLAN_VECTORS : PLAN_IMAGES;
    plan.channels = plan.height = 1 + data[0] / 5 % 3;
    plan.width = 2;
    plan.length = 4;
    plan.n_features = way == 4  ? plan.length
                      : way & 1 ? plan.width
                                : plan.channels * plan.height * plan.width;
    if (way == 4) plan.classes = PLAN_VOCABULARY;
    enum tacit_err err;
    if (way == 4)
        err = jsonl_parse(&plan, "a", &a, &p);
    else if (way < 2)
        err = idx_parse(&plan, "a", &a, "b", &b, &p);
    else
        err = npy_parse(&plan, "a", &a, "b", &b, &p);
    if (err)
        check_refused(err);
    else
        check_pooled(&plan, &p);
    buf_release(&a);
    buf_release(&b);
    return 0;
}
