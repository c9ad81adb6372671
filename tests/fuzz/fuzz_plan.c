/* Any bytes as a plan: refused with a message, or taken with values that keep
 * to their bounds. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "common/base/err.h"
#include "common/plan/plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct plan *p = NULL;
    if (plan_parse("fuzz.yaml", (const char *)data, size, &p) != TACIT_OK) {
        assert(!p && err_message()[0] != '\0' && err_id() != 0);
        err_clear();
        return 0;
    }
    uint32_t least = p->secagg_off ? 1 : 2;
    assert(p->rounds >= 1 && p->rounds <= 100000);
    assert(p->cohort_size >= least && p->cohort_size <= PLAN_COHORT_MAX);
    assert(p->min_reports >= least && p->min_reports <= p->cohort_size);
    assert(p->clip > 0 && p->learning_rate > 0 && p->over_select >= 1);
    assert(p->ring_bits == 24 || p->ring_bits == 32);
    assert(p->n_columns <= PLAN_COLUMNS_MAX);
    assert(plan_has_base(p) ? p->length >= 8 : p->n_features >= 1);
    assert(p->n_features <= (size_t)PLAN_COLUMNS_MAX * PLAN_VALUES_MAX);
    assert(p->stage_deadline_ms >= 100 && p->train_deadline_ms >= 100);
    plan_free(p);
    return 0;
}
