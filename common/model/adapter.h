/*
 * adapter: what a retriever round trains, the query side of search.
 *
 *   q' = normalise(q + q W)          W [dim, dim], zero at first
 *
 * so that the untrained adapter is the identity exactly, and a passage's
 * vector never changes.
 */
#ifndef TACIT_MODEL_ADAPTER_H
#define TACIT_MODEL_ADAPTER_H

#include <stddef.h>

/* Name of W in the parameter list. */
#define ADAPTER_PARAM "adapter.w"

/* q [dim] -> out [dim], unit length (zero stays zero); w NULL is the identity.
 * out may not be q. */
void adapter_apply(const float *w, const float *q, size_t dim, float *out);

#endif
