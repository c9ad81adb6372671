/*
 * encoder: text -> unit vector. The encoder of both walks: passages are
 * embedded when they are added, questions when they are asked. It is the
 * built-in one, or a network that was imported (net.h: MiniLM, BGE, E5).
 *
 * The built-in one:
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
 * A network (encoder_net.h) is mapped when the first text is embedded. Texts
 * that are given together are packed into batches, which run on all cores; but
 * for rounding a vector does not depend on the texts beside it.
 *
 * Thread rule: all that takes a const encoder may be called from many threads
 * at once, each with its own arena, while nothing trains; a network serves them
 * one after the other.
 */
#ifndef TACIT_MODEL_ENCODER_H
#define TACIT_MODEL_ENCODER_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/digest.h"
#include "common/base/err.h"
#include "common/model/tokenizer.h"
#include "common/tensor/params.h"

enum {
    ENCODER_DIM = 256, /* of the built-in one */
    ENCODER_DIM_MAX = 1024,
    ENCODER_VERSION_MAX = 24
};

struct encoder; /* owned; the built-in one about 32 MiB */

/* The built-in encoder. NOMEM. */
TACIT_CHECKED enum tacit_err encoder_new(struct encoder **out);
/* A network of a file that is known, and what it wants before a text: all is
 * copied. Nothing is opened yet. LIMIT, NOMEM. */
struct encoder_model {
    const char *name;               /* for messages */
    const char *path;               /* GGUF file or folder */
    struct digest hash;             /* of its content */
    size_t dim;                     /* of its vectors */
    const char *question, *passage; /* prefixes; "" for none */
};
TACIT_CHECKED enum tacit_err encoder_open(const struct encoder_model *m,
                                          struct encoder **out);
void encoder_free(struct encoder *e);
/* Open the network, if there is one: what follows then finds it open. IO,
 * FORMAT, SHAPE, UNSUPPORTED: its file, with the ways out. */
TACIT_CHECKED enum tacit_err encoder_ready(const struct encoder *e);
int encoder_is_built_in(const struct encoder *e);
/* Numbers of a vector, at most ENCODER_DIM_MAX. */
size_t encoder_dim(const struct encoder *e);
/* Tokens that it reads of a text; more are left out. SIZE_MAX: all. */
size_t encoder_context(const struct encoder *e);
/* Tokens of text[n] as this encoder counts them, marks aside. */
size_t encoder_count(const struct encoder *e, const char *text, size_t n);
/* The built-in one's: table [TOKENIZER_BUCKETS, dim], projection [dim, dim]. */
struct params *encoder_params(struct encoder *e);
/* Names all that a vector depends on; rows of another version must be embedded
 * again. Hashes the built-in weights: not for an inner loop. */
void encoder_version(const struct encoder *e, char out[ENCODER_VERSION_MAX]);

struct text {
    const char *s;
    size_t n;
};
/* Unit vector of a question into out [dim]; zeros for a text without words. The
 * arena is scratch: the caller resets it. */
TACIT_CHECKED enum tacit_err encoder_embed(const struct encoder *e,
                                           struct arena *scratch,
                                           const char *text, size_t n,
                                           float *out);
/* The same of n passages, into out [n, dim]. Errors as encoder_ready(). */
TACIT_CHECKED enum tacit_err encoder_embed_all(const struct encoder *e,
                                               struct arena *scratch,
                                               const struct text *texts,
                                               size_t n, float *out);

/* The tokens of a question as the network reads it; none of a text without
 * words. UNSUPPORTED for the built-in one. */
struct vocab_ids;
TACIT_CHECKED enum tacit_err encoder_tokens(const struct encoder *e,
                                            const char *text, size_t n,
                                            struct vocab_ids *out);
/* From here on questions go through the network with the adapter of `base`,
 * weights w [n] of its parameters (tuned.h); passages as before. SHAPE when the
 * weights are of another adapter. */
struct model_base;
TACIT_CHECKED enum tacit_err encoder_adapt(struct encoder *e,
                                           const struct model_base *base,
                                           const float *w, size_t n);
int encoder_is_adapted(const struct encoder *e);

/* Contrastive loss of n question and passage texts (in-batch negatives), its
 * gradient over encoder_params (overwritten; [n_flat]) and the loss. */
TACIT_CHECKED enum tacit_err encoder_gradient(struct encoder *e,
                                              const struct text *question,
                                              const struct text *passage,
                                              size_t n, double temperature,
                                              float *grad, float *out_loss);

#endif
