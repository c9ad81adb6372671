#include "common/plan/plan_check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"

enum tacit_err plan_wrong(const struct check *c, const char *key,
                          const char *fmt, ...)
{
    char text[512], path[PLAN_NAME_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    snprintf(path, sizeof path, "%s", key);
    unsigned line = yaml_line(c->text, c->n, path);
    char *dot = strrchr(path, '.');
    if (line == 0 && dot) {
        *dot = '\0';
        line = yaml_line(c->text, c->n, path);
    }
    enum tacit_err err =
        line ? fail_as(E_PLAN_VALUE, "%s:%u: %s", c->file, line, text)
             : fail_as(E_PLAN_VALUE, "%s: %s", c->file, text);
    return faults_take(c->faults, err);
}

enum tacit_err plan_integer(const struct check *c, const char *key,
                            const int64_t *v, int64_t min, int64_t max,
                            int64_t fallback, uint32_t *out)
{
    int64_t got = v ? *v : fallback;
    if (got < min || got > max) {
        TRY(plan_wrong(c, key, "%s is %lld; it may be %lld to %lld", key,
                       (long long)got, (long long)min, (long long)max));
        got = got < min ? min : max;
    }
    *out = (uint32_t)got;
    return TACIT_OK;
}

enum tacit_err plan_real(const struct check *c, const char *key,
                         const double *v, double min, double max,
                         double fallback, double *out)
{
    double got = v ? *v : fallback;
    if (!(got >= min && got <= max)) {
        TRY(plan_wrong(c, key, "%s is %g; it may be %g to %g", key, got, min,
                       max));
        got = got < min ? min : max;
    }
    *out = got;
    return TACIT_OK;
}

enum tacit_err plan_choice(const struct check *c, const char *key,
                           const char *text, const char *const *names, size_t n,
                           size_t *out)
{
    char all[512] = "";
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(text, names[i]) == 0) {
            *out = i;
            return TACIT_OK;
        }
        int k = snprintf(all + at, sizeof all - at, "%s%s",
                         i == 0       ? ""
                         : i + 1 == n ? " or "
                                      : ", ",
                         names[i]);
        if (k > 0) at += (size_t)k;
        if (at >= sizeof all) at = sizeof all - 1;
    }
    const char *near = yaml_nearest(text, names, n);
    return plan_wrong(c, key, "%s is \"%s\"; it may be %s%s%s%s", key, text,
                      all, near ? " (did you mean \"" : "", near ? near : "",
                      near ? "\"?)" : "");
}

enum tacit_err plan_duration(const struct check *c, const char *key,
                             const char *text, int64_t fallback_ms,
                             int64_t *out)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
    *out = fallback_ms;
    if (!text) return TACIT_OK;
    /* strtod also knows signs, exponents and nan. */
    size_t number = strspn(text, "0123456789.");
    char *end;
    double v = strtod(text, &end);
    if (end != text + number) number = 0;
    for (size_t i = 0; number > 0 && i < 4; i++) {
        if (strcmp(end, units[i].unit) != 0) continue;
        double ms = v * (double)units[i].ms;
        if (!(ms >= 100 && ms <= 24.0 * 3600000)) break;
        *out = (int64_t)ms;
        return TACIT_OK;
    }
    return plan_wrong(c, key,
                      "%s is \"%s\"; it may be 100ms to 24h, as in 30s or 10m",
                      key, text);
}
