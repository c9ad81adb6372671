/*
 * capture: what was written to stderr meanwhile, for tests of logs and
 * progress. Nothing may fail between begin and end: the report would be lost.
 */
#ifndef TACIT_TESTS_BASE_CAPTURE_H
#define TACIT_TESTS_BASE_CAPTURE_H

#include "tests/check.h"

#include <stdio.h>
#include <unistd.h>

struct capture {
    int saved;
    FILE *file;
};

static inline void capture_begin(struct capture *c)
{
    fflush(stderr);
    c->file = tmpfile();
    c->saved = dup(STDERR_FILENO);
    check(c->file && c->saved >= 0);
    dup2(fileno(c->file), STDERR_FILENO);
}

/* The text goes into out[cap], NUL-terminated. */
static inline void capture_end(struct capture *c, char *out, size_t cap)
{
    fflush(stderr);
    dup2(c->saved, STDERR_FILENO);
    close(c->saved);
    rewind(c->file);
    out[fread(out, 1, cap - 1, c->file)] = '\0';
    fclose(c->file);
}

#endif
