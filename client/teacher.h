/*
 * teacher: the vectors that an encoder gives many texts, kept in a file, so
 * that work which was interrupted goes on where it was.
 *
 *   texts ──known?──> file ──> vectors
 *           └ no ──> encoder.h, a round of texts at a time ──> file
 *
 *   file   "tacit-teacher-1\n" | version of the encoder [24] | u32 dim | 0 [20]
 *          records: BLAKE2b-256 of the text | f16 [dim]
 *
 * A file of another encoder is an error, never mixed. A record that a kill cut
 * off is dropped. Vectors are those of f16 whether they were in the file or
 * not. One process at a time has the file (flock).
 */
#ifndef TACIT_CLIENT_TEACHER_H
#define TACIT_CLIENT_TEACHER_H

#include <stddef.h>
#include <stdint.h>

#include "common/model/encoder.h"

struct teacher; /* owned */

/* The encoder is borrowed. STATE: another process has the file; FORMAT: it is
 * no such file, or of another encoder. */
TACIT_CHECKED enum tacit_err teacher_open(const char *path,
                                          const struct encoder *e,
                                          struct teacher **out);
void teacher_close(struct teacher *t);
size_t teacher_dim(const struct teacher *t);

struct teacher_job {
    const struct text *texts;
    size_t n;
    float *out; /* [n, dim]; zeros for a text without words */
    /* Called behind each round with texts done so far; an error of it ends the
     * work, what was done is kept. */
    enum tacit_err (*step)(void *ctx, size_t done, size_t total);
    void *ctx;
};
TACIT_CHECKED enum tacit_err teacher_embed(struct teacher *t,
                                           const struct teacher_job *job);

#endif
