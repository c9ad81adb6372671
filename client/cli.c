#include "client/cli.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/base/terminal.h"

static enum tacit_err find_home(const struct options *o,
                                char out[DEVICE_PATH_MAX])
{
    return file_home(out, DEVICE_PATH_MAX, options_value(o, "home"),
                     "TACIT_HOME", "tacit");
}

enum tacit_err cli_open(const struct options *o, struct device *d)
{
    char home[DEVICE_PATH_MAX];
    TRY(find_home(o, home));
    return device_open_with(d, home, options_value(o, "passphrase"));
}

enum tacit_err cli_open_to_read(const struct options *o, struct device *d)
{
    char home[DEVICE_PATH_MAX];
    TRY(find_home(o, home));
    return device_open_to_read(d, home, options_value(o, "passphrase"));
}

enum progress_mode cli_progress(const struct options *o)
{
    return options_flag(o, "quiet") || cli_json(o) ? PROGRESS_QUIET
                                                   : PROGRESS_AUTO;
}

void cli_hint(const struct options *o, const char *fmt, ...)
{
    va_list ap;
    if (cli_progress(o) == PROGRESS_QUIET) return;
    fflush(stdout); /* a hint comes behind what it is about */
    va_start(ap, fmt);
    terminal_vsay(stderr, 0, fmt, ap);
    va_end(ap);
}

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    interrupted = number;
}

static void install(int flags)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = flags};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

void cli_catch_interrupt(void)
{
    /* Once: a second Ctrl-C ends the program at once, which loses only the
     * transaction it is in. */
    install((int)SA_RESETHAND);
}

void cli_watch_interrupt(void)
{
    if (interrupted != SIGTERM) interrupted = 0;
    install(0);
}

int cli_interrupted(void)
{
    return interrupted;
}

const char *cli_size(uint64_t bytes, char out[32])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double v = (double)bytes;
    size_t u = 0;
    for (; v >= 1024 && u < 4; u++) v /= 1024;
    snprintf(out, 32, u ? "%.1f %s" : "%.0f %s", v, units[u]);
    return out;
}

/* Without resolving links: a document is the path that a person gave. */
enum tacit_err cli_full_path(const char *name, char *out, size_t cap)
{
    char cwd[DEVICE_PATH_MAX * 4];
    size_t n = strlen(name);
    /* Of a script's variable that is not set: not the current folder. */
    if (n == 0) return fail_as(E_USAGE, "a path is empty; `.` is this folder");
    while (n > 1 && name[n - 1] == '/') n--;
    char *clean = strndup(name, n);
    if (!clean) return fail(TACIT_NOMEM, "no memory for a path");
    enum tacit_err err = TACIT_OK;
    const char *rest = clean;
    while (strncmp(rest, "./", 2) == 0) rest += 2;
    if (*rest == '/')
        err = file_join(out, cap, "/", rest + strspn(rest, "/"));
    else if (!getcwd(cwd, sizeof cwd))
        err = fail(TACIT_IO, "the current folder: %s", strerror(errno));
    else if (strcmp(rest, ".") == 0)
        err = file_join(out, cap, cwd, "");
    else
        err = file_join(out, cap, cwd, rest);
    free(clean);
    if (err) return err;
    for (n = strlen(out); n > 1 && out[n - 1] == '/'; n--) out[n - 1] = '\0';
    return TACIT_OK;
}
