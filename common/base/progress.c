#include "common/base/progress.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/terminal.h"
#include "common/base/tick.h"
#include "common/base/utf8.h"

enum {
    REDRAW_MS = 100,
    PLAIN_MS = 5000,
    BAR_CELLS = 24,
    BAR_CELLS_MIN = 6,
    DETAIL_MIN = 6 /* columns; a shorter rest of a name tells nothing */
};

enum rate { RATE_LEFT_OUT, RATE_SHOWN };

/* What stands behind the bar, and before it where there is none. */
static void write_counts(const struct progress *p, enum rate shown, char *out,
                         size_t cap)
{
    double seconds = (double)(tick_ms() - p->start_ms) / 1000.0;
    double rate = seconds > 0 && p->done > p->before
                      ? (double)(p->done - p->before) / seconds
                      : 0;
    int n = 0;
    if (!p->unit) {
        snprintf(out, cap, "%.0f s", seconds);
        return;
    }
    if (p->total)
        n = snprintf(out, cap, "%3.0f %%  %llu/%llu %s",
                     100 * (double)p->done / (double)p->total,
                     (unsigned long long)p->done, (unsigned long long)p->total,
                     p->unit);
    else
        n = snprintf(out, cap, "%llu %s", (unsigned long long)p->done, p->unit);
    if (rate > 0 && shown == RATE_SHOWN && n >= 0 && (size_t)n < cap)
        n += snprintf(out + n, cap - (size_t)n, "  %.1f/s", rate);
    if (rate > 0 && p->total > p->done && n >= 0 && (size_t)n < cap)
        snprintf(out + n, cap - (size_t)n, "  %.0f s left",
                 (double)(p->total - p->done) / rate);
}

static void write_bar(const struct progress *p, size_t cells,
                      char out[BAR_CELLS * 3 + 1])
{
    double share = (double)p->done / (double)p->total;
    size_t full = (size_t)(share * (double)cells);
    *out = '\0';
    for (size_t i = 0; i < cells; i++)
        memcpy(out + 3 * i, i < full ? "█" : "░", 4);
}

static size_t columns_of(const char *s)
{
    size_t n;
    (void)terminal_fit(s, SIZE_MAX, &n);
    return n;
}

/* A line that is redrawn must not be wider than the window: what it wrapped
 * would stay. The bar shrinks, then the rate goes, then the detail is cut. */
static void draw(struct progress *p, const char *detail)
{
    char counts[160], bar[BAR_CELLS * 3 + 1], shown[64] = "";
    char line[sizeof counts + sizeof bar + sizeof shown + 128];
    if (p->columns) p->columns = terminal_columns(STDERR_FILENO); /* now */
    size_t room = p->columns ? p->columns - 1 : sizeof line;
    if (detail) utf8_printable(shown, sizeof shown, detail); /* any byte */
    size_t others = columns_of(p->label) + 4 + columns_of(shown) + 2;
    write_counts(p, RATE_SHOWN, counts, sizeof counts);
    if (others + columns_of(counts) + BAR_CELLS_MIN > room)
        write_counts(p, RATE_LEFT_OUT, counts, sizeof counts);
    others += columns_of(counts);
    size_t cells = others < room ? room - others : 0;
    if (cells > BAR_CELLS) cells = BAR_CELLS;
    if (cells < BAR_CELLS_MIN) cells = BAR_CELLS_MIN;
    if (p->total) {
        write_bar(p, cells, bar);
        snprintf(line, sizeof line, "%s ▕%s▏ %s", p->label, bar, counts);
    } else {
        snprintf(line, sizeof line, "%s  %s", p->label, counts);
    }
    size_t used, n = terminal_fit(line, room, &used);
    if (*shown && room - used >= DETAIL_MIN + 2)
        n += (size_t)snprintf(line + n, sizeof line - n, "  %.*s",
                              (int)terminal_fit(shown, room - used - 2, NULL),
                              shown);
    fprintf(stderr, "%s%.*s%s", p->columns ? "\r\033[K" : "", (int)n, line,
            p->columns ? "" : "\n");
    fflush(stderr);
    p->drawn = 1;
    p->shown_ms = tick_ms();
}

void progress_begin(struct progress *p, enum progress_mode mode,
                    const char *label, const char *unit, uint64_t total)
{
    const char *term = getenv("TERM");
    *p = (struct progress){.label = label,
                           .unit = unit,
                           .total = total,
                           .start_ms = tick_ms(),
                           .quiet = mode == PROGRESS_QUIET};
    p->shown_ms = p->start_ms;
    if (!(term && strcmp(term, "dumb") == 0))
        p->columns = terminal_columns(STDERR_FILENO);
    /* It may be long until the first news of it. */
    if (!unit && !p->quiet && p->columns) draw(p, NULL);
}

void progress_update(struct progress *p, uint64_t done, const char *detail)
{
    if (!p->told++ && tick_ms() - p->start_ms < REDRAW_MS) p->before = done;
    p->done = done;
    if (p->quiet) return;
    if (tick_ms() - p->shown_ms >= (p->columns ? REDRAW_MS : PLAIN_MS))
        draw(p, detail);
}

void progress_end(struct progress *p)
{
    if (p->quiet) return;
    if (p->columns) {
        if (p->drawn) fputs("\r\033[K", stderr);
        fflush(stderr);
    } else if (p->drawn) {
        draw(p, NULL);
    }
}

int progress_colour(int fd)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    return isatty(fd) && !(no && *no) && term && strcmp(term, "dumb") != 0;
}
