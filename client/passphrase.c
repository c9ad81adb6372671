#include "client/passphrase.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "common/base/codes.h"
#include "common/crypto/secret.h"
#include "common/crypto/slot.h"

enum { CTRL_C = 3 };

void passphrase_release(struct passphrase *p)
{
    secret_free(p->text);
    *p = (struct passphrase){0};
}

/* The first line of fd, byte by byte: what follows it is for somebody else. */
static enum tacit_err read_line(int fd, const char *name, struct passphrase *p)
{
    for (;;) {
        char c;
        ssize_t n = read(fd, &c, 1);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail(TACIT_IO, "%s: %s", name, strerror(errno));
        if (n == 0 || c == '\n') break;
        if (c == CTRL_C)
            return fail_as(E_INTERRUPTED, "no passphrase was given");
        if (p->n == SLOT_PASSPHRASE_MAX)
            return fail(TACIT_LIMIT, "%s: a passphrase has at most %d bytes",
                        name, SLOT_PASSPHRASE_MAX);
        p->text[p->n++] = c;
    }
    if (p->n && p->text[p->n - 1] == '\r') p->n--;
    return TACIT_OK;
}

static enum tacit_err from_file(const char *path, struct passphrase *p)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return fail_as(E_STORE_KEY_MISSING, "the passphrase's file %s: %s",
                       path, strerror(errno));
    enum tacit_err err = TACIT_OK;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        err = fail(TACIT_UNSUPPORTED, "%s: not a regular file", path);
    else if (st.st_mode & 077)
        err = fail_as(E_KEYS_READABLE,
                      "%s: others may read this passphrase; run: chmod 600 %s",
                      path, path);
    if (!err) err = read_line(fd, path, p);
    close(fd);
    return err;
}

/* Without echo, and with Ctrl-C as a letter, so that the terminal is put right
 * before the program ends. */
static enum tacit_err ask_terminal(const char *ask, struct passphrase *p)
{
    struct termios old, quiet;
    int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (fd < 0 || tcgetattr(fd, &old) != 0) {
        if (fd >= 0) close(fd);
        return fail_as(E_STORE_KEY_MISSING,
                       "the store wants its passphrase, and there is no "
                       "terminal to ask at: --passphrase FILE, or "
                       "TACIT_PASSPHRASE_FILE");
    }
    quiet = old;
    quiet.c_lflag &= ~(tcflag_t)(ECHO | ISIG);
    quiet.c_lflag |= ECHONL;
    tcsetattr(fd, TCSAFLUSH, &quiet);
    enum tacit_err err = TACIT_OK;
    if (write(fd, ask, strlen(ask)) < 0 || write(fd, ": ", 2) < 0)
        err = fail(TACIT_IO, "the terminal: %s", strerror(errno));
    if (!err) err = read_line(fd, "the terminal", p);
    tcsetattr(fd, TCSAFLUSH, &old);
    close(fd);
    return err;
}

static enum tacit_err read_from(const char *from, const char *ask,
                                struct passphrase *p)
{
    TRY(secret_alloc(SLOT_PASSPHRASE_MAX, &p->text));
    if (!from) return ask_terminal(ask, p);
    if (strcmp(from, "-") == 0)
        return read_line(STDIN_FILENO, "standard input", p);
    if (strncmp(from, "file:", 5) == 0) from += 5;
    return from_file(from, p);
}

static enum tacit_err check_new(const char *from, const char *twice,
                                const struct passphrase *p)
{
    struct passphrase again = {0};
    if (p->n < SLOT_PASSPHRASE_MIN)
        return fail(TACIT_STATE,
                    "a passphrase has at least %d bytes; some words that "
                    "belong together for you alone are a good one",
                    SLOT_PASSPHRASE_MIN);
    if (from) return TACIT_OK; /* it cannot be mistyped unseen */
    enum tacit_err err = read_from(NULL, twice, &again);
    if (!err && (again.n != p->n || memcmp(again.text, p->text, p->n) != 0))
        err = fail(TACIT_STATE, "the two passphrases differ");
    passphrase_release(&again);
    return err;
}

enum tacit_err passphrase_read(const char *from, const char *ask,
                               const char *twice, struct passphrase *out)
{
    struct passphrase p = {0};
    enum tacit_err err = read_from(from, ask, &p);
    if (!err && p.n == 0)
        err = fail_as(E_STORE_KEY_MISSING, "the passphrase is empty");
    if (!err && twice) err = check_new(from, twice, &p);
    if (err)
        passphrase_release(&p);
    else
        *out = p;
    return err;
}
