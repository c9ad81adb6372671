#include "common/model/draft.h"

#include <string.h>

enum { PAUSE = 16 };

/* A guess of which fewer tokens are right costs more than it saves. */
#define WORTH_MIN 0.15
#define MEMORY    0.9
/* After a pause a few guesses show whether it is another place by now. */
#define AGAIN 1.2

void draft_begin(struct draft *d, unsigned most)
{
    *d =
        (struct draft){.most = most < DRAFT_MAX ? most : DRAFT_MAX, .worth = 1};
}

/* Where the last `match` tokens stand for the last time before the end: the
 * place behind them; 0 when nowhere. */
static size_t find(const uint32_t *token, size_t n, size_t match)
{
    const uint32_t *tail = token + n - match;
    for (size_t end = n - 1; end >= match; end--)
        if (memcmp(token + end - match, tail, match * sizeof *tail) == 0)
            return end;
    return 0;
}

size_t draft_guess(struct draft *d, const uint32_t *token, size_t n,
                   uint32_t *out)
{
    if (!d->most) return 0;
    if (d->pause) {
        d->pause--;
        return 0;
    }
    for (size_t match = DRAFT_MATCH_MAX; match >= DRAFT_MATCH_MIN; match--) {
        size_t at = n > match ? find(token, n, match) : 0;
        if (!at) continue;
        size_t many = n - at < d->most ? n - at : d->most;
        memcpy(out, token + at, many * sizeof *out);
        return many;
    }
    return 0;
}

void draft_judge(struct draft *d, size_t n, size_t n_right)
{
    if (!n) return;
    d->worth = MEMORY * d->worth + (1 - MEMORY) * (double)n_right / (double)n;
    if (d->worth >= WORTH_MIN) return;
    d->pause = PAUSE;
    d->worth = AGAIN * WORTH_MIN;
}
