/* tacit key: where the store's key is kept, and keeping it elsewhere. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/cli.h"
#include "client/generator.h"
#include "client/store_key.h"
#include "common/base/codes.h"
#include "common/base/file.h"

enum tacit_err cli_key_source(const char *text, struct store_source *out)
{
    struct store_source s;
    char path[STORE_PLACE_MAX];
    TRY(store_source_parse(text, &s));
    if (s.kind == STORE_FILE && text && strncmp(text, "file:", 5) == 0) {
        TRY(cli_full_path(s.place, path, sizeof path));
        memcpy(s.place, path, sizeof path);
    }
    *out = s;
    return TACIT_OK;
}

static enum tacit_err print_key(const struct options *o, const char *home)
{
    struct store_source s;
    char text[STORE_PLACE_MAX + 16];
    TRY(store_source_of(home, &s));
    store_source_text(&s, text, sizeof text);
    if (cli_json(o))
        return json_print_ok(stdout,
                             json_pack("{s:b, s:s}", "sealed",
                                       s.kind != STORE_PLAIN, "key", text));
    printf("%s%s\n", s.kind ? "sealed; " : "", text);
    return TACIT_OK;
}

/* What a person should not find out too late. */
static void warn(const struct options *o, const struct store_source *to)
{
    switch (to->kind) {
    case STORE_PLAIN:
        cli_hint(o, "The store can now be read by whoever copies it.");
        return;
    case STORE_FILE:
        if (to->place[0] != '/') return;
        cli_hint(o, "Keep a copy of %s: without it nobody can read the store.",
                 to->place);
        return;
    case STORE_KEYRING:
    case STORE_PASSPHRASE:
        cli_hint(o, "Without it nobody can read the store: it cannot be "
                    "replaced.");
    }
}

enum tacit_err cli_key(const struct options *o)
{
    char home[DEVICE_PATH_MAX], keys[DEVICE_PATH_MAX];
    struct store_source to;
    int fd;
    TRY(file_home(home, sizeof home, options_value(o, "home"), "TACIT_HOME",
                  "tacit"));
    TRY(file_join(keys, sizeof keys, home, "keys"));
    if (!file_exists(keys))
        return fail_as(E_NOT_INITIALISED,
                       "%s: no device here; run `tacit init`", home);
    if (o->n_args == 0) return print_key(o, home);
    TRY(cli_key_source(o->args[0], &to));
    TRY(store_hold(home, STORE_ALONE, &fd));
    enum tacit_err err =
        store_key_change(home, &to, options_value(o, "passphrase"),
                         options_value(o, "new-passphrase"));
    /* What was kept of prompts is sealed as the store was. */
    if (!err &&
        file_join(keys, sizeof keys, home, GENERATOR_PROMPTS) == TACIT_OK)
        prompt_cache_clear(keys);
    close(fd);
    if (err) return err;
    warn(o, &to);
    return print_key(o, home);
}
