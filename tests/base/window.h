/*
 * window: stderr is a terminal of so many columns meanwhile, for tests of what
 * is drawn there. Nothing may fail between begin and end, and no more than a
 * terminal takes without a reader (4 KiB) may be written.
 */
#ifndef TACIT_TESTS_BASE_WINDOW_H
#define TACIT_TESTS_BASE_WINDOW_H

#include "tests/check.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/base/terminal.h"

struct window {
    int saved, master, slave;
};

static inline void window_begin(struct window *w, unsigned short columns)
{
    struct winsize size = {.ws_col = columns, .ws_row = 24};
    fflush(stderr);
    w->master = posix_openpt(O_RDWR | O_NOCTTY);
    check(w->master >= 0 && grantpt(w->master) == 0 &&
          unlockpt(w->master) == 0);
    w->slave = open(ptsname(w->master), O_RDWR | O_NOCTTY);
    check(w->slave >= 0 && ioctl(w->slave, TIOCSWINSZ, &size) == 0);
    w->saved = dup(STDERR_FILENO);
    check(w->saved >= 0);
    dup2(w->slave, STDERR_FILENO);
}

/* The text goes into out[cap], NUL-terminated, its line ends as '\n'. */
static inline void window_end(struct window *w, char *out, size_t cap)
{
    size_t n = 0, kept = 0;
    fflush(stderr);
    dup2(w->saved, STDERR_FILENO);
    close(w->saved);
    fcntl(w->master, F_SETFL, O_NONBLOCK);
    for (ssize_t got; n + 1 < cap; n += (size_t)got)
        if ((got = read(w->master, out + n, cap - 1 - n)) <= 0) break;
    close(w->slave);
    close(w->master);
    for (size_t i = 0; i < n; i++)
        if (out[i] != '\r' || out[i + 1] != '\n') out[kept++] = out[i];
    out[kept] = '\0';
}

/* Columns of the widest line; one that is drawn anew counts by itself. */
static inline size_t window_widest(const char *text)
{
    size_t widest = 0;
    while (*text) {
        char line[1024];
        size_t n = strcspn(text, "\r\n"), used = 0;
        snprintf(line, sizeof line, "%.*s", (int)n, text);
        const char *seen = strncmp(line, "\033[K", 3) == 0 ? line + 3 : line;
        (void)terminal_fit(seen, sizeof line, &used);
        if (used > widest) widest = used;
        text += n + (text[n] != '\0');
    }
    return widest;
}

#endif
