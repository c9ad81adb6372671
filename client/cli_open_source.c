/* `tacit open N`: the n-th source of the last answer, by a program that people
 * have for it. The path is one argument of that program, never part of a
 * command line. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/cli.h"
#include "client/feedback.h"
#include "client/shown.h"
#include "common/base/codes.h"
#include "common/base/file.h"
#include "retrieval/corpus.h"

enum { PROGRAM_BYTES_MAX = 256, SOURCE_MAX = 1000 };

/* Run a program to its end; its exit status, or -1. */
static int run(char *const argv[])
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        execvp(argv[0], argv);
        _exit(127);
    }
    if (pid < 0) return -1;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int by_display(char *path)
{
    char program[] = "xdg-open";
    char *argv[] = {program, path, NULL};
    const char *x = getenv("DISPLAY"), *wayland = getenv("WAYLAND_DISPLAY");
    if (!(x && *x) && !(wayland && *wayland)) return 0;
    return run(argv) == 0;
}

/* $PAGER as one program's name: words behind it would need a shell. A path
 * never begins with '-' or '+', so it is not taken for an option. */
static int by_pager(char *path, uint32_t line)
{
    char program[PROGRAM_BYTES_MAX], at[32];
    const char *pager = getenv("PAGER");
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) return 0;
    if (!pager || !*pager) pager = "less";
    if (strlen(pager) >= sizeof program || strchr(pager, ' ')) return 0;
    snprintf(program, sizeof program, "%s", pager);
    snprintf(at, sizeof at, "+%" PRIu32, line ? line : 1);
    const char *name = strrchr(program, '/');
    name = name ? name + 1 : program;
    int knows_lines = strcmp(name, "less") == 0 || strcmp(name, "more") == 0;
    char *with_line[] = {program, at, path, NULL};
    char *plain[] = {program, path, NULL};
    return run(knows_lines ? with_line : plain) == 0;
}

static enum tacit_err show(const struct options *o, int number, char *path,
                           const struct feedback_source *s)
{
    if (cli_json(o))
        return json_print_ok(stdout, json_pack("{s:i, s:s, s:I, s:I}", "number",
                                               number, "path", path, "page",
                                               (json_int_t)s->page, "line",
                                               (json_int_t)s->line));
    if (by_display(path) || by_pager(path, s->line)) return TACIT_OK;
    shown_path(path);
    printf(":%" PRIu32, s->line);
    if (s->page) printf(" (page %" PRIu32 ")", s->page);
    putchar('\n');
    return TACIT_OK;
}

enum tacit_err cli_open_source(const struct options *o)
{
    struct device d;
    struct feedback_source s;
    char path[CORPUS_PATH_MAX], *end;
    long number = strtol(o->args[0], &end, 10);
    if (*end || end == o->args[0] || number < 1 || number > SOURCE_MAX)
        return fail_as(E_USAGE, "\"%.40s\" is not a source's number",
                       o->args[0]);
    TRY(cli_open_to_read(o, &d));
    enum tacit_err err =
        feedback_last(&d.db, (int)number, path, sizeof path, &s);
    device_close(&d);
    if (err) return err;
    if (path[0] != '/' || !file_exists(path))
        return fail_as(E_DOCUMENT_MISSING, "%s is not there any more", path);
    return show(o, (int)number, path, &s);
}
