/*
 * tick: time, injectable so that a simulation runs under a virtual clock.
 *
 * Decisions use the monotonic milliseconds; wall time is for people and for
 * invites' expiry only. Nothing on a device trusts the wall clock.
 */
#ifndef TACIT_BASE_TICK_H
#define TACIT_BASE_TICK_H

#include <stdint.h>

/* Monotonic milliseconds that go on during suspend (CLOCK_BOOTTIME). */
int64_t tick_ms(void);
/* Monotonic nanoseconds, for measuring. */
int64_t tick_ns(void);
/* Seconds since 1970-01-01 UTC. */
int64_t tick_wall_s(void);
/* "2026-01-31T12:00:00Z" for wall seconds, into out[21]. */
void tick_iso8601(int64_t wall_s, char out[21]);

/* Replace both clocks (ms since start, wall seconds); NULL restores the real
 * ones. Test and simulation only; call before threads start. */
void tick_override(int64_t (*ms)(void *), int64_t (*wall_s)(void *), void *ctx);

#endif
