/*
 * progress: one line on stderr that tells how far long work is.
 *
 *   indexing ▕████████░░░░▏ 61 %  612/1000  84.1 files/s  4 s left  name
 *
 * Work of which nobody knows how much it is has no unit, and shows its time:
 *
 *   checking the store  12 s
 *
 * On a terminal it is redrawn at most ten times a second, never wider than the
 * window: the bar shrinks, the rate goes, the name is cut. Elsewhere a plain
 * line is written at most every 5 s and at the end. Quiet when disabled.
 */
#ifndef TACIT_BASE_PROGRESS_H
#define TACIT_BASE_PROGRESS_H

#include <stddef.h>
#include <stdint.h>

enum progress_mode { PROGRESS_AUTO, PROGRESS_QUIET };

struct progress {
    const char *label, *unit; /* borrowed; unit NULL: its time is shown */
    uint64_t done, total;     /* total 0 = unknown */
    uint64_t before;          /* done before it began: no part of the rate */
    int64_t start_ms, shown_ms;
    size_t columns;         /* of the terminal; 0: there is none to redraw on */
    int quiet, drawn, told; /* told: of an update */
};

void progress_begin(struct progress *p, enum progress_mode mode,
                    const char *label, const char *unit, uint64_t total);
/* detail may be NULL. Without a unit `done` means nothing. What the first
 * update finds done at once was done before: by an earlier run, or in the step
 * that began this. */
void progress_update(struct progress *p, uint64_t done, const char *detail);
/* Clear the line (terminal) or write the last one. */
void progress_end(struct progress *p);

/* 1 when colour may be used on this stream: a terminal, TERM not dumb,
 * NO_COLOR empty. */
int progress_colour(int fd);

#endif
