#include "coordinator/strategy.h"

#include <string.h>

/* McMahan et al., algorithm 1, the server's line: w <- w + lr * mean. */
static void fedavg_apply(float *weights, const float *mean, size_t n, double lr)
{
    for (size_t i = 0; i < n; i++)
        weights[i] = (float)((double)weights[i] + lr * (double)mean[i]);
}

static const struct strategy strategies[] = {
    {"fedavg", fedavg_apply},
};
enum { N_STRATEGIES = sizeof strategies / sizeof strategies[0] };

enum tacit_err strategy_find(const char *name, const struct strategy **out)
{
    for (size_t i = 0; i < N_STRATEGIES; i++) {
        if (strcmp(strategies[i].name, name) != 0) continue;
        *out = &strategies[i];
        return TACIT_OK;
    }
    return fail(TACIT_NOTFOUND, "no strategy `%.32s`; there is: %s", name,
                strategies[0].name);
}

const struct strategy *strategy_at(size_t i)
{
    return i < N_STRATEGIES ? &strategies[i] : NULL;
}
