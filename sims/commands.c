#include "sims/commands.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/base/yaml_edit.h"
#include "common/plan/plan_schema.h"

atomic_int sim_stop;

static void on_signal(int number)
{
    atomic_store(&sim_stop, number);
}

void sim_catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

int sim_is_quiet(const struct options *o)
{
    return options_flag(o, "json") || options_flag(o, "quiet");
}

enum tacit_err sim_plan_set(const char *name, struct buf *text, const char *key,
                            const char *value)
{
    struct buf out;
    TRY(yaml_known(&plan_schema, key));
    buf_init(&out, PLAN_BYTES_MAX);
    enum tacit_err err =
        yaml_set(name, (const char *)text->data, text->len, key, value, &out);
    if (err) {
        buf_release(&out);
        return err;
    }
    buf_release(text);
    *text = out;
    return TACIT_OK;
}

static enum tacit_err set_one(const char *name, struct buf *text,
                              const char *setting)
{
    char key[YAML_PATH_MAX];
    const char *equals = strchr(setting, '=');
    size_t n = equals ? (size_t)(equals - setting) : 0;
    if (n == 0 || n >= sizeof key)
        return fail_as(E_USAGE,
                       "--set %s: key=value is wanted, as in "
                       "local.learning_rate=0.1",
                       setting);
    snprintf(key, sizeof key, "%.*s", (int)n, setting);
    return err_context(sim_plan_set(name, text, key, equals + 1), "--set");
}

enum tacit_err sim_plan_text(const struct options *o, struct buf *text)
{
    const char *name = o->args[0], *setting;
    buf_init(text, PLAN_BYTES_MAX);
    TRY(file_read(name, PLAN_BYTES_MAX, text));
    TRY(buf_end(text));
    for (size_t i = 0; (setting = options_value_at(o, "set", i)); i++)
        TRY(set_one(name, text, setting));
    return TACIT_OK;
}
