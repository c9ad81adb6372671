#include "common/base/tick.h"

#include <stddef.h>
#include <stdio.h>
#include <time.h>

static struct {
    int64_t (*ms)(void *);
    int64_t (*wall_s)(void *);
    void *ctx;
} virtual_clock;

static int64_t real_ns(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t tick_ms(void)
{
    if (virtual_clock.ms) return virtual_clock.ms(virtual_clock.ctx);
    return real_ns(CLOCK_BOOTTIME) / 1000000;
}

int64_t tick_ns(void)
{
    return real_ns(CLOCK_MONOTONIC);
}

int64_t tick_wall_s(void)
{
    if (virtual_clock.wall_s) return virtual_clock.wall_s(virtual_clock.ctx);
    return (int64_t)time(NULL);
}

void tick_iso8601(int64_t wall_s, char out[21])
{
    struct tm tm;
    time_t t = (time_t)wall_s;
    if (!gmtime_r(&t, &tm) || strftime(out, 21, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        snprintf(out, 21, "-");
}

void tick_override(int64_t (*ms)(void *), int64_t (*wall_s)(void *), void *ctx)
{
    virtual_clock.ms = ms;
    virtual_clock.wall_s = wall_s;
    virtual_clock.ctx = ctx;
}
