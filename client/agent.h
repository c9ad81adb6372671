/*
 * agent: the daemon's loop. It carries out what participate asks: calls over
 * the wire, blobs, training, the ledger, adopting; and it has the clock.
 *
 *   participate_step ──action──> agent ──> session, blobs, trainer, ledger
 *          ^─────────────event────────────────┘
 *
 * One thread; agent_stop() may come from any.
 */
#ifndef TACIT_CLIENT_AGENT_H
#define TACIT_CLIENT_AGENT_H

#include "client/device.h"
#include "common/base/err.h"

struct agent; /* owned */

enum agent_until {
    AGENT_FOREVER,
    AGENT_ROUND,   /* until one round has ended with a model */
    AGENT_FINISHED /* until the coordinator has no plan left */
};

/* d must have joined (E_NOT_JOINED) and is borrowed. */
TACIT_CHECKED enum tacit_err agent_new(struct device *d, struct agent **out);
void agent_free(struct agent *a);
/* Take part. OK when the goal was reached or agent_stop was called; AUTH and
 * UNSUPPORTED where going on would not help; for AGENT_ROUND and AGENT_FINISHED
 * also TIMEOUT after patience_ms without progress, and E_BUDGET_SPENT at once:
 * waiting does not help there. */
TACIT_CHECKED enum tacit_err agent_run(struct agent *a, enum agent_until until,
                                       int64_t patience_ms);
/* End agent_run soon. Not from a signal handler. */
void agent_stop(struct agent *a);

#endif
