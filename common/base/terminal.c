#include "common/base/terminal.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <utf8proc.h>

#include "common/base/utf8.h"

size_t terminal_columns(int fd)
{
    struct winsize size = {0};
    if (fd < 0 || !isatty(fd)) return 0;
    if (ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
        return TERMINAL_COLUMNS;
    return size.ws_col < TERMINAL_COLUMNS_MIN ? TERMINAL_COLUMNS_MIN
                                              : size.ws_col;
}

/* ---- columns ------------------------------------------------------------ */

/* Bytes of the character at s, of n, and its columns. */
static size_t character(const char *s, size_t n, size_t *columns)
{
    uint32_t u = 0;
    size_t step = utf8_next(s, n, &u);
    *columns = step ? (size_t)utf8proc_charwidth((utf8proc_int32_t)u) : 1;
    return step ? step : 1;
}

size_t terminal_fit(const char *s, size_t columns, size_t *used)
{
    size_t n = strlen(s), at = 0, width = 0;
    while (at < n) {
        size_t more, step = character(s + at, n - at, &more);
        if (width + more > columns) break;
        width += more;
        at += step;
    }
    if (used) *used = width;
    return at;
}

/* ---- lines -------------------------------------------------------------- */

/* Columns of a word, without "ESC [ … m" in it. */
static size_t word_columns(const char *s, size_t n)
{
    size_t width = 0;
    for (size_t at = 0; at < n;) {
        size_t more, step = character(s + at, n - at, &more);
        if (s[at] == '\033') {
            while (at < n && s[at] != 'm') at++;
            at += at < n;
            continue;
        }
        width += more;
        at += step;
    }
    return width;
}

void terminal_wrap(FILE *f, const char *s, size_t at, size_t indent,
                   size_t columns)
{
    int first = 1;
    if (columns == 0) {
        fputs(s, f);
        return;
    }
    while (*s) {
        size_t gap = strspn(s, " \n"), n = strcspn(s + gap, " \n");
        size_t width = word_columns(s + gap, n);
        if (!first && at + gap + width > columns) {
            fprintf(f, "\n%*s", (int)indent, "");
            at = indent;
        } else {
            fprintf(f, "%*s", (int)gap, "");
            at += gap;
        }
        fwrite(s + gap, 1, n, f);
        at += width;
        s += gap + n;
        first = 0;
    }
}

void terminal_put(FILE *f, const char *s, size_t at, size_t indent)
{
    terminal_wrap(f, s, at, indent, terminal_columns(fileno(f)));
}

void terminal_vsay(FILE *f, size_t indent, const char *fmt, va_list ap)
{
    size_t columns = terminal_columns(fileno(f));
    char *text = NULL;
    va_list again;
    va_copy(again, ap);
    fprintf(f, "%*s", (int)indent, "");
    if (columns == 0 || vasprintf(&text, fmt, again) < 0)
        vfprintf(f, fmt, ap);
    else
        terminal_wrap(f, text, indent, indent, columns);
    fputc('\n', f);
    va_end(again);
    free(text);
}

void terminal_say(FILE *f, size_t indent, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    terminal_vsay(f, indent, fmt, ap);
    va_end(ap);
}
