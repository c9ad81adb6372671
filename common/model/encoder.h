/*
 * encoder: text -> unit vector. The static encoder of both walks: passages are
 * embedded when they are added, questions when they are asked.
 *
 *   features --embedding bag--> sum_i weight_i table[id_i]   [dim]
 *            --projection-->    h P                          [dim]
 *            --normalise-->     v, |v| = 1
 *
 * The built-in weights are drawn from a fixed seed: table entries
 * +-1/sqrt(dim), P the identity. Then v.w estimates the cosine of the two
 * weighted feature sets (random indexing: Kanerva et al. 2000; the bound is
 * Johnson and Lindenstrauss 1984), with no file to ship. Training moves table
 * and projection by contrastive loss (encoder_gradient); a federated retriever
 * round trains only the query-side adapter (adapter.h), so that passage
 * vectors stay valid.
 *
 * encoder_embed may be called from many threads at once, each with its own
 * arena, while nothing trains.
 */
#ifndef TACIT_MODEL_ENCODER_H
#define TACIT_MODEL_ENCODER_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/model/tokenizer.h"
#include "common/tensor/params.h"

enum { ENCODER_DIM = 256, ENCODER_VERSION_MAX = 24 };

struct encoder; /* owned; about 32 MiB */

/* The built-in encoder. NOMEM. */
TACIT_CHECKED enum tacit_err encoder_new(struct encoder **out);
void encoder_free(struct encoder *e);
/* table [TOKENIZER_BUCKETS, dim], projection [dim, dim]. */
struct params *encoder_params(struct encoder *e);
/* Names the weights and the tokenizer; rows of another version must be embedded
 * again. Hashes the weights: not for an inner loop. */
void encoder_version(const struct encoder *e, char out[ENCODER_VERSION_MAX]);
/* Unit vector of a text into out [ENCODER_DIM]; zeros for a text without
 * words. The arena is scratch: the caller resets it. */
TACIT_CHECKED enum tacit_err encoder_embed(const struct encoder *e,
                                           struct arena *scratch,
                                           const char *text, size_t n,
                                           float *out);

/* Contrastive loss of n question and passage texts (in-batch negatives), its
 * gradient over encoder_params (overwritten; [n_flat]) and the loss. */
struct text {
    const char *s;
    size_t n;
};
TACIT_CHECKED enum tacit_err encoder_gradient(struct encoder *e,
                                              const struct text *question,
                                              const struct text *passage,
                                              size_t n, double temperature,
                                              float *grad, float *out_loss);

#endif
