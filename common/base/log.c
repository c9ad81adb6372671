#include "common/base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

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

/* Next name=value pair of a logfmt line; 0 at the end. A quoted value ends at
 * the next quote. Cuts the line up in place. */
static int next_pair(char **at, char **name, char **value)
{
    char *p = *at + strspn(*at, " ");
    char *eq = strchr(p, '=');
    if (!*p || !eq) return 0;
    *eq = '\0';
    *name = p;
    p = eq + 1;
    char stop = *p == '"' ? '"' : ' ';
    if (stop == '"') p++;
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

void log_event(enum log_level level, const char *event, const char *fmt, ...)
{
    char raw[1024], fields[sizeof raw], time[21];
    if (level > threshold) return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(raw, sizeof raw, fmt, ap);
    va_end(ap);
    utf8_printable(fields, sizeof fields, raw);
    tick_iso8601(tick_wall_s(), time);
    pthread_mutex_lock(&lock);
    if (format == LOG_JSON)
        write_json(level, time, event, fields);
    else
        fprintf(stderr, "time=%s level=%s event=%s%s%s\n", time,
                level_name(level), event, *fields ? " " : "", fields);
    pthread_mutex_unlock(&lock);
}
