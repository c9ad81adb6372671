#include "client/keyring.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/base/codes.h"
#include "common/base/digest.h"
#include "common/base/tick.h"
#include "common/crypto/secret.h"

enum { TEXT_MAX = 64, NO_PROGRAM = 127, NAP_MS = 5 };

/* Put input [n_in] in, take at most TEXT_MAX bytes out. Sockets, not pipes: a
 * child that is gone gives an error, no signal. */
static enum tacit_err talk(int fd, const char *input, size_t n_in, char *output,
                           size_t *n_out, int64_t until_ms)
{
    size_t n = 0;
    /* A child that is gone says why by how it ended. */
    if (n_in && send(fd, input, n_in, MSG_NOSIGNAL) < 0 && errno != EPIPE)
        return fail_as(E_KEYRING, "secret-tool: %s", strerror(errno));
    shutdown(fd, SHUT_WR);
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        char past;
        int64_t left = until_ms - tick_ms();
        if (left <= 0 || poll(&p, 1, (int)left) == 0)
            return fail_as(E_KEYRING, "the keyring did not answer in %d s",
                           KEYRING_WAIT_MS / 1000);
        ssize_t got = n < TEXT_MAX ? recv(fd, output + n, TEXT_MAX - n, 0)
                                   : recv(fd, &past, 1, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        if (n == TEXT_MAX)
            return fail_as(E_KEYRING, "what the keyring holds is no key");
        n += (size_t)got;
    }
    *n_out = n;
    return TACIT_OK;
}

static enum tacit_err wait_for(pid_t child, int64_t until_ms, int *status)
{
    for (;;) {
        pid_t p = waitpid(child, status, WNOHANG);
        if (p == child) return TACIT_OK;
        if (p < 0 && errno != EINTR)
            return fail_as(E_KEYRING, "secret-tool: %s", strerror(errno));
        if (tick_ms() >= until_ms)
            return fail_as(E_KEYRING, "secret-tool did not end");
        struct timespec nap = {.tv_nsec = NAP_MS * 1000000L};
        nanosleep(&nap, NULL);
    }
}

static _Noreturn void be_child(int fd, char *const args[])
{
    if (dup2(fd, STDIN_FILENO) < 0 || dup2(fd, STDOUT_FILENO) < 0)
        _exit(NO_PROGRAM);
    execvp(args[0], args);
    _exit(NO_PROGRAM);
}

static enum tacit_err judge(int status, int *exit_code)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == NO_PROGRAM)
        return fail_as(E_KEYRING, "secret-tool is not here: install the Debian "
                                  "package libsecret-tools");
    *exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return TACIT_OK;
}

/* Run secret-tool; *exit_code is its own. */
static enum tacit_err run(char *const args[], const char *input, size_t n_in,
                          char *output, size_t *n_out, int *exit_code)
{
    int fd[2], status = 0;
    int64_t until_ms = tick_ms() + KEYRING_WAIT_MS;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) != 0)
        return fail_as(E_KEYRING, "secret-tool: %s", strerror(errno));
    pid_t child = fork();
    if (child == 0) be_child(fd[1], args);
    close(fd[1]);
    if (child < 0) {
        close(fd[0]);
        return fail_as(E_KEYRING, "secret-tool: %s", strerror(errno));
    }
    enum tacit_err err = talk(fd[0], input, n_in, output, n_out, until_ms);
    close(fd[0]);
    if (!err) err = wait_for(child, until_ms, &status);
    if (!err) return judge(status, exit_code);
    kill(child, SIGKILL);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    return err;
}

struct call {
    char id[2 * SLOT_ID + 1];
    char *args[8];
};

static void prepare(struct call *c, const uint8_t id[SLOT_ID], char *verb,
                    char *label)
{
    static char program[] = "secret-tool", name[] = "application",
                value[] = "tacit", store[] = "store";
    size_t n = 0;
    hex_encode(c->id, id, SLOT_ID);
    memset(c->args, 0, sizeof c->args);
    c->args[n++] = program;
    c->args[n++] = verb;
    if (label) c->args[n++] = label;
    c->args[n++] = name;
    c->args[n++] = value;
    c->args[n++] = store;
    c->args[n++] = c->id;
}

enum tacit_err keyring_store(const uint8_t id[SLOT_ID],
                             const uint8_t key[SEAL_KEY])
{
    static char verb[] = "store", label[] = "--label=Tacit: key of a store";
    struct call c;
    char nothing[TEXT_MAX], *text;
    size_t n = 0;
    int code = 0;
    prepare(&c, id, verb, label);
    TRY(secret_alloc(TEXT_MAX, &text));
    base64url_encode(text, TEXT_MAX, key, SEAL_KEY);
    enum tacit_err err = run(c.args, text, strlen(text), nothing, &n, &code);
    secret_free(text);
    if (!err && code != 0)
        err = fail_as(E_KEYRING,
                      "the keyring did not take the key "
                      "(secret-tool ended with %d)",
                      code);
    return err;
}

enum tacit_err keyring_lookup(const uint8_t id[SLOT_ID], uint8_t *key)
{
    static char verb[] = "lookup";
    struct call c;
    char *text;
    size_t n = 0, n_key = 0;
    int code = 0;
    prepare(&c, id, verb, NULL);
    TRY(secret_alloc(TEXT_MAX + 1, &text));
    enum tacit_err err = run(c.args, NULL, 0, text, &n, &code);
    while (n && (text[n - 1] == '\n' || text[n - 1] == '\r')) n--;
    text[n] = '\0';
    if (!err && (code != 0 || n == 0))
        err = fail_as(E_STORE_KEY_MISSING,
                      "the keyring has no key for this store, or is locked");
    if (!err &&
        (base64url_decode(key, SEAL_KEY, &n_key, text) || n_key != SEAL_KEY)) {
        err_clear();
        err = fail_as(E_KEYRING, "what the keyring holds is no key");
    }
    secret_free(text);
    return err;
}

enum tacit_err keyring_clear(const uint8_t id[SLOT_ID])
{
    static char verb[] = "clear";
    struct call c;
    char nothing[TEXT_MAX];
    size_t n = 0;
    int code = 0;
    prepare(&c, id, verb, NULL);
    return run(c.args, NULL, 0, nothing, &n, &code);
}
