#include "common/base/terminal.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

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

struct range {
    uint32_t first, last;
};

/* Unicode's East Asian Width W and F, by blocks. */
static const struct range wide[] = {{0x1100, 0x115f},   {0x2e80, 0x303e},
                                    {0x3041, 0xa4cf},   {0xa960, 0xa97c},
                                    {0xac00, 0xd7a3},   {0xf900, 0xfaff},
                                    {0xfe30, 0xfe6f},   {0xff01, 0xff60},
                                    {0xffe0, 0xffe6},   {0x1f300, 0x1f64f},
                                    {0x1f900, 0x1f9ff}, {0x20000, 0x3fffd}};
/* Marks on the letter before, and what is not drawn. */
static const struct range still[] = {{0x0300, 0x036f}, {0x0483, 0x0489},
                                     {0x0591, 0x05bd}, {0x064b, 0x065f},
                                     {0x200b, 0x200f}, {0x20d0, 0x20f0},
                                     {0xfe00, 0xfe0f}, {0xfe20, 0xfe2f}};

static int among(uint32_t u, const struct range *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (u >= list[i].first && u <= list[i].last) return 1;
    return 0;
}

static size_t columns_of(uint32_t u)
{
    if (u < 0x300) return 1;
    if (among(u, still, sizeof still / sizeof *still)) return 0;
    return among(u, wide, sizeof wide / sizeof *wide) ? 2 : 1;
}

size_t terminal_fit(const char *s, size_t columns, size_t *used)
{
    size_t n = strlen(s), at = 0, width = 0;
    while (at < n) {
        uint32_t u = 0;
        size_t step = utf8_next(s + at, n - at, &u);
        size_t more = step ? columns_of(u) : 1;
        if (width + more > columns) break;
        width += more;
        at += step ? step : 1;
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
        uint32_t u = 0;
        size_t step = utf8_next(s + at, n - at, &u);
        if (s[at] == '\033') {
            while (at < n && s[at] != 'm') at++;
            at += at < n;
            continue;
        }
        width += step ? columns_of(u) : 1;
        at += step ? step : 1;
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
