/*
 * digits: pictures of handwritten-looking digits, drawn here, for studies
 * without a download.
 *
 *   control points of a class ── jitter ── slant, size, turn, place ──> curve
 *   curve ── distance of each pixel, thickness ──> ink ── noise ──> 0 to 1
 *
 * The shapes are our own: each class has one to three ways to be written, as
 * open curves through 3 to 9 points (Catmull-Rom). A writer (a natural client)
 * has a slant, size, pen and favourite ways of their own; each picture strays
 * from them. Values are multiples of 1/255, as from a scanner.
 *
 * Picture r of writer w is a pure function of (seed, w, r). How hard they
 * are is measured in tests/sims/test_digits.c: a linear softmax reaches 80 to
 * 92 %, a LeNet 95 to 99 %.
 */
#ifndef TACIT_SIMS_DIGITS_H
#define TACIT_SIMS_DIGITS_H

#include <stddef.h>
#include <stdint.h>

enum { DIGITS_CLASSES = 10, DIGITS_SIDE_MIN = 8, DIGITS_SIDE_MAX = 128 };

struct digits_canvas {
    size_t height, width; /* pixels, DIGITS_SIDE_MIN to DIGITS_SIDE_MAX */
};

/* The class of picture r of writer w, below n_classes. */
unsigned digits_label(uint64_t seed, uint64_t w, uint64_t r,
                      unsigned n_classes);
/* Picture r of writer w, of this class, into out [height, width]. */
void digits_draw(uint64_t seed, uint64_t w, uint64_t r, unsigned label,
                 const struct digits_canvas *c, float *out);

#endif
