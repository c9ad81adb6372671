/*
 * gradcheck: compare a gradient with central differences.
 *
 *   g_i  ~  (f(w + h e_i) - f(w - h e_i)) / 2h
 */
#ifndef TACIT_TESTS_GRADCHECK_H
#define TACIT_TESTS_GRADCHECK_H

#include <stddef.h>

#include "common/base/err.h"

/* f evaluates the loss at the current w. *worst gets the largest
 * |g_i - difference| / (1 + |difference|), infinity when one is not a number.
 */
TACIT_CHECKED enum tacit_err gradcheck_run(enum tacit_err (*f)(void *ctx,
                                                               double *loss),
                                           void *ctx, float *w, const float *g,
                                           size_t n, double h, double *worst);

#endif
