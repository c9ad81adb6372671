/* Any bytes as a policy: refused with a message, or taken with values that keep
 * to their bounds and that hold against a round. */
#include <assert.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "client/policy.h"
#include "common/base/codes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_bounds(const struct policy *p)
{
    assert(p->tasks != 0);
    assert(p->min_cohort >= 2 && p->min_cohort <= PLAN_CLIENTS_MAX);
    assert(isfinite(p->clip_max) && p->clip_max > 0);
    assert(p->updates <= INT64_MAX && p->updates_per_day <= INT64_MAX);
    assert(p->from_minute >= 0 && p->from_minute < 24 * 60);
    assert(p->to_minute >= 0 && p->to_minute < 24 * 60);
    assert(p->n_sources <= POLICY_SOURCES_MAX);
    for (size_t i = 0; i < p->n_sources; i++) {
        const struct policy_source *s = &p->sources[i];
        assert(memchr(s->name, '\0', sizeof s->name));
        assert(memchr(s->path, '\0', sizeof s->path) && s->path[0] == '/');
        assert(policy_path(p, s->name) == s->path);
    }
}

/* A round is allowed only within every bound. */
static void check_rules(const struct policy *p)
{
    const struct policy_spent none = {0, 0}, all = {p->updates, 0},
                              today = {0, p->updates_per_day};
    int n_open = 0;
    for (int task = PLAN_CLASSIFY; task <= PLAN_RETRIEVER; task++) {
        struct plan plan = {.task = (enum plan_task)task, .clip = p->clip_max};
        if (p->n_sources)
            memcpy(plan.source, p->sources[0].name, sizeof plan.source);
        for (int minute = 0; minute < 24 * 60; minute += 7) {
            enum tacit_err err =
                policy_allow(p, &plan, p->min_cohort, &none, minute);
            if (err) {
                assert(err_id() == E_POLICY_REFUSED ||
                       err_id() == E_BUDGET_SPENT);
                err_clear();
                continue;
            }
            n_open++;
            assert(p->tasks >> task & 1);
            assert(task == PLAN_RETRIEVER || p->n_sources > 0);
            assert(policy_allow(p, &plan, p->min_cohort - 1, &none, minute));
            err_clear();
            assert(policy_allow(p, &plan, p->min_cohort, &all, minute));
            err_clear();
            assert(policy_allow(p, &plan, p->min_cohort, &today, minute));
            err_clear();
            plan.clip = nextafter(p->clip_max, INFINITY);
            assert(policy_allow(p, &plan, p->min_cohort, &none, minute));
            err_clear();
            plan.clip = p->clip_max;
        }
    }
    assert(n_open == 0 || (p->updates > 0 && p->updates_per_day > 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct policy p;
    if (policy_parse("fuzz.yaml", (const char *)data, size, &p) != TACIT_OK) {
        assert(err_message()[0] != '\0' && err_id() != 0);
        err_clear();
        return 0;
    }
    check_bounds(&p);
    check_rules(&p);
    return 0;
}
