/* log: one whole line per event, and no value can add fields of its own. */
#include "tests/base/capture.h"

#include <pthread.h>
#include <string.h>

#include "common/base/json.h"
#include "common/base/log.h"
#include "common/base/tick.h"

static int64_t fixed_wall(void *ctx)
{
    (void)ctx;
    return 1767225600;
}

static int64_t fixed_ms(void *ctx)
{
    (void)ctx;
    return 0;
}

#define AT "time=2026-01-01T00:00:00Z "
/* What the log wrote during `statement`, in text[4096]. */
#define WRITTEN(form, statement)                                               \
 do {                                                                          \
  struct capture c_;                                                           \
  tick_override(fixed_ms, fixed_wall, NULL);                                   \
  log_setup(LOG_INFO, (form));                                                 \
  capture_begin(&c_);                                                          \
  statement;                                                                   \
  capture_end(&c_, text, sizeof text);                                         \
  tick_override(NULL, NULL, NULL);                                             \
 } while (0)

static char text[70000];

static void a_line_has_time_level_event_and_fields(void **state)
{
    (void)state;
    WRITTEN(LOG_LOGFMT, log_event(LOG_INFO, "round_committed",
                                  "round=%u plan=\"%s\"", 3, "heart risk"));
    assert_string_equal(text, AT "level=info event=round_committed round=3 "
                                 "plan=\"heart risk\"\n");
    WRITTEN(LOG_LOGFMT, log_event(LOG_ERROR, "stopped", "%s", ""));
    assert_string_equal(text, AT "level=error event=stopped\n");
}

static void json_has_the_same_members(void **state)
{
    (void)state;
    json_t *line = NULL;
    WRITTEN(LOG_JSON, log_event(LOG_WARN, "late", "round=%u name=\"%s\" x=%s",
                                7, "ward 3", "y"));
    check_ok(json_parse(text, strlen(text), &line));
    check(json_object_size(line) == 6);
    static const char *const want[][2] = {{"time", "2026-01-01T00:00:00Z"},
                                          {"level", "warn"},
                                          {"event", "late"},
                                          {"round", "7"},
                                          {"name", "ward 3"},
                                          {"x", "y"}};
    for (size_t i = 0; i < 6; i++)
        assert_string_equal(json_string_value(
                                json_object_get(line, want[i][0])),
                            want[i][1]);
    json_decref(line);
}

static void what_is_below_the_threshold_is_not_written(void **state)
{
    (void)state;
    WRITTEN(LOG_LOGFMT, log_event(LOG_DEBUG, "detail", "x=%d", 1));
    assert_string_equal(text, "");
}

static void a_value_cannot_end_itself(void **state)
{
    (void)state;
    static const char hostile[] = "a\" level=error event=\"fake\\\nb\x01\xff";
    WRITTEN(LOG_LOGFMT,
            log_event(LOG_INFO, "peer", "name=\"%s\" n=%d", hostile, 5));
    assert_string_equal(text,
                        AT "level=info event=peer name=\"a\\\" level=error "
                           "event=\\\"fake\\\\?b??\" n=5\n");
    json_t *line = NULL;
    WRITTEN(LOG_JSON,
            log_event(LOG_INFO, "peer", "name=\"%s\" n=%d", hostile, 5));
    check_ok(json_parse(text, strlen(text), &line));
    check(json_object_size(line) == 5);
    assert_string_equal(json_string_value(json_object_get(line, "level")),
                        "info");
    assert_string_equal(json_string_value(json_object_get(line, "name")),
                        "a\" level=error event=\"fake\\?b??");
    assert_string_equal(json_string_value(json_object_get(line, "n")), "5");
    json_decref(line);
}

static void a_long_line_is_cut_but_whole(void **state)
{
    (void)state;
    static char value[3000];
    memset(value, 'v', sizeof value - 1);
    WRITTEN(LOG_LOGFMT, log_event(LOG_INFO, "big", "v=\"%s\" w=1", value));
    check(strlen(text) < 1200 && text[strlen(text) - 1] == '\n');
    check(text[strlen(text) - 2] == '"');
    memset(value, '"', sizeof value - 1);
    WRITTEN(LOG_LOGFMT, log_event(LOG_INFO, "big", "v=\"%s\"", value));
    check(strlen(text) < 2300);
    json_t *line = NULL;
    WRITTEN(LOG_JSON, log_event(LOG_INFO, "big", "v=\"%s\"", value));
    check_ok(json_parse(text, strlen(text), &line));
    json_decref(line);
}

static void *chatter(void *arg)
{
    for (int i = 0; i < 100; i++)
        log_event(LOG_INFO, "chatter", "thread=%s", (const char *)arg);
    return NULL;
}

static void run_threads(void)
{
    static char names[4][2] = {"0", "1", "2", "3"};
    pthread_t t[4];
    int n = 0;
    while (n < 4 && pthread_create(&t[n], NULL, chatter, names[n]) == 0) n++;
    while (n > 0) pthread_join(t[--n], NULL);
}

static void lines_of_many_threads_stay_whole(void **state)
{
    (void)state;
    unsigned n = 0;
    WRITTEN(LOG_LOGFMT, run_threads());
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        static const char want[] = AT "level=info event=chatter thread=";
        check(strncmp(line, want, sizeof want - 1) == 0);
        check(strlen(line) == sizeof want);
        n++;
    }
    check(n == 400);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_has_time_level_event_and_fields),
        cmocka_unit_test(json_has_the_same_members),
        cmocka_unit_test(what_is_below_the_threshold_is_not_written),
        cmocka_unit_test(a_value_cannot_end_itself),
        cmocka_unit_test(a_long_line_is_cut_but_whole),
        cmocka_unit_test(lines_of_many_threads_stay_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
