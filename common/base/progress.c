#include "common/base/progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/tick.h"
#include "common/base/utf8.h"

enum { REDRAW_MS = 100, PLAIN_MS = 5000, BAR_CELLS = 24 };

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
    p->tty = isatty(STDERR_FILENO) && !(term && strcmp(term, "dumb") == 0);
}

static void draw(struct progress *p, const char *detail)
{
    double seconds = (double)(tick_ms() - p->start_ms) / 1000.0;
    double rate = seconds > 0 ? (double)p->done / seconds : 0;
    char bar[BAR_CELLS * 3 + 1] = "";
    if (p->tty) fputs("\r\033[K", stderr);
    if (p->total == 0) {
        fprintf(stderr, "%s  %llu %s", p->label, (unsigned long long)p->done,
                p->unit);
    } else {
        double share = (double)p->done / (double)p->total;
        int full = (int)(share * BAR_CELLS);
        for (int i = 0; i < BAR_CELLS; i++)
            memcpy(bar + 3 * i, i < full ? "█" : "░", 4);
        fprintf(stderr, "%s ▕%s▏ %3.0f %%  %llu/%llu %s", p->label, bar,
                share * 100, (unsigned long long)p->done,
                (unsigned long long)p->total, p->unit);
    }
    if (rate > 0) fprintf(stderr, "  %.1f/s", rate);
    if (rate > 0 && p->total > p->done)
        fprintf(stderr, "  %.0f s left", (double)(p->total - p->done) / rate);
    if (detail) {
        char shown[64]; /* a file name may hold any byte */
        utf8_printable(shown, sizeof shown, detail);
        fprintf(stderr, "  %s", shown);
    }
    if (!p->tty) fputc('\n', stderr);
    fflush(stderr);
    p->drawn = 1;
    p->shown_ms = tick_ms();
}

void progress_update(struct progress *p, uint64_t done, const char *detail)
{
    p->done = done;
    if (p->quiet) return;
    if (tick_ms() - p->shown_ms >= (p->tty ? REDRAW_MS : PLAIN_MS))
        draw(p, detail);
}

void progress_end(struct progress *p)
{
    if (p->quiet) return;
    if (p->tty) {
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
