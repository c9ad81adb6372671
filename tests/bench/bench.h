/*
 * bench: what the benchmark programs share: clocks, the median, and the JSON
 * line of tests/bench/README.md. A program prints figures on stdout, everything
 * else on stderr, and exits 1 when what it measured did not work.
 */
#ifndef TACIT_TESTS_BENCH_BENCH_H
#define TACIT_TESTS_BENCH_BENCH_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/base/err.h"

/* A step of the benchmark itself failed: say why and end. */
#define must(expr) bench_must((expr), #expr)

static inline void bench_must(enum tacit_err err, const char *what)
{
    if (err == TACIT_OK) return;
    fprintf(stderr, "%s: %s\n", what, err_message());
    exit(1);
}

/* CPU time of this thread, ms: other programs do not count. */
static inline double bench_cpu_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static inline int bench_by_size(const void *a, const void *b)
{
    double x, y;
    x = *(const double *)a;
    y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median of v [n]; sorts it. */
static inline double bench_median(double *v, size_t n)
{
    qsort(v, n, sizeof *v, bench_by_size);
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

/* One figure where less is better. peer NULL: none is installed. limit: the
 * number to hold; 0 = the line is for information. */
struct bench_figure {
    const char *bench, *name, *unit, *peer;
    double value, peer_value, limit;
};

static inline void bench_print(const struct bench_figure *f)
{
    printf("{\"bench\": \"%s\", \"case\": \"%s\", \"value\": %.4g, "
           "\"unit\": \"%s\", ",
           f->bench, f->name, f->value, f->unit);
    if (f->peer)
        printf("\"peer\": \"%s\", \"peer_value\": %.4g, \"ratio\": %.3g",
               f->peer, f->peer_value, f->peer_value / f->value);
    else
        printf("\"peer\": null, \"peer_value\": null, \"ratio\": null");
    if (f->limit > 0)
        printf(", \"limit\": %g}\n", f->limit);
    else
        printf(", \"limit\": null}\n");
    fflush(stdout);
}

#endif
