#include "common/base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/json.h"
#include "common/base/tick.h"
#include "common/base/utf8.h"

static enum log_level threshold = LOG_INFO;
static enum log_format format = LOG_LOGFMT;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void log_setup(enum log_level level, enum log_format form)
{
    threshold = level;
    format = form;
}

static const char *level_name(enum log_level level)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    return names[level];
}

/* The quotes that stand in a caller's format, as opposed to those in a value,
 * are QUOTE until the line is written: a value cannot end itself. */
enum { LINE_BYTES = 1024, QUOTE = 1 };

/* Format into out[LINE_BYTES]. Where the format's own quotes lie is known from
 * the length of what stands in front of each. */
static void format_fields(char *out, const char *fmt, va_list ap)
{
    char raw[LINE_BYTES], front[LINE_BYTES];
    va_list again;
    va_copy(again, ap);
    vsnprintf(raw, sizeof raw, fmt, again);
    va_end(again);
    for (char *p = raw; *p; p++)
        if (*p == QUOTE) *p = '?';
    size_t used = 0;
    for (const char *q = strchr(fmt, '"'); q; q = strchr(q + 1, '"')) {
        int n = (int)(q - fmt);
        if (n >= LINE_BYTES) break;
        memcpy(front, fmt, (size_t)n);
        front[n] = '\0';
        va_copy(again, ap);
        int at = vsnprintf(NULL, 0, front, again);
        va_end(again);
        if (at < 0 || at >= LINE_BYTES - 1) break;
        raw[at] = QUOTE;
    }
    /* Everything between two of them is made harmless by itself. */
    for (char *part = raw; part;) {
        char *end = strchr(part, QUOTE);
        if (end) *end = '\0';
        used += utf8_printable(out + used, LINE_BYTES - used, part);
        if (end && used + 1 < LINE_BYTES) out[used++] = QUOTE;
        part = end ? end + 1 : NULL;
    }
    out[used] = '\0';
}

/* Next name=value pair of a line; 0 at the end. Cuts the line up in place. */
static int next_pair(char **at, char **name, char **value)
{
    char *p = *at + strspn(*at, " ");
    char *eq = strchr(p, '=');
    if (!*p || !eq) return 0;
    *eq = '\0';
    *name = p;
    p = eq + 1;
    char stop = *p == QUOTE ? QUOTE : ' ';
    if (stop == QUOTE) p++;
    *value = p;
    char *end = strchr(p, stop);
    if (end) *end = '\0';
    *at = end ? end + 1 : p + strlen(p);
    return 1;
}

static void write_json(enum log_level level, const char *time,
                       const char *event, char *fields)
{
    char *name, *value;
    json_t *line = json_pack("{s:s,s:s,s:s}", "time", time, "level",
                             level_name(level), "event", event);
    if (!line) return;
    while (next_pair(&fields, &name, &value))
        json_object_set_new(line, name, json_string(value));
    json_dumpf(line, stderr, JSON_COMPACT | JSON_PRESERVE_ORDER);
    fputc('\n', stderr);
    json_decref(line);
}

/* Quotes and backslashes of a value get a backslash. */
static void write_logfmt(enum log_level level, const char *time,
                         const char *event, const char *fields)
{
    char line[2 * LINE_BYTES];
    size_t n = 0;
    int quoted = 0;
    for (const char *p = fields; *p; p++) {
        if (*p == QUOTE) quoted = !quoted;
        if (*p == '"' || (quoted && *p == '\\')) line[n++] = '\\';
        line[n++] = *p == QUOTE ? '"' : *p;
    }
    if (quoted) line[n++] = '"'; /* the end was cut off */
    line[n] = '\0';
    fprintf(stderr, "time=%s level=%s event=%s%s%s\n", time, level_name(level),
            event, n ? " " : "", line);
}

void log_event(enum log_level level, const char *event, const char *fmt, ...)
{
    char fields[LINE_BYTES], time[21];
    if (level > threshold) return;
    va_list ap;
    va_start(ap, fmt);
    format_fields(fields, fmt, ap);
    va_end(ap);
    tick_iso8601(tick_wall_s(), time);
    pthread_mutex_lock(&lock);
    if (format == LOG_JSON)
        write_json(level, time, event, fields);
    else
        write_logfmt(level, time, event, fields);
    pthread_mutex_unlock(&lock);
}
