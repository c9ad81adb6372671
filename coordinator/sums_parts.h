/*
 * sums_parts: what sums.c and sums_open.c share. Nobody else includes it.
 */
#ifndef TACIT_COORDINATOR_SUMS_PARTS_H
#define TACIT_COORDINATOR_SUMS_PARTS_H

#include "coordinator/sums.h"

/* Forget a sum and its runner. */
void sums_clear(struct sum *sum);
/* runner_config.commit; ctx is the sum. */
enum tacit_err sums_commit(void *ctx, const struct runner_result *result,
                           struct msg_over *over);
/* Does the plan's rule want a trusted group? */
int sums_is_rooted(const struct job *job);
/* Seat a device that polls while sums are still open; 1 when it got a TASK. */
int sums_join(struct sums *s, int64_t now_ms, struct session *m, uint64_t token,
              const struct message *poll);

#endif
